"""Formats of WFDB signal files, signal(5): bytes to integers.

References
----------
G. B. Moody, "WFDB Applications Guide", signal(5).
"""

from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np

MOST_SAMPLES_PER_BYTE = 8192  # of FLAC: 8 × 65,535 samples in 64 bytes or more


def _as_integers(blocks, dtype, zero=0):
    samples = blocks.reshape(-1).view(dtype)
    return samples.astype(np.int32) - zero if zero else samples


def _unpack_24(blocks):
    """(blocks, 3) bytes -> (blocks,) samples; the lowest byte is the first."""
    padded = np.zeros((len(blocks), 4), np.uint8)
    padded[:, 1:] = blocks
    return padded.reshape(-1).view("<i4") >> 8


def _unpack_212(blocks):
    """(blocks, 3) bytes -> (2 * blocks,) samples of 12 bits."""
    low, middle, high = blocks.T.astype(np.int16)
    pairs = [low | (middle & 0x0F) << 8, high | (middle & 0xF0) << 4]
    return _extend_sign(np.stack(pairs, axis=1).reshape(-1), 12)


def _unpack_310(blocks):
    """(blocks, 4) bytes, two words -> (3 * blocks,) samples of 10 bits."""
    first, second = blocks.reshape(-1).view("<u2").reshape(-1, 2).T.astype(np.int16)
    words = [first >> 1, second >> 1, first >> 11 & 0x1F | second >> 6 & 0x3E0]
    return _extend_sign(np.stack(words, axis=1).reshape(-1), 10)


def _unpack_311(blocks):
    """(blocks, 4) bytes, one word -> (3 * blocks,) samples of 10 bits."""
    word = blocks.reshape(-1).view("<u4").astype(np.int32)
    return _extend_sign(
        np.stack([word, word >> 10, word >> 20], axis=1).reshape(-1), 10
    )


def _extend_sign(samples, n_bits):
    """The lowest bits of integers as two's complement."""
    sign = 1 << (n_bits - 1)
    return ((samples & (2 * sign - 1)) ^ sign) - sign


class _Format(NamedTuple):
    n_bytes: int  # in a block
    n_samples: int  # in a block
    unpack: Callable  # (blocks, n_bytes) bytes -> (blocks * n_samples,) integers


FORMATS = {
    8: _Format(1, 1, partial(_as_integers, dtype="i1")),  # differences
    16: _Format(2, 1, partial(_as_integers, dtype="<i2")),
    24: _Format(3, 1, _unpack_24),
    32: _Format(4, 1, partial(_as_integers, dtype="<i4")),
    61: _Format(2, 1, partial(_as_integers, dtype=">i2")),
    80: _Format(1, 1, partial(_as_integers, dtype="u1", zero=2**7)),
    160: _Format(2, 1, partial(_as_integers, dtype="<u2", zero=2**15)),
    212: _Format(3, 2, _unpack_212),
    310: _Format(4, 3, _unpack_310),
    311: _Format(4, 3, _unpack_311),
}
FLAC = {508: 8, 516: 16, 524: 24}  # bits of a sample
_SUBTYPES = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}  # of soundfile
INVALID = {
    **{80: -(2**7), 212: -(2**11), 310: -(2**9), 311: -(2**9)},
    **{16: -(2**15), 61: -(2**15), 160: -(2**15), 24: -(2**23), 32: -(2**31)},
    **{format: -(2 ** (n_bits - 1)) for format, n_bits in FLAC.items()},
}


def count_samples(format, n_bytes):
    """Number of samples in a signal file of `n_bytes`; the last block may be cut."""
    if format == 310:
        n_bytes -= n_bytes % 2  # two words of two bytes
    layout = FORMATS[format]
    return max(0, n_bytes) * layout.n_samples // layout.n_bytes


def read_blocks(file, leads, n_frames):
    """The integers of each lead of a signal file that is not compressed."""
    layout, widths = FORMATS[leads[0].format], [lead.per_frame for lead in leads]
    n_samples = n_frames * sum(widths)
    n_bytes = -(-n_samples // layout.n_samples) * layout.n_bytes
    content = np.fromfile(file, np.uint8, n_bytes, offset=leads[0].offset)
    if len(content) < n_bytes:
        content = np.pad(content, (0, n_bytes - len(content)))
    samples = layout.unpack(content.reshape(-1, layout.n_bytes))[:n_samples]
    frames = samples.reshape(n_frames, sum(widths))
    columns = np.split(frames, np.cumsum(widths)[:-1], axis=1)
    return [column.reshape(-1) for column in columns]


@contextmanager
def open_flac(file, leads):
    """A FLAC file, after checking that it has the leads of the header."""
    import soundfile

    try:
        with open(file, "rb") as stream:
            if stream.read(4) != b"fLaC":
                raise ValueError("it is no FLAC file")
        with soundfile.SoundFile(str(file)) as flac:
            n_bits = _SUBTYPES.get(flac.subtype, 64)
            if flac.channels != len(leads) or n_bits > FLAC[leads[0].format]:
                raise ValueError(f"it has {flac.channels} signals of {flac.subtype}")
            if len({lead.per_frame for lead in leads}) > 1:
                raise ValueError("its signals differ in samples per frame")
            yield flac
    except (ValueError, RuntimeError) as error:  # soundfile raises RuntimeError
        raise ValueError(
            f"{file} does not have the {len(leads)} signals in the format "
            f"{leads[0].format} that its header describes ({error}): a file is "
            "truncated or damaged, copy both again."
        ) from error


def read_flac(file, leads, n_frames):
    """The integers of each lead of a FLAC file."""
    n_samples = n_frames * leads[0].per_frame
    options = {"dtype": "int32", "always_2d": True}
    with open_flac(file, leads) as flac:
        flac.seek(leads[0].offset)
        # soundfile fails on blocks of more than 2**24 samples
        blocks = flac.blocks(min(n_samples, 2**20), frames=n_samples, **options)
        samples = np.concatenate([np.empty((0, len(leads)), np.int32), *blocks])
        if len(samples) < n_samples:
            raise ValueError(f"it has {len(samples)} of {n_samples} samples")
        samples >>= 32 - _SUBTYPES[flac.subtype]  # soundfile scales to 32 bits
    return list(samples.T)
