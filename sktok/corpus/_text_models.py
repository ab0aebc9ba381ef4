"""ECG in text models: their tokenizers, their embeddings, and datasets of both."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from sklearn.utils import check_random_state

from sktok._extras import needs_extra
from sktok._rows import require_int
from sktok._steps import code_vectors
from sktok.corpus._hugging_face import write_splits
from sktok.corpus._sources import error_in
from sktok.datasets._patients import is_validation, patient_name, validate_share

_NOT_LEARNED = -100  # the label of an id that the loss leaves out
_LENGTH = 0.2  # of new embeddings, relative to text without its mean


def extend_tokenizer(text_tokenizer, vocabulary, *, prefix="ecg"):
    """Add the tokens of ECG to the tokenizer of a text model.

    The names of the new tokens are ``<ecg_pad>``, ``<ecg>``, ``</ecg>``, ``<ecg_sep>``
    and ``<ecg_missing>`` for the special tokens, then ``<ecg_0>``, ``<ecg_1>`` and so
    on. Text ids keep their meaning. The ids of a corpus, plus `first_id` of the result,
    are those of the text model: ``<bos>`` and ``<eos>`` become ``<ecg>`` and
    ``</ecg>``.

    Parameters
    ----------
    text_tokenizer : PreTrainedTokenizerBase
        A tokenizer of `transformers`. It is changed in place; `save_pretrained` stores
        it with the new tokens, which are special: `decode` with
        ``skip_special_tokens=True`` gives the text alone.

    vocabulary : Vocabulary
        Vocabulary of the ECG, as from `Vocabulary.from_tokenizer`.

    prefix : str, default="ecg"
        Begins the names. Several vocabularies in one text model, as of ECG and of
        another signal, need different ones.

    Returns
    -------
    Vocabulary
        The same vocabulary with the ids of the text model: its `encode`, `decode` and
        `decode_signal` are maps from tokens to these ids and back. Save it along with
        the text model by `to_json`.

    Raises
    ------
    TypeError
        If it is no tokenizer of `transformers`.
    ValueError
        If the tokenizer has one of the names, for example because it was extended
        before; if the vocabulary is that of a text model already; or if `prefix` has
        characters other than letters, digits, ``-`` and ``_``.

    See Also
    --------
    extend_model : Add the rows of the new tokens to the embeddings of the model.
    write_text_dataset : Write text with ECG in it.

    Examples
    --------
    >>> import tokenizers
    >>> from sktok.corpus import Vocabulary, extend_tokenizer
    >>> from transformers import PreTrainedTokenizerFast
    >>> words = {"<pad>": 0, "an": 1, "ECG": 2}  # in place of a real tokenizer
    >>> model = tokenizers.models.WordLevel(words, unk_token="<pad>")
    >>> text_tokenizer = PreTrainedTokenizerFast(
    ...     tokenizer_object=tokenizers.Tokenizer(model), pad_token="<pad>"
    ... )
    >>> vocabulary = Vocabulary(256, 5, 250, fingerprint="of a tokenizer")
    >>> joined = extend_tokenizer(text_tokenizer, vocabulary)
    >>> joined.first_id, len(text_tokenizer)
    (3, 264)
    >>> ids = joined.encode([[17, 4, 0, 2, 255]])
    >>> text_tokenizer.decode(ids)
    '<ecg_17> <ecg_4> <ecg_0> <ecg_2> <ecg_255>'
    >>> joined.decode([1, 2, joined.bos_id, *ids, joined.eos_id])
    array([[ 17,   4,   0,   2, 255]])
    """
    if not hasattr(text_tokenizer, "add_tokens"):
        raise TypeError(
            f"text_tokenizer is a {type(text_tokenizer).__name__}, expected a "
            "tokenizer of transformers, such as AutoTokenizer.from_pretrained gives."
        )
    if vocabulary.first_id:
        raise ValueError(
            f"vocabulary has first_id={vocabulary.first_id}, so it is that of a text "
            "model: give Vocabulary.from_tokenizer(tokenizer), or that of a corpus."
        )
    with needs_extra("lm"):
        from tokenizers import AddedToken
    names = _names(vocabulary, prefix)
    taken = text_tokenizer.get_vocab().keys() & names
    if taken:
        raise ValueError(
            f"The tokenizer has the token {min(taken)} already. If it was extended "
            "before, read the vocabulary that was saved with it; otherwise choose "
            f"another prefix than {prefix!r}."
        )
    text_tokenizer.add_tokens(
        [AddedToken(name, normalized=False, special=True) for name in names]
    )
    first_id = text_tokenizer.convert_tokens_to_ids(names[0])
    extended = replace(vocabulary, first_id=first_id)
    _require_extended(text_tokenizer, extended)
    return extended


def _names(vocabulary, prefix):
    """The names of all ids in a text model."""
    if not isinstance(prefix, str) or not prefix.replace("-", "_").isidentifier():
        raise ValueError(
            f"prefix={prefix!r}: expected a word of letters, digits, '-' and '_', such "
            "as 'ecg'."
        )
    endings = ["sep", "missing", *range(vocabulary.n_tokens)]
    begin = [f"<{prefix}_pad>", f"<{prefix}>", f"</{prefix}>"]
    return begin + [f"<{prefix}_{ending}>" for ending in endings]


def _require_extended(text_tokenizer, vocabulary):
    """Raise unless the tokenizer has the tokens of a vocabulary, at its ids."""
    names = {index: name for name, index in text_tokenizer.get_vocab().items()}
    begin, last_id = vocabulary.bos_id, vocabulary.first_id + len(vocabulary) - 1
    expected = f"{names.get(begin, '')[:-1]}_{vocabulary.n_tokens - 1}>"
    if names.get(last_id) != expected:
        raise ValueError(
            "The text tokenizer does not have the tokens of the vocabulary as ids "
            f"{vocabulary.first_id} to {last_id}: give the vocabulary that "
            "extend_tokenizer returned for this tokenizer."
        )


def extend_model(model, vocabulary, tokenizer, *, random_state=None):
    """Add embeddings of the tokens of ECG to a text model, and start from the codebook.

    Tokens that stand for similar ECG begin with similar embeddings, all of about the
    same length. For each kind of token (offset, gain, each stage of codes), random
    Fourier features of the code vectors [1]_ combine embeddings of some tokens of text.
    The result is a fifth as long as these, so that training moves it easily. The
    special tokens begin with the mean of text.

    Parameters
    ----------
    model : PreTrainedModel
        A model of `transformers`. Its input embeddings, and its output embeddings if
        they are not the same, are changed in place; the rows of text keep their values.

    vocabulary : Vocabulary
        The vocabulary that `extend_tokenizer` returned.

    tokenizer : transformer or Pipeline
        The fitted tokenizer of the ECG.

    random_state : int, RandomState instance or None, default=None
        Seeds the maps.

    Raises
    ------
    TypeError
        If the last step of the tokenizer does not say what its tokens stand for, or it
        is no model of `transformers`.
    ValueError
        If it is another tokenizer than that of the vocabulary, or the vocabulary is not
        that of a text model.

    See Also
    --------
    extend_tokenizer : Add the tokens to the tokenizer first.

    Notes
    -----
    A model may have more embeddings than its tokenizer has tokens, often to fill a
    multiple of 64. They are used, and no row is removed.

    The mean of the embeddings of text is left out, unlike in `resize_token_embeddings`
    of `transformers`: it is about as long as what distinguishes them, and new tokens
    that share it look alike. `examples/benchmark_text_model.py` compares these starts.

    References
    ----------
    .. [1] A. Rahimi and B. Recht, "Random features for large-scale kernel machines",
       NeurIPS 2007: :class:`sklearn.kernel_approximation.RBFSampler`.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from sktok import load_pretrained
    >>> from sktok.corpus import Vocabulary, extend_model
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    >>> model = LlamaForCausalLM(LlamaConfig(vocab_size=100, **sizes))
    >>> tokenizer = load_pretrained("ecg-12hz-v1")
    >>> vocabulary = Vocabulary.from_tokenizer(tokenizer)
    >>> vocabulary = replace(vocabulary, first_id=100)  # as extend_tokenizer does
    >>> extend_model(model, vocabulary, tokenizer, random_state=0)
    >>> model.get_input_embeddings()
    Embedding(4713, 32)
    """
    import torch
    from sklearn.kernel_approximation import RBFSampler

    if not hasattr(model, "resize_token_embeddings"):
        raise TypeError(
            f"model is a {type(model).__name__}, expected a model of transformers, "
            "such as AutoModelForCausalLM.from_pretrained gives."
        )
    n_text = vocabulary.first_id
    n_rows = model.get_input_embeddings().num_embeddings
    if not 0 < n_text <= n_rows:
        raise ValueError(
            f"vocabulary has first_id={n_text}, but the model has {n_rows} embeddings: "
            "give the vocabulary that extend_tokenizer returned for its tokenizer. If "
            "its tokenizer had more tokens than the model even before, call "
            "model.resize_token_embeddings first."
        )
    vocabulary.check(tokenizer)
    codes = code_vectors(tokenizer)
    n_special = len(vocabulary) - vocabulary.n_tokens
    end = n_text + len(vocabulary)
    model.resize_token_embeddings(max(n_rows, end), mean_resizing=False)
    tables = [model.get_input_embeddings().weight]
    head = model.get_output_embeddings()
    if head is not None and head.weight is not tables[0]:
        tables.append(head.weight)
    rng = check_random_state(random_state)
    for table in tables:
        with torch.no_grad():
            text = table[:n_text].float()
            mean = text.mean(dim=0)
            rows = [mean.expand(n_special, -1)]
            for vectors in codes:
                n_features = table.shape[1]
                sampler = RBFSampler(
                    gamma="scale", n_components=n_features, random_state=rng
                )
                features = text.new_tensor(sampler.fit_transform(vectors))
                some = text[rng.randint(n_text, size=n_features)] - mean
                rows.append(_LENGTH * features @ some)
            table[n_text:end] = torch.cat(rows)


def write_text_dataset(
    folder,
    examples,
    text_tokenizer,
    vocabulary,
    *,
    validation=0.1,
    max_length=None,
    verbose=0,
):
    """Write text with ECG in it as a dataset of Hugging Face, to train a text model.

    Each ``<ecg>`` in a prompt or a completion is replaced by the ids of an ECG, from
    ``<ecg>`` to ``</ecg>``. The labels of a prompt are -100, which the loss leaves out:
    the model learns the completion, from what comes before it.

    Parameters
    ----------
    folder : path-like
        Name of the folder, which must not exist. Read it with
        `datasets.load_from_disk`.

    examples : iterable of dict
        Each has a ``prompt`` and a ``completion``, which are text, and ``ecg``: tokens
        of windows, shape (n_windows, tokens_per_window), or a list of such arrays, one
        for each ``<ecg>`` in the order of the text. A ``group``, the patient, is
        optional; without one, an example is a patient of its own.

    text_tokenizer : PreTrainedTokenizerBase
        The tokenizer of the text model, after `extend_tokenizer`.

    vocabulary : Vocabulary
        The vocabulary that `extend_tokenizer` returned.

    validation : float or collection of str, default=0.1
        The patients of the split ``val``: an approximate share or their names, as in
        :func:`write_corpus`.

    max_length : int or None, default=None
        Largest number of ids of an example; `None` allows any number. Nothing is cut
        off: a longer example is an error.

    verbose : int, default=0
        Whether to show progress bars.

    Raises
    ------
    FileExistsError
        If the folder exists.
    ImportError
        If the package `datasets` is not installed.
    OSError
        If the disk is full, or another process is writing to this folder.
    TypeError
        If an example is not a mapping, its text is not a str, or its tokens are not
        integers.
    ValueError
        If there are no examples; if an example lacks a key, has more or fewer ECGs than
        ``<ecg>`` in its text, names single tokens of ECG in its text, has invalid
        tokens, or is longer than `max_length`; or if the tokenizer was not extended by
        this vocabulary.

    See Also
    --------
    extend_tokenizer : Returns the vocabulary.
    write_dataset : Write ECG alone.

    Notes
    -----
    The rows of the splits ``train`` and ``val`` have the columns ``input_ids``,
    ``labels`` and ``group``. `transformers.DataCollatorForSeq2Seq` pads them to
    batches.

    The first id is ``bos_token_id`` if the tokenizer puts it before text, the last one
    ``eos_token_id`` if there is one; neither is added where a chat template has put it
    already. To use a chat template, apply it to prompts with ``tokenize=False`` and
    ``add_generation_prompt=True``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import tokenizers
    >>> from datasets import load_from_disk
    >>> from sktok.corpus import Vocabulary, extend_tokenizer, write_text_dataset
    >>> from transformers import PreTrainedTokenizerFast
    >>> words = {"<end>": 0, "Rhythm?": 1, "Sinus": 2, "rhythm.": 3}
    >>> words = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, "<end>"))
    >>> words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    >>> text_tokenizer = PreTrainedTokenizerFast(
    ...     tokenizer_object=words, eos_token="<end>"
    ... )
    >>> vocabulary = Vocabulary(256, 2, 250, fingerprint="of a tokenizer")
    >>> vocabulary = extend_tokenizer(text_tokenizer, vocabulary)
    >>> example = {
    ...     "prompt": "<ecg> Rhythm?",
    ...     "completion": "Sinus rhythm.",
    ...     "ecg": [[17, 4], [255, 0]],
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "dataset")
    ...     arguments = text_tokenizer, vocabulary
    ...     write_text_dataset(path, [example], *arguments, validation=[])
    ...     row = load_from_disk(path)["train"][0]
    >>> text_tokenizer.decode(row["input_ids"])
    '<ecg> <ecg_17> <ecg_4> <ecg_255> <ecg_0> </ecg> Rhythm? Sinus rhythm. <end>'
    >>> row["labels"]
    [-100, -100, -100, -100, -100, -100, -100, 2, 3, 0]
    """
    with needs_extra("lm"):
        import datasets
    validation = validate_share(validation)
    if max_length is not None:
        require_int("max_length", max_length)
    _require_extended(text_tokenizer, vocabulary)
    features = datasets.Features(
        input_ids=datasets.List(datasets.Value("uint32")),
        labels=datasets.List(datasets.Value("int64")),
        group=datasets.Value("string"),
    )

    def batches():
        for position, example in enumerate(examples):
            with error_in(f"example {position}"):
                row = _row_of(example, text_tokenizer, vocabulary)
                _require_short(row["input_ids"], max_length)
                group = patient_name(example.get("group", str(position)))
            split = "val" if is_validation(group, validation) else "train"
            batch = row | {"group": group}
            yield split, {name: [value] for name, value in batch.items()}

    write_splits(folder, batches(), features, verbose)


def _row_of(example, text_tokenizer, vocabulary):
    """Ids and labels of an example."""
    if not isinstance(example, Mapping):
        raise TypeError(f"It is a {type(example).__name__}, expected a dict.")
    absent = {"prompt", "completion", "ecg"} - example.keys()
    if absent:
        raise ValueError(f"It has no {', '.join(sorted(absent))}.")
    ecgs = example["ecg"]
    is_list = isinstance(ecgs, list | tuple) and len(ecgs) and np.ndim(ecgs[0]) == 2
    ecgs = iter(ecgs if is_list else [ecgs])
    prompt = _with_ecg("prompt", example["prompt"], ecgs, text_tokenizer, vocabulary)
    completion = example["completion"]
    completion = _with_ecg("completion", completion, ecgs, text_tokenizer, vocabulary)
    n_left = len(list(ecgs))
    if n_left:
        raise ValueError(
            f"It has {n_left} more ECGs than its text has places: write "
            f"{_begin(text_tokenizer, vocabulary)} where each belongs."
        )
    first, last = text_tokenizer.bos_token_id, text_tokenizer.eos_token_id
    if first is not None and text_tokenizer("").input_ids[:1] == [first]:
        prompt = prompt if prompt[:1] == [first] else [first, *prompt]
    if last is not None and completion[-1:] != [last]:
        completion = [*completion, last]
    labels = [_NOT_LEARNED] * len(prompt) + completion
    return {"input_ids": prompt + completion, "labels": labels}


def _begin(text_tokenizer, vocabulary):
    return text_tokenizer.convert_ids_to_tokens(vocabulary.bos_id)


def _with_ecg(key, text, ecgs, text_tokenizer, vocabulary):
    """The ids of a text, with those of the next ECG in each place."""
    if not isinstance(text, str):
        raise TypeError(f"Its {key} is a {type(text).__name__}, expected a str.")
    ids = []
    for text_id in text_tokenizer(text, add_special_tokens=False).input_ids:
        ids.append(text_id)
        if text_id == vocabulary.bos_id:
            tokens = next(ecgs, None)
            if tokens is None:
                raise ValueError(
                    f"Its text has more places of an ECG, "
                    f"{_begin(text_tokenizer, vocabulary)}, than there are in `ecg`."
                )
            ids += [*vocabulary.encode(tokens).tolist(), vocabulary.eos_id]
        elif 0 <= text_id - vocabulary.first_id < len(vocabulary):
            name = text_tokenizer.convert_ids_to_tokens(text_id)
            raise ValueError(
                f"Its {key} has {name} in it, a token of ECG: write "
                f"{_begin(text_tokenizer, vocabulary)}, and give the tokens as `ecg`."
            )
    return ids


def _require_short(ids, max_length):
    if max_length is not None and len(ids) > max_length:
        raise ValueError(
            f"It has {len(ids)} ids, more than max_length={max_length}: give fewer "
            "windows, or a tokenizer with fewer tokens a second."
        )
