"""Reading WFDB: each legal format, header and arrangement of segments.

The records are written here, sample by sample as signal(5) says, or by wfdb.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import wfdb

from sktok._leads import distinct_names, select_leads
from sktok.datasets import load_wfdb
from sktok.datasets._wfdb import read_leads, records_in

GAIN, BASELINE = 200, 10
LOWEST = {80: -(2**7), 212: -(2**11), 310: -(2**9), 311: -(2**9), 24: -(2**23)}
LOWEST |= {32: -(2**31)} | dict.fromkeys([16, 61, 160], -(2**15))


def little(value, n_bytes):
    return (value % 256**n_bytes).to_bytes(n_bytes, "little")


def pack(samples, fmt):
    """The bytes of a signal file; the reference that the reader is compared with."""
    samples = [int(sample) for sample in samples]
    size = {8: 1, 16: 2, 24: 3, 32: 4, 61: 2, 80: 1, 160: 2}.get(fmt)
    if size:
        zero = {80: 2**7, 160: 2**15}.get(fmt, 0)
        order = -1 if fmt == 61 else 1
        return b"".join(little(sample + zero, size)[::order] for sample in samples)
    width, in_block = (2, 3) if fmt == 212 else (3, 4)
    content = b""
    for start in range(0, len(samples), width):
        a, b, c = [*samples[start : start + width], 0, 0][:3]
        if fmt == 212:
            word = a % 2**12 | (b % 2**12 >> 8) << 12 | (b % 2**8) << 16
        elif fmt == 311:
            word = a % 2**10 | (b % 2**10) << 10 | (c % 2**10) << 20
        else:
            c = c % 2**10
            first = (a % 2**10) << 1 | (c & 31) << 11
            word = first | ((b % 2**10) << 1 | (c >> 5) << 11) << 16
        content += little(word, in_block)
    return content


def write(folder, name, leads, fmt=16, *, n_frames=None, prolog=b"", **fields):
    """Write a record of one signal file; `leads` are integers by the lead's name.

    `fields` are lists with the `per_frame`, `skew`, `unit` and `initial` of each lead.
    """
    n_leads = len(leads)
    per_frame = fields.get("per_frame", [1] * n_leads)
    length = len(leads[0][1]) // per_frame[0]
    lines = [f"{name} {n_leads} 250 {length if n_frames is None else n_frames}"]
    columns = []
    for i, (lead, samples) in enumerate(leads):
        samples = np.asarray(samples)
        skew = fields.get("skew", [0] * n_leads)[i]
        unit = fields.get("unit", ["mV"] * n_leads)[i]
        initial = fields.get("initial", [0] * n_leads)[i]
        lines.append(
            f"{name}.dat {fmt}x{per_frame[i]}:{skew}+{len(prolog)} "
            f"{GAIN}({BASELINE})/{unit} 16 0 {initial} {samples.sum() % 65536} 0 {lead}"
        )
        stored = np.diff(samples, prepend=initial) if fmt == 8 else samples
        columns.append(stored.reshape(length, per_frame[i]))
    samples = np.concatenate(columns, axis=1).ravel()
    Path(folder, f"{name}.dat").write_bytes(prolog + pack(samples, fmt))
    Path(folder, f"{name}.hea").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Path(folder, name)


def physical(samples, skew=0):
    """Samples in mV, without the first `skew`, and as many NaN at the end."""
    samples = (np.asarray(samples, float) - BASELINE) / GAIN
    return np.append(samples[skew:], np.full(skew, np.nan))


def edit(record, old, new, suffix=".hea"):
    """Replace text in the header of a record."""
    file = record.with_name(record.name + suffix)
    content = file.read_bytes()
    old, new = (t if isinstance(t, bytes) else t.encode() for t in (old, new))
    assert old in content
    file.write_bytes(content.replace(old, new))


def samples_of(path, channel="all"):
    return [signal.samples for signal in read_leads(path, channel)]


@pytest.fixture
def integers():
    return np.random.default_rng(0).integers(-100, 100, (40, 2))


@pytest.fixture
def record(tmp_path, integers):
    return write(tmp_path, "a", [("I", integers[:, 0]), ("II", integers[:, 1])])


# --- formats


@pytest.mark.parametrize("length", [6, 7, 11])
@pytest.mark.parametrize("fmt", [8, *LOWEST])
def test_each_format_is_read(tmp_path, fmt, length):
    lowest = LOWEST.get(fmt, -63)
    draw = np.random.default_rng(length).integers
    slow, fast = (draw(lowest + 1, -lowest, n * length) for n in (1, 3))
    slow[:2], fast[-2:] = (lowest + 1, -lowest - 1), (-lowest - 1, lowest + 1)
    if fmt == 8:
        fast = fast % 60
    record = write(tmp_path, "a", [("I", slow), ("II", fast)], fmt, per_frame=[1, 3])
    first, second = read_leads(record, "all")
    np.testing.assert_array_equal(first.samples, physical(slow))
    np.testing.assert_array_equal(second.samples, physical(fast))
    assert (first.fs, second.fs, second.unit, second.lead) == (250, 750, "mV", "II")


@pytest.mark.parametrize("fmt", [8, 16, 24, 32, 80, 160, 212, 310, 311])
def test_the_bytes_of_these_tests_are_those_of_wfdb(tmp_path, fmt, integers):
    leads = [("I", integers[:, 0] // 4), ("II", integers[:, 1] // 4)]
    record = write(tmp_path, "a", leads, fmt)
    expected = wfdb.rdrecord(str(record)).p_signal
    np.testing.assert_array_equal(np.transpose(samples_of(record)), expected)


@pytest.mark.parametrize("fmt", ["16", "24", "32", "80", "212", "508", "516", "524"])
def test_what_wfdb_writes_is_read(tmp_path, fmt, integers):
    options = {"fmt": [fmt] * 2, "adc_gain": [GAIN] * 2, "baseline": [BASELINE] * 2}
    leads = {"units": ["mV", "uV"], "sig_name": ["I", "II"], "write_dir": str(tmp_path)}
    wfdb.wrsamp("a", fs=250, d_signal=integers, **leads, **options)
    first, second = read_leads(tmp_path / "a", "all")
    np.testing.assert_array_equal(first.samples, physical(integers[:, 0]))
    np.testing.assert_array_equal(second.samples, physical(integers[:, 1]))
    assert (second.fs, second.unit, second.lead) == (250, "uV", "II")


@pytest.mark.parametrize("fmt", LOWEST)
def test_the_lowest_value_of_a_format_is_an_invalid_sample(tmp_path, fmt):
    samples = [1, LOWEST[fmt], 3, LOWEST[fmt] + 1]
    record = write(tmp_path, "a", [("I", samples)], fmt)
    (signal,) = samples_of(record)
    np.testing.assert_array_equal(np.isnan(signal), [False, True, False, False])


def test_differences_start_from_the_initial_value(tmp_path):
    record = write(tmp_path, "a", [("I", [900, 850, 950])], 8, initial=[1000])
    np.testing.assert_array_equal(samples_of(record), [physical([900, 850, 950])])


def test_two_unused_bits_of_format_311_are_ignored(tmp_path):
    record = write(tmp_path, "a", [("I", [1, -2, -3])], 311)
    content = bytearray(record.with_suffix(".dat").read_bytes())
    content[3] |= 0xC0
    record.with_suffix(".dat").write_bytes(content)
    np.testing.assert_array_equal(samples_of(record), [physical([1, -2, -3])])


def test_flac_of_several_samples_per_frame(tmp_path, integers):
    leads = {"units": ["mV"] * 2, "sig_name": ["I", "II"], "write_dir": str(tmp_path)}
    options = {"adc_gain": [GAIN] * 2, "baseline": [BASELINE] * 2}
    signals = [integers[:, 0], integers[:, 1]]
    sizes = {"fmt": ["516"] * 2, "samps_per_frame": [4, 4]}
    wfdb.wrsamp("a", fs=250, e_d_signal=signals, **sizes, **leads, **options)
    for signal, expected in zip(
        read_leads(tmp_path / "a", "all"), signals, strict=True
    ):
        np.testing.assert_array_equal(signal.samples, physical(expected))
        assert signal.fs == 1000


def test_flac_that_is_something_else_is_refused(tmp_path, integers):
    record = write(tmp_path, "a", [("I", integers[:, 0])])
    edit(record, "dat 16x1", "dat 516x1")
    with pytest.raises(
        ValueError, match=r"a\.dat does not have the 1 signals.*no FLAC"
    ):
        read_leads(record, 0)


def test_an_unknown_format_is_refused(record):
    edit(record, "dat 16x1", "dat 17x1")
    with pytest.raises(ValueError, match="the format 17, expected one of 8, 16"):
        read_leads(record, 0)


@pytest.mark.parametrize("fmt", [310, 311, 212])
def test_the_last_block_of_a_file_may_be_cut(tmp_path, fmt):
    record = write(tmp_path, "a", [("I", [5, -6, 7, -8])], fmt)
    file = record.with_suffix(".dat")
    whole = file.read_bytes()
    file.write_bytes(whole[: 6 if fmt != 212 else None])
    np.testing.assert_array_equal(samples_of(record), [physical([5, -6, 7, -8])])
    file.write_bytes(whole[:5])
    with pytest.raises(ValueError, match=r"counts 4 samples.*truncated or damaged"):
        read_leads(record, 0)


# --- skew


@pytest.mark.parametrize("n_frames", [None, 0])
@pytest.mark.parametrize("prolog", [b"", b"12 bytes ..."])
@pytest.mark.parametrize("fmt", [8, 16, 61, 212, 311])
def test_a_skewed_lead_loses_its_first_frames(
    tmp_path, fmt, prolog, n_frames, integers
):
    first, second = integers[:20, 0], integers[:, 1] % 60
    options = {"per_frame": [1, 2], "skew": [3, 4], "initial": [0, 7]}
    options |= {"prolog": prolog, "n_frames": n_frames}
    leads = [("I", first % 60), ("II", second)]
    record = write(tmp_path, "a", leads, fmt, **options)
    slow, fast = samples_of(record)
    np.testing.assert_array_equal(slow, physical(first % 60, 3))
    np.testing.assert_array_equal(fast, physical(second, 8))  # 4 frames of 2 samples


@pytest.mark.parametrize("place", [0, -1])
def test_the_checksum_of_a_skewed_lead_is_that_of_the_file(tmp_path, place, integers):
    record = write(tmp_path, "a", [("I", integers[:, 0])], skew=[4])
    read_leads(record, 0)
    content = bytearray(record.with_suffix(".dat").read_bytes())
    content[place] ^= 1
    record.with_suffix(".dat").write_bytes(content)
    with pytest.raises(ValueError, match="has the checksum"):
        read_leads(record, 0)


def test_a_skewed_lead_of_flac(tmp_path, integers):
    options = {"fmt": ["516"], "adc_gain": [GAIN], "baseline": [BASELINE]}
    leads = {"units": ["mV"], "sig_name": ["I"], "write_dir": str(tmp_path)}
    wfdb.wrsamp("a", fs=250, d_signal=integers[:, :1], **leads, **options)
    edit(tmp_path / "a", " 516 ", " 516:5 ")
    expected = [physical(integers[:, 0], 5)]
    np.testing.assert_array_equal(samples_of(tmp_path / "a"), expected)


@pytest.mark.parametrize("layout", ["", "m_0 0\n"])
def test_each_segment_is_shifted_by_its_skew(tmp_path, layout, integers):
    for name, part, skew in (("m_1", integers[:25], 2), ("m_2", integers[25:], 3)):
        leads = [("I", part[:, 0]), ("II", part[:, 1])]
        write(tmp_path, name, leads, skew=[0, skew])
    write_layout(tmp_path, "m_0", ["I", "II"])
    n_segments = 2 + bool(layout)
    (tmp_path / "m.hea").write_text(
        f"m/{n_segments} 2 250 40\n{layout}m_1 25\nm_2 15\n"
    )
    first, second = samples_of(tmp_path / "m")
    np.testing.assert_array_equal(first, physical(integers[:, 0]))
    parts = physical(integers[:25, 1], 2), physical(integers[25:, 1], 3)
    np.testing.assert_array_equal(second, np.concatenate(parts))


def test_a_skew_longer_than_the_record_is_refused(record):
    edit(record, "16x1:0", "16x1:41")
    with pytest.raises(
        ValueError, match="40 frames shifted by 41, which is impossible"
    ):
        read_leads(record, 0)


# --- names of leads


def write_layout(folder, name, leads):
    lines = [f"~ 0 {GAIN}/mV 16 0 0 0 0 {lead}".rstrip() for lead in leads]
    Path(folder, f"{name}.hea").write_text("\n".join([f"{name} 2 250 0", *lines]))


@pytest.mark.parametrize("name", ["ECG", ""])
def test_leads_of_the_same_name_keep_their_order_in_all_segments(
    tmp_path, name, integers
):
    leads = [
        (name, integers[:, 0]),
        ("RESP", integers[:, 0] * 2),
        (name, integers[:, 1]),
    ]
    write(tmp_path, "m_1", leads)
    write(tmp_path, "m_2", leads[:1])
    write_layout(tmp_path, "m_0", [name, name])
    (tmp_path / "m.hea").write_text("m/3 2 250 80\nm_0 0\nm_1 40\nm_2 40\n")
    first, second = samples_of(tmp_path / "m")
    np.testing.assert_array_equal(first, np.tile(physical(integers[:, 0]), 2))
    np.testing.assert_array_equal(second[:40], physical(integers[:, 1]))
    assert np.isnan(second[40:]).all()
    np.testing.assert_array_equal(samples_of(tmp_path / "m", 1), [second])


@pytest.mark.parametrize("is_segmented", [False, True])
def test_an_ambiguous_name_is_refused(tmp_path, is_segmented, integers):
    path = write(tmp_path, "a", [("ECG", integers[:, 0]), ("ECG", integers[:, 1])])
    if is_segmented:
        path = tmp_path / "m"
        path.with_suffix(".hea").write_text("m/2 2 250 80\na 40\na 40\n")
    with pytest.raises(ValueError, match=r"2 leads with the name 'ECG'.*index, 0 or 1"):
        read_leads(path, "ECG")
    assert [signal.lead for signal in read_leads(path, "all")] == ["ECG", "ECG#2"]


def test_a_lead_without_a_name_is_named_by_its_index(tmp_path, integers):
    record = write(tmp_path, "a", [("", integers[:, 0]), ("", integers[:, 1])])
    assert [signal.lead for signal in read_leads(record, "all")] == ["0", "1"]
    np.testing.assert_array_equal(samples_of(record, "1"), [physical(integers[:, 1])])


NAMES = ["I", "II", "V1", "V1"]


@pytest.mark.parametrize(
    ("channel", "indices"),
    [
        (1, [1]),
        (np.int64(1), [1]),
        ("II", [1]),
        (["II", 0], [1, 0]),
        (("I",), [0]),
        (np.array([2, 3]), [2, 3]),
        ("all", [0, 1, 2, 3]),
    ],
)
def test_select_leads(channel, indices):
    assert select_leads(NAMES, channel, "Record a") == indices


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        ("V2", "Record a has no channel 'V2': its 4 leads are I, II, V1, V1; give"),
        (4, "has no channel 4"),
        (-1, "has no channel -1"),
        (True, "has no channel True"),
        (None, "has no channel None"),
        (["I", 1.5], r"has no channel 1\.5"),
        (["I", ["II"]], r"has no channel \['II'\]"),
        (["I", 0], "chooses a lead twice"),
        ([], "chooses none; its 4 leads"),
        ("V1", "2 leads with the name 'V1': choose one by its index, 2 or 3"),
    ],
)
def test_select_leads_refuses(channel, message):
    with pytest.raises(ValueError, match=message):
        select_leads(NAMES, channel, "Record a")


def test_a_lead_may_have_the_name_all():
    assert select_leads(["I", "all"], "all", "Record a") == [1]


def test_distinct_names_are_distinct():
    names = ["ECG", "ECG", "ECG#2", "RESP", "ECG"]
    assert distinct_names(names) == ["ECG", "ECG#3", "ECG#2", "RESP", "ECG#4"]


# --- the text of headers


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-8-sig"])
def test_letters_outside_ascii(tmp_path, encoding, integers):
    leads = [("Ableitung Ø", integers[:, 0]), ("Tête-à", integers[:, 1])]
    record = write(tmp_path, "a", leads, unit=["µV", "°C"])
    header = record.with_suffix(".hea")
    header.write_bytes(header.read_text(encoding="utf-8").encode(encoding))
    first, second = read_leads(record, "all")
    assert (first.lead, first.unit) == ("Ableitung Ø", "µV")
    assert (second.lead, second.unit) == ("Tête-à", "°C")
    assert read_leads(record, "Tête-à")[0].unit == "°C"


def test_a_comment_in_latin_1_does_not_change_a_unit_in_utf_8(tmp_path, integers):
    record = write(tmp_path, "a", [("I", integers[:, 0])], unit=["µV"])
    with record.with_suffix(".hea").open("ab") as header:
        header.write("# Müller, 50\x85\n".encode("latin-1"))
    assert read_leads(record, 0)[0].unit == "µV"


RECORD_LINES = {
    "only a year": "a 2 250 40 0:0:0 1999",
    "a date of zeros": "a 2 250 40 12:0:0.5 0/0/0",
    "a time of day": "a 2 250 40 25:61:00",
    "a folder": "ward/a 2 250 40",
    "a folder named by a number": "7/a 2 250 40",
    "counter frequency": "a 2 250/360(-12.5) 40",
    "exponent": "a 2 2.5e2 40",
    "tabs": "\ta\t2\t250.\t40\t",
    "a comment before": "# one\n\n  # two\r\na 2 250 40\r",
    "the name of another record": "b-1.x 2 250 40",
    "no number of samples": "a 2 250",
    "no frequency": "a 2",
}


@pytest.mark.parametrize("line", RECORD_LINES.values(), ids=RECORD_LINES)
def test_record_lines(record, integers, line):
    edit(record, "a 2 250 40", line)
    first, second = read_leads(record, "all")
    np.testing.assert_array_equal(first.samples, physical(integers[:, 0]))
    np.testing.assert_array_equal(second.samples, physical(integers[:, 1]))
    assert first.fs == 250


def test_a_record_whose_name_is_a_number_in_a_folder(tmp_path, integers):
    record = write(tmp_path, "100", [("I", integers[:, 0])])
    edit(record, "100 1 250", "mitdb/100 1 250")
    np.testing.assert_array_equal(samples_of(record), [physical(integers[:, 0])])


def test_a_record_with_as_many_segments_as_its_name_says(tmp_path, integers):
    write(tmp_path, "a", [("I", integers[:, 0])])
    (tmp_path / "2.hea").write_text("2/2 1 250 80\na 40\na 40\n")
    assert len(samples_of(tmp_path / "2")[0]) == 80


SIGNAL_LINES = {
    "the shortest": ("a.dat 16", (200, 0, "mV", "0")),
    "a gain": ("a.dat 16 100", (100, 0, "mV", "0")),
    "no calibration": ("a.dat 16 0", (200, 0, "mV", "0")),
    "a negative gain": ("a.dat 16 -1e2(5)/NU", (-100, 5, "NU", "0")),
    "zero is the baseline": ("a.dat 16 100/cm_H2O 12 7 0", (100, 7, "cm_H2O", "0")),
    "both": ("a.dat 16 100(3)/% 12 7", (100, 3, "%", "0")),
    "a long name": (
        "a.dat 16 1.5 0 0 0 0 0  1 lead, of 2 ",
        (1.5, 0, "mV", "1 lead, of 2"),
    ),
}


@pytest.mark.parametrize(("line", "expected"), SIGNAL_LINES.values(), ids=SIGNAL_LINES)
def test_signal_lines(tmp_path, line, expected):
    (tmp_path / "a.dat").write_bytes(pack([1, 2, 3], 16))
    (tmp_path / "a.hea").write_text(f"a 1\n{line}\n")
    gain, baseline, unit, lead = expected
    (signal,) = read_leads(tmp_path / "a", 0)
    np.testing.assert_array_equal(signal.samples, (np.arange(1, 4) - baseline) / gain)
    assert (signal.unit, signal.lead, signal.fs) == (unit, lead, 250)


def test_lines_after_the_last_signal_are_not_read(record):
    with record.with_suffix(".hea").open("a") as header:
        header.write("these are no signals\n")
    assert len(read_leads(record, "all")) == 2


# --- number of samples


@pytest.mark.parametrize("fmt", [16, 61, 24, 212, 310])
def test_a_length_of_zero_is_that_of_the_file(tmp_path, fmt, integers):
    leads = [("I", integers[:39, 0]), ("II", integers[:39, 1])]
    record = write(tmp_path, "a", leads, fmt, n_frames=0, prolog=b"abc")
    first, second = samples_of(record)
    np.testing.assert_array_equal(first, physical(integers[:39, 0]))
    np.testing.assert_array_equal(second, physical(integers[:39, 1]))


def test_no_checksum_without_a_length(record, integers):
    content = bytearray(record.with_suffix(".dat").read_bytes())
    content[0] ^= 1
    record.with_suffix(".dat").write_bytes(content)
    edit(record, "a 2 250 40", "a 2 250 0")
    np.testing.assert_array_equal(samples_of(record)[0][1:], physical(integers[1:, 0]))


def test_the_shortest_file_gives_the_length(tmp_path, integers):
    record = write(tmp_path, "a", [("I", integers[:, 0])])
    other = write(tmp_path, "b", [("II", integers[:30, 1])])
    line = other.with_suffix(".hea").read_text().splitlines()[1]
    header = record.with_suffix(".hea").read_text() + line
    record.with_suffix(".hea").write_text(header.replace("a 1 250 40", "a 2 250"))
    expected = [physical(integers[:30, 0]), physical(integers[:30, 1])]
    np.testing.assert_array_equal(samples_of(record), expected)
    np.testing.assert_array_equal(samples_of(record, 0), expected[:1])


def test_flac_without_a_length(tmp_path, integers):
    options = {"fmt": ["516"], "adc_gain": [GAIN], "baseline": [BASELINE]}
    leads = {"units": ["mV"], "sig_name": ["I"], "write_dir": str(tmp_path)}
    wfdb.wrsamp("a", fs=250, d_signal=integers[:, :1], **leads, **options)
    edit(tmp_path / "a", "a 1 250 40", "a 1 250")
    edit(tmp_path / "a", " 516 ", " 516:1+2 ")  # an offset counts samples of FLAC
    expected = [physical(integers[2:, 0], 1)]
    np.testing.assert_array_equal(samples_of(tmp_path / "a"), expected)


# --- files


def test_a_record_of_two_files(tmp_path, integers):
    record = write(tmp_path, "a", [("I", integers[:, 0])])
    line = write(tmp_path, "b", [("II", integers[:, 1])], 61)
    line = line.with_suffix(".hea").read_text().splitlines()[1]
    header = record.with_suffix(".hea").read_text().replace("a 1", "a 2")
    record.with_suffix(".hea").write_text(header + line)
    expected = [physical(integers[:, 1]), physical(integers[:, 0])]
    np.testing.assert_array_equal(samples_of(record, ["II", "I"]), expected)
    os.remove(tmp_path / "b.dat")
    np.testing.assert_array_equal(samples_of(record, "I"), expected[1:])
    with pytest.raises(FileNotFoundError, match=r"b\.dat: put this file"):
        read_leads(record, "all")


def test_each_file_is_read_once(record, monkeypatch):
    read, names = np.fromfile, []
    monkeypatch.setattr(
        np, "fromfile", lambda f, *a, **k: names.append(f) or read(f, *a, **k)
    )
    assert len(read_leads(record, "all")) == 2
    assert names == [record.with_suffix(".dat")]


def test_a_folder_with_two_colons(tmp_path, integers):
    (tmp_path / "a::b").mkdir()
    record = write(tmp_path / "a::b", "a", [("I", integers[:, 0])])
    np.testing.assert_array_equal(samples_of(record), [physical(integers[:, 0])])


def test_the_signals_of_a_file_have_one_format(record):
    header = record.with_suffix(".hea")
    before, _, after = header.read_text().rpartition(" 16x1")
    header.write_text(f"{before} 61x1{after}")
    with pytest.raises(ValueError, match=r"a\.dat 2 pairs of format and byte offset"):
        read_leads(record, 0)


# --- segments


def write_segments(folder, lines, length):
    (folder / "m.hea").write_text(f"m/{len(lines)} 2 250 {length}\n" + "\n".join(lines))
    return folder / "m"


def test_a_segment_may_occur_twice(record, integers):
    path = write_segments(record.parent, ["a 40", "~ 10", "a 40"], 90)
    expected = physical(integers[:, 0])
    expected = np.concatenate([expected, np.full(10, np.nan), expected])
    np.testing.assert_array_equal(samples_of(path, 0), [expected])


def test_a_null_segment_is_a_gap(record, integers):
    (record.parent / "null.hea").write_text("null 2 250 10\n~ 0\n~ 0\n")
    path = write_segments(record.parent, ["a 40", "null 10", "a 40"], 90)
    for column, signal in enumerate(samples_of(path)):
        np.testing.assert_array_equal(signal[50:], physical(integers[:, column]))
        np.testing.assert_array_equal(np.isnan(signal), np.arange(90) // 10 == 4)


def test_a_segment_without_a_length_in_its_header(record, integers):
    edit(record, "a 2 250 40", "a 2 250")
    path = write_segments(record.parent, ["a 40"], 40)
    np.testing.assert_array_equal(samples_of(path, 0), [physical(integers[:, 0])])
    path = write_segments(record.parent, ["a 50"], 50)
    with pytest.raises(ValueError, match=r"another length.*40 instead of 50 samples"):
        read_leads(path, 0)


def test_a_lead_that_only_the_layout_has_is_an_error(record, integers):
    write_layout(record.parent, "m_0", ["II", "V1"])
    path = write_segments(record.parent, ["m_0 0", "a 40"], 40)
    np.testing.assert_array_equal(samples_of(path, "II"), [physical(integers[:, 1])])
    for channel in ("V1", "all"):
        with pytest.raises(ValueError, match="Lead V1 of record m has no samples"):
            read_leads(path, channel)


def test_a_layout_given_as_a_record_is_an_error(tmp_path):
    write_layout(tmp_path, "m_layout", ["I", "II"])
    with pytest.raises(
        ValueError, match="m_layout has no signal file: it is the layout"
    ):
        read_leads(tmp_path / "m_layout", 0)


def test_a_lead_without_a_file_is_an_error(tmp_path, integers):
    record = write(tmp_path, "a", [("I", integers[:, 0])])
    header = record.with_suffix(".hea").read_text().replace("a 1", "a 2")
    record.with_suffix(".hea").write_text(header + "~ 0 200 12 0 0 0 0 V1\n")
    np.testing.assert_array_equal(samples_of(record, "I"), [physical(integers[:, 0])])
    with pytest.raises(ValueError, match="Lead V1 of record a has no samples"):
        read_leads(record, "V1")


SEGMENTS = {
    "the record": (["m 40", "a 40"], "A segment of .* has segments itself, m"),
    "a path": (["../a 40", "a 40"], r"names '\.\./a\.hea', and only files in its own"),
    "only gaps": (["~ 40", "~ 40"], "All segments of .* are empty"),
    "a long gap": (["a 40", f"~ {10**12}"], "leaves gaps of 2000000000000 samples"),
    "many times": (["a 40"] * 60_000, "gaps of 4799920 samples .* or repeats as many"),
    "a wrong length": (["a 40", "b 50"], "has another length"),
    "other leads": (["a 40", "c 40"], "hold different leads"),
    "other units": (["a 40", "d 40"], "with 2 pairs of sampling frequency and unit"),
    "another rate": (
        ["a 40", "e 40"],
        "Segment e of .* has 500 Hz, but .* says 250 Hz",
    ),
    "no number": (["a 40", "b"], "has the line 'b', expected a segment"),
}


@pytest.mark.parametrize(("lines", "message"), SEGMENTS.values(), ids=SEGMENTS)
def test_segments_that_are_refused(tmp_path, integers, lines, message, monkeypatch):
    if len(lines) > 2:
        monkeypatch.setattr("sktok.datasets._wfdb.LONGEST_GAPS", 2**20)
    for name, leads in {"a": "12", "b": "12", "c": "21", "d": "12"}.items():
        unit = ["uV", "uV"] if name == "d" else ["mV", "mV"]
        write(tmp_path, name, list(zip(leads, integers.T, strict=True)), unit=unit)
    edit(write(tmp_path, "e", [("1", integers[:, 0])]), "e 1 250", "e 1 500")
    with pytest.raises(ValueError, match=message):
        read_leads(write_segments(tmp_path, lines, 80), "all")


def test_too_few_segments(record):
    (record.parent / "m.hea").write_text("m/3 2 250 80\na 40\na 40\n")
    with pytest.raises(
        ValueError, match="says that it has 3 segments, but it describes 2"
    ):
        read_leads(record.parent / "m", 0)


# --- headers that are not trusted

HOSTILE = {
    "a path": ("a.dat 16", "../a.dat 16", r"names '\.\./a\.dat', and only files"),
    "an absolute path": ("a.dat 16", "/etc/passwd 16", "names '/etc/passwd', and"),
    "a path of Windows": ("a.dat 16", "..\\a.dat 16", "and only files in its own"),
    "an address": (
        "a.dat 16",
        "http://localhost/a.dat 16",
        "and only files in its own",
    ),
    "many samples": (" 250 40", f" 250 {10**12}", "counts 2000000000000 samples"),
    "many in a frame": ("16x1", "16x9999999999", "counts 799999999920 samples"),
    "a long offset": ("+0", "+159", "counts 80 samples from byte 159"),
    "frequency 0": ("a 2 250 ", "a 2 0 ", "a sampling frequency of 0 Hz"),
    "infinite frequency": ("a 2 250 ", "a 2 1e999 ", "a sampling frequency of inf Hz"),
    "no gain": ("200(10)", "1e-320(10)", "a gain of 1e-320, which is impossible"),
    "infinite gain": ("200(10)", "1e999(10)", "a gain of inf, which is impossible"),
    "infinite baseline": ("200(10)", f"200({'9' * 400})", "a baseline of inf"),
    "a large number": ("16 0 0", f"16 0 {2**31}", "expected a signal, for example"),
    "no signal": ("a.dat 16x1", "a.dat ?", r"has the line 'a\.dat \?:0"),
    "no record": ("a 2 250", "a two 250", "begins with 'a two 250 40', expected"),
    "a long line": ("a 2", "a" * 100_000 + " 2", "a line of more than 1024 bytes"),
    "many lines": ("a 2", "a 2\n" * 10_000, "more than 1024 lines"),
    "few signals": ("a 2 250", "a 3 250", "has 3 signals, but it describes 2"),
}


@pytest.mark.parametrize(("old", "new", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_headers(record, old, new, message):
    edit(record, old, new)
    with pytest.raises(ValueError, match=message):
        read_leads(record, 0)


@pytest.mark.parametrize("content", [b"", b"\xff\x00\x80", b"# only a comment"])
def test_a_file_that_is_no_header(record, content):
    record.with_suffix(".hea").write_bytes(content)
    with pytest.raises(ValueError, match=r"is not a readable WFDB record: its header"):
        read_leads(record, 0)


@pytest.mark.parametrize("suffix", [".dat", ".hea"])
def test_a_pipe_does_not_block(record, suffix):
    os.remove(record.with_suffix(suffix))
    os.mkfifo(record.with_suffix(suffix))
    with pytest.raises(FileNotFoundError, match=rf"a\{suffix}"):
        read_leads(record, 0)


def test_a_flac_that_claims_more_than_it_can_hold(tmp_path, integers):
    options = {"fmt": ["516"], "adc_gain": [GAIN], "baseline": [BASELINE]}
    leads = {"units": ["mV"], "sig_name": ["I"], "write_dir": str(tmp_path)}
    wfdb.wrsamp("a", fs=250, d_signal=integers[:, :1], **leads, **options)
    file = tmp_path / "a.dat"
    content = bytearray(file.read_bytes())
    content[21:26] = bytes([content[21] | 0x0F, 255, 255, 255, 255])  # samples, 36 bits
    file.write_bytes(content)
    for length in ("40", "0", str(2**36 - 1)):
        edit(tmp_path / "a", "a 1 250 40", f"a 1 250 {length}")
        with pytest.raises(ValueError, match="it counts 68719476735 samples"):
            read_leads(tmp_path / "a", 0)
        edit(tmp_path / "a", f"a 1 250 {length}", "a 1 250 40")


# --- folders


def test_records_in_a_folder(tmp_path, integers):
    lead = [("I", integers[:, 0])]
    for folder in ("ward/b", "ward/a", ".hidden"):
        (tmp_path / folder).mkdir(parents=True)
        write(tmp_path / folder, "x", lead)
    for name in ("m_1", "single", "._single"):
        write(tmp_path, name, lead)
    write_layout(tmp_path, "m_0", ["I", "II"])
    write_layout(tmp_path, "other_layout", ["I", "II"])
    (tmp_path / "m.hea").write_text("m/4 1 250 90\nm_0 0\nm_1 40\n~ 10\nm_1 40\n")
    (tmp_path / "empty.hea").write_text("empty 0 250 40\n")
    (tmp_path / "damaged.hea").write_text("damaged\n")
    names = ["damaged", "m", "single", "ward/a/x", "ward/b/x"]
    assert records_in(str(tmp_path)) == [tmp_path / name for name in names]


def test_a_folder_without_records(tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    assert records_in(tmp_path) == []
    with pytest.raises(FileNotFoundError, match=r"no WFDB record in the folder .* sub"):
        load_wfdb(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"There is no WFDB record .*none"):
        load_wfdb(tmp_path / "none")


# --- the loader, and real records


def test_the_loader_reads_what_was_called_damaged(tmp_path, integers):
    leads = [("ECG", integers[:, 0]), ("ECG", integers[:, 1])]
    record = write(tmp_path, "a", leads, 61, skew=[0, 10], unit=["µV", "µV"])
    edit(record, "a 2 250 40", "ward/a 2 250 40 0:0:0 1999")
    ecg = load_wfdb(record, channel=1, window_length=30)
    np.testing.assert_allclose(ecg.data[0], physical(integers[10:, 1]) / 1000)
    assert ecg.unit == "mV"


def test_real_records_are_those_of_wfdb(real_records):
    for record in real_records:
        expected = wfdb.rdrecord(str(record))
        signals = read_leads(record, "all")
        samples = np.transpose([signal.samples for signal in signals])
        np.testing.assert_array_equal(samples, expected.p_signal, err_msg=str(record))
        assert [signal.lead for signal in signals] == expected.sig_name
        assert {signal.fs for signal in signals} == {expected.fs}
