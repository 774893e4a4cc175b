"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from mmprof.analyzers.load.freed import give_back_freed

_FREES_ALL_BUT_THE_LAST = """
from mmprof.analyzers.load.freed import give_back_freed

def resident_bytes():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

blocks = [b"x" * 32_768 for _ in range(2_000)]
last = b"x" * 32_768
blocks.clear()
before = resident_bytes()
assert give_back_freed()
print(before - resident_bytes())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries cannot be asked")
def test_blocks_below_the_last_in_use_are_given_back() -> None:
    run = [sys.executable, "-c", _FREES_ALL_BUT_THE_LAST]
    given_bytes = int(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
    assert given_bytes > 2_000 * 32_768 * 0.9


def test_a_c_library_that_cannot_be_asked_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: SimpleNamespace())
    assert not give_back_freed()


def test_a_system_without_the_call_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert not give_back_freed()
