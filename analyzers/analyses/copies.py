"""Memory copies and fills: how much, how fast, between which memories, and which of them made the host wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl
from msgspec import Struct

from mmprof.analyzers.load import categories as c
from mmprof.analyzers.registry import Table, analysis

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

# CUPTI: "Memcpy HtoD (Pinned -> Device)"; roctracer: "Memcpy HtoD (Host -> Device)" or "CopyHostToDevice"; Level Zero:
# "zeCommandListAppendMemoryCopy(M2D)", where M is host memory and S shared.
_LETTERS: Final = r"(?i)^Memcpy ([A-Z])to([A-Z])\b"
_ROCM_WORDS: Final = r"(?i)Copy(Host|Device)To(Host|Device)"
_XPU_LETTERS: Final = r"\(([MDS])2([MDS])\)"
_MEMORIES: Final = r"\(([\w ]+?) -> ([\w ]+?)\)"
_HOST_MEMORIES: Final = ("pageable", "pinned", "managed")


class CopyRow(Struct, frozen=True):
    """All copies in one direction from or to one kind of host memory, or all fills.

    Attributes:
        direction: HtoD, DtoH, DtoD, PtoP (between devices), HtoH, another pair of CUPTI's letters, memset or unknown.
        memory: Host memory of a copy to or from the host: pageable, pinned or managed; unknown where the trace does not
            say (ROCm); device for the rest.
        count: Number of copies.
        bytes: Bytes copied; 0 where the trace does not say.
        time_ns: Plain sum of durations.
        own_ns: Busy time that the copies own, where activities overlap.
        gbytes_per_s: bytes / time_ns; null without bytes or time.
        blocking: Copies whose launch call returned only after they had ended.
        host_blocked_ns: Length of those calls.
    """

    direction: str
    memory: str
    count: int
    bytes: int
    time_ns: int
    own_ns: int
    gbytes_per_s: float | None
    blocking: int
    host_blocked_ns: int


class Copies(Struct, frozen=True):
    """Copies and fills of a device.

    Attributes:
        copies: By time.
    """

    copies: list[CopyRow]


@analysis(
    "device",
    Table(
        "copies",
        "Copies and fills",
        "direction",
        (
            "memory",
            "count",
            "bytes",
            "time_ns",
            "own_ns",
            "gbytes_per_s",
            "blocking",
            "host_blocked_ns",
        ),
        by="copy",
        share_of="busy_ns",
    ),
)
def copies(view: View) -> Copies:
    """Sum copies and fills by direction and host memory; each distinct name is read once."""
    moved = view.activities.filter(pl.col("kind").is_in([c.MEMCPY, c.MEMSET]))
    named = moved.with_columns(pl.col("kind", "name").cast(pl.String)).join(
        _described(moved), on=["kind", "name"], maintain_order="left"
    )
    rows = _summed(named, view.host.blocking_copies)
    return Copies([CopyRow(*row) for row in rows.iter_rows()])


def _described(moved: pl.DataFrame) -> pl.DataFrame:
    """Direction and memory of each distinct name: kind, name, direction, memory."""
    distinct = moved.select(pl.col("kind", "name").cast(pl.String)).unique(maintain_order=True)
    name = pl.col("name")
    source = _side(name, 1)
    target = _side(name, 2)
    pair = pl.concat_str(source, pl.lit("to"), target).fill_null("unknown")
    memory = (
        pl.when(source == "H")
        .then(name.str.extract(_MEMORIES, 1))
        .otherwise(name.str.extract(_MEMORIES, 2))
    )
    kind = memory.str.to_lowercase().str.extract(rf"^({'|'.join(_HOST_MEMORIES)})")
    with_host = (source == "H") | (target == "H") | pair.eq("unknown")
    copy = pl.col("kind") == c.MEMCPY
    return distinct.with_columns(
        direction=pl.when(copy).then(pair).otherwise(pl.lit(c.MEMSET)),
        memory=pl.when(copy & with_host)
        .then(kind.fill_null("unknown"))
        .otherwise(pl.lit("device")),
    )


def _side(name: pl.Expr, group: int) -> pl.Expr:
    """The letter of a copy's source (group 1) or target (group 2): H, D, P, A or S."""
    letter = name.str.extract(_LETTERS, group)
    word = name.str.extract(_ROCM_WORDS, group).str.head(1)
    memory = name.str.extract(_XPU_LETTERS, group).str.replace("M", "H", literal=True)
    return pl.coalesce(letter, word, memory).str.to_uppercase()


def _summed(named: pl.DataFrame, blocking_launches: pl.Series) -> pl.DataFrame:
    blocking = (pl.col("kind") == c.MEMCPY) & pl.col("launch").is_in(blocking_launches.implode())
    call = pl.col("launch_end_ns") - pl.col("launch_start_ns")
    sums = named.group_by("direction", "memory").agg(
        count=pl.len().cast(pl.Int64),
        bytes=pl.col("bytes").sum(),
        time_ns=pl.col("dur_ns").sum(),
        own_ns=pl.col("own_ns").sum(),
        blocking=blocking.fill_null(value=False).sum().cast(pl.Int64),
        host_blocked_ns=call.filter(blocking & pl.col("launch").is_first_distinct()).sum(),
    )
    rate = pl.when((pl.col("bytes") > 0) & (pl.col("time_ns") > 0)).then(
        pl.col("bytes") / pl.col("time_ns")
    )
    ordered = sums.sort("time_ns", "direction", "memory", descending=[True, False, False])
    return ordered.select(
        "direction",
        "memory",
        "count",
        "bytes",
        "time_ns",
        "own_ns",
        rate.alias("rate"),
        "blocking",
        "host_blocked_ns",
    )
