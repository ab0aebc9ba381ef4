"""How well does an ECG survive as tokens?

Loads five minutes of real ECG and tokenizes them with a pretrained tokenizer. Then
searches a grid of block sizes and vocabularies over three folds of time, for the lowest
rate with an error of at most 60 µV. Trains the best
tokenizer fully and tests it on the last minute, which the search has not used. Writes
tokens, tokenizer and pictures to ``demo/``, and checks that the tokenizer gives the
same tokens in a new process. This takes two minutes on 2 cores::

    python examples/demo.py [FOLDER]

The last lines that it prints have the answer.
"""

import subprocess
import sys
import time
from pathlib import Path

import joblib
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold

from sktok import load_pretrained, make_tokenizer
from sktok.datasets import load_ecg
from sktok.metrics import (
    describe,
    heartbeat_f1,
    lowest_rate_within,
    neg_bits_per_sample,
    neg_reconstruction_mse,
    reconstruct,
)
from sktok.plotting import RateDistortionDisplay, ReconstructionDisplay

PRETRAINED = "ecg-31hz-v1"
GRID = {
    "segment__block_size": [5, 10, 25],
    "tokenize__quantizer__n_codes": [64, 256],
}
SCORING = {
    "neg_bits_per_sample": neg_bits_per_sample,
    "neg_reconstruction_mse": neg_reconstruction_mse,
}
SEARCH_STEPS = 250  # enough to rank the settings
FINAL_STEPS = "auto"
MAX_MILLIVOLTS = 0.06
NEW_PROCESS = """
import joblib, numpy, sys
folder, = sys.argv[1:]
tokenizer = joblib.load(f"{folder}/tokenizer.joblib")
saved = numpy.load(f"{folder}/tokens.npz")
assert numpy.array_equal(tokenizer.transform(saved["windows"]), saved["tokens"])
"""


def search_grid(windows):
    """Compare rate and distortion after short trainings."""
    return GridSearchCV(
        make_tokenizer(max_steps=SEARCH_STEPS, random_state=0),
        GRID,
        scoring=SCORING,
        refit=lowest_rate_within(MAX_MILLIVOLTS**2),
        cv=KFold(3),
        n_jobs=2,
        error_score="raise",
    ).fit(windows)


def rate_distortion_table(search, fs):
    """One row with rate and distortion for each point of the grid."""
    results = pd.DataFrame(search.cv_results_)
    block_size = results["param_segment__block_size"].astype(int)
    rmse = 1000 * np.sqrt(-results["mean_test_neg_reconstruction_mse"])
    return pd.DataFrame(
        {
            "block size": block_size,
            "codes": results["param_tokenize__quantizer__n_codes"],
            "tokens/s": (fs / block_size).round(1),
            "bits/sample": -results["mean_test_neg_bits_per_sample"].round(2),
            "RMSE (µV)": rmse.round(1),
            "chosen": np.where(results.index == search.best_index_, "<--", ""),
        }
    )


def use_pretrained(folder):
    """Tokenize the ECG without training."""
    started = time.perf_counter()
    ecg = load_ecg(window_length=720)
    tokenizer = load_pretrained(PRETRAINED, fs=ecg.fs)
    restored = reconstruct(tokenizer, ecg.data)
    seconds = time.perf_counter() - started
    print(f"{PRETRAINED}, trained on many patients before, in {seconds:.1f} s:\n")
    print(describe(tokenizer, ecg.data, fs=ecg.fs, unit=ecg.unit, groups=ecg.record))
    print(f"heartbeats  F1 {heartbeat_f1(ecg.data, restored, ecg.fs):.3f}\n")
    draw(tokenizer, ecg.data[-3:], ecg, PRETRAINED, folder / "pretrained.png")


def main(folder="demo"):
    started = time.perf_counter()
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    use_pretrained(folder)

    ecg = load_ecg()
    minute = (ecg.start - ecg.start[0]) // (60 * ecg.fs)
    fit, test = ecg.data[minute < 4], ecg.data[minute == 4]
    print(
        "Now a tokenizer of its own.\n"
        f"Record {ecg.record[0]}, lead {ecg.lead[0]}, {ecg.fs} Hz: {len(fit)} windows "
        f"of {fit.shape[1]} samples to fit on, {len(test)} later ones to test on.\n"
    )

    print("18 short trainings on two cores, about a minute ...\n", flush=True)
    search = search_grid(fit)
    print(rate_distortion_table(search, ecg.fs).to_string(index=False), "\n")

    tokenizer = clone(search.best_estimator_)
    tokenizer.set_params(tokenize__max_steps=FINAL_STEPS).fit(fit)
    block_size = tokenizer["segment"].block_size
    tokens, restored = tokenizer.transform(test), reconstruct(tokenizer, test)
    groups = ecg.record[minute == 4]
    print(
        f"The last minute, in blocks of {block_size} (the ECG has 11 bits a sample):\n"
    )
    print(describe(tokenizer, test, fs=ecg.fs, unit=ecg.unit, groups=groups))
    print(f"heartbeats  F1 {heartbeat_f1(test, restored, ecg.fs):.3f}")
    print(f"for example {tokens[0, :10]}\n")

    np.savez(folder / "tokens.npz", tokens=tokens, windows=test)
    joblib.dump(tokenizer, folder / "tokenizer.joblib")
    name = f"one token for {block_size} samples"
    draw(tokenizer, test[:9], ecg, name, folder / "reconstruction.png")
    RateDistortionDisplay.from_cv_results(
        search.cv_results_, unit=ecg.unit, best_index=search.best_index_
    ).figure_.savefig(folder / "rate_distortion.png", dpi=100)
    subprocess.run([sys.executable, "-c", NEW_PROCESS, str(folder)], check=True)
    print("A new process loads the tokenizer and gives the same tokens.")
    print(f"Tokens, tokenizer and pictures are in {folder}/.")
    print(f"It took {time.perf_counter() - started:.0f} s.")


def draw(tokenizer, windows, ecg, name, path):
    """Draw six seconds of the ECG, the reconstruction and the error."""
    display = ReconstructionDisplay.from_estimator(
        tokenizer, windows, fs=ecg.fs, unit=ecg.unit
    )
    display.figure_.suptitle(
        f"MIT-BIH record {ecg.record[0]}, lead {ecg.lead[0]}: {name}"
    )
    display.figure_.savefig(path, dpi=100)
    plt.close(display.figure_)


if __name__ == "__main__":
    main(*sys.argv[1:])
