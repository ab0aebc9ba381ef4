"""Tokens to ids, to files, and back."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import time

import joblib
import numpy as np
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer
from sklearn.utils import Bunch

from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    GainShapeTokenizer,
    VectorQuantizer,
    make_paper_tokenizer,
    make_tokenizer,
)
from sktok import corpus as corpus_module
from sktok.corpus import (
    Vocabulary,
    read_corpus,
    write_auto_tokenizer,
    write_corpus,
    write_dataset,
)
from sktok.datasets import fetch_mitdb
from sktok.metrics import neg_reconstruction_mse

SMALL = Vocabulary(n_tokens=7, tokens_per_window=3, window_length=30, fingerprint="f")


def codebook(n_codes=32):
    return make_pipeline(BlockSegmenter(25), VectorQuantizer(n_codes, random_state=0))


@pytest.fixture(scope="module")
def tokenizer(ecg):
    return codebook().fit(ecg.data)


@pytest.fixture(scope="module")
def vocabulary(tokenizer):
    return Vocabulary.from_tokenizer(tokenizer)


@pytest.fixture(scope="module")
def records(ecg):
    """Six records of four patients, one with a missing window, one with a gap."""
    pieces = []
    for index in range(6):
        rows = slice(50 * index, 50 * (index + 1))
        data = ecg.data[rows].copy()
        start = 250 * np.arange(50)
        if index == 1:
            data[7, 3] = data[49, 0] = np.nan
        if index == 2:
            start[20:] += 1000
        pieces.append(
            Bunch(
                data=data,
                start=start,
                record=np.full(50, f"r{index}"),
                groups=np.full(50, f"p{index % 4}"),
            )
        )
    return pieces


def expected_tokens(record, tokenizer):
    """Slowly, window by window."""
    return np.concatenate(
        [
            np.full((1, 10), -1) if np.isnan(w).any() else tokenizer.transform([w])
            for w in record.data
        ]
    )


# --- the vocabulary


def test_special_tokens_come_first(vocabulary):
    assert len(vocabulary) == 5 + 32
    assert vocabulary.texts[:6] == "<pad> <bos> <eos> <sep> <missing> ecg_0".split()
    assert len(vocabulary.texts) == len(vocabulary)
    ids = (vocabulary.pad_id, vocabulary.bos_id, vocabulary.eos_id)
    assert (*ids, vocabulary.sep_id, vocabulary.missing_id) == (0, 1, 2, 3, 4)


rows = st.lists(
    st.one_of(
        st.just([-1, -1, -1]), st.lists(st.integers(0, 6), min_size=3, max_size=3)
    ),
    max_size=8,
)


@given(rows)
def test_ids_lead_back_to_tokens(rows):
    tokens = np.array(rows, dtype=int).reshape(-1, 3)
    ids = SMALL.encode(tokens)
    assert ids.dtype == np.uint16
    assert ids.tolist() == [
        i for row in rows for i in ([4] if row[0] < 0 else [t + 5 for t in row])
    ]
    np.testing.assert_array_equal(SMALL.decode(ids), tokens)


@given(rows, st.integers(0, 2), st.data())
def test_special_tokens_between_windows_and_an_open_end_are_left_out(rows, n, data):
    tokens = np.array(rows, dtype=int).reshape(-1, 3)
    ids = []
    for row in tokens:
        ids += data.draw(st.lists(st.integers(0, 3), max_size=2))
        ids += SMALL.encode(row[np.newaxis]).tolist()
    np.testing.assert_array_equal(SMALL.decode([*ids, *[9] * n]), tokens)


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([5, 6, 12], ValueError, "run from 5 to 12, outside the vocabulary of 12"),
        ([-1, 6, 7], ValueError, "run from -1 to 7"),
        ([5, 2, 6, 7], ValueError, "<eos> at position 1 stands within a window of 3"),
        ([5, 4, 6, 7], ValueError, "<missing> at position 1"),
        ([[5, 6, 7]], ValueError, "expected one sequence"),
        ([5.0, 6.0, 7.0], TypeError, "expected integers"),
    ],
)
def test_ids_that_mean_nothing_are_refused(ids, error, message):
    with pytest.raises(error, match=message):
        SMALL.decode(ids)


@pytest.mark.parametrize(
    ("tokens", "error", "message"),
    [
        ([[0, 1, 7]], ValueError, "run from 0 to 7, outside the vocabulary of 7"),
        ([[-1, 1, 2]], ValueError, "run from -1 to 2"),
        ([0, 1, 2], ValueError, r"expected \(n_windows, 3\)"),
        ([[0, 1]], ValueError, r"have shape \(1, 2\)"),
        ([[0.0, 1.0, 2.0]], TypeError, "expected integers"),
    ],
)
def test_tokens_of_no_window_are_refused(tokens, error, message):
    with pytest.raises(error, match=message):
        SMALL.encode(tokens)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint16, np.int32, np.uint64])
def test_ids_do_not_depend_on_the_dtype_of_tokens(dtype):
    vocabulary = Vocabulary(2**16 - 5, 1, 10, "f")
    tokens = np.array([[0], [100], [np.iinfo(dtype).max]]).clip(max=2**16 - 6)
    ids = vocabulary.encode(tokens.astype(dtype))
    np.testing.assert_array_equal(ids, tokens.ravel() + 5)


def test_large_vocabularies_take_four_bytes():
    large = Vocabulary(2**16 - 4, 1, 10, "f")
    assert large.dtype == np.uint32
    assert large.encode([[2**16 - 5]]).tolist() == [2**16]
    assert Vocabulary(2**16 - 5, 1, 10, "f").dtype == np.uint16


@pytest.mark.parametrize(
    "make",
    [
        codebook,
        lambda: GainShapeTokenizer(codebook()),
        lambda: make_tokenizer(25, 16, max_steps=2, random_state=0),
        lambda: make_paper_tokenizer(25, 16, max_steps=2, random_state=0),
        lambda: GridSearchCV(
            codebook(),
            {"vectorquantizer__n_codes": [8]},
            scoring=neg_reconstruction_mse,
        ),
    ],
)
def test_a_tokenizer_is_known_by_what_it_learned(ecg, tmp_path, make):
    fitted = make().fit(ecg.data[:100])
    vocabulary = Vocabulary.from_tokenizer(fitted)
    assert Vocabulary.from_tokenizer(pickle.loads(pickle.dumps(fitted))) == vocabulary
    joblib.dump(fitted, tmp_path / "fitted.joblib")
    script = (
        "import joblib, sktok.corpus as c;"
        "print(c.Vocabulary.from_tokenizer(joblib.load('fitted.joblib')).fingerprint)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, check=True
    )
    assert found.stdout.decode().strip() == vocabulary.fingerprint
    other = clone(fitted).fit(ecg.data[100:200])
    assert Vocabulary.from_tokenizer(other).fingerprint != vocabulary.fingerprint
    ids = vocabulary.encode(fitted.transform(ecg.data[:3]))
    np.testing.assert_array_equal(
        vocabulary.restore(ids, fitted),
        fitted.inverse_transform(fitted.transform(ecg.data[:3])),
    )
    with pytest.raises(ValueError, match="Load the tokenizer that made them"):
        vocabulary.restore(ids, other)


def test_parameters_set_after_fit_make_no_other_tokenizer(ecg):
    fitted = make_tokenizer(25, 16, max_steps=2, random_state=0).fit(ecg.data[:50])
    vocabulary = Vocabulary.from_tokenizer(fitted)
    fitted.set_params(tokenize__n_candidates=4, tokenize__verbose=1)
    vocabulary.check(fitted)


def test_learned_values_of_any_kind_have_a_fingerprint(ecg):
    bins = KBinsDiscretizer(4, encode="ordinal", quantile_method="linear")
    fitted, other = (clone(bins).fit(ecg.data[rows]) for rows in (slice(50), slice(60)))
    assert corpus_module._fingerprint(fitted) == corpus_module._fingerprint(
        pickle.loads(pickle.dumps(fitted))
    )
    assert corpus_module._fingerprint(fitted) != corpus_module._fingerprint(other)


def test_a_step_without_memory_is_known_by_its_parameters(ecg):
    scales = [FunctionTransformer(np.multiply, kw_args={"x2": x}) for x in (2, 3)]
    prints = [corpus_module._fingerprint(scale.fit(ecg.data)) for scale in scales]
    assert prints[0] != prints[1]


def test_missing_windows_are_restored_as_nan(vocabulary, tokenizer, ecg):
    tokens = tokenizer.transform(ecg.data[:3])
    tokens[1] = -1
    windows = vocabulary.restore(vocabulary.encode(tokens), tokenizer)
    assert np.isnan(windows).all(axis=1).tolist() == [False, True, False]
    assert vocabulary.restore([], tokenizer).shape == (0, 250)


def test_no_vocabulary_without_tokens(ecg):
    with pytest.raises(ValueError, match="AmplitudeScaler has no n_tokens_"):
        Vocabulary.from_tokenizer(AmplitudeScaler().fit(ecg.data))


def test_json_is_stable(vocabulary, tmp_path):
    path = tmp_path / "vocabulary.json"
    vocabulary.to_json(path)
    first = path.read_bytes()
    assert Vocabulary.from_json(path) == vocabulary
    Vocabulary.from_json(path).to_json(path)
    assert path.read_bytes() == first
    assert json.loads(first)["version"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["vocabulary.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(version=2), "use the release that wrote it"),
        (lambda content: content.update(format="x"), "is no sktok.vocabulary"),
        (lambda content: content.pop("n_tokens"), "does not hold a vocabulary"),
        (lambda content: content.update(special_tokens=[]), "does not hold"),
    ],
)
def test_other_json_is_refused(vocabulary, tmp_path, change, message):
    path = tmp_path / "vocabulary.json"
    vocabulary.to_json(path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        Vocabulary.from_json(path)
    path.write_text("{")
    with pytest.raises(ValueError, match="is no JSON"):
        Vocabulary.from_json(path)
    with pytest.raises(FileNotFoundError, match="There is no"):
        Vocabulary.from_json(tmp_path / "other.json")


# --- the files


def ids_of(corpus, entry):
    return corpus[entry["split"]][entry["first"] :][: entry["n_ids"]]


def test_files_lead_back_to_tokens(records, tokenizer, tmp_path):
    corpus = write_corpus(tmp_path / "a", records, tokenizer, validation=["p1"])
    assert [entry["record"] for entry in corpus.records] == [f"r{i}" for i in range(6)]
    for entry, record in zip(corpus.records, records, strict=True):
        ids = ids_of(corpus, entry)
        tokens = expected_tokens(record, tokenizer)
        np.testing.assert_array_equal(corpus.vocabulary.decode(ids), tokens)
        assert (ids[0], ids[-1]) == (1, 2)
        assert entry["split"] == ("val" if record.groups[0] == "p1" else "train")
        assert np.sum(ids == 4) == np.isnan(record.data).any(axis=1).sum()
    gap = corpus.records[2]
    assert gap["runs"] == [[0, 20], [6000, 30]]
    assert np.flatnonzero(ids_of(corpus, gap) == 3).tolist() == [1 + 20 * 10]
    raw = np.fromfile(tmp_path / "a" / "train.bin", np.uint16)
    np.testing.assert_array_equal(raw, corpus.train)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_loader_gives_the_same_as_its_records(records, tokenizer, tmp_path):
    whole = Bunch(**{k: np.concatenate([r[k] for r in records]) for k in records[0]})
    one = write_corpus(tmp_path / "a", whole, tokenizer, validation=iter(["p0"]))
    two = write_corpus(
        tmp_path / "b", iter(records), tokenizer, validation={"p0"}, channel=np.int64(0)
    )
    assert one.records == two.records
    for name in ("train.bin", "val.bin", "corpus.json", "records.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (
            tmp_path / "b" / name
        ).read_bytes()


def test_plain_arrays_are_records(ecg, tokenizer, tmp_path):
    arrays = (ecg.data[i : i + 10] for i in (0, 10))
    corpus = write_corpus(
        tmp_path / "a", arrays, tokenizer, groups={"1": "x"}, validation=["x"]
    )
    assert [(e["record"], e["group"]) for e in corpus.records] == [
        ("0", "0"),
        ("1", "x"),
    ]
    assert corpus.train.size == corpus.val.size == 102
    one = write_corpus(tmp_path / "b", ecg.data[:10], tokenizer, validation=0)
    np.testing.assert_array_equal(one.train, corpus.train)
    assert one.val.size == 0


@pytest.mark.parametrize("form", [iter, list, lambda X: X.tolist()])
def test_single_windows_are_one_record(ecg, tokenizer, tmp_path, form):
    whole = write_corpus(tmp_path / "a", ecg.data[:10], tokenizer, validation=0)
    one = write_corpus(tmp_path / "b", form(ecg.data[:10]), tokenizer, validation=0)
    np.testing.assert_array_equal(one.train, whole.train)
    assert one.records == whole.records


def test_records_of_another_rate_or_unit_are_refused(records, tokenizer, tmp_path):
    for index, (key, values) in enumerate(
        {"fs": (360, 250), "unit": ("mV", "uV")}.items()
    ):
        pair = [
            Bunch(**record, **{key: value})
            for record, value in zip(records, values, strict=False)
        ]
        with pytest.raises(
            ValueError, match=f"Record r1 has {key}=.* and record r0 has"
        ):
            write_corpus(tmp_path / str(index), pair, tokenizer)
    same = [Bunch(**record, fs=360, unit="mV") for record in records]
    corpus = write_corpus(tmp_path / "c", same, tokenizer, validation=["p1"])
    assert {(e["fs"], e["unit"]) for e in corpus.records} == {(360, "mV")}


def test_groups_of_no_record_are_refused(records, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="groups names the records 0, which source"):
        write_corpus(tmp_path / "a", records, tokenizer, groups={0: "p"}, validation=0)
    corpus = write_corpus(
        tmp_path / "b", records, tokenizer, groups={"r5": "p1"}, validation=["p1"]
    )
    assert [e["group"] for e in corpus.records] == ["p0", "p1", "p2", "p3", "p0", "p1"]


def test_wfdb_records_by_path(ecg, tokenizer, tmp_path):
    for name in ("a", "b"):
        signal = ecg.data[:8].reshape(-1, 1).copy()
        if name == "b":
            signal[300:303] = np.nan
        wfdb.wrsamp(
            name,
            fs=360,
            units=["mV"],
            sig_name=["II"],
            p_signal=signal,
            fmt=["16"],
            write_dir=str(tmp_path),
        )
    paths = [tmp_path / "a", str(tmp_path / "b")]
    corpus = write_corpus(
        tmp_path / "c", paths, tokenizer, channel="II", validation=["b"], verbose=1
    )
    tokens = corpus.vocabulary.decode(corpus.val)
    assert (tokens == -1).all(axis=1).tolist() == [False, True] + [False] * 6
    assert corpus.vocabulary.decode(corpus.train).shape == (8, 10)
    single = write_corpus(tmp_path / "d", paths[0], tokenizer, validation=0)
    np.testing.assert_array_equal(single.train, corpus.train)
    (tmp_path / "ward").mkdir()
    for path in tmp_path.glob("a.*"):
        (tmp_path / "ward" / path.name).write_bytes(path.read_bytes())
    same_name = [tmp_path / "a", tmp_path / "ward" / "a"]
    corpus = write_corpus(tmp_path / "e", same_name, tokenizer, validation=0)
    assert [entry["record"] for entry in corpus.records] == [str(p) for p in same_name]


def test_a_share_of_patients_keeps_them_on_their_side(tokenizer, ecg, tmp_path):
    windows = ecg.data[:2]

    def source(n):
        for index in range(n):
            yield Bunch(
                data=windows,
                start=[0, 250],
                record=[f"r{index}"] * 2,
                groups=[f"p{index // 2}"] * 2,
            )

    few = write_corpus(tmp_path / "a", source(60), tokenizer, validation=0.3)
    many = write_corpus(tmp_path / "b", source(200), tokenizer, validation=0.3)
    sides = [{e["group"]: e["split"] for e in c.records} for c in (few, many)]
    assert sides[0].items() <= sides[1].items()
    assert 0.2 < np.mean([side == "val" for side in sides[1].values()]) < 0.4


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "source holds no record"),
        ([np.empty((0, 250))], "Record 0 has windows of shape"),
        ([np.zeros((3, 200))], "expected at least one of 250 samples"),
        ([np.zeros(200)], "Record 0 has windows of shape"),
        (np.full((3, 250), np.inf), "infinity"),
        (
            Bunch(data=np.empty((0, 250)), record=[], groups=[], start=[]),
            "source holds no record",
        ),
    ],
)
def test_sources_without_windows_are_refused(tokenizer, tmp_path, source, message):
    with pytest.raises(ValueError, match=message):
        write_corpus(tmp_path / "a", source, tokenizer)
    assert not (tmp_path / "a").exists()


def test_wrong_sources_and_shares_are_refused(records, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="two records of the name 'r0'"):
        write_corpus(tmp_path / "a", [records[0], records[0]], tokenizer)
    mixed = Bunch(**{**records[0], "groups": np.array(["a", "b"] * 25)})
    with pytest.raises(ValueError, match="windows of the patients a, b"):
        write_corpus(tmp_path / "b", mixed, tokenizer)
    for validation, message in [(1.5, "share"), ("p1", r"\['p1'\]")]:
        with pytest.raises(ValueError, match=message):
            write_corpus(tmp_path / "c", records, tokenizer, validation=validation)
    with pytest.raises(ValueError, match="a dict without groups, record, start"):
        write_corpus(tmp_path / "c", {"data": records[0].data}, tokenizer)
    with pytest.raises(FileNotFoundError, match="no WFDB header"):
        write_corpus(tmp_path / "d", [tmp_path / "nothing"], tokenizer)


def test_a_split_that_is_not_meant_is_told(records, tokenizer, tmp_path):
    with pytest.warns(UserWarning, match="validation names p9, but the patients are"):
        write_corpus(tmp_path / "a", records, tokenizer, validation=["p1", "p9"])
    with pytest.warns(UserWarning, match="puts all 1 patients on one side"):
        write_corpus(tmp_path / "b", records[:1], tokenizer, validation=0.5)


def test_an_existing_folder_is_left_alone(records, tokenizer, vocabulary, tmp_path):
    corpus = write_corpus(tmp_path / "a", records, tokenizer, validation=["p1"])
    before = {path: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    for write in (
        lambda: write_corpus(tmp_path / "a", records, tokenizer),
        lambda: write_dataset(tmp_path / "a", corpus),
        lambda: write_auto_tokenizer(tmp_path / "a", vocabulary),
    ):
        with pytest.raises(FileExistsError, match="choose another name"):
            write()
    assert {path: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before


class Interrupted(Exception):
    pass


def interrupted(records, at):
    for index, record in enumerate(records):
        if index == at:
            raise Interrupted
        yield record


@pytest.mark.parametrize("at", range(6))
@pytest.mark.parametrize("half_written", [b"", b"\x01", b"\x01" * 301])
def test_a_second_run_goes_on(records, tokenizer, tmp_path, at, half_written):
    whole = write_corpus(tmp_path / "whole", records, tokenizer, validation=["p1"])
    with pytest.raises(Interrupted):
        write_corpus(
            tmp_path / "a", interrupted(records, at), tokenizer, validation=["p1"]
        )
    assert not (tmp_path / "a").exists()
    partial = tmp_path / ".a.partial-corpus"
    for name in ("train.bin", "val.bin", "records.jsonl"):
        with open(partial / name, "ab") as file:
            file.write(half_written)
    resumed = write_corpus(tmp_path / "a", records, tokenizer, validation=["p1"])
    assert resumed.records == whole.records
    for split in ("train", "val"):
        np.testing.assert_array_equal(resumed[split], whole[split])
    assert not partial.exists()


def test_what_is_done_is_not_done_again(records, tokenizer, tmp_path, monkeypatch):
    with pytest.raises(Interrupted):
        write_corpus(
            tmp_path / "a", interrupted(records, 4), tokenizer, validation=["p1"]
        )
    encode, done = corpus_module._encode_record, []
    monkeypatch.setattr(
        corpus_module,
        "_encode_record",
        lambda r, *rest: done.append(r) or encode(r, *rest),
    )
    write_corpus(tmp_path / "a", records, tokenizer, validation=["p1"])
    assert done == ["r4", "r5"]


def test_an_interrupted_corpus_is_not_mixed_with_another(
    records, tokenizer, ecg, tmp_path
):
    with pytest.raises(Interrupted):
        write_corpus(
            tmp_path / "a", interrupted(records, 4), tokenizer, validation=["p1"]
        )
    with pytest.raises(ValueError, match="another validation"):
        write_corpus(tmp_path / "a", records, tokenizer, validation=["p2"])
    other = codebook().fit(ecg.data[:200])
    with pytest.raises(ValueError, match="another vocabulary"):
        write_corpus(tmp_path / "a", records, other, validation=["p1"])
    with pytest.raises(ValueError, match="took record r0 for patient p0, and now it"):
        write_corpus(
            tmp_path / "a", records, tokenizer, validation=["p1"], groups={"r0": "x"}
        )
    with pytest.raises(ValueError, match="records r0, which source does not hold"):
        write_corpus(tmp_path / "a", records[1:], tokenizer, validation=["p1"])
    (tmp_path / ".a.partial-corpus" / "train.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="has lost ids"):
        write_corpus(tmp_path / "a", records, tokenizer, validation=["p1"])


def test_a_full_disk_loses_nothing(records, tokenizer, tmp_path, monkeypatch):
    append, n_left = corpus_module._append, [3]

    def full(folder, entry, ids):
        n_left[0] -= 1
        if n_left[0] < 0:
            with open(folder / "train.bin", "ab") as file:
                file.write(ids.tobytes()[:99])
            raise OSError(28, "No space left on device")
        return append(folder, entry, ids)

    monkeypatch.setattr(corpus_module, "_append", full)
    with pytest.raises(OSError, match="No space left") as error:
        write_corpus(tmp_path / "a", records, tokenizer, validation=["p1"])
    assert "run the same again" in error.value.__notes__[0]
    monkeypatch.setattr(corpus_module, "_append", append)
    resumed = write_corpus(tmp_path / "a", records, tokenizer, validation=["p1"])
    whole = write_corpus(tmp_path / "whole", records, tokenizer, validation=["p1"])
    assert resumed.records == whole.records
    np.testing.assert_array_equal(resumed.train, whole.train)


def test_two_processes_do_not_write_to_one_folder(records, tokenizer, tmp_path):
    pytest.importorskip("fcntl", reason="no locks of files: lifted on Unix")

    def source():
        yield records[0]
        with pytest.raises(OSError, match="Another process is writing"):
            write_corpus(tmp_path / "a", records, tokenizer, validation=["p1"])
        yield from records[1:]

    corpus = write_corpus(tmp_path / "a", source(), tokenizer, validation=["p1"])
    assert len(corpus.records) == 6
    names = ["corpus.json", "records.jsonl", "train.bin", "val.bin"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names


KILLED = """
import sys, time, joblib, numpy as np
from sktok.corpus import write_corpus
tokenizer, windows = joblib.load(sys.argv[1])
def records():
    for index in range(40):
        print(index, flush=True)
        time.sleep(0.02)
        yield windows[index:index + 9]
write_corpus(sys.argv[2], records(), tokenizer, validation=["3", "7"])
"""


def test_a_killed_process_leaves_nothing_that_is_taken_for_whole(
    tokenizer, ecg, tmp_path
):
    joblib.dump((tokenizer, ecg.data), tmp_path / "x.joblib")
    folder = tmp_path / "a"
    command = [sys.executable, "-c", KILLED, tmp_path / "x.joblib", folder]
    for n_lines in (1, 7, 20):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        for _ in range(n_lines):
            process.stdout.readline()
        time.sleep(0.005 * n_lines)
        process.kill()
        process.wait()
        process.stdout.close()
        assert not folder.exists()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    windows = [ecg.data[i : i + 9] for i in range(40)]
    whole = write_corpus(tmp_path / "b", windows, tokenizer, validation=["3", "7"])
    np.testing.assert_array_equal(read_corpus(folder).train, whole.train)
    assert read_corpus(folder).records == whole.records


def test_damaged_corpora_are_refused(records, tokenizer, tmp_path):
    folder = tmp_path / "a"
    write_corpus(folder, records, tokenizer, validation=["p1"])
    for size in (100, 101):
        os.truncate(folder / "val.bin", size)
        with pytest.raises(ValueError, match=f"val.bin holds {size} bytes, expected"):
            read_corpus(folder)
    content = json.loads((folder / "corpus.json").read_text())
    (folder / "corpus.json").write_text(json.dumps({**content, "dtype": ">u2"}))
    with pytest.raises(ValueError, match="byte order"):
        read_corpus(folder)
    with pytest.raises(FileNotFoundError, match=r"There is no sktok\.corpus"):
        read_corpus(tmp_path / "b")


# --- the formats of Hugging Face


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


@pytest.mark.parametrize("windows_per_row", [1, 7, 50, 1000])
def test_a_dataset_leads_back_to_tokens(
    records, tokenizer, tmp_path, windows_per_row, offline
):
    datasets = pytest.importorskip("datasets", reason="needs the extra lm")
    corpus = write_corpus(tmp_path / "a", records, tokenizer, validation=["p1"])
    write_dataset(tmp_path / "d", tmp_path / "a", windows_per_row=windows_per_row)
    loaded = datasets.load_from_disk(str(tmp_path / "d"))
    assert sorted(loaded) == ["train", "val"]
    for entry, record in zip(corpus.records, records, strict=True):
        rows = [
            row for row in loaded[entry["split"]] if row["record"] == record.record[0]
        ]
        joined = np.concatenate([row["input_ids"] for row in rows])
        np.testing.assert_array_equal(joined, ids_of(corpus, entry))
        for row in rows:
            assert row["group"] == record.groups[0]
            tokens = corpus.vocabulary.decode(row["input_ids"])
            assert 0 < len(tokens) <= windows_per_row
            first = np.flatnonzero(record.start == row["start"])[0]
            expected = expected_tokens(record, tokenizer)[first : first + len(tokens)]
            np.testing.assert_array_equal(tokens, expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "d"]


def test_auto_tokenizer_has_the_same_ids(vocabulary, tokenizer, ecg, tmp_path, offline):
    transformers = pytest.importorskip("transformers", reason="needs the extra lm")
    write_auto_tokenizer(tmp_path / "t", vocabulary)
    auto = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "t"))
    assert len(auto) == len(vocabulary)
    assert auto.get_vocab() == {text: i for i, text in enumerate(vocabulary.texts)}
    assert (auto.pad_token_id, auto.bos_token_id, auto.eos_token_id) == (0, 1, 2)
    assert (auto.sep_token_id, auto.convert_tokens_to_ids("<missing>")) == (3, 4)
    ids = [1, *vocabulary.encode(tokenizer.transform(ecg.data[:9])).tolist(), 4, 2]
    text = auto.decode(ids)
    assert text.startswith("<bos> ecg_")
    assert auto(text)["input_ids"] == ids
    with pytest.raises(Exception, match="UNK"):
        auto("ecg_32")
    assert Vocabulary.from_json(tmp_path / "t" / "vocabulary.json") == vocabulary


def test_missing_packages_are_named(records, tokenizer, tmp_path, monkeypatch):
    corpus = write_corpus(tmp_path / "a", records, tokenizer, validation=["p1"])
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'sktok\[lm\]'"):
        write_dataset(tmp_path / "d", corpus)


def test_no_row_without_windows(records, tokenizer, tmp_path):
    corpus = write_corpus(tmp_path / "a", records, tokenizer, validation=["p1"])
    with pytest.raises(ValueError, match="windows_per_row=0"):
        write_dataset(tmp_path / "d", corpus, windows_per_row=0)


def test_real_records_make_the_round_trip(mitdb_home, tokenizer, tmp_path):
    paths = [mitdb_home / "mitdb" / name for name in ("100", "208")]
    corpus = write_corpus(tmp_path / "a", paths, tokenizer, validation=["100"])
    for name, split in (("100", "val"), ("208", "train")):
        windows = fetch_mitdb([name], data_home=mitdb_home).data
        tokens = corpus.vocabulary.decode(corpus[split])
        np.testing.assert_array_equal(tokens, tokenizer.transform(windows))


@pytest.mark.parametrize(
    "change",
    [
        {"n_tokens": 2**32},  # whose ids would not fit 32 bits, and wrap
        {"n_tokens": 0},
        {"n_tokens": 7.0},
        {"tokens_per_window": 0},
        {"tokens_per_window": True},
        {"tokens_per_window": 10**12},
        {"window_length": -1},
        {"window_length": "30"},
        {"fingerprint": 3},
    ],
)
def test_vocabularies_that_cannot_be(change):
    (name,) = change
    with pytest.raises(ValueError, match=f"{name}=.*: expected"):
        Vocabulary(**{**vars(SMALL), **change})


def test_the_largest_token_of_64_bits_is_no_missing_window():
    tokens = np.full((1, 3), 2**64 - 1, dtype=np.uint64)
    with pytest.raises(ValueError, match="outside the vocabulary"):
        SMALL.encode(tokens)


def test_deep_json_is_refused(tmp_path):
    (tmp_path / "vocabulary.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="is no JSON"):
        Vocabulary.from_json(tmp_path / "vocabulary.json")


def test_no_json_is_written_through_a_link(tmp_path):
    (tmp_path / "other").write_text("mine")
    (tmp_path / ".vocabulary.json.partial").symlink_to(tmp_path / "other")
    SMALL.to_json(tmp_path / "vocabulary.json")
    assert (tmp_path / "other").read_text() == "mine"
    assert Vocabulary.from_json(tmp_path / "vocabulary.json") == SMALL


@pytest.fixture(scope="module")
def written(tmp_path_factory, records, tokenizer):
    folder = tmp_path_factory.mktemp("written") / "corpus"
    write_corpus(folder, records, tokenizer, validation=[])
    return folder


@pytest.mark.parametrize(
    "change",
    [
        {"n_ids": -1},
        {"n_ids": 3.0},
        {"n_ids": "3"},
        {"first": 1},
        {"split": "../../etc/passwd"},
        {"record": None},
        {"group": 1},
        {"fs": "250"},
        {"unit": []},
        {"runs": [[0, 10**12]]},
        {"runs": [[0, 10**30]]},
        {"runs": [[0, True]]},
        {"runs": [0, 1]},
        {"runs": []},
        {"runs": "x"},
    ],
)
def test_a_journal_that_cannot_be(written, tmp_path, change):
    folder = tmp_path / "corpus"
    shutil.copytree(written, folder)
    first, *others = (folder / "records.jsonl").read_text().splitlines()
    lines = [json.dumps(json.loads(first) | change), *others]
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"Line [12] of .*records.jsonl does not tell"):
        read_corpus(folder)


@pytest.mark.parametrize("key", ["vocabulary", "dtype"])
def test_a_corpus_without_a_setting_is_refused(written, tmp_path, key):
    folder = tmp_path / "corpus"
    shutil.copytree(written, folder)
    content = json.loads((folder / "corpus.json").read_text())
    del content[key]
    (folder / "corpus.json").write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=r"does not hold a vocabulary|of another machine"
    ):
        read_corpus(folder)


def test_damaged_ids_do_not_become_a_dataset(written, tmp_path):
    folder = tmp_path / "corpus"
    shutil.copytree(written, folder)
    vocabulary = read_corpus(folder).vocabulary
    ids = np.fromfile(folder / "train.bin", vocabulary.dtype)
    start = np.flatnonzero(ids == vocabulary.bos_id)[0]
    for forged in (vocabulary.missing_id, len(vocabulary)):
        ids[start] = forged
        ids.tofile(folder / "train.bin")
        with pytest.raises(
            ValueError, match=r"not those of its windows|outside the voc"
        ):
            write_dataset(tmp_path / "dataset", folder)


@pytest.mark.parametrize("name", ["", ".lock", "train.bin", "records.jsonl"])
def test_nothing_is_written_through_links(tmp_path, records, tokenizer, name):
    unfinished, elsewhere = tmp_path / ".corpus.partial-corpus", tmp_path / "elsewhere"
    if name:
        unfinished.mkdir()
        elsewhere.write_text("mine")
    else:
        elsewhere.mkdir()
    (unfinished / name).symlink_to(elsewhere)
    with pytest.raises(FileExistsError, match="is a link"):
        write_corpus(tmp_path / "corpus", records, tokenizer)
    assert (
        list(elsewhere.iterdir()) == [] if not name else elsewhere.read_text() == "mine"
    )


@pytest.mark.parametrize("dtype", ["M8[s]", "U3", "c16"])
def test_what_is_no_signal_is_refused(tmp_path, tokenizer, dtype):
    windows = np.zeros((2, tokenizer.n_features_in_)).astype(dtype)
    windows[0, 0] = "NaT" if dtype == "M8[s]" else "x" if dtype == "U3" else 1j
    with pytest.raises((ValueError, TypeError)):
        write_corpus(tmp_path / "corpus", windows, tokenizer)


def test_masked_samples_are_missing_windows(tmp_path, ecg, tokenizer):
    mask = np.zeros((3, 250), dtype=bool)
    mask[1, 7] = True
    windows = np.ma.masked_array(ecg.data[:3], mask)
    corpus = write_corpus(tmp_path / "corpus", windows, tokenizer, validation=[])
    is_missing = corpus.vocabulary.decode(corpus.train)[:, 0] == -1
    np.testing.assert_array_equal(is_missing, [False, True, False])


def test_ids_of_no_sequence_are_refused():
    with pytest.raises(ValueError, match="expected one sequence"):
        SMALL.decode(np.empty((2, 3, 0), dtype=int))
    assert SMALL.decode([]).shape == SMALL.decode(np.empty(0, complex)).shape == (0, 3)


def test_a_bunch_of_unequal_lengths_is_refused(tmp_path, ecg):
    quantizer = BinQuantizer(8).fit(ecg.data)
    cut = Bunch(**{**ecg, "record": ecg.record[:-1]})
    with pytest.raises(ValueError, match="unequal lengths"):
        write_corpus(tmp_path / "corpus", cut, quantizer)
