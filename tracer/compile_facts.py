"""What torch.compile made of a model: graphs, the places where they break, and what was compiled again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from torch._dynamo import utils

if TYPE_CHECKING:
    from mmprof.tracer.workload import Argument, Workload

_BREAKS: Final = ("graph_break", "unimplemented")
"""Counters of torch._dynamo: what a graph ends at is in either, some of it in both."""

_MOST_REASON: Final = 120


@dataclass(frozen=True, slots=True)
class Compilations:
    """What was compiled in this process.

    Attributes:
        graphs: Graphs.
        breaks: How often a graph ended, by reason, in the order of their first times.
        again: Why code was compiled again, in their order; of more than the last 64 compilations nothing is known.
    """

    graphs: int
    breaks: Mapping[str, int]
    again: tuple[str, ...]

    @classmethod
    def so_far(cls) -> Compilations:
        """Those since the process began."""
        breaks: Counter[str] = Counter()
        for name in _BREAKS:
            for reason, times in utils.counters[name].items():
                line = _first_line(reason)
                breaks[line] = max(breaks[line], times)
        reasons = (each.recompile_reason for each in utils.get_compilation_metrics())
        graphs = utils.counters["stats"]["unique_graphs"]
        return cls(graphs, breaks, tuple(_first_line(reason) for reason in reasons if reason))

    def since(self, before: Compilations) -> Compilations:
        """Those after others."""
        breaks = {
            reason: times - before.breaks.get(reason, 0)
            for reason, times in self.breaks.items()
            if times > before.breaks.get(reason, 0)
        }
        again = self.again[len(before.again) :]
        return Compilations(self.graphs - before.graphs, breaks, again)

    def facts(self) -> dict[str, Argument]:
        """Counts, and the first reasons."""
        told: dict[str, Argument] = {
            "compiled_graphs": self.graphs,
            "graph_breaks": sum(self.breaks.values()),
            "recompilations": len(self.again),
        }
        first = {
            "first_graph_break": next(iter(self.breaks), ""),
            "first_recompilation": next(iter(self.again), ""),
        }
        return told | {name: reason for name, reason in first.items() if reason}


def telling_compilations(workload: Workload) -> Workload:
    """The workload, which tells among its facts what is compiled from now on."""
    before = Compilations.so_far()

    def facts() -> dict[str, Argument]:
        return {**workload.facts(), **Compilations.so_far().since(before).facts()}

    return replace(workload, facts=facts)


def _first_line(reason: str) -> str:
    return reason.strip().partition("\n")[0][:_MOST_REASON]
