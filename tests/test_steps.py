"""Access to the estimators of a fitted tokenizer."""

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    GainShapeTokenizer,
    Resampler,
    VectorQuantizer,
    with_window_length,
)
from sktok._steps import clip_rates, last_step, steps_of, unwrap, vocabulary_size, walk
from sktok.corpus import Vocabulary
from sktok.metrics import describe, neg_reconstruction_mse


@pytest.fixture(scope="module")
def nested(ecg):
    """A search over a Pipeline that holds a GainShapeTokenizer of a Pipeline."""
    quantizer = BinQuantizer(8, limits=(0, 0.5))
    shapes = make_pipeline(BlockSegmenter(10), "passthrough", quantizer)
    pipeline = make_pipeline(AmplitudeScaler(), GainShapeTokenizer(shapes), None)
    grid = {"gainshapetokenizer__n_bins": [16]}
    search = GridSearchCV(pipeline, grid, scoring=neg_reconstruction_mse, cv=2)
    return search.fit(ecg.data[:20])


def names(estimators):
    return [type(estimator).__name__ for estimator in estimators]


def test_steps_are_the_active_steps_of_a_pipeline(nested):
    assert names(steps_of(nested)) == ["AmplitudeScaler", "GainShapeTokenizer"]
    scaler = AmplitudeScaler()
    assert steps_of(scaler) == [scaler]
    assert unwrap(nested) is nested.best_estimator_
    assert unwrap(scaler) is scaler


def test_walk_goes_from_the_outside_in(nested):
    assert names(walk(nested)) == [
        "Pipeline",
        "AmplitudeScaler",
        "GainShapeTokenizer",
        "Pipeline",
        "BlockSegmenter",
        "BinQuantizer",
    ]


def test_the_last_step_makes_the_output(nested):
    gain_shape = nested.best_estimator_[1]
    assert last_step(nested) is last_step(make_pipeline(nested)) is gain_shape
    assert vocabulary_size(nested) == 2 * 16 + 8
    idle = make_pipeline("passthrough")
    assert last_step(idle) is idle
    with pytest.raises(ValueError, match="AmplitudeScaler has no n_tokens_"):
        vocabulary_size(make_pipeline(AmplitudeScaler(), "passthrough"))


def test_clip_rates_are_those_of_the_values_that_reach_a_step(nested, ecg):
    X = ecg.data[:20]
    assert clip_rates(BlockSegmenter().fit(X), X) == []
    ((rate, advice),) = clip_rates(nested, X)
    gain_shape = nested.best_estimator_[1]
    offset, gain = np.split(nested.transform(X), [1, 2], axis=1)[:2]
    scaled = nested.best_estimator_[0].transform(X)
    shapes = (scaled - gain_shape.offsets_[offset]) / gain_shape.gains_[gain - 16]
    assert rate == np.mean(shapes > 0.5)
    assert "BinQuantizer" in advice


def frozen_pipeline(steps):
    return FrozenEstimator(steps)


def frozen_steps(steps):
    return make_pipeline(*map(FrozenEstimator, steps))


def frozen_twice(steps):
    return FrozenEstimator(FrozenEstimator(frozen_steps(steps)))


@pytest.mark.parametrize("freeze", [frozen_pipeline, frozen_steps, frozen_twice])
def test_a_frozen_tokenizer_is_the_tokenizer(freeze, ecg):
    X = ecg.data
    tokenizer = make_pipeline(
        Resampler(360, 360, unit="mV", lead="MLII"),
        AmplitudeScaler(),
        BlockSegmenter(25),
        VectorQuantizer(8, random_state=0),
    ).fit(X)
    frozen = freeze(tokenizer)
    kinds = [names(walk(each)) for each in (tokenizer, frozen)]
    assert [name for name in kinds[1] if name != "Pipeline"] == kinds[0][1:]
    vocabulary = Vocabulary.from_tokenizer(frozen)
    assert vocabulary == Vocabulary.from_tokenizer(tokenizer)
    assert describe(frozen, X[:50], lead="MLII") == describe(tokenizer, X[:50])
    longer = with_window_length(frozen, 500)
    assert type(longer) is type(frozen)
    assert longer.transform(X[:50].reshape(-1, 500)).shape == (25, 20)
    assert frozen.transform(X[:1]).shape == (1, 10)


@pytest.mark.parametrize(
    ("freeze", "remedy"),
    [
        (frozen_pipeline, r"by estimator.set_params\(resampler__input_fs=500\)"),
        (frozen_steps, "or set input_fs=500 of the Resampler in its FrozenEstimator"),
    ],
)
def test_the_rate_of_a_frozen_resampler_can_be_set(freeze, remedy, ecg):
    tokenizer = make_pipeline(Resampler(360, 360), BinQuantizer(8)).fit(ecg.data)
    with pytest.raises(ValueError, match=remedy):
        describe(freeze(tokenizer), ecg.data, fs=500)
