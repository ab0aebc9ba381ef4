"""Access to the estimators of a fitted tokenizer.

A fitted tokenizer is an estimator of sktok, a Pipeline or a search over one. It may
hold another tokenizer as `tokenizer_`, as `GainShapeTokenizer` does. It and its steps
may be in a FrozenEstimator.
"""

import math
from typing import NamedTuple

import numpy as np
from sklearn.frozen import FrozenEstimator

from sktok._rows import WINDOWS, as_python
from sktok._units import conversion


class SignalFacts(NamedTuple):
    """What is known of a signal; None is unknown."""

    fs: float | None = None  # in Hz
    unit: str | None = None
    lead: str | tuple | None = None  # the names, if there are several leads


def unwrap(tokenizer):
    """The best estimator of a search, a frozen estimator, or the tokenizer itself."""
    if isinstance(tokenizer, FrozenEstimator):
        return unwrap(tokenizer.estimator)
    if hasattr(tokenizer, "best_estimator_"):
        return unwrap(tokenizer.best_estimator_)
    return tokenizer


def without_search(tokenizer):
    """The best estimator of a search, or the tokenizer itself; frozen if it was."""
    best = unwrap(tokenizer)
    return FrozenEstimator(best) if isinstance(tokenizer, FrozenEstimator) else best


def own_steps(tokenizer):
    """The active steps of a Pipeline, frozen or not, or the tokenizer as only step."""
    # A search or a FrozenEstimator has `steps` of the estimator in it.
    steps = vars(tokenizer).get("steps", [(None, tokenizer)])
    return [step for _, step in steps if step not in ("passthrough", None)]


def steps_of(tokenizer):
    """The active steps of a Pipeline, or the tokenizer as the only step."""
    return [unwrap(step) for step in own_steps(unwrap(tokenizer))]


def walk(tokenizer):
    """Yield a tokenizer and all estimators in it, from the outside in."""
    tokenizer = unwrap(tokenizer)
    yield tokenizer
    for step in steps_of(tokenizer):
        if step is not tokenizer:
            yield from walk(step)
    if hasattr(tokenizer, "tokenizer_"):
        yield from walk(tokenizer.tokenizer_)


def first_step(tokenizer):
    """The step whose input is the input of the tokenizer."""
    return _end_step(tokenizer, 0)


def last_step(tokenizer):
    """The step whose output is the output of the tokenizer."""
    return _end_step(tokenizer, -1)


def token_starts(tokenizer):
    """The first token of each kind: of stages, or of offset, gain and shape."""
    starts = getattr(last_step(tokenizer), "_token_starts", None)
    return [0] if starts is None else starts()


def code_vectors(tokenizer):
    """What the tokens of each kind stand for, as vectors of float64 (n_tokens, dim)."""
    last = last_step(tokenizer)
    if not hasattr(last, "_code_vectors"):
        raise TypeError(
            f"{type(last).__name__} does not say what its tokens stand for, expected a "
            "tokenizer whose last step is of sktok, such as make_tokenizer()."
        )
    return last._code_vectors()


def _end_step(tokenizer, index):
    tokenizer = unwrap(tokenizer)
    steps = steps_of(tokenizer)
    is_single = steps in ([], [tokenizer])
    return tokenizer if is_single else _end_step(steps[index], index)


def input_shape(tokenizer):
    """Shape of a row that a fitted tokenizer transforms."""
    step = first_step(tokenizer)
    return getattr(step, "row_shape_", (step.n_features_in_,))


def window_shape(tokenizer):
    """Number of leads, and of samples in a window of each lead."""
    shape = input_shape(tokenizer)
    has_leads = len(shape) == 3 or (len(shape) == 2 and takes_windows(tokenizer))
    return (shape[0], math.prod(shape[1:])) if has_leads else (1, math.prod(shape))


def takes_windows(tokenizer):
    """Whether three axes of its input are windows of several leads, and not blocks."""
    return any(getattr(part, "_row_kinds", None) is WINDOWS for part in walk(tokenizer))


def signal_facts(tokenizer):
    """What a tokenizer says of the signal: see `Resampler` and `LeadSelector`."""
    facts, steps = SignalFacts(), list(walk(tokenizer))
    for step in [step for step in steps if hasattr(step, "input_fs")][:1]:
        facts = SignalFacts(as_python(step.input_fs), step.unit, as_lead(step.lead))
    for step in [step for step in steps if hasattr(step, "input_leads_")][:1]:
        facts = facts._replace(lead=as_lead(step.input_leads_))
    return facts


def selects_leads(tokenizer):
    """Whether a tokenizer finds its leads by their names, see `LeadSelector`."""
    return any(hasattr(step, "input_leads_") for step in walk(tokenizer))


def default_channel(tokenizer):
    """The leads of a file for a tokenizer: those that it names, or the first one."""
    lead = signal_facts(tokenizer).lead
    return list(lead) if isinstance(lead, tuple) else 0


def as_lead(lead):
    """A lead as `SignalFacts` holds it: a name, a tuple of several names, or None.

    `lead` may also be that of a Bunch, which repeats the names for each window.
    """
    if lead is None or isinstance(lead, str):
        return lead
    names = np.asarray(lead)
    if names.ndim == 2 and (names == names[:1]).all():
        names = names[0]
    is_text = all(isinstance(name, str) for name in names.flat)
    if names.ndim != 1 or not (names.size and is_text):
        raise TypeError(f"lead={lead!r}: expected a name, or a sequence of names.")
    distinct = dict.fromkeys(map(str, names))
    if 1 < len(distinct) < len(names):
        raise ValueError(
            f"lead names {', '.join(distinct)}, some of them several times: name each "
            "lead once, or leave lead= out for a tokenizer of any lead."
        )
    return tuple(distinct) if len(distinct) > 1 else next(iter(distinct))


def reconcile(tokenizer, facts):
    """Compare the facts of a signal with those of the tokenizer that transforms it.

    Returns
    -------
    facts : SignalFacts
        What is known of the signal in the tokenizer's unit.

    factor : float
        Converts the signal to the tokenizer's unit.

    Raises
    ------
    ValueError
        If the signal has another rate, lead, or unit that does not convert.
    """
    expected = signal_facts(tokenizer)
    remedies = {
        "fs": "resample the signal when it is loaded (fs=)"
        + _rate_remedy(tokenizer, facts.fs),
        "unit": "convert the signal",
        "lead": "choose this lead, or fit a tokenizer without lead= for any lead",
    }
    if isinstance(expected.lead, tuple):
        remedies["lead"] = (
            "choose these leads when the signal is loaded (channel=), or let a "
            "LeadSelector in the tokenizer find them (sktok.with_leads)"
        )
    factor = conversion(facts.unit, expected.unit)
    if factor is not None:
        facts = facts._replace(unit=expected.unit)
    for name, remedy in remedies.items():
        found, wanted = getattr(facts, name), getattr(expected, name)
        is_same = found == wanted or (name == "fs" and _is_same_rate(found, wanted))
        is_same |= name == "lead" and _are_same_names(found, wanted)
        if None not in (found, wanted) and not is_same:
            raise ValueError(
                f"The signal has {name}={found!r}, but the tokenizer was fitted to "
                f"{name}={wanted!r}: {remedy}."
            )
    known = (b if a is None else a for a, b in zip(facts, expected, strict=True))
    return SignalFacts(*known), 1.0 if factor is None else factor


def _are_same_names(found, wanted):
    """Whether leads have the same names, in upper or lower case."""
    pairs = [
        names if isinstance(names, tuple) else (names,) for names in (found, wanted)
    ]
    found, wanted = ([str(name).casefold() for name in names] for names in pairs)
    return found == wanted


def _rate_remedy(tokenizer, fs):
    """How to let a tokenizer resample the signal, if its first step does so."""
    if not hasattr(first_step(tokenizer), "input_fs"):
        return ""
    params = unwrap(tokenizer).get_params()
    names = [name for name in params if name.rpartition("__")[2] == "input_fs"]
    if not names:
        return f", or set input_fs={fs} of the Resampler in its FrozenEstimator"
    owners = ("best_estimator_", "estimator")
    owner = next((f"{name}." for name in owners if hasattr(tokenizer, name)), "")
    return f", or let the tokenizer resample it by {owner}set_params({names[0]}={fs})"


def require_unit_kept(tokenizer, scale):
    """Raise if a signal is scaled to [0, 1] and the tokenizer takes another unit."""
    unit = signal_facts(tokenizer).unit
    if scale == "record" and unit is not None:
        raise ValueError(
            f"scale='record' scales records to [0, 1], but the tokenizer takes {unit}: "
            "leave scale out, or fit a tokenizer without unit= to scaled records."
        )


def _is_same_rate(found, wanted):
    # Some formats store the duration of a block of samples, so the rate is rounded.
    return None not in (found, wanted) and math.isclose(found, wanted, rel_tol=1e-9)


def vocabulary_size(tokenizer):
    """`n_tokens_` of a fitted tokenizer, or of the last step of a Pipeline."""
    last = last_step(tokenizer)
    if not hasattr(last, "n_tokens_"):
        raise ValueError(
            f"{type(last).__name__} has no n_tokens_, the size of a vocabulary: pass a "
            "fitted tokenizer with a quantiser as last step, such as make_tokenizer()."
        )
    return last.n_tokens_


def resize(tokenizer, row_shape):
    """Let a fitted tokenizer take rows of another shape, in place.

    Returns
    -------
    tuple of int
        Shape of the rows that it returns.
    """
    for step in steps_of(tokenizer):
        if hasattr(step, "steps"):
            row_shape = resize(step, row_shape)
        elif hasattr(step, "_resize"):
            row_shape = step._resize(row_shape)
        else:
            raise TypeError(
                f"{type(step).__name__} takes windows of one length only: fit a new "
                "tokenizer to windows of another length."
            )
    return row_shape


def take_leads(tokenizer, names):
    """Let a fitted tokenizer with a `LeadSelector` take other leads, in place."""
    selectors = [step for step in walk(tokenizer) if hasattr(step, "_take_leads")]
    if len(selectors) != 1:
        raise TypeError(
            f"{type(tokenizer).__name__} has {len(selectors)} steps LeadSelector, "
            "expected one: it says which leads the tokenizer encodes."
        )
    selectors[0]._take_leads(names)
    resize(tokenizer, (len(names), input_shape(tokenizer)[-1]))


def clip_rates(tokenizer, X):
    """For each step with limits: the share of values that it clips, and a remedy."""
    tokenizer = unwrap(tokenizer)
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
