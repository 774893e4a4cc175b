"""The JSON that other programs read: documents with stable names, and their JSON Schema.

Fields of device-scope results are merged into the entries of `devices`. Lists of trace-scope results are lists at the
top level, with `input`, `rank` and `device` added to each row; what is no list in a trace-scope result was measured per device
as well, and is a field of the entry of `devices`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from mmprof.analyzers.findings import Finding
from mmprof.analyzers.notes import Note
from mmprof.analyzers.registry import Analysis, analyses
from mmprof.analyzers.trace import InputFacts

if TYPE_CHECKING:
    from mmprof.analyzers.analyze import DeviceReport, Report
    from mmprof.analyzers.errors import MmprofError

Json = dict[str, Any]

ANALYSIS_SCHEMA: Final = "mmprof.analysis/1"
ERROR_SCHEMA: Final = "mmprof.error/1"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_FIELD_ENTRY: Final = re.compile(r"^(\w+): (.*(?:\n\s+.*)*)", re.MULTILINE)
_ROW_KEYS: Final[Json] = {
    "input": {
        "type": "integer",
        "description": "Position of the trace in `inputs`; tells traces of the same rank apart.",
    },
    "rank": {"type": "integer", "description": "Rank of the trace."},
    "device": {
        "type": "integer",
        "description": "Device index; -1 for the host of a trace without device activities.",
    },
}


def analysis_document(report: Report) -> Json:
    """The document `mmprof.analysis/1` of a report, ready for a JSON encoder.

    Times are integer nanoseconds; nothing is rounded.
    """
    return {
        "schema": ANALYSIS_SCHEMA,
        "window": report.window,
        "inputs": [_input_entry(facts) for facts in report.inputs],
        "notes": [msgspec.to_builtins(n) for n in report.notes],
        "devices": [_device_entry(device) for device in report.devices],
        **{name: _rows(report.devices, analysis, name) for analysis, name in _row_lists()},
        "findings": _findings(report.devices),
    }


def error_document(error: MmprofError) -> Json:
    """The document `mmprof.error/1` of an error."""
    return {
        "schema": ERROR_SCHEMA,
        "code": error.code,
        "message": error.message,
        "found": error.found,
        "try": error.hint,
    }


def analysis_schema() -> Json:
    """The JSON Schema (draft 2020-12) of `mmprof.analysis/1`, from the types of the registered analyses."""
    types = [a.result for a in analyses().values()]
    _, definitions = msgspec.json.schema_components(
        [*types, Finding, Note, InputFacts], ref_template="#/$defs/{name}"
    )
    for kind in _structs([*types, Finding, Note, InputFacts]):
        _describe(definitions[_component(kind, definitions)], kind)
    merged = {a.name: definitions[_component(a.result, definitions)] for a in analyses().values()}
    fields: Json = {
        "window": {
            "type": "string",
            "description": "The selected part of the trace; empty for all of it.",
        },
        "inputs": _list_of("InputFacts"),
        "notes": _list_of("Note"),
        "devices": {"type": "array", "items": _device_schema(merged)},
        **{name: _row_schema(merged[a.name]["properties"][name]) for a, name in _row_lists()},
        "findings": _row_schema(_list_of("Finding")),
    }
    used = {k: v for k, v in definitions.items() if v not in merged.values()}
    return {**_envelope(ANALYSIS_SCHEMA, "Result of `mmprof analyze`.", fields), "$defs": used}


def error_schema() -> Json:
    """The JSON Schema (draft 2020-12) of `mmprof.error/1`."""
    fields: Json = {
        "code": {"type": "string", "pattern": "^MM-E[0-9]{3}$", "description": "Stable code."},
        "message": {"type": "string", "description": "What is wrong."},
        "found": {"type": "string", "description": "What was found instead."},
        "try": {"type": "string", "description": "What to try."},
    }
    return _envelope(
        ERROR_SCHEMA, "What any command prints for an error with `--format json`.", fields
    )


def struct_schema(kind: type[msgspec.Struct], schema: str) -> Json:
    """The JSON Schema (draft 2020-12) of a document that is one struct, with the name of the document in `schema`."""
    _, definitions = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    for part in _structs([kind]):
        _describe(definitions[_component(part, definitions)], part)
    whole = definitions.pop(_component(kind, definitions))
    fields = {**whole["properties"], "schema": {"const": schema}}
    described = _envelope(schema, whole["description"], fields)
    return {**described, "required": ["schema", *whole["required"]], "$defs": definitions}


def _input_entry(facts: InputFacts) -> Json:
    # A path that is not UTF-8 reaches Python as surrogates, which no JSON encoder takes.
    readable = facts.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    entry: Json = msgspec.to_builtins(facts)
    return {**entry, "path": readable}


def _device_entry(report: DeviceReport) -> Json:
    entry: Json = {**_place(report), "name": report.name}
    lists = {name for _, name in _row_lists()}
    for result in report.results.values():
        entry |= {k: v for k, v in msgspec.to_builtins(result).items() if k not in lists}
    return entry


def _row_lists() -> Iterator[tuple[Analysis, str]]:
    """The list fields of trace-scope results."""
    for analysis in analyses().values():
        if analysis.scope == "trace":
            for name in _list_fields(analysis.result):
                yield analysis, name


@cache
def _list_fields(kind: type[msgspec.Struct]) -> list[str]:
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    sequences = (msgspec.inspect.ListType, msgspec.inspect.VarTupleType)
    return [f.encode_name for f in info.fields if isinstance(f.type, sequences)]


def _rows(devices: Sequence[DeviceReport], analysis: Analysis, name: str) -> list[Json]:
    return [
        {**row, **_place(device)}
        for device in devices
        for row in msgspec.to_builtins(device.results[analysis.name])[name]
    ]


def _place(device: DeviceReport) -> Json:
    return {"input": device.input, "rank": device.rank, "device": device.device}


def _findings(devices: Sequence[DeviceReport]) -> list[Json]:
    """Findings of all devices, the one with most to gain first."""
    found = [(device, finding) for device in devices for finding in device.findings]
    found.sort(key=lambda pair: -pair[1].gain.high)
    return [{**msgspec.to_builtins(finding), **_place(device)} for device, finding in found]


def _envelope(schema: str, description: str, fields: Mapping[str, Any]) -> Json:
    return {
        "$schema": _DIALECT,
        "$id": schema,
        "title": schema,
        "description": description,
        **_object({"schema": {"const": schema}, **fields}),
    }


def _object(properties: Mapping[str, Any]) -> Json:
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def _list_of(name: str) -> Json:
    return {"type": "array", "items": {"$ref": f"#/$defs/{name}"}}


def _device_schema(merged: Mapping[str, Json]) -> Json:
    name = {"type": "string", "description": "Name in the trace, else in the device table."}
    lists = {field for _, field in _row_lists()}
    fields = {
        k: v
        for result in merged.values()
        for k, v in result["properties"].items()
        if k not in lists
    }
    return {"title": "Device", **_object({**_ROW_KEYS, "name": name, **fields})}


def _row_schema(listed: Json) -> Json:
    return {**listed, "items": {"allOf": [listed["items"], _object(_ROW_KEYS)]}}


def _component(kind: type[Any], definitions: Mapping[str, Json]) -> str:
    """The key of a type in the components: its name, or its whole path where two types share a name."""
    whole = re.sub(r"[^a-zA-Z0-9.\-_]", "_", f"{kind.__module__}.{kind.__qualname__}")
    return kind.__name__ if kind.__name__ in definitions else whole


def _structs(kinds: Sequence[type[Any]]) -> list[type[Any]]:
    """The given types and all that their fields are made of."""
    found: dict[type[Any], None] = {}
    waiting: list[msgspec.inspect.Type] = list(msgspec.inspect.multi_type_info(kinds))
    while waiting:
        info = waiting.pop()
        if isinstance(info, (msgspec.inspect.StructType, msgspec.inspect.DataclassType)):
            if info.cls not in found:
                found[info.cls] = None
                waiting += [f.type for f in info.fields]
        else:
            waiting += _inner(info)
    return list(found)


def _inner(info: msgspec.inspect.Type) -> Iterator[msgspec.inspect.Type]:
    """The types that a collection or union is made of."""
    for name in ("item_type", "item_types", "key_type", "value_type", "types"):
        part: object = getattr(info, name, ())
        listed = cast("tuple[object, ...]", part if isinstance(part, tuple) else (part,))
        yield from (p for p in listed if isinstance(p, msgspec.inspect.Type))


def _describe(component: Json, kind: type[Any]) -> None:
    """Move the descriptions of fields from the docstring's `Attributes` section to the fields."""
    text, _, section = inspect.cleandoc(kind.__doc__ or "").partition("\nAttributes:\n")
    component["description"] = " ".join(text.split())
    encoded = (
        dict(zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True))
        if issubclass(kind, msgspec.Struct)
        else {}
    )
    for name, description in _FIELD_ENTRY.findall(inspect.cleandoc(section)):
        field = component["properties"].get(encoded.get(name, name))
        if field is not None:
            field["description"] = " ".join(description.split())
