"""The block that each token represents."""

import math

import numpy as np

from sktok._rows import require_fs, require_int
from sktok.plotting._axes import Display, rectangles, styled
from sktok.plotting._fitted import at_rate_of_blocks, restore_blocks, with_facts

_CELL_SHAPE = 1.4  # width divided by height
_CURVE_WIDTH, _CURVE_HEIGHT = 0.86, 0.66  # in cells; the label is above the curve
_MIN_COLUMNS, _MIN_ROWS = 4, 2  # a few blocks are not drawn too large
_FOOT = 0.6  # cells, for the scale bar below the grid
_BAND = 10, 90  # percentiles
_FRAME = {"facecolor": "faint", "alpha": 0.35, "zorder": 0.4}
_ZERO = {"colors": "signal", "linewidths": 0.5, "zorder": 0.5}
_BANDS = {"facecolor": "signal", "alpha": 0.5}
_CURVES = {"colors": "accent", "linewidths": 1.2}
_SCALE_BAR = {"colors": "ink", "linewidths": 1.2}


class CodebookDisplay(Display):
    """The block that each token represents, in descending order of frequency.

    Create it with `from_estimator`. A token is drawn as the mean of the blocks restored
    from it, with a band from the 10th to the 90th percentile. If a network restores a
    block from neighbouring tokens too, the band shows their influence. A codebook
    restores a token to the same code every time, without a band.

    Parameters
    ----------
    tokens : ndarray of int, shape (n_codes,)
        Tokens to draw.

    share : ndarray of shape (n_codes,)
        Share of each token among all tokens, between 0 and 1.

    mean : ndarray of shape (n_codes, block_size)
        Mean of the blocks restored from each token. If the block size does not divide
        the window, the last block of a window is cropped and excluded from the mean. A
        token that occurs only there has NaN for the missing samples.

    band : ndarray of shape (2, n_codes, block_size)
        10th and 90th percentile of these blocks.

    n_used : int
        Number of tokens that occur.

    n_tokens : int
        Size of the vocabulary.

    fs : float or None, default=None
        Sampling frequency in Hz; `None` counts samples in the scale bar.

    unit : str or None, default=None
        Unit of the signal, shown at the scale bar.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.

    figure_ : matplotlib Figure
        Figure that contains the axes.

    curves_ : matplotlib LineCollection
        Means, one in each cell of a grid.

    bands_ : matplotlib PolyCollection
        Bands, one in each cell.

    scale_bar_ : matplotlib LineCollection
        A duration and an amplitude, valid for all cells.

    See Also
    --------
    TokenUsageDisplay : How often each token occurs.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktok import BlockSegmenter, VectorQuantizer
    >>> from sktok.datasets import load_ecg
    >>> from sktok.plotting import CodebookDisplay
    >>> ecg = load_ecg()
    >>> tokenizer = make_pipeline(
    ...     BlockSegmenter(25), VectorQuantizer(16, random_state=0)
    ... ).fit(ecg.data)
    >>> display = CodebookDisplay.from_estimator(
    ...     tokenizer, ecg.data, fs=ecg.fs, unit=ecg.unit
    ... )
    >>> display.mean.shape
    (16, 25)
    """

    def __init__(
        self, tokens, share, mean, band, n_used, n_tokens, *, fs=None, unit=None
    ):
        self.tokens = tokens
        self.share = share
        self.mean = mean
        self.band = band
        self.n_used = n_used
        self.n_tokens = n_tokens
        self.fs = fs
        self.unit = unit

    @classmethod
    def from_estimator(
        cls, estimator, X, *, unit=None, fs=None, n_codes=64, ax=None, **kwargs
    ):
        """Tokenize and restore windows, and draw the block of each token.

        Parameters
        ----------
        estimator : transformer or Pipeline
            Fitted, with `transform` and `inverse_transform`, and with one token for
            each block. The offset and gain tokens of a
            :class:`~sktok.GainShapeTokenizer` are left out.

        X : array-like of shape (n_windows, window_length), \
                (n_windows, n_leads, window_length) or (n_windows, n_blocks, block_size)
            Windows of a signal; the blocks of all leads count. Tokens that do not occur
            in them are not drawn.

        unit : str or None, default=None
            Unit of `X`, shown at the scale bar. `X` is converted if the tokenizer has
            another unit of voltage. `None` takes the unit of the tokenizer.

        fs : float or None, default=None
            Sampling frequency of `X` in Hz. `None` takes that of the tokenizer; if it
            has none, the scale bar counts samples. If a :class:`~sktok.Resampler`
            changes the rate, blocks are drawn at the rate after it.

        n_codes : int, default=64
            Maximum number of tokens to draw.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` creates a new figure.

        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        display : CodebookDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If `n_codes` is not a positive integer, `fs` is not positive, the estimator
            does not make one token for each block, or it was fitted to another sampling
            frequency or unit.
        """
        require_int("n_codes", n_codes)
        X, facts = with_facts(estimator, X, fs, unit)
        restored, vocabulary = restore_blocks(estimator, X)
        windows = restored.reconstruction
        windows, facts["fs"] = at_rate_of_blocks(estimator, windows, facts["fs"])
        blocks = _cut(windows, restored.blocks.size)
        tokens = restored.blocks.tokens.ravel()
        used, count = np.unique(tokens, return_counts=True)
        drawn = np.argsort(-count, kind="stable")[:n_codes]
        examples = [_whole(blocks[tokens == token]) for token in used[drawn]]
        share = count[drawn] / tokens.size
        mean = np.stack([example.mean(axis=0) for example in examples])
        band = np.stack([np.percentile(e, _BAND, axis=0) for e in examples], axis=1)
        sizes = len(used), len(vocabulary)
        display = cls(used[drawn], share, mean, band, *sizes, **facts)
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, curves_kwargs=None, bands_kwargs=None):
        """Draw a grid of blocks with their tokens and shares, all on the same scale.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` creates a new figure.

        curves_kwargs : dict or None, default=None
            Passed to `LineCollection` for the means.

        bands_kwargs : dict or None, default=None
            Passed to `PolyCollection` for the bands.

        Returns
        -------
        display : CodebookDisplay
            This display.

        Raises
        ------
        ValueError
            If `fs` is not positive.
        """
        require_fs(self.fs)
        n_codes = len(self.tokens)
        n_rows = max(_MIN_ROWS, math.ceil(n_codes / 8))
        ax = self._set_axes(ax, figsize=(8, 0.9 + 0.64 * n_rows))
        aspect = ax.bbox.width / ax.bbox.height / _CELL_SHAPE
        columns = max(_MIN_COLUMNS, round(math.sqrt(n_codes * aspect)))
        rows = max(_MIN_ROWS, math.ceil(n_codes / columns))
        ax.set(xlim=(-0.04, columns), ylim=(-rows - _FOOT, 0))
        row, left = np.divmod(np.arange(n_codes), columns)
        self._draw_blocks(left, -1.0 - row, curves_kwargs, bands_kwargs)
        self._label(left, -1.0 - row)
        self._draw_scale_bar(-rows - _FOOT + 0.1)
        ax.set_axis_off()
        return self

    def _scale(self):
        """Lowest amplitude, range of amplitudes, and whether 0 is inside the range."""
        curves = np.stack([self.mean, *self.band])
        lowest, highest = np.nanmin(curves), np.nanmax(curves)
        return lowest, highest - lowest or 1.0, lowest < 0 < highest

    def _draw_blocks(self, left, bottom, curves_kwargs, bands_kwargs):
        """Draw mean and band in each cell, and the scale as a frame and a line at 0."""
        right, top = left + _CURVE_WIDTH, bottom + _CURVE_HEIGHT
        self._add("PolyCollection", rectangles(left, right, bottom, top), _FRAME)
        curves = np.stack([self.mean, *self.band, np.zeros_like(self.mean)])
        if curves.shape[2] == 1:  # a block of one sample is drawn as a level
            curves = np.repeat(curves, 2, axis=2)
        lowest, extent, has_zero = self._scale()
        curves = (curves - lowest) * _CURVE_HEIGHT / extent + bottom[:, np.newaxis]
        x = np.linspace(left, right, curves.shape[-1], axis=1)
        mean, low, high, zero = np.stack(np.broadcast_arrays(x, curves), axis=-1)
        outlines = np.hstack([low, high[:, ::-1]])
        outlines = [outline[np.isfinite(outline[:, 1])] for outline in outlines]
        if has_zero:
            self._add("LineCollection", zero, _ZERO)
        self.bands_ = self._add("PolyCollection", outlines, _BANDS, bands_kwargs)
        self.curves_ = self._add("LineCollection", mean, _CURVES, curves_kwargs)

    def _label(self, left, bottom):
        """Write token and share above each block, and the number of tokens on top."""
        per_cell, per_row = self._points_per_unit()
        size = min(7.5, per_cell / 7, 0.7 * (1 - _CURVE_HEIGHT) * per_row)
        y = bottom + _CURVE_HEIGHT + 0.04
        for *cell, token, share in zip(left, y, self.tokens, self.share, strict=True):
            label = f"{token}   {100 * share:.2f} %"
            self.ax_.text(*cell, label, fontsize=size, va="bottom")
        title = (
            f"the {len(self.tokens)} most frequent of {self.n_used} tokens in use; "
            f"{self.n_tokens - self.n_used} of {self.n_tokens} never occur"
        )
        self.ax_.set_title(title, loc="left", fontsize="medium")

    def _draw_scale_bar(self, bottom):
        """Draw an amplitude and the length of a block, instead of ticks."""
        n_samples, unit = self.mean.shape[1], f" {self.unit}" if self.unit else ""
        length = f"{n_samples} samples"
        if self.fs:
            length = f"{1000 * n_samples / self.fs:.3g} ms"
        _, extent, has_zero = self._scale()
        amplitude = _round_down(extent / 2)
        corner, top = (0, bottom), (0, bottom + amplitude * _CURVE_HEIGHT / extent)
        bars = [corner, top], [corner, (_CURVE_WIDTH, bottom)]
        self.scale_bar_ = self._add("LineCollection", bars, _SCALE_BAR)
        has_bands = np.nanmax(np.ptp(self.band, axis=0)) > 1e-6 * extent
        notes = ["band: 10th to 90th percentile"] if has_bands else []
        notes += [f"thin line: 0{unit}"] if has_zero else []
        style = styled(self.ax_, {"color": "ink", "fontsize": 8, "va": "bottom"})
        self.ax_.text(0.06, bottom + 0.06, f"{amplitude:g}{unit}, {length}", **style)
        style |= {"ha": "right", "transform": self.ax_.transAxes}
        self.ax_.text(1, 0, "; ".join(notes), **style)


def _cut(windows, block_size):
    """The blocks of restored windows, with NaN for the missing end of cropped ones."""
    missing = [(0, 0), (0, 0), (0, -windows.shape[-1] % block_size)]
    return np.pad(windows, missing, constant_values=np.nan).reshape(-1, block_size)


def _whole(blocks):
    """The blocks that are not cropped, or all of them if all are cropped."""
    is_whole = ~np.isnan(blocks[:, -1])
    return blocks[is_whole] if is_whole.any() else blocks


def _round_down(value):
    """The largest of 1, 2 and 5 times a power of ten that does not exceed a value."""
    power = 10.0 ** math.floor(math.log10(value))
    limit = value * (1 + 1e-9)  # a tolerance for rounding
    return power * max(digit for digit in (1, 2, 5) if digit * power <= limit)
