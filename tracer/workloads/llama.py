"""Code Llama: code from a prompt, one token after the other."""

from __future__ import annotations

from typing import Final

from mmprof.tracer.workload import Family, Option, Request, Size, Task, Workload

RANDOM: Final = "random"


def build(request: Request) -> Workload:
    """The workload of a request.

    Raises:
        ValueError: If it has several requests of a model with real weights, or the model cannot be built so.
    """
    if request.options["model"] != RANDOM:
        if request.options["requests"] != 1:
            raise ValueError(
                "several requests are of random weights: leave out model= or requests="
            )
        from mmprof.tracer import pretrained  # noqa: PLC0415  (torch: seconds)

        return pretrained.build(request)
    from mmprof.tracer.models import llama  # noqa: PLC0415  (torch: seconds)

    return llama.build(request)


FAMILY: Final = Family(
    name="llama",
    summary="Code Llama: a decoder-only transformer that writes code",
    tasks=(
        Task(
            "T-T",
            "code from a prompt: greedy decoding with a key-value cache",
            ("prefill", "decode"),
        ),
    ),
    sizes=(
        Size("tiny", 1_066_112, "2 CPU cores"),
        Size("small", 60_056_064, "a laptop"),
        Size("full", 6_738_546_688, "a GPU with 16 GiB in bfloat16"),
    ),
    build=build,
    options=(
        Option(
            "variant",
            "7B",
            "whose shapes full takes; 34B needs 64 GiB for its weights alone",
            ("7B", "34B"),
        ),
        Option(
            "model",
            RANDOM,
            "whose weights: random ones of a size, bytes (2.6 M, trained for an early exit), smollm2 (135 M)",
            (RANDOM, "bytes", "smollm2"),
        ),
        Option(
            "prompt", "", "the text that a model with real weights continues; empty for its own"
        ),
        Option(
            "perplexity_budget",
            0.02,
            "by which share a lossy lever may raise the perplexity of a model with real weights",
        ),
        Option(
            "requests",
            1,
            "requests that a run serves, one after the other, with random weights: docs/scheduling.md",
        ),
        Option(
            "request_spread",
            0.5,
            "how far the lengths of several requests lie apart, as a share of the given ones",
        ),
    ),
    source="arXiv 2308.12950; shapes as in gpt-fast, model.py",
)
