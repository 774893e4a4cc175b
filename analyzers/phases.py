"""Which phase of the model's work a host span belongs to: prefill, decode, forward, a profiler step.

The first of these sources that a trace has is used, and no other:

1. annotations of inference: a name of `_INFERENCE` with or without `mmprof:` before it, `mmprof/phase:<any name>`, and
   what vLLM, SGLang and xDiT write around an engine step;
2. annotations of training (`_TRAINING`);
3. repetition: calls of one outermost module of which some look up several tokens per sequence (prefill) and some a
   single one (decode); nothing else that repeats says what it is;
4. `ProfilerStep#N`.

Where phases nest, the innermost wins. A span around spans of its own phase (`decode` around `decode[0]`, `decode[1]`)
only groups them: what lies between them is of its phase, but it is no instance of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from mmprof.analyzers import nesting
from mmprof.analyzers.hostwork import MODULE_PREFIX
from mmprof.analyzers.load import categories as c

if TYPE_CHECKING:
    from mmprof.analyzers.trace import Trace

STEP_PHASE: Final = "step"

_SPANS: Final = {"phase": pl.String, "number": pl.Int64, "start_ns": pl.Int64, "end_ns": pl.Int64}
_INFERENCE: Final = "prefill|decode|encode|vocode|kv_reorder|denoise|verify|draft"
_NUMBER: Final = r"(?:(?:[ _]step)?[ _#](?P<number>\d{1,18})|\[(?P<index>\d{1,18})\]|\[.*\])?"
_MARKED: Final = re.compile(r"mmprof/phase:\s*(?P<phase>[^\[]+?)(?:\[(?P<index>\d{1,18})\])?")
_WORD: Final = re.compile(rf"(?:mmprof:\s*)?(?P<phase>{_INFERENCE}){_NUMBER}", re.IGNORECASE)
# vllm/v1/worker/gpu_worker.py, annotate_profile: requests(tokens), with lengths in the parentheses since 2026.
_VLLM: Final = re.compile(
    r"execute_(?:\d+_)?context_(?P<context>\d+)\([^)]*\)_generation_(?P<generation>\d+)\([^)]*\)"
)
# sglang/srt/model_executor: ForwardMode.name and the batch.
_SGLANG: Final = re.compile(r"step\[(?P<mode>\w+).*\]")
_SGLANG_MODES: Final = {
    "extend": "prefill",
    "split_prefill": "prefill",
    "target_verify": "verify",
    "draft_extend": "draft",
    "draft_extend_v2": "draft",
    "idle": "",
}
_OTHER_ENGINES: Final = {
    "diffusion": re.compile(r"execute_diffusion_\d.*"),
    "capture": re.compile(r"capture_\d+_.*"),
}
_TRAINING: Final = re.compile(
    r"(?:## )?(?P<phase>forward|backward|optimizer)(?: ##)?", re.IGNORECASE
)
_STEP: Final = re.compile(r"ProfilerStep#(?P<number>\d{1,18})")
# The shapes of a token embedding: [vocabulary, width], [sequences, tokens].
_LOOKED_UP: Final = r"^\[\[\d+, *\d+\], *\[\d+, *(\d+)\]"


class PhaseName(NamedTuple):
    """What an annotation's name says; `phase` is empty where it names none."""

    phase: str
    number: int | None = None


def phase_spans(trace: Trace) -> pl.DataFrame:
    """The host spans of all phases by start, outer ones first: phase, index, start_ns, end_ns.

    `index` is the number in the annotation's name where all instances of a phase have different ones, else the
    position among them, from 0; it is null for a span that only groups instances of its phase. Spans may nest.
    """
    named = host_annotations(trace)
    for source in _SOURCES:
        found = source(trace, named).filter(pl.col("end_ns") > pl.col("start_ns"))
        if found.height:
            return _indexed(SpanTree.of(found))
    return pl.DataFrame(
        schema={"phase": pl.String, "index": pl.Int64, "start_ns": pl.Int64, "end_ns": pl.Int64}
    )


def steps(trace: Trace) -> pl.DataFrame:
    """The `ProfilerStep#N` spans by start: name, index (N), start_ns, end_ns as recorded."""
    spans = host_annotations(trace).filter(pl.col("name").str.starts_with("ProfilerStep#"))
    return spans.with_columns(
        index=pl.col("name").str.extract(r"#(\d{1,18})$").cast(pl.Int64)
    ).select("name", "index", "start_ns", "end_ns")


def host_annotations(trace: Trace) -> pl.DataFrame:
    """Annotations by start: name (text), start_ns, end_ns as recorded.

    An annotation is opened and closed by different calls, so it may cross the Python frames around it: its nested end
    in `trace.host` is then the end of the call that opened it.
    """
    found = trace.host.filter(pl.col("kind") == c.ANNOTATION)
    return found.select(
        pl.col("name").cast(pl.String), "start_ns", end_ns=pl.col("start_ns") + pl.col("dur_ns")
    ).sort("start_ns", "end_ns", descending=[False, True])


def inference_phase(name: str) -> PhaseName:
    """The phase that an annotation of a tracer or an inference engine names."""
    if match := _MARKED.fullmatch(name) or _WORD.fullmatch(name):
        numbers = match.groupdict()
        return PhaseName(
            match["phase"].lower(), _number(numbers.get("number") or numbers.get("index"))
        )
    if match := _VLLM.fullmatch(name):
        return PhaseName(_of_requests(int(match["context"]), int(match["generation"])))
    if match := _SGLANG.fullmatch(name):
        mode = match["mode"].lower()
        return PhaseName(_SGLANG_MODES.get(mode, mode))
    return PhaseName(
        next((phase for phase, form in _OTHER_ENGINES.items() if form.fullmatch(name)), "")
    )


def training_phase(name: str) -> PhaseName:
    """The phase of a training step that an annotation names."""
    match = _TRAINING.fullmatch(name)
    return PhaseName(match["phase"].lower() if match else "")


def _step_phase(name: str) -> PhaseName:
    match = _STEP.fullmatch(name)
    return PhaseName(STEP_PHASE, int(match["number"])) if match else PhaseName("")


def _of_requests(context: int, generation: int) -> str:
    if context:
        return "mixed" if generation else "prefill"
    return "decode" if generation else ""


def _number(text: str | None) -> int | None:
    return int(text) if text else None


def _annotated(
    name_of: Callable[[str], PhaseName],
) -> Callable[[Trace, pl.DataFrame], pl.DataFrame]:
    """Spans of the annotations that name a phase; each distinct name is read once."""

    def spans(_: Trace, named: pl.DataFrame) -> pl.DataFrame:
        read = ((name, *name_of(name)) for name in named["name"].unique())
        schema = {"name": pl.String, "phase": pl.String, "number": pl.Int64}
        known = pl.DataFrame([row for row in read if row[1]], schema=schema, orient="row")
        return named.join(known, on="name", maintain_order="left").select(*_SPANS)

    return spans


def _repeated(trace: Trace, _: pl.DataFrame) -> pl.DataFrame:
    """Prefill and decode by the tokens that the first lookup of each outermost module call reads per sequence."""
    host = trace.host
    lookups = host.filter((pl.col("kind") == c.OPERATOR) & (pl.col("name") == "aten::embedding"))
    dims = trace.calls["dims"][lookups["call"]]
    read = lookups.select(
        "thread", "start_ns", tokens=dims.str.extract(_LOOKED_UP).cast(pl.Int64)
    ).drop_nulls()
    if read.is_empty():
        return pl.DataFrame(schema=_SPANS)
    calls = _outermost_modules(host)
    first = (
        read.sort("start_ns")
        .join_asof(
            calls, left_on="start_ns", right_on="opened_ns", by="thread", check_sortedness=False
        )
        .filter(pl.col("start_ns") < pl.col("end_ns"))
        .unique("row", keep="first", maintain_order=True)
    )
    both = (pl.col("tokens") == 1).any().over("name") & (pl.col("tokens") > 1).any().over("name")
    phase = pl.when(pl.col("tokens") == 1).then(pl.lit("decode")).otherwise(pl.lit("prefill"))
    number = pl.lit(None, pl.Int64)
    return first.filter(both).select(
        phase=phase, number=number, start_ns="opened_ns", end_ns="end_ns"
    )


def _outermost_modules(host: pl.DataFrame) -> pl.DataFrame:
    named = host["name"].cast(pl.String).str.starts_with(MODULE_PREFIX)
    is_module = named & host["kind"].is_in([c.PYTHON, c.ANNOTATION])
    modules = host.filter(is_module)
    around = nesting.climb(host["parent"], modules["parent"], is_module)
    outermost = modules.filter(around.is_null())
    return outermost.select("row", "thread", "name", "end_ns", opened_ns="start_ns").sort(
        "opened_ns"
    )


_SOURCES: Final = (
    _annotated(inference_phase),
    _annotated(training_phase),
    _repeated,
    _annotated(_step_phase),
)


@dataclass(frozen=True)
class SpanTree:
    """Spans that may nest, and which of them is the innermost at any time.

    Attributes:
        spans: By start, outer ones first, with `row` and `parent`, the row of the innermost span open at its start.
        at: Times at which the innermost span changes.
        innermost: Row of the innermost span from each of these times on, null for none.
    """

    spans: pl.DataFrame
    at: pl.Series
    innermost: pl.Series

    @classmethod
    def of(cls, spans: pl.DataFrame) -> SpanTree:
        """The tree of spans with `start_ns` and `end_ns`, none of them empty; of crossing spans the later is inner."""
        ordered = spans.sort(
            "start_ns", "end_ns", descending=[False, True], maintain_order=True
        ).with_row_index("row")
        parents: list[int | None] = []
        changes: list[tuple[int, int | None]] = []
        opened: list[tuple[int, int]] = []
        # a loop, because phases are thousands at most
        for row, start, end in ordered.select("row", "start_ns", "end_ns").iter_rows():
            changes += _closed_until(opened, start)
            parents.append(opened[-1][0] if opened else None)
            opened.append((row, end))
            changes.append((start, row))
        changes += _closed_until(opened, None)
        at, innermost = ([change[i] for change in changes] for i in (0, 1))
        nested = ordered.with_columns(parent=pl.Series(parents, dtype=pl.UInt32))
        return cls(nested, pl.Series(at, dtype=pl.Int64), pl.Series(innermost, dtype=pl.UInt32))

    def containing(self, times: pl.Series) -> pl.Series:
        """For each time, the row of the innermost span around it; null for none."""
        position = self.at.search_sorted(times, side="right").cast(pl.Int64) - 1
        known = pl.select(pl.when(position >= 0).then(position)).to_series()
        return self.innermost.gather(known).rename("span")

    def common(self, left: pl.Series, right: pl.Series) -> pl.Series:
        """For each pair of rows, the innermost span around both; null where there is none.

        A span's row is smaller than the rows of all spans in it: the larger of two different rows is climbed.
        """
        parent, pair = self.spans["parent"], pl.DataFrame({"left": left, "right": right})
        while (pair["left"] != pair["right"]).any():
            around_left, around_right = parent[pair["left"]], parent[pair["right"]]
            pair = pair.select(
                left=pl.when(pl.col("left") > pl.col("right")).then(around_left).otherwise("left"),
                right=pl.when(pl.col("right") > pl.col("left"))
                .then(around_right)
                .otherwise("right"),
            )
        return pair.select(pl.when(pl.col("left") == pl.col("right")).then("left")).to_series()


def _closed_until(opened: list[tuple[int, int]], time: int | None) -> list[tuple[int, int | None]]:
    """Close the spans that end by a time (None: all): when, and which span is the innermost from then on."""
    changes: list[tuple[int, int | None]] = []
    while opened and (time is None or opened[-1][1] <= time):
        end = opened.pop()[1]
        while opened and opened[-1][1] <= end:
            opened.pop()
        changes.append((end, opened[-1][0] if opened else None))
    return changes


def _indexed(tree: SpanTree) -> pl.DataFrame:
    spans = tree.spans.with_columns(group=_groups(tree.spans))
    instance = pl.col("number").filter(~pl.col("group"))
    numbered = (instance.null_count() == 0) & (instance.n_unique() == instance.len())
    position = (~pl.col("group")).cum_sum().cast(pl.Int64) - 1
    index = pl.when(numbered.over("phase")).then("number").otherwise(position.over("phase"))
    return spans.select(
        "phase", pl.when(~pl.col("group")).then(index).alias("index"), "start_ns", "end_ns"
    )


def _groups(spans: pl.DataFrame) -> pl.Series:
    """Whether each span contains a span of its own phase."""
    phase, around = spans["phase"], spans["parent"]
    groups: list[pl.Series] = []
    while around.null_count() < len(around):
        groups.append(around.filter((phase[around] == phase).fill_null(value=False)))
        around = spans["parent"][around]
    found = pl.concat([pl.Series([], dtype=pl.UInt32), *groups])
    return spans["row"].is_in(found.implode())
