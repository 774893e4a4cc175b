"""`[tool.mmprof]` of the project around the working directory."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from mmprof.analyzers.choices import listed, nearest
from mmprof.analyzers.errors import MmprofError

if TYPE_CHECKING:
    from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE: Final = "pyproject.toml"
TABLE: Final = "tool.mmprof"
_EXAMPLE: Final = '[tool.mmprof] with fail_on = ["idle_share>0.4"] and baseline = "baseline.json"'


@dataclass(frozen=True, slots=True)
class ProjectSettings:
    """What a project asks of its checks.

    Attributes:
        file: The file that says so; None where none does.
        fail_on: Conditions.
        baseline: Path of the baseline; None where it names none.
        strict: Whether what is within the noise counts as crossed.
    """

    file: Path | None = None
    fail_on: tuple[str, ...] = ()
    baseline: Path | None = None
    strict: bool = False

    @property
    def origin(self) -> str:
        """What to call the file."""
        return FILE if self.file else ""


def project_settings(folder: Path) -> ProjectSettings:
    """The settings of the nearest `pyproject.toml` with a table `[tool.mmprof]`, in a folder or above it.

    Raises:
        MmprofError: A file on the way is no TOML, or the table has what does not belong there.
    """
    for above in (folder, *folder.parents):
        file = above / FILE
        table = _table(file) if file.is_file() else None
        if table is not None:
            return _settings(file, table)
    return ProjectSettings()


def setting_error(file: Path, key: str, problem: str, *, found: str, hint: str) -> MmprofError:
    """The error of a value in the table."""
    where = f"{TABLE}.{key}" if key else TABLE
    return MmprofError("MM-E083", f"{file}: {where} {problem}", found=found, hint=hint)


def _table(file: Path) -> Mapping[str, Any] | None:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MmprofError(
            "MM-E083", f"{file} cannot be read", found=str(error), hint="TOML in UTF-8"
        ) from error
    tools = document.get("tool")
    table = cast("object", tools.get("mmprof")) if isinstance(tools, dict) else None
    if table is None:
        return None
    if not isinstance(table, dict):
        raise setting_error(file, "", "is no table", found=repr(table), hint=_EXAMPLE)
    return cast("Mapping[str, Any]", table)


def _settings(file: Path, table: Mapping[str, Any]) -> ProjectSettings:
    for key in table:
        if key not in _KINDS:
            raise setting_error(
                file, key, "does not exist", found=listed(_KINDS), hint=nearest(key, _KINDS)
            )
    fail_on = cast("list[str]", _value(file, table, "fail_on"))
    baseline = cast("str", _value(file, table, "baseline"))
    return ProjectSettings(
        file,
        tuple(fail_on),
        file.parent / baseline if baseline else None,
        strict=bool(_value(file, table, "strict")),
    )


def _value(file: Path, table: Mapping[str, Any], key: str) -> object:
    default, kind = _KINDS[key]
    value = table.get(key, default)
    if not isinstance(value, type(default)):
        raise setting_error(file, key, f"is no {kind}", found=repr(value), hint=_EXAMPLE)
    if isinstance(value, list):
        for at, item in enumerate(value):
            if not isinstance(item, str):
                raise setting_error(
                    file, f"{key}[{at}]", "is no string", found=repr(item), hint=_EXAMPLE
                )
    return value


_KINDS: Final[Mapping[str, tuple[object, str]]] = {
    "fail_on": ([], "list of conditions"),
    "baseline": ("", "path"),
    "strict": (False, "boolean"),
}
