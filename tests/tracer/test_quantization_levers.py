"""Levers of precision: what they multiply with, what they keep, that they are undone; and broken ones are caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mmprof.tracer.lever import NotApplicableError
from mmprof.tracer.lever_registry import lever_named
from mmprof.tracer.quantization.choices import AS_IS, Choices, Ratio, choose, quartiles
from mmprof.tracer.workload import Workload

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from lever_checks import checked, operators, reference, workload  # noqa: E402
from torch import nn  # noqa: E402

from mmprof.tracer import lever_quantization  # noqa: E402
from mmprof.tracer.quantization import candidates as products  # noqa: E402
from mmprof.tracer.quantization.candidates import EXACT, LOSSY, Candidate  # noqa: E402
from mmprof.tracer.quantization.everywhere import candidate_named, multiplying  # noqa: E402
from mmprof.tracer.quantization.int8_cache import Int8Layer, Rounded  # noqa: E402
from mmprof.tracer.quantization.lever_tuning import tuning  # noqa: E402
from mmprof.tracer.quantization.recording import Site, recorded  # noqa: E402
from mmprof.tracer.quantization.tuning import tuned  # noqa: E402
from mmprof.tracer.verify_outputs import (  # noqa: E402
    check_outputs,
    outputs_of,
    reference_of,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


def toy(*, bias: bool = True) -> Workload:
    """Two linear layers; two rows pass the first, then one row passes both three times."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64, bias=bias), nn.Linear(64, 32, bias=bias)).eval()
    many, one = torch.randn(2, 64), torch.randn(1, 1, 64)

    def run() -> object:
        with torch.no_grad():
            return [model[0](many), *(model(one) for _ in range(3))]

    return Workload("toy", {"": model}, run)


# The rule.


@pytest.mark.parametrize(
    ("ratios", "errors", "chosen"),
    [
        ({"a": Ratio(0.5, 0.6, 0.7)}, {"a": 0.0}, "a"),
        ({"a": Ratio(0.8, 0.9, 1.1)}, {"a": 0.0}, AS_IS),  # its slow quartile is no faster
        ({"a": Ratio(0.5, 0.6, 0.7)}, {"a": 0.2}, AS_IS),  # above the budget of 0.1
        # as fast as the more precise one, up to noise
        ({"a": Ratio(0.5, 0.6, 0.7), "b": Ratio(0.4, 0.5, 0.6)}, {"a": 0.0, "b": 0.1}, "a"),
        ({"a": Ratio(0.5, 0.6, 0.7), "b": Ratio(0.2, 0.3, 0.4)}, {"a": 0.0, "b": 0.1}, "b"),
        ({}, {}, AS_IS),
    ],
)
def test_a_candidate_wins_only_beyond_noise_and_within_the_budget(
    ratios: dict[str, Ratio], errors: dict[str, float], chosen: str
) -> None:
    assert choose(ratios, errors, 0.1) == chosen


def test_quartiles_are_values_that_occurred() -> None:
    assert quartiles([7, 1, 6, 2, 5, 3, 4]) == Ratio(2, 4, 6)
    assert quartiles([3.0]) == Ratio(3, 3, 3)


# The measurement.


def test_a_recording_has_each_call_and_the_first_activations() -> None:
    base = toy()
    found = recorded(base)
    assert found.calls == {Site("0", 2): 1, Site("0", 1): 3, Site("1", 1): 3}
    assert found.order[:3] == [Site("0", 2), Site("0", 1), Site("1", 1)]
    assert found.activations[Site("0", 1)].shape == (1, 1, 64)
    assert not base.models[""][0]._forward_pre_hooks


def doing(name: str, make: Callable[[Any, int], Any]) -> Candidate:
    return Candidate(name, lambda layer: "", make)


def remembered(layer: Any, rows: int) -> Any:
    """As exact and far faster: it returns what it made before, for all that is asked of it here."""
    kept: dict[tuple[int, ...], Any] = {}
    forward = layer.forward

    def product(x: Any) -> Any:
        if x.shape not in kept:
            kept[x.shape] = forward(x)
        return kept[x.shape]

    return product


def doubled(layer: Any, rows: int) -> Any:
    fast = remembered(layer, rows)
    kept: dict[tuple[int, ...], Any] = {}
    return lambda x: kept[x.shape] if x.shape in kept else kept.setdefault(x.shape, 2 * fast(x))


def thrice(layer: Any, rows: int) -> Any:
    forward = layer.forward
    return lambda x: [forward(x) for _ in range(9)].pop()


def test_the_fastest_within_the_error_is_kept_and_the_others_say_why_not() -> None:
    trio = [doing("fast", remembered), doing("wrong", doubled), doing("slow", thrice)]
    found = tuned(recorded(toy()), trio, budget=1e-3, lever="test").choices
    assert {(each.layer, each.rows, each.calls, each.chosen) for each in found.layers} == {
        ("0", 2, 1, "fast"),
        ("0", 1, 3, "fast"),
        ("1", 1, 3, "fast"),
    }
    assert found.after_us < found.before_us
    wrong, slow = (
        next(each for each in found.tried if each.candidate == name) for name in ("wrong", "slow")
    )
    assert (wrong.rejected, wrong.ratio) == ("error", None)
    assert wrong.error == pytest.approx(1)
    assert slow.rejected.endswith("times as slow")


def test_a_candidate_is_not_asked_for_more_rows_than_it_is_made_for() -> None:
    single = replace(doing("fast", remembered), most_rows=1)
    found = tuned(recorded(toy()), [single], budget=1e-3, lever="test")
    assert set(found.products) == {Site("0", 1), Site("1", 1)}
    assert any("at most 1 rows" in each.rejected for each in found.choices.tried)


def test_where_nothing_is_faster_the_lever_does_not_apply() -> None:
    slow = [doing("slow", thrice)]
    with (
        pytest.raises(NotApplicableError, match="no candidate is faster"),
        tuning(toy(), slow, budget=1, lever="test"),
    ):
        pass


def test_the_choices_go_with_the_workload_and_are_undone() -> None:
    base = toy()
    before = base.run()
    with tuning(base, [doing("fast", remembered)], budget=1e-3, lever="test") as changed:
        assert isinstance(changed.notes[0], Choices)
        assert "forward" in vars(base.models[""][0])
        changed.run()
    assert "forward" not in vars(base.models[""][0])
    assert all(map(torch.equal, before, base.run()))


@pytest.mark.parametrize(("name", "family"), [("linear_layout", "llama"), ("autoquant", "hstu")])
def test_tuned_layers_keep_the_outputs(name: str, family: str) -> None:
    try:
        found = checked(name, family)
    except NotApplicableError:
        pytest.skip("nothing is faster on this machine")
    assert found.ok, found.detail


def test_convolutions_are_not_tuned() -> None:
    alone = Workload("convolution", {"": nn.Conv1d(1, 1, 1)}, lambda: None)
    assert "only convolutions" in lever_named("autoquant").applies(alone, "cpu")
    assert "CPU" in lever_named("linear_layout").applies(toy(), "cuda")


# The candidates.


@pytest.mark.parametrize("candidate", [*EXACT, *LOSSY], ids=lambda c: c.name)
@pytest.mark.parametrize("bias", [True, False])
def test_candidates_multiply_as_the_layer_does(candidate: Candidate, *, bias: bool) -> None:
    base = toy(bias=bias)
    if candidate.why_not(base.models[""][0]):
        pytest.skip(candidate.why_not(base.models[""][0]))
    expected = reference_of(base)
    with multiplying(base, candidate, heads=True) as changed:
        found = check_outputs(
            changed, expected, "reassociation" if candidate in EXACT else "lossy", budget=0.15
        )
    assert found.ok, found.detail
    assert all(map(torch.equal, expected.outputs.values(), outputs_of(base.run()).values()))


@pytest.mark.parametrize(
    ("lever", "operator"),
    [
        ("fp16_weights", "quantized::linear_dynamic_fp16"),
        ("quantization_int4", "aten::_weight_int4pack_mm_for_cpu"),
    ],
)
def test_a_lever_changes_the_operators_that_it_names(lever: str, operator: str) -> None:
    base = toy()
    assert operator not in operators(base.run)
    with lever_named(lever).apply(base) as changed:
        seen = operators(changed.run)
    assert seen[operator] == 7
    assert "aten::addmm" not in seen
    assert operator not in operators(base.run)


@pytest.mark.parametrize(
    ("name", "family", "task", "least"),
    [
        ("fp16_weights", "llama", "", 1e-5),
        ("fp16_weights", "hstu", "", 1e-5),
        ("fp16_weights", "seamless", "T-T", 1e-5),
        ("kv_cache_int8", "llama", "", 1e-4),
        ("kv_cache_int8", "seamless", "T-T", 1e-4),
    ],
)
def test_lossy_levers_round_and_stay_within_their_budget(
    name: str, family: str, task: str, least: float
) -> None:
    found = checked(name, family, task)
    assert found.ok, found.detail
    assert least < found.relative_error < lever_named(name).budget


def dynamic() -> Any:
    return lever_named("quantization_dynamic")


needs_fbgemm = pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="this torch has no FBGEMM"
)


@needs_fbgemm
def test_a_cpu_multiplies_int8_by_its_own_kernel() -> None:
    base = toy()
    expected, before = reference_of(base), operators(base.run)
    with dynamic().apply(base) as changed:
        seen = operators(changed.run)
        found = check_outputs(changed, expected, "lossy", budget=dynamic().budget)
        first = base.models[""][0]
        assert first(input=torch.ones(64)).shape == (64,)  # one dimension, by name
    assert found.ok, found.detail
    assert found.relative_error > 1e-3
    assert seen["quantized::linear_dynamic"] == before["aten::linear"]
    assert "quantized::linear_dynamic" not in operators(base.run)


@needs_fbgemm
def test_the_kernel_serves_where_it_fits_most_of_the_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = toy()  # 64 x 64 and 64 x 32
    base.models[""][1].bfloat16()
    assert dynamic().applies(base, "cpu") == ""
    base.models[""][0].bfloat16()
    base.models[""][1].float()
    monkeypatch.setattr(lever_quantization, "has_torchao", lambda: False)
    assert dynamic().applies(base, "cpu").startswith("needs torchao")
    with pytest.raises(NotApplicableError, match="needs torchao"), dynamic().apply(base):
        pytest.fail("a lever without its library was applied")


@needs_fbgemm
def test_a_row_of_large_activations_does_not_cost_the_others_their_steps() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 64), torch.randn(4, 64)
    x[0] *= 1000
    product = candidate_named("int8 dynamic").make(layer, 4)
    with torch.no_grad():
        made, exact = product(x), layer(x)
        alone = product(x[1:2])
    errors = (made - exact).norm(dim=1) / exact.norm(dim=1)
    assert errors.max() < 0.05
    assert torch.allclose(alone, made[1:2], atol=0.05)
    assert torch.equal(product(torch.zeros(2, 64)), layer.bias.expand(2, -1))


@needs_fbgemm
def test_int8_with_a_wrong_scale_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    base = toy()
    expected, right = reference_of(base), products.int8_scales
    monkeypatch.setattr(products, "int8_scales", lambda weight: right(weight) * 0.7)
    with dynamic().apply(base) as changed:
        assert not check_outputs(changed, expected, "lossy", budget=dynamic().budget).ok


def test_weights_beyond_float16_are_caught() -> None:
    base = toy()
    with torch.no_grad():
        base.models[""][0].weight[0, 0] = 1e6
    expected = reference_of(base)
    with lever_named("fp16_weights").apply(base) as changed:
        found = check_outputs(changed, expected, "lossy", budget=0.01)
    assert not found.ok


def test_int4_numbers_of_a_group() -> None:
    # one group from -8 to 7 in steps of one: scale 1, and q = 8 means 0
    weight = torch.cat([torch.arange(-8.0, 8), torch.zeros(16)])[None]
    numbers, meant = products.int4_numbers(weight)
    assert numbers[0, :16].tolist() == list(range(16))
    assert numbers[0, 16:].tolist() == [8] * 16
    assert meant.tolist() == [[[1.0, 0.0]]]


def scaled_wrongly(layer: Any, rows: int) -> Any:
    multiply = products.fp16_weights(layer, rows)
    return lambda x: multiply(x) * 1.02


def with_groups_swapped(layer: Any, rows: int) -> Any:
    twin = nn.Linear(*reversed(layer.weight.shape), bias=False)
    twin.weight = nn.Parameter(layer.weight.detach().roll(products.GROUP, dims=1))
    return products.int4_weights(twin, rows)


@pytest.mark.parametrize(
    ("broken", "budget"),
    [
        (scaled_wrongly, lever_named("fp16_weights").budget),
        (with_groups_swapped, lever_named("quantization_int4").budget),
    ],
)
def test_a_wrong_scale_and_swapped_groups_are_caught(broken: Any, budget: float) -> None:
    expected, base = reference("llama"), workload("llama")
    with multiplying(base, doing("broken", broken), heads=False) as changed:
        found = check_outputs(changed, expected, "lossy", budget=budget)
    assert not found.ok
    assert "above the budget" in found.detail


@pytest.mark.parametrize(
    ("name", "device", "reason"),
    [
        ("float8", "cpu", "cpu has no float8 units"),
        ("fp16_weights", "cuda", "the lever dtype halves activations as well"),
        ("quantization_int4", "xpu", "no int4 kernel for xpu"),
        ("quantization_int4", "cuda", "apply dtype first"),
    ],
)
def test_a_lever_says_what_is_missing(name: str, device: str, reason: str) -> None:
    assert reason in lever_named(name).applies(workload("llama"), device)


def test_a_compiler_takes_a_product_as_one_operator() -> None:
    base = toy()
    one = torch.randn(1, 64)
    with torch.no_grad(), multiplying(base, candidate_named("fp16 weights"), heads=True):
        model = base.models[""]
        expected = model(one)
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        assert torch.equal(compiled(one), expected)
    torch.compiler.reset()


def test_a_kernel_that_reads_past_odd_weights_is_not_asked() -> None:
    assert "50 inputs" in candidate_named("int8 weights").why_not(nn.Linear(50, 8))
    assert "50 inputs" in candidate_named("int4 weights").why_not(nn.Linear(50, 16))


@pytest.mark.parametrize("candidate", [*EXACT, *LOSSY], ids=lambda c: c.name)
def test_activations_need_not_be_contiguous(candidate: Candidate) -> None:
    layer = nn.Linear(64, 32)
    if reason := candidate.why_not(layer):
        pytest.skip(reason)
    apart = torch.randn(64, 3).t()  # three rows, each spread over the memory
    multiply = candidate.make(layer, 3)
    with torch.no_grad():
        assert torch.allclose(multiply(apart), multiply(apart.contiguous()), atol=1e-5)


# The cache.


def test_a_rounded_cache_takes_a_quarter_and_keeps_what_it_rounded() -> None:
    states = torch.randn(1, 2, 5, 64)
    kept = Rounded(states)
    first = kept.restored()
    # numbers of one byte, and a scale of four for each 64 of them
    held = kept.numbers.nbytes + kept.scales.nbytes
    assert held == states.numel() + states.numel() // 64 * 4
    assert bool(((first - states).abs() <= kept.scales / 2 * 1.0001).all())
    kept.append(torch.randn(1, 2, 1, 64) * 100)
    assert torch.equal(
        kept.restored()[:, :, :5], first
    )  # a larger token does not change the scales before


def test_an_int8_layer_does_what_caches_are_asked_for() -> None:
    layer = Int8Layer()
    assert layer.get_seq_length() == 0
    keys, values = torch.randn(2, 1, 3, 4), torch.randn(2, 1, 3, 4)
    assert layer.update(keys, values)[0] is keys
    new = torch.randn(2, 1, 1, 4)
    every, _ = layer.update(new, new)
    assert every.shape == (2, 1, 4, 4)
    assert torch.equal(every[:, :, 3:], new)
    layer.reorder_cache(torch.tensor([1, 1]))
    assert torch.equal(layer.kept[0].restored()[0], layer.kept[0].restored()[1])
    layer.crop(-2)
    assert layer.get_seq_length() == 2
    layer.batch_select_indices(torch.tensor([0]))
    layer.batch_repeat_interleave(3)
    assert layer.kept[1].numbers.shape == (3, 1, 2, 4)
    layer.reset()
    assert layer.get_seq_length() == 0


def test_the_lever_fills_int8_caches_and_puts_the_preparation_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base, kept = workload("llama"), []
    model, append = base.models[""], Rounded.append
    monkeypatch.setattr(Rounded, "append", lambda *args: kept.append(append(*args)))
    with lever_named("kv_cache_int8").apply(base) as changed:
        assert "_prepare_cache_for_generation" in vars(model)
        changed.run()
    # keys and values of each layer, at each step after the first
    assert len(kept) == 2 * len(model.model.layers) * (base.steps or 0)
    base.run()
    assert "_prepare_cache_for_generation" not in vars(model)
    assert len(kept) == 2 * len(model.model.layers) * (base.steps or 0)


def test_a_stale_scale_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(self: Rounded, states: Any) -> None:
        numbers, _ = Rounded(states).numbers, None
        self.numbers = torch.cat([self.numbers, numbers], dim=-2)
        self.scales = torch.cat([self.scales, self.scales[..., -1:, :] * 3], dim=-2)

    expected = reference("llama")
    monkeypatch.setattr(Rounded, "append", stale)
    lever = lever_named("kv_cache_int8")
    with lever.apply(workload("llama")) as changed:
        found = check_outputs(changed, expected, "lossy", budget=lever.budget)
    assert not found.ok


def test_a_model_without_a_cache_has_none_to_round() -> None:
    assert "no key-value cache" in lever_named("kv_cache_int8").applies(workload("hstu"), "cpu")


# Casts of weights.


def mixed() -> Workload:
    """A linear layer in bfloat16 by autocast, twice a request."""
    model = nn.Linear(8, 8).eval()
    x = torch.randn(2, 8)

    def run() -> object:
        made = []
        for _ in range(2):
            with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
                made.append(model(x))
        return made

    return Workload("mixed", {"": model}, run)


def test_weights_are_cast_once_with_equal_bits() -> None:
    base, lever = mixed(), lever_named("weight_casts")
    expected = reference_of(base)
    before = operators(base.run)["aten::_to_copy"]
    with lever.apply(base) as changed:
        assert base.models[""].weight.dtype == torch.bfloat16
        assert check_outputs(changed, expected, "identical").ok
        after = operators(changed.run)["aten::_to_copy"]
    # the activations are cast twice, weight and bias no longer
    assert (before, after) == (6, 2)
    assert base.models[""].weight.dtype == torch.float32


def test_a_weight_with_another_use_keeps_its_precision() -> None:
    base = mixed()
    model = base.models[""]

    def run() -> object:
        return [base.run(), model.weight.detach().sum(), model.bias.detach().sum()]

    with (
        pytest.raises(NotApplicableError, match="no weight is cast"),
        lever_named("weight_casts").apply(replace(base, run=run)),
    ):
        pass
