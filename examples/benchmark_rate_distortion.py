"""How much error does a bit buy, with each way to make tokens of an ECG?

Fits every tokenizer on the patients of DS1 and tests it on those of DS2 (MIT-BIH
Arrhythmia Database), for all seven block sizes of the paper with 256 tokens, and for
blocks of 10 with 16 to 4,096. Two fits at a time, each on one core, about two hours::

    SKTOK_DATA=FOLDER python examples/benchmark_rate_distortion.py [DOCS_FOLDER]

It writes ``rate_distortion.md``, with the answer, and its picture to the folder. Each
row of figures is added to ``rate_distortion.csv`` as soon as it is there, and not
computed again: delete the file, or the rows of a fit, to start anew.
"""

import sys
import time
from pathlib import Path

import joblib
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pywt
import torch
from benchmark_paper import PAPER, PAPER_COMPLETE
from scipy.signal import welch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.metrics import mean_squared_error
from sklearn.pipeline import make_pipeline
from tslearn.piecewise import OneD_SymbolicAggregateApproximation

from sktok import (
    BinQuantizer,
    BlockSegmenter,
    VectorQuantizer,
    make_paper_tokenizer,
    make_tokenizer,
)
from sktok.datasets import fetch_mitdb
from sktok.metrics import heartbeat_f1, prd, reconstruct, token_entropy, token_usage

CONFIGURATIONS = [  # block size, tokens
    *((block_size, 256) for block_size in PAPER),
    *((10, n_tokens) for n_tokens in (16, 64, 1024, 4096)),
]
SEARCHED = (10, 256)  # where tokens are searched for as well
SEEDS = (0, 1, 2)


class MeanOfBlock(TransformerMixin, BaseEstimator):
    """Blocks to their means, which are kept as they are: no tokens."""

    def fit(self, X, y=None):
        self.shape_ = X.shape
        return self

    def transform(self, X):
        return X.mean(axis=2)

    def inverse_transform(self, X):
        return np.repeat(X[..., np.newaxis], self.shape_[2], axis=2)


class FirstComponent(TransformerMixin, BaseEstimator):
    """Blocks to their first principal component, in bins between its quantiles."""

    def __init__(self, n_bins):
        self.n_bins = n_bins

    def fit(self, X, y=None):
        self.pca_ = PCA(1).fit(X.reshape(-1, X.shape[2]))
        scores = self._scores(X)
        limits = tuple(np.quantile(scores, [0.0005, 0.9995]))
        self.quantizer_ = BinQuantizer(self.n_bins, limits=limits).fit(scores)
        return self

    def _scores(self, X):
        scores = self.pca_.transform(X.reshape(-1, X.shape[2]))
        return scores.reshape(X.shape[:2])

    def transform(self, X):
        return self.quantizer_.transform(self._scores(X))

    def inverse_transform(self, X):
        scores = self.quantizer_.inverse_transform(X)
        blocks = self.pca_.inverse_transform(scores.reshape(-1, 1))
        return blocks.reshape(*scores.shape, -1)


class SlopesAtOnce(OneD_SymbolicAggregateApproximation):
    """tslearn's, which fits a regression to each segment: minutes of them."""

    def _get_slopes(self, X):
        time = np.arange(X.shape[1] / self.n_segments)
        time -= time.mean()
        segments = X.reshape(len(X), self.n_segments, len(time), X.shape[2])
        return np.einsum("nstd,t->nsd", segments, time / np.sum(time**2))


class OneDSax(TransformerMixin, BaseEstimator):
    """tslearn's 1d-SAX: level and slope of each segment, half of the bits for each."""

    def __init__(self, block_size, n_tokens):
        self.block_size = block_size
        self.n_tokens = n_tokens

    def fit(self, X, y=None):
        self.mean_, self.std_ = X.mean(), X.std()
        self.n_levels_ = round(self.n_tokens**0.5)
        self.sax_ = SlopesAtOnce(
            n_segments=X.shape[1] // self.block_size,
            alphabet_size_avg=self.n_levels_,
            alphabet_size_slope=self.n_levels_,
        ).fit(self._series(X))
        return self

    def transform(self, X):
        symbols = self.sax_.transform(self._series(X)).astype(int)
        return symbols[..., 0] * self.n_levels_ + symbols[..., 1]

    def _series(self, X):
        return ((X - self.mean_) / self.std_)[..., np.newaxis]

    def inverse_transform(self, X):
        symbols = np.stack(np.divmod(X, self.n_levels_), axis=-1)
        return self.sax_.inverse_transform(symbols)[..., 0] * self.std_ + self.mean_


def ours_with_bins(block_size, n_tokens, seed):
    tokenizer = make_tokenizer(block_size, random_state=seed)
    return tokenizer.set_params(tokenize__quantizer=BinQuantizer(n_tokens))


METHODS = {
    "paper's network": lambda block_size, n_tokens, seed: make_paper_tokenizer(
        block_size, n_tokens, limits="minmax", random_state=seed
    ),
    "block mean": lambda block_size, n_tokens, seed: make_pipeline(
        BlockSegmenter(block_size), MeanOfBlock()
    ),
    "PCA-1, bins": lambda block_size, n_tokens, seed: make_pipeline(
        BlockSegmenter(block_size), FirstComponent(n_tokens)
    ),
    "k-means": lambda block_size, n_tokens, seed: make_pipeline(
        BlockSegmenter(block_size), VectorQuantizer(n_tokens, random_state=seed)
    ),
    "1d-SAX": lambda block_size, n_tokens, seed: OneDSax(block_size, n_tokens),
    "ours, bins": ours_with_bins,
    "ours, codebook": lambda block_size, n_tokens, seed: make_tokenizer(
        block_size, n_tokens, random_state=seed
    ),
}


def load(split):
    """Windows of each record scaled to its own [0, 1]; record; what 1.0 is in mV."""
    scaled = fetch_mitdb(split, scale="record")
    raw = fetch_mitdb(split)
    span = pd.Series(np.ptp(raw.data, axis=1) / np.ptp(scaled.data, axis=1))
    millivolts = span.groupby(raw.record).transform("median").to_numpy()
    return scaled.data.astype(np.float32), scaled.record, millivolts, scaled.fs


def figures(X, X_hat, tokens, n_tokens, record, millivolts, fs):
    """MSE in the paper's units, and what else there is to say of a reconstruction."""
    X_mv, X_hat_mv = X * millivolts[:, None], X_hat * millivolts[:, None]
    row = {
        "mse": mean_squared_error(X, X_hat),
        "rmse_uv": 1000 * np.sqrt(mean_squared_error(X_mv, X_hat_mv)),
        "prd": prd(X_mv, X_hat_mv, centered=True),
        "heartbeat_f1": np.mean(
            [
                heartbeat_f1(X[record == name], X_hat[record == name], fs)
                for name in np.unique(record)
            ]
        ),
    }
    if tokens is not None:
        row["bits_per_token"] = token_entropy(tokens)
        row["bits_per_sample"] = row["bits_per_token"] * tokens[0].size / X.shape[1]
        row["usage"] = token_usage(tokens, n_tokens)
    return row


def n_moved_tokens(tokenizer, X):
    """How many tokens change if the windows come in another order, batch and thread."""
    whole = tokenizer.transform(X)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(X))
    n_moved = 0
    for part, rows in enumerate(np.array_split(order, np.sort(rng.choice(len(X), 50)))):
        torch.set_num_threads(1 + part % 2)
        if len(rows):
            n_moved += np.sum(tokenizer.transform(X[rows]) != whole[rows])
    torch.set_num_threads(1)
    return n_moved


def seconds_to_search(X, fs):
    """How long the search for the tokens of half an hour takes, on all cores."""
    windows = X[: round(1800 * fs / X.shape[1])]
    tokenizer = make_tokenizer(max_steps=1, n_candidates=6, random_state=0).fit(windows)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        tokenizer.transform(windows)
        seconds.append(time.perf_counter() - started)
    return np.median(seconds)


def run(method, block_size, n_tokens, seed, fit, test):
    """Fit one tokenizer on one core: its figures, and those of a search for tokens."""
    torch.set_num_threads(1)
    X_fit, (X, *context) = fit[0], test
    tokenizer = METHODS[method](block_size, n_tokens, seed)
    started = time.perf_counter()
    tokenizer.fit(X_fit)
    seconds = time.perf_counter() - started
    row = {"block_size": block_size, "n_tokens": n_tokens, "seed": seed}
    if method == "block mean":
        X_hat = reconstruct(tokenizer, X)
        return [{"method": method, **row, **figures(X, X_hat, None, 0, *context)}]
    rows = []
    search = method.startswith("ours") and (block_size, n_tokens) == SEARCHED
    for n_candidates in (1, 6) if search else (1,):
        name = method
        if n_candidates > 1:
            name = f"{method}, searched"
            tokenizer.set_params(tokenize__n_candidates=n_candidates)
        tokens = tokenizer.transform(X)
        X_hat = tokenizer.inverse_transform(tokens)
        result = figures(X, X_hat, tokens, n_tokens, *context)
        rows.append({"method": name, **row, "fit_seconds": seconds, **result})
    if method == "ours, codebook" and search and seed == 0:
        tokenizer.set_params(tokenize__n_candidates=1)
        n_tokens_all = X_fit.size // block_size
        n_moved = n_moved_tokens(tokenizer, X_fit)
        rows[0].update(n_tokens_compared=n_tokens_all, n_tokens_moved=n_moved)
    return rows


def wavelet_codec(x, step):
    """A classical codec: wavelet, uniform quantiser, ideal entropy coder.

    bior4.4 of 6 levels, one step size for all bands of a record, and the rate counted
    as each band's own empirical entropy: no bit stream is made. Returns bits per sample
    and mean squared error.
    """
    bands = pywt.wavedec(x, "bior4.4", mode="periodization", level=6)
    levels = [np.sign(c) * np.floor(np.abs(c) / step + 0.35) for c in bands]
    bits = sum(q.size * token_entropy(q.astype(int)) for q in levels)
    scaled = [q * step for q in levels]
    restored = pywt.waverec(scaled, "bior4.4", mode="periodization")
    return bits / x.size, np.mean((x - restored) ** 2)


def centred_records(X, record):
    """The signal of each record less its mean, as long as the wavelet can halve it."""
    for name in np.unique(record):
        x = X[record == name].ravel().astype(float)
        yield x[: x.size // 64 * 64] - x.mean()


def wavelet_mse(X, record, bits_per_sample):
    """Error of the wavelet codec with each record at that rate."""
    errors = []
    for x in centred_records(X, record):
        low, high = 1e-5, 1.0
        for _ in range(30):
            step = np.sqrt(low * high)
            bits, error = wavelet_codec(x, step)
            low, high = (step, high) if bits > bits_per_sample else (low, step)
        errors.append(error)
    return np.mean(errors)


def gaussian_bound(X, record, bits_per_sample):
    """Distortion-rate function of a Gaussian source with the records' mean spectrum.

    By reverse water-filling (T. M. Cover and J. A. Thomas, "Elements of information
    theory", section 10.3.3). ECG is not Gaussian: a yardstick, and no law.
    """
    signals = [X[record == name].ravel().astype(float) for name in np.unique(record)]
    spectrum = np.mean(
        [welch(x, 1.0, nperseg=4096, return_onesided=False)[1] for x in signals], axis=0
    )
    low, high = 1e-15, spectrum.max()
    for _ in range(100):
        level = np.sqrt(low * high)
        rate = np.mean(0.5 * np.log2(np.maximum(spectrum / level, 1)))
        low, high = (level, high) if rate > bits_per_sample else (low, level)
    return np.minimum(spectrum, level).mean()


def seeds_for(method, configuration):
    """Three seeds for what this is about, one for the rest."""
    about = method in ("paper's network", "k-means", "ours, codebook")
    about |= method == "ours, bins" and configuration == SEARCHED
    return SEEDS if about else SEEDS[:1]


def all_jobs():
    """Method, block size, vocabulary and seed of each fit; single seeds come last."""
    jobs = [
        (len(seeds_for(method, configuration)) == 1, seed, method, *configuration)
        for method in reversed(METHODS)
        for configuration in CONFIGURATIONS
        for seed in seeds_for(method, configuration)
    ]
    jobs.sort(key=lambda job: job[:2])
    return [(*job, seed) for _, seed, *job in jobs]


def run_all(path, fit, test):
    """All rows, two at a time; those that `path` holds already are not made again."""
    done = pd.read_csv(path) if path.exists() else pd.DataFrame()
    known = set()
    if len(done):
        key = done[["method", "block_size", "n_tokens", "seed"]]
        known = set(key.itertuples(index=False, name=None))
        print(f"{len(known)} rows are in {path} already.", flush=True)
    jobs = [job for job in all_jobs() if job not in known]
    results = joblib.Parallel(n_jobs=2, return_as="generator_unordered")(
        joblib.delayed(run)(*job, fit, test) for job in jobs
    )
    for rows in results:
        done = pd.concat([done, pd.DataFrame(rows)], ignore_index=True)
        done.to_csv(path, index=False, float_format="%.6g")
        last = rows[0]
        print(
            f"{last['method']:16s} block {last['block_size']:3d}, {last['n_tokens']} "
            f"tokens, seed {last['seed']}: MSE {last['mse']:.3e}, "
            f"{last.get('fit_seconds', 0):.0f} s",
            flush=True,
        )
    return pd.read_csv(path)


def median(results, method, column="mse"):
    """Median over the seeds, by block size and vocabulary."""
    rows = results[results["method"] == method]
    return rows.groupby(["block_size", "n_tokens"])[column].median()


def main_table(results, test):
    """Markdown: the error of every method in every configuration."""
    X, record = test[0], test[1]
    methods = [m for m in METHODS if m in set(results["method"])]
    mse = {method: median(results, method) for method in methods}
    searched = median(results, "ours, codebook, searched")
    bits = median(results, "ours, codebook", "bits_per_sample")
    heads = [*methods, "ours, codebook, searched", "wavelet codec", "Gaussian bound"]
    lines = [
        "| block | tokens | paper | " + " | ".join(heads) + " |",
        "|---" * (len(heads) + 3) + "|",
    ]
    for block_size, n_tokens in CONFIGURATIONS:
        at = block_size, n_tokens
        paper = f"{PAPER[block_size]:.2e}" if n_tokens == 256 else ""
        values = [
            *(mse[method].get(at, np.nan) for method in methods),
            searched.get(at, np.nan),
            wavelet_mse(X, record, bits[at]) if at in bits else np.nan,
            gaussian_bound(X, record, np.log2(n_tokens) / block_size),
        ]
        cells = ["" if np.isnan(value) else f"{value:.2e}" for value in values]
        lines.append(
            f"| {block_size} | {n_tokens} | {paper} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines)


def detail_table(results, method):
    """Markdown: everything measured of one method, medians over the seeds."""
    rows = results[results["method"] == method]
    table = rows.groupby(["block_size", "n_tokens"])
    spread = table["mse"].agg(["median", "min", "max", "size"])
    medians = table.median(numeric_only=True)
    lines = [
        "| block | tokens | MSE | seeds | RMSE (µV) | PRD (%) | bits/token | "
        "bits/sample | usage | heartbeat F1 | fit (s) |",
        "|---" * 11 + "|",
    ]
    for at in CONFIGURATIONS:
        if at not in medians.index:
            continue
        row, mse = medians.loc[at], spread.loc[at]
        error = f"{mse['median']:.2e}"
        if mse["size"] > 1:
            error += f" ({mse['min']:.2e}–{mse['max']:.2e})"
        cells = [
            error,
            f"{mse['size']:.0f}",
            f"{row['rmse_uv']:.1f}",
            f"{row['prd']:.1f}",
            f"{row['bits_per_token']:.2f}",
            f"{row['bits_per_sample']:.3f}",
            f"{row['usage']:.2f}",
            f"{row['heartbeat_f1']:.4f}",
            f"{row['fit_seconds']:.0f}",
        ]
        lines.append(f"| {at[0]} | {at[1]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(results, test, path):
    """Error against the rate that the vocabulary allows, one line for each method."""
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    styles = {
        "paper's network": ("0.65", "s", ":"),
        "1d-SAX": ("0.5", "^", ":"),
        "k-means": ("0.3", "D", "--"),
        "ours, bins": ("tab:blue", "o", "-"),
        "ours, codebook": ("tab:red", "o", "-"),
        "ours, codebook, searched": ("tab:orange", "v", "-"),
    }
    block_sizes = sorted(PAPER)
    rate = np.array([8 / block_size for block_size in block_sizes])
    for method, (color, marker, line) in styles.items():
        mse = median(results, method)
        at = [(block_size, 256) for block_size in block_sizes]
        errors = [mse.get(key, np.nan) for key in at]
        axes.plot(
            rate,
            errors,
            color=color,
            marker=marker,
            linestyle=line,
            markersize=5,
            label=method,
        )
    bound = [gaussian_bound(test[0], test[1], bits) for bits in rate]
    axes.plot(rate, bound, color="0.8", linewidth=4, zorder=0, label="Gaussian bound")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="rate: 8 bits over the block size (bits per sample)",
        ylabel="mean squared error, signal in [0, 1]",
    )
    axes.set_xticks(rate, [f"{bits:.3g}" for bits in rate])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main(folder="docs"):
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    fit, test = load("ds1"), load("ds2")
    results = run_all(folder / "rate_distortion.csv", fit, test)
    details = "\n\n".join(
        f"### {method}\n\n{detail_table(results, method)}"
        for method in results["method"].unique()
        if method != "block mean"
    )
    page = PAGE.format(
        n_fit=len(fit[0]),
        n_test=len(test[0]),
        n_fit_records=len(np.unique(fit[1])),
        n_test_records=len(np.unique(test[1])),
        paper_complete=PAPER_COMPLETE,
        table=main_table(results, test),
        details=details,
        n_compared=results["n_tokens_compared"].max(),
        n_moved=results["n_tokens_moved"].max(),
        search_seconds=seconds_to_search(test[0], test[3]),
    )
    draw(results, test, folder / "rate_distortion.png")
    (folder / "rate_distortion.md").write_text(page)


PAGE = """\
# Rate and distortion

How much error does a bit buy? Each tokenizer was fitted on {n_fit} windows of the
{n_fit_records} records of DS1 and tested on {n_test} windows of {n_test_records}
records of DS2 (MIT-BIH Arrhythmia Database, first lead), whose patients it had never
seen. Errors are mean squared errors of the signal scaled, record by record, to [0, 1]:
the unit of the paper. `make rate` makes this page.

![Error against rate](rate_distortion.png)

## Mean squared error

{table}

- *paper* is the paper's own figure, on its own data, for latents that are not
  quantised; with 256 bins it has {paper_complete} for blocks of 10.
- *block mean* keeps the exact mean of each block: these are no tokens.
- *PCA-1, bins* has bins over the first principal component of blocks.
- *k-means* is `VectorQuantizer` on blocks; *1d-SAX* is that of tslearn, half of the
  bits for the level and half for the slope.
- *ours, bins* is `make_tokenizer` with one number a block and that many uniform bins
  inside the network; *ours, codebook* is `make_tokenizer` as it is, and *searched* the
  same with `n_candidates=6`.
- *wavelet codec* is what a wavelet transform with an ideal entropy coder, fitted to
  each record, loses at the entropy of our tokens. It spends its bits on the beats.
- *Gaussian bound* is the distortion-rate function of a Gaussian source with the mean
  spectrum of the test records, at the logarithm of the vocabulary. ECG is not Gaussian,
  so this is a yardstick and no law.

Medians of three seeds for the paper's network, k-means and ours with a codebook, and
with 256 bins at blocks of 10; one seed elsewhere.

## Batches and search

Of {n_compared:,.0f} tokens (blocks of 10, codebook of 256), {n_moved:.0f} changed when
the windows came in another order, in batches of other sizes, and on one or two threads.
Searching for the tokens of half an hour of ECG with `n_candidates=6` took
{search_seconds:.1f} s (median of 5).

## Details

Error with its range over the seeds; RMSE and centred PRD in physical units; entropy of
the tokens, share of the vocabulary in use; heartbeats (R-peaks found in the
reconstruction within 50 ms of those in the signal, mean over the records); and seconds
to fit, on one core while another fit ran on the other.

{details}
"""


if __name__ == "__main__":
    main(*sys.argv[1:])
