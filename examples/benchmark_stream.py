"""How late are the tokens of a live signal, and how much computation do they take?

Real ECG at 250 Hz is pushed into a `TokenStream` in pieces of several lengths, and its
tokens into a `SampleStream`, as they come. The delay is the time from a sample to the
piece with which its token is returned, or the restored sample. It takes a minute on 2
cores::

    python examples/benchmark_stream.py

It prints a table. Delays are in ms of signal. The calls of `transform` and of
`inverse_transform` are those for a second of signal, and the cost is in ms of CPU time
for a second of signal. The last line answers the question.
"""

import time

import numpy as np
import pandas as pd

from sktok import make_paper_tokenizer, make_tokenizer
from sktok.datasets import load_ecg, windows_from
from sktok.streaming import SampleStream, TokenStream

FS = 250
BLOCK_SIZE = 10
PIECES = (10, 50, 250)  # samples
SECONDS = 20
MAX_STEPS = 300


def load():
    """Windows of a second to fit, and a signal of `SECONDS` to push."""
    ecg = load_ecg()
    rates = {"fs": ecg.fs, "output_fs": FS, "window_length": FS}
    windows = windows_from(ecg.data.ravel(), unit=ecg.unit, **rates).data
    return windows[:-SECONDS], windows[-SECONDS:].ravel()


def timed(push, piece):
    started = time.process_time()
    outputs = push(piece)
    return len(outputs), time.process_time() - started, outputs


def run(tokenizer, signal, length):
    """Numbers of tokens and of samples with each piece, and the seconds they take."""
    encoder, decoder = TokenStream(tokenizer), SampleStream(tokenizer)
    counts, seconds = [], []
    for piece in np.split(signal, len(signal) // length):
        n_tokens, encoding, tokens = timed(encoder.push, piece)
        n_samples, decoding, _ = timed(decoder.push, tokens)
        counts.append((n_tokens, n_samples))
        seconds.append((encoding, decoding))
    return np.transpose(counts), np.sum(seconds, axis=0)


def delays(counts, length, samples_per_output):
    """Delay of each sample in ms; outputs come with the last sample of their piece."""
    arrived = length * np.arange(1, len(counts) + 1) - 1
    arrived = np.repeat(arrived, samples_per_output * counts)
    return 1000 / FS * (arrived - np.arange(len(arrived)))


def main():
    X, signal = load()
    options = {"max_steps": MAX_STEPS, "random_state": 0}
    tokenizers = {
        "make_tokenizer": make_tokenizer(BLOCK_SIZE, **options),
        "make_paper_tokenizer": make_paper_tokenizer(BLOCK_SIZE, **options),
    }
    directions = {"to tokens": BLOCK_SIZE, "to tokens and back": 1}
    rows = []
    for name, tokenizer in tokenizers.items():
        run(tokenizer.fit(X), signal[:FS], FS)  # warm up
        for length in PIECES:
            counts, seconds = run(tokenizer, signal, length)
            for direction, count, cost in zip(directions, counts, seconds, strict=True):
                late = delays(count, length, directions[direction])
                row = {"tokenizer": name, "direction": direction, "piece": length}
                row |= {"largest delay": late.max(), "mean delay": late.mean()}
                row["calls"] = np.count_nonzero(count) / SECONDS
                rows.append(row | {"cost": 1000 * cost / SECONDS})
    table = pd.DataFrame(rows)
    print(table.round(1).to_string(index=False))
    late = table.groupby("direction")["largest delay"].max()
    print(
        f"\nTokens are at most {late['to tokens']:.0f} ms late, and restored samples "
        f"{late['to tokens and back']:.0f} ms. A second of signal takes at most "
        f"{table['cost'].max():.1f} ms of CPU time in each direction."
    )


if __name__ == "__main__":
    main()
