"""How many bytes do tokens take on the disk, and how fast are they coded?

A tokenizer and a `TokenCoder` are fitted to the training patients of MIT-BIH (DS1) and
code the records of its test patients (DS2). It takes ten minutes on 2 cores, and needs
MIT-BIH, see `fetch_mitdb`::

    python examples/benchmark_coding.py

It prints a table: bits per token of general-purpose compressors, of the entropy of the
tokens without context, and of the coder, with chunks of one window and of several
sizes. Then it prints the bytes above the ideal cost, and the speed on one
core, as the median of three runs. The last line answers the question.
"""

import lzma
import time
import zlib

import numpy as np
import pandas as pd

from sktok import make_tokenizer
from sktok.coding import TokenCoder
from sktok.datasets import fetch_mitdb
from sktok.metrics import token_entropy

N_TOKENS = 1024
CHUNK_SIZES = (2_500, 5_000, 10_000, 20_000, 70_000)  # tokens; the last is a record
REPEATS = 3


def tokens_of(tokenizer, subset):
    """Tokens of a subset of MIT-BIH and the record of each window."""
    ecg = fetch_mitdb(subset, scale="record", download_if_missing=False)
    return tokenizer.transform(ecg.data), ecg.record


def fitted(n_tokens=N_TOKENS, max_steps="auto"):
    """A tokenizer and a coder, fitted to the training patients."""
    ecg = fetch_mitdb("ds1", scale="record", download_if_missing=False)
    tokenizer = make_tokenizer(
        n_tokens=n_tokens, max_steps=max_steps, random_state=0
    ).fit(ecg.data)
    coder = TokenCoder(max_steps=max_steps, random_state=0)
    tokens = tokenizer.transform(ecg.data)
    return tokenizer, coder.fit(tokens, groups=ecg.record, tokenizer=tokenizer)


def rates(coder, X, records):
    """Bits per token of all ways to code tokens, by name."""
    bits = {}
    raw = X.astype("<u2").tobytes()
    bits["DEFLATE (zlib, level 9)"] = 8 * len(zlib.compress(raw, 9)) / X.size
    bits["LZMA (xz)"] = 8 * len(lzma.compress(raw, preset=9)) / X.size
    bits["entropy, no context"] = token_entropy(X)
    for size in (1, *CHUNK_SIZES):
        coder.set_params(chunk_size=size)
        name = (
            "TokenCoder, single windows"
            if size == 1
            else f"TokenCoder, chunks {size:,}"
        )
        bits[f"{name}, ideal"] = coder.bits_per_token(X, groups=records)
    return bits


def speed(coder, X, records):
    """Bytes, and tokens per second of `compress` and `decompress`."""
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        data = coder.compress(X, groups=records)
        encoded = time.perf_counter()
        restored = coder.decompress(data)
        seconds.append((encoded - started, time.perf_counter() - encoded))
        if not np.array_equal(restored, X):
            raise RuntimeError("The tokens did not come back.")
    return len(data), X.size / np.median(seconds, axis=0)


def main(**params):
    started = time.perf_counter()
    tokenizer, coder = fitted(**params)
    print(f"fit: {time.perf_counter() - started:.0f} s, tokenizer and coder")
    X, records = tokens_of(tokenizer, "ds2")
    bits = rates(coder, X, records)
    print(pd.Series(bits).to_string(float_format="{:.3f}".format))
    coder.set_params(chunk_size=TokenCoder().chunk_size)
    n_bytes, (encoding, decoding) = speed(coder, X, records)
    ideal = coder.bits_per_token(X, groups=records) * X.size / 8
    print(f"{n_bytes:,} bytes, {n_bytes / ideal - 1:.2%} above the ideal")
    print(f"{encoding:,.0f} tokens/s to compress, {decoding:,.0f} to decompress")
    saved = 1 - 8 * n_bytes / X.size / bits["entropy, no context"]
    print(f"TokenCoder takes {saved:.0%} less than the entropy without context.")


if __name__ == "__main__":
    main()
