"""The training loop. Torch only: it knows no estimator and no particular network."""

import copy
import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

import torch
import torch.nn.functional as F
from tqdm import tqdm

_CHECK_EVERY = 50  # steps between two looks at the validation loss, at least
_global_generator = Lock()


@contextmanager
def seeded(seed):
    """Give layers that draw their weights here a seed of their own.

    torch initialises layers from its global generator, which is put back as it was;
    only one thread at a time may borrow it.
    """
    with _global_generator:
        state = torch.get_rng_state()
        try:
            torch.default_generator.manual_seed(seed)
            yield
        finally:
            torch.set_rng_state(state)


@dataclass
class History:
    """What a training run recorded: losses are mean squared errors."""

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)


def train(
    network,
    windows,
    *,
    quantize=None,
    validation=None,
    max_steps,
    batch_size,
    learning_rate,
    n_iter_no_change,
    generator,
    progress_bar=False,
):
    """Fit an autoencoder by AdamW under a one-cycle schedule; `network` is changed.

    The signal stays in memory as one tensor, and batches are drawn from it by index.
    Each epoch is a new permutation of the windows; its incomplete last batch is left
    out, for the sake of batch normalisation.

    Parameters
    ----------
    network : torch.nn.Module
        With ``encode`` and ``decode`` as in `sktok.networks`.

    windows : torch.Tensor of shape (windows, blocks, block_size)
        Training signal, on the device of `network`.

    quantize : callable or None
        Stands between encoder and decoder, latents to latents of the same shape, with
        a gradient of its own (paper, section 4.3).

    validation : torch.Tensor of shape (windows, blocks, block_size) or None
        Signal to stop by: training ends once `n_iter_no_change` looks in a row brought
        no improvement, and the best weights are kept.

    max_steps, batch_size, learning_rate, n_iter_no_change : int or float
        As in `ConvAETokenizer`.

    generator : torch.Generator
        Draws the batches.

    progress_bar : bool, default=False
        Whether to show one, with the loss.

    Returns
    -------
    History
        The loss at each step, and at each look at `validation`.

    Raises
    ------
    FloatingPointError
        If the loss is not finite.
    """

    def loss_of(batch):
        latents = network.encode(batch)
        if quantize is not None:
            latents = quantize(latents)
        return F.mse_loss(network.decode(latents), batch)

    history = History()
    batch_size = min(batch_size, len(windows))
    optimizer = torch.optim.AdamW(
        network.parameters(), learning_rate, weight_decay=0.0, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        learning_rate,
        total_steps=max_steps + 1,
        pct_start=0.1,
        cycle_momentum=False,
    )
    check_every = max(_CHECK_EVERY, len(windows) // batch_size)
    best_loss, best_weights, n_worse = math.inf, None, 0

    bar = tqdm(total=max_steps, desc="training", unit="step", disable=not progress_bar)
    with bar:
        for step, index in enumerate(_batches(len(windows), batch_size, generator)):
            if step == max_steps:
                break
            network.train()
            loss = loss_of(windows[index.to(windows.device)])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            history.loss.append(loss.item())
            if not math.isfinite(history.loss[-1]):
                raise FloatingPointError(
                    f"loss {history.loss[-1]} at step {step} of {max_steps}"
                )
            bar.set_postfix(loss=f"{history.loss[-1]:.2e}", refresh=False)
            bar.update()
            last = step + 1 == max_steps
            if validation is None or ((step + 1) % check_every and not last):
                continue
            network.eval()
            with torch.inference_mode():
                losses = [loss_of(part) * len(part) for part in validation.split(1024)]
            history.validation_loss.append(float(sum(losses)) / len(validation))
            if history.validation_loss[-1] < best_loss:
                best_loss, n_worse = history.validation_loss[-1], 0
                best_weights = copy.deepcopy(network.state_dict())
            else:
                n_worse += 1
            if n_worse == n_iter_no_change:
                break
    if best_weights is not None:
        network.load_state_dict(best_weights)
    network.eval()
    return history


def _batches(n_windows, batch_size, generator):
    """Indices of batches, without end, from one permutation after another."""
    while True:
        order = torch.randperm(n_windows, generator=generator)
        yield from order[: n_windows // batch_size * batch_size].split(batch_size)
