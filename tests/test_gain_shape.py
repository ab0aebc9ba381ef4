"""GainShapeTokenizer: tokens for the offset, gain and shape of a window."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    ConvAETokenizer,
    GainShapeTokenizer,
    VectorQuantizer,
    make_tokenizer,
)
from sktok._gain_shape import GainShapeBins
from sktok._steps import walk
from sktok.metrics import neg_reconstruction_mse, reconstruct


def codebook(n_codes=64):
    return make_pipeline(BlockSegmenter(10), VectorQuantizer(n_codes, random_state=0))


class Recorder(BinQuantizer):
    """Stores the groups that are passed to `fit`."""

    __metadata_request__fit = {"groups": True}

    def fit(self, X, y=None, *, groups=None):
        super().fit(X)
        self.groups_ = groups
        return self


@pytest.fixture(scope="module")
def fitted(ecg):
    return GainShapeTokenizer(codebook()).fit(ecg.data[:200])


@pytest.fixture(scope="module", params=["range", "l4"])
def fitted_of_norm(request, ecg):
    return GainShapeTokenizer(codebook(), norm=request.param).fit(ecg.data[:200])


@given(
    arrays(
        float,
        st.sampled_from([(5, 1, 4), (3, 2, 4)]),
        elements=st.floats(-1e6, 1e6),
    ),
    st.integers(2, 300),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from(["range", "l4"]),
)
def test_shapes_are_normalised_and_restore_the_window(windows, n_bins, dtype, norm):
    windows = windows.astype(dtype)
    bins = GainShapeBins.learned(windows, n_bins, norm)
    offset, gain, shapes = bins.split(windows)
    assert shapes.dtype == dtype
    if norm == "range":
        assert shapes.min() >= 0
        assert shapes.max() <= 1
    else:
        # The gain is that of the nearest bin, on a logarithmic scale; that of flat
        # windows is the smallest.
        step = np.sqrt(bins.gains[1] / bins.gains[0])
        gains = bins.gains[gain]
        norms = np.mean(shapes.astype(float) ** 4, axis=2) ** 0.25
        norms *= bins.scales_of(gain) / gains
        assert (norms <= step * (1 + 1e-5)).all()
        assert (norms >= (1 - 1e-5) / step)[gain > 0].all()
    scales = bins.scales_of(gain)[..., None]
    decoded = bins.offsets[offset][..., None] + scales * shapes
    largest = np.abs(scales * shapes).max(axis=2)
    magnitude = largest + scales[..., 0] + np.abs(bins.offsets[offset])
    rounding = 4 * np.finfo(dtype).eps * magnitude[..., None]
    assert (np.abs(decoded - windows) <= rounding).all()


def test_the_l4_norm_is_that_of_the_deviations_from_the_nearest_offset(ecg):
    bins = GainShapeBins.learned(ecg.data[:, np.newaxis], 64, "l4")
    offset, gain, _ = bins.split(ecg.data[:, np.newaxis])
    medians = np.median(ecg.data, axis=1)
    nearest = np.abs(np.subtract.outer(medians, bins.offsets)).argmin(axis=1)
    np.testing.assert_array_equal(offset[:, 0], nearest)
    norms = np.linalg.norm(ecg.data - bins.offsets[nearest, None], ord=4, axis=1)
    norms /= ecg.data.shape[1] ** 0.25
    nearest = np.abs(np.log(np.divide.outer(norms, bins.gains))).argmin(axis=1)
    np.testing.assert_array_equal(gain[:, 0], nearest)


@pytest.mark.parametrize("norm", ["range", "l4"])
def test_scales_are_between_the_gain_of_the_lead_and_of_the_window(norm):
    bins = GainShapeBins(norm, np.array([0.0]), np.geomspace(0.01, 100, 20))
    gain = np.random.default_rng(0).integers(20, size=(50, 3))
    gains, scales = bins.gains[gain], bins.scales_of(gain)
    of_window = gains.max(axis=1, keepdims=True)
    if norm == "l4":
        of_window = np.mean(gains**4, axis=1, keepdims=True) ** 0.25
    np.testing.assert_allclose(scales**2, gains * of_window)
    np.testing.assert_array_equal(bins.scales_of(gain[:, :1]), gains[:, :1])


def test_bins_do_not_depend_on_the_order_in_memory(fitted_of_norm, ecg):
    tokens = fitted_of_norm.transform(ecg.data)
    in_columns = fitted_of_norm.transform(np.asfortranarray(ecg.data))
    np.testing.assert_array_equal(in_columns, tokens)


def test_token_ranges_are_contiguous(fitted, ecg):
    tokens = fitted.transform(ecg.data)
    assert tokens.shape == (432, 27)
    assert list(fitted.token_ranges_) == ["offset", "gain", "shape"]
    assert [*range(fitted.n_tokens_)] == [
        token for part in fitted.token_ranges_.values() for token in part
    ]
    assert fitted.n_tokens_ == 256 + 256 + 64
    parts = np.split(tokens, [1, 2], axis=1)
    for part, expected in zip(parts, fitted.token_ranges_.values(), strict=True):
        assert np.isin(part, expected).all()
    assert list(fitted.get_feature_names_out()[:3]) == ["offset", "gain", "shape0"]


@pytest.mark.parametrize("gain", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("offset", [-2.0, 0.0, 2.0])
def test_the_error_is_proportional_to_the_gain(fitted_of_norm, ecg, gain, offset):
    X, fitted = ecg.data[200:], fitted_of_norm
    changed = gain * X + offset

    def relative_rmse(tokenizer, X):
        rmse = np.sqrt(np.mean((reconstruct(tokenizer, X) - X) ** 2, axis=1))
        return np.median(rmse / np.ptp(X, axis=1))

    unchanged = relative_rmse(fitted, X)
    assert relative_rmse(fitted, changed) <= 1.25 * unchanged
    if (gain, offset) != (1.0, 0.0):
        one_map = make_pipeline(AmplitudeScaler(), *codebook()).fit(ecg.data[:200])
        assert relative_rmse(one_map, changed) > 2 * unchanged


def test_flat_windows_are_restored_within_one_bin(fitted_of_norm, ecg):
    fitted = fitted_of_norm
    levels = np.array([-3.0, -0.3, 0.0, 0.5, 4.0])
    X = np.repeat(levels[:, np.newaxis], 250, axis=1)
    steps = np.diff(fitted.offsets_)[np.searchsorted(fitted.offsets_, levels) - 1]
    error = np.abs(reconstruct(fitted, X) - X).max(axis=1)
    assert (error <= steps).all()
    only_flat = GainShapeTokenizer(codebook(2), norm=fitted.norm).fit(X)
    error = np.abs(reconstruct(only_flat, X) - X).max()
    assert error <= np.diff(only_flat.offsets_).max()


def test_windows_beyond_the_bins_are_refused(fitted_of_norm, ecg):
    fitted = fitted_of_norm
    for X in (ecg.data * 1e4, ecg.data - 1e4, ecg.data + 1e5):
        with pytest.raises(ValueError, match="windows are beyond the bins"):
            fitted.transform(X)


def test_tokens_in_a_wrong_column_are_refused(fitted, ecg):
    tokens = fitted.transform(ecg.data[:5])
    with pytest.raises(ValueError, match=r"offset tokens run from.*expected 0 to 255"):
        fitted.inverse_transform(tokens[:, [1, 0, *range(2, 27)]])
    with pytest.raises(ValueError, match="27"):
        fitted.inverse_transform(tokens[:, 2:])
    with pytest.raises(TypeError, match="integers"):
        fitted.inverse_transform(tokens.astype(float))


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (make_pipeline(BlockSegmenter(10), ConvAETokenizer(max_steps=1)), "quantiser"),
        (AmplitudeScaler(), "integer tokens"),
    ],
)
def test_a_tokenizer_without_quantiser_is_refused(ecg, tokenizer, message):
    estimator = GainShapeTokenizer(tokenizer)
    with pytest.raises(ValueError, match=message):
        estimator.fit(ecg.data[:20])
    with pytest.raises(NotFittedError):
        estimator.transform(ecg.data)


def test_a_tokenizer_without_n_tokens_is_refused(ecg):
    class Uncounted(BlockSegmenter):
        def transform(self, X):
            return super().transform(X)[:, :, 0].astype(int)

    with pytest.raises(ValueError, match="Uncounted has no n_tokens_"):
        GainShapeTokenizer(Uncounted()).fit(ecg.data[:20])


def test_the_vocabulary_is_that_of_the_last_active_step(ecg):
    complete = make_tokenizer(max_steps=1, random_state=0)
    complete.steps.append(("quantize", "passthrough"))
    complete.set_params(tokenize__quantizer=BinQuantizer(16))
    search = GridSearchCV(
        complete, {"tokenize__max_steps": [1]}, scoring=neg_reconstruction_mse, cv=2
    )
    nested = make_pipeline(search)
    for tokenizer in (search, nested):
        assert GainShapeTokenizer(tokenizer).fit(ecg.data[:20]).n_tokens_ == 512 + 16


def test_grids_clones_and_pickles(ecg):
    search = GridSearchCV(
        GainShapeTokenizer(make_tokenizer(max_steps=2, random_state=0)),
        {"tokenizer__segment__block_size": [10, 25], "n_bins": [16, 256]},
        scoring=neg_reconstruction_mse,
        cv=2,
        error_score="raise",
    ).fit(ecg.data[:40])
    best = search.best_estimator_
    tokens = best.transform(ecg.data)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(best)).transform(ecg.data), tokens
    )
    again = clone(best).fit(ecg.data[:40])
    np.testing.assert_array_equal(again.transform(ecg.data), tokens)
    assert not hasattr(best.tokenizer["tokenize"], "network_")  # cloned before fit


def test_the_default_is_make_tokenizer(ecg, monkeypatch):
    monkeypatch.setattr("sktok._gain_shape.make_tokenizer", codebook)
    assert GainShapeTokenizer().fit(ecg.data[:50]).n_tokens_ == 512 + 64


@pytest.mark.parametrize("inner", [Recorder(8), make_pipeline(Recorder(8))])
def test_groups_are_routed_to_the_tokenizer(ecg, inner):
    X, groups = ecg.data[:20], np.arange(20)
    with config_context(enable_metadata_routing=True):
        tokenizer = GainShapeTokenizer(inner)
        outer = make_pipeline(clone(tokenizer), "passthrough")
        for fit in (tokenizer.fit, tokenizer.fit_transform, outer.fit_transform):
            fit(X, groups=groups)
        for fitted in (tokenizer, outer[0]):
            *_, recorder = walk(fitted)
            assert recorder.groups_ is groups
        with pytest.raises(TypeError, match="sample_weight"):
            tokenizer.fit(X, sample_weight=groups)
        search = GridSearchCV(tokenizer, {"n_bins": [4]}, scoring=n_groups, cv=2)
        assert search.fit(X, groups=groups).best_score_ == 10


def n_groups(estimator, X):
    *_, recorder = walk(estimator)
    return len(recorder.groups_)


def test_metadata_needs_routing(ecg):
    with pytest.raises(ValueError, match=r"fit got groups.*enable_metadata_routing"):
        GainShapeTokenizer(Recorder(8)).fit(ecg.data[:20], groups=np.arange(20))


def test_the_fingerprint_holds_what_determines_tokens(fitted):
    state = fitted._fingerprint_state()
    assert list(state) == ["offsets_", "gains_", "tokenizer_"]


def test_the_fingerprint_holds_another_norm_than_that_of_earlier_files(ecg):
    tokenizer = GainShapeTokenizer(codebook(), norm="l4").fit(ecg.data[:50])
    tokens = tokenizer.transform(ecg.data)
    assert tokenizer._fingerprint_state()["norm"] == "l4"
    tokenizer.set_params(norm="range")  # for the next fit
    np.testing.assert_array_equal(tokenizer.transform(ecg.data), tokens)


def test_parameters_reach_the_fitted_tokenizer(ecg):
    X = ecg.data[:60]
    shapes = make_tokenizer(10, (16, 8), max_steps=20, random_state=0)
    tokenizer = GainShapeTokenizer(shapes).fit(X)
    assert tokenizer.transform(X).shape == (60, 2 + 2 * 25)
    tokenizer.set_params(tokenizer__tokenize__n_stages=1)
    assert tokenizer.transform(X).shape == (60, 2 + 25)
    assert tokenizer.get_feature_names_out().shape == (27,)
    first = neg_reconstruction_mse(tokenizer, X)
    tokenizer.set_params(tokenizer__tokenize__n_candidates=4)
    assert neg_reconstruction_mse(tokenizer, X) > first
    # Another step waits for the next fit.
    tokenizer.set_params(tokenizer__scale="passthrough")
    tokenizer.set_params(
        tokenizer__tokenize=BinQuantizer(8), tokenizer__tokenize__n_bins=4
    )
    assert neg_reconstruction_mse(tokenizer, X) > first
    assert tokenizer.fit(X).n_tokens_ == 512 + 4


def test_training_continues_with_the_same_bins(ecg):
    shapes = make_tokenizer(max_steps=20, random_state=0)
    tokenizer = GainShapeTokenizer(shapes, norm="l4", warm_start=True).fit(ecg.data)
    offsets, (*_, network) = tokenizer.offsets_, walk(tokenizer)
    tokenizer.set_params(tokenizer__tokenize__warm_start=True).fit(ecg.data)
    assert tokenizer.offsets_ is offsets
    assert network.n_steps_ == 40
    tokens = tokenizer.transform(ecg.data)
    with pytest.raises(ValueError, match="windows are beyond the bins"):
        tokenizer.fit(1e4 * ecg.data)
    np.testing.assert_array_equal(tokenizer.transform(ecg.data), tokens)
    assert clone(tokenizer).fit(ecg.data).offsets_ is not offsets
