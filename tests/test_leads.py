"""Windows of several leads: each lead is tokenized alone, by one tokenizer."""

import copy

import numpy as np
import pytest
from onnxruntime import InferenceSession
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    ConvAETokenizer,
    GainShapeTokenizer,
    VectorQuantizer,
    make_paper_tokenizer,
    make_tokenizer,
    with_window_length,
)
from sktok._steps import resize
from sktok._torch import fitting
from sktok.corpus import Vocabulary
from sktok.export import to_onnx
from sktok.metrics import describe, heartbeat_f1, neg_prd, prd, reconstruct, snr_db
from sktok.persistence import load, save
from sktok.streaming import iter_inverse_transform, iter_transform

QUICK = {"max_steps": 5, "random_state": 0}
TOKENIZERS = {
    "recommended": make_tokenizer(fs=360, **QUICK),
    "paper": make_paper_tokenizer(25, max_steps=100, random_state=0),
    "bins": make_tokenizer(**QUICK).set_params(tokenize__quantizer=BinQuantizer(16)),
    "two steps": make_pipeline(
        AmplitudeScaler(), BlockSegmenter(12), VectorQuantizer(16, random_state=0)
    ),
    "gain and shape": GainShapeTokenizer(make_tokenizer(**QUICK)),
}


@pytest.fixture(scope="module")
def leads(ecg):
    """Windows of three leads: (144, 3, 250)."""
    X = ecg.data.reshape(144, 3, 250)
    return X * np.array([1.0, -0.5, 2.0])[:, np.newaxis]


@pytest.fixture(scope="module", params=TOKENIZERS)
def fitted(request, leads):
    return TOKENIZERS[request.param].fit(leads)


def test_leads_are_tokenized_like_windows_one_after_the_other(fitted, leads):
    rows = leads.reshape(-1, 250)
    tokens = fitted.transform(leads)
    shape = tokens.shape
    single = copy.deepcopy(fitted)
    resize(single, (250,))  # the same tokenizer, for windows of one lead
    np.testing.assert_array_equal(single.transform(rows).reshape(shape), tokens)
    restored = fitted.inverse_transform(tokens)
    assert restored.shape == leads.shape
    expected = single.inverse_transform(single.transform(rows)).reshape(leads.shape)
    np.testing.assert_array_equal(restored, expected)


def test_training_is_that_on_the_leads_as_windows(leads):
    rows = leads.reshape(-1, 250)
    together = make_tokenizer(**QUICK).fit(leads).transform(leads)
    alone = make_tokenizer(**QUICK).fit(rows).transform(rows)
    np.testing.assert_array_equal(together, alone.reshape(together.shape))


def test_no_lead_depends_on_another(fitted, leads):
    changed = leads.copy()
    changed[:, 1] = -changed[:, 1]
    tokens, others = (fitted.transform(X).reshape(144, 3, -1) for X in (leads, changed))
    np.testing.assert_array_equal(tokens[:, [0, 2]], others[:, [0, 2]])
    assert (tokens[:, 1] != others[:, 1]).any()


def test_names_say_the_lead(fitted, leads):
    names = fitted.get_feature_names_out()
    assert len(names) == fitted.transform(leads).shape[1]
    assert [name.split("_")[0] for name in names] == list(
        np.repeat(["lead0", "lead1", "lead2"], len(names) // 3)
    )
    assert names[0] in ("lead0_token0", "lead0_offset")
    frame = fitted.set_output(transform="pandas").transform(leads)
    fitted.set_output(transform="default")
    assert list(frame.columns) == list(names)


def test_files_and_streams_carry_leads(fitted, leads, tmp_path):
    tokens = fitted.transform(leads)
    save(fitted, tmp_path / "tokenizer")
    np.testing.assert_array_equal(load(tmp_path / "tokenizer").transform(leads), tokens)
    pieces = [leads[:100], leads[:0], leads[100:]]
    np.testing.assert_array_equal(
        np.concatenate(list(iter_transform(fitted, pieces))), tokens
    )
    restored = iter_inverse_transform(fitted, [tokens, tokens[:0]])
    assert [x.shape for x in restored] == [(144, 3, 250), (0, 3, 250)]


def test_other_axes_are_refused_by_name(leads):
    segmenter = BlockSegmenter(10).fit(leads)
    blocks = segmenter.transform(leads)
    with pytest.raises(ValueError, match=r"windows of one lead; .* several leads"):
        segmenter.transform(leads[:, 0])
    with pytest.raises(ValueError, match="dim 4, expected <= 3"):
        segmenter.transform(blocks)
    tokenizer = ConvAETokenizer(quantizer=BinQuantizer(8), **QUICK).fit(blocks)
    with pytest.raises(ValueError, match=r"are blocks; .* blocks of several leads"):
        tokenizer.transform(blocks[:, 0])
    with pytest.raises(ValueError, match=r"shape \(2, 25, 10\).*shape \(3, 25, 10\)"):
        tokenizer.transform(blocks[:, :2])
    with pytest.raises(ValueError, match=r"shape \(25, 30\).*shape \(3, 25, 10\)"):
        segmenter.inverse_transform(blocks.reshape(144, 25, 30))


def test_leads_of_a_window_are_held_out_together(leads, monkeypatch):
    held_out = []
    split = fitting.split

    def spy(*args):
        held_out.extend(split(*args)[1])
        return split(*args)

    monkeypatch.setattr(fitting, "split", spy)
    blocks = BlockSegmenter(10).fit_transform(leads)
    quick = ConvAETokenizer(early_stopping=True, **QUICK)
    quick.fit(blocks)
    assert len(set(np.array(held_out) // 3)) * 3 == len(held_out)
    held_out.clear()
    patients = np.arange(144) // 48
    quick.set_params(validation_fraction=0.3).fit(blocks, groups=patients)
    patient = patients[held_out[0] // 3]
    assert set(np.array(held_out) // 3) == set(np.flatnonzero(patients == patient))


def test_metrics_centre_each_lead_by_its_own_mean(leads):
    X = leads + np.array([0.0, 5.0, -3.0])[:, np.newaxis]
    X_hat = X + np.random.default_rng(0).normal(scale=0.1, size=X.shape)
    groups = np.arange(144) % 2
    figures = prd(X, X_hat, centered=True, groups=groups)
    for group, figure in enumerate(figures):
        x, x_hat = X[groups == group], X_hat[groups == group]
        power = np.sum((x - x.mean(axis=(0, 2), keepdims=True)) ** 2)
        np.testing.assert_allclose(
            figure, 100 * np.sqrt(np.sum((x - x_hat) ** 2) / power)
        )
    np.testing.assert_allclose(
        prd(X, X_hat, centered=True),
        prd(X.reshape(-1, 250), X_hat.reshape(-1, 250), centered=True),
    )
    np.testing.assert_allclose(
        snr_db(X, X_hat, groups=groups), -20 * np.log10(figures / 100)
    )
    with pytest.raises(ValueError, match="join its blocks"):
        prd(X[..., np.newaxis], X_hat[..., np.newaxis], centered=True)


def test_heartbeats_of_all_leads_count(ecg):
    X = ecg.data.reshape(54, 8, 250)[:, :1].repeat(2, axis=1)
    flat = X.copy()
    flat[:, 1] = 0
    assert heartbeat_f1(X, X, 360) == 1
    both, missed = heartbeat_f1(X[:, 0], X[:, 0], 360), heartbeat_f1(X, flat, 360)
    np.testing.assert_allclose((both, missed), (1, 2 / 3))


def test_description_counts_leads(fitted, leads):
    found = describe(fitted, leads, fs=360, unit="mV", lead=["I", "II", "V1"])
    assert (found.n_leads, found.window_length) == (3, 250)
    assert found.tokens_per_second == pytest.approx(found.tokens_per_window / 250 * 360)
    text = " ".join(str(found).split())
    assert "144 of 3 leads of 250 samples, 360 Hz, mV, leads I, II, V1" in text
    score = neg_prd(fitted, leads)
    assert -score == pytest.approx(found.prd)
    assert found.prd == prd(leads, reconstruct(fitted, leads), centered=True)


def test_blocks_of_leads_are_joined_for_scores(leads):
    segmenter = BlockSegmenter(10).fit(leads)
    blocks = segmenter.transform(leads)
    quantizer = VectorQuantizer(16, random_state=0).fit(blocks)
    X_hat = segmenter.inverse_transform(reconstruct(quantizer, blocks))
    found = describe(quantizer, blocks)
    assert found.prd == prd(leads, X_hat, centered=True) == -neg_prd(quantizer, blocks)
    assert (found.n_leads, found.window_length) == (3, 250)
    vocabulary = Vocabulary.from_tokenizer(quantizer)
    assert (vocabulary.n_leads, vocabulary.window_length) == (3, 250)


def test_blocks_without_leads_are_joined_for_scores(blocks):
    quantizer = VectorQuantizer(16, random_state=0).fit(blocks)
    X_hat = reconstruct(quantizer, blocks)
    joined = prd(blocks.reshape(60, 250), X_hat.reshape(60, 250), centered=True)
    assert -neg_prd(quantizer, blocks) == joined == describe(quantizer, blocks).prd


def test_vocabulary_of_leads(fitted, leads):
    vocabulary = Vocabulary.from_tokenizer(fitted)
    assert (vocabulary.n_leads, vocabulary.window_length) == (3, 250)
    tokens = fitted.transform(leads)
    signal = vocabulary.decode_signal(vocabulary.encode(tokens), fitted)
    np.testing.assert_array_equal(signal, fitted.inverse_transform(tokens))


def test_onnx_of_leads(leads, tmp_path):
    X = leads.astype(np.float32)
    tokenizer = make_pipeline(BlockSegmenter(25), VectorQuantizer(16)).fit(X)
    to_onnx(tokenizer, tmp_path / "onnx")
    encoder, decoder = (
        InferenceSession(tmp_path / "onnx" / f"{name}.onnx")
        for name in ("encoder", "decoder")
    )
    (tokens,) = encoder.run(None, {"windows": X})
    assert np.mean(tokens == tokenizer.transform(X)) > 0.999
    (restored,) = decoder.run(None, {"tokens": tokens})
    np.testing.assert_allclose(restored, tokenizer.inverse_transform(tokens), atol=1e-6)


@pytest.mark.parametrize("length", [1, 100, 255, 2500])
def test_a_fitted_tokenizer_takes_windows_of_another_length(fitted, leads, length):
    resized = with_window_length(fitted, length)
    X = np.resize(leads, (4, 3, length))
    tokens = resized.transform(X)
    assert resized.inverse_transform(tokens).shape == X.shape
    assert len(resized.get_feature_names_out()) == tokens.shape[1]
    again = with_window_length(resized, 250)
    np.testing.assert_array_equal(again.transform(leads), fitted.transform(leads))
    assert fitted.transform(leads).shape[0] == 144  # the original is unchanged


def test_blocks_inside_a_window_do_not_depend_on_its_length(ecg):
    tokenizer = make_tokenizer(max_steps=60, random_state=0).fit(ecg.data)
    longer = with_window_length(tokenizer, 1000)
    tokens = tokenizer.transform(ecg.data).reshape(108, 4, 25)
    others = longer.transform(ecg.data.reshape(108, 1000)).reshape(108, 4, 25)
    inside = slice(8, -8)  # the encoder reads 8 blocks to either side
    np.testing.assert_array_equal(tokens[:, :, inside], others[:, :, inside])
    assert (tokens != others).any()


def test_bins_of_samples_take_windows_of_any_length(ecg):
    tokenizer = make_pipeline(AmplitudeScaler(), BinQuantizer(16)).fit(ecg.data)
    tokens = with_window_length(tokenizer, 125).transform(ecg.data.reshape(-1, 125))
    np.testing.assert_array_equal(
        tokens.reshape(432, 250), tokenizer.transform(ecg.data)
    )


def test_what_takes_one_length_only_says_so(ecg, blocks):
    other = make_pipeline(StandardScaler(), BlockSegmenter(10), BinQuantizer(8))
    with pytest.raises(TypeError, match="StandardScaler takes windows of one length"):
        with_window_length(other.fit(ecg.data), 500)
    quantizer = VectorQuantizer(8).fit(ecg.data)
    with pytest.raises(TypeError, match="VectorQuantizer was fitted to windows of one"):
        with_window_length(quantizer, 500)
    with pytest.raises(ValueError, match="window_length=0: expected an int"):
        with_window_length(make_tokenizer(**QUICK).fit(ecg.data), 0)
