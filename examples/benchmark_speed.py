"""How fast is sktok, compared with plain code and with other packages?

The sides of a comparison run alternately. Figures are medians, and ratios are medians
of the ratios of each turn. About half an hour on 2 cores::

    python examples/benchmark_speed.py [SECTION ...]

Sections are networks, profile, rivals, fit, threads, search, growth, vocabulary and
startup; the default is all of them. Each prints a table. The signal is the ECG of
`load_ecg`, repeated, with a different gain for each window. Errors are those of its
last minute, which is not used for fitting.
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
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from unittest import mock

import numba
import numpy as np
import torch
import torch.nn.functional as F
from benchmark_rate_distortion import OneDSax
from sklearn.cluster import KMeans
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline, make_pipeline
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
from sktok._torch import fitting, sums
from sktok._torch.threads import limited_threads
from sktok.datasets import load_ecg
from sktok.metrics import neg_reconstruction_mse
from sktok.networks import ContextualAutoencoder, DimReduction

N_TURNS = 5
TURN_SECONDS = 0.1
N_WINDOWS = 20_000  # five million samples: five and a half hours at 250 Hz
N_SLOW = 200  # windows for methods that take milliseconds for each
BATCHES = (64, 256, 1024)  # windows; the plain loop uses the fastest of these
QUICK_STEPS = 600  # training steps where speed does not depend on them
SEEDS = (0, 1, 2, 3, 4)
WHOLE_STEPS = "auto"
SCHEDULES = (200, 600, 1200, 1800)  # steps
PATIENCE = 3.5  # time limit of the plain loop, in multiples of the time of sktok
BATCH_SIZE = 64  # windows in a gradient step
STEPS_PER_TURN = 50
SEARCH_STEPS = 150
GROWTH = (1_000, 10_000, 100_000, 1_000_000)  # windows
VOCABULARY = (256, 1024, 4096, 16_384, 65_536)
MEASURED_STEPS = 50  # training steps where growth is measured
IMPORTED = ("sklearn", "sktok", "sklearn, sktok", "torch")
BLOCK_SIZE = 10


def race(sides):
    """Seconds for one call of each side, in turns: name -> (N_TURNS,).

    Short calls are repeated within a turn until it takes `TURN_SECONDS`.
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


def ratio(a, b):
    """Median of the ratios of all turns, in bold type."""
    return f"**{np.median(a / b):.3g}**"


def median(values):
    return f"{np.median(values):.3g}"


def print_table(title, header, rows):
    print(f"\n## {title}\n")
    for row in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def load():
    """Four minutes to fit and one to test, in [0, 1]; and a long signal to time."""
    X = AmplitudeScaler().fit_transform(load_ecg().data.astype(np.float32))
    n_fit = len(X) * 4 // 5
    gain = np.random.default_rng(0).uniform(0.9, 1.1, (N_WINDOWS, 1))
    archive = np.resize(X, (N_WINDOWS, X.shape[1])) * gain.astype(np.float32)
    return X[:n_fit], X[n_fit:], archive


def blocks_of(X):
    return BlockSegmenter(BLOCK_SIZE).fit_transform(X)


# Tokenizing and decoding, compared with plain code that has the same trained weights.


class ObviousCode:
    """The contextual network in standard layers of torch."""

    def __init__(self, network):
        self.network = network

    def encode(self, x):
        network = self.network
        return self._stack(network.encoder, (x - network.mean) / network.scale)

    def decode(self, z):
        network = self.network
        return self._stack(network.decoder, z) * network.scale + network.mean

    def _stack(self, stack, x):
        h = stack.embed(x)
        for layer in stack.body:
            normalized = F.rms_norm(h, h.shape[-1:], eps=1e-5).transpose(1, 2)
            kernel, padding = layer.kernel.T[:, None], layer.radius
            mixed = F.conv1d(normalized, kernel, padding=padding, groups=h.shape[-1])
            hidden = layer.hidden(mixed.transpose(1, 2)).relu().square()
            h = h + hidden @ layer.project
        return stack.linear(x) + stack.project(h)


@torch.no_grad()
def plain_tokenize(network, quantizer, blocks, batch):
    codes, tokens = torch.from_numpy(quantizer.codes()), []
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
def plain_decode(network, quantizer, tokens, batch):
    codes = torch.from_numpy(quantizer.codes())
    parts = torch.from_numpy(tokens).split(batch)
    return torch.cat([network.decode(codes[part]) for part in parts]).numpy()


def at_best_batch(function, *arguments):
    """A plain loop with its fastest batch size, and this size."""
    loops = {batch: partial(function, *arguments, batch) for batch in BATCHES}
    batch = min(BATCHES, key=lambda b: min(seconds_of(loops[b]) for _ in range(2)))
    return loops[batch], batch


def matrix_peak():
    """The highest speed of matrix products on this machine, in FLOP/s."""
    a, b = torch.rand(2, 2048, 2048)
    seconds = race({"product": lambda: torch.mm(a, b)})["product"]
    return 2 * 2048**3 / seconds.min()


def fitted_tokenizers(X):
    """Tokenizers of blocks: both networks, and Table 1 as in the paper's pipeline."""
    quick = {"max_steps": QUICK_STEPS, "random_state": 0}
    tokenizers = {
        "Table 1": ConvAETokenizer(
            "dimreduction", quantizer=BinQuantizer(256), **quick
        ),
        # The steps `tokenize` and `quantize`.
        "Table 1 and bins after it": make_paper_tokenizer(BLOCK_SIZE, **quick)[2:],
        "contextual": ConvAETokenizer(quantizer=VectorQuantizer(256), **quick),
    }
    blocks = blocks_of(X)
    return {name: tokenizer.fit(blocks) for name, tokenizer in tokenizers.items()}


def network_and_quantizer(tokenizer):
    if isinstance(tokenizer, Pipeline):
        return tokenizer["tokenize"].network_, tokenizer["quantize"]
    return tokenizer.network_, tokenizer.quantizer_


def networks():
    X_fit, _, archive = load()
    peak, rows = matrix_peak(), []
    for name, tokenizer in fitted_tokenizers(X_fit).items():
        for length, n_windows in (("half an hour", 1800), ("five hours", N_WINDOWS)):
            blocks = blocks_of(archive[:n_windows])
            for action in ("tokenize", "decode"):
                cells = compare_with_loops(tokenizer, action, blocks, peak)
                rows.append((f"{action}, {name}, {length}", *cells))
    print_table(
        f"Networks (peak of matrix products: {peak / 1e9:.0f} GFLOP/s)",
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


def compare_with_loops(tokenizer, action, blocks, peak):
    """One row: sktok, a loop over the module, and a loop over the obvious code."""
    network, quantizer = network_and_quantizer(tokenizer)
    if action == "tokenize":
        ours, plain, given = tokenizer.transform, plain_tokenize, blocks
    else:
        ours, plain = tokenizer.inverse_transform, plain_decode
        given = tokenizer.transform(blocks)
    sides, batch = {"ours": partial(ours, given)}, {}
    modules = {"module": network}
    if isinstance(network, ContextualAutoencoder):
        modules["obvious"] = ObviousCode(network)
    for name, module in modules.items():
        sides[name], batch[name] = at_best_batch(plain, module, quantizer, given)
    seconds = race(sides)
    speed = {name: blocks.size / 1e6 / s for name, s in seconds.items()}
    shown = {name: f"{median(speed[name])} ({batch[name]})" for name in modules}
    obvious_ratio = share = "–"
    if "obvious" in modules:
        obvious_ratio = ratio(seconds["obvious"], seconds["ours"])
        n_flops = flops_of_inference(network, quantizer, action, blocks[:100])
        n_flops *= len(blocks) / 100
        share = f"{100 * n_flops / np.median(seconds['ours']) / peak:.0f} %"
    return (
        ratio(seconds["module"], seconds["ours"]),
        obvious_ratio,
        median(speed["ours"]),
        share,
        shown["module"],
        shown.get("obvious", "–"),
        difference(network, quantizer, blocks, sides["ours"](), sides["module"]()),
    )


def difference(network, quantizer, blocks, result, expected):
    """How much the result of sktok differs from that of the module."""
    if result.dtype.kind == "f":
        return f"up to {np.abs(expected - result).max():.0e}"
    double = copy.deepcopy(network).double()
    exact = plain_tokenize(double, quantizer, blocks.astype(np.float64), 256)
    return (
        f"{(expected != result).sum()} of {result.size} tokens; from those in float64 "
        f"{(result != exact).sum()}, the module {(expected != exact).sum()}"
    )


def flops_of_inference(network, quantizer, action, blocks):
    """FLOP of matrix products and convolutions, including the search for codes."""
    windows, codes = torch.from_numpy(blocks), torch.from_numpy(quantizer.codes())
    latents = network.encode(windows).detach()
    with FlopCounterMode(display=False) as counter:
        if action == "tokenize":
            ObviousCode(network).encode(windows).flatten(0, 1) @ codes.T
        else:
            ObviousCode(network).decode(latents)
    return counter.get_total_flops()


# The share of each operation in the time.

KINDS = {  # operators of torch, by a part of their name
    "matrix products": ("mm",),
    "convolutions": ("conv",),
    "batch norm": ("batch_norm",),
    "minimum": ("aten::min", "aten::argmin"),
    "copies": ("copy_", "cat", "pad", "fill_", "contiguous"),
    "AdamW": ("adamw",),
}


def shares(call):
    """Share of each kind of operation in the time of `call`, in percent."""
    call()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as p:
        whole = seconds_of(call)
    seconds = dict.fromkeys((*KINDS, "other operators", "outside torch"), 0.0)
    for event in p.key_averages():
        name = event.key.lower()
        if name.startswith(("aten::", "autograd::")):
            kinds = (k for k, parts in KINDS.items() if any(x in name for x in parts))
            seconds[next(kinds, "other operators")] += event.self_cpu_time_total / 1e6
    seconds["outside torch"] = whole - sum(seconds.values())
    return {kind: 100 * s / whole for kind, s in seconds.items()}


def slowest_functions(call, n=4):
    """The `n` functions with the largest own time, and its share in percent."""
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
    short, blocks = blocks_of(X_fit), blocks_of(archive)
    tokenizers = fitted_tokenizers(X_fit)
    table_1, contextual = tokenizers["Table 1"], tokenizers["contextual"]
    tokens = contextual.transform(blocks)
    calls = {
        "tokenize, Table 1": partial(table_1.transform, blocks),
        "tokenize, contextual": partial(contextual.transform, blocks),
        "decode, contextual": partial(contextual.inverse_transform, tokens),
        "fit, Table 1": partial(table_1.fit, short),
        "fit, contextual": partial(contextual.fit, short),
    }
    rows = []
    for name, call in calls.items():
        by_kind = shares(call)
        rows.append((name, *(f"{share:.0f} %" for share in by_kind.values())))
    header = ("by torch's profiler", *by_kind)
    print_table("Share of each operation in the time", header, rows)

    kmeans = VectorQuantizer(256).fit(short)
    tokens = table_1.transform(blocks)
    calls = {
        "decode, Table 1": partial(table_1.inverse_transform, tokens),
        "scale": partial(AmplitudeScaler().fit(archive).transform, archive),
        "`VectorQuantizer` of blocks": partial(kmeans.transform, blocks),
        "grid search": lambda: run_search(X_fit, n_jobs=1),
    }
    print("\nThe functions that take the most time, by Python's profiler:\n")
    for name, call in calls.items():
        print(f"- {name}: {slowest_functions(call)}")


# Other packages.


class KBins:
    """One of 256 bins for each sample, by scikit-learn."""

    def fit(self, X):
        self.bins_ = KBinsDiscretizer(
            256, encode="ordinal", strategy="uniform", subsample=None
        ).fit(X.reshape(-1, 1))
        return self

    def transform(self, X):
        return self.bins_.transform(X.reshape(-1, 1)).reshape(X.shape)

    def inverse_transform(self, tokens):
        return self.bins_.inverse_transform(tokens.reshape(-1, 1)).reshape(tokens.shape)


class Sax:
    """tslearn's SAX: the level of each segment."""

    def fit(self, X):
        self.mean_, self.std_ = X.mean(), X.std()
        n_segments = X.shape[1] // BLOCK_SIZE
        self.sax_ = SymbolicAggregateApproximation(n_segments, 256)
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
    """tslearn's 1d-SAX without changes: one regression for each segment."""

    def __init__(self):
        super().__init__(BLOCK_SIZE, 256)

    def fit(self, X):
        super().fit(X)
        self.sax_.__class__ = OneD_SymbolicAggregateApproximation
        return self


class Chronos:
    """Amazon Chronos: samples divided by the mean of the window, in uniform bins."""

    def fit(self, X):
        from chronos.chronos import ChronosConfig, MeanScaleUniformBins

        config = ChronosConfig(
            tokenizer_class="MeanScaleUniformBins",
            tokenizer_kwargs={"low_limit": -15.0, "high_limit": 15.0},
            context_length=X.shape[1],
            prediction_length=X.shape[1],
            n_tokens=4096,
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
    """The nearest of 256 centres for each block, by scikit-learn's KMeans."""

    def fit(self, X):
        self.kmeans_ = KMeans(256, n_init=1, random_state=0)
        self.kmeans_.fit(X.reshape(-1, BLOCK_SIZE))
        return self

    def transform(self, X):
        return self.kmeans_.predict(X.reshape(-1, BLOCK_SIZE)).reshape(len(X), -1)

    def inverse_transform(self, tokens):
        return self.kmeans_.cluster_centers_[tokens].reshape(len(tokens), -1)


class VectorQuantizePytorch:
    """lucidrains' vector-quantize-pytorch on blocks, initialised by its k-means."""

    def fit(self, X):
        from vector_quantize_pytorch import VectorQuantize

        torch.manual_seed(0)
        self.vq_ = VectorQuantize(BLOCK_SIZE, 256, kmeans_init=True)
        blocks = torch.from_numpy(X).reshape(1, -1, BLOCK_SIZE)
        for _ in range(20):  # moves the codebook towards the means of the data
            self.vq_(blocks)
        self.vq_.eval()
        return self

    @torch.no_grad()
    def transform(self, X):
        return self.vq_(torch.from_numpy(X).reshape(len(X), -1, BLOCK_SIZE))[1]

    @torch.no_grad()
    def inverse_transform(self, tokens):
        return self.vq_.get_codes_from_indices(tokens).reshape(len(tokens), -1).numpy()


def all_methods():
    """name: (tokenizer, number of windows to time, bits per sample)."""
    whole = {"max_steps": WHOLE_STEPS, "random_state": 0}
    paper = make_paper_tokenizer(BLOCK_SIZE, **whole).set_params(
        tokenize__quantizer=BinQuantizer(256), quantize="passthrough"
    )
    codebook = make_pipeline(BlockSegmenter(BLOCK_SIZE), VectorQuantizer(256))
    few, bits = N_WINDOWS // 10, 8 / BLOCK_SIZE
    return {
        "`make_tokenizer`": (make_tokenizer(**whole), N_WINDOWS, bits),
        "the paper's, bins inside": (paper, N_WINDOWS, bits),
        "sktok's `VectorQuantizer` of blocks": (codebook, N_WINDOWS, bits),
        "KMeans of blocks": (SklearnKMeans(), N_WINDOWS, bits),
        "vector-quantize-pytorch": (VectorQuantizePytorch(), few, bits),
        "KBinsDiscretizer": (KBins(), N_WINDOWS, 8),
        "Chronos's MeanScaleUniformBins": (Chronos(), N_WINDOWS, 12),
        "tslearn's SAX": (Sax(), few, bits),
        "tslearn's 1d-SAX": (OriginalOneDSax(), N_SLOW, bits),
    }


def rivals():
    # OpenMP in tslearn's compiled code would change the number of torch's threads.
    numba.config.THREADING_LAYER = "workqueue"
    X_fit, X_test, archive = load()
    methods = all_methods()
    tokenize, decode = {}, {}
    for name, (method, n_windows, _) in methods.items():
        try:
            method.fit(X_fit)
        except ImportError as error:
            print(f"{name} is left out: {error}")
            continue
        X = archive[:n_windows]
        tokenize[name] = partial(method.transform, X)
        decode[name] = partial(method.inverse_transform, method.transform(X))

    def rates(calls):
        """Million samples per second."""
        seconds = race(calls)
        return {n: archive[: methods[n][1]].size / 1e6 / seconds[n] for n in calls}

    encoding, decoding = rates(tokenize), rates(decode)
    rows = [
        (
            name,
            ratio(encoding[name], encoding["tslearn's SAX"]),
            median(encoding[name]),
            median(decoding[name]),
            f"{-neg_reconstruction_mse(methods[name][0], X_test):.2e}",
            f"{methods[name][2]:.1f}",
        )
        for name in encoding
    ]
    print_table(
        "Comparison with other packages",
        (
            "",
            "tokenizing: times tslearn's SAX",
            "tokenize, Ms/s",
            "decode, Ms/s",
            "MSE",
            "bits per sample",
        ),
        rows,
    )


# Fitting.


def seconds_of_plain_loop(make_start, blocks, held_out, target, patience):
    """Seconds until the error falls to `target`: DataLoader, batches of 64, Adam."""
    start = time.perf_counter()
    trained, rows, error_of, loss_of = make_start(blocks)
    loader = DataLoader(TensorDataset(rows), batch_size=BATCH_SIZE, shuffle=True)
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


def contextual_trainer(blocks, max_steps, seed=0):
    """The contextual network and its codebook as `fit` starts them."""
    tokenizer = ConvAETokenizer(
        quantizer=VectorQuantizer(256), max_steps=max_steps, batch_size=BATCH_SIZE
    )
    windows = torch.from_numpy(blocks)
    settings = fitting.settings_for(tokenizer, *windows.shape)
    network, _ = fitting.start_network(tokenizer, windows, seed)
    return fitting.start_training(tokenizer, network, blocks, settings, seed)


def contextual_start(blocks):
    """What the plain loop needs; rows are windows."""
    # With one step, idle codes are never moved.
    trainer = contextual_trainer(blocks, max_steps=1, seed=torch.initial_seed())

    def error_of(batch):
        return trainer.losses_of(batch)[0]

    def loss_of(batch):
        error, penalty = trainer.losses_of(batch)
        return error / trainer.power + penalty

    return trainer.trained, torch.from_numpy(blocks), error_of, loss_of


def table_1_start(blocks):
    """What the plain loop needs; rows are single blocks."""
    network = DimReduction(BLOCK_SIZE, latent_dim=1)

    def error_of(batch):
        return F.mse_loss(network.decode(network.encode(batch)), batch)

    def loss_of(batch):
        return F.mse_loss(network(batch), batch)

    return network, torch.from_numpy(blocks).view(-1, 1, BLOCK_SIZE), error_of, loss_of


def fit_seconds(tokenizer, blocks, held_out, **params):
    """Seconds that `fit` takes, and the error on the held-out blocks."""
    tokenizer.set_params(**params)
    seconds = seconds_of(partial(tokenizer.fit, blocks))
    return seconds, -neg_reconstruction_mse(tokenizer, held_out)


def time_to_error(tokenizer, start, blocks, held_out):
    """One row: seconds of sktok and of the plain loop to 1.1 × the final error."""
    fit_with = partial(fit_seconds, tokenizer, blocks, held_out)
    whole = [fit_with(random_state=seed, max_steps=WHOLE_STEPS) for seed in SEEDS]
    complete, target = np.median(whole, axis=0) * [1, 1.1]
    ours, plain = [], []
    for seed in SEEDS:
        for max_steps in SCHEDULES:
            seconds, error = fit_with(random_state=seed, max_steps=max_steps)
            if error <= target:
                break
        else:
            seconds = math.inf
        ours.append(seconds)
        torch.manual_seed(seed)
        patience = PATIENCE * min(seconds, complete)
        windows = torch.from_numpy(held_out)
        plain.append(seconds_of_plain_loop(start, blocks, windows, target, patience))
    with np.errstate(invalid="ignore"):
        times = np.divide(plain, ours)
    times[np.isnan(times)] = 0  # neither side reaches the error
    return (
        ratio(times, 1),
        median(ours),
        " ".join(f"{seconds:.3g}" for seconds in sorted(plain)),
        f"{target:.3g}",
        f"{complete:.3g}",
    )


def fit():
    X_fit, X_test, _ = load()
    table_1 = ConvAETokenizer("dimreduction")
    contextual = ConvAETokenizer(quantizer=VectorQuantizer())
    blocks = blocks_of(X_fit), blocks_of(X_test)
    print_table(
        f"Fitting ({len(X_fit)} windows, seeds {SEEDS}; inf: the error is not reached "
        f"within {PATIENCE} times the time of sktok)",
        (
            "",
            "ratio",
            "sktok, s to 1.1 × its final error",
            "plain loop, s, each seed",
            "that error, held out",
            "sktok's whole fit, s",
        ),
        [
            ("Table 1", *time_to_error(table_1, table_1_start, *blocks)),
            ("contextual", *time_to_error(contextual, contextual_start, *blocks)),
        ],
    )


# The cost of sums in a fixed order.


class PlainActivate:
    """`_Activate` with torch's own gradients."""

    @staticmethod
    def apply(h, n_blocks, kernel, _, weight, bias, eps):
        normalized = F.rms_norm(h, h.shape[-1:], eps=eps.item())
        mixed = sums.convolve(normalized, n_blocks, sums.as_image_kernel(kernel))
        return F.linear(mixed, weight, bias).relu().square()


def plain_product(rows, weight, addend=0.0):
    return addend + rows @ weight


def plain_autograd():
    """Give `sktok.networks` layers with torch's own gradients."""
    return mock.patch.multiple(
        "sktok.networks", product=plain_product, _Activate=PlainActivate
    )


def take_steps(trainer, batch, n_threads, gradients):
    with limited_threads(n_threads), gradients():
        for _ in range(STEPS_PER_TURN):
            trainer.step(batch)


def threads():
    blocks = blocks_of(load()[0])
    batch, rows = torch.from_numpy(blocks[:BATCH_SIZE]), []
    for n_threads in (1, 2):
        sides = {}
        for gradients in (nullcontext, plain_autograd):
            trainer = contextual_trainer(blocks, max_steps=10**6)  # not all are taken
            steps = partial(take_steps, trainer, batch, n_threads, gradients)
            sides[gradients] = steps
        ours, plain = (1000 * s / STEPS_PER_TURN for s in race(sides).values())
        rows.append((n_threads, ratio(ours, plain), median(ours), median(plain)))
    print_table(
        f"Threads: a gradient step of the contextual network, {tuple(batch.shape)}",
        ("threads", "ratio", "sktok (fixed order of sums), ms", "plain autograd, ms"),
        rows,
    )


# Grid search.

SEARCHED_BLOCKS = [5, 10, 25, 50]
SEARCHED_BINS = [16, 64, 256, 1024]
FOLDS = KFold(3)


def searched(**params):
    tokenizer = make_paper_tokenizer(
        limits="minmax", max_steps=SEARCH_STEPS, random_state=0
    )
    return tokenizer.set_params(**params)


def run_search(X, n_jobs):
    grid = {"segment__block_size": SEARCHED_BLOCKS, "quantize__n_bins": SEARCHED_BINS}
    with tempfile.TemporaryDirectory() as folder:
        GridSearchCV(
            searched(memory=folder),
            grid,
            scoring=neg_reconstruction_mse,
            cv=FOLDS,
            n_jobs=n_jobs,
            refit=False,
        ).fit(X)


def fit_networks(X):
    for block_size in SEARCHED_BLOCKS:
        for rows, _ in FOLDS.split(X):
            searched(segment__block_size=block_size)[:-1].fit(X[rows])


def search():
    X_fit, _, _ = load()
    seconds = race(
        {
            "fits": partial(fit_networks, X_fit),
            "search": partial(run_search, X_fit, n_jobs=1),
            "two jobs": partial(run_search, X_fit, n_jobs=2),
        }
    )
    fits, one_job, two_jobs = seconds.values()
    print_table(
        "Grid search: 4 block sizes × 4 numbers of bins × 3 folds, with memory",
        ("", "ratio", "s"),
        [
            ("the 12 network fits alone", "", median(fits)),
            ("the search, relative to the fits", ratio(one_job, fits), median(one_job)),
            (
                "one job, relative to two jobs",
                ratio(one_job, two_jobs),
                median(two_jobs),
            ),
        ],
    )


# Growth with the size of the data. Each measurement runs in a separate process.


def measure(action, n_windows, n_codes=256):
    """Seconds, and peak memory in megabytes without input and output."""
    blocks = blocks_of(load()[0])
    tokenizer = ConvAETokenizer(
        quantizer=VectorQuantizer(256), max_steps=MEASURED_STEPS, random_state=0
    ).fit(blocks)
    codes = tokenizer.quantizer_.codes_
    if n_codes > len(codes):
        noise = np.random.default_rng(0).normal(size=(n_codes, codes.shape[1]))
        tokenizer.quantizer_.codes_ = (noise * codes.std()).astype(codes.dtype)
    tokenizer.inverse_transform(tokenizer.transform(blocks))  # loads all modules
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
    """Peak memory of this process.

    On Linux, `getrusage` may return that of the parent process.
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
        "Growth: time, and peak memory without input and output",
        ("", "log–log slope from 10⁴", *(f"{n:,} windows" for n in GROWTH)),
        rows,
    )
    print(f"\n`fit` takes {MEASURED_STEPS} steps for any number of windows.")


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
        ("codes", "times the time", "times the codes", "s", "MB without input, output"),
        rows,
    )


def startup():
    # Compiled modules are kept, as for an installed package.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}

    def importing(modules):
        command = [sys.executable, "-c", f"import {modules}"]
        return partial(subprocess.run, command, check=True, env=environment)

    seconds = race({name: importing(name) for name in IMPORTED})
    print_table(
        "Start-up",
        ("", "ratio to sklearn", "s"),
        [
            (f"import {name}", ratio(s, seconds["sklearn"]), median(s))
            for name, s in seconds.items()
        ],
    )


SECTIONS = (
    networks,
    profile,
    rivals,
    fit,
    threads,
    search,
    growth,
    vocabulary,
    startup,
)


def main(*names):
    print(f"# {os.cpu_count()} cores, torch {torch.__version__}, float32")
    by_name = {section.__name__: section for section in SECTIONS}
    for name in names or by_name:
        by_name[name]()


if __name__ == "__main__":
    main(*sys.argv[1:])
