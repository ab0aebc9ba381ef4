"""Segmentation of windows into blocks, and its inverse."""

import math
from numbers import Integral

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sktok._disk import in_slices
from sktok._estimator import Estimator, Pace, feature_names, names_by_lead
from sktok._rows import WINDOWS, validate_inverse, validate_windows
from sktok._sklearn_compat import (
    Interval,
    StrOptions,
    WindowTransformerMixin,
    _fit_context,
)


def segment(windows, block_size, *, joint=False):
    """Cut windows into blocks; repeat the last sample to pad the last block.

    Joint blocks hold the samples of all leads, one lead after the other.
    """
    missing = -windows.shape[-1] % block_size
    if missing:
        padding = [(0, 0)] * (windows.ndim - 1) + [(0, missing)]
        windows = np.pad(windows, padding, mode="edge")
    # (..., window_length) -> (..., n_blocks, block_size)
    blocks = windows.reshape(*windows.shape[:-1], -1, block_size)
    if joint:
        # (n_windows, n_leads, n_blocks, block_size) -> (n_windows, n_blocks, ...)
        blocks = blocks.swapaxes(1, 2).reshape(len(blocks), blocks.shape[2], -1)
    return blocks


def join(blocks, window_length, n_leads=None):
    """Inverse of `segment`: concatenate blocks and remove the padding.

    `n_leads` is given for joint blocks.
    """
    if n_leads is not None:
        blocks = blocks.reshape(*blocks.shape[:-1], n_leads, -1).swapaxes(1, 2)
    return blocks.reshape(*blocks.shape[:-2], -1)[..., :window_length]


class BlockSegmenter(WindowTransformerMixin, Estimator):
    """Cut each window into blocks of equal length.

    The paper cuts windows of 250 samples into blocks of 250, 125, 50, 25, 10, 5
    or 2 samples (section 3.1). Windows of any length are allowed: `transform` repeats
    the last sample to pad the last block, and `inverse_transform` removes the padding.
    The leads of windows of several leads are cut one by one, or together: a block then
    holds a piece of all leads, and the steps that follow see them at once.

    Blocks have three axes or more, so they stay arrays under ``set_output``. For pandas
    they keep the index of the frame, which the tokens of later steps get.

    Parameters
    ----------
    block_size : int, default=10
        Number of samples in a block, of each lead.

    leads : {"separate", "joint"}, default="separate"
        Whether blocks hold samples of one lead, or of all leads of a window, one lead
        after the other. It changes nothing for windows of one lead.

    Attributes
    ----------
    block_size_ : int
        The `block_size` used in `fit`.

    leads_ : str
        The `leads` used in `fit`.

    n_blocks_ : int
        Number of blocks in a window; of each lead if they are separate.

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
    >>> segmenter.set_params(leads="joint").fit_transform(np.zeros((1, 2, 5))).shape
    (1, 3, 4)
    """

    _row_kinds = WINDOWS

    _parameter_constraints: dict = {
        "block_size": [Interval(Integral, 1, None, closed="left")],
        "leads": [StrOptions({"separate", "joint"})],
    }

    def __init__(self, block_size=10, *, leads="separate"):
        self.block_size = block_size
        self.leads = leads

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
        self.block_size_, self.leads_ = int(self.block_size), self.leads
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
        blocks : ndarray of shape (n_windows, n_blocks, block_size), \
                (n_windows, n_leads, n_blocks, block_size) or \
                (n_windows, n_blocks, n_leads * block_size)
            Blocks, in the dtype of `X`; a view of `X` if its layout allows it.

        Raises
        ------
        ValueError
            If the windows have a different shape than in `fit`.
        """
        check_is_fitted(self)
        X = validate_windows(self, X, reset=False)
        return segment(X, self.block_size_, joint=self._n_joint() is not None)

    @in_slices
    def inverse_transform(self, X):
        """Join blocks into windows.

        This is the inverse of `transform`.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_blocks, block_size), \
                (n_windows, n_leads, n_blocks, block_size) or \
                (n_windows, n_blocks, n_leads * block_size)
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
        X = validate_inverse(self, X, self._block_shape())
        return join(X, self.row_shape_[-1], self._n_joint())

    def _n_joint(self):
        """Number of leads that share a block; None if each has blocks of its own."""
        leads = self.row_shape_[:-1]
        # Files of older releases have no `leads_`.
        is_joint = leads and getattr(self, "leads_", "separate") == "joint"
        return leads[0] if is_joint else None

    def _block_shape(self):
        """Shape of the blocks of a window."""
        n_joint = self._n_joint()
        if n_joint is None:
            return *self.row_shape_[:-1], self.n_blocks_, self.block_size_
        return self.n_blocks_, n_joint * self.block_size_

    def _pace(self, *, inverse=False):
        return Pace()

    def _resize(self, row_shape):
        """Take windows of another length; return the shape of their blocks."""
        self._set_row_shape(row_shape)
        self.n_blocks_ = -(-row_shape[-1] // self.block_size_)
        return self._block_shape()

    def _export_functions(self):
        """`transform` and its inverse for tensors of rows, for ONNX."""
        shape = self.n_blocks_, self.block_size_
        window_length, n_joint = self.row_shape_[-1], self._n_joint()
        missing = math.prod(shape) - window_length

        def segment_tensor(x):
            import torch

            padding = x[..., -1:].expand(*x.shape[:-1], missing)
            blocks = torch.cat([x, padding], dim=-1).unflatten(-1, shape)
            return blocks if n_joint is None else blocks.transpose(1, 2).flatten(2)

        def join_tensor(x):
            if n_joint is not None:
                x = x.unflatten(2, (n_joint, -1)).transpose(1, 2)
            return x.flatten(-2)[..., :window_length]

        return segment_tensor, join_tensor

    def get_feature_names_out(self, input_features=None):
        """Names of the samples of all blocks, in order.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen in `fit`.

        Returns
        -------
        names : ndarray of str, shape (n_leads * n_blocks * block_size,)
            ``'block0_0'``, ``'block0_1'``, …; for separate leads
            ``'lead0_block0_0'``, …
        """
        check_is_fitted(self)
        *leads, n_blocks, block_size = self._block_shape()
        indices = np.ndindex(n_blocks, block_size)
        names = [f"block{block}_{sample}" for block, sample in indices]
        names = names_by_lead(names, leads)
        return feature_names(self, names, input_features)

    def _fingerprint_state(self):
        *leads, window_length = self.row_shape_
        state = {"block_size_": self.block_size_, "n_blocks_": self.n_blocks_}
        state["window_length"] = window_length
        if self._n_joint() is not None:
            state["leads_"] = "joint"
        return state | ({"n_leads": leads} if leads else {})
