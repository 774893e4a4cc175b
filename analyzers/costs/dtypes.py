"""Element types as Kineto writes them: sizes, promotion, and what a kernel's name says about them."""

from __future__ import annotations

import re
from enum import IntEnum
from functools import reduce
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ELEMENT_BYTES: Final[Mapping[str, int]] = {
    "bool": 1,
    "char": 1,
    "signed char": 1,
    "unsigned char": 1,
    "short": 2,
    "short int": 2,
    "unsigned short": 2,
    "short unsigned int": 2,
    "int": 4,
    "unsigned int": 4,
    "long": 8,
    "long int": 8,
    "long long": 8,
    "unsigned long": 8,
    "long unsigned int": 8,
    "float": 4,
    "double": 8,
    "c10::Half": 2,
    "c10::BFloat16": 2,
    "c10::complex<c10::Half>": 4,
    "c10::complex<float>": 8,
    "c10::complex<double>": 16,
    "c10::Float8_e5m2": 1,
    "c10::Float8_e4m3fn": 1,
    "c10::Float8_e5m2fnuz": 1,
    "c10::Float8_e4m3fnuz": 1,
    "c10::Float8_e8m0fnu": 1,
    # Two values in a byte, and the recorded shape counts the bytes.
    "c10::Float4_e2m1fn_x2": 1,
    "c10::qint8": 1,
    "c10::quint8": 1,
    "c10::qint32": 4,
    "c10::bits8": 1,
    "c10::bits16": 2,
    # Names of c10::ScalarType, which some exporters write instead of the C++ names.
    "Byte": 1,
    "Char": 1,
    "Short": 2,
    "Int": 4,
    "Long": 8,
    "Half": 2,
    "BFloat16": 2,
    "Float": 4,
    "Double": 8,
    "Bool": 1,
}

PACKED_FLOAT4: Final = "c10::Float4_e2m1fn_x2"

# c10::ScalarType as the integer that "Concrete Inputs" holds for a dtype argument.
_SCALAR_TYPES: Final[Mapping[int, str]] = {
    0: "unsigned char",
    1: "signed char",
    2: "short int",
    3: "int",
    4: "long int",
    5: "c10::Half",
    6: "float",
    7: "double",
    8: "c10::complex<c10::Half>",
    9: "c10::complex<float>",
    10: "c10::complex<double>",
    11: "bool",
    12: "c10::qint8",
    13: "c10::quint8",
    14: "c10::qint32",
    15: "c10::BFloat16",
    23: "c10::Float8_e5m2",
    24: "c10::Float8_e4m3fn",
    25: "c10::Float8_e5m2fnuz",
    26: "c10::Float8_e4m3fnuz",
    27: "short unsigned int",
    28: "unsigned int",
    29: "long unsigned int",
    44: "c10::Float8_e8m0fnu",
    45: PACKED_FLOAT4,
}

_OPAQUE = re.compile(r"OpaqueType<(\d{1,2})")
_TEMPLATE_TYPE = re.compile(
    r"<(float|double|bool|int|long|short|signed char|unsigned char"
    r"|c10::Half|c10::BFloat16|c10::complex<(?:float|double)>)\b"
)


class Category(IntEnum):
    """The number classes of torch's type promotion, in rising order."""

    BOOLEAN = 0
    INTEGER = 1
    FLOATING = 2
    COMPLEX = 3


def element_bytes(dtype: str) -> int | None:
    """Bytes of one element of a C++ type name; None for a name that is no element type.

    ``OpaqueType<2>`` is what torch's own kernels call a type of which only the size matters.
    """
    known = ELEMENT_BYTES.get(dtype)
    if known is not None:
        return known
    opaque = _OPAQUE.fullmatch(dtype.rstrip(">u"))
    return int(opaque[1]) if opaque else None


def scalar_type(number: int) -> str | None:
    """The C++ name of the c10::ScalarType with this number, as dtype arguments are recorded."""
    return _SCALAR_TYPES.get(number)


def element_dtype_of_kernel(kernel_name: str) -> str:
    """The element type that the name of a copying or multi-tensor kernel spells; "" for none.

    Kineto records no dtype for the tensors of a TensorList, but the kernels which take lists are
    templates over it (``CatArrayBatchedCopy<OpaqueType<2u>, ...>``, ``BinaryOpListAlphaFunctor<float, ...>``).
    """
    if opaque := _OPAQUE.search(kernel_name):
        return f"OpaqueType<{opaque[1]}>"
    template = _TEMPLATE_TYPE.search(kernel_name)
    return template[1] if template else ""


def category(dtype: str) -> Category:
    """The promotion class of a type; quantized and packed types count as floating."""
    if dtype in ("bool", "Bool"):
        return Category.BOOLEAN
    if "complex" in dtype:
        return Category.COMPLEX
    if dtype in _INTEGERS:
        return Category.INTEGER
    return Category.FLOATING


def promote(dimensioned: Iterable[str], zero_dim: Iterable[str]) -> str:
    """The dtype torch computes in: tensors with dimensions decide, others only raise the category.

    A 0-d double beside integers is taken for a Python number, which is how Kineto records one:
    the result is then ``float``. Source: torch.result_type. "" when there is nothing to promote.
    """
    tensors, scalars = list(dimensioned), list(zero_dim)
    if not tensors or not scalars:
        return reduce(_promote_pair, tensors or scalars, "")
    result, weak = reduce(_promote_pair, tensors), reduce(_promote_pair, scalars)
    if category(weak) <= category(result):
        return result
    return "float" if category(weak) is Category.FLOATING else weak


def promote_to_float(dtype: str) -> str:
    """The dtype of a function that is not closed over integers, such as exp or true division."""
    return "float" if category(dtype) < Category.FLOATING else dtype


def _promote_pair(left: str, right: str) -> str:
    if not left or not right or left == right:
        return left or right
    if category(left) is not category(right):
        return max(left, right, key=category)
    if ELEMENT_BYTES.get(left, 0) == ELEMENT_BYTES.get(right, 0) == 2 and _is_floating(left):
        return "float"
    return max(left, right, key=lambda dtype: ELEMENT_BYTES.get(dtype, 0))


def _is_floating(dtype: str) -> bool:
    return category(dtype) is Category.FLOATING


_INTEGERS: Final = frozenset(
    name
    for name in ELEMENT_BYTES
    if name.split(maxsplit=1)[0] in {"char", "signed", "unsigned", "short", "int", "long"}
    or name in {"Byte", "Char", "Short", "Int", "Long"}
)
