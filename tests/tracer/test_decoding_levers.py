"""Levers that guess tokens: equal outputs, fewer passes of the whole model, undone at the end; broken ones are caught."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from mmprof.analyzers.errors import MmprofError
from mmprof.cli.subjects import with_model
from mmprof.tracer.families import families, request_for
from mmprof.tracer.lever import NotApplicableError
from mmprof.tracer.lever_registry import lever_named
from mmprof.tracer.order import Wish
from mmprof.tracer.workload import Quality, Workload

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from mmprof.tracer import pretrained  # noqa: E402
from mmprof.tracer.lever_models import attribute  # noqa: E402
from mmprof.tracer.models import byte_llama, smollm2  # noqa: E402
from mmprof.tracer.models.gguf import read_gguf  # noqa: E402
from mmprof.tracer.speculation import early_exit, loop  # noqa: E402
from mmprof.tracer.speculation.drafts import Assistant, Checked, PromptLookup  # noqa: E402
from mmprof.tracer.speculation.early_exit import EarlyExit  # noqa: E402
from mmprof.tracer.speculation.loop import Guess, Tally, following, speculating  # noqa: E402
from mmprof.tracer.speculation.search import agreement, drafts_of, observed  # noqa: E402
from mmprof.tracer.verify_outputs import (  # noqa: E402
    Reference,
    check_outputs,
    reference_of,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

SUBJECTS = {"llama": ("llama", "T-T", ""), "image": ("chameleon", "IT-T", "chameleon")}


def built(family: str, task: str = "", *settings: str, output_length: int = 0) -> Workload:
    found = families()[family]
    wish = Wish(task=task, settings=settings, output_length=output_length)
    return found.build(request_for(found, wish, "cpu"))


@cache
def workload(subject: str) -> Workload:
    return built(*SUBJECTS[subject][:2])


@cache
def trained() -> Workload:
    return built("llama", "", "model=bytes", output_length=24)


@cache
def reference(subject: str) -> Reference:
    return reference_of(trained() if subject == "bytes" else workload(subject))


def name_of(subject: str) -> str:
    return SUBJECTS[subject][2] if subject in SUBJECTS else ""


def checked(subject: str, speculator: Any, base: Workload | None = None) -> tuple[Any, Tally]:
    """How a speculator's outputs compare, and what it took."""
    expected = reference(subject)
    base = base or (trained() if subject == "bytes" else workload(subject))
    tally = Tally()
    with speculating(base, {name_of(subject): speculator}, tally) as guessing:
        return check_outputs(guessing, expected, "reassociation"), tally


@pytest.mark.parametrize("subject", ["llama", "image", "bytes"])
@pytest.mark.parametrize(
    "speculator",
    [EarlyExit(1, 3), EarlyExit(3, 1), Checked(PromptLookup(4, 2))],
    ids=["one layer", "three layers", "lookup"],
)
def test_outputs_are_those_of_greedy_decoding(subject: str, speculator: Any) -> None:
    found, _ = checked(subject, speculator)
    assert found.ok, found.detail
    assert found.outputs_equal
    assert found.agreement == 1


def test_an_assistant_that_is_the_model_itself_is_always_right() -> None:
    base = workload("llama")
    found, tally = checked("llama", Checked(Assistant(base.models[""], 3)))
    assert found.ok
    assert tally.acceptance == 1
    # 7 tokens behind the first: three guesses and one token more, then two guesses and one more
    assert (tally.passes, tally.drafted, tally.tokens) == (2, 5, 7)


def test_a_wrong_assistant_costs_passes_and_changes_nothing() -> None:
    def always_zero(ids: Any, most: int) -> Any:
        return torch.zeros(min(2, most), dtype=torch.long)

    found, tally = checked("llama", Checked(always_zero))
    assert found.ok
    assert found.outputs_equal
    assert (tally.accepted, tally.passes) == (0, 7)


def test_trained_early_exits_save_passes_of_the_whole_model() -> None:
    base, calls, _ = trained(), [], reference("bytes")
    last = base.models[""].model.layers[-1]
    handle = last.register_forward_hook(lambda *_: calls.append(1))
    try:
        base.run()
        whole = len(calls)
        calls.clear()
        _, tally = checked("bytes", EarlyExit(byte_llama.EXIT_LAYER, 4))
        once = len(calls) // 2  # the comparison runs twice
    finally:
        handle.remove()
    assert whole == 24
    assert once == tally.passes + 1  # and prefill
    assert once <= 0.6 * whole
    assert tally.acceptance > 0.4


def test_the_first_layers_read_each_token_once() -> None:
    base, read = trained(), []
    first = base.models[""].model.layers[0]
    handle = first.register_forward_hook(lambda _m, args, _o: read.append(args[0].shape[1]))
    tally = Tally()
    try:
        with speculating(base, {"": EarlyExit(3, 4)}, tally) as guessing:
            guessing.run()
    finally:
        handle.remove()
    # each pass reads its guesses and the token before them, one at a time, and checks them without the first layers
    assert set(read[1:]) == {1}
    assert len(read) - 1 == tally.drafted + tally.passes


def test_one_request_without_guesses_foretells_those_with_them() -> None:
    base = trained()
    model = base.models[""]
    right = agreement(model, model.model, observed(base, ""))[2]
    drafts = drafts_of(right, 4)
    _, tally = checked("bytes", EarlyExit(3, 4))
    assert (len(drafts), sum(drafts)) == (tally.passes, tally.drafted)


@pytest.mark.parametrize(
    ("right", "length", "drafts"),
    [
        ([True] * 7, 3, [3, 2]),
        ([False] * 3, 2, [2, 1, 0]),
        # one right and one wrong guess: two tokens; then the last token, which needs none
        ([True, False, True], 4, [2, 0]),
        ([], 4, []),
    ],
)
def test_passes_of_known_guesses(right: list[bool], length: int, drafts: list[int]) -> None:
    assert drafts_of(right, length) == drafts


@pytest.mark.parametrize(
    ("ids", "most", "guess"),
    [
        ([1, 2, 3, 9, 1, 2], 4, [3, 9, 1]),
        ([1, 2, 3, 9, 1, 2], 1, [3]),
        ([7, 2, 5, 1, 2, 6, 2], 4, [6, 2]),  # no pair: the latest place of the last token
        ([1, 2, 3], 4, []),
        ([5], 4, []),
    ],
)
def test_lookup_finds_the_latest_place(ids: list[int], most: int, guess: list[int]) -> None:
    assert PromptLookup(3, 2)(torch.tensor(ids), most).tolist() == guess


def snapshot(base: Workload) -> list[tuple[object, ...]]:
    return [
        (path, sorted(vars(m)), [id(p) for p in m.parameters(recurse=False)], len(m._forward_hooks))
        for model in base.models.values()
        for path, m in model.named_modules()
    ]


@pytest.mark.parametrize("lever", ["layerskip", "prompt_lookup"])
def test_a_lever_searches_tells_and_is_undone(lever: str) -> None:
    base = built("llama")
    before, wanted = snapshot(base), base.run()
    with lever_named(lever).apply(base) as guessing:
        assert torch.equal(guessing.run(), wanted)
        told = guessing.facts()
    assert snapshot(base) == before
    assert torch.equal(base.run(), wanted)
    assert told["decode_steps"] == 7
    assert told["draft_length"] >= 1
    assert "synthetic" in told["weights"]
    assert base.facts() == {}


def test_a_lever_raising_in_the_middle_is_undone() -> None:
    def broken(step: Any) -> Guess:
        raise RuntimeError("no guess")

    base = workload("llama")
    before = snapshot(base)
    with (
        speculating(base, {"": broken}, Tally()) as guessing,
        pytest.raises(RuntimeError, match="no guess"),
    ):
        guessing.run()
    assert snapshot(base) == before


def test_the_smaller_model_of_a_workload_assists() -> None:
    base = trained()
    assert lever_named("assisted_decoding").applies(base, "cpu") == ""
    _, tally = checked("bytes", Checked(Assistant(base.draft, 4)))
    assert tally.acceptance > 0.4
    told = lever_named("assisted_decoding").applies(replace(base, draft=None), "cpu")
    assert told.startswith("no smaller model is given")


@pytest.mark.parametrize(
    ("family", "reason"),
    [("seamless", "no decoder-only model"), ("hstu", "no model of transformers that generates")],
)
def test_where_nothing_can_be_guessed(family: str, reason: str) -> None:
    assert reason in lever_named("layerskip").applies(built(family), "cpu")


def test_several_sequences_and_other_loops_are_found_by_a_run() -> None:
    found = families()["llama"]
    several = found.build(request_for(found, Wish(batch=2), "cpu"))
    for base, reason in (
        (several, "2 sequences"),
        (built("chameleon", "T-I"), "its loop is not transformers' generate"),
    ):
        with (
            pytest.raises(NotApplicableError, match=reason),
            lever_named("layerskip").apply(base),
        ):
            pass


def test_a_cache_that_cannot_forget_is_refused() -> None:
    base = workload("llama")
    with (
        lever_named("static_kv_cache").apply(base) as static,
        speculating(static, {"": EarlyExit(1, 1)}, Tally()) as guessing,
        pytest.raises(NotApplicableError, match="cannot forget"),
    ):
        guessing.run()


# Deliberately broken versions


def without_forgetting(generation: Any, ids_kept: int) -> None:
    """Rejected tokens stay in the cache."""


def one_position_late(inputs: Any, tokens: Any) -> Any:
    changed = following(inputs, tokens)
    return {**changed, "position_ids": changed["position_ids"] + 1}


class AcceptsAll(EarlyExit):
    """The whole model says yes to whatever the first layers guess."""

    def __call__(self, step: Any) -> Guess:
        guess = super().__call__(step)
        for at, token in enumerate(guess.tokens):
            guess.logits[0, at] = -1.0
            guess.logits[0, at, token] = 1.0
        return guess


def stale_draft_cache(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(loop._Generation, "_forget", without_forgetting)
    return EarlyExit(1, 3)


def wrong_acceptance(monkeypatch: pytest.MonkeyPatch) -> Any:
    return AcceptsAll(1, 3)


def off_by_one_position(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(early_exit, "following", one_position_late)
    return EarlyExit(1, 3)


def wrong_layer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The deeper layers begin one too late."""
    cut = early_exit.using
    monkeypatch.setattr(
        early_exit,
        "using",
        lambda stack, layers: cut(stack, layers[-2:] if len(layers) == 3 else layers),
    )
    return EarlyExit(1, 3)


@pytest.mark.parametrize("subject", ["llama", "image"])
@pytest.mark.parametrize(
    "broken", [stale_draft_cache, wrong_acceptance, off_by_one_position, wrong_layer]
)
def test_broken_versions_are_caught(
    broken: Callable[[pytest.MonkeyPatch], Any], subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference(subject)
    try:
        found, _ = checked(subject, broken(monkeypatch))
    except RuntimeError as error:  # shapes that do not fit are a verdict as well
        assert "size" in str(error)
    else:
        assert not found.ok


# Real weights


def test_the_byte_model_was_trained() -> None:
    base = trained()
    assert base.quality is not None
    # a model that knows nothing has the perplexity 256, single bytes of code about 25
    assert base.quality.measure() < 16
    base.run()
    assert len(base.facts()["text"].encode()) >= 24


def test_packed_weights_are_rounded_by_less_than_a_level() -> None:
    model = byte_llama.make_byte_llama("eager")
    again = byte_llama.unpacked(byte_llama.packed(model))
    for name, weight in model.model.state_dict(prefix="model.").items():
        level = weight.abs().amax(-1, keepdim=True) / 127
        assert ((again[name] - weight).abs() <= level / 2 + 1e-6).all(), name
    assert byte_llama.WEIGHTS.stat().st_size < 3_000_000


def test_missing_weights_say_how_to_get_them(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MmprofError, match="byte-level") as raised:
        byte_llama.pretrained_byte_llama("eager", tmp_path / "none.pt")
    assert "train_byte_llama" in raised.value.hint
    monkeypatch.setattr(smollm2, "PACKAGE", "no_such_package")
    with pytest.raises(MmprofError, match="SmolLM2") as raised:
        smollm2.smollm2_file()
    assert "--no-deps" in raised.value.hint


def test_perplexity_of_a_uniform_model_is_its_vocabulary() -> None:
    model = byte_llama.make_byte_llama("eager")
    with attribute(model.lm_head, "forward", lambda hidden: torch.zeros(*hidden.shape[:2], 256)):
        assert pretrained.perplexity(model, [1, 2, 3, 4, 5], 2) == pytest.approx(256)


@pytest.mark.parametrize(
    ("after", "ok"), [(10.1, True), (10.3, False), (9.0, False), (float("nan"), False)]
)
def test_a_lossy_lever_may_raise_perplexity_by_its_budget(after: float, ok: bool) -> None:
    values = iter([10.0, after])
    quality = Quality("perplexity", lambda: next(values), 0.02)
    base = Workload("ones", {}, lambda: torch.ones(2), quality=quality)
    found = check_outputs(base, reference_of(base), "lossy", budget=0.1)
    assert found.ok is ok
    assert found.quality.before == 10
    assert "perplexity 10, then" in found.detail


def gguf_bytes(weights: bytes, form: int, shape: tuple[int, ...]) -> bytes:
    def text(word: str) -> bytes:
        return struct.pack("<Q", len(word)) + word.encode()

    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 2)
    head += text("llama.block_count") + struct.pack("<II", 4, 7)
    words = text("a") + text("b")
    head += text("words") + struct.pack("<I", 9) + struct.pack("<IQ", 8, 2) + words
    sides = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
    head += text("w") + sides + struct.pack("<IQ", form, 0)
    return head + bytes(-len(head) % 32) + weights


def test_gguf_blocks_are_read_as_they_are_defined(tmp_path: Any) -> None:
    # Q4_1: scale 0.5, smallest value -1; byte i holds i in its low and 15 - i in its high half
    q4_1 = struct.pack("<ee", 0.5, -1.0) + bytes(i | (15 - i) << 4 for i in range(16))
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf_bytes(q4_1, 3, (2, 16)))
    found = read_gguf(path)
    assert found.settings == {"llama.block_count": 7, "words": ["a", "b"]}
    assert found.weights["w"].tolist() == [
        [0.5 * i - 1 for i in range(16)],
        [0.5 * (15 - i) - 1 for i in range(16)],
    ]
    # Q8_0: scale 2, numbers from -16
    path.write_bytes(gguf_bytes(struct.pack("<e32b", 2.0, *range(-16, 16)), 8, (32,)))
    assert read_gguf(path).weights["w"].tolist() == [2.0 * i for i in range(-16, 16)]


def test_what_is_no_gguf_file_is_refused(tmp_path: Any) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match="is no GGUF file"):
        read_gguf(path)
    path.write_bytes(gguf_bytes(b"", 99, (32,)))
    with pytest.raises(ValueError, match="w has the format 99"):
        read_gguf(path)


def test_rows_of_queries_are_put_into_the_order_of_transformers() -> None:
    # one head of four rows: the file pairs 0 with 2 and 1 with 3
    rows = torch.tensor([[0.0], [2.0], [1.0], [3.0]])
    assert smollm2._unpaired(rows, 1)[:, 0].tolist() == [0, 1, 2, 3]


def test_model_is_short_for_a_family_and_an_option() -> None:
    assert with_model([], (), "bytes", size="") == (["llama"], ("model=bytes",))
    assert with_model(["llama"], ("seed=1",), "", size="tiny") == (["llama"], ("seed=1",))
    with pytest.raises(MmprofError, match="--size has no effect"):
        with_model([], (), "bytes", size="tiny")
