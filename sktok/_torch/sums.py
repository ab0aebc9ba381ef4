"""Operations that sum in a fixed order, with any number of threads.

torch divides a long sum among its threads, so that another number of threads rounds
differently; after some thousand steps, training then ends at another network. Here
sums over the rows of a batch are taken over fixed pieces, which are added in order.
Rows that are padded to multiples of 64 bytes do the same for inference: the order of
the sums in a matrix product depends on where a row begins in memory.
"""

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

_PIECE = 64  # rows that are summed at once


def mean_by_window(values):
    """Mean of (windows, …), of each window first."""
    return values.flatten(1).mean(1).mean()


def product(rows, weight):
    """``rows @ weight``; the gradient of `weight` sums over rows in a fixed order."""
    if torch.is_grad_enabled():
        return _Product.apply(rows, weight)
    return rows @ weight


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows, weight):
        ctx.save_for_backward(rows, weight)
        return rows @ weight

    @staticmethod
    @once_differentiable
    def backward(ctx, d_output):
        rows, weight = ctx.saved_tensors
        n_whole = len(rows) // _PIECE * _PIECE
        rest = rows[n_whole:].T @ d_output[n_whole:]
        left, right = (x[:n_whole].unflatten(0, (-1, _PIECE)) for x in (rows, d_output))
        d_weight = torch.bmm(left.transpose(1, 2), right).sum(0) + rest
        d_rows = d_output @ weight.T if ctx.needs_input_grad[0] else None
        return d_rows, d_weight


def convolve(rows, n_blocks, kernel):
    """Convolve each channel along the blocks of a window, with zeros around them.

    Parameters
    ----------
    rows : torch.Tensor of shape (windows * blocks, channels)
        Blocks of all windows.

    n_blocks : int
        Number of blocks in a window.

    kernel : torch.Tensor of shape (kernel_size, channels)
        One kernel for each channel; `kernel_size` is odd.

    Returns
    -------
    torch.Tensor of shape (windows * blocks, channels)
        The gradient of `kernel` sums over rows in a fixed order.
    """
    if torch.is_grad_enabled():
        return _Convolution.apply(rows, n_blocks, kernel)
    return _convolve(rows, n_blocks, kernel)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows, n_blocks, kernel):
        ctx.save_for_backward(rows, kernel)
        ctx.n_blocks = n_blocks
        return _convolve(rows, n_blocks, kernel)

    @staticmethod
    @once_differentiable
    def backward(ctx, d_output):
        rows, kernel = ctx.saved_tensors
        d_rows = _convolve(d_output, ctx.n_blocks, kernel.flip(0))
        x, d = (r.unflatten(0, (-1, ctx.n_blocks)) for r in (rows, d_output))
        radius = len(kernel) // 2
        d_kernel = []
        for shift in range(-radius, radius + 1):
            # Output block b saw input block b + shift.
            first, last = max(0, -shift), max(0, ctx.n_blocks - max(0, shift))
            pair = x[:, first + shift : last + shift] * d[:, first:last]
            d_kernel.append(pair.sum((0, 1)))
        return d_rows, None, torch.stack(d_kernel)


def _convolve(rows, n_blocks, kernel):
    # torch convolves images faster: a window is an image of one row, channels last.
    # (windows * blocks, channels) -> (windows, channels, 1, blocks): nothing moves.
    image = rows.unflatten(0, (-1, 1, n_blocks)).permute(0, 3, 1, 2)
    padding = (0, len(kernel) // 2)
    weight = kernel.T[:, None, None]
    image = F.conv2d(image, weight, padding=padding, groups=rows.shape[1])
    return image.permute(0, 2, 3, 1).flatten(0, 2)


def with_ones(rows):
    """Rows padded with ones to 64 bytes; the first one multiplies the bias."""
    return F.pad(rows, (0, 16 - rows.shape[1] % 16), value=1.0)


def with_bias(weight, bias):
    """Weight (n_out, n_in) and bias (n_out,) for the rows of `with_ones`."""
    return aligned(torch.cat([weight, bias[:, None]], dim=1))


def aligned(rows):
    """Rows padded with zeros to multiples of 64 bytes."""
    padding = -rows.shape[1] % 16
    return F.pad(rows, (0, padding)) if padding else rows
