"""A custom quantiser, as a user writes it: one class in its own module."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval

from sktok import BaseQuantizer


def mu_law(n_values, mu):
    """Values from -1 to 1, close together near 0 (ITU-T G.711)."""
    u = np.linspace(-1, 1, n_values)
    return np.sign(u) * np.expm1(np.abs(u) * np.log1p(mu)) / mu


class MuLawQuantizer(BaseQuantizer):
    """Scalar quantisation into bins that are narrow near zero."""

    _parameter_constraints: dict = {
        "n_bins": [Interval(Integral, 2, None, closed="left")],
        "mu": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, n_bins=256, *, mu=255.0):
        self.n_bins = n_bins
        self.mu = mu

    def learn(self, values):
        edges = np.abs(values).max() * mu_law(2 * self.n_bins + 1, self.mu)
        self.edges_, self.centers_ = edges[::2], edges[1::2].astype(values.dtype)
        self.n_tokens_ = int(self.n_bins)

    def quantize(self, values):
        return np.searchsorted(self.edges_[1:-1], values, side="right")

    def dequantize(self, tokens):
        return np.take(self.centers_, tokens)
