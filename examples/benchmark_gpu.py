"""Is sktok faster on a CUDA device, and does it give the same tokens there?

Both devices take turns in one run; figures are medians of five turns. The signal is
made up, so no data set is needed. About four minutes on a fast GPU with 16 cores::

    PYTHONPATH=. python examples/benchmark_gpu.py [PAGE]

It needs numpy, scipy, scikit-learn, joblib, tqdm and torch, and for the check of safe
files skops and filelock. It prints its progress, and then three tables: checks, speed
and chunk sizes. They are also written to PAGE (Markdown), if it is given. The exit code
is 1 if a check fails. Without a CUDA device the script does a dry run on the CPU with
tiny sizes, whose figures mean nothing, and the exit code is 0.
"""

import copy
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
import timeit
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import sktok
from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    ConvAETokenizer,
    GainShapeTokenizer,
    VectorQuantizer,
    make_paper_tokenizer,
    make_tokenizer,
)

FULL = SimpleNamespace(
    n_windows=80_000,  # 20 million samples: 22 hours at 250 Hz
    n_fit=1000,
    n_search=4000,
    n_copies=200,  # windows for the profiler
    fit_steps=200,
    large_steps=20,
    large_batch=1024,
    quick_steps=30,
    n_jobs=2,
    n_turns=5,
    chunk_factors=(1, 4, 16, 64, 256),
    seconds=270,  # after which rows get one turn each
)
TINY = SimpleNamespace(
    n_windows=60,
    n_fit=40,
    n_search=5,
    n_copies=5,
    fit_steps=3,
    large_steps=2,
    large_batch=128,
    quick_steps=2,
    n_jobs=1,
    n_turns=1,
    chunk_factors=(1, 4),
    seconds=270,
)
FS = 250
WINDOW_LENGTH = 250
BLOCK_SIZE = 10
N_CANDIDATES = 6
CHUNK_BLOCKS = 6400  # blocks of a chunk on the CPU
BATCH = {"contextual": 64, "Table 1": 32}  # windows
TIE = 1e-4  # two codes are equally near if their distances differ by less
AGREEMENT = 0.999  # of tokens, between devices
CLOSE_TO_BEST = 0.95  # of the best rate: a smaller chunk is preferred

# wave: height in mV, centre in shares of the beat from R, width in seconds
WAVES = {
    "P": (0.15, -0.20, 0.025),
    "Q": (-0.10, -0.03, 0.010),
    "R": (1.00, 0.00, 0.012),
    "S": (-0.25, 0.03, 0.010),
    "T": (0.30, 0.30, 0.045),
}


def made_up_ecg(n_windows, seed=0):
    """Windows of an ECG made of Gaussian waves, in mV: (n_windows, WINDOW_LENGTH).

    Intervals, heights and widths vary from beat to beat and from patient to patient; a
    slow baseline and white noise are added.
    """
    rng = np.random.default_rng(seed)
    n_samples = n_windows * WINDOW_LENGTH
    n_beats = n_samples // (FS // 2) + 2  # at most 120 a minute
    patient = np.arange(n_beats) // 100
    interval = rng.uniform(0.6, 1.1, n_beats)[patient]
    interval = interval * np.exp(0.05 * rng.normal(size=n_beats))
    time_of_r = np.cumsum(interval)
    seconds = np.arange(n_samples) / FS
    signal = 0.1 * np.sin(2 * np.pi * 0.25 * seconds)
    signal += 0.01 * rng.normal(size=n_samples)
    offsets = np.arange(-FS // 2, FS // 2)
    for height, centre, width in WAVES.values():
        heights = height * np.exp(0.3 * rng.normal(size=n_beats)[patient])
        heights *= np.exp(0.1 * rng.normal(size=n_beats))
        widths = width * np.exp(0.2 * rng.normal(size=n_beats)[patient])
        peak = time_of_r + centre * interval
        index = np.rint(peak * FS).astype(int)[:, None] + offsets
        distance = (index / FS - peak[:, None]) / widths[:, None]
        wave = heights[:, None] * np.exp(-(distance**2) / 2)
        inside = (index >= 0) & (index < n_samples)
        np.add.at(signal, index[inside], wave[inside])
    return signal.reshape(n_windows, WINDOW_LENGTH).astype(np.float32)


def load(sizes):
    """Blocks to fit on, and blocks to time: a short signal repeated, with gains."""
    X = AmplitudeScaler().fit_transform(made_up_ecg(2 * sizes.n_fit))
    gain = np.random.default_rng(0).uniform(0.9, 1.1, (sizes.n_windows, 1))
    archive = np.resize(X[sizes.n_fit :], (sizes.n_windows, WINDOW_LENGTH))
    archive = archive * gain.astype(np.float32)
    segmenter = BlockSegmenter(BLOCK_SIZE)
    return (
        segmenter.fit_transform(X[: sizes.n_fit]),
        segmenter.fit_transform(archive),
    )


def tokenizers(n_steps, device):
    """The recommended network and the paper's, each with a quantiser inside."""
    params = {"max_steps": n_steps, "random_state": 0, "device": device}
    return {
        "contextual": ConvAETokenizer(
            quantizer=VectorQuantizer(256), batch_size=BATCH["contextual"], **params
        ),
        "Table 1": ConvAETokenizer(
            "dimreduction",
            quantizer=BinQuantizer(256, limits=(-5, 5)),
            batch_size=BATCH["Table 1"],
            **params,
        ),
    }


def on(tokenizer, device, **params):
    """A shallow copy of a fitted tokenizer that computes on another device."""
    return copy.copy(tokenizer).set_params(device=device, **params)


def say(text):
    print(f"[{time.monotonic() - START:5.0f} s] {text}", flush=True)


START = time.monotonic()


# Speed


def seconds_of(call):
    return timeit.timeit(call, number=1)


def explained(error):
    """An exception in one line."""
    return f"{type(error).__name__}: {first_line(error)}"


def first_line(text):
    return next(iter(str(text).strip().splitlines()), "")


def race(sides, sizes):
    """Seconds of each side in turns: name -> (n_turns,). Warm up first."""
    seconds = {name: [] for name in sides}
    for _ in range(sizes.n_turns):
        for name, call in sides.items():
            seconds[name].append(seconds_of(call))
        if time.monotonic() - START > sizes.seconds:
            break
    return {name: np.array(values) for name, values in seconds.items()}


def rate(n_samples, seconds):
    """Million samples a second."""
    return n_samples / np.median(seconds) / 1e6


def with_peak(call, device):
    """The result of a call, and the megabytes that it takes on the device at most."""
    if device != "cuda":
        return call(), "–"
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = call()
    return result, f"{(torch.cuda.max_memory_allocated() - before) / 1e6:.0f}"


def copy_seconds(call, device):
    """Seconds that the device spends on copies to and from the host in a call."""
    activity = torch.profiler.ProfilerActivity
    kind = activity.CUDA if device == "cuda" else activity.CPU
    with torch.profiler.profile(activities=[kind]) as profile:
        call()
    events = profile.key_averages()
    copies = [e for e in events if "HtoD" in e.key or "DtoH" in e.key]
    return sum(event.self_device_time_total for event in copies) / 1e6


class Row(SimpleNamespace):
    """What is timed: `call(device)` for `n_samples`, and `short` for the profiler."""


def fit_rows(name, tokenizer, blocks, sizes):
    """Rows for a fit of `fit_steps` steps, and for its gradient steps alone."""

    def fit(device, n_steps):
        return clone(tokenizer).set_params(device=device, max_steps=n_steps).fit(blocks)

    n_samples = sizes.fit_steps * tokenizer.batch_size * WINDOW_LENGTH
    yield Row(
        name=f"fit, {name}, {sizes.fit_steps} steps of {tokenizer.batch_size} windows",
        n_samples=n_samples,
        call=partial(fit, n_steps=sizes.fit_steps),
        start=partial(fit, n_steps=1),
        short=partial(fit, n_steps=min(20, sizes.fit_steps)),
        compare=lambda a, b: f"last losses {last_loss(a):.3g}, {last_loss(b):.3g}",
    )


def last_loss(tokenizer):
    return float(np.mean(tokenizer.loss_curve_[-20:]))


def use_rows(name, tokenizer, blocks, device, sizes):
    """Rows for tokenizing, decoding and search with a fitted tokenizer."""
    few, fewest = blocks[: sizes.n_search], blocks[: sizes.n_copies]
    places = device, "cpu"
    plain = {place: on(tokenizer, place) for place in places}
    searching = {p: on(tokenizer, p, n_candidates=N_CANDIDATES) for p in places}
    tokens = plain["cpu"].transform(blocks)

    def tokenize(place):
        return plain[place].transform(blocks)

    def decode(place):
        return plain[place].inverse_transform(tokens)

    def search(place, blocks=few):
        return searching[place].transform(blocks)

    yield Row(
        name=f"tokenize, {name}",
        n_samples=blocks.size,
        call=tokenize,
        short=tokenize,
        compare=count_different,
    )
    yield Row(
        name=f"decode, {name}" + ", a look-up on the CPU" * has_table(tokenizer),
        n_samples=blocks.size,
        call=decode,
        short=decode,
        compare=lambda a, b: f"differs by up to {np.abs(a - b).max():.1e}",
    )
    yield Row(
        name=f"search, {name}, n_candidates={N_CANDIDATES}",
        n_samples=few.size,
        call=search,
        short=partial(search, blocks=fewest),
        compare=partial(compare_search, tokenizer, few),
    )


def has_table(tokenizer):
    return tokenizer.codebook_ is not None


def count_different(ours, theirs):
    return f"{(ours != theirs).sum():,} of {ours.size:,} tokens differ"


@torch.no_grad()
def distance_gaps(tokenizer, blocks, ours, theirs):
    """For each token that differs: the gap between the distances of its two codes.

    Distances are those of the latent from float64 arithmetic, and the gap is a share of
    the longer one; 0 is a tie.
    """
    rows = np.flatnonzero((ours != theirs).any(axis=1))
    if len(rows) == 0:
        return np.empty(0)
    network = copy.deepcopy(tokenizer.network_).double().eval()
    codes = tokenizer.quantizer_.codes_.astype(np.float64)
    parts = torch.from_numpy(blocks[rows].astype(np.float64)).split(1024)
    latents = torch.cat([network.encode(part) for part in parts]).numpy()
    latents = latents.reshape(*ours[rows].shape, codes.shape[1])
    a, b = (
        np.linalg.norm(latents - codes[tokens[rows]], axis=-1)
        for tokens in (ours, theirs)
    )
    differs = ours[rows] != theirs[rows]
    a, b = a[differs], b[differs]
    return np.abs(a - b) / np.maximum(np.maximum(a, b), np.finfo(float).tiny)


def compare_search(tokenizer, blocks, ours, theirs):
    """How many tokens differ, and the errors that they leave."""
    decoder = on(tokenizer, "cpu")
    errors = [
        np.mean((decoder.inverse_transform(tokens) - blocks) ** 2)
        for tokens in (ours, theirs)
    ]
    return (
        f"{count_different(ours, theirs)}; error {errors[0] / errors[1]:.6f} times "
        "the CPU's"
    )


def measure(row, device, sizes):
    """Fill in the cells of a row: times on both devices, and what the results say."""
    sides = {"device": partial(row.call, device), "cpu": partial(row.call, "cpu")}
    result, peak = with_peak(sides["device"], device)
    result = row.compare(result, sides["cpu"]())
    has_start = hasattr(row, "start")
    if has_start:
        sides["device start"] = partial(row.start, device)
        sides["cpu start"] = partial(row.start, "cpu")
    seconds = race(sides, sizes)
    cells = speed_cells(row.name, row.n_samples, seconds["device"], seconds["cpu"])
    row.cells = [[*cells, "–", peak, result]]
    if has_start:
        steps = [seconds[s] - seconds[f"{s} start"] for s in ("device", "cpu")]
        n_steps = sizes.fit_steps - 1
        each = ", ".join(f"{1000 * np.median(s) / n_steps:.3g}" for s in steps)
        n_samples = row.n_samples * n_steps // sizes.fit_steps
        cells = speed_cells("– its steps after the first", n_samples, *steps)
        row.cells.append([*cells, "–", "–", f"ms a step: {each}"])


def speed_cells(name, n_samples, ours, theirs):
    return [
        name,
        f"{rate(n_samples, ours):.3g}",
        f"{rate(n_samples, theirs):.3g}",
        f"**{np.median(theirs / ours):.3g}**",
    ]


def large_batch_row(tokenizer, blocks, sizes):
    """A row for the gradient steps of a batch that gives the device more work."""
    n_steps, batch_size = sizes.large_steps, sizes.large_batch
    many = np.resize(blocks, (batch_size, *blocks.shape[1:]))

    def fit(device):
        params = {"max_steps": n_steps, "batch_size": batch_size, "device": device}
        return clone(tokenizer).set_params(**params).fit(many)

    return Row(
        name=f"fit, contextual, {n_steps} steps of {batch_size} windows",
        n_samples=n_steps * batch_size * WINDOW_LENGTH,
        call=fit,
        short=fit,
        compare=lambda a, b: f"last losses {last_loss(a):.3g}, {last_loss(b):.3g}",
    )


def speed(fitted, fit_blocks, blocks, device, sizes):
    """The measured rows of the table of speed."""
    rows = []
    for name, tokenizer in fitted.items():
        rows += fit_rows(name, tokenizer, fit_blocks, sizes)
        rows += use_rows(name, tokenizer, blocks, device, sizes)
    rows.append(large_batch_row(fitted["contextual"], fit_blocks, sizes))
    for row in rows:
        try:
            measure(row, device, sizes)
        except Exception as error:  # the other rows still run
            row.cells = [[row.name, *5 * ["–"], explained(error)]]
        say(" | ".join(row.cells[0]))
    return rows


def add_copies(rows, device):
    """Put the share of copies into the rows. Comes last: a profiler slows calls."""
    for row in rows:
        call = partial(row.short, device)
        try:
            seconds = seconds_of(call)
            copies = copy_seconds(call, device)
            row.cells[0][4] = f"{100 * copies / seconds:.1f} %" if copies else "–"
        except Exception as error:  # a profiler may not work everywhere
            row.cells[0][4] = explained(error)
        say(f"copies of {row.name}: {row.cells[0][4]}")


# Chunk sizes


def chunk_rows(fitted, blocks, device, sizes):
    """Rates of the networks alone, by the number of blocks in a chunk."""
    rows = []
    for name, tokenizer in fitted.items():
        rates = {}
        for factor in sizes.chunk_factors:
            n_blocks = CHUNK_BLOCKS * factor
            n_windows = n_blocks // blocks.shape[1]
            try:
                *seconds, peak = chunk_seconds(
                    tokenizer, blocks, n_windows, device, sizes
                )
            except Exception as error:  # such as too little memory
                rows.append([name, f"{n_blocks:,}", *4 * ["–"], explained(error)])
            else:
                on_device, from_host, _ = map(np.median, seconds)
                rates[n_blocks] = 1 / from_host
                transfers = f"{100 * (1 - on_device / from_host):.0f} %"
                each = (f"{rate(blocks.size, s):.3g}" for s in seconds)
                rows.append([name, f"{n_blocks:,}", *each, transfers, peak])
            say(" | ".join(rows[-1]))
        if rates:
            rows.append([name, f"**recommended: {recommended(rates):,}**", *5 * [""]])
    return rows


@torch.no_grad()
def chunk_seconds(tokenizer, blocks, n_windows, device, sizes):
    """Seconds to tokenize from the device and from the host, to decode; peak memory.

    All chunks have the same number of windows: the last one is filled up.
    """
    network = copy.deepcopy(tokenizer.network_).to(device)
    if hasattr(network, "for_inference"):
        network = network.for_inference()
    codes = torch.tensor(tokenizer.quantizer_.codes_, device=device).float()
    n_chunks = -(-len(blocks) // n_windows)
    on_host = torch.from_numpy(
        np.resize(blocks, (n_chunks * n_windows, *blocks.shape[1:]))
    )
    there = on_host.to(device)
    latents = codes[tokens_of(network, codes, there[:n_windows])].flatten(2)

    def synchronized(compute):
        for chunk in range(n_chunks):
            compute(slice(chunk * n_windows, (chunk + 1) * n_windows))
        if device == "cuda":
            torch.cuda.synchronize()

    calls = {
        "on device": lambda rows: tokens_of(network, codes, there[rows]),
        "from host": lambda rows: tokens_of(
            network, codes, on_host[rows].to(device)
        ).cpu(),
        "decode": lambda rows: network.decode(latents),
    }
    sides = {name: partial(synchronized, call) for name, call in calls.items()}
    peaks = [with_peak(call, device)[1] for call in sides.values()]
    seconds = race(sides, sizes)
    return *(seconds[name] * len(blocks) / len(there) for name in sides), peaks[0]


def tokens_of(network, codes, chunk):
    """Index of the code nearest to each latent: (windows, blocks, tokens)."""
    latents = network.encode(chunk)
    values = latents.reshape(-1, codes.shape[1])
    distance = torch.addmm(codes.square().sum(1), values, codes.T, alpha=-2)
    return distance.argmin(1).view(*latents.shape[:2], -1)


def recommended(rates):
    """The smallest chunk that is close to the best rate."""
    best = max(rates.values())
    return min(n for n, value in rates.items() if value >= CLOSE_TO_BEST * best)


# Checks


class Linear(torch.nn.Module):
    """A custom network."""

    def __init__(self, block_size, latent_dim):
        super().__init__()
        self.down = torch.nn.Linear(block_size, latent_dim)
        self.up = torch.nn.Linear(latent_dim, block_size)

    def encode(self, x):
        return self.down(x)

    def decode(self, z):
        return self.up(z)


def neg_error(estimator, X, y=None):
    """A scorer that needs no sktok.metrics."""
    return -np.mean((estimator.inverse_transform(estimator.transform(X)) - X) ** 2)


def quick(device, sizes, **params):
    defaults = {"quantizer": VectorQuantizer(64), "max_steps": sizes.quick_steps}
    return ConvAETokenizer(**{**defaults, "random_state": 0, "device": device} | params)


def require_agreement(tokenizer, blocks, device):
    """Require that the CPU gives the device's tokens, but for ties."""
    ours = on(tokenizer, device).transform(blocks)
    theirs = on(tokenizer, "cpu").transform(blocks)
    require(np.mean(ours == theirs) > AGREEMENT, f"{np.mean(ours == theirs):.4f} agree")
    return f"{np.mean(ours == theirs):.2%} of {ours.size:,} tokens agree"


def require(condition, message):
    if not condition:
        raise RuntimeError(message)


def fit_agrees(blocks, device, sizes, **params):
    return require_agreement(quick(device, sizes, **params).fit(blocks), blocks, device)


def pickle_works_on_the_cpu(blocks, device, sizes):
    """As test_a_tokenizer_fitted_on_a_gpu_works_on_the_cpu in tests/."""
    tokenizer = quick(device, sizes, quantizer=BinQuantizer(64)).fit(blocks)
    on_device = tokenizer.transform(blocks)
    loaded = pickle.loads(pickle.dumps(tokenizer)).set_params(device="cpu")
    agree = np.mean(loaded.transform(blocks) == on_device)
    require(agree > AGREEMENT, f"{agree:.4f} of the tokens agree")
    return f"{agree:.2%} of the tokens agree"


def warm_start_agrees(blocks, device, sizes):
    tokenizer = quick(device, sizes, warm_start=True).fit(blocks).fit(blocks)
    require(tokenizer.n_steps_ == 2 * sizes.quick_steps, f"{tokenizer.n_steps_} steps")
    return require_agreement(tokenizer, blocks, device)


def stream_goes_on(blocks, device, sizes):
    """A stream that begins on the device, moves to the CPU by pickle, and returns."""
    tokenizer = quick(device, sizes, max_steps=1000)
    for place in (device, "cpu", device):
        tokenizer = pickle.loads(pickle.dumps(tokenizer)).set_params(device=place)
        tokenizer.partial_fit(blocks)
    return require_agreement(tokenizer, blocks, device)


def latents_agree(blocks, device, sizes):
    tokenizer = quick(device, sizes, quantizer=None, latent_dim=4).fit(blocks)
    ours, theirs = (on(tokenizer, d).transform(blocks) for d in (device, "cpu"))
    difference = np.abs(ours - theirs).max() / np.abs(theirs).max()
    require(difference < 1e-4, f"latents differ by {difference:.1e} of the largest")
    return f"latents differ by {difference:.1e} of the largest"


def pipelines_agree(blocks, device, sizes):
    """Both recipes, and gain and shape, from windows."""
    X = made_up_ecg(len(blocks))
    steps = {"max_steps": sizes.quick_steps, "random_state": 0}
    shares = []
    for tokenizer in (
        make_tokenizer(**steps),
        make_paper_tokenizer(**steps),
        GainShapeTokenizer(make_tokenizer(**steps)),
    ):
        is_nested = isinstance(tokenizer, GainShapeTokenizer)
        (tokenizer.tokenizer if is_nested else tokenizer).set_params(
            tokenize__device=device
        )
        ours = tokenizer.fit(X).transform(X)
        back = tokenizer.inverse_transform(ours)
        require(np.isfinite(back).all(), "the signal is not finite")
        fitted = tokenizer.tokenizer_ if is_nested else tokenizer
        fitted.set_params(tokenize__device="cpu")
        shares.append(np.mean(tokenizer.transform(X) == ours))
    result = ", ".join(f"{s:.2%}" for s in shares) + " of the tokens agree"
    require(min(shares) > AGREEMENT, result)
    return result


def only_ties_differ(tokenizer, blocks, device):
    """Tokens that differ between the devices have two codes at the same distance."""
    ours, theirs = (on(tokenizer, d).transform(blocks) for d in (device, "cpu"))
    gaps = distance_gaps(tokenizer, blocks, ours, theirs)
    result = count_different(ours, theirs)
    if len(gaps):
        result += (
            f", {(gaps < TIE).sum():,} of them ties; the gap between the distances is "
            f"{np.median(gaps):.0e} in the median, {gaps.max():.0e} at most"
        )
    require((gaps < TIE).all(), result)
    return result


def threads_agree(tokenizer, blocks, device):
    """Four threads at one tokenizer."""
    ours = on(tokenizer, device)
    expected = ours.transform(blocks)
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(ours.transform, [blocks] * 4))
    require(all((r == expected).all() for r in results), "tokens differ")
    return "the same tokens"


def batches_agree(tokenizer, blocks, device):
    """A window alone, and the same window in its batch."""
    ours = on(tokenizer, device)
    whole = ours.transform(blocks)
    places = (0, len(blocks) // 3, len(blocks) - 1)
    alone = [ours.transform(blocks[i : i + 1])[0] for i in places]
    n_different = sum((a != whole[i]).sum() for a, i in zip(alone, places, strict=True))
    shifted = (ours.transform(blocks[7:]) != whole[7:]).sum()
    require(n_different + shifted == 0, f"{n_different}, {shifted} tokens differ")
    return "the same tokens"


def search_on_processes(blocks, device, sizes):
    """A grid search of several processes, each with the device."""
    grid = {"quantizer__n_codes": [8, 16]}
    search = GridSearchCV(
        quick(device, sizes), grid, scoring=neg_error, cv=2, n_jobs=sizes.n_jobs
    ).fit(blocks)
    scores = search.cv_results_["mean_test_score"]
    require(np.isfinite(scores).all(), f"scores {scores}")
    return "finite scores"


def same_seed(blocks, device, sizes):
    """How much two fits with the same seed differ; nothing is promised."""
    a, b = (quick(device, sizes).fit(blocks).loss_curve_ for _ in range(2))
    difference = max(abs(x - y) / x for x, y in zip(a, b, strict=True))
    return f"losses of two fits differ by up to {difference:.1e}"


LOAD = """
import json, pickle, sys
from pathlib import Path
import numpy as np
import torch

assert not torch.cuda.is_available()
folder = Path(sys.argv[1])
blocks, expected = np.load(folder / "blocks.npy"), np.load(folder / "tokens.npy")
results = {}
for path in sorted(folder.glob("*.tokenizer")):
    try:
        if path.name.startswith("safe"):
            from sktok.persistence import load

            tokenizer = load(path)
        else:
            tokenizer = pickle.loads(path.read_bytes())
        if not path.name.endswith("auto.tokenizer"):
            tokenizer.set_params(device="cpu")
        n_different = int((tokenizer.transform(blocks) != expected).sum())
        results[path.stem] = f"{n_different} of {expected.size:,} tokens differ"
    except Exception as error:
        results[path.stem] = f"{type(error).__name__}: {error}"
print(json.dumps(results))
"""
FAILED = "**no**"
NO_SKOPS = "not run: needs skops and filelock"
FILES = {
    "pickle": 'a pickle of device="{}", loaded where there is no CUDA',
    "pickle auto": 'a pickle of device="auto", likewise',
    "safe": 'a safe file of device="{}", likewise',
    "safe auto": 'a safe file of device="auto", likewise',
}


def save_function():
    """`sktok.persistence.save`, or None where packages are missing that it needs."""
    try:
        import skops.io  # noqa: F401

        from sktok.persistence import save
    except ImportError:
        return None
    return save


def files_without_cuda(tokenizer, blocks, device):
    """Load pickles and safe files in a process without CUDA: file -> result."""
    save = save_function()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        np.save(folder / "blocks.npy", blocks)
        np.save(folder / "tokens.npy", on(tokenizer, "cpu").transform(blocks))
        for suffix, place in (("", device), (" auto", "auto")):
            moved = on(tokenizer, place)
            path = folder / f"pickle{suffix}.tokenizer"
            path.write_bytes(pickle.dumps(moved))
            if save is not None:
                save(moved, folder / f"safe{suffix}.tokenizer")
        here = str(Path(sktok.__file__).parents[1])
        packages = os.pathsep.join([here, *filter(None, sys.path)])
        done = subprocess.run(
            [sys.executable, "-c", LOAD, folder],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": packages},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
    require(done.returncode == 0, first_line(done.stderr[::-1])[::-1])
    results = json.loads(done.stdout)
    return {name: results.get(name, NO_SKOPS) for name in FILES}


def run_checks(fitted, fit_blocks, blocks, device, sizes):
    """Rows of the table of checks."""
    few = fit_blocks[:200]
    args = few, device, sizes
    checks = {
        "fitted on the device, pickled, used on the CPU": pickle_works_on_the_cpu,
        "early stopping": partial(fit_agrees, early_stopping=True),
        "warm start": warm_start_agrees,
        "a stream from the device to the CPU and back": stream_goes_on,
        "bins inside the contextual network": partial(
            fit_agrees, quantizer=BinQuantizer(64)
        ),
        "latents": latents_agree,
        "a custom network": partial(fit_agrees, network=Linear),
        "the recipes": pipelines_agree,
        "grid search, each process with the device": search_on_processes,
    }
    rows = [check(name, function, *args) for name, function in checks.items()]
    for name, tokenizer in fitted.items():
        args = tokenizer, fit_blocks, device
        rows += [
            check(
                f"only ties differ, {name}", only_ties_differ, tokenizer, blocks, device
            ),
            check(f"a window alone or in its batch, {name}", batches_agree, *args),
            check(f"four threads, {name}", threads_agree, *args),
        ]
    rows.append(inform("the same seed twice", same_seed, few, device, sizes))
    return rows + file_rows(fitted["contextual"], few, device)


def check(name, function, *args):
    """A row that says whether a check holds. `function` raises if it does not."""
    try:
        row = name, "yes", function(*args)
    except Exception as error:  # the other checks still run
        row = name, FAILED, explained(error)
    say(" | ".join(row))
    return row


def inform(name, function, *args):
    """A row with a measurement, about which nothing is promised."""
    name, holds, result = check(name, function, *args)
    return name, "–" if holds == "yes" else holds, result


def file_rows(tokenizer, blocks, device):
    """Rows for pickles and safe files that are loaded where there is no CUDA."""
    try:
        results = files_without_cuda(tokenizer, blocks, device)
    except Exception as error:
        results = dict.fromkeys(FILES, explained(error))
    rows = []
    for name, result in results.items():
        holds = "yes" if result.startswith("0 of") else FAILED
        holds = "–" if result == NO_SKOPS else holds
        rows.append((FILES[name].format(device), holds, result))
        say(" | ".join(rows[-1]))
    return rows


# The page


def machine(device):
    """The devices and releases of this run."""
    names = [
        f"{cpu_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads of "
        "torch"
    ]
    if device == "cuda":
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        names.insert(0, f"{torch.cuda.get_device_name()}, {memory:.0f} GiB")
    return (
        f"{'; '.join(names)}; Python {sys.version.split()[0]}, torch "
        f"{torch.__version__}, numpy {np.__version__}; float32.\n"
    )


def cpu_name():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not on Linux
        lines = []
    names = (line.partition(": ")[2] for line in lines if "model name" in line)
    return next(names, "CPU")


def table(title, header, rows):
    lines = [f"## {title}", "", "| " + " | ".join(header) + " |"]
    lines.append("|" + "---|" * len(header))
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


SPEED = (
    "",
    "{device}, Ms/s",
    "CPU, Ms/s",
    "ratio",
    "copies between host and device",
    "peak on the device, MB",
    "results of {device} and CPU",
)
CHUNKS = (
    "network",
    "blocks in a chunk",
    "tokenize, data on the device, Ms/s",
    "tokenize from the host, Ms/s",
    "decode, Ms/s",
    "transfers when tokenizing from the host",
    "peak on the device, MB",
)
CHECKS = ("check", "holds", "result")


def main(page=None):
    """Run everything; return the exit code."""
    is_cuda = torch.cuda.is_available()
    device, sizes = ("cuda", FULL) if is_cuda else ("cpu", TINY)
    if not is_cuda:
        print("No CUDA device: this is a dry run on the CPU. Its figures mean nothing.")
    parts = {"machine": machine(device)}
    say(parts["machine"].strip())
    fit_blocks, blocks = load(sizes)
    say(f"{blocks.size:,} samples in {len(blocks):,} windows")
    fitted = tokenizers(sizes.fit_steps, device)
    for name, tokenizer in fitted.items():
        say(f"fit of {name}: {seconds_of(partial(tokenizer.fit, fit_blocks)):.1f} s")

    checks = run_checks(fitted, fit_blocks, blocks, device, sizes)
    publish(parts, page, "Checks", CHECKS, checks)
    rows = speed(fitted, fit_blocks, blocks, device, sizes)
    name = "CUDA" if is_cuda else "dry run"
    header = [title.format(device=name) for title in SPEED]
    publish(parts, page, "Speed", header, [c for row in rows for c in row.cells])
    chunks = chunk_rows(fitted, blocks, device, sizes)
    publish(parts, page, "Chunk sizes", CHUNKS, chunks)
    add_copies(rows, device)
    publish(parts, page, "Speed", header, [c for row in rows for c in row.cells])
    print("\n" + "\n".join(parts.values()), flush=True)
    n_failed = sum(holds == FAILED for _, holds, _ in checks)
    say(f"done; {n_failed} checks failed")
    return int(is_cuda and n_failed > 0)


def publish(parts, page, title, header, rows):
    """Put a table into the parts, and write all parts to `page` if it is given."""
    parts[title] = table(title, header, rows)
    if page is not None:
        Path(page).write_text("\n".join(parts.values()), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
