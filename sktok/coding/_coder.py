"""Compression of tokens to bytes, without loss."""

from itertools import chain, islice, tee
from numbers import Integral
from operator import itemgetter

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sktok._estimator import Estimator
from sktok._rows import check_tokens, validate_tokens
from sktok._sklearn_compat import Interval, StrOptions, _fit_context
from sktok._steps import vocabulary_size
from sktok.coding._classes import token_classes
from sktok.coding._container import (
    LONGEST_CHUNK,
    Header,
    Packed,
    not_the_tokens,
    pack,
)
from sktok.corpus import Vocabulary
from sktok.corpus._fingerprint import fingerprint

# Chunks that are coded side by side. More need more memory, and caches are too small
# for the steps of an encoder, each of which is for many tokens of a chunk.
_ENCODED_AT_ONCE = 64
_DECODED_AT_ONCE = 128
_TOKENS_AT_ONCE = 2**20  # sum of the vocabularies of these chunks: 140 MB of weights
_READ_AHEAD = 4
LARGEST_VOCABULARY = 2**16
_SEQUENCE = 250  # tokens in a training sequence, about
_BATCH = 8_000  # tokens in a gradient step, about
_EPOCHS = 8  # for max_steps="auto"
_MOST_STEPS = 1_200  # for max_steps="auto"


def record_lengths(groups, n_windows):
    """Number of windows of each record: runs of equal values in `groups`."""
    if groups is None:
        return [n_windows]
    groups = np.asarray(groups)
    if groups.shape != (n_windows,):
        raise ValueError(
            f"groups have the shape {groups.shape}, expected ({n_windows},): give the "
            "record of each row of X."
        )
    starts = np.flatnonzero(groups[1:] != groups[:-1]) + 1
    return np.diff([0, *starts, n_windows]).tolist()


def as_pair(batch):
    """The tokens and the groups of a batch."""
    if not isinstance(batch, tuple):
        return batch, None
    if len(batch) != 2 or np.ndim(batch[0]) != 2:
        raise TypeError(
            f"A batch is a tuple of {len(batch)}, expected an array of tokens or a "
            "tuple of such an array and its groups: give rows as an array or a list."
        )
    return batch


def cut(lengths, size):
    """Slices of at most `size` windows that do not cross the end of a record."""
    slices, start = [], 0
    for length in lengths:
        stop = start + length
        slices += [slice(i, min(i + size, stop)) for i in range(start, stop, size)]
        start = stop
    return slices


def as_batch(rows, dtype=np.int64, padding=0):
    """Arrays of several lengths as rows of one array, filled up at their ends."""
    batch = np.full((len(rows), max(map(len, rows))), padding, dtype)
    for target, row in zip(batch, rows, strict=True):
        target[: len(row)] = row
    return batch


def side_by_side(function, items, length, at_once, n_jobs):
    """Yield a result for each item, in order, computed for many items at once.

    Parameters
    ----------
    function : callable
        Takes a list of items, the longest first, and returns a list of results.

    items : iterator
        Items, of which some hundreds are read ahead.

    length : callable
        Gives the length of an item. Items of similar length are computed together.

    at_once : int
        Largest number of items that are computed at once.

    n_jobs : int or None
        Number of processes, as in joblib.

    Yields
    ------
    object
        The result of the next item.
    """
    parallel, n = Parallel(n_jobs), effective_n_jobs(n_jobs)
    while some := list(islice(items, max(n, _READ_AHEAD) * at_once)):
        order = sorted(range(len(some)), key=lambda i: -length(some[i]))
        parts = np.array_split(order, max(-(-len(some) // at_once), min(n, len(some))))
        found = parallel(delayed(function)([some[i] for i in part]) for part in parts)
        results = dict(zip(order, chain.from_iterable(found), strict=True))
        yield from (results[i] for i in range(len(some)))


def metadata_of(data):
    """The metadata in compressed tokens; the tokens are not decoded.

    Parameters
    ----------
    data : bytes-like
        Compressed tokens.

    Returns
    -------
    bytes
        The `metadata` that `TokenCoder.iter_compress` was given.

    Raises
    ------
    ValueError
        If the data are incomplete, damaged or of a later version of the format.

    See Also
    --------
    TokenCoder : Compresses tokens.

    Examples
    --------
    >>> from sktok.coding import TokenCoder, metadata_of
    >>> coder = TokenCoder(max_steps=1, random_state=0).fit([[0, 1, 2], [2, 1, 0]])
    >>> data = b"".join(coder.iter_compress([[[1, 1, 2]]], metadata=b"record 100"))
    >>> metadata_of(data)
    b'record 100'
    """
    return Packed(data).metadata


class TokenCoder(Estimator):
    """Compress tokens to bytes without loss, by an adaptive network and range coding.

    A small recurrent network reads the tokens before and predicts the next one, and a
    range coder spends about ``-log2(p)`` bits on a token of probability p. The network
    is trained on tokens of other patients. In each chunk, its last layer is adapted to
    the patient by gradient steps after each 32 tokens, which the decoder repeats.

    The bytes hold chunks that are decoded on their own. Damage and bytes of another
    coder are found by checksums. The network computes in integers: the bytes are the
    same, and can be decoded, on each machine, with any number of threads and in batches
    of any size.

    Parameters
    ----------
    hidden_size : int, default=64
        Number of values in the state of the network, at most 256.

    chunk_size : int, default=10000
        Number of tokens in a chunk, at most 131,072; whole windows are taken, and at
        least one. Larger chunks adapt better and take fewer bits; smaller ones give
        faster access to single windows.

    n_tokens : int or None, default=None
        Size of the vocabulary, at most 65,536; `None` takes it from the tokenizer given
        to `fit`, or from the largest token.

    max_steps : int or "auto", default="auto"
        Number of training steps, each on about 8,000 tokens; ``"auto"`` goes about 8
        times through the tokens, in at most 1,200 steps.

    n_jobs : int or None, default=None
        Number of processes that code chunks, as in scikit-learn: None is 1, and -1 uses
        all processors. May be changed after `fit`.

    random_state : int, RandomState instance or None, default=None
        Seeds the training.

    verbose : int, default=0
        Whether to show a progress bar in training.

    Attributes
    ----------
    n_tokens_ : int
        Size of the vocabulary.

    token_classes_ : ndarray of int64, shape (n_classes, class_size)
        The tokens of each class, and -1 in places without a token.

    weights_ : dict of str to ndarray of int32
        The network, in integers.

    loss_curve_ : list of float
        Bits per token in each training step, without adaptation.

    tokenizer_fingerprint_ : str
        Fingerprint of the tokenizer given to `fit`, or ``""``.

    n_features_in_ : int
        Number of tokens in a window.

    See Also
    --------
    sktok.metrics.token_entropy : The cost of tokens without their context.
    sktok.persistence.save : Saves a fitted coder.

    Notes
    -----
    Coding needs the extra `coding`, which brings constriction (R. Bamler, 2022).

    References
    ----------
    B. Krause, E. Kahembwe, I. Murray and S. Renals, "Dynamic evaluation of neural
    sequence models", ICML 2018.

    J. Ballé, N. Johnston and D. Minnen, "Integer networks for data compression with
    latent-variable models", ICLR 2019.

    R. Bamler, "Understanding entropy coding with asymmetric numeral systems (ANS): a
    statistician's perspective", arXiv:2201.01741, 2022.

    Examples
    --------
    >>> from sktok import BlockSegmenter, VectorQuantizer
    >>> from sktok.coding import TokenCoder
    >>> from sktok.datasets import load_ecg
    >>> blocks = BlockSegmenter(block_size=10).fit_transform(load_ecg().data)
    >>> tokens = VectorQuantizer(64, random_state=0).fit_transform(blocks)
    >>> coder = TokenCoder(max_steps=30, random_state=0).fit(tokens[:300])
    >>> data = coder.compress(tokens[300:])
    >>> bool((coder.decompress(data) == tokens[300:]).all())
    True
    """

    _parameter_constraints: dict = {
        "hidden_size": [Interval(Integral, 1, 256, closed="both")],
        "chunk_size": [Interval(Integral, 1, LONGEST_CHUNK, closed="both")],
        "n_tokens": [Interval(Integral, 2, LARGEST_VOCABULARY, closed="both"), None],
        "max_steps": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "n_jobs": [Interval(Integral, None, None, closed="neither"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        hidden_size=64,
        chunk_size=10_000,
        n_tokens=None,
        max_steps="auto",
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.hidden_size = hidden_size
        self.chunk_size = chunk_size
        self.n_tokens = n_tokens
        self.max_steps = max_steps
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, groups=None, tokenizer=None):
        """Train the network on tokens.

        Parameters
        ----------
        X : array-like of int, shape (n_windows, n_tokens_per_window)
            Tokens of consecutive windows, as `transform` of a tokenizer returns them.

        y : None
            Ignored.

        groups : array-like of shape (n_windows,) or None, default=None
            The record of each window; a record is a run of equal values. `None` means
            one record.

        tokenizer : estimator, Pipeline or None, default=None
            The fitted tokenizer of the tokens. Its fingerprint is stored in compressed
            tokens, and its vocabulary is the default of `n_tokens`.

        Returns
        -------
        self : TokenCoder
            The fitted coder.

        Raises
        ------
        ValueError
            If tokens are not in ``range(n_tokens)``, the vocabulary has more than
            65,536 tokens, windows have more than 131,072, or the tokenizer makes
            another number of tokens per window.
        TypeError
            If tokens are not integers.
        FloatingPointError
            If the training diverges.
        """
        from sktok._torch.token_network import fit_network

        self._reset()
        X = check_tokens(X, ensure_2d=True)
        n_tokens = self._vocabulary_size(X, tokenizer)
        n_windows, n_features = X.shape
        if tokenizer is not None:
            expected = Vocabulary.from_tokenizer(tokenizer).tokens_per_window
            if n_features != expected:
                raise ValueError(
                    f"X has {n_features} tokens per window, and the tokenizer makes "
                    f"{expected}: give the tokens that its transform returns."
                )
        if n_features > LONGEST_CHUNK:
            raise ValueError(
                f"X has {n_features} tokens per window, expected at most "
                f"{LONGEST_CHUNK}: cut the signal into shorter windows."
            )
        random_state = check_random_state(self.random_state)
        classes = token_classes(X.ravel(), n_tokens, random_state)
        size = max(1, _SEQUENCE // n_features)
        slices = cut(record_lengths(groups, n_windows), size)
        n_steps = self.max_steps
        if n_steps == "auto":
            n_steps = min(max(1, _EPOCHS * X.size // _BATCH), _MOST_STEPS)
        weights, losses = fit_network(
            as_batch([X[rows].ravel() for rows in slices], padding=-1),
            classes,
            n_positions=n_features,
            hidden_size=int(self.hidden_size),
            n_steps=int(n_steps),
            batch_size=max(1, _BATCH // (size * n_features)),
            seed=int(random_state.randint(np.iinfo(np.int32).max)),
            verbose=bool(self.verbose),
        )
        self.n_tokens_, self.n_features_in_ = n_tokens, n_features
        self.tokenizer_fingerprint_ = (
            "" if tokenizer is None else fingerprint(tokenizer)
        )
        self.loss_curve_, self.token_classes_, self.weights_ = losses, classes, weights
        return self

    def _vocabulary_size(self, X, tokenizer):
        """The size of the vocabulary; raise unless it holds the tokens."""
        low, high = int(X.min()), int(X.max())
        if self.n_tokens is not None:
            n_tokens = int(self.n_tokens)
        else:
            known = high + 1 if tokenizer is None else vocabulary_size(tokenizer)
            n_tokens = max(2, int(known))
        if not 0 <= low <= high < n_tokens <= LARGEST_VOCABULARY:
            raise ValueError(
                f"X has tokens from {low} to {high} and n_tokens is {n_tokens}, "
                "expected tokens in range(n_tokens) and n_tokens of at most "
                f"{LARGEST_VOCABULARY}: give tokens as transform returns them, with "
                "their tokenizer or its n_tokens."
            )
        return n_tokens

    def __sklearn_is_fitted__(self):
        return hasattr(self, "weights_")

    def compress(self, X, *, groups=None):
        """Compress tokens to bytes.

        Parameters
        ----------
        X : array-like of int, shape (n_windows, n_tokens_per_window)
            Tokens of consecutive windows.

        groups : array-like of shape (n_windows,) or None, default=None
            The record of each window; no chunk holds windows of two records.

        Returns
        -------
        bytes
            The compressed tokens.

        Raises
        ------
        ValueError
            If `X` has another number of columns than in `fit`, or tokens outside the
            vocabulary.
        TypeError
            If tokens are not integers.
        ImportError
            If constriction is not installed.
        """
        return b"".join(self._compressed([(X, groups)], b""))

    def iter_compress(self, batches, *, metadata=b""):
        """Compress a stream of tokens, batch by batch.

        The bytes do not depend on how the windows are divided into batches.

        Parameters
        ----------
        batches : iterable of array-like, or of (array-like, array-like)
            Tokens of consecutive windows, as for `compress`, alone or in a tuple with
            their groups. Batches without windows are skipped.

        metadata : bytes, default=b''
            Is stored with the tokens, see `metadata_of`.

        Yields
        ------
        bytes
            All of them joined, or written to a file in sequence, are the compressed
            tokens.

        Raises
        ------
        TypeError
            If `metadata` are not bytes, or a batch is another tuple.
        ValueError, ImportError
            As `compress` does.
        """
        if not isinstance(metadata, bytes):
            raise TypeError(
                f"metadata has the type {type(metadata).__name__}, expected bytes: "
                "encode text with str.encode."
            )
        yield from self._compressed(map(as_pair, batches), metadata)

    def _compressed(self, batches, metadata):
        """Yield the bytes of batches of tokens and groups."""
        check_is_fitted(self)
        self._validate_later("chunk_size", "n_jobs")
        chunks = self._encoded(self._chunks(batches))
        yield from pack(self._header(), chunks, metadata)

    def decompress(self, data, *, rows=None):
        """Restore tokens from bytes. Inverse of `compress`.

        Parameters
        ----------
        data : bytes-like
            Compressed tokens, such as bytes or a memory-mapped file.

        rows : slice or None, default=None
            The windows to restore; only their chunks are decoded. `None` restores all.

        Returns
        -------
        ndarray of int64, shape (n_windows, n_tokens_per_window)
            The tokens.

        Raises
        ------
        ValueError
            If the data are incomplete, damaged, of another coder or of a later version
            of the format, or if this release of constriction decodes other tokens.
        TypeError
            If `rows` is anything else.
        ImportError
            If constriction is not installed.
        """
        if not isinstance(rows, slice | None):
            raise TypeError(
                f"rows has the type {type(rows).__name__}, expected a slice or None: "
                "slice(3, 4) restores window 3."
            )
        packed = self._unpacked(data)
        ends = packed.n_windows.cumsum()
        wanted = np.arange(packed.n_windows.sum())[
            slice(None) if rows is None else rows
        ]
        chunks = np.unique(np.searchsorted(ends, wanted, side="right"))
        decoded = list(self._decoded(packed, chunks))
        if not decoded:
            return np.empty((0, self.n_features_in_), np.int64)
        n_windows = packed.n_windows[chunks]
        first = (ends - packed.n_windows)[chunks]
        place = np.concatenate(
            [start + np.arange(n) for start, n in zip(first, n_windows, strict=True)]
        )
        return np.concatenate(decoded)[np.searchsorted(place, wanted)]

    def iter_decompress(self, data):
        """Restore a stream of tokens. Inverse of `iter_compress`.

        Parameters
        ----------
        data : bytes-like
            Compressed tokens. For a file that is larger than memory, give
            ``numpy.memmap(path, numpy.uint8, "r")``.

        Yields
        ------
        ndarray of int64, shape (n_windows, n_tokens_per_window)
            The tokens of the next chunk.

        Raises
        ------
        ValueError, ImportError
            As `decompress` does.
        """
        packed = self._unpacked(data)
        yield from self._decoded(packed, np.arange(len(packed)))

    def bits_per_token(self, X, *, groups=None):
        """Cost of tokens under the model, without headers: the bound of `compress`.

        Parameters
        ----------
        X : array-like of int, shape (n_windows, n_tokens_per_window)
            Tokens of consecutive windows.

        groups : array-like of shape (n_windows,) or None, default=None
            The record of each window.

        Returns
        -------
        float
            Mean of ``-log2(p)`` of the tokens.

        Raises
        ------
        ValueError, TypeError
            As `compress` does.
        """
        from sktok._torch.entropy_coding import count_bits

        check_is_fitted(self)
        self._validate_later("chunk_size", "n_jobs")
        X = validate_tokens(X, self.n_tokens_, self.n_features_in_)
        chunks = list(self._chunks([(X, groups)]))
        bits = self._coded(count_bits, iter(chunks))
        return float(sum(bits) / sum(chunk.size for chunk in chunks))

    def _chunks(self, batches):
        """Yield chunks of windows from batches of tokens and groups."""
        size = max(1, int(self.chunk_size) // self.n_features_in_)
        pending, record = [], None
        for X, groups in batches:
            if np.shape(X)[:1] == (0,):
                continue
            groups = None if groups is None else np.asarray(groups)
            X = validate_tokens(X, self.n_tokens_, self.n_features_in_)
            for rows in cut(record_lengths(groups, len(X)), len(X)):
                group = None if groups is None else groups[rows.start]
                if pending and group != record:
                    yield np.concatenate(pending)
                    pending = []
                record = group
                windows = np.concatenate([*pending, X[rows]])
                n_whole = len(windows) // size * size
                yield from (
                    np.split(windows[:n_whole], n_whole // size) if n_whole else ()
                )
                pending = [windows[n_whole:]] if n_whole < len(windows) else []
        if pending:
            yield np.concatenate(pending)

    def _encoded(self, chunks):
        """Yield the windows and the bytes of each chunk."""
        from sktok._torch.entropy_coding import encode

        chunks, again = tee(chunks)
        yield from zip(again, self._coded(encode, chunks), strict=True)

    def _coded(self, function, chunks):
        """Yield the result of a function of the symbols of each chunk."""

        def run(some):
            return function(self.weights_, *self._symbols(some))

        at_once = self._at_once(_ENCODED_AT_ONCE)
        return side_by_side(run, chunks, len, at_once, self.n_jobs)

    def _at_once(self, most):
        """Number of chunks that are coded side by side: each has weights of its own."""
        return max(1, min(most, _TOKENS_AT_ONCE // self.n_tokens_))

    def _symbols(self, chunks):
        """Tokens, their classes and places, as rows, and the lengths of chunks."""
        tokens = as_batch([chunk.ravel() for chunk in chunks])
        where = np.full(self.n_tokens_ + 1, -1)
        where[self.token_classes_] = np.arange(self.token_classes_.size).reshape(
            self.token_classes_.shape
        )
        classes, places = np.divmod(where[tokens], self.token_classes_.shape[1])
        return tokens, classes, places, [chunk.size for chunk in chunks]

    def _decoded(self, packed, numbers):
        """Yield the windows of chunks, given by their numbers."""
        from sktok._torch.entropy_coding import decode

        def run(some):
            contents, lengths = zip(*some, strict=True)
            try:
                return decode(self.weights_, self.token_classes_, contents, lengths)
            except AssertionError as error:  # of constriction
                raise not_the_tokens(str(error).rstrip(".")) from error

        lengths = (packed.n_windows * self.n_features_in_).tolist()
        chunks = ((packed.chunk(i), lengths[i]) for i in numbers)
        at_once = self._at_once(_DECODED_AT_ONCE)
        decoded = side_by_side(run, chunks, itemgetter(1), at_once, self.n_jobs)
        for number, tokens in zip(numbers, decoded, strict=True):
            packed.require_tokens(number, tokens)
            yield tokens.reshape(-1, self.n_features_in_)

    def _header(self):
        sizes = self.n_tokens_, self.n_features_in_
        return Header.of(*sizes, fingerprint(self), self.tokenizer_fingerprint_)

    def _unpacked(self, data):
        """Compressed tokens; raise unless this coder made them."""
        check_is_fitted(self)
        self._validate_later("n_jobs")
        packed, own = Packed(data), self._header()
        if packed.header != own:
            raise ValueError(
                "The data were compressed by another coder "
                f"({packed.header.difference(own)}): use the coder that compressed "
                "them."
            )
        return packed

    def _fingerprint_state(self):
        names = (
            "n_tokens_",
            "n_features_in_",
            "token_classes_",
            "weights_",
            "tokenizer_fingerprint_",
        )
        return {name: getattr(self, name) for name in names}
