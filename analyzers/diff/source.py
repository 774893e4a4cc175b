"""What a user names as one side of a diff."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """What a user names as a side.

    Attributes:
        paths: Trace files and folders of them.
        label: What to call it; empty for the name of its first path.
    """

    paths: tuple[str, ...]
    label: str = ""

    @property
    def name(self) -> str:
        """The label, else what there is to tell the side by."""
        if self.label:
            return self.label
        more = f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else ""
        return Path(self.paths[0]).name + more

    def name_beside(self, other: Source) -> str:
        """The name, with the folders of its path where the other side's would be the same."""
        same = self.name == other.name and self.paths != other.paths
        return (
            self.paths[0] + self.name.removeprefix(Path(self.paths[0]).name) if same else self.name
        )
