"""The ids and the vocabulary in the formats of Hugging Face."""

from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np

from sktok._extras import needs_extra
from sktok._files import whole_folder
from sktok._rows import require_int
from sktok.corpus._reader import read_corpus, read_record


def write_dataset(
    folder,
    corpus,
    *,
    vocabulary=None,
    byte_pairs=None,
    windows_per_row=20,
    push_to_hub=None,
    verbose=0,
):
    """Write a corpus as a dataset of Hugging Face, a folder for `load_from_disk`.

    Parameters
    ----------
    folder : path-like
        Name of the folder, which must not exist.

    corpus : path-like or Bunch
        Folder that `write_corpus` wrote, or result of `read_corpus`.

    vocabulary : Vocabulary or None, default=None
        The vocabulary that `extend_tokenizer` returned for the vocabulary of the
        corpus: the rows have the ids of the text model. `None` keeps the ids of the
        corpus.

    byte_pairs : BytePairEncoding or None, default=None
        Merges frequent pairs of ids in each row. `None` keeps the ids.

    windows_per_row : int, default=20
        Largest number of windows in a row. Rows do not cross records, leads or gaps.

    push_to_hub : str or None, default=None
        Name of a repository of the Hugging Face Hub, such as ``"user/tokens"``, to
        which the dataset is then uploaded. A new repository is private, because tokens
        are as personal as the ECG that they decode to.

    verbose : int, default=0
        Whether to show progress bars.

    Raises
    ------
    FileExistsError
        If the folder exists.
    HfHubHTTPError
        If the Hub refuses the upload. The folder is complete: to try again, call
        ``load_from_disk(folder).push_to_hub(name)``.
    ImportError
        If the package `datasets` is not installed.
    OSError
        If the disk is full, or another process is writing to this folder.
    ValueError
        If `windows_per_row` is not an int of at least 1, `vocabulary` or `byte_pairs`
        is not of the corpus or both are given, or the ids of the corpus are damaged.

    See Also
    --------
    write_corpus : Write the corpus.
    write_auto_tokenizer : Write the tokenizer that these ids belong to.

    Notes
    -----
    The rows of the splits ``train`` and ``val`` have the columns ``input_ids``,
    ``record``, ``lead`` (its name, or the names of several separated by ", ", or null
    if unknown), ``start`` (the first sample) and ``group`` (the patient). The
    concatenated ``input_ids`` of the rows of a lead are its ids in the flat files, or
    their encoding.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from datasets import load_from_disk
    >>> from sktok import BlockSegmenter, VectorQuantizer
    >>> from sktok.corpus import write_corpus, write_dataset
    >>> from sktok.datasets import load_ecg
    >>> from sklearn.pipeline import make_pipeline
    >>> ecg = load_ecg()
    >>> tokenizer = make_pipeline(BlockSegmenter(25), VectorQuantizer(16)).fit(ecg.data)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     corpus = write_corpus(Path(folder, "corpus"), ecg, tokenizer, validation=[])
    ...     write_dataset(Path(folder, "dataset"), corpus)
    ...     rows = load_from_disk(Path(folder, "dataset"))["train"]
    ...     [len(row["input_ids"]) for row in rows][:3]  # the first begins with <bos>
    [201, 200, 200]
    """
    with needs_extra("lm"):
        import datasets
    require_int("windows_per_row", windows_per_row)
    corpus = corpus if isinstance(corpus, Mapping) else read_corpus(corpus)
    convert = _conversion(vocabulary, byte_pairs, corpus.vocabulary)
    ids, text = datasets.List(datasets.Value("uint32")), datasets.Value("string")
    features = datasets.Features(
        input_ids=ids,
        record=text,
        lead=text,
        start=datasets.Value("int64"),
        group=text,
    )
    batches = (
        (entry["split"], _rows_of(entry, corpus, windows_per_row, convert))
        for entry in corpus.records
    )
    write_splits(folder, batches, features, verbose)
    if push_to_hub is not None:
        with _progress_bars(verbose):
            datasets.load_from_disk(folder).push_to_hub(push_to_hub, private=True)


def _conversion(vocabulary, byte_pairs, own):
    """A function of the ids of a row, to those of a text model or of pairs."""
    if vocabulary is not None and byte_pairs is not None:
        raise ValueError(
            "vocabulary and byte_pairs are given, expected one: a text model has no "
            "ids for pairs."
        )
    if byte_pairs is not None:
        if byte_pairs.vocabulary != own:
            raise ValueError(
                "byte_pairs is of another vocabulary than the corpus: make it by "
                "BytePairEncoding.from_corpus(corpus)."
            )
        return byte_pairs.encode
    if vocabulary is None:
        return np.asarray
    if replace(vocabulary, first_id=0) != own:
        raise ValueError(
            "vocabulary is not that of the corpus: give the result of "
            "extend_tokenizer(text_tokenizer, corpus.vocabulary)."
        )
    return lambda ids: ids.astype(np.uint32) + np.uint32(vocabulary.first_id)


def write_splits(folder, batches, features, verbose):
    """Write batches of rows as a `DatasetDict`; the folder is whole or absent.

    Parameters
    ----------
    folder : path-like
        Name of the folder, which must not exist.

    batches : iterable of (str, dict of str to list)
        The split and the columns of some rows.

    features : datasets.Features
        Types of the columns.

    verbose : int
        Whether to show progress bars.
    """
    import datasets
    from datasets.arrow_writer import ArrowWriter

    with whole_folder(folder) as staged, _progress_bars(verbose):
        with ExitStack() as open_files:
            writers = {}
            for split, columns in batches:
                if split not in writers:
                    path = str(staged / f"{split}.arrow")
                    writer = ArrowWriter(path=path, features=features)
                    writers[split] = open_files.enter_context(writer)
                writers[split].write_batch(columns)
            for writer in writers.values():
                writer.finalize()
        paths = {split: staged / f"{split}.arrow" for split in sorted(writers)}
        if not paths:
            raise ValueError("There are no rows, expected at least one example.")
        datasets.DatasetDict(
            {split: datasets.Dataset.from_file(str(paths[split])) for split in paths}
        ).save_to_disk(staged)
        for path in paths.values():
            path.unlink()


@contextmanager
def _progress_bars(verbose):
    """Show the progress bars of `datasets` in a block only if `verbose`."""
    import datasets

    hides = not (verbose or datasets.are_progress_bars_disabled())
    if hides:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        if hides:
            datasets.enable_progress_bars()


def _rows_of(entry, corpus, windows_per_row, convert):
    """The rows of an entry: ids, record, lead, first sample, patient."""
    ids, places, samples = read_record(corpus, entry)
    within_run = np.concatenate([np.arange(n) for _, n in entry["runs"]])
    first = np.flatnonzero(within_run % windows_per_row == 0)  # window of each row
    # A run begins with <bos> or <sep>, which belongs to its first row.
    cuts = places[first] - (within_run[first] == 0)
    rows = [convert(row) for row in np.split(ids, cuts[1:])]
    lead = entry["lead"]
    return {
        "input_ids": rows,
        "record": [entry["record"]] * len(rows),
        "lead": [", ".join(lead) if isinstance(lead, list) else lead] * len(rows),
        "start": samples[first].tolist(),
        "group": [entry["group"]] * len(rows),
    }


def write_auto_tokenizer(folder, vocabulary):
    """Write a vocabulary as a tokenizer of Hugging Face, for `AutoTokenizer`.

    Its text is the names of tokens separated by spaces, for example
    ``"<bos> ecg_17 ecg_3"``.

    Parameters
    ----------
    folder : path-like
        Name of the folder, which must not exist.

    vocabulary : Vocabulary
        The vocabulary, which is also written to the folder as ``vocabulary.json``.

    Raises
    ------
    FileExistsError
        If the folder exists.
    ImportError
        If the package `transformers` is not installed.
    OSError
        If the disk is full, or another process is writing to this folder.
    ValueError
        If the vocabulary is that of a text model.

    See Also
    --------
    extend_tokenizer : Add the tokens to the tokenizer of a text model instead.
    write_dataset : Write ids that this tokenizer decodes.
    Vocabulary : The ids and the tokens.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from transformers import AutoTokenizer
    >>> from sktok.corpus import Vocabulary, write_auto_tokenizer
    >>> vocabulary = Vocabulary(256, 25, 250, fingerprint="of a tokenizer")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_auto_tokenizer(Path(folder, "ecg"), vocabulary)
    ...     AutoTokenizer.from_pretrained(Path(folder, "ecg"))("<bos> ecg_17").input_ids
    [1, 22]
    """
    with needs_extra("lm"):
        import tokenizers
        import transformers
    if vocabulary.first_id:
        raise ValueError(
            f"vocabulary has first_id={vocabulary.first_id}, so it is that of a text "
            "model: save the tokenizer of the text model by its save_pretrained."
        )
    ids = {text: index for index, text in enumerate(vocabulary.id_to_token)}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words,
        **{f"{name}_token": f"<{name}>" for name in ("pad", "bos", "eos", "sep")},
        additional_special_tokens=["<missing>"],
        clean_up_tokenization_spaces=False,
    )
    with whole_folder(folder) as staged:
        try:
            tokenizer.save_pretrained(staged)
        except Exception as error:  # tokenizers, in Rust, does not raise OSError
            raise OSError(*error.args) from error
        vocabulary.to_json(staged / "vocabulary.json")
