"""A request without what autograd keeps of each tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever, NotApplicableError

if TYPE_CHECKING:
    from torch import nn

    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (every device has it)
    """Needs a model that is not trained; in which mode it runs shows a run."""
    from mmprof.tracer.lever_models import modules_of  # noqa: PLC0415  (torch: seconds)

    modules = list(modules_of(workload))
    if not modules:
        return "the workload names no model whose mode could be seen"
    return "a model is in training mode" if any(module.training for module in modules) else ""


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Watch a request, and run the next ones in inference mode if a module ran outside of it."""
    import torch  # noqa: PLC0415

    if not _outside(workload):
        raise NotApplicableError("every module runs in inference mode already")

    def run() -> object:
        with torch.inference_mode():
            return workload.run()

    yield replace(workload, run=run)


def _outside(workload: Workload) -> bool:
    """Whether a module of a request ran outside of inference mode."""
    from mmprof.tracer.lever_models import modules_of  # noqa: PLC0415

    found: list[bool] = []
    with ExitStack() as hooks:
        for module in modules_of(workload):
            hook = module.register_forward_pre_hook(_noting(found))
            hooks.callback(hook.remove)
        workload.run()
    return any(found)


def _noting(found: list[bool]) -> Callable[[nn.Module, tuple[object, ...]], None]:
    import torch  # noqa: PLC0415

    def note(module: nn.Module, args: tuple[object, ...]) -> None:  # noqa: ARG001  (the form of a hook)
        found.append(not torch.is_inference_mode_enabled())

    return note


def predict(replay: Replay) -> Predicted:
    """Dispatching an operator costs the host less."""
    from mmprof.analyzers.whatif.modes import inference  # noqa: PLC0415  (polars: 100 ms)

    return inference(replay)


LEVER: Final = Lever(
    id="inference_mode",
    layer="application",
    summary="Requests run in torch.inference_mode: no version counters, no views tracked, no autograd dispatch",
    exactness="identical",
    risk="low",
    cost="one request to see in which mode it runs",
    hurts="nothing, but what is made cannot be used in training later; compiled code is compiled anew",
    applies=applies,
    apply=apply,
    predict=predict,
)
