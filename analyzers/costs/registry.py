"""Which formula belongs to which operator; families register themselves on import."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Final, TypeAlias

from mmprof.analyzers.costs import families
from mmprof.analyzers.costs.call import Cost, OperatorCall, UnderivableError

CostModel: TypeAlias = Callable[[OperatorCall], Cost]

_INT64_MAX: Final = 2**63 - 1
_models: dict[str, CostModel] = {}
_prefix_models: dict[str, CostModel] = {}


def cost_model(*names: str) -> Callable[[CostModel], CostModel]:
    """Registers a formula for operators; a name that ends in ``*`` stands for all that start so.

    Raises:
        ValueError: an operator has a formula already.
    """

    def register(model: CostModel) -> CostModel:
        for name in names:
            table = _prefix_models if name.endswith("*") else _models
            if name in table:
                msg = f"two cost models for {name}"
                raise ValueError(msg)
            table[name] = model
        return model

    return register


def cost_of(call: OperatorCall) -> Cost | None:
    """The work of a call, or None without a formula or without enough recorded arguments.

    Never raises, whatever the arguments; numbers that would not fit 64 bits give None.
    """
    model = _model_for(call.name)
    if model is None:
        return None
    try:
        cost = model(call)
    except UnderivableError:
        return None
    fits = min(cost.flops, cost.bytes) >= 0 and max(cost.flops, cost.bytes) <= _INT64_MAX
    return cost if fits else None


def undetermined(*names: str) -> None:
    """Registers operators whose recorded arguments do not determine their work, whatever formula there were.

    A name that ends in ``*`` stands for all that start so.
    """
    cost_model(*names)(_not_recorded)


def _not_recorded(_call: OperatorCall) -> Cost:
    msg = "the arguments do not determine the work"
    raise UnderivableError(msg)


def needs_arguments(name: str) -> bool:
    """Whether an operator's work follows from arguments, which a call without a cost does not have recorded."""
    return _model_for(name) is not None and cost_of(OperatorCall(name, (), ())) is None


def modelled_operators() -> tuple[str, ...]:
    """The operators with a formula, sorted; ``triton_poi_*`` stands for all that start so."""
    _load_families()
    known = {**_models, **_prefix_models}
    return tuple(sorted(name for name, model in known.items() if model is not _not_recorded))


def _model_for(name: str) -> CostModel | None:
    _load_families()
    exact = _models.get(name)
    if exact is not None:
        return exact
    matches = (model for prefix, model in _prefix_models.items() if name.startswith(prefix[:-1]))
    return next(matches, None)


@cache
def _load_families() -> None:
    for module in pkgutil.iter_modules(families.__path__, f"{families.__name__}."):
        importlib.import_module(module.name)
