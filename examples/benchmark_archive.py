"""Can a tokenizer learn from, and tokenize, an archive larger than memory?

Windows are generated batch by batch, as a reader of an archive would provide them: 50
gigabytes by default, or as many as are processed in 20 minutes. The tokenizer learns
from the batches (`partial_fit`) until its training is complete, and then makes tokens
(`iter_transform`). With MIT-BIH, one pass over DS1 is also compared with the same
number of steps of `fit`. It takes half an hour on 2 cores::

    SKTOK_DATA=FOLDER python examples/benchmark_archive.py [GIGABYTES]

It prints two tables: the stages with peak and growth of memory, and the errors on
unseen patients. The last line answers the question. The exit code is 1 if memory grew
or tokens differed from those of one call.
"""

import sys
import time

import numpy as np
import psutil
from sklearn.base import clone

from sktok import make_tokenizer
from sktok.datasets import fetch_mitdb, load_ecg
from sktok.metrics import neg_reconstruction_mse
from sktok.streaming import iter_transform, partial_fit

GIGABYTES = 50.0
MOST_SECONDS = 20 * 60
BATCH = 8000  # windows: 16 MB
MAX_STEPS = "auto"
LARGEST_PEAK = 1500  # MB
LARGEST_GROWTH = 1.0  # MB per minute
SEEDS = (0, 1, 2)
N_BATCHES = 20  # in the pass over MIT-BIH


def archive(seed=0):
    """Endless batches of windows: real ECG with varied gain, offset and noise."""
    signal, rng = load_ecg().data.ravel(), np.random.default_rng(seed)
    windows = np.lib.stride_tricks.sliding_window_view(signal, 250)
    while True:
        batch = windows[rng.integers(len(windows), size=BATCH)]
        batch *= rng.lognormal(sigma=0.3, size=(BATCH, 1))
        batch += rng.normal(scale=0.2, size=(BATCH, 1))
        batch += 0.005 * rng.standard_normal(batch.shape)
        yield batch


def megabytes():
    return psutil.Process().memory_info().rss / 1e6


def watched(batches, is_done, memory):
    """Yield batches until `is_done`; append (seconds, MB) before and after each."""
    begin = time.perf_counter()
    while True:
        memory.append((time.perf_counter() - begin, megabytes()))
        if memory[-1][0] > MOST_SECONDS or is_done(len(memory) - 1):
            return
        yield next(batches)


def growth(memory):
    """Slope of memory over time after the first fifth, in MB per minute."""
    seconds, size = np.array(memory[len(memory) // 5 :]).T
    return 60 * np.polyfit(seconds, size, 1)[0]


def row(task, n_batches, memory):
    """Print a row of the table."""
    n_samples, seconds = n_batches * BATCH * 250, memory[-1][0]
    cells = [
        task,
        f"{8 * n_samples / 1e9:.1f}",
        f"{seconds / 60:.1f}",
        f"{n_samples / seconds / 1e6:.1f}",
        f"{max(size for _, size in memory):.0f}",
        f"{growth(memory):+.2f}",
    ]
    print(f"| {' | '.join(cells)} |", flush=True)


def is_complete(tokenizer):
    return tokenizer["tokenize"].is_complete_


def stream(gigabytes):
    """Learn from an archive and tokenize it; return messages about failures."""
    print("| | GB of windows | minutes | Ms/s | peak, MB | growth, MB/min |")
    print("|---|---|---|---|---|---|")
    tokenizer, training, tokenizing = make_tokenizer(random_state=0), [], []
    tokenizer.set_params(tokenize__max_steps=MAX_STEPS)
    for windows in watched(archive(), lambda n: n and is_complete(tokenizer), training):
        partial_fit(tokenizer, windows)
    row(f"partial_fit, {tokenizer[-1].n_steps_} steps", len(training) - 1, training)

    first = next(archive(1))
    expected = tokenizer.transform(first)
    n_batches = 1e9 * gigabytes / first.nbytes
    batches = watched(archive(1), lambda n: n >= n_batches, tokenizing)
    n_made = 0
    for index, tokens in enumerate(iter_transform(tokenizer, batches)):
        n_made += tokens.size
        if index == 0:
            wrong = np.sum(tokens != expected)
    row("iter_transform", len(tokenizing) - 1, tokenizing)
    wrong += np.sum(tokenizer.transform(first) != expected)
    missing = (len(tokenizing) - 1) * expected.size - n_made
    peak = max(size for _, size in training + tokenizing)
    return [
        message
        for message, is_wrong in {
            f"{wrong} tokens differ from those of one call": wrong,
            f"{missing} tokens are missing": missing,
            f"peak {peak:.0f} MB": peak > LARGEST_PEAK,
            "memory grows": growth(tokenizing) > LARGEST_GROWTH,
        }.items()
        if is_wrong
    ]


def compare():
    """Print errors on DS2 of one pass over DS1 and of as many steps of `fit`."""
    fit, test = (
        fetch_mitdb(split, scale="record", missing="drop", download_if_missing=False)
        for split in ("ds1", "ds2")
    )
    mixed = np.random.default_rng(0).permutation(fit.data)
    print(
        "\n| seed | steps | fit | one pass, mixed | ratio | record by record | ratio |"
    )
    print("|---|---|---|---|---|---|---|")
    for seed in SEEDS:
        streams = []
        for windows in (mixed, fit.data):
            n_steps = sum(len(b) // 64 for b in np.array_split(windows, N_BATCHES))
            tokenizer = make_tokenizer(max_steps=n_steps, random_state=seed)
            for batch in np.array_split(windows, N_BATCHES):
                partial_fit(tokenizer, batch)
            streams.append(-neg_reconstruction_mse(tokenizer, test.data))
        fitted = clone(tokenizer).fit(fit.data)
        error = -neg_reconstruction_mse(fitted, test.data)
        cells = [f"{mse:.3g} | {mse / error:.3f}" for mse in streams]
        print(f"| {seed} | {n_steps} | {error:.3g} | {' | '.join(cells)} |", flush=True)


def main(gigabytes=GIGABYTES):
    wrong = stream(float(gigabytes))
    try:
        compare()
    except OSError as error:
        print(f"\nNo comparison: {error}")
    if wrong:
        sys.exit("No: " + "; ".join(wrong))
    print("\nYes: memory stayed bounded, and the tokens are those of one call.")


if __name__ == "__main__":
    main(*sys.argv[1:])
