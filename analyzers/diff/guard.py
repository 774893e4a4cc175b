"""Whether two sides can be compared, and in what they differ besides what is measured.

Each check is one function from both sides to reasons. The limits rest on the public traces of many models: pairs of one model
share at least a quarter of their time by operator and shapes or by module, also across devices and library versions; pairs of
different models share none by these, and up to 0.3 by kernels, since small elementwise kernels are everybody's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from mmprof.analyzers.diff.facts import Recording, Vocabulary
from mmprof.analyzers.diff.result import Comparable, Handling, Reason
from mmprof.analyzers.diff.sides import DeviceWindow, Side
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.notes import note
from mmprof.analyzers.units import format_share

SAME_MODEL: Final = 0.1
SAME_KERNELS: Final = 0.5
SAME_SIZES: Final = 0.05
NEARLY_ALL: Final = 0.9
NOTABLE: Final = 0.02
"""A share of carry-in, or a difference of the profiler's cost, that is worth a word."""

_OTHER_LOAD: Final = 1.0
"""One more process that wants to run."""

_UNSAFE_NOTES: Final = {
    "MM-N001": "cut off",
    "MM-N007": "clocks of host and device disagree",
    "MM-N018": "lost times",
    "MM-N028": "the recorded run failed",
}
_SIZES: Final = ("task", "size", "batch", "input_length", "output_length")
_DEVICE_LOST: Final = "MM-N024"

Check = Callable[[Side, Side], Iterator[Reason]]


def compare(before: Side, after: Side) -> Comparable:
    """Find everything in which two sides differ besides their times."""
    found = [reason for check in _CHECKS for reason in check(before, after)]
    order: Sequence[Handling] = ("refused", "normalised", "noted")
    found.sort(key=lambda reason: order.index(reason.handling))
    return Comparable(all(r.handling != "refused" for r in found), found)


def require_comparable(found: Comparable) -> None:
    """Refuse what cannot be compared.

    Raises:
        MmprofError: MM-E070, with the reasons.
    """
    refusals = [r for r in found.reasons if r.handling == "refused"]
    if refusals:
        raise MmprofError(
            "MM-E070",
            "these traces cannot be compared",
            found="; ".join(f"{r.message} ({r.code})" for r in refusals),
            hint="two recordings of the same work, or --anyway to see the numbers all the same",
        )


def overlap(before: Vocabulary, after: Vocabulary) -> float:
    """Share of time that two vocabularies have in common: 1 where the same words take the same shares."""
    return sum(min(share, after[word]) for word, share in before.items() if word in after)


def _model(before: Side, after: Side) -> Iterator[Reason]:
    shared = {name: _shared(before, after, name) for name in ("op", "module", "product", "kernel")}
    known = {name: share for name, share in shared.items() if share is not None}
    limits = {name: SAME_KERNELS if name == "kernel" else SAME_MODEL for name in known}
    if known and all(share < limits[name] for name, share in known.items()):
        yield _reason(
            "MM-N040",
            "model",
            "refused",
            (_modules(before), _modules(after)),
            shares=", ".join(
                f"{_NAMED[name]} {format_share(share)}" for name, share in known.items()
            ),
        )
    elif (share := known.get("product", 1)) < NEARLY_ALL:
        yield _sizes(
            before, after, share, refused=share < SAME_SIZES and known.get("op", 0) < SAME_MODEL
        )


def _sizes(before: Side, after: Side, share: float, *, refused: bool) -> Reason:
    code = "MM-N041" if refused else "MM-N042"
    handling: Handling = "refused" if refused else "noted"
    flops = (f"{_main(side).work.product_flops:.3g} FLOP of products" for side in (before, after))
    return _reason(code, "shapes", handling, (next(flops), next(flops)), share=format_share(share))


_NAMED: Final = {
    "op": "operators with shapes",
    "module": "modules",
    "product": "sizes of products",
    "kernel": "kernels",
}


def _shared(before: Side, after: Side, name: str) -> float | None:
    """What both sides have in common; None where one of them has no such words."""
    left, right = (_main(side).work.vocabularies[name] for side in (before, after))
    return overlap(left, right) if left and right else None


def _main(side: Side) -> DeviceWindow:
    """The window with the most busy time, which stands for a side."""
    return max(
        side.windows, key=lambda w: sum(w.work.vocabularies["kernel"].values()) * w.window_ns
    )


def _modules(side: Side) -> str:
    """What the model is called, as far as the trace knows."""
    words = _main(side).work.vocabularies
    known = words["module"] or words["op"] or words["kernel"]
    name = max(known, key=lambda word: known[word], default="nothing")
    return name.partition(".")[0].removesuffix("_*") if words["module"] else name


def _workload(before: Side, after: Side) -> Iterator[Reason]:
    names = [_joined(r.workload for r in side.recordings) for side in (before, after)]
    if all(names) and names[0] != names[1]:
        yield _reason("MM-N043", "workload", "noted", (names[0], names[1]))
    left, right = (side.recordings[0].arguments for side in (before, after))
    for name in left.keys() & right.keys():
        if left[name] != right[name]:
            handling: Handling = "refused" if name in _SIZES else "noted"
            values = (f"{name}={left[name]}", f"{name}={right[name]}")
            yield _reason("MM-N044", "argument", handling, values, name=name)


def _device(before: Side, after: Side) -> Iterator[Reason]:
    names = [_joined(w.device_name for w in side.windows) for side in (before, after)]
    if all(names) and names[0] != names[1]:
        yield _reason("MM-N045", "device", "noted", (names[0], names[1]))
    lost = [any(_DEVICE_LOST in r.notes for r in side.recordings) for side in (before, after)]
    if lost[0] != lost[1]:
        values = [("not recorded" if each else "recorded") for each in lost]
        yield _reason("MM-N046", "device time", "refused", (values[0], values[1]))


def _dtype(before: Side, after: Side) -> Iterator[Reason]:
    types = [_main(side).work.dtype for side in (before, after)]
    if all(types) and types[0] != types[1]:
        yield _reason("MM-N047", "dtype", "noted", (types[0], types[1]))


def _torch(before: Side, after: Side) -> Iterator[Reason]:
    versions = [_joined(r.torch for r in side.recordings) for side in (before, after)]
    if all(versions) and versions[0] != versions[1]:
        yield _reason("MM-N048", "torch", "noted", (versions[0], versions[1]))


def _steps(before: Side, after: Side) -> Iterator[Reason]:
    steps = [sum(w.steps for w in side.windows) / len(side.windows) for side in (before, after)]
    if steps[0] == steps[1]:
        return
    values = (f"{steps[0]:g}", f"{steps[1]:g}")
    if before.has_steps and after.has_steps:
        yield _reason("MM-N049", "steps", "normalised", values)
    elif max(steps) > 1:
        yield _reason("MM-N050", "steps", "noted", values)


def _profiler(before: Side, after: Side) -> Iterator[Reason]:
    left, right = (side.recordings[0].options for side in (before, after))
    differing = sorted(name for name in left.keys() & right.keys() if left[name] != right[name])
    if differing:
        values = [
            ", ".join(n if side[n] else f"no {n}" for n in differing) for side in (left, right)
        ]
        yield _reason("MM-N051", "profiler", "noted", (values[0], values[1]))
    cost = [_most(r.overhead for r in side.recordings) for side in (before, after)]
    if any(factor is not None and factor > 1 + NOTABLE for factor in cost):
        known = [("unknown" if f is None else f"{f:.2f}x") for f in cost]
        yield _reason("MM-N052", "profiler overhead", "noted", (known[0], known[1]))


def _world(before: Side, after: Side) -> Iterator[Reason]:
    sizes = [_joined(str(r.world_size) for r in side.recordings) for side in (before, after)]
    if sizes[0] != sizes[1]:
        yield _reason("MM-N053", "world size", "noted", (sizes[0], sizes[1]))
    windows = [len(side.windows) / side.runs for side in (before, after)]
    if windows[0] != windows[1]:
        yield _reason("MM-N054", "devices", "normalised", (f"{windows[0]:g}", f"{windows[1]:g}"))


def _carry_in(before: Side, after: Side) -> Iterator[Reason]:
    shares = [max(w.work.carry_in for w in side.windows) for side in (before, after)]
    if max(shares) > NOTABLE:
        yield _reason(
            "MM-N055", "carry-in", "noted", (format_share(shares[0]), format_share(shares[1]))
        )


def _clocks(before: Side, after: Side) -> Iterator[Reason]:
    said = [_unsafe(side.recordings) for side in (before, after)]
    if any(said):
        yield _reason("MM-N056", "recording", "noted", (said[0] or "sound", said[1] or "sound"))
    load = [_most(r.load_average for r in side.recordings) for side in (before, after)]
    if load[0] is not None and load[1] is not None and abs(load[0] - load[1]) > _OTHER_LOAD:
        yield _reason("MM-N057", "load", "noted", (f"{load[0]:.1f}", f"{load[1]:.1f}"))


def _unsafe(recordings: Iterable[Recording]) -> str:
    codes = {code for recording in recordings for code in recording.notes}
    return ", ".join(text for code, text in _UNSAFE_NOTES.items() if code in codes)


def _reason(
    code: str, what: str, handling: Handling, values: tuple[str, str], **fields: object
) -> Reason:
    before, after = values
    message = note(code, before=before, after=after, **fields).message
    return Reason(code, what, handling, message, before, after)


def _joined(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


_CHECKS: Final[Sequence[Check]] = (
    _model,
    _workload,
    _device,
    _dtype,
    _torch,
    _steps,
    _world,
    _profiler,
    _carry_in,
    _clocks,
)
