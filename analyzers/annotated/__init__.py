"""Annotated traces: the events of a trace with tracks of what mmprof found, as a file that trace viewers open.

The tracks of a device are cut from its window by the same sweep as the analysis: at any instant there is one class and
one bound, or one idle cause. So the lengths on a track sum to the analysis to the nanosecond.
"""

from mmprof.analyzers.annotated.document import Document, annotated_document, joined_document
from mmprof.analyzers.annotated.joining import Placed, aligned, merged
from mmprof.analyzers.annotated.recorded import Recorded, recorded, recorded_files

__all__ = [
    "Document",
    "Placed",
    "Recorded",
    "aligned",
    "annotated_document",
    "joined_document",
    "merged",
    "recorded",
    "recorded_files",
]
