"""Windows cut into blocks, and blocks joined into windows."""

from numbers import Integral

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from sktok._disk import in_slices
from sktok._estimator import Estimator, feature_names
from sktok._rows import FLOATS, require_plain, validate_inverse
from sktok._sklearn_compat import Interval, _fit_context


def segment(windows, block_size):
    """Cut windows into blocks; the last sample is repeated to fill the last one."""
    n_windows, window_length = windows.shape
    missing = -window_length % block_size
    if missing:
        windows = np.pad(windows, ((0, 0), (0, missing)), mode="edge")
    return windows.reshape(n_windows, -1, block_size)  # (n, t) -> (n, blocks, size)


def join(blocks, window_length):
    """Inverse of `segment`: lay blocks end to end and drop the filling."""
    return blocks.reshape(len(blocks), -1)[:, :window_length]


class BlockSegmenter(TransformerMixin, Estimator, auto_wrap_output_keys=None):
    """Cut each window into blocks of equal length.

    The paper cuts windows of 250 samples into blocks of 250, 125, 50, 25, 10, 5
    or 2 samples (section 3.1). A window that the block size does not divide is
    filled up by repeating its last sample, and cropped on the way back, so that
    any length works.

    Parameters
    ----------
    block_size : int, default=10
        Number of samples in a block.

    Attributes
    ----------
    block_size_ : int
        The `block_size` that was fitted.

    n_blocks_ : int
        Number of blocks in a window.

    n_features_in_ : int
        Number of samples in a window seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X` seen in `fit`, if they are all strings.

    See Also
    --------
    ConvAETokenizer : Turns blocks into latents or tokens.

    References
    ----------
    "Da ECG a LLM", 2025, section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok import BlockSegmenter
    >>> X = np.arange(5.0).reshape(1, 5)
    >>> segmenter = BlockSegmenter(block_size=2).fit(X)
    >>> segmenter.transform(X)
    array([[[0., 1.],
            [2., 3.],
            [4., 4.]]])
    >>> segmenter.inverse_transform(segmenter.transform(X))
    array([[0., 1., 2., 3., 4.]])
    """

    _parameter_constraints: dict = {
        "block_size": [Interval(Integral, 1, None, closed="left")]
    }

    def __init__(self, block_size=10):
        self.block_size = block_size

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the window length.

        Parameters
        ----------
        X : array-like of shape (n_windows, window_length)
            Windows of a signal.

        y : None
            Ignored.

        Returns
        -------
        self : BlockSegmenter
            The fitted segmenter.

        Raises
        ------
        ValueError
            If `block_size` is larger than the window.
        """
        self._reset()
        X = validate_data(self, require_plain(self, X, reset=True), dtype=FLOATS)
        window_length = X.shape[1]
        if self.block_size > window_length:
            raise ValueError(
                f"block_size={self.block_size} is larger than the window: X has "
                f"{window_length} samples per window (n_features={window_length}). "
                "Choose smaller blocks or longer windows."
            )
        self.block_size_ = self.block_size
        self.n_blocks_ = -(-window_length // self.block_size)
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "n_blocks_")

    @in_slices
    def transform(self, X):
        """Cut windows into blocks.

        Parameters
        ----------
        X : array-like of shape (n_windows, window_length)
            Windows as long as those seen in `fit`.

        Returns
        -------
        blocks : ndarray of shape (n_windows, n_blocks, block_size)
            Blocks, in the dtype of `X`; a view of `X` where its layout allows one.

        Raises
        ------
        ValueError
            If the windows are not as long as those seen in `fit`.
        """
        check_is_fitted(self)
        X = require_plain(self, X, reset=False)
        X = validate_data(self, X, reset=False, dtype=FLOATS)
        return segment(X, self.block_size_)

    @in_slices
    def inverse_transform(self, X):
        """Join blocks into windows: the inverse of `transform`.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_blocks, block_size)
            Blocks.

        Returns
        -------
        windows : ndarray of shape (n_windows, window_length)
            Windows, in the dtype of `X`.

        Raises
        ------
        ValueError
            If the blocks have another shape than `transform` gives.
        """
        check_is_fitted(self)
        X = validate_inverse(self, X, (self.n_blocks_, self.block_size_))
        return join(X, self.n_features_in_)

    def get_feature_names_out(self, input_features=None):
        """Names of the samples of all blocks, laid end to end.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen in `fit`.

        Returns
        -------
        names : ndarray of str, shape (n_blocks * block_size,)
            ``'block0_0'``, ``'block0_1'``, …
        """
        check_is_fitted(self)
        names = [
            f"block{block}_{sample}"
            for block in range(self.n_blocks_)
            for sample in range(self.block_size_)
        ]
        return feature_names(self, names, input_features)

    def set_output(self, *, transform=None):
        """Do nothing: blocks have three axes and stay arrays.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None, default=None
            Accepted so that :class:`~sklearn.pipeline.Pipeline` may set the output
            of all its steps.

        Returns
        -------
        self : BlockSegmenter
            The segmenter as it was.
        """
        return self
