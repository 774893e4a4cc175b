"""The model families that can be traced, and checking what is asked of them; needs no torch."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from mmprof.analyzers.choices import choose
from mmprof.analyzers.errors import MmprofError
from mmprof.tracer import workloads
from mmprof.tracer.order import Wish
from mmprof.tracer.workload import Argument, Family, Option, Request

CODE: Final = "MM-E053"
DTYPES: Final = {
    "float32": "float32",
    "bfloat16": "bfloat16",
    "float16": "float16",
    "fp32": "float32",
    "bf16": "bfloat16",
    "fp16": "float16",
}
_TRUTH: Final = {"true": True, "yes": True, "on": True, "1": True} | dict.fromkeys(
    ("false", "no", "off", "0"), False
)


def families() -> dict[str, Family]:
    """All families by name: the `FAMILY` of each file of `tracer/workloads`."""
    names = (module.name for module in pkgutil.iter_modules(workloads.__path__))
    modules = (importlib.import_module(f"{workloads.__name__}.{name}") for name in names)
    found = [module.FAMILY for module in modules if hasattr(module, "FAMILY")]
    return {family.name: family for family in found}


def request_for(family: Family, wish: Wish, device: str) -> Request:
    """A wish with everything checked and the family's defaults filled in.

    Args:
        family: The family that is asked.
        wish: What the user wrote.
        device: A torch device that is present.

    Raises:
        MmprofError: The family has no such task, size or option, or a value does not fit.
    """
    tasks, sizes = [t.name for t in family.tasks], [s.name for s in family.sizes]
    return Request(
        task=choose(wish.task or tasks[0], tasks, what=f"the task of {family.name}", code=CODE),
        size=choose(wish.size or sizes[0], sizes, what=f"the size of {family.name}", code=CODE),
        device=device,
        dtype=dtype_named(wish.dtype or "float32"),
        batch=wish.batch or 1,
        seed=wish.seed,
        input_length=wish.input_length,
        output_length=wish.output_length,
        attention=choose(
            wish.attention or family.attentions[0],
            family.attentions,
            what=f"the attention of {family.name}",
            code=CODE,
        ),
        options=options_of(family, wish.settings),
    )


def for_one_of(family: Family, wish: Wish) -> Wish:
    """What is wished of several families, for one of them: one that has a single form of attention is asked for none."""
    return wish if len(family.attentions) > 1 else replace(wish, attention="")


def dtype_named(name: str) -> str:
    """The name that torch has for a dtype.

    Raises:
        MmprofError: There is no such dtype.
    """
    return DTYPES[choose(name, DTYPES, what="the dtype", code=CODE)]


def options_of(family: Family, settings: Sequence[str]) -> dict[str, Argument]:
    """The options of a family with their defaults, changed by settings.

    Raises:
        MmprofError: The family has no such option, or a value does not fit.
    """
    options = {option.name: option for option in family.options}
    chosen: dict[str, Argument] = {name: option.default for name, option in options.items()}
    for name, text in map(split_setting, settings):
        option = options[
            choose(
                name.replace("-", "_"),
                options,
                what=f"the option of {family.name}",
                code=CODE,
                otherwise=f"mmprof workloads {family.name}",
            )
        ]
        chosen[option.name] = _value(option, text)
    return chosen


def free_options(settings: Sequence[str]) -> dict[str, Argument]:
    """Settings of something that does not say which it has: numbers and truth values are recognised by their form."""
    return {name: _guessed(text) for name, text in map(split_setting, settings)}


def split_setting(setting: str) -> tuple[str, str]:
    """The name and the value of `NAME=VALUE`.

    Raises:
        MmprofError: It has not this form.
    """
    name, equals, value = setting.partition("=")
    if not equals or not name.strip():
        raise MmprofError(
            "MM-E052",
            "--set takes NAME=VALUE",
            found=setting,
            hint=f"--set {name.strip() or 'NAME'}=VALUE",
        )
    return name.strip(), value.strip()


def _value(option: Option, text: str) -> Argument:
    """A text as a value of the option's type, which its default has."""
    try:
        value = _typed(text, option.default)
    except (ValueError, KeyError):
        raise _unfit(option, text, f"a value such as {_shown(option.default)}") from None
    if option.choices and value not in option.choices:
        raise _unfit(option, text, f"one of {', '.join(map(_shown, option.choices))}")
    return value


def _typed(text: str, default: Argument) -> Argument:
    if isinstance(default, bool):
        return _TRUTH[text.lower()]
    return type(default)(text)


def _guessed(text: str) -> Argument:
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _shown(value: Argument) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unfit(option: Option, text: str, hint: str) -> MmprofError:
    return MmprofError(
        "MM-E052", f"the option {option.name} does not take this value", found=text, hint=hint
    )
