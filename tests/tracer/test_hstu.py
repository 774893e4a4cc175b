"""HSTU against its equations, written once more for one sequence and one position at a time in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mmprof.tracer.workload import Request
from mmprof.tracer.workloads.hstu import FAMILY

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

import mmprof  # noqa: E402
from mmprof.tracer.models.generation import on_meta, random_model  # noqa: E402
from mmprof.tracer.models.hstu import (  # noqa: E402
    ActionRanker,
    History,
    HstuConfig,
    HstuEncoder,
    JaggedLayout,
    RelativeBias,
)
from mmprof.tracer.models.hstu_workload import (  # noqa: E402
    history_lengths,
    hstu_config,
    random_history,
)

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = {option.name: option.default for option in FAMILY.options}
TOLERANCES = {"float32": 1e-5, "bfloat16": 6e-2, "float16": 1e-2}
"""Of the norm of all states, over all layers; at most 2e-6, 3.7e-2 and 5.4e-3 were seen."""


def request(size: str = "tiny", **changes: Any) -> Request:
    options = OPTIONS | changes.pop("options", {})
    return Request("H-A", size, options=options, **changes)


def case(config: HstuConfig, lengths: list[int], dtype: str = "float32") -> tuple[Any, History]:
    model = random_model(lambda: HstuEncoder(config), request(dtype=dtype))
    return model, random_history(config, lengths, torch.Generator().manual_seed(1))


def sequences(history: History) -> list[History]:
    """Each sequence of a jagged batch as a batch of its own."""
    ends = history.lengths.cumsum(0).tolist()
    starts = [0, *ends[:-1]]
    return [
        History(*(part[a:b] for part in history[:3]), torch.tensor([b - a]), b - a)
        for a, b in zip(starts, ends, strict=True)
    ]


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm())


# -- the equations ---------------------------------------------------------------------------------------------------


def norm(x: torch.Tensor, scale: Any = 1.0, shift: Any = 0.0) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * scale + shift


def silu(x: torch.Tensor) -> torch.Tensor:
    return x / (1 + torch.exp(-x))


def bias_row(w: dict[str, torch.Tensor], layer: str, times: torch.Tensor, i: int) -> torch.Tensor:
    """Of query i for the keys 0 to i."""
    position, time = w[layer + "attention.bias.position"], w[layer + "attention.bias.time"]
    n = (len(position) + 1) // 2
    now = times[min(i + 1, len(times) - 1)]
    seconds = (now - times[: i + 1]).abs().clamp(min=1).double()
    bucket = (seconds.log() / 0.301).floor().clamp(max=128).long()
    return position[n - 1 - i : n] + time[bucket]  # distances -i to 0


def attend(
    w: dict[str, torch.Tensor], layer: str, config: HstuConfig, qkv: Any, times: torch.Tensor
) -> torch.Tensor:
    q, k, v = (part.view(len(times), config.heads, -1) for part in qkv)
    out = torch.zeros_like(v)
    for i in range(len(times)):
        scores = (k[: i + 1] * q[i]).sum(-1)
        if config.form == "research":
            scores = scores + bias_row(w, layer, times, i)[:, None]
        else:
            scores = scores / config.query_width**0.5
        weights = silu(scores) / config.max_length
        out[i] = (weights[:, :, None] * v[: i + 1]).sum(0)
    return out.flatten(1)


def embed(w: dict[str, torch.Tensor], config: HstuConfig, one: History) -> torch.Tensor:
    done = w["embedding.items.weight"][one.items] + w["embedding.actions.weight"][one.actions]
    x, index = done * config.width**0.5, torch.arange(len(one.items))
    if config.form == "research":
        return x + w["embedding.positions.weight"][index]
    minutes = (one.times[-1] - one.times).double() / 60
    bucket = minutes.sqrt().floor().clamp(max=2048).long()
    return x + w["embedding.positions.weight"][index.flip(0)] + w["embedding.ages.weight"][bucket]


def reference(model: Any, config: HstuConfig, one: History) -> torch.Tensor:
    """The states of one sequence, (length, width)."""
    w = {name: value.double() for name, value in model.state_dict().items()}
    x = embed(w, config, one)
    for number in range(config.layers):
        layer = f"layers.{number}."
        if config.form == "research":
            uvqk = silu(norm(x) @ w[layer + "uvqk.weight"].T)
            u, v, q, k = uvqk.split(config.widths, dim=1)
            o = attend(w, layer, config, (q, k, v), one.times)
            y = (norm(o) * u) @ w[layer + "output.weight"].T + w[layer + "output.bias"]
        else:
            scales = w[layer + "input_norm.weight"], w[layer + "input_norm.bias"]
            uvqk = norm(x, *scales) @ w[layer + "uvqk.weight"].T + w[layer + "uvqk.bias"]
            u, v, q, k = uvqk.split(config.widths, dim=1)
            u, o = silu(u), attend(w, layer, config, (q, k, v), one.times)
            scales = w[layer + "output_norm.weight"], w[layer + "output_norm.bias"]
            y = torch.cat([u, o, u * norm(o, *scales)], dim=1) @ w[layer + "output.weight"].T
        x = x + y
    return x


def check(config: HstuConfig, lengths: list[int], dtype: str = "float32") -> None:
    model, history = case(config, lengths, dtype)
    with torch.inference_mode():
        found = model(history)
    expected = torch.cat([reference(model, config, one) for one in sequences(history)])
    assert found.dtype == getattr(torch, dtype)
    assert relative_error(found, expected) < TOLERANCES[dtype]


# -- tests -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["research", "production"])
def test_equals_the_equations_at_the_default_shape_of_tiny(form: str) -> None:
    check(hstu_config("tiny", form=form), [200])


@pytest.mark.parametrize("form", ["research", "production"])
def test_equals_the_equations_on_a_jagged_batch(form: str) -> None:
    check(hstu_config("tiny", form=form), [1, 256, 3, 77])


@pytest.mark.parametrize(("size", "lengths"), [("small", [500]), ("full", [300, 500])])
def test_equals_the_equations_at_the_widths_of(size: str, lengths: list[int]) -> None:
    check(replace(hstu_config(size), items=1_000, layers=2), lengths)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("form", ["research", "production"])
def test_equals_the_equations_in_half_precision(dtype: str, form: str) -> None:
    check(hstu_config("tiny", form=form), [90, 40], dtype)


@pytest.mark.parametrize("form", ["research", "production"])
def test_a_sequence_does_not_depend_on_the_rest_of_its_batch(form: str) -> None:
    model, history = case(hstu_config("tiny", form=form), [5, 120, 60], "float64")
    with torch.inference_mode():
        together = model(history).split([5, 120, 60])
        alone = [model(one) for one in sequences(history)]
    for a, b in zip(together, alone, strict=True):
        assert relative_error(a, b) < 1e-12


def test_attention_is_causal() -> None:
    model, history = case(hstu_config("tiny"), [50])
    later = history._replace(items=history.items.clone())
    later.items[30] += 1
    with torch.inference_mode():
        a, b = model(history), model(later)
    assert torch.equal(a[:30], b[:30])
    assert not torch.equal(a[30:], b[30:])


def test_layout_of_a_jagged_batch() -> None:
    layout = JaggedLayout.of(torch.tensor([2, 1]), values=3, longest=2)
    assert layout.positions.tolist() == [0, 1, 0]
    assert layout.last.tolist() == [1, 1, 2]
    padded = layout.pad(torch.tensor([[5.0], [6.0], [7.0]]))
    assert padded.tolist() == [[[5.0], [6.0]], [[7.0], [0.0]]]
    assert layout.unpad(padded).tolist() == [[5.0], [6.0], [7.0]]


def test_position_bias_is_a_table_of_key_minus_query() -> None:
    bias = RelativeBias(max_length=3)
    bias.position.data = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])
    assert bias.by_position(2).tolist() == [[0.0, 1.0], [-1.0, 0.0]]
    assert bias.by_position(3).tolist() == [[0.0, 1.0, 2.0], [-1.0, 0.0, 1.0], [-2.0, -1.0, 0.0]]


def test_lengths_spread_evenly_around_the_mean() -> None:
    assert history_lengths(4_814, batch=1, spread=0.0637) == [4_814]
    assert history_lengths(4_814, batch=3, spread=0.0637) == [4_507, 4_814, 5_121]
    assert history_lengths(10, batch=2, spread=1.0) == [1, 20]


@pytest.mark.parametrize("size", FAMILY.sizes, ids=lambda size: size.name)
def test_parameters_are_as_declared(size: Any) -> None:
    config = hstu_config(size.name)
    models = [on_meta(lambda: HstuEncoder(config)), on_meta(lambda: ActionRanker(config))]
    assert sum(p.numel() for m in models for p in m.parameters()) == size.parameters


def test_equal_requests_give_equal_results_and_other_seeds_others() -> None:
    first, again, other = (FAMILY.build(request(seed=seed)).run() for seed in (0, 0, 1))
    assert all(map(torch.equal, first, again))
    assert not any(map(torch.equal, first, other))


def test_workload_says_what_it_runs() -> None:
    workload = FAMILY.build(request(batch=3, input_length=100, options={"spread": 0.5}))
    states, logits = workload.run()
    assert states.shape == (300, 50)
    assert logits.shape == (3, 10, 8)
    assert (workload.steps, workload.kv_cache_bytes) == (None, None)
    assert workload.arguments["values"] == 300
    assert (workload.arguments["shortest"], workload.arguments["longest"]) == (50, 150)
    assert workload.arguments["score_bytes"] == 3 * 2 * 150 * 150 * 4


def test_flops_by_hand() -> None:
    workload = FAMILY.build(request())
    with FlopCounterMode(display=False) as counter:
        workload.run()
    layer = 2 * 200 * 50 * 200 + 2 * 2 * 200 * 200 * 50 + 2 * 200 * 50 * 50  # UVQK, attention, out
    ranker = 10 * (2 * 50 * 50 + 2 * 50 * 8)
    assert counter.get_total_flops() == 8 * layer + ranker


def test_a_history_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match=r"longest history has 300 values, .* at most 256"):
        FAMILY.build(request(input_length=300))


def test_phases_are_found_in_a_trace(tmp_path: Path) -> None:
    workload = FAMILY.build(request())
    with torch.profiler.profile(record_shapes=True) as profile:
        workload.run()
    profile.export_chrome_trace(str(tmp_path / "hstu.json"))
    report = mmprof.analyze(tmp_path / "hstu.json")
    phases = report.devices[0].value("phases")
    assert {row.phase for row in phases if row.phase != "other"} == set(FAMILY.tasks[0].phases)
