"""A process that hangs ends with the one that started it, however that ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.processes import runs_on

CHILD = (
    "import os, sys, time\n"
    "from mmprof.tracer.orphans import end_with_parent\n"
    "end_with_parent()\n"
    "sys.stdout.write(f'{os.getpid()}\\n')\n"
    "sys.stdout.flush()\n"
    "time.sleep(60)\n"
)
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


@pytest.mark.skipif(sys.platform != "linux", reason="the system call is Linux's")
def test_what_hangs_does_not_outlive_its_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
    end = time.monotonic() + 10
    while runs_on(child):
        assert time.monotonic() < end, "it runs on"
        time.sleep(0.05)
