"""Files and folders that are whole or absent."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from sktok import _files
from sktok._files import read_json, whole_file, whole_folder, write_json

KILLED = """
import os, sys
from sktok._files import {writer}
with {writer}(sys.argv[1], **{options}) as staged:
    {write}
    os._exit(9)  # without any clean-up, as after a kill
"""


class Failed(Exception):
    pass


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def is_killed(path, writer, write, **options):
    script = KILLED.format(writer=writer, write=write, options=options)
    return subprocess.run([sys.executable, "-c", script, path]).returncode == 9


def write_in(folder, **options):
    with whole_folder(folder, **options) as staged:
        (staged / "file").write_text("new")


# --- files


def test_a_file_is_replaced_when_it_is_complete(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with whole_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert names_in(tmp_path) == ["file", "plain"]


@pytest.mark.parametrize("error", [Failed, OSError, KeyboardInterrupt])
def test_after_an_error_the_old_file_is_there(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail():
        with whole_file(path) as file:
            file.write(b"new")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


def test_after_a_kill_the_old_file_is_there_and_can_be_replaced(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    assert is_killed(path, "whole_file", "staged.write(b'new'); staged.flush()")
    assert path.read_bytes() == b"old"
    with whole_file(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_no_file_is_written_through_a_link(tmp_path):
    path, target = tmp_path / "file", tmp_path / "target"
    target.write_bytes(b"mine")
    path.symlink_to(target)
    with whole_file(path) as file:
        file.write(b"new")
    assert (path.is_symlink(), path.read_bytes()) == (False, b"new")
    assert target.read_bytes() == b"mine"


def test_two_writers_leave_one_whole_file(tmp_path):
    def write(number):
        write_json(
            tmp_path / "file", {"format": "x", "version": 1, "n": [number] * 500}
        )

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(200)))
    content = read_json(tmp_path / "file", expected="x", version=(1, 2))
    assert len(content["n"]) == 500
    assert len(set(content["n"])) == 1
    assert names_in(tmp_path) == ["file"]


# --- folders


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_takes_its_name_when_it_is_complete(tmp_path, resume):
    folder = tmp_path / "parent" / "folder"
    with whole_folder(folder, resume=resume) as staged:
        (staged / "file").write_text("new")
        assert not folder.exists()
    assert (folder / "file").read_text() == "new"
    assert names_in(folder.parent) == ["folder"]


@pytest.mark.parametrize("error", [Failed, OSError, KeyboardInterrupt])
@pytest.mark.parametrize("resume", [False, True])
def test_after_an_error_there_is_no_folder(tmp_path, error, resume):
    def fail():
        with whole_folder(tmp_path / "folder", resume=resume) as staged:
            (staged / "first").touch()
            raise error

    with pytest.raises(error) as raised:
        fail()
    notes = getattr(raised.value, "__notes__", [])
    assert bool(notes) == (error is OSError)
    assert all("run the command again" in note for note in notes)
    assert names_in(tmp_path) == [".folder.partial"] * resume
    write_in(tmp_path / "folder", resume=resume)
    assert names_in(tmp_path / "folder") == ["file"] + ["first"] * resume
    assert names_in(tmp_path) == ["folder"]


@pytest.mark.parametrize("resume", [False, True])
def test_a_kill_frees_the_folder(tmp_path, resume):
    folder = tmp_path / "folder"
    write = "(staged / 'first').touch()"
    assert is_killed(folder, "whole_folder", write, resume=resume)
    assert not folder.exists()
    write_in(folder, resume=resume)
    assert names_in(folder) == ["file"] + ["first"] * resume
    assert names_in(tmp_path) == ["folder"]


@pytest.mark.parametrize("resume", [False, True])
def test_the_lock_is_held_until_the_folder_has_its_name(tmp_path, monkeypatch, resume):
    folder, rename = tmp_path / "folder", os.rename

    def refused():
        with pytest.raises(OSError, match="Another process is writing"):
            write_in(folder, resume=resume)

    def rename_after_a_second_writer(source, target):
        refused()
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_after_a_second_writer)
    with whole_folder(folder, resume=resume) as staged:
        (staged / "file").write_text("old")
        refused()
    assert (folder / "file").read_text() == "old"
    assert names_in(tmp_path) == ["folder"]


def test_a_writer_that_gets_the_lock_finds_the_folder_complete(tmp_path, monkeypatch):
    folder, acquire = tmp_path / "folder", _files.FileLock.acquire

    def acquire_late(lock, **options):
        folder.mkdir()  # by the process that held the lock before
        return acquire(lock, **options)

    monkeypatch.setattr(_files.FileLock, "acquire", acquire_late)
    with pytest.raises(FileExistsError, match="choose another name"):
        write_in(folder, resume=True)
    assert names_in(tmp_path) == ["folder"]


@pytest.mark.parametrize("resume", [False, True])
def test_one_of_many_writers_completes_the_folder(tmp_path, resume):
    folder = tmp_path / "folder"

    def write(number):
        """Try until the folder exists; whether this writer completed it."""
        while not folder.exists():
            with suppress(OSError), whole_folder(folder, resume=resume) as staged:
                with open(staged / "file", "x") as file:
                    file.write(f"{number}")
                return True
        return False

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(write, range(8))) == 1
    assert names_in(tmp_path) == ["folder"]
    assert names_in(folder) == ["file"]


@pytest.mark.parametrize("kind", ["folder", "file", "link", "dangling link"])
def test_what_has_the_name_is_kept(tmp_path, kind):
    path = tmp_path / "name"
    if kind == "folder":
        path.mkdir()
    elif kind == "file":
        path.touch()
    else:
        path.symlink_to(tmp_path if kind == "link" else tmp_path / "nothing")
    with pytest.raises(FileExistsError, match="choose another name") as raised:
        write_in(path)
    assert not hasattr(raised.value, "__notes__")
    assert names_in(tmp_path) == ["name"]


@pytest.mark.parametrize("name", ["", "file", ".lock", "folder"])
@pytest.mark.parametrize("resume", [False, True])
def test_no_folder_is_written_through_a_link(tmp_path, name, resume):
    kind, elsewhere = "partial" if resume else "staged", tmp_path / "elsewhere"
    elsewhere.mkdir()
    staged = tmp_path / f".new.{kind}"
    if name == ".lock":
        (tmp_path / ".new.lock").symlink_to(elsewhere)
    elif name:
        staged.mkdir()
        (staged / name).symlink_to(elsewhere)
    else:
        staged.symlink_to(elsewhere)
    if resume or name in ("", ".lock"):
        with pytest.raises(OSError, match=r"is a link|symbolic links"):
            write_in(tmp_path / "new", resume=resume)
        assert not (tmp_path / "new").exists()
    else:  # an old folder is removed with its links
        write_in(tmp_path / "new")
    assert list(elsewhere.iterdir()) == []


# --- JSON


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not valid JSON"),
        (b"[" * 100_000, "is not valid JSON"),
        (b"\xff", "is not valid JSON"),
        (b"[]", "is not a x file"),
        (b'{"format": "y", "version": 1}', "is not a x file"),
        (b'{"format": "x"}', "has version None of the format, expected 1 or 2"),
        (b'{"format": "x", "version": 3}', "use the release of sktok that wrote it"),
    ],
)
def test_other_json_is_refused(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_json(tmp_path / "file", expected="x", version=(1, 2))


def test_a_missing_json_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no x file"):
        read_json(tmp_path / "file", expected="x", version=(1, 2))
