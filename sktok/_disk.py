"""Arrays that lie on the disk: read in slices, so that memory stays bounded."""

import math
from functools import partial, wraps

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import gen_batches

_SAMPLES_AT_ONCE = 2**22  # of an array on the disk


def in_slices(method):
    """Let a method read an array on the disk slice by slice.

    This applies to memory maps, and to any object with a shape and slices, such as the
    arrays of zarr and h5py. Only one slice and the result are in memory.
    """

    @wraps(method)
    def of_all(self, X):
        return by_slices(partial(method, self), X)

    return of_all


def by_slices(function, X):
    """Apply `function` to the rows of `X`, slice by slice if `X` is on the disk.

    An array in memory is passed on unchanged.
    """
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
    """Whether `X` has two or three axes and becomes a numpy array only in slices."""
    if isinstance(X, np.ndarray):
        return isinstance(X, np.memmap) and X.ndim > 1 and len(X) > 0
    is_array = all(hasattr(X, name) for name in ("shape", "dtype", "__getitem__"))
    return is_array and not issparse(X) and len(X.shape) in (2, 3) and X.shape[0] > 0
