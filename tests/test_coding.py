"""Compression of tokens: exact, the same everywhere, and safe against damage."""

import copy
import hashlib
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_parameters_default_constructible

from sktok import BlockSegmenter, VectorQuantizer
from sktok._torch.guard import seeded
from sktok._torch.integer_network import LARGEST_WEIGHT, ChunkPredictor, _tables
from sktok._torch.token_network import TokenNetwork
from sktok.coding import TokenCoder
from sktok.coding._classes import token_classes
from sktok.coding._container import Header, Packed, pack
from sktok.corpus._fingerprint import fingerprint
from sktok.persistence import load, save

N_TOKENS, LENGTH = 40, 25


@pytest.fixture(scope="module")
def tokenizer(ecg):
    blocks = BlockSegmenter(block_size=10).fit_transform(ecg.data)
    return VectorQuantizer(N_TOKENS, random_state=0).fit(blocks)


@pytest.fixture(scope="module")
def X(ecg, tokenizer):
    blocks = BlockSegmenter(block_size=10).fit_transform(ecg.data)
    return tokenizer.transform(blocks)


@pytest.fixture(scope="module")
def coder(X, tokenizer):
    coder = TokenCoder(hidden_size=16, chunk_size=500, max_steps=40, random_state=0)
    return coder.fit(X[:300], tokenizer=tokenizer)


@pytest.fixture(scope="module")
def test(X):
    """Tokens of three records of different lengths, and the record of each."""
    return X[300:], np.repeat(["a", "b", "c"], [50, 7, 75])


@pytest.fixture(scope="module")
def data(coder, test):
    return coder.compress(test[0], groups=test[1])


def test_tokens_come_back(coder, data, test):
    restored = coder.decompress(data)
    assert restored.dtype == np.int64
    assert np.array_equal(restored, test[0])


def test_any_tokens_come_back(coder):
    """Also tokens that the training has never seen, or not in this order."""
    rng = np.random.default_rng(0)
    for X in (
        rng.integers(N_TOKENS, size=(30, LENGTH)),
        np.zeros((30, LENGTH), int),
        np.full((1, LENGTH), N_TOKENS - 1),
        np.arange(40 * LENGTH).reshape(40, LENGTH) % N_TOKENS,
    ):
        assert np.array_equal(coder.decompress(coder.compress(X)), X)


@pytest.mark.parametrize(("n_tokens", "length"), [(2, 1), (3, 7), (70, 300)])
def test_vocabularies_and_windows_of_any_size(n_tokens, length):
    X = np.random.default_rng(0).integers(n_tokens, size=(9, length))
    coder = TokenCoder(n_tokens=n_tokens, max_steps=2, hidden_size=4, chunk_size=50)
    assert np.array_equal(coder.fit(X).decompress(coder.compress(X)), X)


def test_bytes_are_close_to_the_ideal(coder, data, test):
    """Except for the header, and 16 bytes and half a word for each chunk."""
    X, groups = test
    ideal = coder.bits_per_token(X, groups=groups) * X.size / 8
    n_chunks = len(Packed(data))
    assert ideal < len(data) < ideal + 80 + 20 * n_chunks


def test_context_and_adaptation_save_bits(coder, test):
    """The coder needs fewer bits than the entropy of the tokens of the record."""
    X, _ = test
    share = np.bincount(X.ravel()) / X.size
    entropy = -np.sum(share * np.log2(share, where=share > 0, out=share * 0))
    coder = copy.deepcopy(coder).set_params(chunk_size=X.size)
    assert coder.bits_per_token(X) < 0.9 * entropy


def test_bits_are_those_of_a_plain_network(coder, X):
    """Rounding to integers costs less than a per cent, before the first adaptation."""
    X = X[300:]
    one_window = copy.deepcopy(coder).set_params(chunk_size=1)
    weights = {name: array.astype(float) for name, array in coder.weights_.items()}
    bits = _float_bits(coder.token_classes_, weights, X)
    assert one_window.bits_per_token(X) == pytest.approx(bits, 0.01)


def _float_bits(classes, weights, X):
    """The same network in floating point, with functions for tables."""
    total = 0.0
    state = np.zeros((len(X), weights["recurrent"].shape[1]))
    where = np.argsort(classes.ravel())[(classes < 0).sum() :]
    before = np.full(len(X), len(weights["inputs"]) - 1)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    for position, tokens in enumerate(X.T):
        inputs = (weights["inputs"][before] + weights["positions"][position]) / 2**24
        recurrent = state @ weights["recurrent"].T / 2**14
        n = state.shape[1]
        reset, update = np.split(sigmoid(inputs + recurrent)[:, : 2 * n], 2, axis=1)
        recurrent = recurrent[:, 2 * n :] + weights["state_bias"] / 2**24
        new = np.tanh(inputs[:, 2 * n :] + reset * recurrent)
        state = (1 - update) * new + update * state
        row, place = np.divmod(where[tokens], classes.shape[1])
        ones = np.ones((len(X), 1))
        features = np.hstack([ones, _float_features("class", weights, state)])
        class_logits = features @ weights["classes"].T
        features = np.hstack([_float_features("place", weights, state), ones])
        place_logits = np.einsum("nf,npf->np", features, weights["places"][row])
        for logits, symbol in ((class_logits, row), (place_logits, place)):
            logits = logits / 2**20
            chosen = logits[np.arange(len(X)), symbol]
            total += (np.logaddexp.reduce(logits, axis=1) - chosen).sum()
        before = tokens
    return total / X.size / np.log(2)


def _float_features(name, weights, state):
    features = state @ weights[f"{name}_features"].T / 2**14
    return (features + weights[f"{name}_feature_bias"] / 2**24).clip(-4, 4)


def test_bytes_do_not_depend_on_batches(coder, data, test):
    X, groups = test
    for limits in ([1], [13, 50, 51, 52], range(1, len(X))):
        batches = zip(np.split(X, limits), np.split(groups, limits), strict=True)
        assert b"".join(coder.iter_compress(batches)) == data


def test_bytes_do_not_depend_on_what_is_coded_side_by_side(
    coder, data, test, monkeypatch
):
    X, groups = test
    for n in (1, 3):
        for name in ("_ENCODED_AT_ONCE", "_DECODED_AT_ONCE"):
            monkeypatch.setattr(f"sktok.coding._coder.{name}", n)
        assert coder.compress(X, groups=groups) == data
        assert np.array_equal(coder.decompress(data), X)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_bytes_do_not_depend_on_threads_or_settings_of_torch(
    coder, data, test, n_threads
):
    before = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(n_threads)
    torch.set_default_dtype(torch.float16)
    try:
        assert coder.compress(test[0], groups=test[1]) == data
        assert np.array_equal(coder.decompress(data), test[0])
    finally:
        torch.set_num_threads(before[0])
        torch.set_default_dtype(before[1])


def test_bytes_do_not_depend_on_the_order_of_sums(coder, data, test, monkeypatch):
    """Sums of integers are exact: units of the state may come in any order."""
    order = np.random.default_rng(0).permutation(len(coder.weights_["state_bias"]))
    weights = dict(coder.weights_)
    for name in ("inputs", "positions"):
        gates = weights[name].reshape(len(weights[name]), 3, -1)
        weights[name] = gates[..., order].reshape(weights[name].shape)
    gates = weights["recurrent"].reshape(3, len(order), -1)[:, order][..., order]
    weights["recurrent"] = gates.reshape(weights["recurrent"].shape).copy()
    weights["state_bias"] = weights["state_bias"][order]
    for name in ("class_features", "place_features"):
        weights[name] = weights[name][:, order].copy()
    permuted = copy.deepcopy(coder)
    permuted.weights_ = weights
    monkeypatch.setattr("sktok.coding._coder.fingerprint", lambda _: fingerprint(coder))
    assert permuted.compress(test[0], groups=test[1]) == data


def test_sums_of_the_largest_weights_are_exact():
    """As above, where all weights and features are as large as they may be."""
    rng, (n_hidden, n_classes, size), n_steps = (
        np.random.default_rng(0),
        (256, 4, 3),
        64,
    )

    def extremes(bits, *shape):
        return rng.choice([-1, 1], shape) * (LARGEST_WEIGHT * 2**bits - 1)

    weights = _tables() | {
        "inputs": extremes(24, n_classes * size + 1, 3 * n_hidden),
        "positions": extremes(24, 1, 3 * n_hidden),
        "recurrent": extremes(14, 3 * n_hidden, n_hidden),
        "state_bias": extremes(24, n_hidden),
        "class_features": extremes(14, 8, n_hidden),
        "class_feature_bias": extremes(24, 8),
        "place_features": extremes(14, 4, n_hidden),
        "place_feature_bias": extremes(24, 4),
        "classes": extremes(20, n_classes, 9),
        "places": extremes(20, n_classes, size, 5),
    }
    order = rng.permutation(n_hidden)
    permuted = dict(weights)
    for name in ("inputs", "positions"):
        gates = weights[name].reshape(-1, 3, n_hidden)[..., order]
        permuted[name] = gates.reshape(weights[name].shape)
    gates = weights["recurrent"].reshape(3, n_hidden, n_hidden)[:, order][..., order]
    permuted["recurrent"] = gates.reshape(weights["recurrent"].shape)
    permuted["state_bias"] = weights["state_bias"][order]
    for name in ("class_features", "place_features"):
        permuted[name] = weights[name][:, order]
    classes, places = torch.from_numpy(
        rng.integers([[[n_classes]], [[size]]], size=(2, 2, n_steps))
    )
    found = []
    for some in (weights, permuted):
        predictor = ChunkPredictor({n: w.astype(np.int32) for n, w in some.items()}, 2)
        features = []
        for token in (classes * size + places).unbind(1):
            features.append(predictor.features())
            predictor.read(token)
        features = torch.stack(features, 1)
        for _ in range(3):
            of_classes = predictor.class_frequencies(features)
            of_places = predictor.place_frequencies(features, classes)
            predictor.learn(features, classes, of_classes, places, of_places)
        found.append((features, of_classes, of_places, predictor._classes))
    for own, other in zip(*found, strict=True):
        assert torch.equal(own, other)


def test_bytes_are_the_same_on_each_machine():
    """Weights that follow from a formula, and the bytes as they were in 2026."""
    n_tokens, n_hidden = 10, 4
    classes = np.array([[0, 1, 2], [3, 4, -1], [5, 6, 7], [8, 9, -1]])

    def waves(unit, *shape):
        numbers = np.arange(np.prod(shape)).reshape(shape)
        return (numbers * 7919 + 31) % 2003 * unit // 1001 - unit

    coder = TokenCoder(max_steps=1, hidden_size=n_hidden, random_state=0)
    coder.fit(np.arange(n_tokens).reshape(2, 5))
    coder.token_classes_ = classes
    coder.weights_ = coder.weights_ | {
        "inputs": waves(2**24, n_tokens + 1, 3 * n_hidden),
        "positions": waves(2**22, 5, 3 * n_hidden),
        "recurrent": waves(2**14, 3 * n_hidden, n_hidden),
        "state_bias": waves(2**22, n_hidden),
        "class_features": waves(2**14, 3, n_hidden),
        "class_feature_bias": waves(2**22, 3),
        "place_features": waves(2**14, 2, n_hidden),
        "place_feature_bias": waves(2**22, 2),
        "classes": waves(2**20, len(classes), 4),
        "places": waves(2**20, *classes.shape, 3),
    }
    X = (np.arange(1000) ** 2 // 7 % n_tokens).reshape(200, 5)
    data = coder.compress(X)
    assert np.array_equal(coder.decompress(data), X)
    assert hashlib.sha256(data[58:]).hexdigest()[:16] == "6790bc6e0fca49a1"


def test_chunks_are_decoded_on_their_own(coder, data, test):
    X, _ = test
    for rows in (slice(0, 1), slice(55, 60), slice(120, 900), slice(None, None, -7)):
        assert np.array_equal(coder.decompress(data, rows=rows), X[rows])
    assert coder.decompress(data, rows=slice(5, 5)).shape == (0, LENGTH)
    chunks = list(coder.iter_decompress(data))
    assert [len(chunk) for chunk in chunks] == [20, 20, 10, 7, 20, 20, 20, 15]
    assert np.array_equal(np.concatenate(chunks), X)


def test_only_the_chunks_of_the_rows_are_read(coder, data, test):
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    assert np.array_equal(coder.decompress(damaged, rows=slice(20)), test[0][:20])
    with pytest.raises(ValueError, match=r"chunk . has another checksum"):
        coder.decompress(damaged)


def test_files_are_read_and_written_piece_by_piece(coder, data, test, tmp_path):
    X, groups = test
    with open(tmp_path / "tokens", "wb") as file:
        file.writelines(coder.iter_compress([(X, groups)]))
    assert (tmp_path / "tokens").read_bytes() == data
    mapped = np.memmap(tmp_path / "tokens", np.uint8, "r")
    assert np.array_equal(coder.decompress(mapped), X)


def test_no_tokens_are_no_chunks(coder):
    data = b"".join(coder.iter_compress([]))
    assert coder.decompress(data).shape == (0, LENGTH)
    assert list(coder.iter_decompress(data)) == []


def test_damage_is_found_anywhere(coder, data):
    rng = np.random.default_rng(0)
    for place in rng.integers(len(data), size=60):
        damaged = bytearray(data)
        damaged[place] ^= 1 << rng.integers(8)
        with pytest.raises(
            ValueError, match=r"checksum|damaged|not compressed|version"
        ):
            coder.decompress(damaged)


def test_truncation_is_found_anywhere(coder, data):
    for length in [*range(0, 130), *range(130, len(data), 97)]:
        with pytest.raises(ValueError, match=r"incomplete|beginning"):
            coder.decompress(data[:length])
    with pytest.raises(ValueError, match="incomplete"):
        coder.decompress(data + b"\0")


@pytest.mark.parametrize("foreign", [b"", b"RIFF", b"PK" * 100, bytes(500)])
def test_foreign_data_are_refused(coder, foreign):
    with pytest.raises(ValueError, match="not compressed tokens"):
        coder.decompress(foreign)


def test_another_coder_is_refused(coder, data, X):
    other = clone(coder).set_params(max_steps=1)
    for tokens, difference in (
        (X, "the fingerprint of the tokenizer is [0-9a-f]{32}, expected none"),
        (X[:, 1:], "the number of tokens per window is 25, expected 24"),
        (X % 8, "the size of the vocabulary is 40, expected 8"),
    ):
        with pytest.raises(ValueError, match=rf"another coder \({difference}\)"):
            other.fit(tokens).decompress(data)


def test_a_later_format_is_refused(coder, data):
    later = bytearray(data)
    later[8] += 1
    with pytest.raises(ValueError, match=r"version 2 .* expected 1"):
        coder.decompress(later)


def test_container_is_the_inverse_of_pack():
    header = Header.of(1644, 25, "ab" * 32, "")
    windows = np.split(np.arange(6 * 25).reshape(6, 25), [3, 5])
    contents = [b"abcd", b"", bytes(1000)]
    chunks = zip(windows, contents, strict=True)
    packed = Packed(b"".join(pack(header, chunks, b"metadata")))
    assert packed.header == header
    assert packed.metadata == b"metadata"
    assert packed.n_windows.tolist() == [3, 2, 1]
    assert [packed.chunk(i) for i in range(3)] == contents
    packed.require_tokens(1, windows[1])
    with pytest.raises(ValueError, match="tokens do not match"):
        packed.require_tokens(1, windows[1][::-1])


@pytest.mark.parametrize(
    ("n_windows", "content", "fault"),
    [
        (2, b"abcde", "a chunk has half a word"),
        (0, b"abcd", "an impossible number of windows"),
        (2**17 // LENGTH + 1, b"abcd", "an impossible number of windows"),
    ],
)
def test_impossible_sizes_are_found_before_memory_is_taken(
    coder, n_windows, content, fault
):
    chunk = np.zeros((n_windows, LENGTH), int), content
    data = b"".join(pack(coder._header(), [chunk]))
    with pytest.raises(ValueError, match=fault):
        coder.decompress(data)


@pytest.mark.parametrize("seed", range(8))
def test_whole_bytes_of_no_tokens_are_refused(coder, X, seed):
    """Some are impossible for constriction, others are those of other tokens."""
    chunk = X[:2], np.random.default_rng(seed).bytes(16)
    data = b"".join(pack(coder._header(), [chunk]))
    with pytest.raises(ValueError, match="tokens do not match"):
        coder.decompress(data)


def test_another_rounding_of_probabilities_is_found(coder, data, monkeypatch):
    """As another release of constriction might have."""
    monkeypatch.setattr("sktok._torch.entropy_coding._QUANTISATION", {"perfect": True})
    with pytest.raises(ValueError, match=r"tokens do not match.*constriction"):
        coder.decompress(data)


def test_classes_hold_each_token_once():
    tokens = np.random.default_rng(0).integers(90, size=4000)
    classes = token_classes(tokens, 100, np.random.RandomState(0))
    assert np.array_equal(np.sort(classes[classes >= 0]), np.arange(100))
    n_classes, class_size = classes.shape
    assert n_classes * class_size < 1.5 * 100


def test_fit_is_reproducible(coder, X, tokenizer):
    again = clone(coder).fit(X[:300], tokenizer=tokenizer)
    assert fingerprint(again) == fingerprint(coder)
    assert again.loss_curve_ == coder.loss_curve_


def test_fit_depends_on_nothing_but_its_seed(X, monkeypatch):
    """Other threads draw from the generator of torch meanwhile, and are not blocked."""
    coder = TokenCoder(hidden_size=4, max_steps=3, random_state=0)
    alone, bits = clone(coder).fit(X[:20]), TokenNetwork.bits

    def draw():
        with seeded(1):
            torch.rand(3)

    def bits_while_another_draws(*arguments):
        torch.rand(3)
        thread = threading.Thread(target=draw, daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        return bits(*arguments)

    monkeypatch.setattr(TokenNetwork, "bits", bits_while_another_draws)
    before = torch.get_default_dtype()
    for dtype in (torch.float64, torch.float16):
        torch.set_default_dtype(dtype)
        try:
            assert fingerprint(clone(coder).fit(X[:20])) == fingerprint(alone)
        finally:
            torch.set_default_dtype(before)


@pytest.mark.parametrize("X", [[[0]], [[0, 1]], np.zeros((50, 4), int)])
def test_constant_tokens_have_finite_weights(X):
    coder = TokenCoder(max_steps=2, random_state=0).fit(X)
    assert np.array_equal(coder.decompress(coder.compress(X)), X)
    assert np.isfinite(coder.bits_per_token(X))


def test_whitening_keeps_probabilities():
    """Also of features that do not vary, and without weights beyond the limit."""
    torch.manual_seed(0)
    network = TokenNetwork(torch.tensor([[0, 1], [2, -1]]), 1, 8)
    for tokens in (torch.arange(60).reshape(6, 10) % 3, torch.zeros(1, 1).long()):
        with torch.no_grad():
            before = network.bits(tokens)
            network.whiten(tokens)
            torch.testing.assert_close(network.bits(tokens), before)
        assert all(p.abs().max() < LARGEST_WEIGHT for p in network.parameters())


def test_whitening_takes_a_limited_number_of_tokens(X, monkeypatch):
    sizes, whiten = [], TokenNetwork.whiten

    def count(network, tokens):
        sizes.append(tokens.numel())
        return whiten(network, tokens)

    monkeypatch.setattr(TokenNetwork, "whiten", count)
    for limit, n in ((600, 500), (100, 100)):  # of sequences of 250 tokens
        monkeypatch.setattr("sktok._torch.token_network._WHITENING", limit)
        TokenCoder(hidden_size=4, max_steps=1).fit(X[:40])
        assert sizes.pop() == n


@pytest.mark.parametrize("learning_rate", [100.0, 1e30])
def test_divergence_is_an_error(X, monkeypatch, learning_rate):
    monkeypatch.setattr("sktok._torch.token_network._LEARNING_RATE", learning_rate)
    with pytest.raises(FloatingPointError, match="diverged"):
        TokenCoder(hidden_size=4, max_steps=5, random_state=0).fit(X[:40])


def test_training_lowers_the_cost(coder):
    first, last = coder.loss_curve_[0], np.mean(coder.loss_curve_[-5:])
    assert last < 0.9 * first


def test_records_are_not_joined_in_training(X):
    groups = np.repeat([0, 1], [7, 13])
    one = TokenCoder(max_steps=2, hidden_size=4, random_state=0)
    with_groups = clone(one).fit(X[:20], groups=groups)
    assert with_groups.loss_curve_ != one.fit(X[:20]).loss_curve_


def test_saved_coder_decodes_the_same(coder, data, test, tmp_path):
    save(coder, tmp_path / "coder.skops")
    loaded = load(tmp_path / "coder.skops")
    assert fingerprint(loaded) == fingerprint(coder)
    assert np.array_equal(loaded.decompress(data), test[0])


def test_another_process_decodes_the_same(coder, data, test, tmp_path):
    save(coder, tmp_path / "coder.skops")
    (tmp_path / "data").write_bytes(data)
    code = (
        "import numpy, torch\n"
        "from sktok.persistence import load\n"
        "torch.set_num_threads(2)\n"
        "data = open('data', 'rb').read()\n"
        "numpy.save('tokens', load('coder.skops').decompress(data))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert np.array_equal(np.load(tmp_path / "tokens.npy"), test[0])


def test_tokenizer_is_named(coder, data, tokenizer):
    assert coder.tokenizer_fingerprint_ == fingerprint(tokenizer)
    assert coder.n_tokens_ == tokenizer.n_tokens_
    assert Packed(data).header.tokenizer == fingerprint(tokenizer)[:32]


def test_vocabulary_is_that_of_the_largest_token_by_default():
    assert TokenCoder(max_steps=1).fit([[0, 4], [1, 2]]).n_tokens_ == 5


def test_vocabulary_has_at_least_two_tokens(tokenizer, monkeypatch):
    monkeypatch.setattr("sktok.coding._coder.vocabulary_size", lambda _: 1)
    X = np.zeros((3, LENGTH), int)
    coder = TokenCoder(max_steps=1).fit(X, tokenizer=tokenizer)
    assert coder.n_tokens_ == 2
    assert np.array_equal(coder.decompress(coder.compress(X)), X)


@pytest.mark.parametrize(
    ("n_tokens", "X", "message"),
    [
        (3, [[0, 3]], "from 0 to 3 and n_tokens is 3, expected tokens in range"),
        (3, [[-1, 2]], "from -1 to 2 and n_tokens is 3"),
        (None, [[-1, 2]], "from -1 to 2 and n_tokens is 3"),
        (None, [[-5, -1]], "from -5 to -1 and n_tokens is 2"),
        (None, [[0, 2**16]], "n_tokens is 65537, expected .* at most 65536"),
        (None, [[0, 2**63 - 1]], "expected .* at most 65536"),
    ],
)
def test_tokens_outside_the_vocabulary_are_refused(n_tokens, X, message):
    with pytest.raises(ValueError, match=message):
        TokenCoder(n_tokens=n_tokens, max_steps=1).fit(X)


def test_a_tokenizer_of_other_windows_is_refused(tokenizer, X):
    with pytest.raises(ValueError, match=r"24 tokens per window.* makes 25: give the"):
        TokenCoder(max_steps=1).fit(X[:, 1:], tokenizer=tokenizer)


def test_batches_without_windows_are_skipped(coder, data, test):
    X, groups = test
    batches = [X[:0], (X, groups), (X[:0], groups[:0])]
    assert b"".join(coder.iter_compress(batches)) == data
    assert coder.decompress(coder.compress(X[:0])).shape == (0, LENGTH)
    with pytest.raises(ValueError, match="0 sample"):
        coder.bits_per_token(X[:0])


def test_parameters_follow_scikit_learn(coder):
    check_parameters_default_constructible("TokenCoder", TokenCoder())
    assert clone(coder).get_params() == coder.get_params()
    with pytest.raises(ValueError, match="'chunk_size' parameter"):
        TokenCoder(chunk_size=0).fit([[0, 1]])
    X = np.zeros((1, LENGTH), int)
    with pytest.raises(ValueError, match="'chunk_size' parameter"):
        copy.deepcopy(coder).set_params(chunk_size=0).compress(X)
    for n_jobs in ("2", 1.5, True):
        with pytest.raises(ValueError, match="'n_jobs' parameter"):
            copy.deepcopy(coder).set_params(n_jobs=n_jobs).decompress(b"")


def test_wrong_input_is_refused(coder, X):
    with pytest.raises(NotFittedError):
        TokenCoder().compress(X)
    with pytest.raises(NotFittedError):
        TokenCoder().decompress(b"")
    with pytest.raises(ValueError, match="have 24 columns, expected 25"):
        coder.compress(X[:, 1:])
    with pytest.raises(ValueError, match="outside the vocabulary of 40"):
        coder.compress(X + 1)
    with pytest.raises(TypeError, match="expected integers"):
        coder.compress(X.astype(float))
    with pytest.raises(ValueError, match=r"groups have the shape \(2,\), expected"):
        coder.compress(X, groups=[1, 2])
    for n_rows in (1, 2, 3):
        batch = tuple(map(tuple, X[:n_rows]))
        with pytest.raises(TypeError, match=f"a tuple of {n_rows}, expected an array"):
            list(coder.iter_compress([batch]))
    for metadata in ("text", 5, None):
        with pytest.raises(TypeError, match="expected bytes"):
            next(coder.iter_compress([X], metadata=metadata))
    for rows in (3, [1, 2], np.ones(len(X), bool)):
        with pytest.raises(TypeError, match="expected a slice or None"):
            coder.decompress(b"", rows=rows)


def test_missing_extra_names_the_install(coder, X, monkeypatch):
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(ImportError, match=r"pip install 'sktok\[coding\]'"):
        coder.compress(X)


def test_processes_give_the_same_bytes_and_tokens(coder, test):
    tokens, groups = test
    expected = coder.compress(tokens, groups=groups)
    parallel = copy.copy(coder).set_params(n_jobs=2)
    # Other processes map large arrays read-only.
    parallel.weights_ = {n: w.copy() for n, w in coder.weights_.items()}
    for weights in parallel.weights_.values():
        weights.flags.writeable = False
    assert parallel.compress(tokens, groups=groups) == expected
    np.testing.assert_array_equal(parallel.decompress(expected), tokens)
