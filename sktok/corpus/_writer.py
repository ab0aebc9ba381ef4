"""Write a corpus, record by record, so that an interrupted call can be continued."""

import hashlib
import json
import os
import warnings
from collections.abc import Iterable
from numbers import Real

import numpy as np
from sklearn.utils import check_array

from sktok._files import read_json, sync, whole_folder, write_json
from sktok._rows import FLOATS, require_fs
from sktok.corpus._reader import JOURNAL, SPLITS, read_corpus, read_journal, sizes
from sktok.corpus._sources import iterate_records
from sktok.corpus._vocabulary import FORMAT_VERSION, Vocabulary, require_int


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
    from tqdm import tqdm

    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    validation = _validate_share(validation)
    if not isinstance(channel, str):
        channel = require_int("channel", channel, 0, 2**31)
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
    records = tqdm(
        iterate_records(source, channel, scale, vocabulary.window_length),
        total=len(source) if isinstance(source, list | tuple) else None,
        unit="record",
        disable=not verbose,
    )
    with whole_folder(folder, resume=True) as staged:
        entries = _resume(staged, settings)
        written, seen = {entry["record"]: entry for entry in entries}, set()
        for record, group, load in records:
            if record in seen:
                raise ValueError(f"source holds two records of the name {record!r}.")
            seen.add(record)
            group = groups.get(record, group)
            if record in written:
                _require_same_group(written[record], group)
                continue
            entry, ids = _encode_record(record, load(), tokenizer, vocabulary)
            _require_same_units(entry, entries)
            entry |= {"group": group, "split": _split_of(group, validation)}
            entries.append(_append(staged, entry, ids))
        _require_all_records(entries, seen, groups, staged)
    _warn_of_unintended_split(entries, validation)
    return read_corpus(folder)


def _validate_share(validation):
    """`validation` as JSON stores it: a float, or a sorted list of names."""
    is_number = isinstance(validation, Real) and not isinstance(validation, bool)
    if is_number and 0 <= validation <= 1:
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
        is_validation = int.from_bytes(digest[:8]) < validation * 2**64
    else:
        is_validation = group in validation
    return SPLITS[is_validation]


def _encode_record(record, ecg, tokenizer, vocabulary):
    """The entry of a record in the journal, without its place, and its ids."""
    length = vocabulary.window_length
    windows = _validate_windows(record, ecg["data"], length)
    tokens = np.full((len(windows), vocabulary.tokens_per_window), -1)
    present = ~np.isnan(windows).any(axis=1)
    if present.any():
        try:
            tokens[present] = tokenizer.transform(windows[present])
        except ValueError as error:
            error.add_note(f"The error is in record {record}.")
            raise
    start = np.asarray(ecg.get("start", np.arange(len(windows)) * length))
    start = start.astype(np.int64, casting="same_kind")
    first = np.append(0, np.flatnonzero(np.diff(start) != length) + 1)  # of each run
    ids = [[vocabulary.bos_id]]
    for run in np.split(tokens, first[1:]):
        ids += [vocabulary.encode(run), [vocabulary.sep_id]]
    ids[-1] = [vocabulary.eos_id]
    n_windows = np.diff(first, append=len(start))
    fs, unit, lead = (ecg.get(key) for key in ("fs", "unit", "lead"))
    require_fs(fs)
    entry = {
        "record": record,
        "runs": np.column_stack([start[first], n_windows]).tolist(),
        "unit": None if unit is None else str(unit),
        "fs": None if fs is None else float(fs),
        "lead": None if lead is None else str(lead[0]),
    }
    return entry, np.concatenate(ids).astype(vocabulary.dtype, copy=False)


def _validate_windows(record, windows, length):
    """Windows as floats, NaN where samples are masked."""
    shape = np.shape(windows)
    if len(shape) != 2 or shape[1] != length or not shape[0]:
        raise ValueError(
            f"Record {record} has windows of shape {shape}, expected at least one "
            f"window of {length} samples, (n_windows, {length}), as seen in fit."
        )
    dtype = np.asarray(windows).dtype
    if dtype.kind in "cmM":
        raise TypeError(f"Record {record} has dtype {dtype}, expected real numbers.")
    if np.ma.isMaskedArray(windows):
        windows = windows.astype(np.float64).filled(np.nan)
    return check_array(
        windows, dtype=FLOATS, ensure_all_finite="allow-nan", input_name=record
    )


def _require_same_group(entry, group):
    """Raise if an interrupted call assigned a record to another patient."""
    if entry["group"] != group:
        raise ValueError(
            f"An interrupted call assigned record {entry['record']} to patient "
            f"{entry['group']}, this call to patient {group}: use the same groups, or "
            "delete the hidden folder to start again."
        )


def _require_same_units(entry, entries):
    """Raise if a record differs from the earlier ones in sampling frequency or unit."""
    for key in ("fs", "unit"):
        known = next((e for e in entries if e[key] is not None), entry)
        if entry[key] not in (None, known[key]):
            raise ValueError(
                f"Record {entry['record']} has {key}={entry[key]!r}, and record "
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
    """Entries that an interrupted call wrote; an incomplete record is cut off."""
    entries, n_bytes = [], 0
    if (staged / JOURNAL).exists():
        entries, n_bytes = read_journal(staged)
    if not entries:
        for path in staged.iterdir():
            path.unlink()
        write_json(staged / "corpus.json", settings)
        for name in (*sizes([], np.dtype(settings["dtype"])), JOURNAL):
            (staged / name).touch()
        return []
    found = read_json(
        staged / "corpus.json", expected="sktok.corpus", version=FORMAT_VERSION
    )
    other = [key for key in settings if found.get(key) != settings[key]]
    if other:
        raise ValueError(
            f"{staged} holds an interrupted corpus with another {', '.join(other)}: "
            "use the same settings, or delete this folder to start again."
        )
    files = sizes(entries, np.dtype(settings["dtype"])) | {JOURNAL: n_bytes}
    for name, size in files.items():
        if (staged / name).stat().st_size < size:
            raise ValueError(
                f"{staged / name} is too short: delete {staged} to start again."
            )
        os.truncate(staged / name, size)
    return entries


def _require_all_records(entries, seen, groups, staged):
    """Raise if the source has no record, or lacks one that is written or named."""
    if not entries:
        raise ValueError("source holds no record: give at least one.")
    lost = sorted({entry["record"] for entry in entries} - seen)
    if lost:
        raise ValueError(
            f"An interrupted call wrote the records {', '.join(lost)}, which source "
            f"does not hold: give all records, or delete {staged} to start again."
        )
    unknown = sorted(set(groups) - seen)
    if unknown:
        raise ValueError(
            f"groups names the records {', '.join(unknown)}, which source does not "
            "hold: the name of a WFDB record is the last part of its path, that of an "
            "array its position."
        )


def _warn_of_unintended_split(entries, validation):
    """Warn of unknown patients, and of a share that leaves a split empty."""
    patients = sorted({entry["group"] for entry in entries})
    is_share = isinstance(validation, float)
    unknown = [] if is_share else sorted(set(validation) - set(patients))
    if unknown:
        warnings.warn(
            f"validation names {', '.join(unknown)}, but the patients are "
            f"{', '.join(patients)}.",
            stacklevel=3,
        )
    if is_share and 0 < validation < 1 and len({e["split"] for e in entries}) == 1:
        warnings.warn(
            f"validation={validation} puts all {len(patients)} patients into one "
            "split: name the patients for validation, or give [] for none.",
            stacklevel=3,
        )
