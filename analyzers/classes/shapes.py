"""Rules on operators whose meaning only their operands' shapes tell: the parts of an attention layer, and of sampling."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from mmprof.analyzers.classes.modules import ATTENTION_MODULE
from mmprof.analyzers.classes.rules import MAX_NAME_CHARS, Rule, regex

if TYPE_CHECKING:
    from collections.abc import Callable

Shape = tuple[int, ...]
Shapes = tuple[Shape, ...]

MIN_VOCABULARY = 1024
"""A last dimension above this is taken for a vocabulary: routers choose among fewer experts, classifiers among fewer."""


@dataclass(frozen=True, slots=True)
class ShapeRule:
    """A rule on the innermost operator that also needs its operands' shapes.

    Attributes:
        rule: What it decides and on which operator.
        holds: The condition on the operands' shapes; tensor lists are opened.
        in_attention_module: It counts only directly inside a module named like attention.
    """

    rule: Rule
    holds: Callable[[Shapes], bool]
    in_attention_module: bool = True

    def matches(self, operator: str, module: str, dims: str) -> bool:
        """Whether the folded innermost `operator` and `module` and the raw JSON of its dims meet the conditions."""
        if not self.rule.matches(operator):
            return False
        if self.in_attention_module and not ATTENTION_MODULE.matches(module):
            return False
        return self.holds(parse_shapes(dims))


def parse_shapes(dims: str) -> Shapes:
    """The shapes in the raw JSON of "Input Dims", tensor lists opened; none where it is not such a list."""
    if len(dims) > MAX_NAME_CHARS:
        return ()
    try:
        parsed: object = json.loads(dims)
    except (ValueError, RecursionError):
        return ()
    return tuple(_opened(parsed))


def _opened(parsed: object) -> list[Shape]:
    if not isinstance(parsed, list):
        return []
    shapes: list[Shape] = []
    for item in cast("list[object]", parsed):
        if _is_shape(item):
            shapes.append(tuple(cast("list[int]", item)))
        elif isinstance(item, list):
            shapes.extend(
                tuple(inner) for inner in cast("list[list[int]]", item) if _is_shape(inner)
            )
    return shapes


def _is_shape(item: object) -> bool:
    return isinstance(item, list) and all(
        isinstance(size, int) for size in cast("list[object]", item)
    )


def _differing(first: Shape, second: Shape) -> list[int]:
    return [i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]


def _rotates_half(shapes: Shapes) -> bool:
    """Two equal halves of a head: cat((-x2, x1), dim=-1)."""
    return len(shapes) >= 2 and len(shapes[0]) == 4 and shapes[0] == shapes[1]


def _negates_half(shapes: Shapes) -> bool:
    return len(shapes) >= 1 and len(shapes[0]) == 4


def _multiplies_by_table(shapes: Shapes) -> bool:
    """[batch, heads, tokens, dim] by a table [batch or 1, 1, tokens, dim], or the same with tokens before heads."""
    if len(shapes) < 2 or len(shapes[0]) != 4 or len(shapes[1]) != 4:
        return False
    states, table = shapes[0], shapes[1]
    broadcast = [table[axis] for axis in _differing(states[:3], table[:3]) if axis > 0]
    return states[3] == table[3] and table[0] in (1, states[0]) and broadcast == [1]


def _adds_rotated(shapes: Shapes) -> bool:
    """The sum in x * cos + rotate_half(x) * sin; scores with a bias are square or broadcast."""
    return _rotates_half(shapes) and shapes[0][2] != shapes[0][3]


def _appends_tokens(shapes: Shapes) -> bool:
    """cat((past, new)) along the tokens; the first append finds an empty past of shape [0]."""
    if len(shapes) < 2 or len(shapes[1]) not in (3, 4):
        return False
    if shapes[0] == (0,):
        return True
    return len(shapes[0]) == len(shapes[1]) and _differing(shapes[0], shapes[1]) in (
        [1],
        [len(shapes[1]) - 2],
    )


def _writes_heads(shapes: Shapes) -> bool:
    return len(shapes) >= 1 and len(shapes[0]) == 4


def _reorders_batch(shapes: Shapes) -> bool:
    """index_select of as many beams as the cache [batch * beams, heads, tokens, dim] has."""
    return len(shapes) >= 3 and len(shapes[0]) == 4 and shapes[2] == shapes[0][:1]


def _ranges_over_vocabulary(shapes: Shapes) -> bool:
    return not shapes or (1 <= len(shapes[0]) <= 3 and shapes[0][-1] > MIN_VOCABULARY)


def _is_batched_per_head(shapes: Shapes) -> bool:
    """More than one matrix: a projection written as einsum is a batch of one."""
    return any(len(shape) == 3 and shape[0] > 1 for shape in shapes)


_PLAIN = ("elementwise", "embedding", "reduction", "other")

SHAPES: tuple[ShapeRule, ...] = (
    ShapeRule(
        regex(
            "operator:attention-bmm",
            "attention",
            r"^aten::(bmm|baddbmm)$",
            over=("linear", "other"),
        ),
        _is_batched_per_head,
    ),
    ShapeRule(regex("operator:rotate-cat", "rope", r"^aten::cat$", over=_PLAIN), _rotates_half),
    ShapeRule(regex("operator:rotate-neg", "rope", r"^aten::neg$", over=_PLAIN), _negates_half),
    ShapeRule(
        regex("operator:rotate-mul", "rope", r"^aten::mul$", over=_PLAIN), _multiplies_by_table
    ),
    ShapeRule(regex("operator:rotate-add", "rope", r"^aten::add$", over=_PLAIN), _adds_rotated),
    ShapeRule(
        regex("operator:kv-append", "kv_cache_update", r"^aten::cat$", over=_PLAIN), _appends_tokens
    ),
    ShapeRule(
        regex(
            "operator:kv-write",
            "kv_cache_update",
            r"^aten::(index_copy_|index_put_|_index_put_impl_)$",
            over=_PLAIN,
        ),
        _writes_heads,
    ),
    ShapeRule(
        regex("operator:kv-index-select", "kv_cache_reorder", r"^aten::index_select$", over=_PLAIN),
        _reorders_batch,
        in_attention_module=False,
    ),
    ShapeRule(
        regex(
            "operator:vocabulary",
            "sampling",
            r"^aten::(argmax|topk|sort|argsort)$",
            over=(*_PLAIN, "sampling"),
        ),
        _ranges_over_vocabulary,
        in_attention_module=False,
    ),
)
