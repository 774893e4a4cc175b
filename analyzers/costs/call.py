"""One recorded operator call, its arguments as tensors, and what it costs."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from mmprof.analyzers.costs.dtypes import element_bytes, scalar_type

if TYPE_CHECKING:
    from collections.abc import Mapping

Shape: TypeAlias = "tuple[int, ...]"
Dims: TypeAlias = "Shape | tuple[Shape, ...]"

# Model of operators that do nothing themselves: device time inside one is of another operator.
VIEW_MODEL: Final = "view"

_MAX_RANK: Final = 64  # c10 allows no more dimensions
_INT64_MAX: Final = 2**63 - 1
_UNREADABLE: Final[Shape] = (-1,)  # an entry that is no shape: never taken for a 0-d tensor
_LIST_TYPES: Final = frozenset({"TensorList", "GenericList"})
# Before torch 1.13 these named Python scalars; with dimensions they can only be tensors.
_AMBIGUOUS_TYPES: Final = frozenset({"Int", "Double", "Bool"})


class UnderivableError(Exception):
    """The recorded arguments do not determine the cost."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor argument or result: shape, C++ element type and, where recorded, strides in elements."""

    shape: Shape
    dtype: str
    strides: Shape = ()

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def numel(self) -> int:
        """The number of elements the operator sees."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes in memory: a dimension of stride 0 repeats the same elements and counts once.

        Raises:
            UnderivableError: the element type has no known size.
        """
        size = element_bytes(self.dtype)
        if size is None:
            msg = f"no element size for {self.dtype!r}"
            raise UnderivableError(msg)
        return size * math.prod(self._stored_shape())

    def extent(self, axis: int) -> int:
        """The extent of a dimension, which may be counted from the last.

        Raises:
            UnderivableError: there is no such dimension.
        """
        if not -len(self.shape) <= axis < len(self.shape):
            msg = f"no dimension {axis} in {self.shape}"
            raise UnderivableError(msg)
        return self.shape[axis]

    def like(self, shape: Shape | None = None, dtype: str | None = None) -> Tensor:
        """A contiguous tensor with another shape or type."""
        return Tensor(self.shape if shape is None else shape, dtype or self.dtype)

    def _stored_shape(self) -> Shape:
        if len(self.strides) != len(self.shape):
            return self.shape
        return tuple(
            extent
            for extent, stride in zip(self.shape, self.strides, strict=True)
            if stride != 0 or extent == 0
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """The least work of one call.

    Attributes:
        flops: floating point (or integer) operations.
        bytes: every operand read once and the result written once.
        dtype: C++ name of the type the arithmetic runs in, which decides the peak; "" without arithmetic.
        model: name of the formula.
    """

    flops: int
    bytes: int
    dtype: str
    model: str


@dataclass(frozen=True, slots=True)
class OperatorCall:
    """A cpu_op with the arguments that ``record_shapes`` wrote, one entry each.

    Attributes:
        name: operator, such as ``aten::addmm``.
        dims: a shape per argument; () for scalars and None, a tuple of shapes for a TensorList.
        types: C++ element type, or ``Scalar``, ``ScalarList``, ``TensorList``, "".
        strides: like ``dims``, in elements.
        concrete: "Concrete Inputs", the values of arguments which are no tensors.
        extra: Triton metadata of the event; ``element_dtype`` names the type of the tensors in
            TensorLists, which Kineto leaves out.
    """

    name: str
    dims: tuple[Dims, ...]
    types: tuple[str, ...]
    strides: tuple[Dims, ...] = ()
    concrete: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict[str, str])

    def tensor(self, index: int) -> Tensor:
        """The tensor at a position.

        Raises:
            UnderivableError: there is none, or its shape was not recorded.
        """
        found = self.optional_tensor(index)
        if found is None:
            msg = f"{self.name} has no tensor at {index}"
            raise UnderivableError(msg)
        return found

    def optional_tensor(self, index: int) -> Tensor | None:
        """The tensor at a position, or None where the argument is something else or absent.

        Raises:
            UnderivableError: a tensor whose recorded shape is impossible.
        """
        if index >= min(len(self.dims), len(self.types)):
            return None
        dtype, dims = self.types[index], self.dims[index]
        if element_bytes(dtype) is None or (dtype in _AMBIGUOUS_TYPES and not dims):
            return None
        strides = self.strides[index] if index < len(self.strides) else ()
        return Tensor(_checked(dims), dtype, _flat(strides))

    def tensors(self, start: int = 0, stop: int | None = None) -> list[Tensor]:
        """The tensor arguments from one position up to another, TensorLists flattened."""
        found: list[Tensor] = []
        for index in range(len(self.types))[start:stop]:
            if self.types[index] in _LIST_TYPES and self._nested(index):
                found += self.tensor_list(index)
            elif tensor := self.optional_tensor(index):
                found.append(tensor)
        return found

    def tensor_list(self, index: int) -> list[Tensor]:
        """The tensors of a TensorList, with the type that ``extra["element_dtype"]`` names.

        Raises:
            UnderivableError: the shapes or the type are not known.
        """
        dtype = self.extra.get("element_dtype", "")
        if not self._nested(index) or element_bytes(dtype) is None:
            msg = f"{self.name} has no shapes or no element type for the list at {index}"
            raise UnderivableError(msg)
        strides = self.strides[index] if index < len(self.strides) else ()
        return [
            Tensor(_checked(shape), dtype, _flat(strides[place]) if place < len(strides) else ())
            for place, shape in enumerate(self.list_shapes(index))
        ]

    def list_shapes(self, index: int) -> tuple[Shape, ...]:
        """The recorded shapes of a TensorList; none where there is no list."""
        return cast("tuple[Shape, ...]", self.dims[index]) if self._nested(index) else ()

    def optional_list(self, index: int) -> list[Tensor]:
        """The tensors of a TensorList that may be empty or left out."""
        return self.tensor_list(index) if self._nested(index) else []

    def value(self, index: int) -> str:
        """The recorded value of a scalar; "" where none was recorded."""
        return self.concrete[index] if index < len(self.concrete) else ""

    def flag(self, index: int) -> bool:
        """A recorded boolean.

        Raises:
            UnderivableError: no boolean was recorded there.
        """
        value = self.value(index)
        if value not in ("True", "False"):
            msg = f"{self.name} has no flag at {index}"
            raise UnderivableError(msg)
        return value == "True"

    def number(self, index: int) -> float:
        """A recorded number.

        Raises:
            UnderivableError: no finite number was recorded there.
        """
        try:
            value = float(self.value(index))
        except ValueError:
            value = math.inf
        if not math.isfinite(value):
            msg = f"{self.name} has no number at {index}"
            raise UnderivableError(msg)
        return value

    def integer(self, index: int) -> int:
        """A recorded whole number; raises like ``number``."""
        return int(self.number(index))

    def integers(self, index: int) -> Shape:
        """A recorded list of whole numbers, ``[3, 3]``.

        Raises:
            UnderivableError: no such list was recorded there.
        """
        numbers = _shape(_decoded(self.value(index)))
        if not self.value(index).startswith("[") or numbers is None:
            msg = f"{self.name} has no list of numbers at {index}"
            raise UnderivableError(msg)
        return numbers

    def flags(self, index: int) -> tuple[bool, ...]:
        """A recorded list of booleans, ``[True, False]``.

        Raises:
            UnderivableError: no such list was recorded there.
        """
        words = [word.strip() for word in self.value(index).strip("[]").split(",")]
        if not set(words) <= {"True", "False"}:
            msg = f"{self.name} has no list of flags at {index}"
            raise UnderivableError(msg)
        return tuple(word == "True" for word in words)

    def dtype_argument(self, index: int) -> str | None:
        """The C++ name of a dtype argument; None where it was left to the default.

        Raises:
            UnderivableError: a dtype of unknown number.
        """
        if not self.value(index):
            return None
        dtype = scalar_type(self.integer(index))
        if dtype is None:
            msg = f"{self.name} has an unknown dtype at {index}"
            raise UnderivableError(msg)
        return dtype

    def _nested(self, index: int) -> bool:
        dims = self.dims[index] if index < len(self.dims) else ()
        return bool(dims) and isinstance(dims[0], tuple)


def parse_call(
    name: str,
    dims_json: str,
    types_json: str,
    strides_json: str = "",
    concrete_json: str = "",
    extra: Mapping[str, str] | None = None,
) -> OperatorCall:
    """The call that an event's JSON arguments describe; what cannot be read becomes empty.

    Args:
        name: the event's name.
        dims_json: "Input Dims" as JSON text.
        types_json: "Input type" as JSON text.
        strides_json: "Input Strides" as JSON text.
        concrete_json: "Concrete Inputs" as JSON text.
        extra: the event's other metadata, see ``OperatorCall.extra``.
    """
    return OperatorCall(
        name=name,
        dims=tuple(_dims(entry) for entry in _entries(dims_json)),
        types=tuple(_word(entry) for entry in _entries(types_json)),
        strides=tuple(_dims(entry) for entry in _entries(strides_json)),
        concrete=tuple(_word(entry) for entry in _entries(concrete_json)),
        extra=dict(extra or {}),
    )


def _entries(text: str) -> list[object]:
    decoded = _decoded(text)
    return cast("list[object]", decoded) if isinstance(decoded, list) else []


def _decoded(text: str) -> object:
    # ValueError also covers integers of thousands of digits, RecursionError brackets as deep.
    try:
        return cast("object", json.loads(text))
    except (ValueError, RecursionError):
        return None


def _word(entry: object) -> str:
    return entry if isinstance(entry, str) else ""


def _dims(entry: object) -> Dims:
    shape = _shape(entry)
    if shape is not None:
        return shape
    if not isinstance(entry, list):
        return _UNREADABLE
    shapes = [_shape(inner) for inner in cast("list[object]", entry)]
    known = tuple(shape for shape in shapes if shape is not None)
    return known if known and len(known) == len(shapes) else _UNREADABLE


def _shape(entry: object) -> Shape | None:
    if not isinstance(entry, list):
        return None
    extents = cast("list[object]", entry)
    numbers = tuple(extent for extent in extents if type(extent) is int)
    return numbers if len(numbers) == len(extents) else None


def _flat(dims: Dims | int) -> Shape:
    if isinstance(dims, int) or any(isinstance(entry, tuple) for entry in dims):
        return ()
    return cast("Shape", dims)


def _checked(dims: Dims) -> Shape:
    shape = _flat(dims)
    possible = len(shape) <= _MAX_RANK and all(0 <= extent <= _INT64_MAX for extent in shape)
    if not possible or len(shape) != len(dims):
        msg = "an impossible shape"
        raise UnderivableError(msg)
    return shape
