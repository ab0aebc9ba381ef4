"""The nearest code of each value."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from sktok._torch.sums import with_bias, with_ones

_CODES_AT_ONCE = 256
_ROWS_AT_ONCE = 256  # on the CPU, whose caches then hold the distances


def distances(values, codes):
    """Squared distance of each value to each code, without the value's own square.

    Parameters
    ----------
    values : torch.Tensor of shape (n_values, dim)
        Values, such as latents.

    codes : torch.Tensor of shape (n_codes, dim)
        Codebook.

    Returns
    -------
    torch.Tensor of shape (n_values, n_codes)
        Distances minus a number that is constant in each row.
    """
    return with_ones(values) @ _factors(codes).T


def nearest(values, codes):
    """Index of the nearest code of each value; the first one of equally near codes.

    Parameters
    ----------
    values : torch.Tensor of shape (n_values, dim)
        Values, such as latents.

    codes : torch.Tensor of shape (n_codes, dim)
        Codebook.

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
    values = with_ones(values)
    lowest, index = find(values, codes[:_CODES_AT_ONCE])
    for start in range(_CODES_AT_ONCE, len(codes), _CODES_AT_ONCE):
        here_lowest, here = find(values, codes[start : start + _CODES_AT_ONCE])
        index = torch.where(here_lowest < lowest, start + here, index)
        lowest = torch.minimum(here_lowest, lowest)
    require_finite(lowest)
    return index


def _nearest(values, codes):
    """The smallest distance of each value, and the index of its code."""
    return (values @ _factors(codes).T).min(1)


def _nearest_on_cpu(values, codes):
    """`_nearest`, for which numpy takes a seventh of the time.

    All products have the same number of rows, on which the order of sums depends.
    """
    factors = _factors(codes).T
    table = values.new_empty(_ROWS_AT_ONCE, len(codes))  # of distances
    by_numpy, rows = table.numpy(), np.arange(_ROWS_AT_ONCE)
    lowest, index = values.new_empty(len(values)), np.empty(len(values), np.int64)
    for start in range(0, len(values), _ROWS_AT_ONCE):
        piece = values[start : start + _ROWS_AT_ONCE]
        n_rows = len(piece)
        if n_rows < _ROWS_AT_ONCE:
            piece = F.pad(piece, (0, 0, 0, _ROWS_AT_ONCE - n_rows))
        torch.mm(piece, factors, out=table)
        found = by_numpy.argmin(1)[:n_rows]
        index[start : start + n_rows] = found
        lowest.numpy()[start : start + n_rows] = by_numpy[rows[:n_rows], found]
    return lowest, torch.from_numpy(index)


def _factors(codes):
    """Weights that turn values, followed by a one, into distances from codes."""
    return with_bias(-2 * codes, codes.square().sum(1))


def require_finite(values):
    """Raise `FloatingPointError` unless all values are finite; return them."""
    # The sum is quicker, but may overflow.
    is_float = values.is_floating_point()
    if is_float and not (math.isfinite(values.sum()) or values.isfinite().all()):
        raise FloatingPointError("values that are not finite")
    return values
