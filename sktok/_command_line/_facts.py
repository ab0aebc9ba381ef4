"""Properties of tokenizers and corpora, by name, and their text."""

import math
from dataclasses import asdict

import numpy as np
from sklearn.pipeline import Pipeline

from sktok._steps import signal_facts, walk
from sktok.corpus import Vocabulary
from sktok.persistence import saved_by


def tokenizer_facts(path, tokenizer):
    """The properties of a tokenizer and of its file, ready for JSON."""
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    n_samples = vocabulary.n_leads * vocabulary.window_length
    n_bits = math.log2(vocabulary.n_tokens) * vocabulary.tokens_per_window
    steps = [step for step in walk(tokenizer) if not isinstance(step, Pipeline)]
    facts = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "saved_by_sktok": saved_by(path.read_bytes())[1],
        **asdict(vocabulary),
        **signal_facts(tokenizer)._asdict(),
        "bits_per_sample_at_most": round(n_bits / n_samples, 4),
        "estimators": [type(step).__name__ for step in steps],
    }
    for step in steps:
        if hasattr(step, "block_size_"):  # first that of the segmenter, of one lead
            facts.setdefault("block_size", step.block_size_)
        if hasattr(step, "loss_curve_"):
            facts["training_steps"] = step.n_steps_
            facts["last_training_loss"] = step.loss_curve_[-1]
            facts["training_is_complete"] = step.is_complete_
    # Later steps do not scale the signal itself, but a Resampler keeps its amplitude.
    first = next(step for step in steps if not hasattr(step, "input_fs"))
    if hasattr(first, "data_range_"):
        facts["amplitude_range"] = [
            first.data_min_,
            first.data_min_ + first.data_range_,
        ]
    return facts


def corpus_facts(folder, corpus):
    """The properties of a corpus, ready for JSON."""
    vocabulary, first = corpus.vocabulary, next(iter(corpus.records), {})
    facts = {
        "folder": str(folder),
        **asdict(vocabulary),
        "dtype": vocabulary.dtype.name,
        "fs": first.get("fs"),
        "unit": first.get("unit"),
        "leads": sorted({lead for entry in corpus.records for lead in _leads(entry)}),
    }
    for split in ("train", "val"):
        entries = [entry for entry in corpus.records if entry["split"] == split]
        facts[split] = {
            "records": len({entry["record"] for entry in entries}),
            "patients": len({entry["group"] for entry in entries}),
            "windows": sum(n for entry in entries for _, n in entry["runs"]),
            "missing_windows": int(np.sum(corpus[split] == vocabulary.missing_id)),
            "ids": len(corpus[split]),
        }
    return facts


def _leads(entry):
    lead = entry["lead"] or "unknown"
    return lead if isinstance(lead, list) else [lead]


def as_lines(facts):
    """Names and values in two columns."""
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            value = [f"{n:,} {key.replace('_', ' ')}" for key, n in value.items()]
        values = value if isinstance(value, list | tuple) else [value]
        text = ", ".join(map(_as_text, values))
        lines.append(f"{name.replace('_', ' '):<24}{text}")
    return "\n".join(lines)


def _as_text(value):
    if value is None:
        return "unknown"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
