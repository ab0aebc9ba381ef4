"""What `ConvAETokenizer.fit` does in torch: build a network and train it."""

import copy
import math
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from sklearn.base import clone
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit
from sklearn.utils import check_random_state

from sktok._torch.bottleneck import Bottleneck
from sktok._torch.device import exact_float32, resolve_device
from sktok._torch.inference import as_blocks, encode
from sktok._torch.threads import limited_threads, n_threads
from sktok._torch.training import Trainer, seeded, train, train_once
from sktok.networks import NETWORKS

_SHORT_BLOCK = 8  # shorter blocks hold mostly noise, which is alike in all patients
_BATCH_BLOCKS = 1600  # blocks in a gradient step, for batch_size="auto"
_MOST_STEPS = 12_000  # for max_steps="auto"; more hardly lower the error
_START_SAMPLES = 2**24  # of signal whose latents a quantiser starts from, at most


@dataclass
class Trained:
    """The result of training: the network on the CPU, in evaluation mode."""

    network: torch.nn.Module
    quantizer: object  # BaseQuantizer or None
    latent_dim: int
    losses: list[float]
    validation_losses: dict[int, float] = field(default_factory=dict)  # by step
    unfinished: dict | None = None  # what the next batch of a stream continues from


def fit_autoencoder(tokenizer, X, groups=None, earlier=None):
    """Train a network, with its quantiser, as the parameters of a tokenizer say.

    Parameters
    ----------
    tokenizer : ConvAETokenizer
        Gives the parameters, and is not changed.

    X : ndarray of float32, shape (windows, blocks, block_size) or (windows, block_size)
        Training signal.

    groups : array-like of shape (windows,) or None
        Patients: validation holds out whole groups.

    earlier : tuple (network, quantizer) or None
        Result of an earlier fit to continue from.

    Returns
    -------
    Trained
        With the losses of these steps.

    Raises
    ------
    ValueError
        If the parameters do not fit each other, the data or the earlier result; or if
        latents, loss or weights are not finite.
    """
    windows = as_tensor(X)
    random_state = check_random_state(tokenizer.random_state)
    seed = draw_seed(random_state)
    settings = settings_for(tokenizer, *windows.shape)
    train_indices, held_out = split(tokenizer, windows, groups, random_state)
    network, latent_dim = start_network(tokenizer, windows, seed, earlier)
    check_batch(network, windows[train_indices], settings)
    with divergence_explained(windows, settings):
        earlier_quantizer = earlier and earlier[1]
        trainer = start_training(
            tokenizer, network, X, settings, seed, earlier_quantizer
        )
        device = trainer.deviation.device
        with training_threads(network), exact_float32(device):
            validation_losses = train(
                trainer,
                windows.to(device),
                torch.from_numpy(train_indices),
                None if held_out is None else torch.from_numpy(held_out),
                tokenizer.n_iter_no_change,
                progress_bar=bool(tokenizer.verbose),
            )
        trained = collect_result(trainer, latent_dim, X, tokenizer.device)
    trained.validation_losses = validation_losses
    return trained


def partial_fit_autoencoder(tokenizer, X, earlier=None):
    """Train for one pass over a batch of a stream.

    Parameters
    ----------
    tokenizer : ConvAETokenizer
        Gives the parameters, and is not changed.

    X : ndarray of float32, shape (windows, blocks, block_size) or (windows, block_size)
        Training signal.

    earlier : Trained or None
        Result of the last batch.

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
    with divergence_explained(windows, settings):
        if earlier is None:
            trainer = start_training(tokenizer, network, X, settings, seed)
        else:
            trainer = resume_training(tokenizer.device, network, earlier)
        device = trainer.deviation.device
        with training_threads(network), exact_float32(device):
            train_once(trainer, windows.to(device))
        trained = collect_result(trainer, latent_dim, X, tokenizer.device)
    if len(trainer.losses) < settings["max_steps"]:
        trained.unfinished = trainer.to_plain()
    return trained


def as_tensor(X):
    """Blocks as a tensor of windows."""
    return torch.from_numpy(np.require(as_blocks(X), requirements="W"))


def draw_seed(random_state):
    """The seed of everything that torch draws."""
    return int(random_state.randint(np.iinfo(np.int32).max))


def split(tokenizer, windows, groups, random_state):
    """Indices of windows to train on, and of those to hold out (None without)."""
    if not tokenizer.early_stopping:
        return np.arange(len(windows)), None
    splitter = ShuffleSplit if groups is None else GroupShuffleSplit
    splitter = splitter(
        1, test_size=tokenizer.validation_fraction, random_state=random_state
    )
    return next(splitter.split(windows, groups=groups))


def _class_of(network):
    """The class of networks that the parameter `network` names, if it is one."""
    network = NETWORKS.get(network, network) if isinstance(network, str) else network
    return getattr(network, "func", network)  # of a functools.partial


def settings_for(tokenizer, n_windows, n_blocks, block_size, *, is_stream=False):
    """The parameters of training, with "auto" replaced by numbers."""
    is_short = block_size < _SHORT_BLOCK
    n_steps = _MOST_STEPS if is_stream else n_steps_for(n_windows * n_blocks)
    auto = {
        "max_steps": n_steps,
        "batch_size": max(1, _BATCH_BLOCKS // n_blocks),
        "learning_rate": 0.0015 if is_short else 0.003,
        "augment": not is_short,
        **getattr(_class_of(tokenizer.network), "training_defaults", {}),
    }
    given = {name: getattr(tokenizer, name) for name in auto}
    return auto | {name: v for name, v in given.items() if v != "auto"}


def n_steps_for(n_blocks):
    """Number of gradient steps for training on `n_blocks` blocks.

    For blocks of 10 samples it is 2,000 for five minutes of one patient and 12,000 for
    the ten hours of half of MIT-BIH.
    """
    return int(np.clip(2000 * (n_blocks / 8600) ** 0.35, 500, _MOST_STEPS))


def start_network(tokenizer, windows, seed, earlier=None):
    """The network to train, and its number of latents for a block."""
    block_size, quantizer = windows.shape[2], tokenizer.quantizer
    latent_dim, limits = tokenizer.latent_dim, None
    if latent_dim == "auto":
        latent_dim = 1 if quantizer is None else quantizer.latent_dim_for(block_size)
    if quantizer is not None:
        limits = quantizer.latent_limits()
    with seeded(seed):
        network = build_network(tokenizer.network, block_size, latent_dim, limits)
    if earlier is not None:
        check_same_kind(network, earlier[0])
        network = copy.deepcopy(earlier[0])
    check_network(network, windows, latent_dim)
    if earlier is None and hasattr(network, "initialize"):
        with limited_threads(1):  # sums in one order
            network.initialize(windows)
    return network, latent_dim


def build_network(network, block_size, latent_dim, limits):
    """The module that the parameter `network` names."""
    if isinstance(network, torch.nn.Module):
        raise ValueError(
            f"network is an instance of {type(network).__name__}: give the class, or a "
            "function (block_size, latent_dim) -> torch.nn.Module."
        )
    if isinstance(network, str) and network not in NETWORKS:
        raise ValueError(
            f"network={network!r}: expected one of {', '.join(map(repr, NETWORKS))}, "
            "or a callable (block_size, latent_dim) -> torch.nn.Module."
        )
    takes_limits = getattr(_class_of(network), "bounds_latents", False)
    factory = NETWORKS.get(network, network) if isinstance(network, str) else network
    bounds = {"limits": limits} if takes_limits else {}
    built = factory(block_size, latent_dim, **bounds)
    if not (hasattr(built, "encode") and hasattr(built, "decode")):
        raise ValueError(
            f"network returns a {type(built).__name__} without the methods encode and "
            "decode: see sktok.networks for what they do."
        )
    return built


def check_network(network, windows, latent_dim):
    """Raise unless `network` encodes and decodes to the expected shapes."""
    network.eval()
    with torch.no_grad():
        latents = network.encode(windows[:1])
        expected = (*windows[:1].shape[:2], latent_dim)
        if latents.shape != expected:
            raise ValueError(
                f"The network encodes {tuple(windows[:1].shape)} (windows, blocks, "
                f"block_size) to {tuple(latents.shape)}, expected {expected} (windows, "
                "blocks, latent_dim). Correct its encode; or, if warm_start=True "
                "continues an earlier fit, do not change latent_dim."
            )
        signal = network.decode(latents)
    if signal.shape != windows[:1].shape:
        raise ValueError(
            f"The network decodes to {tuple(signal.shape)}, expected the shape that "
            f"was encoded, {tuple(windows[:1].shape)} (windows, blocks, block_size)."
        )


def check_same_kind(network, fitted):
    """Raise unless training can continue from `fitted` in place of `network`."""
    limits, fitted_limits = (getattr(net, "limits", None) for net in (network, fitted))
    if type(network) is not type(fitted) or limits != fitted_limits:
        raise ValueError(
            f"warm_start=True continues from a {type(fitted).__name__} with latents "
            f"limited to {fitted_limits}, but network and quantizer now ask for a "
            f"{type(network).__name__} limited to {limits}: do not change them, or set "
            "warm_start=False."
        )


def check_batch(network, windows, settings):
    """Raise if a batch has too few blocks for the network."""
    n_blocks = min(len(windows), settings["batch_size"]) * windows.shape[1]
    if n_blocks < getattr(network, "min_batch_blocks", 1):
        raise ValueError(
            f"A batch of n_samples={n_blocks} block is too small for the batch "
            f"normalisation of {type(network).__name__}: give at least "
            f"{network.min_batch_blocks} blocks."
        )


@contextmanager
def divergence_explained(windows, settings):
    """Explain where numbers that are not finite come from, and what to do."""
    try:
        yield
    except FloatingPointError as error:
        raise ValueError(
            f"Training diverged ({error}) with values up to {windows.abs().max():.3g} "
            f"and learning_rate={settings['learning_rate']}: lower it, or scale the "
            "signal first, for instance with AmplitudeScaler."
        ) from error


def training_threads(network):
    """Limit torch to one thread, unless the network's sums do not depend on it."""
    is_parallel = getattr(network, "parallel_training", False)
    return limited_threads(n_threads() if is_parallel else 1)


def start_training(tokenizer, network, X, settings, seed, earlier_quantizer=None):
    """The trainer of a network and of the quantiser in it."""
    generator = torch.Generator().manual_seed(seed)
    bottleneck = None
    if tokenizer.quantizer is not None:
        n_windows = -(-_START_SAMPLES // math.prod(X.shape[1:]))
        some = X
        if n_windows < len(X):
            order = np.random.RandomState(seed).permutation(len(X))
            some = X[order[:n_windows]]
        latents = encode(network, some, tokenizer.device)
        quantizer = clone(tokenizer.quantizer)
        state = quantizer.start_training(
            latents,
            limits=getattr(network, "limits", None),
            max_steps=settings["max_steps"],
            seed=seed,
            earlier=earlier_quantizer,
        )
        bottleneck = Bottleneck(quantizer, state, generator)
    with limited_threads(1):  # sums in one order
        deviation = as_tensor(X).std(correction=0)
    deviation = deviation.to(resolve_device(tokenizer.device))
    return Trainer(network, bottleneck, deviation, generator, settings)


def resume_training(device, network, earlier):
    """The trainer of a stream as its last batch left it."""
    plain, generator, bottleneck = earlier.unfinished, torch.Generator(), None
    if earlier.quantizer is not None:
        quantizer = copy.deepcopy(earlier.quantizer)
        bottleneck = Bottleneck(quantizer, plain["bottleneck"] or {}, generator)
    deviation = torch.tensor(plain["deviation"], device=resolve_device(device))
    trainer = Trainer(network, bottleneck, deviation, generator, plain["settings"])
    trainer.resume(plain, earlier.losses)
    return trainer


def collect_result(trainer, latent_dim, X, device):
    """The trained network and quantiser, on the CPU."""
    network, quantizer = trainer.network.cpu(), None
    if trainer.bottleneck is not None:
        quantizer = trainer.bottleneck.quantizer
        trainer.bottleneck.collect_result()
        quantizer.finish_training(lambda: encode(network, X, device))
    return Trained(network, quantizer, latent_dim, trainer.losses)
