"""A trained network over arrays of blocks, chunk by chunk.

Kernels are chosen, and sums ordered, by shape, and threads share the rows of a chunk.
All chunks therefore have the same shape, and the last one is filled up: a window gives
the same bits in any batch and with any number of threads, and memory stays bounded.
Few windows take a smaller chunk, once it has been shown to give the same bits.
"""

import copy
from contextlib import nullcontext
from functools import partial
from weakref import WeakKeyDictionary

import numpy as np
import torch

from sktok._torch.arrays import as_blocks
from sktok._torch.device import resolve_device
from sktok._torch.guard import unaffected
from sktok._torch.nearest import require_finite
from sktok._torch.search import search_tokens
from sktok._torch.threads import limited_threads, n_threads

_CHUNK_BLOCKS = 6400  # more outgrow the caches, fewer are too little work for a call
_N_TRIALS = 4  # of a smaller chunk
_DISTINCT = 100  # numbers that a trial needs to show anything
_CODEBOOK_TOKENS = 2**16  # that a look-up table has at most
_HASH_BITS = 16
_faster = WeakKeyDictionary()  # network -> its faster form on each device
_exact = WeakKeyDictionary()  # network -> whether chunks of a size give the same bits
_look_ups = WeakKeyDictionary()  # network -> what decodes latents on each device


@unaffected()
def encode(network, X, device="cpu"):
    """Latents of blocks: (…, block_size) to (…, latent_dim)."""
    device = resolve_device(device)
    encode = partial(_run, for_inference(network, device), "encode")
    return _map_chunks(encode, X, device)


@unaffected()
def decode(network, latents, device="cpu"):
    """Blocks from latents: (…, latent_dim) to (…, block_size)."""
    device = resolve_device(device)
    is_separate = getattr(network, "context_radius", None) == 0
    # Other networks may hold more than weights, whose changes a table would miss.
    if latents.shape[-1] == 1 and is_separate and hasattr(network, "for_inference"):
        blocks = _decode_distinct(network, latents, device)
        if blocks is not None:
            return blocks
    return _decode_each(network, latents, device)


def _decode_each(network, latents, device):
    decode = partial(_run, for_inference(network, device), "decode")
    return _map_chunks(decode, latents, device)


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
    known = _look_ups.setdefault(network, {})
    state, *look_up = known.get(device, (None,))
    is_known = _is_unchanged(network, state) and np.isin(distinct, look_up[0]).all()
    if not is_known:
        state = _copy_of_state(network)
        look_up = _new_look_up(network, distinct, device)
        if look_up is None:
            return None
        known[device] = state, *look_up
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


@unaffected()
def tokenize(network, quantizer, X, n_candidates=1, device="cpu", bit_cost=0.0):
    """Tokens of blocks: (…, block_size) to (…, tokens_per_block) of int64."""
    device = resolve_device(device)
    network = for_inference(network, device)
    quantize, _ = quantizer.tensor_functions(device)
    if n_candidates > 1:
        functions = quantizer.search_functions(device)

    def tokens_of(x):
        latents = require_finite(_run(network, "encode", x))
        return quantize(latents)

    def best_tokens_of(x):
        n_windows = len(x)
        x = _filled(x, _chunk_size(x.shape[1], device, n_candidates))
        latents = require_finite(network.encode(x))
        tokens = quantize(latents)
        tokens = search_tokens(
            network, functions, n_candidates, x, latents, tokens, bit_cost
        )
        return tokens[:n_windows]

    if n_candidates == 1:
        return _map_chunks(tokens_of, X, device)
    # A search decodes each chunk `n_candidates` times at once.
    return _map_chunks(best_tokens_of, X, device, n_copies=n_candidates)


@unaffected()
def decode_tokens(network, quantizer, tokens, device="cpu"):
    """Blocks from valid tokens: (…, tokens_per_block) to (…, block_size)."""
    device = resolve_device(device)
    network = for_inference(network, device)
    _, dequantize = quantizer.tensor_functions(device)

    def blocks_of(tokens):
        return _run(network, "decode", dequantize(tokens).float())

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


def for_inference(network, device):
    """`network` in its fastest form on the device; the given one stays on the CPU."""
    if not hasattr(network, "for_inference"):
        # It may hold more than weights, so that a copy would not follow its changes.
        if device.type == "cpu":
            return network
        return copy.deepcopy(network).to(device)
    known = _faster.setdefault(network, {})
    state, faster = known.get(device, (None, None))
    if not _is_unchanged(network, state):
        state = _copy_of_state(network)
        with unaffected():  # the caller may compute less exactly
            # Of a copy, since what it returns must not hold the key of the cache.
            faster = copy.deepcopy(network).to(device).for_inference()
        known[device] = state, faster
    return faster


def _is_unchanged(network, state):
    """Whether a network still has the state that `_copy_of_state` returned, if any.

    Counters of changes in place would be quicker, but some optimisers of torch, and
    ``weight.data``, change weights without counting.
    """
    if state is None:
        return False
    limits, weights = state
    now = list(_weights(network))
    return (
        getattr(network, "limits", None) == limits
        and len(now) == len(weights)
        and all(
            (a.dtype, a.device) == (b.dtype, b.device) and torch.equal(a, b)
            for a, b in zip(now, weights, strict=True)
        )
    )


def _copy_of_state(network):
    """What determines the output of a network that has `for_inference`."""
    weights = [weight.detach().clone() for weight in _weights(network)]
    return getattr(network, "limits", None), weights


def _weights(module):
    """Parameters and buffers; torch's own iterators take four times as long."""
    for weights in (module._parameters, module._buffers):
        yield from (weight for weight in weights.values() if weight is not None)
    for part in module._modules.values():
        yield from _weights(part)


def _chunk_size(n_blocks, device, n_copies=1):
    """Number of windows in a chunk."""
    # A GPU needs more work for a call.
    chunk_blocks = _CHUNK_BLOCKS if device.type == "cpu" else 64 * _CHUNK_BLOCKS
    return max(1, chunk_blocks // n_copies // n_blocks)


def _run(network, method, windows):
    """`encode` or `decode` of as many windows as a chunk has, or fewer."""
    function = getattr(network, method)
    n_windows, n_blocks, dim = windows.shape
    full = _chunk_size(n_blocks, windows.device)
    size, is_exact = _size_from(n_windows), _exact.setdefault(network, {})
    # A GPU chooses its kernels by size, too.
    if windows.device.type != "cpu" or not getattr(network, "batch_invariant", False):
        size = full

    def key():
        return method, n_blocks, dim, torch.get_num_threads(), size

    while size < full and is_exact.get(key()) is False:
        size *= 2
    # The fastest mode, but what a custom network keeps could not be trained later.
    is_known = hasattr(network, "for_inference")
    with torch.inference_mode() if is_known else nullcontext():
        if size >= full or is_exact.get(key()):
            return function(_filled(windows, min(size, full)))[:n_windows]
        chunk = _filled(windows, full)
        result = function(chunk)
        verdict = _trial(function, chunk, result, size)
    if verdict is not None:
        is_exact[key()] = verdict
    return result[:n_windows]


def _size_from(n):
    """The least size of chunks from `n`: there are eight between powers of two."""
    step = 2 ** max(0, n.bit_length() - 4)
    return -(-n // step) * step


def _filled(windows, size):
    """Windows filled up to `size` with others like the first one."""
    missing = size - len(windows)
    if not missing:
        return windows
    others = windows[:1].expand(missing, -1, -1)
    if windows.is_floating_point():
        # They are to differ for a trial. No constant, as a network may divide by the
        # deviation of a window.
        options = {"dtype": windows.dtype, "device": windows.device}
        gains = torch.linspace(1.0, 0.5, missing, **options)
        others = others * gains[:, None, None]
    return torch.cat([windows, others])


def _trial(function, chunk, result, size):
    """Whether parts of a chunk give the bits of its result; None if it is not clear."""
    n_parts = max(_N_TRIALS, 2 * _DISTINCT // result[:size].numel())
    starts = np.linspace(0, len(chunk) - size, n_parts).astype(int)
    parts = [slice(start, start + size) for start in starts]
    if torch.cat([result[part] for part in parts]).unique().numel() < _DISTINCT:
        return None  # flat windows have the same bits in any order of sums
    return all(torch.equal(function(chunk[part]), result[part]) for part in parts)


def _map_chunks(function, array, device, n_copies=1):
    """Finite results of `function` for an array of blocks, computed chunk by chunk."""
    blocks = as_blocks(array)
    size = _chunk_size(blocks.shape[1], device, n_copies)
    dtype = torch.float32 if array.dtype.kind == "f" else torch.int64
    result = None
    with limited_threads(n_threads()):
        for start in range(0, len(blocks), size):
            piece = blocks[start : start + size]
            # A copy, because the address decides the last bits of products.
            chunk = torch.empty(piece.shape, dtype=dtype)
            with np.errstate(over="ignore"):
                chunk.numpy()[:] = piece
            chunk = require_finite(chunk).to(device)
            if device.type != "cpu":  # a GPU has other kernels for each shape
                chunk = _filled(chunk, size)
            outcome = require_finite(function(chunk))[: len(piece)]
            if result is None:
                shape = len(blocks), *outcome.shape[1:]
                result = torch.empty(shape, dtype=outcome.dtype)
            result[start : start + size] = outcome
    return result.numpy().reshape(*array.shape[:-1], -1)
