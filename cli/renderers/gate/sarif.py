"""A check as SARIF 2.1.0 (OASIS standard of 2020): a rule for each condition, a result for each judgement."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from mmprof import __version__
from mmprof.analyzers.gate.judge import CROSSED, NOISE, OK
from mmprof.cli.renderers.gate.content import details, place, remarks
from mmprof.cli.renderers.safe import clip, printable

if TYPE_CHECKING:
    from mmprof.analyzers.gate.check import Check
    from mmprof.analyzers.gate.judge import Judgement
    from mmprof.cli.renderers import RenderOptions
    from mmprof.cli.renderers.gate.content import Outcome

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"

_LEVELS: Final = {CROSSED: "error", NOISE: "note", OK: "none"}
_KINDS: Final = {CROSSED: "fail", NOISE: "fail", OK: "pass"}


def sarif(outcome: Outcome, _: RenderOptions) -> str:
    """A log with one run."""
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(outcome)]}
    return msgspec.json.format(msgspec.json.encode(log)).decode() + "\n"


def _run(outcome: Outcome) -> dict[str, Any]:
    check = outcome.check
    conditions = list(dict.fromkeys(judgement.condition for judgement in check.judgements))
    driver = {
        "name": "mmprof",
        "semanticVersion": __version__,
        "rules": [_rule(condition) for condition in conditions],
    }
    said = [{"level": "note", "message": {"text": _text(line)}} for line in remarks(check)]
    return {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": said}],
        "results": [_result(check, j, conditions.index(j.condition)) for j in check.judgements],
    }


def _rule(condition: str) -> dict[str, Any]:
    shown = _text(condition)
    return {
        "id": shown,
        "shortDescription": {"text": f"mmprof check --fail-on '{shown}'"},
        "defaultConfiguration": {"level": "error"},
    }


def _result(check: Check, judgement: Judgement, rule: int) -> dict[str, Any]:
    where = place(judgement)
    return {
        "ruleId": _text(judgement.condition),
        "ruleIndex": rule,
        "kind": _KINDS[judgement.status],
        "level": _LEVELS[judgement.status],
        "message": {"text": ". ".join(map(_text, details(judgement)))},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(check.inputs[0].name)},
                    "region": {"startLine": 1},
                },
                "logicalLocations": [{"name": where, "kind": "resource"}],
            }
        ],
        "partialFingerprints": {"mmprofCondition/v1": f"{_text(judgement.condition)} {where}"},
    }


def _uri(name: str) -> str:
    return quote(PurePath(_text(name)).name)


def _text(text: str) -> str:
    return printable(clip(text))
