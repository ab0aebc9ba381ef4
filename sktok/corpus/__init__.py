"""Tokens as the corpus of a language model: ids, files, and decoding.

A :class:`Vocabulary` maps the tokens of windows to the ids of a language model and
back. :func:`write_corpus` writes records to two flat files of ids, one for training and
one for validation, with no patient in both; :func:`read_corpus` maps them into memory.
:func:`write_dataset` and :func:`write_auto_tokenizer` write the same ids for the
libraries of Hugging Face, and a :class:`BytePairEncoding` merges frequent pairs of ids.

:func:`extend_tokenizer` and :func:`extend_model` add the tokens to a text model, which
:func:`write_text_dataset` writes text with ECG for.

The ids of a lead of a record are those of its windows in order, between ``<bos>`` and
``<eos>``. A window with invalid samples is a single ``<missing>``, and ``<sep>`` marks
a gap in time. Files and folders take their names when they are complete.
"""

from sktok.corpus._byte_pairs import BytePairEncoding
from sktok.corpus._hugging_face import write_auto_tokenizer, write_dataset
from sktok.corpus._reader import read_corpus
from sktok.corpus._text_models import (
    extend_model,
    extend_tokenizer,
    write_text_dataset,
)
from sktok.corpus._vocabulary import Vocabulary
from sktok.corpus._writer import write_corpus

__all__ = [
    "BytePairEncoding",
    "Vocabulary",
    "extend_model",
    "extend_tokenizer",
    "read_corpus",
    "write_auto_tokenizer",
    "write_corpus",
    "write_dataset",
    "write_text_dataset",
]
