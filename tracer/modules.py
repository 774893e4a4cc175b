"""Annotations of modules in a trace: `nn.Module: model.layers.0.self_attn (LlamaAttention)` around each forward call.

With `with_stack=True` torch.profiler names modules by class and number; here they have their paths, at a few microseconds
a call and without a frame for each Python function.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.profiler import ProfilerActivity, profile, record_function

if TYPE_CHECKING:
    from types import TracebackType

PREFIX: Final = "nn.Module: "

_GLOBAL_HOOKS: Final = r"Using `torch\.compile\(module\)` when there are global hooks"

_Annotate: TypeAlias = "Callable[[str], AbstractContextManager[Any]]"

# Eight times cheaper than record_function, and what torch's own generated code uses around a compiled graph. Without the
# scope, or without record_shapes, the event would be an operator.
_fast: Final = partial(
    torch._C._profiler._RecordFunctionFast,  # noqa: SLF001
    input_values=(),
    keyword_values={"scope": "user_scope"},
)


def module_annotation(path: str, module: nn.Module) -> str:
    """The annotation of a module, as the trace has it; the path of a root is its class."""
    kind = type(module).__name__
    return f"{PREFIX}{path or kind} ({kind})"


def _never_compiled(*functions: Callable[..., object]) -> None:
    """Keep torch.compile from compiling hooks: for a model that is compiled already, that would fill the recording."""
    if "torch._dynamo" in sys.modules:
        for function in functions:
            torch._dynamo.eval_frame.skip_code(function.__code__)  # noqa: SLF001  (torch has no public name for it)


def prime_profiler() -> bool:
    """Start the profiler once, which takes a second the first time, and see whether fast annotations are annotations.

    Older versions of torch write them as operators.
    """
    return _primed()


@lru_cache(maxsize=1)
def _primed() -> bool:
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as primed, _fast("mmprof"):
        torch.empty(1)
    return any(event.name == "mmprof" and event.is_user_annotation for event in primed.events())


class _Open(threading.local):
    """The annotations that a thread has open, the innermost last, each with its name."""

    def __init__(self) -> None:
        self.stack: list[tuple[str, AbstractContextManager[Any]]] = []


class ModuleAnnotations:
    """Annotates forward calls of modules while it is entered.

    Compiled code has no annotations: the hooks do nothing while torch.compile traces them.

    Args:
        models: Models by name, whose modules are annotated; None for every module that runs, named from the outermost
            module that was called.
    """

    def __init__(self, models: Mapping[str, nn.Module] | None = None) -> None:
        self._models = models
        self._names: dict[int, str] = {}
        self._roots: list[nn.Module] = []  # keeps the ids of `_names` from being used again
        self._open = _Open()
        self._hooks = ExitStack()
        self._annotate: _Annotate = record_function

    def __enter__(self) -> ModuleAnnotations:
        self._annotate = _fast if prime_profiler() else record_function
        if self._models is None:
            self._hook_all()
        else:
            for name, model in self._models.items():
                self._hook_model(name, model)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hooks.close()
        self.close_open()

    def open_root(self) -> None:
        """Annotate what follows as the model's, where there is one: it works between its forward calls as well.

        A loop of generation chooses tokens there and reorders caches. What several models share is nobody's.
        """
        if self._models is not None and len(self._models) == 1:
            [(name, model)] = self._models.items()
            self._begin(module_annotation(name, model))

    def close_open(self) -> None:
        """End what this thread has open: an interrupted call runs no hooks."""
        stack = self._open.stack
        while stack:
            stack.pop()[1].__exit__(None, None, None)

    def _hook_model(self, name: str, model: nn.Module) -> None:
        for path, module in model.named_modules():
            if not isinstance(module, torch.jit.ScriptModule):
                full = ".".join(filter(None, (name, path)))
                enter, leave = self._marks_of(module_annotation(full, module))
                # The first to run before and the last after: other hooks are inside.
                self._hooks.callback(module.register_forward_pre_hook(enter, prepend=True).remove)
                self._hooks.callback(module.register_forward_hook(leave, always_call=True).remove)

    def _marks_of(
        self, name: str
    ) -> tuple[Callable[[nn.Module, Any], None], Callable[[nn.Module, Any, Any], None]]:
        """Hooks before and after the forward calls of one module; all they need is bound here."""
        open_, annotate, close, is_compiling = (
            self._open,
            self._annotate,
            self._close,
            torch.compiler.is_compiling,
        )

        def enter(_: nn.Module, __: Any) -> None:
            if not is_compiling():
                mark = annotate(name)
                open_.stack.append((name, mark))
                mark.__enter__()

        def leave(_: nn.Module, __: Any, ___: Any) -> None:
            if not is_compiling():
                stack = open_.stack
                if stack and stack[-1][0] is name:
                    stack.pop()[1].__exit__(None, None, None)
                else:
                    close(name)

        _never_compiled(enter, leave)
        return enter, leave

    def _hook_all(self) -> None:
        _never_compiled(self._enter_any, self._leave_any, self._begin, self._discover, self._close)
        # What it warns of is right for traces: the compiled module is called, then the one inside.
        warnings.filterwarnings("ignore", _GLOBAL_HOOKS, UserWarning)
        self._hooks.callback(register_module_forward_pre_hook(self._enter_any).remove)
        leave = register_module_forward_hook(self._leave_any, always_call=True)
        self._hooks.callback(leave.remove)

    def _enter_any(self, module: nn.Module, _: Any) -> None:
        if torch.compiler.is_compiling():
            return
        self._begin(self._names.get(id(module)) or self._discover(module))

    def _begin(self, name: str) -> None:
        mark = self._annotate(name)
        self._open.stack.append((name, mark))
        mark.__enter__()

    def _leave_any(self, module: nn.Module, _: Any, __: Any) -> None:
        if not torch.compiler.is_compiling():
            self._close(self._names.get(id(module), ""))

    def _discover(self, root: nn.Module) -> str:
        """Name the modules of a root that is called for the first time."""
        for path, module in root.named_modules():
            self._names[id(module)] = module_annotation(path, module)
        self._roots.append(root)
        return self._names[id(root)]

    def _close(self, name: str) -> None:
        stack = self._open.stack
        if not any(opened is name for opened, _ in stack):
            return
        closed = ""
        while (
            closed is not name
        ):  # what is inside ended without its hook: on an exception that is no Exception
            closed, mark = stack.pop()
            mark.__exit__(None, None, None)
