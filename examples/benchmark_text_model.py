"""Does a text model learn ECG sooner if its embeddings start from the codebook?

The tokens of ECG are added to a text model, which then learns to predict the next token
of the ECG of the patients of DS1 (MIT-BIH Arrhythmia Database), by the same steps from
each start of the new embeddings: at random and at the mean, the two ways of
`resize_token_embeddings` in `transformers`, and from the codebook, by `extend_model`.
The bits of a token of the patients of DS2 are measured::

    SKTOK_DATA=FOLDER python examples/benchmark_text_model.py [MODEL]

MODEL is that of `train_text_model.py`: `make text` gives SmolLM2. It takes twenty
minutes on 2 cores, the same for each start. It prints a table.
"""

import math
import sys
import time

import numpy as np
import torch
from sklearn.utils import Bunch
from torch.nn.functional import cross_entropy
from train_text_model import load_text_model

from sktok import load_pretrained
from sktok.corpus import Vocabulary, extend_model, extend_tokenizer
from sktok.datasets import fetch_mitdb, load_ecg

N_STEPS = 60  # of training, from each start
WINDOW_SECONDS = 10
WINDOWS = 2  # of a sequence
BATCH_SIZE = 4
LEARNING_RATE = 1e-3
N_SCORED = 32  # sequences of the patients of DS2
STARTS = {
    "random": lambda model, vocabulary, _: resize(model, vocabulary, False),
    "mean": lambda model, vocabulary, _: resize(model, vocabulary, True),
    "codebook": lambda model, vocabulary, tokenizer: extend_model(
        model, vocabulary, tokenizer, random_state=0
    ),
}


def resize(model, vocabulary, mean_resizing):
    n_ids = vocabulary.first_id + len(vocabulary)
    model.resize_token_embeddings(n_ids, mean_resizing=mean_resizing)


def load():
    """Windows of DS1 and of DS2, or of four minutes and a fifth, as Bunches."""
    options = {"window_seconds": WINDOW_SECONDS, "missing": "drop"}
    try:
        return [
            fetch_mitdb(split, download_if_missing=False, **options)
            for split in ("ds1", "ds2")
        ]
    except OSError:
        ecg = load_ecg(window_length=360 * WINDOW_SECONDS)
        parts = slice(24), slice(24, None)
        names = "data", "groups"
        return [Bunch(fs=360, **{n: ecg[n][part] for n in names}) for part in parts]


def sequences(tokens, groups, vocabulary):
    """Ids of each `WINDOWS` consecutive windows of a patient, after ``<ecg>``."""
    pairs = np.lib.stride_tricks.sliding_window_view(np.arange(len(tokens)), WINDOWS)
    pairs = [rows for rows in pairs if len(set(groups[rows])) == 1]
    ids = [[vocabulary.bos_id, *vocabulary.encode(tokens[rows])] for rows in pairs]
    return torch.tensor(np.array(ids, dtype=np.int64))


def bits(model, ids):
    """Bits of a token of ECG, among all ids."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(ids[:, :-1]).logits
    nats = cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())
    return nats / math.log(2)


@torch.inference_mode()
def test_bits(model, ids):
    model.eval()
    rows = ids[np.linspace(0, len(ids) - 1, min(N_SCORED, len(ids)), dtype=int)]
    found = [bits(model, batch).item() for batch in rows.split(BATCH_SIZE)]
    model.train()
    return np.mean(found)


def train(model, ids):
    """Train all of the model, the rate going down to a tenth."""
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=0.01
    )
    for step in range(N_STEPS):
        for group in optimizer.param_groups:
            share = min(1, (step + 1) / 10) * (1 - 0.9 * step / N_STEPS)
            group["lr"] = LEARNING_RATE * share
        optimizer.zero_grad()
        bits(model, ids[rng.integers(len(ids), size=BATCH_SIZE)]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def main(folder=None):
    fit, test = load()
    tokenizer = load_pretrained(
        "ecg-12hz-v1", fs=fit.fs, window_length=fit.data.shape[1]
    )
    tokens, test_tokens = (tokenizer.transform(part.data) for part in (fit, test))
    print("| start | before training (bits/token) | after it | minutes |")
    print("|---|---|---|---|")
    for name, start in STARTS.items():
        torch.manual_seed(0)
        model, text_tokenizer = load_text_model(folder)
        vocabulary = Vocabulary.from_tokenizer(tokenizer)
        vocabulary = extend_tokenizer(text_tokenizer, vocabulary)
        start(model, vocabulary, tokenizer)
        fit_ids = sequences(tokens, fit.groups, vocabulary)
        test_ids = sequences(test_tokens, test.groups, vocabulary)
        before = test_bits(model, test_ids)
        started = time.perf_counter()
        train(model, fit_ids)
        minutes = (time.perf_counter() - started) / 60
        after = test_bits(model, test_ids)
        print(f"| {name} | {before:.2f} | {after:.2f} | {minutes:.0f} |", flush=True)
    count = np.bincount(tokens.ravel(), minlength=vocabulary.n_tokens) + 0.5
    unigram = -np.log2(count / count.sum())[test_tokens].mean()
    print(f"| frequencies of tokens alone | | {unigram:.2f} | |")


if __name__ == "__main__":
    main(*sys.argv[1:])
