"""Families are found by their files, and requests are checked without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mmprof.analyzers.errors import MmprofError
from mmprof.tracer.families import families, for_one_of, free_options, request_for
from mmprof.tracer.order import Wish
from mmprof.tracer.workload import SIZES, Family, Option, Request, Size, Task, Workload


def build(request: Request) -> Workload:
    return Workload("toy", {}, lambda: None)


TOY = Family(
    name="toy",
    summary="A toy.",
    tasks=(Task("T-T", "text", ("prefill",)), Task("I-T", "captions", ("encode",))),
    sizes=(Size("tiny", 10, "nothing"), Size("full", 1000, "a GPU")),
    build=build,
    options=(
        Option("beams", 5, "Beams."),
        Option("scale", 0.5, "Scale."),
        Option("fused", False, "Fused."),
        Option("cache", "dynamic", "Cache.", ("dynamic", "static")),
    ),
)
DEFAULTS = {"beams": 5, "scale": 0.5, "fused": False, "cache": "dynamic"}


def test_defaults() -> None:
    assert request_for(TOY, Wish(), "cpu") == Request("T-T", options=DEFAULTS)


def test_everything_chosen() -> None:
    wish = Wish(
        task="i-t",
        size="FULL",
        dtype="bf16",
        batch=2,
        seed=7,
        input_length=3,
        output_length=4,
        attention="sdpa",
        settings=("beams=2", "scale=2", "fused=yes", "cache=static"),
    )

    assert request_for(TOY, wish, "cuda:1") == Request(
        task="I-T",
        size="full",
        device="cuda:1",
        dtype="bfloat16",
        batch=2,
        seed=7,
        input_length=3,
        output_length=4,
        attention="sdpa",
        options={"beams": 2, "scale": 2.0, "fused": True, "cache": "static"},
    )


@pytest.mark.parametrize(
    ("wish", "code", "hint"),
    [
        (Wish(task="T-TT"), "MM-E053", "did you mean 'T-T'?"),
        (Wish(size="tinny"), "MM-E053", "did you mean 'tiny'?"),
        (Wish(dtype="bfloat"), "MM-E053", "did you mean 'bfloat16'?"),
        (Wish(attention="flash"), "MM-E053", "one of those"),
        (Wish(settings=("beam=3",)), "MM-E053", "did you mean 'beams'?"),
        (Wish(settings=("beams",)), "MM-E052", "--set beams=VALUE"),
        (Wish(settings=("beams=many",)), "MM-E052", "a value such as 5"),
        (Wish(settings=("fused=perhaps",)), "MM-E052", "a value such as false"),
        (Wish(settings=("cache=statik",)), "MM-E052", "one of dynamic, static"),
    ],
)
def test_what_does_not_fit_is_an_error(wish: Wish, code: str, hint: str) -> None:
    with pytest.raises(MmprofError) as caught:
        request_for(TOY, wish, "cpu")

    assert (caught.value.code, caught.value.hint) == (code, hint)


def test_a_family_with_one_attention_has_no_other() -> None:
    with pytest.raises(MmprofError) as caught:
        request_for(families()["hstu"], Wish(attention="eager"), "cpu")

    assert (caught.value.code, caught.value.hint) == ("MM-E053", "one of those")
    assert request_for(families()["hstu"], Wish(), "cpu").attention == "pointwise"


def test_what_is_wished_of_several_families_fits_each() -> None:
    wish = Wish(attention="sdpa", batch=2)
    for family in families().values():
        assert request_for(family, for_one_of(family, wish), "cpu").batch == 2
    assert for_one_of(families()["llama"], wish).attention == "sdpa"


def test_settings_without_a_family_are_recognised_by_their_form() -> None:
    assert free_options(["n=3", "x=0.5", "on=True", "name=a=b"]) == {
        "n": 3,
        "x": 0.5,
        "on": True,
        "name": "a=b",
    }


def test_every_family_is_complete() -> None:
    for name, family in families().items():
        assert name == family.name
        assert family.tasks
        assert set(SIZES) >= {size.name for size in family.sizes}
        assert all(size.parameters > 0 and size.needs for size in family.sizes)


def test_listing_families_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from mmprof.cli.main import main; sys.exit(main(['workloads']))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert "family" in done.stdout
