"""Loaders: real ECG, intact and damaged WFDB records, and MIT-BIH."""

import os

import numpy as np
import pytest
import requests
import wfdb

from sktok.datasets import _mitdb, fetch_mitdb, load_ecg, load_wfdb

FS = 250


def write_record(folder, name, signal, leads=("I", "II"), fs=FS, unit="mV"):
    """Write a WFDB record of 16 bits, with steps of 1/1000 unit."""
    n_leads = len(leads)
    wfdb.wrsamp(
        name,
        fs=fs,
        units=[unit] * n_leads,
        sig_name=list(leads),
        p_signal=signal,
        fmt=["16"] * n_leads,
        adc_gain=[1000] * n_leads,
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
        ({"window_length": 1001}, "1000 samples, fewer than window_length=1001"),
        ({"window_length": 0}, "window_length=0"),
        ({"window_length": True}, "window_length=True"),
        ({"window_length": 2.5}, r"window_length=2\.5"),
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
    with pytest.raises(ValueError, match=r"differ in sampling frequency.*500"):
        load_wfdb(paths)
    paths[1] = write_record(tmp_path, "c", signal, unit="uV")
    with pytest.raises(ValueError, match=r"or unit.*uV"):
        load_wfdb(paths)
    assert load_wfdb(paths, scale="record").data.min() >= 0
    with pytest.raises(ValueError, match="paths is empty"):
        load_wfdb([])


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


def test_a_folder_that_wfdb_reads_as_two_paths_is_refused(tmp_path, signal):
    (tmp_path / "a::b").mkdir()
    record = write_record(tmp_path / "a::b", "a1", signal)
    with pytest.raises(ValueError, match=r"has :: in its name.*rename it"):
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
    "one twice": ("a/2 2 250 2000\nb 1000\nb 1000\n", "1 of them different"),
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
