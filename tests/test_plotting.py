"""Displays draw the given data on the given axes."""

import itertools
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

from sktok import (
    BinQuantizer,
    BlockSegmenter,
    GainShapeTokenizer,
    LeadSelector,
    Resampler,
    VectorQuantizer,
    make_tokenizer,
)
from sktok._leads import INDEPENDENT_LEADS, TWELVE_LEADS
from sktok.datasets import derive_leads
from sktok.metrics import reconstruct, token_entropy
from sktok.plotting import (
    CodebookDisplay,
    QuantizationDisplay,
    RateDistortionDisplay,
    ReconstructionDisplay,
    TokenStripDisplay,
    TokenUsageDisplay,
    TrainingDisplay,
    TwelveLeadDisplay,
)

plt.switch_backend("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def quantizer(ecg):
    return BinQuantizer(16).fit(ecg.data)


@pytest.fixture(scope="module")
def tokenizer(ecg):
    """Trained for a few steps, with one validation check."""
    tokenizer = make_tokenizer(block_size=25, n_tokens=64, max_steps=20, random_state=0)
    return tokenizer.set_params(tokenize__early_stopping=True).fit(ecg.data[:100])


@pytest.fixture(scope="module")
def codebook(ecg):
    """Without a network; blocks of 7 samples, which do not divide the window."""
    quantizer = VectorQuantizer(8, max_iter=3, random_state=0)
    return make_pipeline(BlockSegmenter(7), quantizer).fit(ecg.data[:20])


@pytest.fixture(scope="module")
def gain_shape(codebook, ecg):
    return GainShapeTokenizer(codebook, n_bins=4).fit(ecg.data[:20])


@pytest.fixture
def drawn_texts(monkeypatch):
    """Draw a figure; return each text in it and the extent of the text."""
    draw = Text.draw

    def drawn(figure):
        extents = {}

        def record(text, renderer, *args, **kwargs):
            if text.get_visible() and text.get_text().strip():
                extents[text] = text.get_window_extent(renderer)
            draw(text, renderer, *args, **kwargs)

        figure.canvas.draw()
        with monkeypatch.context() as patched:
            patched.setattr(Text, "draw", record)
            figure.canvas.draw()
        return [(text.get_text(), extent) for text, extent in extents.items()]

    return drawn


def search_results(n_codes=(64, 128, 256), block_sizes=(5, 10, 25, 50)):
    """Results of a search over two parameters; a third one is constant."""
    grid = [(b, n) for b in block_sizes for n in n_codes]
    return {
        "params": [
            {"segment__block_size": b, "quantize__n_codes": n, "tokenize__max_steps": 9}
            for b, n in grid
        ],
        "mean_test_neg_bits_per_sample": [-np.log2(n) / b for b, n in grid],
        "mean_test_neg_reconstruction_mse": [-1e-4 * b**2 / n**0.1 for b, n in grid],
    }


def eight_leads(ecg):
    """Windows (2, 8, 1250) in V, and something like a reconstruction."""
    leads = np.arange(1, 9)[:, np.newaxis] / 8 * ecg.data.ravel()[: 2 * 1250]
    X = leads.reshape(8, 2, 1250).swapaxes(0, 1) / 1000
    return X, X.round(4)


DISPLAYS = {
    "reconstruction": lambda estimator, ecg, ax: ReconstructionDisplay.from_estimator(
        estimator, ecg.data[:9], fs=ecg.fs, unit=ecg.unit, ax=ax
    ),
    "quantization": lambda estimator, ecg, ax: QuantizationDisplay.from_arrays(
        ecg.data[0], ecg.data[0].round(1), limits=(-1, 1), ax=ax
    ),
    "rate distortion": lambda estimator, ecg, ax: RateDistortionDisplay.from_cv_results(
        search_results(), unit="mV", best_index=4, ax=ax
    ),
    "token usage": lambda estimator, ecg, ax: TokenUsageDisplay.from_estimator(
        estimator, ecg.data[:9], ax=ax
    ),
    "codebook": lambda estimator, ecg, ax: CodebookDisplay.from_estimator(
        estimator, ecg.data, fs=ecg.fs, unit=ecg.unit, ax=ax
    ),
    "few codes": lambda estimator, ecg, ax: CodebookDisplay.from_estimator(
        estimator, ecg.data[:9], fs=ecg.fs, unit=ecg.unit, n_codes=1, ax=ax
    ),
    "training": lambda estimator, ecg, ax: TrainingDisplay.from_estimator(
        estimator, ax=ax
    ),
    "token strip": lambda estimator, ecg, ax: TokenStripDisplay.from_estimator(
        estimator, ecg.data[:9], fs=ecg.fs, unit=ecg.unit, ax=ax
    ),
    "twelve leads": lambda estimator, ecg, ax: TwelveLeadDisplay.from_arrays(
        *eight_leads(ecg), lead=INDEPENDENT_LEADS, fs=ecg.fs, unit="V", ax=ax
    ),
    "strip without a unit": lambda estimator, ecg, ax: TokenStripDisplay.from_estimator(
        estimator, ecg.data[:9], ax=ax
    ),
}


@pytest.mark.parametrize("width", [None, 16])  # inches of 100 pixels; None is 8
@pytest.mark.parametrize("name", DISPLAYS)
def test_no_text_overlaps_or_leaves_the_figure(
    name, width, tokenizer, ecg, drawn_texts
):
    ax = None
    if width:
        _, ax = plt.subplots(figsize=(width, 6), dpi=100, layout="constrained")
    display = DISPLAYS[name](tokenizer, ecg, ax)
    if width or name != "twelve leads":  # whose new figure is as long as its signal
        assert display.figure_.get_figwidth() == (width or 8)
    texts = drawn_texts(display.figure_)
    assert len(texts) >= 4
    for i, (text, extent) in enumerate(texts):
        inside = extent.padded(-1)
        frame = display.figure_.bbox
        assert frame.contains(*inside.min), text
        assert frame.contains(*inside.max), text
        assert not [other for other, box in texts[:i] if inside.overlaps(box)], text


@pytest.mark.parametrize("name", DISPLAYS)
def test_every_display_draws_on_given_axes_and_again(name, tokenizer, ecg):
    _, (first, second) = plt.subplots(2)
    display = DISPLAYS[name](tokenizer, ecg, first)
    assert display.ax_ is first
    n_artists = len(first.get_children())
    assert display.plot(ax=second) is display
    assert display.ax_ is second
    assert display.figure_ is second.figure
    assert len(first.get_children()) == len(second.get_children()) == n_artists


def test_twelve_leads_are_drawn_as_on_paper(ecg):
    X, X_hat = eight_leads(ecg)
    display = TwelveLeadDisplay.from_arrays(
        X, X_hat, lead=INDEPENDENT_LEADS, fs=360, unit="V"
    )
    signal = 1000 * np.hstack(derive_leads(X, INDEPENDENT_LEADS))
    np.testing.assert_allclose(display.signal, signal)
    assert list(display.lines_)[:5] == ["I", "aVR", "V1", "V4", "II"]
    names = [text.get_text() for text in display.ax_.texts]
    assert sorted(names) == sorted([*TWELVE_LEADS, "II"])
    quarter = len(signal[0]) // 4
    line, restored = display.lines_["aVF"]
    np.testing.assert_allclose(line.get_xdata()[0], quarter / 360)
    expected = signal[5, quarter : 2 * quarter]
    shift = line.get_ydata() - expected
    np.testing.assert_allclose(shift, shift[0])
    assert np.abs(restored.get_ydata() - line.get_ydata()).max() > 0.01
    strip, _ = display.lines_["rhythm"]
    assert len(strip.get_xdata()) == len(signal[1])
    display.figure_.canvas.draw()  # which sets the size of the axes
    per_second, per_millivolt = display._points_per_unit()
    assert per_second / per_millivolt == pytest.approx(2.5, rel=0.05)
    heights = [display.lines_[name][0].get_ydata() for name in ("I", "II", "III")]
    assert all(a.min() > b.max() for a, b in itertools.pairwise(heights))
    assert display.plot(rhythm="v5").lines_["rhythm"][0].get_xdata()[-1] > 6.9
    with pytest.raises(ValueError, match="rhythm='V7': expected one of I, II"):
        display.plot(rhythm="V7")


def test_twelve_leads_of_a_tokenizer(ecg):
    X, _ = eight_leads(ecg)
    twelve = derive_leads(1000 * X, INDEPENDENT_LEADS)
    tokenizer = make_pipeline(
        Resampler(360, 360, unit="mV"),
        LeadSelector(TWELVE_LEADS),
        BlockSegmenter(25, leads="joint"),
        VectorQuantizer(8, random_state=0),
    ).fit(twelve)
    display = TwelveLeadDisplay.from_estimator(tokenizer, twelve)
    restored = np.hstack(reconstruct(tokenizer, twelve))
    np.testing.assert_allclose(display.reconstruction, restored)
    strip = TokenStripDisplay.from_estimator
    with pytest.raises(ValueError, match="expected one token for each block"):
        strip(tokenizer, twelve)  # 400 tokens are not 50 of each lead


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fs": None}, "fs=None, .*give it"),
        ({"unit": "bpm"}, "unit='bpm': expected one of voltage"),
        ({"lead": None}, "lead=None, .*give it"),
        ({"lead": list("abcdefgh")}, "Leads are missing: I, II"),
        ({"X": np.zeros((8, 100))}, r"shape \(8, 100\), expected \(n_windows, n_leads"),
    ],
)
def test_twelve_leads_need_names_rate_and_unit(changes, message, ecg):
    X, _ = eight_leads(ecg)
    options = {"X": X, "lead": INDEPENDENT_LEADS, "fs": 360, "unit": "V"} | changes
    with pytest.raises(ValueError, match=message):
        TwelveLeadDisplay.from_arrays(**options)


def test_colours_contrast_with_a_dark_background():
    def brightness(style):
        with plt.style.context(style):
            display = ReconstructionDisplay.from_arrays([1.0, 2.0], [1.0, 2.0])
        return [max(to_rgb(x.get_color())) for x in display.lines_]

    on_white, on_black = brightness("default"), brightness("dark_background")
    assert on_white[1] < 0.6 < on_black[1]
    assert on_white[0] > on_black[0]


def test_transparent_axes_take_the_colour_of_the_figure():
    left, _ = plt.figure(facecolor="white").subfigures(1, 2)
    left.set_facecolor("none")
    draw = ReconstructionDisplay.from_arrays
    on_figure = draw([1.0], [1.0], ax=left.add_subplot(facecolor="none"))
    assert on_figure.lines_[1].get_color() == draw([1.0], [1.0]).lines_[1].get_color()
    left.set_facecolor("black")
    on_black = on_figure.plot(ax=left.add_subplot(facecolor="none"))
    assert max(to_rgb(on_black.lines_[1].get_color())) > 0.6


@pytest.mark.parametrize("fs", [-360, 0, np.nan, np.inf, "360"])
@pytest.mark.parametrize(
    "display", [CodebookDisplay, ReconstructionDisplay, TokenStripDisplay]
)
def test_sampling_frequency_is_above_0(display, fs, codebook, ecg):
    with pytest.raises(ValueError, match=f"fs={fs!r}: expected a number above 0"):
        display.from_estimator(codebook, ecg.data[:2], fs=fs)


def test_reconstruction_from_estimator(quantizer, ecg):
    X = ecg.data[:3]
    display = ReconstructionDisplay.from_estimator(
        quantizer, X, fs=ecg.fs, unit=ecg.unit
    )
    signal, reconstruction = display.lines_
    np.testing.assert_array_equal(signal.get_ydata(), X.ravel())
    np.testing.assert_array_equal(
        reconstruction.get_ydata(), reconstruct(quantizer, X).ravel()
    )
    np.testing.assert_allclose(signal.get_xdata()[-1], 749 / 360)
    assert display.ax_.get_xlabel() == "time (s)"
    assert display.ax_.get_ylabel() == "amplitude (mV)"


def test_quantization_from_estimator(quantizer, ecg):
    X = ecg.data[:1]
    display = QuantizationDisplay.from_estimator(quantizer, X)
    values, quantized = display.lines_
    np.testing.assert_array_equal(values.get_ydata(), X.ravel())
    np.testing.assert_array_equal(
        quantized.get_ydata(), reconstruct(quantizer, X).ravel()
    )
    assert display.limits == (ecg.data.min(), ecg.data.max())
    assert quantized.get_drawstyle() == "steps-mid"


def test_limits_of_bins_are_two_lines():
    display = QuantizationDisplay.from_arrays([1.0], [1.5], limits=np.array([0.0, 5.0]))
    levels = [line.get_ydata() for line in display.ax_.lines[2:]]
    np.testing.assert_array_equal(levels, [[0, 0], [5, 5]])
    assert len(display.from_arrays([1.0], [1.5]).ax_.lines) == 2


def test_reconstruction_has_the_error_below(quantizer, ecg):
    X = ecg.data[:3]
    display = ReconstructionDisplay.from_estimator(
        quantizer, X, fs=ecg.fs, unit=ecg.unit
    )
    np.testing.assert_allclose(
        display.error_line_.get_ydata(), 1000 * (reconstruct(quantizer, X) - X).ravel()
    )
    assert display.error_ax_.get_ylabel() == "error (µV)"
    assert display.error_ax_.get_position().y1 < display.ax_.get_position().y0
    _, (ax, error_ax) = plt.subplots(2)
    assert display.plot(ax=ax).error_line_ is None
    assert display.plot(ax=ax, error_ax=error_ax).error_line_.axes is error_ax
    assert error_ax.get_xlabel() == "time (s)"
    plain = ReconstructionDisplay.from_arrays([0.0, 1.0], [1.0, 1.0], unit="bar")
    np.testing.assert_array_equal(plain.error_line_.get_ydata(), [1, 0])
    assert plain.error_ax_.get_ylabel() == "error (bar)"


def test_reconstruction_marks_the_start_of_tokens(tokenizer, codebook, gain_shape, ecg):
    X = ecg.data[:2]
    display = ReconstructionDisplay.from_estimator(tokenizer, X, fs=ecg.fs)
    np.testing.assert_allclose(
        display.boundaries_.get_xdata(), np.arange(0, 500, 25) / ecg.fs
    )
    first = np.arange(0, 250, 7)
    assert len(first) == codebook.transform(X).shape[1]
    display = ReconstructionDisplay.from_estimator(codebook, X)
    np.testing.assert_array_equal(
        display.boundaries_.get_xdata(), [*first, *first + 250]
    )
    assert (
        ReconstructionDisplay.from_estimator(gain_shape, X).boundaries_
        is ReconstructionDisplay.from_estimator(tokenizer[:2], X).boundaries_
        is None
    )
    dense = ReconstructionDisplay.from_estimator(codebook, ecg.data[:60])
    assert len(dense.token_starts) == 60 * 36
    assert dense.boundaries_ is None


def test_starts_of_tokens_are_drawn_only_if_known(quantizer, ecg):
    def starts(tokenizer, X):
        display = ReconstructionDisplay.from_estimator(tokenizer.fit(X), X)
        return None if display.token_starts is None else list(display.token_starts)

    X = ecg.data[:20, :100]
    codebook = VectorQuantizer(4, max_iter=3, random_state=0)
    assert starts(codebook, X) == list(range(0, 2000, 100))
    assert starts(BinQuantizer(4), X) == list(range(2000))
    assert starts(codebook, X.reshape(20, 4, 25)) == list(range(0, 2000, 25))
    assert starts(make_pipeline(PCA(10), BinQuantizer(4)), X) is None
    scaled = GainShapeTokenizer(codebook, n_bins=4)
    assert starts(scaled, X[:, :99]) is None
    shapes = CodebookDisplay.from_estimator(scaled, X[:, :99])
    assert shapes.mean.shape[1] == 99
    as_many_as_blocks = SimpleNamespace(
        transform=lambda X: np.zeros((len(X), 4), int),
        inverse_transform=lambda tokens: X,
        block_size_=25,
        token_ranges_=scaled.token_ranges_,
    )
    display = ReconstructionDisplay.from_estimator(as_many_as_blocks, X)
    assert display.token_starts is None
    components = make_pipeline(PCA(10), BinQuantizer(4)).fit(X)
    with pytest.raises(ValueError, match="expected one token for each block"):
        TokenStripDisplay.from_estimator(components, X)


@pytest.mark.parametrize("token_length", [0, -3, 2.5])
def test_token_length_is_a_number_of_samples(token_length):
    with pytest.raises(ValueError, match=f"token_length={token_length}: expected"):
        ReconstructionDisplay.from_arrays([1.0], [1.0], token_length=token_length)


def paper(ax):
    return [grid for grid in ax.collections if isinstance(grid, LineCollection)]


@pytest.mark.parametrize(
    ("n_windows", "squares"), [(1, [0.04, 0.2]), (9, [0.2]), (120, [])]
)
def test_ecg_paper_leaves_out_squares_that_are_too_small(n_windows, squares, ecg):
    X = ecg.data[:n_windows]
    display = ReconstructionDisplay.from_arrays(X, X, fs=ecg.fs, unit="mV")
    grids = paper(display.ax_)
    assert len(grids) == len(squares)
    for grid, width in zip(grids, squares, strict=True):
        lines = np.array(grid.get_segments())
        x = lines[lines[:, 0, 0] == lines[:, 1, 0], 0, 0]
        y = lines[lines[:, 0, 1] == lines[:, 1, 1], 0, 1]
        np.testing.assert_allclose(np.diff(x), width)
        np.testing.assert_allclose(np.diff(y), 2.5 * width)
        np.testing.assert_allclose(x / width, np.round(x / width), atol=1e-9)
        left, right = display.ax_.get_xlim()
        assert 0 == left == x[0]
        assert right - width < x[-1] <= right


def test_ecg_paper_is_behind_each_row(codebook, ecg):
    display = TokenStripDisplay.from_estimator(
        codebook, ecg.data[:4], fs=ecg.fs, unit="mV", seconds_per_row=1.6
    )
    low, high = (
        0.5 * np.floor(2 * display.signal.min()),
        0.5 * np.ceil(2 * display.signal.max()),
    )
    grids = [
        grid for grid in paper(display.ax_) if np.isclose(grid.get_linewidth(), 0.7)
    ]
    assert len(display.offsets_) == 2
    for grid, offset, seconds in zip(
        grids, display.offsets_, [1.6, 1000 / 360 - 1.6], strict=True
    ):
        lines = np.array(grid.get_segments())
        times = np.arange(0, seconds + 1e-9, 0.2)
        levels = offset + np.arange(low, high + 0.1, 0.5)
        np.testing.assert_allclose(
            lines,
            [[(x, low + offset), (x, high + offset)] for x in times]
            + [[(0, y), (seconds, y)] for y in levels],
            atol=1e-9,
        )


def test_ecg_paper_needs_seconds_and_millivolts(ecg):
    X = ecg.data[:1]
    draw = ReconstructionDisplay.from_arrays
    assert not paper(draw(X, X, fs=ecg.fs, unit="V").ax_)
    assert not paper(draw(X, X, unit="mV").ax_)
    assert not paper(draw(X, X, fs=ecg.fs, unit="mV", ecg_paper=False).ax_)
    with pytest.raises(ValueError, match="give fs and unit"):
        draw(X, X, unit="mV", ecg_paper=True)
    with pytest.raises(ValueError, match='expected "auto", True or False'):
        draw(X, X, ecg_paper="pink")


def test_styles_are_passed_on():
    display = ReconstructionDisplay.from_arrays(
        [1.0, 2.0], [1.0, 2.0], signal_kwargs={"color": "blue"}
    )
    assert display.lines_[0].get_color() == "blue"


@pytest.mark.parametrize("display", [ReconstructionDisplay, QuantizationDisplay])
def test_arrays_of_different_shape(display):
    with pytest.raises(ValueError, match=r"shape \(2,\) and the reconstruction \(3,\)"):
        display.from_arrays([1.0, 2.0], [1.0, 2.0, 3.0])


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'sktok\[plot\]'"):
        ReconstructionDisplay.from_arrays([1.0], [1.0])


def test_rate_and_distortion_of_a_search():
    cv_results = {
        "params": [{"block": 5, "codes": n} for n in (8, 64, 256)] + [{"block": 2}],
        "mean_test_neg_bits_per_sample": [-0.6, -1.2, -1.6, -1.5],
        "mean_test_neg_reconstruction_mse": [-1e-3, -1e-4, -1e-5, -2e-4],
    }
    display = RateDistortionDisplay.from_cv_results(cv_results, unit="mV")
    np.testing.assert_allclose(
        display.points_.get_offsets(),
        [[0.6, 1e-3], [1.2, 1e-4], [1.6, 1e-5], [1.5, 2e-4]],
    )
    np.testing.assert_allclose(display.front_.get_xdata(), [0.6, 1.2, 1.6])
    assert display.labels == ["5, 8", "5, 64", "5, 256", "2"]
    assert display.ax_.get_ylabel() == "mean squared error (mV²)"
    _, ax = plt.subplots()
    assert display.plot(ax=ax).ax_ is ax


def test_candidates_without_a_score_are_not_drawn():
    rate, mse = np.array([0.3, 0.6, 1.2, 2.0]), np.array([1e-3, np.nan, 1e-5, 1e-4])
    display = RateDistortionDisplay(rate, mse, list("abcd")).plot()
    np.testing.assert_allclose(display.front_.get_xdata(), [0.3, 1.2])
    assert [text.get_text() for text in display.ax_.texts] == ["a", "c", "d"]
    nothing = RateDistortionDisplay(rate, np.full(4, np.nan), list("abcd")).plot()
    assert len(nothing.points_.get_offsets()) == 0
    nothing.figure_.canvas.draw()


def test_with_many_candidates_only_the_front_is_labelled():
    def labelled(rate, mse, best_index):
        labels = [str(i) for i in range(len(rate))]
        display = RateDistortionDisplay(rate, mse, labels, best_index=best_index)
        return [text.get_text() for text in display.plot().ax_.texts]

    rate, mse = np.linspace(1, 2, 61), np.full(61, 1e-3)
    assert len(labelled(rate, np.geomspace(2, 1, 61), None)) == 31
    rate[0], mse[[5, 40]] = 3, (1e-4, 1e-5)
    assert labelled(rate, mse, None) == ["1", "5", "40"]
    assert labelled(rate, mse, 0) == ["0", "1", "5", "40"]
    assert len(labelled(rate[:60], mse[:60], None)) == 60


def test_labels_name_the_parameters_that_vary():
    display = RateDistortionDisplay.from_cv_results(search_results(n_codes=[64]))
    assert display.labels == ["5", "10", "25", "50"]
    assert display.names == "block_size"
    assert display.rmse_axis_ is display.chosen_ is None
    alone = RateDistortionDisplay.from_cv_results(search_results([64], [5]))
    assert alone.labels == ["5, 64, 9"]


def test_the_chosen_candidate_is_marked_by_a_ring():
    display = RateDistortionDisplay.from_cv_results(search_results(), best_index=0)
    np.testing.assert_allclose(
        display.chosen_.get_offsets(), [[6 / 5, 25e-4 / 64**0.1]]
    )
    with pytest.raises(
        ValueError, match="best_index=12: expected a candidate from 0 to 11"
    ):
        RateDistortionDisplay.from_cv_results(search_results(), best_index=12)


def test_errors_in_millivolts_are_also_shown_in_microvolts():
    display = RateDistortionDisplay.from_cv_results(search_results(), unit="mV")
    display.figure_.canvas.draw()
    low, high = display.ax_.get_ylim()
    np.testing.assert_allclose(
        display.rmse_axis_.get_ylim(), [1000 * np.sqrt(low), 1000 * np.sqrt(high)]
    )


@pytest.mark.parametrize("unit", [None, "mV"])
def test_an_error_of_0_is_on_a_linear_axis(unit):
    display = RateDistortionDisplay(
        np.array([1.0, 2.0]), np.zeros(2), list("ab"), unit=unit
    ).plot()
    display.figure_.canvas.draw()
    assert display.ax_.get_yscale() == "linear"
    training = TrainingDisplay.from_curves(np.zeros(3))
    training.figure_.canvas.draw()
    assert training.ax_.get_yscale() == "linear"


def test_token_usage_from_estimator(tokenizer, ecg):
    X = ecg.data[:9]
    display = TokenUsageDisplay.from_estimator(tokenizer, X)
    tokens = tokenizer.transform(X)
    _, count = np.unique(tokens, return_counts=True)
    np.testing.assert_allclose(
        display.line_.get_ydata(), 100 * np.sort(count)[::-1] / tokens.size
    )
    np.testing.assert_allclose(display.uniform_.get_ydata(), 100 / 64)
    title = display.ax_.get_title(loc="left")
    assert title == (
        f"entropy {token_entropy(tokens):.2f} of 6.00 bits\n"
        f"{len(count)} of 64 tokens in use ({100 * len(count) / 64:.3g} %)"
    )


def test_usage_of_a_huge_vocabulary():
    display = TokenUsageDisplay.from_tokens([2**59, 5, 5, 7, 5], 2**60)
    np.testing.assert_allclose(display.share, [0.6, 0.2, 0.2])
    np.testing.assert_allclose(display.line_.get_data(), [[1, 2, 3], [60, 20, 20]])
    assert display.n_tokens == 2**60
    assert "of 60.00 bits\n3 of " in display.ax_.get_title(loc="left")


@pytest.mark.parametrize(
    "count",
    [[500, 40, 30, 20, 9, 5, 2, 1] * 2, [100] * 14 + [1] * 2, np.arange(99, 3, -3)],
)
def test_usage_fits_half_of_a_figure(count, drawn_texts):
    figure, axes = plt.subplots(2, 2, figsize=(10, 6), dpi=100, layout="constrained")
    tokens = np.repeat(np.arange(len(count)), count)
    displays = [
        TokenUsageDisplay.from_tokens(tokens, n_tokens, ax=ax)
        for ax, n_tokens in zip(axes.flat, [len(count), 40, 64, 1024], strict=True)
    ]
    texts = drawn_texts(figure)
    titles = [extent for text, extent in texts if text.startswith("entropy")]
    for display, title in zip(displays, titles, strict=True):
        assert title.x1 <= display.ax_.bbox.x1
        curve = display.line_.get_path().transformed(display.ax_.transData)
        legend = display.ax_.get_legend().get_window_extent()
        assert not curve.intersects_bbox(legend, filled=False)


def test_tokens_outside_the_vocabulary_are_not_drawn(quantizer, ecg):
    with pytest.raises(ValueError, match="outside the vocabulary of 2 tokens"):
        TokenUsageDisplay.from_tokens([0, 1, 2], 2)
    with pytest.raises(TypeError, match="expected integers"):
        TokenUsageDisplay.from_tokens([0.5], 2)
    with pytest.raises(ValueError, match="BlockSegmenter has no n_tokens_"):
        TokenUsageDisplay.from_estimator(BlockSegmenter().fit(ecg.data), ecg.data)


def test_codebook_draws_the_codes(codebook, ecg):
    X = ecg.data[20:40]
    display = CodebookDisplay.from_estimator(codebook, X, n_codes=5)
    whole = codebook.transform(X)[:, :-1]  # the last block of a window is cropped
    codes = codebook[-1].codes_[display.tokens]
    np.testing.assert_allclose(display.mean[:, :5], codes[:, :5])
    for token, share in zip(display.tokens, display.share, strict=True):
        assert abs(share - np.mean(whole == token)) < 0.02
    assert (np.diff(display.share) <= 0).all()
    assert display.n_tokens == 8
    drawn = np.diff([curve[:, 1] for curve in display.curves_.get_segments()])
    change = np.diff(display.mean)
    np.testing.assert_allclose(
        drawn, change * np.ptp(drawn) / np.ptp(change), atol=1e-6
    )
    written = [text.get_text() for text in display.ax_.texts]
    assert written[0].startswith(f"{display.tokens[0]}  ")
    assert written[-2].endswith(", 7 samples")


def test_codebook_ignores_the_padding_of_blocks(codebook, ecg):
    display = CodebookDisplay.from_estimator(codebook, ecg.data)
    assert len(display.tokens) == 8
    codes = codebook[-1].codes_[display.tokens]
    np.testing.assert_allclose(display.mean, codes)
    np.testing.assert_allclose(display.band, [codes, codes])


def test_codebook_of_a_cropped_block(ecg):
    X = ecg.data[:20]
    codebook = make_pipeline(BlockSegmenter(200), VectorQuantizer(8, random_state=0))
    tokens = codebook.fit(X).transform(X)
    (cropped,) = np.setdiff1d(tokens[:, 1], tokens[:, 0])[:1]
    display = CodebookDisplay.from_estimator(codebook, X)
    mean = display.mean[display.tokens == cropped][0]
    np.testing.assert_allclose(mean[:50], codebook[-1].codes_[cropped, :50])
    assert np.isnan(mean[50:]).all()
    assert sum(np.isnan(display.mean[:, -1])) == len(
        np.setdiff1d(tokens[:, 1], tokens[:, 0])
    )
    display.figure_.canvas.draw()
    assert all(np.isfinite(p.vertices).all() for p in display.bands_.get_paths())


@pytest.mark.parametrize("fs", [None, 360])
def test_codebook_has_a_scale(fs):
    """The frame of a cell is as high as the range of the blocks, here 2."""
    mean = np.array([[-0.5, -0.5], [1.5, 1.5]])
    display = CodebookDisplay(
        [0, 1], [0.5, 0.5], mean, np.array([mean, mean]), 2, 2, fs=fs, unit="mV"
    ).plot()
    (low, _), (high, _) = (curve[:, 1] for curve in display.curves_.get_segments())
    (upright, level) = np.array(display.scale_bar_.get_segments())
    np.testing.assert_allclose(np.ptp(upright, axis=0), [0, (high - low) / 2])
    np.testing.assert_allclose(
        np.ptp(level, axis=0), [np.ptp(display.curves_.get_segments()[0][:, 0]), 0]
    )
    length = "5.56 ms" if fs else "2 samples"
    bar, note = (text.get_text() for text in display.ax_.texts[-2:])
    assert bar == f"1 mV, {length}"
    assert note == "thin line: 0 mV"
    (zero,) = (grid for grid in paper(display.ax_) if grid.get_zorder() == 0.5)
    for line in zero.get_segments():
        np.testing.assert_allclose(line[:, 1], low + (high - low) / 4)


@pytest.mark.parametrize(
    ("low", "high", "amplitude"), [(0.1, 0.3, 0.1), (0, 1, 0.5), (0, 9.9, 2)]
)
def test_scale_bar_is_a_round_amplitude(low, high, amplitude):
    mean = np.array([[low, high]])
    display = CodebookDisplay([0], [1.0], mean, np.array([mean, mean]), 1, 1).plot()
    assert display.ax_.texts[-2].get_text() == f"{amplitude}, 2 samples"


def test_codebook_of_a_network_has_bands(tokenizer, ecg):
    X = ecg.data[:60]
    display = CodebookDisplay.from_estimator(tokenizer, X, fs=ecg.fs, unit=ecg.unit)
    tokens = tokenizer.transform(X)
    blocks = reconstruct(tokenizer, X).reshape(60, 10, 25)
    np.testing.assert_allclose(
        display.mean[0], blocks[tokens == display.tokens[0]].mean(axis=0), rtol=1e-5
    )
    np.testing.assert_allclose(
        display.band[:, 0],
        np.percentile(blocks[tokens == display.tokens[0]], [10, 90], axis=0),
        rtol=1e-5,
    )
    assert (display.band[0] <= display.band[1]).all()
    assert display.ax_.texts[-1].get_text().startswith("band: 10th to 90th")
    assert display.n_used == len(np.unique(tokens)) == len(display.tokens)
    assert f"{64 - display.n_used} of 64 never" in display.ax_.get_title(loc="left")
    assert len(display.bands_.get_paths()) == display.n_used


def test_gain_and_offset_tokens_are_left_out(gain_shape, codebook, ecg):
    X = ecg.data[:9]
    shapes = gain_shape.token_ranges_["shape"]
    display = TokenStripDisplay.from_estimator(gain_shape, X)
    np.testing.assert_array_equal(
        display.tokens, gain_shape.transform(X)[:, 2:].ravel()
    )
    assert display.vocabulary == shapes
    display = CodebookDisplay.from_estimator(gain_shape, X)
    assert set(display.tokens) <= set(shapes)
    assert display.n_tokens == 8


@pytest.mark.parametrize("display", [CodebookDisplay, TokenStripDisplay])
def test_each_block_needs_one_token(display, ecg):
    several = make_pipeline(BlockSegmenter(25), BinQuantizer(4)).fit(ecg.data)
    with pytest.raises(ValueError, match="expected one token for each block"):
        display.from_estimator(several, ecg.data[:2])


@pytest.mark.parametrize("n_codes", [0, 2.5])
def test_number_of_codes_is_a_positive_integer(n_codes, codebook, ecg):
    with pytest.raises(ValueError, match=f"n_codes={n_codes}: expected"):
        CodebookDisplay.from_estimator(codebook, ecg.data, n_codes=n_codes)


def test_training_from_estimator(tokenizer, codebook):
    network = tokenizer["tokenize"]
    display = TrainingDisplay.from_estimator(tokenizer)
    np.testing.assert_array_equal(display.line_.get_ydata(), network.loss_curve_)
    np.testing.assert_array_equal(display.line_.get_xdata(), np.arange(1, 21))
    x, y = display.validation_line_.get_data()
    assert (list(x), list(y)) == ([20], network.validation_loss_curve_)
    assert display.ax_.get_yscale() == "log"
    with pytest.raises(ValueError, match="Pipeline has no loss_curve_"):
        TrainingDisplay.from_estimator(codebook)
    with pytest.raises(ValueError, match="has no loss_curve_: give a fitted"):
        TrainingDisplay.from_estimator(make_tokenizer())


def test_validation_checks_are_drawn_at_the_stored_steps():
    trained = SimpleNamespace(
        loss_curve_=[3.0] * 90, validation_loss_curve_=[2.0, 1.0, 0.5]
    )
    inferred = TrainingDisplay.from_estimator(trained).validation_line_
    np.testing.assert_array_equal(inferred.get_xdata(), [50, 90, 90])
    trained.validation_steps_ = [20, 40, 90]
    kept = TrainingDisplay.from_estimator(trained).validation_line_
    np.testing.assert_array_equal(kept.get_xdata(), [20, 40, 90])
    search = SimpleNamespace(best_estimator_=make_pipeline("passthrough", trained))
    assert len(TrainingDisplay.from_estimator(search).loss) == 90


def test_training_of_a_tokenizer_inside_another(tokenizer):
    outer = GainShapeTokenizer()
    outer.tokenizer_ = tokenizer
    display = TrainingDisplay.from_estimator(outer)
    assert len(display.loss) == 20


@pytest.mark.parametrize(
    ("n_steps", "n_checks", "steps"),
    [(120, 3, [50, 100, 120]), (100, 2, [50, 100]), (300, 3, [100, 200, 300])],
)
def test_steps_of_validation_checks_are_approximated(n_steps, n_checks, steps):
    loss = np.linspace(2, 1, n_steps)
    display = TrainingDisplay.from_curves(loss, np.ones(n_checks))
    np.testing.assert_array_equal(display.validation_line_.get_xdata(), steps)
    mean = display.smoothed_.get_ydata()
    np.testing.assert_allclose(mean[5:-5], loss[5:-5])
    with pytest.raises(ValueError, match=r"validation_steps has shape \(1,\)"):
        TrainingDisplay.from_curves(loss, np.ones(n_checks), validation_steps=[1])


def test_training_without_steps():
    with pytest.raises(ValueError, match=r"loss has shape \(0,\)"):
        TrainingDisplay.from_curves([])


def test_token_strip_has_each_token_under_its_samples(codebook, ecg):
    X = ecg.data[:4]
    display = TokenStripDisplay.from_estimator(
        codebook, X, fs=ecg.fs, unit=ecg.unit, seconds_per_row=1
    )
    assert len(display.lines_) == 3
    for row, line in enumerate(display.lines_):
        part = X.ravel()[360 * row :][:361]
        np.testing.assert_allclose(line.get_ydata() - display.offsets_[row], part)
        np.testing.assert_allclose(line.get_xdata(), np.arange(len(part)) / 360)
    tokens = codebook.transform(X).ravel()
    cells = np.array(
        [path.get_extents().extents for path in display.cells_.get_paths()]
    )
    row = np.searchsorted(-display.offsets_, -cells[:, 1]) - 1
    start = np.round(360 * (cells[:, 0] + row)).astype(int)
    of_sample = np.repeat(tokens, np.tile([7] * 35 + [5], 4))
    np.testing.assert_array_equal(display.cells_.get_array(), of_sample[start])
    np.testing.assert_allclose(np.diff(start), 360 * np.ptp(cells[:-1, ::2], axis=1))
    for cell, line in zip(cells, np.array(display.lines_)[row], strict=True):
        assert cell[3] <= line.get_ydata().min()


def test_rows_of_whole_tokens(tokenizer, ecg):
    display = TokenStripDisplay.from_estimator(tokenizer, ecg.data[:9], fs=ecg.fs)
    assert len(display.cells_.get_paths()) == 90
    assert [len(line.get_ydata()) for line in display.lines_] == [1126, 1125]
    assert [text.get_text() for text in display.numbers_] == [
        str(token) for token in tokenizer.transform(ecg.data[:9]).ravel()
    ]
    dense = TokenStripDisplay.from_estimator(
        tokenizer, ecg.data[:99], fs=ecg.fs, seconds_per_row=60
    )
    assert not dense.numbers_
    assert not any(text.get_in_layout() for text in display.numbers_)


def test_a_strip_has_a_maximum_number_of_rows(codebook, ecg):
    draw = TokenStripDisplay.from_estimator
    with pytest.raises(
        ValueError, match=r"make 100 rows of 1084, .*: draw fewer windows, or set sec"
    ):
        draw(codebook, ecg.data, fs=ecg.fs)
    with pytest.raises(ValueError, match="or set seconds_per_row and fs"):
        draw(codebook, ecg.data)
    assert len(draw(codebook, ecg.data, fs=ecg.fs, seconds_per_row=60).lines_) == 5


@pytest.mark.parametrize(
    ("fs", "row", "extents"),
    [
        (0.5, 500.25, ["0–500 s", "500–1000 s", "1000–1500 s"]),
        (10, 25.5, ["0–25.5 s", "25.5–51 s", "51–75 s"]),
        (1000, 0.25, ["0–0.25 s", "0.25–0.5 s", "0.5–0.75 s"]),
    ],
)
def test_rows_are_labelled_with_their_times(fs, row, extents):
    signal = np.zeros(750)
    display = TokenStripDisplay(
        signal, np.zeros(3, int), np.array([0, 250, 500]), range(2), fs=fs
    )
    display.plot(seconds_per_row=row)
    labels = [text.get_text() for text in display.ax_.texts if "–" in text.get_text()]
    assert labels == extents


@pytest.mark.parametrize(("seconds", "fs"), [(0, 360), ("1", 360), (1, None)])
def test_length_of_rows_is_positive(seconds, fs, codebook, ecg):
    with pytest.raises(ValueError, match="expected a number above 0"):
        TokenStripDisplay.from_estimator(
            codebook, ecg.data[:2], fs=fs, seconds_per_row=seconds
        )


@pytest.fixture(scope="module")
def leads(ecg):
    """18 windows of three leads that differ, shape (18, 3, 250)."""
    X = ecg.data[:18]
    return np.stack([X, 0.5 * X[::-1], -X], axis=1)


@pytest.fixture(scope="module")
def of_leads(leads):
    """Tokenizers of windows of three leads; blocks of 7 do not divide them."""
    vectors = VectorQuantizer(8, max_iter=3, random_state=0)
    facts = {"unit": "mV", "lead": ["I", "II", "V1"]}
    blocks = make_pipeline(Resampler(360, 360, **facts), BlockSegmenter(7), vectors)
    tokenizers = {
        "blocks": blocks,
        "samples": make_pipeline(Resampler(360, 360), BinQuantizer(16)),
        "gain and shape": GainShapeTokenizer(
            make_pipeline(BlockSegmenter(7), vectors), n_bins=4
        ),
    }
    return {name: tokenizer.fit(leads) for name, tokenizer in tokenizers.items()}


@pytest.mark.parametrize("name", ["blocks", "samples", "gain and shape"])
@pytest.mark.parametrize("lead", [0, 1, np.int64(2)])
def test_reconstruction_of_one_lead(name, lead, of_leads, leads):
    X = leads[:4]
    display = ReconstructionDisplay.from_estimator(of_leads[name], X, lead=lead)
    X_hat = reconstruct(of_leads[name], X)
    np.testing.assert_array_equal(display.signal, X[:, lead].ravel())
    np.testing.assert_array_equal(display.reconstruction, X_hat[:, lead].ravel())
    length = {"blocks": 7, "samples": 1, "gain and shape": None}[name]
    alone = ReconstructionDisplay.from_arrays(
        X[:, lead], X_hat[:, lead], token_length=length
    )
    np.testing.assert_array_equal(display.token_starts, alone.token_starts)
    by_arrays = ReconstructionDisplay.from_arrays(
        X, X_hat, lead=lead, token_length=length
    )
    for drawn, expected in zip(by_arrays.lines_, display.lines_, strict=True):
        np.testing.assert_array_equal(drawn.get_ydata(), expected.get_ydata())
    np.testing.assert_array_equal(by_arrays.token_starts, alone.token_starts)


@pytest.mark.parametrize(
    ("name", "n_left_out"), [("blocks", 0), ("samples", 0), ("gain and shape", 2)]
)
@pytest.mark.parametrize("lead", [0, 2])
def test_token_strip_of_one_lead(name, n_left_out, lead, of_leads, leads):
    X = leads[:2]
    display = TokenStripDisplay.from_estimator(of_leads[name], X, lead=lead)
    tokens = of_leads[name].transform(X).reshape(2, 3, -1)[:, lead, n_left_out:]
    np.testing.assert_array_equal(display.tokens, tokens.ravel())
    np.testing.assert_array_equal(display.signal, X[:, lead].ravel())
    first = np.arange(0, 250, 1 if name == "samples" else 7)
    np.testing.assert_array_equal(display.token_starts, [*first, *first + 250])


def test_a_lead_is_drawn_alone_as_among_others(of_leads, leads):
    alone = GainShapeTokenizer(of_leads["gain and shape"].tokenizer, n_bins=4)
    alone.fit(leads.reshape(-1, 250))
    lead = TokenStripDisplay.from_estimator(
        of_leads["gain and shape"], leads[:4], lead=1
    )
    single = TokenStripDisplay.from_estimator(alone, leads[:4, 1])
    np.testing.assert_array_equal(lead.tokens, single.tokens)
    np.testing.assert_array_equal(lead.token_starts, single.token_starts)
    np.testing.assert_array_equal(lead.signal, single.signal)


@pytest.mark.parametrize("display", [ReconstructionDisplay, TokenStripDisplay])
def test_a_lead_is_chosen_by_name(display, of_leads, leads):
    drawn = display.from_estimator(of_leads["blocks"], leads[:2], lead="II")
    np.testing.assert_array_equal(drawn.signal, leads[:2, 1].ravel())
    for lead in ("aVR", 3, -1, True, 1.0, None):
        with pytest.raises(
            ValueError,
            match=f"lead={lead!r} of windows with 3 leads: expected an index from 0 "
            "to 2, or one of I, II, V1",
        ):
            display.from_estimator(of_leads["blocks"], leads[:2], lead=lead)
    with pytest.raises(ValueError, match="expected an index from 0 to 2"):
        display.from_estimator(of_leads["samples"], leads[:2], lead="I")


def test_the_name_of_a_single_lead(ecg):
    X = ecg.data[:2]
    quantizer = make_pipeline(Resampler(360, 360, lead="II"), BinQuantizer(4)).fit(X)
    display = ReconstructionDisplay.from_estimator(quantizer, X, lead="II")
    np.testing.assert_array_equal(display.signal, X.ravel())
    with pytest.raises(ValueError, match="lead=1 of windows with 1 lead, expected 0"):
        ReconstructionDisplay.from_estimator(quantizer, X, lead=1)


def test_arrays_of_leads(leads):
    draw = ReconstructionDisplay.from_arrays
    with pytest.raises(ValueError, match="lead=3 of windows with 3 leads"):
        draw(leads, leads, lead=3)
    with pytest.raises(ValueError, match="lead=1 of windows with 1 lead"):
        draw(leads[:, 0], leads[:, 0], lead=1)
    blocks = leads.reshape(18, 3, 25, 10)
    with pytest.raises(ValueError, match=r"shape \(18, 3, 25, 10\), .*join its blocks"):
        draw(blocks, blocks)


def test_blocks_are_joined(leads):
    blocks = leads[:, 0].reshape(18, 10, 25)
    codebook = VectorQuantizer(4, max_iter=3, random_state=0).fit(blocks)
    display = ReconstructionDisplay.from_estimator(codebook, blocks)
    np.testing.assert_array_equal(display.signal, blocks.ravel())
    np.testing.assert_array_equal(
        display.reconstruction, reconstruct(codebook, blocks).ravel()
    )
    np.testing.assert_array_equal(display.token_starts, np.arange(0, 4500, 25))
    strip = TokenStripDisplay.from_estimator(codebook, blocks)
    np.testing.assert_array_equal(strip.tokens, codebook.transform(blocks).ravel())
    with pytest.raises(ValueError, match=r"lead=1 .* and as blocks otherwise"):
        TokenStripDisplay.from_estimator(codebook, blocks, lead=1)


def test_codebook_and_usage_count_all_leads(of_leads, leads):
    tokenizer = of_leads["blocks"]
    tokens = tokenizer.transform(leads)
    display = CodebookDisplay.from_estimator(tokenizer, leads)
    share = np.bincount(tokens.ravel(), minlength=8) / tokens.size
    np.testing.assert_allclose(display.share, share[display.tokens])
    codes = tokenizer[-1].codes_[display.tokens]
    np.testing.assert_allclose(display.mean, codes)
    np.testing.assert_allclose(display.band, [codes, codes])
    usage = TokenUsageDisplay.from_estimator(tokenizer, leads)
    np.testing.assert_allclose(usage.share, np.sort(share[share > 0])[::-1])
    shapes = of_leads["gain and shape"]
    tokens = shapes.transform(leads).reshape(18, 3, -1)[..., 2:]
    display = CodebookDisplay.from_estimator(shapes, leads)
    np.testing.assert_allclose(
        display.share, [np.mean(tokens == token) for token in display.tokens]
    )


def test_quantization_of_leads_draws_all_values(leads):
    quantizer = BinQuantizer(16).fit(leads)
    display = QuantizationDisplay.from_estimator(quantizer, leads)
    np.testing.assert_array_equal(display.values, leads.ravel())


def test_tokens_of_all_leads_together_have_no_place(leads):
    """Nine tokens, as many as three for each of three leads, but of PCA."""

    class Joint(BlockSegmenter):
        def transform(self, X):
            return super().transform(X).reshape(len(X), -1)

        def inverse_transform(self, X):
            return super().inverse_transform(X.reshape(len(X), 3, 1, 250))

    joint = make_pipeline(Joint(250), PCA(9), BinQuantizer(4)).fit(leads)
    assert ReconstructionDisplay.from_estimator(joint, leads).token_starts is None
    with pytest.raises(ValueError, match=r"rows of shape \(9,\) .*one token for each"):
        TokenStripDisplay.from_estimator(joint, leads)


@pytest.mark.parametrize(
    "display", [CodebookDisplay, ReconstructionDisplay, TokenStripDisplay]
)
def test_rate_and_unit_are_those_of_the_tokenizer(display, of_leads, leads):
    tokenizer = of_leads["blocks"]
    known = display.from_estimator(tokenizer, leads[:2])
    assert (known.fs, known.unit) == (360, "mV")
    converted = display.from_estimator(tokenizer, 1000 * leads[:2], unit="µV")
    assert (converted.fs, converted.unit) == (360, "mV")
    name = "mean" if display is CodebookDisplay else "signal"
    np.testing.assert_allclose(getattr(converted, name), getattr(known, name))
    with pytest.raises(ValueError, match="fs=500, but the tokenizer was fitted to"):
        display.from_estimator(tokenizer, leads[:2], fs=500)
    unknown = display.from_estimator(
        of_leads["gain and shape"], leads[:2], fs=500, unit="bar"
    )
    assert (unknown.fs, unknown.unit) == (500, "bar")


@pytest.mark.parametrize(("fs", "window_length"), [(720, 500), (300, 208), (90, 62)])
def test_blocks_of_a_resampling_tokenizer(fs, window_length, codebook, ecg):
    """Fitted at 360 Hz: blocks of 7 samples there are 14, 5.8 and 1.75 samples."""
    steps = Resampler(360, 360), *clone(codebook)
    tokenizer = make_pipeline(*steps).fit(ecg.data[:20])
    tokenizer.set_params(resampler__input_fs=fs)
    X = np.random.default_rng(0).normal(size=(3, window_length))
    strip = TokenStripDisplay.from_estimator(tokenizer, X)
    assert strip.fs == fs
    first = np.arange(36) * 7 * fs // 360
    n = window_length
    np.testing.assert_array_equal(
        strip.token_starts, [*first, *first + n, *first + 2 * n]
    )
    np.testing.assert_array_equal(strip.tokens, tokenizer.transform(X).ravel())
    display = ReconstructionDisplay.from_estimator(tokenizer, X)
    np.testing.assert_array_equal(display.token_starts, strip.token_starts)
    display = CodebookDisplay.from_estimator(tokenizer, X)
    assert (display.mean.shape[1], display.fs) == (7, 360)


def test_codebook_of_resampled_windows_has_the_codes(codebook, ecg):
    tokenizer = make_pipeline(Resampler(360, 360), *clone(codebook)).fit(ecg.data[:20])
    at_360 = CodebookDisplay.from_estimator(tokenizer, ecg.data[:9])
    tokenizer.set_params(resampler__input_fs=3600)
    X = tokenizer[0].inverse_transform(ecg.data[:9])
    at_3600 = CodebookDisplay.from_estimator(tokenizer, X)
    np.testing.assert_array_equal(at_3600.tokens, at_360.tokens)
    within = np.ptp(at_360.mean) / 20
    np.testing.assert_allclose(at_3600.mean, at_360.mean, atol=within)
