"""Arguments and help of the command line.

Each public function after `build_parser` defines the command of its name: its docstring
is the help. Nothing slow is imported here, so that ``--help`` and wrong usage are
answered at once.
"""

import argparse
import contextlib
import math
import sys
from functools import partial
from inspect import cleandoc
from pathlib import Path

from sktok import __version__

_CODER = "coder that `fit --coder` or sktok.persistence.save wrote"
_TOKENIZER = (
    "tokenizer that `fit` or sktok.persistence.save wrote, or the name of a pretrained "
    "one, such as ecg-31hz-v1"
)


def build_parser():
    """The parser; the arguments that it returns name their `command`."""
    parser = argparse.ArgumentParser(
        prog="sktok",
        description="Turn ECG in WFDB records and EDF files into tokens for a language "
        "model, and tokens back into WFDB records.",
        epilog="`sktok COMMAND --help` describes a command and has an example. Results "
        "go to the standard output, progress and errors to the standard error. Exit "
        "codes: 0 done, 1 wrong files or content, 2 wrong usage, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"sktok {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for define in (fit, tokenize, decode, compress, decompress, inspect):
        text = cleandoc(define.__doc__ or "")  # python -OO removes docstrings
        command = commands.add_parser(
            define.__name__,
            help=text.partition(".\n")[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        define(command)
    return parser


def fit(parser):
    """Train the recommended tokenizer (sktok.make_tokenizer) on records of ECG.

    Writes FILE, which `tokenize`, `decode` and sktok.persistence.load read; it
    loads without executing code. FILE keeps the sampling rate and unit of the
    records, and the lead if --channel names one. Prints rate and distortion on the
    training records. To measure them on unseen patients, hold out a share of the
    patients by --validation, or name records by --test.

    All records are held in memory. For larger archives, see sktok.streaming.

    examples:
      sktok fit mitdb/101 mitdb/106 --test mitdb/100 --out ecg.skops
      sktok fit ward --channel II --fs 250 --window-seconds 2 --patients ward.csv
        --validation 0.1 --out ecg.skops
    """
    _add_records(parser, "+")
    _add_missing(parser)
    _add_output(parser, "FILE")
    add = parser.add_argument
    add("--overwrite", action="store_true", help="replace FILE if it exists")
    text = "records to evaluate the tokenizer on; they are not trained on"
    add("--test", nargs="+", default=[], metavar="RECORD", help=text)
    text = (
        "approximate share of the patients to hold out and to evaluate the tokenizer "
        "on; `tokenize` with the same share puts them into val.bin (default: 0)"
    )
    add("--validation", type=float, default=0.0, metavar="SHARE", help=text)
    text = "also train a coder for `compress` on the training tokens, and write it"
    add("--coder", metavar="FILE", type=Path, help=text)
    for name, kind, default, meaning in (
        ("--block-size", _count, 10, "samples in a block, which becomes a token"),
        ("--n-tokens", _sizes, 256, "size of the vocabulary; 1024,512: of two stages"),
        ("--max-steps", _auto_or_count, "auto", "training steps; auto: by data size"),
        ("--seed", partial(_count, least=0), 0, "seed of the training"),
    ):
        text = f"{meaning} (default: %(default)s)"
        add(name, type=kind, default=default, metavar="N", help=text)
    text = "cost of a bit: 0.0005 and more reduce the rate (default: 0)"
    add("--rate-weight", type=_zero_or_positive, default=0.0, metavar="W", help=text)
    add = parser.add_mutually_exclusive_group().add_argument
    text = "samples that are tokenized together (default: 250)"
    add("--window-length", type=_count, metavar="N", help=text)
    text = "their duration in seconds, instead"
    add("--window-seconds", type=_positive, metavar="S", help=text)


def tokenize(parser):
    """Turn records of ECG into the corpus of a language model.

    Writes FOLDER, as sktok.corpus.write_corpus does: train.bin and val.bin, the ids
    of the records in sequence, flat uint16 (or uint32) for numpy.memmap;
    corpus.json, the vocabulary; and records.jsonl, the position of each lead of
    each record. A window with invalid samples becomes <missing>. `decode` and
    sktok.corpus.read_corpus read the folder.

    FOLDER must not exist. It appears when it is complete. To continue after an
    interruption, run the same command again.

    Records need the sampling rate of the training records: --fs resamples others.
    A pretrained tokenizer takes records of any rate, and resamples them to 250 Hz,
    or to --fs. Each record counts as one patient: if patients have several, name
    them by --patients.

    examples:
      sktok tokenize mitdb/100 --tokenizer ecg-31hz-v1 --out corpus
      sktok tokenize ward --channel all --fs 250 --patients ward.csv
        --validation 0.1 --tokenizer ecg.skops --out corpus
    """
    _add_records(parser, "+")
    _add_tokenizer(parser)
    _add_output(parser, "FOLDER")
    add = parser.add_mutually_exclusive_group().add_argument
    text = (
        "approximate share of the patients whose records go to val.bin, chosen by a "
        "hash of their names (default: 0)"
    )
    add("--validation", type=float, default=0.0, metavar="SHARE", help=text)
    text = (
        "names of the records for val.bin, or paths if two records share a name; all "
        "records of their patients go there"
    )
    add("--validation-records", nargs="+", metavar="NAME", help=text)


def decode(parser):
    """Turn a corpus of tokens back into WFDB records.

    Writes FOLDER, with one WFDB record for each record of the corpus: its leads in
    16 bits, with their names, unit and sampling rate. Characters that WFDB does not
    allow in names of records become _. Sample i corresponds to sample i of the
    original, at the rate of the corpus. Samples of missing windows are invalid
    (NaN). After --scale record, values are from 0 to 1, because a corpus does not
    store the limits of each record.

    FOLDER must not exist. It appears when it is complete.

    example:
      sktok decode corpus --tokenizer ecg.skops --out decoded
    """
    text = "folder of a corpus that `tokenize` wrote"
    parser.add_argument("corpus", metavar="CORPUS", type=Path, help=text)
    _add_tokenizer(parser)
    _add_output(parser, "FOLDER")


def compress(parser):
    """Compress a record of ECG to a small file.

    Writes FILE: the tokens of one record, compressed without loss by a coder
    (sktok.coding.TokenCoder), and its name, leads, unit and sampling rate. The
    error of the signal is that of the tokenizer. Prints the size, bits per sample,
    the ratio to a WFDB file in format 212 (12 bits a sample), and PRDN, the error
    in percent of the deviation of the record from its mean. `decompress` restores
    the record.

    Train the coder together with the tokenizer, by `fit --coder`.

    examples:
      sktok fit mitdb/101 mitdb/106 --out ecg.skops --coder coder.skops
      sktok compress mitdb/100 --tokenizer ecg.skops --coder coder.skops
        --out 100.sktok
    """
    _add_records(parser, 1)
    _add_missing(parser)
    _add_tokenizer(parser)
    _add_coder(parser)
    _add_output(parser, "FILE")
    text = "replace FILE if it exists"
    parser.add_argument("--overwrite", action="store_true", help=text)


def decompress(parser):
    """Turn a file of `compress` back into a WFDB record.

    Writes FOLDER, with one WFDB record as `decode` writes it.

    FOLDER must not exist. It appears when it is complete.

    example:
      sktok decompress 100.sktok --tokenizer ecg.skops --coder coder.skops
        --out decoded
    """
    text = "file that `compress` wrote"
    parser.add_argument("file", metavar="FILE", type=Path, help=text)
    _add_tokenizer(parser)
    _add_coder(parser)
    _add_output(parser, "FOLDER")


def inspect(parser):
    """Show the properties of a tokenizer or of a corpus.

    For a tokenizer: vocabulary, windows, sampling rate, unit, lead and training;
    with records, also rate, distortion and warnings on these records. For a corpus:
    vocabulary, records, leads and patients. Prints text, or JSON; writes nothing.

    examples:
      sktok inspect ecg.skops
      sktok inspect ecg.skops mitdb/100
      sktok inspect corpus --json
    """
    text = f"{_TOKENIZER}, or the folder of a corpus"
    parser.add_argument("path", metavar="FILE", type=Path, help=text)
    _add_records(parser, "*")
    _add_missing(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_records(parser, nargs):
    """Records, and how they are read."""
    add = parser.add_argument
    text = (
        "a WFDB record (its header or its path without extension), an EDF file, a "
        'folder of these, or a quoted pattern such as "ward/*.edf"'
    )
    if nargs == 1:
        text = "a WFDB record (its header or its path without extension) or an EDF file"
    add("records", nargs=nargs, metavar="RECORD", help=text)
    text = (
        "name of the lead, or its index from 0, or `all` (default: the leads that the "
        "tokenizer names, if there are several, or 0); may be repeated "
        "for several leads, which are tokenized one by one, or together if the "
        "tokenizer takes several"
    )
    add("--channel", type=_name_or_index, action="append", metavar="LEAD", help=text)
    text = "sampling rate to which records are resampled (default: keep their rate)"
    add("--fs", type=_positive, metavar="HZ", help=text)
    if nargs != 1:
        text = (
            "CSV file with the columns record and patient, for patients with several "
            "records (default: each record is a patient)"
        )
        add("--patients", type=Path, metavar="FILE", help=text)
    text = (
        "scale each record to [0, 1] by its smallest and largest sample; use a "
        "tokenizer with the option that it was trained with (default: keep the unit)"
    )
    add("--scale", choices=["record"], help=text)


def _add_missing(parser):
    text = "raise an error on windows with invalid samples (default), or drop them"
    choices = ["raise", "drop"]
    parser.add_argument("--missing", choices=choices, default="raise", help=text)


def _add_tokenizer(parser):
    add = parser.add_argument
    add("--tokenizer", required=True, metavar="FILE", type=Path, help=_TOKENIZER)


def _add_coder(parser):
    parser.add_argument(
        "--coder", required=True, metavar="FILE", type=Path, help=_CODER
    )


def _add_output(parser, kind):
    add, text = parser.add_argument, f"{kind.lower()} to write"
    add("--out", required=True, metavar=kind, type=Path, help=text)
    text = "show no progress; without a terminal, none is shown"
    is_shown = sys.stderr.isatty()
    add("--quiet", dest="verbose", action="store_false", default=is_shown, help=text)


def _count(text, least=1):
    """An int of at least `least`."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r}: expected an int from {least} up")
    return int(text)


def _sizes(text):
    """An int of at least 2, or a tuple of them."""
    sizes = tuple(_count(size, least=2) for size in text.split(","))
    return sizes if len(sizes) > 1 else sizes[0]


def _zero_or_positive(text):
    """A finite number from 0 up."""
    with contextlib.suppress(ValueError):
        number = float(text)
        if 0 <= number < math.inf:
            return number
    raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 0 up")


def _auto_or_count(text):
    return text if text == "auto" else _count(text)


def _positive(text):
    """A finite number above 0, an int if it is whole."""
    with contextlib.suppress(ValueError):
        number = float(text)
        if 0 < number < math.inf:
            return int(number) if number.is_integer() else number
    raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0")


def _name_or_index(text):
    return int(text) if text.isdecimal() else text
