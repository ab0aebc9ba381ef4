"""Records from paths, Bunches and arrays: name, patient and windows of each."""

import os
from collections.abc import Mapping
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch, check_consistent_length

from sktok.datasets import load_wfdb
from sktok.datasets._wfdb import record_names

_COLUMNS = ("data", "record", "groups", "start")


def iterate_records(source, channel, scale, window_length):
    """Yield the records of a source one by one.

    Yields
    ------
    record, group : str
        Name of the record and of its patient.

    load : callable
        Returns a Bunch with the windows ``data`` and, if known, ``start``, ``fs``,
        ``unit`` and ``lead``.
    """
    if isinstance(source, str | os.PathLike | Mapping) or hasattr(source, "__array__"):
        source = [source]
    names, windows = {}, {}
    if isinstance(source, list | tuple):  # record_names needs all paths at once
        paths = [item for item in source if isinstance(item, str | os.PathLike)]
        names = dict(zip(paths, record_names(paths), strict=True))
    options = {"channel": channel, "scale": scale, "window_length": window_length}
    for position, item in enumerate(source):
        if isinstance(item, str | os.PathLike):
            name = names.get(item, Path(item).name)
            yield name, name, partial(load_wfdb, item, missing="keep", **options)
        elif isinstance(item, Mapping):
            yield from _records_of_bunch(item)
        elif np.ndim(item) == 1:
            windows[str(position)] = item
        else:
            yield str(position), str(position), partial(Bunch, data=item)
    if windows:
        first, data = next(iter(windows)), list(windows.values())
        if any(map(np.ma.isMaskedArray, data)):
            data = np.ma.stack(data)  # a list would lose the masks
        yield first, first, partial(Bunch, data=data)


def _records_of_bunch(ecg):
    """Split a Bunch at the changes of its record names."""
    absent = sorted(set(_COLUMNS) - set(ecg))
    if absent:
        raise ValueError(
            f"source holds a {type(ecg).__name__} without {', '.join(absent)}: give "
            "the result of a loader of sktok.datasets, or arrays."
        )
    check_consistent_length(*(ecg[key] for key in _COLUMNS))
    end = 0
    for record, run in groupby(map(str, ecg["record"])):
        first, end = end, end + len(list(run))
        rows = slice(first, end)
        patients = sorted(set(map(str, ecg["groups"][rows])))
        if len(patients) != 1:
            raise ValueError(
                f"Record {record} has windows of the patients {', '.join(patients)}, "
                "expected one patient."
            )
        part = {key: ecg[key] for key in ("fs", "unit") if key in ecg}
        part |= {key: ecg[key][rows] for key in (*_COLUMNS, "lead") if key in ecg}
        yield record, patients[0], partial(Bunch, **part)
