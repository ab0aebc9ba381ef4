"""Every private name of scikit-learn that sktok uses, with the reason for it.

Tried on scikit-learn 1.6 to 1.9. The other modules import these names from here: only
this file depends on private parts of scikit-learn.
"""

from functools import wraps

# Validation of parameters. There is no public way to declare `_parameter_constraints`.
from sklearn.base import TransformerMixin, _fit_context  # noqa: F401
from sklearn.utils import _param_validation
from sklearn.utils._param_validation import (  # noqa: F401
    HasMethods,
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
)

# `set_output` for output of several axes, for which there is no public way.
from sklearn.utils._set_output import _get_container_adapter, _wrap_data_with_container

from sktok._frames import IndexedArray, with_index


class Interval(_param_validation.Interval):
    """An interval of numbers; True and False are no numbers."""

    def is_satisfied_by(self, val):
        return not isinstance(val, bool) and super().is_satisfied_by(val)


class WindowTransformerMixin(TransformerMixin, auto_wrap_output_keys=None):
    """`TransformerMixin` for output that may have three or more axes.

    Under ``set_output``, output of two axes becomes a frame as usual. Output of more
    axes stays an array, for which scikit-learn's own mixin raises an error. The array
    keeps the index of a pandas frame for the frames of later steps.
    """

    # Undo the wrapping by the mixin, which fails for more axes.
    fit_transform = TransformerMixin.fit_transform.__wrapped__

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        is_wrapped = "transform" in cls._sklearn_auto_wrap_output_keys
        if is_wrapped and "transform" in vars(cls):
            # scikit-learn has wrapped `transform`: replace its wrapper.
            cls.transform = _frame_two_axes(cls.transform.__wrapped__)


def _frame_two_axes(transform):
    @wraps(transform)
    def wrapped(self, X):
        result, index = transform(self, X), _index_for_output(self, X)
        if result.ndim > 2:
            return result if index is None else with_index(result, index)
        if index is not None:
            import pandas as pd

            X = pd.DataFrame(index=index)
        return _wrap_data_with_container("transform", result, X, self)

    return wrapped


def _index_for_output(estimator, X):
    """The index of `X` if the output is for pandas and `X` has an index, or None."""
    adapter = _get_container_adapter("transform", estimator)  # raises if unknown
    if adapter is None or adapter.container_lib != "pandas":
        return None
    has_index = isinstance(X, IndexedArray) or adapter.is_supported_container(X)
    return X.index if has_index else None
