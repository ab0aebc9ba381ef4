"""What training sees of a quantiser."""

import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise_distances_argmin

from sktok import BinQuantizer, ResidualVectorQuantizer, VectorQuantizer
from sktok._torch.bottleneck import Bottleneck


def codebook_in_training(codes, max_steps=400, random_state=0):
    """The bottleneck of a `VectorQuantizer` with given codes."""
    quantizer = VectorQuantizer(len(codes), random_state=0)
    latents = np.array([codes], np.float32)
    state = quantizer.start_training(
        latents, limits=None, max_steps=max_steps, seed=0, earlier=None
    )
    quantizer.codes_ = latents[0]
    generator = torch.Generator().manual_seed(random_state)
    return Bottleneck(quantizer, state | {"power": 0.5}, generator)


@pytest.fixture
def codebook():
    return codebook_in_training([[0.0, 0.0], [1.0, 1.0], [9.0, 9.0]])


def test_latents_become_the_nearest_codes_at_a_penalty(codebook):
    latents = torch.tensor([[[0.1, 0.0], [0.9, 1.0]]])
    quantized, penalty = codebook(latents)
    torch.testing.assert_close(quantized, torch.tensor([[[0.0, 0.0], [1.0, 1.0]]]))
    torch.testing.assert_close(penalty, torch.tensor(2.0 * 1.5 * 0.005))


def test_the_gradient_reaches_latents_and_codes(codebook):
    latents = torch.tensor([[[0.1, 0.0], [0.9, 1.0]]], requires_grad=True)
    quantized, _ = codebook(latents)
    quantized.sum().backward()
    assert (latents.grad == 1).all()
    torch.testing.assert_close(
        codebook.codes_.grad, torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    )


def test_idle_codes_are_moved_in_the_first_half_of_training(codebook):
    latents = torch.randn(1, 50, 2, generator=torch.Generator().manual_seed(1))
    for _ in range(99):
        codebook(latents)
    assert (codebook.codes_[2] == 9).all()
    codebook(latents)
    assert (codebook.codes_[2] == latents[0]).all(dim=1).any()
    codebook.codes_.data[2] = 9.0
    for _ in range(100):
        codebook(latents)
    assert (codebook.codes_[2] != 9).any()
    codebook.codes_.data[2] = 9.0
    for _ in range(300):
        codebook(latents)
    assert (codebook.codes_[2] == 9).all()


def test_a_moved_code_does_not_keep_the_moments_of_its_old_place(codebook):
    optimizer = torch.optim.AdamW([codebook.codes_], lr=0.1, weight_decay=0.0)
    latents = torch.randn(1, 50, 2, generator=torch.Generator().manual_seed(1))
    for step in range(100):
        _, penalty = codebook(latents)
        optimizer.zero_grad()
        penalty.backward()
        if step == 99:  # momentum away from the place that the code was just moved to
            optimizer.state[codebook.codes_]["exp_avg"][2] = 5.0
        codebook.reset_moments(optimizer)
        optimizer.step()
    # The code is on one of the latents, not next to it.
    assert (codebook.codes_[2] == latents[0]).all(dim=1).any()
    assert (optimizer.state[codebook.codes_]["exp_avg"][2] == 0).all()


def test_nothing_moves_while_held_out_windows_are_scored(codebook):
    codebook.eval()
    for _ in range(300):
        codebook(torch.zeros(1, 4, 2))
    assert (codebook.codes_[2] == 9).all()


def test_latents_that_are_codes_already(codebook):
    for _ in range(100):
        codebook(torch.zeros(1, 4, 2))
    assert codebook.codes_.isfinite().all()


def test_the_state_goes_on_in_another_bottleneck(codebook):
    latents = torch.randn(1, 50, 2, generator=torch.Generator().manual_seed(1))
    for _ in range(150):
        codebook(latents)
    quantizer = codebook.collect_result()
    other = Bottleneck(quantizer, codebook.to_plain(), torch.Generator())
    other.generator.set_state(codebook.generator.get_state())
    for bottleneck in (codebook, other):
        for _ in range(60):
            bottleneck(latents)
    assert torch.equal(codebook.codes_, other.codes_)
    assert codebook.n_batches == other.n_batches


def test_held_out_windows_do_not_move_the_bins():
    quantizer = BinQuantizer(4)
    bins = Bottleneck(quantizer, {}, torch.Generator())
    bins(torch.linspace(0, 1, 8).reshape(1, 8, 1))
    quantized, _ = bins.eval()(torch.full((1, 8, 1), 5.0))
    np.testing.assert_array_equal(quantizer.edges_, [0, 0.25, 0.5, 0.75, 1])
    assert (quantized == 0.875).all()


def in_training(quantizer, latents, max_steps=4000):
    state = quantizer.start_training(
        latents, limits=None, max_steps=max_steps, seed=0, earlier=None
    )
    return Bottleneck(quantizer, state, torch.Generator().manual_seed(0))


def test_a_frequent_code_is_preferred_when_bits_cost():
    rng = np.random.default_rng(0)
    latents = np.where(rng.random((50, 40, 1)) < 0.95, 0.0, 1.0).astype(np.float32)
    codebook = in_training(VectorQuantizer(2, rate_weight=0.2), latents)
    near = torch.tensor([[[0.52], [0.52]]])  # a little nearer to the rare code
    codebook.eval()
    rare = int(codebook.codes_.argmax())
    assert (codebook(near)[0] == codebook.codes_[rare]).all()  # all cost the same
    codebook.train()
    for _ in range(600):
        codebook(torch.from_numpy(latents))
    codebook.eval()
    assert (codebook(near)[0] == codebook.codes_[1 - rare]).all()
    shares = codebook.shares.numpy()
    np.testing.assert_allclose(shares[rare], latents.mean(), atol=0.01)


def test_some_windows_are_restored_from_fewer_stages():
    latents = np.random.default_rng(0).normal(size=(8, 50, 2)).astype(np.float32)
    codebook = in_training(ResidualVectorQuantizer(4, 3, random_state=0), latents)
    latents = torch.from_numpy(latents)
    quantizer = codebook.quantizer
    tokens = quantizer.quantize(latents.numpy())
    nearest = pairwise_distances_argmin(latents[0], quantizer.codes_[:4])
    # A quarter of the windows has fewer stages: one has one, one has two.
    quantized, _ = codebook(latents)
    np.testing.assert_allclose(
        quantized[0].detach(), quantizer.codes_[nearest], atol=1e-6
    )
    n_codes = [len(np.unique(each.detach(), axis=0)) for each in quantized]
    assert n_codes[0] <= 4 < n_codes[1] <= 16
    # In training, several starts are tried for the largest errors only.
    expected = torch.from_numpy(quantizer.codes_[tokens].sum(axis=2))
    best = (latents - expected)[2:].square().sum(2)
    error = (latents - quantized.detach())[2:].square().sum(2)
    assert (error > best - 1e-5).all()
    assert error.mean() < 1.1 * best.mean() < 1.1 * error.mean()
    quantized, _ = codebook.eval()(latents)
    expected = quantizer.codes_[tokens].sum(axis=2)
    np.testing.assert_allclose(quantized.detach(), expected, atol=1e-6)


def test_the_share_of_windows_with_fewer_stages():
    latents = np.random.default_rng(0).normal(size=(8, 50, 2)).astype(np.float32)
    quantizer = ResidualVectorQuantizer(4, 3, stage_dropout=0.6, random_state=0)
    quantized, _ = in_training(quantizer, latents)(torch.from_numpy(latents))
    n_codes = [len(np.unique(each.detach(), axis=0)) for each in quantized]
    assert max(n_codes[:2]) <= 4 < min(n_codes[2:4])
    assert max(n_codes[2:4]) <= 16 < min(n_codes[4:])


def test_idle_codes_of_each_stage_are_moved():
    latents = np.random.default_rng(0).normal(size=(8, 50, 2)).astype(np.float32)
    quantizer = ResidualVectorQuantizer(4, random_state=0)
    codebook = in_training(quantizer, latents)
    codebook.codes_.data[[2, 6]] = 99.0
    for _ in range(100):
        codebook(torch.from_numpy(latents))
    assert (codebook.codes_ < 10).all()
    # The first stage moves a code to a latent, the second to what the first one left.
    assert (codebook.codes_[2] == torch.from_numpy(latents)).all(-1).any()
    assert not (codebook.codes_[6] == torch.from_numpy(latents)).all(-1).any()
