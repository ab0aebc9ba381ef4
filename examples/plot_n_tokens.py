"""
How many tokens?
================

A larger vocabulary represents blocks more precisely. A language model then has more
tokens to learn, and sees each of them less often. This example compares vocabularies of
16 to 1,024 tokens, with one token for a block of 10 samples.

It takes half a minute on 2 cores, mostly for training.
"""

# %%
# Each tokenizer is trained on the first four minutes and tested on the fifth. If all
# tokens were equally frequent, each would cost ``log2(n_tokens)`` bits. With their
# actual frequencies, it costs the entropy, which is lower.

import matplotlib.pyplot as plt
import numpy as np

from sktok import make_tokenizer
from sktok.datasets import load_ecg
from sktok.metrics import neg_reconstruction_mse, token_entropy, token_usage
from sktok.plotting import TokenUsageDisplay

ecg = load_ecg()
minute = (ecg.start - ecg.start[0]) // (60 * ecg.fs)
fit, test = ecg.data[minute < 4], ecg.data[minute == 4]

sizes = [16, 64, 256, 1024]
tokens, entropies, errors = {}, [], []
print("n_tokens  log2  entropy (bits)  in use (%)  error (µV)")
for n_tokens in sizes:
    tokenizer = make_tokenizer(10, n_tokens, max_steps=200, random_state=0).fit(fit)
    tokens[n_tokens] = tokenizer.transform(test)
    entropies.append(token_entropy(tokens[n_tokens]))
    errors.append(1000 * np.sqrt(-neg_reconstruction_mse(tokenizer, test)))
    print(
        f"{n_tokens:8d}  {np.log2(n_tokens):4.0f}  {entropies[-1]:14.2f}"
        f"  {100 * token_usage(tokens[n_tokens], n_tokens):10.0f}  {errors[-1]:10.0f}"
    )

# %%
# Frequencies of the tokens in the held-out minute, in descending order.

_, axes = plt.subplots(2, 2, figsize=(10, 6), layout="constrained")
for ax, n_tokens in zip(axes.flat, sizes, strict=True):
    TokenUsageDisplay.from_tokens(tokens[n_tokens], n_tokens, ax=ax)
    ax.set_title(f"{n_tokens} tokens", loc="left")
    if n_tokens > sizes[0]:
        ax.get_legend().remove()  # it is the same in all plots

# %%
# The rate (bits per token) and the error.

_, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.plot(sizes, np.log2(sizes), color="0.6", linestyle="--", label="log2(n_tokens)")
left.plot(sizes, entropies, color="C3", marker="o", label="entropy")
left.set(ylabel="bits per token", ylim=(0, None))
left.legend(frameon=False)
right.plot(sizes, errors, color="C3", marker="o")
right.set(ylabel="error (µV)", ylim=(0, None))
for ax in (left, right):
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, sizes)
    ax.set_xlabel("n_tokens")

# %%
# **Answer:** as many as the recording can fill. Each step to four times the tokens
# costs at most two more bits and reduces the error by less than the step before. This
# minute has 2,150 tokens. With a vocabulary of 1,024, many tokens occur once or never,
# and a model can learn little about them. 256 is a good start; larger vocabularies need
# more data.
