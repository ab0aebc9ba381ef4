"""Compression of tokens to bytes, without loss.

A `TokenCoder` learns from tokens of training patients and compresses tokens of other
patients to about the entropy that a small language model gives them.
"""

from sktok.coding._coder import TokenCoder, metadata_of

__all__ = ["TokenCoder", "metadata_of"]
