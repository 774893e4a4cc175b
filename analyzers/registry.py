"""Analyses describe themselves: one file in `analyzers/analyses` is one analysis.

The command line, the JSON output, its JSON Schema, the report sections and the documentation all come from what is
registered here. An analysis is a pure function from a `View` to a frozen `msgspec.Struct`; the fields of that struct are
the fields that the analysis adds to the output: to each entry of `devices` (scope `device`) or to the top level (scope
`trace`).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_type_hints

import msgspec

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

Scope = Literal["device", "trace"]
R = TypeVar("R", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Table:
    """How a list field of a result is shown as a table.

    Attributes:
        field: The field of the result that holds the rows.
        title: Heading.
        key: The row's field that names it.
        columns: Row fields to show after the key, in order; `_ns` fields are shown as times.
        by: The word that selects this table in `--by`, if any.
        share_of: The device's field whose nanoseconds are 100 % of `time_ns` or `sum_ns`.
    """

    field: str
    title: str
    key: str
    columns: tuple[str, ...]
    by: str = ""
    share_of: str = "window_ns"


@dataclass(frozen=True, slots=True)
class Analysis:
    """A registered analysis.

    Attributes:
        name: Name of its file.
        scope: Whether its fields belong to a device or to the whole trace.
        summary: First line of its documentation.
        result: Type of its result.
        run: The function.
        tables: Tables that show its result.
    """

    name: str
    scope: Scope
    summary: str
    result: type[msgspec.Struct]
    run: Callable[[View], msgspec.Struct]
    tables: tuple[Table, ...]


_REGISTERED: Final[dict[str, Analysis]] = {}


def analysis(scope: Scope, *tables: Table) -> Callable[[Callable[[View], R]], Callable[[View], R]]:
    """Register the decorated function as the analysis of its file."""

    def register(run: Callable[[View], R]) -> Callable[[View], R]:
        module = importlib.import_module(run.__module__)
        name = run.__module__.rpartition(".")[2]
        result = get_type_hints(run, {**vars(module), "View": Any})["return"]
        summary = (module.__doc__ or "").partition("\n")[0]
        _REGISTERED[name] = Analysis(name, scope, summary, result, run, tables)
        return run

    return register


@cache
def analyses() -> Mapping[str, Analysis]:
    """All analyses by name."""
    package = importlib.import_module("mmprof.analyzers.analyses")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_REGISTERED.items()))


def tables() -> tuple[Table, ...]:
    """The tables of all analyses."""
    return tuple(t for a in analyses().values() for t in a.tables)
