"""A feed in a process of its own: `feeding.py FOLDER [early]`. It says `PORT n` and ends with its standard input.

`early` is what no feed may be: it answers first, and commits when it comes to it.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from bridge.domain.message import Envelope, Fate, Outcome, Reading
from bridge.workflow.intake import Intake, Turn, WriteAck
from tests.faults.feed_site import FeedSite

LATER_SECONDS = 5.0


class EarlyIntake(Intake):
    def take(
        self, envelope: Envelope, reading: Reading, write_ack: WriteAck, *, turn: Turn | None = None
    ) -> tuple[Fate, bytes]:
        threading.Timer(LATER_SECONDS, super().take, (envelope, reading, write_ack)).start()
        return Fate.APPLIED, write_ack(Outcome(Fate.APPLIED))[1]


class EarlySite(FeedSite):
    intake = EarlyIntake


def main(folder: str, how: str = "honest") -> None:
    site = (EarlySite if how == "early" else FeedSite)(Path(folder))
    print(f"PORT {site.receiver.listener.port}", flush=True)
    sys.stdin.read()
    site.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
