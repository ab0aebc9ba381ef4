"""The law of the harness: a right answer or a documented exception, and no more.

`fuzz` makes a test of a function that draws its cases, and `judge` calls into sktok on
its behalf: within bounds of memory and time, with an eye on every path that is touched,
and with a count of the outcomes.
"""

import faulthandler
import os
import resource
import sys
import sysconfig
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

CASES = int(os.environ.get("SKTOK_FUZZ_CASES", 3_000))  # of all tests together
SEED = int(os.environ.get("SKTOK_FUZZ_SEED", 0))  # the same cases for the same seed
OUTCOMES = Counter()  # (call, outcome) -> number of cases

_BATCH = 5_000  # cases in one run of hypothesis, whose memory of them grows
_MEMORY = 2**30  # bytes that a call on a few samples may ask for
_SECONDS = 60  # after which a call hangs, and the interpreter is ended
STDERR = 2  # where to say so: conftest.py knows what pytest made of it

FOLDER = Path(tempfile.mkdtemp(prefix="sktok-fuzz-")).resolve()


def fuzz(share, **strategies):
    """Make a test that takes its share of all cases, in batches."""

    def decorate(function):
        cases = max(1, round(share * CASES))
        test = settings(
            max_examples=min(cases, _BATCH),
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
            # Whole files are drawn, and most of what is odd is drawn to be refused.
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )(given(**strategies)(function))

        @pytest.mark.parametrize("batch", range(-(-cases // _BATCH)))
        def batches(batch):
            seed(SEED + batch)(test)()

        batches.__name__, batches.__doc__ = function.__name__, function.__doc__
        batches.__module__ = function.__module__
        batches.given = test  # for atheris
        return batches

    return decorate


def judge(name, call, *allowed):
    """The result of a call, or None if it raised one of the `allowed` exceptions."""
    try:
        with _bounded(), _confined():
            result = call()
    except allowed as error:
        _reject_exhaustion(error)
        OUTCOMES[name, _documented(error, allowed)] += 1
        return None
    OUTCOMES[name, "right answer"] += 1
    return result


def _documented(error, allowed):
    return next(kind.__name__ for kind in allowed if isinstance(error, kind))


def _reject_exhaustion(error):
    """Running out of memory is a fault, in any form of exception."""
    while error is not None:
        if isinstance(error, MemoryError):
            raise AssertionError("The call asked for too much memory.") from error
        error = error.__cause__ or error.__context__


@contextmanager
def _bounded():
    """Bounds of memory and time around a call."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _MEMORY
    earlier = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, earlier[1]))
    faulthandler.dump_traceback_later(_SECONDS, exit=True, file=STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        resource.setrlimit(resource.RLIMIT_AS, earlier)


_WRITES = {
    "os.chmod": 1,
    "os.link": 2,
    "os.mkdir": 1,
    "os.remove": 1,
    "os.rename": 2,
    "os.rmdir": 1,
    "os.symlink": 2,
    "os.truncate": 1,
    "shutil.rmtree": 1,
}  # and how many of their arguments are paths
_ELSEWHERE = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system")
# What Python reads by itself: its modules and what the system says of itself.
_OWN = (
    *{sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), "/proc", "/sys"},
    str(Path(__file__).parents[2]),
)
_stray = None  # what a call touched outside, while one is watched


def _watch(event, args):
    if _stray is None:
        return
    if event == "open" and isinstance(args[0], str | bytes | os.PathLike):
        writes = args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        _record(args[0], writes, event)
    elif event in _WRITES:
        for path in args[: _WRITES[event]]:
            _record(path, True, event)
    elif event in _ELSEWHERE:
        _stray.append((event, args))


def _record(path, writes, event):
    """Remember a path outside `FOLDER`: written through links, or read by its name."""
    path = os.fsdecode(path) if not isinstance(path, int) else str(FOLDER)
    path = os.path.realpath(path) if writes else os.path.abspath(path)
    if not Path(path).is_relative_to(FOLDER):
        if writes or not path.startswith(_OWN):
            _stray.append((event, path))


sys.addaudithook(_watch)


@contextmanager
def _confined():
    """Raise an error if a path outside the folder of the harness was touched."""
    global _stray
    _stray = []
    try:
        yield
    finally:
        stray, _stray = _stray, None
    assert not stray, f"touched outside {FOLDER}: {stray}"


def table():
    """The number of each call and outcome, as lines of text."""
    kinds = sorted(
        {kind for _, kind in OUTCOMES}, key=lambda k: (k != "right answer", k)
    )
    names = sorted({name for name, _ in OUTCOMES})
    width = max(map(len, names), default=0)
    rows = [["", "cases", *kinds]]
    for name in names:
        counts = [OUTCOMES[name, kind] for kind in kinds]
        rows.append([name, *(f"{n:,}" for n in (sum(counts), *counts))])
    totals = [sum(n for (_, k), n in OUTCOMES.items() if k == kind) for kind in kinds]
    rows.append(["total", *(f"{n:,}" for n in (sum(totals), *totals))])
    return [
        row[0].ljust(width) + "".join(f"  {cell:>17}" for cell in row[1:])
        for row in rows
    ]
