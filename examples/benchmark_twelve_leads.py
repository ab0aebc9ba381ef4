"""What does it pay to tokenize twelve leads together?

The tokenizers ``ecg12-…`` of `load_pretrained` code LUDB, whose devices and patients
they have never seen. Their rivals are eight separate streams at the same pace: the same
recipe with one codebook for all leads, fitted to the same crops of the same records,
one lead at a time. Two trainings run at a time, each on one core, and take a
quarter of an hour::

    export SKTOK_DATA=FOLDER
    python examples/benchmark_twelve_leads.py [DOCS_FOLDER] [--cache FOLDER]

It writes ``twelve_leads.md`` and its pictures to the folder. ``--cache`` keeps what has
been trained.
"""

import argparse
import copy
import time
from pathlib import Path

import joblib
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from benchmark_pretrained import LICENCES, bits_of_shapes, markdown
from sklearn.pipeline import Pipeline
from train_pretrained import (
    ALL_LEADS,
    BEAM_WIDTH,
    CROP_SECONDS,
    FAMILY_12,
    FS,
    LARGEST_STRETCH,
    LEADS,
    N_CODES,
    N_CROPS,
    RECORD_SECONDS,
    TRAINING,
    UNIT,
    load_12,
    load_records_12,
    varied_crops,
)

from sktok import (
    BlockSegmenter,
    ConvAETokenizer,
    GainShapeTokenizer,
    Resampler,
    VectorQuantizer,
    load_pretrained,
    with_leads,
    with_window_length,
)
from sktok._leads import TWELVE_LEADS
from sktok._steps import input_shape
from sktok.datasets import derive_leads
from sktok.metrics import heartbeat_f1, prd, reconstruct
from sktok.plotting import TwelveLeadDisplay

SEPARATE = {"ecg12-40hz-v1": 50, "ecg12-100hz-v1": 20}  # samples in a block of a lead
LUDB_FS = 500
N_TIMED = 60  # records of LUDB
N_RUNS = 5  # after a first one
BEAM_WIDTHS = (1, 2, 4, 6, 8, 12, 16)
BASE = "ecg12-40hz-v1"


def separate_streams(name):
    """A tokenizer of leads one by one, at the pace of a joint one and by its recipe."""
    torch.set_num_threads(1)
    *_, n_steps = FAMILY_12[name]
    network = ConvAETokenizer(
        quantizer=VectorQuantizer(N_CODES, max_iter=10),
        max_steps=n_steps,
        **(TRAINING | {"learning_rate": 0.003}),
    )
    segment = BlockSegmenter(SEPARATE[name])
    shapes = Pipeline([("segment", segment), ("tokenize", network)])
    tokenizer = Pipeline(
        [
            ("resample", Resampler(FS, FS, unit=UNIT)),
            ("gain_shape", GainShapeTokenizer(shapes, norm="l4")),
        ]
    )
    crops = varied_crops(load_records_12())
    tokenizer.fit(crops.reshape(-1, crops.shape[2]))  # a row for each lead
    return with_window_length(tokenizer, RECORD_SECONDS * FS)


def at_rate(tokenizer, fs):
    return tokenizer.set_params(resample__input_fs=fs)


def as_rows(tokenizer, X):
    """Records (n_records, n_leads, n_samples) as windows of a tokenizer."""
    is_joint = len(input_shape(tokenizer)) == 2
    return X if is_joint else X.reshape(-1, X.shape[2])


# --- figures


def figures(tokenizer, X, fs):
    """Rate and distortion on records (n_records, 8, n_samples); errors by lead."""
    tokens = at_rate(tokenizer, fs).transform(as_rows(tokenizer, X))
    restored = tokenizer.inverse_transform(tokens).reshape(X.shape)
    errors = np.mean((X - restored) ** 2, axis=2)  # (n_records, n_leads)
    prdn = prd(X, restored, centered=True, groups=np.arange(len(X)))
    beats = [heartbeat_f1(x[1], y[1], fs) for x, y in zip(X, restored, strict=True)]
    row = {
        "tokens a second": tokens.size / len(X) / (X.shape[2] / fs),
        "bits a token": bits_of_shapes(tokenizer, tokens),
        "RMSE (µV)": 1000 * np.sqrt(errors.mean()),
        "PRDN, median (%)": np.median(prdn),
        "95th percentile": np.percentile(prdn, 95),
        "heartbeat F1, lead II": np.mean(beats),
    }
    by_lead = dict(zip(LEADS, 1000 * np.sqrt(errors.mean(axis=0)), strict=True))
    return row, by_lead


def figures_by_stages(tokenizer, X, fs):
    """Rate and distortion of the first stages alone."""
    quantizer = tokenizer["gain_shape"].tokenizer_["tokenize"].quantizer_
    n_all = len(quantizer.stage_sizes_)
    rows, step = [], "gain_shape__tokenizer__tokenize__n_stages"
    for n_stages in range(1, n_all + 1):
        row, _ = figures(tokenizer.set_params(**{step: n_stages}), X, fs)
        rows.append({"stages": n_stages, **row})
    tokenizer.set_params(**{step: None})
    return pd.DataFrame(rows)


def with_beam(tokenizer, beam_width):
    """A copy that keeps another number of beginnings."""
    name = "gain_shape__tokenizer__tokenize__quantizer__beam_width"
    return copy.deepcopy(tokenizer).set_params(**{name: beam_width})


def figures_by_beam(tokenizer, X, fs):
    """Distortion with other beam widths."""
    rows = []
    for beam_width in BEAM_WIDTHS:
        row, _ = figures(with_beam(tokenizer, beam_width), X, fs)
        rows.append({"beam width": beam_width, **row})
    return pd.DataFrame(rows)[["beam width", "RMSE (µV)", "PRDN, median (%)"]]


def einthoven(tokenizer, X, fs):
    """Largest deviation of twelve restored leads from the laws of limb leads, in mV."""
    tokenizer = with_leads(at_rate(tokenizer, fs), TWELVE_LEADS)
    restored = reconstruct(tokenizer, derive_leads(X, LEADS))
    i, ii, iii, avr, avl, avf = restored[:, :6].swapaxes(0, 1)
    return max(np.abs(i + iii - ii).max(), np.abs(avr + avl + avf).max())


def speed_table(joint, separate, X, fs):
    """Markdown: hours of twelve leads in a second of one thread, on a quiet machine."""
    torch.set_num_threads(1)
    twelve = derive_leads(X[:N_TIMED], LEADS)
    others = {
        f"{BASE}, beam width {beam_width}": with_beam(joint[BASE], beam_width)
        for beam_width in BEAM_WIDTHS
        if beam_width != BEAM_WIDTH
    }
    tokenizers = {
        name: with_leads(at_rate(tokenizer, fs), TWELVE_LEADS)
        for name, tokenizer in (joint | others).items()
    }
    one_by_one = {
        name: load_pretrained(name) for name in ("ecg-31hz-v1", "ecg-12hz-v1")
    }
    one_by_one |= separate
    for name, tokenizer in one_by_one.items():
        resized = with_window_length(at_rate(tokenizer, fs), twelve.shape[2])
        tokenizers[f"{name}, one by one"] = resized
    seconds = {name: [] for name in tokenizers}
    for _ in range(N_RUNS + 1):
        for name, tokenizer in tokenizers.items():
            windows = as_rows(tokenizer, twelve)
            start = time.perf_counter()
            tokenizer.transform(windows)
            seconds[name].append(time.perf_counter() - start)
    hours = len(twelve) * twelve.shape[2] / fs / 3600
    rows = []
    for name, runs in seconds.items():
        ratios = np.divide(seconds["ecg-31hz-v1, one by one"][1:], runs[1:])
        rows.append(
            {
                "tokenizer": name,
                "hours of ECG in a second": hours / np.median(runs[1:]),
                "times as fast as `ecg-31hz-v1`": np.median(ratios),
            }
        )
    formats = {"hours of ECG in a second": ".2f"}
    formats["times as fast as `ecg-31hz-v1`"] = ".1f"
    return markdown(pd.DataFrame(rows), formats)


# --- the page

PAGE = """# Twelve leads

A language model's context is what training costs, and an ECG of twelve leads and ten
seconds is 3,800 tokens when it is tokenized lead by lead at 31 tokens a second. Eight
of the leads are independent, and these share much: the tokenizers `ecg12-…` make one
stream of all of them, of {rates} tokens a second.

```python
from sktok import load_pretrained
from sktok.datasets import load_wfdb
from sktok.plotting import TwelveLeadDisplay

ecg = load_wfdb("ptb-xl/records500", channel="all", window_seconds=10)
tokenizer = load_pretrained("{base}", fs=ecg.fs, lead=ecg.lead[0])
tokens = tokenizer.transform(ecg.data)
millivolts = tokenizer.inverse_transform(tokens)
TwelveLeadDisplay.from_estimator(tokenizer, ecg.data[:1])
```

Leads are found by their names, in any order. III, aVR, aVL and aVF are left out on the
way in and computed from I and II on the way back; the largest deviation from
Einthoven's and Goldberger's laws in the restored leads is {einthoven:.0e} mV.

![A record of LUDB on ECG paper, and its reconstruction](twelve_leads.png)

All figures are from `python examples/benchmark_twelve_leads.py` ({date}, torch
{torch}); the tokenizers are from `make pretrain`. One seed each.

## On devices that it has never seen

LUDB (200 records, 500 Hz, 8 independent leads) was not trained on, and nothing was
chosen on it. "Separate" are eight streams of one lead each: the same recipe, with a
codebook of {n_codes:,} codes for all leads, fitted to the same crops of the same
records in as many steps. All tokens count, also those of offset and gain; windows are
{seconds} seconds. PRDN is that of a record, each lead centred by its own mean.

{figures}

The mean squared error of `{base}` is {ratio_slow:.2f} of that of separate streams, and
that of `ecg12-100hz-v1` is {ratio_fast:.2f}.

RMSE by lead, in µV:

{leads}

## Fewer tokens from the same tokenizer

Tokens of a block are coarse to fine, and fewer of them are a tokenizer of a lower rate:
`set_params(gain_shape__tokenizer__tokenize__n_stages=4)`. The first carry the rhythm,
the later ones the detail of the leads.

{stages}

## Speed

One thread of the CPU, records of LUDB with twelve leads at 500 Hz, resampling included:

{speed}

Most of the time is the search for the codes of 8 or 10 stages, which separate streams
at the same pace do not need. The beam width trades its time for error:
`set_params(gain_shape__tokenizer__tokenize__quantizer__beam_width=2)`. It is
{beam_width} without a change. Errors of `{base}` on LUDB:

{beams}

## How it works

Blocks hold a piece of all eight leads (`BlockSegmenter(leads="joint")`): 50 samples of
each, 0.2 s, in `{base}`, and 25 in `ecg12-100hz-v1`. Each lead has a token of its
offset, its median, and one of its gain, and is divided by the geometric mean of its own
gain and that of the window (`GainShapeTokenizer(norm="l4", leads="joint")`).
`networks.MultiLeadAutoencoder` reads each lead by the same weights, mixes them,
starting from the principal components of samples and leads together, and restores each
lead by the same weights again. A `ResidualVectorQuantizer` of {n_codes:,} codes in each
of 8 or 10 stages makes the tokens.

## Model card

**Data.** {n_records:,} records of {n_patients:,} patients, 10 seconds of I, II and V1
to V6 at 250 Hz:

| folder | database | licence | records | patients |
|---|---|---|---|---|
{data}

{n_crops} crops of {crop_seconds} seconds were taken of each record. Half of them are up
to {stretch:.0%} faster or slower, and their leads have something of each other, as if
electrodes were in other places. The weights are derived from these data, which require
attribution: P. Wagner et al., "PTB-XL, a large publicly available electrocardiography
dataset", Scientific Data 7:154, 2020; I. Silva et al., "Improving the quality of ECGs
collected using mobile phones", CinC 2011; A. L. Goldberger et al., "PhysioBank,
PhysioToolkit, and PhysioNet", Circulation 101(23), 2000. The test signals are from
A. I. Kalyakulina et al., "LUDB: a new open-access validation tool for electrocardiogram
delineation algorithms", IEEE Access 8, 2020 (ODC-BY 1.0).

**Limits.** As those of the [tokenizers of one lead](pretrained.md), and:

- All eight leads are needed. With fewer, use a tokenizer of one lead. A tokenizer of
  eight leads that was trained with some of them missing in half of the crops (2,000
  steps, held-out patients) had a 10 % larger mean squared error with all leads; with
  lead II alone, its RMSE was 1.7 times that of `ecg-12hz-v1`, with II, V1 and V5 1.9
  times, at 42 tokens a second against 13 and 38. The comparison favours `ecg-12hz-v1`,
  which was trained on these patients, and for 16,000 steps.
- The electrodes are where they are on a standard ECG: another place of V1 to V6 is
  another signal.
- The records are ten seconds at rest. Exercise and Holter ECG were not tested.
"""


def data_table():
    lines, patients, n_records = [], set(), 0
    for folder in ALL_LEADS:
        name, licence = LICENCES[folder]
        ecg = load_12(folder)
        lines.append(
            f"| {folder} | {name} | {licence} | {len(ecg.data)} | "
            f"{len(np.unique(ecg.groups))} |"
        )
        database = "PTB-XL" if "ptbxl" in folder else folder
        patients |= {(database, group) for group in ecg.groups}
        n_records += len(ecg.data)
    return {
        "data": "\n".join(lines),
        "n_records": n_records,
        "n_patients": len(patients),
    }


FORMATS = {
    "tokens a second": ".1f",
    "bits a token": ".2f",
    "RMSE (µV)": ".1f",
    "PRDN, median (%)": ".1f",
    "95th percentile": ".1f",
    "heartbeat F1, lead II": ".4f",
}


def main(folder, memory):
    joint = {name: load_pretrained(name) for name in FAMILY_12}
    separate = joblib.Parallel(n_jobs=2)(
        joblib.delayed(memory.cache(separate_streams))(name) for name in FAMILY_12
    )
    separate = {
        f"separate, {1000 * SEPARATE[name] // FS} ms": tokenizer
        for name, tokenizer in zip(FAMILY_12, separate, strict=True)
    }
    ludb = load_12("ludb", fs=LUDB_FS)
    pairs = zip(joint.items(), separate.items(), strict=True)
    rows, leads, rmse = [], [], []
    for name, tokenizer in [item for pair in pairs for item in pair]:
        tokenizer = at_rate(tokenizer, LUDB_FS)
        row, by_lead = figures(tokenizer, ludb.data, LUDB_FS)
        rows.append({"tokenizer": name, **row})
        leads.append({"tokenizer": name, **by_lead})
        rmse.append(row["RMSE (µV)"])
    slow, slow_rival, fast, fast_rival = rmse
    page = PAGE.format(
        base=BASE,
        beam_width=BEAM_WIDTH,
        beams=markdown(figures_by_beam(joint[BASE], ludb.data, LUDB_FS), FORMATS),
        rates=" or ".join(f"{row['tokens a second']:.0f}" for row in rows[::2]),
        date=time.strftime("%Y-%m-%d"),
        torch=torch.__version__.partition("+")[0],
        n_codes=N_CODES,
        seconds=RECORD_SECONDS,
        einthoven=einthoven(joint[BASE], ludb.data, LUDB_FS),
        figures=markdown(pd.DataFrame(rows), FORMATS),
        ratio_slow=(slow / slow_rival) ** 2,
        ratio_fast=(fast / fast_rival) ** 2,
        leads=markdown(pd.DataFrame(leads), dict.fromkeys(LEADS, ".1f")),
        stages=markdown(figures_by_stages(joint[BASE], ludb.data, LUDB_FS), FORMATS),
        speed=speed_table(joint, separate, ludb.data, LUDB_FS),
        n_crops=N_CROPS,
        crop_seconds=CROP_SECONDS,
        stretch=LARGEST_STRETCH,
        **data_table(),
    )
    (folder / "twelve_leads.md").write_text(page)
    twelve = with_leads(joint[BASE], TWELVE_LEADS)
    record = derive_leads(ludb.data[:1], LEADS)
    display = TwelveLeadDisplay.from_estimator(twelve, record)
    display.figure_.savefig(folder / "twelve_leads.png", dpi=100)
    plt.close(display.figure_)
    print(page)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", default="docs", type=Path)
    parser.add_argument("--cache")
    arguments = parser.parse_args()
    main(arguments.folder, joblib.Memory(arguments.cache, verbose=0))
