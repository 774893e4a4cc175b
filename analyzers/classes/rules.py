"""What a rule is, and the bounded search for the first that applies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from mmprof.analyzers.classes.taxonomy import DEDICATED

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_NAME_CHARS = 4096
"""Longer names are cut before any rule reads them: template arguments beyond that say nothing new."""

MAX_ANCESTORS = 64
"""Deeper stacks are cut: rules look for the nearest meaning, and recursion can nest without bound."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of a rule table; it matches lower-case text.

    Attributes:
        id: Unique and stable: users read it in reports.
        cls: The class it decides.
        words: Any of these substrings is a match. They are plain text because a kernel name is searched for several
            hundred of them: a substring test costs a small part of a regular expression's.
        pattern: Regular expression in verbose syntax, searched where no word matched.
        over: The classes of the activity's own name that the rule may overrule; empty: all but the dedicated ones.
    """

    id: str
    cls: str
    words: tuple[str, ...] = ()
    pattern: str = ""
    over: frozenset[str] = frozenset()

    def matches(self, text: str) -> bool:
        """Whether `text`, already folded, is what this rule is about."""
        if any(word in text for word in self.words):
            return True
        return bool(self.pattern) and _compiled(self.pattern).search(text) is not None

    def may_overrule(self, own_class: str) -> bool:
        """Whether the rule applies to an activity whose own name says `own_class`."""
        if not self.over:
            return own_class not in DEDICATED
        return own_class in self.over


def words(rule_id: str, cls: str, text: str) -> Rule:
    """A rule that matches any of the substrings in `text`, which blanks separate."""
    return Rule(rule_id, cls, words=tuple(text.split()))


def regex(rule_id: str, cls: str, pattern: str, *, over: Iterable[str] = ()) -> Rule:
    """A rule that matches where `pattern`, in verbose syntax and for lower-case text, is found."""
    return Rule(rule_id, cls, pattern=pattern, over=frozenset(over))


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compiled when first searched for: most traces need a few of the many rules."""
    return re.compile(pattern, re.VERBOSE)


def fold(name: str) -> str:
    """The part of `name` that rules read, in lower case."""
    return name[:MAX_NAME_CHARS].lower()


def first_match(rules: Iterable[Rule], text: str) -> Rule | None:
    """The first rule that matches folded `text`."""
    return next((rule for rule in rules if rule.matches(text)), None)
