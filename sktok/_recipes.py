"""Ready-made Pipelines."""

from sktok._blocks import BlockSegmenter
from sktok._quantizers import BinQuantizer, VectorQuantizer
from sktok._scaling import AmplitudeScaler
from sktok._tokenizer import ConvAETokenizer


def make_tokenizer(
    block_size=10,
    n_tokens=256,
    *,
    max_steps="auto",
    n_candidates=1,
    memory=None,
    random_state=None,
    verbose=0,
):
    """Build the recommended tokenizer.

    The steps are ``scale`` (:class:`AmplitudeScaler`), ``segment``
    (:class:`BlockSegmenter`) and ``tokenize`` (:class:`ConvAETokenizer` with the
    contextual network and a :class:`VectorQuantizer` trained inside it). Each block is
    encoded as one token.

    For ordered tokens, use bins instead of the codebook::

        tokenizer.set_params(tokenize__quantizer=BinQuantizer(256))

    Parameters
    ----------
    block_size : int, default=10
        Number of samples in a block.

    n_tokens : int, default=256
        Size of the vocabulary.

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
        Encodes windows (n_windows, window_length) as tokens (n_windows, n_blocks);
        ``inverse_transform`` decodes them.

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
    tokenizer = ConvAETokenizer(
        quantizer=VectorQuantizer(n_tokens),
        max_steps=max_steps,
        n_candidates=n_candidates,
        random_state=random_state,
        verbose=verbose,
    )
    return _pipeline(block_size, tokenizer, memory=memory)


def make_paper_tokenizer(
    block_size=10,
    n_bins=256,
    *,
    limits=(-5, 5),
    latent_dim=1,
    max_steps=2000,
    memory=None,
    random_state=None,
    verbose=0,
):
    """Build the paper's tokenizer.

    The steps are ``scale`` (:class:`AmplitudeScaler`), ``segment``
    (:class:`BlockSegmenter`), ``tokenize`` (:class:`ConvAETokenizer` with the
    network of Table 1) and ``quantize`` (:class:`BinQuantizer`).

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
    return _pipeline(block_size, tokenizer, quantize, memory=memory)


def _pipeline(block_size, tokenizer, *last_steps, memory):
    from sklearn.pipeline import Pipeline  # slow to import

    steps = [
        ("scale", AmplitudeScaler()),
        ("segment", BlockSegmenter(block_size)),
        ("tokenize", tokenizer),
        *last_steps,
    ]
    return Pipeline(steps, memory=memory)
