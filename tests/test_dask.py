"""Workers of Dask give what one process gives, and lose nothing if one is killed."""

import importlib
import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import dask.array as da
import distributed
import numpy as np
import pytest
from joblib import parallel_config
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from sktok import make_tokenizer
from sktok._torch.threads import limited_threads
from sktok.metrics import neg_reconstruction_mse

EXAMPLES = Path(__file__).parents[1] / "examples"
GRID = {"tokenize__quantizer__n_codes": [8, 16]}
CHUNK = 12  # windows


@pytest.fixture(scope="module")
def recipe():
    """The example, with little to do, which the workers can import too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        patch.syspath_prepend(str(Path(__file__).parent))
        example = importlib.import_module("tokenize_on_dask")
        patch.setattr(example, "GRID", GRID)
        patch.setattr(example, "SEARCH_STEPS", 2)
        patch.setattr(example, "N_COPIES", 3)
        yield example


@pytest.fixture(scope="module")
def client(recipe, tmp_path_factory):
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            local_directory=tmp_path_factory.mktemp("dask"),
            dashboard_address=":0",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def windows(ecg):
    return ecg.data[:120]


@pytest.fixture(scope="module")
def alone(recipe, windows):
    """The search in one process, with one thread as the workers have."""
    with limited_threads(1):
        return recipe.grid_search(windows).fit(windows)


def announce():
    """Say which process is in which task, and wait for leave to go on."""
    key = str(distributed.get_worker().get_current_task())
    distributed.Queue("inside").put((os.getpid(), key))
    distributed.Event(key).wait()


def announced_score(estimator, X, y=None):
    announce()
    return neg_reconstruction_mse(estimator, X)


def announced(X):
    announce()
    return X


def with_first_step(function, tokenizer):
    step = FunctionTransformer(function)
    return Pipeline([("first", step), *tokenizer.steps])


def let_pass_and_kill_one(inside, n_before):
    """Every process and task announced; the worker of the one after `n_before` dies."""
    runs = []
    while (run := inside.get()) is not None:
        pid, key = run
        if len(runs) == n_before:
            os.kill(pid, signal.SIGKILL)
        runs.append((pid, key))
        distributed.Event(key).set()
    return runs


@contextmanager
def one_worker_killed(client, *, n_before):
    """While the body runs; then see that the task was lost and run again elsewhere."""
    client.wait_for_workers(2)
    inside = distributed.Queue("inside")
    with ThreadPoolExecutor(1) as pool:
        keeper = pool.submit(let_pass_and_kill_one, inside, n_before)
        try:
            yield
        finally:
            inside.put(None)
        runs = keeper.result()
    killed, lost = runs[n_before]
    again = [pid for pid, key in runs[n_before + 1 :] if key == lost]
    assert again
    assert killed not in again
    assert len({key for _, key in runs}) > n_before + 1  # it was not the last task


def assert_same_search(found, expected):
    assert found.cv_results_["params"] == expected.cv_results_["params"]
    scores = [name for name in expected.cv_results_ if "test_score" in name]
    assert len(scores) == 3 + 3  # folds; mean, deviation, rank
    for name in scores:
        np.testing.assert_array_equal(
            found.cv_results_[name], expected.cv_results_[name]
        )
    assert found.best_params_ == expected.best_params_


def tokens_in(directory, recipe, windows, tokenizer):
    """Tokens of windows in a file."""
    np.save(directory / "windows.npy", windows)
    archive = recipe.open_archive(directory / "windows.npy", CHUNK)
    return recipe.tokenize(archive, tokenizer)


def test_a_search_on_workers_is_that_of_one_process(client, recipe, windows, alone):
    search = recipe.grid_search(windows)
    with limited_threads(1):
        recipe.fit_on_cluster(search, windows, client)
    assert_same_search(search, alone)
    np.testing.assert_array_equal(
        search.best_estimator_.transform(windows),
        alone.best_estimator_.transform(windows),
    )


def test_a_plain_search_under_joblib_is_too(client, recipe, windows, alone):
    search = clone(alone).set_params(cv=3, refit=False)
    with parallel_config("dask"):
        search.fit(windows)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]
    )


def test_a_search_outlives_a_worker(client, recipe, windows, alone):
    search = recipe.grid_search(windows, scoring=announced_score)
    with one_worker_killed(client, n_before=2), limited_threads(1):
        recipe.fit_on_cluster(search, windows, client)
    assert not client.amm.running()  # in a longer search it would drop the copies
    assert_same_search(search, alone)
    np.testing.assert_array_equal(
        search.best_estimator_.transform(windows),
        alone.best_estimator_.transform(windows),
    )


@pytest.mark.parametrize(("n_codes", "dtype"), [(16, np.uint8), (300, np.uint16)])
def test_tokens_of_chunks_are_those_of_one_call(
    client, recipe, windows, tmp_path, n_codes, dtype
):
    tokenizer = make_tokenizer(n_tokens=n_codes, max_steps=2, random_state=0)
    tokenizer.fit(windows)
    tokens = tokens_in(tmp_path, recipe, windows, tokenizer)
    assert (tokens.shape, tokens.dtype, tokens.npartitions) == ((120, 25), dtype, 10)
    computed = tokens.compute()
    assert computed.dtype == dtype
    np.testing.assert_array_equal(computed, tokenizer.transform(windows))


def test_tokenizing_outlives_a_worker(client, recipe, windows, alone, tmp_path):
    tokenizer = with_first_step(announced, alone.best_estimator_)
    tokens = tokens_in(tmp_path, recipe, windows, tokenizer)
    with one_worker_killed(client, n_before=4):
        computed = tokens.compute()
    np.testing.assert_array_equal(computed, alone.best_estimator_.transform(windows))


class Arrivals:
    """Hands windows on, and notes in a file each process that it is unpickled in."""

    def __init__(self, path):
        self.path = path

    def __call__(self, X):
        return X

    def __setstate__(self, state):
        self.__dict__ = state
        with open(self.path, "a") as file:
            print(os.getpid(), file=file)


def test_the_tokenizer_is_not_sent_with_every_chunk(
    client, recipe, windows, alone, tmp_path
):
    client.wait_for_workers(2)
    log = tmp_path / "arrivals.txt"
    tokenizer = with_first_step(Arrivals(log), alone.best_estimator_)
    many = da.from_array(np.tile(windows, (2, 1)), chunks=(CHUNK, -1))
    recipe.tokenize(many, tokenizer).compute()
    arrived = Counter(map(int, log.read_text().split()))
    workers = client.run(os.getpid).values()
    assert many.npartitions == 20
    assert 1 <= sum(arrived[pid] for pid in workers) <= 4  # in the graph, and from it


def test_the_example(client, recipe, tmp_path, capsys):
    with limited_threads(1):
        recipe.compare(client, tmp_path)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("Yes: 3 × 2 scores and 32,400 tokens (uint8) are equal")
    assert (tmp_path / "workers.png").stat().st_size > 5_000
