"""FLOPs of every product, attention and convolution in TraceLens's own tables, to the last digit."""

from __future__ import annotations

import ast
import csv
import json
from typing import TYPE_CHECKING

import pytest
from operator_calls import modelled

from mmprof.analyzers.costs import modelled_operators, parse_call

if TYPE_CHECKING:
    from pathlib import Path

EXPECTED_ROWS = {"GEMM.csv": 38, "SDPA_fwd.csv": 3, "CONV_fwd.csv": 1}


def table_rows(traces: Path, table: str) -> list[dict[str, str]]:
    csv.field_size_limit(1 << 24)
    rows: list[dict[str, str]] = []
    for path in sorted(traces.glob(f"tracelens/**/{table}")):
        with path.open(newline="") as file:
            rows += csv.DictReader(file)
    return rows


def as_json(cell: str) -> str:
    return json.dumps(ast.literal_eval(cell))


@pytest.mark.parametrize("table", EXPECTED_ROWS)
def test_flops_equal_the_reference(shared_traces: Path, table: str) -> None:
    rows = table_rows(shared_traces, table)
    known = [row for row in rows if row["name"] in modelled_operators()]
    for row in known:
        call = parse_call(
            row["name"],
            as_json(row["Input Dims_first"]),
            as_json(row["Input type_first"]),
            as_json(row["Input Strides_first"]),
            as_json(row["Concrete Inputs_first"]),
        )
        assert modelled(call).flops == round(float(row["GFLOPS_first"]) * 1e9), row["name"]
    assert len(known) == len(rows) == EXPECTED_ROWS[table]
