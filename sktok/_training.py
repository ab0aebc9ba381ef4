"""The training loop. Torch only: it knows no estimator and no particular network."""

import copy
import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

_CHECK_EVERY = 50  # steps between two looks at the validation loss, at least
_TINY = 1e-30  # keeps a constant signal from being divided by zero
_GAIN_SPREAD = 0.1  # standard deviation of the logarithm of the gain
_OFFSET_SPREAD = 0.15  # standard deviation of the offset, in those of the signal
# How far windows are stretched, at most: until a block has grown by 4 samples or, if
# that is more, as where blocks are few and long, the window by 0.3 blocks.
_BLOCK_GROWTH = 4.0
_WINDOW_GROWTH = 0.3
_generator_lock = Lock()


@contextmanager
def seeded(seed):
    """Give layers that draw their weights here a seed of their own.

    torch initialises layers from its global generator, which is put back as it was;
    only one thread at a time may borrow it.
    """
    with _generator_lock, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@dataclass
class History:
    """What a training run recorded: losses are mean squared errors."""

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)


@dataclass
class BestWeights:
    """The weights of the lowest validation loss, and how many were no lower since."""

    loss: float = math.inf
    n_worse: int = 0
    weights: dict | None = None

    def update(self, network, loss):
        """Keep the weights of `network` if its loss is the lowest so far."""
        if loss < self.loss or self.weights is None:
            self.loss, self.n_worse = loss, 0
            self.weights = copy.deepcopy(network.state_dict())
        else:
            self.n_worse += 1


def train(
    network,
    windows,
    members,
    *,
    bottleneck=None,
    augment=False,
    validation=None,
    max_steps,
    batch_size,
    learning_rate,
    n_iter_no_change,
    generator,
    progress_bar=False,
):
    """Fit an autoencoder by AdamW under a one-cycle schedule; `network` is changed.

    What is minimised is the error as a share of the signal's power, so that the unit of
    the signal does not matter, and the bottleneck's penalty.

    The signal stays in memory as one tensor, and batches are drawn from it by index.
    Each epoch is a new permutation of the windows; its incomplete last batch is left
    out, for the sake of batch normalisation.

    Parameters
    ----------
    network : torch.nn.Module
        With ``encode`` and ``decode`` as in `sktok.networks`.

    windows : torch.Tensor of shape (windows, blocks, block_size)
        Signal, on the device of `network`.

    members : torch.Tensor of int64, shape (n_members,)
        Which of the windows to train on.

    bottleneck : torch.nn.Module or None
        Stands between encoder and decoder, and is trained too, as in
        `sktok._bottlenecks`.

    augment : bool, default=False
        Whether to vary the windows of each batch, as in `augmented`.

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
        If the loss or the weights are not finite.
    """

    def losses_of(batch):
        latents, penalty = network.encode(batch), 0.0
        if bottleneck is not None:
            latents, penalty = bottleneck(latents)
        return F.mse_loss(network.decode(latents), batch), penalty

    trained = nn.ModuleList([network] if bottleneck is None else [network, bottleneck])
    deviation = windows.std(correction=0)
    power = deviation.square().clamp(min=_TINY)
    history, best = History(), BestWeights()
    batch_size = min(batch_size, len(members))
    check_every = max(_CHECK_EVERY, len(members) // batch_size)
    optimizer, schedule = _one_cycle_adamw(trained, learning_rate, max_steps)
    batches = _batches(members, batch_size, generator)
    with tqdm(total=max_steps, unit="step", disable=not progress_bar) as bar:
        for step in range(1, max_steps + 1):
            trained.train()
            batch = windows[next(batches).to(windows.device)]
            if augment:
                batch = augmented(batch, deviation, generator)
            loss, penalty = losses_of(batch)
            optimizer.zero_grad()
            (loss / power + penalty).backward()
            optimizer.step()
            schedule.step()
            history.loss.append(loss.item())
            if not math.isfinite(history.loss[-1]):
                raise FloatingPointError(
                    f"loss {history.loss[-1]} in step {step} of {max_steps}"
                )
            bar.set_postfix(loss=f"{history.loss[-1]:.2e}", refresh=False)
            bar.update()
            is_due = step % check_every == 0 or step == max_steps
            if validation is not None and is_due:
                held_out_loss = _mean_loss(losses_of, trained, validation)
                history.validation_loss.append(held_out_loss)
                best.update(trained, held_out_loss)
                if best.n_worse == n_iter_no_change:
                    break
    if validation is not None:
        trained.load_state_dict(best.weights)
    if not all(weights.isfinite().all() for weights in trained.parameters()):
        raise FloatingPointError("weights that are not finite")
    trained.eval()
    return history


def augmented(batch, deviation, generator):
    """Windows as another patient, or another moment, might have given them.

    A part of each window, the same of all, is stretched to its full length, which
    also moves its samples within the blocks; and each has a gain and an offset of its
    own.

    Parameters
    ----------
    batch : torch.Tensor of shape (windows, blocks, block_size)
        Signal.

    deviation : torch.Tensor of shape ()
        Standard deviation of all of the signal, for the size of offsets.

    generator : torch.Generator
        Draws the changes.

    Returns
    -------
    torch.Tensor of shape (windows, blocks, block_size)
        Changed signal.
    """
    signal = batch.flatten(1)
    n_windows, length = signal.shape
    if length > 1:
        speed, start = torch.rand(2, generator=generator).tolist()
        _, n_blocks, block_size = batch.shape
        growth = max(_BLOCK_GROWTH / block_size, _WINDOW_GROWTH / n_blocks)
        speed = 1 / (1 + growth * speed)
        start *= (1 - speed) * (length - 1)
        position = start + speed * torch.arange(length, device=batch.device)
        left = position.long().clamp(max=length - 2)
        signal = torch.lerp(signal[:, left], signal[:, left + 1], position - left)
    normal = torch.randn(2, n_windows, 1, generator=generator).to(batch)
    gain, offset = torch.exp(_GAIN_SPREAD * normal[0]), _OFFSET_SPREAD * normal[1]
    level = signal.mean(1, keepdim=True)
    signal = level + gain * (signal - level) + deviation * offset
    return signal.view_as(batch)


def _one_cycle_adamw(trained, learning_rate, max_steps):
    """AdamW, and a schedule that warms up for a tenth of the steps and cools down."""
    optimizer = torch.optim.AdamW(
        trained.parameters(), learning_rate, weight_decay=0.0, fused=True
    )
    total_steps = max_steps + 1
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        learning_rate,
        total_steps=total_steps,
        pct_start=max(0.1, 1.5 / total_steps),  # a warm-up of one step fails in torch
        cycle_momentum=False,
    )
    return optimizer, schedule


def _mean_loss(losses_of, trained, validation):
    """The error of all of `validation`, in evaluation mode and without penalty."""
    trained.eval()
    with torch.no_grad():
        parts = [(losses_of(part)[0], len(part)) for part in validation.split(1024)]
    return sum(loss.item() * size for loss, size in parts) / len(validation)


def _batches(members, batch_size, generator):
    """Batches of the members, without end, from one permutation after another."""
    n_used = len(members) // batch_size * batch_size
    while True:
        order = members[torch.randperm(len(members), generator=generator)]
        yield from order[:n_used].split(batch_size)
