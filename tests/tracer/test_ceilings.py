"""Measured ceilings: rates with their method, kept per machine."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from mmprof.tracer import ceilings as module  # noqa: E402
from mmprof.tracer.ceilings import Sizes, cache_folder, ceilings, measure  # noqa: E402

TINY = Sizes(1 << 16, 64, 64, ("fp32", "bf16"), limit_s=0.0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMPROF_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_is_measured() -> None:
    found = measure("cpu", TINY)

    assert [(c.name, c.dtype, c.unit) for c in found] == [
        ("copy", "fp32", "bytes"),
        ("gemv", "fp32", "bytes"),
        ("gemv", "bf16", "bytes"),
        ("matmul", "fp32", "flops"),
        ("matmul", "bf16", "flops"),
    ]
    assert all(c.per_second > 0 and "best of 3" in c.method for c in found)


def test_rates_follow_from_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_best", lambda *_: (0.5, 3))

    rates = {(c.name, c.dtype): c.per_second for c in measure("cpu", TINY)}

    assert rates["copy", "fp32"] == 2 * 65536 / 0.5
    assert rates["gemv", "bf16"] == 64 * 64 * 2 / 0.5
    assert rates["matmul", "fp32"] == 2 * 64**3 / 0.5


def test_a_slow_dtype_is_measured_at_a_small_order(monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[int] = []

    def product(_: str, __: str, n: int, ___: Sizes) -> tuple[float, int]:
        orders.append(n)
        return n / 20_000, 1

    monkeypatch.setattr(module, "_product", product)
    module._matmul("cpu", "bf16", Sizes(0, 4096, 0, ()))

    assert orders == [256, 512]  # 12.8 ms, 25.6 ms


def test_they_are_measured_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ceilings("cpu", TINY)
    monkeypatch.setattr(module, "measure", pytest.fail)

    assert ceilings("cpu", TINY) == first
    assert len(list(cache.iterdir())) == 1


def test_a_damaged_cache_is_measured_anew(cache: Path) -> None:
    ceilings("cpu", TINY)
    next(cache.iterdir()).write_text("{")

    assert len(ceilings("cpu", TINY)) == 5


def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MMPROF_CACHE_DIR", str(tmp_path / "file"))

    assert len(ceilings("cpu", TINY)) == 5


def test_other_threads_are_another_machine(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ceilings("cpu", TINY)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 99)
    ceilings("cpu", TINY)

    assert len(list(cache.iterdir())) == 2


def test_where_measurements_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMPROF_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    monkeypatch.setattr("sys.platform", "linux")

    assert cache_folder() == Path("/caches/mmprof")


def test_the_precision_of_products_comes_back() -> None:
    before = torch.get_float32_matmul_precision()
    measure("cpu", Sizes(1 << 12, 16, 16, ("tf32",), limit_s=0.0))

    assert torch.get_float32_matmul_precision() == before
