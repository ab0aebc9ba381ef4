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
_FEW_VALUES = 2**14  # which torch does not share among threads


def mean_by_window(values):
    """Mean of (windows, …), of each window first."""
    return values.flatten(1).mean(1).mean()


def sum_of_outer(left, right):
    """``left.T @ right``, which sums over rows, in a fixed order."""
    # Threads share the pieces; a single one would be divided among them.
    n_pieces = max(2, -(-len(left) // _PIECE))
    missing = n_pieces * _PIECE - len(left)
    if missing:
        left, right = (F.pad(x, (0, 0, 0, missing)) for x in (left, right))
    left, right = (x.unflatten(0, (n_pieces, _PIECE)) for x in (left, right))
    return torch.bmm(left.transpose(1, 2), right).sum(0)


def product(rows, weight, addend=None):
    """``rows @ weight``, plus `addend`, with a gradient that sums in a fixed order."""
    if torch.is_grad_enabled():
        return _Product.apply(rows, weight, addend)
    return rows @ weight if addend is None else addend.addmm_(rows, weight)  # in place


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows, weight, addend):
        ctx.save_for_backward(rows, weight)
        return rows @ weight if addend is None else torch.addmm(addend, rows, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, d_output):
        rows, weight = ctx.saved_tensors
        d_rows = d_output @ weight.T if ctx.needs_input_grad[0] else None
        d_addend = d_output if ctx.needs_input_grad[2] else None
        return d_rows, sum_of_outer(rows, d_output), d_addend


def convolve(rows, n_blocks, image_kernel):
    """Convolve each channel along the blocks of a window, with zeros around them.

    Parameters
    ----------
    rows : torch.Tensor of shape (windows * blocks, channels)
        Blocks of all windows.

    n_blocks : int
        Number of blocks in a window.

    image_kernel : torch.Tensor of shape (channels, 1, 1, kernel_size)
        One kernel for each channel, as from `as_image_kernel`; `kernel_size` is odd.

    Returns
    -------
    torch.Tensor of shape (windows * blocks, channels)
        The result, without a gradient: see `convolution_gradients`.
    """
    # torch convolves images faster: a window is an image of one row, channels last.
    n_channels, _, _, kernel_size = image_kernel.shape
    # (windows * blocks, channels) -> (windows, channels, 1, blocks): nothing moves.
    image = rows.view(-1, 1, n_blocks, n_channels).permute(0, 3, 1, 2)
    padding = (0, kernel_size // 2)
    image = torch.conv2d(image, image_kernel, None, 1, padding, 1, n_channels)
    return image.permute(0, 2, 3, 1).reshape(-1, n_channels)


def as_image_kernel(kernel):
    """Kernels (kernel_size, channels) as `convolve` takes them."""
    return kernel.T.contiguous()[:, None, None]


def convolution_gradients(d_output, rows, n_blocks, kernel):
    """Gradients of `rows` and `kernel` of `convolve`, summed in a fixed order."""
    x, d = (r.unflatten(0, (-1, n_blocks)) for r in (rows, d_output))
    radius = len(kernel) // 2
    d_kernel = []
    for shift in range(-radius, radius + 1):
        # Output block b read input block b + shift.
        first, last = max(0, -shift), max(0, n_blocks - max(0, shift))
        pair = x[:, first + shift : last + shift] * d[:, first:last]
        d_kernel.append(pair.sum((0, 1)))
    d_rows = convolve(d_output, n_blocks, as_image_kernel(kernel.flip(0)))
    return d_rows, torch.stack(d_kernel)


def in_whole_vectors(function, values):
    """An elementwise function such as `torch.tanh`, with the same bits anywhere.

    torch computes such functions with vector instructions, and rounds the numbers that
    remain at the end, or at the end of the share of a thread, in another way.
    """
    if torch.compiler.is_compiling():  # for ONNX, where batches have any size
        return function(values)
    flat = F.pad(values.flatten(), (0, -values.numel() % 64))
    parts = [function(part) for part in flat.split(_FEW_VALUES)]
    return torch.cat(parts)[: values.numel()].view(values.shape)


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
