"""The command line: records of ECG to tokens in files, and back.

`_parser` defines the arguments and imports nothing slow, `_commands` does the work, and
`_facts` describes tokenizers and corpora.
"""

import os
import re
import sys
import warnings

from sktok._command_line._parser import build_parser

# Arguments that messages of Python functions advise, and their options here.
_OPTIONS = {"channel": "--channel", "lead": "--channel", "fs": "--fs"}
_OPTIONS |= {"missing": "--missing", "validation": "--validation"}

# Of files, of their content, of the machine, of missing extras, and of training.
_ERRORS = OSError, TypeError, ValueError, MemoryError, ImportError, FloatingPointError


def main(argv=None):
    """Run a command and report errors, warnings and interruptions in one line each.

    Parameters
    ----------
    argv : list of str or None, default=None
        The arguments; `None` takes those of the process.

    Returns
    -------
    int
        The exit code: 0 if the command is done, 1 if the files or their content are
        wrong, 130 if it was interrupted. Wrong usage raises `SystemExit` with code 2.
    """
    _print_any_character()
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            arguments = build_parser().parse_args(argv)
            from sktok._command_line import _commands  # slow

            getattr(_commands, arguments.command)(arguments)
            _flush()
        except KeyboardInterrupt:
            print("sktok: interrupted", file=sys.stderr)
            return 130
        except _ERRORS as error:
            print(f"sktok: error: {_one_line(error)}", file=sys.stderr)
            return 1
    return 0


def _print_any_character():
    """Print characters that the encoding of a stream lacks, such as ², as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _show_warning(message, *_, **__):
    print(f"sktok: warning: {message}", file=sys.stderr)


def _flush():
    """Write buffered output now, while an error can still be reported."""
    try:
        sys.stdout.flush()
    except OSError:
        # Python flushes again when it exits, and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _one_line(error):
    """The message of an error, its notes, and the options that it is about."""
    message = str(error) or "There is not enough memory"
    parts = [message, *getattr(error, "__notes__", [])]
    found = {name for part in parts for name in re.findall(r"\b(\w+)=", part)}
    options = dict.fromkeys(o for name, o in _OPTIONS.items() if name in found)
    if options:
        parts.append(f"In the command line, see {' and '.join(options)}")
    return " ".join(". ".join(part.rstrip(".") for part in parts).split()) + "."
