"""The ids and the vocabulary in the formats of Hugging Face."""

from collections.abc import Mapping
from contextlib import ExitStack

import numpy as np

from sktok._extras import needs_extra
from sktok._files import whole_folder
from sktok._rows import require_int
from sktok.corpus._reader import read_corpus, read_record


def write_dataset(folder, corpus, *, windows_per_row=20, verbose=0):
    """Write a corpus as a dataset of Hugging Face, a folder for `load_from_disk`.

    Parameters
    ----------
    folder : path-like
        Name of the folder, which must not exist.

    corpus : path-like or Bunch
        Folder that `write_corpus` wrote, or result of `read_corpus`.

    windows_per_row : int, default=20
        Largest number of windows in a row. Rows do not cross records, leads or gaps.

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
    ValueError
        If `windows_per_row` is not an int of at least 1, or the ids of the corpus are
        damaged.

    See Also
    --------
    write_corpus : Write the corpus.
    write_auto_tokenizer : Write the tokenizer that these ids belong to.

    Notes
    -----
    The rows of the splits ``train`` and ``val`` have the columns ``input_ids``,
    ``record``, ``lead`` (its name, or the names of several separated by ", ", or null
    if unknown), ``start`` (the first sample) and ``group`` (the patient). The
    concatenated ``input_ids`` of the rows of a lead are its ids in the flat files.

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
        from datasets.arrow_writer import ArrowWriter
    require_int("windows_per_row", windows_per_row)
    corpus = corpus if isinstance(corpus, Mapping) else read_corpus(corpus)
    ids, text = datasets.List(datasets.Value("uint32")), datasets.Value("string")
    features = datasets.Features(
        input_ids=ids,
        record=text,
        lead=text,
        start=datasets.Value("int64"),
        group=text,
    )
    with whole_folder(folder) as staged, ExitStack() as afterwards:
        if not (verbose or datasets.are_progress_bars_disabled()):
            datasets.disable_progress_bars()
            afterwards.callback(datasets.enable_progress_bars)
        splits = {}
        for split in sorted({entry["split"] for entry in corpus.records}):
            path = str(staged / f"{split}.arrow")
            with ArrowWriter(path=path, features=features) as writer:
                for entry in corpus.records:
                    if entry["split"] == split:
                        writer.write_batch(_rows_of(entry, corpus, windows_per_row))
                writer.finalize()
            splits[split] = datasets.Dataset.from_file(path)
        datasets.DatasetDict(splits).save_to_disk(staged)
        for split in splits:
            (staged / f"{split}.arrow").unlink()


def _rows_of(entry, corpus, windows_per_row):
    """The rows of an entry: ids, record, lead, first sample, patient."""
    ids, places, samples = read_record(corpus, entry)
    within_run = np.concatenate([np.arange(n) for _, n in entry["runs"]])
    first = np.flatnonzero(within_run % windows_per_row == 0)  # window of each row
    # A run begins with <bos> or <sep>, which belongs to its first row.
    cuts = places[first] - (within_run[first] == 0)
    rows = np.split(ids, cuts[1:])
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

    See Also
    --------
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
