"""More memory than there is must be an error that Python sees."""

from __future__ import annotations

import sys

import pytest

torch = pytest.importorskip("torch")
resource = pytest.importorskip("resource")

from mmprof.tracer.memory_limit import available_bytes, memory_limited  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")


def test_more_than_there_is_fails_and_leaves_no_limit() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    free = available_bytes()
    assert free is not None
    with memory_limited("cpu"):
        with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
            torch.empty(free + (1 << 30), dtype=torch.uint8)
        assert torch.ones(1000).sum() == 1000
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_devices_with_drivers_are_not_limited() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with memory_limited("cuda:0"):
        assert resource.getrlimit(resource.RLIMIT_DATA) == before
