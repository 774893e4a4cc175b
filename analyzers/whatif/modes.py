"""What a mode of torch gains: operators that keep nothing for autograd are dispatched faster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.thresholds import SHORT_NS
from mmprof.analyzers.units import format_share
from mmprof.analyzers.whatif.changes import Change, HostScaled, Shortened
from mmprof.analyzers.whatif.prediction import Case, Predicted, predicted

if TYPE_CHECKING:
    from mmprof.analyzers.whatif.replay import Replay

# What torch.inference_mode left of the time of ten small operators, torch 2.13 on one core of a Zen 3, parameters among their inputs: 84 to
# 96 % of that in torch.no_grad, half of them 90 % at most; 50 to 93 % of that with gradients, half of them 85 % at most.
_LEFT: Final = {False: (0.90, 0.84), True: (0.85, 0.50)}


def inference(replay: Replay) -> Predicted:
    """Predict inference mode: each operator costs the host less."""
    if not replay.view.host.is_operator.any():
        return None, "no operators were recorded: nothing shows what dispatching them takes"
    grads = _with_gradients(replay)
    expected, most = _LEFT[grads]
    case = Case(
        low=[] if not grads else _dispatched(replay, (1 + expected) / 2),
        expected=_dispatched(replay, expected),
        high=_dispatched(replay, most),
    )
    nodes = replay.recorded.events["node"]
    mode = (
        "operators ran with gradients, as their sequence numbers show"
        if grads
        else "operators ran without gradients, and not in inference mode yet, which no trace shows; low: they did"
    )
    said = [
        mode,
        f"of the time in which operators are dispatched {format_share(expected)} is left (high: {format_share(most)}), as measured of ten "
        "operators on one CPU",
    ]
    return predicted(
        replay, case, rows=replay.rows_of(nodes), assumptions=said, time_ns=_dispatch_ns(replay)
    )


def _with_gradients(replay: Replay) -> bool:
    """Whether most operators around the window's activities have a sequence number, which autograd gives out."""
    host = replay.view.trace.host
    rows = replay.view.activities["launch"].drop_nulls()
    numbered = host["sequence"].gather(rows).is_not_null()
    return 2 * int(numbered.sum()) > len(numbered)


def _dispatch_ns(replay: Replay) -> int:
    return int(replay.base.events.filter(~pl.col("kept"))["dispatch"].sum())


def _dispatched(replay: Replay, left: float) -> list[Change]:
    """On a host that does the work itself, an operator too short to be anything else is dispatch as well."""
    changes: list[Change] = [HostScaled(left, ("dispatch",))]
    if replay.view.is_host:
        short = replay.base.activities.filter(pl.col("dur_ns") < SHORT_NS)
        changes.append(Shortened(short.select("row", left_ns=(pl.col("dur_ns") * left).round())))
    return changes
