"""The classes of device time, what is known of one activity, and the verdict on it."""

from __future__ import annotations

from dataclasses import dataclass

COMPUTATION: tuple[str, ...] = (
    "linear",
    "attention",
    "convolution",
    "moe",
    "recommender",
    "embedding",
    "normalization",
    "softmax",
    "rope",
    "activation",
    "quantize",
    "sampling",
    "kv_cache_reorder",
    "kv_cache_update",
    "reduction",
    "elementwise",
)

CLASSES: tuple[str, ...] = (*COMPUTATION, "communication", "memcpy", "memset", "wait", "other")
"""All classes, in the order of priority for time that activities of several classes share.

The first one wins. Computation comes before everything else, the arithmetic that sets the pace of a model before the
kernels that only move data through it. Communication comes after computation, so that what is left of it is the
*exposed* part, the one that overlap has not hidden; copies and fills likewise, after communication. `wait` is a kernel
that does nothing but pass time (`torch.cuda._sleep`). `other` is last: it claims only the time that nothing recognised explains.
"""

DEDICATED: frozenset[str] = frozenset(
    {
        "communication",
        "kv_cache_reorder",
        "kv_cache_update",
        "memcpy",
        "memset",
        "moe",
        "quantize",
        "recommender",
        "rope",
    }
)
"""Classes that only kernels written for that purpose have by name; what encloses such a kernel does not change it."""


@dataclass(frozen=True, slots=True)
class Activity:
    """One distinct device activity, or one distinct working operator of a CPU-only trace, and what encloses it.

    Attributes:
        name: The kernel's name, or the operator's for `kind="operator"`; any string.
        kind: "kernel", "memcpy", "memset" or "operator".
        operators: Enclosing operators of the launch, innermost first.
        modules: Enclosing nn.Module names, innermost first, without the "nn.Module: " of the trace.
        annotations: Enclosing record_function names, innermost first.
        dims: Raw JSON of the innermost operator's "Input Dims".
        in_attention_chain: The activity lies in a QK^T matmul, softmax, PV matmul sequence, both matmuls included.
        kernel_backend: What the operator's metadata names as backend, such as "triton".
    """

    name: str
    kind: str
    operators: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    dims: str = ""
    in_attention_chain: bool = False
    kernel_backend: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The class of an activity and what decided it.

    Attributes:
        cls: One of `CLASSES`.
        rule: The id of the rule that decided, such as "operator:matmul" or "kernel:nccl".
        by: "category", "annotation", "module", "operator", "metadata", "kernel name" or "none".
    """

    cls: str
    rule: str
    by: str
