"""
Ordered bins or a codebook?
===========================

Bins divide an axis into steps: tokens 100 and 101 are neighbours and represent similar
blocks. A codebook is a list of vectors: tokens 100 and 101 are unrelated. This example
trains both inside the same network with 256 tokens each, and also bins in two
dimensions, 16 by 16.

It takes half a minute on 2 cores, mostly for training.
"""

# %%
# The quantiser is a parameter of the step ``tokenize`` and is trained with the network.

import matplotlib.pyplot as plt
import numpy as np

from sktok import BinQuantizer, VectorQuantizer, make_tokenizer
from sktok.datasets import load_ecg
from sktok.metrics import token_entropy
from sktok.plotting import CodebookDisplay

ecg = load_ecg()
minute = (ecg.start - ecg.start[0]) // (60 * ecg.fs)
fit, test = ecg.data[minute < 4], ecg.data[minute == 4]

tokenizers = {
    "256 bins": BinQuantizer(256),
    "16 × 16 bins": BinQuantizer((16, 16)),
    "codebook of 256": VectorQuantizer(256),
}
for name, quantizer in tokenizers.items():
    tokenizer = make_tokenizer(block_size=10, max_steps=300, random_state=0)
    tokenizers[name] = tokenizer.set_params(tokenize__quantizer=quantizer).fit(fit)


# %%
# How large is the error, and how much larger is it if a language model writes the
# neighbouring token? To measure this, the token in the middle of each window is
# replaced by the next token.


def error(windows):
    """Root mean squared error in µV."""
    return 1000 * np.sqrt(np.mean((test - windows) ** 2))


errors = {}
print("                 entropy (bits)  error (µV)  one token off by one (µV)")
for name, tokenizer in tokenizers.items():
    tokens = tokenizer.transform(test)
    moved = tokens.copy()
    moved[:, 12] += np.where(moved[:, 12] < 255, 1, -1)
    errors[name] = [error(tokenizer.inverse_transform(t)) for t in (tokens, moved)]
    print(
        f"{name:15}  {token_entropy(tokens):14.2f}  {errors[name][0]:10.0f}"
        f"  {errors[name][1]:25.0f}"
    )

# %%
# As a bar plot:

_, ax = plt.subplots(figsize=(8, 4), layout="constrained")
place = np.arange(len(errors))
for shift, color, label, values in zip(
    (-0.2, 0.2),
    ("0.7", "C3"),
    ("as encoded", "one token of each window off by one"),
    np.transpose(list(errors.values())),
    strict=True,
):
    bars = ax.bar(place + shift, values, width=0.4, color=color, label=label)
    ax.bar_label(bars, fmt="%.0f")
ax.set_xticks(place, errors)
ax.set(ylabel="error (µV)")
_ = ax.legend(frameon=False)

# %%
# The blocks that the tokens of the codebook represent, the most frequent first. Their
# numbers, above the blocks, are in no particular order.

_ = CodebookDisplay.from_estimator(
    tokenizers["codebook of 256"], test, unit=ecg.unit, fs=ecg.fs
)

# %%
# **Answer:** a codebook for the lowest error, bins for tokens that tolerate mistakes.
# At the same size of vocabulary the codebook restores the ECG best, but the next token
# is an unrelated block and spoils the window. With 256 bins the same mistake is hardly
# visible. Bins of 16 by 16 have no advantage here: their steps are coarse, and the
# token after the last of 16 steps is far from it.
