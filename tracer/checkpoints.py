"""Models of transformers from a folder on disk: `config.json`, and weights if they are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import torch
import transformers

from mmprof.analyzers.errors import MmprofError
from mmprof.tracer.models.generation import generation_phases
from mmprof.tracer.workload import Request, Workload

if TYPE_CHECKING:
    from torch import nn

CODE: Final = "MM-E054"
INPUT_LENGTH: Final = 128
OUTPUT_LENGTH: Final = 32
_WEIGHTS: Final = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model from a folder, ready to run.

    Attributes:
        workload: The workload.
        notes: What a reader of its numbers should know.
    """

    workload: Workload
    notes: list[str] = field(default_factory=list)


def checkpoint(folder: Path, request: Request) -> Checkpoint:
    """A model folder as a workload: `generate` if it can, else a forward call.

    Args:
        folder: Holds `config.json`, and `*.safetensors` or `pytorch_model*.bin` for other weights than random ones.
        request: Device, dtype, batch, lengths, seed; its options are arguments of `generate`.

    Raises:
        MmprofError: The folder holds no model, or one whose inputs cannot be made up.
    """
    model, notes = _model(folder, request)
    inputs = _inputs(model, request)
    generates = bool(model.can_generate())
    run = _generation(model, inputs, request) if generates else _forward(model, inputs)
    arguments = {
        "model": type(model).__name__,
        "dtype": request.dtype,
        "device": request.device,
        "batch": request.batch,
        "seed": request.seed,
        "attention": request.attention,
        **{name: str(list(tensor.shape)) for name, tensor in inputs.items()},
        **({"output_length": request.output_length or OUTPUT_LENGTH} if generates else {}),
        **request.options,
    }
    steps = (request.output_length or OUTPUT_LENGTH) - 1 if generates else None
    name = folder.resolve().name
    return Checkpoint(
        Workload(name, {"": cast("nn.Module", model)}, run, arguments, steps=steps), notes
    )


def _model(folder: Path, request: Request) -> tuple[Any, list[str]]:
    config = _config(folder)
    names = getattr(config, "architectures", None) or ["no architecture"]
    kind = getattr(transformers, names[0], None)
    if kind is None:
        raise MmprofError(
            CODE,
            f"transformers has no {names[0]!r}",
            found=f"architectures of {folder / 'config.json'}; transformers {transformers.__version__}",
            hint="another version of transformers, or a function of your own: module:function",
        )
    torch.manual_seed(request.seed)
    settings = {
        "dtype": getattr(torch, request.dtype),
        "attn_implementation": request.attention,
    }
    if any(next(folder.glob(pattern), None) for pattern in _WEIGHTS):
        model, notes = kind.from_pretrained(folder, local_files_only=True, **settings), []
    else:
        model = kind._from_config(config, **settings)  # noqa: SLF001  (the way that keeps the class)
        notes = [f"{folder} holds no weights: they are random"]
    return model.to(request.device).eval(), notes


def _config(folder: Path) -> Any:
    if not (folder / "config.json").is_file():
        raise MmprofError(
            CODE,
            f"{folder} holds no model of transformers",
            found="no config.json" if folder.is_dir() else "no folder",
            hint="a folder that save_pretrained wrote, or a snapshot of the hub",
        )
    try:
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    except (ValueError, OSError, KeyError) as error:
        raise MmprofError(
            CODE,
            f"transformers cannot read {folder / 'config.json'}",
            found=str(error).splitlines()[0],
            hint="a version of transformers that knows this model_type",
        ) from error


def _inputs(model: Any, request: Request) -> dict[str, torch.Tensor]:
    """Random inputs of the model's main kind, equal for equal seeds."""
    makers: dict[str, Callable[[Any, Request], torch.Tensor]] = {
        "input_ids": _tokens,
        "pixel_values": _image,
    }
    name = model.main_input_name
    if name not in makers:
        raise MmprofError(
            CODE,
            f"{type(model).__name__} takes {name!r}, which cannot be made up",
            found=f"known: {', '.join(makers)}",
            hint="a function of your own that returns (model, inputs): module:function",
        )
    return {name: makers[name](model.config, request).to(request.device)}


def _tokens(config: Any, request: Request) -> torch.Tensor:
    vocabulary = config.get_text_config().vocab_size
    shape = (request.batch, request.input_length or INPUT_LENGTH)
    return torch.randint(vocabulary, shape, generator=_generator(request))


def _image(config: Any, request: Request) -> torch.Tensor:
    vision = getattr(config, "vision_config", config)
    size = vision.image_size
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    channels = getattr(vision, "num_channels", 3)
    image = torch.rand(request.batch, channels, height, width, generator=_generator(request))
    return image.to(getattr(torch, request.dtype))


def _generator(request: Request) -> torch.Generator:
    return torch.Generator().manual_seed(request.seed)


def _generation(
    model: Any, inputs: dict[str, torch.Tensor], request: Request
) -> Callable[[], object]:
    """One greedy generation of exactly the length that was asked for."""
    length = request.output_length or OUTPUT_LENGTH
    model.generation_config.eos_token_id = None  # nothing ends a sequence early
    arguments = {"max_new_tokens": length, "do_sample": False, **request.options}
    before = "encode" if model.config.is_encoder_decoder else "prefill"

    @torch.no_grad()
    def run() -> object:
        torch.manual_seed(request.seed)
        with generation_phases(model, before=before):
            return model.generate(**inputs, **arguments)

    return run


def _forward(model: Any, inputs: dict[str, torch.Tensor]) -> Callable[[], object]:
    @torch.no_grad()
    def run() -> object:
        return model(**inputs)

    return run
