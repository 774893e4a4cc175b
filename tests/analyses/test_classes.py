from __future__ import annotations

from fixtures.builder import TraceBuilder
from fixtures.planted import ALL_REDUCE, GEMM, attention_chain
from mmprof.analyzers.analyses.classes import classes


def by_class(result) -> dict[str, tuple[int, int, int]]:
    return {row.class_: (row.time_ns, row.sum_ns, row.count) for row in result.classes}


def test_shared_time_goes_to_computation_and_what_is_left_of_communication_is_exposed(
    view_of,
) -> None:
    t = TraceBuilder()
    with t.op("aten::mm", 0, 4_000):
        t.launch(GEMM, at=1_000, call_ns=1_000, kernel=(10_000, 30_000))
    with t.op("c10d::allreduce_", 4_000, 8_000):
        t.launch(ALL_REDUCE, at=5_000, call_ns=1_000, kernel=(20_000, 50_000), stream=20)
    assert by_class(classes(view_of(t))) == {
        "linear": (20_000, 20_000, 1),
        "communication": (20_000, 30_000, 1),
    }


def test_two_kernels_of_one_class_at_once_are_counted_once(view_of) -> None:
    t = TraceBuilder()
    with t.op("aten::mm", 0, 8_000):
        t.launch(GEMM, at=1_000, call_ns=1_000, kernel=(10_000, 30_000))
        t.launch(GEMM, at=3_000, call_ns=1_000, kernel=(15_000, 25_000), stream=20)
        t.launch(GEMM, at=5_000, call_ns=1_000, kernel=(20_000, 40_000), stream=21)
    assert by_class(classes(view_of(t))) == {"linear": (30_000, 50_000, 3)}


def test_a_written_out_attention_is_attention_from_product_to_product(view_of) -> None:
    built, expected = attention_chain()
    result = classes(view_of(built))
    assert by_class(result)["attention"][0] == expected["attention_ns"]


def test_evidence_sums_to_busy(view_of) -> None:
    built, expected = attention_chain()
    result = classes(view_of(built))
    assert sum(row.time_ns for row in result.class_evidence) == expected["busy_ns"]
    assert {row.by for row in result.class_evidence} == {"operator"}
