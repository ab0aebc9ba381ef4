"""ConvAETokenizer: what it learns, what it promises, what it refuses."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.utils._param_validation import InvalidParameterError

from sktok import (
    BinQuantizer,
    BlockSegmenter,
    ConvAETokenizer,
    ResidualVectorQuantizer,
    VectorQuantizer,
    make_paper_tokenizer,
)
from sktok._quantizers import _vector
from sktok._torch import fitting, training
from sktok._torch.fitting import settings_for
from sktok._torch.training import augmented
from sktok.metrics import neg_reconstruction_mse, reconstruct


class Linear(torch.nn.Module):
    """A user's own network."""

    def __init__(self, block_size, latent_dim):
        super().__init__()
        self.down = torch.nn.Linear(block_size, latent_dim)
        self.up = torch.nn.Linear(latent_dim, block_size)

    def encode(self, x):
        return self.down(x)

    def decode(self, z):
        return self.up(z)


class SteepAtZero(Linear):
    """Its loss is finite, its gradient is not."""

    def decode(self, z):
        return super().decode(z * 0.0) + torch.sqrt(self.down.bias * 0.0)


class Lazy(Linear):
    """Makes weights, and keeps a tensor, when it first sees a signal."""

    def __init__(self, block_size, latent_dim):
        super().__init__(block_size, latent_dim)
        self.down = torch.nn.LazyLinear(latent_dim)
        self.gain = None

    def encode(self, x):
        if self.gain is None:
            self.gain = torch.ones(())
        return super().encode(x) * self.gain


class WrongLatents(Linear):
    def encode(self, x):
        return x


class WrongSignal(Linear):
    def decode(self, z):
        return z


@pytest.fixture(scope="module")
def fitted(blocks, quick):
    return quick(quantizer=BinQuantizer(64)).fit(blocks)


def test_latents_and_tokens_have_the_agreed_shapes(blocks, quick):
    for latent_dim in (1, 3, 32):
        latents = quick(latent_dim=latent_dim, max_steps=2).fit_transform(blocks)
        assert latents.shape == (60, 25, latent_dim)
        assert latents.dtype == np.float32
    tokenizer = quick(latent_dim=2, quantizer=BinQuantizer(8), max_steps=2)
    tokens = tokenizer.fit_transform(blocks)
    assert tokens.shape == (60, 50)
    assert tokens.dtype == np.int64
    tokenizer.set_params(quantizer=BinQuantizer((8, 4)))
    tokens = tokenizer.fit_transform(blocks)
    assert tokens.shape == (60, 25)
    assert tokenizer.n_tokens_ == 32
    assert tokenizer.inverse_transform(tokens).shape == blocks.shape


def test_a_row_of_two_axes_is_one_block(blocks, quick):
    rows = blocks.reshape(-1, 10)
    latents = quick(latent_dim=3).fit(rows)
    assert latents.transform(rows).shape == (1500, 3)
    assert latents.inverse_transform(latents.transform(rows)).shape == rows.shape
    tokens = quick(quantizer=BinQuantizer(8)).fit(rows)
    assert tokens.transform(rows).shape == (1500, 1)
    assert tokens.inverse_transform(tokens.transform(rows)).shape == rows.shape


def test_fitted_attributes(blocks, quick):
    tokenizer = quick(max_steps=30, early_stopping=True).fit(blocks)
    assert tokenizer.block_size_ == 10
    assert tokenizer.n_steps_ == len(tokenizer.loss_curve_) == 30
    assert len(tokenizer.validation_loss_curve_) == 1
    assert tokenizer.validation_steps_ == [30]
    assert tokenizer.quantizer_ is None
    assert not hasattr(tokenizer, "n_tokens_")
    with pytest.raises(AttributeError, match="no tokens without a fitted quantizer"):
        tokenizer.n_tokens_  # noqa: B018
    assert not tokenizer.network_.training


def test_training_learns(blocks, quick):
    table_1 = {"network": "dimreduction", "latent_dim": 32}
    before = quick(max_steps=1, **table_1).fit(blocks)
    after = quick(max_steps=300, **table_1).fit(blocks)
    assert after.loss_curve_[-1] < 0.05 * after.loss_curve_[0]
    assert neg_mse(after, blocks) > 0.2 * neg_mse(before, blocks)
    assert -neg_mse(after, blocks) < 0.1 * blocks.var()


def neg_mse(tokenizer, blocks):
    return -np.mean((blocks - reconstruct(tokenizer, blocks)) ** 2)


@pytest.mark.parametrize("limits", [(-5, 5), "minmax"])
def test_the_network_is_trained_through_the_quantizer(blocks, quick, limits):
    """With few bins, a network that knows them does better (paper, section 4.3)."""
    few = BinQuantizer(4, limits=limits)
    inside = quick(max_steps=100, quantizer=few).fit(blocks)
    outside = quick(max_steps=100).fit(blocks)
    latents = outside.transform(blocks)
    restored = outside.inverse_transform(reconstruct(few.fit(latents), latents))
    assert -neg_mse(inside, blocks) < np.mean((blocks - restored) ** 2)


def test_latents_stay_within_given_limits(blocks, quick):
    limits = (-0.5, 0.5)
    quantizer = BinQuantizer(16, limits=limits)
    tokenizer = quick(max_steps=100, quantizer=quantizer).fit(blocks)
    ends = np.isin(tokenizer.transform(blocks), [0, 15])
    assert ends.mean() < 0.5


def test_quantize_passthrough_is_the_complete_process(ecg):
    pipe = make_paper_tokenizer(max_steps=20, random_state=0)
    pipe.set_params(tokenize__quantizer=pipe["quantize"], quantize="passthrough")
    pipe.fit(ecg.data[:60])
    assert pipe.transform(ecg.data).shape == (432, 25)
    assert reconstruct(pipe, ecg.data).shape == ecg.data.shape


@given(st.lists(st.integers(0, 59), min_size=1, max_size=60))
@settings(max_examples=20)
def test_tokens_do_not_depend_on_the_batch(fitted, blocks, rows):
    whole = fitted.transform(blocks)
    np.testing.assert_array_equal(fitted.transform(blocks[rows]), whole[rows])
    np.testing.assert_array_equal(
        fitted.inverse_transform(whole[rows]), fitted.inverse_transform(whole)[rows]
    )
    assert whole.min() >= 0
    assert whole.max() < fitted.n_tokens_


def test_equal_seeds_give_equal_tokens_and_others_do_not(blocks, quick):
    first, same, other = (
        quick(random_state=seed).fit_transform(blocks) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_global_generators_are_left_as_they_were(blocks, quick):
    torch_state = torch.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    quick(early_stopping=True).fit(blocks).transform(blocks)
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(
        np.random.get_state()[1],  # noqa: NPY002
        numpy_state,
    )


def test_the_global_seed_does_not_matter(blocks, quick):
    latents = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        latents.append(quick(max_steps=2).fit_transform(blocks))
    np.testing.assert_array_equal(*latents)


def test_warm_start_goes_on(blocks, quick):
    tokenizer = quick(warm_start=True).fit(blocks)
    first = tokenizer.network_
    loss = -neg_mse(tokenizer, blocks)
    for _ in range(3):
        tokenizer.fit(blocks)
    assert tokenizer.n_steps_ == len(tokenizer.loss_curve_) == 120
    assert -neg_mse(tokenizer, blocks) < loss
    assert tokenizer.network_ is not first
    assert clone(tokenizer).set_params(warm_start=False).fit(blocks).n_steps_ == 30
    with pytest.raises(ValueError, match="do not change latent_dim"):
        tokenizer.set_params(latent_dim=2).fit(blocks)


@pytest.mark.parametrize(
    "change", [{"network": "dimreduction"}, {"quantizer__limits": (-5, 5)}]
)
def test_warm_start_refuses_to_train_another_network(blocks, quick, change):
    tokenizer = quick(quantizer=BinQuantizer(8), latent_dim=1, warm_start=True)
    tokens = tokenizer.fit_transform(blocks)
    with pytest.raises(ValueError, match="do not change them, or set warm_start"):
        tokenizer.set_params(**change).fit(blocks)
    np.testing.assert_array_equal(tokenizer.transform(blocks), tokens)
    tokenizer.set_params(warm_start=False).fit(blocks)


def held_out_windows(blocks, fraction):
    """The windows that random_state=0 holds out, once the seed of weights is drawn."""
    random_state = np.random.RandomState(0)
    random_state.randint(np.iinfo(np.int32).max)
    return train_test_split(blocks, test_size=fraction, random_state=random_state)[1]


def test_early_stopping_keeps_the_best_weights(blocks, quick):
    tokenizer = quick(
        max_steps=5000,
        early_stopping=True,
        n_iter_no_change=1,
        validation_fraction=0.5,
        learning_rate=0.3,
    ).fit(blocks)
    curve = tokenizer.validation_loss_curve_
    assert tokenizer.n_steps_ == 50 * len(curve) < 5000
    n_steps = tokenizer.n_steps_
    assert tokenizer.validation_steps_ == list(range(50, n_steps + 1, 50))
    assert curve[-1] > min(curve)
    held_out = held_out_windows(blocks, 0.5)
    np.testing.assert_allclose(-neg_mse(tokenizer, held_out), min(curve), rtol=1e-4)
    again = tokenizer.set_params(warm_start=True, max_steps=20).fit(blocks)
    assert again.validation_steps_ == [n_steps + 20]


@pytest.mark.parametrize("max_steps", range(1, 25))
def test_any_number_of_steps(blocks, quick, max_steps):
    assert quick(max_steps=max_steps).fit(blocks[:4]).n_steps_ == max_steps


def test_progress_bar_shows_the_loss(blocks, quick, capsys):
    quick(max_steps=2, verbose=1).fit(blocks)
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "loss=" in shown
    quick(max_steps=2).fit(blocks)
    assert capsys.readouterr().err == ""


def test_a_network_of_ones_own(blocks):
    tokenizer = ConvAETokenizer(
        Linear, latent_dim=3, quantizer=BinQuantizer(16), max_steps=50, random_state=0
    ).fit(blocks)
    assert isinstance(tokenizer.network_, Linear)
    loaded = pickle.loads(pickle.dumps(tokenizer))
    np.testing.assert_array_equal(loaded.transform(blocks), tokenizer.transform(blocks))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            WrongLatents,
            r"encodes \(1, 25, 10\).*to \(1, 25, 10\), expected \(1, 25, 1\)",
        ),
        (WrongSignal, r"decodes to \(1, 25, 1\), expected .* \(1, 25, 10\)"),
        (Linear(10, 1), "instance of Linear: give the class"),
        (torch.nn.Linear, "Linear without the methods encode and decode"),
    ],
)
def test_a_network_that_breaks_the_protocol(blocks, network, message):
    with pytest.raises(ValueError, match=message):
        ConvAETokenizer(network).fit(blocks)


class Travelling(Linear):
    """Counts how often it was brought to the CPU."""

    n_returns = 0

    def cpu(self):
        self.n_returns += 1
        return super().cpu()


def test_the_fitted_network_comes_back_to_the_cpu(blocks):
    tokenizer = ConvAETokenizer(Travelling, max_steps=1, device="cpu").fit(blocks)
    assert tokenizer.network_.n_returns == 1
    tokenizer.transform(blocks)
    assert tokenizer.network_.n_returns == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_tokenizer_fitted_on_a_gpu_works_on_the_cpu(blocks, quick):
    tokenizer = quick(device="cuda", quantizer=BinQuantizer(64)).fit(blocks)
    on_gpu = tokenizer.transform(blocks)
    on_cpu = pickle.loads(pickle.dumps(tokenizer)).set_params(device="cpu")
    assert (on_cpu.transform(blocks) == on_gpu).mean() > 0.999


def test_a_device_that_is_not_there(blocks, quick):
    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(ValueError, match=f"device='{missing}' is not available"):
        quick(device=missing).fit(blocks)


@pytest.mark.parametrize("value", [0.0, 0.5, -3e5])
@pytest.mark.parametrize("quantizer", [None, BinQuantizer(8), VectorQuantizer(8)])
def test_constant_signal(quick, value, quantizer):
    X = np.full((8, 5, 10), value)
    tokenizer = quick(quantizer=quantizer).fit(X)
    np.testing.assert_allclose(reconstruct(tokenizer, X), X, rtol=1e-6)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.full((4, 5, 10), np.nan), "NaN"),
        (np.full((4, 5, 10), np.inf), "infinity"),
        (np.full((4, 5, 10), 1e300), "infinity or a value too large"),
        (
            np.random.default_rng(0).normal(size=(4, 5, 10)) * 1e30,
            "diverged.*Amplitude",
        ),
        (np.ones((0, 5, 10)), "0 sample"),
        (np.ones(10), "Reshape your data"),
        (np.ones((2, 2, 2, 2, 2)), "dim 5"),
    ],
)
def test_bad_fit(quick, X, message):
    with pytest.raises(ValueError, match=message):
        quick().fit(X)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.ones((2, 5, 50)), ValueError, r"shape \(5, 50\).*shape \(25, 10\)"),
        (np.ones((2, 24, 10)), ValueError, r"shape \(24, 10\).*shape \(25, 10\)"),
        (np.full((2, 25, 10), np.nan), ValueError, "NaN"),
        (np.ones((0, 25, 10)), ValueError, "0 sample"),
    ],
)
def test_bad_blocks(fitted, X, error, message):
    with pytest.raises(error, match=message):
        fitted.transform(X)


def test_blocks_too_large_for_float32_arithmetic(blocks):
    tokenizer = ConvAETokenizer(Linear, max_steps=2, random_state=0).fit(blocks)
    with torch.no_grad():
        tokenizer.network_.down.weight.fill_(10.0)
    with pytest.raises(ValueError, match=r"up to 1e\+38 .* overflow float32: scale"):
        tokenizer.transform(np.full((2, 25, 10), 1e38))


@pytest.mark.parametrize(
    ("tokens", "error", "message"),
    [
        (np.full((2, 25), 64), ValueError, "64 to 64, outside the vocabulary of 64"),
        (np.full((2, 25), -1), ValueError, "-1 to -1, outside"),
        (np.zeros((2, 25)), TypeError, "float64, expected integers"),
        (np.zeros((2, 24), int), ValueError, "24 columns, expected 25"),
    ],
)
def test_bad_tokens(fitted, tokens, error, message):
    with pytest.raises(error, match=message):
        fitted.inverse_transform(tokens)


def test_bad_latents(blocks, quick):
    tokenizer = quick(max_steps=2).fit(blocks)
    with pytest.raises(ValueError, match=r"shape \(25, 2\).*shape \(25, 1\)"):
        tokenizer.inverse_transform(np.zeros((2, 25, 2)))
    with pytest.raises(ValueError, match="NaN"):
        tokenizer.inverse_transform(np.full((2, 25, 1), np.nan))


def test_unfitted_use(blocks):
    for call in (ConvAETokenizer().transform, ConvAETokenizer().inverse_transform):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            call(blocks)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        BlockSegmenter().inverse_transform(blocks)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        BinQuantizer().inverse_transform([[0]])


def test_a_last_step_that_overflows_is_noticed(blocks, quick):
    with pytest.raises(ValueError, match=r"diverged \(weights that are not finite"):
        quick(max_steps=1, network=SteepAtZero).fit(blocks)


@pytest.mark.parametrize(
    ("X", "early_stopping"), [([[1, 1]], False), (np.eye(2), True)]
)
def test_batch_normalisation_with_too_few_blocks(quick, X, early_stopping):
    with pytest.raises(ValueError, match="give at least 2 blocks"):
        quick(network="dimreduction", early_stopping=early_stopping).fit(X)


def test_parameters_set_after_fit_change_no_tokens(blocks, quick):
    tokenizer = quick(quantizer=BinQuantizer(8), max_steps=2).fit(blocks)
    tokens = tokenizer.transform(blocks)
    signal = tokenizer.inverse_transform(tokens)
    tokenizer.set_params(latent_dim=3, quantizer=None, network=Linear)
    np.testing.assert_array_equal(tokenizer.transform(blocks), tokens)
    np.testing.assert_array_equal(tokenizer.inverse_transform(tokens), signal)


def test_blocks_are_scored_as_windows_are(blocks, quick):
    scoring = {"scoring": neg_reconstruction_mse, "cv": 2, "error_score": "raise"}
    np.testing.assert_allclose(
        cross_val_score(quick(), blocks, **scoring),
        cross_val_score(
            make_pipeline(BlockSegmenter(10), quick()),
            blocks.reshape(60, 250),
            **scoring,
        ),
    )


def test_a_fit_that_fails_leaves_it_unfitted_or_as_it_was(blocks, quick):
    tokenizer = quick(max_steps=2).fit(blocks)
    with pytest.raises(ValueError, match="diverged"):
        tokenizer.fit(blocks[:, :5] * 1e30)
    with pytest.raises(NotFittedError):
        tokenizer.transform(blocks)
    tokenizer = quick(max_steps=2, warm_start=True).fit(blocks)
    before = tokenizer.transform(blocks)
    with pytest.raises(ValueError, match="diverged"):
        tokenizer.fit(blocks * 1e30)
    np.testing.assert_array_equal(tokenizer.transform(blocks), before)


def test_more_bins_lose_less(ecg):
    pipe = make_paper_tokenizer(limits="minmax", max_steps=300, random_state=0)
    latents = pipe[:-1].fit_transform(ecg.data)
    errors = []
    for n_bins in (2, 16, 256):
        quantizer = BinQuantizer(n_bins).fit(latents)
        pipe.set_params(quantize=quantizer)
        errors.append(-neg_reconstruction_mse(pipe, ecg.data))
    assert errors == sorted(errors, reverse=True)


def test_a_codebook_is_trained_with_the_network(blocks, quick):
    start = quick(quantizer=VectorQuantizer(16), max_steps=1, learning_rate=1e-9)
    trained = quick(quantizer=VectorQuantizer(16), max_steps=60)
    start.fit(blocks), trained.fit(blocks)
    kmeans = VectorQuantizer(16, random_state=0).fit(blocks)
    assert -neg_mse(start, blocks) < 1.1 * -neg_mse(kmeans, blocks)
    assert -neg_mse(trained, blocks) < 0.9 * -neg_mse(start, blocks)
    assert (trained.quantizer_.codes_ != start.quantizer_.codes_).any()
    assert trained.n_tokens_ == 16
    tokens = trained.transform(blocks)
    assert len(np.unique(tokens)) == 16
    with torch.inference_mode():
        latents = trained.network_.encode(torch.from_numpy(blocks).float())
    distance = torch.cdist(latents, torch.from_numpy(trained.quantizer_.codes_))
    assert (distance.argmin(-1).numpy() == tokens).mean() > 0.999


def test_a_codebook_without_a_seed_takes_that_of_the_tokenizer(blocks, quick):
    first, same = (
        quick(quantizer=VectorQuantizer(16), max_steps=3).fit_transform(blocks)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, same)


def test_warm_start_keeps_the_codebook(blocks, quick):
    tokenizer = quick(quantizer=VectorQuantizer(16), warm_start=True, max_steps=40)
    tokens = tokenizer.fit(blocks).transform(blocks)
    tokenizer.set_params(max_steps=1, learning_rate=1e-9).fit(blocks)
    np.testing.assert_array_equal(tokenizer.transform(blocks), tokens)
    tokenizer.set_params(quantizer__n_codes=8).fit(blocks)
    assert tokenizer.n_tokens_ == 8


def test_more_codes_than_blocks(quick):
    X = np.random.default_rng(0).normal(size=(3, 2, 4))
    tokenizer = quick(quantizer=VectorQuantizer(256)).fit(X)
    np.testing.assert_allclose(reconstruct(tokenizer, X), X, atol=0.2)


def test_a_network_of_ones_own_has_a_codebook_too(blocks):
    tokenizer = ConvAETokenizer(
        Linear, quantizer=VectorQuantizer(32), max_steps=50, random_state=0
    ).fit(blocks)
    assert tokenizer.latent_dim_ == 10
    loaded = pickle.loads(pickle.dumps(tokenizer))
    np.testing.assert_array_equal(loaded.transform(blocks), tokenizer.transform(blocks))


@pytest.mark.parametrize(
    ("quantizer", "latent_dim"),
    [
        (None, 1),
        (BinQuantizer(8), 1),
        (BinQuantizer((2, 3, 4)), 3),
        (VectorQuantizer(8), 10),
    ],
)
def test_one_token_of_a_block_unless_told_otherwise(
    blocks, quick, quantizer, latent_dim
):
    tokenizer = quick(quantizer=quantizer, max_steps=1).fit(blocks)
    assert tokenizer.latent_dim_ == latent_dim
    rows = tokenizer.transform(blocks)
    assert rows.reshape(60, -1).shape == (60, 25)


def test_bins_lie_between_limits_known_by_construction(blocks, quick):
    tokenizer = quick(quantizer=BinQuantizer(8)).fit(blocks)
    assert (tokenizer.quantizer_.edges_[[0, -1]] == [-1, 1]).all()
    far = tokenizer.transform(1000 * blocks)
    assert far.max() < 8
    tokenizer = quick(quantizer=BinQuantizer(8, limits=(-5, 5))).fit(blocks)
    assert (tokenizer.quantizer_.edges_[[0, -1]] == [-5, 5]).all()
    assert len(np.unique(tokenizer.transform(blocks))) > 2


def test_settings_follow_network_block_size_and_data():
    tokenizer = ConvAETokenizer(batch_size=7)
    long, short = (settings_for(tokenizer, 344, 250 // n, n) for n in (10, 5))
    assert long["augment"]
    assert not short["augment"]
    assert long["learning_rate"] > short["learning_rate"]
    assert long["batch_size"] == short["batch_size"] == 7
    assert long["max_steps"] < short["max_steps"]
    tokenizer = ConvAETokenizer("dimreduction", augment=True)
    assert settings_for(tokenizer, 344, 25, 10) == {
        "max_steps": 2000,
        "batch_size": 32,
        "learning_rate": 0.03,
        "augment": True,
        "n_leads": 1,
    }


@pytest.mark.parametrize("shape", [(50, 25, 10), (50, 1, 250), (50, 3, 1), (50, 1, 1)])
def test_augmented_windows_differ_in_tempo_gain_and_offset(shape):
    generator = torch.Generator().manual_seed(0)
    batch = torch.randn(shape, generator=generator)
    changed = augmented(batch, batch.std(), generator)
    assert changed.shape == batch.shape
    assert changed.isfinite().all()
    assert (changed != batch).float().mean() > 0.9
    flat = augmented(torch.full(shape, 3.0), torch.tensor(1.0), generator).flatten(1)
    torch.testing.assert_close(flat, flat[:, :1].expand_as(flat))
    assert flat[:, 0].std() > 0.05


def test_a_stretched_ramp_is_a_slower_ramp():
    ramp = torch.arange(250.0).expand(8, 250).reshape(8, 25, 10)
    changed = augmented(ramp, torch.tensor(0.0), torch.Generator().manual_seed(0))
    slope = changed.flatten(1).diff(dim=1)
    torch.testing.assert_close(slope, slope[:, :1].expand_as(slope), rtol=1e-3, atol=0)
    assert (slope.std(dim=0) > 0).all()  # each window has a gain of its own


@pytest.mark.parametrize(
    ("n_blocks", "block_size", "growth"), [(25, 10, 0.4), (2, 125, 0.15), (1, 250, 0.3)]
)
def test_windows_grow_by_samples_of_a_block_or_by_a_part_of_a_block(
    monkeypatch, n_blocks, block_size, growth
):
    monkeypatch.setattr(training, "_GAIN_SPREAD", 0.0)
    ramp = torch.arange(250.0).view(1, n_blocks, block_size)
    generator = torch.Generator().manual_seed(0)
    spans = [
        np.ptp(augmented(ramp, torch.tensor(0.0), generator).numpy())
        for _ in range(300)
    ]
    assert 0.95 * growth < 249 / min(spans) - 1 <= growth


def test_a_network_may_make_tensors_when_it_first_sees_a_signal(blocks, quick):
    tokenizer = quick(network=Lazy, warm_start=True, early_stopping=True)
    tokenizer.fit(blocks).transform(blocks)
    assert tokenizer.fit(blocks).n_steps_ == 60


@pytest.mark.parametrize(
    "quantizer",
    [
        BinQuantizer(0),
        BinQuantizer(1),
        BinQuantizer([4, 4]),
        BinQuantizer(limits=[-1, 1]),
        BinQuantizer(centers="means"),
        BinQuantizer(strategy="bogus"),
        VectorQuantizer(0),
    ],
)
def test_the_quantizer_inside_is_validated(blocks, quick, quantizer):
    with pytest.raises(InvalidParameterError):
        quick(quantizer=quantizer).fit(blocks)


@pytest.mark.parametrize(
    "change", [{"n_candidates": 0}, {"n_candidates": 2.5}, {"device": "gpu"}]
)
def test_parameters_set_after_fit_are_validated(blocks, quick, change):
    tokenizer = quick(quantizer=BinQuantizer(8)).fit(blocks)
    tokens = tokenizer.transform(blocks)
    tokenizer.set_params(**change)
    with pytest.raises(InvalidParameterError):
        tokenizer.transform(blocks)
    with pytest.raises(InvalidParameterError):
        tokenizer.inverse_transform(tokens)


@pytest.mark.parametrize("quantizer", [BinQuantizer(16), VectorQuantizer(16)])
def test_the_codebook_of_a_network_without_neighbours(blocks, quick, quantizer):
    tokenizer = quick(network="dimreduction", quantizer=quantizer).fit(blocks)
    tokens = tokenizer.transform(blocks)
    assert tokenizer.codebook_.shape == (16, 10)
    assert tokenizer.codebook_.dtype == np.float32
    restored = tokenizer.inverse_transform(tokens)
    np.testing.assert_array_equal(restored, tokenizer.codebook_[tokens])
    latents = torch.from_numpy(tokenizer.quantizer_.codes_)[tokens]
    with torch.no_grad():
        by_network = tokenizer.network_.decode(latents.float())
    np.testing.assert_allclose(restored, by_network, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "params",
    [
        {"network": "contextual", "quantizer": VectorQuantizer(16)},
        {"network": "dimreduction"},
        {"network": "dimreduction", "latent_dim": 2, "quantizer": BinQuantizer(16)},
        {"network": "dimreduction", "quantizer": BinQuantizer((300, 300))},
    ],
)
def test_no_codebook_where_a_block_is_more_than_one_of_few_tokens(
    blocks, quick, params
):
    tokenizer = quick(max_steps=2, **params).fit(blocks)
    assert tokenizer.codebook_ is None
    assert tokenizer.inverse_transform(tokenizer.transform(blocks)).shape == (
        blocks.shape
    )


def test_windows_in_double_precision_give_the_same_tokens(fitted, blocks):
    expected = fitted.transform(blocks.astype(np.float32))
    np.testing.assert_array_equal(fitted.transform(blocks.astype(np.float64)), expected)
    with pytest.raises(ValueError, match=r"up to 1e\+300 .* overflow float32: scale"):
        fitted.transform(np.full((2, 25, 10), 1e300))


def test_windows_that_cannot_be_written_to(blocks, quick):
    blocks = blocks.astype(np.float32)
    expected = quick(max_steps=2).fit(blocks).transform(blocks)
    blocks.flags.writeable = False
    np.testing.assert_array_equal(
        quick(max_steps=2).fit(blocks).transform(blocks), expected
    )


def testfitting_leaves_the_windows_as_they_were(blocks, quick):
    X = blocks.astype(np.float32)
    quick(max_steps=2, quantizer=VectorQuantizer(16), augment=True).fit(X)
    np.testing.assert_array_equal(X, blocks.astype(np.float32))


def test_a_codebook_starts_from_some_of_many_windows(blocks, quick, monkeypatch):
    monkeypatch.setattr(fitting, "_START_SAMPLES", 2000)
    seen = []
    encode = fitting.encode
    monkeypatch.setattr(
        fitting, "encode", lambda net, X, *a: seen.append(len(X)) or encode(net, X, *a)
    )
    quick(max_steps=2, quantizer=VectorQuantizer(16)).fit(blocks)
    assert seen == [8]  # 8 * 250 samples


def test_importing_the_package_does_not_import_torch():
    program = (
        "import sys, sktok; sktok.make_tokenizer().get_params(); "
        "print({'torch', 'sklearn.cluster'} & set(sys.modules))"
    )
    shown = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert shown.strip() == "set()"


class DividesByDeviation(Linear):
    """Fails on a block without variation, which no window here has."""

    def encode(self, x):
        return super().encode(x / x.std(2, keepdim=True))


def test_chunks_are_filled_up_with_real_windows(ecg):
    X = ecg.data.reshape(432, 25, 10)
    X = X[X.std(axis=2).min(axis=1) > 0]
    tokenizer = ConvAETokenizer(
        DividesByDeviation, quantizer=BinQuantizer(16), max_steps=3, random_state=0
    ).fit(X)
    tokens = tokenizer.transform(X)
    np.testing.assert_array_equal(tokenizer.transform(X[:3]), tokens[:3])


def test_early_stopping_holds_out_whole_patients(ecg, monkeypatch):
    X = ecg.data.reshape(432, 25, 10)
    patients = np.arange(432) % 6
    held_out = []
    split = fitting.split

    def noted(*args):
        train_indices, validation = split(*args)
        held_out.append(validation)
        assert not set(patients[train_indices]) & set(patients[validation])
        return train_indices, validation

    monkeypatch.setattr(fitting, "split", noted)
    tokenizer = ConvAETokenizer(
        early_stopping=True, validation_fraction=0.3, max_steps=3, random_state=0
    )
    tokenizer.fit(X, groups=patients)
    assert len(set(patients[held_out[0]])) == 2
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        tokenizer.fit(X, groups=patients[1:])
    with config_context(enable_metadata_routing=True):  # routed without a request
        make_paper_tokenizer(max_steps=3).set_params(tokenize__early_stopping=True).fit(
            ecg.data, groups=patients
        )
    assert len(held_out) == 2


@pytest.mark.parametrize("n_bins", [2, 256, 5000])
def test_bins_behind_table_1_are_restored_by_look_up(ecg, n_bins):
    pipe = make_paper_tokenizer(10, n_bins, max_steps=3, random_state=0).fit(ecg.data)
    tokens = pipe.transform(ecg.data)
    tokens[:, :] = np.random.default_rng(0).integers(0, n_bins, tokens.shape)
    latents = pipe["quantize"].inverse_transform(tokens)
    with torch.inference_mode():
        expected = pipe["tokenize"].network_.decode(torch.from_numpy(latents))
    restored = pipe["tokenize"].inverse_transform(latents)
    np.testing.assert_allclose(restored, expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("values", [1, 40, 400, 3000])
def test_equal_latents_give_equal_blocks_whatever_the_others_are(blocks, quick, values):
    tokenizer = quick(network="dimreduction", max_steps=3).fit(blocks)
    rng = np.random.default_rng(0)
    latents = rng.normal(size=values).astype(np.float32)
    latents = rng.choice(latents, (2000, 25, 1))
    whole = tokenizer.inverse_transform(latents)
    parts = [tokenizer.inverse_transform(part) for part in np.split(latents, 400)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_changed_weights_are_not_decoded_by_an_old_look_up(blocks, quick):
    tokenizer = quick(network="dimreduction", max_steps=3).fit(blocks)
    latents = np.resize(np.float32([0.1, 0.2]), (60, 25, 1))
    before = tokenizer.inverse_transform(latents)
    with torch.no_grad():
        tokenizer.network_.decoder[-2].bias.add_(1.0)  # before the sigmoid
    assert (tokenizer.inverse_transform(latents) > before).all()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("network", ["contextual", "dimreduction"])
def test_weights_that_others_train_are_used_at_once(blocks, quick, network, fused):
    tokenizer = quick(network=network, max_steps=3).fit(blocks)
    latents = tokenizer.transform(blocks[:60])
    tokenizer.inverse_transform(latents)
    weights = tokenizer.network_.requires_grad_(True).parameters()
    optimizer = torch.optim.AdamW(weights, 0.1, fused=fused)  # fused counts no change
    x = torch.tensor(blocks[:60], dtype=torch.float32)
    tokenizer.network_.decode(tokenizer.network_.encode(x)).sum().backward()
    optimizer.step()
    changed = tokenizer.transform(blocks[:60])
    assert not np.array_equal(changed, latents)
    fresh = pickle.loads(pickle.dumps(tokenizer))
    np.testing.assert_array_equal(fresh.transform(blocks[:60]), changed)
    restored = tokenizer.inverse_transform(latents)
    np.testing.assert_array_equal(fresh.inverse_transform(latents), restored)


def test_stages_that_a_quantizer_lacks_are_refused_before_training(blocks, quick):
    for quantizer, n_stages in (
        (VectorQuantizer(8), 1),
        (ResidualVectorQuantizer(8), 3),
        (None, 1),
    ):
        tokenizer = quick(quantizer=quantizer, n_stages=n_stages)
        with pytest.raises(ValueError, match=f"n_stages={n_stages}, but quantizer="):
            tokenizer.fit(blocks)
        fitted = quick(quantizer=quantizer).fit(blocks).set_params(n_stages=n_stages)
        with pytest.raises(ValueError, match="lower n_stages"):
            fitted.transform(blocks)


def test_a_beam_width_that_is_set_after_fit(blocks, quick):
    tokenizer = quick(quantizer=ResidualVectorQuantizer(8, 4)).fit(blocks)
    vocabulary = tokenizer._fingerprint_state()["quantizer_"]._fingerprint_state()
    tokens = tokenizer.transform(blocks)
    restored = tokenizer.inverse_transform(tokens)
    tokenizer.set_params(quantizer__beam_width=1)
    greedy = tokenizer.transform(blocks)
    assert 0 < (greedy != tokens).mean() < 0.9
    # The meaning of a token is the same.
    after = tokenizer._fingerprint_state()["quantizer_"]._fingerprint_state()
    np.testing.assert_equal(after, vocabulary)
    np.testing.assert_array_equal(tokenizer.inverse_transform(tokens), restored)
    with pytest.raises(ValueError, match="'beam_width' parameter"):
        tokenizer.set_params(quantizer__beam_width=0).transform(blocks)


def test_warm_starts_with_another_weight(blocks, quick, monkeypatch):
    monkeypatch.setattr(_vector, "_ENOUGH_VECTORS", 0)  # earlier uses do not count
    tokenizer = quick(quantizer=VectorQuantizer(32, rate_weight=0.05), warm_start=True)
    n_tokens = tokenizer.fit(blocks).n_tokens_
    assert n_tokens < 32
    tokenizer.quantizer.set_params(rate_weight=0.01)
    assert tokenizer.fit(blocks).n_tokens_ <= n_tokens
    tokenizer.quantizer.set_params(rate_weight=0.0)
    assert tokenizer.fit(blocks).n_tokens_ == 32
    assert not hasattr(tokenizer.quantizer_, "code_lengths_")


def test_a_small_last_batch_of_a_stream_keeps_the_codes(blocks, quick):
    quantizer = VectorQuantizer(32, rate_weight=0.001)
    tokenizer = quick(quantizer=quantizer, max_steps=50, batch_size=10)
    for _ in range(3):
        tokenizer.partial_fit(blocks)
    n_tokens = tokenizer.n_tokens_
    tokenizer.partial_fit(blocks[:2])
    assert tokenizer.n_tokens_ > 0.9 * n_tokens
