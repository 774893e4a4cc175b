"""int8 linear layers by torchao, undone at the end."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from torch import nn

from mmprof.tracer.lever_models import modules_of, output_head, transformers_models

if TYPE_CHECKING:
    from mmprof.tracer.workload import Workload

NO_TORCHAO: Final = "needs torchao: pip install 'mmprof[levers]'"

_CUDA_MULTIPLE: Final = 8
"""torchao multiplies int8 on CUDA only where both sides of a weight are multiples of this; others go through the host."""


def has_torchao() -> bool:
    """Whether torchao is installed."""
    return importlib.util.find_spec("torchao") is not None


def why_not_quantized(workload: Workload, device: str) -> str:
    """Why no layer can be quantized; empty where one can."""
    if not has_torchao():
        return NO_TORCHAO
    layers = quantizable(workload)
    if not layers:
        return "no linear layer beside output heads"
    odd = [n for layer in layers for n in layer.weight.shape if n % _CUDA_MULTIPLE]
    if device.startswith("cuda") and odd:
        return f"a linear layer has a side of {odd[0]}, no multiple of {_CUDA_MULTIPLE}"
    return ""


def quantizable(workload: Workload) -> list[nn.Linear]:
    """The linear layers without output heads, which may share their weights with an embedding."""
    heads = {id(head) for head in output_heads(workload)}
    return [
        module
        for module in modules_of(workload)
        if type(module) is nn.Linear and id(module) not in heads
    ]


def output_heads(workload: Workload) -> list[nn.Module]:
    """The layers that make logits of words or units."""
    owners = (module for model in transformers_models(workload) for module in model.modules())
    return [head for head in map(output_head, owners) if head is not None]


def _torchao() -> Any:
    return importlib.import_module("torchao.quantization")


def a_scale_a_row() -> object:
    """Torchao's name for scales of single rows and output channels."""
    return _torchao().PerRow()


@contextmanager
def quantized(workload: Workload, config: str, **options: Any) -> Iterator[Workload]:
    """Quantize the linear layers.

    Args:
        workload: What to quantize.
        config: Name of a configuration of torchao.
        options: Its options.
    """
    torchao = _torchao()
    layers = quantizable(workload)
    chosen = set(map(id, layers))
    # Its changes to the compiler's global settings would outlive the lever.
    settings = getattr(torchao, config)(set_inductor_config=False, **options)
    with ExitStack() as undone:
        for layer in layers:
            undone.callback(_restore, layer, dict(vars(layer)), dict(vars(layer)["_parameters"]))
        for model in workload.models.values():
            torchao.quantize_(model, settings, filter_fn=lambda module, _: id(module) in chosen)
        yield workload


def _restore(layer: nn.Module, own: dict[str, Any], parameters: dict[str, Any]) -> None:
    vars(layer).clear()
    vars(layer).update(own)
    vars(layer)["_parameters"].clear()
    vars(layer)["_parameters"].update(parameters)
