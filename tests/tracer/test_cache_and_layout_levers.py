"""A cache that grows in place, convolutions with the channels innermost: what they change and keep; broken ones are caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch import nn  # noqa: E402
from transformers.cache_utils import DynamicCache, DynamicLayer  # noqa: E402

from mmprof.tracer import lever_caches  # noqa: E402
from mmprof.tracer.lever import NotApplicableError  # noqa: E402
from mmprof.tracer.lever_caches import appended_to, with_room  # noqa: E402
from mmprof.tracer.lever_registry import lever_named  # noqa: E402
from mmprof.tracer.verify_outputs import check_outputs, outputs_of, reference_of  # noqa: E402
from mmprof.tracer.workload import Workload  # noqa: E402
from tests.tracer.lever_checks import checked, operators, reference, workload  # noqa: E402

ROOM = 64


def states(*numbers: float) -> Any:
    """One batch, one head, a token a number, one channel."""
    return torch.tensor(numbers).view(1, 1, -1, 1)


def listed(tensor: Any) -> list[float]:
    return [float(number) for number in tensor.flatten()]


# The growing cache.


def test_tokens_are_written_behind_the_others() -> None:
    first, room = appended_to(torch.tensor([]), states(1, 2), None)
    assert room.shape[-2] == 2 + ROOM
    both, again = appended_to(first, states(3), room)
    assert again is room
    assert both.data_ptr() == first.data_ptr()
    assert listed(both) == [1, 2, 3]


def test_a_full_room_is_left_for_one_half_as_large_again() -> None:
    kept, room = appended_to(torch.tensor([]), states(*range(300)), None)
    assert room.shape[-2] == 450
    kept, room = appended_to(kept, states(*range(300, 451)), room)
    assert room.shape[-2] == 451 + 225
    assert listed(kept) == list(range(451))


def test_what_was_cropped_is_overwritten_in_place() -> None:
    kept, room = appended_to(torch.tensor([]), states(1, 2, 3), None)
    kept, again = appended_to(kept[..., :-2, :], states(7), room)
    assert again is room
    assert listed(kept) == [1, 7]


@pytest.mark.parametrize(
    "moved",
    [lambda kept: kept.clone(), lambda kept: kept[..., 1:, :], lambda kept: kept.index_select(0, torch.tensor([0, 0]))],
    ids=["copied", "without its first token", "two beams"],
)  # fmt: skip
def test_what_lies_elsewhere_gets_a_room_of_its_own(moved: Callable[[Any], Any]) -> None:
    kept, room = appended_to(torch.tensor([]), states(1, 2, 3), None)
    there = moved(kept)
    new = states(4).expand(there.shape[0], -1, -1, -1)
    after, other = appended_to(there, new, room)
    assert other is not room
    assert torch.equal(after, torch.cat([there, new], dim=-2))
    assert listed(kept) == [1, 2, 3]


def test_fewer_heads_do_not_write_into_the_room_of_all() -> None:
    both = states(1, 2).expand(-1, 2, -1, -1)
    kept, room = appended_to(torch.tensor([]), both, None)
    after, other = appended_to(kept[:, :1], states(3), room)
    assert other is not room
    assert listed(after) == [1, 2, 3]


def test_a_room_of_inference_mode_is_not_written_outside_of_it() -> None:
    with torch.inference_mode():
        kept, room = appended_to(torch.tensor([]), states(1), None)
    after, other = appended_to(kept, states(2), room)
    assert other is not room
    assert listed(after) == [1, 2]


def test_caches_do_what_they_did_before() -> None:
    told: list[object] = []
    copying = DynamicLayer.update
    with with_room(told):
        cache = DynamicCache()
        for number in range(3):
            keys, values = cache.update(states(number), states(-number), 0)
        cache.reorder_cache(torch.tensor([0]))
        keys, values = cache.update(states(3), states(-3), 0)
    assert (listed(keys), listed(values)) == ([0, 1, 2, 3], [0, -1, -2, -3])
    assert told
    assert DynamicLayer.update is copying


def test_gradients_need_the_copies() -> None:
    told: list[object] = []
    weight = torch.ones(1, requires_grad=True)
    with with_room(told):
        cache = DynamicCache()
        cache.update(states(1) * weight, states(2) * weight, 0)
        keys, _ = cache.update(states(3) * weight, states(4) * weight, 0)
    keys.sum().backward()
    assert weight.grad is not None
    assert float(weight.grad) == 4
    assert not told


@pytest.mark.parametrize(
    ("family", "task"), [("llama", ""), ("chameleon", "T-I"), ("chameleon", "I-T"), ("seamless", "T-T")]
)  # fmt: skip
def test_a_growing_cache_changes_no_output(family: str, task: str) -> None:
    found = checked("growing_kv_cache", family, task)
    assert found.ok, found.detail
    assert found.relative_error == 0


def test_the_copies_of_the_cache_are_gone() -> None:
    base = workload("llama")
    before = operators(base.run)["aten::cat"]
    with lever_named("growing_kv_cache").apply(base) as changed:
        after = operators(changed.run)["aten::cat"]
    layers = len(base.models[""].model.layers)
    assert before - after == 2 * layers * (
        1 + (base.steps or 0)
    )  # keys and values, prefill as well


def test_a_model_without_a_growing_cache_says_so() -> None:
    lever = lever_named("growing_kv_cache")
    assert "no key-value cache" in lever.applies(workload("hstu"), "cpu")
    base = replace(workload("llama"), run=lambda: torch.ones(1))
    with lever.apply(base) as changed, pytest.raises(NotApplicableError, match="grows"):
        changed.run()


def lost(kept: Any, new: Any, room: Any) -> Any:
    """Takes any room to hold what is kept."""
    del room
    after, made = appended_to(kept, new, None)
    before = after.shape[-2] - new.shape[-2]
    made[..., :before, :] = 0
    return after, made


def shifted(kept: Any, new: Any, room: Any) -> Any:
    """Writes each token over the last one."""
    return appended_to(kept[..., :-1, :] if kept.numel() else kept, new, room)


@pytest.mark.parametrize("broken", [lost, shifted])
def test_a_broken_room_is_caught(
    broken: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = reference("llama")
    monkeypatch.setattr(lever_caches, "appended_to", broken)
    with lever_named("growing_kv_cache").apply(workload("llama")) as changed:
        try:
            ok = check_outputs(changed, expected, "reassociation").ok
        except (IndexError, RuntimeError, ValueError):  # the lengths of keys and mask differ
            ok = False
    assert not ok


# Channels last.


class Line(nn.Module):
    """Convolutions over a line: padded, dilated, grouped, strided; and one that no image can stand for."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(4, 8, 3, padding=2, dilation=2),
            nn.LeakyReLU(),
            nn.Conv1d(8, 8, 5, groups=8, stride=2, bias=False),
            nn.Conv1d(8, 2, 3, padding=1, padding_mode="reflect"),
        )

    def forward(self, x: Any) -> Any:
        return self.layers(x)


def line() -> Any:
    torch.manual_seed(0)
    model, x = Line().eval(), torch.randn(2, 4, 40)

    def run() -> Any:
        with torch.no_grad():
            return model(x)

    return Workload("line", {"": model}, run)


def test_lines_become_images_one_pixel_high() -> None:
    base = line()
    expected = reference_of(base)
    with lever_named("channels_last").apply(base) as changed:
        found = check_outputs(changed, expected, "reassociation")
        seen = operators(changed.run)
        layers = base.models[""].layers
        weights = [layers[at].weight.unsqueeze(2) for at in (0, 2)]
        assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)
        alone = layers[0](torch.ones(4, 40))  # without a batch
        assert alone.shape == (8, 40)
    assert found.ok, found.detail
    assert (seen["aten::conv2d"], seen["aten::conv1d"]) == (2, 1)
    assert "aten::conv2d" not in operators(base.run)
    assert "forward" not in vars(base.models[""].layers[0])


@pytest.mark.parametrize(("family", "task"), [("seamless", "S-S"), ("chameleon", "T-I")])
def test_channels_innermost_is_rounding(family: str, task: str) -> None:
    found = checked("channels_last", family, task)
    assert found.ok, found.detail
    assert found.relative_error < 1e-5


def test_a_line_laid_out_wrongly_is_caught() -> None:
    base = line()
    expected = reference_of(base)
    with lever_named("channels_last").apply(base) as changed:
        first = base.models[""].layers[0]
        right = first.forward
        first.forward = lambda x: right(x).flip(-1)
        found = check_outputs(changed, expected, "reassociation")
        first.forward = right
    assert not found.ok
    assert outputs_of(base.run())
