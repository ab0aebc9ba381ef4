"""The examples run, with few data and few training steps."""

import hashlib
import json
import re
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import sleepecg
import torch
import wfdb
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch

from sktok import load_pretrained
from sktok.coding import TokenCoder
from sktok.corpus import Vocabulary
from sktok.datasets import fetch_mitdb
from sktok.metrics import token_entropy
from sktok.persistence import load

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))


def scaled(ecg):
    """The record scaled to [0, 1], as the `load` of the benchmarks returns it."""
    low, span = ecg.data.min(), np.ptp(ecg.data)
    return Bunch(
        data=(ecg.data - low) / span,
        record=ecg.record,
        low=np.full((len(ecg.data), 1), low),
        span=np.full((len(ecg.data), 1), span),
        fs=ecg.fs,
    )


@pytest.fixture
def uncompiled(monkeypatch):
    """tslearn in plain Python: to compile it takes longer than few windows do."""
    from tslearn.piecewise import piecewise

    for name in ("inv_transform_sax", "inv_transform_1d_sax"):
        monkeypatch.setattr(piecewise, name, getattr(piecewise, name).py_func)


def test_the_demo(tmp_path, monkeypatch, capsys, ecg):
    import demo

    grid = {"segment__block_size": [10, 25], "tokenize__quantizer__n_codes": [16]}
    monkeypatch.setattr(demo, "GRID", grid)
    monkeypatch.setattr(demo, "SEARCH_STEPS", 5)
    monkeypatch.setattr(demo, "FINAL_STEPS", 10)
    monkeypatch.setattr(demo, "MAX_MILLIVOLTS", 1.0)
    with joblib.parallel_config("threading"):
        demo.main(tmp_path)
    shown = capsys.readouterr().out
    assert "A new process loads the tokenizer and gives the same tokens." in shown
    assert shown.count("<--") == 1
    assert "% (one group, 208), SNR" in shown
    saved = np.load(tmp_path / "tokens.npz")
    np.testing.assert_array_equal(saved["windows"], ecg.data[-len(saved["tokens"]) :])
    tokenizer = joblib.load(tmp_path / "tokenizer.joblib")
    np.testing.assert_array_equal(
        tokenizer.transform(saved["windows"]), saved["tokens"]
    )
    assert shown.startswith("ecg-31hz-v1, trained on many patients before, in ")
    for picture in ("pretrained.png", "reconstruction.png", "rate_distortion.png"):
        assert (tmp_path / picture).stat().st_size > 10_000


def test_the_benchmark_of_the_paper(tmp_path, monkeypatch, ecg):
    import benchmark_paper as benchmark

    record = scaled(ecg)
    X = record.data
    test = Bunch(**{name: record[name][40:60] for name in benchmark.SIGNAL})
    protocols = dict.fromkeys(["ds1", "record 100"], (X[:40], test))
    monkeypatch.setattr(benchmark, "load_protocols", lambda: protocols)
    monkeypatch.setattr(benchmark, "MAX_STEPS", dict.fromkeys(protocols, 2))
    monkeypatch.setattr(benchmark, "PAPER", {10: 0.000356, 2: 0.000009})
    monkeypatch.setattr(benchmark, "SEEDS", (0,))
    inside = benchmark.within_range(X[40:60], X[:40])
    with joblib.parallel_config("threading"):
        benchmark.main(tmp_path)
    page = (tmp_path / "paper.md").read_text()
    assert "TODO" not in page
    rows = [line for line in page.splitlines() if line.startswith(("| 10", "| 2"))]
    assert len(rows) == 2 * (2 + 2 + 1 + 2 * (not inside.all()))
    assert {p.name for p in tmp_path.glob("*.png")} == {
        f"paper_figure{number}.png" for number in range(1, 6)
    }
    assert all(image in page for image in ("paper_figure1.png", "paper_figure5.png"))


def test_errors_are_in_physical_units_and_per_record(ecg):
    import benchmark_paper as benchmark

    record = scaled(ecg)
    record.low[216:] += 3.0  # a second record with another offset
    record.record = np.repeat(["a", "b"], 216)
    figures = benchmark.errors(record.data + 0.01, record)
    noise = 0.01 * np.ptp(ecg.data)
    np.testing.assert_allclose(figures["mse"], 1e-4)
    np.testing.assert_allclose(figures["rmse_uv"], 1000 * noise)
    each = [100 * noise / half.std() for half in (ecg.data[:216], ecg.data[216:])]
    np.testing.assert_allclose(figures["prdn_mean"], np.mean(each))
    np.testing.assert_allclose(figures["prdn_worst"], np.max(each))
    integers = 1024 + 200 * (ecg.data + np.repeat([[0.0], [3.0]], 216, axis=0))
    halves = integers[:216], integers[216:]
    each = [100 * 200 * noise / np.sqrt(np.mean(half**2)) for half in halves]
    np.testing.assert_allclose(figures["prd_with_offset"], np.mean(each))


def test_physical_units_are_those_of_the_database(mitdb_home, monkeypatch):
    import benchmark_paper as benchmark

    monkeypatch.setenv("SKTOK_DATA", str(mitdb_home))
    record = benchmark.load(["100", "103"])
    expected = fetch_mitdb(["100", "103"]).data
    np.testing.assert_allclose(record.low + record.span * record.data, expected)
    X_fit, test = benchmark.load_protocols()["record 100"]
    assert (len(X_fit), len(test.data), len(test.record)) == (2080, 520, 520)


def test_windows_outside_the_range_of_the_fit(ecg):
    import benchmark_paper as benchmark

    X = ecg.data
    inside = benchmark.within_range(X, X[:20])
    outside = (X > X[:20].max()).any(axis=1) | (X < X[:20].min()).any(axis=1)
    assert outside.any()
    assert (inside == ~outside).all()


def test_the_rate_distortion_benchmark(tmp_path, monkeypatch, ecg, uncompiled):
    import benchmark_rate_distortion as benchmark

    data = scaled(Bunch(data=ecg.data[:200], record=ecg.record[:200], fs=ecg.fs))
    monkeypatch.setattr(benchmark, "load", lambda split: data)
    monkeypatch.setattr(benchmark, "CONFIGURATIONS", [(10, 256), (25, 16)])
    monkeypatch.setattr(benchmark, "SEEDS", (0,))
    steps = benchmark.make_tokenizer
    monkeypatch.setattr(
        benchmark, "make_tokenizer", lambda *a, **k: steps(*a, **{"max_steps": 2, **k})
    )
    paper = benchmark.make_paper_tokenizer
    monkeypatch.setattr(
        benchmark, "make_paper_tokenizer", lambda *a, **k: paper(*a, max_steps=2, **k)
    )
    path = tmp_path / "rate_distortion.csv"
    earlier = [("k-means", 10, 256, np.nan), ("k-means", 25, 16, np.nan)]
    earlier.append(("1d-SAX", 10, 256, 5.0))
    columns = ["method", "block_size", "n_tokens", "prdn_mean"]
    earlier = pd.DataFrame(earlier, columns=columns).assign(seed=0, mse=1.0)
    earlier.reindex(columns=benchmark.COLUMNS).to_csv(path, index=False)
    with joblib.parallel_config("threading"):
        benchmark.main(tmp_path, blocks=[10], tokens=[256])
    page = (tmp_path / "rate_distortion.md").read_text()
    assert page.count("\n| 10 | 256 |") == 1 + 8  # the table, and the details
    assert page.count("\n| 25 | 16 |") == 1 + 1
    assert "nan" not in page
    mse = pd.read_csv(path).set_index(["method", "block_size"])["mse"]
    assert mse["k-means", 10] < 0.01  # incomplete, so it was measured again
    assert mse["k-means", 25] == mse["1d-SAX", 10] == 1  # not selected, and complete
    assert (tmp_path / "rate_distortion.png").stat().st_size > 10_000


def test_the_coding_benchmark(tmp_path, monkeypatch, ecg, language_models):
    import benchmark_coding as benchmark

    data = scaled(Bunch(data=ecg.data[:60], record=ecg.record[:60], fs=ecg.fs))
    monkeypatch.setattr(benchmark, "load", lambda split: data)
    for name, value in {
        "N_CODES": (16, 4),
        "N_CANDIDATES": 2,
        "CODED_STEPS": (0.05,),
        "STEPS": np.geomspace(0.01, 1.0, 8),
        "LARGEST_LEVEL": 100,
        "STAGED": {10: (1, 2)},
        "CHUNK_SIZE": 500,
        "TIMED_CHUNK_SIZE": 100,
        "N_TIMED": 500,
        "REPEATS": 1,
        "MINUTES": 1e-3,
    }.items():
        monkeypatch.setattr(benchmark, name, value)
    steps = benchmark.make_tokenizer
    monkeypatch.setattr(
        benchmark, "make_tokenizer", lambda *a, **k: steps(*a, max_steps=2, **k)
    )
    with joblib.parallel_config("threading"):
        benchmark.main(
            tmp_path, seeds=[0], weights=[0.0, 0.001], coder_params={"max_steps": 1}
        )
    page = (tmp_path / "compression.md").read_text()
    assert page.count("\n| 0.001 |") == 2  # without and with a search
    assert page.count("\n| 256 codes, 0 |") == 2
    assert page.count("\n| 10 | ") == 4  # stages
    assert page.count("\n| 1 |") == page.count("\n| 2 |") == 1  # processes
    assert page.count("\n| 0.05 |") == 1
    assert "nan" not in page
    assert (tmp_path / "compression.png").stat().st_size > 10_000


def test_levels_of_wavelets_are_those_of_the_codec(ecg):
    import benchmark_coding as benchmark

    signal = ecg.data.ravel()[:6400]
    rows, error = benchmark.quantised_wavelets(signal, 0.05)
    assert rows.shape == (100, 64)
    bands = np.split(rows, [1, 2, 4, 8, 16, 32], axis=1)
    bits = sum(band.size * token_entropy(band) for band in bands) / signal.size
    np.testing.assert_allclose(
        (bits, error), benchmark.wavelet_codec(signal, 0.05), rtol=1e-9
    )


def test_rates_and_bounds_of_the_rate_distortion_benchmark(ecg):
    import benchmark_rate_distortion as benchmark

    noise = 0.1 * np.random.default_rng(0).normal(size=(400, 250))
    record = np.repeat([0, 1], 200)
    for bits in (0.5, 1.0, 2.0):  # white noise: D = 2^(-2 R)
        bound = benchmark.gaussian_bound(noise, record, bits)
        np.testing.assert_allclose(bound, 0.01 * 2.0 ** (-2 * bits), rtol=0.15)
        codec = benchmark.wavelet_mse(noise, record, bits)
        assert bound < codec < 2 * bound


def test_the_speed_benchmark(monkeypatch, capsys, uncompiled):
    import benchmark_speed as benchmark

    X_fit, X_test, archive = benchmark.load()
    little = X_fit[:64], X_test[:20], archive[:50]
    monkeypatch.setattr(benchmark, "load", lambda: little)
    for name, value in {
        "N_TURNS": 1,
        "TURN_SECONDS": 1e-6,
        "N_WINDOWS": 50,
        "N_SLOW": 5,
        "BATCHES": (64,),
        "QUICK_STEPS": 2,
        "SEEDS": (0,),
        "WHOLE_STEPS": 2,
        "SCHEDULES": (2,),
        "PATIENCE": 0.1,
        "STEPS_PER_TURN": 1,
        "SEARCH_STEPS": 2,
        "SEARCHED_BLOCKS": [50],
        "SEARCHED_BINS": [16],
        "GROWTH": (10, 20, 40),
        "VOCABULARY": (256, 300),
        "MEASURED_STEPS": 2,
        "FOLDS": KFold(2),
        "IMPORTED": ("sklearn",),
    }.items():
        monkeypatch.setattr(benchmark, name, value)
    monkeypatch.setattr(benchmark, "measure_apart", benchmark.measure)
    with joblib.parallel_config("threading"):
        benchmark.main()
    shown = capsys.readouterr().out
    assert shown.count("\n## ") == len(benchmark.SECTIONS)
    assert "nan" not in shown
    differences = re.findall(r"^\| decode, .* up to (\S+) \|$", shown, re.MULTILINE)
    assert len(differences) == 6
    assert all(float(difference) <= 1e-6 for difference in differences)


def test_plain_autograd_takes_the_same_steps():
    import benchmark_speed as benchmark

    blocks = benchmark.blocks_of(benchmark.load()[0])
    batch = torch.from_numpy(blocks[:64])
    ours, plain = (benchmark.contextual_trainer(blocks, max_steps=9) for _ in range(2))
    for _ in range(3):
        ours.step(batch)
        with benchmark.plain_autograd():
            plain.step(batch)
    np.testing.assert_allclose(plain.losses, ours.losses, rtol=1e-4)


@pytest.fixture
def language_models(monkeypatch, tmp_path):
    import benchmark_language_model as models

    monkeypatch.setenv("SKTOK_DATA", str(tmp_path / "nothing"))
    for name, value in {
        "QUICK_MINUTES": 0.01,
        "QUICK_STEPS": ({"max_steps": 3}, {"max_steps": 3}),
        "N_VARIANTS": 1,
        "N_SCORED": 10,
        "BATCH_SIZE": 2,
        "N_HALVINGS": (2, 2),
        "N_RATES": 2,
    }.items():
        monkeypatch.setattr(models, name, value)
    return models


def test_the_benchmark_of_language_models(language_models, tmp_path, capsys):
    language_models.main(tmp_path)
    shown = capsys.readouterr().out
    for name in language_models.TOKENIZERS:
        assert shown.count(f"\n| {name} |") == 1
    assert "nan" not in shown
    assert (tmp_path / "language_model.png").stat().st_size > 10_000


def test_the_benchmark_of_byte_pairs(language_models, monkeypatch, capsys):
    import benchmark_byte_pairs as benchmark

    for name in ("QUICK_MINUTES", "QUICK_STEPS"):
        monkeypatch.setattr(benchmark, name, getattr(language_models, name))
    monkeypatch.setattr(benchmark, "N_IDS", (300,))
    benchmark.main()
    shown = capsys.readouterr().out
    assert "nan" not in shown
    *_, alone, pairs, _ = shown.splitlines()
    assert int(alone.split()[0]) == 261
    assert int(pairs.split()[0]) == 300
    assert float(pairs.split()[1]) < float(alone.split()[1])


@pytest.fixture
def ecg_model(monkeypatch, tmp_path):
    """The model of `generate_ecg.py`, smaller."""
    import ecg_model

    monkeypatch.setenv("SKTOK_DATA", str(tmp_path / "nothing"))
    for name, value in {"SIZE": 64, "N_LAYERS": 2, "N_KEYS": 40}.items():
        monkeypatch.setattr(ecg_model, name, value)
    return ecg_model


def test_generated_ecg(ecg_model, tmp_path, monkeypatch, capsys):
    import generate_ecg as example

    for name, value in {"QUICK_MINUTES": 0.01, "NEW_WINDOWS": 5, "N_SEEDS": 1}.items():
        monkeypatch.setattr(example, name, value)
    example.main(tmp_path / "out")
    shown = capsys.readouterr().out
    assert shown.count("\n| KS, ") == 6
    assert "nan" not in shown
    assert (tmp_path / "out" / "generated_ecg.png").stat().st_size > 10_000


def test_a_model_of_ecg_continues_what_it_has_seen(ecg_model, tmp_path):
    corpus = ecg_model.corpus_of(tmp_path / "corpus", None)
    (ids,) = ecg_model.streams(corpus, "val").values()
    torch.manual_seed(0)
    tokenizer = ecg_model.tokenizer_at(ecg_model.FS)
    n_special = corpus.vocabulary.missing_id + 1
    rows = ecg_model.first_rows(tokenizer, corpus.train, n_special)
    model = ecg_model.EcgModel(rows).eval()
    for block in model.blocks:  # which do nothing before they are trained
        for weight in (block.mix.weight, block.narrow.weight, block.recent.weight):
            torch.nn.init.normal_(weight, std=0.1)
    ids = torch.from_numpy(ids[np.newaxis, :150])  # nearly four times what a layer sees
    with torch.inference_mode():
        logits, cache = model(ids).float(), {}
        others = model(ids.roll(-1, dims=1))
        parts = [model(part, cache) for part in (ids[:, :35], *ids[:, 35:].split(1, 1))]
    scale = logits.std()
    parts = torch.cat(parts, dim=1).float()
    np.testing.assert_allclose(parts / scale, logits / scale, atol=0.1)
    assert (others - logits).abs().mean() > 0.2 * scale
    # The last logits depend on what all layers saw, and on nothing before.
    n_seen = 2 * (ecg_model.N_KEYS - 1 + 3) + 3 + 1
    with torch.inference_mode():
        last = model(ids[:, -n_seen:]).float()[:, -1]
    np.testing.assert_allclose(last / scale, logits[:, -1] / scale, atol=0.1)


def test_a_test_patient_is_in_no_variant(language_models, tmp_path):
    fit, test, is_mitdb = language_models.load()
    assert not is_mitdb
    tokenizer = language_models.SampleBins().fit(fit[0].data)
    corpus = language_models.corpus_of(tokenizer, fit, test, tmp_path / "corpus")
    assert [(e["group"], e["split"]) for e in corpus.records] == [
        ("minutes 1 to 4", "train"),
        ("minutes 1 to 4", "train"),
        ("minute 5", "val"),
    ]
    whole, variant = language_models.streams(corpus, "train")
    assert len(whole) == len(variant)
    assert (whole != variant).mean() > 0.5


def witten_bell(train, test, n):
    """Bits a token: a slow reference."""
    counts = [{}, {}]
    for at in range(2, len(train)):
        for order in (1, 2):
            seen = counts[order - 1].setdefault(tuple(train[at - order : at]), [])
            seen.append(train[at])
    total = 0
    for at in range(2, len(test)):
        frequency = (train.tolist().count(test[at]) + 0.5) / (len(train) + 0.5 * n)
        for order in (1, 2):
            seen = counts[order - 1].get(tuple(test[at - order : at]), [])
            if seen:
                n_kinds = len(set(seen))
                frequency = (seen.count(test[at]) + n_kinds * frequency) / (
                    len(seen) + n_kinds
                )
        total -= np.log2(frequency)
    return total / (len(test) - 2)


def test_trigrams_cost_what_a_slow_reference_says(language_models):
    rng = np.random.default_rng(0)
    train, test = (np.cumsum(rng.integers(0, 3, n)) % 6 + 5 for n in (150, 80))
    vocabulary = Vocabulary(7, 1, 1, "of a tokenizer")
    corpus = Bunch(vocabulary=vocabulary, records=[])
    for split, ids in (("train", train), ("val", test)):
        corpus[split] = np.array([1, *ids, 2], dtype=np.uint16)
        corpus.records.append({"split": split, "first": 0, "n_ids": len(ids) + 2})
    expected = witten_bell(train, test, len(vocabulary))
    np.testing.assert_allclose(language_models.trigram_bits(corpus), expected)
    assert expected < language_models.unigram_bits(corpus)


def test_seconds_without_a_plausible_beat_are_counted(ecg):
    import generate_ecg as example

    signal = ecg.data.ravel()[: 60 * ecg.fs].copy()
    examples = example.beats(signal, ecg.fs)
    assert example.is_plausible(examples, examples).all()
    noise = np.random.default_rng(0).normal(size=10 * ecg.fs)
    noisy = signal.copy()
    noisy[20 * ecg.fs : 30 * ecg.fs] = 0.3 * noise
    shares = []
    for candidate in (signal, noisy):
        plausible = example.is_plausible(example.beats(candidate, ecg.fs), examples)
        shares.append(example.seconds_without_beat(candidate, ecg.fs, plausible))
    assert shares[0] < 100 * 5 / 60
    assert 100 * 8 / 60 < shares[1] - shares[0] < 100 * 12 / 60


def test_a_copy_of_a_beat_in_training_is_nearest_to_itself(ecg_model, tmp_path):
    import generate_ecg as example

    fit, test = ecg_model.quick_ecg()
    corpus = ecg_model.corpus_of(tmp_path / "corpus", None)
    (known,) = example.training_beats(corpus, fit.fs)
    original, others = (example.beats(ecg.data.ravel(), ecg.fs) for ecg in (fit, test))
    distances = [
        pairwise_distances_argmin_min(found, known)[1] for found in (original, others)
    ]
    assert np.median(distances[0]) < 0.95 * np.median(distances[1])


@pytest.fixture
def classifiers(monkeypatch, ecg):
    """The benchmark of classifiers, with little ECG."""
    import benchmark_classifiers as benchmark

    n_samples = round(benchmark.WINDOW_SECONDS * ecg.fs)
    signal = ecg.data.ravel()[: 80 * n_samples]
    names = np.array([f"{number:02}" for number in range(20)])
    windows = Bunch(
        data=signal.reshape(80, n_samples), record=np.repeat(names, 4), fs=ecg.fs
    )
    peaks = sleepecg.detect_heartbeats(signal, ecg.fs)
    seconds = 4 * benchmark.WINDOW_SECONDS
    row, peak = np.divmod(peaks / ecg.fs, seconds)
    label = np.where(signal[peaks] > np.median(signal[peaks]), "N", "V")
    beats = {"row": row.astype(int), "peak": peak, "label": label}
    half = Bunch(ecg=windows, seconds=seconds, **beats)
    is_first = np.arange(20) % 2 == 0
    leads = signal[:50_000].reshape(20, 1, 2500) * np.ones((8, 1))
    leads[is_first, 2:] *= -1
    labels = pd.DataFrame(
        {
            "diagnosis": np.where(is_first, "NORM", "MI"),
            "rhythm": np.where(is_first, "AF", "normal"),
            "fold": np.arange(20) // 4,
        },
        index=names,
    )
    monkeypatch.setattr(benchmark, "load_beats", lambda split: half)
    monkeypatch.setattr(benchmark, "load_wfdb", lambda *args, **options: windows)
    records = Bunch(data=leads, record=names)
    monkeypatch.setattr(benchmark, "load_12", lambda folder: records)
    monkeypatch.setattr(benchmark, "labels_of", lambda database, names: labels)
    monkeypatch.setattr(benchmark, "PCA", lambda n, **options: PCA(4, **options))
    boosting = partial(benchmark.HistGradientBoostingClassifier, max_iter=2)
    monkeypatch.setattr(benchmark, "HistGradientBoostingClassifier", boosting)
    return benchmark, half


def test_the_benchmark_of_classifiers(classifiers, tmp_path, monkeypatch):
    benchmark, _ = classifiers
    monkeypatch.setattr(benchmark, "ONE_LEAD", ("ecg-31hz-v1",))
    monkeypatch.setattr(benchmark, "ALL_LEADS", (("ecg12-40hz-v1", 2),))
    with joblib.parallel_config("threading"):
        benchmark.main(tmp_path)
    page = (tmp_path / "classifiers.md").read_text()
    assert "{" not in page
    assert "nan" not in page
    rows = [line.split("|")[1:-1] for line in page.splitlines() if "hz-v1" in line]
    assert len(rows) == 5 + 1 + 1
    assert all(0 <= float(cell) <= 1 for row in rows for cell in row[3:])


def test_what_is_around_beats(classifiers):
    benchmark, half = classifiers
    samples = np.arange(half.ecg.data.size).reshape(20, -1, 1)
    n_before = round(benchmark.CONTEXT[0] * half.ecg.fs)
    at_peak = benchmark.around(half, samples)[:, n_before]
    is_inside = half.peak > 1
    expected = (half.row * half.seconds + half.peak) * half.ecg.fs
    assert np.abs(at_peak - expected)[is_inside].max() < 1.5


def test_what_tokens_stand_for(classifiers):
    benchmark, half = classifiers
    for name in ("ecg-31hz-v1", "ecg-31hz-stages-v1"):
        tokenizer = load_pretrained(name, fs=360, window_length=864)
        tokens = tokenizer.transform(half.ecg.data)
        gains, codes = benchmark.vectors(tokenizer, tokens)
        step = tokenizer["gain_shape"]
        _, gain, shapes = step._bins().split(
            tokenizer["resample"].transform(half.ecg.data)[:, np.newaxis]
        )
        np.testing.assert_array_equal(gains, step.gains_[gain])
        assert codes.shape == (80, 75, 8)
        network = step.tokenizer_["tokenize"]
        blocks = step.tokenizer_["segment"].transform(shapes[:, 0])
        expected = network.quantizer_.inverse_transform(network.transform(blocks))
        np.testing.assert_allclose(codes, expected, rtol=1e-6)


def test_parts_of_a_record_are_scored_together(classifiers):
    benchmark, _ = classifiers
    rng = np.random.default_rng(0)
    y = np.arange(100) % 2 == 0
    noise = rng.normal(size=(100, 30, 2))
    X = 0.3 * y[:, np.newaxis, np.newaxis] + noise
    splits = [(np.arange(50), np.arange(50, 100)), (np.arange(50, 100), np.arange(50))]
    classifier = benchmark.linear(StandardScaler())
    on_parts, on_noise = benchmark.out_of_fold(classifier, X, y, splits, noise)
    (on_first,) = benchmark.out_of_fold(classifier, X[:, :1], y, splits)
    assert on_first < 0.8 < 0.9 < on_parts
    assert 0.3 < on_noise < 0.7


def test_the_gain_shape_benchmark(monkeypatch, capsys, ecg):
    import benchmark_gain_shape as benchmark

    monkeypatch.setattr(benchmark, "fetch_mitdb", lambda split: ecg)
    monkeypatch.setattr(benchmark, "MAX_STEPS", 20)
    with joblib.parallel_config("threading"):
        benchmark.main()
    shown = capsys.readouterr().out
    assert shown.count("gain × ") == 7
    assert "one map, 399 tokens" in shown
    assert "nan" not in shown


@pytest.fixture
def other_ecg(monkeypatch, ecg):
    """The modules that train and measure pretrained tokenizers, with little ECG."""
    import benchmark_pretrained as benchmark
    import train_pretrained as training

    def load(folder, fs=250, window_seconds=2):
        length = (fs or 500) * window_seconds
        data = ecg.data.ravel()[: 40 * length].reshape(40, length)
        record = np.repeat(["1", "2"], 20)
        lead = np.tile(np.repeat(["II", "V1"], 10), 2)
        return Bunch(data=data, record=record, lead=lead, groups=record)

    tiny = {
        name: (block_size, quantizer.set_params(n_codes=8), 4, 2)
        for name, (block_size, quantizer, *_) in training.FAMILY.items()
    }
    for module in (benchmark, training):
        monkeypatch.setattr(module, "load", load)
        monkeypatch.setattr(module, "FAMILY", tiny)
    ds2 = load("mitdb", 360)
    monkeypatch.setattr(benchmark, "fetch_mitdb", lambda *a, **k: ds2)
    monkeypatch.setattr(benchmark, "COMPARED_STEPS", 2)
    monkeypatch.setattr(benchmark, "TokenCoder", partial(TokenCoder, max_steps=2))
    return benchmark, training


def test_pretrained_tokenizers_are_trained(other_ecg, tmp_path):
    _, training = other_ecg
    with joblib.parallel_config("threading"):
        training.main(["ecg-31hz-v1", "ecg-12hz-v1"], tmp_path)
    checksums = json.loads((tmp_path / "checksums.json").read_text())
    assert list(checksums) == ["ecg-12hz-v1", "ecg-31hz-v1"]
    content = (tmp_path / "ecg-12hz-v1.skops").read_bytes()
    assert checksums["ecg-12hz-v1"] == hashlib.sha256(content).hexdigest()
    tokenizer = load(tmp_path / "ecg-12hz-v1.skops")
    assert tokenizer.transform(np.zeros((1, 500))).shape == (1, 2 + 25)


# The benchmark ignores it, but filters of warnings are those of all threads.
@pytest.mark.filterwarnings("ignore:some peaks have a prominence of 0")
def test_the_benchmark_of_pretrained_tokenizers(other_ecg, tmp_path, monkeypatch):
    benchmark, _ = other_ecg

    def annotated_waves(record):
        peaks = np.arange(500, 9000, 800)
        limits = {"QRS onset": peaks - 20, "QRS end": peaks + 20, "T end": peaks + 180}
        return pd.DataFrame({"peak": peaks, **limits, "P onset": peaks - 90})

    monkeypatch.setattr(benchmark, "annotated_waves", annotated_waves)
    with joblib.parallel_config("threading"):
        benchmark.main(tmp_path, joblib.Memory(None))
    page = (tmp_path / "pretrained.md").read_text()
    assert "{" not in page.partition("## Model card")[0].replace("`{", "")
    rows = pd.read_csv(tmp_path / "pretrained.csv")
    assert set(rows["tokenizer"]) >= {"ecg-31hz-v1", "k-means, 80 ms", "DS1 alone"}
    assert rows["prdn_median"].between(1, 50).all()
    assert (tmp_path / "pretrained.png").stat().st_size > 10_000


@pytest.fixture
def other_leads(monkeypatch, ecg):
    """The modules for twelve leads, with little ECG and few training steps."""
    import benchmark_twelve_leads as benchmark
    import train_pretrained as training

    def load_12(folder, fs=250):
        gains = np.linspace(0.5, 2, 8)[:, np.newaxis]
        parts = ecg.data.ravel()[: 4 * 10 * fs].reshape(4, 1, 10 * fs)
        noise = np.random.default_rng(0).normal(scale=0.01, size=(4, 8, 10 * fs))
        return Bunch(data=gains * parts + noise, groups=np.array(list("abcd")))

    tiny = {"ecg12-40hz-v1": (50, 2, 8, 4, 2), "ecg12-100hz-v1": (25, 2, 8, 4, 2)}
    for module in (benchmark, training):
        monkeypatch.setattr(module, "load_12", load_12)
        monkeypatch.setattr(module, "FAMILY_12", tiny)
        monkeypatch.setattr(module, "N_CODES", 8)
    return benchmark, training


def test_tokenizers_of_twelve_leads_are_trained(other_leads, tmp_path):
    _, training = other_leads
    with joblib.parallel_config("threading"):
        training.main(["ecg12-40hz-v1"], tmp_path)
    tokenizer = load(tmp_path / "ecg12-40hz-v1.skops")
    tokens = tokenizer.transform(np.zeros((1, 8, 2500)))
    assert tokens.shape == (1, 2 * 8 + 2 * 50)
    network = tokenizer["gain_shape"].tokenizer_["tokenize"]
    codes = network.quantizer_.codes_
    assert network.quantizer.beam_width == 6
    assert (codes == codes.astype(np.float16)).all()


def test_half_of_the_crops_are_varied(other_leads):
    _, training = other_leads
    records = training.load_records_12()
    assert records.shape == (12, 8, 2500)
    crops = training.varied_crops(records)
    assert crops.shape == (144, 8, 1250)
    windows = np.lib.stride_tricks.sliding_window_view(records[0], 1250, axis=1)
    is_part = [
        (windows == crop[:, np.newaxis]).all((0, 2)).any() for crop in crops[:12]
    ]
    assert is_part == [False, True] * 6


def test_the_benchmark_of_twelve_leads(other_leads, tmp_path, monkeypatch):
    benchmark, _ = other_leads
    monkeypatch.setattr(benchmark, "N_RUNS", 1)
    monkeypatch.setattr(benchmark, "N_TIMED", 1)
    monkeypatch.setattr(benchmark, "BEAM_WIDTHS", (1, 6))
    with joblib.parallel_config("threading"):
        benchmark.main(tmp_path, joblib.Memory(None))
    page = (tmp_path / "twelve_leads.md").read_text()
    assert "{" not in page
    assert page.count("| ecg12-40hz-v1 |") == 3
    assert page.count("| ecg12-40hz-v1, beam width 1 |") == 1
    assert (tmp_path / "twelve_leads.png").stat().st_size > 10_000


def test_annotated_waves_are_those_of_their_beats(monkeypatch, tmp_path):
    import benchmark_pretrained as benchmark

    samples = [10, 15, 20, 30, 35, 40, 60, 70, 80, 130, 135, 140, 160, 170, 180]
    symbols = list("(p)(N)(t)(N)(t)")
    wfdb.wrann("1", "ii", np.array(samples), symbols, write_dir=str(tmp_path))
    monkeypatch.setattr(benchmark, "ecg_folder", lambda folder: tmp_path)
    waves = benchmark.annotated_waves("1")
    assert waves["P onset"].tolist()[0] == 10
    assert np.isnan(waves["P onset"][1])
    assert waves["QRS onset"].tolist() == [30, 130]
    assert waves["QRS end"].tolist() == [40, 140]
    assert waves["T end"].tolist() == [80, 180]


def test_the_corpus_benchmark(monkeypatch, capsys, ecg):
    import benchmark_corpus as benchmark

    two = Bunch(**{**ecg, "record": np.where(ecg.start < 500_000, "100", "b")})
    two.groups = two.record
    monkeypatch.setattr(benchmark, "fetch_mitdb", lambda: two)
    monkeypatch.setattr(benchmark, "N_TURNS", 1)
    monkeypatch.setattr(benchmark, "MAX_STEPS", 2)
    monkeypatch.setattr(benchmark, "N_SHORT", 5)
    benchmark.main()
    shown = capsys.readouterr().out
    assert "10,800 tokens of 2 records, the same after each way" in shown
    assert shown.count("\n| through") == 3


def test_the_onnx_benchmark(monkeypatch, capsys, ecg):
    import benchmark_onnx as benchmark

    monkeypatch.setattr(benchmark, "fetch_mitdb", lambda *a, **k: ecg)
    monkeypatch.setattr(benchmark, "N_WINDOWS", 500)
    monkeypatch.setattr(benchmark, "MAX_STEPS", 2)
    name = "make_paper_tokenizer()"
    one = {name: benchmark.tokenizers()[name]}
    monkeypatch.setattr(benchmark, "tokenizers", lambda: one)
    benchmark.main()
    shown = capsys.readouterr().out
    assert shown.count("| 500 |") == 1
    assert "nan" not in shown


def test_the_stream_benchmark(monkeypatch, capsys):
    import benchmark_stream as benchmark

    monkeypatch.setattr(benchmark, "SECONDS", 2)
    monkeypatch.setattr(benchmark, "MAX_STEPS", 2)
    benchmark.main()
    shown = capsys.readouterr().out
    assert shown.count("to tokens and back") == 6
    assert "Tokens are at most 996 ms late" in shown


def test_the_archive_benchmark(monkeypatch, capsys, ecg):
    import benchmark_archive as benchmark

    small = {"BATCH": 200, "MAX_STEPS": 3, "SEEDS": (0,), "N_BATCHES": 2}
    # The process holds what other tests have left.
    limits = {"LARGEST_GROWTH": np.inf, "LARGEST_PEAK": np.inf}
    for name, value in {**small, **limits}.items():
        monkeypatch.setattr(benchmark, name, value)
    monkeypatch.setattr(benchmark, "fetch_mitdb", lambda *a, **k: ecg)
    benchmark.main(0.002)
    shown = capsys.readouterr().out
    assert "| partial_fit, 3 steps |" in shown
    assert "| iter_transform | 0.0 |" in shown
    assert "| 0 | 6 |" in shown
    monkeypatch.setattr(benchmark, "LARGEST_PEAK", 0)
    with pytest.raises(SystemExit, match="peak"):
        benchmark.main(0.002)
