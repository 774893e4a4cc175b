"""The parent's side of a trial process: whatever becomes of it is an answer within a time limit."""

from __future__ import annotations

import math
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Final, TypeVar

import msgspec

from mmprof.analyzers.errors import MmprofError
from mmprof.tracer.verify_messages import Inapplicable, Raised, Reply, Request

_MODULE: Final = "mmprof.tracer.verify_worker"
_CHUNK: Final = 1 << 16
_LAST_S: Final = 10.0
"""Seconds that a process may take to end once it has closed its output."""
_NO_REPLY: Final = "the process answered something else than it was asked"
_REPLIES: Final[msgspec.json.Decoder[Reply]] = msgspec.json.Decoder(Reply)

R = TypeVar("R")


def never() -> float:
    """No deadline."""
    return math.inf


class TrialEndedError(Exception):
    """A trial is over: it raised, hung or died, or a lever does not apply.

    Attributes:
        reason: Why, in words.
        inapplicable: Whether a lever does not apply.
        timed_out: Whether there was no answer in time.
        late: Whether the time that ended was not the trial's own but all that there was.
        error: What to tell the user where the request itself was wrong; None otherwise.
    """

    def __init__(
        self,
        reason: str,
        *,
        inapplicable: bool = False,
        timed_out: bool = False,
        late: bool = False,
        error: MmprofError | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.inapplicable = inapplicable
        self.timed_out = timed_out
        self.late = late
        self.error = error


class TrialProcess:
    """A trial process, which ends with the context.

    Args:
        limit_s: Seconds that an answer may take.
        deadline: The instant of the monotonic clock by which any answer must be there.
    """

    def __init__(self, limit_s: float, deadline: Callable[[], float] = never) -> None:
        self._limit_s = limit_s
        self._deadline = deadline
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the context)
        self._process = subprocess.Popen(  # noqa: S603  (this interpreter, on a module of ours)
            [sys.executable, "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
        )
        self._unread = b""

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def ask(self, request: Request, answer: type[R], *, limit_s: float = math.inf) -> R:
        """Send a request, and wait for its answer.

        Args:
            request: What to do.
            answer: The type that an answer has where all went well.
            limit_s: Seconds that this answer may take, where it is less than what any may.

        Raises:
            TrialEndedError: There is no such answer.
        """
        self._send(msgspec.json.encode(request) + b"\n")
        reply = self._reply(min(limit_s, self._limit_s))
        if isinstance(reply, answer):
            return reply
        if isinstance(reply, Inapplicable):
            raise TrialEndedError(reply.reason, inapplicable=True)
        if not isinstance(reply, Raised):
            raise TrialEndedError(_NO_REPLY)
        told = MmprofError(reply.code, reply.reason, found=reply.found, hint=reply.hint)
        raise TrialEndedError(reply.reason, error=told if reply.code else None)

    def __enter__(self) -> TrialProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait()
        self._errors.close()

    def _send(self, line: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
        except BrokenPipeError:
            raise TrialEndedError(self._ending()) from None

    def _reply(self, limit_s: float) -> Reply:
        """What it says; a lever that forks answers twice, and one that writes where it should not, in no form."""
        try:
            return _REPLIES.decode(self._line(limit_s))
        except msgspec.MsgspecError:
            raise TrialEndedError(_NO_REPLY) from None

    def _line(self, limit_s: float) -> bytes:
        """The next line that the process writes."""
        own = time.monotonic() + limit_s
        while b"\n" not in self._unread:
            until, late = min(own, self._deadline()), self._deadline() < own
            if not self._readable(until):
                self._process.kill()
                self._process.wait()  # so that it is not taken to be alive
                reason = f"no answer within {round(limit_s, 2):g} s"
                raise TrialEndedError(reason, timed_out=True, late=late)
            self._unread += self._read()
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _readable(self, until: float) -> bool:
        """Whether there is something to read, or the end of it, before an instant."""
        output, wait_s = self._process.stdout, until - time.monotonic()
        assert output is not None
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            return wait_s > 0 and bool(selector.select(None if math.isinf(wait_s) else wait_s))

    def _read(self) -> bytes:
        assert self._process.stdout is not None
        data = os.read(self._process.stdout.fileno(), _CHUNK)
        if not data:
            raise TrialEndedError(self._ending())
        return data

    def _ending(self) -> str:
        """How the process ended; where it ended by itself, with the last that it wrote to standard error."""
        try:
            code = self._process.wait(_LAST_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return "the process closed its output"
        if code >= 0:
            return f"the process exited with {code}: {self._last_words() or 'it said nothing'}"
        memory = ", as the system does where memory runs out" if -code == signal.SIGKILL else ""
        return f"the process was killed by {signal.Signals(-code).name}{memory}"

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read()[-_CHUNK:].decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
