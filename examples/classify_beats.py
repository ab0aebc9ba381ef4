"""Does a classifier of heartbeats work as well on reconstructed ECG?

Gradient boosting learns the AAMI classes of heartbeats (N, S, V, F, Q) from the ECG of
the patients of DS1 (MIT-BIH Arrhythmia Database). It is scored on the ECG of the
patients of DS2 and on its reconstruction from tokens. A logistic regression learns the
classes from the tokens alone. With blocks of 25, 10 and 5 samples, this takes about a
quarter of an hour on 2 cores::

    SKTOK_DATA=FOLDER python examples/classify_beats.py [FOLDER]

It prints a table, and writes ``beat_classes.csv`` and ``beat_classes.png`` to the
folder. The last line answers the question.
"""

import math
import os
import sys
from pathlib import Path

import joblib
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import wfdb
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from sktok import make_tokenizer
from sktok.datasets import fetch_mitdb

BLOCK_SIZES = (25, 10, 5)
CLASSES = {  # of ANSI/AAMI EC57, with the annotations of each class
    "N": "NLRej",
    "S": "AaJS",
    "V": "VE",
    "F": "F",
    "Q": "/fQ",
}
CLASS_OF = {symbol: name for name, symbols in CLASSES.items() for symbol in symbols}
BEFORE, AFTER = 360, 160  # samples around the annotated R-peak: 1 s and 0.44 s


def load(split):
    """Windows scaled to [0, 1]; record (as a row), sample and class of each beat."""
    ecg = fetch_mitdb(split, scale="record")
    names = pd.unique(ecg.record)
    home = Path(os.environ.get("SKTOK_DATA", "~/sktok_data")).expanduser() / "mitdb"
    beats = []
    for row, name in enumerate(names):
        annotation = wfdb.rdann(str(home / name), "atr")
        beats += [
            (row, sample, CLASS_OF[symbol])
            for sample, symbol in zip(annotation.sample, annotation.symbol, strict=True)
            if symbol in CLASS_OF
        ]
    row, sample, label = map(np.array, zip(*beats, strict=True))
    n_samples = ecg.data.size // len(names)
    inside = (sample >= BEFORE) & (sample + AFTER <= n_samples)
    return ecg.data.astype(np.float32), (row[inside], sample[inside]), label[inside]


def around_beats(windows, beats, block_size=1):
    """The samples around each beat, or the tokens of the blocks around it."""
    row, sample = beats
    blocks = np.arange(-math.ceil(BEFORE / block_size), math.ceil(AFTER / block_size))
    records = windows.reshape(row.max() + 1, -1)
    columns = (sample // block_size)[:, np.newaxis] + blocks
    return records[row[:, np.newaxis], columns.clip(0, records.shape[1] - 1)]


def classifier_of_samples():
    """The best of three by macro-F1 in cross-validation over the patients of DS1."""
    return make_pipeline(
        PCA(40, random_state=0),
        HistGradientBoostingClassifier(class_weight="balanced", random_state=0),
    )


def classifier_of_tokens():
    return make_pipeline(
        OneHotEncoder(handle_unknown="ignore"),
        LogisticRegression(class_weight="balanced", max_iter=200, C=0.1),
    )


def tokenize(block_size, fit, test):
    """Tokens of both halves, and reconstruction of the test half."""
    torch.set_num_threads(1)  # two fits run in parallel
    tokenizer = make_tokenizer(block_size, random_state=0).fit(fit)
    tokens = tokenizer.transform(test)
    return tokenizer.transform(fit), tokens, tokenizer.inverse_transform(tokens)


def scores(label, predicted):
    """F1 score of each class that occurs, and their mean."""
    names = [name for name in CLASSES if name in label]
    each = f1_score(label, predicted, labels=names, average=None, zero_division=0)
    return {"macro-F1": each.mean(), **dict(zip(names, each, strict=True))}


def main(folder="beats"):
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    (fit, fit_beats, fit_label), (test, test_beats, label) = load("ds1"), load("ds2")
    counts = pd.DataFrame(
        {
            "DS1": pd.Series(fit_label).value_counts(),
            "DS2": pd.Series(label).value_counts(),
        }
    )
    print(counts.reindex(CLASSES).fillna(0).astype(int).to_string(), "\n")

    classifier = classifier_of_samples().fit(around_beats(fit, fit_beats), fit_label)
    predicted = classifier.predict(around_beats(test, test_beats))
    rows = [{"block": "", "from": "original", **scores(label, predicted)}]
    tokenized = joblib.Parallel(n_jobs=2)(
        joblib.delayed(tokenize)(block_size, fit, test) for block_size in BLOCK_SIZES
    )
    for block_size, (fit_tokens, tokens, restored) in zip(
        BLOCK_SIZES, tokenized, strict=True
    ):
        predicted = classifier.predict(around_beats(restored, test_beats))
        rows.append(
            {"block": block_size, "from": "reconstruction", **scores(label, predicted)}
        )
        on_tokens = classifier_of_tokens().fit(
            around_beats(fit_tokens, fit_beats, block_size), fit_label
        )
        predicted = on_tokens.predict(around_beats(tokens, test_beats, block_size))
        rows.append({"block": block_size, "from": "tokens", **scores(label, predicted)})
    table = pd.DataFrame(rows)
    print(table.round(3).to_string(index=False), "\n")
    table.to_csv(folder / "beat_classes.csv", index=False, float_format="%.4f")
    draw(table, folder / "beat_classes.png")
    at_10 = table[(table["block"] == 10) & (table["from"] == "reconstruction")]
    change = (at_10["macro-F1"] - table["macro-F1"][0]).item()
    print(f"With blocks of 10, the reconstruction changes macro-F1 by {change:+.3f}.")


def draw(table, path):
    """Draw macro-F1 against the block size, and macro-F1 on the original ECG."""
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    axes.axhline(table["macro-F1"][0], color="0.5", linestyle=":", label="original")
    for source, color in (("reconstruction", "tab:red"), ("tokens", "tab:blue")):
        rows = table[table["from"] == source]
        axes.plot(rows["block"], rows["macro-F1"], "o-", color=color, label=source)
    axes.set(xlabel="block size (samples per token)", ylabel="macro-F1")
    axes.set_ylim(0)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main(*sys.argv[1:])
