"""The neighbours of tokens: tokens that occur in similar places are similar."""

from scipy.sparse import hstack
from threadpoolctl import threadpool_limits

_DIM = 32  # numbers that describe the neighbours of a token


def neighbour_profiles(pairs, random_state):
    """Few numbers that describe the neighbours of each token, before and after it.

    Counts of neighbours are reduced as in latent semantic analysis.

    Parameters
    ----------
    pairs : csr_array of float, shape (n_tokens, n_tokens)
        How often the token of a column follows that of a row.

    random_state : RandomState
        Starts the reduction.

    Returns
    -------
    ndarray of float, shape (n_tokens, dim)
        Tokens with similar neighbours have similar rows.
    """
    from sklearn.preprocessing import normalize
    from sklearn.utils.extmath import randomized_svd

    sides = pairs, pairs.T.tocsr()
    sides = hstack([normalize(side, norm="l1").sqrt() for side in sides])
    dim = min(_DIM, pairs.shape[1])
    with threadpool_limits(1):  # sums in one order
        left, values, _ = randomized_svd(sides, dim, random_state=random_state)
    return left * values
