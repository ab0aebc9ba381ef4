"""Byte pair encoding: one id for a pair of tokens that often follow each other."""

import json
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from sktok._extras import needs_extra
from sktok._files import read_json, write_json
from sktok._rows import check_tokens, require_int
from sktok.corpus._vocabulary import Vocabulary

_FORMAT = {"format": "sktok.byte_pairs", "version": 1}
_FIRST_CHARACTER = 0x10000  # that of id 0; the characters from here on are no spaces
_MOST_IDS = 0x110000 - _FIRST_CHARACTER


@dataclass(frozen=True)
class BytePairEncoding:
    """Shorter sequences of ids: one id for a pair that often follows each other.

    The encoding merges the most frequent pair of neighbours into a new id, and repeats
    this with what results, so that an id can stand for many tokens. Pairs do not cross
    windows, and special tokens stay as they are. This is the byte pair encoding of
    text [1]_ with windows as words.

    Parameters
    ----------
    vocabulary : Vocabulary
        The vocabulary of the ids that are merged.

    pairs : tuple of (int, int)
        The two ids that each new id stands for, in the order of merging. The first new
        id is ``len(vocabulary)``. Usually, `from_corpus` finds them.

    Raises
    ------
    ValueError
        If a pair has ids that do not exist before it, or special ones; or if the
        vocabulary is that of a text model, or too large.

    See Also
    --------
    Vocabulary : Ids and tokens without merging.
    write_dataset : Writes the ids of an encoding.

    References
    ----------
    .. [1] Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with
       Subword Units", 2016, section 3.2.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sktok import make_tokenizer
    >>> from sktok.corpus import BytePairEncoding, write_corpus
    >>> from sktok.datasets import load_ecg
    >>> ecg = load_ecg()
    >>> tokenizer = make_tokenizer(max_steps=20, random_state=0).fit(ecg.data)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     corpus = write_corpus(Path(folder, "corpus"), ecg, tokenizer, validation=[])
    ...     encoding = BytePairEncoding.from_corpus(corpus, n_ids=1024)
    ...     ids = encoding.encode(corpus.train)
    ...     len(encoding), len(ids) < 0.8 * len(corpus.train)
    ...     bool((encoding.decode(ids) == corpus.train).all())
    (1024, True)
    True
    """

    vocabulary: Vocabulary
    pairs: tuple

    def __post_init__(self):
        if self.vocabulary.first_id:
            raise ValueError(
                f"vocabulary has first_id={self.vocabulary.first_id}, so it is that of "
                "a text model: merge the ids of a corpus, which begin at 0."
            )
        pairs = tuple((int(first), int(second)) for first, second in self.pairs)
        object.__setattr__(self, "pairs", pairs)
        n_ids = len(self.vocabulary)
        if n_ids + len(pairs) > _MOST_IDS:
            raise ValueError(
                f"vocabulary and pairs have {n_ids + len(pairs)} ids, expected at most "
                f"{_MOST_IDS}."
            )
        low = n_ids - self.vocabulary.n_tokens
        for new, pair in enumerate(pairs, n_ids):
            if not low <= min(pair) <= max(pair) < new:
                raise ValueError(
                    f"The pair {pair} of the id {new} is not of two tokens: expected "
                    f"ids from {low} to {new - 1}."
                )

    @classmethod
    def from_corpus(cls, corpus, n_ids=4096):
        """Merge the pairs that are most frequent in the training part of a corpus.

        Parameters
        ----------
        corpus : Bunch
            Result of `read_corpus` or `write_corpus`.

        n_ids : int, default=4096
            Number of ids with the new ones. There are fewer if no pair comes twice.

        Returns
        -------
        BytePairEncoding
            The encoding. It is the same for the same corpus.

        Raises
        ------
        ImportError
            If the package `tokenizers` is not installed.
        ValueError
            If `n_ids` is less than the number of ids of the corpus, or more than
            1,048,576; or if the ids of the corpus are damaged.
        """
        with needs_extra("lm"):
            from tokenizers import Tokenizer, models, pre_tokenizers, trainers
        vocabulary = corpus.vocabulary
        require_int("n_ids", n_ids, len(vocabulary), _MOST_IDS)
        learner = Tokenizer(models.BPE())
        learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        trainer = trainers.BpeTrainer(
            vocab_size=n_ids,
            min_frequency=2,
            initial_alphabet=[_text_of(i) for i in range(len(vocabulary))],
            show_progress=False,
        )
        texts = (
            _words(corpus.train[entry["first"] :][: entry["n_ids"]], vocabulary)
            for entry in corpus.records
            if entry["split"] == "train"
        )
        learner.train_from_iterator(texts, trainer)
        numbers = {_text_of(i): i for i in range(len(vocabulary))}
        pairs = []
        for first, second in json.loads(learner.to_str())["model"]["merges"]:
            if first + second not in numbers:  # a + bc may follow ab + c
                numbers[first + second] = len(numbers)
                pairs.append((numbers[first], numbers[second]))
        return cls(vocabulary, tuple(pairs))

    def __len__(self):
        """Return the number of ids, including special tokens."""
        return len(self.vocabulary) + len(self.pairs)

    @property
    def dtype(self):
        """The smaller of uint16 and uint32 that holds every id."""
        return np.dtype(np.uint16 if len(self) <= 2**16 else np.uint32)

    def encode(self, ids):
        """Merge pairs in a sequence of ids.

        Parameters
        ----------
        ids : array-like of int, shape (n_ids,)
            Ids of the vocabulary, of whole windows; the last may be incomplete.

        Returns
        -------
        merged : ndarray of `dtype`, shape (n_merged,)
            Ids in ``range(len(encoding))``, at most as many as before.

        Raises
        ------
        ImportError
            If the package `tokenizers` is not installed.
        TypeError
            If the ids are not integers.
        ValueError
            If an id is outside the vocabulary, or a special token is within a window.
        """
        if np.shape(ids) == (0,):
            return np.empty(0, self.dtype)
        encoded = self._merger.encode(_words(ids, self.vocabulary))
        return np.array(encoded.ids, dtype=self.dtype)

    def decode(self, ids):
        """Return the ids of the vocabulary that merged ids stand for.

        Parameters
        ----------
        ids : array-like of int, shape (n_merged,)
            Ids in ``range(len(encoding))``, for example from a language model.

        Returns
        -------
        ids : ndarray of the vocabulary's `dtype`, shape (n_ids,)
            Ids for `Vocabulary.decode_signal`: the inverse of `encode`.

        Raises
        ------
        TypeError
            If the ids are not integers.
        ValueError
            If an id is outside the encoding.
        """
        if np.ndim(ids) != 1:
            raise ValueError(f"ids have shape {np.shape(ids)}, expected one sequence.")
        dtype = self.vocabulary.dtype
        if len(ids) == 0:
            return np.empty(0, dtype)
        ids = check_tokens(ids, len(self))
        return np.concatenate([self._parts[i] for i in ids]).astype(dtype)

    def to_json(self, path):
        """Write the encoding to a file, with the same bytes each time.

        Parameters
        ----------
        path : path-like
            Name of the file, which is replaced if it exists.
        """
        content = {"vocabulary": self.vocabulary._as_dict(), "pairs": self.pairs}
        write_json(path, _FORMAT | content)

    @classmethod
    def from_json(cls, path):
        """Read an encoding that `to_json` wrote.

        Parameters
        ----------
        path : path-like
            Name of the file.

        Returns
        -------
        BytePairEncoding
            The same encoding.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is not an encoding, or has another version of the format.
        """
        content = read_json(path, expected=_FORMAT["format"], version=(1,))
        vocabulary = Vocabulary._from_dict(content.get("vocabulary"), path)
        try:
            return cls(vocabulary, content["pairs"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} does not hold an encoding ({error!r}): write it again."
            ) from error

    @cached_property
    def _parts(self):
        """The ids of the vocabulary that each id stands for."""
        parts = [[i] for i in range(len(self.vocabulary))]
        for first, second in self.pairs:
            parts.append(parts[first] + parts[second])
        return parts

    @cached_property
    def _merger(self):
        """The encoding as a tokenizer of text, see `_words`."""
        with needs_extra("lm"):
            from tokenizers import Tokenizer, models, pre_tokenizers
        texts = ["".join(map(_text_of, part)) for part in self._parts]
        merges = [(texts[first], texts[second]) for first, second in self.pairs]
        numbers = {text: number for number, text in enumerate(texts)}
        merger = Tokenizer(models.BPE(numbers, merges))
        merger.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return merger


def _text_of(number):
    """The character of an id."""
    return chr(_FIRST_CHARACTER + number)


def _words(ids, vocabulary):
    """Ids as text: a word for each window, and for each special token."""
    ids, _ = vocabulary._find_windows(ids)
    is_token = ids >= len(vocabulary) - vocabulary.n_tokens
    place = (np.cumsum(is_token) - 1) % vocabulary.tokens_per_window
    begins = np.flatnonzero(~is_token | (place == 0))
    characters = [_text_of(number) for number in ids.tolist()]
    bounds = pairwise([*begins.tolist(), len(ids)])
    return " ".join("".join(characters[low:high]) for low, high in bounds)
