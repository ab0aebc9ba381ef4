"""A trained network over arrays of blocks, chunk by chunk.

All chunks have the same shape; the last one is filled up. Kernels are chosen, and sums
ordered, by shape, and threads share the rows of a chunk. A window therefore gives the
same bits in any batch and with any number of threads, and memory stays bounded.
"""

import copy
from weakref import WeakKeyDictionary

import numpy as np
import torch

from sktok._torch.device import exact_float32, resolve_device
from sktok._torch.nearest import require_finite
from sktok._torch.search import search_tokens
from sktok._torch.threads import limited_threads, n_threads

_CHUNK_BLOCKS = 6400  # more outgrow the caches, fewer are too little work for a call
_CODEBOOK_TOKENS = 2**16  # that a look-up table has at most
_HASH_BITS = 16
_look_ups = WeakKeyDictionary()  # network -> what decodes its quantised latents


def encode(network, X, device="cpu"):
    """Latents of blocks: (…, block_size) to (…, latent_dim)."""
    network = for_inference(network, device)
    return _map_chunks(network.encode, X, device)


def decode(network, latents, device="cpu"):
    """Blocks from latents: (…, latent_dim) to (…, block_size)."""
    if latents.shape[-1] == 1 and getattr(network, "context_radius", None) == 0:
        blocks = _decode_distinct(network, latents, device)
        if blocks is not None:
            return blocks
    return _decode_each(network, latents, device)


def _decode_each(network, latents, device):
    network = for_inference(network, device)
    return _map_chunks(network.decode, latents, device)


def _decode_distinct(network, latents, device):
    """Blocks from latents of one number, decoded once for each distinct number.

    Quantised latents have few distinct numbers, and a block that is restored separately
    depends on its own latent only, so a look-up does the rest. The table is kept for
    the next call. None if a look-up does not pay.
    """
    keys = np.ascontiguousarray(latents, np.float32).view(np.uint32).ravel()
    ordered = np.sort(keys)  # numpy.unique takes 6 times as long
    distinct = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    if len(distinct) > len(keys) // 8:
        return None
    # In-place changes of the weights count as another network.
    versions = [weight._version for weight in network.parameters()]
    known, *look_up = _look_ups.get(network, (None,))
    if known != versions or not np.isin(distinct, look_up[0]).all():
        look_up = _new_look_up(network, distinct, device)
        if look_up is None:
            return None
        _look_ups[network] = versions, *look_up
    _, factor, table = look_up
    blocks = np.take(table, _hash(keys, factor), axis=0)
    return blocks.reshape(*latents.shape[:-1], -1)


def _new_look_up(network, distinct, device):
    """Keys, the factor of their hash, and the block of each hash; or None."""
    factor = _collision_free_factor(distinct)
    if factor is None:
        return None
    blocks = _decode_each(network, distinct.view(np.float32)[:, np.newaxis], device)
    table = np.empty((2**_HASH_BITS, blocks.shape[1]), blocks.dtype)
    table[_hash(distinct, factor)] = blocks
    return distinct, factor, table


def _hash(keys, factor):
    """Multiplicative hashing (D. E. Knuth, TAOCP 3, section 6.4)."""
    return (keys * factor) >> np.uint32(32 - _HASH_BITS)


def _collision_free_factor(distinct):
    """A factor by which no two keys have the same hash, or None."""
    for factor in np.random.RandomState(0).randint(2**32, size=64, dtype=np.uint32):
        factor |= np.uint32(1)
        if len(np.unique(_hash(distinct, factor))) == len(distinct):
            return factor
    return None


def tokenize(network, quantizer, X, n_candidates=1, device="cpu"):
    """Tokens of blocks: (…, block_size) to (…, tokens_per_block) of int64."""
    network = for_inference(network, device)
    quantize, _ = quantizer.tensor_functions(resolve_device(device))
    codes = None
    if n_candidates > 1:
        codes = torch.from_numpy(quantizer.codes()).to(resolve_device(device))

    def tokens_of(x):
        latents = require_finite(network.encode(x))
        tokens = quantize(latents)
        if n_candidates > 1:
            tokens = search_tokens(network, codes, n_candidates, x, latents, tokens)
        return tokens

    # A search decodes each chunk `n_candidates` times at once.
    return _map_chunks(tokens_of, X, device, n_copies=n_candidates)


def decode_tokens(network, quantizer, tokens, device="cpu"):
    """Blocks from valid tokens: (…, tokens_per_block) to (…, block_size)."""
    network = for_inference(network, device)
    _, dequantize = quantizer.tensor_functions(resolve_device(device))

    def blocks_of(tokens):
        return network.decode(dequantize(tokens).float())

    return _map_chunks(blocks_of, tokens, device)


def blocks_of_tokens(network, quantizer, latent_dim, device="cpu"):
    """The block that each token stands for, (n_tokens, block_size), or None.

    None if a block depends on more than one token, or the table would be too large.
    """
    if quantizer is None or getattr(network, "context_radius", None) != 0:
        return None
    is_small = quantizer.n_tokens_ <= _CODEBOOK_TOKENS
    if not is_small or quantizer.tokens_per_block(latent_dim) != 1:
        return None
    tokens = np.arange(quantizer.n_tokens_)[:, np.newaxis]
    return decode_tokens(network, quantizer, tokens, device)


def for_inference(network, device="cpu"):
    """`network` in its fastest form on the device; the given one stays on the CPU."""
    if hasattr(network, "for_inference"):
        network = network.for_inference()
    if resolve_device(device).type != "cpu":
        network = copy.deepcopy(network).to(resolve_device(device))
    return network


def as_blocks(X):
    """Blocks in rows of any shape as (windows, blocks, block_size).

    Rows of one block, (windows, n), are windows of one block. The leads of a window
    become windows: a network never reads across the boundary between two leads.
    """
    return X[:, np.newaxis] if X.ndim == 2 else X.reshape(-1, *X.shape[-2:])


def _map_chunks(function, array, device, n_copies=1):
    """Finite results of `function` for an array of blocks, computed chunk by chunk."""
    blocks = as_blocks(array)
    n_windows, n_blocks = blocks.shape[:2]
    device = resolve_device(device)
    # A GPU needs more work for a call.
    chunk_blocks = _CHUNK_BLOCKS if device.type == "cpu" else 64 * _CHUNK_BLOCKS
    size = max(1, chunk_blocks // n_copies // n_blocks)
    dtype = np.float32 if array.dtype.kind == "f" else array.dtype
    result = None
    with torch.no_grad(), exact_float32(device), limited_threads(n_threads()):
        for start in range(0, n_windows, size):
            piece = blocks[start : start + size]
            chunk = np.empty((size, *piece.shape[1:]), dtype)
            with np.errstate(over="ignore"):
                chunk[: len(piece)] = piece
            # Filled up with real windows: a network may divide by their deviation.
            chunk[len(piece) :] = chunk[:1]
            chunk = require_finite(torch.from_numpy(chunk)).to(device)
            outcome = require_finite(function(chunk))[: len(piece)]
            if result is None:
                shape = n_windows, *outcome.shape[1:]
                result = torch.empty(shape, dtype=outcome.dtype)
            result[start : start + size] = outcome
    return result.numpy().reshape(*array.shape[:-1], -1)
