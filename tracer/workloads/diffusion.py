"""Latent diffusion: a text to an image, by a U-Net of convolutions and attention that runs once a denoising step."""

from __future__ import annotations

from mmprof.tracer.workload import Family, Option, Request, Size, Task, Workload


def build(request: Request) -> Workload:
    """The workload of a request.

    Raises:
        ValueError: The text is too long, or there are too many steps.
    """
    from mmprof.tracer.models.diffusion_workload import diffusion_workload  # noqa: PLC0415

    return diffusion_workload(request)


FAMILY = Family(
    name="diffusion",
    summary="latent diffusion: text encoder, denoising U-Net, image decoder",
    tasks=(
        Task(
            "T-I",
            "text to image by DDIM, one step for each of the output length",
            ("encode", "denoise", "image_decode"),
        ),
    ),
    sizes=(
        Size("tiny", 978_203, "2 CPU cores"),
        Size("small", 86_027_387, "2 CPU cores"),
        Size("full", 1_032_071_643, "a GPU with 16 GiB"),
    ),
    build=build,
    options=(
        Option(
            "guidance",
            7.5,
            "scale of classifier-free guidance, which doubles the U-Net's batch; 1 turns it off",
        ),
    ),
    source="arXiv 2112.10752; CompVis/stable-diffusion, configs/stable-diffusion/v1-inference.yaml",
)
