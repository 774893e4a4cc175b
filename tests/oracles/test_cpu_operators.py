"""torch's dispatcher says which operators have a CPU kernel; its schemas, which return views."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.cpu_operators import DESCRIBES, WORKS
from mmprof.analyzers.load import load

if TYPE_CHECKING:
    from pathlib import Path

torch = pytest.importorskip("torch")


REGISTERED = {n for n in torch._C._dispatch_get_all_op_names() if n.startswith("aten::")}


def names_with_cpu_kernel() -> set[str]:
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    return {name.partition(".")[0] for name in REGISTERED if has_kernel(name, "CPU")}


def names_of_views() -> set[str]:
    """Operators with an overload whose result shares the memory of an argument that it does not write."""
    names = {name.partition(".")[0] for name in REGISTERED}
    return {
        s.name
        for s in torch._C._jit_get_all_schemas()
        if s.name in names
        and any(r.alias_info is not None and not r.alias_info.is_write for r in s.returns)
    }


@pytest.mark.skipif(not torch.__version__.startswith("2.13"), reason="the lists are of torch 2.13")
def test_the_lists_are_the_dispatchers() -> None:
    assert names_of_views() <= DESCRIBES
    assert names_with_cpu_kernel() - DESCRIBES - {"aten::_foobar"} == WORKS


def test_no_operator_both_works_and_describes() -> None:
    assert not WORKS & DESCRIBES


LAYERS = [
    (torch.nn.Linear(1024, 1024), (512, 1024)),
    (torch.nn.Conv2d(16, 16, 3), (1, 16, 96, 96)),
    # oneDNN's transposed convolution is no operator: `aten::_convolution` calls it, and copies the result
    (torch.nn.ConvTranspose1d(4, 2, 4, stride=2), (1, 4, 65_536)),
    (torch.nn.ConvTranspose2d(16, 8, 4, stride=2), (1, 16, 96, 96)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=[type(x).__name__ for x, _ in LAYERS])
def test_the_compute_of_a_model_on_the_cpu_is_busy(
    layer: torch.nn.Module, shape: tuple[int, ...], tmp_path: Path
) -> None:
    batch = torch.ones(shape)
    with torch.inference_mode():
        layer(batch)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            layer(batch)
    path = tmp_path / "trace.json"
    profiler.export_chrome_trace(str(path))
    view = next(views(load(path), Options()))
    whole_us = max(event.cpu_time_total for event in profiler.events())
    assert view.busy_ns > 900 * whole_us
