"""Fitted tokenizers in files that run no code when they are loaded.

A pickle, which :func:`joblib.dump` writes, can run any code when it is loaded. The
files of :func:`save` hold arrays, numbers, strings, and the names of known types, in
the format of skops; :func:`load` refuses whatever else is in them.
"""

import copy
import io
import json
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from sklearn.pipeline import Pipeline

from sktok._blocks import BlockSegmenter
from sktok._gain_shape import GainShapeTokenizer
from sktok._quantizers import BinQuantizer, VectorQuantizer
from sktok._rows import LONGEST_WINDOW
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
_NETWORKS = "sktok.networks.ContextualAutoencoder", "sktok.networks.DimReduction"
# What a file may hold beside arrays and plain values: skops itself trusts all of
# scikit-learn, of which some read files or call functions that they are given.
_ALLOWED = {
    *(
        ("ObjectNode", f"{cls.__module__}.{cls.__qualname__}")
        for cls in (*_ESTIMATORS, Pipeline)
    ),
    *(("TypeNode", name) for name in ("builtins.int", "builtins.str", *_NETWORKS)),
    ("ConstructorFromReduceNode", "builtins.range"),
    ("PartialNode", "functools.partial"),
}
_PLAIN = "DictNode JsonNode ListNode NdArrayNode RandomStateNode TupleNode".split()
_TRUSTED = [name for _, name in _ALLOWED]


def save(tokenizer, path):
    """Write a fitted tokenizer to a file that runs no code when it is loaded.

    The file appears once it is whole: an interruption, or a full disk, leaves what was
    there before.

    Parameters
    ----------
    tokenizer : estimator or Pipeline
        Fitted estimators of sktok, in a Pipeline or by themselves; of a search, the
        best one.

    path : path-like
        Name of the file, such as ``"tokenizer.skops"``, which is replaced if it exists.

    Raises
    ------
    OSError
        If the file cannot be written.
    TypeError
        If the tokenizer holds what such a file may not, as a network of one's own, or
        other estimators of scikit-learn.

    See Also
    --------
    load : The inverse.

    Notes
    -----
    Pipelines are saved without their cache (`memory`). A tokenizer that `partial_fit`
    has not completed can be trained on where it is loaded.

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
    tokenizer = copy.deepcopy(tokenizer)
    _drop_cache(tokenizer)
    try:
        content = skops.io.dumps(tokenizer)
        _check_files(content)
    except Exception as error:  # of many types, by what it cannot hold
        raise TypeError(
            "The tokenizer holds what no file may that runs no code when it is loaded, "
            f"such as a network of your own ({error}): use joblib.dump, for people who "
            "trust you."
        ) from error
    path = Path(path)
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=f".{path.name}."
    ) as folder:
        unfinished = Path(folder, path.name)
        with open(unfinished, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)


def _drop_cache(tokenizer):
    """Forget where Pipelines cache: a folder that others may have filled."""
    for name in ("tokenizer", "tokenizer_"):
        if hasattr(tokenizer, name):
            _drop_cache(getattr(tokenizer, name))
    if isinstance(tokenizer, Pipeline):
        tokenizer.memory = None
        for _, step in tokenizer.steps:
            _drop_cache(step)


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
    save : Writes it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sktok import BinQuantizer
    >>> from sktok.datasets import load_ecg
    >>> from sktok.persistence import load, save
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "quantizer.skops")
    ...     save(BinQuantizer(16).fit(load_ecg().data), path)
    ...     load(path)
    BinQuantizer(n_bins=16)
    """
    import skops.io

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no tokenizer {path}.")
    content = path.read_bytes()
    try:
        _check_files(content)
        tokenizer = skops.io.loads(content, trusted=_TRUSTED)
        _rehearse(tokenizer)
        _drop_cache(tokenizer)
    except Exception as error:  # a damaged file leads to errors of any type
        raise ValueError(
            f"{path} is damaged, or holds no tokenizer that sktok.persistence.save "
            f"wrote; nothing of it was run. {type(error).__name__}: {error}"
        ) from error
    return tokenizer


def _check_files(content):
    """Raise if an archive holds anything but what belongs to a tokenizer.

    What it unpacks to must not be larger than it is, nor must it be read twice.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        sizes = {file.filename: file.file_size for file in archive.infolist()}
        if sum(file.file_size for file in archive.infolist()) > len(content):
            raise ValueError("what it unpacks to is larger than the file")
        for name in sizes:
            if name.endswith(".npy"):
                array = np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
                if array.dtype.kind == "f" and not np.isfinite(array).all():
                    raise ValueError(f"{name} has values that are not finite")
        _check_schema(archive.read("schema.json"), sizes)


def _check_schema(schema, sizes):
    """Raise if the schema names more than is allowed, or one file many times."""
    n_bytes = 0

    def check(node):
        nonlocal n_bytes
        loader = node.get("__loader__")
        name = f"{node.get('__module__')}.{node.get('__class__')}"
        if loader not in (None, *_PLAIN) and (loader, name) not in _ALLOWED:
            raise ValueError(f"it holds a {name}")
        n_bytes += sizes.get(node.get("file"), 0)
        if n_bytes > sum(sizes.values()):
            raise ValueError("it reads its arrays again and again")
        return node

    json.loads(schema, object_hook=check)


def _rehearse(tokenizer):
    """Raise unless a tokenizer turns a flat window into tokens and back."""
    if not isinstance(tokenizer, (Pipeline, *_ESTIMATORS)):
        raise TypeError(f"it holds a {type(tokenizer).__name__}")
    row_shape = getattr(tokenizer, "row_shape_", (tokenizer.n_features_in_,))
    if np.prod(row_shape, dtype=float) > LONGEST_WINDOW:
        raise ValueError(f"it has windows of shape {row_shape}")
    steps = [step for _, step in getattr(tokenizer, "steps", [("", tokenizer)])]
    first = next(step for step in steps if step not in ("passthrough", None))
    # At a level that it was fitted to: it may refuse another.
    level = np.median(getattr(first, "offsets_", getattr(first, "data_min_", 0.0)))
    tokens = tokenizer.transform(np.full((1, *row_shape), level))
    tokenizer.inverse_transform(tokens)
