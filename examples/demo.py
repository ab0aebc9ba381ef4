"""How does a real ECG become tokens, and what is left of it when it comes back?

Loads five minutes of real ECG and lets a grid search over three folds of time weigh
block size and vocabulary: the lowest rate is taken whose error stays within 60 µV.
Trains the choice to the end, and scores it on the last minute, which was never seen.
Then writes tokens, fitted tokenizer and pictures to ``demo/``, and loads the tokenizer
in a fresh process to see that it gives the same tokens. Two minutes on 2 cores::

    python examples/demo.py [FOLDER]

The answer is in the last lines it prints.
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
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import GridSearchCV, KFold

from sktok import make_tokenizer
from sktok.datasets import load_ecg
from sktok.metrics import (
    heartbeat_f1,
    lowest_rate_within,
    neg_bits_per_sample,
    neg_reconstruction_mse,
    prd,
    reconstruct,
    snr_db,
    token_entropy,
    token_usage,
)
from sktok.plotting import RateDistortionDisplay, ReconstructionDisplay

GRID = {
    "segment__block_size": [5, 10, 25],
    "tokenize__quantizer__n_codes": [64, 256],
}
SCORING = {
    "neg_bits_per_sample": neg_bits_per_sample,
    "neg_reconstruction_mse": neg_reconstruction_mse,
}
SEARCH_STEPS = 250  # enough to tell good settings from bad ones
FINAL_STEPS = "auto"
MAX_MILLIVOLTS = 0.06
FRESH_PROCESS = """
import joblib, numpy, sys
folder, = sys.argv[1:]
tokenizer = joblib.load(f"{folder}/tokenizer.joblib")
saved = numpy.load(f"{folder}/tokens.npz")
assert numpy.array_equal(tokenizer.transform(saved["windows"]), saved["tokens"])
"""


def search_grid(windows):
    """Weigh rate and distortion of short trainings."""
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
    """One row for each point of the grid: what it costs and what it loses."""
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


def main(folder="demo"):
    started = time.perf_counter()
    folder = Path(folder)
    folder.mkdir(exist_ok=True)

    ecg = load_ecg()
    minute = (ecg.start - ecg.start[0]) // (60 * ecg.fs)
    fit, test = ecg.data[minute < 4], ecg.data[minute == 4]
    print(
        f"Record {ecg.record[0]}, lead {ecg.lead[0]}, {ecg.fs} Hz: {len(fit)} windows "
        f"of {fit.shape[1]} samples to fit on, {len(test)} later ones to test.\n"
    )

    print("Eighteen short trainings on two cores, a minute or so ...\n", flush=True)
    search = search_grid(fit)
    print(rate_distortion_table(search, ecg.fs).to_string(index=False), "\n")

    tokenizer = clone(search.best_estimator_)
    tokenizer.set_params(tokenize__max_steps=FINAL_STEPS).fit(fit)
    block_size = tokenizer["segment"].block_size
    tokens = tokenizer.transform(test)
    restored = reconstruct(tokenizer, test)
    rate = token_entropy(tokens) / block_size
    rmse = 1000 * root_mean_squared_error(test, restored)
    usage = token_usage(tokens, tokenizer["tokenize"].n_tokens_)
    print(f"Held-out minute, blocks of {block_size}:")
    print(f"  tokens              {tokens.shape[1]} a window, such as {tokens[0, :8]}")
    print(f"  RMSE                {rmse:.1f} µV")
    print(f"  PRD (centred)       {prd(test, restored, centered=True):.1f} %")
    print(f"  SNR                 {snr_db(test, restored):.1f} dB")
    print(f"  heartbeats found    F1 {heartbeat_f1(test, restored, ecg.fs):.3f}")
    print(f"  entropy             {rate:.2f} bits a sample (the ECG has 11)")
    print(f"  vocabulary in use   {100 * usage:.0f} %\n")

    np.savez(folder / "tokens.npz", tokens=tokens, windows=test)
    joblib.dump(tokenizer, folder / "tokenizer.joblib")
    draw(tokenizer, test, ecg, block_size, folder / "reconstruction.png")
    RateDistortionDisplay.from_cv_results(
        search.cv_results_, unit=ecg.unit, best_index=search.best_index_
    ).figure_.savefig(folder / "rate_distortion.png", dpi=100)
    subprocess.run([sys.executable, "-c", FRESH_PROCESS, str(folder)], check=True)
    print("A fresh process loads the tokenizer and gives the same tokens.")
    print(f"Tokens, tokenizer and pictures are in {folder}/.")
    print(f"It took {time.perf_counter() - started:.0f} s.")


def draw(tokenizer, windows, ecg, block_size, path):
    """Six seconds of the ECG, its reconstruction, and what is between them."""
    display = ReconstructionDisplay.from_estimator(
        tokenizer, windows[:9], fs=ecg.fs, unit=ecg.unit
    )
    display.figure_.suptitle(
        f"MIT-BIH record {ecg.record[0]}, lead {ecg.lead[0]}: one token for "
        f"{block_size} samples",
    )
    display.figure_.savefig(path, dpi=100)
    plt.close(display.figure_)


if __name__ == "__main__":
    main(*sys.argv[1:])
