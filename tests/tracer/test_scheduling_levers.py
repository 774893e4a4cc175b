"""Levers that schedule requests: equal outputs in fewer forward calls, undone at the end; broken ones are caught."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from mmprof.tracer.families import families, request_for
from mmprof.tracer.lever import NotApplicableError
from mmprof.tracer.lever_registry import lever_named, levers
from mmprof.tracer.order import Wish
from mmprof.tracer.workload import Workload

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from lever_checks import checked, reference, workload  # noqa: E402
from phase_counts import phase_counts  # noqa: E402

from mmprof.tracer.lever_models import attribute  # noqa: E402
from mmprof.tracer.models.decoder import Lengths  # noqa: E402
from mmprof.tracer.models.generation import greedy_generation  # noqa: E402
from mmprof.tracer.scheduling import buckets, slots  # noqa: E402
from mmprof.tracer.scheduling.buckets import Bucketing, left_padded, positions_of  # noqa: E402
from mmprof.tracer.scheduling.serving import Serving, scheduled  # noqa: E402
from mmprof.tracer.scheduling.slots import Continuous, own_positions  # noqa: E402
from mmprof.tracer.verify_outputs import check_outputs, reference_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

LEVERS = ("continuous_batching", "sequence_bucketing")
SIX = ("requests=6",)
# the slots are taken twice or more, batches are padded
SCHEDULES = {"slots": Continuous(2), "buckets": Bucketing(4, 0.5)}


def built(*settings: str, output_length: int = 0, batch: int = 0) -> Workload:
    found = families()["llama"]
    wish = Wish(settings=settings, output_length=output_length, batch=batch)
    return found.build(request_for(found, wish, "cpu"))


def six() -> Workload:
    return workload("llama", "", *SIX)


def compared(schedule: Any) -> Any:
    """How the outputs of six requests under a schedule compare."""
    expected = reference("llama", "", *SIX)
    with scheduled(six(), schedule, {}) as changed:
        return check_outputs(changed, expected, "reassociation")


@contextmanager
def counted(base: Workload) -> Iterator[list[int]]:
    """Rows of each forward call."""
    calls: list[int] = []
    model = base.models[""].model
    handle = model.register_forward_hook(lambda *a: calls.append(a[2][0].shape[0]))
    try:
        yield calls
    finally:
        handle.remove()


# --- the workload -------------------------------------------------------------------------------------------------


def test_one_request_is_the_default_and_no_queue() -> None:
    base = workload("llama")
    assert base.queue is None
    assert base.steps == 7
    assert "requests" not in base.arguments


def test_each_request_gives_what_it_gives_alone() -> None:
    base = six()
    assert base.queue is not None
    made = base.run()
    for request, tokens in zip(base.queue.requests, made, strict=True):
        alone = greedy_generation(base.models[""], request.prompt, request.new_tokens)()
        assert torch.equal(tokens, alone)
    shapes = {(r.prompt.shape[1], r.new_tokens) for r in base.queue.requests}
    assert len(shapes) == 6
    assert base.arguments["output_tokens"] == sum(r.new_tokens for r in base.queue.requests)
    assert base.steps == base.arguments["output_tokens"] - 6


def test_every_request_has_its_phases(tmp_path: Any) -> None:
    base = six()
    found = phase_counts(base.run, tmp_path / "trace.json")
    assert found == {"prefill": 6, "decode": base.steps}


def test_lengths_lie_around_the_given_ones() -> None:
    drawn = Lengths(16, 8).spread(50, 0.5, seed=1)
    assert drawn == Lengths(16, 8).spread(50, 0.5, seed=1)
    assert drawn != Lengths(16, 8).spread(50, 0.5, seed=2)
    assert {8, 24} >= {min(d.inputs for d in drawn), max(d.inputs for d in drawn)}
    assert all(4 <= d.outputs <= 12 for d in drawn)
    assert Lengths(16, 8).spread(2, 0.0, seed=1) == [Lengths(16, 8)] * 2
    assert all(1 in (d.inputs, d.outputs) for d in Lengths(1, 1).spread(9, 0.4, seed=1))


@pytest.mark.parametrize(
    ("settings", "batch", "message"),
    [
        (("requests=0",), 0, "requests=0: a run serves one at least"),
        (SIX, 2, "a batch of 2 and requests=6"),
        ((*SIX, "request_spread=1"), 0, "a spread of 1"),
        ((*SIX, "model=bytes"), 0, "several requests are of random weights"),
    ],
)
def test_what_cannot_be_built_is_refused(
    settings: tuple[str, ...], batch: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        built(*settings, batch=batch)


# --- what the levers change ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lever", LEVERS)
def test_outputs_are_those_of_each_request_alone(lever: str) -> None:
    found = checked(lever, "llama", "", *SIX)
    assert found.ok, found.detail
    assert found.outputs_equal
    assert found.agreement == 1
    assert "in 46 steps" in found.detail


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=list(SCHEDULES))
@pytest.mark.parametrize("below", ["sdpa", "none"])
def test_they_hold_where_slots_are_reused_and_rows_are_padded(schedule: Any, below: str) -> None:
    expected = reference("llama", "", *SIX)
    with (
        lever_named(below).apply(six()) as base,
        scheduled(base, schedule, {}) as changed,
    ):
        found = check_outputs(changed, expected, "reassociation")
    assert found.ok, found.detail
    assert found.agreement == 1


def test_slots_share_decode_steps() -> None:
    base = six()
    assert base.queue is not None
    answers = [request.new_tokens for request in base.queue.requests]
    with counted(base) as calls:
        base.run()
        assert len(calls) == sum(answers)
        calls.clear()
        with scheduled(base, Continuous(6), {}) as changed:
            changed.run()
    # six prefills, then a slot for each: as many steps as the longest answer has behind its first token
    assert len(calls) == 6 + max(answers) - 1
    assert sum(calls) == sum(answers)
    assert calls[:6] == [1] * 6
    assert calls[6:] == [sum(own - 1 > step for own in answers) for step in range(max(answers) - 1)]
    assert changed.facts() == {
        "forward_calls": len(calls),
        "forward_calls_alone": sum(answers),
        "requests_per_call": round(sum(answers) / len(calls), 2),
    }


def test_a_freed_slot_is_taken_by_the_next_request() -> None:
    base = six()
    assert base.queue is not None
    with counted(base) as calls, scheduled(base, Continuous(2), {}) as changed:
        changed.run()
    rows = [rows for rows in calls if rows > 1]
    assert set(calls) == {1, 2}
    # two requests at a time, until the last one is alone
    steps = sum(request.new_tokens - 1 for request in base.queue.requests)
    alone = len(calls) - 6 - len(rows)
    assert 2 * len(rows) + alone == steps
    assert len(rows) > alone


def test_a_bucket_is_one_prefill_and_the_steps_of_its_longest() -> None:
    base = six()
    assert base.queue is not None
    with counted(base) as calls, scheduled(base, Bucketing(6, 0.9), {}) as changed:
        changed.run()
    assert calls == [6] * max(request.new_tokens for request in base.queue.requests)


def test_padding_stands_in_front_and_has_no_position() -> None:
    ids, mask = left_padded([torch.tensor([7]), torch.tensor([8, 9, 5])])
    assert ids.tolist() == [[0, 0, 7], [8, 9, 5]]
    assert mask.tolist() == [[0, 0, 1], [1, 1, 1]]
    assert positions_of(mask).tolist() == [[0, 0, 0], [0, 1, 2]]


def test_a_slot_sees_its_own_tokens() -> None:
    mask = own_positions(torch.tensor([[0], [2]]), 3, torch.float32)
    assert (mask == 0).tolist() == [[[[True, False, False]]], [[[True, True, True]]]]
    assert mask.min() == torch.finfo(torch.float32).min


@pytest.mark.parametrize("lever", LEVERS)
def test_answers_of_one_token_take_no_step(lever: str) -> None:
    base = built("requests=3", output_length=1)
    wanted = base.run()
    with counted(base) as calls, lever_named(lever).apply(base) as changed:
        made = changed.run()
    assert all(map(torch.equal, made, wanted))
    assert sum(calls) == 3


@pytest.mark.parametrize("lever", LEVERS)
def test_logits_are_processed_as_transformers_would(lever: str) -> None:
    base = built("requests=3")
    plain = base.run()
    with attribute(base.models[""].generation_config, "repetition_penalty", 5.0):
        expected = reference_of(base)
        with lever_named(lever).apply(base) as changed:
            found = check_outputs(changed, expected, "reassociation")
            assert not all(map(torch.equal, plain, changed.run()))
    assert found.ok, found.detail
    assert found.outputs_equal


# --- undone -------------------------------------------------------------------------------------------------------


def snapshot(base: Workload) -> list[tuple[object, ...]]:
    return [
        (path, sorted(vars(m)), [id(p) for p in m.parameters(recurse=False)], len(m._forward_hooks))
        for path, m in base.models[""].named_modules()
    ]


@pytest.mark.parametrize("lever", LEVERS)
def test_a_lever_is_undone(lever: str) -> None:
    base = six()
    assert base.queue is not None
    before, serve, wanted = snapshot(base), base.queue.serve, base.run()
    with lever_named(lever).apply(base) as changed:
        changed.run()
        assert base.queue.serve is not serve
        assert changed.facts()["forward_calls"] < changed.facts()["forward_calls_alone"]
    assert base.queue.serve is serve
    assert snapshot(base) == before
    assert all(map(torch.equal, base.run(), wanted))


def test_a_schedule_raising_in_the_middle_is_undone() -> None:
    def broken(serving: Serving) -> None:
        raise RuntimeError("no schedule")

    base = six()
    assert base.queue is not None
    before, serve = snapshot(base), base.queue.serve
    with scheduled(base, broken, {}) as changed, pytest.raises(RuntimeError, match="no schedule"):
        changed.run()
    assert base.queue.serve is serve
    assert snapshot(base) == before


def test_a_run_that_does_not_serve_its_queue_is_no_success() -> None:
    base = six()
    other = replace(base, run=lambda: torch.ones(1))
    with (
        lever_named("continuous_batching").apply(other) as changed,
        pytest.raises(NotApplicableError, match="does not serve its queue"),
    ):
        changed.run()


def test_two_schedules_do_not_serve_one_queue() -> None:
    first, second = map(lever_named, LEVERS)
    with (
        first.apply(six()) as changed,
        pytest.raises(NotApplicableError, match="another lever schedules"),
        second.apply(changed),
    ):
        pass
    assert second.id in first.conflicts
    assert first.id in second.conflicts


def test_what_changes_generate_excludes_a_schedule() -> None:
    known = levers()
    for lever in LEVERS:
        assert set(known[lever].conflicts) <= set(known)
        assert "static_kv_cache" in known[lever].conflicts


# --- where they do not apply --------------------------------------------------------------------------------------


@pytest.mark.parametrize("lever", LEVERS)
@pytest.mark.parametrize("family", ["llama", "hstu"])
def test_one_request_shares_nothing(lever: str, family: str) -> None:
    assert lever_named(lever).applies(workload(family), "cpu").startswith("a run is one request")


@pytest.mark.parametrize(
    ("family", "reason"),
    [("seamless", "no decoder-only model"), ("hstu", "no model of transformers that generates")],
)
def test_other_models_with_a_queue_are_refused(family: str, reason: str) -> None:
    base = replace(workload(family), queue=six().queue)
    assert reason in lever_named("continuous_batching").applies(base, "cpu")


@pytest.mark.parametrize(
    ("owner", "name", "value", "reason"),
    [
        ("generation_config", "do_sample", True, "samples by its generation config"),
        ("generation_config", "num_beams", 4, "beam search (4 beams)"),
        ("config", "sliding_window", 64, "another state than one key and value"),
        ("config", "_attn_implementation_internal", "flex_attention", "attention flex_attention"),
        ("", "forward", lambda input_ids: None, "takes no attention_mask: an unknown type"),
    ],
)
def test_a_model_says_why_its_requests_cannot_share(
    owner: str, name: str, value: object, reason: str
) -> None:
    base = six()
    model = base.models[""]
    with attribute(getattr(model, owner) if owner else model, name, value):
        assert reason in lever_named("sequence_bucketing").applies(base, "cpu")
    assert lever_named("sequence_bucketing").applies(base, "cpu") == ""


# --- deliberately broken versions ---------------------------------------------------------------------------------


def late_after_refill(patch: pytest.MonkeyPatch) -> Any:
    """A request that takes a used slot counts from one position too late."""
    entered = slots.Slots._prefilled

    def late(self: Any, number: int, slot: int) -> Any:
        found = entered(self, number, slot)
        found.position += self._steps > 0
        return found

    patch.setattr(slots.Slots, "_prefilled", late)
    return Continuous(2)


def stale_slots(patch: pytest.MonkeyPatch) -> Any:
    """Each slot sees as far as the longest, and so what a former request left there."""
    patch.setattr(
        slots,
        "own_positions",
        lambda positions, until, dtype: torch.zeros(len(positions), 1, 1, until, dtype=dtype),
    )
    return Continuous(2)


def closed_without_moving(patch: pytest.MonkeyPatch) -> Any:
    """The request that takes the place of a closed slot reads the keys of the one before."""
    patch.setattr(slots.SlotLayer, "move", lambda *_: None)
    return Continuous(6)


def old_token_in_a_refilled_slot(patch: pytest.MonkeyPatch) -> Any:
    """The first token of a request that takes a used slot is the last one of the request before."""
    entered = slots.Slots._prefilled

    def kept(self: Any, number: int, slot: int) -> Any:
        before = self._tokens.clone()
        found = entered(self, number, slot)
        if self._steps:
            self._tokens = before
        return found

    patch.setattr(slots.Slots, "_prefilled", kept)
    return Continuous(2)


def visible_padding(patch: pytest.MonkeyPatch) -> Any:
    def unmasked(prompts: Any) -> Any:
        ids, mask = left_padded(prompts)
        return ids, torch.ones_like(mask)

    patch.setattr(buckets, "left_padded", unmasked)
    return Bucketing(6, 0.9)


def standing_positions(patch: pytest.MonkeyPatch) -> Any:
    """All tokens of a prompt have the position of the first."""
    patch.setattr(buckets, "positions_of", torch.zeros_like)
    return Bucketing(6, 0.9)


def rows_mixed_up(patch: pytest.MonkeyPatch) -> Any:
    choose = Serving.choose
    patch.setattr(Serving, "choose", lambda self, n, logits: choose(self, n, logits.flip(0)))
    return Bucketing(6, 0.9)


def a_step_left_out(patch: pytest.MonkeyPatch) -> Any:
    """One request's logits are never shown to what compares them."""
    process = Serving._processed
    patch.setattr(
        Serving,
        "_processed",
        lambda self, n, scores: scores.float() if n == 3 else process(self, n, scores),
    )
    return Continuous(2)


@pytest.mark.parametrize(
    "broken",
    [
        late_after_refill,
        stale_slots,
        closed_without_moving,
        old_token_in_a_refilled_slot,
        visible_padding,
        standing_positions,
        rows_mixed_up,
        a_step_left_out,
    ],
)
def test_broken_versions_are_caught(
    broken: Callable[[pytest.MonkeyPatch], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reference("llama", "", *SIX)
    found = compared(broken(monkeypatch))
    assert not found.ok
    assert found.detail


def nudged(column: int, share: float) -> Any:
    """A schedule whose logits of one token are a little larger."""
    forward = Serving.forward

    def nudge(self: Any, ids: Any, **inputs: Any) -> Any:
        logits = forward(self, ids, **inputs)
        logits[:, column] += share * logits[:, column].abs()
        return logits

    return nudge


@pytest.mark.parametrize(("share", "ok"), [(1e-6, True), (1e-2, False)])
def test_another_token_is_accepted_where_rounding_explains_it(
    share: float, ok: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = built("requests=2")
    head = base.models[""].lm_head.weight
    best = int(base.run()[0][0, -1])
    # the last token and the best one have equal logits: the first of them is chosen
    head[-1] = head[best]
    expected = reference_of(base)
    monkeypatch.setattr(Serving, "forward", nudged(len(head) - 1, share))
    with scheduled(base, Continuous(2), {}) as changed:
        found = check_outputs(changed, expected, "reassociation")
    assert found.ok is ok, found.detail
    assert not found.outputs_equal
    assert "another greedy choice in" in found.detail
