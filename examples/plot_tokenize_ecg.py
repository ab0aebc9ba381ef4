"""
How does an ECG become tokens, and what comes back?
===================================================

A tokenizer turns windows of a signal into integers, and integers back into a signal. In
scikit-learn's words it is a transformer: ``fit`` learns it, ``transform`` gives the
tokens, and ``inverse_transform`` leads back to millivolts.

Half a minute on 2 cores, nearly all of it in training.
"""

# %%
# Five minutes of real ECG come with the package. A row is a window of 250 samples,
# which are 0.69 s. The first four minutes are for training; the fifth is held out.

import numpy as np

from sktok import make_tokenizer
from sktok.datasets import load_ecg
from sktok.metrics import describe
from sktok.plotting import ReconstructionDisplay, TokenStripDisplay

ecg = load_ecg()
minute = (ecg.start - ecg.start[0]) // (60 * ecg.fs)
fit, test = ecg.data[minute < 4], ecg.data[minute == 4]
print(f"{len(fit)} windows to fit on, {len(test)} to test, in {ecg.unit}")

# %%
# ``make_tokenizer`` builds a Pipeline of three steps: one affine map for the whole
# signal, a cut into blocks, and a network that makes one token of each block. Without
# ``max_steps`` it would train until more steps hardly help.

tokenizer = make_tokenizer(block_size=10, n_tokens=256, max_steps=600, random_state=0)
tokenizer.fit(fit)

# %%
# A window has become 25 tokens, one for 10 samples.

tokens = tokenizer.transform(test)
print(tokens.shape, tokens.dtype)
print(tokens[0])

# %%
# Here they stand under the ECG that they were made of, two windows in two rows.

_ = TokenStripDisplay.from_estimator(
    tokenizer,
    test[:2],
    fs=ecg.fs,
    unit=ecg.unit,
    seconds_per_row=test.shape[1] / ecg.fs,
)

# %%
# Tokens are all that ``inverse_transform`` needs.

restored = tokenizer.inverse_transform(tokens)
error = 1000 * np.sqrt(np.mean((test - restored) ** 2))
print(f"{restored.shape}: off by {error:.0f} µV (root mean square)")

# %%
# What comes back, drawn over what went in, and the difference below.

_ = ReconstructionDisplay.from_estimator(tokenizer, test[:9], fs=ecg.fs, unit=ecg.unit)

# %%
# What the tokenizer costs and what it loses, in words:

print(describe(tokenizer, test, fs=ecg.fs, unit=ecg.unit))

# %%
# So: an ECG of 360 samples a second becomes 36 tokens a second, each out of 256. What
# comes back is the same heartbeats at the same places, in a minute that training had
# not seen, with errors of some hundredths of a millivolt. They are largest where the
# signal is steepest.
