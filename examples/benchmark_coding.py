"""How many bytes does ECG take on the disk at each error, and how fast is it coded?

Tokenizers with entropy-constrained codes in two stages, and a `TokenCoder` for the
tokens of each, are fitted to the training patients of MIT-BIH (DS1) and code the
records of its test patients (DS2). A wavelet codec is the yardstick. Two fits run at a
time, each on one core; each row takes a quarter of an hour. At last, a language model
is trained on the tokens of each, for ten minutes on all cores::

    export SKTOK_DATA=FOLDER
    python examples/benchmark_coding.py [DOCS_FOLDER] [--seeds N ...] [--weights W ...]

It writes ``compression.md`` and its picture to the folder. Each row
is saved to ``compression.csv`` as soon as it is measured, and not measured again:
delete the file, or all rows of a method, setting and seed, to measure them again.
``--cache FOLDER`` keeps fitted tokenizers and coders.
"""

import argparse
import lzma
import tempfile
import time
import zlib
from itertools import product
from pathlib import Path

import joblib
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pywt
import torch
from benchmark_language_model import MINUTES, corpus_of, model_bits, train
from benchmark_language_model import load as load_records
from benchmark_paper import errors, load
from benchmark_rate_distortion import centred_records, wavelet_codec, wavelet_mse
from matplotlib.ticker import ScalarFormatter

from sktok import make_tokenizer
from sktok.coding import TokenCoder
from sktok.corpus import read_corpus
from sktok.metrics import heartbeat_f1, token_entropy

N_CODES = (1024, 512)
# 0: 256 codes in one stage.
RATE_WEIGHTS = (0.0, 0.00045, 0.0005, 0.00075, 0.0025, 0.012)
N_CANDIDATES = 6
STAGED = {10: (1, N_CANDIDATES), 2: (1,)}  # block size -> candidates of the search
SEEDS = (0, 1, 2)
CHUNK_SIZE = 20_000  # tokens: five minutes
TIMED_CHUNK_SIZE = 10_000
STEPS = np.geomspace(0.008, 0.16, 16)  # of the wavelet codec
CODED_STEPS = (0.02, 0.03, 0.05)  # with bytes on the disk
LARGEST_LEVEL = 1000
ADC_BITS = 11  # of a sample of MIT-BIH
PUBLICATION = "Rebollo-Neira (2019), wavelets"
PUBLISHED = (23.17, 0.53), (62.5, 1.71)  # compression ratio, PRD
N_TIMED = 2_500_000  # tokens
REPEATS = 5
N_VARIANTS = 1  # of each record, for the language model
KEY = ["method", "setting", "seed", "n_candidates"]


def bits_of_block(tokens, n_stages):
    """Entropy of the tokens of a block, in bits."""
    return sum(token_entropy(tokens[:, stage::n_stages]) for stage in range(n_stages))


def load_float32(split):
    ecg = load(split)
    ecg.data = ecg.data.astype(np.float32)
    return ecg


def fitted_tokenizer(rate_weight, seed):
    """A tokenizer that was fitted to DS1, and how long that took."""
    n_codes = N_CODES if rate_weight else 256
    tokenizer = make_tokenizer(10, n_codes, rate_weight=rate_weight, random_state=seed)
    started = time.perf_counter()
    tokenizer.fit(load_float32("ds1").data)
    return tokenizer, time.perf_counter() - started


def run_stages(block_size, candidates, seed):
    """Figures of two stages of 256 codes whose bits are free, and of the first one."""
    torch.set_num_threads(1)
    tokenizer = make_tokenizer(block_size, (256, 256), random_state=seed)
    tokenizer.fit(load_float32("ds1").data)
    test, rows = load_float32("ds2"), []
    for n_stages, n_candidates in product((1, 2), candidates):
        tokenizer.set_params(
            tokenize__n_stages=n_stages, tokenize__n_candidates=n_candidates
        )
        tokens = tokenizer.transform(test.data)
        key = "stages", block_size, seed, n_candidates
        row = dict(zip(KEY, key, strict=True))
        row |= figures(tokenizer.inverse_transform(tokens), test)
        own_bits = bits_of_block(tokens, n_stages) / block_size
        rows.append(row | {"n_stages": n_stages, "own_bits": own_bits})
    return rows


def fitted_coder(tokenizer, seed, coder_params):
    """A coder for the tokens of a tokenizer."""
    fit = load_float32("ds1")
    coder = TokenCoder(chunk_size=CHUNK_SIZE, random_state=seed, **coder_params)
    tokens = tokenizer.transform(fit.data)
    return coder.fit(tokens, groups=fit.record, tokenizer=tokenizer)


def run_tokenizer(rate_weight, seed, memory, coder_params):
    """Fit a tokenizer and a coder on one core; a row without search, and one with."""
    torch.set_num_threads(1)
    tokenizer, fit_seconds = memory.cache(fitted_tokenizer)(rate_weight, seed)
    test, rows = load_float32("ds2"), []
    for n_candidates in (1, N_CANDIDATES):
        tokenizer.set_params(tokenize__n_candidates=n_candidates)
        tokens = tokenizer.transform(test.data)
        row = dict(zip(KEY, ("sktok", rate_weight, seed, n_candidates), strict=True))
        row |= {"fit_seconds": fit_seconds, "n_tokens": tokenizer[-1].n_tokens_}
        row |= figures(tokenizer.inverse_transform(tokens), test)
        n_blocks = test.data.shape[1] // 10
        row["own_bits"] = bits_of_block(tokens, tokens.shape[1] // n_blocks) / 10
        rows.append(row)
    coder = memory.cache(fitted_coder)(tokenizer, seed, coder_params)
    return [rows[0], rows[1] | sizes(coder, tokens, test)]


def figures(X_hat, test):
    """Errors of one reconstruction of the test records, and heartbeats found in it."""
    names = np.unique(test.record)
    of_records = [test.record == name for name in names]
    beats = [heartbeat_f1(test.data[r], X_hat[r], test.fs) for r in of_records]
    error = np.mean((test.data - X_hat) ** 2, axis=1)
    worst = np.sort(error)[-len(error) // 100 :].mean()
    return {
        **errors(X_hat, test),
        "heartbeat_f1": np.mean(beats),
        "mse_of_worst_windows": worst,
    }


def sizes(coder, tokens, test):
    """Bits per sample as bytes of compressors."""
    n_samples, raw = test.data.size, tokens.astype("<u2").tobytes()
    data = coder.compress(tokens, groups=test.record)
    if not np.array_equal(coder.decompress(data), tokens):
        raise RuntimeError("The tokens did not come back.")
    ideal = coder.bits_per_token(tokens, groups=test.record) * tokens.size
    return {
        "coder_bits": 8 * len(data) / n_samples,
        "above_ideal": 8 * len(data) / ideal - 1,
        "deflate_bits": 8 * len(zlib.compress(raw, 9)) / n_samples,
        "lzma_bits": 8 * len(lzma.compress(raw, preset=9)) / n_samples,
    }


def run_speed(rate_weight, seed, memory, coder_params):
    """Tokens per second to bytes and back, in one process and in two: a row of each."""
    torch.set_num_threads(1)
    tokenizer, _ = memory.cache(fitted_tokenizer)(rate_weight, seed)
    tokenizer.set_params(tokenize__n_candidates=N_CANDIDATES)
    coder = memory.cache(fitted_coder)(tokenizer, seed, coder_params)
    test = load_float32("ds2")
    tokenizer.set_params(tokenize__n_candidates=1)
    shape = N_TIMED // coder.n_features_in_, coder.n_features_in_
    tokens = np.resize(tokenizer.transform(test.data), shape)
    coder.set_params(chunk_size=TIMED_CHUNK_SIZE)
    rows = []
    for n_jobs in (1, 2):
        coder.set_params(n_jobs=n_jobs)
        coder.decompress(coder.compress(tokens))  # starts the processes
        seconds = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            data = coder.compress(tokens)
            encoded = time.perf_counter()
            coder.decompress(data)
            seconds.append((encoded - started, time.perf_counter() - encoded))
        row = dict(zip(KEY, ("speed", n_jobs, seed, 1), strict=True))
        encoding, decoding = tokens.size / np.median(seconds, axis=0)
        rows.append(row | {"in_per_second": encoding, "out_per_second": decoding})
    return rows


def searched_corpus(rate_weight, seed, memory, folder):
    """Write the searched tokens of all records, with variants, on one core."""
    torch.set_num_threads(1)
    tokenizer, _ = memory.cache(fitted_tokenizer)(rate_weight, seed)
    tokenizer.set_params(tokenize__n_candidates=N_CANDIDATES)
    fit, test, _ = load_records()
    corpus_of(tokenizer, fit, test, folder, N_VARIANTS)


def run_language_model(rate_weight, seed, folder):
    """Bits per sample under a language model of the tokens, on all cores: a row."""
    torch.set_num_threads(joblib.cpu_count())
    corpus = read_corpus(folder)
    bits = model_bits(train(corpus, MINUTES), corpus)
    row = dict(zip(KEY, ("model", rate_weight, seed, N_CANDIDATES), strict=True))
    vocabulary = corpus.vocabulary
    n_tokens, n_samples = vocabulary.tokens_per_window, vocabulary.window_length
    return [row | {"model_bits": bits * n_tokens / n_samples}]


def quantised_wavelets(signal, step):
    """Levels of all coefficients of a record, (n / 64, 64), coarse to fine, and error.

    The transform is that of `wavelet_codec`.
    """
    bands = pywt.wavedec(signal, "bior4.4", mode="periodization", level=6)
    levels = [np.sign(c) * np.floor(np.abs(c) / step + 0.35) for c in bands]
    restored = pywt.waverec(
        [step * band for band in levels], "bior4.4", mode="periodization"
    )
    n_rows = signal.size // 64
    rows = np.concatenate([band.reshape(n_rows, -1) for band in levels], axis=1)
    return rows.astype(np.int64), np.mean((signal - restored) ** 2)


def run_wavelets(step, coder_params):
    """Bytes of the wavelet codec with one step for all records: a row of figures."""
    torch.set_num_threads(1)
    fit, test = load_float32("ds1"), load_float32("ds2")
    n_bits, rows_of, mse = 0, [], []
    for signal in centred_records(test.data, test.record):
        rows, error = quantised_wavelets(signal, step)
        rows_of.append(rows)
        mse.append(error)
        n_bits += 8 * len(zlib.compress(rows.astype("<i2").tobytes(), 9))
    fit_rows = [
        quantised_wavelets(signal, step)[0]
        for signal in centred_records(fit.data, fit.record)
    ]

    def joined(parts):
        levels = np.concatenate(parts).clip(-LARGEST_LEVEL, LARGEST_LEVEL)
        return levels + LARGEST_LEVEL, np.repeat(
            range(len(parts)), list(map(len, parts))
        )

    coder = TokenCoder(
        n_tokens=2 * LARGEST_LEVEL + 1,
        chunk_size=100_000,
        random_state=0,
        **coder_params,
    )
    tokens, record = joined(fit_rows)
    coder.fit(tokens, groups=record)
    tokens, record = joined(rows_of)
    data = coder.compress(tokens, groups=record)
    row = dict(zip(KEY, ("wavelets", step, 0, 1), strict=True))
    return [
        row
        | {
            "mse": np.mean(mse),
            "deflate_bits": n_bits / tokens.size,
            "coder_bits": 8 * len(data) / tokens.size,
        }
    ]


def wavelet_curves(test):
    """Bits per sample of the wavelet codec with an ideal entropy coder, and its error.

    With one step for all records, and with one rate for all records.
    """
    signals = list(centred_records(test.data, test.record))
    one_step = np.array(
        [np.mean([wavelet_codec(x, step) for x in signals], axis=0) for step in STEPS]
    )
    rates = one_step[::3, 0]
    one_rate = [(bits, wavelet_mse(test.data, test.record, bits)) for bits in rates]
    return one_step, np.array(one_rate)


def bits_at(mse, curve):
    """Bits per sample of a curve at an error, interpolated between logarithms."""
    bits, known = np.log(curve).T
    logarithm = np.interp(np.log(mse), known, bits, left=np.nan, right=np.nan)
    return np.exp(logarithm)


def missing(path, jobs):
    """The jobs whose rows are missing at `path`, and all rows that are there."""
    if not path.exists():
        return jobs, pd.DataFrame()
    results = pd.read_csv(path)
    known = set(results[KEY[:3]].itertuples(index=False, name=None))
    return [job for job in jobs if job[0] not in known], results


def run_all(path, jobs, n_jobs):
    """Measure the rows that are missing at `path`, some at a time; return all."""
    jobs, results = missing(path, jobs)
    measured = joblib.Parallel(n_jobs, return_as="generator_unordered")(
        joblib.delayed(function)(*arguments) for _, function, arguments in jobs
    )
    for rows in measured:
        results = pd.concat([results, pd.DataFrame(rows)], ignore_index=True)
        results.sort_values(KEY).to_csv(path, index=False, float_format="%.6g")
        print(pd.Series(rows[-1]).to_string(), flush=True)
    return results.sort_values(KEY)


def rate_table(results, one_step):
    """Markdown: rate and error of each tokenizer, medians over the seeds."""
    lines = [
        "| rate_weight | search | MSE | seeds | PRDN (%) | heartbeat F1 | worst 1 % "
        "of windows, MSE | own entropy | codec | TokenCoder, bytes | less than codec | "
        "language model | less than codec |",
        "|---" * 13 + "|",
    ]
    models = results[results["method"] == "model"].set_index("setting")
    ours = results[results["method"] == "sktok"]
    for (weight, n_candidates), rows in ours.groupby(["setting", "n_candidates"]):
        row = rows.median(numeric_only=True)
        spread = f"{row.mse:.2e}"
        if len(rows) > 1:
            spread += f" ({rows.mse.min():.2e}–{rows.mse.max():.2e})"
        codec, cells = bits_at(row.mse, one_step), [""] * 4
        if n_candidates > 1:
            cells[0] = f"**{row.coder_bits:.3f}**"
            cells[1] = f"{1 - row.coder_bits / codec:.0%}"
        if n_candidates > 1 and weight in models.index:
            of_model = models.model_bits[weight]
            cells[2:] = f"{of_model:.3f}", f"{1 - of_model / codec:.0%}"
        search = f"{n_candidates:.0f}" if n_candidates > 1 else ""
        name = f"{weight:g}" if weight else "256 codes, 0"
        lines.append(
            f"| {name} | {search} | {spread} | {len(rows)} | {row.prdn_mean:.1f} | "
            f"{row.heartbeat_f1:.4f} | {row.mse_of_worst_windows:.2e} | "
            f"{row.own_bits:.3f} | {codec:.3f} | {' | '.join(cells)} |"
        )
    return "\n".join(lines)


def published_table(results):
    """Markdown: compression ratio and PRD as they were published, and ours."""
    lines = ["| | CR | PRD (%) | quality score |", "|---|---|---|---|"]
    rows = [(f"{PUBLICATION}: all 48 records", *figures) for figures in PUBLISHED]
    _, searched, _ = medians(results)
    for weight, row in searched.iterrows():
        name = f"sktok, {weight:g}, on the 11 records of DS2"
        rows.append((name, ADC_BITS / row.coder_bits, row.prd_with_offset))
    for name, ratio, prd in rows:
        lines.append(f"| {name} | {ratio:.1f} | {prd:.2f} | {ratio / prd:.0f} |")
    return "\n".join(lines)


def stages_table(results):
    """Markdown: one tokenizer at the rates of its stages."""
    lines = [
        "| samples per block | stages | search | own entropy | MSE | heartbeat F1 |",
        "|---" * 6 + "|",
    ]
    for row in results[results["method"] == "stages"].itertuples():
        search = f"{row.n_candidates:.0f}" if row.n_candidates > 1 else ""
        lines.append(
            f"| {row.setting:.0f} | {row.n_stages:.0f} | {search} | "
            f"{row.own_bits:.3f} | {row.mse:.2e} | {row.heartbeat_f1:.4f} |"
        )
    return "\n".join(lines)


def speed_table(results):
    """Markdown: tokens per second of the coder."""
    lines = ["| processes | compress | decompress |", "|---|---|---|"]
    for row in results[results["method"] == "speed"].itertuples():
        speeds = f"{row.in_per_second:,.0f} | {row.out_per_second:,.0f}"
        lines.append(f"| {row.setting:.0f} | {speeds} |")
    return "\n".join(lines)


def codec_table(results, one_step, one_rate):
    """Markdown: what the bytes of the wavelet codec cost."""
    lines = [
        "| step | MSE | ideal, one step | ideal, one rate | bytes, DEFLATE | bytes, "
        "TokenCoder | tokens of sktok, bytes, TokenCoder |",
        "|---" * 7 + "|",
    ]
    _, searched, _ = medians(results)
    ours = searched[["coder_bits", "mse"]].to_numpy()
    for row in results[results["method"] == "wavelets"].itertuples():
        of_tokens = bits_at(row.mse, ours)
        of_tokens = "" if np.isnan(of_tokens) else f"{of_tokens:.3f}"
        lines.append(
            f"| {row.setting:g} | {row.mse:.2e} | {bits_at(row.mse, one_step):.3f} | "
            f"{bits_at(row.mse, one_rate):.3f} | {row.deflate_bits:.3f} | "
            f"{row.coder_bits:.3f} | {of_tokens} |"
        )
    return "\n".join(lines)


def draw(results, one_step, one_rate, path):
    """Draw the error against the rate, and beside it the published figures."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 5), layout="constrained", width_ratios=[3, 2]
    )
    wavelets = results[results["method"] == "wavelets"]
    own, searched, models = medians(results)
    for rates, errors_, style, color, label in (
        (*one_step.T, "-", "0.6", "wavelets, one step, ideal coder"),
        (*one_rate.T, ":", "0.6", "wavelets, one rate, ideal coder"),
        (wavelets.coder_bits, wavelets.mse, "s", "0.6", "wavelets, TokenCoder"),
        (wavelets.deflate_bits, wavelets.mse, "x", "0.6", "wavelets, DEFLATE"),
        (own.own_bits, own.mse, "o-", "tab:blue", "own entropy"),
        (searched.own_bits, searched.mse, "v-", "tab:orange", "searched, own entropy"),
        (searched.coder_bits, searched.mse, "o-", "tab:red", "searched, TokenCoder"),
        (
            models.model_bits,
            searched.mse.reindex(models.index),
            "^-",
            "tab:green",
            "searched, language model",
        ),
    ):
        left.plot(rates, errors_, style, color=color, label=label)
    left.set_ylabel("mean squared error, signal in [0, 1]")
    rates = [ADC_BITS / ratio for ratio, _ in PUBLISHED]
    right.plot(rates, [prd for _, prd in PUBLISHED], "k*", label=PUBLICATION)
    label = "searched, TokenCoder; DS2"
    right.plot(
        searched.coder_bits,
        searched.prd_with_offset,
        "o-",
        color="tab:red",
        label=label,
    )
    right.set_ylabel("PRD with the offset of the database (%)")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="rate (bits per sample)")
        axes.legend(frameon=False, fontsize=8)
        for axis in (axes.xaxis, axes.yaxis) if axes is right else (axes.xaxis,):
            axis.set_major_formatter(ScalarFormatter())
            axis.set_minor_formatter(ScalarFormatter())
    figure.savefig(path, dpi=100)
    plt.close(figure)


def medians(results):
    """Medians over the seeds: without search, searched, and of the language model."""
    rows = results[results["setting"] > 0]
    ours, models = (rows[rows["method"] == name] for name in ("sktok", "model"))
    parts = ours[ours.n_candidates == 1], ours[ours.n_candidates > 1], models
    return [part.groupby("setting").median(numeric_only=True) for part in parts]


def measure(path, seeds, weights, memory, coder_params):
    """All rows of figures."""
    first = seeds[0]
    jobs = [
        (("sktok", w, seed), run_tokenizer, (w, seed, memory, coder_params))
        for seed in seeds
        for w in weights
    ]
    jobs += [
        (("wavelets", step, 0), run_wavelets, (step, coder_params))
        for step in CODED_STEPS
    ]
    jobs += [
        (("stages", block_size, first), run_stages, (block_size, candidates, first))
        for block_size, candidates in STAGED.items()
    ]
    run_all(path, jobs, n_jobs=2)
    with tempfile.TemporaryDirectory() as folder:
        models = [
            (
                ("model", w, first),
                run_language_model,
                (w, first, Path(folder, f"{w:g}")),
            )
            for w in weights
        ]
        joblib.Parallel(n_jobs=2)(
            joblib.delayed(searched_corpus)(w, seed, memory, at)
            for _, _, (w, seed, at) in missing(path, models)[0]
        )
        weight = weights[len(weights) // 2]
        speed = ("speed", 1, first), run_speed, (weight, first, memory, coder_params)
        return run_all(path, [speed, *models], n_jobs=1)


def write_page(folder, results):
    """Write the page and its picture."""
    test = load_float32("ds2")
    one_step, one_rate = wavelet_curves(test)
    _, searched, _ = medians(results)
    less = 1 - searched.coder_bits / bits_at(searched.mse, one_step)
    unsearched = results[results["n_candidates"] == 1]
    one_stage = unsearched.query("method == 'sktok' and setting == 0").mse.median()
    first_stage = unsearched.query("method == 'stages' and n_stages == 1")
    first_stage = first_stage.set_index("setting").mse[10]
    tables = {
        "rates": rate_table(results, one_step),
        "stages": stages_table(results),
        "speeds": speed_table(results),
        "codec": codec_table(results, one_step, one_rate),
        "published": published_table(results),
    }
    page = PAGE.format(
        **tables,
        n_codes=" and ".join(map(str, N_CODES)),
        minutes=MINUTES,
        n_timed=N_TIMED,
        n_chunks=N_TIMED // TIMED_CHUNK_SIZE,
        first_stage=first_stage / one_stage - 1,
        least_less=less.min(),
        most_less=less.max(),
        chunk_size=CHUNK_SIZE,
        chunk_seconds=CHUNK_SIZE / 2 * 10 / test.fs,
        above_ideal=searched.above_ideal.median(),
        ratio=12 / searched.coder_bits.min(),
    )
    (folder / "compression.md").write_text(page)
    draw(results, one_step, one_rate, folder / "compression.png")
    print(*tables.values(), sep="\n\n")


def main(
    folder="docs", seeds=SEEDS, weights=RATE_WEIGHTS, cache=None, coder_params=None
):
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        memory = joblib.Memory(cache or temporary, verbose=0)
        path, params = folder / "compression.csv", coder_params or {}
        results = measure(path, seeds, weights, memory, params)
    write_page(folder, results)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default="docs", help="default: docs")
    text = "measure only these seeds"
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help=text)
    text = "measure only these rate weights"
    parser.add_argument(
        "--weights", type=float, nargs="+", default=RATE_WEIGHTS, help=text
    )
    parser.add_argument("--cache", help="keep what is fitted in this folder")
    return parser.parse_args()


PAGE = """\
# Compression

How many bytes does ECG take on the disk at each error? Tokenizers with blocks of 10
samples and entropy-constrained codes in two stages ({n_codes}) were fitted to the 22
records of DS1, with a `TokenCoder` for the tokens of each, and tested on the 11 records
of DS2 (MIT-BIH Arrhythmia Database, first lead, each record scaled to its own [0, 1]).
The patients of DS2 are not in DS1. At the same error, the bytes are {least_less:.0%} to
{most_less:.0%} fewer than the ideal size of a wavelet codec that reads no context.
`make rate` writes this page.

![Error against rate](compression.png)

## Tokens

{rates}

- Rates are bits per sample. *Own entropy* is that of the tokens of each stage on the
  test records, for a code that knows the frequency of each token and no context.
- The weights set the rate. 0.00045 was added after the figures of 0.0005 on DS2 were
  known, to use more of the rate of 256 codes; all rows are shown.
- *256 codes* is the default of `make_tokenizer`: one stage, and bits have no cost.
- *Search* is `n_candidates`. *PRDN* is the mean over the records.
- *TokenCoder, bytes* are the bytes on the disk, with header, index and checksums, in
  chunks of {chunk_size:,} tokens that are decoded on their own ({chunk_seconds:.0f} s
  with two stages). The coder was fitted to the training patients.
- *Language model* is a causal Transformer that was trained for {minutes} minutes on 2
  cores, as on the page [](language_model.md), but with one variant of each record. It
  sees 500 tokens, and unlike the coder it does not learn from the record that it
  predicts. The figures are of the first seed; empty cells were not measured.
- *Codec* is a wavelet transform with one quantiser step for all records and an ideal
  entropy coder that knows the frequencies of the test record, at the error of the row;
  no bytes are written.

The bytes are {above_ideal:.2%} above the ideal cost under the model of the coder.
Format 212 of WFDB has 12 bits per sample, up to {ratio:.0f} times as many.

## One tokenizer for several rates

Two stages of 256 codes (`make_tokenizer(n_tokens=(256, 256))`), whose bits have no
cost, fitted to DS1 with one seed. `tokenize__n_stages` was set after `fit`:

{stages}

The error of the first stage alone is {first_stage:.0%} larger than that of the 256
codes above, which were trained as one stage. At blocks of 2 the difference is greater:
for one rate only, train one stage.

## Speed of the coder

Tokens per second for {n_timed:,} tokens in {n_chunks} chunks, which are coded side by
side, on 2 cores (median of 5 turns; half a minute of ECG has 2,160 tokens):

{speeds}

With few chunks it is slower. What limits the coder is the sum of many small operations
for each token of a chunk: products of matrices with the weights that the chunk has
adapted, look-ups in tables, and, to decompress, two calls of the range decoder for each
token.

## The wavelet codec on the disk

{codec}

*Ideal* is an ideal entropy coder, with one step for all records, or with one rate for
all records. *DEFLATE* compresses the levels of a record as 16-bit integers (zlib, level
9). *TokenCoder* has the levels of 64 samples as tokens of a window, coarse to fine, and
is fitted to the training patients. The last column is interpolated between the rows
above, at the same error. With the same coder, tokens take fewer bytes than wavelets,
and the difference grows at low rates. A large part of the gain over the ideal codec is
that of the coder, which reads the tokens before.

## Published figures

{published}

CR is the compression ratio. Here it counts 11 bits per sample of the original, the
resolution of the database; publications also count 12 or 16. PRD is the mean over
records of the error relative to the signal in integers of the database, with its offset
of 1024 in the denominator. PRDN above is without the offset. The quality score is CR
divided by PRD. The records differ, so the comparison is a rough one (L. Rebollo-Neira,
"Effective high compression of ECG signals at low level distortion", Scientific Reports
9:4564, 2019).
"""

if __name__ == "__main__":
    main(**vars(parse_arguments()))
