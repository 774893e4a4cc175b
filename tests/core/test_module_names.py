"""Modules that mmprof's tracer names by path and class: in tables, classes, phases and findings."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import ADD, GEMM
from mmprof.analyzers.analyses.idle_causes import idle_causes
from mmprof.analyzers.analyses.modules import modules
from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.classes import Activity, classify
from mmprof.analyzers.findings.evidence import main_place
from mmprof.analyzers.load import load
from mmprof.analyzers.module_names import (
    ModuleName,
    innermost_words,
    module_chain,
    module_kind,
    module_path,
    with_outer,
)
from mmprof.analyzers.phases import phase_spans
from mmprof.analyzers.view import View

ViewOf = Callable[[TraceBuilder], View]
ROOT = "nn.Module: LlamaForCausalLM (LlamaForCausalLM)"


def layer(number: int, part: str = "") -> str:
    path, kind = f"model.layers.{number}{part}", part.rpartition(".")[2] or "LlamaDecoderLayer"
    return f"nn.Module: {path} ({kind})"


def decode(t: TraceBuilder, *, at: int = 0, torch_modules: bool = False) -> None:
    """A root with a kernel of its own and two layers of an MLP with two kernels; 7 us of kernels."""
    if torch_modules:
        t.module("LlamaForCausalLM_0", at, at + 100_000)
    t.annotation(ROOT, at + 1, at + 99_999)
    with t.op("aten::add", at + 100, at + 3_000):
        t.launch(ADD, at=at + 1_000, call_ns=500, kernel=(at + 3_000, at + 4_000))
    for number, begin in ((0, at + 10_000), (1, at + 50_000)):
        if torch_modules:
            t.module(f"LlamaDecoderLayer_{number}", begin - 1, begin + 30_001)
            t.module(f"mlp_{number}", begin + 99, begin + 29_901)
        t.annotation(layer(number), begin, begin + 30_000)
        t.annotation(layer(number, ".mlp"), begin + 100, begin + 29_900)
        with t.op("aten::mm", begin + 1_000, begin + 9_000):
            t.launch(GEMM, at=begin + 2_000, call_ns=500, kernel=(begin + 5_000, begin + 7_000))
        with t.op("aten::add", begin + 10_000, begin + 19_000):
            t.launch(ADD, at=begin + 12_000, call_ns=500, kernel=(begin + 15_000, begin + 16_000))


@pytest.mark.parametrize("torch_modules", [False, True])
def test_the_tree_of_modules(view_of: ViewOf, torch_modules: bool) -> None:
    t = TraceBuilder()
    decode(t, torch_modules=torch_modules)
    result = modules(view_of(t))
    rows = [
        (r.module, r.module_class, r.depth, r.count, r.time_ns, r.total_time_ns)
        for r in result.modules
    ]
    assert rows == [
        ("LlamaForCausalLM", "LlamaForCausalLM", 1, 1, 1_000, 7_000),
        ("model.layers.0", "LlamaDecoderLayer", 2, 0, 0, 3_000),
        ("model.layers.0.mlp", "mlp", 3, 2, 3_000, 3_000),
        ("model.layers.1", "LlamaDecoderLayer", 2, 0, 0, 3_000),
        ("model.layers.1.mlp", "mlp", 3, 2, 3_000, 3_000),
    ]
    assert result.module_coverage == 1.0


def test_layers_are_taken_together(view_of: ViewOf) -> None:
    t = TraceBuilder()
    decode(t)
    t.launch(ADD, at=110_000, call_ns=500, kernel=(112_000, 113_000))
    rows = modules(view_of(t)).module_kinds
    assert [
        (r.pattern, r.module_class, r.modules, r.count, r.time_ns, r.total_time_ns) for r in rows
    ] == [
        ("LlamaForCausalLM", "LlamaForCausalLM", 1, 1, 1_000, 7_000),
        ("model.layers.*", "LlamaDecoderLayer", 2, 0, 0, 6_000),
        ("model.layers.*.mlp", "mlp", 2, 4, 6_000, 6_000),
        ("", "", 0, 1, 1_000, 1_000),
    ]


def test_instances_of_torchs_modules_are_taken_together(view_of: ViewOf) -> None:
    t = TraceBuilder()
    t.module("Model_0", 0, 50_000)
    for number, at in ((0, 1_000), (1, 20_000)):
        with t.module(f"Linear_{number}", at, at + 10_000):
            t.launch(GEMM, at=at + 1_000, call_ns=500, kernel=(at + 3_000, at + 5_000))
    rows = modules(view_of(t)).module_kinds
    assert [(r.pattern, r.module_class, r.modules, r.total_time_ns) for r in rows] == [
        ("Model_*", "Model", 1, 4_000),
        ("Model_*.Linear_*", "Linear", 2, 4_000),
    ]


def test_a_module_that_calls_itself_counts_once(view_of: ViewOf) -> None:
    t = TraceBuilder()
    outer, inner = "nn.Module: a (A)", "nn.Module: b (B)"
    for depth, name in enumerate((outer, inner, outer)):
        t.annotation(name, depth, 20_000 - depth)
    t.launch(GEMM, at=1_000, call_ns=500, kernel=(3_000, 5_000))
    rows = modules(view_of(t)).modules
    assert [(r.module, r.depth, r.time_ns, r.total_time_ns) for r in rows] == [
        ("a", 1, 2_000, 2_000),
        ("b", 2, 0, 2_000),
    ]


@pytest.mark.parametrize(
    ("module", "kernel", "expected"),
    [
        ("model.norm (LlamaRMSNorm)", "vectorized_elementwise_kernel", "normalization"),
        (
            "model.layers.3.mlp.act_fn (SiLUActivation)",
            "vectorized_elementwise_kernel",
            "activation",
        ),
        ("model.embed_tokens (Embedding)", "vectorized_elementwise_kernel", "embedding"),
        ("model.rotary_emb (LlamaRotaryEmbedding)", "vectorized_elementwise_kernel", "rope"),
        (
            "model.layers.0.final_layer_norm (Wrapped)",
            "vectorized_elementwise_kernel",
            "normalization",
        ),
        ("model.norm.proj (Linear)", "vectorized_elementwise_kernel", "elementwise"),
        ("model.norm.proj (Linear)", "ampere_sgemm_128x64_tn", "linear"),
    ],
)
def test_class_and_last_part_decide_the_class_of_a_kernel(
    module: str, kernel: str, expected: str
) -> None:
    assert classify(Activity(name=kernel, kind="kernel", modules=(module,))).cls == expected


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("model.layers.0.self_attn (LlamaAttention)", "attention"),
        ("model.layers.0.self_attn (Wrapped)", "attention"),
        # its parent is attention: its product is not QK^T
        ("model.layers.0.self_attn.q_proj (Linear)", "linear"),
    ],
)
def test_only_the_module_itself_is_an_attention(module: str, expected: str) -> None:
    product = Activity(
        name="ampere_bf16_gemm",
        kind="kernel",
        operators=("aten::bmm",),
        modules=(module,),
        dims="[[16, 1, 64], [16, 64, 128]]",
    )
    assert classify(product).cls == expected


def test_findings_name_the_kind_of_module(view_of: ViewOf) -> None:
    t = TraceBuilder()
    decode(t)
    view = view_of(t)
    largest = view.activities.sort("own_ns", descending=True)
    place = main_place(view, largest["launch"], largest["own_ns"])
    assert place == "aten::mm in model.layers.*.mlp"


def test_gaps_name_the_innermost_module(view_of: ViewOf) -> None:
    t = TraceBuilder()
    decode(t)
    gaps = idle_causes(view_of(t)).largest_gaps
    assert {gap.module for gap in gaps} == {"model.layers.0.mlp", "model.layers.1.mlp"}


@pytest.mark.parametrize("torch_modules", [False, True])
def test_phases_by_repetition(torch_modules: bool, tmp_path) -> None:
    t = TraceBuilder()
    for number, tokens in enumerate((9, 1, 1)):
        at = number * 200_000
        decode(t, at=at, torch_modules=torch_modules)
        t.op("aten::embedding", at + 5_000, at + 6_000, dims=[[100, 8], [1, tokens]])
    spans = phase_spans(load(t.write(tmp_path / "trace.json")))
    assert spans.select("phase", "index").rows() == [("prefill", 0), ("decode", 0), ("decode", 1)]
    lengths = set((spans["end_ns"] - spans["start_ns"]).to_list())
    assert lengths == {100_000 if torch_modules else 99_998}


def test_a_window_error_does_not_list_every_module(tmp_path) -> None:
    t = TraceBuilder()
    decode(t)
    t.annotation("generate", 0, 120_000)
    trace = load(t.write(tmp_path / "trace.json"))
    with pytest.raises(Exception, match="no phase or annotation") as caught:
        list(views(trace, Options(window="decode")))
    assert caught.value.found == "generate"  # type: ignore[attr-defined]


def test_a_window_may_be_a_module(tmp_path) -> None:
    t = TraceBuilder()
    decode(t)
    trace = load(t.write(tmp_path / "trace.json"))
    view = next(views(trace, Options(window=layer(1))))
    assert view.busy_ns == 3_000


def test_names() -> None:
    names = ("model.layers.12.mlp (LlamaMLP)", "model (LlamaModel)")
    assert module_chain(names) == (
        ModuleName("model", "LlamaModel", "model"),
        ModuleName("model.layers.12.mlp", "LlamaMLP", "model.layers.*.mlp"),
    )
    assert module_path(names) == "model.layers.12.mlp"
    assert innermost_words(names) == ("LlamaMLP", "mlp")
    assert module_chain(("Linear_3", "Model_0")) == (
        ModuleName("Model_0", "Model", "Model_*"),
        ModuleName("Model_0.Linear_3", "Linear", "Model_*.Linear_*"),
    )
    assert innermost_words(("Linear_3",)) == ("Linear_3",)
    assert (module_chain(()), module_path(()), innermost_words(())) == ((), "", ())
    assert [module_kind(n) for n in (names[0], "Linear_3", "Net")] == [
        "model.layers.*.mlp",
        "Linear",
        "Net",
    ]


@pytest.mark.parametrize("path", ["a b (c)", "tables.item (clicked)", "<b>[red]|", "x"])
def test_paths_hold_any_key_of_a_module_dict(path: str) -> None:
    assert module_chain((f"{path} (Linear)",)) == (ModuleName(path, "Linear", path),)


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        (("Linear_0",), "Model_0", ("Linear_0", "Model_0")),
        (("a.b (B)",), "a (A)", ("a.b (B)", "a (A)")),
        (("Linear_0", "Net_0"), "a (A)", ("a (A)",)),
        (("a (A)",), "Model_0", ("a (A)",)),
        ((), "Model_0", ("Model_0",)),
    ],
)
def test_the_tracers_names_come_first(
    inner: tuple[str, ...], outer: str, expected: tuple[str, ...]
) -> None:
    assert with_outer(inner, outer) == expected


@pytest.mark.parametrize(
    ("name", "unwrapped"),
    [
        ("_orig_mod.layers.0.mlp (MLP)", "layers.*.mlp"),
        ("layers.0._orig_mod (Block)", "layers.*"),
        ("layers.0._checkpoint_wrapped_module.mlp (MLP)", "layers.*.mlp"),
        ("_orig_mod (Llama)", "Llama"),
        ("OptimizedModule (OptimizedModule)", "OptimizedModule"),
        ("my_orig_mod.mlp (MLP)", "my_orig_mod.mlp"),
        ("OptimizedModule_0", "OptimizedModule"),
    ],
)
def test_a_wrapper_is_no_part_of_a_module(name: str, unwrapped: str) -> None:
    assert module_chain([name])[-1].unwrapped == unwrapped


def test_torchs_names_lose_the_wrapper_as_well() -> None:
    assert module_chain(["Llama_0", "OptimizedModule_0"])[-1].unwrapped == "Llama_*"
