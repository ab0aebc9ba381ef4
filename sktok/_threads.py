"""How many threads torch computes with, and where. Torch only."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from joblib.parallel import get_active_backend

_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    # OpenMP's threads do not live on in a fork, and GNU's waits for them for ever.
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def n_threads():
    """Threads that torch may use here.

    As many as it is set to; but one in a thread of joblib's, which shares the cores
    with others (in a process of joblib's, torch is set to its share already).
    """
    backend, _ = get_active_backend()
    # In dask's workers, joblib's backend is dask again, and not one nested in it.
    is_nested = backend.nesting_level or "Dask" in type(backend).__name__
    is_worker = threading.current_thread() is not threading.main_thread()
    return 1 if is_worker and is_nested else torch.get_num_threads()


@contextmanager
def limited_threads(n):
    """Let torch compute with `n` threads here; other threads keep their number."""
    found = torch.get_num_threads()
    _set_here(n)
    try:
        yield
    finally:
        _set_here(found)


def _set_here(n):
    """Set the number of torch's threads for computations that start in this thread.

    `torch.set_num_threads` also sets what threads to come begin with. That is put
    back, by another thread, since whoever sets it sets its own number as well.
    """
    if torch.get_num_threads() != n:
        with _lock, ThreadPoolExecutor(1) as other_thread:
            found = other_thread.submit(torch.get_num_threads).result()
            torch.set_num_threads(n)
            other_thread.submit(torch.set_num_threads, found).result()
