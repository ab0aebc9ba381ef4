"""How fast is sktok, beside what one would write, or take, instead of it?

Both sides of each comparison take turns in one run; figures are medians, and ratios
are medians of the ratios of each turn. About half an hour on 2 cores::

    python examples/benchmark_speed.py [SECTION ...]

Sections are networks, profile, rivals, fit, search, growth, vocabulary and startup;
without a name, all of them. Each prints a table. The signal is the ECG of `load_ecg`,
repeated, each window with a gain of its own; errors are those on its last minute, which
nothing was fitted to.
"""

import copy
import cProfile
import math
import multiprocessing
import os
import pstats
import re
import resource
import subprocess
import sys
import tempfile
import time
import timeit
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from benchmark_rate_distortion import OneDSax
from sklearn.cluster import KMeans
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode
from tslearn.piecewise import (
    OneD_SymbolicAggregateApproximation,
    SymbolicAggregateApproximation,
)

from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    ConvAETokenizer,
    VectorQuantizer,
    make_paper_tokenizer,
    make_tokenizer,
)
from sktok._bottlenecks import Codebook
from sktok.datasets import load_ecg
from sktok.metrics import neg_reconstruction_mse
from sktok.networks import ContextualAutoencoder, DimReduction

N_TURNS = 5
TURN_SECONDS = 0.1
N_WINDOWS = 20_000  # five million samples: five and a half hours at 250 Hz
N_SLOW = 200  # windows for what takes milliseconds each
BATCHES = (64, 256, 1024)  # windows, of which the plain loop takes the best
QUICK_STEPS = 600  # training for figures that do not depend on it
SEEDS = (0, 1, 2, 3, 4)
WHOLE_STEPS = "auto"
SCHEDULES = (200, 600, 1200, 1800)  # steps
PATIENCE = 3.5  # the plain loop is given so many times our time
SEARCH_STEPS = 150
GROWTH = (1_000, 10_000, 100_000, 1_000_000)  # windows
VOCABULARY = (256, 1024, 4096, 16_384, 65_536)
BLOCK_SIZE = 10


def race(sides):
    """Seconds that a call of each side takes, in turns: name -> (N_TURNS,).

    A turn repeats short calls, until it lasts as long as `TURN_SECONDS`.
    """
    seconds = {name: [] for name in sides}
    warm_up = {name: seconds_of(call) for name, call in sides.items()}
    n_calls = {name: math.ceil(TURN_SECONDS / s) for name, s in warm_up.items()}
    for _ in range(N_TURNS):
        for name, call in sides.items():
            seconds[name].append(seconds_of(call, n_calls[name]))
    return {name: np.array(values) for name, values in seconds.items()}


def seconds_of(call, n_calls=1):
    return timeit.timeit(call, number=n_calls) / n_calls


def ratio(slow, fast):
    return np.median(slow / fast)


def rate(n_samples, seconds):
    """Million samples a second."""
    return n_samples / np.median(seconds) / 1e6


def print_table(title, header, rows):
    print(f"\n## {title}\n")
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def load():
    """Four minutes to fit, one to test, scaled to [0, 1]; and a long signal to time."""
    X = AmplitudeScaler().fit_transform(load_ecg().data.astype(np.float32))
    n_fit = len(X) * 4 // 5
    gain = np.random.default_rng(0).uniform(0.9, 1.1, (N_WINDOWS, 1))
    archive = np.resize(X, (N_WINDOWS, X.shape[1])) * gain.astype(np.float32)
    return X[:n_fit], X[n_fit:], archive


# What one would write with the same trained weights.


class ObviousCode:
    """The contextual network in torch's own layers."""

    def __init__(self, network):
        self.network = network

    def encode(self, x):
        network = self.network
        return self._path(network.encoder, (x - network.mean) / network.scale)

    def decode(self, z):
        network = self.network
        return self._path(network.decoder, z) * network.scale + network.mean

    def _path(self, path, x):
        h = path.embed(x)
        for layer in path.body:
            normalized = F.rms_norm(h, h.shape[-1:], eps=1e-5).transpose(1, 2)
            kernel, padding = layer.taps.T[:, None], len(layer.taps) // 2
            mixed = F.conv1d(normalized, kernel, padding=padding, groups=h.shape[-1])
            hidden = layer.hidden(mixed.transpose(1, 2)).relu().square()
            h = h + hidden @ layer.project
        return path.linear(x) + path.project(h)


@torch.no_grad()
def plain_tokenize(network, quantizer, blocks, batch):
    codes, tokens = torch.from_numpy(quantizer.codes_), []
    for part in torch.from_numpy(blocks).split(batch):
        z = network.encode(part).flatten(0, 1)
        if isinstance(quantizer, VectorQuantizer):
            tokens.append(torch.cdist(z, codes.to(z)).argmin(1))
        else:
            low, high = quantizer.edges_[[0, -1]]
            bins = torch.floor((z - low) / ((high - low) / len(codes)))
            tokens.append(bins.long().clamp(0, len(codes) - 1).flatten())
    return torch.cat(tokens).view(len(blocks), -1).numpy()


@torch.no_grad()
def plain_restore(network, quantizer, tokens, batch):
    codes = torch.from_numpy(quantizer.codes_)
    parts = torch.from_numpy(tokens).split(batch)
    return torch.cat([network.decode(codes[part]) for part in parts]).numpy()


def at_best_batch(function, network, quantizer, array):
    """A plain loop, with the batch size that suits it best, and that size."""

    loops = {b: partial(function, network, quantizer, array, b) for b in BATCHES}
    batch = min(BATCHES, key=lambda b: min(seconds_of(loops[b]) for _ in range(2)))
    return loops[batch], batch


def matrix_peak():
    """The machine's fastest matrix product, in FLOP a second."""
    a, b = torch.rand(2, 2048, 2048)
    seconds = race({"product": lambda: torch.mm(a, b)})["product"]
    return 2 * 2048**3 / seconds.min()


def networks():
    X_fit, _, archive = load()
    segmenter = BlockSegmenter(BLOCK_SIZE).fit(X_fit)
    peak, rows = matrix_peak(), []
    for name, tokenizer in {
        "Table 1": ConvAETokenizer("dimreduction", quantizer=BinQuantizer(256)),
        "contextual": ConvAETokenizer(quantizer=VectorQuantizer(256)),
    }.items():
        tokenizer.set_params(max_steps=QUICK_STEPS, random_state=0)
        tokenizer.fit(segmenter.transform(X_fit))
        for length, n_windows in (("half an hour", 1800), ("five hours", N_WINDOWS)):
            blocks = segmenter.transform(archive[:n_windows])
            for action in ("tokenize", "restore"):
                cells = beside_plain_loop(tokenizer, action, blocks, peak)
                rows.append((f"{action}, {name}, {length}", *cells))
    print_table(
        f"Networks (matrix products: {peak / 1e9:.0f} GFLOP/s at best)",
        (
            "",
            "ratio to a loop over the module",
            "to obvious code",
            "sktok, Ms/s",
            "of the peak",
            "module, Ms/s (best batch)",
            "obvious code, Ms/s (best batch)",
            "difference from the module",
        ),
        rows,
    )


def beside_plain_loop(tokenizer, action, blocks, peak):
    network, quantizer = tokenizer.network_, tokenizer.quantizer_
    tokens = tokenizer.transform(blocks)
    if action == "tokenize":
        ours, plain, given = tokenizer.transform, plain_tokenize, blocks
    else:
        ours, plain, given = tokenizer.inverse_transform, plain_restore, tokens
    sides = {"ours": partial(ours, given)}
    sides["module"], batch = at_best_batch(plain, network, quantizer, given)
    is_contextual = isinstance(network, ContextualAutoencoder)
    if is_contextual:
        sides["obvious"], obvious_batch = at_best_batch(
            plain, ObviousCode(network), quantizer, given
        )
    seconds = race(sides)
    expected, result = sides["module"](), sides["ours"]()
    difference = f"up to {np.abs(expected - result).max():.0e}"
    if action == "tokenize":
        double = copy.deepcopy(network).double()
        exact = plain_tokenize(double, quantizer, blocks.astype(np.float64), 256)
        difference = (
            f"{(expected != result).sum()} of {tokens.size} tokens; from those in "
            f"float64 {(result != exact).sum()}, the module {(expected != exact).sum()}"
        )
    share = obvious_ratio = obvious_rate = "–"
    if is_contextual:
        n_flops = flops_of_inference(tokenizer, action, blocks[:100])
        n_flops *= len(blocks) / 100
        share = f"{100 * n_flops / np.median(seconds['ours']) / peak:.0f} %"
        obvious_ratio = f"**{ratio(seconds['obvious'], seconds['ours']):.3g}**"
        obvious_rate = f"{rate(blocks.size, seconds['obvious']):.3g} ({obvious_batch})"
    return (
        f"**{ratio(seconds['module'], seconds['ours']):.3g}**",
        obvious_ratio,
        f"{rate(blocks.size, seconds['ours']):.3g}",
        share,
        f"{rate(blocks.size, seconds['module']):.3g} ({batch})",
        obvious_rate,
        difference,
    )


def flops_of_inference(tokenizer, action, blocks):
    """Of matrix products and convolutions; the nearest code's, too."""
    network, windows = tokenizer.network_, torch.from_numpy(blocks)
    codes = torch.from_numpy(tokenizer.quantizer_.codes_)
    latents = network.encode(windows).detach()
    with FlopCounterMode(display=False) as counter:
        if action == "tokenize":
            ObviousCode(network).encode(windows).flatten(0, 1) @ codes.T
        else:
            ObviousCode(network).decode(latents)
    return counter.get_total_flops()


# Where the time goes.

KINDS = {  # of torch's operators, by a part of their name
    "matrix products": ("mm",),
    "convolutions": ("conv",),
    "batch norm": ("batch_norm",),
    "minimum": ("aten::min", "aten::argmin"),
    "copies": ("copy_", "cat", "pad", "fill_", "contiguous"),
    "AdamW": ("adamw",),
}


def shares(call):
    """Shares of the time of `call`, in percent: by torch's profiler, and the rest."""
    call()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as p:
        whole = seconds_of(call)
    seconds = dict.fromkeys((*KINDS, "other operators", "outside of torch"), 0.0)
    for event in p.key_averages():
        name = event.key.lower()
        if name.startswith(("aten::", "autograd::")):
            kinds = (k for k, parts in KINDS.items() if any(x in name for x in parts))
            seconds[next(kinds, "other operators")] += event.self_cpu_time_total / 1e6
    seconds["outside of torch"] = whole - sum(seconds.values())
    return {kind: 100 * s / whole for kind, s in seconds.items()}


def slowest_functions(call, n=4):
    """The functions that take the most time by themselves, with their share of it."""
    call()
    with cProfile.Profile() as profiler:
        call()
    stats = pstats.Stats(profiler)
    rows = sorted(stats.stats.items(), key=lambda item: -item[1][2])[:n]
    return ", ".join(
        f"{name.strip('<>')} {100 * own / stats.total_tt:.0f} %"
        for (_, _, name), (_, _, own, _, _) in rows
    )


def profile():
    X_fit, _, archive = load()
    segmenter = BlockSegmenter(BLOCK_SIZE).fit(X_fit)
    short, blocks = segmenter.transform(X_fit), segmenter.transform(archive)
    table_1 = ConvAETokenizer("dimreduction", quantizer=BinQuantizer(256))
    contextual = ConvAETokenizer(quantizer=VectorQuantizer(256))
    kmeans = VectorQuantizer(256)
    for tokenizer in (table_1, contextual):
        tokenizer.set_params(max_steps=QUICK_STEPS, random_state=0).fit(short)
    tokens = contextual.transform(blocks)
    calls = {
        "tokenize, Table 1": partial(table_1.transform, blocks),
        "tokenize, contextual": partial(contextual.transform, blocks),
        "restore, contextual": partial(contextual.inverse_transform, tokens),
        "fit, Table 1": partial(table_1.fit, short),
        "fit, contextual": partial(contextual.fit, short),
    }
    rows = []
    for name, call in calls.items():
        by_kind = shares(call)
        rows.append((name, *(f"{share:.0f} %" for share in by_kind.values())))
    print_table("Where the time goes", ("by torch's profiler", *by_kind), rows)

    scaler = AmplitudeScaler().fit(archive)
    flat = archive.reshape(len(archive), -1, BLOCK_SIZE)
    table_1_tokens = table_1.transform(blocks)
    calls = {
        "restore, Table 1": partial(table_1.inverse_transform, table_1_tokens),
        "scale": partial(scaler.transform, archive),
        "`VectorQuantizer` of blocks": partial(kmeans.fit(flat[:100]).transform, flat),
        "grid search": lambda: run_search(X_fit, n_jobs=1),
    }
    print("\nBy Python's profiler, the functions that take the most time themselves:\n")
    for name, call in calls.items():
        print(f"- {name}: {slowest_functions(call)}")


# What one would take instead.


class KBins:
    """Each sample into one of 256 bins, by scikit-learn."""

    n_tokens, samples_a_token = 256, 1

    def fit(self, X):
        self.bins_ = KBinsDiscretizer(
            self.n_tokens, encode="ordinal", strategy="uniform", subsample=None
        ).fit(X.reshape(-1, 1))
        return self

    def transform(self, X):
        return self.bins_.transform(X.reshape(-1, 1)).reshape(X.shape)

    def inverse_transform(self, tokens):
        return self.bins_.inverse_transform(tokens.reshape(-1, 1)).reshape(tokens.shape)


class Sax:
    """tslearn's SAX: the level of each segment."""

    n_tokens, samples_a_token = 256, BLOCK_SIZE

    def fit(self, X):
        self.mean_, self.std_ = X.mean(), X.std()
        n_segments = X.shape[1] // BLOCK_SIZE
        self.sax_ = SymbolicAggregateApproximation(n_segments, self.n_tokens)
        self.sax_.fit(self._series(X))
        return self

    def _series(self, X):
        return ((X - self.mean_) / self.std_)[..., np.newaxis]

    def transform(self, X):
        return self.sax_.transform(self._series(X))

    def inverse_transform(self, symbols):
        series = self.sax_.inverse_transform(symbols)[..., 0]
        return series * self.std_ + self.mean_


class OriginalOneDSax(OneDSax):
    """tslearn's 1d-SAX as it is, a regression for each segment."""

    samples_a_token = BLOCK_SIZE

    def __init__(self):
        super().__init__(BLOCK_SIZE, 256)

    def fit(self, X):
        super().fit(X)
        self.sax_.__class__ = OneD_SymbolicAggregateApproximation
        return self


class Chronos:
    """Amazon Chronos: each sample divided by the window's mean, into uniform bins."""

    n_tokens, samples_a_token = 4096, 1

    def fit(self, X):
        from chronos.chronos import ChronosConfig, MeanScaleUniformBins

        config = ChronosConfig(
            tokenizer_class="MeanScaleUniformBins",
            tokenizer_kwargs={"low_limit": -15.0, "high_limit": 15.0},
            context_length=X.shape[1],
            prediction_length=X.shape[1],
            n_tokens=self.n_tokens,
            n_special_tokens=2,
            pad_token_id=0,
            eos_token_id=1,
            use_eos_token=False,
            model_type="seq2seq",
            num_samples=1,
            temperature=1.0,
            top_k=1,
            top_p=1.0,
        )
        self.bins_ = MeanScaleUniformBins(-15.0, 15.0, config)
        return self

    def transform(self, X):
        tokens, _, scale = self.bins_.context_input_transform(torch.from_numpy(X))
        return tokens, scale

    def inverse_transform(self, tokens_and_scale):
        tokens, scale = tokens_and_scale
        return self.bins_.output_transform(tokens[:, None], scale)[:, 0].numpy()


class SklearnKMeans:
    """Each block to the nearest of 256 centres, by scikit-learn's KMeans."""

    n_tokens, samples_a_token = 256, BLOCK_SIZE

    def fit(self, X):
        self.kmeans_ = KMeans(self.n_tokens, n_init=1, random_state=0)
        self.kmeans_.fit(X.reshape(-1, BLOCK_SIZE))
        return self

    def transform(self, X):
        return self.kmeans_.predict(X.reshape(-1, BLOCK_SIZE)).reshape(len(X), -1)

    def inverse_transform(self, tokens):
        return self.kmeans_.cluster_centers_[tokens].reshape(len(tokens), -1)


class VectorQuantizePytorch:
    """lucidrains' vector-quantize-pytorch on blocks, started by its k-means."""

    n_tokens, samples_a_token = 256, BLOCK_SIZE

    def fit(self, X):
        from vector_quantize_pytorch import VectorQuantize

        torch.manual_seed(0)
        self.vq_ = VectorQuantize(BLOCK_SIZE, self.n_tokens, kmeans_init=True)
        blocks = torch.from_numpy(X).reshape(1, -1, BLOCK_SIZE)
        for _ in range(20):  # its codebook follows the means of what it is shown
            self.vq_(blocks)
        self.vq_.eval()
        return self

    @torch.no_grad()
    def transform(self, X):
        return self.vq_(torch.from_numpy(X).reshape(len(X), -1, BLOCK_SIZE))[1]

    @torch.no_grad()
    def inverse_transform(self, tokens):
        return self.vq_.get_codes_from_indices(tokens).reshape(len(tokens), -1).numpy()


class Ours:
    """A pipeline of sktok's."""

    n_tokens, samples_a_token = 256, BLOCK_SIZE

    def __init__(self, pipeline):
        self.pipeline = pipeline

    def fit(self, X):
        self.pipeline.fit(X)
        return self

    def transform(self, X):
        return self.pipeline.transform(X)

    def inverse_transform(self, tokens):
        return self.pipeline.inverse_transform(tokens)


def rivals():
    X_fit, X_test, archive = load()
    whole = {"max_steps": WHOLE_STEPS, "random_state": 0}
    paper = make_paper_tokenizer(BLOCK_SIZE, **whole).set_params(
        tokenize__quantizer=BinQuantizer(256), quantize="passthrough"
    )
    codebook = make_pipeline(BlockSegmenter(BLOCK_SIZE), VectorQuantizer(256))
    sides = {
        "`make_tokenizer`": (Ours(make_tokenizer(**whole)), N_WINDOWS),
        "the paper's, bins inside": (Ours(paper), N_WINDOWS),
        "sktok's `VectorQuantizer` of blocks": (Ours(codebook), N_WINDOWS),
        "KMeans of blocks": (SklearnKMeans(), N_WINDOWS),
        "vector-quantize-pytorch": (VectorQuantizePytorch(), N_WINDOWS // 10),
        "KBinsDiscretizer": (KBins(), N_WINDOWS),
        "Chronos's MeanScaleUniformBins": (Chronos(), N_WINDOWS),
        "tslearn's SAX": (Sax(), N_WINDOWS // 10),
        "tslearn's 1d-SAX": (OriginalOneDSax(), N_SLOW),
    }
    for name, (side, _) in list(sides.items()):
        try:
            side.fit(X_fit)
        except ImportError as error:
            print(f"{name} is left out: {error}")
            del sides[name]
    tokens = {name: side.transform(archive[:n]) for name, (side, n) in sides.items()}
    speeds = {}
    for action, inputs in (
        ("transform", {name: archive[:n] for name, (_, n) in sides.items()}),
        ("inverse_transform", tokens),
    ):
        seconds = race(
            {
                name: partial(getattr(side, action), inputs[name])
                for name, (side, _) in sides.items()
            }
        )
        speeds[action] = {
            name: archive[:n].size / 1e6 / seconds[name]
            for name, (_, n) in sides.items()
        }
    rows = []
    for name, (side, _) in sides.items():
        restored = np.asarray(side.inverse_transform(side.transform(X_test)))
        sax = ratio(speeds["transform"][name], speeds["transform"]["tslearn's SAX"])
        rows.append(
            (
                name,
                f"**{sax:.3g}**",
                f"{np.median(speeds['transform'][name]):.3g}",
                f"{np.median(speeds['inverse_transform'][name]):.3g}",
                f"{np.mean((restored - X_test) ** 2):.2e}",
                f"{math.log2(side.n_tokens) / side.samples_a_token:.1f}",
            )
        )
    print_table(
        "What one would take instead",
        (
            "",
            "tokenizing: times tslearn's SAX",
            "tokenize, Ms/s",
            "restore, Ms/s",
            "MSE",
            "bits a sample",
        ),
        rows,
    )


# Fitting.


def held_out_error(tokenizer, blocks):
    restored = tokenizer.inverse_transform(tokenizer.transform(blocks))
    return float(np.mean((restored - blocks) ** 2))


def seconds_of_plain_loop(make_start, blocks, held_out, target, patience):
    """Until the error falls to `target`: DataLoader, batches of 64, Adam."""
    start = time.perf_counter()
    trained, rows, error_of, loss_of = make_start(blocks)
    loader = DataLoader(TensorDataset(rows), batch_size=64, shuffle=True)
    optimizer = torch.optim.Adam(trained.parameters())
    elapsed = time.perf_counter() - start
    trained.train()
    while elapsed < patience:
        start = time.perf_counter()
        for (batch,) in loader:
            loss = loss_of(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        elapsed += time.perf_counter() - start
        trained.eval()
        with torch.no_grad():
            error = error_of(held_out).item()
        trained.train()
        if error <= target:
            return elapsed
    return math.inf


def contextual_start(blocks):
    """The network and its codebook, as sktok starts them; rows are windows."""
    windows = torch.from_numpy(blocks)
    network = ContextualAutoencoder(BLOCK_SIZE, BLOCK_SIZE)
    network.initialize(windows)
    with torch.no_grad():
        latents = network.encode(windows)
    codes = torch.from_numpy(VectorQuantizer(256).fit(latents.numpy()).codes_)
    codebook = Codebook(codes, float(latents.var()), 0, torch.Generator())
    power = windows.var()

    def error_of(batch):
        return F.mse_loss(network.decode(codebook(network.encode(batch))[0]), batch)

    def loss_of(batch):
        codes, penalty = codebook(network.encode(batch))
        return F.mse_loss(network.decode(codes), batch) / power + penalty

    return torch.nn.ModuleList([network, codebook]), windows, error_of, loss_of


def table_1_start(blocks):
    """Table 1's network; rows are blocks, as it takes them."""
    network = DimReduction(BLOCK_SIZE, latent_dim=1)

    def error_of(batch):
        return F.mse_loss(network.decode(network.encode(batch)), batch)

    def loss_of(batch):
        return F.mse_loss(network(batch), batch)

    return network, torch.from_numpy(blocks).view(-1, 1, BLOCK_SIZE), error_of, loss_of


def fit():
    X_fit, X_test, _ = load()
    segmenter = BlockSegmenter(BLOCK_SIZE).fit(X_fit)
    blocks, held_out = segmenter.transform(X_fit), segmenter.transform(X_test)
    rows = []
    for name, tokenizer, start in (
        ("Table 1", ConvAETokenizer("dimreduction"), table_1_start),
        ("contextual", ConvAETokenizer(quantizer=VectorQuantizer()), contextual_start),
    ):
        finals, complete = [], []
        for seed in SEEDS:
            tokenizer.set_params(random_state=seed, max_steps=WHOLE_STEPS)
            complete.append(seconds_of(partial(tokenizer.fit, blocks)))
            finals.append(held_out_error(tokenizer, held_out))
        target = 1.1 * np.median(finals)
        ours, plain = [], []
        for seed in SEEDS:
            for max_steps in SCHEDULES:
                tokenizer.set_params(random_state=seed, max_steps=max_steps)
                seconds = seconds_of(partial(tokenizer.fit, blocks))
                if held_out_error(tokenizer, held_out) <= target:
                    break
            else:
                seconds = math.inf
            ours.append(seconds)
            torch.manual_seed(seed)
            patience = PATIENCE * min(seconds, np.median(complete))
            seconds = seconds_of_plain_loop(
                start, blocks, torch.from_numpy(held_out), target, patience
            )
            plain.append(seconds)
        ours, plain = np.array(ours), np.array(plain)
        with np.errstate(invalid="ignore"):
            times = np.nan_to_num(plain / ours, nan=0.0, posinf=math.inf)
        rows.append(
            (
                name,
                f"**{np.median(times):.3g}**",
                f"{np.median(ours):.3g}",
                " ".join(f"{seconds:.3g}" for seconds in sorted(plain)),
                f"{target:.3g}",
                f"{np.median(complete):.3g}",
            )
        )
    print_table(
        f"Fitting ({len(blocks)} windows, seeds {SEEDS}; inf: not within "
        f"{PATIENCE} times our time)",
        (
            "",
            "ratio",
            "sktok, s to 1.1 × its final error",
            "plain loop, s, each seed",
            "that error, held out",
            "sktok's whole fit, s",
        ),
        rows,
    )


SEARCHED_BLOCKS = [5, 10, 25, 50]
SEARCHED_BINS = [16, 64, 256, 1024]
FOLDS = KFold(3)


def searched():
    return make_paper_tokenizer(limits="minmax", max_steps=SEARCH_STEPS, random_state=0)


def run_search(X, n_jobs):
    with tempfile.TemporaryDirectory() as folder:
        GridSearchCV(
            searched().set_params(memory=folder),
            {
                "segment__block_size": SEARCHED_BLOCKS,
                "quantize__n_bins": SEARCHED_BINS,
            },
            scoring=neg_reconstruction_mse,
            cv=FOLDS,
            n_jobs=n_jobs,
            refit=False,
        ).fit(X)


def fit_networks(X):
    for block_size in SEARCHED_BLOCKS:
        for rows, _ in FOLDS.split(X):
            searched()[:-1].set_params(segment__block_size=block_size).fit(X[rows])


def search():
    X_fit, _, _ = load()
    seconds = race(
        {
            "12 fits": partial(fit_networks, X_fit),
            "search": partial(run_search, X_fit, n_jobs=1),
            "two jobs": partial(run_search, X_fit, n_jobs=2),
        }
    )
    print_table(
        "Grid search: 4 block sizes × 4 numbers of bins × 3 folds, with memory",
        ("", "ratio", "s"),
        [
            ("the 12 network fits alone", "", f"{np.median(seconds['12 fits']):.1f}"),
            (
                "the search, over the fits",
                f"**{ratio(seconds['search'], seconds['12 fits']):.2f}**",
                f"{np.median(seconds['search']):.1f}",
            ),
            (
                "one job over two jobs",
                f"**{ratio(seconds['search'], seconds['two jobs']):.2f}**",
                f"{np.median(seconds['two jobs']):.1f}",
            ),
        ],
    )


# Growth, each measurement in a process of its own.


def measure(action, n_windows, n_codes=256):
    """Seconds, and megabytes at the peak beyond input and output."""
    X_fit, _, _ = load()
    tokenizer = ConvAETokenizer(quantizer=VectorQuantizer(256), random_state=0)
    blocks = X_fit.reshape(len(X_fit), -1, BLOCK_SIZE)
    tokenizer.set_params(max_steps=50).fit(blocks)
    codes = tokenizer.quantizer_.codes_
    if n_codes > len(codes):
        noise = np.random.default_rng(0).normal(size=(n_codes, codes.shape[1]))
        noise = (noise * codes.std()).astype(codes.dtype)
        tokenizer.quantizer_.codes_ = noise
    tokenizer.inverse_transform(tokenizer.transform(blocks))  # all is loaded
    before = peak_megabytes()
    given = np.resize(blocks, (n_windows, *blocks.shape[1:]))
    if action == "inverse_transform":
        given = np.resize(tokenizer.transform(blocks), (n_windows, blocks.shape[1]))
    start = time.perf_counter()
    result = getattr(tokenizer, action)(given)
    seconds = time.perf_counter() - start
    n_bytes = given.nbytes + getattr(result, "nbytes", 0)
    return seconds, peak_megabytes() - before - n_bytes / 1e6


def peak_megabytes():
    """The most memory that this process has held.

    Linux has it in its status; there, `getrusage` may give that of the parent process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        kilobytes = re.search(r"VmHWM:\s*(\d+)", status.read_text())[1]
        return int(kilobytes) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS: bytes


def measure_apart(*arguments):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)


def growth():
    rows = []
    for action in ("transform", "inverse_transform", "fit"):
        results = [measure_apart(action, n) for n in GROWTH]
        seconds, extra = np.array(results).T
        slope = np.polyfit(np.log(GROWTH[1:]), np.log(seconds[1:]), 1)[0]
        shown = "–" if action == "fit" else f"**{slope:.2f}**"
        cells = [f"{s:.3g} s, {m:.0f} MB" for s, m in zip(seconds, extra, strict=True)]
        rows.append((action, shown, *cells))
    print_table(
        "Growth: time, and memory at the peak beyond input and output",
        ("", "log–log slope from 10⁴", *(f"{n:,} windows" for n in GROWTH)),
        rows,
    )
    print("\nfit takes 50 steps, whatever the number of windows.")


def vocabulary():
    results = [measure_apart("transform", 10_000, n_codes) for n_codes in VOCABULARY]
    rows = [
        (
            f"{n_codes:,}",
            f"{seconds / results[0][0]:.2f}",
            f"{n_codes / VOCABULARY[0]:.0f}",
            f"{seconds:.2f}",
            f"{extra:.0f}",
        )
        for n_codes, (seconds, extra) in zip(VOCABULARY, results, strict=True)
    ]
    print_table(
        "Vocabulary: tokenizing 10,000 windows",
        ("codes", "times the time", "times the codes", "s", "MB beyond input, output"),
        rows,
    )


def startup():
    def importing(module):
        command = [sys.executable, "-c", f"import {module}"]
        return lambda: subprocess.run(command, check=True, env=environment)

    # Compiled modules are kept, as where a package is installed.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}

    modules = "sklearn", "sktok", "sklearn, sktok", "torch"
    seconds = race({name: importing(name) for name in modules})
    print_table(
        "Start-up",
        ("", "ratio to sklearn", "s"),
        [
            (
                f"import {name}",
                f"**{ratio(seconds[name], seconds['sklearn']):.2f}**",
                f"{np.median(seconds[name]):.2f}",
            )
            for name in seconds
        ],
    )


SECTIONS = (networks, profile, rivals, fit, search, growth, vocabulary, startup)


def main(*names):
    print(f"# {os.cpu_count()} cores, torch {torch.__version__}, float32")
    by_name = {section.__name__: section for section in SECTIONS}
    for name in names or by_name:
        by_name[name]()


if __name__ == "__main__":
    main(*sys.argv[1:])
