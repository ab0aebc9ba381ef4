"""Pipelines that are ready to use."""

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
    """Build the recommended tokenizer: scale, cut into blocks, tokenize.

    The steps are ``scale`` (:class:`AmplitudeScaler`), ``segment``
    (:class:`BlockSegmenter`) and ``tokenize`` (:class:`ConvAETokenizer` with the
    contextual network and a :class:`VectorQuantizer` trained inside). A block becomes
    one token.

    For tokens that keep the order of values, put bins in place of the codebook::

        tokenizer.set_params(tokenize__quantizer=BinQuantizer(256))

    Parameters
    ----------
    block_size : int, default=10
        Number of samples in a block.

    n_tokens : int, default=256
        Size of the vocabulary.

    max_steps : int or "auto", default="auto"
        Number of gradient steps in training; "auto" follows the size of the data, as
        in :class:`ConvAETokenizer`.

    n_candidates : int, default=1
        Number of tokens that are tried for each block, for the best reconstruction.
        May be set after `fit`, by ``set_params(tokenize__n_candidates=6)``.

    memory : str, joblib.Memory or None, default=None
        Where to cache fitted steps.

    random_state : int, RandomState instance or None, default=None
        Seeds the training.

    verbose : int, default=0
        Whether to show a progress bar in training.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Turns windows (n_windows, window_length) into tokens (n_windows, n_blocks), and
        back by ``inverse_transform``.

    See Also
    --------
    ConvAETokenizer : For all parameters of the training.
    make_paper_tokenizer : The paper's tokenizer.

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
    from sklearn.pipeline import Pipeline  # slow to import

    return Pipeline(
        [
            ("scale", AmplitudeScaler()),
            ("segment", BlockSegmenter(block_size)),
            (
                "tokenize",
                ConvAETokenizer(
                    quantizer=VectorQuantizer(n_tokens),
                    max_steps=max_steps,
                    n_candidates=n_candidates,
                    random_state=random_state,
                    verbose=verbose,
                ),
            ),
        ],
        memory=memory,
    )


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
    """Build the paper's tokenizer: scale, cut into blocks, compress, quantise.

    The steps are ``scale`` (:class:`AmplitudeScaler`), ``segment``
    (:class:`BlockSegmenter`), ``tokenize`` (:class:`ConvAETokenizer` with the
    network of Table 1) and ``quantize`` (:class:`BinQuantizer`).

    For the paper's "complete process" (section 4.3), with the quantiser trained
    inside the network, move it there::

        tokenizer.set_params(
            tokenize__quantizer=BinQuantizer(256, limits=(-5, 5)),
            quantize="passthrough",
        )

    Parameters
    ----------
    block_size : int, default=10
        Number of samples in a block; the paper has 250, 125, 50, 25, 10, 5 and 2.

    n_bins : int or tuple of int, default=256
        Number of bins; as in :class:`BinQuantizer`.

    limits : tuple (low, high) or "minmax", default=(-5, 5)
        The range of latents that is divided into bins: the paper's, chosen by hand
        (Figure 4), or the limits of the latent space (Figure 3).

    latent_dim : int, default=1
        Numbers, and so tokens, for each block: 1 as in the paper's text, or 32 as in
        its Table 1.

    max_steps : int, default=2000
        Number of gradient steps in training.

    memory : str, joblib.Memory or None, default=None
        Where to cache fitted steps, so that a search over ``quantize__n_bins`` trains
        each network once.

    random_state : int, RandomState instance or None, default=None
        Seeds the training.

    verbose : int, default=0
        Whether to show a progress bar in training.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Turns windows (n_windows, window_length) into tokens (n_windows, n_blocks *
        latent_dim), and back by ``inverse_transform``.

    See Also
    --------
    ConvAETokenizer : For all parameters of the training.
    make_tokenizer : The recommended one.

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
    from sklearn.pipeline import Pipeline  # slow to import

    return Pipeline(
        [
            ("scale", AmplitudeScaler()),
            ("segment", BlockSegmenter(block_size)),
            (
                "tokenize",
                ConvAETokenizer(
                    "dimreduction",
                    latent_dim=latent_dim,
                    max_steps=max_steps,
                    random_state=random_state,
                    verbose=verbose,
                ),
            ),
            ("quantize", BinQuantizer(n_bins, limits=limits)),
        ],
        memory=memory,
    )
