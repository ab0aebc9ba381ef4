"""Pretrained tokenizers: from files of the package to tokens of any ECG."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import wfdb
from sklearn.base import clone

from sktok import _pretrained, list_pretrained, load_pretrained
from sktok._leads import INDEPENDENT_LEADS, TWELVE_LEADS
from sktok._polyphase import resample
from sktok._steps import walk
from sktok.corpus import Vocabulary
from sktok.datasets import derive_leads, load_wfdb
from sktok.metrics import heartbeat_f1, neg_reconstruction_mse, prd, reconstruct
from sktok.persistence import load
from sktok.plotting import TwelveLeadDisplay

# What a name stands for never changes. A better tokenizer gets a new name.
FINGERPRINTS = {
    "ecg-12hz-v1": "6d738de2ca56eda6a2f396f2",
    "ecg-31hz-stages-v1": "064e42ccae7907a0abcaf2f2",
    "ecg-31hz-v1": "9944f434d306a4a6368374af",
    "ecg12-100hz-v1": "3a3e34752d88420d769306b1",
    "ecg12-40hz-v1": "11b530552c6b27a3291fae0d",
}
NAMES = list(FINGERPRINTS)
OF_ALL_LEADS = [name for name in NAMES if name.startswith("ecg12-")]
BASE = "ecg-31hz-v1"


@pytest.fixture(scope="module")
def minutes(ecg):
    """Real ECG at 360 Hz, five minutes in mV."""
    return ecg.data.ravel()


@pytest.fixture(scope="module")
def windows(minutes):
    """Windows of two seconds at 360 Hz."""
    return minutes[: 149 * 720].reshape(-1, 720)


@pytest.fixture(scope="module")
def leads(minutes):
    """Something like eight leads in windows of ten seconds at 360 Hz: (29, 8, 3600)."""
    X = minutes[: 29 * 3600].reshape(29, 1, 3600)
    gains = np.array([0.5, 1.0, -0.6, -0.3, 0.6, 1.2, 1.1, 0.8])[:, np.newaxis]
    return gains * X + 0.2 * gains[::-1] * np.gradient(X, axis=2)


def test_all_have_a_version_and_are_small():
    assert list_pretrained() == NAMES
    sizes = [_pretrained.path_of(name).stat().st_size for name in NAMES]
    assert max(sizes) < 5e6
    assert sum(sizes) < 13e6


@pytest.mark.parametrize("name", NAMES)
def test_a_name_never_changes_its_tokens(name):
    vocabulary = Vocabulary.from_tokenizer(load_pretrained(name))
    assert vocabulary.fingerprint[:24] == FINGERPRINTS[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_those_of_persistence(name):
    tokenizer, expected = load_pretrained(name), load(_pretrained.path_of(name))
    for steps in zip(walk(tokenizer), walk(expected), strict=True):
        found, expected = (repr(step.get_params()) for step in steps)
        assert found == expected
    assert Vocabulary.from_tokenizer(tokenizer) == Vocabulary.from_tokenizer(
        load(_pretrained.path_of(name))
    )


@pytest.mark.parametrize("fs", [100, 128, 250, 360, 500, 1000])
def test_windows_of_any_rate(fs, minutes):
    signal = resample(minutes, 360, fs)
    X = signal[: 60 * fs].reshape(30, 2 * fs)
    tokenizer = load_pretrained(BASE, fs=fs)
    tokens = tokenizer.transform(X)
    assert tokens.shape == (30, 2 + 63)
    restored = tokenizer.inverse_transform(tokens)
    assert restored.shape == X.shape
    assert prd(X.ravel(), restored.ravel(), centered=True) < 7
    assert heartbeat_f1(X, restored, fs) > 0.98


@pytest.mark.parametrize(("fs", "window_length"), [(None, 250), (360, 3600)])
def test_windows_of_any_length(fs, window_length, minutes):
    tokenizer = load_pretrained(BASE, fs=fs, window_length=window_length)
    X = resample(minutes, 360, fs or 250)[: 10 * window_length].reshape(10, -1)
    restored = reconstruct(tokenizer, X)
    assert restored.shape == X.shape
    assert prd(X.ravel(), restored.ravel(), centered=True) < 7


def test_fewer_tokens_have_a_larger_error(windows):
    stages = load_pretrained("ecg-31hz-stages-v1", fs=360)
    both, n_tokens = neg_reconstruction_mse(stages, windows), 2 + 2 * 63
    assert stages.transform(windows).shape == (149, n_tokens)
    stages.set_params(gain_shape__tokenizer__tokenize__n_stages=1)
    first = neg_reconstruction_mse(stages, windows)
    assert stages.transform(windows).shape == (149, 2 + 63)
    one = neg_reconstruction_mse(load_pretrained(BASE, fs=360), windows)
    slow = neg_reconstruction_mse(load_pretrained("ecg-12hz-v1", fs=360), windows)
    assert both > one > first > slow


@pytest.mark.parametrize("name", NAMES)
def test_the_error_is_proportional_to_the_gain(name, windows, leads):
    tokenizer = load_pretrained(name, fs=360)
    X, most = (leads, 1.1) if name in OF_ALL_LEADS else (windows, 1.07)

    def relative_error(X):
        errors = np.sqrt(np.mean((reconstruct(tokenizer, X) - X) ** 2, axis=-1))
        return np.median(errors / np.ptp(X, axis=-1))

    unchanged = relative_error(X)
    for gain, offset in [(0.2, 0), (5, 0), (1, -2), (1, 2), (0.2, 2), (5, -2)]:
        assert relative_error(gain * X + offset) <= most * unchanged


@pytest.mark.parametrize("fs", [100, 250, 500])
def test_all_leads_of_any_rate_and_order(fs, leads):
    X = resample(leads, 360, fs)
    eight = load_pretrained("ecg12-40hz-v1", fs=fs)
    tokens = eight.transform(X)
    assert tokens.shape == (29, 2 * 8 + 8 * 50)  # ten seconds
    restored = eight.inverse_transform(tokens)
    assert prd(X.ravel(), restored.ravel(), centered=True) < 20
    twelve = load_pretrained("ecg12-40hz-v1", fs=fs, lead=TWELVE_LEADS[::-1])
    Y = derive_leads(X, INDEPENDENT_LEADS, to=TWELVE_LEADS[::-1])
    np.testing.assert_array_equal(twelve.transform(Y), tokens)
    restored = twelve.inverse_transform(tokens)
    assert restored.shape == (29, 12, 10 * fs)
    iii, ii, i = restored[:, -3:].swapaxes(0, 1)
    np.testing.assert_allclose(i + iii, ii, atol=1e-12)  # Einthoven


def test_fewer_stages_of_all_leads(leads):
    tokenizer = load_pretrained("ecg12-100hz-v1", fs=360)
    errors = []
    for n_stages in (10, 5, 1):
        tokenizer.set_params(gain_shape__tokenizer__tokenize__n_stages=n_stages)
        assert tokenizer.transform(leads[:2]).shape == (2, 16 + 100 * n_stages)
        errors.append(-neg_reconstruction_mse(tokenizer, leads))
    slow = -neg_reconstruction_mse(load_pretrained("ecg12-40hz-v1", fs=360), leads)
    assert errors[0] < slow < errors[2]
    assert errors == sorted(errors)


def test_from_a_folder_to_twelve_leads_on_paper(tmp_path, leads):
    names = "I II III AVR AVL AVF V1 V2 V3 V4 V5 V6".split()  # as in PTB-XL
    for number, record in enumerate(derive_leads(leads[:2], INDEPENDENT_LEADS)):
        wfdb.wrsamp(
            f"0000{number}_hr",
            fs=360,
            units=["mV"] * 12,
            sig_name=names,
            p_signal=record.T,
            fmt=["16"] * 12,
            write_dir=str(tmp_path),
        )
    ecg = load_wfdb(tmp_path, channel="all", window_seconds=10)
    tokenizer = load_pretrained("ecg12-40hz-v1", fs=ecg.fs, lead=ecg.lead[0])
    tokens = tokenizer.transform(ecg.data)
    restored = tokenizer.inverse_transform(tokens)
    display = TwelveLeadDisplay.from_estimator(tokenizer, ecg.data[:1])
    assert tokens.shape == (2, 416)
    np.testing.assert_allclose(display.reconstruction[:2], restored[0, :2])


def test_training_continues_on_own_windows(windows):
    tokenizer = load_pretrained(BASE, fs=360)
    before = neg_reconstruction_mse(tokenizer, -windows)  # the lead upside down
    tokenizer.set_params(
        gain_shape__warm_start=True,
        gain_shape__tokenizer__tokenize__max_steps=60,
        gain_shape__tokenizer__tokenize__batch_size=16,
    ).fit(-windows)
    assert neg_reconstruction_mse(tokenizer, -windows) > before
    *_, network = walk(tokenizer)
    assert network.n_steps_ == 16_000 + 60


def test_a_clone_is_the_recipe(windows):
    tokenizer = load_pretrained("ecg-12hz-v1", fs=360)
    again = clone(tokenizer).set_params(gain_shape__tokenizer__tokenize__max_steps=2)
    again.fit(windows)
    *_, network = walk(again)
    assert network.n_steps_ == 2
    assert again.transform(windows).shape == tokenizer.transform(windows).shape


def test_pickles(windows):
    tokenizer = load_pretrained(BASE, fs=360)
    tokens = tokenizer.transform(windows)
    again = pickle.loads(pickle.dumps(tokenizer))
    np.testing.assert_array_equal(again.transform(windows), tokens)


def test_wrong_parameters():
    with pytest.raises(ValueError, match="name='ecg': expected one of 'ecg-12hz-v1'"):
        load_pretrained("ecg")
    with pytest.raises(ValueError, match="fs=0: expected a number above 0"):
        load_pretrained(BASE, fs=0)
    with pytest.raises(ValueError, match="any lead by itself, expected no lead="):
        load_pretrained(BASE, lead=["I", "II"])
    with pytest.raises(ValueError, match="missing: V1, V2, V3, V4, V5, V6"):
        load_pretrained("ecg12-40hz-v1", lead=["I", "II"])
    for window_length in (359, 720.0, True):
        with pytest.raises(ValueError, match=r"window_length=.*an int from 360 to"):
            load_pretrained(BASE, fs=360, window_length=window_length)


def test_a_damaged_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_pretrained, "_FOLDER", tmp_path)
    (tmp_path / "checksums.json").write_text(json.dumps({BASE: "0" * 64}))
    (tmp_path / f"{BASE}.skops").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"ecg-31hz-v1\.skops is damaged: install"):
        load_pretrained(BASE)


def test_loading_imports_no_compiler():
    code = (
        "import sys, torch, sktok; "
        f"sktok.load_pretrained('{BASE}'); "
        "print({'torch._dynamo', 'sympy', 'skops'} & {*sys.modules})"
    )
    shown = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert shown.strip() == "set()"
