"""Rate: the number of bits that tokens cost."""

from numbers import Integral

import numpy as np
from scipy.stats import entropy

from sktok._rows import check_tokens, is_number
from sktok._steps import token_starts


def neg_bits_per_sample(estimator, X, y=None):
    """Scorer: negative rate, from the entropy of the tokens.

    The rate is the mean cost of a sample under an ideal code that knows the frequency
    of each token, but does not use the tokens before it. If a tokenizer has several
    kinds of tokens (stages, or offset and gain), the code knows the kind of a token
    from its place.

    Parameters
    ----------
    estimator : transformer or Pipeline
        Fitted; its `transform` gives tokens.

    X : array-like of shape (n_windows, window_length), \
            (n_windows, n_leads, window_length) or (n_windows, n_blocks, block_size)
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
    bits = entropy_by_kind(tokens, token_starts(estimator))
    return -bits * (tokens.size / np.size(X))


def entropy_by_kind(tokens, starts):
    """Entropy in bits per token, if the kind of each token is known.

    Parameters
    ----------
    tokens : array-like of int
        Tokens, of any shape.

    starts : list of int
        The first token of each kind, in increasing order.
    """
    kinds = np.searchsorted(starts, tokens, side="right")
    return token_entropy(tokens) - token_entropy(kinds)


def most_bits_by_kind(tokens, starts, n_tokens):
    """Bits per token, if all tokens of a kind were equally frequent.

    Parameters
    ----------
    tokens : array-like of int
        Tokens, of any shape.

    starts : list of int
        The first token of each kind, in increasing order.

    n_tokens : int
        Size of the vocabulary.
    """
    kinds = np.searchsorted(starts, tokens, side="right") - 1
    return float(np.log2(np.diff([*starts, n_tokens]))[kinds].mean())


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
    _, count = np.unique(check_tokens(tokens), return_counts=True)
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
    if not is_number(n_tokens, Integral):
        raise TypeError(f"n_tokens={n_tokens!r}: expected an int.")
    return np.unique(check_tokens(tokens, n_tokens)).size / n_tokens
