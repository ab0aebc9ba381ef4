"""Tokenization of a live signal that arrives in pieces, and its inverse."""

import math

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from sktok._blocks import join, segment
from sktok._estimator import Pace
from sktok._rows import FLOATS, check_tokens, refuse_masks_and_dates
from sktok._steps import (
    input_shape,
    last_step,
    steps_of,
    takes_windows,
    unwrap,
    vocabulary_size,
)


def paces(tokenizer, *, inverse):
    """The `Pace` of each step, or None, in the order in which the steps are applied."""
    tokenizer = unwrap(tokenizer)
    steps = steps_of(tokenizer)
    if steps == [tokenizer]:
        is_known = hasattr(tokenizer, "_pace")
        return [tokenizer._pace(inverse=inverse) if is_known else None]
    steps = reversed(steps) if inverse else steps
    return [pace for step in steps for pace in paces(step, inverse=inverse)]


def require_piece(name, values, leads):
    """`values` as an object with a shape; raise unless it has a row for each lead."""
    values = refuse_masks_and_dates(values)
    got = tuple(values.shape)
    if len(got) != len(leads) + 1 or got[:-1] != leads:
        expected = ", ".join([*map(str, leads), f"n_{name}"])
        raise ValueError(
            f"{name} have the shape {got}, expected ({expected}): give the next {name} "
            "in order, in a row for each lead if there are several leads."
        )
    return values


class _Stream:
    """Inputs that are collected into windows, and outputs that follow from them.

    The last bits of an output may depend on the length of the window. An unfinished
    window is therefore filled up by repeating its last input and converted as a whole;
    the outputs that follow from the real inputs are returned.
    """

    _inverse = False  # from tokens to samples

    def __init__(self, tokenizer):
        check_is_fitted(unwrap(tokenizer))
        *leads, n_samples = shape = input_shape(tokenizer)
        if leads and not takes_windows(tokenizer):
            raise ValueError(
                f"The tokenizer takes rows of shape {tuple(shape)}, which are blocks, "
                "and a stream needs windows: put a BlockSegmenter first in a Pipeline."
            )
        self.tokenizer = tokenizer
        self._vocabulary_size = vocabulary_size(tokenizer)
        self._n_leads = math.prod(leads)
        n_tokens = len(last_step(tokenizer).get_feature_names_out())
        samples = np.empty((*leads, 0), np.float32), n_samples
        tokens = np.empty(0, np.int64), n_tokens
        inputs, outputs = (tokens, samples) if self._inverse else (samples, tokens)
        self._pending, self._n_inputs = inputs  # pending: those of an unfinished window
        self._nothing, self._n_outputs = outputs
        self._n_returned = 0  # outputs of the unfinished window

    def _paces(self):
        """The `Pace` of each step; of all together if they take whole windows only."""
        found = paces(self.tokenizer, inverse=self._inverse)
        # Tokens are ordered by lead, and samples arrive from all leads at once.
        if None in found or self._n_leads > 1:
            return [Pace(self._n_inputs, self._n_outputs)]
        return found

    def _n_ready(self, n_inputs):
        """Number of outputs that follow from the first inputs of a window."""
        n_ready = n_inputs
        for pace in self._paces():
            n_ready = pace.n_ready(n_ready)
        return min(n_ready, self._n_outputs)  # some tokens are of padding only

    @property
    def delay(self):
        """Largest number of inputs that arrive between an input and its output."""
        backwards = self._paces()[::-1]
        delays = []
        for output in range(self._n_outputs):
            first, n_needed = output, output + 1
            for pace in backwards:
                first, n_needed = pace.first_input(first), pace.n_needed(n_needed)
            delays.append(min(n_needed, self._n_inputs) - 1 - first)
        return max(delays)

    def _push(self, name, inputs):
        """Take inputs if they are valid, and return the outputs that are ready."""
        inputs = require_piece(name, inputs, self._pending.shape[:-1])
        if not inputs.shape[-1]:
            return self._nothing
        inputs = self._validate(inputs)
        if self._pending.size:  # an empty array must not change the dtype
            inputs = np.concatenate([self._pending, inputs], axis=-1)
        n_windows, n_pending = divmod(inputs.shape[-1], self._n_inputs)
        n_whole, n_ready = n_windows * self._n_inputs, self._n_ready(n_pending)
        start, stop = self._n_returned, n_windows * self._n_outputs + n_ready
        outputs = self._nothing
        if start < stop:
            used = self._filled(inputs) if n_ready else inputs[..., :n_whole]
            outputs = join(self._convert(segment(used, self._n_inputs)), stop)
            outputs = outputs[..., start:]
        self._pending, self._n_returned = inputs[..., n_whole:].copy(), n_ready
        return outputs

    def _filled(self, inputs):
        """Inputs that no output depends on may follow; `segment` adds some."""
        return inputs


class TokenStream(_Stream):
    """Encode a live signal as tokens, piece by piece.

    The pieces may have any length. Their tokens are those of `transform` for the whole
    signal, cut into consecutive windows of the length seen in `fit`, bit for bit. A
    token is returned as soon as no later sample can change it.

    Parameters
    ----------
    tokenizer : estimator or Pipeline
        Fitted tokenizer of windows. It is not copied: do not change it while the stream
        is in use.

    Attributes
    ----------
    tokenizer : estimator or Pipeline
        The given tokenizer.

    delay : int
        Largest number of samples that arrive between a sample and its token.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the tokenizer is not fitted.
    ValueError
        If the tokenizer does not return tokens, or takes blocks instead of windows.

    See Also
    --------
    SampleStream : Inverse of this class.
    iter_transform : Encodes a stream of windows.

    Notes
    -----
    The delay is that of codecs: a block, and the blocks after it that its token depends
    on, at most up to the end of the window. The encoder of the contextual network reads
    8 of them, so tokens of blocks of 10 samples have a delay of 89 samples; it is 9
    with the network of Table 1. A :class:`~sktok.Resampler` adds half the width of its
    filter. The delay is a whole window if each token depends on all samples of it: with
    :class:`~sktok.GainShapeTokenizer`, ``n_candidates`` above 1, steps of scikit-learn,
    networks without `encoder_radius` (see :mod:`sktok.networks`), and windows of
    several leads, whose tokens are in the order of the leads.

    `push` calls `transform` at most once, and only if a token is ready. An error leaves
    the stream as it was. Samples that are not finite are refused when they arrive.
    Other samples that the tokenizer refuses, such as those beyond the bins of
    :class:`~sktok.GainShapeTokenizer`, are found when their window is encoded: then
    start a new stream.

    A stream can be pickled at any time, and continues after loading.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok import make_tokenizer
    >>> from sktok.datasets import load_ecg
    >>> from sktok.streaming import TokenStream
    >>> X = load_ecg().data
    >>> tokenizer = make_tokenizer(max_steps=20, random_state=0).fit(X)
    >>> stream = TokenStream(tokenizer)
    >>> stream.delay
    89
    >>> signal = X[:2].ravel()  # arrives in pieces
    >>> tokens = [stream.push(piece) for piece in np.array_split(signal[:460], 4)]
    >>> [len(of_piece) for of_piece in tokens]
    [3, 12, 11, 12]
    >>> tokens.append(stream.flush())
    >>> len(tokens[-1])
    12
    """

    def push(self, samples):
        """Take the next samples, and return the tokens that are ready.

        Parameters
        ----------
        samples : array-like of float, shape (n_samples,) or (n_leads, n_samples)
            Any number of samples, also none, in the unit of the windows seen in `fit`.

        Returns
        -------
        tokens : ndarray of int64, shape (n_tokens,)
            The next tokens, in ``range(n_tokens_)``; there may be none.

        Raises
        ------
        ValueError
            If the samples have another number of leads or are not finite, or as in
            `transform` of the tokenizer. The stream is then unchanged.
        """
        return self._push("samples", samples)

    def flush(self):
        """Return the remaining tokens; the stream is then empty and can start again.

        The unfinished window is filled up by repeating its last sample, as
        :class:`~sktok.BlockSegmenter` fills blocks.

        Returns
        -------
        tokens : ndarray of int64, shape (n_tokens,)
            The remaining tokens of the unfinished window; none if there is no such
            window.

        Raises
        ------
        ValueError
            As in `transform` of the tokenizer. The stream is then unchanged.
        """
        n_missing = -self._pending.shape[-1] % self._n_inputs
        return self.push(np.repeat(self._pending[..., -1:], n_missing, axis=-1))

    def _validate(self, samples):
        return check_array(samples, dtype=FLOATS, ensure_2d=False, input_name="samples")

    def _convert(self, windows):
        # (n_leads, n_windows, n_samples) -> (n_windows, n_leads, n_samples)
        tokens = self.tokenizer.transform(np.moveaxis(windows, -2, 0))
        return np.asarray(tokens)  # may be a data frame


class SampleStream(_Stream):
    """Decode a live stream of tokens, piece by piece.

    This is the inverse of `TokenStream`. The pieces may have any length. Their samples
    are those of `inverse_transform` for all tokens, cut into consecutive windows, bit
    for bit. A sample is returned as soon as no later token can change it.

    Parameters
    ----------
    tokenizer : estimator or Pipeline
        Fitted tokenizer of windows. It is not copied: do not change it while the stream
        is in use.

    Attributes
    ----------
    tokenizer : estimator or Pipeline
        The given tokenizer.

    delay : int
        Largest number of tokens that arrive between a token and its samples. It is 3
        with :func:`~sktok.make_tokenizer`, whose decoder reads 3 neighbours of each
        token, and 0 with :func:`~sktok.make_paper_tokenizer`.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the tokenizer is not fitted.
    ValueError
        If the tokenizer does not return tokens, or takes blocks instead of windows.

    See Also
    --------
    TokenStream : Inverse of this class.
    iter_inverse_transform : Decodes arrays of windows.

    Notes
    -----
    The notes on :class:`TokenStream` apply. The decoder of a network depends on
    `context_radius` blocks to either side, and a search with `n_candidates` does not
    change how tokens are decoded.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok import make_tokenizer
    >>> from sktok.datasets import load_ecg
    >>> from sktok.streaming import SampleStream
    >>> X = load_ecg().data
    >>> tokenizer = make_tokenizer(max_steps=20, random_state=0).fit(X)
    >>> tokens = tokenizer.transform(X[:2]).ravel()
    >>> stream = SampleStream(tokenizer)
    >>> stream.delay
    3
    >>> pieces = [stream.push(piece) for piece in np.array_split(tokens, 5)]
    >>> [len(samples) for samples in pieces]
    [70, 100, 100, 100, 130]
    >>> restored = tokenizer.inverse_transform(tokens.reshape(2, 25)).ravel()
    >>> bool((np.concatenate(pieces) == restored).all())
    True
    """

    _inverse = True

    def push(self, tokens):
        """Take the next tokens, and return the samples that are ready.

        Parameters
        ----------
        tokens : array-like of int, shape (n_tokens,)
            Any number of tokens, also none, in ``range(n_tokens_)``.

        Returns
        -------
        samples : ndarray of float, shape (n_samples,) or (n_leads, n_samples)
            The next samples, in the unit of the windows seen in `fit`; there may be
            none.

        Raises
        ------
        TypeError
            If the tokens are not integers. The stream is then unchanged.
        ValueError
            If a token is outside the vocabulary, or as in `inverse_transform` of the
            tokenizer. The stream is then unchanged.
        """
        return self._push("tokens", tokens)

    def flush(self):
        """End the stream, which is then empty and can start again.

        All samples of a complete window are returned by `push`, and `TokenStream` ends
        with a complete window. If a window is incomplete, tokens are missing. The
        missing samples are not made up.

        Returns
        -------
        samples : ndarray of float, shape (0,) or (n_leads, 0)
            No samples.

        Raises
        ------
        ValueError
            If the last window is incomplete. The stream is then unchanged.
        """
        n_pending = len(self._pending)
        if n_pending:
            raise ValueError(
                f"The last window has {n_pending} of {self._n_inputs} tokens: push the "
                f"{self._n_inputs - n_pending} missing tokens, or start a new stream "
                "if they are lost."
            )
        return self._nothing

    def _filled(self, tokens):
        """Tokens up to the end of the window: those of the last whole block again.

        Each place of a block may have tokens of its own, such as those of a stage.
        """
        n_in_block = self._paces()[0].n_inputs
        last = len(tokens) // n_in_block * n_in_block - n_in_block
        missing = np.arange(len(tokens), len(tokens) + -len(tokens) % self._n_inputs)
        return np.append(tokens, tokens[last + missing % n_in_block])

    def _validate(self, tokens):
        return check_tokens(tokens, self._vocabulary_size)

    def _convert(self, tokens):
        windows = self.tokenizer.inverse_transform(tokens)
        # (n_windows, n_leads, n_samples) -> (n_leads, n_windows, n_samples)
        return np.moveaxis(windows, 0, -2)
