"""ECG in text models: ids, embeddings and datasets of text with ECG in it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer

from sktok import (
    BlockSegmenter,
    GainShapeTokenizer,
    ResidualVectorQuantizer,
    VectorQuantizer,
)
from sktok.corpus import (
    Vocabulary,
    extend_model,
    extend_tokenizer,
    read_corpus,
    write_auto_tokenizer,
    write_corpus,
    write_dataset,
    write_text_dataset,
)

datasets = pytest.importorskip("datasets", reason="needs the extra lm")
tokenizers = pytest.importorskip("tokenizers", reason="needs the extra lm")
transformers = pytest.importorskip("transformers", reason="needs the extra lm")

EXAMPLES = Path(__file__).parents[1] / "examples"
WORDS = "<pad> <bos> <eos> <unk> <sep> ecg_17 report this : sinus rhythm".split()
WIDTH, N_TOKENS = 3, 40


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def text_tokenizer_of(words=WORDS, *, adds_bos=False):
    """A tokenizer of words, with special tokens of the names that ours have."""
    ids = {word: index for index, word in enumerate(words)}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="<unk>"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    if adds_bos:
        model.post_processor = tokenizers.processors.TemplateProcessing(
            "<bos> $A", special_tokens=[("<bos>", 1)]
        )
    special = {f"{name}_token": f"<{name}>" for name in ("pad", "bos", "eos", "unk")}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=model, **special)


def vocabulary_of(**sizes):
    sizes = {"n_tokens": N_TOKENS, "tokens_per_window": WIDTH} | sizes
    return Vocabulary(window_length=250, fingerprint="of a tokenizer", **sizes)


@pytest.fixture
def text_tokenizer():
    return text_tokenizer_of()


@pytest.fixture
def joined(text_tokenizer):
    return extend_tokenizer(text_tokenizer, vocabulary_of())


windows = st.integers(1, 4).flatmap(
    lambda n: st.lists(
        st.lists(st.integers(0, N_TOKENS - 1), min_size=WIDTH, max_size=WIDTH),
        min_size=n,
        max_size=n,
    )
)

# --- tokenizers


def test_text_keeps_its_ids(text_tokenizer):
    before = text_tokenizer.get_vocab()
    text = "report this : ecg_17 <sep> sinus rhythm"
    ids = text_tokenizer(text).input_ids
    joined = extend_tokenizer(text_tokenizer, vocabulary_of())
    assert joined.first_id == len(WORDS)
    assert text_tokenizer(text).input_ids == ids
    assert before.items() <= text_tokenizer.get_vocab().items()
    assert len(text_tokenizer) == len(WORDS) + len(joined)
    special = "pad_token_id", "bos_token_id", "eos_token_id"
    assert [getattr(text_tokenizer, name) for name in special] == [0, 1, 2]


def test_names_and_ids_agree(text_tokenizer, joined):
    text = "<ecg_pad> <ecg> </ecg> <ecg_sep> <ecg_missing> <ecg_0> <ecg_39>"
    ids = text_tokenizer(text).input_ids
    special = "pad_id", "bos_id", "eos_id", "sep_id", "missing_id"
    assert ids[:5] == [getattr(joined, name) for name in special]
    tokens = joined.encode([[0, 39, 0]])
    assert ids[5:] == tokens[:2].tolist()
    assert text_tokenizer("report<ecg_3><ecg_39>this").input_ids == (
        [6, *joined.encode([[3, 39, 0]])[:2], 7]
    )


@given(windows, st.integers(1, 70_000), st.data())
def test_ids_of_a_text_model_lead_back_to_tokens(tokens, first_id, data):
    own = vocabulary_of()
    joined = replace(own, first_id=first_id)
    ids = joined.encode(tokens)
    np.testing.assert_array_equal(ids, own.encode(tokens).astype(int) + first_id)
    assert ids.dtype == (np.uint16 if first_id + len(joined) <= 2**16 else np.uint32)
    text = st.lists(st.integers(0, first_id - 1) | st.just(first_id + len(own)))
    pieces = [joined.encode([row]).tolist() for row in tokens]
    mixed = data.draw(text)
    for piece in pieces:
        mixed += [joined.bos_id, *piece, joined.eos_id, *data.draw(text)]
    np.testing.assert_array_equal(joined.decode(mixed), tokens)


def test_a_missing_window_has_an_id_in_a_text_model(joined):
    tokens = [[1, 2, 3], [-1, -1, -1]]
    ids = joined.encode(tokens)
    assert ids.tolist()[3:] == [joined.missing_id]
    np.testing.assert_array_equal(joined.decode(ids), tokens)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([0, 3, 5], r"All ids are those of text, expected some from 11 to 55"),
        ([16, 17, 2, 18], r"The text at position 2 is within a window of 3 tokens"),
        ([16, 14, 17, 18], r"The special token <sep> at position 1 is within"),
    ],
)
def test_ids_that_are_no_ecg_are_refused(joined, ids, message):
    with pytest.raises(ValueError, match=message):
        joined.decode(ids)


def test_an_extended_tokenizer_is_saved_and_loaded(text_tokenizer, joined, tmp_path):
    text_tokenizer.save_pretrained(tmp_path / "t")
    joined.to_json(tmp_path / "t" / "vocabulary.json")
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "t")
    assert loaded.get_vocab() == text_tokenizer.get_vocab()
    assert Vocabulary.from_json(tmp_path / "t" / "vocabulary.json") == joined
    ids = loaded("report this : <ecg> <ecg_7> </ecg> sinus rhythm").input_ids
    text = loaded.decode(ids, skip_special_tokens=True)
    assert text.split() == "report this : sinus rhythm".split()


def test_a_tokenizer_is_extended_once(text_tokenizer, joined):
    before = text_tokenizer.get_vocab()
    with pytest.raises(ValueError, match=r"has the token </ecg> already.*another pref"):
        extend_tokenizer(text_tokenizer, vocabulary_of())
    assert text_tokenizer.get_vocab() == before
    with pytest.raises(ValueError, match=r"first_id=11, so it is that of a text model"):
        extend_tokenizer(text_tokenizer, joined, prefix="other")


def test_two_signals_share_a_text_model(text_tokenizer, joined):
    pulse = extend_tokenizer(text_tokenizer, vocabulary_of(), prefix="ppg")
    assert pulse.first_id == joined.first_id + len(joined)
    ids = [*joined.encode([[1, 2, 3]]), 0, *pulse.encode([[4, 5, 6]])]
    np.testing.assert_array_equal(joined.decode(ids), [[1, 2, 3]])
    np.testing.assert_array_equal(pulse.decode(ids), [[4, 5, 6]])


@pytest.mark.parametrize("prefix", ["", "a b", "<ecg>", "1x", None, 3])
def test_prefixes_are_words(text_tokenizer, prefix):
    with pytest.raises(ValueError, match=r"prefix=.*expected a word of letters"):
        extend_tokenizer(text_tokenizer, vocabulary_of(), prefix=prefix)
    assert len(text_tokenizer) == len(WORDS)


def test_what_is_no_text_tokenizer_is_refused():
    with pytest.raises(TypeError, match=r"is a VectorQuantizer, expected a tokenizer"):
        extend_tokenizer(VectorQuantizer(4), vocabulary_of())


@pytest.mark.parametrize("first_id", [-1, 2**32 - 5, 2**32, 1.5, True, None])
def test_ids_fit_into_32_bits(first_id):
    with pytest.raises(ValueError, match="first_id="):
        vocabulary_of(first_id=first_id)


def test_the_tokenizer_of_a_vocabulary_has_no_text(joined, tmp_path):
    with pytest.raises(ValueError, match="save the tokenizer of the text model"):
        write_auto_tokenizer(tmp_path / "t", joined)
    assert not (tmp_path / "t").exists()


def test_vocabularies_of_version_2_begin_at_0(tmp_path):
    path = tmp_path / "vocabulary.json"
    vocabulary_of(n_leads=2).to_json(path)
    content = json.loads(path.read_text()) | {"version": 2}
    del content["first_id"]
    path.write_text(json.dumps(content))
    assert Vocabulary.from_json(path) == vocabulary_of(n_leads=2)
    content["version"] = 3
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="does not hold a vocabulary"):
        Vocabulary.from_json(path)


# --- models


def model_of(n_rows, *, tied=True):
    sizes = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 1}
    options = {"num_attention_heads": 2, "tie_word_embeddings": tied}
    config = transformers.LlamaConfig(vocab_size=n_rows, **sizes, **options)
    return transformers.LlamaForCausalLM(config)


def stages():
    return make_pipeline(BlockSegmenter(25), ResidualVectorQuantizer(16, 2))


TOKENIZERS = {
    "codes": lambda: make_pipeline(BlockSegmenter(25), VectorQuantizer(32)),
    "stages": stages,
    "gain and shape": lambda: GainShapeTokenizer(stages(), n_bins=8),
}


@pytest.fixture(scope="module")
def fitted(ecg):
    made = {name: make() for name, make in TOKENIZERS.items()}
    for tokenizer in made.values():
        tokenizer.fit(ecg.data)
    return made


def extended(tokenizer, n_text=500):
    return replace(Vocabulary.from_tokenizer(tokenizer), first_id=n_text)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("n_rows", [500, 700])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_model_learns_ids_and_keeps_those_of_text(fitted, name, tied, n_rows):
    tokenizer, model = fitted[name], model_of(n_rows, tied=tied)
    tables = [model.get_input_embeddings, model.get_output_embeddings]
    before = [table().weight[:500].detach().clone() for table in tables]
    vocabulary = extended(tokenizer)
    extend_model(model, vocabulary, tokenizer, random_state=0)
    n_ids = max(n_rows, 500 + len(vocabulary))
    for table, old in zip(tables, before, strict=True):
        weight = table().weight.detach()
        assert weight.shape == (n_ids, 48)
        np.testing.assert_array_equal(weight[:500], old)
    assert model.config.vocab_size == n_ids
    ids = vocabulary.encode([[0] * vocabulary.tokens_per_window]).astype(int)
    ids = model.get_input_embeddings().weight.new_tensor(ids[np.newaxis]).long()
    assert model(ids).logits.isfinite().all()


def test_embeddings_are_near_where_codes_are(fitted):
    tokenizer = fitted["codes"]
    model, vocabulary = model_of(500), extended(tokenizer)
    extend_model(model, vocabulary, tokenizer, random_state=0)
    rows = model.get_input_embeddings().weight.detach().numpy()
    text, special = rows[:500], rows[500:505]
    rows, codes = rows[505:537], tokenizer[-1].codes_
    np.testing.assert_allclose(special, [text.mean(axis=0)] * 5, rtol=1e-5, atol=1e-6)
    power = np.sum((text - text.mean(axis=0)) ** 2) / len(text)
    assert 0.5 < np.sum(rows**2) / len(rows) / power / 0.2**2 < 2
    lengths = np.linalg.norm(rows, axis=1)
    assert lengths.max() < 4 * lengths.min()
    one, other = (
        np.linalg.norm(x[:, np.newaxis] - x, axis=2).ravel() for x in (rows, codes)
    )
    assert spearmanr(one, other).statistic > 0.7


def test_a_seed_gives_the_same_embeddings(fitted):
    tokenizer, weights = fitted["stages"], []
    state = model_of(500).state_dict()
    for seed in (3, 3, 4):
        model = model_of(500)
        model.load_state_dict(state)
        extend_model(model, extended(tokenizer), tokenizer, random_state=seed)
        weights.append(model.get_input_embeddings().weight.detach().numpy())
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_what_does_not_belong_to_the_model_is_refused(fitted):
    tokenizer, model = fitted["codes"], model_of(500)
    vocabulary = extended(tokenizer)
    for first_id in (0, 501):
        with pytest.raises(ValueError, match=f"first_id={first_id}, but the model has"):
            extend_model(model, replace(vocabulary, first_id=first_id), tokenizer)
    with pytest.raises(ValueError, match="Load the tokenizer that made the ids"):
        extend_model(model, vocabulary, fitted["stages"])
    with pytest.raises(TypeError, match="is a dict, expected a model"):
        extend_model({}, vocabulary, tokenizer)
    assert model.get_input_embeddings().num_embeddings == 500


def test_tokens_that_stand_for_nothing_known_are_refused(ecg):
    bins = KBinsDiscretizer(4, encode="ordinal", strategy="uniform").fit(ecg.data)
    bins.n_tokens_ = 4
    vocabulary = replace(Vocabulary.from_tokenizer(bins), first_id=500)
    with pytest.raises(TypeError, match="KBinsDiscretizer does not say what its token"):
        extend_model(model_of(500), vocabulary, bins)


# --- datasets


def example_of(**changes):
    example = {
        "prompt": "report this : <ecg>",
        "completion": "sinus rhythm",
        "ecg": [[1, 2, 3], [4, 5, 6]],
    }
    return example | changes


def write(folder, examples, text_tokenizer, joined, **options):
    write_text_dataset(folder, examples, text_tokenizer, joined, **options)
    return datasets.load_from_disk(folder)


def test_text_and_ecg_are_in_one_sequence(text_tokenizer, joined, tmp_path):
    example = example_of()
    rows = write(tmp_path / "d", [example], text_tokenizer, joined, validation=[])
    (row,) = rows["train"]
    ecg = [joined.bos_id, *joined.encode(example["ecg"]).tolist(), joined.eos_id]
    assert row["input_ids"] == [6, 7, 8, *ecg, 9, 10, 2]
    assert row["labels"] == [-100] * 11 + [9, 10, 2]
    np.testing.assert_array_equal(joined.decode(row["input_ids"]), example["ecg"])
    assert row["group"] == "0"
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_several_ecgs_and_ecgs_to_learn(text_tokenizer, joined, tmp_path):
    example = example_of(
        prompt="<ecg> this : <ecg>",
        completion="<ecg>",
        ecg=[np.array([[1, 2, 3]]), [[4, 5, 6]], [[7, 8, 9], [-1, -1, -1]]],
    )
    rows = write(tmp_path / "d", [example], text_tokenizer, joined, validation=[])
    (row,) = rows["train"]
    tokens = np.concatenate(example["ecg"])
    np.testing.assert_array_equal(joined.decode(row["input_ids"]), tokens)
    np.testing.assert_array_equal(joined.decode(row["labels"]), tokens[2:])
    assert row["labels"][-2:] == [joined.eos_id, 2]


def test_the_first_and_the_last_id_come_once(tmp_path):
    text_tokenizer = text_tokenizer_of(adds_bos=True)
    joined = extend_tokenizer(text_tokenizer, vocabulary_of())
    examples = [
        example_of(),
        example_of(prompt="<bos> report this : <ecg>", completion="sinus rhythm <eos>"),
    ]
    rows = write(tmp_path / "d", examples, text_tokenizer, joined, validation=[])
    one, other = rows["train"]["input_ids"]
    assert one == other
    assert (one.count(1), one.count(2), one[0], one[-1]) == (1, 1, 1, 2)


def test_patients_are_in_one_split(text_tokenizer, joined, tmp_path):
    examples = [example_of(group=f"p{i % 7}") for i in range(21)]
    rows = write(tmp_path / "d", examples, text_tokenizer, joined, validation=["p2"])
    assert set(rows["val"]["group"]) == {"p2"}
    assert set(rows["train"]["group"]) == {f"p{i}" for i in (0, 1, 3, 4, 5, 6)}
    assert len(rows["val"]) == 3


def test_rows_make_a_batch_to_train_on(text_tokenizer, joined, tmp_path):
    examples = [example_of(), example_of(ecg=[[1, 2, 3]])]
    rows = write(tmp_path / "d", examples, text_tokenizer, joined, validation=[])
    rows = rows["train"].remove_columns("group")
    batch = transformers.DataCollatorForSeq2Seq(text_tokenizer)(list(rows))
    assert batch["input_ids"].shape == batch["labels"].shape == (2, 14)
    assert batch["attention_mask"].sum(dim=1).tolist() == [14, 11]
    assert model_of(500)(**batch).loss.isfinite()


@pytest.mark.parametrize(
    ("example", "error", "message"),
    [
        ("text", TypeError, "It is a str, expected a dict"),
        ({"prompt": "x", "ecg": []}, ValueError, "It has no completion"),
        (example_of(prompt=3), TypeError, "Its prompt is a int, expected a str"),
        (example_of(prompt="this"), ValueError, "1 more ECGs than its text has places"),
        (example_of(completion="<ecg>"), ValueError, "more places of an ECG, <ecg>"),
        (example_of(prompt="<ecg> <ecg_3>"), ValueError, "Its prompt has <ecg_3> in"),
        (example_of(completion="</ecg>"), ValueError, "Its completion has </ecg> in"),
        (example_of(ecg=[[1, 2, 40]]), ValueError, "outside the vocabulary of 40"),
        (example_of(ecg=[[1, 2]]), ValueError, "2 columns, expected 3"),
        (example_of(ecg=[[1.0, 2.0, 3.0]]), TypeError, "expected integers"),
        (
            example_of(ecg=[[1, 2, 3]] * 9),
            ValueError,
            "35 ids, more than max_length=20",
        ),
        (example_of(group=None), TypeError, "group"),
    ],
)
def test_examples_that_mean_nothing_are_refused(
    text_tokenizer, joined, tmp_path, example, error, message
):
    examples = [example_of(), example_of(), example]
    with pytest.raises(error, match=message) as caught:
        write(tmp_path / "d", examples, text_tokenizer, joined, max_length=20)
    assert caught.value.__notes__[0] == "The error is in example 2."
    assert not list(tmp_path.iterdir())


def test_a_text_dataset_has_its_own_vocabulary(text_tokenizer, joined, tmp_path):
    others = [
        replace(joined, first_id=0),
        replace(joined, first_id=joined.first_id - 1),
        replace(joined, n_tokens=41),
    ]
    for other in others:
        with pytest.raises(ValueError, match="does not have the tokens of the vocabul"):
            write(tmp_path / "d", [example_of()], text_tokenizer, other)
    with pytest.raises(ValueError, match="There are no rows"):
        write(tmp_path / "d", [], text_tokenizer, joined)
    for max_length in (0, 2.5, True):
        with pytest.raises(ValueError, match=f"max_length={max_length}: expected"):
            write(tmp_path / "d", [], text_tokenizer, joined, max_length=max_length)
    assert not list(tmp_path.iterdir())


def test_a_dataset_of_ecg_has_the_ids_of_a_text_model(fitted, ecg, tmp_path):
    write_corpus(tmp_path / "c", ecg, fitted["codes"], validation=[])
    corpus = read_corpus(tmp_path / "c")
    joined = replace(corpus.vocabulary, first_id=70_000)
    write_dataset(tmp_path / "d", corpus, vocabulary=joined)
    ids = np.concatenate(datasets.load_from_disk(tmp_path / "d")["train"]["input_ids"])
    np.testing.assert_array_equal(ids, corpus.train.astype(int) + 70_000)
    np.testing.assert_array_equal(
        joined.decode(ids), fitted["codes"].transform(ecg.data)
    )
    with pytest.raises(ValueError, match="is not that of the corpus"):
        write_dataset(tmp_path / "e", corpus, vocabulary=vocabulary_of())


# --- the examples


@pytest.fixture
def example(monkeypatch):
    """`train_text_model` with a small model, and some of the ECG in the package."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delenv("SKTOK_DATA", raising=False)
    import train_text_model as example

    monkeypatch.setattr(example, "GPT2", {"n_embd": 32, "n_layer": 1, "n_head": 2})
    monkeypatch.setattr(example, "MINUTES", 0.01)
    return example


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning")
def test_a_text_model_is_trained(example, capsys):
    example.main()
    shown = capsys.readouterr().out
    assert "GPT2LMHeadModel, 0 million parameters: 257 tokens of text, 4613 of" in shown
    assert "24 reports to learn, 6 held out" in shown
    assert re.search(r"right: \d+ beats a minute\. +written: ", shown)
    assert "6 held-out reports, " in shown


def test_reports_are_true(example, ecg):
    signal = ecg.data[:14].ravel()
    text = example.report(signal, ecg.fs, "Sinus rhythm.")
    assert re.fullmatch(r" \d+ beats a minute\. Sinus rhythm\.", text)
    assert 80 < example.rate_of(text.strip()) < 120
    assert example.report(0 * signal, ecg.fs, None) == " 0 beats a minute."
    assert np.isnan(example.rate_of("about 70 beats"))


def test_starts_of_embeddings_are_compared(example, monkeypatch, capsys):
    import benchmark_text_model as benchmark

    monkeypatch.setenv("SKTOK_DATA", "nowhere")
    monkeypatch.setattr(benchmark, "N_STEPS", 10)
    monkeypatch.setattr(benchmark, "N_SCORED", 2)
    monkeypatch.setattr(benchmark, "LEARNING_RATE", 0.03)
    benchmark.main()
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    starts = {name: cells for name, *cells in rows[2:]}
    *trained, frequencies = starts
    assert trained == ["random", "mean", "codebook"]
    for name in trained:
        before, after = map(float, starts[name][:2])
        assert 0 < after < before
    assert 0 < float(starts[frequencies][1]) < np.log2(4608)
