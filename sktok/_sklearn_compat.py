"""Every private name of scikit-learn that sktok uses, with the reason for it.

Tried on scikit-learn 1.6 to 1.9. The other modules import these names from here, so
that a change in scikit-learn is a change in one file.
"""

from functools import wraps

# Parameter validation: scikit-learn's own, with its messages. Third-party estimators
# have no public way to declare `_parameter_constraints`.
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    InvalidParameterError,
    StrOptions,
)

# Frames for two axes only: `set_output` has no public way to leave three axes alone.
from sklearn.utils._set_output import _wrap_data_with_container

__all__ = [
    "HasMethods",
    "Interval",
    "InvalidParameterError",
    "StrOptions",
    "WindowTransformerMixin",
    "_fit_context",
]


class WindowTransformerMixin(TransformerMixin, auto_wrap_output_keys=None):
    """`TransformerMixin` for output that may have three axes.

    Under ``set_output``, output of two axes becomes a frame as usual. A frame has no
    third axis, so blocks and latents stay arrays, where scikit-learn's own mixin fails.
    """

    # The mixin's `fit_transform` is wrapped a second time and would frame three axes.
    fit_transform = TransformerMixin.fit_transform.__wrapped__

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        is_wrapped = "transform" in cls._sklearn_auto_wrap_output_keys
        if is_wrapped and "transform" in vars(cls):
            # scikit-learn has just wrapped `transform`: wrap the original instead.
            cls.transform = _frame_two_axes(cls.transform.__wrapped__)


def _frame_two_axes(transform):
    @wraps(transform)
    def wrapped(self, X):
        result = transform(self, X)
        if result.ndim == 3:
            return result
        return _wrap_data_with_container("transform", result, X, self)

    return wrapped
