"""Arrays of every kind, given to everything that takes one."""

import math
import warnings
from functools import cache, partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st
from law import FOLDER, fuzz, judge
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.utils import Bunch

from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    ConvAETokenizer,
    GainShapeTokenizer,
    Resampler,
    VectorQuantizer,
    make_paper_tokenizer,
    make_tokenizer,
    metrics,
)
from sktok.corpus import Vocabulary, write_corpus

# scikit-learn says so of frames, and of few vectors, as it should.
pytestmark = [
    pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature"),
    pytest.mark.filterwarnings("ignore:Number of distinct clusters"),
]

REFUSED = ValueError, TypeError
WINDOW, BLOCKS = (12,), (3, 4)
LEADS = (3, 4)  # three leads of four samples
RNG = np.random.default_rng(0)
WINDOWS = RNG.random((40, *WINDOW))
STEPS = {"max_steps": 2, "random_state": 0}
CODES = VectorQuantizer(4, random_state=0)

QUICK = {
    "Resampler": (Resampler(360, 250), WINDOW),
    "Resampler, leads": (Resampler(100, 250), LEADS),
    "AmplitudeScaler": (AmplitudeScaler(), WINDOW),
    "AmplitudeScaler, clip": (AmplitudeScaler(clip=True), BLOCKS),
    "BlockSegmenter": (BlockSegmenter(5), WINDOW),
    "BlockSegmenter, leads": (BlockSegmenter(3), LEADS),
    "BinQuantizer": (BinQuantizer(8), WINDOW),
    "BinQuantizer, kmeans": (BinQuantizer(8, strategy="kmeans"), BLOCKS),
    "BinQuantizer, tuple": (BinQuantizer((2, 3, 2, 2), centers="mean"), BLOCKS),
    "VectorQuantizer": (CODES, BLOCKS),
    "GainShapeTokenizer": (GainShapeTokenizer(CODES, n_bins=8), WINDOW),
    "GainShapeTokenizer, leads": (GainShapeTokenizer(CODES, n_bins=8), LEADS),
}
NETWORKS = {
    "ConvAETokenizer": (ConvAETokenizer(**STEPS), BLOCKS),
    "ConvAETokenizer, codes": (ConvAETokenizer(**STEPS, quantizer=CODES), BLOCKS),
    "ConvAETokenizer, bins": (
        ConvAETokenizer("dimreduction", **STEPS, quantizer=BinQuantizer(8)),
        BLOCKS,
    ),
    "make_tokenizer": (make_tokenizer(4, 8, **STEPS), WINDOW),
    "make_tokenizer, leads": (make_tokenizer(2, 8, fs=250, **STEPS), LEADS),
    "make_paper_tokenizer": (make_paper_tokenizer(4, 8, **STEPS), WINDOW),
}

ORDINARY = ["f8", "f4", "f2", "g", "i1", "i8", "u1", "u8", "?"]
DTYPES = [*ORDINARY, "O", "c16", "U5", "S5", "M8[s]", "m8[s]", "V8", "i4,f8"]
WRONG_SHAPES = [(), (0,), (12,), (2, 0), (0, 12), (0, 3, 4), (2, 11), (2, 1), (2, 4, 3)]
WRONG_SHAPES += [(2, 12, 1), (2, 3, 0), (1, 1, 3, 4), (1,) * 9, (2, 3), (12, 2)]
HUGE = 2**40  # as many samples as no memory holds
LIMITS = [math.nan, math.inf, -math.inf, 5e-324, 1e-310, 1e-40, -0.0, 3.4e38]
LIMITS += [1e300, -1e300, 1.7e308, 65504.0, 2.0**53, 2.0**63, -(2.0**63), -1.0, 1e6]


def reversed_axes(X):
    return np.flip(np.flip(X).copy()) if X.ndim else X


def every_second(X):
    return np.repeat(X, 2, axis=-1)[..., ::2] if X.ndim else X


def first_repeated(X):
    return np.broadcast_to(X[:1], X.shape) if X.ndim else X


def huge_axis(X):
    return np.broadcast_to(X.ravel()[:1].reshape(1, 1), (2, HUGE)) if X.size else X


def huge_blocks(X):
    return (
        np.broadcast_to(X.ravel()[:1].reshape(1, 1, 1), (1, 3, HUGE)) if X.size else X
    )


def read_only(X):
    X.flags.writeable = False
    return X


def other_byte_order(X):
    return X.astype(X.dtype.newbyteorder())


def masked(X):
    return np.ma.masked_array(X, mask=np.zeros(X.shape, bool))


def partly_masked(X):
    return np.ma.masked_array(X, mask=np.arange(X.size).reshape(X.shape) == 0)


def matrix(X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return np.asmatrix(X) if X.ndim == 2 else X


def frame(X):
    return pd.DataFrame(X) if X.ndim == 2 and X.dtype.kind not in "V" else X


def named_frame(X):
    return frame(X).add_prefix("sample") if X.ndim == 2 and X.dtype.kind != "V" else X


def sparse(X):
    return csr_array(X) if X.ndim == 2 and X.dtype.char in "dfilb?" else X


def ragged(X):
    rows = X.tolist()
    return [*rows, rows[0][:-1]] if X.ndim > 1 and X.size else rows


LAYOUTS = [
    np.ascontiguousarray,
    np.asfortranarray,
    reversed_axes,
    every_second,
    first_repeated,
    read_only,
    other_byte_order,
    np.ndarray.tolist,
    masked,
    frame,
    named_frame,
    matrix,
    sparse,
    ragged,
    huge_axis,
    huge_blocks,
    partly_masked,
]
FAITHFUL = LAYOUTS[:11]  # which hold the array's values, in its shape


class Drawn:
    """An array as it is given to sktok, and what it stands for."""

    def __init__(self, values, dtype, layout):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of casts that lose what cannot be held
            self.array = np.asarray(cast(np.asarray(values), dtype))
        self.given = layout(self.array)
        self.is_faithful = layout in FAITHFUL
        self.is_huge = layout in (huge_axis, huge_blocks)
        self.dtype, self.layout = dtype, layout

    def __repr__(self):
        return f"{self.layout.__name__}({self.array!r})"

    def plain(self):
        """What was given as a plain array of floats, or None if that is nothing."""
        given = self.given
        if self.layout is partly_masked:
            given = given.astype(np.float64).filled(np.nan)
        given = np.asarray(given)
        kind = np.float32 if given.dtype == np.float32 else np.float64
        return np.array(given, dtype=kind, order="C")

    def is_ordinary(self, shape):
        """Whether there is no reason to refuse it where rows have a shape."""
        return (
            self.is_faithful
            and self.dtype in ORDINARY
            and self.array.shape[1:] == shape
            and self.array.size
            and (self.array >= 0).all()
            and (self.array <= 1).all()
        )


def cast(values, dtype):
    if dtype == "V8":
        return np.zeros(values.shape, dtype)
    if dtype in ("M8[s]", "m8[s]"):
        return np.nan_to_num(values, posinf=9, neginf=-9).astype("i8").astype(dtype)
    return values.astype(dtype)


@st.composite
def windows(draw, row_shapes=(WINDOW, BLOCKS)):
    """Windows, or what is none."""
    shape = (draw(st.integers(1, 3)), *draw(st.sampled_from(row_shapes)))
    if draw(st.integers(0, 7)) == 7:
        shape = draw(st.sampled_from(WRONG_SHAPES))
    values = np.random.default_rng(draw(st.integers(0, 2**16))).random(shape)
    if values.size and draw(st.booleans()):
        place = draw(st.integers(0, values.size - 1))
        values.flat[place : place + draw(st.sampled_from([1, 99]))] = draw(
            st.sampled_from(LIMITS)
        )
    return Drawn(values, draw(st.sampled_from(DTYPES)), draw(st.sampled_from(LAYOUTS)))


@st.composite
def tokens(draw, n_tokens, width):
    """Tokens, or what is none."""
    shape = draw(st.integers(1, 3)), width
    if draw(st.integers(0, 7)) == 7:
        shape = draw(st.sampled_from(WRONG_SHAPES))
    values = np.random.default_rng(draw(st.integers(0, 2**16))).integers(4, size=shape)
    if values.size and draw(st.booleans()):
        outside = [-1, n_tokens, 2**31, 2**62, -(2**63)]
        values.flat[draw(st.integers(0, values.size - 1))] = draw(
            st.integers(0, n_tokens) | st.sampled_from(outside)
        )
    kinds = st.just("i8") | st.sampled_from(DTYPES)
    return Drawn(values, draw(kinds), draw(st.sampled_from(LAYOUTS)))


@cache
def fitted(name):
    estimator, shape = (QUICK | NETWORKS)[name]
    X = WINDOWS.reshape(40, *shape)
    X[:2] = [np.zeros(shape), np.ones(shape)]
    return clone(estimator).fit(X)


@st.composite
def calls(draw, estimators):
    """The name of an estimator, and windows for it."""
    name = draw(st.sampled_from(list(estimators)))
    return name, draw(windows([estimators[name][1]]))


@st.composite
def inverse_calls(draw, estimators):
    """The name of an estimator, and what may be its output."""
    name = draw(st.sampled_from(list(estimators)))
    output = outputs(name)
    if output.dtype.kind == "i":
        n_tokens = getattr(fitted(name), "n_tokens_", 8)
        return name, draw(tokens(n_tokens, output.shape[1]))
    return name, draw(windows([output.shape[1:]]))


@cache
def outputs(name):
    return fitted(name).transform(WINDOWS.reshape(40, *(QUICK | NETWORKS)[name][1]))


def check_output(estimator, drawn, result, shape):
    """That a result is finite, in range, and that of the same data in plain."""
    plain = drawn.plain()
    assert plain.shape[1:] == shape, "rows of another shape went through"
    assert np.isfinite(plain).all(), "values that are not finite went through"
    assert len(result) == len(plain)
    np.testing.assert_array_equal(result, estimator.transform(plain))
    if hasattr(estimator, "n_tokens_") or result.dtype.kind == "i":
        assert result.dtype == np.int64
        assert 0 <= result.min() <= result.max()
        assert result.max() < getattr(estimator, "n_tokens_", HUGE)
    assert np.isfinite(result).all()


def check_transform(name, drawn):
    estimator, (_, shape) = fitted(name), (QUICK | NETWORKS)[name]
    allowed = () if drawn.is_ordinary(shape) else REFUSED
    result = judge(
        f"{name}: transform", lambda: estimator.transform(drawn.given), *allowed
    )
    if result is None:
        return
    check_output(estimator, drawn, result, shape)
    back = judge(
        f"{name}: round trip", lambda: estimator.inverse_transform(result), *REFUSED
    )
    if back is not None:
        assert back.shape == drawn.plain().shape
        assert np.isfinite(back).all()


@fuzz(0.12, call=calls(QUICK))
def test_transform(call):
    check_transform(*call)


@fuzz(0.004, call=calls(NETWORKS))
def test_transform_of_networks(call):
    check_transform(*call)


def check_inverse(name, drawn):
    estimator = fitted(name)
    result = judge(
        f"{name}: inverse_transform",
        lambda: estimator.inverse_transform(drawn.given),
        *REFUSED,
    )
    if result is not None:
        assert result.shape[1:] == (QUICK | NETWORKS)[name][1]
        assert np.isfinite(result).all()
        plain = np.asarray(drawn.given)
        if plain.dtype.kind not in "iu":
            plain = drawn.plain()
        np.testing.assert_array_equal(result, estimator.inverse_transform(plain.copy()))


@fuzz(0.12, call=inverse_calls(QUICK))
def test_inverse_transform(call):
    check_inverse(*call)


@fuzz(0.004, call=inverse_calls(NETWORKS))
def test_inverse_transform_of_networks(call):
    check_inverse(*call)


@fuzz(0.02, call=calls(QUICK))
def test_fit(call):
    name, drawn = call
    if drawn.is_huge:
        return  # a fit takes as long as there are data
    estimator = clone(QUICK[name][0])
    result = judge(
        f"{name}: fit_transform", lambda: estimator.fit_transform(drawn.given), *REFUSED
    )
    if result is not None:
        check_output(estimator, drawn, result, drawn.plain().shape[1:])
        assert np.isfinite(estimator.inverse_transform(result)).all()


@fuzz(0.0005, call=calls(NETWORKS))
def test_fit_of_networks(call):
    name, drawn = call
    if drawn.is_huge:
        return
    estimator = clone(NETWORKS[name][0])
    result = judge(
        f"{name}: fit_transform", lambda: estimator.fit_transform(drawn.given), *REFUSED
    )
    if result is not None:
        check_output(estimator, drawn, result, drawn.plain().shape[1:])


SCORERS = [
    metrics.reconstruct,
    metrics.neg_reconstruction_mse,
    metrics.neg_reconstruction_mae,
    metrics.neg_prd,
    metrics.neg_bits_per_sample,
]
COMPARED = {
    "prd": lambda X, X_hat: metrics.prd(X, X_hat, centered=False),
    "prd, centred": lambda X, X_hat: metrics.prd(X, X_hat, centered=True),
    "snr_db": metrics.snr_db,
}


@fuzz(0.04, scorer=st.sampled_from(SCORERS), drawn=windows(row_shapes=[WINDOW]))
def test_scorers(scorer, drawn):
    estimator = fitted("BinQuantizer")
    allowed = () if drawn.is_ordinary(WINDOW) else REFUSED
    score = judge(scorer.__name__, lambda: scorer(estimator, drawn.given), *allowed)
    if score is not None:
        assert not np.isnan(score).any()
        # Sums may run in another order where the layout is another.
        expected = scorer(estimator, drawn.plain())
        np.testing.assert_allclose(score, expected, rtol=1e-12)


@fuzz(
    0.06,
    name=st.sampled_from(list(COMPARED)),
    drawn=windows(),
    other=st.none() | windows(),
)
def test_comparisons(name, drawn, other):
    other = other or drawn
    both = drawn.array.shape == other.array.shape
    allowed = () if both and is_signal(drawn) and is_signal(other) else REFUSED
    if drawn.array.ndim > 3:  # blocks of leads are not joined
        allowed = REFUSED
    if drawn.is_huge and drawn.layout == other.layout:
        return  # two signals of one shape, which only take long
    compare = COMPARED[name]
    result = judge(name, lambda: compare(drawn.given, other.given), *allowed)
    if result is not None:
        assert not math.isnan(result)
        np.testing.assert_allclose(
            result, compare(drawn.plain(), other.plain()), rtol=1e-6
        )


def is_signal(drawn):
    return drawn.array.ndim and drawn.is_ordinary(drawn.array.shape[1:])


FREQUENCIES = [
    1,
    61,
    65.0,
    360,
    1000.0,
    0,
    -1,
    0.1,
    1e9,
    math.nan,
    math.inf,
    "360",
    None,
]


@fuzz(
    0.005,
    drawn=windows(row_shapes=[(12,), (130,), (800,)]),
    fs=st.sampled_from(FREQUENCIES),
    tolerance=st.sampled_from([0.05, 0, -1, math.nan, math.inf, 1e9, None]),
)
def test_heartbeat_f1(drawn, fs, tolerance):
    if drawn.is_huge:
        return  # a signal of that length, which only takes long
    score = judge(
        "heartbeat_f1",
        lambda: metrics.heartbeat_f1(drawn.given, drawn.given, fs, tolerance=tolerance),
        *REFUSED,
    )
    assert score is None or score == 1


@fuzz(0.1, drawn=tokens(9, 5), n_tokens=st.sampled_from([9, 0, -1, 2**70, 1.5, None]))
def test_token_statistics(drawn, n_tokens):
    if drawn.is_huge:
        return  # tokens of that number, which only take long
    bits = judge("token_entropy", lambda: metrics.token_entropy(drawn.given), *REFUSED)
    assert bits is None or 0 <= bits <= math.log2(drawn.array.size) + 1e-9
    share = judge(
        "token_usage", lambda: metrics.token_usage(drawn.given, n_tokens), *REFUSED
    )
    assert share is None or 0 < share <= 1


SMALL = Vocabulary(n_tokens=9, tokens_per_window=3, window_length=12, fingerprint="f")


@fuzz(0.2, drawn=tokens(9, 3))
def test_encode(drawn):
    ids = judge("Vocabulary.encode", lambda: SMALL.encode(drawn.given), *REFUSED)
    if ids is not None:
        assert ids.dtype == SMALL.dtype
        np.testing.assert_array_equal(SMALL.decode(ids), np.asarray(drawn.given))


@fuzz(0.08, drawn=tokens(14, 3), ids=st.lists(st.integers(-1, 14)))
def test_decode(drawn, ids):
    flat = cast(np.array(ids, int), drawn.dtype)
    for given in (drawn.given, flat, drawn.layout(flat)):
        found = judge("Vocabulary.decode", partial(SMALL.decode, given), *REFUSED)
        if found is not None:
            assert found.dtype == np.int64
            assert found.shape[1:] == (3,)
            assert -1 <= found.min(initial=0) <= found.max(initial=0) < 9


@cache
def vocabulary():
    return Vocabulary.from_tokenizer(fitted("GainShapeTokenizer"))


@fuzz(0.05, ids=st.lists(st.integers(-1, 26), max_size=30))
def test_restore(ids):
    found = judge(
        "Vocabulary.restore",
        lambda: vocabulary().decode_signal(ids, fitted("GainShapeTokenizer")),
        *REFUSED,
    )
    if found is not None:
        missing = (vocabulary().decode(ids) < 0).any(axis=1)
        assert np.isfinite(found[~missing]).all()
        assert np.isnan(found[missing]).all()


@fuzz(0.003, drawn=windows(row_shapes=[WINDOW]), as_bunch=st.booleans())
def test_write_corpus(drawn, as_bunch):
    """Refused input can be corrected, and written files decode."""
    source = drawn.given
    if as_bunch:
        n = len(drawn.array) if drawn.array.ndim else 1
        frame = {"groups": ["a"] * n, "record": ["a"] * n, "start": np.arange(n) * 12}
        source = Bunch(data=drawn.given, **frame)
    path = FOLDER / f"corpus-{len(list(FOLDER.iterdir()))}"
    allowed = () if drawn.is_ordinary(WINDOW) else REFUSED
    corpus = judge(
        "write_corpus",
        lambda: write_corpus(path, source, fitted("BinQuantizer"), validation=[]),
        *allowed,
    )
    if corpus is not None:
        plain = np.atleast_2d(drawn.plain())  # a single window is a record
        missing = np.isnan(plain).any(axis=1)
        expected = np.full((len(plain), 12), -1)
        if not missing.all():
            expected[~missing] = fitted("BinQuantizer").transform(plain[~missing])
        np.testing.assert_array_equal(corpus.vocabulary.decode(corpus.train), expected)
