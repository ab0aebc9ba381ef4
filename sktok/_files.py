"""Files and folders that are whole or absent, and locks.

Everything is written to a hidden sibling, and renamed once it is complete: an
interruption or a full disk leaves what was there before.
"""

import json
import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def whole_file(path):
    """Open a file to write in binary mode; it takes its name once it is complete.

    Parameters
    ----------
    path : path-like
        Name of the file, which is replaced if it exists.

    Yields
    ------
    file : binary file
        Open for writing, in a hidden sibling folder.
    """
    path = Path(path)
    # A new folder for each call: two writers never share it, and no link is followed.
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=f".{path.name}."
    ) as staging:
        staged = Path(staging, path.name)
        with open(staged, "xb") as file:
            yield file
            sync(file)
        os.replace(staged, path)


@contextmanager
def whole_folder(folder, *, resume_from=None):
    """Yield a hidden folder to write to; it takes its name once the block ends.

    Parameters
    ----------
    folder : path-like
        Name of the folder, which must not exist.

    resume_from : str or None, default=None
        If given, the hidden folder is named after it and outlives an error, so that
        the next call continues there; one process at a time may write to it. `None`
        starts with an empty folder and removes it after an error.

    Yields
    ------
    staged : Path
        The folder to write to.

    Raises
    ------
    FileExistsError
        If the folder exists, or the hidden one holds links or folders.
    OSError
        If another process writes to the same folder.
    """
    folder = Path(folder)
    _require_absent(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        if resume_from is None:
            with tempfile.TemporaryDirectory(
                dir=folder.parent, prefix=f".{folder.name}."
            ) as staging:
                staged = Path(staging, folder.name)
                staged.mkdir()
                yield staged
                os.rename(staged, folder)
        else:
            with _lock(folder):
                # The writer that held the lock before may have completed the folder.
                _require_absent(folder)
                staged = folder.with_name(f".{folder.name}.partial-{resume_from}")
                staged.mkdir(exist_ok=True)
                _require_plain_files(staged)
                yield staged
                os.rename(staged, folder)
    except OSError as error:
        error.add_note(
            f"{folder} is incomplete: fix the problem and run the command again."
        )
        raise


def _require_absent(folder):
    if folder.exists():
        raise FileExistsError(
            f"{folder} exists: choose another name, or delete it first."
        )


def _require_plain_files(staged):
    for path in (staged, *staged.iterdir()):
        if path.is_symlink() or not (path == staged or path.is_file()):
            raise FileExistsError(
                f"{path} is a link or no plain file, and sktok makes neither: delete "
                "it."
            )


@contextmanager
def _lock(folder):
    """Keep other processes from writing to the same folder; a kill releases it.

    The lock is a sibling of the folder, held until the folder has its name. It is
    removed while it is held: a process that opened it before finds the folder there.
    """
    path = folder.with_name(f".{folder.name}.lock")
    lock = FileLock(path, blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise OSError(f"Another process is writing to {folder}.") from error
    try:
        yield
        with suppress(OSError):  # Windows does not remove an open file
            path.unlink()
    finally:
        lock.release()


def sync(file):
    """Write what a file buffers to the disk."""
    file.flush()
    os.fsync(file.fileno())


def write_json(path, content):
    """Write a JSON file that is whole or absent."""
    with whole_file(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def parse_json(content, path):
    """The value that JSON bytes hold; `path` names the file in the error."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def read_json(path, *, expected, version):
    """The content of a JSON file that names `expected` as its format.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no JSON, of another format, or of another version of it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no {expected} file {path}.")
    content = parse_json(path.read_bytes(), path)
    if not isinstance(content, dict) or content.get("format") != expected:
        raise ValueError(
            f'{path} is not a {expected} file: it does not have "format": "{expected}".'
        )
    if content.get("version") != version:
        raise ValueError(
            f"{path} has version {content.get('version')!r} of the format, and this "
            f"release of sktok reads version {version}: use the release that wrote it."
        )
    return content
