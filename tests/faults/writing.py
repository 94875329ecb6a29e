"""One of several processes that write one store: `writing.py FOLDER LEDGER MARK SECONDS`.

Real messages through the real intake: an order of its own each, and now and then one that all processes send.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

from bridge.clock import SystemClock
from bridge.domain.identity import Identifier
from bridge.domain.message import Envelope, Reading
from bridge.store.db import Database
from bridge.workflow.context import Context
from bridge.workflow.intake import Intake
from tests.faults.ledger import Ledger
from tests.unit.workflow.house import order, settings, who


def main(folder: Path, ledger_file: Path, mark: str, seconds: float) -> None:
    database, clock = Database("", folder, on_broken=lambda: None), SystemClock()
    intake = Intake(Context(database, settings(folder), clock))
    end = time.monotonic() + seconds
    with Ledger(ledger_file) as ledger:
        for number in itertools.count():
            if time.monotonic() > end:
                break
            shared = number % 10 == 9
            placer = f"S{number}" if shared else f"{mark}{number}"
            request = order(placer=placer, accession=f"A{placer}", uid="", patient=who(Identifier(placer, "HOSP")))
            envelope = Envelope("ris", placer.encode(), "", clock.now(), "RIS", "H", f"M{placer}", "ORM^O01")
            ledger.sent("hl7", f"M{placer}", order=placer)
            intake.take(envelope, Reading(orders=(request,)), lambda _: ("AA", b"answer"))
            ledger.answered("hl7", f"M{placer}", "AA")
    database.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
