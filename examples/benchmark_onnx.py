"""Does a device without PyTorch make the same tokens, and how fast?

Fits tokenizers on the patients of DS1 (MIT-BIH Arrhythmia Database), for a few steps,
or on the five minutes that come with sktok, where that database is not at hand. Exports
them by `sktok.export.to_onnx`, and turns 100,000 windows into tokens and back, by
onnxruntime and by sktok, each with one thread. The windows are those of DS2; where they
are too few they come again, with random gain and offset. Some minutes::

    SKTOK_DATA=FOLDER python examples/benchmark_onnx.py

It prints a table: how many tokens differ; by how much the distances of a latent to the
two codes then differ at most, relative to the smaller; the largest difference between
windows restored from the same tokens, relative to their largest sample; sizes of both
files; and million samples a second, to tokens and back, of onnxruntime and of sktok.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from onnxruntime import InferenceSession, SessionOptions

from sktok import BinQuantizer, ConvAETokenizer, make_paper_tokenizer, make_tokenizer
from sktok._torch.inference import encode
from sktok.datasets import fetch_mitdb, load_ecg
from sktok.export import to_onnx

N_WINDOWS = 100_000
BATCH = 64  # windows that onnxruntime gets at once: their distances to codes fit caches
MAX_STEPS = 300


def load():
    """Windows to fit on, and windows to try, in float32."""
    try:
        fit, test = (
            fetch_mitdb(split, missing="drop", download_if_missing=False).data
            for split in ("ds1", "ds2")
        )
    except OSError:
        fit = test = load_ecg().data
    rng = np.random.default_rng(0)
    parts = [test]
    for _ in range(N_WINDOWS // len(test)):
        gain = rng.uniform(0.5, 2, (len(test), 1))
        parts.append(gain * test + rng.uniform(-0.5, 0.5, (len(test), 1)))
    return fit, np.concatenate(parts)[:N_WINDOWS].astype(np.float32)


def tokenizers():
    options = {"max_steps": MAX_STEPS, "random_state": 0}
    bins = make_tokenizer(**options)
    bins.set_params(tokenize__quantizer=BinQuantizer((8, 8, 4)))
    complete = make_paper_tokenizer(**options).set_params(
        tokenize__quantizer=BinQuantizer(256, limits=(-5, 5)), quantize="passthrough"
    )
    return {
        "make_tokenizer(10, 256)": make_tokenizer(**options),
        "make_tokenizer(5, 4096)": make_tokenizer(5, 4096, **options),
        "with BinQuantizer((8, 8, 4))": bins,
        "make_paper_tokenizer()": make_paper_tokenizer(**options),
        "its complete process": complete,
    }


def timed(function, array):
    started = time.perf_counter()
    result = function(array)
    return result, time.perf_counter() - started


def model(path):
    """A function that runs a model batch by batch."""
    options = SessionOptions()
    options.intra_op_num_threads = 1
    session = InferenceSession(path, options)
    name = session.get_inputs()[0].name

    def run(array):
        batches = (array[at : at + BATCH] for at in range(0, len(array), BATCH))
        return np.concatenate([session.run(None, {name: b})[0] for b in batches])

    return run


def largest_gap(tokenizer, X, own, found):
    """Largest relative difference of the distances of a latent to two codes."""
    rows = np.flatnonzero((own != found).any(axis=1))
    if not len(rows):
        return 0.0
    *before, last = (step for _, step in tokenizer.steps if step != "passthrough")
    latents = X[rows]
    for step in before:
        latents = step.transform(latents)
    if isinstance(last, ConvAETokenizer):
        latents, last = encode(last.network_, latents), last.quantizer_
    vectors = latents.reshape(*own[rows].shape, -1)
    distances = [
        np.linalg.norm(vectors - last.codes_[tokens[rows]], axis=-1).astype(float)
        for tokens in (own, found)
    ]
    differ = own[rows] != found[rows]
    lower, higher = np.sort(distances, axis=0)[:, differ]
    return np.max(higher / lower - 1)


def compare(tokenizer, X, folder):
    """A row of the table."""
    to_onnx(tokenizer, folder)
    paths = [folder / "encoder.onnx", folder / "decoder.onnx"]
    encoder, decoder = map(model, paths)
    found, encoding = timed(encoder, X)
    restored, decoding = timed(decoder, found)
    own, transform = timed(tokenizer.transform, X)
    expected, inverse_transform = timed(tokenizer.inverse_transform, found)
    seconds = np.array([encoding, decoding, transform, inverse_transform])
    return [
        f"{len(X):,}",
        f"{own.size:,}",
        f"{np.sum(own != found):,}",
        f"{largest_gap(tokenizer, X, own, found):.1e}",
        f"{np.abs(restored - expected).max() / np.abs(expected).max():.1e}",
        " + ".join(f"{path.stat().st_size / 1000:.0f} kB" for path in paths),
        *(f"{rate:.2f}" for rate in X.size / 1e6 / seconds),
    ]


def main():
    torch.set_num_threads(1)
    fit, test = load()
    columns = ["tokenizer", "windows", "tokens", "differ", "gap", "restored", "files"]
    columns += ["onnxruntime, to tokens", "and back", "sktok, to tokens", "and back"]
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    for name, tokenizer in tokenizers().items():
        with tempfile.TemporaryDirectory() as folder:
            row = compare(tokenizer.fit(fit), test, Path(folder, "tokenizer"))
        print(f"| {name} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
