"""
How do tokens become a corpus for a language model?
===================================================

A language model is trained on files of ids: one long sequence, with marks where records
begin and end, and some records set aside. ``write_corpus`` makes them of records, and
``Vocabulary`` knows what an id means and which tokenizer it belongs to.

A quarter of a minute on 2 cores.
"""

# %%
# A tokenizer with a small vocabulary, 64 tokens, since five minutes of ECG are a small
# corpus.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sktok import make_tokenizer
from sktok.corpus import read_corpus, write_corpus
from sktok.datasets import load_ecg
from sktok.metrics import token_entropy

ecg = load_ecg()
minute = (ecg.start - ecg.start[0]) // (60 * ecg.fs)
tokenizer = make_tokenizer(block_size=10, n_tokens=64, max_steps=300, random_state=0)
tokenizer.fit(ecg.data[minute < 4])

# %%
# Each minute is written as a record of its own, named by its position; the last is for
# validation. With real records, give their paths, and a share of the patients.

temporary = tempfile.TemporaryDirectory()  # a folder of your own, that is
folder = Path(temporary.name) / "corpus"
minutes = [ecg.data[minute == m] for m in range(5)]
write_corpus(folder, minutes, tokenizer, validation=["4"])
for path in sorted(folder.iterdir()):
    print(f"{path.name:14} {path.stat().st_size:6d} bytes")

# %%
# Read back, the ids are arrays on the disk. They begin with ``<bos>``, and the tokens
# follow the special ones.

corpus = read_corpus(folder)
vocabulary = corpus.vocabulary
print(f"{len(vocabulary)} ids, {len(corpus.train)} to train on, {len(corpus.val)} not")
print(*(vocabulary.texts[i] for i in corpus.train[:8]), "...")

# %%
# The smallest language model counts pairs: how often did each id follow this one? Where
# counts are few, it leans on how frequent the id is at all (Witten and Bell, 1991).

train, val = np.array(corpus.train), np.array(corpus.val)
temporary.cleanup()
pairs = np.zeros((len(vocabulary), len(vocabulary)))
np.add.at(pairs, (train[:-1], train[1:]), 1)
frequency = np.bincount(train, minlength=len(vocabulary)) + 1.0
frequency /= frequency.sum()
n_kinds = np.maximum(np.count_nonzero(pairs, axis=1, keepdims=True), 1)
model = (pairs + n_kinds * frequency) / (pairs.sum(axis=1, keepdims=True) + n_kinds)

print("bits of a token in the held-out minute")
print(f"  if all were equally frequent:   {np.log2(vocabulary.n_tokens):.2f}")
print(f"  by their frequencies (entropy): {token_entropy(val):.2f}")
bits = -np.log2(model[val[:-1], val[1:]]).mean()
print(f"  by the model, from the last id: {bits:.2f}")

# %%
# What it writes: each id drawn from the row of the one before. ``restore`` makes ECG of
# ids, and refuses those of another tokenizer.

rng = np.random.default_rng(0)
n_special = len(vocabulary) - vocabulary.n_tokens
n_ids = 4 * vocabulary.tokens_per_window
written = [int(val[1])]
while len(written) < n_ids:
    chances = model[written[-1], n_special:]
    written.append(n_special + rng.choice(len(chances), p=chances / chances.sum()))
pieces = {
    "the held-out minute": minutes[4][:4],
    "restored from its ids": vocabulary.restore(val[1 : n_ids + 1], tokenizer),
    "written by the model of pairs": vocabulary.restore(written, tokenizer),
}

_, axes = plt.subplots(
    3, figsize=(8, 6), sharex=True, sharey=True, layout="constrained"
)
for ax, (title, piece) in zip(axes, pieces.items(), strict=True):
    ax.plot(np.arange(piece.size) / ecg.fs, piece.ravel(), color="0.3", linewidth=1)
    ax.set_title(title, loc="left")
    ax.set(xlabel="time (s)", ylabel=f"amplitude ({ecg.unit})")
    ax.margins(x=0)
    ax.label_outer()

# %%
# So: ``write_corpus`` makes flat files of ids, records one behind the other and some
# set aside; ``read_corpus`` maps them into memory, and ``restore`` turns ids into
# millivolts again. Counting pairs alone saves a good part of the bits of each token,
# and writes waves that pass for those of an ECG, but no rhythm: that takes a model with
# a longer memory, and more than five minutes to learn from.
