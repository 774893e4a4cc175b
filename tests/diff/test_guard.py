"""What cannot be compared is refused with its reason; what can is only noted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from compared import compared, product, side, steps

from fixtures.builder import TraceBuilder
from mmprof.analyzers.diff.facts import Recording
from mmprof.analyzers.diff.guard import compare, overlap
from mmprof.analyzers.diff.sides import Side
from mmprof.analyzers.error_pages import ERROR_PAGES
from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.notes import NOTES


def reasons(before: Side, after: Side) -> dict[str, str]:
    return {r.code: r.handling for r in compare(before, after).reasons}


def recorded(one: Side, **facts: Any) -> Side:
    """The side as if its trace had been recorded so."""
    return replace(one, recordings=(Recording(**facts),))


def convolutions(path: Path) -> Path:
    t = TraceBuilder()
    with (
        t.module("Conv2d_0", 0, 30_000),
        t.op(
            "aten::conv2d", 0, 30_000, dims=[[1, 3, 8, 8], [4, 3, 3, 3]], types=["float", "float"]
        ),
    ):
        t.launch("implicit_convolve_sgemm", at=1_000, call_ns=1_000, kernel=(5_000, 90_000))
    return t.write(path)


def test_another_model_is_refused_with_what_is_shared(tmp_path: Path) -> None:
    linear = product(tmp_path / "a.json", module="Linear_0")
    other = convolutions(tmp_path / "b.json")
    with pytest.raises(MmprofError) as raised:
        compared(linear, other)
    assert raised.value.code == "MM-E070"
    assert "different models" in raised.value.found
    assert "MM-N040" in raised.value.found
    found = compared(linear, other, anyway=True)
    assert not found.comparable.ok
    assert [r.handling for r in found.comparable.reasons] == ["refused"]


def test_inputs_of_another_size_are_refused(tmp_path: Path) -> None:
    before = side(product(tmp_path / "a.json", module="Linear_0", ns=50_000))
    wide = product(tmp_path / "b.json", module="Linear_0", ns=90_000, dims=[[128, 64], [64, 64]])
    assert reasons(before, side(wide)) == {"MM-N041": "refused"}


def test_equal_recordings_have_no_reasons(tmp_path: Path) -> None:
    one = side(product(tmp_path / "a.json"))
    assert reasons(one, one) == {}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"torch": "2.9.0"}, {"torch": "2.13.0"}, {"MM-N048": "noted"}),
        ({"torch": "2.9.0"}, {}, {}),
        ({"world_size": 8}, {"world_size": 2}, {"MM-N053": "noted"}),
        ({"options": {"with_stack": True}}, {"options": {"with_stack": False}}, {"MM-N051": "noted"}),
        ({"overhead": 1.5}, {"overhead": 1.01}, {"MM-N052": "noted"}),
        ({"overhead": 1.01}, {"overhead": 1.01}, {}),
        ({"arguments": {"batch": 1}}, {"arguments": {"batch": 8}}, {"MM-N044": "refused"}),
        ({"arguments": {"attention": "eager"}}, {"arguments": {"attention": "sdpa"}}, {"MM-N044": "noted"}),
        ({"workload": "llama"}, {"workload": "bench:make"}, {"MM-N043": "noted"}),
        ({"notes": frozenset({"MM-N024"})}, {}, {"MM-N046": "refused"}),
        ({"notes": frozenset({"MM-N001"})}, {}, {"MM-N056": "noted"}),
        ({"load_average": 0.1}, {"load_average": 3.0}, {"MM-N057": "noted"}),
    ],
    ids=str,
)  # fmt: skip
def test_how_it_was_recorded(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any], expected: dict[str, str]
) -> None:
    one = side(product(tmp_path / "a.json"))
    assert reasons(recorded(one, **before), recorded(one, **after)) == expected


def test_another_device_is_a_note(tmp_path: Path) -> None:
    one = side(product(tmp_path / "a.json"))
    other = replace(one, windows=(replace(one.windows[0], device_name="AMD Instinct MI300X"),))
    (reason,) = compare(one, other).reasons
    assert (reason.code, reason.handling, reason.after) == (
        "MM-N045",
        "noted",
        "AMD Instinct MI300X",
    )


def test_another_type_is_a_note(tmp_path: Path) -> None:
    one = side(product(tmp_path / "a.json"))
    work = replace(one.windows[0].work, dtype="bf16")
    other = replace(one, windows=(replace(one.windows[0], work=work),))
    assert reasons(one, other) == {"MM-N047": "noted"}


def test_work_from_before_the_window_is_a_note(tmp_path: Path) -> None:
    one = side(product(tmp_path / "a.json"))
    work = replace(one.windows[0].work, carry_in=0.4)
    other = replace(one, windows=(replace(one.windows[0], work=work),))
    assert reasons(one, other) == {"MM-N055": "noted"}


def test_more_devices_are_normalised(tmp_path: Path) -> None:
    one = side(product(tmp_path / "a.json"))
    two = replace(one, windows=(one.windows[0], replace(one.windows[0], device=1)))
    assert reasons(one, two) == {"MM-N054": "normalised"}


def test_steps_on_one_side_only_are_noted(tmp_path: Path) -> None:
    stepped = side(steps(tmp_path / "a.json", [5_000] * 4))
    assert reasons(stepped, side(product(tmp_path / "b.json"))) == {"MM-N050": "noted"}


def test_an_overlap_is_the_share_of_equal_words() -> None:
    assert overlap({"a": 0.5, "b": 0.5}, {"a": 0.2, "c": 0.8}) == pytest.approx(0.2)


def test_every_code_has_a_page() -> None:
    assert {f"MM-N0{n}" for n in range(40, 58)} <= NOTES.keys()
    assert {"MM-E070", "MM-E071"} <= ERROR_PAGES.keys()
