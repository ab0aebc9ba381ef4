"""Heartbeats that are found in a signal and in its reconstruction."""

import math

import numpy as np
import sleepecg

from sktok._rows import is_number
from sktok.metrics._distortion import validate_pair


def heartbeat_f1(X, X_hat, fs, *, tolerance=0.05):
    """F1 score of the heartbeats in a reconstruction.

    :func:`sleepecg.detect_heartbeats` detects the R-peaks of both signals. A peak of
    the reconstruction within `tolerance` of a peak of the signal is a true positive.

    Parameters
    ----------
    X : array-like of shape (n_windows, window_length), \
            (n_windows, n_leads, window_length) or (n_samples,)
        ECG, or consecutive windows of one. The beats of several leads are counted
        together.

    X_hat : array-like of the shape of X
        Its reconstruction.

    fs : float
        Sampling frequency in Hz, above 60.

    tolerance : float, default=0.05
        In seconds.

    Returns
    -------
    float
        Harmonic mean of precision and sensitivity, between 0 and 1; 1 if there is no
        heartbeat in either.

    Raises
    ------
    ValueError
        If the signals are not finite, differ in shape or are shorter than the two
        seconds that the detector needs; or if `fs` or `tolerance` are out of range.

    See Also
    --------
    sleepecg.detect_heartbeats : The detector.
    prd : The error of all samples alike.

    References
    ----------
    J. Pan and W. J. Tompkins, "A real-time QRS detection algorithm", IEEE Trans.
    Biomed. Eng. 32(3):230-236, 1985. The detector is a variant of it.

    Examples
    --------
    >>> from sktok import BinQuantizer
    >>> from sktok.datasets import load_ecg
    >>> from sktok.metrics import heartbeat_f1, reconstruct
    >>> ecg = load_ecg()
    >>> quantizer = BinQuantizer(64).fit(ecg.data)
    >>> round(heartbeat_f1(ecg.data, reconstruct(quantizer, ecg.data), ecg.fs), 3)
    0.993
    """
    if not (is_number(fs) and 60 < fs < math.inf):
        raise ValueError(f"fs={fs!r}: expected a number above 60 (Hz).")
    if not (is_number(tolerance) and 0 <= tolerance < math.inf):
        raise ValueError(f"tolerance={tolerance!r}: expected seconds, 0 or more.")
    # (n_windows, window_length) or (n_windows, n_leads, window_length) -> (leads, n)
    X, X_hat = (np.hstack(_with_leads(x)) for x in validate_pair(X, X_hat))
    if X.shape[1] < 2 * fs:
        raise ValueError(
            f"The signal has {X.shape[1]} samples at {fs} Hz, expected two seconds or "
            "more: give consecutive windows of a record."
        )
    tolerated = min(round(tolerance * fs), X.shape[1])
    counts = [_count(*pair, fs, tolerated) for pair in zip(X, X_hat, strict=True)]
    n_matched, n_beats = np.sum(counts, axis=0)
    return float(2 * n_matched / n_beats) if n_beats else 1.0


def _with_leads(x):
    """Windows as (n_windows, n_leads, window_length)."""
    return x.reshape(1, 1, -1) if x.ndim == 1 else x.reshape(len(x), -1, x.shape[-1])


def _count(signal, restored, fs, tolerated):
    """Number of beats that are found again, and of the beats in both signals."""
    beats, found = _heartbeats(signal, fs), _heartbeats(restored, fs)
    n_beats = len(beats) + len(found)
    if not (len(beats) and len(found)):
        return 0, n_beats
    shift = 2 * tolerated  # sleepecg fails on beats that are closer to the start
    compared = sleepecg.compare_heartbeats(found + shift, beats + shift, tolerated)
    return len(compared.TP), n_beats


def _heartbeats(signal, fs):
    """Sample indices of the R-peaks; a flat line has none."""
    _, exponent = np.frexp(np.abs(signal).max())
    signal = np.ldexp(signal, -exponent)  # squares of huge values would overflow
    if np.ptp(signal) == 0:
        return np.array([], dtype=int)
    # sleepecg reads two seconds after a flat start without checking that they exist.
    # Its buffer is also one beat too short: without padding, it writes past the end.
    is_short = len(signal) - np.argmax(signal != signal[0]) < 2 * fs
    padding = math.ceil((2 if is_short else 0.2) * fs)
    beats = sleepecg.detect_heartbeats(np.pad(signal, (0, padding), "edge"), fs)
    return beats[beats < len(signal)]
