"""MM107: copies over the bus that hold the host."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.evidence import about_activities, named, share_words, total
from mmprof.analyzers.findings.registry import Match, finding
from mmprof.analyzers.findings.thresholds import significant
from mmprof.analyzers.load import categories as c
from mmprof.analyzers.units import format_bytes, format_count

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

_OVER_THE_BUS: Final = r"HtoD|DtoH|HostToDevice|DeviceToHost"
_PINNED: Final = "Pinned"
# The copy of one value: waiting for it is a synchronization (MM102), and pinned memory does not change that.
_SINGLE_VALUE: Final = ("aten::item", "aten::_local_scalar_dense", "aten::is_nonzero")


@finding("MM107", "copies that hold the host", lever="pinned_memory")
def blocking_copies(view: View) -> Match | None:
    """Copies between host and device that the host waits for: it cannot launch ahead, and nothing overlaps with the copy.

    The driver moves pageable memory through a buffer of its own, and the call returns only when that is done: allocate
    the host side pinned (pin_memory=True in the data loader, tensor.pin_memory()). A copy from or to pinned memory holds
    the host only where it is asked to: copy with non_blocking=True, one batch ahead where possible, and wait for a result
    only when it is needed. Results that are not needed are better not copied at all.
    """
    copies = _blocking(view)
    exposed_ns = total(copies, "own_ns") + _idle_around(view, copies)
    if not significant(view, exposed_ns):
        return None
    pinned = copies.filter(named(copies, _PINNED))
    match = about_activities(
        view,
        copies,
        title=f"{_title(view, copies, exposed_ns)}{_pinned_words(pinned.height, copies.height)}",
        lever="sync_removal" if 2 * total(pinned, "own_ns") > total(copies, "own_ns") else None,
    )
    return replace(match, time_ns=exposed_ns, removable_ns=exposed_ns)


def _blocking(view: View) -> pl.DataFrame:
    copies = view.activities.filter(pl.col("kind") == c.MEMCPY)
    waited = (pl.col("launch_end_ns") >= pl.col("end_ns")).fill_null(value=False)
    single = pl.col("operator_name").cast(pl.String).is_in(_SINGLE_VALUE).fill_null(value=False)
    held = waited | named(copies, "Pageable")
    return copies.filter(named(copies, _OVER_THE_BUS) & held & ~single)


def _idle_around(view: View, copies: pl.DataFrame) -> int:
    """Idle time that the copies cause: before one, while its call fills the driver's buffer; after one, until it returns."""
    before = view.gaps.join(copies.select("row"), on="row", how="semi")
    after = view.gaps.join(copies.select(start_ns="end_ns").unique(), on="start_ns", how="semi")
    return total(before, "launch") + total(after, "sync")


def _pinned_words(pinned: int, copies: int) -> str:
    if not pinned:
        return ""
    which = "the host memory" if pinned == copies else f"that of {format_count(pinned)} of them"
    return f"; {which} is pinned already"


def _title(view: View, copies: pl.DataFrame, exposed_ns: int) -> str:
    moved = format_bytes(int(copies["bytes"].fill_null(0).sum()))
    return (
        f"{share_words(view, exposed_ns)} in and around {format_count(copies.height, 'copy', 'copies')} between host and device "
        f"that hold the host, {moved} in all"
    )
