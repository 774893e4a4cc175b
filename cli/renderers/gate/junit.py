"""A check as a JUnit report, which most CI systems show: a test case for each condition and device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from mmprof.analyzers.gate.judge import CROSSED, NOISE
from mmprof.cli.renderers.gate.content import details, place, remarks, sentence, subject
from mmprof.cli.renderers.safe import clip, printable

if TYPE_CHECKING:
    from mmprof.analyzers.gate.judge import Judgement
    from mmprof.cli.renderers import RenderOptions
    from mmprof.cli.renderers.gate.content import Outcome

_SUITE: Final = "mmprof check"


def junit(outcome: Outcome, _: RenderOptions) -> str:
    """A suite; what is crossed fails, what is noise passes and says so."""
    check = outcome.check
    counts = {"tests": str(len(check.judgements)), "failures": str(len(check.crossed))}
    suites = Element("testsuites", {"name": _SUITE, **counts})
    suite = SubElement(suites, "testsuite", {"name": _SUITE, **counts, "errors": "0"})
    for judgement in check.judgements:
        _add_case(suite, judgement)
    said = [subject(check), *remarks(check), *outcome.headlines]
    SubElement(suite, "system-out").text = "\n".join(map(_safe, said))
    indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suites, encoding="unicode") + "\n"


def _add_case(suite: Element, judgement: Judgement) -> None:
    names = {"classname": f"mmprof.{place(judgement)}", "name": _safe(judgement.condition)}
    case = SubElement(suite, "testcase", names)
    told = "\n".join(map(_safe, details(judgement)))
    if judgement.status == CROSSED:
        failure = {"type": "crossed", "message": _safe(sentence(judgement))}
        SubElement(case, "failure", failure).text = told
    elif judgement.status == NOISE:
        SubElement(case, "system-out").text = told


def _safe(text: str) -> str:
    """XML has no place for control characters, not even escaped."""
    return printable(clip(text))
