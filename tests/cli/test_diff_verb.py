"""`mmprof diff`: sides, formats, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fixtures.builder import TraceBuilder
from mmprof.analyzers.diff.result import diff_schema
from mmprof.analyzers.errors import MmprofError
from mmprof.cli.sides import SEPARATOR, sides_of

if TYPE_CHECKING:
    from conftest import Outcome

Invoke = Callable[..., "Outcome"]
HOSTILE = "evil\x1b[31m|<img src=x>[bold]kernel"


def written(path: Path, *, ns: int = 5_000, kernel: str = "gemm", op: str = "aten::mm") -> Path:
    t = TraceBuilder()
    with t.op(op, 0, 9_000, dims=[[64, 64], [64, 64]], types=["float", "float"]):
        t.launch("first", at=1_000, call_ns=1_000, kernel=(5_000, 6_000))
        t.launch(kernel, at=7_000, call_ns=1_000, kernel=(8_000, 8_000 + ns))
    return t.write(path)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Windows of 8 us and 6 us."""
    return written(tmp_path / "old.json"), written(tmp_path / "new.json", ns=3_000)


def test_the_first_line_says_what_happened(invoke: Invoke, pair: tuple[Path, Path]) -> None:
    done = invoke("diff", *pair)
    assert (done.code, done.err) == (0, "")
    first, *_ = done.out.splitlines()
    assert first == "1.33x faster, not judged: 8.00 us -> 6.00 us; linear -2.00 us"


def test_the_document_fits_its_schema(invoke: Invoke, pair: tuple[Path, Path]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    document = json.loads(invoke("diff", *pair, "--format", "json").out)
    jsonschema.validate(document, diff_schema())
    assert json.loads(invoke("schema", "diff").out) == diff_schema()
    assert document["schema"] == "mmprof.diff/1"
    assert document["total"]["delta_ns"] == -2_000
    names = ["class", "cause", "phase", "step", "module", "op", "kernel"]
    assert list(document["levels"]) == names
    for rows in document["levels"].values():
        assert sum(row["delta_ns"] for row in rows) == -2_000


def test_one_level(invoke: Invoke, pair: tuple[Path, Path]) -> None:
    shown = invoke("diff", *pair, "--by", "kernel").out
    assert "first" in shown
    assert "idle cause" not in shown
    wrong = invoke("diff", *pair, "--by", "kernle")
    assert wrong.code == 2
    assert "did you mean 'kernel'?" in wrong.err


def test_what_cannot_be_compared_exits_with_2(invoke: Invoke, tmp_path: Path) -> None:
    one = written(tmp_path / "a.json", kernel="gemm_a")
    t = TraceBuilder()
    with t.op(
        "aten::conv2d", 0, 9_000, dims=[[1, 3, 8, 8], [4, 3, 3, 3]], types=["float", "float"]
    ):
        t.launch("convolve", at=1_000, call_ns=1_000, kernel=(5_000, 90_000))
    other = t.write(tmp_path / "b.json")
    refused = invoke("diff", one, other)
    assert (refused.code, refused.out) == (2, "")
    assert "error[MM-E070]" in refused.err
    assert "--anyway" in refused.err
    as_json = invoke("diff", one, other, "--format", "json")
    assert (as_json.code, json.loads(as_json.out)["code"]) == (2, "MM-E070")
    target = tmp_path / "both.json.gz"
    assert invoke("diff", one, other, "-o", target).code == 2
    assert not target.exists()
    anyway = invoke("diff", one, other, "--anyway")
    assert anyway.code == 0
    assert "NOT COMPARABLE" in anyway.out


def test_lists_and_labels(invoke: Invoke, pair: tuple[Path, Path]) -> None:
    old, new = pair
    listed = invoke("diff", old, old, "--format", "json", "--", new, new, new)
    document = json.loads(listed.out)
    assert (document["before"]["windows"], document["after"]["windows"]) == (2, 3)
    assert (document["unit"], document["total"]["delta_ns"]) == ("trace", -2_000)
    named = json.loads(invoke("diff", f"v1={old}", f"v2={new}", f"v1={old}", "-f", "json").out)
    assert (named["before"]["label"], named["before"]["windows"]) == ("v1", 2)
    assert (named["after"]["label"], named["after"]["windows"]) == ("v2", 1)


def test_markdown_leaves_nothing_active(invoke: Invoke, tmp_path: Path) -> None:
    old = written(tmp_path / "old.json", kernel=HOSTILE)
    new = written(tmp_path / "new.json", kernel=HOSTILE, ns=9_000)
    page = invoke("diff", old, new, "--format", "markdown").out
    assert page.startswith("**1.50x slower, not judged: 8.00 us -&gt; 12.0 us")
    assert "<details><summary>By kernel</summary>" in page
    assert "<img" not in page
    shown = invoke("diff", old, new).out
    assert "\x1b" not in page + shown
    assert max(map(len, shown.splitlines())) <= 100


def test_output_goes_to_a_file_once(
    invoke: Invoke, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    target = tmp_path / "diff.json"
    assert invoke("diff", *pair, "-o", target).code == 0
    assert json.loads(target.read_text())["schema"] == "mmprof.diff/1"
    again = invoke("diff", *pair, "-o", target)
    assert again.code == 2
    assert "MM-E030" in again.err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["a"],
        ["a", "b", "c"],
        ["a", SEPARATOR],
        ["a", SEPARATOR, "b", SEPARATOR, "c"],
        ["x=a", "y=b", "z=c"],
        ["x=a", "y=b", "c"],
        ["x=a", "y=b", SEPARATOR, "c"],
    ],
)
def test_unclear_sides(words: list[str]) -> None:
    with pytest.raises(MmprofError) as raised:
        sides_of(words)
    assert raised.value.code == "MM-E071"


def test_both_sides_on_one_time_line(
    invoke: Invoke, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    target, exported = tmp_path / "both.json.gz", tmp_path / "exported.json.gz"
    done = invoke("diff", *pair, "-o", target)
    assert (done.code, done.out) == (0, "")
    first, opened = done.err.splitlines()
    assert first.startswith("1.33x faster")
    assert opened.startswith(f"open {target} in https://")
    assert invoke("export", *pair, "-o", exported).code == 0
    assert target.read_bytes() == exported.read_bytes()
    assert invoke("diff", *pair, "-o", target).code == 2
    assert invoke("diff", *pair, "-o", target, "--force", "-q").err == ""


@pytest.mark.parametrize(
    "words",
    [["{old}", "{new}"], ["{old}", "{new}", "-o", "both.txt"], ["-", "{new}", "-o", "b.json"]],
)
def test_a_time_line_needs_files(invoke: Invoke, pair: tuple[Path, Path], words: list[str]) -> None:
    named = [word.format(old=pair[0], new=pair[1]) for word in words]
    refused = invoke("diff", *named, "--format", "trace")
    assert (refused.code, refused.out) == (2, "")
    assert "error[MM-E029]" in refused.err


def test_a_file_named_twice_is_read_twice(invoke: Invoke, pair: tuple[Path, Path]) -> None:
    old, _ = pair
    document = json.loads(invoke("diff", old, old, "-f", "json", "--", old, old).out)
    assert (document["total"]["before_ns"], document["total"]["verdict"]) == (8_000, "no change")
    analyzed = json.loads(invoke("analyze", old, old, "-f", "json").out)
    assert [device["window_ns"] for device in analyzed["devices"]] == [8_000, 8_000]


def test_equal_names_are_told_apart(invoke: Invoke, tmp_path: Path) -> None:
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
    old, new = written(tmp_path / "old" / "t.json"), written(tmp_path / "new" / "t.json", ns=6_000)
    document = json.loads(invoke("diff", old, new, "-f", "json").out)
    assert (document["before"]["label"], document["after"]["label"]) == (str(old), str(new))
