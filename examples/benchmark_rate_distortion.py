"""How much error remains at each rate, for each way to make tokens of an ECG?

Fits every tokenizer on the patients of DS1 and tests it on those of DS2 (MIT-BIH
Arrhythmia Database): for the seven block sizes of the paper with 256 tokens, and for
blocks of 10 with 16 to 4,096. Two fits run at a time, each on one core. All of them
take about two hours, blocks of 10 with 256 tokens half an hour::

    export SKTOK_DATA=FOLDER
    python examples/benchmark_rate_distortion.py [DOCS_FOLDER]
    python examples/benchmark_rate_distortion.py --blocks 10 --tokens 256

It writes ``rate_distortion.md``, with the answer, and its picture to the folder. Each
row of figures is saved to ``rate_distortion.csv`` as soon as it is measured. Complete
rows are not measured again: delete the file, or some rows, to start over.
"""

import argparse
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
from benchmark_paper import ADC_ZERO, PAPER, PAPER_COMPLETE, errors, load
from scipy.signal import welch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from tslearn.piecewise import OneD_SymbolicAggregateApproximation

from sktok import (
    BinQuantizer,
    BlockSegmenter,
    VectorQuantizer,
    make_paper_tokenizer,
    make_tokenizer,
)
from sktok.metrics import heartbeat_f1, reconstruct, token_entropy, token_usage

CONFIGURATIONS = [  # block size, tokens
    *((block_size, 256) for block_size in PAPER),
    *((10, n_tokens) for n_tokens in (16, 64, 1024, 4096)),
]
SEARCHED = (10, 256)  # the configuration with a search for tokens
SEEDS = (0, 1, 2)
KEY = ["method", "block_size", "n_tokens", "seed"]
COLUMNS = [
    *KEY,
    "fit_seconds",
    "mse",
    "rmse_uv",
    "prdn_mean",
    "prdn_worst",
    "prd_with_offset",
    "heartbeat_f1",
    "bits_per_token",
    "bits_per_sample",
    "usage",
    "n_tokens_compared",
    "n_tokens_moved",
]


class MeanOfBlock(TransformerMixin, BaseEstimator):
    """Replaces blocks by their means, which are not quantised."""

    def fit(self, X, y=None):
        self.shape_ = X.shape
        return self

    def transform(self, X):
        return X.mean(axis=2)

    def inverse_transform(self, X):
        return np.repeat(X[..., np.newaxis], self.shape_[2], axis=2)


class FirstComponent(TransformerMixin, BaseEstimator):
    """The first principal component of blocks, in bins between its quantiles."""

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
    """tslearn's 1d-SAX without a regression for each segment, which takes minutes."""

    def _get_slopes(self, X):
        time = np.arange(X.shape[1] / self.n_segments)
        time -= time.mean()
        segments = X.reshape(len(X), self.n_segments, len(time), X.shape[2])
        return np.einsum("nstd,t->nsd", segments, time / np.sum(time**2))


class OneDSax(TransformerMixin, BaseEstimator):
    """tslearn's 1d-SAX: half of the bits for the level, half for the slope."""

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


def figures(X_hat, tokens, n_tokens, test):
    """All figures of one reconstruction of the test records."""
    X, record = test.data, test.record
    beats = [
        heartbeat_f1(X[record == name], X_hat[record == name], test.fs)
        for name in np.unique(record)
    ]
    row = {**errors(X_hat, test), "heartbeat_f1": np.mean(beats)}
    if tokens is not None:
        row["bits_per_token"] = token_entropy(tokens)
        row["bits_per_sample"] = row["bits_per_token"] * tokens[0].size / X.shape[1]
        row["usage"] = token_usage(tokens, n_tokens)
    return row


def n_moved_tokens(tokenizer, X):
    """Number of tokens that change with the order, the batches and the threads."""
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
    """Time to search for the tokens of half an hour of ECG, on all cores."""
    windows = X[: round(1800 * fs / X.shape[1])]
    tokenizer = make_tokenizer(max_steps=1, n_candidates=6, random_state=0).fit(windows)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        tokenizer.transform(windows)
        seconds.append(time.perf_counter() - started)
    return np.median(seconds)


def run(method, block_size, n_tokens, seed, X_fit, test):
    """Fit one tokenizer on one core; one row of figures, and one with a search."""
    torch.set_num_threads(1)
    tokenizer = METHODS[method](block_size, n_tokens, seed)
    started = time.perf_counter()
    tokenizer.fit(X_fit)
    seconds = time.perf_counter() - started
    row = {"block_size": block_size, "n_tokens": n_tokens, "seed": seed}
    if method == "block mean":
        result = figures(reconstruct(tokenizer, test.data), None, 0, test)
        return [{"method": method, **row, **result}]
    rows = []
    search = method.startswith("ours") and (block_size, n_tokens) == SEARCHED
    for n_candidates in (1, 6) if search else (1,):
        name = method
        if n_candidates > 1:
            name = f"{method}, searched"
            tokenizer.set_params(tokenize__n_candidates=n_candidates)
        tokens = tokenizer.transform(test.data)
        result = figures(tokenizer.inverse_transform(tokens), tokens, n_tokens, test)
        rows.append({"method": name, **row, "fit_seconds": seconds, **result})
    if method == "ours, codebook" and search and seed == 0:
        tokenizer.set_params(tokenize__n_candidates=1)
        rows[0]["n_tokens_compared"] = X_fit.size // block_size
        rows[0]["n_tokens_moved"] = n_moved_tokens(tokenizer, X_fit)
    return rows


def wavelet_codec(x, step):
    """A classical codec: wavelet, uniform quantiser, ideal entropy coder.

    bior4.4 with 6 levels and one step size for all bands of a record. The rate is the
    empirical entropy of each band; no bit stream is written. Returns bits per sample
    and mean squared error.
    """
    bands = pywt.wavedec(x, "bior4.4", mode="periodization", level=6)
    levels = [np.sign(c) * np.floor(np.abs(c) / step + 0.35) for c in bands]
    bits = sum(q.size * token_entropy(q.astype(int)) for q in levels)
    scaled = [q * step for q in levels]
    restored = pywt.waverec(scaled, "bior4.4", mode="periodization")
    return bits / x.size, np.mean((x - restored) ** 2)


def centred_records(X, record):
    """Yield each record less its mean, cropped to a multiple of 64 samples."""
    for name in np.unique(record):
        x = X[record == name].ravel().astype(float)
        yield x[: x.size // 64 * 64] - x.mean()


def wavelet_mse(X, record, bits_per_sample):
    """Mean squared error of the wavelet codec with each record at the given rate."""
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

    Computed by reverse water-filling (T. M. Cover and J. A. Thomas, "Elements of
    information theory", section 10.3.3). ECG is not Gaussian, so this is a reference
    and not a bound for ECG.
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
    """Three seeds for the methods that matter most, one for the others."""
    all_seeds = method in ("paper's network", "k-means", "ours, codebook")
    all_seeds |= method == "ours, bins" and configuration == SEARCHED
    return SEEDS if all_seeds else SEEDS[:1]


def jobs_of(configurations):
    """Method, block size, vocabulary and seed of each fit; single seeds come last."""
    jobs = [
        (len(seeds_for(method, configuration)) == 1, seed, method, *configuration)
        for method in reversed(METHODS)
        for configuration in configurations
        for seed in seeds_for(method, configuration)
    ]
    jobs.sort(key=lambda job: job[:2])
    return [(*job, seed) for _, seed, *job in jobs]


def run_all(path, configurations, X_fit, test):
    """Measure the rows that are missing or incomplete at `path`; return all rows."""
    results, known = pd.DataFrame(), set()
    if path.exists():
        results = pd.read_csv(path)
        complete = results.dropna(subset="prdn_mean")
        known = set(complete[KEY].itertuples(index=False, name=None))
        print(f"{path} has {len(known)} complete rows.", flush=True)
    jobs = [job for job in jobs_of(configurations) if job not in known]
    measured = joblib.Parallel(n_jobs=2, return_as="generator_unordered")(
        joblib.delayed(run)(*job, X_fit, test) for job in jobs
    )
    for rows in measured:
        results = pd.concat([results, pd.DataFrame(rows)], ignore_index=True)
        results = results.drop_duplicates(KEY, keep="last").sort_values(KEY)
        results.reindex(columns=COLUMNS).to_csv(path, index=False, float_format="%.6g")
        last = rows[0]
        print(
            f"{last['method']:16s} block {last['block_size']:3d}, {last['n_tokens']} "
            f"tokens, seed {last['seed']}: MSE {last['mse']:.3e}, "
            f"PRD {last['prdn_mean']:.2f} %, {last.get('fit_seconds', 0):.0f} s",
            flush=True,
        )
    return pd.read_csv(path)


def median(results, method, column="mse"):
    """Median over the seeds, for each block size and vocabulary."""
    rows = results[results["method"] == method]
    return rows.groupby(["block_size", "n_tokens"])[column].median()


def main_table(results, test):
    """Markdown: the error of every method in every configuration."""
    X, record = test.data, test.record
    mse = {method: median(results, method) for method in METHODS}
    searched = median(results, "ours, codebook, searched")
    bits = median(results, "ours, codebook", "bits_per_sample")
    heads = [*METHODS, "ours, codebook, searched", "wavelet codec", "Gaussian bound"]
    lines = [
        "| block | tokens | paper | " + " | ".join(heads) + " |",
        "|---" * (len(heads) + 3) + "|",
    ]
    for block_size, n_tokens in CONFIGURATIONS:
        at = block_size, n_tokens
        paper = f"{PAPER[block_size]:.2e}" if n_tokens == 256 else ""
        values = [
            *(mse[method].get(at, np.nan) for method in METHODS),
            searched.get(at, np.nan),
            wavelet_mse(X, record, bits[at]) if at in bits else np.nan,
            gaussian_bound(X, record, np.log2(n_tokens) / block_size),
        ]
        cells = ["" if np.isnan(value) else f"{value:.2e}" for value in values]
        lines.append(
            f"| {block_size} | {n_tokens} | {paper} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines)


DETAILS = {  # head of a column: name and format of the figure
    "RMSE (µV)": ("rmse_uv", ".1f"),
    "PRD (%)": ("prdn_mean", ".1f"),
    "worst record": ("prdn_worst", ".1f"),
    "with offset": ("prd_with_offset", ".2f"),
    "bits/token": ("bits_per_token", ".2f"),
    "bits/sample": ("bits_per_sample", ".3f"),
    "usage": ("usage", ".2f"),
    "heartbeat F1": ("heartbeat_f1", ".4f"),
    "fit (s)": ("fit_seconds", ".0f"),
}


def detail_table(results, method):
    """Markdown: all figures of one method, medians over the seeds."""
    rows = results[results["method"] == method]
    table = rows.groupby(["block_size", "n_tokens"])
    spread = table["mse"].agg(["median", "min", "max", "size"])
    medians = table.median(numeric_only=True)
    lines = [
        "| block | tokens | MSE | seeds | " + " | ".join(DETAILS) + " |",
        "|---" * (4 + len(DETAILS)) + "|",
    ]
    for at in CONFIGURATIONS:
        if at not in medians.index:
            continue
        mse = spread.loc[at]
        error = f"{mse['median']:.2e}"
        if mse["size"] > 1:
            error += f" ({mse['min']:.2e}–{mse['max']:.2e})"
        cells = [f"{at[0]}", f"{at[1]}", error, f"{mse['size']:.0f}"]
        for name, form in DETAILS.values():
            value = medians.loc[at, name]
            cells.append("" if np.isnan(value) else f"{value:{form}}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def details(results):
    """Markdown: the figures of all methods that make tokens."""
    names = [name for m in reversed(METHODS) for name in (m, f"{m}, searched")]
    known = set(results["method"]) - {"block mean"}
    return "\n\n".join(
        f"### {name}\n\n{detail_table(results, name)}"
        for name in names
        if name in known
    )


def search_section(results, test):
    """Markdown: moved tokens and the time of a search, where they were measured."""
    n_compared, n_moved = results[["n_tokens_compared", "n_tokens_moved"]].max()
    if np.isnan(n_compared):
        return ""
    return SEARCH.format(
        n_compared=n_compared,
        n_moved=n_moved,
        search_seconds=seconds_to_search(test.data, test.fs),
    )


def draw(results, test, path):
    """Draw the error against the rate of the vocabulary, one line for each method."""
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
    bound = [gaussian_bound(test.data, test.record, bits) for bits in rate]
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


def main(folder="docs", blocks=None, tokens=None):
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    fit, test = load("ds1"), load("ds2")
    X_fit, test.data = fit.data.astype(np.float32), test.data.astype(np.float32)
    configurations = [
        (block_size, n_tokens)
        for block_size, n_tokens in CONFIGURATIONS
        if block_size in (blocks or [block_size]) and n_tokens in (tokens or [n_tokens])
    ]
    path = folder / "rate_distortion.csv"
    results = run_all(path, configurations, X_fit, test)
    page = PAGE.format(
        n_fit=len(X_fit),
        n_test=len(test.data),
        n_fit_records=len(np.unique(fit.record)),
        n_test_records=len(np.unique(test.record)),
        paper_complete=PAPER_COMPLETE,
        table=main_table(results, test),
        search=search_section(results, test),
        details=details(results),
        adc_zero=ADC_ZERO,
    )
    draw(results, test, folder / "rate_distortion.png")
    (folder / "rate_distortion.md").write_text(page)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default="docs", help="default: docs")
    for name, what in (("blocks", "block sizes"), ("tokens", "vocabulary sizes")):
        text = f"measure only these {what}"
        parser.add_argument(f"--{name}", type=int, nargs="+", metavar="N", help=text)
    return parser.parse_args()


SEARCH = """\
## Batches and search

Of {n_compared:,.0f} tokens (blocks of 10, codebook of 256), {n_moved:.0f} changed when
the windows came in another order, in batches of other sizes, and on one or two threads.
Searching for the tokens of half an hour of ECG with `n_candidates=6` took
{search_seconds:.1f} s (median of 5).

"""

PAGE = """\
# Rate and distortion

How much error remains at each rate? Each tokenizer was fitted on {n_fit} windows of the
{n_fit_records} records of DS1 and tested on {n_test} windows of {n_test_records}
records of DS2 (MIT-BIH Arrhythmia Database, first lead). The patients of DS2 are not in
DS1. Errors are mean squared errors with each record scaled to its own [0, 1], the unit
of the paper. `make rate` writes this page.

![Error against rate](rate_distortion.png)

## Mean squared error

{table}

- *paper* is the paper's figure, on its own data and without quantisation. With 256
  bins, the paper gives {paper_complete} for blocks of 10.
- *block mean* replaces each block by its exact mean; this makes no tokens.
- *PCA-1, bins* divides the first principal component of the blocks into bins.
- *k-means* is `VectorQuantizer` on blocks. *1d-SAX* is that of tslearn, with half of
  the bits for the level and half for the slope.
- *ours, bins* is `make_tokenizer` with one number a block and that many uniform bins
  inside the network. *ours, codebook* is `make_tokenizer`, and *searched* the same with
  `n_candidates=6`.
- *wavelet codec* is a wavelet transform with an ideal entropy coder, fitted to each
  record, at the entropy of our tokens. It spends its bits on the beats.
- *Gaussian bound* is the distortion-rate function of a Gaussian source with the mean
  spectrum of the test records, at the logarithm of the vocabulary. ECG is not Gaussian,
  so this is a reference and not a bound for ECG.

Figures are medians of three seeds for the paper's network, k-means and ours with a
codebook, and for ours with 256 bins and blocks of 10. The others have one seed.

{search}## Details

- *MSE* is given with its range over the seeds, and *RMSE* in physical units.
- *PRD* is centred (PRDN): the error of a record relative to its deviation from its own
  mean. The table has the mean over the {n_test_records} test records, and the *worst
  record*.
- *with offset* is the mean PRD of the same reconstructions without centring, in the
  integers of the database, whose zero is {adc_zero}. Many papers give this PRD. It is
  many times smaller because the offset counts as signal: compare only figures of the
  same kind.
- *bits* are the entropy of the tokens, and *usage* is the share of the vocabulary in
  use.
- *heartbeat F1* compares the R-peaks found in the reconstruction with those in the
  signal (within 50 ms, mean over the records).
- *fit* is the time on one core while another fit runs on the other core.

Empty cells were not measured.

{details}
"""


if __name__ == "__main__":
    main(**vars(parse_arguments()))
