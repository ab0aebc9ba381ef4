"""Parameters that are numbers of NumPy: nothing differs from numbers of Python."""

import json
from functools import partial

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    ConvAETokenizer,
    GainShapeTokenizer,
    Resampler,
    VectorQuantizer,
    make_paper_tokenizer,
    make_tokenizer,
)
from sktok._command_line import main
from sktok.networks import ContextualAutoencoder
from sktok.persistence import load, save

INTS = np.int8, np.uint8, np.int64
REALS = np.float16, np.float32
BOOLS = (np.bool_,)
FEW = (np.int8,)  # where each number takes a training


def blocks(quantizer, block_size=10):
    return make_pipeline(AmplitudeScaler(), BlockSegmenter(block_size), quantizer)


def trained(**params):
    defaults = {"quantizer": VectorQuantizer(8), "max_steps": 2, "random_state": 0}
    return blocks(ConvAETokenizer(**{**defaults, **params}))


# Values at which the arithmetic of small types overflows, where it can.
CASES = {
    "n_bins": (lambda n: blocks(BinQuantizer(n)), 127, INTS),
    "n_bins, quantile": (
        lambda n: blocks(BinQuantizer(n, strategy="quantile")),
        255,
        INTS[1:],
    ),
    "n_bins, kmeans": (lambda n: blocks(BinQuantizer(n, strategy="kmeans")), 127, INTS),
    "n_bins, tuple": (lambda n: blocks(BinQuantizer((n, n)), 2), 127, INTS),
    "n_bins, trained": (lambda n: trained(quantizer=BinQuantizer(n)), 100, FEW),
    "limits": (lambda x: blocks(BinQuantizer(16, limits=(0, x))), 100, INTS + REALS),
    "n_codes": (lambda n: blocks(VectorQuantizer(n, random_state=n)), 100, INTS),
    "max_iter": (
        lambda n: blocks(VectorQuantizer(16, max_iter=n, random_state=0)),
        100,
        INTS,
    ),
    "feature_range": (
        lambda x: make_pipeline(AmplitudeScaler((0, x)), BinQuantizer(16)),
        2,
        INTS + REALS,
    ),
    "clip": (
        lambda is_on: make_pipeline(AmplitudeScaler(clip=is_on), BinQuantizer(16)),
        True,
        BOOLS,
    ),
    "block_size": (lambda n: blocks(BinQuantizer(16), n), 100, INTS),
    "input_fs": (
        lambda fs: make_pipeline(Resampler(fs, 250), BinQuantizer(16)),
        125,
        INTS + REALS,
    ),
    "output_fs": (
        lambda fs: make_pipeline(Resampler(250, fs), BinQuantizer(16)),
        125,
        INTS + REALS,
    ),
    "n_bins of gain": (
        lambda n: GainShapeTokenizer(blocks(BinQuantizer(16)), n_bins=n),
        127,
        INTS,
    ),
    "latent_dim": (
        lambda n: make_pipeline(trained(quantizer=None, latent_dim=n), BinQuantizer(8)),
        8,
        FEW,
    ),
    "max_steps": (lambda n: trained(max_steps=n), 2, FEW),
    "batch_size": (lambda n: trained(batch_size=n), 20, FEW),
    "learning_rate": (lambda x: trained(learning_rate=x), 2.0**-8, REALS),
    "augment": (lambda is_on: trained(augment=is_on), False, BOOLS),
    "early_stopping": (lambda is_on: trained(early_stopping=is_on), True, BOOLS),
    "validation_fraction": (
        lambda x: trained(early_stopping=True, validation_fraction=x),
        0.25,
        REALS,
    ),
    "n_iter_no_change": (
        lambda n: trained(early_stopping=True, n_iter_no_change=n),
        1,
        FEW,
    ),
    "n_candidates": (lambda n: trained(n_candidates=n), 4, FEW),
    "random_state": (lambda n: trained(random_state=n), 100, FEW),
    "width": (
        lambda n: trained(network=partial(ContextualAutoencoder, width=n)),
        64,
        FEW,
    ),
    "radii": (
        lambda n: trained(
            network=partial(
                ContextualAutoencoder, encoder_radii=(n, n), decoder_radii=(n,)
            )
        ),
        2,
        FEW,
    ),
    "make_tokenizer": (
        lambda n: make_tokenizer(
            n, n, fs=n, max_steps=n, n_candidates=n, random_state=n
        ),
        5,
        FEW,
    ),
    "make_paper_tokenizer": (
        lambda n: make_paper_tokenizer(
            n, n, fs=n, limits=(0, n), latent_dim=n, max_steps=n, random_state=n
        ),
        5,
        FEW,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_numbers_of_numpy_give_the_same_tokenizer(ecg, name, tmp_path, capsys):
    make, value, types = CASES[name]
    X, path = ecg.data[:20, :100], tmp_path / "tokenizer"

    def outcome(number):
        tokenizer = make(number).fit(X)
        tokens = tokenizer.transform(X)
        save(tokenizer, path)
        np.testing.assert_array_equal(load(path).transform(X), tokens)
        assert main(["inspect", str(path), "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)  # and so the fingerprint
        del facts["bytes"]  # the types of numpy have longer names
        return facts, tokens.tolist(), tokenizer.inverse_transform(tokens).tolist()

    expected = outcome(value)
    for kind in types:
        assert outcome(kind(value)) == expected
