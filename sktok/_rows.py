"""Rows of two or three axes, checked.

A row is always one window. It holds samples, shape ``(window_length,)``, or blocks,
shape ``(n_blocks, block_size)``. scikit-learn validates arrays of two axes, so rows of
blocks are flattened for its checks and reshaped afterwards.
"""

import math
from contextlib import contextmanager
from numbers import Real

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

FLOATS = (np.float64, np.float32)
LARGEST = float(np.finfo(np.float32).max)  # networks compute in float32
LONGEST_WINDOW = 2**24  # samples: a file that claims more is taken for damaged


def validate_windows(estimator, X, *, reset, dtype=FLOATS):
    """Check windows or blocks as `validate_data` does, and keep their shape.

    With ``reset=True`` the shape of a row is stored in ``estimator.row_shape_``;
    otherwise it has to be the same.
    """
    X, row_shape = require_plain(estimator, X, reset=reset), None
    if len(X.shape) == 3:
        row_shape = X.shape[1:]
        X = np.asarray(X).reshape(len(X), math.prod(row_shape))
    with np.errstate(over="ignore"):  # infinity is refused, and named as the reason
        X = validate_data(estimator, X, reset=reset, dtype=dtype)
    row_shape = row_shape or X.shape[1:]
    if reset:
        estimator.row_shape_ = row_shape
    _check_row_shape(estimator, row_shape, estimator.row_shape_)
    return X.reshape(len(X), *row_shape)


def validate_inverse(estimator, X, row_shape):
    """Check input of `inverse_transform`: rows of `row_shape`."""
    X = refuse_masks_and_dates(X)
    _check_row_shape(estimator, tuple(X.shape[1:]), row_shape)
    return check_array(X, dtype=FLOATS, ensure_2d=False, allow_nd=True, input_name="X")


def validate_tokens(tokens, n_tokens, n_columns):
    """Check tokens: integers in ``range(n_tokens)``, `n_columns` of them in a row."""
    tokens = refuse_masks_and_dates(tokens)
    if len(tokens.shape) == 2 and tokens.shape[1] != n_columns:
        raise ValueError(
            f"tokens have {tokens.shape[1]} columns, expected {n_columns}: one row "
            "holds all tokens of a window, as transform returns them."
        )
    tokens = check_array(tokens, dtype=None, input_name="tokens")
    if tokens.dtype.kind not in "iu":
        raise TypeError(
            f"tokens have dtype {tokens.dtype}, expected integers: convert them with "
            "astype(int) if they are whole numbers."
        )
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= n_tokens:
        raise ValueError(
            f"tokens run from {low} to {high}, outside the vocabulary of {n_tokens} "
            f"tokens (0 to {n_tokens - 1}): were they made by another tokenizer?"
        )
    return tokens.astype(np.int64, copy=False)


def require_plain(estimator, X, *, reset):
    """`X`, unless it is masked, holds dates, or has rows of another length than fit.

    The length is checked before anything is copied: the array may be too large.
    """
    X = refuse_masks_and_dates(X)
    if not reset and len(X.shape) in (2, 3):
        n_features = math.prod(X.shape[1:])
        if n_features != estimator.n_features_in_:
            raise ValueError(
                f"X has {n_features} features, but {type(estimator).__name__} is "
                f"expecting {estimator.n_features_in_} features as input."
            )
    return X


def refuse_masks_and_dates(X):
    """`X` as an object with a shape; raise if it holds masked values or dates."""
    if not hasattr(X, "shape"):
        X = np.asarray(X)
    if np.ma.is_masked(X):
        raise ValueError(
            "The array has masked values, which have no number: leave these rows out."
        )
    if getattr(getattr(X, "dtype", None), "kind", None) in ("m", "M"):
        raise ValueError(
            f"The array holds dates or times ({X.dtype}), expected numbers."
        )
    return X


def _check_row_shape(estimator, got, expected):
    if got != expected:
        raise ValueError(
            f"X has rows of shape {got}, but {type(estimator).__name__} expects rows "
            f"of shape {expected} here, as seen in fit. Fit a clone to change it."
        )


def require_finite(result, X, advice):
    """`result`, unless finite input `X` led to infinity or NaN; then raise."""
    if not np.isfinite([result.min(), result.max()]).all():
        raise _overflow(X, result.dtype, advice)
    return result


@contextmanager
def overflow_explained(X, advice):
    """Turn `FloatingPointError` into a `ValueError` that names the values of `X`."""
    try:
        yield
    except FloatingPointError as error:
        raise _overflow(X, np.float32, advice) from error


def _overflow(X, dtype, advice):
    return ValueError(
        f"Values of X up to {np.abs(X).max():.3g} in magnitude overflow "
        f"{np.dtype(dtype)}: {advice}"
    )


def require_fs(fs):
    """Refuse a sampling frequency that is not a number above 0, or None."""
    if fs is not None and not (isinstance(fs, Real) and 0 < fs < math.inf):
        raise ValueError(f"fs={fs!r}: expected a number above 0 (Hz), or None.")


def validate_interval(name, interval):
    """The two ends of a parameter that is an interval, as floats."""
    is_pair = len(interval) == 2 and all(isinstance(end, Real) for end in interval)
    if is_pair:
        low, high = map(float, interval)
        if -LARGEST < low < high < LARGEST and high - low < LARGEST:
            return low, high
    raise ValueError(
        f"{name}={interval}: expected a tuple (low, high) of two finite numbers with "
        "low < high, within the range of float32."
    )
