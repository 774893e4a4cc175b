"""Annotations of modules: named by path, nested like the calls, cheap, gone afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402

from mmprof.tracer import modules  # noqa: E402
from mmprof.tracer.modules import ModuleAnnotations, prime_profiler  # noqa: E402
from tests.tracer.toys import Toy, annotations_in, events_in  # noqa: E402

X = torch.ones(1, 4)
TOY = [
    "nn.Module: Toy (Toy)",
    "nn.Module: layers.0 (Block)",
    "nn.Module: layers.0.up (Linear)",
    "nn.Module: layers.0.down (Linear)",
    "nn.Module: layers.0.down (Linear)",
]


def recorded(path: Path, marks: ModuleAnnotations, run: Any) -> list[str]:
    prime_profiler()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as prof, marks:
        run()
    prof.export_chrome_trace(str(path))
    return annotations_in(path)


@pytest.mark.parametrize("known", [True, False])
def test_every_call_has_the_path_of_its_module(tmp_path: Path, known: bool) -> None:
    model = Toy()
    marks = ModuleAnnotations({"": model} if known else None)

    assert recorded(tmp_path / "t.json", marks, lambda: model(X)) == TOY


def test_models_are_told_apart_by_name(tmp_path: Path) -> None:
    models = {"text": nn.Linear(4, 4), "vocoder": nn.Sequential(nn.ReLU())}

    def run() -> None:
        models["vocoder"](models["text"](X))

    assert recorded(tmp_path / "t.json", ModuleAnnotations(models), run) == [
        "nn.Module: text (Linear)",
        "nn.Module: vocoder (Sequential)",
        "nn.Module: vocoder.0 (ReLU)",
    ]


@pytest.mark.parametrize(
    ("models", "roots"),
    [
        ({"": Toy()}, ["nn.Module: Toy (Toy)"]),
        ({"a": Toy()}, ["nn.Module: a (Toy)"]),
        ({"a": Toy(), "b": Toy()}, []),
        (None, []),
    ],
)
def test_what_runs_between_calls_is_the_only_models(
    tmp_path: Path, models: Any, roots: list[str]
) -> None:
    marks = ModuleAnnotations(models)

    def run() -> None:
        marks.open_root()
        torch.add(X, X)

    assert recorded(tmp_path / "t.json", marks, run) == roots
    events = events_in(tmp_path / "t.json")
    add = next(e for e in events if e["name"] == "aten::add")
    around = [e for e in events if e["cat"] == "user_annotation" and e["ts"] <= add["ts"]]
    assert [e["ts"] + e["dur"] >= add["ts"] + add["dur"] for e in around] == [True] * len(roots)


def test_operators_lie_in_their_module(tmp_path: Path) -> None:
    model = Toy()
    recorded(tmp_path / "t.json", ModuleAnnotations({"": model}), lambda: model(X))
    events = events_in(tmp_path / "t.json")

    ups = [e for e in events if e["name"] == "nn.Module: layers.0.up (Linear)"]
    first = next(e for e in events if e["name"] == "aten::linear")
    assert ups[0]["ts"] <= first["ts"]
    assert first["ts"] + first["dur"] <= ups[0]["ts"] + ups[0]["dur"]


def test_without_fast_annotations_the_slow_ones_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modules, "_primed", lambda: False)
    model = Toy()

    assert recorded(tmp_path / "t.json", ModuleAnnotations({"": model}), lambda: model(X)) == TOY


@pytest.mark.parametrize("known", [True, False])
def test_hooks_are_removed(known: bool) -> None:
    model = Toy()

    with ModuleAnnotations({"": model} if known else None):
        pass

    assert [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks] == []
    assert not torch.nn.modules.module._global_forward_hooks
    assert not torch.nn.modules.module._global_forward_pre_hooks


class Failing(nn.Module):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error
        self.child = nn.ReLU()

    def forward(self, x: Any) -> Any:
        if self.error is not None:
            raise self.error
        return self.child(x)


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
@pytest.mark.parametrize("known", [True, False])
def test_an_exception_closes_what_it_leaves(
    tmp_path: Path, error: BaseException, known: bool
) -> None:
    model = nn.Sequential(Failing(error), nn.ReLU())

    def run() -> None:
        with pytest.raises(type(error)):
            model(X)
        model[0].error = None
        model(X)

    marks = ModuleAnnotations({"": model} if known else None)
    names = recorded(tmp_path / "t.json", marks, run)

    whole = ["Sequential (Sequential)", "0 (Failing)", "0.child (ReLU)", "1 (ReLU)"]
    assert names == [f"nn.Module: {name}" for name in [*whole[:2], *whole]]


class Countdown(nn.Module):
    def forward(self, n: int) -> int:
        return self(n - 1) if n else 0


def test_a_module_may_call_itself(tmp_path: Path) -> None:
    model = Countdown()

    names = recorded(tmp_path / "t.json", ModuleAnnotations({"": model}), lambda: model(2))

    assert names == ["nn.Module: Countdown (Countdown)"] * 3


def test_compiled_code_is_not_broken_by_annotations() -> None:
    model = Toy()
    compiled = torch.compile(model, backend="eager", fullgraph=True)

    with ModuleAnnotations({"": model}):
        assert [x.shape for x in compiled(X)] == [(1, 8)]


@pytest.mark.parametrize("known", [True, False])
def test_what_was_compiled_before_is_not_compiled_again(tmp_path: Path, known: bool) -> None:
    torch.compiler.reset()
    compiled = torch.compile(Toy(), backend="eager")
    compiled(X)
    marks = ModuleAnnotations({"": compiled} if known else None)

    recorded(tmp_path / "t.json", marks, lambda: compiled(X))

    names = [event["name"] for event in events_in(tmp_path / "t.json")]
    assert "nn.Module: _orig_mod (Toy)" in names
    assert [name for name in names if "compile_attempt" in name] == []
