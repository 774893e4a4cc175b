"""What sharing forward calls gains: each answer is worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.builder import TraceBuilder
from mmprof.analyzers.view import View
from mmprof.analyzers.whatif import Replay
from mmprof.analyzers.whatif.batches import (
    buckets,
    entries,
    forward_calls,
    in_buckets,
    in_slots,
)

ViewOf = Callable[[TraceBuilder], View]
US = 1_000
CALL = 100 * US


def served(steps: list[int], *, prompts: tuple[int, ...] = ()) -> TraceBuilder:
    """Requests in turn, of so many decode steps each; a forward call is 60 us of Python, a product and a sum of 20 us each."""
    t, at = TraceBuilder("cpu"), 0
    for number, count in enumerate(steps):
        for step in range(-1, count):
            rows = prompts[number] if step < 0 and prompts else 1
            name = "prefill" if step < 0 else f"decode[{step}]"
            with t.annotation(f"mmprof/phase:{name}", at, at + CALL):
                dims = [[rows, 64], [64, 64]]
                t.op("aten::mm", at + 60 * US, at + 80 * US, dims=dims, types=["float", "float"])
                t.op("aten::add", at + 80 * US, at + CALL)
            at += CALL
    return t


@pytest.mark.parametrize(
    ("steps", "slots", "found"),
    [
        ([3, 5, 2], 8, [0, 0, 0]),
        # the second slot falls free after one step, then after three
        ([4, 1, 2, 2], 2, [0, 0, 1, 3]),
        ([2, 3], 1, [0, 2]),
        ([0, 2, 1], 1, [0, 0, 2]),
    ],
)
def test_requests_enter_the_first_free_slot(steps: list[int], slots: int, found: list[int]) -> None:
    assert entries(steps, slots) == found


@pytest.mark.parametrize(
    ("lengths", "most", "padding", "found"),
    [
        ([(4, 4), (4, 4), (4, 4)], 2, 0.5, [[0, 1], [2]]),
        # 8 and 16 positions padded to 32 in all: a quarter is padding
        ([(8, 8), (4, 4)], 8, 0.25, [[1, 0]]),
        ([(8, 8), (4, 4)], 8, 0.24, [[1], [0]]),
        # a long prompt and a long answer: 10 and 10 positions padded to 18 each
        ([(9, 1), (1, 9)], 8, 0.4, [[0], [1]]),
        ([], 8, 0.25, []),
    ],
)
def test_buckets_of_known_lengths(
    lengths: list[tuple[int, int]], most: int, padding: float, found: list[list[int]]
) -> None:
    assert buckets(lengths, most=most, padding=padding) == found


@given(
    lengths=st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), max_size=20),
    most=st.integers(1, 8),
    padding=st.floats(0, 1),
)
def test_each_request_is_in_one_bucket(
    lengths: list[tuple[int, int]], most: int, padding: float
) -> None:
    found = buckets(lengths, most=most, padding=padding)
    assert sorted(number for each in found for number in each) == list(range(len(lengths)))
    for each in found:
        own = [lengths[number] for number in each]
        whole = len(own) * (max(p for p, _ in own) + max(a for _, a in own))
        assert len(own) <= most
        assert len(own) == 1 or 1 - sum(map(sum, own)) / whole <= padding


def test_forward_calls_are_those_of_the_request_before_them(view_of: ViewOf) -> None:
    found = forward_calls(view_of(served([2, 1])))
    assert found["request"].to_list() == [0, 0, 0, 1, 1]
    assert found["step"].to_list() == [-1, 0, 1, -1, 0]


def test_steps_in_slots_take_their_host_time_once(view_of: ViewOf) -> None:
    # 7 calls of 100 us without the Python before the first: 640 us. Two prefills and three steps are left: four times Python, five
    # products that read the weights once; the sums take as long as before
    prediction, _ = in_slots(Replay(view_of(served([3, 2]))))
    assert prediction
    assert prediction.expected == pytest.approx(640 / (4 * 60 + 5 * 20 + 7 * 20), abs=1e-3)
    assert prediction.high == pytest.approx(640 / (4 * 60 + 5 * 40), abs=1e-3)
    assert "7 forward calls of 2 requests become 5" in prediction.assumptions[0]


def test_steps_in_buckets_share_the_prefill_as_well(view_of: ViewOf) -> None:
    # one prefill and three steps; the shorter request runs along in the last one, whose sum takes 40 us, too
    prediction, _ = in_buckets(Replay(view_of(served([3, 2], prompts=(5, 5)))))
    assert prediction
    assert prediction.expected == pytest.approx(640 / (3 * 60 + 4 * 20 + 4 * 40), abs=1e-3)
    assert prediction.high == pytest.approx(640 / (3 * 60 + 4 * 40), abs=1e-3)
    assert "7 forward calls of 2 requests become 4" in prediction.assumptions[0]


def test_prompts_of_other_lengths_are_other_buckets(view_of: ViewOf) -> None:
    prediction, why = in_buckets(Replay(view_of(served([3, 2], prompts=(5, 50)))))
    assert prediction is None
    assert "nothing is gained: 1.00x at best" in why


@pytest.mark.parametrize("predict", [in_slots, in_buckets])
def test_one_request_shares_nothing(view_of: ViewOf, predict: Callable[..., object]) -> None:
    assert predict(Replay(view_of(served([3])))) == (
        None,
        "the window holds one request: `mmprof trace llama --set requests=8` records several",
    )
