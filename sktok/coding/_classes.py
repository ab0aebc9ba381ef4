"""Classes of tokens that occur in similar places: a token is predicted in two steps."""

import numpy as np
from scipy.sparse import csr_array, hstack
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

_DIMENSIONS = 32


def token_classes(tokens, n_tokens, random_state):
    """Divide a vocabulary into classes of equal size.

    The tokens before and after a token are counted, the counts are reduced to a few
    dimensions as in latent semantic analysis, and the vocabulary is divided in halves
    along the first principal component, again and again.

    Parameters
    ----------
    tokens : ndarray of int64, shape (n,)
        Training tokens in sequence.

    n_tokens : int
        Size of the vocabulary.

    random_state : RandomState
        Starts the reduction.

    Returns
    -------
    ndarray of int64, shape (n_classes, class_size)
        The tokens of each class, and -1 in places without a token. There are more
        classes than places in a class, because places take more time to code.
    """
    n_uses = np.bincount(tokens, minlength=n_tokens)
    with threadpool_limits(1):  # sums in one order
        vectors = _vectors(tokens, n_uses, random_state)
        n_halvings = min(int(np.log2(n_tokens)), round(np.log2(n_tokens) / 2 + 0.75))
        members = [np.arange(n_tokens)]
        for _ in range(n_halvings):
            members = [
                half for part in members for half in _halves(part, vectors, n_uses)
            ]
    classes = np.full((len(members), max(map(len, members))), -1)
    for row, part in zip(classes, members, strict=True):
        row[: len(part)] = np.sort(part)
    return classes


def _vectors(tokens, n_uses, random_state):
    """A vector for each token, from the tokens before and after it."""
    n_tokens = len(n_uses)
    ones, shape = np.ones(len(tokens) - 1), (n_tokens, n_tokens)
    counts = csr_array((ones, (tokens[1:], tokens[:-1])), shape=shape)
    counts = hstack([counts, counts.T]).tocsr().sqrt()
    scales = csr_array((1 / np.sqrt(n_uses + 1), (np.arange(n_tokens),) * 2))
    left, values, _ = randomized_svd(
        scales @ counts, min(_DIMENSIONS, n_tokens), random_state=random_state
    )
    return left * values


def _halves(part, vectors, n_uses):
    """Two halves of some tokens, divided along their first principal component."""
    weights = n_uses[part] + 1e-3
    centered = vectors[part] - np.average(vectors[part], axis=0, weights=weights)
    _, directions = np.linalg.eigh((centered.T * weights) @ centered)
    order = np.argsort(centered @ directions[:, -1], kind="stable")
    return np.array_split(part[order], 2)
