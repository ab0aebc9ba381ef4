"""Do Dask workers find the same tokenizer and the same tokens as one process?

Two workers on this machine share a grid search over block size and vocabulary. Then
they tokenize an archive in chunks, which each worker reads itself. One process repeats
the work, and all scores and tokens have to be equal. The functions also work on a
larger cluster if all workers can read the archive. It takes a minute on 2 cores::

    python examples/tokenize_on_dask.py [FOLDER]

It writes ``workers.png``, a timeline of the workers, to the folder. The last line
answers the question.
"""

import sys
import tempfile
from itertools import chain
from pathlib import Path

import dask
import dask.array as da
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from distributed import Client, LocalCluster, get_task_stream
from joblib import parallel_config
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold

from sktok import make_tokenizer
from sktok.datasets import load_ecg
from sktok.metrics import neg_reconstruction_mse

GRID = {
    "segment__block_size": [10, 25],
    "tokenize__quantizer__n_codes": [64, 256],
}
SEARCH_STEPS = 50
N_COPIES = 100  # of the ECG, one for each chunk: 43,200 windows
COLORS = {"compute": "tab:blue", "transfer": "tab:orange"}


def grid_search(windows, scoring=neg_reconstruction_mse):
    """A search whose folds are arrays, which can be sent to the workers."""
    return GridSearchCV(
        make_tokenizer(max_steps=SEARCH_STEPS, random_state=0),
        GRID,
        scoring=scoring,
        cv=list(KFold(3).split(windows)),
        error_score="raise",
    )


def fit_on_cluster(search, windows, client):
    """Fit a search; it continues if workers die, as long as one is left."""
    # By default, joblib sends the data to one worker, and the search fails if this
    # worker dies. Send a copy to each worker, and keep Dask from removing copies.
    client.amm.stop()
    shared = [windows, *chain.from_iterable(search.cv)]
    with parallel_config("dask", scatter=shared):
        return search.fit(windows)


def read(path, block_info=None):
    """Read the windows of one chunk, on the worker that needs them."""
    rows, _ = block_info[None]["array-location"]
    return np.load(path, mmap_mode="r")[slice(*rows)]


def open_archive(path, chunk_length):
    """Windows in a NumPy file, as a dask.array."""
    windows = np.load(path, mmap_mode="r")
    chunks = da.core.normalize_chunks((chunk_length, -1), windows.shape)
    meta = np.empty((0, 0), windows.dtype)
    return da.map_blocks(read, str(path), chunks=chunks, meta=meta)


def transform(windows, tokenizer):
    return tokenizer.transform(windows)


def tokenize(windows, tokenizer):
    """Tokens of a dask.array of windows, as a dask.array."""
    n_tokens = len(tokenizer[-1].get_feature_names_out())
    tokens = windows.map_blocks(
        transform,
        # As a node of the graph, the tokenizer is sent once to each worker, not with
        # each chunk. It is computed again if a worker dies; scattered data would be
        # lost.
        dask.delayed(tokenizer, traverse=False),
        chunks=(windows.chunks[0], n_tokens),
        meta=np.empty((0, 0), np.int64),
    )
    return tokens.astype(np.min_scalar_type(tokenizer[-1].n_tokens_ - 1))


def compare(client, folder):
    """Do the work on the cluster and in this process; raise if results differ."""
    ecg = load_ecg()
    search = grid_search(ecg.data)
    alone = clone(search).fit(ecg.data)
    print(f"In one process, {alone.best_params_} is best.")

    archive = np.tile(ecg.data.astype(np.float32), (N_COPIES, 1))
    with tempfile.TemporaryDirectory() as scratch:
        np.save(Path(scratch) / "archive.npy", archive)
        with get_task_stream(client) as searching:
            fit_on_cluster(search, ecg.data, client)
        windows = open_archive(Path(scratch) / "archive.npy", len(ecg.data))
        with get_task_stream(client) as tokenizing:
            tokens = tokenize(windows, search.best_estimator_).compute()
    print(f"On the workers, {search.best_params_} is best.")
    draw({"grid search": searching, "tokenizing": tokenizing}, folder / "workers.png")

    for scores in ("mean_test_score", "std_test_score", "rank_test_score"):
        np.testing.assert_array_equal(
            search.cv_results_[scores], alone.cv_results_[scores]
        )
    np.testing.assert_array_equal(tokens, alone.best_estimator_.transform(archive))
    print(
        f"Yes: {len(search.cv)} × {len(search.cv_results_['params'])} scores and "
        f"{tokens.size:,} tokens ({tokens.dtype}) are equal to those of one process."
    )


def main(folder="dask"):
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    torch.set_num_threads(1)  # as in the workers
    with (
        tempfile.TemporaryDirectory() as scratch,
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            local_directory=scratch,
            dashboard_address=":0",
        ) as cluster,
        Client(cluster) as client,
    ):
        compare(client, folder)


def draw(streams, path):
    """Draw when each worker computed and when it waited for data."""
    figure, axes = plt.subplots(
        len(streams), figsize=(9, 3.6), layout="constrained", squeeze=False
    )
    for ax, (title, stream) in zip(axes.flat, streams.items(), strict=True):
        parts = [(t["worker"], part) for t in stream.data for part in t["startstops"]]
        workers = sorted({worker for worker, _ in parts})
        begin = min(part["start"] for _, part in parts)
        for worker, part in parts:
            ax.barh(
                workers.index(worker),
                part["stop"] - part["start"],
                left=part["start"] - begin,
                color=COLORS.get(part["action"], "0.6"),
                edgecolor="white",
                linewidth=0.5,
            )
        names = [f"worker {number + 1}" for number in range(len(workers))]
        ax.set_yticks(range(len(workers)), names)
        ax.set_title(title, loc="left")
        ax.margins(x=0)
    handles = [plt.Rectangle((0, 0), 1, 1, color=color) for color in COLORS.values()]
    axes[0, 0].legend(
        handles,
        COLORS,
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=2,
        frameon=False,
        borderpad=0.1,
    )
    axes[-1, 0].set_xlabel("time (s)")
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main(*sys.argv[1:])
