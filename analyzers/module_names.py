"""Names of modules: torch's `Linear_3`, and those that mmprof's tracer writes, `model.layers.0.mlp (LlamaMLP)`.

Both stand after `nn.Module: ` in a trace. torch's profiler numbers the instances of a class; the tracer gives the path that
the module has in its model, and its class. Where a trace has both, the tracer's names are used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

# Keys of a ModuleDict are parts of paths: they may have blanks and parentheses.
_TRACED: Final = re.compile(r"(\S(?:.*\S)?) \(([^\s()]+)\)", re.DOTALL)
_INSTANCE: Final = re.compile(r"_\d+$", re.ASCII)
_NUMBERED_PART: Final = re.compile(r"(?:(?<=\.)|^)\d+(?=\.|$)", re.ASCII)
_NUMBERED_CLASS: Final = re.compile(r"_\d+(?=\.|$)", re.ASCII)
# What torch.compile, FSDP and activation checkpointing put around a module; torch's profiler numbers the first by class.
_WRAPPER: Final = re.compile(
    r"(?:(?<=\.)|^)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|OptimizedModule_\*)(?:\.|$)"
)
_KEPT: Final = 1024  # answers, for the next launch in the same modules
_STRIDE: Final = 64


class ModuleName(NamedTuple):
    """A module around a launch.

    Attributes:
        path: Where it is in its model; of torch's names the names of all modules around it and its own.
        class_name: Its class.
        pattern: The path with `*` for numbers: equal for the layers of a model.
    """

    path: str
    class_name: str
    pattern: str

    @property
    def unwrapped(self) -> str:
        """The pattern without wrappers: equal for a model and its compiled twin; the class where nothing else is left."""
        return _WRAPPER.sub("", self.pattern).removesuffix(".") or self.class_name


@lru_cache(maxsize=_KEPT)
def is_traced(name: str) -> bool:
    """Whether a name is a path and a class, as the tracer writes it."""
    return _TRACED.fullmatch(name) is not None


def innermost_words(names: Sequence[str]) -> tuple[str, ...]:
    """What the innermost of some modules is called, the class first: `LlamaRMSNorm` and `norm`; one word for torch's names.

    Args:
        names: Names of modules, the innermost first.
    """
    if not names:
        return ()
    match = _TRACED.fullmatch(names[0])
    return (match[2], match[1].rpartition(".")[2]) if match else (names[0],)


def module_chain(names: Sequence[str]) -> tuple[ModuleName, ...]:
    """The modules of some names, the outermost first; one that called itself, or around its own calls, stands once.

    Args:
        names: Names of modules around a launch, the innermost first.
    """
    found = tuple(names)
    for start in range(
        len(found) - _STRIDE, 0, -_STRIDE
    ):  # deep stacks in steps, each on the one before
        _chain(found[start:])
    return _chain(found)


@lru_cache(maxsize=_KEPT)
def _chain(names: tuple[str, ...]) -> tuple[ModuleName, ...]:
    """The modules of some names: those of the outer ones, which many launches share, and the innermost."""
    if not names:
        return ()
    outer = _chain(names[1:])
    match = _TRACED.fullmatch(names[0])
    module = _traced(*match.groups()) if match else _numbered(names[0], outer)
    return outer if outer[-1:] == (module,) else (*outer, module)


def module_path(names: Sequence[str]) -> str:
    """The path of the innermost of some modules, "" for none."""
    chain = module_chain(names)
    return chain[-1].path if chain else ""


def module_kind(name: str) -> str:
    """What one name of a module shares with other layers' and instances': `model.layers.*.mlp`, `Linear`."""
    match = _TRACED.fullmatch(name)
    return _traced(*match.groups()).pattern if match else _INSTANCE.sub("", name)


def with_outer(inner: tuple[str, ...], outer: str) -> tuple[str, ...]:
    """Names of modules, the innermost first, with one more around them; torch's are dropped where the tracer names any."""
    if not inner or is_traced(inner[0]) == is_traced(outer):
        return (*inner, outer)
    return (outer,) if is_traced(outer) else inner


def _traced(path: str, class_name: str) -> ModuleName:
    return ModuleName(path, class_name, _NUMBERED_PART.sub("*", path))


def _numbered(name: str, chain: Sequence[ModuleName]) -> ModuleName:
    around = f"{chain[-1].path}." if chain else ""
    # an annotation that is a whole path begins with its parent's
    path = name if name.startswith(around) else f"{around}{name}"
    pattern = _NUMBERED_PART.sub("*", _NUMBERED_CLASS.sub("_*", path))
    return ModuleName(path, "" if "." in name else _INSTANCE.sub("", name), pattern)
