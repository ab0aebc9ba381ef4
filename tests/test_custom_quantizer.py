"""A user's quantiser of one class works wherever those of sktok do."""

import copy
import pickle

import numpy as np
import pytest
from mu_law import MuLawQuantizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from sktok import AmplitudeScaler, BaseQuantizer, BlockSegmenter, ConvAETokenizer
from sktok.corpus import write_corpus
from sktok.metrics import describe, neg_reconstruction_mse, reconstruct


def tokenizer(where, **params):
    """A Pipeline with the quantiser behind the network, or inside it."""
    params = {"max_steps": 30, "random_state": 0, **params}
    network = ConvAETokenizer(**params)
    steps = [AmplitudeScaler(), BlockSegmenter(10), network]
    if where == "inside":
        network.set_params(quantizer=MuLawQuantizer(32))
    else:
        steps.append(MuLawQuantizer(32))
    return make_pipeline(*steps)


@pytest.fixture(scope="module", params=["behind", "inside"])
def fitted(request, ecg):
    return tokenizer(request.param).fit(ecg.data[:60])


@parametrize_with_checks([MuLawQuantizer(8)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_tokens_and_back(fitted, ecg):
    X = ecg.data[:60]
    tokens = fitted.transform(X)
    assert tokens.shape == (60, 25)
    assert tokens.dtype == np.int64
    assert 0 <= tokens.min() <= tokens.max() < 32
    mean_of_blocks = X.reshape(60, 25, 10).mean(axis=2).repeat(10, axis=1)
    error = np.mean((fitted.inverse_transform(tokens) - X) ** 2)
    assert error < 1.5 * np.mean((mean_of_blocks - X) ** 2)


def test_tokens_do_not_depend_on_the_batch(fitted, ecg):
    whole = fitted.transform(ecg.data)
    order = np.random.default_rng(0).permutation(len(whole))
    for rows in np.array_split(order, [1, 2, 300]):
        np.testing.assert_array_equal(fitted.transform(ecg.data[rows]), whole[rows])


def test_a_pickle_gives_the_same_tokens(fitted, ecg):
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(
        loaded.transform(ecg.data), fitted.transform(ecg.data)
    )


def test_describe_and_a_corpus(fitted, ecg, tmp_path):
    found = describe(fitted, ecg.data, fs=ecg.fs)
    assert found.n_tokens == 32
    assert found.tokens_per_window == 25
    corpus = write_corpus(tmp_path / "corpus", ecg, fitted, validation=[])
    tokens = corpus.vocabulary.decode(corpus.train)
    np.testing.assert_array_equal(tokens, fitted.transform(ecg.data))


def test_a_grid_over_its_bins(ecg):
    search = GridSearchCV(
        tokenizer("inside"),
        {"convaetokenizer__quantizer__n_bins": [4, 64]},
        scoring=neg_reconstruction_mse,
        cv=2,
        error_score="raise",
    ).fit(ecg.data[:60])
    assert search.best_params_ == {"convaetokenizer__quantizer__n_bins": 64}


def test_a_search_over_its_tokens(ecg):
    X = ecg.data[:60]
    own = tokenizer("inside").fit(X)
    searched = copy.deepcopy(own).set_params(convaetokenizer__n_candidates=6)
    own_errors, errors = (
        ((reconstruct(t, X) - X) ** 2).sum(axis=1) for t in (own, searched)
    )
    assert (errors <= own_errors * (1 + 1e-5)).all()
    assert errors.sum() < own_errors.sum()


def test_a_stream(ecg):
    streamed = ConvAETokenizer(
        quantizer=MuLawQuantizer(16), max_steps=4, random_state=0
    )
    blocks = ecg.data.reshape(432, 25, 10)
    while not getattr(streamed, "is_complete_", False):
        streamed.partial_fit(blocks)
    assert streamed.transform(blocks).shape == (432, 25)


def test_a_quantizer_that_lacks_a_method_says_so():
    class Incomplete(BaseQuantizer):
        def learn(self, values):
            self.n_tokens_ = 2

    with pytest.raises(TypeError, match="Incomplete does not define quantize"):
        Incomplete().fit_transform([[0.0, 1.0]])
