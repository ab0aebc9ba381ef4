"""Byte pair encoding of the ids of a corpus."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils import Bunch

from sktok.corpus import BytePairEncoding, Vocabulary, read_corpus, write_dataset
from sktok.corpus import write_corpus as write

pytest.importorskip("tokenizers", reason="needs the extra lm")

VOCABULARY = Vocabulary(4, tokens_per_window=6, window_length=60, fingerprint="of one")
A, B, C, D = range(5, 9)  # ids of its tokens
PAIRS = ((A, B), (9, 9), (C, C))


def corpus_of(*records, vocabulary=VOCABULARY):
    """A corpus with ids of whole records in training."""
    starts = np.cumsum([0, *map(len, records)])
    return Bunch(
        vocabulary=vocabulary,
        train=np.concatenate(records).astype(np.uint16),
        records=[
            {"split": "train", "first": int(first), "n_ids": len(ids)}
            for first, ids in zip(starts, records, strict=False)
        ],
    )


@given(st.lists(st.integers(1, 4) | st.tuples(*[st.integers(5, 8)] * 6), max_size=9))
def test_decoding_returns_the_ids(parts):
    ids = []
    for part in parts:
        ids += part if isinstance(part, tuple) else [part]
    encoding = BytePairEncoding(VOCABULARY, PAIRS)
    merged = encoding.encode(ids)
    assert len(merged) <= len(ids)
    assert merged.dtype == encoding.dtype == np.uint16
    np.testing.assert_array_equal(encoding.decode(merged), ids)


def test_pairs_merge_within_windows_only():
    encoding = BytePairEncoding(VOCABULARY, PAIRS)
    assert len(encoding) == 12
    window = [A, B, A, B, C, C]
    merged = encoding.encode([1, *window, *window, 4, B, D, D, D, D, A, 2])
    assert merged.tolist() == [1, 10, 11, 10, 11, 4, B, D, D, D, D, A, 2]
    across = [D, D, D, D, D, A, B, D, D, D, D, D]
    assert encoding.encode(across).tolist() == across
    assert encoding.encode([]).shape == encoding.decode([]).shape == (0,)
    assert encoding.encode([A, B, D]).tolist() == [9, D]  # an incomplete window
    tokens = VOCABULARY.decode(encoding.decode(merged))
    assert tokens.tolist() == [[0, 1, 0, 1, 2, 2]] * 2 + [[-1] * 6, [1, 3, 3, 3, 3, 0]]


def test_the_most_frequent_pairs_of_the_training_part_are_merged():
    record = [1, *[A, B, A, B, C, D] * 5, 3, *[C, D, D, D, A, B] * 3, 2]
    corpus = corpus_of(record, record)
    corpus.records.append({"split": "val", "first": 0, "n_ids": 10})
    encoding = BytePairEncoding.from_corpus(corpus, n_ids=11)
    assert encoding.pairs == ((A, B), (C, D))
    assert BytePairEncoding.from_corpus(corpus, n_ids=9).pairs == ()
    whole = BytePairEncoding.from_corpus(corpus)  # two kinds of windows and no more
    assert len(whole) < 4096
    assert len(whole.encode(record)) == 1 + 5 + 1 + 3 + 1
    assert BytePairEncoding.from_corpus(corpus) == whole


def test_each_id_stands_for_other_tokens():
    rng = np.random.default_rng(0)
    record = [1, *rng.choice([A, A, B], 6 * 500), 2]  # a + bc follows ab + c
    encoding = BytePairEncoding.from_corpus(corpus_of(record), n_ids=400)
    parts = [tuple(encoding.decode([i])) for i in range(len(encoding))]
    assert len(set(parts)) == len(encoding) > 50
    merged = encoding.encode(record)
    assert merged.max() >= 9
    np.testing.assert_array_equal(encoding.decode(merged), record)


def test_a_file_returns_the_encoding(tmp_path):
    encoding = BytePairEncoding(VOCABULARY, PAIRS)
    encoding.to_json(tmp_path / "pairs.json")
    assert BytePairEncoding.from_json(tmp_path / "pairs.json") == encoding
    VOCABULARY.to_json(tmp_path / "vocabulary.json")
    with pytest.raises(ValueError, match=r"not a sktok\.byte_pairs file"):
        BytePairEncoding.from_json(tmp_path / "vocabulary.json")
    text = (tmp_path / "pairs.json").read_text()
    (tmp_path / "pairs.json").write_text(text.replace('"pairs"', '"others"'))
    with pytest.raises(ValueError, match="does not hold an encoding"):
        BytePairEncoding.from_json(tmp_path / "pairs.json")


def test_what_cannot_be_encoded_is_refused():
    encoding = BytePairEncoding(VOCABULARY, PAIRS)
    with pytest.raises(ValueError, match=r"pair \(1, 5\) of the id 9"):
        BytePairEncoding(VOCABULARY, [(1, 5)])
    with pytest.raises(ValueError, match=r"pair \(5, 9\) of the id 9"):
        BytePairEncoding(VOCABULARY, [(5, 9)])
    with pytest.raises(ValueError, match="that of a text model"):
        BytePairEncoding(replace(VOCABULARY, first_id=7), ())
    with pytest.raises(ValueError, match="1048577 ids"):
        BytePairEncoding(replace(VOCABULARY, n_tokens=2**20 - 4), ())
    for n_ids in (8, 2**20 + 1, 10.5, True):
        with pytest.raises(ValueError, match="n_ids="):
            BytePairEncoding.from_corpus(corpus_of([1, 2]), n_ids=n_ids)
    with pytest.raises(ValueError, match="outside the vocabulary"):
        encoding.encode([A, 9])
    with pytest.raises(ValueError, match="outside the vocabulary"):
        encoding.decode([A, 12])
    with pytest.raises(TypeError, match="expected integers"):
        encoding.decode([5.5])
    with pytest.raises(ValueError, match="within a window"):
        encoding.encode([A, 1])
    for convert in (encoding.encode, encoding.decode):
        with pytest.raises(ValueError, match="expected one sequence"):
            convert([[A, B]])


def test_a_dataset_of_merged_ids(ecg, tmp_path):
    datasets = pytest.importorskip("datasets", reason="needs the extra lm")
    from sktok import BinQuantizer

    write(tmp_path / "c", ecg, BinQuantizer(16).fit(ecg.data), validation=[])
    corpus = read_corpus(tmp_path / "c")
    encoding = BytePairEncoding.from_corpus(corpus, n_ids=300)
    write_dataset(tmp_path / "d", corpus, byte_pairs=encoding)
    rows = datasets.load_from_disk(tmp_path / "d")["train"]
    merged = np.concatenate(rows["input_ids"])
    assert merged.max() > len(corpus.vocabulary)
    np.testing.assert_array_equal(encoding.decode(merged), corpus.train)
    other = BytePairEncoding(VOCABULARY, PAIRS)
    with pytest.raises(ValueError, match="byte_pairs is of another vocabulary"):
        write_dataset(tmp_path / "e", corpus, byte_pairs=other)
    joined = replace(corpus.vocabulary, first_id=70_000)
    with pytest.raises(ValueError, match="vocabulary and byte_pairs are given"):
        write_dataset(tmp_path / "e", corpus, vocabulary=joined, byte_pairs=encoding)
