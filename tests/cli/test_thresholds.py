"""Conditions of `--fail-on` against a document made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.gate.conditions import parse_threshold
from mmprof.analyzers.gate.numbers import numbers
from mmprof.cli.thresholds import crossings

DEVICE: dict[str, Any] = {
    "input": 0,
    "rank": 2,
    "device": 1,
    "name": "x",
    "window_ns": 1_000,
    "busy_ns": 400,
    "idle_ns": 600,
    "idle_share": 0.6,
    "carry_in": {"count": 3, "time_ns": 5},
    "classes": [{"class": "linear", "time_ns": 300}, {"class": "attention", "time_ns": 100}],
    "idle_causes": [{"cause": "python", "time_ns": 250}, {"cause": "sync", "time_ns": 350}],
    "bounds": [{"bound": "memory", "time_ns": 400}],
    "roofline": {"coverage": 0.9, "peak_flops": {"bf16": 10}},
}
DOCUMENT: dict[str, Any] = {
    "inputs": [{"path": "a.json"}, {"path": "b.json"}],
    "devices": [DEVICE],
    "phases": [
        {"phase": "decode", "input": 0, "rank": 2, "device": 1, "count": 4, "idle_ns": 70},
        {"phase": "decode", "input": 0, "rank": 0, "device": 1, "count": 9, "idle_ns": 90},
    ],
    "findings": [
        {"input": 0, "rank": 2, "device": 1, "severity": "high"},
        {"input": 0, "rank": 2, "device": 1, "severity": "low"},
        {"input": 0, "rank": 0, "device": 0, "severity": "high"},
    ],
}


def test_the_numbers_of_a_device() -> None:
    found = numbers(DOCUMENT, DEVICE)

    present = {name: value for name, value in found.items() if value}
    assert present == {
        "window_ns": 1_000,
        "busy_ns": 400,
        "idle_ns": 600,
        "idle_share": 0.6,
        "carry_in.count": 3,
        "carry_in.time_ns": 5,
        "class:linear": 0.75,
        "class:attention": 0.25,
        "cause:python": 0.25,
        "cause:sync": 0.35,
        "bound:memory": 1.0,
        "roofline.coverage": 0.9,
        "phase:decode.count": 4,
        "phase:decode.idle_ns": 70,
        "findings": 2,
        "findings.high": 1,
        "findings.low": 1,
    }
    assert found["class:communication"] == found["findings.medium"] == 0


def test_a_device_that_did_nothing_has_no_shares() -> None:
    idle = {**DEVICE, "window_ns": 0, "busy_ns": 0, "classes": [], "bounds": [], "idle_causes": []}

    assert numbers({**DOCUMENT, "devices": [idle]}, idle)["class:linear"] == 0


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("x>5%", 0.05),
        ("x > 5 %", 0.05),
        ("x>=10ms", 1e7),
        ("x<2us", 2e3),
        ("x<=2µs", 2e3),
        ("x==1_000ns", 1e3),
        ("x!=1.5s", 1.5e9),
        ("x>-1e3", -1e3),
    ],
)
def test_numbers_and_units(text: str, limit: float) -> None:
    assert parse_threshold(text).limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("text", "crossed"),
    [
        ("idle_ns>599", True),
        ("idle_ns>600", False),
        ("idle_ns>=600", True),
        ("idle_ns<601", True),
        ("idle_ns<600", False),
        ("idle_ns<=600", True),
        ("idle_ns==600", True),
        ("idle_ns!=600", False),
    ],
)
def test_comparisons(text: str, crossed: bool) -> None:
    assert bool(crossings(DOCUMENT, [parse_threshold(text)])) == crossed


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("idle_share>50%", "idle_share is 60.0 %, 10.0 points above the limit"),
        ("class:linear<80%", "class:linear is 75.0 %, 5.0 points below the limit"),
        ("idle_ns>=600ns", "idle_ns is 600 ns, at the limit"),
        ("findings>1", "findings is 2, 1 above the limit"),
        ("phase:decode.idle_ns>0.02us", "phase:decode.idle_ns is 70 ns, 50.0 ns above the limit"),
    ],
)
def test_the_sentence(text: str, sentence: str) -> None:
    assert crossings(DOCUMENT, [parse_threshold(text)]) == [
        f"fail-on {text}: rank 2 device 1: {sentence}"
    ]


def test_two_inputs_of_one_rank_are_kept_apart() -> None:
    other = {**DEVICE, "input": 1, "idle_ns": 5}
    phase = {"phase": "decode", "input": 1, "rank": 2, "device": 1, "count": 1, "idle_ns": 1}
    both = {
        **DOCUMENT,
        "devices": [DEVICE, other],
        "phases": [*DOCUMENT["phases"], phase],
        "findings": [
            *DOCUMENT["findings"],
            {"input": 1, "rank": 2, "device": 1, "severity": "low"},
        ],
    }

    assert [numbers(both, d)["findings"] for d in both["devices"]] == [2, 1]
    assert [numbers(both, d)["phase:decode.idle_ns"] for d in both["devices"]] == [70, 1]
    assert crossings(both, [parse_threshold("idle_ns<10ns")]) == [
        "fail-on idle_ns<10ns: rank 2 device 1 of b.json: idle_ns is 5 ns, 5.00 ns below the limit"
    ]


def test_a_phase_that_is_not_there_is_an_error() -> None:
    with pytest.raises(MmprofError) as caught:
        crossings(DOCUMENT, [parse_threshold("phase:prefill.idle_ns>0")])

    assert caught.value.code == "MM-E023"
    assert caught.value.hint == "did you mean 'phase:decode.idle_ns'?"
    assert caught.value.found.startswith(
        "window_ns, busy_ns, idle_ns, idle_share, findings, class:linear, "
    )


@pytest.mark.parametrize(
    "text", ["", "x", "x>", ">1", "x>one", "x=>1", "x>1>2", "x>1.2.3", "x>1day"]
)
def test_what_is_no_condition(text: str) -> None:
    with pytest.raises(MmprofError, match="cannot read the condition"):
        parse_threshold(text)
