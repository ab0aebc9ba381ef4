"""Do tokens of offset and gain reduce the error when the device changes?

`GainShapeTokenizer` and, with the same number of bits for each window, `make_tokenizer`
(one affine map for all windows) are fitted to the patients of DS1 (MIT-BIH Arrhythmia
Database), in millivolts. They are compared on the patients of DS2: on the unchanged
ECG, and with the gain of each window multiplied by 0.2 to 5 and the offset moved by up
to 2 mV. It takes about eight minutes on 2 cores::

    SKTOK_DATA=FOLDER python examples/benchmark_gain_shape.py

It prints a table: the error in µV, and the median over windows of the error relative to
the range of the window. The last line answers the question.
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
    """Both tokenizers: 27 tokens of 8 bits for a window of 250, or 25 of 8.64 bits."""
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
    torch.set_num_threads(1)  # two fits run in parallel
    return tokenizer.fit(X)


def errors(tokenizer, X):
    """RMSE in µV, and median over windows of the RMSE relative to the range in %."""
    restored = reconstruct(tokenizer, X)
    relative = np.sqrt(np.mean((X - restored) ** 2, axis=1)) / np.ptp(X, axis=1)
    return 1000 * root_mean_squared_error(X, restored), 100 * np.median(relative)


def changed(X):
    """The windows with each change; the last change is random for each window."""
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
    shape, one_map = (table.iloc[:, i].max() / table.iloc[0, i] for i in (2, 4))
    print(
        "\nRelative to the range of the window, the error grows by a factor of up to "
        f"{shape:.2f} with tokens of offset and gain, and {one_map:.2f} without."
    )


if __name__ == "__main__":
    main()
