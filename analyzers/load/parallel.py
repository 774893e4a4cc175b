"""Decoding by several processes: this one reads and decompresses, whoever is free decodes the next fragment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import IO, Final, cast

import msgspec

from mmprof.analyzers.load import columns as k
from mmprof.analyzers.load.layout import Fragment
from mmprof.analyzers.load.worker import LENGTH_BYTES, Decoded, Finished, Manner, Message, pack

Share = tuple[k.Tables, list[Decoded]]

_PIPE_BYTES: Final = 1 << 20
_MESSAGE: Final = msgspec.msgpack.Decoder(Message)
_WORKER: Final = (
    "import sys; sys.path[:] = {path!r}; from mmprof.analyzers.load.worker import main; main()"
)


class Decoders:
    """Processes that decode fragments.

    They are started before there is anything to decode: that takes as long as it takes to find the first fragment.
    """

    def __init__(self, count: int) -> None:
        self._stack = ExitStack()
        self._processes = [self._stack.enter_context(_start()) for _ in range(count)]

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()  # nothing is lost: those that are done have sent all
        self._stack.close()

    def decode(self, fragments: Iterable[Fragment], manner: Manner) -> list[Share] | None:
        """What each process decoded; None if one of them did not finish.

        Raises:
            MmprofError: Reading the fragments did.
        """
        shared = _Shared(fragments)
        with ThreadPoolExecutor(2 * len(self._processes)) as pool:
            received = [pool.submit(_receive, process) for process in self._processes]
            for sent in [pool.submit(_send, p, shared, manner) for p in self._processes]:
                sent.result()
            shares = [r.result() for r in received]
        return None if None in shares else cast("list[Share]", shares)


class _Shared:
    """An iterator that several threads take from."""

    def __init__(self, fragments: Iterable[Fragment]) -> None:
        self._fragments, self._lock = iter(fragments), Lock()

    def __iter__(self) -> Iterator[Fragment]:
        return self

    def __next__(self) -> Fragment:
        with self._lock:
            return next(self._fragments)


def _start() -> subprocess.Popen[bytes]:
    # without `site`, which takes as long as all that the process imports; an editable install may need it to find mmprof
    path = [*sys.path, str(Path(__file__).parents[3])]
    # what a process says of its own failure would only repeat what reading without it says next
    return subprocess.Popen(  # noqa: S603  (this interpreter, our own code)
        [sys.executable, "-S", "-c", _WORKER.format(path=path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pipesize=_PIPE_BYTES,
    )


def _send(process: subprocess.Popen[bytes], fragments: Iterable[Fragment], manner: Manner) -> None:
    """Give a process fragments until there are no more, or until it is gone."""
    assert process.stdin is not None
    try:
        with process.stdin as pipe:
            for fragment in fragments:
                pipe.write(pack(fragment, manner))
                pipe.write(fragment.text)
    except BrokenPipeError:
        return  # its end is missing in what it sent


def _receive(process: subprocess.Popen[bytes]) -> Share | None:
    """What a process decoded; None if it did not finish."""
    assert process.stdout is not None
    messages = list(_messages(process.stdout))
    decoded = [m for m in messages if isinstance(m, Decoded)]
    return next(((m.tables, decoded) for m in messages if isinstance(m, Finished)), None)


def _messages(pipe: IO[bytes]) -> Iterator[Message]:
    while len(length := pipe.read(LENGTH_BYTES)) == LENGTH_BYTES:
        yield _MESSAGE.decode(pipe.read(int.from_bytes(length, "little")))
