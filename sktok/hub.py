"""Folders of fitted tokenizers, and the Hugging Face Hub.

:func:`save_pretrained` writes a folder, :func:`push_to_hub` uploads it, and
:func:`from_pretrained` loads it from either. The folder holds the tokenizer in the safe
format of :mod:`sktok.persistence`, its vocabulary with the fingerprint, and a card.
"""

import tempfile
from pathlib import Path

import numpy as np
import sklearn

import sktok
from sktok._extras import needs_extra
from sktok._files import whole_folder
from sktok._steps import signal_facts, steps_of
from sktok.corpus import Vocabulary
from sktok.persistence import load, save

__all__ = ["from_pretrained", "push_to_hub", "save_pretrained"]

_TOKENIZER, _VOCABULARY, _CARD = "tokenizer.skops", "vocabulary.json", "README.md"


def save_pretrained(tokenizer, folder, *, card=None):
    """Write a fitted tokenizer to a folder that anyone may load.

    Parameters
    ----------
    tokenizer : transformer or Pipeline
        A fitted tokenizer of the estimators of sktok, as for
        :func:`sktok.persistence.save`.

    folder : path-like
        Name of the folder, which must not exist.

    card : str or None, default=None
        Text of the model card, in Markdown. `None` writes what is known of the
        tokenizer, and the headings of what is not known, such as its data.

    Raises
    ------
    FileExistsError
        If the folder exists.
    NotFittedError
        If the tokenizer is not fitted.
    OSError
        If the disk is full, or another process is writing to this folder.
    TypeError
        If the tokenizer holds an unsupported object, or the card is not a str.
    ValueError
        If the tokenizer does not return tokens.

    See Also
    --------
    from_pretrained : Loads the folder.
    push_to_hub : Uploads such a folder.

    Notes
    -----
    The folder holds ``tokenizer.skops``, ``vocabulary.json`` (see
    :meth:`sktok.corpus.Vocabulary.to_json`) and the card ``README.md``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktok import BlockSegmenter, VectorQuantizer
    >>> from sktok.datasets import load_ecg
    >>> from sktok.hub import from_pretrained, save_pretrained
    >>> X = load_ecg().data
    >>> tokenizer = make_pipeline(BlockSegmenter(25), VectorQuantizer(16)).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_pretrained(tokenizer, Path(folder, "ecg"))
    ...     loaded = from_pretrained(Path(folder, "ecg"))
    >>> bool((loaded.transform(X) == tokenizer.transform(X)).all())
    True
    """
    if not isinstance(card, str | None):
        raise TypeError(f"card is a {type(card).__name__}, expected a str, or None.")
    with whole_folder(folder) as staged:
        save(tokenizer, staged / _TOKENIZER)
        vocabulary = Vocabulary.from_tokenizer(tokenizer)
        vocabulary.to_json(staged / _VOCABULARY)
        if card is None:
            card = _card(Path(folder).name, tokenizer, vocabulary)
        (staged / _CARD).write_text(card, encoding="utf-8")


def push_to_hub(tokenizer, repo_id, *, card=None, private=None, token=None):
    """Upload a fitted tokenizer to a repository of the Hugging Face Hub.

    All files are in one commit: after an interruption, the repository is as before.

    Parameters
    ----------
    tokenizer : transformer or Pipeline
        As for `save_pretrained`.

    repo_id : str
        Name of the repository, such as ``"user/ecg"``. It is created unless it exists.

    card : str or None, default=None
        As for `save_pretrained`. `None` keeps a card that is in the repository.

    private : bool or None, default=None
        Whether a new repository is private; `None` is the default of its owner.

    token : str or None, default=None
        Token of the Hub. `None` is the one of ``hf auth login``.

    Returns
    -------
    str
        Address of the commit.

    Raises
    ------
    ImportError
        If the package `huggingface_hub` is not installed.
    HfHubHTTPError
        If the Hub refuses the upload, for example without a token.
    HFValidationError
        If `repo_id` cannot be the name of a repository.
    Exception
        As in `save_pretrained`, before anything is uploaded.

    See Also
    --------
    from_pretrained : Loads the tokenizer from the repository.

    Examples
    --------
    >>> from sktok.hub import push_to_hub
    >>> push_to_hub(tokenizer, "user/ecg")  # doctest: +SKIP
    'https://huggingface.co/user/ecg/commit/...'
    """
    with needs_extra("lm"):
        from huggingface_hub import HfApi
        from huggingface_hub.utils import validate_repo_id
    validate_repo_id(repo_id)
    api = HfApi(token=token, library_name="sktok", library_version=sktok.__version__)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, repo_id.rpartition("/")[2])
        save_pretrained(tokenizer, folder, card=card)
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        keeps_card = card is None and api.file_exists(repo_id, _CARD)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            ignore_patterns=[_CARD] if keeps_card else None,
            commit_message=f"Tokenizer of sktok {sktok.__version__}",
        )
    return str(commit.commit_url)


def from_pretrained(name, *, revision=None, token=None):
    """Load a tokenizer from a folder, or from a repository of the Hugging Face Hub.

    No code of the files is executed.

    Parameters
    ----------
    name : path-like or str
        A folder that `save_pretrained` wrote or, if there is no such folder, the name
        of a repository, such as ``"user/ecg"``.

    revision : str or None, default=None
        Branch, tag or commit of the repository; `None` is its main branch. Files are
        downloaded once and kept in the cache of the Hub.

    token : str or None, default=None
        Token of the Hub. `None` is the one of ``hf auth login``, if any.

    Returns
    -------
    estimator or Pipeline
        The fitted tokenizer, on the CPU.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, and it cannot be the name of a repository.
    ImportError
        If it is a repository, and the package `huggingface_hub` is not installed.
    HfHubHTTPError
        If there is no such repository or revision, or it is private.
    ValueError
        If the folder or the repository holds no tokenizer of sktok, or its files are
        damaged or do not belong together.

    See Also
    --------
    save_pretrained : Writes the folder.
    sktok.load_pretrained : Tokenizers that are part of the package.

    Notes
    -----
    Pin a `revision`, or compare the fingerprint of ``Vocabulary.from_tokenizer`` with
    the published one: a repository may change, and tokens of another tokenizer have
    another meaning.

    Examples
    --------
    >>> from sktok.hub import from_pretrained
    >>> tokenizer = from_pretrained("user/ecg", revision="v1")  # doctest: +SKIP
    """
    folder = Path(name)
    if not folder.is_dir():
        folder = _download(str(name), revision, token)
    absent = [f for f in (_TOKENIZER, _VOCABULARY) if not (folder / f).is_file()]
    if absent:
        raise ValueError(
            f"{name} holds no tokenizer of sktok, as {' and '.join(absent)} is not "
            "there: give a folder of save_pretrained, or a repository of push_to_hub."
        )
    tokenizer = load(folder / _TOKENIZER)
    vocabulary = Vocabulary.from_json(folder / _VOCABULARY)
    if Vocabulary.from_tokenizer(tokenizer) != vocabulary:
        raise ValueError(
            f"{_TOKENIZER} and {_VOCABULARY} of {name} do not belong together, as the "
            "vocabulary is that of another tokenizer: ask who published it."
        )
    return tokenizer


def _download(name, revision, token):
    """The folder of a repository in the cache of the Hub."""
    if name in sktok.list_pretrained():
        raise FileNotFoundError(
            f"There is no folder {name}; the tokenizer of this name in the package is "
            f"loaded by sktok.load_pretrained({name!r})."
        )
    with needs_extra("lm"):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise FileNotFoundError(
            f"There is no folder {name}, and it is no name of a repository ({error})."
        ) from error
    path = snapshot_download(
        name,
        revision=revision,
        token=token,
        allow_patterns=[_TOKENIZER, _VOCABULARY],
        library_name="sktok",
        library_version=sktok.__version__,
    )
    return Path(path)


def _card(name, tokenizer, vocabulary):
    """What is known of a tokenizer, as a model card in Markdown."""
    import torch

    facts = signal_facts(tokenizer)
    lead = facts.lead if isinstance(facts.lead, str | None) else ", ".join(facts.lead)
    n_leads = vocabulary.n_leads
    steps = [" ".join(repr(step).split()) for step in steps_of(tokenizer)]
    rows = {
        "windows": f"{vocabulary.window_length} samples of {n_leads} lead"
        + "s" * (n_leads > 1),
        "sampling rate": facts.fs and f"{facts.fs:g} Hz",
        "unit": facts.unit,
        "lead": lead,
        "tokens per window": vocabulary.tokens_per_window,
        "vocabulary": f"{vocabulary.n_tokens} tokens",
        "fingerprint": f"`{vocabulary.fingerprint}`",
        "steps": "<br>".join(f"`{step}`" for step in steps),
        "releases": f"sktok {sktok.__version__}, torch {torch.__version__}, "
        f"scikit-learn {sklearn.__version__}, NumPy {np.__version__}",
    }
    table = "\n".join(
        f"| {key} | {'not stated' if value is None else value} |"
        for key, value in rows.items()
    )
    headings = {
        "Data": "Whose signals, from which device, under which terms.",
        "Patients and split": "Which patients it was fitted on and tested on.",
        "Figures": "On unseen patients, with the command that prints them.",
        "Limits": "Where not to use it.",
    }
    unknown = "\n\n".join(
        f"## {heading}\n\n*{what}* Not stated." for heading, what in headings.items()
    )
    return _CARD_TEXT.format(name=name, table=table, unknown=unknown)


_CARD_TEXT = """\
---
library_name: sktok
tags:
- sktok
- ecg
- tokenizer
---

# {name}

A tokenizer of sktok: it turns windows of ECG, or of another biosignal, into integer
tokens for a language model, and tokens back into windows. It loads without executing
code.

```python
from sktok.hub import from_pretrained

tokenizer = from_pretrained("{name}")  # this folder, or the name of this repository
tokens = tokenizer.transform(X)
```

## The tokenizer

| | |
|---|---|
{table}

{unknown}
"""
