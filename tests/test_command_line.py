"""The command line, from WFDB records to tokens and back."""

import contextlib
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

import sktok.__main__
from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    GainShapeTokenizer,
    VectorQuantizer,
    __version__,
)
from sktok._command_line import main
from sktok.corpus import read_corpus, write_corpus
from sktok.datasets import load_wfdb
from sktok.metrics import describe, reconstruct
from sktok.persistence import load, save

COMMAND = [sys.executable, "-m", "sktok"]
COMMANDS = ("fit", "tokenize", "decode", "inspect")
FS = 360


def write_record(path, signal, fs=FS):
    """A WFDB record of one lead, MLII, in steps of 1/200 mV."""
    path.parent.mkdir(exist_ok=True)
    wfdb.wrsamp(
        path.name,
        fs=fs,
        units=["mV"],
        sig_name=["MLII"],
        p_signal=np.reshape(signal, (-1, 1)),
        fmt=["16"],
        adc_gain=[200],
        baseline=[1024],
        write_dir=str(path.parent),
    )


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
    tokenizer = load("home/ecg.skops")
    write_corpus("corpus", part, tokenizer, validation=[])
    arguments = ["corpus", "--tokenizer", "home/ecg.skops", "--out", "decoded"]
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
    scaler, _, tokenizer = load(path)
    assert facts["bytes"] == path.stat().st_size
    assert facts["saved_by_sktok"] == __version__
    assert (facts["n_tokens"], facts["tokens_per_window"]) == (256, 25)
    assert (facts["block_size"], facts["window_length"]) == (10, 250)
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
    assert re.search(r"^windows +86 of 250 samples$", shown, re.MULTILINE)
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
        assert all(f"\n    {name} " in shown for name in COMMANDS)


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
        ["tokenize", "--tokenizer", "x", "--out", "y"],
        ["decode", "x", "--tokenizer", "y", "--out", "z", "--scale", "record"],
    ],
)
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert done.value.code == 2
    assert "error: " in capsys.readouterr().err


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
        ("fit home/ward/z --out x", r"no WFDB header home/ward/z\.hea"),
        ("fit home/ward/a.hea --out x", "without extension, such as home/ward/a"),
        (
            "fit home/ward/a --out home/ward/a.hea/x",
            "No file can be written to home",
        ),
        ("fit home/ward/a home/ward/./a --out x", "ward/./a is named twice"),
        ("fit home/ward/a --out x --channel V1", "no channel 'V1': its 1 leads are ML"),
        ("fit home/ward/a home/ward/slow --out x", "differ in sampling frequency"),
        (
            "fit home/ward/a --test home/ward/slow --out x",
            "differ in sampling frequency",
        ),
        ("fit home/ward/a --test home/ward/../ward/a --out x", "is named twice"),
        ("fit home/ward/gap --out x", "1 of the 86 windows of record gap hold invalid"),
        ("fit home/ward/a --out x --block-size 251", "block_size=251 is larger than"),
        (
            "tokenize home/ward/a --tokenizer none --out x",
            "There is no tokenizer none",
        ),
        (
            "tokenize home/ward/a --tokenizer home/ward/a.hea --out x",
            r"a\.hea is damaged or holds no tokenizer.*A pickle can execute any code",
        ),
        (
            "tokenize home/ward/a home/ward/slow --tokenizer home/ecg.skops --out x",
            "Record slow has fs=250.0, and record a has fs=360.0: resample",
        ),
        (
            "tokenize home/ward/a ./home/ward/a --tokenizer home/ecg.skops --out x",
            "home/ward/a is named twice",
        ),
        (
            "tokenize home/ward/a home/ward/b --tokenizer home/ecg.skops --out x "
            "--validation-records home/ward/b",
            "names home/ward/b, but the records are a, b",
        ),
        ("decode home/ward --tokenizer home/ecg.skops --out x", "no sktok.corpus"),
        (
            "decode home/corpus --tokenizer none --out x",
            "There is no tokenizer none",
        ),
        ("inspect home/corpus home/ward/a", "is a folder"),
        ("inspect none", "There is no tokenizer none"),
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
    write_corpus("corpus", [ecg.data[:2]], load("home/ecg.skops"), validation=[])
    arguments = ["corpus", "--tokenizer", "home/ecg.skops", "--out", "x"]
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
