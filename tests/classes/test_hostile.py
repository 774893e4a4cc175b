"""Any string is a name, and none of them may cost more than reading it."""

from __future__ import annotations

import pytest

from mmprof.analyzers.classes import CLASSES, Activity, classify
from mmprof.analyzers.classes.rules import MAX_NAME_CHARS
from mmprof.analyzers.classes.shapes import parse_shapes

MEGABYTE = 1_000_000

UNITS = [
    "a",
    "1",
    "_",
    "::",
    "rmsnorm",
    "relu1",
    "::group",
    "kv_",
    "_neg_mul_",
    "triton_red_fused_",
    "mm_",
    "é",
    "\0",
    "(",
    "<",
]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("prefix", ["", "aten::", "triton_red_fused_", "void at::native::"])
def test_only_the_beginning_of_a_megabyte_name_is_read(prefix: str, unit: str) -> None:
    name = prefix + unit * (MEGABYTE // len(unit))
    verdict = classify(Activity(name, "kernel", (name,), (name,), (name,), dims=name))
    start = name[:MAX_NAME_CHARS]
    assert verdict == classify(Activity(start, "kernel", (start,), (start,), (start,), dims=name))
    assert verdict.cls in CLASSES


@pytest.mark.parametrize(
    "name",
    ["", " ", "\n", "\ud800", "[(.*)*]", "%s{0}", "void", "aten::", "triton_", "::", "nn.Module: "],
)
@pytest.mark.parametrize("kind", ["kernel", "memcpy", "memset", "operator", ""])
def test_any_name_of_any_kind_gets_a_class(name: str, kind: str) -> None:
    assert (
        classify(
            Activity(name, kind, (name,), (name,), (name,), name, in_attention_chain=False)
        ).cls
        in CLASSES
    )


def test_only_the_first_4096_characters_of_a_name_are_read() -> None:
    assert classify(Activity("x" * 4096 + "_gemm", "kernel")).cls == "other"
    assert classify(Activity("x" * 4000 + "_gemm", "kernel")).cls == "linear"


def test_only_the_64_nearest_ancestors_are_read() -> None:
    wrappers = ("wrapper",) * 63
    assert classify(Activity("k", "kernel", (*wrappers, "aten::mm"))).cls == "linear"
    assert classify(Activity("k", "kernel", (*wrappers, "wrapper", "aten::mm"))).cls == "other"


@pytest.mark.parametrize(
    ("dims", "shapes"),
    [
        ("[[2, 3], [], [4]]", ((2, 3), (), (4,))),
        ("[[[2, 3], [2, 5]], []]", ((2, 3), (2, 5), ())),
        ("", ()),
        ("null", ()),
        ('{"a": 1}', ()),
        ("[1, 2]", ()),
        ('[["a"], [1.5]]', ()),
        ("[" * 4000, ()),
        ("[" + "9" * 4090 + "]", ()),
        ("[[1], " * 2000, ()),
        ("[[2, 3]" + " " * 5000 + "]", ()),
    ],
)
def test_shapes_of_any_text(dims: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    assert parse_shapes(dims) == shapes
