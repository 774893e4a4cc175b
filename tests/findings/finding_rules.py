"""What the tests of the rules share: run one rule on a view, and say what it must find."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmprof.analyzers.findings import rules

if TYPE_CHECKING:
    from mmprof.analyzers.findings.registry import Match
    from mmprof.analyzers.view import View


def check(code: str, view: View) -> Match | None:
    """What the rule says of the view."""
    return rules()[code].check(view)


def found(code: str, view: View) -> Match:
    """What the rule found, which must be something."""
    match = check(code, view)
    assert match is not None, f"{code} found nothing"
    return match


def ended_by(view: View, starts_ns: list[int]) -> list[int]:
    """Events of the activities that start at these times, counted from the first launch call or operator of the trace."""
    origin = int(str(view.trace.host["start_ns"].min()))
    rows = view.selected.rows_by_key("start_ns", named=True)
    return [rows[origin + start][0]["event"] for start in starts_ns]
