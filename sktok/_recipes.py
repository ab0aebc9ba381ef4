"""Ready-made Pipelines, and their copies for windows of another length."""

import copy

from sklearn.utils.validation import check_is_fitted

from sktok._blocks import BlockSegmenter
from sktok._leads import lead_names
from sktok._quantizers import (
    BinQuantizer,
    ResidualVectorQuantizer,
    VectorQuantizer,
)
from sktok._resampling import Resampler
from sktok._rows import LONGEST_WINDOW, require_int
from sktok._scaling import AmplitudeScaler
from sktok._steps import input_shape, resize, take_leads, without_search
from sktok._tokenizer import ConvAETokenizer

# Latents of a block of several leads. With 96, the error is no smaller. In the search
# for codes, a total and a one follow them, which fills 64 columns.
_JOINT_LATENTS = 62


def make_tokenizer(
    block_size=10,
    n_tokens=256,
    *,
    n_leads=1,
    rate_weight=0.0,
    fs=None,
    unit=None,
    lead=None,
    max_steps="auto",
    n_candidates=1,
    memory=None,
    random_state=None,
    verbose=0,
):
    """Build the recommended tokenizer.

    The steps are ``resample`` (:class:`Resampler`, only if `fs` is given), ``scale``
    (:class:`AmplitudeScaler`), ``segment`` (:class:`BlockSegmenter`) and ``tokenize``
    (:class:`ConvAETokenizer` with the contextual network and a :class:`VectorQuantizer`
    trained inside it). Each block is encoded as one token.

    For ordered tokens, use bins instead of the codebook::

        tokenizer.set_params(tokenize__quantizer=BinQuantizer(256))

    Parameters
    ----------
    block_size : int, default=10
        Number of samples in a block.

    n_tokens : int or tuple of int, default=256
        Size of the vocabulary. A tuple gives a :class:`ResidualVectorQuantizer` with as
        many codes in each stage: each block is encoded as a token of each stage.

    n_leads : int, default=1
        Number of leads of a window that are encoded together, by
        :class:`sktok.networks.MultiLeadAutoencoder`: each block holds a piece of all of
        them. Several tokens for a block then pay, such as ``n_tokens=(1024,) * 8``
        for blocks of 0.2 seconds of eight leads. With 1, leads are encoded one by one.

    rate_weight : float, default=0.0
        Cost of a bit, see :class:`VectorQuantizer`. With a weight, the vocabulary
        has the codes that are in use, and `n_tokens` at most. For compression, use
        about ``n_tokens=(1024, 512)`` and 0.0005, and more for lower rates.

    fs : float or None, default=None
        Sampling rate of the windows in Hz. The tokenizer keeps it, and takes windows of
        another rate after ``set_params(resample__input_fs=500)``.

    unit : str or None, default=None
        Unit of the windows, which the tokenizer keeps, see :class:`Resampler`. It
        requires `fs`.

    lead : str, sequence of str or None, default=None
        Lead of the windows, or names of several leads; as `unit`.

    max_steps : int or "auto", default="auto"
        Number of gradient steps; "auto" depends on the size of the data, as in
        :class:`ConvAETokenizer`.

    n_candidates : int, default=1
        Number of tokens to try for each block; the one with the best reconstruction is
        used. It can be changed after `fit` with
        ``set_params(tokenize__n_candidates=6)``.

    memory : str, joblib.Memory or None, default=None
        Cache for fitted steps.

    random_state : int, RandomState instance or None, default=None
        Seed of the training.

    verbose : int, default=0
        Whether to show a progress bar during training.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Encodes windows (n_windows, window_length) as tokens (n_windows, n_blocks), or
        (n_windows, n_blocks * n_stages), and windows of several leads (n_windows,
        n_leads, window_length) as the tokens of one lead after the other, or with
        `n_leads` as those of one; ``inverse_transform`` decodes them.

    See Also
    --------
    ConvAETokenizer : Has all parameters of the training.
    make_paper_tokenizer : Builds the paper's tokenizer.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sktok import make_tokenizer
    >>> from sktok.datasets import load_ecg
    >>> from sktok.metrics import neg_reconstruction_mse
    >>> X = load_ecg().data
    >>> tokenizer = make_tokenizer(block_size=10, max_steps=20, random_state=0)
    >>> tokens = tokenizer.fit_transform(X)
    >>> tokens.shape
    (432, 25)
    >>> tokenizer.inverse_transform(tokens).shape
    (432, 250)
    >>> search = GridSearchCV(
    ...     tokenizer,
    ...     {
    ...         "segment__block_size": [5, 10, 25],
    ...         "tokenize__quantizer__n_codes": [64, 256],
    ...     },
    ...     scoring=neg_reconstruction_mse,
    ... )
    """
    if isinstance(n_tokens, tuple):
        quantizer = ResidualVectorQuantizer(
            n_tokens, len(n_tokens), rate_weight=rate_weight
        )
    else:
        quantizer = VectorQuantizer(n_tokens, rate_weight=rate_weight)
    tokenizer = ConvAETokenizer(
        quantizer=quantizer,
        max_steps=max_steps,
        n_candidates=n_candidates,
        random_state=random_state,
        verbose=verbose,
    )
    segmenter = BlockSegmenter(block_size)
    if n_leads != 1:
        latent_dim = min(_JOINT_LATENTS, n_leads * block_size)
        tokenizer.set_params(
            network="multilead", n_leads=n_leads, latent_dim=latent_dim
        )
        segmenter.set_params(leads="joint")
    facts = {"fs": fs, "unit": unit, "lead": lead}
    return _pipeline(segmenter, tokenizer, **facts, memory=memory)


def make_paper_tokenizer(
    block_size=10,
    n_bins=256,
    *,
    fs=None,
    unit=None,
    lead=None,
    limits=(-5, 5),
    latent_dim=1,
    max_steps=2000,
    memory=None,
    random_state=None,
    verbose=0,
):
    """Build the paper's tokenizer.

    The steps are ``resample`` (:class:`Resampler`, only if `fs` is given), ``scale``
    (:class:`AmplitudeScaler`), ``segment`` (:class:`BlockSegmenter`), ``tokenize``
    (:class:`ConvAETokenizer` with the network of Table 1) and ``quantize``
    (:class:`BinQuantizer`).

    In the paper's "complete process" (section 4.3), the quantiser is part of the
    network during training::

        tokenizer.set_params(
            tokenize__quantizer=BinQuantizer(256, limits=(-5, 5)),
            quantize="passthrough",
        )

    Parameters
    ----------
    block_size : int, default=10
        Number of samples in a block; the paper uses 250, 125, 50, 25, 10, 5 and 2.

    n_bins : int or tuple of int, default=256
        Number of bins, as in :class:`BinQuantizer`.

    fs : float or None, default=None
        Sampling rate of the windows in Hz, as in :func:`make_tokenizer`.

    unit, lead : str or None, default=None
        Unit and lead of the windows, as in :func:`make_tokenizer`.

    limits : tuple (low, high) or "minmax", default=(-5, 5)
        Range of the latents that is divided into bins: fixed limits, as in the paper
        (Figure 4), or the limits of the latents seen in `fit` (Figure 3).

    latent_dim : int, default=1
        Number of latents, and of tokens, for each block: 1 as in the paper's text, or
        32 as in its Table 1.

    max_steps : int, default=2000
        Number of gradient steps.

    memory : str, joblib.Memory or None, default=None
        Cache for fitted steps. With a cache, a search over ``quantize__n_bins`` trains
        each network once.

    random_state : int, RandomState instance or None, default=None
        Seed of the training.

    verbose : int, default=0
        Whether to show a progress bar during training.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Encodes windows (n_windows, window_length) as tokens (n_windows, n_blocks *
        latent_dim); ``inverse_transform`` decodes them.

    See Also
    --------
    ConvAETokenizer : Has all parameters of the training.
    make_tokenizer : Builds the recommended tokenizer.

    References
    ----------
    "Da ECG a LLM", 2025, sections 3 and 4.

    Examples
    --------
    >>> from sktok import make_paper_tokenizer
    >>> from sktok.datasets import load_ecg
    >>> X = load_ecg().data
    >>> tokenizer = make_paper_tokenizer(block_size=25, max_steps=20, random_state=0)
    >>> tokens = tokenizer.fit_transform(X)
    >>> tokens.shape
    (432, 10)
    >>> tokenizer.inverse_transform(tokens).shape
    (432, 250)
    """
    tokenizer = ConvAETokenizer(
        "dimreduction",
        latent_dim=latent_dim,
        max_steps=max_steps,
        random_state=random_state,
        verbose=verbose,
    )
    quantize = ("quantize", BinQuantizer(n_bins, limits=limits))
    facts = {"fs": fs, "unit": unit, "lead": lead}
    segmenter = BlockSegmenter(block_size)
    return _pipeline(segmenter, tokenizer, quantize, **facts, memory=memory)


def _pipeline(segmenter, tokenizer, *last_steps, fs, unit, lead, memory):
    from sklearn.pipeline import Pipeline  # slow to import

    steps = [
        ("scale", AmplitudeScaler()),
        ("segment", segmenter),
        ("tokenize", tokenizer),
        *last_steps,
    ]
    if fs is not None:
        steps = [("resample", Resampler(fs, fs, unit=unit, lead=lead)), *steps]
    elif (unit, lead) != (None, None):
        raise ValueError(
            f"unit={unit!r} and lead={lead!r} require fs: give it as well."
        )
    return Pipeline(steps, memory=memory)


def with_window_length(tokenizer, window_length):
    """Copy a fitted tokenizer for windows of another length, without training.

    The network reads a few neighbours of each block, so the tokens of a block inside a
    window hardly depend on the length of the window. The first and last blocks have
    fewer neighbours, and a larger error. Longer windows have fewer of them.

    Parameters
    ----------
    tokenizer : transformer or Pipeline
        Fitted to windows; each step works on windows of any length, and the network of
        a :class:`ConvAETokenizer` has `context_radius`, see :mod:`sktok.networks`.

    window_length : int
        Number of samples in a window, at the rate of the input.

    Returns
    -------
    transformer or Pipeline
        A fitted copy.

    Raises
    ------
    TypeError
        If a step takes windows of one length only.
    ValueError
        If `window_length` is not an int of at least 1.

    See Also
    --------
    Resampler : Takes windows of the same duration at another rate.

    Examples
    --------
    >>> from sktok import make_tokenizer, with_window_length
    >>> from sktok.datasets import load_ecg
    >>> tokenizer = make_tokenizer(max_steps=20, random_state=0).fit(load_ecg().data)
    >>> longer = with_window_length(tokenizer, 2500)
    >>> longer.transform(load_ecg(window_length=2500).data).shape
    (43, 250)
    """
    window_length = require_int("window_length", window_length, 1, LONGEST_WINDOW)
    tokenizer = copy.deepcopy(without_search(tokenizer))
    check_is_fitted(tokenizer)
    *leads, _ = input_shape(tokenizer)
    resize(tokenizer, (*leads, window_length))
    return tokenizer


def with_leads(tokenizer, lead):
    """Copy a fitted tokenizer of several leads for signals with other leads.

    The leads that the tokenizer encodes stay the same, and its tokens keep their
    meaning: `transform` finds them by their names, or derives them, and
    `inverse_transform` returns the leads of the signal, in their order.

    Parameters
    ----------
    tokenizer : Pipeline
        Fitted, with a step :class:`LeadSelector`.

    lead : sequence of str
        Names of the leads of the windows, in order, such as ``ecg.lead[0]`` of a Bunch.

    Returns
    -------
    Pipeline
        A fitted copy.

    Raises
    ------
    TypeError
        If the tokenizer has no `LeadSelector`, or names are not strings.
    ValueError
        If a lead is missing and cannot be derived, on the way in or back.

    See Also
    --------
    load_pretrained : Has the parameter `lead`.
    with_window_length : Does this for windows of another length.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok import load_pretrained, with_leads
    >>> tokenizer = load_pretrained("ecg12-40hz-v1")  # for eight independent leads
    >>> twelve = "I II III aVR aVL aVF V1 V2 V3 V4 V5 V6".split()
    >>> tokenizer = with_leads(tokenizer, twelve)
    >>> tokens = tokenizer.transform(np.zeros((1, 12, 2500)))  # ten seconds at 250 Hz
    >>> tokens.shape
    (1, 416)
    """
    tokenizer = copy.deepcopy(without_search(tokenizer))
    check_is_fitted(tokenizer)
    take_leads(tokenizer, lead_names("lead", lead))
    return tokenizer
