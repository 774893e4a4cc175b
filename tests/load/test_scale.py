"""Input that would be slow or large to read if something grew with the square of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import pytest
from loaded import complete, counts, load_text

from mmprof.analyzers.errors import MmprofError

if TYPE_CHECKING:
    from pathlib import Path

MIB: Final = 1 << 20
MANY: Final = 100_000
OP: Final = json.dumps(complete("cpu_op", "op", 5, 7))


# squares would take minutes here: what hangs is ended, nothing is timed
pytestmark = pytest.mark.timeout(240)


def op(**fields: Any) -> str:
    return json.dumps(complete("cpu_op", "op", 5, 7) | fields)


LARGE: Final[dict[str, Callable[[], str]]] = {
    "a name": lambda: op(name="n" * 20 * MIB),
    "a list of objects": lambda: op(args={"l": [{"a": n} for n in range(1_000_000)]}),
    "a list of traps": lambda: op(args={"l": ["}, {"] * 1_000_000}),
    "lists in lists": lambda: op(args={"l": [[{"a": [{"b": 1}]}]] * 500_000}),
    "a number": lambda: op(dur=0).replace('"dur": 0', '"dur": 0.' + "0" * 10 * MIB),
}


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE)
def test_one_event_may_be_larger_than_any_block(tmp_path: Path, make: Callable[[], str]) -> None:
    text = f'{{"traceEvents": [{OP}, {make()}, {OP}], "distributedInfo": {{"rank": 2}}}}'
    trace = load_text(tmp_path, text)
    assert trace.host["event"].sort().to_list() == [0, 1, 2]
    assert counts(trace) == {}
    assert trace.rank == 2


FRAGMENTS: Final = {
    "empty objects": "{}",
    "no JSON": '{"a" 1}',
    "open objects": '{"a": {}',
    "open strings": '{"}',
    "events without a phase": '{"ts": 1}',
    "unknown phases": '{"ph": "?"}',
    "bad escapes": '{"ph": "X", "cat": "cpu_op", "name": "\\q", "ts": 1, "dur": 1}',
    "bad types": '{"ph": "X", "cat": 1, "name": [], "ts": "1", "dur": 1, "args": 2}',
    "bad arguments": '{"ph": "X", "cat": "kernel", "name": "k", "ts": 1, "dur": 0, "args": {"stream": true}}',
}


@pytest.mark.parametrize("fragment", FRAGMENTS.values(), ids=FRAGMENTS)
def test_many_odd_fragments_are_read_in_linear_time(tmp_path: Path, fragment: str) -> None:
    trace = load_text(tmp_path, f"[{OP}, " + ",".join([fragment] * MANY) + "]")
    assert 0 in trace.host["event"].to_list()
    odd = {
        code: n for code, n in counts(trace).items() if code in {"MM-N014", "MM-N015", "MM-N016"}
    }
    assert list(odd.values()) == [MANY]


REFUSED_OR_CUT: Final = {
    "no cut": "x" * 20 * MIB,
    "open braces": '{"a":' * 1_000_000,
    "closing braces": "}" * 2_000_000,
    "ends of lists": "}]" * 1_000_000,
    "open strings": '{"' * 1_000_000,
    "backslashes": '{"a": "' + "\\" * 5_000_001,
    "blanks": " " * 20 * MIB,
    "digits": "1" * 10 * MIB,
}


@pytest.mark.parametrize("text", REFUSED_OR_CUT.values(), ids=REFUSED_OR_CUT)
def test_what_follows_an_event_is_given_up_in_linear_time(tmp_path: Path, text: str) -> None:
    try:
        trace = load_text(tmp_path, f'{{"traceEvents": [{OP}, {text}')
    except MmprofError as error:
        assert error.code in {"MM-E003", "MM-E005", "MM-E008"}
    else:
        assert trace.host["event"].to_list() == [0]
        assert "MM-N001" in [n.code for n in trace.notes]


def test_keys_of_nested_traces_are_passed_over_in_linear_time(tmp_path: Path) -> None:
    nested = ",".join(['{"traceEvents": [1]}'] * 200_000)
    trace = load_text(tmp_path, f'{{"a": [{nested}], "traceEvents": [{OP}]}}')
    assert len(trace.host) == 1


def test_metadata_after_the_events_may_be_larger_than_any_block(tmp_path: Path) -> None:
    tail = ",".join(['{"a": [{"b": 1}]}'] * 600_000)
    trace = load_text(
        tmp_path, f'{{"traceEvents": [{OP}], "m": [{tail}], "distributedInfo": {{"rank": 3}}}}'
    )
    assert (len(trace.host), trace.rank, counts(trace)) == (1, 3, {})


NESTINGS: Final[dict[str, Callable[[int], tuple[float, float]]]] = {
    "chain of crossings": lambda n: (n, 2),
    "all cross the first": lambda n: (n, MANY),
    "deeper and deeper": lambda n: (n, 2 * (MANY - n)),
    "all at once": lambda _: (5, 7),
}


@pytest.mark.parametrize("span", NESTINGS.values(), ids=NESTINGS)
def test_any_nesting_is_read_in_linear_time(
    tmp_path: Path, span: Callable[[int], tuple[float, float]]
) -> None:
    events = [complete("cpu_op", "op", *span(n)) for n in range(MANY)]
    trace = load_text(tmp_path, json.dumps(events))
    assert len(trace.host) == MANY
