"""Kills, interrupts, full disks, bad networks: done for real, in processes.

A process dies, or is interrupted, at a place that is counted and not timed: before the
n-th line of sktok that runs, or the n-th file that is opened, moved or removed.
"""

import copy
import linecache
import multiprocessing
import os
import pickle
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, cycle
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
import wfdb
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import sktok
from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    ConvAETokenizer,
    GainShapeTokenizer,
    VectorQuantizer,
    persistence,
)
from sktok._torch.guard import seeded
from sktok._torch.threads import limited_threads
from sktok.corpus import (
    Vocabulary,
    read_corpus,
    write_auto_tokenizer,
    write_corpus,
    write_dataset,
)
from sktok.datasets import _mitdb, fetch_mitdb
from sktok.metrics import neg_reconstruction_mse

resource = pytest.importorskip("resource", reason="signals and limits of Unix")

SOURCES = os.path.dirname(sktok.__file__)
PATIENCE = 60  # seconds after which a process is said to hang
FILE_EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.truncate", "os.rmdir"}
WRITERS = {  # what of sktok writes to the disk: to die before each of these lines
    "_lock",
    "_append",
    "whole_file",
    "write_json",
    "_resume",
    "whole_folder",
    "save",
    "to_json",
    "write_auto_tokenizer",
    "write_dataset",
    "write_splits",
}
# Its processes are forks of one that has imported all that is slow, and done nothing.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    [
        "datasets",
        "pytest",
        "skops.io",
        "sktok._torch.fitting",
        "sktok.corpus",
        "sktok.metrics",
        "sktok.persistence",
        "sklearn.model_selection",
        "transformers.tokenization_utils_tokenizers",
        "wfdb",
    ]
)


def run(function, *args):
    """Exit code of a function in a process of its own; negative if it was killed."""
    with started(function, *args) as process:
        process.join(PATIENCE)
        assert process.exitcode is not None, "it hangs"
        return process.exitcode


@contextmanager
def started(function, *args):
    process = processes.Process(target=function, args=args)
    process.start()
    yield process
    process.kill()
    process.join()


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt():
    raise KeyboardInterrupt


def at_line(n, functions, action):
    """Call `action` before the n-th line that these, or all, functions of sktok run.

    Not where a block is entered or left: between the lines of Python's own protocol no
    signal is handled, but a trace would be.
    """
    left = count(n - 1, -1)

    def trace(frame, event, _):
        code = frame.f_code
        is_other = functions is not None and code.co_name not in functions
        if is_other or not code.co_filename.startswith(SOURCES):
            return None
        line = linecache.getline(code.co_filename, frame.f_lineno).split()
        if event == "line" and line[0] not in ("with", "try:", "finally:"):
            if not next(left):
                action()
        return trace

    sys.settrace(trace)
    return left


def at_file_event(n, folder, action):
    """Call `action` before the n-th time that a file in the folder is touched."""
    left = count(n - 1, -1)

    def hook(event, args):
        is_here = event in FILE_EVENTS and str(args[0]).startswith(str(folder))
        if is_here and not next(left):
            action()

    sys.addaudithook(hook)


def die_at(n, place, function, *args):
    """Call a function, and die at the n-th line or touch of a file."""
    (at_file_event if isinstance(place, Path) else at_line)(n, place, die)
    function(*args)


def files_in(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def small(**params):
    """A tokenizer that is fitted in a moment."""
    params = {"quantizer": VectorQuantizer(16), "max_steps": 3, **params}
    return ConvAETokenizer(Linear, random_state=0, **params)


class Linear(torch.nn.Module):
    """A network that trains in a moment."""

    def __init__(self, block_size, latent_dim):
        super().__init__()
        self.down = torch.nn.Linear(block_size, latent_dim)
        self.up = torch.nn.Linear(latent_dim, block_size)

    def encode(self, x):
        return self.down(x)

    def decode(self, z):
        return self.up(z)


@pytest.fixture(scope="module")
def tokenizer(ecg):
    quantizer = VectorQuantizer(32, random_state=0)
    return make_pipeline(BlockSegmenter(25), quantizer).fit(ecg.data)


@pytest.fixture(scope="module")
def records(ecg):
    return [ecg.data[:20], ecg.data[20:30], ecg.data[30:60]]


@pytest.fixture(scope="module")
def corpus(records, tokenizer, tmp_path_factory):
    """The folder of a corpus."""
    folder = tmp_path_factory.mktemp("corpus") / "whole"
    write_records(folder, records, tokenizer)
    return folder


@pytest.fixture(scope="module")
def pair(ecg):
    """Two tokenizers that make other tokens, to be saved under one name."""
    return [
        make_pipeline(BlockSegmenter(25), VectorQuantizer(8, random_state=0)).fit(X)
        for X in (ecg.data[:20], ecg.data[20:40])
    ]


def write_records(folder, records, tokenizer):
    return write_corpus(folder, records, tokenizer, validation=["1"])


def write_vocabulary(folder, corpus):
    """As a tokenizer of Hugging Face."""
    write_auto_tokenizer(folder, read_corpus(corpus).vocabulary)


# --- kills


def fit_in(folder, blocks):
    os.chdir(folder)
    tempfile.tempdir = str(folder)
    small().fit(blocks)


@pytest.mark.parametrize("n", [10, 100, 200])
def test_a_killed_fit_leaves_nothing_on_the_disk(blocks, tmp_path, n):
    assert run(die_at, n, None, fit_in, tmp_path, blocks) == -signal.SIGKILL
    assert not list(tmp_path.iterdir())


def tokens_by_cache(folder, X):
    segmenter, quantizer = BlockSegmenter(25), VectorQuantizer(16, random_state=0)
    pipe = make_pipeline(segmenter, small(quantizer=None), quantizer)
    return pipe.set_params(memory=folder and str(folder)).fit(X).transform(X)


def test_a_cache_that_was_being_written_gives_what_is_right(ecg, tmp_path):
    X = ecg.data[:20]
    expected = tokens_by_cache(None, X)
    for n in count(1, 6):
        folder = tmp_path / str(n)
        if run(die_at, n, folder, tokens_by_cache, folder, X) == 0:
            break
        np.testing.assert_array_equal(tokens_by_cache(folder, X), expected)
    assert n > 10


def test_a_corpus_goes_on_after_a_kill_at_any_place(
    records, tokenizer, corpus, tmp_path
):
    for n in count(1, 9):
        folder = tmp_path / str(n)
        arguments = folder, records, tokenizer
        if run(die_at, n, WRITERS, write_records, *arguments) == 0:
            break
        if not folder.exists() and (
            run(die_at, n // 2 + 1, WRITERS, write_records, *arguments)
        ):
            with suppress(FileExistsError):
                write_records(*arguments)
        assert files_in(folder) == files_in(corpus)
    assert n > 40


def last_ids(folder, write):
    """What a reader gets from the end of what was written."""
    if write is write_dataset:
        rows = pytest.importorskip("datasets").load_from_disk(str(folder))["train"]
        return rows[-1]["input_ids"]
    return Vocabulary.from_json(folder / "vocabulary.json")


@pytest.mark.parametrize("write", [write_dataset, write_vocabulary])
@pytest.mark.parametrize("place", ["lines", "files"])
def test_a_killed_export_leaves_nothing_under_its_name(corpus, tmp_path, write, place):
    pytest.importorskip("datasets", reason="needs the extra lm")
    pytest.importorskip("transformers", reason="needs the extra lm")
    write(tmp_path / "whole", corpus)
    folder = tmp_path / "a"
    for n in count(1, 5):
        where = WRITERS if place == "lines" else tmp_path
        if run(die_at, n, where, write, folder, corpus) == 0:
            break
        if folder.exists():
            assert last_ids(folder, write) == last_ids(tmp_path / "whole", write)
            shutil.rmtree(folder)
    assert n > 5
    assert last_ids(folder, write) == last_ids(tmp_path / "whole", write)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "whole"]


def dump(tokenizer, path):
    """As the guide has it for joblib."""
    joblib.dump(tokenizer, f"{path}.partial")
    os.replace(f"{path}.partial", path)


def save(tokenizer, path):
    persistence.save(tokenizer, path)


SAVERS = [(dump, joblib.load), (save, lambda path: persistence.load(path))]


@pytest.mark.parametrize(("save", "load"), SAVERS)
@pytest.mark.parametrize("place", ["lines", "files"])
def test_a_file_is_whole_wherever_its_saving_is_killed(
    pair, ecg, tmp_path, save, load, place
):
    path = tmp_path / "tokenizer"
    save(pair[0], path)
    for n in count(1, 9 if place == "lines" else 1):
        where = None if place == "lines" else tmp_path
        code = run(die_at, n, where, save, pair[1], path)
        tokens = load(path).transform(ecg.data)
        old, new = (np.array_equal(tokens, t.transform(ecg.data)) for t in pair)
        assert old or new
        if code == 0:
            break
        save(pair[0], path)
    assert new
    assert n > 2


def save_in_turns(ready, path, save, pair):
    ready.set()
    for tokenizer in cycle(pair):
        save(tokenizer, path)


@pytest.mark.parametrize(("save", "load"), SAVERS)
def test_a_file_is_whole_whenever_its_saving_is_killed(pair, ecg, tmp_path, save, load):
    rng = np.random.default_rng(0)
    path = tmp_path / "tokenizer"
    save(pair[0], path)
    expected = [tokenizer.transform(ecg.data).tobytes() for tokenizer in pair]
    found = []
    for _ in range(15):
        ready = processes.Event()
        with started(save_in_turns, ready, path, save, pair):
            assert ready.wait(PATIENCE)
            time.sleep(rng.uniform(0, 0.02))
        found.append(load(path).transform(ecg.data).tobytes())
    assert set(found) <= set(expected)


# --- interrupts


class Interrupting(Linear):
    """Sends its process what Ctrl-C does, as it encodes."""

    def encode(self, x):
        signal.raise_signal(signal.SIGINT)
        return super().encode(x)


def fit(tokenizer, X):
    tokenizer.set_params(warm_start=False).fit(X)


def fit_warm(tokenizer, X):
    tokenizer.set_params(warm_start=True).fit(X)


def partial_fit(tokenizer, X):
    tokenizer.partial_fit(X)


def n_lines(learn, tokenizer, X):
    """Number of lines of sktok that it takes to learn."""
    with traced():
        left = at_line(0, None, None)
        learn(tokenizer, X)
    return -1 - next(left)


@contextmanager
def traced():
    """A trace may be set here, and the interrupt that it brings is over behind."""
    found = sys.gettrace()
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(found)


def assert_one_of(tokenizer, X, whole):
    """It does what one of the whole ones does, or is not fitted."""
    try:
        tokens = tokenizer.transform(X)
    except NotFittedError:
        return False
    restored = tokenizer.inverse_transform(tokens)
    assert any(
        np.array_equal(tokens, other.transform(X))
        and np.array_equal(restored, other.inverse_transform(tokens))
        for other in whole
    )
    loaded = pickle.loads(pickle.dumps(tokenizer))
    np.testing.assert_array_equal(loaded.transform(X), tokens)
    return True


def global_state():
    """Torch's threads, and the states of torch's and numpy's generators."""
    numpy_state = pickle.dumps(np.random.get_state())  # noqa: NPY002
    return torch.get_num_threads(), torch.get_rng_state().tolist(), numpy_state


LEARNERS = {
    "codebook": small,
    "bins": partial(small, quantizer=BinQuantizer(8)),
    "latents": partial(small, quantizer=None),
}


@pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)
@pytest.mark.parametrize("learn", [fit, fit_warm, partial_fit])
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "second"])
def test_an_interrupted_fit_leaves_a_whole_or_nothing(blocks, make, learn, is_first):
    before = make(max_steps=9)
    if not is_first:
        before.partial_fit(blocks[:30])
    whole = [] if is_first else [before]
    after = copy.deepcopy(before)
    n = n_lines(learn, after, blocks[30:])
    whole.append(after)
    found = global_state()
    for moment in np.linspace(1, n, 20).astype(int).tolist():
        tokenizer = copy.deepcopy(before)
        with traced():
            at_line(moment, None, interrupt)
            learn(tokenizer, blocks[30:])
        is_fitted = assert_one_of(tokenizer, blocks, whole)
        assert is_fitted or is_first or learn is fit
    learn(tokenizer, blocks[30:])  # and nothing is locked
    assert global_state() == found


ESTIMATORS = (
    AmplitudeScaler(),
    BinQuantizer(8),
    BlockSegmenter(25),
    VectorQuantizer(8, random_state=0),
    GainShapeTokenizer(VectorQuantizer(8, random_state=0)),
)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_other_estimators_are_whole_or_nothing_too(ecg, estimator):
    X, before = ecg.data[:60], clone(estimator).fit(ecg.data[:30])
    after = copy.deepcopy(before)
    for moment in range(1, n_lines(fit_again, after, X) + 1):
        tokenizer = copy.deepcopy(before)
        with traced():
            at_line(moment, None, interrupt)
            tokenizer.fit(X)
        assert_one_of(tokenizer, X, [before, after])


def fit_again(tokenizer, X):
    tokenizer.fit(X)


def test_a_signal_interrupts_a_fit(blocks):
    tokenizer = small().fit(blocks)
    expected = tokenizer.transform(blocks)
    for network in (Linear, Interrupting):
        tokenizer.set_params(network=network, warm_start=network is Linear)
    with pytest.raises(KeyboardInterrupt):
        tokenizer.fit(blocks)
    with pytest.raises(NotFittedError):
        tokenizer.transform(blocks)
    tokenizer.set_params(network=Linear).fit(blocks)
    np.testing.assert_array_equal(tokenizer.transform(blocks), expected)


# --- full disks


def to_json(folder, corpus):
    folder.mkdir(exist_ok=True)
    read_corpus(corpus).vocabulary.to_json(folder / "vocabulary.json")


def save_one(folder, corpus):
    folder.mkdir(exist_ok=True)
    persistence.save(BinQuantizer(8).fit([[0.0, 1.0]]), folder / "tokenizer")


def write_same(folder, corpus):
    """A corpus of the records of `corpus`, as far as its tokens go."""
    ids = read_corpus(corpus).train
    windows = np.resize(ids, (40, 2)).astype(float)
    bins = BinQuantizer(8).fit(windows)
    write_corpus(folder, [windows[:20], windows[20:]], bins, validation=["1"])


FOLDER_WRITERS = [write_same, write_dataset, write_vocabulary, to_json, save_one]


def refuses(write, folder, corpus):
    """There is no room, which is said by an OSError."""
    with pytest.raises(OSError, match=r"too large|No space left"):
        write(folder, corpus)


def refuses_long_files(limit, write, folder, corpus):
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    refuses(write, folder, corpus)


@pytest.mark.parametrize("write", FOLDER_WRITERS)
@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_file_that_cannot_grow_loses_nothing(corpus, tmp_path, write, share):
    pytest.importorskip("datasets", reason="needs the extra lm")
    folder, whole = tmp_path / "a", tmp_path / "whole"
    write(whole, corpus)
    replaces = write in (to_json, save_one)
    if replaces:
        write(folder, corpus)
    longest = max(len(content) for content in files_in(whole).values())
    before = files_in(folder)
    arguments = int(share * longest), write, folder, corpus
    assert run(refuses_long_files, *arguments) == 0
    visible = {p: c for p, c in files_in(folder).items() if p.name[0] != "."}
    assert visible == before
    assert folder.exists() == replaces
    write(folder, corpus)
    assert sorted(files_in(folder)) == sorted(files_in(whole))


@pytest.fixture
def small_disk(tmp_path):
    """A folder with room for a quarter of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a disk of its own takes root on Linux, which may mount: {error}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("write", FOLDER_WRITERS)
def test_a_full_disk_leaves_nothing_and_room_mends_it(corpus, small_disk, write):
    pytest.importorskip("datasets", reason="needs the extra lm")
    filler, folder = small_disk / "filler", small_disk / "a"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(2**20))
    if write in (to_json, save_one):
        folder.mkdir()
    refuses(write, folder, corpus)
    assert not [path for path in files_in(folder) if path.name[0] != "."]
    filler.unlink()
    write(folder, corpus)
    assert files_in(folder)


# --- the network


class Physionet(BaseHTTPRequestHandler):
    """Serves a folder, and one file of it as badly as the server is told to."""

    def do_GET(self):
        name = Path(self.path).name
        content = (self.server.folder / name).read_bytes()
        if name == self.server.bad_name:
            getattr(self, self.server.fault)(content)
        else:
            self.right(content)

    def right(self, content, length=None):
        self.send_response(200)
        self.send_header("Content-Length", str(length or len(content)))
        self.end_headers()
        self.wfile.write(content)

    def silent(self, content):
        self.server.is_silent.set()
        self.server.over.wait()

    def stalls(self, content):
        self.right(content[: len(content) // 2], len(content))
        self.silent(content)

    def resets(self, content):
        self.right(content[: len(content) // 2], len(content))
        linger = struct.pack("ii", 1, 0)  # so that closing is no orderly end
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()

    def truncates(self, content):
        self.right(content[: len(content) // 2], len(content))

    def ends_early(self, content):
        self.right(content[: len(content) // 2])

    def sends_other_bytes(self, content):
        self.right(bytes(byte ^ 0x55 for byte in content))

    def sends_a_page(self, content):
        self.right(b"<html>Please log in to this network.</html>")

    def is_absent(self, content):
        self.send_error(404)

    def fails(self, content):
        self.send_error(500)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    """PhysioNet on this machine, with a record 100 that is made up."""
    signal = np.random.default_rng(0).integers(-2000, 2000, (1000, 2)) / 1000
    folder = tmp_path / "physionet"
    folder.mkdir()
    wfdb.wrsamp(
        "100",
        fs=360,
        units=["mV", "mV"],
        sig_name=["MLII", "V5"],
        p_signal=signal,
        fmt=["16", "16"],
        write_dir=str(folder),
    )
    wfdb.wrann("100", "atr", np.array([10, 300]), ["N", "V"], write_dir=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Physionet)
    server.folder, server.bad_name = folder, None
    server.is_silent, server.over = threading.Event(), threading.Event()
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


def fetch(port, home, patience=PATIENCE):
    _mitdb._URL = f"http://127.0.0.1:{port}/"
    _mitdb._TIMEOUT = patience
    fetch_mitdb(["100"], data_home=home)


def fetch_is_refused(port, home, message):
    with pytest.raises((OSError, ValueError), match=message):
        fetch(port, home, patience=0.2)


FAULTS = {
    "silent": r"timed out.*by hand",
    "stalls": r"timed out.*by hand",
    "resets": r"reset.*by hand",
    "truncates": r"IncompleteRead.*by hand",
    "is_absent": r"404.*by hand",
    "fails": r"500.*by hand",
    "ends_early": "damaged|copy it again",
    "sends_other_bytes": "damaged|copy it again",
    "sends_a_page": "damaged|copy it again",
}


BAD_FILES = [(fault, name) for name in ("100.hea", "100.dat") for fault in FAULTS]
BAD_FILES += [("stalls", "100.atr"), ("truncates", "100.atr")]  # it has no checksum


@pytest.mark.parametrize(("fault", "name"), BAD_FILES)
def test_a_bad_network_leaves_no_half_a_record(server, tmp_path, fault, name):
    server.bad_name, server.fault = name, fault
    home, port = tmp_path / "home", server.server_port
    assert run(fetch_is_refused, port, home, FAULTS[fault]) == 0
    assert not list(home.glob("mitdb/100*"))
    assert [path.name for path in home.iterdir()] == ["mitdb"]
    server.bad_name = None
    assert run(fetch, port, home) == 0
    assert len(list(home.glob("mitdb/100*"))) == 3


def test_a_killed_download_leaves_no_half_a_record(server, tmp_path):
    server.bad_name, server.fault = "100.hea", "stalls"
    home, port = tmp_path / "home", server.server_port
    with started(fetch, port, home):
        assert server.is_silent.wait(PATIENCE)
    assert not list(home.glob("mitdb/*"))
    server.bad_name = None
    assert run(fetch, port, home) == 0
    assert len(list(home.glob("mitdb/100*"))) == 3


def test_a_full_disk_leaves_no_half_a_record(server, small_disk):
    filler, port = small_disk / "filler", server.server_port
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(2**20))
    assert run(fetch_is_refused, port, small_disk, "No space left.*by hand") == 0
    assert not list(small_disk.glob("mitdb/100*"))
    filler.unlink()
    assert run(fetch, port, small_disk) == 0


# --- workers, threads, forks


def score_and_die_once(mark, estimator, X, y=None):
    """A score; the first process that finds the mark is killed."""
    try:
        mark.unlink()
    except FileNotFoundError:
        return neg_reconstruction_mse(estimator, X)
    die()


def test_a_search_says_that_a_worker_died_and_can_be_repeated(ecg, tmp_path):
    mark = tmp_path / "mark"
    mark.touch()
    search = GridSearchCV(
        make_pipeline(BlockSegmenter(25), VectorQuantizer(random_state=0)),
        {"vectorquantizer__n_codes": [4, 8]},
        scoring=partial(score_and_die_once, mark),
        cv=2,
        n_jobs=2,
    )
    with pytest.raises(BrokenProcessPool, match="terminated"):
        search.fit(ecg.data[:40])
    assert not hasattr(search, "best_estimator_")
    search.fit(ecg.data[:40])
    alone = clone(search).set_params(n_jobs=1).fit(ecg.data[:40])
    for found in ("mean_test_score", "rank_test_score"):
        np.testing.assert_allclose(search.cv_results_[found], alone.cv_results_[found])
    np.testing.assert_array_equal(search.transform(ecg.data), alone.transform(ecg.data))


@pytest.mark.parametrize("quantizer", [VectorQuantizer(16), BinQuantizer(8)])
@pytest.mark.parametrize("n_candidates", [1, 3])
def test_threads_share_a_tokenizer(blocks, quick, quantizer, n_candidates):
    tokenizer = quick(quantizer=quantizer, max_steps=3, n_candidates=n_candidates)
    tokenizer.fit(blocks)
    parts = [blocks[n : 60 - 2 * n] for n in range(8)]
    tokens = [tokenizer.transform(part) for part in parts]
    restored = [tokenizer.inverse_transform(part) for part in tokens]
    together = threading.Barrier(len(parts))

    def work(index):
        together.wait()
        for _ in range(2):
            found = tokenizer.transform(parts[index])
            np.testing.assert_array_equal(found, tokens[index])
            found = tokenizer.inverse_transform(tokens[index])
            np.testing.assert_array_equal(found, restored[index])
            loaded = pickle.loads(pickle.dumps(tokenizer))
        np.testing.assert_array_equal(loaded.transform(parts[index]), tokens[index])

    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(work, range(len(parts))))


def tokenize_in_another(method, tokenizer, X, expected):
    """In a process made so, after torch has computed with two threads in this one."""
    torch.set_num_threads(2)
    np.testing.assert_array_equal(tokenizer.transform(X), expected)
    with multiprocessing.get_context(method).Pool(1) as pool:
        tokens = pool.apply_async(tokenizer.transform, (X,)).get(PATIENCE / 2)
        np.testing.assert_array_equal(tokens, expected)
        pool.apply_async(clone(tokenizer).fit, (X,)).get(PATIENCE / 2)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_tokens_are_the_same_in_any_process(ecg, quick, method):
    X = np.resize(ecg.data, (600, 250)).reshape(600, 25, 10)
    tokenizer = quick(quantizer=VectorQuantizer(16), max_steps=3).fit(X)
    arguments = method, tokenizer, X, tokenizer.transform(X)
    assert run(tokenize_in_another, *arguments) == 0  # itself of a forkserver


def set_threads_for_a_while(seconds=1.0):
    """Set threads, and seed the building of networks, again and again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with limited_threads(1 + int(time.monotonic() * 1e6) % 2), seeded(0):
            pass


def fork_while_another_thread_works():
    """Each child needs the locks that the other thread takes all the time."""
    worker = threading.Thread(target=set_threads_for_a_while)
    worker.start()
    while worker.is_alive():
        child = os.fork()
        if not child:
            signal.alarm(PATIENCE // 4)  # a child that waits for ever is killed
            set_threads_for_a_while(0.0)
            with limited_threads(2), seeded(0):
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    worker.join()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_fork_does_not_inherit_a_lock_that_nobody_releases():
    assert run(fork_while_another_thread_works) == 0
