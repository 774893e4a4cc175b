"""The pytest plugin: `@pytest.mark.mmprof(max_idle_share=0.4)` records a test and limits what its trace shows.

pytest imports this module when it starts, in every project of an environment that has mmprof: it must import nothing else
of mmprof, and do nothing for tests that do not ask.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from mmprof.cli.pytest_gate.recording import Recorder

MARKER: Final = "mmprof"
FOLDER: Final = "tmp_path"
FIXTURE: Final = "mmprof_trace"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "mmprof(max_idle_share=..., max_step_ms=..., fail_on=...): record the test with mmprof, and fail it where its "
        "trace crosses a limit.",
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give a marked test a folder for its trace."""
    if not isinstance(item, pytest.Function) or item.get_closest_marker(MARKER) is None:
        return
    if FOLDER not in item.fixturenames:
        item.fixturenames.append(FOLDER)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a marked test that pytest does not call itself: it would pass unrecorded, whatever its limits."""
    if item.get_closest_marker(MARKER) is None:
        return
    from unittest import TestCase  # noqa: PLC0415  (other tests need not wait for it)

    owner = getattr(item, "cls", None)
    if not isinstance(item, pytest.Function) or (owner and issubclass(owner, TestCase)):
        pytest.fail(
            "the marker mmprof works for test functions of pytest only; within others use mmprof.trace",
            pytrace=False,
        )


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Record the body of a marked test, and judge it once it has passed."""
    if pyfuncitem.get_closest_marker(MARKER) is None:
        return (yield)
    from mmprof.cli.pytest_gate.marks import limits_of  # noqa: PLC0415  (what other tests need not wait for)
    from mmprof.cli.pytest_gate.recording import Recorder, reported  # noqa: PLC0415

    with reported():
        limits = limits_of(pyfuncitem)
        run = Recorder(_folder(pyfuncitem))(memory=limits.memory)
        run.start()
    try:
        result = yield
    except BaseException as error:
        run.finish(error)
        raise
    with reported():
        run.finish()
        run.hold(limits)
    return result


@pytest.fixture
def mmprof_trace(tmp_path: Path) -> Recorder:
    """A function that gives a context manager: what runs in its block is recorded and analyzed."""
    from mmprof.cli.pytest_gate.recording import Recorder  # noqa: PLC0415

    return Recorder(tmp_path)


def _folder(item: pytest.Function) -> Path:
    folder = item.funcargs[FOLDER]
    assert isinstance(folder, Path)
    return folder
