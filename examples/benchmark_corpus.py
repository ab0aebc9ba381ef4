"""How long does a corpus take to write and read, compared with `transform`?

The tokens of all MIT-BIH records (one for 10 samples) become ids of a vocabulary, are
written to files of each format, and are read back without loss. It takes a minute on 2
cores::

    SKTOK_DATA=FOLDER python examples/benchmark_corpus.py

It prints a table with the medians of five runs: seconds, and their ratio to the seconds
of `transform`. The last line answers the question.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from datasets import load_from_disk
from transformers import AutoTokenizer

from sktok import make_tokenizer
from sktok.corpus import (
    read_corpus,
    write_auto_tokenizer,
    write_corpus,
    write_dataset,
)
from sktok.datasets import fetch_mitdb

N_TURNS = 5
MAX_STEPS = 50  # of training; the times do not depend on it


def transformed(ecg, tokenizer):
    """Tokens, record by record."""
    edges = np.flatnonzero(ecg.record[1:] != ecg.record[:-1]) + 1
    return [tokenizer.transform(windows) for windows in np.split(ecg.data, edges)]


def through_flat_files(ecg, tokenizer, folder):
    """Write and read a corpus, including `transform`."""
    write_corpus(folder / "corpus", ecg, tokenizer, validation=["100"])
    corpus = read_corpus(folder / "corpus")
    return [
        corpus.vocabulary.decode(
            corpus[entry["split"]][entry["first"] :][: entry["n_ids"]]
        )
        for entry in corpus.records
    ]


def through_a_dataset(ecg, tokenizer, folder):
    """Convert the corpus to a dataset of Hugging Face, and read it."""
    corpus = read_corpus(folder / "corpus")
    write_dataset(folder / "dataset", corpus)
    ids = {}
    for rows in load_from_disk(folder / "dataset").with_format("numpy").values():
        for row in rows:
            ids.setdefault(str(row["record"]), []).append(row["input_ids"])
    decode = corpus.vocabulary.decode
    return [decode(np.concatenate(ids[entry["record"]])) for entry in corpus.records]


def through_text(ecg, tokenizer, folder):
    """Convert the corpus to text, and tokenize the text with Hugging Face."""
    corpus = read_corpus(folder / "corpus")
    write_auto_tokenizer(folder / "tokenizer", corpus.vocabulary)
    auto = AutoTokenizer.from_pretrained(folder / "tokenizer")
    texts = np.array(corpus.vocabulary.id_to_token)
    tokens = []
    for entry in corpus.records:
        ids = corpus[entry["split"]][entry["first"] :][: entry["n_ids"]]
        text = " ".join(texts[ids])
        tokens.append(corpus.vocabulary.decode(auto(text)["input_ids"]))
    return tokens


def main():
    ecg = fetch_mitdb()
    tokenizer = make_tokenizer(max_steps=MAX_STEPS, random_state=0).fit(ecg.data[:2600])
    seconds = {"transform": []}
    for _ in range(N_TURNS):
        started = time.perf_counter()
        tokens = transformed(ecg, tokenizer)
        seconds["transform"].append(time.perf_counter() - started)
        with tempfile.TemporaryDirectory() as folder:
            for way in (through_flat_files, through_a_dataset, through_text):
                started = time.perf_counter()
                restored = way(ecg, tokenizer, Path(folder))
                name = way.__name__.replace("_", " ")
                seconds.setdefault(name, []).append(time.perf_counter() - started)
                for expected, found in zip(tokens, restored, strict=True):
                    np.testing.assert_array_equal(found, expected)
    n_tokens = sum(map(np.size, tokens))
    print(f"{n_tokens:,} tokens of {len(tokens)} records, the same after each way\n")
    print("| way | seconds | of transform |\n|---|---|---|")
    ratios = {}
    for name, values in seconds.items():
        ratios[name] = np.median(np.divide(values, seconds["transform"]))
        print(f"| {name} | {np.median(values):.2f} | {ratios[name]:.2f} |")
    flat = ratios["through flat files"]
    print(f"\nTokenizing, writing and reading flat files takes {flat:.2f} × transform.")


if __name__ == "__main__":
    main()
