"""A whole Python program under the profiler, with nothing changed in it.

Recording begins when the program has imported torch: what it sets up before that (its environment, the number of threads)
counts as it does without mmprof. Its arguments, output, exceptions and exit code are its own.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import runpy
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Final, NoReturn

from mmprof.analyzers.errors import MmprofError

CODE: Final = "MM-E055"
INTERRUPTED: Final = 130
_PYTHON: Final = "python"
_TAKES_VALUE: Final = ("-W", "-X", "--check-hash-based-pycs")


@dataclass(frozen=True, slots=True)
class Command:
    """A Python program as a command line names it.

    Attributes:
        python: Path of another Python that runs it; empty for this one.
        python_options: Options of that Python.
        module: A module to run as `-m` does; empty for a file.
        path: The file; empty for a module.
        arguments: Arguments of the program.
    """

    path: str = ""
    module: str = ""
    arguments: tuple[str, ...] = ()
    python: str = ""
    python_options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the program is called."""
        return self.module or Path(self.path).name

    @property
    def words(self) -> list[str]:
        """The command without its Python."""
        return [*(["-m", self.module] if self.module else [self.path]), *self.arguments]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a program ended.

    Attributes:
        exit_code: What its process would have exited with.
        error: The exception that ended it; None for a program that ended or exited by itself.
    """

    exit_code: int
    error: BaseException | None = None


def is_command(words: Sequence[str]) -> bool:
    """Whether words are a program to run: `python ...`, a `.py` file, `-m module` or another executable's path."""
    first = words[0] if words else ""
    return (
        first == "-m"
        or first.endswith(".py")
        or _is_python(first)
        or os.sep in first
        or (len(words) > 1 and shutil.which(first) is not None)
    )


def parse_command(words: Sequence[str]) -> Command:
    """The program that a command line names.

    Raises:
        MmprofError: It is no Python program, or it does not exist.
    """
    if not _is_python(words[0]):
        return _checked(_program(words))
    python = shutil.which(words[0])
    if python is None:
        raise MmprofError(
            CODE, f"there is no {words[0]}", found="not on PATH", hint=f"-- {sys.executable} ..."
        )
    options, rest = _python_options(words[1:])
    other = bool(options) or not _is_this_python(python)
    program = _program(rest)
    command = Command(
        program.path,
        program.module,
        program.arguments,
        python if other else "",
        tuple(options),
    )
    return _checked(command)


def run_elsewhere(command: Command, options: Sequence[str]) -> int:
    """Trace a program with another Python, which must have mmprof; its exit code.

    Args:
        command: The program.
        options: Options of `mmprof trace`.

    Raises:
        MmprofError: The other Python has no mmprof.
    """
    python = [command.python, *command.python_options]
    found = subprocess.run(  # noqa: S603  (the user's own command)
        [*python, "-c", "import mmprof.cli.main"], capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise MmprofError(
            CODE,
            f"{command.python} has no mmprof",
            found=found.stderr.strip().rpartition("\n")[2],
            hint=f"{command.python} -m pip install 'mmprof[trace]'",
        )
    traced = [*python, "-m", "mmprof", "trace", *options, "--", *command.words]
    return subprocess.run(traced, check=False).returncode  # noqa: S603


def run_program(command: Command, on_torch: Callable[[], None]) -> Ending:
    """Run a program in this process as `python` would.

    Args:
        command: The program.
        on_torch: Called when torch has been imported; at once where it already is.

    Returns:
        How it ended; in a process that the program forked this function does not return.
    """
    process = os.getpid()
    ending = _ran(command, on_torch)
    if os.getpid() != process:
        _leave_fork(ending.exit_code)
    return ending


def _ran(command: Command, on_torch: Callable[[], None]) -> Ending:
    with _as_main_program(command), _after_import("torch", on_torch):
        try:
            if command.module:
                runpy.run_module(command.module, run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(command.path, run_name="__main__")
        except SystemExit as stop:
            return Ending(_exit_code(stop))
        except MmprofError:
            raise
        except KeyboardInterrupt as error:
            return _failed(error, INTERRUPTED)
        except BaseException as error:  # noqa: BLE001  (a program may raise anything, and Python would show it)
            return _failed(error, 1)
    return Ending(0)


def _leave_fork(exit_code: int) -> NoReturn:
    """End a forked process as Python does, but without the clean-up of C++: Kineto's waits for a thread that forks lack."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()  # noqa: SLF001  (Python has no public name for it)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code & 0xFF)


def _failed(error: BaseException, exit_code: int) -> Ending:
    """Show an exception as Python does, without the frames around the program."""
    shown = error.with_traceback(_inside(error.__traceback__))
    sys.excepthook(type(shown), shown, shown.__traceback__)
    return Ending(exit_code, error)


def _inside(traceback: TracebackType | None) -> TracebackType | None:
    outside = {function.__code__.co_filename for function in (_ran, runpy.run_path)}
    while traceback and traceback.tb_frame.f_code.co_filename in outside:
        traceback = traceback.tb_next
    return traceback


def _exit_code(stop: SystemExit) -> int:
    """The exit code that Python makes of `sys.exit(value)`: text is shown, and fails."""
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code
    sys.stderr.write(f"{stop.code}\n")
    return 1


@contextmanager
def _as_main_program(command: Command) -> Iterator[None]:
    """`sys.argv` and `sys.path` as the program expects them."""
    before = sys.argv, list(sys.path)
    sys.argv = [command.path or "-m", *command.arguments]
    first = str(Path.cwd()) if command.module else str(Path(command.path).resolve().parent)
    sys.path.insert(0, first)
    try:
        yield
    finally:
        sys.argv, sys.path[:] = before


@contextmanager
def _after_import(name: str, action: Callable[[], None]) -> Iterator[None]:
    """Call a function when a module has been imported; at once where it already is."""
    if name in sys.modules:
        action()
        yield
        return
    finder = _ImportWatch(name, action)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        finder.leave()


class _ImportWatch(MetaPathFinder):
    """Waits for one module, and leaves as soon as it is looked for."""

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self._name = name
        self._action = action

    def leave(self) -> None:
        """No longer take part in imports."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, fullname: str, _: object, __: object = None) -> ModuleSpec | None:
        """The spec that would have been found, with a loader that calls the action afterwards."""
        if fullname != self._name:
            return None
        self.leave()
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenCall(spec.loader, self._action)
        return spec


class _ThenCall(Loader):
    """Loads a module with its own loader, then calls a function."""

    def __init__(self, loader: Loader, action: Callable[[], None]) -> None:
        self._loader = loader
        self._action = action

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """What the module's own loader creates."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module as its own, then the action."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._action()


def _program(words: Sequence[str]) -> Command:
    if not words:
        raise MmprofError(
            CODE, "there is no program to run", hint="mmprof trace -- python script.py"
        )
    if words[0] == "-m":
        if len(words) == 1:
            raise MmprofError(CODE, "-m needs a module", hint="-- python -m MODULE")
        return Command(module=words[1], arguments=tuple(words[2:]))
    if words[0] in {"-c", "-"}:
        raise MmprofError(
            CODE, f"python {words[0]} cannot be traced", hint="write the program to a file"
        )
    return Command(path=words[0], arguments=tuple(words[1:]))


def _checked(command: Command) -> Command:
    if command.path and not Path(command.path).is_file():
        if shutil.which(command.path):
            raise _no_python(command)
        raise MmprofError(
            CODE, f"there is no file {command.path}", found=str(Path.cwd()), hint="check the path"
        )
    if command.path and not _looks_like_python(Path(command.path)):
        raise _no_python(command)
    return command


def _no_python(command: Command) -> MmprofError:
    return MmprofError(
        CODE,
        f"{command.path} is no Python program",
        found="only Python can be recorded from inside",
        hint="let it start `python -m mmprof trace -o t.json.gz -- script.py` in place of `python script.py`",
    )


def _looks_like_python(path: Path) -> bool:
    if path.suffix in {".py", ".pyz", ".pyc"}:
        return True
    with path.open("rb") as file:
        first = file.readline(200)
    return first.startswith(b"#!") and _PYTHON.encode() in first


def _python_options(words: Sequence[str]) -> tuple[list[str], Sequence[str]]:
    """The options of Python at the beginning of words, and the rest."""
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] not in {"-m", "-c", "-"}:
        at += 2 if words[at] in _TAKES_VALUE else 1
    return list(words[:at]), words[at:]


def _is_python(word: str) -> bool:
    name = Path(word).name
    return name.removesuffix(".exe").rstrip("0123456789.") == _PYTHON


def _is_this_python(python: str) -> bool:
    """Whether a path is this interpreter; the same file linked into another virtual environment is another one."""
    return Path(python).parent.resolve() == Path(sys.executable).parent.resolve() and Path(
        python
    ).samefile(sys.executable)
