"""What is different inside a workflow of GitHub Actions: annotations, and the summary of a step."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mmprof.analyzers.errors import MmprofError
from mmprof.cli.output import say

if TYPE_CHECKING:
    from mmprof.cli.renderers import RenderOptions
    from mmprof.cli.renderers.gate.content import Outcome


def in_workflow() -> bool:
    """Whether this process runs in a workflow."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


@contextmanager
def annotated_errors() -> Generator[None, None, None]:
    """In a workflow, show an error of the block as an annotation; it goes on."""
    try:
        yield
    except MmprofError as error:
        if in_workflow():
            from mmprof.cli.renderers.gate.github import error_annotation  # noqa: PLC0415

            say(error_annotation(error))
        raise


def publish(outcome: Outcome, options: RenderOptions, *, annotate: bool) -> None:
    """Write annotations to standard error, which the runner reads as well, and append to the summary of the step.

    Args:
        outcome: The check.
        options: How to render.
        annotate: Whether to write annotations; the result may be them already.
    """
    from mmprof.cli.renderers.gate.github import workflow_commands  # noqa: PLC0415
    from mmprof.cli.renderers.gate.markdown import markdown  # noqa: PLC0415

    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        _append(Path(path), markdown(outcome, options))
    if annotate:
        say(workflow_commands(outcome, options).rstrip("\n"))


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(f"{text}\n")
    except OSError as error:
        # The verdict must not depend on it.
        say(f"the step summary was not written: {error.strerror or error}")
