"""A strip of ECG with its tokens below."""

import math
from numbers import Real

import numpy as np

from sktok.plotting._axes import SignalDisplay, lightness, rectangles, styled, with_unit
from sktok.plotting._fitted import end_to_end, lead_index, restore_blocks, with_facts

_SECONDS_PER_ROW = 3.0
_SAMPLES_PER_ROW = 1000  # if the sampling frequency is not known
_MAX_ROWS = 30  # without an explicit length of a row
_CELL_HEIGHT, _GAP = 0.14, 0.06  # relative to the height of a row
_MIN_WIDTH = 3.5  # points of a cell with visible edges
_CELLS = {"cmap": "cividis", "linewidth": 0.6}
_NUMBERS = {"size": 6, "ha": "center", "va": "center_baseline"}


class TokenStripDisplay(SignalDisplay):
    """A long strip of ECG in rows, with the token of each block below it.

    Create it with `from_estimator`. A token is a cell exactly below the samples that it
    represents. Cells that are large enough contain the number of the token. Smaller
    numbers have darker colours.

    Parameters
    ----------
    signal : ndarray of shape (n_samples,)
        Signal.

    tokens : ndarray of int, shape (n_tokens,)
        Tokens of the signal, in order.

    token_starts : ndarray of int, shape (n_tokens,)
        Sample at which each token starts. A token ends where the next one starts.

    vocabulary : range
        Range of all tokens.

    fs : float or None, default=None
        Sampling frequency in Hz; `None` counts samples on the x axis.

    unit : str or None, default=None
        Unit of the signal, shown on the y axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.

    figure_ : matplotlib Figure
        Figure that contains the axes.

    lines_ : list of matplotlib Line2D
        Signal, one line for each row.

    cells_ : matplotlib PolyCollection
        Tokens. A token that continues in the next row has a cell in both.

    numbers_ : list of matplotlib Text
        Numbers in the cells.

    offsets_ : ndarray of shape (n_rows,)
        Position of amplitude 0 of each row on the y axis.

    See Also
    --------
    ReconstructionDisplay : A signal and its reconstruction.
    CodebookDisplay : The block that each token represents.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktok import BlockSegmenter, VectorQuantizer
    >>> from sktok.datasets import load_ecg
    >>> from sktok.plotting import TokenStripDisplay
    >>> ecg = load_ecg()
    >>> tokenizer = make_pipeline(
    ...     BlockSegmenter(25), VectorQuantizer(16, random_state=0)
    ... ).fit(ecg.data)
    >>> display = TokenStripDisplay.from_estimator(
    ...     tokenizer, ecg.data[:9], fs=ecg.fs, unit=ecg.unit
    ... )
    >>> len(display.lines_), len(display.tokens)  # 6.25 s in two rows
    (2, 90)
    """

    def __init__(self, signal, tokens, token_starts, vocabulary, *, fs=None, unit=None):
        self.signal = signal
        self.tokens = tokens
        self.token_starts = token_starts
        self.vocabulary = vocabulary
        self.fs = fs
        self.unit = unit

    @classmethod
    def from_estimator(
        cls, estimator, X, *, lead=0, fs=None, unit=None, ax=None, **kwargs
    ):
        """Tokenize windows and draw one of their leads end to end, with its tokens.

        Parameters
        ----------
        estimator : transformer or Pipeline
            Fitted, with `transform` and `inverse_transform`, and with one token for
            each block. The offset and gain tokens of a
            :class:`~sktok.GainShapeTokenizer` are left out.

        X : array-like of shape (n_windows, window_length), \
                (n_windows, n_leads, window_length) or (n_windows, n_blocks, block_size)
            Consecutive windows of a signal. Three axes are leads if the estimator has a
            step for windows, such as :class:`~sktok.BlockSegmenter`. Otherwise, they
            are blocks, which are joined.

        lead : int or str, default=0
            Lead to draw: its index, or its name if the tokenizer has the names of the
            leads, see :class:`~sktok.Resampler`.

        fs : float or None, default=None
            Sampling frequency in Hz. `None` takes that of the tokenizer; if it has
            none, the x axis counts samples.

        unit : str or None, default=None
            Unit of `X`, shown on the y axis. `X` is converted if the tokenizer has
            another unit of voltage. `None` takes the unit of the tokenizer.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` creates a new figure.

        **kwargs : dict
            Passed to `plot`, for example ``seconds_per_row``.

        Returns
        -------
        display : TokenStripDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the estimator does not make one token for each block, there is no such
            lead, the tokenizer was fitted to another sampling frequency or unit, and as
            in `plot`.
        """
        X, facts = with_facts(estimator, X, fs, unit)
        restored, vocabulary = restore_blocks(estimator, X)
        index = lead_index(lead, restored.signal.shape[1], estimator)
        windows, tokens = restored.signal[:, index], restored.blocks.tokens[:, index]
        starts = end_to_end(restored.blocks.starts, windows)
        display = cls(windows.ravel(), tokens.ravel(), starts, vocabulary, **facts)
        return display.plot(ax=ax, **kwargs)

    def plot(
        self,
        ax=None,
        *,
        seconds_per_row="auto",
        signal_kwargs=None,
        cells_kwargs=None,
        ecg_paper="auto",
    ):
        """Draw the rows.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` creates a new figure.

        seconds_per_row : float or "auto", default="auto"
            Length of a row. "auto" makes at most 30 rows of about 3 s, or of 1,000
            samples if `fs` is not known. The first row ends at the end of a token. The
            others have the same length; the last one may be shorter.

        signal_kwargs : dict or None, default=None
            Passed to `Axes.plot` for the signal.

        cells_kwargs : dict or None, default=None
            Passed to `PolyCollection` for the tokens, for example ``cmap``.

        ecg_paper : bool or "auto", default="auto"
            Whether to draw the squares of ECG paper behind the signal, 0.2 s by 0.5 mV
            and 0.04 s by 0.1 mV, unless they are too small to be distinguished. "auto"
            draws them if the signal is in mV and its sampling frequency is known.

        Returns
        -------
        display : TokenStripDisplay
            This display.

        Raises
        ------
        ValueError
            If `fs` or `seconds_per_row` is not positive, `seconds_per_row` is given
            without `fs`, "auto" would make more than 30 rows, or `ecg_paper` is True
            without `fs` and mV.
        """
        has_paper = self._wants_ecg_paper(ecg_paper)
        n_per_row = self._samples_per_row(seconds_per_row)
        firsts = np.arange(0, len(self.signal), n_per_row)
        lasts = np.append(firsts[1:], len(self.signal))
        ax = self._set_axes(ax, figsize=(8, 0.7 + 2.3 * len(firsts)))
        low, high = self._amplitudes()
        pitch = (high - low) / (1 - _CELL_HEIGHT - _GAP)
        self.offsets_ = -pitch * np.arange(len(firsts))
        ax.set_xlim(0, self._to_time(lasts[0]))
        ax.set_ylim(self.offsets_[-1] + high - pitch, high)
        self.lines_ = []
        style = styled(ax, {"color": "ink", "linewidth": 1}, signal_kwargs)
        for first, last, offset in zip(firsts, lasts, self.offsets_, strict=True):
            if has_paper:
                seconds = 0, (last - first) / self.fs
                self._draw_ecg_paper(seconds, (low, high), offset=offset)
            part = self.signal[first : last + 1]  # joined to the next row
            time = self._to_time(np.arange(len(part)))
            self.lines_ += ax.plot(time, part + offset, **style)
            self._label_row(first, last, offset + (low + high) / 2)
        self._draw_cells(firsts, low, _CELL_HEIGHT * pitch, cells_kwargs)
        self._describe_axes(low, high)
        return self

    def _samples_per_row(self, seconds_per_row):
        """Length of a row in samples."""
        if seconds_per_row != "auto":
            if isinstance(seconds_per_row, Real) and seconds_per_row > 0 and self.fs:
                return max(1, round(seconds_per_row * self.fs))
            raise ValueError(
                f"seconds_per_row={seconds_per_row!r} with fs={self.fs}: expected a "
                'number above 0 and the sampling frequency, or "auto".'
            )
        n_samples = len(self.signal)
        about = _SECONDS_PER_ROW * self.fs if self.fs else _SAMPLES_PER_ROW
        n_rows = max(1, round(n_samples / about))
        ends = np.append(self.token_starts[1:], n_samples)
        n_per_row = int(ends[np.searchsorted(ends, n_samples / n_rows)])
        n_rows = math.ceil(n_samples / n_per_row)
        if n_rows > _MAX_ROWS:
            raise ValueError(
                f"{n_samples} samples make {n_rows} rows of {n_per_row}, expected at "
                f"most {_MAX_ROWS}: draw fewer windows, or set seconds_per_row and fs."
            )
        return n_per_row

    def _amplitudes(self):
        """Lowest and highest amplitude of a row, in whole steps of 0.5 for mV."""
        low, high = self.signal.min(), self.signal.max()
        if self.unit == "mV":
            low, high = 0.5 * np.floor(low / 0.5), 0.5 * np.ceil(high / 0.5)
        return (low, high) if low < high else (low - 0.5, high + 0.5)

    def _label_row(self, first, last, y):
        """Write the extent of a row to the right of it."""
        n_decimals = max(1, 1 - math.floor(math.log10(self.ax_.get_xlim()[1])))
        start, stop = np.round(self._to_time(np.array([first, last])), n_decimals)
        label = f"{start:.9g}–{stop:.9g}" + (" s" if self.fs else "")
        place = {"transform": self.ax_.get_yaxis_transform(), "va": "center"}
        self.ax_.text(1.01, y, label, fontsize="small", **place)

    def _draw_cells(self, firsts, top, height, cells_kwargs):
        """Draw the tokens below their samples, and their numbers if there is room."""
        # Cells start where a token or a row starts.
        starts = np.union1d(self.token_starts, firsts[firsts > self.token_starts[0]])
        stops = np.append(starts[1:], len(self.signal))
        token = np.searchsorted(self.token_starts, starts, side="right") - 1
        row = np.searchsorted(firsts, starts, side="right") - 1
        left, right = self._to_time(np.array([starts, stops]) - firsts[row])
        upper = self.offsets_[row] + top
        has_gaps = self._points_per_unit()[0] * np.median(right - left) > _MIN_WIDTH
        edge = "background" if has_gaps else "face"
        cells = rectangles(left, right, upper - height, upper)
        style = _CELLS | {"edgecolor": edge}
        self.cells_ = self._add("PolyCollection", cells, style, cells_kwargs)
        self.cells_.set_array(np.asarray(self.tokens)[token])
        self.cells_.set_clim(self.vocabulary[0], self.vocabulary[-1])
        centers = np.column_stack([left + right, 2 * upper - height]) / 2
        sizes = np.column_stack([right - left, np.full(len(left), height)])
        self._draw_numbers(centers, sizes * self._points_per_unit())

    def _draw_numbers(self, centers, room):
        """Write the number of each token into its cell, turned if needed."""
        tokens = self.cells_.get_array()
        n_digits = len(str(self.vocabulary[-1]))
        size = np.array([0.62 * n_digits + 0.4, 1.25]) * _NUMBERS["size"]
        fits, fits_turned = ((room >= s).all(axis=1) for s in (size, size[::-1]))
        rotation = np.where(fits, 0, 90)
        color = np.where(lightness(self.cells_.to_rgba(tokens)) > 0.5, "black", "white")
        self.numbers_ = []
        for i in np.flatnonzero(fits | fits_turned):
            style = _NUMBERS | {"rotation": rotation[i], "color": color[i]}
            text = self.ax_.text(*centers[i], str(tokens[i]), **style)
            text.set_in_layout(False)  # it is inside the axes; measuring it is slow
            self.numbers_.append(text)

    def _describe_axes(self, low, high):
        """Set ticks and labels, and a legend with the first and the last token."""
        from matplotlib.patches import Patch
        from matplotlib.ticker import MaxNLocator

        levels = MaxNLocator(3, steps=[1, 2, 5, 10]).tick_values(low, high)
        levels = levels[(levels >= low) & (levels <= high)]
        names = [f"{level:g}".replace("-", "−") for level in levels]
        positions = np.add.outer(self.offsets_, levels).ravel()
        self.ax_.set_yticks(positions, names * len(self.offsets_))
        self.ax_.set_ylabel(with_unit("amplitude", self.unit))
        self.ax_.locator_params(axis="x", steps=[1, 2, 5, 10])
        self.ax_.set_xlabel("time in the row (s)" if self.fs else "sample in the row")
        style = styled(self.ax_, {"edgecolor": "ink", "linewidth": 0.5})
        patches = [
            Patch(facecolor=self.cells_.to_rgba(token), label=f"token {token}", **style)
            for token in (self.vocabulary[0], self.vocabulary[-1])
        ]
        self._add_legend(patches)
