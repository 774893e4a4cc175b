"""What a command line names as the two sides of a comparison."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mmprof.analyzers.errors import MmprofError

if TYPE_CHECKING:
    from mmprof.analyzers.diff.source import Source

SEPARATOR: Final = "\0--"
"""Stands between the sides; no path has such a character."""

_NAMED: Final = re.compile(r"([^=/\\]+)=(.+)", re.DOTALL)

Word = tuple[str, str]


def sides_of(words: Sequence[str]) -> tuple[Source, Source]:
    """The two sides: two paths, two lists with a separator between, or paths with two names.

    Raises:
        MmprofError: It is not clear what the sides are (MM-E071).
    """
    named = [_named(word) for word in words if word != SEPARATOR]
    if SEPARATOR in words:
        groups = _separated(words)
    elif any(label for label, _ in named):
        groups = [
            [w for w in named if w[0] == label]
            for label in dict.fromkeys(label for label, _ in named)
        ]
    else:
        groups = [[word] for word in named]
    if len(groups) != 2 or not all(groups):
        raise _unclear(words)
    return _source(groups[0], words), _source(groups[1], words)


def _separated(words: Sequence[str]) -> list[list[Word]]:
    groups: list[list[Word]] = [[]]
    for word in words:
        if word == SEPARATOR:
            groups.append([])
        else:
            groups[-1].append(_named(word))
    return groups


def _named(word: str) -> Word:
    """The name and the path of a word; a file whose name has an equals sign is a file."""
    match = _NAMED.fullmatch(word)
    return (match[1], match[2]) if match and not Path(word).exists() else ("", word)


def _source(group: Sequence[Word], words: Sequence[str]) -> Source:
    from mmprof.analyzers.diff.source import Source  # noqa: PLC0415

    labels = {label for label, _ in group}
    if len(labels) > 1:
        raise _unclear(words)
    return Source(tuple(path for _, path in group), labels.pop())


def _unclear(words: Sequence[str]) -> MmprofError:
    shown = " ".join("--" if word == SEPARATOR else word for word in words)
    return MmprofError(
        "MM-E071",
        "diff takes two sides",
        found=shown or "nothing",
        hint="mmprof diff BEFORE AFTER, mmprof diff old1 old2 -- new1 new2, or mmprof diff old=a.json new=b.json",
    )
