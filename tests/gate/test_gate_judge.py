"""Conditions against metrics made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mmprof.analyzers.errors import MmprofError
from mmprof.analyzers.gate.baseline import Against, Baseline
from mmprof.analyzers.gate.conditions import parse_threshold
from mmprof.analyzers.gate.judge import Condition, Judgement, judgements
from mmprof.analyzers.gate.metrics import DeviceMetrics, Metric
from mmprof.analyzers.gate.setup import Setup

QUIET = (100, 101, 99, 100, 102, 98, 100, 101)
NOISY = (60, 140, 80, 120, 70, 130, 90, 110)


def device(samples: Sequence[int] = QUIET, *, runs: Sequence[float] = ()) -> DeviceMetrics:
    ordered = sorted(samples)
    value = (ordered[3] + ordered[4]) / 2 if len(ordered) == 8 else ordered[len(ordered) // 2]
    metrics = {
        "step_time": Metric("ns", value, list(runs), [list(samples)]),
        "idle_share": Metric("share", 0.5),
        "idle_time": Metric("ns", value / 2, samples=[[n / 2 for n in samples]]),
        "launches": Metric("count", 0),
    }
    return DeviceMetrics(0, 0, "H100", "step", [len(samples)], metrics)


def judged(
    text: str, now: DeviceMetrics, before: DeviceMetrics | None = None, *, strict: bool = False
) -> Judgement:
    baseline = Baseline(inputs=[], setup=Setup(), devices=[before] if before else [])
    against = Against("base.json", baseline) if before else None
    condition = Condition(parse_threshold(text), "--fail-on")
    (found,) = judgements([condition], [now], against, strict=strict)
    return found


@pytest.mark.parametrize(
    ("text", "limit", "status"),
    [
        ("step_time>+5%", 105, "crossed"),
        ("step_time>+20%", 120, "ok"),
        ("step_time>=+10ns", 110, "crossed"),
        ("step_time>+10ns", 110, "ok"),
        ("step_time<-5%", 95, "ok"),
        ("step_time>109", 109, "crossed"),
        ("idle_share>+5pp", 0.55, "ok"),
        ("launches>+5%", 0, "ok"),
    ],
)
def test_the_limit_follows_the_baseline(text: str, limit: float, status: str) -> None:
    """110 now, 100 before."""
    found = judged(text, device([n + 10 for n in QUIET]), device())

    assert (found.limit, found.status) == (pytest.approx(limit), status)


def test_a_change_within_the_noise_does_not_count() -> None:
    """Medians 100 before and 108 now, in steps that spread over 80."""
    before, now = device(NOISY), device([n + 8 for n in NOISY])

    assert judged("step_time>+5%", now, before).status == "noise"
    assert judged("step_time>+5%", now, before, strict=True).status == "crossed"


@pytest.mark.parametrize("text", ["step_time>-10%", "step_time>=+0%"])
def test_an_improvement_that_is_asked_for_must_be_there(text: str) -> None:
    """Noise is no improvement: the values decide, as they would without a change."""
    assert judged(text, device(NOISY), device(NOISY)).status == "crossed"


def test_the_same_change_without_noise_counts() -> None:
    found = judged("step_time>+5%", device([n + 8 for n in QUIET]), device())

    assert found.status == "crossed"
    assert found.significance is not None
    assert found.significance.significant
    assert 0 < found.significance.low <= found.significance.change == 8 <= found.significance.high


def test_with_too_few_samples_the_values_decide() -> None:
    found = judged("step_time>+5%", device([110]), device([100]))

    assert found.status == "crossed"
    assert found.reason.startswith("too few samples: 1 before and 1 after")


def test_runs_count_more_than_their_steps() -> None:
    """Each run is steady in itself, and runs differ as much as the two sides do."""
    before = device(QUIET, runs=(90, 100, 110, 100))
    now = device([n + 8 for n in QUIET], runs=(98, 108, 118, 108))

    found = judged("step_time>+5%", now, before)

    assert found.status == "noise"
    assert found.significance is not None
    assert found.significance.samples == (4, 4)


def test_shares_are_judged_by_the_times_they_are_made_of() -> None:
    """Idle is half of each step on both sides."""
    found = judged("idle_share>+0%", device(NOISY), device(QUIET))

    assert found.significance is not None
    assert (found.significance.change, found.significance.significant) == (0, False)


def test_a_condition_on_a_value_needs_no_baseline() -> None:
    found = judged("idle_share>40%", device())

    assert (found.status, found.baseline, found.significance) == ("crossed", None, None)


@pytest.mark.parametrize(
    ("text", "code", "hint"),
    [
        ("step_tme>1", "MM-E023", "did you mean 'step_time'?"),
        ("peak_memory>1", "MM-E023", "record it with --memory, or with profile_memory=True"),
        (
            "step_time>+1%",
            "MM-E080",
            "--baseline BASE.json (`mmprof baseline save` writes one) or --baseline TRACE",
        ),
    ],
)
def test_what_cannot_be_judged(text: str, code: str, hint: str) -> None:
    with pytest.raises(MmprofError) as caught:
        judged(text, device())

    assert (caught.value.code, caught.value.hint) == (code, hint)


def test_a_baseline_without_the_metric() -> None:
    before = DeviceMetrics(0, 0, "H100", "step", [8], {})

    with pytest.raises(
        MmprofError, match=r"base\.json has no 'step_time' of rank 0, device 0"
    ) as caught:
        judged("step_time>+1%", device(), before)

    assert caught.value.code == "MM-E081"


@pytest.mark.parametrize("text", ["x>+5", "x>-5%", "x>+5pp", "x<-2ms"])
def test_a_sign_makes_a_change(text: str) -> None:
    assert parse_threshold(text).relative


def test_points_are_of_changes_only() -> None:
    with pytest.raises(MmprofError, match="cannot read the condition 'x>5pp'"):
        parse_threshold("x>5pp")


def test_units_of_memory() -> None:
    assert parse_threshold("peak_memory>1.5GiB").limit == 1.5 * 1024**3


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            "idle_share>40",
            "a share takes %, or a number of at most 1; a change of it takes pp as well",
        ),
        (
            "idle_share>+5",
            "a share takes %, or a number of at most 1; a change of it takes pp as well",
        ),
        (
            "idle_share>5ms",
            "a share takes %, or a number of at most 1; a change of it takes pp as well",
        ),
        ("step_time>40%", "a time takes ns, us, ms or s"),
        ("step_time>2MiB", "a time takes ns, us, ms or s"),
        ("step_time>+5pp", "a time takes ns, us, ms or s"),
        ("launches>3s", "a count takes no unit"),
    ],
)
def test_a_limit_of_another_kind_is_refused(text: str, hint: str) -> None:
    """Such a condition would never hold, or always: a gate that is open, or one that is shut."""
    with pytest.raises(MmprofError, match="does not fit") as caught:
        judged(text, device(), device())

    assert (caught.value.code, caught.value.hint) == ("MM-E023", hint)


@pytest.mark.parametrize("text", ["idle_share>1", "idle_share>+0.05", "launches>+5%"])
def test_a_limit_of_the_same_kind_is_judged(text: str) -> None:
    assert judged(text, device(), device()).status == "ok"


def test_a_limit_that_nothing_reaches_is_refused() -> None:
    with pytest.raises(MmprofError, match="cannot read the condition"):
        parse_threshold("step_time>1e999")


def test_a_baseline_in_another_unit_has_no_such_metric() -> None:
    before = DeviceMetrics(0, 0, "H100", "step", [8], {"step_time": Metric("bytes", 100)})

    with pytest.raises(MmprofError, match=r"base\.json has no 'step_time'"):
        judged("step_time>+1%", device(), before)
