"""Chunks of tokens to bytes and back, many side by side.

The operations of a step are small: they take one thread, since several would wait for
each other.
"""

import numpy as np
import torch

from sktok._extras import needs_extra
from sktok._torch.guard import unaffected
from sktok._torch.integer_network import LEARN_EVERY, ChunkPredictor
from sktok._torch.threads import limited_threads

_WORD = np.dtype("<u4")  # of the range coder
# How probabilities are rounded to the steps of the range coder.
_QUANTISATION = {"perfect": False, "lazy": True}


@unaffected()
@limited_threads(1)
def encode(weights, tokens, classes, places, lengths):
    """Encode the tokens of chunks.

    Parameters
    ----------
    weights : dict of str to ndarray of int32
        Result of `to_integers`.

    tokens, classes, places : ndarray of int64, shape (n_chunks, longest)
        Tokens, the class of each and its place in the class. What follows the end of a
        chunk is ignored.

    lengths : sequence of int
        Number of tokens of each chunk.

    Returns
    -------
    list of bytes
        The bytes of each chunk.
    """
    queue, model = _range_coder()
    family = model(**_QUANTISATION)
    encoders = [queue.RangeEncoder() for _ in lengths]
    for start, symbols, frequencies in _predicted(weights, tokens, classes, places):
        for chunk, encoder in enumerate(encoders):
            n_left = 2 * (lengths[chunk] - start)
            if n_left > 0:
                rows = frequencies[chunk, :n_left]
                encoder.encode(symbols[chunk, :n_left], family, rows)
    words = [encoder.get_compressed().astype(_WORD, copy=False) for encoder in encoders]
    return [array.tobytes() for array in words]


@unaffected()
@limited_threads(1)
def count_bits(weights, tokens, classes, places, lengths):
    """Number of bits that an ideal entropy coder would use for each chunk.

    Parameters and order as in `encode`; returns an ndarray of shape (n_chunks,).
    """
    bits = np.zeros(len(lengths))
    for start, symbols, frequencies in _predicted(weights, tokens, classes, places):
        n_left = 2 * (np.asarray(lengths) - start)[:, None]
        is_used = np.arange(symbols.shape[1]) < n_left
        chosen = np.take_along_axis(frequencies, symbols[..., None], 2)[..., 0]
        cost = np.log2(frequencies.sum(2, dtype=np.float64)) - np.log2(chosen)
        bits += (cost * is_used).sum(1)
    return bits


@unaffected()
@limited_threads(1)
def decode(weights, token_of_place, contents, lengths):
    """Decode the tokens of chunks. Inverse of `encode`.

    Parameters
    ----------
    weights : dict of str to ndarray of int32
        Result of `to_integers`.

    token_of_place : ndarray of int64, shape (n_classes, class_size)
        The tokens of each class, and -1 in places without a token.

    contents : list of bytes
        The bytes of each chunk.

    lengths : sequence of int
        Number of tokens of each chunk, the longest first.

    Returns
    -------
    list of ndarray of int64
        The tokens of each chunk. They are any tokens if the bytes are not those of
        `encode`.

    Raises
    ------
    AssertionError
        If constriction finds that no tokens have these bytes.
    """
    queue, model = _range_coder()
    decoders = [queue.RangeDecoder(_words(content)) for content in contents]
    pulls = [decoder.decode for decoder in decoders]
    predictor = ChunkPredictor(weights, len(contents))
    width = max(token_of_place.shape)
    token_of_place = token_of_place.clip(min=0)
    tokens = np.zeros((len(contents), max(lengths)), np.int64)
    steps = []

    def pull(frequencies):
        """Decode a symbol of each chunk that is not at its end."""
        rows = _of_width(frequencies, width).numpy()[:, 0]
        symbols = np.zeros(len(rows), np.int64)
        symbols[: len(pulls)] = [
            pull_symbol(model(row, **_QUANTISATION))
            for pull_symbol, row in zip(pulls, rows, strict=False)
        ]
        return symbols.clip(max=frequencies.shape[-1] - 1)  # not one of `_of_width`

    for step in range(tokens.shape[1]):
        while lengths[len(pulls) - 1] <= step:
            pulls.pop()
        features = predictor.features()[:, None]
        class_frequencies = predictor.class_frequencies(features)
        classes = pull(class_frequencies)
        rows = torch.from_numpy(classes)[:, None]
        place_frequencies = predictor.place_frequencies(features, rows)
        places = pull(place_frequencies)
        columns = torch.from_numpy(places)[:, None]
        steps.append((features, rows, class_frequencies, columns, place_frequencies))
        tokens[:, step] = token_of_place[classes, places]
        predictor.read(torch.from_numpy(tokens[:, step]))
        if len(steps) == LEARN_EVERY:
            predictor.learn(*(torch.cat(part, 1) for part in zip(*steps, strict=True)))
            steps = []
    return [row[:length] for row, length in zip(tokens, lengths, strict=True)]


def _predicted(weights, tokens, classes, places):
    """Yield the first step, the symbols and their frequencies, some steps at a time.

    A token is two symbols, its class and its place.
    """
    predictor = ChunkPredictor(weights, len(tokens))
    tokens, classes, places = map(torch.from_numpy, (tokens, classes, places))
    for start in range(0, tokens.shape[1], LEARN_EVERY):
        some = slice(start, start + LEARN_EVERY)
        features = []
        for token in tokens[:, some].unbind(1):
            features.append(predictor.features())
            predictor.read(token)
        features = torch.stack(features, 1)
        symbols = classes[:, some], places[:, some]
        class_frequencies = predictor.class_frequencies(features)
        place_frequencies = predictor.place_frequencies(features, symbols[0])
        predictor.learn(
            features, symbols[0], class_frequencies, symbols[1], place_frequencies
        )
        width = max(class_frequencies.shape[-1], place_frequencies.shape[-1])
        both = [_of_width(f, width) for f in (class_frequencies, place_frequencies)]
        frequencies = torch.stack(both, 2).flatten(1, 2)
        symbols = torch.stack(symbols, 2).flatten(1)
        yield start, symbols.int().numpy(), frequencies.numpy()


def _of_width(frequencies, width):
    """Frequencies filled up with zeros: the range coder takes rows of one length."""
    return torch.nn.functional.pad(frequencies, (0, width - frequencies.shape[-1]))


def _words(content):
    return np.frombuffer(content, _WORD).astype(np.uint32, copy=False)


def _range_coder():
    with needs_extra("coding"):
        from constriction import stream
    return stream.queue, stream.model.Categorical
