"""The script for CUDA: its dry run, and how it counts ties."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sktok import VectorQuantizer

ROOT = Path(__file__).parents[1]
NOT_NEEDED = (
    "datasets filelock matplotlib pandas requests skops sleepecg tokenizers "
    "transformers wfdb"
).split()


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import benchmark_gpu

    return benchmark_gpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="a real run takes minutes")
def test_the_dry_run_needs_few_packages(tmp_path):
    for name in NOT_NEEDED:
        (tmp_path / f"{name}.py").write_text("raise ImportError('not needed')")
    script, page = ROOT / "examples" / "benchmark_gpu.py", tmp_path / "page.md"
    done = subprocess.run(
        [sys.executable, script, page],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("No CUDA device")
    text = page.read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Checks",
        "## Speed",
        "## Chunk sizes",
    ]
    assert text.count("| yes |") == 17
    assert text.count("needs skops and filelock") == 2
    assert "Error" not in text
    assert "nan" not in text


def test_files_are_loaded_without_cuda(benchmark, blocks, quick):
    tokenizer = quick(quantizer=VectorQuantizer(16), device="cpu").fit(blocks)
    rows = benchmark.file_rows(tokenizer, blocks, "cpu")
    assert [(holds, result) for _, holds, result in rows] == 4 * [
        ("yes", "0 of 1,500 tokens differ")
    ]


def test_ties_are_told_from_other_differences(benchmark, blocks, quick):
    tokenizer = quick(quantizer=VectorQuantizer(16), device="cpu").fit(blocks)
    tokens = tokenizer.transform(blocks)
    assert len(benchmark.distance_gaps(tokenizer, blocks, tokens, tokens)) == 0
    other = tokens.copy()
    other[3, 4] = (tokens[3, 4] + 1) % 16
    assert benchmark.distance_gaps(tokenizer, blocks, tokens, other) > benchmark.TIE
    codes = tokenizer.quantizer_.codes_
    codes[other[3, 4]] = codes[tokens[3, 4]]
    np.testing.assert_array_equal(
        benchmark.distance_gaps(tokenizer, blocks, tokens, other), [0.0]
    )


def test_the_smallest_chunk_near_the_best_rate_is_recommended(benchmark):
    assert benchmark.recommended({100: 1.0, 400: 3.9, 1600: 4.0, 6400: 2.0}) == 400


def test_the_made_up_ecg_has_beats(benchmark):
    X = benchmark.made_up_ecg(60)
    signal = X.ravel()
    beats = (signal[1:] > 0.5) & (signal[:-1] <= 0.5)
    assert X.dtype == np.float32
    assert 40 <= beats.sum() <= 110  # in a minute
    np.testing.assert_array_equal(X, benchmark.made_up_ecg(60))
