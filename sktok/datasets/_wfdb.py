"""WFDB records as windows.

A record is read in four steps: its header, the index of the lead, the samples of that
lead (of all segments, if it has some), and the checks of these samples. Headers are not
trusted: their numbers are compared with the files before memory is allocated.
"""

import errno
import os
from itertools import accumulate
from numbers import Integral
from pathlib import Path

import numpy as np

from sktok._rows import is_number
from sktok.datasets._windows import Signal, to_bunch

LONGEST_GAPS = 2**28  # samples of NaN in a record: two gigabytes, six days at 500 Hz
# wfdb takes 1 ms for each lead, and time in the square of the length of a line.
_LARGEST_HEADER = 2**24  # bytes
_LONGEST_LINE = 1024  # bytes
_MOST_LEADS, _MOST_SEGMENTS = 1024, 2**16


def load_wfdb(
    paths, *, channel=0, window_length=250, scale=None, missing="raise", groups=None
):
    """Load one lead of WFDB records as windows.

    Samples are compared with the checksums in the headers. Windows do not overlap and
    do not cross records; samples left over at the end of a record are dropped.
    Multi-segment records are read as one signal.

    The files that a header names have to be in the folder of the header; symbolic
    links are followed. The numbers in a header are compared with the sizes of its files
    before memory is allocated.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        Records, each as the path of its files without extension. ``record`` holds the
        last part of each path, or the whole path if the last parts are not unique.

    channel : int or str, default=0
        The lead, by its index or its name in the header.

    window_length : int, default=250
        Number of samples in a window.

    scale : {None, "record"}, default=None
        `None` keeps the physical unit; "record" scales each record by its own
        smallest and largest sample to [0, 1].

    missing : {"raise", "drop", "keep"}, default="raise"
        How to treat windows with invalid samples, for example gaps between segments:
        "raise" raises an error, "drop" leaves these windows out, and "keep" keeps them
        with NaN.

    groups : sequence of str or None, default=None
        The patient of each record. `None` treats each record as a different patient,
        named like the record.

    Returns
    -------
    Bunch
        As described in :mod:`sktok.datasets`.

    Raises
    ------
    FileNotFoundError
        If a file of a record does not exist.
    ValueError
        If a file is truncated or damaged, a record lacks the lead or is shorter than
        a window, samples are invalid and ``missing="raise"``, records differ in
        sampling frequency or unit, or gaps between segments are longer than 2**28
        samples.

    See Also
    --------
    fetch_mitdb : Load the MIT-BIH Arrhythmia Database.

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
    if not paths:
        raise ValueError("paths is empty: give at least one record.")
    records = record_names(paths)
    groups = records if groups is None else [str(group) for group in groups]
    if len(groups) != len(records):
        raise ValueError(f"groups: {len(groups)} patients for {len(records)} records.")
    signals = (read_lead(path, channel) for path in paths)
    options = {"window_length": window_length, "scale": scale, "missing": missing}
    return to_bunch(signals, records, groups, **options)


def record_names(paths):
    """The last part of each path, or the whole paths if these are not unique."""
    names = [Path(path).name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    return names


class _RecordError(ValueError):
    """An error whose message already explains what is wrong with a record."""


def read_lead(path, channel):
    """Read one lead of a WFDB record and verify it.

    Parameters
    ----------
    path : path-like
        The record's files, without extension.

    channel : int or str
        The lead, by its index or its name.

    Returns
    -------
    Signal
        The whole lead, at its own sampling frequency, NaN where it is invalid.
    """
    path = Path(path)
    if not Path(f"{path}.hea").is_file():
        stem = path.with_suffix("")
        hint = f", such as {stem}" if Path(f"{stem}.hea").is_file() else ""
        raise FileNotFoundError(
            f"There is no WFDB header {path}.hea: give a path without extension{hint}."
        )
    try:
        return _read_lead(path, channel)
    except (_RecordError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"Record {path} is incomplete, there is no {error.filename}: put this file "
            "into the folder of the header, which names it."
        ) from error
    except Exception as error:  # wfdb raises errors of any type on damaged files
        raise ValueError(
            f"{path} is not a readable WFDB record: its files may be truncated or "
            f"damaged, copy them again. The error of wfdb is: {error}"
        ) from error


def _read_lead(path, channel):
    header = _read_header(path)
    if not hasattr(header, "n_seg"):
        index = _lead_index(path, _lead_names(header), channel)
        return _read_signal(path, header, index)
    segments = _read_segment_headers(path, header)
    leads = _lead_names(next(filter(None, segments)))
    index = _lead_index(path, leads, channel)
    return _join_segments(path, header, segments, leads[index], index)


# --- headers


def _read_header(path):
    """Read a header with wfdb, after checking that this takes bounded time."""
    import wfdb

    file = _require_file(Path(f"{path}.hea"))
    if "::" in os.path.abspath(path):
        raise _RecordError(f"{path} has :: in its name, two paths for wfdb: rename it.")
    if file.stat().st_size > _LARGEST_HEADER:
        raise _RecordError(f"{file} is larger than any header: give a WFDB record.")
    lines = map(bytes.strip, file.read_bytes().splitlines())
    lines = [line for line in lines if line and line[:1] != b"#"]
    most = _MOST_SEGMENTS if lines and b"/" in lines[0] else _MOST_LEADS
    if len(lines) > most or max(map(len, lines), default=0) > _LONGEST_LINE:
        raise _RecordError(
            f"{file} has more than {most} lines or a line of more than {_LONGEST_LINE} "
            "bytes, which no header has: give a WFDB record."
        )
    return wfdb.rdheader(str(path))


def _require_file(file):
    """`file`, if it is a regular file; reading a pipe would wait forever."""
    if not file.is_file():
        raise FileNotFoundError(errno.ENOENT, "no such file", str(file))
    return file


def _read_segment_headers(path, header):
    """The headers of all segments, with None for a gap."""
    names = header.seg_name
    n_different = len(set(names) - {"~"}) + names.count("~")
    if not n_different == len(names) == header.n_seg:
        raise _RecordError(
            f"The header of {path} says that it has {header.n_seg} segments, but it "
            f"names {len(names)}, {n_different} of them different: copy it again."
        )
    segments = [
        None if name == "~" else _read_header(path.with_name(name)) for name in names
    ]
    if any(hasattr(segment, "n_seg") for segment in segments):
        raise _RecordError(f"A segment of {path} has segments itself: copy it again.")
    leads = {tuple(_lead_names(segment)) for segment in segments if segment}
    if header.layout == "fixed" and len(leads) > 1:
        raise _RecordError(f"Segments of {path} hold different leads: load each alone.")
    return segments


def _lead_names(header):
    """The names of the leads; the index is the name of a lead without one."""
    return [name or str(index) for index, name in enumerate(header.sig_name or [])]


def _lead_index(path, leads, channel):
    if isinstance(channel, str) and channel in leads:
        return leads.index(channel)
    if is_number(channel, Integral) and 0 <= channel < len(leads):
        return int(channel)
    raise _RecordError(
        f"Record {path.name} has no channel {channel!r}: its {len(leads)} leads are "
        f"{', '.join(leads) or '(none)'}; give a name, or an index counted from 0."
    )


# --- samples


def _read_signal(path, header, index):
    """One lead of a record without segments, at the lead's own sampling frequency."""
    import wfdb

    _check_signal_file(path, header, index)
    options = {"physical": False, "smooth_frames": False}
    record = wfdb.rdrecord(str(path), channels=[index], **options)
    _verify_checksum(path, record, index)
    with np.errstate(over="ignore"):  # infinity is refused below
        record.dac(expanded=True, inplace=True)
    samples, fs = record.e_p_signal[0], record.fs * record.samps_per_frame[0]
    if not fs or np.isinf(samples).any():
        raise _RecordError(
            f"The header of {path} has a sampling frequency of {fs} Hz and a gain of "
            f"{record.adc_gain[0]}, which is impossible: copy it again."
        )
    return Signal(samples, fs, record.units[0], _lead_names(header)[index])


def _check_signal_file(path, header, index):
    """Raise unless the file of a lead is as long as its header says."""
    name = header.file_name[index]
    file = _require_file(path.with_name(name))
    leads = [lead for lead, other in enumerate(header.file_name) if other == name]
    if leads != list(range(leads[0], leads[-1] + 1)):
        raise _RecordError(
            f"The header of {path} names {name}, then another file, then {name} again, "
            "which wfdb cannot read: list the signals of a file together."
        )
    n_bytes = file.stat().st_size
    n_samples = (header.sig_len or 0) * sum(header.samps_per_frame[i] for i in leads)
    # A frame of FLAC holds up to 8 × 65,535 samples and takes at least about 64 bytes.
    most = n_bytes * (8192 if int(header.fmt[index]) > 500 else 1)
    skew = max(header.skew[lead] or 0 for lead in leads)
    if n_samples > most or skew > (header.sig_len or most):
        raise _RecordError(
            f"{file} has {n_bytes} bytes, but its header counts {n_samples} samples, "
            f"shifted by {skew}: a file is truncated or damaged, copy both again."
        )


def _verify_checksum(path, record, index):
    """Compare the only lead of `record` with the checksum in its header."""
    expected, found = record.checksum[0], record.calc_checksum(expanded=True)[0]
    if expected is not None and (expected - found) % 65_536:
        raise _RecordError(
            f"Channel {index} of {path} has the checksum {found}, but its header says "
            f"{expected % 65_536}: a file is damaged, copy it again."
        )


# --- segments


def _join_segments(path, header, segments, lead, index):
    """One lead of all segments, with NaN where a segment lacks it.

    wfdb joins segments too, but at the rate of the slowest lead and without checks.
    """
    pieces, ends = {}, list(accumulate(header.seg_len))
    for i, (name, segment) in enumerate(zip(header.seg_name, segments, strict=True)):
        names = _lead_names(segment) if segment and header.seg_len[i] else []
        if lead in names:
            index = names.index(lead) if header.layout == "variable" else index
            pieces[i] = piece = _read_signal(path.with_name(name), segment, index)
            rate = round(piece.fs / header.fs)  # samples in a frame
            if len(piece.samples) != rate * header.seg_len[i]:
                raise _RecordError(
                    f"Segment {name} of {path} has another length than the header of "
                    "the record says: copy both again."
                )
    kinds = {(piece.fs, piece.unit) for piece in pieces.values()}
    if len(kinds) != 1:
        raise _RecordError(
            f"The segments of {path} hold lead {lead} with {len(kinds)} pairs of "
            f"sampling frequency and unit, {kinds}, expected one: load them one by one."
        )
    n_missing = rate * ends[-1] - sum(len(piece.samples) for piece in pieces.values())
    if n_missing > LONGEST_GAPS:
        raise _RecordError(
            f"The header of {path} leaves gaps of {n_missing} samples between "
            f"segments, more than {LONGEST_GAPS}: load the segments one by one."
        )
    samples = np.full(rate * ends[-1], np.nan)
    for i, piece in pieces.items():
        end = rate * ends[i]
        samples[end - len(piece.samples) : end] = piece.samples
    return Signal(samples, *kinds.pop(), lead)
