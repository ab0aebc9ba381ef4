"""What fitted tokenizers tell: the tokens of blocks, and where the blocks begin."""

import math
from typing import NamedTuple

import numpy as np

from sktok._windows import vocabulary_size


class BlockTokens(NamedTuple):
    """The tokens of the blocks of windows, and what is left of the windows."""

    tokens: np.ndarray  # (n_windows, n_blocks)
    token_length: int  # samples
    vocabulary: range
    reconstruction: np.ndarray  # of the shape of X


def parts(estimator):
    """A fitted estimator and all that is fitted in it, from the outside in."""
    estimator = getattr(estimator, "best_estimator_", estimator)  # of a search
    yield estimator
    for _, step in getattr(estimator, "steps", ()):
        if step not in ("passthrough", None):
            yield from parts(step)
    if hasattr(estimator, "tokenizer_"):  # of a GainShapeTokenizer
        yield from parts(estimator.tokenizer_)


def token_length_of(estimator, tokens, window_length):
    """Samples that each of the tokens in a row stands for, or None if it varies.

    The block size counts, if the estimator has one: it need not divide the window.
    """
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu":
        return None
    n_tokens = tokens.shape[1]
    sizes = [part.block_size_ for part in parts(estimator) if _has_blocks(part)]
    if not sizes:
        return None if window_length % n_tokens else window_length // n_tokens
    return sizes[0] if n_tokens == math.ceil(window_length / sizes[0]) else None


def _has_blocks(part):
    return getattr(part, "block_size_", None) is not None


def block_tokens(estimator, X):
    """Tokenize windows, and keep the tokens that stand for one block each.

    The tokens of offset and gain that lead each row of a `GainShapeTokenizer` stand
    for the whole window, and are left out.
    """
    transformed = estimator.transform(X)
    tokens = np.asarray(transformed)
    ranges = [p.token_ranges_ for p in parts(estimator) if hasattr(p, "token_ranges_")]
    if ranges:
        vocabulary = ranges[0]["shape"]
        tokens = tokens[:, len(ranges[0]) - 1 :]
    else:
        vocabulary = range(vocabulary_size(estimator))
    window_length = math.prod(np.shape(X)[1:])
    token_length = token_length_of(estimator, tokens, window_length)
    if token_length is None:
        raise ValueError(
            f"{type(estimator).__name__} turns windows of {window_length} samples into "
            f"rows of shape {tokens.shape[1:]} and dtype {tokens.dtype}, expected one "
            "token for each block: give a tokenizer such as make_tokenizer()."
        )
    reconstruction = np.asarray(estimator.inverse_transform(transformed))
    return BlockTokens(tokens, token_length, vocabulary, reconstruction)


def token_starts(n_windows, window_length, token_length):
    """The first sample of each token, in windows that are laid end to end."""
    first = np.arange(0, window_length, token_length)
    return (window_length * np.arange(n_windows)[:, np.newaxis] + first).ravel()
