"""Autoencoders over blocks. Torch only: they know nothing of scikit-learn.

Axes: ``windows, blocks, block_size`` for a signal and ``windows, blocks,
latent_dim`` for its latents. A network is an :class:`torch.nn.Module` with

``encode(x)``
    (windows, blocks, block_size) -> (windows, blocks, latent_dim)
``decode(z)``
    (windows, blocks, latent_dim) -> (windows, blocks, block_size)
"""

import math

import numpy as np
import torch
from torch import nn


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


@torch.inference_mode()
def map_chunks(function, X, device, chunk):
    """Apply ``encode`` or ``decode`` to an array of windows, chunk by chunk.

    Every chunk has the same shape, the last one filled up. Kernels are chosen, and
    sums ordered, by shape; so a window gives the same bits in whatever batch it
    comes, and memory stays bounded.

    Parameters
    ----------
    function : callable
        (windows, blocks, n) -> (windows, blocks, m), a window at a time.

    X : ndarray of float32, shape (windows, blocks, n)
        Input.

    device : torch.device
        Where `function` computes.

    chunk : int
        Number of windows in a chunk.

    Returns
    -------
    ndarray of float32, shape (windows, blocks, m)
        Output.
    """
    pieces = []
    for start in range(0, len(X), chunk):
        piece = X[start : start + chunk]
        filling = np.zeros((chunk - len(piece), *piece.shape[1:]), dtype=piece.dtype)
        filled = torch.from_numpy(np.concatenate([piece, filling])).to(device)
        pieces.append(function(filled)[: len(piece)].cpu().numpy())
    return np.concatenate(pieces)
