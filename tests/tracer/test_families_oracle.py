"""Every task of every family at `tiny`: its trace adds up, and torch itself counts the same operations."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch.utils.flop_counter import FlopCounterMode, flop_registry  # noqa: E402

import mmprof  # noqa: E402
from mmprof.tracer.families import families, request_for  # noqa: E402
from mmprof.tracer.order import Limits, Wish  # noqa: E402
from mmprof.tracer.record import Plan, record  # noqa: E402
from mmprof.tracer.recorder import options_for  # noqa: E402
from mmprof.tracer.workload import Family, Task, Workload  # noqa: E402

CASES = [(family, task) for family in families().values() for task in family.tasks]
PRODUCTS = re.compile(r"aten::(\w*mm|\w*conv\w*)")
# FlopCounterMode leaves additions of a bias out, which mmprof counts: position of the bias.
BIAS = {torch.ops.aten.addmm: 0, torch.ops.aten.baddbmm: 0, torch.ops.aten.convolution: 2}


@dataclass(frozen=True)
class Recorded:
    """A task that was recorded: its workload, the device of its report, and what the recorded run made."""

    family: Family
    task: Task
    workload: Workload
    device: Any
    output: object


def built(family: Family, task: Task, seed: int = 0) -> Workload:
    return family.build(request_for(family, Wish(task=task.name, seed=seed), "cpu"))


@pytest.fixture(scope="module", params=CASES, ids=lambda c: f"{c[0].name} {c[1].name}")
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """The analysis checks by itself that every nanosecond is counted once."""
    family, task = request.param
    workload, outputs = built(family, task), []

    def run() -> None:
        outputs.append(workload.run())

    path = tmp_path_factory.mktemp("family") / "t.json.gz"
    recording = record(
        replace(workload, run=run), Plan(path, "cpu", options_for("cpu"), Limits(0, 0))
    )
    assert recording.error is None
    return Recorded(family, task, workload, mmprof.analyze(path).devices[0], outputs[0])


def tensors_in(output: object) -> list[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        return [output]
    inner = output.values() if isinstance(output, Mapping) else output
    return [tensor for part in inner for tensor in tensors_in(part)]  # type: ignore[attr-defined]


def same(left: object, right: object) -> bool:
    return all(map(torch.equal, tensors_in(left), tensors_in(right)))


def with_bias(formula: Callable[..., int], at: int, *args: Any, out_val: Any, **kwargs: Any) -> int:
    """A formula of FlopCounterMode with one addition an element of the result for a bias."""
    bias = 0 if args[at] is None else out_val.numel()
    return formula(*args, out_val=out_val, **kwargs) + bias


def counter() -> FlopCounterMode:
    formulas = {op: partial(with_bias, flop_registry[op], at) for op, at in BIAS.items()}
    for formula in formulas.values():
        formula._get_raw = True  # tensors, not their shapes
    return FlopCounterMode(display=False, custom_mapping=formulas)


def test_the_phases_are_those_of_the_task(recorded: Recorded) -> None:
    found = {row.phase for row in recorded.device.value("phases")}
    assert found - {"other"} == set(recorded.task.phases)


def test_nearly_all_work_is_a_modules(recorded: Recorded) -> None:
    assert recorded.device.value("module_coverage") >= 0.9


def test_torch_counts_the_same_operations(recorded: Recorded) -> None:
    with counter() as counted:
        recorded.workload.run()
    rows: list[Any] = recorded.device.value("ops")
    assert sum(r.flops for r in rows if PRODUCTS.fullmatch(r.name)) == counted.get_total_flops()


def test_the_seed_decides_the_output(recorded: Recorded) -> None:
    assert tensors_in(recorded.output)
    assert same(recorded.output, built(recorded.family, recorded.task).run())
    assert not same(recorded.output, built(recorded.family, recorded.task, seed=1).run())
