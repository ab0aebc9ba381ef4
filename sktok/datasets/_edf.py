"""EDF, EDF+ and BDF files: found and read.

edfio cuts a truncated file at its last whole data record, with a warning. Here the
sizes in the header are compared with the size of the file before edfio reads it.
"""

import warnings
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sktok._extras import needs_extra
from sktok._leads import distinct_names, select_leads
from sktok.datasets._wfdb import LONGEST_GAPS
from sktok.datasets._windows import Signal

SUFFIXES = (".edf", ".EDF", ".bdf", ".BDF")
_BYTES_PER_SAMPLE = {b"0       ": 2, b"\xffBIOSEMI": 3}  # by version: EDF and BDF
_ANNOTATIONS = (b"EDF Annotations", b"BDF Annotations")  # labels


class _Header(NamedTuple):
    """The part of a header that says where samples are, and how it is encoded."""

    n_bytes: int
    bytes_per_sample: int
    n_records: int  # data records
    duration: Fraction  # of a data record, in seconds
    counts: list  # samples of each signal in a data record
    labels: list  # of each signal, as bytes
    is_discontinuous: bool
    encoding: str


def has_suffix(path):
    """Whether the name of a file is that of an EDF or BDF file."""
    return path.suffix.lower() in SUFFIXES


def records_in(folder):
    """All EDF and BDF files in a folder and its subfolders, but no hidden ones."""
    paths = (path for path in Path(folder).rglob("*") if has_suffix(path))
    return sorted(
        path
        for path in paths
        if not any(part[0] == "." for part in path.relative_to(folder).parts)
        if path.is_file()
    )


def read_leads(path, channel):
    """Read leads of an EDF, EDF+ or BDF file.

    Parameters
    ----------
    path : path-like
        The file.

    channel : int, str, "all" or sequence of int and str
        The leads, as in :func:`sktok.datasets.load_edf`.

    Returns
    -------
    list of Signal
        The whole leads, at their own sampling frequencies, NaN in gaps.
    """
    path = Path(path)
    if not path.is_file():  # reading a pipe would wait forever
        raise FileNotFoundError(f"There is no EDF file {path}.")
    header = _read_header(path)
    leads = _open(path, header).signals
    names = [lead.label.strip() or str(i) for i, lead in enumerate(leads)]
    chosen = select_leads(names, channel, f"Record {path.name}")
    names = distinct_names(names)
    signals = [_read_signal(path, header, leads[i], names[i]) for i in chosen]
    if header.is_discontinuous:
        onsets = _read_onsets(path, header)
        signals = [_insert_gaps(path, header, signal, onsets) for signal in signals]
    return signals


def _damaged(path, cause):
    return ValueError(
        f"{path} is not a readable EDF file: {cause}. It may be truncated or damaged, "
        "copy it again."
    )


# --- headers


def _read_header(path):
    """The header, if its numbers agree with the size of the file."""
    size = path.stat().st_size
    try:
        header = _parse_header(path, size)
    except (ArithmeticError, ValueError) as error:
        raise _damaged(path, f"its header is invalid ({error})") from error
    n_samples = header.n_records * sum(header.counts)
    expected = header.n_bytes + header.bytes_per_sample * n_samples
    if size != expected:
        raise _damaged(path, f"it has {size} bytes, but its header counts {expected}")
    return header


def _parse_header(path, size):
    """Parse the header of a file of some bytes; ValueError if that is impossible."""
    with open(path, "rb") as file:
        fixed = file.read(256)
        if fixed[:8] not in _BYTES_PER_SAMPLE:
            raise ValueError("it does not begin with the version of EDF or BDF")
        n_bytes, n_signals = int(fixed[184:192]), int(fixed[252:256])
        if n_bytes != 256 * (n_signals + 1) or not 0 < n_signals < size / 256:
            raise ValueError(f"{n_bytes} bytes for {n_signals} signals")
        fields = file.read(256 * n_signals)
    labels = [fields[16 * i : 16 * i + 16].rstrip() for i in range(n_signals)]
    starts = range(216 * n_signals, 224 * n_signals, 8)
    counts = [int(fields[start : start + 8]) for start in starts]
    if min(counts) < 1:
        raise ValueError(f"a signal of {min(counts)} samples in a data record")
    n_records = int(fixed[236:244])
    bytes_per_sample = _BYTES_PER_SAMPLE[fixed[:8]]
    if n_records == -1:  # the recorder did not count them
        n_records = (size - n_bytes) // (bytes_per_sample * sum(counts))
    if n_records < 1:
        raise ValueError(f"{n_records} data records")
    return _Header(
        n_bytes,
        bytes_per_sample,
        n_records,
        _parse_duration(fixed[244:252].decode("ascii"), labels, counts),
        counts,
        labels,
        fixed[192:197] in (b"EDF+D", b"BDF+D"),
        _encoding(fixed + fields),
    )


def _parse_duration(text, labels, counts):
    """The exact duration of a data record; 0 in a file of annotations alone."""
    may_be_zero = set(labels) <= set(_ANNOTATIONS)
    if not (0 if may_be_zero else 1e-9) <= float(text) < np.inf:
        raise ValueError(f"data records of {text.strip()} seconds")
    duration = Fraction(text.strip())
    if duration:
        float(max(counts) / duration)  # OverflowError if this is no sampling rate
    return duration


def _encoding(header):
    """UTF-8 if the header is valid UTF-8, as ASCII is, else Latin-1."""
    try:
        header.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _open(path, header):
    """The file as an object of edfio."""
    with needs_extra("edf"):
        import edfio
    read = edfio.read_edf if header.bytes_per_sample == 2 else edfio.read_bdf
    with warnings.catch_warnings():  # of numbers that are checked above
        warnings.simplefilter("ignore")
        return read(path, header_encoding=header.encoding)


# --- samples


def _read_signal(path, header, lead, name):
    """A lead without the gaps between data records."""
    try:
        limits = *lead.physical_range, *lead.digital_range
    except ValueError as error:
        raise _damaged(path, f"lead {name} has invalid limits ({error})") from error
    low, high, digital_low, digital_high = limits
    if low == high or digital_low == digital_high:
        raise _damaged(path, f"the limits of lead {name}, {limits}, give no scale")
    with np.errstate(over="ignore", invalid="ignore"):
        samples = lead.data
    if not np.isfinite(samples).all():
        raise _damaged(path, f"the limits of lead {name}, {limits}, are no numbers")
    fs = float(lead.samples_per_data_record / header.duration)
    return Signal(samples, fs, lead.physical_dimension.strip() or None, name)


def _read_onsets(path, header):
    """When each data record begins, in seconds: its first annotation."""
    found = [i for i, label in enumerate(header.labels) if label in _ANNOTATIONS]
    if not found:
        raise _damaged(path, "it has no times of its data records (EDF+D)")
    ends = header.bytes_per_sample * np.cumsum([0, *header.counts])
    shape = header.n_records, int(ends[-1])
    raw = np.memmap(path, np.uint8, "r", offset=header.n_bytes, shape=shape)
    fields = raw[:, ends[found[0]] : ends[found[0] + 1]]
    try:
        return np.array([float(f.tobytes().partition(b"\x14")[0]) for f in fields])
    except ValueError as error:
        raise _damaged(path, f"a data record has no valid time ({error})") from error


def _insert_gaps(path, header, signal, onsets):
    """The signal with NaN between data records that do not follow each other."""
    count = len(signal.samples) // header.n_records
    gaps = np.diff(onsets, prepend=onsets[0] - count / signal.fs) * signal.fs - count
    gaps[np.abs(gaps) <= 1] = 0  # onsets are rounded
    n_missing = gaps.clip(min=0).sum()
    if (gaps < 0).any():
        raise _damaged(path, "its data records overlap (EDF+D)")
    if not n_missing <= LONGEST_GAPS:  # NaN is not either
        raise _damaged(
            path,
            f"its data records leave gaps of {n_missing:.0f} samples (EDF+D), more "
            f"than {LONGEST_GAPS}",
        )
    shifts = np.cumsum(np.rint(gaps)).astype(np.int64)
    samples = np.full(len(signal.samples) + shifts[-1], np.nan)
    firsts = [*np.flatnonzero(np.diff(shifts, prepend=-1)), header.n_records]
    for first, end in pairwise(firsts):  # runs of data records without a gap
        run = slice(first * count + shifts[first], end * count + shifts[first])
        samples[run] = signal.samples[first * count : end * count]
    return signal._replace(samples=samples)
