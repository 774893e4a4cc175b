"""Linear layers multiplied in other ways: candidates, their times in place, and the choice of one per layer and shape."""
