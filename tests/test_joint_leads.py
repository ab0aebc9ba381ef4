"""Windows of several leads whose blocks are encoded together."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sktok import (
    BlockSegmenter,
    ConvAETokenizer,
    GainShapeTokenizer,
    VectorQuantizer,
    make_tokenizer,
    with_window_length,
)
from sktok._torch.training import augmented
from sktok.corpus import Vocabulary
from sktok.metrics import describe, neg_prd, prd, reconstruct
from sktok.networks import MultiLeadAutoencoder, apart, together
from sktok.persistence import load, save
from sktok.streaming import TokenStream

N_LEADS = 3


@pytest.fixture(scope="module")
def leads(ecg):
    """Windows of three leads that share much: (432, 3, 250)."""
    other = np.roll(ecg.data, 1, axis=0)
    return np.stack([ecg.data, -0.5 * ecg.data + 0.2 * other, 2 * other], axis=1)


def new_tokenizer(max_steps=5, **options):
    return make_tokenizer(
        25, (16, 8), n_leads=N_LEADS, max_steps=max_steps, random_state=0, **options
    )


@pytest.fixture(scope="module", params=["scaled", "gain and shape"])
def fitted(request, leads):
    tokenizer = new_tokenizer()
    if request.param == "gain and shape":
        tokenizer = GainShapeTokenizer(
            tokenizer.set_params(scale="passthrough"), norm="l4", leads="joint"
        )
    return tokenizer.fit(leads)


@given(st.integers(1, 4), st.integers(1, 12), st.integers(1, 30))
def test_joint_blocks_hold_a_piece_of_each_lead(n_leads, block_size, length):
    block_size = min(block_size, length)
    X = np.random.default_rng(0).normal(size=(2, n_leads, length))
    segmenter = BlockSegmenter(block_size, leads="joint").fit(X)
    blocks = segmenter.transform(X)
    n_blocks = -(-length // block_size)
    assert blocks.shape == (2, n_blocks, n_leads * block_size)
    np.testing.assert_array_equal(segmenter.inverse_transform(blocks), X)
    first = blocks[:, 0].reshape(2, n_leads, block_size)
    np.testing.assert_array_equal(first, X[:, :, :block_size])
    assert len(segmenter.get_feature_names_out()) == blocks[0].size


def test_one_lead_has_the_same_blocks_either_way(ecg):
    separate, joint = (
        BlockSegmenter(10, leads=leads).fit_transform(ecg.data)
        for leads in ("separate", "joint")
    )
    np.testing.assert_array_equal(joint, separate)


def test_tokens_and_names_are_of_all_leads(fitted, leads):
    tokens = fitted.transform(leads)
    names = fitted.get_feature_names_out()
    assert tokens.shape == (432, len(names))
    if isinstance(fitted, GainShapeTokenizer):
        assert list(names[:7]) == [
            "lead0_offset",
            "lead1_offset",
            "lead2_offset",
            "lead0_gain",
            "lead1_gain",
            "lead2_gain",
            "shape0",
        ]
    assert tokens.shape[1] == 20 + (6 if isinstance(fitted, GainShapeTokenizer) else 0)
    assert reconstruct(fitted, leads).shape == leads.shape


def test_tokens_depend_on_all_leads(fitted, leads):
    tokens, changed = fitted.transform(leads), leads.copy()
    changed[:, 2] = changed[::-1, 2]
    assert (fitted.transform(changed)[:, -20:] != tokens[:, -20:]).mean() > 0.1


def test_a_window_has_the_same_tokens_in_any_batch(fitted, leads):
    tokens = fitted.transform(leads)
    for rows in (slice(0, 1), slice(3, 10), slice(100, 432)):
        np.testing.assert_array_equal(fitted.transform(leads[rows]), tokens[rows])


def test_fewer_stages_have_a_larger_error(leads):
    fitted = new_tokenizer(20).fit(leads)
    both = -neg_prd(fitted, leads)
    fitted.set_params(tokenize__n_stages=1)
    assert fitted.transform(leads).shape == (432, 10)
    assert both < -neg_prd(fitted, leads)


def test_files_streams_and_vocabularies_carry_joint_tokens(fitted, leads, tmp_path):
    tokens = fitted.transform(leads)
    save(fitted, tmp_path / "tokenizer")
    np.testing.assert_array_equal(load(tmp_path / "tokenizer").transform(leads), tokens)
    vocabulary = Vocabulary.from_tokenizer(fitted)
    assert (vocabulary.n_leads, vocabulary.tokens_per_window) == (3, tokens.shape[1])
    signal = vocabulary.decode_signal(vocabulary.encode(tokens), fitted)
    np.testing.assert_array_equal(signal, fitted.inverse_transform(tokens))
    stream = TokenStream(fitted)
    signal = np.hstack(leads[:3])
    pieces = [stream.push(part) for part in np.array_split(signal, 7, axis=1)]
    found = np.concatenate([*pieces, stream.flush()])
    np.testing.assert_array_equal(found, tokens[:3].ravel())


def test_the_error_is_that_of_all_leads(fitted, leads):
    found = describe(fitted, leads, fs=360)
    assert (found.n_leads, found.window_length) == (3, 250)
    assert found.prd == prd(leads, reconstruct(fitted, leads), centered=True)


def test_windows_of_another_length(fitted, leads):
    longer = with_window_length(fitted, 1000)
    X = leads.reshape(108, 4, 3, 250).swapaxes(1, 2).reshape(108, 3, 1000)
    assert longer.transform(X).shape[1] == fitted.transform(leads).shape[1] + 3 * 20
    assert reconstruct(longer, X).shape == X.shape


def test_tempo_varies_alike_in_all_leads():
    ramp = torch.arange(240.0).view(1, 1, 240)
    signal = torch.cat([ramp, -ramp, 2 * ramp], dim=1)  # (1, 3, 240)
    blocks = signal.unflatten(2, (24, 10)).transpose(1, 2).flatten(2)
    generator = torch.Generator().manual_seed(0)
    changed = augmented(blocks, torch.tensor(0.0), generator, N_LEADS)
    first, second, third = changed.unflatten(2, (3, 10)).transpose(1, 2).flatten(2)[0]
    assert (first != ramp[0, 0]).all()
    middle = first - first.mean()
    assert torch.allclose(second - second.mean(), -middle, atol=1e-3)
    assert torch.allclose(third - third.mean(), 2 * middle, atol=1e-3)


def test_the_untrained_network_is_linear():
    torch.manual_seed(0)
    network = MultiLeadAutoencoder(3 * 10, 30, n_leads=3)
    blocks = torch.randn(20, 7, 30)
    network.initialize(blocks)
    with torch.no_grad():
        restored = network.decode(network.encode(blocks))
    assert torch.allclose(restored, blocks, atol=1e-5)
    np.testing.assert_array_equal(together(apart(blocks, 3), 3), blocks)


def test_context_is_as_wide_as_the_network_says():
    torch.manual_seed(0)
    network = MultiLeadAutoencoder(
        2 * 5,
        4,
        n_leads=2,
        width=16,
        lead_width=16,
        encoder_radii=(1,),
        decoder_radii=(1,),
        lead_encoder_radii=(2,),
        lead_decoder_radii=(1,),
    )
    for weights in network.parameters():  # nothing is zero
        torch.nn.init.normal_(weights, std=0.5)
    for function, dim, radius in (
        (network.encode, 10, network.encoder_radius),
        (network.decode, 4, network.context_radius),
    ):
        x = torch.randn(1, 21, dim)
        changed = x.clone()
        changed[0, 10] += 1
        with torch.no_grad():
            differs = (function(x) != function(changed)).any(dim=2)[0]
        assert differs.nonzero().ravel().tolist() == [*range(10 - radius, 11 + radius)]


def test_a_wrong_number_of_leads_is_refused(leads):
    blocks = BlockSegmenter(25, leads="joint").fit_transform(leads)
    quantizer = VectorQuantizer(8)
    tokenizer = ConvAETokenizer("multilead", n_leads=2, quantizer=quantizer)
    with pytest.raises(ValueError, match="n_leads=2 does not divide block_size=75"):
        tokenizer.fit(blocks)
    with pytest.raises(ValueError, match="Got 0 instead"):
        tokenizer.set_params(n_leads=0).fit(blocks)
    with pytest.raises(ValueError, match=r"n_stages=3, but .* fewer stages"):
        new_tokenizer().fit(leads).set_params(tokenize__n_stages=3).transform(leads)
