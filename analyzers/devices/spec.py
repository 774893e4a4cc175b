"""What the roofline needs to know of a device."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

DtypeKey = Literal["fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8", "fp4"]
DTYPE_KEYS: Final[tuple[DtypeKey, ...]] = get_args(DtypeKey)

_KEY_BY_DTYPE: Final[Mapping[str, DtypeKey]] = {
    **{key: key for key in DTYPE_KEYS},
    "double": "fp64",
    "float64": "fp64",
    "float": "fp32",
    "float32": "fp32",
    "bfloat16": "bf16",
    "half": "fp16",
    "float16": "fp16",
    "char": "int8",
    "signed char": "int8",
    "unsigned char": "int8",
    "uint8": "int8",
    "qint8": "int8",
    "quint8": "int8",
}
# float8_e8m0fnu is left out: it is the dtype of block scales, never of an operand.
_FP8_OPERAND = re.compile(r"float8_e(4m3|5m2)\w*")
_FP4_OPERAND = re.compile(r"float4_e2m1\w*")
_NAMESPACE = re.compile(r"^(c10::|torch\.|at::)")


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """Peaks of one device, as the driver shows it.

    Attributes:
        name: Board name.
        vendor: "NVIDIA", "AMD", or a user's own; "" if not given.
        peak_flops: Dense FLOP/s (int8: operations/s) of a GEMM by dtype key, see `DTYPE_KEYS`.
        bandwidth_bytes_per_s: Theoretical bandwidth of the device memory.
        source: Where the numbers come from.
        memory_bytes: Nominal capacity; None if unknown.
        compute_capability: CUDA's (major, minor), or ROCm's of gfx<major>0<minor>; None if unknown.
        num_sms: Streaming multiprocessors, or compute units; None if unknown.
        vector_flops: FLOP/s outside the matrix units by dtype key, where the vendor gives them.
    """

    name: str
    vendor: str
    peak_flops: Mapping[str, int] = field(hash=False)
    bandwidth_bytes_per_s: int
    source: str
    memory_bytes: int | None = None
    compute_capability: tuple[int, int] | None = None
    num_sms: int | None = None
    vector_flops: Mapping[str, int] = field(default_factory=dict, hash=False)

    def peak(self, dtype: str) -> int | None:
        """Peak dense FLOP/s of a GEMM with operands of `dtype`.

        Args:
            dtype: A key of `peak_flops`, or a dtype as traces write it: "c10::BFloat16", "float".

        Returns:
            None where the dtype is not one of arithmetic throughput (`long int`, `bool`), the
            device has no hardware for it, or its vendor publishes no figure.
        """
        key = dtype_key(dtype)
        return None if key is None else self.peak_flops.get(key)


def dtype_key(dtype: str) -> DtypeKey | None:
    """The key of `DeviceSpec.peak_flops` for a PyTorch or C++ dtype name; None without one."""
    name = _NAMESPACE.sub("", dtype.strip().lower())
    if _FP8_OPERAND.fullmatch(name):
        return "fp8"
    if _FP4_OPERAND.fullmatch(name):
        return "fp4"
    return _KEY_BY_DTYPE.get(name)
