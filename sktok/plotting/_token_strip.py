"""A strip of ECG over its tokens."""

import math
from numbers import Real

import numpy as np

from sktok._rows import require_fs
from sktok.metrics import _same_shape
from sktok.plotting._axes import (
    background,
    draw_ecg_paper,
    legend_above,
    lightness,
    make_axes,
    palette,
    points_per_unit,
    wants_ecg_paper,
)
from sktok.plotting._fitted import block_tokens, token_starts

_SECONDS_PER_ROW = 3.0
_SAMPLES_PER_ROW = 1000  # where the sampling frequency is not known
_MOST_ROWS = 30  # that are drawn unasked
_CELL_HEIGHT, _GAP = 0.14, 0.06  # as shares of the height of a row
_FONT_SIZE = 6.0  # points
_CLOSEST_GAPS = 3.5  # points


class TokenStripDisplay:
    """A long strip of ECG, row below row, with the token of each block under it.

    Make it by `from_estimator`. A token is a cell exactly under the samples that it
    stands for, with its number where there is room for it; its colour is darker, the
    smaller its number.

    Parameters
    ----------
    signal : ndarray of shape (n_samples,)
        The signal.

    tokens : ndarray of int, shape (n_tokens,)
        Its tokens, in their order.

    token_starts : ndarray of int, shape (n_tokens,)
        The sample at which each of them begins; it ends where the next one begins.

    vocabulary : range
        The tokens that there are.

    fs : float or None, default=None
        Sampling frequency in Hz; without it the axis counts samples.

    unit : str or None, default=None
        Unit of the signal, for the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes that were drawn on.

    figure_ : matplotlib Figure
        Figure that holds them.

    lines_ : list of matplotlib Line2D
        The signal, one line for each row.

    cells_ : matplotlib PolyCollection
        The tokens; one that goes on in the next row has two cells.

    numbers_ : list of matplotlib Text
        The numbers in the cells, if there is room.

    offsets_ : ndarray of shape (n_rows,)
        Where the amplitude 0 of each row is on the axes.

    See Also
    --------
    ReconstructionDisplay : What becomes of a signal.
    CodebookDisplay : What each token stands for.

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
        cls,
        estimator,
        X,
        *,
        fs=None,
        unit=None,
        seconds_per_row="auto",
        ax=None,
        **kwargs,
    ):
        """Tokenize windows and draw them, end to end, with their tokens.

        Parameters
        ----------
        estimator : transformer or Pipeline
            Fitted, with `transform` and `inverse_transform`; makes one token of each
            block. The tokens of offset and gain of a
            :class:`~sktok.GainShapeTokenizer` are left out.

        X : array-like of shape (n_windows, window_length)
            Consecutive windows of a signal.

        fs : float or None, default=None
            Sampling frequency in Hz; without it the axis counts samples.

        unit : str or None, default=None
            Unit of the signal, for the axis.

        seconds_per_row : float or "auto", default="auto"
            Length of a row; see `plot`.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        display : TokenStripDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If the estimator does not make one token of each block, or as `plot`
            raises it.
        """
        tokens, token_length, vocabulary, X_hat = block_tokens(estimator, X)
        windows, _ = _same_shape(X, X_hat)
        window_length = math.prod(windows.shape[1:])
        return cls(
            windows.ravel(),
            tokens.ravel(),
            token_starts(len(windows), window_length, token_length),
            vocabulary,
            fs=fs,
            unit=unit,
        ).plot(ax=ax, seconds_per_row=seconds_per_row, **kwargs)

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
            Axes to draw on; `None` makes a new figure.

        seconds_per_row : float or "auto", default="auto"
            Length of a row. "auto" makes at most 30 rows of about 3 s, or 1,000 samples
            if `fs` is not known, and none shorter than a token. The first ends where a
            token ends, and the others are as long; the last may be shorter.

        signal_kwargs : dict or None, default=None
            Passed on to `Axes.plot` for the signal.

        cells_kwargs : dict or None, default=None
            Passed on to `PolyCollection` for the tokens, such as ``cmap``.

        ecg_paper : bool or "auto", default="auto"
            Whether to draw the squares of ECG paper behind the signal, 0.2 s by 0.5 mV
            and 0.04 s by 0.1 mV, as far as they can be told apart. "auto" does so for
            a signal in mV whose sampling frequency is known.

        Returns
        -------
        display : TokenStripDisplay
            This display.

        Raises
        ------
        ValueError
            If `fs` or `seconds_per_row` is not above 0, the latter is given without
            `fs` or makes more than 30 rows by "auto", or `ecg_paper` is True without
            `fs` and mV.
        """
        require_fs(self.fs)
        has_paper = wants_ecg_paper(ecg_paper, self.fs, self.unit)
        n_per_row = self._samples_per_row(seconds_per_row)
        n_rows = -(-len(self.signal) // n_per_row)
        self.figure_, self.ax_ = make_axes(ax, figsize=(8, 0.7 + 2.3 * n_rows))
        low, high = self._amplitudes()
        pitch = (high - low) / (1 - _CELL_HEIGHT - _GAP)
        self.offsets_ = -pitch * np.arange(n_rows)
        per_sample = 1 / (self.fs or 1)
        self.ax_.set_xlim(0, min(n_per_row, len(self.signal)) * per_sample)
        self.ax_.set_ylim(self.offsets_[-1] + high - pitch, high)
        if has_paper:
            self._draw_paper(n_per_row, low, high)
        self._draw_signal(n_per_row, signal_kwargs or {})
        self._draw_cells(n_per_row, low, _CELL_HEIGHT * pitch, cells_kwargs or {})
        self._describe_axes(low, high, n_per_row)
        return self

    def _samples_per_row(self, seconds_per_row):
        """Length of a row in samples."""
        if seconds_per_row == "auto":
            about = _SECONDS_PER_ROW * self.fs if self.fs else _SAMPLES_PER_ROW
            n_rows = max(1, round(len(self.signal) / about))
            ends = np.append(self.token_starts[1:], len(self.signal))
            n_per_row = int(ends[np.searchsorted(ends, len(self.signal) / n_rows)])
            n_rows = -(-len(self.signal) // n_per_row)
            if n_rows > _MOST_ROWS:
                raise ValueError(
                    f"{len(self.signal)} samples make {n_rows} rows of {n_per_row}, "
                    f"expected {_MOST_ROWS} rows at most: draw fewer windows, or set "
                    "seconds_per_row" + ("." if self.fs else " and fs.")
                )
            return n_per_row
        if not (isinstance(seconds_per_row, Real) and seconds_per_row > 0 and self.fs):
            raise ValueError(
                f"seconds_per_row={seconds_per_row!r} with fs={self.fs}: expected a "
                'number above 0 and the sampling frequency, or "auto".'
            )
        return max(1, round(seconds_per_row * self.fs))

    def _amplitudes(self):
        """Lowest and highest amplitude of a row, in whole steps of 0.5 for mV."""
        low, high = self.signal.min(), self.signal.max()
        if self.unit == "mV":
            low, high = 0.5 * np.floor(low / 0.5), 0.5 * np.ceil(high / 0.5)
        if low == high:
            low, high = low - 0.5, high + 0.5
        return low, high

    def _draw_paper(self, n_per_row, low, high):
        """ECG paper behind each row, as far as there is signal."""
        for row, offset in enumerate(self.offsets_):
            n_samples = min(n_per_row, len(self.signal) - row * n_per_row)
            seconds = 0, n_samples / self.fs
            draw_ecg_paper(self.ax_, seconds, (low, high), offset=offset)

    def _draw_signal(self, n_per_row, signal_kwargs):
        """The signal, row below row."""
        style = {"color": palette(self.ax_)["ink"], "linewidth": 1.0}
        self.lines_ = []
        for row, offset in enumerate(self.offsets_):
            # With the first sample of the next row, so that no piece is missing.
            part = self.signal[row * n_per_row : (row + 1) * n_per_row + 1]
            time = np.arange(len(part)) / (self.fs or 1)
            self.lines_ += self.ax_.plot(time, part + offset, **style | signal_kwargs)

    def _draw_cells(self, n_per_row, top, height, cells_kwargs):
        """The tokens, each under its samples, and their numbers where there is room."""
        from matplotlib.collections import PolyCollection

        cells = self._cells(n_per_row)
        token, row, start, stop = cells.T
        left, right = start / (self.fs or 1), stop / (self.fs or 1)
        upper = self.offsets_[row] + top
        corners = [(left, upper), (right, upper), (right, upper - height)]
        corners = np.moveaxis([*corners, (left, upper - height)], 2, 0)
        per_unit, _ = points_per_unit(self.ax_)
        has_gaps = per_unit * np.median(right - left) > _CLOSEST_GAPS
        style = {
            "cmap": "cividis",
            "edgecolor": background(self.ax_) if has_gaps else "face",
            "linewidth": 0.6,
        }
        self.cells_ = PolyCollection(corners, **style | cells_kwargs)
        self.cells_.set_array(token)
        self.cells_.set_clim(self.vocabulary.start, self.vocabulary.stop - 1)
        self.ax_.add_collection(self.cells_, autolim=False)
        centers = np.column_stack([(left + right) / 2, upper - height / 2])
        self._draw_numbers(token, centers, right - left, height)

    def _cells(self, n_per_row):
        """Token, row, and first and last sample in the row, of each cell."""
        stops = np.append(self.token_starts[1:], len(self.signal))
        cells = []
        for token, start, stop in zip(
            self.tokens, self.token_starts, stops, strict=True
        ):
            for row in range(start // n_per_row, (stop - 1) // n_per_row + 1):
                first = row * n_per_row
                end = min(stop - first, n_per_row)
                cells.append((token, row, max(start - first, 0), end))
        return np.array(cells)

    def _draw_numbers(self, tokens, centers, widths, height):
        """The number of each token in its cell, upright or turned, where it fits."""
        per_x, per_y = points_per_unit(self.ax_)
        n_digits = len(str(self.vocabulary.stop - 1))
        length, thickness = (0.62 * n_digits + 0.4) * _FONT_SIZE, 1.25 * _FONT_SIZE
        colors = self.cells_.to_rgba(tokens)
        self.numbers_ = []
        for token, center, width, color in zip(
            tokens, centers, widths, colors, strict=True
        ):
            if per_x * width >= length and per_y * height >= thickness:
                rotation = 0
            elif per_x * width >= thickness and per_y * height >= length:
                rotation = 90
            else:
                continue
            text = self.ax_.text(
                *center,
                str(token),
                fontsize=_FONT_SIZE,
                rotation=rotation,
                ha="center",
                va="center_baseline",
                color="black" if lightness(color) > 0.5 else "white",
            )
            text.set_in_layout(False)  # it is inside the axes; to measure it takes long
            self.numbers_.append(text)

    def _describe_axes(self, low, high, n_per_row):
        """Amplitudes on the left, times on the right of each row, and a legend."""
        from matplotlib.patches import Patch
        from matplotlib.ticker import MaxNLocator

        levels = MaxNLocator(3, steps=[1, 2, 5, 10]).tick_values(low, high)
        levels = levels[(levels >= low) & (levels <= high)]
        self.ax_.set_yticks(
            np.add.outer(self.offsets_, levels).ravel(),
            [f"{level:g}".replace("-", "−") for level in levels] * len(self.offsets_),
        )
        self.ax_.set_ylabel(f"amplitude ({self.unit})" if self.unit else "amplitude")
        self.ax_.locator_params(axis="x", steps=[1, 2, 5, 10])
        self.ax_.set_xlabel("time in the row (s)" if self.fs else "sample in the row")
        for row, offset in enumerate(self.offsets_):
            first, stop = row * n_per_row, (row + 1) * n_per_row
            last = min(stop, len(self.signal))
            self.ax_.annotate(
                self._extent_in_words(first, last, n_per_row),
                (1, offset + (low + high) / 2),
                xycoords=self.ax_.get_yaxis_transform(),
                xytext=(4, 0),
                textcoords="offset points",
                fontsize="small",
                va="center",
            )
        ends = self.vocabulary[0], self.vocabulary[-1]
        patches = [
            Patch(
                facecolor=self.cells_.to_rgba(token),
                edgecolor=palette(self.ax_)["ink"],
                linewidth=0.5,
                label=f"token {token}",
            )
            for token in ends
        ]
        legend_above(self.ax_, patches)

    def _extent_in_words(self, first, last, n_per_row):
        """From where to where a row goes, in tenths of a second or finer."""
        if not self.fs:
            return f"{first}–{last}"
        n_decimals = max(1, 1 - math.floor(math.log10(n_per_row / self.fs)))
        start, stop = (
            np.format_float_positional(sample / self.fs, n_decimals, trim="-")
            for sample in (first, last)
        )
        return f"{start}–{stop} s"
