"""How long do `transform` and `inverse_transform` take for one window, and for a few?

It takes half a minute on 2 cores::

    python examples/benchmark_few_windows.py

It prints a table: ms for a call, the median of 200 calls, for windows of 250 samples
with one token for 10 samples. ONNX Runtime computes with the models of `to_onnx`.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

from sktok import make_paper_tokenizer, make_tokenizer
from sktok.datasets import load_ecg
from sktok.export import to_onnx

N_CALLS = 200
NUMBERS = (1, 10, 100, 256)  # of windows
MAX_STEPS = 50  # of training; the times do not depend on it


def median_ms(call):
    seconds = []
    for _ in range(N_CALLS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return 1000 * np.median(seconds)


def onnx_calls(tokenizer):
    """The two directions by ONNX Runtime, as functions of one array."""
    sessions = []
    with tempfile.TemporaryDirectory() as folder:
        to_onnx(tokenizer, Path(folder, "models"))
        for name in ("encoder", "decoder"):
            path = Path(folder, "models", f"{name}.onnx")
            sessions.append(onnxruntime.InferenceSession(path))
    encoder, decoder = sessions
    return (
        lambda X: encoder.run(None, {"windows": X.astype(np.float32)}),
        lambda tokens: decoder.run(None, {"tokens": tokens}),
    )


def main():
    X = load_ecg().data
    print(f"| ms for windows: | {' | '.join(map(str, NUMBERS))} |")
    print(f"|---|{'---|' * len(NUMBERS)}")
    for make in (make_tokenizer, make_paper_tokenizer):
        tokenizer = make(max_steps=MAX_STEPS, random_state=0).fit(X)
        encode, decode = onnx_calls(tokenizer)
        calls = {
            "transform": (tokenizer.transform, X),
            "ONNX Runtime": (encode, X),
            "inverse_transform": (tokenizer.inverse_transform, tokenizer.transform(X)),
            "ONNX Runtime, inverse": (decode, tokenizer.transform(X)),
        }
        for name, (call, array) in calls.items():
            figures = []
            for n_windows in NUMBERS:
                few = array[:n_windows]
                call(few)
                figures.append(f"{median_ms(lambda f=call, x=few: f(x)):.2f}")
            print(f"| `{make.__name__}`, {name} | {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    main()
