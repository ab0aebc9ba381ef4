"""Train the tokenizers of `load_pretrained`.

The signals are those of eight databases in the folder ``ecg`` and of the training
patients of MIT-BIH (DS1), each lead for itself, at 250 Hz: 180,000 windows of two
seconds. Two tokenizers are trained at a time, each on one core, unless there is a CUDA
device. All of them take three quarters of an hour::

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
    Resampler,
    ResidualVectorQuantizer,
    VectorQuantizer,
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


def new_tokenizer(name, *, max_steps=None):
    """The tokenizer of a name, not fitted."""
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


def train(name, databases=DATABASES, *, max_steps=None):
    """The tokenizer of a name, fitted to databases."""
    if not torch.cuda.is_available():
        torch.set_num_threads(1)  # two trainings run in parallel
    return new_tokenizer(name, max_steps=max_steps).fit(load_all(databases).data)


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
    parser.add_argument("names", nargs="*", default=list(FAMILY))
    package = Path(sktok._pretrained.__file__).parent
    parser.add_argument("--out", type=Path, default=package)
    arguments = parser.parse_args()
    main(arguments.names, arguments.out)
