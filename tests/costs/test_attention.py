from __future__ import annotations

from itertools import product

import pytest
from operator_calls import BF16, modelled, recorded, work

from mmprof.analyzers.costs import cost_of
from mmprof.analyzers.costs.families.attention import unmasked_pairs

FLASH = "aten::_scaled_dot_product_flash_attention"


def flash(query: str, key: str, *, causal: bool, value: str = "") -> tuple[int, int]:
    tensors = [f"{BF16}{shape}" for shape in (query, key, value or key)]
    concrete = ("", "", "", "0.", str(causal), "False", "")
    return work(FLASH, *tensors, *["Scalar"] * 4, concrete=concrete)


def test_forward_is_two_products_a_pair() -> None:
    flops, moved = flash("[2,3,5,8]", "[2,3,7,8]", causal=False)
    assert flops == 4 * 2 * 3 * 5 * 7 * 8
    assert moved == 2 * 2 * 3 * (2 * 5 * 8 + 2 * 7 * 8)


def test_a_causal_square_is_half_of_it() -> None:
    assert flash("[2,3,5,8]", "[2,3,5,8]", causal=True)[0] == 4 * 2 * 3 * 5 * 5 * 8 // 2


def test_sdpa_aligns_a_causal_rectangle_with_the_first_key() -> None:
    # 2 queries see 1 and 2 of the 7 keys
    assert flash("[1,1,2,8]", "[1,1,7,8]", causal=True)[0] == 4 * 8 * (1 + 2)


def test_grouped_queries_compute_for_all_query_heads_but_read_fewer_keys() -> None:
    flops, moved = flash("[1,8,5,16]", "[1,2,5,16]", causal=False)
    assert (flops, moved) == (4 * 8 * 25 * 16, 2 * 16 * 5 * (8 + 8 + 2 + 2))


def test_the_value_may_be_wider_than_the_key() -> None:
    flops, moved = flash("[1,2,5,8]", "[1,2,5,8]", value="[1,2,5,16]", causal=False)
    assert (flops, moved) == (2 * 2 * 25 * (8 + 16), 2 * 2 * 5 * (8 + 8 + 16 + 16))


def test_flash_attention_itself_has_lengths_before_heads_and_aligns_with_the_last_key() -> None:
    tensors = [f"{BF16}[1,2,1,8]", f"{BF16}[1,7,1,8]", f"{BF16}[1,7,1,8]"]
    concrete = ("",) * 5 + ("2", "7", "0.", "True", "False", "")
    call = recorded(
        "aten::_flash_attention_forward", *tensors, *[""] * 2, *["Scalar"] * 6, concrete=concrete
    )
    assert modelled(call).flops == 4 * 8 * (6 + 7)


def test_a_sliding_window_limits_the_pairs() -> None:
    tensors = [f"{BF16}[1,4,1,8]"] * 3
    concrete = ("", "", "", "0.", "0.125", "True", "1", "-1")
    call = recorded("flash_attn::_flash_attn_forward", *tensors, *["Scalar"] * 5, concrete=concrete)
    assert modelled(call).flops == 4 * 8 * (1 + 2 + 2 + 2)


def packed(cu_seqlens: str, *, causal: bool) -> int:
    tensors = [f"{BF16}[12,2,8]"] * 3
    concrete = ("",) * 5 + ("4", "6", "0.", "0.125", str(causal), "-1", "-1")
    lengths = [cu_seqlens, cu_seqlens]
    call = recorded(
        "flash_attn::_flash_attn_varlen_forward",
        *tensors,
        *lengths,
        *["Scalar"] * 7,
        concrete=concrete,
    )
    return modelled(call).flops


def test_packed_sequences_meet_the_longest_keys() -> None:
    # 3 sequences of 4 queries, 6 keys each; causal rows see 3 to 6 of them
    assert packed("int[4]", causal=False) == 2 * 4 * 8 * 3 * 4 * 6
    assert packed("int[4]", causal=True) == 2 * 4 * 8 * 3 * (3 + 4 + 5 + 6)


def test_a_paged_cache_hides_what_is_attended() -> None:
    tensors = [f"{BF16}[12,2,8]"] * 3
    concrete = ("",) * 5 + ("4", "6", "0.", "0.125", "True", "-1", "-1")
    arguments = [*tensors, "int[4]", "int[4]", *["Scalar"] * 10, "int[3,2]"]
    assert (
        cost_of(recorded("flash_attn::_flash_attn_varlen_forward", *arguments, concrete=concrete))
        is None
    )


@pytest.mark.parametrize(("kind", "pairs"), [("0", 14), ("1", 3), ("2", 13)])
def test_memory_efficient_mask_types(kind: str, pairs: int) -> None:
    tensors = [f"{BF16}[1,2,1,8]", f"{BF16}[1,7,1,8]", f"{BF16}[1,7,1,8]"]
    arguments = [*tensors, *[""] * 5, "Scalar", "Scalar"]
    call = recorded("aten::_efficient_attention_forward", *arguments, concrete=("",) * 9 + (kind,))
    assert modelled(call).flops == 4 * 8 * pairs


def test_backward_is_five_products() -> None:
    tensors = [f"{BF16}[2,3,5,8]"] * 5
    concrete = ("",) * 7 + ("False",)
    arguments = [*tensors, "float[2,3,5]", "Scalar", "Scalar"]
    name = "aten::_scaled_dot_product_flash_attention_for_cpu_backward"
    # reads the gradient, q, k, v and the output; writes three gradients
    assert work(name, *arguments, concrete=concrete) == (
        5 * 2 * 2 * 3 * 5 * 5 * 8,
        8 * 2 * 2 * 3 * 5 * 8,
    )


def test_a_bias_is_read() -> None:
    tensors = [f"{BF16}[1,2,5,8]"] * 3
    concrete = ("",) * 6 + ("False",)
    name = "aten::_scaled_dot_product_efficient_attention"
    without = work(name, *tensors, "", "Scalar", "Scalar", "Scalar", concrete=concrete)
    given = work(
        name, *tensors, f"{BF16}[1,2,5,5]", "Scalar", "Scalar", "Scalar", concrete=concrete
    )
    assert given == (without[0], without[1] + 2 * 2 * 5 * 5)


def test_aiter_flags_are_found_in_either_release() -> None:
    tensors = [f"{BF16}[12,2,8]"] * 3 + ["int[4]", "int[4]"]
    older = ("",) * 5 + ("4", "4", "0.", "0.125", "False", "True", "-1", "-1", "True", "False")
    newer = ("",) * 5 + (
        "4",
        "4",
        "0",
        "0.",
        "0.1",
        "0.",
        "False",
        "True",
        "-1",
        "-1",
        "True",
        "False",
    )
    costs = [
        modelled(
            recorded("aiter::mha_varlen_fwd", *tensors, *["Scalar"] * 12, concrete=concrete)
        ).flops
        for concrete in (older, newer)
    ]
    assert costs == [2 * 4 * 8 * 3 * 4 * 4 // 2] * 2


@pytest.mark.parametrize("concrete", [(), ("",) * 7, ("",) * 4 + ("maybe",)])
def test_without_the_causal_flag_there_is_no_cost(concrete: tuple[str, ...]) -> None:
    assert cost_of(recorded(FLASH, *[f"{BF16}[2,3,5,8]"] * 3, concrete=concrete)) is None


LIMITS = (None, -3, -1, 0, 1, 2, 9)


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (4, 4), (3, 7), (7, 3), (0, 5), (5, 0)])
def test_pairs_are_counted_as_one_by_one(queries: int, keys: int) -> None:
    for left, right in product(LIMITS, LIMITS):
        if left is not None and right is not None and -left > right + 1:
            continue
        expected = sum(
            (left is None or i - left <= j) and (right is None or j <= i + right)
            for i in range(queries)
            for j in range(keys)
        )
        assert unmasked_pairs(queries, keys, left, right) == expected, (left, right)
