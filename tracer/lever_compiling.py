"""torch.compile as levers use it: undone at the end, and refused where its code would never be called."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch

from mmprof.tracer.lever_models import attribute, beams_of, generating_with, generators

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

    from mmprof.tracer.lever_models import GenerationOptions
    from mmprof.tracer.workload import Workload


def why_not_compiled(workload: Workload, device: str) -> str:
    """Why compiling a workload is not possible, or would have no effect; empty where it would."""
    if not workload.models:
        return "the workload names no model to compile"
    generator = next(filter(None, map(_why_not_generator, generators(workload))), "")
    return why_no_compiler(device) or generator


def why_no_compiler(device: str) -> str:
    """What torch.compile needs of the machine and does not find; empty where nothing is missing."""
    if device.startswith("cpu") and not any(map(shutil.which, ("g++", "clang++", "c++"))):
        return "needs a C++ compiler, which is not installed"
    return ""


def _why_not_generator(model: PreTrainedModel) -> str:
    if beams_of(model) > 1:
        # _beam_search of transformers calls the model itself, never its compiled call.
        return f"beam search ({beams_of(model)} beams) never calls the compiled step"
    if not getattr(model, "_can_compile_fullgraph", False):
        return f"{type(model).__name__} cannot be compiled as one graph"
    return ""


@contextmanager
def compiled(workload: Workload, *, mode: str) -> Iterator[Workload]:
    """Compile what a workload calls most.

    Args:
        workload: What to compile.
        mode: Mode of torch.compile.
    """
    with ExitStack() as undone:
        undone.callback(torch.compiler.reset)
        if generators(workload):
            yield undone.enter_context(_compiled_steps(workload, mode))
        else:
            yield undone.enter_context(_compiled_models(workload, mode))


@contextmanager
def _compiled_models(workload: Workload, mode: str) -> Iterator[Workload]:
    """Compile each model's forward; its type and its hooks stay as they are."""
    with ExitStack() as undone:
        for model in workload.models.values():
            fused = torch.compile(model.forward, mode=mode)
            undone.enter_context(attribute(model, "forward", fused))
        yield replace(workload, run=_marking_steps(workload.run))


@contextmanager
def _compiled_steps(workload: Workload, mode: str) -> Iterator[Workload]:
    """Let transformers compile the decode step; prefill stays eager."""
    from transformers import CompileConfig  # noqa: PLC0415  (seconds, and only such models have steps)

    config = cast("Callable[..., Any]", CompileConfig)(mode=mode, fullgraph=True)
    config._compile_all_devices = True  # noqa: SLF001  (transformers compiles on a CPU only so)

    def change(options: GenerationOptions) -> None:
        options.cache_implementation = "static"
        options.compile_config = config
        options.disable_compile = False

    with generating_with(workload, change) as changed:
        yield changed


def _marking_steps(run: Callable[[], object]) -> Callable[[], object]:
    """Say where a request begins, so that CUDA graphs may reuse the memory of the outputs before it."""

    def marked() -> object:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return run()

    return marked
