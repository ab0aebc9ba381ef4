"""The command line, from WFDB records to tokens and back."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
import wfdb
from sklearn.pipeline import make_pipeline
from sklearn.utils import Bunch

import sktok.__main__
from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    GainShapeTokenizer,
    Resampler,
    VectorQuantizer,
    __version__,
)
from sktok._command_line import main
from sktok._command_line._parser import build_parser
from sktok._leads import INDEPENDENT_LEADS
from sktok._polyphase import resample
from sktok.corpus import read_corpus, write_corpus
from sktok.datasets import derive_leads, load_wfdb, split_patients
from sktok.datasets._wfdb import read_leads
from sktok.metrics import describe, prd, reconstruct
from sktok.persistence import load, save

COMMAND = [sys.executable, "-m", "sktok"]
COMMANDS = ("fit", "tokenize", "decode", "compress", "decompress", "inspect")
FS = 360


def write_record(path, *signals, fs=FS, leads=("MLII", "V5")):
    """A WFDB record of some leads in steps of 1/200 mV."""
    path.parent.mkdir(exist_ok=True)
    n_leads = len(signals)
    wfdb.wrsamp(
        path.name,
        fs=fs,
        units=["mV"] * n_leads,
        sig_name=list(leads[:n_leads]),
        p_signal=np.column_stack([np.ravel(signal) for signal in signals]),
        fmt=["16"] * n_leads,
        adc_gain=[200] * n_leads,
        baseline=[1024] * n_leads,
        write_dir=str(path.parent),
    )


def save_tokenizer(name, windows, **facts):
    """A small tokenizer that needs no training."""
    resampler = Resampler(FS, FS, **facts)
    tokenizer = make_pipeline(resampler, BlockSegmenter(25), VectorQuantizer(16))
    save(tokenizer.fit(windows), name)
    return tokenizer


@pytest.fixture(scope="session")
def home(tmp_path_factory, ecg):
    """A folder with records of one minute, one with a gap, and a tokenizer."""
    home = tmp_path_factory.mktemp("command_line")
    minutes = ecg.data[:430].reshape(5, -1).copy()
    for name, minute in zip("abc", minutes[:3], strict=True):
        write_record(home / "ward" / name, minute)
    minutes[3, 1_000:1_100] = np.nan
    write_record(home / "ward" / "gap", minutes[3])
    write_record(home / "ward" / "slow", minutes[4], fs=250)
    arguments = ["ward/a", "ward/b", "--test", "ward/c", "--max-steps", "5"]
    done = run("fit", *arguments, "--out", "ecg.skops", cwd=home)
    assert (done.returncode, done.stderr) == (0, "")
    (home / "fit.txt").write_text(done.stdout)
    arguments = ["--tokenizer", "ecg.skops", "--validation-records", "gap"]
    arguments += ["--out", "corpus"]
    done = run("tokenize", "ward/a", "ward/gap", *arguments, cwd=home)
    assert (done.returncode, done.stderr) == (0, "")
    (home / "tokenize.txt").write_text(done.stdout)
    return home


@pytest.fixture
def folder(home, tmp_path, monkeypatch):
    """An empty working folder that links to `home`."""
    (tmp_path / "home").symlink_to(home)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments, **options):
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=120, **options
    )


def error_of(capsys, *arguments):
    """The line that a failing command writes to standard error."""
    capsys.readouterr()
    assert main(list(map(str, arguments))) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.fullmatch(r"sktok: error: .+\.\n", shown.err)
    return shown.err


def test_fit_writes_a_tokenizer_and_describes_it(home):
    tokenizer = load(home / "ecg.skops")
    assert tokenizer["tokenize"].get_params()["verbose"] == 0
    assert tokenizer["tokenize"].n_steps_ == 5
    shown = (home / "fit.txt").read_text()
    for records in (["a", "b"], ["c"]):
        ecg = load_wfdb([home / "ward" / name for name in records])
        description = describe(tokenizer, ecg.data, fs=FS, unit="mV", groups=ecg.record)
        assert str(description) in shown
    assert "172 of 250 samples" in shown


@pytest.mark.parametrize("encoding", ["ascii", "cp932", "gbk"])
def test_output_does_not_fail_for_its_encoding(folder, monkeypatch, encoding):
    for name in ("stdout", "stderr"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding)
        monkeypatch.setattr(sys, name, stream)
    tokenizer = ["--tokenizer", "².skops"]
    fit = ["fit", "home/ward/a", "--max-steps", "1", "--out", "².skops"]
    assert main(fit) == 0
    assert main(["tokenize", "home/ward/a", *tokenizer, "--out", "²"]) == 0
    assert main(["decode", "²", *tokenizer, "--out", "decoded²"]) == 0
    assert main(["inspect", "².skops", "home/ward/a"]) == 0
    assert main(["inspect", "².skops", "--json"]) == 0
    assert main(["inspect", "absent\udcff"]) == 1  # a byte that is no UTF-8
    shown = sys.stdout.buffer.getvalue().decode(encoding)
    assert shown.count("mV\\xb2") == 2
    assert "folder                  decoded\\xb2" in shown
    sys.stderr.flush()
    shown = sys.stderr.buffer.getvalue().decode(encoding)
    assert shown == "sktok: error: There is no file absent\\udcff.\n"


def test_the_seed_determines_the_tokenizer(folder, ecg, capsys):
    tokens = {}
    for out, seed in {"first": "0", "same": "0", "other": "1"}.items():
        arguments = ["fit", "home/ward/a", "--max-steps", "5", "--seed", seed]
        assert main([*arguments, "--out", out]) == 0
        tokens[out] = load(out).transform(ecg.data)
    np.testing.assert_array_equal(tokens["same"], tokens["first"])
    assert (tokens["other"] != tokens["first"]).any()


def test_tokenize_writes_a_corpus(home):
    tokenizer, corpus = load(home / "ecg.skops"), read_corpus(home / "corpus")
    ecg = load_wfdb(home / "ward" / "a")
    np.testing.assert_array_equal(
        corpus.vocabulary.decode(corpus.train), tokenizer.transform(ecg.data)
    )
    assert [(r["record"], r["split"]) for r in corpus.records] == [
        ("a", "train"),
        ("gap", "val"),
    ]
    shown = (home / "tokenize.txt").read_text()
    assert "1 records, 1 patients, 86 windows, 1 missing windows, 2,128 ids" in shown


def test_decoded_records_are_the_reconstruction_of_the_tokenizer(folder, home):
    done = run(
        *("decode", "home/corpus", "--tokenizer", "home/ecg.skops"),
        *("--out", "new/decoded"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in Path("new").iterdir()) == ["decoded"]
    tokenizer = load(home / "ecg.skops")
    for name in ("a", "gap"):
        original = load_wfdb(home / "ward" / name, missing="drop")
        decoded = load_wfdb(Path("new/decoded", name), missing="drop")
        assert (decoded.fs, decoded.unit) == (FS, "mV")
        assert decoded.lead[0] == original.lead[0]
        np.testing.assert_array_equal(decoded.start, original.start)
        expected = reconstruct(tokenizer, original.data)
        step = np.ptp(expected) / 65_000
        np.testing.assert_allclose(decoded.data, expected, rtol=0, atol=step)
    assert len(original.data) == 85  # of 86: one was missing
    assert len(load_wfdb("new/decoded/gap", missing="keep").data) == 86


def test_twelve_leads_are_found_by_name(tmp_path, monkeypatch, capsys, ecg):
    monkeypatch.chdir(tmp_path)
    gains = np.array([0.5, 1.0, -0.6, -0.3, 0.6, 1.2, 1.1, 0.8])[:, np.newaxis]
    noise = np.random.default_rng(0).normal(scale=0.02, size=(8, 7500))
    leads = gains * ecg.data.ravel()[:7500] + noise
    names = ["V6", "AVR", "AVL", "AVF", *"I II III V1 V2 V3 V4 V5".split()]
    twelve = derive_leads(leads, INDEPENDENT_LEADS, to=names)
    write_record(Path("ward/a"), *twelve, fs=500, leads=names)
    by_name = ["--tokenizer", "ecg12-40hz-v1"]
    for channel, expected in (([], INDEPENDENT_LEADS), (["all"], names)):
        options = [option for name in channel for option in ("--channel", name)]
        corpus, out = f"corpus{len(channel)}", f"out{len(channel)}"
        arguments = ["ward/a", *options, *by_name, "--out", corpus]
        assert main(["tokenize", *arguments]) == 0
        assert main(["decode", corpus, *by_name, "--out", out]) == 0
        record = wfdb.rdrecord(f"{out}/a")
        assert record.sig_name == list(expected)
        restored = dict(zip(record.sig_name, record.p_signal.T, strict=True))
        assert len(restored["II"]) == 2500  # ten seconds; the rest is no window
        original = resample(leads[1], 500, 250)[:2500]
        assert prd(original, restored["II"], centered=True) < 25
    first, second = (read_corpus(f"corpus{i}").train for i in (0, 1))
    np.testing.assert_array_equal(first, second)
    write_record(Path("ward/b"), *leads[:3], leads=names[:3])
    shown = error_of(capsys, "tokenize", "ward/b", *by_name, "--out", "x")
    assert "no channel 'I'" in shown


def test_a_pretrained_tokenizer_has_a_name_and_no_file(folder, capsys):
    by_name = ["--tokenizer", "ecg-12hz-v1"]
    records = ["home/ward/a", "home/ward/slow"]  # 360 and 250 Hz
    assert main(["tokenize", *records, *by_name, "--out", "corpus"]) == 0
    assert main(["decode", "corpus", *by_name, "--out", "decoded"]) == 0
    for name in ("a", "slow"):
        original = load_wfdb(f"home/ward/{name}", fs=250, window_seconds=2)
        decoded = load_wfdb(f"decoded/{name}", window_seconds=2)
        assert decoded.fs == 250
        error = prd(original.data.ravel(), decoded.data.ravel(), centered=True)
        assert error < 20
    at_360 = [*by_name, "--fs", "360"]
    assert main(["tokenize", "home/ward/a", *at_360, "--out", "of_360"]) == 0
    corpus = read_corpus("of_360")
    assert (corpus.records[0]["fs"], corpus.vocabulary.window_length) == (360, 720)
    assert main(["decode", "of_360", *by_name, "--out", "decoded_360"]) == 0
    assert load_wfdb("decoded_360/a").fs == 360
    capsys.readouterr()
    assert main(["inspect", "ecg-12hz-v1", "home/ward/a", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["file"].endswith("ecg-12hz-v1.skops")
    assert (facts["fs"], facts["unit"], facts["block_size"]) == (250, "mV", 20)
    assert facts["on_records"]["prd"] < 20
    Path("ecg-12hz-v1").write_bytes(b"a file of this name")
    assert "damaged" in error_of(capsys, "inspect", "ecg-12hz-v1")


@pytest.fixture(scope="module")
def coders(home):
    """A tokenizer, a coder of its tokens, and the compressed record with a gap."""
    files = ["--out", "small.skops", "--coder", "coder.skops"]
    fit = run("fit", "ward/a", "ward/b", "--max-steps", "5", *files, cwd=home)
    assert (fit.returncode, fit.stderr) == (0, "")
    assert "coder                   coder.skops" in fit.stdout
    both = ["--tokenizer", "small.skops", "--coder", "coder.skops"]
    files = ["--missing", "drop", "--out", "gap.sktok"]
    done = run("compress", "ward/gap", *both, *files, cwd=home)
    assert (done.returncode, done.stderr) == (0, "")
    (home / "compress.txt").write_text(done.stdout)
    return ["--tokenizer", "home/small.skops", "--coder", "home/coder.skops"]


def test_compress_reports_size_and_error(home, coders):
    facts = {
        name.strip(): value
        for name, value in re.findall(
            "^(.{24})(.*)$", (home / "compress.txt").read_text(), re.MULTILINE
        )
    }
    ecg = load_wfdb(home / "ward" / "gap", missing="drop")
    restored = reconstruct(load(home / "small.skops"), ecg.data)
    n_bytes = (home / "gap.sktok").stat().st_size
    assert int(facts["bytes"]) == n_bytes
    assert int(facts["samples"]) == ecg.data.size
    assert float(facts["bits per sample"]) == pytest.approx(
        8 * n_bytes / ecg.data.size, 1e-3
    )
    assert float(facts["ratio to format 212"]) == pytest.approx(
        1.5 * ecg.data.size / n_bytes, 1e-3
    )
    figure = prd(ecg.data, restored, centered=True, groups=ecg.record)
    assert float(facts["prdn percent"]) == pytest.approx(figure[0], 1e-3)


def test_decompressed_records_are_the_reconstruction_of_the_tokenizer(
    folder, home, coders
):
    assert main(["decompress", "home/gap.sktok", *coders, "--out", "new"]) == 0
    original = load_wfdb(home / "ward" / "gap", missing="drop")
    decoded = load_wfdb("new/gap", missing="drop")
    assert (decoded.fs, decoded.unit) == (FS, "mV")
    assert decoded.lead[0] == original.lead[0]
    np.testing.assert_array_equal(decoded.start, original.start)
    expected = reconstruct(load(home / "small.skops"), original.data)
    step = np.ptp(expected) / 65_000
    np.testing.assert_allclose(decoded.data, expected, rtol=0, atol=step)


def test_leads_are_compressed_one_by_one(folder, home, coders):
    a, b = (load_wfdb(home / "ward" / name).data for name in "ab")
    write_record(folder / "two", a, b)
    options = [*coders, "--channel", "all", "--out"]
    assert main(["compress", "two", *options, "two.sktok"]) == 0
    assert main(["decompress", "two.sktok", *coders, "--out", "new"]) == 0
    tokenizer = load(home / "small.skops")
    for lead, windows in (("MLII", a), ("V5", b)):
        decoded = load_wfdb("new/two", channel=lead).data
        expected = reconstruct(tokenizer, windows)
        np.testing.assert_allclose(decoded, expected, atol=np.ptp(expected) / 65_000)


def test_compress_refuses_what_does_not_fit(folder, home, coders, capsys):
    files = ["--coder", "home/coder.skops", "--out", "a.sktok"]
    save_tokenizer("other.skops", load_wfdb("home/ward/a").data)
    other = ["--tokenizer", "other.skops", *files]
    assert "another tokenizer" in error_of(capsys, "compress", "home/ward/a", *other)
    out = [*coders, "--out", "a.sktok"]
    error = error_of(capsys, "compress", "home/ward", *out)
    assert "home/ward stands for 5 records, expected one" in error
    no_coder = ["--tokenizer", "home/small.skops", "--coder", "home/small.skops"]
    error = error_of(capsys, "compress", "home/ward/a", *no_coder, "--out", "a.sktok")
    assert "holds a Pipeline, expected a coder" in error
    for option, name in zip(coders[::2], coders[1::2], strict=True):
        out = [*coders, "--overwrite", "--out", name.replace("/", "/ward/../")]
        error = error_of(capsys, "compress", "home/ward/a", *out)
        assert f"--out and {option} both name" in error
    existing = [*coders, "--out", "home/gap.sktok"]
    assert "--overwrite" in error_of(capsys, "compress", "home/ward/a", *existing)
    assert not list(folder.glob("*.sktok"))


def test_decompress_refuses_damaged_and_other_files(folder, home, coders, capsys):
    content = (home / "gap.sktok").read_bytes()
    coder = load(home / "coder.skops")
    tokens = np.zeros((1, coder.n_features_in_), int)
    pieces = coder.iter_compress([tokens], metadata=b"[{}]")
    without_record = bytearray(coder.compress(tokens))
    without_record[58] ^= 1  # of a chunk, which is not decoded
    for fault, data in {
        "incomplete or damaged": content[:-1],
        "not compressed tokens": b"RIFF",
        "does not say of which record": b"".join(pieces),
        "TokenCoder.decompress": without_record,
    }.items():
        Path("other.sktok").write_bytes(data)
        arguments = ["other.sktok", *coders, "--out", "new"]
        assert fault in error_of(capsys, "decompress", *arguments)
    assert not Path("new").exists()


def test_a_coder_is_no_tokenizer(folder, coders, capsys):
    no_tokenizer = ["--tokenizer", "home/coder.skops"]
    out = [*no_tokenizer, "--out", "x"]
    for arguments in (
        ["inspect", "home/coder.skops"],
        ["tokenize", "home/ward/a", *out],
        ["decode", "home/corpus", *out],
        ["compress", "home/ward/a", *coders, *out],
        ["decompress", "home/gap.sktok", *coders, *out],
    ):
        error = error_of(capsys, *arguments)
        assert "home/coder.skops holds a coder, expected the file of a token" in error


def test_missing_extra_is_one_line(folder, coders, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "constriction", None)
    arguments = ["decompress", "home/gap.sktok", *coders, "--out", "x"]
    assert "pip install 'sktok[coding]'" in error_of(capsys, *arguments)


def test_records_without_a_valid_window_are_decoded_as_invalid(folder, home, capsys):
    write_record(folder / "none", np.r_[np.nan, np.zeros(249)])
    tokenizer = ["--tokenizer", "home/ecg.skops"]
    assert main(["tokenize", "none", *tokenizer, "--out", "corpus"]) == 0
    assert main(["decode", "corpus", *tokenizer, "--out", "decoded"]) == 0
    with pytest.raises(ValueError, match="1 of the 1 windows of record none hold inv"):
        load_wfdb("decoded/none")


def test_decoded_windows_keep_their_positions(folder, home, ecg, capsys):
    """The record of this corpus begins late and has a gap."""
    rows = np.r_[2:5, 8:10]
    part = {key: ecg[key][rows] for key in ("data", "record", "groups")}
    part |= {"start": 250 * rows, "fs": 250.5, "unit": None}
    save(BinQuantizer(16).fit(ecg.data), "bins.skops")
    tokenizer = load("bins.skops")
    write_corpus("corpus", part, tokenizer, validation=[])
    arguments = ["corpus", "--tokenizer", "bins.skops", "--out", "decoded"]
    assert main(["decode", *arguments]) == 0
    decoded = load_wfdb("decoded/208", missing="drop")
    assert (decoded.fs, decoded.unit) == (250.5, "NU")
    np.testing.assert_array_equal(decoded.start, 250 * rows)
    assert len(load_wfdb("decoded/208", missing="keep").data) == 10
    journal = Path("corpus", "records.jsonl")
    damaged = journal.read_text().replace("[[500, 3]", "[[-500, 3]")
    journal.write_text(damaged)
    arguments[-1] = "other"
    assert "have impossible positions" in error_of(capsys, "decode", *arguments)
    assert not Path("other").exists()


def test_inspect_a_tokenizer(home):
    done = run("inspect", "ecg.skops", "ward/c", "--json", cwd=home)
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    path = home / "ecg.skops"
    _, scaler, _, tokenizer = load(path)
    assert facts["bytes"] == path.stat().st_size
    assert facts["saved_by_sktok"] == __version__
    assert (facts["n_tokens"], facts["tokens_per_window"]) == (256, 25)
    assert (facts["block_size"], facts["window_length"]) == (10, 250)
    assert (facts["n_leads"], facts["fs"], facts["unit"]) == (1, 360, "mV")
    assert facts["lead"] is None  # of any lead: none was named
    assert facts["bits_per_sample_at_most"] == 0.8
    low = scaler.data_min_
    assert facts["amplitude_range"] == [low, low + scaler.data_range_]
    assert facts["training_steps"] == 5
    assert facts["last_training_loss"] == tokenizer.loss_curve_[-1]
    assert facts["on_records"]["n_windows"] == 86


def test_inspect_prints_lines(home, capsys):
    assert main(["inspect", str(home / "ecg.skops"), str(home / "ward" / "c")]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^n tokens +256$", shown, re.MULTILINE)
    assert re.search(r"^windows +86 of 250 samples", shown, re.MULTILINE)
    assert main(["inspect", str(home / "corpus")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == (home / "tokenize.txt").read_text().splitlines()[1:]


def test_inspect_tokenizers_that_are_not_trained(folder, ecg, capsys):
    save(BinQuantizer(16).fit(ecg.data), "bins.skops")
    assert main(["inspect", "bins.skops", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["estimators"] == ["BinQuantizer"]
    assert facts["bits_per_sample_at_most"] == 4
    assert "training_steps" not in facts
    blocks = make_pipeline(AmplitudeScaler(), BlockSegmenter(10), VectorQuantizer(16))
    save(GainShapeTokenizer(blocks).fit(ecg.data), "shapes.skops")
    assert main(["inspect", "shapes.skops", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["estimators"][:2] == ["GainShapeTokenizer", "AmplitudeScaler"]
    assert facts["block_size"] == 10
    assert "amplitude_range" not in facts  # that of shapes is not one of the signal
    save(AmplitudeScaler().fit(ecg.data), "scaler.skops")
    assert "n_tokens_" in error_of(capsys, "inspect", "scaler.skops")


@pytest.mark.parametrize("command", [*COMMANDS, None])
def test_each_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as done:
        main([command, "--help"] if command else ["--help"])
    assert done.value.code == 0
    shown = capsys.readouterr().out
    if command:
        assert f"  sktok {command} " in shown
        assert "Writes " in shown or "writes nothing" in shown
    else:
        assert all(re.search(rf"\n    {name}\s", shown) for name in COMMANDS)


def test_help_imports_nothing_slow():
    code = (
        "import sys; from sktok._command_line import main\n"
        "try: main(['--help'])\n"
        "finally: print({'torch', 'wfdb', 'skops', 'sktok.corpus'} & set(sys.modules))"
    )
    shown = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert shown.endswith("set()\n")


def test_the_console_script_is_the_module():
    pyproject = Path(__file__).parents[1] / "pyproject.toml"
    scripts = tomllib.loads(pyproject.read_text())["project"]["scripts"]
    assert scripts == {"sktok": "sktok._command_line:main"}
    assert main is sktok.__main__.main


def test_version(capsys):
    with pytest.raises(SystemExit) as done:
        main(["--version"])
    assert done.value.code == 0
    assert capsys.readouterr().out == f"sktok {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["translate"],
        ["fit", "ward/a"],
        ["fit", "ward/a", "--out", "x", "--block-size", "0"],
        ["fit", "ward/a", "--out", "x", "--n-tokens", "1"],
        ["fit", "ward/a", "--out", "x", "--max-steps", "many"],
        ["fit", "ward/a", "--out", "x", "--fs", "inf"],
        ["fit", "ward/a", "--out", "x", "--rate-weight", "nan"],
        ["fit", "ward/a", "--out", "x", "--rate-weight", "inf"],
        ["fit", "ward/a", "--out", "x", "--rate-weight=-1"],
        [
            "fit",
            "ward/a",
            "--out",
            "x",
            "--window-length",
            "9",
            "--window-seconds",
            "1",
        ],
        ["tokenize", "--tokenizer", "x", "--out", "y"],
        ["decode", "x", "--tokenizer", "y", "--out", "z", "--scale", "record"],
    ],
)
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert done.value.code == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "0.0", "0e0", "5e-4", "2"])
def test_rate_weight_is_any_number_from_zero_up(text):
    arguments = ["fit", "ward/a", "--out", "x", "--rate-weight", text]
    assert build_parser().parse_args(arguments).rate_weight == float(text)


def test_nothing_is_overwritten_unless_asked(folder, home, capsys):
    Path("kept.skops").write_text("mine")
    fit = ["fit", "home/ward/a", "--max-steps", "1", "--out"]
    assert "--overwrite" in error_of(capsys, *fit, "kept.skops")
    assert Path("kept.skops").read_text() == "mine"
    Path("kept").mkdir()
    assert "kept exists" in error_of(capsys, *fit, "kept", "--overwrite")
    tokenizer = ["--tokenizer", "home/ecg.skops", "--out", "kept"]
    assert "kept exists" in error_of(capsys, "tokenize", "home/ward/a", *tokenizer)
    assert "kept exists" in error_of(capsys, "decode", "home/corpus", *tokenizer)
    assert not any(Path("kept").iterdir())
    assert main([*fit, "kept.skops", "--overwrite"]) == 0
    assert load("kept.skops")["tokenize"].n_steps_ == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("fit home/ward/z --out x", r"no WFDB or EDF record home/ward/z"),
        ("fit home/ward/a --out x --coder ./y/../x", "--out and --coder both name x"),
        ("fit . --out x", "no WFDB or EDF record in the folder"),
        (
            "fit home/ward/a --out home/ward/a.hea/x",
            "No file can be written to home",
        ),
        ("fit home/ward/a home/ward/./a.hea --out x", "ward/a 2 times"),
        ("fit home/ward/a --out x --channel V1", "no channel 'V1': its 1 leads are ML"),
        (
            "fit home/ward/a home/ward/slow --out x",
            "differ in sampling frequency.* see --fs",
        ),
        ("fit home/ward/a --validation 1 --out x", "no windows to train on"),
        (
            "fit home/ward/a --validation 0.5 --out x",
            "puts all 1 patients into one split",
        ),
        ("fit home/ward/a --patients none --out x", "No such file"),
        (
            "fit home/ward/a --patients home/fit.txt --out x",
            "fit.txt has no column record and no column patient",
        ),
        (
            "fit home/ward/a --patients home/ecg.skops --out x",
            r"ecg\.skops is (empty or not UTF-8 text|not a CSV file)",
        ),
        (
            "fit home/ward/a --test home/ward/slow --out x",
            "differ in sampling frequency",
        ),
        ("fit home/ward/a --test home/ward/../ward/a --out x", "ward/a 2 times"),
        ("fit home/ward/gap --out x", "1 of the 86 windows of record gap hold invalid"),
        ("fit home/ward/a --out x --block-size 251", "block_size=251 is larger than"),
        (
            "tokenize home/ward/a --tokenizer none --out x",
            "There is no file none",
        ),
        (
            "tokenize home/ward/a --tokenizer home/ward/a.hea --out x",
            r"a\.hea is damaged or holds no estimator.*A pickle can execute any code",
        ),
        (
            "tokenize home/ward/a home/ward/slow --tokenizer home/ecg.skops --out x",
            "has fs=250, but the tokenizer was fitted to fs=360.* see --fs",
        ),
        (
            "tokenize home/ward/a ./home/ward/a --tokenizer home/ecg.skops --out x",
            "ward/a 2 times",
        ),
        (
            "tokenize home/ward/a home/ward/b --tokenizer home/ecg.skops --out x "
            "--validation-records home/ward/b",
            "names home/ward/b, but the records are a, b",
        ),
        ("decode home/ward --tokenizer home/ecg.skops --out x", "no sktok.corpus"),
        (
            "decode home/corpus --tokenizer none --out x",
            "There is no file none",
        ),
        ("inspect home/corpus home/ward/a", "is a folder"),
        ("inspect none", "There is no file none"),
        ("inspect home/ward/a", "home/ward/a is a record, expected the file of"),
    ],
)
def test_errors_are_one_clear_line(folder, capsys, arguments, message):
    assert re.search(message, error_of(capsys, *arguments.split()))
    assert not Path("x").exists()


def test_json_has_no_infinity(folder, home, capsys):
    write_record(folder / "flat", np.zeros(500))
    assert main(["inspect", "home/ecg.skops", "flat", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert shown["on_records"]["prd"] is None
    assert shown["on_records"]["n_windows"] == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_output_that_cannot_be_written_is_an_error(home):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "inspect", "corpus"],
            cwd=home,
            env=os.environ | {"PYTHONUNBUFFERED": ""},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert re.fullmatch(r"sktok: error: .*No space left on device\.\n", done.stderr)


def test_a_pickle_is_not_loaded(folder, home, capsys):
    joblib.dump(load(home / "ecg.skops"), "ecg.joblib")
    assert "A pickle" in error_of(capsys, "inspect", "ecg.joblib")


def test_tokens_of_another_tokenizer_are_not_decoded(folder, home, ecg, capsys):
    save(BlockSegmenter(10).fit(ecg.data), "blocks.skops")
    arguments = ["decode", "home/corpus", "--tokenizer", "blocks.skops", "--out", "x"]
    assert "Load the tokenizer that made the" in error_of(capsys, *arguments)
    assert not Path("x").exists()


def test_records_without_a_frequency_are_not_decoded(folder, ecg, capsys):
    save(BinQuantizer(16).fit(ecg.data), "bins.skops")
    write_corpus("corpus", [ecg.data[:2]], load("bins.skops"), validation=[])
    arguments = ["corpus", "--tokenizer", "bins.skops", "--out", "x"]
    said = error_of(capsys, "decode", *arguments)
    assert "does not store the sampling frequency of record 0" in said
    assert not Path("x").exists()


def test_decoded_records_have_names_that_wfdb_allows(folder, ecg, capsys):
    tokenizer = ["--tokenizer", "home/ecg.skops"]
    for name in ("x/a", "y/a", "x_a"):
        write_record(folder / name, ecg.data[:2])
    # Two records of one name have their whole paths as names.
    assert main(["tokenize", "x/a", "y/a", *tokenizer, "--out", "corpus"]) == 0
    assert main(["decode", "corpus", *tokenizer, "--out", "decoded"]) == 0
    names = sorted(path.stem for path in Path("decoded").glob("*.hea"))
    assert names == ["x_a", "y_a"]
    journal = Path("corpus", "records.jsonl")
    journal.write_text(journal.read_text().replace("y/a", "x a"))
    said = error_of(capsys, "decode", "corpus", *tokenizer, "--out", "other")
    assert "x/a and x a would both be written as x_a" in said


PATIENTS = {"a": "Ann", "b": "Bob", "c": "Ann", "d": "Eve", "short": "Bob", "x": "?"}


@pytest.fixture
def mixed(folder, ecg):
    """A folder of four records, of two rates and one or two leads, and a tokenizer."""
    minutes = ecg.data[:40].reshape(4, -1)
    write_record(folder / "ward" / "a", minutes[0], minutes[1])
    write_record(folder / "ward" / "b", minutes[1], fs=250, leads=["V5"])
    write_record(folder / "ward" / "c", minutes[2])
    write_record(folder / "ward" / "d", minutes[3])
    write_record(folder / "ward" / "short", minutes[0, :200])
    rows = [f'9,{record},"{patient}"' for record, patient in PATIENTS.items()]
    table = "\n".join(["\ufeffage, record ,patient", *rows])
    Path("ward.csv").write_text(table, encoding="utf-8")
    return folder / "ward"


def test_a_mixed_folder_goes_to_one_corpus_and_back(mixed, ecg, capsys):
    tokenizer = save_tokenizer("x.skops", ecg.data, unit="mV")
    options = ["--channel", "all", "--fs", "360", "--tokenizer", "x.skops"]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["tokenize", "ward", *options, "--out", "corpus"]) == 0
    corpus = read_corpus("corpus")
    entries = [(entry["record"], entry["lead"]) for entry in corpus.records]
    leads = [("a", "MLII"), ("a", "V5"), ("b", "V5"), ("c", "MLII"), ("d", "MLII")]
    assert entries == leads
    shown = capsys.readouterr()
    assert "1 records are skipped" in shown.err
    assert "4 records, 4 patients" in shown.out
    assert main(["decode", "corpus", *options[-2:], "--out", "decoded"]) == 0
    for name in "abcd":
        original = load_wfdb(mixed / name, channel="all", leads="rows", fs=360)
        decoded = load_wfdb(Path("decoded", name), channel="all", leads="rows")
        assert decoded.fs == 360
        assert decoded.lead.tolist() == original.lead.tolist()
        expected = reconstruct(tokenizer, original.data)
        step = np.ptp(expected) / 65_000
        np.testing.assert_allclose(decoded.data, expected, rtol=0, atol=step)


def test_channels_may_be_repeated(mixed, ecg):
    save_tokenizer("x.skops", ecg.data)
    options = ["--tokenizer", "x.skops", "--channel", "V5", "--channel", "0"]
    assert main(["tokenize", "ward/a.hea", *options, "--out", "corpus"]) == 0
    leads = [entry["lead"] for entry in read_corpus("corpus").records]
    assert leads == ["V5", "MLII"]


def test_edf_files_and_patterns_are_records(folder, ecg):
    edfio = pytest.importorskip("edfio", reason="needs the extra edf")
    for name in ("a", "b"):
        signal = edfio.EdfSignal(ecg.data[:4].ravel(), 250, physical_dimension="mV")
        edfio.Edf([signal]).write(f"{name}.edf")
    save_tokenizer("x.skops", ecg.data)
    options = ["--fs", "360", "--tokenizer", "x.skops", "--out"]
    for index, pattern in enumerate(["*.edf", "."]):
        assert main(["tokenize", pattern, *options, str(index)]) == 0
        corpus = read_corpus(str(index))
        assert [entry["record"] for entry in corpus.records] == ["a", "b"]


def test_patients_and_shares_are_those_of_the_corpus(mixed, ecg, capsys):
    common = ["ward", "--fs", "250", "--patients", "ward.csv", "--validation", "0.5"]
    assert (
        main(
            [
                "fit",
                *common,
                "--max-steps",
                "1",
                "--window-seconds",
                "0.5",
                "--out",
                "x.skops",
            ]
        )
        == 0
    )
    shown = capsys.readouterr().out
    assert main(["tokenize", *common, "--tokenizer", "x.skops", "--out", "corpus"]) == 0
    entries = read_corpus("corpus").records
    groups = {entry["record"]: entry["group"] for entry in entries}
    assert groups == {"a": "Ann", "b": "Bob", "c": "Ann", "d": "Eve", "short": "Bob"}
    patients = np.array(["Ann", "Bob", "Eve"])
    train, held_out = (set(patients[rows]) for rows in split_patients(patients, 0.5))
    for split, names in (("train", train), ("val", held_out)):
        assert {e["group"] for e in entries if e["split"] == split} == names
    for title, names in (("the training records", train), ("the patients", held_out)):
        ((n_windows,),) = (re.findall(rf"On {title}.*\nwindows +(\d+) of 125", shown),)
        n_expected = sum(
            n for e in entries if e["group"] in names for _, n in e["runs"]
        )
        assert int(n_windows) == n_expected
    assert load("x.skops")["resample"].get_params()["lead"] is None


def test_validation_records_bring_their_patients(mixed, ecg, capsys):
    save_tokenizer("x.skops", ecg.data)
    options = ["--tokenizer", "x.skops", "--fs", "360", "--patients", "ward.csv"]
    options += ["--validation-records", "a", "--out", "corpus"]
    Path("ward/short.hea").unlink()
    assert main(["tokenize", "ward", *options]) == 0
    entries = read_corpus("corpus").records
    assert [e["record"] for e in entries if e["split"] == "val"] == ["a", "c"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("record,patient\na,Ann\n", "has no patient for 1 of 2 records, b among them"),
        ("record,patient\na,Ann\nb,\n", "has no patient for 1 of 2 records, b among"),
        ("record,patient\na,Ann\nb\n", "has no patient for 1 of 2 records, b among"),
        ("record,patient\na,Ann\na,Bob\nb,B\n", "gives two patients to record a"),
        ("record;patient\na;Ann\n", "has no column record and no column patient"),
        ("", "is empty or not UTF-8"),
        ('record,patient\n"a', "is not a CSV file"),
    ],
)
def test_tables_without_patients_are_refused(folder, capsys, table, message):
    Path("table.csv").write_text(table)
    options = ["--patients", "table.csv", "--tokenizer", "home/ecg.skops", "--out", "x"]
    said = error_of(capsys, "tokenize", "home/ward/a", "home/ward/b", *options)
    assert f"table.csv {message}" in said


def test_test_records_of_training_patients_are_told(mixed, capsys):
    options = ["--patients", "ward.csv", "--max-steps", "1", "--out", "x"]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["fit", "ward/a", "--test", "ward/c", *options]) == 0
    said = capsys.readouterr().err
    assert "--test holds records of training patients: Ann." in said


def test_a_named_lead_belongs_to_the_tokenizer(mixed, capsys):
    fit = ["fit", "ward/a", "--channel", "V5", "--max-steps", "1", "--out", "v5.skops"]
    assert main(fit) == 0
    assert main(["inspect", "v5.skops", "--json"]) == 0
    shown = capsys.readouterr().out
    assert json.loads(shown[shown.index("{") :])["lead"] == "V5"
    options = ["--tokenizer", "v5.skops", "--out", "x"]
    for command in (
        ["tokenize", "ward/c", *options],
        ["inspect", "v5.skops", "ward/c"],
    ):
        assert "fitted to lead='V5'" in error_of(capsys, *command)
        assert "see --channel" in error_of(capsys, *command)
    assert main(["tokenize", "ward/a", "--channel", "V5", *options]) == 0


def test_leads_tokenized_together_are_decoded(folder, ecg, capsys):
    windows = ecg.data[:40].reshape(20, 2, 250)
    tokenizer = save_tokenizer("x.skops", windows, unit="mV", lead=["I", "II"])
    leads = windows.swapaxes(0, 1).reshape(2, -1)
    write_record(folder / "r", *leads, leads=["I", "II"])
    options = ["--channel", "I", "--channel", "II"]
    common = ["--tokenizer", "x.skops", "--out"]
    assert main(["tokenize", "r", *options, *common, "corpus"]) == 0
    assert main(["inspect", "x.skops", "r", *options, "--json"]) == 0
    shown = capsys.readouterr().out
    facts = json.loads(shown[shown.index("{") :])
    assert (facts["n_leads"], facts["lead"]) == (2, ["I", "II"])
    assert facts["on_records"]["n_windows"] == 20
    assert main(["decode", "corpus", *common, "decoded"]) == 0
    decoded = load_wfdb("decoded/r", channel="all")
    assert decoded.lead[0].tolist() == ["I", "II"]
    original = load_wfdb("r", channel="all")
    np.testing.assert_allclose(
        decoded.data, reconstruct(tokenizer, original.data), rtol=0, atol=1e-4
    )


def test_decoded_leads_keep_gaps_units_and_letters(folder, ecg):
    """Leads of one record with gaps at different places, and names beyond ASCII."""
    tokenizer = save_tokenizer("x.skops", 1000 * ecg.data, unit="µV")
    parts = [
        Bunch(
            data=1000 * ecg.data[:3],
            start=np.array(start),
            record=["r"] * 3,
            groups=["p"] * 3,
            lead=[lead] * 3,
            unit="µV",
        )
        for start, lead in (
            ([0, 250, 1000], "Ableitung Ä 1"),
            ([0, 500, 750], "12 心\n電図 "),
        )
    ]
    parts.append(
        Bunch(**parts[0] | {"data": np.full((3, 250), np.nan), "lead": [""] * 3})
    )
    write_corpus("corpus", parts, tokenizer, validation=[])
    decode = ["decode", "corpus", "--tokenizer", "x.skops", "--out", "decoded"]
    assert main(decode) == 0
    signals = read_leads("decoded/r", "all")
    assert [lead.lead for lead in signals] == ["Ableitung Ä 1", "12 心 電図", "ECG"]
    assert {lead.unit for lead in signals} == {"µV"}
    expected = reconstruct(tokenizer, 1000 * ecg.data[:3])
    for lead, part in zip(signals[:2], parts, strict=False):
        rows = part.start[:, np.newaxis] + np.arange(250)
        np.testing.assert_allclose(lead.samples[rows], expected, rtol=0, atol=0.1)
        assert np.isfinite(lead.samples).sum() == 750
    assert np.isnan(signals[2].samples).all()
    assert len(signals[0].samples) == 1250


def test_a_corpus_is_decoded_at_its_own_rate(folder, ecg):
    tokenizer = save_tokenizer("x.skops", ecg.data)
    tokenizer.set_params(resampler__input_fs=720)
    fast = np.repeat(ecg.data[:4], 2, axis=1)
    write_record(folder / "r", fast, fs=720)
    write_corpus("corpus", "r", tokenizer, validation=[])
    decode = ["decode", "corpus", "--tokenizer", "x.skops", "--out", "decoded"]
    assert main(decode) == 0
    decoded = load_wfdb("decoded/r", window_length=500)
    assert (decoded.fs, decoded.data.shape) == (720, (4, 500))


def test_warnings_are_one_line(folder, capsys):
    arguments = ["--tokenizer", "home/ecg.skops", "--out", "corpus"]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["tokenize", "home/ward/a", *arguments, "--validation", "0.5"]) == 0
    said = capsys.readouterr().err
    assert re.fullmatch("sktok: warning: .*puts all 1 patients.*\n", said)


def test_ctrl_c_leaves_nothing_half_written(folder):
    pty, termios = (
        pytest.importorskip(name, reason="terminals of Unix")
        for name in ("pty", "termios")
    )
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))  # in none, tqdm shows nothing
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:  # a process inherits SIG_IGN, which a run in the background has
        process = subprocess.Popen(
            [*COMMAND, "fit", "home/ward/a", "--max-steps", "100000", "--out", "x"],
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
    finally:
        signal.signal(signal.SIGINT, handler)
        os.close(theirs)
    shown = b""
    while not re.search(rb"[1-9]\d*/100000", shown):  # the progress of the training
        shown += os.read(ours, 1024)
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # the end of what a terminal shows
        while piece := os.read(ours, 1024):
            shown += piece
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert shown.endswith(b"sktok: interrupted\r\n")
    assert [path.name for path in folder.iterdir()] == ["home"]


def test_an_interrupted_decode_leaves_nothing(folder, monkeypatch, capsys):
    def interrupt(*_, write_dir, **__):
        Path(write_dir, "half").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(wfdb, "wrsamp", interrupt)
    arguments = ["home/corpus", "--tokenizer", "home/ecg.skops", "--out", "x"]
    assert main(["decode", *arguments]) == 130
    assert capsys.readouterr().err == "sktok: interrupted\n"
    assert [path.name for path in folder.iterdir()] == ["home"]
