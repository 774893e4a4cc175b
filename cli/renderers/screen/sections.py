"""The sections about one device, in the order in which one reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group

from mmprof.cli.renderers import units
from mmprof.cli.renderers.headline import HOST_DEVICE
from mmprof.cli.renderers.screen.bar import Part, bar, busy_parts, idle_parts
from mmprof.cli.renderers.screen.layout import Column, beside, grid, prose
from mmprof.cli.renderers.sheets import NAMELESS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from mmprof.analyzers.analyses.bounds import BoundRow, Roofline
    from mmprof.analyzers.analyze import DeviceReport
    from mmprof.cli.renderers.screen.canvas import Canvas

SIDE_BY_SIDE_COLUMNS: Final = 76
_MODELLED: Final = ("compute", "memory", "latency")
_LIMITED: Final = ("compute", "memory")
_PEAKS_SHOWN: Final = ("bf16", "fp16", "tf32", "fp32")
_TELLING_SHARE: Final = 0.01
_KNOWN: Final = "known"
_BESIDE: Final = {"overlap_ns": "overlapped", "head_ns": "host before", "tail_ns": "host after"}
_KINDS: Final = {
    "kernel": ("kernel", "kernels"),
    "memcpy": ("copy", "copies"),
    "memset": ("fill", "fills"),
    "operator": ("operator", "operators"),
}


def timeline(device: DeviceReport, canvas: Canvas) -> RenderableType:
    """The bar, what is counted in it, and its parts with their shares of the window."""
    busy, idle = busy_parts(device), idle_parts(device)
    tables = _parts_tables(device, busy, idle, canvas)
    return Group(bar([*busy, *idle], canvas), prose(_counted(device), canvas, "dim"), *tables)


def _counted(device: DeviceReport) -> str:
    """Activities and streams, and the time that lies outside the window or is covered twice."""
    kinds = [_several(kind, a.count) for kind, a in device.value("activities").items() if a.count]
    streams = (
        "" if device.device == HOST_DEVICE else f" on {_several('stream', device.value('streams'))}"
    )
    said = [f"{', '.join(kinds)}{streams}"]
    said += [
        f"{units.duration(device.value(field))} {what}"
        for field, what in _BESIDE.items()
        if device.value(field) >= _TELLING_SHARE * device.value("window_ns")
    ]
    carried = device.value("carry_in")
    said += [f"{units.count(carried.count)} carried in, not counted"] if carried.count else []
    return "; ".join(said)


def _several(kind: str, number: int) -> str:
    one, many = _KINDS.get(kind, (kind, f"{kind}s"))
    return f"{units.count(number)} {one if number == 1 else many}"


def _parts_tables(
    device: DeviceReport, busy: Sequence[Part], idle: Sequence[Part], canvas: Canvas
) -> list[RenderableType]:
    left = _parts_table("busy with", busy, device, canvas)
    right = _parts_table("idle because of", idle, device, canvas)
    if not idle:
        return [left]
    if canvas.width < SIDE_BY_SIDE_COLUMNS:
        return [left, right]
    half = canvas.width // 2
    return [beside(left, right, (half, canvas.width - half))]


def _parts_table(
    title: str, parts: Sequence[Part], device: DeviceReport, canvas: Canvas
) -> RenderableType:
    window_ns = device.value("window_ns")
    columns = (
        Column("", vital=True),
        Column(title, vital=True),
        Column("of window", number=True, vital=True),
        Column("time", number=True),
    )
    rows = [
        (p.cell(canvas), p.name, units.share_of(p.time_ns, window_ns), units.duration(p.time_ns))
        for p in parts
    ]
    return grid(canvas, columns, rows, styles=[p.style for p in parts])


def bounds(device: DeviceReport, canvas: Canvas) -> RenderableType:
    """What bounds busy time, how much of it is known, and what was achieved of the device's peak."""
    busy_ns = device.value("busy_ns")
    shares = [
        f"{r.bound} {units.share_of(r.time_ns, busy_ns)}"
        for r in device.value("bounds")
        if r.time_ns
    ]
    first = prose(f"Bound by  {', '.join(shares)} of busy time", canvas)
    first.stylize("bold", 0, len("Bound by"))
    return Group(first, *(prose(line, canvas, "dim") for line in _roofline(device)))


def _roofline(device: DeviceReport) -> Iterator[str]:
    roofline: Roofline = device.value("roofline")
    known = (
        f"FLOPs and bytes known for {units.share(roofline.coverage)} of busy time{_gaps(device)}"
    )
    if not roofline.source or not roofline.coverage:
        yield known
        return
    modelled = [r for r in device.value("bounds") if r.bound in _MODELLED]
    if not modelled:
        yield known
        return
    yield f"{known}; that work could take {units.share(roofline.roofline_share)} of its time (roofline)"
    limited_ns = sum(r.time_ns for r in modelled if r.bound in _LIMITED)
    if limited_ns and limited_ns >= _TELLING_SHARE * device.value("busy_ns"):
        yield _achieved(roofline, modelled, sum(r.time_ns for r in modelled) / 1e9)
    if roofline.measured_source:
        yield _measured(roofline)


def _gaps(device: DeviceReport) -> str:
    """What work is not known for, where that is much."""
    busy_ns = device.value("busy_ns")
    unknown = [
        f"{row.work} {units.share_of(row.time_ns, busy_ns)}"
        for row in device.value("work")
        if row.work != _KNOWN and row.time_ns >= _TELLING_SHARE * busy_ns > 0
    ]
    return f" ({', '.join(unknown)})" if unknown else ""


def _achieved(roofline: Roofline, modelled: Sequence[BoundRow], seconds: float) -> str:
    moved, width = sum(r.bytes for r in modelled) / seconds, roofline.bandwidth_bytes_per_s
    of_width = f" of {units.rate(width, 'B')} ({units.share_of(moved, width)})" if width else ""
    flops = units.rate(sum(r.flops for r in modelled) / seconds, "FLOP")
    return f"achieved {units.rate(moved, 'B')}{of_width} and {flops}{_peaks(roofline.peak_flops)}"


def _measured(roofline: Roofline) -> str:
    """What the device was measured to reach, which is less than the table's peaks where it has those."""
    width = units.rate(roofline.measured_bandwidth_bytes_per_s, "B")
    reached = _peaks(roofline.measured_flops).replace(" of ", " and ", 1)
    return f"measured where the trace was recorded: {width}{reached}"


def _peaks(peak_flops: Mapping[str, int]) -> str:
    """The peaks of the usual data types; the first of several with the same one stands for all."""
    names = {peak_flops[dtype]: dtype for dtype in reversed(_PEAKS_SHOWN) if dtype in peak_flops}
    listed = [f"{units.number(peak / 1e12)} {names[peak]}" for peak in sorted(names, reverse=True)]
    return f" of {', '.join(listed)} TFLOP/s" if listed else ""


def operators(device: DeviceReport, canvas: Canvas, top: int) -> RenderableType:
    """The operators with most time; kernels, where most of the time has no operator."""
    ops, busy_ns = device.value("ops"), device.value("busy_ns")
    nameless_ns = sum(row.time_ns for row in ops if not row.name)
    if 2 * nameless_ns > busy_ns:
        return _kernels(device, canvas, top)
    rows = [
        (
            r.name or NAMELESS,
            r.class_,
            r.bound,
            units.count(r.kernels),
            units.duration(r.time_ns),
            units.share_of(r.time_ns, busy_ns),
        )
        for r in ops[:top]
        if r.time_ns
    ]
    launched = "count" if device.device == HOST_DEVICE else "kernels"
    return grid(canvas, _columns("operator", "class", "bound", counted=launched), rows)


def _kernels(device: DeviceReport, canvas: Canvas, top: int) -> RenderableType:
    busy_ns = device.value("busy_ns")
    rows = [
        (
            r.name,
            r.class_,
            units.count(r.count),
            units.duration(r.own_ns),
            units.share_of(r.own_ns, busy_ns),
        )
        for r in device.value("kernels")[:top]
    ]
    return grid(canvas, _columns("kernel (operators are not known)", "class"), rows)


def _columns(*texts: str, counted: str = "count") -> list[Column]:
    numbers = [Column(counted, number=True), Column("time", number=True, vital=True)]
    named = [Column(text, vital=not at) for at, text in enumerate(texts)]
    return [*named, *numbers, Column("of busy", number=True, vital=True)]
