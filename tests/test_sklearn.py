"""Compatibility with scikit-learn."""

import copy
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import (
    check_param_validation,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
    parametrize_with_checks,
)

from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    ConvAETokenizer,
    GainShapeTokenizer,
    LeadSelector,
    Resampler,
    ResidualVectorQuantizer,
    VectorQuantizer,
    make_paper_tokenizer,
)
from sktok.metrics import neg_reconstruction_mse, reconstruct

STEPS = {"max_steps": 3, "random_state": 0}
ESTIMATORS = [
    LeadSelector(["II"], ["II"]),
    Resampler(360, 250),
    AmplitudeScaler(),
    AmplitudeScaler(clip=True),
    BlockSegmenter(block_size=2),
    BinQuantizer(),
    BinQuantizer(8, strategy="quantile"),
    BinQuantizer(8, strategy="kmeans", centers="mean"),
    VectorQuantizer(random_state=0),
    VectorQuantizer(4, random_state=0),
    VectorQuantizer(8, rate_weight=0.01, random_state=0),
    ResidualVectorQuantizer(8, random_state=0),
    ConvAETokenizer(**STEPS),
    ConvAETokenizer(**STEPS, early_stopping=True, validation_fraction=0.3),
    ConvAETokenizer(**STEPS, quantizer=VectorQuantizer(8)),
    ConvAETokenizer(**STEPS, quantizer=VectorQuantizer(8), n_candidates=2),
    ConvAETokenizer(**STEPS, quantizer=BinQuantizer(8)),
    ConvAETokenizer(
        **STEPS,
        quantizer=ResidualVectorQuantizer((8, 4), rate_weight=0.001),
        n_candidates=2,
        n_stages=1,
    ),
    ConvAETokenizer("dimreduction", **STEPS),
    GainShapeTokenizer(VectorQuantizer(8, random_state=0)),
    GainShapeTokenizer(ConvAETokenizer(**STEPS, quantizer=BinQuantizer(8)), n_bins=4),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_parameters_are_validated(estimator):
    check_param_validation(type(estimator).__name__, estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_masked_values_and_dates_are_refused(estimator):
    X = np.random.default_rng(0).random((20, 6))
    estimator = clone(estimator)
    masked = np.ma.masked_array(X, mask=X > 0.9)
    dates = X.astype("M8[s]")
    for method in (estimator.fit(X).transform, clone(estimator).fit):
        with pytest.raises(ValueError, match="masked values"):
            method(masked)
        with pytest.raises(ValueError, match="dates or times"):
            method(dates)
    unmasked = np.ma.masked_array(X, mask=False)
    np.testing.assert_array_equal(estimator.transform(unmasked), estimator.transform(X))


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_too_long_rows_are_refused_before_they_are_copied(estimator):
    X = np.random.default_rng(0).random((20, 6))
    estimator = clone(estimator).fit(X)
    huge = np.broadcast_to(0.5, (2, 2**40))
    for method in (estimator.transform, estimator.inverse_transform):
        for array in (huge, huge[:, np.newaxis]):
            with pytest.raises(ValueError, match=r"features|rows of shape|columns|dim"):
                method(array)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_the_tag_of_three_axes_is_true(estimator):
    n_rows = len(getattr(estimator, "input_leads", range(3)))
    blocks = np.random.default_rng(0).random((20, n_rows, 6))
    tags = get_tags(estimator).input_tags
    assert tags.two_d_array
    if tags.three_d_array:
        assert len(clone(estimator).fit_transform(blocks)) == 20
    else:
        with pytest.raises(ValueError, match="dim 3"):
            clone(estimator).fit(blocks)


# scikit-learn's checks fit on frames and transform arrays, and vice versa.
@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names")
@pytest.mark.parametrize(
    "check",
    [
        check_set_output_transform,
        check_set_output_transform_pandas,
        check_transformer_get_feature_names_out,
        check_transformer_get_feature_names_out_pandas,
    ],
)
@pytest.mark.parametrize(
    "estimator",
    [e for e in ESTIMATORS if not isinstance(e, BlockSegmenter)],  # gives three axes
    ids=repr,
)
def test_frames_and_names(estimator, check):
    check(type(estimator).__name__, estimator)


@pytest.fixture(scope="module")
def fitted(ecg):
    return make_paper_tokenizer(max_steps=30, random_state=0).fit(ecg.data[:60])


def test_names_are_passed_through_the_pipeline(fitted):
    names = fitted.get_feature_names_out()
    assert list(names) == [f"token{i}" for i in range(25)]
    assert list(fitted[:2].get_feature_names_out()[[0, 10, -1]]) == [
        "block0_0",
        "block1_0",
        "block24_9",
    ]
    assert list(fitted[:3].get_feature_names_out()) == [f"latent{i}" for i in range(25)]


@pytest.mark.parametrize("scope", ["pipeline", "global"])
@pytest.mark.parametrize("order", ["scale first", "scale last"])
def test_tokens_become_a_frame_and_blocks_stay_arrays(ecg, quick, scope, order):
    steps = [("scale", AmplitudeScaler()), ("segment", BlockSegmenter(10))]
    steps = steps if order == "scale first" else steps[::-1]
    pipe = Pipeline([*steps, ("tokenize", quick()), ("quantize", BinQuantizer())])
    if scope == "pipeline":
        pipe.set_output(transform="pandas")
    frame = pd.DataFrame(ecg.data[:20], columns=ecg.feature_names)
    with config_context(transform_output="pandas" if scope == "global" else "default"):
        tokens = pipe.fit_transform(frame)
        latents = pipe[:3].transform(frame)
    assert isinstance(latents, np.ndarray)
    assert latents.shape == (20, 25, 1)
    assert list(tokens.columns) == [f"token{i}" for i in range(25)]
    assert (tokens.dtypes == np.int64).all()
    plain = clone(pipe).set_output(transform="default")
    np.testing.assert_array_equal(plain.fit_transform(frame), tokens)
    np.testing.assert_array_equal(
        pipe.inverse_transform(tokens), pipe.inverse_transform(tokens.to_numpy())
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda X: X.astype(np.float32).astype(np.float64),
        np.asfortranarray,
        lambda X: np.repeat(X, 2, axis=1)[:, ::2],
        lambda X: X[:, ::-1].copy()[:, ::-1],
        lambda X: X.astype(">f8"),
        pd.DataFrame,
        lambda X: X.tolist(),
    ],
    ids=["float32", "fortran", "strided", "reversed", "endian", "pandas", "list"],
)
def test_equal_values_give_equal_tokens_in_any_container(fitted, ecg, change):
    X = ecg.data[:30].astype(np.float32).astype(np.float64)
    same = change(X)
    np.testing.assert_array_equal(fitted.transform(same), fitted.transform(X))
    refitted = clone(fitted).fit(same)
    np.testing.assert_array_equal(
        refitted.transform(same), clone(fitted).fit(X).transform(X)
    )


def test_float32_and_read_only_input(ecg):
    X = ecg.data[:30].astype(np.float32)
    X.setflags(write=False)
    pipe = make_paper_tokenizer(max_steps=3, random_state=0).fit(X)
    assert pipe.transform(X).dtype == np.int64
    assert reconstruct(pipe, X).dtype == np.float32


@pytest.mark.parametrize(
    "copy_of", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_copies_give_the_same_tokens(fitted, ecg, copy_of):
    X = ecg.data
    np.testing.assert_array_equal(copy_of(fitted).transform(X), fitted.transform(X))


def test_a_fresh_process_gives_the_same_tokens(fitted, ecg, tmp_path):
    joblib.dump((fitted, ecg.data), tmp_path / "tokenizer.joblib")
    script = (
        "import joblib; pipe, X = joblib.load('tokenizer.joblib');"
        "joblib.dump(pipe.transform(X), 'tokens.joblib')"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    tokens = joblib.load(tmp_path / "tokens.joblib")
    np.testing.assert_array_equal(tokens, fitted.transform(ecg.data))


def test_html_repr_names_the_steps(fitted):
    assert "ConvAETokenizer" in fitted._repr_html_()


def test_grid_search_over_blocks_and_bins_in_two_processes(ecg):
    search = GridSearchCV(
        make_paper_tokenizer(max_steps=20, random_state=0),
        {"segment__block_size": [10, 25], "quantize__n_bins": [16, 256]},
        scoring=neg_reconstruction_mse,
        cv=GroupKFold(2),
        n_jobs=2,
        error_score="raise",
    )
    patients = np.repeat([0, 1, 2, 3], 15)
    search.fit(ecg.data[:60], groups=patients)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_score_ == search.cv_results_["mean_test_score"].max()
    n_tokens = 250 // search.best_params_["segment__block_size"]
    assert search.transform(ecg.data).shape == (432, n_tokens)


def test_a_quantizer_inside_the_network_is_searched_by_name(ecg, quick):
    tokenizer = quick(quantizer=BinQuantizer())
    pipe = make_paper_tokenizer()
    pipe.set_params(tokenize=tokenizer, quantize="passthrough")
    search = GridSearchCV(
        pipe,
        {"tokenize__quantizer__n_bins": [4, 256]},
        scoring=neg_reconstruction_mse,
        cv=2,
        error_score="raise",
    ).fit(ecg.data[:60])
    n_bins = search.best_params_["tokenize__quantizer__n_bins"]
    assert search.best_estimator_["tokenize"].n_tokens_ == n_bins


class CountedTokenizer(ConvAETokenizer):
    """Counts its fits in a file, because a cache fits clones."""

    def __init__(self, log=None, *, max_steps=3, random_state=0):
        super().__init__(max_steps=max_steps, random_state=random_state)
        self.log = log

    _parameter_constraints = {**ConvAETokenizer._parameter_constraints, "log": [str]}

    def fit(self, X, y=None):
        with open(self.log, "a") as log:
            log.write(".")
        return super().fit(X)


def test_with_memory_each_network_is_trained_once(ecg, tmp_path):
    log = tmp_path / "fits"
    pipe = make_paper_tokenizer(memory=str(tmp_path / "cache"))
    pipe.set_params(tokenize=CountedTokenizer(log=str(log)))
    search = GridSearchCV(
        pipe,
        {"segment__block_size": [10, 25], "quantize__n_bins": [4, 16, 64, 256]},
        scoring=neg_reconstruction_mse,
        cv=3,
        error_score="raise",
    ).fit(ecg.data[:30])
    assert len(search.cv_results_["params"]) == 8
    assert len(log.read_text()) == 2 * 3 + 1  # block sizes × folds, and the refit


def test_cross_validation_by_patient(ecg):
    scores = cross_val_score(
        make_paper_tokenizer(max_steps=20, random_state=0),
        ecg.data[:60],
        groups=np.repeat([0, 1, 2], 20),
        cv=GroupKFold(3),
        scoring=neg_reconstruction_mse,
        error_score="raise",
    )
    assert (scores < 0).all()
