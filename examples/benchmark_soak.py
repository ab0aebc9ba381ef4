"""Does memory grow, or do tokens change, when sktok runs for a long time?

Tokenizers of different shapes are fitted, used, pickled, saved, loaded and used to
write a corpus, one after another. The tokens of one fixed tokenizer must not change. It
takes half an hour on any machine, or the given number of minutes::

    OMP_NUM_THREADS=1 python examples/benchmark_soak.py [MINUTES]

It prints a line per minute and a table at the end: growth of memory by least squares
after the first sixth of the run, open files, threads, and tokens that changed. The last
line answers the question. The exit code is 1 if a value exceeds its limit.

Memory means memory in use: glibc keeps some hundred MB of freed memory, which is
returned to the system before each measurement. oneDNN caches kernels for 1,024 shapes;
`ONEDNN_PRIMITIVE_CACHE_CAPACITY`, set below, reduces this number, as new shapes would
otherwise look like growth.
"""

import ctypes
import os
import pickle
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8")  # read by torch

import numpy as np
import psutil
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from sktok import (
    BinQuantizer,
    BlockSegmenter,
    ConvAETokenizer,
    GainShapeTokenizer,
    VectorQuantizer,
    make_paper_tokenizer,
    make_tokenizer,
    persistence,
)
from sktok.corpus import write_auto_tokenizer, write_corpus, write_dataset
from sktok.datasets import load_ecg

MINUTES = 30
WARM_UP = 1 / 6  # of the run
SLOPE = 1.0  # MB per minute: limit of the growth of memory
MAX_STEPS = 5  # of training; the results do not depend on it


def tokenizers(rng, window_length):
    """One tokenizer of each kind, with random shapes."""
    block_size = int(rng.integers(2, 50))
    shape = {"block_size": block_size, "max_steps": MAX_STEPS, "random_state": 0}
    n_codes, n_bins = int(rng.integers(2, 64)), int(rng.integers(2, 300))
    codebook = make_pipeline(
        BlockSegmenter(block_size), VectorQuantizer(n_codes, random_state=0)
    )
    return {
        "recommended": make_tokenizer(n_tokens=n_codes, **shape),
        "paper": make_paper_tokenizer(n_bins=n_bins, **shape),
        "gain and shape": GainShapeTokenizer(clone(codebook), n_bins=n_bins),
        "codebook": codebook,
        "bins": BinQuantizer(n_bins),
    }


def use(tokenizer, X, folder):
    """Fit, tokenize, restore, pickle, save, load and write; copies must agree."""
    tokens = tokenizer.fit(X).transform(X)
    restored = tokenizer.inverse_transform(tokens)
    persistence.save(tokenizer, folder / "tokenizer")
    for copy in (
        pickle.loads(pickle.dumps(tokenizer)),
        persistence.load(folder / "tokenizer"),
    ):
        np.testing.assert_array_equal(copy.transform(X), tokens)
        np.testing.assert_array_equal(copy.inverse_transform(tokens), restored)
    corpus = write_corpus(folder / "corpus", [X], tokenizer, validation=0)
    np.testing.assert_array_equal(corpus.vocabulary.decode(corpus.train), tokens)
    write_dataset(folder / "dataset", corpus)
    write_auto_tokenizer(folder / "auto", corpus.vocabulary)


def cycle(rng):
    """Use all kinds of tokenizers once, on windows of random length and number."""
    windows = load_ecg(window_length=int(rng.integers(100, 1000))).data
    X = windows[rng.permutation(len(windows))[: rng.integers(30, 100)]]
    for tokenizer in tokenizers(rng, X.shape[1]).values():
        with tempfile.TemporaryDirectory() as folder:
            use(tokenizer, X, Path(folder))
    blocks = BlockSegmenter(int(rng.integers(5, 50))).fit_transform(X)
    network = ConvAETokenizer(
        quantizer=VectorQuantizer(16), max_steps=MAX_STEPS, random_state=0
    )
    for part in np.array_split(blocks, 3):
        network.partial_fit(part)
    network.set_params(n_candidates=int(rng.integers(1, 5))).transform(blocks)


def state():
    """Seconds, megabytes of memory, open files, threads."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    process = psutil.Process()
    megabytes = process.memory_info().rss / 1e6
    return time.monotonic(), megabytes, process.num_fds(), process.num_threads()


def soak(minutes):
    """`state` after each cycle, and the number of tokens that changed."""
    X = load_ecg().data
    fixed = make_tokenizer(max_steps=MAX_STEPS, random_state=0).fit(X)
    expected, n_changed = fixed.transform(X), 0
    rng = np.random.default_rng(0)
    cycle(rng)  # imports and caches
    samples = [state()]
    end, due = samples[0][0] + 60 * minutes, samples[0][0]
    while samples[-1][0] < end:
        cycle(rng)
        n_changed += np.sum(fixed.transform(X) != expected)
        samples.append(state())
        now, megabytes, n_files, n_threads = samples[-1]
        if now >= due:
            due += 60
            print(
                f"{(now - samples[0][0]) / 60:5.1f} min, {len(samples) - 1} cycles: "
                f"{megabytes:.0f} MB, {n_files} open files, {n_threads} threads, "
                f"{n_changed} tokens changed",
                flush=True,
            )
    return np.array(samples), n_changed


def main(minutes=MINUTES):
    samples, n_changed = soak(float(minutes))
    elapsed, megabytes, n_files, n_threads = samples.T
    elapsed = (elapsed - elapsed[0]) / 60
    late = elapsed >= WARM_UP * elapsed[-1]
    slope = np.polyfit(elapsed[late], megabytes[late], 1)[0]
    first = late.argmax()
    rows = {
        f"growth of memory, MB per minute (limit {SLOPE:g})": (
            f"{slope:.2f}, from {megabytes[first]:.0f} to {megabytes[-1]:.0f} MB",
            slope < SLOPE,
        ),
        "open files, after warm-up and at the end": (
            f"{n_files[first]:.0f}, {n_files[-1]:.0f}",
            n_files[-1] <= n_files[first],
        ),
        "threads, after warm-up and at the end": (
            f"{n_threads[first]:.0f}, {n_threads[-1]:.0f}",
            n_threads[-1] <= n_threads[first],
        ),
        "tokens that changed": (n_changed, n_changed == 0),
    }
    print(f"\n{len(samples) - 1} cycles in {elapsed[-1]:.1f} minutes\n")
    print("| | | within limits |\n|---|---|---|")
    for name, (value, holds) in rows.items():
        print(f"| {name} | {value} | {'yes' if holds else '**no**'} |")
    failed = [name for name, (_, holds) in rows.items() if not holds]
    print("\nYes: " + "; ".join(failed) if failed else "\nNo: all within limits.")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
