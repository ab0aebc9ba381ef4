"""What all estimators share: versions of pickles, `reset`, `partial_fit`, names."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from sktok._rows import validate_windows

FORMAT = 2  # of pickles and safe files
_READABLE_FORMATS = (1, 2)


class Estimator(BaseEstimator):
    """`BaseEstimator` whose pickles name the release that wrote them."""

    def __getstate__(self):
        from sktok import __version__

        saved_by = {"_sktok_format": FORMAT, "_sktok_version": __version__}
        return super().__getstate__() | saved_by

    def __setstate__(self, state):
        from sktok import __version__

        state = dict(state)
        number = state.pop("_sktok_format", None)
        release = state.pop("_sktok_version", "of an unknown release")
        if number not in _READABLE_FORMATS:
            raise ValueError(
                f"This {type(self).__name__} was saved by sktok {release} in format "
                f"{number}, and sktok {__version__} reads formats {_READABLE_FORMATS}: "
                "load it with the release that saved it, or a later one."
            )
        super().__setstate__(state)

    def _reset(self):
        """Delete what an earlier `fit` learned, so that a failed one leaves nothing.

        The attribute that marks the estimator as fitted is the last one that `fit`
        sets, and so the first one to go.
        """
        for name in [n for n in reversed(vars(self)) if n[-1] == "_" != n[0]]:
            delattr(self, name)

    def _fingerprint_state(self):
        """Everything that determines the tokens and their meaning, and nothing else.

        Returns
        -------
        dict
            Arrays, numbers, strings, estimators and containers of these. The default
            is every fitted attribute except the names and number of the features.
        """
        ignored = {"n_features_in_", "feature_names_in_"}
        return {
            name: value
            for name, value in vars(self).items()
            if name[-1] == "_" != name[0] and name not in ignored
        }


class FirstBatchMixin:
    """`partial_fit` for estimators that learn everything from the first batch."""

    def partial_fit(self, X, y=None):
        """Learn from the first batch of a stream, and check the others.

        The first call is `fit`: give it windows of many patients. Later calls change
        nothing, so that tokens keep their meaning.

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
            As in `fit`; in later calls, if the rows of `X` have another shape than in
            the first one, or are not finite.
        """
        if not is_fitted(self):
            return self.fit(X)
        validate_windows(self, X, reset=False)
        return self


def is_fitted(estimator):
    """Whether `check_is_fitted` passes."""
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def feature_names(estimator, names, input_features):
    """Names of output columns; `input_features` is checked against those of `fit`."""
    if input_features is not None:
        seen = getattr(estimator, "feature_names_in_", None)
        if seen is not None and not np.array_equal(seen, input_features):
            raise ValueError("input_features is not equal to feature_names_in_")
        if len(input_features) != estimator.n_features_in_:
            raise ValueError(
                "input_features should have length equal to number of features "
                f"({estimator.n_features_in_}), got {len(input_features)}"
            )
    return np.array(names, dtype=object)
