"""Generation that does not wait for each token to know whether it was the last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload

_CLASS: Final = "DeferredStopCheck"


def applies(workload: Workload, device: str) -> str:
    """Needs an accelerator, and transformers' loop without beams, of a version that can check one step late."""
    from mmprof.tracer.lever_models import beams_of, generators  # noqa: PLC0415  (torch: seconds)

    if device.startswith("cpu"):
        return "on a CPU the check waits for nothing"
    found = generators(workload)
    if not found:
        return "no model of transformers that generates"
    if all(beams_of(model) > 1 for model in found):
        return "beam search checks at each step whether it is done"
    return "" if _late_check() else "this version of transformers has no deferred check"


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Let transformers check one step late, as it does on Apple's GPUs; the step too much is dropped."""
    from transformers.generation import utils  # noqa: PLC0415  (seconds)

    from mmprof.tracer.lever_models import attribute, requiring  # noqa: PLC0415

    uses: list[object] = []
    anywhere = _anywhere(_late_check(), uses)

    def run() -> object:
        # the module is everyone's, so it is changed no longer than a request takes
        with attribute(utils, _CLASS, anywhere):
            return workload.run()

    yield requiring(replace(workload, run=run), uses, "its loop is not transformers' generate")


def _anywhere(late: Any, uses: list[object]) -> type:
    """The check with transformers' own condition, without that on the device."""

    class Anywhere(late):  # type: ignore[misc]
        @staticmethod
        def is_supported(
            device: object,  # noqa: ARG004  (the form that transformers calls)
            cache: Any,
            cache_is_returned: bool,  # noqa: FBT001
            is_assistant: bool,  # noqa: FBT001
        ) -> bool:
            fits = cache is None or cache.is_croppable or not cache_is_returned
            if fits and not is_assistant:
                uses.append(True)
            return fits and not is_assistant

    return Anywhere


def _late_check() -> Any:
    from transformers.generation import utils  # noqa: PLC0415  (seconds)

    return getattr(utils, _CLASS, None)


def predict(replay: Replay) -> Predicted:
    """The host need not wait for the last token before it launches the next step."""
    from mmprof.analyzers.whatif.waits import without_waits  # noqa: PLC0415  (polars: 100 ms)

    return without_waits(replay)


LEVER: Final = Lever(
    id="deferred_stop_check",
    layer="application",
    summary="transformers' generate asks one step late whether it is done, so that the host launches ahead",
    exactness="identical",
    risk="medium",
    cost="one step too much where a sequence ends before its maximum length",
    hurts="short answers: a step too much is a larger part of them",
    applies=applies,
    apply=apply,
    predict=predict,
)
