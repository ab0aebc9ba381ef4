"""Streams: archives that do not fit into memory, and live signals.

`partial_fit` trains a tokenizer on an archive batch by batch, and `iter_transform` and
`iter_inverse_transform` go through it array by array. `TokenStream` and `SampleStream`
encode and decode a live signal, piece by piece, with a small delay. The tokens of a
window do not depend on other windows, so all of them give the tokens of one call.
"""

from sktok.streaming._archives import (
    iter_inverse_transform,
    iter_transform,
    partial_fit,
)
from sktok.streaming._live import SampleStream, TokenStream

__all__ = [
    "SampleStream",
    "TokenStream",
    "iter_inverse_transform",
    "iter_transform",
    "partial_fit",
]
