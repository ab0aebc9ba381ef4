"""The block that each token stands for."""

import math
from numbers import Integral

import numpy as np

from sktok._blocks import segment
from sktok._rows import require_fs
from sktok.plotting._axes import make_axes, palette, points_per_unit
from sktok.plotting._fitted import block_tokens

_CELL_SHAPE = 1.4  # width over height
_CURVE_WIDTH, _CURVE_HEIGHT = 0.86, 0.66  # of a cell; the label is above the curve
_FEWEST_COLUMNS, _FEWEST_ROWS = 4, 2  # so that few blocks are not drawn huge
_FOOT = 0.6  # cells, for the scale bar below the grid
_BAND = 10, 90  # percentiles


class CodebookDisplay:
    """The block that each token stands for, from the most frequent token on.

    Make it by `from_estimator`. A token is drawn as the mean of the blocks that were
    restored from it, and the band that holds four fifths of them. Where a network
    restores a block from its neighbours' tokens too, the band tells how much they
    matter; a codebook alone restores a token to its code, and there is no band.

    Parameters
    ----------
    tokens : ndarray of int, shape (n_codes,)
        The tokens to draw.

    share : ndarray of shape (n_codes,)
        The share of each in all tokens, between 0 and 1.

    mean : ndarray of shape (n_codes, block_size)
        Mean of the blocks restored from each token. Where the block size does not
        divide the window, the last blocks of windows are cropped, and left out; a token
        that occurs only there has NaN for the samples that it lacks.

    band : ndarray of shape (2, n_codes, block_size)
        The 10th and the 90th percentile of these blocks.

    n_used : int
        Number of tokens that occur.

    n_tokens : int
        Size of the vocabulary.

    fs : float or None, default=None
        Sampling frequency in Hz; without it the scale bar counts samples.

    unit : str or None, default=None
        Unit of the signal, for the scale bar.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes that were drawn on.

    figure_ : matplotlib Figure
        Figure that holds them.

    curves_ : matplotlib LineCollection
        The means, each in its cell of a grid.

    bands_ : matplotlib PolyCollection
        The bands.

    scale_bar_ : matplotlib LineCollection
        A length of time and an amplitude, for all of the cells.

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
        """Tokenize windows, restore them, and draw what became of each token.

        Parameters
        ----------
        estimator : transformer or Pipeline
            Fitted, with `transform` and `inverse_transform`; makes one token of each
            block. The tokens of offset and gain of a
            :class:`~sktok.GainShapeTokenizer` are left out.

        X : array-like of shape (n_windows, window_length)
            Windows of a signal. Tokens that do not occur in them are left out.

        unit : str or None, default=None
            Unit of the signal, for the scale bar.

        fs : float or None, default=None
            Sampling frequency in Hz; without it the scale bar counts samples.

        n_codes : int, default=64
            Largest number of tokens to draw.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        display : CodebookDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If `n_codes` is not a whole number above 0, `fs` is not above 0, or the
            estimator does not make one token of each block.
        """
        if not (isinstance(n_codes, Integral) and n_codes > 0):
            raise ValueError(f"n_codes={n_codes!r}: expected a whole number above 0.")
        tokens, token_length, vocabulary, X_hat = block_tokens(estimator, X)
        blocks, tokens = _restored_blocks(X_hat, token_length), tokens.ravel()
        used, count = np.unique(tokens, return_counts=True)
        drawn = np.argsort(-count, kind="stable")[:n_codes]
        restored = [_whole(blocks[tokens == token]) for token in used[drawn]]
        return cls(
            used[drawn],
            count[drawn] / tokens.size,
            np.stack([examples.mean(axis=0) for examples in restored]),
            np.stack([np.percentile(e, _BAND, axis=0) for e in restored], axis=1),
            len(used),
            len(vocabulary),
            fs=fs,
            unit=unit,
        ).plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, curves_kwargs=None, bands_kwargs=None):
        """Draw a grid of blocks, all on one scale, with their tokens and shares.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        curves_kwargs : dict or None, default=None
            Passed on to `LineCollection` for the means.

        bands_kwargs : dict or None, default=None
            Passed on to `PolyCollection` for the bands.

        Returns
        -------
        display : CodebookDisplay
            This display.

        Raises
        ------
        ValueError
            If `fs` is not above 0.
        """
        require_fs(self.fs)
        eighths = -(-len(self.tokens) // 8)  # rows, if there are eight columns
        height = 0.9 + 0.64 * max(_FEWEST_ROWS, eighths)
        self.figure_, self.ax_ = make_axes(ax, figsize=(8, height))
        from matplotlib.collections import LineCollection, PolyCollection

        colors = palette(self.ax_)
        columns, rows = self._grid()
        x, mean, low, high = self._curves(columns, rows)
        self._draw_frames(x, columns)
        outlines = np.concatenate([low, high[:, ::-1]], axis=1)
        there_and_back = np.concatenate([x, x[:, ::-1]], axis=1)
        outlines = np.stack([there_and_back, outlines], axis=2)
        self.bands_ = PolyCollection(
            [outline[np.isfinite(outline[:, 1])] for outline in outlines],
            **{"facecolor": colors["signal"], "alpha": 0.5} | (bands_kwargs or {}),
        )
        self.curves_ = LineCollection(
            np.stack([x, mean], axis=2),
            **{"colors": colors["accent"], "linewidths": 1.2} | (curves_kwargs or {}),
        )
        self.ax_.add_collection(self.bands_, autolim=False)
        self.ax_.add_collection(self.curves_, autolim=False)
        self._label(columns)
        self._draw_scale_bar(rows)
        self.ax_.set_axis_off()
        return self

    def _grid(self):
        """Number of columns and rows whose cells have a good shape on these axes."""
        extent = self.ax_.get_window_extent()
        aspect = extent.width / extent.height / _CELL_SHAPE
        n_codes = len(self.tokens)
        columns = max(_FEWEST_COLUMNS, round(math.sqrt(n_codes * aspect)))
        return columns, max(_FEWEST_ROWS, -(-n_codes // columns))

    def _curves(self, columns, rows):
        """The blocks in the coordinates of the axes: x, and y of mean and band."""
        n_codes, block_size = self.mean.shape
        row, column = np.divmod(np.arange(n_codes)[:, np.newaxis], columns)
        x = column + np.linspace(0, _CURVE_WIDTH, max(2, block_size))
        curves = np.stack([self.mean, *self.band])
        lowest, _, per_amplitude = self._scale()
        if block_size == 1:  # a level, drawn as one
            curves = np.repeat(curves, 2, axis=2)
        y = (curves - lowest) * per_amplitude - row - 1
        self.ax_.set(xlim=(-0.04, columns), ylim=(-rows - _FOOT, 0))
        return x, *y

    def _scale(self):
        """Lowest and highest amplitude, and the height in cells of one unit of it."""
        curves = np.stack([self.mean, *self.band])
        lowest, highest = np.nanmin(curves), np.nanmax(curves)
        return lowest, highest, _CURVE_HEIGHT / (highest - lowest or 1.0)

    def _draw_frames(self, x, columns):
        """What shows the scale in each cell: a frame, and a line at 0."""
        from matplotlib.collections import LineCollection, PolyCollection

        left, right = x[:, 0], x[:, -1]
        bottom = -1.0 - np.arange(len(x)) // columns
        top = bottom + _CURVE_HEIGHT
        corners = [(left, bottom), (right, bottom), (right, top), (left, top)]
        self.ax_.add_collection(
            PolyCollection(
                np.moveaxis(corners, 2, 0),
                facecolor=palette(self.ax_)["faint"],
                alpha=0.35,
                zorder=0.4,
            ),
            autolim=False,
        )
        lowest, highest, per_amplitude = self._scale()
        if lowest < 0 < highest:
            zero = bottom - lowest * per_amplitude
            self.ax_.add_collection(
                LineCollection(
                    np.moveaxis([(left, zero), (right, zero)], 2, 0),
                    colors=palette(self.ax_)["signal"],
                    linewidths=0.5,
                    zorder=0.5,
                ),
                autolim=False,
            )

    def _label(self, columns):
        """Token and share above each block, and what was left out in the title."""
        per_cell, per_row = points_per_unit(self.ax_)
        size = min(7.5, per_cell / 7, 0.7 * (1 - _CURVE_HEIGHT) * per_row)
        for cell, (token, share) in enumerate(
            zip(self.tokens, self.share, strict=True)
        ):
            row, column = divmod(cell, columns)
            self.ax_.text(
                column,
                _CURVE_HEIGHT + 0.04 - row - 1,
                f"{token}   {100 * share:.2f} %",
                fontsize=size,
                va="bottom",
            )
        self.ax_.set_title(
            f"the {len(self.tokens)} most frequent of {self.n_used} tokens in use; "
            f"{self.n_tokens - self.n_used} of {self.n_tokens} never occur",
            loc="left",
            fontsize="medium",
        )

    def _draw_scale_bar(self, rows):
        """An amplitude and the length of a block, in place of ticks."""
        from matplotlib.collections import LineCollection

        block_size, unit = self.mean.shape[1], f" {self.unit}" if self.unit else ""
        lowest, highest, per_amplitude = self._scale()
        amplitude = _round_down((highest - lowest or 1.0) / 2)
        bottom = -rows - _FOOT + 0.1
        top = bottom + amplitude * per_amplitude
        corner, end = (0, bottom), (_CURVE_WIDTH, bottom)
        ink = palette(self.ax_)["ink"]
        self.scale_bar_ = LineCollection(
            [[corner, (0, top)], [corner, end]], colors=ink, linewidths=1.2
        )
        self.ax_.add_collection(self.scale_bar_, autolim=False)
        length = f"{block_size} samples"
        if self.fs:
            length = f"{1000 * block_size / self.fs:.3g} ms"
        self.ax_.text(
            0.06,
            bottom + 0.06,
            f"{amplitude:g}{unit}, {length}",
            fontsize=8,
            va="bottom",
            color=ink,
        )
        has_band = np.nanmax(np.ptp(self.band, axis=0)) > 1e-6 * (highest - lowest)
        explained = ["band: four fifths of the blocks"] if has_band else []
        if lowest < 0 < highest:
            explained.append(f"thin line: 0{unit}")
        self.ax_.text(
            1,
            0,
            "; ".join(explained),
            transform=self.ax_.transAxes,
            fontsize=8,
            ha="right",
            va="bottom",
            color=ink,
        )


def _restored_blocks(X_hat, block_size):
    """The blocks of restored windows, with NaN for what a cropped one lacks."""
    windows = np.asarray(X_hat, dtype=float).reshape(len(X_hat), -1)
    blocks = segment(windows, block_size)
    n_samples = windows.shape[1] - (blocks.shape[1] - 1) * block_size
    if n_samples < block_size:
        blocks[:, -1, n_samples:] = np.nan
    return blocks.reshape(-1, block_size)


def _whole(blocks):
    """The blocks that are not cropped, or all of them if all are."""
    is_whole = ~np.isnan(blocks[:, -1])
    return blocks[is_whole] if is_whole.any() else blocks


def _round_down(value):
    """The largest of 1, 2 and 5 times a power of ten that is not above a value."""
    power = 10.0 ** math.floor(math.log10(value))
    slightly_above = value * (1 + 1e-9)  # whatever the rounding of floats
    return power * max(digit for digit in (1, 2, 5) if digit * power <= slightly_above)
