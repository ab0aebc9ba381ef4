"""How many threads torch computes with, and locks that survive a fork."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from joblib.parallel import get_active_backend

if hasattr(os, "register_at_fork"):
    # GNU OpenMP waits for ever for threads that do not exist in a fork.
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def fork_safe_lock():
    """A lock that no other thread holds at the moment of a fork.

    A fork copies a lock as it is, but not the thread that would release it, so a copy
    of a held lock stays held for ever.
    """
    lock = threading.RLock()  # the forking thread may hold it already
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lock.acquire,
            after_in_parent=lock.release,
            after_in_child=lock.release,
        )
    return lock


_lock = fork_safe_lock()


def n_threads():
    """Number of threads that torch may use here.

    It is torch's own setting, except in a thread of joblib or Dask, which shares the
    cores with others: there it is 1. (joblib limits its processes by itself.)
    """
    backend, _ = get_active_backend()
    # In Dask's workers, joblib's backend is Dask again, not one nested in it.
    is_nested = backend.nesting_level or "Dask" in type(backend).__name__
    is_worker = threading.current_thread() is not threading.main_thread()
    return 1 if is_worker and is_nested else torch.get_num_threads()


@contextmanager
def limited_threads(n):
    """Let torch compute with `n` threads here; other threads keep their number."""
    before = torch.get_num_threads()
    _set_here(n)
    try:
        yield
    finally:
        _set_here(before)


def _set_here(n):
    """Set the number of torch's threads for computations that start in this thread.

    `torch.set_num_threads` also sets the default of future threads. That default is
    restored by another thread, because setting it sets the caller's number as well.
    """
    if torch.get_num_threads() != n:
        with _lock, ThreadPoolExecutor(1) as other_thread:
            default = other_thread.submit(torch.get_num_threads).result()
            torch.set_num_threads(n)
            other_thread.submit(torch.set_num_threads, default).result()
