from __future__ import annotations

import pytest

from fixtures.builder import TraceBuilder
from fixtures.planted import ADD, ALL_REDUCE, GEMM, exposed_communication
from mmprof.analyzers import intervals
from mmprof.analyzers.analyses.communication import Communication, collective_of, communication
from mmprof.analyzers.analyze import Options, views
from mmprof.analyzers.load import load

SEND_RECV = "ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclWorkElem)"


def test_what_computation_does_not_hide_is_exposed(view_of) -> None:
    built, expected = exposed_communication()
    result = communication(view_of(built))
    assert result.communication_ns == expected["communication_ns"]
    assert result.exposed_communication_ns == expected["exposed_communication_ns"]
    assert result.communication_overlap_ns == 15_000
    (row,) = result.collectives
    assert (row.collective, row.element_type, row.group_size, row.count) == (
        "all_reduce",
        "BFloat16",
        2,
        1,
    )
    assert (row.bytes, row.time_ns, row.exposed_ns) == (2_097_152, 40_000, 25_000)
    # 2 MiB in 40 us; an all-reduce of 2 ranks sends 2 x 1/2 of it
    assert (row.algbw_gb_s, row.busbw_gb_s) == (52.4288, 52.4288)


def collective(t: TraceBuilder, name: str, start: int, end: int, **said) -> None:
    args = {"In msg nelems": 1_000, "Out msg nelems": 1_000, "dtype": "Float", **said}
    t.launch(name, at=start, call_ns=1, kernel=(start + 10, end + 10), stream=20, args=args)


@pytest.mark.parametrize(
    ("said", "elements", "nbytes", "factor"),
    [
        ("allreduce", (1_000, 1_000), 4_000, 1.5),
        ("_allgather_base", (1_000, 4_000), 16_000, 0.75),
        ("_reduce_scatter_base", (4_000, 1_000), 16_000, 0.75),
        ("all_to_all", (4_000, 4_000), 16_000, 0.75),
        ("broadcast", (1_000, 1_000), 4_000, 1.0),
        ("send", (1_000, 0), 4_000, 1.0),
    ],
)
def test_bandwidths_count_as_nccl_tests_does(said, elements, nbytes, factor, view_of) -> None:
    t = TraceBuilder()
    sizes = {"In msg nelems": elements[0], "Out msg nelems": elements[1]}
    name = "ncclDevKernel_Generic_1(ncclDevKernelArgsStorage<4096ul>)"
    collective(t, name, 0, 1_000, **{"Collective name": said, "Group size": 4, **sizes})
    (row,) = communication(view_of(t)).collectives
    assert row.bytes == nbytes
    assert row.algbw_gb_s == nbytes / 1_000
    assert row.busbw_gb_s == pytest.approx(nbytes / 1_000 * factor)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ncclDevKernel_ReduceScatter_Sum_bf16_RING_LL(ncclDevComm*)", "reduce_scatter"),
        ("ncclDevKernel_AllGather_RING_LL(ncclDevComm*)", "all_gather"),
        ("ncclKernel_Broadcast_RING_LL_Sum_int8_t(ncclWorkElem)", "broadcast"),
        ("ncclDevKernel_Reduce_Sum_f32_RING_LL(ncclDevComm*)", "reduce"),
        ("rcclDevKernel_Generic", "unknown"),
        (SEND_RECV, "send_recv"),
        ("void vllm::cross_device_reduce_1stage<__nv_bfloat16, 8>(...)", "custom_all_reduce"),
        ("multimem_all_reduce_kernel", "custom_all_reduce"),
        ("nccl:_all_gather_base", "all_gather"),
        ("c10d::alltoall_base_", "all_to_all"),
    ],
)
def test_the_collective_in_a_name(name: str, expected: str) -> None:
    assert collective_of(name) == expected


def test_an_annotation_says_more_than_the_kernels_name(view_of) -> None:
    t = TraceBuilder()
    with t.annotation("nccl:all_to_all", 0, 1_000):
        t.launch(SEND_RECV, at=100, call_ns=100, kernel=(2_000, 5_000))
    (row,) = communication(view_of(t)).collectives
    assert (row.collective, row.bytes, row.algbw_gb_s, row.busbw_gb_s) == (
        "all_to_all",
        0,
        None,
        None,
    )


def test_an_element_type_or_a_group_that_is_not_known_gives_no_bandwidth(view_of) -> None:
    t = TraceBuilder()
    said = {"Collective name": "allreduce"}
    collective(t, ALL_REDUCE, 0, 1_000, **said, **{"dtype": "Float3", "Group size": 4})
    collective(t, ALL_REDUCE, 2_000, 3_000, **said)
    of = {
        r.element_type: (r.bytes, r.algbw_gb_s, r.busbw_gb_s)
        for r in communication(view_of(t)).collectives
    }
    assert of == {"Float3": (0, None, None), "Float": (4_000, 4.0, None)}


def test_a_copy_hides_nothing_and_collectives_at_once_count_once(view_of) -> None:
    t = TraceBuilder()
    t.launch(ALL_REDUCE, at=0, call_ns=100, kernel=(10_000, 40_000), stream=20)
    t.launch(SEND_RECV, at=200, call_ns=100, kernel=(20_000, 50_000), stream=21)
    t.launch(ADD, at=400, call_ns=100, kernel=(30_000, 35_000), stream=7)
    t.memcpy("HtoD (Pinned -> Device)", at=600, call_ns=100, copy=(42_000, 48_000), nbytes=8)
    result = communication(view_of(t))
    assert (result.communication_ns, result.exposed_communication_ns) == (40_000, 35_000)
    assert {r.collective: (r.time_ns, r.exposed_ns) for r in result.collectives} == {
        "all_reduce": (30_000, 25_000),
        "send_recv": (30_000, 25_000),
    }


def test_no_communication_gives_an_empty_result(view_of) -> None:
    t = TraceBuilder()
    t.launch(GEMM, at=0, call_ns=100, kernel=(1_000, 2_000))
    assert communication(view_of(t)) == Communication(0, 0, 0, [])


def test_a_host_views_collectives_have_no_arguments(view_of) -> None:
    t = TraceBuilder("cpu")
    t.op("c10d::allreduce_", 0, 1_000)
    result = communication(view_of(t))
    assert result.communication_ns == 1_000
    assert [(r.collective, r.element_type, r.bytes) for r in result.collectives] == [
        ("all_reduce", "", 0)
    ]


@pytest.mark.parametrize(
    ("name", "collectives"),
    [
        ("hta/trace_diff/control/control.json.gz", {"all_to_all", "all_reduce"}),
        (
            "hta/negative_queue_length_values_check/rank0.json.gz",
            {"all_to_all", "all_reduce", "all_gather", "reduce_scatter"},
        ),
    ],
)
def test_real_traces_add_up(name: str, collectives: set[str], shared_traces) -> None:
    view = next(views(load(shared_traces / name), Options()))
    result = communication(view)
    kernels = view.activities.filter(view.activities["class"] == "communication")
    assert result.communication_ns == intervals.union_length(kernels)
    assert (
        result.communication_ns == result.exposed_communication_ns + result.communication_overlap_ns
    )
    assert sum(r.time_ns for r in result.collectives) == kernels["dur_ns"].sum()
    assert {r.collective for r in result.collectives} == collectives
