"""What fitted tokenizers tell: the tokens of blocks, and where the blocks begin."""

import math
from typing import NamedTuple

import numpy as np

from sktok._steps import steps_of, vocabulary_size


class BlockTokens(NamedTuple):
    """The tokens of the blocks of windows, and what is left of the windows."""

    tokens: np.ndarray  # (n_windows, n_blocks)
    token_length: int  # samples
    vocabulary: range
    reconstruction: np.ndarray  # of the shape of X


def parts(estimator):
    """A fitted estimator and all that is fitted in it, from the outside in."""
    yield estimator
    for step in steps_of(estimator):
        if step is not estimator:
            yield from parts(step)
    if hasattr(estimator, "tokenizer_"):  # of a GainShapeTokenizer
        yield from parts(estimator.tokenizer_)


def token_length_of(estimator, tokens, row_shape):
    """Samples that each of the tokens in a row stands for, or None if not known."""
    if _token_ranges(estimator):  # offset and gain stand for the whole window
        return None
    return _block_length(estimator, tokens, row_shape)


def _block_length(estimator, tokens, row_shape):
    """Samples of a block, if there is a token for each, or else None.

    The block size counts, if the estimator has one: it need not divide the window.
    Other tokens may each stand for the whole window, as those of components do.
    """
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu":
        return None
    n_tokens, window_length = tokens.shape[1], math.prod(row_shape)
    sizes = [part.block_size_ for part in parts(estimator) if _has_blocks(part)]
    if sizes:
        return sizes[0] if n_tokens == math.ceil(window_length / sizes[0]) else None
    if n_tokens in (1, window_length, row_shape[0]):
        return window_length // n_tokens
    return None


def _token_ranges(estimator):
    """The ranges of the tokens of a `GainShapeTokenizer`, or None."""
    ranges = (getattr(part, "token_ranges_", None) for part in parts(estimator))
    return next(filter(None, ranges), None)


def _has_blocks(part):
    return getattr(part, "block_size_", None) is not None


def block_tokens(estimator, X):
    """Tokenize windows, and keep the tokens that stand for one block each.

    The tokens of offset and gain that lead each row of a `GainShapeTokenizer` stand
    for the whole window, and are left out.
    """
    transformed = estimator.transform(X)
    tokens = np.asarray(transformed)
    ranges = _token_ranges(estimator)
    if ranges:
        vocabulary = ranges["shape"]
        tokens = tokens[:, len(ranges) - 1 :]
    else:
        vocabulary = range(vocabulary_size(estimator))
    row_shape = np.shape(X)[1:]
    token_length = _block_length(estimator, tokens, row_shape)
    if token_length is None:
        raise ValueError(
            f"{type(estimator).__name__} turns rows of shape {row_shape} into "
            f"rows of shape {tokens.shape[1:]} and dtype {tokens.dtype}, expected one "
            "token for each block: give a tokenizer such as make_tokenizer()."
        )
    reconstruction = np.asarray(estimator.inverse_transform(transformed))
    return BlockTokens(tokens, token_length, vocabulary, reconstruction)


def token_starts(n_windows, window_length, token_length):
    """The first sample of each token, in windows that are laid end to end."""
    first = np.arange(0, window_length, token_length)
    return (window_length * np.arange(n_windows)[:, np.newaxis] + first).ravel()
