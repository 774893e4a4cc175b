"""`mmprof.apply` on models: what stays, what is undone, and what is said when it cannot be."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import mmprof  # noqa: E402
from mmprof.analyzers.errors import MmprofError  # noqa: E402
from mmprof.tracer import applying  # noqa: E402
from mmprof.tracer.lever import Lever, NotApplicableError  # noqa: E402
from mmprof.tracer.optimization.stacks import in_order  # noqa: E402
from mmprof.tracer.workload import Workload  # noqa: E402
from tests.optimization.fakes import fake  # noqa: E402

Events = list[str]


class Adder(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.amount = 1.0
        self.layer = torch.nn.Linear(2, 2)

    def forward(self, x: Any) -> Any:
        return x + self.amount


def changing(amount: float, events: Events) -> Callable[[Workload], Any]:
    """Sets the amount, and tells when a request begins and ends."""

    @contextmanager
    def apply(workload: Workload) -> Iterator[Workload]:
        model = workload.models[""]
        before, model.amount = model.amount, amount

        def run() -> object:
            events.append("begins")
            try:
                return workload.run()
            finally:
                events.append("ends")

        try:
            yield replace(workload, run=run)
        finally:
            model.amount = before

    return apply


@contextmanager
def raising(workload: Workload) -> Iterator[Workload]:
    raise ValueError("no such kernel")
    yield workload


@contextmanager
def replacing(workload: Workload) -> Iterator[Workload]:
    yield replace(workload, run=lambda: torch.zeros(1))


@contextmanager
def without_effect(workload: Workload) -> Iterator[Workload]:
    def run() -> object:
        raise NotApplicableError("its loop is not generate")

    yield replace(workload, run=run)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Events]:
    """Let `apply` know some levers only."""
    events: Events = []

    def register(**applies: Any) -> Events:
        found: dict[str, Lever] = {
            name: fake(name, **({"apply": what} if callable(what) else what))
            for name, what in applies.items()
        }
        monkeypatch.setattr(applying, "levers_by_word", lambda names: {n: found[n] for n in names})
        return events

    register(ten=changing(10.0, events))
    return register


def test_a_plain_call_stays_applied_and_returns_the_model(known: Callable[..., Events]) -> None:
    model = Adder()
    assert mmprof.apply(model, ["ten"]) is model
    assert model(torch.zeros(2)).tolist() == [10, 10]


def test_a_context_is_undone(known: Callable[..., Events]) -> None:
    model = Adder()
    with mmprof.applied(model, ["ten"]) as fast:
        assert fast is model
        assert fast(torch.zeros(1)).item() == 10
    assert model(torch.zeros(1)).item() == 1
    assert "forward" not in vars(model)


def test_each_call_of_a_model_is_a_request(known: Callable[..., Events]) -> None:
    events = known(ten=changing(10.0, seen := []))
    del events
    with mmprof.applied(Adder(), ["ten"]) as fast:
        fast(torch.zeros(1))
        fast(torch.zeros(1))
    assert seen == ["begins", "ends", "begins", "ends"]


def test_a_workload_runs_under_the_levers(known: Callable[..., Events]) -> None:
    model = Adder()
    bare = Workload("own", {"": model}, lambda: model(torch.zeros(1)))
    with mmprof.applied(bare, ["ten"]) as fast:
        assert fast.run().item() == 10
    assert bare.run().item() == 1


@pytest.mark.parametrize(
    ("lever", "message", "found"),
    [
        (
            {"applies": lambda w, d: f"needs another device than {d}"},
            "'bad' does not apply",
            "than cpu",
        ),
        ({"apply": raising}, "'bad' failed while it was applied", "ValueError: no such kernel"),
        ({"conflicts": ("ten",)}, "'ten' and 'bad' cannot be applied together", ""),
    ],
)
def test_errors_name_the_lever_and_the_reason(
    known: Callable[..., Events], lever: dict[str, Any], message: str, found: str
) -> None:
    known(ten=changing(10.0, []), bad=lever)
    model = Adder()
    with pytest.raises(MmprofError, match=message) as raised:
        mmprof.apply(model, ["ten", "bad"])
    assert raised.value.code == "MM-E064"
    assert found in raised.value.found
    # what was applied before is undone
    assert model.amount == 1
    assert "forward" not in vars(model)


@pytest.mark.parametrize(
    ("apply", "told"),
    [(replacing, "replaces the whole request"), (without_effect, "does not apply")],
)
def test_a_lever_that_has_no_effect_on_a_model_says_so_at_the_first_call(
    known: Callable[..., Events], apply: Any, told: str
) -> None:
    known(bad=apply)
    with mmprof.applied(Adder(), ["bad"]) as model, pytest.raises(MmprofError, match=told):
        model(torch.zeros(1))


@contextmanager
def watching(workload: Workload) -> Iterator[Workload]:
    seen = workload.run()
    yield replace(workload, run=lambda: (workload.run(), seen))


@pytest.mark.parametrize(
    "inputs",
    [torch.ones(1), (torch.ones(1),), {"x": torch.ones(1)}],
    ids=lambda i: type(i).__name__,
)
def test_a_lever_that_watches_a_request_sees_one_with_the_inputs(
    known: Callable[..., Events], inputs: object
) -> None:
    known(watch=watching)
    with mmprof.applied(Adder(), ["watch"], inputs=inputs) as model:
        made, seen = model(torch.zeros(1))
    assert (made.item(), seen.item()) == (1, 2)


@pytest.mark.parametrize(
    "lever", ["autoquant", "fused_projections", "inference_mode", "linear_layout", "weight_casts"]
)
def test_a_lever_that_watches_a_request_asks_for_inputs(lever: str) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)).eval()
    with pytest.raises(MmprofError, match=f"'{lever}' does not apply") as raised:
        mmprof.apply(model, [lever])
    assert "give inputs=" in raised.value.found
    assert not model[0]._forward_pre_hooks


def test_inputs_beside_a_workload_are_refused() -> None:
    with pytest.raises(MmprofError, match="a workload has its own"):
        mmprof.apply(Workload("own", {}, lambda: None), ["none"], inputs=(1,))


def test_levers_are_applied_in_their_order_whatever_the_order_of_the_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = applying.levers_by_word(["compile", "int8", "bf16"])
    assert in_order(names, names) == ("bf16", "int8", "compile")


def test_an_unknown_lever_is_told() -> None:
    with pytest.raises(MmprofError, match="did you mean 'sdpa'"):
        mmprof.apply(Adder(), ["sdp"])


@pytest.mark.parametrize(
    "asked", [lambda: mmprof.apply(Adder(), ["sdpa"]), lambda: mmprof.workload("llama")]
)
def test_without_torch_it_says_what_to_install(
    asked: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "torch" else real(name, *a)
    )
    with pytest.raises(MmprofError, match="needs torch, which is not installed") as raised:
        asked()
    assert raised.value.code == "MM-E050"
    assert "mmprof[trace]" in raised.value.hint


def test_a_workload_is_that_of_the_command_line() -> None:
    pytest.importorskip("transformers")
    made = mmprof.workload("hstu", size="tiny", seed=3, device="cpu")
    assert (made.name, made.arguments["seed"]) == ("hstu", 3)
    with pytest.raises(MmprofError, match="did you mean 'hstu'"):
        mmprof.workload("hstuu")


def test_a_model_of_transformers_generates_under_a_lever() -> None:
    pytest.importorskip("transformers")
    made = mmprof.workload("llama", size="tiny", device="cpu")
    model = made.models[""]
    ids = torch.ones(1, 4, dtype=torch.long)
    own = model.generate(ids, max_new_tokens=4, do_sample=False)
    with mmprof.applied(model, ["sdpa", "static_cache"]) as fast:
        assert torch.equal(fast.generate(ids, max_new_tokens=4, do_sample=False), own)
        assert fast.config._attn_implementation == "sdpa"
        assert fast(ids).logits.shape[:2] == (1, 4)
    inputs = {"input_ids": ids, "max_new_tokens": 4, "do_sample": False}
    with mmprof.applied(model, ["prompt_lookup"], inputs=inputs) as fast:
        assert torch.equal(fast.generate(**inputs), own)
    assert model.config._attn_implementation == "eager"
    assert "generate" not in vars(model)
