"""Rate, distortion and warnings of a fitted tokenizer, as text."""

import html
import math
import textwrap
from dataclasses import dataclass

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sktok._rows import check_tokens, require_fs
from sktok._steps import (
    SignalFacts,
    as_lead,
    clip_rates,
    last_step,
    reconcile,
    steps_of,
    token_starts,
    vocabulary_size,
)
from sktok.metrics._distortion import as_leads, prd, validate_pair
from sktok.metrics._rate import (
    entropy_by_kind,
    most_bits_by_kind,
    token_usage,
)

_LARGEST_SHARE = 0.01  # of clipped values, or of flat windows, without a warning
_SMALLEST_RANGE = 1e-3  # of a window, as a share of the range of the fitted signal
_ENOUGH_TOKENS = 4  # tokens per vocabulary entry, to tell which are unused


@dataclass(frozen=True, kw_only=True)
class TokenizerDescription:
    """Rate and distortion of a tokenizer on some windows, as `describe` returns them.

    `print` shows at most a dozen lines, and a notebook shows a table.

    Parameters
    ----------
    n_windows : int
        Number of windows.

    n_leads : int, default=1
        Number of leads in a window.

    window_length : int
        Number of samples in a window, of each lead.

    tokens_per_window : int
        Number of tokens in a window, of all leads.

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
        Tokens per second of signal, of all leads, if `fs` is known.

    bits_per_second : float or None
        Bits per second of signal, of all leads, if `fs` is known.

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
        Sentences that name a problem and what to do about it: the signal is far larger
        or smaller than the one that an :class:`~sktok.AmplitudeScaler` was fitted to,
        more than 1 % of the values are clipped, more than 1 % of the windows are flat,
        or more than half of the vocabulary is unused. The last one needs at least four
        times as many tokens as the vocabulary has; it is no problem if the windows are
        of few patients. For :class:`~sktok.GainShapeTokenizer`, only tokens of shape
        are counted: those of offset and gain are reserved for future signals.

    fs : float or None, default=None
        Sampling frequency of the signal in Hz, if it is known.

    unit : str or None
        Unit of the signal, if it is known.

    lead : str, tuple of str or None, default=None
        Lead or leads of the signal, if they are known.

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
    n_leads: int = 1
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
    fs: float | None = None
    unit: str | None
    lead: str | tuple[str, ...] | None = None

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
        windows = f"{self.n_windows} of {self.window_length} samples"
        if self.n_leads > 1:
            windows = f"{self.n_windows} of {self.n_leads} leads of "
            windows += f"{self.window_length} samples"
        lead, label = self.lead, "lead {}"
        if isinstance(lead, tuple):
            lead, label = ", ".join(lead), "leads {}"
        facts = {"{:g} Hz": self.fs, "{}": self.unit, label: lead}
        known = (text.format(fact) for text, fact in facts.items() if fact)
        rows = [
            ("windows", ", ".join([windows, *known])),
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


def describe(tokenizer, X, *, fs=None, unit=None, lead=None, groups=None):
    """Measure rate and distortion of a fitted tokenizer, and warn of problems.

    The windows may be those of `fit` or, better, those of unseen patients. All windows
    are held in memory: give a part of a large archive.

    Parameters
    ----------
    tokenizer : transformer or Pipeline
        Fitted, with `transform` to tokens and `inverse_transform`. The tokenizer or
        its last step has `n_tokens_`.

    X : array-like of shape (n_windows, window_length), \
            (n_windows, n_leads, window_length) or (n_windows, n_blocks, block_size)
        Windows of a signal. Three axes are leads if the tokenizer has a step that takes
        windows, such as :class:`~sktok.Resampler` or :class:`~sktok.BlockSegmenter`,
        and blocks otherwise.

    fs : float or None, default=None
        Sampling frequency in Hz. `None` takes that of the tokenizer, see
        :class:`~sktok.Resampler`.

    unit : str or None, default=None
        Unit of `X`. `X` is converted if the tokenizer has another unit of voltage.
        `None` takes the unit of the tokenizer.

    lead : str, sequence of str or None, default=None
        Lead or leads of `X`. `None` takes those of the tokenizer.

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
        If it has no `n_tokens_`, `fs` is not a number above 0, the tokenizer was
        fitted to another sampling frequency, unit or lead, `lead` does not name each
        lead, `groups` does not have one
        label for each window, or `transform` refuses `X`.

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
    windows     432 of 250 samples, 360 Hz, mV
    tokens      25 a window, 36 a second
    vocabulary  256 tokens, ...
    """
    check_is_fitted(tokenizer)
    n_tokens = vocabulary_size(tokenizer)
    facts = SignalFacts(require_fs(fs), unit, as_lead(lead))
    facts, factor = reconcile(tokenizer, facts)
    if factor != 1:
        X = np.multiply(X, factor)
    tokens = check_tokens(tokenizer.transform(X), n_tokens)
    signal, restored = validate_pair(X, tokenizer.inverse_transform(tokens))
    signal, restored = as_leads(tokenizer, signal, restored)
    _, n_leads, window_length = signal.shape
    if isinstance(facts.lead, tuple) and len(facts.lead) != n_leads:
        raise ValueError(
            f"lead names {len(facts.lead)} leads, and windows have {n_leads}: give a "
            "name for each lead, or none."
        )
    tokens_per_sample = tokens.size / signal.size
    # Samples of one lead, and of all leads, in a second.
    samples_per_second = None if facts.fs is None else facts.fs * n_leads
    starts = token_starts(tokenizer)
    bits_per_sample = entropy_by_kind(tokens, starts) * tokens_per_sample
    most_bits = most_bits_by_kind(tokens, starts, n_tokens)
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
        n_leads=n_leads,
        window_length=window_length,
        tokens_per_window=tokens[0].size,
        n_tokens=n_tokens,
        n_unused_tokens=n_tokens - np.unique(tokens).size,
        token_usage=token_usage(tokens, n_tokens),
        bits_per_sample=bits_per_sample,
        max_bits_per_sample=most_bits * tokens_per_sample,
        tokens_per_second=_product(tokens_per_sample, samples_per_second),
        bits_per_second=_product(bits_per_sample, samples_per_second),
        mse=mse,
        rmse=math.sqrt(mse),
        **figures,
        snr_db=snr_db,
        clip_rate=clip_rate,
        warnings=tuple(_warnings(tokenizer, signal, tokens, clip_rate, clipped_by)),
        **facts._asdict(),
    )


def _product(rate, samples_per_second):
    return None if samples_per_second is None else rate * samples_per_second


def _warnings(tokenizer, signal, tokens, clip_rate, clipped_by):
    """A sentence for each problem."""
    has_other_scale = _other_scale(tokenizer, signal)
    if has_other_scale:
        yield has_other_scale
    if clip_rate is not None and clip_rate > _LARGEST_SHARE:
        yield f"{100 * clip_rate:.3g} % of the values are clipped by {clipped_by}"
    is_flat = (signal == signal[..., :1]).all(axis=-1).any(axis=1)  # in any lead
    n_flat = int(is_flat.sum())
    if signal.shape[-1] > 1 and n_flat > _LARGEST_SHARE * len(signal):
        yield f"{n_flat} of {len(signal)} windows are flat: leave them out."
    whole = {"shape": range(vocabulary_size(tokenizer))}
    vocabulary = getattr(last_step(tokenizer), "token_ranges_", whole)["shape"]
    n_tokens, tokens = len(vocabulary), tokens[np.isin(tokens, vocabulary)]
    n_unused = n_tokens - np.unique(tokens).size
    is_counted = tokens.size >= _ENOUGH_TOKENS * n_tokens and not has_other_scale
    if is_counted and n_unused > n_tokens / 2:
        yield (
            f"{n_unused} of {n_tokens} tokens do not occur. For many patients, "
            "use a smaller vocabulary, train longer, or narrow the limits of bins."
        )


def _other_scale(tokenizer, signal):
    """A sentence if the signal does not have the scale of an `AmplitudeScaler`."""
    scaled = (step for step in steps_of(tokenizer)[:2] if hasattr(step, "data_range_"))
    scaler = next(scaled, None)
    if scaler is None:
        return None
    low, width = scaler.data_min_, scaler.data_range_
    ranges = np.ptp(signal, axis=-1)
    is_far = (signal < low - width) | (signal > low + 2 * width)
    is_large = np.mean(is_far.any(axis=-1)) > 0.5
    is_small = ranges.any() and np.median(ranges[ranges > 0]) < _SMALLEST_RANGE * width
    if not (is_large or is_small):
        return None
    return (
        f"the signal ranges from {signal.min():.3g} to {signal.max():.3g}, but the "
        f"AmplitudeScaler was fitted to {low:.3g} to {low + width:.3g}: check the unit."
    )
