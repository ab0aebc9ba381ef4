"""Operations whose sums have a fixed order: right gradients, any number of threads."""

import pytest
import torch

from sktok._torch.sums import convolve, mean_by_window, product
from sktok._torch.threads import limited_threads
from sktok.networks import ContextualAutoencoder


def double(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return values.requires_grad_()


@pytest.mark.parametrize("n_rows", [1, 63, 64, 65, 200])
def test_gradient_of_a_product(n_rows):
    arguments = double(n_rows, 3), double(3, 2, seed=1)
    assert torch.autograd.gradcheck(product, arguments)
    torch.testing.assert_close(product(*arguments), arguments[0] @ arguments[1])


@pytest.mark.parametrize("n_blocks", [1, 2, 7])
@pytest.mark.parametrize("radius", [0, 1, 2])
def test_gradient_of_a_convolution(n_blocks, radius):
    rows, kernel = double(3 * n_blocks, 4), double(2 * radius + 1, 4, seed=1)
    assert torch.autograd.gradcheck(
        lambda rows, kernel: convolve(rows, n_blocks, kernel), (rows, kernel)
    )
    expected = torch.nn.functional.conv1d(
        rows.view(3, n_blocks, 4).transpose(1, 2),
        kernel.T[:, None],
        padding=radius,
        groups=4,
    ).transpose(1, 2)
    torch.testing.assert_close(convolve(rows, n_blocks, kernel), expected.flatten(0, 1))


@pytest.mark.parametrize("shape", [(64, 25, 10), (1600, 1, 50), (13, 125, 2)])
def test_gradients_do_not_depend_on_the_number_of_threads(shape):
    torch.manual_seed(0)
    network = ContextualAutoencoder(shape[-1], 3)
    for weights in network.parameters():  # no layer is zero any more
        torch.nn.init.normal_(weights, std=0.2)
    windows = torch.randn(shape)
    gradients = []
    for n_threads in (1, 2, 3):
        with limited_threads(n_threads):
            error = network.decode(network.encode(windows)) - windows
            loss = mean_by_window(error.square())
            gradients.append(torch.autograd.grad(loss, list(network.parameters())))
    for others in gradients[1:]:
        assert all(map(torch.equal, gradients[0], others))
