"""`python -m mmprof` is `mmprof`."""

from __future__ import annotations

from mmprof.cli.main import run

if __name__ == "__main__":
    run()
