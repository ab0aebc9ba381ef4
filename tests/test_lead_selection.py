"""Leads by name: derived limb leads, `LeadSelector` and `with_leads`."""

import numpy as np
import pandas as pd
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline

from sktok import (
    BlockSegmenter,
    GainShapeTokenizer,
    LeadSelector,
    Resampler,
    VectorQuantizer,
    make_tokenizer,
    with_leads,
    with_window_length,
)
from sktok._leads import INDEPENDENT_LEADS, TWELVE_LEADS
from sktok._steps import signal_facts
from sktok.corpus import write_corpus
from sktok.corpus._fingerprint import fingerprint
from sktok.datasets import derive_leads, load_wfdb, windows_from
from sktok.persistence import load, save

LIMB_LEADS = TWELVE_LEADS[:6]


@pytest.fixture(scope="module")
def eight():
    """Windows of the independent leads: (20, 8, 100)."""
    return np.random.default_rng(0).normal(size=(20, 8, 100)).cumsum(axis=2)


@pytest.fixture(scope="module")
def tokenizer(eight):
    shapes = make_pipeline(
        BlockSegmenter(10, leads="joint"), VectorQuantizer(16, random_state=0)
    )
    return make_pipeline(
        Resampler(100, 100, unit="mV"),
        LeadSelector(INDEPENDENT_LEADS),
        GainShapeTokenizer(shapes, norm="l4", leads="joint"),
    ).fit(eight)


def test_derived_leads_satisfy_the_laws(eight):
    twelve = derive_leads(eight, INDEPENDENT_LEADS)
    i, ii, iii, avr, avl, avf = twelve[:, :6].swapaxes(0, 1)
    largest = np.abs(twelve).max()
    np.testing.assert_allclose(i + iii, ii, rtol=0, atol=1e-15 * largest)  # Einthoven
    np.testing.assert_allclose(avr + avl + avf, 0, rtol=0, atol=1e-15 * largest)
    np.testing.assert_array_equal(avf, ii - i / 2)
    np.testing.assert_array_equal(twelve[:, [0, 1, *range(6, 12)]], eight)


@given(
    st.lists(st.sampled_from(LIMB_LEADS), min_size=2, max_size=6, unique=True),
    st.permutations(LIMB_LEADS),
)
def test_any_two_limb_leads_determine_the_others(given_leads, wanted):
    limbs = np.random.default_rng(0).normal(size=(2, 50))
    expected = derive_leads(limbs, ["I", "II"], to=wanted)
    given_data = derive_leads(limbs, ["I", "II"], to=given_leads)
    found = derive_leads(given_data, given_leads, to=wanted)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_existing_leads_are_not_derived():
    inconsistent = np.float32([[1, 2], [3, 4], [0, 0]])
    found = derive_leads(inconsistent, ["I", "II", "III"], to=["III", "II"])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, inconsistent[[2, 1]])


def test_upper_and_lower_case_are_the_same(eight):
    names = [name.lower() for name in INDEPENDENT_LEADS]
    found = derive_leads(eight, names, to=["AVR", "avl", "aVF", "V6"])
    expected = derive_leads(eight, INDEPENDENT_LEADS, to=["aVR", "aVL", "aVF", "V6"])
    np.testing.assert_array_equal(found, expected)


def test_invalid_samples_stay_in_their_leads(eight):
    eight = eight.copy()
    eight[0, 2, 5] = np.nan  # V1
    twelve = derive_leads(eight, INDEPENDENT_LEADS)
    assert np.isnan(twelve).sum() == 1


@pytest.mark.parametrize(
    ("lead", "to", "error", "message"),
    [
        (["I", "V1"], TWELVE_LEADS, ValueError, "missing: II, III, aVR, .*has I, V1"),
        (["I", "II"], ["V1"], ValueError, "missing: V1"),
        (["I", "i"], ["I"], ValueError, "different leads"),
        (["I"], ["I"], ValueError, r"shape \(20, 2, 100\), expected .* 1, n_samples"),
        (["I", "II"], [], ValueError, "different leads"),
        (["I", 2], ["I"], TypeError, "names of leads"),
        ({"I", "II"}, ["I"], TypeError, "leads have an order"),
    ],
)
def test_wrong_leads_are_refused(lead, to, error, message, eight):
    with pytest.raises(error, match=message):
        derive_leads(eight[:, :2], lead, to=to)


@pytest.mark.parametrize("leads", [TWELVE_LEADS, TWELVE_LEADS[::-1]])
def test_leads_in_any_order_give_the_same_tokens(leads, tokenizer, eight):
    expected = tokenizer.transform(eight)
    selecting = with_leads(tokenizer, leads)
    X = derive_leads(eight, INDEPENDENT_LEADS, to=leads)
    np.testing.assert_array_equal(selecting.transform(X), expected)
    restored = selecting.inverse_transform(expected)
    assert restored.shape == X.shape
    restored_eight = tokenizer.inverse_transform(expected)
    np.testing.assert_array_equal(
        restored, derive_leads(restored_eight, INDEPENDENT_LEADS, to=leads)
    )
    assert fingerprint(selecting) == fingerprint(tokenizer)
    assert signal_facts(selecting).lead == tuple(leads)


def test_a_selector_is_saved(tokenizer, eight, tmp_path):
    twelve = with_leads(tokenizer, TWELVE_LEADS)
    save(twelve, tmp_path / "twelve.skops")
    loaded = load(tmp_path / "twelve.skops")
    X = derive_leads(eight, INDEPENDENT_LEADS)
    np.testing.assert_array_equal(loaded.transform(X), twelve.transform(X))
    assert fingerprint(loaded) == fingerprint(tokenizer)
    longer = with_window_length(with_leads(loaded, INDEPENDENT_LEADS), 200)
    assert longer.transform(eight[:5].repeat(2, axis=2)).shape == (5, 2 * 8 + 20)


def test_a_missing_lead_is_named(tokenizer, eight):
    with pytest.raises(ValueError, match="missing: V4, V5"):
        with_leads(tokenizer, ["I", "II", "V1", "V2", "V3", "V6"])
    with pytest.raises(ValueError, match="missing: V3R"):  # on the way back
        with_leads(tokenizer, [*INDEPENDENT_LEADS, "V3R"])
    with pytest.raises(ValueError, match=r"names 2 leads, but .* \(8, 100\)"):
        LeadSelector(["I", "II"], ["I", "II"]).fit(eight)
    with pytest.raises(TypeError, match="0 steps LeadSelector"):
        with_leads(make_tokenizer(max_steps=2).fit(eight[:, 0]), TWELVE_LEADS)


def test_one_lead_needs_no_axis(eight):
    selector = LeadSelector(["II"], ["II"]).fit(eight[:, 1])
    np.testing.assert_array_equal(selector.transform(eight[:, 1]), eight[:, 1])
    assert list(selector.get_feature_names_out()[:2]) == ["II_sample0", "II_sample1"]


def test_a_frame_names_its_leads(eight):
    signal = eight[0]
    expected = windows_from(signal, fs=100, lead=INDEPENDENT_LEADS, window_length=50)
    frame = pd.DataFrame(signal.T, columns=INDEPENDENT_LEADS)
    found = windows_from(frame, fs=100, window_length=50)
    np.testing.assert_array_equal(found.data, expected.data)
    np.testing.assert_array_equal(found.lead, expected.lead)
    found = windows_from(frame[["II"]], fs=100, window_length=50)
    assert (found.data.shape, found.lead[0, 0]) == ((2, 1, 50), "II")


def write_records(folder, eight, orders):
    """A WFDB record of twelve leads for each order of their names."""
    folder.mkdir(exist_ok=True)
    twelve = derive_leads(
        eight[0].repeat(3, axis=1), INDEPENDENT_LEADS, to=TWELVE_LEADS
    )
    for number, names in enumerate(orders):
        signals = derive_leads(twelve, TWELVE_LEADS, to=names)
        wfdb.wrsamp(
            f"a{number}",
            fs=100,
            units=["mV"] * len(names),
            sig_name=list(names),
            p_signal=signals.T,
            fmt=["16"] * len(names),
            write_dir=str(folder),
        )


def test_loaders_put_leads_into_order_by_name(tokenizer, eight, tmp_path):
    orders = [TWELVE_LEADS, TWELVE_LEADS[::-1], [n.upper() for n in TWELVE_LEADS]]
    write_records(tmp_path, eight, orders[:2])
    ecg = load_wfdb(tmp_path, channel="all", window_length=100)
    np.testing.assert_array_equal(ecg.lead, [TWELVE_LEADS] * 6)
    np.testing.assert_allclose(ecg.data[:3], ecg.data[3:], atol=1e-3)
    write_records(tmp_path, eight, orders)
    ecg = load_wfdb(tmp_path, channel=["II", "aVR"], window_length=100)
    np.testing.assert_allclose(ecg.data[:3], ecg.data[6:], atol=1e-3)


def test_a_corpus_has_the_leads_of_the_tokenizer(tokenizer, eight, tmp_path):
    write_records(tmp_path / "ward", eight, [TWELVE_LEADS, TWELVE_LEADS[::-1]])
    corpus = write_corpus(
        tmp_path / "corpus", tmp_path / "ward", tokenizer, validation=[]
    )
    assert [entry["lead"] for entry in corpus.records] == [[*INDEPENDENT_LEADS]] * 2
    vocabulary = corpus.vocabulary
    n_ids = len(corpus.train) // 2
    first, second = corpus.train[:n_ids], corpus.train[n_ids:]
    assert (first != second).mean() < 0.05  # up to 16 bits of the files
    signal = vocabulary.decode_signal(first[1:-1], with_leads(tokenizer, TWELVE_LEADS))
    assert signal.shape == (3, 12, 100)
    ecg = load_wfdb(tmp_path / "ward" / "a1", channel="all", window_length=100)
    with pytest.raises(ValueError, match="with_leads"):
        write_corpus(tmp_path / "other", ecg, tokenizer)
