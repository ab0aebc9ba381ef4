"""The nearest code of each value."""

import torch

from sktok._torch.sums import with_bias, with_ones

_CODES_AT_ONCE = 256  # keeps the distances of a chunk at a few megabytes


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
    values = with_ones(values)
    lowest, index = (values @ _factors(codes[:_CODES_AT_ONCE]).T).min(1)
    for start in range(_CODES_AT_ONCE, len(codes), _CODES_AT_ONCE):
        factors = _factors(codes[start : start + _CODES_AT_ONCE])
        here_lowest, here = (values @ factors.T).min(1)
        index = torch.where(here_lowest < lowest, start + here, index)
        lowest = torch.minimum(here_lowest, lowest)
    require_finite(lowest)
    return index


def _factors(codes):
    """Weights that turn values, followed by a one, into distances from codes."""
    return with_bias(-2 * codes, codes.square().sum(1))


def require_finite(values):
    """Raise `FloatingPointError` unless all values are finite; return them."""
    if not torch.stack(values.aminmax()).isfinite().all():
        raise FloatingPointError("values that are not finite")
    return values
