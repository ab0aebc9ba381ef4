"""Operations whose sums have a fixed order: right gradients, any number of threads."""

import pytest
import torch

from sktok import networks
from sktok._torch.sums import (
    as_image_kernel,
    convolution_gradients,
    convolve,
    mean_by_window,
    product,
)
from sktok._torch.threads import limited_threads
from sktok.networks import ContextualAutoencoder


def double(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return values.requires_grad_()


@pytest.mark.parametrize("n_rows", [1, 63, 64, 65, 200])
def test_a_product_and_its_gradient(n_rows):
    rows, weight, addend = double(n_rows, 3), double(3, 2, seed=1), double(n_rows, 2)
    assert torch.autograd.gradcheck(product, (rows, weight))
    assert torch.autograd.gradcheck(product, (rows, weight, addend))
    torch.testing.assert_close(product(rows, weight), rows @ weight)
    expected = addend + rows @ weight
    torch.testing.assert_close(product(rows, weight, addend), expected)
    with torch.no_grad():
        torch.testing.assert_close(product(rows, weight, addend.clone()), expected)


@pytest.mark.parametrize("n_blocks", [1, 2, 7])
@pytest.mark.parametrize("radius", [0, 1, 2])
def test_a_convolution_and_its_gradients(n_blocks, radius):
    rows, kernel = double(3 * n_blocks, 4), double(2 * radius + 1, 4, seed=1)
    output = convolve(rows, n_blocks, as_image_kernel(kernel))
    expected = torch.nn.functional.conv1d(
        rows.view(3, n_blocks, 4).transpose(1, 2),
        kernel.T[:, None],
        padding=radius,
        groups=4,
    ).transpose(1, 2)
    torch.testing.assert_close(output, expected.flatten(0, 1))
    d_output = torch.randn_like(output)
    found = convolution_gradients(d_output, rows, n_blocks, kernel)
    for gradient, by_torch in zip(
        found, torch.autograd.grad(output, (rows, kernel), d_output), strict=True
    ):
        torch.testing.assert_close(gradient, by_torch)


@pytest.mark.parametrize("radius", [1, 2])
def test_the_gradient_of_a_residual_layer(radius):
    h, kernel = double(3 * 7, 16), double(2 * radius + 1, 16, seed=1)
    weight, bias = double(16, 16, seed=2), double(16, seed=3)

    def activate(h, kernel, weight, bias):
        weights = as_image_kernel(kernel.detach()), weight, bias, h.new_full((), 1e-5)
        return networks._Activate.apply(h, 7, kernel, *weights)

    assert torch.autograd.gradcheck(activate, (h, kernel, weight, bias))


@pytest.mark.parametrize("shape", [(64, 25, 10), (1600, 1, 50), (13, 125, 2)])
def test_gradients_do_not_depend_on_the_number_of_threads(shape):
    torch.manual_seed(0)
    network = ContextualAutoencoder(shape[-1], 3)
    for weights in network.parameters():  # no layer is zero any more
        torch.nn.init.normal_(weights, std=0.2)
    windows = torch.randn(shape)
    gradients = []
    for n_threads in (1, 2, 3, 8, 16):
        with limited_threads(n_threads):
            error = network.decode(network.encode(windows)) - windows
            loss = mean_by_window(error.square())
            gradients.append(torch.autograd.grad(loss, list(network.parameters())))
    for others in gradients[1:]:
        assert all(map(torch.equal, gradients[0], others))
