"""Loaders: real ECG, WFDB records intact and damaged, arrays, MIT-BIH, patients."""

import hashlib
import os
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
import wfdb

from sktok.datasets import (
    _mitdb,
    fetch_mitdb,
    load_ecg,
    load_edf,
    load_wfdb,
    split_patients,
    windows_from,
)
from sktok.datasets._loaders import find_records, load_any
from sktok.datasets._windows import Signal, TooShortError, to_bunch

FS = 250


def write_record(folder, name, signal, leads=("I", "II"), fs=FS, unit="mV", gain=1000):
    """Write a WFDB record of 16 bits, with steps of 1/gain unit."""
    n_leads = len(leads)
    wfdb.wrsamp(
        name,
        fs=fs,
        units=[unit] * n_leads,
        sig_name=list(leads),
        p_signal=signal,
        fmt=["16"] * n_leads,
        adc_gain=[gain] * n_leads,
        baseline=[0] * n_leads,
        write_dir=str(folder),
    )
    return folder / name


def rename_leads(path, name):
    """Give all leads the same name; wfdb reads such headers but does not write them."""
    header = path.with_name(path.name + ".hea")
    lines = [
        line.rpartition(" ")[0] + f" {name}" if ".dat" in line else line
        for line in header.read_text().splitlines()
    ]
    header.write_text("\n".join(lines) + "\n")


@pytest.fixture
def signal():
    """1,000 samples of two leads, in steps of 1/1000 mV."""
    return np.random.default_rng(0).integers(-2000, 2000, (1000, 2)) / 1000


@pytest.fixture
def record(tmp_path, signal):
    return write_record(tmp_path, "a1", signal)


def test_load_ecg_is_real_and_in_millivolts(ecg):
    assert ecg.data.shape == (432, 250)
    assert (ecg.fs, ecg.unit, set(ecg.lead)) == (360, "mV", {"MLII"})
    assert set(ecg.record) == set(ecg.groups) == {"208"}
    assert (np.diff(ecg.start) == 250).all()
    assert len(ecg.feature_names) == 250
    assert 3 < np.ptp(ecg.data) < 10
    assert load_ecg(window_length=1000).data.shape == (108, 1000)
    with pytest.raises(ValueError, match="window_length=0: expected an int from 1"):
        load_ecg(window_length=0)


def test_load_ecg_starts_at_the_right_sample_of_record_208(ecg, mitdb_home):
    whole = load_wfdb(mitdb_home / "mitdb" / "208", window_length=1).data.ravel()
    excerpt = whole[ecg.start[0] : ecg.start[0] + ecg.data.size]
    np.testing.assert_allclose(ecg.data.ravel(), excerpt, atol=1e-9)


@pytest.mark.parametrize(("channel", "column"), [(0, 0), (1, 1), ("I", 0), ("II", 1)])
def test_a_lead_by_index_or_name(record, signal, channel, column):
    ecg = load_wfdb(record, channel=channel, window_length=300)
    np.testing.assert_allclose(ecg.data.ravel(), signal[:900, column])
    assert set(ecg.lead) == {["I", "II"][column]}
    assert (ecg.fs, ecg.unit) == (FS, "mV")
    np.testing.assert_array_equal(ecg.start, [0, 300, 600])


def test_scale_record_uses_the_whole_record(record, signal):
    lead = signal[:, 0]
    ecg = load_wfdb(record, scale="record", window_length=300)
    expected = (lead - lead.min()) / np.ptp(lead)
    np.testing.assert_allclose(ecg.data.ravel(), expected[:900])
    assert ecg.unit is None


def test_several_records_and_their_patients(tmp_path, signal):
    paths = [write_record(tmp_path, name, signal) for name in ("a1", "a2", "b1")]
    ecg = load_wfdb([str(p) for p in paths], window_length=500, groups=["a", "a", "b"])
    assert list(ecg.record) == ["a1", "a1", "a2", "a2", "b1", "b1"]
    assert list(ecg.groups) == ["a", "a", "a", "a", "b", "b"]
    assert list(load_wfdb(paths, window_length=1000).groups) == ["a1", "a2", "b1"]


def test_records_with_the_same_name_keep_their_paths(tmp_path, signal):
    paths = []
    for ward in ("ward1", "ward2"):
        (tmp_path / ward).mkdir()
        paths.append(write_record(tmp_path / ward, "a1", signal))
    ecg = load_wfdb(paths, window_length=1000)
    assert list(ecg.groups) == list(ecg.record) == [str(path) for path in paths]
    assert list(load_wfdb(paths, window_length=1000, groups=[0, 1]).groups) == [
        "0",
        "1",
    ]


def test_leads_without_a_name_or_with_the_same(tmp_path, signal):
    record = write_record(tmp_path, "a1", signal)
    rename_leads(record, "ECG")
    ecg = load_wfdb(record, channel=1, window_length=1000)
    np.testing.assert_allclose(ecg.data[0], signal[:, 1])
    rename_leads(record, "")
    assert set(load_wfdb(record, channel=1).lead) == {"1"}
    with pytest.raises(ValueError, match="its 2 leads are 0, 1"):
        load_wfdb(record, channel="ECG")


def test_invalid_samples(tmp_path, signal):
    signal[510:520, 0] = np.nan
    record = write_record(tmp_path, "a1", signal)
    with pytest.raises(ValueError, match=r"1 of the 10 windows.*missing='drop'"):
        load_wfdb(record, window_length=100)
    ecg = load_wfdb(record, window_length=100, missing="drop")
    assert list(ecg.start) == [0, 100, 200, 300, 400, 600, 700, 800, 900]
    scaled = load_wfdb(record, window_length=100, missing="drop", scale="record")
    assert scaled.data.min() >= 0
    assert scaled.data.max() <= 1
    whole = load_wfdb(record, channel="II", window_length=100)
    assert len(whole.data) == 10
    signal[:, 0] = np.nan
    record = write_record(tmp_path, "a2", signal)
    with pytest.raises(ValueError, match="all windows hold invalid samples"):
        load_wfdb(record, missing="drop", scale="record")


@pytest.fixture
def segmented(tmp_path, signal):
    """Two segments of 400 samples, a gap of 200 between them; the second lacks I."""
    write_record(tmp_path, "m_1", signal[:400])
    write_record(tmp_path, "m_2", signal[400:800, 1:], leads=["II"])
    leads = "".join(f"~ 0 1000/mV 16 0 0 0 0 {lead}\n" for lead in ("I", "II"))
    (tmp_path / "m_layout.hea").write_text(f"m_layout 2 {FS} 0\n{leads}")
    (tmp_path / "m.hea").write_text(
        f"m/4 2 {FS} 1000\nm_layout 0\nm_1 400\n~ 200\nm_2 400\n"
    )
    return tmp_path / "m"


def test_multi_segment_record(segmented, signal):
    with pytest.raises(ValueError, match="6 of the 10 windows"):
        load_wfdb(segmented, window_length=100)
    first = load_wfdb(segmented, window_length=100, missing="drop")
    np.testing.assert_allclose(first.data.ravel(), signal[:400, 0])
    ecg = load_wfdb(segmented, channel="II", window_length=100, missing="drop")
    np.testing.assert_allclose(ecg.data.ravel(), signal[:800, 1])
    assert list(ecg.start) == [0, 100, 200, 300, 600, 700, 800, 900]
    assert set(ecg.record) == {"m"}


@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize("same_name", [False, True])
def test_segments_without_a_gap(tmp_path, signal, channel, same_name):
    for path in (
        write_record(tmp_path, "m_1", signal[:400]),
        write_record(tmp_path, "m_2", signal[400:]),
    ):
        if same_name:
            rename_leads(path, "ECG")
    (tmp_path / "m.hea").write_text(f"m/2 2 {FS} 1000\nm_1 400\nm_2 600\n")
    ecg = load_wfdb(tmp_path / "m", channel=channel, window_length=1000)
    np.testing.assert_allclose(ecg.data[0], signal[:, channel])


def test_segments_of_different_units_are_refused(tmp_path, signal):
    write_record(tmp_path, "m_1", signal[:400])
    write_record(tmp_path, "m_2", signal[400:], unit="uV")
    (tmp_path / "m.hea").write_text(f"m/2 2 {FS} 1000\nm_1 400\nm_2 600\n")
    with pytest.raises(ValueError, match=r"2 pairs of sampling.*expected one"):
        load_wfdb(tmp_path / "m")


def test_damaged_segment(segmented):
    flip_a_bit(segmented.with_name("m_2.dat"))
    with pytest.raises(ValueError, match="checksum"):
        load_wfdb(segmented, channel="II", missing="drop")


def write_fast_record(folder, name, first, n_frames):
    """Write a record whose second lead has four samples per frame."""
    slow = np.arange(first, first + n_frames) / 1000
    fast = np.arange(4 * first, 4 * (first + n_frames)) / 1000
    wfdb.wrsamp(
        name,
        fs=FS,
        units=["mV", "mV"],
        sig_name=["slow", "fast"],
        e_p_signal=[slow, fast],
        samps_per_frame=[1, 4],
        fmt=["16", "16"],
        adc_gain=[1000, 1000],
        baseline=[0, 0],
        write_dir=str(folder),
    )
    return folder / name


def test_a_lead_with_several_samples_per_frame_has_its_own_rate(tmp_path):
    single = write_fast_record(tmp_path, "m_1", 0, 100)
    write_fast_record(tmp_path, "m_2", 100, 50)
    (tmp_path / "m.hea").write_text(f"m/2 2 {FS} 150\nm_1 100\nm_2 50\n")
    for path, n_samples in ((single, 400), (tmp_path / "m", 600)):
        ecg = load_wfdb(path, channel="fast", window_length=n_samples)
        assert ecg.fs == 4 * FS
        np.testing.assert_allclose(ecg.data[0], np.arange(n_samples) / 1000)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:1001])


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (
            lambda p: flip_a_bit(p.with_suffix(".dat")),
            ValueError,
            "checksum.*copy it again",
        ),
        (
            lambda p: cut_short(p.with_suffix(".dat")),
            ValueError,
            "truncated or damaged",
        ),
        (
            lambda p: p.with_suffix(".dat").unlink(),
            FileNotFoundError,
            "a1.dat: put this file",
        ),
        (lambda p: p.with_suffix(".hea").unlink(), FileNotFoundError, "without exten"),
        (lambda p: p.with_suffix(".hea").write_text(""), ValueError, "not a readable"),
        (lambda p: p.with_suffix(".hea").write_text("a1 x"), ValueError, "not a read"),
        (lambda p: p.with_suffix(".hea").write_text("a1 0 9 9"), ValueError, "no chan"),
        (
            lambda p: p.with_suffix(".hea").write_bytes(b"\xff\x00\x80"),
            ValueError,
            "not",
        ),
    ],
)
def test_broken_records(record, damage, error, message):
    damage(record)
    with pytest.raises(error, match=message):
        load_wfdb(record)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"channel": "V1"}, "no channel 'V1': its 2 leads are I, II"),
        ({"channel": 2}, "no channel 2: its 2 leads"),
        ({"channel": -1}, "no channel -1"),
        ({"channel": True}, "no channel True"),
        ({"window_length": 1001}, "a1 has 1000 samples, fewer than 1001"),
        ({"window_length": 0}, "window_length=0"),
        ({"window_length": True}, "window_length=True"),
        ({"window_length": 2.5}, r"window_length=2\.5"),
        ({"window_seconds": 0}, "window_seconds=0: expected a number"),
        ({"window_seconds": True}, "window_seconds=True"),
        ({"window_seconds": float("nan")}, "window_seconds=nan"),
        ({"window_seconds": 0.001}, "is 0.25 samples at 250 Hz"),
        ({"window_seconds": 1e308}, "is inf samples at 250 Hz"),
        ({"window_seconds": 1, "window_length": 250}, "both given"),
        ({"fs": 0}, "fs=0"),
        ({"fs": 25_001}, "more than 100 times"),
        ({"leads": "columns"}, "leads='columns'"),
        ({"scale": "lead"}, "scale='lead'"),
        ({"missing": "ignore"}, "missing='ignore'"),
        ({"groups": ["a", "b"]}, "2 patients for 1 records"),
    ],
)
def test_bad_parameters(record, params, message):
    with pytest.raises(ValueError, match=message):
        load_wfdb(record, **params)


def test_records_of_different_rates_or_units_are_refused(tmp_path, signal):
    paths = [
        write_record(tmp_path, "a", signal),
        write_record(tmp_path, "b", signal, fs=500),
    ]
    with pytest.raises(ValueError, match=r"differ in sampling frequency.*500.*fs="):
        load_wfdb(paths)
    paths[1] = write_record(tmp_path, "c", signal, unit="mmHg")
    with pytest.raises(ValueError, match=r"differ in unit.*mmHg"):
        load_wfdb(paths)
    assert load_wfdb(paths, scale="record").data.min() >= 0
    with pytest.raises(ValueError, match="paths is empty"):
        load_wfdb([])


# --- paths


@pytest.fixture
def ward(tmp_path, signal):
    """A folder with the records a1 and a2, and b1 in a folder of it."""
    folder = tmp_path / "ward"
    (folder / "night").mkdir(parents=True)
    for name in ("a2", "a1", "night/b1"):
        write_record((folder / name).parent, Path(name).name, signal)
    return folder


def records_of(paths, **options):
    """The names of the records that are loaded, in order."""
    return list(load_wfdb(paths, window_length=1000, **options).record)


def test_a_folder_gives_all_its_records(ward):
    assert records_of(ward) == ["a1", "a2", "b1"]
    assert records_of(str(ward / "night")) == ["b1"]
    assert records_of([ward / "night", ward / "a2"]) == ["b1", "a2"]


def test_a_header_is_the_path_of_its_record(ward):
    assert records_of(ward / "a1.hea") == ["a1"]
    assert records_of([str(ward / "a2.hea"), ward / "a1"]) == ["a2", "a1"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.hea", ["a1", "a2"]),
        ("a*", ["a1", "a2"]),
        ("a?", ["a1", "a2"]),
        ("a[2-9]", ["a2"]),
        ("**/*.hea", ["a1", "a2", "b1"]),
        ("*", ["a1", "a2", "b1"]),  # night is a folder
        ("n*t", ["b1"]),
    ],
)
def test_a_pattern_gives_the_records_that_match(ward, pattern, expected):
    assert records_of(ward / pattern) == expected
    assert records_of([str(ward / pattern)]) == expected


def test_a_record_that_exists_is_not_taken_for_a_pattern(tmp_path, signal):
    for name in ("a1", "a[1]"):
        write_record(tmp_path, "x", signal)
        header = (tmp_path / "x.hea").read_text()
        (tmp_path / f"{name}.hea").write_text(header)
    (tmp_path / "x.hea").unlink()
    assert records_of(tmp_path / "a[1]") == ["a[1]"]


def test_patterns_and_folders_leave_out_segments(segmented):
    for path in (segmented.parent, segmented.parent / "*.hea"):
        assert set(load_wfdb(path, missing="keep").record) == {"m"}


@pytest.mark.parametrize(
    "paths",
    [
        lambda w: [w / "a1", w / "a1.hea"],
        lambda w: [w, w / "a2"],
        lambda w: [w / "a*", w / "*2.hea"],
        lambda w: [w / "a1", w / "night" / ".." / "a1"],
    ],
)
def test_a_record_named_twice_is_refused(ward, paths):
    with pytest.raises(ValueError, match=r"gives the record .*a[12] 2 times.*once"):
        load_wfdb(paths(ward))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a1.dat", "without extension.*there is a record .*ward/a1\\.$"),
        ("a3", "no WFDB record .*a3: give the path of its files"),
        ("*.txt", "no WFDB record"),
        ("empty", "no WFDB record in the folder"),
        ("x.edf", "no WFDB record: load it with load_edf"),
    ],
)
def test_paths_without_a_record_say_so(ward, name, message):
    (ward / "empty").mkdir()
    (ward / "x.edf").touch()
    with pytest.raises(FileNotFoundError, match=message):
        load_wfdb(ward / name)


@pytest.mark.parametrize("paths", [b"ward", 1, None, [b"ward"], [1], "", [""]])
def test_only_paths_are_paths(paths):
    with pytest.raises(TypeError, match="paths"):
        load_wfdb(paths)


def test_records_of_both_formats_are_found_and_loaded(ward, signal):
    edfio = pytest.importorskip("edfio", reason="needs the extra edf")
    lead = edfio.EdfSignal(signal[:, 0], FS, label="I", physical_dimension="mV")
    edfio.Edf([lead]).write(ward / "c1.edf")
    found = find_records(ward)
    assert [name for name, _ in found] == ["a1", "a2", "c1", "b1"]
    for name, path in found:
        ecg = load_any(path, window_length=1000, channel="I")
        assert ecg.record == [name]
        np.testing.assert_allclose(ecg.data[0], signal[:, 0], atol=1e-4)
    assert list(load_any(ward, channel="I", window_length=1000).record) == [
        name for name, _ in found
    ]
    edfio.Edf([lead]).write(ward / "a1.edf")
    with pytest.raises(ValueError, match=r"a1 2 times, as .*a1, .*a1\.edf"):
        find_records(ward)
    with pytest.raises(FileNotFoundError, match="no EDF record: load it with load_wf"):
        load_edf(ward / "a2")


# --- patients


def test_a_mapping_names_the_patient_of_each_record(ward):
    groups = {"a1": "Ann", "a2": "Bob", "b1": "Ann", "not loaded": "Eve"}
    ecg = load_wfdb(ward, groups=groups)
    assert list(ecg.record[::4]) == ["a1", "a2", "b1"]
    assert list(ecg.groups[::4]) == ["Ann", "Bob", "Ann"]
    by_number = load_wfdb(ward / "a1", groups={"a1": 7})
    assert set(by_number.groups) == {"7"}
    del groups["a2"]
    with pytest.raises(ValueError, match="no patient for 1 of 3 records, 'a2'"):
        load_wfdb(ward, groups=groups)


@pytest.mark.parametrize("groups", ["Ann", b"Ann", {"x", "y", "z"}, 3])
def test_patients_without_an_order_are_refused(ward, groups):
    with pytest.raises(TypeError, match=r"groups=.*expected one patient for each"):
        load_wfdb(ward, groups=groups)


def test_the_split_of_a_patient_depends_on_the_name_alone():
    names = np.array([f"patient{i}" for i in range(1000)])
    train, validation = split_patients(names.repeat(2), 0.25)
    assert train.dtype == validation.dtype == np.int64
    assert sorted([*train, *validation]) == list(range(2000))
    share = [
        int(hashlib.sha256(n.encode()).hexdigest()[:16], 16) / 2**64 for n in names
    ]
    expected = names[np.array(share) < 0.25]
    np.testing.assert_array_equal(names.repeat(2)[validation], expected.repeat(2))


def test_the_patients_for_validation_may_be_named():
    train, validation = split_patients([100, 103, 100, 105], {100, "105"})
    assert (train.tolist(), validation.tolist()) == ([1], [0, 2, 3])
    for none in (0, []):
        train, validation = split_patients(["Ann", "Bob"], none)
        assert (train.tolist(), validation.tolist()) == ([0, 1], [])
    with pytest.warns(UserWarning, match="without windows: Eve"):
        split_patients(["Ann", "Bob"], ["Eve", "Bob"])


@pytest.mark.parametrize(
    ("groups", "validation", "message"),
    [
        (["Ann"], 0.1, "puts all 1 patients into one split"),
        (["Ann", "Bob"], "Ann", "validation='Ann'"),
        (["Ann", "Bob"], b"Ann", "validation=b'Ann'"),
        (["Ann", "Bob"], 1.5, r"validation=1\.5"),
        (["Ann", "Bob"], True, "validation=True"),
        ([["Ann"], ["Bob"]], 0.1, r"the shape \(2, 1\)"),
        ("Ann", 0.1, r"the shape \(\)"),
    ],
)
def test_splits_that_make_no_sense_are_refused(groups, validation, message):
    with pytest.raises(ValueError, match=message):
        split_patients(groups, validation)


# --- leads


def test_several_leads_are_an_axis(record, signal):
    for channel in ("all", ["I", "II"], [0, "II"], (c for c in (0, 1))):
        ecg = load_wfdb(record, channel=channel, window_length=300)
        assert ecg.data.shape == (3, 2, 300)
        np.testing.assert_allclose(
            ecg.data, signal[:900].reshape(3, 300, 2).transpose(0, 2, 1)
        )
        assert ecg.lead.tolist() == [["I", "II"]] * 3
        assert (ecg.start.tolist(), set(ecg.groups)) == ([0, 300, 600], {"a1"})
    reversed_leads = load_wfdb(record, channel=["II", "I"], window_length=300)
    np.testing.assert_array_equal(reversed_leads.data, ecg.data[:, ::-1])
    assert load_wfdb(record, channel=["II"]).data.shape == (4, 1, 250)


def test_several_leads_are_rows(record, signal):
    ecg = load_wfdb(record, channel="all", leads="rows", window_length=300)
    np.testing.assert_allclose(ecg.data, signal[:900].T.reshape(6, 300))
    assert list(ecg.lead) == ["I"] * 3 + ["II"] * 3
    assert list(ecg.start) == [0, 300, 600, 0, 300, 600]
    assert set(ecg.record) == set(ecg.groups) == {"a1"}


def test_leads_changes_nothing_for_one_channel(record):
    axis, rows = (load_wfdb(record, channel=1, leads=le) for le in ("axis", "rows"))
    np.testing.assert_array_equal(axis.data, rows.data)
    assert axis.data.shape == (4, 250)
    assert axis.lead.shape == rows.lead.shape == (4,)


def test_an_axis_needs_the_same_leads_in_all_records(tmp_path, signal):
    paths = [
        write_record(tmp_path, "a", signal),
        write_record(tmp_path, "b", signal, leads=("II", "I")),
        write_record(tmp_path, "c", signal[:, :1], leads=("I",)),
    ]
    with pytest.raises(ValueError, match=r"has the leads I, and .*leads='rows'"):
        load_wfdb(paths[::2], channel="all")
    in_order = load_wfdb(paths[:2], channel="all", window_length=1000)
    assert in_order.lead.tolist() == [["I", "II"], ["I", "II"]]
    np.testing.assert_allclose(in_order.data, [signal.T, signal.T[::-1]])
    rows = load_wfdb(paths, channel="all", leads="rows", window_length=1000)
    assert list(rows.lead) == ["I", "II", "II", "I", "I"]
    assert list(rows.record) == ["a", "a", "b", "b", "c"]
    np.testing.assert_allclose(rows.data, signal.T[[0, 1, 0, 1, 0]])
    by_name = load_wfdb(paths[:2], channel=["I", "II"], window_length=1000)
    np.testing.assert_allclose(by_name.data, [signal.T, signal.T[::-1]])
    by_index = load_wfdb(paths[:2], channel=[0, 1], window_length=1000)
    assert by_index.lead.tolist() == [["I", "II"], ["II", "I"]]


def test_leads_of_different_rates_share_an_axis_after_resampling(tmp_path):
    record = write_fast_record(tmp_path, "m", 0, 500)
    with pytest.raises(ValueError, match=r"differ in sampling frequency: fast.*fs="):
        load_wfdb(record, channel="all")
    ecg = load_wfdb(record, channel="all", fs=4 * FS, window_length=2000)
    assert ecg.data.shape == (1, 2, 2000)
    fast = np.arange(2000) / 1000
    np.testing.assert_allclose(ecg.data[0, 1], fast)
    np.testing.assert_allclose(ecg.data[0, 0, 200:-200], fast[200:-200] / 4, atol=1e-3)


def test_a_window_of_leads_is_dropped_if_one_lead_is_invalid(tmp_path, signal):
    signal[510:520, 0] = np.nan
    record = write_record(tmp_path, "a1", signal)
    options = {"channel": "all", "window_length": 100}
    with pytest.raises(ValueError, match="1 of the 10 windows"):
        load_wfdb(record, **options)
    ecg = load_wfdb(record, missing="drop", **options)
    assert list(ecg.start) == [0, 100, 200, 300, 400, 600, 700, 800, 900]
    assert np.isnan(load_wfdb(record, missing="keep", **options).data).sum() == 10
    rows = load_wfdb(record, missing="drop", leads="rows", **options)
    assert len(rows.data) == 19


def test_scale_record_of_leads(record, signal):
    signal[:, 1] /= 4
    record = write_record(record.parent, "a1", signal)
    options = {"channel": "all", "window_length": 1000, "scale": "record"}
    axis = load_wfdb(record, **options)
    low, high = signal.min(), signal.max()
    np.testing.assert_allclose(axis.data[0], (signal.T - low) / (high - low), atol=1e-3)
    rows = load_wfdb(record, leads="rows", **options)
    assert (rows.data.min(axis=1).tolist(), axis.unit) == ([0, 0], None)
    assert rows.data.max(axis=1).tolist() == [1, 1]


# --- rates, units and lengths


def test_window_seconds_are_rounded_to_samples(record):
    assert load_wfdb(record, window_seconds=1).data.shape == (4, 250)
    ecg = load_wfdb(record, window_seconds=0.333)
    assert ecg.data.shape == (12, 83)
    assert len(ecg.feature_names) == 83
    assert load_wfdb(record, window_seconds=1, fs=125).data.shape == (4, 125)


def test_records_of_several_rates_are_resampled_as_a_whole(tmp_path):
    paths = []
    for fs in (360, 500):  # ten seconds of 3 Hz
        wave = np.sin(2 * np.pi * 3 * np.arange(10 * fs) / fs)[:, None]
        paths.append(write_record(tmp_path, f"r{fs}", wave, leads=("I",), fs=fs))
    ecg = load_wfdb(paths, fs=250, window_seconds=2)
    assert (ecg.data.shape, ecg.fs) == ((10, 500), 250)
    assert list(ecg.start) == [0, 500, 1000, 1500, 2000] * 2
    expected = np.sin(2 * np.pi * 3 * np.arange(2500) / 250)
    for record in ecg.data.reshape(2, 2500):
        np.testing.assert_allclose(record[100:-100], expected[100:-100], atol=2e-3)


def test_voltages_are_converted_to_millivolts(tmp_path, signal):
    paths = [
        write_record(tmp_path, "a", signal),
        write_record(tmp_path, "b", signal * 1000, unit="uV", gain=1),
        write_record(tmp_path, "c", signal / 1000, unit="V", gain=1_000_000),
    ]
    ecg = load_wfdb(paths, channel="all", window_length=1000)
    assert ecg.unit == "mV"
    np.testing.assert_allclose(ecg.data, [signal.T] * 3)
    other = write_record(tmp_path, "d", signal, unit="mmHg")
    assert load_wfdb(other).unit == "mmHg"


def test_short_records_are_skipped_with_one_warning(tmp_path, signal):
    paths = [
        write_record(tmp_path, name, signal[:n])
        for name, n in {"a": 200, "b": 1000, "c": 100, "d": 400}.items()
    ]
    message = "Skipped 2 of 4 records.*a has 200 samples, fewer than 250.*1 others"
    with pytest.warns(UserWarning, match=message) as caught:
        ecg = load_wfdb(paths, groups=list("wxyz"))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert list(ecg.record) == ["b"] * 4 + ["d"]
    assert list(ecg.groups) == ["x"] * 4 + ["z"]
    with pytest.raises(TooShortError, match=r"No record.*a has 200 samples.*1 others"):
        load_wfdb(paths[::2])


def test_the_rate_of_a_skipped_record_does_not_matter(tmp_path, signal):
    paths = [
        write_record(tmp_path, "a", signal[:100], fs=500, unit="mmHg"),
        write_record(tmp_path, "b", signal),
    ]
    with pytest.warns(UserWarning, match="Skipped 1 of 2 records"):
        ecg = load_wfdb(paths, window_seconds=1)
    assert (ecg.data.shape, ecg.fs, ecg.unit) == ((4, 250), FS, "mV")


# --- arrays


def test_windows_from_an_array_are_those_of_a_file(record, signal):
    file = load_wfdb(record, channel="all", fs=125, window_seconds=1)
    array = windows_from(
        signal.T,
        fs=FS,
        unit="mV",
        lead=["I", "II"],
        record="a1",
        output_fs=125,
        window_seconds=1,
    )
    assert file.keys() == array.keys()
    for key in ("record", "groups", "lead", "start"):
        np.testing.assert_array_equal(array[key], file[key])
    np.testing.assert_allclose(array.data, file.data)
    assert (array.fs, array.unit) == (file.fs, file.unit)


def test_windows_from_one_lead(signal):
    ecg = windows_from(signal[:, 0], fs=FS, group="Ann")
    assert (ecg.data.shape, ecg.lead.shape) == ((4, 250), (4,))
    assert (ecg.unit, ecg.lead[0], ecg.record[0], ecg.groups[0]) == (
        None,
        "0",
        "0",
        "Ann",
    )
    assert windows_from(signal[None, :, 0], fs=FS).data.shape == (4, 1, 250)
    rows = windows_from(signal.T, fs=FS, leads="rows", lead=["I", "II"])
    assert (rows.data.shape, rows.lead.tolist()) == ((8, 250), ["I"] * 4 + ["II"] * 4)


def test_windows_from_integers_of_a_text_file():
    file = StringIO("time,I,II\n" + "0,1000,-2000\n" * 500)
    table = np.loadtxt(file, delimiter=",", skiprows=1, dtype=int)
    ecg = windows_from(table[:, 1:].T, fs=500, unit="µV")
    assert (ecg.data.dtype, ecg.unit) == (np.float64, "mV")
    np.testing.assert_allclose(ecg.data, [[[1.0] * 250, [-2.0] * 250]] * 2)


def test_windows_from_does_not_share_memory(signal):
    samples = np.ascontiguousarray(signal[:, 0])
    windows_from(samples, fs=FS).data[:] = 9
    np.testing.assert_array_equal(samples, signal[:, 0])


def test_invalid_samples_of_an_array_are_nan_or_masked(signal):
    lead = signal[:, 0]
    gap = np.where(np.arange(1000) == 600, np.nan, lead)
    masked = np.ma.masked_array((lead * 1000).astype(int), np.isnan(gap))
    for samples in (gap, masked):
        with pytest.raises(ValueError, match="1 of the 4 windows"):
            windows_from(samples, fs=FS)
        ecg = windows_from(samples, fs=FS, missing="drop")
        assert list(ecg.start) == [0, 250, 750]


@pytest.mark.parametrize(
    ("samples", "options", "error", "message"),
    [
        (np.zeros((1000, 2)), {}, ValueError, r"1000 leads of 2 samples.*signal\.T"),
        (np.zeros((2, 3, 1000)), {}, ValueError, r"the shape \(2, 3, 1000\)"),
        (5.0, {}, ValueError, r"the shape \(\)"),
        ([], {}, ValueError, "0 sample"),
        ([1.0, np.inf], {}, ValueError, "infinity"),
        (np.zeros(9, complex), {}, ValueError, "Complex"),
        (["1.5"] * 9, {}, TypeError, "dtype <U3"),
        (np.zeros(9, "M8[s]"), {}, ValueError, "dates"),
        (np.zeros(99), {}, TooShortError, "has 99 samples, fewer than 250"),
        (np.zeros(999), {"fs": None}, ValueError, "fs=None"),
        (np.zeros(999), {"fs": -1}, ValueError, "fs=-1"),
        (np.zeros(999), {"output_fs": 0}, ValueError, "fs=0"),
        (np.zeros(999), {"lead": ["I", "II"]}, ValueError, "expected 1 different"),
        (np.zeros(999), {"lead": 1}, TypeError, "lead=1"),
        (np.zeros((2, 999)), {"lead": [0, 1]}, TypeError, r"lead=\[0, 1\]"),
        (np.zeros((2, 999)), {"lead": ["I", "I"]}, ValueError, "2 different names"),
        (np.zeros((2, 999)), {"lead": "I"}, ValueError, "2 different names"),
        (np.zeros((2, 999)), {"leads": 2}, ValueError, "leads=2"),
        (np.zeros(999), {"unit": ["mV"]}, TypeError, "unit="),
    ],
)
def test_arrays_that_are_no_signal(samples, options, error, message):
    with pytest.raises(error, match=message):
        windows_from(samples, **{"fs": FS, **options})


# --- MIT-BIH


def test_load_ecg_at_another_rate(ecg):
    other = load_ecg(fs=250, window_seconds=2)
    assert (other.data.shape, other.fs) == ((150, 500), 250)
    assert other.start[0] / 250 == pytest.approx(ecg.start[0] / 360, abs=1 / 250)
    assert load_ecg(window_seconds=2).data.shape == (150, 720)


def test_the_halves_share_no_patient():
    patients = [
        {_mitdb._SAME_PATIENT.get(name, name) for name in _mitdb._SPLITS[split]}
        for split in ("ds1", "ds2")
    ]
    assert [len(p) for p in patients] == [22, 21]
    assert not patients[0] & patients[1]
    assert len(_mitdb._SPLITS[None]) == len(set(_mitdb._SPLITS[None])) == 48


def test_fetch_reads_a_local_copy(tmp_path, signal, monkeypatch):
    folder = tmp_path / "mitdb"
    folder.mkdir()
    for name in ("201", "202", "103"):
        write_record(folder, name, signal)
    monkeypatch.setenv("SKTOK_DATA", str(tmp_path))
    ecg = fetch_mitdb()
    assert list(np.unique(ecg.record)) == ["103", "201", "202"]
    assert list(np.unique(ecg.groups)) == ["103", "201"]
    assert len(ecg.absent) == 45
    assert set(fetch_mitdb("ds1").record) == {"201"}
    assert set(fetch_mitdb("ds2", data_home=tmp_path).record) == {"103"}
    assert fetch_mitdb(["202"]).absent == []
    assert fetch_mitdb("ds2", scale="record").unit is None
    options = {"channel": "all", "leads": "rows", "fs": 125, "window_seconds": 1}
    rows = fetch_mitdb(["103"], **options)
    assert (rows.data.shape, rows.fs) == ((8, 125), 125)


@pytest.mark.parametrize("split", ["ds3", ["999"], []])
def test_fetch_refuses_unknown_splits(tmp_path, split):
    with pytest.raises(ValueError, match="split="):
        fetch_mitdb(split, data_home=tmp_path)


def test_fetch_without_a_network_says_where_to_put_the_files(tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise requests.exceptions.ConnectionError("no route to host")

    monkeypatch.setattr(requests, "get", no_network)
    with pytest.raises(OSError, match=r"no route to host.*by hand.*SKTOK_DATA") as e:
        fetch_mitdb("ds2", data_home=tmp_path)
    assert str(tmp_path / "mitdb") in str(e.value)
    assert not list((tmp_path / "mitdb").iterdir())
    with pytest.raises(OSError, match=r"100 are not in .*download_if_missing=False"):
        fetch_mitdb(["100"], data_home=tmp_path, download_if_missing=False)


@pytest.fixture
def server(tmp_path, signal, monkeypatch):
    """A folder that requests reads instead of PhysioNet."""
    source = tmp_path / "physionet"
    source.mkdir()
    for name in ("100", "103"):
        write_record(source, name, signal)
        (source / f"{name}.atr").write_bytes(b"\x00\x00")

    def get(url, timeout):
        path = source / url.rpartition("/")[2]
        if not path.exists():
            raise requests.exceptions.ConnectionError("connection reset")
        response = requests.Response()
        response.status_code, response._content = 200, path.read_bytes()
        return response

    monkeypatch.setattr(requests, "get", get)
    return source


def test_fetch_downloads_absent_records(tmp_path, server, signal):
    home = tmp_path / "home"
    ecg = fetch_mitdb(["100"], data_home=home, window_length=1000)
    np.testing.assert_allclose(ecg.data[0], signal[:, 0])
    files = {p.name for p in (home / "mitdb").iterdir()}
    assert files == {"100.hea", "100.dat", "100.atr", _mitdb._DOWNLOADED}
    assert [p.name for p in home.iterdir()] == ["mitdb"]
    with pytest.raises(OSError, match="connection reset"):  # 105 is next
        fetch_mitdb("ds2", data_home=home)
    assert set(fetch_mitdb(["100", "103"], data_home=home).record) == {"100", "103"}


def test_an_interrupted_download_leaves_no_partial_record(tmp_path, server):
    home = tmp_path / "home"
    (server / "103.atr").rename(server / "kept")
    with pytest.raises(OSError, match="connection reset"):
        fetch_mitdb(["100", "103"], data_home=home)
    assert not list((home / "mitdb").glob("103*"))
    assert [p.name for p in home.iterdir()] == ["mitdb"]
    (server / "kept").rename(server / "103.atr")
    assert set(fetch_mitdb(["100", "103"], data_home=home).record) == {"100", "103"}


@pytest.mark.parametrize("damage", [flip_a_bit, cut_short])
def test_a_damaged_download_leaves_no_partial_record(tmp_path, server, damage):
    whole = (server / "103.dat").read_bytes()
    damage(server / "103.dat")
    home = tmp_path / "home"
    with pytest.raises(ValueError, match="damaged"):
        fetch_mitdb(["100", "103"], data_home=home)
    assert not list((home / "mitdb").glob("103*"))
    (server / "103.dat").write_bytes(whole)
    assert set(fetch_mitdb(["100", "103"], data_home=home).record) == {"100", "103"}


def test_the_real_halves(mitdb_home):
    ecg = fetch_mitdb("ds1", data_home=mitdb_home)
    present = 22 - len(ecg.absent)
    assert ecg.data.shape == (2600 * present, 250)
    assert (ecg.fs, ecg.unit) == (360, "mV")
    one = fetch_mitdb(["100"], data_home=mitdb_home, scale="record")
    assert one.data.shape == (2600, 250)
    assert (one.data.min(), one.data.max()) == (0, 1)
    assert set(one.lead) == {"MLII"}


def forge(record, old, new):
    header = record.with_name(record.name + ".hea")
    header.write_text(header.read_text().replace(old, new))


HOSTILE = {
    "a path": ("a1.dat 16", "../../etc/passwd 16", "not a readable WFDB record"),
    "an absolute path": ("a1.dat 16", "/etc/passwd 16", "not a readable WFDB record"),
    "an address": ("a1.dat 16", "http://localhost/a1.dat 16", "not a readable WFDB"),
    "too many samples": (" 250 1000", " 250 1000000000000", "counts 2000000000000"),
    "too many in a frame": ("16 1000", "16x9999999999 1000", "counts 1999"),
    "too large a skew": ("16 1000", "16:9999999999 1000", "shifted by 9999999999"),
    "no frequency": ("a1 2 250 ", "a1 2 0 ", "a sampling frequency of 0 Hz"),
    "no gain": ("16 1000(0)", "16 1e-320(0)", "a gain of 1e-320, which is impossible"),
    "a long line": ("a1 2", "a" * 100_000 + " 2", "a line of more than 1024 bytes"),
    "many lines": ("a1 2", "a1 2\n" * 10_000, "more than 1024 lines"),
}


@pytest.mark.parametrize(("old", "new", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_headers(record, old, new, message):
    assert old in record.with_name("a1.hea").read_text()
    forge(record, old, new)
    with pytest.raises(ValueError, match=message):
        load_wfdb(record)


def test_a_pipe_does_not_block(record):
    os.remove(record.with_name("a1.dat"))
    os.mkfifo(record.with_name("a1.dat"))
    with pytest.raises(FileNotFoundError, match=r"a1\.dat"):
        load_wfdb(record)


def test_files_behind_links_are_read(tmp_path, record, signal):
    (tmp_path / "links").mkdir()
    for name in ("a1.hea", "a1.dat"):
        (tmp_path / "links" / name).symlink_to(tmp_path / name)
    ecg = load_wfdb(tmp_path / "links" / "a1", window_length=1000)
    np.testing.assert_allclose(ecg.data[0], signal[:, 0])


def test_a_header_has_to_list_the_signals_of_a_file_together(tmp_path, signal):
    record = write_record(tmp_path, "a1", signal.repeat(2, 1), leads="abcd")
    lines = record.with_name("a1.hea").read_text().splitlines()
    lines[2] = lines[2].replace("a1.dat", "a2.dat")
    record.with_name("a1.hea").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="list the signals of a file together"):
        load_wfdb(record, channel=2)


SEGMENTS = {
    "itself": ("a/2 2 250 2000\na 1000\nb 1000\n", "A segment of .* has segments"),
    "too few": ("a/3 2 250 2000\nb 1000\nc 1000\n", "says that it has 3 segments"),
    "a long gap": (f"a/3 2 250 9\nb 1000\n~ {10**12}\nc 1000\n", "leaves gaps of 1000"),
    "a wrong length": ("a/2 2 250 1500\nb 1000\nc 500\n", "has another length"),
    "other leads": ("a/2 2 250 2000\nb 1000\nd 1000\n", "hold different leads"),
}


@pytest.mark.parametrize(("header", "message"), SEGMENTS.values(), ids=SEGMENTS)
def test_hostile_segments(tmp_path, signal, header, message):
    for name, leads in {"b": ("I", "II"), "c": ("I", "II"), "d": ("II", "I")}.items():
        write_record(tmp_path, name, signal, leads)
    (tmp_path / "a.hea").write_text(header)
    with pytest.raises(ValueError, match=message):
        load_wfdb(tmp_path / "a")


def test_a_segment_is_read_by_its_name_in_the_header_of_the_record(tmp_path, signal):
    for name, part in {"b": signal, "c": -signal}.items():
        write_record(tmp_path, name, part)
    forge(tmp_path / "b", "b 2", "c 2")
    (tmp_path / "a.hea").write_text("a/2 2 250 2000\nb 1000\nc 1000\n")
    ecg = load_wfdb(tmp_path / "a", window_length=1000)
    np.testing.assert_allclose(ecg.data, [signal[:, 0], -signal[:, 0]])


@pytest.mark.parametrize("patient", [np.nan, None, ("a", "b"), 1.0, ""])
def test_what_names_no_patient_is_refused(record, patient):
    with pytest.raises(TypeError, match="expected the name of a patient"):
        load_wfdb(record, groups=[patient])
    with pytest.raises(TypeError, match="expected the name of a patient"):
        windows_from(np.zeros(500), fs=250, group=patient or "")
    with pytest.raises(TypeError, match="expected the name of a patient"):
        split_patients(pd.Series(["x", patient], dtype=object), ["x"])


def test_a_series_of_patients_is_refused(record):
    with pytest.raises(TypeError, match=r"groups\.to_dict\(\)"):
        load_wfdb(record, groups=pd.Series({record.name: "Ann"}))


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float16, np.float32])
def test_rates_of_small_types_do_not_overflow(kind):
    x = np.zeros(25_000)
    ecg = windows_from(x, fs=kind(250), window_seconds=kind(2), output_fs=kind(125))
    assert ecg.data.shape == (50, 250)
    assert ecg.fs == 125
    assert isinstance(ecg.fs, int | float)


@pytest.mark.parametrize("names", [{"I", "II"}, {"I": 0, "II": 1}])
def test_leads_have_an_order(record, names):
    with pytest.raises(TypeError, match="leads have an order"):
        windows_from(np.zeros((2, 500)), fs=250, lead=names)
    with pytest.raises(TypeError, match="leads have an order"):
        load_wfdb(record, channel=names)


def test_a_slow_lead_is_named_and_not_called_short(tmp_path, signal):
    fast, slow = signal[:, 0], signal[:20, 0]
    leads = [Signal(fast, 360, "mV", "I"), Signal(slow, 2, "mV", "slow")]
    with pytest.raises(ValueError, match="slow of record r has 2, I of r has 360"):
        to_bunch([leads], ["r"], ["p"], leads="rows")


def test_a_table_of_samples(signal):
    frame = pd.DataFrame(signal[:, :2])
    expected = windows_from(signal[:, :2].T, fs=360)
    found = windows_from(frame.T, fs=360)
    np.testing.assert_array_equal(found.data, expected.data)


def test_dead_links_are_no_records(tmp_path, record):
    (record.parent / "dead.hea").symlink_to(tmp_path / "nothing.hea")
    assert set(load_wfdb(record.parent).record) == {record.name}
