"""What a marker asks for: its keywords as conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from mmprof.analyzers.choices import listed, nearest
from mmprof.analyzers.errors import MmprofError

if TYPE_CHECKING:
    import pytest

KEYWORDS: Final[Mapping[str, str]] = {
    "max_step_ms": "step_time>{}ms",
    "max_window_ms": "window_time>{}ms",
    "max_busy_ms": "busy_time>{}ms",
    "max_idle_ms": "idle_time>{}ms",
    "max_idle_share": "idle_share>{}",
    "max_python_share": "cause.python.share>{}",
    "max_sync_share": "cause.sync.share>{}",
    "max_dispatch_share": "cause.dispatch.share>{}",
    "max_launches": "launches>{}",
    "max_activities": "activities>{}",
    "max_peak_memory_mib": "peak_memory>{}MiB",
    "max_findings": "findings>{}",
    "max_high_findings": "findings.high>{}",
}
"""Keywords of the marker that take a number, and the condition that each stands for."""

_FAIL_ON: Final = "fail_on"
_BASELINE: Final = "baseline"
_STRICT: Final = "strict"
_KNOWN: Final = (*KEYWORDS, _FAIL_ON, _BASELINE, _STRICT)
_MEMORY: Final = "peak_memory"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a test must hold.

    Attributes:
        conditions: Each condition with what the marker has for it.
        baseline: A saved baseline or a trace; None without one.
        strict: Whether what is within the noise counts as crossed.
    """

    conditions: tuple[tuple[str, str], ...]
    baseline: Path | None = None
    strict: bool = False

    @property
    def memory(self) -> bool:
        """Whether a condition needs memory events in the trace."""
        return any(condition.startswith(_MEMORY) for condition, _ in self.conditions)


def limits_of(item: pytest.Function) -> Limits:
    """What the markers of a test ask for together; the one nearest to the test goes first.

    Raises:
        MmprofError: A keyword is unknown or its value does not fit, or there is no condition.
    """
    keywords: dict[str, Any] = {}
    for mark in item.iter_markers("mmprof"):
        if mark.args:
            raise _bad("takes keywords only", found=repr(mark.args[0]))
        keywords = {**mark.kwargs, **keywords}
    return limits(keywords, folder=item.config.rootpath)


def limits(keywords: Mapping[str, Any], *, folder: Path) -> Limits:
    """What keywords ask for.

    Args:
        keywords: As in the marker.
        folder: Where a relative path of a baseline begins.

    Raises:
        MmprofError: See `limits_of`.
    """
    for keyword in keywords:
        if keyword not in _KNOWN:
            raise _bad(
                f"has no keyword {keyword!r}", found=listed(_KNOWN), hint=nearest(keyword, _KNOWN)
            )
    numbers = [_limit(keyword, keywords[keyword]) for keyword in KEYWORDS if keyword in keywords]
    conditions = (*numbers, *((text, _FAIL_ON) for text in _texts(keywords.get(_FAIL_ON, ()))))
    require_conditions(conditions, found=listed(keywords) or "no keyword")
    return Limits(conditions, _path(keywords.get(_BASELINE), folder), strict=_strict(keywords))


def require_conditions(conditions: Sequence[tuple[str, str]], *, found: str) -> None:
    """Refuse to hold a test to nothing: it could not fail.

    Raises:
        MmprofError: There is no condition.
    """
    if not conditions:
        raise _bad("limits nothing", found=found)


def _path(baseline: object, folder: Path) -> Path | None:
    if baseline is None:
        return None
    if not isinstance(baseline, (str, Path)):
        raise _bad(f"takes a path for {_BASELINE}", found=repr(baseline))
    return folder / baseline


def _strict(keywords: Mapping[str, Any]) -> bool:
    strict = keywords.get(_STRICT, False)
    if not isinstance(strict, bool):
        raise _bad(f"takes True or False for {_STRICT}", found=repr(strict))
    return strict


def _limit(keyword: str, value: object) -> tuple[str, str]:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not 0 <= value < float("inf")
    ):
        raise _bad(f"takes a number for {keyword}", found=repr(value))
    # a subclass, as numpy's numbers are, may call itself by another name
    number = int(value) if isinstance(value, int) else float(value)
    return KEYWORDS[keyword].format(number), f"{keyword}={number}"


def _texts(value: object) -> Sequence[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(t, str) for t in texts):
        raise _bad(f"takes a condition or a list of them for {_FAIL_ON}", found=repr(value))
    return cast("Sequence[str]", texts)


def _bad(problem: str, *, found: str, hint: str = "") -> MmprofError:
    example = "@pytest.mark.mmprof(max_idle_share=0.4, fail_on=['class.attention.time>2ms'])"
    return MmprofError("MM-E084", f"the marker mmprof {problem}", found=found, hint=hint or example)
