"""What of a trace decides whether it can be compared with another: what ran, on what, and how it was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
import polars as pl

from mmprof.analyzers.diff.pieces import BUSY, UNATTRIBUTED
from mmprof.analyzers.sidecar import Argument

if TYPE_CHECKING:
    from mmprof.analyzers.trace import Trace
    from mmprof.analyzers.view import View

Vocabulary = Mapping[str, float]
"""Words with their share of busy time; what is unattributed has no word."""

SHAPED: Final = ("linear", "convolution", "moe", "recommender")
"""Classes whose FLOPs tell the sizes of the inputs; attention has its own in each implementation."""

_OPTIONS: Final = ("record_shapes", "with_stack", "profile_memory", "with_modules", "with_flops")
_DTYPES: Final = {
    "float": "fp32",
    "double": "fp64",
    "c10::BFloat16": "bf16",
    "c10::Half": "fp16",
    "half": "fp16",
}


@dataclass(frozen=True)
class Recording:
    """What a trace and its sidecar say of how it was recorded.

    Attributes:
        torch: Version; empty where nobody says.
        options: Options of the profiler that were on or off, as far as they are known.
        world_size: Ranks of the run.
        overhead: Time of the recorded run over that without the profiler; None where it was not measured.
        workload: Name in the sidecar; empty without one.
        arguments: Of that workload.
        notes: Codes of what loading had to assume.
        load_average: Processes that wanted to run when recording began; None where unknown.
    """

    torch: str = ""
    options: Mapping[str, bool] = field(default_factory=dict[str, bool])
    world_size: int = 1
    overhead: float | None = None
    workload: str = ""
    arguments: Mapping[str, Argument] = field(default_factory=dict[str, Argument])
    notes: frozenset[str] = frozenset()
    load_average: float | None = None


@dataclass(frozen=True)
class Work:
    """What a device did, as far as two recordings of the same model agree in it.

    Attributes:
        vocabularies: Operators with shapes (`op`), `module` and `kernel` with their shares of busy time, and `product`, the
            FLOPs of one call with their share of all.
        dtype: The type of most of the time of `SHAPED` classes; empty where unknown.
        product_flops: FLOPs of all these calls.
        carry_in: Time of carry-in over busy time.
    """

    vocabularies: Mapping[str, Vocabulary]
    dtype: str
    product_flops: int
    carry_in: float


def recording(trace: Trace) -> Recording:
    """Read what is known of a recording."""
    sidecar, codes = trace.sidecar, frozenset(n.code for n in trace.notes)
    known = Recording(
        torch=_text(trace.metadata.get("torch_version")),
        options=_options(trace.metadata),
        world_size=_world_size(trace.metadata),
        notes=codes,
    )
    if sidecar is None:
        return known
    timing, profiler = sidecar.timing, sidecar.profiler
    whole = timing.profiled_whole and timing.median_s and timing.profiled_s
    return Recording(
        torch=sidecar.versions.get("torch", known.torch),
        options={
            "record_shapes": profiler.shapes,
            "with_stack": profiler.stacks,
            "profile_memory": profiler.memory,
            "modules": profiler.modules,
        },
        world_size=known.world_size,
        overhead=(timing.profiled_s or 0) / (timing.median_s or 1) if whole else None,
        workload=sidecar.workload.name,
        arguments=sidecar.workload.arguments,
        notes=codes,
        load_average=sidecar.host.load_average,
    )


def work(view: View, pieces: pl.DataFrame) -> Work:
    """Summarize what a device did."""
    modelled = _modelled(view)
    products = _by_flops(modelled)
    carried = view.all_activities.filter("carry_in").select(pl.col("end_ns") - pl.col("start_ns"))
    vocabularies = {name: vocabulary(pieces, name) for name in ("op", "module", "kernel")}
    return Work(
        vocabularies | {"product": products},
        _dtype(modelled),
        int(modelled["flops"].sum()),
        int(carried.to_series().sum()) / max(view.busy_ns, 1),
    )


def vocabulary(pieces: pl.DataFrame, level: str) -> Vocabulary:
    """The names of a level of pieces, with their share of busy time."""
    busy = pieces.filter(pl.col("cause") == BUSY).group_by(level).agg(pl.col("time_ns").sum())
    whole = max(int(busy["time_ns"].sum()), 1)
    return {name: ns / whole for name, ns in busy.iter_rows() if name != UNATTRIBUTED}


def _modelled(view: View) -> pl.DataFrame:
    """The calls of `SHAPED` classes whose FLOPs are known: flops, dtype, time_ns."""
    shaped = view.activities.select("row", "class", "own_ns").filter(pl.col("class").is_in(SHAPED))
    costs = view.costs.select("row", "op_row", "flops", "dtype")
    joined = shaped.join(costs, on="row").filter(pl.col("op_row").is_not_null())
    return joined.group_by("op_row").agg(
        pl.col("flops").sum(), pl.col("dtype").max(), time_ns=pl.col("own_ns").sum()
    )


def _by_flops(modelled: pl.DataFrame) -> Vocabulary:
    sized = modelled.filter(pl.col("flops") > 0)
    sums = sized.group_by(size="flops").agg(pl.col("flops").sum())
    whole = max(int(sums["flops"].sum()), 1)
    return {str(size): flops / whole for size, flops in sums.iter_rows()}


def _dtype(modelled: pl.DataFrame) -> str:
    typed = modelled.filter(pl.col("dtype").fill_null("") != "")
    sums = typed.group_by("dtype").agg(pl.col("time_ns").sum())
    ordered = sums.sort("time_ns", "dtype", descending=[True, False])["dtype"]
    return _DTYPES.get(ordered[0], ordered[0]) if len(ordered) else ""


def _options(metadata: Mapping[str, Any]) -> dict[str, bool]:
    return {name: metadata[name] in (1, "1", True) for name in _OPTIONS if name in metadata}


def _world_size(metadata: Mapping[str, Any]) -> int:
    found = metadata.get("distributedInfo")
    if isinstance(found, str):  # some exporters write it as the text of a dict
        try:
            found = msgspec.json.decode(found.replace("'", '"'))
        except msgspec.DecodeError:
            return 1
    size = found.get("world_size") if isinstance(found, dict) else None
    return size if isinstance(size, int) and size > 0 else 1


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
