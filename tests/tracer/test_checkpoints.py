"""Model folders in the format of transformers, without a network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from mmprof.analyzers.errors import MmprofError  # noqa: E402
from mmprof.tracer.checkpoints import checkpoint  # noqa: E402
from mmprof.tracer.workload import Request  # noqa: E402

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "eos_token_id": 2,
}
VIT = {
    "architectures": ["ViTModel"],
    "model_type": "vit",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
}


def folder(tmp_path: Path, config: dict[str, object]) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    return tmp_path / "model"


def test_a_model_that_generates(tmp_path: Path) -> None:
    request = Request("", batch=2, input_length=5, output_length=3, attention="sdpa")
    made = checkpoint(folder(tmp_path, LLAMA), request)

    assert made.workload.run().shape == (2, 8)
    assert made.workload.steps == 2
    assert "random" in made.notes[0]
    assert made.workload.arguments["input_ids"] == "[2, 5]"


def test_weights_of_the_folder_are_used(tmp_path: Path) -> None:
    config = transformers.LlamaConfig(**{k: v for k, v in LLAMA.items() if k != "model_type"})
    saved = transformers.LlamaForCausalLM(config)
    saved.save_pretrained(tmp_path / "model")

    made = checkpoint(tmp_path / "model", Request("", output_length=2))

    assert made.notes == []
    assert torch.equal(made.workload.models[""].lm_head.weight, saved.lm_head.weight)


def test_a_model_that_does_not_generate(tmp_path: Path) -> None:
    made = checkpoint(folder(tmp_path, VIT), Request("", batch=2))

    # a class token and four patches
    assert made.workload.run().last_hidden_state.shape == (2, 5, 16)
    assert made.workload.steps is None


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (None, "no config.json"),
        ({"architectures": ["NoSuchModel"], "model_type": "llama"}, "architectures of"),
        ({"model_type": "no such type"}, "The checkpoint"),
    ],
)
def test_a_folder_that_holds_no_model(
    tmp_path: Path, config: dict[str, object] | None, found: str
) -> None:
    path = folder(tmp_path, config) if config else tmp_path
    with pytest.raises(MmprofError) as caught:
        checkpoint(path, Request(""))

    assert caught.value.code == "MM-E054"
    assert caught.value.found.startswith(found)
