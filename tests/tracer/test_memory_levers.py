"""Levers of memory, copies and streams: what they change, what they keep, that they are undone; broken ones are caught."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from fixtures.builder import TraceBuilder
from mmprof.analyzers.view import View
from mmprof.analyzers.whatif import Replay
from mmprof.tracer.host_memory import page_faults, why_malloc_cannot_keep
from mmprof.tracer.lever import NotApplicableError
from mmprof.tracer.lever_registry import lever_named
from mmprof.tracer.levers.allocator_settings import LEAST_FAULTS
from mmprof.tracer.workload import Workload

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from lever_checks import reference, workload  # noqa: E402
from torch import nn  # noqa: E402
from transformers.cache_utils import DynamicLayer  # noqa: E402

from mmprof.tracer import device_memory, lever_copies, lever_parallel  # noqa: E402
from mmprof.tracer.lever_copies import pinned_copies  # noqa: E402
from mmprof.tracer.lever_parallel import Lane  # noqa: E402
from mmprof.tracer.verify_outputs import check_outputs, reference_of  # noqa: E402

ViewOf = Callable[[TraceBuilder], View]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

# Freed memory that is used again.

LARGE: int = 40 << 20
"""Bytes beyond the 32 MiB from which on glibc always maps memory for itself."""


def large() -> Workload:
    """A request that makes one large tensor, which is freed as soon as nobody has it."""
    return Workload("large", {"": nn.Linear(1, 1)}, partial(torch.ones, LARGE // 4))


@pytest.fixture
def faulting() -> Workload:
    base = large()
    if why_malloc_cannot_keep() or page_faults(base.run) < LEAST_FAULTS:
        pytest.skip("another malloc, or pages larger than 4 KiB")
    return base


def test_a_request_asks_for_its_memory_once(faulting: Workload) -> None:
    lever, expected = lever_named("allocator_settings"), reference_of(faulting)
    assert lever.applies(faulting, "cpu") == ""
    before = page_faults(faulting.run)
    with lever.apply(faulting) as changed:
        assert check_outputs(changed, expected, lever.exactness).outputs_equal
        # where free memory lies in pieces, it takes some requests until one is large enough
        assert min(page_faults(changed.run) for _ in range(4)) < before // 10
    # what is as large is mapped anew again
    assert page_faults(faulting.run) > before // 2


def test_a_request_that_needs_no_memory_is_left_alone() -> None:
    with (
        pytest.raises(NotApplicableError, match="fewer than 1,024 cost nothing"),
        lever_named("allocator_settings").apply(replace(large(), run=lambda: torch.ones(2))),
    ):
        pass


def test_which_malloc_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    applies, base = lever_named("allocator_settings").applies, workload("llama")
    assert applies(base, "mps") == "mps has no such settings"
    monkeypatch.setenv("LD_PRELOAD", "/usr/lib/libjemalloc.so.2")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    assert "another malloc is preloaded" in applies(base, "cpu")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert "only glibc's malloc" in applies(base, "cpu")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What an allocator of CUDA is told."""
    words: list[str] = []
    monkeypatch.setattr(torch._C, device_memory._SETTER, words.append, raising=False)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: words.append("give back"))
    monkeypatch.setattr(torch.cuda, "get_allocator_backend", lambda: "native")
    return words


def test_segments_of_a_gpu_grow_for_a_while(told: list[str]) -> None:
    assert lever_named("allocator_settings").applies(workload("llama"), "cuda") == ""
    with device_memory.expandable_segments():
        assert told == ["give back", "expandable_segments:True"]
    assert told[2:] == ["expandable_segments:False", "give back"]


@pytest.mark.usefixtures("told")
def test_segments_that_grow_already_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    applies, base = lever_named("allocator_settings").applies, workload("llama")
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    assert applies(base, "cuda:1") == "segments are expandable already"
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF")
    monkeypatch.setattr(torch.cuda, "get_allocator_backend", lambda: "cudaMallocAsync")
    assert applies(base, "cuda") == "the allocator is not torch's own"


# A cache in the host's memory.


class HostStream:
    """What torch has for devices only: on a host all is done when it is asked for."""

    def wait_stream(self, other: object) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


class Parked:
    """The host's memory in the place of a device's: what is parked is not where attention looks for it."""

    def __init__(self) -> None:
        self.moves: list[str] = []

    def offload(self, layer: Any) -> None:
        self.moves.append("offload")
        layer.parked = layer.keys, layer.values
        layer.keys = layer.values = None

    def prefetch(self, layer: Any) -> None:
        if layer.is_initialized and layer.keys is None:
            self.moves.append("prefetch")
            layer.keys, layer.values = layer.parked


def method(function: Callable[[Any], None]) -> Callable[[Any], None]:
    """A function that a class binds, which it does not do with a bound method."""

    def bound(layer: Any) -> None:
        function(layer)

    return bound


@pytest.fixture
def parked(monkeypatch: pytest.MonkeyPatch) -> Parked:
    made = Parked()
    length = DynamicLayer.get_seq_length

    def known_length(layer: Any) -> int:
        away = layer.is_initialized and layer.keys is None
        return int(layer.parked[0].shape[-2]) if away else length(layer)

    monkeypatch.setattr(DynamicLayer, "offload", method(made.offload))
    monkeypatch.setattr(DynamicLayer, "prefetch", method(made.prefetch))
    monkeypatch.setattr(DynamicLayer, "get_seq_length", known_length)
    monkeypatch.setattr(torch, "Stream", HostStream)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda device: HostStream())
    return made


def test_layers_are_parked_and_brought_back(parked: Parked) -> None:
    base, lever = workload("llama"), lever_named("cache_offload")
    expected, layers = reference("llama"), 4
    with lever.apply(base) as changed:
        assert check_outputs(changed, expected, lever.exactness).outputs_equal
    # 8 passes, each of which parks every layer; the first finds nothing to bring back but what it parked itself
    assert parked.moves.count("offload") % (8 * layers) == 0
    assert parked.moves.count("prefetch") >= 7 * layers
    parked.moves.clear()
    base.run()
    assert parked.moves == []


def test_a_stale_layer_is_caught(parked: Parked, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = parked.prefetch

    def stale(layer: Any) -> None:
        """The newest token is that of the step before."""
        whole(layer)
        if layer.is_initialized and layer.keys.shape[-2] > 1:
            layer.keys[:, :, -1] = layer.keys[:, :, -2]

    monkeypatch.setattr(DynamicLayer, "prefetch", stale)
    with lever_named("cache_offload").apply(workload("llama")) as changed:
        assert not check_outputs(changed, reference("llama"), "reassociation").ok


@pytest.mark.parametrize(
    ("family", "task", "device", "reason"),
    [
        ("llama", "", "cpu", "the cache lies in the host's memory already"),
        ("llama", "", "xpu", "streams of CUDA, not of xpu"),
        ("hstu", "", "cuda", "no model of transformers that generates"),
        ("seamless", "T-T", "cuda", "reads its cross-attention's cache where it lies"),
        ("llama", "", "cuda", ""),
    ],
)
def test_where_a_cache_can_be_offloaded(family: str, task: str, device: str, reason: str) -> None:
    found = lever_named("cache_offload").applies(workload(family, task), device)
    assert reason in found
    assert bool(reason) == bool(found)


# Copies from pinned memory.


def test_what_leaves_the_host_is_pinned_first() -> None:
    copies: list[object] = []
    pinned: list[Any] = []
    inherited = vars(torch.Tensor).get("to"), vars(torch.Tensor).get("cuda")

    def pin(tensor: Any) -> Any:
        pinned.append(tensor)
        return tensor.clone()

    x, elsewhere = torch.ones(2, 3), torch.empty(2, 3, device="meta")
    with pinned_copies(copies, pin=pin):
        assert x.to("meta").device.type == "meta"
        assert x.to(device="meta", dtype=torch.float64).dtype == torch.float64
        x.to(elsewhere)
        elsewhere.copy_(x)
        assert len(copies) == len(pinned) == 4
        # within the host, on the device, or back
        x.to(torch.float64), x.to("cpu"), elsewhere.to("meta"), torch.empty(2, 3).copy_(x)
    assert len(copies) == 4
    assert all(tensor is x for tensor in pinned)
    assert (vars(torch.Tensor).get("to"), vars(torch.Tensor).get("cuda")) == inherited


@contextmanager
def host_as_device(monkeypatch: pytest.MonkeyPatch, pin: Callable[[Any], Any]) -> Iterator[None]:
    """Every copy to the host counts as one to a device, so that its values can be seen."""
    monkeypatch.setattr(lever_copies, "_device_type", lambda value: "cuda")
    with pinned_copies([], pin=pin):
        yield


def test_a_buffer_of_the_call_before_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.arange(3.0)

    def run() -> Any:
        first = x.to("cpu") * 2
        return first, (x + 1).to("cpu")

    base = Workload("copying", {}, run)
    expected, buffer = reference_of(base), torch.ones(3)
    with host_as_device(monkeypatch, torch.Tensor.clone):
        assert check_outputs(base, expected, "identical").ok
    with host_as_device(monkeypatch, lambda tensor: buffer):
        assert not check_outputs(base, expected, "identical").ok


def test_a_request_without_copies_is_told_so() -> None:
    lever = lever_named("pinned_copies")
    assert "nothing is copied to a device" in lever.applies(workload("llama"), "cpu")
    assert lever.applies(workload("llama"), "cuda") == ""
    with (
        lever.apply(workload("hstu")) as changed,
        pytest.raises(NotApplicableError, match="copies nothing from pageable memory"),
    ):
        changed.run()


def copying(t: TraceBuilder, kind: str) -> None:
    """Two kernels of 100 us, and between them a copy of 4 us, whose call returns with it."""
    t.launch("gemm", at=1_000, call_ns=2_000, kernel=(4_000, 104_000))
    t.memcpy(kind, at=4_000, call_ns=104_000, copy=(104_000, 108_000), nbytes=64)
    t.launch("gemm", at=110_000, call_ns=2_000, kernel=(113_000, 213_000))


@pytest.mark.parametrize(
    ("kind", "helps"),
    [("HtoD (Pageable -> Device)", True), ("DtoH (Device -> Pageable)", False)],
)
def test_copies_to_the_device_no_longer_hold_the_host(
    kind: str, helps: bool, view_of: ViewOf
) -> None:
    built = TraceBuilder()
    copying(built, kind)
    predict = lever_named("pinned_copies").predict
    assert predict
    prediction, why = predict(Replay(view_of(built)))
    assert (prediction is not None) == helps
    if prediction:
        # 209 us, of which the device stood still for 5
        assert 1.01 < prediction.expected <= 209 / 204
    else:
        assert why == "no copy HtoD in the window holds the host"


# Encoders side by side.


class Tower(nn.Module):
    """An encoder that notes on which thread it runs."""

    def __init__(self, threads: list[str]) -> None:
        super().__init__()
        self.layers, self.threads = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), threads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.threads.append(threading.current_thread().name)
        made: torch.Tensor = self.layers(x)
        return made


class Pair:
    """Two towers, the second of which reads an input of its own, or what the first one makes."""

    def __init__(self, *, chained: bool = False) -> None:
        torch.manual_seed(0)
        self.threads: list[str] = []
        self.image, self.text = Tower(self.threads), Tower(self.threads)
        self.inputs = torch.rand(2, 4), torch.rand(2, 4)
        self.chained = chained
        self.workload = Workload("pair", {"image": self.image, "text": self.text}, self.run)

    @torch.no_grad()
    def run(self) -> torch.Tensor:
        seen = self.image(self.inputs[0])
        read = self.text(seen if self.chained else self.inputs[1])
        return seen @ read.T


def test_the_second_encoder_runs_on_a_thread_of_its_own() -> None:
    pair, lever = Pair(), lever_named("parallel_encoders")
    expected = reference_of(pair.workload)
    assert lever.applies(pair.workload, "cpu") == ""
    with lever.apply(pair.workload) as changed:
        pair.threads.clear()
        assert check_outputs(changed, expected, lever.exactness).outputs_equal
        assert len(pair.threads) == 2
        assert [t.startswith("mmprof-encoder") for t in sorted(pair.threads)] == [False, True]
    assert not any("forward" in vars(tower) for tower in (pair.image, pair.text))
    pair.threads.clear()
    pair.run()
    assert set(pair.threads) == {threading.current_thread().name}


def test_an_encoder_that_reads_the_other_one_waits() -> None:
    lever = lever_named("parallel_encoders")
    with (
        pytest.raises(NotApplicableError, match="before a request: only Tower does"),
        lever.apply(Pair(chained=True).workload),
    ):
        pass


def test_an_input_that_was_written_to_is_encoded_when_it_is_read() -> None:
    pair = Pair()
    with lever_named("parallel_encoders").apply(pair.workload) as changed:
        pair.inputs[1].mul_(2)
        with pytest.raises(NotApplicableError, match="no encoder beside the first"):
            changed.run()


def test_a_stale_output_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair()
    serve = lever_parallel.Parallel._compute
    made: list[Any] = []

    def once(self: Any, place: int, modes: Any) -> Any:
        made.append(made[0] if made else serve(self, place, modes))
        return made[-1]

    monkeypatch.setattr(lever_parallel.Parallel, "_compute", once)
    monkeypatch.setattr(lever_parallel, "_state", lambda value: None)
    with lever_named("parallel_encoders").apply(pair.workload) as changed:
        changed.run()
        pair.inputs[1].mul_(-2)
        expected = reference_of(pair_without_lever(pair))
        assert not check_outputs(changed, expected, "identical").ok


def pair_without_lever(pair: Pair) -> Workload:
    """The same towers and inputs, their own forwards."""
    fresh = Pair()
    fresh.inputs = pair.inputs
    return fresh.workload


class DeviceStream:
    """A stream that notes whom it waits for."""

    def __init__(self, name: str, waits: list[str]) -> None:
        self.name, self.waits, self.device = name, waits, torch.device("cuda")

    def wait_stream(self, other: DeviceStream) -> None:
        self.waits.append(f"{self.name} waits for {other.name}")


def test_a_stream_begins_after_the_request_and_the_request_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[str] = []
    lane: Any = Lane(DeviceStream("lane", waits))  # type: ignore[arg-type]
    own = DeviceStream("request", waits)
    monkeypatch.setattr(torch.accelerator, "current_stream", lambda device: own)
    monkeypatch.setattr(
        torch.Tensor, "record_stream", lambda tensor, stream: waits.append("kept"), raising=False
    )
    lane.open()
    lane.join({"states": torch.ones(1)})
    assert waits == ["lane waits for request", "request waits for lane", "kept"]


@pytest.mark.parametrize(
    ("family", "task", "reason"),
    [("hstu", "", "only HstuEncoder does"), ("diffusion", "", "only TextEncoder does")],
)
def test_families_have_no_two_encoders_that_do_not_wait(
    family: str, task: str, reason: str
) -> None:
    lever = lever_named("parallel_encoders")
    assert lever.applies(workload(family, task), "cpu") == ""
    with (
        pytest.raises(NotApplicableError, match=reason),
        lever.apply(workload(family, task)),
    ):
        pass
    assert "only one model" in lever.applies(workload("llama"), "cpu")
