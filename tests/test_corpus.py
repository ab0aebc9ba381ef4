"""Tokens to ids, to files, and back."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import joblib
import numpy as np
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    StandardScaler,
)
from sklearn.utils import Bunch

from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    GainShapeTokenizer,
    Resampler,
    VectorQuantizer,
    make_paper_tokenizer,
    make_tokenizer,
)
from sktok.corpus import (
    Vocabulary,
    _writer,
    read_corpus,
    write_auto_tokenizer,
    write_corpus,
    write_dataset,
)
from sktok.corpus._fingerprint import fingerprint
from sktok.datasets import fetch_mitdb, load_wfdb, split_patients, windows_from
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


def facts_tokenizer(ecg, fs=360, unit="mV", lead=None):
    resampler = Resampler(fs, fs, unit=unit, lead=lead)
    return make_pipeline(resampler, codebook()).fit(ecg.data)


@pytest.fixture(scope="module")
def two_leads(ecg):
    """A tokenizer of the leads I and II, and their windows as a Bunch."""
    signal = np.stack([ecg.data[:40].ravel(), ecg.data[40:80].ravel() / 2])
    names = ["I", "II"]
    bunch = windows_from(signal, fs=360, unit="mV", lead=names, record="r", group="p")
    resampler = Resampler(360, 360, unit="mV", lead=names)
    return make_pipeline(resampler, codebook()).fit(bunch.data), bunch, signal


def write_wfdb(path, signals, fs=360, units="mV", names=("I", "II")):
    """A WFDB record; `signals` is (n_leads, n_samples)."""
    path.parent.mkdir(exist_ok=True)
    signals = np.atleast_2d(signals)
    wfdb.wrsamp(
        path.name,
        fs=fs,
        units=[units] * len(signals),
        sig_name=list(names[: len(signals)]),
        p_signal=signals.T,
        fmt=["16"] * len(signals),
        write_dir=str(path.parent),
    )


def leads_of(corpus):
    return [(entry["record"], entry["lead"]) for entry in corpus.records]


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
    special = "<pad> <bos> <eos> <sep> <missing>".split()
    assert vocabulary.id_to_token[:6] == [*special, "ecg_0"]
    assert len(vocabulary.id_to_token) == len(vocabulary)
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
        ([5, 2, 6, 7], ValueError, "<eos> at position 1 is within a window of 3"),
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
        ([0, 1, 2], ValueError, "Expected 2D array, got 1D"),
        ([[0, 1]], ValueError, "tokens have 2 columns, expected 3"),
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


# --- the fingerprint


def paper_tokenizer():
    return make_paper_tokenizer(25, 16, max_steps=2, random_state=0)


def plain_tokenizer():
    return make_tokenizer(25, 16, max_steps=2, random_state=0)


def search():
    grid = {"vectorquantizer__n_codes": [8]}
    return GridSearchCV(codebook(), grid, scoring=neg_reconstruction_mse)


TOKENIZERS = [
    codebook,
    lambda: GainShapeTokenizer(codebook()),
    plain_tokenizer,
    paper_tokenizer,
    search,
    lambda: KBinsDiscretizer(4, encode="ordinal", quantile_method="linear"),
    lambda: make_pipeline(PCA(4, random_state=0), BinQuantizer(8)),
    lambda: make_pipeline(
        FeatureUnion([("a", PCA(2)), ("b", StandardScaler())]), BinQuantizer(8)
    ),
]


@pytest.mark.parametrize("make", TOKENIZERS)
def test_the_fingerprint_identifies_what_was_learned(ecg, make):
    fitted = make().fit(ecg.data[:100])
    found = fingerprint(fitted)
    assert fingerprint(pickle.loads(pickle.dumps(fitted))) == found
    assert fingerprint(clone(fitted).fit(ecg.data[:100])) == found
    assert fingerprint(clone(fitted).fit(ecg.data[100:200])) != found


def test_the_fingerprint_is_the_same_in_another_process(ecg, tmp_path):
    fitted = [make().fit(ecg.data[:60]) for make in (codebook, paper_tokenizer)]
    joblib.dump(fitted, tmp_path / "fitted.joblib")
    script = (
        "import joblib; from sktok.corpus._fingerprint import fingerprint;"
        "print(*map(fingerprint, joblib.load('fitted.joblib')))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, check=True
    )
    assert found.stdout.decode().split() == list(map(fingerprint, fitted))


def test_only_the_tokenizer_of_a_vocabulary_decodes(ecg, tokenizer, vocabulary):
    tokens = tokenizer.transform(ecg.data[:3])
    ids = vocabulary.encode(tokens)
    np.testing.assert_array_equal(
        vocabulary.decode_signal(ids, tokenizer), tokenizer.inverse_transform(tokens)
    )
    other = codebook().fit(ecg.data[:200])
    with pytest.raises(ValueError, match="Load the tokenizer that made the ids"):
        vocabulary.decode_signal(ids, other)


def test_what_does_not_change_tokens_does_not_change_the_fingerprint(ecg):
    fitted = plain_tokenizer().fit(ecg.data[:50])
    found = fingerprint(fitted)
    fitted.set_params(tokenize__n_candidates=4, tokenize__verbose=1)
    fitted.set_params(tokenize__device="cpu", verbose=True, memory="cache")
    fitted.steps = [(f"renamed_{name}", step) for name, step in fitted.steps]
    assert fingerprint(fitted) == found
    pandas = pytest.importorskip("pandas", reason="needs the extra bench")
    frame = pandas.DataFrame(ecg.data[:50]).add_prefix("t")
    assert fingerprint(plain_tokenizer().fit(frame)) == found
    nested = make_pipeline("passthrough", make_pipeline(fitted), None)
    assert fingerprint(nested) == found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"limits": (-5, 5)}, {"limits": (np.float32(-5), np.int8(5))}),
        ({"n_bins": 8}, {"n_bins": np.int64(8)}),
    ],
)
def test_equal_parameters_have_one_fingerprint(ecg, one, other):
    prints = {fingerprint(BinQuantizer(**p).fit(ecg.data)) for p in (one, other)}
    assert len(prints) == 1


EQUAL = [
    (1, 1.0, True, np.True_, np.int8(1), np.float32(1), np.array(1)),
    (0.0, -0.0, False),
    ((1, 2.5), [np.float64(1), np.float32(2.5)]),
    (np.eye(3), np.eye(3, dtype=np.float32), np.asfortranarray(np.eye(3, dtype=int))),
    ({"a": 1, "b": (2,)}, {"b": [2.0], "a": True}),
    ("a", np.str_("a")),
    (["a"], np.array(["a"]), np.array(["a"], dtype=object)),
    ({1, 2}, frozenset({2.0, 1.0})),
    (np.nan, np.float32("nan")),
    (2**60, np.uint64(2**60)),
]
DIFFERENT = [None, "1", 2**60 + 1, 10**400, (1,), [[1]], np.ones((3, 1)), np.ones(3)]
DIFFERENT += [(0, 1), (1, 0), {}, "", range(3), np.float64, float, np.exp, np.complex64]
DIFFERENT += [np.array([1j]), np.array([1], "M8[s]"), np.array([1], "m8[s]"), 1j, b"a"]


def test_values_have_one_fingerprint_if_they_are_equal():
    found = [{fingerprint(value) for value in values} for values in EQUAL]
    assert all(len(same) == 1 for same in found)
    singles = {fingerprint(value) for value in DIFFERENT}
    assert len(singles.union(*found)) == len(DIFFERENT) + len(EQUAL)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PCA(2, whiten=True), PCA(2, whiten=False)),
        (AmplitudeScaler(clip=True), AmplitudeScaler(clip=False)),
        (AmplitudeScaler((0, 1)), AmplitudeScaler((0, 2))),
        [FunctionTransformer(np.roll, kw_args={"shift": n}) for n in (2, 3)],
        (FunctionTransformer(np.sqrt), FunctionTransformer(np.square)),
        (StandardScaler(with_std=False), StandardScaler(with_std=True)),
    ],
)
def test_parameters_that_change_tokens_change_the_fingerprint(ecg, one, other):
    prints = {
        fingerprint(make_pipeline(step, BinQuantizer(limits=(-5, 5))).fit(ecg.data**2))
        for step in (one, other)
    }
    assert len(prints) == 2


def test_order_and_nesting_of_steps_count(ecg):
    sine, square = FunctionTransformer(np.sin), FunctionTransformer(np.square)
    unions = [
        FeatureUnion([("a", make_pipeline(*first)), ("b", make_pipeline(*second))])
        for first, second in [([sine, square], [sine]), ([sine], [square, sine])]
    ]
    steps = [make_pipeline(sine, square), make_pipeline(square, sine), *unions]
    assert len({fingerprint(step.fit(ecg.data)) for step in steps}) == 4


def test_a_lambda_has_no_fingerprint(ecg):
    doubling = FunctionTransformer(lambda X: 2 * X).fit(ecg.data)
    with pytest.raises(ValueError, match="has no fingerprint because it cannot be"):
        fingerprint(doubling)


# --- ids to signal


def test_missing_windows_are_decoded_as_nan(vocabulary, tokenizer, ecg):
    tokens = tokenizer.transform(ecg.data[:3])
    tokens[1] = -1
    windows = vocabulary.decode_signal(vocabulary.encode(tokens), tokenizer)
    assert np.isnan(windows).all(axis=1).tolist() == [False, True, False]
    assert vocabulary.decode_signal([], tokenizer).shape == (0, 250)


def test_no_vocabulary_without_tokens(ecg):
    with pytest.raises(ValueError, match="AmplitudeScaler has no n_tokens_"):
        Vocabulary.from_tokenizer(AmplitudeScaler().fit(ecg.data))


def test_sizes_may_be_numpy_integers(tmp_path):
    sizes = map(np.int16, (7, 3, 30))
    Vocabulary(*sizes, fingerprint="f").to_json(tmp_path / "vocabulary.json")
    assert Vocabulary.from_json(tmp_path / "vocabulary.json") == SMALL


def test_json_is_stable(vocabulary, tmp_path):
    path = tmp_path / "vocabulary.json"
    vocabulary.to_json(path)
    first = path.read_bytes()
    assert Vocabulary.from_json(path) == vocabulary
    Vocabulary.from_json(path).to_json(path)
    assert path.read_bytes() == first
    assert json.loads(first)["version"] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["vocabulary.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda content: content.update(version=4),
            "use the release of sktok that wrote it",
        ),
        (lambda content: content.update(format="x"), "is not a sktok.vocabulary"),
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
        tmp_path / "a", arrays, tokenizer, groups={0: 0, "1": "x"}, validation=["x"]
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


def test_single_windows_are_named_by_the_position_of_the_first(
    ecg, tokenizer, tmp_path
):
    X = ecg.data
    source = [X[:3], X[3], X[4:6], X[6].tolist()]
    corpus = write_corpus(tmp_path / "a", source, tokenizer, validation=["1"])
    names = [(entry["record"], entry["runs"]) for entry in corpus.records]
    assert names == [("0", [[0, 3]]), ("2", [[0, 2]]), ("1", [[0, 2]])]
    tokens = corpus.vocabulary.decode(corpus.val)
    np.testing.assert_array_equal(tokens, tokenizer.transform(X[[3, 6]]))


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


def test_groups_name_all_records_and_may_name_others(records, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="groups has no patient for record r0: name"):
        write_corpus(tmp_path / "a", records, tokenizer, groups={0: "p"}, validation=0)
    groups = {f"r{i}": f"q{i % 3}" for i in range(9)}
    corpus = write_corpus(
        tmp_path / "b", records, tokenizer, groups=groups, validation=["q1"]
    )
    assert [e["group"] for e in corpus.records] == ["q0", "q1", "q2", "q0", "q1", "q2"]


@pytest.mark.parametrize("patient", [np.nan, None, ("a", "b"), 1.0, "", True])
def test_what_names_no_patient_is_refused(records, tokenizer, tmp_path, patient):
    groups = {f"r{i}": patient for i in range(6)}
    with pytest.raises(TypeError, match="expected the name of a patient"):
        write_corpus(tmp_path / "a", records, tokenizer, groups=groups)
    unnamed = Bunch(**records[0] | {"groups": [patient] * 50})
    with pytest.raises(TypeError, match="expected the name of a patient"):
        write_corpus(tmp_path / "b", unnamed, tokenizer)


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
        ([np.empty((0, 250))], r"\(0, 250\), expected at least one: leave"),
        ([np.zeros((3, 200))], r"200\), expected \(n_windows, 250\)"),
        ([np.zeros(200)], r"200\), expected \(n_windows, 250\)"),
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
    for validation, message in [(1.5, "share"), ("p1", r"\['100', '103'\]")]:
        with pytest.raises(ValueError, match=message):
            write_corpus(tmp_path / "c", records, tokenizer, validation=validation)
    with pytest.raises(ValueError, match="a dict without groups, record, start"):
        write_corpus(tmp_path / "c", {"data": records[0].data}, tokenizer)
    with pytest.raises(FileNotFoundError, match="no WFDB or EDF record"):
        write_corpus(tmp_path / "d", [tmp_path / "nothing"], tokenizer)


@pytest.mark.parametrize("validation", [True, False, np.True_, None, np.nan, -0.1])
def test_validation_is_a_share_or_names(records, tokenizer, tmp_path, validation):
    with pytest.raises(ValueError, match=r"validation=.*expected a share from 0 to 1"):
        write_corpus(tmp_path / "a", records, tokenizer, validation=validation)


@pytest.mark.parametrize("channel", [True, -1, 1.0])
def test_a_channel_is_a_number_or_a_name(records, tokenizer, tmp_path, channel):
    with pytest.raises(ValueError, match=r"channel=.*expected an int from 0"):
        write_corpus(tmp_path / "a", records, tokenizer, channel=channel)


START = 250 * np.arange(50)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"start": START + 0.5}, TypeError, "start has dtype float64, expected int"),
        ({"start": START > 0}, TypeError, "start has dtype bool"),
        ({"start": [10**30] * 50}, TypeError, "start has dtype object"),
        ({"start": START.astype("M8[s]")}, ValueError, "dates or times"),
        ({"start": np.ma.masked_equal(START, 250)}, ValueError, "masked values"),
        ({"start": START[:, np.newaxis]}, ValueError, "one sample for each window"),
        ({"start": START.astype(np.uint64) + 2**63}, ValueError, r"within 2\*\*62"),
        ({"start": START - 2**62}, ValueError, r"within 2\*\*62"),
        ({"fs": "250"}, ValueError, "fs='250'"),
        ({"fs": np.nan}, ValueError, "fs=nan"),
        ({"fs": 10**400}, ValueError, "expected a number above 0"),
        ({"fs": Fraction(1, 10**400)}, ValueError, "expected a number above 0"),
        ({"unit": np.nan}, TypeError, "unit=nan: expected a str"),
        ({"unit": b"mV"}, TypeError, "unit=b'mV'"),
        ({"unit": "\udcff"}, ValueError, "not all valid Unicode text: rename"),
        ({"scale": ["record"]}, ValueError, "expected None or 'record'"),
        ({"groups": ["Ann"] * 49 + [np.nan]}, TypeError, "groups holds nan"),
        ({"groups": ["\ud800"] * 50}, ValueError, "not all valid Unicode text"),
        ({"lead": [None] * 50}, TypeError, "lead=.*expected a name"),
        ({"lead": [["I", "II"]] * 50}, ValueError, "lead=.*expected one name"),
        ({"lead": ["\ud800"] * 50}, ValueError, "not all valid Unicode text"),
    ],
)
def test_what_a_corpus_cannot_hold_is_refused(
    records, tokenizer, tmp_path, change, error, message
):
    source = [records[0], Bunch(**records[1] | change)]
    with pytest.raises(error, match=message) as found:
        write_corpus(tmp_path / "a", source, tokenizer, validation=0.5)
    assert "The error is in record r1." in found.value.__notes__
    assert written_to(tmp_path / "a") == ["r0"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"record": [np.nan] * 50}, TypeError, "record holds nan: expected the name"),
        ({"record": ["r"] * 49 + [None]}, TypeError, "record holds None"),
        ({"record": np.array([b"r"] * 50)}, TypeError, "record holds .*b'r'"),
        ({"record": [""] * 50}, TypeError, "record holds ''"),
        ({"record": ["\udcff"] * 50}, ValueError, "not all valid Unicode text"),
        ({"record": "r" * 50}, TypeError, "record='rr.*one value for each window"),
        ({"groups": "p" * 50}, TypeError, "groups='pp.*one value for each window"),
        ({"lead": "I" * 50}, TypeError, "lead='II.*one value for each window"),
        ({"start": None}, ValueError, "a Bunch without start: give"),
    ],
)
def test_what_names_no_records_is_refused(
    records, tokenizer, tmp_path, change, error, message
):
    with pytest.raises(error, match=message):
        write_corpus(tmp_path / "a", Bunch(**records[0] | change), tokenizer)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("n_names", [1, 3])
def test_windows_of_two_leads_have_two_names(two_leads, tmp_path, n_names):
    _, ecg, _ = two_leads
    both = make_pipeline(Resampler(360, 360), codebook()).fit(ecg.data)
    names = np.full((40, n_names), ["I", "II", "V1"][:n_names])
    with pytest.raises(ValueError, match=r"lead=.*expected 2 different names"):
        write_corpus(tmp_path / "a", Bunch(**ecg | {"lead": names}), both)


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ({"scale": "minmax"}, ValueError, "scale='minmax': expected None or 'record'"),
        ({"scale": np.nan}, ValueError, "scale=nan"),
        ({"channel": {"I", "II"}}, TypeError, "expected a list, because leads have"),
        ({"fs": 10**400}, ValueError, "expected a number above 0"),
    ],
)
def test_settings_that_json_cannot_hold_are_refused(
    records, tokenizer, tmp_path, setting, error, message
):
    with pytest.raises(error, match=message):
        write_corpus(tmp_path / "a", records, tokenizer, **setting)
    assert list(tmp_path.iterdir()) == []


def test_facts_of_numpy_types_are_stored(records, tokenizer, tmp_path):
    record = records[0]
    facts = {"fs": np.float32(250), "unit": np.str_("mV"), "start": record.start - 99}
    source = Bunch(**record | facts)
    corpus = write_corpus(tmp_path / "a", source, tokenizer, validation=[])
    entry = corpus.records[0]
    assert (entry["fs"], entry["unit"], entry["runs"]) == (250, "mV", [[-99, 50]])


def test_a_split_that_is_not_meant_is_told(records, tokenizer, tmp_path):
    with pytest.warns(UserWarning, match="names patients without records: p9"):
        write_corpus(tmp_path / "a", records, tokenizer, validation=["p1", "p9"])
    with pytest.warns(UserWarning, match="puts all 1 patients into one split"):
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


def write_each_record(monkeypatch):
    """Let each record be a batch, so that it is on the disk before the next one."""
    monkeypatch.setattr(_writer, "_SAMPLES_AT_ONCE", 1)


def written_to(folder):
    """The names of the records that an interrupted call wrote."""
    journal = folder.with_name(f".{folder.name}.partial") / "records.jsonl"
    return [json.loads(line)["record"] for line in journal.read_text().splitlines()]


@pytest.mark.parametrize("at", range(6))
@pytest.mark.parametrize("half_written", [b"", b"\x01", b"\x01" * 301])
def test_a_second_run_goes_on(records, tokenizer, tmp_path, at, half_written):
    whole = write_corpus(tmp_path / "whole", records, tokenizer, validation=["p1"])
    with pytest.raises(Interrupted):
        write_corpus(
            tmp_path / "a", interrupted(records, at), tokenizer, validation=["p1"]
        )
    assert not (tmp_path / "a").exists()
    assert written_to(tmp_path / "a") == [f"r{i}" for i in range(at)]
    partial = tmp_path / ".a.partial"
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
    encode, done = _writer._encode, []
    monkeypatch.setattr(
        _writer,
        "_encode",
        lambda batch, *rest: (
            done.extend(part.entry["record"] for part in batch) or encode(batch, *rest)
        ),
    )
    write_corpus(tmp_path / "a", records, tokenizer, validation=["p1"])
    assert done == ["r4", "r5"]


def test_files_are_synced_once_for_a_batch(records, tokenizer, tmp_path, monkeypatch):
    sync, synced = _writer.sync, []
    monkeypatch.setattr(_writer, "sync", lambda f: synced.append(f.name) or sync(f))
    write_corpus(tmp_path / "a", records, tokenizer, validation=["p1"])
    names = [os.path.basename(name) for name in synced]
    assert names == ["train.bin", "val.bin", "records.jsonl"]  # entries after ids


@settings(max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=9),
    samples_at_once=st.integers(1, 99),
    data=st.data(),
)
def test_files_do_not_depend_on_batches(lengths, samples_at_once, data):
    rng = np.random.default_rng(0)
    dtypes = st.sampled_from([np.float64, np.float32])
    source = [rng.random((n, 4)).astype(data.draw(dtypes)) for n in lengths]
    source[0][0, 0] = np.nan
    tokenizer = BinQuantizer(8, limits=(0, 1)).fit(np.zeros((1, 4)))
    options = {"validation": ["1", "2"] if len(lengths) > 2 else []}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for n_samples in (1, samples_at_once):
            patch.setattr(_writer, "_SAMPLES_AT_ONCE", n_samples)
            path = Path(folder, str(len(os.listdir(folder))))
            corpus = write_corpus(path, iter(source), tokenizer, **options)
        one, two = (
            {file.name: file.read_bytes() for file in path.iterdir()}
            for path in sorted(Path(folder).iterdir())
        )
        assert one == two
        for entry, windows in zip(corpus.records, source, strict=True):
            present = ~np.isnan(windows).any(axis=1)
            tokens = corpus.vocabulary.decode(ids_of(corpus, entry))
            expected = tokenizer.transform(windows[present]) if present.any() else 0
            np.testing.assert_array_equal(tokens[present], expected)
            assert (tokens[~present] == -1).all()


def test_a_source_may_reuse_its_buffer(ecg, tokenizer, tmp_path):
    def reusing(shape):
        buffer = np.empty(shape)
        for index in range(4):
            buffer[...] = ecg.data[index]
            yield buffer

    for name, shape in (("records", (2, 250)), ("windows", 250)):
        fresh = [windows.copy() for windows in reusing(shape)]
        one, two = (
            write_corpus(tmp_path / f"{name}{i}", source, tokenizer, validation=[])
            for i, source in enumerate([fresh, reusing(shape)])
        )
        np.testing.assert_array_equal(one.train, two.train)


def refuse_large(X):
    if (X > 99).any():
        raise RuntimeError("over 99")
    return X


@pytest.mark.parametrize("at", [0, 2, 5])
def test_the_record_at_fault_is_named_and_those_before_it_are_written(
    records, tmp_path, at
):
    step = FunctionTransformer(refuse_large, feature_names_out="one-to-one")
    tokenizer = make_pipeline(step, codebook()).fit(records[0].data)
    source = [Bunch(**record | {"data": record.data.copy()}) for record in records]
    source[at].data[3, 3] = 100
    with pytest.raises(RuntimeError, match="over 99") as error:
        write_corpus(tmp_path / "a", source, tokenizer, validation=["p1"])
    assert error.value.__notes__ == [f"The error is in record r{at}."]
    assert written_to(tmp_path / "a") == [f"r{i}" for i in range(at)]
    resumed = write_corpus(tmp_path / "a", records, tokenizer, validation=["p1"])
    whole = write_corpus(tmp_path / "b", records, tokenizer, validation=["p1"])
    assert resumed.records == whole.records
    np.testing.assert_array_equal(resumed.train, whole.train)


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
    with pytest.raises(ValueError, match="assigned record r0 to patient p0, this"):
        write_corpus(
            tmp_path / "a", records, tokenizer, validation=["p1"], groups={"r0": "x"}
        )
    with pytest.raises(ValueError, match="records r0, which source does not hold"):
        write_corpus(tmp_path / "a", records[1:], tokenizer, validation=["p1"])
    (tmp_path / ".a.partial" / "train.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="is too short"):
        write_corpus(tmp_path / "a", records, tokenizer, validation=["p1"])


def test_a_full_disk_loses_nothing(records, tokenizer, tmp_path, monkeypatch):
    append, n_left = _writer._append, [3]
    write_each_record(monkeypatch)

    def full(folder, entries, sequences):
        n_left[0] -= 1
        if n_left[0] < 0:
            with open(folder / "train.bin", "ab") as file:
                file.write(sequences[0].tobytes()[:99])
            raise OSError(28, "No space left on device")
        return append(folder, entries, sequences)

    monkeypatch.setattr(_writer, "_append", full)
    with pytest.raises(OSError, match="No space left") as error:
        write_corpus(tmp_path / "a", records, tokenizer, validation=["p1"])
    assert "run the command again" in error.value.__notes__[0]
    monkeypatch.setattr(_writer, "_append", append)
    resumed = write_corpus(tmp_path / "a", records, tokenizer, validation=["p1"])
    whole = write_corpus(tmp_path / "whole", records, tokenizer, validation=["p1"])
    assert resumed.records == whole.records
    np.testing.assert_array_equal(resumed.train, whole.train)


def test_two_processes_do_not_write_to_one_folder(records, tokenizer, tmp_path):
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
from sktok.corpus import _writer, write_corpus
_writer._SAMPLES_AT_ONCE = 3 * 9 * 250  # three records
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
        with pytest.raises(ValueError, match=f"val.bin has {size} bytes, expected"):
            read_corpus(folder)
    content = json.loads((folder / "corpus.json").read_text())
    (folder / "corpus.json").write_text(json.dumps({**content, "dtype": ">u2"}))
    with pytest.raises(ValueError, match="byte order"):
        read_corpus(folder)
    with pytest.raises(FileNotFoundError, match=r"There is no sktok\.corpus"):
        read_corpus(tmp_path / "b")


# --- leads


def test_each_lead_of_a_record_is_a_sequence(two_leads, tokenizer, tmp_path):
    _, _, signal = two_leads
    options = {"fs": 360, "unit": "mV", "lead": ["I", "II"], "group": "p"}
    source = [
        windows_from(s, record=name, leads="rows", **options)
        for name, s in (("r", signal), ("s", signal[::-1]))
    ]
    corpus = write_corpus(tmp_path / "a", source, tokenizer, validation=["p"])
    assert leads_of(corpus) == [("r", "I"), ("r", "II"), ("s", "I"), ("s", "II")]
    assert {(e["group"], e["split"]) for e in corpus.records} == {("p", "val")}
    for entry, samples in zip(corpus.records, [*signal, *signal[::-1]], strict=True):
        ids = ids_of(corpus, entry)
        assert (ids[0], ids[-1], np.sum(ids == 2)) == (1, 2, 1)
        expected = tokenizer.transform(samples.reshape(-1, 250))
        np.testing.assert_array_equal(corpus.vocabulary.decode(ids), expected)


def test_leads_of_files_are_sequences(two_leads, tokenizer, tmp_path):
    _, _, signal = two_leads
    for name in ("a", "b"):
        write_wfdb(tmp_path / "ward" / name, signal)
    options = {"validation": [], "channel": "all"}
    corpus = write_corpus(tmp_path / "x", tmp_path / "ward", tokenizer, **options)
    assert leads_of(corpus) == [("a", "I"), ("a", "II"), ("b", "I"), ("b", "II")]
    options["channel"] = ["II", np.int64(0)]
    for name, source in {
        "y": str(tmp_path / "ward" / "*.hea"),
        "z": [tmp_path / "ward" / "a.hea", tmp_path / "ward" / "b"],
    }.items():
        corpus = write_corpus(tmp_path / name, source, tokenizer, **options)
        assert leads_of(corpus) == [("a", "II"), ("a", "I"), ("b", "II"), ("b", "I")]
    ecg = load_wfdb(tmp_path / "ward" / "b", channel="II")
    tokens = corpus.vocabulary.decode(ids_of(corpus, corpus.records[2]))
    np.testing.assert_array_equal(tokens, tokenizer.transform(ecg.data))


def test_leads_that_are_tokenized_together_are_one_sequence(two_leads, tmp_path):
    tokenizer, ecg, signal = two_leads
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    assert (vocabulary.n_leads, vocabulary.window_length) == (2, 250)
    assert vocabulary.tokens_per_window == 20
    write_wfdb(tmp_path / "r", signal)
    data = ecg.data.copy()
    data[3, 1, 7] = np.nan
    for name, source in {
        "bunch": Bunch(**ecg | {"data": data}),
        "array": data,
        "windows": list(data),
        "file": tmp_path / "r",
    }.items():
        corpus = write_corpus(
            tmp_path / name, source, tokenizer, validation=[], channel=["I", "II"]
        )
        (entry,) = corpus.records
        assert (entry["lead"], entry["runs"]) == (["I", "II"], [[0, 40]])
        windows = corpus.vocabulary.decode_signal(corpus.train, tokenizer)
        missing = [] if name == "file" else [3]
        assert windows.shape == (40, 2, 250)
        assert np.flatnonzero(np.isnan(windows).any(axis=(1, 2))).tolist() == missing
        rows = np.delete(np.arange(40), missing)
        if name != "file":
            expected = tokenizer.inverse_transform(tokenizer.transform(ecg.data[rows]))
            np.testing.assert_array_equal(windows[rows], expected)


def test_a_tokenizer_of_a_single_lead_with_an_axis(ecg, tokenizer, tmp_path):
    single = clone(tokenizer).fit(ecg.data[:, np.newaxis])
    corpus, other = (
        write_corpus(tmp_path / name, source, fitted, validation=[])
        for name, source, fitted in (
            ("a", ecg.data[:9], single),
            ("b", ecg.data[:9, np.newaxis], tokenizer),
        )
    )
    np.testing.assert_array_equal(corpus.train, other.train)
    windows = corpus.vocabulary.decode_signal(corpus.train, single)
    np.testing.assert_array_equal(
        windows, other.vocabulary.decode_signal(other.train, tokenizer)
    )


def test_windows_of_other_leads_are_refused(two_leads, tokenizer, tmp_path):
    both, ecg, signal = two_leads
    for source in (ecg, ecg.data):
        with pytest.raises(ValueError, match=r"expected \(n_windows, 250\): .*'rows'"):
            write_corpus(tmp_path / "a", source, tokenizer)
    for source in (ecg.data[:, :1], ecg.data[0, 0], signal):
        with pytest.raises(ValueError, match=r"expected \(n_windows, 2, 250\)"):
            write_corpus(tmp_path / "a", source, both)
    swapped = Bunch(**ecg | {"lead": ecg.lead[:, ::-1]})
    with pytest.raises(ValueError, match=r"lead=\('II', 'I'\)"):
        write_corpus(tmp_path / "a", swapped, both)


def test_a_lead_comes_once_and_a_record_has_one_patient(two_leads, tokenizer, tmp_path):
    _, _, signal = two_leads
    one, two, other = (
        windows_from(s, fs=360, unit="mV", lead=lead, record="r", group=group)
        for s, lead, group in zip(
            signal[[0, 1, 1]], ["I", "II", "II"], ["p", "p", "q"], strict=True
        )
    )
    corpus = write_corpus(tmp_path / "a", [one, two], tokenizer, validation=[])
    assert leads_of(corpus) == [("r", "I"), ("r", "II")]
    with pytest.raises(ValueError, match="two records of the name 'r' and lead 'I'"):
        write_corpus(tmp_path / "b", [one, two, one], tokenizer)
    with pytest.raises(ValueError, match="windows of the patients p and q"):
        write_corpus(tmp_path / "c", [one, other], tokenizer)


@pytest.mark.parametrize("n_written", range(1, 4))
def test_a_second_run_goes_on_within_a_record(
    two_leads, tokenizer, tmp_path, monkeypatch, n_written
):
    _, _, signal = two_leads
    write_each_record(monkeypatch)
    for name in ("a", "b"):
        write_wfdb(tmp_path / "ward" / name, signal)
    write = lambda name: write_corpus(  # noqa: E731
        tmp_path / name, tmp_path / "ward", tokenizer, validation=[], channel="all"
    )
    whole, append, n_left, read = write("whole"), _writer._append, [n_written], []

    def fail(*arguments):
        n_left[0] -= 1
        if n_left[0] < 0:
            raise Interrupted
        return append(*arguments)

    monkeypatch.setattr(_writer, "_append", fail)
    with pytest.raises(Interrupted):
        write("x")
    n_left[0], load = 9, _writer.load_any
    monkeypatch.setattr(
        _writer, "load_any", lambda path, **o: read.append(path.name) or load(path, **o)
    )
    resumed = write("x")
    assert resumed.records == whole.records
    np.testing.assert_array_equal(resumed.train, whole.train)
    assert read == (["a", "b"] if n_written < 3 else ["b"])


def test_short_files_are_skipped_with_one_warning(two_leads, tokenizer, tmp_path):
    _, _, signal = two_leads
    for name, n_samples in {"a": 249, "b": 500, "c": 100}.items():
        write_wfdb(tmp_path / "ward" / name, signal[:1, :n_samples])
    with pytest.warns(UserWarning, match="2 records are skipped, .*: a is the first"):
        corpus = write_corpus(
            tmp_path / "x",
            tmp_path / "ward",
            tokenizer,
            groups={"a": "p", "b": "p", "c": "p"},
            validation=0,
        )
    assert leads_of(corpus) == [("b", "I")]
    with pytest.raises(ValueError, match="All 1 records of source are shorter than"):
        write_corpus(tmp_path / "y", tmp_path / "ward" / "a", tokenizer)


# --- sampling rate, unit and lead of the tokenizer


def test_another_rate_than_that_of_the_tokenizer_is_refused(ecg, tmp_path):
    tokenizer = facts_tokenizer(ecg)
    write_wfdb(tmp_path / "slow", ecg.data[:20].ravel(), fs=250)
    with pytest.raises(
        ValueError, match=r"fs=250.* fs=360.*\(fs=\).*set_params\(resampler__input_fs"
    ):
        write_corpus(tmp_path / "a", tmp_path / "slow", tokenizer)
    options = {"validation": []}
    read = write_corpus(tmp_path / "b", tmp_path / "slow", tokenizer, fs=360, **options)
    assert (read.records[0]["fs"], read.records[0]["runs"]) == (360, [[0, 28]])
    expected = load_wfdb(tmp_path / "slow", fs=360).data
    tokens = read.vocabulary.decode(read.train)
    np.testing.assert_array_equal(tokens, tokenizer.transform(expected))


def test_windows_have_the_rate_that_the_tokenizer_is_set_to(ecg, tmp_path):
    tokenizer = facts_tokenizer(ecg)
    at_360 = Vocabulary.from_tokenizer(tokenizer)
    tokenizer.set_params(resampler__input_fs=720)
    fast = windows_from(ecg.data[:20].ravel(), fs=720, window_length=500)
    corpus = write_corpus(tmp_path / "a", fast, tokenizer, validation=[])
    vocabulary = corpus.vocabulary
    assert (vocabulary.window_length, corpus.records[0]["fs"]) == (500, 720)
    assert vocabulary.fingerprint == at_360.fingerprint
    ids = corpus.train
    for known in (vocabulary, at_360):  # the tokenizer gives the rate
        assert known.decode_signal(ids, tokenizer).shape == (10, 500)
    tokenizer.set_params(resampler__input_fs=360)
    assert vocabulary.decode_signal(ids, tokenizer).shape == (10, 250)
    assert vocabulary.decode_signal([4], tokenizer).shape == (1, 250)


def test_voltages_are_converted_to_the_unit_of_the_tokenizer(ecg, tmp_path):
    microvolts = Bunch(**ecg | {"data": 1000 * ecg.data, "unit": "µV"})
    tokenizer = facts_tokenizer(microvolts, unit="µV")
    one, two = (
        write_corpus(tmp_path / name, source, tokenizer, validation=[])
        for name, source in (("a", ecg), ("b", microvolts))
    )
    np.testing.assert_array_equal(one.train, two.train)
    assert one.records == two.records
    assert one.records[0]["unit"] == "µV"
    pressure = Bunch(**ecg | {"unit": "mmHg"})
    with pytest.raises(ValueError, match=r"unit='mmHg', but .* unit='µV'"):
        write_corpus(tmp_path / "c", pressure, tokenizer)
    with pytest.raises(ValueError, match="scale='record' scales records to"):
        write_corpus(tmp_path / "d", ecg, tokenizer, scale="record")
    scaled = windows_from(ecg.data.ravel(), fs=360, unit="mV", scale="record")
    with pytest.raises(ValueError, match="scale='record' scales records to"):
        write_corpus(tmp_path / "d", scaled, tokenizer)
    with pytest.raises(TypeError, match="unit=nan: expected a str"):
        write_corpus(tmp_path / "e", Bunch(**ecg | {"unit": np.nan}), tokenizer)


def test_another_lead_than_that_of_the_tokenizer_is_refused(ecg, tmp_path):
    tokenizer = facts_tokenizer(ecg, lead="V5")
    with pytest.raises(ValueError, match=r"lead='MLII', but .* lead='V5'"):
        write_corpus(tmp_path / "a", ecg, tokenizer)
    any_lead = facts_tokenizer(ecg)
    corpus = write_corpus(tmp_path / "a", ecg, any_lead, validation=[])
    assert leads_of(corpus) == [("208", "MLII")]


def test_the_corpus_stores_what_the_tokenizer_adds(ecg, tmp_path):
    tokenizer = facts_tokenizer(ecg, lead="MLII")
    corpus = write_corpus(tmp_path / "a", ecg.data, tokenizer, validation=[])
    (entry,) = corpus.records
    assert (entry["fs"], entry["unit"], entry["lead"]) == (360, "mV", "MLII")


# --- patients


def test_the_split_is_that_of_split_patients(ecg, tokenizer, tmp_path):
    patients = np.repeat([f"p{i}" for i in range(20)], 2)
    source = Bunch(
        data=ecg.data[:40],
        start=np.zeros(40, int),
        record=np.array([f"r{i}" for i in range(40)]),
        groups=patients,
    )
    for index, validation in enumerate([0.0, 0.3, ["p3", "p8"]]):
        folder = tmp_path / str(index)
        corpus = write_corpus(folder, source, tokenizer, validation=validation)
        train, held_out = split_patients(patients, validation)
        for rows, split in ((train, "train"), (held_out, "val")):
            found = {e["group"] for e in corpus.records if e["split"] == split}
            assert found == set(patients[rows])


@pytest.mark.parametrize("groups", ["Ann", ["Ann"], {"Ann"}, 3])
def test_groups_are_a_mapping(records, tokenizer, tmp_path, groups):
    with pytest.raises(TypeError, match=r"groups=.*expected a mapping from the name"):
        write_corpus(tmp_path / "a", records, tokenizer, groups=groups)


# --- older files


def test_files_of_version_1_are_read(records, tokenizer, vocabulary, tmp_path):
    corpus = write_corpus(tmp_path / "a", records, tokenizer, validation=["p1"])
    vocabulary.to_json(tmp_path / "vocabulary.json")
    for path in (tmp_path / "a" / "corpus.json", tmp_path / "vocabulary.json"):
        content = json.loads(path.read_text())
        content["version"] = 1
        inner = content.get("vocabulary", content)
        inner["version"] = 1
        del inner["n_leads"]
        path.write_text(json.dumps(content))
    found = read_corpus(tmp_path / "a")
    assert (found.vocabulary, found.records) == (corpus.vocabulary, corpus.records)
    assert Vocabulary.from_json(tmp_path / "vocabulary.json") == vocabulary


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
        all_tokens = expected_tokens(record, tokenizer)
        for row in rows:
            assert row["group"] == record.groups[0]
            tokens = corpus.vocabulary.decode(row["input_ids"])
            assert 0 < len(tokens) <= windows_per_row
            first = np.flatnonzero(record.start == row["start"])[0]
            expected = all_tokens[first : first + len(tokens)]
            np.testing.assert_array_equal(tokens, expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "d"]


def test_a_dataset_has_a_column_of_leads(two_leads, tokenizer, tmp_path, offline):
    datasets = pytest.importorskip("datasets", reason="needs the extra lm")
    both, ecg, signal = two_leads
    options = {"fs": 360, "unit": "mV", "record": "r"}
    rows = windows_from(signal, lead=["I", "II"], leads="rows", **options)
    for name, source, fitted, leads in (
        ("rows", rows, tokenizer, ["I", "I", "II", "II"]),
        ("axis", ecg, both, ["I, II"] * 2),
        ("unknown", ecg.data[:, 0], tokenizer, [None] * 2),
    ):
        corpus = write_corpus(tmp_path / name, source, fitted, validation=[])
        write_dataset(tmp_path / f"{name}-dataset", corpus)
        loaded = datasets.load_from_disk(str(tmp_path / f"{name}-dataset"))["train"]
        assert list(loaded["lead"]) == leads
        joined = np.concatenate(loaded["input_ids"])
        np.testing.assert_array_equal(joined, corpus.train)


def test_auto_tokenizer_has_the_same_ids(vocabulary, tokenizer, ecg, tmp_path, offline):
    transformers = pytest.importorskip("transformers", reason="needs the extra lm")
    write_auto_tokenizer(tmp_path / "t", vocabulary)
    auto = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "t"))
    assert len(auto) == len(vocabulary)
    assert auto.get_vocab() == {
        text: i for i, text in enumerate(vocabulary.id_to_token)
    }
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


@pytest.mark.parametrize("windows_per_row", [0, True, 2.5, "2"])
def test_no_row_without_windows(written, tmp_path, windows_per_row):
    pytest.importorskip("datasets", reason="needs the extra lm")
    with pytest.raises(ValueError, match=f"windows_per_row={windows_per_row!r}: exp"):
        write_dataset(tmp_path / "d", written, windows_per_row=windows_per_row)


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
        {"n_leads": 0},
        {"n_leads": 2**30},
        {"fingerprint": 3},
    ],
)
def test_vocabularies_that_cannot_be(change):
    (name,) = change
    with pytest.raises(ValueError, match=f"{name}=.*: expected"):
        replace(SMALL, **change)


def test_the_largest_token_of_64_bits_is_no_missing_window():
    tokens = np.full((1, 3), 2**64 - 1, dtype=np.uint64)
    with pytest.raises(ValueError, match="outside the vocabulary"):
        SMALL.encode(tokens)


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
        {"fs": float("nan")},
        {"fs": 0.0},
        {"unit": []},
        {"lead": 1},
        {"lead": ["I"]},
        {"lead": ["I", "II"]},
        {"runs": [[0, 10**12]]},
        {"runs": [[0, 10**30]]},
        {"runs": [[2**62, 1]]},
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
    with pytest.raises(
        ValueError, match=r"Line [12] of .*records.jsonl does not describe"
    ):
        read_corpus(folder)


@pytest.mark.parametrize("key", ["vocabulary", "dtype"])
def test_a_corpus_without_a_setting_is_refused(written, tmp_path, key):
    folder = tmp_path / "corpus"
    shutil.copytree(written, folder)
    content = json.loads((folder / "corpus.json").read_text())
    del content[key]
    (folder / "corpus.json").write_text(json.dumps(content))
    with pytest.raises(
        ValueError,
        match=r"does not hold a vocabulary|byte order of this machine",
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
        with pytest.raises(ValueError, match=r"do not match its win|outside the voc"):
            write_dataset(tmp_path / "dataset", folder)


@pytest.mark.parametrize("name", ["", ".lock", "train.bin", "records.jsonl"])
def test_nothing_is_written_through_links(tmp_path, records, tokenizer, name):
    unfinished, elsewhere = tmp_path / ".corpus.partial", tmp_path / "elsewhere"
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


def test_masked_samples_of_single_windows_are_missing(tmp_path, ecg, tokenizer):
    windows = np.ma.masked_array(ecg.data[:3], ecg.data[:3] == ecg.data[1, 7])
    whole, single = (
        write_corpus(tmp_path / name, source, tokenizer, validation=[]).train
        for name, source in (("a", windows), ("b", list(windows)))
    )
    assert 4 in single  # <missing>
    np.testing.assert_array_equal(single, whole)


def test_ids_of_no_sequence_are_refused():
    with pytest.raises(ValueError, match="expected one sequence"):
        SMALL.decode(np.empty((2, 3, 0), dtype=int))
    assert SMALL.decode([]).shape == SMALL.decode(np.empty(0, complex)).shape == (0, 3)
    assert SMALL.encode(np.empty((0, 3), int)).shape == (0,)


def test_a_bunch_of_unequal_lengths_is_refused(tmp_path, ecg):
    quantizer = BinQuantizer(8).fit(ecg.data)
    cut = Bunch(**{**ecg, "record": ecg.record[:-1]})
    with pytest.raises(ValueError, match=r"different lengths, .*431 in record"):
        write_corpus(tmp_path / "corpus", cut, quantizer)


def test_records_of_all_devices_make_one_corpus(real_records, tmp_path):
    options = {"channel": "all", "leads": "rows", "fs": 250, "window_seconds": 2}
    ecg = load_wfdb(real_records, missing="drop", **options)
    steps = Resampler(250, 250, unit="mV"), BinQuantizer(256)
    tokenizer = make_pipeline(*steps).fit(ecg.data)
    options = {"channel": "all", "fs": 250, "validation": []}
    corpus = write_corpus(tmp_path / "corpus", real_records, tokenizer, **options)
    assert {entry["record"] for entry in corpus.records} == set(ecg.record)
    signal = corpus.vocabulary.decode_signal(corpus.train, tokenizer)
    present = np.isfinite(signal).all(axis=1)
    half_bin = np.ptp(ecg.data) / 512
    np.testing.assert_allclose(signal[present], ecg.data, atol=1.001 * half_bin)


@pytest.mark.parametrize("shape", [(2, 2**40), (1, 3, 2**40), (2, 2, 2, 250)])
def test_shapes_are_checked_before_a_copy(tokenizer, tmp_path, shape):
    with pytest.raises(ValueError, match="Windows have the shape"):
        write_corpus(tmp_path / "a", np.broadcast_to(0.5, shape), tokenizer)
