"""How long does a corpus take to write and read, compared with `transform`?

The tokens of all MIT-BIH records (one for 10 samples) become ids of a vocabulary, are
written to files of each format, and are read back without loss. The same is measured
for 1,000 short records, of 10 windows each. It takes two minutes on 2 cores::

    SKTOK_DATA=FOLDER python examples/benchmark_corpus.py

It prints two tables with the medians of five runs: seconds, and their ratio to the
seconds of `transform`. The last line answers the question.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import wfdb
from datasets import load_from_disk
from sklearn.utils import Bunch
from transformers import AutoTokenizer

from sktok import make_tokenizer
from sktok.corpus import (
    read_corpus,
    write_auto_tokenizer,
    write_corpus,
    write_dataset,
)
from sktok.datasets import fetch_mitdb, load_wfdb

N_TURNS = 5
N_SHORT, N_WINDOWS = 1000, 10  # short records, and their windows
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


def short_records(ecg):
    """The first windows as many short records of as many patients."""
    windows = ecg.data[: N_SHORT * N_WINDOWS]
    windows = windows.reshape(N_SHORT, N_WINDOWS, windows.shape[1])
    start = ecg.data.shape[1] * np.arange(N_WINDOWS)
    labels = (np.full(N_WINDOWS, f"r{index:03}") for index in range(N_SHORT))
    return [
        Bunch(data=data, start=start, record=name, groups=name, fs=ecg.fs, unit="mV")
        for data, name in zip(windows, labels, strict=True)
    ]


def write_wfdb(records, folder):
    """Write records as WFDB files."""
    for record in records:
        wfdb.wrsamp(
            record.record[0],
            fs=record.fs,
            units=["mV"],
            sig_name=["II"],
            p_signal=record.data.reshape(-1, 1),
            fmt=["16"],
            write_dir=str(folder),
        )


def timed(function, *arguments):
    """The seconds of a call, and its result."""
    started = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - started, result


def measure_formats(ecg, tokenizer):
    """Seconds of each run of each way, for the whole records."""
    seconds = {"transform": []}
    for _ in range(N_TURNS):
        elapsed, tokens = timed(transformed, ecg, tokenizer)
        seconds["transform"].append(elapsed)
        with tempfile.TemporaryDirectory() as folder:
            for way in (through_flat_files, through_a_dataset, through_text):
                elapsed, restored = timed(way, ecg, tokenizer, Path(folder))
                seconds.setdefault(way.__name__.replace("_", " "), []).append(elapsed)
                for expected, found in zip(tokens, restored, strict=True):
                    np.testing.assert_array_equal(found, expected)
    n_tokens = sum(map(np.size, tokens))
    print(f"{n_tokens:,} tokens of {len(tokens)} records, the same after each way\n")
    return seconds


def measure_short_records(ecg, tokenizer):
    """Seconds of each run, for short records in memory and in files."""
    records = short_records(ecg)
    seconds = {"transform": [], "write_corpus from arrays": []}
    seconds |= {"load_wfdb": [], "write_corpus from WFDB files": []}
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "files")
        files.mkdir()
        write_wfdb(records, files)
        for turn in range(N_TURNS):
            loaded_in, loaded = timed(load_wfdb, files)
            seconds["load_wfdb"].append(loaded_in)
            X = np.concatenate([record.data for record in records])
            elapsed, tokens = timed(tokenizer.transform, X)
            seconds["transform"].append(elapsed)
            rounded = tokenizer.transform(loaded.data[:N_WINDOWS])  # to 16 bits
            for name, source, expected in (
                ("write_corpus from arrays", records, tokens[:N_WINDOWS]),
                ("write_corpus from WFDB files", files, rounded),
            ):
                path = Path(folder, f"{name} {turn}")
                elapsed, corpus = timed(write_held_out, path, source, tokenizer)
                seconds[name].append(elapsed)
                found = corpus.vocabulary.decode(corpus.val)
                np.testing.assert_array_equal(found, expected)
    print(f"\n{N_SHORT:,} records of {N_WINDOWS} windows\n")
    return seconds


def write_held_out(folder, source, tokenizer):
    """Write a corpus with one patient for validation."""
    return write_corpus(folder, source, tokenizer, validation=["r000"])


def print_table(seconds):
    """Print the medians; return the ratios to `transform`."""
    print("| way | seconds | of transform |\n|---|---|---|")
    ratios = {}
    for name, values in seconds.items():
        ratios[name] = np.median(np.divide(values, seconds["transform"]))
        print(f"| {name} | {np.median(values):.2f} | {ratios[name]:.2f} |")
    return ratios


def main():
    ecg = fetch_mitdb()
    tokenizer = make_tokenizer(max_steps=MAX_STEPS, random_state=0).fit(ecg.data[:2600])
    flat = print_table(measure_formats(ecg, tokenizer))["through flat files"]
    short = print_table(measure_short_records(ecg, tokenizer))
    short = short["write_corpus from arrays"]
    print(
        f"\nTokenizing, writing and reading flat files takes {flat:.2f} × transform; "
        f"writing short records takes {short:.2f} ×."
    )


if __name__ == "__main__":
    main()
