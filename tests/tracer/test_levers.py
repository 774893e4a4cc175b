"""Levers on the families' models: where they apply, what they keep, that they are undone; and broken ones are caught."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.findings import registry as finding_rules
from mmprof.analyzers.whatif.by_hand import BY_HAND
from mmprof.tracer.lever import LAYERS, NotApplicableError
from mmprof.tracer.lever_registry import ALIASES, lever_named, levers, levers_by_word
from mmprof.tracer.workload import Workload

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import own_levers  # noqa: E402
from lever_checks import checked, reference, workload  # noqa: E402

from mmprof.tracer.lever_models import attribute, converted  # noqa: E402
from mmprof.tracer.verify_outputs import (  # noqa: E402
    check_outputs,
    outputs_of,
    reference_of,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


def test_every_lever_tells_about_itself() -> None:
    for name, lever in levers().items():
        assert name == lever.id
        assert lever.layer in LAYERS
        assert lever.summary
        assert lever.hurts
        assert (lever.budget > 0) == (lever.exactness == "lossy")


def test_aliases_name_levers_and_unknown_words_are_told_the_nearest() -> None:
    assert set(ALIASES.values()) <= set(levers())
    assert lever_named("BF16") is levers()["dtype"]
    assert list(levers_by_word(["sdpa", "SDPA", "compile"])) == ["sdpa", "compile"]
    with pytest.raises(MmprofError, match=r"did you mean 'torch_compile'\?"):
        lever_named("torch_compil")


def test_findings_name_levers_that_are_there_or_that_no_model_change_can_pull() -> None:
    elsewhere = {advice.id for advice in BY_HAND} | {"padding"}
    named = {rule.lever for rule in finding_rules.rules().values() if rule.lever}
    assert named <= set(levers()) | elsewhere


def test_listing_levers_imports_no_torch() -> None:
    code = "import sys; from mmprof.tracer.lever_registry import levers; levers(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "family", "task", "reason"),
    [
        ("sdpa", "hstu", "", "no attention with softmax"),
        ("static_kv_cache", "hstu", "", "no model of transformers that generates"),
        ("static_kv_cache", "seamless", "T-T", "does not support a static cache"),
        ("torch_compile", "seamless", "T-T", "beam search (5 beams) never calls the compiled step"),
        ("cuda_graphs", "llama", "", "needs a CUDA device"),
        ("tf32", "llama", "", "needs an NVIDIA GPU"),
        ("cache_reorder", "llama", "", "no beam search"),
        ("encoder_memo", "llama", "", "no encoder of an encoder-decoder model"),
        ("channels_last", "llama", "", "no convolution over one or two extents"),
    ],
)
def test_a_lever_says_why_it_does_not_apply(name: str, family: str, task: str, reason: str) -> None:
    assert reason in lever_named(name).applies(workload(family, task), "cpu")


@pytest.mark.parametrize(
    ("name", "family", "task", "reason"),
    [
        ("encoder_memo", "seamless", "T-T", "no encoder runs twice"),
        ("static_kv_cache", "chameleon", "T-I", "its loop is not transformers' generate"),
    ],
)
def test_what_only_a_run_can_show_is_no_success(
    name: str, family: str, task: str, reason: str
) -> None:
    with (
        lever_named(name).apply(workload(family, task)) as changed,
        pytest.raises(NotApplicableError, match=reason),
    ):
        changed.run()


@pytest.mark.parametrize("name", ["encoder_memo", "cache_reorder"])
def test_seamless_without_its_double_work_gives_equal_bits(name: str) -> None:
    assert checked(name, "seamless", "S-S").outputs_equal


def test_the_memo_encodes_speech_once() -> None:
    base = workload("seamless", "S-S")
    encoder = base.models[""].speech_encoder
    calls: list[int] = []
    counted = counting(encoder.encoder.layers[0].forward, calls)
    with attribute(encoder.encoder.layers[0], "forward", counted):
        base.run()
        assert len(calls) == 2
        with lever_named("encoder_memo").apply(base) as changed:
            changed.run()
    assert len(calls) == 3


def test_the_reorder_leaves_the_cross_attention_cache() -> None:
    base = workload("seamless", "T-T")
    moved: list[int] = []
    selecting = counting(torch.Tensor.index_select, moved)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "index_select", selecting)
        base.run()
        whole = len(moved)
        moved.clear()
        with lever_named("cache_reorder").apply(base) as changed:
            changed.run()
    # keys and values of two caches, of which one is left
    assert 0 < len(moved) < whole


multiplies_float32 = pytest.mark.skipif(
    torch.cpu._is_amx_tile_supported(),
    reason="on a CPU with AMX the lever says that it does not apply",
)


def counting(function: Callable[..., Any], calls: list[int]) -> Callable[..., Any]:
    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return function(*args, **kwargs)

    return counted


@pytest.mark.parametrize(
    ("name", "family", "task"),
    [
        ("sdpa", "llama", ""),
        ("sdpa", "seamless", "S-S"),
        ("sdpa", "diffusion", ""),
        ("static_kv_cache", "llama", ""),
        ("channels_last", "diffusion", ""),
        pytest.param("onednn_matmul", "hstu", "", marks=[multiplies_float32]),
    ],
)
def test_reassociation_is_rounding(name: str, family: str, task: str) -> None:
    found = checked(name, family, task)
    assert found.ok, found.detail
    assert found.relative_error < 1e-5
    assert found.agreement in {None, 1.0}


@pytest.mark.parametrize("has_amx", [False, True])
def test_products_are_not_routed_where_they_would_become_bfloat16(
    monkeypatch: pytest.MonkeyPatch, *, has_amx: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    refused = lever_named("onednn_matmul").applies(workload("hstu"), "cpu")
    assert ("AMX" in refused) == has_amx


@pytest.mark.parametrize(
    ("name", "family"),
    [("dtype", "llama"), ("dtype", "hstu"), ("quantization_weight_only", "llama")],
)
def test_lossy_levers_tell_what_they_cost(name: str, family: str) -> None:
    if name.startswith("quantization"):
        pytest.importorskip("torchao")
    found = checked(name, family)
    assert found.ok, found.detail
    assert 1e-4 < found.relative_error < lever_named(name).budget
    assert 20 < found.snr_db < 80


@pytest.mark.parametrize("family", ["llama", "hstu"])
def test_a_lever_leaves_no_trace(family: str) -> None:
    base = workload(family)
    before = snapshot(base)
    for lever in levers().values():
        if lever.id in {"torch_compile", "compile_regional", "flex_attention"} or lever.applies(
            base, "cpu"
        ):
            continue
        # what only a run can show not to apply must be undone as well
        with suppress(NotApplicableError), lever.apply(base) as changed:
            changed.run()
        assert snapshot(base) == before, lever.id
    assert torch.equal(
        *(next(iter(outputs_of(made).values())) for made in (base.run(), base.run()))
    )


def hooks(module: Any) -> int:
    return len(module._forward_pre_hooks) + len(module._forward_hooks)


def snapshot(base: Workload) -> list[tuple[object, ...]]:
    """What of the models a lever could have left changed: parameters by identity, own attributes, hooks."""
    return [
        (
            path,
            sorted(vars(module)),
            [id(p) for p in module.parameters(recurse=False)],
            hooks(module),
        )
        for model in base.models.values()
        for path, module in model.named_modules()
    ]


@pytest.mark.parametrize(
    "order", [("static_kv_cache", "torch_compile"), ("torch_compile", "static_kv_cache")]
)
def test_a_static_cache_does_not_turn_compilation_off(order: tuple[str, str]) -> None:
    base = workload("llama")
    first, second = map(lever_named, order)
    with first.apply(base) as changed, second.apply(changed):
        options, _ = base.models[""]._prepare_generation_config(None)
    assert options.cache_implementation == "static"
    assert not options.disable_compile
    with lever_named("static_kv_cache").apply(base):
        assert base.models[""]._prepare_generation_config(None)[0].disable_compile


def test_conversion_keeps_tied_weights_tied() -> None:
    one, two = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    two.weight = one.weight
    with converted([one, two], lambda t: t.to(torch.bfloat16)):
        assert two.weight is one.weight
        assert one.weight.dtype == torch.bfloat16
    assert one.weight.dtype == torch.float32


@contextmanager
def attention_changed(base: Workload, change: Callable[[Any], Any]) -> Iterator[Workload]:
    """The workload with the arguments of every attention changed."""
    layers = [layer.self_attn for layer in base.models[""].model.layers]
    before = [vars(layer).get("forward") for layer in layers]
    for layer in layers:
        vars(layer)["forward"] = change(layer.forward)
    try:
        yield base
    finally:
        for layer, own in zip(layers, before, strict=True):
            assert own is None
            del vars(layer)["forward"]


def without_mask(forward: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: forward(*args, **{**kwargs, "attention_mask": None})


def with_stale_keys(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The newest key is that of the token before."""

    def stale(*args: Any, **kwargs: Any) -> Any:
        cache = kwargs["past_key_values"]

        class Stale:
            def update(self, keys: Any, values: Any, *rest: Any, **more: Any) -> Any:
                keys, values = cache.update(keys, values, *rest, **more)
                if keys.shape[-2] > 16:  # a decode step
                    keys = torch.cat([keys[:, :, :-1], keys[:, :, -2:-1]], dim=2)
                return keys, values

        return forward(*args, **{**kwargs, "past_key_values": Stale()})

    return stale


@pytest.mark.parametrize("broken", [without_mask, with_stale_keys])
def test_a_wrong_mask_and_a_stale_cache_are_caught(broken: Callable[..., Any]) -> None:
    expected = reference("llama")
    with attention_changed(workload("llama"), broken) as changed:
        found = check_outputs(changed, expected, "reassociation")
    assert not found.ok
    assert "above what another order of additions makes" in found.detail


def test_a_scale_wrong_by_a_thousandth_is_caught_though_every_token_is_right() -> None:
    base, expected = workload("llama"), reference("llama")
    layers = [layer.self_attn for layer in base.models[""].model.layers]
    before = layers[0].scaling
    try:
        for layer in layers:
            layer.scaling = before * 1.001
        found = check_outputs(base, expected, "reassociation")
    finally:
        for layer in layers:
            layer.scaling = before
    assert found.outputs_equal
    assert not found.ok


def test_one_bit_is_not_identical() -> None:
    base = Workload("ones", {}, lambda: torch.ones(3))
    with own_levers.ONE_BIT.apply(base) as changed:
        found = check_outputs(changed, reference_of(base), "identical")
    assert not found.ok
    assert found.detail == "not equal in every bit: output"


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (torch.tensor([1, 2, 4]), "output differs"),
        (torch.tensor([1, 2]), "output has the shape (2,), not (3,)"),
        ([torch.tensor([1, 2, 3])], "output is missing"),
    ],
)
def test_integers_have_no_tolerance(made: object, told: str) -> None:
    base = Workload("tokens", {}, lambda: torch.tensor([1, 2, 3]))
    found = check_outputs(replace(base, run=lambda: made), reference_of(base), "lossy", budget=9.0)
    assert not found.ok
    assert found.detail.startswith(told)


def test_a_masked_logit_hides_no_error() -> None:
    masked = torch.tensor([1.0, 2.0, torch.finfo(torch.float32).min])
    wrong = torch.tensor([1.0, 2.2, torch.finfo(torch.float32).min])
    base = Workload("masked", {}, lambda: masked)
    found = check_outputs(replace(base, run=lambda: wrong), reference_of(base), "reassociation")
    # 0.2 over the norm of (1, 2)
    assert found.relative_error == pytest.approx(0.2 / 5**0.5)
    assert not found.ok


def test_not_a_number_is_never_ok() -> None:
    base = Workload("ones", {}, lambda: torch.ones(2))
    broken = replace(base, run=lambda: torch.tensor([1.0, torch.nan]))
    found = check_outputs(broken, reference_of(base), "lossy", budget=0.5)
    assert not found.ok
    assert found.relative_error is None


def test_a_baseline_that_differs_from_itself_asks_for_no_equal_bits() -> None:
    values = iter([1.0, 1.0 + 1e-6, 1.0, 1.0])
    base = Workload("drifting", {}, lambda: torch.tensor([next(values)]))
    kept = reference_of(base)
    assert not kept.deterministic
    assert check_outputs(base, kept, "identical").ok
