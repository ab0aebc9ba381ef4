"""Metrics against their definitions, and the scorers in their places."""

import pickle

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from sktok import BinQuantizer, BlockSegmenter, VectorQuantizer
from sktok.metrics import (
    heartbeat_f1,
    lowest_rate_within,
    neg_bits_per_sample,
    neg_prd,
    neg_reconstruction_mae,
    neg_reconstruction_mse,
    prd,
    reconstruct,
    snr_db,
    token_entropy,
    token_usage,
)


@pytest.fixture(scope="module")
def quantizer(ecg):
    return BinQuantizer(16).fit(ecg.data)


def test_scorers_are_negative_errors_of_the_reconstruction(quantizer, ecg):
    error = ecg.data - quantizer.inverse_transform(quantizer.transform(ecg.data))
    np.testing.assert_allclose(
        neg_reconstruction_mse(quantizer, ecg.data), -np.mean(error**2)
    )
    np.testing.assert_allclose(
        neg_reconstruction_mae(quantizer, ecg.data), -np.mean(np.abs(error))
    )
    assert isinstance(neg_reconstruction_mse(quantizer, ecg.data), float)


def test_prd_and_snr_follow_their_definitions(quantizer, ecg):
    X, X_hat = ecg.data, reconstruct(quantizer, ecg.data)
    noise = np.sum((X - X_hat) ** 2)
    plain = 100 * np.sqrt(noise / np.sum(X**2))
    centered = 100 * np.sqrt(noise / np.sum((X - X.mean()) ** 2))
    np.testing.assert_allclose(prd(X, X_hat, centered=False), plain)
    np.testing.assert_allclose(prd(X, X_hat, centered=True), centered)
    np.testing.assert_allclose(snr_db(X, X_hat), -20 * np.log10(centered / 100))
    shifted = prd(X + 5, X_hat + 5, centered=True)
    np.testing.assert_allclose(shifted, centered)


def test_extremes_are_infinite_and_not_nan():
    constant = np.ones((2, 3))
    assert prd(constant, constant, centered=True) == 0
    assert snr_db(constant, constant) == np.inf
    assert prd(constant, constant + 1, centered=True) == np.inf
    assert snr_db(constant, constant + 1) == -np.inf
    np.testing.assert_allclose(prd([1e200, 0], [2e200, 0], centered=False), 100)


def test_entropy_and_usage():
    assert token_entropy([[3, 3, 3]]) == 0
    np.testing.assert_allclose(token_entropy([0, 0, 0, 1]), 2 - 0.75 * np.log2(3))
    assert token_entropy(np.arange(256)) == 8
    assert token_usage(np.arange(128), 256) == 0.5


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: prd([1.0], [1.0, 2.0], centered=True),
            ValueError,
            "expected the same",
        ),
        (lambda: prd([np.nan], [1.0], centered=True), ValueError, "NaN"),
        (lambda: snr_db([[1.0]], [1.0]), ValueError, "expected the same"),
        (lambda: token_entropy([0.5]), TypeError, "dtype float64, expected integers"),
        (lambda: token_entropy(np.array([], int)), ValueError, "empty"),
        (lambda: token_usage([0, 8], 8), ValueError, "outside the vocabulary of 8"),
        (lambda: token_usage([-1], 8), ValueError, "outside the vocabulary of 8"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_prd_has_no_default_form():
    with pytest.raises(TypeError, match="centered"):
        prd([1.0], [1.0])


def test_bits_per_sample_count_all_tokens_of_a_window(ecg):
    pipe = make_pipeline(BlockSegmenter(7), VectorQuantizer(16, random_state=0))
    tokens = pipe.fit_transform(ecg.data)
    assert tokens.shape == (432, 36)
    expected = -token_entropy(tokens) * 36 / 250
    np.testing.assert_allclose(neg_bits_per_sample(pipe, ecg.data), expected)
    blocks = pipe[:1].transform(ecg.data)
    np.testing.assert_allclose(
        neg_bits_per_sample(pipe[1], blocks), -token_entropy(tokens) / 7
    )


def test_neg_prd_is_the_centred_one(quantizer, ecg):
    expected = -prd(ecg.data, reconstruct(quantizer, ecg.data), centered=True)
    assert neg_prd(quantizer, ecg.data) == expected


def test_heartbeats_are_found_missed_and_made_up(ecg):
    X = ecg.data
    assert heartbeat_f1(X, X, ecg.fs) == 1
    assert heartbeat_f1(X, X + 0.01 * np.sin(X), ecg.fs) > 0.99
    flat = np.zeros_like(X)
    assert heartbeat_f1(X, flat, ecg.fs) == 0
    assert heartbeat_f1(flat, X, ecg.fs) == 0
    assert heartbeat_f1(flat, flat, ecg.fs) == 1
    half = X.copy()
    half[216:] = X.mean()
    assert 0.4 < heartbeat_f1(X, half, ecg.fs) < 0.9


def test_beats_moved_beyond_the_tolerance_do_not_count(ecg):
    signal = ecg.data.ravel()
    moved = np.roll(signal, round(0.08 * ecg.fs))
    assert heartbeat_f1(signal, moved, ecg.fs) < 0.2
    assert heartbeat_f1(signal, moved, ecg.fs, tolerance=0.1) > 0.95


def search_results(bits, mse):
    return {
        "mean_test_neg_bits_per_sample": -np.array(bits),
        "mean_test_neg_reconstruction_mse": -np.array(mse),
    }


def test_the_lowest_rate_within_the_error_is_chosen():
    results = search_results([1.6, 0.8, 0.8, 0.3], [1e-5, 4e-5, 3e-5, 3e-4])
    assert lowest_rate_within(1e-3)(results) == 3
    assert lowest_rate_within(5e-5)(results) == 2
    assert lowest_rate_within(1e-5)(results) == 0
    with pytest.warns(UserWarning, match="within 1e-06: the lowest, 1e-05, is chosen"):
        assert lowest_rate_within(1e-6)(results) == 0


def test_failed_candidates_are_not_chosen():
    results = search_results([np.nan, 0.8, 0.3], [np.nan, 3e-5, np.nan])
    assert lowest_rate_within(1e-3)(results) == 1
    with pytest.warns(UserWarning, match="is chosen"):
        assert lowest_rate_within(1e-9)(results) == 1
    without_rate = search_results([np.nan, 0.5], [1e-5, 1.0])  # as latents have none
    with pytest.warns(UserWarning, match="is chosen"):
        assert lowest_rate_within(1e-3)(without_rate) == 1
    with pytest.raises(ValueError, match="No candidate has both"):
        lowest_rate_within(1e-3)(search_results([np.nan, 0.5], [1e-5, np.nan]))


def test_choosing_needs_both_scores_and_an_error():
    with pytest.raises(ValueError, match=r"no scores named \['neg_bits_per_sample'\]"):
        lowest_rate_within(1.0)({"mean_test_neg_reconstruction_mse": [0.0]})
    with pytest.raises(ValueError, match="max_mse=0: expected a number above 0"):
        lowest_rate_within(0)
    pickle.loads(pickle.dumps(lowest_rate_within(1.0)))
