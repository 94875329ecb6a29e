"""A feed in a process of its own: `feeding.py FOLDER`. It says `PORT n` and ends with its standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.faults.feed_site import feed_site


def main(folder: str) -> None:
    with feed_site(Path(folder)) as site:
        print(f"PORT {site.receiver.listener.port}", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
