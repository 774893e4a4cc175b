"""Levers on a model of one's own.

>>> model = mmprof.apply(model, ["sdpa", "compile"])  # doctest: +SKIP
>>> with mmprof.applied(model, ["bf16"]) as fast:  # doctest: +SKIP
...     fast.generate(**inputs)
"""

from __future__ import annotations

import atexit
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from mmprof.analyzers.choices import choose
from mmprof.analyzers.errors import MmprofError
from mmprof.tracer.families import families
from mmprof.tracer.lever import Lever, NotApplicableError
from mmprof.tracer.lever_registry import levers_by_word
from mmprof.tracer.optimization.stacks import exclude_each_other, in_order
from mmprof.tracer.order import Subject, Wish
from mmprof.tracer.torch_required import check_torch
from mmprof.tracer.workload import Workload

if TYPE_CHECKING:
    from torch import nn

CODE: Final = "MM-E064"

T = TypeVar("T", bound="nn.Module | Workload")


def apply(target: T, levers: Sequence[str], *, inputs: object = None) -> T:
    """Apply levers for as long as the process lives.

    Args:
        target: A model, which is changed in place, or a workload.
        levers: Names of `mmprof levers`, or `module:NAME`. Those that must come before others are applied first.
        inputs: What one request of a model gets, for levers that watch a request first, as `autoquant` does: a mapping of
            arguments by name, a tuple of arguments, or the only one. A workload has its own.

    Returns:
        The model, or the workload that runs under the levers.

    Raises:
        MmprofError: A lever does not exist, does not apply, or failed; then the model is as it was.
    """
    with ExitStack() as undone:
        changed = undone.enter_context(applied(target, levers, inputs=inputs))
        # Not left to the end of the interpreter, which has nothing left that could undo them; and until then, a
        # context that nobody holds would undo them at once.
        atexit.register(undone.pop_all().close)
    return changed


@contextmanager
def applied(target: T, levers: Sequence[str], *, inputs: object = None) -> Iterator[T]:
    """Apply levers while the context is entered; see `apply`.

    A call of a model's `generate` is a request, for models that generate; of others, a call of the model.
    """
    check_torch("applying levers", otherwise="`mmprof recommend` says which may pay")
    chosen = levers_by_word(levers)
    _check_together(chosen)
    ordered = {name: chosen[name] for name in in_order(chosen, chosen)}
    with ExitStack() as undone:
        if isinstance(target, Workload):
            if inputs is not None:
                raise MmprofError(
                    CODE, "inputs are for a model: a workload has its own", hint="leave them out"
                )
            yield cast("T", _entered(target, ordered, undone))
        else:
            _enter_model(target, ordered, inputs, undone)
            yield target


def workload(target: str = "", *, hf: str = "", device: str = "", **wish: Any) -> Workload:
    """The workload that the command line would run.

    Args:
        target: A family of `mmprof workloads`, or `module:function`.
        hf: A folder with a model of transformers, instead.
        device: A torch device; empty for the default.
        wish: What is asked of it: `task`, `size`, `dtype`, `batch`, `input_length`, `output_length`, `attention`, `seed`,
            and `settings`, texts `NAME=VALUE`.

    Raises:
        MmprofError: It cannot be found, or not with what is asked of it.
    """
    check_torch("building a workload")
    from mmprof.tracer.tracing import build_subject  # noqa: PLC0415  (torch: seconds)

    asked, family = Wish(**wish), None
    if target and ":" not in target:
        known = families()
        family = known[choose(target, known, what="the family", code="MM-E053")]
    own = target if ":" in target else ""
    folder = Path(hf) if hf else None
    return build_subject(Subject(family, own, folder, asked, device)).workload


def _check_together(levers: Mapping[str, Lever]) -> None:
    for (one, first), (other, second) in combinations(levers.items(), 2):
        if exclude_each_other(first, second):
            raise MmprofError(
                CODE,
                f"the levers {one!r} and {other!r} cannot be applied together",
                hint="leave one of them out",
            )


def _entered(target: Workload, levers: Mapping[str, Lever], undone: ExitStack) -> Workload:
    device = _device_of(target)
    for name, lever in levers.items():
        try:
            reason = lever.applies(target, device)
            if not reason:
                target = undone.enter_context(lever.apply(target))
        except NotApplicableError as why:
            reason = str(why)
        except MmprofError:
            raise
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            raise MmprofError(
                CODE, f"the lever {name!r} failed while it was applied", found=told
            ) from error
        if reason:
            raise _inapplicable(name, reason)
    return target


def _inapplicable(name: str, reason: str) -> MmprofError:
    return MmprofError(
        CODE,
        f"the lever {name!r} does not apply",
        found=reason,
        hint="leave it out; `mmprof optimize` finds those that do",
    )


def _enter_model(
    model: nn.Module, levers: Mapping[str, Lever], inputs: object, undone: ExitStack
) -> None:
    """Apply levers to a model whose calls become requests, where a lever asks for those."""
    from mmprof.tracer.lever_models import attribute, generators  # noqa: PLC0415  (torch: seconds)
    from mmprof.tracer.targets import request_with  # noqa: PLC0415

    requests = _Requests(" + ".join(levers))
    bare = Workload(type(model).__name__, {"": model}, requests.call)
    entry = "generate" if generators(bare) else "forward"
    if inputs is not None:
        requests.watched = request_with(_request_of(model, entry), inputs)
    changed = _entered(bare, levers, undone)
    if changed.run != bare.run:
        wrapped = requests.through(changed.run, getattr(model, entry))
        undone.enter_context(attribute(model, entry, wrapped))


def _request_of(model: nn.Module, entry: str) -> Callable[..., object]:
    """A request of the model as it is then: levers put their own methods on it."""

    def request(*args: Any, **kwargs: Any) -> object:
        call = model if entry == "forward" else getattr(model, entry)  # its hooks see a whole call
        return call(*args, **kwargs)

    return request


def _unknown_request() -> object:
    raise NotApplicableError(
        "it watches a request first, and a model alone has none: give inputs=, or a workload"
    )


class _Requests:
    """Calls of a model as requests of a workload, which levers may prepare for and clean up after.

    Args:
        names: What the levers are called.

    Attributes:
        watched: What levers watch while they are applied, before there is a call.
    """

    def __init__(self, names: str) -> None:
        self.watched: Callable[[], object] = _unknown_request
        self._names = names
        self._waiting: list[Callable[[], object]] = []
        self._called = False

    def call(self) -> object:
        """What the workload runs: the call that waits."""
        self._called = True
        return self._waiting[-1]() if self._waiting else self.watched()

    def through(
        self, run: Callable[[], object], call: Callable[..., object]
    ) -> Callable[..., object]:
        """The call, made by what the workload runs under the levers."""
        import torch  # noqa: PLC0415

        @functools.wraps(call)
        def requested(*args: Any, **kwargs: Any) -> object:
            # A compiler, and what the request itself calls, see the call as it is.
            if torch.compiler.is_compiling() or self._waiting:
                return call(*args, **kwargs)
            return self._request(run, lambda: call(*args, **kwargs))

        return requested

    def _request(self, run: Callable[[], object], call: Callable[[], object]) -> object:
        self._called = False
        self._waiting.append(call)
        try:
            made = run()
        except NotApplicableError as why:
            raise _inapplicable(self._names, str(why)) from why
        finally:
            self._waiting.pop()
        if not self._called:
            raise MmprofError(
                CODE,
                f"{self._names}: one of them replaces the whole request, which a model alone does not have",
                hint="apply them to a workload",
            )
        return made


def _device_of(target: Workload) -> str:
    """Where the first parameter is."""
    parameters = (p for model in target.models.values() for p in model.parameters())
    first = next(parameters, None)
    return "cpu" if first is None else str(first.device)
