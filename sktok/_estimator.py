"""What the estimators share beside their windows: versions, and the first batch."""

from sklearn.base import BaseEstimator
from sklearn.utils.validation import _is_fitted

from sktok._windows import validate_windows

_FORMAT = 1  # of what is pickled; 0 is that of files without a number


class Estimator(BaseEstimator):
    """`BaseEstimator` whose pickles say which release they are of.

    Format 0 had the network itself where format 1 has its weights, as arrays.
    """

    def __getstate__(self):
        from sktok import __version__

        saved_by = {"_sktok_format": _FORMAT, "_sktok_version": __version__}
        return super().__getstate__() | saved_by

    def __setstate__(self, state):
        from sktok import __version__

        state = dict(state)
        number = state.pop("_sktok_format", 0)
        release = state.pop("_sktok_version", "of an unknown release")
        if number not in range(_FORMAT + 1):
            raise ValueError(
                f"This {type(self).__name__} was saved by sktok {release} in format "
                f"{number}, and sktok {__version__} reads formats 0 to {_FORMAT}: "
                "load it with that release, or a later one."
            )
        super().__setstate__(state)


class FirstBatchMixin:
    """`partial_fit` for estimators that one batch tells enough.

    They follow scikit-learn's protocol `__sklearn_is_fitted__`.
    """

    def partial_fit(self, X, y=None):
        """Learn from the first batch of a stream, and check the others.

        The first call is `fit`: give it windows of many patients. Later ones change
        nothing, so that tokens which were handed out keep their meaning.

        Parameters
        ----------
        X : array-like of shape (n_windows, window_length) or \
                (n_windows, n_blocks, block_size)
            A batch of what `fit` takes.

        y : None
            Ignored.

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        ValueError
            As `fit` does; later, if the rows of `X` have another shape than in the
            first call, or are not finite.
        """
        if not _is_fitted(self):
            return self.fit(X)
        validate_windows(self, X, reset=False)
        return self
