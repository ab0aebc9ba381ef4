"""The examples run, on little data and for few steps."""

from pathlib import Path

import joblib
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))


def test_the_demo(tmp_path, monkeypatch, capsys, ecg):
    import plot_tokenize_ecg as demo

    grid = {"segment__block_size": [10, 25], "tokenize__quantizer__n_codes": [16]}
    monkeypatch.setattr(demo, "GRID", grid)
    monkeypatch.setattr(demo, "SEARCH_STEPS", 5)
    monkeypatch.setattr(demo, "FINAL_STEPS", 10)
    monkeypatch.setattr(demo, "MAX_MILLIVOLTS", 1.0)
    demo.main(tmp_path)
    shown = capsys.readouterr().out
    assert "A fresh process loads the tokenizer and gives the same tokens." in shown
    assert shown.count("<--") == 1
    saved = np.load(tmp_path / "tokens.npz")
    np.testing.assert_array_equal(saved["windows"], ecg.data[-len(saved["tokens"]) :])
    tokenizer = joblib.load(tmp_path / "tokenizer.joblib")
    np.testing.assert_array_equal(
        tokenizer.transform(saved["windows"]), saved["tokens"]
    )
    for picture in ("reconstruction.png", "rate_distortion.png"):
        assert (tmp_path / picture).stat().st_size > 10_000


def test_the_benchmark_of_the_paper(tmp_path, monkeypatch, ecg):
    import benchmark_paper as benchmark

    X = (ecg.data - ecg.data.min()) / np.ptp(ecg.data)
    data = X[:40], X[40:60], np.full(20, np.ptp(ecg.data))
    protocols = {"ds1": data, "record 100": data}
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


def test_errors_are_given_in_microvolts(ecg):
    import benchmark_paper as benchmark

    class Shift:
        def transform(self, X):
            return X + 0.01

        def inverse_transform(self, X):
            return X

    span = np.ptp(ecg.data)
    X = (ecg.data - ecg.data.min()) / span
    figures = benchmark.figures(Shift(), X, X[:20], np.full(len(X), span))
    outside = (X > X[:20].max()).any(axis=1) | (X < X[:20].min()).any(axis=1)
    assert outside.any()
    assert (benchmark.within_range(X, X[:20]) == ~outside).all()
    np.testing.assert_allclose(figures["mse"], 1e-4)
    np.testing.assert_allclose(figures["rmse_uv"], 1000 * 0.01 * span)
    np.testing.assert_allclose(figures["prd"], 100 * 0.01 * span / ecg.data.std())


def test_the_rate_distortion_benchmark(tmp_path, monkeypatch, ecg):
    import benchmark_rate_distortion as benchmark

    X = ((ecg.data - ecg.data.min()) / np.ptp(ecg.data)).astype(np.float32)
    span = np.full(len(X), np.ptp(ecg.data))
    data = X[:200], ecg.record[:200], span[:200], ecg.fs
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
    with joblib.parallel_config("threading"):
        benchmark.main(tmp_path)
    page = (tmp_path / "rate_distortion.md").read_text()
    assert page.count("\n| 10 | 256 |") == 1 + 8  # the table, and the details
    assert page.count("\n| 25 | 16 |") == 1 + 6
    assert "nan" not in page
    assert (tmp_path / "rate_distortion.png").stat().st_size > 10_000


def test_rates_and_bounds_of_the_rate_distortion_benchmark(ecg):
    import benchmark_rate_distortion as benchmark

    noise = 0.1 * np.random.default_rng(0).normal(size=(400, 250))
    record = np.repeat([0, 1], 200)
    for bits in (0.5, 1.0, 2.0):  # white noise: D = 2^(-2 R)
        bound = benchmark.gaussian_bound(noise, record, bits)
        np.testing.assert_allclose(bound, 0.01 * 2.0 ** (-2 * bits), rtol=0.15)
        codec = benchmark.wavelet_mse(noise, record, bits)
        assert bound < codec < 2 * bound


def test_the_speed_benchmark(monkeypatch, capsys):
    import benchmark_speed as benchmark

    for name, value in {
        "N_TURNS": 1,
        "TURN_SECONDS": 1e-6,
        "N_WINDOWS": 200,
        "N_SLOW": 5,
        "BATCHES": (64,),
        "QUICK_STEPS": 2,
        "SEEDS": (0,),
        "WHOLE_STEPS": 2,
        "SCHEDULES": (2,),
        "PATIENCE": 0.1,
        "SEARCH_STEPS": 2,
        "GROWTH": (10, 20, 40),
        "VOCABULARY": (256, 300),
    }.items():
        monkeypatch.setattr(benchmark, name, value)
    monkeypatch.setattr(benchmark, "measure_apart", benchmark.measure)
    benchmark.main()
    shown = capsys.readouterr().out
    assert shown.count("\n## ") == len(benchmark.SECTIONS)
    assert "nan" not in shown
