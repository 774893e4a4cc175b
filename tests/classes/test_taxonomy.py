"""The vocabulary and the rule tables as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mmprof.analyzers.classes import CLASSES
from mmprof.analyzers.classes.annotations import ANNOTATIONS
from mmprof.analyzers.classes.decide import ATTENTION_CHAIN
from mmprof.analyzers.classes.kernel_names import KERNEL_NAMES
from mmprof.analyzers.classes.metadata import METADATA
from mmprof.analyzers.classes.modules import MODULES
from mmprof.analyzers.classes.native_kernels import NATIVE_KERNELS
from mmprof.analyzers.classes.operators import ENCLOSING, NEAREST
from mmprof.analyzers.classes.shapes import SHAPES
from mmprof.analyzers.classes.taxonomy import DEDICATED

if TYPE_CHECKING:
    from mmprof.analyzers.classes.rules import Rule

TABLES: dict[str, tuple[Rule, ...]] = {
    "annotation:": ANNOTATIONS,
    "module:": MODULES,
    "operator:": (*ENCLOSING, *NEAREST, *(shape.rule for shape in SHAPES), ATTENTION_CHAIN),
    "inductor:": METADATA,
    "native:": NATIVE_KERNELS,
    "kernel:": KERNEL_NAMES,
}
RULES = [rule for table in TABLES.values() for rule in table]


def test_classes_are_the_documented_ones_in_order_of_priority() -> None:
    assert set(CLASSES) == {
        *(
            "linear",
            "attention",
            "convolution",
            "embedding",
            "normalization",
            "softmax",
            "activation",
        ),
        *(
            "elementwise",
            "reduction",
            "kv_cache_update",
            "kv_cache_reorder",
            "sampling",
            "rope",
            "quantize",
        ),
        *("moe", "recommender", "communication", "memcpy", "memset", "wait", "other"),
    }
    assert len(CLASSES) == 21
    assert CLASSES[-5:] == ("communication", "memcpy", "memset", "wait", "other")


def test_every_rule_id_is_unique() -> None:
    ids = [rule.id for rule in RULES]
    assert sorted(ids) == sorted(set(ids))


@pytest.mark.parametrize("prefix", TABLES)
def test_every_rule_id_names_its_table(prefix: str) -> None:
    assert [rule.id for rule in TABLES[prefix] if not rule.id.startswith(prefix)] == []


def test_every_rule_decides_and_overrules_only_known_classes() -> None:
    assert {rule.cls for rule in RULES} | DEDICATED <= set(CLASSES)
    assert {cls for rule in RULES for cls in rule.over} <= set(CLASSES)


def test_every_rule_can_match_something() -> None:
    assert [rule.id for rule in RULES if not rule.words and not rule.pattern] == [
        "operator:attention-chain"
    ]


def test_words_and_patterns_are_written_for_lower_case_names() -> None:
    assert [word for rule in RULES for word in rule.words if word != word.lower()] == []


def test_no_word_is_hidden_by_an_earlier_word_of_its_own_table() -> None:
    for table in (NATIVE_KERNELS, KERNEL_NAMES):
        seen: list[tuple[str, str]] = []
        for rule in table:
            hidden = [
                (word, rule.id, by) for word in rule.words for known, by in seen if known in word
            ]
            assert hidden == []
            seen += [(word, rule.id) for word in rule.words]
