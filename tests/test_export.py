"""ONNX models give the tokens and the windows that sktok gives, without PyTorch."""

import copy
import logging
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline

import sktok.export
from sktok import (
    AmplitudeScaler,
    BinQuantizer,
    BlockSegmenter,
    ConvAETokenizer,
    GainShapeTokenizer,
    LeadSelector,
    Resampler,
    ResidualVectorQuantizer,
    VectorQuantizer,
    make_paper_tokenizer,
    make_tokenizer,
)
from sktok._torch.inference import encode
from sktok.corpus import Vocabulary
from sktok.export import to_onnx
from sktok.metrics import neg_reconstruction_mse

NEAR = 1e-5  # of the size of latents: what float32 rounding may move them by
ROUNDINGS = 64 * np.finfo(np.float32).eps  # of the largest sample
FILES = ["decoder.onnx", "encoder.onnx"]

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # makes `import torch` an ImportError
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
results, x = {}, np.load("windows.npy")
for name in ("encoder", "decoder"):
    session = onnxruntime.InferenceSession(f"tokenizer/{name}.onnx", options)
    (x,) = session.run(None, {session.get_inputs()[0].name: x})
    results[name] = x
np.savez("results.npz", **results)
try:
    import torch
except ImportError:
    print("no torch, no sktok:", "sktok" not in sys.modules)
"""


class Linear(torch.nn.Module):
    """A user's own network."""

    def __init__(self, block_size, latent_dim):
        super().__init__()
        self.down = torch.nn.Linear(block_size, latent_dim)
        self.up = torch.nn.Linear(latent_dim, block_size)

    def encode(self, x):
        return self.down(x)

    def decode(self, z):
        return self.up(z)


class Counting(Linear):
    """Its Python counts windows, which torch must not take for a constant."""

    def encode(self, x):
        return (
            torch.stack([self.down(x[:, i]) for i in range(x.shape[1])])
            .reshape(x.shape[1], len(x), -1)
            .transpose(0, 1)
        )


class Deciding(Linear):
    """What it does depends on the signal."""

    def encode(self, x):
        return self.down(x) if x.mean() > 0 else -self.down(x)


@pytest.fixture(scope="module")
def windows(ecg):
    """3,456 windows: each of the real ones with eight gains and offsets, in float32."""
    rng = np.random.default_rng(0)
    shape = 8, len(ecg.data), 1
    varied = rng.uniform(0.5, 2, shape) * ecg.data + rng.uniform(-0.5, 0.5, shape)
    return varied.reshape(-1, ecg.data.shape[1]).astype(np.float32)


@pytest.fixture(scope="module")
def recommended(ecg, tmp_path_factory):
    """The recommended tokenizer, and the folder that it is exported to."""
    folder = tmp_path_factory.mktemp("export") / "tokenizer"
    tokenizer = make_tokenizer(max_steps=50, random_state=0).fit(ecg.data)
    to_onnx(tokenizer, folder)
    return tokenizer, folder


@pytest.fixture(scope="module")
def plain(ecg):
    """A tokenizer without a network, which is exported in no time."""
    return make_pipeline(BlockSegmenter(25), VectorQuantizer(16)).fit(ecg.data)


def session_of(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised: no need to print them, too
    return onnxruntime.InferenceSession(path, options)


def run(path, array):
    """What a model makes of an array."""
    session = session_of(path)
    (result,) = session.run(None, {session.get_inputs()[0].name: array})
    return result


def quantizer_and_latents(tokenizer, X):
    """The quantiser of a tokenizer, and what it is given for windows."""
    tokenizer = getattr(tokenizer, "best_estimator_", tokenizer)
    for _, step in getattr(tokenizer, "steps", [("tokenizer", tokenizer)]):
        if isinstance(step, ConvAETokenizer) and step.quantizer_ is not None:
            return step.quantizer_, encode(step.network_, X)
        if hasattr(step, "n_tokens_"):
            return step, X
        if step != "passthrough":
            X = step.transform(X)
    raise AssertionError("no step makes tokens")


def assert_equal_but_for_ties(tokenizer, X, found):
    """Tokens are those of `transform`, or latents lie between both but for rounding."""
    own = tokenizer.transform(X)
    assert found.dtype == np.int64
    assert found.shape == own.shape
    differ = found != own
    assert differ.mean() < 1e-4
    quantizer, latents = quantizer_and_latents(tokenizer, X)
    power = np.mean(latents**2)
    if isinstance(quantizer, VectorQuantizer):
        vectors = latents.reshape(-1, quantizer.codes_.shape[1])
        own, found = (tokens.reshape(len(vectors), -1) for tokens in (own, found))
        costs, differ = quantizer._costs(), (own != found).any(axis=1)
        costs = np.zeros(quantizer.n_tokens_) if costs is None else costs
        own, found = (
            np.square(vectors[differ] - quantizer.dequantize(tokens[differ])).sum(
                axis=1
            )
            + costs[tokens[differ]].sum(axis=1)
            for tokens in (own, found)
        )
        np.testing.assert_allclose(found, own, rtol=0, atol=NEAR * power)
    else:
        near = NEAR * np.sqrt(power)
        sizes = np.atleast_1d(quantizer.n_bins)
        digits = np.array(np.unravel_index(found, sizes))
        lowest = np.unravel_index(quantizer.transform(latents - near), sizes)
        highest = np.unravel_index(quantizer.transform(latents + near), sizes)
        assert (lowest <= digits).all()
        assert (digits <= highest).all()


def assert_restored(tokenizer, tokens, restored):
    expected = tokenizer.inverse_transform(tokens)
    assert restored.dtype == np.float32
    assert restored.shape == expected.shape
    largest = np.abs(expected).max()
    np.testing.assert_allclose(restored, expected, rtol=0, atol=ROUNDINGS * largest)


def padded_clipped_digits(ecg, windows):
    quantizer = BinQuantizer((8, 5, 3), strategy="quantile", centers="mean")
    tokenizer = make_tokenizer(12, max_steps=10, random_state=0)
    tokenizer.set_params(scale__clip=True, tokenize__quantizer=quantizer)
    return tokenizer.fit(ecg.data), windows


def paper(ecg, windows):
    tokenizer = make_paper_tokenizer(max_steps=30, random_state=0, limits="minmax")
    return tokenizer.fit(ecg.data), windows


def paper_complete_process(ecg, windows):
    tokenizer = make_paper_tokenizer(25, max_steps=30, random_state=0)
    inside = BinQuantizer(256, limits=(-5, 5))
    tokenizer.set_params(tokenize__quantizer=inside, quantize="passthrough")
    return tokenizer.fit(ecg.data), windows


def own_network_with_codes_behind(ecg, windows):
    network = ConvAETokenizer(Linear, latent_dim=3, max_steps=30, random_state=0)
    quantizer = VectorQuantizer(16, random_state=0)
    steps = make_pipeline(BlockSegmenter(10), "passthrough", network, quantizer)
    return steps.fit(ecg.data), windows


def own_network_that_counts(ecg, windows):
    """By itself, on blocks."""
    tokenizer = ConvAETokenizer(
        Counting, latent_dim=2, quantizer=BinQuantizer(16), max_steps=30, random_state=0
    )
    return tokenizer.fit(ecg.data.reshape(-1, 5, 50)), windows.reshape(-1, 5, 50)


def two_stages_that_pay_for_bits(ecg, windows):
    quantizer = ResidualVectorQuantizer((32, 8), rate_weight=0.001)
    tokenizer = make_tokenizer(max_steps=30, random_state=0)
    return tokenizer.set_params(tokenize__quantizer=quantizer).fit(ecg.data), windows


def rows_of_one_block(ecg, windows):
    tokenizer = ConvAETokenizer(
        Linear,
        latent_dim=4,
        quantizer=VectorQuantizer(16),
        max_steps=30,
        random_state=0,
    )
    return tokenizer.fit(ecg.data[:, :20]), windows[:, :20]


def searched_bins_of_samples(ecg, windows):
    steps = [
        ("scale", AmplitudeScaler((-2.0, 3.0))),
        ("quantize", BinQuantizer(strategy="kmeans")),
    ]
    grid = {"quantize__n_bins": [8, 16]}
    search = GridSearchCV(Pipeline(steps), grid, scoring=neg_reconstruction_mse, cv=2)
    return search.fit(ecg.data), windows


def codes_far_from_zero(ecg, windows):
    """Of samples as a converter of 11 bits gives them."""
    tokenizer = make_pipeline(BlockSegmenter(10), VectorQuantizer(256, random_state=0))
    return tokenizer.fit(200 * ecg.data + 1024), 200 * windows + 1024


def resampled_after_fit(ecg, windows):
    """With a frozen step, for windows of another rate than those of `fit`."""
    steps = make_pipeline(
        Resampler(360, 250),
        FrozenEstimator(AmplitudeScaler().fit(ecg.data[:, :174])),
        BlockSegmenter(10),
        VectorQuantizer(64, random_state=0),
    )
    return steps.fit(ecg.data).set_params(resampler__input_fs=128), windows[:, :89]


@pytest.mark.parametrize(
    "recipe",
    [
        padded_clipped_digits,
        paper,
        paper_complete_process,
        own_network_with_codes_behind,
        own_network_that_counts,
        two_stages_that_pay_for_bits,
        rows_of_one_block,
        searched_bins_of_samples,
        codes_far_from_zero,
        resampled_after_fit,
    ],
)
def test_tokens_and_windows_are_those_of_sktok(recipe, ecg, windows, tmp_path):
    tokenizer, X = recipe(ecg, windows)
    to_onnx(tokenizer, tmp_path / "tokenizer")
    encoder, decoder = (tmp_path / "tokenizer" / f"{n}coder.onnx" for n in ("en", "de"))
    for path in (encoder, decoder):
        onnx.checker.check_model(path, full_check=True)
    tokens = run(encoder, X)
    assert_equal_but_for_ties(tokenizer, X, tokens)
    assert_restored(tokenizer, tokens, run(decoder, tokens))
    for n_windows in (1, 3):
        few = run(encoder, X[:n_windows])
        assert_equal_but_for_ties(tokenizer, X[:n_windows], few)
        assert_restored(tokenizer, few, run(decoder, few))


def at_ends_of_bins(tokenizer):
    """Square waves whose smallest sample, or range, is next to the end of a bin."""
    offsets, gains = tokenizer.offsets_, tokenizer.gains_
    middle = np.full(len(gains) - 1, offsets[len(offsets) // 2])
    lowest = np.append(offsets[1:], middle)
    highest = np.append(offsets[1:], middle + gains[:-1])
    ends = np.stack([lowest, highest], axis=1).astype(np.float32)
    near = [np.nextafter(ends, np.float32(to)) for to in (-np.inf, np.inf)]
    return np.repeat(np.concatenate([ends, *near]), 125, axis=1)


@pytest.mark.parametrize("n_leads", [1, 3])
def test_tokens_of_offset_and_gain_are_exact(n_leads, windows, tmp_path):
    shapes = make_pipeline(BlockSegmenter(25), VectorQuantizer(16, random_state=0))
    X = windows if n_leads == 1 else windows.reshape(-1, n_leads, 250)
    tokenizer = GainShapeTokenizer(shapes).fit(X[:400])
    X = np.concatenate([X, at_ends_of_bins(tokenizer).reshape(-1, *X.shape[1:])])
    to_onnx(tokenizer, tmp_path / "tokenizer")
    found = run(tmp_path / "tokenizer" / "encoder.onnx", X)
    restored = run(tmp_path / "tokenizer" / "decoder.onnx", found)
    assert_restored(tokenizer, found, restored)
    bins, shapes = np.split(found.reshape(-1, 12), [2], axis=1)
    offset, gain, expected = tokenizer._bins().split(X.reshape(-1, 1, 250))
    np.testing.assert_array_equal(bins, np.column_stack([offset, 256 + gain]))
    expected = expected.reshape(-1, 250)
    assert_equal_but_for_ties(tokenizer.tokenizer_, expected, shapes - 512)


@pytest.mark.parametrize(
    ("norm", "n_stages", "step"),
    [
        ("range", 1, VectorQuantizer(8, random_state=0)),
        (
            "l4",
            3,
            ConvAETokenizer(
                "multilead",
                n_leads=3,
                latent_dim=8,
                quantizer=ResidualVectorQuantizer(8, 3),
                max_steps=5,
                random_state=0,
            ),
        ),
    ],
)
def test_joint_tokens_of_chosen_leads(norm, n_stages, step, windows, tmp_path):
    X = windows.reshape(-1, 3, 250)
    shapes = make_pipeline(BlockSegmenter(25, leads="joint"), step)
    tokenizer = make_pipeline(
        LeadSelector(["V1", "III", "II"], ["I", "II", "V1"]),
        GainShapeTokenizer(shapes, norm=norm, leads="joint"),
    ).fit(X)
    to_onnx(tokenizer, tmp_path / "tokenizer")
    found = run(tmp_path / "tokenizer" / "encoder.onnx", X)
    assert found.shape == (len(X), 3 + 3 + 10 * n_stages)
    restored = run(tmp_path / "tokenizer" / "decoder.onnx", found)
    assert_restored(tokenizer, found, restored)
    assert (found != tokenizer.transform(X)).mean() < 1e-3


@pytest.mark.parametrize("length", [249, 250])
def test_tokens_of_the_l4_norm(length, windows, tmp_path):
    shapes = make_pipeline(BlockSegmenter(25), VectorQuantizer(16, random_state=0))
    flat = np.float32([[0.0], [0.3], [5.0]]).repeat(length, axis=1)
    X = np.concatenate([windows[:, :length], flat])
    tokenizer = GainShapeTokenizer(shapes, norm="l4").fit(X[:400])
    to_onnx(tokenizer, tmp_path / "tokenizer")
    found = run(tmp_path / "tokenizer" / "encoder.onnx", X)
    restored = run(tmp_path / "tokenizer" / "decoder.onnx", found)
    assert_restored(tokenizer, found, restored)
    assert (found != tokenizer.transform(X)).mean() < 1e-4


@pytest.mark.parametrize("norm", ["range", "l4"])
def test_windows_beyond_the_bins_get_those_at_the_ends(norm, windows, tmp_path):
    tokenizer = GainShapeTokenizer(BinQuantizer(16), norm=norm).fit(windows)
    X = windows[:2] + np.float32([[-1e6], [1e6]])
    with pytest.raises(ValueError, match="2 of 2 windows are beyond the bins"):
        tokenizer.transform(X)
    to_onnx(tokenizer, tmp_path / "tokenizer")
    found = run(tmp_path / "tokenizer" / "encoder.onnx", X)
    far_below = 256 if norm == "range" else 511  # the norm has no sign
    np.testing.assert_array_equal(found[:, :2], [[0, far_below], [255, 511]])
    assert tokenizer.inverse_transform(found).shape == X.shape


def test_leads_of_another_rate(windows, tmp_path):
    shapes = make_pipeline(BlockSegmenter(25), VectorQuantizer(16, random_state=0))
    tokenizer = make_pipeline(Resampler(250, 360), GainShapeTokenizer(shapes))
    X = windows.reshape(-1, 2, 250)
    tokenizer.fit(X[:200])
    to_onnx(tokenizer, tmp_path / "tokenizer")
    found = run(tmp_path / "tokenizer" / "encoder.onnx", X)
    assert (found != tokenizer.transform(X)).mean() < 1e-4
    restored = run(tmp_path / "tokenizer" / "decoder.onnx", found)
    assert_restored(tokenizer, found, restored)


RATES = st.sampled_from([62.4725, 100, 249.89, 250, 257, 360, 500, 1000])


@given(st.integers(1, 700), RATES, RATES, st.floats(-1e4, 1e4))
def test_tensors_are_resampled_as_arrays(n_samples, input_fs, output_fs, level):
    rng = np.random.default_rng(n_samples)
    X = (level + rng.normal(size=(2, 3, n_samples))).astype(np.float32)
    resampler = Resampler(input_fs, output_fs).fit(X)
    resample, resample_back = resampler._export_functions()
    for function, expected in (
        (resample, resampler.transform(X)),
        (resample_back, resampler.inverse_transform(resampler.transform(X))),
    ):
        X = function(torch.from_numpy(X)).numpy()
        limit = ROUNDINGS * np.abs(expected).max()
        np.testing.assert_allclose(X, expected, rtol=0, atol=limit)


@pytest.mark.parametrize(("input_fs", "output_fs"), [(500, 250), (249.89, 250)])
def test_resampling_of_long_windows_has_a_small_model(input_fs, output_fs, tmp_path):
    X = np.random.default_rng(0).normal(size=(2, 5000))
    resample = make_pipeline(Resampler(input_fs, output_fs), BinQuantizer(8)).fit(X)
    to_onnx(resample, tmp_path / "tokenizer")
    for name in FILES:
        assert (tmp_path / "tokenizer" / name).stat().st_size < 2**20


def test_a_device_without_torch(recommended, windows):
    tokenizer, folder = recommended
    np.save(folder.parent / "windows.npy", windows)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "no torch, no sktok: True\n"
    results = np.load(folder.parent / "results.npz")
    assert_equal_but_for_ties(tokenizer, windows, results["encoder"])
    assert_restored(tokenizer, results["encoder"], results["decoder"])


@pytest.mark.parametrize("strategy", ["uniform", "quantile", "kmeans"])
@pytest.mark.parametrize("n_bins", [2, 37, (5, 3)])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e-39, 1e30])
def test_bins_are_exact(strategy, n_bins, scale):
    rng = np.random.default_rng(0)
    training = rng.normal(size=(300, 1, 2)) * scale
    quantizer = BinQuantizer(n_bins, strategy=strategy).fit(training)
    edges = np.hstack(quantizer.edges_).astype(np.float32)
    beside = [np.nextafter(edges, np.float32(end)) for end in (-np.inf, np.inf)]
    values = np.hstack([edges, *beside, training.ravel(), -3e37, 3e37])
    pairs = np.stack([values, rng.permutation(values)], axis=1)
    pairs = pairs[:, np.newaxis].astype(np.float32)
    quantize, dequantize = quantizer.export_functions()
    tokens = quantize(torch.from_numpy(pairs))
    rows = tokens.flatten(1).numpy()
    np.testing.assert_array_equal(rows, quantizer.transform(pairs))
    restored = dequantize(tokens).numpy()
    expected = quantizer.inverse_transform(rows).astype(np.float32)
    np.testing.assert_array_equal(restored, expected)


def test_a_device_knows_whose_tokens_it_makes(recommended):
    tokenizer, folder = recommended
    facts = asdict(Vocabulary.from_tokenizer(tokenizer))
    expected = {f"sktok.{name}": str(value) for name, value in facts.items()}
    expected["sktok.version"] = sktok.__version__
    assert sorted(path.name for path in folder.iterdir()) == FILES
    for name in FILES:
        session = session_of(folder / name)
        assert session.get_modelmeta().custom_metadata_map == expected
        (opset,) = onnx.load(folder / name).opset_import
        assert (opset.domain, opset.version) == ("", 18)


def test_files_tell_nothing_of_the_machine(recommended):
    _, folder = recommended
    for name in FILES:
        content = (folder / name).read_bytes()
        for module in (torch, sktok):
            assert str(Path(module.__file__).parent).encode() not in content
        assert len(content) < 200_000


def test_tokens_outside_the_vocabulary(recommended):
    tokenizer, folder = recommended
    tokens = np.zeros((2, 25), np.int64)
    for token in (256, -257, 2**40):
        tokens[1, 7] = token
        with pytest.raises(Exception, match="out of data bounds"):
            run(folder / "decoder.onnx", tokens)
    tokens[1, 7] = -1
    restored = run(folder / "decoder.onnx", tokens)
    tokens[1, 7] = 255
    assert_restored(tokenizer, tokens, restored)


def test_the_tokenizer_is_left_as_it_was(recommended, ecg):
    tokenizer, folder = recommended
    fingerprint = Vocabulary.from_tokenizer(tokenizer).fingerprint
    exported = session_of(folder / "encoder.onnx").get_modelmeta()
    assert exported.custom_metadata_map["sktok.fingerprint"] == fingerprint
    again = copy.deepcopy(tokenizer).set_params(tokenize__warm_start=True)
    again.set_params(tokenize__max_steps=1).fit(ecg.data)  # weights still learn
    assert Vocabulary.from_tokenizer(again).fingerprint != fingerprint


def test_a_folder_is_whole_or_not_there(plain, tmp_path, monkeypatch, capfd):
    save = torch.onnx.ONNXProgram.save

    def disk_full(program, path):
        if Path(path).name == "decoder.onnx":
            raise OSError("No space left on device")
        save(program, path)

    with monkeypatch.context() as patched:
        patched.setattr(torch.onnx.ONNXProgram, "save", disk_full)
        with pytest.raises(OSError, match="No space left"):
            to_onnx(plain, tmp_path / "tokenizer")
    assert list(tmp_path.iterdir()) == []
    to_onnx(plain, tmp_path / "tokenizer")
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer"]
    assert capfd.readouterr() == ("", "")  # and nothing was said
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    assert not logger.disabled
    monkeypatch.setattr(sktok._torch.onnx, "export", lambda *a, **k: None)
    with pytest.raises(FileExistsError, match="choose another name"):
        to_onnx(plain, tmp_path / "tokenizer")


def test_a_search_of_tokens_is_refused(recommended, tmp_path):
    tokenizer = copy.deepcopy(recommended[0]).set_params(tokenize__n_candidates=6)
    with pytest.raises(ValueError, match=r"n_candidates=6 .* set n_candidates=1"):
        to_onnx(tokenizer, tmp_path / "tokenizer")


def test_a_step_that_is_not_known_is_named(ecg, tmp_path):
    tokenizer = make_pipeline(PCA(2), BinQuantizer(4)).fit(ecg.data)
    with pytest.raises(TypeError, match=r"pca=PCA cannot .*, a quantiser, 'passthr"):
        to_onnx(tokenizer, tmp_path / "tokenizer")


def test_what_makes_no_tokens_is_refused(ecg, tmp_path):
    with pytest.raises(ValueError, match="n_tokens_"):
        to_onnx(make_pipeline(AmplitudeScaler()).fit(ecg.data), tmp_path / "tokenizer")
    for unfitted in (make_tokenizer(), ConvAETokenizer()):
        with pytest.raises(NotFittedError):
            to_onnx(unfitted, tmp_path / "tokenizer")


def test_a_network_that_torch_cannot_export(blocks, tmp_path):
    tokenizer = ConvAETokenizer(
        Deciding, quantizer=BinQuantizer(4), max_steps=1, random_state=0
    )
    tokenizer.fit(blocks)
    with pytest.raises(ValueError, match="from windows to tokens: a custom network"):
        to_onnx(tokenizer, tmp_path / "tokenizer")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_package_is_named(plain, package, tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "onnxscript"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"pip install 'sktok\[onnx\]'"):
        to_onnx(plain, tmp_path / "tokenizer")
