"""Signals larger than memory: trained batch by batch, read from disk in slices."""

import pickle

import h5py
import numpy as np
import pytest
import torch
import zarr
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler

from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    ConvAETokenizer,
    GainShapeTokenizer,
    ResidualVectorQuantizer,
    VectorQuantizer,
    _disk,
    make_paper_tokenizer,
    make_tokenizer,
)
from sktok.metrics import neg_reconstruction_mse
from sktok.streaming import iter_inverse_transform, iter_transform, partial_fit

QUANTIZERS = [
    None,
    VectorQuantizer(16),
    BinQuantizer(8),
    BinQuantizer((4, 4), limits=(-2, 2)),
    VectorQuantizer(16, rate_weight=0.01),
    ResidualVectorQuantizer((16, 4), rate_weight=0.01),
]


@pytest.fixture(scope="module")
def fitted(ecg):
    return make_tokenizer(max_steps=10, random_state=0).fit(ecg.data)


@pytest.fixture
def small_slices(monkeypatch):
    """Arrays on disk are read in slices of seven windows of 250 samples."""
    monkeypatch.setattr(_disk, "_SAMPLES_AT_ONCE", 7 * 250)


def on_disk(kind, array, folder):
    if kind == "memmap":
        np.save(folder / "array.npy", array)
        return np.load(folder / "array.npy", mmap_mode="r")
    if kind == "zarr":
        stored = zarr.create_array(folder / "array.zarr", data=array, chunks=(13, 25))
        return zarr.open_array(stored.store, mode="r")
    with h5py.File(folder / "array.h5", "w") as file:
        file["array"] = array
    return h5py.File(folder / "array.h5")["array"]


@pytest.mark.parametrize("kind", ["memmap", "zarr", "h5py"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_on_disk_give_equal_tokens(
    kind, dtype, fitted, ecg, tmp_path, small_slices
):
    X = ecg.data[:60].astype(dtype)
    expected = fitted.transform(X)
    stored = on_disk(kind, X, tmp_path)
    np.testing.assert_array_equal(fitted.transform(stored), expected)
    np.testing.assert_array_equal(
        np.concatenate(list(iter_transform(fitted, stored))), expected
    )


class Archive:
    """An array that returns only small slices of its rows."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        few = self.array[rows]
        assert few.size <= _disk._SAMPLES_AT_ONCE
        return few


@pytest.mark.parametrize(
    "estimator",
    [
        AmplitudeScaler(),
        BlockSegmenter(7),
        BinQuantizer(16),
        VectorQuantizer(8, random_state=0),
        GainShapeTokenizer(BinQuantizer(8)),
        ConvAETokenizer(max_steps=2, random_state=0),
        ConvAETokenizer(quantizer=BinQuantizer(4), max_steps=2, random_state=0),
    ],
    ids=repr,
)
def test_every_step_reads_any_array_that_supports_slicing(estimator, ecg, small_slices):
    X = ecg.data[:30]
    estimator = clone(estimator).fit(X)
    expected = estimator.transform(X)
    transformed = estimator.transform(Archive(X))
    decoded = estimator.inverse_transform(Archive(expected))
    np.testing.assert_array_equal(transformed, expected, strict=True)
    np.testing.assert_array_equal(
        decoded, estimator.inverse_transform(expected), strict=True
    )


def test_bad_rows_on_disk_are_refused(fitted, ecg, small_slices):
    X = ecg.data[:30].copy()
    X[20, 100] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        fitted.transform(Archive(X))
    with pytest.raises(ValueError, match="249 features"):
        fitted.transform(Archive(X[:, 1:]))
    with pytest.raises(ValueError, match="0 sample"):
        fitted.transform(np.empty((0, 250)))


@pytest.mark.parametrize("sizes", [[0], [1], [60], [1, 0, 59], [20, 20, 20]])
def test_a_stream_gives_the_tokens_of_one_call(fitted, ecg, sizes):
    X = ecg.data[:60]
    records = np.split(X, np.cumsum(sizes))[: len(sizes)]
    tokens = list(iter_transform(fitted, (record for record in records)))
    assert [len(of_record) for of_record in tokens] == sizes
    expected = fitted.transform(X)[: sum(sizes)]
    np.testing.assert_array_equal(np.concatenate(tokens), expected)
    decoded = np.concatenate(list(iter_inverse_transform(fitted, tokens)))
    assert decoded.shape == (sum(sizes), 250)
    if sizes != [0]:
        np.testing.assert_array_equal(decoded, fitted.inverse_transform(expected))


def test_a_stream_is_not_read_ahead(fitted, ecg):
    def endless():
        while True:
            yield ecg.data[:2]

    tokens = iter_transform(fitted, endless())
    assert next(tokens).shape == next(tokens).shape == (2, 25)


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=repr)
def test_an_interrupted_stream_continues(quantizer, blocks, quick):
    """Pickling after each batch does not change the training."""
    params = {"quantizer": quantizer, "max_steps": 7, "batch_size": 15}
    if isinstance(quantizer, BinQuantizer) and isinstance(quantizer.n_bins, tuple):
        params["latent_dim"] = 2
    kept, pickled = quick(**params), quick(**params)
    for batch in (blocks[:30], blocks[30:], blocks):
        kept.partial_fit(batch)
        pickled = pickle.loads(pickle.dumps(pickled.partial_fit(batch)))
    assert kept.n_steps_ == pickled.n_steps_ == 7
    assert kept.loss_curve_ == pickled.loss_curve_
    tokens = kept.transform(blocks)
    np.testing.assert_array_equal(pickled.transform(blocks), tokens)


def test_batches_of_a_stream_are_the_steps_of_a_schedule(blocks, quick):
    tokenizer = quick(quantizer=VectorQuantizer(8), max_steps=7, batch_size=15)
    n_steps = [tokenizer.partial_fit(blocks).n_steps_ for _ in range(3)]
    assert n_steps == [4, 7, 7]
    assert (
        quick(max_steps="auto").partial_fit(blocks)._unfinished["settings"]["max_steps"]
        == 12_000
    )


@pytest.mark.parametrize("network", ["contextual", "dimreduction"])
def test_one_batch_of_all_windows_is_an_epoch_of_fit(network, blocks, quick):
    params = {"network": network, "max_steps": 4, "batch_size": 15}
    streamed = quick(**params).partial_fit(blocks)
    np.testing.assert_array_equal(
        streamed.transform(blocks), quick(**params).fit(blocks).transform(blocks)
    )


@pytest.mark.parametrize("quantizer", QUANTIZERS[1:3], ids=repr)
def test_a_complete_tokenizer_never_changes(quantizer, blocks, quick):
    for tokenizer in (
        quick(quantizer=quantizer, max_steps=3).fit(blocks),
        quick(quantizer=quantizer, max_steps=1).partial_fit(blocks),
    ):
        assert tokenizer.is_complete_
        before = pickle.dumps(tokenizer)
        assert pickle.dumps(tokenizer.partial_fit(blocks + 1.0)) == before
        with pytest.raises(ValueError, match="rows of shape"):
            tokenizer.partial_fit(blocks[:, :20])


@pytest.mark.parametrize(
    "estimator",
    [
        AmplitudeScaler(),
        BinQuantizer(16, strategy="kmeans", centers="mean"),
        BinQuantizer(16, limits=(0, 1)),
        VectorQuantizer(8, random_state=0),
    ],
    ids=repr,
)
def test_later_batches_do_not_change_the_estimator(estimator, blocks):
    first, later = blocks[:20], 3 * blocks[20:] - 1
    streamed = clone(estimator).partial_fit(first)
    before = pickle.dumps(streamed)
    assert pickle.dumps(clone(estimator).fit(first)) == before
    assert pickle.dumps(streamed.partial_fit(later)) == before
    with pytest.raises(ValueError, match="NaN"):
        streamed.partial_fit(np.full_like(later, np.nan))
    with pytest.raises(ValueError, match="rows of shape"):
        streamed.partial_fit(later[:, :20])


def test_a_failed_batch_does_not_change_the_tokenizer(blocks, quick):
    tokenizer = quick(quantizer=VectorQuantizer(8), max_steps=9)
    with pytest.raises(ValueError, match="NaN"):
        tokenizer.partial_fit(np.full_like(blocks, np.nan))
    assert not hasattr(tokenizer, "network_")
    tokenizer.partial_fit(blocks)
    before = pickle.dumps(tokenizer)
    with pytest.raises(ValueError, match="diverged"):
        tokenizer.partial_fit(blocks * 1e30)
    assert pickle.dumps(tokenizer) == before
    tokenizer.partial_fit(blocks)
    assert tokenizer.n_steps_ == 2


def test_a_stream_refuses_early_stopping(blocks, quick):
    tokenizer = quick(early_stopping=True)
    assert not hasattr(tokenizer, "partial_fit")
    with pytest.raises(AttributeError) as raised:
        partial_fit(tokenizer, blocks)
    assert "early_stopping=False" in str(raised.value.__cause__)


def test_a_pipeline_learns_step_by_step(ecg):
    tokenizer = make_paper_tokenizer(
        block_size=25, limits="minmax", max_steps=4, random_state=0
    )
    tokenizer.set_params(tokenize__batch_size=36)
    partial_fit(tokenizer, ecg.data[:72])
    assert not tokenizer["tokenize"].is_complete_
    assert not hasattr(tokenizer["quantize"], "edges_")  # latents still move
    for batch in (ecg.data[72:144], ecg.data[144:]):
        partial_fit(tokenizer, batch)
    assert tokenizer["tokenize"].is_complete_
    assert tokenizer["scale"].data_min_ == ecg.data[:72].min()
    latents = tokenizer[:-1].transform(ecg.data[72:144])
    assert tokenizer["quantize"].edges_[0] == latents.min()
    assert tokenizer.transform(ecg.data).shape == (432, 10)


def test_steps_that_are_passed_through_or_have_no_partial_fit(ecg):
    steps = FunctionTransformer(), "passthrough", GainShapeTokenizer(BinQuantizer(8))
    tokenizer = make_pipeline(*steps)
    for batch in (ecg.data[:50], ecg.data[50:]):
        assert partial_fit(tokenizer, batch) is tokenizer
    expected = clone(tokenizer).fit(ecg.data[:50]).transform(ecg.data[:50])
    np.testing.assert_array_equal(tokenizer.transform(ecg.data[:50]), expected)
    quantizer = partial_fit(BinQuantizer(8), ecg.data)
    assert quantizer.n_tokens_ == 8


def test_stateless_steps_learn_their_names(ecg):
    """They count as fitted before `fit`, and their names are needed afterwards."""
    tokenizer = partial_fit(make_pipeline(Normalizer(), BinQuantizer(8)), ecg.data)
    (tokens,) = iter_transform(tokenizer, [ecg.data[:0]])
    assert tokens.shape == (0, 250)
    assert tokenizer[0].n_features_in_ == 250


def test_what_is_frozen_learns_nothing_from_a_stream(blocks, quick):
    network = quick(max_steps=100).partial_fit(blocks)  # which would learn on
    steps = make_pipeline(FrozenEstimator(AmplitudeScaler().fit(blocks)), network)
    for tokenizer in (FrozenEstimator(steps), FrozenEstimator(network)):
        before = pickle.dumps(tokenizer)
        assert partial_fit(tokenizer, blocks) is tokenizer
        assert pickle.dumps(tokenizer) == before
    n_steps = network.n_steps_
    partial_fit(steps, 1000 * blocks)
    assert network.n_steps_ > n_steps
    assert steps[0].data_min_ == blocks.min()


def test_a_search_is_fitted_to_the_first_batch(ecg):
    search = GridSearchCV(
        BinQuantizer(), {"n_bins": [4, 8]}, scoring=neg_reconstruction_mse, cv=2
    )
    expected = clone(search).fit(ecg.data[:50]).transform(ecg.data)
    for batch in (ecg.data[:50], 3 * ecg.data[50:]):
        assert partial_fit(search, batch) is search
        np.testing.assert_array_equal(search.transform(ecg.data), expected)


class Partly(torch.nn.Module):
    """A network with a weight that is not used, and one that is not trained."""

    def __init__(self, block_size, latent_dim):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(3, 3))
        self.down = torch.nn.Linear(block_size, latent_dim)
        self.up = torch.nn.Linear(latent_dim, block_size)
        self.down.bias.requires_grad_(False)

    def encode(self, x):
        return self.down(x)

    def decode(self, z):
        return self.up(z)


def test_weights_without_a_gradient_do_not_affect_the_others(blocks, quick):
    params = {"network": Partly, "max_steps": 8, "batch_size": 15}
    in_parts, whole = quick(**params), quick(**params, warm_start=True)
    in_parts.partial_fit(blocks).partial_fit(blocks)
    losses = in_parts.loss_curve_
    assert whole.fit(blocks).loss_curve_[:4] == losses[:4]  # one epoch
    assert losses[-1] < losses[0]


def test_an_inconsistent_state_of_training_is_refused(blocks, quick):
    tokenizer = quick(max_steps=8).partial_fit(blocks)
    tokenizer._unfinished["moments"][0]["exp_avg"] = np.zeros(1, np.float32)
    with pytest.raises(ValueError, match="Training cannot continue"):
        tokenizer.partial_fit(blocks)


def test_steps_of_scikit_learn_are_fitted_once(ecg):
    tokenizer = ConvAETokenizer(
        quantizer=VectorQuantizer(16), max_steps=1, random_state=0
    )
    pipeline = make_pipeline(StandardScaler(), BlockSegmenter(10), tokenizer)
    tokens = partial_fit(pipeline, ecg.data[:50]).transform(ecg.data[:50])
    partial_fit(pipeline, 3 * ecg.data + 1)
    np.testing.assert_array_equal(pipeline.transform(ecg.data[:50]), tokens)


def test_a_failed_first_batch_may_be_followed_by_another(ecg):
    pipeline = make_pipeline(BlockSegmenter(100), VectorQuantizer(4, random_state=0))
    with pytest.raises(ValueError, match="larger than the window"):
        partial_fit(pipeline, ecg.data[:, :50])
    assert partial_fit(pipeline, ecg.data).transform(ecg.data).shape == (432, 3)


def test_streams_of_frames_and_of_steps_without_names(fitted, ecg, tmp_path):
    framed = clone(fitted).set_output(transform="pandas").fit(ecg.data[:60])
    expected = framed.transform(ecg.data[:60]).to_numpy()
    for source in ([ecg.data[:60]], [on_disk("memmap", ecg.data[:60], tmp_path)]):
        (tokens,) = iter_transform(framed, source)
        np.testing.assert_array_equal(tokens, expected)
    nameless = make_pipeline(FunctionTransformer(np.tanh), BinQuantizer(8))
    nameless.fit(ecg.data)
    (tokens,) = iter_transform(nameless, [ecg.data])
    assert tokens.shape == (432, 250)


def test_one_pass_is_as_accurate_as_fit(ecg):
    """With the same windows and number of steps, the error grows by at most 10 %."""
    rng = np.random.default_rng(0)
    windows = rng.permutation(np.tile(ecg.data[:345], (40, 1)))
    fitted = make_tokenizer(25, 64, max_steps=80, random_state=0)
    streamed = clone(fitted)
    for batch in np.array_split(windows, 10):
        partial_fit(streamed, batch)
    assert streamed["tokenize"].is_complete_
    fitted.fit(windows)
    scores = [neg_reconstruction_mse(t, ecg.data[345:]) for t in (streamed, fitted)]
    assert scores[0] > 1.1 * scores[1]
