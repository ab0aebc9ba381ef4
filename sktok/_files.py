"""Files and folders that are whole or absent, and the locks of folders.

Everything is written to a hidden sibling and renamed when it is complete. After an
error, a kill or a full disk, the old file is still there, or no folder is.
"""

import json
import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def whole_file(path):
    """Open a file to write in binary mode; it takes its name when it is complete.

    A link of that name is replaced, and its target is kept. A killed process leaves a
    hidden file named ``.NAME.*.partial``, which can be deleted.

    Parameters
    ----------
    path : path-like
        Name of the file, which is replaced if it exists.

    Yields
    ------
    file : binary file
        Open for writing.
    """
    path = Path(path)
    # Each call has a new name and creates the file: two writers never share it, and
    # nothing is written through a link.
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with open(staged, "xb") as file:
            yield file
            sync(file)
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder, *, resume=False):
    """Yield a hidden folder to write to; it takes its name when the block ends.

    One process at a time may write to it. A killed process leaves the hidden folder
    and a lock file, and the next call removes both or continues there.

    Parameters
    ----------
    folder : path-like
        Name of the folder, which must not exist.

    resume : bool, default=False
        Whether the hidden folder is kept after an error, so that the next call
        continues there. Otherwise it is removed, and each call starts with an empty
        one.

    Yields
    ------
    staged : Path
        The folder to write to.

    Raises
    ------
    FileExistsError
        If the folder exists, or the hidden one holds links or other folders.
    OSError
        If another process writes to the same folder, or the disk is full.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(folder):
        if os.path.lexists(folder):
            raise FileExistsError(f"{folder} exists: choose another name or delete it.")
        kind = "partial" if resume else "staged"
        staged = folder.with_name(f".{folder.name}.{kind}")
        if not resume:
            shutil.rmtree(staged, ignore_errors=True)  # of a killed process
        staged.mkdir(exist_ok=True)
        for path in (staged, *staged.iterdir()):
            if path.is_symlink() or not (path == staged or path.is_file()):
                raise FileExistsError(
                    f"{path} is a link, a folder or a special file, which sktok does "
                    "not create there: delete it."
                )
        try:
            yield staged
            for path in filter(Path.is_file, staged.rglob("*")):
                with open(path, "rb+") as file:
                    sync(file)
            os.rename(staged, folder)
        except OSError as error:
            error.add_note(f"{folder} is incomplete: fix it and run the command again.")
            raise
        finally:
            if not resume:
                shutil.rmtree(staged, ignore_errors=True)


@contextmanager
def _lock(folder):
    """Keep other processes from writing to the same folder; a kill releases it.

    The lock file is a sibling of the folder. It is removed last and while it is held:
    a process that waits for it or creates it again finds the folder complete.
    """
    path = folder.with_name(f".{folder.name}.lock")
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise OSError(f"Another process is writing to {folder}.") from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows does not remove an open file
            path.unlink()
        lock.release()


def sync(file):
    """Write everything that a file buffers to the disk."""
    file.flush()
    os.fsync(file.fileno())


def write_json(path, content):
    """Write a JSON file that is whole or absent."""
    with whole_file(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def parse_json(content, path):
    """Parse JSON bytes; `path` names the file in the error."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def read_json(path, *, expected, version):
    """Read a JSON file that names `expected` as its format.

    Parameters
    ----------
    path : path-like
        Name of the file.

    expected : str
        Name of the format.

    version : tuple of int
        The versions of the format that can be read.

    Returns
    -------
    dict
        The content of the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not JSON, or has another format or another version of it.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no {expected} file {path}.")
    content = parse_json(Path(path).read_bytes(), path)
    if not isinstance(content, dict) or content.get("format") != expected:
        raise ValueError(f'{path} is not a {expected} file: it has another "format".')
    if content.get("version") not in version:
        raise ValueError(
            f"{path} has version {content.get('version')!r} of the format, expected "
            f"{' or '.join(map(str, version))}: use the release of sktok that wrote it."
        )
    return content
