"""Signals and tokens by lead, and the blocks of tokens, from fitted tokenizers."""

import math
from numbers import Integral
from typing import NamedTuple

import numpy as np

from sktok._polyphase import rate_ratio, resample
from sktok._rows import is_number, require_fs
from sktok._steps import (
    SignalFacts,
    reconcile,
    signal_facts,
    vocabulary_size,
    walk,
)
from sktok.metrics._distortion import as_leads, validate_pair


class Blocks(NamedTuple):
    """Tokens that represent one block each."""

    tokens: np.ndarray  # (n_windows, n_leads, n_blocks)
    size: int  # in samples, after a Resampler
    starts: np.ndarray  # (n_blocks,), first sample in a window of the input


class Restored(NamedTuple):
    """Windows by lead, their reconstruction, and their tokens."""

    signal: np.ndarray  # (n_windows, n_leads, window_length)
    reconstruction: np.ndarray  # of the same shape
    tokens: np.ndarray  # as `transform` returns them
    blocks: Blocks | None  # None unless each token represents one block


def find(estimator, attribute):
    """An attribute of the outermost estimator in a tokenizer that has it, or None."""
    owners = (part for part in walk(estimator) if hasattr(part, attribute))
    return getattr(next(owners, None), attribute, None)


def rates(estimator):
    """Sampling rates of the windows and of their blocks, or (1, 1) if not known."""
    return find(estimator, "input_fs") or 1, find(estimator, "output_fs_") or 1


def at_rate_of_blocks(estimator, windows, fs):
    """Windows as they are before they are cut into blocks, and their rate."""
    input_fs, output_fs = rates(estimator)
    if input_fs == output_fs:
        return windows, fs
    window_length = _length_at_rate_of_blocks(estimator, windows.shape[-1])
    windows = resample(windows, input_fs, output_fs, window_length)
    return windows, fs and fs * output_fs / input_fs


def with_facts(estimator, X, fs, unit):
    """Windows in the unit of a tokenizer, and their `fs` and `unit` by name.

    None is replaced by what the tokenizer says of its input.
    """
    require_fs(fs)
    facts, factor = reconcile(estimator, SignalFacts(fs, unit))
    X = X if factor == 1 else np.multiply(X, factor)
    return X, {"fs": facts.fs, "unit": facts.unit}


def lead_index(lead, n_leads, estimator=None):
    """Index of a lead, which is given by its index or by its name in a tokenizer."""
    if is_number(lead, Integral) and 0 <= lead < n_leads:
        return int(lead)
    names = None if estimator is None else signal_facts(estimator).lead
    names = [names] if isinstance(names, str) else list(names or ())
    if lead in names and len(names) == n_leads:
        return names.index(lead)
    if n_leads == 1:
        raise ValueError(
            f"lead={lead!r} of windows with 1 lead, expected 0. Three axes count as "
            "leads if the tokenizer has a step such as Resampler or BlockSegmenter, "
            "and as blocks otherwise."
        )
    known = f", or one of {', '.join(names)}" if names else ""
    raise ValueError(
        f"lead={lead!r} of windows with {n_leads} leads: expected an index from 0 to "
        f"{n_leads - 1}{known}."
    )


def restore(estimator, X):
    """Tokenize and restore windows; the result is `Restored`."""
    transformed = estimator.transform(X)
    pair = validate_pair(X, estimator.inverse_transform(transformed))
    signal, reconstruction = as_leads(estimator, *pair)
    tokens, row_shape = np.asarray(transformed), pair[0].shape[1:]
    blocks = _blocks(estimator, tokens, row_shape, signal.shape[1])
    return Restored(signal, reconstruction, tokens, blocks)


def restore_blocks(estimator, X):
    """`Restored` with blocks, and the range of their tokens; raise without blocks."""
    restored = restore(estimator, X)
    if restored.blocks is None:
        tokens = restored.tokens
        raise ValueError(
            f"{type(estimator).__name__} turns rows of shape {np.shape(X)[1:]} into "
            f"rows of shape {tokens.shape[1:]} and dtype {tokens.dtype}, expected one "
            "token for each block: give a tokenizer such as make_tokenizer()."
        )
    ranges = find(estimator, "token_ranges_")
    return restored, ranges["shape"] if ranges else range(vocabulary_size(estimator))


def end_to_end(starts, windows):
    """The first sample of each token, in windows of one lead that are joined."""
    n_windows, window_length = windows.shape
    return np.add.outer(window_length * np.arange(n_windows), starts).ravel()


def _blocks(estimator, tokens, row_shape, n_leads):
    """Tokens by lead and the place of their blocks, or None if this is not known.

    Tokens of joint blocks are those of all leads.

    The first tokens of each lead of a `GainShapeTokenizer` are those of offset and
    gain. They describe a whole window and are left out.
    """
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu" or tokens.shape[1] % n_leads:
        return None
    if n_leads > 1 and find(estimator, "leads_") == "joint":
        return None
    n_left_out = len(find(estimator, "token_ranges_") or [None]) - 1
    tokens = tokens.reshape(len(tokens), n_leads, -1)[..., n_left_out:]
    n_tokens = tokens.shape[-1]
    size = _block_size(estimator, n_tokens, row_shape, n_leads)
    up, down = rate_ratio(*rates(estimator))
    if size is None or size * down < up:  # a block has less than a sample
        return None
    return Blocks(tokens, size, np.arange(n_tokens) * size * down // up)


def _block_size(estimator, n_tokens, row_shape, n_leads):
    """Samples of a block if a lead has one token for each block, otherwise None.

    The block size of the estimator counts, if it has one, as it need not divide the
    window. Without blocks, a token may depend on the whole window, for example on a
    principal component.
    """
    n_samples = math.prod(row_shape) // n_leads
    window_length = _length_at_rate_of_blocks(estimator, n_samples)
    n_rows = math.prod(row_shape[:-1]) // n_leads  # the blocks, if X has blocks
    block_size = find(estimator, "block_size_")
    if block_size is None and n_tokens in (1, window_length, n_rows):
        block_size = window_length // n_tokens
    is_one_each = block_size and n_tokens == math.ceil(window_length / block_size)
    return block_size if is_one_each else None


def _length_at_rate_of_blocks(estimator, window_length):
    """Samples of a window when it is cut into blocks: a `Resampler` changes them."""
    return (find(estimator, "output_shape_") or (window_length,))[-1]
