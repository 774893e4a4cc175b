"""What the user asks the tracer for; needs no torch, so that it can be checked before anything heavy is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from mmprof.tracer.workload import Family

Progress: TypeAlias = Callable[[str], None]


def silent(_: str) -> None:
    """Tell nobody what begins."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user wrote; an empty text and 0 stand for the default.

    Attributes:
        settings: Texts `NAME=VALUE`.
    """

    task: str = ""
    size: str = ""
    dtype: str = ""
    batch: int = 0
    seed: int = 0
    input_length: int = 0
    output_length: int = 0
    attention: str = ""
    settings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """How often a workload runs, and how much of it is recorded.

    Attributes:
        warmups: Un-profiled runs before anything is timed.
        repeats: Un-profiled runs that are timed: six is the least whose extremes hold the median with 95 %.
        steps: Decode steps to record; 0 for all.
        max_events: Events to record, about, by recording fewer decode steps; 0 for any number.
    """

    warmups: int = 1
    repeats: int = 6
    steps: int = 0
    max_events: int = 0


@dataclass(frozen=True, slots=True)
class Subject:
    """What to trace: one of a family, a target and a folder.

    Attributes:
        family: A model family.
        target: `module:function`.
        folder: A model's folder.
        wish: What is asked of it.
        device: A torch device; empty for the accelerator where there is one, and for where the user's own model is.
    """

    family: Family | None = None
    target: str = ""
    folder: Path | None = None
    wish: Wish = field(default_factory=Wish)
    device: str = ""

    @property
    def name(self) -> str:
        """A file's name for its trace, without a suffix."""
        if self.folder is not None:
            return self.folder.resolve().name
        if self.family is None:
            return self.target.rpartition(":")[2]
        task, size = self.family.tasks[0].name, self.family.sizes[0].name
        return f"{self.family.name}-{self.wish.task or task}-{self.wish.size or size}"


@dataclass(frozen=True, slots=True)
class Manner:
    """How to trace it.

    Attributes:
        stacks: Record Python frames.
        memory: Record allocations.
        modules: Annotate modules.
        ceilings: Measure what the machine reaches.
        force: Replace existing files.
        limits: How often it runs, and how much is recorded.
        progress: Told what begins.
    """

    stacks: bool = False
    memory: bool = False
    modules: bool = True
    ceilings: bool = True
    force: bool = False
    limits: Limits = field(default_factory=Limits)
    progress: Progress = silent
