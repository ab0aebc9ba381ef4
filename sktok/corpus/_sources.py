"""Records from paths, Bunches and arrays: name, patient and windows of each lead."""

import os
from collections.abc import Mapping
from contextlib import contextmanager
from copy import copy
from itertools import pairwise

import numpy as np
from sklearn.utils import Bunch

from sktok._steps import as_lead
from sktok.datasets._loaders import find_records
from sktok.datasets._patients import as_name, patient_name

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
            windows[str(position)] = copy(item)  # the source may reuse its buffer
        else:
            yield str(position), str(position), [(None, Bunch(data=item))]
    if windows:
        first, data = next(iter(windows)), list(windows.values())
        if any(map(np.ma.isMaskedArray, data)):
            data = np.ma.stack(data)  # a list would lose the masks
        yield first, first, [(None, Bunch(data=data))]


@contextmanager
def error_in(place):
    """Name a record or a column in the errors of a block."""
    try:
        yield
    except Exception as error:  # arrays raise errors of many types
        error.add_note(f"The error is in {place}.")
        raise


def _is_path(item):
    return isinstance(item, str | os.PathLike)


def _names(source):
    """Names by path for all records of a list of several paths, which are unique."""
    is_list = isinstance(source, list | tuple)
    paths = [item for item in source if _is_path(item)] if is_list else []
    found = find_records(paths) if len(paths) > 1 else []
    return {path: name for name, path in found}


def _parts_of_file(name, path, read, written):
    if name in written:
        yield from ((lead, None) for lead in written[name])
    elif (ecg := read(name, path)) is not None:
        yield from _parts(name, ecg, slice(None))


def _records_of_bunch(ecg):
    """Split a Bunch at the changes of its record names."""
    absent = sorted(key for key in _COLUMNS if ecg.get(key) is None)
    if absent:
        raise ValueError(
            f"source holds a {type(ecg).__name__} without {', '.join(absent)}: give "
            "the result of a loader of sktok.datasets, or arrays."
        )
    columns = [*_COLUMNS, "lead"] if ecg.get("lead") is not None else _COLUMNS
    ecg = {**ecg, **{key: _column(key, ecg[key]) for key in columns}}
    lengths = {key: ecg[key].shape[0] for key in columns}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{n} in {key}" for key, n in lengths.items())
        raise ValueError(
            f"source holds columns of different lengths, {found}: expected one value "
            "for each window."
        )
    names = [as_name(name, "record", "a record") for name in ecg["record"]]
    for record, rows in runs_of_equal(np.array(names, dtype=object)):
        with error_in(f"record {record}"):
            patients = sorted({patient_name(group) for group in ecg["groups"][rows]})
        if len(patients) != 1:
            raise ValueError(
                f"Record {record} has windows of the patients {', '.join(patients)}, "
                "expected one patient."
            )
        yield record, patients[0], _parts(record, ecg, rows)


def _column(key, values):
    """A column of a Bunch as an array of one item for each window."""
    if key == "data" and hasattr(values, "shape"):  # a frame, or an array on disk
        column = values
    else:
        # An array of strings would turn nan in a list of names into "nan".
        is_names = key not in ("data", "start") and not hasattr(values, "dtype")
        with error_in(f"the column {key}"):
            column = np.asanyarray(values, dtype=object if is_names else None)
    if not column.shape:
        raise TypeError(f"{key}={values!r}: expected one value for each window.")
    return column


def _parts(record, ecg, rows):
    """Split the rows of a record at the changes of the lead."""
    data, start, lead = ecg["data"][rows], ecg["start"][rows], ecg.get("lead")
    facts = {key: ecg[key] for key in ("fs", "unit", "scale") if key in ecg}
    if lead is None:
        yield None, Bunch(data=data, start=start, **facts)
        return
    with error_in(f"record {record}"):
        runs = [
            (as_lead(np.atleast_1d(names)), run)
            for names, run in runs_of_equal(lead[rows])
        ]
    for name, run in runs:
        yield name, Bunch(data=data[run], start=start[run], **facts)


def runs_of_equal(labels):
    """Yield each value of an array with the slice of its consecutive rows."""
    differs = labels[1:] != labels[:-1]
    is_first = differs.any(axis=tuple(range(1, differs.ndim)))
    edges = [0, *(np.flatnonzero(is_first) + 1).tolist(), len(labels)]
    for first, end in pairwise(edges):
        if first < end:
            yield labels[first], slice(first, end)
