"""The format of compressed tokens: a header, chunks that are independent, an index.

All numbers are little-endian. Each part has a checksum, so damage is found before
anything is decoded, and the index allows to decode some chunks only. The checksum of
the tokens finds decoders that differ from the encoder.

======  ==============================================================================
part    content
======  ==============================================================================
header  magic bytes, version of the format, vocabulary size, tokens per window, the
        fingerprints of the coder and of the tokenizer (16 bytes each), number of bytes
        of metadata, CRC-32 of these and the metadata, metadata
chunks  the words of an entropy coder (4 bytes each), one chunk after the other
index   of each chunk: number of windows, number of bytes, CRC-32 of the bytes, CRC-32
        of the tokens (4 bytes each)
end     number of chunks, CRC-32 of header, index and this number, magic bytes
======  ==============================================================================
"""

import struct
import zlib
from typing import NamedTuple

import numpy as np

_MAGIC = b"\x93SKTOKEN"  # not text, as in files of numpy
_VERSION = 1
_HEADER = struct.Struct("<8sHII16s16sII")
_END = struct.Struct("<QI8s")
_FIELDS = "n_windows", "n_bytes", "checksum", "tokens_checksum"
_ENTRY = np.dtype([(name, "<u4") for name in _FIELDS])
_NO_FINGERPRINT = bytes(16)
LONGEST_CHUNK = 2**17  # tokens; the integers of the network stay exact


class Header(NamedTuple):
    """What compressed tokens say about themselves."""

    n_tokens: int
    n_tokens_per_window: int
    coder: str  # the first 32 hexadecimal digits of its fingerprint
    tokenizer: str  # the same; empty if it is not known

    @classmethod
    def of(cls, n_tokens, n_tokens_per_window, coder, tokenizer):
        """A header with shortened fingerprints."""
        return cls(n_tokens, n_tokens_per_window, coder[:32], tokenizer[:32])

    def difference(self, expected):
        """The first part that differs from another header, as text."""
        names = {
            "n_tokens": "size of the vocabulary",
            "n_tokens_per_window": "number of tokens per window",
            "tokenizer": "fingerprint of the tokenizer",
            "coder": "fingerprint of the coder",
        }
        for part, name in names.items():
            found, own = getattr(self, part), getattr(expected, part)
            if found != own:
                return f"the {name} is {found or 'unknown'}, expected {own or 'none'}"
        return ""

    def to_bytes(self, metadata):
        """The bytes of the header and of metadata."""
        sizes = self.n_tokens, self.n_tokens_per_window
        prints = bytes.fromhex(self.coder), bytes.fromhex(self.tokenizer)
        fields = _MAGIC, _VERSION, *sizes, *prints, len(metadata)
        content = _HEADER.pack(*fields, 0)[:-4]
        checksum = zlib.crc32(content + metadata)
        return content + checksum.to_bytes(4, "little") + metadata


def pack(header, chunks, metadata=b""):
    """Yield the bytes of compressed tokens, part by part.

    Parameters
    ----------
    header : Header
        What the tokens are.

    chunks : iterable of (ndarray of int64, bytes)
        The windows of tokens, and the bytes, of each chunk.

    metadata : bytes, default=b""
        Anything else that is known of the tokens.

    Yields
    ------
    bytes
        All of them joined are the compressed tokens.
    """
    first, entries = header.to_bytes(metadata), []
    yield first
    for windows, content in chunks:
        checksums = zlib.crc32(content), _tokens_checksum(windows)
        entries.append((len(windows), len(content), *checksums))
        yield content
    index = np.array(entries, _ENTRY).tobytes()
    index += len(entries).to_bytes(8, "little")
    checksum = zlib.crc32(first + index)
    yield index + checksum.to_bytes(4, "little") + _MAGIC


class Packed:
    """Compressed tokens whose header and index are whole. Inverse of `pack`.

    Parameters
    ----------
    data : bytes-like
        Compressed tokens.

    Attributes
    ----------
    header : Header
        What the tokens are.

    metadata : bytes
        The metadata given to `pack`.

    n_windows : ndarray of int64, shape (n_chunks,)
        Number of windows in each chunk.

    Raises
    ------
    ValueError
        If the data are anything else, incomplete or damaged, or of a later version.
    """

    def __init__(self, data):
        self._data = memoryview(data).cast("B")
        self.header, self.metadata = self._read_header()
        self._first = _HEADER.size + len(self.metadata)  # byte of the first chunk
        index = self._read_index()
        self.n_windows = index["n_windows"].astype(np.int64)
        self._checksums = index["checksum"]
        self._tokens_checksums = index["tokens_checksum"]
        stops = self._first + index["n_bytes"].cumsum(dtype=np.int64)
        self._limits = np.r_[self._first, stops]
        n_bytes = len(self._data) - _END.size - index.nbytes
        _require(self._limits[-1] == n_bytes, "chunks are missing or of another size")
        # A wrong number would take any amount of memory.
        n_tokens = self.n_windows * self.header.n_tokens_per_window
        is_possible = (n_tokens > 0) & (n_tokens <= LONGEST_CHUNK)
        _require(is_possible.all(), "a chunk has an impossible number of windows")
        _require(not (index["n_bytes"] % 4).any(), "a chunk has half a word")

    def __len__(self):
        return len(self.n_windows)

    def chunk(self, number):
        """The bytes of a chunk; raise if they are damaged."""
        start, stop = self._limits[number : number + 2]
        content = self._data[start:stop]
        is_whole = zlib.crc32(content) == self._checksums[number]
        _require(is_whole, f"chunk {number} has another checksum")
        return bytes(content)

    def require_tokens(self, number, tokens):
        """Raise unless these are the tokens of a chunk."""
        if _tokens_checksum(tokens) != self._tokens_checksums[number]:
            raise not_the_tokens(f"chunk {number} has another checksum")

    def _read_header(self):
        is_long_enough = len(self._data) >= _HEADER.size + _END.size
        if not is_long_enough or self._data[:8] != _MAGIC:
            raise ValueError(
                "The data are not compressed tokens, or only their beginning: expected "
                "the bytes that TokenCoder.compress returned."
            )
        first = self._data[: _HEADER.size]
        _, version, *sizes, coder, tokenizer, length, checksum = _HEADER.unpack(first)
        if version != _VERSION:
            raise ValueError(
                f"The data have version {version} of the format, expected {_VERSION}: "
                "use the release of sktok that wrote them."
            )
        metadata = bytes(self._data[_HEADER.size :][:length])
        is_whole = zlib.crc32(bytes(first[:-4]) + metadata) == checksum
        _require(is_whole, "the header has another checksum")
        tokenizer = "" if tokenizer == _NO_FINGERPRINT else tokenizer.hex()
        return Header(*sizes, coder.hex(), tokenizer), metadata

    def _read_index(self):
        end = self._data[-_END.size :]
        n_chunks, checksum, magic = _END.unpack(end)
        _require(magic == _MAGIC, "their end is missing")
        start = len(self._data) - _END.size - n_chunks * _ENTRY.itemsize
        _require(start >= self._first, "chunks are missing")
        index = self._data[start : -_END.size]
        content = bytes(self._data[: self._first]) + bytes(index) + bytes(end[:8])
        _require(zlib.crc32(content) == checksum, "the index has another checksum")
        return np.frombuffer(index, _ENTRY)


def not_the_tokens(fault):
    """The error of bytes that are whole, but are decoded differently."""
    return ValueError(
        "The decoded tokens do not match those that were compressed "
        f"({fault}): install the releases of sktok and constriction that compressed "
        "them."
    )


def _tokens_checksum(tokens):
    return zlib.crc32(tokens.astype("<u4").tobytes())


def _require(condition, fault):
    if not condition:
        raise ValueError(
            f"The compressed tokens are incomplete or damaged ({fault}): restore them "
            "from a copy."
        )
