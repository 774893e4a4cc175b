"""mmprof explains, predicts and proves: why a PyTorch model is slow, from its profiler trace."""
