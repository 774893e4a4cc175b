"""The argument positions of the models are those of torch's own operator schemas."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from mmprof.analyzers.costs import modelled_operators  # noqa: E402 - needs torch to matter
from mmprof.analyzers.costs.families import (  # noqa: E402
    attention,
    convolution,
    loss,
    normalization,
    pooling,
    reduction,
)

REMOVED_FROM_TORCH = {"aten::_cat"}


def arguments_of(name: str) -> list[str]:
    packet: Any = getattr(torch.ops.aten, name.removeprefix("aten::"))
    schema = getattr(packet, packet.overloads()[0])._schema
    return [argument.name for argument in schema.arguments]


def aten(table: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, entry) for name, entry in table.items() if name.startswith("aten::")]


def test_every_modelled_aten_operator_exists() -> None:
    names = {name for name in modelled_operators() if name.startswith("aten::")}
    absent = {name for name in names if not hasattr(torch.ops.aten, name.removeprefix("aten::"))}
    assert absent <= REMOVED_FROM_TORCH


@pytest.mark.parametrize(("name", "signature"), aten({**attention._FORWARD, **attention._BACKWARD}))
def test_attention_positions(name: str, signature: attention.Signature) -> None:
    names = arguments_of(name)
    first = 1 if name in attention._BACKWARD else 0
    assert names[first : first + 3] == ["query", "key", "value"]
    assert names[signature.causal] == ("custom_mask_type" if signature.mask_type else "is_causal")
    if signature.window is not None:
        both = names[signature.window : signature.window + 2]
        assert both == ["window_size_left", "window_size_right"]
    if signature.cu_seqlens is not None and signature.max_kv is not None:
        assert names[signature.cu_seqlens] in ("cum_seq_q", "cu_seqlens_q")
        assert names[signature.max_kv] in ("max_k", "max_seqlen_k")
    hidden = {"seqused_k", "block_table", "seqlen_k", "window_size", "cum_seq_q"}
    assert {names[index] for index in signature.unmodelled if index < len(names)} <= hidden
    assert {names[index] for index in signature.extra_operands} <= {
        "attn_bias",
        "attn_mask",
        "bias",
    }


@pytest.mark.parametrize(("name", "signature"), aten(convolution._SIGNATURES))
def test_convolution_positions(name: str, signature: convolution.Signature) -> None:
    names = arguments_of(name)
    for field in ("stride", "padding", "dilation", "bias", "output_padding", "groups"):
        place = getattr(signature, field)
        assert place is None or names[place] == field
    if signature.transposed_flag is not None:
        assert names[signature.transposed_flag] == "transposed"


@pytest.mark.parametrize(("name", "signature"), aten(normalization._BACKWARD))
def test_normalization_backward_positions(name: str, signature: normalization.Backward) -> None:
    names = arguments_of(name)
    assert names[signature.gradient] in ("grad_out", "grad_output")
    assert (names[signature.input], names[signature.weight]) == ("input", "weight")


@pytest.mark.parametrize(("name", "kind"), aten(pooling._POOLINGS))
def test_pooling_positions(name: str, kind: pooling.Pooling) -> None:
    names = arguments_of(name)
    assert names[1:4] == ["kernel_size", "stride", "padding"]
    assert names[kind.ceil_mode] == "ceil_mode"
    assert kind.dilation is None or names[kind.dilation] == "dilation"


@pytest.mark.parametrize(("name", "kind"), aten(loss._LOSSES))
def test_loss_positions(name: str, kind: loss.Loss) -> None:
    assert arguments_of(name)[kind.reduction] == "reduction"


@pytest.mark.parametrize(("name", "kind"), aten(reduction._REDUCTIONS))
def test_reduction_positions(name: str, kind: reduction.Reduction) -> None:
    packet: Any = getattr(torch.ops.aten, name.removeprefix("aten::"))
    signatures = [getattr(packet, overload)._schema.arguments for overload in packet.overloads()]
    reduced = [[argument.name for argument in arguments] for arguments in signatures]
    with_dim = [names for names in reduced if "dim" in names]
    assert all(names.index("dim") == kind.axes for names in with_dim)
    if kind.dtype is not None:
        assert all(names.index("dtype") == kind.dtype for names in with_dim if "dtype" in names)
