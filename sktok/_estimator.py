"""What estimators share beside their windows: versions, diagrams, the first batch."""

from sklearn.base import BaseEstimator
from sklearn.utils.validation import _is_fitted, check_is_fitted

from sktok._windows import validate_windows

_FORMAT = 1  # of what is pickled; 0 is that of files without a number


class Estimator(BaseEstimator):
    """`BaseEstimator` whose pickles say which release they are of.

    Format 0 had the network itself where format 1 has its weights, as arrays. In a
    notebook, once fitted, it shows what it learned: `_caption` below its name.
    """

    @property
    def _sk_visual_block_(self):
        """What scikit-learn calls for its diagram; it draws its own without this."""
        try:
            check_is_fitted(self)
            block = self._diagram()
        except Exception as error:  # a diagram is not worth one
            raise AttributeError("There is nothing to show.") from error
        return lambda: block

    def _diagram(self):
        return diagram_box(self, type(self).__name__, self._caption())

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


def diagram_box(content, name, caption):
    """A box of scikit-learn's diagram: details of its content open on a click."""
    from sklearn.utils._repr_html.estimator import _VisualBlock

    details = str(content)
    return _VisualBlock(
        "single", content, names=name, name_details=details, name_caption=caption
    )


def diagram_of_parts(**parts):
    """Boxes, and estimators with boxes of their own, side by side under their names."""
    from sklearn.utils._repr_html.estimator import _VisualBlock

    labels = [
        name if hasattr(part, "kind") else f"{name}: {type(part).__name__}"
        for name, part in parts.items()
    ]
    details = list(map(str, parts.values()))
    return _VisualBlock(
        "parallel", list(parts.values()), names=labels, name_details=details
    )


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
