"""What a model family tells about itself, and what a workload built from it can do.

One file in `tracer/workloads` is one family: it holds a `Family` named `FAMILY`, and imports torch only inside `build`, so that
`mmprof workloads` lists families on a machine without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from msgspec import Struct
    from torch import Tensor, nn

Argument: TypeAlias = "str | int | float | bool"

SIZES: Final = ("tiny", "small", "full")


@dataclass(frozen=True, slots=True)
class Size:
    """One size of a family.

    Attributes:
        name: One of `SIZES`.
        parameters: Parameters of all models, buffers excluded; equal to what `build` makes.
        needs: What it takes to run: "2 CPU cores", "a GPU with 16 GiB".
    """

    name: str
    parameters: int
    needs: str


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a family.

    Attributes:
        name: What goes in and comes out: "T-T", "IT-T", "S-S".
        summary: One line.
        phases: Phases that its trace has, in the order of their first appearance.
    """

    name: str
    summary: str
    phases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Option:
    """An option that only some families have, set by `--set NAME=VALUE`.

    Attributes:
        name: Name, in snake_case.
        default: Its value for every size; its type is the option's type. 0 stands for the size's own default.
        help: One line.
        choices: Allowed values; empty for any.
    """

    name: str
    default: Argument
    help: str
    choices: tuple[Argument, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked a family for; every field is already checked against the family.

    Attributes:
        task: A task's name.
        size: A size's name.
        device: A torch device: "cpu", "cuda", "cuda:1", "xpu".
        dtype: A torch dtype's name: "float32", "bfloat16", "float16".
        batch: Requests that run together.
        seed: Seeds weights and inputs: equal requests give equal weights, inputs and outputs.
        input_length: Tokens or frames of the input; 0 for the documented default of task and size.
        output_length: Tokens to generate, at most; 0 for the documented default of task and size.
        attention: Implementation of attention that transformers is asked for: "eager" or "sdpa".
        options: The family's own options, defaults filled in.
    """

    task: str
    size: str = "tiny"
    device: str = "cpu"
    dtype: str = "float32"
    batch: int = 1
    seed: int = 0
    input_length: int = 0
    output_length: int = 0
    attention: str = "eager"
    options: Mapping[str, Argument] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the models of a workload are.

    Attributes:
        name: What is measured: "perplexity".
        measure: Measures it, the lower the better.
        budget: By which share a lossy lever may raise it.
    """

    name: str
    measure: Callable[[], float]
    budget: float


@dataclass(frozen=True, slots=True)
class GreedyRequest:
    """A request of greedy decoding, which nothing ends early.

    Attributes:
        prompt: Token ids, [1, tokens].
        new_tokens: Tokens to generate.
    """

    prompt: Tensor
    new_tokens: int


@dataclass
class Queue:
    """Requests that are there at once; a workload that runs a queue serves all of them.

    Attributes:
        requests: In the order in which they came.
        serve: Serves them, and returns the token ids [1, tokens] of each, its prompt in front. A lever that schedules
            requests puts another function here.
    """

    requests: tuple[GreedyRequest, ...]
    serve: Callable[[], tuple[Tensor, ...]]

    def __call__(self) -> tuple[Tensor, ...]:
        """Serve all requests."""
        return self.serve()


@dataclass(frozen=True, slots=True)
class Workload:
    """A model, its inputs and one whole request, ready to run any number of times.

    Attributes:
        name: Name of the family, or of the user's target.
        models: Models by name, whose modules are annotated in the trace; "" names the only one.
        run: Runs one request from a fresh state and returns what it made: tensors, or containers of tensors, equal under
            the same seed.
        arguments: What was run, defaults resolved: shapes, lengths, layers, seed; for the sidecar.
        kv_cache_bytes: Bytes of the key-value caches at the end of a request, from the architecture; None without one.
        steps: Decode steps of one request; None where there is no loop.
        draft: A smaller model with the same tokens, for `assisted_decoding`.
        quality: How good the models are, where that can be measured.
        facts: What is worth telling about the last request: what it wrote, how many drafts were right.
        queue: The requests that a run serves, where there are several.
    """

    name: str
    models: Mapping[str, nn.Module]
    run: Callable[[], object]
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    kv_cache_bytes: int | None = None
    steps: int | None = None
    notes: tuple[Struct, ...] = ()
    draft: nn.Module | None = None
    quality: Quality | None = None
    facts: Callable[[], Mapping[str, Argument]] = dict
    queue: Queue | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """A model family.

    Attributes:
        name: What the command line calls it.
        summary: One line.
        tasks: Its tasks, the default first.
        sizes: Its sizes, in the order of `SIZES`.
        build: Makes the workload of a request.
        options: Options of its own.
        source: Where its architecture and shapes are published.
        attentions: Forms of its attention that can be asked for, the default first.
    """

    name: str
    summary: str
    tasks: tuple[Task, ...]
    sizes: tuple[Size, ...]
    build: Callable[[Request], Workload]
    options: tuple[Option, ...] = ()
    source: str = ""
    attentions: tuple[str, ...] = ("eager", "sdpa")
