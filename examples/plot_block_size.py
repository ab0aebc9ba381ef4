"""
Which block size?
=================

One token stands for one block. Longer blocks make fewer tokens, so that a language
model sees more seconds at once; and one token out of the same vocabulary has to tell
more samples. Here are four sizes at the same vocabulary of 256.

Half a minute on 2 cores, nearly all of it in training.
"""

# %%
# Each tokenizer is trained on the first four minutes and measured on the fifth: its
# rate, as the entropy of its tokens in bits a sample, and its error in microvolts.

import matplotlib.pyplot as plt
import numpy as np

from sktok import make_tokenizer
from sktok.datasets import load_ecg
from sktok.metrics import neg_bits_per_sample, neg_reconstruction_mse
from sktok.plotting import ReconstructionDisplay

ecg = load_ecg()
minute = (ecg.start - ecg.start[0]) // (60 * ecg.fs)
fit, test = ecg.data[minute < 4], ecg.data[minute == 4]

tokenizers, rates, errors = {}, {}, {}
print("block size  tokens/s  bits/sample  error (µV)")
for size in (5, 10, 25, 50):
    tokenizer = make_tokenizer(size, 256, max_steps=200, random_state=0).fit(fit)
    tokenizers[size] = tokenizer
    rates[size] = -neg_bits_per_sample(tokenizer, test)
    errors[size] = 1000 * np.sqrt(-neg_reconstruction_mse(tokenizer, test))
    print(
        f"{size:10d}  {ecg.fs / size:8.1f}  {rates[size]:11.2f}  {errors[size]:10.0f}"
    )

# %%
# Rate and error pull in opposite ways: twice the block size is about half the rate, at
# about one and a half times the error.

_, ax = plt.subplots(figsize=(8, 4), layout="constrained")
ax.plot(rates.values(), errors.values(), color="0.6", marker="o", markerfacecolor="C3")
for size in tokenizers:
    ax.annotate(
        f"blocks of {size}",
        (rates[size], errors[size]),
        xytext=(8, 4),
        textcoords="offset points",
    )
_ = ax.set(
    xlim=(0, 1.25 * max(rates.values())),
    ylim=(0, 1.15 * max(errors.values())),
    xlabel="rate (bits a sample)",
    ylabel="error (µV, root mean square)",
)

# %%
# Three seconds of the minute not seen, by each of them.

_, axes = plt.subplots(
    4, figsize=(8, 9), sharex=True, sharey=True, layout="constrained"
)
for ax, (size, tokenizer) in zip(axes, tokenizers.items(), strict=True):
    ReconstructionDisplay.from_estimator(
        tokenizer, test[:4], fs=ecg.fs, unit=ecg.unit, ax=ax
    )
    ax.set_title(f"blocks of {size}: {errors[size]:.0f} µV", loc="left")
    ax.label_outer()

# %%
# So: the longest block whose error you can live with. With 5 samples a token follows
# even the noise; with 10, at less than half the bits, the waves are smooth and in their
# places; with 25 and 50 the heartbeats are still there, but their peaks come out too
# low or too high, and between them steps appear where blocks meet.
