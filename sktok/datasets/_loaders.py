"""Loaders of files: paths to records, records to windows.

A file format is a :class:`_Format`: how its records are found and read. What a loader
does with the leads that were read is the same for all formats.
"""

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import NamedTuple

from sktok._leads import require_ordered
from sktok.datasets import _edf, _wfdb
from sktok.datasets._patients import patient_name
from sktok.datasets._windows import layout, to_bunch


def load_wfdb(
    paths,
    *,
    channel=0,
    leads="axis",
    window_length=None,
    window_seconds=None,
    fs=None,
    scale=None,
    missing="raise",
    groups=None,
):
    """Load WFDB records as windows.

    Samples are compared with the checksums in the headers. Windows do not overlap and
    do not cross records; samples left over at the end of a record are dropped.
    Multi-segment records are read as one signal. Voltages are converted to mV.

    The files that a header names have to be in the folder of the header; symbolic
    links are followed. The numbers in a header are compared with the sizes of its files
    before memory is allocated.

    Parameters
    ----------
    paths : path-like or iterable of path-like
        Records. Each path is a record (the path of its files without extension, or of
        its header, ``.hea``), a folder, which gives all records in it and in its
        folders, sorted by their paths, or a pattern such as ``"ward/*.hea"``. A path
        that exists is not taken for a pattern. ``record`` holds the last part of each
        record's path, or the whole path if the last parts are not unique.

    channel : int, str or sequence of these, default=0
        The lead, by its index or its name in the header; or several leads; or "all".

    leads : {"axis", "rows"}, default="axis"
        How several leads are arranged. "axis" gives windows of shape (n_leads,
        window_length), for records with the same number of leads; with
        ``channel="all"``, they must have the same names too. "rows" gives each lead
        rows of its own, ordered by record, lead and window; records may have different
        leads. It changes nothing if `channel` is one index or name.

    window_length : int or None, default=None
        Number of samples in a window. `None` takes `window_seconds`, or 250 samples if
        that is None too.

    window_seconds : float or None, default=None
        Duration of a window in seconds, instead of `window_length`. It is rounded to a
        whole number of samples.

    fs : float or None, default=None
        Sampling rate in Hz to which each record is resampled as a whole, before it is
        cut into windows. `start` counts samples at this rate. `None` keeps the rate,
        which all records must then share.

    scale : {None, "record"}, default=None
        `None` keeps the physical unit; "record" scales each record to [0, 1] by its
        smallest and largest sample: over all chosen leads together if they are an axis,
        and each lead by its own limits if they are rows.

    missing : {"raise", "drop", "keep"}, default="raise"
        How to treat windows with invalid samples, for example gaps between segments:
        "raise" raises an error, "drop" leaves these windows out, and "keep" keeps them
        with NaN. A window of several leads is invalid if one of its leads is.

    groups : sequence of str, mapping of str to str, or None, default=None
        The patient of each record: one for each record, in order, or a mapping from the
        name of the record, as in ``record``. A mapping has to name all records that are
        loaded, because a record without its patient could be on both sides of a split;
        it may name others, so that one mapping serves a whole database. `None` treats
        each record as a different patient, named like the record.

    Returns
    -------
    Bunch
        As described in :mod:`sktok.datasets`.

    Raises
    ------
    FileNotFoundError
        If a file of a record does not exist, or a folder or pattern gives no record.
    TypeError
        If `paths` holds something else than paths, or `groups` is a string, a set or a
        pandas object, or holds values that are no names.
    ValueError
        If a file is truncated or damaged, a record is named twice or lacks the lead, no
        record is as long as a window, samples are invalid and ``missing="raise"``,
        leads differ in sampling frequency or unit, or gaps between segments are longer
        than 2**28 samples.

    Warns
    -----
    UserWarning
        If records are shorter than a window. They are skipped.

    See Also
    --------
    fetch_mitdb : Load the MIT-BIH Arrhythmia Database.
    load_edf : Load EDF files.
    windows_from : Cut an array into windows.

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
    ...     two_seconds = load_wfdb(folder, channel="II", fs=250, window_seconds=2)
    >>> ecg.data.shape, ecg.fs, ecg.unit
    ((432, 250), 360, 'mV')
    >>> two_seconds.data.shape, two_seconds.fs
    ((150, 500), 250)
    """
    return _load(
        [_WFDB],
        paths,
        channel=channel,
        leads=leads,
        window_length=window_length,
        window_seconds=window_seconds,
        fs=fs,
        scale=scale,
        missing=missing,
        groups=groups,
    )


def load_edf(
    paths,
    *,
    channel=0,
    leads="axis",
    window_length=None,
    window_seconds=None,
    fs=None,
    scale=None,
    missing="raise",
    groups=None,
):
    """Load EDF, EDF+ and BDF files as windows.

    It needs the extra ``edf``, which brings the package `edfio`. Files have no
    checksums, so only damage that changes their size or makes their header impossible
    is detected. In discontinuous files (EDF+D), gaps are invalid samples. Signals of
    annotations are no leads and have no index. Voltages are converted to mV.

    Parameters
    ----------
    paths : path-like or iterable of path-like
        Files, folders, or patterns, as in :func:`load_wfdb`. The extension ``.edf`` or
        ``.bdf`` may be left out. ``record`` holds the name of each file without
        extension, or the whole path if these names are not unique.

    channel : int, str or sequence of these, default=0
        The lead, by its index or its label; or several leads; or "all".

    leads : {"axis", "rows"}, default="axis"
        How several leads are arranged, as in :func:`load_wfdb`.

    window_length : int or None, default=None
        Number of samples in a window. `None` takes `window_seconds`, or 250 samples if
        that is None too.

    window_seconds : float or None, default=None
        Duration of a window in seconds, instead of `window_length`.

    fs : float or None, default=None
        Sampling rate in Hz to which each lead is resampled as a whole. `None` keeps the
        rate, which all leads must then share, also those of one file.

    scale : {None, "record"}, default=None
        As in :func:`load_wfdb`.

    missing : {"raise", "drop", "keep"}, default="raise"
        As in :func:`load_wfdb`.

    groups : sequence of str, mapping of str to str, or None, default=None
        The patient of each record, as in :func:`load_wfdb`.

    Returns
    -------
    Bunch
        As described in :mod:`sktok.datasets`.

    Raises
    ------
    FileNotFoundError
        If a file does not exist, or a folder or pattern gives no file.
    ImportError
        If the package `edfio` is not installed.
    TypeError
        If `paths` holds something else than paths, or `groups` is a string, a set or a
        pandas object, or holds values that are no names.
    ValueError
        If a file is truncated or damaged, or as in :func:`load_wfdb`.

    Warns
    -----
    UserWarning
        If records are shorter than a window. They are skipped.

    See Also
    --------
    load_wfdb : Load WFDB records.
    windows_from : Cut an array into windows.

    References
    ----------
    B. Kemp et al., "A simple format for exchange of digitized polygraphic recordings",
    Electroencephalogr. Clin. Neurophysiol. 82(5):391-393, 1992.

    B. Kemp and J. Olivan, "European data format 'plus' (EDF+), an EDF alike standard
    format for the exchange of physiological data", Clin. Neurophysiol.
    114(9):1755-1761, 2003.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import edfio
    >>> from sktok.datasets import load_ecg, load_edf
    >>> samples = load_ecg().data.ravel()
    >>> signal = edfio.EdfSignal(samples, 360, label="II", physical_dimension="mV")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     edfio.Edf([signal]).write(Path(folder, "a1.edf"))
    ...     ecg = load_edf(folder, channel="II")
    >>> ecg.data.shape, ecg.fs, ecg.unit, ecg.record[0]
    ((432, 250), 360.0, 'mV', np.str_('a1'))
    """
    return _load(
        [_EDF],
        paths,
        channel=channel,
        leads=leads,
        window_length=window_length,
        window_seconds=window_seconds,
        fs=fs,
        scale=scale,
        missing=missing,
        groups=groups,
    )


def load_any(paths, **options):
    """Load records of any format, with the options of :func:`load_wfdb`."""
    return _load(_FORMATS, paths, **options)


def leads_of(path, channel):
    """The names of the leads that `channel` chooses in a record."""
    ((form, record),) = _find(path, _FORMATS)
    return [signal.lead for signal in form.read_leads(record, channel)]


def find_records(paths):
    """The records of any format that paths, folders and patterns give.

    Parameters
    ----------
    paths : path-like or iterable of path-like
        As in :func:`load_wfdb` and :func:`load_edf`.

    Returns
    -------
    list of (str, Path)
        The name of each record, and the path that `load_any` reads it from.
    """
    found = _find(paths, _FORMATS)
    return list(zip(_names(found), (path for _, path in found), strict=True))


class _Format(NamedTuple):
    """A file format."""

    name: str
    loader: str  # the public function, for messages
    usage: str  # what a path has to be, for messages
    record_at: Callable  # path -> path of the record there, or None
    records_in: Callable  # folder -> paths of the records in it
    read_leads: Callable  # path, channel -> list of Signal
    name_of: Callable  # path -> name of the record


def _wfdb_record_at(path):
    if path.suffix == ".hea" and path.is_file():
        return path.with_suffix("")
    return path if Path(f"{path}.hea").is_file() else None


def _edf_record_at(path):
    for file in (path, *(Path(path.parent, path.name + s) for s in _edf.SUFFIXES)):
        if _edf.has_suffix(file) and file.is_file():
            return file
    return None


_WFDB = _Format(
    "WFDB",
    "load_wfdb",
    "the path of its files without extension",
    _wfdb_record_at,
    _wfdb.records_in,
    _wfdb.read_leads,
    attrgetter("name"),
)
_EDF = _Format(
    "EDF",
    "load_edf",
    "the path of a file .edf or .bdf",
    _edf_record_at,
    _edf.records_in,
    _edf.read_leads,
    attrgetter("stem"),
)
_FORMATS = [_WFDB, _EDF]


def _load(formats, paths, *, channel=0, leads="axis", groups=None, **options):
    """Load records of some formats as one Bunch."""
    is_one = isinstance(channel, str) or not isinstance(channel, Iterable)
    require_ordered("channel", channel)
    channel = channel if is_one else list(channel)
    leads = layout(leads, is_one=is_one and channel != "all")
    found = _find(paths, formats)
    records = _names(found)
    recordings = (form.read_leads(path, channel) for form, path in found)
    if channel == "all" and leads == "axis":
        recordings = _require_same_leads(recordings, records)
    patients = _patients(groups, records)
    return to_bunch(recordings, records, patients, leads=leads, **options)


def _require_same_leads(recordings, records):
    """Yield recordings in the order of the first; raise if one has other leads."""
    first = None
    for record, signals in zip(records, recordings, strict=True):
        names = [signal.lead for signal in signals]
        first = first or names
        if names != first and sorted(names) == sorted(set(first)):
            signals = [signals[names.index(name)] for name in first]
        elif names != first:
            raise ValueError(
                f"Record {record} has the leads {', '.join(names)}, and {records[0]} "
                f"has {', '.join(first)}: name the leads with channel=, or give "
                "leads='rows'."
            )
        yield signals


# --- paths


def _find(paths, formats):
    """Expand paths to records: a list of format and path."""
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    elif isinstance(paths, bytes) or not isinstance(paths, Iterable):
        raise TypeError(f"paths={paths!r}: expected a path or a sequence of paths.")
    found = [record for path in paths for record in _expand(path, formats)]
    if not found:
        raise ValueError("paths is empty: give at least one record.")
    _require_distinct(found)
    return found


def _expand(path, formats):
    """The records of one path: a record, a folder or a pattern."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise TypeError(f"paths holds {path!r}: expected the path of a record.")
    path = Path(path).expanduser()
    for form in formats:
        if record := form.record_at(path):
            return [(form, record)]
    if path.is_dir():
        found = _in_folder(path, formats)
    else:
        found = _by_pattern(path, formats)
    if not found:
        raise FileNotFoundError(_not_found(path, formats))
    return found


def _in_folder(folder, formats):
    found = [(form, path) for form in formats for path in form.records_in(folder)]
    return sorted(found, key=itemgetter(1))


def _by_pattern(pattern, formats):
    """The records whose files match a pattern, and those in folders that match."""
    if not glob.has_magic(str(pattern)):
        return []
    patterns = f"{pattern}", f"{pattern}.*"  # with and without extension
    matches = {Path(m) for p in patterns for m in glob.glob(p, recursive=True)}
    folders = [match for match in matches if match.is_dir()]
    parents = {match.parent for match in matches if match.is_file()}
    found = {record for folder in folders for record in _in_folder(folder, formats)}
    for form in formats:
        # Parts of a record, such as its segments, are not in the list of its folder.
        whole = {path for parent in parents for path in form.records_in(parent)}
        found |= {(form, path) for path in whole & set(map(form.record_at, matches))}
    return sorted(found, key=itemgetter(1))


def _not_found(path, formats):
    names = " or ".join(form.name for form in formats)
    if path.is_dir():
        return f"There is no {names} record in the folder {path} and its subfolders."
    for form in _FORMATS:
        if form not in formats and form.record_at(path):
            return f"{path} is no {names} record: load it with {form.loader}."
    usage = ", or ".join(form.usage for form in formats)
    stem = path.with_suffix("")
    hint = any(form.record_at(stem) for form in formats)
    return (
        f"There is no {names} record {path}: give {usage}, a folder or a pattern"
        f"{f'; there is a record {stem}' if hint else ''}."
    )


def _require_distinct(found):
    """Raise if a record is found twice, also in another format."""
    places = [(path.parent / form.name_of(path)).resolve() for form, path in found]
    place, count = Counter(places).most_common(1)[0]
    if count > 1:
        twice = [
            str(path)
            for (_, path), other in zip(found, places, strict=True)
            if other == place
        ]
        raise ValueError(
            f"paths gives the record {place} {count} times, as {', '.join(twice)}: "
            "give it once, and each recording in one format."
        )


# --- names and patients


def _names(found):
    """The name of each record, or the whole paths if these are not unique."""
    names = [form.name_of(path) for form, path in found]
    if len(set(names)) < len(names):
        names = [str(path) for _, path in found]
    return names


def _patients(groups, records):
    """The patient of each record."""
    if groups is None:
        return records
    if hasattr(groups, "iloc"):
        raise TypeError(
            "groups is a pandas object, whose index and order may differ: give "
            "groups.to_dict() as a mapping from record to patient, or groups.to_numpy()"
            " as one patient for each record, in order."
        )
    if isinstance(groups, str | bytes | Set) or not isinstance(groups, Iterable):
        raise TypeError(
            f"groups={groups!r}: expected one patient for each record, in order, or a "
            "mapping from record to patient."
        )
    if isinstance(groups, Mapping):
        groups = {str(record): group for record, group in groups.items()}
        absent = [record for record in records if record not in groups]
        if absent:
            raise ValueError(
                f"groups has no patient for {len(absent)} of {len(records)} records, "
                f"{absent[0]!r} among them: name the patient of each record."
            )
        groups = [groups[record] for record in records]
    groups = [patient_name(group) for group in groups]
    if len(groups) != len(records):
        raise ValueError(f"groups: {len(groups)} patients for {len(records)} records.")
    return groups
