"""What the estimators share: rows of two or three axes, checked and kept.

A row is always one window. It holds samples, shape ``(window_length,)``, or
blocks, shape ``(n_blocks, block_size)``. scikit-learn checks two axes, so a row
of blocks is laid flat for its checks and restored behind them.
"""

import math
from contextlib import contextmanager
from functools import partial, wraps
from numbers import Real

import numpy as np
from scipy.sparse import issparse
from sklearn.base import TransformerMixin
from sklearn.utils import check_array, gen_batches
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.validation import _check_feature_names_in, validate_data

FLOATS = (np.float64, np.float32)
LARGEST = float(np.finfo(np.float32).max)  # networks compute in float32
LONGEST_WINDOW = 2**24  # samples: a file that speaks of more is taken for damaged
_SAMPLES_AT_ONCE = 2**22  # of an array on the disk


def forget(estimator):
    """Drop what an earlier `fit` learned, so that one that fails leaves nothing.

    What was learned last, by which an estimator is known to be fitted, goes first.
    """
    for name in [n for n in reversed(vars(estimator)) if n[-1] == "_" != n[0]]:
        delattr(estimator, name)


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


def validate_windows(estimator, X, *, reset, dtype=FLOATS):
    """Check windows or blocks as `validate_data` does, and keep their shape.

    With ``reset=True`` the shape of a row is remembered in
    ``estimator.row_shape_``; else it has to be the same.
    """
    X, row_shape = require_plain(estimator, X, reset=reset), None
    if len(X.shape) == 3:
        row_shape = X.shape[1:]
        X = np.asarray(X).reshape(len(X), math.prod(row_shape))
    with np.errstate(over="ignore"):  # an overflow to infinity is refused as such
        X = validate_data(estimator, X, reset=reset, dtype=dtype)
    row_shape = row_shape or X.shape[1:]
    if reset:
        estimator.row_shape_ = row_shape
    _check_row_shape(estimator, row_shape, estimator.row_shape_)
    return X.reshape(len(X), *row_shape)


def validate_inverse(estimator, X, row_shape):
    """Check what goes back through `inverse_transform`: rows of `row_shape`."""
    X = refuse_masks_and_dates(X)
    _check_row_shape(estimator, tuple(X.shape[1:]), row_shape)
    return check_array(X, dtype=FLOATS, ensure_2d=False, allow_nd=True, input_name="X")


def require_plain(estimator, X, *, reset):
    """`X`, unless it is masked, dates, or rows of another length than in `fit`.

    An array in memory is refused before it is copied: it may be too large for that.
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
    """`X`, with a shape, unless it would be taken for numbers that it does not hold."""
    if not hasattr(X, "shape"):
        X = np.asarray(X)
    if np.ma.is_masked(X):
        raise ValueError(
            "The array has masked values, which are none: leave these rows out."
        )
    if getattr(getattr(X, "dtype", None), "kind", None) in ("m", "M"):
        raise ValueError(
            f"The array holds dates or times ({X.dtype}), expected numbers."
        )
    return X


def in_slices(method):
    """Let a method read an array that lies on the disk piece by piece.

    Such are memory maps, and whatever has a shape and slices, as the arrays of zarr and
    h5py. Beside the result, only a piece is in memory.
    """

    @wraps(method)
    def of_all(self, X):
        return by_slices(partial(method, self), X)

    return of_all


def by_slices(function, X):
    """What `function` makes of the rows of `X`, a piece at a time if it is on the disk.

    An array in memory is handed on as it is.
    """
    if not _lies_outside(X):
        return function(X)
    result = None
    for rows in row_slices(X.shape):
        piece = function(np.asarray(X[rows]))
        if result is None:
            result = np.empty((X.shape[0], *piece.shape[1:]), piece.dtype)
        result[rows] = piece
    return result


def row_slices(shape):
    """Slices of the rows of an array, each of a bounded number of samples."""
    n_rows = max(1, _SAMPLES_AT_ONCE // max(1, math.prod(shape[1:])))
    return gen_batches(shape[0], n_rows)


def _lies_outside(X):
    """Whether an array of two or three axes is one of numpy's only in slices."""
    if isinstance(X, np.ndarray):
        return isinstance(X, np.memmap) and X.ndim > 1 and len(X) > 0
    is_array = all(hasattr(X, name) for name in ("shape", "dtype", "__getitem__"))
    return is_array and not issparse(X) and len(X.shape) in (2, 3) and X.shape[0] > 0


def _check_row_shape(estimator, got, expected):
    if got != expected:
        raise ValueError(
            f"X has rows of shape {got}, but {type(estimator).__name__} expects rows "
            f"of shape {expected} here, as learned in fit. Fit a clone to change it."
        )


def require_finite(result, X, why):
    """Raise, rather than hand on, infinities and NaN that finite input led to."""
    if not np.isfinite([result.min(), result.max()]).all():
        raise _overflow(X, result.dtype, why)
    return result


@contextmanager
def overflow_explained(X, why):
    """Say how values of `X` led to a `FloatingPointError`, and what to do."""
    try:
        yield
    except FloatingPointError as error:
        raise _overflow(X, np.float32, why) from error


def _overflow(X, dtype, why):
    return ValueError(
        f"Values of X up to {np.abs(X).max():.3g} in magnitude overflow "
        f"{np.dtype(dtype)}: {why}"
    )


def require_fs(fs):
    """Refuse a sampling frequency that times cannot be counted by."""
    if fs is not None and not (isinstance(fs, Real) and 0 < fs < math.inf):
        raise ValueError(f"fs={fs!r}: expected a number above 0 (Hz), or None.")


def rows_in_words(row_shape):
    """What a row is, for a caption."""
    *blocks, length = row_shape
    if blocks:
        return f"{blocks[0]} blocks of {length} samples"
    return f"windows of {length} samples"


def tokens_in_words(count, n_tokens, row_shape, unit):
    """How many tokens a row becomes, and what they cost at most, for a caption."""
    bits = math.log2(n_tokens) * count / math.prod(row_shape)
    tokens = "1 token" if count == 1 else f"{count} tokens"
    return f"{tokens} out of {n_tokens}, at most {bits:.3g} bits a {unit}"


def steps_of(tokenizer):
    """The steps of a Pipeline, or of the best of a search; else the tokenizer alone."""
    tokenizer = getattr(tokenizer, "best_estimator_", tokenizer)  # of a search
    steps = getattr(tokenizer, "steps", [(None, tokenizer)])
    return [step for _, step in steps if step not in ("passthrough", None)]


def last_step(tokenizer):
    """The step whose output is that of the tokenizer."""
    steps = steps_of(tokenizer)
    return tokenizer if steps in ([], [tokenizer]) else last_step(steps[-1])


def vocabulary_size(tokenizer):
    """`n_tokens_` of a fitted tokenizer, or of the last step of a Pipeline."""
    tokenizer = last_step(tokenizer)
    if not hasattr(tokenizer, "n_tokens_"):
        raise ValueError(
            f"{type(tokenizer).__name__} has no n_tokens_, the size of a vocabulary: "
            "give a fitted tokenizer whose last step makes tokens, such as "
            "make_tokenizer()."
        )
    return tokenizer.n_tokens_


def clip_rates(tokenizer, X):
    """Share of the values that each step with limits cuts off, and a text.

    The text says what cuts them off, and what to do about it.
    """
    if hasattr(tokenizer, "_clip_rates"):
        return tokenizer._clip_rates(X)
    steps = steps_of(tokenizer)
    if steps == [tokenizer]:
        return []
    rates = []
    for step in steps:
        rates += clip_rates(step, X)
        if step is not steps[-1]:
            X = step.transform(X)
    return rates


def feature_names(estimator, names, input_features):
    """The names of the output's columns; `input_features` is only checked."""
    _check_feature_names_in(estimator, input_features, generate_names=False)
    return np.array(names, dtype=object)


class WindowTransformerMixin(TransformerMixin, auto_wrap_output_keys=None):
    """`TransformerMixin` for output that may have three axes.

    Under ``set_output`` two axes become a frame as usual. A frame has no third
    axis, so blocks and latents stay arrays, where scikit-learn alone would fail.
    """

    # scikit-learn's own would frame what `transform` has framed, or left, already.
    fit_transform = TransformerMixin.fit_transform.__wrapped__

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        is_wrapped = "transform" in cls._sklearn_auto_wrap_output_keys
        if is_wrapped and "transform" in vars(cls):
            # scikit-learn has just wrapped `transform`; wrap the method itself.
            cls.transform = _frame_two_axes(cls.transform.__wrapped__)


def _frame_two_axes(transform):
    @wraps(transform)
    def wrapped(self, X):
        result = transform(self, X)
        if result.ndim == 3:
            return result
        return _wrap_data_with_container("transform", result, X, self)

    return wrapped
