"""Write a corpus in batches of records, so that an interrupted call can continue."""

import json
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from itertools import islice
from typing import NamedTuple

import numpy as np
from sklearn.utils import check_array
from tqdm import tqdm

from sktok._files import read_json, sync, whole_folder, write_json
from sktok._leads import require_ordered
from sktok._rows import FLOATS, refuse_masks_and_dates, require_fs, require_int
from sktok._steps import (
    SignalFacts,
    default_channel,
    input_shape,
    reconcile,
    require_unit_kept,
    signal_facts,
)
from sktok.corpus._reader import (
    JOURNAL,
    LAST_SAMPLE,
    SPLITS,
    is_lead,
    read_corpus,
    read_journal,
)
from sktok.corpus._sources import error_in, iterate_records, runs_of_equal
from sktok.corpus._vocabulary import FORMAT_VERSION, Vocabulary
from sktok.datasets._loaders import load_any
from sktok.datasets._patients import is_validation, patient_name, validate_share
from sktok.datasets._windows import TooShortError, validate_scale

_SAMPLES_AT_ONCE = 2**20  # in a batch of records


def write_corpus(
    folder,
    source,
    tokenizer,
    *,
    validation=0.1,
    groups=None,
    channel=None,
    fs=None,
    scale=None,
    verbose=0,
):
    """Write the ids of records to two flat files, split by patient.

    The folder contains ``train.bin`` and ``val.bin``, which hold only ids, of the
    vocabulary's `dtype` in the byte order of the machine; ``corpus.json``, the
    settings; and ``records.jsonl``, the position of each record. Records are read one
    by one, and written in batches of a million samples, or of one longer record. Files
    are staged in a hidden sibling folder until all records are written. After an error
    in a record, the records before it are written; an interruption loses at most the
    batch in memory. The same call then continues with the records whose names are not
    written yet.

    Each lead of a record is a sequence of its own, from ``<bos>`` to ``<eos>``, with
    the same record name and patient. If the tokenizer takes windows of several leads,
    the leads of a record are one sequence.

    The sampling rate, unit and lead of the records are compared with those of the
    tokenizer, if both are known (see :class:`sktok.Resampler`): voltages are converted
    to its unit, and anything else that differs raises an error.

    Parameters
    ----------
    folder : path-like
        Name of the folder, which must not exist.

    source : path-like, Bunch, array-like, or iterable of these
        Records. A path-like is a WFDB record or an EDF file, a folder of these, or a
        pattern, as in :func:`sktok.datasets.load_wfdb`, which also says how they are
        named. Records that are shorter than a window are skipped. A Bunch is the result
        of a loader of :mod:`sktok.datasets`, with one or more records. An array
        (n_windows, window_length), or (n_windows, n_leads, window_length) if the
        tokenizer takes several leads, is one record, named by its position. All single
        windows are one record, named by the position of the first of them.

    tokenizer : transformer or Pipeline
        A fitted tokenizer, for windows of one lead or of several. Records of several
        leads for a tokenizer of one lead are given as files, or as a Bunch that was
        loaded with ``leads="rows"``.

    validation : float or collection of str, default=0.1
        The patients whose records are written to ``val.bin``: an approximate share,
        chosen by a hash of their names, so the split of a patient never changes; or
        the names of the patients. :func:`sktok.datasets.split_patients` gives the same
        split, to fit a tokenizer to the patients of ``train.bin`` only.

    groups : mapping of str to str or None, default=None
        The patient of each record, by the name of the record, for patients with several
        records. It has to name all records of the source, and may name others, as in
        :func:`sktok.datasets.load_wfdb`. `None` takes the patient that a Bunch names;
        other records are patients of their own.

    channel : int, str, sequence of these or None, default=None
        The lead of files, or several leads, or "all", as in
        :func:`sktok.datasets.load_wfdb`. A tokenizer of one lead encodes them one by
        one. `None` takes the leads that the tokenizer names, if these are several, and
        the first lead of a file otherwise.

    fs : float or None, default=None
        Sampling rate in Hz to which files are resampled when they are read, as in
        :func:`sktok.datasets.load_wfdb`. `None` keeps the rate.

    scale : {None, "record"}, default=None
        Whether to scale each file to [0, 1], as in :func:`sktok.datasets.load_wfdb`.

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
        If the source holds no record; if a record has no windows, or windows of another
        shape; if two records have the same name and lead, or differ in sampling
        frequency or unit; if a record has another sampling frequency or lead than the
        tokenizer, or a unit that cannot be converted; if a record has two patients; if
        `groups` lacks a record; if a name is not valid Unicode text; if ``start`` is
        not one sample for each window; if records are scaled to [0, 1] and the
        tokenizer takes a unit; or if an interrupted call had other settings, or its
        files are damaged.
    TypeError
        If windows are not numbers, ``start`` is not integers, `groups` is not a
        mapping, `channel` is a set, or a record or patient is neither text nor a whole
        number.

    Warns
    -----
    UserWarning
        If files are skipped because they are shorter than a window, if `validation`
        names patients without records, or if a share leaves a split empty.

    See Also
    --------
    read_corpus : Read a corpus.
    sktok.datasets.split_patients : Split windows by patient in the same way.
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
    validation = validate_share(validation)
    groups = _validate_groups(groups)
    fs = require_fs(fs)
    fs = None if fs is None else float(fs)
    scale = validate_scale(scale)
    if channel is None:
        channel = default_channel(tokenizer)
    reading = {"channel": _validate_channel(channel), "fs": fs, "scale": scale}
    require_unit_kept(tokenizer, scale)
    settings = {
        "format": "sktok.corpus",
        "version": FORMAT_VERSION,
        "dtype": vocabulary.dtype.str,
        "validation": validation,
        **reading,
        "vocabulary": vocabulary._as_dict(),
    }
    short = []
    read = partial(_read_file, reading=reading, vocabulary=vocabulary, short=short)
    with whole_folder(folder, resume=True) as staged:
        written = _resume(staged, settings, vocabulary.n_leads)
        whole = _whole_records(written)
        records = iterate_records(source, read, whole, vocabulary.n_leads)
        total = len(source) if isinstance(source, list | tuple) else None
        records = tqdm(records, total=total, unit="record", disable=not verbose)
        seen = {}
        leads = _new_leads(records, tokenizer, groups, seen, written, staged)
        parts = _describe(leads, tokenizer, vocabulary, validation, written.values())
        for batch in _batches(parts):
            for entries, sequences in _encode(batch, tokenizer, vocabulary):
                _append(staged, entries, sequences)
        _require_all_records(seen, short, written, staged)
    corpus = read_corpus(folder)
    _warn_of_short_records(short)
    _warn_of_unintended_split(corpus.records, validation)
    return corpus


# --- settings


def _validate_groups(groups):
    """`groups` as a dict of str to str, or None."""
    if groups is None:
        return None
    if not isinstance(groups, Mapping):
        raise TypeError(
            f"groups={groups!r}: expected a mapping from the name of a record to its "
            "patient, such as {'100': 'Ann', '101': 'Ann'}, or None."
        )
    return {str(record): patient_name(group) for record, group in groups.items()}


def _patient_of(record, group, groups):
    """The patient of a record: that of the source, unless `groups` is given."""
    if groups is None:
        return group
    if record not in groups:
        raise ValueError(
            f"groups has no patient for record {record}: name the patient of each "
            "record."
        )
    return groups[record]


def _validate_channel(channel):
    """`channel` as JSON stores it: an int, a str, or a list of these."""
    require_ordered("channel", channel)
    if not isinstance(channel, str | bytes) and isinstance(channel, Iterable):
        return [_validate_index_or_name(item) for item in channel]
    return _validate_index_or_name(channel)


def _validate_index_or_name(channel):
    return channel if isinstance(channel, str) else require_int("channel", channel, 0)


# --- records


def _read_file(record, path, *, reading, vocabulary, short):
    """The windows of a file; None if it is too short, whose name goes to `short`."""
    leads = "rows" if vocabulary.n_leads == 1 else "axis"
    shape = {"window_length": vocabulary.window_length, "leads": leads}
    try:
        return load_any(path, missing="keep", **shape, **reading)
    except TooShortError:
        short.append(record)
        return None


def _require_new(record, lead, group, seen):
    """Raise if a lead comes twice, or a record has two patients.

    `seen` holds the patient and the leads of each record.
    """
    patient, leads = seen.setdefault(record, (group, set()))
    if lead in leads:
        which = "" if lead is None else f" and lead {lead!r}"
        raise ValueError(f"source holds two records of the name {record!r}{which}.")
    if patient != group:
        raise ValueError(
            f"Record {record} has windows of the patients {patient} and {group}, "
            "expected one patient."
        )
    leads.add(lead)


def _require_same_patient(entry, group, staged):
    """Raise if an interrupted call assigned a record to another patient."""
    if entry["group"] != group:
        raise ValueError(
            f"An interrupted call assigned record {entry['record']} to patient "
            f"{entry['group']}, this call to patient {group}: use the same groups, or "
            f"delete {staged}."
        )


def _new_leads(records, tokenizer, groups, seen, written, staged):
    """Yield record, patient, lead and windows of everything that is not yet written.

    `seen` is filled with all leads of the source, see `_require_new`.
    """
    expected = signal_facts(tokenizer).lead
    for record, group, parts in records:
        group = _patient_of(record, group, groups)
        for lead, ecg in parts:
            lead = expected if lead is None else lead
            _require_new(record, lead, group, seen)
            if (record, lead) in written:
                _require_same_patient(written[record, lead], group, staged)
            else:
                yield record, group, lead, ecg


class _Part(NamedTuple):
    """A lead of a record, or several leads in one window, before they are encoded."""

    entry: dict  # of the journal, without the position of its ids
    windows: np.ndarray  # (n_windows, n_leads, window_length), in the tokenizer's unit


def _describe(leads, tokenizer, vocabulary, validation, written):
    """Yield a `_Part` for each item of `_new_leads`.

    `written` holds the entries that an interrupted call wrote.
    """
    agree = lru_cache(partial(_agree, tokenizer))  # most records have the same facts
    if not isinstance(validation, float):
        validation = set(validation)  # finds one of thousands of patients at once
    first = {}
    for entry in written:
        _require_same_units(entry, first)
    for record, group, lead, ecg in leads:
        with error_in(f"record {record}"):
            # A rate that differs explains windows of another length.
            facts, factor = agree(*_facts_of(ecg, lead))
            windows = _validate_windows(ecg["data"], vocabulary)
            _require_names(lead, vocabulary.n_leads)
            _require_text(record, group, facts["unit"], facts["lead"])
            runs = _runs_of(ecg.get("start"), len(windows), vocabulary.window_length)
        split = SPLITS[is_validation(group, validation)]
        entry = {"record": record, "group": group, "split": split, "runs": runs}
        entry |= facts
        _require_same_units(entry, first)
        yield _Part(entry, windows * factor if factor != 1 else windows)


def _facts_of(ecg, lead):
    """What a source says of a record: rate, unit, lead, and whether it is scaled."""
    fs, unit = require_fs(ecg.get("fs")), ecg.get("unit")
    if not isinstance(unit, str | None):
        raise TypeError(f"unit={unit!r}: expected a str, or None.")
    return fs, unit, lead, validate_scale(ecg.get("scale"))


def _require_names(lead, n_leads):
    """Raise unless `lead` names each lead of a window, or is None."""
    if not is_lead(list(lead) if isinstance(lead, tuple) else lead, n_leads):
        expected = "one name" if n_leads == 1 else f"{n_leads} different names"
        raise ValueError(f"lead={lead!r}: expected {expected}, or None.")


def _agree(tokenizer, fs, unit, lead, scale):
    """The facts of a record as JSON stores them, and the factor of its unit."""
    require_unit_kept(tokenizer, scale)
    facts, factor = reconcile(tokenizer, SignalFacts(fs, unit, lead))
    fs, lead = facts.fs, facts.lead
    return {
        "fs": None if fs is None else float(fs),
        "unit": facts.unit,
        "lead": list(lead) if isinstance(lead, tuple) else lead,
    }, factor


def _require_text(*names):
    """Raise if a name is not valid Unicode text."""
    try:
        json.dumps(names, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"The names {names} are not all valid Unicode text: rename the record, "
            "patient, unit or lead."
        ) from error


def _validate_windows(windows, vocabulary):
    """Windows as floats, (n_windows, n_leads, window_length); NaN where masked."""
    n_leads, length = vocabulary.n_leads, vocabulary.window_length
    if not hasattr(windows, "shape"):
        windows = np.asarray(windows)
    _check_shape(tuple(windows.shape), n_leads, length)  # before a copy is made
    dtype = np.asarray(windows).dtype
    if dtype.kind in "cmM":
        raise TypeError(f"The windows have dtype {dtype}, expected real numbers.")
    if np.ma.isMaskedArray(windows):
        windows = windows.astype(np.float64).filled(np.nan)
    if not isinstance(windows, np.ndarray) or dtype not in FLOATS:
        windows = _check_floats(windows)
    return windows.reshape(-1, n_leads, length)


def _check_floats(windows):
    """Windows as floats, NaN where samples are missing; raise if they are infinite."""
    options = {"ensure_all_finite": "allow-nan", "allow_nd": True}
    return check_array(windows, dtype=FLOATS, **options)


def _check_shape(shape, n_leads, length):
    """Raise unless windows have a shape that the tokenizer takes."""
    is_one = n_leads == 1
    leads = ((), (1,)) if is_one else ((n_leads,),)
    if shape[:1] == (0,):
        raise ValueError(
            f"Windows have the shape {shape}, expected at least one: leave the record "
            "out."
        )
    if len(shape) > 1 and shape[-1] == length and shape[1:-1] in leads:
        return
    expected = f"{length}" if is_one else f"{n_leads}, {length}"
    advice = ": give each lead rows of its own (leads='rows' in the loaders)"
    raise ValueError(
        f"Windows have the shape {shape}, expected (n_windows, {expected})"
        f"{advice if is_one and len(shape) == 3 else ''}."
    )


def _runs_of(start, n_windows, window_length):
    """The first sample and the number of windows of each stretch without a gap."""
    if start is None:
        return [[0, n_windows]]
    start = np.asarray(refuse_masks_and_dates(start))
    if start.dtype.kind not in "iu":
        raise TypeError(
            f"start has dtype {start.dtype}, expected integers: the first sample of "
            "each window."
        )
    if start.shape != (n_windows,):
        raise ValueError(
            f"start has the shape {start.shape}, expected one sample for each window: "
            f"({n_windows},)."
        )
    low, high = int(start.min()), int(start.max())
    if not -LAST_SAMPLE < low <= high < LAST_SAMPLE:
        raise ValueError(
            f"start runs from {low} to {high}, expected samples within 2**62 of 0."
        )
    # Without a gap, the distance to a window of the same index is constant.
    start = start.astype(np.int64)
    runs = runs_of_equal(start - window_length * np.arange(n_windows))
    return [[int(start[r.start]), r.stop - r.start] for _, r in runs]


def _require_same_units(entry, first):
    """Raise if a record differs from the earlier ones in sampling frequency or unit.

    `first` holds the first entry that has each of them.
    """
    for key in ("fs", "unit"):
        if entry[key] is None:
            continue
        known = first.setdefault(key, entry)
        if entry[key] != known[key]:
            raise ValueError(
                f"Record {entry['record']} has {key}={entry[key]!r}, and record "
                f"{known['record']} has {key}={known[key]!r}: resample or convert it."
            )


# --- batches


def _batches(parts):
    """Collect consecutive parts, of one dtype and `_SAMPLES_AT_ONCE` at most.

    A part with more samples is a batch of its own. After an error in `parts`, those
    before it are yielded first.
    """
    batch, n_samples = [], 0
    try:
        for part in parts:
            windows = part.windows
            is_full = n_samples + windows.size > _SAMPLES_AT_ONCE
            if batch and (is_full or windows.dtype != batch[0].windows.dtype):
                yield batch
                batch, n_samples = [], 0
            if windows.size >= _SAMPLES_AT_ONCE:
                yield [part]
            else:  # a copy, because the source may reuse its buffer
                batch.append(part._replace(windows=windows.copy()))
                n_samples += windows.size
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _encode(batch, tokenizer, vocabulary):
    """Yield the entries of a batch and the ids of each.

    If this fails, the batch is halved, to yield the records before the one at fault
    and to name it.
    """
    sequences, place = None, f"record {batch[0].entry['record']}"
    with suppress(Exception) if len(batch) > 1 else error_in(place):
        sequences = _to_ids(batch, tokenizer, vocabulary)
    if sequences:
        yield [part.entry for part in batch], sequences
        return
    middle = len(batch) // 2
    for half in (batch[:middle], batch[middle:]):
        yield from _encode(half, tokenizer, vocabulary)


def _to_ids(batch, tokenizer, vocabulary):
    """The ids of each part of a batch, with special tokens."""
    windows = [part.windows for part in batch]
    windows = np.concatenate(windows) if len(batch) > 1 else windows[0]  # saves memory
    tokens = _tokenize(_check_floats(windows), tokenizer, vocabulary)
    ids = vocabulary.encode(tokens)
    is_missing = tokens[:, 0] == -1
    end = np.cumsum(np.where(is_missing, 1, vocabulary.tokens_per_window))
    n_windows = [n for part in batch for _, n in part.entry["runs"]]
    runs = iter(np.split(ids, end[np.cumsum(n_windows) - 1]))
    return [_join(islice(runs, len(part.entry["runs"])), vocabulary) for part in batch]


def _tokenize(windows, tokenizer, vocabulary):
    """The tokens of windows, -1 where a window has invalid samples."""
    tokens = np.full((len(windows), vocabulary.tokens_per_window), -1)
    present = ~np.isnan(windows).any(axis=(1, 2))
    if present.any():
        rows = windows[present].reshape(-1, *input_shape(tokenizer))
        tokens[present] = tokenizer.transform(rows)
    return tokens


def _join(runs, vocabulary):
    """The ids of the runs of a sequence, with special tokens."""
    ids = [[vocabulary.bos_id]]
    for run in runs:
        ids += [run, [vocabulary.sep_id]]
    ids[-1] = [vocabulary.eos_id]
    return np.concatenate(ids, dtype=vocabulary.dtype, casting="unsafe")


# --- files


def _append(staged, entries, sequences):
    """Write ids to the disk, and then the complete entries to the journal."""
    for split in SPLITS:
        path, added = staged / f"{split}.bin", []
        n_bytes = path.stat().st_size
        for entry, ids in zip(entries, sequences, strict=True):
            if entry["split"] == split:
                entry |= {"first": n_bytes // ids.itemsize, "n_ids": len(ids)}
                n_bytes += ids.nbytes
                added.append(ids.tobytes())
        _append_bytes(path, b"".join(added))
    lines = [json.dumps(entry) + "\n" for entry in entries]
    _append_bytes(staged / JOURNAL, "".join(lines).encode())


def _append_bytes(path, content):
    if content:
        with open(path, "ab") as file:
            file.write(content)
            sync(file)


def _resume(staged, settings, n_leads):
    """The entries that an interrupted call wrote, by record and lead.

    An incomplete entry is cut off.
    """
    (staged / JOURNAL).touch()
    entries, n_ids, n_bytes = read_journal(staged, n_leads)
    path = staged / "corpus.json"
    if not entries:
        for file in staged.iterdir():
            file.unlink()
        write_json(path, settings)
    found = read_json(path, expected="sktok.corpus", version=(FORMAT_VERSION,))
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
    return {_key(entry): entry for entry in entries}


def _key(entry):
    """The record and the lead of an entry."""
    lead = entry["lead"]
    return entry["record"], tuple(lead) if isinstance(lead, list) else lead


def _whole_records(written):
    """The written leads of each record; the last record may lack some."""
    leads, record = defaultdict(list), None
    for record, lead in written:
        leads[record].append(lead)
    leads.pop(record, None)
    return dict(leads)


def _require_all_records(seen, short, written, staged):
    """Raise if the source has no record, or lacks one that is written."""
    if not seen and short:
        raise ValueError(
            f"All {len(short)} records of source are shorter than a window, {short[0]} "
            "among them: fit a tokenizer to shorter windows."
        )
    if not seen:
        raise ValueError("source holds no record: give at least one.")
    absent = {record for record, lead in written if lead not in _leads(record, seen)}
    if absent:
        raise ValueError(
            f"An interrupted call wrote the records {', '.join(sorted(absent))}, which "
            f"source does not hold: give all, or delete {staged}."
        )


def _leads(record, seen):
    _, leads = seen.get(record, (None, ()))
    return leads


def _warn_of_short_records(short):
    if short:
        warnings.warn(
            f"{len(short)} records are skipped, because they are shorter than a "
            f"window: {short[0]} is the first.",
            stacklevel=3,
        )


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
