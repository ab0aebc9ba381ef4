"""Does a tokenizer learn from, and tokenize, an archive larger than memory?

Windows are made one batch after another, as a reader of an archive would give them: 50
gigabytes of them by default, or as many as come in 20 minutes. Until its training is
complete the tokenizer learns from them (`partial_fit`); then it makes tokens
(`iter_transform`). And, if it finds MIT-BIH, one pass over half of it is compared with
as many steps of `fit`. Half an hour on 2 cores::

    SKTOK_DATA=FOLDER python examples/benchmark_archive.py [GIGABYTES]

It prints two tables: what was done, at which peak of memory and with what growth, and
the errors on patients not seen. An exit code of 1 says that memory grew, or tokens
differed from those of one call.
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
LARGEST_GROWTH = 1.0  # MB a minute
SEEDS = (0, 1, 2)
N_BATCHES = 20  # of the pass over MIT-BIH


def archive(seed=0):
    """Batches of windows without end: real ECG, with other gains, offsets and noise."""
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
    """The batches, until it is done; notes (seconds, MB) before and behind each."""
    begin = time.perf_counter()
    while True:
        memory.append((time.perf_counter() - begin, megabytes()))
        if memory[-1][0] > MOST_SECONDS or is_done(len(memory) - 1):
            return
        yield next(batches)


def growth(memory):
    """Slope of memory over time after the first fifth, in MB a minute."""
    seconds, size = np.array(memory[len(memory) // 5 :]).T
    return 60 * np.polyfit(seconds, size, 1)[0]


def row(task, n_batches, memory):
    """A line of the table."""
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
    """Learn from an archive and tokenize it; what is wrong, in words."""
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
    use = np.zeros(tokenizer[-1].n_tokens_, dtype=np.int64)
    for index, tokens in enumerate(iter_transform(tokenizer, batches)):
        use += np.bincount(tokens.ravel(), minlength=len(use))
        if index == 0:
            wrong = np.sum(tokens != expected)
    row("iter_transform", len(tokenizing) - 1, tokenizing)
    wrong += np.sum(tokenizer.transform(first) != expected)
    assert use.sum() == (len(tokenizing) - 1) * expected.size
    peak = max(size for _, size in training + tokenizing)
    return [
        message
        for message, is_wrong in {
            f"{wrong} tokens differ from those of one call": wrong,
            f"peak {peak:.0f} MB": peak > LARGEST_PEAK,
            "memory grows": growth(tokenizing) > LARGEST_GROWTH,
        }.items()
        if is_wrong
    ]


def compare():
    """Errors on DS2 of one pass over DS1, and of as many steps of `fit`."""
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
        sys.exit("; ".join(wrong))


if __name__ == "__main__":
    main(*sys.argv[1:])
