"""The kernel taxonomy: which class one distinct activity belongs to, and which rule says so."""

from __future__ import annotations

from mmprof.analyzers.classes.decide import classify
from mmprof.analyzers.classes.taxonomy import CLASSES, Activity, Verdict

__all__ = ["CLASSES", "Activity", "Verdict", "classify"]
