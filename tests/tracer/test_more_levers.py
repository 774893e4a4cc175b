"""Levers of masks, heads and shared tables: what they change, what they keep, that they are undone; broken ones are caught."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fixtures.builder import TraceBuilder
from mmprof.analyzers.view import View
from mmprof.analyzers.whatif import Replay
from mmprof.analyzers.whatif.precision import half_head
from mmprof.tracer.families import families, request_for
from mmprof.tracer.lever_registry import lever_named
from mmprof.tracer.order import Wish
from mmprof.tracer.workload import Workload

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from lever_checks import checked, operators, workload  # noqa: E402
from torch.nn.attention import flex_attention as flex  # noqa: E402
from transformers.integrations.flex_attention import WrappedFlexAttention  # noqa: E402

from mmprof.tracer import lever_flex, lever_tables  # noqa: E402
from mmprof.tracer.lever_models import transformers_models  # noqa: E402
from mmprof.tracer.lever_tables import heads  # noqa: E402
from mmprof.tracer.verify_outputs import check_outputs, reference_of  # noqa: E402

ViewOf = Callable[[TraceBuilder], View]
Kernel = Callable[..., Any]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


def parameters(base: Workload) -> dict[str, int]:
    return {
        f"{name}.{path}": id(parameter)
        for name, model in base.models.items()
        for path, parameter in model.named_parameters()
    }


# flex_attention.


class Kernels:
    """flex_attention as it is written, in the place of its compiled form: the compiler's code is its own matter."""

    def __init__(self) -> None:
        self.masks: list[bool] = []
        self.change: Callable[[dict[str, Any]], dict[str, Any]] = dict

    def __call__(self, *tensors: Any, **options: Any) -> Any:
        self.masks.append(options["block_mask"] is not None)
        return flex.flex_attention(*tensors, **self.change(options))


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernels]:
    made = Kernels()
    monkeypatch.setattr(flex, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    monkeypatch.setattr(WrappedFlexAttention, "__call__", lambda self: made)
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    yield made
    WrappedFlexAttention._instance = None


@pytest.mark.parametrize(("family", "task"), [("llama", ""), ("chameleon", "IT-T")])
def test_every_attention_is_one_masked_kernel(family: str, task: str, kernels: Kernels) -> None:
    base = workload(family, task)
    (model,) = transformers_models(base)
    before = parameters(base)
    found = checked("flex_attention", family, task)
    assert found.ok, found.detail
    layers = model.config.get_text_config().num_hidden_layers
    assert len(kernels.masks) % layers == 0
    assert all(kernels.masks[:layers])  # prefill
    assert model.config._attn_implementation == "eager"
    assert parameters(base) == before
    kernels.masks.clear()
    base.run()
    assert kernels.masks == []


def without_mask(options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "block_mask": None}


def scaled(options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "scale": options["scale"] * 1.001}


@pytest.mark.parametrize("change", [without_mask, scaled])
def test_a_wrong_mask_and_a_wrong_scale_are_caught(change: Any, kernels: Kernels) -> None:
    kernels.change = change
    assert not checked("flex_attention", "llama").ok


@pytest.mark.parametrize(
    ("family", "task", "device", "reason"),
    [
        ("hstu", "", "cpu", "weights are a softmax, positive with the sum 1"),
        ("diffusion", "", "cpu", "its attention has no mask"),
        ("seamless", "T-T", "cpu", "ends the process in an encoder with relative positions"),
        ("seamless", "T-T", "cuda", ""),
    ],
)
def test_where_masks_are_structured(family: str, task: str, device: str, reason: str) -> None:
    found = lever_named("flex_attention").applies(workload(family, task), device)
    assert reason in found
    assert bool(reason) == bool(found)


def test_heads_that_the_kernel_gets_wrong_are_refused_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lever_flex, "WRONG_WIDTHS", (32,))
    applies = lever_named("flex_attention").applies
    assert applies(workload("llama"), "cpu").startswith("heads of 32 channels")
    assert applies(workload("llama"), "cuda") == ""


# The output head.


def test_the_head_reads_half_of_its_bytes() -> None:
    base = workload("llama")
    (head,) = heads(base)
    weight, before = head.layer.weight, parameters(base)
    # 1024 words of 128 channels; of what a step reads the embedding is no part
    assert head.read_bytes == 1024 * 128 * 4
    everything = sum(p.nbytes for p in base.models[""].parameters())
    assert head.step_bytes == everything - 1024 * 128 * 4
    with lever_named("head_dtype").apply(base) as changed:
        assert head.layer.weight.nbytes == head.read_bytes // 2
        kinds = {p.dtype for p in base.models[""].model.parameters()}
        assert kinds == {torch.float32}
        seen = operators(changed.run)
    assert head.layer.weight is weight
    assert parameters(base) == before
    # each of 8 steps rounds what the head reads, and gives its logits back in float32
    assert seen["aten::_to_copy"] - operators(base.run)["aten::_to_copy"] == 2 * 8


@pytest.mark.parametrize(("family", "task"), [("llama", ""), ("seamless", "T-T")])
def test_logits_of_a_rounded_head_are_within_the_budget(family: str, task: str) -> None:
    found = checked("head_dtype", family, task)
    assert found.ok, found.detail
    assert 1e-4 < found.relative_error < lever_named("head_dtype").budget


def test_a_tied_head_stays_tied() -> None:
    base = workload("seamless", "T-T")
    model = base.models[""]
    with lever_named("head_dtype").apply(base):
        assert model.lm_head.weight is model.shared.weight
        assert model.shared.weight.dtype == torch.bfloat16
        assert model.shared(torch.tensor([3])).dtype == torch.float32
    assert model.shared.weight.dtype == torch.float32


def test_a_wrong_scale_of_the_head_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    rounding = lever_tables._Rounding.__call__
    monkeypatch.setattr(
        lever_tables._Rounding, "__call__", lambda self, tensor: rounding(self, tensor) * 1.02
    )
    found = checked("head_dtype", "llama")
    assert not found.ok
    assert "above the budget" in found.detail


def test_a_head_is_left_alone_where_it_is_small_short_or_absent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    applies, llama = lever_named("head_dtype").applies, workload("llama")
    assert "no model that generates" in applies(workload("hstu"), "cpu")
    with lever_named("dtype").apply(llama):
        assert applies(llama, "cpu") == "the output head is not in float32"
    monkeypatch.setattr(lever_tables, "LEAST_SHARE", 0.5)
    assert applies(llama, "cpu") == (
        "the head is 14.0% of the bytes of a decode step; below 50% little is gained"
    )


FLOATS = ["float", "float"]
GEMM = "ampere_sgemm_128x64_tn"


def step(t: TraceBuilder, *, vocabulary: int) -> None:
    """Two layers of 8192 x 8192, 256 MiB each, of 100 us; and a head, of 4096 us."""
    shapes = [(8192, 100_000), (8192, 100_000), (vocabulary, 4_096_000)]
    at = 10_000
    for number, (width, dur_ns) in enumerate(shapes):
        dims, begin = [[1, 8192], [8192, width]], 3_000 * number
        with t.op("aten::mm", begin, begin + 2_500, dims=dims, types=FLOATS):
            t.launch(GEMM, at=begin + 500, call_ns=1_000, kernel=(at, at + dur_ns))
        at += dur_ns


def test_the_widest_layer_that_runs_once_a_step_reads_half(view_of: ViewOf) -> None:
    built = TraceBuilder()
    step(built, vocabulary=131_072)  # 4 GiB: 1.28 ms at 3.35 TB/s
    prediction, _ = half_head(Replay(view_of(built)))
    assert prediction
    # nearly all that the head moves are weights
    assert prediction.expected == pytest.approx(4_296 / (200 + 2_048), abs=1e-3)
    assert prediction.evidence.time_ns == 4_096_000
    assert prediction.low < prediction.expected


def test_layers_without_a_head_are_left_alone(view_of: ViewOf) -> None:
    built = TraceBuilder()
    step(built, vocabulary=8192)
    prediction, why = half_head(Replay(view_of(built)))
    assert prediction is None
    assert "runs once a step" in why


# Tables with equal values.


def copied() -> Workload:
    """A Llama whose head has the values of its embedding, in memory of its own."""
    family = families()["llama"]
    base = family.build(request_for(family, Wish(task="", settings=()), "cpu"))
    model = base.models[""]
    model.lm_head.weight.data = model.model.embed_tokens.weight.data.clone()
    return base


def stored_bytes(base: Workload) -> int:
    """Bytes of all parameters, those of one memory once."""
    stored = {p.data_ptr(): p.nbytes for model in base.models.values() for p in model.parameters()}
    return sum(stored.values())


def test_equal_tables_are_stored_once() -> None:
    base = copied()
    lever, expected = lever_named("weight_tying"), reference_of(base)
    before, whole = parameters(base), stored_bytes(base)
    assert lever.applies(base, "cpu") == ""
    with lever.apply(base) as changed:
        assert stored_bytes(base) == whole - 1024 * 128 * 4
        assert check_outputs(changed, expected, lever.exactness).outputs_equal
    assert parameters(base) == before
    assert stored_bytes(base) == whole
    assert check_outputs(base, expected, "identical").ok


def test_tables_tied_though_they_differ_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    base = copied()
    with torch.no_grad():
        base.models[""].lm_head.weight.neg_()
    assert "hold equal values" in lever_named("weight_tying").applies(base, "cpu")
    expected = reference_of(base)
    monkeypatch.setattr(lever_tables, "_equal", lambda one, other: one.shape == other.shape)
    with lever_named("weight_tying").apply(base) as changed:
        assert not check_outputs(changed, expected, "identical").ok


@pytest.mark.parametrize(
    ("family", "task", "reason"),
    [
        ("llama", "", "no two of the embeddings and output heads hold equal values"),
        ("seamless", "T-T", "tables with equal values share their memory already"),
    ],
)
def test_why_tables_are_not_tied(family: str, task: str, reason: str) -> None:
    assert lever_named("weight_tying").applies(workload(family, task), "cpu") == reason
