"""
How does an ECG become tokens and an ECG again?
===============================================

A tokenizer turns windows of a signal into integers, and integers into a signal. It is a
transformer of scikit-learn: ``fit`` trains it, ``transform`` returns the tokens, and
``inverse_transform`` restores the signal in millivolts.

It takes half a minute on 2 cores, mostly for training.
"""

# %%
# Five minutes of real ECG come with the package. A row is a window of 250 samples (0.69
# s). The first four minutes are for training; the fifth is held out.

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
# ``make_tokenizer`` returns a Pipeline of three steps: scale the signal, divide windows
# into blocks, and turn each block into a token with a network. Without ``max_steps``,
# training continues until more steps hardly reduce the error.

tokenizer = make_tokenizer(block_size=10, n_tokens=256, max_steps=600, random_state=0)
tokenizer.fit(fit)

# %%
# Each window becomes 25 tokens, one for 10 samples.

tokens = tokenizer.transform(test)
print(tokens.shape, tokens.dtype)
print(tokens[0])

# %%
# Two windows in two rows, with the tokens below the samples that they represent.

_ = TokenStripDisplay.from_estimator(
    tokenizer,
    test[:2],
    fs=ecg.fs,
    unit=ecg.unit,
    seconds_per_row=test.shape[1] / ecg.fs,
)

# %%
# ``inverse_transform`` restores the signal from the tokens alone.

restored = tokenizer.inverse_transform(tokens)
error = 1000 * np.sqrt(np.mean((test - restored) ** 2))
print(f"{restored.shape}: root mean squared error {error:.0f} µV")

# %%
# The signal and its reconstruction, with the error below.

_ = ReconstructionDisplay.from_estimator(tokenizer, test[:9], fs=ecg.fs, unit=ecg.unit)

# %%
# A summary of rate and error:

print(describe(tokenizer, test, fs=ecg.fs, unit=ecg.unit))

# %%
# **Answer:** ``transform`` turns 360 samples per second into 36 tokens per second, each
# from a vocabulary of 256, and ``inverse_transform`` turns them into ECG. In a minute
# outside the training data, the restored heartbeats are the same and at the same
# places. The errors are some hundredths of a millivolt, and largest where the signal is
# steepest.
