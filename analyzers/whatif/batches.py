"""What sharing forward calls gains: requests that a window decodes one after the other, decoded together.

A forward call of several requests launches once what each of them launched alone, and reads the weights once.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import polars as pl

from mmprof.analyzers.findings.evidence import with_costs
from mmprof.analyzers.findings.products import products
from mmprof.analyzers.phases import phase_spans
from mmprof.analyzers.units import format_count
from mmprof.analyzers.whatif.changes import HOST_WORK, Removed, Replaced
from mmprof.analyzers.whatif.prediction import Case, Predicted, predicted

if TYPE_CHECKING:
    from mmprof.analyzers.view import View
    from mmprof.analyzers.whatif.replay import Replay

SLOTS: Final = 8
"""Requests that share a forward call, at most: as many rows as read the weights in about the time of one."""

PADDING: Final = 0.25
"""Share of a bucket's token positions that may belong to no request."""

_ONE: Final = "the window holds one request: `mmprof trace llama --set requests=8` records several"
_NO_LENGTHS: Final = "the lengths of the prompts are not known: record with record_shapes=True"

Turns: TypeAlias = "Callable[[pl.DataFrame], pl.DataFrame | None]"


def buckets(lengths: Sequence[tuple[int, int]], *, most: int, padding: float) -> list[list[int]]:
    """Requests by bucket, from the shortest on; each padded to the longest prompt and the longest answer in it.

    Args:
        lengths: Tokens of the prompt and of the answer of each request.
        most: Requests in a bucket, at most.
        padding: Share of a bucket's token positions that may belong to no request.
    """
    found: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda n: (sum(lengths[n]), n)):
        longer = [*(found[-1] if found else []), number]
        fits = len(longer) <= most and _padding([lengths[n] for n in longer]) <= padding
        if found and fits:
            found[-1] = longer
        else:
            found.append([number])
    return found


def _padding(lengths: Sequence[tuple[int, int]]) -> float:
    longest = max(prompt for prompt, _ in lengths) + max(answer for _, answer in lengths)
    return 1 - sum(map(sum, lengths)) / (len(lengths) * longest)


def entries(steps: Sequence[int], slots: int) -> list[int]:
    """The decode step of the batch at which each request enters, where each takes the first slot that falls free."""
    free = [0] * min(slots, len(steps))
    found: list[int] = []
    for own in steps:
        found.append(heapq.heappop(free))
        heapq.heappush(free, found[-1] + own)
    return found


def in_slots(replay: Replay) -> Predicted:
    """Predict continuous batching: the decode steps of `SLOTS` requests are one step."""
    return _together(replay, _slot_turns)


def in_buckets(replay: Replay) -> Predicted:
    """Predict padded batches of requests with about equal lengths: their prefills and their steps are one."""
    return _together(replay, lambda calls: _bucket_turns(replay.view, calls))


def forward_calls(view: View) -> pl.DataFrame:
    """The forward calls of a window that serves requests in turn: a prefill, then decode steps, again and again.

    Returns:
        start_ns, end_ns, `request` from 0 and `step`, -1 for prefill; empty where there are not two requests.
    """
    spans = phase_spans(view.trace).filter(pl.col("phase").is_in(["prefill", "decode"]))
    calls = spans.filter(pl.col("index").is_not_null()).sort("start_ns")
    is_prefill = pl.col("phase") == "prefill"
    numbered = calls.with_columns(request=is_prefill.cum_sum().cast(pl.Int64) - 1).filter(
        pl.col("request") >= 0
    )
    placed = numbered.with_columns(step=pl.int_range(pl.len()).over("request") - 1)
    several = placed["request"].n_unique() > 1
    return placed.filter(several).select("start_ns", "end_ns", "request", "step")


def _together(replay: Replay, turns: Turns) -> Predicted:
    calls = forward_calls(replay.view)
    if calls.is_empty():
        return None, _ONE
    shared = turns(calls)
    if shared is None:
        return None, _NO_LENGTHS
    rows = _shared_rows(replay, shared)
    kept = rows.filter(pl.col("first"))
    others = Removed(rows.filter(~pl.col("first"))["row"], host=HOST_WORK)
    case = Case(
        low=[_joint(kept, "low_ns"), others],
        expected=[_joint(kept, "expected_ns"), others],
        high=[_joint(kept, "high_ns"), others],
    )
    return predicted(
        replay,
        case,
        rows=rows["row"],
        assumptions=_said(calls, shared),
        time_ns=replay.spent_ns(rows["row"]),
    )


def _said(calls: pl.DataFrame, shared: pl.DataFrame) -> list[str]:
    after = shared.select("turn").n_unique()
    requests = calls["request"].n_unique()
    return [
        f"{format_count(calls.height, 'forward call')} of {requests} requests become {after:,}; each is launched once",
        "what is bound by reading weights takes as long as for one request, and no less than its arithmetic at the peak; what is "
        "bound by latency as well; all else as long as for all of them (low: all but the weights; high: nothing but arithmetic)",
        "what generate does between forward calls stays, once for each call that is left",
    ]


def _slot_turns(calls: pl.DataFrame) -> pl.DataFrame:
    """The calls with `turn`, the same for calls that become one, and `rows`, the requests in it; each prefill stays alone."""
    steps = calls.group_by("request", maintain_order=True).agg(pl.col("step").max() + 1)
    entered = steps.with_columns(entry=pl.Series(entries(steps["step"].to_list(), SLOTS)))
    joined = calls.join(entered.select("request", "entry"), on="request", maintain_order="left")
    own = pl.when(pl.col("step") < 0).then(-1 - pl.col("request"))
    turns = joined.with_columns(turn=own.otherwise(pl.col("entry") + pl.col("step")))
    return turns.with_columns(rows=pl.len().over("turn"))


def _bucket_turns(view: View, calls: pl.DataFrame) -> pl.DataFrame | None:
    """The same for buckets, in whose calls all requests take part to the end."""
    prompts = _prompt_lengths(view, calls)
    if prompts is None:
        return None
    answers = calls.group_by("request", maintain_order=True).agg(pl.col("step").max() + 2)["step"]
    found = buckets(list(zip(prompts, answers.to_list(), strict=True)), most=SLOTS, padding=PADDING)
    own = [(n, bucket, len(each)) for bucket, each in enumerate(found) for n in each]
    known = pl.DataFrame(own, schema=["request", "bucket", "rows"], orient="row")
    joined = calls.join(known, on="request", maintain_order="left")
    longest = calls["step"].max()
    assert isinstance(longest, int)
    return joined.with_columns(turn=pl.col("bucket") * (longest + 2) + pl.col("step") + 1)


def _prompt_lengths(view: View, calls: pl.DataFrame) -> list[int] | None:
    """Tokens of each prompt: the rows of the linear layers of its prefill."""
    prefills = calls.filter(pl.col("step") < 0).rename({"start_ns": "began_ns"})
    layers = products(view).filter(pl.col("class") == "linear").sort("launch_start_ns")
    inside = layers.join_asof(
        prefills, left_on="launch_start_ns", right_on="began_ns", check_sortedness=False
    ).filter(pl.col("launch_start_ns") < pl.col("end_ns"))
    rows = inside.group_by("request").agg(pl.col("m").max()).sort("request")
    return rows["m"].to_list() if rows.height == prefills.height else None


def _shared_rows(replay: Replay, calls: pl.DataFrame) -> pl.DataFrame:
    """The activities of calls that become one: row, whether it is the `first` of its place, and the times of what takes its place.

    Activities with the same place in calls of the same turn become one. The call that stands for its turn is the one with most
    activities, because a longer answer may have some that others lack.
    """
    acts = _in_calls(replay, calls)
    place = pl.int_range(pl.len()).over("request", "step")
    sizes = acts.with_columns(size=pl.len().over("request", "step"), place=place)
    order = sizes.sort("turn", "place", "size", "request", descending=[False, False, True, False])
    same = ("turn", "place")
    first = (pl.int_range(pl.len()) == 0).over(same)
    present = pl.len().over(same)
    sum_ns = pl.col("dur_ns").sum().over(same)
    # the longest prompt decides; equal steps differ by noise, of which the longest time is the worst
    alone_ns = (
        pl.when(pl.col("step") < 0)
        .then(pl.col("dur_ns").max().over(same))
        .otherwise(sum_ns / present)
    )
    # in a bucket a request that has its answer runs along
    all_ns = sum_ns * pl.max_horizontal(1.0, pl.col("rows") / present)
    arithmetic_ns = _arithmetic_ns(replay).over(same) * pl.max_horizontal(
        1.0, pl.col("rows") / present
    )
    once = pl.max_horizontal(alone_ns, arithmetic_ns)
    weights = (pl.col("class") == "linear") & pl.col("bound").ne_missing("compute")
    latent = pl.col("bound") == "latency"
    return order.with_columns(
        first=first,
        low_ns=pl.when(weights).then(once).otherwise(all_ns).round(),
        expected_ns=pl.when(weights | latent.fill_null(value=False)).then(once).otherwise(all_ns).round(),
        high_ns=pl.when(pl.col("bound") == "compute").then(all_ns).otherwise(once).round(),
    )  # fmt: skip


def _arithmetic_ns(replay: Replay) -> pl.Expr:
    """Time of the arithmetic of all requests at the highest peak that is known."""
    match = replay.view.match
    peak = float(max(match.spec.peak_flops.values())) if match and match.spec.peak_flops else 0.0
    flops = pl.col("flops").fill_null(0).sum()
    return flops / peak * 1e9 if peak else pl.lit(0.0) * flops


def _in_calls(replay: Replay, calls: pl.DataFrame) -> pl.DataFrame:
    """The activities that forward calls launched, in the order of their launches, with the call that each is of."""
    base = replay.base
    when = base.activities.filter(pl.col("node") > 0).select("row", "dur_ns", "node").join(
        replay.recorded.events.select("node", called_ns="start_ns"), on="node"
    )  # fmt: skip
    costs = with_costs(replay.view).select("row", "class", "bound", "flops")
    known = when.join(costs, on="row").sort("called_ns", "row")
    spans = calls.rename({"start_ns": "began_ns"}).sort("began_ns")
    joined = known.join_asof(
        spans, left_on="called_ns", right_on="began_ns", check_sortedness=False
    )
    return joined.filter(pl.col("called_ns") < pl.col("end_ns"))


def _joint(kept: pl.DataFrame, time: str) -> Replaced:
    return Replaced(kept.select("row", left_ns=time))
