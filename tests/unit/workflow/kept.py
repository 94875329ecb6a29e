"""A house with an archive: its images have files, as after a C-STORE."""

from __future__ import annotations

from pathlib import Path

import pysqlite3.dbapi2 as sqlite
from pydicom.uid import generate_uid

from bridge.config import Destination, Hl7
from bridge.dicom.files import Archive
from bridge.domain.ledger import Entry
from bridge.domain.study import StoredFile
from bridge.store import audit
from bridge.workflow.verifying import Verdict, Verifier
from tests.unit.dicom.support import image, part10
from tests.unit.workflow.house import House, image_header


class Kept:
    """A house with an archive: `keep` stores an image as a C-STORE does, and names its instance and its file."""

    def __init__(self, folder: Path) -> None:
        self.house = House(folder, hl7=Hl7(destination=(Destination(name="ris", host="127.0.0.1", port=1),)))
        self.archive = Archive(self.house.settings.archive)
        for role in ("worker", "hl7"):
            self.beat(role)

    def beat(self, role: str) -> None:
        now = self.house.clock.now()
        self.house.database.write(lambda c: audit.note_activity(c, "role", role, now))

    def keep(self, **header: str) -> tuple[str, StoredFile]:
        uid = str(generate_uid())
        file = self.archive.commit(part10(self.archive.temporary(), image(uid)))
        self.house.acquiring.take_instance(image_header(sop_instance_uid=uid, **header), file, "CT1")
        return uid, file

    def verify(self, *ledger: Entry, deep: bool = False) -> Verdict:
        return Verifier(self.house.context, self.archive).verify(ledger, deep=deep)

    def found(self, *ledger: Entry, deep: bool = False) -> list[tuple[str, str]]:
        return [(one.kind, one.subject) for one in self.verify(*ledger, deep=deep).findings]

    def run(self, statement: str) -> None:
        """A defect, planted past all our own code."""
        connection = sqlite.connect(str(self.house.database.path), isolation_level=None)
        connection.execute(statement)
        connection.close()
