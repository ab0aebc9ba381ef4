"""A trained autoencoder as a scikit-learn transformer: blocks to latents or tokens."""

import copy
import math
from numbers import Integral, Real

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from sktok._disk import in_slices
from sktok._estimator import (
    Estimator,
    Pace,
    feature_names,
    is_fitted,
    names_by_lead,
)
from sktok._quantizers import BaseQuantizer
from sktok._rows import (
    BLOCKS,
    overflow_explained,
    validate_inverse,
    validate_tokens,
    validate_windows,
)
from sktok._sklearn_compat import (
    Interval,
    StrOptions,
    WindowTransformerMixin,
    _fit_context,
)

_COUNT = Interval(Integral, 1, None, closed="left")
_AUTO = StrOptions({"auto"})
_LOSS_CURVES = "loss_curve_", "validation_loss_curve_"


def _trains_to_the_end(tokenizer):
    """Raise if windows are held out, which a stream does not have."""
    if tokenizer.early_stopping:
        raise AttributeError(
            "partial_fit cannot hold out windows of a stream: set early_stopping=False."
        )
    return True


class ConvAETokenizer(WindowTransformerMixin, Estimator):
    """Compress blocks of a signal with a convolutional autoencoder trained on it.

    Each block of `block_size` samples becomes `latent_dim` numbers or, with a
    `quantizer`, tokens; `inverse_transform` restores blocks. The quantiser is trained
    inside the network: the codebook of a :class:`VectorQuantizer` is learned together
    with the weights; a :class:`BinQuantizer` gives the paper's "complete process"
    (section 4.3), with quantisation and dequantisation as two layers after the latent
    space. With ``quantizer=None``, a quantiser may follow in the Pipeline, as in
    section 4.2 of the paper.

    Parameters
    ----------
    network : {"contextual", "dimreduction", "multilead"} or callable, \
            default="contextual"
        The autoencoder: :class:`sktok.networks.ContextualAutoencoder`, which reads a
        block together with its neighbours; the paper's Table 1,
        :class:`sktok.networks.DimReduction`, which expects a signal scaled to [0, 1];
        :class:`sktok.networks.MultiLeadAutoencoder` ("multilead"), for blocks of
        several leads; or a callable ``(block_size, latent_dim) -> torch.nn.Module``
        that follows the protocol of :mod:`sktok.networks`.

    n_leads : int, default=1
        Number of leads in a block, for those of :class:`BlockSegmenter` with
        ``leads="joint"``. Variations of the tempo (`augment`), and the network
        "multilead", depend on it.

    latent_dim : int or "auto", default="auto"
        Number of latents of a block. "auto" is the number that the quantiser asks for:
        `block_size` with a codebook, the length of a tuple `n_bins` with a
        :class:`BinQuantizer`, and 1 otherwise, also without a quantiser.

    quantizer : BaseQuantizer or None, default=None
        Quantiser to train inside the network, such as :class:`VectorQuantizer`,
        :class:`ResidualVectorQuantizer`, :class:`BinQuantizer` or a custom one; `None`
        gives latents instead of tokens. A codebook starts from k-means of the first
        latents, and codes that are hardly used are moved to latents with a large error.
        Bins pass the gradient straight through within their limits; with
        ``limits="minmax"`` these are -1 and 1 for the contextual network, whose latents
        are then bounded by construction. Bins that depend on the latents are fitted
        again in each step, which is slow for ``strategy="kmeans"``.

    max_steps : int or "auto", default="auto"
        Number of gradient steps. "auto" follows the number of blocks in `X`: 2,000
        steps for nine thousand, 12,000 for a million and a half; it is 2,000 for
        "dimreduction".

    batch_size : int or "auto", default="auto"
        Number of windows in a gradient step. "auto" takes as many as have 1,600 blocks;
        it is 32 for "dimreduction".

    learning_rate : float or "auto", default="auto"
        Highest learning rate of the one-cycle schedule of AdamW. "auto" is 0.003, or
        0.0015 for blocks of less than 8 samples; it is 0.03 for "dimreduction".

    augment : bool or "auto", default="auto"
        Whether to vary tempo, gain and offset of the windows in training, to generalise
        to unseen patients. "auto" does so for blocks of 8 samples or more, since it
        hurts shorter blocks; it is False for "dimreduction".

    early_stopping : bool, default=False
        Whether to hold out `validation_fraction` of the windows, stop when their error
        no longer falls, and keep the best weights. With `groups` in `fit`, whole groups
        are held out.

    validation_fraction : float, default=0.1
        Share of the windows, or of the groups, to hold out for `early_stopping`.

    n_iter_no_change : int, default=10
        Number of validation checks without improvement before training stops. There is
        one check each epoch, but at most one every 50 steps.

    n_candidates : int, default=1
        Number of candidates that `transform` tries for each token. 1 takes the own
        choice of the encoder. With more, `transform` searches for the best
        reconstruction of the window (analysis by synthesis), which is slower and never
        increases the error.
        With a quantiser that has a `rate_weight`, it minimises, and never increases,
        the sum of the error and the cost of the bits, given the token before. May be
        set after `fit`.

    n_stages : int or None, default=None
        Number of stages of a :class:`ResidualVectorQuantizer` to use; None uses all.
        May be set after `fit`: fewer stages make fewer tokens, with a larger error.

    device : {"auto", "cpu", "cuda", "mps"}, default="auto"
        Where torch computes. "auto" uses an accelerator if there is one. The fitted
        network is kept on the CPU, so a pickle loads on any machine.

    warm_start : bool, default=False
        Whether `fit` continues from the network of the last `fit`.

    random_state : int, RandomState instance or None, default=None
        Seeds the first weights, the batches, the held-out windows, and the quantiser if
        it has no seed. The global generator of torch is not changed, and that of numpy
        only with None.

    verbose : int, default=0
        Whether to show a progress bar with the loss.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network, on the CPU and in evaluation mode.

    quantizer_ : BaseQuantizer or None
        `quantizer` with the trained codebook, or with bins fitted to the latents of the
        training windows (of the last batch, in `partial_fit`); or None.

    n_tokens_ : int
        Size of the vocabulary, if there is a `quantizer`.

    codebook_ : ndarray of float32, shape (`n_tokens_`, `block_size_`), or None
        The block that each token is restored to, if the network restores each block
        separately from one token, as that of Table 1 does. None otherwise, and with
        more than 65,536 tokens.

    block_size_ : int
        Number of samples in a block.

    latent_dim_ : int
        Number of latents of a block.

    signal_power_ : float
        Variance of `X`, the unit of the `rate_weight` of a search.

    loss_curve_ : list of float
        Mean squared error of the batch at each step, in the squared unit of `X`.

    validation_loss_curve_ : list of float
        Mean squared error of the held-out windows at each validation check of the last
        `fit`; empty without `early_stopping`.

    validation_steps_ : list of int
        Number of gradient steps, over all warm starts, at each validation check.

    n_steps_ : int
        Number of gradient steps, over all warm starts.

    is_complete_ : bool
        Whether training is complete, so that `partial_fit` changes nothing.

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
    Computation is in float32. The tokens of a window depend neither on the batch that
    it comes in nor on the number of threads; other hardware may round differently.
    Training gives the same network with any number of threads: the contextual network
    sums in a fixed order, and other networks are trained on one thread unless they set
    `parallel_training` (see :mod:`sktok.networks`). A custom network that draws random
    numbers in training, such as dropout, draws them from torch's global generator.

    References
    ----------
    "Da ECG a LLM", 2025, sections 3 and 4.

    A. van den Oord, O. Vinyals and K. Kavukcuoglu, "Neural discrete representation
    learning", NeurIPS 2017 (a codebook trained inside the network).

    N. Zeghidour et al., "SoundStream: an end-to-end neural audio codec", IEEE/ACM
    Trans. Audio, Speech, Lang. Process. 30:495-507, 2022 (codes that are hardly used
    are moved).

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
        "network": [str, callable],
        "n_leads": [_COUNT],
        "latent_dim": [_COUNT, _AUTO],
        "quantizer": [BaseQuantizer, None],
        "max_steps": [_COUNT, _AUTO],
        "batch_size": [_COUNT, _AUTO],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), _AUTO],
        "augment": ["boolean", _AUTO],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [_COUNT],
        "n_candidates": [_COUNT],
        "n_stages": [_COUNT, None],
        "device": [StrOptions({"auto", "cpu", "cuda", "mps"})],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    _row_kinds = BLOCKS

    # Routed to `fit` by default, where metadata routing is enabled.
    __metadata_request__fit = {"groups": True}

    def __init__(
        self,
        network="contextual",
        *,
        n_leads=1,
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
        n_stages=None,
        device="auto",
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        self.network = network
        self.n_leads = n_leads
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
        self.n_stages = n_stages
        self.device = device
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, groups=None):
        """Train the network, and fit the quantiser to its latents.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_blocks, block_size), \
                (n_windows, n_leads, n_blocks, block_size) or (n_windows, block_size)
            Blocks; with two axes, each row is one block. The leads of a window are
            encoded one by one, by the same network.

        y : None
            Ignored.

        groups : array-like of shape (n_windows,) or None, default=None
            The patient of each window: `early_stopping` then holds out whole patients.

        Returns
        -------
        self : ConvAETokenizer
            The fitted tokenizer.

        Raises
        ------
        ValueError
            If the network of Table 1 gets fewer than two blocks in a batch, a network
            does not keep to the protocol, or the loss is not finite because of very
            large values or learning rates.
        """
        if groups is not None:
            check_consistent_length(X, groups)
        if not (self.warm_start and is_fitted(self)):
            self._reset()
            vars(self).pop("_unfinished", None)
        return self._train(X, groups)

    @available_if(_trains_to_the_end)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Train on a batch of a stream: one pass over its windows.

        The first call starts as `fit` does. Its batch fixes everything that depends on
        the data, such as the first codebook, so give it windows of many patients. Each
        call continues the training, until `max_steps` gradient steps are taken
        ("auto": 12,000); each batch takes ``n_windows // batch_size`` of them, and at
        least one. After that, and after `fit`, nothing changes, so that tokens keep
        their meaning; `is_complete_` tells.

        The parameters of training are those of the first call. Bins that depend on the
        latents are those of the last batch. No progress is shown.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_blocks, block_size), \
                (n_windows, n_leads, n_blocks, block_size) or (n_windows, block_size)
            Blocks of several patients, in random order.

        y : None
            Ignored.

        Returns
        -------
        self : ConvAETokenizer
            The tokenizer, which can be used, and trained further.

        Raises
        ------
        AttributeError
            If ``early_stopping=True``, because nothing is held out of a stream.
        ValueError
            As in `fit`.
        """
        return self._train(X, is_stream=True)

    def _train(self, X, groups=None, *, is_stream=False):
        """Train, from the fitted network if there is one."""
        from sktok._torch.fitting import fit_autoencoder

        if self.quantizer is not None:
            self.quantizer._validate_params()
        self._require_stages(self.quantizer)
        continues = is_fitted(self)
        X = validate_windows(self, X, reset=not continues, dtype=np.float32)
        if not (is_stream and continues and self.is_complete_):
            # All attributes at once: an interrupt leaves all or none.
            vars(self).update(fit_autoencoder(self, X, groups, is_stream=is_stream))
        return self

    @property
    def is_complete_(self):
        """Whether training is complete, so that `partial_fit` changes nothing."""
        check_is_fitted(self)
        return self._unfinished is None

    def __sklearn_is_fitted__(self):
        return hasattr(self, "network_")

    def __getstate__(self):
        state = super().__getstate__()
        if "network_" in state:
            from sktok.networks import to_plain

            state["network_"] = to_plain(state["network_"])
            state |= {name: np.array(state[name]) for name in _LOSS_CURVES}
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if hasattr(self, "network_"):
            from sktok.networks import from_plain

            self.network_ = from_plain(self.network_)
            for name in _LOSS_CURVES:
                setattr(self, name, list(map(float, getattr(self, name))))

    @property
    def n_tokens_(self):
        """Size of the vocabulary: tokens are in ``range(n_tokens_)``."""
        if getattr(self, "quantizer_", None) is None:
            raise AttributeError(
                "There are no tokens without a fitted quantizer: set quantizer and fit."
            )
        return self.quantizer_.n_tokens_

    def _quantizer(self):
        """The fitted quantiser, with what has been set since `fit`."""
        self._validate_later("n_stages")
        fitted, changes = self.quantizer_, {}
        self._require_stages(fitted)
        if self.n_stages is not None:
            changes["n_stages"] = int(self.n_stages)
        if hasattr(self.quantizer, "beam_width") and hasattr(fitted, "beam_width"):
            changes["beam_width"] = self.quantizer.beam_width
        return copy.copy(fitted).set_params(**changes) if changes else fitted

    def _require_stages(self, quantizer):
        """Raise unless a quantiser has as many stages as `n_stages` says."""
        if self.n_stages is not None and self.n_stages > getattr(
            quantizer, "n_stages", 0
        ):
            raise ValueError(
                f"n_stages={self.n_stages}, but quantizer={quantizer} has fewer stages "
                "or none: lower n_stages, set it to None, or fit with a "
                "ResidualVectorQuantizer that has as many."
            )

    def _bit_cost(self):
        """Cost of a bit in a search, in the unit of the squared error of a block."""
        weight = getattr(self.quantizer_, "rate_weight", 0.0)
        return weight and weight * self.signal_power_ * self.block_size_

    @in_slices
    def transform(self, X):
        """Compress blocks to latents, or to tokens if there is a `quantizer`.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_blocks, block_size), \
                (n_windows, n_leads, n_blocks, block_size) or (n_windows, block_size)
            Blocks in rows of the shape seen in `fit`.

        Returns
        -------
        tokens : ndarray of int64, shape (n_windows, n_tokens_per_window)
            Tokens in ``range(n_tokens_)``, one lead after the other; or, with
            ``quantizer=None``, latents: ndarray of float32, in the shape of `X` with
            `latent_dim` as the last axis.

        Raises
        ------
        ValueError
            If the rows of `X` have another shape than in `fit`, or are not finite, or
            so large that the latents are not.
        """
        from sktok._torch.inference import encode, tokenize

        check_is_fitted(self)
        self._validate_later("n_candidates", "device")
        X = validate_windows(self, X, reset=False)
        quantizer, n_candidates = self._quantizer(), int(self.n_candidates)
        if quantizer is None and n_candidates > 1:
            raise ValueError(
                f"n_candidates={n_candidates} searches tokens, and with quantizer=None "
                "there are none: set it to 1, or fit with a quantizer."
            )
        with overflow_explained(X, "scale it first, as with AmplitudeScaler."):
            if quantizer is None:
                return encode(self.network_, X, self.device)
            search = n_candidates, self.device, self._bit_cost()
            tokens = tokenize(self.network_, quantizer, X, *search)
        return tokens.reshape(len(X), -1)

    def _clip_rates(self, X):
        """What the network and the quantiser cannot represent."""
        from sktok._torch.inference import encode

        X = validate_windows(self, X, reset=False, dtype=np.float32)
        rates = []
        if hasattr(self.network_, "output_limits"):
            low, high = self.network_.output_limits
            advice = (
                f"the network, whose output lies in [{low:g}, {high:g}]: scale the "
                "signal to this range with an AmplitudeScaler fitted on such data."
            )
            rates.append((float(np.mean((low > X) | (high < X))), advice))
        if self.quantizer_ is not None and self.quantizer_.value_limits() is not None:
            latents = encode(self.network_, X, self.device)
            rates += self.quantizer_._clip_rates(latents)
        return rates

    @in_slices
    def inverse_transform(self, X):
        """Restore blocks from tokens or latents.

        Parameters
        ----------
        X : array-like of int, shape (n_windows, n_tokens_per_window)
            Tokens as `transform` gives them; or, with ``quantizer=None``, latents.

        Returns
        -------
        blocks : ndarray of float32, shape (n_windows, n_blocks, block_size), \
                (n_windows, n_leads, n_blocks, block_size) or (n_windows, block_size)
            The reconstruction, in rows of the shape seen in `fit`.

        Raises
        ------
        TypeError
            If tokens are not integers.
        ValueError
            If a token is outside the vocabulary, or the rows have another shape than
            `transform` gives, or latents are not finite.
        """
        from sktok._torch.inference import decode, decode_tokens

        check_is_fitted(self)
        self._validate_later("n_candidates", "device")
        if self.quantizer_ is None:
            X = validate_inverse(self, X, self._latent_shape())
            with overflow_explained(X, "are they latents of this network?"):
                return decode(self.network_, X, self.device)
        quantizer = self._quantizer()
        tokens = validate_tokens(X, self.n_tokens_, quantizer._tokens_per_window())
        quantizer._require_places(tokens)
        if self.codebook_ is not None:
            blocks = np.take(self.codebook_, tokens, axis=0)
        else:
            tokens = tokens.reshape(len(tokens), *self.row_shape_[:-1], -1)
            blocks = decode_tokens(self.network_, quantizer, tokens, self.device)
        return blocks.reshape(len(tokens), *self.row_shape_)

    def _latent_shape(self):
        return *self.row_shape_[:-1], self.latent_dim_

    def _pace(self, *, inverse=False):
        name = "context_radius" if inverse else "encoder_radius"
        radius = getattr(self.network_, name, None)
        is_search = self.n_candidates > 1 and not inverse
        if radius is None or is_search:
            return None
        quantizer, n_coded = self._quantizer(), self.latent_dim_
        if quantizer is not None:
            n_coded = quantizer.tokens_per_block(n_coded)
        sizes = self.block_size_, n_coded
        n_inputs, n_outputs = sizes[::-1] if inverse else sizes
        return Pace(n_inputs, n_outputs, radius * n_inputs)

    def _resize(self, row_shape):
        """Take windows of another number of blocks; return the shape of the output."""
        if not hasattr(self.network_, "context_radius"):
            raise TypeError(
                f"{type(self.network_).__name__} has no context_radius, so a block "
                "depends on its whole window: fit a tokenizer to windows of the new "
                "length, or define context_radius (see sktok.networks)."
            )
        if row_shape[-1] != self.block_size_:
            return super()._resize(row_shape)
        self._set_row_shape(row_shape)
        latent_shape = self._latent_shape()
        if self.quantizer_ is None:
            return latent_shape
        self.quantizer_._resize(latent_shape)
        return (self._quantizer()._tokens_per_window(),)

    def _token_starts(self):
        return [0] if self.quantizer_ is None else self._quantizer()._token_starts()

    def _code_vectors(self):
        return self._quantizer()._code_vectors()

    def _fingerprint_state(self):
        names = "network_", "row_shape_"
        state = {name: getattr(self, name) for name in names}
        return state | {"quantizer_": self._quantizer()}

    def get_feature_names_out(self, input_features=None):
        """Names of the tokens of a window, or of its latents, block after block.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen in `fit`.

        Returns
        -------
        names : ndarray of str
            ``'token0'``, ``'token1'``, … or ``'latent0'``, ``'latent1'``, …
        """
        check_is_fitted(self)
        if self.quantizer_ is not None:
            names = self._quantizer().get_feature_names_out()
        else:
            n_latents = math.prod(self._latent_shape()[-2:])
            names = [f"latent{i}" for i in range(n_latents)]
            names = names_by_lead(names, self.row_shape_[:-2])
        return feature_names(self, names, input_features)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # Latents are float32 for any input; tokens are integers.
        preserved = ["float32"] if self.quantizer is None else []
        tags.transformer_tags.preserves_dtype = preserved
        return tags
