"""The gallery scripts run with short training; each asks, answers and draws."""

import functools
import runpy
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import pytest

from sktok import ConvAETokenizer

plt.switch_backend("Agg")

SCRIPTS = sorted(Path(__file__).parents[1].glob("examples/plot_*.py"))


@pytest.fixture
def three_steps(monkeypatch):
    """Train for three gradient steps, instead of `max_steps`."""
    fit = ConvAETokenizer.fit

    @functools.wraps(fit)
    def short_fit(self, *args, **kwargs):
        self.max_steps = 3
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(ConvAETokenizer, "fit", short_fit)


@pytest.fixture
def figures():
    """Numbers of the open figures; all are closed at the end."""
    plt.close("all")
    yield plt.get_fignums
    plt.close("all")


@pytest.mark.usefixtures("three_steps")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_asks_answers_and_draws(
    script, figures, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with joblib.parallel_config("threading"):  # other processes are not patched
        title, underline = runpy.run_path(str(script))["__doc__"].split("\n")[1:3]
    assert title.endswith("?")
    assert underline == "=" * len(title)
    assert script.read_text().rpartition("# %%\n")[2].startswith("# **Answer:** ")
    assert figures()
    assert "nan" not in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_gallery_is_complete():
    assert len(SCRIPTS) >= 10
