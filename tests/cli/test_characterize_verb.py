"""`mmprof characterize` on the command line, and what its formats make of one characterization."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jsonschema
import msgspec
import pytest

from mmprof.analyzers.sidecar import DeviceFacts, HostFacts
from mmprof.cli.renderers import RenderOptions
from mmprof.cli.renderers.characterization import RENDERERS
from mmprof.cli.renderers.characterization.sections import sections
from mmprof.tracer.characterize_results import (
    Characterization,
    ClassResult,
    Latency,
    Part,
    PhaseResult,
    Range,
    Roofline,
    Skipped,
    Sweep,
    SweepPoint,
    TaskResult,
    characterization_schema,
)
from tests.cli.conftest import Invoke
from tests.cli.test_help import HEAVY, PRINT_MODULES, ROOT
from tests.cli.test_trace import needs_torch, toy  # noqa: F401  (a family of its own for each test)

QUICK = ("--recordings", 1, "--repeats", 1)
HOSTILE = "\x1b[31mEPYC|<img>\n@all"


def latency(median_s: float) -> Latency:
    return Latency(median_s, 0.9 * median_s, 1.1 * median_s, 0.97, 6, 1 / median_s, 8.0, 2.0)


def steady(share: float) -> Range:
    return Range(share, share, share)


def task_result() -> TaskResult:
    """A request of 20 ms: a quarter prefill, three quarters decode, of which two thirds are idle."""
    return TaskResult(
        family="toy",
        task="T-T",
        arguments={"dtype": "float32", "batch": 1},
        parameters=20,
        kv_cache_bytes=None,
        steps=3,
        recordings=3,
        load_average=0.5,
        latency=latency(0.02),
        idle_share=Range(0.5, 0.45, 0.6),
        idle_causes=[Part("python", steady(0.4)), Part("dispatch", steady(0.1))],
        phases=[
            PhaseResult(
                "decode", 3, steady(0.75), 0.015, steady(2 / 3), 5_000_000, {"linear": 1.0}
            ),
            PhaseResult(
                "prefill", 1, steady(0.25), 0.005, steady(0.0), 5_000_000, {"attention": 1.0}
            ),
        ],
        classes=[
            ClassResult("linear", steady(0.5), 400, 100, 4.0, {"memory": 0.75, "compute": 0.25}),
            ClassResult("attention", steady(0.5), 100, 200, 0.5, {"memory": 1.0}),
        ],
        bounds=[Part("memory", steady(0.875)), Part("compute", steady(0.125))],
        linear=[Part("feed-forward", steady(0.3)), Part("attention", steady(0.2))],
        module_coverage=steady(1.0),
        roofline=Roofline("measured", 10_000_000_000, {"fp32": 100_000_000_000}, steady(0.9)),
        notes=["a note"],
    )


@pytest.fixture
def found() -> Characterization:
    points = [SweepPoint(1, latency(0.02), 0.5), SweepPoint(2, latency(0.04), 0.4)]
    return Characterization(
        made_at="2026-11-23T00:00:00+00:00",
        size="tiny",
        dtype="float32",
        device=DeviceFacts("cpu", HOSTILE),
        host=HostFacts(HOSTILE, 2, 1),
        versions={"torch": "2.13.0"},
        host_is_device=True,
        tasks=[task_result()],
        sweeps=[Sweep("batch", "toy", "T-T", points)],
        skipped=[Skipped("toy S-S", "no | memory")],
    )


def lines_of(found: Characterization, name: str) -> list[str]:
    return RENDERERS[name](found, RenderOptions(width=100, encoding="utf-8")).splitlines()


def line(lines: list[str], *beginning: str) -> list[str]:
    """The cells of the last line that begins with these words."""
    return next(
        cells
        for cells in map(str.split, reversed(lines))
        if cells[: len(beginning)] == [*beginning]
    )


def test_the_screen_answers_each_question(found: Characterization) -> None:
    lines = lines_of(found, "terminal")

    assert max(map(len, lines)) <= 100
    assert all(section.question in lines for section in sections(found))
    assert any(text.startswith("No accelerator: the main thread stands") for text in lines)
    assert "toy T-T: a note" in lines
    assert "Skipped: toy S-S: no | memory" in lines
    # phases, classes, bounds, intensity, places: the last table that has such a row
    assert line(lines, "toy", "T-T", "decode")[3:8] == ["100.0", "%", "-"]
    assert line(lines, "toy", "T-T", "attention")[3:] == (
        ["50.0", "%", "100", "FLOP", "200", "B", "0.50", "memory", "100.0", "%", "10.0"]
    )
    assert line(lines, "toy", "T-T", "2")[3:5] == ["40.0", "ms"]


def test_bars_are_in_proportion(found: Characterization) -> None:
    lines = lines_of(found, "terminal")
    at = lines.index("Which phase takes the time?")
    bar = next(text for text in lines[at:] if text.startswith("toy T-T  D"))

    assert bar.endswith("  20.0 ms")
    assert bar.count("D") == pytest.approx(3 * bar.count("P"), abs=2)
    batches = [text.count("B") for text in lines if "requests/s" in text and "BB" in text]
    assert batches[0] == pytest.approx(2 * batches[1], abs=1)


@pytest.mark.parametrize("width", [40, 60, 200])
def test_the_screen_is_as_wide_as_asked(found: Characterization, width: int) -> None:
    text = RENDERERS["terminal"](found, RenderOptions(width=width, encoding="ascii"))

    assert max(map(len, text.splitlines())) <= width
    assert text.isascii()


@pytest.mark.parametrize("name", ["terminal", "markdown"])
def test_nothing_active_is_left_of_hostile_text(found: Characterization, name: str) -> None:
    text = "\n".join(lines_of(found, name))

    assert "\x1b" not in text
    assert "EPYC" in text
    if name == "markdown":
        assert "<img" not in text
        assert "@all" not in text
        assert "no &#124; memory" in text


def test_markdown_has_a_table_a_question(found: Characterization) -> None:
    lines = lines_of(found, "markdown")

    assert [text[4:] for text in lines if text.startswith("### ")] == [
        section.question for section in sections(found)
    ]
    assert "| toy T-T | decode | 3 | 75.0 % | 75.0 to 75.0 | 15.0 ms | 66.7 % | 5.00 ms |" in lines
    assert lines.count("```text") == lines.count("```")


def test_json_is_the_document_and_fits_its_schema(invoke: Invoke, found: Characterization) -> None:
    text = RENDERERS["json"](found, RenderOptions())
    schema = json.loads(invoke("schema", "characterization").out)

    assert msgspec.json.decode(text, type=Characterization) == found
    assert schema == characterization_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(text), schema)
    undescribed = [
        name
        for part in [schema, *schema["$defs"].values()]
        for name, field in part["properties"].items()
        if name != "schema" and "description" not in field
    ]
    assert undescribed == []


def test_every_part_has_its_origin(found: Characterization) -> None:
    assert all(section.origin for section in sections(found))
    assert set(found.origins) >= {
        "latency",
        "phases",
        "idle",
        "classes",
        "bounds",
        "linear",
        "range",
    }


def test_help_imports_nothing_heavy() -> None:
    import subprocess  # noqa: PLC0415

    code = PRINT_MODULES.format(arguments=["characterize", "--help"], heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert json.loads(done.stderr) == [0, []]


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (["tov"], "MM-E053", "did you mean 'toy'?"),
        (["--size", "tinny"], "MM-E053", "did you mean 'tiny'?"),
        (["--sweep", "lenght"], "MM-E028", "did you mean 'length'?"),
        (["--format", "jsn"], "MM-E028", "did you mean 'json'?"),
        (["-o", "out.png"], "MM-E028", "one of those"),
        (["-o", "none/out.md"], "MM-E031", "another path"),
    ],
)
def test_wrong_use_is_found_before_anything_is_loaded(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, arguments: list[object], code: str, hint: str
) -> None:
    monkeypatch.setitem(sys.modules, "mmprof.tracer.tracing", None)

    outcome = invoke("characterize", *arguments)

    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error[{code}]: ")
    assert f"try: {hint}" in outcome.err


@needs_torch
def test_a_family(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmprof.tracer.tracing.ceilings", lambda _: [])

    outcome = invoke(
        "characterize",
        "--device",
        "cpu",
        "--sweep",
        "batch",
        "-o",
        "out.json",
        "--traces",
        "kept",
        *QUICK,
    )

    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    made = msgspec.json.decode(Path("out.json").read_bytes(), type=Characterization)
    assert [task.label for task in made.tasks] == ["toy T-T"]
    assert [point.value for point in made.sweeps[0].points] == [1, 2, 4, 8]
    assert Path("kept/toy-T-T-tiny.0.json.gz").is_file()
    jsonschema.validate(json.loads(Path("out.json").read_text()), characterization_schema())
    again = invoke("characterize", "-o", "out.json")
    assert again.err.startswith("error[MM-E030]: out.json exists")
