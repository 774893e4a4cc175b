"""What changed between two sides of traces, and whether it is more than noise."""
