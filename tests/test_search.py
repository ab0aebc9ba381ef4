"""Analysis by synthesis: never worse, and the same in any batch."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sktok import (
    BinQuantizer,
    ConvAETokenizer,
    ResidualVectorQuantizer,
    VectorQuantizer,
)
from sktok._torch.search import functions_of_codes, search_tokens
from sktok.metrics import reconstruct
from sktok.networks import ContextualAutoencoder

QUANTIZERS = [
    VectorQuantizer(32),
    BinQuantizer(16),
    BinQuantizer((4, 8)),
    BinQuantizer(16, strategy="quantile", centers="mean"),
    ResidualVectorQuantizer(16),
]


@pytest.fixture(scope="module", params=QUANTIZERS, ids=repr)
def fitted(request, blocks, quick):
    return quick(quantizer=clone(request.param)).fit(blocks)


def window_errors(tokenizer, blocks):
    return ((reconstruct(tokenizer, blocks) - blocks) ** 2).sum(axis=(1, 2))


def test_no_window_gets_worse_and_most_get_better(fitted, blocks):
    own = window_errors(fitted.set_params(n_candidates=1), blocks)
    searched = window_errors(fitted.set_params(n_candidates=4), blocks)
    assert (searched <= own * (1 + 1e-5)).all()
    assert (searched < own).mean() > 0.5


def test_searched_tokens_do_not_depend_on_the_batch(fitted, blocks):
    fitted.set_params(n_candidates=3)
    whole = fitted.transform(blocks)
    order = np.random.default_rng(0).permutation(len(blocks))
    for rows in np.array_split(order, [1, 2, 30]):
        np.testing.assert_array_equal(fitted.transform(blocks[rows]), whole[rows])
    assert whole.dtype == np.int64
    assert whole.min() >= 0
    assert whole.max() < fitted.n_tokens_


def one_by_one(network, codes, k, windows, latents, tokens):
    """Two sweeps as their definition has them: no two blocks at once, whole windows."""
    tokens = tokens.clone()
    n_blocks, step = tokens.shape[1], 2 * network.context_radius + 1
    for window in range(len(windows)):
        own = tokens[window, :, 0].tolist()
        blocks = [b for first in range(step) for b in range(first, n_blocks, step)]
        for block in 2 * blocks:
            distance = (latents[window, block] - codes).square().sum(1)
            distance[own[block]] = -1
            candidates = [tokens[window, block, 0].item(), *distance.argsort()[:k]]
            errors = []
            for candidate in candidates:
                tokens[window, block, 0] = candidate
                restored = network.decode(codes[tokens[window : window + 1, :, 0]])
                errors.append((restored - windows[window]).square().sum())
            tokens[window, block, 0] = candidates[torch.stack(errors).argmin()]
    return tokens


def test_blocks_tried_at_once_are_as_good_as_one_by_one():
    torch.manual_seed(0)
    network = ContextualAutoencoder(4, 3, decoder_radii=(1, 1)).double()
    for weights in network.parameters():  # no layer is zero any more
        torch.nn.init.normal_(weights, std=0.3)
    windows = torch.randn(3, 13, 4, dtype=torch.float64)
    codes = torch.randn(20, 3, dtype=torch.float64)
    with torch.inference_mode():
        latents = network.encode(windows)
        own = torch.cdist(latents, codes).argmin(-1, keepdim=True)
        others = 5, windows, latents, own
        searched = search_tokens(network, functions_of_codes(codes), *others)
        assert (searched != own).any()
        assert torch.equal(searched, one_by_one(network, codes, *others))


def test_a_network_without_a_reach_is_searched_block_by_block(blocks):
    class Mixing(torch.nn.Module):
        """Every restored block depends on all latents."""

        def __init__(self, block_size, latent_dim):
            super().__init__()
            self.down = torch.nn.Linear(block_size, latent_dim)
            self.mix = torch.nn.Linear(25, 25)
            self.up = torch.nn.Linear(latent_dim, block_size)

        def encode(self, x):
            return self.down(x)

        def decode(self, z):
            return self.up(self.mix(z.transpose(1, 2)).transpose(1, 2))

    tokenizer = ConvAETokenizer(
        Mixing, quantizer=VectorQuantizer(16), max_steps=20, random_state=0
    ).fit(blocks)
    own = window_errors(tokenizer, blocks[:5])
    searched = window_errors(tokenizer.set_params(n_candidates=3), blocks[:5])
    assert (searched <= own * (1 + 1e-5)).all()
    assert searched.sum() < own.sum()


def test_blocks_decoded_one_by_one_are_searched_all_at_once(blocks, quick):
    tokenizer = quick(network="dimreduction", quantizer=BinQuantizer(8)).fit(blocks)
    own = ((reconstruct(tokenizer, blocks) - blocks) ** 2).sum(axis=2)
    tokenizer.set_params(n_candidates=8)  # all of them
    searched = ((reconstruct(tokenizer, blocks) - blocks) ** 2).sum(axis=2)
    every = tokenizer.inverse_transform(np.repeat(np.arange(8)[:, None], 25, axis=1))
    best = ((every[:, None] - blocks) ** 2).sum(axis=3).min(axis=0)
    np.testing.assert_allclose(searched, best, rtol=1e-3, atol=1e-6)
    assert searched.sum() < own.sum()


def test_more_candidates_than_codes(blocks, quick):
    tokenizer = quick(quantizer=VectorQuantizer(4), n_candidates=9, max_steps=2)
    assert tokenizer.fit(blocks).transform(blocks).max() < 4


def test_latents_cannot_be_searched(blocks, quick):
    tokenizer = quick(n_candidates=2, max_steps=2).fit(blocks)
    with pytest.raises(ValueError, match=r"n_candidates=2 searches tokens.*quantizer"):
        tokenizer.transform(blocks)


def test_a_search_that_pays_for_bits_lowers_the_sum(blocks, quick):
    quantizer = ResidualVectorQuantizer((32, 8), rate_weight=0.003)
    fitted = quick(quantizer=quantizer, max_steps=60).fit(blocks)
    codebook = fitted.quantizer_

    def total(n_candidates):
        tokens = fitted.set_params(n_candidates=n_candidates).transform(blocks)
        error = window_errors(fitted, blocks)
        classes, lengths, in_class = (
            codebook.code_classes_,
            codebook.class_lengths_,
            codebook.lengths_in_class_,
        )
        tokens = tokens.reshape(len(blocks), -1, 2)
        bits = np.zeros(len(blocks))
        for block in range(tokens.shape[1]):
            first, second = tokens[:, block].T
            before = tokens[:, block - 1, 0] if block else np.full(len(blocks), -1)
            for token, context in ((first, before), (second, first)):
                bits += lengths[classes[context], classes[token]] + in_class[token]
        return error, bits, error + fitted._bit_cost() * bits

    own, searched = total(1), total(4)
    assert (searched[2] <= own[2] * (1 + 1e-5)).all()
    assert (searched[2] < own[2]).mean() > 0.5
    assert searched[1].mean() < own[1].mean()


def test_blocks_alone_are_windows_of_one_block(blocks, quick):
    X = blocks[:, 0]
    quantizer = ResidualVectorQuantizer((32, 8), rate_weight=0.003)
    tokenizer = quick(quantizer=quantizer, n_candidates=4)
    alone = clone(tokenizer).fit(X).transform(X)
    tokens = clone(tokenizer).fit(X[:, np.newaxis]).transform(X[:, np.newaxis])
    np.testing.assert_array_equal(alone.ravel(), tokens.ravel())


def test_a_stage_with_one_code_is_not_searched(blocks, quick):
    fitted = quick(quantizer=ResidualVectorQuantizer(8)).fit(blocks)
    codes = fitted.quantizer_.codes_
    fitted.quantizer_._set_codes([codes[:8], codes[8:9]])
    own = window_errors(fitted, blocks)
    searched = window_errors(fitted.set_params(n_candidates=3), blocks)
    assert (searched <= own * (1 + 1e-5)).all()
    assert (searched < own).any()
