"""HSTU, a generative recommender (arXiv 2402.17152, equations 1 to 3), on jagged batches.

A jagged batch holds the values of all sequences one after the other, (values, width), without padding: embeddings,
norms and linear layers cost what the sequences are long. Attention is the published eager one: it pads to
(batch, heads, longest, longest) and has no softmax:

    U, V, Q, K = split(SiLU(norm(X) W))
    A = SiLU(Q K^T + bias(position, time)) / n, causal
    Y = X + out(norm(A V) * U)

n is a constant of the model, its maximum length: the published research code pads every batch to that length and
divides by it. Here a batch is padded only to its longest sequence, but n stays, so that what a sequence gives does not
depend on what else is in its batch.

Two forms are published (generative-recommenders): `research`, above, whose bias is looked up anew in every layer
(research/modeling/sequential/hstu.py); and `production` (modules/stu.py), with affine norms, SiLU on U only, scores
scaled by 1/sqrt(query width) in place of the bias, position and time in the embedding, and out([U, A V, norm(A V) * U]).
Of the latter, candidates within the sequence and contextual features are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

NORM_EPS: Final = 1e-6
TABLE_STD: Final = 0.02
"""Standard deviation of embeddings and bias tables, as published."""


@dataclass(frozen=True, slots=True)
class HstuConfig:
    """The architecture.

    Attributes:
        layers: Layers.
        width: Width of embeddings and of the residual stream.
        heads: Attention heads.
        query_width: Width of a head's queries and keys.
        value_width: Width of a head's values and gates.
        items: Items of the embedding table.
        max_length: Longest sequence, and the n that scores are divided by.
        length: Mean length of a sequence where none is asked for.
        form: `research` or `production`.
        actions: Kinds of actions, in the history and in what is predicted.
    """

    layers: int
    width: int
    heads: int
    query_width: int
    value_width: int
    items: int
    max_length: int
    length: int
    form: str = "research"
    actions: int = 8

    @property
    def widths(self) -> list[int]:
        """Widths of U, V, Q and K over all heads."""
        value, query = self.heads * self.value_width, self.heads * self.query_width
        return [value, value, query, query]


class History(NamedTuple):
    """What the users of a batch did, oldest first.

    Attributes:
        items: (values,) items.
        actions: (values,) what was done with each.
        times: (values,) when, in seconds.
        lengths: (batch,) values of each user.
        longest: The largest of `lengths`, known on the host, so that nothing waits for the device.
    """

    items: Tensor
    actions: Tensor
    times: Tensor
    lengths: Tensor
    longest: int


class JaggedLayout(NamedTuple):
    """Where the values of a jagged batch lie.

    Attributes:
        batch: Sequences.
        longest: Length of the padded sequences.
        positions: (values,) position in the own sequence.
        last: (values,) index of the last value of the own sequence.
        rows: (values,) row in the padded (batch * longest).
    """

    batch: int
    longest: int
    positions: Tensor
    last: Tensor
    rows: Tensor

    @classmethod
    def of(cls, lengths: Tensor, *, values: int, longest: int) -> JaggedLayout:
        """The layout of `values` values in sequences of (batch,) `lengths`."""
        index = torch.arange(values, device=lengths.device)
        sequence = torch.arange(len(lengths), device=lengths.device)
        sequence = sequence.repeat_interleave(lengths, output_size=values)
        ends = lengths.cumsum(0)
        positions = index - (ends - lengths)[sequence]
        rows = sequence * longest + positions
        return cls(len(lengths), longest, positions, (ends - 1)[sequence], rows)

    def pad(self, values: Tensor) -> Tensor:
        """(values, ...) to (batch, longest, ...), zeros behind each sequence."""
        padded = values.new_zeros(self.batch * self.longest, *values.shape[1:])
        padded.index_copy_(0, self.rows, values)
        return padded.view(self.batch, self.longest, *values.shape[1:])

    def unpad(self, padded: Tensor) -> Tensor:
        """(batch, longest, ...) to (values, ...)."""
        return padded.flatten(0, 1).index_select(0, self.rows)


class Clock(NamedTuple):
    """Times for the bias, and what may be attended to, the same in every layer.

    Attributes:
        times: (batch, longest) when, in seconds.
        next_times: (batch, longest) when the next thing happened; for the last, its own time.
        causal: (longest, longest) ones on and below the diagonal.
    """

    times: Tensor
    next_times: Tensor
    causal: Tensor

    @classmethod
    def of(cls, times: Tensor, layout: JaggedLayout, dtype: torch.dtype) -> Clock:
        """The clock of (values,) `times`."""
        index = torch.arange(len(times), device=times.device)
        following = times[torch.minimum(index + 1, layout.last)]
        ones = torch.ones(layout.longest, layout.longest, dtype=dtype, device=times.device)
        return cls(layout.pad(times), layout.pad(following), ones.tril())


class RelativeBias(nn.Module):
    """A learned bias for the distance between two values, in positions and in logarithmic buckets of time."""

    TIME_BUCKETS: Final = 128
    BUCKET_WIDTH: Final = 0.301
    """Width of a bucket in the natural logarithm of seconds: each is 1.35 times as long as the one before."""

    def __init__(self, max_length: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.empty(2 * max_length - 1))
        self.time = nn.Parameter(torch.empty(self.TIME_BUCKETS + 1))

    def forward(self, clock: Clock) -> Tensor:
        """The bias of query i and key j, (batch, longest, longest)."""
        buckets = self.buckets(clock.next_times[:, :, None] - clock.times[:, None, :])
        by_time = self.time.index_select(0, buckets.flatten()).view_as(buckets)
        return self.by_position(buckets.shape[1]) + by_time

    def buckets(self, elapsed: Tensor) -> Tensor:
        """The buckets of times in seconds, in the same shape."""
        buckets = (elapsed.abs().clamp(min=1).log() / self.BUCKET_WIDTH).long()
        return buckets.clamp(max=self.TIME_BUCKETS)

    def by_position(self, longest: int) -> Tensor:
        """The bias of query i and key j by their places, (longest, longest), a view."""
        # Row i of the flipped windows begins at the distance 0 - i.
        middle = len(self.position) // 2
        near = self.position[middle - longest + 1 : middle + longest]
        return near.unfold(0, longest, 1).flip(0)


class PointwiseAttention(nn.Module):
    """Attention that weights each pair on its own: SiLU(scale Q K^T + bias) / n, without a softmax."""

    def __init__(self, config: HstuConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.max_length = config.max_length
        research = config.form == "research"
        self.scale = 1 if research else 1 / math.sqrt(config.query_width)
        self.bias = RelativeBias(config.max_length) if research else None

    def forward(
        self, qkv: tuple[Tensor, Tensor, Tensor], layout: JaggedLayout, clock: Clock
    ) -> Tensor:
        """(values, heads * query width) twice and (values, heads * value width) to the latter's shape."""
        query, key, value = (self._split_heads(layout.pad(part)) for part in qkv)
        scores = query @ key.transpose(2, 3)
        if self.bias is None:
            scores = scores * self.scale
        else:
            scores = scores + self.bias(clock).unsqueeze(1)
        weights = functional.silu(scores) / self.max_length * clock.causal
        return layout.unpad((weights @ value).transpose(1, 2).flatten(2))

    def _split_heads(self, padded: Tensor) -> Tensor:
        return padded.view(*padded.shape[:2], self.heads, -1).transpose(1, 2)


class ResearchLayer(nn.Module):
    """One layer of the form that the paper's equations describe."""

    def __init__(self, config: HstuConfig) -> None:
        super().__init__()
        self.widths = config.widths
        self.input_norm = nn.LayerNorm(config.width, NORM_EPS, elementwise_affine=False)
        self.uvqk = nn.Linear(config.width, sum(self.widths), bias=False)
        self.attention = PointwiseAttention(config)
        self.output_norm = nn.LayerNorm(self.widths[0], NORM_EPS, elementwise_affine=False)
        self.output = nn.Linear(self.widths[0], config.width)

    def forward(self, x: Tensor, layout: JaggedLayout, clock: Clock) -> Tensor:
        """(values, width) to (values, width)."""
        uvqk = functional.silu(self.uvqk(self.input_norm(x)))
        gate, value, query, key = torch.split(uvqk, self.widths, dim=1)
        attended = self.attention((query, key, value), layout, clock)
        y: Tensor = self.output(self.output_norm(attended) * gate)
        return x + y


class ProductionLayer(nn.Module):
    """One layer of the form that generative-recommenders trains and serves."""

    def __init__(self, config: HstuConfig) -> None:
        super().__init__()
        self.widths = config.widths
        self.input_norm = nn.LayerNorm(config.width, NORM_EPS)
        self.uvqk = nn.Linear(config.width, sum(self.widths))
        self.attention = PointwiseAttention(config)
        self.output_norm = nn.LayerNorm(self.widths[0], NORM_EPS)
        self.output = nn.Linear(3 * self.widths[0], config.width, bias=False)

    def forward(self, x: Tensor, layout: JaggedLayout, clock: Clock) -> Tensor:
        """(values, width) to (values, width)."""
        uvqk = self.uvqk(self.input_norm(x))
        gate, value, query, key = torch.split(uvqk, self.widths, dim=1)
        gate = functional.silu(gate)
        attended = self.attention((query, key, value), layout, clock)
        gated = gate * self.output_norm(attended)
        y: Tensor = self.output(torch.cat([gate, attended, gated], dim=1))
        return x + y


class HistoryEmbedding(nn.Module):
    """What was done with which item, and at which position from the first."""

    def __init__(self, config: HstuConfig) -> None:
        super().__init__()
        self.scale = math.sqrt(config.width)
        self.items = nn.Embedding(config.items, config.width)
        self.actions = nn.Embedding(config.actions, config.width)
        self.positions = nn.Embedding(config.max_length, config.width)

    def forward(self, history: History, layout: JaggedLayout) -> Tensor:
        """(values, width)."""
        done: Tensor = self.items(history.items) + self.actions(history.actions)
        return done * self.scale + self.place(history, layout)

    def place(self, history: History, layout: JaggedLayout) -> Tensor:  # noqa: ARG002  (the other form's is by time, too)
        """Where each value lies, (values, width)."""
        place: Tensor = self.positions(layout.positions)
        return place


class TimedHistoryEmbedding(HistoryEmbedding):
    """What was done with which item, at which position from the last, and how long before it."""

    AGE_BUCKETS: Final = 2048
    SECONDS: Final = 60.0
    """An age falls into the bucket of the square root of its minutes."""

    def __init__(self, config: HstuConfig) -> None:
        super().__init__(config)
        self.ages = nn.Embedding(self.AGE_BUCKETS + 1, config.width)

    def place(self, history: History, layout: JaggedLayout) -> Tensor:
        """Where and when each value lies, (values, width)."""
        index = torch.arange(len(layout.last), device=layout.last.device)
        age = history.times[layout.last] - history.times
        bucket = (age / self.SECONDS).sqrt().long().clamp(max=self.AGE_BUCKETS)
        place: Tensor = self.positions(layout.last - index) + self.ages(bucket)
        return place


class HstuEncoder(nn.Module):
    """Embeddings and layers: the state of a user after each value of the history."""

    def __init__(self, config: HstuConfig) -> None:
        super().__init__()
        research = config.form == "research"
        self.embedding = HistoryEmbedding(config) if research else TimedHistoryEmbedding(config)
        layer = ResearchLayer if research else ProductionLayer
        self.layers = nn.ModuleList(layer(config) for _ in range(config.layers))

    def forward(self, history: History) -> Tensor:
        """(values, width)."""
        layout = JaggedLayout.of(
            history.lengths, values=len(history.items), longest=history.longest
        )
        x: Tensor = self.embedding(history, layout)
        clock = Clock.of(history.times, layout, x.dtype)
        for layer in self.layers:
            x = layer(x, layout, clock)
        return x

    def init_weights(self) -> None:
        """Fill the weights at random."""
        initialize(self)


class ActionRanker(nn.Module):
    """Logits of each action for each candidate, from the product of the embeddings of user and item.

    Users and items have length 1 (`user_embedding_norm`, `item_l2_norm` in the published configurations); the product and
    the two linear layers are those of modules/multitask_module.py. Candidates do not go through the layers.
    """

    def __init__(self, config: HstuConfig) -> None:
        super().__init__()
        self.hidden = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, NORM_EPS)
        self.logits = nn.Linear(config.width, config.actions)

    def forward(self, states: Tensor, lengths: Tensor, candidates: Tensor) -> Tensor:
        """(batch, candidates, actions).

        Args:
            states: (values, width) of the encoder.
            lengths: (batch,) of the histories.
            candidates: (batch, candidates, width) embeddings of items.
        """
        users = functional.normalize(states[lengths.cumsum(0) - 1], eps=NORM_EPS).unsqueeze(1)
        items = functional.normalize(candidates, dim=-1, eps=NORM_EPS)
        logits: Tensor = self.logits(functional.silu(self.norm(self.hidden(users * items))))
        return logits

    def init_weights(self) -> None:
        """Fill the weights at random."""
        initialize(self)


def initialize(model: nn.Module) -> None:
    """Normal weights: of variance 1 / inputs in linear layers, so that states keep their size; `TABLE_STD` in tables."""
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.reset_parameters()
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding | RelativeBias):
            for table in module.parameters(recurse=False):
                nn.init.normal_(table, std=TABLE_STD)
