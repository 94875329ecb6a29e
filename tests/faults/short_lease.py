"""The bridge with leases of six seconds, so that F47 need not wait for two minutes."""

from __future__ import annotations

from datetime import timedelta

from bridge.cli import main
from bridge.workflow import publishing

SECONDS = 6

if __name__ == "__main__":
    publishing.LEASE = timedelta(seconds=SECONDS)
    main()
