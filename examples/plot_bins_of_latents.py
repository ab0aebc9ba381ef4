"""
What do bins do to a latent space?
==================================

The paper "Da ECG a LLM" reduces a block to one number, its latent, and divides the
range of latents into 256 bins, whose indices are the tokens. Its Figure 3 has bins over
the range that the latents have; its Figure 4 over -5 to 5, chosen by hand. Here are
both on the ECG that comes with the package.

Half a minute on 2 cores, nearly all of it in training.
"""

# %%
# The network of the paper's Table 1, trained without a quantiser. All but the last step
# of the Pipeline gives the latents.

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
    """Root mean square in microvolts."""
    return 1000 * np.sqrt(np.mean((test - restored) ** 2))


# %%
# Figure 3 has bins between the smallest and the largest latent of training, Figure 4
# between -5 and 5, whatever the latents are. Three seconds of the held-out minute, one
# latent for 10 samples:

limits = {"the range of the latents": "minmax", "-5 to 5": (-5, 5)}


def draw(n_bins):
    """The same latents in bins between both limits."""
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
# The steps of 256 bins can hardly be told from the latents. Those of 16 can:

draw(n_bins=16)

# %%
# What is lost? The network alone has an error already: one number does not tell ten
# samples. Bins add to it. *Beyond* are the latents of training outside the limits,
# which the end bins swallow.

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
# The whole way, by the last of them:

_ = ReconstructionDisplay.from_arrays(
    test[:4], restored[:4], fs=ecg.fs, unit=ecg.unit, token_length=10
)

# %%
# So: bins round each latent to the middle of its bin, and what that loses is a matter
# of its width. 256 bins lose next to nothing beside what the network has lost before
# them; 16 lose much more. The range of the latents cuts nothing off, but a few extremes
# of training make all of its bins wider, and many stay empty. Limits by hand are as
# good as the guess: -5 to 5 happens to suit this network.
