"""Table 1 as printed, the contextual network, and windows that do not meet."""

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from sktok import networks
from sktok._torch.inference import encode
from sktok.networks import ContextualAutoencoder, DimReduction

BLOCK_SIZES = [250, 125, 50, 25, 10, 5, 2]


def shapes_of(sequential, x):
    """The shape behind every layer that the table lists."""
    shapes = []
    for layer in sequential:
        x = layer(x)
        if not isinstance(layer, torch.nn.BatchNorm1d | torch.nn.ReLU):
            shapes.append(tuple(x.shape))
    return shapes


@pytest.mark.parametrize("n", BLOCK_SIZES)
def test_shapes_are_those_of_table_1(n):
    network = DimReduction(n, latent_dim=32)
    B, half = 3, math.ceil(n / 2)
    x = torch.rand(B, 1, n)
    assert shapes_of(network.encoder, x) == [
        (B, 8, n),
        (B, 16, n),
        (B, 32, n),
        (B, 32, 1),
    ]
    assert shapes_of(network.decoder, network.encoder(x)) == [
        (B, 16, 1),
        (B, 16, half),
        (B, 8, half),
        (B, 8, n),
        (B, 1, n),
        (B, 1, n),
    ]
    assert network(x).shape == (B, 1, n)


@pytest.mark.parametrize(
    ("latent_dim", "extra"), [(32, 0), (1, 33 + 64), (3, 99 + 128)]
)
def test_number_of_parameters(latent_dim, extra):
    network = DimReduction(5, latent_dim)
    assert sum(p.numel() for p in network.parameters()) == 4129 + extra


def test_layers_are_those_of_table_1():
    network = DimReduction(10)
    convolutions = [
        (type(m).__name__, m.in_channels, m.out_channels, m.kernel_size, m.padding)
        for m in network.modules()
        if isinstance(m, torch.nn.Conv1d | torch.nn.ConvTranspose1d)
    ]
    assert convolutions == [
        ("Conv1d", 1, 8, (3,), (1,)),
        ("Conv1d", 8, 16, (3,), (1,)),
        ("Conv1d", 16, 32, (3,), (1,)),
        ("ConvTranspose1d", 32, 16, (3,), (1,)),
        ("ConvTranspose1d", 16, 8, (3,), (1,)),
        ("ConvTranspose1d", 8, 1, (3,), (1,)),
    ]
    assert isinstance(network.decoder[-1], torch.nn.Sigmoid)


@pytest.mark.parametrize(("n", "n_equal"), [(10, 4), (250, 244), (5, 1)])
def test_upsampling_makes_the_middle_of_a_block_constant(n, n_equal):
    """The table's decoder cannot restore large blocks, for any latents."""
    torch.manual_seed(0)
    network = DimReduction(n).double().eval()
    with torch.inference_mode():
        block = network.decoder(torch.randn(1, 32, 1, dtype=torch.float64))[0, 0]
    middle = block[(n - n_equal) // 2 :][:n_equal]
    torch.testing.assert_close(middle, middle[:1].expand(n_equal))
    assert len(torch.unique((block * 1e9).round())) == n - n_equal + 1


@pytest.mark.parametrize("block_size", [1, 2, 10])
def test_encode_and_decode_treat_every_block_alone(block_size):
    network = DimReduction(block_size, latent_dim=2).eval()
    x = torch.rand(4, 6, block_size)
    with torch.inference_mode():
        z = network.encode(x)
        assert z.shape == (4, 6, 2)
        assert network.decode(z).shape == x.shape
        torch.testing.assert_close(
            z[1:2, 3:4], network.encoder(x[1, 3].reshape(1, 1, -1)).reshape(1, 1, 2)
        )
        torch.testing.assert_close(
            network.decode(z)[1, 3], network(x[1, 3].reshape(1, 1, -1))[0, 0]
        )


def assert_same_bits_in_any_batch(network, X, threads):
    whole = encode(network, X)
    used = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        order = np.random.default_rng(1).permutation(len(X))
        for rows in np.array_split(order, [1, 2, 9, 30]):
            np.testing.assert_array_equal(encode(network, X[rows]), whole[rows])
    finally:
        torch.set_num_threads(used)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(1200, 25, 10), (300, 125, 2), (40, 1, 250)])
def test_a_window_gives_the_same_bits_in_any_batch(shape, threads):
    torch.manual_seed(0)
    network = DimReduction(shape[-1], latent_dim=1).eval()
    X = np.random.default_rng(0).random(shape, dtype=np.float32)
    assert_same_bits_in_any_batch(network, X, threads)


@pytest.fixture
def contextual():
    """A network whose every layer matters, as after training."""

    def make(*args, **params):
        torch.manual_seed(0)
        network = ContextualAutoencoder(*args, **params)
        for weights in network.parameters():
            torch.nn.init.normal_(weights, std=0.2)
        return network.eval()

    return make


@pytest.mark.parametrize("latent_dim", [1, 3, 10])
def test_the_contextual_network_starts_at_principal_components(latent_dim):
    rng = np.random.default_rng(0)
    blocks = rng.normal(size=(200, 5, 10)) @ rng.normal(size=(10, 10)) + 3
    blocks -= blocks.mean(axis=(0, 1)) - 3  # PCA's mean is of each position
    network = ContextualAutoencoder(10, latent_dim)
    network.initialize(torch.from_numpy(blocks).float())
    with torch.inference_mode():
        z = network.encode(torch.from_numpy(blocks).float())
        restored = network.decode(z).numpy()
    pca = PCA(latent_dim).fit(blocks.reshape(-1, 10))
    expected = pca.inverse_transform(pca.transform(blocks.reshape(-1, 10)))
    np.testing.assert_allclose(restored.reshape(-1, 10), expected, atol=1e-3)


def test_more_latents_than_samples_and_constant_signals():
    network = ContextualAutoencoder(2, 5)
    constant = torch.full((4, 3, 2), 0.5)
    network.initialize(constant)
    with torch.inference_mode():
        z = network.encode(constant)
        assert z.shape == (4, 3, 5)
        torch.testing.assert_close(network.decode(z), constant)


@pytest.mark.parametrize("limits", [(-1, 1), (-5.0, 5.0), (0.0, 0.1)])
def test_bounded_latents_stay_within_their_limits(contextual, limits):
    network = contextual(10, 2, limits=limits)
    with torch.inference_mode():
        z = network.encode(1e6 * torch.randn(4, 25, 10))
    low, high = limits
    assert z.min() >= low
    assert z.max() <= high
    assert z.max() - z.min() > 0.9 * (high - low)


def test_limits_only_move_and_scale_the_latents(contextual):
    x = torch.randn(4, 25, 10)
    plain, moved = contextual(10, 1, limits=(-1, 1)), contextual(10, 1, limits=(2, 6))
    with torch.inference_mode():
        z, moved_z = plain.encode(x), moved.encode(x)
        torch.testing.assert_close(4 + 2 * z, moved_z)
        torch.testing.assert_close(plain.decode(z), moved.decode(moved_z))


def test_the_decoder_reaches_as_far_as_it_says(contextual):
    network = contextual(4, 3, decoder_radii=(1, 3))
    assert network.context_radius == 4
    z = torch.randn(1, 15, 3)
    changed = z.clone()
    changed[0, 7] += 1
    with torch.inference_mode():
        moved = (network.decode(z) != network.decode(changed)).any(dim=2)[0]
    assert moved.nonzero()[:, 0].tolist() == list(range(3, 12))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(1200, 25, 10), (300, 125, 2), (40, 1, 250)])
def test_contextual_windows_give_the_same_bits_in_any_batch(contextual, shape, threads):
    network = contextual(shape[-1], min(shape[-1], 10))
    X = np.random.default_rng(0).random(shape, dtype=np.float32)
    assert_same_bits_in_any_batch(network, X, threads)


def test_a_residual_layer_is_its_definition_with_and_without_gradients():
    torch.manual_seed(0)
    layer = networks._Residual(16, radius=2)
    torch.nn.init.normal_(layer.project)
    h = torch.randn(3, 7, 16)
    normalized = torch.nn.functional.rms_norm(h, (16,), eps=1e-5)
    mixed = torch.nn.functional.conv1d(
        normalized.transpose(1, 2), layer.kernel.T[:, None], padding=2, groups=16
    ).transpose(1, 2)
    expected = h + layer.hidden(mixed).relu().square() @ layer.project
    result = layer.weights().residual(h.flatten(0, 1), n_blocks=7)
    torch.testing.assert_close(result.view_as(h), expected)
    with torch.no_grad():
        again = layer.weights().residual(h.flatten(0, 1), n_blocks=7)
    torch.testing.assert_close(again, result)


def test_a_frozen_network_can_be_moved_to_another_device(contextual):
    network, x = contextual(10, 3), torch.rand(4, 25, 10)
    faster = network.for_inference()
    with torch.no_grad():
        assert torch.equal(faster.encode(x), network.encode(x))
    moved = faster.to("meta").encode(x.to("meta"))
    assert moved.shape == (4, 25, 3)


def test_encoding_leaves_its_input_as_it_was(contextual):
    network, x = contextual(10, 3), torch.rand(4, 25, 10)
    before = x.clone()
    with torch.no_grad():
        z = network.encode(x)
        latents = z.clone()
        network.decode(z)
    assert torch.equal(x, before)
    assert torch.equal(z, latents)


@pytest.mark.parametrize("latent_dim", [1, 32])
@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_folded_normalisation_changes_rounding_only(block_size, latent_dim):
    torch.manual_seed(0)
    network = DimReduction(block_size, latent_dim)
    x = torch.rand(40, 25, block_size)
    for _ in range(20):  # statistics to fold
        network.encode(x)
    network.eval()
    faster = network.for_inference()
    with torch.no_grad():
        torch.testing.assert_close(faster.encode(x), network.encode(x))
        torch.testing.assert_close(
            faster.decode(network.encode(x)), network.decode(network.encode(x))
        )
    assert network.encoder[1].running_mean.abs().max() > 0.01


def test_principal_components_of_more_blocks_than_are_taken_at_once(monkeypatch):
    signal = torch.randn(50, 25, 10) + 3
    whole, parts = (ContextualAutoencoder(10, 10) for _ in range(2))
    whole.initialize(signal)
    monkeypatch.setattr(networks, "_SAMPLES_AT_ONCE", 999)
    parts.initialize(signal)
    with torch.no_grad():
        torch.testing.assert_close(
            parts.encode(signal).abs(), whole.encode(signal).abs(), atol=1e-4, rtol=0
        )
    torch.testing.assert_close(parts.scale, signal.std(correction=0))
    torch.testing.assert_close(parts.mean, signal.mean())
