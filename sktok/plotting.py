"""Pictures in the form of scikit-learn's Displays. They need matplotlib."""

import numpy as np

from sktok.metrics import _same_shape, mean_rate_and_mse, reconstruct

__all__ = ["QuantizationDisplay", "RateDistortionDisplay", "ReconstructionDisplay"]


def _axes(ax):
    """The figure and axes to draw on, made if there are none."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Plotting needs matplotlib: pip install 'sktok[plot]'"
        ) from error
    if ax is None:
        _, ax = plt.subplots(figsize=(8, 3), layout="constrained")
    return ax.figure, ax


def _legend_above(ax):
    """A legend in one row over the right end of the axes, where it hides no curve."""
    ax.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, borderpad=0.1
    )


class ReconstructionDisplay:
    """A signal and what a tokenizer makes of it (paper, Figures 1, 2 and 5).

    Make it by `from_estimator` or `from_arrays`.

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

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes that were drawn on.

    figure_ : matplotlib Figure
        Figure that holds them.

    lines_ : list of matplotlib Line2D
        The two curves.

    See Also
    --------
    QuantizationDisplay : What bins do to values.

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
    >>> display.ax_.get_xlabel()
    'time (s)'
    """

    def __init__(self, signal, reconstruction, *, fs=None, unit=None):
        self.signal = signal
        self.reconstruction = reconstruction
        self.fs = fs
        self.unit = unit

    @classmethod
    def from_estimator(cls, estimator, X, *, fs=None, unit=None, ax=None, **kwargs):
        """Reconstruct windows and draw them, end to end.

        Parameters
        ----------
        estimator : transformer or Pipeline
            Fitted, with `transform` and `inverse_transform`.

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
        return cls.from_arrays(
            X,
            reconstruct(estimator, X),
            fs=fs,
            unit=unit,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_arrays(cls, X, X_hat, *, fs=None, unit=None, ax=None, **kwargs):
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

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        display : ReconstructionDisplay
            What was drawn.
        """
        signal, reconstruction = (x.ravel() for x in _same_shape(X, X_hat))
        display = cls(signal, reconstruction, fs=fs, unit=unit)
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, signal_kwargs=None, reconstruction_kwargs=None):
        """Draw the two curves.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        signal_kwargs : dict or None, default=None
            Passed on to `Axes.plot` for the signal.

        reconstruction_kwargs : dict or None, default=None
            Passed on to `Axes.plot` for the reconstruction.

        Returns
        -------
        display : ReconstructionDisplay
            This display.
        """
        self.figure_, self.ax_ = _axes(ax)
        time = np.arange(len(self.signal)) / (self.fs or 1)
        signal_style = {"color": "0.6", "linewidth": 2.5, "label": "signal"}
        reconstruction_style = {
            "color": "tab:red",
            "linewidth": 1.0,
            "label": "reconstruction",
        }
        self.lines_ = [
            *self.ax_.plot(time, self.signal, **signal_style | (signal_kwargs or {})),
            *self.ax_.plot(
                time,
                self.reconstruction,
                **reconstruction_style | (reconstruction_kwargs or {}),
            ),
        ]
        self.ax_.set_xlabel("time (s)" if self.fs else "sample")
        self.ax_.set_ylabel(f"amplitude ({self.unit})" if self.unit else "amplitude")
        self.ax_.margins(x=0)
        _legend_above(self.ax_)
        return self


class QuantizationDisplay:
    """Values, and the bin centres that stand for them (paper, Figures 3 and 4).

    Make it by `from_estimator` or `from_arrays`.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        Values, such as the latents of a window.

    quantized : ndarray of shape (n_values,)
        The values after quantisation and dequantisation.

    limits : tuple (low, high) or None, default=None
        The range that is divided into bins, drawn as two lines if given.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes that were drawn on.

    figure_ : matplotlib Figure
        Figure that holds them.

    lines_ : list of matplotlib Line2D
        The two curves.

    See Also
    --------
    ReconstructionDisplay : What becomes of the signal.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok import BinQuantizer
    >>> from sktok.plotting import QuantizationDisplay
    >>> latents = np.sin(np.arange(25.0)).reshape(1, 25)
    >>> quantizer = BinQuantizer(8, limits=(-5, 5)).fit(latents)
    >>> display = QuantizationDisplay.from_estimator(quantizer, latents)
    >>> display.limits
    (-5.0, 5.0)
    """

    def __init__(self, values, quantized, *, limits=None):
        self.values = values
        self.quantized = quantized
        self.limits = limits

    @classmethod
    def from_estimator(cls, estimator, X, *, ax=None, **kwargs):
        """Quantise values and draw them.

        Parameters
        ----------
        estimator : BinQuantizer or other quantiser
            Fitted, with `transform` and `inverse_transform`. If it has `edges_`
            common to all values, its limits are drawn.

        X : array-like of shape (n_windows, n_values) or \
                (n_windows, n_blocks, latent_dim)
            Values.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        display : QuantizationDisplay
            What was drawn.
        """
        edges = getattr(estimator, "edges_", None)
        limits = None
        if isinstance(edges, np.ndarray):
            limits = float(edges[0]), float(edges[-1])
        quantized = reconstruct(estimator, X)
        return cls.from_arrays(X, quantized, limits=limits, ax=ax, **kwargs)

    @classmethod
    def from_arrays(cls, values, quantized, *, limits=None, ax=None, **kwargs):
        """Draw values and the centres that stand for them.

        Parameters
        ----------
        values : array-like
            Values, of any shape.

        quantized : array-like of the shape of values
            The values after quantisation and dequantisation.

        limits : tuple (low, high) or None, default=None
            The range that is divided into bins, drawn as two lines if given.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        display : QuantizationDisplay
            What was drawn.
        """
        values, quantized = (x.ravel() for x in _same_shape(values, quantized))
        return cls(values, quantized, limits=limits).plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, values_kwargs=None, quantized_kwargs=None):
        """Draw the two curves and the limits.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        values_kwargs : dict or None, default=None
            Passed on to `Axes.plot` for the values.

        quantized_kwargs : dict or None, default=None
            Passed on to `Axes.step` for the quantised values.

        Returns
        -------
        display : QuantizationDisplay
            This display.
        """
        self.figure_, self.ax_ = _axes(ax)
        index = np.arange(len(self.values))
        values_style = {"color": "0.6", "marker": "o", "label": "value"}
        quantized_style = {
            "color": "tab:red",
            "where": "mid",
            "linewidth": 1.0,
            "label": "quantised",
        }
        self.lines_ = [
            *self.ax_.plot(index, self.values, **values_style | (values_kwargs or {})),
            *self.ax_.step(
                index, self.quantized, **quantized_style | (quantized_kwargs or {})
            ),
        ]
        for limit in self.limits or ():
            self.ax_.axhline(limit, color="0.3", linestyle="--", linewidth=0.8)
        self.ax_.set_xlabel("index")
        self.ax_.set_ylabel("value")
        self.ax_.margins(x=0)
        _legend_above(self.ax_)
        return self


class RateDistortionDisplay:
    """What each tokenizer of a search costs, and what it loses.

    Make it by `from_cv_results`.

    Parameters
    ----------
    rate : ndarray of shape (n_candidates,)
        Bits per sample.

    mse : ndarray of shape (n_candidates,)
        Mean squared errors.

    labels : list of str
        What to write at each point.

    unit : str or None, default=None
        Unit of the signal, for the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes that were drawn on.

    figure_ : matplotlib Figure
        Figure that holds them.

    points_ : matplotlib PathCollection
        One point for each candidate.

    front_ : matplotlib Line2D
        The candidates that no other beats in both.

    See Also
    --------
    sktok.metrics.lowest_rate_within : Chooses one of them.

    Examples
    --------
    >>> from sktok.plotting import RateDistortionDisplay
    >>> cv_results = {
    ...     "params": [{"segment__block_size": 5}, {"segment__block_size": 10}],
    ...     "mean_test_neg_bits_per_sample": [-1.4, -0.7],
    ...     "mean_test_neg_reconstruction_mse": [-1e-5, -4e-5],
    ... }
    >>> display = RateDistortionDisplay.from_cv_results(cv_results, unit="mV")
    >>> display.labels
    ['5', '10']
    """

    def __init__(self, rate, mse, labels, *, unit=None):
        self.rate = rate
        self.mse = mse
        self.labels = labels
        self.unit = unit

    @classmethod
    def from_cv_results(
        cls,
        cv_results,
        *,
        rate="neg_bits_per_sample",
        mse="neg_reconstruction_mse",
        unit=None,
        ax=None,
        **kwargs,
    ):
        """Draw the `cv_results_` of a search.

        Parameters
        ----------
        cv_results : dict
            `cv_results_` of a search with both scorers.

        rate : str, default="neg_bits_per_sample"
            Name in ``scoring`` of the scorer
            :func:`~sktok.metrics.neg_bits_per_sample`.

        mse : str, default="neg_reconstruction_mse"
            Name in ``scoring`` of the scorer
            :func:`~sktok.metrics.neg_reconstruction_mse`.

        unit : str or None, default=None
            Unit of the signal, for the axis.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        display : RateDistortionDisplay
            What was drawn.
        """
        bits, error = mean_rate_and_mse(cv_results, rate=rate, mse=mse)
        labels = [", ".join(map(str, p.values())) for p in cv_results["params"]]
        return cls(bits, error, labels, unit=unit).plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, points_kwargs=None, front_kwargs=None):
        """Draw the points, their labels, and the front.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        points_kwargs : dict or None, default=None
            Passed on to `Axes.scatter`.

        front_kwargs : dict or None, default=None
            Passed on to `Axes.step` for the front.

        Returns
        -------
        display : RateDistortionDisplay
            This display.
        """
        self.figure_, self.ax_ = _axes(ax)
        drawn = np.flatnonzero(np.isfinite(self.rate + self.mse))  # scores may be NaN
        order = drawn[np.lexsort([self.mse[drawn], self.rate[drawn]])]
        lowest = np.minimum.accumulate(self.mse[order])
        front = order[np.diff(lowest, prepend=np.inf) < 0]
        front_style = {"color": "0.6", "linewidth": 1.0, "where": "post"}
        (self.front_,) = self.ax_.step(
            self.rate[front], self.mse[front], **front_style | (front_kwargs or {})
        )
        points = np.column_stack([self.rate, self.mse])[drawn]
        self.points_ = self.ax_.scatter(
            *points.T, **{"color": "tab:red"} | (points_kwargs or {})
        )
        for i, point in zip(drawn, points, strict=True):
            self.ax_.annotate(
                self.labels[i],
                point,
                xytext=(4, 4),
                textcoords="offset points",
                fontsize=8,
            )
        self.ax_.set_yscale("log")
        self.ax_.set_xlabel("rate (bits per sample)")
        unit = f" ({self.unit}²)" if self.unit else ""
        self.ax_.set_ylabel(f"mean squared error{unit}")
        self.ax_.margins(0.1)
        return self
