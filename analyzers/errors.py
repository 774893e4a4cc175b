"""Errors that people can act on: what is wrong, what was found, what to try."""

from __future__ import annotations


class MmprofError(Exception):
    """The root of every error that mmprof raises for a user's input or request.

    Args:
        code: Stable code, `MM-E...`; `mmprof explain CODE` prints its page.
        message: What is wrong, one sentence.
        found: What was found instead, as specific as it can be.
        hint: What to try.
    """

    def __init__(self, code: str, message: str, *, found: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.found = found
        self.hint = hint

    def __str__(self) -> str:
        parts = [self.message]
        parts += [f"found: {self.found}"] if self.found else []
        parts += [f"try: {self.hint}"] if self.hint else []
        return "; ".join(parts)
