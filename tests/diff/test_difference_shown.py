"""What is said of a difference: the first line, what marks mean, what a pull request shows at once."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from compared import compared, product, steps

from mmprof.analyzers.diff.result import Comparable, Difference, Reason
from mmprof.analyzers.idle import CAUSES
from mmprof.cli.renderers import RenderOptions
from mmprof.cli.renderers.difference.content import COLUMNS, LevelTable, legend, tables
from mmprof.cli.renderers.difference.documents import markdown
from mmprof.cli.renderers.difference.headline import WAITING, headline

replace = msgspec.structs.replace


@pytest.fixture
def found(tmp_path: Path) -> Difference:
    """13 us and 19 us: 4 us more of a product, 2 us more of Python."""
    after = product(tmp_path / "b.json", ns=9_000, wait_ns=2_000)
    return compared(product(tmp_path / "a.json"), after)


def on(found: Difference, before: list[str], after: list[str]) -> Difference:
    sides = replace(found.before, devices=before), replace(found.after, devices=after)
    return replace(found, before=sides[0], after=sides[1])


@pytest.mark.parametrize(
    ("before", "after", "where"),
    [
        (["A100"], ["V100"], " on V100 than on A100"),
        (["A100"], ["A100"], ""),
        (["A100", "H100"], ["V100"], ""),
        ([""], ["V100"], ""),
    ],
)
def test_other_devices_are_named_first(
    found: Difference, before: list[str], after: list[str], where: str
) -> None:
    first = headline(on(found, before, after))
    assert first.startswith(f"1.46x slower{where}, not judged: 13.0 us -> 19.0 us; linear +4.00 us")


def test_a_device_is_called_nothing_active(found: Difference) -> None:
    page = markdown(on(found, ["A100"], ["evil\x1b[31m<img src=x>"]), RenderOptions())
    assert "slower on evil" in page
    assert "\x1b" not in page
    assert "<img" not in page


def test_noise_is_not_named_as_a_cause(found: Difference) -> None:
    assert headline(found).endswith("; linear +4.00 us, idle in Python +2.00 us")
    noise = [replace(row, significant=False) for row in found.levels.class_]
    quiet = replace(found, levels=replace(found.levels, class_=noise))
    assert headline(quiet).endswith("19.0 us; idle in Python +2.00 us")


def test_every_cause_of_idle_time_has_words() -> None:
    assert set(CAUSES) == set(WAITING)


def test_steps_are_shown_where_few_of_them_changed(tmp_path: Path) -> None:
    before = steps(tmp_path / "a.json", [50_000] * 6)
    one = compared(before, steps(tmp_path / "b.json", [50_000] * 5 + [90_000]))
    shown = {table.title: table for table in tables(one, top=10)}
    assert [row[0] for row in shown["step (part of the mean)"].rows] == [
        "step[5]",
        "total per step",
    ]
    every = compared(before, steps(tmp_path / "c.json", [90_000] * 6))
    assert "step" not in {table.level for table in tables(every, top=10)}
    assert [table.level for table in tables(every, by="step", top=10)] == ["step"]


def test_only_marks_that_are_shown_are_explained() -> None:
    cells = ("outside", "1 ms", "2 ms", "+1 ms", "~", "1 ms", "0.5")
    judged = LevelTable("cause", "idle cause", COLUMNS, [cells], "")
    said = [line.partition(":")[0] for line in legend([judged])]
    assert said == ["~", "detectable", "idle cause outside"]
    few = LevelTable("cause", "idle cause", COLUMNS[:4], [(*cells[:4], "(+9 %)")], "")
    assert [line.partition(":")[0] for line in legend([few])] == ["( )", "idle cause outside"]
    assert (
        list(legend([LevelTable("class", "class", COLUMNS[:4], [("linear", *cells[1:4], "")], "")]))
        == []
    )


def test_a_pull_request_shows_two_tables_and_folds_the_rest(found: Difference) -> None:
    noted = Reason("MM-N045", "device", "noted", "the devices differ", "A100", "V100")
    refused = Reason("MM-N040", "model", "refused", "the models differ", "a", "b")
    page = markdown(
        replace(found, comparable=Comparable(ok=False, reasons=[refused, noted])), RenderOptions()
    )
    at_once = [part.partition("</details>")[2] for part in f"</details>{page}".split("<details>")]
    assert "".join(at_once).count("| --- |") == 2
    assert "NOT COMPARABLE: the models differ" in "".join(at_once)
    assert "the devices differ" not in "".join(at_once)
    assert "<details><summary>What differs besides</summary>\n\n- note: the devices differ" in page
