"""Displays draw what they were given, where they were told."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sktok import BinQuantizer
from sktok.metrics import reconstruct
from sktok.plotting import (
    QuantizationDisplay,
    RateDistortionDisplay,
    ReconstructionDisplay,
)

plt.switch_backend("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def quantizer(ecg):
    return BinQuantizer(16).fit(ecg.data)


def test_reconstruction_from_estimator(quantizer, ecg):
    X = ecg.data[:3]
    display = ReconstructionDisplay.from_estimator(
        quantizer, X, fs=ecg.fs, unit=ecg.unit
    )
    signal, reconstruction = display.lines_
    np.testing.assert_array_equal(signal.get_ydata(), X.ravel())
    np.testing.assert_array_equal(
        reconstruction.get_ydata(), reconstruct(quantizer, X).ravel()
    )
    np.testing.assert_allclose(signal.get_xdata()[-1], 749 / 360)
    assert display.ax_.get_xlabel() == "time (s)"
    assert display.ax_.get_ylabel() == "amplitude (mV)"


def test_quantization_from_estimator(quantizer, ecg):
    X = ecg.data[:1]
    display = QuantizationDisplay.from_estimator(quantizer, X)
    values, quantized = display.lines_
    np.testing.assert_array_equal(values.get_ydata(), X.ravel())
    np.testing.assert_array_equal(
        quantized.get_ydata(), reconstruct(quantizer, X).ravel()
    )
    assert display.limits == (ecg.data.min(), ecg.data.max())


@pytest.mark.parametrize("display", [ReconstructionDisplay, QuantizationDisplay])
def test_draws_on_given_axes_and_again(display):
    _, (first, second) = plt.subplots(2)
    drawn = display.from_arrays([1.0, 2.0], [1.0, 2.5], ax=first)
    assert drawn.ax_ is first
    assert drawn.plot(ax=second).ax_ is second
    assert drawn.figure_ is second.figure


def test_styles_are_passed_on():
    display = ReconstructionDisplay.from_arrays(
        [1.0, 2.0], [1.0, 2.0], signal_kwargs={"color": "blue"}
    )
    assert display.lines_[0].get_color() == "blue"


@pytest.mark.parametrize("display", [ReconstructionDisplay, QuantizationDisplay])
def test_arrays_of_different_shape(display):
    with pytest.raises(ValueError, match=r"shape \(2,\) and the reconstruction \(3,\)"):
        display.from_arrays([1.0, 2.0], [1.0, 2.0, 3.0])


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'sktok\[plot\]'"):
        ReconstructionDisplay.from_arrays([1.0], [1.0])


def test_rate_and_distortion_of_a_search():
    cv_results = {
        "params": [{"block": 5, "codes": n} for n in (8, 64, 256)] + [{"block": 2}],
        "mean_test_neg_bits_per_sample": [-0.6, -1.2, -1.6, -1.5],
        "mean_test_neg_reconstruction_mse": [-1e-3, -1e-4, -1e-5, -2e-4],
    }
    display = RateDistortionDisplay.from_cv_results(cv_results, unit="mV")
    np.testing.assert_allclose(
        display.points_.get_offsets(),
        [[0.6, 1e-3], [1.2, 1e-4], [1.6, 1e-5], [1.5, 2e-4]],
    )
    np.testing.assert_allclose(display.front_.get_xdata(), [0.6, 1.2, 1.6])
    assert display.labels == ["5, 8", "5, 64", "5, 256", "2"]
    assert display.ax_.get_ylabel() == "mean squared error (mV²)"
    _, ax = plt.subplots()
    assert display.plot(ax=ax).ax_ is ax


def test_candidates_without_a_score_are_not_drawn():
    rate, mse = np.array([0.3, 0.6, 1.2, 2.0]), np.array([1e-3, np.nan, 1e-5, 1e-4])
    display = RateDistortionDisplay(rate, mse, list("abcd")).plot()
    np.testing.assert_allclose(display.front_.get_xdata(), [0.3, 1.2])
    assert [text.get_text() for text in display.ax_.texts] == ["a", "c", "d"]
    nothing = RateDistortionDisplay(rate, np.full(4, np.nan), list("abcd")).plot()
    assert len(nothing.points_.get_offsets()) == 0
