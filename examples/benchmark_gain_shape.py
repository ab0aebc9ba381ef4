"""Do tokens of offset and gain pay for themselves, and what if the device changes?

Fits `GainShapeTokenizer` and, at the same bits for each window, `make_tokenizer`, whose
single affine map holds for all windows, on the patients of DS1 (MIT-BIH Arrhythmia
Database), in millivolts as they are. Compares them on the patients of DS2: as they are,
and with the gain of each window multiplied by 0.2 to 5, and its offset moved by up to 2
mV. About eight minutes on 2 cores::

    SKTOK_DATA=FOLDER python examples/benchmark_gain_shape.py

It prints a table: error in µV, and the median over windows of the error relative to the
window's own range.
"""

import joblib
import numpy as np
import pandas as pd
import torch
from sklearn.metrics import root_mean_squared_error

from sktok import GainShapeTokenizer, make_tokenizer
from sktok.datasets import fetch_mitdb
from sktok.metrics import reconstruct

BLOCK_SIZE = 10
MAX_STEPS = "auto"
CHANGES = [(1, 0), (0.2, 0), (5, 0), (1, -2), (1, 2), (0.2, 2), (5, -2)]


def tokenizers(window_length):
    """Both, at the same bits: a window of 250 samples is 27 tokens of 8 bits, or 25."""
    n_blocks = window_length // BLOCK_SIZE
    n_tokens = round(2 ** (8 * (n_blocks + 2) / n_blocks))
    options = {"max_steps": MAX_STEPS, "random_state": 0}
    return {
        "offset, gain, shape": GainShapeTokenizer(
            make_tokenizer(BLOCK_SIZE, **options)
        ),
        f"one map, {n_tokens} tokens": make_tokenizer(BLOCK_SIZE, n_tokens, **options),
    }


def fit(tokenizer, X):
    torch.set_num_threads(1)  # two fits at a time
    return tokenizer.fit(X)


def errors(tokenizer, X):
    """RMSE in µV, and median of the RMSE of a window relative to its range, in %."""
    restored = reconstruct(tokenizer, X)
    relative = np.sqrt(np.mean((X - restored) ** 2, axis=1)) / np.ptp(X, axis=1)
    return 1000 * root_mean_squared_error(X, restored), 100 * np.median(relative)


def changed(X):
    """The windows under each change, the last one random for each window."""
    for gain, offset in CHANGES:
        yield f"gain × {gain}, offset {offset:+} mV", gain * X + offset
    rng = np.random.default_rng(0)
    gain = np.exp(rng.uniform(np.log(0.2), np.log(5), (len(X), 1)))
    yield "both at random", gain * X + rng.uniform(-2, 2, (len(X), 1))


def main():
    X_fit, X = fetch_mitdb("ds1").data, fetch_mitdb("ds2").data
    X = X[np.ptp(X, axis=1) > 0]  # a flat window has no range
    candidates = tokenizers(X.shape[1])
    fitted = joblib.Parallel(n_jobs=2)(
        joblib.delayed(fit)(tokenizer, X_fit) for tokenizer in candidates.values()
    )
    rows = []
    for change, X_changed in changed(X):
        row = {"change": change}
        for name, tokenizer in zip(candidates, fitted, strict=True):
            rmse, relative = errors(tokenizer, X_changed)
            row |= {f"{name}: RMSE (µV)": rmse, f"{name}: of range (%)": relative}
        rows.append(row)
    table = pd.DataFrame(rows).round(2)
    print(table.to_string(index=False))
    worst = table.iloc[:, 2].max() / table.iloc[0, 2]
    print(f"\nIn proportion to its range, a window's error grows {worst:.2f} times.")


if __name__ == "__main__":
    main()
