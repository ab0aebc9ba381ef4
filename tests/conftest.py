"""Fixtures that several test modules share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from sklearn.model_selection import train_test_split

from sktok import ConvAETokenizer
from sktok.datasets import load_ecg
from sktok.datasets._wfdb import records_in

# A busy machine is slow: no test is timed.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def ecg():
    """Five minutes of real ECG as a Bunch: 432 windows of 250 samples, in mV."""
    return load_ecg()


@pytest.fixture(scope="session")
def mitdb_home():
    """The folder that holds real MIT-BIH records, as `fetch_mitdb` finds it."""
    home = Path(os.environ.get("SKTOK_DATA", Path.home() / "sktok_data"))
    if not (home / "mitdb" / "100.hea").exists():
        pytest.skip("no MIT-BIH record 100: name the folder of mitdb/ by SKTOK_DATA")
    return home


@pytest.fixture(scope="session")
def real_records():
    """Some records of each folder of ECG from other devices: 8 databases, 5 rates."""
    home = Path(os.environ.get("SKTOK_DATA", Path.home() / "sktok_data"))
    if not (home / "ecg" / "ludb").exists():
        pytest.skip("no folder ecg/ of real ECG: name its parent folder by SKTOK_DATA")
    folders = [path for path in (home / "ecg").iterdir() if path.is_dir()]
    return [record for folder in folders for record in records_in(folder)[::400]]


@pytest.fixture(scope="session")
def quick():
    """Make a `ConvAETokenizer` that trains in a second."""

    def make(**params):
        return ConvAETokenizer(**{"max_steps": 30, "random_state": 0, **params})

    return make


@pytest.fixture(scope="session")
def blocks(ecg):
    """Real blocks scaled to [0, 1]: (60 windows, 25 blocks, 10 samples)."""
    signal = (ecg.data - ecg.data.min()) / (ecg.data.max() - ecg.data.min())
    windows, _ = train_test_split(signal, train_size=60, random_state=0)
    return windows.reshape(60, 25, 10)
