"""Data frames: tokens keep the index of the windows they come from."""

import copy
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import KFold
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    ConvAETokenizer,
    GainShapeTokenizer,
    Resampler,
    VectorQuantizer,
)
from sktok._frames import IndexedArray, with_index
from sktok.metrics import describe, neg_prd, prd, reconstruct
from sktok.streaming import iter_transform

STEPS = {"max_steps": 2, "random_state": 0}
TOKENIZERS = {
    "bins": make_pipeline(BlockSegmenter(10), BinQuantizer(8)),
    "codes": make_pipeline(BlockSegmenter(10), VectorQuantizer(8, random_state=0)),
    "scaled blocks": make_pipeline(
        BlockSegmenter(10), AmplitudeScaler(), BinQuantizer(8)
    ),
    "resampled": make_pipeline(Resampler(360, 250), BlockSegmenter(10), BinQuantizer()),
    "latents": make_pipeline(
        BlockSegmenter(10), ConvAETokenizer(**STEPS), BinQuantizer(8)
    ),
    "tokens": make_pipeline(
        BlockSegmenter(10), ConvAETokenizer(**STEPS, quantizer=BinQuantizer(8))
    ),
    "nested": make_pipeline(make_pipeline(BlockSegmenter(10)), BinQuantizer(8)),
    "gain and shape": GainShapeTokenizer(
        make_pipeline(BlockSegmenter(10), BinQuantizer(8))
    ),
}
PARTS = {
    "shuffle": lambda frame: frame.sample(frac=1, random_state=0),
    "slice": lambda frame: frame[20:50],
    "names": lambda frame: frame.set_axis([f"w{i}" for i in range(len(frame), 0, -1)]),
    "repeated": lambda frame: frame.set_axis(np.arange(len(frame)) // 2),
    "two levels": lambda frame: frame.set_axis(
        pd.MultiIndex.from_product([["a", "b"], range(30)], names=["record", "window"])
    ),
}
tokenizers = pytest.mark.parametrize(
    "tokenizer", TOKENIZERS.values(), ids=TOKENIZERS.keys()
)
parts = pytest.mark.parametrize("part", PARTS.values(), ids=PARTS.keys())


@pytest.fixture(scope="module")
def frame(ecg):
    return pd.DataFrame(ecg.data[:60, :50], columns=ecg.feature_names[:50])


def framed(tokenizer):
    return clone(tokenizer).set_output(transform="pandas")


@tokenizers
@parts
def test_tokens_have_the_index_of_the_windows(frame, tokenizer, part):
    windows, tokenizer = part(frame), framed(tokenizer)
    tokens = tokenizer.fit_transform(windows)
    pd.testing.assert_index_equal(tokens.index, windows.index, exact=True)
    pd.testing.assert_frame_equal(tokenizer.transform(windows), tokens)
    expected = clone(tokenizer).set_output(transform="default").fit_transform(windows)
    assert type(expected) is np.ndarray
    np.testing.assert_array_equal(tokens, expected)


@parts
@pytest.mark.parametrize("name", ["codes", "latents"])
def test_tokens_are_joined_to_features_of_their_own_window(frame, name, part):
    windows, tokenizer = part(frame), framed(TOKENIZERS[name])
    first = windows.columns[:1]
    union = FeatureUnion([("tokens", tokenizer), ("samples", StandardScaler())])
    columns = ColumnTransformer(
        [("tokens", tokenizer, windows.columns), ("samples", "passthrough", first)]
    )
    tokens = clone(tokenizer).set_output(transform="default").fit_transform(windows)
    samples = StandardScaler().fit_transform(windows)
    for joined, others in ((union, samples), (columns, windows[first])):
        features = framed(joined).fit_transform(windows)
        pd.testing.assert_index_equal(features.index, windows.index, exact=True)
        np.testing.assert_array_equal(features, np.column_stack([tokens, others]))


def test_splits_of_a_cross_validation_keep_their_rows(frame):
    union = FeatureUnion(
        [("tokens", clone(TOKENIZERS["latents"])), ("samples", StandardScaler())]
    ).set_output(transform="pandas")
    for train, test in KFold(3, shuffle=True, random_state=0).split(frame):
        union.fit(frame.iloc[train])
        features = union.transform(frame.iloc[test])
        pd.testing.assert_index_equal(features.index, frame.index[test])
        assert not features.isna().any(axis=None)


def test_a_cache_does_not_return_the_index_of_another_frame(frame, tmp_path):
    tokenizer = framed(TOKENIZERS["latents"]).set_params(memory=str(tmp_path))
    names = [f"w{i}" for i in range(60)]
    for windows in (frame, frame.set_axis(names), frame, frame.set_axis(names[::-1])):
        tokens = tokenizer.fit_transform(windows)
        pd.testing.assert_index_equal(tokens.index, windows.index, exact=True)
        assert tokenizer.fit_transform(windows.to_numpy()).index.equals(frame.index)


def test_windows_of_several_leads_keep_the_index(ecg):
    index = pd.Index([f"w{i}" for i in range(20)])
    leads = with_index(ecg.data[:40].reshape(20, 2, 250), index)
    for tokenizer in TOKENIZERS.values():
        tokens = framed(tokenizer).fit_transform(leads)
        pd.testing.assert_index_equal(tokens.index, index)


def blocks_of(frame):
    return framed(BlockSegmenter(10)).fit_transform(frame)


def test_blocks_are_arrays_with_an_index(frame):
    blocks = blocks_of(frame)
    assert isinstance(blocks, IndexedArray)
    assert blocks.dtype == np.float64
    assert blocks.strides == np.asarray(blocks).strides
    assert blocks.index is frame.index
    # numpy cannot say whether rows are the same, so only they themselves have it.
    for other in (blocks[::-1], blocks[:5], blocks * 2, blocks.T, np.copy(blocks)):
        assert getattr(other, "index", None) is None
    assert type(np.asarray(blocks)) is np.ndarray


@pytest.mark.parametrize(
    "copy_of",
    [
        lambda array: array.copy(),
        copy.copy,
        copy.deepcopy,
        lambda array: pickle.loads(pickle.dumps(array)),
    ],
    ids=["method", "copy", "deepcopy", "pickle"],
)
def test_copies_of_blocks_keep_the_index(frame, copy_of):
    blocks = blocks_of(frame).copy()
    copied = copy_of(blocks)
    pd.testing.assert_index_equal(copied.index, frame.index)
    np.testing.assert_array_equal(copied, blocks)
    assert not np.shares_memory(copied, blocks)
    assert joblib.hash(copied) == joblib.hash(blocks)
    assert joblib.hash(with_index(blocks, frame.index[::-1])) != joblib.hash(blocks)


@pytest.mark.parametrize("container", ["default", "polars"])
def test_blocks_are_plain_arrays_for_other_containers(frame, container):
    segmenter = BlockSegmenter(10).set_output(transform=container)
    assert type(segmenter.fit_transform(frame)) is np.ndarray


def test_measures_and_streams_take_rows_by_their_position(frame):
    windows = PARTS["shuffle"](frame)
    X = windows.to_numpy()
    tokenizer = framed(TOKENIZERS["codes"]).fit(windows)
    plain = clone(tokenizer).set_output(transform="default").fit(X)
    groups = np.arange(60) // 20
    labels = pd.Series(groups, index=frame.index)  # in another order than the windows
    restored = reconstruct(tokenizer, windows)
    np.testing.assert_array_equal(restored, reconstruct(plain, X))
    np.testing.assert_array_equal(
        prd(windows, restored, centered=True, groups=labels),
        prd(X, restored, centered=True, groups=groups),
    )
    expected = neg_prd(plain, X, groups=groups)
    assert neg_prd(tokenizer, windows, groups=labels) == expected
    expected = str(describe(plain, X, groups=groups))
    assert str(describe(tokenizer, windows, groups=labels)) == expected
    seconds = windows.set_axis(np.arange(60) * 2.0)  # pandas 2 slices them by label
    for stream in (windows, [windows[:7], windows[7:]], seconds):
        tokens = np.concatenate(list(iter_transform(tokenizer, stream)))
        np.testing.assert_array_equal(tokens, plain.transform(X))
