"""Polyphase resampling of arrays."""

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np

_LARGEST_FACTOR = 10_000  # of upsampling and downsampling
_LARGEST_DEVIATION = 1e-6  # of a rate; that of a quartz is larger
_HALF_WIDTH = 10  # of the filter, in samples at the lower of the two rates


def resample(samples, input_fs, output_fs, n_output=None):
    """Resample signals along the last axis, with a filter against aliasing.

    Sample ``k`` of the result is at the time ``k / output_fs`` after the first sample.
    The signals are continued by point reflection beyond their ends, which keeps value
    and slope there.

    Parameters
    ----------
    samples : ndarray of float, shape (..., n_samples)
        Signals, in any unit. NaN marks invalid samples, also in the result.

    input_fs, output_fs : float
        Sampling rates in Hz.

    n_output : int or None, default=None
        Number of samples of the result; `None` rounds the duration.

    Returns
    -------
    ndarray of float, shape (..., n_output)
        In the dtype of `samples`.

    Raises
    ------
    ValueError
        If the rates have no ratio of two integers up to 10,000, within a millionth.
    """
    up, down = rate_ratio(input_fs, output_fs)
    if n_output is None:
        n_output = resampled_length(samples.shape[-1], input_fs, output_fs)
    if up == down and n_output == samples.shape[-1]:
        return samples.copy()
    is_invalid = np.isnan(samples)
    if not is_invalid.any():
        return _resample_finite(samples, up, down, n_output)
    resampled = np.full((*samples.shape[:-1], n_output), np.nan, samples.dtype)
    for index in np.ndindex(samples.shape[:-1]):
        if not is_invalid[index].all():
            filled = _interpolated(samples[index], is_invalid[index])
            result = _resample_finite(filled, up, down, n_output)
            result[_is_next_to(is_invalid[index], up, down, n_output)] = np.nan
            resampled[index] = result
    return resampled


def rate_ratio(input_fs, output_fs):
    """``output_fs / input_fs`` as two integers without common divisor.

    Odd ratios are rounded, by less than the clocks of recorders deviate.
    """
    low, high = sorted(map(float, (input_fs, output_fs)))
    ratio = Fraction(low / high).limit_denominator(_LARGEST_FACTOR)
    if abs(ratio * high / low - 1) > _LARGEST_DEVIATION:
        raise ValueError(
            f"The rates {input_fs} and {output_fs} Hz have no ratio of two integers up "
            f"to {_LARGEST_FACTOR:,}, which resampling needs: choose another rate."
        )
    up, down = ratio.numerator, ratio.denominator
    return (up, down) if input_fs > output_fs else (down, up)


def resampled_length(n_samples, input_fs, output_fs):
    """Number of samples at another rate, at least 1."""
    up, down = rate_ratio(input_fs, output_fs)
    return max(1, round(Fraction(n_samples * up, down)))


def look_ahead(up, down):
    """How far the filter reads beyond the next output sample, in input samples."""
    if up == down:
        return 0
    return Fraction(_half_width(up, down) + 1 - down, up)


def _half_width(up, down):
    """Half width of the filter, in samples at ``up`` times the input rate."""
    return _HALF_WIDTH * max(up, down)


def _resample_finite(samples, up, down, n_output):
    from scipy.signal import resample_poly  # slow to import

    level = samples[..., :1]  # without it, constants are exact
    # As many samples before the signal as make a whole number of output samples.
    width = _half_width(up, down) / up + 1
    n_before = down * math.ceil(width / down)
    n_needed = math.ceil(n_output * down / up + width)
    n_after = max(0, n_needed - samples.shape[-1])
    padding = [(0, 0)] * (samples.ndim - 1) + [(n_before, n_after)]
    padded = np.pad(samples - level, padding, mode="reflect", reflect_type="odd")
    resampled = resample_poly(padded, up, down, axis=-1, window=_kernel(up, down))
    first = n_before * up // down
    return resampled[..., first : first + n_output] + level


@lru_cache(maxsize=32)
def _kernel(up, down):
    """A low-pass filter at ``up`` times the input rate, as `resample_poly` has it.

    Every output sample is a sum of input samples with weights that are one of `up`
    phases of the filter. The weights of each phase sum to 1, so that no phase changes
    the level of the signal.
    """
    from scipy.signal import firwin

    half_width = _half_width(up, down)
    kernel = firwin(2 * half_width + 1, 1 / max(up, down), window=("kaiser", 5.0))
    for phase in range(up):
        kernel[phase::up] /= up * kernel[phase::up].sum()
    return kernel


def filter_matrices(n_input, n_output, up, down):
    """The linear map of `resample`, as matrices for short segments of a signal.

    The map has few weights for each output sample. Groups of consecutive output samples
    share a segment of the signal, which is a little longer than the filter.

    Parameters
    ----------
    n_input, n_output : int
        Number of samples before and after resampling.

    up, down : int
        Their rates, see `rate_ratio`.

    Returns
    -------
    places : ndarray of int64, shape (n_groups, segment_length)
        Which samples are in the segment of each group.

    weights : ndarray of float64, shape (n_groups, segment_length, group_size)
        ``(samples - samples[0])[places[i]] @ weights[i]`` is the output of group i,
        minus ``samples[0]``, without what the last sample adds to it.

    last_weights : ndarray of float64, shape (n_groups, group_size)
        Additional weights of the last sample, by which the signal is continued.
    """
    half_width = _half_width(up, down)
    group_size = min(n_output, 2 * half_width // down)  # spans the width of the filter
    group_starts = np.arange(0, n_output, group_size)
    # How far each output sample is from the start of the filter, in steps of the
    # kernel: output sample k is at k * down, and input sample i is at i * up.
    first = (group_starts * down - half_width) // up
    length = (2 * half_width + (group_size - 1) * down) // up + 2
    inputs = first[:, np.newaxis] + np.arange(length)
    outputs = group_starts[:, np.newaxis] + np.arange(group_size)
    steps = outputs[:, np.newaxis] * down - inputs[..., np.newaxis] * up + half_width
    kernel = _kernel(up, down)
    is_inside = (steps >= 0) & (steps < len(kernel))
    weights = np.where(is_inside, up * kernel[np.where(is_inside, steps, 0)], 0.0)
    # Point reflection has a period of two windows: each adds twice their rise.
    n_periods, places = np.divmod(inputs, max(1, 2 * (n_input - 1)))
    is_mirrored = places >= n_input
    places = np.where(is_mirrored, 2 * (n_input - 1) - places, places)
    n_rises = 2 * (n_periods + is_mirrored)
    last_weights = np.einsum("gi,gio->go", n_rises, weights)
    signs = np.where(is_mirrored, -1, 1)
    return places, weights * signs[..., np.newaxis], last_weights


def _interpolated(samples, is_invalid):
    """One signal with invalid samples replaced by lines between the valid ones."""
    places = np.arange(len(samples))
    valid = ~is_invalid
    return np.where(valid, samples, np.interp(places, places[valid], samples[valid]))


def _is_next_to(is_invalid, up, down, n_output):
    """Whether a resampled sample stands for an invalid sample, or lies next to one.

    Each input sample is between the `first` and the `last` of some output sample, so
    that no gap is lost.
    """
    places, most = np.arange(n_output) * down / up, len(is_invalid) - 1
    reach = max(0.0, (down / up - 1) / 2)
    first = np.clip(np.floor(places - reach), 0, most).astype(int)
    last = np.clip(np.ceil(places + reach), 0, most).astype(int)
    n_invalid = np.concatenate([[0], np.cumsum(is_invalid)])  # before each sample
    return n_invalid[last + 1] > n_invalid[first]
