"""Every trace adds up, and nothing that is not in its times, names and links moves an answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_traces import answers, assert_adds_up, loaded, traces, views

from fixtures.planted import PLANTED
from mmprof.analyzers.load import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fixtures.planted import Planted

Event = dict[str, Any]
slowly = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])

FOREIGN: list[Event] = [
    {"ph": "s", "id": 3, "cat": "ac2g", "name": "ac2g", "pid": 1, "tid": 1, "ts": 1},
    {"ph": "f", "id": 3, "cat": "ac2g", "name": "ac2g", "pid": 0, "tid": 7, "ts": 2, "bp": "e"},
    {
        "ph": "C",
        "cat": "hardware_counters",
        "name": "sm",
        "pid": "GPU 0 Counters",
        "ts": 0.1,
        "args": {"": 5},
    },
    {"ph": "i", "name": "Record Window End", "pid": "", "tid": "", "ts": 9_999, "s": "g"},
    {
        "ph": "X",
        "cat": "Trace",
        "name": "PyTorch Profiler (0)",
        "pid": "Spans",
        "tid": "x",
        "ts": 0,
        "dur": 9_999,
    },
    {"ph": "X", "cat": "of a newer version", "name": "?", "pid": 1, "tid": 1, "ts": 0.05, "dur": 7},
    {"ph": "M", "name": "process_labels", "pid": 0, "args": {"labels": "GPU 0"}},
    {"ph": "n", "name": "nobody writes this", "pid": 0, "ts": 5},
]


def all_answers(events: list[Event], **options: Any) -> list[dict[str, Any]]:
    return [answers(view) for view in views(loaded(events, **options))]


@slowly
@given(traces())
def test_every_trace_adds_up(events: list[Event]) -> None:
    for view in views(loaded(events)):
        assert_adds_up(view)
        assert (
            view.gaps.select(_causes(view))
            .sum_horizontal()
            .equals(view.gaps["end_ns"] - view.gaps["start_ns"])
        )


def _causes(view: Any) -> list[str]:
    return [name for name in view.gaps.columns if name not in {"start_ns", "end_ns", "row"}]


@slowly
@given(traces(), st.randoms(use_true_random=False))
def test_the_order_of_events_moves_no_answer(events: list[Event], rnd: Any) -> None:
    shuffled = events[:]
    rnd.shuffle(shuffled)
    assert all_answers(shuffled) == all_answers(events)


@slowly
@given(traces(), st.sampled_from([1, 1_000_007, -3_000]))
def test_the_origin_of_times_moves_no_answer(events: list[Event], shift_us: int) -> None:
    moved = [event | {"ts": round(event["ts"] + shift_us, 3)} for event in events]
    assert all_answers(moved) == all_answers(events)


@slowly
@given(traces(), st.lists(st.tuples(st.sampled_from(FOREIGN), st.integers(0, 40)), max_size=6))
def test_events_of_other_kinds_move_no_answer(
    events: list[Event], foreign: list[tuple[Event, int]]
) -> None:
    mixed = events[:]
    for event, at in foreign:
        mixed.insert(at, event)
    assert all_answers(mixed) == all_answers(events)


@slowly
@given(traces())
def test_a_time_unit_is_a_unit(events: list[Event]) -> None:
    """A trace a thousand times as long has answers a thousand times as long."""
    longer = [
        event | {key: event[key] * 1000 for key in ("ts", "dur") if key in event}
        for event in events
    ]
    for one, other in zip(all_answers(events), all_answers(longer), strict=True):
        assert other["window_ns"] == 1000 * one["window_ns"]
        assert other["busy_ns"] == 1000 * one["busy_ns"]
        assert {k: v[0] for k, v in other["causes"].items()} == {
            k: 1000 * v[0] for k, v in one["causes"].items()
        }


@pytest.mark.parametrize("planted", PLANTED[::5], ids=lambda p: p.__name__)
def test_processes_move_no_answer(tmp_path: Path, planted: Callable[[], Planted]) -> None:
    path = planted()[0].write(tmp_path / "trace.json.gz")
    found = [[answers(view) for view in views(load(path, processes=n))] for n in (0, 1, 2)]
    assert found[0] == found[1] == found[2]


def test_events_may_stand_twice_on_different_devices(tmp_path: Path) -> None:
    """The answers of one device do not see the other's activities."""
    kernels = [
        {
            "ph": "X",
            "cat": "kernel",
            "name": "k",
            "pid": d,
            "tid": 7,
            "ts": 10 * n,
            "dur": 4,
            "args": {"device": d},
        }
        for d in (0, 1)
        for n in range(3)
    ]
    (tmp_path / "t.json").write_text(json.dumps(kernels))
    one, two = (answers(view) | {"device": None} for view in views(load(tmp_path / "t.json")))
    assert one == two
    assert (one["window_ns"], one["busy_ns"]) == (24_000, 12_000)
