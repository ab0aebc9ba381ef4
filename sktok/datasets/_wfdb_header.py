"""Headers of WFDB records, header(5), read without trust in what they say.

References
----------
G. B. Moody, "WFDB Applications Guide", header(5).
"""

import codecs
import os
import re
from pathlib import Path
from typing import NamedTuple

_LARGEST_HEADER = 2**24  # bytes
_LONGEST_LINE = 1024  # bytes
_MOST_LEADS, _MOST_SEGMENTS = 1024, 2**16
_HIGHEST_FS = 2**31
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RECORD_LINE = re.compile(  # the time and the date are not needed
    rf"""
    (?P<name>[^ \t]+) [ \t]+ (?P<n_leads>\d+)
    (?: [ \t]+ (?P<fs>{_NUMBER}) (?:/[^ \t]*)?
        (?: [ \t]+ (?P<n_frames>\d+) (?:[ \t].*)? )? )?
    """,
    re.VERBOSE | re.ASCII,
)
_SIGNAL_LINE = re.compile(
    rf"""
    (?P<file>[^ \t]+) [ \t]+
    (?P<format>\d+)
        (?:x(?P<per_frame>\d+))? (?::(?P<skew>\d+))? (?:\+(?P<offset>\d+))?
    (?: [ \t]+ (?P<gain>{_NUMBER})
            (?:\((?P<baseline>[-+]?\d+)\))? (?:/(?P<unit>[^ \t]*))?
        (?P<numbers>(?: [ \t]+ [-+]?\d+ (?=[ \t]|$) ){{0,5}})
        (?: [ \t]+ (?P<name>.+) )? )?
    """,
    re.VERBOSE | re.ASCII,
)


class Lead(NamedTuple):
    """A signal line of a header."""

    file: str
    format: int
    per_frame: int
    skew: int  # in frames
    offset: int  # in bytes, or in samples of FLAC
    gain: float
    baseline: float
    unit: str
    initial: int
    checksum: int | None
    name: str  # empty for a lead without a name


class Header(NamedTuple):
    """A header; it has leads or segments."""

    fs: float  # of frames
    n_frames: int  # 0 if the header does not say it
    leads: list[Lead]
    segments: list[tuple[str, int]]  # names and numbers of frames; "~" is a gap


def read_header(path):
    """Read and check the header of a record or a segment."""
    lines = _header_lines(path)
    record = _RECORD_LINE.fullmatch(lines[0]) if lines else None
    if record is None:
        raise unreadable(
            path,
            f"its header begins with {lines[0] if lines else ''!r}, expected a name "
            "and the number of signals, for example 'a1 2 250 1000'; copy it again",
        )
    n_segments = _count_segments(record["name"], path.name)
    kind, n_lines = "segments", n_segments
    if n_segments is None:
        kind, n_lines = "signals", int(record["n_leads"])
    if n_lines > len(lines) - 1 or n_segments == 0:
        raise ValueError(
            f"The header of {path} says that it has {n_lines} {kind}, but it describes "
            f"{len(lines) - 1}: copy it again."
        )
    parse = _parse_signal_line if n_segments is None else _parse_segment_line
    found = [parse(path, line) for line in lines[1 : n_lines + 1]]
    leads, segments = (found, []) if n_segments is None else ([], found)
    fs, n_frames = _check_fs(path, record["fs"]), int(record["n_frames"] or 0)
    return Header(fs, n_frames, leads, segments)


def _header_lines(path):
    """The lines of a header without comments; bounded in number and length."""
    file = Path(f"{path}.hea")
    if not os.path.isfile(file):  # a pipe would block
        raise missing_file(path, file)
    if file.stat().st_size > _LARGEST_HEADER:
        raise ValueError(f"{file} is larger than any header: give a WFDB record.")
    lines = file.read_bytes().removeprefix(codecs.BOM_UTF8).splitlines()
    lines = [line for line in map(bytes.strip, lines) if line and line[:1] != b"#"]
    most = _MOST_SEGMENTS if lines and b"/" in lines[0] else _MOST_LEADS
    if len(lines) > most or max(map(len, lines), default=0) > _LONGEST_LINE:
        raise ValueError(
            f"{file} has more than {most} lines or a line of more than {_LONGEST_LINE} "
            "bytes, which no header has: give a WFDB record."
        )
    return [_decode(line) for line in lines]


def _decode(line):
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _count_segments(word, stem):
    """Number of segments in the first word of a header, None for a record without.

    The word is NAME or NAME/SEGMENTS. Some programs write FOLDER/NAME, so the name of
    the header's file decides what a number after the slash is.
    """
    before, _, last = word.rpartition("/")
    is_name = last == stem != before.rpartition("/")[2]
    has_segments = before and re.fullmatch("[0-9]+", last) and not is_name
    return int(last) if has_segments else None


def _check_fs(path, text):
    fs = float(text or 250)
    if not 0 < fs < _HIGHEST_FS:
        raise ValueError(
            f"The header of {path} has a sampling frequency of {fs:g} Hz, which is "
            "impossible: copy it again."
        )
    return int(fs) if fs.is_integer() else fs


def _parse_signal_line(path, line):
    found = _SIGNAL_LINE.fullmatch(line)
    found = found and found.groupdict(default="")
    numbers = [int(number) for number in found["numbers"].split()] if found else []
    if found is None or any(abs(number) >= 2**31 for number in numbers):
        raise unreadable(
            path,
            f"its header has the line {line!r}, expected a signal, for example "
            "'a1.dat 16 200/mV 12 0 0 0 0 II'; copy it again",
        )
    _, zero, initial, checksum, _ = [*numbers, *[None] * 5][:5]
    zero = zero or 0
    return Lead(
        file=found["file"],
        format=int(found["format"]),
        per_frame=int(found["per_frame"] or 1) or 1,
        skew=int(found["skew"] or 0),
        offset=int(found["offset"] or 0),
        gain=float(found["gain"] or 0) or 200.0,
        baseline=float(found["baseline"] or zero),
        unit=found["unit"] or "mV",
        initial=zero if initial is None else initial,
        checksum=checksum,
        name=found["name"],
    )


def _parse_segment_line(path, line):
    found = re.match(r"([^ \t]+)[ \t]+(\d+)(?:[ \t]|$)", line, re.ASCII)
    if found is None:
        raise unreadable(
            path,
            f"its header has the line {line!r}, expected a segment, for example "
            "'a1_1 1000'; copy it again",
        )
    return found[1], int(found[2])


def lead_names(leads):
    """The names of the leads; the index is the name of a lead without one."""
    return [lead.name or str(index) for index, lead in enumerate(leads)]


def has_samples(header):
    return any(lead.format for lead in header.leads)


def unreadable(path, reason):
    return ValueError(f"{path} is not a readable WFDB record: {reason}.")


def missing_file(path, file):
    return FileNotFoundError(
        f"Record {path} is incomplete, there is no {file}: put this file into the "
        "folder of the header, which names it."
    )
