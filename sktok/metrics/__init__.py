"""Rate and distortion of a tokenizer, as scikit-learn scorers and plain functions.

A scorer is a function ``f(estimator, X, y=None)`` for the parameter `scoring` of
scikit-learn; higher is better. It calls `transform` and `inverse_transform` of any
transformer or Pipeline that has both.
"""

from sktok.metrics._description import TokenizerDescription, describe
from sktok.metrics._distortion import (
    neg_prd,
    neg_reconstruction_mae,
    neg_reconstruction_mse,
    prd,
    reconstruct,
    snr_db,
)
from sktok.metrics._heartbeats import heartbeat_f1
from sktok.metrics._rate import neg_bits_per_sample, token_entropy, token_usage
from sktok.metrics._selection import lowest_rate_within

__all__ = [
    "TokenizerDescription",
    "describe",
    "heartbeat_f1",
    "lowest_rate_within",
    "neg_bits_per_sample",
    "neg_prd",
    "neg_reconstruction_mae",
    "neg_reconstruction_mse",
    "prd",
    "reconstruct",
    "snr_db",
    "token_entropy",
    "token_usage",
]
