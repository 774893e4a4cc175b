"""What the host gains where it need not wait, allocate or load."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl
from msgspec import structs

from mmprof.analyzers.findings.evidence import main_place
from mmprof.analyzers.units import format_count, format_share
from mmprof.analyzers.whatif.changes import HostScaled, Unwaited
from mmprof.analyzers.whatif.prediction import Case, Predicted, predicted

if TYPE_CHECKING:
    from mmprof.analyzers.whatif.replay import Replay


def without_waits(replay: Replay) -> Predicted:
    """Predict a host that launches ahead: no call within the window waits for the device."""
    waits = _waits(replay)
    if replay.view.is_host or waits.is_empty():
        return None, "no call in the window waits for the device"
    nodes = waits["node"]
    every_second = nodes.gather_every(2)
    case = Case(
        low=[Unwaited(every_second)] if len(nodes) > 1 else [],
        expected=[Unwaited(nodes)],
        high=[Unwaited(nodes)],
    )
    said = [
        f"{format_count(len(nodes), 'call')} no longer wait; low: every second of them still does",
        "nothing that the host does next depends on the values it waited for",
    ]
    found = predicted(replay, case, rows=_next_rows(replay, nodes), assumptions=said)
    return _at_calls(found, replay, nodes)


def without_held_copies(replay: Replay, *, direction: str = "") -> Predicted:
    """Predict copies over the bus that the host does not wait for: pinned memory, copied without blocking.

    Args:
        replay: The window.
        direction: "HtoD" or "DtoH" for one of them alone.
    """
    named = pl.col("name").cast(pl.String).str.contains(direction, literal=True)
    rows = replay.view.activities.filter(named)["row"]
    copies = replay.recorded.activities.filter("is_copy", pl.col("row").is_in(rows.implode()))[
        "node"
    ]
    waits = _waits(replay)
    held = waits.filter(~pl.col("is_wait") & pl.col("node").is_in(copies.implode()))
    if replay.view.is_host or held.is_empty():
        return None, f"no copy {direction}{' ' * bool(direction)}in the window holds the host"
    nodes = held["node"]
    change = [Unwaited(nodes)]
    said = [
        f"{format_count(len(nodes), 'copy', 'copies')} no longer hold the host, and take as long as before",
        "nothing that the host does next depends on what they bring; low: all of it does",
    ]
    rows = _next_rows(replay, nodes)
    found = predicted(replay, Case([], change, change), rows=rows, assumptions=said)
    return _at_calls(found, replay, nodes)


def without_state(replay: Replay, state: str, words: str, *, left: float = 0.0) -> Predicted:
    """Predict a host that is never in a state.

    Args:
        replay: The window.
        state: One of `HOST_STATES`.
        words: What the state is, for people.
        left: The share of its time that is expected to stay.
    """
    events = replay.base.events.filter((pl.col(state) > 0) & ~pl.col("kept"))
    if events.is_empty():
        return None, f"the host spends no time in {words}"
    nodes = events["node"]
    low, expected, high = (
        [HostScaled(share, states=(state,), nodes=nodes)] for share in ((1 + left) / 2, left, 0.0)
    )
    spent_ns = int(events[state].sum())
    said = [
        f"of the host's time in {words} {format_share(left)} is left; low: {format_share((1 + left) / 2)}, high: nothing"
    ]
    rows = _next_rows(replay, nodes)
    return predicted(
        replay, Case(low, expected, high), rows=rows, assumptions=said, time_ns=spent_ns
    )


def _waits(replay: Replay) -> pl.DataFrame:
    """Calls within the window that wait: those after which the window still launches something."""
    events = replay.recorded.events
    last = replay.recorded.activities.filter(pl.col("span") >= 0)["node"].max()
    first = events.filter("kept")["node"].min()
    if last is None or first is None:
        return events.head(0)
    inside = pl.col("node").is_between(first, last)
    return events.filter(inside & (pl.col("is_wait") | (pl.col("waits_for") >= 0)))


def _at_calls(found: Predicted, replay: Replay, nodes: pl.Series) -> Predicted:
    """A prediction whose place is that of the calls that wait: there the code has to change, not where it goes on."""
    prediction, why = found
    if prediction is None:
        return found
    rows = replay.recorded.events.filter(pl.col("node").is_in(nodes.implode()))["row"].drop_nulls()
    host = replay.view.trace.host
    waiting = (host["end_ns"] - host["start_ns"]).gather(rows)
    longest = pl.DataFrame({"row": rows, "wait_ns": waiting}).sort("wait_ns", descending=True)
    where = main_place(replay.view, longest["row"], longest["wait_ns"])
    return replace(prediction, evidence=structs.replace(prediction.evidence, where=where)), why


def _next_rows(replay: Replay, nodes: pl.Series) -> pl.Series:
    """The activities launched by these calls or by the next call after each."""
    following = pl.concat([nodes, nodes + 1]).unique()
    acts = replay.recorded.activities.filter(pl.col("span") >= 0)
    return acts.filter(pl.col("node").is_in(following.implode()))["row"]
