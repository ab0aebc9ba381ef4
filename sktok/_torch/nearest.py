"""The nearest code of each value."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from sktok._torch.sums import with_bias, with_ones

_CODES_AT_ONCE = 256
_ROWS_AT_ONCE = 256  # on the CPU, whose caches then hold the distances
_PAIRS_AT_ONCE = 2**18  # of a beginning and a code, likewise
_PAIRS_ON_DEVICE = 2**26  # those of a device need memory only


def distances(values, codes, costs=None):
    """Squared distance of each value to each code, without the value's own square.

    Parameters
    ----------
    values : torch.Tensor of shape (n_values, dim)
        Values, such as latents.

    codes : torch.Tensor of shape (n_codes, dim)
        Codebook.

    costs : torch.Tensor of shape (n_codes,) or None, default=None
        Is added to the squared distance of each code.

    Returns
    -------
    torch.Tensor of shape (n_values, n_codes)
        Distances minus a number that is constant in each row.
    """
    return with_ones(values) @ _factors(codes, costs).T


def nearest(values, codes, costs=None):
    """Index of the nearest code of each value; the first one of equally near codes.

    Parameters
    ----------
    values : torch.Tensor of shape (n_values, dim)
        Values, such as latents.

    codes : torch.Tensor of shape (n_codes, dim)
        Codebook.

    costs : torch.Tensor of shape (n_codes,) or None, default=None
        Is added to the squared distance of each code.

    Returns
    -------
    torch.Tensor of int64, shape (n_values,)
        Indices.

    Raises
    ------
    FloatingPointError
        If a distance is not finite.
    """
    find = _nearest_on_cpu if values.device.type == "cpu" else _nearest
    values, factors = with_ones(values), _factors(codes, costs)
    lowest, index = find(values, factors[:_CODES_AT_ONCE])
    for start in range(_CODES_AT_ONCE, len(codes), _CODES_AT_ONCE):
        here_lowest, here = find(values, factors[start : start + _CODES_AT_ONCE])
        index = torch.where(here_lowest < lowest, start + here, index)
        lowest = torch.minimum(here_lowest, lowest)
    require_finite(lowest)
    return index


def several_nearest(values, codes, costs, n):
    """Indices of the `n` nearest codes of each value: (n_values, n)."""
    # All products have the same number of rows, on which the order of sums depends.
    missing = -len(values) % _ROWS_AT_ONCE
    pieces = F.pad(values, (0, 0, 0, missing)).split(_ROWS_AT_ONCE)
    found = [_several(distances(piece, codes, costs), n) for piece in pieces]
    return torch.cat(found)[: len(values)]


def best_continuations(left, totals, codes, costs, n):
    """For each value, the `n` best pairs of a beginning and a code that follows it.

    Parameters
    ----------
    left : torch.Tensor of shape (n_values, n_beginnings, dim)
        What each beginning leaves of the value.

    totals : torch.Tensor of shape (n_values, n_beginnings)
        Squared error and costs of each beginning.

    codes, costs, n
        As in `several_nearest`.

    Returns
    -------
    torch.Tensor of int64, shape (n_values, n)
        Pairs as ``beginning * n_codes + code``.
    """
    n_values, n_beginnings, _ = left.shape
    n_pairs = n_beginnings * len(codes)
    # All products have the same number of rows, on which the order of sums depends. On
    # a device, chunks have the same number of values.
    if left.device.type == "cpu":
        n_at_once = max(1, _PAIRS_AT_ONCE // n_pairs)
    else:
        n_at_once = min(n_values, max(1, _PAIRS_ON_DEVICE // n_pairs))
    rows = F.pad(left, (0, 1, 0, 0, 0, -n_values % n_at_once))
    rows[:n_values, :, -1] = totals
    rows = with_ones(rows.flatten(0, 1))
    factors = _factors(codes, costs, with_totals=True).T
    table = rows.new_empty(n_at_once * n_beginnings, len(codes))  # of distances
    found = []
    for piece in rows.split(len(table)):
        torch.mm(piece, factors, out=table)
        found.append(_several(table.view(n_at_once, n_pairs), n))
    return torch.cat(found)[:n_values]


def take_along(values, indices, axis):
    """`torch.take_along_dim` along the last axis but one, for one index in each row.

    That function cannot be exported to ONNX for any number of values.
    """
    indices = indices.expand(*indices.shape[:-1], values.shape[-1])
    return values.gather(axis, indices)


def _several(table, n):
    """Columns of the `n` smallest numbers in each row of a table, which it changes."""
    if table.device.type != "cpu":
        return table.topk(n, largest=False)[1]
    by_numpy, rows = table.numpy(), np.arange(len(table))
    found = np.empty((len(table), n), np.int64)
    for column in found.T:  # quicker than topk for a few columns
        column[:] = by_numpy.argmin(1)
        by_numpy[rows, column] = np.inf
    return torch.from_numpy(found)


def _nearest(values, factors):
    """The smallest distance of each value, and the index of its code."""
    return (values @ factors.T).min(1)


def _nearest_on_cpu(values, factors):
    """`_nearest`, for which numpy takes a seventh of the time.

    All products have the same number of rows, on which the order of sums depends.
    """
    table = values.new_empty(_ROWS_AT_ONCE, len(factors))  # of distances
    by_numpy, rows = table.numpy(), np.arange(_ROWS_AT_ONCE)
    lowest, index = values.new_empty(len(values)), np.empty(len(values), np.int64)
    for start in range(0, len(values), _ROWS_AT_ONCE):
        piece = values[start : start + _ROWS_AT_ONCE]
        n_rows = len(piece)
        if n_rows < _ROWS_AT_ONCE:
            piece = F.pad(piece, (0, 0, 0, _ROWS_AT_ONCE - n_rows))
        torch.mm(piece, factors.T, out=table)
        found = by_numpy.argmin(1)[:n_rows]
        index[start : start + n_rows] = found
        lowest.numpy()[start : start + n_rows] = by_numpy[rows[:n_rows], found]
    return lowest, torch.from_numpy(index)


def _factors(codes, costs, *, with_totals=False):
    """Weights that turn values, followed by a one, into distances from codes.

    With totals, a value is followed by a number that is added to its distances.
    """
    squares, weights = codes.square().sum(1), -2 * codes
    if with_totals:
        weights = F.pad(weights, (0, 1), value=1.0)
    return with_bias(weights, squares if costs is None else squares + costs)


def require_finite(values):
    """Raise `FloatingPointError` unless all values are finite; return them."""
    # The sum is quicker, but may overflow.
    is_float = values.is_floating_point()
    if is_float and not (math.isfinite(values.sum()) or values.isfinite().all()):
        raise FloatingPointError("values that are not finite")
    return values
