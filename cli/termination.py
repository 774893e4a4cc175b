"""SIGTERM, with which schedulers and `timeout` end a process."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def terminated_like_interrupted() -> Generator[None, None, None]:
    """Let SIGTERM do what Ctrl-C does while the context is entered: what was recorded is written before the process ends.

    A program that handles the signal itself still does, and processes that it forks end by it as usual.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    process = os.getpid()

    def interrupt(*_: object) -> None:
        if os.getpid() == process:
            raise KeyboardInterrupt
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is interrupt:
            signal.signal(signal.SIGTERM, before)
