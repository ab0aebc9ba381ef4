"""A trained network over arrays of blocks, chunk by chunk. Torch only.

Every chunk has the same shape, the last one filled up. Kernels are chosen, and sums
ordered, by shape, and threads share the rows of a chunk; so a window gives the same
bits in whatever batch it comes, with any number of threads. And memory stays bounded.
"""

import copy

import numpy as np
import torch

from sktok._nearest import nearest, require_finite
from sktok._quantizers import VectorQuantizer
from sktok._search import search_tokens
from sktok._threads import limited_threads, n_threads

_CHUNK_BLOCKS = 6400  # more outgrow the caches, fewer are little work for a call
_CODEBOOK_TOKENS = 2**16  # of which blocks are kept, at most


def resolve_device(device):
    """The torch device that `device` names; "auto" prefers an accelerator."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        device = next(name for name, there in available.items() if there)
    if not available[device]:
        raise ValueError(
            f"device={device!r} is not available to torch here: use 'auto' or 'cpu'."
        )
    return torch.device(device)


def encode(network, X, device="cpu"):
    """Latents of blocks: (…, block_size) to (…, latent_dim)."""
    network = _for_inference(network, device)
    return _map_chunks(lambda x: require_finite(network.encode(x)), X, device)


def decode(network, latents, device="cpu"):
    """Blocks from latents: (…, latent_dim) to (…, block_size)."""
    network = _for_inference(network, device)
    return _map_chunks(lambda z: require_finite(network.decode(z)), latents, device)


def tokenize(network, quantizer, X, n_candidates=1, device="cpu"):
    """Tokens of blocks: (…, block_size) to (…, n_tokens_of_a_block) of int64."""
    network = _for_inference(network, device)
    has_codebook = isinstance(quantizer, VectorQuantizer)
    codes = None
    if has_codebook or n_candidates > 1:
        codes = torch.from_numpy(quantizer.codes_).to(resolve_device(device))

    def tokens_of(x):
        latents = require_finite(network.encode(x))
        if has_codebook:
            tokens = nearest(latents.flatten(0, 1), codes)
        else:
            tokens = torch.from_numpy(quantizer._quantize(latents.cpu().numpy()))
        tokens = tokens.reshape(*latents.shape[:2], -1).to(latents.device)
        if n_candidates > 1:
            tokens = search_tokens(network, codes, n_candidates, x, latents, tokens)
        return tokens

    # The search decodes a chunk as many times over.
    return _map_chunks(tokens_of, X, device, _CHUNK_BLOCKS // n_candidates)


def restore(network, quantizer, tokens, device="cpu"):
    """Blocks from valid tokens: (…, n_tokens_of_a_block) to (…, block_size)."""
    network = _for_inference(network, device)

    def restored(tokens):
        codes = torch.from_numpy(quantizer._dequantize(tokens.cpu().numpy()))
        latents = codes.float().flatten(2).to(tokens.device)
        return require_finite(network.decode(latents))

    return _map_chunks(restored, tokens, device)


def blocks_of_tokens(network, quantizer, latent_dim, device="cpu"):
    """The block that each token stands for, (n_tokens, block_size), or None.

    None where a block depends on more than one token, or a table would be too large.
    """
    if quantizer is None or getattr(network, "reach", None) != 0:
        return None
    is_small = quantizer.n_tokens_ <= _CODEBOOK_TOKENS
    if not is_small or quantizer.codes_.shape[1] != latent_dim:
        return None
    return restore(network, quantizer, np.arange(quantizer.n_tokens_)[:, None], device)


def _for_inference(network, device):
    """`network` in its fastest form, on the device.

    The network given stays on the CPU, for other threads.
    """
    if hasattr(network, "for_inference"):
        network = network.for_inference()
    if resolve_device(device).type != "cpu":
        network = copy.deepcopy(network).to(resolve_device(device))
    return network


def as_blocks(X):
    """Rows of one block, (windows, n), as windows of one block, (windows, 1, n)."""
    return X if X.ndim == 3 else X[:, np.newaxis]


def _map_chunks(function, array, device, chunk_blocks=_CHUNK_BLOCKS):
    """Results of `function` for an array of blocks, computed chunk by chunk."""
    blocks = as_blocks(array)
    n_windows, n_blocks = blocks.shape[:2]
    size = max(1, chunk_blocks // n_blocks)
    dtype = np.float32 if array.dtype.kind == "f" else array.dtype
    device = resolve_device(device)
    result = None
    with torch.no_grad(), limited_threads(n_threads()):
        for start in range(0, n_windows, size):
            piece = blocks[start : start + size]
            chunk = np.zeros((size, *piece.shape[1:]), dtype)
            with np.errstate(over="ignore"):
                chunk[: len(piece)] = piece
            chunk = require_finite(torch.from_numpy(chunk)).to(device)
            outcome = function(chunk)[: len(piece)]
            if result is None:
                shape = n_windows, *outcome.shape[1:]
                result = torch.empty(shape, dtype=outcome.dtype)
            result[start : start + size] = outcome
    return result.numpy().reshape(*array.shape[:-1], -1)
