"""What an expert says of the public traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.findings import find
from mmprof.analyzers.load import load

if TYPE_CHECKING:
    from pathlib import Path

    from mmprof.analyzers.findings import Finding

H100 = "tracelens/h100/"
MI300 = "tracelens/mi300/"
OWLV2 = "google_owlv2-large-patch14-ensemble__1016001.json.gz"
RESNET_0 = "kineto/resnet50_num_workers_0/worker0.1623143089861.pt.trace.json.gz"
RESNET_4 = "kineto/resnet50_num_workers_4/worker0.1623212756351.pt.trace.json.gz"
QUEUE = "hta/negative_queue_length_values_check/rank0.json.gz"


def findings(path: Path) -> dict[str, Finding]:
    """The findings about the first device by code."""
    return {f.code: f for f in find(next(views(load(path), Options())))}


def test_a_device_bound_prefill_is_not_launch_bound(shared_traces: Path) -> None:
    found = findings(shared_traces / H100 / "Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz")
    assert "MM101" not in found
    assert (
        found["MM119"].evidence.share > 0.4
    )  # rotary embeddings, normalizations, activations in eager mode
    assert "modeling_qwen2.py" in found["MM119"].evidence.where


@pytest.mark.parametrize(
    ("folder", "loader", "attention"), [(H100, 0.456, 0.457), (MI300, 0.619, 0.276)]
)
def test_owlv2_waits_for_its_loader_and_writes_attention_out(
    shared_traces: Path, folder: str, loader: float, attention: float
) -> None:
    found = findings(shared_traces / folder / OWLV2)
    assert found["MM110"].evidence.share == pytest.approx(loader, abs=0.001)
    assert found["MM103"].evidence.share == pytest.approx(attention, abs=0.001)
    assert found["MM103"].lever == "sdpa"
    assert "in 180 chains" in found["MM103"].title  # 24 image layers and 12 text layers, five times
    assert "k=64" in found["MM112"].title or "n=64" in found["MM112"].title
    assert "MM101" not in found


def test_a_small_bert_is_launch_bound(shared_traces: Path) -> None:
    found = findings(shared_traces / MI300 / "gaunernst_bert-small-uncased__1016001.json.gz")
    assert found["MM101"].severity == "high"
    assert found["MM101"].evidence.share == pytest.approx(0.876, abs=0.001)
    assert "61 launches" in found["MM101"].title
    assert found["MM102"].evidence.where.startswith("aten::is_nonzero")


def test_loader_workers_end_the_wait_for_the_loader(shared_traces: Path) -> None:
    without, with_four = (findings(shared_traces / path) for path in (RESNET_0, RESNET_4))
    assert without["MM110"].severity == "high"
    assert without["MM110"].title.endswith("the loader has no workers")
    assert "MM110" not in with_four
    assert without["MM106"].lever == with_four["MM106"].lever == "dtype"  # V100: fp16, no TF32


def test_a_window_with_unrecorded_waits_is_not_trusted(shared_traces: Path) -> None:
    found = findings(shared_traces / QUEUE)
    assert found["MM116"].severity == "high"
    assert found["MM116"].gain.high == 1.0
    assert found["MM114"].evidence.share == pytest.approx(0.131, abs=0.001)
    assert "MM101" not in found


def test_a_trace_without_operators_does_not_blame_python(shared_traces: Path) -> None:
    path = shared_traces / "tracelens/mi210/gpu_only_trace/gpu_only_trace.json.gz"
    said = findings(path)["MM101"].title
    assert said.endswith("(no operators were recorded: it may be dispatch or Python)")
