"""The share of recorded GPU time that has a cost, on traces of models that people run."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from mmprof.analyzers.costs import Cost, cost_of, element_dtype_of_kernel, parse_call

if TYPE_CHECKING:
    from pathlib import Path

DEVICE_CATEGORIES = {"kernel", "gpu_memcpy", "gpu_memset"}
ARGUMENTS = ("Input Dims", "Input type", "Input Strides", "Concrete Inputs")


def innermost_operators(
    events: list[dict[str, Any]],
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each linked device event with the innermost cpu_op that was open at its launch."""
    launches = {
        event["args"]["correlation"]: event
        for event in events
        if event.get("cat") in ("cuda_runtime", "cuda_driver") and "correlation" in event["args"]
    }
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = []
    operators = sorted(
        (event for event in events if event.get("cat") == "cpu_op"), key=lambda event: event["ts"]
    )
    devices = [event for event in events if event.get("cat") in DEVICE_CATEGORIES]
    linked = [event for event in devices if event["args"].get("correlation") in launches]
    linked.sort(key=lambda event: launches[event["args"]["correlation"]]["ts"])
    open_by_thread: dict[object, list[dict[str, Any]]] = {}
    place = 0
    for device in linked:
        launch = launches[device["args"]["correlation"]]
        while place < len(operators) and operators[place]["ts"] <= launch["ts"]:
            operator = operators[place]
            stack = open_by_thread.setdefault(operator["tid"], [])
            while stack and stack[-1]["ts"] + stack[-1]["dur"] <= operator["ts"]:
                stack.pop()
            stack.append(operator)
            place += 1
        stack = open_by_thread.get(launch["tid"], [])
        while stack and stack[-1]["ts"] + stack[-1]["dur"] < launch["ts"]:
            stack.pop()
        if stack and "GraphLaunch" not in launch["name"]:
            pairs.append((device, stack[-1]))
    return pairs


def cost_of_event(operator: dict[str, Any], kernel: str) -> Cost | None:
    dims, types, strides, concrete = (
        json.dumps(operator["args"].get(field, [])) for field in ARGUMENTS
    )
    extra = {"element_dtype": element_dtype_of_kernel(kernel)} if "TensorList" in types else {}
    return cost_of(parse_call(operator["name"], dims, types, strides, concrete, extra))


@pytest.mark.parametrize(
    ("trace", "share"),
    [
        ("tracelens/h100/Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz", 0.9999),
        ("tracelens/h100/google_owlv2-large-patch14-ensemble__1016001.json.gz", 0.999),
        ("tracelens/mi300/gaunernst_bert-small-uncased__1016001.json.gz", 0.9999),
        ("tracelens/mi300/google_owlv2-large-patch14-ensemble__1016001.json.gz", 0.999),
        ("tracelens/perf_model/normalization/normalization_layer_test.json.gz", 0.9999),
        ("tracelens/torch_compile_triton/trace.json.gz", 0.9999),
        ("tracelens/inference/xdit_flux.1_aiter_sage/profile_trace_rank_0.json.gz", 0.999),
        ("hta/amd_trace/mi250_minitoy_train_ROCm6_2_kineto.json.gz", 0.9999),
        ("hta/triton_example/triton_example.json.gz", 0.9999),
    ],
)
def test_linked_device_time_is_modelled(shared_traces: Path, trace: str, share: float) -> None:
    with gzip.open(shared_traces / trace) as file:
        events = json.load(file)["traceEvents"]
    pairs = innermost_operators(events)
    assert pairs
    total = sum(device["dur"] for device, _ in pairs)
    covered = sum(device["dur"] for device, op in pairs if cost_of_event(op, device["name"]))
    assert covered / total >= share
