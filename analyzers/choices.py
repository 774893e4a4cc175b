"""One word of several, with the nearest one suggested for a word that is none of them."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Final

from mmprof.analyzers.errors import MmprofError

_SHOWN: Final = 24


def choose(
    word: str,
    choices: Collection[str],
    *,
    what: str,
    code: str = "MM-E028",
    otherwise: str = "one of those",
) -> str:
    """The choice that a word names, whatever its case.

    Args:
        word: What the user wrote.
        choices: What there is.
        what: What is chosen, for the error: `the format`.
        code: Code of the error.
        otherwise: The hint where no choice is like the word.

    Raises:
        MmprofError: The word is no choice.
    """
    by_lower = {choice.lower(): choice for choice in choices}
    chosen = by_lower.get(word.lower())
    if chosen is None:
        raise MmprofError(
            code,
            f"{what} {word!r} does not exist",
            found=listed(choices),
            hint=nearest(word, choices, otherwise=otherwise),
        )
    return chosen


def nearest(word: str, choices: Collection[str], *, otherwise: str = "one of those") -> str:
    """A hint that names the choice most like a word."""
    by_lower = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.5)
    return f"did you mean {by_lower[close[0]]!r}?" if close else otherwise


def listed(choices: Collection[str], *, most: int = _SHOWN) -> str:
    """The choices as part of a sentence, cut where they are too many to read."""
    shown = list(choices)[:most]
    rest = len(choices) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
