"""
How do I tokenize a live signal?
================================

A chest strap sends a few samples at a time. ``TokenStream`` takes them in pieces of any
length and returns each token as soon as no later sample can change it. ``SampleStream``
turns the tokens back into signal in the same way. The results are those of
``transform`` and ``inverse_transform`` for the whole signal.

It takes a quarter of a minute on 2 cores, mostly for training.
"""

# %%
# Fit a tokenizer on four minutes of ECG. The fifth minute is not used for fitting.

import matplotlib.pyplot as plt
import numpy as np

from sktok import make_tokenizer
from sktok.datasets import load_ecg
from sktok.plotting import ReconstructionDisplay
from sktok.streaming import SampleStream, TokenStream

ecg = load_ecg()
minute = (ecg.start - ecg.start[0]) // (60 * ecg.fs)
tokenizer = make_tokenizer(max_steps=300, random_state=0).fit(ecg.data[minute < 4])

# %%
# A token depends on the samples of its block and, with this network, on the 8 blocks
# after it, if they are in the same window. The attribute ``delay`` is the number of
# samples to wait for.

encoder, decoder = TokenStream(tokenizer), SampleStream(tokenizer)
print(f"a token waits for at most {encoder.delay} samples,")
print(f"which are {1000 * encoder.delay / ecg.fs:.0f} ms at {ecg.fs} Hz,")
print(f"and its samples wait for at most {decoder.delay} further tokens")

# %%
# Push three seconds in pieces of 37 samples. ``flush`` fills the last window up by
# repeating its last sample, and returns its remaining tokens.

signal = ecg.data[minute == 4].ravel()[: 3 * ecg.fs]
n_arrived, tokens, restored = [], [], []
for first in range(0, len(signal), 37):
    piece = signal[first : first + 37]
    n_arrived.append(first + len(piece))
    tokens.append(encoder.push(piece))
    restored.append(decoder.push(tokens[-1]))
    if first < 10 * 37:
        n_tokens, n_restored = len(tokens[-1]), len(restored[-1])
        print(f"{n_arrived[-1]} samples: {n_tokens} tokens, {n_restored} restored")
n_arrived.append(len(signal))
tokens.append(encoder.flush())
restored.append(decoder.push(tokens[-1]))

# %%
# All tokens together are those of whole windows:

missing = -len(signal) % 250
windows = np.pad(signal, (0, missing), mode="edge").reshape(-1, 250)
print(np.array_equal(np.concatenate(tokens), tokenizer.transform(windows).ravel()))

# %%
# In the second plot, each dot is a token at the time when it is returned; its colour is
# the number of the token. The line begins at the first sample of the block, so its
# length is the delay. When a window of 250 samples is complete, its last tokens are
# returned together.

n_blocks = -(-len(signal) // 10)  # without those of the filling only
returned = np.repeat(n_arrived, [len(of_piece) for of_piece in tokens])[:n_blocks]
block = np.arange(n_blocks)

_, axes = plt.subplots(3, figsize=(9, 8), sharex=True, layout="constrained")
axes[0].plot(np.arange(len(signal)) / ecg.fs, signal, color="black", linewidth=1)
for arrived in n_arrived:
    axes[0].axvline(arrived / ecg.fs, color="0.85", zorder=0)
axes[0].set(title="samples arrive in pieces", ylabel="amplitude (mV)")
axes[1].hlines(block, 10 * block / ecg.fs, returned / ecg.fs, color="0.75", linewidth=1)
axes[1].scatter(
    returned / ecg.fs, block, s=14, c=np.concatenate(tokens)[:n_blocks], zorder=2
)
axes[1].set(title="tokens are returned", ylabel="block")
axes[1].invert_yaxis()
ReconstructionDisplay(
    signal, np.concatenate(restored)[: len(signal)], fs=ecg.fs, unit=ecg.unit
).plot(ax=axes[2])
_ = axes[2].set(title="signal restored from the tokens")

# %%
# **Answer:** push the samples into a ``TokenStream`` as they arrive, and its tokens
# into a ``SampleStream`` to restore the signal. Tokens come a quarter of a second late
# with ``make_tokenizer``. With ``make_paper_tokenizer`` they come with the last sample
# of their block, but the restored signal has a larger error.
