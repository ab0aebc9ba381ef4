"""Damaged and forged files of a corpus and of a vocabulary."""

import json
import os
import shutil
from functools import cache

import numpy as np
from hypothesis import strategies as st
from law import FOLDER, fuzz, judge
from sklearn.utils import Bunch
from test_wfdb import forge_bytes

from sktok import BinQuantizer
from sktok.corpus import Vocabulary, read_corpus, write_corpus

REFUSED = ValueError, OSError
WINDOWS = np.random.default_rng(0).random((12, 4))
TOKENIZER = BinQuantizer(8).fit(WINDOWS)
SOURCE = Bunch(
    data=WINDOWS,
    record=np.repeat(["a", "b", "../../etc/passwd"], 4),
    groups=np.repeat(["p", "q", "/etc/passwd"], 4),
    start=np.tile([0, 4, 100, 104], 3),
    lead=np.repeat(["I", "I", "II", "é"], [4, 2, 2, 4]),
    fs=250.0,
    unit="mV",
)


class Interrupted(Exception):
    """Raised after two records."""


class Interrupting:
    """The source up to its third record."""

    def __iter__(self):
        yield Bunch(**{k: v if np.isscalar(v) else v[:8] for k, v in SOURCE.items()})
        raise Interrupted


def write(path, source=SOURCE):
    return write_corpus(path, source, TOKENIZER, validation=["q"])


@cache
def files(is_whole):
    """The files of a corpus, whole or interrupted, by their names."""
    path = FOLDER / f"whole-{is_whole}"
    try:
        write(path, SOURCE if is_whole else Interrupting())
    except Interrupted:
        path = path.with_name(f".{path.name}.partial")
    return {file.name: file.read_bytes() for file in path.iterdir()}


SMALL = [None, True, -1, 0, 1, 2, 13, 1.5, 2**31, 2**62, 2**64, 10**30, 1e300, "1", ""]
SMALL += ["../../etc/passwd", "train", "val", "<u2", "<u4", [], {}, [[]], [[0, 2**62]]]
LITERALS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "9" * 5000,
    "1e999",
    "[" * 5_000,
    '"\\ud800"',
]


@st.composite
def forge_json(draw, content):
    """JSON with one value changed or deleted."""
    lines = content.splitlines() if content.startswith(b'{"') else [content]
    place = draw(st.integers(0, len(lines) - 1))
    parsed = json.loads(lines[place])
    node, key = parsed, draw(st.sampled_from(sorted(parsed)))
    while isinstance(node[key], dict | list) and node[key] and draw(st.booleans()):
        node = node[key]
        keys = sorted(node) if isinstance(node, dict) else range(len(node))
        key = draw(st.sampled_from(keys))
    if draw(st.integers(0, 5)) == 0:
        del node[key]
    else:
        node[key] = draw(st.sampled_from(SMALL) | st.just("here"))
    forged = json.dumps(parsed)
    if '"here"' in forged:
        forged = forged.replace('"here"', draw(st.sampled_from(LITERALS)))
    lines[place] = forged.encode()
    return b"\n".join(lines) + b"\n"


@st.composite
def forgeries(draw, content):
    """Files, some of them forged, and the names of the forged ones."""
    content, forged = dict(content), set()
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(sorted(content)))
        is_json = name.endswith(("json", "jsonl")) and name not in forged
        forge = forge_json if is_json and draw(st.integers(0, 2)) else forge_bytes
        content[name] = draw(forge(content[name]))
        forged.add(name)
    return content, forged


def lay_out(name, content):
    """Write files to a new folder."""
    folder = FOLDER / name
    for path in (folder, FOLDER / "forged"):
        path.unlink() if path.is_symlink() else shutil.rmtree(path, ignore_errors=True)
    folder.mkdir()
    for file, text in content.items():
        (folder / file).write_bytes(text)
    return folder


def check_corpus(name, corpus):
    """Check the sizes of a corpus; its ids decode or raise."""
    for split in ("train", "val"):
        entries = [entry for entry in corpus.records if entry["split"] == split]
        assert len(corpus[split]) == sum(entry["n_ids"] for entry in entries)
        for entry in entries:
            ids = corpus[split][entry["first"] :][: entry["n_ids"]]
            assert len(ids) == entry["n_ids"]
            tokens = judge(
                f"{name}: decode",
                lambda ids=ids: corpus.vocabulary.decode(ids),
                ValueError,
            )
            assert tokens is None or tokens.max(initial=0) < corpus.vocabulary.n_tokens


X = WINDOWS[:3]
NUMBERS = [0, -1, 2.5, 2**62, 2**63, 10**30, 10**400, np.nan, np.inf, 1e300, True]
NAMES = [None, "", "a", "a\n", "\0", "\ud800", "é", b"a", np.bytes_("a"), np.nan, 1, []]
NAMES += [np.str_("a"), ("I", "II"), "a" * 5000, np.int64(3), 1.0, True]
STARTS = [[0, 4, 8], [8, 0, 4], [-4, 0, 4], [0, 2, 4], [0, 0, 0], [0, 4, 2**63 - 1]]
STARTS += [[-(2**62), 0, 2**62], [0.0, 4.5, 8.0], [0, 10**30, 1], ["0", "4", "8"]]
STARTS += map(np.array, list(STARTS))
STARTS += [np.zeros(3, dtype) for dtype in ("M8[s]", "m8[s]", "?", "c16", "u8")]
STARTS += [np.zeros((3, 1), int), np.ma.masked_equal([0, 4, 8], 4), None, "abc"]
DATA = [X.astype(d) for d in ("f2", "f4", ">f8", "i1", "u8", "?", "O", "U9", "M8[s]")]
DATA += [X * np.nan, X * np.inf, X[:2], X[0], X[:, :2], X[:, np.newaxis], X * 1j]
DATA += [X.tolist(), np.ma.masked_less(X, 0.5), None, [], {1}, "abc", [[1], [2, 3], 4]]
NAMED = "record", "groups", "lead"
ODD = {
    "data": DATA,
    "start": [*STARTS, *NUMBERS],
    "fs": [*NUMBERS, *map(np.float32, (250, 0, np.inf)), *NAMES, np.array([250.0])],
    "unit": NAMES,
    "scale": [*NAMES, *NUMBERS, "record"],
}


@st.composite
def odd_bunches(draw):
    """Three windows of one record or several, with one or two columns that are odd."""
    bunch = {"data": X, "start": [0, 4, 8], "fs": 250.0, "unit": "mV"}
    bunch |= {"record": ["r"] * 3, "groups": ["p"] * 3}
    odd = draw(st.lists(st.sampled_from([*ODD, *NAMED]), min_size=1, max_size=2))
    for key in odd:
        if key in ODD:
            bunch[key] = draw(st.sampled_from(ODD[key]))
        else:
            name = st.sampled_from(NAMES)
            names = draw(st.lists(name, min_size=3, max_size=3) | name)
            is_array = isinstance(names, list) and draw(st.booleans())
            bunch[key] = np.array(names, dtype=object) if is_array else names
    return Bunch(**bunch), set(odd)


def text_of(error):
    return "\n".join([str(error), *getattr(error, "__notes__", [])])


@fuzz(0.05, case=odd_bunches())
def test_odd_bunches(case):
    """A Bunch is refused by what is odd in it, or its tokens are read."""
    source, odd = case
    folder = FOLDER / "odd"
    for path in (folder, FOLDER / ".odd.partial"):
        shutil.rmtree(path, ignore_errors=True)
    errors = []

    def write_odd():
        try:
            return write_corpus(folder, source, TOKENIZER, validation=0)
        except (TypeError, ValueError) as error:
            errors.append(text_of(error))
            raise

    corpus = judge("write_corpus: odd", write_odd, TypeError, ValueError)
    if corpus is None:
        assert not folder.exists()
        assert any(name in errors[0].lower() for name in ("record r", *odd)), errors
        return
    windows = np.ma.filled(np.ma.asarray(source.data).astype(float), np.nan)
    windows = windows.reshape(3, 4)
    present = ~np.isnan(windows).any(axis=1)
    tokens = corpus.vocabulary.decode(corpus.train)
    assert (tokens[~present] == -1).all()
    if present.any():
        expected = TOKENIZER.transform(windows[present])
        np.testing.assert_array_equal(tokens[present], expected)


@fuzz(0.06, forgery=st.deferred(lambda: forgeries(files(True))))
def test_read_corpus(forgery):
    content, forged = forgery
    folder = lay_out("read", content)
    allowed = REFUSED if forged else ()
    corpus = judge("read_corpus", lambda: read_corpus(folder), *allowed)
    if corpus is not None:
        check_corpus("read_corpus", corpus)


@fuzz(0.01, forgery=st.deferred(lambda: forgeries(files(False))))
def test_resumed_corpus(forgery):
    """The files of an interrupted call lead to the whole corpus or raise."""
    content, forged = forgery
    lay_out(".forged.partial", content)
    allowed = REFUSED if forged else ()
    corpus = judge("write_corpus: resumed", lambda: write(FOLDER / "forged"), *allowed)
    if corpus is None:
        return
    check_corpus("write_corpus: resumed", corpus)
    if not forged:
        for split in ("train.bin", "val.bin"):
            assert (FOLDER / "forged" / split).read_bytes() == files(True)[split]


LINKED = ["", "train.bin", "records.jsonl", "corpus.json", "other"]


@fuzz(0.001, name=st.sampled_from(LINKED), is_pipe=st.booleans())
def test_links_in_the_way(name, is_pipe):
    """Nothing is written through a link, and no pipe blocks."""
    content = dict(files(False))
    content.pop(name, None)
    folder = lay_out(".forged.partial", content)
    if name and is_pipe:
        os.mkfifo(folder / name)
    elif name:
        (folder / name).symlink_to("/dev/null")
    else:
        shutil.rmtree(folder)
        folder.symlink_to("/tmp")
    judge("write_corpus: links", lambda: write(FOLDER / "forged"), OSError)
    assert not (FOLDER / "forged").exists()


@cache
def vocabulary_file():
    path = FOLDER / "vocabulary.json"
    Vocabulary.from_tokenizer(TOKENIZER).to_json(path)
    return {path.name: path.read_bytes()}


@fuzz(0.07, forgery=st.deferred(lambda: forgeries(vocabulary_file())))
def test_vocabulary(forgery):
    content, forged = forgery
    path = lay_out("vocabulary", content) / "vocabulary.json"
    allowed = REFUSED if forged else ()
    found = judge("Vocabulary.from_json", lambda: Vocabulary.from_json(path), *allowed)
    if found is None:
        return
    ids = [found.missing_id, *([5] * min(found.tokens_per_window, 100))]
    judge("Vocabulary.from_json: decode", lambda: found.decode(ids), ValueError)
    windows = judge(
        "Vocabulary.from_json: decode_signal",
        lambda: found.decode_signal(ids, TOKENIZER),
        *([ValueError] if forged else []),
    )
    assert windows is None or windows.shape == (2, 4)
