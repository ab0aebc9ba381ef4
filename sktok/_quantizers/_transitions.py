"""The bits of tokens, each given the one before: a bigram model of classes of codes.

It is a model of the tokens of a codebook for the search of `ConvAETokenizer`. Thousands
of codes have millions of pairs, most of which never occur. Codes that have similar
neighbours are therefore one class (P. F. Brown et al., "Class-based n-gram models of
natural language", Computational Linguistics 18(4):467-480, 1992).
"""

import warnings

import numpy as np
from scipy.sparse import coo_array
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from sktok._neighbours import neighbour_profiles

_N_CLASSES = 128
_PRIOR = 8.0  # pairs that are added to those counted, as if classes were independent


def tokens_before(tokens, start):
    """The token that each token is predicted from, of the same shape.

    It is the token of the stage before in the same block; for the first stage, that of
    the block before. `start` stands before the first block.

    Parameters
    ----------
    tokens : ndarray or torch.Tensor of int64, shape (…, blocks, n_stages)
        Tokens.

    start : int
        What the first token of a window is predicted from.
    """
    before = tokens + 0  # a copy, of an array or a tensor
    before[..., 1:] = tokens[..., :-1]
    before[..., 1:, 0] = tokens[..., :-1, 0]
    before[..., 0, 0] = start
    return before


def bits_of_tokens(classes, class_lengths, lengths_in_class, tokens):
    """Bits of each block: (…, blocks, n_stages) -> (…, blocks).

    The first three are the result of `learn_transitions`, as arrays or tensors.
    """
    before = classes[tokens_before(tokens, len(classes) - 1)]
    return (class_lengths[before, classes[tokens]] + lengths_in_class[tokens]).sum(-1)


def learn_transitions(tokens, code_lengths, stages, random_state):
    """Classes of codes, and the bits of tokens under the model of classes.

    Parameters
    ----------
    tokens : ndarray of int64, shape (windows, blocks, n_stages)
        Tokens of the training windows.

    code_lengths : ndarray of float, shape (n_tokens,)
        Bits of each code.

    stages : list of slice
        The codes of each stage.

    random_state : RandomState
        Seeds the clustering.

    Returns
    -------
    classes : ndarray of int64, shape (n_tokens + 1,)
        The class of each code, and that of the start of a window.

    class_lengths : ndarray of float32, shape (n_classes + 1, n_classes)
        Bits of a class, given the class of the token before.

    lengths_in_class : ndarray of float32, shape (n_tokens,)
        Bits of a code, given its class.
    """
    n = stages[-1].stop
    indices = tokens_before(tokens, n).ravel(), tokens.ravel()
    pairs = coo_array((np.ones(tokens.size), indices), shape=(n + 1, n)).tocsr()
    profiles = neighbour_profiles(pairs[:n], random_state)
    shares = np.exp2(-code_lengths)
    classes, n_classes = np.empty(n + 1, np.int64), 0
    for stage in stages:
        own = _cluster(profiles[stage], shares[stage], random_state)
        classes[stage] = n_classes + own
        n_classes += own.max() + 1
    classes[n] = n_classes
    pairs = pairs.tocoo()
    seen = np.zeros((n_classes + 1, n_classes))
    np.add.at(seen, (classes[pairs.row], classes[pairs.col]), pairs.data)
    class_shares = np.bincount(classes[:n], weights=shares)
    total = seen.sum(axis=1, keepdims=True) + _PRIOR
    lengths = (
        -np.log2((seen + _PRIOR * class_shares) / total),
        np.log2(class_shares[classes[:n]] / shares),
    )
    return classes, *(x.astype(np.float32) for x in lengths)


def _cluster(profiles, shares, random_state):
    """The class of each code: codes with similar profiles have the same."""
    from sklearn.cluster import KMeans  # slow to import

    if len(profiles) <= _N_CLASSES:
        return np.arange(len(profiles))
    with threadpool_limits(1), warnings.catch_warnings():
        # Codes that are used once may have equal profiles, and classes are then fewer.
        warnings.simplefilter("ignore", ConvergenceWarning)
        kmeans = KMeans(_N_CLASSES, n_init=1, random_state=random_state)
        labels = kmeans.fit(profiles, sample_weight=shares).labels_
    return np.unique(labels, return_inverse=True)[1]
