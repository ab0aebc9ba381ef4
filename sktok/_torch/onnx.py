"""Fitted estimators as modules that ONNX can hold.

Each module computes in float32 what a fitted estimator computes: `forward` is its
`transform`, `inverse` its `inverse_transform`; `row_shape` is the shape of the rows in
`fit`.
"""

import logging
import warnings
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sktok._steps import unwrap
from sktok._torch.arrays import as_blocks, as_tensor
from sktok._torch.inference import for_inference

_OPSET = 18  # the oldest that torch writes
_TINY = 1e-300  # keeps a flat window from a division by zero


class _Step(nn.Module):
    """An estimator with functions from rows to rows, such as `AmplitudeScaler`."""

    def __init__(self, step):
        super().__init__()
        self.row_shape = getattr(step, "row_shape_", (step.n_features_in_,))
        self.forward, self.inverse = step._export_functions()


class _Quantizer(nn.Module):
    """A quantiser, whose functions work along the last axis."""

    def __init__(self, quantizer):
        super().__init__()
        self.row_shape = quantizer.row_shape_
        self.quantize, self.dequantize = quantizer.export_functions()

    def forward(self, x):
        return self.quantize(x.reshape(-1, *self.row_shape)).flatten(1)

    def inverse(self, tokens):
        tokens = tokens.unflatten(1, (*self.row_shape[:-1], -1))
        return self.dequantize(tokens).reshape(-1, *self.row_shape)


class _Autoencoder(nn.Module):
    """A `ConvAETokenizer`."""

    def __init__(self, tokenizer):
        super().__init__()
        if tokenizer.n_candidates > 1:
            raise ValueError(
                f"n_candidates={tokenizer.n_candidates} is a search, which cannot be "
                "exported: set n_candidates=1 to export the encoder's own choice."
            )
        self.row_shape = tokenizer.row_shape_
        self.latent_shape = tokenizer._latent_shape()
        self.network = for_inference(tokenizer.network_, torch.device("cpu"))
        quantizer, codebook = tokenizer._quantizer(), tokenizer.codebook_
        self.quantizer = None if quantizer is None else _Quantizer(quantizer)
        self.codebook = None if codebook is None else as_tensor(codebook)

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


class _GainShape(nn.Module):
    """A `GainShapeTokenizer`; computes bins in float64, as `transform` does."""

    def __init__(self, tokenizer):
        super().__init__()
        self.row_shape = tokenizer.row_shape_
        self.shape_at_once = tokenizer._shape_at_once()
        self.n_leads = tokenizer._n_at_once()
        self.tokens_at_once = tokenizer._tokens_at_once()
        self.tokens_per_window = tokenizer._tokens_per_window()
        self.tokenizer = module_of(tokenizer.tokenizer_, "tokenizer")
        bins = tokenizer._bins()
        self.n_bins = len(bins.offsets)
        self.offsets, self.gains = as_tensor(bins.offsets), as_tensor(bins.gains)
        self.norm = bins.norm

    def forward(self, x):
        # (n, n_leads, window_length), of one lead or of all
        windows = x.reshape(-1, self.n_leads, self.row_shape[-1]).double()
        offset = self.offset_of(windows)
        deviations = windows - F.embedding(offset, self.offsets[:, None])
        gain = self.gain_of(deviations)
        shapes = (deviations / self.scales_of(gain)).float()
        shapes = self.tokenizer(shapes.reshape(-1, *self.shape_at_once))
        bins, n_bins = [offset, self.n_bins + gain], self.n_bins
        tokens = torch.cat([*bins, 2 * n_bins + shapes], dim=1)
        return tokens.reshape(-1, self.tokens_per_window)

    def offset_of(self, windows):
        """Index of the offset of each lead."""
        if self.norm == "range":
            lowest = windows.amin(2, keepdim=True)
            return (self.offsets <= lowest).sum(2).clamp(min=1) - 1
        length = windows.shape[2]
        middle = windows.sort(2).values[..., (length - 1) // 2 : length // 2 + 1]
        edges = self.offsets[:-1] + self.offsets.diff() / 2
        return (edges < middle.mean(2, keepdim=True)).sum(2)

    def gain_of(self, deviations):
        """Index of the gain of each lead."""
        if self.norm == "range":
            highest = deviations.amax(2, keepdim=True)
            return (self.gains < highest).sum(2).clamp(max=self.n_bins - 1)
        # Scaled as in `transform`: no power overflows.
        largest = deviations.abs().amax(2, keepdim=True).clamp(min=_TINY)
        norm = largest * (deviations / largest).pow(4).mean(2, keepdim=True).pow(0.25)
        roots = self.gains.sqrt()
        return (roots[:-1] * roots[1:] < norm).sum(2)

    def scales_of(self, gain):
        """What shapes are divided by, (n, n_leads) -> (n, n_leads, 1)."""
        gains = F.embedding(gain, self.gains[:, None])
        if self.n_leads == 1:
            return gains
        of_window = largest = gains.amax(1, keepdim=True)
        if self.norm == "l4":
            mean = (gains / largest).pow(4).mean(1, keepdim=True)
            of_window = largest * mean.pow(0.25)
        return gains.sqrt() * of_window.sqrt()

    def inverse(self, tokens):
        tokens, n_leads = tokens.reshape(-1, self.tokens_at_once), self.n_leads
        shapes = self.tokenizer.inverse(tokens[:, 2 * n_leads :] - 2 * self.n_bins)
        shapes = shapes.reshape(-1, n_leads, self.row_shape[-1]).double()
        offsets = F.embedding(tokens[:, :n_leads], self.offsets[:, None])
        scales = self.scales_of(tokens[:, n_leads : 2 * n_leads] - self.n_bins)
        return (offsets + scales * shapes).float().reshape(-1, *self.row_shape)


class _Chain(nn.Module):
    """A Pipeline."""

    def __init__(self, pipeline):
        super().__init__()
        self.steps = nn.ModuleList(
            module_of(step, name)
            for name, step in pipeline.steps
            if step not in ("passthrough", None)
        )
        self.row_shape = self.steps[0].row_shape

    def forward(self, x):
        for step in self.steps:
            x = step(x)
        return x

    def inverse(self, x):
        for step in reversed(self.steps):
            x = step.inverse(x)
        return x


class Inverse(nn.Module):
    """The `inverse` of a module."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module.inverse(x)


def module_of(step, name):
    """The module of a fitted estimator; `name` is for the error."""
    step = unwrap(step)
    # What an estimator has tells what it is: no class of estimators is known here.
    for attribute, module in (
        ("steps", _Chain),
        ("network", _Autoencoder),
        ("tokenizer", _GainShape),
        ("tokens_per_block", _Quantizer),
        ("_export_functions", _Step),
    ):
        if hasattr(step, attribute):
            check_is_fitted(step)
            return module(step)
    raise TypeError(
        f"{name}={type(step).__name__} cannot be exported: expected AmplitudeScaler, "
        "BlockSegmenter, ConvAETokenizer, GainShapeTokenizer, LeadSelector, Resampler, "
        "a quantiser, 'passthrough' or a Pipeline."
    )


def export(module, example, name, output):
    """The ONNX program of a module, for any number of windows."""
    try:
        with _silent_exporter():
            return torch.onnx.export(
                module.eval(),
                (example,),
                input_names=[name],
                output_names=[output],
                opset_version=_OPSET,
                dynamic_shapes=({0: "n_windows"},),
                dynamo=True,  # the default of torch 2.9 and later
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise ValueError(
            f"torch cannot export the path from {name} to {output}: a custom network "
            "may use only operators that ONNX has, and no branch may depend on values "
            "or on the number of windows."
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
