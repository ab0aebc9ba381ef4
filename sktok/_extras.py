"""Imports of optional dependencies."""

from contextlib import contextmanager


@contextmanager
def needs_extra(name):
    """Add the command that installs an extra to an `ImportError` in the block."""
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{error}: pip install 'sktok[{name}]'") from error
