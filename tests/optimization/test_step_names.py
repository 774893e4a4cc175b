"""What the rungs of a ladder are called."""

from __future__ import annotations

from mmprof.tracer.verify_results import Rung, step_names


def rung(added: str, *levers: str) -> Rung:
    return Rung(levers=list(levers), added=added, verdict="verified", exactness="lossy")


def test_a_step_is_named_by_what_it_adds_and_what_it_takes_off() -> None:
    ladder = [
        rung("compile", "compile"),
        rung("autoquant", "autoquant", "compile"),
        rung("fp16", "fp16", "compile"),
        rung("int8", "int8"),
    ]
    assert step_names(ladder) == [
        "+ compile",
        "+ autoquant",
        "+ fp16 - autoquant",
        "+ int8 - fp16 - compile",
    ]
    assert step_names([]) == []
