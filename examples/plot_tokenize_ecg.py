"""How does a real ECG become tokens, and what is left of it when it comes back?

Loads five minutes of real ECG, lets a grid search over three folds of time choose
block size and number of bins by reconstruction error, and scores the choice on the
last minute, which was never seen. Then writes tokens, fitted tokenizer and a picture
to ``demo/``, and loads the tokenizer in a fresh process to see that it gives the same
tokens. A minute and a half on 2 cores::

    python examples/plot_tokenize_ecg.py [FOLDER]

The answer is in the last lines it prints.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import joblib
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import GridSearchCV, KFold

from sktok import make_paper_tokenizer
from sktok.datasets import load_ecg
from sktok.metrics import (
    neg_reconstruction_mse,
    prd,
    reconstruct,
    snr_db,
    token_entropy,
    token_usage,
)
from sktok.plotting import ReconstructionDisplay

GRID = {"segment__block_size": [5, 10, 25], "quantize__n_bins": [16, 64, 256]}
MAX_STEPS = 700
FRESH_PROCESS = """
import joblib, numpy, sys
folder, = sys.argv[1:]
tokenizer = joblib.load(f"{folder}/tokenizer.joblib")
saved = numpy.load(f"{folder}/tokens.npz")
assert numpy.array_equal(tokenizer.transform(saved["windows"]), saved["tokens"])
"""


def search_grid(windows):
    """Fit every block size once a fold: the bins come from the cache."""
    with tempfile.TemporaryDirectory() as cache:
        search = GridSearchCV(
            make_paper_tokenizer(
                limits="minmax", max_steps=MAX_STEPS, memory=cache, random_state=0
            ),
            GRID,
            scoring=neg_reconstruction_mse,
            cv=KFold(3),
            n_jobs=2,
            error_score="raise",
        ).fit(windows)
        search.best_estimator_.memory = None  # the cache goes with this function
    return search


def rate_distortion_table(search, fs):
    """One row for each point of the grid: what it costs and what it loses."""
    results = pd.DataFrame(search.cv_results_)
    block_size = results["param_segment__block_size"].astype(int)
    bits = np.log2(results["param_quantize__n_bins"].astype(int))
    return pd.DataFrame(
        {
            "block size": block_size,
            "bins": results["param_quantize__n_bins"],
            "bits/sample": (bits / block_size).round(2),
            "tokens/s": (fs / block_size).round(1),
            "RMSE (µV)": (1000 * np.sqrt(-results["mean_test_score"])).round(1),
            "chosen": np.where(results["rank_test_score"] == 1, "<--", ""),
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

    search = search_grid(fit)
    print(rate_distortion_table(search, ecg.fs).to_string(index=False), "\n")

    tokenizer = search.best_estimator_
    block_size = tokenizer["segment"].block_size
    tokens = tokenizer.transform(test)
    restored = reconstruct(tokenizer, test)
    rate = token_entropy(tokens) / block_size
    rmse = 1000 * root_mean_squared_error(test, restored)
    usage = token_usage(tokens, tokenizer["quantize"].n_tokens_)
    print(f"Held-out minute, blocks of {block_size}:")
    print(f"  tokens              {tokens.shape[1]} a window, such as {tokens[0, :8]}")
    print(f"  RMSE                {rmse:.1f} µV")
    print(f"  PRD (centred)       {prd(test, restored, centered=True):.1f} %")
    print(f"  SNR                 {snr_db(test, restored):.1f} dB")
    print(f"  entropy             {rate:.2f} bits a sample (the ECG has 11)")
    print(f"  vocabulary in use   {100 * usage:.0f} %\n")

    np.savez(folder / "tokens.npz", tokens=tokens, windows=test)
    joblib.dump(tokenizer, folder / "tokenizer.joblib")
    draw(tokenizer, test, ecg, block_size, folder / "reconstruction.png")
    subprocess.run([sys.executable, "-c", FRESH_PROCESS, str(folder)], check=True)
    print("A fresh process loads the tokenizer and gives the same tokens.")
    print(f"Tokens, tokenizer and picture are in {folder}/.")
    print(f"It took {time.perf_counter() - started:.0f} s.")


def draw(tokenizer, windows, ecg, block_size, path):
    """Six seconds of the ECG over its reconstruction, and what is between them."""
    windows = windows[:9]
    figure, (top, bottom) = plt.subplots(
        2, figsize=(9, 4.5), sharex=True, height_ratios=[3, 1], layout="constrained"
    )
    display = ReconstructionDisplay.from_estimator(
        tokenizer, windows, fs=ecg.fs, unit=ecg.unit, ax=top
    )
    top.set_xlabel("")
    top.set_title(
        f"MIT-BIH record {ecg.record[0]}, lead {ecg.lead[0]}: one token for "
        f"{block_size} samples",
        loc="left",
    )
    error = display.signal - display.reconstruction
    bottom.plot(np.arange(error.size) / ecg.fs, error, color="0.3", linewidth=0.8)
    bottom.set(xlabel="time (s)", ylabel=f"error ({ecg.unit})")
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main(*sys.argv[1:])
