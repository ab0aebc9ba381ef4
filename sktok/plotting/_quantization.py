"""Values and the bin centres that represent them."""

import numpy as np

from sktok.metrics import reconstruct
from sktok.metrics._distortion import validate_pair
from sktok.plotting._axes import Display, styled

_VALUES = {"color": "signal", "marker": "o", "markersize": 3.5, "label": "value"}
_QUANTIZED = {"color": "accent", "where": "mid", "linewidth": 1, "label": "quantised"}
_LIMIT = {"color": "ink", "linestyle": "--", "linewidth": 0.8}


class QuantizationDisplay(Display):
    """Values and the bin centres that represent them (paper, Figures 3 and 4).

    Create it with `from_estimator` or `from_arrays`.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        Values, for example the latents of a window.

    quantized : ndarray of shape (n_values,)
        Values after quantisation and dequantisation.

    limits : tuple (low, high) or None, default=None
        Range that is divided into bins, drawn as two lines if given.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.

    figure_ : matplotlib Figure
        Figure that contains the axes.

    lines_ : list of matplotlib Line2D
        Values and quantised values.

    See Also
    --------
    ReconstructionDisplay : A signal and its reconstruction.

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
            Fitted, with `transform` and `inverse_transform`. If it has `edges_` that
            apply to all values, their limits are drawn.

        X : array-like of shape (n_windows, n_values), \
                (n_windows, n_blocks, latent_dim) or \
                (n_windows, n_leads, n_blocks, latent_dim)
            Values. Windows are drawn one after the other, and within a window its
            leads.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` creates a new figure.

        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        display : QuantizationDisplay
            The display, drawn.
        """
        edges = getattr(estimator, "edges_", None)
        has_limits = isinstance(edges, np.ndarray)
        limits = (float(edges[0]), float(edges[-1])) if has_limits else None
        quantized = reconstruct(estimator, X)
        return cls.from_arrays(X, quantized, limits=limits, ax=ax, **kwargs)

    @classmethod
    def from_arrays(cls, values, quantized, *, limits=None, ax=None, **kwargs):
        """Draw values and the centres that represent them.

        Parameters
        ----------
        values : array-like
            Values, of any shape.

        quantized : array-like of the shape of values
            Values after quantisation and dequantisation.

        limits : tuple (low, high) or None, default=None
            Range that is divided into bins, drawn as two lines if given.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` creates a new figure.

        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        display : QuantizationDisplay
            The display, drawn.
        """
        values, quantized = (x.ravel() for x in validate_pair(values, quantized))
        return cls(values, quantized, limits=limits).plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, values_kwargs=None, quantized_kwargs=None):
        """Draw the two curves and the limits.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` creates a new figure.

        values_kwargs : dict or None, default=None
            Passed to `Axes.plot` for the values.

        quantized_kwargs : dict or None, default=None
            Passed to `Axes.step` for the quantised values.

        Returns
        -------
        display : QuantizationDisplay
            This display.
        """
        ax = self._set_axes(ax)
        index = np.arange(len(self.values))
        quantized = styled(ax, _QUANTIZED, quantized_kwargs)
        self.lines_ = [
            *ax.plot(index, self.values, **styled(ax, _VALUES, values_kwargs)),
            *ax.step(index, self.quantized, **quantized),
        ]
        if self.limits is not None:
            for limit, label in zip(self.limits, ("limits", None), strict=True):
                ax.axhline(limit, label=label, **styled(ax, _LIMIT))
        ax.set(xlabel="index", ylabel="value")
        ax.margins(x=0)
        self._add_legend()
        return self
