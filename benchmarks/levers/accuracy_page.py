"""How far predictions were off, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from benchmarks.diff_power import markdown
from benchmarks.levers.figures import Accuracy, Checked, accuracy, accuracy_by_lever
from mmprof.cli.renderers.safe import markdown_cell, markdown_text
from mmprof.cli.renderers.units import share
from mmprof.cli.renderers.verification.tables import interval_text, speedup_text
from mmprof.cli.renderers.verification.verdict_table import NOTHING

_WORST: Final = 8

_DEFINITION: Final = (
    "With the expected speedup p and the measured one m, the error of the speedup is |p - m| / m, that of the gain "
    "|p - m| / |m - 1|. The gain has one only where the interval of m does not hold 1. A prediction is met where the interval "
    "of m and the range from low to high have a point in common."
)


def accuracy_section(checked: Sequence[Checked], size: str) -> Iterator[str]:
    """The medians by lever, and the worst cases; nothing where nothing was predicted and measured."""
    if not checked:
        return
    yield f"### Predicted against measured, {markdown_text(size)}"
    yield _DEFINITION
    total = ("all", accuracy(checked))
    levers = [(markdown_cell(name), some) for name, some in accuracy_by_lever(checked).items()]
    columns = [
        "lever",
        "predictions",
        "median error of the speedup",
        "median error of the gain",
        "met",
    ]
    yield markdown([columns, *(_row(name, some) for name, some in [total, *levers])])
    yield from _worst(checked)


def _row(name: str, found: Accuracy) -> list[str]:
    gain = NOTHING if found.gain_off is None else f"{share(found.gain_off)} (of {found.gains})"
    return [name, str(found.count), share(found.off), gain, f"{found.within} of {found.count}"]


def _worst(checked: Sequence[Checked]) -> Iterator[str]:
    """The predictions that were furthest off and were not met."""
    missed = sorted((c for c in checked if not c.is_within), key=lambda c: -c.off)[:_WORST]
    if not missed:
        return
    yield "Furthest off, of those that were not met:"
    columns = [
        "lever",
        "workload",
        "predicted: low, expected, high",
        "measured",
        "95 % interval",
        "error",
    ]
    yield markdown([columns, *map(_missed, missed)])


def _missed(case: Checked) -> list[str]:
    said, seen = case.predicted, case.measured
    return [
        markdown_cell(case.lever),
        markdown_text(case.where),
        f"{said.low:.2f}, {said.expected:.2f}, {said.high:.2f}",
        speedup_text(seen.median),
        interval_text((seen.low, seen.high)),
        share(case.off),
    ]
