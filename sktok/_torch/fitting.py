"""What `ConvAETokenizer.fit` does in torch: build a network and train it."""

import copy
import math
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.base import clone
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit
from sklearn.utils import check_random_state

from sktok._rows import as_python
from sktok._torch.arrays import as_blocks, as_tensor
from sktok._torch.bottleneck import Bottleneck
from sktok._torch.device import resolve_device
from sktok._torch.guard import seeded, unaffected
from sktok._torch.inference import blocks_of_tokens, encode
from sktok._torch.threads import limited_threads, n_threads
from sktok._torch.training import Trainer, train
from sktok.networks import NETWORKS

_SHORT_BLOCK = 8  # shorter blocks hold mostly noise, which is alike in all patients
_FEW_BLOCKS = 128  # in a step; the order of sums of fewer depends on the threads
_BATCH_BLOCKS = 1600  # blocks in a gradient step, for batch_size="auto"
_MOST_STEPS = 12_000  # for max_steps="auto"; more hardly lower the error
_START_SAMPLES = 2**24  # of signal whose latents a quantiser starts from, at most


@unaffected(with_gradients=True)
def fit_autoencoder(tokenizer, X, groups=None, *, is_stream=False):
    """Train a network, with its quantiser, as the parameters of a tokenizer say.

    Training continues from the network of the tokenizer if it has one.

    Parameters
    ----------
    tokenizer : ConvAETokenizer
        Gives the parameters, and is not changed.

    X : ndarray of float32, shape (windows, block_size), (windows, blocks, block_size) \
            or (windows, leads, blocks, block_size)
        Training signal. The leads of a window become windows.

    groups : array-like of shape (windows,) or None
        Patients: validation holds out whole groups.

    is_stream : bool, default=False
        Whether `X` is a batch of a stream: training is then one pass over it.

    Returns
    -------
    dict
        The fitted attributes of the tokenizer by name; the one that marks it as fitted
        is the last.

    Raises
    ------
    ValueError
        If the parameters do not fit each other, the data or the earlier result; or if
        latents, loss or weights are not finite.
    """
    windows = as_tensor(as_blocks(X))
    if len(windows) > len(X):  # the leads of a window are held out together
        groups = np.arange(len(X)) if groups is None else groups
        groups = np.repeat(groups, len(windows) // len(X))
    split_indices = np.arange(len(windows)), None  # to train on, and held out
    resumes = is_stream and hasattr(tokenizer, "network_")
    if resumes:
        settings, latent_dim = tokenizer._unfinished["settings"], tokenizer.latent_dim_
        network = copy.deepcopy(tokenizer.network_)
    else:
        random_state = check_random_state(tokenizer.random_state)
        seed = int(random_state.randint(np.iinfo(np.int32).max))
        settings = settings_for(tokenizer, *windows.shape, is_stream=is_stream)
        if tokenizer.early_stopping:
            split_indices = split(tokenizer, windows, groups, random_state)
        network, latent_dim = start_network(tokenizer, windows, seed)
    batch_size = min(len(split_indices[0]), settings["batch_size"])
    check_batch(network, batch_size * windows.shape[1])
    is_parallel = getattr(network, "parallel_training", False)
    is_parallel &= batch_size * windows.shape[1] >= _FEW_BLOCKS
    n = n_threads() if is_parallel else 1  # sums may depend on it
    with divergence_explained(windows, settings):
        if resumes:
            trainer = resume_training(tokenizer, network)
        else:
            trainer = start_training(tokenizer, network, X, settings, seed)
        n_steps = settings["max_steps"]
        if is_stream:  # one pass, as far as training lasts
            n_steps = min(len(windows) // batch_size, n_steps - len(trainer.losses))
        device = trainer.deviation.device
        with limited_threads(n):
            train(
                trainer,
                windows.to(device),
                n_steps,
                *split_indices,
                tokenizer.n_iter_no_change,
                verbose=bool(tokenizer.verbose) and not is_stream,
            )
        learned = collect_result(trainer, latent_dim, X, tokenizer.device)
    is_complete = not is_stream or len(trainer.losses) == settings["max_steps"]
    return {"_unfinished": None if is_complete else trainer.to_plain()} | learned


def split(tokenizer, windows, groups, random_state):
    """Indices of windows to train on, and of those to hold out."""
    splitter = ShuffleSplit if groups is None else GroupShuffleSplit
    splitter = splitter(
        1, test_size=tokenizer.validation_fraction, random_state=random_state
    )
    return next(splitter.split(windows, groups=groups))


def _factory_of(network):
    """The callable that the parameter `network` is or names."""
    if isinstance(network, torch.nn.Module):
        raise ValueError(
            f"network is an instance of {type(network).__name__}: give the class, or a "
            "function (block_size, latent_dim) -> torch.nn.Module."
        )
    if not isinstance(network, str):
        return network
    if network not in NETWORKS:
        raise ValueError(
            f"network={network!r}: expected one of {', '.join(map(repr, NETWORKS))}, "
            "or a callable (block_size, latent_dim) -> torch.nn.Module."
        )
    return NETWORKS[network]


def _class_attribute(factory, name, default):
    """An attribute of a class of networks, also inside a `functools.partial`."""
    return getattr(getattr(factory, "func", factory), name, default)


def settings_for(tokenizer, n_windows, n_blocks, block_size, *, is_stream=False):
    """The parameters of training, with "auto" replaced by numbers."""
    n_leads = int(tokenizer.n_leads)
    is_short = block_size // n_leads < _SHORT_BLOCK
    factory = _factory_of(tokenizer.network)
    auto = {
        "max_steps": _MOST_STEPS if is_stream else n_steps_for(n_windows * n_blocks),
        "batch_size": max(1, _BATCH_BLOCKS // n_blocks),
        "learning_rate": 0.0015 if is_short else 0.003,
        "augment": not is_short,
        **_class_attribute(factory, "training_defaults", {}),
    }
    given = {name: as_python(getattr(tokenizer, name)) for name in auto}
    given = {name: value for name, value in given.items() if value != "auto"}
    return auto | given | {"n_leads": n_leads}


def n_steps_for(n_blocks):
    """Number of gradient steps for training on `n_blocks` blocks.

    For blocks of 10 samples it is 2,000 for five minutes of one patient and 12,000 for
    the ten hours of half of MIT-BIH.
    """
    return int(np.clip(2000 * (n_blocks / 8600) ** 0.35, 500, _MOST_STEPS))


def start_network(tokenizer, windows, seed):
    """The network to train, and its number of latents for a block."""
    block_size, quantizer = windows.shape[2], tokenizer.quantizer
    require_leads(block_size, int(tokenizer.n_leads))
    latent_dim, limits = 1, None
    if quantizer is not None:
        latent_dim = quantizer.latent_dim_for(block_size)
        limits = quantizer.latent_limits()
    if tokenizer.latent_dim != "auto":
        latent_dim = int(tokenizer.latent_dim)
    with seeded(seed):
        n_leads = int(tokenizer.n_leads)
        network = build_network(
            tokenizer.network, block_size, latent_dim, limits, n_leads
        )
    earlier = getattr(tokenizer, "network_", None)
    if earlier is not None:
        check_same_kind(network, earlier)
        network = copy.deepcopy(earlier)
    check_network(network, windows[:1], latent_dim)
    if earlier is None and hasattr(network, "initialize"):
        with limited_threads(1):  # sums in one order
            network.initialize(windows)
    return network, latent_dim


def require_leads(block_size, n_leads):
    """Raise unless a block can hold the samples of some leads."""
    if block_size % n_leads:
        raise ValueError(
            f"n_leads={n_leads} does not divide block_size={block_size}, the number of "
            "values in a block: give the number of leads in it, as from "
            "BlockSegmenter(leads='joint')."
        )


def build_network(network, block_size, latent_dim, limits, n_leads):
    """The module that the parameter `network` names."""
    factory, keywords = _factory_of(network), {}
    if _class_attribute(factory, "bounds_latents", False):
        keywords["limits"] = limits
    if _class_attribute(factory, "reads_leads", False):
        keywords["n_leads"] = n_leads
    built = factory(block_size, latent_dim, **keywords)
    if not (hasattr(built, "encode") and hasattr(built, "decode")):
        raise ValueError(
            f"network returns a {type(built).__name__} without the methods encode and "
            "decode: see sktok.networks for what they do."
        )
    return built


def check_network(network, windows, latent_dim):
    """Raise unless `network` encodes and decodes to the expected shapes."""
    network.eval()
    shape, expected = tuple(windows.shape), (*windows.shape[:2], latent_dim)
    with torch.no_grad():
        latents = network.encode(windows)
        if latents.shape != expected:
            raise ValueError(
                f"The network encodes {shape} to {tuple(latents.shape)}, expected "
                f"{expected} (windows, blocks, latent_dim): correct its encode; or, "
                "with warm_start=True, do not change latent_dim."
            )
        signal = network.decode(latents)
    if signal.shape != shape:
        raise ValueError(
            f"The network decodes to {tuple(signal.shape)}, expected the shape that "
            f"was encoded, {shape} (windows, blocks, block_size): correct its decode."
        )


def check_same_kind(network, fitted):
    """Raise unless training can continue from `fitted` in place of `network`."""
    now, before = (
        (type(net), getattr(net, "limits", None)) for net in (network, fitted)
    )
    if now != before:
        raise ValueError(
            f"warm_start=True continues from {before} (class, limits of latents), but "
            f"network and quantizer now ask for {now}: do not change them, or set "
            "warm_start=False."
        )


def check_batch(network, n_blocks):
    """Raise if a batch of `n_blocks` blocks is too small for the network."""
    n_least = getattr(network, "min_batch_blocks", 1)
    if n_blocks < n_least:
        raise ValueError(
            f"A batch of n_samples={n_blocks} block is too small for "
            f"{type(network).__name__}: give at least {n_least} blocks."
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
            "signal first, as with AmplitudeScaler."
        ) from error


def start_training(tokenizer, network, X, settings, seed):
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
            earlier=getattr(tokenizer, "quantizer_", None),
        )
        bottleneck = Bottleneck(quantizer, state, generator)
    with limited_threads(1):  # sums in one order
        deviation = as_tensor(as_blocks(X)).std(correction=0)
    deviation = deviation.to(resolve_device(tokenizer.device))
    losses = getattr(tokenizer, "loss_curve_", [])
    return Trainer(network, bottleneck, deviation, generator, settings, losses)


def resume_training(tokenizer, network):
    """The trainer of a stream as its last batch left it."""
    plain, generator, bottleneck = tokenizer._unfinished, torch.Generator(), None
    if tokenizer.quantizer_ is not None:
        # That of the tokenizer has fewer codes, if some were not used. Older files have
        # no other.
        quantizer = copy.deepcopy(plain.get("quantizer") or tokenizer.quantizer_)
        bottleneck = Bottleneck(quantizer, plain["bottleneck"] or {}, generator)
    device = resolve_device(tokenizer.device)
    deviation = torch.tensor(plain["deviation"], dtype=torch.float32, device=device)
    settings, losses = plain["settings"], tokenizer.loss_curve_
    trainer = Trainer(network, bottleneck, deviation, generator, settings, losses)
    trainer.resume(plain)
    return trainer


def collect_result(trainer, latent_dim, X, device):
    """The fitted attributes, with the network and the quantiser on the CPU."""
    network, quantizer = trainer.network.cpu(), None
    if trainer.bottleneck is not None:
        quantizer = trainer.bottleneck.collect_result()
        quantizer.finish_training(
            lambda: encode(network, X, device), trainer.bottleneck
        )
    return {
        "block_size_": X.shape[-1],
        "latent_dim_": latent_dim,
        "signal_power_": trainer.power.item(),
        "loss_curve_": trainer.losses,
        "validation_loss_curve_": list(trainer.validation_losses.values()),
        "validation_steps_": list(trainer.validation_losses),
        "n_steps_": len(trainer.losses),
        "codebook_": blocks_of_tokens(network, quantizer, latent_dim, device),
        "quantizer_": quantizer,
        "network_": network,
    }
