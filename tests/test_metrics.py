"""Metrics agree with their definitions, and scorers with the metrics."""

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline

from sktok import (
    BinQuantizer,
    BlockSegmenter,
    ResidualVectorQuantizer,
    VectorQuantizer,
)
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


def percent(noise, signal):
    return 100 * np.sqrt(np.sum(noise**2) / np.sum(signal**2))


def test_prd_and_snr_follow_their_definitions(quantizer, ecg):
    X, X_hat = ecg.data, reconstruct(quantizer, ecg.data)
    plain, record = percent(X - X_hat, X), percent(X - X_hat, X - X.mean())
    windows = percent(X - X_hat, X - X.mean(axis=1, keepdims=True))
    for one in (X.ravel(), X_hat.ravel(), None), (X, X_hat, np.zeros(len(X))):
        np.testing.assert_allclose(prd(*one[:2], centered=False, groups=one[2]), plain)
        np.testing.assert_allclose(prd(*one[:2], centered=True, groups=one[2]), record)
        decibels = snr_db(*one[:2], groups=one[2])
        np.testing.assert_allclose(decibels, -20 * np.log10(record / 100))
    np.testing.assert_allclose(prd(X, X_hat, centered=False), plain)
    np.testing.assert_allclose(prd(X, X_hat, centered=True), windows)
    np.testing.assert_allclose(snr_db(X, X_hat), -20 * np.log10(windows / 100))
    assert windows > record  # leaving groups out never flatters


@pytest.fixture
def two_records(quantizer, ecg):
    """Two halves with different offsets, rows mixed: X, X_hat, labels, PRD of each."""
    X, X_hat = ecg.data, reconstruct(quantizer, ecg.data)
    groups = np.where(np.arange(len(X)) % 2, "b", "a")
    alone = [
        prd(X[groups == g].ravel(), X_hat[groups == g].ravel(), centered=True)
        for g in "ab"
    ]
    offset = np.where(groups == "a", 0.0, 5.0)[:, np.newaxis]
    return X + offset, X_hat + offset, groups, alone


def test_offsets_between_records_are_no_signal(two_records):
    X, X_hat, groups, alone = two_records
    np.testing.assert_allclose(prd(X, X_hat, centered=True, groups=groups), alone)
    np.testing.assert_allclose(
        snr_db(X, X_hat, groups=groups), -20 * np.log10(np.divide(alone, 100))
    )
    assert prd(X.ravel(), X_hat.ravel(), centered=True) < 0.3 * max(alone)
    assert prd(X, X_hat, centered=True) >= np.mean(alone)  # nor without groups


def test_a_constant_added_to_one_record_changes_nothing(two_records):
    X, X_hat, groups, _ = two_records
    offset = np.where(groups == "b", -3.0, 0.0)[:, np.newaxis]
    for labels in (groups, None):
        np.testing.assert_allclose(
            prd(X + offset, X_hat + offset, centered=True, groups=labels),
            prd(X, X_hat, centered=True, groups=labels),
        )


def test_groups_come_in_the_order_of_their_labels(two_records):
    X, X_hat, groups, (a, b) = two_records
    renamed = np.where(groups == "a", 9, 1)
    np.testing.assert_allclose(prd(X, X_hat, centered=True, groups=renamed), [b, a])
    frame = pd.Series(groups, index=np.arange(len(X))[::-1])
    np.testing.assert_allclose(prd(X, X_hat, centered=True, groups=frame), [a, b])


@pytest.mark.parametrize(
    "groups", [["a"], [["a"], ["b"]], "a", np.empty(0), ["a", "b", "c"]]
)
def test_groups_are_one_label_for_each_window(groups):
    X = [[1.0, 2.0], [3.0, 4.0]]
    with pytest.raises(ValueError, match="expected one label for each window"):
        prd(X, X, centered=True, groups=groups)
    with pytest.raises(ValueError, match="expected one label for each window"):
        prd([1.0, 2.0], [1.0, 2.0], centered=True, groups=["a", "b"])


def test_extremes_are_infinite_and_not_nan():
    flat = np.array([[0.1] * 3, [0.3] * 3, [0.7] * 3])
    assert prd(flat, flat, centered=True) == 0
    assert snr_db(flat, flat) == np.inf
    assert prd(flat, flat + 1, centered=True) == np.inf
    assert snr_db(flat, flat + 1) == -np.inf
    np.testing.assert_allclose(prd([1e200, 0], [2e200, 0], centered=False), 100)
    X, X_hat = [[1e200, 0], [1e-200, 0]], [[2e200, 0], [3e-200, 0]]
    figures = prd(X, X_hat, centered=False, groups=[0, 1])
    np.testing.assert_allclose(figures, [100, 200])


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
        (lambda: token_entropy(np.array([], int)), ValueError, "0 sample"),
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


def test_neg_prd_is_centred_and_the_mean_over_groups(quantizer, ecg):
    X, X_hat = ecg.data, reconstruct(quantizer, ecg.data)
    assert neg_prd(quantizer, X) == -prd(X, X_hat, centered=True)
    groups = np.arange(len(X)) % 3
    expected = -np.mean(prd(X, X_hat, centered=True, groups=groups))
    assert neg_prd(quantizer, X, groups=groups) == expected


def test_heartbeats_are_found_missed_and_added(ecg):
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
    without_rate = search_results([np.nan, 0.5], [1e-5, 1.0])  # latents have none
    with pytest.warns(UserWarning, match="is chosen"):
        assert lowest_rate_within(1e-3)(without_rate) == 1
    with pytest.raises(ValueError, match="No candidate has both"):
        lowest_rate_within(1e-3)(search_results([np.nan, 0.5], [1e-5, np.nan]))


def test_choosing_needs_both_scores_and_an_error():
    with pytest.raises(ValueError, match=r"no scores named \['neg_bits_per_sample'\]"):
        lowest_rate_within(1.0)({"mean_test_neg_reconstruction_mse": [0.0]})
    for max_mse in (0, True):
        with pytest.raises(ValueError, match=f"max_mse={max_mse}: expected a number"):
            lowest_rate_within(max_mse)
    pickle.loads(pickle.dumps(lowest_rate_within(1.0)))


def test_heartbeats_of_little_signal(ecg):
    """The detector reads and writes past the end of a short signal."""
    X = ecg.data.ravel()
    with pytest.raises(ValueError, match="250 samples at 360 Hz, expected two seconds"):
        heartbeat_f1(X[:250], X[:250], ecg.fs)
    flat_start = np.append(np.full(10_000, X[0]), X[:300])
    assert heartbeat_f1(flat_start, flat_start, ecg.fs) == 1
    script = """if True:
        import numpy as np
        from sktok.metrics import heartbeat_f1
        rng = np.random.default_rng(0)
        for _ in range(3000):
            n, period = rng.integers(122, 500), rng.integers(9, 19)
            X = np.zeros(n)
            X[rng.integers(period) :: period] = 1
            X *= np.exp(np.linspace(0, rng.uniform(-9, 9), n))
            X[: rng.choice([0, n - 20])] = 0
            assert heartbeat_f1(X, X, 61) == 1
    """
    subprocess.run([sys.executable, "-c", script], check=True)


def test_heartbeats_at_the_start_are_compared_within_the_tolerance(ecg):
    signal = np.zeros(800)
    signal[10] = 1.0
    assert heartbeat_f1(signal, signal, 360, tolerance=0.5) == 1
    assert heartbeat_f1(signal, signal, 360, tolerance=1e9) == 1


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"fs": 0}, "fs=0: expected a number above 60"),
        ({"fs": np.nan}, "fs=nan"),
        ({"fs": np.inf}, "fs=inf"),
        ({"fs": "360"}, "fs='360'"),
        ({"fs": 360, "tolerance": -1}, "tolerance=-1: expected seconds"),
        ({"fs": 360, "tolerance": np.inf}, "tolerance=inf"),
        ({"fs": 360, "tolerance": True}, "tolerance=True"),
    ],
)
def test_heartbeat_parameters_are_checked(ecg, params, message):
    with pytest.raises(ValueError, match=message):
        heartbeat_f1(ecg.data, ecg.data, **params)


@pytest.mark.parametrize("factor", [2.0**900, 2.0**-900])
def test_heartbeats_do_not_depend_on_the_unit(ecg, factor):
    X, X_hat = ecg.data, np.flip(ecg.data, axis=1)
    expected = heartbeat_f1(X, X_hat, ecg.fs)
    assert heartbeat_f1(X * factor, X_hat * factor, ecg.fs) == expected


def test_errors_of_huge_signals_are_infinite(ecg):
    quantizer = BinQuantizer(4).fit(ecg.data)
    assert neg_reconstruction_mse(quantizer, ecg.data * 1e300) == -np.inf
    assert neg_reconstruction_mae(quantizer, np.abs(ecg.data) * 1e307) == -np.inf


def test_signals_of_different_shapes_are_refused_before_they_are_copied():
    huge = np.broadcast_to(1.0, (2, 2**40))
    with pytest.raises(ValueError, match="expected the same"):
        prd(huge, huge[:1], centered=True)


def test_the_rate_of_stages_does_not_pay_for_what_the_place_tells(blocks):
    quantizer = ResidualVectorQuantizer((16, 4), random_state=0).fit(blocks)
    tokens = quantizer.transform(blocks)
    bits = sum(token_entropy(tokens[:, stage::2]) for stage in range(2))
    expected = -bits * len(tokens) * blocks.shape[1] / blocks.size
    assert neg_bits_per_sample(quantizer, blocks) == pytest.approx(expected)


def test_token_usage_counts_a_vocabulary():
    for n_tokens in (1.5, True):
        with pytest.raises(TypeError, match=f"n_tokens={n_tokens}: expected an int"):
            token_usage([0, 0], n_tokens)
