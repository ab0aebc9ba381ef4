"""Read a corpus: its settings, its journal of records, and its ids."""

import math
from itertools import chain
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from sktok._files import parse_json, read_json
from sktok.corpus._vocabulary import READABLE_VERSIONS, Vocabulary

JOURNAL = "records.jsonl"
SPLITS = ("train", "val")
LAST_SAMPLE = 2**62  # exclusive; the distance of two samples fits into 64 bits
_TYPES = {"record": str, "group": str, "fs": float | None, "unit": str | None}


def read_corpus(folder):
    """Map a corpus into memory.

    Parameters
    ----------
    folder : path-like
        Folder that `write_corpus` wrote.

    Returns
    -------
    Bunch
        ``train`` and ``val``, ids as read-only arrays on the disk; ``vocabulary``, a
        :class:`Vocabulary`; and ``records``, a dict for each lead of each record in the
        order of writing: the name ``record`` of the record, its patient ``group``, its
        ``split``, the index ``first`` of its first id in the split, its number of ids
        ``n_ids``, its ``runs``, the first sample and the number of windows of each
        stretch without a gap, and its ``fs``, ``unit`` and ``lead``, or None. If the
        tokenizer takes windows of several leads, there is one dict for each record, and
        ``lead`` is the list of their names.

    Raises
    ------
    FileNotFoundError
        If there is no corpus of that name, or one of its files is missing.
    ValueError
        If `corpus.json`, `records.jsonl` or the size of a file is damaged. Ids are not
        read: corrupt ids raise an error when they are decoded.

    See Also
    --------
    write_corpus : Write a corpus.
    write_dataset : Convert a corpus to a dataset of Hugging Face.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sktok import BinQuantizer
    >>> from sktok.corpus import read_corpus, write_corpus
    >>> from sktok.datasets import load_ecg
    >>> ecg = load_ecg()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "corpus")
    ...     _ = write_corpus(path, ecg, BinQuantizer(16).fit(ecg.data), validation=[])
    ...     corpus = read_corpus(path)
    ...     corpus.train.shape, corpus.records[0]["record"], len(corpus.vocabulary)
    ((108002,), '208', 21)
    """
    folder = Path(folder)
    path = folder / "corpus.json"
    settings = read_json(path, expected="sktok.corpus", version=READABLE_VERSIONS)
    vocabulary = Vocabulary._from_dict(settings.get("vocabulary"), path)
    records, n_ids, _ = read_journal(folder, vocabulary.n_leads)
    dtype = vocabulary.dtype
    if settings.get("dtype") != dtype.str:
        raise ValueError(
            f"{folder} has ids of dtype {settings.get('dtype')}, expected {dtype.str} "
            "in the byte order of this machine: write the corpus again."
        )
    corpus = Bunch(vocabulary=vocabulary, records=records)
    for split in SPLITS:
        path = folder / f"{split}.bin"
        size, expected = path.stat().st_size, n_ids[split] * dtype.itemsize
        require_whole(size == expected, f"{path} has {size} bytes, expected {expected}")
        corpus[split] = np.memmap(path, dtype, mode="r") if size else np.empty(0, dtype)
    return corpus


def read_journal(folder, n_leads):
    """The entries of the complete lines of the journal, and what they count.

    Parameters
    ----------
    folder : Path
        Folder of the corpus.

    n_leads : int
        Number of leads of each entry.

    Returns
    -------
    entries : list of dict

    n_ids : dict of str to int
        The number of ids in each split.

    n_bytes : int
        The size of the complete lines.
    """
    path = folder / JOURNAL
    content = path.read_bytes()
    content = content[: content.rfind(b"\n") + 1]
    entries, n_ids = [], dict.fromkeys(SPLITS, 0)
    for number, line in enumerate(content.splitlines(), 1):
        entry = parse_json(line, path)
        is_next = is_entry(entry, n_leads) and entry["first"] == n_ids[entry["split"]]
        require_whole(is_next, f"Line {number} of {path} does not describe a record")
        n_ids[entry["split"]] += entry["n_ids"]
        entries.append(entry)
    return entries, n_ids, len(content)


def read_record(corpus, entry):
    """Read the ids of an entry.

    Returns
    -------
    ids : ndarray of int
        The ids of the entry.

    places, samples : ndarray of int
        For each window, the index of its first id, and of its first sample.
    """
    vocabulary = corpus.vocabulary
    ids = np.asarray(corpus[entry["split"]][entry["first"] :][: entry["n_ids"]])
    _, places = vocabulary._find_windows(ids)
    length = vocabulary.window_length
    samples = np.concatenate([s + length * np.arange(n) for s, n in entry["runs"]])
    fault = f"The ids of record {entry['record']} do not match its windows"
    require_whole(len(samples) == len(places), fault)
    return ids, places, samples


def require_whole(is_whole, fault):
    """Raise an error with the fault unless a file is whole."""
    if not is_whole:
        raise ValueError(f"{fault}: the corpus is damaged. Write it again.")


def is_entry(entry, n_leads):
    """Whether a line of the journal has the right types and possible numbers."""
    try:
        runs = entry["runs"]
        numbers = [entry["first"], entry["n_ids"], *chain(*runs)]
        return (
            all(isinstance(entry[key], kind) for key, kind in _TYPES.items())
            and (entry["fs"] is None or 0 < entry["fs"] < math.inf)
            and is_lead(entry["lead"], n_leads)
            and entry["split"] in SPLITS
            and all(type(n) is int and abs(n) < LAST_SAMPLE for n in numbers)
            and all(n_windows > 0 for _, n_windows in runs)
            # <bos>, <eos>, <sep> between runs, and at least one id for each window
            and entry["n_ids"] > sum(n for _, n in runs) + len(runs) > 0
        )
    except (KeyError, TypeError, ValueError):
        return False


def is_lead(lead, n_leads):
    """Whether this is the name of a lead, a list of the names of several, or None."""
    if lead is None or n_leads == 1:
        return isinstance(lead, str | None)
    names = lead if isinstance(lead, list) else []
    return len(names) == n_leads and all(isinstance(name, str) for name in names)
