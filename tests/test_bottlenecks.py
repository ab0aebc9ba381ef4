"""What training sees of a quantiser."""

import pytest
import torch

from sktok._bottlenecks import Codebook


@pytest.fixture
def codebook():
    codes = torch.tensor([[0.0, 0.0], [1.0, 1.0], [9.0, 9.0]])
    return Codebook(codes, 0.5, 200, torch.Generator().manual_seed(0))


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
        codebook.codes.grad, torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    )


def test_idle_codes_are_moved_to_latents_while_there_is_time(codebook):
    latents = torch.randn(1, 50, 2, generator=torch.Generator().manual_seed(1))
    for _ in range(99):
        codebook(latents)
    assert (codebook.codes[2] == 9).all()
    codebook(latents)
    assert (codebook.codes[2] == latents[0]).all(dim=1).any()
    with torch.no_grad():
        codebook.codes[2] = 9.0
    for _ in range(100):
        codebook(latents)
    assert (codebook.codes[2] != 9).any()
    with torch.no_grad():
        codebook.codes[2] = 9.0
    for _ in range(300):
        codebook(latents)
    assert (codebook.codes[2] == 9).all()


def test_nothing_moves_while_held_out_windows_pass(codebook):
    codebook.eval()
    for _ in range(300):
        codebook(torch.zeros(1, 4, 2))
    assert (codebook.codes[2] == 9).all()


def test_latents_that_are_codes_already(codebook):
    for _ in range(100):
        codebook(torch.zeros(1, 4, 2))
    assert codebook.codes.isfinite().all()
