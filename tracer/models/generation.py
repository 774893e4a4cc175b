"""What the families built from transformers share: random weights and phases around `generate`.

>>> model = random_model(lambda: LlamaForCausalLM(config), request)  # doctest: +SKIP
>>> with generation_phases(model):  # doctest: +SKIP
...     model.generate(prompt)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast
from weakref import WeakSet

import torch
from torch import nn
from transformers import GenerationConfig

from mmprof.tracer.phases import PhaseSequence

if TYPE_CHECKING:
    from mmprof.tracer.workload import Request

INITIALIZER_RANGE: Final = 0.08
"""Standard deviation of random weights.

With 0.02, the default of transformers, greedy decoding of a random model soon repeats a few tokens; with 0.08 nearly
every token is new, as in real text.
"""

_PREPARE: Final = "prepare_inputs_for_generation"
_random: Final[WeakSet[nn.Module]] = WeakSet()
_generation_config = cast("Callable[..., GenerationConfig]", GenerationConfig)

M = TypeVar("M", bound=nn.Module)


class Generator(Protocol):
    """A model of transformers that can generate."""

    def generate(self, inputs: torch.Tensor, **options: Any) -> torch.Tensor:
        """Token ids: the inputs, then what was generated."""


class Initializable(Protocol):
    """A module that can fill its own parameters and buffers: every model of transformers."""

    def init_weights(self) -> object:
        """Fill all parameters at random, and compute the buffers that the configuration determines."""


def on_meta(make: Callable[[], M], dtype: torch.dtype = torch.float32) -> M:
    """The module that `make` makes in torch's default device and dtype, without memory: shapes and dtypes only."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"):
            return make()
    finally:
        torch.set_default_dtype(before)


def random_model(make: Callable[[], M], request: Request) -> M:
    """An `Initializable` module with random weights, for inference, on the device and in the dtype of the request.

    Its memory is allocated once, in that dtype, so that a model of 7 B parameters in bfloat16 takes 14 GB at any time.
    """
    model = on_meta(make, torch_dtype(request)).to_empty(device=request.device)
    with seeded(request):
        cast("Initializable", model).init_weights()
    _random.add(model)
    return model.eval().requires_grad_(requires_grad=False)


def has_random_weights(model: nn.Module) -> bool:
    """Whether `random_model` made it: what it guesses or writes says nothing about real weights."""
    return model in _random


def torch_dtype(request: Request) -> torch.dtype:
    """The dtype that a request names."""
    return cast("torch.dtype", getattr(torch, request.dtype))


@contextmanager
def seeded(request: Request) -> Iterator[None]:
    """Seed torch's global generators; their states come back at the end."""
    device = torch.device(request.device)
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices, device_type="cuda" if not devices else device.type):
        torch.manual_seed(request.seed)
        yield


def random_tokens(shape: tuple[int, ...], request: Request, *, low: int, high: int) -> torch.Tensor:
    """Token ids from `low` to `high - 1`, equal on every device for equal seeds."""
    generator = torch.Generator().manual_seed(request.seed)
    return torch.randint(low, high, shape, generator=generator).to(request.device)


def greedy_generation(
    model: object, prompt: torch.Tensor, new_tokens: int, *, before: str = "prefill", **inputs: Any
) -> Callable[[], torch.Tensor]:
    """A request of greedy decoding through `model.generate`, whose work on the host is part of what users see.

    It takes one prefill and `new_tokens - 1` decode steps: prefill yields the first new token, and nothing ends a
    sequence early.

    Args:
        model: A model of transformers that can generate.
        prompt: Token ids, [batch, tokens], none of them padding.
        new_tokens: Tokens to generate.
        before: Phase of what precedes prefill; see `generation_phases`.
        inputs: Further inputs of the model.
    """
    options = _generation_config(max_new_tokens=new_tokens, do_sample=False, eos_token_id=None)
    mask = torch.ones_like(prompt)
    generator = cast("Generator", model)

    def run() -> torch.Tensor:
        with torch.inference_mode(), generation_phases(model, before=before):
            return generator.generate(
                prompt, attention_mask=mask, generation_config=options, **inputs
            )

    return run


@contextmanager
def generation_phases(model: object, *, before: str = "prefill") -> Iterator[PhaseSequence]:
    """Annotate the steps of `model.generate`: `prefill`, then `decode[0]`, `decode[1]`, ...

    A step begins where transformers prepares the inputs of a forward call, and ends where the next one begins: sampling
    and the stopping checks are in it. The mark is set in `prepare_inputs_for_generation`, because a hook of the module
    would open the step inside the module's own annotation, and would vanish in a compiled forward call.

    Args:
        model: A model of transformers that can generate.
        before: Phase of what precedes the first step: an encoder's name, or `prefill` to count it there.

    Yields:
        The sequence, for the phases after the loop; the last step ends with the context.
    """
    own = vars(model).get(_PREPARE)
    with PhaseSequence() as phases:
        phases.enter(before)
        vars(model)[_PREPARE] = _marked(getattr(model, _PREPARE), phases, before)
        try:
            yield phases
        finally:
            _restore(model, own)


def _marked(prepare: Callable[..., Any], phases: PhaseSequence, before: str) -> Callable[..., Any]:
    steps = count(-1)

    # wraps: transformers looks up which arguments it takes
    @wraps(prepare)
    def marked(*args: Any, **kwargs: Any) -> Any:
        step = next(steps)
        if step >= 0:
            phases.enter("decode", step)
        elif before != "prefill":
            phases.enter("prefill")
        return prepare(*args, **kwargs)

    return marked


def _restore(model: object, own: object) -> None:
    if own is None:
        del vars(model)[_PREPARE]
    else:
        vars(model)[_PREPARE] = own
