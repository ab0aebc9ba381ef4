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
    X : array-like of shape (n_windows, window_length) or (n_samples,)
        ECG, or consecutive windows of one.

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
    X, X_hat = (x.ravel() for x in validate_pair(X, X_hat))
    if X.size < 2 * fs:
        raise ValueError(
            f"The signal has {X.size} samples at {fs} Hz, expected two seconds or "
            "more: give consecutive windows of a record."
        )
    beats, found = _heartbeats(X, fs), _heartbeats(X_hat, fs)
    if not (len(beats) and len(found)):
        return float(len(beats) == len(found))
    tolerated = min(round(tolerance * fs), X.size)
    shift = 2 * tolerated  # sleepecg fails on beats that are closer to the start
    compared = sleepecg.compare_heartbeats(found + shift, beats + shift, tolerated)
    return 2 * len(compared.TP) / (len(beats) + len(found))


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
