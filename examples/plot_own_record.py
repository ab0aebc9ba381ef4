"""
How do I read my own WFDB record?
=================================

WFDB is the format of PhysioNet: a header ``NAME.hea`` and a file of samples
``NAME.dat``. ``load_wfdb`` reads one lead of such records as windows, verifies the
checksums in the header, and recognises invalid samples.

It takes a quarter of a minute on 2 cores.
"""

# %%
# First, write an example record: a minute of real ECG in which the electrode is off for
# two seconds. ``wfdb`` writes NaN as invalid samples.

import tempfile
from pathlib import Path

import numpy as np
import wfdb

from sktok import make_tokenizer
from sktok.datasets import load_ecg, load_wfdb
from sktok.plotting import ReconstructionDisplay

known = load_ecg()
minute = (known.start - known.start[0]) // (60 * known.fs)
signal = known.data[minute == 4].ravel()
signal[1000:1720] = np.nan

temporary = tempfile.TemporaryDirectory()  # use a permanent folder instead
folder = Path(temporary.name)


def write_record(name, signal):
    """Write a signal of one lead in mV, with a resolution of 1 µV."""
    lead = {"units": ["mV"], "sig_name": ["MLII"], "fmt": ["16"]}
    scale = {"adc_gain": [1000], "baseline": [0]}
    signal = signal.reshape(-1, 1)
    wfdb.wrsamp(
        name, known.fs, p_signal=signal, write_dir=temporary.name, **lead, **scale
    )


write_record("mine", signal)
print(*sorted(path.name for path in folder.iterdir()))

# %%
# A record is specified by its path without a suffix. By default, invalid samples raise
# an error. ``missing="drop"`` removes windows that contain invalid samples, and
# ``"keep"`` keeps them with NaN.

try:
    load_wfdb(folder / "mine", channel="MLII")
except ValueError as error:
    print("ValueError:", error)
for missing in ("drop", "keep"):
    ecg = load_wfdb(folder / "mine", channel="MLII", missing=missing)
    print(f"{missing}: {ecg.data.shape}, {ecg.fs} Hz, {ecg.unit}, {ecg.lead[0]}")

# %%
# A tokenizer trained on the four preceding minutes tokenizes the windows without
# invalid samples. ``ecg.start`` is the position of each window in the record.

tokenizer = make_tokenizer(max_steps=300, random_state=0).fit(known.data[minute < 4])
whole = np.isfinite(ecg.data).all(axis=1)
tokens = tokenizer.transform(ecg.data[whole])
print(tokens.shape, "tokens; the gap was in windows", np.flatnonzero(~whole))

# %%
# Restore the signal, with the gap at the same position, and write it as a second record
# in the same folder.

restored = np.full_like(ecg.data, np.nan)
restored[whole] = tokenizer.inverse_transform(tokens)
write_record("restored", restored.ravel())
again = load_wfdb(folder / "restored", missing="keep")
temporary.cleanup()
print(f"written and read: within {1000 * np.nanmax(abs(again.data - restored)):.1f} µV")

# %%
# Six seconds around the gap in both records. If one sample of a window is invalid, the
# whole window is missing.

_ = ReconstructionDisplay(
    ecg.data[:9].ravel(), again.data[:9].ravel(), fs=ecg.fs, unit=ecg.unit
).plot()

# %%
# **Answer:** with ``load_wfdb("folder/record", channel="II")``. If the record has gaps,
# use ``missing="drop"``, or ``missing="keep"`` to keep the gaps in the restored signal.
# Pass a list of paths for several records, and ``groups=`` if patients have several
# records.
