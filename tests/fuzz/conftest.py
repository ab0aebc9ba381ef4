"""The count of the cases: summed over the processes, and shown at the end."""

import os
import shutil

import law
import pytest


def pytest_configure(config):
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        law.STDERR = os.dup(2)


def pytest_sessionfinish(session):
    shutil.rmtree(law.FOLDER, ignore_errors=True)
    if hasattr(session.config, "workeroutput"):  # a worker of pytest-xdist
        session.config.workeroutput["fuzz"] = [[*k, n] for k, n in law.OUTCOMES.items()]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    for name, kind, count in getattr(node, "workeroutput", {}).get("fuzz", ()):
        law.OUTCOMES[name, kind] += count


def pytest_terminal_summary(terminalreporter):
    if law.OUTCOMES:
        terminalreporter.section(f"fuzz cases, SKTOK_FUZZ_SEED={law.SEED}")
        terminalreporter.write_line("\n".join(law.table()))
