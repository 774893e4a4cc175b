"""A cache that grows in place, convolutions with the channels innermost: what they change and keep; broken ones are caught."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch import nn  # noqa: E402
from transformers.cache_utils import DynamicLayer  # noqa: E402

from mmprof.tracer.lever import NotApplicableError  # noqa: E402
from mmprof.tracer.lever_caches import Room, with_room  # noqa: E402
from mmprof.tracer.lever_registry import lever_named  # noqa: E402
from mmprof.tracer.verify_outputs import check_outputs, reference_of  # noqa: E402
from mmprof.tracer.workload import Workload  # noqa: E402
from tests.tracer.lever_checks import checked, operators, reference, workload  # noqa: E402

WRITE = Room.write


def states(*numbers: float) -> Any:
    """One batch, one head, a token a number, one channel."""
    return torch.tensor(numbers).view(1, 1, -1, 1)


def listed(tensor: Any) -> list[float]:
    return [float(number) for number in tensor.flatten()]


@pytest.fixture
def grown() -> Iterator[list[object]]:
    """The sign that a layer appended in place, while all layers do and no gradient is recorded."""
    told: list[object] = []
    with with_room(told), torch.no_grad():
        yield told


def layer_with(*numbers: float) -> Any:
    layer = DynamicLayer()
    layer.update(states(*numbers), -states(*numbers))
    return layer


def appended(layer: Any, *numbers: float) -> list[float]:
    keys, values = layer.update(states(*numbers), -states(*numbers))
    assert listed(values) == [-number for number in listed(keys)]
    return listed(keys)


# The growing cache.


def test_tokens_are_written_behind_the_others(grown: list[object]) -> None:
    layer = layer_with(1, 2)
    begins = layer.keys.data_ptr()
    assert not grown  # nothing was appended yet
    assert appended(layer, 3) == [1, 2, 3]
    assert layer.keys.data_ptr() == begins
    assert grown


def test_a_full_room_is_left_for_one_half_as_large_again(grown: list[object]) -> None:
    layer = layer_with(*range(300))
    assert layer._mmprof_room.keys.shape[-2] == 450
    assert appended(layer, *range(300, 451)) == list(range(451))
    assert layer._mmprof_room.keys.shape[-2] == 451 + 225
    for more in range(451, 2000):
        layer.update(states(more), -states(more))
    assert listed(layer.keys) == list(range(2000))
    assert layer._mmprof_room.moves == 0


def test_what_was_cropped_is_overwritten_in_place(grown: list[object]) -> None:
    layer = layer_with(1, 2, 3)
    begins = layer.keys.data_ptr()
    layer.crop(-2)
    assert appended(layer, 7) == [1, 7]
    assert layer.keys.data_ptr() == begins
    layer.reset()
    assert appended(layer, 5) == [5]


def test_branches_of_one_state_do_not_see_each_other(grown: list[object]) -> None:
    layer = layer_with(1, 2)
    saved = (layer.keys, layer.values)
    other = copy.copy(layer)
    assert appended(layer, 7) == [1, 2, 7]
    seven = layer.keys
    assert appended(other, 9) == [1, 2, 9]
    layer.keys, layer.values = saved  # rolled back, not cropped
    assert appended(layer, 8) == [1, 2, 8]
    assert listed(seven) == [1, 2, 7]
    assert listed(copy.deepcopy(layer).keys) == [1, 2, 8]


@pytest.mark.parametrize(
    "move",
    [lambda layer: layer.reorder_cache(torch.tensor([0])), lambda layer: layer.batch_repeat_interleave(2)],
    ids=["reordered", "repeated"],
)  # fmt: skip
def test_what_lies_elsewhere_is_moved_twice_then_copied_as_before(
    move: Callable[[Any], None], grown: list[object]
) -> None:
    layer, expected = layer_with(1, 2), [1.0, 2.0]
    for more in range(5):
        move(layer)
        rows = layer.keys.shape[0]
        new = states(more).expand(rows, -1, -1, -1)
        keys, _ = layer.update(new, new)
        expected.append(float(more))
        assert [listed(row) for row in keys] == [expected] * rows
        assert layer._mmprof_room.keys.numel() == 0 or more < 2
    assert not grown


def test_fewer_heads_do_not_write_into_the_room_of_all(grown: list[object]) -> None:
    layer = DynamicLayer()
    both = states(1, 2).expand(-1, 2, -1, -1)
    layer.update(both, both)
    layer.keys, layer.values = layer.keys[:, :1], layer.values[:, :1]
    keys, _ = layer.update(states(3), states(3))
    assert listed(keys) == [1, 2, 3]


@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (1, 2, 1, 1), (1, 1, 1, 2)])
def test_shapes_that_do_not_fit_fail_as_before(shape: tuple[int, ...], grown: list[object]) -> None:
    layer = layer_with(1, 2)
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        layer.update(torch.ones(shape), torch.ones(shape))


def test_a_room_of_inference_mode_is_not_written_outside_of_it(grown: list[object]) -> None:
    with torch.inference_mode():
        layer = layer_with(1)
    assert appended(layer, 2) == [1, 2]
    assert not grown


def test_other_dtypes_are_converted_as_before(grown: list[object]) -> None:
    layer = layer_with(1)
    keys, _ = layer.update(states(2).double(), states(2).double())
    assert (listed(keys), keys.dtype) == ([1, 2], torch.float64)
    assert not grown


def test_arguments_may_be_named_and_the_class_is_put_back() -> None:
    update, crop = DynamicLayer.update, DynamicLayer.crop
    with with_room([]), torch.no_grad():
        keys, _ = DynamicLayer().update(key_states=states(1), value_states=states(1))
    assert listed(keys) == [1]
    assert (DynamicLayer.update, DynamicLayer.crop) == (update, crop)


def test_gradients_need_the_copies() -> None:
    told: list[object] = []
    query = torch.ones(1, requires_grad=True)
    with with_room(told):
        layer, total = DynamicLayer(), torch.zeros(())
        for number in range(1, 4):
            keys, _ = layer.update(states(number), states(number))
            total = total + (query * keys).sum()
    total.backward()
    assert query.grad is not None
    assert float(query.grad) == 1 + (1 + 2) + (1 + 2 + 3)
    assert not told


@pytest.mark.parametrize(
    ("family", "task"), [("llama", ""), ("chameleon", "T-I"), ("chameleon", "I-T")]
)
def test_a_growing_cache_changes_no_output(family: str, task: str) -> None:
    found = checked("growing_kv_cache", family, task)
    assert found.ok, found.detail
    assert found.relative_error == 0


@pytest.mark.parametrize("other", ["prompt_lookup", "layerskip", "sdpa"])
def test_it_stands_beside_levers_that_crop_or_attend_otherwise(other: str) -> None:
    base, expected = workload("llama"), reference("llama")
    with (
        lever_named("growing_kv_cache").apply(base) as growing,
        lever_named(other).apply(growing) as both,
    ):
        assert check_outputs(both, expected, "reassociation").ok


def test_the_copies_of_the_cache_are_gone() -> None:
    base = workload("llama")
    before = operators(base.run)["aten::cat"]
    with lever_named("growing_kv_cache").apply(base) as changed:
        after = operators(changed.run)["aten::cat"]
    layers = len(base.models[""].model.layers)
    assert before - after == 2 * layers * (
        1 + (base.steps or 0)
    )  # keys and values, prefill as well


def test_where_no_cache_grows_in_place_it_says_so() -> None:
    lever = lever_named("growing_kv_cache")
    assert "no key-value cache" in lever.applies(workload("hstu"), "cpu")
    assert "beam search" in lever.applies(workload("seamless", "T-T"), "cpu")
    base = workload("llama")
    model = base.models[""]
    once = replace(
        base, run=lambda: model(torch.ones(1, 4, dtype=torch.long), use_cache=True).logits
    )
    with lever.apply(once) as changed, pytest.raises(NotApplicableError, match="grows"):
        changed.run()


def forgetting(self: Any, keys: Any, values: Any) -> Any:
    """Loses the first token whenever one is appended."""
    made = WRITE(self, keys, values)
    made[0][..., 0, :] = 0
    return made


def at_the_end_of_values(self: Any, keys: Any, values: Any) -> Any:
    """Writes keys where values belong."""
    return WRITE(self, keys, keys)


@pytest.mark.parametrize("broken", [forgetting, at_the_end_of_values])
def test_a_broken_room_is_caught(
    broken: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = reference("llama")
    monkeypatch.setattr(Room, "write", broken)
    with lever_named("growing_kv_cache").apply(workload("llama")) as changed:
        assert not check_outputs(changed, expected, "reassociation").ok


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


@pytest.mark.parametrize("wrong", ["stride", "padding", "dilation"])
def test_a_line_laid_out_wrongly_is_caught(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    base = line()
    expected = reference_of(base)
    right = torch.nn.functional.conv2d
    at = {"stride": 3, "padding": 4, "dilation": 5}[wrong]

    def swapped(*given: Any) -> Any:
        return right(*given[:at], tuple(reversed(given[at])), *given[at + 1 :])

    monkeypatch.setattr(torch.nn.functional, "conv2d", swapped)
    with lever_named("channels_last").apply(base) as changed:
        try:
            ok = check_outputs(changed, expected, "reassociation").ok
        except RuntimeError as error:  # an image one pixel high has too few rows for it
            assert "size" in str(error)
            ok = False
    assert not ok


def test_channels_innermost_of_other_dtypes_and_by_name() -> None:
    base = line()
    first = base.models[""].layers[0]
    with lever_named("dtype").apply(base) as half, lever_named("channels_last").apply(half):
        assert first(input=torch.ones(1, 4, 40, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert first.weight.dtype == torch.float32
    with lever_named("channels_last").apply(base):
        first(torch.ones(1, 4, 40)).sum().backward()
        assert first.weight.grad.abs().sum() > 0
