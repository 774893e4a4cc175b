"""What this machine reaches: bytes per second of copies and matrix-vector products, FLOP per second of matrix products.

The roofline of a trace rests on peaks of a table or on these, which are measured where the trace was recorded. They are
the best of several runs, since everything that disturbs makes a run slower; they are kept per machine, because they take
a second.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import torch

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.files import replacing
from mmprof.analyzers.sidecar import Ceiling
from mmprof.tracer.devices import CPU, synchronize
from mmprof.tracer.machine import device_facts, load_average, now, versions

CACHE_FORMAT: Final = 2
_FIRST_ORDER: Final = 256
_LONG_S: Final = 0.02
_DTYPES: Final = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured.

    Attributes:
        copy_bytes: Bytes of the tensor that is copied: more than the caches hold.
        order: Rows and columns of the matrices that are multiplied, at most.
        gemv_order: Rows and columns of the matrix that multiplies a vector.
        dtypes: Keys of `devices.DTYPE_KEYS`.
        limit_s: Seconds for which one measurement is repeated.
        calls: Calls between two looks at the clock: a launch must not count.
    """

    copy_bytes: int
    order: int
    gemv_order: int
    dtypes: tuple[str, ...]
    limit_s: float = 0.1
    calls: int = 1


# float16 is emulated on most processors: hundreds of times slower, and nobody's ceiling.
CPU_SIZES: Final = Sizes(128 << 20, 1024, 4096, ("fp32", "bf16"))
ACCELERATOR_SIZES: Final = Sizes(1 << 30, 8192, 16384, ("fp32", "tf32", "bf16", "fp16"), calls=10)


def ceilings(device: str, sizes: Sizes | None = None) -> list[Ceiling]:
    """The ceilings of a device, measured now or at an earlier time with the same device, versions and threads."""
    kind = device.partition(":")[0]
    chosen = sizes or (CPU_SIZES if kind == CPU else ACCELERATOR_SIZES)
    path = cache_folder() / f"ceilings-{_key(device, chosen)}.json"
    found = _cached(path)
    if found is None:
        found = measure(device, chosen)
        _keep(path, found)
    return found


def measure(device: str, sizes: Sizes) -> list[Ceiling]:
    """Measure the ceilings of a device."""
    products = [_matmul(device, key, sizes) for key in sizes.dtypes]
    vectors = [_gemv(device, key, sizes) for key in sizes.dtypes if key in {"fp32", "bf16"}]
    return [_copy(device, sizes), *vectors, *products]


def cache_folder() -> Path:
    """Where measurements are kept: `MMPROF_CACHE_DIR`, else the user's cache folder."""
    if chosen := os.environ.get("MMPROF_CACHE_DIR"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mmprof"
    # https://specifications.freedesktop.org/basedir-spec/latest/
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmprof"


def _copy(device: str, sizes: Sizes) -> Ceiling:
    """A stream copy: each byte is read once and written once."""
    source = torch.ones(sizes.copy_bytes // 4, device=device)
    target = torch.empty_like(source)
    seconds, runs = _best(lambda: target.copy_(source), device, sizes)
    method = f"Tensor.copy_ of {sizes.copy_bytes:,} bytes, read and written, best of {runs}"
    return _ceiling("copy", "fp32", 2 * sizes.copy_bytes / seconds, method)


def _gemv(device: str, key: str, sizes: Sizes) -> Ceiling:
    """A matrix times a vector, as in decoding one token: the matrix is read once."""
    n, dtype = sizes.gemv_order, _DTYPES[key]
    matrix = torch.ones(n, n, dtype=dtype, device=device)
    vector = torch.ones(1, n, dtype=dtype, device=device)
    seconds, runs = _best(lambda: torch.nn.functional.linear(vector, matrix), device, sizes)
    rate = matrix.numel() * matrix.element_size() / seconds
    method = f"linear of [1, {n}] with [{n}, {n}], bytes of the matrix, best of {runs}"
    return _ceiling("gemv", key, rate, method)


def _matmul(device: str, key: str, sizes: Sizes) -> Ceiling:
    """A square matrix product: 2 n^3 operations."""
    n = min(sizes.order, _FIRST_ORDER)
    with _tf32(enabled=key == "tf32"):
        seconds, runs = _product(device, key, n, sizes)
        # A dtype that the processor only emulates would take seconds at the full order.
        while n < sizes.order and seconds < _LONG_S:
            n = min(2 * n, sizes.order)
            seconds, runs = _product(device, key, n, sizes)
    method = f"torch.mm of order {n}, best of {runs}"
    return _ceiling("matmul", key, 2 * n**3 / seconds, method)


def _ceiling(name: str, dtype: str, per_second: float, method: str) -> Ceiling:
    unit = "flops" if name == "matmul" else "bytes"
    return Ceiling(name, dtype, per_second, unit, method, load_average(), now())


def _product(device: str, key: str, n: int, sizes: Sizes) -> tuple[float, int]:
    left, right = (torch.ones(n, n, dtype=_DTYPES[key], device=device) for _ in range(2))
    return _best(lambda: torch.mm(left, right), device, sizes)


def _best(call: Callable[[], object], device: str, sizes: Sizes) -> tuple[float, int]:
    """Seconds of the fastest call, and how many looks at the clock it was the best of."""
    call()  # allocates, and chooses kernels
    synchronize(device)
    best, runs, end = float("inf"), 0, time.perf_counter() + sizes.limit_s
    while time.perf_counter() < end or runs < 3:
        start = time.perf_counter()
        for _ in range(sizes.calls):
            call()
        synchronize(device)
        best, runs = min(best, (time.perf_counter() - start) / sizes.calls), runs + 1
    return best, runs


@contextmanager
def _tf32(*, enabled: bool) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if enabled else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _key(device: str, sizes: Sizes) -> str:
    """What the ceilings depend on."""
    facts = device_facts(device)
    threads = torch.get_num_threads() if facts.type == CPU else 0
    parts = (CACHE_FORMAT, facts.type, facts.name, sorted(versions().items()), threads, sizes)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _cached(path: Path) -> list[Ceiling] | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Ceiling])
    except (OSError, msgspec.MsgspecError):
        return None


def _keep(path: Path, found: list[Ceiling]) -> None:
    """Keep measurements; a folder that cannot be written only costs a second next time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, force=True) as temporary:
            temporary.write_bytes(msgspec.json.encode(found))
    except (OSError, MmprofError):
        return
