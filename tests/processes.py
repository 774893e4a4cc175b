"""What tests ask of processes on Linux."""

from __future__ import annotations

from pathlib import Path


def runs_on(process: int | str) -> bool:
    """Whether a process is there and has not ended."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}
