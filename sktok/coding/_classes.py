"""Classes of tokens that occur in similar places: a token is predicted in two steps."""

import numpy as np
from scipy.sparse import coo_array
from threadpoolctl import threadpool_limits

from sktok._neighbours import neighbour_profiles


def token_classes(tokens, n_tokens, random_state):
    """Divide a vocabulary into classes of equal size.

    Tokens are described by their neighbours, and the vocabulary is divided in halves
    along the first principal component of these descriptions, again and again.

    Parameters
    ----------
    tokens : ndarray of int64, shape (n,)
        Training tokens in sequence.

    n_tokens : int
        Size of the vocabulary.

    random_state : RandomState
        For the description of neighbours.

    Returns
    -------
    ndarray of int64, shape (n_classes, class_size)
        The tokens of each class, and -1 in places without a token. There are more
        classes than places in a class, because places take more time to code.
    """
    n_uses = np.bincount(tokens, minlength=n_tokens)
    indices, shape = (tokens[:-1], tokens[1:]), (n_tokens, n_tokens)
    pairs = coo_array((np.ones(len(tokens) - 1), indices), shape=shape).tocsr()
    vectors = neighbour_profiles(pairs, random_state)
    with threadpool_limits(1):  # sums in one order
        n_halvings = min(int(np.log2(n_tokens)), round(np.log2(n_tokens) / 2 + 0.75))
        parts = [np.arange(n_tokens)]
        for _ in range(n_halvings):
            parts = [half for part in parts for half in _halves(part, vectors, n_uses)]
    classes = np.full((len(parts), max(map(len, parts))), -1)
    for row, part in zip(classes, parts, strict=True):
        row[: len(part)] = np.sort(part)
    return classes


def _halves(part, vectors, n_uses):
    """Two halves of some tokens, divided along their first principal component."""
    weights = n_uses[part] + 1e-3
    centered = vectors[part] - np.average(vectors[part], axis=0, weights=weights)
    _, directions = np.linalg.eigh((centered.T * weights) @ centered)
    order = np.argsort(centered @ directions[:, -1], kind="stable")
    return np.array_split(part[order], 2)
