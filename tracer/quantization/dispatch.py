"""Products in the place of linear layers' own, undone at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Final, cast

import torch
from torch import Tensor, nn

from mmprof.tracer.lever_models import attribute
from mmprof.tracer.quantization.candidates import Product
from mmprof.tracer.quantization.choices import ANY_ROWS

_PRODUCTS: Final[dict[int, Product]] = {}
_NUMBERS: Final = count()


@torch.library.custom_op("mmprof::product", mutates_args=())
def product_of(x: torch.Tensor, number: int, outputs: int) -> torch.Tensor:  # noqa: ARG001
    """A product that a compiler takes as one operator: it cannot trace packed weights."""
    return _PRODUCTS[number](x)


@product_of.register_fake
def _(x: torch.Tensor, number: int, outputs: int) -> torch.Tensor:  # noqa: ARG001
    return x.new_empty((*x.shape[:-1], outputs))


class Dispatch:
    """The forward of a linear layer that multiplies in different ways for different numbers of rows.

    Args:
        layer: The layer, whose own product serves where there is no other.
        products: By rows, or `ANY_ROWS`.
        most_rows: With more rows, the layer's own product serves.
    """

    def __init__(
        self, layer: nn.Linear, products: Mapping[int, Product], most_rows: int = sys.maxsize
    ) -> None:
        self._own = layer.forward
        self._outputs, self._inputs = layer.weight.shape
        self._products = dict(products)
        self._most_rows = most_rows
        self._numbers = {rows: next(_NUMBERS) for rows in products}

    def __call__(self, input: Tensor) -> Tensor:  # noqa: A002  (callers may name it, as of `nn.Linear`)
        """The product by the layer's weights."""
        rows = input.numel() // self._inputs
        key = rows if rows in self._products else ANY_ROWS
        if key not in self._products or rows > self._most_rows or input.dim() == 1:
            return self._own(input)
        if torch.compiler.is_compiling():
            return cast("Tensor", product_of(input, self._numbers[key], self._outputs))
        return self._products[key](input)

    @contextmanager
    def known_to_compilers(self) -> Iterator[None]:
        """Let compiled code find the products by number."""
        mine = {self._numbers[rows]: product for rows, product in self._products.items()}
        _PRODUCTS.update(mine)
        try:
            yield
        finally:
            for number in mine:
                del _PRODUCTS[number]


@contextmanager
def dispatching(dispatches: Mapping[nn.Linear, Dispatch]) -> Iterator[None]:
    """Give layers other products.

    Args:
        dispatches: The forward of each layer.
    """
    with ExitStack() as undone:
        for layer, dispatch in dispatches.items():
            undone.enter_context(dispatch.known_to_compilers())
            undone.enter_context(attribute(layer, "forward", dispatch))
        yield
