"""The levers that there are, by name; needs no torch."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mmprof.analyzers.choices import choose, nearest
from mmprof.analyzers.errors import MmprofError
from mmprof.tracer import levers as folder
from mmprof.tracer.lever import LAYERS, Lever

if TYPE_CHECKING:
    from mmprof.tracer.workload import Workload

CODE: Final = "MM-E053"

ALIASES: Final = {
    "bf16": "dtype",
    "bfloat16": "dtype",
    "compile": "torch_compile",
    "cudagraphs": "cuda_graphs",
    "fp16": "fp16_weights",
    "fp8": "float8",
    "int4": "quantization_int4",
    "kv_int8": "kv_cache_int8",
    "int8": "quantization_weight_only",
    "int8_dynamic": "quantization_dynamic",
    "reorder_in_place": "cache_reorder",
    "static_cache": "static_kv_cache",
}
"""Other names that people have for levers."""


def levers() -> dict[str, Lever]:
    """All levers by id, those of the application first: the `LEVER` of each file of `tracer/levers`."""
    names = (module.name for module in pkgutil.iter_modules(folder.__path__))
    modules = (importlib.import_module(f"{folder.__name__}.{name}") for name in names)
    found = [module.LEVER for module in modules if hasattr(module, "LEVER")]
    return {lever.id: lever for lever in sorted(found, key=_order)}


def lever_named(name: str) -> Lever:
    """The lever of an id, of an alias, of `module:NAME` for a user's own, or of `none`.

    Raises:
        MmprofError: There is no such lever.
    """
    if ":" in name:
        return _own(name)
    known, word = {**levers(), NONE.id: NONE}, name.lower().replace("-", "_")
    hint = "`mmprof levers`, or module:NAME for your own"
    return known[
        choose(ALIASES.get(word, word), known, what="the lever", code=CODE, otherwise=hint)
    ]


def levers_by_word(words: Iterable[str]) -> dict[str, Lever]:
    """The levers of several names by what they were called, each once, in their order; see `lever_named`.

    Raises:
        MmprofError: One of them does not exist.
    """
    found: dict[str, Lever] = {}
    for word in words:
        lever = lever_named(word)
        if lever.id not in {known.id for known in found.values()}:
            found[word] = lever
    return found


def _never(workload: Workload, device: str) -> str:  # noqa: ARG001  (the form that all levers have)
    return ""


NONE: Final = Lever(
    id="none",
    layer="application",
    summary="Changes nothing: shows how far equal runs differ",
    exactness="identical",
    risk="low",
    cost="none",
    hurts="nothing",
    applies=_never,
    apply=nullcontext,
)
"""The lever that is none, which every comparison must find to gain nothing."""


def _order(lever: Lever) -> tuple[int, str]:
    return LAYERS.index(lever.layer), lever.id


def _own(name: str) -> Lever:
    """The user's lever that `module:NAME` names; the module is looked for in the current folder first."""
    module_name, _, attribute = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise MmprofError(
            CODE, f"the module of the lever {name!r} does not exist", found=str(error)
        ) from error
    found = getattr(module, attribute, None)
    if isinstance(found, Lever):
        return found
    own = [each for each, value in vars(module).items() if isinstance(value, Lever)]
    raise MmprofError(
        CODE,
        f"{name!r} is no lever",
        found=f"levers of {module_name}: {', '.join(own) or 'none'}",
        hint=nearest(attribute, own, otherwise="a mmprof.tracer.lever.Lever"),
    )
