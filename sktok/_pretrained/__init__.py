"""Tokenizers that were trained on thousands of patients, in files of the package.

They encode one lead of ECG, any lead of any device, or all leads of an ECG together, in
millivolts. The pages "Pretrained tokenizers" and "Twelve leads" of the documentation
have their data, licences, figures and limits. A name never changes its tokens: a better
tokenizer gets a new name.

The files are those of :func:`sktok.persistence.save`, and their checksums are compared.
"""

import hashlib
import io
import json
import math
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np

from sktok._leads import lead_names
from sktok._rows import LONGEST_WINDOW, require_fs, require_int
from sktok._steps import (
    as_lead,
    first_step,
    input_shape,
    resize,
    selects_leads,
    take_leads,
)

_FOLDER = Path(__file__).parent
_LEAST_SECONDS = 1  # shorter windows have a larger error


def list_pretrained():
    """Names of the tokenizers that `load_pretrained` loads.

    Returns
    -------
    list of str
        The names, in alphabetical order. They say how many tokens there are in a second
        and have a version.

    See Also
    --------
    load_pretrained : Loads one of them.

    Examples
    --------
    >>> from sktok import list_pretrained
    >>> list_pretrained()
    ['ecg-12hz-v1', 'ecg-31hz-stages-v1', 'ecg-31hz-v1', 'ecg12-100hz-v1', \
'ecg12-40hz-v1']
    """
    return sorted(_checksums())


def load_pretrained(name, *, fs=None, lead=None, window_length=None):
    """Load a tokenizer that was trained before, without a network connection.

    The steps are ``resample`` (:class:`Resampler`), for windows of any rate, and
    ``gain_shape`` (:class:`GainShapeTokenizer`), for any gain and baseline. Those of
    all leads of an ECG, ``ecg12-…``, have ``leads`` (:class:`LeadSelector`) between
    them. Windows are in mV, and so is what `inverse_transform` returns.

    Parameters
    ----------
    name : str
        One of :func:`list_pretrained`.

    fs : float or None, default=None
        Sampling rate of the windows in Hz. `None` is that of the tokenizer, 250.

    lead : sequence of str or None, default=None
        Names of the leads of the windows, in order, such as ``ecg.lead[0]`` of a Bunch,
        for a tokenizer of all leads. `None` is I, II and V1 to V6, which determine
        III, aVR, aVL and aVF.

    window_length : int or None, default=None
        Number of samples in a window, at the rate `fs`: a second or more. `None` is
        two seconds, or ten for all leads.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Fitted to windows (n_windows, window_length) of any lead or, ``ecg12-…``, to
        windows (n_windows, n_leads, window_length). Several leads for a tokenizer of
        one lead are rows, as `load_wfdb` with ``leads="rows"`` gives them.

    Raises
    ------
    TypeError
        If `lead` is no sequence of names.
    ValueError
        If there is no such tokenizer, its file is damaged, the rate is out of range,
        windows are shorter than a second, a lead is missing and cannot be derived, or
        leads are named for a tokenizer of one lead.

    See Also
    --------
    list_pretrained : The names.
    make_tokenizer : Builds a tokenizer to fit to your own signals.
    with_window_length : Changes the length of windows later.

    Notes
    -----
    To continue the training on your own windows (fine-tuning), set the parameters of
    the training and call `fit`::

        tokenizer.set_params(
            gain_shape__warm_start=True,
            gain_shape__tokenizer__tokenize__max_steps=500,
        ).fit(X)

    The tokens of the result have another meaning, so it is another tokenizer. Without
    `warm_start`, and after :func:`sklearn.base.clone`, `fit` trains a new network with
    the same parameters.

    Examples
    --------
    >>> from sktok import load_pretrained
    >>> from sktok.datasets import load_ecg
    >>> ecg = load_ecg(window_length=720)  # two seconds at 360 Hz
    >>> tokenizer = load_pretrained("ecg-31hz-v1", fs=ecg.fs)
    >>> tokens = tokenizer.transform(ecg.data)
    >>> tokens.shape  # tokens of offset and gain, and 63 of the shape
    (150, 65)
    >>> tokenizer.inverse_transform(tokens).shape
    (150, 720)
    """
    checksums = _checksums()
    if name not in checksums:
        raise ValueError(
            f"name={name!r}: expected one of {', '.join(map(repr, sorted(checksums)))}."
        )
    content = path_of(name).read_bytes()
    if hashlib.sha256(content).hexdigest() != checksums[name]:
        raise ValueError(f"{path_of(name)} is damaged: install sktok again.")
    tokenizer = restored(content)
    resampler = first_step(tokenizer)
    fs = require_fs(fs) or resampler.output_fs_
    resampler.set_params(input_fs=fs)
    if window_length is None:
        window_length = round(resampler.duration_ * fs)
    least = math.ceil(_LEAST_SECONDS * fs)
    require_int("window_length", window_length, least, LONGEST_WINDOW)
    if lead is not None:
        if not selects_leads(tokenizer):
            raise ValueError(
                f"{name} encodes any lead by itself, expected no lead={lead!r}: leave "
                "it out, and load signals with leads='rows'; or choose a tokenizer of "
                "all leads, ecg12-…."
            )
        take_leads(tokenizer, lead_names("lead", as_lead(lead)))
    *n_leads, _ = input_shape(tokenizer)
    resize(tokenizer, (*n_leads, window_length))
    return tokenizer


def restored(content):
    """The tokenizer in a file whose checksum is right.

    It is what `sktok.persistence.load` returns, which takes a second to import skops.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    return _from_node(json.loads(files["schema.json"]), files)


def _from_node(node, files):
    """What a node in the schema of skops describes."""
    kind, content = node["__loader__"], node.get("content")
    if kind == "JsonNode":
        return json.loads(content)
    if kind == "NdArrayNode":
        return np.load(io.BytesIO(files[node["file"]]))
    if kind == "DictNode":
        return {name: _from_node(value, files) for name, value in content.items()}
    if kind in ("ListNode", "TupleNode"):
        values = [_from_node(value, files) for value in content]
        return values if kind == "ListNode" else tuple(values)
    cls = getattr(import_module(node["__module__"]), node["__class__"])
    if kind == "ConstructorFromReduceNode":
        return cls(*_from_node(content, files))
    estimator = cls.__new__(cls)
    estimator.__setstate__(_from_node(content, files))
    return estimator


def path_of(name):
    """The file of a tokenizer."""
    return _FOLDER / f"{name}.skops"


def _checksums():
    """SHA-256 of the file of each name."""
    return json.loads((_FOLDER / "checksums.json").read_text())
