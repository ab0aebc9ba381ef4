"""Fitted tokenizers as ONNX models, for devices without PyTorch.

:func:`to_onnx` writes two files, ``encoder.onnx`` and ``decoder.onnx``. With any ONNX
runtime, the first turns windows into tokens and the second turns tokens into windows.
"""

import logging
import math
import warnings
from contextlib import contextmanager
from dataclasses import asdict

import torch
import torch.nn.functional as F
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from torch import nn

import sktok
from sktok._blocks import BlockSegmenter
from sktok._files import whole_folder
from sktok._quantizers import BaseQuantizer
from sktok._scaling import AmplitudeScaler
from sktok._steps import unwrap
from sktok._tokenizer import ConvAETokenizer
from sktok._torch.inference import as_blocks, for_inference
from sktok.corpus import Vocabulary

__all__ = ["to_onnx"]

_OPSET = 18  # the oldest that torch writes


# Each of these modules computes in float32 what a fitted estimator computes: `forward`
# is its `transform`, `inverse` its `inverse_transform`; `row_shape` is the shape of the
# rows in `fit`.


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


class _Quantizer(nn.Module):
    """A quantiser: its own `export_functions`, on rows."""

    def __init__(self, quantizer):
        super().__init__()
        self.row_shape = quantizer.row_shape_
        self.quantize, self.dequantize = quantizer.export_functions()

    def forward(self, x):
        return self.quantize(x.reshape(-1, *self.row_shape)).flatten(1)

    def inverse(self, tokens):
        *outer, _ = self.row_shape
        tokens = tokens.unflatten(1, (*outer, -1))
        return self.dequantize(tokens).reshape(-1, *self.row_shape)


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
        self.network = for_inference(tokenizer.network_)
        self.quantizer = self.codebook = None
        if tokenizer.quantizer_ is not None:
            self.quantizer = _Quantizer(tokenizer.quantizer_)
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
    BlockSegmenter: _Segment,
    ConvAETokenizer: _Autoencoder,
    Pipeline: _Chain,
    BaseQuantizer: _Quantizer,
}


def _module_of(step, name):
    """The module that does what a fitted estimator does."""
    for kind, module in _MODULES.items():
        if isinstance(step, kind):
            check_is_fitted(step)
            return module(step)
    raise TypeError(
        f"{name}={type(step).__name__} cannot be exported: expected "
        f"{', '.join(kind.__name__ for kind in _MODULES)}, or 'passthrough'."
    )


def to_onnx(tokenizer, folder):
    """Write a fitted tokenizer as two ONNX models, for devices without PyTorch.

    The folder will contain ``encoder.onnx``, from ``windows`` to ``tokens``, and
    ``decoder.onnx``, from ``tokens`` to ``windows``. Windows are float32, in the
    signal's unit, of shape (n_windows, window_length); tokens are int64, of shape
    (n_windows, n_tokens_per_window). The number of windows is free. The folder appears
    once both files are complete.

    Parameters
    ----------
    tokenizer : Pipeline, search or ConvAETokenizer
        Fitted, as from :func:`sktok.make_tokenizer` or
        :func:`sktok.make_paper_tokenizer`: the steps are `AmplitudeScaler`,
        `BlockSegmenter`, `ConvAETokenizer`, quantisers or ``'passthrough'``. Of a
        search, ``best_estimator_`` is written. For a `ConvAETokenizer` alone,
        ``windows`` are rows of blocks as in `fit`.

    folder : path-like
        Where to write; must not exist.

    Raises
    ------
    FileExistsError
        If the folder exists.
    ImportError
        If onnx or onnxscript is not installed.
    TypeError
        If a step is none of those above, or a custom quantiser does not define
        `export_functions`.
    ValueError
        If the tokenizer is not fitted, does not make tokens or has `n_candidates` above
        1, or if torch cannot export a custom network.

    See Also
    --------
    sktok.corpus.Vocabulary : Has the fingerprint of a tokenizer.

    Notes
    -----
    Both models have opset 18. Their ``metadata_props`` identify the tokenizer:
    ``sktok.version``, and ``sktok.fingerprint``, ``sktok.n_tokens``,
    ``sktok.tokens_per_window`` and ``sktok.window_length`` of its
    :class:`sktok.corpus.Vocabulary`.

    Sums are rounded in another order than in torch. A token therefore differs from that
    of `transform` if two codes are equally near, or a latent is at the edge of a bin,
    within rounding. Memory grows with the number of windows in a call.

    The models do not check their input. Samples that are not finite, an error in
    `transform`, give meaningless tokens. A token of `n_tokens` or more is an error by
    the ONNX standard (Gather), and in onnxruntime; but -1 to ``-n_tokens`` count from
    the end of the vocabulary.

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
    tokenizer = unwrap(tokenizer)
    module = _module_of(tokenizer, "tokenizer")
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    windows = torch.zeros(2, *module.row_shape)
    tokens = torch.zeros(2, vocabulary.tokens_per_window, dtype=torch.int64)
    programs = {
        "encoder": _export(module, windows=windows, output="tokens"),
        "decoder": _export(_Inverse(module), tokens=tokens, output="windows"),
    }
    facts = {"version": sktok.__version__, **asdict(vocabulary)}
    with whole_folder(folder) as staged:
        for name, program in programs.items():
            # torch stores the paths of its source files on this machine.
            ir.passes.common.ClearMetadataAndDocStringPass()(program.model)
            for fact, value in facts.items():
                program.model.metadata_props[f"sktok.{fact}"] = str(value)
            program.save(staged / f"{name}.onnx")


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
        with torch.no_grad(), _silent_exporter():
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
            f"torch cannot export the path from {name} to {output}: a custom network "
            "may use only operators that ONNX has, without branches on values or on "
            "the number of windows."
        ) from error


@contextmanager
def _silent_exporter():
    """Silence messages of torch's exporter about itself and torchvision."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            # torch 2.13 calls a function of its own that it has deprecated.
            warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
            yield
    finally:
        logger.disabled = was_disabled
