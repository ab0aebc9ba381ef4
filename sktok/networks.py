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
``limits``
    a tuple (low, high) that no latent exceeds, or None: what bins with
    ``limits="minmax"`` lie between in training
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["ContextualAutoencoder", "DimReduction"]

_TINY = 1e-30  # keeps a constant signal from being divided by zero
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
        How many blocks to either side each convolution of the encoder sees.

    decoder_reaches : tuple of int, default=(1, 1, 1)
        How many blocks to either side each convolution of the decoder sees.

    Attributes
    ----------
    reach : int
        On how many blocks to either side a restored block depends.

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

    def initialize(self, windows):
        """Set the linear paths to the principal components of blocks.

        Parameters
        ----------
        windows : torch.Tensor of shape (windows, blocks, block_size)
            Training signal.
        """
        blocks = windows.flatten(0, 1).double()
        self.mean.copy_(blocks.mean())
        self.scale.copy_(blocks.std(correction=0).clamp(min=_TINY))
        blocks = (blocks - self.mean) / self.scale
        power, axes = torch.linalg.eigh(blocks.T @ blocks / len(blocks))
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
        self.linear = _zero(_AlignedLinear(n_in, n_out))
        self.embed = _AlignedLinear(n_in, width)
        self.body = nn.Sequential(*[_Residual(width, reach) for reach in reaches])
        self.project = _zero(_AlignedLinear(width, n_out))

    def forward(self, x):
        return self.linear(x) + self.project(self.body(self.embed(x)))


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

    def forward(self, h):
        normalized = F.rms_norm(h, h.shape[-1:], eps=1e-5)
        hidden = self.hidden(_convolve(normalized, self.taps))
        hidden = F.relu(hidden, inplace=True).square().flatten(0, 1)
        return torch.addmm(h.flatten(0, 1), hidden, self.project).view_as(h)


def _convolve(h, taps):
    """Each channel along the blocks, with zeros around them: one filter a channel."""
    n_blocks, reach = h.shape[1], len(taps) // 2
    padded = F.pad(h, (0, 0, reach, reach))
    mixed = padded[:, :n_blocks] * taps[0]
    for start in range(1, len(taps)):
        mixed.addcmul_(padded[:, start : start + n_blocks], taps[start])
    return mixed


class _AlignedLinear(nn.Linear):
    """A linear layer on rows that are filled up to begin at multiples of 64 bytes.

    Where a row begins decides in which order matrix products sum, and so its last
    bits: these must not depend on the windows before it.
    """

    def forward(self, x):
        more_in, more_out = -self.in_features % 16, -self.out_features % 16
        weight = F.pad(self.weight, (0, more_in, 0, more_out))
        bias = F.pad(self.bias, (0, more_out))
        return F.linear(F.pad(x, (0, more_in)), weight, bias)[..., : self.out_features]


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


@torch.no_grad()
def map_chunks(function, *arrays, device, chunk):
    """Apply ``encode``, ``decode`` or the like to arrays of windows, chunk by chunk.

    Every chunk has the same shape, the last one filled up. Kernels are chosen, and
    sums ordered, by shape; so a window gives the same bits in whatever batch it
    comes, and memory stays bounded.

    Parameters
    ----------
    function : callable
        (windows, blocks, n), … -> (windows, blocks, m), a window at a time.

    *arrays : ndarray of shape (windows, blocks, n)
        Input, for each argument of `function`.

    device : torch.device
        Where `function` computes.

    chunk : int
        Number of windows in a chunk.

    Returns
    -------
    ndarray of shape (windows, blocks, m)
        Output.
    """
    pieces = []
    for start in range(0, len(arrays[0]), chunk):
        filled = []
        for array in arrays:
            piece = array[start : start + chunk]
            filling = np.zeros((chunk - len(piece), *piece.shape[1:]), piece.dtype)
            filled.append(torch.from_numpy(np.concatenate([piece, filling])).to(device))
        pieces.append(function(*filled)[: len(piece)].cpu().numpy())
    return np.concatenate(pieces)
