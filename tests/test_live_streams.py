"""A live signal in pieces gives the tokens of the whole, early, and back."""

import copy
import pickle
from functools import cache
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    ConvAETokenizer,
    GainShapeTokenizer,
    Resampler,
    ResidualVectorQuantizer,
    VectorQuantizer,
    make_paper_tokenizer,
    make_tokenizer,
    with_window_length,
)
from sktok.metrics import neg_reconstruction_mse
from sktok.networks import ContextualAutoencoder, DimReduction
from sktok.streaming import SampleStream, TokenStream

QUICK = {"max_steps": 5, "random_state": 0}


def codes(block_size=10):
    return make_pipeline(BlockSegmenter(block_size), VectorQuantizer(8, random_state=0))


def two_latents():
    """Each block has two latents, and each latent becomes a token."""
    network = ConvAETokenizer(latent_dim=2, **QUICK)
    return make_pipeline(BlockSegmenter(10), network, BinQuantizer(16))


def two_stages():
    """Each block has a token of each stage."""
    quantizer = ResidualVectorQuantizer((16, 8), rate_weight=0.001)
    return make_tokenizer(**QUICK).set_params(tokenize__quantizer=quantizer)


def entangled(block_size, latent_dim):
    """A network in which all blocks within its radii change the last bits."""
    network = ContextualAutoencoder(block_size, latent_dim)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return network


def fine_tokens():
    """The tokens show the last bits of the latents."""
    tokenizer = make_tokenizer(max_steps=1, random_state=0)
    quantizer = BinQuantizer(2**16)
    return tokenizer.set_params(
        tokenize__network=entangled, tokenize__quantizer=quantizer
    )


def bins(block_size, n_bins):
    return make_pipeline(BlockSegmenter(block_size), BinQuantizer(n_bins))


# Unfitted, delay of tokens in samples, delay of samples in tokens. All have windows of
# 250 samples. Nothing can be returned earlier: the delay is the rest of the block, the
# radius of the network in blocks and half the filter of the Resampler.
TOKENIZERS = {
    "contextual": (make_tokenizer(**QUICK), 9 + 8 * 10, 3),
    "fine tokens": (fine_tokens(), 9 + 8 * 10, 3),
    "Table 1": (make_paper_tokenizer(25, **QUICK), 24, 0),
    "32 tokens a block": (make_paper_tokenizer(latent_dim=32, **QUICK), 9, 31),
    "two latents": (two_latents(), 9 + 8 * 10, 1 + 3 * 2),
    "two stages": (two_stages(), 9 + 8 * 10, 1 + 3 * 2),
    "padded blocks": (make_tokenizer(7, **QUICK), 6 + 8 * 7, 3),
    "same rate": (make_tokenizer(fs=250, **QUICK), 9 + 8 * 10, 3),
    "search": (make_tokenizer(n_candidates=2, **QUICK), 249, 3),
    "bins": (BinQuantizer(16), 0, 0),
    "bins of padded blocks": (bins(60, 16), 0, 0),
    "bins as digits": (bins(2, (4, 8)), 1, 0),
    "codes": (codes(), 9, 0),
    "codes in two Pipelines": (Pipeline([("a", "passthrough"), ("b", codes())]), 9, 0),
    "codes of windows": (VectorQuantizer(8, random_state=0), 249, 0),
    "gain and shape": (GainShapeTokenizer(codes()), 249, 26),
    "scikit-learn": (make_pipeline(StandardScaler(), codes()), 249, 24),
    # The filter reads 10 samples of the lower rate: 20 samples at 500 Hz, 10 at 250 Hz.
    "halved rate": (make_pipeline(Resampler(500, 250), codes()), 18 + 20, 1),
    "doubled rate": (make_pipeline(Resampler(250, 500), codes()), 4 + 10, 2),
    "odd rates": (make_pipeline(Resampler(360, 250), codes()), 27, 1),
}
RATES = st.sampled_from([125, 250, 257, 360, 500, 1000, 62.5, 1e3 / 3])
BY_NAME = pytest.mark.parametrize("name", TOKENIZERS)


@pytest.fixture(scope="module")
def fitted(ecg):
    """The fitted tokenizer of a name."""
    return cache(lambda name: clone(TOKENIZERS[name][0]).fit(ecg.data[:100]))


def in_pieces(stream, inputs, cuts):
    """Outputs of all pieces and of the end, joined."""
    pieces = np.split(inputs, sorted(cuts), axis=-1)
    outputs = [*map(stream.push, pieces), stream.flush()]
    return np.concatenate(outputs, axis=-1)


def windows_of(signal, window_length=250):
    """Consecutive windows; the last one is filled up with the last sample."""
    missing = -signal.shape[-1] % window_length
    padding = [(0, 0)] * (signal.ndim - 1) + [(0, missing)]
    signal = np.pad(signal, padding, mode="edge")
    windows = signal.reshape(*signal.shape[:-1], -1, window_length)
    return np.moveaxis(windows, -2, 0)


def check_law(tokenizer, signal, data, window_length=250):
    """Tokens and samples are those of the whole, bit for bit, in any pieces."""
    expected = tokenizer.transform(windows_of(signal, window_length))
    restored = np.moveaxis(tokenizer.inverse_transform(expected), 0, -2)
    restored = restored.reshape(*restored.shape[:-2], -1)
    n_samples, n_tokens = signal.shape[-1], expected.size
    tokens, samples = TokenStream(tokenizer), SampleStream(tokenizer)
    for _ in range(2):  # an ended stream starts again
        cuts = data.draw(st.lists(st.integers(0, n_samples), max_size=4))
        found = in_pieces(tokens, signal, cuts)
        np.testing.assert_array_equal(found, expected.ravel(), strict=True)
        cuts = data.draw(st.lists(st.integers(0, n_tokens), max_size=4))
        found = in_pieces(samples, found, cuts)
        np.testing.assert_array_equal(found, restored, strict=True)


@BY_NAME
@settings(max_examples=3)
@given(st.integers(0, 50_000), st.integers(1, 700), st.booleans(), st.data())
def test_pieces_give_the_tokens_and_samples_of_the_whole(
    name, fitted, ecg, start, n_samples, is_float32, data
):
    signal = ecg.data.ravel()[start : start + n_samples]
    dtype = np.float32 if is_float32 else np.float64
    check_law(fitted(name), signal.astype(dtype), data)


@pytest.mark.parametrize("window_length", [85, 1000])
@settings(max_examples=3)
@given(st.data())
def test_windows_of_another_length(fitted, ecg, window_length, data):
    tokenizer = with_window_length(fitted("contextual"), window_length)
    assert TokenStream(tokenizer).delay == min(89, window_length - 1)
    check_law(tokenizer, ecg.data[:9].ravel(), data, window_length)


@pytest.mark.parametrize("n_leads", [1, 2])
@settings(max_examples=3)
@given(st.data())
def test_leads(n_leads, ecg, data):
    X = np.stack([ecg.data[:60], -ecg.data[:60]][:n_leads], axis=1)
    tokenizer = make_tokenizer(**QUICK).fit(X)
    # Tokens come one lead after the other, so those of the second lead come last.
    assert TokenStream(tokenizer).delay == (89, 249)[n_leads - 1]
    check_law(tokenizer, np.hstack(list(X[:3]))[:, :620], data)


@BY_NAME
def test_outputs_come_as_early_as_documented(name, fitted):
    _, of_tokens, of_samples = TOKENIZERS[name]
    assert TokenStream(fitted(name)).delay == of_tokens
    assert SampleStream(fitted(name)).delay == of_samples


def arrivals(stream, inputs):
    """Index of the input with which each output is returned."""
    counts = [len(stream.push(inputs[i : i + 1])) for i in range(len(inputs))]
    return np.repeat(np.arange(len(inputs)), counts)


@pytest.mark.parametrize(
    ("name", "block_size"),
    [("contextual", 10), ("padded blocks", 7), ("Table 1", 25), ("bins", 1)],
)
def test_each_output_comes_after_the_delay_or_with_its_window(
    name, block_size, fitted, ecg
):
    stream = TokenStream(fitted(name))
    arrived = arrivals(stream, ecg.data[0])
    expected = block_size * np.arange(len(arrived)) + stream.delay
    np.testing.assert_array_equal(arrived, np.minimum(expected, 249))
    stream, tokens = SampleStream(fitted(name)), fitted(name).transform(ecg.data[:1])[0]
    expected = np.arange(250) // block_size + stream.delay
    np.testing.assert_array_equal(
        arrivals(stream, tokens), np.minimum(expected, len(tokens) - 1)
    )


@given(RATES, RATES, st.integers(1, 300))
def test_resampled_samples_that_are_ready_do_not_depend_on_later_samples(
    input_fs, output_fs, n_ready_inputs
):
    X = np.zeros((2, 301))
    resampler = Resampler(input_fs, output_fs).fit(X)
    X[1, n_ready_inputs:] = 1.0
    constant, changed = resampler.transform(X)
    n_ready = resampler._pace().n_ready(n_ready_inputs)
    np.testing.assert_array_equal(changed[:n_ready], constant[:n_ready])


@pytest.mark.parametrize("network", [ContextualAutoencoder, DimReduction])
def test_latents_depend_on_the_blocks_within_the_radius(network):
    torch.manual_seed(0)
    network = network(5, 2).eval()
    for weight in network.parameters():  # some start at zero
        torch.nn.init.normal_(weight, std=0.3)
    x = torch.rand(1, 41, 5)
    changed = x.clone()
    changed[:, 20] += 1
    with torch.no_grad():
        difference = (network.encode(changed) - network.encode(x)).abs().amax((0, 2))
    radius = network.encoder_radius
    assert (difference.nonzero()[:, 0] - 20).abs().max() == radius


class OfWindows(torch.nn.Module):
    """A network that does not say which blocks a block depends on."""

    def __init__(self, block_size, latent_dim):
        super().__init__()
        self.down = torch.nn.Linear(block_size, latent_dim)
        self.up = torch.nn.Linear(latent_dim, block_size)

    def encode(self, x):
        return self.down(x - x.mean((1, 2), keepdim=True))

    def decode(self, z):
        return self.up(z)


def test_networks_without_a_radius_are_encoded_window_by_window(ecg):
    tokenizer = make_tokenizer(**QUICK).set_params(tokenize__network=OfWindows)
    tokenizer.fit(ecg.data[:100])
    assert TokenStream(tokenizer).delay == 249
    assert SampleStream(tokenizer).delay == 24


def test_a_push_transforms_at_most_once_and_only_if_tokens_are_ready(fitted, ecg):
    stream, original = TokenStream(fitted("contextual")), AmplitudeScaler.transform
    with mock.patch.object(
        AmplitudeScaler, "transform", autospec=True, side_effect=original
    ) as transform:
        n_tokens = [
            len(stream.push(piece)) for piece in np.split(ecg.data[0, :120], 24)
        ]
        assert sum(n_tokens) == transform.call_count == 4  # 12 blocks, 8 to wait for
        stream.push(ecg.data[1:4].ravel())  # completes windows and begins another
        assert transform.call_count == 5


@pytest.mark.parametrize("name", ["contextual", "gain and shape"])
def test_an_error_leaves_the_stream_as_it_was(name, fitted, ecg):
    stream, signal = TokenStream(fitted(name)), ecg.data[:2].ravel()
    expected = fitted(name).transform(ecg.data[:2]).ravel()
    tokens = [stream.push(signal[:130])]
    with pytest.raises(ValueError, match="samples contains NaN"):
        stream.push(np.append(signal[130:170], np.nan))
    with pytest.raises(ValueError, match=r"shape \(2, 9\), expected \(n_samples\)"):
        stream.push(np.ones((2, 9)))
    with pytest.raises(ValueError, match=r"overflow|beyond the bins"):
        stream.push(np.full(500, 1e39))
    tokens += [stream.push(signal[130:]), stream.push([]), stream.flush()]
    np.testing.assert_array_equal(np.concatenate(tokens), expected)

    stream = SampleStream(fitted(name))
    samples = [stream.push(expected[:9])]
    with pytest.raises(ValueError, match="outside the vocabulary"):
        stream.push([0, -1])
    with pytest.raises(TypeError, match="dtype float64, expected integers"):
        stream.push([0.0])
    with pytest.raises(ValueError, match=r"shape \(1, 2\), expected \(n_tokens\)"):
        stream.push([[0, 1]])
    with pytest.raises(ValueError, match=r"has 9 of 2[57] tokens: push the 1[68] "):
        stream.flush()
    samples += [stream.push(expected[9:]), stream.push([]), stream.flush()]
    restored = fitted(name).inverse_transform(expected.reshape(2, -1))
    np.testing.assert_array_equal(np.concatenate(samples), restored.ravel())


def test_samples_of_all_leads_are_required(ecg):
    tokenizer = bins(10, 16).fit(np.stack([ecg.data, ecg.data], axis=1))
    stream = TokenStream(tokenizer)
    for wrong in (np.ones(5), np.ones((3, 5)), np.ones((5, 2)), np.float64(1)):
        with pytest.raises(ValueError, match=r"expected \(2, n_samples\)"):
            stream.push(wrong)
    assert stream.push(np.ones((2, 0))).shape == (0,)
    assert SampleStream(tokenizer).push([]).shape == (2, 0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, bool, object])
def test_samples_of_any_dtype(dtype, fitted, ecg):
    signal = (5 * ecg.data[0]).astype(dtype)
    expected = fitted("codes").transform([signal])[0]
    found = in_pieces(TokenStream(fitted("codes")), signal, [7, 30])
    np.testing.assert_array_equal(found, expected)
    listed = TokenStream(fitted("codes")).push(signal.tolist())
    np.testing.assert_array_equal(listed, expected)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
def test_a_copy_of_a_stream_continues(copied, fitted, ecg):
    for kind, inputs in ((TokenStream, ecg.data[0]), (SampleStream, np.arange(25))):
        stream = kind(fitted("contextual"))
        stream.push(inputs[:13])
        expected = copied(stream).push(inputs[13:])
        np.testing.assert_array_equal(stream.push(inputs[13:]), expected)


def test_searches_and_frames(ecg):
    X = ecg.data[:40]
    search = GridSearchCV(bins(10, 8), {"binquantizer__n_bins": [4, 8]}, cv=2)
    search.set_params(scoring=neg_reconstruction_mse).fit(X)
    framed = bins(10, 8).set_output(transform="pandas").fit(X)
    for tokenizer in (search, framed):
        tokens = TokenStream(tokenizer).push(X[:2].ravel())
        np.testing.assert_array_equal(tokens, np.ravel(tokenizer.transform(X[:2])))
        samples = SampleStream(tokenizer).push(tokens)
        np.testing.assert_array_equal(
            samples[:250], tokenizer.inverse_transform(tokens.reshape(2, -1))[0]
        )


@pytest.mark.parametrize("stream", [TokenStream, SampleStream])
def test_tokenizers_that_have_no_stream(stream, ecg, blocks):
    with pytest.raises(NotFittedError):
        stream(make_tokenizer())
    latents = make_tokenizer(**QUICK).set_params(tokenize__quantizer=None)
    with pytest.raises(ValueError, match="no n_tokens_"):
        stream(latents.fit(ecg.data[:100]))
    with pytest.raises(ValueError, match=r"rows of shape \(25, 10\), which are blocks"):
        stream(VectorQuantizer(8, random_state=0).fit(blocks))
    of_blocks = make_pipeline(AmplitudeScaler(), BinQuantizer(8)).fit(blocks)
    with pytest.raises(ValueError, match="put a BlockSegmenter first"):
        stream(of_blocks)
