"""Folders of tokenizers, and the Hub: by its own client, at a server of this test."""

import json

import numpy as np
import pytest
from hugging_face_hub import running_hub
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktok import AmplitudeScaler, BlockSegmenter, Resampler, VectorQuantizer
from sktok.corpus import Vocabulary, read_corpus, write_corpus, write_dataset
from sktok.hub import from_pretrained, push_to_hub, save_pretrained

huggingface_hub = pytest.importorskip("huggingface_hub", reason="needs the extra lm")
datasets = pytest.importorskip("datasets", reason="needs the extra lm")

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=.*:DeprecationWarning")


@pytest.fixture(scope="module")
def tokenizers(ecg):
    """Two that make other tokens."""
    return [
        make_pipeline(
            Resampler(360, 360, unit="mV", lead="MLII"),
            BlockSegmenter(25),
            VectorQuantizer(n_codes, random_state=0),
        ).fit(ecg.data)
        for n_codes in (16, 8)
    ]


@pytest.fixture
def tokenizer(tokenizers):
    return tokenizers[0]


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with running_hub(monkeypatch, tmp_path / "cache") as hub:
        yield hub


def assert_same(found, tokenizer, X):
    np.testing.assert_array_equal(found.transform(X), tokenizer.transform(X))
    expected = Vocabulary.from_tokenizer(tokenizer)
    assert Vocabulary.from_tokenizer(found) == expected


# --- folders


def test_a_folder_leads_back_to_the_tokenizer(tokenizer, ecg, tmp_path):
    save_pretrained(tokenizer, tmp_path / "ecg")
    assert_same(from_pretrained(tmp_path / "ecg"), tokenizer, ecg.data)
    assert_same(from_pretrained(str(tmp_path / "ecg")), tokenizer, ecg.data)
    names = sorted(path.name for path in (tmp_path / "ecg").iterdir())
    assert names == ["README.md", "tokenizer.skops", "vocabulary.json"]
    with pytest.raises(FileExistsError, match="choose another name"):
        save_pretrained(tokenizer, tmp_path / "ecg")


def test_the_card_says_what_is_known(tokenizer, tmp_path):
    save_pretrained(tokenizer, tmp_path / "ecg")
    card = huggingface_hub.ModelCard.load(tmp_path / "ecg" / "README.md")
    assert card.data.library_name == "sktok"
    for text in (
        "# ecg",
        Vocabulary.from_tokenizer(tokenizer).fingerprint,
        "| windows | 250 samples of 1 lead |",
        "| sampling rate | 360 Hz |",
        "| unit | mV |",
        "| lead | MLII |",
        "| vocabulary | 16 tokens |",
        "VectorQuantizer(n_codes=16, random_state=0)",
        "## Data",
        "Not stated.",
    ):
        assert text in card.text
    save_pretrained(tokenizer, tmp_path / "own", card="# Mine\n")
    assert (tmp_path / "own" / "README.md").read_text() == "# Mine\n"


def test_what_is_no_tokenizer_is_not_saved(tokenizer, ecg, tmp_path):
    for wrong, error, message in (
        (BlockSegmenter(25), NotFittedError, "is not fitted"),
        (AmplitudeScaler().fit(ecg.data), ValueError, "has no n_tokens_"),
        (StandardScaler().fit(ecg.data), TypeError, "that a safe file cannot hold"),
    ):
        with pytest.raises(error, match=message):
            save_pretrained(wrong, tmp_path / "ecg")
    with pytest.raises(TypeError, match="card is a int, expected a str"):
        save_pretrained(tokenizer, tmp_path / "ecg", card=3)
    assert not list(tmp_path.iterdir())


def test_what_holds_no_tokenizer_is_refused(tokenizers, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no tokenizer of sktok"):
        from_pretrained(tmp_path / "empty")
    for name in ("no folder", str(tmp_path / "none"), "a/b/c", "a b"):
        with pytest.raises((FileNotFoundError, ValueError), match="There is no folder"):
            from_pretrained(name)
    with pytest.raises(FileNotFoundError, match=r"load_pretrained\('ecg-12hz-v1'\)"):
        from_pretrained("ecg-12hz-v1")
    for name, tokenizer in zip("ab", tokenizers, strict=True):
        save_pretrained(tokenizer, tmp_path / name)
    other = (tmp_path / "b" / "vocabulary.json").read_bytes()
    (tmp_path / "a" / "vocabulary.json").write_bytes(other)
    with pytest.raises(ValueError, match="do not belong together"):
        from_pretrained(tmp_path / "a")
    content = (tmp_path / "b" / "tokenizer.skops").read_bytes()
    (tmp_path / "b" / "tokenizer.skops").write_bytes(content[:-100])
    with pytest.raises(ValueError, match="is damaged"):
        from_pretrained(tmp_path / "b")


# --- the Hub


def test_a_repository_leads_back_to_the_tokenizer(hub, tokenizer, ecg):
    address = push_to_hub(tokenizer, "user/ecg", private=True)
    assert address.endswith("/user/ecg/commit/" + hub.sha("model", "user/ecg"))
    assert hub.private == {"user/ecg"}
    files = hub.files("model", "user/ecg")
    assert sorted(files) == ["README.md", "tokenizer.skops", "vocabulary.json"]
    fingerprint = json.loads(files["vocabulary.json"])["fingerprint"]
    assert fingerprint == Vocabulary.from_tokenizer(tokenizer).fingerprint
    assert_same(from_pretrained("user/ecg"), tokenizer, ecg.data)


def test_a_revision_keeps_its_tokenizer(hub, tokenizers, ecg):
    first = push_to_hub(tokenizers[0], "user/ecg", card="# Mine").rpartition("/")[2]
    push_to_hub(tokenizers[1], "user/ecg")
    assert_same(from_pretrained("user/ecg"), tokenizers[1], ecg.data)
    assert_same(from_pretrained("user/ecg", revision=first), tokenizers[0], ecg.data)
    assert hub.files("model", "user/ecg")["README.md"] == b"# Mine"


@pytest.mark.parametrize("place", ["create", "preupload", "upload/", "commit"])
def test_an_interrupted_upload_leaves_the_repository_as_it_was(
    hub, tokenizers, ecg, place
):
    push_to_hub(tokenizers[0], "user/ecg")
    hub.fails_at = place
    with pytest.raises(Exception, match=r"400|to fail"):
        push_to_hub(tokenizers[1], "user/ecg")
    hub.fails_at = None
    assert_same(from_pretrained("user/ecg"), tokenizers[0], ecg.data)
    push_to_hub(tokenizers[1], "user/ecg")
    assert_same(from_pretrained("user/ecg"), tokenizers[1], ecg.data)


def test_repositories_without_a_tokenizer_are_refused(hub):
    with pytest.raises(huggingface_hub.errors.RepositoryNotFoundError):
        from_pretrained("user/none")
    hub.repositories["model", "user/text"] = [{"config.json": b"{}"}]
    with pytest.raises(ValueError, match="user/text holds no tokenizer of sktok"):
        from_pretrained("user/text")


def test_nothing_is_uploaded_that_cannot_be_saved(hub, ecg):
    with pytest.raises(ValueError, match="has no n_tokens_"):
        push_to_hub(AmplitudeScaler().fit(ecg.data), "user/ecg")
    for name in ("", "a b", "a/b/c", 3):
        with pytest.raises(huggingface_hub.errors.HFValidationError):
            push_to_hub(AmplitudeScaler().fit(ecg.data), name)
    assert not hub.requests


def test_a_dataset_is_uploaded_privately(hub, tokenizer, ecg, tmp_path):
    write_corpus(tmp_path / "c", ecg, tokenizer, validation=[])
    corpus = read_corpus(tmp_path / "c")
    write_dataset(tmp_path / "d", corpus, push_to_hub="user/tokens")
    assert hub.private == {"user/tokens"}
    files = hub.files("dataset", "user/tokens")
    (path,) = [path for path in files if path.endswith(".parquet")]
    (tmp_path / "part.parquet").write_bytes(files[path])
    rows = datasets.Dataset.from_parquet(
        str(tmp_path / "part.parquet"), cache_dir=str(tmp_path / "cache")
    )
    np.testing.assert_array_equal(np.concatenate(rows["input_ids"]), corpus.train)
    assert set(rows["lead"]) == {"MLII"}
    local = datasets.load_from_disk(tmp_path / "d")["train"]
    assert local.to_dict() == rows.to_dict()
