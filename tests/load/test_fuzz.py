"""Damaged traces, thousands of them: each loads into something that adds up, or is refused with an error code.

The mutations of a seed are always the same. `MMPROF_FUZZ` is the number of traces to try, `MMPROF_FUZZ_FROM` the first
seed.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import time
from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final, get_args

import pytest
import zstandard
from loaded import rich

from fixtures.layouts import Style, json_text
from fixtures.planted import PLANTED
from mmprof.analyzers.analyses.classes import classes
from mmprof.analyzers.analyses.idle_causes import idle_causes
from mmprof.analyzers.analyses.timeline import timeline
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.hostwork import HostWork
from mmprof.analyzers.load import layout, load
from mmprof.analyzers.view import HOST_DEVICE, View

if TYPE_CHECKING:
    from pathlib import Path

    from fixtures.builder import TraceBuilder
    from mmprof.analyzers.trace import Trace

COUNT: Final = int(os.environ.get("MMPROF_FUZZ", "300"))
FIRST: Final = int(os.environ.get("MMPROF_FUZZ_FROM", "0"))
LONGEST_S: Final = 2.0
STYLES: Final[tuple[Style, ...]] = get_args(Style)
ODD: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 0.5, -7.25, 1e30, -1e30, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), 10**40,
    "", "X", "0", "7", "0x1f", "inf", "NaN", "\ud83d\ude00", "\x00", "nn.Module: ", "stream 7", "}, {", "]}", "\\", '"',
    "aten::mm", "kernel", "cudaStreamSynchronize", "ProfilerStep#1", "a" * 5000,
    [], {}, [[]], [None], [1, [2, [3]]], {"a": {"b": [1]}}, {"ph": "X"}, [{"ph": "X", "ts": 1, "dur": 1}],
)  # fmt: skip
BYTES: Final = (b"", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\x00", b"\xff", b"\xed\xa0\x80", b"\n", b"NaN",
                b"-inf", b"e9", b"null", b"},\n  {", b"}, {", b"\\ud800", b"\\q", b"0", b"-", b".", b"]}")  # fmt: skip

PACKING: Final[tuple[Callable[[bytes], bytes], ...]] = (
    bytes,
    bytes,
    bytes,
    gzip.compress,
    zstandard.compress,
)

Events = list[dict[str, Any]]


# --- structural mutations -----------------------------------------------------------------------------------------


def drop_event(rnd: random.Random, events: Events) -> None:
    del events[rnd.randrange(len(events))]


def repeat_event(rnd: random.Random, events: Events) -> None:
    events.insert(rnd.randrange(len(events)), deepcopy(rnd.choice(events)))


def swap_events(rnd: random.Random, events: Events) -> None:
    one, other = rnd.randrange(len(events)), rnd.randrange(len(events))
    events[one], events[other] = events[other], events[one]


def shuffle_events(rnd: random.Random, events: Events) -> None:
    rnd.shuffle(events)


def drop_field(rnd: random.Random, events: Events) -> None:
    place = inner(rnd, rnd.choice(events))
    if place:
        del place[rnd.choice(list(place))]


def retype_field(rnd: random.Random, events: Events) -> None:
    place = inner(rnd, rnd.choice(events))
    if place:
        place[rnd.choice(list(place))] = deepcopy(rnd.choice(ODD))


def retype_everywhere(rnd: random.Random, events: Events) -> None:
    key, value = (
        rnd.choice(["ph", "cat", "name", "pid", "tid", "ts", "dur", "args"]),
        deepcopy(rnd.choice(ODD)),
    )
    for event in events:
        if isinstance(event, dict) and key in event and rnd.random() < 0.7:
            event[key] = value


def move_in_time(rnd: random.Random, events: Events) -> None:
    key = rnd.choice(["ts", "dur"])
    an_object(rnd, events)[key] = rnd.choice(
        [0, -1, 0.001, 1e-9, 1e12, 2.3e15, -2.3e15, 1e15, rnd.uniform(-1e3, 1e6)]
    )


def borrow_field(rnd: random.Random, events: Events) -> None:
    one, other = inner(rnd, rnd.choice(events)), inner(rnd, rnd.choice(events))
    if one and other:
        one[rnd.choice(list(one))] = deepcopy(other[rnd.choice(list(other))])


def nest_event(rnd: random.Random, events: Events) -> None:
    inside = [rnd.choice(events) for _ in range(rnd.randrange(1, 9))]
    an_object(rnd, events)["args"] = {"nested": deepcopy(inside)}


def replace_event(rnd: random.Random, events: Events) -> None:
    events[rnd.randrange(len(events))] = deepcopy(rnd.choice(ODD))


def an_object(rnd: random.Random, events: Events) -> dict[str, Any]:
    event: Any = rnd.choice(events)
    return event if isinstance(event, dict) else {}


def inner(rnd: random.Random, event: Any) -> dict[str, Any] | None:
    """The event itself, or its arguments."""
    if not isinstance(event, dict):
        return None
    args = event.get("args")
    return args if isinstance(args, dict) and rnd.random() < 0.5 else event


STRUCTURAL: Final[tuple[Callable[[random.Random, Events], None], ...]] = (
    drop_event, repeat_event, swap_events, shuffle_events, drop_field, retype_field, retype_field, retype_everywhere,
    move_in_time, move_in_time, borrow_field, nest_event, replace_event,
)  # fmt: skip


# --- mutations of text --------------------------------------------------------------------------------------------


def cut(rnd: random.Random, data: bytes) -> bytes:
    return data[: rnd.randrange(len(data) + 1)]


def cut_start(rnd: random.Random, data: bytes) -> bytes:
    return data[rnd.randrange(min(len(data), 2000) + 1) :]


def remove_run(rnd: random.Random, data: bytes) -> bytes:
    at = rnd.randrange(len(data) + 1)
    return data[:at] + data[at + rnd.choice([1, 2, 10, 500]) :]


def repeat_run(rnd: random.Random, data: bytes) -> bytes:
    at, length = rnd.randrange(len(data) + 1), rnd.choice([1, 2, 10, 500])
    return data[:at] + data[at : at + length] + data[at:]


def insert(rnd: random.Random, data: bytes) -> bytes:
    at = rnd.randrange(len(data) + 1)
    return data[:at] + rnd.choice(BYTES) + data[at:]


def overwrite(rnd: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rnd.choice([1, 3, 30])):
        if changed:
            changed[rnd.randrange(len(changed))] = rnd.randrange(256)
    return bytes(changed)


def replace_word(rnd: random.Random, data: bytes) -> bytes:
    old = rnd.choice(
        [
            b'"ph"',
            b'"X"',
            b'"ts"',
            b'"dur"',
            b'"traceEvents"',
            b": ",
            b", ",
            b"kernel",
            b"}",
            b"[",
            b'"',
        ]
    )
    return data.replace(old, rnd.choice(BYTES), rnd.choice([1, 2, -1]))


def swap_halves(rnd: random.Random, data: bytes) -> bytes:
    at = rnd.randrange(len(data) + 1)
    return data[at:] + data[:at]


TEXTUAL: Final[tuple[Callable[[random.Random, bytes], bytes], ...]] = (
    cut, cut, cut_start, remove_run, repeat_run, insert, insert, overwrite, overwrite, replace_word, swap_halves,
)  # fmt: skip


# --- one damaged trace --------------------------------------------------------------------------------------------


def builder(rnd: random.Random) -> TraceBuilder:
    return rich() if rnd.random() < 0.5 else rnd.choice(PLANTED)()[0]


def restructured(rnd: random.Random) -> bytes:
    """A trace in today's layout whose events were changed as JSON."""
    document = json.loads(json_text(builder(rnd).document()))
    events: Events = document["traceEvents"]
    for _ in range(rnd.choice([1, 2, 5, 40])):
        if events:
            rnd.choice(STRUCTURAL)(rnd, events)
    indent = rnd.choice([None, None, 2])
    return json.dumps(document if rnd.random() < 0.8 else events, indent=indent).encode()


def damaged(rnd: random.Random) -> bytes:
    """The bytes of a damaged file."""
    data = (
        restructured(rnd) if rnd.random() < 0.5 else builder(rnd).text(rnd.choice(STYLES)).encode()
    )
    for _ in range(rnd.choice([0, 1, 1, 2, 6])):
        data = rnd.choice(TEXTUAL)(rnd, data)
    packed = rnd.choice(PACKING)(data)
    return rnd.choice(TEXTUAL)(rnd, packed) if packed is not data and rnd.random() < 0.5 else packed


def assert_adds_up(trace: Trace) -> None:
    host = HostWork(trace)
    for device in sorted(set(trace.activities["device"])) or [HOST_DEVICE]:
        view = View(trace, host, device)
        measured = timeline(view)
        assert measured.busy_ns + measured.idle_ns == measured.window_ns
        assert measured.busy_ns >= 0
        assert measured.idle_ns >= 0
        assert sum(row.time_ns for row in classes(view).classes) == measured.busy_ns
        assert sum(row.time_ns for row in idle_causes(view).idle_causes) == measured.idle_ns


def check(path: Path) -> str:
    """The code of the error that refused the file; empty if it was loaded."""
    try:
        trace = load(path)
    except MmprofError as error:
        assert error.found
        assert error.hint
        return error.code
    assert all(note.message for note in trace.notes)
    assert_adds_up(trace)
    return ""


@pytest.mark.parametrize("tenth", range(10))
def test_damaged_traces_add_up_or_are_refused(
    tmp_path: Path, tenth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trace.json"
    for seed in range(FIRST + tenth, FIRST + COUNT, 10):
        rnd = random.Random(seed)
        monkeypatch.setattr(layout, "SUPER_BLOCK_BYTES", rnd.choice([200, 3000, 1 << 22]))
        monkeypatch.setattr(layout.blocks, "__defaults__", (rnd.choice([50, 1000, 1 << 18]),))
        path.write_bytes(damaged(rnd))
        began = time.process_time()
        try:
            check(path)
        except Exception as error:
            msg = f"MMPROF_FUZZ_FROM={seed} MMPROF_FUZZ=1"
            raise AssertionError(msg) from error
        assert time.process_time() - began < LONGEST_S, f"seed {seed}"
