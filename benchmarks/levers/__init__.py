"""Every lever on every family, each alone, then the stacks that `mmprof optimize` finds; written to docs/levers.md."""
