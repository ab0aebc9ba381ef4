"""Rate: the number of bits that tokens cost."""

import math
from numbers import Integral

import numpy as np
from scipy.stats import entropy

from sktok._rows import refuse_masks_and_dates


def neg_bits_per_sample(estimator, X, y=None):
    """Scorer: negative rate, from the entropy of the tokens.

    The rate is the mean cost of a sample under an ideal code that knows the frequency
    of each token, but does not use the tokens before it.

    Parameters
    ----------
    estimator : transformer or Pipeline
        Fitted; its `transform` gives tokens.

    X : array-like of shape (n_windows, window_length) or \
            (n_windows, n_blocks, block_size)
        Windows of a signal.

    y : None
        Ignored.

    Returns
    -------
    float
        In bits per sample of the signal; 0 is best.

    See Also
    --------
    token_entropy : Bits per token.
    lowest_rate_within : Chooses the lowest rate within a given error.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok import BinQuantizer
    >>> from sktok.metrics import neg_bits_per_sample
    >>> X = np.array([[0.0, 0.0, 1.0, 1.0]])
    >>> neg_bits_per_sample(BinQuantizer(8).fit(X), X)
    -1.0
    """
    tokens = np.asarray(estimator.transform(X))
    tokens_per_sample = tokens[0].size / math.prod(np.shape(X)[1:])
    return -token_entropy(tokens) * tokens_per_sample


def token_entropy(tokens):
    """Entropy of the distribution of the tokens.

    This is the mean cost of a token under an ideal code that knows the frequency of
    each token, but does not use the tokens before it.

    Parameters
    ----------
    tokens : array-like of int
        Tokens, of any shape.

    Returns
    -------
    float
        In bits per token, at most the base-2 logarithm of the vocabulary size.

    See Also
    --------
    neg_bits_per_sample : The rate per sample, as a scorer.
    token_usage : Share of the vocabulary that occurs.

    References
    ----------
    C. E. Shannon, "A mathematical theory of communication", Bell System Technical
    Journal 27:379-423, 1948, section 6.

    Examples
    --------
    >>> from sktok.metrics import token_entropy
    >>> token_entropy([[0, 1], [2, 3]])
    2.0
    """
    _, count = np.unique(as_tokens(tokens), return_counts=True)
    return float(entropy(count, base=2))


def token_usage(tokens, n_tokens):
    """Share of the vocabulary that occurs.

    Parameters
    ----------
    tokens : array-like of int
        Tokens in ``range(n_tokens)``, of any shape.

    n_tokens : int
        Size of the vocabulary.

    Returns
    -------
    float
        Between 0 and 1.

    See Also
    --------
    token_entropy : How evenly the vocabulary is used.
    sktok.plotting.TokenUsageDisplay : Draws how often each token occurs.

    Examples
    --------
    >>> from sktok.metrics import token_usage
    >>> token_usage([[0, 1], [1, 0]], n_tokens=256)
    0.0078125
    """
    used = np.unique(as_tokens(tokens))
    if not isinstance(n_tokens, Integral):
        raise TypeError(f"n_tokens={n_tokens!r}: expected an int.")
    if used[0] < 0 or used[-1] >= n_tokens:
        raise ValueError(
            f"tokens run from {used[0]} to {used[-1]}, outside the vocabulary of "
            f"{n_tokens} tokens: give the n_tokens_ of the tokenizer that made them."
        )
    return len(used) / n_tokens


def as_tokens(tokens):
    """Check tokens: an array of integers of any shape, not empty."""
    tokens = np.asarray(refuse_masks_and_dates(tokens))
    if tokens.dtype.kind not in "iu":
        raise TypeError(f"tokens have dtype {tokens.dtype}, expected integers.")
    if not tokens.size:
        raise ValueError("tokens are empty, expected at least one.")
    return tokens
