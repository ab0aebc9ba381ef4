"""Vocabulary: the ids of a language model for the tokens of a tokenizer."""

from dataclasses import asdict, dataclass

import numpy as np

from sktok._files import read_json, write_json
from sktok._rows import (
    LONGEST_WINDOW,
    check_tokens,
    refuse_masks_and_dates,
    require_int,
    validate_tokens,
)
from sktok._steps import unwrap, vocabulary_size, window_shape
from sktok.corpus._fingerprint import fingerprint

FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)  # version 1 has windows of one lead only
_SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<sep>", "<missing>")


@dataclass(frozen=True)
class Vocabulary:
    """The ids of a language model for the tokens of a tokenizer.

    Special tokens come first: ``<pad>``, ``<bos>``, ``<eos>``, ``<sep>`` and
    ``<missing>``, which represents a window with invalid samples. The tokens of the
    tokenizer follow in order.

    Parameters
    ----------
    n_tokens : int
        Size of the tokenizer's vocabulary.

    tokens_per_window : int
        Number of tokens per window.

    window_length : int
        Number of samples per window of one lead.

    fingerprint : str
        Hash that identifies the tokenizer. It depends on everything that changes
        tokens or their meaning, and on nothing else.

    n_leads : int, default=1
        Number of leads per window. The tokens of a window are those of its leads, one
        lead after the other.

    Attributes
    ----------
    pad_id, bos_id, eos_id, sep_id, missing_id : int
        Ids of the special tokens.

    Raises
    ------
    ValueError
        If a size is not an int of at least 1, if ids do not fit into 32 bits, or if a
        window has more than 2**24 samples, leads or tokens.

    See Also
    --------
    write_corpus : Write the ids of whole records to files.
    write_auto_tokenizer : Write the vocabulary as a tokenizer of Hugging Face.

    Examples
    --------
    >>> from sktok import make_tokenizer
    >>> from sktok.corpus import Vocabulary
    >>> from sktok.datasets import load_ecg
    >>> X = load_ecg().data
    >>> tokenizer = make_tokenizer(max_steps=20, random_state=0).fit(X)
    >>> vocabulary = Vocabulary.from_tokenizer(tokenizer)
    >>> len(vocabulary)
    261
    >>> ids = vocabulary.encode(tokenizer.transform(X[:4]))
    >>> ids.shape, ids.dtype
    ((100,), dtype('uint16'))
    >>> vocabulary.decode(ids).shape
    (4, 25)
    >>> vocabulary.decode_signal(ids, tokenizer).shape
    (4, 250)
    """

    n_tokens: int
    tokens_per_window: int
    window_length: int
    fingerprint: str
    n_leads: int = 1

    pad_id, bos_id, eos_id, sep_id, missing_id = range(len(_SPECIAL_TOKENS))

    def __post_init__(self):
        sizes = "tokens_per_window", "window_length", "n_leads"
        most = dict.fromkeys(sizes, LONGEST_WINDOW)
        most["n_tokens"] = 2**32 - len(_SPECIAL_TOKENS)  # ids have 32 bits
        for name, high in most.items():
            size = require_int(name, getattr(self, name), 1, high)
            object.__setattr__(self, name, size)  # a Python int, for JSON
        if not isinstance(self.fingerprint, str):
            raise ValueError(f"fingerprint={self.fingerprint!r}: expected a str.")

    @classmethod
    def from_tokenizer(cls, tokenizer):
        """Build the vocabulary of a fitted tokenizer.

        Parameters
        ----------
        tokenizer : transformer or Pipeline
            A fitted tokenizer with `inverse_transform`. The tokenizer, or the last step
            of the Pipeline, has `n_tokens_`.

        Returns
        -------
        Vocabulary
            The vocabulary of this tokenizer only.

        Raises
        ------
        ValueError
            If the tokenizer does not return tokens, or if ids do not fit into 32 bits.
        """
        tokenizer = unwrap(tokenizer)
        tokens_per_window = len(tokenizer.get_feature_names_out())
        n_leads, window_length = window_shape(tokenizer)
        sizes = vocabulary_size(tokenizer), tokens_per_window, window_length
        return cls(*sizes, fingerprint(tokenizer), n_leads)

    def __len__(self):
        """Return the number of ids, including special tokens."""
        return len(_SPECIAL_TOKENS) + self.n_tokens

    @property
    def dtype(self):
        """The smaller of uint16 and uint32 that holds every id."""
        return np.dtype(np.uint16 if len(self) <= 2**16 else np.uint32)

    @property
    def id_to_token(self):
        """The text of every id, in order, such as ``'<pad>'`` and ``'ecg_17'``."""
        return [*_SPECIAL_TOKENS, *(f"ecg_{token}" for token in range(self.n_tokens))]

    def encode(self, tokens):
        """Turn the tokens of windows into one sequence of ids.

        Parameters
        ----------
        tokens : array-like of int, shape (n_windows, tokens_per_window)
            Tokens in ``range(n_tokens)``; a row of -1 is a missing window.

        Returns
        -------
        ids : ndarray of `dtype`, shape (n_ids,)
            The ids of all windows in order; a missing window is one ``missing_id``.

        Raises
        ------
        TypeError
            If the tokens are not integers.
        ValueError
            If a token is outside the vocabulary, or rows have another length.
        """
        tokens = np.asarray(refuse_masks_and_dates(tokens))
        if tokens.shape == (0, self.tokens_per_window):
            return np.empty(0, self.dtype)
        if tokens.shape[1:] == (self.tokens_per_window,):  # others are refused below
            missing = (tokens == -1).all(axis=1, keepdims=True)
            tokens = np.where(missing, 0, tokens)
        tokens = validate_tokens(tokens, self.n_tokens, self.tokens_per_window)
        ids = np.where(missing, self.missing_id, tokens + len(_SPECIAL_TOKENS))
        is_first = np.arange(self.tokens_per_window) == 0
        return ids[~missing | is_first].astype(self.dtype)

    def decode(self, ids):
        """Turn a sequence of ids into the tokens of windows: the inverse of `encode`.

        Parameters
        ----------
        ids : array-like of int, shape (n_ids,)
            Ids, for example from a language model. ``<pad>``, ``<bos>``, ``<eos>`` and
            ``<sep>`` between windows are dropped, and so is an incomplete last window.

        Returns
        -------
        tokens : ndarray of int64, shape (n_windows, tokens_per_window)
            Tokens in ``range(n_tokens)``; a missing window is a row of -1.

        Raises
        ------
        TypeError
            If the ids are not integers.
        ValueError
            If an id is outside the vocabulary, or a window contains a special token.
        """
        ids, starts = self._find_windows(ids)
        tokens = np.full((len(starts), self.tokens_per_window), -1, dtype=np.int64)
        present = ids[starts] != self.missing_id
        places = starts[present, np.newaxis] + np.arange(self.tokens_per_window)
        tokens[present] = ids[places] - len(_SPECIAL_TOKENS)
        return tokens

    def decode_signal(self, ids, tokenizer):
        """Turn a sequence of ids into windows of signal.

        Parameters
        ----------
        ids : array-like of int, shape (n_ids,)
            Ids, as for `decode`.

        tokenizer : transformer or Pipeline
            The fitted tokenizer of this vocabulary. If it was set to another sampling
            rate since, the windows have that rate.

        Returns
        -------
        windows : ndarray of shape (n_windows, window_length) or \
                (n_windows, n_leads, window_length)
            The reconstruction, in the unit of the signal; NaN for missing windows. They
            have an axis of leads if there are several.

        Raises
        ------
        ValueError
            If it is another tokenizer, or as in `decode`.

        Notes
        -----
        Each call computes the fingerprint of the tokenizer, which takes as long as some
        windows: one call for the ids of many records is faster than a call for each.
        """
        self.check(tokenizer)
        return to_signal(self.decode(ids), tokenizer)

    def check(self, tokenizer):
        """Raise an error unless this is the vocabulary of a tokenizer.

        Parameters
        ----------
        tokenizer : transformer or Pipeline
            A fitted tokenizer.

        Raises
        ------
        ValueError
            If the tokenizer has another fingerprint.
        """
        found = fingerprint(tokenizer)
        if found != self.fingerprint:
            raise ValueError(
                f"The tokenizer has the fingerprint {found[:12]}…, expected "
                f"{self.fingerprint[:12]}…. Load the tokenizer that made the ids."
            )

    def to_json(self, path):
        """Write the vocabulary to a file, with the same bytes each time.

        Parameters
        ----------
        path : path-like
            Name of the file, which is replaced if it exists.
        """
        write_json(path, self._as_dict())

    def _as_dict(self):
        header = {"format": "sktok.vocabulary", "version": FORMAT_VERSION}
        return header | {"special_tokens": list(_SPECIAL_TOKENS)} | asdict(self)

    @classmethod
    def from_json(cls, path):
        """Read a vocabulary that `to_json` wrote.

        Parameters
        ----------
        path : path-like
            Name of the file.

        Returns
        -------
        Vocabulary
            The same vocabulary.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is not a vocabulary, or has another version of the format.
        """
        readable = {"expected": "sktok.vocabulary", "version": READABLE_VERSIONS}
        content = read_json(path, **readable)
        return cls._from_dict(content, path)

    @classmethod
    def _from_dict(cls, content, path):
        """Inverse of `_as_dict`; `path` names the file in the error."""
        try:
            if tuple(content["special_tokens"]) != _SPECIAL_TOKENS:
                raise ValueError(f"special tokens {content['special_tokens']}")
            if content.get("version") == 1:
                content = {**content, "n_leads": 1}
            return cls(**{name: content[name] for name in cls.__dataclass_fields__})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} does not hold a vocabulary ({error!r}): write it again."
            ) from error

    def _find_windows(self, ids):
        """The checked ids, and the indices of complete and of missing windows."""
        if np.ndim(ids) != 1:
            raise ValueError(f"ids have shape {np.shape(ids)}, expected one sequence.")
        ids = check_tokens(ids, len(self)) if len(ids) else np.empty(0, np.int64)
        is_token = ids >= len(_SPECIAL_TOKENS)
        n_open = np.cumsum(is_token) % self.tokens_per_window  # of the current window
        within = ~is_token & (n_open > 0)
        if within.any():
            at = int(within.argmax())
            raise ValueError(
                f"The special token {_SPECIAL_TOKENS[ids[at]]} at position {at} is "
                f"within a window of {self.tokens_per_window} tokens: cut ids between "
                "windows, and suppress special tokens when the model generates."
            )
        is_first = is_token & (n_open == 1 % self.tokens_per_window)
        starts = np.flatnonzero(is_first | (ids == self.missing_id))
        if n_open[-1:].any():  # the last window is incomplete
            starts = starts[:-1]
        return ids, starts


def to_signal(tokens, tokenizer):
    """The windows of tokens that `Vocabulary.decode` returned, NaN for missing ones."""
    n_leads, window_length = window_shape(tokenizer)
    shape = (n_leads, window_length) if n_leads > 1 else (window_length,)
    windows = np.full((len(tokens), *shape), np.nan)
    present = (tokens >= 0).all(axis=1)
    if present.any():
        found = tokenizer.inverse_transform(tokens[present])
        windows[present] = np.reshape(found, (-1, *shape))
    return windows
