"""What `ConvAETokenizer.fit` does in torch: build a network, and train it."""

import copy
import math
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from sklearn.base import clone
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from sktok._bottlenecks import Bins, Codebook
from sktok._inference import as_blocks, encode, resolve_device
from sktok._quantizers import BinQuantizer, VectorQuantizer
from sktok._rows import validate_interval
from sktok._threads import limited_threads, n_threads
from sktok._training import Trainer, seeded, train, train_once
from sktok.networks import ContextualAutoencoder, DimReduction

_SHORT_BLOCK = 8  # below it, tokens describe noise, which is alike in all patients
_BATCH_BLOCKS = 1600  # blocks in a gradient step, where batch_size="auto"
_MOST_STEPS = 12_000  # that pay off, where max_steps="auto"
_START_SAMPLES = 2**24  # of signal, whose latents a codebook starts from, at most


@dataclass
class Trained:
    """What training gives: the network on the CPU and in evaluation mode."""

    network: torch.nn.Module
    quantizer: VectorQuantizer | BinQuantizer | None
    latent_dim: int
    losses: list[float]
    validation_losses: dict[int, float] = field(default_factory=dict)  # by step
    unfinished: dict | None = None  # what the next batch of a stream goes on from


def fit_autoencoder(tokenizer, X, earlier=None):
    """Train a network, and the quantiser in it, as a `ConvAETokenizer` asks for.

    Parameters
    ----------
    tokenizer : ConvAETokenizer
        Gives the parameters, and is not changed.

    X : ndarray of float32, shape (windows, blocks, block_size) or (windows, block_size)
        Training signal.

    earlier : tuple (network, quantizer) or None
        What to go on from.

    Returns
    -------
    Trained
        With the losses of these steps.

    Raises
    ------
    ValueError
        If the parameters do not fit each other, the data, or what came earlier; or if
        latents, loss or weights are not finite.
    """
    windows = as_tensor(X)
    random_state = check_random_state(tokenizer.random_state)
    seed = draw_seed(random_state)
    settings = settings_for(tokenizer, *windows.shape)
    network, latent_dim = start_network(tokenizer, windows, seed, earlier)
    members, validation = split(tokenizer, windows, random_state)
    check_batch(network, windows[members], settings)
    device = resolve_device(tokenizer.device)
    with divergence_explained(windows, settings), limited_threads(n_threads()):
        if earlier is None and hasattr(network, "initialize"):
            network.initialize(windows)
        quantizer, trainer = start_training(
            tokenizer, network, X, settings, seed, earlier
        )
        validation_losses = train(
            trainer,
            windows.to(device),
            torch.from_numpy(members),
            batch_size=settings["batch_size"],
            validation=None if validation is None else validation.to(device),
            n_iter_no_change=tokenizer.n_iter_no_change,
            progress_bar=bool(tokenizer.verbose),
        )
        take_home(trainer, quantizer, X, tokenizer.device)
    return Trained(network, quantizer, latent_dim, trainer.losses, validation_losses)


def partial_fit_autoencoder(tokenizer, X, earlier=None):
    """Train for one pass over a batch of a stream, as a `ConvAETokenizer` asks for.

    Parameters
    ----------
    tokenizer : ConvAETokenizer
        Gives the parameters, and is not changed.

    X : ndarray of float32, shape (windows, blocks, block_size) or (windows, block_size)
        Training signal.

    earlier : Trained or None
        What to go on from.

    Returns
    -------
    Trained
        With the losses of all steps so far.

    Raises
    ------
    ValueError
        As for `fit_autoencoder`.
    """
    windows = as_tensor(X)
    if earlier is None:
        seed = draw_seed(check_random_state(tokenizer.random_state))
        settings = settings_for(tokenizer, *windows.shape, is_stream=True)
        network, latent_dim = start_network(tokenizer, windows, seed)
    else:
        settings = earlier.unfinished["settings"]
        network, latent_dim = copy.deepcopy(earlier.network), earlier.latent_dim
    check_batch(network, windows, settings)
    device = resolve_device(tokenizer.device)
    with divergence_explained(windows, settings), limited_threads(n_threads()):
        if earlier is None:
            if hasattr(network, "initialize"):
                network.initialize(windows)
            quantizer, trainer = start_training(tokenizer, network, X, settings, seed)
        else:
            quantizer, trainer = resume_training(earlier, network, device)
        train_once(trainer, windows.to(device), settings["batch_size"])
        take_home(trainer, quantizer, X, tokenizer.device)
    unfinished = None
    if len(trainer.losses) < settings["max_steps"]:
        unfinished = {"settings": settings, **trainer.to_plain()}
    return Trained(
        network, quantizer, latent_dim, trainer.losses, unfinished=unfinished
    )


def as_tensor(X):
    """Blocks as a tensor of windows."""
    return torch.from_numpy(np.require(as_blocks(X), requirements="W"))


def draw_seed(random_state):
    """A seed for all that torch draws."""
    return int(random_state.randint(np.iinfo(np.int32).max))


def start_network(tokenizer, windows, seed, earlier=None):
    """The network to train, and the numbers that it compresses a block to."""
    block_size = windows.shape[2]
    latent_dim = tokenizer.latent_dim
    if latent_dim == "auto":
        latent_dim = latent_dim_for(tokenizer.quantizer, block_size)
    with seeded(seed):
        limits = limits_for(tokenizer.quantizer)
        network = build_network(tokenizer.network, block_size, latent_dim, limits)
    if earlier is not None:
        check_same_kind(network, earlier[0])
        network = copy.deepcopy(earlier[0])
    check_network(network, windows, latent_dim)
    return network, latent_dim


def check_batch(network, windows, settings):
    """Raise if batches are too small for the batch normalisation of Table 1."""
    n_blocks = min(len(windows), settings["batch_size"]) * windows.shape[1]
    if isinstance(network, DimReduction) and n_blocks < 2:
        raise ValueError(
            f"A batch of n_samples={n_blocks} window of one block is too little "
            "for batch normalisation: give two blocks at least."
        )


@contextmanager
def divergence_explained(windows, settings):
    """Say what numbers that are not finite come from, and what to do."""
    try:
        yield
    except FloatingPointError as error:
        raise ValueError(
            f"Training diverged ({error}) with values up to {windows.abs().max():.3g} "
            f"and learning_rate={settings['learning_rate']}: lower it, or scale the "
            "signal first, for instance with AmplitudeScaler."
        ) from error


def start_training(tokenizer, network, X, settings, seed, earlier=None):
    """The quantiser to train with, and the trainer of it and the network."""
    generator = torch.Generator().manual_seed(seed)
    device = resolve_device(tokenizer.device)
    quantizer, bottleneck = start_quantizer(
        tokenizer, network, X, settings["max_steps"], generator, earlier
    )
    deviation = as_tensor(X).to(device).std(correction=0)
    return quantizer, make_trainer(
        network, bottleneck, device, deviation, settings, generator
    )


def resume_training(earlier, network, device):
    """As `start_training`, from where the last batch of a stream has left it."""
    plain, quantizer = earlier.unfinished, copy.deepcopy(earlier.quantizer)
    generator = torch.Generator()
    bottleneck = None
    if isinstance(quantizer, VectorQuantizer):
        codes = torch.tensor(quantizer.codes_)
        bottleneck = Codebook(codes, generator=generator, **plain["bottleneck"])
    elif isinstance(quantizer, BinQuantizer):
        bottleneck = Bins(quantizer)
    deviation = torch.tensor(plain["deviation"]).to(device)
    trainer = make_trainer(
        network, bottleneck, device, deviation, plain["settings"], generator
    )
    trainer.resume(plain, earlier.losses)
    return quantizer, trainer


def make_trainer(network, bottleneck, device, deviation, settings, generator):
    """A trainer on the device, with the settings of `settings_for`."""
    return Trainer(
        network.to(device),
        bottleneck and bottleneck.to(device),
        deviation=deviation,
        augment=settings["augment"],
        max_steps=settings["max_steps"],
        learning_rate=settings["learning_rate"],
        generator=generator,
    )


def take_home(trainer, quantizer, X, device):
    """Bring the network to the CPU, and what the quantiser learned into it."""
    network = trainer.network.cpu()
    if isinstance(trainer.bottleneck, Codebook):
        quantizer.codes_ = trainer.bottleneck.cpu().codes.detach().numpy()
    if isinstance(quantizer, BinQuantizer):
        quantizer.fit(encode(network, X, device))


def split(tokenizer, windows, random_state):
    """Which windows to train on, and the windows to stop by: None without stopping."""
    members = np.arange(len(windows))
    if not tokenizer.early_stopping:
        return members, None
    members, held_out = train_test_split(
        members, test_size=tokenizer.validation_fraction, random_state=random_state
    )
    return members, windows[held_out]


def n_steps_for(n_blocks):
    """Gradient steps that pay off for so many blocks to train on.

    For blocks of 10 samples, 2,000 in five minutes of one patient, and 12,000 in the
    ten hours of half of MIT-BIH.
    """
    return int(np.clip(2000 * (n_blocks / 8600) ** 0.35, 500, _MOST_STEPS))


def latent_dim_for(quantizer, block_size):
    """Latents that make one token of a block."""
    if isinstance(quantizer, VectorQuantizer):
        return block_size
    n_bins = getattr(quantizer, "n_bins", None)
    return len(n_bins) if isinstance(n_bins, tuple) else 1


def limits_for(quantizer):
    """Limits that the latents need by construction, for a quantiser with bins."""
    if not isinstance(quantizer, BinQuantizer):
        return None
    if quantizer.limits == "minmax":
        return -1.0, 1.0
    return validate_interval("limits", quantizer.limits)


def settings_for(tokenizer, n_windows, n_blocks, block_size, *, is_stream=False):
    """The parameters of training, with "auto" replaced by what it stands for."""
    if tokenizer.network == "dimreduction":
        auto = {
            "max_steps": 2000,
            "batch_size": 32,
            "learning_rate": 0.03,
            "augment": False,
        }
    else:
        is_short = block_size < _SHORT_BLOCK
        auto = {
            "max_steps": _MOST_STEPS
            if is_stream
            else n_steps_for(n_windows * n_blocks),
            "batch_size": max(1, _BATCH_BLOCKS // n_blocks),
            "learning_rate": 0.0015 if is_short else 0.003,
            "augment": not is_short,
        }
    given = {name: getattr(tokenizer, name) for name in auto}
    return auto | {name: v for name, v in given.items() if v != "auto"}


def build_network(network, block_size, latent_dim, limits):
    """The module that the parameter `network` stands for."""
    if isinstance(network, torch.nn.Module):
        raise ValueError(
            f"network is an instance of {type(network).__name__}: give the class, or a "
            "function (block_size, latent_dim) -> torch.nn.Module."
        )
    if network == "contextual":
        return ContextualAutoencoder(block_size, latent_dim, limits=limits)
    factory = DimReduction if network == "dimreduction" else network
    built = factory(block_size, latent_dim)
    if not (hasattr(built, "encode") and hasattr(built, "decode")):
        raise ValueError(
            f"network gives a {type(built).__name__} without the methods encode and "
            "decode: see sktok.networks for what they do."
        )
    return built


def check_network(network, windows, latent_dim):
    """Raise unless `network` encodes and decodes to the shapes agreed on."""
    network.eval()
    with torch.no_grad():
        latents = network.encode(windows[:1])
        expected = (*windows[:1].shape[:2], latent_dim)
        if latents.shape != expected:
            raise ValueError(
                f"The network encodes {tuple(windows[:1].shape)} (windows, blocks, "
                f"block_size) to {tuple(latents.shape)}, expected {expected} (windows, "
                "blocks, latent_dim). Mend its encode; or, if warm_start=True goes on "
                "from an earlier fit, leave latent_dim as it was."
            )
        signal = network.decode(latents)
    if signal.shape != windows[:1].shape:
        raise ValueError(
            f"The network decodes to {tuple(signal.shape)}, expected the shape that "
            f"was encoded, {tuple(windows[:1].shape)} (windows, blocks, block_size)."
        )


def check_same_kind(network, fitted):
    """Raise unless training can go on from `fitted` in place of `network`."""
    limits, fitted_limits = (getattr(net, "limits", None) for net in (network, fitted))
    if type(network) is not type(fitted) or limits != fitted_limits:
        raise ValueError(
            f"warm_start=True goes on from a {type(fitted).__name__} with latents "
            f"limited to {fitted_limits}, but network and quantizer now ask for a "
            f"{type(network).__name__} limited to {limits}: leave them as they were, "
            "or set warm_start=False."
        )


def start_quantizer(tokenizer, network, X, n_steps, generator, earlier):
    """The quantiser to train with, and what stands for it in training."""
    if tokenizer.quantizer is None:
        return None, None
    quantizer = clone(tokenizer.quantizer)
    if isinstance(quantizer, BinQuantizer):
        if quantizer.limits == "minmax":
            limits = getattr(network, "limits", None)
            quantizer.limits = "minmax" if limits is None else limits
        return quantizer, Bins(quantizer)
    seed = generator.initial_seed()
    n_windows = -(-_START_SAMPLES // math.prod(X.shape[1:]))
    if n_windows < len(X):
        X = X[np.random.RandomState(seed).permutation(len(X))[:n_windows]]
    latents = encode(network, X, tokenizer.device)
    if (
        earlier is not None
        and getattr(earlier[1], "n_codes", None) == quantizer.n_codes
    ):
        quantizer = copy.deepcopy(earlier[1])
    else:
        if quantizer.random_state is None:
            quantizer.random_state = seed
        quantizer.fit(latents)
    power = max(float(latents.var()), np.finfo(np.float32).tiny)
    codes = torch.from_numpy(quantizer.codes_)
    return quantizer, Codebook(codes, power, n_steps // 2, generator)
