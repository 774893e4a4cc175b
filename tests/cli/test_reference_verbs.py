"""`mmprof devices`, `explain` and `schema`."""

from __future__ import annotations

import json

import jsonschema
import pytest

from mmprof.analyzers.devices import load_table
from mmprof.analyzers.error_pages import ERROR_PAGES
from mmprof.analyzers.findings import rules
from mmprof.analyzers.notes import NOTES
from tests.cli.conftest import Invoke


def test_devices_lists_all(invoke: Invoke) -> None:
    outcome = invoke("devices")

    names = [spec.name for spec in load_table()]
    assert outcome.code == 0
    assert [line for line in outcome.out.splitlines() if line.startswith("NVIDIA H100 SXM5 ")]
    assert all(name in outcome.out for name in names)


def test_devices_as_json_keeps_every_digit(invoke: Invoke) -> None:
    document = json.loads(invoke("devices", "h100 sxm5", "--format", "json").out)

    (device,) = document["rows"]
    assert document["schema"] == "mmprof.devices/1"
    assert (device["name"], device["bandwidth_bytes_per_s"]) == (
        "NVIDIA H100 SXM5",
        3_350_000_000_000,
    )
    assert device["peak_flops"]["bf16"] == 989_400_000_000_000
    assert device["source"]


def test_one_device_is_shown_with_its_source(invoke: Invoke) -> None:
    lines = invoke("devices", "H100 SXM5").out.splitlines()

    assert any(line.split() == ["bandwidth", "3.35", "TB/s"] for line in lines)
    assert lines[-1].startswith("source ")


def test_a_device_that_is_not_known(invoke: Invoke) -> None:
    outcome = invoke("devices", "NVIDIA H100 SXM6")

    assert outcome.code == 2
    assert outcome.err.startswith("error[MM-E026]: the device 'NVIDIA H100 SXM6' does not exist")
    assert "did you mean 'NVIDIA H100 SXM5'?" in outcome.err


@pytest.mark.parametrize("code", [*ERROR_PAGES, *NOTES, *rules()])
def test_every_code_has_a_page(invoke: Invoke, code: str) -> None:
    outcome = invoke("explain", code)

    title, _, page = outcome.out.partition("\n\n")
    assert outcome.code == 0
    assert title.startswith(f"{code} (")
    assert len(page.split()) >= 3
    assert "{" not in title


def test_explain_takes_lower_case(invoke: Invoke) -> None:
    assert invoke("explain", "mm-e030").out == invoke("explain", "MM-E030").out


def test_explain_lists_all(invoke: Invoke) -> None:
    document = json.loads(invoke("explain", "--format", "json").out)

    assert [row["code"] for row in document["rows"]] == [*ERROR_PAGES, *NOTES, *rules()]
    assert {row["kind"] for row in document["rows"]} == {"error", "note", "finding"}


def test_a_code_that_does_not_exist(invoke: Invoke) -> None:
    outcome = invoke("explain", "MM-N03")

    assert outcome.code == 2
    assert outcome.err.startswith("error[MM-E027]: the code 'MM-N03' does not exist")
    assert "did you mean 'MM-N0" in outcome.err


@pytest.mark.parametrize("document", ["analysis", "error"])
def test_schemas_are_schemas(invoke: Invoke, document: str) -> None:
    schema = json.loads(invoke("schema", document).out)

    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"mmprof.{document}/1"


def test_the_schema_is_that_of_the_analysis(invoke: Invoke) -> None:
    assert invoke("schema").out == invoke("schema", "analysis").out


def test_a_schema_that_does_not_exist(invoke: Invoke) -> None:
    assert invoke("schema", "analyses").err.startswith(
        "error[MM-E028]: the schema 'analyses' does not exist"
    )
