"""FLOPs and bytes of operator calls, from the shapes, types and values that a trace records.

Bytes count every operand once and the result once (a perfect cache), FLOPs what the mathematics
needs. To model another operator, add a module to ``families``.
"""

from __future__ import annotations

from mmprof.analyzers.costs.call import VIEW_MODEL, Cost, OperatorCall, Shape, Tensor, parse_call
from mmprof.analyzers.costs.dtypes import element_bytes, element_dtype_of_kernel
from mmprof.analyzers.costs.registry import (
    cost_model,
    cost_of,
    modelled_operators,
    needs_arguments,
)

__all__ = [
    "VIEW_MODEL",
    "Cost",
    "OperatorCall",
    "Shape",
    "Tensor",
    "cost_model",
    "cost_of",
    "element_bytes",
    "element_dtype_of_kernel",
    "modelled_operators",
    "needs_arguments",
    "parse_call",
]
