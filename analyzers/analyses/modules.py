"""Which modules the device worked for, along the tree of modules, backward included."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

import polars as pl
from msgspec import Struct

from mmprof.analyzers import nesting
from mmprof.analyzers.hostwork import MODULE_PREFIX
from mmprof.analyzers.lineage import Path, lineage
from mmprof.analyzers.load import categories as c
from mmprof.analyzers.module_names import ModuleName, module_chain
from mmprof.analyzers.registry import Table, analysis

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mmprof.analyzers.view import View

# Annotations that a tracer names like parameters: `model.layers.0.mlp`. A number among the parts makes the root of the
# path known; other dotted names (`DistributedDataParallel.forward`) count only below a known root.
_DOTTED: Final = re.compile(r"[A-Za-z_]\w*(?:\.\w+)+", re.ASCII)
_NUMBERED: Final = re.compile(r"\.\d+(?:\.|$)", re.ASCII)
_MAX_NAME_CHARS: Final = 4096

Chain: TypeAlias = "tuple[ModuleName, ...]"
"""The modules around a launch, outermost first."""


class ModuleRow(Struct, frozen=True):
    """Device time of one module; time_ns of all rows sums to busy_ns.

    Attributes:
        module: Path of the module, outermost first; "" for activities outside any module.
        depth: Modules around it and itself.
        count: Activities launched in it, not in a module inside it.
        time_ns: Busy time owned by these activities.
        total_time_ns: The same, modules inside it included.
        backward_ns: Part of time_ns that the backward pass of its operators took.
        module_class: Class of the module; "" where the trace does not say.
    """

    module: str
    depth: int
    count: int
    time_ns: int
    total_time_ns: int
    backward_ns: int
    module_class: str = ""


class ModuleKindRow(Struct, frozen=True):
    """Device time of the modules that differ in nothing but numbers; time_ns of all rows sums to busy_ns.

    Attributes:
        pattern: Their path with `*` for numbers: `model.layers.*.mlp`; "" for activities outside any module.
        depth: Modules around one and itself.
        count: Activities launched in them, not in a module inside them.
        time_ns: Busy time owned by these activities.
        total_time_ns: The same, modules inside them included.
        backward_ns: Part of time_ns that the backward pass of their operators took.
        module_class: Class of the modules; "" where the trace does not say or there are several.
        modules: Number of modules.
    """

    pattern: str
    depth: int
    count: int
    time_ns: int
    total_time_ns: int
    backward_ns: int
    module_class: str
    modules: int


class Modules(Struct, frozen=True):
    """Device time by module.

    Attributes:
        modules: By total_time_ns.
        module_kinds: The same with the layers of a model taken together, by total_time_ns.
        module_coverage: Share of busy time inside any module.
    """

    modules: list[ModuleRow]
    module_kinds: list[ModuleKindRow]
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
    Table(
        "module_kinds",
        "Modules, layers taken together",
        "pattern",
        ("module_class", "modules", "count", "time_ns", "total_time_ns", "backward_ns"),
        by="module-kind",
        share_of="busy_ns",
    ),
)
def modules(view: View) -> Modules:
    """Sum owned time by the modules around the launch, or around the forward operator of a backward one."""
    located, paths = _located(view)
    sums = located.group_by("path").agg(
        count=pl.len().cast(pl.Int64),
        time_ns=pl.col("own_ns").sum(),
        backward_ns=pl.col("own_ns").filter("backward").sum(),
    )
    chains = _chains(paths)
    rows = [ModuleRow(*row) for row in _by_module(sums, chains, "path").drop("modules").iter_rows()]
    kinds = [ModuleKindRow(*row) for row in _by_module(sums, chains, "pattern").iter_rows()]
    inside_ns = sum(row.time_ns for row in rows if row.module)
    return Modules(rows, kinds, inside_ns / view.busy_ns if view.busy_ns else 0.0)


def innermost_patterns(view: View) -> pl.Series:
    """Of each of the view's activities the pattern of the innermost module, without wrappers; "" outside any."""
    located, paths = _located(view)
    chains = _chains(paths).items()
    patterns = {code: chain[-1].unwrapped if chain else "" for code, chain in chains}
    return located["path"].replace_strict(patterns, return_dtype=pl.String).alias("module")


def _by_module(sums: pl.DataFrame, chains: Mapping[int, Chain], key: str) -> pl.DataFrame:
    """Sum over the paths that a module lies on; what is launched in it directly is its own.

    Args:
        sums: Sums of the activities of each path.
        chains: The modules on each path.
        key: What tells modules apart: `path` or `pattern`.
    """
    inside = _levels(chains, key).join(sums, on="path").with_columns(total_time_ns="time_ns")
    own = ("count", "time_ns", "backward_ns")
    summed = (
        inside.with_columns(pl.when("innermost").then(pl.col(own)).otherwise(0))
        .group_by("module")
        .agg(pl.col("depth").min(), pl.col(*own, "total_time_ns").sum())
        .join(_described(chains, key), on="module", how="left")
    )
    ordered = summed.sort("total_time_ns", "module", descending=[True, False])
    return ordered.select(
        "module", "depth", *own[:2], "total_time_ns", "backward_ns", "module_class", "modules"
    )


def _described(chains: Mapping[int, Chain], key: str) -> pl.DataFrame:
    """The class and the number of the modules that a key stands for."""
    names = {name for chain in chains.values() for name in chain} | {ModuleName("", "", "")}
    frame = pl.DataFrame(list(names), schema=["path", "class", "pattern"], orient="row")
    one_class = pl.col("class").n_unique() == 1
    return frame.group_by(module=key).agg(
        module_class=pl.when(one_class).then(pl.col("class").first()).otherwise(pl.lit("")),
        modules=pl.col("path").filter(pl.col("path") != "").n_unique().cast(pl.Int64),
    )


def _levels(chains: Mapping[int, Chain], key: str) -> pl.DataFrame:
    """Each path with every module on it, once; a path without modules has the module "" at depth 0."""
    rows: list[tuple[int, str, int, bool]] = []
    for code, chain in chains.items():
        names = [getattr(module, key) for module in chain] or [""]
        depths = {
            name: depth for depth, name in reversed([*enumerate(names, start=len(chain) > 0)])
        }
        rows += ((code, name, depth, name == names[-1]) for name, depth in depths.items())
    schema = {"path": pl.Int64, "module": pl.String, "depth": pl.Int64, "innermost": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _chains(paths: Mapping[int, Path]) -> dict[int, Chain]:
    roots = _roots(name for path in paths.values() for name in path.annotations)
    return {code: _chain(path, roots) for code, path in paths.items()}


def _chain(path: Path, roots: frozenset[str]) -> Chain:
    """The modules around a launch: those the trace names as such, else annotations that are named like parameters."""
    names = path.modules or tuple(n for n in path.annotations if _is_module(n, roots))
    return module_chain(names)


def _roots(annotations: Iterable[str]) -> frozenset[str]:
    numbered = (name for name in annotations if _is_dotted(name) and _NUMBERED.search(name))
    return frozenset(name.partition(".")[0] for name in numbered)


def _is_dotted(name: str) -> bool:
    return len(name) <= _MAX_NAME_CHARS and _DOTTED.fullmatch(name) is not None


def _is_module(name: str, roots: frozenset[str]) -> bool:
    return name in roots or (name.partition(".")[0] in roots and _is_dotted(name))


def _located(view: View) -> tuple[pl.DataFrame, dict[int, Path]]:
    """The activities with the path of their modules, and the paths.

    An activity outside any module takes the path of its forward operator, where that is in one: it is `backward`.
    """
    paths = dict(view.lineage.paths)
    columns = view.activities.select(pl.col("path").cast(pl.Int64), "operator", "own_ns")
    outside = pl.col("path").is_in([code for code, chain in _chains(paths).items() if not chain])
    operators = columns.filter(outside)["operator"].drop_nulls().unique()
    forward, forward_paths = _forward_paths(view, operators)
    joined = columns.join(forward, on="operator", how="left", maintain_order="left")
    backward = outside & pl.col("forward_path").is_not_null()
    path = pl.when(backward).then("forward_path").otherwise("path")
    return joined.select("own_ns", path=path, backward=backward), paths | forward_paths


def _forward_paths(view: View, operators: pl.Series) -> tuple[pl.DataFrame, dict[int, Path]]:
    """Of operators of the backward pass, the `forward_path`, and the paths, numbered on from the view's."""
    host = view.trace.host
    if not _has_backward(host) or not _has_modules(host, view.lineage.paths):
        return pl.DataFrame(schema={"operator": operators.dtype, "forward_path": pl.Int64}), {}
    forward = _forward_operators(host, operators)
    around = lineage(view.host, forward["forward"])
    first = max(view.lineage.paths, default=0) + 1
    paths = {first + code: path for code, path in around.paths.items()}
    inside = pl.col("forward_path").is_in([code for code, chain in _chains(paths).items() if chain])
    moved = forward.select("operator", forward_path=around.code.cast(pl.Int64) + first)
    return moved.filter(inside), paths


def _has_backward(host: pl.DataFrame) -> bool:
    return bool((host["forward_thread"] > 0).any())


def _has_modules(host: pl.DataFrame, paths: Mapping[int, Path]) -> bool:
    """Whether any event may be a module: also where no selected activity is in one."""
    names = pl.Series(host.schema["name"].categories)  # type: ignore[attr-defined]
    return any(_chains(paths).values()) or bool(names.str.starts_with(MODULE_PREFIX).any())


def _forward_operators(host: pl.DataFrame, operators: pl.Series) -> pl.DataFrame:
    """The forward operator of each operator of the backward pass: rows `operator` and `forward`.

    A node of the backward graph carries the sequence number and the thread of the operator that made it, which is the
    last to start with that number before the node ran (as the profiler's own fwdbwd arrows have it).
    """
    is_node = (host["forward_thread"] > 0).fill_null(value=False)
    node = nesting.climb(host["parent"], operators, is_node)
    columns = host.select("sequence", "forward_thread", "start_ns")[node.drop_nulls()]
    nodes = columns.with_columns(operator=operators.filter(node.is_not_null()))
    is_maker = host["sequence"].is_not_null() & ~is_node & (host["kind"] == c.OPERATOR)
    numbered = host.select("thread", "sequence", "start_ns", forward="row")
    makers = numbered.filter(is_maker).sort("start_ns")
    placed = nodes.join(_threads(nodes, makers), on="forward_thread").sort("start_ns")
    found = placed.join_asof(
        makers,
        on="start_ns",
        by=["thread", "sequence"],
        strategy="backward",
        check_sortedness=False,
    )
    return found.select("operator", "forward").drop_nulls()


def _threads(nodes: pl.DataFrame, makers: pl.DataFrame) -> pl.DataFrame:
    """The thread behind each `forward_thread`, autograd's own number: the one that shares the most sequence numbers."""
    pairs = (
        nodes.select("forward_thread", "sequence")
        .unique()
        .join(makers.select("thread", "sequence").unique(), on="sequence")
    )
    shared = pairs.group_by("forward_thread", "thread").agg(pl.len())
    best = shared.sort("len", "thread", descending=[True, False])
    return best.unique("forward_thread", keep="first").select("forward_thread", "thread")
