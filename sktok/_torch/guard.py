"""Computation that does not depend on what the caller has set in torch.

Autocast, the modes of gradients and the default device belong to a thread: they are set
here, and the caller has them back afterwards. The precision of float32 belongs to the
process: it is exact as long as any thread computes here. The default dtype belongs to
the process too, and is not changed, except while a network is built; nothing here
creates tensors without a dtype.
"""

from contextlib import ExitStack, contextmanager

import torch

from sktok._torch.threads import fork_safe_lock

_DEVICE_TYPES = "cpu", "cuda", "mps"
_lock = fork_safe_lock()
_generator_lock = fork_safe_lock()
_inside = set()  # who computes
_settings_before = ExitStack()


@contextmanager
def unaffected(*, with_gradients=False, exact=True):
    """Compute in float32 on the CPU by default, without autocast.

    Parameters
    ----------
    with_gradients : bool, default=False
        Whether gradients can be computed.

    exact : bool, default=True
        Whether float32 is exact. torch refuses to tell the precision meanwhile.
    """
    with ExitStack() as stack:
        for kind in _DEVICE_TYPES:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        # Tensors of the inference mode cannot be trained later, or compared.
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(with_gradients))
        if exact:
            stack.enter_context(_exact_float32())
        yield


@contextmanager
def _exact_float32():
    """Keep torch from rounding float32 to fewer bits.

    TF32, which is the default in convolutions on a GPU, has 10 bits of mantissa, and
    bfloat16 has 7: tokens would differ.
    """
    caller = object()
    try:
        with _lock:
            if not _inside:
                _set_exact()
            _inside.add(caller)
        yield
    finally:  # also if an interrupt came before the end of the lock
        with _lock:
            _inside.discard(caller)
            if not _inside:
                _settings_before.close()


def _set_exact():
    """Make float32 exact, and let `_settings_before` know what was set."""
    cuda, cudnn, mkldnn = (
        getattr(torch.backends, name) for name in ("cuda", "cudnn", "mkldnn")
    )
    exact = []
    if torch.cuda.is_available():
        # cuDNN would choose the fastest algorithm of the moment, and its rounding.
        exact.append((cudnn, "benchmark", False))
    if hasattr(mkldnn, "matmul"):  # torch 2.9, which refuses to mix old flags and new
        places = [mkldnn.conv, mkldnn.rnn, mkldnn.matmul]
        places = [p for p in places if p.fp32_precision not in ("none", "ieee")]
        if torch.cuda.is_available():
            places += [cudnn.conv, cudnn.rnn, cuda.matmul]
        exact += [(place, "fp32_precision", "ieee") for place in places]
    elif torch.cuda.is_available():
        exact += [(place, "allow_tf32", False) for place in (cudnn, cuda.matmul)]
    for place, name, _ in exact:  # all before any changes
        _settings_before.callback(_restore, place, name, getattr(place, name))
    for setting in exact:
        setattr(*setting)


def _restore(place, name, value):
    if name == "fp32_precision":
        setattr(place, name, "none")  # inherits the value, if it did before
    if getattr(place, name) != value:
        setattr(place, name, value)


@contextmanager
def seeded(seed):
    """Draw the weights of layers in float32, from a seed.

    torch initialises layers from its global generator, in its default dtype. Both are
    restored afterwards, and only one thread at a time may use them.
    """
    with _generator_lock, torch.random.fork_rng(devices=[]):
        dtype = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            torch.default_generator.manual_seed(seed)
            yield
        finally:
            torch.set_default_dtype(dtype)
