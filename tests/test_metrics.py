"""Metrics against their definitions, and the scorers in their places."""

import numpy as np
import pytest

from sktok import BinQuantizer
from sktok.metrics import (
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
