"""Running a model under torch.profiler: families of models, one's own, whole programs; analysis needs none of it."""
