"""Fitted tokenizers for devices that have no PyTorch, as ONNX models.

:func:`to_onnx` writes two files, ``encoder.onnx`` and ``decoder.onnx``, which any
runtime of ONNX turns windows into tokens with, and tokens into windows.
"""

import logging
import math
import warnings
from contextlib import contextmanager
from dataclasses import asdict

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from torch import nn

import sktok
from sktok._blocks import BlockSegmenter
from sktok._inference import _for_inference, as_blocks
from sktok._quantizers import BinQuantizer, VectorQuantizer
from sktok._scaling import AmplitudeScaler
from sktok._tokenizer import ConvAETokenizer
from sktok.corpus import Vocabulary, _whole_folder

__all__ = ["to_onnx"]

_OPSET = 18  # the oldest that torch writes


# Each of these modules does in float32 what a fitted estimator does: `forward` what its
# `transform` does, and `inverse` what its `inverse_transform` does; `row_shape` is that
# of the rows it was fitted on.


class _Scale(nn.Module):
    """`AmplitudeScaler`, in the order of its operations."""

    def __init__(self, scaler):
        super().__init__()
        self.row_shape = scaler.row_shape_
        self.low, self.high = scaler.feature_range_
        self.data_min, self.data_range = scaler.data_min_, scaler.data_range_
        self.clip = scaler.clip

    def forward(self, x):
        x = (x - self.data_min) / self.data_range * (self.high - self.low) + self.low
        return x.clamp(self.low, self.high) if self.clip else x

    def inverse(self, x):
        x = (x - self.low) / (self.high - self.low)
        return x * self.data_range + self.data_min


class _Segment(nn.Module):
    """`BlockSegmenter`."""

    def __init__(self, segmenter):
        super().__init__()
        self.row_shape = (segmenter.n_features_in_,)
        self.shape = segmenter.n_blocks_, segmenter.block_size_

    def forward(self, x):
        missing = math.prod(self.shape) - x.shape[1]
        x = torch.cat([x, x[:, -1:].expand(-1, missing)], dim=1)
        return x.unflatten(1, self.shape)

    def inverse(self, x):
        return x.flatten(1)[:, : self.row_shape[0]]


class _Bins(nn.Module):
    """`BinQuantizer`: digits of a token, of which an int `n_bins` has one."""

    def __init__(self, quantizer):
        super().__init__()
        self.row_shape = quantizer.row_shape_
        self.tokens_per_window = quantizer._n_tokens_per_window()
        is_tuple = isinstance(quantizer.edges_, list)
        edges = quantizer.edges_ if is_tuple else [quantizer.edges_]
        centers = quantizer.centers_ if is_tuple else [quantizer.centers_]
        index = _uniform_bins if quantizer.is_uniform_ else _edge_bins
        self.index = [index(e) for e in edges]
        self.centers = [torch.from_numpy(c).float()[:, None] for c in centers]

    def forward(self, x):
        values = x.reshape(-1, self.tokens_per_window, len(self.centers))
        tokens = 0
        for digit, index in enumerate(self.index):
            tokens = tokens * len(self.centers[digit]) + index(values[..., digit])
        return tokens

    def inverse(self, tokens):
        values = []
        for centers in self.centers[:0:-1]:
            values.append(F.embedding(tokens % len(centers), centers))
            tokens = tokens // len(centers)
        values.append(F.embedding(tokens, self.centers[0]))
        return torch.cat(values[::-1], dim=-1).reshape(-1, *self.row_shape)


def _uniform_bins(edges):
    """`sktok._quantizers.uniform_bins` for tensors."""
    low, high, n_bins = float(edges[0]), float(edges[-1]), len(edges) - 1
    width = (high - low) / n_bins or 1.0
    dtype = torch.float32 if width >= np.finfo(np.float32).tiny else torch.float64
    return lambda x: ((x.to(dtype) - low) / width).floor().clamp(0, n_bins - 1).long()


def _edge_bins(edges):
    """`sktok._quantizers.edge_bins` for tensors."""
    inner = edges[1:-1].astype(np.float32)
    # A float32 reaches an edge where it reaches the next float32 that does.
    above = np.nextafter(inner, np.inf)
    inner = torch.from_numpy(np.where(inner < edges[1:-1], above, inner))
    return lambda x: (x[..., None] >= inner).sum(-1)


class _Codebook(nn.Module):
    """`VectorQuantizer`."""

    def __init__(self, quantizer):
        super().__init__()
        self.row_shape = quantizer.row_shape_
        self.tokens_per_window = quantizer._n_tokens_per_window()
        codes = torch.from_numpy(quantizer.codes_)
        center = codes.mean(0)  # squares of a signal far from zero would drown the rest
        self.register_buffer("codes", codes.float())
        self.register_buffer("center", center.float())
        self.register_buffer("factors", -2 * (codes - center).float())
        self.register_buffer("squares", (codes - center).square().sum(1).float())

    def forward(self, x):
        vectors = x.reshape(-1, self.row_shape[-1]) - self.center
        tokens = F.linear(vectors, self.factors, self.squares).argmin(1)
        return tokens.reshape(-1, self.tokens_per_window)

    def inverse(self, tokens):
        return F.embedding(tokens, self.codes).reshape(-1, *self.row_shape)


class _Autoencoder(nn.Module):
    """`ConvAETokenizer`."""

    def __init__(self, tokenizer):
        super().__init__()
        if tokenizer.n_candidates > 1:
            raise ValueError(
                f"n_candidates={tokenizer.n_candidates} is a search, which cannot be "
                "exported: set n_candidates=1 to export the encoder's own choice."
            )
        self.row_shape = tokenizer.row_shape_
        self.latent_shape = *tokenizer.row_shape_[:-1], tokenizer.latent_dim_
        self.network = _for_inference(tokenizer.network_, "cpu")
        self.quantizer = self.codebook = None
        if tokenizer.quantizer_ is not None:
            self.quantizer = _module_of(tokenizer.quantizer_, "quantizer")
        if tokenizer.codebook_ is not None:
            self.codebook = torch.from_numpy(tokenizer.codebook_)

    def forward(self, x):
        latents = self.network.encode(as_blocks(x))
        if self.quantizer is None:
            return latents.reshape(-1, *self.latent_shape)
        return self.quantizer(latents)

    def inverse(self, x):
        if self.codebook is not None:
            return F.embedding(x, self.codebook).reshape(-1, *self.row_shape)
        latents = x if self.quantizer is None else self.quantizer.inverse(x)
        blocks = self.network.decode(as_blocks(latents))
        return blocks.reshape(-1, *self.row_shape)


class _Chain(nn.Module):
    """`Pipeline`."""

    def __init__(self, pipeline):
        super().__init__()
        self.steps = nn.ModuleList(
            _module_of(step, name)
            for name, step in pipeline.steps
            if step not in ("passthrough", None)
        )

    @property
    def row_shape(self):
        return self.steps[0].row_shape

    def forward(self, x):
        for step in self.steps:
            x = step(x)
        return x

    def inverse(self, x):
        for step in reversed(self.steps):
            x = step.inverse(x)
        return x


class _Inverse(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module.inverse(x)


_MODULES = {
    AmplitudeScaler: _Scale,
    BinQuantizer: _Bins,
    BlockSegmenter: _Segment,
    ConvAETokenizer: _Autoencoder,
    Pipeline: _Chain,
    VectorQuantizer: _Codebook,
}


def _module_of(step, name):
    """The module that does what a fitted estimator does."""
    if type(step) not in _MODULES:
        raise TypeError(
            f"{name}={type(step).__name__} cannot be exported: expected "
            f"{', '.join(kind.__name__ for kind in _MODULES)}, or 'passthrough'."
        )
    check_is_fitted(step)
    return _MODULES[type(step)](step)


def to_onnx(tokenizer, folder):
    """Write a fitted tokenizer as two ONNX models, for devices that have no PyTorch.

    The folder will hold ``encoder.onnx``, from ``windows`` to ``tokens``, and
    ``decoder.onnx``, from ``tokens`` to ``windows``. Windows are float32, in the
    signal's unit, of shape (n_windows, window_length); tokens are int64, of shape
    (n_windows, n_tokens_per_window); any number of windows goes through at once. The
    folder appears under its name once both files are whole.

    Parameters
    ----------
    tokenizer : Pipeline, search or ConvAETokenizer
        Fitted, as :func:`sktok.make_tokenizer` and :func:`sktok.make_paper_tokenizer`
        give it: the steps are `AmplitudeScaler`, `BlockSegmenter`, `ConvAETokenizer`,
        `BinQuantizer`, `VectorQuantizer` or ``'passthrough'``. A search stands for its
        ``best_estimator_``. Of a `ConvAETokenizer` by itself, ``windows`` are rows of
        blocks as in `fit`.

    folder : path-like
        Where to write; must not exist.

    Raises
    ------
    FileExistsError
        If the folder exists.
    ImportError
        If onnx or onnxscript is not installed.
    TypeError
        If a step is none of those above.
    ValueError
        If the tokenizer is not fitted, does not make tokens or has `n_candidates` above
        1, or torch cannot export a network of one's own.

    See Also
    --------
    sktok.corpus.Vocabulary : Has the fingerprint of a tokenizer.

    Notes
    -----
    Both models are of opset 18. Their ``metadata_props`` say whose tokens they make:
    ``sktok.version``, and ``sktok.fingerprint``, ``sktok.n_tokens``,
    ``sktok.tokens_per_window`` and ``sktok.window_length``, those of the tokenizer's
    :class:`sktok.corpus.Vocabulary`.

    Sums are rounded in another order than by torch: a token is another one than that of
    `transform` where two codes are equally near, or a latent is at the edge of a bin,
    but for that rounding. Memory grows with the number of windows that go through at
    once.

    The models do not check what they are given. Of samples that are not finite, an
    error in `transform`, the encoder makes tokens without meaning. A token of
    `n_tokens` or more is an error of the runtime by the standard of ONNX (Gather), and
    is one in onnxruntime; but -1 to ``-n_tokens`` count from the end of the vocabulary.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from onnxruntime import InferenceSession
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktok import BlockSegmenter, VectorQuantizer
    >>> from sktok.datasets import load_ecg
    >>> from sktok.export import to_onnx
    >>> X = load_ecg().data.astype("float32")
    >>> tokenizer = make_pipeline(BlockSegmenter(25), VectorQuantizer(16)).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_onnx(tokenizer, Path(folder, "tokenizer"))
    ...     encoder = InferenceSession(Path(folder, "tokenizer", "encoder.onnx"))
    >>> (tokens,) = encoder.run(None, {"windows": X})
    >>> tokens.shape, tokens.dtype
    ((432, 10), dtype('int64'))
    """
    ir = _import_ir()
    tokenizer = getattr(tokenizer, "best_estimator_", tokenizer)  # of a search
    module = _module_of(tokenizer, "tokenizer")
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    windows = torch.zeros(2, *module.row_shape)
    tokens = torch.zeros(2, vocabulary.tokens_per_window, dtype=torch.int64)
    programs = {
        "encoder": _export(module, windows=windows, output="tokens"),
        "decoder": _export(_Inverse(module), tokens=tokens, output="windows"),
    }
    facts = {"version": sktok.__version__, **asdict(vocabulary)}
    with _whole_folder(folder, "onnx") as unfinished:
        for name, program in programs.items():
            # torch notes down where each line of its source code is on this machine.
            ir.passes.common.ClearMetadataAndDocStringPass()(program.model)
            for fact, value in facts.items():
                program.model.metadata_props[f"sktok.{fact}"] = str(value)
            program.save(unfinished / f"{name}.onnx")


def _import_ir():
    try:
        from onnxscript import ir  # imports onnx
    except ImportError as error:
        raise ImportError(
            "This needs the packages onnx and onnxscript: pip install 'sktok[onnx]'"
        ) from error
    return ir


def _export(module, *, output, **example):
    """The ONNX program of a module, for any number of windows."""
    ((name, tensor),) = example.items()
    try:
        with torch.no_grad(), _without_chatter():
            return torch.onnx.export(
                module.eval(),
                (tensor,),
                input_names=[name],
                output_names=[output],
                opset_version=_OPSET,
                dynamic_shapes=({0: "n_windows"},),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise ValueError(
            f"torch cannot export the way from {name} to {output}: a network of one's "
            "own has to be made of operators that ONNX has, and to do the same for all "
            "values and any number of windows."
        ) from error


@contextmanager
def _without_chatter():
    """Keep torch's exporter from speaking of itself, and of torchvision."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            # torch 2.13 calls what it has itself deprecated.
            warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
            yield
    finally:
        logger.disabled = was_disabled
