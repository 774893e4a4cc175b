"""Text that is almost JSON made JSON: what old exporters and damaged files put into names and numbers."""

from __future__ import annotations

import re
from typing import Final

_ESCAPE: Final = re.compile(
    rb'\\(?:["\\/bfnrt]|u(?![dD][89abAB])(?![dD][c-fC-F])[0-9a-fA-F]{4}|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})'
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}|\\"
)
_HALF_PAIR_CHARS: Final = 6
_CONTROL: Final = re.compile(rb"[\x00-\x1f]")
_STRING_OR_GAP: Final = re.compile(
    rb'"[^"\\]*(?:\\.[^"\\]*)*"'
    rb"|(?<=[:\[,])(?P<blanks> *)[-+]?(?:NaN|nan|[Ii]nf(?:inity)?)(?= *[,\]}])"
    rb"|,(?= *[,\]}])"
)


def mend(text: bytes) -> bytes:
    """The text with bad UTF-8, escapes, control characters, bare NaN or inf and empty members made valid JSON."""
    valid = text.decode("utf-8", "replace").encode()
    escaped = _ESCAPE.sub(_valid_escape, valid)
    return _STRING_OR_GAP.sub(_filled, _CONTROL.sub(b" ", escaped))


def _valid_escape(match: re.Match[bytes]) -> bytes:
    if match[0] == b"\\":
        return b"\\\\"
    half_of_a_pair = len(match[0]) == _HALF_PAIR_CHARS and match[0][2:3] in b"dD" and match[0][3:4] in b"89abAB" + b"cdefCDEF"
    return b"\\ufffd" if half_of_a_pair else match[0]


def _filled(match: re.Match[bytes]) -> bytes:
    if match[0].startswith(b'"'):
        return match[0]
    return b"" if match[0] == b"," else match["blanks"] + b"null"
