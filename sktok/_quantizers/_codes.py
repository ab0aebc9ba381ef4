"""Codebooks: how they are learned from vectors, and the code of each vector."""

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from sktok._rows import LARGEST

_KMEANS_VECTORS = 200_000  # that a codebook is fitted to, drawn from all
_START_VECTORS = 20_000  # that its start is chosen from
_ROWS_AT_ONCE = 256
_LARGEST_TO_SQUARE = 1e16  # in float32, and to sum
_SMALL_GAIN = 1e-4  # relative decrease of the objective that ends the iterations


def kmeans_codes(vectors, n_codes, max_iter, random_state):
    """Centres of k-means (which repeat if vectors are fewer), number of iterations."""
    from sklearn.cluster import KMeans, kmeans_plusplus  # slow to import

    vectors = some_of(vectors, random_state)
    distinct = np.unique(vectors, axis=0)
    if len(distinct) <= n_codes:
        return np.resize(distinct, (n_codes, vectors.shape[1])), 1
    largest = np.abs(vectors).max()  # squares of huge values would overflow
    vectors = vectors / largest
    some = vectors[: max(_START_VECTORS, 4 * n_codes)]
    with threadpool_limits(1), warnings.catch_warnings():  # sums in one order
        # Vectors that differ in their last bits only make fewer clusters.
        warnings.simplefilter("ignore", ConvergenceWarning)
        start, _ = kmeans_plusplus(some, n_codes, random_state=random_state)
        kmeans = KMeans(n_codes, init=start, n_init=1, max_iter=max_iter).fit(vectors)
    return kmeans.cluster_centers_ * largest, kmeans.n_iter_


def entropy_constrained(vectors, codes, bit_cost, max_iter):
    """Codes that minimise squared distance and rate, and the number of iterations.

    Lloyd's iterations with the cost of the code lengths (P. A. Chou et al., 1989). They
    end when the objective hardly decreases. Codes that are not used are removed.
    """
    lengths, best = np.full(len(codes), np.log2(len(codes))), np.inf
    n_iter = 0
    while n_iter < max_iter:
        n_iter += 1
        tokens = cheapest(vectors, codes, bit_cost * lengths)
        error = np.square(vectors - codes[tokens], dtype=np.float64).sum(axis=1).mean()
        objective = error + bit_cost * lengths[tokens].mean()
        tokens, counts = np.unique(tokens, return_inverse=True, return_counts=True)[1:]
        order, starts = np.argsort(tokens, kind="stable"), np.cumsum(counts) - counts
        sums = np.add.reduceat(vectors[order], starts, axis=0, dtype=np.float64)
        codes = (sums / counts[:, np.newaxis]).astype(vectors.dtype)
        lengths = code_lengths(counts)
        if objective >= best * (1 - _SMALL_GAIN):
            break
        best = objective
    return codes, n_iter


def some_of(vectors, random_state):
    """At most 200,000 of the vectors, in random order."""
    return vectors[random_state.permutation(len(vectors))[:_KMEANS_VECTORS]]


def code_lengths(counts):
    """Ideal code lengths in bits, from the number of uses of each code."""
    return np.log2(counts.sum() / counts)


def cheapest(vectors, codes, costs=None):
    """Index of the code with the least squared distance plus cost.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_vectors, dim)
        Vectors.

    codes : ndarray of float, shape (n_codes, dim)
        Codebook.

    costs : ndarray of float, shape (n_codes,), or None, default=None
        Is added to the squared distance of each code.

    Returns
    -------
    ndarray of int64, shape (n_vectors,)
        Indices; the first one of equals.
    """
    from sklearn.metrics import pairwise_distances_argmin  # slow to import

    tokens = pairwise_distances_argmin(*_with_costs(vectors, codes, costs))
    return tokens.astype(np.int64, copy=False)


def _with_costs(vectors, codes, costs):
    """Vectors and codes, with costs as the squares of one more coordinate."""
    vectors, codes = widened(vectors, codes)
    dtype = vectors.dtype
    if costs is not None:
        vectors = np.column_stack([vectors, np.zeros(len(vectors))])
        codes = np.column_stack([codes, np.sqrt(costs - costs.min())])
    # One order in memory, because the last bits depend on it.
    return [np.ascontiguousarray(x, dtype) for x in (vectors, codes)]


def widened(vectors, codes):
    """Vectors and codes in one dtype: float64, if their squares need it."""
    largest = max(np.abs(vectors).max(), np.abs(codes).max())
    is_usual = 1 / _LARGEST_TO_SQUARE < largest < _LARGEST_TO_SQUARE
    dtype = vectors.dtype if is_usual else np.float64
    return vectors.astype(dtype, copy=False), codes.astype(dtype, copy=False)


def several_cheapest(vectors, codes, costs, n):
    """Indices of the `n` codes with the least sums: (n_vectors, n)."""
    codes = codes.astype(np.float64)
    squares = np.square(codes).sum(axis=1) + (0.0 if costs is None else costs)

    def of_piece(piece):
        return smallest(squares - 2 * piece.astype(np.float64) @ codes.T, n)

    return in_pieces(of_piece, vectors)


def best_continuations(left, totals, codes, costs, n):
    """For each value, the `n` best pairs of a beginning and a code that follows it.

    Parameters
    ----------
    left : ndarray of float, shape (n_values, n_beginnings, dim)
        What each beginning leaves of the value.

    totals : ndarray of float, shape (n_values, n_beginnings)
        Squared error and costs of each beginning.

    codes : ndarray of float, shape (n_codes, dim)
        Codebook of the next stage.

    costs : ndarray of float, shape (n_codes,), or None
        Is added to the squared distance of each code.

    n : int
        Number of pairs.

    Returns
    -------
    ndarray of int64, shape (n_values, n)
        Pairs as ``beginning * n_codes + code``.
    """
    codes = codes.astype(np.float64)
    squares = np.square(codes).sum(axis=1) + (0.0 if costs is None else costs)
    dim = codes.shape[1]

    def of_piece(piece):
        piece = piece.reshape(len(piece), -1, dim + 1)
        table = piece[..., -1:] + squares - 2 * piece[..., :-1] @ codes.T
        return smallest(table.reshape(len(table), -1), n)

    rows = np.concatenate([left, totals[..., np.newaxis]], axis=2, dtype=np.float64)
    return in_pieces(of_piece, rows.reshape(len(rows), -1))


def smallest(table, n):
    """Columns of the `n` smallest numbers in each row of a table, which it changes."""
    found = np.empty((len(table), n), np.int64)
    for column in found.T:
        column[:] = table.argmin(axis=1)
        np.put_along_axis(table, column[:, np.newaxis], np.inf, axis=1)
    return found


def in_pieces(function, values):
    """Apply a function along the last axis to pieces of one shape.

    Sums of products depend in their last bits on the number of rows.
    """
    rows = values.reshape(-1, values.shape[-1])
    missing = -len(rows) % _ROWS_AT_ONCE
    filled = np.concatenate([rows, np.repeat(rows[:1], missing, axis=0)])
    pieces = filled.reshape(-1, _ROWS_AT_ONCE, values.shape[-1])
    outcome = np.concatenate(list(map(function, pieces)))
    return outcome[: len(rows)].reshape(*values.shape[:-1], -1)


class Backend(NamedTuple):
    """What `stage_by_stage` needs of numpy or torch."""

    namespace: ModuleType
    take_along: Callable  # of (values, indices, axis)
    nearest: Callable  # of (values, codes, costs)
    several_nearest: Callable  # of (values, codes, costs, n)
    best_continuations: Callable  # of (left, totals, codes, costs, n)


ARRAYS = Backend(np, np.take_along_axis, cheapest, several_cheapest, best_continuations)


def tensors():
    """The `Backend` of torch."""
    import torch

    from sktok._torch import nearest as rows

    functions = rows.nearest, rows.several_nearest, rows.best_continuations
    return Backend(torch, rows.take_along, *functions)


def stage_by_stage(backend, values, codes, stages, costs=None, beam_width=1):
    """Tokens of values: each stage encodes what the stages before have left.

    The nearest code of a stage is not always the best for the sum of all. Several
    beginnings are kept from stage to stage, those with the least sum of squared error
    and costs.

    Parameters
    ----------
    backend : Backend
        `ARRAYS` or ``tensors()``.

    values : ndarray or torch.Tensor of shape (…, dim)
        Values; of two axes for the backends of this module.

    codes : ndarray or torch.Tensor of shape (n_tokens, dim)
        The codes of all stages.

    stages : list of slice
        The codes of each stage.

    costs : ndarray or torch.Tensor of shape (n_tokens,), or None, default=None
        Is added to the squared distance of each code.

    beam_width : int, default=1
        Number of beginnings to keep.

    Returns
    -------
    ndarray or torch.Tensor of int64, shape (…, n_stages)
        Tokens.
    """
    xp, (first, *others) = backend.namespace, stages

    def of(stage):
        return codes[stage], None if costs is None else costs[stage]

    beam_width = min(beam_width, first.stop) if others else 1
    if beam_width == 1:
        tokens, left = [], values
        for stage in stages:
            tokens.append(stage.start + backend.nearest(left, *of(stage)))
            if stage is not stages[-1]:
                left = left - codes[tokens[-1]]
        return xp.stack(tokens, -1)
    # Beginnings, (…, beam_width, n_stages so far), and what they leave, of dim.
    tokens = backend.several_nearest(values, *of(first), beam_width)[..., None]
    left = values[..., None, :] - codes[tokens[..., 0]]
    for stage in others[:-1]:
        totals = _totals(left, tokens, costs)
        pairs = backend.best_continuations(left, totals, *of(stage), beam_width)
        n_codes = len(codes[stage])
        beginning, code = pairs // n_codes, stage.start + pairs % n_codes
        tokens = backend.take_along(tokens, beginning[..., None], -2)
        tokens = xp.concatenate([tokens, code[..., None]], -1)
        left = backend.take_along(left, beginning[..., None], -2) - codes[code]
    best = None
    for start in range(beam_width):
        token = others[-1].start + backend.nearest(left[..., start, :], *of(others[-1]))
        longer = xp.concatenate([tokens[..., start, :], token[..., None]], -1)
        total = _totals(left[..., start, :] - codes[token], longer, costs)
        if best is None:
            best, least = longer, total
        best = xp.where((total < least)[..., None], longer, best)
        least = xp.minimum(least, total)
    return best


def _totals(left, tokens, costs):
    """Squared error and costs of beginnings."""
    error = (left**2).sum(-1)
    return error if costs is None else error + costs[tokens].sum(-1)


def sum_of_codes(tokens, codes):
    """Add up the codes of each block: (…, n_stages) -> (…, dim)."""
    total = codes[tokens[..., 0]]
    for stage in range(1, tokens.shape[-1]):
        total = total + codes[tokens[..., stage]]
    return total


def require_float32_range(values):
    """Raise `ValueError` if values exceed the range of float32."""
    largest = max(values.max(), -values.min())
    if largest > LARGEST:
        raise ValueError(
            f"X has values up to {largest:.3g} in magnitude, more than float32 can "
            "hold: scale it first, as with AmplitudeScaler."
        )
