"""HSTU: a generative recommender that reads a user's history in one pass and ranks candidates."""

from __future__ import annotations

from mmprof.tracer.workload import Family, Option, Request, Size, Task, Workload


def build(request: Request) -> Workload:
    """The workload of a request.

    Raises:
        ValueError: A history would be longer than the model's maximum length.
    """
    from mmprof.tracer.models.hstu_workload import hstu_workload  # noqa: PLC0415  (torch: seconds)

    return hstu_workload(request)


FAMILY = Family(
    name="hstu",
    summary="generative recommender: pointwise attention over long histories, no decode loop",
    tasks=(
        Task(
            "H-A",
            "histories of items and actions to the logits of each action for each candidate",
            ("encode", "rank"),
        ),
    ),
    sizes=(
        Size("tiny", 319_428, "2 CPU cores"),
        Size("small", 39_217_672, "2 CPU cores"),
        Size(
            "full",
            532_399_112,
            "a GPU with 16 GiB at batch 1",
        ),
    ),
    build=build,
    options=(
        Option(
            "form",
            "research",
            "published form of the layers; sizes count the parameters of the first",
            ("research", "production"),
        ),
        Option("candidates", 10, "candidates that are ranked for each user"),
        Option(
            "spread",
            0.0637,
            "lengths of a batch lie within this share of the mean; mmprof's default",
        ),
    ),
    attentions=("pointwise",),
    source="arXiv 2402.17152, equations 1 to 3; meta-recsys/generative-recommenders",
)
