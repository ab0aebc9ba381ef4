"""The command line: WFDB records to tokens in files, and back.

What takes long to import is imported by the commands that need it, so that ``--help``
comes at once.
"""

import argparse
import json
import math
import os
import re
import sys
import tempfile
import warnings
import zipfile
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from sktok import __version__, make_tokenizer
from sktok._steps import steps_of

_RECORD = "path of a WFDB record's files, without extension"
_TOKENIZER = "tokenizer that `fit`, or sktok.persistence.save, wrote"


def main(argv=None):
    """Run a command, and tell how it went.

    Parameters
    ----------
    argv : list of str or None, default=None
        The arguments; `None` takes those of the process.

    Returns
    -------
    int
        The exit code: 0 if it is done, 1 if the files or what they hold are at fault,
        130 if it was interrupted. Wrong usage exits with 2 by itself.
    """
    arguments = _parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            arguments.command(arguments)
            _flush()
        except KeyboardInterrupt:
            print("sktok: interrupted", file=sys.stderr)
            return 130
        except (MemoryError, OSError, TypeError, ValueError) as error:
            said = [
                str(error) or "There is not enough memory",
                *getattr(error, "__notes__", []),
            ]
            line = " ".join(". ".join(text.rstrip(".") for text in said).split())
            print(f"sktok: error: {line}.", file=sys.stderr)
            return 1
    return 0


def _flush():
    """Write what is printed now, while an error can still be told."""
    try:
        sys.stdout.flush()
    except OSError:
        # Python flushes once more in the end, and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _show_warning(message, *_, **__):
    print(f"sktok: warning: {message}", file=sys.stderr)


def _parser():
    parser = argparse.ArgumentParser(
        prog="sktok",
        description="Turn ECG in WFDB records into tokens for a language model, and "
        "tokens back into WFDB records.",
        epilog="`python -m sktok COMMAND --help` tells what a command writes, and has "
        "an example. Results go to the standard output, progress and errors to the "
        "standard error. Exit codes: 0 done, 1 the files or what they hold are at "
        "fault, 2 wrong usage, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"sktok {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (_add_fit, _add_tokenize, _add_restore, _add_inspect):
        add(commands)
    return parser


def _add_command(commands, function, summary, description):
    parser = commands.add_parser(
        function.__name__.strip("_"),
        help=summary,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=function)
    return parser


def _add_fit(commands):
    parser = _add_command(
        commands,
        _fit,
        "train a tokenizer on records",
        """\
Train the recommended tokenizer (sktok.make_tokenizer) on WFDB records.

Writes FILE, from which `tokenize`, `restore` and sktok.persistence.load read it; the
file is of the skops format, and runs no code when it is loaded. It appears once it is
whole. Then rate and distortion on the training windows are printed. No patient is held
out: to see how it does on patients that it has not seen, name their records by --test.

All records are held in memory. For larger archives, see sktok.streaming.

example:
  python -m sktok fit mitdb/101 mitdb/106 --test mitdb/100 --out ecg.skops""",
    )
    parser.add_argument("records", nargs="+", metavar="RECORD", help=_RECORD)
    parser.add_argument(
        "--out", required=True, metavar="FILE", type=Path, help="file to write"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace FILE if it exists"
    )
    parser.add_argument(
        "--test",
        nargs="+",
        default=[],
        metavar="RECORD",
        help="records to score the tokenizer on, and not to train on",
    )
    _add_training(parser)
    _add_missing(parser)
    _add_lead(parser)
    _add_quiet(parser)


def _add_training(parser):
    parser.add_argument(
        "--block-size",
        type=_count,
        default=10,
        metavar="N",
        help="samples that become a token (default: %(default)s)",
    )
    parser.add_argument(
        "--n-tokens",
        type=partial(_count, least=2),
        default=256,
        metavar="N",
        help="size of the vocabulary (default: %(default)s)",
    )
    parser.add_argument(
        "--window-length",
        type=_count,
        default=250,
        metavar="N",
        help="samples that are tokenized together (default: %(default)s)",
    )
    parser.add_argument(
        "--max-steps",
        type=lambda text: text if text == "auto" else _count(text),
        default="auto",
        metavar="N",
        help="training steps; auto, the default, follows the size of the data",
    )
    parser.add_argument(
        "--seed",
        type=partial(_count, least=0),
        default=0,
        metavar="N",
        help="seeds the training (default: %(default)s)",
    )


def _add_tokenize(commands):
    parser = _add_command(
        commands,
        _tokenize,
        "turn records into a corpus of tokens",
        """\
Turn WFDB records into the corpus of a language model, by sktok.corpus.write_corpus.

Writes FOLDER: train.bin and val.bin, the ids of tokens, one record behind the other,
flat uint16 (or uint32) for numpy.memmap; corpus.json, the vocabulary; and
records.jsonl, which tells what lies where. `restore` turns it into records again, and
sktok.corpus.read_corpus reads it. Windows with invalid samples become <missing>.

FOLDER appears once it is whole, and must not exist. After an interruption, the same
command goes on with the records that are left, if they are given with the others.

A tokenizer does not know its sampling frequency: give records of the one that it was
trained at. Each record is taken for a patient of its own; write_corpus has groups= for
patients with several.

example:
  python -m sktok tokenize mitdb/100 --tokenizer ecg.skops --out corpus""",
    )
    parser.add_argument("records", nargs="+", metavar="RECORD", help=_RECORD)
    _add_tokenizer(parser)
    parser.add_argument(
        "--out", required=True, metavar="FOLDER", type=Path, help="folder to write"
    )
    split = parser.add_mutually_exclusive_group()
    split.add_argument(
        "--validation",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="about this share of the records, chosen by a hash of their names, goes "
        "to val.bin (default: %(default)s)",
    )
    split.add_argument(
        "--validation-records",
        nargs="+",
        metavar="NAME",
        help="names of the records that go to val.bin: without folder, unless two "
        "share a name",
    )
    _add_lead(parser)
    _add_quiet(parser)


def _add_restore(commands):
    parser = _add_command(
        commands,
        _restore,
        "turn a corpus of tokens into records",
        """\
Turn the tokens of a corpus back into signals.

Writes FOLDER2: a WFDB record for each of the corpus, of the same name (but for
characters that WFDB does not allow, which become _), with the one lead that was
tokenized, in 16 bits, the unit of the original and its sampling frequency. Sample i
stands for sample i of the original; where windows are missing, the samples are invalid
(NaN). Of records tokenized with --scale record, values from 0 to 1 come back, since a
corpus does not keep their limits.

FOLDER2 appears once it is whole, and must not exist.

example:
  python -m sktok restore corpus --tokenizer ecg.skops --out restored""",
    )
    parser.add_argument(
        "corpus", metavar="FOLDER", type=Path, help="corpus that `tokenize` wrote"
    )
    _add_tokenizer(parser)
    parser.add_argument(
        "--out", required=True, metavar="FOLDER2", type=Path, help="folder to write"
    )
    _add_quiet(parser)


def _add_inspect(commands):
    parser = _add_command(
        commands,
        _inspect,
        "tell what a tokenizer or a corpus is",
        """\
Tell what a tokenizer is: vocabulary, windows, training. With records, tell what it
makes of them too: rate, distortion, and what is wrong. Or tell what a corpus holds.
Prints lines of text, or JSON, and writes nothing.

examples:
  python -m sktok inspect ecg.skops
  python -m sktok inspect ecg.skops mitdb/100
  python -m sktok inspect corpus --json""",
    )
    parser.add_argument(
        "path",
        metavar="FILE",
        type=Path,
        help=f"{_TOKENIZER}; or the folder of a corpus",
    )
    parser.add_argument("records", nargs="*", metavar="RECORD", help=_RECORD)
    parser.add_argument("--json", action="store_true", help="print the same as JSON")
    _add_missing(parser)
    _add_lead(parser)


def _add_tokenizer(parser):
    parser.add_argument(
        "--tokenizer", required=True, metavar="FILE", type=Path, help=_TOKENIZER
    )


def _add_lead(parser):
    parser.add_argument(
        "--channel",
        type=lambda text: int(text) if text.isdecimal() else text,
        default=0,
        metavar="LEAD",
        help="name of the lead, or its index from 0 (default: %(default)s)",
    )
    parser.add_argument(
        "--scale",
        choices=["record"],
        help="scale each record to [0, 1] by its own smallest and largest sample; if "
        "a tokenizer was trained so, it is to be used so (default: keep the unit)",
    )


def _add_missing(parser):
    parser.add_argument(
        "--missing",
        choices=["raise", "drop"],
        default="raise",
        help="windows with invalid samples are an error, or left out (default: "
        "%(default)s)",
    )


def _add_quiet(parser):
    parser.add_argument(
        "--quiet",
        action="store_true",
        help="show no progress, as if the standard error were no terminal",
    )


def _count(text, least=1):
    """An int that is not too small, for argparse."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected an int of at least {least}"
        )
    return int(text)


def _is_verbose(arguments):
    return not arguments.quiet and sys.stderr.isatty()


def _fit(arguments):
    from sktok.persistence import save

    out = arguments.out
    if out.is_dir() or (out.exists() and not arguments.overwrite):
        raise FileExistsError(
            f"{out} exists: choose another name, or give --overwrite for a file."
        )
    _require_writable(out.parent)
    _require_distinct(arguments.records + arguments.test)
    train, test = _load_train_and_test(arguments)
    tokenizer = make_tokenizer(
        arguments.block_size,
        arguments.n_tokens,
        max_steps=arguments.max_steps,
        random_state=arguments.seed,
        verbose=_is_verbose(arguments),
    ).fit(train.data)
    tokenizer.set_params(tokenize__verbose=0)
    save(tokenizer, out)
    print(_as_lines(_tokenizer_facts(out, tokenizer)))
    print(f"\nOn the records that it was trained on:\n{_describe(tokenizer, train)}")
    if test:
        print(f"\nOn the records of --test:\n{_describe(tokenizer, test)}")


def _require_writable(folder):
    """Make a folder, and raise before the training if it takes no file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(
            f"The folder {folder} cannot be written to ({error.strerror}): choose "
            "another."
        ) from error


def _require_distinct(records):
    seen = set()
    for record in records:
        if Path(record).resolve() in seen:
            raise ValueError(f"The record {record} is named twice: name it once.")
        seen.add(Path(record).resolve())


def _load_train_and_test(arguments):
    """Two Bunches that fit together, the second of them None without --test."""
    train = _load_records(arguments, arguments.records, arguments.window_length)
    if not arguments.test:
        return train, None
    test = _load_records(arguments, arguments.test, arguments.window_length)
    if (test.fs, test.unit) != (train.fs, train.unit):
        raise ValueError(
            f"The records of --test have fs={test.fs} and unit={test.unit!r}, and "
            f"those to train on fs={train.fs} and unit={train.unit!r}: resample or "
            "convert them."
        )
    return train, test


def _load_records(arguments, paths, window_length):
    from sktok.datasets import load_wfdb

    return load_wfdb(
        paths,
        channel=arguments.channel,
        window_length=window_length,
        scale=arguments.scale,
        missing=arguments.missing,
    )


def _describe(tokenizer, ecg):
    from sktok.metrics import describe

    return describe(tokenizer, ecg.data, fs=ecg.fs, unit=ecg.unit)


def _tokenize(arguments):
    from sktok.corpus import write_corpus
    from sktok.datasets import record_names

    _require_distinct(arguments.records)
    names = list(map(str, record_names(arguments.records)))
    for name in arguments.validation_records or ():
        if name not in names:
            raise ValueError(
                f"--validation-records names {name}, but the records are "
                f"{', '.join(names)}."
            )
    tokenizer = _load_tokenizer(arguments.tokenizer)
    corpus = write_corpus(
        arguments.out,
        arguments.records,
        tokenizer,
        validation=arguments.validation_records or arguments.validation,
        channel=arguments.channel,
        scale=arguments.scale,
        verbose=_is_verbose(arguments),
    )
    print(_as_lines(_corpus_facts(arguments.out, corpus)))


def _load_tokenizer(path):
    from sktok.persistence import load

    if Path(f"{path}.hea").is_file():
        raise ValueError(
            f"{path} is a record: the file of a tokenizer is expected here."
        )
    try:
        return load(path)
    except ValueError as error:
        error.add_note(
            "A pickle, as joblib.dump writes it, can run any code, and is not read: "
            "load it in Python if you trust it, and write it by sktok.persistence.save."
        )
        raise


def _restore(arguments):
    from tqdm import tqdm

    from sktok.corpus import read_corpus

    out, corpus = arguments.out, read_corpus(arguments.corpus)
    if out.exists():
        raise FileExistsError(f"{out} exists: choose another name, or delete it first.")
    tokenizer = _load_tokenizer(arguments.tokenizer)
    corpus.vocabulary.check(tokenizer)
    names = _wfdb_names(corpus.records)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=out.parent, prefix=f".{out.name}."
    ) as temporary:
        unfinished = Path(temporary, out.name)
        unfinished.mkdir()
        for name, record in tqdm(
            names.items(), unit="record", disable=not _is_verbose(arguments)
        ):
            signal = _restored_signal(record, corpus, tokenizer)
            _write_record(unfinished, name, record, signal)
        os.rename(unfinished, out)
    print(_as_lines({"folder": str(out), "records": len(names)}))


def _wfdb_names(records):
    """The records by names that WFDB allows."""
    names = {}
    for record in records:
        name = re.sub(r"[^\w-]+", "_", record["record"], flags=re.ASCII)
        if name in names:
            raise ValueError(
                f"The records {names[name]['record']} and {record['record']} would "
                f"both be restored as {name}: tokenize them apart."
            )
        if record["fs"] is None:
            raise ValueError(
                f"The corpus does not tell the sampling frequency of record "
                f"{record['record']}, which a WFDB record needs: restore its ids by "
                "sktok.corpus.Vocabulary.restore."
            )
        names[name] = record
    return names


def _restored_signal(record, corpus, tokenizer):
    """The windows of a record where they were, and NaN between them."""
    from sktok.datasets import LONGEST_GAPS

    length = corpus.vocabulary.window_length
    ids = corpus[record["split"]][record["first"] :][: record["n_ids"]]
    windows = corpus.vocabulary.restore(ids, tokenizer)
    starts = np.concatenate([s + length * np.arange(n) for s, n in record["runs"]])
    n_samples = int(starts.max()) + length
    is_possible = starts.min() >= 0 and n_samples - windows.size <= LONGEST_GAPS
    if len(windows) != len(starts) or not is_possible:
        raise ValueError(
            f"The ids of record {record['record']} are not those of its windows, or "
            "these do not lie where they could: write the corpus anew."
        )
    signal = np.full(n_samples, np.nan)
    signal[starts[:, np.newaxis] + np.arange(length)] = windows
    return signal


def _write_record(folder, name, record, signal):
    """A WFDB record whose steps are as fine as 16 bits allow."""
    import wfdb

    is_empty = np.isnan(signal).all()  # which wfdb finds no steps for
    wfdb.wrsamp(
        name,
        fs=record["fs"],
        units=[record["unit"] or "NU"],  # WFDB's "no unit"
        sig_name=[record.get("lead") or "ECG"],
        p_signal=signal[:, np.newaxis],
        fmt=["16"],
        adc_gain=[1.0] if is_empty else None,
        baseline=[0] if is_empty else None,
        comments=[f"restored from tokens by sktok {__version__}"],
        write_dir=str(folder),
    )


def _inspect(arguments):
    description = None
    if arguments.path.is_dir():
        from sktok.corpus import read_corpus

        if arguments.records:
            raise ValueError(
                f"{arguments.path} is a folder: to try records, give the file of a "
                "tokenizer."
            )
        facts = _corpus_facts(arguments.path, read_corpus(arguments.path))
    else:
        if not (arguments.path.exists() or Path(f"{arguments.path}.hea").exists()):
            raise FileNotFoundError(
                f"There is no tokenizer and no corpus {arguments.path}."
            )
        tokenizer = _load_tokenizer(arguments.path)
        facts = _tokenizer_facts(arguments.path, tokenizer)
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
        print(_as_lines(facts))
        if description:
            print(f"\nOn the records given:\n{description}")


def _tokenizer_facts(path, tokenizer):
    """What is known of a tokenizer, by name, ready for JSON."""
    from sktok.corpus import Vocabulary

    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    n_bits = math.log2(vocabulary.n_tokens) * vocabulary.tokens_per_window
    facts = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "saved_by_sktok": _release(path),
        "fingerprint": vocabulary.fingerprint,
        "n_tokens": vocabulary.n_tokens,
        "window_length": vocabulary.window_length,
        "tokens_per_window": vocabulary.tokens_per_window,
        "bits_per_sample_at_most": round(n_bits / vocabulary.window_length, 4),
        "estimators": [],
    }
    for step in _steps(tokenizer):
        facts["estimators"].append(type(step).__name__)
        if hasattr(step, "block_size"):
            facts["block_size"] = step.block_size
        is_first = len(facts["estimators"]) == 1  # others scale no signal, but shapes
        if is_first and hasattr(step, "data_range_"):
            low = step.data_min_
            facts["amplitude_range"] = [low, low + step.data_range_]
        if hasattr(step, "loss_curve_"):
            facts["training_steps"] = step.n_steps_
            facts["last_training_loss"] = step.loss_curve_[-1]
            facts["training_is_complete"] = step.is_complete_
    return facts


def _steps(tokenizer):
    """The estimators that a tokenizer consists of, in order."""
    for step in steps_of(tokenizer):
        yield step
        if hasattr(step, "tokenizer_"):
            yield from _steps(step.tokenizer_)


def _release(path):
    """The release of sktok that wrote a file, as the file says, or None."""
    with zipfile.ZipFile(path) as archive:
        schema = archive.read("schema.json").decode()
    found = re.search(r'"_sktok_version": {[^}]*"content": "\\"([^"\\]*)', schema)
    return found and found[1]


def _corpus_facts(folder, corpus):
    """What is known of a corpus, by name, ready for JSON."""
    vocabulary, record = corpus.vocabulary, next(iter(corpus.records), {})
    facts = {
        "folder": str(folder),
        "fingerprint": vocabulary.fingerprint,
        "n_tokens": vocabulary.n_tokens,
        "window_length": vocabulary.window_length,
        "tokens_per_window": vocabulary.tokens_per_window,
        "dtype": vocabulary.dtype.name,
        "fs": record.get("fs"),
        "unit": record.get("unit"),
        "leads": sorted({record.get("lead") or "unknown" for record in corpus.records}),
    }
    for split in ("train", "val"):
        records = [record for record in corpus.records if record["split"] == split]
        facts[split] = {
            "records": len(records),
            "patients": len({record["group"] for record in records}),
            "windows": sum(n for record in records for _, n in record["runs"]),
            "missing_windows": int(
                np.count_nonzero(corpus[split] == vocabulary.missing_id)
            ),
            "ids": len(corpus[split]),
        }
    return facts


def _as_lines(facts):
    """Names and values for a reader."""
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            counts = [f"{n:,} {what.replace('_', ' ')}" for what, n in value.items()]
            value = ", ".join(counts)
        elif isinstance(value, list):
            value = ", ".join(map(_as_text, value))
        lines.append(f"{name.replace('_', ' '):<24}{_as_text(value)}")
    return "\n".join(lines)


def _as_text(value):
    if value is None:
        return "unknown"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
