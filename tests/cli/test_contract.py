"""The JSON document: what the contract promises, and a schema that accepts it and nothing else."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fixtures.planted import PLANTED
from mmprof.analyzers.analyze import Report, analyze
from mmprof.analyzers.contract import (
    analysis_document,
    analysis_schema,
    error_document,
    error_schema,
)
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.registry import analyses, tables

SHARED = [
    "hta/cpu_only/rank-34.Jul_15_10_52_41.1074.pt.trace.json.gz",
    "hta/amd_trace/mi250_minitoy_train_ROCm6_2_kineto.json.gz",
    "hta/critical_path/cuda_event_sync_multi_stream/event_sync_trace.json.gz",
    "hta/triton_example/triton_example.json.gz",
    "hta/ns_resolution_trace/rank-0.Apr_03_18_51_38.1102.pt.trace.json.gz",
    "kineto/resnet50_num_workers_0/worker0.1623143089861.pt.trace.json.gz",
]
# Design, section 6.
TOP_LEVEL = {"schema", "inputs", "notes", "devices", "phases", "ops", "kernels", "findings"}
DEVICE = {
    "input", "rank", "device", "name", "window_ns", "busy_ns", "idle_ns", "carry_in", "activities", "classes", "idle_causes",
    "bounds", "roofline",
}  # fmt: skip
ROWS = {
    "phases": {"phase", "count", "time_ns", "idle_ns"},
    "ops": {"name", "class", "count", "time_ns", "flops", "bytes", "bound"},
    "kernels": {"name", "class", "count", "sum_ns", "min_ns", "max_ns"},
    "findings": {
        "input",
        "rank",
        "device",
        "code",
        "title",
        "severity",
        "lever",
        "gain",
        "evidence",
        "explain",
    },
    "inputs": {"path", "sha256", "bytes", "events"},
}
DEVICE_ROWS = {
    "classes": {"class", "time_ns", "sum_ns", "count"},
    "idle_causes": {"cause", "time_ns", "gaps"},
    "bounds": {"bound", "time_ns"},
}


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = analysis_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture(scope="module")
def document(two: Path) -> dict[str, Any]:
    return analysis_document(analyze([str(two)]))


@pytest.fixture(scope="module")
def two(two_devices: Path) -> Path:
    return two_devices


@pytest.mark.parametrize("plant", PLANTED, ids=lambda p: p.__name__)
def test_built_traces_follow_the_schema(plant: Any, tmp_path: Path, validator: Any) -> None:
    builder, expected = plant()

    made = analysis_document(analyze([str(builder.write(tmp_path / "trace.json"))]))

    validator.validate(made)
    assert made["devices"][0]["busy_ns"] == expected["busy_ns"]


@pytest.mark.parametrize("name", SHARED)
def test_real_traces_follow_the_schema(name: str, shared_traces: Path, validator: Any) -> None:
    made = analysis_document(analyze([str(shared_traces / name)]))

    validator.validate(made)
    assert made["devices"]
    for device in made["devices"]:
        assert device["busy_ns"] + device["idle_ns"] == device["window_ns"]


def test_the_names_of_the_contract(document: dict[str, Any]) -> None:
    assert document["schema"] == "mmprof.analysis/1"
    assert set(document) >= TOP_LEVEL
    for device in document["devices"]:
        assert set(device) >= DEVICE
        for name, fields in DEVICE_ROWS.items():
            assert all(set(row) >= fields for row in device[name])
    assert all(document["devices"][1][name] for name in DEVICE_ROWS)
    for name, fields in ROWS.items():
        assert all(set(row) >= fields for row in document[name]), name


def test_the_schema_has_the_names_of_the_contract() -> None:
    schema = analysis_schema()

    assert set(schema["required"]) >= TOP_LEVEL
    assert set(schema["properties"]["devices"]["items"]["required"]) >= DEVICE


def test_rows_of_the_trace_say_whose_they_are(document: dict[str, Any]) -> None:
    assert [(row["rank"], row["device"], row["count"]) for row in document["kernels"]] == [
        (0, 0, 1),
        (0, 1, 2),
    ]


def test_numbers_of_trace_scope_are_in_the_device(document: dict[str, Any]) -> None:
    assert [device["operator_coverage"] for device in document["devices"]] == [1.0, 1.0]
    assert "operator_coverage" not in document


def test_no_field_is_written_twice() -> None:
    """Device-scope fields share the entry of a device with what trace-scope results have beside their lists."""
    fields = Counter(name for a in analyses().values() for name in a.result.__struct_fields__)
    fields.update(
        [
            "input",
            "rank",
            "device",
            "name",
            "schema",
            "inputs",
            "notes",
            "devices",
            "findings",
            "window",
        ]
    )

    assert not [name for name, count in fields.items() if count > 1]


def test_registered_tables_are_in_the_document(document: dict[str, Any]) -> None:
    fields = set(document) | set(document["devices"][0])

    assert {table.field for table in tables()} <= fields


def test_every_field_is_described() -> None:
    schema = analysis_schema()
    described = [schema, schema["properties"]["devices"]["items"], *schema["$defs"].values()]

    missing = [
        f"{owner['title']}.{name}"
        for owner in described
        for name, field in owner["properties"].items()
        if not field.get("description") and name not in {"schema", *ROWS, "notes", "devices"}
    ]
    assert missing == [] or set(missing) <= {"Gain.low", "Gain.expected", "Gain.high"} | {
        f"InputFacts.{name}" for name in ROWS["inputs"]
    }


def mutations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Documents that are wrong in one place each."""

    def changed(*path: Any, to: Any) -> dict[str, Any]:
        copied: Any = copy.deepcopy(document)
        owner = copied
        for step in path[:-1]:
            owner = owner[step]
        if to is None:
            del owner[path[-1]]
        else:
            owner[path[-1]] = to
        return copied

    return {
        "another schema": changed("schema", to="mmprof.analysis/2"),
        "no devices": changed("devices", to=None),
        "no busy_ns": changed("devices", 0, "busy_ns", to=None),
        "text for a time": changed("devices", 0, "busy_ns", to="10000"),
        "a fraction of a nanosecond": changed("devices", 0, "window_ns", to=0.5),
        "a class without its name": changed("devices", 1, "classes", 0, "class", to=None),
        "a row without its input": changed("kernels", 0, "input", to=None),
        "a row without its device": changed("kernels", 0, "device", to=None),
        "a wrong severity": changed("findings", to=[{"code": "MM101"}]),
        "notes as text": changed("notes", to="none"),
    }


def test_wrong_documents_are_refused(document: dict[str, Any], validator: Any) -> None:
    assert validator.is_valid(document)
    assert {
        what: validator.is_valid(wrong) for what, wrong in mutations(document).items()
    } == dict.fromkeys(mutations(document), False)


def test_further_fields_are_allowed(document: dict[str, Any], validator: Any) -> None:
    more = copy.deepcopy(document)
    more["new"] = more["devices"][0]["new"] = more["kernels"][0]["new"] = 1

    assert validator.is_valid(more)


def test_findings_with_most_to_gain_come_first(tmp_path: Path) -> None:
    made = [
        analysis_document(analyze([str(plant()[0].write(tmp_path / f"{plant.__name__}.json"))]))[
            "findings"
        ]
        for plant in PLANTED
    ]

    assert any(len(found) > 1 for found in made)
    for found in made:
        gains = [finding["gain"]["high"] for finding in found]
        assert gains == sorted(gains, reverse=True)


def test_rows_lead_to_their_input_where_ranks_repeat(
    two: Path, sync_trace: Path, validator: Any
) -> None:
    made = analysis_document(analyze([str(two), str(sync_trace)]))

    validator.validate(made)
    assert [(d["input"], d["rank"], d["device"]) for d in made["devices"]] == [
        (0, 0, 0),
        (0, 0, 1),
        (1, 0, 0),
    ]
    of_second = [row["sum_ns"] for row in made["kernels"] if row["input"] == 1]
    assert sum(of_second) == made["devices"][2]["busy_ns"] == 46_000
    assert {f["input"] for f in made["findings"]} <= {0, 1}
    assert made["notes"][-1] == {
        "code": "MM-N023",
        "message": f"{two} and {sync_trace} both say rank 0; they are told apart by `input`",
    }


def test_a_report_of_nothing_has_every_list() -> None:
    made = analysis_document(Report())

    assert {made[name] == [] for name in TOP_LEVEL - {"schema"}} == {True}


def test_a_path_that_is_no_unicode(tmp_path: Path, two: Path) -> None:
    path = tmp_path / "\udcff.json"
    path.write_bytes(two.read_bytes())

    assert analysis_document(analyze([str(path)]))["inputs"][0]["path"] == str(
        tmp_path / "\ufffd.json"
    )


def test_an_error_document_follows_its_schema() -> None:
    made = error_document(MmprofError("MM-E001", "no", found="nothing", hint="look"))

    jsonschema.validate(made, error_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**made, "code": "E1"}, error_schema())
