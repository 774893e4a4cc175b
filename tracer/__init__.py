"""Running a workload under torch.profiler: to come; analysis needs none of it."""
