"""Files of fitted tokenizers that are cut, altered and forged."""

import io
import zipfile
from functools import cache

import numpy as np
from hypothesis import strategies as st
from law import FOLDER, fuzz, judge
from sklearn.pipeline import make_pipeline
from test_corpus_files import forge_json
from test_wfdb import forge_bytes

from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    ConvAETokenizer,
    GainShapeTokenizer,
    VectorQuantizer,
)
from sktok.persistence import load, save

WINDOWS = np.random.default_rng(0).random((20, 12))
INSIDE = ConvAETokenizer(
    "dimreduction", quantizer=BinQuantizer(8), max_steps=2, random_state=0
)
TOKENIZERS = {
    "bins": make_pipeline(AmplitudeScaler(), BinQuantizer((4, 2) * 6)),
    "codes": make_pipeline(BlockSegmenter(5), VectorQuantizer(4, random_state=0)),
    "gain": GainShapeTokenizer(BinQuantizer(4), n_bins=8),
    "network": make_pipeline(BlockSegmenter(5), INSIDE),
}
PATH = FOLDER / "tokenizer.skops"


@cache
def saved(name):
    """The content of a file, and the files in the archive by name."""
    save(TOKENIZERS[name].fit(WINDOWS), PATH)
    content = PATH.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return content, {name: archive.read(name) for name in archive.namelist()}


@st.composite
def forgeries(draw, name):
    """The file with altered bytes, or an intact archive of forged files."""
    content, files = saved(name)
    if draw(st.booleans()):
        return draw(forge_bytes(content))
    files = dict(files)
    places = st.just("schema.json") | st.sampled_from(sorted(files))
    for place in draw(st.sets(places, min_size=1, max_size=3)):
        forge = forge_json if place == "schema.json" else forge_bytes
        files[place] = draw(forge(files[place]))
    return packed(files)


def packed(files):
    """An archive of these files with correct checksums."""
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return result.getvalue()


@fuzz(0.01, name=st.sampled_from(sorted(TOKENIZERS)), data=st.data())
def test_load(name, data):
    """A file that loads gives tokens and windows, or raises a documented error."""
    content = data.draw(forgeries(name))
    PATH.write_bytes(content)
    tokenizer = judge(f"load: {name}", lambda: load(PATH), ValueError)
    if tokenizer is None:
        return
    windows = WINDOWS[:3, : tokenizer.n_features_in_]
    tokens = judge(
        f"load: {name}: transform", lambda: tokenizer.transform(windows), ValueError
    )
    if tokens is not None:
        assert np.isfinite(tokens).all()
        restored = judge(
            f"load: {name}: inverse_transform",
            lambda: tokenizer.inverse_transform(tokens),
            ValueError,
        )
        assert restored is None or np.isfinite(restored).all()


@fuzz(0.002, content=st.binary(max_size=200))
def test_load_anything(content):
    PATH.write_bytes(content)
    assert judge("load: anything", lambda: load(PATH), ValueError) is None
