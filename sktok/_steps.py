"""Access to the estimators of a fitted tokenizer.

A fitted tokenizer is an estimator of sktok, a Pipeline or a search over one. It may
hold another tokenizer as `tokenizer_`, as `GainShapeTokenizer` does.
"""


def unwrap(tokenizer):
    """The best estimator of a search, or the tokenizer itself."""
    return getattr(tokenizer, "best_estimator_", tokenizer)


def steps_of(tokenizer):
    """The active steps of a Pipeline, or the tokenizer as the only step."""
    tokenizer = unwrap(tokenizer)
    steps = getattr(tokenizer, "steps", [(None, tokenizer)])
    return [step for _, step in steps if step not in ("passthrough", None)]


def walk(tokenizer):
    """Yield a tokenizer and all estimators in it, from the outside in."""
    tokenizer = unwrap(tokenizer)
    yield tokenizer
    for step in steps_of(tokenizer):
        if step is not tokenizer:
            yield from walk(step)
    if hasattr(tokenizer, "tokenizer_"):
        yield from walk(tokenizer.tokenizer_)


def last_step(tokenizer):
    """The step whose output is the output of the tokenizer."""
    tokenizer = unwrap(tokenizer)
    steps = steps_of(tokenizer)
    return tokenizer if steps in ([], [tokenizer]) else last_step(steps[-1])


def vocabulary_size(tokenizer):
    """`n_tokens_` of a fitted tokenizer, or of the last step of a Pipeline."""
    last = last_step(tokenizer)
    if not hasattr(last, "n_tokens_"):
        raise ValueError(
            f"{type(last).__name__} has no n_tokens_, the size of a vocabulary: pass a "
            "fitted tokenizer with a quantiser as last step, such as make_tokenizer()."
        )
    return last.n_tokens_


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
