"""A lever on a family's model, and how its outputs compare with those of the model as it was."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from mmprof.tracer.families import families, request_for
from mmprof.tracer.lever_registry import lever_named
from mmprof.tracer.order import Wish
from mmprof.tracer.verify_outputs import Reference, check_outputs, reference_of
from mmprof.tracer.workload import Workload


@cache
def workload(family: str, task: str = "", *settings: str, batch: int = 0) -> Workload:
    found = families()[family]
    wish = Wish(task=task, settings=settings, batch=batch)
    return found.build(request_for(found, wish, "cpu"))


@cache
def reference(family: str, task: str = "", *settings: str, batch: int = 0) -> Reference:
    return reference_of(workload(family, task, *settings, batch=batch))


def checked(name: str, family: str, task: str = "", *settings: str, batch: int = 0) -> Any:
    lever, base = lever_named(name), workload(family, task, *settings, batch=batch)
    # before the lever changes the model: a reference made under it agrees with what it broke
    expected = reference(family, task, *settings, batch=batch)
    assert lever.applies(base, "cpu") == ""
    with lever.apply(base) as changed:
        return check_outputs(changed, expected, lever.exactness, budget=lever.budget)


def operators(run: Callable[[], object]) -> dict[str, int]:
    """Calls of operators by name, as a trace has them."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        run()
    return {event.key: event.count for event in profile.key_averages()}
