"""The commands. Each takes the arguments of the parser and prints its result."""

import json
import math
import re
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sktok import __version__, make_tokenizer
from sktok._command_line._facts import as_lines, corpus_facts, tokenizer_facts
from sktok._files import whole_folder
from sktok.corpus import read_corpus, write_corpus
from sktok.corpus._reader import read_record, require_whole
from sktok.datasets import load_wfdb
from sktok.datasets._wfdb import LONGEST_GAPS, record_names
from sktok.metrics import describe
from sktok.persistence import load, save


def fit(arguments):
    """Train a tokenizer on records, and measure it on them and on test records."""
    out = arguments.out
    if out.is_dir() or (out.exists() and not arguments.overwrite):
        raise FileExistsError(f"{out} exists: choose another name or give --overwrite.")
    _require_writable(out.parent)
    paths = arguments.records + arguments.test
    _require_distinct(paths)
    ecg = _load_records(arguments, paths, arguments.window_length)
    names = record_names(paths)[: len(arguments.records)]
    n_train = np.isin(ecg.record, names).sum()  # the windows of --test follow
    tokenizer = make_tokenizer(
        arguments.block_size,
        arguments.n_tokens,
        max_steps=arguments.max_steps,
        random_state=arguments.seed,
        verbose=arguments.verbose,
    ).fit(ecg.data[:n_train])
    tokenizer.set_params(tokenize__verbose=0)
    save(tokenizer, out)
    print(as_lines(tokenizer_facts(out, tokenizer)))
    train, test = slice(n_train), slice(n_train, None)
    print(f"\nOn the training records:\n{_describe(tokenizer, ecg, train)}")
    if arguments.test:
        print(f"\nOn the records of --test:\n{_describe(tokenizer, ecg, test)}")


def tokenize(arguments):
    """Write the tokens of records as a corpus."""
    _require_distinct(arguments.records)
    names, held_out = record_names(arguments.records), arguments.validation_records
    unknown = ", ".join(sorted(set(held_out or ()) - set(names)))
    if unknown:
        raise ValueError(
            f"--validation-records names {unknown}, but the records are "
            f"{', '.join(names)}."
        )
    corpus = write_corpus(
        arguments.out,
        arguments.records,
        _load_tokenizer(arguments.tokenizer),
        validation=held_out or arguments.validation,
        channel=arguments.channel,
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
            signal = _decoded(records[name], corpus, tokenizer)
            _write_record(staged, name, records[name], signal)
    print(as_lines({"folder": str(arguments.out), "records": len(records)}))


def inspect(arguments):
    """Show the properties of a tokenizer, also on records, or of a corpus."""
    path, description = arguments.path, None
    if path.is_dir():
        if arguments.records:
            raise ValueError(f"{path} is a folder, expected the file of a tokenizer.")
        facts = corpus_facts(path, read_corpus(path))
    else:
        tokenizer = _load_tokenizer(path)
        facts = tokenizer_facts(path, tokenizer)
        if arguments.records:
            ecg = _load_records(arguments, arguments.records, facts["window_length"])
            description = _describe(tokenizer, ecg)
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


def _require_writable(folder):
    """Create a folder, and raise before the training if no file can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(
            f"No file can be written to {folder} ({error.strerror}): choose another."
        ) from error


def _require_distinct(records):
    seen = set()
    for record in records:
        if Path(record).resolve() in seen:
            raise ValueError(f"The record {record} is named twice: name it once.")
        seen.add(Path(record).resolve())


def _load_records(arguments, paths, window_length):
    names = "channel", "scale", "missing"
    options = {name: getattr(arguments, name) for name in names}
    return load_wfdb(paths, window_length=window_length, **options)


def _load_tokenizer(path):
    if Path(f"{path}.hea").is_file():
        raise ValueError(f"{path} is a record, expected the file of a tokenizer.")
    try:
        return load(path)
    except ValueError as error:
        error.add_note(
            "A pickle can execute any code and is not loaded: if you trust it, load it "
            "in Python and write it with sktok.persistence.save."
        )
        raise


def _describe(tokenizer, ecg, rows=slice(None)):
    """Describe the tokenizer on rows of a Bunch."""
    X, groups = ecg.data[rows], ecg.record[rows]
    return describe(tokenizer, X, fs=ecg.fs, unit=ecg.unit, groups=groups)


def _by_wfdb_name(records):
    """The records of a corpus by names that WFDB allows."""
    names = {}
    for record in records:
        name = re.sub(r"[^\w-]+", "_", record["record"], flags=re.ASCII)
        if name in names:
            raise ValueError(
                f"The records {names[name]['record']} and {record['record']} would "
                f"both be written as {name}: put them into two corpora."
            )
        if record["fs"] is None:
            raise ValueError(
                "The corpus does not store the sampling frequency of record "
                f"{record['record']}: use sktok.corpus.Vocabulary.decode_signal."
            )
        names[name] = record
    return names


def _decoded(record, corpus, tokenizer):
    """The signal of a record, with NaN where it has no windows."""
    ids, _, starts = read_record(corpus, record)
    windows = corpus.vocabulary.decode_signal(ids, tokenizer)
    n_samples = int(starts.max()) + windows.shape[1]
    is_possible = starts.min() >= 0 and n_samples - windows.size <= LONGEST_GAPS
    fault = f"The windows of record {record['record']} have impossible positions"
    require_whole(is_possible, fault)
    signal = np.full(n_samples, np.nan)
    signal[starts[:, np.newaxis] + np.arange(windows.shape[1])] = windows
    return signal


def _write_record(folder, name, record, signal):
    """Write a WFDB record with the finest steps that 16 bits allow."""
    import wfdb

    is_empty = np.isnan(signal).all()  # wfdb finds no steps for it
    wfdb.wrsamp(
        name,
        fs=record["fs"],
        units=[record["unit"] or "NU"],  # WFDB's "no unit"
        sig_name=[record["lead"] or "ECG"],
        p_signal=signal[:, np.newaxis],
        fmt=["16"],
        **({"adc_gain": [1.0], "baseline": [0]} if is_empty else {}),
        comments=[f"decoded from tokens by sktok {__version__}"],
        write_dir=str(folder),
    )
