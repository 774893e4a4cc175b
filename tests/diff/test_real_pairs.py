"""Diffs of public traces: what an expert would say of them, to the nanosecond."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from compared import assert_sums_to_total, side

from mmprof.analyzers.diff.difference import difference
from mmprof.analyzers.diff.result import Difference
from mmprof.analyzers.errors import MmprofError
from mmprof.cli.renderers.difference.headline import headline

QWEN = "tracelens/h100/Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz"
OWL = "google_owlv2-large-patch14-ensemble__1016001.json.gz"


side_once = cache(side)


def pair(folder: Path, before: str, after: str) -> Difference:
    found = difference(side_once(folder / before), side_once(folder / after))
    assert_sums_to_total(found)
    return found


def test_the_data_loader_is_named_as_the_cause(shared_traces: Path) -> None:
    found = pair(shared_traces, "kineto/resnet50_num_workers_0", "kineto/resnet50_num_workers_4")
    assert found.total.verdict == "faster"
    assert found.comparable.reasons == []
    assert headline(found).startswith(
        "1.24x faster: 166 ms -> 134 ms per step; waiting for the data loader -46.8 ms; but "
    )


def test_another_architecture(shared_traces: Path) -> None:
    found = pair(shared_traces, f"tracelens/h100/{OWL}", f"tracelens/mi300/{OWL}")
    assert (found.total.before_ns, found.total.after_ns) == (1_078_288_379, 908_338_155)
    assert headline(found).startswith(
        "1.19x faster on AMD Instinct MI300X VF than on NVIDIA H100 80GB HBM3, not judged: 1.08 s -> 908 ms; attention -242 ms;"
    )
    assert [r.code for r in found.comparable.reasons] == ["MM-N045"]
    kernels = found.levels.kernel
    unmatched = sum(r.before_ns for r in kernels if r.status == "disappeared")
    assert unmatched < 0.01 * found.total.before_ns
    (softmax,) = (r for r in kernels if r.before_ns == 262_422_467)
    assert softmax.after_ns == 153_698_475
    assert "cunn_SoftMaxForward" in softmax.before_names[0]


def test_another_library_and_world_size(shared_traces: Path) -> None:
    found = pair(shared_traces, "hta/trace_diff/control", "hta/trace_diff/test")
    assert (found.unit, found.total.verdict) == ("step", "slower")
    assert headline(found).startswith(
        "1.60x slower on Tesla V100-SXM2-16GB than on NVIDIA A100-PG509-200: 77.4 ms -> 124 ms per step; linear +21.0 ms,"
    )
    assert found.comparable.ok
    assert {"MM-N045", "MM-N047", "MM-N053"} <= {r.code for r in found.comparable.reasons}


def test_unrelated_models_are_refused(shared_traces: Path) -> None:
    with pytest.raises(MmprofError) as raised:
        pair(shared_traces, QWEN, f"tracelens/h100/{OWL}")
    assert raised.value.code == "MM-E070"
    assert "modules 0.0 %" in raised.value.found
