"""Code Llama: code from a prompt, one token after the other."""

from __future__ import annotations

from typing import Final

from mmprof.tracer.workload import Family, Option, Request, Size, Task, Workload


def build(request: Request) -> Workload:
    """The workload of a request."""
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
    ),
    source="arXiv 2308.12950; shapes as in gpt-fast, model.py",
)
