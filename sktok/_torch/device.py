"""Where torch computes."""

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
