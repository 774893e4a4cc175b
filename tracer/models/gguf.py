"""Reads GGUF files: what language models are shipped in, weights and vocabulary in one file.

Only what such a file of a Llama needs: float32 and the block formats Q4_1 and Q8_0. Source: docs/gguf.md of ggml-org/ggml.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

_MAGIC: Final = b"GGUF"
_NUMBERS: Final = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
_STRING, _ARRAY = 8, 9
_ALIGNMENT: Final = 32
"""Of the weights, where the file names no other."""


class Format(NamedTuple):
    """How weights are stored.

    Attributes:
        values: Weights in a block.
        bytes: Bytes of a block.
        read: The weights, [blocks, values], of blocks of bytes, [blocks, bytes].
    """

    values: int
    bytes: int
    read: Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Gguf:
    """What a file holds.

    Attributes:
        settings: Its settings by name: numbers, texts, lists of them.
        weights: Tensors by name, in float32.
    """

    settings: dict[str, Any]
    weights: dict[str, torch.Tensor]


class _Entry(NamedTuple):
    name: str
    shape: tuple[int, ...]
    format: int
    offset: int


def read_gguf(path: Path) -> Gguf:
    """Read a file.

    Raises:
        ValueError: It is no GGUF file, or holds weights in another format.
        OSError: It cannot be read.
    """
    content = path.read_bytes()
    if content[:4] != _MAGIC:
        raise ValueError(f"{path.name} is no GGUF file")
    cursor = _Cursor(content, at=8)
    tensors, settings = cursor.number("Q"), cursor.number("Q")
    found = {cursor.text(): cursor.value(cursor.number("I")) for _ in range(settings)}
    entries = [cursor.entry() for _ in range(tensors)]
    alignment = int(found.get("general.alignment", _ALIGNMENT))
    start = -(-cursor.at // alignment) * alignment
    data = bytearray(memoryview(content)[start:])
    return Gguf(found, {entry.name: _weights(data, entry) for entry in entries})


class _Cursor:
    """Reads one value after the other."""

    def __init__(self, content: bytes, at: int) -> None:
        self._content = content
        self.at = at

    def number(self, code: str) -> Any:
        (value,) = struct.unpack_from(f"<{code}", self._content, self.at)
        self.at += struct.calcsize(code)
        return value

    def text(self) -> str:
        length = self.number("Q")
        self.at += length
        return self._content[self.at - length : self.at].decode()

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            inner, count = self.number("I"), self.number("Q")
            return [self.value(inner) for _ in range(count)]
        return self.number(_NUMBERS[kind])

    def entry(self) -> _Entry:
        name = self.text()
        sides = [self.number("Q") for _ in range(self.number("I"))]
        # The file names the side first that is contiguous.
        return _Entry(name, tuple(reversed(sides)), self.number("I"), self.number("Q"))


def _weights(data: bytearray, entry: _Entry) -> torch.Tensor:
    if entry.format not in _FORMATS:
        raise ValueError(f"{entry.name} has the format {entry.format}, known: {sorted(_FORMATS)}")
    stored = _FORMATS[entry.format]
    blocks = torch.Size(entry.shape).numel() // stored.values
    raw = torch.frombuffer(
        data, dtype=torch.uint8, count=blocks * stored.bytes, offset=entry.offset
    )
    return stored.read(raw.view(blocks, stored.bytes)).reshape(entry.shape)


def _half(raw: torch.Tensor) -> torch.Tensor:
    return raw.contiguous().view(torch.float16).float()


def _float32(raw: torch.Tensor) -> torch.Tensor:
    return raw.contiguous().view(torch.float32)


def _q4_1(raw: torch.Tensor) -> torch.Tensor:
    """A scale, a smallest value, then 32 numbers of four bits: the low halves of the bytes first."""
    nibbles = torch.cat([raw[:, 4:] & 15, raw[:, 4:] >> 4], dim=1)
    return nibbles.float() * _half(raw[:, :2]) + _half(raw[:, 2:4])


def _q8_0(raw: torch.Tensor) -> torch.Tensor:
    """A scale, then 32 signed bytes."""
    return raw[:, 2:].contiguous().view(torch.int8).float() * _half(raw[:, :2])


_FORMATS: Final = {
    0: Format(1, 4, _float32),
    3: Format(32, 20, _q4_1),
    8: Format(32, 34, _q8_0),
}
