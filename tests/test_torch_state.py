"""What the caller has set in torch changes no token, and stays as it was."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import joblib
import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession
from torch import nn

from sktok import BinQuantizer, ConvAETokenizer, VectorQuantizer, make_tokenizer
from sktok._torch.guard import unaffected
from sktok.export import to_onnx


@contextmanager
def changed(get, change, value):
    """Set something in torch, which must still be set at the end."""
    before = get()
    change(value)
    try:
        yield
        assert get() == value
    finally:
        change(before)


def default_dtype():
    return changed(torch.get_default_dtype, torch.set_default_dtype, torch.float64)


def deterministic():
    get = torch.are_deterministic_algorithms_enabled
    return changed(get, torch.use_deterministic_algorithms, True)


def rounded_products():
    get, change = torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
    return changed(get, change, "medium")


STATES = {
    "autocast to bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", torch.float16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "float64 by default": default_dtype,
    "another device by default": lambda: torch.device("meta"),
    "deterministic algorithms": deterministic,
    "rounded products": rounded_products,
}
if torch.cuda.is_available():
    STATES["autocast on the GPU"] = lambda: torch.autocast("cuda", torch.bfloat16)
    STATES["the GPU by default"] = lambda: torch.device("cuda")


@contextmanager
def state(name):
    names = STATES if name == "all" else [name]
    with ExitStack() as stack:
        for each in names:
            stack.enter_context(STATES[each]())
        yield


class Perceptron(nn.Module):
    """A custom network, of layers that the caller's state affects."""

    def __init__(self, block_size, latent_dim):
        super().__init__()
        self.encode = nn.Sequential(
            nn.Linear(block_size, 16), nn.ReLU(), nn.Linear(16, latent_dim)
        )
        self.decode = nn.Sequential(
            nn.Linear(latent_dim, 16), nn.ReLU(), nn.Linear(16, block_size)
        )


TOKENIZERS = {
    "codebook": {"quantizer": VectorQuantizer(16)},
    "bins": {"quantizer": BinQuantizer(16)},
    "Table 1": {"network": "dimreduction", "quantizer": BinQuantizer((4, 4))},
    "search": {"quantizer": VectorQuantizer(16), "n_candidates": 3},
    "custom": {"network": Perceptron, "quantizer": VectorQuantizer(16)},
    "latents": {"quantizer": None},
}


def use(parameters, blocks):
    """Everything that a tokenizer computes, and its weights."""
    tokenizer = ConvAETokenizer(**parameters, max_steps=6, random_state=0)
    tokens = tokenizer.fit(blocks).transform(blocks)
    restored = tokenizer.inverse_transform(tokens)
    one = tokenizer.transform(blocks[:1])
    tokenizer = pickle.loads(pickle.dumps(tokenizer)).set_params(warm_start=True)
    again = tokenizer.transform(blocks)  # with the weights of the file
    np.testing.assert_array_equal(again, tokens)
    tokenizer.fit(blocks)
    weights = tokenizer.network_.state_dict().values()
    return [tokens, restored, one, again, *(weight.numpy() for weight in weights)]


@pytest.fixture(scope="module")
def expected(ecg):
    blocks = ecg.data[:80].reshape(80, 25, 10)
    return {name: use(parameters, blocks) for name, parameters in TOKENIZERS.items()}


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, "all") for kind in TOKENIZERS]
    + [(kind, name) for kind in ("codebook", "custom") for name in STATES],
)
def test_the_state_of_torch_changes_nothing(ecg, expected, kind, name):
    blocks = ecg.data[:80].reshape(80, 25, 10)
    with state(name):
        found = use(TOKENIZERS[kind], blocks)
    for mine, others in zip(found, expected[kind], strict=True):
        np.testing.assert_array_equal(mine, others)
        assert mine.dtype == others.dtype


@pytest.mark.parametrize("name", ["inference_mode", "all"])
def test_a_tokenizer_that_was_made_elsewhere_is_used_and_trained(ecg, name):
    blocks = ecg.data[:80].reshape(80, 25, 10)
    tokenizer = ConvAETokenizer(quantizer=VectorQuantizer(16), max_steps=6)
    tokenizer.fit(blocks)
    tokens = tokenizer.transform(blocks)
    with state(name):
        np.testing.assert_array_equal(tokenizer.transform(blocks), tokens)
        copy = pickle.loads(pickle.dumps(tokenizer)).partial_fit(blocks)
    np.testing.assert_array_equal(copy.transform(blocks), tokens)
    copy.set_params(warm_start=True).fit(blocks)


def test_a_stream_is_trained_in_any_state(ecg):
    blocks = ecg.data[:80].reshape(80, 25, 10)
    parameters = {"quantizer": VectorQuantizer(16), "batch_size": 40, "max_steps": 6}
    tokenizer = ConvAETokenizer(**parameters, random_state=0)
    other = ConvAETokenizer(**parameters, random_state=0)
    for _ in range(3):
        tokenizer = pickle.loads(pickle.dumps(tokenizer.partial_fit(blocks)))
        with state("all"):
            other = pickle.loads(pickle.dumps(other.partial_fit(blocks)))
    assert other.is_complete_
    np.testing.assert_array_equal(other.transform(blocks), tokenizer.transform(blocks))


def test_models_for_onnx_are_right_in_any_state(ecg, tmp_path):
    X = ecg.data.astype(np.float32)
    tokenizer = make_tokenizer(25, 16, max_steps=3, random_state=0).fit(X)
    with state("all"):
        to_onnx(tokenizer, tmp_path / "models")
    encoder = InferenceSession(tmp_path / "models" / "encoder.onnx")
    (tokens,) = encoder.run(None, {"windows": X})
    np.testing.assert_array_equal(tokens, tokenizer.transform(X))


def test_products_are_exact_as_long_as_anyone_computes():
    products, second = torch.backends.mkldnn.matmul, unaffected()
    with rounded_products(), ThreadPoolExecutor(1) as other_thread:
        with unaffected():
            other_thread.submit(second.__enter__).result()
            assert products.fp32_precision == "ieee"
        assert products.fp32_precision == "ieee"
        other_thread.submit(second.__exit__, None, None, None).result()
        assert products.fp32_precision == "bf16"
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_arrays_that_are_only_to_be_read(ecg, tmp_path, kind):
    """Torch warns of undefined behaviour, and warnings are errors."""
    blocks = ecg.data[:80].reshape(80, 25, 10).astype(np.float32)
    blocks.flags.writeable = False
    tokenizer = ConvAETokenizer(**TOKENIZERS[kind], max_steps=3, random_state=0)
    tokens = tokenizer.fit(blocks).transform(blocks)
    joblib.dump(tokenizer, tmp_path / "tokenizer")
    mapped = joblib.load(tmp_path / "tokenizer", mmap_mode="r")
    np.testing.assert_array_equal(mapped.transform(blocks), tokens)
    restored = tokenizer.inverse_transform(tokens)
    np.testing.assert_array_equal(mapped.inverse_transform(tokens), restored)
    mapped.set_params(warm_start=True).fit(blocks)
