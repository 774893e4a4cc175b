"""What a command line names as its workload; looked up before torch is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmprof.analyzers.errors import MmprofError

if TYPE_CHECKING:
    from mmprof.tracer.order import Subject, Wish


def subject_of(words: Sequence[str], hf: str, wish: Wish, *, device: str, verb: str) -> Subject:
    """The one workload that is named.

    Args:
        words: A family, or `module:function`.
        hf: A model's folder, instead.
        wish: What is asked of it.
        device: A torch device; empty for the default.
        verb: The verb that was called, for errors: `trace`, `verify`.

    Raises:
        MmprofError: None or several are named, or a family has not what is asked of it.
    """
    from mmprof.tracer.order import Subject  # noqa: PLC0415

    if len(words) + bool(hf) != 1:
        program = " or -- python script.py" if verb == "trace" else ""
        raise MmprofError(
            "MM-E052",
            f"{verb} takes one target",
            found=" ".join([*words, *([f"--hf {hf}"] if hf else [])]) or "none",
            hint=f"mmprof {verb} FAMILY, MODULE:FUNCTION{', ' if program else ' or '}--hf FOLDER{program}",
        )
    if hf:
        return Subject(folder=Path(hf), wish=wish, device=device)
    if ":" in words[0]:
        return Subject(target=words[0], wish=wish, device=device)
    return _of_family(words[0], wish, device, verb)


def _of_family(word: str, wish: Wish, device: str, verb: str) -> Subject:
    from mmprof.analyzers.choices import choose  # noqa: PLC0415
    from mmprof.tracer.families import families, request_for  # noqa: PLC0415
    from mmprof.tracer.order import Subject  # noqa: PLC0415

    known = families()
    others = ", or -- python script.py" if verb == "trace" else ""
    name = choose(
        word,
        known,
        what="the family",
        code="MM-E053",
        otherwise=f"`mmprof workloads`{', ' if others else ' or '}module:function{others}",
    )
    request_for(known[name], wish, device)  # finds what is wrong with it
    return Subject(family=known[name], wish=wish, device=device)


def with_model(
    words: Sequence[str], settings: Sequence[str], model: str, *, size: str
) -> tuple[Sequence[str], tuple[str, ...]]:
    """The words and the settings of a command line with `--model`, which is short for a family with real weights.

    Args:
        words: A family, or none for the only one that has such weights.
        settings: Texts `NAME=VALUE`.
        model: Name of the weights; empty for what the others say.
        size: What `--size` says.

    Raises:
        MmprofError: A size, which such weights have already.
    """
    if not model:
        return words, tuple(settings)
    if size:
        raise MmprofError(
            "MM-E052",
            "--size has no effect with --model: real weights have their size",
            hint="leave it out",
        )
    return words or ["llama"], (*settings, f"model={model}")
