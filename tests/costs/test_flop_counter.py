"""Costs of what a real profiler records on the CPU, against torch's own FLOP counter.

The counter knows neither bias additions nor matrix-vector products nor, on the CPU, fused attention
(pytorch #195460), and its weight gradient of a grouped convolution ignores the groups: those are
computed apart below.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")
flop_counter = pytest.importorskip("torch.utils.flop_counter")

from mmprof.analyzers.costs import Cost, cost_of, parse_call  # noqa: E402 - needs torch to matter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COUNTED = ("matmul", "convolution", "attention", "convolution backward", "attention backward")


@dataclass(frozen=True)
class Recorded:
    """One event with its cost."""

    name: str
    tid: Any
    start: float
    end: float
    cost: Cost | None

    def holds(self, other: Recorded) -> bool:
        nested = self.start <= other.start and other.end <= self.end
        return self is not other and self.tid == other.tid and nested


def record(run: Callable[[], object], folder: Path) -> list[Recorded]:
    """Profiles a run and reads its cpu_ops back from the exported trace."""
    run()
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, record_shapes=True) as profiler:
        run()
    path = folder / "trace.json"
    profiler.export_chrome_trace(str(path))
    events = json.loads(path.read_text())["traceEvents"]
    return [recorded_event(event) for event in events if event.get("cat") == "cpu_op"]


def recorded_event(event: dict[str, Any]) -> Recorded:
    fields = ("Input Dims", "Input type", "Input Strides", "Concrete Inputs")
    dims, types, strides, concrete = (json.dumps(event["args"].get(field, [])) for field in fields)
    end = event["ts"] + event["dur"]
    cost = cost_of(parse_call(event["name"], dims, types, strides, concrete))
    return Recorded(event["name"], event["tid"], event["ts"], end, cost)


def leaf_flops(events: list[Recorded]) -> int:
    """FLOPs of the innermost products, convolutions and attentions."""
    counted = [event for event in events if event.cost and event.cost.model in COUNTED]
    leaves = [event for event in counted if not any(event.holds(other) for other in counted)]
    return sum(event.cost.flops for event in leaves if event.cost)


def counter_flops(run: Callable[[], object]) -> int:
    with flop_counter.FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def rand(*shape: int, grad: bool = False) -> Any:
    return torch.randn(*shape, requires_grad=grad)


def trained(forward: Callable[..., Any], *shapes: tuple[int, ...]) -> Callable[[], None]:
    inputs = [rand(*shape, grad=True) for shape in shapes]

    def run() -> None:
        forward(*inputs).sum().backward()

    return run


functional = torch.nn.functional
PRODUCTS: dict[str, Callable[[], object]] = {
    "mm": lambda: rand(5, 7) @ rand(7, 11),
    "bmm": lambda: torch.bmm(rand(3, 5, 7), rand(3, 7, 11)),
    "matmul": lambda: torch.matmul(rand(2, 3, 5, 7), rand(7, 11)),
    "broadcast matmul": lambda: torch.matmul(rand(2, 1, 5, 7), rand(3, 7, 11)),
    "einsum": lambda: torch.einsum("bij,bjk->bik", rand(3, 5, 7), rand(3, 7, 11)),
    "linear": lambda: functional.linear(rand(2, 5, 7), rand(11, 7)),
    "linear backward": trained(functional.linear, (2, 5, 7), (11, 7)),
    "bmm backward": trained(torch.bmm, (3, 5, 7), (3, 7, 11)),
}
CONVOLUTIONS: dict[str, Callable[[], object]] = {
    "1d": lambda: functional.conv1d(rand(2, 3, 20), rand(5, 3, 4), stride=2, padding=1),
    "2d": lambda: functional.conv2d(rand(2, 3, 9, 8), rand(5, 3, 3, 2), stride=(2, 1)),
    "3d": lambda: functional.conv3d(rand(2, 3, 6, 7, 8), rand(5, 3, 3, 3, 3), dilation=2),
    "grouped": lambda: functional.conv2d(rand(2, 6, 8, 8), rand(4, 3, 3, 3), groups=2),
    "depthwise": lambda: functional.conv2d(rand(2, 6, 8, 8), rand(6, 1, 3, 3), groups=6),
    "transposed": lambda: functional.conv_transpose2d(rand(2, 6, 5, 5), rand(6, 4, 3, 3), stride=2),
    "transposed 1d": lambda: functional.conv_transpose1d(rand(2, 6, 9), rand(6, 4, 5), stride=3),
    "transposed grouped": lambda: functional.conv_transpose2d(
        rand(2, 6, 5, 5), rand(6, 4, 3, 3), stride=2, output_padding=1, groups=2
    ),
    "float64": lambda: functional.conv2d(rand(2, 3, 8, 8).double(), rand(5, 3, 3, 3).double()),
    "2d backward": trained(functional.conv2d, (2, 3, 8, 8), (5, 3, 3, 3)),
    "transposed backward": trained(functional.conv_transpose2d, (2, 6, 5, 5), (6, 4, 3, 3)),
}


@pytest.mark.parametrize("case", PRODUCTS)
def test_products_equal_the_counter(case: str, tmp_path: Path) -> None:
    counted = counter_flops(PRODUCTS[case])
    assert counted > 0
    assert leaf_flops(record(PRODUCTS[case], tmp_path)) == counted


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions_equal_the_counter(case: str, tmp_path: Path) -> None:
    counted = counter_flops(CONVOLUTIONS[case])
    assert counted > 0
    assert leaf_flops(record(CONVOLUTIONS[case], tmp_path)) == counted


@pytest.mark.parametrize(
    ("run", "outputs"),
    [
        (lambda: torch.addmm(rand(11), rand(5, 7), rand(7, 11)), 5 * 11),
        (lambda: torch.baddbmm(rand(3, 5, 11), rand(3, 5, 7), rand(3, 7, 11)), 3 * 5 * 11),
        (lambda: functional.linear(rand(2, 5, 7), rand(11, 7), rand(11)), 2 * 5 * 11),
        (lambda: functional.conv2d(rand(2, 3, 8, 8), rand(5, 3, 3, 3), rand(5)), 2 * 5 * 6 * 6),
    ],
)
def test_a_bias_is_one_operation_an_output_more(
    run: Callable[[], object], outputs: int, tmp_path: Path
) -> None:
    assert leaf_flops(record(run, tmp_path)) == counter_flops(run) + outputs


def test_a_matrix_vector_product_is_counted_though_the_counter_does_not(tmp_path: Path) -> None:
    def run() -> object:
        return torch.mv(rand(5, 7), rand(7))

    assert counter_flops(run) == 0
    assert leaf_flops(record(run, tmp_path)) == 2 * 5 * 7


def test_a_grouped_weight_gradient_is_as_large_as_the_forward_pass(tmp_path: Path) -> None:
    run = trained(lambda x, w: functional.conv2d(x, w, groups=2), (2, 6, 8, 8), (4, 3, 3, 3))
    forward = 2 * (2 * 4 * 6 * 6) * (3 * 9)
    assert counter_flops(run) == forward * (1 + 1 + 2)
    assert leaf_flops(record(run, tmp_path)) == 3 * forward


@pytest.mark.parametrize("key_heads", [4, 2])
def test_attention_equals_the_counters_formula(key_heads: int, tmp_path: Path) -> None:
    q, k = rand(2, 4, 9, 16), rand(2, key_heads, 13, 16)

    def run() -> object:
        return functional.scaled_dot_product_attention(q, k, k, enable_gqa=key_heads != 4)

    full = (2, 4, 13, 16)
    expected = flop_counter.sdpa_flop_count(tuple(q.shape), full, full)
    assert counter_flops(run) == 0
    assert leaf_flops(record(run, tmp_path)) == expected


def test_causal_attention_is_half(tmp_path: Path) -> None:
    q = rand(2, 4, 10, 16)

    def run() -> object:
        return functional.scaled_dot_product_attention(q, q, q, is_causal=True)

    shape = tuple(q.shape)
    assert (
        leaf_flops(record(run, tmp_path)) == flop_counter.sdpa_flop_count(shape, shape, shape) // 2
    )


def test_attention_backward_equals_the_counters_formula(tmp_path: Path) -> None:
    shape = (2, 4, 9, 16)
    run = trained(functional.scaled_dot_product_attention, shape, shape, shape)
    forward = flop_counter.sdpa_flop_count(shape, shape, shape)
    backward = flop_counter.sdpa_backward_flop_count(shape, shape, shape, shape)
    assert leaf_flops(record(run, tmp_path)) == forward + backward


def test_every_leaf_of_a_transformer_layer_has_a_cost(tmp_path: Path) -> None:
    layer = torch.nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True).train()
    batch = rand(2, 10, 32)

    def run() -> None:
        layer(batch).sum().backward()

    events = record(run, tmp_path)
    operators = [event for event in events if event.name.startswith("aten::")]
    leaves = [event for event in operators if not any(event.holds(other) for other in operators)]
    # resize_ of a tensor that holds data may or may not copy it: that is not recorded.
    assert {event.name for event in leaves if event.cost is None} <= {"aten::resize_"}
