"""Tokens of blocks, and the samples at which they start, from fitted tokenizers."""

import math

import numpy as np

from sktok._rows import require_int
from sktok._steps import vocabulary_size, walk


def find(estimator, attribute):
    """An attribute of the outermost estimator in a tokenizer that has it, or None."""
    owners = (part for part in walk(estimator) if hasattr(part, attribute))
    return getattr(next(owners, None), attribute, None)


def token_length_of(estimator, tokens, row_shape):
    """Samples that each token of a row represents, or None if this is not known."""
    if find(estimator, "token_ranges_"):  # offset and gain describe whole windows
        return None
    return _block_length(estimator, tokens, row_shape)


def _block_length(estimator, tokens, row_shape):
    """Samples of a block if there is one token for each block, otherwise None.

    The block size of the estimator counts, if it has one, as it need not divide the
    window. Without blocks, a token may depend on the whole window, for example on a
    principal component.
    """
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu":
        return None
    n_tokens, window_length = tokens.shape[1], math.prod(row_shape)
    block_size = find(estimator, "block_size_")
    if block_size is None and n_tokens in (1, window_length, row_shape[0]):
        block_size = window_length // n_tokens
    is_one_each = block_size and n_tokens == math.ceil(window_length / block_size)
    return block_size if is_one_each else None


def block_tokens(estimator, X):
    """Tokenize and restore windows; keep the tokens that represent one block each.

    The first tokens of each row of a `GainShapeTokenizer` are those of offset and gain.
    They describe the whole window and are left out.

    Returns
    -------
    tokens : ndarray of int, shape (n_windows, n_blocks)

    token_length : int
        In samples.

    vocabulary : range

    reconstruction : ndarray of the shape of X
    """
    transformed = estimator.transform(X)
    ranges = find(estimator, "token_ranges_")
    ranges = ranges or {"shape": range(vocabulary_size(estimator))}
    tokens = np.asarray(transformed)[..., len(ranges) - 1 :]
    row_shape = np.shape(X)[1:]
    token_length = _block_length(estimator, tokens, row_shape)
    if token_length is None:
        raise ValueError(
            f"{type(estimator).__name__} turns rows of shape {row_shape} into "
            f"rows of shape {tokens.shape[1:]} and dtype {tokens.dtype}, expected one "
            "token for each block: give a tokenizer such as make_tokenizer()."
        )
    reconstruction = np.asarray(estimator.inverse_transform(transformed))
    return tokens, token_length, ranges["shape"], reconstruction


def token_starts(windows, token_length):
    """The first sample of each token, in windows that are joined end to end."""
    require_int("token_length", token_length)
    samples = np.arange(windows.size).reshape(len(windows), -1)
    return samples[:, ::token_length].ravel()
