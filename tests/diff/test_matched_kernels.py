"""Renamed kernels are matched by what they were launched for."""

from __future__ import annotations

from pathlib import Path

from compared import GEMM, assert_sums_to_total, compared, product

from fixtures.builder import TraceBuilder

NEW = "Cijk_Alik_Bljk_HHS_BH_MT128x128x32"


def attention(path: Path, calls: list[tuple[str, str]]) -> Path:
    """One operator after the other in one module, each with a kernel of 10 us."""
    t = TraceBuilder()
    with t.module("Attention_0", 0, 100_000):
        for number, (operator, kernel) in enumerate(calls):
            at = number * 10_000
            with t.op(operator, at, at + 5_000):
                t.launch(kernel, at=at + 1_000, call_ns=1_000, kernel=(at + 5_000, at + 15_000))
    return t.write(path)


def test_another_name_for_the_same_call_is_one_row(tmp_path: Path) -> None:
    found = compared(
        product(tmp_path / "a.json"), product(tmp_path / "b.json", kernel=NEW, ns=6_000)
    )
    rows = {row.key: row for row in found.levels.kernel}
    renamed = rows[f"{GEMM} -> {NEW}"]
    assert (renamed.before_ns, renamed.after_ns, renamed.status) == (5_000, 6_000, "both")
    assert renamed.matched_by == "operator, shapes, module and order"
    assert (renamed.before_names, renamed.after_names) == ([GEMM], [NEW])
    assert rows["add_kernel"].matched_by == ""


def test_several_kernels_that_became_one(tmp_path: Path) -> None:
    unfused = [("aten::bmm", "qk_gemm"), ("aten::_softmax", "softmax"), ("aten::bmm", "pv_gemm")]
    found = compared(
        attention(tmp_path / "a.json", unfused),
        attention(tmp_path / "b.json", [("aten::_flash_attention_forward", "flash_fwd")]),
        anyway=True,
    )
    assert_sums_to_total(found)
    (fused,) = found.levels.kernel
    assert fused.key == "pv_gemm and 2 more -> flash_fwd"
    assert (sorted(fused.before_names), fused.after_names) == (
        ["pv_gemm", "qk_gemm", "softmax"],
        ["flash_fwd"],
    )
    assert (fused.before_ns, fused.after_ns, fused.matched_by) == (
        30_000,
        10_000,
        "module and class",
    )


def test_a_fill_before_a_product_moves_no_match(tmp_path: Path) -> None:
    """Kernels are counted by class: a library that clears its workspace first launches the same product."""
    plain, cleared = TraceBuilder(), TraceBuilder()
    for t, name in ((plain, GEMM), (cleared, NEW)):
        with t.op("aten::mm", 0, 9_000, dims=[[64, 64], [64, 64]], types=["float", "float"]):
            if t is cleared:
                t.memset(at=500, call_ns=500, fill=(2_000, 3_000), nbytes=64)
            t.launch(name, at=1_000, call_ns=1_000, kernel=(5_000, 15_000))
    found = compared(plain.write(tmp_path / "a.json"), cleared.write(tmp_path / "b.json"))
    assert f"{GEMM} -> {NEW}" in {row.key for row in found.levels.kernel}


def test_what_has_no_counterpart_appears(tmp_path: Path) -> None:
    """Another operator in another module: nothing says that one kernel does the other's work."""
    found = compared(
        product(tmp_path / "a.json", module="Linear_0"),
        attention(tmp_path / "b.json", [("aten::relu", "relu_kernel")]),
        anyway=True,
    )
    rows = {row.key: row.status for row in found.levels.kernel}
    assert rows[GEMM] == "disappeared"
    assert rows["relu_kernel"] == "appeared"
