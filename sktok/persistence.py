"""Fitted tokenizers in files that run no code when they are loaded.

A pickle, which :func:`joblib.dump` writes, can run any code when it is loaded. The
files of :func:`save` hold arrays, numbers, strings, and the names of known types, in
the format of skops; :func:`load` refuses whatever else is in them.
"""

import copy
import io
import os
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.pipeline import Pipeline

from sktok._blocks import BlockSegmenter
from sktok._gain_shape import GainShapeTokenizer
from sktok._quantizers import BinQuantizer, VectorQuantizer
from sktok._scaling import AmplitudeScaler
from sktok._tokenizer import ConvAETokenizer

__all__ = ["load", "save"]

_ESTIMATORS = (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    ConvAETokenizer,
    GainShapeTokenizer,
    VectorQuantizer,
)
# Beside scikit-learn's and numpy's. Networks are named, as parameters, and not called.
_TRUSTED = [
    *(f"{cls.__module__}.{cls.__qualname__}" for cls in (*_ESTIMATORS, range, partial)),
    "sktok.networks.ContextualAutoencoder",
    "sktok.networks.DimReduction",
]
_LONGEST_WINDOW = 2**24  # samples: a file that asks for more memory is refused


def save(tokenizer, path):
    """Write a fitted tokenizer to a file that runs no code when it is loaded.

    The file appears once it is whole: an interruption, or a full disk, leaves what was
    there before.

    Parameters
    ----------
    tokenizer : estimator or Pipeline
        Made of estimators of sktok and scikit-learn; of a search, the best one.

    path : path-like
        Name of the file, such as ``"tokenizer.skops"``, which is replaced if it exists.

    Raises
    ------
    OSError
        If the file cannot be written.
    TypeError
        If the tokenizer holds what such a file cannot, as a network of one's own.

    See Also
    --------
    load : The inverse.

    Notes
    -----
    A Pipeline is saved without its cache (`memory`). A tokenizer that `partial_fit` has
    not completed can be trained on where it is loaded.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sktok import make_tokenizer
    >>> from sktok.datasets import load_ecg
    >>> from sktok.persistence import load, save
    >>> X = load_ecg().data
    >>> tokenizer = make_tokenizer(max_steps=20, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(tokenizer, Path(folder, "tokenizer.skops"))
    ...     loaded = load(Path(folder, "tokenizer.skops"))
    >>> bool((loaded.transform(X) == tokenizer.transform(X)).all())
    True
    """
    import skops.io

    tokenizer = getattr(tokenizer, "best_estimator_", tokenizer)  # of a search
    if isinstance(tokenizer, Pipeline):
        tokenizer = copy.copy(tokenizer).set_params(memory=None)
    try:
        content = skops.io.dumps(tokenizer)
        foreign = set(skops.io.get_untrusted_types(data=content)) - set(_TRUSTED)
    except Exception as error:  # of many types, by what it cannot hold
        raise TypeError(_cannot_hold(error)) from error
    if foreign:
        raise TypeError(_cannot_hold(", ".join(sorted(foreign))))
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.partial")
    with open(unfinished, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def _cannot_hold(what):
    return (
        f"The tokenizer holds what no file may that runs no code when loaded ({what}), "
        "such as a network of your own: use joblib.dump, for people who trust you."
    )


def load(path):
    """Read a tokenizer that `save` wrote; no code of the file runs.

    Parameters
    ----------
    path : path-like
        Name of the file.

    Returns
    -------
    estimator or Pipeline
        The fitted tokenizer, on the CPU. Its tokens are those of the one saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, is of a later version of the format, or holds anything
        else than a tokenizer of sktok.

    See Also
    --------
    save : Has an example.
    """
    import skops.io

    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no tokenizer {path}.") from error
    try:
        _check_files(content)
        tokenizer = skops.io.loads(content, trusted=_TRUSTED)
        _rehearse(tokenizer)
    except Exception as error:  # a damaged file leads to errors of any type
        raise ValueError(
            f"{path} is damaged, or holds no tokenizer that sktok.persistence.save "
            f"wrote; nothing of it was run. {type(error).__name__}: {error}"
        ) from error
    return tokenizer


def _check_files(content):
    """Raise if the archive unpacks to more than it is, or to numbers that are none."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(file.file_size for file in archive.infolist()) > len(content):
            raise ValueError("what it unpacks to is larger than the file")
        for name in archive.namelist():
            if name.endswith(".npy"):
                array = np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
                if array.dtype.kind == "f" and not np.isfinite(array).all():
                    raise ValueError(f"{name} has values that are not finite")


def _rehearse(tokenizer):
    """Raise unless a tokenizer turns one window into tokens and back, or refuses it."""
    if not isinstance(tokenizer, (Pipeline, *_ESTIMATORS)):
        raise TypeError(f"it holds a {type(tokenizer).__name__}")
    row_shape = getattr(tokenizer, "row_shape_", (tokenizer.n_features_in_,))
    if np.prod(row_shape, dtype=float) > _LONGEST_WINDOW:
        raise ValueError(f"it has windows of shape {row_shape}")
    try:
        tokens = tokenizer.transform(np.zeros((1, *row_shape)))
    except ValueError:  # such as for a signal that is never near 0
        return
    tokenizer.inverse_transform(tokens)
