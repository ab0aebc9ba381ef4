"""Rate and distortion of a tokenizer, as scikit-learn scorers and plain functions.

A scorer is ``f(estimator, X, y=None)``, higher is better, ready for ``scoring=``. It
calls `transform` and `inverse_transform` of any transformer or Pipeline that has both.
"""

import html
import math
import textwrap
import warnings
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real

import numpy as np
import sleepecg
from scipy.stats import entropy
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from sktok._rows import refuse_masks_and_dates, require_fs
from sktok._steps import clip_rates, last_step, vocabulary_size

__all__ = [
    "TokenizerDescription",
    "describe",
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

_TOO_MUCH = 0.01  # of the values clipped, or of the windows flat
_ENOUGH_TOKENS = 4  # for each of the vocabulary, to tell which are not used


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

    See Also
    --------
    neg_reconstruction_mse : How much of them is lost.
    describe : What it costs and loses, in words.

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

    See Also
    --------
    neg_bits_per_sample : The other side of the bargain.
    neg_prd : Relative to the power of the signal.

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

    See Also
    --------
    neg_reconstruction_mse : Weighs large errors more.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok import BinQuantizer
    >>> from sktok.metrics import neg_reconstruction_mae
    >>> X = np.array([[0.0, 0.25, 1.0]])
    >>> neg_reconstruction_mae(BinQuantizer(2).fit(X), X)  # 0 and 1 are off by 0.25
    -0.16...
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

    See Also
    --------
    prd : The figure itself.
    neg_reconstruction_mse : In the unit of the signal.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok import BinQuantizer
    >>> from sktok.metrics import neg_prd
    >>> X = np.array([[0.0, 0.25, 1.0]])
    >>> neg_prd(BinQuantizer(2).fit(X), X)
    -48.0...
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
    lowest_rate_within : Weighs it against the error.

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

    See Also
    --------
    neg_prd : As a scorer.
    snr_db : The same in decibels.

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

    See Also
    --------
    prd : The same in percent.

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

    See Also
    --------
    sleepecg.detect_heartbeats : The detector.
    prd : An error that knows of no heartbeats.

    References
    ----------
    J. Pan and W. J. Tompkins, "A real-time QRS detection algorithm", IEEE Trans.
    Biomed. Eng. 32(3):230-236, 1985, which the detector is a variant of.

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

    See Also
    --------
    neg_bits_per_sample : The rate.
    neg_reconstruction_mse : The error.
    sktok.plotting.RateDistortionDisplay : Draws the choice.

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
            f"{error.min():.3g}, is chosen (root mean squares of "
            f"{math.sqrt(max_mse):.3g} and {math.sqrt(error.min()):.3g}). Allow more, "
            "or search smaller blocks or larger vocabularies.",
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

    See Also
    --------
    neg_bits_per_sample : For a sample, as a scorer.
    token_usage : Share of the vocabulary that occurs.

    References
    ----------
    C. E. Shannon, "A mathematical theory of communication", Bell System Technical
    Journal 27:379-423, 1948, section 6.

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

    See Also
    --------
    token_entropy : How evenly it is used.
    sktok.plotting.TokenUsageDisplay : Draws how often each token occurs.

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


@dataclass(frozen=True)
class TokenizerDescription:
    """What a tokenizer costs and loses on some windows, as `describe` finds it.

    `print` shows it in at most a dozen lines, and a notebook as a table.

    Parameters
    ----------
    n_windows : int
        Number of windows.

    window_length : int
        Number of samples in a window.

    tokens_per_window : int
        Number of tokens that a window becomes.

    n_tokens : int
        Size of the vocabulary.

    n_unused_tokens : int
        Number of tokens of the vocabulary that do not occur.

    token_usage : float
        Share of the vocabulary that occurs, as :func:`token_usage` gives it.

    bits_per_sample : float
        Rate by the entropy of the tokens, as of :func:`neg_bits_per_sample`.

    max_bits_per_sample : float
        Rate if all tokens were equally frequent: that of a code of fixed length.

    tokens_per_second : float or None
        Tokens for a second of signal, if `fs` was given.

    bits_per_second : float or None
        `bits_per_sample` for a second of signal, if `fs` was given.

    mse : float
        Mean squared error, in the square of the unit of the signal.

    rmse : float
        Its root, in the unit of the signal.

    prd : float
        Percentage root-mean-square difference, centred, of :func:`prd`.

    snr_db : float
        Signal-to-noise ratio in decibels, of :func:`snr_db`.

    clip_rate : float or None
        Share of values that are cut off because a step cannot represent them: samples
        that :class:`~sktok.AmplitudeScaler` clips (only with ``clip=True``), samples
        outside the [0, 1] that :class:`~sktok.networks.DimReduction` can restore, or
        values, latents among them, beyond the limits of a
        :class:`~sktok.BinQuantizer`. The largest, if several steps have limits, and
        `None` if none has. Samples that fill up a window's last block count as well.

    warnings : tuple of str
        Sentences on what is wrong, and what to do about it: more than 1 % of the
        values cut off, or of the windows flat; more than half of the vocabulary unused
        in at least four times as many tokens, which is as it should be where the
        windows are of few patients. Only tokens of shape are counted for
        :class:`~sktok.GainShapeTokenizer`, which keeps offsets and gains for signals to
        come.

    unit : str or None
        Unit of the signal.

    See Also
    --------
    describe : Finds all of these.

    Examples
    --------
    >>> from sktok import BinQuantizer
    >>> from sktok.datasets import load_ecg
    >>> from sktok.metrics import describe
    >>> X = load_ecg().data
    >>> description = describe(BinQuantizer(64, limits=(-1, 1)).fit(X), X)
    >>> round(description.clip_rate, 3)
    0.098
    """

    n_windows: int
    window_length: int
    tokens_per_window: int
    n_tokens: int
    n_unused_tokens: int
    token_usage: float
    bits_per_sample: float
    max_bits_per_sample: float
    tokens_per_second: float | None
    bits_per_second: float | None
    mse: float
    rmse: float
    prd: float
    snr_db: float
    clip_rate: float | None
    warnings: tuple[str, ...]
    unit: str | None

    def _rows(self):
        """Label and text of each line."""
        unit, square = (f" {self.unit}", f" {self.unit}²") if self.unit else ("", "")
        tokens, rate = f"{self.tokens_per_window} a window", ""
        if self.tokens_per_second is not None:
            tokens += f", {self.tokens_per_second:.4g} a second"
            rate = f", {self.bits_per_second:.4g} bits a second"
        rows = [
            ("windows", f"{self.n_windows} of {self.window_length} samples"),
            ("tokens", tokens),
            (
                "vocabulary",
                f"{self.n_tokens} tokens, {self.n_unused_tokens} unused "
                f"({100 * self.token_usage:.3g} % in use)",
            ),
            (
                "rate",
                f"{self.bits_per_sample:.3g} bits a sample, at most "
                f"{self.max_bits_per_sample:.3g}{rate}",
            ),
            ("error", f"{self.rmse:.3g}{unit} rms, mse {self.mse:.3g}{square}"),
            ("", f"PRD {self.prd:.3g} % (centred), SNR {self.snr_db:.3g} dB"),
        ]
        if self.clip_rate is not None:
            rows.append(("cut off", f"{100 * self.clip_rate:.3g} % of the values"))
        return rows + [("warning", sentence) for sentence in self.warnings]

    def __str__(self):
        lines = []
        for label, text in self._rows():
            first, *others = textwrap.wrap(text, 66)
            lines += [f"{label:<12}{first}", *(f"{'':<12}{line}" for line in others)]
        return "\n".join(lines)

    def _repr_html_(self):
        cells = [map(html.escape, row) for row in self._rows()]
        rows = (f"<tr><th>{label}</th><td>{text}</td></tr>" for label, text in cells)
        return f"<table>{''.join(rows)}</table>"


def describe(tokenizer, X, *, fs=None, unit=None):
    """State what a fitted tokenizer costs and loses on windows, and what is wrong.

    The windows may be those that it was fitted on or, better, those of patients that
    it has not seen. All that is computed is held in memory: of an archive, take a part.

    Parameters
    ----------
    tokenizer : transformer or Pipeline
        Fitted, with `transform` to tokens, `inverse_transform`, and `n_tokens_`, of its
        own or of its last step.

    X : array-like of shape (n_windows, window_length) or \
            (n_windows, n_blocks, block_size)
        Windows of a signal.

    fs : float or None, default=None
        Sampling frequency in Hz, for rates of a second.

    unit : str or None, default=None
        Unit of `X`, to be printed.

    Returns
    -------
    TokenizerDescription
        The figures, and sentences of warning; `print` it.

    Raises
    ------
    NotFittedError
        If the tokenizer is not fitted.
    TypeError
        If it makes no integers.
    ValueError
        If it has no `n_tokens_`, `fs` is not a number above 0, or `X` is not as
        `transform` expects it.

    See Also
    --------
    sktok.plotting.ReconstructionDisplay : Draws what is lost.
    TokenizerDescription : What it returns.

    Examples
    --------
    >>> from sktok import make_tokenizer
    >>> from sktok.datasets import load_ecg
    >>> from sktok.metrics import describe
    >>> ecg = load_ecg()
    >>> tokenizer = make_tokenizer(max_steps=20, random_state=0).fit(ecg.data)
    >>> print(describe(tokenizer, ecg.data, fs=ecg.fs, unit=ecg.unit))
    windows     432 of 250 samples
    tokens      25 a window, 36 a second
    vocabulary  256 tokens, ...
    """
    check_is_fitted(tokenizer)
    n_tokens = vocabulary_size(tokenizer)
    require_fs(fs)
    tokens = _as_tokens(tokenizer.transform(X))
    signal, restored = _same_shape(X, tokenizer.inverse_transform(tokens))
    tokens_per_sample = tokens.size / signal.size
    bits_per_sample = token_entropy(tokens) * tokens_per_sample
    with np.errstate(over="ignore"):
        mse = float(np.mean((signal - restored) ** 2))
    clip_rate, culprit = max(clip_rates(tokenizer, X), default=(None, None))
    return TokenizerDescription(
        n_windows=len(signal),
        window_length=signal[0].size,
        tokens_per_window=tokens[0].size,
        n_tokens=n_tokens,
        n_unused_tokens=n_tokens - np.unique(tokens).size,
        token_usage=token_usage(tokens, n_tokens),
        bits_per_sample=bits_per_sample,
        max_bits_per_sample=math.log2(n_tokens) * tokens_per_sample,
        tokens_per_second=None if fs is None else tokens_per_sample * fs,
        bits_per_second=None if fs is None else bits_per_sample * fs,
        mse=mse,
        rmse=math.sqrt(mse),
        prd=prd(signal, restored, centered=True),
        snr_db=snr_db(signal, restored),
        clip_rate=clip_rate,
        warnings=(
            *_cut_off(clip_rate, culprit),
            *_flat_windows(signal),
            *_unused_vocabulary(tokenizer, tokens),
        ),
        unit=unit,
    )


def _cut_off(clip_rate, culprit):
    """A warning, if many values are beyond the limits of a step."""
    if clip_rate is not None and clip_rate > _TOO_MUCH:
        yield f"{100 * clip_rate:.3g} % of the values are cut off by {culprit}"


def _flat_windows(signal):
    """A warning, if many windows hold no signal."""
    samples = signal.reshape(len(signal), -1)
    n_flat = int((samples == samples[:, :1]).all(axis=1).sum())
    if samples.shape[1] > 1 and n_flat > _TOO_MUCH * len(signal):
        yield f"{n_flat} of {len(signal)} windows are flat: leave them out."


def _unused_vocabulary(tokenizer, tokens):
    """A warning, if most tokens do not occur where they might have."""
    tokenizer = last_step(tokenizer)
    whole = {"shape": range(tokenizer.n_tokens_)}
    vocabulary = getattr(tokenizer, "token_ranges_", whole)["shape"]
    tokens = tokens[(tokens >= vocabulary.start) & (tokens < vocabulary.stop)]
    n_used = np.unique(tokens).size
    is_enough = tokens.size >= _ENOUGH_TOKENS * len(vocabulary)
    if is_enough and n_used < len(vocabulary) / 2:
        yield (
            f"{len(vocabulary) - n_used} of {len(vocabulary)} tokens do not occur. If "
            "these are many patients, take fewer, train longer, or narrow the limits "
            "of bins."
        )
