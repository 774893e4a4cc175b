"""HSTU's pointwise attention in blocks of queries that stay in cache: nothing padded, nothing above the diagonal but within a block.

For queries i to j of one sequence:

    A = SiLU(scale Q[i:j] K[:j]^T + bias[i:j, :j]), causal;   out[i:j] = A (V[:j] / n)

which is what `PointwiseAttention` computes, with V divided in the place of A. Of the time bias, the buckets are the same in
every layer and are made once a request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor
from torch.nn import functional

from mmprof.tracer.models.hstu import Clock, JaggedLayout, PointwiseAttention, RelativeBias

BLOCK_BYTES: Final = {"cpu": 1 << 20, "cuda": 1 << 25}
"""Scores of a block: about the second-level cache of a core, and what the second level of a GPU holds beside its inputs."""

Forward: TypeAlias = Callable[[tuple[Tensor, Tensor, Tensor], JaggedLayout, Clock], Tensor]

_uncompiled = cast("Callable[[object], object]", torch.compiler.disable)
_LEAST_ROWS: Final = 32
"""Below, the products are too small to be fast."""


class Block(NamedTuple):
    """Some queries of one sequence, or of as many sequences of equal length.

    Attributes:
        values: Where the sequence's values begin.
        begin: First query.
        end: First query behind; keys before it are attended to.
        buckets: ((end - begin) * end) buckets of time; None where no bias asks for them.
    """

    values: int
    begin: int
    end: int
    buckets: Tensor | None


@dataclass(slots=True)
class Plan:
    """The blocks of one request, for all layers.

    Attributes:
        blocks: The blocks.
        future: (rows, rows) ones where a key is later than the query, for the largest block.
    """

    blocks: list[Block]
    future: Tensor


@dataclass(slots=True)
class BlockedAttention:
    """What all attention layers of one encoder share.

    Attributes:
        layout: The layout that the plan is for; a request makes its own, so its identity tells requests apart.
        plan: The blocks of that layout.
    """

    layout: JaggedLayout | None = None
    plan: Plan = field(default_factory=lambda: Plan([], torch.empty(0)))

    def forward_of(self, attention: PointwiseAttention) -> Forward:
        """The forward of a layer; a compiler leaves it alone: unrolled, its blocks take minutes to compile."""

        def forward(
            qkv: tuple[Tensor, Tensor, Tensor], layout: JaggedLayout, clock: Clock
        ) -> Tensor:
            if layout is not self.layout:
                self.layout = layout
                self.plan = planned(attention, qkv[2], layout, clock)
            return attended(attention, qkv, self.plan)

        return cast("Forward", _uncompiled(forward))

    def forget(self) -> None:
        """Free what a request made."""
        self.layout, self.plan = None, Plan([], torch.empty(0))


def planned(
    attention: PointwiseAttention, value: Tensor, layout: JaggedLayout, clock: Clock
) -> Plan:
    """The blocks of a layout."""
    row_bytes = attention.heads * layout.longest * value.element_size()
    rows = max(_LEAST_ROWS, BLOCK_BYTES.get(value.device.type, BLOCK_BYTES["cuda"]) // row_bytes)
    rows = min(rows, layout.longest)
    blocks: list[Block] = []
    for sequence, (start, length) in enumerate(_sequences(layout)):
        for begin in range(0, length, rows):
            end = min(begin + rows, length)
            buckets = _buckets(attention.bias, clock, sequence, slice(begin, end))
            blocks.append(Block(start, begin, end, buckets))
    future = torch.ones(rows, rows, dtype=torch.bool, device=value.device).triu(1)
    return Plan(blocks, future)


def _sequences(layout: JaggedLayout) -> Iterator[tuple[int, int]]:
    """First value and length of each sequence; of several, asking the device once."""
    if layout.batch == 1:
        yield 0, len(layout.last)
        return
    index = torch.arange(len(layout.last), device=layout.last.device)
    ends = ((layout.last == index).nonzero().flatten() + 1).tolist()
    for start, end in zip([0, *ends], ends, strict=False):
        yield start, end - start


def _buckets(
    bias: RelativeBias | None, clock: Clock, sequence: int, queries: slice
) -> Tensor | None:
    if bias is None:
        return None
    following = clock.next_times[sequence, queries]
    elapsed = following[:, None] - clock.times[sequence, None, : queries.stop]
    return bias.buckets(elapsed).flatten()


def attended(
    attention: PointwiseAttention, qkv: tuple[Tensor, Tensor, Tensor], plan: Plan
) -> Tensor:
    """(values, heads * query width) twice and (values, heads * value width) to the latter's shape."""
    query, key, value = (_split_heads(part, attention.heads) for part in qkv)
    value = value / attention.max_length
    made = torch.empty_like(qkv[2], memory_format=torch.contiguous_format)
    out = _split_heads(made, attention.heads)
    for block in plan.blocks:
        own = slice(block.values + block.begin, block.values + block.end)
        seen = slice(block.values, block.values + block.end)
        scores = _scores(attention, query[:, own], key[:, seen], block)
        weights = functional.silu(scores, inplace=True)
        rows = block.end - block.begin
        weights[:, :, block.begin :].masked_fill_(plan.future[:rows, :rows], 0)
        out[:, own] = weights @ value[:, seen]
    return made


def _split_heads(values: Tensor, heads: int) -> Tensor:
    return values.view(len(values), heads, -1).transpose(0, 1)


def _scores(attention: PointwiseAttention, query: Tensor, key: Tensor, block: Block) -> Tensor:
    """(heads, rows, keys)."""
    if attention.bias is None or block.buckets is None:
        empty = query.new_empty(1, 1, 1)
        return torch.baddbmm(empty, query, key.transpose(1, 2), beta=0, alpha=attention.scale)
    bias = attention.bias.time.index_select(0, block.buckets)
    bias = bias.view(block.end - block.begin, block.end)
    bias += attention.bias.by_position(block.end)[block.begin :]
    return torch.baddbmm(bias, query, key.transpose(1, 2))
