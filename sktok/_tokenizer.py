"""A trained autoencoder as a scikit-learn transformer: blocks to latents or tokens."""

import copy
import math
from functools import partial
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sktok._bottlenecks import Bins, Codebook
from sktok._quantizers import BinQuantizer, VectorQuantizer
from sktok._search import search_tokens
from sktok._training import seeded, train
from sktok._windows import (
    WindowTransformerMixin,
    feature_names,
    forget,
    require_finite,
    validate_interval,
    validate_inverse,
    validate_windows,
)
from sktok.networks import ContextualAutoencoder, DimReduction, map_chunks

_SCALE_FIRST = "scale the signal first, for instance with AmplitudeScaler."
_CHUNK_SAMPLES = 16_384  # samples of signal that pass through a network at once
_COUNT = Interval(Integral, 1, None, closed="left")
_AUTO = StrOptions({"auto"})
_SHORT_BLOCK = 8  # below it, tokens describe noise, which is alike in all patients
_BATCH_BLOCKS = 1600  # blocks in a gradient step, where batch_size="auto"


def resolve_device(device):
    """The torch device that `device` names; "auto" prefers an accelerator."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        device = next(name for name, there in available.items() if there)
    if not available[device]:
        raise ValueError(
            f"device={device!r} is not available to torch here: use 'auto' or 'cpu'."
        )
    return torch.device(device)


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


class ConvAETokenizer(WindowTransformerMixin, BaseEstimator):
    """Compress blocks of a signal by a convolutional autoencoder trained on it.

    Each block of `block_size` samples becomes `latent_dim` numbers and, with a
    `quantizer`, tokens; `inverse_transform` leads back to blocks. A quantiser is
    trained inside the network: a :class:`VectorQuantizer` has its codebook learned
    with the weights, a :class:`BinQuantizer` stands for the paper's "complete
    process" (section 4.3), quantisation and dequantisation as two layers around the
    latent space. With ``quantizer=None`` a quantiser may follow in the Pipeline, as
    in the paper's section 4.2.

    Parameters
    ----------
    network : {"contextual", "dimreduction"} or callable, default="contextual"
        The autoencoder: :class:`sktok.networks.ContextualAutoencoder`, which sees a
        block among its neighbours; or the paper's Table 1,
        :class:`sktok.networks.DimReduction`, which expects a signal scaled to [0, 1];
        or a callable ``(block_size, latent_dim) -> torch.nn.Module``, with the methods
        that :mod:`sktok.networks` describes.

    latent_dim : int or "auto", default="auto"
        Numbers that a block is compressed to. "auto" makes one token of a block:
        `block_size` with a :class:`VectorQuantizer`, the length of a tuple `n_bins`
        with a :class:`BinQuantizer`, else 1.

    quantizer : VectorQuantizer, BinQuantizer or None, default=None
        Quantiser to train inside the network; `None` gives latents in place of tokens.
        A codebook starts at k-means of the first latents, and codes that are hardly
        used are moved to where the error is. Through bins the gradient passes straight,
        within their limits; with ``limits="minmax"`` these are -1 and 1 for the
        contextual network, whose latents are then bounded by construction. Bins that
        depend on the latents are fitted anew in each step, which
        ``strategy="kmeans"`` makes slow.

    max_steps : int or "auto", default="auto"
        Number of gradient steps. "auto" follows the number of blocks in `X`: 2,000
        steps for nine thousand, 12,000 for a million and a half; it is 2000 for
        "dimreduction".

    batch_size : int or "auto", default="auto"
        Number of windows in a gradient step. "auto" takes as many as hold 1,600
        blocks; it is 32 for "dimreduction".

    learning_rate : float or "auto", default="auto"
        Highest learning rate of the one-cycle schedule of AdamW. "auto" is 0.003, or
        0.0015 for blocks of less than 8 samples; it is 0.03 for "dimreduction".

    augment : bool or "auto", default="auto"
        Whether to vary the windows in training, in tempo, gain and offset, for the sake
        of patients not seen. "auto" does so for blocks of 8 samples or more, which
        shorter ones are the worse for; it is False for "dimreduction".

    early_stopping : bool, default=False
        Whether to hold `validation_fraction` of the windows out, stop when their
        error no longer falls, and keep the best weights.

    validation_fraction : float, default=0.1
        Share of the windows to hold out for `early_stopping`.

    n_iter_no_change : int, default=10
        Number of looks at the held-out windows without improvement that ends the
        training. There is one each epoch, but at most one every 50 steps.

    n_candidates : int, default=1
        Number of tokens that `transform` tries for each block. 1 takes the encoder's
        own. More are searched for the best reconstruction of the window (analysis by
        synthesis), which never makes it worse, and takes time. May be set after `fit`.

    device : {"auto", "cpu", "cuda", "mps"}, default="auto"
        Where torch computes. "auto" takes an accelerator if there is one. The fitted
        network is kept on the CPU, so that a pickle loads anywhere.

    warm_start : bool, default=False
        Whether `fit` goes on from the network of the last `fit`.

    random_state : int, RandomState instance or None, default=None
        Seeds the first weights, the batches, the held-out windows, and the quantiser
        if that has no seed. torch's global generator is left as it was, and so is
        numpy's, unless it is asked for by None.

    verbose : int, default=0
        Whether to show a progress bar with the loss.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network, on the CPU and in evaluation mode.

    quantizer_ : VectorQuantizer, BinQuantizer or None
        `quantizer` with the codebook that was trained, or the bins fitted to the
        latents of the training windows; or None.

    n_tokens_ : int
        Size of the vocabulary, if there is a `quantizer`.

    block_size_ : int
        Number of samples in a block.

    latent_dim_ : int
        Numbers that a block is compressed to.

    loss_curve_ : list of float
        Mean squared error of the batch at each step, in the square of the unit of `X`.

    validation_loss_curve_ : list of float
        Mean squared error of the held-out windows at each look; empty without
        `early_stopping`.

    n_steps_ : int
        Number of gradient steps taken, over all warm starts.

    row_shape_ : tuple of int
        Shape of one row of `X` seen in `fit`.

    n_features_in_ : int
        Number of values in a row of `X` seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X` seen in `fit`, if they are all strings.

    See Also
    --------
    make_tokenizer : The recommended pipeline around it.
    make_paper_tokenizer : The paper's.
    BlockSegmenter : Cuts windows into blocks.

    Notes
    -----
    Computation is in float32. The tokens of a window do not depend on the batch it
    comes in, nor on the number of threads; other hardware may round differently.
    Training sums in another order with another number of threads, and so leads to
    another network. A network of one's own that draws random numbers in training,
    such as dropout, draws them from torch's global generator.

    References
    ----------
    "Da ECG a LLM", 2025, sections 3 and 4.

    Examples
    --------
    >>> from sktok import (
    ...     AmplitudeScaler,
    ...     BlockSegmenter,
    ...     ConvAETokenizer,
    ...     VectorQuantizer,
    ... )
    >>> from sktok.datasets import load_ecg
    >>> X = AmplitudeScaler().fit_transform(load_ecg().data)
    >>> blocks = BlockSegmenter(block_size=10).fit_transform(X)
    >>> tokenizer = ConvAETokenizer(
    ...     quantizer=VectorQuantizer(256), max_steps=20, random_state=0
    ... )
    >>> tokens = tokenizer.fit_transform(blocks)
    >>> tokens.shape, tokens.dtype, tokenizer.n_tokens_
    ((432, 25), dtype('int64'), 256)
    >>> tokenizer.inverse_transform(tokens).shape
    (432, 25, 10)
    """

    _parameter_constraints: dict = {
        "network": [StrOptions({"contextual", "dimreduction"}), callable],
        "latent_dim": [_COUNT, _AUTO],
        "quantizer": [VectorQuantizer, BinQuantizer, None],
        "max_steps": [_COUNT, _AUTO],
        "batch_size": [_COUNT, _AUTO],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), _AUTO],
        "augment": ["boolean", _AUTO],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [_COUNT],
        "n_candidates": [_COUNT],
        "device": [StrOptions({"auto", "cpu", "cuda", "mps"})],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        network="contextual",
        *,
        latent_dim="auto",
        quantizer=None,
        max_steps="auto",
        batch_size="auto",
        learning_rate="auto",
        augment="auto",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        n_candidates=1,
        device="auto",
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        self.network = network
        self.latent_dim = latent_dim
        self.quantizer = quantizer
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.augment = augment
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.n_candidates = n_candidates
        self.device = device
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Train the network, and fit the quantiser to its latents.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_blocks, block_size) or \
                (n_windows, block_size)
            Blocks; of two axes, each row is one block.

        y : None
            Ignored.

        Returns
        -------
        self : ConvAETokenizer
            The fitted tokenizer.

        Raises
        ------
        ValueError
            If the network of Table 1 gets fewer than two blocks a batch, a network does
            not give the shapes agreed on, or the loss is not finite, which very large
            values or learning rates lead to.
        """
        if self.quantizer is not None:
            self.quantizer._validate_params()
        warm = self.warm_start and hasattr(self, "network_")
        if not warm:
            forget(self)
        X = validate_windows(self, X, reset=not warm, dtype=np.float32)
        windows = torch.from_numpy(np.array(self._as_blocks(X)))
        block_size = windows.shape[-1]
        latent_dim = self.latent_dim
        if latent_dim == "auto":
            latent_dim = latent_dim_for(self.quantizer, block_size)
        random_state = check_random_state(self.random_state)
        seed = int(random_state.randint(np.iinfo(np.int32).max))
        with seeded(seed):
            limits = limits_for(self.quantizer)
            network = build_network(self.network, block_size, latent_dim, limits)
        if warm:
            check_same_kind(network, self.network_)
            network = copy.deepcopy(self.network_)
        check_network(network, windows, latent_dim)
        if not warm and hasattr(network, "initialize"):
            network.initialize(windows)
        generator = torch.Generator().manual_seed(seed)
        settings = self._settings(*windows.shape)
        quantizer, bottleneck = self._start_quantizer(
            network, X, settings["max_steps"], generator, warm
        )
        history = self._train(
            network, bottleneck, windows, settings, random_state, generator
        )
        if isinstance(bottleneck, Codebook):
            quantizer.codes_ = bottleneck.codes.detach().numpy()
        if isinstance(quantizer, BinQuantizer):
            quantizer.fit(self._encode(network, X))

        earlier_losses = self.loss_curve_ if warm else []
        self.block_size_ = block_size
        self.latent_dim_ = latent_dim
        self.loss_curve_ = earlier_losses + history.loss
        self.validation_loss_curve_ = history.validation_loss
        self.n_steps_ = len(self.loss_curve_)
        self.quantizer_ = quantizer
        self.network_ = network
        return self

    def _start_quantizer(self, network, X, max_steps, generator, warm):
        """The quantiser to train with, and what stands for it in training."""
        if self.quantizer is None:
            return None, None
        quantizer = clone(self.quantizer)
        if isinstance(quantizer, BinQuantizer):
            if quantizer.limits == "minmax":
                limits = getattr(network, "limits", None)
                quantizer.limits = "minmax" if limits is None else limits
            return quantizer, Bins(quantizer)
        latents = self._encode(network, X)
        if warm and getattr(self.quantizer_, "n_codes", None) == quantizer.n_codes:
            quantizer = copy.deepcopy(self.quantizer_)
        else:
            if quantizer.random_state is None:
                quantizer.random_state = generator.initial_seed()
            quantizer.fit(latents)
        power = max(float(latents.var()), np.finfo(np.float32).tiny)
        codes = torch.from_numpy(quantizer.codes_)
        return quantizer, Codebook(codes, power, max_steps // 2, generator)

    def _train(self, network, bottleneck, windows, settings, random_state, generator):
        """Train on the device, and bring network and bottleneck back to the CPU."""
        validation = None
        if self.early_stopping:
            windows, validation = train_test_split(
                windows, test_size=self.validation_fraction, random_state=random_state
            )
        n_windows = min(len(windows), settings["batch_size"])
        if isinstance(network, DimReduction) and n_windows * windows.shape[1] < 2:
            raise ValueError(
                f"A batch of n_samples={n_windows} window of one block is too little "
                "for batch normalisation: give two blocks at least."
            )
        device = resolve_device(self.device)
        try:
            history = train(
                network.to(device),
                windows.to(device),
                bottleneck=bottleneck and bottleneck.to(device),
                validation=None if validation is None else validation.to(device),
                n_iter_no_change=self.n_iter_no_change,
                generator=generator,
                progress_bar=bool(self.verbose),
                **settings,
            )
        except FloatingPointError as error:
            raise ValueError(
                f"Training diverged ({error}) with values up to "
                f"{windows.abs().max():.3g} and "
                f"learning_rate={settings['learning_rate']}: "
                f"lower it, or {_SCALE_FIRST}"
            ) from error
        network.cpu()
        if bottleneck is not None:
            bottleneck.cpu()
        return history

    def _settings(self, n_windows, n_blocks, block_size):
        """The parameters of training, with "auto" replaced by what it stands for."""
        if self.network == "dimreduction":
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
        given = {name: getattr(self, name) for name in auto}
        return auto | {name: v for name, v in given.items() if v != "auto"}

    @property
    def n_tokens_(self):
        """Size of the vocabulary: tokens are in ``range(n_tokens_)``."""
        if getattr(self, "quantizer_", None) is None:
            raise AttributeError(
                "There are no tokens without a fitted quantizer: n_tokens_ is that of "
                "the quantiser behind, or of quantizer=BinQuantizer(...) after fit."
            )
        return self.quantizer_.n_tokens_

    def transform(self, X):
        """Compress blocks to latents, or to tokens if there is a `quantizer`.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_blocks, block_size) or \
                (n_windows, block_size)
            Blocks in rows of the shape seen in `fit`.

        Returns
        -------
        tokens : ndarray of int64, shape (n_windows, n_tokens_per_window)
            Tokens in ``range(n_tokens_)``; or, with ``quantizer=None``, latents:
            ndarray of float32, shape (n_windows, n_blocks, latent_dim), or
            (n_windows, latent_dim) if `X` has two axes.

        Raises
        ------
        ValueError
            If the rows of `X` have another shape than in `fit`, or are not finite, or
            so large that the latents are not.
        """
        check_is_fitted(self, "network_")
        self._validate_params()  # some may be set after `fit`
        X = validate_windows(self, X, reset=False, dtype=np.float32)
        latents = self._encode(self.network_, X)
        if self.quantizer_ is None:
            if self.n_candidates > 1:
                raise ValueError(
                    f"n_candidates={self.n_candidates} searches tokens, but there are "
                    "none with quantizer=None: set n_candidates=1, or fit with a "
                    "quantizer."
                )
            return latents
        tokens = self.quantizer_.transform(latents)
        if self.n_candidates > 1:
            tokens = self._search(X, latents, tokens)
        return tokens

    def inverse_transform(self, X):
        """Rebuild blocks from tokens or latents.

        Parameters
        ----------
        X : array-like of int, shape (n_windows, n_tokens_per_window)
            Tokens as `transform` gives them; or, with ``quantizer=None``, latents.

        Returns
        -------
        blocks : ndarray of float32, shape (n_windows, n_blocks, block_size) or \
                (n_windows, block_size)
            The reconstruction, in rows of the shape seen in `fit`.

        Raises
        ------
        TypeError
            If tokens are not integers.
        ValueError
            If a token is outside the vocabulary, or the rows have another shape than
            `transform` gives, or latents are not finite.
        """
        check_is_fitted(self, "network_")
        self._validate_params()
        if self.quantizer_ is None:
            X = validate_inverse(self, X, (*self.row_shape_[:-1], self.latent_dim_))
        else:
            X = self.quantizer_.inverse_transform(X)
        latents = self._as_blocks(X.astype(np.float32, copy=False))
        blocks = self._apply(self.network_, lambda net, z: net.decode(z), latents)
        blocks = blocks.reshape(len(X), *self.row_shape_)
        return require_finite(blocks, X, "are they latents of this network?")

    def _as_blocks(self, X):
        """Rows of one block, (n, size), as windows of one block, (n, 1, size)."""
        return X if X.ndim == 3 else X[:, np.newaxis]

    def _encode(self, network, X):
        """Latents of validated rows, in rows of as many axes."""
        latents = self._apply(network, lambda net, x: net.encode(x), self._as_blocks(X))
        latents = latents.reshape(len(X), *self.row_shape_[:-1], -1)
        return require_finite(latents, X, _SCALE_FIRST)

    def _search(self, X, latents, tokens):
        """Better tokens than the encoder's own."""
        codes = torch.from_numpy(self.quantizer_.codes_)

        def choose(network, *chunk):
            here = codes.to(chunk[0].device)
            return search_tokens(network, here, self.n_candidates, *chunk)

        X, latents = self._as_blocks(X), self._as_blocks(latents)
        chosen = tokens.reshape(*X.shape[:2], -1)
        chosen = self._apply(self.network_, choose, X, latents, chosen)
        return chosen.reshape(tokens.shape)

    def _apply(self, network, function, *arrays):
        """Call function(network, chunk, …) on the device, chunk by chunk.

        The network is left on the CPU, for other threads.
        """
        device = resolve_device(self.device)
        if device.type != "cpu":
            network = copy.deepcopy(network).to(device)
        return map_chunks(
            partial(function, network),
            *arrays,
            device=device,
            chunk=max(1, _CHUNK_SAMPLES // self.n_features_in_),
        )

    def get_feature_names_out(self, input_features=None):
        """Names of the tokens of a window, or of its latents laid end to end.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen in `fit`.

        Returns
        -------
        names : ndarray of str
            ``'token0'``, ``'token1'``, … or ``'latent0'``, ``'latent1'``, …
        """
        check_is_fitted(self, "network_")
        if self.quantizer_ is not None:
            names = self.quantizer_.get_feature_names_out()
        else:
            n_latents = math.prod(self.row_shape_[:-1]) * self.latent_dim_
            names = [f"latent{i}" for i in range(n_latents)]
        return feature_names(self, names, input_features)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # Latents are float32 whatever came in; tokens are integers.
        tags.transformer_tags.preserves_dtype = (
            ["float32"] if self.quantizer is None else []
        )
        return tags
