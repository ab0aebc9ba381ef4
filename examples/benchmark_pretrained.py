"""How well do pretrained tokenizers restore ECG of devices that they have never seen?

Each tokenizer of `load_pretrained` codes the patients of two databases that it was not
trained on: DS2 of MIT-BIH and LUDB. k-means with 256 codes, fitted to the same signals,
and the same network, fitted to DS1 alone, are the yardsticks. The waves of LUDB, which
cardiologists have annotated, are delineated before and after. At last, the training is
repeated without one database after the other. Two trainings run at a time, each on one
core; all of it takes an hour::

    export SKTOK_DATA=FOLDER
    python examples/benchmark_pretrained.py [DOCS_FOLDER] [--cache FOLDER]

It writes ``pretrained.md``, its table ``pretrained.csv`` and its picture to the folder.
``--cache`` keeps what has been trained and measured.
"""

import argparse
import time
import warnings
from itertools import chain
from pathlib import Path

import joblib
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import neurokit2
import numpy as np
import pandas as pd
import torch
import wfdb
from benchmark_gain_shape import changed
from benchmark_gain_shape import errors as errors_of_windows
from sklearn.pipeline import Pipeline, make_pipeline
from train_pretrained import (
    DATABASES,
    FAMILY,
    FS,
    UNIT,
    WINDOW_SECONDS,
    ecg_folder,
    load,
    load_all,
    new_tokenizer,
)

from sktok import (
    BlockSegmenter,
    GainShapeTokenizer,
    Resampler,
    VectorQuantizer,
    load_pretrained,
)
from sktok._steps import token_starts
from sktok.coding import TokenCoder
from sktok.corpus import Vocabulary
from sktok.datasets import fetch_mitdb
from sktok.metrics import heartbeat_f1, prd, reconstruct
from sktok.metrics._rate import entropy_by_kind

BASE = "ecg-31hz-v1"
TESTS = {"MIT-BIH DS2": 360, "LUDB": 500}  # native rates
N_CODES = 256  # of k-means
N_KMEANS_WINDOWS = 20_000
COMPARED_STEPS = 3000  # of trainings on DS1 alone, and without a database
N_CODER_WINDOWS = 12_000
N_FITTED_RECORDS = 100  # of each database that the tokenizers were fitted to
SNRS = (24, 18, 12, 6, 0)  # dB
WAVES = ["P onset", "QRS onset", "QRS end", "T end"]
INTERVALS = ("QT", "QRS", "PR")
FEWEST_BEATS = 3  # that are annotated, for a record to be delineated
J_PLUS = 0.06  # seconds from the end of QRS to where the ST level is measured
FIGURES = {
    "prdn_median": ("PRDN, median (%)", ".1f"),
    "prdn_95": ("95th percentile", ".1f"),
    "rmse_uv": ("RMSE (µV)", ".1f"),
    "heartbeat_f1": ("heartbeat F1", ".4f"),
    "bits_per_token": ("bits a shape token", ".2f"),
    "unigram": ("bits a second", ".0f"),
    "coder": ("TokenCoder, bits a second", ".0f"),
    "refused": ("windows refused (%)", ".2f"),
}


# --- signals


def load_test(name):
    """Windows of each lead of a test database at its native rate, in mV."""
    if name == "LUDB":
        return load("ludb", fs=None)
    return fetch_mitdb("ds2", window_seconds=WINDOW_SECONDS)


def some_records(ecg):
    """Evenly spaced records of a database."""
    records = np.unique(ecg.record)
    kept = records[:: max(1, len(records) // N_FITTED_RECORDS)]
    rows = np.isin(ecg.record, kept)
    return {name: ecg[name][rows] for name in ("data", "record", "lead")}


# --- tokenizers


def kmeans(block_size):
    """k-means of the blocks of shapes, fitted to some windows of all databases."""
    X = load_all().data
    rows = np.random.default_rng(0).permutation(len(X))[:N_KMEANS_WINDOWS]
    shapes = make_pipeline(
        BlockSegmenter(block_size), VectorQuantizer(N_CODES, random_state=0)
    )
    steps = [
        ("resample", Resampler(FS, FS, unit=UNIT)),
        ("gain_shape", GainShapeTokenizer(shapes)),
    ]
    return Pipeline(steps).fit(X[rows])


def train_on(databases):
    """The recipe of the first tokenizer, fitted to some databases in fewer steps."""
    torch.set_num_threads(1)
    tokenizer = new_tokenizer(BASE, max_steps=COMPARED_STEPS)
    return tokenizer.fit(load_all(databases).data)


def coder_of(tokenizer):
    """A coder for the tokens, fitted to windows of all databases, and their records."""
    torch.set_num_threads(1)
    ecg = load_all()
    keys = np.char.add(np.char.add(ecg.record, "|"), ecg.lead)
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    order = np.random.default_rng(0).permutation(len(starts))
    runs = np.split(np.arange(len(keys)), starts[1:])
    rows, n_rows = [], 0
    for run in order:
        rows.append(runs[run])
        n_rows += len(runs[run])
        if n_rows > N_CODER_WINDOWS:
            break
    rows = np.concatenate(rows)
    tokens = tokenizer.transform(ecg.data[rows])
    coder = TokenCoder(random_state=0)
    return coder.fit(tokens, groups=keys[rows], tokenizer=tokenizer)


def at_rate(tokenizer, fs):
    return tokenizer.set_params(resample__input_fs=fs)


# --- figures


def prdn_of_records(X, X_hat, record, lead):
    """PRDN of each record in percent; each lead is centred by its own mean."""
    mean = pd.Series(X.mean(axis=1)).groupby([record, lead]).transform("mean")
    mean = mean.to_numpy()
    error = np.sum((X - X_hat) ** 2, axis=1)
    power = np.sum((X - mean[:, np.newaxis]) ** 2, axis=1)
    sums = pd.DataFrame({"error": error, "power": power}).groupby(record).sum()
    return 100 * np.sqrt(sums["error"] / sums["power"]).to_numpy()


def figures(tokenizer, data, record, lead, fs, coder=None):
    """All figures of a tokenizer on windows of single leads."""
    refused = windows_refused(tokenizer, data)
    data, record, lead = data[~refused], record[~refused], lead[~refused]
    tokens = tokenizer.transform(data)
    restored = tokenizer.inverse_transform(tokens)
    prdn = prdn_of_records(data, restored, record, lead)
    keys = np.char.add(np.char.add(record, "|"), lead)
    beats = []
    for key in np.unique(keys):
        rows = keys == key
        if data[rows].size >= 2 * fs:
            beats.append(heartbeat_f1(data[rows], restored[rows], fs))
    seconds = data.size / fs
    bits = entropy_by_kind(tokens, token_starts(tokenizer)) * tokens.size
    row = {
        "prdn_median": np.median(prdn),
        "prdn_95": np.percentile(prdn, 95),
        "rmse_uv": 1000 * np.sqrt(np.mean((data - restored) ** 2)),
        "mse_of_span": mse_of_span(data, restored, keys),
        "heartbeat_f1": np.mean(beats),
        "bits_per_token": bits_of_shapes(tokenizer, tokens),
        "unigram": bits / seconds,
        "refused": 100 * refused.mean(),
        "n_records": len(prdn),
    }
    if coder is not None:
        row["coder"] = 8 * len(coder.compress(tokens, groups=keys)) / seconds
    return row


def windows_refused(tokenizer, data):
    """Which windows are beyond the bins of offset and gain."""
    try:
        tokenizer.transform(data)
    except ValueError:
        if len(data) == 1:
            return np.array([True])
        halves = np.array_split(data, 2)
        return np.concatenate([windows_refused(tokenizer, half) for half in halves])
    return np.zeros(len(data), bool)


def bits_of_shapes(tokenizer, tokens):
    """Entropy of the tokens of shapes alone, in bits per token."""
    first = tokenizer["gain_shape"].token_ranges_["shape"].start
    starts = [start for start in token_starts(tokenizer) if start >= first]
    return entropy_by_kind(tokens[tokens >= first], starts)


def mse_of_span(data, restored, keys):
    """Mean squared error, with each record and lead scaled to [0, 1]."""
    errors = np.mean((data - restored) ** 2, axis=1)
    limits = pd.DataFrame({"low": data.min(axis=1), "high": data.max(axis=1)})
    by_key = limits.groupby(keys)
    span = by_key["high"].transform("max") - by_key["low"].transform("min")
    varies = span.to_numpy() > 0
    return float(np.mean(errors[varies] / span.to_numpy()[varies] ** 2))


def figures_of_tests(name, tokenizer, coder):
    """Rows for each test database, and each lead of it, at its native rate."""
    torch.set_num_threads(1)
    rows = []
    for database, fs in TESTS.items():
        ecg, tokenizer = load_test(database), at_rate(tokenizer, fs)
        leads = np.unique(ecg.lead) if database == "LUDB" else []
        for lead in ["all", *leads]:
            at = np.full(len(ecg.lead), True) if lead == "all" else ecg.lead == lead
            row = figures(
                tokenizer, ecg.data[at], ecg.record[at], ecg.lead[at], fs, coder
            )
            key = {"tokenizer": name, "database": database, "lead": lead}
            rows.append({**key, "fitted": False, **row})
    return rows


def figures_of_fitted(name, tokenizer, folders=None):
    """Rows for the databases of the training, at the rate of the tokenizer."""
    torch.set_num_threads(1)
    rows, tokenizer = [], at_rate(tokenizer, FS)
    for folder in folders or [f for folders in DATABASES.values() for f in folders]:
        row = figures(tokenizer, **some_records(load(folder)), fs=FS)
        key = {"tokenizer": name, "database": folder, "lead": "all"}
        rows.append({**key, "fitted": True, **row})
    return rows


def held_out_figures(database):
    """Errors on a database after training on the others."""
    others = [name for name in DATABASES if name != database]
    return figures_of_fitted("held out", train_on(others), DATABASES[database])


def figures_of_all():
    return figures_of_fitted("fitted", train_on(DATABASES))


# --- robustness


def invariance(tokenizer):
    """Errors on DS2, in percent of the range, after changes of gain and offset."""
    X = load_test("MIT-BIH DS2").data[::3]
    tokenizer = at_rate(tokenizer, TESTS["MIT-BIH DS2"])
    return {name: errors_of_windows(tokenizer, Y)[1] for name, Y in changed(X)}


def noises(shape, fs, rng):
    """Noise of each kind, with power 1: (n_records, n_samples)."""
    seconds = np.arange(shape[1]) / fs
    phase = rng.uniform(0, 2 * np.pi, (3, shape[0], 1))
    rate = rng.uniform(0.15, 0.4, (shape[0], 1))
    muscle = rng.normal(size=shape)
    kinds = {
        "baseline wander": np.sin(2 * np.pi * rate * seconds + phase[0]),
        "mains hum": np.sin(2 * np.pi * 50 * seconds + phase[1]),
        "muscle noise": muscle - muscle.mean(axis=1, keepdims=True),
    }
    return {n: x / x.std(axis=1, keepdims=True) for n, x in kinds.items()}


def noise_sweep(tokenizer):
    """PRDN of LUDB, lead II, with noise: of what is restored, and of the clean ECG."""
    fs, ecg = TESTS["LUDB"], load_test("LUDB")
    rows = ecg.lead == "II"
    length = ecg.data.shape[1]
    clean = ecg.data[rows].reshape(len(np.unique(ecg.record)), -1)
    deviation = clean.std(axis=1, keepdims=True)
    tokenizer, table = at_rate(tokenizer, fs), []
    for kind, noise in noises(clean.shape, fs, np.random.default_rng(0)).items():
        for snr in SNRS:
            noisy = clean + deviation * noise * 10 ** (-snr / 20)
            restored = reconstruct(tokenizer, noisy.reshape(-1, length))
            restored = restored.reshape(noisy.shape)
            records = np.arange(len(clean))
            prdn = [
                np.median(prd(x, restored, centered=True, groups=records))
                for x in (noisy, clean)
            ]
            table.append((kind, snr, *prdn))
    columns = ["noise", "SNR (dB)", "error of what was given (%)", "of clean ECG (%)"]
    return pd.DataFrame(table, columns=columns)


# --- waves


def annotated_waves(record):
    """Onsets and ends of P, QRS and T of lead II in samples, a row for each beat."""
    annotation = wfdb.rdann(str(ecg_folder("ludb") / record), "ii")
    kinds = {"(p)": "P", "(N)": "QRS", "(t)": "T"}
    symbols, waves = "".join(annotation.symbol), []
    for index in range(len(symbols) - 2):
        kind = kinds.get(symbols[index : index + 3])
        if kind is not None:
            waves.append((kind, *annotation.sample[index : index + 3]))
    beats = [wave for wave in waves if wave[0] == "QRS"]
    rows = []
    for number, (_, onset, peak, end) in enumerate(beats):
        first = beats[number - 1][3] if number else 0
        last = beats[number + 1][1] if number + 1 < len(beats) else np.inf
        row = {"peak": peak, "QRS onset": onset, "QRS end": end}
        for kind, wave_onset, _, wave_end in waves:
            if kind == "P" and first < wave_end <= onset:
                row["P onset"] = wave_onset
            if kind == "T" and end <= wave_onset < last:
                row.setdefault("T end", wave_end)
        rows.append(row)
    return pd.DataFrame(rows, columns=["peak", *WAVES])


def delineated(signal, peaks, fs):
    """The same, as neurokit2 finds it."""
    clean = neurokit2.ecg_clean(signal, sampling_rate=fs)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "some peaks have a prominence of 0")
        # On the original signals, this method is the nearest to the annotation.
        _, waves = neurokit2.ecg_delineate(clean, peaks, fs, method="prominence")
    names = {
        "QRS onset": "ECG_R_Onsets",
        "QRS end": "ECG_R_Offsets",
        "P onset": "ECG_P_Onsets",
        "T end": "ECG_T_Offsets",
    }
    waves = {name: np.array(waves[key], float) for name, key in names.items()}
    return pd.DataFrame({"peak": peaks, **waves})


def measurements(waves, signal, fs):
    """QT, QRS and PR in ms, and ST level in µV, of each beat."""
    ms = 1000 / fs
    level = np.full((2, len(waves)), np.nan)
    for row, (column, shift) in enumerate((("QRS end", J_PLUS), ("QRS onset", 0.0))):
        places = waves[column].to_numpy() + shift * fs
        known = np.isfinite(places) & (places < len(signal))
        level[row, known] = signal[places[known].astype(int)]
    return pd.DataFrame(
        {
            "QT": ms * (waves["T end"] - waves["QRS onset"]),
            "QRS": ms * (waves["QRS end"] - waves["QRS onset"]),
            "PR": ms * (waves["QRS onset"] - waves["P onset"]),
            "ST": 1000 * (level[0] - level[1]),
        }
    )


def waves_of_record(original, restored, record, fs):
    """Delineations before and after: errors of waves and changes of measurements."""
    expected = annotated_waves(record)
    beats = expected["peak"].to_numpy()
    if len(beats) < FEWEST_BEATS:
        return pd.DataFrame()
    found = [delineated(signal, beats, fs) for signal in (original, restored)]
    errors = [1000 / fs * (waves[WAVES] - expected[WAVES]).abs() for waves in found]
    before, after = (
        measurements(waves, signal, fs)
        for waves, signal in zip(found, (original, restored), strict=True)
    )
    table = pd.concat(
        [
            errors[0].add_suffix(", before"),
            errors[1].add_suffix(", after"),
            before.add_suffix(" before"),
            (after - before).add_suffix(" change"),
        ],
        axis=1,
    )
    return table.assign(record=record)


def waves_of(tokenizer):
    """Delineations of lead II of LUDB, a row for each annotated beat."""
    torch.set_num_threads(1)
    fs, ecg = TESTS["LUDB"], load_test("LUDB")
    rows = ecg.lead == "II"
    original, record = ecg.data[rows], ecg.record[rows]
    restored = reconstruct(at_rate(tokenizer, fs), original)
    tables = [
        waves_of_record(
            original[record == name].ravel(), restored[record == name].ravel(), name, fs
        )
        for name in np.unique(record)
    ]
    return pd.concat(tables, ignore_index=True)


# --- the page

PAGE = """# Pretrained tokenizers

`load_pretrained` loads a tokenizer that was trained on {n_patients:,} patients: for any
lead of any device, at any sampling rate, in millivolts. It needs no training and no
network connection, and the tokens of a name never change. Tokenizers of all leads of an
ECG together are on [another page](twelve_leads.md).

```python
from sktok import load_pretrained
from sktok.datasets import load_wfdb

ecg = load_wfdb("folder", channel="all", leads="rows", window_seconds=2)
tokenizer = load_pretrained("{base}", fs=ecg.fs)
tokens = tokenizer.transform(ecg.data)
millivolts = tokenizer.inverse_transform(tokens)
```

All figures are from `python examples/benchmark_pretrained.py` ({date}, torch
{torch}); the tokenizers are from `make pretrain`. One seed each.

![Errors of each tokenizer on each database, and changes of intervals](pretrained.png)

## The family

{family}

Tokens are those of the shape of a window; each window of each lead also has a token of
its offset and one of its gain. Windows are two seconds unless `window_length` says
otherwise. `{base}` has one token for 32 ms, `ecg-12hz-v1` one for 80 ms.
`ecg-31hz-stages-v1` has two for 32 ms; with
`set_params(gain_shape__tokenizer__tokenize__n_stages=1)` it has the first alone.

Offset and gain are the median of a window and the L4 norm of its deviations, each in
256 bins (`GainShapeTokenizer(norm="l4")`). On held-out patients, after 3,000 steps with
2,048 codes, the smallest sample and the range, as by default, need 0.44 bits a token
more for the same error.

## On devices that it has never seen

DS2 of MIT-BIH and LUDB were not trained on, and nothing was chosen on them. Errors are
PRDN of each record (all leads, each centred by its own mean): median and 95th
percentile. "k-means" has 256 codes for blocks of the same length, after
`GainShapeTokenizer()`, fitted to the same databases; "DS1 alone" is the recipe of
`{base}`, fitted to DS1 in {compared_steps:,} steps.

{tests}

On DS2, with each record scaled to [0, 1], the mean squared error of `{base}` is
{ds2_ratio:.3f} of that of k-means, and that of `ecg-12hz-v1` is {slow_ratio:.3f} of
that of k-means at its pace.

By lead of LUDB (`{base}`):

{leads}

## On the databases of the training

{n_fitted} records of each database at 250 Hz (`{base}`, and k-means):

{fitted}

## Databases held out

The recipe of `{base}` was trained in {compared_steps:,} steps on all databases, and on
all but one. The table compares the errors on that one, PRDN in percent:

{held_out}

The mean squared error on `afpdb` grows by the mains hum of record p01, first lead: it
has 80 % of the power of the signal there, and this lead has 77 % of the increase.
Hum in 3 % of the training windows restores this lead as well as if it were fitted, but
makes the errors on the other databases 3 % larger; the tokenizers were trained without.

## Waves and intervals

Lead II of LUDB, {n_beats:,} beats, whose waves cardiologists have annotated.
neurokit2 (`ecg_clean`, and `ecg_delineate` by prominence) delineates the original and
the restored signal, given the annotated R-peaks. On the original signals, this method
of neurokit2 is the nearest to the annotation. Distances to the annotation, median
(mean), in ms:

{waves}

Intervals and ST level, 60 ms after the end of QRS, relative to its onset: the median of
the absolute change between the original and the restored signal, and the 95th
percentile. The last column is the median of the interval itself.

{intervals}

## Noise

Lead II of LUDB with noise added, `{base}`: error relative to what was given, and to the
ECG without noise.

{noise}

## Gain and offset

DS2 with changed gain and offset: error of a window in percent of its range, median.

{invariance}

## Speed

One thread of the CPU:

{speed}

## Model card

**Data.** {n_windows:,} windows of two seconds at 250 Hz, each lead for itself:

| folder | database | licence | windows | patients |
|---|---|---|---|---|
{data}

Windows that are flat (below 0.05 mV) or beyond 20 mV are left out. The weights of the
networks and the codebooks are derived from these data, which require attribution:
P. Wagner et al., "PTB-XL, a large publicly available electrocardiography dataset",
Scientific Data 7:154, 2020; I. Silva et al., "Improving the quality of ECGs collected
using mobile phones", CinC 2011; G. D. Clifford et al., "AF classification from a short
single lead ECG recording", CinC 2017; P. Laguna et al., "A database for evaluation of
algorithms for measurement of QT and other waveform intervals in the ECG", CinC 1997;
G. B. Moody et al., "Predicting the onset of paroxysmal atrial fibrillation", CinC 2001;
G. B. Moody and R. G. Mark, "The impact of the MIT-BIH Arrhythmia Database", IEEE Eng.
in Med. and Biol. 20(3):45-50, 2001; A. L. Goldberger et al., "PhysioBank,
PhysioToolkit, and PhysioNet", Circulation 101(23), 2000. The test signals are from
A. I. Kalyakulina et al., "LUDB: a new open-access validation tool for electrocardiogram
delineation algorithms", IEEE Access 8, 2020 (ODC-BY 1.0).

**Limits.**

- Not for diagnosis. A rare waveform may be restored worse than the figures say: look at
  the windows with the largest error.
- Adults, mostly. No database of children or of implanted devices was trained on.
- Noise costs bits and is restored in part, see above. Above 125 Hz, nothing is.
- Windows at a rate of less than 100 Hz were not tested.
- On other hardware, a few tokens in a million may differ, see
  [Limitations](guide/saving.md).
- Tokens are as personal as the ECG itself: they can be decoded to it.
"""

LICENCES = {
    "mitdb": ("MIT-BIH Arrhythmia Database, DS1", "ODC-BY 1.0"),
    "ptbxl_lr": ("PTB-XL, 100 Hz", "CC BY 4.0"),
    "ptbxl_hr": ("PTB-XL, 500 Hz", "CC BY 4.0"),
    "ptbxl_cinc": ("PTB-XL, as in CinC 2020", "CC BY 4.0"),
    "cinc2011_12lead": ("CinC Challenge 2011", "ODC-BY 1.0"),
    "cinc2017": ("CinC Challenge 2017", "ODC-BY 1.0"),
    "qtdb": ("QT Database", "ODC-BY 1.0"),
    "afpdb": ("PAF Prediction Challenge 2001", "ODC-BY 1.0"),
}


def markdown(table, formats=None):
    """A Markdown table; `formats` are those of columns with numbers."""
    formats = formats or {}
    lines = [f"| {' | '.join(table.columns)} |", "|---" * len(table.columns) + "|"]
    for row in table.to_dict("records"):
        cells = [
            "" if pd.isna(value) else format(value, formats.get(name, ""))
            for name, value in row.items()
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def figures_table(rows, columns, names=tuple(FIGURES)):
    """Markdown: figures of some rows, after their `columns`."""
    names = [name for name in names if name in rows and rows[name].notna().any()]
    titles = {name: FIGURES[name][0] for name in names}
    table = rows[[*columns, *names]].rename(columns=titles)
    return markdown(table, dict(FIGURES[name] for name in names))


def family_table(tokenizers):
    rows = []
    for name, tokenizer in tokenizers.items():
        block_size, quantizer, *_ = FAMILY[name]
        vocabulary = Vocabulary.from_tokenizer(tokenizer)
        n_stages = getattr(quantizer, "n_stages", 1)
        rows.append(
            {
                "name": name,
                "tokens a second": format(n_stages * FS / block_size, ".4g"),
                "stages": n_stages,
                "vocabulary": vocabulary.n_tokens,
                "of these, for shapes": vocabulary.n_tokens - 512,
                "fingerprint": vocabulary.fingerprint[:12],
            }
        )
    return markdown(pd.DataFrame(rows))


def held_out_table(fitted, held_out):
    rows = []
    held_out = {row["database"]: row for row in held_out}
    for row in fitted:
        folder = row["database"]
        now, then = row["prdn_median"], held_out[folder]["prdn_median"]
        ratio = (held_out[folder]["rmse_uv"] / row["rmse_uv"]) ** 2 - 1
        rows.append(
            {
                "database": folder,
                "fitted": now,
                "held out": then,
                "increase (%)": 100 * (then / now - 1),
                "of the mean squared error (%)": 100 * ratio,
            }
        )
    formats = {"fitted": ".2f", "held out": ".2f", "increase (%)": "+.1f"}
    return markdown(
        pd.DataFrame(rows), formats | {"of the mean squared error (%)": "+.1f"}
    )


def waves_table(waves):
    """Markdown: distances to the annotation before and after, for each tokenizer."""
    rows = []
    for wave in WAVES:
        row = {"wave": wave}
        for name, table in waves.items():
            for when in ("before", "after"):
                errors = table[f"{wave}, {when}"].dropna()
                column = "original" if when == "before" else name
                row[column] = f"{errors.median():.0f} ({errors.mean():.1f})"
        rows.append(row)
    return markdown(pd.DataFrame(rows))


def intervals_table(waves):
    """Markdown: changes of intervals and ST level, for each tokenizer."""
    rows = []
    for interval in (*INTERVALS, "ST"):
        row = {"": f"{interval} ({'µV' if interval == 'ST' else 'ms'})"}
        for name, table in waves.items():
            change = table[f"{interval} change"].dropna().abs()
            row[name] = f"{change.median():.1f} ({change.quantile(0.95):.0f})"
        row["original"] = f"{table[f'{interval} before'].median():.0f}"
        rows.append(row)
    return markdown(pd.DataFrame(rows))


def speed_table(tokenizers):
    """Markdown: speed on one thread, and of loading, on a quiet machine."""
    X = load("qtdb").data[:4000]
    torch.set_num_threads(1)
    rows = []
    for name, tokenizer in tokenizers.items():
        tokenizer, seconds = at_rate(tokenizer, FS), []
        for _ in range(5):
            start = time.perf_counter()
            tokens = tokenizer.transform(X)
            middle = time.perf_counter()
            tokenizer.inverse_transform(tokens)
            end = time.perf_counter()
            load_pretrained(name)
            loaded = time.perf_counter()
            seconds.append((middle - start, end - middle, loaded - end))
        encoding, decoding, loading = np.median(seconds, axis=0)
        hours = X.size / FS / 3600
        rows.append(
            {
                "name": name,
                "hours of ECG tokenized in a second": hours / encoding,
                "decoded": hours / decoding,
                "loaded in (ms)": 1000 * loading,
            }
        )
    formats = {"hours of ECG tokenized in a second": ".1f", "decoded": ".1f"}
    return markdown(pd.DataFrame(rows), formats | {"loaded in (ms)": ".0f"})


def data_table():
    ecg, lines = load_all(), []
    for folder, (name, licence) in LICENCES.items():
        at = ecg.folder == folder
        n_patients = len(np.unique(ecg.groups[at]))
        lines.append(f"| {folder} | {name} | {licence} | {at.sum():,} | {n_patients} |")
    return {
        "data": "\n".join(lines),
        "n_windows": len(ecg.data),
        "n_patients": len(np.unique(ecg.groups)),
    }


def draw(rows, waves, path):
    """Draw errors by database, and how far QT and ST level change."""
    figure, (left, *others) = plt.subplots(
        1, 3, figsize=(11, 4.2), layout="constrained", width_ratios=[5, 3, 3]
    )
    rows = rows[rows["lead"] == "all"]
    errors = rows.pivot(index="database", columns="tokenizer", values="prdn_median")
    errors = errors.sort_values(BASE)
    styles = dict(zip(waves, "oPs^vD", strict=False))
    for name, marker in styles.items():
        left.plot(errors[name], errors.index, marker, label=name)
    left.set_xlabel("PRDN, median of the records (%)")
    left.set_xlim(left=0)
    left.legend(frameon=False, fontsize=8)
    for axes, name, unit, last in zip(
        others, ("QT", "ST"), ("ms", "µV"), (40, 100), strict=True
    ):
        for table in waves.values():
            axes.ecdf(table[f"{name} change"].dropna().abs())
        what = "ST level" if name == "ST" else "QT interval"
        axes.set(xlim=(0, last), xlabel=f"change of {what} ({unit})")
    others[0].set_ylabel("share of the beats of LUDB")
    for axes in (left, *others):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main(folder, memory):
    cached = memory.cache
    names = sorted(FAMILY)
    tokenizers = {name: load_pretrained(name) for name in names}
    block_sizes = sorted({FAMILY[name][0] for name in names})
    jobs = [joblib.delayed(cached(kmeans))(size) for size in block_sizes]
    jobs += [joblib.delayed(cached(train_on))(["MIT-BIH"])]
    jobs += [joblib.delayed(cached(coder_of))(tokenizers[name]) for name in names]
    jobs += [joblib.delayed(cached(figures_of_all))()]
    jobs += [joblib.delayed(cached(held_out_figures))(name) for name in DATABASES]
    parallel = joblib.Parallel(n_jobs=2)
    results = iter(parallel(jobs))
    rivals = {f"k-means, {1000 * size // FS} ms": next(results) for size in block_sizes}
    rivals["DS1 alone"] = next(results)
    coders = {name: next(results) for name in names}
    fitted_in_few, held_out = next(results), [*chain(*results)]
    everyone = tokenizers | rivals
    jobs = [
        joblib.delayed(cached(figures_of_tests))(name, tokenizer, coders.get(name))
        for name, tokenizer in everyone.items()
    ]
    jobs += [
        joblib.delayed(cached(figures_of_fitted))(name, tokenizer)
        for name, tokenizer in everyone.items()
    ]
    rows = pd.DataFrame([*chain(*parallel(jobs))])
    rows.to_csv(folder / "pretrained.csv", index=False, float_format="%.6g")
    waves = parallel(joblib.delayed(cached(waves_of))(t) for t in everyone.values())
    waves = dict(zip(everyone, waves, strict=True))
    draw(rows, waves, folder / "pretrained.png")
    page = PAGE.format(
        base=BASE,
        date=time.strftime("%Y-%m-%d"),
        torch=torch.__version__.partition("+")[0],
        compared_steps=COMPARED_STEPS,
        n_fitted=N_FITTED_RECORDS,
        family=family_table(tokenizers),
        **tables_of_figures(rows),
        held_out=held_out_table(fitted_in_few, held_out),
        n_beats=len(waves[BASE]),
        waves=waves_table(waves),
        intervals=intervals_table(waves),
        noise=markdown(cached(noise_sweep)(tokenizers[BASE]), NOISE_FORMATS),
        invariance=invariance_table(cached(invariance)(tokenizers[BASE])),
        speed=speed_table(tokenizers),
        **data_table(),
    )
    (folder / "pretrained.md").write_text(page)
    print(page)


NOISE_FORMATS = {"error of what was given (%)": ".1f", "of clean ECG (%)": ".1f"}


def tables_of_figures(rows):
    """The tables of figures on databases, and ratios to k-means on DS2."""
    of_all = rows[rows["lead"] == "all"]
    tests = of_all[~of_all["fitted"]].sort_values("database", kind="stable")
    leads = rows[(rows["tokenizer"] == BASE) & (rows["lead"] != "all")]
    shown = of_all["tokenizer"].isin([BASE, "k-means, 32 ms"])
    fitted = of_all[of_all["fitted"] & shown].sort_values("database", kind="stable")
    ds2 = tests[tests["database"] == "MIT-BIH DS2"].set_index("tokenizer")
    mse = ds2["mse_of_span"]
    return {
        "tests": figures_table(tests, ["database", "tokenizer"]),
        "leads": figures_table(leads, ["lead"]),
        "fitted": figures_table(fitted, ["database", "tokenizer"]),
        "ds2_ratio": mse[BASE] / mse["k-means, 32 ms"],
        "slow_ratio": mse["ecg-12hz-v1"] / mse["k-means, 80 ms"],
    }


def invariance_table(errors):
    unchanged = next(iter(errors.values()))
    rows = [
        {"change": name, "of range (%)": error, "ratio": error / unchanged}
        for name, error in errors.items()
    ]
    return markdown(pd.DataFrame(rows), {"of range (%)": ".2f", "ratio": ".2f"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", default="docs", type=Path)
    parser.add_argument("--cache")
    arguments = parser.parse_args()
    main(arguments.folder, joblib.Memory(arguments.cache, verbose=0))
