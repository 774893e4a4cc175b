"""Diffs of pairs that the project's own tracer recorded: another attention, which is shipped, and compiled code, recorded here.

How long anything lasts is up to the machine: times are looked at in what is shipped only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from compared import assert_sums_to_total, compared, levels

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from fixtures.record import FOLDER, PAIR  # noqa: E402
from mmprof.analyzers.diff.result import Difference, Row  # noqa: E402
from mmprof.cli.renderers.difference.headline import headline  # noqa: E402
from mmprof.tracer.lever_compiling import why_no_compiler  # noqa: E402
from mmprof.tracer.order import Limits  # noqa: E402
from mmprof.tracer.phases import phase  # noqa: E402
from mmprof.tracer.record import Plan, record  # noqa: E402
from mmprof.tracer.recorder import options_for  # noqa: E402
from mmprof.tracer.workload import Workload  # noqa: E402
from tests.tracer.toys import DEVICE  # noqa: E402

STEPS: Final = 30
OPERATORS: Final = 60
OF_INDUCTOR: Final = "ignore:.*torch.jit.script_method:DeprecationWarning"


class Chain(nn.Module):
    """Operators whose calls take longer than their work: what a compiler fuses."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(OPERATORS):
            x = torch.neg(x) + 1
        return x


class Model(nn.Module):
    """A product before a chain."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(64, 64)
        self.chain = Chain()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.chain(self.up(x))


def recorded(workload: Workload, path: Path) -> Path:
    record(workload, Plan(path, DEVICE, options_for(DEVICE), Limits(warmups=2, repeats=0)))
    return path


def denoising(model: nn.Module) -> Workload:
    x = torch.ones(8, 64)

    def run() -> torch.Tensor:
        with torch.no_grad():
            for step in range(STEPS):
                with phase("denoise", step):
                    made = model(x)
        return made

    return Workload("toy", {"": model}, run, {})


@pytest.fixture(scope="module")
def another_attention() -> Difference:
    return compared(*(FOLDER / shipped.name for shipped in PAIR))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Difference]:
    if reason := why_no_compiler(DEVICE):
        pytest.skip(f"torch.compile {reason}")
    model, folder = Model().eval(), tmp_path_factory.mktemp("toy")
    before = recorded(denoising(model), folder / "eager.json.gz")
    after = recorded(denoising(torch.compile(model)), folder / "compiled.json.gz")
    yield compared(before, after)
    torch.compiler.reset()


def rows(found: list[Row], part: str) -> list[Row]:
    return [row for row in found if part in row.key]


def test_another_attention_is_named_first(another_attention: Difference) -> None:
    found = another_attention
    assert_sums_to_total(found)
    assert headline(found).startswith(
        "2.55x faster, not judged: 134 ms -> 52.7 ms; attention -68.1 ms, "
    )
    assert found.levels.module[0].key == "model.layers.*.self_attn"
    assert {row.status for row in rows(found.levels.op, "aten::_softmax")} == {"disappeared"}
    assert {row.status for row in rows(found.levels.op, "aten::_scaled_dot")} == {"appeared"}


def test_steps_of_both_attentions_stand_in_one_row(another_attention: Difference) -> None:
    keys = {row.key for row in another_attention.levels.step}
    assert keys - {"other"} == {"prefill", "decode[0]", "decode[1]"}
    assert {row.status for row in rows(another_attention.levels.step, "decode")} == {"both"}


@pytest.mark.slow
@pytest.mark.filterwarnings(OF_INDUCTOR)
def test_compiled_code_waits_less_for_python(compiled: Difference) -> None:
    assert_sums_to_total(compiled)
    assert compiled.unit == "step"
    (python,) = rows(compiled.levels.cause, "python")
    assert python.after_count < python.before_count / 2  # how long each lasts is up to the machine


@pytest.mark.slow
@pytest.mark.filterwarnings(OF_INDUCTOR)
def test_a_compiled_model_is_the_model_and_what_was_fused_is_gone(compiled: Difference) -> None:
    assert not [row for found in levels(compiled).values() for row in rows(found, "_orig_mod")]
    modules = {row.key: row.status for row in compiled.levels.module}
    assert modules["chain"] == modules["up"] == "disappeared"
    assert modules["Model"] == "appeared"
    (product,) = rows(compiled.levels.op, "aten::addmm [[64],[8,64],[64,64]]")
    assert product.status == "both"
    (negation,) = rows(compiled.levels.kernel, "aten::neg")
    assert negation.status == "disappeared"
