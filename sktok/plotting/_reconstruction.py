"""A signal and its reconstruction."""

import numpy as np

from sktok._rows import require_int
from sktok.metrics._distortion import validate_pair
from sktok.plotting._axes import SignalDisplay, new_axes, styled, with_unit
from sktok.plotting._fitted import end_to_end, find, lead_index, restore, with_facts

_SIGNAL = {"color": "signal", "linewidth": 2.5, "label": "signal"}
_RESTORED = {"color": "accent", "linewidth": 1, "label": "reconstruction"}
_ERROR = {"color": "accent", "linewidth": 0.8}
_ZERO = {"color": "signal", "linewidth": 0.8}
# Marker 2 is a tick upwards.
_TICKS = {"color": "ink", "marker": 2, "markersize": 6, "markeredgewidth": 0.7}
_TICKS |= {"linestyle": "", "label": "start of a token"}
_MIN_SPACING = 3.5  # points between ticks


class ReconstructionDisplay(SignalDisplay):
    """A signal, its reconstruction, and the error.

    Create it with `from_estimator` or `from_arrays`. The two curves are those of
    Figures 1, 2 and 5 of the paper.

    Parameters
    ----------
    signal : ndarray of shape (n_samples,)
        Signal.

    reconstruction : ndarray of shape (n_samples,)
        Reconstruction of the signal.

    fs : float or None, default=None
        Sampling frequency in Hz; `None` counts samples on the x axis.

    unit : str or None, default=None
        Unit of the signal, shown on the y axis.

    token_starts : ndarray of int or None, default=None
        Samples at which tokens start.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.

    error_ax_ : matplotlib Axes or None
        Axes of the error, or None.

    figure_ : matplotlib Figure
        Figure that contains the axes.

    lines_ : list of matplotlib Line2D
        Signal and reconstruction.

    error_line_ : matplotlib Line2D or None
        Error, reconstruction minus signal.

    boundaries_ : matplotlib Line2D or None
        Ticks at the start of each token.

    See Also
    --------
    TokenStripDisplay : A signal and its tokens.
    QuantizationDisplay : Values and the bin centres that represent them.

    Notes
    -----
    No ticks are drawn if they would be less than 3.5 points apart.

    Examples
    --------
    >>> from sktok import BinQuantizer
    >>> from sktok.datasets import load_ecg
    >>> from sktok.plotting import ReconstructionDisplay
    >>> ecg = load_ecg()
    >>> quantizer = BinQuantizer(8).fit(ecg.data)
    >>> display = ReconstructionDisplay.from_estimator(
    ...     quantizer, ecg.data[:4], fs=ecg.fs, unit=ecg.unit
    ... )
    >>> display.ax_.get_xlabel(), display.error_ax_.get_ylabel()
    ('time (s)', 'error (µV)')
    """

    def __init__(
        self, signal, reconstruction, *, fs=None, unit=None, token_starts=None
    ):
        self.signal = signal
        self.reconstruction = reconstruction
        self.fs = fs
        self.unit = unit
        self.token_starts = token_starts

    @classmethod
    def from_estimator(
        cls, estimator, X, *, lead=0, fs=None, unit=None, ax=None, **kwargs
    ):
        """Reconstruct windows and draw one of their leads, end to end.

        Parameters
        ----------
        estimator : transformer or Pipeline
            Fitted, with `transform` and `inverse_transform`. If each token represents a
            block, a sample or a window, ticks mark the start of each token.

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
            Passed to `plot`.

        Returns
        -------
        display : ReconstructionDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there is no such lead, `fs` is not positive, or the tokenizer was fitted
            to another sampling frequency or unit.
        """
        X, facts = with_facts(estimator, X, fs, unit)
        restored = restore(estimator, X)
        index = lead_index(lead, restored.signal.shape[1], estimator)
        pair = restored.signal[:, index], restored.reconstruction[:, index]
        # Tokens of offset and gain describe whole windows.
        is_known = restored.blocks and not find(estimator, "token_ranges_")
        starts = restored.blocks.starts if is_known else None
        return cls._from_windows(*pair, starts, **facts).plot(ax=ax, **kwargs)

    @classmethod
    def from_arrays(
        cls,
        X,
        X_hat,
        *,
        lead=0,
        fs=None,
        unit=None,
        token_length=None,
        ax=None,
        **kwargs,
    ):
        """Draw windows of one lead and their reconstruction, end to end.

        Parameters
        ----------
        X : array-like of shape (n_windows, window_length), \
                (n_windows, n_leads, window_length) or (n_samples,)
            Signal, or consecutive windows of a signal. Blocks are no leads: join them
            first.

        X_hat : array-like of the shape of X
            Reconstruction of the signal.

        lead : int, default=0
            Index of the lead to draw.

        fs : float or None, default=None
            Sampling frequency in Hz; `None` counts samples on the x axis.

        unit : str or None, default=None
            Unit of the signal, shown on the y axis.

        token_length : int or None, default=None
            Samples that a token represents, counted from the start of each window. The
            last token of a window may represent fewer. `None` marks no tokens.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` creates a new figure.

        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        display : ReconstructionDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the arrays differ in shape or have more than three axes, there is no such
            lead, `fs` is not positive, or `token_length` is not a positive integer.
        """
        pair = [_windows_of(x, lead) for x in validate_pair(X, X_hat)]
        starts = None
        if token_length is not None:
            token_length = require_int("token_length", token_length)
            starts = np.arange(0, pair[0].shape[1], token_length)
        display = cls._from_windows(*pair, starts, fs=fs, unit=unit)
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def _from_windows(cls, windows, restored, starts, **facts):
        """The display of windows of one lead; tokens start at `starts` in each."""
        if starts is not None:
            starts = end_to_end(starts, windows)
        return cls(windows.ravel(), restored.ravel(), token_starts=starts, **facts)

    def plot(
        self,
        ax=None,
        *,
        error_ax=None,
        signal_kwargs=None,
        reconstruction_kwargs=None,
        error_kwargs=None,
        ecg_paper="auto",
    ):
        """Draw the two curves, the start of each token, and the error.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` creates a new figure with axes for the error.

        error_ax : matplotlib Axes or None, default=None
            Axes for the error, reconstruction minus signal. `None` draws no error if
            `ax` is given.

        signal_kwargs : dict or None, default=None
            Passed to `Axes.plot` for the signal.

        reconstruction_kwargs : dict or None, default=None
            Passed to `Axes.plot` for the reconstruction.

        error_kwargs : dict or None, default=None
            Passed to `Axes.plot` for the error.

        ecg_paper : bool or "auto", default="auto"
            Whether to draw the squares of ECG paper behind the curves, 0.2 s by 0.5 mV
            and 0.04 s by 0.1 mV, unless they are too small to be distinguished. "auto"
            draws them if the signal is in mV and its sampling frequency is known.

        Returns
        -------
        display : ReconstructionDisplay
            This display.

        Raises
        ------
        ValueError
            If `fs` is not positive, or `ecg_paper` is True without `fs` and mV.
        """
        has_paper = self._wants_ecg_paper(ecg_paper)
        if ax is None and error_ax is None:
            rows = {"sharex": True, "height_ratios": [3, 1]}
            ax, error_ax = new_axes(2, figsize=(8, 4), **rows)
        ax, self.error_ax_ = self._set_axes(ax), error_ax
        x = self._to_time(np.arange(len(self.signal)))
        signal = self._plot(x, self.signal, _SIGNAL, signal_kwargs)
        restored = self._plot(x, self.reconstruction, _RESTORED, reconstruction_kwargs)
        self.lines_ = [signal, restored]
        ax.set_xlabel("time (s)" if self.fs else "sample")
        ax.set_ylabel(with_unit("amplitude", self.unit))
        ax.margins(x=0)
        self.boundaries_ = self._draw_boundaries()
        if has_paper:
            ax.locator_params(steps=[1, 2, 5, 10])  # ticks on lines of the paper
            self._draw_ecg_paper(ax.get_xlim(), ax.get_ylim())
        self._add_legend()
        self.error_line_ = self._draw_error(x, error_kwargs)
        return self

    def _draw_boundaries(self):
        """Draw ticks along the lower edge, unless they are too close together."""
        if self.token_starts is None:
            return None
        starts = self._to_time(self.token_starts)
        per_unit, _ = self._points_per_unit()
        if len(starts) > 1 and per_unit * np.median(np.diff(starts)) < _MIN_SPACING:
            return None
        lower_edge = {"transform": self.ax_.get_xaxis_transform()}
        return self._plot(starts, np.zeros(len(starts)), _TICKS, lower_edge)

    def _draw_error(self, x, error_kwargs):
        """Draw reconstruction minus signal, in µV if the signal is in mV."""
        ax = self.error_ax_
        if ax is None:
            return None
        unit, factor = ("µV", 1000) if self.unit == "mV" else (self.unit, 1)
        error = factor * (self.reconstruction - self.signal)
        ax.axhline(0, **styled(ax, _ZERO))
        (line,) = ax.plot(x, error, **styled(ax, _ERROR, error_kwargs))
        ax.set(xlabel=self.ax_.get_xlabel(), ylabel=with_unit("error", unit))
        ax.margins(x=0)
        if self.ax_.get_shared_x_axes().joined(self.ax_, ax):
            self.ax_.tick_params(labelbottom=False)
            self.ax_.xaxis.label.set_visible(False)
            ax.figure.align_ylabels([self.ax_, ax])
        return line


def _windows_of(signal, lead):
    """Windows of one lead, shape (n_windows, window_length)."""
    if signal.ndim > 3:
        raise ValueError(
            f"The signal has the shape {signal.shape}, expected (n_windows, n_leads, "
            "window_length) at most: join its blocks."
        )
    if signal.ndim == 3:
        return signal[:, lead_index(lead, signal.shape[1])]
    lead_index(lead, 1)  # raises an error for another lead
    return np.atleast_2d(signal)
