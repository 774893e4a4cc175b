"""`mmprof schema`: the JSON Schema of what mmprof writes."""

from __future__ import annotations

from typing import Annotated

import typer

from mmprof.cli.app import app


@app.command()
def schema(
    document: Annotated[
        str,
        typer.Argument(
            metavar="DOCUMENT",
            help="analysis, baseline, characterization, check, recommendation, verification or error.",
        ),
    ] = "analysis",
) -> None:
    """The JSON Schema of the documents that it writes."""
    import msgspec  # noqa: PLC0415

    from mmprof.analyzers import contract  # noqa: PLC0415
    from mmprof.analyzers.choices import choose  # noqa: PLC0415
    from mmprof.analyzers.diff.result import diff_schema  # noqa: PLC0415
    from mmprof.analyzers.gate.baseline import baseline_schema  # noqa: PLC0415
    from mmprof.analyzers.gate.check import check_schema  # noqa: PLC0415
    from mmprof.analyzers.whatif.recommendation import recommendation_schema  # noqa: PLC0415
    from mmprof.cli.output import print_result  # noqa: PLC0415
    from mmprof.tracer.characterize_results import characterization_schema  # noqa: PLC0415
    from mmprof.tracer.verify_results import verification_schema  # noqa: PLC0415

    documents = {
        "analysis": contract.analysis_schema,
        "baseline": baseline_schema,
        "check": check_schema,
        "characterization": characterization_schema,
        "diff": diff_schema,
        "recommendation": recommendation_schema,
        "error": contract.error_schema,
        "verification": verification_schema,
    }
    chosen = documents[choose(document, documents, what="the schema")]()
    print_result(msgspec.json.format(msgspec.json.encode(chosen)).decode() + "\n")
