"""Files of fitted tokenizers: the same tokens after years, and no code of strangers."""

import io
import json
import os
import pickle
import pickletools
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pytest
import skops.io
import torch
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import sktok
from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    ConvAETokenizer,
    GainShapeTokenizer,
    VectorQuantizer,
    _estimator,
    make_paper_tokenizer,
    make_tokenizer,
)
from sktok.metrics import neg_reconstruction_mse
from sktok.networks import (
    ContextualAutoencoder,
    DimReduction,
    from_plain,
    to_plain,
)
from sktok.persistence import load, save

DATA = Path(__file__).parent / "data"
KEPT = sorted(path for path in DATA.iterdir() if path.suffix in (".joblib", ".skops"))
STEPS = {"max_steps": 3, "random_state": 0}
TOKENIZERS = [
    make_tokenizer(**STEPS),
    make_tokenizer(**STEPS).set_params(tokenize__quantizer=BinQuantizer((4, 4))),
    make_paper_tokenizer(**STEPS),
    make_paper_tokenizer(memory="a cache", **STEPS).set_params(memory=None),
    GainShapeTokenizer(make_tokenizer(**STEPS), n_bins=16),
    make_pipeline(AmplitudeScaler(clip=True), BinQuantizer(8, centers="mean")),
    make_pipeline(BlockSegmenter(25), VectorQuantizer(8, random_state=0)),
]


@pytest.fixture(scope="module")
def fitted(ecg):
    return [clone(tokenizer).fit(ecg.data[:60]) for tokenizer in TOKENIZERS]


@pytest.mark.parametrize("index", range(len(TOKENIZERS)))
def test_a_safe_file_holds_all_of_a_tokenizer(index, fitted, ecg, tmp_path):
    tokenizer = fitted[index]
    save(tokenizer, tmp_path / "tokenizer.skops")
    loaded = load(tmp_path / "tokenizer.skops")
    tokens = tokenizer.transform(ecg.data)
    np.testing.assert_array_equal(loaded.transform(ecg.data), tokens)
    np.testing.assert_array_equal(
        loaded.inverse_transform(tokens), tokenizer.inverse_transform(tokens)
    )
    assert str(loaded) == str(tokenizer)
    assert pickle.dumps(loaded) == pickle.dumps(load(tmp_path / "tokenizer.skops"))


def test_the_best_of_a_search_is_saved_without_its_cache(ecg, tmp_path):
    search = GridSearchCV(
        make_paper_tokenizer(memory=str(tmp_path / "cache"), **STEPS),
        {"quantize__n_bins": [4, 8]},
        scoring=neg_reconstruction_mse,
        cv=2,
    ).fit(ecg.data[:60])
    save(search, tmp_path / "tokenizer.skops")
    loaded = load(tmp_path / "tokenizer.skops")
    np.testing.assert_array_equal(
        loaded.transform(ecg.data), search.transform(ecg.data)
    )
    assert loaded.memory is None
    assert search.best_estimator_.memory is not None


@pytest.mark.parametrize("network", ["contextual", "dimreduction", DimReduction])
@pytest.mark.parametrize("quantizer", [None, VectorQuantizer(8), BinQuantizer(8)])
def test_training_goes_on_where_a_file_was_loaded(network, quantizer, blocks, tmp_path):
    tokenizer = ConvAETokenizer(network, quantizer=quantizer, **STEPS)
    tokenizer.partial_fit(blocks)
    save(tokenizer, tmp_path / "tokenizer.skops")
    loaded = load(tmp_path / "tokenizer.skops")
    for either in (tokenizer, loaded):
        while not either.is_complete_:
            either.partial_fit(blocks)
    assert loaded.loss_curve_ == tokenizer.loss_curve_
    np.testing.assert_array_equal(loaded.transform(blocks), tokenizer.transform(blocks))


class OwnNetwork(DimReduction):
    """A network that a safe file cannot hold, and a pickle can."""


def test_a_network_of_ones_own_needs_a_pickle(blocks, tmp_path):
    tokenizer = ConvAETokenizer(OwnNetwork, **STEPS).fit(blocks)
    path = tmp_path / "tokenizer.skops"
    save(BlockSegmenter().fit([[0.0] * 10]), path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match="such as a network of your own"):
        save(tokenizer, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["tokenizer.skops"]
    loaded = pickle.loads(pickle.dumps(tokenizer))
    np.testing.assert_array_equal(loaded.transform(blocks), tokenizer.transform(blocks))


def test_a_folder_that_is_not_there(fitted, tmp_path):
    with pytest.raises(FileNotFoundError):
        save(fitted[-1], tmp_path / "none" / "tokenizer.skops")
    for path in (tmp_path / "tokenizer.skops", tmp_path):
        with pytest.raises(FileNotFoundError, match="There is no tokenizer"):
            load(path)


class Hostile:
    """Runs code where it is unpickled, or its state is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def hostile_files(folder):
    """Content of files that make a folder, if any of their code runs."""
    yield "a pickle", pickle.dumps(Hostile(str(folder)))
    call = FunctionTransformer(os.mkdir, inverse_func=os.mkdir)
    yield "a function", skops.io.dumps(call)
    yield "a function in a pipeline", skops.io.dumps(make_pipeline(call))
    segmenter = BlockSegmenter(1).fit([[0.0]])
    segmenter.block_size_ = np.vectorize(os.mkdir)
    yield "a function in an attribute", skops.io.dumps(segmenter)
    safe = skops.io.dumps(BlockSegmenter(1).fit([[0.0]]))
    yield "a reader of files", skops.io.dumps(CountVectorizer(input="filename"))
    for change in (
        (b'"__class__": "BlockSegmenter"', b'"__class__": "Popen"'),
        (b'"__module__": "sktok._blocks"', b'"__module__": "os"'),
        (b'"__loader__": "ObjectNode"', b'"__loader__": "MethodNode"'),
        (b'"__loader__": "ObjectNode"', b'"__loader__": "ConstructorFromReduceNode"'),
    ):
        yield str(change), with_altered_schema(safe, *change)


def with_altered_schema(content, old, new):
    """The archive with another schema, and checksums that are right."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert old in files["schema.json"]
    files["schema.json"] = files["schema.json"].replace(old, new, 1)
    with zipfile.ZipFile(result, "w") as archive:
        for name, file in files.items():
            archive.writestr(name, file)
    return result.getvalue()


def test_hostile_files_are_refused(tmp_path):
    victim = tmp_path / "made by a stranger"
    n_files = 0
    for what, content in hostile_files(victim):
        (tmp_path / "tokenizer.skops").write_bytes(content)
        with pytest.raises(ValueError, match="nothing of it was run"):
            load(tmp_path / "tokenizer.skops")
        assert not victim.exists(), what
        n_files += 1
    assert n_files == 9
    pickle.loads(pickle.dumps(Hostile(str(victim))))
    assert victim.exists()  # which is what a pickle does


def test_a_file_that_unpacks_to_more_than_itself_is_refused(fitted, tmp_path):
    path = tmp_path / "tokenizer.skops"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b"[" + b" " * 10**7 + b"]")
    with pytest.raises(ValueError, match="larger than the file"):
        load(path)


def test_a_file_that_reads_an_array_many_times_is_refused(tmp_path):
    content = skops.io.dumps([np.zeros(1000)])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        schema = json.loads(archive.read("schema.json"))
        (name,) = set(archive.namelist()) - {"schema.json"}
        array = archive.read(name)
    (node,) = schema["content"]
    del node["__id__"]
    schema["content"] = [node] * 100
    with zipfile.ZipFile(tmp_path / "tokenizer.skops", "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
        archive.writestr(name, array)
    with pytest.raises(ValueError, match="again and again"):
        load(tmp_path / "tokenizer.skops")


def test_a_network_of_more_layers_than_weights_is_refused():
    plain = to_plain(ContextualAutoencoder(4, 4).eval())
    plain["arguments"]["encoder_reaches"] = range(10**9)
    with pytest.raises(ValueError, match="more layers than weights"):
        from_plain(plain)


def test_no_cache_is_saved_and_none_is_loaded(ecg, tmp_path):
    """A cache that a stranger had filled would be unpickled."""
    inner = make_paper_tokenizer(limits="minmax", memory=str(tmp_path / "c"), **STEPS)
    tokenizer = GainShapeTokenizer(inner, n_bins=8).fit(ecg.data[:60])
    path = tmp_path / "tokenizer.skops"
    save(tokenizer, path)
    assert tokenizer.tokenizer_.memory is not None
    assert b'"memory"' in path.read_bytes()
    assert str(tmp_path / "c").encode() not in path.read_bytes()
    path.write_bytes(skops.io.dumps(tokenizer))
    loaded = load(path)
    assert loaded.tokenizer.memory is loaded.tokenizer_.memory is None


def test_codes_of_another_width_are_refused(fitted, tmp_path):
    tokenizer = clone(TOKENIZERS[-1]).fit(np.random.default_rng(0).random((20, 25)))
    tokenizer[-1].codes_ = tokenizer[-1].codes_[:, :7]
    (tmp_path / "tokenizer.skops").write_bytes(skops.io.dumps(tokenizer))
    with pytest.raises(ValueError, match="is damaged"):
        load(tmp_path / "tokenizer.skops")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"content": "60"', b'"content": "100000000000"'),
        (b'"content": "60"', b'"content": "\\"60\\""'),
        (b'"n_features_in_"', b'"n_features"'),
    ],
)
def test_attributes_that_do_not_fit_are_refused(old, new, tmp_path):
    path = tmp_path / "tokenizer.skops"
    content = skops.io.dumps(BlockSegmenter(60).fit(np.zeros((1, 60))))
    path.write_bytes(content)
    assert load(path).block_size_ == 60
    path.write_bytes(with_altered_schema(content, old, new))
    with pytest.raises(ValueError, match="is damaged"):
        load(path)


def test_damaged_files_are_refused(fitted, tmp_path):
    path, rng = tmp_path / "tokenizer.skops", np.random.default_rng(0)
    save(fitted[-1], path)
    content = path.read_bytes()
    for cut in rng.integers(len(content), size=50):
        path.write_bytes(content[:cut])
        with pytest.raises(ValueError, match="is damaged"):
            load(path)
    for position in range(0, len(content), len(content) // 200):
        flipped = bytearray(content)
        flipped[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            loaded = load(path)  # where it is in what zip files say twice, or nothing
        except ValueError:
            continue
        assert pickle.dumps(loaded) == pickle.dumps(load_bytes(content, path))


def load_bytes(content, path):
    path.write_bytes(content)
    return load(path)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore:Trying to unpickle estimator Pipeline")
def test_tokenizers_of_earlier_releases_give_the_same_tokens(path, ecg):
    tokenizer = joblib.load(path) if path.suffix == ".joblib" else load(path)
    with np.load(path.with_suffix(".npz")) as expected:
        index, tokens, restored = map(expected.get, ("index", "tokens", "restored"))
    assert len(index) > 400
    np.testing.assert_array_equal(tokenizer.transform(ecg.data[index]), tokens)
    found = tokenizer.inverse_transform(tokens[: len(restored)].astype(int))
    np.testing.assert_allclose(found, restored, atol=1e-5)  # 0.01 µV
    network = tokenizer[2]
    assert network.is_complete_
    assert all(isinstance(loss, float) for loss in network.loss_curve_)


def test_the_format_of_this_release_is_kept():
    formats = {int(path.stem.rpartition("format")[2]) for path in KEPT}
    assert formats == set(range(_estimator._FORMAT + 1))


def test_a_later_format_is_refused(fitted, monkeypatch, tmp_path):
    monkeypatch.setattr(_estimator, "_FORMAT", 7)
    monkeypatch.setattr(sktok, "__version__", "3.1")
    pickled = pickle.dumps(fitted[0])
    save(fitted[0], tmp_path / "tokenizer.skops")
    monkeypatch.undo()
    message = f"saved by sktok 3.1 in format 7, and sktok {sktok.__version__} reads"
    with pytest.raises(ValueError, match=message):
        pickle.loads(pickled)
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "tokenizer.skops")


@pytest.mark.parametrize("index", range(len(TOKENIZERS)))
def test_pickles_do_not_depend_on_the_release_of_torch(index, fitted):
    """They hold numpy's arrays, and not torch's objects or their names."""
    opcodes = pickletools.genops(pickle.dumps(fitted[index]))
    words = {argument for _, argument, _ in opcodes if isinstance(argument, str)}
    assert words
    assert not [word for word in words if "torch" in word or word == "sktok.networks"]


def test_a_pickle_draws_no_random_numbers_and_leaves_threads(fitted):
    state, n_threads = torch.get_rng_state(), torch.get_num_threads()
    pickle.loads(pickle.dumps(fitted[0]))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == n_threads


def test_two_that_save_under_one_name_do_not_disturb_each_other(fitted, tmp_path):
    path = tmp_path / "tokenizer.skops"
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: save(fitted[-1], path), range(20)))
    np.testing.assert_array_equal(load(path)[-1].codes_, fitted[-1][-1].codes_)
    assert os.listdir(tmp_path) == ["tokenizer.skops"]
