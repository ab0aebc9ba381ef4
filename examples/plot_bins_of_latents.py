"""
What do bins do to a latent space?
==================================

The paper "Da ECG a LLM" reduces a block to one number, its latent, and divides the
range of latents into 256 bins. The indices of the bins are the tokens. In Figure 3 of
the paper, the bins cover the range of the latents. In Figure 4, they cover -5 to 5,
chosen by hand. This example compares both on the ECG that comes with the package.

It takes half a minute on 2 cores, mostly for training.
"""

# %%
# Train the network of Table 1 of the paper without a quantiser. The Pipeline without
# its last step returns the latents.

import matplotlib.pyplot as plt
import numpy as np

from sktok import BinQuantizer, make_paper_tokenizer
from sktok.datasets import load_ecg
from sktok.metrics import token_entropy, token_usage
from sktok.plotting import QuantizationDisplay, ReconstructionDisplay

ecg = load_ecg()
minute = (ecg.start - ecg.start[0]) // (60 * ecg.fs)
fit, test = ecg.data[minute < 4], ecg.data[minute == 4]

compressor = make_paper_tokenizer(10, max_steps=1000, random_state=0)[:-1].fit(fit)
fit_latents, latents = compressor.transform(fit), compressor.transform(test)
for name, z in (("fitted on", fit_latents), ("held out", latents)):
    print(f"{name}: {z.size} latents from {z.min():.1f} to {z.max():.1f}")


def error(restored):
    """Root mean squared error in µV."""
    return 1000 * np.sqrt(np.mean((test - restored) ** 2))


# %%
# The bins lie between the smallest and the largest latent of training (Figure 3), or
# between -5 and 5 (Figure 4). The plots show three seconds of the held-out minute, with
# one latent for 10 samples.

limits = {"the range of the latents": "minmax", "-5 to 5": (-5, 5)}


def draw(n_bins):
    """Draw the same latents in bins between either limits."""
    _, axes = plt.subplots(
        2, figsize=(8, 6), sharex=True, sharey=True, layout="constrained"
    )
    for ax, (name, low_high) in zip(axes, limits.items(), strict=True):
        bins = BinQuantizer(n_bins, limits=low_high).fit(fit_latents)
        QuantizationDisplay.from_estimator(bins, latents[:4], ax=ax)
        ax.set_title(f"{n_bins} bins over {name}", loc="left")
        ax.set(xlabel="block", ylabel="latent (no unit)")
        ax.label_outer()


draw(n_bins=256)

# %%
# The steps of 256 bins are hardly visible. Those of 16 bins are:

draw(n_bins=16)

# %%
# The network alone already has an error, because one number cannot represent ten
# samples. Bins increase it. *Beyond* is the share of training latents outside the
# limits. They are assigned to the first and the last bin.

alone = error(compressor.inverse_transform(latents))
print(f"network alone, no bins: {alone:.1f} µV\n")
print("limits    n_bins  in use (%)  entropy (bits)  beyond (%)  error (µV)")
for low_high in limits.values():
    for n_bins in (16, 256):
        bins = BinQuantizer(n_bins, limits=low_high).fit(fit_latents)
        tokens = bins.transform(latents)
        low, high = bins.edges_[[0, -1]]
        beyond = np.mean((fit_latents < low) | (fit_latents > high))
        restored = compressor.inverse_transform(bins.inverse_transform(tokens))
        print(
            f"{low_high!s:8}  {n_bins:6d}  {100 * token_usage(tokens, n_bins):10.0f}"
            f"  {token_entropy(tokens):14.2f}  {100 * beyond:10.2f}"
            f"  {error(restored):10.1f}"
        )

# %%
# Reconstruction of the signal with the last of these quantisers:

_ = ReconstructionDisplay.from_arrays(
    test[:4], restored[:4], fs=ecg.fs, unit=ecg.unit, token_length=10
)

# %%
# **Answer:** bins round each latent to the centre of its bin, so the loss depends on
# the width of the bins. 256 bins lose very little compared with the network; 16 bins
# lose much more. The range of the latents clips nothing, but a few extreme latents of
# training widen all bins, and many bins stay empty. Limits chosen by hand depend on the
# network: -5 to 5 fits this one.
