"""Analysis by synthesis: the tokens that restore a window best."""

from itertools import product

import torch
import torch.nn.functional as F

from sktok._torch.nearest import distances

_N_SWEEPS = 2  # the second lowers the error by 3 % more, a third by half a percent


def search_tokens(network, codes, n_candidates, windows, latents, tokens):
    """Choose each token among candidates by the error of the restored window.

    The encoder's own choice does not take into account how the decoder combines a token
    with its neighbours. The search therefore tries, for each token in turn, the codes
    nearest to its latent, and keeps the best one, as speech coders do. A second sweep
    follows, because later tokens have changed. Blocks that are far enough apart that no
    restored block depends on two of them are tried at the same time.

    Parameters
    ----------
    network : torch.nn.Module
        With ``decode`` and optionally ``context_radius``, as in `sktok.networks`.

    codes : torch.Tensor of shape (n_codes, dim)
        What each token stands for: all latents of a block, or one of them.

    n_candidates : int
        Number of tokens to try in each place, including the encoder's own.

    windows : torch.Tensor of shape (windows, blocks, block_size)
        Signal to approximate.

    latents : torch.Tensor of shape (windows, blocks, latent_dim)
        Latents of the signal.

    tokens : torch.Tensor of int64, shape (windows, blocks, latent_dim / dim)
        The encoder's own choice.

    Returns
    -------
    torch.Tensor of int64, shape (windows, blocks, latent_dim / dim)
        Tokens. No window has a larger error than with the encoder's own choice.
    """
    candidates = _nearest(latents, codes, tokens, n_candidates)
    n_blocks, n_places = tokens.shape[1:]
    radius = min(getattr(network, "context_radius", n_blocks), n_blocks - 1)
    spacing = 2 * radius + 1
    blocks = torch.arange(n_blocks, device=tokens.device)

    def errors_of(choices):
        restored = network.decode(codes[choices].flatten(-2).flatten(0, -3))
        return (restored.view(*choices.shape[:-1], -1) - windows).square().sum(-1)

    own, own_errors = tokens, errors_of(tokens)
    errors = own_errors
    visits = product(range(_N_SWEEPS), range(n_places), range(min(spacing, n_blocks)))
    for sweep, place, first in visits:
        tried = blocks[first::spacing]
        new = candidates[:, tried, place, 1 if sweep == 0 else 0 :].movedim(-1, 0)
        choices = tokens.repeat(1 + len(new), 1, 1, 1)
        choices[1:, :, tried, place] = new
        outcomes = torch.cat([errors[None], errors_of(choices[1:])])
        around = F.pad(outcomes, (radius, radius)).unfold(-1, spacing, 1).sum(-1)
        best = around[..., tried].argmin(0)  # (windows, tried)
        # Each block follows the only tried block that it depends on.
        group = (blocks - first + radius).div(spacing, rounding_mode="floor")
        best = best[:, group.clamp(0, len(tried) - 1)]
        errors = outcomes.gather(0, best[None])[0]
        best = best[None, ..., None].expand(1, -1, -1, n_places)
        tokens = choices.gather(0, best)[0]
    better = errors.sum(1) < own_errors.sum(1)
    return torch.where(better[:, None, None], tokens, own)


def _nearest(latents, codes, tokens, n_candidates):
    """The own token, then the codes nearest to the latent: (…, n_candidates)."""
    values = latents.reshape(-1, codes.shape[1])
    distance = distances(values, codes)
    distance.scatter_(1, tokens.reshape(-1, 1), -torch.inf)
    nearest = distance.topk(min(n_candidates, len(codes)), largest=False)[1]
    return nearest.view(*tokens.shape, -1)
