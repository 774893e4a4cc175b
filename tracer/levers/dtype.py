"""bfloat16 weights and activations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from torch import nn

    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:
    """Needs float32 parameters, and a device that multiplies bfloat16."""
    import torch  # noqa: PLC0415

    from mmprof.tracer.lever_models import has_float32  # noqa: PLC0415  (transformers: seconds)

    if not has_float32(workload):
        return "no parameter is float32"
    if device.startswith("cuda") and not torch.cuda.is_bf16_supported(including_emulation=False):
        return f"{device} has no bfloat16 units"
    return ""


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Round the weights, and the inputs where they meet them."""
    from mmprof.tracer.lever_models import converted  # noqa: PLC0415

    modules = [module for model in workload.models.values() for module in _continuous(model)]
    with ExitStack() as undone:
        undone.enter_context(converted(modules, _rounded))
        for module in modules:
            if next(module.parameters(recurse=False), None) is not None:
                undone.callback(_Cast(module).handle.remove)
        yield workload


def _rounded(value: Any) -> Any:
    """A float32 tensor in bfloat16; everything else as it is."""
    import torch  # noqa: PLC0415

    if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
        return value.to(torch.bfloat16)
    return value


def _continuous(module: nn.Module) -> Iterator[nn.Module]:
    """The modules without those of a vector quantizer's autoencoder: another code there is another input."""
    if any("VectorQuantizer" in type(child).__name__ for child in module.children()):
        return
    yield module
    for child in module.children():
        yield from _continuous(child)


class _Cast:
    """Casts the floating-point inputs of a module to bfloat16; a module whose first input needs no cast is not asked again."""

    def __init__(self, module: nn.Module) -> None:
        self.handle = module.register_forward_pre_hook(self, prepend=True)

    def __call__(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        cast = tuple(map(_rounded, args))
        if all(new is old for new, old in zip(cast, args, strict=True)):
            self.handle.remove()
        return cast


def predict(replay: Replay) -> Predicted:
    """Half of the bytes, and products at the peak of bfloat16."""
    from mmprof.analyzers.whatif.precision import half_precision  # noqa: PLC0415  (polars: 100 ms)

    return half_precision(replay)


LEVER: Final = Lever(
    id="dtype",
    layer="compression",
    summary="Weights and activations in bfloat16",
    exactness="lossy",
    risk="medium",
    cost="quality: 8 bits of mantissa instead of 24",
    hurts="rounding changes tokens where two are nearly as likely; slow where the device has no bfloat16 units",
    applies=applies,
    apply=apply,
    predict=predict,
    # twice what a random Llama of 32 M parameters showed on a CPU, 3.0e-2
    budget=0.06,
)
