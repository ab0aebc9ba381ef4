"""Between numpy and torch."""

import numpy as np
import torch


def as_tensor(array):
    """A tensor that shares the memory of an array, if torch may write to it.

    A tensor of a read-only array, such as a memory map, would be undefined behaviour.
    """
    return torch.from_numpy(np.require(array, requirements="CW"))


def through_numpy(function, device):
    """A function of arrays as one of tensors on a device."""
    return lambda x: as_tensor(function(x.cpu().numpy())).to(device)


def as_blocks(X):
    """Blocks in rows of any shape as (windows, blocks, block_size).

    Rows of one block, (windows, n), are windows of one block. The leads of a window
    become windows: a network never reads across the boundary between two leads.
    """
    return X[:, np.newaxis] if X.ndim == 2 else X.reshape(-1, *X.shape[-2:])
