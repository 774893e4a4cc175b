"""`mmprof query` and `mmprof export`: the tables of a trace for people and programs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import polars as pl
import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import PLANTED
from mmprof.analyzers.load import load
from mmprof.analyzers.query import query_tables
from tests.cli.conftest import Invoke

ROOT = Path(__file__).resolve().parents[2]
KERNEL_TIMES = "SELECT class, COUNT(*) AS n, SUM(own_ns) AS own_ns FROM classified GROUP BY class ORDER BY own_ns DESC"


@pytest.fixture(scope="module")
def hostile_trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    t = TraceBuilder()
    t.launch("=HYPERLINK(1)\x1b[2J|pipe", at=0, call_ns=1_000, kernel=(2_000, 3_000))
    return t.write(tmp_path_factory.mktemp("hostile") / "trace.json")


def test_a_query_on_a_terminal(invoke: Invoke, sync_trace: Path) -> None:
    outcome = invoke("query", sync_trace, KERNEL_TIMES)

    header, _, *rows = outcome.out.splitlines()
    assert (outcome.code, outcome.err) == (0, "")
    assert header.split() == ["class", "n", "own_ns"]
    assert [row.split() for row in rows] == [["linear", "2", "44000"], ["memcpy", "1", "2000"]]


def test_a_query_as_csv(invoke: Invoke, sync_trace: Path) -> None:
    text = invoke("query", sync_trace, KERNEL_TIMES, "--format", "csv").out

    assert text == "class,n,own_ns\nlinear,2,44000\nmemcpy,1,2000\n"


def test_a_query_as_json(invoke: Invoke, sync_trace: Path) -> None:
    document = json.loads(invoke("query", sync_trace, KERNEL_TIMES, "-f", "json", "--limit", 1).out)

    assert document == {
        "schema": "mmprof.query/1",
        "columns": ["class", "n", "own_ns"],
        "rows": [{"class": "linear", "n": 2, "own_ns": 44_000}],
        "left_out": 1,
    }


def test_a_query_as_markdown(invoke: Invoke, sync_trace: Path) -> None:
    first, second, *rows = invoke(
        "query", sync_trace, KERNEL_TIMES, "-f", "markdown"
    ).out.splitlines()

    assert (first, second) == ("| class | n | own_ns |", "| --- | --- | --- |")
    assert len(rows) == 2


def test_a_screen_shows_fifty_rows_unless_told(invoke: Invoke) -> None:
    trace = ROOT / "fixtures" / "llama-decode-h100-synthetic.json.gz"

    cut = invoke("query", trace, "SELECT row FROM host").out.splitlines()
    whole = invoke("query", trace, "SELECT row FROM host", "--limit", 0).out.splitlines()

    rows = len(load(trace).host)
    assert len(cut) == 2 + 50 + 1
    assert cut[-1] == f"{rows - 50:,} more rows; --limit 0 shows all"
    assert len(whole) == 2 + rows


def test_the_idle_causes_of_gaps(invoke: Invoke, sync_trace: Path) -> None:
    text = invoke(
        "query", sync_trace, "SELECT dur_ns, sync, python, queue FROM gaps", "-f", "csv"
    ).out

    assert text == "dur_ns,sync,python,queue\n24000,8000,5000,3000\n"


def test_enums_are_text_to_sql(invoke: Invoke, sync_trace: Path) -> None:
    text = invoke(
        "query",
        sync_trace,
        "SELECT COUNT(*) AS n FROM activities WHERE name LIKE '%gemm%'",
        "-f",
        "csv",
    ).out

    assert text == "n\n2\n"


def test_subtraction_goes_below_zero(invoke: Invoke, sync_trace: Path) -> None:
    assert (
        invoke("query", sync_trace, "SELECT MIN(row) - 5 AS n FROM host", "-f", "csv").out
        == "n\n-5\n"
    )


def test_names_are_made_safe_for_what_they_are_written_to(
    invoke: Invoke, hostile_trace: Path
) -> None:
    def shown(name: str) -> str:
        return invoke("query", hostile_trace, "SELECT name FROM activities", "-f", name).out

    assert "\x1b" not in shown("terminal") + shown("markdown") + shown("csv")
    assert next(csv.DictReader(io.StringIO(shown("csv"))))["name"] == "'=HYPERLINK(1)\\x1b[2J|pipe"
    assert shown("markdown").splitlines()[2].count("|") == 2
    assert json.loads(shown("json"))["rows"][0]["name"] == "=HYPERLINK(1)\x1b[2J|pipe"


@pytest.mark.parametrize(
    ("sql", "code", "hint"),
    [
        ("SELCT 1", "MM-E024", "one SELECT"),
        ("SELECT 1; SELECT 2", "MM-E024", "one SELECT"),
        ("SELECT nme FROM host", "MM-E024", "did you mean 'name'?"),
        ("SELECT * FROM activites", "MM-E025", "did you mean 'activities'?"),
        ("SELECT bogus(name) FROM host", "MM-E024", "one SELECT"),
    ],
)
def test_wrong_sql(invoke: Invoke, sync_trace: Path, sql: str, code: str, hint: str) -> None:
    outcome = invoke("query", sync_trace, sql)

    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error[{code}]: ")
    assert hint in outcome.err
    assert len(outcome.err.splitlines()) == 3


def test_without_sql_the_tables_are_listed(invoke: Invoke, sync_trace: Path) -> None:
    rows = json.loads(invoke("query", sync_trace, "-f", "json").out)["rows"]

    named = {row["table"]: row for row in rows}
    assert set(query_tables()) <= set(named)
    assert named["gaps"]["type"] == "1 rows"
    assert named["  own_ns"] == {
        "table": "  own_ns",
        "type": "Int64",
        "what it holds": query_tables()["classified"].columns["own_ns"],
    }


def test_every_column_of_the_trace_is_documented(sync_trace: Path) -> None:
    trace = load(sync_trace)

    members = {name: table for name, table in query_tables().items() if hasattr(trace, name)}
    assert len(members) == 8
    for name, table in members.items():
        assert set(table.columns) == set(getattr(trace, name).columns), name


@pytest.mark.parametrize("plant", PLANTED, ids=lambda p: p.__name__)
def test_every_table_of_every_kind_of_trace(plant, tmp_path: Path) -> None:
    builder, expected = plant()
    trace = load(builder.write(tmp_path / "trace.json"))

    frames = {name: table.of(trace) for name, table in query_tables().items()}

    assert {name: tuple(f.columns) for name, f in frames.items()} == {
        name: tuple(t.columns) for name, t in query_tables().items()
    }
    assert frames["classified"]["own_ns"].sum() == expected["busy_ns"]
    assert frames["gaps"]["dur_ns"].sum() == expected["idle_ns"]


def test_a_query_to_a_file(invoke: Invoke, sync_trace: Path, tmp_path: Path) -> None:
    output = tmp_path / "classes.csv"

    assert invoke("query", sync_trace, KERNEL_TIMES, "-o", output).out == ""
    assert output.read_text().startswith("class,n,own_ns\n")
    assert invoke("query", sync_trace, KERNEL_TIMES, "-o", output).err.startswith("error[MM-E030]")


READERS = {".parquet": pl.read_parquet, ".arrow": pl.read_ipc, ".csv": pl.read_csv}


@pytest.mark.parametrize("suffix", READERS)
def test_export_one_table(invoke: Invoke, sync_trace: Path, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"table{suffix}"

    outcome = invoke("export", sync_trace, "-o", output, "--table", "classified")

    frame = READERS[suffix](output)
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert frame.columns == list(query_tables()["classified"].columns)
    assert frame["own_ns"].to_list() == [40_000, 2_000, 4_000]
    assert frame["class"].to_list() == ["linear", "memcpy", "linear"]


def test_export_all_tables(invoke: Invoke, sync_trace: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tables"

    assert invoke("export", sync_trace, "-o", folder, "--table", "all").code == 0

    assert sorted(p.name for p in folder.iterdir()) == sorted(
        f"{name}.parquet" for name in query_tables()
    )
    assert pl.read_parquet(folder / "activities.parquet").height == 3
    assert invoke("export", sync_trace, "-o", folder, "--table", "all").err.startswith(
        "error[MM-E030]"
    )
    assert invoke("export", sync_trace, "-o", folder, "--table", "all", "--force").code == 0


def test_export_writes_no_formulas_into_csv(
    invoke: Invoke, hostile_trace: Path, tmp_path: Path
) -> None:
    invoke("export", hostile_trace, "-o", tmp_path / "a.csv")
    invoke("export", hostile_trace, "-o", tmp_path / "a.parquet")

    assert pl.read_csv(tmp_path / "a.csv")["name"].to_list() == ["'=HYPERLINK(1)\x1b[2J|pipe"]
    assert pl.read_parquet(tmp_path / "a.parquet")["name"].to_list() == [
        "=HYPERLINK(1)\x1b[2J|pipe"
    ]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["-o", "a.xlsx"], "MM-E028"),
        (["-o", "-"], "MM-E028"),
        (["-o", "a.csv", "--table", "kernels"], "MM-E025"),
        ([], "MM-E029"),
    ],
)
def test_export_that_cannot_be(
    invoke: Invoke, sync_trace: Path, arguments: list[str], code: str
) -> None:
    outcome = invoke("export", sync_trace, *arguments)

    assert outcome.code == 2
    assert outcome.err.startswith(f"error[{code}]: ")
