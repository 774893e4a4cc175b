"""Levers of host, scheduling and structure: what they change, what they keep, that they are undone; broken ones are caught."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from fixtures.builder import TraceBuilder
from mmprof.analyzers.view import View
from mmprof.analyzers.whatif import Replay
from mmprof.analyzers.whatif.by_hand import BY_HAND
from mmprof.analyzers.whatif.waits import without_held_copies
from mmprof.tracer.lever import NotApplicableError
from mmprof.tracer.lever_registry import lever_named
from mmprof.tracer.workload import Workload

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from lever_checks import checked, operators, reference, workload  # noqa: E402
from torch import nn  # noqa: E402
from transformers.generation import utils as generation  # noqa: E402

from mmprof.tracer import lever_projections  # noqa: E402
from mmprof.tracer.lever_projections import Joint, siblings  # noqa: E402
from mmprof.tracer.lever_regions import regions  # noqa: E402
from mmprof.tracer.models import hstu_blocks  # noqa: E402
from mmprof.tracer.models.hstu_blocks import BLOCK_BYTES, Plan, planned  # noqa: E402
from mmprof.tracer.verify_outputs import (  # noqa: E402
    check_outputs,
    outputs_of,
    reference_of,
)

ViewOf = Callable[[TraceBuilder], View]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


def values_of(base: Workload) -> dict[str, tuple[int, Any]]:
    """Every parameter: which object it is, and its values."""
    return {
        f"{name}.{path}": (id(parameter), parameter.detach().clone())
        for name, model in base.models.items()
        for path, parameter in model.named_parameters()
    }


def assert_as_before(base: Workload, before: dict[str, tuple[int, Any]]) -> None:
    after = values_of(base)
    assert after.keys() == before.keys()
    for path, (identity, value) in before.items():
        assert after[path][0] == identity
        assert torch.equal(after[path][1], value), path
    assert not any("forward" in vars(m) for model in base.models.values() for m in model.modules())


# Projections of the same activations.


@pytest.mark.parametrize(
    ("family", "task"),
    [("llama", ""), ("chameleon", "IT-T"), ("seamless", "T-T"), ("diffusion", "")],
)
def test_joint_projections_make_equal_outputs_and_are_undone(family: str, task: str) -> None:
    base = workload(family, task)
    before = values_of(base)
    found = checked("fused_projections", family, task)
    assert found.ok, found.detail
    assert_as_before(base, before)


def test_three_and_two_products_become_one_each() -> None:
    base = workload("llama")
    layers, passes = len(base.models[""].model.layers), 8  # prefill and 7 steps
    before = operators(base.run)["aten::linear"]
    with lever_named("fused_projections").apply(base) as changed:
        after = operators(changed.run)["aten::linear"]
    # of query, key, value, gate and up two are left
    assert before - after == 3 * layers * passes


def test_joint_weights_take_the_memory_of_the_separate_ones() -> None:
    base = workload("llama")
    attention = base.models[""].model.layers[0].self_attn
    with lever_named("fused_projections").apply(base):
        query, key = attention.q_proj.weight, attention.k_proj.weight
        assert key.data_ptr() == query.data_ptr() + query.numel() * query.element_size()
    assert attention.q_proj.weight.untyped_storage().nbytes() == query.numel() * 4


def test_cross_attention_joins_what_reads_the_encoder() -> None:
    cross = workload("seamless", "T-T").models[""].text_decoder.layers[0].cross_attention
    groups = [group for group in siblings(workload("seamless", "T-T")) if cross.k_proj in group]
    assert groups == [[cross.k_proj, cross.v_proj]]


class Pair(nn.Module):
    """Two layers; the second reads the same tensor as the first, or another one."""

    def __init__(self, *, same: bool) -> None:
        super().__init__()
        self.one, self.two, self.same = nn.Linear(4, 2), nn.Linear(4, 3), same

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.one(x), self.two(x if self.same else x + 1)


def pair(*, same: bool) -> Workload:
    model = Pair(same=same).requires_grad_(requires_grad=False)
    x = torch.ones(2, 4)
    return Workload("pair", {"": model}, lambda: model(x))


def test_layers_that_read_other_tensors_are_left_alone() -> None:
    with (
        pytest.raises(NotApplicableError, match="no two linear layers of a module read the same"),
        lever_named("fused_projections").apply(pair(same=False)),
    ):
        pass


def test_a_layer_called_with_another_tensor_computes_it() -> None:
    base = pair(same=True)
    model = base.models[""]
    expected = reference_of(pair_without(model))
    with lever_named("fused_projections").apply(base):
        assert check_outputs(pair_without(model), expected, "reassociation").ok


def pair_without(model: Any) -> Workload:
    """What the pair makes where it did not read the same tensor twice, as it did when it was watched."""
    x = torch.ones(2, 4)
    return Workload("pair", {"": model}, lambda: (model.one(x), model.two(x * 2), model.one(x)))


def test_parts_in_a_wrong_order_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = reference("llama")

    class Swapped(Joint):
        def __init__(self, layers: list[nn.Linear]) -> None:
            super().__init__(layers)
            self.weight = self.weight.flip(0)

    monkeypatch.setattr(lever_projections, "Joint", Swapped)
    base = workload("llama")
    weights = {k: v for k, (_, v) in values_of(base).items()}
    with lever_named("fused_projections").apply(base) as changed:
        assert not check_outputs(changed, expected, "reassociation").ok
    with torch.no_grad():
        for path, parameter in base.models[""].named_parameters():
            parameter.copy_(weights[f".{path}"])


# HSTU's attention in blocks.

JAGGED = ("spread=0.25",)
PRODUCTION = ("form=production", "spread=0.25")


@pytest.mark.parametrize(("settings", "batch"), [((), 1), (JAGGED, 3), (PRODUCTION, 3)])
def test_blocks_of_queries_attend_as_the_whole_does(
    settings: tuple[str, ...], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 200 queries of 2 heads: 40 rows, so that no block is a whole sequence and the last one is smaller
    monkeypatch.setitem(BLOCK_BYTES, "cpu", 40 * 2 * 200 * 4)
    base = workload("hstu", "", *settings, batch=batch)
    before = values_of(base)
    found = checked("hstu_fused_attention", "hstu", "", *settings, batch=batch)
    assert found.ok, found.detail
    assert_as_before(base, before)


def test_the_buckets_of_time_are_looked_up_once_for_all_layers() -> None:
    base = workload("hstu", "", *JAGGED, batch=3)
    layers, sequences = 8, 3
    before = operators(base.run)
    with lever_named("hstu_fused_attention").apply(base) as changed:
        after = operators(changed.run)
    assert before["aten::log"] == layers
    assert after["aten::log"] == sequences  # one block each
    # nothing is padded: of query, key, value in each layer, and the clock's two
    assert before["aten::index_copy_"] == 3 * layers + 2
    assert after["aten::index_copy_"] == 2


def test_a_request_leaves_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = hstu_blocks.BlockedAttention()
    monkeypatch.setattr(hstu_blocks, "BlockedAttention", lambda: shared)
    seen: list[int] = []
    plan = lambda *args: seen.append(1) or planned(*args)  # noqa: E731
    monkeypatch.setattr(hstu_blocks, "planned", plan)
    with lever_named("hstu_fused_attention").apply(workload("hstu")) as changed:
        changed.run()
    assert seen == [1]  # one for all layers
    assert shared.layout is None
    assert shared.plan.blocks == []


def test_only_pointwise_attention_has_such_blocks() -> None:
    reason = lever_named("hstu_fused_attention").applies(workload("llama"), "cpu")
    assert reason == "no pointwise attention (without a softmax)"


def seeing_the_future(plan: Plan) -> Plan:
    return replace(plan, future=plan.future.new_zeros(plan.future.shape))


def late(plan: Plan) -> Plan:
    """Buckets of another block."""
    moved = [b._replace(buckets=b.buckets.roll(40)) for b in plan.blocks if b.buckets is not None]
    return replace(plan, blocks=moved)


@pytest.mark.parametrize("broken", [seeing_the_future, late])
def test_a_wrong_mask_and_a_stale_bias_are_caught(
    broken: Callable[[Plan], Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = reference("hstu")
    monkeypatch.setattr(hstu_blocks, "planned", lambda *args: broken(planned(*args)))
    with lever_named("hstu_fused_attention").apply(workload("hstu")) as changed:
        assert not check_outputs(changed, expected, "reassociation").ok


# Inference mode.


def remembering(modes: list[bool], *, inference: bool) -> Workload:
    """A layer that notes in which mode it runs."""
    model = nn.Linear(4, 2).eval()
    model.register_forward_hook(lambda *_: modes.append(torch.is_inference_mode_enabled()))

    def run() -> object:
        with torch.inference_mode() if inference else torch.no_grad():
            return model(torch.ones(1, 4))

    return Workload("remembering", {"": model}, run)


def test_a_request_runs_in_inference_mode_and_makes_equal_bits() -> None:
    modes: list[bool] = []
    base = remembering(modes, inference=False)
    lever, expected = lever_named("inference_mode"), reference_of(base)
    with lever.apply(base) as changed:
        modes.clear()
        assert check_outputs(changed, expected, lever.exactness).ok
    assert set(modes) == {True}
    modes.clear()
    base.run()
    assert modes == [False]


def test_what_runs_in_inference_mode_already_gains_nothing_by_it() -> None:
    with (
        pytest.raises(NotApplicableError, match="in inference mode already"),
        lever_named("inference_mode").apply(remembering([], inference=True)),
    ):
        pass


def test_a_model_in_training_is_left_alone() -> None:
    base = remembering([], inference=False)
    base.models[""].train()
    assert lever_named("inference_mode").applies(base, "cpu") == "a model is in training mode"


# The check whether a sequence is done.


class HostEvent:
    """What torch has for devices only: on a host all is done when it is asked for."""

    def __init__(self, *, device: object, blocking: bool) -> None: ...

    def record(self) -> None: ...

    def synchronize(self) -> None: ...


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The late checks that are made."""
    made: list[object] = []

    class Noted(generation.DeferredStopCheck):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(torch, "Event", HostEvent)
    monkeypatch.setattr(generation, "DeferredStopCheck", Noted)
    return made


@contextmanager
def ending(base: Workload, step: int) -> Iterator[Workload]:
    """The workload whose sequence ends at a step, at which its token is taken for the end."""
    options = base.models[""].generation_config
    before = options.eos_token_id, options.min_new_tokens, options.min_length
    token = next(iter(outputs_of(base.run()).values()))[0, step - 8]
    options.eos_token_id, options.min_new_tokens, options.min_length = int(token), None, 0
    try:
        yield base
    finally:
        options.eos_token_id, options.min_new_tokens, options.min_length = before


def test_a_sequence_that_ends_early_is_as_long_as_before(checks: list[object]) -> None:
    lever = lever_named("deferred_stop_check")
    with ending(workload("llama"), 4) as base:
        expected = base.run()
        with lever.apply(base) as changed:
            found = changed.run()
    assert torch.equal(*(next(iter(outputs_of(made).values())) for made in (expected, found)))
    assert len(checks) == 1
    assert generation.DeferredStopCheck is type(checks[0]).__mro__[1]  # the module is as it was


def test_a_step_too_much_that_is_kept_is_caught(
    checks: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation.DeferredStopCheck, "finish", lambda self: 0)
    lever = lever_named("deferred_stop_check")
    with ending(workload("llama"), 4) as base:
        expected = base.run()
        with lever.apply(base) as changed:
            found = changed.run()
    shapes = [next(iter(outputs_of(made).values())).shape for made in (expected, found)]
    assert shapes[0] != shapes[1]


@pytest.mark.parametrize(
    ("family", "task", "device", "reason"),
    [
        ("llama", "", "cpu", "on a CPU the check waits for nothing"),
        ("hstu", "", "cuda", "no model of transformers that generates"),
        ("seamless", "T-T", "cuda", "beam search checks at each step whether it is done"),
        ("llama", "", "cuda", ""),
    ],
)
def test_where_the_check_can_be_late(family: str, task: str, device: str, reason: str) -> None:
    assert lever_named("deferred_stop_check").applies(workload(family, task), device) == reason


# Compilation of what repeats.


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are traced, and run as they are: what the compiler makes of them is its own matter."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))


@pytest.mark.usefixtures("quick")
def test_one_graph_serves_all_layers() -> None:
    base = workload("hstu")
    before = values_of(base)
    found = checked("compile_regional", "hstu")
    assert found.ok, found.detail
    assert found.facts["regions"] == 8
    assert found.facts["graphs"] == 1
    assert "break" not in found.facts
    assert_as_before(base, before)


@pytest.mark.usefixtures("quick")
def test_of_layers_with_a_cache_the_parts_without_are_compiled() -> None:
    found = checked("compile_regional", "llama")
    assert found.ok, found.detail
    # four layers of two norms and a feed-forward network; a first and a further length each
    assert found.facts["regions"] == 12
    assert found.facts["graphs"] <= 4


@pytest.mark.usefixtures("quick")
def test_beam_search_calls_compiled_code() -> None:
    found = checked("compile_regional", "seamless", "T-T")
    assert found.ok, found.detail
    assert found.facts["graphs"] >= 2
    assert "break" not in found.facts


class Printing(nn.Module):
    """A layer that no graph can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return self.inner(x) * 2


@pytest.mark.usefixtures("quick")
def test_a_graph_that_breaks_is_explained() -> None:
    model = nn.Sequential(Printing(), Printing()).requires_grad_(requires_grad=False)
    base = Workload("printing", {"": model}, lambda: model(torch.ones(1, 2)))
    with lever_named("compile_regional").apply(base) as changed:
        changed.run()
        facts = changed.facts()
    assert facts["graph_breaks"] == 1
    assert "graph_break" in str(facts["break"])


def test_equal_shapes_make_layers_equal() -> None:
    lists = nn.ModuleList(nn.Sequential(nn.Linear(2, n), nn.ReLU()) for n in (3, 4, 3))
    base = Workload("lists", {"": nn.ModuleDict({"layers": lists})}, lambda: None)
    assert regions(base) == [lists[0], lists[2]]
    assert "no list of equal layers" in lever_named("compile_regional").applies(
        pair(same=True), "cpu"
    )


# Levers that only the author of the model can pull.


def copying(t: TraceBuilder) -> None:
    """Two kernels of 100 us, and between them a copy of 4 us to the host, whose call returns with it."""
    t.launch("gemm", at=1_000, call_ns=2_000, kernel=(4_000, 104_000))
    kind = "DtoH (Device -> Pageable)"
    t.memcpy(kind, at=4_000, call_ns=104_000, copy=(104_000, 108_000), nbytes=64)
    t.launch("gemm", at=110_000, call_ns=2_000, kernel=(113_000, 213_000))


def busy(t: TraceBuilder) -> None:
    t.launch("gemm", at=1_000, call_ns=2_000, kernel=(4_000, 14_000))


def test_a_copy_that_holds_nothing_lets_the_host_launch_ahead(view_of: ViewOf) -> None:
    prediction, _ = without_held_copies(replay_of(view_of, copying))
    assert prediction
    # 209 us, of which the device stood still for 5 between the copy and the second kernel
    assert prediction.low <= 1
    assert 1.01 < prediction.expected <= 209 / 204
    assert (
        without_held_copies(replay_of(view_of, busy))[1] == "no copy in the window holds the host"
    )


def replay_of(view_of: ViewOf, build: Callable[[TraceBuilder], None]) -> Replay:
    built = TraceBuilder()
    build(built)
    return Replay(view_of(built))


@pytest.mark.parametrize("name", ["batching", "stream_parallelism"])
def test_what_no_replay_can_tell_is_said(name: str, view_of: ViewOf) -> None:
    (advice,) = [advice for advice in BY_HAND if advice.id == name]
    prediction, why = advice.predict(replay_of(view_of, busy))
    assert prediction is None
    assert len(why) > 40
