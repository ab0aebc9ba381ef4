"""Files of fitted tokenizers that load without executing code.

A pickle, which :func:`joblib.dump` writes, can execute any code when it is loaded. The
files of :func:`save` are in the format of skops and hold arrays, numbers, strings and
the names of known types. :func:`load` refuses everything else.
"""

import copy
import io
import json
import math
import re
import warnings
import zipfile
from functools import cache
from itertools import takewhile
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

import sktok
from sktok._estimator import check_format, is_fitted
from sktok._files import whole_file
from sktok._rows import LONGEST_WINDOW
from sktok._steps import input_shape, steps_of, walk, without_search

__all__ = ["load", "save", "trusted_types"]

_PLAIN = "DictNode JsonNode ListNode NdArrayNode RandomStateNode TupleNode".split()
_SAVED_BY = re.compile(
    r'"_sktok_(format|version)": \{[^{}]*"content": "(?:\\")?([\w.+]{1,40})'
)


def save(tokenizer, path):
    """Write a fitted tokenizer to a file that loads without executing code.

    The file gets its name once it is complete. After an interruption or a full disk,
    the previous file is unchanged.

    Parameters
    ----------
    tokenizer : estimator or Pipeline
        Fitted estimators of sktok, alone or in a Pipeline; it and its steps may be in a
        :class:`~sklearn.frozen.FrozenEstimator`. Of a search, the best estimator is
        saved. The last steps of a Pipeline need not be fitted yet. A fitted
        :class:`~sktok.coding.TokenCoder` is saved in the same way.

    path : path-like
        Name of the file, such as ``"tokenizer.skops"``, which is replaced if it exists.

    Raises
    ------
    NotFittedError
        If no step of the tokenizer is fitted.
    OSError
        If the file cannot be written.
    TypeError
        If the tokenizer holds an unsupported object, for example a custom network or
        another estimator of scikit-learn.

    See Also
    --------
    load : The inverse.
    trusted_types : For functions that read and write files of skops.

    Notes
    -----
    Pipelines are saved without their cache (`memory`). A tokenizer that `partial_fit`
    has not completed can be trained further after loading.

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

    tokenizer = copy.deepcopy(without_search(tokenizer))
    try:
        _set_everywhere(tokenizer, "memory", None)
        files = _unpack(skops.io.dumps(tokenizer))
        _check_files(files)
    except Exception as error:  # skops raises many types
        raise TypeError(
            "The tokenizer holds an object that a safe file cannot hold, such as a "
            f"custom network ({error}): use joblib.dump, and load only trusted files."
        ) from error
    if not _fitted_steps(tokenizer):
        raise NotFittedError("The tokenizer is not fitted: fit it before saving.")
    content = _pack(files)
    with whole_file(path) as file:
        file.write(content)


def load(path):
    """Read a tokenizer that `save` wrote, without executing code of the file.

    Parameters
    ----------
    path : path-like
        Name of the file.

    Returns
    -------
    estimator or Pipeline
        The fitted tokenizer, on the CPU. It gives the same tokens as the saved one.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, has a later version of the format, or holds anything
        other than a tokenizer of sktok.

    See Also
    --------
    save : Writes the file.

    Notes
    -----
    Before it is returned, a copy of the tokenizer is tested on the CPU with one flat
    window. Parameters such as `device` keep their values: if ``device="cuda"`` is not
    available, change it by `set_params`.

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
        raise FileNotFoundError(f"There is no file {path}.")
    content = path.read_bytes()
    number, release = saved_by(content)
    if number:
        check_format(path, number, release)
    try:
        _check_files(_unpack(content))
        with warnings.catch_warnings():
            # Another version of scikit-learn, or a test without feature names, is no
            # damage, even where warnings are errors: the smoke test decides.
            warnings.simplefilter("ignore", UserWarning)
            tokenizer = skops.io.loads(content, trusted=trusted_types())
            _set_everywhere(tokenizer, "memory", None)  # others may have filled it
            _smoke_test(tokenizer)
    except MemoryError:  # it depends on the machine: `_check_files` limits all sizes
        raise
    except Exception as error:  # a damaged file causes errors of any type
        raise ValueError(
            f"{path} is damaged or holds no estimator that sktok.persistence.save "
            f"wrote; no code of it was executed. {type(error).__name__}: {error}"
        ) from error
    return tokenizer


def trusted_types():
    """Names of the types in files of tokenizers, for functions of skops.

    They are the argument `trusted` of :func:`skops.io.load`, and `skops_trusted_types`
    of ``mlflow.sklearn.log_model``.

    Returns
    -------
    list of str
        Names of types, in alphabetical order. None of them executes code of a file when
        it is loaded.

    See Also
    --------
    load : Also refuses types that skops trusts, and damaged files.

    Examples
    --------
    >>> import skops.io
    >>> from sktok import BinQuantizer
    >>> from sktok.datasets import load_ecg
    >>> from sktok.persistence import trusted_types
    >>> content = skops.io.dumps(BinQuantizer(16).fit(load_ecg().data))
    >>> skops.io.loads(content, trusted=trusted_types())
    BinQuantizer(n_bins=16)
    """
    return sorted({name for _, name in _allowed()})


def saved_by(content):
    """The format and the release of sktok in the bytes of a file, or ``(0, None)``."""
    try:
        schema = _unpack(content)["schema.json"].decode()
    except Exception:  # `load` says what is wrong
        return 0, None
    found = dict(_SAVED_BY.findall(schema))
    number = found.get("format", "0")
    return int(number) if number.isdecimal() else 0, found.get("version")


@cache
def _allowed():
    """The kinds of node and the types that a file may hold, except plain values.

    skops itself trusts all of scikit-learn, where some estimators read files or call
    functions.
    """
    from sktok import networks  # imports torch
    from sktok.coding import TokenCoder

    nodes = {
        ("TypeNode", "builtins.int"),
        ("TypeNode", "builtins.str"),
        ("ConstructorFromReduceNode", "builtins.range"),
        ("PartialNode", "functools.partial"),
    }
    estimators = [
        FrozenEstimator,
        Pipeline,
        TokenCoder,
        *(getattr(sktok, name) for name in sktok.__all__),
    ]
    parts = [getattr(networks, name) for name in networks.__all__]
    for node, values in (("ObjectNode", estimators), ("TypeNode", parts)):
        for cls in (value for value in values if isinstance(value, type)):
            # A module that became a package exports the classes of earlier files.
            for module in (cls.__module__, cls.__module__.rpartition(".")[0]):
                nodes.add((node, f"{module}.{cls.__qualname__}"))
    return nodes


def _set_everywhere(tokenizer, parameter, value):
    """Set a parameter in a tokenizer and in all estimators in it."""
    for step in walk(tokenizer):
        params = step.get_params()
        names = [name for name in params if name.rpartition("__")[2] == parameter]
        step.set_params(**dict.fromkeys(names, value))
        for frozen in params.values():  # which do not include those of its estimator
            if isinstance(frozen, FrozenEstimator):
                _set_everywhere(frozen, parameter, value)


def _unpack(content):
    """The files in an archive, which must not be larger than the archive, by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(file.file_size for file in archive.infolist()) > len(content):
            raise ValueError("it unpacks to more bytes than the file has")
        return {name: archive.read(name) for name in archive.namelist()}


def _pack(files):
    """The inverse of `_unpack`, with a schema that is not indented: it is a third."""
    schema = json.dumps(json.loads(files["schema.json"]))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in (files | {"schema.json": schema}).items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _check_files(files):
    """Raise if a type is not allowed, or an array is not what it claims to be."""
    nodes = []
    schema = files["schema.json"]
    json.loads(schema, object_hook=lambda node: nodes.append(node) or node)
    for node in nodes:
        loader = node.get("__loader__")
        name = f"{node.get('__module__')}.{node.get('__class__')}"
        if loader not in (None, *_PLAIN) and (loader, name) not in _allowed():
            raise ValueError(f"it holds a {name}")
    sizes = [len(files.get(node.get("file"), b"")) for node in nodes]
    if sum(sizes) > sum(map(len, files.values())):
        raise ValueError("it reads its arrays several times")
    for name in files.keys() - {"schema.json"}:
        _check_array(files[name])


def _check_array(file):
    """Raise unless a .npy file holds as many values as it claims, all finite."""
    buffer = io.BytesIO(file)
    version = np.lib.format.read_magic(buffer)
    shape, _, dtype = np.lib.format.read_array_header_1_0(buffer)
    values = np.frombuffer(buffer.read(), dtype)
    if version != (1, 0) or values.size != math.prod(shape):
        raise ValueError("an array claims more values than its file holds")
    if dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("an array has values that are not finite")


def _smoke_test(tokenizer):
    """Raise unless the fitted steps transform a flat window, and transform it back.

    The test runs on a copy without parameters that depend on the machine or its
    packages, such as `device`: they say nothing about the file.
    """
    if not isinstance(tokenizer, BaseEstimator):
        raise TypeError(f"it holds a {type(tokenizer).__name__}")
    if hasattr(tokenizer, "bits_per_token"):  # a TokenCoder
        tokenizer.bits_per_token(np.zeros((1, tokenizer.n_features_in_), int))
        return
    tokenizer = copy.deepcopy(tokenizer)
    _set_everywhere(tokenizer, "device", "cpu")
    _set_everywhere(tokenizer, "n_candidates", 1)
    estimators = [step for step in walk(tokenizer) if not isinstance(step, Pipeline)]
    for step in estimators:
        step.set_output(transform="default")
    row_shape = input_shape(tokenizer)
    if math.prod(row_shape) > LONGEST_WINDOW:
        raise ValueError(f"it has windows of shape {row_shape}")
    steps = _fitted_steps(tokenizer)
    if not steps:
        raise ValueError("none of its steps is fitted")
    # A value within the range of the training data: some estimators refuse others.
    names = ("offsets_", "data_min_")
    levels = [vars(e)[name] for e in estimators for name in names if name in vars(e)]
    X = np.full((1, *row_shape), np.median(levels[0]) if levels else 0.0)
    for step in steps:
        X = step.transform(X)
    for step in reversed(steps):
        X = step.inverse_transform(X)
    if not np.isfinite(X).all():
        raise ValueError("it decodes to values that are not finite")


def _fitted_steps(tokenizer):
    """The steps before the first one that is not fitted, for example in a stream."""
    return list(takewhile(is_fitted, steps_of(tokenizer)))
