"""An encoder that runs once a request."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mmprof.tracer.lever import Lever

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmprof.analyzers.whatif import Predicted, Replay
    from mmprof.tracer.workload import Workload

_EXTRAS: Final = ("output_attentions", "output_hidden_states")
_RETURNED: Final = (*_EXTRAS, "return_dict")


def applies(workload: Workload, device: str) -> str:  # noqa: ARG001  (every device has it)
    """Needs an encoder in an encoder-decoder model; whether it runs twice shows the first run."""
    return "" if _encoders(workload) else "no encoder of an encoder-decoder model"


@contextmanager
def apply(workload: Workload) -> Iterator[Workload]:
    """Remember, within a request, what each encoder made of which tensors."""
    from mmprof.tracer.lever_models import attribute, requiring  # noqa: PLC0415

    reuses: list[object] = []
    memos = [(encoder, Memo(encoder.forward, reuses)) for encoder in _encoders(workload)]
    with ExitStack() as patched:
        for encoder, memo in memos:
            patched.enter_context(attribute(encoder, "forward", memo))
        forgetful = replace(workload, run=_forgetting(workload.run, [memo for _, memo in memos]))
        yield requiring(forgetful, reuses, "no encoder runs twice on the same input in a request")


class Call(NamedTuple):
    """Arguments of a forward.

    Attributes:
        inputs: What it computes from, by name or position.
        extras: What it is asked to return besides.
    """

    inputs: dict[str, object]
    extras: frozenset[str]

    @classmethod
    def of(cls, args: tuple[object, ...], kwargs: dict[str, object]) -> Call:
        """The call with these arguments; None is no argument."""
        named = {str(at): value for at, value in enumerate(args)} | kwargs
        inputs = {k: v for k, v in named.items() if v is not None and k not in _RETURNED}
        return cls(inputs, frozenset(name for name in _EXTRAS if kwargs.get(name)))

    def serves(self, other: Call) -> bool:
        """Whether what this call returned has all that another one asks for."""
        return (
            self.inputs.keys() == other.inputs.keys()
            and other.extras <= self.extras
            and all(_equal(value, other.inputs[name]) for name, value in self.inputs.items())
        )


@dataclass(slots=True)
class Memo:
    """A forward that remembers.

    Equal means the same memory, shape and strides: that nothing writes into an encoder's input while a request runs is
    assumed, and the comparison of outputs would show it.

    Attributes:
        forward: What computes.
        reuses: Gets an element for each call that was not computed.
        kept: Calls and outputs of the request so far.
        active: Whether a request runs; outside of one nothing is remembered.
    """

    forward: Callable[..., object]
    reuses: list[object]
    kept: list[tuple[Call, object]] = field(default_factory=list)
    active: bool = False

    def __call__(self, *args: Any, **kwargs: Any) -> object:
        """The output, a shallow copy of it where it is kept: generation puts expanded tensors into its own."""
        call = Call.of(args, kwargs)
        for known, output in self.kept:
            if known.serves(call):
                self.reuses.append(call)
                return copy.copy(output)
        output = self.forward(*args, **kwargs)
        if self.active and isinstance(
            output, Mapping
        ):  # by name, so that extras are not in the way
            self.kept.append((call, copy.copy(output)))
        return output


def _equal(one: object, other: object) -> bool:
    import torch  # noqa: PLC0415

    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return _place(one) == _place(other)
    return type(one) is type(other) and bool(one == other)


def _place(tensor: Tensor) -> tuple[object, ...]:
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def _forgetting(run: Callable[[], object], memos: list[Memo]) -> Callable[[], object]:
    def forgetful() -> object:
        for memo in memos:
            memo.active = True
        try:
            return run()
        finally:
            for memo in memos:
                memo.active = False
                memo.kept.clear()

    return forgetful


def _encoders(workload: Workload) -> list[nn.Module]:
    from mmprof.tracer.lever_models import generators  # noqa: PLC0415  (transformers: seconds)

    return [
        child
        for model in generators(workload)
        if getattr(model.config, "is_encoder_decoder", False)
        for child in model.children()
        if "Encoder" in type(child).__name__
    ]


def predict(replay: Replay) -> Predicted:
    """The second of two equal calls vanishes."""
    from mmprof.analyzers.whatif.repeats import repeated_encoder  # noqa: PLC0415  (polars: 100 ms)

    return repeated_encoder(replay)


LEVER: Final = Lever(
    id="encoder_memo",
    layer="application",
    summary="An encoder that a request calls twice with the same input runs once",
    exactness="identical",
    risk="low",
    cost="memory of the encoder's output",
    hurts="nothing",
    applies=applies,
    apply=apply,
    predict=predict,
)
