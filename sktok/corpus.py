"""Tokens as the corpus of a language model: ids, files, and the way back.

A :class:`Vocabulary` turns the tokens of windows into the ids of a language model.
:func:`write_corpus` turns records into two flat files of ids, one to train on and one
to validate on, which share no patient; :func:`read_corpus` maps them into memory.
:func:`write_dataset` and :func:`write_auto_tokenizer` hand the same ids to the
libraries of Hugging Face.

The ids of a record are those of its windows, one window behind the other, between
``<bos>`` and ``<eos>``. A window with invalid samples is a single ``<missing>``, and
``<sep>`` stands where the windows leave a gap in time. What is written appears under
its name once it is whole.
"""

import hashlib
import importlib
import json
import os
import shutil
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from numbers import Integral, Real
from pathlib import Path

import numpy as np
from joblib import hash as joblib_hash
from sklearn.utils import Bunch, check_array

from sktok._rows import FLOATS, LONGEST_WINDOW, refuse_masks_and_dates
from sktok._steps import vocabulary_size
from sktok.datasets import load_wfdb, record_names

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None

__all__ = [
    "Vocabulary",
    "read_corpus",
    "write_auto_tokenizer",
    "write_corpus",
    "write_dataset",
]

_FORMAT_VERSION = 1
_SPLITS = ("train", "val")
_SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<sep>", "<missing>")
_JOURNAL = "records.jsonl"


def _fingerprint(tokenizer):
    """Hash of what a tokenizer has learned, by which its tokens are known again.

    It is the same after a pickle and in another process, and does not depend on
    parameters such as `n_candidates`, which may be set after `fit`.
    """
    digest = hashlib.sha256()
    _update(digest, tokenizer)
    return digest.hexdigest()


def _update(digest, value):
    """Feed a hash with what an estimator learned, down to arrays and numbers."""
    value = getattr(value, "best_estimator_", value)  # of a search
    if hasattr(value, "get_params"):
        learned = {n: v for n, v in vars(value).items() if n[-1] == "_" != n[0]}
        if not set(learned) - {"n_features_in_", "feature_names_in_"}:
            learned = value.get_params(deep=False)  # it does what its parameters say
        value = [type(value).__name__, learned, getattr(value, "steps", None)]
    elif hasattr(value, "state_dict"):
        value = value.state_dict()
    if isinstance(value, Mapping):
        value = sorted(value.items())
    is_array = hasattr(value, "__array__")
    if is_array and not np.asarray(value).dtype.hasobject:
        value = np.asarray(value)
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(value.tobytes())
    elif is_array or isinstance(value, list | tuple):
        digest.update(f"list of {len(value)}".encode())
        for item in value:
            _update(digest, item)
    elif isinstance(value, str | int | float | range | None):
        digest.update(repr(value).encode())
    else:
        digest.update(joblib_hash(value).encode())


@dataclass(frozen=True)
class Vocabulary:
    """The ids of a language model for the tokens of a tokenizer.

    Special tokens come first: ``<pad>``, ``<bos>``, ``<eos>``, ``<sep>`` and
    ``<missing>``, which stands for a window with invalid samples. The tokens of the
    tokenizer follow, in their order.

    Parameters
    ----------
    n_tokens : int
        Size of the tokenizer's own vocabulary.

    tokens_per_window : int
        Number of tokens that the tokenizer makes of a window.

    window_length : int
        Number of samples in a window.

    fingerprint : str
        Hash of what the tokenizer learned.

    Attributes
    ----------
    pad_id, bos_id, eos_id, sep_id, missing_id : int
        Ids of the special tokens.

    Raises
    ------
    ValueError
        If a size is not an int of at least 1, if there are more tokens than ids of 32
        bits, or more than 2**24 samples or tokens in a window.

    See Also
    --------
    write_corpus : Ids of whole records, in files.
    write_auto_tokenizer : The same as a tokenizer of Hugging Face.

    Examples
    --------
    >>> from sktok import make_tokenizer
    >>> from sktok.corpus import Vocabulary
    >>> from sktok.datasets import load_ecg
    >>> X = load_ecg().data
    >>> tokenizer = make_tokenizer(max_steps=20, random_state=0).fit(X)
    >>> vocabulary = Vocabulary.from_tokenizer(tokenizer)
    >>> len(vocabulary)
    261
    >>> ids = vocabulary.encode(tokenizer.transform(X[:4]))
    >>> ids.shape, ids.dtype
    ((100,), dtype('uint16'))
    >>> vocabulary.decode(ids).shape
    (4, 25)
    >>> vocabulary.restore(ids, tokenizer).shape
    (4, 250)
    """

    n_tokens: int
    tokens_per_window: int
    window_length: int
    fingerprint: str

    pad_id, bos_id, eos_id, sep_id, missing_id = range(len(_SPECIAL_TOKENS))

    def __post_init__(self):
        largest = {
            "n_tokens": 2**32 - len(_SPECIAL_TOKENS),  # so that ids have 32 bits
            "tokens_per_window": LONGEST_WINDOW,
            "window_length": LONGEST_WINDOW,
        }
        for name, most in largest.items():
            value = getattr(self, name)
            is_int = isinstance(value, Integral) and not isinstance(value, bool)
            if not (is_int and 1 <= value <= most):
                raise ValueError(f"{name}={value!r}: expected an int from 1 to {most}.")
        if not isinstance(self.fingerprint, str):
            raise ValueError(f"fingerprint={self.fingerprint!r}: expected a str.")

    @classmethod
    def from_tokenizer(cls, tokenizer):
        """Build the vocabulary of a fitted tokenizer.

        Parameters
        ----------
        tokenizer : transformer or Pipeline
            Fitted, with `inverse_transform`; it, or its last step, has `n_tokens_`.

        Returns
        -------
        Vocabulary
            Of that tokenizer alone.

        Raises
        ------
        ValueError
            If the tokenizer does not make tokens, or has more than 32 bits can count.
        """
        tokenizer = getattr(tokenizer, "best_estimator_", tokenizer)  # of a search
        return cls(
            n_tokens=int(vocabulary_size(tokenizer)),
            tokens_per_window=len(tokenizer.get_feature_names_out()),
            window_length=int(tokenizer.n_features_in_),
            fingerprint=_fingerprint(tokenizer),
        )

    def __len__(self):
        """Return the number of ids, special tokens included."""
        return len(_SPECIAL_TOKENS) + self.n_tokens

    @property
    def dtype(self):
        """The smallest of uint16 and uint32 that holds every id."""
        return np.dtype(np.uint16 if len(self) <= 2**16 else np.uint32)

    @property
    def texts(self):
        """The text of every id, in order, such as ``'<pad>'`` and ``'ecg_17'``."""
        return [*_SPECIAL_TOKENS, *(f"ecg_{token}" for token in range(self.n_tokens))]

    def encode(self, tokens):
        """Turn the tokens of windows into one sequence of ids.

        Parameters
        ----------
        tokens : array-like of int, shape (n_windows, tokens_per_window)
            Tokens in ``range(n_tokens)``; a row of -1 is a missing window.

        Returns
        -------
        ids : ndarray of `dtype`, shape (n_ids,)
            The windows one behind the other; a missing one is ``missing_id``.

        Raises
        ------
        TypeError
            If the tokens are not integers.
        ValueError
            If a token is outside the vocabulary, or rows have another length.
        """
        tokens = np.asarray(refuse_masks_and_dates(tokens))
        if tokens.dtype.kind not in "iu":
            raise TypeError(f"tokens have dtype {tokens.dtype}, expected integers.")
        if tokens.ndim != 2 or tokens.shape[1] != self.tokens_per_window:
            raise ValueError(
                f"tokens have shape {tokens.shape}, expected (n_windows, "
                f"{self.tokens_per_window}), as the tokenizer's transform gives them."
            )
        if tokens.dtype == np.uint64:  # whose largest would be -1, a missing window
            tokens = np.minimum(tokens, np.uint64(np.iinfo(np.int64).max))
        tokens = tokens.astype(np.int64, copy=False)
        missing = (tokens == -1).all(axis=1)
        present = tokens[~missing]
        if present.size and not 0 <= present.min() <= present.max() < self.n_tokens:
            raise ValueError(
                f"tokens run from {present.min()} to {present.max()}, outside the "
                f"vocabulary of {self.n_tokens} tokens (0 to {self.n_tokens - 1}): "
                "were they made by another tokenizer?"
            )
        ids = np.empty(tokens.shape, self.dtype)
        np.add(tokens, len(_SPECIAL_TOKENS), out=ids, casting="unsafe")
        if not missing.any():
            return ids.ravel()
        ids[missing, 0] = self.missing_id
        keep = np.ones(ids.shape, dtype=bool)
        keep[missing, 1:] = False
        return ids[keep]

    def decode(self, ids):
        """Turn a sequence of ids into the tokens of windows: the inverse of `encode`.

        Parameters
        ----------
        ids : array-like of int, shape (n_ids,)
            Ids, such as a language model gives. ``<pad>``, ``<bos>``, ``<eos>`` and
            ``<sep>`` between windows are left out, and so is a last window that is
            not complete.

        Returns
        -------
        tokens : ndarray of int64, shape (n_windows, tokens_per_window)
            Tokens in ``range(n_tokens)``; a missing window is a row of -1.

        Raises
        ------
        TypeError
            If the ids are not integers.
        ValueError
            If an id is outside the vocabulary, or a special token stands within a
            window.
        """
        ids = self._checked(ids)
        starts = self._window_starts(ids)
        tokens = np.full((len(starts), self.tokens_per_window), -1, dtype=np.int64)
        present = ids[starts] != self.missing_id
        is_token = ids >= len(_SPECIAL_TOKENS)
        complete = ids[is_token][: present.sum() * self.tokens_per_window]
        tokens[present] = complete.reshape(-1, self.tokens_per_window)
        tokens[present] -= len(_SPECIAL_TOKENS)
        return tokens

    def _checked(self, ids):
        ids = np.asarray(refuse_masks_and_dates(ids))
        if ids.shape == (0,):
            return np.empty(0, self.dtype)  # a list of none is one of floats
        if ids.ndim != 1:
            raise ValueError(
                f"ids have shape {ids.shape}, expected one sequence: give the rows one "
                "by one."
            )
        ids = check_array(ids, dtype=None, ensure_2d=False, input_name="ids")
        if ids.dtype.kind not in "iu":
            raise TypeError(f"ids have dtype {ids.dtype}, expected integers.")
        if ids.min() < 0 or ids.max() >= len(self):
            raise ValueError(
                f"ids run from {ids.min()} to {ids.max()}, outside the vocabulary of "
                f"{len(self)} ids (0 to {len(self) - 1}): do they come from a model "
                "with another vocabulary?"
            )
        return ids

    def _window_starts(self, ids):
        """Where the complete windows of a sequence begin."""
        is_token = ids >= len(_SPECIAL_TOKENS)
        n_before = np.cumsum(is_token)
        within = ~is_token & (n_before % self.tokens_per_window > 0)
        if within.any():
            at = int(within.argmax())
            raise ValueError(
                f"The special token {_SPECIAL_TOKENS[ids[at]]} at position {at} stands "
                f"within a window of {self.tokens_per_window} tokens: cut ids between "
                "windows, and keep a model from special tokens there."
            )
        n_complete = n_before[-1:].sum() // self.tokens_per_window
        present = np.flatnonzero(is_token)[:: self.tokens_per_window][:n_complete]
        missing = np.flatnonzero(ids == self.missing_id)
        return np.sort(np.concatenate([present, missing]))

    def restore(self, ids, tokenizer):
        """Turn a sequence of ids into windows of signal.

        Parameters
        ----------
        ids : array-like of int, shape (n_ids,)
            As for `decode`.

        tokenizer : transformer or Pipeline
            The fitted tokenizer of this vocabulary.

        Returns
        -------
        windows : ndarray of shape (n_windows, window_length)
            The reconstruction, in the signal's unit; NaN for missing windows.

        Raises
        ------
        ValueError
            If the tokenizer is another one, or as in `decode`.
        """
        self.check(tokenizer)
        tokens = self.decode(ids)
        windows = np.full((len(tokens), self.window_length), np.nan)
        present = (tokens >= 0).all(axis=1)
        if present.any():
            windows[present] = tokenizer.inverse_transform(tokens[present])
        return windows

    def check(self, tokenizer):
        """Raise an error unless this is the vocabulary of a tokenizer.

        Parameters
        ----------
        tokenizer : transformer or Pipeline
            A fitted tokenizer.

        Raises
        ------
        ValueError
            If it has learned something else than the tokenizer of this vocabulary.
        """
        found = _fingerprint(tokenizer)
        if found != self.fingerprint:
            raise ValueError(
                f"The ids are those of a tokenizer with fingerprint "
                f"{self.fingerprint[:12]}…, and this one has {found[:12]}…: its tokens "
                "mean something else. Load the tokenizer that made them."
            )

    def to_json(self, path):
        """Write the vocabulary to a file, the same bytes each time.

        Parameters
        ----------
        path : path-like
            Name of the file, which is replaced if it exists.
        """
        _replace_json(path, self._as_dict())

    def _as_dict(self):
        return {
            "format": "sktok.vocabulary",
            "version": _FORMAT_VERSION,
            "special_tokens": list(_SPECIAL_TOKENS),
            **asdict(self),
        }

    @classmethod
    def from_json(cls, path):
        """Read the vocabulary that `to_json` wrote.

        Parameters
        ----------
        path : path-like
            Name of the file.

        Returns
        -------
        Vocabulary
            Equal to the one that was written.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is no vocabulary, or one of a later version of the format.
        """
        return cls._from_dict(_read_json(path, "sktok.vocabulary"), path)

    @classmethod
    def _from_dict(cls, content, path):
        try:
            if tuple(content["special_tokens"]) != _SPECIAL_TOKENS:
                raise ValueError(f"special tokens {content['special_tokens']}")
            return cls(**{name: content[name] for name in cls.__dataclass_fields__})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} does not hold a vocabulary ({error!r}): write it anew with "
                "Vocabulary.to_json."
            ) from error


def write_corpus(
    folder,
    source,
    tokenizer,
    *,
    validation=0.1,
    groups=None,
    channel=0,
    scale=None,
    verbose=0,
):
    """Write the ids of records to two flat files, split by patient.

    The folder will hold ``train.bin`` and ``val.bin``, ids of the vocabulary's `dtype`
    in the machine's byte order and nothing else; ``corpus.json``, which tells what they
    are; and ``records.jsonl``, which tells what lies where. Records are read and
    written one by one. Until all are done, the files lie in a hidden folder beside; the
    same call after an interruption goes on from there, with the records, known by their
    names, that are not written yet.

    Parameters
    ----------
    folder : path-like
        Where to write; must not exist.

    source : path-like, Bunch, array-like, or iterable of these
        Records. A path-like is a WFDB record, the path of its files without extension,
        named as by :func:`sktok.datasets.load_wfdb`; a Bunch is what a loader of
        :mod:`sktok.datasets` returns, with one record or many; an array (n_windows,
        window_length) is one record, named by its position; and single windows make
        one record together.

    tokenizer : transformer or Pipeline
        Fitted.

    validation : float or collection of str, default=0.1
        The patients whose records go to ``val.bin``: about this share, chosen by a hash
        of their names, so that a patient never changes sides; or their names.

    groups : dict of str to str or None, default=None
        The patient of a record, by the record's name, for patients who have several.
        Other records are taken for patients of their own, or for those that a Bunch
        names.

    channel : int or str, default=0
        The lead of WFDB records, as in :func:`sktok.datasets.load_wfdb`.

    scale : {None, "record"}, default=None
        Whether to scale each WFDB record to [0, 1], as there.

    verbose : int, default=0
        Whether to show a progress bar.

    Returns
    -------
    Bunch
        The corpus as `read_corpus` gives it.

    Raises
    ------
    FileExistsError
        If the folder exists.
    OSError
        If the disk is full, nothing of which is lost: run it again. If another process
        is writing this corpus.
    ValueError
        If the source holds no record, one without windows, one of another window
        length, two of the same name, or two that differ in sampling frequency or unit;
        if `groups` names a record that is not there; or if an interrupted run had other
        settings, or left files that are damaged.
    TypeError
        If windows are not numbers.

    See Also
    --------
    read_corpus : Reads it.
    write_dataset : The same as a dataset of Hugging Face.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sktok import make_tokenizer
    >>> from sktok.corpus import write_corpus
    >>> from sktok.datasets import load_ecg
    >>> ecg = load_ecg()
    >>> tokenizer = make_tokenizer(max_steps=20, random_state=0).fit(ecg.data)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     corpus = write_corpus(Path(folder, "corpus"), ecg, tokenizer, validation=[])
    ...     corpus.train.shape  # 432 windows of 25 tokens, between <bos> and <eos>
    (10802,)
    """
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    validation = _checked_validation(validation)
    settings = {
        "format": "sktok.corpus",
        "version": _FORMAT_VERSION,
        "dtype": vocabulary.dtype.str,
        "validation": validation,
        "channel": channel if isinstance(channel, str) else int(channel),
        "scale": scale,
        "vocabulary": vocabulary._as_dict(),
    }
    groups = {str(record): str(group) for record, group in (groups or {}).items()}
    records = _records(source, channel, scale, vocabulary.window_length)
    with _whole_folder(folder, "corpus") as unfinished, _alone(unfinished):
        entries = _resume(unfinished, settings)
        done, seen = {entry["record"]: entry for entry in entries}, set()
        for record, group, load in _progress(records, source, verbose):
            if record in seen:
                raise ValueError(f"source holds two records of the name {record!r}.")
            seen.add(record)
            group = groups.get(record, group)
            if record in done:
                _check_group(done[record], group)
                continue
            ids, entry = _encode_record(record, load(), tokenizer, vocabulary)
            _check_units(entry, entries)
            entry |= {"group": group, "split": _split_of(group, validation)}
            entries.append(_append(unfinished, entry, ids))
        _check_whole(entries, seen, groups, validation, unfinished)
    return read_corpus(folder)


def read_corpus(folder):
    """Map a corpus into memory.

    Parameters
    ----------
    folder : path-like
        What `write_corpus` wrote.

    Returns
    -------
    Bunch
        ``train`` and ``val``, ids as read-only arrays on the disk; ``vocabulary``, a
        :class:`Vocabulary`; and ``records``, a dict for each record, in the order of
        writing: its name ``record``, its patient ``group``, its ``split``, the index
        ``first`` of its first id there, ``n_ids``, ``runs``, the first sample and the
        number of windows of each stretch without a gap, and its ``fs``, ``unit`` and
        ``lead``, or None.

    Raises
    ------
    FileNotFoundError
        If there is no corpus of that name, or a file of it is missing.
    ValueError
        If `corpus.json`, `records.jsonl` or the size of a file is damaged. Ids are not
        read: what is no id any more is found where it is decoded.

    See Also
    --------
    write_corpus : Writes it.
    write_dataset : Makes a dataset of Hugging Face of it.

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
    settings = _read_json(folder / "corpus.json", "sktok.corpus")
    records, _ = _read_journal(folder)
    vocabulary = Vocabulary._from_dict(
        settings.get("vocabulary"), folder / "corpus.json"
    )
    if settings.get("dtype") != vocabulary.dtype.str:
        raise ValueError(
            f"{folder} was written in the byte order of another machine, "
            f"{settings.get('dtype')}: write it anew here."
        )
    corpus = Bunch(vocabulary=vocabulary, records=records)
    for split, n_ids in _n_ids(records).items():
        path = folder / f"{split}.bin"
        size, expected = path.stat().st_size, n_ids * vocabulary.dtype.itemsize
        if size != expected:
            raise ValueError(
                f"{path} holds {size} bytes, expected {expected}: it is damaged, write "
                "the corpus anew."
            )
        corpus[split] = (
            np.memmap(path, vocabulary.dtype, mode="r")
            if n_ids
            else np.empty(0, vocabulary.dtype)
        )
    return corpus


def _records(source, channel, scale, window_length):
    """Name, patient, and a function that loads a Bunch, of each record."""
    if isinstance(source, str | os.PathLike | Mapping) or hasattr(source, "__array__"):
        source = [source]
    names, single_windows = {}, []
    if isinstance(source, list | tuple):
        paths = [item for item in source if isinstance(item, str | os.PathLike)]
        names = dict(zip(paths, record_names(paths), strict=True))
    for index, item in enumerate(source):
        if isinstance(item, str | os.PathLike):
            name = names.get(item, Path(item).name)
            load = partial(
                load_wfdb,
                item,
                channel=channel,
                window_length=window_length,
                scale=scale,
                missing="keep",
            )
            yield name, name, load
        elif isinstance(item, Mapping):
            yield from _records_of_bunch(item)
        elif np.ndim(item) == 1:
            single_windows.append(item)
        else:
            yield str(index), str(index), partial(Bunch, data=item)
    if single_windows:
        yield "0", "0", partial(Bunch, data=single_windows)


def _records_of_bunch(ecg):
    """The records of a Bunch, in its order."""
    absent = {"data", "record", "groups", "start"} - set(ecg)
    if absent:
        raise ValueError(
            f"source holds a {type(ecg).__name__} without {', '.join(sorted(absent))}: "
            "give what a loader of sktok.datasets returns, or arrays."
        )
    lengths = {key: len(ecg[key]) for key in ("data", "record", "groups", "start")}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"source holds a {type(ecg).__name__} of unequal lengths, {lengths}: "
            "expected one of each for each window."
        )
    names = np.asarray(ecg["record"])
    changes = np.flatnonzero(names[1:] != names[:-1]) + 1
    for rows in np.split(np.arange(len(names)), changes):
        if not len(rows):
            return
        rows = slice(rows[0], rows[-1] + 1)
        patients = [str(patient) for patient in np.unique(ecg["groups"][rows])]
        if len(patients) != 1:
            raise ValueError(
                f"Record {names[rows][0]} has windows of the patients "
                f"{', '.join(patients)}, expected one."
            )
        record = Bunch(
            data=ecg["data"][rows],
            start=ecg["start"][rows],
            fs=ecg.get("fs"),
            unit=ecg.get("unit"),
            lead=ecg["lead"][rows] if "lead" in ecg else None,
        )
        yield str(names[rows][0]), patients[0], lambda record=record: record


def _progress(records, source, verbose):
    from tqdm import tqdm

    total = len(source) if isinstance(source, list | tuple) else None
    return tqdm(records, total=total, unit="record", disable=not verbose)


def _checked_validation(validation):
    """The parameter as JSON has it."""
    if isinstance(validation, str):
        raise ValueError(
            f"validation={validation!r}: expected a share or a collection of patients, "
            f"such as {[validation]}."
        )
    if not isinstance(validation, Real):
        return sorted(map(str, validation))
    if not 0 <= validation <= 1:
        raise ValueError(f"validation={validation}: expected a share from 0 to 1.")
    return float(validation)


def _split_of(group, validation):
    """The side of a patient: always the same for the same name."""
    if isinstance(validation, Real):
        digest = hashlib.sha256(group.encode()).digest()
        is_validation = int.from_bytes(digest[:8]) < validation * 2**64
    else:
        is_validation = group in validation
    return _SPLITS[is_validation]


def _encode_record(record, ecg, tokenizer, vocabulary):
    """Ids of a record, and what the journal says of it."""
    windows, length = ecg["data"], vocabulary.window_length
    shape = np.shape(windows)
    if len(shape) != 2 or shape[1] != length or not shape[0]:
        raise ValueError(
            f"Record {record} has windows of shape {shape}, expected at least "
            f"one of {length} samples: (n_windows, {length}), as the tokenizer was "
            "fitted on."
        )
    dtype = np.asarray(windows).dtype
    if dtype.kind in "cmM":
        raise TypeError(f"Record {record} holds {dtype}, expected real numbers.")
    if np.ma.isMaskedArray(windows):
        windows = windows.astype(np.float64).filled(np.nan)
    windows = check_array(
        windows, dtype=FLOATS, ensure_all_finite="allow-nan", input_name=record
    )
    tokens = np.full((len(windows), vocabulary.tokens_per_window), -1)
    present = ~np.isnan(windows).any(axis=1)
    if present.any():
        try:
            tokens[present] = tokenizer.transform(windows[present])
        except ValueError as error:
            error.add_note(f"This is about record {record}.")
            raise
    start = np.asarray(ecg.get("start", np.arange(len(windows)) * length))
    gaps = np.flatnonzero(np.diff(start) != length) + 1
    ids = [vocabulary.bos_id]
    for run in np.split(tokens, gaps):
        ids += [vocabulary.encode(run), vocabulary.sep_id]
    ids[-1] = vocabulary.eos_id
    runs = np.column_stack([start[np.append(0, gaps)], np.diff([0, *gaps, len(start)])])
    entry = {"record": record, "runs": runs.tolist(), "unit": ecg.get("unit")}
    entry["fs"] = None if ecg.get("fs") is None else float(ecg["fs"])
    entry["lead"] = None if ecg.get("lead") is None else str(ecg["lead"][0])
    return np.hstack(ids).astype(vocabulary.dtype, copy=False), entry


def _check_group(entry, group):
    """Raise if an interrupted run took a record for another patient's."""
    if entry["group"] != group:
        raise ValueError(
            f"An interrupted run took record {entry['record']} for patient "
            f"{entry['group']}, and now it is {group}: call it with the same groups, "
            "or delete its hidden folder to start anew."
        )


def _check_units(entry, entries):
    """Raise if a record differs from the earlier ones in sampling frequency or unit."""
    for key in ("fs", "unit"):
        known = next((e for e in entries if e[key] is not None), entry)
        if entry[key] not in (None, known[key]):
            raise ValueError(
                f"Record {entry['record']} has {key}={entry[key]!r}, and record "
                f"{known['record']} has {key}={known[key]!r}: resample or convert it."
            )


def _n_ids(entries):
    """Number of ids of each split."""
    return {
        split: sum(entry["n_ids"] for entry in entries if entry["split"] == split)
        for split in _SPLITS
    }


def _append(folder, entry, ids):
    """Write ids and then, once they are on the disk, what the journal says of them."""
    path = folder / f"{entry['split']}.bin"
    entry |= {"first": path.stat().st_size // ids.itemsize, "n_ids": len(ids)}
    line = (json.dumps(entry) + "\n").encode()
    for file, content in ((path, ids.tobytes()), (folder / _JOURNAL, line)):
        with open(file, "ab") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
    return entry


def _read_journal(folder):
    """The whole lines of the journal, and their length in bytes."""
    path = folder / _JOURNAL
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}.")
    content = path.read_bytes()
    content = content[: content.rfind(b"\n") + 1]
    entries, firsts = [], dict.fromkeys(_SPLITS, 0)
    for number, line in enumerate(content.splitlines(), 1):
        entry = _parsed(line, path)
        if not _is_entry(entry) or entry["first"] != firsts[entry["split"]]:
            raise ValueError(
                f"Line {number} of {path} does not tell of a record behind the others: "
                "it is damaged, write the corpus anew."
            )
        firsts[entry["split"]] += entry["n_ids"]
        entries.append(entry)
    return entries, len(content)


def _is_entry(entry):
    """Whether what a line of the journal says can be true."""
    try:
        texts = [entry["record"], entry["group"]]
        runs = np.array(entry["runs"], dtype=np.int64, ndmin=2)
        n_windows = runs[:, 1].tolist()
        numbers = [entry["first"], entry["n_ids"], *chain(*entry["runs"])]
        return (
            all(isinstance(text, str) for text in texts)
            and all(type(number) is int for number in numbers)
            and entry["split"] in _SPLITS
            and isinstance(entry["fs"], float | None)
            and isinstance(entry["unit"], str | None)
            and isinstance(entry.get("lead"), str | None)  # not in earlier files
            and runs.shape[1] == 2
            and min(n_windows) > 0
            and entry["first"] >= 0
            # <bos>, <eos>, <sep> between runs, and an id for each window at least
            and entry["n_ids"] > sum(n_windows) + len(runs)
        )
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError):
        return False


def _resume(unfinished, settings):
    """What an interrupted run has done; what it left half-written is cut off."""
    entries, length = [], 0
    if (unfinished / _JOURNAL).exists():
        entries, length = _read_journal(unfinished)
    if not entries:
        for name in (_JOURNAL, *(f"{split}.bin" for split in _SPLITS)):
            (unfinished / name).write_bytes(b"")
        _replace_json(unfinished / "corpus.json", settings)
        return []
    found = _read_json(unfinished / "corpus.json", "sktok.corpus")
    other = [key for key in settings if found.get(key) != settings[key]]
    if other:
        raise ValueError(
            f"{unfinished} holds an interrupted corpus with another "
            f"{', '.join(other)}: call it with the same, or delete that folder to "
            "start anew."
        )
    os.truncate(unfinished / _JOURNAL, length)
    itemsize = np.dtype(settings["dtype"]).itemsize
    for split, n_ids in _n_ids(entries).items():
        path, size = unfinished / f"{split}.bin", n_ids * itemsize
        if path.stat().st_size < size:
            raise ValueError(f"{path} has lost ids: delete {unfinished} to start anew.")
        os.truncate(path, size)
    return entries


def _check_whole(entries, seen, groups, validation, unfinished):
    """Raise if the source holds too little, and warn of a split that is not meant."""
    if not entries:
        raise ValueError("source holds no record: give at least one.")
    lost = sorted({entry["record"] for entry in entries} - seen)
    if lost:
        raise ValueError(
            f"An interrupted run wrote the records {', '.join(lost)}, which source "
            f"does not hold: call it with all records, or delete {unfinished} to start "
            "anew."
        )
    unknown = sorted(set(groups) - seen)
    if unknown:
        raise ValueError(
            f"groups names the records {', '.join(unknown)}, which source does not "
            "hold: a WFDB record is named by the last part of its path, and an array "
            "by its position."
        )
    patients = {entry["group"] for entry in entries}
    if not isinstance(validation, Real):
        unknown = sorted(set(validation) - patients)
        if unknown:
            warnings.warn(
                f"validation names {', '.join(unknown)}, but the patients are "
                f"{', '.join(sorted(patients))}.",
                stacklevel=3,
            )
    elif 0 < validation < 1 and 0 in _n_ids(entries).values():
        warnings.warn(
            f"validation={validation} puts all {len(patients)} patients on one side: "
            "name those to validate on, or give [] for none.",
            stacklevel=3,
        )


def write_dataset(folder, corpus, *, windows_per_row=20, verbose=0):
    """Write a corpus as a dataset of Hugging Face, a folder for `load_from_disk`.

    Parameters
    ----------
    folder : path-like
        Where to write; must not exist.

    corpus : path-like or Bunch
        What `write_corpus` wrote, or what `read_corpus` gives.

    windows_per_row : int, default=20
        Largest number of windows in a row. Rows do not cross records or gaps.

    verbose : int, default=0
        Whether to show progress bars.

    Raises
    ------
    FileExistsError
        If the folder exists.
    ImportError
        If the package `datasets` is not installed.
    ValueError
        If `windows_per_row` is below 1.

    See Also
    --------
    write_corpus : Makes the corpus.
    write_auto_tokenizer : Names of its ids.

    Notes
    -----
    The rows of the splits ``train`` and ``val`` have the columns ``input_ids``,
    ``record``, ``start`` (the first sample) and ``group`` (the patient). Joined, the
    ``input_ids`` of a record's rows are its ids in the flat files.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from datasets import load_from_disk
    >>> from sktok import BlockSegmenter, VectorQuantizer
    >>> from sktok.corpus import write_corpus, write_dataset
    >>> from sktok.datasets import load_ecg
    >>> from sklearn.pipeline import make_pipeline
    >>> ecg = load_ecg()
    >>> tokenizer = make_pipeline(BlockSegmenter(25), VectorQuantizer(16)).fit(ecg.data)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     corpus = write_corpus(Path(folder, "corpus"), ecg, tokenizer, validation=[])
    ...     write_dataset(Path(folder, "dataset"), corpus)
    ...     rows = load_from_disk(Path(folder, "dataset"))["train"]
    ...     [len(row["input_ids"]) for row in rows][:3]  # <bos> leads the first
    [201, 200, 200]
    """
    datasets = _import("datasets")
    if windows_per_row < 1:
        raise ValueError(f"windows_per_row={windows_per_row}: expected at least 1.")
    corpus = corpus if isinstance(corpus, Mapping) else read_corpus(corpus)
    features = datasets.Features(
        {
            "input_ids": datasets.List(datasets.Value("uint32")),
            "record": datasets.Value("string"),
            "start": datasets.Value("int64"),
            "group": datasets.Value("string"),
        }
    )
    with (
        _whole_folder(folder, "dataset") as unfinished,
        _progress_bars(datasets, verbose),
    ):
        splits = {}
        for split in _SPLITS:
            if len(corpus[split]):
                path = str(unfinished / f"{split}.arrow")
                with datasets.arrow_writer.ArrowWriter(
                    path=path, features=features
                ) as writer:
                    for batch in _rows(corpus, split, windows_per_row):
                        writer.write_batch(batch)
                    writer.finalize()
                splits[split] = datasets.Dataset.from_file(path)
        datasets.DatasetDict(splits).save_to_disk(unfinished)
        for split in splits:
            (unfinished / f"{split}.arrow").unlink()


@contextmanager
def _progress_bars(datasets, verbose):
    """The bars of `datasets` as asked for, and afterwards as they were."""
    disabled = datasets.are_progress_bars_disabled()
    if not verbose:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not disabled:
            datasets.enable_progress_bars()


def _rows(corpus, split, windows_per_row):
    """The rows of each record: ids, record, first sample, patient."""
    vocabulary = corpus.vocabulary
    for entry in corpus.records:
        if entry["split"] != split:
            continue
        ids = np.asarray(corpus[split][entry["first"] :][: entry["n_ids"]])
        window_starts = vocabulary._window_starts(vocabulary._checked(ids))
        if len(window_starts) != sum(n_windows for _, n_windows in entry["runs"]):
            raise ValueError(
                f"The ids of record {entry['record']} are not those of its windows: "
                "they are damaged, write the corpus anew."
            )
        cuts, starts, n_before = [], [], 0
        for start, n_windows in entry["runs"]:
            offsets = np.arange(0, n_windows, windows_per_row)
            cuts.append(window_starts[n_before + offsets])
            cuts[-1][0] -= 1  # <bos> or <sep> in front
            starts += (start + offsets * vocabulary.window_length).tolist()
            n_before += n_windows
        rows = np.split(ids, np.concatenate(cuts)[1:])
        yield {
            "input_ids": rows,
            "record": [entry["record"]] * len(rows),
            "start": starts,
            "group": [entry["group"]] * len(rows),
        }


def write_auto_tokenizer(folder, vocabulary):
    """Write a vocabulary as a tokenizer of Hugging Face, for `AutoTokenizer`.

    Its text is the tokens' names between spaces, such as ``"<bos> ecg_17 ecg_3"``.

    Parameters
    ----------
    folder : path-like
        Where to write; must not exist.

    vocabulary : Vocabulary
        The vocabulary, which is kept in the folder too, as ``vocabulary.json``.

    Raises
    ------
    FileExistsError
        If the folder exists.
    ImportError
        If the package `transformers` is not installed.

    See Also
    --------
    write_dataset : Ids for it to decode.
    Vocabulary : What it is made of.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from transformers import AutoTokenizer
    >>> from sktok.corpus import Vocabulary, write_auto_tokenizer
    >>> vocabulary = Vocabulary(256, 25, 250, fingerprint="of a tokenizer")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_auto_tokenizer(Path(folder, "ecg"), vocabulary)
    ...     AutoTokenizer.from_pretrained(Path(folder, "ecg"))("<bos> ecg_17").input_ids
    [1, 22]
    """
    transformers, tokenizers = _import("transformers"), _import("tokenizers")
    ids = {text: index for index, text in enumerate(vocabulary.texts)}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    pad, bos, eos, sep, missing = _SPECIAL_TOKENS
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        sep_token=sep,
        additional_special_tokens=[missing],
        clean_up_tokenization_spaces=False,
    )
    with _whole_folder(folder, "tokenizer") as unfinished:
        try:
            tokenizer.save_pretrained(unfinished)
        except Exception as error:  # tokenizers, in Rust, knows no OSError
            raise OSError(*error.args) from error
        vocabulary.to_json(unfinished / "vocabulary.json")


def _import(package):
    """A package of the extra `lm`, or the word how to get it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"This needs the package {package}: pip install 'sktok[lm]'"
        ) from error


@contextmanager
def _whole_folder(folder, kind):
    """A hidden folder to write to, which takes its name once all is written."""
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(
            f"{folder} exists: choose another name, or delete it first."
        )
    unfinished = folder.with_name(f".{folder.name}.partial-{kind}")
    if kind != "corpus":  # which goes on where it was interrupted
        shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True, exist_ok=True)
    for path in (unfinished, *unfinished.iterdir()):
        if path.is_symlink() or not (path == unfinished or path.is_file()):
            raise FileExistsError(
                f"{path} is a link, or no file, which sktok does not make: delete it."
            )
    try:
        yield unfinished
    except OSError as error:
        error.add_note(
            f"{folder} is not whole: when that is mended, run the same again."
        )
        raise
    os.rename(unfinished, folder)


@contextmanager
def _alone(folder):
    """Keep a second process from writing to the same folder; a kill frees it."""
    if fcntl is None:
        yield
        return
    path = folder / ".lock"
    with open(path, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock.fileno()).st_ino != path.stat().st_ino:
                raise BlockingIOError("the lock was handed on")
        except (BlockingIOError, FileNotFoundError) as error:
            raise OSError(f"Another process is writing to {folder}.") from error
        yield
        path.unlink()


def _replace_json(path, content):
    """Write a file of JSON that is whole or not there."""
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.partial")
    unfinished.unlink(missing_ok=True)
    with open(unfinished, "x") as file:  # so that nothing is written through a link
        file.write(json.dumps(content, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def _parsed(content, path):
    """What JSON says."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from error


def _read_json(path, expected):
    """The content of a file of JSON of that format."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no {expected} {path}.")
    content = _parsed(path.read_bytes(), path)
    if not isinstance(content, dict) or content.get("format") != expected:
        raise ValueError(
            f"{path} is no {expected}, which it should name as its format."
        )
    if content.get("version") != _FORMAT_VERSION:
        raise ValueError(
            f"{path} has version {content.get('version')!r} of the format, and this "
            f"release of sktok reads version {_FORMAT_VERSION}: use the release that "
            "wrote it."
        )
    return content
