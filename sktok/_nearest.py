"""The code nearest to a value. Torch only."""

import torch

from sktok.networks import with_bias, with_ones

_CODES_AT_ONCE = 256  # so that distances of a chunk to them are a few megabytes


def distances(values, codes):
    """Squared distance of each value to each code, but for the value's own square.

    Parameters
    ----------
    values : torch.Tensor of shape (n_values, dim)
        Values, such as latents.

    codes : torch.Tensor of shape (n_codes, dim)
        Codebook.

    Returns
    -------
    torch.Tensor of shape (n_values, n_codes)
        Distances, less the same number in each row.
    """
    return with_ones(values) @ _factors(codes).T


def nearest(values, codes):
    """Index of the code nearest to each value; of equally near ones the first.

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
    values = with_ones(values)
    lowest = values.new_full((len(values),), torch.inf)
    index = torch.zeros_like(lowest, dtype=torch.int64)
    for start in range(0, len(codes), _CODES_AT_ONCE):
        factors = _factors(codes[start : start + _CODES_AT_ONCE])
        here_lowest, here = (values @ factors.T).min(1)
        index = torch.where(here_lowest < lowest, start + here, index)
        lowest = torch.minimum(here_lowest, lowest)
    require_finite(lowest)
    return index


def _factors(codes):
    """What multiplies values, with a one behind them, to distances from codes."""
    return with_bias(-2 * codes, codes.square().sum(1))


def require_finite(values):
    """Raise `FloatingPointError` unless all values are finite; return them."""
    if not torch.stack(values.aminmax()).isfinite().all():
        raise FloatingPointError("values that are not finite")
    return values
