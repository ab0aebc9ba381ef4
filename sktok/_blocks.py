"""Segmentation of windows into blocks, and its inverse."""

import math
from numbers import Integral

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sktok._disk import in_slices
from sktok._estimator import Estimator, Pace, feature_names, names_by_lead
from sktok._rows import WINDOWS, validate_inverse, validate_windows
from sktok._sklearn_compat import Interval, WindowTransformerMixin, _fit_context


def segment(windows, block_size):
    """Cut windows into blocks; repeat the last sample to pad the last block."""
    missing = -windows.shape[-1] % block_size
    if missing:
        padding = [(0, 0)] * (windows.ndim - 1) + [(0, missing)]
        windows = np.pad(windows, padding, mode="edge")
    # (..., window_length) -> (..., n_blocks, block_size)
    return windows.reshape(*windows.shape[:-1], -1, block_size)


def join(blocks, window_length):
    """Inverse of `segment`: concatenate blocks and remove the padding."""
    return blocks.reshape(*blocks.shape[:-2], -1)[..., :window_length]


class BlockSegmenter(WindowTransformerMixin, Estimator):
    """Cut each window into blocks of equal length.

    The paper cuts windows of 250 samples into blocks of 250, 125, 50, 25, 10, 5
    or 2 samples (section 3.1). Windows of any length are allowed: `transform` repeats
    the last sample to pad the last block, and `inverse_transform` removes the padding.
    Each lead of windows of several leads is cut on its own.

    Blocks have three axes or more, so they stay arrays under ``set_output``. For pandas
    they keep the index of the frame, which the tokens of later steps get.

    Parameters
    ----------
    block_size : int, default=10
        Number of samples in a block.

    Attributes
    ----------
    block_size_ : int
        The `block_size` used in `fit`.

    n_blocks_ : int
        Number of blocks in a window, of each lead.

    row_shape_ : tuple of int
        Shape of a window seen in `fit`.

    n_features_in_ : int
        Number of samples in a window seen in `fit`, of all leads.

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

    Two leads:

    >>> segmenter.fit_transform(np.zeros((1, 2, 5))).shape
    (1, 2, 3, 2)
    """

    _row_kinds = WINDOWS

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
        X : array-like of shape (n_windows, window_length) or \
                (n_windows, n_leads, window_length)
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
        n_samples = validate_windows(self, X, reset=True).shape[-1]
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
        X : array-like of shape (n_windows, window_length) or \
                (n_windows, n_leads, window_length)
            Windows of the shape seen in `fit`.

        Returns
        -------
        blocks : ndarray of shape (n_windows, n_blocks, block_size) or \
                (n_windows, n_leads, n_blocks, block_size)
            Blocks, in the dtype of `X`; a view of `X` if its layout allows it.

        Raises
        ------
        ValueError
            If the windows have a different shape than in `fit`.
        """
        check_is_fitted(self)
        X = validate_windows(self, X, reset=False)
        return segment(X, self.block_size_)

    @in_slices
    def inverse_transform(self, X):
        """Join blocks into windows.

        This is the inverse of `transform`.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_blocks, block_size) or \
                (n_windows, n_leads, n_blocks, block_size)
            Blocks.

        Returns
        -------
        windows : ndarray of shape (n_windows, window_length) or \
                (n_windows, n_leads, window_length)
            Windows, in the dtype of `X`.

        Raises
        ------
        ValueError
            If the blocks have a different shape than the output of `transform`.
        """
        check_is_fitted(self)
        shape = *self.row_shape_[:-1], self.n_blocks_, self.block_size_
        X = validate_inverse(self, X, shape)
        return join(X, self.row_shape_[-1])

    def _pace(self, *, inverse=False):
        return Pace()

    def _resize(self, row_shape):
        """Take windows of another length; return the shape of their blocks."""
        *leads, window_length = row_shape
        n_blocks = -(-window_length // self.block_size_)
        self._set_row_shape(row_shape)
        self.n_blocks_ = n_blocks
        return (*leads, n_blocks, self.block_size_)

    def _export_functions(self):
        """`transform` and its inverse for tensors of rows, for ONNX."""
        shape = self.n_blocks_, self.block_size_
        window_length = self.row_shape_[-1]
        missing = math.prod(shape) - window_length

        def segment_tensor(x):
            import torch

            padding = x[..., -1:].expand(*x.shape[:-1], missing)
            return torch.cat([x, padding], dim=-1).unflatten(-1, shape)

        return segment_tensor, lambda x: x.flatten(-2)[..., :window_length]

    def get_feature_names_out(self, input_features=None):
        """Names of the samples of all blocks, in order.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen in `fit`.

        Returns
        -------
        names : ndarray of str, shape (n_leads * n_blocks * block_size,)
            ``'block0_0'``, ``'block0_1'``, …; for several leads ``'lead0_block0_0'``, …
        """
        check_is_fitted(self)
        indices = np.ndindex(self.n_blocks_, self.block_size_)
        names = [f"block{block}_{sample}" for block, sample in indices]
        names = names_by_lead(names, self.row_shape_[:-1])
        return feature_names(self, names, input_features)

    def _fingerprint_state(self):
        *leads, window_length = self.row_shape_
        state = {"block_size_": self.block_size_, "n_blocks_": self.n_blocks_}
        state["window_length"] = window_length
        return state | ({"n_leads": leads} if leads else {})
