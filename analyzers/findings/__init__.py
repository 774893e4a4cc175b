"""Findings: what is wrong, the events behind it, how much it can gain at most, and what to do.

One rule is one file in this folder; it registers itself with `@finding`.
"""

from __future__ import annotations

from mmprof.analyzers.findings.registry import Evidence, Finding, Gain, Rule, find, finding, rules

__all__ = ["Evidence", "Finding", "Gain", "Rule", "find", "finding", "rules"]
