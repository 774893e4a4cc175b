"""Phases of one `generate` of a SeamlessM4T v2 model.

Beside the steps of the loop that all families share, these are the calls of its other modules. Their marks are forward
hooks that run before all others, so that a phase encloses the annotations of the module that it begins with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from mmprof.tracer.models.generation import generation_phases
from mmprof.tracer.phases import PhaseSequence, phase

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import SeamlessM4Tv2Model

    Hook: TypeAlias = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]

_REORDER: Final = "_reorder_cache"
_SUBWORDS: Final = "_indices_to_subwords"


class BeamCache(Protocol):
    """A cache whose rows are beams."""

    def reorder_cache(self, beam_idx: Tensor) -> object:
        """Make row i a copy of row `beam_idx[i]`."""


Reorder: TypeAlias = Callable[[BeamCache, "Tensor"], BeamCache]


@contextmanager
def request_phases(model: SeamlessM4Tv2Model) -> Iterator[None]:
    """Annotate the phases of `model.generate`, and leave the model as it was.

    `setup` (before any module runs), `encode[0]`, `prefill`, `decode[i]`, in each of these two a `kv_reorder`; to speech
    also `encode[1]` (from speech only), `redecode` (the text decoder over the whole best hypothesis), `t2u` (from the
    spelling of subwords on) and `vocode`.
    """
    with ExitStack() as opened:
        phases = opened.enter_context(generation_phases(model, before="setup"))
        encode = _encodes(phases)
        for module, hook in (
            (model.speech_encoder, encode),
            (model.text_encoder, encode),
            (model.text_decoder, _redecodes(phases)),
            (model.vocoder, _vocodes(phases)),
        ):
            handle = module.register_forward_pre_hook(hook, prepend=True, with_kwargs=True)
            opened.callback(handle.remove)
        opened.enter_context(_attribute(model, _SUBWORDS, _begins_t2u(model, phases)))
        opened.enter_context(_attribute(model, _REORDER, _annotated_reorder(model)))
        yield


def _encodes(phases: PhaseSequence) -> Hook:
    passes = count()

    def enter(*_: object) -> None:
        phases.enter("encode", next(passes))

    return enter


def _redecodes(phases: PhaseSequence) -> Hook:
    """Beam search hands its cache to the text decoder; only the pass over the whole hypothesis runs without one."""

    def enter(_module: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if kwargs.get("past_key_values") is None:
            phases.enter("redecode")

    return enter


def _vocodes(phases: PhaseSequence) -> Hook:
    def enter(*_: object) -> None:
        phases.enter("vocode")

    return enter


def _begins_t2u(model: SeamlessM4Tv2Model, phases: PhaseSequence) -> Callable[..., object]:
    """Subwords are spelled before the text-to-unit model is called: one read of the device per token."""
    spell: Callable[..., object] = getattr(model, _SUBWORDS)

    @wraps(spell)
    def marked(*args: object) -> object:
        phases.enter("t2u")
        return spell(*args)

    return marked


def _annotated_reorder(model: SeamlessM4Tv2Model) -> Reorder:
    """What beam search calls in the place of `cache.reorder_cache`, where the model has it."""
    reorder: Reorder = getattr(model, _REORDER, _reorder_all)

    def annotated(cache: BeamCache, beam_idx: Tensor) -> BeamCache:
        with phase("kv_reorder"):
            return reorder(cache, beam_idx)

    return annotated


def _reorder_all(cache: BeamCache, beam_idx: Tensor) -> BeamCache:
    cache.reorder_cache(beam_idx)
    return cache


@contextmanager
def _attribute(model: nn.Module, name: str, value: object) -> Iterator[None]:
    """Give one instance an attribute for a while; what the instance itself had under that name comes back."""
    own = vars(model).get(name)
    vars(model)[name] = value
    try:
        yield
    finally:
        if own is None:
            del vars(model)[name]
        else:
            vars(model)[name] = own
