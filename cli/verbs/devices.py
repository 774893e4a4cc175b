"""`mmprof devices`: the peaks that bounds are computed with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmprof.cli.app import app
from mmprof.cli.options import Format

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmprof.analyzers.devices import DeviceSpec
    from mmprof.cli.grid import Grid

SCHEMA = "mmprof.devices/1"


@app.command()
def devices(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Only devices with this in their name.", show_default=False
        ),
    ] = "",
    *,
    format_name: Format = "",
) -> None:
    """Memory, bandwidth and peaks of the devices it knows."""
    from mmprof.analyzers.devices import load_table  # noqa: PLC0415
    from mmprof.cli.grid import format_of, render_grid  # noqa: PLC0415
    from mmprof.cli.output import Destination  # noqa: PLC0415

    chosen = format_of(format_name)
    found = _named(load_table(), name)
    if chosen == "terminal":
        grid = _detail(found[0]) if len(found) == 1 else _overview(found)
    else:
        grid = _all_fields(found)
    destination = Destination()
    destination.write(render_grid(grid, chosen, destination))


def _named(table: Sequence[DeviceSpec], name: str) -> list[DeviceSpec]:
    from mmprof.analyzers.choices import choose  # noqa: PLC0415

    words = name.lower().split()
    found = [spec for spec in table if all(word in spec.name.lower() for word in words)]
    if not found:
        choose(
            name,
            [spec.name for spec in table],
            what="the device",
            code="MM-E026",
            otherwise="`mmprof devices` lists all",
        )
    return [spec for spec in found if spec.name.lower() == name.lower()] or found


def _overview(specs: Sequence[DeviceSpec]) -> Grid:
    """One line a device, with the columns that fit a screen."""
    from mmprof.analyzers.devices import DTYPE_KEYS  # noqa: PLC0415
    from mmprof.cli.grid import Grid  # noqa: PLC0415

    dtypes = [key for key in DTYPE_KEYS if key != "fp64"]
    rows = [
        (
            spec.name,
            _gib(spec),
            *map(_tera, [spec.bandwidth_bytes_per_s, *map(spec.peak_flops.get, dtypes)]),
        )
        for spec in specs
    ]
    note = "Dense peaks in TFLOP/s (int8: TOP/s). `mmprof devices NAME` shows all of one, with sources."
    return Grid(("device", "GiB", "TB/s", *dtypes), rows, SCHEMA, note=note)


def _detail(spec: DeviceSpec) -> Grid:
    """One line a property."""
    from mmprof.cli.grid import Grid  # noqa: PLC0415
    from mmprof.cli.renderers.units import rate  # noqa: PLC0415

    known = {
        "device": spec.name,
        "vendor": spec.vendor,
        "memory": f"{_gib(spec)} GiB" if spec.memory_bytes else "",
        "bandwidth": rate(spec.bandwidth_bytes_per_s, "B"),
        "compute capability": _capability(spec),
        "SMs or CUs": "" if spec.num_sms is None else str(spec.num_sms),
        **{
            f"peak {dtype}, dense": rate(peak, _operation(dtype))
            for dtype, peak in spec.peak_flops.items()
        },
        **{
            f"{dtype} outside matrix units": rate(peak, _operation(dtype))
            for dtype, peak in spec.vector_flops.items()
        },
        "source": spec.source,
    }
    return Grid(
        ("property", "value"), [(what, value) for what, value in known.items() if value], SCHEMA
    )


def _all_fields(specs: Sequence[DeviceSpec]) -> Grid:
    from mmprof.cli.grid import Grid  # noqa: PLC0415

    rows = [tuple(_fields(spec).values()) for spec in specs]
    return Grid(tuple(_fields(specs[0])), rows, SCHEMA)


def _fields(spec: DeviceSpec) -> Mapping[str, Any]:
    return {
        "name": spec.name,
        "vendor": spec.vendor,
        "memory_bytes": spec.memory_bytes,
        "bandwidth_bytes_per_s": spec.bandwidth_bytes_per_s,
        "compute_capability": _capability(spec),
        "num_sms": spec.num_sms,
        "peak_flops": dict(spec.peak_flops),
        "vector_flops": dict(spec.vector_flops),
        "source": spec.source,
    }


def _capability(spec: DeviceSpec) -> str:
    return ".".join(map(str, spec.compute_capability or ()))


def _gib(spec: DeviceSpec) -> str:
    return "" if spec.memory_bytes is None else f"{spec.memory_bytes / 2**30:.0f}"


def _tera(per_second: int | None) -> str:
    return "" if per_second is None else f"{per_second / 1e12:.4g}"


def _operation(dtype: str) -> str:
    return "OP" if dtype.startswith("int") else "FLOP"
