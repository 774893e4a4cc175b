"""Phases in a trace: annotations that analysis reads back by name.

>>> with phase("prefill"):  # doctest: +SKIP
...     logits = model(prompt)
>>> with phase("decode", 3):  # doctest: +SKIP
...     logits = model(token)

They stand around calls, never inside compiled code: torch.compile drops annotations in what it compiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from types import TracebackType

PREFIX: Final = "mmprof/phase:"

Listener: TypeAlias = "Callable[[str, int | None], None]"

_listeners: Final[list[Listener]] = []


def phase_name(name: str, index: int | None = None) -> str:
    """The annotation of a phase, or of its instance `index`, as the trace has it."""
    return f"{PREFIX}{name}" if index is None else f"{PREFIX}{name}[{index}]"


@contextmanager
def phase(name: str, index: int | None = None) -> Iterator[None]:
    """Annotate the enclosed calls as a phase.

    Args:
        name: `prefill`, `decode`, `encode`, `vocode`, `kv_reorder`, `denoise` or any other word without a bracket.
        index: Position among the phase's instances, from 0.
    """
    from torch.profiler import record_function  # noqa: PLC0415  (torch: seconds)

    for listener in tuple(_listeners):
        listener(name, index)
    with record_function(phase_name(name, index)):
        yield


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call a function with the name and index of each phase, just before it begins."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


class PhaseSequence:
    """Phases that follow each other without a gap: each begins where the one before ends.

    A generation loop calls the model once a step and does the rest of the step (sampling, stopping, growing the inputs) between two
    calls; with `enter` before each call, that rest belongs to the step whose output it handles.

    >>> with PhaseSequence() as phases:  # doctest: +SKIP
    ...     phases.enter("prefill")
    ...     phases.enter("decode", 0)
    """

    def __init__(self) -> None:
        self._open = ExitStack()

    def enter(self, name: str, index: int | None = None) -> None:
        """End the current phase, if any, and begin another."""
        self.leave()
        self._open.enter_context(phase(name, index))

    def leave(self) -> None:
        """End the current phase, if any."""
        self._open.close()

    def __enter__(self) -> PhaseSequence:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave()
