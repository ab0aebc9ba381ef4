"""Files of fitted tokenizers: the same tokens after loading, and no code executed."""

import io
import json
import os
import pickle
import pickletools
import sys
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skops.io.exceptions import UntrustedTypesFoundException

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
from sktok.corpus import Vocabulary
from sktok.metrics import neg_reconstruction_mse
from sktok.networks import (
    ContextualAutoencoder,
    DimReduction,
    from_plain,
    to_plain,
)
from sktok.persistence import load, save, trusted_types
from sktok.streaming import partial_fit

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
    make_tokenizer(n_tokens=(16, 8), rate_weight=0.001, **STEPS),
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


def test_skops_reads_tokenizers_with_the_trusted_types(fitted, ecg):
    for tokenizer in fitted:
        content = skops.io.dumps(tokenizer)
        loaded = skops.io.loads(content, trusted=trusted_types())
        tokens = tokenizer.transform(ecg.data[:20])
        np.testing.assert_array_equal(loaded.transform(ecg.data[:20]), tokens)
    content = skops.io.dumps(FunctionTransformer(os.mkdir))
    with pytest.raises(UntrustedTypesFoundException, match="mkdir"):
        skops.io.loads(content, trusted=trusted_types())


def frozen_step(X):
    scaler = FrozenEstimator(AmplitudeScaler().fit(X))
    return make_pipeline(scaler, BinQuantizer(8)).fit(X)


def frozen_search(X):
    grid = {"n_bins": [4, 8]}
    search = GridSearchCV(BinQuantizer(), grid, scoring=neg_reconstruction_mse, cv=2)
    return FrozenEstimator(search.fit(X))


@pytest.mark.parametrize(
    "fit",
    [
        lambda X: FrozenEstimator(BinQuantizer(8).fit(X)),
        lambda X: FrozenEstimator(make_paper_tokenizer(**STEPS).fit(X)),
        lambda X: GainShapeTokenizer(FrozenEstimator(BinQuantizer(8).fit(X))).fit(X),
        lambda X: make_pipeline(FrozenEstimator(frozen_step(X))),
        frozen_step,
        frozen_search,
    ],
    ids=["alone", "a pipeline", "for shapes", "nested", "a step", "a search"],
)
def test_a_file_keeps_what_is_frozen(fit, ecg, tmp_path):
    tokenizer = fit(ecg.data[:60])
    save(tokenizer, tmp_path / "tokenizer.skops")
    loaded = load(tmp_path / "tokenizer.skops")
    n_frozen = repr(tokenizer).count("FrozenEstimator")
    assert repr(loaded).count("FrozenEstimator") == n_frozen
    tokens = tokenizer.transform(ecg.data[60:])
    np.testing.assert_array_equal(loaded.transform(ecg.data[60:]), tokens)
    np.testing.assert_array_equal(
        loaded.inverse_transform(tokens), tokenizer.inverse_transform(tokens)
    )
    first, second = map(Vocabulary.from_tokenizer, (tokenizer, loaded))
    assert first == second


def scaled_latents(X):
    return make_pipeline(ConvAETokenizer(**STEPS), BinQuantizer(8)).fit(
        X.reshape(len(X), -1, 10)
    )


def inner_pipeline(X):
    inner = GainShapeTokenizer(make_paper_tokenizer(**STEPS), n_bins=8)
    return make_pipeline(make_pipeline(inner)).fit(X + 1000)


def in_a_stream(X):
    """The last step is not fitted before the network is complete."""
    tokenizer = make_paper_tokenizer(max_steps=1000, random_state=0)
    return partial_fit(tokenizer, X)


@pytest.mark.parametrize(
    "fit",
    [
        lambda X: make_tokenizer(**STEPS).fit(X).set_params(tokenize__device="cuda"),
        lambda X: make_tokenizer(**STEPS).fit(X).set_params(scale="passthrough"),
        lambda X: make_tokenizer(**STEPS).fit(pd.DataFrame(X).add_prefix("sample")),
        lambda X: make_tokenizer(**STEPS).fit(X).set_output(transform="pandas"),
        lambda X: ConvAETokenizer(n_candidates=6, **STEPS).fit(X.reshape(-1, 25, 10)),
        scaled_latents,
        inner_pipeline,
        in_a_stream,
    ],
    ids=[
        "cuda",
        "a step switched off",
        "column names",
        "frames",
        "n_candidates without tokens",
        "a pipeline of blocks",
        "a pipeline in a pipeline",
        "in a stream",
    ],
)
def test_a_good_file_loads_with_its_parameters(fit, ecg, tmp_path):
    tokenizer = fit(ecg.data[:60])
    save(tokenizer, tmp_path / "tokenizer.skops")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load(tmp_path / "tokenizer.skops")
    assert str(loaded.get_params()) == str(tokenizer.get_params())


def test_training_continues_from_a_file_of_a_stream(ecg, tmp_path):
    tokenizer = in_a_stream(ecg.data[:60])
    save(tokenizer, tmp_path / "tokenizer.skops")
    loaded = load(tmp_path / "tokenizer.skops")
    for either in (tokenizer, loaded):
        partial_fit(either, ecg.data[60:120])
    assert loaded[2].loss_curve_ == tokenizer[2].loss_curve_


@pytest.mark.parametrize("missing", ["pandas", "polars"])
def test_a_file_loads_without_the_package_of_its_frames(
    missing, ecg, monkeypatch, tmp_path
):
    tokenizer = BinQuantizer(8).fit(ecg.data).set_output(transform=missing)
    save(tokenizer, tmp_path / "tokenizer.skops")
    monkeypatch.setitem(sys.modules, missing, None)
    loaded = load(tmp_path / "tokenizer.skops")
    tokens = loaded.set_output(transform="default").transform(ecg.data)
    tokenizer.set_output(transform="default")
    np.testing.assert_array_equal(tokens, tokenizer.transform(ecg.data))


@pytest.mark.parametrize("tokenizer", [BinQuantizer(), make_tokenizer()])
def test_a_tokenizer_that_is_not_fitted_is_not_saved(tokenizer, tmp_path):
    with pytest.raises(NotFittedError, match="fit it before saving"):
        save(tokenizer, tmp_path / "tokenizer.skops")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "other",
    [None, "a string", [1, 2], CountVectorizer(), FrozenEstimator(CountVectorizer())],
)
def test_other_objects_are_not_saved(other, tmp_path):
    with pytest.raises(TypeError, match=r"use joblib\.dump"):
        save(other, tmp_path / "tokenizer.skops")
    assert not os.listdir(tmp_path)


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
def test_training_continues_from_a_file(network, quantizer, blocks, tmp_path):
    tokenizer = ConvAETokenizer(network, quantizer=quantizer, **STEPS)
    tokenizer.partial_fit(blocks)
    save(tokenizer, tmp_path / "tokenizer.skops")
    loaded = load(tmp_path / "tokenizer.skops")
    for either in (tokenizer, loaded):
        while not either.is_complete_:
            either.partial_fit(blocks)
    assert loaded.loss_curve_ == tokenizer.loss_curve_
    np.testing.assert_array_equal(loaded.transform(blocks), tokenizer.transform(blocks))


class CustomNetwork(DimReduction):
    """A network that a pickle can hold and a safe file cannot."""


def test_a_custom_network_needs_a_pickle(blocks, tmp_path):
    tokenizer = ConvAETokenizer(CustomNetwork, **STEPS).fit(blocks)
    path = tmp_path / "tokenizer.skops"
    save(BlockSegmenter().fit([[0.0] * 10]), path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match="such as a custom network"):
        save(tokenizer, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["tokenizer.skops"]
    loaded = pickle.loads(pickle.dumps(tokenizer))
    np.testing.assert_array_equal(loaded.transform(blocks), tokenizer.transform(blocks))


def test_a_missing_folder_is_reported(fitted, tmp_path):
    with pytest.raises(FileNotFoundError):
        save(fitted[-1], tmp_path / "none" / "tokenizer.skops")
    for path in (tmp_path / "tokenizer.skops", tmp_path):
        with pytest.raises(FileNotFoundError, match="There is no file"):
            load(path)


class Hostile:
    """Executes code when it is unpickled or its state is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def hostile_files(folder):
    """Content of files that create a folder if any of their code is executed."""
    yield "a pickle", pickle.dumps(Hostile(str(folder)))
    call = FunctionTransformer(os.mkdir, inverse_func=os.mkdir)
    yield "a function", skops.io.dumps(call)
    yield "a function in a pipeline", skops.io.dumps(make_pipeline(call))
    yield "a frozen function", skops.io.dumps(FrozenEstimator(call))
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
    """The archive with a different schema and correct checksums."""
    files = unpacked(content)
    assert old in files["schema.json"]
    files["schema.json"] = files["schema.json"].replace(old, new, 1)
    return packed(files)


def unpacked(content):
    """The files in an archive, by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(files):
    """An archive of these files with correct checksums."""
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w") as archive:
        for name, file in files.items():
            archive.writestr(name, file)
    return result.getvalue()


def test_hostile_files_are_refused(tmp_path):
    victim = tmp_path / "created by a hostile file"
    n_files = 0
    for what, content in hostile_files(victim):
        (tmp_path / "tokenizer.skops").write_bytes(content)
        with pytest.raises(ValueError, match="no code of it was executed"):
            load(tmp_path / "tokenizer.skops")
        assert not victim.exists(), what
        n_files += 1
    assert n_files == 10
    pickle.loads(pickle.dumps(Hostile(str(victim))))
    assert victim.exists()  # a pickle does execute code


def test_a_file_that_unpacks_to_more_bytes_is_refused(fitted, tmp_path):
    path = tmp_path / "tokenizer.skops"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b"[" + b" " * 10**7 + b"]")
    with pytest.raises(ValueError, match="more bytes than the file"):
        load(path)


def test_a_file_that_reads_an_array_many_times_is_refused(tmp_path):
    files = unpacked(skops.io.dumps([np.zeros(1000)]))
    schema = json.loads(files["schema.json"])
    (node,) = schema["content"]
    del node["__id__"]
    schema["content"] = [node] * 100
    files["schema.json"] = json.dumps(schema).encode()
    (tmp_path / "tokenizer.skops").write_bytes(packed(files))
    with pytest.raises(ValueError, match="reads its arrays several times"):
        load(tmp_path / "tokenizer.skops")


def test_a_network_of_more_layers_than_weights_is_refused():
    plain = to_plain(ContextualAutoencoder(4, 4).eval())
    plain["arguments"]["encoder_radii"] = range(10**9)
    with pytest.raises(ValueError, match="more layers than weights"):
        from_plain(plain)


def test_no_cache_is_saved_and_none_is_loaded(ecg, tmp_path):
    """Files in the cache are pickles, which others may have written."""
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
    frozen = FrozenEstimator(tokenizer.tokenizer_)
    path.write_bytes(skops.io.dumps(make_pipeline(frozen, GainShapeTokenizer(frozen))))
    first, last = load(path)
    assert first.memory is last.tokenizer.memory is None


def test_a_file_that_freezes_itself_is_refused(tmp_path):
    quantizer = BinQuantizer(8).fit(np.eye(4))
    files = unpacked(skops.io.dumps(FrozenEstimator(FrozenEstimator(quantizer))))
    schema = json.loads(files["schema.json"])
    inner = schema["content"]["content"]["estimator"]
    inner["__id__"] = schema["__id__"]
    files["schema.json"] = json.dumps(schema).encode()
    (tmp_path / "tokenizer.skops").write_bytes(packed(files))
    with pytest.raises(ValueError, match="is damaged"):
        load(tmp_path / "tokenizer.skops")


def test_an_array_that_claims_more_values_than_it_has_is_refused(tmp_path):
    content = skops.io.dumps(VectorQuantizer(2).fit(np.eye(4)))
    header, claimed = b"'shape': (2, 4), }", b"'shape': (2, 4000000000), }"
    files = unpacked(content)
    (name,) = [name for name, file in files.items() if header in file]
    n_spaces = len(claimed) - len(header)
    files[name] = files[name].replace(header + b" " * n_spaces, claimed)
    (tmp_path / "tokenizer.skops").write_bytes(packed(files))
    with pytest.raises(ValueError, match="claims more values"):
        load(tmp_path / "tokenizer.skops")


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_tokenizer_that_overflows_is_refused(ecg, tmp_path):
    tokenizer = GainShapeTokenizer(BinQuantizer(8)).fit(ecg.data)
    tokenizer.gains_[:] = 1e308
    tokenizer.tokenizer_.centers_ *= 1e10
    (tmp_path / "tokenizer.skops").write_bytes(skops.io.dumps(tokenizer))
    with pytest.raises(ValueError, match="decodes to values that are not finite"):
        load(tmp_path / "tokenizer.skops")


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
            loaded = load(path)  # zip files store some fields twice, or ignore them
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


def test_a_file_of_each_format_is_kept():
    formats = {int(path.stem.rpartition("format")[2]) for path in KEPT}
    assert formats == set(range(1, _estimator.FORMAT + 1))


@pytest.mark.parametrize("cls", [BlockSegmenter, BinQuantizer, VectorQuantizer])
def test_a_class_is_found_in_its_module_and_in_the_package_around_it(
    cls, monkeypatch, tmp_path
):
    """A file stays readable when a module becomes a package."""
    package = cls.__module__.rpartition(".")[0]
    monkeypatch.setattr(sys.modules[package], cls.__name__, cls, raising=False)
    content = skops.io.dumps(cls().fit(np.eye(20)))
    path, written = tmp_path / "tokenizer.skops", f'"{cls.__module__}"'.encode()
    for module in (cls.__module__, package):
        path.write_bytes(with_altered_schema(content, written, f'"{module}"'.encode()))
        assert type(load(path)) is cls


def test_a_later_format_is_refused(fitted, monkeypatch, tmp_path):
    later = _estimator.FORMAT + 1
    monkeypatch.setattr(_estimator, "FORMAT", later)
    monkeypatch.setattr(_estimator, "_READABLE_FORMATS", (later,))
    monkeypatch.setattr(sktok, "__version__", "3.1")
    pickled = pickle.dumps(fitted[0])
    save(fitted[0], tmp_path / "tokenizer.skops")
    monkeypatch.undo()
    message = f"saved by sktok 3.1 in format {later}, and sktok {sktok.__version__}"
    with pytest.raises(ValueError, match=message):
        pickle.loads(pickled)
    with pytest.raises(ValueError, match=message) as refused:
        load(tmp_path / "tokenizer.skops")
    assert "damaged" not in str(refused.value)


@pytest.mark.parametrize("index", range(len(TOKENIZERS)))
def test_pickles_do_not_depend_on_the_release_of_torch(index, fitted):
    """They hold arrays of numpy and no objects of torch."""
    opcodes = pickletools.genops(pickle.dumps(fitted[index]))
    words = {argument for _, argument, _ in opcodes if isinstance(argument, str)}
    assert words
    assert not [word for word in words if "torch" in word or word == "sktok.networks"]


def test_a_pickle_changes_no_random_state_and_no_threads(fitted):
    state, n_threads = torch.get_rng_state(), torch.get_num_threads()
    pickle.loads(pickle.dumps(fitted[0]))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == n_threads


def test_two_threads_can_save_under_one_name(fitted, tmp_path):
    path = tmp_path / "tokenizer.skops"
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: save(fitted[-1], path), range(20)))
    np.testing.assert_array_equal(load(path)[-1].codes_, fitted[-1][-1].codes_)
    assert os.listdir(tmp_path) == ["tokenizer.skops"]
