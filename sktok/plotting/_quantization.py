"""Values, and the bin centres that stand for them."""

import numpy as np

from sktok.metrics import _same_shape, reconstruct
from sktok.plotting._axes import legend_above, make_axes, palette


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
        self.figure_, self.ax_ = make_axes(ax)
        colors = palette(self.ax_)
        index = np.arange(len(self.values))
        values_style = {
            "color": colors["signal"],
            "marker": "o",
            "markersize": 3.5,
            "label": "value",
        }
        quantized_style = {
            "color": colors["accent"],
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
        limits_style = {"color": colors["ink"], "linestyle": "--", "linewidth": 0.8}
        if self.limits is not None:
            for limit, label in zip(self.limits, ("limits", None), strict=True):
                self.ax_.axhline(limit, label=label, **limits_style)
        self.ax_.set_xlabel("index")
        self.ax_.set_ylabel("value")
        self.ax_.margins(x=0)
        legend_above(self.ax_)
        return self
