"""The paper's formulas bit for bit, codebooks, and the laws of quantisation."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.preprocessing import KBinsDiscretizer

from sktok import BinQuantizer, ResidualVectorQuantizer, VectorQuantizer
from sktok._quantizers._bins import kmeans_edges
from sktok._quantizers._codes import (
    ARRAYS,
    stage_by_stage,
    sum_of_codes,
    tensors,
)
from sktok.metrics import token_entropy

values = arrays(
    st.sampled_from([np.float32, np.float64]),
    array_shapes(min_dims=2, max_dims=3, max_side=8),
    elements=st.floats(-100, 100, width=32),
)
STRATEGIES = ["uniform", "quantile", "kmeans"]


def paper_quantize(x, low, high, n_bins):
    """Section 3.2, as torch evaluates it."""
    width = (high - low) / n_bins
    return torch.floor((x - low) / width).clamp(0, n_bins - 1).to(torch.int64)


def paper_dequantize(q, low, high, n_bins, dtype):
    width = (high - low) / n_bins
    return low + width * (q.to(dtype) + 0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("limits", [(-5, 5), (-0.3, 0.7), (0.1, 1e-3 + 0.1)])
@pytest.mark.parametrize("n_bins", [256, 100])
def test_the_papers_formulas_bit_for_bit(dtype, limits, n_bins):
    low, high = limits
    rng = np.random.default_rng(0)
    edges = np.linspace(low, high, n_bins + 1)
    near_edges = np.nextafter(edges[:, None], [-np.inf, np.inf])
    x = np.concatenate(
        [
            rng.uniform(low, high, 100_000),
            rng.normal(scale=3 * (high - low), size=1000),
            edges,
            near_edges.ravel(),
            [0.0, -0.0, 1e30, -1e30, np.finfo(np.float32).max, 1e-45],
        ]
    ).astype(dtype)[None]
    quantizer = BinQuantizer(n_bins, limits=limits).fit(x)
    tokens = quantizer.transform(x)
    expected = paper_quantize(torch.from_numpy(x), low, high, n_bins)
    assert tokens.dtype == np.int64
    np.testing.assert_array_equal(tokens, expected.numpy())
    centers = paper_dequantize(expected, low, high, n_bins, torch.from_numpy(x).dtype)
    restored = quantizer.inverse_transform(tokens)
    assert restored.dtype == dtype
    np.testing.assert_array_equal(restored, centers.numpy())


@given(values, st.integers(2, 300))
def test_error_is_at_most_half_a_bin_inside_the_limits(X, n_bins):
    quantizer = BinQuantizer(n_bins).fit(X)
    restored = quantizer.inverse_transform(quantizer.transform(X))
    assert restored.shape == X.shape
    half_bin = (float(X.max()) - float(X.min())) / n_bins / 2
    kind = np.finfo(X.dtype)  # the steps of subnormal numbers do not shrink further
    rounding = 4 * (float(kind.eps) * np.abs(X).max() + float(kind.smallest_subnormal))
    assert np.abs(X.astype(float) - restored).max() <= half_bin + rounding


@given(values, st.data())
def test_tokens_are_in_range_and_do_not_depend_on_the_batch(X, data):
    strategy = data.draw(st.sampled_from(STRATEGIES))
    centers = data.draw(st.sampled_from(["midpoint", "mean"]))
    as_tuple = data.draw(st.booleans())
    n_bins = (3, 5, 2, 4, 2, 2, 2, 2)[: X.shape[-1]] if as_tuple else 7
    quantizer = BinQuantizer(n_bins, strategy=strategy, centers=centers).fit(X)
    tokens = quantizer.transform(X)
    assert tokens.shape == (len(X), len(quantizer.get_feature_names_out()))
    assert tokens.min() >= 0
    assert tokens.max() < quantizer.n_tokens_
    np.testing.assert_array_equal(
        tokens, np.concatenate([quantizer.transform(row[None]) for row in X])
    )
    far = quantizer.transform(X * np.array(1e30, X.dtype))
    assert far.min() >= 0
    assert far.max() < quantizer.n_tokens_
    assert np.isfinite(quantizer.inverse_transform(tokens)).all()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_centers_fall_into_their_own_bins(strategy):
    X = np.random.default_rng(0).normal(size=(50, 40))
    quantizer = BinQuantizer(16, strategy=strategy).fit(X)
    np.testing.assert_array_equal(
        quantizer.transform(np.resize(quantizer.centers_, (1, 40))),
        np.resize(np.arange(16), (1, 40)),
    )


@st.composite
def crowded_values(draw):
    """Values that are few steps of their dtype apart."""
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    base = dtype(draw(st.sampled_from([0.0, 0.1, 1.0, -3e5, 1e6, 1e-30, 1e30])))
    shape = array_shapes(min_dims=2, max_dims=2, max_side=8)
    steps = draw(arrays(np.int64, shape, elements=st.integers(-40, 40)))
    return (base + steps * np.spacing(base)).astype(dtype)


@given(
    st.one_of(values, crowded_values()),
    st.sampled_from(STRATEGIES),
    st.sampled_from(["midpoint", "mean"]),
    st.integers(2, 40),
    st.booleans(),
    st.booleans(),
)
def test_tokens_of_the_training_values_come_back(
    X, strategy, centers, n_bins, as_tuple, has_limits
):
    if as_tuple:
        n_bins = (min(n_bins, 16),) * X.shape[-1]
    limits = "minmax"
    if has_limits and X.min() < np.median(X):
        limits = float(X.min()), float(np.median(X))
    quantizer = BinQuantizer(n_bins, limits=limits, strategy=strategy, centers=centers)
    tokens = quantizer.fit_transform(X)
    restored = quantizer.inverse_transform(tokens)
    np.testing.assert_array_equal(quantizer.transform(restored), tokens)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_mean_of_many_values_stays_in_its_bin(strategy):
    """The sum of a million equal values has a rounding error of many steps."""
    X = np.repeat([[0.1], [0.7], [np.nextafter(0.7, 1)], [1.3]], 250_001, axis=0)
    quantizer = BinQuantizer(3, strategy=strategy, centers="mean").fit(X)
    tokens = quantizer.transform(X)
    restored = quantizer.inverse_transform(tokens)
    np.testing.assert_array_equal(quantizer.transform(restored), tokens)


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_edges_are_those_of_kbins_discretizer(strategy):
    X = np.random.default_rng(0).normal(size=(1000, 1))
    theirs = KBinsDiscretizer(8, strategy=strategy, encode="ordinal", subsample=None)
    if "quantile_method" in theirs.get_params():  # linear before scikit-learn 1.7
        theirs.set_params(quantile_method="linear")
    theirs.fit(X)
    ours = BinQuantizer(8, strategy=strategy).fit(X)
    np.testing.assert_allclose(ours.edges_, theirs.bin_edges_[0], rtol=1e-12)
    np.testing.assert_array_equal(ours.transform(X), theirs.transform(X))


def test_kmeans_is_that_of_scikit_learn():
    x = np.random.default_rng(0).normal(size=500)
    edges = np.linspace(x.min(), x.max(), 9)
    start = (edges[1:] + edges[:-1]) / 2
    slow = KMeans(8, init=start[:, None], n_init=1, tol=0, max_iter=300).fit(x[:, None])
    centers = np.sort(slow.cluster_centers_.ravel())
    np.testing.assert_allclose(
        kmeans_edges(x, x.min(), x.max(), 8)[1:-1], (centers[1:] + centers[:-1]) / 2
    )


def test_quantile_bins_hold_equally_many_values():
    X = np.random.default_rng(0).normal(size=(1000, 1))
    tokens = BinQuantizer(10, strategy="quantile").fit_transform(X)
    assert set(np.bincount(tokens.ravel())) == {100}


def test_means_minimise_the_error():
    X = np.random.default_rng(0).normal(size=(100, 10)) ** 3
    errors = {}
    for centers in ("midpoint", "mean"):
        quantizer = BinQuantizer(8, centers=centers).fit(X)
        restored = quantizer.inverse_transform(quantizer.transform(X))
        errors[centers] = np.mean((X - restored) ** 2)
        tokens = quantizer.transform(X)
        if centers == "mean":
            for token in np.unique(tokens):
                mean = X[tokens == token].mean()
                np.testing.assert_allclose(quantizer.centers_[token], mean)
    assert errors["mean"] < errors["midpoint"]


def test_a_tuple_makes_one_token_by_mixed_radix():
    X = np.random.default_rng(0).normal(size=(20, 6, 3))
    quantizer = BinQuantizer((4, 3, 5)).fit(X)
    tokens = quantizer.transform(X)
    assert tokens.shape == (20, 6)
    assert quantizer.n_tokens_ == 60
    digits = [
        BinQuantizer(n).fit(X[..., dim]).transform(X[..., dim])
        for dim, n in enumerate((4, 3, 5))
    ]
    np.testing.assert_array_equal(tokens, (digits[0] * 3 + digits[1]) * 5 + digits[2])
    restored = quantizer.inverse_transform(tokens)
    for dim, n in enumerate((4, 3, 5)):
        width = np.ptp(X[..., dim]) / n
        assert np.abs(restored[..., dim] - X[..., dim]).max() <= width / 2 + 1e-12


def test_a_tuple_makes_one_token_of_a_flat_row():
    X = np.random.default_rng(0).normal(size=(20, 2))
    quantizer = BinQuantizer((4, 3)).fit(X)
    assert quantizer.transform(X).shape == (20, 1)
    assert quantizer.inverse_transform(quantizer.transform(X)).shape == (20, 2)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("centers", ["midpoint", "mean"])
def test_constant_values_round_trip(strategy, centers):
    X = np.full((3, 5), 0.1)
    quantizer = BinQuantizer(256, strategy=strategy, centers=centers).fit(X)
    np.testing.assert_allclose(
        quantizer.inverse_transform(quantizer.transform(X)), X, rtol=1e-15
    )


def test_float32_values_in_bins_too_narrow_for_float32():
    quantizer = BinQuantizer(4, limits=(0.0, 1e-48)).fit([[0.0]])
    X = np.float32([[0.0], [1.0]])
    np.testing.assert_array_equal(quantizer.transform(X), [[0], [3]])


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("centers", ["midpoint", "mean"])
def test_huge_values_give_no_nan(strategy, centers):
    for X, limits in (([[1.7e308, 1.7e308]], "minmax"), ([[0.0, 1.7e308]], (-1, 1))):
        quantizer = BinQuantizer(4, limits=limits, strategy=strategy, centers=centers)
        assert np.isfinite(quantizer.fit(X).centers_).all()
        assert np.isfinite(quantizer.inverse_transform(quantizer.transform(X))).all()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_parameters_set_after_fit_change_no_tokens(strategy):
    X = np.random.default_rng(0).normal(size=(50, 4))
    quantizer = BinQuantizer(8, strategy=strategy).fit(X)
    tokens = quantizer.transform(X)
    quantizer.set_params(n_bins=(2, 2), limits=(0, 1), strategy="uniform")
    np.testing.assert_array_equal(quantizer.transform(X), tokens)


def test_kmeans_keeps_its_digits_far_from_zero():
    X = np.random.default_rng(0).normal(size=(1000, 1))
    near = BinQuantizer(16, strategy="kmeans").fit(X)
    far = BinQuantizer(16, strategy="kmeans").fit(X + 2.0**20)
    np.testing.assert_allclose(far.edges_ - 2.0**20, near.edges_, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint64])
def test_tokens_of_any_integer_dtype_come_back(dtype):
    quantizer = BinQuantizer(8).fit([[0.0, 1.0]])
    np.testing.assert_array_equal(
        quantizer.inverse_transform(np.array([[0, 7]], dtype)), [[0.0625, 0.9375]]
    )


@pytest.mark.parametrize(
    ("params", "X", "message"),
    [
        ({"limits": (5, -5)}, [[0.0]], r"limits=\(5, -5\).*low < high"),
        ({"limits": (1, 1)}, [[0.0]], r"limits=\(1, 1\).*low < high"),
        ({"limits": (0, 1, 2)}, [[0.0]], r"tuple \(low, high\)"),
        ({"limits": ("a", 1)}, [[0.0]], r"tuple \(low, high\)"),
        ({"limits": (0, np.inf)}, [[0.0]], "finite"),
        ({"limits": (np.nan, 1)}, [[0.0]], "finite"),
        ({"limits": (1e40, 1.001e40)}, [[0.0]], "range of float32"),
        ({"n_bins": 1}, [[0.0]], "'n_bins'"),
        ({"n_bins": (4, 4)}, np.ones((2, 3, 1)), "has 2 numbers.*latent dim.* has 1"),
        ({"n_bins": (4, 1)}, np.ones((2, 2)), "integers of at least 2"),
        ({"n_bins": (4, 2.5)}, np.ones((2, 2)), "integers of at least 2"),
        ({"n_bins": (2**40, 2**40)}, np.ones((2, 2)), "more than 64 bits"),
        ({}, [[0.0, np.nan]], "NaN"),
        ({}, [[0.0, np.inf]], "infinity"),
        ({}, [[-1e300, 1e300]], "more than float32 can hold"),
        ({}, np.empty((0, 3)), "0 sample"),
        ({}, [1.0, 2.0], "Reshape your data"),
    ],
)
def test_bad_fit(params, X, message):
    with pytest.raises(ValueError, match=message):
        BinQuantizer(**params).fit(X)


@pytest.mark.parametrize(
    ("tokens", "error", "message"),
    [
        ([[0, 8]], ValueError, "0 to 8, outside the vocabulary of 8 tokens"),
        ([[-1, 0]], ValueError, "-1 to 0, outside the vocabulary"),
        ([[0.0, 1.0]], TypeError, "dtype float64, expected integers"),
        ([[True, False]], TypeError, "dtype bool, expected integers"),
        ([["a", "b"]], (TypeError, ValueError), "dtype|convert"),
        ([[0, 1, 2]], ValueError, "3 columns, expected 2"),
        ([0, 1], ValueError, "Reshape your data"),
        (np.empty((0, 2), int), ValueError, "0 sample"),
        (np.array([[2**64 - 1, 0]], np.uint64), ValueError, "outside the vocabulary"),
    ],
)
def test_bad_tokens(tokens, error, message):
    quantizer = BinQuantizer(8).fit([[0.0, 1.0]])
    with pytest.raises(error, match=message):
        quantizer.inverse_transform(tokens)


def test_another_row_shape_than_in_fit():
    quantizer = BinQuantizer(8).fit(np.ones((2, 6, 1)))
    with pytest.raises(ValueError, match=r"shape \(3, 2\).*shape \(6, 1\)"):
        quantizer.transform(np.ones((2, 3, 2)))
    with pytest.raises(ValueError, match=r"shape \(7, 1\).*shape \(6, 1\)"):
        quantizer.transform(np.ones((2, 7, 1)))


def test_codes_of_a_vector_quantizer_are_those_of_k_means(blocks):
    quantizer = VectorQuantizer(16, random_state=0).fit(blocks)
    vectors = blocks.reshape(-1, 10)
    assert quantizer.codes_.shape == (16, 10)
    assert quantizer.n_tokens_ == 16
    tokens = quantizer.transform(blocks)
    assert tokens.shape == (60, 25)
    assert tokens.dtype == np.int64
    distance = ((vectors[:, None] - quantizer.codes_) ** 2).sum(axis=2)
    np.testing.assert_array_equal(tokens.ravel(), distance.argmin(axis=1))
    kmeans = KMeans(16, n_init=5, random_state=0).fit(vectors)
    assert distance.min(axis=1).sum() < 1.1 * kmeans.inertia_


# scikit-learn says so of vectors that differ by less than rounding, as it should.
@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@given(values, st.integers(2, 40), st.data())
def test_vectors_are_restored_as_codes_whatever_the_batch(X, n_codes, data):
    quantizer = VectorQuantizer(n_codes, random_state=0).fit(X)
    tokens = quantizer.transform(X)
    assert tokens.shape == (len(X), len(quantizer.get_feature_names_out()))
    assert tokens.min() >= 0
    assert tokens.max() < quantizer.n_tokens_ == n_codes
    restored = quantizer.inverse_transform(tokens)
    assert restored.shape == X.shape
    assert restored.dtype == X.dtype
    rows = data.draw(st.lists(st.integers(0, len(X) - 1), min_size=1, max_size=5))
    np.testing.assert_array_equal(quantizer.transform(X[rows]), tokens[rows])
    np.testing.assert_array_equal(quantizer.transform(restored), tokens)


def test_fewer_distinct_vectors_than_codes_lose_nothing():
    X = np.repeat(np.eye(3), 5, axis=0)
    quantizer = VectorQuantizer(8, random_state=0).fit(X)
    assert quantizer.codes_.shape == (8, 3)
    np.testing.assert_array_equal(
        quantizer.inverse_transform(quantizer.transform(X)), X
    )


def test_equal_seeds_give_equal_codes(blocks):
    first, same, other = (
        VectorQuantizer(16, random_state=seed).fit(blocks).codes_ for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_vectors_of_any_size_that_float32_holds(blocks):
    for scale in (1e-30, 1e30):
        X = (blocks * scale).astype(np.float32)
        quantizer = VectorQuantizer(16, random_state=0).fit(X)
        error = np.abs(quantizer.inverse_transform(quantizer.transform(X)) - X).max()
        assert error < 0.5 * scale
    with pytest.raises(ValueError, match=r"up to 1e\+200 .* more than float32 .*scale"):
        VectorQuantizer(16).fit(blocks * 1e200 / blocks.max())


@pytest.mark.parametrize(
    ("tokens", "error", "message"),
    [
        ([[0, 16]], ValueError, "0 to 16, outside the vocabulary of 16"),
        ([[0.0, 1.0]], TypeError, "expected integers"),
        ([[0]], ValueError, "1 columns, expected 2"),
    ],
)
def test_bad_tokens_of_a_vector_quantizer(blocks, tokens, error, message):
    quantizer = VectorQuantizer(16, random_state=0).fit(blocks[:, :2])
    with pytest.raises(error, match=message):
        quantizer.inverse_transform(tokens)


def test_what_each_token_stands_for():
    X = np.array([[[0.0, 0.0], [1.0, 3.0]]])
    scalar = BinQuantizer(4, limits=(0, 1)).fit(X)
    np.testing.assert_array_equal(scalar.codes_, [[0.125], [0.375], [0.625], [0.875]])
    pairs = BinQuantizer((2, 3)).fit(X)
    restored = pairs.inverse_transform(np.arange(6).reshape(3, 2))
    np.testing.assert_array_equal(pairs.codes_, restored.reshape(6, 2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_nearest_to_huge_vectors(dtype):
    X = np.array([[-3e38], [0.0], [1e20], [3e38]], dtype=dtype)
    quantizer = VectorQuantizer(4, random_state=0).fit(X)
    np.testing.assert_array_equal(
        quantizer.inverse_transform(quantizer.transform(X)), X
    )


def test_codes_do_not_depend_on_the_layout():
    X = np.random.default_rng(0).random((10, 3, 4))
    quantizer = VectorQuantizer(4, random_state=0).fit(X)
    X[:, 0, 1] = 9e15  # so far out that only rounding decides
    reversed_in_memory = np.flip(np.flip(X).copy())
    np.testing.assert_array_equal(
        quantizer.transform(reversed_in_memory), quantizer.transform(X)
    )


CODEBOOKS = [
    VectorQuantizer(8, rate_weight=0.02, random_state=0),
    ResidualVectorQuantizer(4, 3, random_state=0),
    ResidualVectorQuantizer((8, 4), rate_weight=0.02, random_state=0),
]


@pytest.mark.parametrize("quantizer", CODEBOOKS, ids=repr)
@settings(max_examples=30)
@given(X=values)
def test_laws_of_codebooks(quantizer, X):
    quantizer = clone(quantizer).fit(X)
    tokens = quantizer.transform(X)
    n_stages = getattr(quantizer, "n_stages", 1)
    assert tokens.shape == (len(X), X[0].size // X.shape[-1] * n_stages)
    assert tokens.min() >= 0
    assert tokens.max() < quantizer.n_tokens_ == len(quantizer.codes_)
    by_row = [quantizer.transform(row[None]) for row in X]
    np.testing.assert_array_equal(tokens, np.concatenate(by_row))
    restored = quantizer.inverse_transform(tokens)
    assert restored.shape == X.shape
    assert restored.dtype == X.dtype
    # Tensors give the same sums, rounded in another way.
    quantize, dequantize = quantizer.tensor_functions(torch.device("cpu"))
    found = quantize(torch.from_numpy(X[:, None]))
    costs = quantizer._costs()

    def total(tokens, restored):
        bits = 0.0 if costs is None else costs[tokens].reshape(len(X), -1).sum(axis=1)
        return ((restored - X).reshape(len(X), -1) ** 2).sum(axis=1) + bits

    back = dequantize(found).numpy().reshape(X.shape)
    found = found.numpy().reshape(len(X), -1)
    largest = 1e-4 * (1 + np.square(X).sum())
    np.testing.assert_allclose(
        total(found, back), total(tokens, restored), rtol=1e-3, atol=largest
    )


def test_the_rate_weight_buys_bits_with_error(blocks):
    """P. A. Chou et al., 1989: at equal entropy, the error is smaller."""

    def rate_and_error(quantizer):
        tokens = quantizer.fit_transform(blocks)
        error = np.mean((quantizer.inverse_transform(tokens) - blocks) ** 2)
        return token_entropy(tokens), error

    found = [
        rate_and_error(VectorQuantizer(64, rate_weight=weight, random_state=0))
        for weight in (0.0, 1e-2, 3e-2, 1e-1)
    ]
    bits, errors = np.transpose(found)
    assert (np.diff(bits) < 0).all()
    assert (np.diff(errors) > 0).all()
    n_codes = int(2 ** bits[2])
    plain_bits, plain_error = rate_and_error(VectorQuantizer(n_codes, random_state=0))
    assert plain_bits <= bits[2]
    small = VectorQuantizer(n_codes + 1, random_state=0)
    assert errors[2] < min(plain_error, rate_and_error(small)[1])


def test_code_lengths_are_those_of_the_tokens(blocks):
    quantizer = VectorQuantizer(64, rate_weight=1e-2, random_state=0)
    tokens = quantizer.fit_transform(blocks)
    assert quantizer.n_tokens_ < 64
    counts = np.bincount(tokens.ravel(), minlength=quantizer.n_tokens_)
    mean = np.average(quantizer.code_lengths_, weights=counts)
    assert mean == pytest.approx(token_entropy(tokens), rel=0.01)
    np.testing.assert_allclose(np.exp2(-quantizer.code_lengths_).sum(), 1, rtol=1e-6)


def test_no_stage_makes_the_error_larger_and_tokens_of_stages_differ(blocks):
    quantizer = ResidualVectorQuantizer((16, 8, 4), 3, random_state=0).fit(blocks)
    tokens = quantizer.transform(blocks).reshape(-1, 3)
    first = np.cumsum([0, *quantizer.stage_sizes_])
    for stage in range(3):
        assert first[stage] <= tokens[:, stage].min()
        assert tokens[:, stage].max() < first[stage + 1]
    errors = []
    for n_stages in (1, 2, 3):
        quantizer.set_params(n_stages=n_stages)
        assert quantizer.n_tokens_ == 28
        tokens = quantizer.transform(blocks)
        assert tokens.shape[1] == n_stages * blocks.shape[1]
        errors.append(np.mean((quantizer.inverse_transform(tokens) - blocks) ** 2))
    assert errors[0] > errors[1] > errors[2]


def test_stages_that_do_not_exist_are_named(blocks):
    quantizer = ResidualVectorQuantizer(4, random_state=0).fit(blocks)
    with pytest.raises(ValueError, match="n_stages=3 after a fit with 2: lower it"):
        quantizer.set_params(n_stages=3).transform(blocks)
    with pytest.raises(ValueError, match="give as many numbers as stages"):
        ResidualVectorQuantizer((4, 4), 3).fit(blocks)
    with pytest.raises(ValueError, match="for 3 stages, and n_stages=2: give as many"):
        ResidualVectorQuantizer((8, 4, 2)).fit(blocks)
    with pytest.raises(ValueError, match="expected an int of at least 2 for each"):
        ResidualVectorQuantizer((4, 1)).fit(blocks)


def test_codes_far_from_zero_pay_for_their_bits(blocks):
    """In the integers of a converter, squares drown the differences in float32."""
    quantizer = VectorQuantizer(64, rate_weight=1e-2, random_state=0)
    near, far = (
        quantizer.fit((200 * blocks + offset).astype(np.float32)).code_lengths_
        for offset in (0, 10_000)
    )
    assert len(near) == len(far)
    np.testing.assert_allclose(np.sort(far), np.sort(near), atol=0.2)


@pytest.mark.parametrize("factor", [1e-25, 1e25])
@pytest.mark.parametrize("quantizer", CODEBOOKS, ids=repr)
def test_tiny_and_huge_values_have_the_tokens_of_others(quantizer, factor, blocks):
    X = blocks[:40].astype(np.float32)
    expected = clone(quantizer).fit_transform(X)
    found = clone(quantizer).fit_transform(X * np.float32(factor))
    assert np.mean(found == expected) > 0.99


def test_tokens_of_another_stage_are_refused(blocks):
    quantizer = ResidualVectorQuantizer(4, random_state=0).fit(blocks)
    tokens = quantizer.transform(blocks)
    with pytest.raises(ValueError, match="in a place of stage 1, whose tokens are"):
        quantizer.inverse_transform(tokens[:, ::-1])
    for n_stages in (0, -1, 1.5, "a"):
        quantizer.set_params(n_stages=n_stages)
        with pytest.raises(ValueError, match="n_stages"):
            quantizer.transform(blocks)


def test_a_large_weight_leaves_one_code(blocks):
    quantizer = ResidualVectorQuantizer(8, rate_weight=1e6, random_state=0)
    tokens = quantizer.fit_transform(blocks)
    assert quantizer.stage_sizes_ == (1, 1)
    np.testing.assert_array_equal(np.unique(tokens), [0, 1])
    mean = blocks.mean(axis=(0, 1))
    restored = quantizer.inverse_transform(tokens)
    np.testing.assert_allclose(restored[0, 0], mean, rtol=1e-3)


def test_a_wider_beam_lowers_the_error(blocks):
    quantizer = ResidualVectorQuantizer(16, 4, random_state=0).fit(blocks)
    errors = []
    for beam_width in (1, 4, 16):
        quantizer.set_params(beam_width=beam_width)
        restored = quantizer.inverse_transform(quantizer.transform(blocks))
        errors.append(np.mean((blocks - restored) ** 2))
    assert errors[2] <= errors[1] < 0.95 * errors[0]
    with pytest.raises(ValueError, match="'beam_width' parameter"):
        quantizer.set_params(beam_width=0).transform(blocks)


@pytest.mark.parametrize("has_costs", [False, True])
def test_beginnings_that_are_kept_lower_the_error(has_costs):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1000, 6)).astype(np.float32)
    sizes = [8, 16, 8, 8]
    ends = np.cumsum(sizes)
    stages = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    spread = np.repeat([1, 0.6, 0.4, 0.3], sizes)[:, np.newaxis]
    codes = (spread * rng.normal(size=(40, 6))).astype(np.float32)
    costs = rng.uniform(0, 0.1, 40).astype(np.float32) if has_costs else None
    totals = []
    for beam_width in (1, 2, 4, 8):
        tokens = stage_by_stage(ARRAYS, values, codes, stages, costs, beam_width)
        arrays = [None if x is None else torch.from_numpy(x) for x in (codes, costs)]
        by_torch = stage_by_stage(
            tensors(),
            torch.from_numpy(values),
            arrays[0],
            stages,
            arrays[1],
            beam_width,
        )
        np.testing.assert_array_equal(by_torch, tokens)
        for place, stage in enumerate(stages):
            assert np.isin(tokens[:, place], np.arange(stage.start, stage.stop)).all()
        error = ((values - sum_of_codes(tokens, codes)) ** 2).sum(axis=1)
        totals.append(np.mean(error + (costs[tokens].sum(axis=1) if has_costs else 0)))
    assert totals == sorted(totals, reverse=True)
    assert totals[2] < 0.9 * totals[0]
