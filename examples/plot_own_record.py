"""
How do I read a WFDB record of my own?
======================================

WFDB is the format of PhysioNet: a header ``NAME.hea`` and a file of samples
``NAME.dat``. ``load_wfdb`` reads one lead of such records as windows, checks the
samples against the checksums in the header, and knows which samples are marked as
invalid.

A quarter of a minute on 2 cores.
"""

# %%
# For lack of yours, here is one: a minute of real ECG, in which the electrode is off
# for two seconds. ``wfdb`` writes NaN as invalid samples.

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

temporary = tempfile.TemporaryDirectory()  # a folder of your own, that is
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
# A record is named by its path without an ending. Invalid samples are an error unless
# you say what to do with them: ``"drop"`` leaves out the windows that hold any, and
# ``"keep"`` keeps them with NaN.

try:
    load_wfdb(folder / "mine", channel="MLII")
except ValueError as error:
    print("ValueError:", error)
for missing in ("drop", "keep"):
    ecg = load_wfdb(folder / "mine", channel="MLII", missing=missing)
    print(f"{missing}: {ecg.data.shape}, {ecg.fs} Hz, {ecg.unit}, {ecg.lead[0]}")

# %%
# Tokens of the windows that are whole, by a tokenizer trained on the four minutes
# before it. ``ecg.start`` tells where each window lies in the record.

tokenizer = make_tokenizer(max_steps=300, random_state=0).fit(known.data[minute < 4])
whole = np.isfinite(ecg.data).all(axis=1)
tokens = tokenizer.transform(ecg.data[whole])
print(tokens.shape, "tokens; the gap was in windows", np.flatnonzero(~whole))

# %%
# And back: the restored signal, with the gap where it was, as a record beside the
# first.

restored = np.full_like(ecg.data, np.nan)
restored[whole] = tokenizer.inverse_transform(tokens)
write_record("restored", restored.ravel())
again = load_wfdb(folder / "restored", missing="keep")
temporary.cleanup()
print(f"written and read: within {1000 * np.nanmax(abs(again.data - restored)):.1f} µV")

# %%
# Six seconds around the gap, as the two records have them. All of a window is missing
# if one of its samples is.

_ = ReconstructionDisplay(
    ecg.data[:9].ravel(), again.data[:9].ravel(), fs=ecg.fs, unit=ecg.unit
).plot()

# %%
# So: by ``load_wfdb("folder/record", channel="II")``, with ``missing="drop"`` if it has
# gaps, or ``missing="keep"`` if what comes back is to have them in the same place. Give
# a list of paths for several records, and ``groups=`` if a patient has more than one.
