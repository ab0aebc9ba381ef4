"""Rate and distortion of a tokenizer, as scikit-learn scorers and plain functions.

A scorer is ``f(estimator, X, y=None)``, higher is better, ready for ``scoring=``. It
calls `transform` and `inverse_transform` of any transformer or Pipeline that has both.
"""

import math
import warnings
from functools import partial
from numbers import Integral, Real

import numpy as np
import sleepecg
from scipy.stats import entropy
from sklearn.utils import check_array

from sktok._windows import refuse_masks_and_dates

__all__ = [
    "heartbeat_f1",
    "lowest_rate_within",
    "neg_bits_per_sample",
    "neg_prd",
    "neg_reconstruction_mae",
    "neg_reconstruction_mse",
    "prd",
    "reconstruct",
    "snr_db",
    "token_entropy",
    "token_usage",
]


def reconstruct(estimator, X):
    """Transform windows and transform them back.

    Parameters
    ----------
    estimator : transformer or Pipeline
        Fitted, with `transform` and `inverse_transform`.

    X : array-like of shape (n_windows, window_length)
        Windows of a signal.

    Returns
    -------
    X_hat : ndarray of shape (n_windows, window_length)
        What is left of them, in the unit of `X`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok import BinQuantizer
    >>> from sktok.metrics import reconstruct
    >>> X = np.array([[0.0, 0.3, 1.0]])
    >>> reconstruct(BinQuantizer(2).fit(X), X)
    array([[0.25, 0.25, 0.75]])
    """
    return estimator.inverse_transform(estimator.transform(X))


def neg_reconstruction_mse(estimator, X, y=None):
    """Scorer: negative mean squared error of the reconstruction.

    Parameters
    ----------
    estimator : transformer or Pipeline
        Fitted, with `transform` and `inverse_transform`.

    X : array-like of shape (n_windows, window_length) or \
            (n_windows, n_blocks, block_size)
        Windows of a signal.

    y : None
        Ignored.

    Returns
    -------
    float
        In the square of the unit of `X`; 0 is best.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sktok import make_paper_tokenizer
    >>> from sktok.metrics import neg_reconstruction_mse
    >>> search = GridSearchCV(
    ...     make_paper_tokenizer(),
    ...     {"segment__block_size": [5, 10]},
    ...     scoring=neg_reconstruction_mse,
    ... )
    """
    X, X_hat = _same_shape(X, reconstruct(estimator, X))
    with np.errstate(over="ignore"):  # to minus infinity, as it should
        return -float(np.mean((X - X_hat) ** 2))


def neg_reconstruction_mae(estimator, X, y=None):
    """Scorer: negative mean absolute error of the reconstruction.

    Parameters
    ----------
    estimator : transformer or Pipeline
        Fitted, with `transform` and `inverse_transform`.

    X : array-like of shape (n_windows, window_length) or \
            (n_windows, n_blocks, block_size)
        Windows of a signal.

    y : None
        Ignored.

    Returns
    -------
    float
        In the unit of `X`; 0 is best.
    """
    X, X_hat = _same_shape(X, reconstruct(estimator, X))
    with np.errstate(over="ignore"):  # to minus infinity, as it should
        return -float(np.mean(np.abs(X - X_hat)))


def neg_prd(estimator, X, y=None):
    """Scorer: negative percentage root-mean-square difference, centred.

    Parameters
    ----------
    estimator : transformer or Pipeline
        Fitted, with `transform` and `inverse_transform`.

    X : array-like of shape (n_windows, window_length) or \
            (n_windows, n_blocks, block_size)
        Windows of a signal.

    y : None
        Ignored.

    Returns
    -------
    float
        In percent, see `prd`; 0 is best.
    """
    return -prd(X, reconstruct(estimator, X), centered=True)


def neg_bits_per_sample(estimator, X, y=None):
    """Scorer: negative rate, by the entropy of the tokens.

    What a sample costs on average under an ideal code that knows how frequent each
    token is, but nothing of its neighbours.

    Parameters
    ----------
    estimator : transformer or Pipeline
        Fitted; its `transform` gives tokens.

    X : array-like of shape (n_windows, window_length) or \
            (n_windows, n_blocks, block_size)
        Windows of a signal.

    y : None
        Ignored.

    Returns
    -------
    float
        In bits per sample of the signal; 0 is best.

    See Also
    --------
    token_entropy : Bits per token.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok import BinQuantizer
    >>> from sktok.metrics import neg_bits_per_sample
    >>> X = np.array([[0.0, 0.0, 1.0, 1.0]])
    >>> neg_bits_per_sample(BinQuantizer(8).fit(X), X)
    -1.0
    """
    tokens = np.asarray(estimator.transform(X))
    tokens_per_sample = tokens[0].size / math.prod(np.shape(X)[1:])
    return -token_entropy(tokens) * tokens_per_sample


def prd(X, X_hat, *, centered):
    """Percentage root-mean-square difference.

    ``100 * sqrt(sum((X - X_hat)**2) / sum((X - m)**2))``, where ``m`` is 0 or, if
    `centered`, the mean of `X`. Both forms are in use and differ much where the signal
    has an offset, hence no default.

    Parameters
    ----------
    X : array-like of shape (n_windows, window_length) or (n_samples,)
        Signal.

    X_hat : array-like of the shape of X
        Its reconstruction.

    centered : bool
        Whether to leave the mean of `X` out of the denominator (PRDN, or PRD1), which
        makes the figure independent of the offset.

    Returns
    -------
    float
        In percent; 0 is best. Infinite for an error in a signal without power.

    References
    ----------
    M. Blanco-Velasco et al., "On the use of PRD and CR parameters for ECG
    compression", Medical Engineering & Physics 27(9):798-802, 2005.

    Examples
    --------
    >>> from sktok.metrics import prd
    >>> prd([1.0, 3.0], [1.0, 2.0], centered=False)
    31.6...
    >>> prd([1.0, 3.0], [1.0, 2.0], centered=True)
    70.7...
    """
    return float(100 * np.sqrt(_noise_to_signal(X, X_hat, centered)))


def snr_db(X, X_hat, *, centered=True):
    """Signal-to-noise ratio of a reconstruction.

    Parameters
    ----------
    X : array-like of shape (n_windows, window_length) or (n_samples,)
        Signal.

    X_hat : array-like of the shape of X
        Its reconstruction.

    centered : bool, default=True
        Whether to leave the mean of `X` out of the signal's power.

    Returns
    -------
    float
        In decibels, higher is better; infinite for a perfect reconstruction. Equal
        to ``-20 * log10(prd / 100)``.

    Examples
    --------
    >>> from sktok.metrics import snr_db
    >>> round(snr_db([1.0, 3.0], [1.1, 2.9]), 6)
    20.0
    """
    with np.errstate(divide="ignore"):
        return float(-10 * np.log10(_noise_to_signal(X, X_hat, centered)))


def _noise_to_signal(X, X_hat, centered):
    """Power of the error over power of the signal."""
    X, X_hat = _same_shape(X, X_hat)
    largest = max(np.abs(X).max(), np.abs(X_hat).max()) or 1.0
    X, X_hat = X / largest, X_hat / largest  # squares of huge values would overflow
    noise = np.sum((X - X_hat) ** 2)
    signal = np.sum((X - X.mean()) ** 2) if centered else np.sum(X**2)
    if noise == 0:
        return 0.0
    with np.errstate(divide="ignore"):
        return noise / signal


def _same_shape(X, X_hat):
    """A signal and its reconstruction as arrays of float64, if they match."""
    if np.shape(X) != np.shape(X_hat):
        raise ValueError(
            f"The signal has shape {np.shape(X)} and the reconstruction "
            f"{np.shape(X_hat)}, expected the same: compare a signal with its own "
            "reconstruction."
        )
    return tuple(
        check_array(
            refuse_masks_and_dates(x), dtype=np.float64, ensure_2d=False, allow_nd=True
        )
        for x in (X, X_hat)
    )


def heartbeat_f1(X, X_hat, fs, *, tolerance=0.05):
    """How well the heartbeats of a signal are found in its reconstruction.

    R-peaks are detected by :func:`sleepecg.detect_heartbeats` in both; those of the
    reconstruction within `tolerance` of one of the signal's are true positives.

    Parameters
    ----------
    X : array-like of shape (n_windows, window_length) or (n_samples,)
        ECG, or consecutive windows of one.

    X_hat : array-like of the shape of X
        Its reconstruction.

    fs : float
        Sampling frequency in Hz, above 60.

    tolerance : float, default=0.05
        In seconds.

    Returns
    -------
    float
        Harmonic mean of precision and sensitivity, between 0 and 1; 1 if there is no
        heartbeat in either.

    Raises
    ------
    ValueError
        If the signals are not finite, differ in shape or last less than two seconds,
        from which the detector learns; or if `fs` or `tolerance` are out of range.

    Examples
    --------
    >>> from sktok import BinQuantizer
    >>> from sktok.datasets import load_ecg
    >>> from sktok.metrics import heartbeat_f1, reconstruct
    >>> ecg = load_ecg()
    >>> quantizer = BinQuantizer(64).fit(ecg.data)
    >>> round(heartbeat_f1(ecg.data, reconstruct(quantizer, ecg.data), ecg.fs), 3)
    0.993
    """
    if not (isinstance(fs, Real) and 60 < fs < math.inf):
        raise ValueError(f"fs={fs!r}: expected a number above 60 (Hz).")
    if not (isinstance(tolerance, Real) and 0 <= tolerance < math.inf):
        raise ValueError(f"tolerance={tolerance!r}: expected seconds, 0 or more.")
    X, X_hat = (x.ravel() for x in _same_shape(X, X_hat))
    if X.size < 2 * fs:
        raise ValueError(
            f"The signal has {X.size} samples at {fs} Hz, expected two seconds or "
            "more: give consecutive windows of a record."
        )
    beats, found = _heartbeats(X, fs), _heartbeats(X_hat, fs)
    if not (len(beats) and len(found)):
        return float(len(beats) == len(found))
    tolerated = min(round(tolerance * fs), X.size)
    shift = 2 * tolerated  # since sleepecg fails on beats closer to the start
    compared = sleepecg.compare_heartbeats(found + shift, beats + shift, tolerated)
    return 2 * len(compared.TP) / (len(beats) + len(found))


def _heartbeats(signal, fs):
    """Sample indices of the R-peaks; a flat line has none."""
    _, exponent = np.frexp(np.abs(signal).max())
    signal = np.ldexp(signal, -exponent)  # squares of huge values would overflow
    if np.ptp(signal) == 0:
        return np.array([], dtype=int)
    # sleepecg learns from two seconds behind a flat start, be they there or not, and
    # has room for one beat less than there may be: without filling, it writes past
    # the end of its memory.
    is_short = len(signal) - np.argmax(signal != signal[0]) < 2 * fs
    filling = math.ceil((2 if is_short else 0.2) * fs)
    beats = sleepecg.detect_heartbeats(np.pad(signal, (0, filling), "edge"), fs)
    return beats[beats < len(signal)]


def lowest_rate_within(
    max_mse, *, rate="neg_bits_per_sample", mse="neg_reconstruction_mse"
):
    """Choose the cheapest tokenizer that is good enough, for `refit` of a search.

    Parameters
    ----------
    max_mse : float
        Largest mean squared error allowed, in the square of the unit of `X`. If no
        candidate keeps to it, a warning says so, and the one with the lowest error is
        chosen.

    rate : str, default="neg_bits_per_sample"
        Name in ``scoring`` of the scorer :func:`neg_bits_per_sample`.

    mse : str, default="neg_reconstruction_mse"
        Name in ``scoring`` of the scorer :func:`neg_reconstruction_mse`.

    Returns
    -------
    callable
        ``cv_results_ -> best_index_``.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sktok import make_tokenizer
    >>> from sktok.metrics import (
    ...     lowest_rate_within,
    ...     neg_bits_per_sample,
    ...     neg_reconstruction_mse,
    ... )
    >>> search = GridSearchCV(
    ...     make_tokenizer(),
    ...     {"segment__block_size": [5, 10, 25]},
    ...     scoring={
    ...         "neg_bits_per_sample": neg_bits_per_sample,
    ...         "neg_reconstruction_mse": neg_reconstruction_mse,
    ...     },
    ...     refit=lowest_rate_within(0.001),
    ... )
    """
    if not (isinstance(max_mse, Real) and max_mse > 0):
        raise ValueError(f"max_mse={max_mse!r}: expected a number above 0.")
    return partial(_lowest_rate_within, max_mse=max_mse, rate=rate, mse=mse)


def _lowest_rate_within(cv_results, *, max_mse, rate, mse):
    bits, error = mean_rate_and_mse(cv_results, rate=rate, mse=mse)
    rated = np.isfinite(bits) & np.isfinite(error)
    if not rated.any():
        raise ValueError(
            "No candidate has both a rate and an error: see what its fits and scorers "
            'raise, by error_score="raise".'
        )
    bits, error = (np.where(rated, values, np.inf) for values in (bits, error))
    within = error <= max_mse
    if not within.any():
        warnings.warn(
            f"No candidate has an error within {max_mse:.3g}: the lowest, "
            f"{error.min():.3g}, is chosen. Allow more, or search smaller blocks "
            "or larger vocabularies.",
            stacklevel=2,
        )
        return int(error.argmin())
    cheapest = np.lexsort([error, np.where(within, bits, np.inf)])
    return int(cheapest[0])


def mean_rate_and_mse(cv_results, *, rate, mse):
    """Rate and error of each candidate of a search, averaged over the folds."""
    missing = [n for n in (rate, mse) if f"mean_test_{n}" not in cv_results]
    if missing:
        raise ValueError(
            f"The search has no scores named {missing}: give scoring="
            f"{{{rate!r}: neg_bits_per_sample, {mse!r}: neg_reconstruction_mse}}."
        )
    return tuple(-np.asarray(cv_results[f"mean_test_{n}"]) for n in (rate, mse))


def token_entropy(tokens):
    """Entropy of the distribution of the tokens that occur.

    What a token costs on average under an ideal code that knows how frequent each
    one is, but nothing of its neighbours.

    Parameters
    ----------
    tokens : array-like of int
        Tokens, of any shape.

    Returns
    -------
    float
        In bits per token, at most the logarithm of the size of the vocabulary.

    Examples
    --------
    >>> from sktok.metrics import token_entropy
    >>> token_entropy([[0, 1], [2, 3]])
    2.0
    """
    _, count = np.unique(_as_tokens(tokens), return_counts=True)
    return float(entropy(count, base=2))


def token_usage(tokens, n_tokens):
    """Share of the vocabulary that occurs.

    Parameters
    ----------
    tokens : array-like of int
        Tokens in ``range(n_tokens)``, of any shape.

    n_tokens : int
        Size of the vocabulary.

    Returns
    -------
    float
        Between 0 and 1.

    Examples
    --------
    >>> from sktok.metrics import token_usage
    >>> token_usage([[0, 1], [1, 0]], n_tokens=256)
    0.0078125
    """
    used = np.unique(_as_tokens(tokens))
    if not isinstance(n_tokens, Integral):
        raise TypeError(f"n_tokens={n_tokens!r}: expected an int.")
    if used[0] < 0 or used[-1] >= n_tokens:
        raise ValueError(
            f"tokens run from {used[0]} to {used[-1]}, outside the vocabulary of "
            f"{n_tokens} tokens: give the n_tokens_ of the tokenizer that made them."
        )
    return len(used) / n_tokens


def _as_tokens(tokens):
    tokens = np.asarray(refuse_masks_and_dates(tokens))
    if tokens.dtype.kind not in "iu":
        raise TypeError(f"tokens have dtype {tokens.dtype}, expected integers.")
    if not tokens.size:
        raise ValueError("tokens are empty, expected at least one.")
    return tokens
