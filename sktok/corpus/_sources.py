"""Records from paths, Bunches and arrays: name, patient and windows of each lead."""

import os
from collections.abc import Mapping
from itertools import groupby

import numpy as np
from sklearn.utils import Bunch, check_consistent_length

from sktok._steps import as_lead
from sktok.datasets._loaders import find_records
from sktok.datasets._patients import patient_name

_COLUMNS = ("data", "record", "groups", "start")


def iterate_records(source, read, written, n_leads):
    """Yield the records of a source one by one.

    Parameters
    ----------
    source : path-like, Bunch, array-like, or iterable of these
        As in `write_corpus`.

    read : callable
        Takes the name and the path of a record, and returns its windows as a Bunch, or
        None to skip it.

    written : dict of str to list
        The leads of each record that is not to be read again, if it is a file.

    n_leads : int
        Number of leads in a window.

    Yields
    ------
    record, group : str
        Name of the record and of its patient.

    parts : iterable of (lead, Bunch or None)
        The windows ``data`` of each lead, or of the leads that are in one window, with
        ``start``, ``fs`` and ``unit`` if known. `lead` is the name, a tuple of the
        names, or None if unknown. The Bunch is None if the record is in `written`.
    """
    if _is_path(source) or isinstance(source, Mapping) or hasattr(source, "__array__"):
        source = [source]
    names, windows = _names(source), {}
    for position, item in enumerate(source):
        if _is_path(item):
            for name, path in find_records(item):
                name = names.get(path, name)
                yield name, name, _parts_of_file(name, path, read, written)
        elif isinstance(item, Mapping):
            yield from _records_of_bunch(item)
        elif np.ndim(item) == (1 if n_leads == 1 else 2):
            windows[str(position)] = item
        else:
            yield str(position), str(position), [(None, Bunch(data=item))]
    if windows:
        first, data = next(iter(windows)), list(windows.values())
        if any(map(np.ma.isMaskedArray, data)):
            data = np.ma.stack(data)  # a list would lose the masks
        yield first, first, [(None, Bunch(data=data))]


def _is_path(item):
    return isinstance(item, str | os.PathLike)


def _names(source):
    """Names by path for all records of a list, which are unique."""
    is_list = isinstance(source, list | tuple)
    paths = [item for item in source if _is_path(item)] if is_list else []
    return {path: name for name, path in find_records(paths)} if paths else {}


def _parts_of_file(name, path, read, written):
    if name in written:
        yield from ((lead, None) for lead in written[name])
    elif (ecg := read(name, path)) is not None:
        yield from _parts(ecg, slice(None))


def _records_of_bunch(ecg):
    """Split a Bunch at the changes of its record names."""
    absent = sorted(set(_COLUMNS) - set(ecg))
    if absent:
        raise ValueError(
            f"source holds a {type(ecg).__name__} without {', '.join(absent)}: give "
            "the result of a loader of sktok.datasets, or arrays."
        )
    columns = [*_COLUMNS, "lead"] if ecg.get("lead") is not None else _COLUMNS
    check_consistent_length(*(ecg[key] for key in columns))
    for record, rows in _runs(map(str, ecg["record"])):
        patients = sorted({patient_name(group) for group in ecg["groups"][rows]})
        if len(patients) != 1:
            raise ValueError(
                f"Record {record} has windows of the patients {', '.join(patients)}, "
                "expected one patient."
            )
        yield record, patients[0], _parts(ecg, rows)


def _parts(ecg, rows):
    """Split rows of a Bunch at the changes of the lead."""
    data, start, lead = ecg["data"][rows], ecg["start"][rows], ecg.get("lead")
    leads = [None] * len(data) if lead is None else map(_lead_name, lead[rows])
    facts = {key: ecg[key] for key in ("fs", "unit", "scale") if key in ecg}
    for name, run in _runs(leads):
        yield name, Bunch(data=data[run], start=start[run], **facts)


def _lead_name(lead):
    """The name of a lead, or a tuple of the names of several."""
    return as_lead(np.atleast_1d(lead))


def _runs(labels):
    """Yield each label with the slice of its consecutive rows."""
    end = 0
    for label, run in groupby(labels):
        first, end = end, end + len(list(run))
        yield label, slice(first, end)
