"""What makes two recordings incomparable, one reason at a time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mmprof.analyzers.gate.comparability import Comparison, compared
from mmprof.analyzers.gate.metrics import DeviceMetrics
from mmprof.analyzers.gate.setup import Setup

DEVICE = DeviceMetrics(0, 0, "NVIDIA H100", "step", [8, 8], {})
SETUP = Setup(
    workload="llama",
    arguments={"batch": 1, "dtype": "bfloat16"},
    modules=["LlamaForCausalLM"],
    options={"record_shapes": True},
    world_size=2,
    machine="NVIDIA H100",
    threads=8,
    torch="2.13.0",
)


def with_setup(**changes: Any) -> Comparison:
    return compared((SETUP, [DEVICE]), (msgspec.structs.replace(SETUP, **changes), [DEVICE]))


def with_device(**changes: Any) -> Comparison:
    return compared((SETUP, [DEVICE]), (SETUP, [msgspec.structs.replace(DEVICE, **changes)]))


def test_a_recording_is_comparable_with_itself() -> None:
    assert with_setup() == with_device() == Comparison([], [])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"window": "decode"}, "window: all before, decode now"),
        ({"workload": "hstu"}, "workload: llama before, hstu now"),
        (
            {"arguments": {"batch": 2, "dtype": "bfloat16"}},
            "argument batch of the workload: 1 before, 2 now",
        ),
        ({"modules": ["Owlv2Model"]}, "model: LlamaForCausalLM before, Owlv2Model now"),
        (
            {"options": {"record_shapes": False}},
            "profiler option record_shapes: on before, off now",
        ),
        ({"world_size": 4}, "number of ranks: 2 before, 4 now"),
        ({"machine": "NVIDIA A100"}, "machine: NVIDIA H100 before, NVIDIA A100 now"),
        ({"threads": 4}, "threads of an operator: 8 before, 4 now"),
    ],
)
def test_other_conditions_are_refused(changes: dict[str, Any], reason: str) -> None:
    assert with_setup(**changes) == Comparison([reason], [])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "AMD MI300X"}, "rank 0, device 0: device: NVIDIA H100 before, AMD MI300X now"),
        ({"step": "decode"}, "rank 0, device 0: what a step is: step before, decode now"),
        ({"steps": [9]}, "rank 0, device 0: number of steps: 8 before, 9 now"),
        ({"device": 1}, "rank 0, device 1 is not in the baseline"),
    ],
)
def test_other_devices_are_refused(changes: dict[str, Any], reason: str) -> None:
    assert with_device(**changes).refused == [reason]


def test_other_versions_are_noted() -> None:
    assert with_setup(torch="2.14.0") == Comparison(
        [], ["version of torch: 2.13.0 before, 2.14.0 now"]
    )


def test_what_one_side_does_not_say_is_no_difference() -> None:
    assert compared((Setup(world_size=2), [DEVICE]), (SETUP, [DEVICE])) == Comparison([], [])


def test_more_runs_of_as_many_steps_are_comparable() -> None:
    assert with_device(steps=[8, 8, 8]) == Comparison([], [])


def test_what_was_not_checked_is_noted() -> None:
    """A rank whose trace is missing cannot fail the gate, and somebody has to say so."""
    both = [DEVICE, msgspec.structs.replace(DEVICE, rank=1)]

    assert compared((SETUP, both), (SETUP, [DEVICE])).noted == [
        "rank 1, device 0 is in the baseline only, and was not checked"
    ]
