"""Text of a trace made safe to show.

Every string of a trace is hostile: kernel names, annotations and paths may hold escape sequences, markup, formulas or a
megabyte of anything.
"""

from __future__ import annotations

import re
import unicodedata
from textwrap import wrap
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SPREADSHEET_CELL: Final = 32_000
"""A little less than a cell of a spreadsheet holds."""

CLIP_LENGTH: Final = 4_000
"""Longer text is cut before anything looks at each of its characters."""

_BRACKET: Final = re.compile(r"(?<!operator)<|(?<![-=])>")
_NOISE: Final = re.compile(r"^void |\(anonymous namespace\)::")
_NAMESPACES: Final = re.compile(r"(?:\b\w+::)+(?=[\w{])")
_AFTER_NUMBER: Final = re.compile(r"(?<=\d) (?=\S)")
_FORMULA: Final = re.compile("^[\\s\\x00]*[=+\\-@\\t\\r\uff1d\uff0b\uff0d\uff20]")
_NEEDS_QUOTES: Final = re.compile(r'[",;\s\']')
_CODE_SPAN: Final = re.compile(r"[\w .:,()/=+{}#~^%$!?;\[\]-]*", re.ASCII)
_MARKDOWN: Final = re.compile(r"[`|\\*_~\[\]!#@$]|:(?=//)|(?<=www)\.")


def printable(text: str) -> str:
    r"""The text with everything invisible or active written out: `\x1b`, `\n`, `\u202e`, `\udc80`.

    Control characters, bidirectional overrides, zero-width characters, lone surrogates and white space other than the
    space are all invisible. In very long text other characters outside ASCII are written out as well.
    """
    if text.isprintable():
        return text
    if len(text) > CLIP_LENGTH:
        return _written_out(text)
    return "".join(c if c.isprintable() else _written_out(c) for c in text)


def _written_out(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii").replace("\\\\", "\\")


def columns_of(text: str) -> int:
    """Columns that printable text fills on a terminal; never less than it really does."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def label(text: str, width: int, *, ellipsis: str = "…") -> str:
    """Text of a trace as one printable line of at most `width` columns."""
    return shorten(printable(clip(text)), width, ellipsis=ellipsis)


def clip(text: str, limit: int = CLIP_LENGTH) -> str:
    """Head and tail of text longer than `limit` characters."""
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]}...{text[-half:]}"


def shorten(text: str, width: int, *, ellipsis: str = "…") -> str:
    """At most `width` columns of the text.

    A C++ name first loses its return type and arguments, then inner template arguments, then namespaces, as far as
    needed: what is left of `elementwise_kernel<4, add<…>>` still tells which one it was. Other text keeps head and tail.
    """
    name = clip(text)
    for form in _shorter_forms(name, ellipsis):
        name = form
        if columns_of(name) <= width:
            return name
    base = name.find("<")
    if 0 < base < width // 2:
        return _fitting(name, width - len(ellipsis)).removesuffix(ellipsis) + ellipsis
    return _head_and_tail(_without_templates(name, 1, ellipsis), width, ellipsis)


def lines_of(text: str, width: int, *, most: int | None = None, ellipsis: str = "…") -> list[str]:
    """Text of a trace as lines of at most `width` columns; a number stays with its unit."""
    glued = _AFTER_NUMBER.sub("\xa0", printable(clip(text)))
    # textwrap counts characters; twice the columns a character can take is always enough.
    columns = width if glued.isascii() or columns_of(glued) == len(glued) else width // 2
    lines = wrap(glued, columns, max_lines=most, placeholder=f" {ellipsis}")
    return [line.replace("\xa0", " ") for line in lines]


def _shorter_forms(name: str, ellipsis: str) -> Iterator[str]:
    yield name
    name = _bare(name)
    for depth in (4, 3, 2):
        name = _without_templates(name, depth, ellipsis)
        yield name
    yield _NAMESPACES.sub("", name) if "<" in name else name


def _bare(name: str) -> str:
    """The name without return type, anonymous namespaces and a last argument list."""
    bare = _NOISE.sub("", name)
    is_cpp = bare != name or "::" in name or ">(" in name
    return _without_arguments(bare) if is_cpp and bare.endswith(")") else bare


def _without_arguments(name: str) -> str:
    level = 0
    for at in range(len(name) - 1, 0, -1):
        level += (name[at] == ")") - (name[at] == "(")
        if level == 0:
            return name[:at]
    return name


def _without_templates(name: str, depth: int, ellipsis: str) -> str:
    """The name with template arguments nested `depth` deep, and deeper, replaced by an ellipsis."""
    parts, level, kept = [], 0, 0
    for match in _BRACKET.finditer(name):
        level += 1 if match[0] == "<" else -1 if level else 0
        if match[0] == "<" and level == depth:
            parts += [name[kept : match.end()], ellipsis]
            kept = len(name)
        elif match[0] == ">" and level == depth - 1:
            kept = min(kept, match.start()) if kept < len(name) else match.start()
    return "".join(parts) + name[kept:]


def _head_and_tail(text: str, width: int, ellipsis: str) -> str:
    room = width - len(ellipsis)
    if columns_of(text) <= width or room < 2:
        return _fitting(text, width)
    tail = _fitting(text[::-1], room // 3)[::-1]
    return _fitting(text, room - columns_of(tail)) + ellipsis + tail


def _fitting(text: str, width: int) -> str:
    """The longest head of the text in `width` columns."""
    head = text[: max(width, 0)]
    while columns_of(head) > width:
        head = head[:-1]
    return head


def markdown_cell(text: str) -> str:
    """Text of a trace as code in a cell of a Markdown table: no markup, HTML, link or mention is left active."""
    shown = printable(clip(text))
    if not shown.strip():
        return ""
    if _CODE_SPAN.fullmatch(shown):
        return f"`{shown}`"
    return f"<code>{_entities(shown)}</code>"


def markdown_text(text: str) -> str:
    """The same in running text. An empty comment keeps GitHub from reading `@name` as a mention."""
    return _entities(printable(clip(text))).replace("&#64;", "&#64;<!-- -->")


def _entities(text: str) -> str:
    html = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(lambda match: f"&#{ord(match[0])};", html)


def csv_cell(text: str) -> str:
    """Text of a trace as a CSV cell: one line, quoted where needed, never a formula of a spreadsheet."""
    shown = printable(clip(text, SPREADSHEET_CELL))
    if _FORMULA.match(text[:CLIP_LENGTH]):
        shown = f"'{shown}"
    return '"' + shown.replace('"', '""') + '"' if _NEEDS_QUOTES.search(shown) else shown


def markup(text: str) -> str:
    """Text of a trace to embed in a string with rich markup."""
    from rich.markup import escape  # noqa: PLC0415  rich takes 60 ms to import, and few renderers need it

    return escape(printable(clip(text)))
