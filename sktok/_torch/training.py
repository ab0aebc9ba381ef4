"""Training, step by step, of any network and any quantiser."""

import copy
import math

import torch
from torch import nn
from tqdm import tqdm

from sktok._torch.sums import mean_by_window

_CHECK_EVERY = 50  # steps between two validation checks, at least
_TINY = 1e-30  # keeps a constant signal from a division by zero
_GAIN_SPREAD = 0.1  # standard deviation of the logarithm of the gain
_OFFSET_SPREAD = 0.15  # standard deviation of the offset, relative to the signal's
# Largest stretch of a window: a block grows by 4 samples, or the window by 0.3 blocks,
# whichever is more (the latter where blocks are few and long).
_BLOCK_GROWTH = 4.0
_WINDOW_GROWTH = 0.3


class Trainer:
    """Gradient steps on an autoencoder: AdamW with a one-cycle schedule.

    The objective is the error relative to the signal's power, which makes it
    independent of the unit, plus the penalty of the bottleneck.

    Parameters
    ----------
    network : torch.nn.Module
        Network as in `sktok.networks`; is changed.

    bottleneck : Bottleneck or None
        Stands between encoder and decoder, and is trained too.

    deviation : torch.Tensor of shape ()
        Standard deviation of the signal, on the device to train on.

    generator : torch.Generator
        Draws batches and variations.

    settings : dict
        `max_steps`, `batch_size`, `learning_rate`, `augment` and `n_leads`, as numbers
        and bool; see `ConvAETokenizer`.

    losses : list of float
        The errors of batches in earlier training.

    Attributes
    ----------
    losses : list of float
        The error of each batch so far.

    validation_losses : dict of int to float
        The error of held-out windows at each check, by the number of steps until then.
    """

    def __init__(self, network, bottleneck, deviation, generator, settings, losses):
        self.network, self.bottleneck = network, bottleneck
        parts = [network] if bottleneck is None else [network, bottleneck]
        self.trained = nn.ModuleList(parts).to(deviation.device)
        self.deviation, self.generator = deviation, generator
        self.power = deviation.square().clamp(min=_TINY)
        self.settings, self.losses = settings, list(losses)
        self.validation_losses = {}
        rate, n_rates = settings["learning_rate"], settings["max_steps"] + 1
        self.optimizer = torch.optim.AdamW(
            self.trained.parameters(), rate, weight_decay=0.0, fused=True
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            rate,
            n_rates,
            pct_start=max(0.1, 1.5 / n_rates),  # a warm-up of one step fails in torch
            cycle_momentum=False,
        )

    def losses_of(self, batch):
        """Mean squared error of a batch, and the penalty of the bottleneck."""
        latents, penalty = self.network.encode(batch), 0.0
        if self.bottleneck is not None:
            latents, penalty = self.bottleneck(latents)
        error = self.network.decode(latents) - batch
        return mean_by_window(error.square()), penalty

    def step(self, batch):
        """Take a gradient step; raise `FloatingPointError` if the loss is not finite.

        Parameters
        ----------
        batch : torch.Tensor of shape (windows, blocks, block_size)
            Signal, on the device of the network.
        """
        self.trained.train()
        if self.settings["augment"]:
            n_leads = self.settings.get("n_leads", 1)  # older files have no other
            batch = augmented(batch, self.deviation, self.generator, n_leads)
        loss, penalty = self.losses_of(batch)
        self.optimizer.zero_grad()
        (loss / self.power + penalty).backward()
        if self.bottleneck is not None:
            self.bottleneck.reset_moments(self.optimizer)
        self.optimizer.step()
        self.schedule.step()
        self.losses.append(loss.item())
        if not math.isfinite(self.losses[-1]):
            step = len(self.losses)
            raise FloatingPointError(f"loss {self.losses[-1]} in step {step}")

    def finish(self):
        """End training; raise `FloatingPointError` if weights are not finite."""
        if not all(weights.isfinite().all() for weights in self.trained.parameters()):
            raise FloatingPointError("weights that are not finite")
        self.trained.eval()

    def to_plain(self):
        """All that continues the training elsewhere, except weights: plain values."""
        optimizer = self.optimizer.state_dict()
        moments = {
            index: {name: value.cpu().numpy() for name, value in of_weight.items()}
            for index, of_weight in optimizer["state"].items()
        }
        return {
            "settings": self.settings,
            "deviation": self.deviation.item(),
            "bottleneck": self.bottleneck and self.bottleneck.to_plain(),
            "quantizer": self.bottleneck and self.bottleneck.collect_result(),
            "moments": moments,
            "param_groups": optimizer["param_groups"],
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state().numpy(),
        }

    def resume(self, plain):
        """Continue from the result of `to_plain` of another trainer."""
        moments = {
            index: {name: torch.tensor(value) for name, value in of_weight.items()}
            for index, of_weight in plain["moments"].items()
        }
        for index, weight in enumerate(self.trained.parameters()):
            shapes = {"step": (), "exp_avg": weight.shape, "exp_avg_sq": weight.shape}
            found = {name: m.shape for name, m in moments.get(index, {}).items()}
            if found not in ({}, shapes):  # fused AdamW would write out of bounds
                raise ValueError(
                    f"Training cannot continue: it stopped with {found} for a weight "
                    f"of shape {tuple(weight.shape)}. Is the file damaged?"
                )
        self.optimizer.load_state_dict(
            {"state": moments, "param_groups": plain["param_groups"]}
        )
        self.schedule.load_state_dict(plain["schedule"])
        self.generator.set_state(torch.tensor(plain["generator"]))


def train(
    trainer, windows, n_steps, train_indices, held_out, n_iter_no_change, *, verbose
):
    """Take the steps of a trainer, on batches drawn from windows.

    The signal stays in memory as one tensor, and batches are drawn from it by index.
    Each epoch is a new permutation of the windows. Its incomplete last batch is left
    out, because batch normalisation needs batches of equal size.

    Parameters
    ----------
    trainer : Trainer
        Its network is trained.

    windows : torch.Tensor of shape (windows, blocks, block_size)
        Signal, on the device of the network.

    n_steps : int
        Number of steps.

    train_indices : ndarray of int64, shape (n_train,)
        Indices of the windows to train on.

    held_out : ndarray of int64, shape (n_held_out,), or None
        Indices of other windows: training ends after `n_iter_no_change` validation
        checks without improvement on them, and keeps the best weights.

    n_iter_no_change : int
        As in `ConvAETokenizer`.

    verbose : bool
        Whether to show a progress bar, with the loss.

    Raises
    ------
    FloatingPointError
        If the loss or the weights are not finite.
    """
    batch_size = min(trainer.settings["batch_size"], len(train_indices))
    check_every = max(_CHECK_EVERY, len(train_indices) // batch_size)
    batches = _batches(train_indices, batch_size, trainer.generator)
    with tqdm(total=n_steps, unit="step", disable=not verbose) as bar:
        for step in range(1, n_steps + 1):
            trainer.step(windows[next(batches).to(windows.device)])
            bar.set_postfix(loss=f"{trainer.losses[-1]:.2e}", refresh=False)
            bar.update()
            is_due = step % check_every == 0 or step == n_steps
            if held_out is not None and is_due:
                loss = _mean_loss(trainer, windows[held_out])
                trainer.validation_losses[len(trainer.losses)] = loss
                losses = list(trainer.validation_losses.values())
                n_worse = len(losses) - 1 - losses.index(min(losses))
                if n_worse == 0:
                    best = copy.deepcopy(trainer.trained.state_dict())
                if n_worse == n_iter_no_change:
                    break
    if held_out is not None:
        trainer.trained.load_state_dict(best)
    trainer.finish()


def augmented(batch, deviation, generator, n_leads=1):
    """Windows varied as between patients, or between moments of one.

    A part of each window, the same for all, is stretched to its full length, which also
    moves samples within blocks. Each window gets a random gain, and each of its leads a
    random offset.

    Parameters
    ----------
    batch : torch.Tensor of shape (windows, blocks, block_size)
        Signal.

    deviation : torch.Tensor of shape ()
        Standard deviation of the whole signal, which scales offsets.

    generator : torch.Generator
        Draws the changes.

    n_leads : int, default=1
        Number of leads in a block, one after the other.

    Returns
    -------
    torch.Tensor of shape (windows, blocks, block_size)
        Changed signal.
    """
    # (windows, blocks, leads * n) -> (windows, leads, blocks * n)
    signal = batch.unflatten(2, (n_leads, -1)).transpose(1, 2).flatten(2)
    n_windows, _, length = signal.shape
    if length > 1:
        speed, start = torch.rand(2, generator=generator, dtype=batch.dtype).tolist()
        n_blocks = batch.shape[1]
        growth = max(_BLOCK_GROWTH / (length // n_blocks), _WINDOW_GROWTH / n_blocks)
        speed = 1 / (1 + growth * speed)
        start *= (1 - speed) * (length - 1)
        position = torch.arange(length, dtype=batch.dtype, device=batch.device)
        position = start + speed * position
        left = position.long().clamp(max=length - 2)
        signal = torch.lerp(signal[..., left], signal[..., left + 1], position - left)
    normal = torch.randn(1 + n_leads, n_windows, generator=generator, dtype=batch.dtype)
    normal = normal.T[..., None].to(batch.device)
    gain = torch.exp(_GAIN_SPREAD * normal[:, :1])
    offset = _OFFSET_SPREAD * normal[:, 1:]
    level = signal.mean(2, keepdim=True)
    signal = level + gain * (signal - level) + deviation * offset
    return signal.unflatten(2, (batch.shape[1], -1)).transpose(1, 2).flatten(2)


def _mean_loss(trainer, validation):
    """The error on all of `validation`, in evaluation mode and without penalty."""
    trainer.trained.eval()
    with torch.no_grad():
        parts = validation.split(1024)
        total = sum(trainer.losses_of(part)[0].item() * len(part) for part in parts)
    return total / len(validation)


def _batches(train_indices, batch_size, generator):
    """Yield batches of indices without end, one permutation after another."""
    train_indices = torch.from_numpy(train_indices)
    n_used = len(train_indices) // batch_size * batch_size
    while True:
        order = torch.randperm(len(train_indices), generator=generator)[:n_used]
        yield from train_indices[order].split(batch_size)
