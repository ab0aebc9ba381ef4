"""The commands. Each takes the arguments of the parser and prints its result."""

import csv
import json
import math
import re
import tempfile
import warnings
from collections import defaultdict
from contextlib import suppress
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sktok import __version__, make_tokenizer, with_leads
from sktok._command_line._facts import as_lines, corpus_facts, tokenizer_facts
from sktok._files import parse_json, whole_file, whole_folder
from sktok._leads import distinct_names
from sktok._pretrained import list_pretrained, load_pretrained, path_of
from sktok._steps import (
    SignalFacts,
    default_channel,
    reconcile,
    require_unit_kept,
    selects_leads,
    signal_facts,
    take_leads,
    walk,
    window_shape,
)
from sktok.coding import TokenCoder
from sktok.coding._coder import LARGEST_VOCABULARY
from sktok.coding._container import Packed
from sktok.corpus import read_corpus, write_corpus
from sktok.corpus._fingerprint import fingerprint
from sktok.corpus._reader import is_lead, read_record, require_whole
from sktok.corpus._vocabulary import to_signal
from sktok.datasets import split_patients
from sktok.datasets._loaders import find_records, leads_of, load_any
from sktok.datasets._wfdb import LONGEST_GAPS
from sktok.metrics import describe, prd
from sktok.persistence import load, save

_BYTES_IN_FORMAT_212 = 1.5  # a sample, in the format of most records of PhysioNet


def fit(arguments):
    """Train a tokenizer on records, and measure it on them and on other records."""
    out = arguments.out
    _require_other_file(out, coder=arguments.coder)
    n_tokens = int(np.sum(arguments.n_tokens))
    if arguments.coder is not None and n_tokens > LARGEST_VOCABULARY:
        raise ValueError(
            f"--n-tokens has {n_tokens} tokens in all, and a coder takes "
            f"{LARGEST_VOCABULARY}: give fewer, or omit --coder."
        )
    for path in filter(None, (out, arguments.coder)):
        _require_absent(path, arguments.overwrite)
    n_records = len(find_records(arguments.records))
    records = dict(find_records(arguments.records + arguments.test))
    ecg = _load_records(
        arguments,
        records,
        window_length=arguments.window_length,
        window_seconds=arguments.window_seconds,
    )
    train, held_out, test = _split(ecg, list(records)[:n_records], arguments.validation)
    tokenizer = make_tokenizer(
        arguments.block_size,
        arguments.n_tokens,
        rate_weight=arguments.rate_weight,
        fs=ecg.fs,
        unit=ecg.unit,
        lead=_name_of_lead(_channel(arguments)),
        max_steps=arguments.max_steps,
        random_state=arguments.seed,
        verbose=arguments.verbose,
    ).fit(ecg.data[train])
    tokenizer.set_params(tokenize__verbose=0)
    save(tokenizer, out)
    print(as_lines(tokenizer_facts(out, tokenizer)))
    if arguments.coder is not None:
        _fit_coder(arguments, tokenizer, ecg, train)
    for title, rows in (
        ("the training records", train),
        ("the patients held out by --validation", held_out),
        ("the records of --test", test),
    ):
        if len(ecg.data[rows]):
            print(f"\nOn {title}:\n{_description(tokenizer, ecg, rows)}")


def tokenize(arguments):
    """Write the tokens of records as a corpus."""
    records = dict(find_records(arguments.records))
    patients = _read_patients(arguments.patients, records)
    held_out = arguments.validation_records
    unknown = ", ".join(sorted(set(held_out or ()) - set(records)))
    if unknown:
        raise ValueError(
            f"--validation-records names {unknown}, but the records are "
            f"{', '.join(records)}."
        )
    tokenizer = _tokenizer_for_records(arguments.tokenizer, arguments)
    if held_out:
        held_out = [(patients or {}).get(record, record) for record in held_out]
    corpus = write_corpus(
        arguments.out,
        list(records.values()),
        tokenizer,
        validation=held_out or arguments.validation,
        groups=patients,
        channel=_channel(arguments),
        fs=arguments.fs,
        scale=arguments.scale,
        verbose=arguments.verbose,
    )
    print(as_lines(corpus_facts(arguments.out, corpus)))


def decode(arguments):
    """Write a WFDB record for each record of a corpus."""
    corpus = read_corpus(arguments.corpus)
    tokenizer = _load_tokenizer(arguments.tokenizer)
    corpus.vocabulary.check(tokenizer)
    records = _by_wfdb_name(corpus.records)
    names = tqdm(records, unit="record", disable=not arguments.verbose)
    with whole_folder(arguments.out) as staged:
        for name in names:
            entries = records[name]
            _set_facts(tokenizer, entries[0])
            signals = _decoded(entries, corpus, tokenizer)
            _write_record(staged, name, entries, signals)
    print(as_lines({"folder": str(arguments.out), "records": len(records)}))


def compress(arguments):
    """Write the compressed tokens of a record, and measure size and error."""
    out, records = arguments.out, dict(find_records(arguments.records))
    _require_other_file(out, tokenizer=arguments.tokenizer, coder=arguments.coder)
    _require_absent(out, arguments.overwrite)
    tokenizer = _tokenizer_for_records(arguments.tokenizer, arguments)
    coder = _load_coder(arguments.coder, tokenizer)
    if len(records) != 1:
        raise ValueError(
            f"{arguments.records[0]} stands for {len(records)} records, expected one: "
            "run the command for each record."
        )
    n_leads, length = window_shape(tokenizer)
    leads = "rows" if n_leads == 1 else "axis"
    ecg = _load_records(arguments, records, leads=leads, window_length=length)
    groups = _checked_groups(tokenizer, ecg)
    tokens, entries = tokenizer.transform(ecg.data), _entries(ecg)
    restored = tokenizer.inverse_transform(tokens)
    prdn = float(np.mean(prd(ecg.data, restored, centered=True, groups=groups)))
    metadata = json.dumps(entries, separators=(",", ":")).encode()
    with whole_file(out) as file:
        file.writelines(coder.iter_compress([(tokens, groups)], metadata=metadata))
    n_bytes, n_samples = out.stat().st_size, ecg.data.size
    facts = {
        "file": str(out),
        "bytes": n_bytes,
        "samples": n_samples,
        "bits_per_sample": 8 * n_bytes / n_samples,
        "ratio_to_format_212": _BYTES_IN_FORMAT_212 * n_samples / n_bytes,
        "prdn_percent": prdn,
    }
    print(as_lines(facts))


def decompress(arguments):
    """Write the WFDB record of a file that `compress` wrote."""
    tokenizer = _load_tokenizer(arguments.tokenizer)
    coder = _load_coder(arguments.coder, tokenizer)
    data = arguments.file.read_bytes()
    entries = _described_record(data, arguments.file, tokenizer)
    tokens = coder.decompress(data)
    ((name, entries),) = _by_wfdb_name(entries).items()
    _set_facts(tokenizer, entries[0])
    limits = np.cumsum(list(map(_n_windows, entries)))[:-1]
    parts = (to_signal(part, tokenizer) for part in np.split(tokens, limits))
    signals = _placed(entries, parts, *window_shape(tokenizer))
    with whole_folder(arguments.out) as staged:
        _write_record(staged, name, entries, signals)
    print(as_lines({"folder": str(arguments.out), "records": 1}))


def inspect(arguments):
    """Show the properties of a tokenizer, also on records, or of a corpus."""
    path, description = arguments.path, None
    if path.is_dir():
        if arguments.records:
            raise ValueError(f"{path} is a folder, expected the file of a tokenizer.")
        facts = corpus_facts(path, read_corpus(path))
    else:
        tokenizer = _tokenizer_for_records(path, arguments)
        path = path_of(path) if _is_pretrained(path) else path
        facts = tokenizer_facts(path, tokenizer)
        if arguments.records:
            ecg = _load_records(
                arguments,
                dict(find_records(arguments.records)),
                leads="rows" if facts["n_leads"] == 1 else "axis",
                window_length=facts["window_length"],
            )
            description = _description(tokenizer, ecg)
    if arguments.json:
        if description:
            facts["on_records"] = {
                name: None if value in (math.inf, -math.inf) else value
                for name, value in asdict(description).items()
            }
        print(json.dumps(facts, indent=2, allow_nan=False))
    else:
        print(as_lines(facts))
        if description:
            print(f"\nOn these records:\n{description}")


def _require_other_file(out, **others):
    """Raise before the work if an option names the file of --out."""
    for option, path in others.items():
        if path is not None and path.resolve() == out.resolve():
            raise ValueError(
                f"--out and --{option} both name {out}: choose another name for --out."
            )


def _require_absent(path, overwrite):
    """Raise before the work if a file cannot be written or would be replaced."""
    if path.is_dir() or (path.exists() and not overwrite):
        raise FileExistsError(
            f"{path} exists: choose another name or give --overwrite."
        )
    _require_writable(path.parent)


def _fit_coder(arguments, tokenizer, ecg, rows):
    """Train a coder on the tokens of rows of a Bunch, and write it."""
    pairs = zip(ecg.record[rows], ecg.lead[rows], strict=True)
    groups = np.array([f"{record}, {lead}" for record, lead in pairs])
    coder = TokenCoder(random_state=arguments.seed, verbose=arguments.verbose)
    tokens = tokenizer.transform(ecg.data[rows])
    coder.fit(tokens, groups=groups, tokenizer=tokenizer).set_params(verbose=0)
    save(coder, arguments.coder)
    facts = {"coder": str(arguments.coder), "bytes": arguments.coder.stat().st_size}
    print(as_lines(facts))


def _load_coder(path, tokenizer):
    """Load the coder of the tokens of a tokenizer."""
    coder = load(path)
    if not isinstance(coder, TokenCoder):
        raise ValueError(f"{path} holds a {type(coder).__name__}, expected a coder.")
    if coder.tokenizer_fingerprint_ != fingerprint(tokenizer):
        raise ValueError(
            f"The coder {path} was trained on tokens of another tokenizer: give both "
            "files of one `fit`."
        )
    return coder


def _entries(ecg):
    """What a corpus says of the record of a Bunch, for each lead in its order."""
    leads = ecg.lead if ecg.lead.ndim == 1 else np.zeros(len(ecg.data), int)
    _, firsts = np.unique(leads, return_index=True)
    length, entries = ecg.data.shape[-1], []
    for rows in np.split(np.arange(len(leads)), np.sort(firsts)[1:]):
        gaps = np.flatnonzero(np.diff(ecg.start[rows]) != length) + 1
        runs = np.split(ecg.start[rows], gaps)
        entries.append(
            {
                "record": str(ecg.record[rows[0]]),
                "lead": ecg.lead[rows[0]].tolist(),
                "unit": ecg.unit,
                "fs": ecg.fs,
                "runs": [[int(run[0]), len(run)] for run in runs],
            }
        )
    return entries


def _described_record(data, path, tokenizer):
    """The entries of the record in compressed tokens, which are not decoded."""
    packed, entries = Packed(data), None
    with suppress(ValueError):  # tokens that were compressed in Python
        entries = parse_json(packed.metadata, path)
    if not _describes_record(entries, tokenizer, packed.n_windows.sum()):
        raise ValueError(
            f"{path} holds tokens, but does not say of which record: use "
            "sktok.coding.TokenCoder.decompress."
        )
    return entries


def _describes_record(entries, tokenizer, n_windows):
    """Whether the metadata of compressed tokens are those of `compress`."""
    try:
        return (
            len({entry["record"] for entry in entries}) == 1
            and isinstance(entries[0]["record"], str)
            and sum(map(_n_windows, entries)) == n_windows
            and all(type(n) is int for e in entries for n in chain(*e["runs"]))
            and all(0 < n for entry in entries for _, n in entry["runs"])
            and all(_are_leads(entry["lead"], tokenizer) for entry in entries)
            and all(isinstance(entry["unit"], str | None) for entry in entries)
            and all(0 < entry["fs"] < math.inf for entry in entries)
        )
    except (KeyError, TypeError, ValueError):
        return False


def _are_leads(lead, tokenizer):
    """Whether these may be the leads of a record that a tokenizer has encoded."""
    if selects_leads(tokenizer):  # those of the record, which are more or fewer
        return isinstance(lead, list) and is_lead(lead, len(lead))
    return is_lead(lead, window_shape(tokenizer)[0])


def _n_windows(entry):
    return sum(n for _, n in entry["runs"])


def _require_writable(folder):
    """Create a folder, and raise before the training if no file can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(
            f"No file can be written to {folder} ({error.strerror}): choose another."
        ) from error


def _load_records(arguments, records, *, leads="rows", **lengths):
    """Load records, given by their names and paths, as a Bunch."""
    names = "fs", "scale", "missing"
    options = {name: getattr(arguments, name) for name in names}
    options["channel"] = _channel(arguments)
    patients = getattr(arguments, "patients", None)  # `compress` has one record
    groups = _read_patients(patients, records)
    paths = list(records.values())
    return load_any(paths, leads=leads, groups=groups, **lengths, **options)


def _channel(arguments):
    """The lead as it is, or several as a list."""
    channel = arguments.channel
    if channel is None:
        return 0
    return channel[0] if isinstance(channel, list) and len(channel) == 1 else channel


def _read_patients(path, records):
    """The patient of each record, from a CSV file; None without a file."""
    if path is None:
        return None
    patients = {}
    for record, patient in _read_pairs(path):
        if record in records and patients.setdefault(record, patient) != patient:
            raise ValueError(f"{path} gives two patients to record {record}.")
    unnamed = [record for record in records if not patients.get(record)]
    if unnamed:
        raise ValueError(
            f"{path} has no patient for {len(unnamed)} of {len(records)} records, "
            f"{unnamed[0]} among them: add them to the file."
        )
    return patients


def _read_pairs(path):
    """Yield the columns record and patient of a CSV file."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        try:
            header, *rows = csv.reader(file, skipinitialspace=True, strict=True)
        except ValueError as error:
            raise ValueError(f"{path} is empty or not UTF-8 text: {error}") from error
        except csv.Error as error:
            raise ValueError(f"{path} is not a CSV file: {error}") from error
    header = [name.strip() for name in header]
    absent = [name for name in ("record", "patient") if name not in header]
    if absent:
        raise ValueError(
            f"{path} has no column {' and no column '.join(absent)}: give a CSV file "
            "with the columns record and patient, separated by commas."
        )
    places = header.index("record"), header.index("patient")
    for row in rows:
        if len(row) > max(places):
            yield tuple(row[place].strip() for place in places)


def _split(ecg, records, validation):
    """The rows of training, of held-out patients, and of all other records."""
    rows = np.flatnonzero(np.isin(ecg.record, records))
    train, held_out = (
        rows[part] for part in split_patients(ecg.groups[rows], validation)
    )
    test = np.setdiff1d(np.arange(len(ecg.data)), rows)
    if not len(train):
        raise ValueError(
            "There are no windows to train on: give longer training records, or a "
            "smaller share to --validation."
        )
    both = ", ".join(sorted({*ecg.groups[train]} & {*ecg.groups[test]}))
    if both:
        warnings.warn(
            f"--test holds records of training patients: {both}.", stacklevel=2
        )
    if len(train) == len(rows):  # the first rows: a slice takes no memory
        train = slice(len(train))
    return train, held_out, test


def _name_of_lead(channel):
    """The lead that a tokenizer is for, if a single one was chosen by its name."""
    return channel if isinstance(channel, str) and channel != "all" else None


def _tokenizer_for_records(path, arguments):
    """Load a tokenizer; if it is pretrained, records are resampled for it."""
    if _is_pretrained(path):
        tokenizer = load_pretrained(str(path), fs=arguments.fs)
        arguments.fs = signal_facts(tokenizer).fs
    else:
        tokenizer = _load_tokenizer(path)
    if arguments.channel is None:
        arguments.channel = default_channel(tokenizer)
    elif selects_leads(tokenizer):
        first = next(path for _, path in find_records(arguments.records))
        arguments.channel = leads_of(first, _channel(arguments))
        tokenizer = with_leads(tokenizer, arguments.channel)
    return tokenizer


def _is_pretrained(path):
    """Whether a path is the name of a pretrained tokenizer, and not a file."""
    return str(path) in list_pretrained() and not path.exists()


def _load_tokenizer(path):
    if _is_pretrained(path):
        return load_pretrained(str(path))
    if Path(f"{path}.hea").is_file():
        raise ValueError(f"{path} is a record, expected the file of a tokenizer.")
    try:
        tokenizer = load(path)
    except ValueError as error:
        error.add_note(
            "A pickle can execute any code and is not loaded: if you trust it, load it "
            "in Python and write it with sktok.persistence.save."
        )
        raise
    if isinstance(tokenizer, TokenCoder):
        raise ValueError(f"{path} holds a coder, expected the file of a tokenizer.")
    return tokenizer


def _description(tokenizer, ecg, rows=slice(None)):
    """Describe the tokenizer on rows of a Bunch."""
    groups = _checked_groups(tokenizer, ecg, rows)
    return describe(tokenizer, ecg.data[rows], fs=ecg.fs, unit=ecg.unit, groups=groups)


def _checked_groups(tokenizer, ecg, rows=slice(None)):
    """The records or patients of rows of a Bunch, if the tokenizer is for its signal.

    Each lead of a record has its own mean, and is a group.
    """
    require_unit_kept(tokenizer, ecg.scale)
    leads, groups = ecg.lead[rows], ecg.groups[rows]
    for lead in np.unique(leads, axis=0).tolist():
        lead = lead if isinstance(lead, str) else tuple(lead)
        reconcile(tokenizer, SignalFacts(ecg.fs, ecg.unit, lead))
    if leads.ndim == 1 and len(np.unique(leads)) > 1:
        pairs = zip(groups, leads, strict=True)
        groups = np.array([f"{group}, {lead}" for group, lead in pairs])
    return groups


def _by_wfdb_name(entries):
    """The entries of a corpus by names of records that WFDB allows."""
    names, originals = defaultdict(list), {}
    for entry in entries:
        record = entry["record"]
        name = re.sub(r"[^\w-]+", "_", record, flags=re.ASCII)
        if originals.setdefault(name, record) != record:
            raise ValueError(
                f"The records {originals[name]} and {record} would both be written as "
                f"{name}: put them into two corpora."
            )
        if entry["fs"] is None:
            raise ValueError(
                "The corpus does not store the sampling frequency of record "
                f"{record}: use sktok.corpus.Vocabulary.decode_signal."
            )
        names[name].append(entry)
    return names


def _set_facts(tokenizer, entry):
    """Let a tokenizer restore the rate and the leads of a record."""
    fs, leads = entry["fs"], entry["lead"]
    if signal_facts(tokenizer).fs not in (None, fs):
        step = next(step for step in walk(tokenizer) if hasattr(step, "input_fs"))
        step.set_params(input_fs=fs)
    if selects_leads(tokenizer):
        take_leads(tokenizer, leads)


def _decoded(entries, corpus, tokenizer):
    """The signals of a record, (n_samples, n_leads), NaN where there are no windows."""
    n_leads, length = corpus.vocabulary.n_leads, corpus.vocabulary.window_length
    ids = (read_record(corpus, entry)[0] for entry in entries)
    windows = (to_signal(corpus.vocabulary.decode(i), tokenizer) for i in ids)
    return _placed(entries, windows, n_leads, length)


def _placed(entries, windows, n_leads, length):
    """The windows of each entry at their samples, (n_samples, n_leads)."""
    record, fs = entries[0]["record"], entries[0]["fs"]
    runs = [run for entry in entries for run in entry["runs"]]
    n_samples = max(first + n * length for first, n in runs)
    n_missing = n_samples * len(entries) - sum(n for _, n in runs) * length
    is_possible = (
        min(first for first, _ in runs) >= 0
        and n_missing * n_leads <= LONGEST_GAPS
        and all(entry["fs"] == fs for entry in entries)
    )
    fault = f"The windows of record {record} have impossible positions or rates"
    require_whole(is_possible, fault)
    signals = np.full((n_samples, len(entries) * n_leads), np.nan)
    for first, (entry, part) in enumerate(zip(entries, windows, strict=True)):
        is_length = part.shape[-1] == length and len(part) == _n_windows(entry)
        require_whole(is_length, f"The windows of record {record} have another rate")
        starts = [s + length * np.arange(n) for s, n in entry["runs"]]
        samples = np.concatenate(starts)[:, np.newaxis] + np.arange(length)
        columns = slice(first * n_leads, (first + 1) * n_leads)
        signals[samples, columns] = part.reshape(-1, n_leads, length).swapaxes(1, 2)
    return signals


def _write_record(folder, name, entries, signals):
    """Write a WFDB record with the finest steps that 16 bits allow."""
    import wfdb

    n_leads = signals.shape[1] // len(entries)
    leads = [lead for entry in entries for lead in _leads_of(entry, n_leads)]
    units = [entry["unit"] or "NU" for entry in entries for _ in range(n_leads)]
    fmt = ["16"] * len(leads)
    # wfdb finds no steps for a lead without a valid sample.
    limits = np.nan_to_num([np.fmin.reduce(signals), np.fmax.reduce(signals)])
    steps = wfdb.Record(p_signal=limits, n_sig=len(leads), fmt=fmt)
    gains, baselines = steps.calc_adc_params()
    wfdb.wrsamp(
        name,
        fs=entries[0]["fs"],
        units=[re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", "_", unit) for unit in units],
        sig_name=distinct_names(leads),
        p_signal=signals,
        fmt=fmt,
        adc_gain=gains,
        baseline=baselines,
        comments=[f"decoded from tokens by sktok {__version__}"],
        write_dir=str(folder),
    )


def _leads_of(entry, n_leads):
    """The names of the leads of an entry, without characters that WFDB forbids."""
    leads = entry["lead"] if isinstance(entry["lead"], list) else [entry["lead"]]
    leads = leads if len(leads) == n_leads else leads * n_leads
    leads = [re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", lead or "") for lead in leads]
    return [lead.strip() or "ECG" for lead in leads]
