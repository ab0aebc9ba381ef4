"""`describe` agrees with direct computations for all tokenizers, and warns."""

import math
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline

from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    GainShapeTokenizer,
    VectorQuantizer,
    make_paper_tokenizer,
    make_tokenizer,
)
from sktok.metrics import (
    TokenizerDescription,
    describe,
    neg_bits_per_sample,
    neg_reconstruction_mse,
    prd,
    reconstruct,
    snr_db,
)


@pytest.fixture(scope="module")
def tokenizer(ecg):
    return make_tokenizer(max_steps=30, random_state=0).fit(ecg.data[:345])


def ramp(n_beyond=0):
    """100 samples in [0, 1], except `n_beyond` larger ones."""
    values = np.linspace(0, 1, 100)
    values[:n_beyond] = 3.0
    return values.reshape(4, 25)


def test_each_figure_agrees_with_a_direct_computation(tokenizer, ecg):
    X = ecg.data[345:]
    found = describe(tokenizer, X, fs=ecg.fs, unit=ecg.unit)
    tokens = tokenizer.transform(X)
    X_hat = tokenizer.inverse_transform(tokens)
    share = np.bincount(tokens.ravel(), minlength=256) / tokens.size
    bits = -np.sum(share[share > 0] * np.log2(share[share > 0]))
    assert (found.n_windows, found.window_length) == X.shape
    assert (found.tokens_per_window, found.n_tokens) == (25, 256)
    assert found.n_unused_tokens == np.sum(share == 0)
    assert found.token_usage == np.mean(share > 0)
    np.testing.assert_allclose(found.bits_per_sample, bits / 10)
    np.testing.assert_allclose(found.max_bits_per_sample, 0.8)
    np.testing.assert_allclose(found.tokens_per_second, 36)
    np.testing.assert_allclose(found.bits_per_second, 36 * bits)
    np.testing.assert_allclose(found.mse, np.mean((X - X_hat) ** 2))
    np.testing.assert_allclose(found.rmse, np.sqrt(np.mean((X - X_hat) ** 2)))
    assert found.prd == prd(X, X_hat, centered=True)
    np.testing.assert_allclose(found.snr_db, snr_db(X, X_hat))
    assert (found.clip_rate, found.warnings, found.unit) == (None, (), "mV")
    assert found.n_groups is found.worst_prd is found.worst_group is None
    assert f"PRD {found.prd:.3g} % (each window centred), SNR" in str(found)


def test_prd_of_groups_is_their_mean_and_the_worst(tokenizer, ecg):
    X = ecg.data[345:]
    groups = np.repeat(["103", "100", "121"], 29)
    found = describe(tokenizer, X, groups=groups)
    each = prd(X, reconstruct(tokenizer, X), centered=True, groups=groups)
    assert found.n_groups == 3
    assert found.prd == each.mean()
    assert found.worst_prd == each.max()
    assert found.worst_group == ["100", "103", "121"][each.argmax()]
    np.testing.assert_allclose(found.snr_db, -20 * np.log10(each.mean() / 100))
    line = (
        f"PRD {each.mean():.3g} % (mean of 3 groups, worst {each.max():.3g} % in "
        f"{found.worst_group}), SNR {found.snr_db:.3g} dB"
    )
    assert line in str(found).replace("\n" + " " * 12, " ")
    one = describe(tokenizer, X, groups=ecg.record[345:])
    assert one.prd == one.worst_prd < describe(tokenizer, X).prd
    assert f"PRD {one.prd:.3g} % (one group, 208), SNR" in str(one)
    with pytest.raises(ValueError, match="one label for each window"):
        describe(tokenizer, X, groups=groups[1:])


def test_figures_agree_with_the_scorers_for_every_tokenizer(tokenizer, quick, ecg):
    X = ecg.data
    half = X[::2]
    search = GridSearchCV(
        make_pipeline(BlockSegmenter(), VectorQuantizer(16, random_state=0)),
        {"blocksegmenter__block_size": [10, 25]},
        scoring=neg_reconstruction_mse,
        cv=2,
    )
    blocks = BlockSegmenter(10).fit_transform(X)
    fitted = {
        tokenizer: X,
        make_paper_tokenizer(max_steps=20, random_state=0).fit(half): X,
        BinQuantizer(16, strategy="quantile").fit(half): X,
        VectorQuantizer(16, random_state=0).fit(half): X,
        VectorQuantizer(16, random_state=0).fit(blocks): blocks,
        quick(quantizer=BinQuantizer((4, 4))).fit(blocks[::2]): blocks,
        GainShapeTokenizer(tokenizer).fit(half): X,
        make_pipeline(GainShapeTokenizer(tokenizer), "passthrough").fit(half): X,
        make_pipeline(AmplitudeScaler(), BinQuantizer(9)).fit(half): X,
        search.fit(half): X,
    }
    for estimator, windows in fitted.items():
        found = describe(estimator, windows)
        np.testing.assert_allclose(
            [found.mse, found.bits_per_sample, found.rmse**2],
            [
                -neg_reconstruction_mse(estimator, windows),
                -neg_bits_per_sample(estimator, windows),
                found.mse,
            ],
        )
        assert found.bits_per_sample <= found.max_bits_per_sample
        assert found.tokens_per_second is found.bits_per_second is None
        assert len(str(found).splitlines()) <= 12


@pytest.mark.parametrize(("n_beyond", "is_warned"), [(0, False), (1, False), (2, True)])
@pytest.mark.parametrize(
    ("tokenizer", "culprit"),
    [
        (BinQuantizer(8, limits=(0, 1)), "the limits of BinQuantizer"),
        (BinQuantizer(8), "the limits of BinQuantizer"),
        (BinQuantizer((2,) * 25, limits=(0, 1)), "the limits of BinQuantizer"),
        (
            make_pipeline(AmplitudeScaler(clip=True), VectorQuantizer(2)),
            "AmplitudeScaler",
        ),
        (
            Pipeline([("a", "passthrough"), ("b", make_pipeline(BinQuantizer(8)))]),
            "the limits of BinQuantizer",
        ),
    ],
)
def test_values_outside_the_limits_are_counted(tokenizer, culprit, n_beyond, is_warned):
    found = describe(tokenizer.fit(ramp()), ramp(n_beyond))
    assert found.clip_rate == n_beyond / 100
    message = f"{n_beyond} % of the values are clipped by {culprit}: "
    assert [w.startswith(message) for w in found.warnings] == [True] * is_warned
    assert (message in str(found).replace("\n" + " " * 12, " ")) == is_warned


def test_nothing_is_clipped_if_no_step_has_limits(ecg):
    pipe = make_pipeline(AmplitudeScaler(), VectorQuantizer(2)).fit(ramp())
    found = describe(pipe, ramp(2))
    assert found.clip_rate is None
    assert "clipped" not in str(found)


def test_training_windows_are_within_the_limits_they_set(ecg):
    for X in (ecg.data, ecg.data.astype(np.float32), ecg.data / 3):
        scaler = AmplitudeScaler(clip=True)
        pipe = make_pipeline(scaler, BinQuantizer(256, strategy="kmeans")).fit(X)
        assert describe(pipe, X).clip_rate == 0


def test_a_network_that_ends_in_a_sigmoid_clips(quick, blocks):
    tokenizer = quick(network="dimreduction", quantizer=VectorQuantizer(16))
    tokenizer.fit(blocks)
    assert describe(tokenizer, blocks).clip_rate == 0
    beyond = blocks.copy()
    beyond[:3] = 1.5
    found = describe(tokenizer, beyond)
    assert found.clip_rate == 3 / 60
    assert "whose output lies in [0, 1]" in found.warnings[0]


def test_latents_outside_the_bins_inside_a_network_are_counted(quick, blocks):
    params = {"network": "dimreduction", "latent_dim": 1}
    latents = quick(**params, quantizer=None).fit(blocks).transform(blocks)
    low, high = np.quantile(latents, [0.2, 0.7])
    behind = BinQuantizer(4, limits=(float(low), float(high))).fit(latents)
    inside = quick(**params, quantizer=BinQuantizer(4)).fit(blocks)
    inside.network_, inside.quantizer_ = quick(**params).fit(blocks).network_, behind
    expected = np.mean((latents < np.float64(low)) | (latents > np.float64(high)))
    assert 0.4 < expected < 0.6
    assert describe(inside, blocks).clip_rate == expected
    bounded = quick(quantizer=BinQuantizer(4)).fit(blocks)
    assert describe(bounded, 3 * blocks).clip_rate == 0


def test_shapes_are_clipped_after_gain_and_offset(ecg):
    inner = make_pipeline(BinQuantizer(8, limits=(0.0, 0.5)))
    tokenizer = GainShapeTokenizer(inner).fit(ecg.data)
    tokens = tokenizer.transform(ecg.data)
    last_bin = tokens[:, 2:] == tokenizer.n_tokens_ - 1
    found = describe(tokenizer, ecg.data)
    assert 0.01 < found.clip_rate < last_bin.mean()
    assert "BinQuantizer" in found.warnings[0]


def test_unused_tokens_are_counted_and_cause_a_warning_if_there_are_enough_tokens():
    X = np.tile([[0.1, 0.3]], (16, 1))  # two of eight bins, by 32 tokens
    quantizer = BinQuantizer(8, limits=(0, 1)).fit(X)
    found = describe(quantizer, X)
    assert (found.n_unused_tokens, found.token_usage) == (6, 0.25)
    assert found.warnings[0].startswith("6 of 8 tokens do not occur. ")
    assert describe(quantizer, X[:15]).warnings == ()
    half = np.tile([[0.1, 0.3], [0.7, 0.9]], (16, 1))
    assert describe(quantizer, half).warnings == ()


def test_offsets_and_gains_may_be_unused(tokenizer, ecg):
    found = describe(GainShapeTokenizer(tokenizer).fit(ecg.data), ecg.data)
    assert found.n_unused_tokens > 768 / 2
    assert found.warnings == ()
    few = GainShapeTokenizer(BinQuantizer(8, limits=(0.0, 9.0))).fit(ecg.data)
    assert few.n_tokens_ == 520
    assert describe(few, ecg.data).warnings[0].startswith("7 of 8 tokens do not occur")


@pytest.mark.parametrize(("n_flat", "is_warned"), [(1, False), (2, True)])
def test_flat_windows_cause_a_warning(ecg, n_flat, is_warned):
    X = ecg.data[:100].copy()
    X[:n_flat] = 0.0
    found = describe(BinQuantizer(16).fit(X), X)
    message = f"{n_flat} of 100 windows are flat: leave them out."
    assert (message in found.warnings) == is_warned


def test_the_longest_text_has_twelve_short_aligned_lines(ecg):
    X = np.zeros((400, 250))
    X[:300] = np.linspace(-2, 2, 250)
    scaler = AmplitudeScaler((0.0, 9.0), clip=True).fit(ecg.data / 9)
    pipe = make_pipeline(scaler, BinQuantizer(64, limits=(-40, 40)).fit(X))
    found = describe(pipe, X, fs=360, unit="mV")
    lines = str(found).splitlines()
    assert len(found.warnings) == 3
    assert len(lines) <= 12
    assert all(len(line) < 80 and line[12] != " " == line[11] for line in lines)
    assert lines[1].endswith("360 a second")
    assert lines[4].split()[2:4] == ["mV", "rms,"]


class Cells(HTMLParser):
    """The text of each cell of a table."""

    def __init__(self, page):
        super().__init__()
        self.texts, self.is_open = [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.is_open = tag in ("th", "td")
        self.texts += [""] * self.is_open

    def handle_data(self, data):
        assert self.is_open
        self.texts[-1] += data


def test_a_notebook_shows_the_same_as_a_table(ecg):
    found = describe(BinQuantizer(16).fit(ecg.data), ecg.data, unit="<mV & s>")
    cells = Cells(found._repr_html_()).texts
    assert cells[:2] == ["windows", "432 of 250 samples, <mV & s>"]
    assert any("<mV & s> rms" in text for text in cells)
    assert len(cells) == 2 * len(str(found).splitlines())


def test_frames_and_huge_values_are_described(ecg):
    frame = pd.DataFrame(ecg.data, columns=[f"s{i}" for i in range(250)])
    pipe = make_pipeline(AmplitudeScaler(clip=True), BinQuantizer(16))
    expected = describe(pipe.fit(ecg.data), ecg.data)
    assert isinstance(expected, TokenizerDescription)
    pipe.set_output(transform="pandas").fit(frame)
    assert str(describe(pipe, frame)) == str(expected)
    for tokenizer in (BinQuantizer(16), make_pipeline(clone(pipe), "passthrough")):
        tokenizer.fit(ecg.data)
        assert describe(tokenizer, ecg.data * 1e300).mse == math.inf
        listed = describe(tokenizer, ecg.data[:9].tolist())
        assert listed == describe(tokenizer, ecg.data[:9])


def test_windows_are_not_changed(tokenizer, ecg):
    X = ecg.data[345:].copy()
    describe(tokenizer, X)
    np.testing.assert_array_equal(X, ecg.data[345:])
    X_hat = reconstruct(tokenizer, X)
    assert describe(tokenizer, X).mse == np.mean((X - X_hat) ** 2)


@pytest.mark.parametrize("fs", [0, -1, math.nan, math.inf, "360", True])
def test_invalid_frequencies_are_refused(fs):
    quantizer = BinQuantizer(8).fit(ramp())
    with pytest.raises(ValueError, match=f"fs={fs!r}: expected a number"):
        describe(quantizer, ramp(), fs=fs)


@pytest.mark.parametrize(
    "unfitted", [make_tokenizer(), BinQuantizer(), GainShapeTokenizer()]
)
def test_an_unfitted_tokenizer_is_refused(unfitted, ecg):
    with pytest.raises(NotFittedError):
        describe(unfitted, ecg.data)


def test_estimators_without_tokens_and_invalid_windows_are_refused(
    tokenizer, quick, blocks, ecg
):
    with pytest.raises(ValueError, match="AmplitudeScaler has no n_tokens_"):
        describe(AmplitudeScaler().fit(ecg.data), ecg.data)
    with pytest.raises(ValueError, match="has no n_tokens_"):
        describe(quick().fit(blocks), blocks)
    with pytest.raises(ValueError, match="X has 200 features"):
        describe(tokenizer, ecg.data[:, :200])
    with pytest.raises(ValueError, match="NaN"):
        describe(tokenizer, np.full((2, 250), np.nan))
    with pytest.raises(TypeError, match="not an estimator"):
        describe("tokenizer", ecg.data)


def test_integers_are_described_like_floats(ecg):
    counts = np.round(200 * ecg.data).astype(np.int16)
    tokenizer = GainShapeTokenizer(BinQuantizer(8, limits=(0.0, 0.5))).fit(counts)
    description = describe(tokenizer, counts)
    assert 0.05 < description.clip_rate < 0.2
    assert description == describe(tokenizer, counts.astype(float))


def test_blocks_of_integers(quick):
    blocks = np.arange(400).reshape(10, 4, 10) % 3
    tokenizer = quick(network="dimreduction", quantizer=BinQuantizer(4), max_steps=2)
    assert describe(tokenizer.fit(blocks), blocks).clip_rate > 0.25  # all twos


def test_windows_of_one_sample_are_not_flat(ecg):
    samples = ecg.data[:4].reshape(-1, 1)
    assert describe(BinQuantizer(16).fit(samples), samples).warnings == ()


@pytest.fixture(scope="module")
def with_facts(ecg):
    facts = {"fs": 360, "unit": "mV", "lead": "MLII"}
    return make_tokenizer(max_steps=20, random_state=0, **facts).fit(ecg.data)


def test_facts_come_from_the_tokenizer(with_facts, ecg):
    found = describe(with_facts, ecg.data)
    assert (found.fs, found.unit, found.lead) == (360, "mV", "MLII")
    assert str(found).startswith(
        "windows     432 of 250 samples, 360 Hz, mV, lead MLII"
    )
    assert found.tokens_per_second == 36


def test_microvolts_are_converted(with_facts, ecg):
    found = describe(with_facts, 1000 * ecg.data, unit="µV")
    assert found.rmse == pytest.approx(describe(with_facts, ecg.data).rmse)
    assert found.unit == "mV"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"fs": 250}, r"fs=250, but .* fs=360: resample .*input_fs=250"),
        ({"unit": "mmHg"}, "unit='mmHg', but .* unit='mV': convert"),
        ({"lead": "V1"}, "lead='V1', but .* lead='MLII'"),
        ({"lead": ["II", "V1"]}, r"lead=\('II', 'V1'\), but"),
    ],
)
def test_other_facts_are_refused(with_facts, ecg, facts, message):
    with pytest.raises(ValueError, match=message):
        describe(with_facts, ecg.data, **facts)


@pytest.mark.parametrize("factor", [1000, 1e-4])
def test_another_scale_is_named_and_not_unused_tokens(with_facts, ecg, factor):
    (warning,) = describe(with_facts, factor * ecg.data).warnings
    assert warning.startswith("the signal ranges from ")
    assert warning.endswith("check the unit.")
    assert not describe(with_facts, ecg.data).warnings
