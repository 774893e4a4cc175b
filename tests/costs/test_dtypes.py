from __future__ import annotations

import pytest
from operator_calls import BF16

from mmprof.analyzers.costs import element_bytes, element_dtype_of_kernel
from mmprof.analyzers.costs.dtypes import promote, scalar_type


@pytest.mark.parametrize(
    ("dtype", "size"),
    [
        ("float", 4),
        ("double", 8),
        (BF16, 2),
        ("long int", 8),
        ("long", 8),
        ("bool", 1),
        ("c10::complex<float>", 8),
        ("c10::Float8_e4m3fn", 1),
        ("signed char", 1),
        ("OpaqueType<2>", 2),
        ("Scalar", None),
        ("", None),
        ("TensorList", None),
    ],
)
def test_element_sizes(dtype: str, size: int | None) -> None:
    assert element_bytes(dtype) == size


@pytest.mark.parametrize(
    ("dimensioned", "zero_dim", "result"),
    [
        ([BF16], ["float"], BF16),  # a 0-d tensor of the same class has no say
        ([BF16, "float"], [], "float"),
        ([BF16, "c10::Half"], [], "float"),
        (["long int"], ["double"], "float"),  # a Python float beside integers
        (["int", "long int"], [], "long int"),
        (["bool", "int"], [], "int"),
        ([], ["float", "double"], "double"),
        (["double"], ["c10::complex<float>"], "c10::complex<float>"),
        ([], [], ""),
    ],
)
def test_promotion_follows_torch(dimensioned: list[str], zero_dim: list[str], result: str) -> None:
    assert promote(dimensioned, zero_dim) == result


def test_dtype_arguments_are_scalar_type_numbers() -> None:
    assert [scalar_type(number) for number in (6, 15, 4, 99)] == ["float", BF16, "long int", None]


@pytest.mark.parametrize(
    ("kernel", "dtype"),
    [
        (
            "void at::native::CatArrayBatchedCopy<at::native::OpaqueType<2u>, unsigned int, 4>",
            "OpaqueType<2>",
        ),
        ("void CatArrayBatchedCopy<float, unsigned int, 2, 128, 1>(float*)", "float"),
        (
            "multi_tensor_apply_kernel<TensorListMetadata<2>, BinaryOpListAlphaFunctor<c10::BFloat16, 2>>",
            BF16,
        ),
        ("Memcpy DtoD (Device -> Device)", ""),
    ],
)
def test_a_kernel_name_tells_the_type_of_a_list(kernel: str, dtype: str) -> None:
    assert element_dtype_of_kernel(kernel) == dtype
