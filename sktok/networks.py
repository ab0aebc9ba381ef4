"""Autoencoders over blocks. Torch only: they know nothing of scikit-learn.

Axes: ``windows, blocks, block_size`` for a signal and ``windows, blocks,
latent_dim`` for its latents. A network is an :class:`torch.nn.Module` with

``encode(x)``
    (windows, blocks, block_size) -> (windows, blocks, latent_dim)
``decode(z)``
    (windows, blocks, latent_dim) -> (windows, blocks, block_size)

and, if it has them,

``initialize(windows)``
    called once before training, with all training windows
``reach``
    on how many blocks to either side a restored block depends; without it, on all
``for_inference()``
    called before the network, in evaluation mode, encodes or decodes arrays: gives a
    network that does the same faster
``limits``
    a tuple (low, high) that no latent exceeds, or None: what bins with
    ``limits="minmax"`` lie between in training
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["ContextualAutoencoder", "DimReduction"]

_SAMPLES_AT_ONCE = 2**20
_TINY = 1e-30  # keeps a constant signal from being divided by zero
_NORM_EPS = 1e-5
_DEVIATIONS = 3.0  # of bounded latents, within the limits at the start


class ContextualAutoencoder(nn.Module):
    """An autoencoder that reads and restores each block with the blocks around it.

    Latents are projections of the block on the principal components of all blocks,
    plus what a stack of residual convolutions over the block axis adds to them; the
    way back is built alike. The last layer of each stack starts at zero, so that the
    network is linear before its first step, but for the tanh that bounds latents.

    Parameters
    ----------
    block_size : int
        Number of samples in a block.

    latent_dim : int
        Numbers that a block is reduced to.

    limits : tuple (low, high) or None, default=None
        Limits that no latent exceeds, whatever the signal, as a quantiser with bins
        between them needs it; `None` leaves latents free.

    width : int, default=64
        Number of channels, a multiple of 16.

    encoder_reaches : tuple of int, default=(2, 2, 2, 2)
        How many blocks to either side each convolution of the encoder sees, of which
        there is at least one.

    decoder_reaches : tuple of int, default=(1, 1, 1)
        How many blocks to either side each convolution of the decoder sees.

    Attributes
    ----------
    reach : int
        On how many blocks to either side a restored block depends.

    See Also
    --------
    DimReduction : The paper's, which restores each block by itself.
    sktok.ConvAETokenizer : Trains it.

    References
    ----------
    D. So et al., "Primer: searching for efficient transformers for language modeling",
    NeurIPS 2021 (squared ReLU).

    Examples
    --------
    >>> import torch
    >>> from sktok.networks import ContextualAutoencoder
    >>> network = ContextualAutoencoder(block_size=10, latent_dim=1, limits=(-1, 1))
    >>> blocks = torch.rand(4, 25, 10)  # windows, blocks, block_size
    >>> network.initialize(blocks)
    >>> latents = network.encode(blocks)
    >>> latents.shape, network.decode(latents).shape
    (torch.Size([4, 25, 1]), torch.Size([4, 25, 10]))
    """

    def __init__(
        self,
        block_size,
        latent_dim,
        *,
        limits=None,
        width=64,
        encoder_reaches=(2, 2, 2, 2),
        decoder_reaches=(1, 1, 1),
    ):
        super().__init__()
        self.encoder = _Path(block_size, latent_dim, width, encoder_reaches)
        self.decoder = _Path(latent_dim, block_size, width, decoder_reaches)
        self.reach = sum(decoder_reaches)
        self.limits = limits
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    @property
    def arguments(self):
        """What the network was made with, as keywords."""
        return {
            "block_size": self.encoder.linear.in_features,
            "latent_dim": self.encoder.linear.out_features,
            "limits": self.limits,
            "width": self.encoder.embed.out_features,
            "encoder_reaches": tuple(layer.reach for layer in self.encoder.body),
            "decoder_reaches": tuple(layer.reach for layer in self.decoder.body),
        }

    def initialize(self, windows):
        """Set the linear paths to the principal components of blocks.

        Parameters
        ----------
        windows : torch.Tensor of shape (windows, blocks, block_size)
            Training signal.
        """
        blocks = windows.flatten(0, 1)
        parts = blocks.split(max(1, _SAMPLES_AT_ONCE // blocks.shape[1]))
        mean = sum(part.double().sum() for part in parts) / blocks.numel()
        gram = 0.0
        for part in parts:
            centered = part.double() - mean
            gram = gram + centered.T @ centered
        scale = (gram.trace() / blocks.numel()).sqrt().clamp(min=_TINY)
        self.mean.copy_(mean)
        self.scale.copy_(scale)
        power, axes = torch.linalg.eigh(gram / scale.square() / len(blocks))
        axes = axes.flip(1)[:, : self.encoder.linear.out_features]
        # Bounded latents are all of one size, free ones as large as the signal.
        scale = 1.0
        if self.limits is not None:
            scale = _DEVIATIONS * power.flip(0)[: axes.shape[1]].clamp(min=_TINY).sqrt()
        with torch.no_grad():
            self.encoder.linear.weight[: axes.shape[1]] = (axes / scale).T
            self.decoder.linear.weight[:, : axes.shape[1]] = axes * scale

    def encode(self, x):
        """Reduce each block to `latent_dim` numbers, in view of its neighbours.

        Parameters
        ----------
        x : torch.Tensor of shape (windows, blocks, block_size)
            Blocks.

        Returns
        -------
        torch.Tensor of shape (windows, blocks, latent_dim)
            Latents.
        """
        z = self.encoder((x - self.mean) / self.scale)
        if self.limits is None:
            return z
        low, high = self.limits
        return (low + high) / 2 + (high - low) / 2 * torch.tanh(z)

    def decode(self, z):
        """Rebuild each block from its latents and those of its neighbours.

        Parameters
        ----------
        z : torch.Tensor of shape (windows, blocks, latent_dim)
            Latents.

        Returns
        -------
        torch.Tensor of shape (windows, blocks, block_size)
            Blocks.
        """
        if self.limits is not None:
            low, high = self.limits
            z = (z - (low + high) / 2) / ((high - low) / 2)
        return self.decoder(z) * self.scale + self.mean


class _Path(nn.Module):
    """A linear map of each block, and what its surroundings add to it."""

    def __init__(self, n_in, n_out, width, reaches):
        super().__init__()
        self.linear = _zero(nn.Linear(n_in, n_out))
        self.embed = nn.Linear(n_in, width)
        self.body = nn.ModuleList([_Residual(width, reach) for reach in reaches])
        self.project = _zero(nn.Linear(width, n_out))

    def forward(self, x):
        n_blocks, n_out = x.shape[1], self.linear.out_features
        rows = with_ones(x.flatten(0, 1))
        h = rows @ with_bias(self.embed.weight, self.embed.bias).T
        *layers, last = self.body
        for layer in layers:
            h = layer(h, n_blocks)
        bias = self.linear.bias + self.project.bias
        linear = with_bias(self.linear.weight, bias).T
        # What the last layer adds to h goes to the output at once: less work.
        project = self.project.weight.T
        parts = [
            (rows, linear),
            (h, project),
            (last.activate(h, n_blocks), last.project @ project),
        ]
        output = sum(left @ aligned(right) for left, right in parts)
        return output[:, :n_out].unflatten(0, (-1, n_blocks))


class _Residual(nn.Module):
    """A convolution over blocks, channel by channel, and two layers on each block.

    It starts as the identity. Blocks stay before channels, so that most of it is matrix
    products. Every block is normalised by itself: a norm over the window would let each
    block reach all others. Squared ReLU: D. So et al., "Primer", NeurIPS 2021.
    """

    def __init__(self, width, reach):
        super().__init__()
        n_taps = 2 * reach + 1
        self.taps = nn.Parameter(torch.randn(n_taps, width) / n_taps**0.5)
        self.hidden = nn.Linear(width, width)
        self.project = nn.Parameter(torch.zeros(width, width))

    @property
    def reach(self):
        return len(self.taps) // 2

    def forward(self, h, n_blocks):
        # Rows of blocks, (windows * blocks, width). In place, where none need remember.
        add = torch.addmm if torch.is_grad_enabled() else torch.Tensor.addmm_
        return add(h, self.activate(h, n_blocks), self.project)

    def activate(self, h, n_blocks):
        arguments = h, n_blocks, self.taps, self.hidden.weight, self.hidden.bias
        if torch.is_grad_enabled():
            return _Activate.apply(*arguments)
        return _hidden(*arguments)[-1].square_()


def _hidden(h, n_blocks, taps, weight, bias):
    """What a residual layer computes on its way; a gradient needs all of it."""
    norm = torch.linalg.vector_norm(h, dim=1, keepdim=True)
    eps = norm.new_tensor(_NORM_EPS)
    scale = torch.addcmul(eps, norm, norm, value=1 / h.shape[1]).rsqrt_()
    normalized = h * scale
    mixed = _convolve(normalized, n_blocks, taps)
    return scale, normalized, mixed, torch.mm(mixed, weight.T).add_(bias).relu_()


class _Activate(torch.autograd.Function):
    """The part of a residual layer that is not linear, with its gradient.

    torch would find the gradient by itself, but take longer over it. In the names
    below, ``d_`` is the gradient of the loss by what follows.
    """

    @staticmethod
    def forward(ctx, h, n_blocks, taps, weight, bias):
        activations = _hidden(h, n_blocks, taps, weight, bias)
        ctx.save_for_backward(taps, weight, *activations)
        ctx.n_blocks = n_blocks
        return activations[-1].square()

    @staticmethod
    @once_differentiable
    def backward(ctx, d_squared):
        taps, weight, scale, normalized, mixed, hidden = ctx.saved_tensors
        d_hidden = (d_squared * hidden).mul_(2)  # 0 where ReLU gave 0
        d_mixed = d_hidden @ weight
        d_normalized = _convolve(d_mixed, ctx.n_blocks, taps.flip(0))
        d_taps = torch.nn.grad.conv2d_weight(
            _as_images(normalized, ctx.n_blocks),
            (taps.shape[1], 1, 1, len(taps)),
            _as_images(d_mixed, ctx.n_blocks),
            padding=(0, len(taps) // 2),
            groups=taps.shape[1],
        )[:, 0, 0].T
        along = torch.linalg.vecdot(d_normalized, normalized)[:, None]
        along /= normalized.shape[1]
        d_h = d_normalized.addcmul_(normalized, along, value=-1).mul_(scale)
        return d_h, None, d_taps, d_hidden.T @ mixed, d_hidden.sum(0)


def _convolve(h, n_blocks, taps):
    """Each channel along the blocks of a window, with zeros around them.

    torch convolves images faster: windows are images of one row, channels last.
    """
    image = _as_images(h, n_blocks)
    kernel = taps.T[:, None, None]
    image = F.conv2d(image, kernel, padding=(0, len(taps) // 2), groups=h.shape[1])
    return image.permute(0, 2, 3, 1).flatten(0, 2)


def _as_images(h, n_blocks):
    """(windows * blocks, channels) to (windows, channels, 1, blocks): nothing moves."""
    return h.unflatten(0, (-1, 1, n_blocks)).permute(0, 3, 1, 2)


def with_ones(rows):
    """Rows filled up with ones: the first brings in the bias of `with_bias`.

    Each row then begins at a multiple of 64 bytes. Where it begins decides in which
    order matrix products sum, and so their last bits: these must not depend on the
    windows before it.
    """
    return F.pad(rows, (0, 16 - rows.shape[1] % 16), value=1.0)


def with_bias(weight, bias):
    """Weights to multiply the rows of `with_ones` by: (n_out, n_in) and (n_out,)."""
    weight = torch.cat([weight, bias[:, None]], dim=1)
    return aligned(weight)


def aligned(rows):
    """Rows filled up with zeros so that each begins at a multiple of 64 bytes."""
    filling = -rows.shape[1] % 16
    return F.pad(rows, (0, filling)) if filling else rows


def _zero(layer):
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class DimReduction(nn.Module):
    """The paper's convolutional autoencoder, layer for layer (Table 1).

    Every block is encoded and decoded by itself. Averaging over the block
    (``AdaptiveAvgPool1d``) leaves 32 numbers, which is where the table ends. The
    text says that the latent space is one number: any other `latent_dim` puts a
    1×1 convolution 32 -> `latent_dim` behind the encoder, and one back before the
    decoder.

    Parameters
    ----------
    block_size : int
        Number of samples in a block; the table is printed for 5. The first
        upsampling goes to ``ceil(block_size / 2)``, the second to `block_size`.

    latent_dim : int, default=32
        Numbers that a block is reduced to. 32 is the table as printed, with 4,129
        parameters.

    See Also
    --------
    ContextualAutoencoder : Sees a block among its neighbours.
    sktok.ConvAETokenizer : Trains it.

    References
    ----------
    "Da ECG a LLM", 2025, Table 1 and section 3.

    Examples
    --------
    >>> import torch
    >>> from sktok.networks import DimReduction
    >>> network = DimReduction(block_size=10, latent_dim=1)
    >>> blocks = torch.rand(4, 25, 10)  # windows, blocks, block_size
    >>> latents = network.encode(blocks)
    >>> latents.shape, network.decode(latents).shape
    (torch.Size([4, 25, 1]), torch.Size([4, 25, 10]))
    """

    def __init__(self, block_size, latent_dim=32):
        super().__init__()
        self.reach = 0  # every block is restored by itself
        encoder = [
            *_activated(nn.Conv1d(1, 8, kernel_size=3, padding=1)),
            *_activated(nn.Conv1d(8, 16, kernel_size=3, padding=1)),
            *_activated(nn.Conv1d(16, 32, kernel_size=3, padding=1)),
            nn.AdaptiveAvgPool1d(1),
        ]
        decoder = [
            *_activated(nn.ConvTranspose1d(32, 16, kernel_size=3, padding=1)),
            nn.Upsample(math.ceil(block_size / 2)),
            *_activated(nn.ConvTranspose1d(16, 8, kernel_size=3, padding=1)),
            nn.Upsample(block_size),
            nn.ConvTranspose1d(8, 1, kernel_size=3, padding=1),
            nn.Sigmoid(),
        ]
        if latent_dim != 32:
            encoder = [*encoder, nn.Conv1d(32, latent_dim, kernel_size=1)]
            decoder = [nn.Conv1d(latent_dim, 32, kernel_size=1), *decoder]
        # (B, 1, block_size) -> (B, latent_dim, 1) -> (B, 1, block_size)
        self.encoder = nn.Sequential(*encoder)
        self.decoder = nn.Sequential(*decoder)

    @property
    def arguments(self):
        """What the network was made with, as keywords."""
        *_, last = self.encoder
        *_, upsample, _, _ = self.decoder
        return {
            "block_size": upsample.size,
            "latent_dim": last.out_channels if isinstance(last, nn.Conv1d) else 32,
        }

    def for_inference(self):
        """The same network in a form that encodes faster, and is not to be trained.

        Batch normalisation is folded into the convolutions, which then run with
        channels last in memory.

        Returns
        -------
        DimReduction
            A network whose latents are equal within float rounding.
        """
        faster = copy.deepcopy(self)
        faster.encoder = _FoldedEncoder(self.encoder)
        return faster

    def forward(self, x):
        """Encode and decode blocks as the table has them.

        Parameters
        ----------
        x : torch.Tensor of shape (B, 1, block_size)
            Blocks, scaled to [0, 1].

        Returns
        -------
        torch.Tensor of shape (B, 1, block_size)
            Their reconstruction.
        """
        return self.decoder(self.encoder(x))

    def encode(self, x):
        """Reduce each block to `latent_dim` numbers.

        Parameters
        ----------
        x : torch.Tensor of shape (windows, blocks, block_size)
            Blocks, scaled to [0, 1].

        Returns
        -------
        torch.Tensor of shape (windows, blocks, latent_dim)
            Latents.
        """
        windows, blocks, block_size = x.shape
        latents = self.encoder(x.reshape(windows * blocks, 1, block_size))
        return latents.reshape(windows, blocks, -1)

    def decode(self, z):
        """Rebuild each block from its latents: the inverse of `encode`, with a loss.

        Parameters
        ----------
        z : torch.Tensor of shape (windows, blocks, latent_dim)
            Latents.

        Returns
        -------
        torch.Tensor of shape (windows, blocks, block_size)
            Blocks, between 0 and 1.
        """
        windows, blocks, latent_dim = z.shape
        signal = self.decoder(z.reshape(windows * blocks, latent_dim, 1))
        return signal.reshape(windows, blocks, -1)


def _activated(convolution):
    return convolution, nn.BatchNorm1d(convolution.out_channels), nn.ReLU()


class _FoldedEncoder(nn.Module):
    """The encoder of Table 1 without its batch normalisation, as image convolutions."""

    def __init__(self, encoder):
        super().__init__()
        layers = list(encoder)
        self.convolutions = nn.ModuleList()
        while isinstance(layers[0], nn.Conv1d):
            convolution, norm, _, *layers = layers
            self.convolutions.append(fuse_conv_bn_eval(convolution, norm))
        self.end = nn.Sequential(*layers)

    def forward(self, x):
        h = x.unsqueeze(2)  # (N, 1, block_size) as images of one row
        for convolution in self.convolutions:
            kernel = convolution.weight.unsqueeze(2)
            kernel = kernel.contiguous(memory_format=torch.channels_last)
            h = F.conv2d(h, kernel, convolution.bias, padding=(0, 1))
            h = F.relu(h, inplace=True).contiguous(memory_format=torch.channels_last)
        return self.end(h.squeeze(2))


_NETWORKS = {
    network.__name__: network for network in (ContextualAutoencoder, DimReduction)
}


def to_plain(network):
    """A network of this module as a dict of strings, numbers and arrays.

    Others are given back as they are.
    """
    if _NETWORKS.get(type(network).__name__) is not type(network):
        return network
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    name = type(network).__name__
    return {"network": name, "arguments": network.arguments, "weights": weights}


def from_plain(plain):
    """Inverse of `to_plain`, in evaluation mode."""
    if isinstance(plain, nn.Module):
        return plain
    reaches = [r for name, r in plain["arguments"].items() if name.endswith("reaches")]
    if sum(map(len, reaches)) > len(plain["weights"]):
        raise ValueError("The network has more layers than weights.")
    with torch.device("meta"):  # takes no memory, and draws no random numbers
        network = _NETWORKS[plain["network"]](**plain["arguments"])
    # Copies, for they begin where torch's own do, which decides the last bits.
    weights = {name: torch.tensor(values) for name, values in plain["weights"].items()}
    network.load_state_dict(weights, assign=True)
    return network.eval()
