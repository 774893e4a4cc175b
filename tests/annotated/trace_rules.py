"""The rules of the Trace Event Format that viewers rely on, checked event by event.

https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

Event = dict[str, Any]
_METADATA = {
    "process_name": "name",
    "process_labels": "labels",
    "process_sort_index": "sort_index",
    "thread_name": "name",
    "thread_sort_index": "sort_index",
}


def read_document(path: Path) -> dict[str, Any]:
    """The document of a file, with exact times."""
    data = path.read_bytes()
    text = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    document = json.loads(text, parse_float=Decimal)
    assert isinstance(document, dict)
    return document


def tracks_of(events: list[Event]) -> dict[tuple[str, str], list[Event]]:
    """The spans of mmprof's tracks, by name of the process and of the track."""
    names = {
        (e["name"], e["pid"], e["tid"]): e["args"]["name"]
        for e in events
        if e["ph"] == "M" and e["name"] in {"process_name", "thread_name"}
    }
    found = defaultdict[tuple[str, str], list[Event]](list)
    for event in events:
        if event["ph"] == "X" and event["cat"] == "mmprof":
            pid, tid = event["pid"], event["tid"]
            found[names["process_name", pid, 0], names["thread_name", pid, tid]].append(event)
    return dict(found)


def nanoseconds(event: Event) -> tuple[int, int]:
    """Start and end of a complete event."""
    start, dur = (Decimal(event[key]) * 1000 for key in ("ts", "dur"))
    assert start == int(start)
    assert dur == int(dur)
    return int(start), int(start + dur)


def broken_rules(document: dict[str, Any]) -> list[str]:
    """What in a document a viewer would refuse or misread."""
    events = document["traceEvents"]
    found = [f"{rule}: {e}" for e in events for rule in _broken_by(e)]
    return found or [*_overlaps(events), *_unpaired_flows(events)]


def _broken_by(event: Event) -> list[str]:
    needed = {"ph", "name", "pid"} | ({"ts", "tid"} if event.get("ph") != "M" else {"args"})
    broken = [f"no {key}" for key in sorted(needed - event.keys())]
    if broken:
        return broken
    if event["ph"] == "X" and not Decimal(event.get("dur", -1)) >= 0:
        broken.append("no duration")
    if event["ph"] in {"s", "f"} and "id" not in event:
        broken.append("no id")
    argument = _METADATA.get(event["name"], "") if event["ph"] == "M" else ""
    if argument and argument not in event["args"]:
        broken.append(f"no {argument}")
    if event["ph"] != "M" and Decimal(event["ts"]) < 0:
        broken.append("negative time")
    return broken


def _overlaps(events: list[Event]) -> list[str]:
    """Spans of a track of mmprof that overlap: they are disjoint, not only nested."""
    rows = defaultdict[tuple[int, int], list[tuple[int, int]]](list)
    for event in events:
        if event["ph"] == "X" and event.get("cat") == "mmprof":
            rows[event["pid"], event["tid"]].append(nanoseconds(event))
    return [
        f"overlap on {row}: {left} {right}"
        for row, spans in rows.items()
        for left, right in zip(sorted(spans), sorted(spans)[1:], strict=False)
        if right[0] < left[1]
    ]


def _unpaired_flows(events: list[Event]) -> list[str]:
    """Flows of mmprof that are no pairs, or that begin or end at no span of their row."""
    flows = [e for e in events if e["ph"] in {"s", "f"} and e.get("cat") == "mmprof"]
    starts = {(e["pid"], e["tid"], Decimal(e["ts"])) for e in events if e["ph"] == "X"}
    by_id = defaultdict[int, list[str]](list)
    for event in flows:
        by_id[event["id"]].append(event["ph"])
    loose = [e for e in flows if (e["pid"], e["tid"], Decimal(e["ts"])) not in starts]
    unpaired = [f"flow {number}: {ends}" for number, ends in by_id.items() if ends != ["s", "f"]]
    return unpaired + [f"flow at no span: {e}" for e in loose]
