"""Chameleon: text and images as one sequence of tokens."""

from __future__ import annotations

from typing import Final

from mmprof.tracer.workload import Family, Option, Request, Size, Task, Workload


def build(request: Request) -> Workload:
    """The workload of a request."""
    from mmprof.tracer.models import chameleon  # noqa: PLC0415  (torch: seconds)

    return chameleon.build(request)


FAMILY: Final = Family(
    name="chameleon",
    summary="Chameleon: one decoder-only transformer over text and image tokens",
    tasks=(
        Task("I-T", "a caption of an image", ("encode", "prefill", "decode")),
        Task("IT-T", "an answer to a question about an image", ("encode", "prefill", "decode")),
        Task(
            "T-I",
            "an image from a prompt: one decode step per image token",
            ("prefill", "decode", "image_decode"),
        ),
    ),
    sizes=(
        Size("tiny", 2_508_227, "2 CPU cores"),
        Size("small", 50_905_123, "a laptop"),
        Size("full", 7_082_385_283, "a GPU with 24 GiB in bfloat16"),
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
            "guidance",
            3,
            "T-I: copies of the prompt in the batch; 1 is without guidance",
            (1, 2, 3),
        ),
        Option("sampling", default=False, help="T-I: draw tokens instead of taking the likeliest"),
    ),
    source="arXiv 2405.09818; shapes as in transformers, ChameleonConfig",
)
