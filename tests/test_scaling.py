"""AmplitudeScaler: one affine map, its range, and its inverse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import MinMaxScaler

from sktok import AmplitudeScaler

signals = arrays(
    st.sampled_from([np.float32, np.float64]),
    array_shapes(min_dims=2, max_dims=3, max_side=6),
    elements=st.floats(-1e6, 1e6, width=32),
)


@given(signals, st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (3, 50)]))
def test_the_inverse_is_exact_up_to_rounding(X, feature_range):
    scaler = AmplitudeScaler(feature_range).fit(X)
    scaled = scaler.transform(X)
    assert scaled.dtype == X.dtype
    assert scaled.shape == X.shape
    low, high = feature_range
    rounding = 8 * np.finfo(X.dtype).eps
    assert scaled.min() >= low - rounding * abs(high)
    assert scaled.max() <= high + rounding * abs(high)
    largest = max(abs(X.min()), abs(X.max()), 1) * max(1, abs(high / (high - low)))
    np.testing.assert_allclose(
        scaler.inverse_transform(scaled), X, rtol=0, atol=4 * rounding * largest
    )


def test_it_equals_min_max_scaler_of_the_flattened_signal(ecg):
    flat = MinMaxScaler((-1, 1)).fit_transform(ecg.data.reshape(-1, 1))
    scaled = AmplitudeScaler((-1, 1)).fit_transform(ecg.data)
    np.testing.assert_allclose(scaled.ravel(), flat.ravel(), atol=1e-14)


def test_clip_keeps_unseen_samples_in_the_range():
    scaler = AmplitudeScaler((2.0, 3.0), clip=True).fit([[0.0, 1.0]])
    np.testing.assert_array_equal(scaler.transform([[-5.0, 1e300]]), [[2.0, 3.0]])


@pytest.mark.parametrize("value", [0.0, 1.5, -1e30])
def test_constant_signal_round_trips(value):
    X = np.full((3, 4), value)
    scaler = AmplitudeScaler().fit(X)
    np.testing.assert_array_equal(scaler.transform(X), np.zeros((3, 4)))
    np.testing.assert_array_equal(scaler.inverse_transform(np.zeros((3, 4))), X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_values_do_not_overflow(dtype):
    X = np.array([[-1e30, 0.0, 1e30]], dtype)
    np.testing.assert_allclose(AmplitudeScaler().fit_transform(X), [[0, 0.5, 1]])


@pytest.mark.parametrize(
    ("fit_on", "transformed", "message"),
    [
        ([[0.0, 1e-45]], np.float32([[0.0, 1.0]]), "overflow float32.*clip=True"),
        ([[-1e300, 1e300]], None, "more than float32 can hold"),
        ([[0.0, np.nan]], None, "NaN"),
        ([[0.0, np.inf]], None, "infinity"),
        (np.empty((0, 4)), None, "0 sample"),
        ([0.0, 1.0], None, "Reshape your data"),
        ([[0.0, 1.0]], [[0.0, 1.0, 2.0]], "3 features.*expecting 2 features"),
        (np.ones((2, 6, 1)), np.ones((2, 3, 2)), r"shape \(3, 2\).*shape \(6, 1\)"),
    ],
)
def test_bad_input(fit_on, transformed, message):
    with pytest.raises(ValueError, match=message):
        AmplitudeScaler().fit(fit_on).transform(transformed)


def test_a_range_set_after_fit_changes_nothing():
    X = np.array([[0.0, 1.0]])
    scaler = AmplitudeScaler().fit(X).set_params(feature_range=(0, 10))
    np.testing.assert_array_equal(scaler.transform(X), X)


@pytest.mark.parametrize("scaler", [AmplitudeScaler(), AmplitudeScaler(clip=True)])
def test_a_fit_that_fails_leaves_it_unfitted(scaler):
    scaler.fit([[0.0, 1.0]])
    with pytest.raises(ValueError, match="more than float32"):
        scaler.fit([[-1e300, 0.0, 1e300]])
    with pytest.raises(NotFittedError):
        scaler.transform([[0.0, 1.0, 2.0]])


def test_bad_inverse():
    scaler = AmplitudeScaler().fit([[0.0, 1e30]])
    with pytest.raises(ValueError, match=r"shape \(3,\).*shape \(2,\)"):
        scaler.inverse_transform([[0.0, 1.0, 2.0]])
    with pytest.raises(ValueError, match=r"overflow float32.*scaled signal"):
        scaler.inverse_transform(np.float32([[1e30, 0.0]]))


@pytest.mark.parametrize(
    "feature_range",
    [
        (1.0, 0.0),
        (1.0, 1.0),
        (0, 1, 2),
        ("a", 1),
        (False, True),
        (0, np.inf),
        (np.nan, 1),
        (0, 1e40),
    ],
)
def test_bad_range(feature_range):
    with pytest.raises(ValueError, match=r"two finite numbers with low < high"):
        AmplitudeScaler(feature_range).fit([[0.0, 1.0]])


def test_clip_changes_the_fingerprint():
    def state(clip):
        return AmplitudeScaler(clip=clip).fit([[0.0, 1.0]])._fingerprint_state()

    assert state(True) == state(np.True_) != state(False)
