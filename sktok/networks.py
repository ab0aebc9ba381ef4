"""Autoencoders over blocks, in plain torch.

Axes: ``windows, blocks, block_size`` for a signal and ``windows, blocks, latent_dim``
for its latents. A network is an :class:`torch.nn.Module` with

``encode(x)``
    (windows, blocks, block_size) -> (windows, blocks, latent_dim)
``decode(z)``
    (windows, blocks, latent_dim) -> (windows, blocks, block_size)

and a class of networks is called as ``(block_size, latent_dim)``. A network may also
have

``initialize(windows)``
    called once before training, with all training windows
``encoder_radius``
    number of blocks to either side that the latents of a block depend on; without it,
    they depend on all blocks of the window, and a live stream is encoded window by
    window (:class:`sktok.streaming.TokenStream`)
``context_radius``
    number of blocks to either side that a restored block depends on; without it, a
    block depends on all blocks of its window
``for_inference()``
    returns a faster network with the same output, which is not trained; called in
    evaluation mode, and again when the weights have changed
``batch_invariant``
    True if a window gives the same bits in a batch of any size. Few windows are then
    computed as a small batch, after a trial; without it, they take as long as a large
    one. What `for_inference` returns needs it, too, and a subclass inherits it
``limits``
    tuple (low, high) that no latent exceeds, or None. A class with a keyword `limits`
    says so by ``bounds_latents = True``; it then gets the limits of the quantiser
``reads_leads``
    True for a class with a keyword `n_leads`, the number of leads in a block
``output_limits``
    tuple (low, high) that no restored sample exceeds
``min_batch_blocks``
    smallest number of blocks in a training batch
``parallel_training``
    True if training may use several threads. Without it, training uses one: torch
    divides sums among its threads, and another number of threads gives another network
``training_defaults``
    dict of class level: what "auto" means for `max_steps`, `batch_size`,
    `learning_rate` and `augment` of :class:`~sktok.ConvAETokenizer`

`NETWORKS` holds the networks that have a name.
"""

import copy
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sktok._torch.guard import unaffected
from sktok._torch.sums import (
    aligned,
    as_image_kernel,
    convolution_gradients,
    convolve,
    in_whole_vectors,
    product,
    sum_of_outer,
    with_bias,
    with_ones,
)

__all__ = ["ContextualAutoencoder", "DimReduction", "MultiLeadAutoencoder"]

_SAMPLES_AT_ONCE = 2**20
_TINY = 1e-30  # keeps a constant signal from a division by zero
_NORM_EPS = 1e-5
_DEVIATIONS = 3.0  # standard deviations of bounded latents within the limits, at first


class _ResidualAutoencoder(nn.Module):
    """An encoder and a decoder that add to a linear map of each block."""

    batch_invariant = True
    bounds_latents = True
    parallel_training = True  # every sum over a batch has a fixed order

    def __init__(self, encoder, decoder, limits):
        super().__init__()
        self.encoder, self.decoder, self.limits = encoder, decoder, limits
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def initialize(self, windows):
        """Set the linear paths to the principal components of the blocks.

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
        scale = 1.0
        if self.limits is not None:  # each latent then spans the limits
            scale = _DEVIATIONS * power.flip(0)[: axes.shape[1]].clamp(min=_TINY).sqrt()
        with torch.no_grad():
            # Other columns and rows are features, which start without effect.
            n_samples, n_axes = axes.shape
            self.encoder.linear.weight[:n_axes, :n_samples] = (axes / scale).T
            self.decoder.linear.weight[:n_samples, :n_axes] = axes * scale

    def for_inference(self):
        """Return a network that is faster and not trained.

        Its products have their weights ready.

        Returns
        -------
        torch.nn.Module
            A network with equal output.
        """
        faster = copy.deepcopy(self).requires_grad_(False)
        for part in faster.modules():
            if isinstance(part, ResidualStack):
                part.frozen = part.weights()
        return faster

    def encode(self, x):
        """Reduce each block to `latent_dim` numbers, given its neighbours.

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
        if torch.is_grad_enabled():
            bounded = torch.tanh(z)
        else:
            bounded = in_whole_vectors(torch.tanh, z)
        return (low + high) / 2 + (high - low) / 2 * bounded

    def decode(self, z):
        """Restore each block from its latents and those of its neighbours.

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


class ContextualAutoencoder(_ResidualAutoencoder):
    """An autoencoder that reads and restores each block together with its neighbours.

    The encoder projects a block on the principal components of all blocks, and a stack
    of residual convolutions over the block axis adds to that. The decoder has the same
    structure. The last layer of each stack starts at zero, so the untrained network is
    linear, except for the tanh that bounds latents.

    Parameters
    ----------
    block_size : int
        Number of samples in a block.

    latent_dim : int
        Number of latents of a block.

    limits : tuple (low, high) or None, default=None
        Limits that no latent exceeds, for a quantiser with bins between them. `None`
        leaves latents unbounded.

    width : int, default=64
        Number of channels, a multiple of 16.

    encoder_radii : tuple of int, default=(2, 2, 2, 2)
        Number of blocks to either side that each convolution of the encoder reads; at
        least one layer.

    decoder_radii : tuple of int, default=(1, 1, 1)
        Number of blocks to either side that each convolution of the decoder reads; at
        least one layer.

    Attributes
    ----------
    encoder_radius : int
        Number of blocks to either side that the latents of a block depend on.

    context_radius : int
        Number of blocks to either side that a restored block depends on.

    See Also
    --------
    DimReduction : The paper's network, which restores each block separately.
    MultiLeadAutoencoder : Reads blocks of several leads.
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
        encoder_radii=(2, 2, 2, 2),
        decoder_radii=(1, 1, 1),
    ):
        super().__init__(
            ResidualStack(block_size, latent_dim, width, encoder_radii),
            ResidualStack(latent_dim, block_size, width, decoder_radii),
            limits,
        )
        # Keywords that build a network of the same shape.
        self.arguments = {
            "block_size": block_size,
            "latent_dim": latent_dim,
            "limits": limits,
            "width": width,
            "encoder_radii": tuple(encoder_radii),
            "decoder_radii": tuple(decoder_radii),
        }
        self.encoder_radius = sum(encoder_radii)
        self.context_radius = sum(decoder_radii)


class MultiLeadAutoencoder(_ResidualAutoencoder):
    """An autoencoder over blocks that hold the samples of several leads.

    A stack with the same weights for all leads reads each lead, and the encoder mixes
    what it finds with the samples of all leads. The decoder restores all leads, and a
    stack with the same weights for all leads refines each. The cost is proportional to
    the number of leads. The untrained network is linear: it projects on the principal
    components of samples and leads together.

    Parameters
    ----------
    block_size : int
        Number of samples in a block, of all leads, one lead after the other.

    latent_dim : int
        Number of latents of a block.

    n_leads : int
        Number of leads in a block.

    limits : tuple (low, high) or None, default=None
        As in :class:`ContextualAutoencoder`.

    width : int, default=128
        Number of channels of all leads together, a multiple of 16.

    lead_width : int, default=48
        Number of channels of each lead, a multiple of 16.

    encoder_radii, decoder_radii : tuple of int, default=(2, 2, 2, 2) and (1, 1, 1)
        Number of blocks to either side that each convolution over all leads reads.

    lead_encoder_radii, lead_decoder_radii : tuple of int, default=(2, 2) and (1, 1)
        The same for the convolutions over each lead.

    Attributes
    ----------
    encoder_radius : int
        Number of blocks to either side that the latents of a block depend on.

    context_radius : int
        Number of blocks to either side that a restored block depends on.

    See Also
    --------
    ContextualAutoencoder : Has no part for each lead.
    sktok.ConvAETokenizer : Trains it.

    Examples
    --------
    >>> import torch
    >>> from sktok.networks import MultiLeadAutoencoder
    >>> network = MultiLeadAutoencoder(8 * 25, latent_dim=48, n_leads=8)
    >>> blocks = torch.rand(4, 20, 8 * 25)  # windows, blocks, samples of all leads
    >>> network.initialize(blocks)
    >>> latents = network.encode(blocks)
    >>> latents.shape, network.decode(latents).shape
    (torch.Size([4, 20, 48]), torch.Size([4, 20, 200]))
    """

    reads_leads = True

    def __init__(
        self,
        block_size,
        latent_dim,
        *,
        n_leads,
        limits=None,
        width=128,
        lead_width=48,
        encoder_radii=(2, 2, 2, 2),
        decoder_radii=(1, 1, 1),
        lead_encoder_radii=(2, 2),
        lead_decoder_radii=(1, 1),
    ):
        n_samples, n_features = block_size // n_leads, n_leads * lead_width
        n_all = block_size + n_features
        super().__init__(
            _LeadEncoder(
                n_leads,
                ResidualStack(n_samples, lead_width, lead_width, lead_encoder_radii),
                ResidualStack(n_all, latent_dim, width, encoder_radii),
            ),
            _LeadDecoder(
                n_leads,
                ResidualStack(latent_dim, n_all, width, decoder_radii),
                ResidualStack(
                    n_samples + lead_width, n_samples, lead_width, lead_decoder_radii
                ),
            ),
            limits,
        )
        self.arguments = {
            "block_size": block_size,
            "latent_dim": latent_dim,
            "n_leads": n_leads,
            "limits": limits,
            "width": width,
            "lead_width": lead_width,
            "encoder_radii": tuple(encoder_radii),
            "decoder_radii": tuple(decoder_radii),
            "lead_encoder_radii": tuple(lead_encoder_radii),
            "lead_decoder_radii": tuple(lead_decoder_radii),
        }
        self.encoder_radius = sum(lead_encoder_radii) + sum(encoder_radii)
        self.context_radius = sum(decoder_radii) + sum(lead_decoder_radii)


class _LeadEncoder(nn.Module):
    """Features of each lead, by `read`, and latents of all leads, by `mix`."""

    def __init__(self, n_leads, read, mix):
        super().__init__()
        self.n_leads, self.read, self.mix = n_leads, read, mix
        # At zero, as `ResidualStack` leaves them, features would get no gradient.
        _spread(read.project.weight)

    @property
    def linear(self):
        return self.mix.linear

    def forward(self, x):
        features = together(self.read(apart(x, self.n_leads)), self.n_leads)
        return self.mix(torch.cat([x, features], dim=-1))


class _LeadDecoder(nn.Module):
    """All leads from latents, by `split`, and a correction of each, by `refine`."""

    def __init__(self, n_leads, split, refine):
        super().__init__()
        self.n_leads, self.split, self.refine = n_leads, split, refine
        self.block_size = n_leads * refine.linear.out_features
        _spread(split.project.weight[self.block_size :])

    @property
    def linear(self):
        return self.split.linear

    def forward(self, z):
        n_leads, n_samples = self.n_leads, self.block_size
        restored = self.split(z)
        parts = restored[..., :n_samples], restored[..., n_samples:]
        each = torch.cat([apart(part, n_leads) for part in parts], dim=-1)
        return parts[0] + together(self.refine(each), n_leads)


def apart(x, n_leads):
    """Blocks of all leads as blocks of each: (windows * leads, blocks, …)."""
    return x.unflatten(2, (n_leads, -1)).transpose(1, 2).flatten(0, 1)


def together(x, n_leads):
    """Inverse of `apart`."""
    return x.unflatten(0, (-1, n_leads)).transpose(1, 2).flatten(2)


def _spread(weight):
    """Draw weights, in place; see `_Linear` for those without values."""
    if not weight.is_meta:
        nn.init.normal_(weight, std=weight.shape[1] ** -0.5)


class ResidualStack(nn.Module):
    """A linear map of each block, plus a residual stack over the block axis."""

    frozen = None  # the result of `weights`, if they are not trained any more

    def __init__(self, n_in, n_out, width, radii):
        super().__init__()
        self.linear = _zero(_Linear(n_in, n_out))
        self.embed = _Linear(n_in, width)
        self.body = nn.ModuleList([_Residual(width, radius) for radius in radii])
        self.project = _zero(_Linear(width, n_out))

    def weights(self):
        """The weights, padded and merged for products with rows."""
        layers = [layer.weights() for layer in self.body]
        bias = self.linear.bias + self.project.bias
        project = aligned(self.project.weight.T)
        return _StackWeights(
            n_out=self.linear.out_features,
            embed=with_bias(self.embed.weight, self.embed.bias).T,
            layers=layers,
            linear=aligned(with_bias(self.linear.weight, bias).T),
            project=project,
            # The last layer's output goes to the projection directly: less work.
            tail=product(layers[-1].project, project),
        )

    def forward(self, x):
        """Map (windows, blocks, n_in) to (windows, blocks, n_out)."""
        weights = self.frozen
        if weights is None or weights.embed.device != x.device:  # moved since
            weights = self.weights()
        n_windows, n_blocks, _ = x.shape
        rows = with_ones(x.flatten(0, 1))  # (windows * blocks, n_in and ones)
        h = product(rows, weights.embed)
        *layers, last = weights.layers
        for layer in layers:
            h = layer.residual(h, n_blocks)
        output = product(rows, weights.linear)
        output = output + product(h, weights.project)
        output = output + product(last.activate(h, n_blocks), weights.tail)
        return output[:, : weights.n_out].view(n_windows, n_blocks, -1)


class _Residual(nn.Module):
    """A convolution over blocks, channel by channel, and two layers on each block.

    It starts as the identity. Each block is normalised separately: a norm over the
    window would make each block depend on all others. Squared ReLU: D. So et al.,
    "Primer", NeurIPS 2021.
    """

    def __init__(self, width, radius):
        super().__init__()
        self.radius, kernel_size = radius, 2 * radius + 1
        kernel = torch.empty(kernel_size, width)
        if not kernel.is_meta:  # see `_Linear`
            kernel.normal_().div_(kernel_size**0.5)
        self.kernel = nn.Parameter(kernel)
        self.hidden = _Linear(width, width)
        self.project = nn.Parameter(torch.zeros(width, width))

    def weights(self):
        """The weights, also as `convolve` takes them."""
        return _LayerWeights(
            kernel=self.kernel,
            image_kernel=as_image_kernel(self.kernel.detach()),
            hidden=self.hidden.weight,
            bias=self.hidden.bias,
            eps=self.kernel.new_full((), _NORM_EPS),
            project=self.project,
        )


class _StackWeights(NamedTuple):
    """What the rows of a stack are multiplied by, and the number of its outputs."""

    n_out: int
    embed: torch.Tensor  # (n_in and ones, width)
    layers: list  # of _LayerWeights
    linear: torch.Tensor  # (n_in and ones, n_out)
    project: torch.Tensor  # (width, n_out)
    tail: torch.Tensor  # (width, n_out), of the last layer


class _LayerWeights(NamedTuple):
    """The weights of a residual layer."""

    kernel: torch.Tensor  # (kernel_size, width)
    image_kernel: torch.Tensor
    hidden: torch.Tensor  # (width, width)
    bias: torch.Tensor  # (width,)
    eps: torch.Tensor  # (), keeps the norm from zero
    project: torch.Tensor  # (width, width)

    def residual(self, h, n_blocks):
        """Map (windows * blocks, width) to the same shape; may overwrite `h`."""
        return product(self.activate(h, n_blocks), self.project, addend=h)

    def activate(self, h, n_blocks):
        """The layer without its last product, which may be merged with another."""
        weights = self.image_kernel, self.hidden, self.bias, self.eps
        if torch.is_grad_enabled():
            return _Activate.apply(h, n_blocks, self.kernel, *weights)
        return _activations(h, n_blocks, *weights)[-1].square_()


def _activations(h, n_blocks, image_kernel, weight, bias, eps):
    """The intermediate results of a residual layer, which its gradient needs."""
    norm = torch.linalg.vector_norm(h, dim=1, keepdim=True)
    scale = torch.addcmul(eps, norm, norm, value=1 / h.shape[1]).rsqrt_()
    normalized = h * scale
    mixed = convolve(normalized, n_blocks, image_kernel)
    return scale, normalized, mixed, torch.addmm(bias, mixed, weight.T).relu_()


class _Activate(torch.autograd.Function):
    """The nonlinear part of a residual layer, with its gradient.

    The gradient is written out so that its sums have a fixed order. In the names,
    ``d_`` is the gradient of the loss.
    """

    @staticmethod
    def forward(ctx, h, n_blocks, kernel, image_kernel, weight, bias, eps):
        activations = _activations(h, n_blocks, image_kernel, weight, bias, eps)
        ctx.save_for_backward(kernel, weight, *activations)
        ctx.n_blocks = n_blocks
        return activations[-1].square()

    @staticmethod
    @once_differentiable
    def backward(ctx, d_squared):
        kernel, weight, scale, normalized, mixed, hidden = ctx.saved_tensors
        d_hidden = (d_squared * hidden).mul_(2)  # 0 where ReLU gave 0
        d_normalized, d_kernel = convolution_gradients(
            d_hidden @ weight, normalized, ctx.n_blocks, kernel
        )
        along = torch.linalg.vecdot(d_normalized, normalized)[:, None]
        along /= normalized.shape[1]
        d_h = d_normalized.addcmul_(normalized, along, value=-1).mul_(scale)
        d_weight, d_bias = sum_of_outer(d_hidden, mixed), d_hidden.sum(0)
        return d_h, None, d_kernel, None, d_weight, d_bias, None


class _Linear(nn.Linear):
    """A linear layer that leaves weights without values as they are.

    Those on the device "meta" have none: `from_plain` builds such a network. Random
    numbers for them make torch import its compiler, which takes a second.
    """

    def reset_parameters(self):
        if not self.weight.is_meta:
            super().reset_parameters()


def _zero(layer):
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class DimReduction(nn.Module):
    """The paper's convolutional autoencoder, layer for layer (Table 1).

    Each block is encoded and decoded separately. The average over the block
    (``AdaptiveAvgPool1d``) leaves 32 numbers, where the table ends. The text says that
    the latent space is one number: any other `latent_dim` adds a 1×1 convolution from
    32 to `latent_dim` after the encoder, and one back before the decoder.

    Parameters
    ----------
    block_size : int
        Number of samples in a block; the table is printed for 5. The first
        upsampling goes to ``ceil(block_size / 2)``, the second to `block_size`.

    latent_dim : int, default=32
        Number of latents of a block. 32 is the table as printed, with 4,129
        parameters.

    See Also
    --------
    ContextualAutoencoder : Reads each block together with its neighbours.
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

    encoder_radius = context_radius = 0  # each block is encoded and restored separately
    batch_invariant = True
    output_limits = (0.0, 1.0)  # of the sigmoid
    min_batch_blocks = 2  # batch normalisation needs a variance
    training_defaults = {
        "max_steps": 2000,
        "batch_size": 32,
        "learning_rate": 0.03,
        "augment": False,
    }

    def __init__(self, block_size, latent_dim=32):
        super().__init__()
        # Keywords that build a network of the same shape.
        self.arguments = {"block_size": block_size, "latent_dim": latent_dim}
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
            _Sigmoid(),
        ]
        if latent_dim != 32:
            encoder = [*encoder, nn.Conv1d(32, latent_dim, kernel_size=1)]
            decoder = [nn.Conv1d(latent_dim, 32, kernel_size=1), *decoder]
        # (B, 1, block_size) -> (B, latent_dim, 1) -> (B, 1, block_size)
        self.encoder = nn.Sequential(*encoder)
        self.decoder = nn.Sequential(*decoder)

    def for_inference(self):
        """Return a network that encodes faster and is not trained.

        Batch normalisation is folded into the convolutions, which run with channels
        last in memory.

        Returns
        -------
        DimReduction
            A network with equal latents within float rounding.
        """
        faster = copy.deepcopy(self).requires_grad_(False)
        faster.encoder = _FoldedEncoder(faster.encoder)
        return faster

    def forward(self, x):
        """Encode and decode blocks, with the axes of the table.

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
        """Restore each block from its latents: the lossy inverse of `encode`.

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


class _Sigmoid(nn.Sigmoid):
    """A sigmoid that gives a number the same bits in any batch."""

    def forward(self, x):
        if torch.is_grad_enabled():
            return super().forward(x)
        return in_whole_vectors(torch.sigmoid, x)


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


# The parameter `network` of ConvAETokenizer, pickles and safe files know these.
NETWORKS = {
    "contextual": ContextualAutoencoder,
    "dimreduction": DimReduction,
    "multilead": MultiLeadAutoencoder,
}
_CLASSES = {network.__name__: network for network in NETWORKS.values()}
# Names in files of format 1.
_FORMAT_1 = {"encoder_reaches": "encoder_radii", "decoder_reaches": "decoder_radii"}


def to_plain(network):
    """A network of this module as a dict of strings, numbers and arrays.

    Custom networks are returned unchanged.
    """
    name = type(network).__name__
    if _CLASSES.get(name) is not type(network):
        return network
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    return {"network": name, "arguments": network.arguments, "weights": weights}


@unaffected()
def from_plain(plain):
    """Inverse of `to_plain`, in evaluation mode."""
    if isinstance(plain, nn.Module):
        return plain
    arguments = {_FORMAT_1.get(n, n): v for n, v in plain["arguments"].items()}
    radii = [value for name, value in arguments.items() if name.endswith("radii")]
    if sum(map(len, radii)) > len(plain["weights"]):
        raise ValueError("The network has more layers than weights.")
    with torch.device("meta"):  # takes no memory and draws no random numbers
        network = _CLASSES[plain["network"]](**arguments)
    # Copies, because their address in memory decides the last bits of products.
    weights = {
        name.replace("taps", "kernel"): torch.tensor(value)  # format 1: taps
        for name, value in plain["weights"].items()
    }
    network.load_state_dict(weights, assign=True)
    return network.eval()
