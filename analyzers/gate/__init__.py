"""The gate: the numbers of an analysis against conditions, and against a baseline.

`conditions` reads a condition, `measure` takes the numbers of traces, `baseline` keeps them, `comparability` says whether two
sets of numbers may be compared, `judge` compares.
"""
