"""The error during training."""

import numpy as np
from scipy.ndimage import uniform_filter1d

from sktok.plotting._axes import Display
from sktok.plotting._fitted import find

_MIN_INTERVAL = 50  # steps between two validation checks, as in training
_BATCH = {"color": "signal", "linewidth": 0.7, "label": "batch"}
_SMOOTHED = {"color": "accent", "linewidth": 1.5}
_VALIDATION = {"color": "ink", "linewidth": 1, "linestyle": "--", "marker": "."}
_VALIDATION |= {"label": "held-out windows"}


class TrainingDisplay(Display):
    """The error of each batch and of held-out windows during training.

    Create it with `from_estimator` or `from_curves`.

    Parameters
    ----------
    loss : ndarray of shape (n_steps,)
        Mean squared error of the batch at each step.

    validation_loss : ndarray of shape (n_checks,)
        Mean squared error of held-out windows at each validation check.

    validation_steps : ndarray of shape (n_checks,)
        Gradient steps after which the validation checks were made.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.

    figure_ : matplotlib Figure
        Figure that contains the axes.

    line_ : matplotlib Line2D
        Error of each batch.

    smoothed_ : matplotlib Line2D
        Moving average of this error, over about one fortieth of the steps.

    validation_line_ : matplotlib Line2D or None
        Error of held-out windows, or None without validation checks.

    See Also
    --------
    sktok.ConvAETokenizer : Stores the curves as `loss_curve_` and
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
            Fitted. If it has no `validation_steps_`, the validation checks are drawn at
            approximate steps, as in `from_curves`.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` creates a new figure.

        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        display : TrainingDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If no part of the estimator was trained by gradient steps.
        """
        names = "loss_curve_", "validation_loss_curve_", "validation_steps_"
        loss, checks, steps = (find(estimator, name) for name in names)
        if loss is None:
            raise ValueError(
                f"{type(estimator).__name__} has no loss_curve_: give a fitted "
                "ConvAETokenizer, or a fitted tokenizer that contains one."
            )
        checks = () if checks is None else checks
        return cls.from_curves(loss, checks, validation_steps=steps, ax=ax, **kwargs)

    @classmethod
    def from_curves(
        cls, loss, validation_loss=(), *, validation_steps=None, ax=None, **kwargs
    ):
        """Draw loss curves.

        Parameters
        ----------
        loss : array-like of shape (n_steps,)
            Mean squared error of the batch at each step.

        validation_loss : array-like of shape (n_checks,), default=()
            Mean squared error of held-out windows at each validation check.

        validation_steps : array-like of shape (n_checks,) or None, default=None
            Gradient steps after which the validation checks were made. `None` places
            them approximately where one `fit` of :class:`~sktok.ConvAETokenizer` makes
            them: at equal distances of at least 50 steps, with the last one at the end.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` creates a new figure.

        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        display : TrainingDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there is no loss, or not one step for each validation check.
        """
        loss, validation_loss = np.asarray(loss), np.asarray(validation_loss)
        if loss.ndim != 1 or not loss.size:
            raise ValueError(f"loss has shape {loss.shape}, expected a value per step.")
        if validation_steps is None:
            validation_steps = _check_steps(len(loss), len(validation_loss))
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
            Axes to draw on; `None` creates a new figure.

        line_kwargs : dict or None, default=None
            Passed to `Axes.plot` for the error of each batch.

        smoothed_kwargs : dict or None, default=None
            Passed to `Axes.plot` for the moving average.

        validation_kwargs : dict or None, default=None
            Passed to `Axes.plot` for the error of held-out windows.

        Returns
        -------
        display : TrainingDisplay
            This display.
        """
        ax = self._set_axes(ax)
        x = np.arange(1, len(self.loss) + 1)
        self.line_ = self._plot(x, self.loss, _BATCH, line_kwargs)
        n_averaged = 2 * (len(x) // 80) + 3
        mean = uniform_filter1d(self.loss.astype(float), n_averaged, mode="nearest")
        label = f"mean of {n_averaged} batches"
        self.smoothed_ = self._plot(x, mean, _SMOOTHED, smoothed_kwargs, label=label)
        self.validation_line_ = None
        if len(self.validation_loss):
            checks = self.validation_steps, self.validation_loss
            self.validation_line_ = self._plot(*checks, _VALIDATION, validation_kwargs)
        if (self.loss > 0).any():  # a logarithmic axis needs a positive value
            ax.set_yscale("log")
        ax.set(xlabel="gradient step", ylabel="mean squared error")
        self._add_legend()
        return self


def _check_steps(n_steps, n_checks):
    """Approximate steps of the validation checks: equally spaced, the last at the end.

    The exact distance depends on the batches of an epoch, which are not known here.
    """
    interval = max(_MIN_INTERVAL, -(-n_steps // max(1, n_checks)))
    return np.minimum(interval * np.arange(1, n_checks + 1), n_steps)
