"""What `--window` selects: a step, a phase, an annotation or a time range, as host spans.

A window selects device activities by the time of their launch, so its spans are on the host's side. Tried in this order:

1. the exact name of an annotation (`ProfilerStep#3`): all its instances;
2. a phase (`decode`: all its instances; `decode[5]`: the one with index 5);
3. the beginning of annotation names (`ProfilerStep`), never a part of a number (`ProfilerStep#1` is not `#10`);
4. a time range `FROM..TO` with either side open. Units are ns, us, ms (the default) and s; `10..25ms` means 10 ms to
   25 ms. Time 0 is the launch of the first device activity (its start, where its launch is not in the trace; the first
   operator in a CPU-only trace).
"""

from __future__ import annotations

import difflib
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers import intervals
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.hostwork import MODULE_PREFIX
from mmprof.analyzers.load import categories as c
from mmprof.analyzers.phases import host_annotations, phase_spans

if TYPE_CHECKING:
    from mmprof.analyzers.trace import Trace

NAMES_SHOWN: Final = 8

_NS_PER_UNIT: Final = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
_TIME: Final = r"\s*(?:(\d{1,18}(?:\.\d{1,9})?)\s*(ns|us|ms|s)?)?\s*"
_RANGE: Final = re.compile(rf"{_TIME}\.\.{_TIME}")
_INSTANCE: Final = re.compile(r"(?P<phase>.+)\[(?P<index>\d{1,18})\]")


def window_spans(trace: Trace, text: str) -> pl.DataFrame:
    """The host spans that a window selects: start_ns, end_ns, disjoint and in order.

    Raises:
        MmprofError: Nothing matches (MM-E020), or a time range is malformed (MM-E021).
    """
    named = host_annotations(trace)
    for spans in (_exactly(named, text), _of_phase(trace, text), _beginning_with(named, text)):
        if spans.height:
            return intervals.merge(spans)
    if ".." in text:
        return _range(trace, text)
    raise _nothing_matches(trace, named, text)


def inside(spans: pl.DataFrame, times: pl.Series) -> pl.Series:
    """Whether each time lies in one of the disjoint, ordered spans."""
    if spans.is_empty():
        return pl.Series("inside", [False], dtype=pl.Boolean).new_from_index(0, len(times))
    position = spans["start_ns"].search_sorted(times, side="right").cast(pl.Int64) - 1
    return ((position >= 0) & (times < spans["end_ns"][position.clip(0)])).rename("inside")


def _exactly(named: pl.DataFrame, text: str) -> pl.DataFrame:
    return named.filter(pl.col("name") == text)


def _beginning_with(named: pl.DataFrame, text: str) -> pl.DataFrame:
    if not text:
        return named.clear()
    number = pl.col("name").str.slice(len(text), 2).str.contains(r"^[.,_]?\d")
    goes_on = number if text[-1].isdecimal() else pl.lit(value=False)
    return named.filter(pl.col("name").str.starts_with(text) & ~goes_on)


def _of_phase(trace: Trace, text: str) -> pl.DataFrame:
    spans = phase_spans(trace)
    found = spans.filter(pl.col("phase") == text)
    if found.height or (match := _INSTANCE.fullmatch(text)) is None:
        return found
    return spans.filter(
        (pl.col("phase") == match["phase"]) & (pl.col("index") == int(match["index"]))
    )


def _range(trace: Trace, text: str) -> pl.DataFrame:
    match = _RANGE.fullmatch(text)
    if match is None or not (match[1] or match[3]):
        raise _malformed(text, "it is no time range")
    low, high = _nanoseconds(match[1], match[2] or match[4]), _nanoseconds(match[3], match[4])
    if low is not None and high is not None and low >= high:
        raise _malformed(text, f"it ends at {high} ns, before it has started at {low} ns")
    origin, first, last = _extent(trace)
    start = first if low is None else origin + low
    end = last if high is None else origin + high
    if start >= last:
        raise _malformed(
            text, f"the trace ends {last - origin} ns after its first activity was launched"
        )
    return pl.DataFrame({"start_ns": [start], "end_ns": [end]}, schema=intervals.SCHEMA)


def _nanoseconds(number: str | None, unit: str | None) -> int | None:
    return None if number is None else round(Decimal(number) * _NS_PER_UNIT[unit or "ms"])


def _extent(trace: Trace) -> tuple[int, int, int]:
    """Time 0 of a range, and the first and the last time that a launch can have."""
    launches = _launch_times(trace)
    times = pl.concat([launches, trace.activities["start_ns"], trace.host["start_ns"]])
    if times.is_empty():
        return 0, 0, 0
    first, last = int(times.min()), int(times.max())  # type: ignore[arg-type]
    origin = first if launches.is_empty() else int(launches.min())  # type: ignore[arg-type]
    return origin, first, last + 1


def _launch_times(trace: Trace) -> pl.Series:
    linked = trace.activities.filter(~pl.col("carry_in"))
    if linked.is_empty():
        return trace.host.filter(pl.col("kind") == c.OPERATOR)["start_ns"]
    return trace.host["start_ns"][linked["launch"]].fill_null(linked["start_ns"])


def _malformed(text: str, found: str) -> MmprofError:
    return MmprofError(
        "MM-E021",
        f"cannot select the time range {text!r}",
        found=found,
        hint="FROM..TO with units ns, us, ms or s, as in 10ms..25ms, 0..1500us or 1.2s..",
    )


def _nothing_matches(trace: Trace, named: pl.DataFrame, text: str) -> MmprofError:
    listed = named.filter(~pl.col("name").str.starts_with(MODULE_PREFIX))  # hundreds in a model
    names = [*phase_spans(trace)["phase"].unique(maintain_order=True), *_by_time(listed)]
    names = list(dict.fromkeys(names))
    close = difflib.get_close_matches(text, names, n=1, cutoff=0.5)
    shown = ", ".join(names[:NAMES_SHOWN]) + ", ..." * (len(names) > NAMES_SHOWN)
    return MmprofError(
        "MM-E020",
        f"no phase or annotation is named {text!r}, or begins so",
        found=shown or "no phase and no annotation in the trace",
        hint=f"did you mean {close[0]!r}?"
        if close
        else "a name from the list, or a time range such as 10ms..25ms",
    )


def _by_time(named: pl.DataFrame) -> list[str]:
    """Distinct names, the one with the most time first."""
    length = (pl.col("end_ns") - pl.col("start_ns")).sum()
    sums = (
        named.group_by("name").agg(length=length).sort("length", "name", descending=[True, False])
    )
    return sums["name"].to_list()
