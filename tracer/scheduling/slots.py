"""Continuous batching: slots of one static key-value cache, each of which the next request takes when it falls free."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

if TYPE_CHECKING:
    from torch import Tensor

    from mmprof.tracer.scheduling.serving import Serving

_EVERY_HEAD: Final = slice(None)


@dataclass(frozen=True, slots=True)
class Continuous:
    """A schedule in slots.

    Attributes:
        slots: Requests that are decoded together, at most.
    """

    slots: int

    def __call__(self, serving: Serving) -> None:
        """Decode all requests, in the order in which they came."""
        slots = Slots(serving, min(self.slots, len(serving.requests)))
        while slots.live:
            slots.step()


@dataclass(slots=True)
class Place:
    """Where the tokens of a forward call belong.

    Attributes:
        slots: The slots that are read and written.
        positions: Of the tokens, [slots, tokens].
        until: Positions of the cache that are read.
        rows: The slots, counted from the first of them, [slots, 1].
    """

    slots: slice
    positions: Tensor
    until: int
    rows: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.rows = torch.arange(len(self.positions), device=self.positions.device)[:, None]


class SlotLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    """Keys and values [slots, heads, capacity, width] of one layer, allocated once.

    Args:
        slots: How many.
        capacity: Positions of each.
    """

    is_sliding = False

    def __init__(self, slots: int, capacity: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._extent = slots, capacity
        self.place: Place

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate, as what is to be stored demands."""
        # not empty: a mask makes a weight of 0, and 0 times what memory happens to hold may be no number
        self.keys, self.values = map(self._allocated, (key_states, value_states))
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Write [slots, heads, tokens, width] at the place of the call; what may be read there."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        return self._written(self.keys, key_states), self._written(self.values, value_states)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:  # noqa: ARG002  (as transformers calls it)
        """Length and offset of a mask."""
        return self.place.until, 0

    def get_seq_length(self) -> int:
        """Tokens before those of the call: only prefill, which has none, asks."""
        return 0

    def get_max_length(self) -> int:
        """Positions of a slot."""
        return self._extent[1]

    def move(self, source: int, target: int, until: int) -> None:
        """Copy what a slot holds to another one."""
        for store in (self.keys, self.values):
            assert store is not None
            store[target, :, :until] = store[source, :, :until]

    def _allocated(self, like: Tensor) -> Tensor:
        slots, capacity = self._extent
        return like.new_zeros((slots, like.shape[1], capacity, like.shape[3]))

    def _written(self, store: Tensor, states: Tensor) -> Tensor:
        place = self.place
        here = store[place.slots]
        here[place.rows, _EVERY_HEAD, place.positions] = states.transpose(1, 2)
        return here[:, :, : place.until]


@dataclass(slots=True)
class _Live:
    """A request in a slot.

    Attributes:
        number: The request.
        position: Of its next token.
    """

    number: int
    position: int


class Slots:
    """The slots of a serving. Those that are taken are always the first ones, so that a step reads no others.

    Args:
        serving: The requests.
        count: How many slots.

    Attributes:
        live: The requests by slot.
    """

    def __init__(self, serving: Serving, count: int) -> None:
        capacity = max(each.prompt.shape[1] + each.new_tokens - 1 for each in serving.requests)
        layers = serving.config.get_text_config(decoder=True).num_hidden_layers
        self.live: list[_Live] = []
        self._serving = serving
        self._layers = [SlotLayer(count, capacity) for _ in range(layers)]
        self._cache = Cache(layers=[*self._layers])
        self._waiting = deque(range(len(serving.requests)))
        self._tokens = torch.zeros(count, dtype=torch.long, device=serving.device)
        self._steps = 0
        while len(self.live) < count and self._enter(len(self.live)):
            pass

    def step(self) -> None:
        """Decode a token of each live request; the next ones take the slots of those that are done."""
        serving, count = self._serving, len(self.live)
        serving.phases.enter("decode", self._steps)
        positions, until = self._positions(), max(each.position for each in self.live) + 1
        self._at(Place(slice(count), positions, until))
        logits = serving.forward(
            self._tokens[:count, None],
            attention_mask=own_positions(positions, until, serving.dtype),
            position_ids=positions,
            past_key_values=self._cache,
        )
        self._tokens[:count] = serving.choose([each.number for each in self.live], logits)
        self._steps += 1
        self._pass_on(until)

    def _positions(self) -> Tensor:
        """Positions [slots, 1] of the next token of each live request."""
        own = [[each.position] for each in self.live]
        return torch.tensor(own, device=self._serving.device)

    def _pass_on(self, until: int) -> None:
        for slot in reversed(range(len(self.live))):
            self.live[slot].position += 1
            if not self._serving.left(self.live[slot].number) and not self._enter(slot):
                self._close(slot, until)

    def _enter(self, slot: int) -> bool:
        """Let the next request that has a token to decode take a slot; whether there was one."""
        while self._waiting:
            number = self._waiting.popleft()
            entered = self._prefilled(number, slot)
            if self._serving.left(number):
                self.live[slot : slot + 1] = [entered]
                return True
        return False

    def _prefilled(self, number: int, slot: int) -> _Live:
        """Read the prompt of a request, alone, into a slot."""
        serving, prompt = self._serving, self._serving.requests[number].prompt
        serving.phases.enter("prefill")
        length = prompt.shape[1]
        positions = torch.arange(length, device=prompt.device)[None]
        self._at(Place(slice(slot, slot + 1), positions, length))
        logits = serving.forward(
            prompt,
            attention_mask=torch.ones_like(prompt),
            position_ids=positions,
            past_key_values=self._cache,
        )
        self._tokens[slot : slot + 1] = serving.choose([number], logits)
        return _Live(number, length)

    def _close(self, slot: int, until: int) -> None:
        """Give a slot up: the last live one takes its place."""
        last = len(self.live) - 1
        if slot != last:
            for layer in self._layers:
                layer.move(last, slot, until)
            self._tokens[slot] = self._tokens[last]
            self.live[slot] = self.live[last]
        self.live.pop()

    def _at(self, place: Place) -> None:
        for layer in self._layers:
            layer.place = place


def own_positions(positions: Tensor, until: int, dtype: torch.dtype) -> Tensor:
    """The mask [slots, 1, 1, until] that lets each slot see its own tokens alone, not what a former request left behind them."""
    hidden = torch.arange(until, device=positions.device) > positions
    mask = torch.zeros(hidden.shape, dtype=dtype, device=positions.device)
    return mask.masked_fill(hidden, torch.finfo(dtype).min)[:, None, None]
