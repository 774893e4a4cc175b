"""The output head in half of its bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    import torch

    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.lever_tables import Head
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (every device has it)
    """Needs a float32 head that is a large share of what a decode step reads."""
    from mmprof.tracer.lever_tables import LEAST_SHARE, heads  # noqa: PLC0415  (torch: seconds)

    found = heads(workload)
    if not found:
        return "no model that generates through a plain linear output head"
    wide = [head for head in found if head.layer.weight.dtype.itemsize == 4]
    if not wide:
        return "the output head is not in float32"
    largest = max(head.share for head in wide)
    if largest < LEAST_SHARE:
        return f"the head is {largest:.1%} of the bytes of a decode step; below {LEAST_SHARE:.0%} little is gained"
    return ""


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Round the heads; a head that is tied to an embedding stays tied."""
    from mmprof.tracer.lever_tables import rounded  # noqa: PLC0415

    wide = _large(workload)
    with rounded(wide, _half(wide[0].layer.weight.device.type)):
        yield workload


def _large(workload: Workload) -> list[Head]:
    from mmprof.tracer.lever_tables import LEAST_SHARE, heads  # noqa: PLC0415

    return [
        head
        for head in heads(workload)
        if head.layer.weight.dtype.itemsize == 4 and head.share >= LEAST_SHARE
    ]


def _half(device: str) -> torch.dtype:
    """float16, whose error is an eighth, where products of it are fast: what a head reads is normalized, far from its limit."""
    import torch  # noqa: PLC0415

    return torch.bfloat16 if device == "cpu" else torch.float16


def predict(replay: Replay) -> Predicted:
    """The head, the widest linear layer of a step, reads half as much."""
    from mmprof.analyzers.whatif.precision import half_head  # noqa: PLC0415  (polars: 100 ms)

    return half_head(replay)


LEVER: Final = Lever(
    id="head_dtype",
    layer="compression",
    summary="The output head's weights in bfloat16 (on a GPU float16), the layers before it as they are",
    exactness="lossy",
    risk="low",
    cost="rounding of the logits, once: no error grows from layer to layer",
    hurts="large vocabularies only: elsewhere the head is a small part of a step",
    applies=applies,
    apply=apply,
    predict=predict,
    # twice what random models of Llama and Seamless showed on a CPU, 3.3e-3
    budget=0.007,
    conflicts=("dtype", "fp16_weights", "linear_layout", "autoquant"),  # these store the head, too
)
