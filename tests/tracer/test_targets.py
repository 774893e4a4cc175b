"""The user's own models: functions that make them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from mmprof.analyzers.errors import MmprofError  # noqa: E402
from mmprof.tracer.targets import Placement, workload_of  # noqa: E402

SOURCE = """
from collections import OrderedDict, namedtuple
import torch
from torch import nn
from mmprof.tracer.workload import Workload

class Adder(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(2))

    def forward(self, x, y=0):
        return self.weight + x + y

def tensor(): return Adder(), torch.ones(2)
def pair(): return Adder(), (torch.ones(2), torch.ones(2))
def named(): return [Adder(), {"x": torch.ones(2), "y": torch.ones(2)}]
def function(n=1): return lambda: n
def workload(): return Workload("mine", {"": Adder()}, lambda: "ran")
def number(): return 3
def weights(): return Adder(), torch.zeros(2)
constant = 3

Pair = namedtuple("Pair", "x y")
class Outputs(OrderedDict): pass
class Kinds(nn.Module):
    def forward(self, *inputs): return inputs
def kinds():
    x = torch.ones(1)
    return Kinds(), (Pair(x, x), Outputs(x=x), (x,), [x], {"x": x}, 3)
def needy(size, *, depth=1): return lambda: (size, depth)
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_targets.py").write_text(SOURCE)
    (tmp_path / "my_broken.py").write_text("import no_such_thing")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_targets", raising=False)


@pytest.mark.parametrize(("name", "total"), [("tensor", 1), ("pair", 2), ("named", 2)])
def test_a_model_is_called_with_its_inputs(name: str, total: int) -> None:
    workload = workload_of(f"my_targets:{name}", Placement())

    output = workload.run()

    assert torch.equal(output, workload.models[""].weight + total)
    assert not output.requires_grad


def test_inputs_keep_their_containers() -> None:
    inputs = workload_of("my_targets:kinds", Placement(dtype="bfloat16")).run()

    assert [type(x).__name__ for x in inputs] == ["Pair", "Outputs", "tuple", "list", "dict", "int"]
    assert {inputs[0].x.dtype, inputs[1]["x"].dtype, inputs[2][0].dtype} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "missing a required argument: 'size'"),
        ({"size": 1, "width": 2}, "got an unexpected keyword argument 'width'"),
    ],
)
def test_arguments_that_do_not_fit_are_told(options: dict[str, int], message: str) -> None:
    with pytest.raises(MmprofError) as caught:
        workload_of("my_targets:needy", Placement(options=options))

    assert caught.value.message == f"my_targets:needy cannot be called so: {message}"
    assert caught.value.found == "needy(size, *, depth=1)"


def test_a_function_is_run_as_it_is() -> None:
    workload = workload_of("my_targets:function", Placement(options={"n": 5}))

    assert (workload.run(), workload.models) == (5, {})
    assert workload.arguments == {"seed": 0, "n": 5}


def test_a_workload_is_itself() -> None:
    workload = workload_of("my_targets:workload", Placement())

    assert (workload.name, workload.run()) == ("mine", "ran")


def test_weights_follow_the_seed() -> None:
    one, same, other = (
        workload_of("my_targets:weights", Placement(seed=seed)).run() for seed in (1, 1, 2)
    )

    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_model_is_moved_with_its_inputs() -> None:
    workload = workload_of("my_targets:pair", Placement(device="cpu", dtype="bfloat16"))

    assert workload.run().dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("target", "code", "hint"),
    [
        ("my_target:tensor", "MM-E051", "run in the folder of the file, without its .py"),
        ("my_targets:tensr", "MM-E051", "did you mean 'tensor'?"),
        ("my_targets:constant", "MM-E051", "module:function"),
        ("my_targets:number", "MM-E051", "return (model, inputs)"),
    ],
)
def test_what_cannot_be_used_is_an_error(target: str, code: str, hint: str) -> None:
    with pytest.raises(MmprofError) as caught:
        workload_of(target, Placement())

    assert caught.value.code == code
    assert caught.value.hint.startswith(hint)


def test_options_without_effect_are_refused() -> None:
    with pytest.raises(MmprofError, match="--dtype has no effect"):
        workload_of("my_targets:function", Placement(dtype="bfloat16"))


def test_a_module_that_misses_another_one_says_so() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_thing"):
        workload_of("my_broken:tensor", Placement())
