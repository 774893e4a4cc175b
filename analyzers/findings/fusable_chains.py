"""MM119: chains of elementwise kernels that each go through memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mmprof.analyzers.findings.evidence import about_activities, named, share_words, total
from mmprof.analyzers.findings.registry import Match, finding
from mmprof.analyzers.findings.thresholds import FUSABLE, SHORT_NS, significant
from mmprof.analyzers.load import categories as c
from mmprof.analyzers.units import format_count, format_ns

if TYPE_CHECKING:
    from mmprof.analyzers.view import View

# What a compiler or a foreach operator has fused already.
_FUSED: Final = r"^triton_|_fused_|multi_tensor_apply"

_COLUMNS: Final = (
    "event", "name", "stream", "class", "in_chain", "launch", "start_ns", "dur_ns", "own_ns",
)  # fmt: skip


@finding("MM119", "chains of elementwise kernels", lever="torch_compile")
def fusable_chains(view: View) -> Match | None:
    """Elementwise operations, normalizations and rotary embeddings run as one kernel each, one after the other.

    Each of them reads its inputs from memory and writes a result that the next one reads again, so a chain takes several
    times as long as the data it starts and ends with would need. torch.compile fuses such chains; fused operators
    (rms_norm, layer_norm, rotary embedding and activation kernels) do it for known ones. At most everything but the
    longest kernel of each chain can disappear.
    """
    if view.is_host:
        return None
    chains = _chains(view)
    saved = chains.group_by("chain").agg(pl.col("own_ns").sum() - pl.col("own_ns").max())
    removable_ns = total(saved, "own_ns")
    if not significant(view, removable_ns):
        return None
    return about_activities(
        view, chains, title=_title(view, chains, removable_ns), removable_ns=removable_ns
    )


def _chains(view: View) -> pl.DataFrame:
    """Fusable kernels that follow one another on a stream, with `chain`, the number of their chain; two at least.

    Short kernels belong to chains but are left to MM108.
    """
    kernels = view.activities.filter(pl.col("kind") == c.KERNEL)
    kernels = kernels.select(*_COLUMNS).sort("stream", maintain_order=True)
    fusable = pl.col("class").is_in(FUSABLE) & ~pl.col("in_chain") & ~named(kernels, _FUSED)
    changes = (pl.col("fusable") != pl.col("fusable").shift(1)) | (
        pl.col("stream") != pl.col("stream").shift(1)
    )
    marked = kernels.with_columns(fusable=fusable)
    numbered = marked.with_columns(chain=changes.fill_null(value=True).cum_sum())
    long = numbered.filter("fusable", pl.col("dur_ns") >= SHORT_NS)
    return long.filter(pl.len().over("chain") > 1)


def _title(view: View, chains: pl.DataFrame, removable_ns: int) -> str:
    count = chains["chain"].n_unique()
    return (
        f"{share_words(view, total(chains, 'own_ns'))} in {format_count(chains.height, 'elementwise or normalization kernel')} "
        f"that follow one another in {format_count(count, 'chain')}; fusion can save {format_ns(removable_ns)} at most"
    )
