"""Weights cast once instead of at each call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmprof.tracer.lever import Lever, NotApplicableError

if TYPE_CHECKING:
    from torch import Tensor

    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (every device has it)
    """Needs a parameter; whether it is cast shows a run."""
    parameters = (p for model in workload.models.values() for p in model.parameters())
    return "" if next(parameters, None) is not None else "no parameter"


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Watch a request, and keep the weights that it only ever casts in the dtype that it casts them to."""
    from mmprof.tracer.lever_models import converted, modules_of  # noqa: PLC0415  (torch: seconds)
    from mmprof.tracer.quantization.weight_casts import weights_cast  # noqa: PLC0415

    dtypes = weights_cast(workload)
    if not dtypes:
        raise NotApplicableError("no weight is cast at each of its uses")

    def cast(tensor: Tensor) -> Tensor:
        dtype = dtypes.get(id(tensor))
        return tensor if dtype is None else tensor.detach().to(dtype)

    with converted(list(modules_of(workload)), cast):
        yield workload


def predict(replay: Replay) -> Predicted:
    """The conversions of weights before their products are gone."""
    from mmprof.analyzers.whatif.casts import cast_once  # noqa: PLC0415  (polars: 100 ms)

    return cast_once(replay)


LEVER: Final = Lever(
    id="weight_casts",
    layer="application",
    summary="Weights that a request casts at each use (autocast, mixed precision by hand) are cast once",
    exactness="identical",
    risk="low",
    cost="none",
    hurts="nothing",
    applies=applies,
    apply=apply,
    predict=predict,
)
