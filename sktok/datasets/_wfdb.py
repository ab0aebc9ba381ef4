"""WFDB records: single ones, and those of several segments.

A record is read in four steps: its header, the indices of the leads, the samples of
these leads, file by file, and the checks of the samples. Headers are not trusted: their
numbers are compared with the sizes of the files before memory is allocated.

The package wfdb is not used to read: it drops letters outside ASCII from headers,
cannot read all formats, and calls legal records damaged.

References
----------
G. B. Moody, "WFDB Applications Guide", header(5) and signal(5).
"""

import math
import os
from collections import defaultdict
from itertools import accumulate, count
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sktok._leads import distinct_names, select_leads
from sktok.datasets._wfdb_formats import (
    FLAC,
    FORMATS,
    INVALID,
    MOST_SAMPLES_PER_BYTE,
    count_samples,
    open_flac,
    read_blocks,
    read_flac,
)
from sktok.datasets._wfdb_header import (
    has_samples,
    lead_names,
    missing_file,
    read_header,
    unreadable,
)
from sktok.datasets._windows import Signal

LONGEST_GAPS = 2**28  # samples of all leads that are not in a file: two gigabytes


def read_leads(path, channel):
    """Read leads of a WFDB record and verify them, in one pass over its files.

    A lead with the skew k (header(5)) is read without its first k frames. So that its
    length stays that of the record, its last k frames are NaN. In a record of several
    segments this holds for each segment.

    Parameters
    ----------
    path : path-like
        The record's files, without extension.

    channel : int, str, "all" or sequence of int and str
        The leads, by index or name.

    Returns
    -------
    list of Signal
        The whole leads, each at its own sampling frequency, NaN where it is invalid.

    Raises
    ------
    FileNotFoundError
        If a file of the record does not exist.

    ValueError
        If a file is truncated or damaged, or the record lacks a lead or its samples.
    """
    path = Path(path)
    if not os.path.isfile(f"{path}.hea"):
        stem = path.with_suffix("")
        hint = f", such as {stem}" if os.path.isfile(f"{stem}.hea") else ""
        raise FileNotFoundError(
            f"There is no WFDB header {path}.hea: give a path without extension{hint}."
        )
    header = read_header(path)
    read = _read_segments if header.segments else _read_single
    return read(path, header, channel)


def records_in(folder):
    """WFDB records in a folder and its subfolders.

    Parameters
    ----------
    folder : path-like
        Hidden files and folders in it are skipped, and so are links to folders,
        headers that another header in the same folder names as a segment, and headers
        without signals.

    Returns
    -------
    list of Path
        The records without extension, sorted. A record whose header is damaged is one
        of them, so that reading it raises an error.
    """
    records = []
    for parent, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names = [name for name in files if name.endswith(".hea") and name[0] != "."]
        paths = [Path(parent, name) for name in names]
        records += _records_among([p.with_suffix("") for p in paths if p.is_file()])
    return sorted(records)


def _raise(error):
    """Do not skip a folder that cannot be read, as `os.walk` does."""
    raise error


def _records_among(paths):
    """Those of the paths in one folder that are whole records with signals."""
    records, segments = [], set()
    for path in paths:
        try:
            header = read_header(path)
        except (ValueError, FileNotFoundError):
            records.append(path)
            continue
        segments |= {name for name, _ in header.segments}
        if header.segments or has_samples(header):
            records.append(path)
    return [path for path in records if path.name not in segments]


def _without_samples(path, lead):
    return ValueError(
        f"Lead {lead} of record {path.name} has no samples, only the header names it: "
        "choose the other leads with channel=[...]."
    )


# --- samples of a record without segments


def _read_single(path, header, channel):
    """Leads of a record without segments."""
    if header.leads and not has_samples(header):
        raise ValueError(
            f"{path} has no signal file: it is the layout or an empty segment of "
            "another record; load the record whose header names it."
        )
    names = lead_names(header.leads)
    indices = select_leads(names, channel, f"Record {path.name}")
    for index in indices:
        if not header.leads[index].format:
            raise _without_samples(path, names[index])
    signals, labels = _read_signals(path, header, indices), distinct_names(names)
    return [
        signal._replace(lead=labels[index])
        for index, signal in zip(indices, signals, strict=True)
    ]


def _read_signals(path, header, indices):
    """Some leads of the signal files, each at its own sampling frequency."""
    n_frames = _count_frames(path, header, indices)
    signals, wanted = {}, set(indices)
    for name, group in _group_by_file(path, header).items():
        if wanted.isdisjoint(group):
            continue
        leads = [header.leads[index] for index in group]
        read = read_flac if leads[0].format in FLAC else read_blocks
        columns = read(_sibling(path, name), leads, n_frames)
        for index, column in zip(group, columns, strict=True):
            if index in wanted:
                signals[index] = _to_signal(path, header, index, column)
    return [signals[index] for index in indices]


def _to_signal(path, header, index, digital):
    """A lead in its physical unit, from the integers of its signal file."""
    lead = header.leads[index]
    if lead.format == 8:  # differences
        digital = np.cumsum(digital, dtype=np.int64) + lead.initial
    if header.n_frames and lead.checksum is not None:
        _verify_checksum(path, index, digital, lead.checksum)
    samples = digital.astype(np.float64)
    if lead.format in INVALID:
        samples[digital == INVALID[lead.format]] = np.nan
    with np.errstate(over="ignore"):  # infinity is refused below
        samples = (samples - lead.baseline) / lead.gain
    if np.isinf([lead.baseline, lead.gain]).any() or np.isinf(samples).any():
        raise ValueError(
            f"The header of {path} has a baseline of {lead.baseline:g} and a gain of "
            f"{lead.gain}, which is impossible: copy it again."
        )
    n_skewed = lead.skew * lead.per_frame
    if n_skewed:
        samples = np.concatenate([samples[n_skewed:], np.full(n_skewed, np.nan)])
    return Signal(samples, header.fs * lead.per_frame, lead.unit, lead.name)


def _verify_checksum(path, index, digital, expected):
    """Compare a lead with the checksum of its samples, which skew does not change."""
    found = int(digital.sum(dtype=np.int64)) % 65_536
    if (expected - found) % 65_536:
        raise ValueError(
            f"Channel {index} of {path} has the checksum {found}, but its header says "
            f"{expected % 65_536}: a file is damaged, copy it again."
        )


def _sibling(path, name):
    """A file that the header of `path` names, if it is in the folder of the header."""
    if name in (".", "..") or os.path.basename(name) != name or "\\" in name:
        raise unreadable(
            path,
            f"its header names {name!r}, and only files in its own folder are read; "
            "put this file there and name it in the header without a folder",
        )
    file = path.parent / name
    if not os.path.isfile(file):
        raise missing_file(path, file)
    return file


def _group_by_file(path, header):
    """The indices of the leads in each signal file; leads of format 0 have no file."""
    groups = defaultdict(list)
    for index, lead in enumerate(header.leads):
        if lead.format:
            groups[lead.file].append(index)
    for name, group in groups.items():
        if group[-1] - group[0] >= len(group):
            raise ValueError(
                f"The header of {path} names {name}, then another file, then {name} "
                "again: list the signals of a file together."
            )
        kinds = {(header.leads[i].format, header.leads[i].offset) for i in group}
        if len(kinds) > 1:
            raise ValueError(
                f"The header of {path} gives {name} {len(kinds)} pairs of format and "
                f"byte offset, {sorted(kinds)}: give all signals of a file the same."
            )
    return groups


def _count_frames(path, header, indices):
    """Number of frames of a record, after comparing it with the files of some leads.

    If the header does not say it, the shortest of all files does.
    """
    groups = _group_by_file(path, header).values()
    groups = [[header.leads[index] for index in group] for group in groups]
    chosen = {header.leads[index].file for index in indices}
    n_frames = header.n_frames or min(_count_frames_in(path, g) for g in groups)
    for leads in groups:
        if leads[0].file in chosen and _count_frames_in(path, leads) < n_frames:
            n_samples = n_frames * sum(lead.per_frame for lead in leads)
            file = _sibling(path, leads[0].file)
            raise ValueError(
                f"{file} has {file.stat().st_size} bytes, but its header counts "
                f"{n_samples} samples from byte {leads[0].offset} in format "
                f"{leads[0].format}: a file is truncated or damaged, copy both again."
            )
    skew = max(header.leads[index].skew for index in indices)
    if skew > n_frames:
        raise ValueError(
            f"The header of {path} has a lead of {n_frames} frames shifted by {skew}, "
            "which is impossible: copy it again."
        )
    return n_frames


def _count_frames_in(path, leads):
    """Number of frames in the signal file of some leads."""
    file, first = _sibling(path, leads[0].file), leads[0]
    n_bytes = file.stat().st_size
    if first.format in FLAC:
        with open_flac(file, leads) as flac:
            if flac.frames * len(leads) > n_bytes * MOST_SAMPLES_PER_BYTE:
                raise ValueError(f"it counts {flac.frames} samples in {n_bytes} bytes")
            return max(0, flac.frames - first.offset) // first.per_frame
    if first.format not in FORMATS:
        raise ValueError(
            f"{file} has the format {first.format}, expected one of "
            f"{', '.join(map(str, [*FORMATS, *FLAC]))}: convert it."
        )
    n_samples = count_samples(first.format, n_bytes - first.offset)
    return n_samples // sum(lead.per_frame for lead in leads)


# --- segments


def _read_segments(path, header, channel):
    """Leads of all segments, with NaN where a segment lacks them."""
    segments = _read_segment_headers(path, header)
    leads, is_fixed = _arrange_leads(path, header, segments)
    names, keys = lead_names(leads), _lead_keys(leads, is_fixed)
    indices = select_leads(names, channel, f"Record {path.name}")
    places = _place_leads(header, segments, {i: keys[i] for i in indices}, is_fixed)
    _check_lengths(path, header, segments, places)
    kinds = {i: _kind_of_lead(path, segments, places, i, names[i]) for i in indices}
    samples = _allocate(path, header, places, kinds)
    starts, labels = _segment_starts(header), distinct_names(names)
    for name, place in places.items():
        pieces = _read_signals(path.parent / name, segments[name], list(place.values()))
        for i, piece in zip(place, pieces, strict=True):
            for start in starts[name]:
                first = start * kinds[i].per_frame
                samples[i][first : first + len(piece.samples)] = piece.samples
    return [Signal(samples[i], kinds[i].fs, kinds[i].unit, labels[i]) for i in indices]


def _read_segment_headers(path, header):
    """The headers of the segments by name; a segment may occur several times."""
    segments = {}
    for name in dict.fromkeys(name for name, _ in header.segments if name != "~"):
        _sibling(path, f"{name}.hea")
        segments[name] = segment = read_header(path.parent / name)
        if segment.segments:
            raise ValueError(
                f"A segment of {path} has segments itself, {name}: copy it again."
            )
        if not math.isclose(segment.fs, header.fs, rel_tol=1e-3):
            raise ValueError(
                f"Segment {name} of {path} has {segment.fs} Hz, but the header of the "
                f"record says {header.fs} Hz: load the segments one by one."
            )
    return segments


def _arrange_leads(path, header, segments):
    """The leads of the record, and whether each segment has just these.

    The first segment of a variable layout has no samples and describes all leads.
    """
    first, length = header.segments[0]
    if first != "~" and not length:
        return segments[first].leads, False
    layouts = [segment.leads for segment in segments.values() if has_samples(segment)]
    if not layouts:
        raise ValueError(f"All segments of {path} are empty: load another record.")
    if len({tuple(lead_names(leads)) for leads in layouts}) > 1:
        raise ValueError(f"Segments of {path} hold different leads: load each alone.")
    return layouts[0], True


def _lead_keys(leads, is_fixed):
    """What is the same for a lead in all segments: its index, or its name and rank.

    The rank is the number of earlier leads with this name.
    """
    if is_fixed:
        return list(range(len(leads)))
    ranks = defaultdict(count)
    return [(lead.name, next(ranks[lead.name])) for lead in leads]


def _place_leads(header, segments, keys, is_fixed):
    """The leads that each segment has: {name: {lead: index in the segment}}."""
    places = {}
    for name in _segment_starts(header):
        leads = segments[name].leads
        found = {key: i for i, key in enumerate(_lead_keys(leads, is_fixed))}
        found = {key: i for key, i in found.items() if leads[i].format}
        place = {lead: found[key] for lead, key in keys.items() if key in found}
        if place:
            places[name] = place
    return places


def _segment_starts(header):
    """The first frames of each segment that has samples."""
    starts = defaultdict(list)
    ends = accumulate(length for _, length in header.segments)
    for (name, length), end in zip(header.segments, ends, strict=True):
        if name != "~" and length:
            starts[name].append(end - length)
    return starts


def _check_lengths(path, header, segments, places):
    """Compare the segments with their lengths in the header of the record."""
    for name, length in set(header.segments):
        if name in places:
            indices = list(places[name].values())
            found = _count_frames(path.parent / name, segments[name], indices)
            if found != length:
                raise ValueError(
                    f"Segment {name} of {path} has another length than the header of "
                    f"the record says, {found} instead of {length} samples: copy both "
                    "again."
                )


class _Kind(NamedTuple):
    """What the pieces of a lead have in common in all segments."""

    fs: float
    per_frame: int
    unit: str


def _kind_of_lead(path, segments, places, index, name):
    pieces = [
        (segments[segment], segments[segment].leads[place[index]])
        for segment, place in places.items()
        if index in place
    ]
    if not pieces:
        raise _without_samples(path, name)
    kinds = {
        _Kind(segment.fs * lead.per_frame, lead.per_frame, lead.unit)
        for segment, lead in pieces
    }
    if len(kinds) > 1:
        shown = sorted((kind.fs, kind.unit) for kind in kinds)
        raise ValueError(
            f"The segments of {path} hold lead {name} with {len(kinds)} pairs of "
            f"sampling frequency and unit, {shown}, expected one: load them one by one."
        )
    return kinds.pop()


def _allocate(path, header, places, kinds):
    """Leads of NaN, after checking that the files of the segments fill most of them."""
    lengths = dict(header.segments)
    n_frames = sum(length for _, length in header.segments)
    n_missing = sum(
        kind.per_frame
        * (n_frames - sum(lengths[n] for n, place in places.items() if index in place))
        for index, kind in kinds.items()
    )
    if n_missing > LONGEST_GAPS:
        raise ValueError(
            f"The header of {path} leaves gaps of {n_missing} samples between "
            f"segments, or repeats as many, more than {LONGEST_GAPS}: load fewer "
            "leads, or the segments one by one."
        )
    return {i: np.full(n_frames * kind.per_frame, np.nan) for i, kind in kinds.items()}
