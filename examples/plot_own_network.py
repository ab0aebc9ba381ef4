"""
How do I use a custom network?
==============================

``ConvAETokenizer`` trains any autoencoder with the interface that
:mod:`sktok.networks` describes: ``encode`` turns blocks into latents, and ``decode``
turns latents into blocks. The estimator provides quantiser, training and search.

It takes half a minute on 2 cores, mostly for training.
"""

# %%
# The network has two layers in each direction and processes every block separately. The
# shapes are (windows, blocks, block_size) and (windows, blocks, latent_dim).
# ``initialize`` is optional and is called once with all training windows. Here it
# stores the mean and the standard deviation of the signal. ``context_radius`` is the
# number of blocks on each side that a restored block depends on.

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
    context_radius = 0

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
# The parameter ``network`` takes the class and not an instance, because a grid search
# may change the block size. The network is compared with the default network of the
# package, which processes each block together with its neighbours.

ecg = load_ecg()
minute = (ecg.start - ecg.start[0]) // (60 * ecg.fs)
fit, test = ecg.data[minute < 4], ecg.data[minute == 4]

tokenizers = {}
for name, network in (("contextual", "contextual"), ("two layers", TwoLayers)):
    tokenizer = make_tokenizer(block_size=10, max_steps=400, random_state=0)
    tokenizers[name] = tokenizer.set_params(tokenize__network=network).fit(fit)
tokenizers["two layers"]

# %%
# Both are trained for the same number of steps on the signal scaled to [0, 1]. The
# contextual network starts from principal components, with a small error.

_, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for ax, (name, tokenizer) in zip(axes, tokenizers.items(), strict=True):
    TrainingDisplay.from_estimator(tokenizer, ax=ax)
    ax.set_title(name, loc="left")
    ax.label_outer()

# %%
# Reconstructions of the held-out minute.

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
# **Answer:** pass its class as ``network``. It needs the methods ``encode`` and
# ``decode`` with the right shapes. Grid search, tokens and reconstruction in millivolts
# work as with the default network. This small network restores every block separately,
# which increases its error.
