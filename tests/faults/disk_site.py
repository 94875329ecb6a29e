"""A whole bridge on disks of its own, and what its peers are told at one moment."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import requests
from pydicom import Dataset

from bridge.errors import RemoteError
from bridge.hl7.ack import read_ack
from bridge.hl7.client import MllpClient
from bridge.sandbox import ris as messages
from bridge.sandbox.hospital import Hospital, wait_for
from bridge.sandbox.ris import DemoOrder
from bridge.uids import new_uid
from tests.e2e.story import pictures
from tests.faults.ledger import assert_all_zero
from tests.faults.rig.disks import SmallDisk, small_disk
from tests.faults.stories import make_order

NOBODY = "http://127.0.0.1:9/fhir"
"""An EHR that is not there."""


@dataclass
class Peers:
    """A RIS, a scanner and a monitor beside a bridge, and the ledger of what they were told."""

    hospital: Hospital
    first: int = 1
    _ledger: list[dict[str, object]] = field(default_factory=list)

    def order(self) -> DemoOrder | None:
        """Send a new order on a connection of its own; None when it was not answered positively."""
        order = make_order(self.first + len(self._ledger), datetime.now())
        entry: dict[str, object] = {"kind": "hl7", "id": f"C{order.placer}", "order": order.placer, "sent": True}
        self._ledger.append(entry)
        try:
            with MllpClient("127.0.0.1", self.hospital.ports.hl7, 20) as client:
                raw = messages.omi_o23(order, datetime.now(UTC), f"C{order.placer}")
                entry["answer"] = str(read_ack(client.send(raw)).code)
        except RemoteError:
            return None
        return order if entry["answer"] == "AA" else None

    def shown(self) -> int:
        """How many entries the scanner's worklist has."""
        return len(self.hospital.scanner("CT1").worklist())

    def image(self) -> Dataset:
        """An image of a new order, not sent yet."""
        order = self.order()
        assert order is not None
        return pictures(self.hospital.scanner("CT1").worklist(AccessionNumber=order.accession)[0], 1)[0]

    def store(self, image: Dataset) -> int | None:
        """The status that the scanner is told, if any."""
        entry: dict[str, object] = {"kind": "store", "id": str(image.SOPInstanceUID), "sent": True}
        self._ledger.append(entry)
        try:
            failed = self.hospital.scanner("CT1").send([image]).failed
        except RemoteError:
            return None
        status = failed[0][1] if failed else 0x0000
        entry["answer"] = f"{status:04X}"
        return status

    def begin(self) -> bool:
        """Whether a performed step may begin (N-CREATE)."""
        step = Dataset()
        step.Modality, step.ScheduledProcedureStepID = "CT", ""
        item = Dataset()
        item.StudyInstanceUID, item.ScheduledProcedureStepSequence = new_uid(), [step]
        try:
            uid = self.hospital.scanner("CT1").start(item)
        except RemoteError:
            return False
        self._ledger.append({"kind": "n-create", "id": uid, "sent": True, "answer": "0000"})
        return True

    def ready(self) -> int:
        return requests.get(f"{self.hospital.public_url}/ready", timeout=10).status_code

    def assert_nothing_lost(self) -> None:
        """`bridge verify`, with the ledger of all that was answered: all zero, and the database is whole."""
        ledger = self.hospital.folder / "ledger.jsonl"
        ledger.write_text("".join(json.dumps(entry) + "\n" for entry in self._ledger))
        told = assert_all_zero(self.hospital, ledger)
        assert told["acknowledged"] > 0

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
        hospital = Hospital(site, fhir_base=NOBODY, imaging_study="off")
        text = hospital.config.read_text()
        # The real end of the disk, not the mark before it.
        hospital.config.write_text(text.replace("min_free_bytes = 50000000", "min_free_bytes = 8192"))
        yield hospital, database, archive
