"""`python -m mmprof` is `mmprof`."""

from __future__ import annotations

import sys

from mmprof.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
