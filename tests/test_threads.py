"""Threads of torch: as many as there is room for, and left as they were found."""

from threading import Thread

import distributed
import numpy as np
import pytest
import torch
from joblib import Parallel, delayed, parallel_config
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from threadpoolctl import threadpool_limits

from sktok import BinQuantizer, VectorQuantizer
from sktok._torch import threads, training
from sktok.metrics import neg_reconstruction_mse


@pytest.fixture(autouse=True)
def two_threads():
    """torch set to two threads, here and for threads to come; and put back."""
    found = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(found)


def number_of_a_new_thread():
    numbers = []
    thread = Thread(target=lambda: numbers.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return numbers[0]


def assert_left_as_found():
    assert torch.get_num_threads() == number_of_a_new_thread() == 2


def test_a_limit_holds_in_its_thread_alone():
    with threads.limited_threads(1):
        assert torch.get_num_threads() == 1
        assert number_of_a_new_thread() == 2
    assert_left_as_found()


def test_a_limit_ends_with_an_error():
    with pytest.raises(KeyError), threads.limited_threads(1):
        raise KeyError
    assert_left_as_found()


def threads_used():
    with threads.limited_threads(threads.n_threads()):
        return threads.n_threads(), torch.get_num_threads()


def test_a_caller_of_its_own_may_use_all_threads():
    assert threads_used() == (2, 2)
    assert Parallel(n_jobs=1)(delayed(threads_used)() for _ in range(2)) == [(2, 2)] * 2


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_worker_of_joblib_uses_one_of_two_threads(backend):
    jobs = (delayed(threads_used)() for _ in range(4))
    assert Parallel(n_jobs=2, backend=backend)(jobs) == [(1, 1)] * 4
    assert_left_as_found()


def test_a_worker_of_dask_uses_one_of_two_threads():
    settings = {"processes": False, "dashboard_address": ":0"}
    with (
        distributed.Client(n_workers=1, threads_per_worker=2, **settings),
        parallel_config("dask"),
    ):
        used = Parallel(n_jobs=2)(delayed(threads_used)() for _ in range(4))
    assert used == [(1, 1)] * 4
    assert_left_as_found()


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_scores_do_not_depend_on_where_they_are_computed(blocks, quick, backend):
    tokenizer = quick(max_steps=5, quantizer=BinQuantizer(16))
    scoring = {"cv": 2, "scoring": neg_reconstruction_mse}
    expected = cross_val_score(clone(tokenizer), blocks, **scoring)
    with parallel_config(backend):
        scores = cross_val_score(clone(tokenizer), blocks, **scoring, n_jobs=2)
    np.testing.assert_array_equal(scores, expected)
    assert_left_as_found()


@pytest.mark.parametrize(
    "params",
    [
        {"quantizer": VectorQuantizer(64)},
        {"quantizer": BinQuantizer(16), "early_stopping": True},
        {"network": "dimreduction", "latent_dim": 32},
    ],
    ids=["codebook", "bins", "table 1"],
)
def test_training_does_not_depend_on_the_number_of_threads(
    ecg, quick, monkeypatch, params
):
    monkeypatch.setattr(training, "_CHECK_EVERY", 10)  # early stopping chooses of two
    X = ecg.data.reshape(432, 25, 10).astype(np.float32)
    weights = []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        fitted = quick(max_steps=20, batch_size=100, **params).fit(X)
        weights.append(fitted.network_.state_dict())
    for others in weights[1:]:
        assert all(torch.equal(weights[0][name], others[name]) for name in others)


def test_a_codebook_of_kmeans_does_not_depend_on_the_number_of_threads(blocks):
    codes = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            X = np.resize(blocks, (400, 25, 10))
            codes.append(VectorQuantizer(32, random_state=0).fit(X).codes_)
    np.testing.assert_array_equal(*codes)


def test_tokens_of_many_callers_at_once(blocks, quick):
    tokenizer = quick(quantizer=VectorQuantizer(16)).fit(blocks)
    expected = tokenizer.transform(blocks)
    jobs = (delayed(tokenizer.transform)(blocks) for _ in range(8))
    for tokens in Parallel(n_jobs=4, backend="threading")(jobs):
        np.testing.assert_array_equal(tokens, expected)
    assert_left_as_found()
