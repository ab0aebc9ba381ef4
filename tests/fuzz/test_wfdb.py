"""WFDB records with truncated, damaged and forged headers and signals."""

import os
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import strategies as st
from law import FOLDER, fuzz, judge

from sktok.datasets import load_wfdb

# The arithmetic of wfdb warns about forged numbers; the results are still checked.
pytestmark = pytest.mark.filterwarnings("default::RuntimeWarning")

REFUSED = ValueError, FileNotFoundError
WINDOW = 20
SIGNAL = np.random.default_rng(0).integers(-100, 100, (120, 2))
FORMATS = "16 212 80 24 32 508 516 524".split()  # those that wfdb writes


@cache
def record(fmt):
    """A record of two leads: the content of each file, by its name."""
    folder = FOLDER / f"format-{fmt}"
    folder.mkdir()
    write(folder, "a", SIGNAL, fmt)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@cache
def multi_record(layout):
    """A record of two segments and a gap: the content of each file, by its name."""
    folder = FOLDER / f"layout-{layout}"
    folder.mkdir()
    for name in ("a_1", "a_2"):
        write(folder, name, SIGNAL[:60], "16")
    lines = ["a_1 60", "~ 20", "a_2 60"]
    if layout == "variable":
        header = (folder / "a_1.hea").read_text().splitlines()
        header = [header[0].replace("a_1", "a_0").replace(" 60", " 0")] + [
            line.replace("a_1.dat", "~").replace(" 16 ", " 0 ") for line in header[1:]
        ]
        (folder / "a_0.hea").write_text("\n".join(header) + "\n")
        lines = ["a_0 0", *lines]
    lines = [f"a/{len(lines)} 2 250 140", *lines]
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
        "a/2",
        "a/0",
        "a_1",
        "16x9999999",
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
        assert ecg.data.shape[1] == WINDOW
        assert not np.isinf(ecg.data).any()
        assert options.get("missing") == "keep" or np.isfinite(ecg.data).all()
        assert 0 < ecg.fs < np.inf
        assert len({len(ecg[key]) for key in ("data", "groups", "start", "lead")}) == 1
    return ecg


OPTIONS = {
    "channel": st.sampled_from([0, 1, "I", "II", 2, -1, "x", 1.5, None]),
    "missing": st.sampled_from(["raise", "drop", "keep"]),
    "scale": st.sampled_from([None, "record"]),
}


@fuzz(
    0.03,
    forgery=st.sampled_from(FORMATS).flatmap(
        lambda fmt: st.tuples(st.just(fmt), forgeries(record(fmt)))
    ),
    options=st.fixed_dictionaries(OPTIONS),
)
def test_records(forgery, options):
    fmt, (files, changes) = forgery
    ecg = load(f"format {fmt}", files, **options)
    if ecg is None:
        return
    is_signal_whole = files["a.dat"].startswith(record(fmt)["a.dat"])
    if changes[".hea"] == 0 and is_signal_whole and options["scale"] is None:
        column = {"I": 0, "II": 1}.get(ecg.lead[0])
        np.testing.assert_allclose(ecg.data.ravel(), SIGNAL[:, column] / 1000)
    if changes == {".hea": 0, ".dat": 1} and fmt == "16":
        other = np.frombuffer(files["a.dat"], "<i2")[:240].reshape(-1, 2)
        column = {"I": 0, "II": 1}.get(ecg.lead[0])
        assert (other[:, column] == SIGNAL[:, column]).all(), "damage was not detected"


@fuzz(
    0.02,
    layout=st.sampled_from(["fixed", "variable"]),
    forgery=st.data(),
    options=st.fixed_dictionaries(OPTIONS),
)
def test_records_of_segments(layout, forgery, options):
    files, _ = forgery.draw(forgeries(multi_record(layout)))
    load(f"{layout} segments", files, **options)


@fuzz(0.02, header=st.lists(st.lists(WORDS, max_size=5).map(" ".join), max_size=4))
def test_headers_of_words(header):
    text = "\n".join(header).encode()
    load("a header of words", record("16") | {"a.hea": text})
