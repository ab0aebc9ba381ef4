"""Where torch computes, and with which precision."""

from contextlib import contextmanager

import torch


def resolve_device(device):
    """The torch device that `device` names; "auto" prefers an accelerator."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        device = next(name for name, there in available.items() if there)
    if not available[device]:
        raise ValueError(
            f"device={device!r} is not available to torch here: use 'auto' or 'cpu'."
        )
    return torch.device(device)


@contextmanager
def exact_float32(device):
    """Keep a GPU from rounding float32 to TF32, as its convolutions do by default.

    TF32 has 10 bits of mantissa, and tokens would differ from those of the CPU.
    """
    if device.type != "cuda":
        yield
        return
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    if hasattr(cudnn, "conv"):  # torch 2.9; it refuses to mix the old flags with these
        name, exact = "fp32_precision", "ieee"
        places = cudnn.conv, cudnn.rnn, cuda.matmul
    else:
        name, exact, places = "allow_tf32", False, (cudnn, cuda.matmul)
    before = [getattr(place, name) for place in places]
    try:
        for place in places:
            setattr(place, name, exact)
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            setattr(place, name, value)
