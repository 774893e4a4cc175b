"""Bytes of a trace from a file or standard input, decompressed by what they are, not by what the file is called."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Protocol, cast

from isal import isal_zlib

from mmprof.analyzers.errors import MmprofError

_READ_BYTES: Final = 1 << 18
# What is decompressed at once: at most 64 MB of deflate's 1032:1, or of zstd's 128 KB for each run of 4 bytes.
_GZIP_STEP_BYTES: Final = 1 << 16
_ZSTD_STEP_BYTES: Final = 1 << 11
# Real traces compress 8:1 to 40:1; one event over and over gives 290:1, and deflate's limit is 1032:1.
_BOMB_RATIO: Final = 200
_BOMB_FLOOR_BYTES: Final = 256 << 20
_GZIP: Final = b"\x1f\x8b"
_GZIP_DAMAGE: Final = cast("type[Exception]", isal_zlib.error)  # its stub has it as an instance
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


@dataclass
class Source:
    """A readable trace: iterate for its decompressed bytes; afterwards the other fields are known.

    Attributes:
        name: The path, or `-` for standard input.
        read_bytes: Bytes read from the file so far.
        plain_bytes: Bytes given out so far.
        cut: Why the data ended before its end, if it did.
    """

    name: str
    read_bytes: int = 0
    plain_bytes: int = 0
    cut: str = ""
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    @property
    def sha256(self) -> str:
        """Hash of the file's bytes, as far as it was read."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        with _open(self.name) as file:
            first = self._read(file)
            if not first:
                raise empty(self.name, found="0 bytes")
            for data in self._decompressed(first, file):
                self.plain_bytes += len(data)
                self._refuse_bomb()
                yield data

    def _raw(self, first: bytes, file: IO[bytes]) -> Iterator[bytes]:
        data = first
        while data:
            self.read_bytes += len(data)
            self._digest.update(data)
            yield data
            data = self._read(file)

    def _read(self, file: IO[bytes]) -> bytes:
        try:
            return file.read(_READ_BYTES)
        except OSError as error:
            raise unreadable(self.name, error) from error

    def _decompressed(self, first: bytes, file: IO[bytes]) -> Iterator[bytes]:
        raw = self._raw(first, file)
        if first.startswith(_GZIP):
            steps = _steps(raw, _GZIP_STEP_BYTES)
            return self._members(steps, lambda: isal_zlib.decompressobj(31), _GZIP_DAMAGE)
        if first.startswith(_ZSTD):
            import zstandard  # noqa: PLC0415  (20 ms that only a zstd file should pay)

            steps = _steps(raw, _ZSTD_STEP_BYTES)
            return self._members(
                steps, lambda: zstandard.ZstdDecompressor().decompressobj(), zstandard.ZstdError
            )
        return raw

    def _members(
        self, raw: Iterator[bytes], make: Callable[[], _Decompressor], damage: type[Exception]
    ) -> Iterator[bytes]:
        """Decompress one member (or frame) after the other; stop at damage and say so in `cut`."""
        member, starts_with = make(), b""
        for data in raw:
            rest = data
            starts_with = starts_with or data[:1]
            while rest:
                if member.eof:
                    if not rest.startswith(starts_with):
                        rest = (
                            b""  # padding after the last member, which gzip and zstd ignore as well
                        )
                        continue
                    member = make()
                try:
                    plain = member.decompress(rest)
                except damage as error:
                    self.cut = f"the compressed data is damaged ({error})"
                    return
                if plain:
                    yield plain
                rest = member.unused_data if member.eof else b""
        if not member.eof:
            self.cut = "the compressed data ends before its end"

    def _refuse_bomb(self) -> None:
        if (
            self.plain_bytes > _BOMB_FLOOR_BYTES
            and self.plain_bytes > _BOMB_RATIO * self.read_bytes
        ):
            raise MmprofError(
                "MM-E006",
                f"{self.name} expands beyond any real trace; reading stopped",
                found=f"{self.read_bytes:,} bytes became more than {self.plain_bytes:,}",
                hint="check where the file comes from; decompress it yourself if you trust it",
            )


def _steps(raw: Iterator[bytes], size: int) -> Iterator[bytes]:
    for data in raw:
        for start in range(0, len(data), size):
            yield data[start : start + size]


def plain_size_hint(path: Path) -> int:
    """Roughly how many bytes the file holds decompressed: the length field of gzip, the size of anything else."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(2) != _GZIP or size < 18:
            return size
        file.seek(-4, 2)
        return max(int.from_bytes(file.read(4), "little"), size)


def _open(name: str) -> IO[bytes]:
    try:
        return open(0, "rb", closefd=False) if name == "-" else Path(name).open("rb")
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise unreadable(name, error) from error


def empty(name: str, *, found: str) -> MmprofError:
    """The error for an input without content."""
    hint = "record the trace again: the profiler was probably stopped before it exported"
    return MmprofError("MM-E002", f"{name} is empty", found=found, hint=hint)


def unreadable(name: str, error: OSError | ValueError) -> MmprofError:
    """The error for a path that cannot be opened or read."""
    if isinstance(error, FileNotFoundError):
        found = "no such file or directory"
    else:
        found = getattr(error, "strerror", None) or str(error)
    return MmprofError(
        "MM-E001", f"cannot read {name}", found=found, hint="check the path and its permissions"
    )
