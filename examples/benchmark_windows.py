"""What do the ends of a window cost?

First for `Resampler`: windows of two seconds of DS2 (MIT-BIH Arrhythmia Database) are
resampled and compared with the whole record, resampled at once. Then for tokens:
`make_tokenizer` is fitted to windows of 250 samples of DS1 and restores DS2 in windows
of other lengths, by `with_window_length`. It takes about eight minutes on 2 cores::

    SKTOK_DATA=FOLDER python examples/benchmark_windows.py

It prints two tables of the error in µV: at the ends of a window, and elsewhere.
"""

import numpy as np
import pandas as pd

from sktok import Resampler, make_tokenizer, with_window_length
from sktok._polyphase import resample
from sktok.datasets import fetch_mitdb
from sktok.metrics import reconstruct

BLOCK_SIZE = 10
MAX_STEPS = "auto"
LENGTHS = [250, 500, 1000, 2500, 25_000]  # all divide what is used of a record
RECORD_LENGTH = 650_000
RATES = [(360, 250), (250, 360), (500, 250), (360, 500), (128, 250)]


def rms(error, axis=None):
    return np.sqrt(np.mean(error**2, axis=axis))


def resampling_errors(records, input_fs, output_fs):
    """Errors of windows of two seconds; the rates are those that the signal might have.

    Windows begin where samples of both rates are at the same time.
    """
    step = np.lcm(input_fs, output_fs) // output_fs
    length = 2 * input_fs // step * step
    n_output = length * output_fs // input_fs
    starts = np.arange(length, records.shape[1] - 2 * length, length)
    whole = resample(records, input_fs, output_fs)
    windows = np.stack([records[:, start:][:, :length] for start in starts], axis=1)
    firsts = starts * output_fs // input_fs
    expected = np.stack([whole[:, first:][:, :n_output] for first in firsts], axis=1)
    windows = windows.reshape(-1, length)
    found = Resampler(input_fs, output_fs).fit_transform(windows)
    at_sample = rms(found - expected.reshape(-1, n_output), axis=0)
    return {
        "from, to (Hz)": f"{input_fs}, {output_fs}",
        "first": at_sample[0],
        "second": at_sample[1],
        "fifth": at_sample[4],
        "last": at_sample[-1],
        "middle half": at_sample[n_output // 4 : -n_output // 4].max(),
        "all": rms(at_sample),
    }


def token_errors(tokenizer, records, microvolts, length):
    """Errors of records (n_records, n_samples) that are cut into windows."""
    X = records.reshape(-1, length)
    error = (reconstruct(with_window_length(tokenizer, length), X) - X).reshape(
        len(records), -1, length // BLOCK_SIZE, BLOCK_SIZE
    )
    error *= microvolts[:, np.newaxis, np.newaxis, np.newaxis]
    return {
        "samples in a window": length,
        "first block": rms(error[:, :, 0]),
        "last block": rms(error[:, :, -1]),
        "other blocks": rms(error[:, :, 1:-1]),
        "all": rms(error),
    }


def main():
    test = fetch_mitdb("ds2", window_length=RECORD_LENGTH)
    rows = [resampling_errors(1000 * test.data, *rates) for rates in RATES]
    print(pd.DataFrame(rows).round(2).to_string(index=False), end="\n\n")
    low, high = test.data.min(axis=1), test.data.max(axis=1)
    records = (test.data - low[:, np.newaxis]) / (high - low)[:, np.newaxis]
    records = records[:, : RECORD_LENGTH // 25_000 * 25_000]
    tokenizer = make_tokenizer(BLOCK_SIZE, max_steps=MAX_STEPS, random_state=0)
    tokenizer.fit(fetch_mitdb("ds1", scale="record").data)
    errors = [
        token_errors(tokenizer, records, 1000 * (high - low), length)
        for length in LENGTHS
    ]
    table = pd.DataFrame(errors).round(1)
    print(table.to_string(index=False))
    first, longest = table["all"].iloc[[0, -1]]
    print(
        f"The ends of windows cost {100 * (first / longest - 1):.0f} % of the error in "
        f"windows of {LENGTHS[0]} samples."
    )


if __name__ == "__main__":
    main()
