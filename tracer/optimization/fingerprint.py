"""What decides whether a measurement still holds: workload, machine, versions, code."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from mmprof import tracer
from mmprof.tracer.optimization.store import KEEPS

if TYPE_CHECKING:
    from mmprof.tracer.order import Subject
    from mmprof.tracer.verify_messages import Prepared
    from mmprof.tracer.verify_sides import Effort

_LENGTH: Final = 12
_INSTALLED: Final = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


def fingerprint(subject: Subject, effort: Effort, ready: Prepared, code: str) -> str:
    """A short name for all that a measurement depends on; another one where any of it is another.

    Args:
        subject: What was asked for.
        effort: How it is measured.
        ready: What the workload says of itself and of where it runs.
        code: Digest of the user's own code.
    """
    parts = {
        "format": KEEPS,
        "asked": asked_for(subject),
        "folder": _listed(subject.folder) if subject.folder else [],
        "effort": effort,
        "workload": [ready.name, ready.arguments],
        "machine": [ready.device, ready.device_name, ready.clock, ready.threads],
        "versions": ready.versions,
        "code": [_own_package(), code],
    }
    encoded = msgspec.json.encode(parts, order="deterministic")
    return hashlib.sha256(encoded).hexdigest()[:_LENGTH]


def asked_for(subject: Subject) -> str:
    """What names a workload on the command line."""
    wish = subject.wish
    what = subject.family.name if subject.family else subject.target or f"--hf {subject.folder}"
    given = {
        "task": wish.task,
        "size": wish.size,
        "dtype": wish.dtype,
        "device": subject.device,
        "batch": wish.batch,
        "input-length": wish.input_length,
        "output-length": wish.output_length,
        "attention": wish.attention,
        "seed": wish.seed,
    }
    words = [f"--{name} {value}" for name, value in given.items() if value]
    return " ".join([what, *words, *(f"--set {setting}" for setting in wish.settings)])


def digest_of_own_code() -> str:
    """A digest of the loaded modules that are no part of Python or of an installed package."""
    files = {Path(file) for module in list(sys.modules.values()) if (file := _file_of(module))}
    return _digest(path for path in sorted(files) if path.is_file())


def _file_of(module: object) -> str:
    """The file of a user's own module; empty for all others."""
    file = getattr(module, "__file__", None)
    name = str(getattr(module, "__name__", ""))
    if not isinstance(file, str) or name.partition(".")[0] in {"mmprof", "__main__"}:
        return ""
    return "" if file.startswith(_INSTALLED) or "site-packages" in file else file


@cache
def _own_package() -> str:
    """A digest of what builds, changes and measures workloads."""
    return _digest(
        sorted(path for folder in tracer.__path__ for path in Path(folder).rglob("*.py"))
    )


def _digest(files: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for path in files:
        found.update(path.name.encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def _listed(folder: Path) -> list[tuple[str, int, int]]:
    """The files of a model's folder: weights are too large to be read for this."""
    facts = ((path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file())
    return [(str(path.relative_to(folder)), at.st_size, at.st_mtime_ns) for path, at in facts]
