"""Text that is almost JSON made JSON: what old exporters and damaged files put into names and numbers."""

from __future__ import annotations

import re
from typing import Final

_ESCAPE: Final = re.compile(
    rb'(?P<good>\\(?:["\\/bfnrt]|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}))'
    rb"|(?P<half_pair>\\u[0-9a-fA-F]{4})|\\"
)
_CONTROL: Final = re.compile(rb"[\x00-\x1f]")
_GAP: Final = re.compile(rb"[:\[,]\s*[-+]?(?:[Nn]a[Nn]|[Ii]nf)|,\s*[,\]}]")
_STRING_OR_GAP: Final = re.compile(
    rb'(?P<string>"[^"\\]*(?:\\.[^"\\]*)*")'
    rb"|(?<=[:\[,])(?P<blanks> *)[-+]?(?:NaN|nan|[Ii]nf(?:inity)?)(?= *[,\]}])"
    rb"|(?P<comma>,)(?= *[,\]}])"
)


def mend(text: bytes) -> bytes:
    """The text with bad UTF-8, escapes, control characters, bare NaN or inf and empty members made valid JSON."""
    valid = text if text.isascii() else text.decode("utf-8", "replace").encode()
    escaped = _ESCAPE.sub(_valid_escape, valid) if b"\\" in valid else valid
    plain = _CONTROL.sub(b" ", escaped)
    return _STRING_OR_GAP.sub(_filled, plain) if _GAP.search(plain) else plain


def _valid_escape(match: re.Match[bytes]) -> bytes:
    if match["good"]:
        return match["good"]
    return rb"\ufffd" if match["half_pair"] else rb"\\"


def _filled(match: re.Match[bytes]) -> bytes:
    if match["string"]:
        return match["string"]
    return b"" if match["comma"] else match["blanks"] + b"null"
