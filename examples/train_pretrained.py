"""Train the tokenizers of `load_pretrained`.

Those of one lead are trained on eight databases in the folder ``ecg`` and the training
patients of MIT-BIH (DS1), each lead for itself, at 250 Hz: 180,000 windows of two
seconds. Those of all leads, ``ecg12-…``, are trained on 1,700 patients with eight
independent leads. Two tokenizers are trained at a time, each on one core, unless there
is a CUDA device. All of them take two hours::

    export SKTOK_DATA=FOLDER
    python examples/train_pretrained.py [NAME ...] [--out FOLDER]

It writes ``NAME.skops`` for each tokenizer, and ``checksums.json``, which
`load_pretrained` compares with the files. A name that has been released is never
trained again: its tokens would change their meaning. A new recipe gets a new version.

The settings were chosen on patients, and on databases, that were held out.
"""

import argparse
import hashlib
import json
import os
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import torch
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch

import sktok._pretrained
from sktok import (
    BlockSegmenter,
    ConvAETokenizer,
    GainShapeTokenizer,
    LeadSelector,
    Resampler,
    ResidualVectorQuantizer,
    VectorQuantizer,
    with_window_length,
)
from sktok.datasets import fetch_mitdb, load_wfdb
from sktok.persistence import save

FS, UNIT = 250, "mV"
WINDOW_SECONDS = 2
# Folders by database: the recordings of one source are held out together.
DATABASES = {
    "MIT-BIH": ("mitdb",),
    "PTB-XL": ("ptbxl_lr", "ptbxl_hr", "ptbxl_cinc"),
    "CinC 2011": ("cinc2011_12lead",),
    "CinC 2017": ("cinc2017",),
    "QT": ("qtdb",),
    "PAF": ("afpdb",),
}
LEAST_RANGE, LARGEST_RANGE = 0.05, 20.0  # mV; windows beyond are no ECG
TRAINING = {"augment": False, "learning_rate": 0.004, "random_state": 0}
FAMILY = {  # block size, quantiser, windows in a batch, steps
    "ecg-31hz-v1": (8, VectorQuantizer(4096, rate_weight=0.0008), 50, 16_000),
    "ecg-12hz-v1": (20, VectorQuantizer(4096, rate_weight=0.0008), 100, 16_000),
    "ecg-31hz-stages-v1": (
        8,
        ResidualVectorQuantizer(1024, 2, rate_weight=0.0002),
        50,
        16_000,
    ),
}
# Those of all leads.
LEADS = ["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"]
ALL_LEADS = "ptbxl_lr", "ptbxl_cinc", "cinc2011_12lead"  # folders that have them
RECORD_SECONDS = 10
CROP_SECONDS = 5
N_CROPS = 12  # of each record, with variations
LARGEST_STRETCH = 0.15  # of the tempo
LEAD_MIX = 0.07  # standard deviation of what a lead gets of each other lead
N_CODES = 1024  # of each stage
STAGE_DROPOUT = {"ecg12-40hz-v1": 0.125, "ecg12-100hz-v1": 0.25}
BEAM_WIDTH = 6  # after training, for which the default of 4 is as good
# Block size, stages, latents, windows in a batch, steps. In the search for codes, a
# total and a one follow 62 latents, which fills 64 columns.
FAMILY_12 = {
    "ecg12-40hz-v1": (50, 8, 62, 26, 24_000),
    "ecg12-100hz-v1": (25, 10, 64, 13, 10_000),
}


def new_tokenizer(name, *, max_steps=None):
    """The tokenizer of a name, not fitted."""
    if name in FAMILY_12:
        return new_tokenizer_12(name, max_steps=max_steps)
    block_size, quantizer, batch_size, n_steps = FAMILY[name]
    network = ConvAETokenizer(
        quantizer=quantizer,
        max_steps=max_steps or n_steps,
        batch_size=batch_size,
        warm_start=True,  # `fit` of a loaded tokenizer may continue
        **TRAINING,
    )
    shapes = Pipeline([("segment", BlockSegmenter(block_size)), ("tokenize", network)])
    return Pipeline(
        [
            ("resample", Resampler(FS, FS, unit=UNIT)),
            ("gain_shape", GainShapeTokenizer(shapes, norm="l4")),
        ]
    )


def new_tokenizer_12(name, *, max_steps=None):
    """The tokenizer of all leads of a name, not fitted."""
    block_size, n_stages, latent_dim, batch_size, n_steps = FAMILY_12[name]
    network = ConvAETokenizer(
        "multilead",
        n_leads=len(LEADS),
        latent_dim=latent_dim,
        # Training moves the codes far from where k-means has put them.
        quantizer=ResidualVectorQuantizer(
            N_CODES, n_stages, stage_dropout=STAGE_DROPOUT[name], max_iter=10
        ),
        max_steps=max_steps or n_steps,
        batch_size=batch_size,
        warm_start=True,
        **(TRAINING | {"learning_rate": 0.003}),
    )
    segment = BlockSegmenter(block_size, leads="joint")
    shapes = Pipeline([("segment", segment), ("tokenize", network)])
    return Pipeline(
        [
            ("resample", Resampler(FS, FS, unit=UNIT)),
            ("leads", LeadSelector(LEADS)),
            ("gain_shape", GainShapeTokenizer(shapes, norm="l4", leads="joint")),
        ]
    )


def ecg_folder(folder):
    """The records of a database other than MIT-BIH."""
    return Path(os.environ["SKTOK_DATA"], "ecg", folder)


def load(folder, fs=FS, window_seconds=WINDOW_SECONDS):
    """Windows of each lead of a database in mV, and their patients."""
    options = {"window_seconds": window_seconds, "fs": fs, "missing": "drop"}
    if folder == "mitdb":
        return fetch_mitdb("ds1", channel="all", leads="rows", **options)
    home = ecg_folder(folder)
    patients = pd.read_csv(home.parent / "patients.csv", dtype=str)
    patients = patients[patients["db"] == folder].set_index("record")["patient"]
    options["groups"] = patients.to_dict()
    with warnings.catch_warnings():
        # Some recordings are shorter than a window.
        warnings.filterwarnings("ignore", "Skipped", UserWarning)
        return load_wfdb(home, channel="all", leads="rows", **options)


def load_all(databases=DATABASES):
    """The windows of databases that are ECG, with their database and patient."""
    parts = []
    for database in databases:
        for folder in DATABASES[database]:
            ecg = load(folder)
            span = np.ptp(ecg.data, axis=1)
            is_ecg = (span > LEAST_RANGE) & (span < LARGEST_RANGE)
            columns = {name: ecg[name][is_ecg] for name in ("record", "lead", "groups")}
            columns["data"] = ecg.data[is_ecg].astype(np.float32)
            columns["database"] = np.full(is_ecg.sum(), database)
            columns["folder"] = np.full(is_ecg.sum(), folder)
            parts.append(columns)
    joined = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    return Bunch(**joined, fs=FS, unit=UNIT)


def load_12(folder, fs=FS):
    """Whole records of a database with all leads, in mV, and their patients."""
    home = ecg_folder(folder)
    patients = pd.read_csv(home.parent / "patients.csv", dtype=str)
    patients = patients[patients["db"] == folder].set_index("record")["patient"]
    return load_wfdb(
        home,
        channel=LEADS,
        fs=fs,
        window_seconds=RECORD_SECONDS,
        missing="drop",
        groups=patients.to_dict(),
    )


def load_records_12(folders=ALL_LEADS):
    """The records of databases that are ECG in all leads: (n_records, 8, 2500)."""
    records = np.concatenate([load_12(folder).data for folder in folders])
    span = np.ptp(records, axis=2)
    is_ecg = (span > LEAST_RANGE).all(axis=1) & (span < LARGEST_RANGE).all(axis=1)
    return records[is_ecg].astype(np.float32)


def varied_crops(records, random_state=0):
    """Parts of records, half of them varied: (n_crops, n_leads, length).

    Each crop starts anywhere. Half of them are faster or slower, and their leads have
    something of each other, as if the electrodes were in other places.
    """
    rng = np.random.default_rng(random_state)
    length, n_leads = CROP_SECONDS * FS, records.shape[1]
    crops = np.empty((N_CROPS * len(records), n_leads, length), np.float32)
    for number, crop in enumerate(crops):
        record = records[number // N_CROPS]
        if number % 2:
            start = rng.integers(record.shape[1] - length + 1)
            crop[:] = record[:, start : start + length]
            continue
        tempo = 1 + LARGEST_STRETCH * rng.uniform(-1, 1)
        start = rng.uniform(0, record.shape[1] - 1 - tempo * (length - 1))
        places = start + tempo * np.arange(length)
        mix = np.eye(n_leads) + LEAD_MIX * rng.normal(size=(n_leads, n_leads))
        samples = np.arange(record.shape[1])
        crop[:] = mix @ [np.interp(places, samples, lead) for lead in record]
    return crops


def train(name, databases=DATABASES, *, max_steps=None):
    """The tokenizer of a name, fitted to databases; one of all leads to its own."""
    if not torch.cuda.is_available():
        torch.set_num_threads(1)  # two trainings run in parallel
    tokenizer = new_tokenizer(name, max_steps=max_steps)
    if name not in FAMILY_12:
        return tokenizer.fit(load_all(databases).data)
    tokenizer.fit(varied_crops(load_records_12()))
    beam_width = "gain_shape__tokenizer__tokenize__quantizer__beam_width"
    tokenizer.set_params(**{beam_width: BEAM_WIDTH})
    return with_window_length(rounded(tokenizer), RECORD_SECONDS * FS)


def rounded(tokenizer):
    """Weights and codes of 11 bits, which take half of the space in a wheel.

    Their rounding changes the error by less than a thousandth.
    """
    network = tokenizer["gain_shape"].tokenizer_["tokenize"]
    quantizer = network.quantizer_
    quantizer.codes_ = quantizer.codes_.astype(np.float16).astype(np.float32)
    with torch.no_grad():
        for weights in network.network_.parameters():
            weights.copy_(weights.half().float())
    return tokenizer


def train_to_file(name, folder):
    """Train a tokenizer, write it, and return the checksum of the file."""
    path = folder / f"{name}.skops"
    save(train(name), path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(names, folder):
    checksums = joblib.Parallel(n_jobs=1 if torch.cuda.is_available() else 2)(
        joblib.delayed(train_to_file)(name, folder) for name in names
    )
    index = folder / "checksums.json"
    known = json.loads(index.read_text()) if index.exists() else {}
    known |= dict(zip(names, checksums, strict=True))
    index.write_text(json.dumps(dict(sorted(known.items())), indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=[*FAMILY, *FAMILY_12])
    package = Path(sktok._pretrained.__file__).parent
    parser.add_argument("--out", type=Path, default=package)
    arguments = parser.parse_args()
    main(arguments.names, arguments.out)
