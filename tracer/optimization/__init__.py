"""Finding the levers that make a workload faster together: led by predictions, confirmed by measurements.

`search` decides what to try next and knows nothing of processes; `bench` measures and keeps what it found in a `store`;
`optimize` puts them together.
"""
