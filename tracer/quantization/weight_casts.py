"""Weights that a request casts again and again, found by watching one request."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from mmprof.tracer.workload import Workload

_CAST: Final = torch.ops.aten._to_copy.default  # noqa: SLF001


class Uses(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Sees, while it is entered, what is done with some parameters.

    Args:
        parameters: Whose uses are kept.

    Attributes:
        dtypes: What a parameter was cast to, by identity.
        casts: How often.
        others: Parameters that something other than a cast used.
    """

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = {id(parameter) for parameter in parameters}
        self.dtypes: dict[int, set[torch.dtype]] = defaultdict(set)
        self.casts: Counter[int] = Counter()
        self.others: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Keep a use, and do what was asked."""
        named = kwargs or {}
        for tensor in _tensors((*args, *named.values())):
            if id(tensor) in self._known:
                self._keep(id(tensor), named.get("dtype") if func is _CAST else None)
        return func(*args, **named)

    def _keep(self, key: int, dtype: torch.dtype | None) -> None:
        if dtype is None:
            self.others.add(key)
        else:
            self.dtypes[key].add(dtype)
            self.casts[key] += 1

    def always_cast(self) -> dict[int, torch.dtype]:
        """The parameters that were cast more than once, to one dtype only, and used in no other way; with that dtype."""
        return {
            key: next(iter(self.dtypes[key]))
            for key, count in self.casts.items()
            if count > 1 and len(self.dtypes[key]) == 1 and key not in self.others
        }


def _tensors(values: tuple[Any, ...]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(tuple(value))


@torch.no_grad()
def weights_cast(workload: Workload) -> dict[int, torch.dtype]:
    """Run a request; the parameters that it casts at each use, by identity, with the dtype."""
    found = [p for model in workload.models.values() for p in model.parameters()]
    with Uses(found) as uses:
        workload.run()
    found_casts: dict[int, torch.dtype] = uses.always_cast()
    return found_casts
