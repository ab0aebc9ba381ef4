"""WFDB records with truncated, damaged and forged headers and signals."""

import os
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import wfdb
from hypothesis import strategies as st
from law import FOLDER, fuzz, judge

from sktok.datasets import load_wfdb

REFUSED = ValueError, FileNotFoundError
WINDOW = 20
SIGNAL = np.random.default_rng(0).integers(-100, 100, (120, 2))
WRITTEN = "16 212 80 24 32 508 516 524".split()  # the formats that wfdb writes
FORMATS = [*WRITTEN, "61", "skew", "unspecified"]
SKEW = 7  # of the second lead of the kind "skew"


@cache
def record(kind):
    """A record of two leads: the content of each file, by its name.

    The kind is a format, or "skew" or "unspecified" (length) of format 16.
    """
    folder = FOLDER / f"format-{kind}"
    folder.mkdir()
    write(folder, "a", SIGNAL, kind if kind in WRITTEN else "16")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    first, leads = files["a.hea"].split(b"\n", 1)
    if kind == "61":
        files["a.dat"] = np.frombuffer(files["a.dat"], "<i2").astype(">i2").tobytes()
        leads = leads.replace(b" 16 ", b" 61 ")
    if kind == "skew":
        leads = leads.replace(b"\na.dat 16 ", b"\na.dat 16:%d " % SKEW)
    if kind == "unspecified":
        first = first.replace(b" 120", b" 0")
    return files | {"a.hea": first + b"\n" + leads}


def expected_lead(kind, column):
    """The samples that an intact record gives, in mV."""
    skew = SKEW if kind == "skew" and column == 1 else 0
    return np.append(SIGNAL[skew:, column] / 1000, np.full(skew, np.nan))


@cache
def multi_record(layout):
    """A record of two segments, one twice, and a gap: the files, by their names."""
    folder = FOLDER / f"layout-{layout}"
    folder.mkdir()
    for name in ("a_1", "a_2"):
        write(folder, name, SIGNAL[:60], "16")
    lines = ["a_1 60", "~ 20", "a_2 60", "a_1 60"]
    if layout == "variable":
        header = (folder / "a_1.hea").read_text().splitlines()
        header = [header[0].replace("a_1", "a_0").replace(" 60", " 0")] + [
            line.replace("a_1.dat", "~").replace(" 16 ", " 0 ") for line in header[1:]
        ]
        (folder / "a_0.hea").write_text("\n".join(header) + "\n")
        lines = ["a_0 0", *lines]
    lines = [f"a/{len(lines)} 2 250 200", *lines]
    (folder / "a.hea").write_text("\n".join(lines) + "\n")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write(folder, name, samples, fmt):
    wfdb.wrsamp(
        name,
        fs=250,
        units=["mV", "mV"],
        sig_name=["I", "II"],
        d_signal=samples,
        fmt=[fmt] * 2,
        adc_gain=[1000] * 2,
        baseline=[0] * 2,
        write_dir=str(folder),
    )


NUMBERS = "0 1 -1 2 7 61 255 65536 2147483648 1000000000000 99999999999999999999999"
NUMBERS = [*NUMBERS.split(), "1e-320", "1e308", "9" * 400, "9" * 5000, "-", ".", "x"]
NAMES = ["../../etc/passwd", "/etc/passwd", "a", "a.hea", "~", ".", "..", "b.dat", ""]
NAMES += ["link", "link.dat", "pipe.dat", "s3://a/b", "http://a/b", "a::b", "-", "\0"]
WORDS = st.sampled_from(
    [
        *NUMBERS,
        *NAMES,
        *FORMATS,
        "310",
        "311",
        "160",
        "8",
        "61",
        "0",
        "~",
        "a/2",
        "a/0",
        "ward/a",
        "a_1",
        "a_1 60\na_1 60",
        "16x9999999",
        "16:3",
        "16x2:3+7",
        "61:99999999999",
        "516+5",
        "\xb5V",
        "\xc2\xb5V",
        "\xff\x85\xa0",
    ]
)


@st.composite
def forgeries(draw, files):
    """Forged files of a record, and the number of changed headers and signals."""
    files, changes = dict(files), {".hea": 0, ".dat": 0}
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(sorted(files)))
        forge = forge_text if name.endswith(".hea") else forge_bytes
        content = draw(forge(files[name]))
        changes[Path(name).suffix] += content != files[name]
        files[name] = content
    return files, changes


@st.composite
def forge_bytes(draw, content):
    """Bytes that are truncated, doubled or flipped."""
    how = draw(st.sampled_from(["flip", "flip", "cut", "double"]))
    place = draw(st.integers(0, max(0, len(content) - 1)))
    if how == "double":
        return content[:place] + content
    if how == "cut" or not content:
        return content[:place]
    flipped = content[place] ^ draw(st.integers(1, 255))
    return content[:place] + bytes([flipped]) + content[place + 1 :]


@st.composite
def forge_text(draw, content):
    """A header with other words, numbers, lines or bytes."""
    how = draw(st.sampled_from(["word", "number", "number", "lines", "bytes", "long"]))
    if how == "bytes":
        return draw(forge_bytes(content))
    if how == "long":
        return content + draw(st.sampled_from([b"1", b"a ", b"\n", b"a 1\n"])) * 50_000
    lines = content.decode("latin-1").splitlines() or [""]
    if how == "lines":
        drawn = draw(st.lists(st.sampled_from(lines), max_size=5))
        return "\n".join(drawn).encode("latin-1")
    place = draw(st.integers(0, len(lines) - 1))
    separator = " " if how == "word" else draw(st.sampled_from("/x:+() "))
    words = lines[place].split(separator)
    words[draw(st.integers(0, len(words) - 1))] = draw(WORDS)
    lines[place] = separator.join(words)
    return "\n".join(lines).encode("latin-1")


def lay_out(files):
    """Write the files to a new folder that also has links and a pipe."""
    folder = FOLDER / "ward"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    os.mkfifo(folder / "pipe.dat")
    (folder / "link").symlink_to(folder)
    (folder / "link.dat").symlink_to(folder / "a.dat")
    return folder


def load(name, files, **options):
    """Load a forged record, and check the windows if it is accepted."""
    folder = lay_out(files)
    ecg = judge(
        f"load_wfdb: {name}",
        lambda: load_wfdb(folder / "a", window_length=WINDOW, **options),
        *REFUSED,
    )
    if ecg is not None:
        assert ecg.data.dtype == np.float64
        assert ecg.data.shape[-1] == WINDOW
        assert not np.isinf(ecg.data).any()
        assert options.get("missing") == "keep" or np.isfinite(ecg.data).all()
        assert 0 < ecg.fs < np.inf
        assert len({len(ecg[key]) for key in ("data", "groups", "start", "lead")}) == 1
    return ecg


OPTIONS = {
    "channel": st.sampled_from(
        [0, 1, "I", "II", 2, -1, "x", 1.5, None, "all", ["II", 0], [1, 1], []]
    ),
    "leads": st.sampled_from(["axis", "rows"]),
    "missing": st.sampled_from(["raise", "drop", "keep"]),
    "scale": st.sampled_from([None, "record"]),
}


@fuzz(
    0.03,
    forgery=st.sampled_from(FORMATS).flatmap(
        lambda kind: st.tuples(st.just(kind), forgeries(record(kind)))
    ),
    options=st.fixed_dictionaries(OPTIONS),
)
def test_records(forgery, options):
    kind, (files, changes) = forgery
    ecg = load(f"format {kind}", files, **options)
    if ecg is None or changes[".hea"]:
        return
    content, intact = files["a.dat"], record(kind)["a.dat"]
    is_whole = content == intact or (
        kind != "unspecified" and content.startswith(intact)
    )
    for lead, data, start in leads_of(ecg):
        column = {"I": 0, "II": 1}[lead]
        if is_whole and options["scale"] is None:
            expected = expected_lead(kind, column)
            expected = [expected[first : first + WINDOW] for first in start]
            np.testing.assert_allclose(data, expected)
        if kind in ("16", "61", "skew"):
            dtype = ">i2" if kind == "61" else "<i2"
            found = np.frombuffer(content, dtype)[: SIGNAL.size].reshape(-1, 2)
            assert (found[:, column] == SIGNAL[:, column]).all(), "undetected damage"


def leads_of(ecg):
    """The name, the windows and their starts, for each lead of a record."""
    if ecg.data.ndim == 3:
        for name, data in zip(ecg.lead[0], ecg.data.swapaxes(0, 1), strict=True):
            yield name, data, ecg.start
    else:
        for name in np.unique(ecg.lead):
            rows = ecg.lead == name
            yield name, ecg.data[rows], ecg.start[rows]


@fuzz(
    0.02,
    layout=st.sampled_from(["fixed", "variable"]),
    forgery=st.data(),
    options=st.fixed_dictionaries(OPTIONS),
)
def test_records_of_segments(layout, forgery, options):
    files, _ = forgery.draw(forgeries(multi_record(layout)))
    ecg = load(f"{layout} segments", files, **options)
    assert ecg is None or set(ecg.record) == {"a"}


@fuzz(0.02, header=st.lists(st.lists(WORDS, max_size=5).map(" ".join), max_size=4))
def test_headers_of_words(header):
    text = "\n".join(header).encode("latin-1")
    ecg = load("a header of words", record("16") | {"a.hea": text})
    assert ecg is None or set(ecg.record) == {"a"}
