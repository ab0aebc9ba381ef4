"""Resampler: windows at another sampling rate, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sktok import Resampler, make_tokenizer
from sktok._polyphase import resample, resampled_length
from sktok._steps import signal_facts
from sktok.datasets import load_ecg, windows_from

RATES = st.sampled_from(
    [100, 128, 250, 257, 300, 360, 500, 1000, 62.5, 511.93, 1e3 / 3]
)
UP_AND_DOWN = [(360, 500), (500, 250), (128, 250), (360, 250), (250, 360)]


@pytest.mark.parametrize(("input_fs", "output_fs"), UP_AND_DOWN)
def test_a_sine_keeps_its_value_at_each_time(input_fs, output_fs):
    def sine(fs):
        return np.sin(2 * np.pi * 17 * np.arange(2 * fs) / fs + 0.3)[np.newaxis]

    resampled = Resampler(input_fs, output_fs).fit_transform(sine(input_fs))
    np.testing.assert_allclose(
        resampled[:, 40:-40], sine(output_fs)[:, 40:-40], atol=3e-3
    )


def test_what_the_lower_rate_cannot_hold_is_removed():
    X = np.sin(2 * np.pi * 180 * np.arange(2000) / 500)[np.newaxis]  # above 125 Hz
    kept = Resampler(500, 250).fit_transform(X)[:, 20:-20]
    assert np.abs(kept).max() < 1e-3  # it would appear at 70 Hz


@given(st.integers(1, 700), RATES, RATES, st.floats(-1e6, 1e6))
def test_any_length_comes_back_and_constants_are_exact(n, input_fs, output_fs, level):
    X = np.full((2, n), level)
    resampler = Resampler(input_fs, output_fs).fit(X)
    resampled = resampler.transform(X)
    assert resampled.shape == (2, resampled_length(n, input_fs, output_fs))
    assert (resampled == level).all()
    np.testing.assert_array_equal(resampler.inverse_transform(resampled), X)


def test_equal_rates_change_nothing(ecg):
    X = ecg.data.astype(np.float32)
    np.testing.assert_array_equal(Resampler(360, 360).fit_transform(X), X)
    options = {"max_steps": 5, "random_state": 0}
    plain = make_tokenizer(**options).fit_transform(X)
    np.testing.assert_array_equal(
        make_tokenizer(fs=360, **options).fit_transform(X), plain
    )


@pytest.mark.parametrize(("input_fs", "output_fs"), UP_AND_DOWN)
def test_the_ends_of_windows_cost_little(input_fs, output_fs):
    signal = load_ecg(window_length=108_000).data  # five minutes
    whole = resample(signal, input_fs, output_fs)
    step = np.lcm(input_fs, output_fs) // output_fs  # input samples between two that
    length = 2 * input_fs // step * step  # lie at the same time in both
    n_output = length * output_fs // input_fs
    starts = np.arange(length, signal.size - 2 * length, length)
    windows = np.stack([signal[0, start:][:length] for start in starts])
    expected = [
        whole[0, start * output_fs // input_fs :][:n_output] for start in starts
    ]
    error = Resampler(input_fs, output_fs).fit_transform(windows) - expected
    rms = 1000 * np.sqrt(np.mean(error**2, axis=0))  # in µV
    assert rms[[0, -1]].max() < 20
    assert rms[30:-30].max() < 1e-9
    assert np.sqrt(np.mean(rms**2)) < 1


def test_invalid_samples_stay_invalid_and_spoil_no_others(ecg):
    signal = ecg.data[:4].ravel()
    broken = signal.copy()
    broken[300:400] = np.nan
    valid, found = resample(signal, 360, 250), resample(broken, 360, 250)
    first, last = 300 * 250 // 360, -(-399 * 250 // 360)
    invalid = np.flatnonzero(np.isnan(found))
    assert abs(invalid[0] - first) <= 1
    assert abs(invalid[-1] - last) <= 1
    assert len(invalid) == invalid[-1] - invalid[0] + 1
    far = np.r_[0 : first - 15, last + 15 : len(found)]
    np.testing.assert_allclose(found[far], valid[far], atol=1e-9)
    assert np.isnan(resample(np.full(9, np.nan), 360, 250)).all()


@pytest.mark.parametrize(
    ("input_fs", "output_fs"), [*UP_AND_DOWN, (500, 100), (100, 99)]
)
def test_no_gap_is_lost(input_fs, output_fs):
    for place in range(300, 340):
        samples = np.zeros(1000)
        samples[place] = np.nan
        invalid = np.flatnonzero(np.isnan(resample(samples, input_fs, output_fs)))
        assert len(invalid)
        assert (
            abs(invalid / output_fs - place / input_fs) < 1 / min(input_fs, output_fs)
        ).all()


def test_the_output_rate_is_that_of_fit(ecg):
    resampler = Resampler(360, 250).fit(ecg.data)
    expected = resampler.transform(ecg.data)
    resampler.set_params(output_fs=100)
    np.testing.assert_array_equal(resampler.transform(ecg.data), expected)
    assert resampler.inverse_transform(expected).shape == ecg.data.shape
    with pytest.raises(ValueError, match="'input_fs' parameter"):
        resampler.set_params(input_fs=-5).transform(ecg.data)


@pytest.mark.parametrize(
    ("lead", "error"),
    [
        ({"I", "II", "V1"}, TypeError),
        ({"I": 0}, TypeError),
        ([1, 2, 3], TypeError),
        (5, TypeError),
        ([], TypeError),
        (["I", "I", "II"], ValueError),
        ([["I", "II"], ["II", "I"]], TypeError),
    ],
)
def test_a_lead_is_a_name_or_several_in_order(lead, error):
    with pytest.raises(error, match="lead"):
        Resampler(360, 360, lead=lead).fit(np.zeros((2, 3, 100)))


def test_the_leads_of_a_bunch_are_names():
    signal = np.random.default_rng(0).normal(size=(2, 1000))
    facts = {"fs": 250, "unit": "mV", "lead": ["I", "II"], "window_length": 100}
    together, rows = (windows_from(signal, **facts, leads=k) for k in ("axis", "rows"))
    names = signal_facts(
        Resampler(250, 250, lead=together.lead).fit(together.data)
    ).lead
    assert names == ("I", "II")
    one = rows.lead == "II"
    assert signal_facts(Resampler(250, 250, lead=rows.lead[one])).lead == "II"
    with pytest.raises(ValueError, match="leave lead= out"):
        Resampler(250, 250, lead=rows.lead).fit(rows.data)


def test_a_window_does_not_depend_on_its_batch(ecg):
    resampler = Resampler(360, 250).fit(ecg.data)
    together = resampler.transform(ecg.data)
    np.testing.assert_array_equal(resampler.transform(ecg.data[7:8]), together[7:8])


def test_a_fitted_tokenizer_takes_another_rate(ecg):
    tokenizer = make_tokenizer(fs=360, max_steps=60, random_state=0).fit(ecg.data)
    tokens, restored = tokenizer.transform(ecg.data), tokenizer.inverse_transform
    finer = Resampler(360, 720).fit_transform(ecg.data)
    tokenizer.set_params(resample__input_fs=720)
    assert tokenizer.n_features_in_ == 500
    assert np.mean(tokenizer.transform(finer) == tokens) > 0.9
    assert restored(tokens).shape == (432, 500)
    with pytest.raises(ValueError, match=r"250 features.*expecting 500"):
        tokenizer.transform(ecg.data)
    tokenizer.set_params(resample__input_fs=500)  # 250 samples last 347.2 of these
    assert restored(tokens).shape == (432, 347)
    tokenizer.set_params(resample__input_fs=360)
    np.testing.assert_array_equal(tokenizer.transform(ecg.data), tokens)


def test_it_needs_no_fit():
    X = np.zeros((2, 3, 250))
    resampler = Resampler(500, 250)
    assert resampler.transform(X).shape == (2, 3, 125)
    assert resampler.inverse_transform(X[..., :125]).shape == (2, 3, 250)
    assert not hasattr(resampler, "n_features_in_")


def test_impossible_rates_and_names_are_refused():
    X = np.zeros((2, 3, 100))
    with pytest.raises(ValueError, match="no ratio of two integers"):
        Resampler(360, 0.01).fit(X)
    with pytest.raises(ValueError, match="lead names the 2 leads I, II"):
        Resampler(360, 250, lead=["I", "II"]).fit(X)
    Resampler(360, 250, lead=["I", "II", "V1"]).fit(X)
    with pytest.raises(ValueError, match="unit='mV' and lead=None require fs"):
        make_tokenizer(unit="mV")
    with pytest.raises(ValueError, match="overflow"):
        Resampler(360, 250).fit_transform(np.array([[1e308, -1e308] * 10]))
