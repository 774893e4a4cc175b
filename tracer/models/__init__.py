"""The model families' torch code: imported only when a workload is built."""
