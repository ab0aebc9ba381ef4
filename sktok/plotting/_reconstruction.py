"""A signal and what a tokenizer makes of it."""

import math
from numbers import Integral

import numpy as np

from sktok._rows import require_fs
from sktok.metrics import _same_shape
from sktok.plotting._axes import (
    draw_ecg_paper,
    import_pyplot,
    legend_above,
    make_axes,
    palette,
    points_per_unit,
    wants_ecg_paper,
)
from sktok.plotting._fitted import token_length_of, token_starts

_CLOSEST_TICKS = 3.5  # points


class ReconstructionDisplay:
    """A signal, what a tokenizer makes of it, and the error.

    Make it by `from_estimator` or `from_arrays`. The two curves are those of the
    paper's Figures 1, 2 and 5.

    Parameters
    ----------
    signal : ndarray of shape (n_samples,)
        The signal.

    reconstruction : ndarray of shape (n_samples,)
        Its reconstruction.

    fs : float or None, default=None
        Sampling frequency in Hz; without it the axis counts samples.

    unit : str or None, default=None
        Unit of the signal, for the axis.

    token_starts : ndarray of int or None, default=None
        The samples at which tokens begin.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes that were drawn on.

    error_ax_ : matplotlib Axes or None
        Axes that the error was drawn on.

    figure_ : matplotlib Figure
        Figure that holds them.

    lines_ : list of matplotlib Line2D
        The two curves.

    error_line_ : matplotlib Line2D or None
        The error.

    boundaries_ : matplotlib Line2D or None
        The ticks where tokens begin.

    See Also
    --------
    TokenStripDisplay : A signal and its tokens.
    QuantizationDisplay : What bins do to values.

    Notes
    -----
    The ticks where tokens begin are left out where they would be less than 3.5 points
    apart.

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
    def from_estimator(cls, estimator, X, *, fs=None, unit=None, ax=None, **kwargs):
        """Reconstruct windows and draw them, end to end.

        Parameters
        ----------
        estimator : transformer or Pipeline
            Fitted, with `transform` and `inverse_transform`. If each of its tokens is
            that of a block, a sample or a window, it is marked where they begin.

        X : array-like of shape (n_windows, window_length)
            Consecutive windows of a signal.

        fs : float or None, default=None
            Sampling frequency in Hz; without it the axis counts samples.

        unit : str or None, default=None
            Unit of the signal, for the axis.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        display : ReconstructionDisplay
            What was drawn.
        """
        tokens = estimator.transform(X)
        return cls.from_arrays(
            X,
            estimator.inverse_transform(tokens),
            fs=fs,
            unit=unit,
            token_length=token_length_of(
                estimator, np.asarray(tokens), np.shape(X)[1:]
            ),
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_arrays(
        cls, X, X_hat, *, fs=None, unit=None, token_length=None, ax=None, **kwargs
    ):
        """Draw windows and their reconstruction, end to end.

        Parameters
        ----------
        X : array-like of shape (n_windows, window_length) or (n_samples,)
            Signal, or consecutive windows of one.

        X_hat : array-like of the shape of X
            Its reconstruction.

        fs : float or None, default=None
            Sampling frequency in Hz; without it the axis counts samples.

        unit : str or None, default=None
            Unit of the signal, for the axis.

        token_length : int or None, default=None
            Samples that a token stands for, counted from the start of each window;
            the last token of a window may stand for fewer. `None` marks no tokens.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        display : ReconstructionDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If the arrays differ in shape, `fs` is not above 0, or `token_length` is
            not a whole number above 0.
        """
        signal, reconstruction = _same_shape(X, X_hat)
        starts = None
        if token_length is not None:
            if not (isinstance(token_length, Integral) and token_length > 0):
                raise ValueError(
                    f"token_length={token_length!r}: expected a whole number of "
                    "samples above 0, or None."
                )
            windows = np.atleast_2d(signal)
            window_length = math.prod(windows.shape[1:])
            starts = token_starts(len(windows), window_length, token_length)
        return cls(
            signal.ravel(),
            reconstruction.ravel(),
            fs=fs,
            unit=unit,
            token_starts=starts,
        ).plot(ax=ax, **kwargs)

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
            Axes to draw on; `None` makes a new figure, with axes for the error.

        error_ax : matplotlib Axes or None, default=None
            Axes for the error, reconstruction minus signal. `None` draws no error if
            `ax` is given.

        signal_kwargs : dict or None, default=None
            Passed on to `Axes.plot` for the signal.

        reconstruction_kwargs : dict or None, default=None
            Passed on to `Axes.plot` for the reconstruction.

        error_kwargs : dict or None, default=None
            Passed on to `Axes.plot` for the error.

        ecg_paper : bool or "auto", default="auto"
            Whether to draw the squares of ECG paper behind the curves, 0.2 s by 0.5 mV
            and 0.04 s by 0.1 mV, as far as they can be told apart. "auto" does so for
            a signal in mV whose sampling frequency is known.

        Returns
        -------
        display : ReconstructionDisplay
            This display.

        Raises
        ------
        ValueError
            If `fs` is not above 0, or `ecg_paper` is True without `fs` and mV.
        """
        require_fs(self.fs)
        has_paper = wants_ecg_paper(ecg_paper, self.fs, self.unit)
        if ax is None and error_ax is None:
            ax, error_ax = _two_axes()
        self.figure_, self.ax_ = make_axes(ax)
        self.error_ax_ = error_ax
        time = np.arange(len(self.signal)) / (self.fs or 1)
        self._draw_curves(time, signal_kwargs or {}, reconstruction_kwargs or {})
        self._draw_boundaries()
        if has_paper:
            self.ax_.locator_params(steps=[1, 2, 5, 10])  # ticks on lines of the paper
            draw_ecg_paper(self.ax_, self.ax_.get_xlim(), self.ax_.get_ylim())
        legend_above(self.ax_)
        self._draw_error(time, error_kwargs or {})
        return self

    def _draw_curves(self, time, signal_kwargs, reconstruction_kwargs):
        """The signal, and over it the reconstruction."""
        colors = palette(self.ax_)
        signal_style = {"color": colors["signal"], "linewidth": 2.5, "label": "signal"}
        reconstruction_style = {
            "color": colors["accent"],
            "linewidth": 1.0,
            "label": "reconstruction",
        }
        self.lines_ = [
            *self.ax_.plot(time, self.signal, **signal_style | signal_kwargs),
            *self.ax_.plot(
                time,
                self.reconstruction,
                **reconstruction_style | reconstruction_kwargs,
            ),
        ]
        self.ax_.set_xlabel("time (s)" if self.fs else "sample")
        self.ax_.set_ylabel(f"amplitude ({self.unit})" if self.unit else "amplitude")
        self.ax_.margins(x=0)

    def _draw_boundaries(self):
        """Ticks along the lower edge, unless they are too close to be told apart."""
        self.boundaries_ = None
        if self.token_starts is None:
            return
        starts = self.token_starts / (self.fs or 1)
        per_unit, _ = points_per_unit(self.ax_)
        if len(starts) > 1 and per_unit * np.median(np.diff(starts)) < _CLOSEST_TICKS:
            return
        (self.boundaries_,) = self.ax_.plot(
            starts,
            np.zeros(len(starts)),
            color=palette(self.ax_)["ink"],
            marker=2,  # a tick upwards
            markersize=6,
            markeredgewidth=0.7,
            linestyle="",
            transform=self.ax_.get_xaxis_transform(),
            label="start of a token",
        )

    def _draw_error(self, time, error_kwargs):
        """What the reconstruction has too much, in µV if the signal is in mV."""
        self.error_line_ = None
        if self.error_ax_ is None:
            return
        unit, factor = ("µV", 1000) if self.unit == "mV" else (self.unit, 1)
        error = factor * (self.reconstruction - self.signal)
        ax, colors = self.error_ax_, palette(self.error_ax_)
        ax.axhline(0, color=colors["signal"], linewidth=0.8)
        style = {"color": colors["accent"], "linewidth": 0.8}
        (self.error_line_,) = ax.plot(time, error, **style | error_kwargs)
        ax.set_xlabel(self.ax_.get_xlabel())
        ax.set_ylabel(f"error ({unit})" if unit else "error")
        ax.margins(x=0)
        if self.ax_.get_shared_x_axes().joined(self.ax_, ax):
            self.ax_.tick_params(labelbottom=False)
            self.ax_.xaxis.label.set_visible(False)
            ax.figure.align_ylabels([self.ax_, ax])


def _two_axes():
    """Axes for a signal, and lower ones for its error."""
    _, (ax, error_ax) = import_pyplot().subplots(
        2, figsize=(8, 4), sharex=True, height_ratios=[3, 1], layout="constrained"
    )
    for made in (ax, error_ax):
        made.spines[["top", "right"]].set_visible(False)
    return ax, error_ax
