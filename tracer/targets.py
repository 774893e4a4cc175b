"""The user's own models: `module:function`."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, MutableMapping
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import nn

from mmprof.analyzers.choices import nearest
from mmprof.analyzers.errors import MmprofError
from mmprof.tracer.workload import Argument, Workload

CODE: Final = "MM-E051"
_RETURNS: Final = "(model, inputs), a function without arguments, or a mmprof Workload"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a user's model runs, and how; empty texts leave it as it is.

    Attributes:
        device: A torch device.
        dtype: Name of a torch dtype, for parameters and floating-point inputs.
        seed: Seeds torch before the model is made.
        options: Arguments of the function.
    """

    device: str = ""
    dtype: str = ""
    seed: int = 0
    options: Mapping[str, Argument] = field(default_factory=dict)


def workload_of(target: str, placement: Placement) -> Workload:
    """The workload that a user's function makes.

    Args:
        target: `module:function`; the module is looked for in the current folder first.
        placement: Where its model runs.

    Raises:
        MmprofError: There is no such function, or it returns something else.
    """
    make = _function(target)
    _check_arguments(make, target, placement.options)
    torch.manual_seed(placement.seed)
    made = make(**placement.options)
    if isinstance(made, Workload):
        return _unplaced(made, placement, target)
    if isinstance(made, (tuple, list)) and len(made) == 2 and isinstance(made[0], nn.Module):
        return _forward(target, made[0], made[1], placement)
    if callable(made) and not isinstance(made, nn.Module):
        return _unplaced(Workload(target, {}, made, _arguments(placement)), placement, target)
    raise MmprofError(
        CODE,
        f"{target} returns nothing that can be run",
        found=type(made).__name__,
        hint=f"return {_RETURNS}",
    )


def _check_arguments(
    make: Callable[..., Any], target: str, options: Mapping[str, Argument]
) -> None:
    """Check that a function takes the options, and needs nothing else."""
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):  # what is written in C does not say what it takes
        return
    try:
        signature.bind(**options)
    except TypeError as error:
        raise MmprofError(
            "MM-E052",
            f"{target} cannot be called so: {error}",
            found=f"{target.rpartition(':')[2]}{signature}",
            hint="--set NAME=VALUE for each of its arguments",
        ) from error


def _unplaced(workload: Workload, placement: Placement, target: str) -> Workload:
    if placement.device or placement.dtype:
        option = "--device" if placement.device else "--dtype"
        raise MmprofError(
            "MM-E052",
            f"{option} has no effect on {target}: it places its model itself",
            hint="return (model, inputs), or leave the option out",
        )
    return workload


def _forward(name: str, model: nn.Module, inputs: object, placement: Placement) -> Workload:
    """A forward call of a model."""
    placed = model.to(device=placement.device or None, dtype=_dtype(placement))
    call = request_with(placed, _moved(inputs, placement))
    return Workload(name, {"": placed}, call, _arguments(placement))


def request_with(call: Callable[..., object], inputs: object) -> Callable[[], object]:
    """A call without gradients: a mapping of inputs by name, a tuple or list by place, anything else alone."""

    @torch.no_grad()
    def run() -> object:
        if isinstance(inputs, Mapping):
            return call(**inputs)
        if isinstance(inputs, (tuple, list)):
            return call(*inputs)
        return call(inputs)

    return run


def _moved(value: object, placement: Placement) -> object:
    """Inputs where their model is, in containers of their kind; other dtypes than floating-point ones keep theirs."""
    if isinstance(value, torch.Tensor):
        dtype = _dtype(placement) if value.is_floating_point() else None
        return value.to(device=placement.device or None, dtype=dtype)
    if isinstance(value, MutableMapping):
        placed = copy(value)
        for key, inner in value.items():
            placed[key] = _moved(inner, placement)
        return placed
    if isinstance(value, (tuple, list)):
        inside = [_moved(inner, placement) for inner in value]
        kind: Callable[..., object] = type(value)
        return kind(*inside) if hasattr(value, "_fields") else kind(inside)
    return value


def _dtype(placement: Placement) -> torch.dtype | None:
    return cast("torch.dtype", getattr(torch, placement.dtype)) if placement.dtype else None


def _arguments(placement: Placement) -> dict[str, Argument]:
    given = {"device": placement.device, "dtype": placement.dtype}
    return {k: v for k, v in given.items() if v} | {"seed": placement.seed, **placement.options}


def _function(target: str) -> Callable[..., Any]:
    module_name, _, path = target.partition(":")
    found: Any = _module(module_name, target)
    for name in path.split("."):
        if not hasattr(found, name):
            raise MmprofError(
                CODE,
                f"{module_name} has no {path!r}",
                found=", ".join(_public(found)) or "no public names",
                hint=nearest(name, _public(found), otherwise="module:function"),
            )
        found = getattr(found, name)
    if not callable(found):
        raise MmprofError(
            CODE, f"{target} is no function", found=type(found).__name__, hint="module:function"
        )
    return cast("Callable[..., Any]", found)


def _module(name: str, target: str) -> Any:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # The module may be there and miss another one: that is the user's error to see.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise MmprofError(
            CODE,
            f"the module {name!r} of {target} does not exist",
            found=f"looked in {folder} and where Python looks",
            hint="run in the folder of the file, without its .py",
        ) from error


def _public(thing: object) -> list[str]:
    return [name for name in getattr(thing, "__dict__", ()) if not name.startswith("_")]
