"""Quantisers: the protocol, and one file for each."""

from sktok._quantizers._bins import BinQuantizer
from sktok._quantizers._protocol import BaseQuantizer
from sktok._quantizers._residual import ResidualVectorQuantizer
from sktok._quantizers._vector import VectorQuantizer

__all__ = [
    "BaseQuantizer",
    "BinQuantizer",
    "ResidualVectorQuantizer",
    "VectorQuantizer",
]
