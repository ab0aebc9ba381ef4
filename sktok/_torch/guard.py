"""Computation that does not depend on what the caller has set in torch.

Autocast, the modes of gradients and the default device belong to a thread: they are set
here, and the caller has them back afterwards. The precision of float32 belongs to the
process: it is exact as long as any thread computes here. The default dtype belongs to
the process too, and is not changed, except while a network is built; nothing here
creates tensors without a dtype.
"""

import os
from contextlib import ExitStack, contextmanager

import torch

from sktok._torch.threads import fork_safe_lock

_DEVICE_TYPES = "cpu", "cuda", "mps"
_lock = fork_safe_lock()
_generator_lock = fork_safe_lock()
_inside = set()  # who computes
_before = {}  # (place, name) -> what was set before anyone computed


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
        # First the way back, then the change: an interrupt may come in between.
        stack.callback(torch.set_grad_enabled, torch.is_grad_enabled())
        torch.set_grad_enabled(with_gradients)
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
            _set_exact()  # another thread may have changed it since
            _inside.add(caller)
        yield
    finally:  # also if an interrupt came before the end of the lock
        with _lock:
            _inside.discard(caller)
            if not _inside:
                _restore()


def _set_exact():
    """Make float32 exact, and keep what was set in `_before`."""
    backends = torch.backends
    mkldnn, cudnn = backends.mkldnn, backends.cudnn
    settings = [
        ([place], "fp32_precision", "ieee", ("ieee", "none"))
        for place in (mkldnn.conv, mkldnn.rnn, mkldnn.matmul)
    ]
    if torch.cuda.is_available():
        # torch refuses to tell its old flags if only some of these are exact.
        places = [cudnn.conv, cudnn.rnn, backends.cuda.matmul]
        settings.append((places, "fp32_precision", "ieee", ("ieee",)))
        # cuDNN would choose the fastest algorithm of the moment, and its rounding.
        settings.append(([cudnn], "benchmark", False, (False,)))
    for places, name, value, exact in settings:
        before = [getattr(place, name) for place in places]
        if not set(before) <= set(exact):
            for place, setting in zip(places, before, strict=True):
                if setting not in exact:
                    _before[place, name] = setting
                _before.setdefault((place, name), setting)
                setattr(place, name, value)


def _restore():
    """Set what `_set_exact` found."""
    while _before:
        (place, name), value = _before.popitem()
        if name == "fp32_precision":
            setattr(place, name, "none")  # inherits the value, if it did before
        if getattr(place, name) != value:
            setattr(place, name, value)


def _forget_other_threads():
    """Do in a fork what the threads that it lacks would have done."""
    _inside.clear()
    _restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)


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
