"""What torch.compile did, as a lever tells it."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from mmprof.tracer.compile_facts import telling_compilations  # noqa: E402
from mmprof.tracer.workload import Workload  # noqa: E402


def test_graph_breaks_and_recompilations_are_counted_with_their_first_reasons() -> None:
    def broken(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        torch._dynamo.graph_break()
        return y * 2

    compiled = torch.compile(broken, backend="eager")
    lengths = iter([3, 3, 4, 4])
    bare = Workload("own", {}, lambda: compiled(torch.ones(next(lengths))), facts=lambda: {"a": 1})
    told = telling_compilations(bare)
    assert told.facts() == {"a": 1, "compiled_graphs": 0, "graph_breaks": 0, "recompilations": 0}
    told.run()
    first = told.facts()
    assert (first["compiled_graphs"], first["graph_breaks"]) == (2, 1)
    assert "graph_break" in str(first["first_graph_break"])
    assert first["recompilations"] == 0
    told.run()
    assert told.facts() == first
    told.run()  # another length
    again = told.facts()
    assert again["recompilations"] == 2  # of both halves
    assert "expected 3, actual 4" in str(again["first_recompilation"])
    # what was compiled before is not counted
    assert telling_compilations(bare).facts()["recompilations"] == 0
    torch.compiler.reset()
