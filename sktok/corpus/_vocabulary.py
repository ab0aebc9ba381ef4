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

FORMAT_VERSION = 3
READABLE_VERSIONS = (1, 2, 3)
_ADDED_LATER = {"n_leads": 1, "first_id": 0}  # with version 2, with version 3
_SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<sep>", "<missing>")
_TEXT = -1  # any id of a text model that is none of ECG


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

    first_id : int, default=0
        The first id, that of ``<pad>``. It is above 0 in a text model to which the
        tokens were added, see :func:`extend_tokenizer`.

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
    extend_tokenizer : Adds the tokens to a text model.
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
    first_id: int = 0

    def __post_init__(self):
        sizes = "tokens_per_window", "window_length", "n_leads"
        limits = dict.fromkeys(sizes, (1, LONGEST_WINDOW))
        limits["n_tokens"] = 1, 2**32 - len(_SPECIAL_TOKENS)  # ids have 32 bits
        limits["first_id"] = 0, 2**32 - len(_SPECIAL_TOKENS) - 1
        for name, (low, high) in limits.items():
            size = require_int(name, getattr(self, name), low, high)
            object.__setattr__(self, name, size)  # a Python int, for JSON
        if self.first_id + len(self) > 2**32:
            raise ValueError(
                f"first_id={self.first_id} and n_tokens={self.n_tokens}: the last id "
                "does not fit into 32 bits."
            )
        for special_id, text in enumerate(_SPECIAL_TOKENS, self.first_id):
            object.__setattr__(self, f"{text.strip('<>')}_id", special_id)
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
        n_ids = self.first_id + len(self)
        return np.dtype(np.uint16 if n_ids <= 2**16 else np.uint32)

    @property
    def id_to_token(self):
        """The text of every id, in order, such as ``'<pad>'`` and ``'ecg_17'``.

        It is that of `write_auto_tokenizer`. In a text model, the tokens have the names
        of `extend_tokenizer`.
        """
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
        first_token = self.first_id + len(_SPECIAL_TOKENS)
        ids = np.where(missing, self.missing_id, tokens + first_token)
        is_first = np.arange(self.tokens_per_window) == 0
        return ids[~missing | is_first].astype(self.dtype)

    def decode(self, ids):
        """Turn a sequence of ids into the tokens of windows: the inverse of `encode`.

        Parameters
        ----------
        ids : array-like of int, shape (n_ids,)
            Ids, for example from a language model. ``<pad>``, ``<bos>``, ``<eos>`` and
            ``<sep>`` between windows are dropped, and so is an incomplete last window.
            With `first_id`, the ids of text are dropped, too.

        Returns
        -------
        tokens : ndarray of int64, shape (n_windows, tokens_per_window)
            Tokens in ``range(n_tokens)``; a missing window is a row of -1.

        Raises
        ------
        TypeError
            If the ids are not integers.
        ValueError
            If an id is outside the vocabulary, or a window contains a special token or
            text. With `first_id`, if all ids are those of text.
        """
        ids, starts = self._find_windows(ids)
        tokens = np.full((len(starts), self.tokens_per_window), -1, dtype=np.int64)
        present = ids[starts] != _SPECIAL_TOKENS.index("<missing>")
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
            if content.get("version") in READABLE_VERSIONS[:-1]:
                content = {**_ADDED_LATER, **content}
            return cls(**{name: content[name] for name in cls.__dataclass_fields__})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} does not hold a vocabulary ({error!r}): write it again."
            ) from error

    def _find_windows(self, ids):
        """Ids counted from 0, and the indices of whole and of missing windows."""
        if np.ndim(ids) != 1:
            raise ValueError(f"ids have shape {np.shape(ids)}, expected one sequence.")
        ids = self._from_zero(ids) if len(ids) else np.empty(0, np.int64)
        is_token = ids >= len(_SPECIAL_TOKENS)
        n_open = np.cumsum(is_token) % self.tokens_per_window  # of the current window
        within = ~is_token & (n_open > 0)
        if within.any():
            at = int(within.argmax())
            name = f"special token {_SPECIAL_TOKENS[ids[at]]}"
            raise ValueError(
                f"The {'text' if ids[at] == _TEXT else name} at position {at} is "
                f"within a window of {self.tokens_per_window} tokens: cut ids between "
                "windows, and suppress other tokens when the model generates."
            )
        is_first = is_token & (n_open == 1 % self.tokens_per_window)
        is_missing = ids == _SPECIAL_TOKENS.index("<missing>")
        starts = np.flatnonzero(is_first | is_missing)
        if n_open[-1:].any():  # the last window is incomplete
            starts = starts[:-1]
        return ids, starts

    def _from_zero(self, ids):
        """Checked ids as without `first_id`; those of text are _TEXT."""
        if self.first_id == 0:
            return check_tokens(ids, len(self))
        ids = check_tokens(ids) - self.first_id
        is_text = (ids < 0) | (ids >= len(self))
        if is_text.all():
            last = self.first_id + len(self) - 1
            raise ValueError(
                f"All ids are those of text, expected some from {self.first_id} to "
                f"{last}: the ids of a corpus begin at 0, see Vocabulary.first_id."
            )
        return np.where(is_text, _TEXT, ids)


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
