"""Twelve leads as cardiologists have them."""

import numpy as np

from sktok._leads import TWELVE_LEADS, derive_leads
from sktok._rows import require_fs
from sktok._steps import signal_facts
from sktok._units import conversion
from sktok.metrics._distortion import validate_pair
from sktok.plotting._axes import SignalDisplay, new_axes
from sktok.plotting._fitted import restore, with_facts

_ROWS = [
    ["I", "aVR", "V1", "V4"],
    ["II", "aVL", "V2", "V5"],
    ["III", "aVF", "V3", "V6"],
]
_MM_PER_SECOND, _MM_PER_MILLIVOLT, _MM_PER_INCH = 25, 10, 25.4
_MARGINS = 12, 17  # mm beside the paper, and above and below it
_SQUARE = 0.5  # mV, of the paper
_GAP = 0.3  # mV between the curves of two rows
_NAME_AT = 0.6  # mV above the baseline
_SIGNAL = {"color": "signal", "linewidth": 2, "label": "signal"}
_RESTORED = {"color": "accent", "linewidth": 0.8, "label": "reconstruction"}
_BORDERS = {"colors": "0.5", "linewidths": 0.8}
_NAME = {"fontsize": 9, "fontweight": "bold", "va": "bottom"}


class TwelveLeadDisplay(SignalDisplay):
    """Twelve leads on ECG paper, with the reconstruction over them.

    Create it with `from_estimator` or `from_arrays`. There are three rows of four
    leads, each of which has a quarter of the time, and a row of one lead for all of the
    time, the rhythm strip. A second is as long as 2.5 mV are high: 25 mm/s and 10
    mm/mV.

    Parameters
    ----------
    signal : ndarray of shape (12, n_samples)
        Signal in mV, of the leads I, II, III, aVR, aVL, aVF and V1 to V6.

    reconstruction : ndarray of shape (12, n_samples) or None, default=None
        Its reconstruction.

    fs : float
        Sampling frequency in Hz.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.

    figure_ : matplotlib Figure
        Figure that contains the axes.

    lines_ : dict of str to list of matplotlib Line2D
        Signal and reconstruction of each lead, and of the ``"rhythm"`` strip.

    See Also
    --------
    ReconstructionDisplay : One lead, and the error.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok.plotting import TwelveLeadDisplay
    >>> X = np.random.default_rng(0).normal(scale=0.1, size=(1, 8, 2500))  # 10 s, in mV
    >>> leads = ["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"]
    >>> display = TwelveLeadDisplay.from_arrays(X, lead=leads, fs=250)
    >>> display.ax_.get_xlabel()
    'time (s), 25 mm/s and 10 mm/mV'
    """

    def __init__(self, signal, reconstruction=None, *, fs):
        self.signal = signal
        self.reconstruction = reconstruction
        self.fs = fs

    @classmethod
    def from_estimator(
        cls, estimator, X, *, lead=None, fs=None, unit=None, ax=None, **kwargs
    ):
        """Reconstruct windows and draw them end to end.

        Parameters
        ----------
        estimator : transformer or Pipeline
            Fitted to windows of several leads.

        X : array-like of shape (n_windows, n_leads, window_length)
            Consecutive windows of a signal. Of the limb leads, two are enough.

        lead : sequence of str or None, default=None
            Names of the leads. `None` takes those of the tokenizer.

        fs : float or None, default=None
            Sampling frequency in Hz. `None` takes that of the tokenizer.

        unit : str or None, default=None
            Unit of `X`, one of voltage. `None` takes that of the tokenizer.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` creates a new figure.

        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        display : TwelveLeadDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If `lead` is neither None nor a sequence of names.
        ValueError
            If the sampling frequency, the unit or the names of the leads are not known,
            the unit is not one of voltage, leads are missing, or the tokenizer was
            fitted to another sampling frequency or unit.
        """
        X, facts = with_facts(estimator, X, fs, unit)
        lead = signal_facts(estimator).lead if lead is None else lead
        restored = restore(estimator, X)
        pair = restored.signal, restored.reconstruction
        return cls._from_windows(*pair, lead, **facts).plot(ax=ax, **kwargs)

    @classmethod
    def from_arrays(cls, X, X_hat=None, *, lead, fs, unit="mV", ax=None, **kwargs):
        """Draw windows, and their reconstruction if there is one, end to end.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_leads, window_length)
            Consecutive windows of a signal.

        X_hat : array-like of the shape of X, or None, default=None
            Reconstruction of the signal.

        lead : sequence of str
            Names of the leads, such as ``ecg.lead[0]`` of a Bunch.

        fs : float
            Sampling frequency in Hz.

        unit : str, default="mV"
            Unit of `X`, one of voltage.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` creates a new figure.

        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        display : TwelveLeadDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If `lead` is not a sequence of names.
        ValueError
            If the arrays differ in shape, leads are missing, `fs` is not positive, or
            the unit is not one of voltage.
        """
        X, restored = validate_pair(X, X if X_hat is None else X_hat)
        restored = None if X_hat is None else restored
        display = cls._from_windows(X, restored, lead, fs=fs, unit=unit)
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def _from_windows(cls, X, X_hat, lead, *, fs, unit):
        """The display of windows (n_windows, n_leads, window_length)."""
        for name, value in (("fs", fs), ("unit", unit), ("lead", lead)):
            if value is None:
                raise ValueError(
                    f"{name}=None, and the tokenizer does not say it: give it to draw "
                    "ECG paper and the names of the leads."
                )
        factor = conversion(unit, "mV")
        if factor is None:
            raise ValueError(f"unit={unit!r}: expected one of voltage, such as 'mV'.")
        if X.ndim != 3:
            raise ValueError(
                f"X has the shape {X.shape}, expected (n_windows, n_leads, "
                "window_length)."
            )
        twelve = [
            x if x is None else factor * np.hstack(derive_leads(x, lead))
            for x in (X, X_hat)
        ]
        return cls(*twelve, fs=require_fs(fs))

    def plot(
        self, ax=None, *, rhythm="II", signal_kwargs=None, reconstruction_kwargs=None
    ):
        """Draw the leads, their names and the paper.

        Each lead is drawn around its own median.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` creates a new figure, in which the paper has its
            true size.

        rhythm : str, default="II"
            Lead of the rhythm strip.

        signal_kwargs, reconstruction_kwargs : dict or None, default=None
            Passed to `Axes.plot`.

        Returns
        -------
        display : TwelveLeadDisplay
            This display.

        Raises
        ------
        ValueError
            If `rhythm` is not one of the twelve leads.
        """
        strips = self._strips(rhythm)
        baselines, bottom = self._baselines(strips)
        seconds = self.signal.shape[1] / self.fs
        if ax is None:
            size = seconds * _MM_PER_SECOND, -bottom * _MM_PER_MILLIVOLT
            sides = zip(size, _MARGINS, strict=True)
            size = [(side + 2 * margin) / _MM_PER_INCH for side, margin in sides]
            ax = new_axes(figsize=size)
        ax = self._set_axes(ax)
        ax.set(xlim=(0, seconds), ylim=(bottom, 0), yticks=[])
        ax.set_aspect(_MM_PER_MILLIVOLT / _MM_PER_SECOND)
        ax.set_xlabel(f"time (s), {_MM_PER_SECOND} mm/s and {_MM_PER_MILLIVOLT} mm/mV")
        self._draw_ecg_paper((0, seconds), (bottom, 0))
        styles = (_SIGNAL, signal_kwargs), (_RESTORED, reconstruction_kwargs)
        self.lines_, borders = {}, []
        for strip, baseline in zip(strips, baselines, strict=True):
            for key, index, samples in strip:
                x, curves = samples / self.fs, self._curves(index, samples)
                self.lines_[key] = [
                    self._plot(x, baseline + curve, *style)
                    for curve, style in zip(curves, styles, strict=False)
                ]
                name = TWELVE_LEADS[index]
                ax.text(x[0] + 0.05, baseline + _NAME_AT, name, **_NAME)
                if x[0] > 0:
                    borders.append([(x[0], baseline - 0.5), (x[0], baseline + 0.5)])
        self._add("LineCollection", borders, _BORDERS)
        if self.reconstruction is not None:
            self._add_legend(self.lines_["rhythm"])
        return self

    def _curves(self, index, samples):
        """A part of a lead around its median, and its reconstruction, if any."""
        level = np.median(self.signal[index, samples])
        both = self.signal, self.reconstruction
        return [x[index, samples] - level for x in both if x is not None]

    def _strips(self, rhythm):
        """For each row: key, index and samples of each lead in it."""
        index = {name.casefold(): i for i, name in enumerate(TWELVE_LEADS)}
        if str(rhythm).casefold() not in index:
            raise ValueError(
                f"rhythm={rhythm!r}: expected one of {', '.join(TWELVE_LEADS)}."
            )
        every = np.arange(self.signal.shape[1])
        parts = np.array_split(every, len(_ROWS[0]))
        strips = [
            [
                (name, index[name.casefold()], part)
                for name, part in zip(row, parts, strict=True)
            ]
            for row in _ROWS
        ]
        return [*strips, [("rhythm", index[rhythm.casefold()], every)]]

    def _baselines(self, strips):
        """Heights of the rows in mV, below 0, and that of the lower edge.

        They are on lines of the paper, and curves of two rows do not touch.
        """
        heights, height, below = [], 0.0, 0.0
        for strip in strips:
            curves = [c for _, *part in strip for c in self._curves(*part)]
            highest = max(curve.max() for curve in curves)
            height -= below + max(highest, _NAME_AT + 0.3) + _GAP
            height = _SQUARE * np.floor(height / _SQUARE)
            heights.append(height)
            below = max(_SQUARE, -min(curve.min() for curve in curves))
        return heights, _SQUARE * np.floor((height - below - _GAP) / _SQUARE)
