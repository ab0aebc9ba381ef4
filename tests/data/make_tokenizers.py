"""Fit the tokenizers that later releases have to read, and keep what they make.

Run once for each format of `sktok._estimator`, by the first release that has it; files
that exist stay::

    python tests/data/make_tokenizers.py

With each tokenizer it stores the tokens of those windows of `load_ecg` in which no
token is close to another one: any machine must find the same.
"""

from functools import partial
from pathlib import Path

import joblib
import numpy as np
from sklearn.pipeline import make_pipeline

from sktok import (
    AmplitudeScaler,
    BlockSegmenter,
    ConvAETokenizer,
    ResidualVectorQuantizer,
    VectorQuantizer,
    _estimator,
    make_paper_tokenizer,
)
from sktok.datasets import load_ecg
from sktok.networks import ContextualAutoencoder
from sktok.persistence import save

FOLDER = Path(__file__).parent
NOISE = 1e-4  # in mV: what leaves the tokens of a window as they are


def tokenizers():
    """A small one with each network, by name."""
    network = partial(
        ContextualAutoencoder, width=16, encoder_radii=(1, 1), decoder_radii=(1,)
    )
    inside = ConvAETokenizer(
        network, quantizer=VectorQuantizer(16), max_steps=200, random_state=0
    )
    yield "contextual", make_pipeline(AmplitudeScaler(), BlockSegmenter(25), inside)
    stages = ResidualVectorQuantizer((16, 8), rate_weight=0.001)
    inside = ConvAETokenizer(network, quantizer=stages, max_steps=200, random_state=0)
    yield "stages", make_pipeline(AmplitudeScaler(), BlockSegmenter(25), inside)
    yield "paper", make_paper_tokenizer(25, 16, max_steps=200, random_state=0)


def main():
    X, rng = load_ecg().data, np.random.default_rng(0)
    for name, tokenizer in tokenizers():
        name = f"{name}-format{_estimator.FORMAT}"
        if (FOLDER / f"{name}.npz").exists():
            continue
        tokens = tokenizer.fit_transform(X)
        noisy = [X + NOISE * rng.standard_normal(X.shape) for _ in range(20)]
        same = [tokenizer.transform(windows) == tokens for windows in noisy]
        index = np.flatnonzero(np.all(same, axis=(0, 2)))
        np.savez_compressed(
            FOLDER / f"{name}.npz",
            index=index,
            tokens=tokens[index].astype(np.uint8),
            restored=tokenizer.inverse_transform(tokens[index[:4]]).astype(np.float32),
        )
        joblib.dump(tokenizer, FOLDER / f"{name}.joblib")
        save(tokenizer, FOLDER / f"{name}.skops")
        print(f"{name}: {len(index)} windows")


if __name__ == "__main__":
    main()
