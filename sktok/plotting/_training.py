"""How the error fell in training."""

import numpy as np
from scipy.ndimage import uniform_filter1d

from sktok.plotting._axes import legend_above, make_axes, palette
from sktok.plotting._fitted import parts

_SMALLEST_INTERVAL = 50  # steps between two looks at held-out windows, as in training


class TrainingDisplay:
    """How the error fell in training: that of each batch, and of held-out windows.

    Make it by `from_estimator` or `from_curves`.

    Parameters
    ----------
    loss : ndarray of shape (n_steps,)
        Mean squared error of the batch at each step.

    validation_loss : ndarray of shape (n_looks,)
        Mean squared error of held-out windows at each look.

    validation_steps : ndarray of shape (n_looks,)
        Steps behind which there was a look.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes that were drawn on.

    figure_ : matplotlib Figure
        Figure that holds them.

    line_ : matplotlib Line2D
        The error of each batch.

    smoothed_ : matplotlib Line2D
        Its mean over neighbouring steps, a fortieth of all.

    validation_line_ : matplotlib Line2D or None
        The error of held-out windows, if there are any.

    See Also
    --------
    sktok.ConvAETokenizer : Keeps the curves as `loss_curve_` and
        `validation_loss_curve_`.

    Examples
    --------
    >>> from sktok.plotting import TrainingDisplay
    >>> display = TrainingDisplay.from_curves([0.1, 0.02, 0.01])
    >>> display.ax_.get_xlabel()
    'gradient step'
    """

    def __init__(self, loss, validation_loss, validation_steps):
        self.loss = loss
        self.validation_loss = validation_loss
        self.validation_steps = validation_steps

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, **kwargs):
        """Draw the loss curves of a fitted tokenizer.

        Parameters
        ----------
        estimator : ConvAETokenizer, or Pipeline or GainShapeTokenizer around one
            Fitted. If it was saved without `validation_steps_`, the looks at held-out
            windows are drawn at about the right steps, as `from_curves` places them.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        display : TrainingDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If nothing in the estimator has been trained by gradient steps.
        """
        trained = [part for part in parts(estimator) if hasattr(part, "loss_curve_")]
        if not trained:
            raise ValueError(
                f"{type(estimator).__name__} has no loss_curve_: give a fitted "
                "ConvAETokenizer, or a fitted tokenizer that holds one."
            )
        return cls.from_curves(
            trained[0].loss_curve_,
            getattr(trained[0], "validation_loss_curve_", ()),
            validation_steps=getattr(trained[0], "validation_steps_", None),
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_curves(
        cls, loss, validation_loss=(), *, validation_steps=None, ax=None, **kwargs
    ):
        """Draw loss curves.

        Parameters
        ----------
        loss : array-like of shape (n_steps,)
            Mean squared error of the batch at each step.

        validation_loss : array-like of shape (n_looks,), default=()
            Mean squared error of held-out windows at each look.

        validation_steps : array-like of shape (n_looks,) or None, default=None
            Steps behind which there was a look. `None` places the looks about where
            :class:`~sktok.ConvAETokenizer` takes them in one `fit`: as many steps
            apart, 50 at least, and the last one at the end.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        display : TrainingDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If there is no loss, or not a step for each look.
        """
        loss, validation_loss = np.asarray(loss), np.asarray(validation_loss)
        if loss.ndim != 1 or not loss.size:
            raise ValueError(
                f"loss has shape {loss.shape}, expected a value for each gradient step."
            )
        if validation_steps is None:
            validation_steps = _steps_of_looks(len(loss), len(validation_loss))
        if np.shape(validation_steps) != validation_loss.shape:
            raise ValueError(
                f"validation_steps has shape {np.shape(validation_steps)} and "
                f"validation_loss {validation_loss.shape}, expected the same."
            )
        display = cls(loss, validation_loss, np.asarray(validation_steps))
        return display.plot(ax=ax, **kwargs)

    def plot(
        self, ax=None, *, line_kwargs=None, smoothed_kwargs=None, validation_kwargs=None
    ):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        line_kwargs : dict or None, default=None
            Passed on to `Axes.plot` for the error of each batch.

        smoothed_kwargs : dict or None, default=None
            Passed on to `Axes.plot` for its mean over neighbouring steps.

        validation_kwargs : dict or None, default=None
            Passed on to `Axes.plot` for the error of held-out windows.

        Returns
        -------
        display : TrainingDisplay
            This display.
        """
        self.figure_, self.ax_ = make_axes(ax)
        colors = palette(self.ax_)
        steps = np.arange(1, len(self.loss) + 1)
        n_averaged = 2 * (len(steps) // 80) + 3
        line = {"color": colors["signal"], "linewidth": 0.7, "label": "batch"}
        smoothed = {
            "color": colors["accent"],
            "linewidth": 1.5,
            "label": f"mean of {n_averaged} batches",
        }
        validation = {
            "color": colors["ink"],
            "linewidth": 1.0,
            "linestyle": "--",
            "marker": "o",
            "markersize": 4,
            "label": "held-out windows",
        }
        (self.line_,) = self.ax_.plot(steps, self.loss, **line | (line_kwargs or {}))
        mean = uniform_filter1d(self.loss.astype(float), n_averaged, mode="nearest")
        (self.smoothed_,) = self.ax_.plot(
            steps, mean, **smoothed | (smoothed_kwargs or {})
        )
        self.validation_line_ = None
        if len(self.validation_loss):
            (self.validation_line_,) = self.ax_.plot(
                self.validation_steps,
                self.validation_loss,
                **validation | (validation_kwargs or {}),
            )
        if (self.loss > 0).any():  # or there is nothing to take a logarithm of
            self.ax_.set_yscale("log")
        self.ax_.set_xlabel("gradient step")
        self.ax_.set_ylabel("mean squared error")
        legend_above(self.ax_)
        return self


def _steps_of_looks(n_steps, n_looks):
    """Where training looked at the held-out windows: the last time at its end.

    The fewest steps apart that give as many looks, as batches in an epoch are not
    known here.
    """
    if not n_looks:
        return np.array([], dtype=int)
    interval = max(_SMALLEST_INTERVAL, -(-n_steps // n_looks))
    return np.minimum(interval * np.arange(1, n_looks + 1), n_steps)
