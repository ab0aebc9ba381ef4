"""Pipelines over signals that do not fit into memory, batch by batch.

scikit-learn's Pipeline has no `partial_fit`, and its `transform` holds what each step
makes of all windows. Since a row is always one window, and a window's tokens depend on
no other, a stream of windows gives the same tokens as one call.
"""

import numpy as np
from sklearn.pipeline import Pipeline

from sktok._disk import by_slices, row_slices
from sktok._estimator import Estimator, is_fitted
from sktok._steps import steps_of

__all__ = ["iter_inverse_transform", "iter_transform", "partial_fit"]


def partial_fit(tokenizer, X):
    """Train a tokenizer on a batch of a stream of windows.

    Each step of a Pipeline learns from what the steps before make of the batch. What a
    token means is settled by the first batch, as far as it is a scale, edges of bins or
    a codebook of k-means, and by the training of a :class:`~sktok.ConvAETokenizer`;
    once that is complete, nothing changes any more. Steps behind it wait until then.

    Parameters
    ----------
    tokenizer : estimator or Pipeline
        Is trained in place. Other steps than those of sktok with a `partial_fit` are
        fitted to the first batch.

    X : array-like of shape (n_windows, window_length)
        Windows, of patients as mixed as can be.

    Returns
    -------
    estimator or Pipeline
        The tokenizer.

    Raises
    ------
    AttributeError
        If a :class:`~sktok.ConvAETokenizer` has ``early_stopping=True``.
    ValueError
        If a step cannot learn from the batch.

    See Also
    --------
    iter_transform : Tokens of a stream.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok import make_tokenizer
    >>> from sktok.datasets import load_ecg
    >>> from sktok.streaming import iter_transform, partial_fit
    >>> archive = np.array_split(load_ecg().data, 4)  # or a generator
    >>> tokenizer = make_tokenizer(max_steps=4, random_state=0)
    >>> for windows in archive:
    ...     tokenizer = partial_fit(tokenizer, windows)
    >>> tokenizer["tokenize"].is_complete_
    True
    >>> [tokens.shape for tokens in iter_transform(tokenizer, archive)]
    [(108, 25), (108, 25), (108, 25), (108, 25)]
    """
    is_pipeline = isinstance(tokenizer, Pipeline)
    steps = steps_of(tokenizer) if is_pipeline else [tokenizer]
    for step in steps:
        if isinstance(step, Estimator) and hasattr(type(step), "partial_fit"):
            step.partial_fit(X)
        elif not is_fitted(step):
            step.fit(X)
        if step is steps[-1] or not getattr(step, "is_complete_", True):
            break
        X = step.transform(X)
    return tokenizer


def iter_transform(tokenizer, windows):
    """Turn a stream of windows into tokens, array by array.

    Parameters
    ----------
    tokenizer : estimator or Pipeline
        Fitted; its `transform` makes tokens.

    windows : iterable of array-like, or array that slices
        Arrays of shape (n_windows, window_length), such as records; an empty one gives
        no tokens. Or one array, which may lie on the disk, as a `numpy.memmap` or those
        of zarr and h5py: it is read piece by piece.

    Yields
    ------
    tokens : ndarray of int64, shape (n_windows, n_tokens_per_window)
        Tokens of each array, or piece, in order.

    Raises
    ------
    ValueError
        As `transform` of the tokenizer does.

    See Also
    --------
    iter_inverse_transform : The inverse.
    partial_fit : Trains on a stream.
    sktok.corpus.write_corpus : Tokens of records in files.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok import BinQuantizer
    >>> from sktok.datasets import load_ecg
    >>> from sktok.streaming import iter_transform
    >>> X = load_ecg().data
    >>> quantizer = BinQuantizer(16).fit(X)
    >>> [tokens.shape for tokens in iter_transform(quantizer, np.array_split(X, 3))]
    [(144, 250), (144, 250), (144, 250)]
    """
    for piece in _pieces(windows):
        if len(piece):
            yield by_slices(lambda X: np.asarray(tokenizer.transform(X)), piece)
        else:
            yield np.empty((0, len(tokenizer.get_feature_names_out())), np.int64)


def iter_inverse_transform(tokenizer, tokens):
    """Turn a stream of tokens into windows: the inverse of `iter_transform`.

    Parameters
    ----------
    tokenizer : estimator or Pipeline
        Fitted.

    tokens : iterable of array-like, or array that slices
        Arrays of int, shape (n_windows, n_tokens_per_window), as `iter_transform` takes
        windows.

    Yields
    ------
    windows : ndarray of float, shape (n_windows, window_length)
        The reconstruction of each array, or piece, in order.

    Raises
    ------
    TypeError
        If tokens are not integers.
    ValueError
        As `inverse_transform` of the tokenizer does.

    See Also
    --------
    iter_transform : The inverse.

    Examples
    --------
    >>> from sktok import AmplitudeScaler, BinQuantizer
    >>> from sktok.datasets import load_ecg
    >>> from sktok.streaming import iter_inverse_transform, iter_transform
    >>> from sklearn.pipeline import make_pipeline
    >>> X = load_ecg().data
    >>> tokenizer = make_pipeline(AmplitudeScaler(), BinQuantizer(16)).fit(X)
    >>> tokens = iter_transform(tokenizer, [X[:4], X[4:8]])
    >>> [windows.shape for windows in iter_inverse_transform(tokenizer, tokens)]
    [(4, 250), (4, 250)]
    """
    for piece in _pieces(tokens):
        if len(piece):
            yield by_slices(tokenizer.inverse_transform, piece)
        else:
            yield np.empty((0, tokenizer.n_features_in_))


def _pieces(source):
    """The arrays of an iterable, or slices of one array."""
    if not hasattr(source, "shape"):
        return source
    return (source[rows] for rows in row_slices(source.shape))
