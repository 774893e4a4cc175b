"""Fields that are missing, null, or of a type that no exporter should write: the event is read as far as it goes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import loaded
import pytest
from loaded import codes, complete, load_events

from mmprof.analyzers.load import load

if TYPE_CHECKING:
    from pathlib import Path

    from mmprof.analyzers.trace import Trace

OP = complete("cpu_op", "op", 100, 10)
KERNEL = complete("kernel", "k", 100, 10, device=1, stream=7, correlation=5)
LAUNCH = complete("cuda_runtime", "cudaLaunchKernel", 50, 10, correlation=5)


def counts(trace: Trace) -> dict[str, int]:
    """Counts per note, but for the note that follows from the loss of the only kernel."""
    return {code: count for code, count in loaded.counts(trace).items() if code != "MM-N024"}


def without(event: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in event.items() if k != key}


# --- the envelope -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "noted"),
    [
        ("ts", {"MM-N011": 1}),
        ("dur", {"MM-N012": 1}),
        ("ph", {"MM-N015": 1}),
        ("cat", {"MM-N008": 1}),
        ("name", {}),
        ("pid", {}),
        ("tid", {}),
        ("args", {}),
    ],
)
def test_a_missing_field(tmp_path: Path, key: str, noted: dict[str, int]) -> None:
    trace = load_events(tmp_path, [OP, without(KERNEL, key), LAUNCH])
    assert counts(trace) == noted
    kept = key in {"dur", "name", "pid", "tid", "args"}
    assert len(trace.activities) == kept
    if kept:
        row = trace.activities.row(0, named=True)
        assert row["end_ns"] - row["start_ns"] == (0 if key == "dur" else 10_000)
        assert row["name"] == ("" if key == "name" else "k")
        # without arguments, the rows of the device tell device and stream
        assert (row["device"], row["stream"]) == ((1, 2) if key == "args" else (1, 7))


@pytest.mark.parametrize("key", ["ts", "dur", "cat", "name", "pid", "tid", "args"])
@pytest.mark.parametrize("value", [None, True, 1.5, [], {}, [1, {"a": 2}], "text", ""])
def test_a_field_of_any_type(tmp_path: Path, key: str, value: Any) -> None:
    trace = load_events(tmp_path, [OP, KERNEL | {key: value}, LAUNCH])
    assert len(trace.host) == 2
    assert set(counts(trace)) <= {"MM-N007", "MM-N008", "MM-N011", "MM-N012", "MM-N014"}
    assert sum(counts(trace).values()) <= 1 + (
        key == "cat"
    )  # an unknown category may have been mended as well


@pytest.mark.parametrize("written", ['"12.345"', '" 12.345 "', "1.2345e1", "12345e-3", "12.345000"])
def test_numbers_may_be_text_or_have_an_exponent(tmp_path: Path, written: str) -> None:
    text = (
        json.dumps(OP | {"ts": 0, "dur": 0})
        .replace('"ts": 0', f'"ts": {written}')
        .replace('"dur": 0', f'"dur": {written}')
    )
    trace = load_events(tmp_path, [text])
    assert trace.host.select("start_ns", "end_ns").row(0) == (12_345, 24_690)
    assert codes(trace) == ["MM-N004"]


@pytest.mark.parametrize(
    "ts", ["1e300", "-1e300", "9" * 40, "-9223372036854775.808", "2305843009213693.952"]
)
def test_a_time_that_no_int64_holds_is_left_out(tmp_path: Path, ts: str) -> None:
    trace = load_events(
        tmp_path, [OP, json.dumps(OP | {"ts": 0}).replace('"ts": 0', f'"ts": {ts}')]
    )
    assert (len(trace.host), counts(trace)) == (1, {"MM-N011": 1})


@pytest.mark.parametrize(
    ("dur", "length_ns", "noted"),
    [
        ("-1", 0, {"MM-N012": 1}),
        ("-0.001", 0, {"MM-N012": 1}),
        ("-1e30", 0, {"MM-N012": 1}),
        ("0", 0, {}),
        ("999999999999", 999_999_999_999_000, {}),
        ("1000000000000", None, {"MM-N013": 1}),
        ("18446744073709551.615", None, {"MM-N013": 1}),
        ("1e30", None, {"MM-N013": 1}),
        ('"inf"', 0, {"MM-N012": 1}),
    ],
)
def test_durations_out_of_range(
    tmp_path: Path, dur: str, length_ns: int | None, noted: dict[str, int]
) -> None:
    text = json.dumps(KERNEL | {"dur": 0}).replace('"dur": 0', f'"dur": {dur}')
    trace = load_events(tmp_path, [LAUNCH, text])
    assert (trace.activities["end_ns"] - trace.activities["start_ns"]).to_list() == [length_ns][
        : length_ns is not None
    ]
    assert counts(trace) == noted


@pytest.mark.parametrize(
    "pid", [2**63, 2**64 - 1, -(2**63), 10**30, 1.5, "GPU 0", None, True, [1], {"a": 1}]
)
def test_any_id_tells_rows_apart(tmp_path: Path, pid: Any) -> None:
    events = [OP | {"pid": pid}, OP, LAUNCH | {"pid": pid}]
    trace = load_events(tmp_path, events)
    threads = dict(trace.host.select("event", "thread").rows())
    assert threads[0] == threads[2] != threads[1]


def test_ids_as_text_and_as_numbers_are_the_same_row(tmp_path: Path) -> None:
    trace = load_events(tmp_path, [OP | {"tid": 7}, OP | {"tid": "7"}, OP | {"tid": "07"}])
    threads = dict(trace.host.select("event", "thread").rows())
    assert threads[0] == threads[1] != threads[2]


def test_the_last_of_repeated_keys_counts(tmp_path: Path) -> None:
    text = json.dumps(KERNEL)[:-1] + ', "name": "twice", "ts": 7}'
    trace = load_events(
        tmp_path, [LAUNCH, text.replace('"correlation": 5', '"correlation": 9, "correlation": 5')]
    )
    assert trace.activities.select("name", "start_ns", "launch").row(0) == ("twice", 7_000, 0)


@pytest.mark.parametrize("phase", ["B", "E", "b", "e", "n", "P", "O", "N", "", "XX", "x"])
def test_unknown_phases_are_counted(tmp_path: Path, phase: str) -> None:
    trace = load_events(tmp_path, [OP, OP | {"ph": phase}])
    assert (len(trace.host), counts(trace)) == (1, {"MM-N016": 1})


def test_unknown_categories_are_kept_apart_and_named(tmp_path: Path) -> None:
    trace = load_events(
        tmp_path, [OP, OP | {"cat": "new"}, OP | {"cat": "Kernel2"}, OP | {"cat": "Trace"}]
    )
    assert trace.other["category"].cast(str).sort().to_list() == ["Kernel2", "Trace", "new"]
    assert [n.message for n in trace.notes if n.code == "MM-N008"] == [
        "2 events of categories that mmprof does not know were kept apart: 'Kernel2', 'new'"
    ]


def test_all_phases_that_kineto_writes_are_accounted_for(tmp_path: Path) -> None:
    others = [{"ph": p, "name": "n", "ts": 1, "id": 1, "pid": "", "tid": ""} for p in "sftiC"]
    trace = load_events(tmp_path, [OP, *others, {"ph": "I", "name": "n", "ts": 1}])
    assert trace.kept_out == {"flow": 2, "flowstep": 1, "instant": 2, "counter": 1}
    assert counts(trace) == {"MM-N014": 1}  # `I` is the old name of `i`


# --- arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [None, [], "text", 5, True, [{"stream": 3}]])
def test_arguments_of_a_wrong_type(tmp_path: Path, args: Any) -> None:
    trace = load_events(tmp_path, [LAUNCH, KERNEL, KERNEL | {"args": args}])
    assert trace.activities.sort("event")["stream"].to_list() == [7, 2]
    assert counts(trace) == ({"MM-N002": 1} if args is None else {"MM-N002": 1, "MM-N014": 1})


def test_one_wrong_argument_does_not_cost_the_others(tmp_path: Path) -> None:
    odd = {
        "device": True,
        "bytes": [1],
        "grid": {"x": 1},
        "graph node id": {},
        "Collective name": None,
    }
    events = [LAUNCH, KERNEL | {"args": KERNEL["args"] | odd | {"correlation": 5, "stream": 7}}]
    trace = load_events(tmp_path, events)
    row = trace.activities.row(0, named=True)
    assert (row["stream"], row["launch"], row["bytes"], row["grid"]) == (7, 0, None, '{"x":1}')
    assert row["device"] == 1  # the pid stands in
    assert counts(trace) == {"MM-N014": 1}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (7, 7),
        ("7", 7),
        ("0x1f", 31),
        (7.0, 7),
        (7.5, None),
        ("inf", None),
        ("", None),
        (2**64, None),
        (-(2**63), None),
    ],
)
def test_whole_numbers_in_every_form(tmp_path: Path, written: Any, read: int | None) -> None:
    trace = load_events(tmp_path, [LAUNCH, KERNEL | {"args": KERNEL["args"] | {"bytes": written}}])
    assert trace.activities["bytes"].to_list() == [read]


def test_a_collective_with_sizes_of_any_type(tmp_path: Path) -> None:
    sizes = {
        "Collective name": "allreduce",
        "In msg nelems": 2**70,
        "Out msg nelems": "12",
        "Group size": 8,
        "dtype": 3,
    }
    trace = load_events(tmp_path, [LAUNCH, KERNEL | {"args": KERNEL["args"] | sizes}])
    columns = ("collective", "element_type", "in_elements", "out_elements", "group_size")
    assert trace.activities.select(columns).row(0) == ("allreduce", "3", 0, 0, 8)


def test_shapes_of_any_type_are_kept_as_they_are(tmp_path: Path) -> None:
    args: dict[str, Any] = {
        "Input Dims": "odd",
        "Input type": None,
        "Input Strides": [[]],
        "Concrete Inputs": {"a": [1]},
    }
    trace = load_events(tmp_path, [OP | {"args": args}])
    row = trace.calls.row(1, named=True)
    assert (row["dims"], row["types"], row["strides"], row["concrete"]) == (
        '"odd"',
        "null",
        "[[]]",
        '{"a":[1]}',
    )


@pytest.mark.parametrize("label", [None, 5, "text", {"name": 3}, {"labels": []}, {}])
def test_labels_of_a_wrong_type_name_nothing(tmp_path: Path, label: Any) -> None:
    meta = {"ph": "M", "name": "thread_name", "pid": 1, "tid": 2, "args": label}
    assert load_events(tmp_path, [OP, meta]).threads["name"].to_list() == [""]


@pytest.mark.parametrize(
    "info",
    [None, [], "x", {"rank": None}, {"rank": "1"}, {"rank": -1}, {"rank": 2**40}, {"rank": 1.5}],
)
def test_a_rank_that_is_none_is_rank_0(tmp_path: Path, info: Any) -> None:
    (tmp_path / "t.json").write_text(
        json.dumps({"distributedInfo": info, "deviceProperties": info, "traceEvents": [OP]})
    )
    trace = load(tmp_path / "t.json")
    assert trace.rank == 0
    assert trace.device_properties(0) == {}
