"""Start reading before the analyses are imported: both take a quarter of a second, and need not wait for each other."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Thread

from mmprof.analyzers.load.read import RawTrace, read


class ReadAhead:
    """A trace that is being read in the background, for the first one who loads it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._read: Future[RawTrace] = Future()
        self._taken = False
        # a daemon: an error in the options must not wait for the end of a long read
        Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._read.set_result(read(self.name))
        except BaseException as error:  # noqa: BLE001  (whatever it is, it belongs to the one who asks for the trace)
            self._read.set_exception(error)

    def take(self) -> RawTrace:
        """The trace, when it is read. Whoever takes it consumes it: the next one gets another reading of the file.

        Raises:
            MmprofError: The input cannot be read as a trace at all.
        """
        if self._taken:
            return read(self.name)
        self._taken = True
        return self._read.result()
