"""Write a corpus, record by record, so that an interrupted call can be continued."""

import hashlib
import json
import warnings
from collections.abc import Iterable

import numpy as np
from sklearn.utils import check_array
from tqdm import tqdm

from sktok._files import read_json, sync, whole_folder, write_json
from sktok._rows import FLOATS, is_number, require_fs, require_int
from sktok.corpus._reader import JOURNAL, SPLITS, read_corpus, read_journal
from sktok.corpus._sources import iterate_records
from sktok.corpus._vocabulary import FORMAT_VERSION, Vocabulary


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

    The folder contains ``train.bin`` and ``val.bin``, which hold only ids, of the
    vocabulary's `dtype` in the byte order of the machine; ``corpus.json``, the
    settings; and ``records.jsonl``, the position of each record. Records are read and
    written one by one. Files are staged in a hidden sibling folder until all records
    are written. After an interruption, the same call continues with the records whose
    names are not written yet.

    Parameters
    ----------
    folder : path-like
        Name of the folder, which must not exist.

    source : path-like, Bunch, array-like, or iterable of these
        Records. A path-like is a WFDB record: the path of its files without extension,
        named as by :func:`sktok.datasets.load_wfdb`. A Bunch is the result of a loader
        of :mod:`sktok.datasets`, with one or more records. An array (n_windows,
        window_length) is one record, named by its position. All single windows are one
        record, named by the position of the first of them.

    tokenizer : transformer or Pipeline
        A fitted tokenizer.

    validation : float or collection of str, default=0.1
        The patients whose records are written to ``val.bin``: an approximate share,
        chosen by a hash of their names, so the split of a patient never changes; or
        the names of the patients.

    groups : dict of str to str or None, default=None
        The patient of each record, by the name of the record, for patients with several
        records. Other records have the patient that a Bunch names, or are patients of
        their own.

    channel : int or str, default=0
        The lead of WFDB records, as in :func:`sktok.datasets.load_wfdb`.

    scale : {None, "record"}, default=None
        Whether to scale each WFDB record to [0, 1], as in
        :func:`sktok.datasets.load_wfdb`.

    verbose : int, default=0
        Whether to show a progress bar.

    Returns
    -------
    Bunch
        The corpus, as `read_corpus` returns it.

    Raises
    ------
    FileExistsError
        If the folder exists.
    OSError
        If the disk is full: written records are kept; run the command again to
        continue. If another process is writing this corpus.
    ValueError
        If the source holds no record; if a record has no windows or another window
        length; if two records have the same name, or differ in sampling frequency or
        unit; if `groups` names an unknown record; or if an interrupted call had other
        settings, or its files are damaged.
    TypeError
        If windows are not numbers.

    See Also
    --------
    read_corpus : Read a corpus.
    write_dataset : Convert a corpus to a dataset of Hugging Face.

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
    validation = _validate_share(validation)
    if not isinstance(channel, str):
        channel = require_int("channel", channel, 0)
    settings = {
        "format": "sktok.corpus",
        "version": FORMAT_VERSION,
        "dtype": vocabulary.dtype.str,
        "validation": validation,
        "channel": channel,
        "scale": scale,
        "vocabulary": vocabulary._as_dict(),
    }
    groups = {str(record): str(group) for record, group in (groups or {}).items()}
    records = iterate_records(source, channel, scale, vocabulary.window_length)
    total = len(source) if isinstance(source, list | tuple) else None
    records = tqdm(records, total=total, unit="record", disable=not verbose)
    with whole_folder(folder, resume=True) as staged:
        written, seen = _resume(staged, settings), set()
        for record, group, load in records:
            if record in seen:
                raise ValueError(f"source holds two records of the name {record!r}.")
            seen.add(record)
            group = groups.get(record, group)
            if record not in written:
                facts, ids = _encode_record(record, load(), tokenizer, vocabulary)
                _require_same_units(record, facts, written.values())
                split = _split_of(group, validation)
                entry = {"record": record, "group": group, "split": split, **facts}
                written[record] = _append(staged, entry, ids)
            elif written[record]["group"] != group:
                raise ValueError(
                    f"An interrupted call assigned record {record} to patient "
                    f"{written[record]['group']}, this call to patient {group}: use "
                    f"the same groups, or delete {staged}."
                )
        _require_all_records(seen, written, groups, staged)
    corpus = read_corpus(folder)
    _warn_of_unintended_split(corpus.records, validation)
    return corpus


def _validate_share(validation):
    """`validation` as JSON stores it: a float, or a sorted list of names."""
    if is_number(validation) and 0 <= validation <= 1:
        return float(validation)
    if not isinstance(validation, str) and isinstance(validation, Iterable):
        return sorted(map(str, validation))
    raise ValueError(
        f"validation={validation!r}: expected a share from 0 to 1, or a collection of "
        "patients such as ['100', '103']."
    )


def _split_of(group, validation):
    """The split of a patient: always the same for the same name."""
    if isinstance(validation, float):
        digest = hashlib.sha256(group.encode()).digest()
        return SPLITS[int.from_bytes(digest[:8]) < validation * 2**64]
    return SPLITS[group in validation]


def _encode_record(record, ecg, tokenizer, vocabulary):
    """The facts of a record for the journal, and its ids."""
    try:
        windows = _validate_windows(ecg["data"], vocabulary.window_length)
        tokens = np.full((len(windows), vocabulary.tokens_per_window), -1)
        present = ~np.isnan(windows).any(axis=1)
        if present.any():
            tokens[present] = tokenizer.transform(windows[present])
        start = np.arange(len(windows)) * vocabulary.window_length
        start = np.asarray(ecg.get("start", start))
        start = start.astype(np.int64, casting="same_kind")
        require_fs(ecg.get("fs"))
    except (TypeError, ValueError) as error:
        error.add_note(f"The error is in record {record}.")
        raise
    is_gap = np.diff(start) != vocabulary.window_length
    first = np.append(0, np.flatnonzero(is_gap) + 1)  # window of each run
    ids = [[vocabulary.bos_id]]
    for run in np.split(tokens, first[1:]):
        ids += [vocabulary.encode(run), [vocabulary.sep_id]]
    ids[-1] = [vocabulary.eos_id]
    n_windows = np.diff(first, append=len(start))
    fs, unit, lead = (ecg.get(key) for key in ("fs", "unit", "lead"))
    facts = {
        "runs": np.column_stack([start[first], n_windows]).tolist(),
        "unit": None if unit is None else str(unit),
        "fs": None if fs is None else float(fs),
        "lead": None if lead is None else str(lead[0]),
    }
    return facts, np.concatenate(ids).astype(vocabulary.dtype, copy=False)


def _validate_windows(windows, length):
    """Windows as floats, NaN where samples are masked."""
    dtype = np.asarray(windows).dtype
    if dtype.kind in "cmM":
        raise TypeError(f"The windows have dtype {dtype}, expected real numbers.")
    if np.ma.isMaskedArray(windows):
        windows = windows.astype(np.float64).filled(np.nan)
    windows = check_array(windows, dtype=FLOATS, ensure_all_finite="allow-nan")
    if windows.shape[1] != length:
        raise ValueError(f"Windows have {windows.shape[1]} samples, expected {length}.")
    return windows


def _require_same_units(record, facts, entries):
    """Raise if a record differs from the earlier ones in sampling frequency or unit."""
    for key in ("fs", "unit"):
        known = next((e for e in entries if e[key] is not None), facts)
        if facts[key] not in (None, known[key]):
            raise ValueError(
                f"Record {record} has {key}={facts[key]!r}, and record "
                f"{known['record']} has {key}={known[key]!r}: resample or convert it."
            )


def _append(staged, entry, ids):
    """Write ids to the disk, and then the complete entry to the journal."""
    path = staged / f"{entry['split']}.bin"
    entry |= {"first": path.stat().st_size // ids.itemsize, "n_ids": len(ids)}
    line = (json.dumps(entry) + "\n").encode()
    for file, content in ((path, ids.tobytes()), (staged / JOURNAL, line)):
        with open(file, "ab") as opened:
            opened.write(content)
            sync(opened)
    return entry


def _resume(staged, settings):
    """The entries that an interrupted call wrote; an incomplete record is cut off."""
    (staged / JOURNAL).touch()
    entries, n_ids, n_bytes = read_journal(staged)
    path = staged / "corpus.json"
    if not entries:
        for file in staged.iterdir():
            file.unlink()
        write_json(path, settings)
    found = read_json(path, expected="sktok.corpus", version=FORMAT_VERSION)
    other = [key for key in settings if found.get(key) != settings[key]]
    if other:
        raise ValueError(
            f"{staged} holds an interrupted corpus with another {', '.join(other)}: "
            "use the same settings, or delete this folder to start again."
        )
    itemsize = np.dtype(settings["dtype"]).itemsize
    sizes = {f"{split}.bin": itemsize * n for split, n in n_ids.items()}
    for name, size in (sizes | {JOURNAL: n_bytes}).items():
        with open(staged / name, "ab") as file:
            if file.tell() < size:
                raise ValueError(f"{file.name} is too short: delete {staged}.")
            file.truncate(size)
    return {entry["record"]: entry for entry in entries}


def _require_all_records(seen, written, groups, staged):
    """Raise if the source has no record, or lacks one that is written or named."""
    if not seen:
        raise ValueError("source holds no record: give at least one.")
    for who, names, advice in (
        ("An interrupted call wrote", written, f"give all, or delete {staged}"),
        ("groups names", groups, "use the names that `source` describes"),
    ):
        unknown = ", ".join(sorted(set(names) - seen))
        if unknown:
            message = f"{who} the records {unknown}, which source does not hold"
            raise ValueError(f"{message}: {advice}.")


def _warn_of_unintended_split(entries, validation):
    """Warn of unknown patients, and of a share that leaves a split empty."""
    patients = {entry["group"] for entry in entries}
    if not isinstance(validation, float):
        unknown = ", ".join(sorted(set(validation) - patients))
        if unknown:
            message = f"validation names patients without records: {unknown}."
            warnings.warn(message, stacklevel=3)
    elif 0 < validation < 1 and len({entry["split"] for entry in entries}) == 1:
        warnings.warn(
            f"validation={validation} puts all {len(patients)} patients into one "
            "split: name the patients for validation, or give [] for none.",
            stacklevel=3,
        )
