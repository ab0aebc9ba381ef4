"""Training and tokenization of signals that do not fit into memory, batch by batch.

scikit-learn's Pipeline has no `partial_fit`, and its `transform` keeps the output of a
step for all windows in memory. The tokens of a window do not depend on other windows,
so a stream of batches gives the same tokens as one call.
"""

import numpy as np
from sklearn.utils import get_tags

from sktok._disk import by_slices, row_slices
from sktok._estimator import Estimator, is_fitted
from sktok._steps import input_shape, own_steps


def partial_fit(tokenizer, X):
    """Train a tokenizer on one batch of a stream of windows.

    Each step of a Pipeline learns from the output of the previous step. Scales, bin
    edges and k-means codebooks are learned from the first batch and then fixed. A
    :class:`~sktok.ConvAETokenizer` is trained on each batch until its training is
    complete. The steps after it are fitted when it is complete. From then on, batches
    change nothing.

    Parameters
    ----------
    tokenizer : estimator or Pipeline
        Tokenizer to train in place. Only estimators of sktok are trained by
        `partial_fit`; other steps are fitted to the first batch, and a
        :class:`~sklearn.frozen.FrozenEstimator` is not changed.

    X : array-like of shape (n_windows, window_length) or \
            (n_windows, n_leads, window_length)
        Windows. Mix patients in each batch.

    Returns
    -------
    estimator or Pipeline
        The same tokenizer.

    Raises
    ------
    AttributeError
        If a :class:`~sktok.ConvAETokenizer` has ``early_stopping=True``.
    ValueError
        If a step cannot learn from the batch.

    See Also
    --------
    iter_transform : Encodes a stream as tokens.

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
    steps = own_steps(tokenizer)
    for step in steps:
        if isinstance(step, Estimator) and hasattr(type(step), "partial_fit"):
            step.partial_fit(X)
        elif not is_fitted(step) or _lacks_names(step):
            step.fit(X, None)  # a FrozenEstimator requires y
        if step is steps[-1] or not getattr(step, "is_complete_", True):
            break
        X = step.transform(X)
    return tokenizer


def _lacks_names(step):
    """Whether a stateless step counts as fitted, but `fit` has not set its names."""
    return not (get_tags(step).requires_fit or hasattr(step, "n_features_in_"))


def iter_transform(tokenizer, windows):
    """Encode a stream of windows as tokens, array by array.

    Parameters
    ----------
    tokenizer : estimator or Pipeline
        Fitted tokenizer.

    windows : iterable of array-like, or array
        Arrays of shape (n_windows, window_length) or (n_windows, n_leads,
        window_length), for example records. An empty array
        gives no tokens. A single array is read in slices; it may be on disk, as a
        `numpy.memmap` or an array of zarr or h5py.

    Yields
    ------
    tokens : ndarray of int64, shape (n_windows, n_tokens_per_window)
        Tokens of each array, or slice, in order.

    Raises
    ------
    ValueError
        As in `transform` of the tokenizer.

    See Also
    --------
    iter_inverse_transform : Inverse of this function.
    partial_fit : Trains on a stream.
    sktok.corpus.write_corpus : Writes the tokens of records to files.

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
    """Decode a stream of tokens into windows.

    This is the inverse of `iter_transform`.

    Parameters
    ----------
    tokenizer : estimator or Pipeline
        Fitted tokenizer.

    tokens : iterable of array-like, or array
        Arrays of int, shape (n_windows, n_tokens_per_window). A single array is read in
        slices, as in `iter_transform`.

    Yields
    ------
    windows : ndarray of float, shape (n_windows, window_length) or \
            (n_windows, n_leads, window_length)
        Reconstruction of each array, or slice, in order.

    Raises
    ------
    TypeError
        If the tokens are not integers.
    ValueError
        As in `inverse_transform` of the tokenizer.

    See Also
    --------
    iter_transform : Inverse of this function.

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
            yield np.empty((0, *input_shape(tokenizer)))


def _pieces(source):
    """The arrays of an iterable, or the slices of one array."""
    if not hasattr(source, "shape"):
        return source
    rows_of = getattr(source, "iloc", source)  # pandas 2 slices by float labels
    return (rows_of[rows] for rows in row_slices(source.shape))
