"""The device table: sourced, dense, unambiguous; and the devices of real traces found in it."""

from __future__ import annotations

import gzip
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from mmprof.analyzers.devices import (
    DTYPE_KEYS,
    DeviceMatch,
    DeviceSpec,
    load_spec_file,
    load_table,
    match_device,
)
from mmprof.analyzers.devices.table import load_entries
from mmprof.analyzers.errors import MmprofError

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30
TERA = 10**12
BY_NAME = {spec.name: spec for spec in load_table()}

every_device = pytest.mark.parametrize("spec", load_table(), ids=lambda spec: spec.name)


def matched(**properties: object) -> DeviceMatch:
    match = match_device(properties)
    assert match is not None
    return match


# --- the table --------------------------------------------------------------------------------------------------------


@every_device
def test_an_entry_names_a_dated_source(spec: DeviceSpec) -> None:
    assert spec.source.startswith((spec.vendor, "Rates per SM"))
    assert any(str(year) in spec.source for year in range(2018, 2027))


@every_device
def test_an_entry_has_plausible_positive_numbers(spec: DeviceSpec) -> None:
    assert {"fp32", "fp16"} <= spec.peak_flops.keys() <= set(DTYPE_KEYS)
    assert all(0.1 * TERA < rate < 20_000 * TERA for rate in spec.peak_flops.values())
    assert 200e9 < spec.bandwidth_bytes_per_s < 10e12
    assert spec.memory_bytes is not None
    assert 8 * GIB <= spec.memory_bytes <= 300 * GIB


@every_device
def test_narrower_dtypes_are_never_slower(spec: DeviceSpec) -> None:
    order = ["fp32", "tf32", "bf16", "fp8", "fp4"]
    rates = [spec.peak_flops[dtype] for dtype in order if dtype in spec.peak_flops]
    assert rates == sorted(rates)


@every_device
def test_sparsity_is_not_hidden_in_one_dtype(spec: DeviceSpec) -> None:
    """Dense rates double with each halving of the operand; a forgotten sparse figure makes it four."""
    for wide, narrow in (("tf32", "bf16"), ("bf16", "fp8"), ("fp16", "int8")):
        if {wide, narrow} <= spec.peak_flops.keys():
            ratio = spec.peak_flops[narrow] / spec.peak_flops[wide]
            # int8 on GeForce is four times the fp16 rate, which FP32 accumulation halves there.
            limit = 4.1 if narrow == "int8" and "GeForce" in spec.name else 2.1
            assert 0.9 < ratio < limit, (wide, narrow)


@every_device
def test_vector_rates_do_not_exceed_matrix_rates(spec: DeviceSpec) -> None:
    assert all(rate <= spec.peak_flops[dtype] for dtype, rate in spec.vector_flops.items())


@pytest.mark.parametrize(
    ("name", "dtype", "tflops"),
    [
        ("NVIDIA V100 SXM2 32GB", "fp16", 125),
        ("NVIDIA T4", "fp16", 65),
        ("NVIDIA A100 SXM4 80GB", "bf16", 312),  # 624 with sparsity
        ("NVIDIA A100 40GB", "tf32", 156),
        ("NVIDIA A10", "bf16", 125),
        ("NVIDIA L4", "bf16", 121),  # the datasheet leads with 242
        ("NVIDIA L40S", "bf16", 362.05),  # 733 with sparsity
        ("NVIDIA GeForce RTX 4090", "fp16", 165.2),  # 330.3 with FP16 accumulation
        ("NVIDIA H100 SXM5", "bf16", 989.4),  # 1979 with sparsity
        ("NVIDIA H100 SXM5", "fp8", 1978.9),
        ("NVIDIA H100 PCIe", "bf16", 756.5),
        ("NVIDIA H200 SXM5", "bf16", 989.5),
        ("NVIDIA B200", "bf16", 2250),
        ("NVIDIA GB200", "fp4", 10000),
        ("AMD Instinct MI210", "fp16", 181),
        ("AMD Instinct MI250X (one GCD)", "bf16", 191.5),  # 383 per board
        ("AMD Instinct MI300X", "bf16", 1307.4),  # 2614.9 with sparsity
        ("AMD Instinct MI300X", "fp8", 2614.9),
        ("AMD Instinct MI355X", "bf16", 2516.6),
    ],
)
def test_peaks_are_dense(name: str, dtype: str, tflops: float) -> None:
    assert BY_NAME[name].peak(dtype) == round(tflops * TERA)


@pytest.mark.parametrize(
    ("name", "gb_per_s"),
    [
        ("NVIDIA L4", 300),
        ("NVIDIA A100 40GB", 1555),
        ("NVIDIA A100 SXM4 80GB", 2039),
        ("NVIDIA H100 SXM5", 3350),
        ("NVIDIA H200 SXM5", 4800),
        ("AMD Instinct MI250 (one GCD)", 1638.4),
        ("AMD Instinct MI300X", 5300),
    ],
)
def test_bandwidth(name: str, gb_per_s: float) -> None:
    assert BY_NAME[name].bandwidth_bytes_per_s == round(gb_per_s * 1e9)


def test_device_names_are_unique() -> None:
    assert len(BY_NAME) == len(load_table())


def test_an_alias_leads_to_its_own_entry_and_no_other() -> None:
    for entry in load_entries():
        assert entry.aliases
        for alias in entry.aliases:
            for name in (alias, f"NVIDIA {alias}", f"Tesla {alias}", f"AMD {alias}", alias.lower()):
                assert match_device({"name": name}) == DeviceMatch(entry.spec, "by name")


def test_an_entry_is_found_again_by_its_own_properties() -> None:
    """Where properties alone may decide, they lead to the entry or say that they are ambiguous."""
    for entry in load_entries():
        spec = entry.spec
        assert spec.compute_capability is not None
        major, minor = spec.compute_capability
        match = match_device(
            {
                "computeMajor": major,
                "computeMinor": minor,
                "numSms": spec.num_sms,
                "totalGlobalMem": spec.memory_bytes,
                "warpSize": 64 if spec.vendor == "AMD" else 32,
            }
        )
        if not entry.match_properties:
            assert match is None
        else:
            assert match is not None
            assert match.spec == spec or spec.name in match.how


# --- dtypes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "tflops"),
    [
        ("c10::BFloat16", 1307.4),
        ("torch.bfloat16", 1307.4),
        ("c10::Half", 1307.4),
        ("float", 163.4),
        ("double", 163.4),
        ("tf32", 653.7),
        ("signed char", 2614.9),
        ("c10::Float8_e4m3fn", 2614.9),
        ("c10::Float8_e4m3fnuz", 2614.9),
        ("c10::Float8_e5m2", 2614.9),
    ],
)
def test_peak_takes_the_dtype_names_of_traces(dtype: str, tflops: float) -> None:
    assert BY_NAME["AMD Instinct MI300X"].peak(dtype) == round(tflops * TERA)


@pytest.mark.parametrize(
    "dtype", ["int", "long int", "long", "short int", "bool", "c10::complex<float>", "", "Scalar"]
)
def test_peak_of_a_dtype_without_a_matrix_rate_is_unknown(dtype: str) -> None:
    assert BY_NAME["NVIDIA H100 SXM5"].peak(dtype) is None


def test_peak_of_a_dtype_that_the_hardware_lacks_is_unknown() -> None:
    assert BY_NAME["NVIDIA V100 SXM2 16GB"].peak("c10::BFloat16") is None
    assert BY_NAME["NVIDIA A100 40GB"].peak("c10::Float8_e4m3fn") is None


def test_the_scales_of_a_block_format_are_no_operands() -> None:
    assert BY_NAME["NVIDIA B200"].peak("c10::Float8_e8m0fnu") is None
    assert BY_NAME["NVIDIA B200"].peak("c10::Float4_e2m1fn_x2") == 9000 * TERA


# --- matching ---------------------------------------------------------------------------------------------------------


def test_the_name_decides_against_other_properties() -> None:
    match = matched(name="AMD Instinct MI300X VF", totalGlobalMem=205571227648, numSms=304)
    assert match == DeviceMatch(BY_NAME["AMD Instinct MI300X"], "by name")


def test_an_engineering_name_is_settled_by_memory() -> None:
    match = matched(name="NVIDIA A100-PG509-200", numSms=108, totalGlobalMem=42297524224)
    assert match == DeviceMatch(BY_NAME["NVIDIA A100 40GB"], "by name, 108 SMs and 39 GiB")


@pytest.mark.parametrize(
    ("num_sms", "memory_gib", "expected"),
    [
        (114, 79.2, "NVIDIA H100 PCIe"),
        (132, 79.2, "NVIDIA H100 SXM5"),
        (132, 93.6, "NVIDIA H100 NVL"),
    ],
)
def test_the_variants_of_the_h100(num_sms: int, memory_gib: float, expected: str) -> None:
    memory = int(memory_gib * GIB)
    match = matched(name="NVIDIA H100", numSms=num_sms, totalGlobalMem=memory)
    assert match.spec.name == expected


def test_a_family_name_alone_is_ambiguous_and_says_so() -> None:
    match = matched(name="NVIDIA H100")
    assert match.spec.name == "NVIDIA H100 SXM5"
    assert match.how == "by name; ambiguous, fits as well: NVIDIA H100 PCIe, NVIDIA H100 NVL"


def test_an_empty_name_is_settled_by_properties() -> None:
    match = matched(
        name="",
        totalGlobalMem=206141652992,
        computeMajor=9,
        computeMinor=4,
        warpSize=64,
        numSms=304,
    )
    assert match.spec.name == "AMD Instinct MI300X"
    assert match.how == "by compute capability 9.4, 304 CUs and 192 GiB"


def test_an_unknown_name_is_shown_with_the_properties_that_decided() -> None:
    match = matched(
        name="NVIDIA H800", computeMajor=9, computeMinor=0, numSms=132, totalGlobalMem=85018279936
    )
    assert match.how == (
        "by compute capability 9.0, 132 SMs and 79 GiB (the name 'NVIDIA H800' is not in the table)"
    )


@pytest.mark.parametrize(
    ("num_sms", "expected", "others"),
    [
        (110, "AMD Instinct MI250X (one GCD)", []),
        (104, "AMD Instinct MI250 (one GCD)", ["AMD Instinct MI210"]),
        (
            None,
            "AMD Instinct MI250 (one GCD)",
            ["AMD Instinct MI250X (one GCD)", "AMD Instinct MI210"],
        ),
    ],
)
def test_radeon_graphics_is_a_cdna2_die(
    num_sms: int | None, expected: str, others: list[str]
) -> None:
    match = matched(
        name="AMD Radeon Graphics",
        computeMajor=9,
        computeMinor=0,
        totalGlobalMem=68702699520,
        warpSize=64,
        numSms=num_sms,
    )
    assert match.spec.name == expected
    assert match.how.partition("ambiguous, fits as well: ")[2] == ", ".join(others)


def test_the_warp_size_tells_cuda_9_0_from_gfx90a() -> None:
    same = {"computeMajor": 9, "computeMinor": 0, "totalGlobalMem": 80 * GIB}
    assert match_device({**same, "warpSize": 64}) is None
    assert matched(**same, warpSize=32).spec.vendor == "NVIDIA"


def test_one_exporter_writes_the_sm_count_under_another_key() -> None:
    match = matched(name="NVIDIA H100", maxThreadsPerMultiprocessor=114)
    assert match.spec.name == "NVIDIA H100 PCIe"


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 3080 Ti",
        "NVIDIA RTX PRO 6000 Blackwell Server Edition",
        "NVIDIA A100X",
        "NVIDIA H20",
    ],
)
def test_a_sibling_with_other_clocks_is_not_taken_for_the_board(name: str) -> None:
    sibling = {"computeMajor": 8, "computeMinor": 9, "numSms": 76, "totalGlobalMem": 16 * GIB}
    assert match_device({"name": name, **sibling}) is None


def test_a_mig_instance_has_its_share_of_the_board() -> None:
    match = matched(
        name="NVIDIA A100-SXM4-40GB MIG 1g.5gb", numSms=14, totalGlobalMem=5 * GIB, warpSize=32
    )
    assert match.how == "by name; a partition with 14 of 108 SMs"
    assert match.spec.peak("c10::Half") == round(312 * TERA * 14 / 108)
    assert match.spec.bandwidth_bytes_per_s == 1555 * 10**9 * 5 // 40
    assert match.spec.source.endswith("; scaled to 14 of 108 SMs")


def test_a_compute_partition_that_shares_all_memory_keeps_its_bandwidth() -> None:
    match = matched(name="AMD Instinct MI300X", numSms=38, totalGlobalMem=206141652992)
    assert match.spec.peak("c10::BFloat16") == round(1307.4 * TERA * 38 / 304)
    assert match.spec.bandwidth_bytes_per_s == 5300 * 10**9


def test_a_board_unlike_the_table_is_matched_and_remarked() -> None:
    match = matched(name="NVIDIA GeForce RTX 3080", numSms=70, totalGlobalMem=12 * GIB)
    assert match.how == "by name; it reports 70 SMs and 12 GiB, unlike the table's board"


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"name": None},
        {"name": 7, "numSms": "132", "totalGlobalMem": None},
        {"name": "", "computeMajor": 9, "computeMinor": 4},
        {"computeMajor": "9", "computeMinor": [], "numSms": {}, "totalGlobalMem": "80 GB"},
        {"computeMajor": True, "computeMinor": True, "numSms": True, "totalGlobalMem": True},
        {"computeMajor": 9, "computeMinor": 0, "numSms": -132, "totalGlobalMem": 0},
        {"computeMajor": 9, "computeMinor": 0, "numSms": float("nan")},
        {"name": "cpu", "numSms": 132},
        {"name": " \n MIG ", "totalGlobalMem": 10**30},
    ],
)
def test_garbage_matches_nothing(properties: dict[str, object]) -> None:
    assert match_device(properties) is None


# --- a user's own device ----------------------------------------------------------------------------------------------

OWN_TOML = """
name = "Our board"
bandwidth_bytes_per_s = 1.5e12
peak_flops = { bf16 = 400e12, fp32 = 50_000_000_000_000 }
"""
OWN_JSON = {
    "name": "Our board",
    "vendor": "Us",
    "source": "measured on 2026-01-01",
    "bandwidth_bytes_per_s": 1_500_000_000_000,
    "peak_flops": {"bf16": 400e12},
    "memory_gib": 32,
    "compute_capability": [9, 0],
    "num_sms": 100,
}


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_toml_specification(tmp_path: Path) -> None:
    spec = load_spec_file(write(tmp_path, "ours.toml", OWN_TOML))
    assert spec == DeviceSpec(
        name="Our board",
        vendor="",
        peak_flops={"bf16": 400 * TERA, "fp32": 50 * TERA},
        bandwidth_bytes_per_s=1_500_000_000_000,
        source="given in ours.toml",
    )


def test_a_json_specification(tmp_path: Path) -> None:
    spec = load_spec_file(write(tmp_path, "ours.json", json.dumps(OWN_JSON)))
    assert (spec.source, spec.compute_capability) == ("measured on 2026-01-01", (9, 0))
    assert (spec.memory_bytes, spec.num_sms) == (32 * GIB, 100)
    assert spec.peak("c10::BFloat16") == 400 * TERA


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name = ", "value"),
        ('name = "x"', "missing required field"),
        (OWN_TOML + "bandwith = 1", "unknown field `bandwith`"),
        (OWN_TOML.replace("bf16", "bfloat"), "Invalid enum value 'bfloat'"),
        (OWN_TOML.replace("400e12", "400"), ">= 1000000000.0"),
        (OWN_TOML.replace("400e12", "nan"), ">= 1000000000.0"),
        (OWN_TOML.replace("1.5e12", "inf"), "<= 1e+21"),
        (OWN_TOML.replace("1.5e12", '"1.5 TB/s"'), "Expected `float`, got `str`"),
    ],
)
def test_a_malformed_specification_says_what_is_wrong(
    tmp_path: Path, text: str, found: str
) -> None:
    path = write(tmp_path, "ours.toml", text)
    with pytest.raises(MmprofError) as raised:
        load_spec_file(path)
    assert raised.value.code == "MM-E041"
    assert str(path) in raised.value.message
    assert found in raised.value.found
    assert "bandwidth_bytes_per_s" in raised.value.hint


def test_a_malformed_json_specification(tmp_path: Path) -> None:
    with pytest.raises(MmprofError, match="truncated"):
        load_spec_file(write(tmp_path, "ours.json", '{"name": '))


def test_a_missing_specification(tmp_path: Path) -> None:
    with pytest.raises(MmprofError, match=r"cannot be read.*No such file"):
        load_spec_file(tmp_path / "absent.toml")


# --- real traces ------------------------------------------------------------------------------------------------------

A100_40 = "NVIDIA A100 40GB"
MI300X = "AMD Instinct MI300X"
DEVICE_OF_TRACE = {
    "hta/amd_trace/mi250_minitoy_train_ROCm6_2_kineto.json.gz": "AMD Instinct MI250 (one GCD)",
    "hta/critical_path/alexnet/benchmark_result_2869224_1695835535_trace.json.gz": A100_40,
    "hta/critical_path/cuda_event_sync/event_sync_trace.json.gz": A100_40,
    "hta/critical_path/cuda_event_sync_multi_stream/event_sync_trace.json.gz": A100_40,
    "hta/cupti_profiler/benchmark_result_924719_1679055439_trace.json.gz": A100_40,
    "hta/negative_queue_length_values_check/rank0.json.gz": "NVIDIA A100 SXM4 80GB",
    "hta/ns_resolution_trace/rank-0.Apr_03_18_51_38.1102.pt.trace.json.gz": "NVIDIA V100 SXM2 32GB",
    "hta/trace_diff/control/control.json.gz": A100_40,
    "hta/trace_diff/test/test.json.gz": "NVIDIA V100 SXM2 16GB",
    "hta/triton_example/triton_example.json.gz": A100_40,
    "kineto/resnet50_num_workers_0/worker0.1623143089861.pt.trace.json.gz": "NVIDIA V100 SXM2 32GB",
    "kineto/resnet50_num_workers_4/worker0.1623212756351.pt.trace.json.gz": "NVIDIA V100 SXM2 32GB",
    "tracelens/h100/Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz": "NVIDIA H100 SXM5",
    "tracelens/h100/google_owlv2-large-patch14-ensemble__1016001.json.gz": "NVIDIA H100 SXM5",
    "tracelens/inference/vllm_decode_full/graph_execution.json.gz": MI300X,
    "tracelens/inference/vllm_decode_full/capture_traces/"
    "graph_capture_rank_0.1773709742341309550.pt.trace.json.gz": MI300X,
    "tracelens/inference/xdit_flux.1_aiter_sage/profile_trace_rank_0.json.gz": MI300X,
    "tracelens/mi210/gpu_only_trace/gpu_only_trace.json.gz": "AMD Instinct MI210",
    "tracelens/mi300/gaunernst_bert-small-uncased__1016001.json.gz": MI300X,
    "tracelens/mi300/google_owlv2-large-patch14-ensemble__1016001.json.gz": MI300X,
    "tracelens/perf_model/normalization/normalization_layer_test.json.gz": MI300X,
    "tracelens/torch_compile_triton/trace.json.gz": MI300X,
}


def device_properties(path: Path) -> list[dict[str, Any]]:
    """The trace's `deviceProperties`, without parsing its events; [] without any."""
    text = gzip.decompress(path.read_bytes()).decode("utf-8")
    key = re.search(r'"deviceProperties"\s*:\s*', text)
    return json.JSONDecoder().raw_decode(text, key.end())[0] if key else []


def test_the_devices_of_the_public_traces(shared_traces: Path) -> None:
    found: dict[str, str] = {}
    for path in sorted(shared_traces.rglob("*.json.gz")):
        matches = [match_device(device) for device in device_properties(path)]
        names = {match.spec.name if match else "not in the table" for match in matches}
        if names:
            found[path.relative_to(shared_traces).as_posix()] = " / ".join(sorted(names))
    assert found == DEVICE_OF_TRACE
