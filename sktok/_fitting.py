"""What `ConvAETokenizer.fit` does in torch: build a network, and train it."""

import copy
import math

import numpy as np
import torch
from sklearn.base import clone
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from sktok._bottlenecks import Bins, Codebook
from sktok._inference import as_blocks, encode, resolve_device
from sktok._quantizers import BinQuantizer, VectorQuantizer
from sktok._threads import limited_threads, n_threads
from sktok._training import seeded, train
from sktok._windows import validate_interval
from sktok.networks import ContextualAutoencoder, DimReduction

_SHORT_BLOCK = 8  # below it, tokens describe noise, which is alike in all patients
_BATCH_BLOCKS = 1600  # blocks in a gradient step, where batch_size="auto"
_START_SAMPLES = 2**24  # of signal, whose latents a codebook starts from, at most


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
    latent_dim : int
        Numbers that a block is compressed to.

    network : torch.nn.Module
        On the CPU and in evaluation mode.

    quantizer : VectorQuantizer, BinQuantizer or None
        Fitted.

    history : History
        Losses.

    Raises
    ------
    ValueError
        If the parameters do not fit each other, the data, or what came earlier; or if
        latents, loss or weights are not finite.
    """
    windows = torch.from_numpy(np.require(as_blocks(X), requirements="W"))
    block_size = windows.shape[2]
    latent_dim = tokenizer.latent_dim
    if latent_dim == "auto":
        latent_dim = latent_dim_for(tokenizer.quantizer, block_size)
    random_state = check_random_state(tokenizer.random_state)
    seed = int(random_state.randint(np.iinfo(np.int32).max))
    with seeded(seed):
        limits = limits_for(tokenizer.quantizer)
        network = build_network(tokenizer.network, block_size, latent_dim, limits)
    if earlier is not None:
        check_same_kind(network, earlier[0])
        network = copy.deepcopy(earlier[0])
    check_network(network, windows, latent_dim)
    settings = settings_for(tokenizer, *windows.shape)
    members, validation = split(tokenizer, windows, random_state)
    n_blocks = min(len(members), settings["batch_size"]) * windows.shape[1]
    if isinstance(network, DimReduction) and n_blocks < 2:
        raise ValueError(
            f"A batch of n_samples={n_blocks} window of one block is too little "
            "for batch normalisation: give two blocks at least."
        )

    generator = torch.Generator().manual_seed(seed)
    device = resolve_device(tokenizer.device)
    try:
        with limited_threads(n_threads()):
            if earlier is None and hasattr(network, "initialize"):
                network.initialize(windows)
            quantizer, bottleneck = start_quantizer(
                tokenizer, network, X, settings["max_steps"], generator, earlier
            )
            history = train(
                network.to(device),
                windows.to(device),
                torch.from_numpy(members),
                bottleneck=bottleneck and bottleneck.to(device),
                validation=None if validation is None else validation.to(device),
                n_iter_no_change=tokenizer.n_iter_no_change,
                generator=generator,
                progress_bar=bool(tokenizer.verbose),
                **settings,
            )
        network.cpu()
        if isinstance(bottleneck, Codebook):
            quantizer.codes_ = bottleneck.cpu().codes.detach().numpy()
        if isinstance(quantizer, BinQuantizer):
            quantizer.fit(encode(network, X, tokenizer.device))
    except FloatingPointError as error:
        raise ValueError(
            f"Training diverged ({error}) with values up to {windows.abs().max():.3g} "
            f"and learning_rate={settings['learning_rate']}: lower it, or scale the "
            "signal first, for instance with AmplitudeScaler."
        ) from error
    return latent_dim, network, quantizer, history


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
    return int(np.clip(2000 * (n_blocks / 8600) ** 0.35, 500, 12_000))


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


def settings_for(tokenizer, n_windows, n_blocks, block_size):
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
            "max_steps": n_steps_for(n_windows * n_blocks),
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
