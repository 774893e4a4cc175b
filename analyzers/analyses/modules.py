"""Which modules the device worked for, along the tree of modules, backward included."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import polars as pl
from msgspec import Struct

from mmprof.analyzers import nesting
from mmprof.analyzers.lineage import Path, lineage
from mmprof.analyzers.load import categories as c
from mmprof.analyzers.registry import Table, analysis

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

# Annotations that a tracer names like parameters: `model.layers.0.mlp`. A number among the parts makes the root of the
# path known; other dotted names (`DistributedDataParallel.forward`) count only below a known root.
_DOTTED: Final = re.compile(r"[A-Za-z_]\w*(?:\.\w+)+", re.ASCII)
_NUMBERED: Final = re.compile(r"\.\d+(?:\.|$)", re.ASCII)
_MAX_NAME_CHARS: Final = 4096


class ModuleRow(Struct, frozen=True):
    """Device time of one module; time_ns of all rows sums to busy_ns.

    Attributes:
        module: Path of the module, outermost first; "" for activities outside any module.
        depth: Number of modules on the path.
        count: Activities launched in it, not in a module inside it.
        time_ns: Busy time owned by these activities.
        total_time_ns: The same, modules inside it included.
        backward_ns: Part of time_ns that the backward pass of its operators took.
    """

    module: str
    depth: int
    count: int
    time_ns: int
    total_time_ns: int
    backward_ns: int


class Modules(Struct, frozen=True):
    """Device time by module.

    Attributes:
        modules: By total_time_ns.
        module_coverage: Share of busy time inside any module.
    """

    modules: list[ModuleRow]
    module_coverage: float


@analysis(
    "trace",
    Table(
        "modules",
        "Modules",
        "module",
        ("depth", "count", "time_ns", "total_time_ns", "backward_ns"),
        by="module",
        share_of="busy_ns",
    ),
)
def modules(view: View) -> Modules:
    """Sum owned time by the modules around the launch, or around the forward operator of a backward one."""
    forward = view.activities.group_by("path").agg(
        count=pl.len().cast(pl.Int64), time_ns=pl.col("own_ns").sum()
    )
    chains = _chains(view.lineage.paths)
    outside = [code for code in forward["path"] if not chains[code]]
    parts = _by_chain(forward, chains)
    if outside and (view.trace.host["forward_thread"] > 0).any():
        parts = _with_backward(parts, _backward(view, outside))
    rows = [ModuleRow(*row) for row in _rows(parts).iter_rows()]
    inside_ns = sum(row.time_ns for row in rows if row.module)
    return Modules(rows, inside_ns / view.busy_ns if view.busy_ns else 0.0)


Chain = tuple[str, ...]
"""The paths of the modules around a launch, outermost first; each begins with the one before it."""

_PARTS: Final = {"chain": pl.List(pl.String), "count": pl.Int64, "time_ns": pl.Int64}


def _chains(paths: Mapping[int, Path]) -> dict[int, Chain]:
    roots = _roots(name for path in paths.values() for name in path.annotations)
    return {code: _chain(path, roots) for code, path in paths.items()}


def _roots(annotations: Iterable[str]) -> frozenset[str]:
    dotted = {name for name in annotations if _is_dotted(name) and _NUMBERED.search(name)}
    return frozenset(name.partition(".")[0] for name in dotted)


def _is_dotted(name: str) -> bool:
    return len(name) <= _MAX_NAME_CHARS and _DOTTED.fullmatch(name) is not None


def _chain(path: Path, roots: frozenset[str]) -> Chain:
    """The modules around a launch: those the profiler recorded, else those a tracer wrote as annotations."""
    names = path.modules or tuple(n for n in path.annotations if _is_module(n, roots))
    chain: list[str] = []
    for name in reversed(names):
        outer = f"{chain[-1]}." if chain else ""
        # A full path already begins with its parent's.
        chain.append(name if name.startswith(outer) else f"{outer}{name}")
    return tuple(chain)


def _is_module(name: str, roots: frozenset[str]) -> bool:
    return name in roots or (name.partition(".")[0] in roots and _is_dotted(name))


def _by_chain(sums: pl.DataFrame, chains: Mapping[int, Chain]) -> pl.DataFrame:
    """One row a path: `path`, `chain`, `count`, `time_ns`, `backward_ns`."""
    chain = pl.Series("chain", [chains[code] for code in sums["path"]], dtype=pl.List(pl.String))
    return sums.select("path", chain, "count", "time_ns", backward_ns=pl.lit(0, pl.Int64))
