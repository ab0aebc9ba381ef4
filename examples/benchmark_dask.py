"""What does it cost to tokenize a large archive on the workers of a Dask cluster?

Tokenizes records of 12 leads of 10 s at 500 Hz, one token for 10 samples, at 1, 2 and 4
workers of one thread each: chunks that the workers make themselves, as if they read
them, and chunks that the client sends. Five minutes on 2 cores::

    python examples/benchmark_dask.py

It prints the table of docs/scale.md; figures are medians of five turns. Core-seconds
are those of the workers' processes, the making of the chunks included; bytes sent are
all that went over the machine's network, the loopback too.
"""

import os
import pickle
import resource
import tempfile
import time

import dask.array as da
import numpy as np
import psutil
import torch
from distributed import Client, LocalCluster
from tokenize_on_dask import tokenize

from sktok import make_tokenizer
from sktok.datasets import load_ecg

N_TURNS = 5
WORKERS = (1, 2, 4)
N_RECORDS = 400
RECORDS_A_CHUNK = 100  # 24 MB of float32
WINDOWS_A_RECORD = 12 * 20  # 12 leads of 5,000 samples, in windows of 250
WINDOW_LENGTH = 250
MAX_STEPS = 50  # of training, on which no figure here depends
COLUMNS = (
    "windows",
    "workers",
    "million samples/s",
    "core-seconds for 10⁹ samples",
    "of client and scheduler",
    "bytes sent a sample",
    "peak of a worker, MB",
)


def noise(seed, n_windows):
    """A chunk of windows: noise of a tenth of a millivolt."""
    generator = np.random.default_rng(np.ravel(seed))
    return generator.random((n_windows, WINDOW_LENGTH), np.float32) / 10


def made_by_workers(client):
    """Each chunk where it is tokenized, as with `tokenize_on_dask.open_archive`."""
    seeds = da.arange(n_chunks(), chunks=1)[:, np.newaxis]
    return seeds.map_blocks(
        noise,
        chunk_windows(),
        chunks=((chunk_windows(),) * n_chunks(), WINDOW_LENGTH),
        meta=np.empty((0, 0), np.float32),
    )


def sent_by_client(client):
    """Equal chunks of the client's own, each on its way to a worker."""
    chunk = noise(0, chunk_windows())
    futures = client.scatter([chunk] * n_chunks(), hash=False, direct=True)
    return da.concatenate(
        [da.from_delayed(future, chunk.shape, chunk.dtype) for future in futures]
    )


def chunk_windows():
    return RECORDS_A_CHUNK * WINDOWS_A_RECORD


def n_chunks():
    return N_RECORDS // RECORDS_A_CHUNK


def peak_megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def spent(client):
    """Seconds by the clock, of the workers, and of this process; and bytes sent."""
    workers = sum(client.run(time.process_time).values())
    sent = psutil.net_io_counters().bytes_sent
    return np.array([time.perf_counter(), workers, time.process_time(), sent])


def turn(client, make, tokenizer):
    before = spent(client)
    tokenize(make(client), tokenizer).compute()
    return spent(client) - before


def measure(make, n_workers, tokenizer):
    """A row of the table."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            local_directory=scratch,
            dashboard_address=":0",
        ) as cluster,
        Client(cluster) as client,
    ):
        client.run(tokenizer.transform, np.zeros((1, WINDOW_LENGTH)))  # imports torch
        turns = [turn(client, make, tokenizer) for _ in range(N_TURNS)]
        peak = max(client.run(peak_megabytes).values())
    seconds, workers, own, sent = np.median(turns, axis=0) / n_samples()
    return (
        make.__name__.replace("_", " "),
        n_workers,
        f"{1e-6 / seconds:.3g}",
        f"{1e9 * workers:.3g}",
        f"{1e9 * own:.2g}",
        f"{sent:.2f}",
        f"{peak:.0f}",
    )


def n_samples():
    return N_RECORDS * WINDOWS_A_RECORD * WINDOW_LENGTH


def main():
    tokenizer = make_tokenizer(max_steps=MAX_STEPS, random_state=0)
    tokenizer.fit(load_ecg(window_length=WINDOW_LENGTH).data)
    tokens = tokenize(made_by_workers(None), tokenizer)
    print(f"{os.cpu_count()} cores, torch {torch.__version__}")
    print(
        f"{N_RECORDS:,} records, {n_samples():,} samples in {tokens.npartitions} chunks"
    )
    print(f"the tokenizer: {len(pickle.dumps(tokenizer)) / 1e6:.2f} MB pickled")
    for what, n_bytes in (
        ("windows of float32", 4 * n_samples()),
        (f"tokens of {tokens.dtype}", tokens.nbytes),
        ("tokens of uint16", tokens.astype(np.uint16).nbytes),
    ):
        print(f"{what}: {n_bytes / n_samples():.1f} bytes a sample")
    print("\n| " + " | ".join(COLUMNS) + " |")
    print("|" + "---|" * len(COLUMNS))
    for make in (made_by_workers, sent_by_client):
        for n_workers in WORKERS:
            row = measure(make, n_workers, tokenizer)
            print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
