"""The gallery runs, in short trainings: each asks a question, and draws."""

import runpy
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import pytest

from sktok import _fitting

plt.switch_backend("Agg")

SCRIPTS = sorted(Path(__file__).parents[1].glob("examples/plot_*.py"))


@pytest.fixture
def three_steps(monkeypatch):
    """Let every training take three gradient steps, whatever it is asked for."""
    settings_for = _fitting.settings_for
    monkeypatch.setattr(
        _fitting,
        "settings_for",
        lambda *args, **kwargs: settings_for(*args, **kwargs) | {"max_steps": 3},
    )


@pytest.fixture
def figures():
    """Numbers of the figures that are open; all are closed in the end."""
    plt.close("all")
    yield plt.get_fignums
    plt.close("all")


@pytest.mark.usefixtures("three_steps")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_asks_answers_and_draws(
    script, figures, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with joblib.parallel_config("threading"):  # where three steps hold as well
        title, underline = runpy.run_path(str(script))["__doc__"].split("\n")[1:3]
    assert title.endswith("?")
    assert underline == "=" * len(title)
    assert script.read_text().rpartition("# %%\n")[2].startswith("# So: ")
    assert figures()
    assert "nan" not in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_gallery_is_whole():
    assert len(SCRIPTS) >= 10
