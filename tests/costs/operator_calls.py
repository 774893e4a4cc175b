"""A readable way to write recorded calls: ``recorded("aten::mm", "float[2,3]", "float[3,4]")``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mmprof.analyzers.costs import Cost, OperatorCall, cost_of, parse_call

if TYPE_CHECKING:
    from collections.abc import Sequence

BF16 = "c10::BFloat16"


def recorded(
    name: str,
    *arguments: str,
    concrete: Sequence[str] = (),
    strides: Sequence[object] = (),
    **extra: str,
) -> OperatorCall:
    """A call as a trace has it; an argument is a type, with its dims where it is a tensor."""
    types = [argument.partition("[")[0] for argument in arguments]
    dims = [
        argument.removeprefix(kind) or "[]" for argument, kind in zip(arguments, types, strict=True)
    ]
    return parse_call(
        name,
        "[" + ",".join(dims) + "]",
        json.dumps(types),
        json.dumps(list(strides)),
        json.dumps(list(concrete)),
        extra,
    )


def work(name: str, *arguments: str, concrete: Sequence[str] = (), **extra: str) -> tuple[int, int]:
    """FLOPs and bytes of a call that must have a model."""
    cost = modelled(recorded(name, *arguments, concrete=concrete, **extra))
    return cost.flops, cost.bytes


def modelled(call: OperatorCall) -> Cost:
    """The cost of a call that must have one."""
    cost = cost_of(call)
    assert cost is not None, call
    return cost
