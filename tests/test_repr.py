"""What a notebook shows of an estimator, and what `print` does."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline

from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    ConvAETokenizer,
    GainShapeTokenizer,
    VectorQuantizer,
    make_paper_tokenizer,
    make_tokenizer,
)
from sktok.metrics import neg_reconstruction_mse

WINDOWS = np.random.default_rng(0).normal(size=(40, 20))
BLOCKS = WINDOWS.reshape(40, 4, 5)
LATENTS = BLOCKS[:, :, :2]
QUICK = {"max_steps": 2, "random_state": 0}

CASES = [  # estimator, what it is fitted on, name above the caption, caption
    (AmplitudeScaler(), WINDOWS, "AmplitudeScaler", "windows of 20 samples, ["),
    (AmplitudeScaler((-1.0, 1.0)), BLOCKS, "AmplitudeScaler", "4 blocks of 5 samples"),
    (
        BlockSegmenter(5),
        WINDOWS,
        "BlockSegmenter",
        "windows of 20 samples to 4 blocks of 5 samples",
    ),
    (
        BinQuantizer(16),
        WINDOWS,
        "BinQuantizer",
        "20 tokens out of 16, at most 4 bits a value",
    ),
    (
        BinQuantizer((4, 8)),
        LATENTS,
        "BinQuantizer",
        "4 tokens out of 32, at most 2.5 bits a value",
    ),
    (
        VectorQuantizer(16, random_state=0),
        BLOCKS,
        "VectorQuantizer",
        "4 tokens out of 16, at most 0.8 bits a value",
    ),
    (
        VectorQuantizer(16, random_state=0),
        WINDOWS,
        "VectorQuantizer",
        "1 token out of 16, at most 0.2 bits a value",
    ),
    (
        ConvAETokenizer(latent_dim=3, **QUICK),
        BLOCKS,
        "ConvAETokenizer",
        "4 blocks of 5 samples to latents of dimension 3",
    ),
    (
        ConvAETokenizer(quantizer=VectorQuantizer(16), **QUICK),
        BLOCKS,
        "ContextualAutoencoder",
        "4 blocks of 5 samples to 4 tokens out of 16, at most 0.8 bits a sample",
    ),
    (
        ConvAETokenizer("dimreduction", quantizer=BinQuantizer(16), **QUICK),
        BLOCKS[:, 0],
        "DimReduction",
        "windows of 5 samples to 1 token out of 16, at most 0.8 bits a sample",
    ),
    (
        GainShapeTokenizer(BinQuantizer(16), n_bins=8),
        WINDOWS,
        "offset and gain",
        "windows of 20 samples to 22 tokens out of 32, at most 5.5 bits a sample",
    ),
]
IDS = [f"{type(case[0]).__name__}{i}" for i, case in enumerate(CASES)]


class Diagram(HTMLParser):
    """Names and captions of the boxes; fails on ends of what was never begun."""

    def __init__(self, estimator):
        super().__init__()
        self.open, self.captions, self.links, self.text = [], [], [], ""
        page = estimator._repr_html_()
        self.feed(re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL))
        assert not self.open
        self.names = re.findall(r'<div>([^<>]+)</div><div class="caption">', page)

    def handle_starttag(self, tag, attrs):
        if tag not in ("br", "input"):  # which have no end
            self.open.append((tag, dict(attrs)))
        if tag == "a":
            self.links.append(dict(attrs).get("href", ""))

    def handle_startendtag(self, tag, attrs):
        """Nothing is left open."""

    def handle_endtag(self, tag):
        while self.open.pop()[0] != tag:  # scikit-learn 1.7 leaves a div open
            assert self.open

    def handle_data(self, data):
        if self.open and self.open[-1][1].get("class") == "caption":
            self.captions.append(data)
        self.text += data


@pytest.mark.parametrize(("estimator", "X", "name", "caption"), CASES, ids=IDS)
def test_a_caption_tells_what_was_learned(estimator, X, name, caption):
    estimator = clone(estimator)
    assert Diagram(estimator).captions == []
    estimator.fit(X)
    diagram = Diagram(estimator)
    assert diagram.names[0] == name
    assert diagram.captions[0].startswith(caption)


@pytest.mark.parametrize(("estimator", "X", "name", "caption"), CASES, ids=IDS)
def test_captions_are_shown_in_pipelines_and_searches(estimator, X, name, caption):
    pipe = Pipeline([("step", clone(estimator))])
    search = GridSearchCV(pipe, {}, scoring=lambda *_: 0.0, cv=2)
    assert Diagram(search).captions == Diagram(pipe).captions == []
    for fitted in (pipe.fit(X), search.fit(X)):
        diagram = Diagram(fitted)
        assert diagram.names[0] == name
        assert diagram.captions[0].startswith(caption)


@pytest.mark.parametrize(("estimator", "X", "name", "caption"), CASES, ids=IDS)
def test_half_an_estimator_is_shown(estimator, X, name, caption):
    whole = clone(estimator).fit(X)
    for attribute in [a for a in vars(whole) if a[-1] == "_" or a[0] == "_"]:
        half = clone(estimator)
        vars(half).update(vars(whole))
        delattr(half, attribute)
        assert type(half).__name__ in Diagram(half).text


@pytest.mark.parametrize(("estimator", "X", "name", "caption"), CASES, ids=IDS)
def test_text_is_short_and_does_not_tell_what_was_learned(estimator, X, name, caption):
    estimator = clone(estimator)
    before = str(estimator)
    assert str(estimator.fit(X)) == before
    assert len(before) < 150


def test_print_is_short():
    assert str(BlockSegmenter(25)) == "BlockSegmenter(block_size=25)"
    assert str(ConvAETokenizer()) == "ConvAETokenizer()"
    for pipe in (make_tokenizer(random_state=0), make_paper_tokenizer(max_steps=9)):
        assert len(str(pipe).splitlines()) <= 6
    with config_context(print_changed_only=False):
        assert "learning_rate='auto'" in str(ConvAETokenizer())


def test_the_whole_tokenizer_shows_window_length_vocabulary_and_rate():
    pipe = make_tokenizer(block_size=5, n_tokens=16, **QUICK).fit(WINDOWS)
    diagram = Diagram(pipe)
    assert diagram.names == [
        "AmplitudeScaler",
        "BlockSegmenter",
        "ContextualAutoencoder",
        "VectorQuantizer",
    ]
    assert "20 samples" in diagram.captions[0]
    assert "4 blocks of 5 samples" in diagram.captions[1]
    assert "out of 16, at most 0.8 bits a sample" in diagram.captions[2]


def test_nested_estimators_stay_in_the_diagram_with_their_parameters():
    tokenizer = GainShapeTokenizer(make_tokenizer(5, 16, **QUICK), n_bins=8)
    labels = ["tokenizer: Pipeline", "tokenize: ConvAETokenizer"]
    labels += ["quantizer: VectorQuantizer"]
    before = Diagram(tokenizer).text
    after = Diagram(tokenizer.fit(WINDOWS)).text
    for label in [*labels, "n_codes"]:
        assert label in before
        assert label in after
    default = GainShapeTokenizer(n_bins=8)
    assert "tokenizer: " not in Diagram(default).text


def test_captions_are_escaped():
    class Odd(BlockSegmenter):
        def _caption(self):
            return "<b>5 & 6</b>"

    assert Diagram(Odd(5).fit(WINDOWS)).captions == ["<b>5 & 6</b>"]


def test_a_pipeline_of_foreign_steps_is_shown_as_ever():
    search = GridSearchCV(
        make_pipeline("passthrough", BlockSegmenter(5), None, VectorQuantizer(4)),
        {"vectorquantizer__n_codes": [2, 4]},
        scoring=neg_reconstruction_mse,
        cv=2,
    )
    assert "passthrough" in Diagram(search.fit(WINDOWS)).text


def test_no_page_of_scikit_learn_is_named_as_documentation_of_ours():
    tokenizer = GainShapeTokenizer(BinQuantizer(16)).fit(WINDOWS)
    ours = [tokenizer, *(case[0] for case in CASES)]
    assert [link for e in ours for link in Diagram(e).links if link] == []
    assert {e._get_doc_link() for e in ours} == {""}


def test_without_the_private_block_the_diagram_is_that_of_scikit_learn(monkeypatch):
    from sklearn.utils._repr_html import estimator as private

    segmenter = BlockSegmenter(5).fit(WINDOWS)
    assert hasattr(segmenter, "_sk_visual_block_")
    with monkeypatch.context() as patch:
        patch.delattr(private, "_VisualBlock")
        assert not hasattr(segmenter, "_sk_visual_block_")
    monkeypatch.setattr(BlockSegmenter, "_caption", lambda self: 1 / 0)
    assert Diagram(segmenter).captions == []
    assert "block_size" in Diagram(segmenter).text


def test_a_vocabulary_too_large_for_a_table_is_shown_without_one():
    X = np.random.default_rng(0).normal(size=(50, 4))
    quantizer = BinQuantizer((2**15,) * 4).fit(X)
    assert Diagram(quantizer).captions[0].startswith("1 token out of 11529215046068")
    with pytest.raises(AttributeError, match="too many for a table"):
        _ = quantizer.codes_
    np.testing.assert_allclose(
        quantizer.inverse_transform(quantizer.transform(X)), X, atol=1e-3
    )
