"""The order in which evidence is heard."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

from mmprof.analyzers.classes.annotations import ANNOTATIONS
from mmprof.analyzers.classes.kernel_names import KERNEL_NAMES
from mmprof.analyzers.classes.metadata import METADATA
from mmprof.analyzers.classes.modules import MODULES
from mmprof.analyzers.classes.native_kernels import NATIVE_KERNELS
from mmprof.analyzers.classes.operators import ENCLOSING, NEAREST
from mmprof.analyzers.classes.rules import MAX_ANCESTORS, MAX_NAME_CHARS, Rule, first_match, fold
from mmprof.analyzers.classes.shapes import SHAPES
from mmprof.analyzers.classes.taxonomy import Activity, Verdict
from mmprof.analyzers.module_names import innermost_words

CATEGORY_VERDICTS = {
    "memcpy": Verdict("memcpy", "category:memcpy", "category"),
    "memset": Verdict("memset", "category:memset", "category"),
}
UNKNOWN = Verdict("other", "none", "none")

ATTENTION_CHAIN = Rule(
    "operator:attention-chain",
    "attention",
    over=frozenset(
        {"linear", "attention", "softmax", "elementwise", "reduction", "activation", "other"}
    ),
)
"""Not a rule of a table: the caller found the chain."""

_CACHED_NAMES = 4096

_Evidence = Callable[["_Around", str], "Verdict | None"]


def classify(activity: Activity) -> Verdict:
    """The class of an activity and the rule that decided it.

    Evidence is heard in this order, and the first that applies decides: the trace's category, annotations, the innermost
    module, operators (an attention chain, shapes, what encloses, what is nearest), Inductor's names, the kernel's own name.
    A rule overrules only the kernel names it explains: an all-reduce below a linear layer stays communication.

    Any string is accepted everywhere; only the first 4096 characters of a name and the 64 nearest ancestors are read.
    """
    category = CATEGORY_VERDICTS.get(activity.kind)
    if category is not None:
        return category
    own = _own_verdict(activity)
    return _heard(_around(activity), own.cls) or own


class _Around(NamedTuple):
    """What rules read of what encloses an activity; the same for the layers of a model.

    Attributes:
        annotations: Innermost first.
        words: What the innermost module is called.
        operators: Innermost first; a working operator of a CPU-only trace is its own innermost.
        dims: Of the innermost operator; "" where they are longer than any rule reads.
        in_attention_chain: Whether it lies in an attention chain.
    """

    annotations: tuple[str, ...]
    words: tuple[str, ...]
    operators: tuple[str, ...]
    dims: str
    in_attention_chain: bool


def _around(activity: Activity) -> _Around:
    own = (activity.name,) if activity.kind == "operator" else ()
    return _Around(
        tuple(name[:MAX_NAME_CHARS] for name in activity.annotations[:MAX_ANCESTORS]),
        tuple(word[:MAX_NAME_CHARS] for word in innermost_words(activity.modules)),
        tuple(name[:MAX_NAME_CHARS] for name in (*own, *activity.operators[:MAX_ANCESTORS])),
        activity.dims if len(activity.dims) <= MAX_NAME_CHARS else "",
        activity.in_attention_chain,
    )


@lru_cache(maxsize=_CACHED_NAMES)
def _heard(around: _Around, own_class: str) -> Verdict | None:
    """What the first evidence that applies says."""
    verdicts = (evidence(around, own_class) for evidence in _EVIDENCE)
    return next((verdict for verdict in verdicts if verdict is not None), None)


def _own_verdict(activity: Activity) -> Verdict:
    """What the activity's name alone says; an operator's name is operator evidence instead."""
    if activity.kind == "operator":
        return _generated(activity.name[:MAX_NAME_CHARS]) or UNKNOWN
    return _by_name(activity.name[:MAX_NAME_CHARS], _inductor_name(activity))


def _inductor_name(activity: Activity) -> str:
    """The fused name, which until mid 2023 only the operator that launches the kernel has."""
    if activity.kernel_backend == "triton" and activity.operators:
        return activity.operators[0][:MAX_NAME_CHARS]
    return ""


@lru_cache(maxsize=_CACHED_NAMES)
def _by_name(name: str, inductor_name: str) -> Verdict:
    generated = _generated(inductor_name) or _generated(name)
    if generated is not None:
        return generated
    folded = fold(name)
    native = first_match(NATIVE_KERNELS, folded) if "at::native" in folded else None
    return _verdict(native or first_match(KERNEL_NAMES, folded), "kernel name") or UNKNOWN


def _generated(name: str) -> Verdict | None:
    folded = fold(name)
    if "triton_" not in folded and "cpp_" not in folded:
        return None
    return _verdict(first_match(METADATA, folded), "metadata")


def _verdict(rule: Rule | None, by: str) -> Verdict | None:
    return None if rule is None else Verdict(rule.cls, rule.id, by)


def _first_applicable(rules: Iterable[Rule | None], own_class: str) -> Rule | None:
    return next((rule for rule in rules if rule is not None and rule.may_overrule(own_class)), None)


def _by_annotation(around: _Around, own_class: str) -> Verdict | None:
    rules = (_annotation_rule(name) for name in around.annotations)
    return _verdict(_first_applicable(rules, own_class), "annotation")


@lru_cache(maxsize=_CACHED_NAMES)
def _annotation_rule(name: str) -> Rule | None:
    return first_match(ANNOTATIONS, fold(name))


def _by_module(around: _Around, own_class: str) -> Verdict | None:
    rules = (_module_rule(word) for word in around.words)
    return _verdict(_first_applicable(rules, own_class), "module")


@lru_cache(maxsize=_CACHED_NAMES)
def _module_rule(name: str) -> Rule | None:
    return first_match(MODULES, fold(name))


def _by_attention_chain(around: _Around, own_class: str) -> Verdict | None:
    if around.in_attention_chain and ATTENTION_CHAIN.may_overrule(own_class):
        return _verdict(ATTENTION_CHAIN, "operator")
    return None


def _by_shapes(around: _Around, own_class: str) -> Verdict | None:
    if not around.operators or "aten::linear" in around.operators:
        return None
    operator, module = fold(around.operators[0]), fold(" ".join(around.words))
    rules = (shape.rule for shape in SHAPES if shape.matches(operator, module, around.dims))
    return _verdict(_first_applicable(rules, own_class), "operator")


def _by_enclosing_operator(around: _Around, own_class: str) -> Verdict | None:
    rules = (_enclosing_rule(name) for name in around.operators)
    return _verdict(_first_applicable(rules, own_class), "operator")


@lru_cache(maxsize=_CACHED_NAMES)
def _enclosing_rule(name: str) -> Rule | None:
    return first_match(ENCLOSING, fold(name))


def _by_nearest_operator(around: _Around, own_class: str) -> Verdict | None:
    rules = (_nearest_rule(name) for name in around.operators)
    rule = next((r for r in rules if r is not None), None)
    return _verdict(rule, "operator") if rule is not None and rule.may_overrule(own_class) else None


@lru_cache(maxsize=_CACHED_NAMES)
def _nearest_rule(name: str) -> Rule | None:
    return first_match(NEAREST, fold(name))


_EVIDENCE: tuple[_Evidence, ...] = (
    _by_annotation,
    _by_module,
    _by_attention_chain,
    _by_shapes,
    _by_enclosing_operator,
    _by_nearest_operator,
)
