"""BlockSegmenter: an exact inverse for every window length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from sktok import BinQuantizer, BlockSegmenter


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["f4", "f8"]))
def test_segment_and_join_are_exact(window_length, block_size, dtype):
    block_size = min(block_size, window_length)
    X = np.random.default_rng(0).normal(size=(3, window_length)).astype(dtype)
    segmenter = BlockSegmenter(block_size).fit(X)
    blocks = segmenter.transform(X)
    n_blocks = -(-window_length // block_size)
    assert segmenter.n_blocks_ == n_blocks
    assert blocks.shape == (3, n_blocks, block_size)
    assert blocks.dtype == X.dtype
    np.testing.assert_array_equal(blocks.reshape(3, -1)[:, :window_length], X)
    padding = blocks.reshape(3, -1)[:, window_length:]
    np.testing.assert_array_equal(padding, np.repeat(X[:, -1:], padding.shape[1], 1))
    np.testing.assert_array_equal(segmenter.inverse_transform(blocks), X)


@pytest.mark.parametrize(
    ("fit_on", "transformed", "message"),
    [
        (np.ones((2, 9)), None, "block_size=10 is larger than the window: X has 9 sam"),
        (np.ones((2, 10)), np.ones((2, 12)), "12 features.*expecting 10 features"),
        (np.ones((0, 10)), None, "0 sample"),
        (np.ones(10), None, "Reshape your data"),
        (np.ones((2, 3, 10, 10)), None, "dim 4"),
        (np.full((2, 10), np.nan), None, "NaN"),
    ],
)
def test_bad_input(fit_on, transformed, message):
    with pytest.raises(ValueError, match=message):
        BlockSegmenter(10).fit(fit_on).transform(transformed)


def test_a_block_size_set_after_fit_changes_nothing():
    X = np.ones((2, 10))
    segmenter = BlockSegmenter(5).fit(X).set_params(block_size=2)
    assert segmenter.transform(X).shape == (2, 2, 5)
    assert len(segmenter.get_feature_names_out()) == 10


def test_a_bool_is_no_number():
    with pytest.raises(ValueError, match=r"'block_size' parameter .* Got True"):
        BlockSegmenter(True).fit(np.ones((2, 10)))


def test_bad_blocks():
    segmenter = BlockSegmenter(5).fit(np.ones((2, 10)))
    with pytest.raises(ValueError, match=r"shape \(5, 2\).*shape \(2, 5\)"):
        segmenter.inverse_transform(np.ones((2, 5, 2)))
    with pytest.raises(ValueError, match="NaN"):
        segmenter.inverse_transform(np.full((2, 2, 5), np.nan))


def test_set_output_is_stored_and_validated():
    X = np.ones((2, 10))
    segmenter = BlockSegmenter(5).fit(X).set_output(transform="pandas")
    assert isinstance(segmenter.transform(X), np.ndarray)
    assert isinstance(segmenter.fit_transform(X), np.ndarray)
    pipeline = make_pipeline(BlockSegmenter(5), BinQuantizer(4))
    pipeline = clone(pipeline.set_output(transform="pandas"))
    assert list(pipeline.fit_transform(X).columns) == [f"token{i}" for i in range(10)]
    nonsense = clone(segmenter.set_output(transform="nonsense"))
    with pytest.raises(ValueError, match="got nonsense"):
        nonsense.fit_transform(X)


def test_the_fingerprint_depends_on_blocks_and_window_length_only():
    def state(block_size, window_length):
        X = np.random.default_rng().random((3, window_length))
        return BlockSegmenter(block_size).fit(X)._fingerprint_state()

    assert state(5, 10) == state(np.int64(5), 10)
    assert {type(value) for value in state(np.int64(5), 10).values()} == {int}
    assert state(5, 9) != state(5, 10) != state(2, 10)
