"""Recording a test, and what to say when its trace crosses a limit."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from mmprof.analyzers.errors import MmprofError

if TYPE_CHECKING:
    from types import TracebackType

    from mmprof.analyzers.analyze import DeviceReport
    from mmprof.analyzers.gate.measure import Measured
    from mmprof.cli.pytest_gate.marks import Limits
    from mmprof.cli.renderers.gate.content import Outcome
    from mmprof.tracer.session import Session

_COLUMNS: Final = 100
_MOST_LINES: Final = 3


class Recorder:
    """Gives a new recording at each call; the traces go to one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)

    def __call__(self, *, memory: bool = False) -> Recording:
        """A recording of its own.

        Args:
            memory: Record allocations, for `peak_memory`.
        """
        number = next(self._numbers)
        suffix = "" if number == 1 else f"-{number}"
        return Recording(self._folder / f"mmprof-trace{suffix}.json.gz", memory=memory)


class Recording:
    """One recorded block: a context manager, and what its trace shows once it has ended.

    Attributes:
        path: The trace.
    """

    def __init__(self, path: Path, *, memory: bool) -> None:
        self.path = path
        self._memory = memory
        self._session: Session | None = None

    def start(self) -> None:
        """Begin to record.

        Raises:
            MmprofError: There is no torch, or another profiler is recording.
        """
        if importlib.util.find_spec("torch") is None:
            raise MmprofError(
                "MM-E050",
                "recording a test needs torch",
                found="no torch in this environment",
                hint="pip install 'mmprof[trace]', or skip such tests: pytest.importorskip('torch')",
            )
        from mmprof.tracer.session import trace  # noqa: PLC0415

        self._session = trace(self.path, memory=self._memory)
        # What torch says of its profiler is no failure of a test that turns warnings into errors.
        with _silent():
            self._session.start()

    def finish(self, error: BaseException | None = None) -> None:
        """End recording and write the trace.

        Args:
            error: What ended the block; None where it ended well.
        """
        assert self._session is not None
        with _silent():
            self._session.finish(error)

    def __enter__(self) -> Recording:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.finish(error)

    @cached_property
    def measured(self) -> Measured:
        """The metrics of the trace by device, and the analyses behind them."""
        from mmprof.analyzers.analyze import Options  # noqa: PLC0415  (polars: 0.2 s)
        from mmprof.analyzers.gate.measure import measure  # noqa: PLC0415

        return measure([str(self.path)], Options())

    @property
    def report(self) -> DeviceReport:
        """The analysis of the device that was busy for longest."""
        return max(self.measured.reports, key=lambda report: report.value("busy_ns"))

    @property
    def metrics(self) -> dict[str, float]:
        """What `mmprof check` can name, with its values, of that device."""
        place = self.report.rank, self.report.device
        device = next(d for d in self.measured.devices if (d.rank, d.device) == place)
        return {name: metric.value for name, metric in device.metrics.items()}

    def check(self, *conditions: str, baseline: str | Path | None = None) -> None:
        """Fail the test where a condition such as `idle_share>0.4` holds.

        Args:
            conditions: As for `mmprof check --fail-on`.
            baseline: For conditions on a change: a saved baseline, or a trace.
        """
        from mmprof.cli.pytest_gate.marks import Limits, require_conditions  # noqa: PLC0415

        with reported():
            named = tuple((text, "check") for text in conditions)
            require_conditions(named, found="check() without a condition")
            self.hold(Limits(named, Path(baseline) if baseline else None))

    def hold(self, limits: Limits) -> None:
        """Fail the test where the trace crosses a limit.

        Raises:
            MmprofError: A condition cannot be judged.
        """
        outcome = self._judged(limits)
        if not outcome.check.ok:
            pytest.fail(_message(outcome, self.path), pytrace=False)

    def _judged(self, limits: Limits) -> Outcome:
        from mmprof.analyzers.analyze import Options  # noqa: PLC0415
        from mmprof.analyzers.gate.check import check  # noqa: PLC0415
        from mmprof.analyzers.gate.conditions import parse_threshold  # noqa: PLC0415
        from mmprof.analyzers.gate.judge import Condition  # noqa: PLC0415
        from mmprof.cli.gate import headlines, read_against  # noqa: PLC0415
        from mmprof.cli.renderers.gate.content import Outcome  # noqa: PLC0415

        conditions = [Condition(parse_threshold(text), by) for text, by in limits.conditions]
        against = read_against(str(limits.baseline), Options()) if limits.baseline else None
        judged = check(self.measured, conditions, against, strict=limits.strict)
        return Outcome(judged, headlines(self.measured))


@contextmanager
def reported() -> Generator[None, None, None]:
    """Fail the test with the message of an error of the block, without a traceback through mmprof."""
    try:
        yield
    except MmprofError as error:
        raise pytest.fail.Exception(_told(error), pytrace=False) from None


@contextmanager
def _silent() -> Generator[None, None, None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _told(error: MmprofError) -> str:
    parts = (("found", error.found), ("try", error.hint))
    lines = [f"{name}: {text}" for name, text in parts if text]
    return _printable("\n".join([f"mmprof {error.code}: {error.message}", *lines]))


def _message(outcome: Outcome, path: Path) -> str:
    """The metrics with limit and value, where the time went, and where the trace is."""
    from mmprof.cli.renderers.gate.content import evidence, place, sentence, verdict  # noqa: PLC0415
    from mmprof.cli.renderers.safe import lines_of  # noqa: PLC0415

    several = len(outcome.check.devices) > 1
    lines = [f"mmprof: {verdict(outcome.check).removeprefix('FAIL: ')}"]
    for judgement in outcome.check.crossed:
        where = f"{place(judgement)}: " if several else ""
        lines.append(f"  {judgement.origin}: {where}{sentence(judgement)}")
        lines += [f"    {said}" for said in (evidence(judgement),) if said]
    for told in outcome.headlines:
        lines += lines_of(told, _COLUMNS, most=_MOST_LINES)
    lines.append(f"mmprof analyze {path}")
    return _printable("\n".join(lines))


def _printable(text: str) -> str:
    from mmprof.cli.renderers.safe import printable  # noqa: PLC0415

    return "\n".join(printable(line) for line in text.split("\n"))
