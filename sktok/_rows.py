"""Validation of rows of one to three axes.

A row is always one window. It holds samples, shape ``(window_length,)``, the samples of
several leads, ``(n_leads, window_length)``, blocks, ``(n_blocks, block_size)``, or the
blocks of several leads, ``(n_leads, n_blocks, block_size)``. scikit-learn validates
arrays of two axes, so rows are flattened for its checks and reshaped afterwards.
"""

import math
from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

FLOATS = (np.float64, np.float32)
LARGEST = float(np.finfo(np.float32).max)  # networks compute in float32
_FEW = 2**16  # values, whose validation by scikit-learn takes longer than their use
LONGEST_WINDOW = 2**24  # samples; a file with longer windows is treated as damaged

# What rows of one, two and three axes are, for errors.
WINDOWS = "windows of one lead", "windows of several leads"
BLOCKS = "single blocks", "blocks", "blocks of several leads"
SIGNALS = "windows of one lead", "leads or blocks", "blocks of several leads"


def validate_windows(estimator, X, *, reset, dtype=FLOATS):
    """Check rows of one to three axes as `validate_data` does.

    With ``reset=True`` the shape of a row is stored in ``estimator.row_shape_``;
    otherwise it must be the same. ``estimator._row_kinds`` names the rows that the
    estimator takes, by their number of axes.
    """
    kinds = estimator._row_kinds
    X = refuse_masks_and_dates(X)
    row_shape = tuple(X.shape[1:])
    if not reset and _is_valid(estimator, X, dtype):
        return X
    # Shapes come before a copy, which may not fit into memory.
    if len(row_shape) > len(kinds):
        raise ValueError(
            f"Found array with dim {len(X.shape)}, expected <= {len(kinds) + 1}: "
            f"{type(estimator).__name__} takes {' or '.join(kinds)}."
        )
    if not reset and row_shape:
        _check_rows(estimator, X, row_shape)
    if len(row_shape) > 1:
        X = np.asarray(X).reshape(len(X), math.prod(row_shape))
    with np.errstate(over="ignore", invalid="ignore"):  # its sums may overflow
        X = validate_data(estimator, X, reset=reset, dtype=dtype)
    if reset:
        estimator.row_shape_ = row_shape
    return X.reshape(len(X), *row_shape)


def _is_valid(estimator, X, dtype):
    """Whether `X` is plainly valid: scikit-learn takes 0.1 ms to find it out."""
    return (
        _is_finite_array(X, dtype if isinstance(dtype, tuple) else (dtype,))
        and X.shape[1:] == getattr(estimator, "row_shape_", None)
        and not hasattr(estimator, "feature_names_in_")  # to warn of missing names
    )


def _is_finite_array(X, dtypes):
    """Whether `X` is a small array, not empty, with finite numbers for sure."""
    is_plain = type(X) is np.ndarray and X.dtype in dtypes and 0 < X.size <= _FEW
    with np.errstate(all="ignore"):
        return is_plain and bool(np.isfinite(X.sum()))  # the sum may overflow


def _check_rows(estimator, X, row_shape):
    """Raise unless the rows of `X` are of the kind and shape seen in `fit`."""
    expected = getattr(estimator, "row_shape_", row_shape)  # some need no `fit`
    if len(row_shape) != len(expected):
        kind, expected_kind = (
            estimator._row_kinds[len(shape) - 1] for shape in (row_shape, expected)
        )
        raise ValueError(
            f"X has the shape {X.shape}, which are {kind}; {type(estimator).__name__} "
            f"was fitted to {expected_kind} and expects rows of shape {expected}."
        )
    if len(row_shape) == 1:  # scikit-learn's message for another number of features
        validate_data(estimator, X, reset=False, skip_check_array=True)
    _check_row_shape(estimator, row_shape, expected)


def validate_inverse(estimator, X, row_shape):
    """Check input of `inverse_transform`: rows of `row_shape`."""
    X = refuse_masks_and_dates(X)
    _check_row_shape(estimator, tuple(X.shape[1:]), row_shape)
    if _is_finite_array(X, FLOATS):
        return X
    return check_array(X, dtype=FLOATS, ensure_2d=False, allow_nd=True, input_name="X")


def validate_tokens(tokens, n_tokens, n_columns):
    """Check tokens: integers in ``range(n_tokens)``, in rows of `n_columns`."""
    tokens = refuse_masks_and_dates(tokens)
    if len(tokens.shape) == 2 and tokens.shape[1] != n_columns:
        raise ValueError(
            f"tokens have {tokens.shape[1]} columns, expected {n_columns}: pass one "
            "row for each window, as transform returns them."
        )
    return check_tokens(tokens, n_tokens, ensure_2d=True)


def check_tokens(tokens, n_tokens=None, *, ensure_2d=False):
    """Check tokens of any shape: at least one, integers, in ``range(n_tokens)``."""
    tokens = refuse_masks_and_dates(tokens)
    if not _is_finite_array(tokens, (np.int64,)) or tokens.ndim != 2:
        options = {"ensure_2d": ensure_2d, "allow_nd": not ensure_2d}
        tokens = check_array(tokens, dtype=None, input_name="tokens", **options)
    if tokens.dtype.kind not in "iu":
        raise TypeError(
            f"tokens have dtype {tokens.dtype}, expected integers: convert them with "
            "astype(int) if they are whole numbers."
        )
    low, high = int(tokens.min()), int(tokens.max())
    if n_tokens is not None and not 0 <= low <= high < n_tokens:
        raise ValueError(
            f"tokens run from {low} to {high}, outside the vocabulary of {n_tokens} "
            f"tokens (0 to {n_tokens - 1}): use the tokenizer that produced them."
        )
    return tokens.astype(np.int64, copy=False)


def refuse_masks_and_dates(X):
    """`X` as an object with a shape; raise if it holds masked values or dates."""
    if not hasattr(X, "shape"):
        X = np.asarray(X)
    is_date = getattr(getattr(X, "dtype", None), "kind", None) in ("m", "M")
    if is_date or np.ma.is_masked(X):
        found = f"dates or times ({X.dtype})" if is_date else "masked values"
        raise ValueError(f"Got {found}, expected numbers: remove or convert them.")
    return X


def _check_row_shape(estimator, got, expected):
    if got != expected:
        raise ValueError(
            f"X has rows of shape {got}, but {type(estimator).__name__} expects rows "
            f"of shape {expected}, as in fit: give such rows, or see "
            "sktok.with_window_length for windows of another length."
        )


def require_finite(result, X, advice):
    """`result`; raise if it is not finite for finite input `X`."""
    if not np.isfinite([result.min(), result.max()]).all():
        raise _overflow(X, result.dtype, advice)
    return result


@contextmanager
def overflow_explained(X, advice):
    """Turn `FloatingPointError` into a `ValueError` with the largest value of `X`."""
    try:
        yield
    except FloatingPointError as error:
        raise _overflow(X, np.float32, advice) from error


def _overflow(X, dtype, advice):
    return ValueError(
        f"Values of X up to {np.abs(X).max():.3g} in magnitude overflow "
        f"{np.dtype(dtype)}: {advice}"
    )


def is_number(value, kind=Real):
    """Whether a parameter is a number; True and False are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def as_python(value):
    """A number of numpy as one of Python; anything else as it is.

    Numbers of numpy overflow, raise the precision of arrays, and are unknown to JSON.
    """
    if isinstance(value, np.floating):
        return float(value)
    return value.item() if isinstance(value, np.generic) else value


def require_int(name, value, low=1, high=2**32):
    """The value as a Python int; raise unless it is an int from `low` to `high`."""
    if not (is_number(value, Integral) and low <= value <= high):
        raise ValueError(f"{name}={value!r}: expected an int from {low} to {high}.")
    return int(value)


def require_fs(fs):
    """`fs` as a Python number, or None; raise unless it is positive in float32."""
    fs = as_python(fs)
    if fs is not None and not (is_number(fs) and 1 / LARGEST <= fs <= LARGEST):
        raise ValueError(
            f"fs={fs!r}: expected a number above 0 (Hz) in the range of float32, or "
            "None."
        )
    return fs


def validate_interval(name, interval):
    """The two ends of an interval as floats; `name` is the parameter in errors."""
    if len(interval) == 2 and all(map(is_number, interval)):
        low, high = map(float, interval)
        if -LARGEST < low < high < LARGEST and high - low < LARGEST:
            return low, high
    raise ValueError(
        f"{name}={interval}: expected a tuple (low, high) of two finite numbers with "
        "low < high, within the range of float32."
    )
