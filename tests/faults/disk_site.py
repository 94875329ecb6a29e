"""A whole bridge on disks of its own, and what its peers are told at one moment."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import requests
from pydicom import Dataset

from bridge.errors import RemoteError
from bridge.hl7.ack import AckCode
from bridge.sandbox import ris as messages
from bridge.sandbox.hospital import Hospital, wait_for
from bridge.sandbox.ris import DemoOrder
from bridge.uids import new_uid
from tests.e2e.story import pictures, read_rows
from tests.faults.rig.disks import SmallDisk, small_disk
from tests.faults.stories import make_order

NOBODY = "http://127.0.0.1:9/fhir"
"""An EHR that is not there: what is published waits."""


@dataclass
class Peers:
    """A RIS, a scanner and a monitor beside a bridge; `acknowledged` are the orders that were answered AA."""

    hospital: Hospital
    acknowledged: list[DemoOrder] = field(default_factory=list)
    _sent: int = 0

    def order(self, again: DemoOrder | None = None) -> DemoOrder | None:
        """Send an order on a connection of its own; None when it was not answered positively."""
        self._sent += again is None
        order = again or make_order(self._sent, datetime.now())
        ris = self.hospital.ris()
        try:
            answer = ris.send(messages.omi_o23, order).code
        except RemoteError:
            return None
        finally:
            ris.close()
        if answer is not AckCode.AA:
            return None
        self.acknowledged.append(order)
        return order

    def shown(self) -> int:
        """How many entries the scanner's worklist has."""
        return len(self.hospital.scanner("CT1").worklist())

    def image(self) -> Dataset:
        """An image of a new order, not sent yet."""
        order = self.order()
        assert order is not None
        return pictures(self.hospital.scanner("CT1").worklist(AccessionNumber=order.accession)[0], 1)[0]

    def store(self, image: Dataset) -> int:
        """The status that the scanner is told."""
        failed = self.hospital.scanner("CT1").send([image]).failed
        return failed[0][1] if failed else 0x0000

    def begin(self) -> bool:
        """Whether a performed step may begin (N-CREATE)."""
        step = Dataset()
        step.Modality, step.ScheduledProcedureStepID = "CT", ""
        item = Dataset()
        item.StudyInstanceUID, item.ScheduledProcedureStepSequence = new_uid(), [step]
        try:
            self.hospital.scanner("CT1").start(item)
        except RemoteError:
            return False
        return True

    def ready(self) -> int:
        return requests.get(f"{self.hospital.public_url}/ready", timeout=10).status_code

    def kept(self) -> Counter[str]:
        """How often each acknowledged order is in the database."""
        rows = read_rows(self.hospital, "SELECT placer_order_number AS n FROM imaging_order")
        stored = Counter(row["n"] for row in rows)
        return Counter({order.placer: stored[order.placer] for order in self.acknowledged})

    def assert_nothing_lost(self) -> None:
        """Every order that was answered AA is in the database once, and the database is whole."""
        assert set(self.kept().values()) == {1}
        assert read_rows(self.hospital, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]

    def files(self) -> list[str]:
        """Everything under the archive that is an object, or the beginning of one."""
        archive = self.hospital.data / "archive"
        return sorted(str(path) for path in archive.rglob("*") if path.suffix in (".dcm", ".part"))


def seconds_until(holds: Callable[[], object], limit: float) -> float:
    """How long it took; more than `limit` when it did not come in time."""
    begun = time.monotonic()
    return time.monotonic() - begun if wait_for(holds, limit) else limit + 1


@contextmanager
def on_small_disks(folder: Path) -> Iterator[tuple[Hospital, SmallDisk, SmallDisk]]:
    """A bridge, not started, whose database and archive have a disk of 64 MiB each."""
    site = folder / "site"
    data = site / "data"
    with ExitStack() as stack:
        data.mkdir(parents=True)
        database = stack.enter_context(small_disk(folder / "database.img", data))
        (data / "archive").mkdir()
        archive = stack.enter_context(small_disk(folder / "archive.img", data / "archive"))
        hospital = Hospital(site, fhir_base=NOBODY)
        text = hospital.config.read_text()
        # The real end of the disk, not the mark before it.
        hospital.config.write_text(text.replace("min_free_bytes = 50000000", "min_free_bytes = 8192"))
        yield hospital, database, archive
