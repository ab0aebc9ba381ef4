"""What stands between encoder and decoder in training. Torch only.

A bottleneck is a module: latents to ``(quantized, penalty)``. `quantized` has the
shape of the latents and a gradient of its own; the penalty is added to the error of the
reconstruction, as a share of the signal's power.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from sktok._nearest import nearest

# Weights of pulling latents to their codes, and codes to their latents. The pull
# decides: with none the latents leave the codebook behind, and the error is 100 times
# as large; with half of both it is 3 to 8 % larger.
_LATENTS_TO_CODES = 1.0
_CODES_TO_LATENTS = 0.5
_REVIVE_EVERY = 100  # batches
_IDLE = 0.02  # a code is idle below this share of the mean use: 0.1 does harm
_TINY = 1e-30


class Codebook(nn.Module):
    """A codebook that is trained with the network (vector quantisation).

    The reconstruction's gradient reaches the codes and, straight through, the latents;
    and each of both is pulled towards the other. Idle codes are moved to latents that
    are far from theirs.

    Parameters
    ----------
    codes : torch.Tensor of shape (n_codes, latent_dim)
        Codes to start from, such as k-means of the latents.

    power : float
        Power of the latents, which the penalty is a share of.

    n_batches : int
        For how many batches idle codes are moved; the others let them settle.

    generator : torch.Generator
        Draws the latents that idle codes are moved to.

    uses : array-like of shape (n_codes,) or None, default=None
        How often each code was used since idle ones were last moved; None is never.

    References
    ----------
    A. van den Oord et al., "Neural discrete representation learning", NeurIPS 2017;
    without its stop-gradient between reconstruction and codes.
    """

    def __init__(self, codes, power, n_batches, generator, uses=None):
        super().__init__()
        self.codes = nn.Parameter(codes.clone())
        self.power = power
        self.n_batches = n_batches
        self.generator = generator
        uses = torch.zeros(len(codes)) if uses is None else torch.tensor(uses)
        self.register_buffer("uses", uses)

    def to_plain(self):
        """What it was made with, and is now, beside the codes and the generator."""
        return {
            "power": self.power,
            "n_batches": self.n_batches,
            "uses": self.uses.cpu().numpy(),
        }

    def forward(self, latents):
        """Replace latents by the nearest codes, and penalise the distance."""
        values = latents.detach().flatten(0, -2)
        tokens = nearest(values, self.codes.detach())
        codes = self.codes[tokens.view(latents.shape[:-1])]
        penalty = _LATENTS_TO_CODES * F.mse_loss(latents, codes.detach())
        penalty = penalty + _CODES_TO_LATENTS * F.mse_loss(codes, latents.detach())
        quantized = codes + (latents - latents.detach())
        if self.training and self.n_batches > 0:
            self.n_batches -= 1
            self.uses += torch.bincount(tokens, minlength=len(self.codes))
            if self.n_batches % _REVIVE_EVERY == 0:
                self._revive(values, tokens)
        return quantized, penalty / self.power

    @torch.no_grad()
    def _revive(self, values, tokens):
        """Move the codes that were hardly used to latents, by their distance."""
        idle = (self.uses < _IDLE * self.uses.mean()).nonzero()[:, 0]
        if len(idle):
            distance = (values - self.codes[tokens]).square().sum(1).cpu() + _TINY
            chosen = torch.multinomial(
                distance, len(idle), replacement=True, generator=self.generator
            )
            self.codes[idle] = values[chosen.to(values.device)]
        self.uses.zero_()


class Bins(nn.Module):
    """Both quantisation layers of the paper at once: latents to bin centres (4.3).

    The gradient passes straight through the rounding, but not through the clamping
    to the limits, beyond which latents would otherwise run away. Bins that depend on
    the data, such as those between the latent space's own limits, follow the latents
    from batch to batch.

    Parameters
    ----------
    quantizer : BinQuantizer
        Is fitted in each step.
    """

    def __init__(self, quantizer):
        super().__init__()
        self.quantizer = quantizer

    def to_plain(self):
        """Nothing: all it knows is in the quantiser."""

    def forward(self, latents):
        """Replace latents by bin centres; there is no penalty."""
        values = latents.detach().flatten(0, -2).cpu().numpy()
        if not np.isfinite(values).all():
            raise FloatingPointError("the latents are not finite")
        if self.training:  # not when held-out windows pass
            self.quantizer.fit(values)
        tokens = self.quantizer.transform(values)
        centers = torch.from_numpy(self.quantizer.inverse_transform(tokens))
        edges = self.quantizer.edges_
        edges = edges if isinstance(edges, list) else [edges]
        low, high = (latents.new_tensor([e[end] for e in edges]) for end in (0, -1))
        clamped = latents.clamp(low, high)
        centers = centers.to(latents).view_as(latents)
        return clamped + (centers - clamped).detach(), 0.0
