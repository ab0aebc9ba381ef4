"""What trains a quantiser between encoder and decoder."""

import copy

import numpy as np
import torch
from torch import nn


class Bottleneck(nn.Module):
    """A quantiser in training: latents to ``(quantized, penalty)``.

    What happens to latents is up to the quantiser's own `bottleneck`. This module holds
    what training needs: the quantiser's trained arrays as parameters, and its state.

    Parameters
    ----------
    quantizer : BaseQuantizer
        Its `bottleneck` may change it.

    state : dict of str to ndarray or number
        What `quantizer.start_training` returned; arrays become buffers.

    generator : torch.Generator
        For random choices in training.
    """

    def __init__(self, quantizer, state, generator):
        super().__init__()
        self.quantizer = quantizer
        self.generator = generator
        self.replaced = {}
        self._state_names = list(state)
        for name in quantizer.trained_arrays:
            weight = nn.Parameter(torch.tensor(getattr(quantizer, name)))
            self.register_parameter(name, weight)
        for name, value in state.items():
            if isinstance(value, np.ndarray):
                self.register_buffer(name, torch.tensor(value))
            else:
                setattr(self, name, value)

    def forward(self, latents):
        return self.quantizer.bottleneck(latents, self)

    def replace_rows(self, name, rows, values):
        """Overwrite rows of a trained array, whose optimiser then starts again."""
        getattr(self, name).data[rows] = values
        self.replaced[name] = rows

    def reset_moments(self, optimizer):
        """Clear gradients and moments of replaced rows: they belong to old values."""
        for name, rows in self.replaced.items():
            weight = getattr(self, name)
            weight.grad[rows] = 0.0
            for moment in ("exp_avg", "exp_avg_sq"):
                if moment in optimizer.state[weight]:
                    optimizer.state[weight][moment][rows] = 0.0
        self.replaced = {}

    def to_plain(self):
        """The state as arrays and numbers, for another `Bottleneck`."""
        state = {name: getattr(self, name) for name in self._state_names}
        return {
            n: v.cpu().numpy() if torch.is_tensor(v) else v for n, v in state.items()
        }

    def collect_result(self):
        """A copy of the quantiser with the trained arrays."""
        quantizer = copy.deepcopy(self.quantizer)
        for name in quantizer.trained_arrays:
            weight = getattr(self, name).detach().cpu()
            setattr(quantizer, name, weight.numpy().copy())
        return quantizer
