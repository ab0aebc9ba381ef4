"""
How do I get a folder of mixed records into one corpus?
=======================================================

Records differ in sampling rate, unit, length and leads. The loaders resample, convert
and cut them, so that five lines lead from a folder to tokens, and back to millivolts.

It takes a quarter of a minute on 2 cores.
"""

# %%
# First, write an example folder from five minutes of real ECG: a record of two leads at
# 500 Hz in µV, and three records of one lead at 300 Hz in mV.

import tempfile
from pathlib import Path

import numpy as np
import wfdb

from sktok import Resampler, make_tokenizer
from sktok.corpus import write_corpus
from sktok.datasets import load_ecg, load_wfdb, split_patients
from sktok.plotting import ReconstructionDisplay

temporary = tempfile.TemporaryDirectory()  # use your own folder instead
folder = Path(temporary.name, "records")
folder.mkdir()
minutes = load_ecg(window_length=60 * 360).data


def write_record(name, signal, fs, leads, unit):
    """Write a signal (n_samples, n_leads) in mV in the given unit."""
    options = {"units": [unit] * len(leads), "fmt": ["16"] * len(leads)}
    signal = signal * {"mV": 1, "uV": 1000}[unit]
    wfdb.wrsamp(
        name, fs, sig_name=leads, p_signal=signal, write_dir=str(folder), **options
    )


first = Resampler(360, 500).fit_transform(minutes[:1]).T
write_record("ann", np.hstack([first, -first / 2]), 500, ["II", "V1"], "uV")
for name, minute in zip(["bob", "cid", "dan"], minutes[1:4], strict=True):
    signal = Resampler(360, 300).fit_transform(minute[np.newaxis]).T
    write_record(name, signal, 300, ["ECG"], "mV")

# %%
# The five lines: each lead of each record is resampled to 250 Hz and cut into windows
# of two seconds, in mV. The tokenizer is fitted to the patients whose tokens train the
# language model. It keeps rate and unit, and ``write_corpus`` refuses signals that do
# not match. ``validation`` may also be a share of the patients, such as 0.1.

target, validation = Path(temporary.name, "corpus"), ["dan"]
tokenizer = make_tokenizer(fs=250, unit="mV", max_steps=300, random_state=0)

ecg = load_wfdb(folder, channel="all", leads="rows", fs=250, window_seconds=2)
train, _ = split_patients(ecg.groups, validation)
tokenizer = tokenizer.fit(ecg.data[train])
corpus = write_corpus(target, ecg, tokenizer, validation=validation)
signal = corpus.vocabulary.decode_signal(corpus.val, tokenizer)  # mV again

# %%
# Each lead of a record is a sequence of its own in the corpus, with the name and the
# patient of the record.

for entry in corpus.records:
    print(*(entry[key] for key in ("record", "lead", "group", "split", "n_ids")))
temporary.cleanup()

# %%
# Six seconds of the record that the tokenizer was not fitted to.

original = ecg.data[ecg.record == "dan"]
_ = ReconstructionDisplay(
    original[:3].ravel(), signal[:3].ravel(), fs=ecg.fs, unit=ecg.unit
).plot()

# %%
# **Answer:** with ``load_wfdb(folder, channel="all", leads="rows", fs=250,
# window_seconds=2)`` and ``write_corpus``. For EDF files, use ``load_edf``; for arrays
# from other files, ``windows_from``.
