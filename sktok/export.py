"""Fitted tokenizers as ONNX models, for devices without PyTorch.

:func:`to_onnx` writes two files, ``encoder.onnx`` and ``decoder.onnx``. With any ONNX
runtime, the first turns windows into tokens and the second turns tokens into windows.
"""

from dataclasses import asdict

import sktok
from sktok._extras import needs_extra
from sktok._files import whole_folder
from sktok.corpus import Vocabulary

__all__ = ["to_onnx"]


def to_onnx(tokenizer, folder):
    """Write a fitted tokenizer as two ONNX models, for devices without PyTorch.

    The folder will contain ``encoder.onnx``, from ``windows`` to ``tokens``, and
    ``decoder.onnx``, from ``tokens`` to ``windows``. Windows are float32, in the
    signal's unit, of shape (n_windows, window_length) or (n_windows, n_leads,
    window_length); tokens are int64, of shape (n_windows, n_tokens_per_window). The
    number of windows is free. The folder appears once both files are complete.

    Parameters
    ----------
    tokenizer : Pipeline, search, ConvAETokenizer or GainShapeTokenizer
        Fitted, as from :func:`sktok.make_tokenizer` or
        :func:`sktok.make_paper_tokenizer`: the steps are `Resampler`,
        `AmplitudeScaler`, `BlockSegmenter`, `ConvAETokenizer`, `GainShapeTokenizer`,
        quantisers or ``'passthrough'``. Of a search, ``best_estimator_`` is written.
        For a `ConvAETokenizer` alone, ``windows`` are rows of blocks as in `fit`. The
        models take windows of the rate that `input_fs` of a `Resampler` has now.

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
    within rounding. Offset and gain tokens of a `GainShapeTokenizer` are exact, because
    they are computed in float64, unless a `Resampler` rounds the samples before. Memory
    grows with the number of windows in a call.

    The models do not check their input. Samples that are not finite, an error in
    `transform`, give meaningless tokens. So do windows beyond the bins of a
    `GainShapeTokenizer`: they get the first or last offset or gain. A token of
    `n_tokens` or more is an error by the ONNX standard (Gather), and in onnxruntime;
    but -1 to ``-n_tokens`` count from the end of the vocabulary. For a
    `GainShapeTokenizer`, both hold for each of its `token_ranges_`: a token below the
    range of its column counts from the end of that range.

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
    import torch

    from sktok._torch import onnx
    from sktok._torch.guard import unaffected

    with needs_extra("onnx"):
        from onnxscript import ir  # imports onnx
    with unaffected(exact=False):  # torch's exporter asks for the precision
        module = onnx.module_of(tokenizer, "tokenizer")
        vocabulary = Vocabulary.from_tokenizer(tokenizer)
        windows = torch.zeros(2, *module.row_shape, dtype=torch.float32)
        tokens = torch.zeros(2, vocabulary.tokens_per_window, dtype=torch.int64)
        programs = {
            "encoder": onnx.export(module, windows, "windows", "tokens"),
            "decoder": onnx.export(onnx.Inverse(module), tokens, "tokens", "windows"),
        }
    facts = {"version": sktok.__version__, **asdict(vocabulary)}
    with whole_folder(folder) as staged:
        for name, program in programs.items():
            # torch stores the paths of its source files on this machine.
            ir.passes.common.ClearMetadataAndDocStringPass()(program.model)
            for fact, value in facts.items():
                program.model.metadata_props[f"sktok.{fact}"] = str(value)
            program.save(staged / f"{name}.onnx")
