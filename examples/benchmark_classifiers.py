"""Does a classifier still see it?

Three tasks: the class of a heartbeat (MIT-BIH), atrial fibrillation (CinC 2017) and
whether an ECG of twelve leads is normal (PTB-XL). Classifiers of scikit-learn learn
each of them from the ECG, and are scored on other patients: on the ECG and on what
pretrained tokenizers restore. Others learn it from the tokens alone. It takes a
quarter of an hour on 2 cores::

    export SKTOK_DATA=FOLDER
    python examples/benchmark_classifiers.py [DOCS_FOLDER]

It writes ``classifiers.md`` to the folder.
"""

import os
import sys
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import sleepecg
import wfdb
from benchmark_pretrained import markdown
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import find_peaks
from sklearn.base import clone
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import PredefinedSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.utils import Bunch
from train_pretrained import FS, LEADS, RECORD_SECONDS, ecg_folder, load_12

from sktok import load_pretrained
from sktok.datasets import fetch_mitdb, load_wfdb

WINDOW_SECONDS = 2.4  # whole blocks of all tokenizers, also at 300 and 360 Hz
ONE_LEAD = ("ecg-31hz-stages-v1", "ecg-31hz-v1", "ecg-12hz-v1")
EXPLAINED = "ecg-31hz-v1"  # in more ways
ALL_LEADS = (  # and stages in use
    ("ecg12-100hz-v1", 10),
    ("ecg12-40hz-v1", 8),
    ("ecg12-40hz-v1", 4),
    ("ecg12-40hz-v1", 2),
)
CLASSES = {  # of ANSI/AAMI EC57, with the annotations of each class
    "N": "NLRej",
    "S": "AaJS",
    "V": "VE",
    "F": "F",
    "Q": "/fQ",
}
CLASS_OF = {symbol: name for name, symbols in CLASSES.items() for symbol in symbols}
CONTEXT = (1.0, 0.44)  # seconds before and after an annotated R-peak
BEAT = (0.3, 0.5)  # seconds of a beat before and after its peak
LEAST_RR = 0.25  # s
LATE_RR = 0.05  # s, a difference from the interval before that counts
SECONDS_AT_ONCE = 1.2  # of tokens of all leads


def components(n):
    return PCA(n, random_state=0)


def boosting(encoder):
    return make_pipeline(
        encoder,
        HistGradientBoostingClassifier(class_weight="balanced", random_state=0),
    )


def linear(encoder):
    return make_pipeline(
        encoder, LogisticRegression(class_weight="balanced", max_iter=300, C=0.1)
    )


# --- what tokens stand for


def vectors(tokenizer, tokens):
    """Gains in mV, and the codes of blocks.

    Parameters
    ----------
    tokenizer : Pipeline
        One of `load_pretrained`.

    tokens : ndarray of int64, shape (n_windows, n_tokens_per_window)
        Its tokens.

    Returns
    -------
    gains : ndarray of shape (n_windows, n_leads)
        Gain of each lead.

    codes : ndarray of shape (n_windows, n_blocks, dim)
        Sum of the codes of each block.
    """
    step = tokenizer["gain_shape"]
    network = step.tokenizer_["tokenize"]
    quantizer, ranges = network.quantizer_, step.token_ranges_
    n_leads = np.prod(step.row_shape_[:-1], dtype=int)
    gain, shape = tokens[:, n_leads : 2 * n_leads], tokens[:, 2 * n_leads :]
    n_stages = network.n_stages or len(getattr(quantizer, "stage_sizes_", [0]))
    blocks = (shape - ranges["shape"].start).reshape(len(shape), -1, n_stages)
    return step.gains_[gain - ranges["gain"].start], quantizer.codes_[blocks].sum(2)


def codes_by_record(tokenizer, tokens, record):
    """Codes times gains, relative to their size: a list of (n_blocks, dim)."""
    gains, codes = vectors(tokenizer, tokens)
    scaled = gains[..., np.newaxis] * codes
    each = [np.concatenate(scaled[record == name]) for name in pd.unique(record)]
    return [part / np.sqrt(np.mean(part**2)) for part in each]


def tokens_a_second(tokens, seconds):
    return tokens.shape[1] / seconds


# --- classes of heartbeats


def load_beats(split):
    """Records of DS1 or DS2 in mV, and of each beat its place and class.

    Returns
    -------
    Bunch
        ``ecg``; ``row`` of the record, ``peak`` in seconds and ``label`` of each beat;
        ``seconds`` of a record.
    """
    ecg = fetch_mitdb(split, window_seconds=WINDOW_SECONDS)
    names = pd.unique(ecg.record)
    home = Path(os.environ.get("SKTOK_DATA", "~/sktok_data")).expanduser() / "mitdb"
    beats = []
    for row, name in enumerate(names):
        annotation = wfdb.rdann(str(home / name), "atr")
        beats += [
            (row, sample / ecg.fs, CLASS_OF[symbol])
            for sample, symbol in zip(annotation.sample, annotation.symbol, strict=True)
            if symbol in CLASS_OF
        ]
    row, peak, label = map(np.array, zip(*beats, strict=True))
    seconds = ecg.data.size / len(names) / ecg.fs
    before, after = CONTEXT
    inside = (peak >= before) & (peak + after <= seconds)
    beats = {"row": row[inside], "peak": peak[inside], "label": label[inside]}
    return Bunch(ecg=ecg, seconds=seconds, **beats)


def around(half, values):
    """Values around beats: (n_beats, n_features).

    Parameters
    ----------
    half : Bunch
        From `load_beats`.

    values : ndarray of shape (n_records, n_places, dim)
        Samples, codes or tokens.
    """
    rate = values.shape[1] / half.seconds
    before, after = (int(np.ceil(seconds * rate)) for seconds in CONTEXT)
    places = (half.peak * rate).astype(int)[:, np.newaxis] + np.arange(-before, after)
    places = places.clip(0, values.shape[1] - 1)
    return values[half.row[:, np.newaxis], places].reshape(len(places), -1)


def samples(half, windows):
    """Samples around beats, without the offsets of windows, relative to the record's.

    Codes are scaled alike.
    """
    windows = windows - np.median(windows, axis=1, keepdims=True)
    records = windows.reshape(len(pd.unique(half.ecg.record)), -1).astype(np.float32)
    scaled = records / np.sqrt(np.mean(records**2, axis=1, keepdims=True))
    return around(half, scaled[..., np.newaxis])


def codes(half, tokenizer, tokens):
    """Codes around beats."""
    return around(half, np.stack(codes_by_record(tokenizer, tokens, half.ecg.record)))


def categories(half, tokens):
    """Tokens of shapes around beats."""
    n_records = len(pd.unique(half.ecg.record))
    return around(half, tokens[:, 2:].reshape(n_records, -1, 1))


def scores(label, predicted):
    """F1 score of each class that occurs, and their mean."""
    names = [name for name in CLASSES if name in label]
    each = f1_score(label, predicted, labels=names, average=None, zero_division=0)
    return {"macro-F1": each.mean(), **dict(zip(names, each, strict=True))}


def beat_table():
    """Scores on the patients of DS2, after training on those of DS1."""
    fit, test = map(load_beats, ("ds1", "ds2"))
    rows = []

    def score(name, rate, way, classifier, features):
        found = scores(test.label, classifier.predict(features))
        first = {"tokenizer": name, "tokens a second": rate, "scored on": way}
        rows.append(first | found)

    learned_from, features = samples(fit, fit.ecg.data), samples(test, test.ecg.data)
    of_ecg = boosting(components(40)).fit(learned_from, fit.label)
    score("none", np.nan, "the ECG itself", of_ecg, features)
    linear_of_ecg = linear(components(40)).fit(learned_from, fit.label)
    score("none", np.nan, "the ECG itself, linear", linear_of_ecg, features)
    for name in ONE_LEAD:
        n_samples = fit.ecg.data.shape[1]
        tokenizer = load_pretrained(name, fs=fit.ecg.fs, window_length=n_samples)
        tokens = tokenizer.transform(test.ecg.data)
        restored = samples(test, tokenizer.inverse_transform(tokens))
        rate = tokens_a_second(tokens, WINDOW_SECONDS)
        score(name, rate, "restored ECG", of_ecg, restored)
        fit_tokens = tokenizer.transform(fit.ecg.data)
        learned_from = codes(fit, tokenizer, fit_tokens)
        features = codes(test, tokenizer, tokens)
        of_codes = boosting(components(40)).fit(learned_from, fit.label)
        score(name, rate, "tokens, as codes", of_codes, features)
        if name != EXPLAINED:
            continue
        of_codes = linear(components(40)).fit(learned_from, fit.label)
        score(name, rate, "tokens, as codes, linear", of_codes, features)
        learned_from, features = categories(fit, fit_tokens), categories(test, tokens)
        encoder = OneHotEncoder(handle_unknown="ignore")
        of_tokens = linear(encoder).fit(learned_from, fit.label)
        score(name, rate, "tokens, as categories, linear", of_tokens, features)
        encoder = make_pipeline(encoder, TruncatedSVD(40, random_state=0))
        of_tokens = boosting(encoder).fit(learned_from, fit.label)
        score(name, rate, "tokens, as categories", of_tokens, features)
    return pd.DataFrame(rows)


# --- records


def out_of_fold(classifier, X, y, splits, *others):
    """Area under the ROC curve by cross-validation, on `X` and on `others`.

    A record's score is the mean over its parts.

    Parameters
    ----------
    classifier : estimator
        With ``decision_function``.

    X : ndarray of shape (n_records, n_parts, n_features)
        Features to learn from.

    y : ndarray of bool, shape (n_records,)
        Classes.

    splits : list of tuple of ndarray
        Indices of records to train on, and of others.

    *others : ndarray of shape (n_records, n_parts, n_features)
        Features of the same records to score.

    Returns
    -------
    list of float
        Area for `X` and for each of `others`.
    """
    n_parts, n_features = X.shape[1:]
    found = np.empty((1 + len(others), len(X)))
    for train, test in splits:
        fitted = clone(classifier)
        fitted.fit(X[train].reshape(-1, n_features), np.repeat(y[train], n_parts))
        for row, features in zip(found, (X, *others), strict=True):
            score = fitted.decision_function(features[test].reshape(-1, n_features))
            row[test] = score.reshape(len(test), n_parts).mean(1)
    return [roc_auc_score(y, row) for row in found]


def rhythm(peaks, seconds):
    """Nine numbers on the intervals between beats."""
    intervals = np.diff(peaks)
    if len(intervals) < 3:
        return np.zeros(9)
    changes = np.abs(np.diff(intervals))
    numbers = [
        len(peaks) / seconds,
        intervals.mean(),
        intervals.std(),
        intervals.std() / intervals.mean(),
        np.sqrt(np.mean(changes**2)),
        np.mean(changes > LATE_RR),
        *np.quantile(intervals, [0.1, 0.5, 0.9]),
    ]
    return np.array(numbers)


def beats_at(values, places, rate):
    """What is around places that have enough around them: (n_beats, length, dim)."""
    before, after = (int(seconds * rate) for seconds in BEAT)
    inside = (places >= before) & (places + after <= len(values))
    found = places[inside, np.newaxis] + np.arange(-before, after)
    if not inside.any():
        return np.zeros((1, before + after, values.shape[1]))
    return values[found]


def features_of_signal(signal, fs, lead=0):
    """Rhythm, and the median beat of all leads, of (n_samples, n_leads)."""
    places = sleepecg.detect_heartbeats(signal[:, lead].astype(float), fs)
    beat = np.median(beats_at(signal, places, fs), axis=0)
    beat = beat - np.median(beat, axis=0)
    return np.concatenate([rhythm(places / fs, len(signal) / fs), beat.ravel()])


def features_of_codes(codes, rate):
    """Rhythm, mean and deviation of beats, of (n_blocks, dim): beats have large codes.

    The time of a beat is that of the vertex of a parabola through three blocks.
    """
    size = np.linalg.norm(codes, axis=1)
    least = 0.4 * np.quantile(size, 0.98)
    places, _ = find_peaks(size, distance=max(1, LEAST_RR * rate), prominence=least)
    left, middle, right = (size[places + shift] for shift in (-1, 0, 1))
    times = places + (left - right) / 2 / (left - 2 * middle + right - 1e-9)
    beats = beats_at(codes, places, rate)
    numbers = rhythm(times / rate, len(codes) / rate)
    return np.concatenate([numbers, beats.mean(0).ravel(), beats.std(0).ravel()])


def labels_of(database, records):
    table = pd.read_csv(ecg_folder("labels.csv"), dtype=str, keep_default_na=False)
    return table[table["db"] == database].set_index("record").loc[records]


def fibrillation_table():
    """Atrial fibrillation or not, by records of five folds."""
    with warnings.catch_warnings():
        # Some recordings are shorter than a window.
        warnings.filterwarnings("ignore", "Skipped", UserWarning)
        ecg = load_wfdb(
            ecg_folder("cinc2017"), window_seconds=WINDOW_SECONDS, missing="drop"
        )
    names = pd.unique(ecg.record)
    y = (labels_of("cinc2017", names)["rhythm"] == "AF").to_numpy()
    splits = StratifiedKFold(5, shuffle=True, random_state=0)
    splits = list(splits.split(names, y))
    classifier = HistGradientBoostingClassifier(class_weight="balanced", random_state=0)

    def of_signal(windows):
        each = [windows[ecg.record == name].reshape(-1, 1) for name in names]
        return np.stack([[features_of_signal(signal, ecg.fs)] for signal in each])

    tokenizers = {
        name: load_pretrained(name, fs=ecg.fs, window_length=ecg.data.shape[1])
        for name in ONE_LEAD
    }
    original, restored, rows = of_signal(ecg.data), [], []
    for name, tokenizer in tokenizers.items():
        tokens = tokenizer.transform(ecg.data)
        restored.append(of_signal(tokenizer.inverse_transform(tokens)))
        each = codes_by_record(tokenizer, tokens, ecg.record)
        _, of_window = vectors(tokenizer, tokens[:1])
        rate = of_window.shape[1] / WINDOW_SECONDS
        features = np.stack([[features_of_codes(part, rate)] for part in each])
        rows.append(
            {
                "tokenizer": name,
                "tokens a second": tokens_a_second(tokens, WINDOW_SECONDS),
                "tokens": out_of_fold(classifier, features, y, splits)[0],
            }
        )
    table = joined(rows, out_of_fold(classifier, original, y, splits, *restored))
    return table, {"n_rhythm": len(y), "n_af": y.sum()}


def normal_table():
    """Normal or not, by the folds of PTB-XL."""
    ecg = load_12("ptbxl_lr")
    labels = labels_of("ptbxl_lr", slice(None))
    known = labels[labels["diagnosis"] != ""]
    is_known = np.isin(ecg.record, known.index)
    records, known = ecg.data[is_known], known.loc[ecg.record[is_known]]
    y = (known["diagnosis"] == "NORM").to_numpy()
    splits = list(PredefinedSplit(known["fold"].astype(int)).split())

    def of_signal(records):
        lead = LEADS.index("II")
        each = [features_of_signal(record.T, FS, lead) for record in records]
        return np.stack(each)[:, np.newaxis]

    restored, rows = [], []
    for name, n_stages in ALL_LEADS:
        tokenizer = load_pretrained(name)
        step = "gain_shape__tokenizer__tokenize__n_stages"
        tokens = tokenizer.set_params(**{step: n_stages}).transform(records)
        restored.append(of_signal(tokenizer.inverse_transform(tokens)))
        parts = codes_in_parts(tokenizer, tokens)
        rows.append(
            {
                "tokenizer": f"{name}, {n_stages} stages",
                "tokens a second": tokens_a_second(tokens, RECORD_SECONDS),
                "tokens": out_of_fold(boosting(components(60)), parts, y, splits)[0],
            }
        )
    classifier = make_pipeline(
        StandardScaler(), components(40), SVC(class_weight="balanced")
    )
    areas = out_of_fold(classifier, of_signal(records), y, splits, *restored)
    return joined(rows, areas), {"n_normal": y.sum(), "n_records": len(y)}


def codes_in_parts(tokenizer, tokens):
    """Codes of some blocks, and gains: (n_records, n_parts, n_features)."""
    gains, codes = vectors(tokenizer, tokens)
    n_blocks = round(SECONDS_AT_ONCE * codes.shape[1] / RECORD_SECONDS)
    step = max(1, n_blocks // 3)
    parts = sliding_window_view(codes, n_blocks, axis=1)[:, ::step]
    parts = parts.reshape(*parts.shape[:2], -1)
    logs = np.log(gains) - np.log(gains).mean(0)
    logs = np.repeat(codes.std() * logs[:, np.newaxis], parts.shape[1], axis=1)
    return np.concatenate([parts, logs], axis=2)


def joined(rows, areas):
    """A table of tokenizers, after a row for the ECG itself."""
    on_ecg, *on_restored = areas
    for row, area in zip(rows, on_restored, strict=True):
        row["restored ECG"] = area
    columns = ["tokenizer", "tokens a second", "restored ECG", "tokens"]
    first = {"tokenizer": "none: the ECG itself", "restored ECG": on_ecg}
    return pd.DataFrame([first, *rows])[columns]


# --- the page

PAGE = """# Classifiers

Does a classifier still see it? Plain classifiers of scikit-learn learn three tasks from
the ECG, and are scored on other patients: on the ECG, and on what pretrained tokenizers
restore. Others learn from the tokens alone.

All figures are from `python examples/benchmark_classifiers.py` ({date}), one seed. The
tokenizers were trained on the recordings of CinC 2017, PTB-XL and DS1, without labels;
they have never seen DS2. For fibrillation and normal ECG, the features and classifiers
were the best of a few on the same folds, so these areas are a little too large, most of
all those of tokens, for which more were tried.

## Classes of heartbeats

The AAMI class of a beat, by gradient boosting on 40 principal components of what is
from one second before the annotated R-peak to 0.44 s after it: samples without the
median of their window, or codes of tokens, both relative to their root mean square in
the record. Training on DS1 of the MIT-BIH Arrhythmia Database, F1 scores on DS2. Class
Q does not occur there.

{beats}

**A token is not a category.** One column for each token in each place knows no distance
between tokens: two codes that are nearly alike are as different as any two. The codes
themselves, `quantizer_.codes_[tokens]` times the gain of the window, keep what the ECG
shows; a model that starts its embedding from them need not learn it again. A linear
model finds little even in the ECG itself. With long blocks, the place of the R-peak in
its block is not known, and more is lost. The settings of tokens were chosen by
cross-validation over the patients of DS1. Samples are scaled as codes are; it cannot
tell this from the range of the record as their scale, which is worse on DS2.

Few S beats are detected in any case: the result concerns N, V and F.

## Atrial fibrillation

Fibrillation or another rhythm, on {n_rhythm} recordings of one lead (CinC 2017; {n_af}
with fibrillation), by gradient boosting: area under the ROC curve, cross-validated in
five folds. From the ECG and what is restored, the features are nine numbers on the
intervals between beats, and the median beat; from tokens, the same numbers, with beats
where codes are large, and mean and deviation of the codes around them.

{rhythm}

Tokens give the time of a beat to a block only: intervals lose precision as blocks grow.

## Normal or not

Normal or any other diagnosis, on {n_records} records of PTB-XL ({n_normal} are normal):
area under the ROC curve, in the ten folds of PTB-XL. From the ECG and what is restored:
intervals and the median beat of all eight leads, by support vectors on 40 principal
components. From tokens: gradient boosting on the codes of {part} s, and the mean over
the parts of a record.

{normal}
"""

FORMATS = {"tokens a second": ".1f"}


def main(folder="docs"):
    folder = Path(folder)
    beats, (rhythms, n_rhythms), (normal, n_normal) = joblib.Parallel(n_jobs=2)(
        joblib.delayed(of_task)()
        for of_task in (beat_table, fibrillation_table, normal_table)
    )
    page = PAGE.format(
        date=time.strftime("%Y-%m-%d"),
        part=SECONDS_AT_ONCE,
        beats=three_digits(beats),
        rhythm=three_digits(rhythms),
        normal=three_digits(normal),
        **n_rhythms,
        **n_normal,
    )
    (folder / "classifiers.md").write_text(page)
    print(page)


def three_digits(table):
    scored = table.select_dtypes("number").columns
    return markdown(table, dict.fromkeys(scored, ".3f") | FORMATS)


if __name__ == "__main__":
    main(*sys.argv[1:])
