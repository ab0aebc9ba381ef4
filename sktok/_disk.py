"""Arrays on disk, read in slices to bound the memory."""

import math
from functools import partial, wraps

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import gen_batches

_SAMPLES_AT_ONCE = 2**22  # in a slice


def in_slices(method):
    """Decorate a method of one array to read arrays on disk slice by slice.

    This applies to memory maps and to any array that supports slicing, such as those of
    zarr and h5py. Only one slice and the result are in memory.
    """

    @wraps(method)
    def of_all(self, X):
        return by_slices(partial(method, self), X)

    return of_all


def by_slices(function, X):
    """Apply `function` to the rows of `X`, slice by slice if `X` is on disk."""
    if not _is_on_disk(X):
        return function(X)
    result = None
    for rows in row_slices(X.shape):
        piece = function(np.asarray(X[rows]))
        if result is None:
            result = np.empty((X.shape[0], *piece.shape[1:]), piece.dtype)
        result[rows] = piece
    return result


def row_slices(shape):
    """Slices of the rows of an array, each with a bounded number of samples."""
    n_rows = max(1, _SAMPLES_AT_ONCE // max(1, math.prod(shape[1:])))
    return gen_batches(shape[0], n_rows)


def _is_on_disk(X):
    """Whether `X` is an array of two to four axes that is not in memory."""
    is_array = all(hasattr(X, name) for name in ("shape", "dtype", "__getitem__"))
    is_numpy = isinstance(X, np.ndarray) and not isinstance(X, np.memmap)
    if is_numpy or issparse(X) or not is_array:
        return False
    return len(X.shape) in (2, 3, 4) and X.shape[0] > 0
