"""Base class and helpers of all estimators."""

import inspect
import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

import sktok
from sktok._rows import SIGNALS, WINDOWS, validate_windows
from sktok._sklearn_compat import validate_parameter_constraints

FORMAT = 2  # of pickles and safe files
_READABLE_FORMATS = (1, 2)


class Pace(NamedTuple):
    """Which values of a row a step needs for each value that it returns.

    Values are counted in the order in which they are in memory. Groups of `n_outputs`
    values follow from groups of `n_inputs` values, from all values before them, and
    from `look_ahead` values after them. Beyond the end of the row, nothing is needed.
    """

    n_inputs: int | Fraction = 1
    n_outputs: int = 1
    look_ahead: int | Fraction = 0

    def n_ready(self, n_inputs):
        """Number of outputs that follow from the first `n_inputs` inputs."""
        n_groups = (n_inputs - self.look_ahead) // self.n_inputs
        return max(0, n_groups * self.n_outputs)

    def n_needed(self, n_outputs):
        """Number of inputs from which the first `n_outputs` outputs follow."""
        n_groups = -(-n_outputs // self.n_outputs)
        return math.ceil(n_groups * self.n_inputs + self.look_ahead)

    def first_input(self, output):
        """Index of the first input in the group of an output."""
        return math.ceil(output // self.n_outputs * self.n_inputs)


class Estimator(BaseEstimator):
    """`BaseEstimator` with a format number in its pickles and a fingerprint."""

    _row_kinds = SIGNALS

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True  # rows of blocks
        return tags

    def __getstate__(self):
        saved_by = {"_sktok_format": FORMAT, "_sktok_version": sktok.__version__}
        return super().__getstate__() | saved_by

    def __setstate__(self, state):
        state = dict(state)
        number = state.pop("_sktok_format", None)
        release = state.pop("_sktok_version", "")
        check_format(f"This {type(self).__name__}", number, release)
        if self._row_kinds is WINDOWS and "n_features_in_" in state:
            # Files of older releases, which knew one lead only.
            state.setdefault("row_shape_", (state["n_features_in_"],))
        # Parameters that are newer than the file have their defaults.
        parameters = inspect.signature(type(self).__init__).parameters
        for parameter in self._get_param_names():
            state.setdefault(parameter, parameters[parameter].default)
        super().__setstate__(state)

    def _validate_later(self, *names):
        """Validate parameters that may be set after `fit`; all would take 0.1 ms."""
        params = {name: getattr(self, name) for name in names}
        validate_parameter_constraints(
            self._parameter_constraints, params, caller_name=type(self).__name__
        )

    def _reset(self):
        """Delete the learned attributes at the start of `fit`.

        A `fit` that fails then leaves an unfitted estimator. The attribute that marks
        the estimator as fitted is set last, so it is deleted first.
        """
        for name in reversed(learned_attributes(self)):
            delattr(self, name)

    def _resize(self, row_shape):
        """Take rows of another shape after `fit`; return the shape of rows of output.

        Only `sktok.with_window_length` calls it, on a copy.
        """
        raise TypeError(
            f"{type(self).__name__} was fitted to windows of one length: fit a new "
            "tokenizer."
        )

    def _pace(self, *, inverse=False):
        """The `Pace` of `transform` or of its inverse.

        `None` means that each value of a row may depend on all values of the row.
        """
        return None

    def _set_row_shape(self, row_shape):
        vars(self).pop("feature_names_in_", None)
        self.row_shape_, self.n_features_in_ = row_shape, math.prod(row_shape)

    def _fingerprint_state(self):
        """Everything that determines the tokens and their meaning, and nothing else.

        Returns
        -------
        dict
            Arrays, Python numbers, strings, estimators and containers of these. The
            default is every learned attribute except the names and number of features.
        """
        excluded = "feature_names_in_", "n_features_in_"
        state = learned_attributes(self)
        return {name: state[name] for name in state if name not in excluded}


class FirstBatchMixin:
    """`partial_fit` for estimators that learn everything from the first batch."""

    def partial_fit(self, X, y=None):
        """Learn from the first batch of a stream; only check later batches.

        The first call is the same as `fit`: pass windows of many patients. Later calls
        change nothing, because tokens must keep their meaning.

        Parameters
        ----------
        X : array-like of shape (n_windows, window_length) or \
                (n_windows, n_blocks, block_size)
            A batch, as for `fit`.

        y : None
            Ignored.

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        ValueError
            As in `fit`; in later calls, if the rows of `X` have a different shape than
            in the first call, or are not finite.
        """
        if not is_fitted(self):
            return self.fit(X)
        validate_windows(self, X, reset=False)
        return self


def check_format(name, number, release):
    """Raise if this release cannot read a format; `name` is what is in this format."""
    if number not in _READABLE_FORMATS:
        raise ValueError(
            f"{name} was saved by sktok {release} in format {number}, and sktok "
            f"{sktok.__version__} reads {_READABLE_FORMATS}: use that release or later."
        )


def learned_attributes(estimator):
    """Attributes that `fit` has set, by name and in this order."""
    names = [name for name in vars(estimator) if name[-1] == "_" != name[0]]
    return {name: vars(estimator)[name] for name in names}


def is_fitted(estimator):
    """Whether `check_is_fitted` accepts the estimator."""
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def names_by_lead(names, leads):
    """Names of columns, repeated for each lead; `leads` is () or ``(n_leads,)``."""
    if not leads:
        return names
    return [f"lead{lead}_{name}" for lead in range(*leads) for name in names]


def feature_names(estimator, names, input_features):
    """Names of output columns; raise if `input_features` are not those of `fit`."""
    if input_features is not None:  # the mixin compares them
        OneToOneFeatureMixin.get_feature_names_out(estimator, input_features)
    return np.array(names, dtype=object)
