"""What the verbs of the gate and the pytest plugin share: conditions and baselines from where users give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.gate.baseline import Against, baseline_of, is_baseline, read_baseline
from mmprof.analyzers.gate.conditions import Threshold, parse_threshold
from mmprof.analyzers.gate.judge import Condition, needs_baseline
from mmprof.analyzers.gate.measure import Measured, measure
from mmprof.cli.project_settings import ProjectSettings, setting_error
from mmprof.cli.renderers.headline import headline, place_of

if TYPE_CHECKING:
    from mmprof.analyzers.analyze import Options

FAIL_ON: Final = "--fail-on"


@dataclass(frozen=True, slots=True)
class Demand:
    """What a check is asked to hold.

    Attributes:
        conditions: The conditions, the project's first.
        baseline: A baseline or a trace; empty without one.
    """

    conditions: tuple[Condition, ...]
    baseline: str = ""


def demand(settings: ProjectSettings, fail_on: Sequence[str], baseline: str) -> Demand:
    """What the project and the command line ask together; the command line's baseline goes first.

    Raises:
        MmprofError: A condition cannot be read, or there is none.
    """
    conditions = (
        *(Condition(t, settings.origin) for t in _of_project(settings)),
        *(Condition(parse_threshold(text), FAIL_ON) for text in fail_on),
    )
    if not conditions:
        raise MmprofError(
            "MM-E080",
            "there is nothing to check",
            found="no --fail-on, and no fail_on under [tool.mmprof] in a pyproject.toml from here upward",
            hint="--fail-on 'idle_share>0.4'; --list-metrics shows what there is",
        )
    if baseline:
        return Demand(conditions, baseline)
    relative = [c.threshold.text for c in conditions if c.threshold.relative]
    if not relative:
        return Demand(conditions)
    if found := _baseline_of_project(settings):
        return Demand(conditions, found)
    raise needs_baseline(relative[0])


def read_against(path: str, options: Options) -> Against:
    """The baseline at a path: a saved one, or what is measured in a trace or a folder of traces.

    Raises:
        MmprofError: It cannot be read.
    """
    if is_baseline(Path(path)):
        return Against(path, read_baseline(Path(path)))
    return Against(path, baseline_of(measure([path], options)))


def headlines(measured: Measured) -> tuple[str, ...]:
    """Where the time went, for each device of each trace."""
    if len(measured.reports) == 1:
        return (headline(measured.reports[0]),)
    return tuple(f"{place_of(report)}: {headline(report)}" for report in measured.reports)


def _of_project(settings: ProjectSettings) -> list[Threshold]:
    return [_parsed(settings, at, text) for at, text in enumerate(settings.fail_on)]


def _parsed(settings: ProjectSettings, at: int, text: str) -> Threshold:
    try:
        return parse_threshold(text)
    except MmprofError as error:
        assert settings.file is not None
        raise setting_error(
            settings.file,
            f"fail_on[{at}]",
            f"cannot be read: {text!r}",
            found=error.found,
            hint=error.hint,
        ) from error


def _baseline_of_project(settings: ProjectSettings) -> str:
    if settings.baseline is None:
        return ""
    if not settings.baseline.exists():
        assert settings.file is not None
        raise setting_error(
            settings.file,
            "baseline",
            "names no file",
            found=str(settings.baseline),
            hint=f"mmprof baseline save TRACE -o {settings.baseline.name}, or --baseline",
        )
    return str(settings.baseline)
