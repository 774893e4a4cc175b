"""SeamlessM4T v2: speech and text in, speech and text out, with beam search in the text decoder."""

from __future__ import annotations

from typing import Final

from mmprof.tracer.workload import Family, Option, Request, Size, Task, Workload

_TO_TEXT: Final = ("setup", "encode", "prefill", "kv_reorder", "decode")
_TO_SPEECH: Final = (*_TO_TEXT, "redecode", "t2u", "vocode")


def build(request: Request) -> Workload:
    """The workload of a request.

    Raises:
        ValueError: A length or a number of beams that the task cannot have.
    """
    from mmprof.tracer.models import seamless  # noqa: PLC0415  (torch: seconds)

    return seamless.build(request)


FAMILY: Final = Family(
    name="seamless",
    summary="SeamlessM4T v2: translates speech and text to speech and text",
    tasks=(
        Task("S-S", "Speech to speech; encodes the speech twice, as transformers does", _TO_SPEECH),
        Task("S-T", "Speech to text", _TO_TEXT),
        Task("T-S", "Text to speech", _TO_SPEECH),
        Task("T-T", "Text to text", _TO_TEXT),
    ),
    sizes=(
        Size("tiny", 1_170_807, "2 CPU cores"),
        Size("small", 165_796_581, "4 CPU cores, or a GPU with 4 GiB"),
        Size("full", 2_309_249_669, "a GPU with 16 GiB"),
    ),
    build=build,
    options=(
        Option(
            "beams", 5, "Beams of the text decoder; with 1 it decodes greedily, without a reorder"
        ),
    ),
    source=(
        "arXiv 2312.05187; shapes of seamless-m4t-v2-large, the defaults of SeamlessM4Tv2Config in transformers; "
        "5 beams as in seamless_communication, inference/generator.py"
    ),
)
