"""What another memory layout gains: convolutions closer to what the device was seen to reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers import nesting
from mmprof.analyzers.findings.evidence import with_costs
from mmprof.analyzers.units import format_count, format_share
from mmprof.analyzers.whatif.changes import Removed, Shortened
from mmprof.analyzers.whatif.prediction import Case, Predicted, predicted

if TYPE_CHECKING:
    from mmprof.analyzers.view import View
    from mmprof.analyzers.whatif.replay import Replay

LAYOUT_EFFICIENCY: Final = 0.5
"""Of its roofline, what a convolution in the layout that its kernel is made for is expected to reach: an assumption, as for fused
attention; the largest products of torch reach 0.7 to 1.0 of a core's measured peak."""

_CALLS: Final = ("aten::conv1d", "aten::conv2d")
_CONVERSIONS: Final = r"(?i)nchwToNhwc|nhwcToNchw"


def innermost_channels(replay: Replay) -> Predicted:
    """Predict convolutions over one or two extents with the channels innermost: nothing converts layouts, all come near their roofline."""
    acts = with_costs(replay.view)
    found = _of_images(replay.view, acts)
    converted = acts.filter(pl.col("name").cast(pl.String).str.contains(_CONVERSIONS))["row"]
    if found.is_empty() and converted.is_empty():
        return (
            None,
            "no convolution of known shape over one or two extents, and no kernel that converts between layouts",
        )
    gone = Removed(converted)
    near, at = (_at_most(found, 1 / share) for share in (LAYOUT_EFFICIENCY, 1.0))
    said = [
        f"{format_count(found.height, 'convolution')} reach {format_share(LAYOUT_EFFICIENCY)} of their roofline where they reached "
        f"less (high: all of it); {format_count(len(converted), 'kernel')} that convert between layouts are gone",
        "low: no convolution is faster",
    ]
    rows = pl.concat([found["row"], converted]).unique()
    return predicted(replay, Case([gone], [gone, near], [gone, at]), rows=rows, assumptions=said)


def _of_images(view: View, acts: pl.DataFrame) -> pl.DataFrame:
    """Convolutions of known cost over one or two extents; those over one run the kernels of images one pixel high."""
    host = view.trace.host
    called = host["name"].cast(pl.String).is_in(_CALLS)
    around = nesting.climb(host["parent"], acts["op_row"], called)
    known = (pl.col("model") == "convolution") & (pl.col("roofline_ns") > 0)
    return acts.with_columns(around=around).filter(known & pl.col("around").is_not_null())


def _at_most(activities: pl.DataFrame, rooflines: float) -> Shortened:
    """Activities that take no longer than some times their roofline."""
    left = pl.min_horizontal(pl.col("dur_ns"), pl.col("roofline_ns") * rooflines)
    return Shortened(activities.select("row", left_ns=left.round()))
