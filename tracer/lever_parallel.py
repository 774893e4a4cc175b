"""Encoders that do not wait for one another: found by watching two requests, run side by side in the next ones.

An encoder whose arguments are the very same objects in both requests, with the same values, reads nothing that a request makes: it
may begin as soon as the request does. On a CPU it runs on a thread of its own, on an accelerator on a stream of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mmprof.tracer.lever_models import attribute, requiring

if TYPE_CHECKING:
    from mmprof.tracer.workload import Workload

_DEPENDENT: Final = "no encoder beside the first reads only what is there before a request"


@dataclass(frozen=True, slots=True)
class Call:
    """Arguments of a module.

    Attributes:
        module: The module.
        args: By position; kept, so that no other object takes their identity.
        kwargs: By name.
        state: Which objects they are, and how often each tensor has been written to.
    """

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    state: tuple[object, ...]

    @classmethod
    def of(cls, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """The call as its arguments are now."""
        state = tuple(_state(leaf) for leaf in tree_leaves((args, kwargs)))
        return cls(module, args, kwargs, state)


def _state(value: object) -> object:
    """What tells a value from others; a tensor that does not count its writes is like none."""
    if not isinstance(value, Tensor):
        return value
    return object() if value.is_inference() else (id(value), value._version)  # noqa: SLF001  (autograd's own way to tell)


def encoders(workload: Workload) -> list[nn.Module]:
    """What may run side by side: the models, or the parts of a single one, that have layers."""
    models = list(workload.models.values())
    parts = models if len(models) > 1 else [part for model in models for part in model.children()]
    return [part for part in parts if next(part.children(), None) is not None]


def independent(workload: Workload) -> list[Call]:
    """Run two requests; the encoders that each calls once with the same, in the order of their calls."""
    first, second = _calls(workload), _calls(workload)
    times = Counter(id(call.module) for call in second)
    known = {id(call.module): call.state for call in first}
    return [
        call
        for call in second
        if times[id(call.module)] == 1 and known.get(id(call.module)) == call.state
    ]


def _calls(workload: Workload) -> list[Call]:
    made: list[Call] = []
    with ExitStack() as hooks:
        for module in encoders(workload):
            hook = module.register_forward_pre_hook(_noting(made), with_kwargs=True)
            hooks.callback(hook.remove)
        workload.run()
    return made


def _noting(made: list[Call]) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        made.append(Call.of(module, args, kwargs))

    return note


@dataclass(frozen=True, slots=True)
class Lane:
    """Where an encoder runs beside the request.

    Attributes:
        stream: A stream of the accelerator; None on a CPU, where the thread is enough.
    """

    stream: torch.Stream | None

    @classmethod
    def of(cls, module: nn.Module) -> Lane:
        """The lane of a module, by the device of its weights."""
        device = next((p.device for p in module.parameters()), torch.device("cpu"))
        return cls(None if device.type == "cpu" else torch.Stream(device))

    def open(self) -> None:
        """Begin after what the request has launched so far."""
        if self.stream is not None:
            self.stream.wait_stream(torch.accelerator.current_stream(self.stream.device))

    def running(self) -> AbstractContextManager[object]:
        """While it is entered, this thread launches on the lane."""
        return nullcontext() if self.stream is None else self.stream

    def join(self, output: object) -> None:
        """Let the request wait for the lane, and keep the memory of its output until the request is done with it."""
        if self.stream is None:
            return
        current = torch.accelerator.current_stream(self.stream.device)
        current.wait_stream(self.stream)
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor):
                leaf.record_stream(current)


@dataclass(slots=True)
class Parallel:
    """Encoders that begin with the first of them.

    Attributes:
        calls: How each is called; the first one begins the others.
        forwards: What each of them runs.
        lanes: Where each of them runs.
        started: What was begun and not asked for yet.
        served: Gets an element for each output that was begun early and used.
    """

    calls: list[Call]
    forwards: list[Callable[..., Any]]
    lanes: list[Lane]
    started: dict[int, Future[Any]] = field(default_factory=dict)
    served: list[object] = field(default_factory=list)

    def forward_of(self, place: int, pool: ThreadPoolExecutor) -> Callable[..., Any]:
        """The forward of one of them; other arguments than it had are computed when they come."""

        def forward(*args: Any, **kwargs: Any) -> Any:
            if place == 0:
                self._start(pool)
            begun = self.started.pop(place, None)
            call = self.calls[place]
            if begun is None or Call.of(call.module, args, kwargs).state != call.state:
                return self.forwards[place](*args, **kwargs)
            output = begun.result()
            self.lanes[place].join(output)
            self.served.append(place)
            return output

        return forward

    def _start(self, pool: ThreadPoolExecutor) -> None:
        modes = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
        for place, call in enumerate(self.calls[1:], start=1):
            if Call.of(call.module, call.args, call.kwargs).state == call.state:
                self.lanes[place].open()
                self.started[place] = pool.submit(self._compute, place, modes)

    def _compute(self, place: int, modes: tuple[bool, bool]) -> Any:
        inference, grad = modes
        call = self.calls[place]
        lane = self.lanes[place].running()
        with torch.inference_mode(inference), torch.set_grad_enabled(grad), lane:
            return self.forwards[place](*call.args, **call.kwargs)

    def finish(self) -> None:
        """Wait for what nobody asked for, so that nothing of a request outlives it."""
        for begun in self.started.values():
            begun.exception()
        self.started.clear()


@contextmanager
def side_by_side(workload: Workload, calls: list[Call]) -> Iterator[Workload]:
    """Run encoders side by side.

    Args:
        workload: Whose they are.
        calls: Two or more of them.

    Yields:
        The workload, whose run raises `NotApplicableError` where no output was begun early and used.
    """
    forwards = [call.module.forward for call in calls]
    parallel = Parallel(calls, forwards, [Lane.of(call.module) for call in calls])
    with ExitStack() as undone:
        pool = undone.enter_context(ThreadPoolExecutor(len(calls) - 1, "mmprof-encoder"))
        for place, call in enumerate(calls):
            fast = parallel.forward_of(place, pool)
            undone.enter_context(attribute(call.module, "forward", fast))
        finishing = replace(workload, run=_finishing(workload.run, parallel))
        yield requiring(finishing, parallel.served, _DEPENDENT)


def _finishing(run: Callable[[], object], parallel: Parallel) -> Callable[[], object]:
    def finished() -> object:
        try:
            return run()
        finally:
            parallel.finish()

    return finished
