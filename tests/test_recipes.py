"""The recommended tokenizer is better than k-means on five minutes of ECG."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sktok import (
    BinQuantizer,
    BlockSegmenter,
    VectorQuantizer,
    make_paper_tokenizer,
    make_tokenizer,
)
from sktok._torch.fitting import n_steps_for
from sktok.metrics import (
    lowest_rate_within,
    neg_bits_per_sample,
    neg_reconstruction_mse,
    reconstruct,
)


@pytest.mark.parametrize("block_size", [5, 10, 25])
def test_later_minutes_have_a_lower_error_than_with_k_means(ecg, block_size):
    fit, test = ecg.data[:345], ecg.data[345:]
    ours = make_tokenizer(block_size, max_steps=150, random_state=0).fit(fit)
    kmeans = make_pipeline(
        BlockSegmenter(block_size), VectorQuantizer(256, random_state=0)
    ).fit(fit)
    assert neg_reconstruction_mse(ours, test) > neg_reconstruction_mse(kmeans, test)
    assert neg_reconstruction_mse(
        ours.set_params(tokenize__n_candidates=3), test
    ) > neg_reconstruction_mse(kmeans, test)


def test_the_budget_follows_the_data():
    assert n_steps_for(8_600) == 2000 < n_steps_for(100_000) < n_steps_for(1_430_000)
    assert n_steps_for(1) == n_steps_for(2) > 0
    assert n_steps_for(10**10) == n_steps_for(10**12)


def test_stages_that_pay_for_bits(ecg):
    def fitted(weight):
        params = {"max_steps": 100, "random_state": 0}
        tokenizer = make_tokenizer(n_tokens=(64, 16), rate_weight=weight, **params)
        return tokenizer.fit(ecg.data)

    free, paid = fitted(0.0), fitted(0.002)
    assert free[-1].n_tokens_ == 80 >= paid[-1].n_tokens_
    for tokenizer in (free, paid):
        assert tokenizer.transform(ecg.data).shape == (432, 50)
    rates = [-neg_bits_per_sample(each, ecg.data) for each in (free, paid)]
    errors = [-neg_reconstruction_mse(each, ecg.data) for each in (free, paid)]
    assert rates[1] < 0.8 * rates[0]
    assert errors[0] < errors[1] < 3 * errors[0]


def test_bins_in_place_of_the_codebook_give_ordered_tokens(ecg):
    tokenizer = make_tokenizer(10, max_steps=100, random_state=0)
    tokenizer.set_params(tokenize__quantizer=BinQuantizer(64))
    tokens = tokenizer.fit_transform(ecg.data)
    assert tokens.shape == (432, 25)
    quantizer = tokenizer["tokenize"].quantizer_
    assert (quantizer.edges_[0], quantizer.edges_[-1]) == (-1, 1)
    level = tokenizer[:2].transform(ecg.data).mean(axis=2).ravel()
    assert abs(np.corrcoef(level, tokens.ravel())[0, 1]) > 0.8


def test_grid_search_over_block_size_and_vocabulary(ecg):
    search = GridSearchCV(
        make_tokenizer(max_steps=5, random_state=0),
        {"segment__block_size": [10, 25], "tokenize__quantizer__n_codes": [8, 64]},
        scoring={
            "neg_bits_per_sample": neg_bits_per_sample,
            "neg_reconstruction_mse": neg_reconstruction_mse,
        },
        refit=lowest_rate_within(1.0),
        cv=2,
        error_score="raise",
    ).fit(ecg.data[:60])
    assert search.best_params_ == {
        "segment__block_size": 25,
        "tokenize__quantizer__n_codes": 8,
    }
    assert search.transform(ecg.data).shape == (432, 10)


@pytest.mark.parametrize("make", [make_tokenizer, make_paper_tokenizer])
def test_recipes_clone_and_keep_the_window(ecg, make):
    tokenizer = clone(make(block_size=7, max_steps=2, random_state=0))
    assert reconstruct(tokenizer.fit(ecg.data), ecg.data).shape == ecg.data.shape
