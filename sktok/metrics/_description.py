"""Rate, distortion and warnings of a fitted tokenizer, as text."""

import html
import math
import textwrap
from dataclasses import dataclass

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sktok._rows import check_tokens, require_fs
from sktok._steps import clip_rates, last_step, vocabulary_size
from sktok.metrics._distortion import prd, validate_pair
from sktok.metrics._rate import token_entropy, token_usage

_LARGEST_SHARE = 0.01  # of clipped values, or of flat windows, without a warning
_ENOUGH_TOKENS = 4  # tokens per vocabulary entry, to tell which are unused


@dataclass(frozen=True, kw_only=True)
class TokenizerDescription:
    """Rate and distortion of a tokenizer on some windows, as `describe` returns them.

    `print` shows at most a dozen lines, and a notebook shows a table.

    Parameters
    ----------
    n_windows : int
        Number of windows.

    window_length : int
        Number of samples in a window.

    tokens_per_window : int
        Number of tokens in a window.

    n_tokens : int
        Size of the vocabulary.

    n_unused_tokens : int
        Number of tokens of the vocabulary that do not occur.

    token_usage : float
        Share of the vocabulary that occurs, see :func:`token_usage`.

    bits_per_sample : float
        Rate from the entropy of the tokens, see :func:`neg_bits_per_sample`.

    max_bits_per_sample : float
        Rate if all tokens were equally frequent: that of a code of fixed length.

    tokens_per_second : float or None
        Tokens per second of signal, if `fs` was given.

    bits_per_second : float or None
        `bits_per_sample` per second of signal, if `fs` was given.

    mse : float
        Mean squared error, in the square of the unit of the signal.

    rmse : float
        Its root, in the unit of the signal.

    prd : float
        Percentage root-mean-square difference, centred, see :func:`prd`. The mean
        over the groups if `groups` was given; otherwise, each window is centred by
        its own mean.

    worst_prd : float or None, default=None
        Largest PRD of a group, if `groups` was given.

    worst_group : str or None, default=None
        Label of that group, if `groups` was given.

    n_groups : int or None, default=None
        Number of groups (records or patients), if `groups` was given.

    snr_db : float
        `prd` in decibels: ``-20 * log10(prd / 100)``.

    clip_rate : float or None
        Share of values that are clipped because a step cannot represent them: samples
        that :class:`~sktok.AmplitudeScaler` clips (only with ``clip=True``), samples
        outside the [0, 1] that :class:`~sktok.networks.DimReduction` can restore, or
        values and latents outside the limits of a :class:`~sktok.BinQuantizer`. The
        largest share if several steps have limits, and `None` if no step has limits.
        Samples that pad a window's last block are counted as well.

    warnings : tuple of str
        Sentences that name a problem and what to do about it: more than 1 % of the
        values are clipped, more than 1 % of the windows are flat, or more than half of
        the vocabulary is unused. The last one needs at least four times as many tokens
        as the vocabulary has; it is no problem if the windows are of few patients. For
        :class:`~sktok.GainShapeTokenizer`, only tokens of shape are counted: those of
        offset and gain are reserved for future signals.

    unit : str or None
        Unit of the signal.

    See Also
    --------
    describe : Computes the description.

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
    worst_prd: float | None = None
    worst_group: str | None = None
    n_groups: int | None = None
    snr_db: float
    clip_rate: float | None
    warnings: tuple[str, ...]
    unit: str | None

    def _rows(self):
        """Label and text of each line."""
        unit, square = (f" {self.unit}", f" {self.unit}²") if self.unit else ("", "")
        tokens = f"{self.tokens_per_window} a window"
        most = f"at most {self.max_bits_per_sample:.3g}"
        rate = f"{self.bits_per_sample:.3g} bits a sample, {most}"
        used = f"{self.n_unused_tokens} unused ({100 * self.token_usage:.3g} % in use)"
        if self.tokens_per_second is not None:
            tokens += f", {self.tokens_per_second:.4g} a second"
            rate += f", {self.bits_per_second:.4g} bits a second"
        centred = "each window centred"
        if self.n_groups == 1:
            centred = f"one group, {self.worst_group}"
        elif self.n_groups is not None:
            worst = f"worst {self.worst_prd:.3g} % in {self.worst_group}"
            centred = f"mean of {self.n_groups} groups, {worst}"
        rows = [
            ("windows", f"{self.n_windows} of {self.window_length} samples"),
            ("tokens", tokens),
            ("vocabulary", f"{self.n_tokens} tokens, {used}"),
            ("rate", rate),
            ("error", f"{self.rmse:.3g}{unit} rms, mse {self.mse:.3g}{square}"),
            ("", f"PRD {self.prd:.3g} % ({centred}), SNR {self.snr_db:.3g} dB"),
        ]
        if self.clip_rate is not None:
            rows.append(("clipped", f"{100 * self.clip_rate:.3g} % of the values"))
        return rows + [("warning", sentence) for sentence in self.warnings]

    def __str__(self):
        wrap = textwrap.TextWrapper(78, subsequent_indent=" " * 12).fill
        return "\n".join(wrap(f"{label:<12}{text}") for label, text in self._rows())

    def _repr_html_(self):
        cells = [map(html.escape, row) for row in self._rows()]
        rows = (f"<tr><th>{label}</th><td>{text}</td></tr>" for label, text in cells)
        return f"<table>{''.join(rows)}</table>"


def describe(tokenizer, X, *, fs=None, unit=None, groups=None):
    """Measure rate and distortion of a fitted tokenizer, and warn of problems.

    The windows may be those of `fit` or, better, those of unseen patients. All windows
    are held in memory: give a part of a large archive.

    Parameters
    ----------
    tokenizer : transformer or Pipeline
        Fitted, with `transform` to tokens and `inverse_transform`. The tokenizer or
        its last step has `n_tokens_`.

    X : array-like of shape (n_windows, window_length) or \
            (n_windows, n_blocks, block_size)
        Windows of a signal.

    fs : float or None, default=None
        Sampling frequency in Hz, for rates per second.

    unit : str or None, default=None
        Unit of `X`, to be printed.

    groups : array-like of shape (n_windows,) or None, default=None
        Record or patient of each window. PRD is then computed for each group, and
        given as the mean and the worst of them, see :func:`prd`.

    Returns
    -------
    TokenizerDescription
        The figures and the warnings; `print` it.

    Raises
    ------
    NotFittedError
        If the tokenizer is not fitted.
    TypeError
        If its output is not of integers.
    ValueError
        If it has no `n_tokens_`, `fs` is not a number above 0, `groups` does not have
        one label for each window, or `transform` refuses `X`.

    See Also
    --------
    sktok.plotting.ReconstructionDisplay : Draws the error.
    TokenizerDescription : The result.

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
    tokens = check_tokens(tokenizer.transform(X), n_tokens)
    signal, restored = validate_pair(X, tokenizer.inverse_transform(tokens))
    tokens_per_sample = tokens.size / signal.size
    bits_per_sample = token_entropy(tokens) * tokens_per_sample
    with np.errstate(over="ignore"):
        mse = float(np.mean((signal - restored) ** 2))
    clip_rate, clipped_by = max(clip_rates(tokenizer, X), default=(None, None))
    percent = np.atleast_1d(prd(signal, restored, centered=True, groups=groups))
    figures = {"prd": float(percent.mean())}
    if groups is not None:
        worst_group = np.unique(groups)[percent.argmax()]
        figures |= {"worst_prd": float(percent.max()), "worst_group": str(worst_group)}
        figures["n_groups"] = len(percent)
    with np.errstate(divide="ignore"):
        snr_db = float(-20 * np.log10(percent.mean() / 100))
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
        **figures,
        snr_db=snr_db,
        clip_rate=clip_rate,
        warnings=tuple(_warnings(tokenizer, signal, tokens, clip_rate, clipped_by)),
        unit=unit,
    )


def _warnings(tokenizer, signal, tokens, clip_rate, clipped_by):
    """A sentence for each problem."""
    if clip_rate is not None and clip_rate > _LARGEST_SHARE:
        yield f"{100 * clip_rate:.3g} % of the values are clipped by {clipped_by}"
    samples = signal.reshape(len(signal), -1)
    n_flat = int((samples == samples[:, :1]).all(axis=1).sum())
    if samples.shape[1] > 1 and n_flat > _LARGEST_SHARE * len(signal):
        yield f"{n_flat} of {len(signal)} windows are flat: leave them out."
    whole = {"shape": range(vocabulary_size(tokenizer))}
    vocabulary = getattr(last_step(tokenizer), "token_ranges_", whole)["shape"]
    n_tokens, tokens = len(vocabulary), tokens[np.isin(tokens, vocabulary)]
    n_unused = n_tokens - np.unique(tokens).size
    if n_unused > n_tokens / 2 and tokens.size >= _ENOUGH_TOKENS * n_tokens:
        yield (
            f"{n_unused} of {n_tokens} tokens do not occur. For many patients, "
            "use a smaller vocabulary, train longer, or narrow the limits of bins."
        )
