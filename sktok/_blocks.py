"""Segmentation of windows into blocks, and its inverse."""

import math
from numbers import Integral

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sktok._disk import in_slices
from sktok._estimator import Estimator, feature_names
from sktok._rows import validate_inverse, validate_samples
from sktok._sklearn_compat import Interval, WindowTransformerMixin, _fit_context


def segment(windows, block_size):
    """Cut windows into blocks; repeat the last sample to pad the last block."""
    n_windows, window_length = windows.shape
    missing = -window_length % block_size
    if missing:
        windows = np.pad(windows, ((0, 0), (0, missing)), mode="edge")
    return windows.reshape(n_windows, -1, block_size)  # (n, t) -> (n, blocks, size)


def join(blocks, window_length):
    """Inverse of `segment`: concatenate blocks and remove the padding."""
    return blocks.reshape(len(blocks), -1)[:, :window_length]


class BlockSegmenter(WindowTransformerMixin, Estimator):
    """Cut each window into blocks of equal length.

    The paper cuts windows of 250 samples into blocks of 250, 125, 50, 25, 10, 5
    or 2 samples (section 3.1). Windows of any length are allowed: `transform` repeats
    the last sample to pad the last block, and `inverse_transform` removes the padding.

    Blocks have three axes, so they stay arrays under ``set_output``.

    Parameters
    ----------
    block_size : int, default=10
        Number of samples in a block.

    Attributes
    ----------
    block_size_ : int
        The `block_size` used in `fit`.

    n_blocks_ : int
        Number of blocks in a window.

    n_features_in_ : int
        Number of samples in a window seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X` seen in `fit`, if they are all strings.

    See Also
    --------
    ConvAETokenizer : Encodes blocks as latents or tokens.

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
            Windows of a signal, in any unit.

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
        n_samples = validate_samples(self, X, reset=True).shape[1]
        if self.block_size > n_samples:
            raise ValueError(
                f"block_size={self.block_size} is larger than the window: X has "
                f"{n_samples} samples (n_features={n_samples}). Use smaller blocks."
            )
        self.block_size_ = int(self.block_size)
        self.n_blocks_ = -(-n_samples // self.block_size_)
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "n_blocks_")

    @in_slices
    def transform(self, X):
        """Cut windows into blocks.

        Parameters
        ----------
        X : array-like of shape (n_windows, window_length)
            Windows of the length seen in `fit`.

        Returns
        -------
        blocks : ndarray of shape (n_windows, n_blocks, block_size)
            Blocks, in the dtype of `X`; a view of `X` if its layout allows it.

        Raises
        ------
        ValueError
            If the windows have a different length than in `fit`.
        """
        check_is_fitted(self)
        return segment(validate_samples(self, X, reset=False), self.block_size_)

    @in_slices
    def inverse_transform(self, X):
        """Join blocks into windows.

        This is the inverse of `transform`.

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
            If the blocks have a different shape than the output of `transform`.
        """
        check_is_fitted(self)
        X = validate_inverse(self, X, (self.n_blocks_, self.block_size_))
        return join(X, self.n_features_in_)

    def _export_functions(self):
        """`transform` and its inverse for tensors of rows, for ONNX."""
        shape = self.n_blocks_, self.block_size_
        window_length = self.n_features_in_
        missing = math.prod(shape) - window_length

        def segment_tensor(x):
            import torch

            x = torch.cat([x, x[:, -1:].expand(-1, missing)], dim=1)
            return x.unflatten(1, shape)

        return segment_tensor, lambda x: x.flatten(1)[:, :window_length]

    def get_feature_names_out(self, input_features=None):
        """Names of the samples of all blocks, in order.

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
        indices = np.ndindex(self.n_blocks_, self.block_size_)
        names = [f"block{block}_{sample}" for block, sample in indices]
        return feature_names(self, names, input_features)

    def _fingerprint_state(self):
        window_length = int(self.n_features_in_)
        return super()._fingerprint_state() | {"window_length": window_length}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = False
        return tags
