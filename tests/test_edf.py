"""EDF, EDF+ and BDF files: leads, gaps, damage and forged headers."""

import os
import sys

import numpy as np
import pytest

from sktok.datasets import load_edf

edfio = pytest.importorskip("edfio", reason="needs the extra edf")

FS = 250


def lead(samples, label="II", fs=FS, unit="mV", form=edfio.EdfSignal):
    """A lead with exact steps of 1/1000 unit."""
    return form(
        samples,
        fs,
        label=label,
        physical_dimension=unit,
        physical_range=(-32, 32),
        digital_range=(-32000, 32000),
    )


def write(path, *leads, **options):
    form = edfio.Bdf if isinstance(leads[0], edfio.BdfSignal) else edfio.Edf
    form(leads, **options).write(path)
    return path


@pytest.fixture
def signal():
    """1,000 samples of two leads, in steps of 1/1000 mV."""
    return np.random.default_rng(0).integers(-2000, 2000, (2, 1000)) / 1000


@pytest.fixture
def file(tmp_path, signal):
    return write(tmp_path / "a1.edf", lead(signal[0], "I"), lead(signal[1]))


@pytest.mark.parametrize("channel", [0, 1, "I", "II"])
def test_a_lead_by_index_or_name(file, signal, channel):
    ecg = load_edf(file, channel=channel, window_length=300)
    row = ["I", "II"].index(channel) if isinstance(channel, str) else channel
    np.testing.assert_allclose(ecg.data.ravel(), signal[row, :900])
    assert (ecg.fs, ecg.unit, set(ecg.lead)) == (FS, "mV", {["I", "II"][row]})
    assert set(ecg.record) == set(ecg.groups) == {"a1"}
    assert list(ecg.start) == [0, 300, 600]


def test_several_leads(file, signal):
    ecg = load_edf(file, channel="all", window_length=1000)
    np.testing.assert_allclose(ecg.data[0], signal)
    rows = load_edf(file, channel=["II", "I"], leads="rows", window_length=1000)
    np.testing.assert_allclose(rows.data, signal[::-1])


def test_paths_of_edf_files(tmp_path, file, signal):
    (tmp_path / "night").mkdir()
    write(tmp_path / "night" / "B.EDF", lead(signal[0]))
    write(tmp_path / "night" / "._B.EDF", lead(signal[0]))  # as macOS writes them
    (tmp_path / ".trash").mkdir()
    write(tmp_path / ".trash" / "C.edf", lead(signal[0]))
    for paths in (tmp_path, [file, tmp_path / "night" / "B"], tmp_path / "**/*.[eE]*"):
        assert list(load_edf(paths, window_length=1000).record) == ["a1", "B"]
    assert set(load_edf(tmp_path / "a*").record) == {"a1"}
    with pytest.raises(FileNotFoundError, match=r"no EDF record .*a2: give the path"):
        load_edf(tmp_path / "a2")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no EDF record in the folder"):
        load_edf(tmp_path / "empty")


def test_leads_of_several_rates_and_units(tmp_path):
    times = {fs: np.arange(4 * fs) / fs for fs in (250, 1000)}
    slow, fast = (np.sin(2 * np.pi * t) for t in times.values())
    file = write(
        tmp_path / "a.edf",
        lead(slow, "slow"),
        lead(fast * 20, "fast", fs=1000, unit="uV"),
    )
    assert load_edf(file, channel="fast", window_length=4000).fs == 1000
    with pytest.raises(ValueError, match=r"differ in sampling frequency.*fs="):
        load_edf(file, channel="all")
    ecg = load_edf(file, channel="all", fs=250, window_length=1000)
    assert (ecg.data.shape, ecg.unit) == ((1, 2, 1000), "mV")
    inner = slice(100, -100)
    np.testing.assert_allclose(ecg.data[0, 0], slow, atol=1e-3)
    np.testing.assert_allclose(
        ecg.data[0, 1, inner], slow[inner] * 20 / 1000, atol=1e-4
    )


def test_the_rate_is_exact(tmp_path):
    file = tmp_path / "a.edf"
    write(file, lead(np.zeros(7000), fs=100), data_record_duration=0.07)
    assert 7 / 0.07 != 100
    assert load_edf(file).fs == 100


def test_labels_and_units_are_stripped_and_may_be_absent(tmp_path, file, signal):
    patch(file, 256, b"  I ")
    patch(file, 256 + 2 * 96, b" uV")  # after two labels and two transducers
    ecg = load_edf(file, channel="I", window_length=1000)
    assert ecg.unit == "mV"
    np.testing.assert_allclose(ecg.data[0], signal[0] / 1000)
    file = write(tmp_path / "b.edf", lead(signal[0], "", unit=""))
    ecg = load_edf(file)
    assert (set(ecg.lead), ecg.unit) == ({"0"}, None)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_letters_outside_ascii(file, signal, encoding):
    patch(file, 256, "Ableitung Ä".encode(encoding))
    patch(file, 256 + 2 * 96, "µV".encode(encoding))
    ecg = load_edf(file, channel="Ableitung Ä", window_length=1000)
    np.testing.assert_allclose(ecg.data[0], signal[0] / 1000)


def test_leads_of_the_same_name(tmp_path, signal):
    file = write(tmp_path / "a.edf", lead(signal[0], "ECG"), lead(signal[1], "ECG"))
    ecg = load_edf(file, channel="all", window_length=1000)
    assert ecg.lead.tolist() == [["ECG", "ECG#2"]]
    np.testing.assert_allclose(ecg.data[0], signal)
    np.testing.assert_allclose(load_edf(file, channel=1).data.ravel(), signal[1])
    with pytest.raises(ValueError, match=r"Record a\.edf has 2 leads.*'ECG'"):
        load_edf(file, channel="ECG")


@pytest.mark.parametrize("form", [edfio.EdfSignal, edfio.BdfSignal])
def test_annotations_are_no_lead(tmp_path, signal, form):
    events = [edfio.EdfAnnotation(0.5, None, "beat")]
    file = write(tmp_path / "a.bdf", lead(signal[0], form=form), annotations=events)
    assert b"Annotations" in file.read_bytes()
    np.testing.assert_allclose(load_edf(file).data.ravel(), signal[0])
    with pytest.raises(ValueError, match="its 1 leads are II"):
        load_edf(file, channel=1)
    alone = tmp_path / "b.edf"
    edfio.Edf([], annotations=events).write(alone)
    with pytest.raises(ValueError, match=r"its 0 leads are \(none\)"):
        load_edf(alone)


# --- discontinuous files


def as_discontinuous(file, onsets):
    """Give the four data records of `timed` other times."""
    content = bytearray(file.read_bytes().replace(b"EDF+C", b"EDF+D"))
    n_bytes = (len(content) - 256 * 4) // 4  # in a data record
    n_leads = 2 * (FS + 100)  # bytes of leads; annotations follow
    for record, onset in enumerate(onsets):
        field = f"+{onset}\x14\x14".encode().ljust(n_bytes - n_leads, b"\x00")
        end = 256 * 4 + n_bytes * (record + 1)
        content[end - len(field) : end] = field
    file.write_bytes(content)
    return file


@pytest.fixture
def timed(tmp_path, signal):
    """An EDF+C file of four data records, with room for other times in them."""
    events = [edfio.EdfAnnotation(3.5, None, "a long text makes room")]
    leads = lead(signal[0]), lead(np.arange(400) / 1000, "slow", fs=100)
    return write(tmp_path / "a.edf", *leads, annotations=events, data_record_duration=1)


def test_gaps_are_invalid_samples(timed, signal):
    as_discontinuous(timed, [0, "1.0", 4, "6.5"])
    ecg = load_edf(timed, window_length=125, missing="keep")
    invalid = np.isnan(ecg.data)
    assert (invalid.any(axis=1) == invalid.all(axis=1)).all()
    assert ecg.data.shape == (15, 125)
    kept = load_edf(timed, window_length=125, missing="drop")
    assert [start / FS for start in kept.start] == [0, 0.5, 1, 1.5, 4, 4.5, 6.5, 7]
    np.testing.assert_allclose(kept.data.ravel(), signal[0])
    slow = load_edf(timed, channel="slow", window_length=50, missing="drop")
    assert [start / 100 for start in slow.start] == [0, 0.5, 1, 1.5, 4, 4.5, 6.5, 7]


def test_the_first_time_may_be_any(timed, signal):
    as_discontinuous(timed, ["0.25", "1.25", "2.25", "3.25"])
    np.testing.assert_allclose(load_edf(timed).data.ravel(), signal[0])


def test_rounded_times_make_no_gaps(timed, signal):
    as_discontinuous(timed, [0, "1.002", "1.999", "3.001"])
    np.testing.assert_allclose(load_edf(timed).data.ravel(), signal[0])


@pytest.mark.parametrize(
    ("onsets", "message"),
    [
        ([0, 1, "1.5", 3], "data records overlap"),
        ([0, 1, "9e9", "9000000001"], "leave gaps of 224999999[0-9]* samples"),
        ([0, 1, "nan", 3], "leave gaps"),
        ([0, "x"], "a data record has no valid time"),
    ],
)
def test_times_that_make_no_sense(timed, onsets, message):
    with pytest.raises(ValueError, match=f"a.edf is not a readable EDF.*{message}"):
        load_edf(as_discontinuous(timed, onsets))


def test_a_discontinuous_file_without_times(file):
    patch(file, 192, b"EDF+D")
    with pytest.raises(ValueError, match="no times of its data records"):
        load_edf(file)


# --- BDF


def test_bdf_files_have_24_bits(tmp_path, signal):
    large = np.round(signal[0] * 4e6)
    leads = [
        edfio.BdfSignal(large, FS, label="II", physical_range=(-(2**23), 2**23 - 1)),
        lead(signal[1], "V1", form=edfio.BdfSignal),
    ]
    leads[0].physical_dimension = "nV"
    file = write(tmp_path / "a.bdf", *leads)
    ecg = load_edf(tmp_path, channel="all", window_length=1000)
    assert set(ecg.record) == {"a"}
    np.testing.assert_allclose(ecg.data[0], [large * 1e-6, signal[1]], rtol=1e-9)
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(ValueError, match="has 6765 bytes, but its header counts 6768"):
        load_edf(file)


# --- damage


def patch(file, position, field):
    """Overwrite a part of a file."""
    content = bytearray(file.read_bytes())
    content[position : position + len(field)] = field
    file.write_bytes(content)
    return file


SIGNALS = 256  # where the fields of the signals begin; there are two signals
DAMAGE = {
    "a text": (0, b"patient;", "does not begin with the version"),
    "a size": (184, b"9999", "9999 bytes for 2 signals"),
    "no signals": (252, b"0   ", "768 bytes for 0 signals"),
    "negative signals": (252, b"-1  ", "768 bytes for -1 signals"),
    "many signals": (252, b"9999", "768 bytes for 9999 signals"),
    "no number": (236, b"x", "its header is invalid"),
    "many records": (236, b"99999999", "but its header counts 99999999768"),
    "no records": (236, b"0       ", "0 data records"),
    "negative records": (236, b"-2      ", "-2 data records"),
    "no duration": (244, b"0       ", "data records of 0 seconds"),
    "a negative duration": (244, b"-1      ", "data records of -1 seconds"),
    "an infinite duration": (244, b"inf     ", "data records of inf seconds"),
    "no duration at all": (244, b"nan     ", "data records of nan seconds"),
    "a large duration": (244, b"1e999999", "data records of 1e999999 seconds"),
    "a small duration": (244, b"1e-99999", "data records of 1e-99999 seconds"),
    "a ratio": (244, b"1/0     ", "its header is invalid"),
    "many samples": (SIGNALS + 2 * 216, b"99999999", "header counts 800002760"),
    "negative samples": (SIGNALS + 2 * 216, b"-250    ", "a signal of -250 samples"),
    "no physical range": (SIGNALS + 2 * 104, b"1       " * 4, "give no scale"),
    "no digital range": (SIGNALS + 2 * 120, b"1       " * 4, "give no scale"),
    "a limit nan": (SIGNALS + 2 * 104, b"nan     ", "are no numbers"),
    "a limit inf": (SIGNALS + 2 * 104, b"inf     ", "invalid limits"),
    "a large limit": (SIGNALS + 2 * 104, b"-9e999  ", "invalid limits"),
    "limits": (SIGNALS + 2 * 104, b"-1e308  " * 2 + b"1e308   ", "are no numbers"),
    "a limit x": (SIGNALS + 2 * 120, b"x       ", "invalid limits"),
}


@pytest.mark.parametrize(
    ("position", "field", "message"), DAMAGE.values(), ids=DAMAGE.keys()
)
def test_damaged_headers(file, position, field, message):
    patch(file, position, field)
    with pytest.raises(ValueError, match=rf"a1\.edf is not a readable EDF.*{message}"):
        load_edf(file)


@pytest.mark.parametrize("n_bytes", [0, 8, 255, 256, 700, 768, 1000, 4766])
def test_truncated_files(file, n_bytes):
    file.write_bytes(file.read_bytes()[:n_bytes])
    with pytest.raises(ValueError, match=r"a1\.edf is not a readable EDF.*copy it"):
        load_edf(file)


def test_bytes_after_the_data_are_refused(file):
    file.write_bytes(file.read_bytes() + bytes(1000))
    with pytest.raises(ValueError, match="has 5768 bytes, but its header counts 4768"):
        load_edf(file)


def test_an_unknown_number_of_records_is_taken_from_the_size(file, signal):
    patch(file, 236, b"-1      ")
    np.testing.assert_allclose(load_edf(file).data.ravel(), signal[0])
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="not a readable EDF"):
        load_edf(file)


def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "a.edf")
    with pytest.raises(FileNotFoundError, match="no EDF record"):
        load_edf(tmp_path / "a.edf")


def test_without_edfio_the_extra_is_named(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "edfio", None)
    with pytest.raises(ImportError, match=r"pip install 'sktok\[edf\]'"):
        load_edf(file)
