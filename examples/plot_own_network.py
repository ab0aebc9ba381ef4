"""
How do I plug in a network of my own?
=====================================

``ConvAETokenizer`` trains any autoencoder that keeps a small contract, which
:mod:`sktok.networks` states: ``encode`` leads from blocks to latents, and ``decode``
back. Quantiser, training, search and files come with the estimator.

Half a minute on 2 cores, nearly all of it in training.
"""

# %%
# Two layers each way, and every block by itself. The shapes are (windows, blocks,
# block_size) and (windows, blocks, latent_dim). ``initialize``, which may be left out,
# is called once with all training windows: here it learns level and size of the signal.
# ``reach`` says how many neighbours a restored block depends on.

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from sktok import make_tokenizer
from sktok.datasets import load_ecg
from sktok.metrics import neg_reconstruction_mse
from sktok.plotting import ReconstructionDisplay, TrainingDisplay

# sphinx_gallery_thumbnail_number = 2


class TwoLayers(nn.Module):
    reach = 0

    def __init__(self, block_size, latent_dim, width=64):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(block_size, width), nn.GELU(), nn.Linear(width, latent_dim)
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, width), nn.GELU(), nn.Linear(width, block_size)
        )
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def initialize(self, windows):
        self.mean.copy_(windows.mean())
        self.scale.copy_(windows.std())

    def encode(self, x):
        return self.encoder((x - self.mean) / self.scale)

    def decode(self, z):
        return self.decoder(z) * self.scale + self.mean


# %%
# The parameter ``network`` takes the class, not an instance of it: a grid may ask for
# other block sizes. Beside it the network that comes with the package, which reads each
# block among its neighbours.

ecg = load_ecg()
minute = (ecg.start - ecg.start[0]) // (60 * ecg.fs)
fit, test = ecg.data[minute < 4], ecg.data[minute == 4]

tokenizers = {}
for name, network in (("contextual", "contextual"), ("two layers", TwoLayers)):
    tokenizer = make_tokenizer(block_size=10, max_steps=400, random_state=0)
    tokenizers[name] = tokenizer.set_params(tokenize__network=network).fit(fit)
tokenizers["two layers"]

# %%
# Both are trained by the same steps, on the signal scaled to [0, 1]. The contextual
# network starts from principal components, and so with little error.

_, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for ax, (name, tokenizer) in zip(axes, tokenizers.items(), strict=True):
    TrainingDisplay.from_estimator(tokenizer, ax=ax)
    ax.set_title(name, loc="left")
    ax.label_outer()

# %%
# What they make of the minute that neither has seen.

_, axes = plt.subplots(
    2, figsize=(8, 5), sharex=True, sharey=True, layout="constrained"
)
for ax, (name, tokenizer) in zip(axes, tokenizers.items(), strict=True):
    ReconstructionDisplay.from_estimator(
        tokenizer, test[:4], fs=ecg.fs, unit=ecg.unit, ax=ax
    )
    error = 1000 * np.sqrt(-neg_reconstruction_mse(tokenizer, test))
    n_weights = sum(w.numel() for w in tokenizer["tokenize"].network_.parameters())
    ax.set_title(f"{name}: {error:.0f} µV", loc="left")
    ax.label_outer()
    print(f"{name}: {n_weights:,} weights, {error:.0f} µV")

# %%
# So: pass its class as ``network``. What it needs are ``encode`` and ``decode`` of the
# right shapes; grids, tokens and the way back to millivolts are the same as for the one
# that comes with the package. This small one restores every block by itself, and its
# error is the higher for it.
