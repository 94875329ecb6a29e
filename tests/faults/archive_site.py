"""Our archive as it runs: its DICOM listener, the worker's turns in the test's hands, and devices at real ports.

Time stands still until the test moves it. A site opened again on its folder is the bridge after a restart.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from bridge.clock import ManualClock, SystemClock
from bridge.config import Dicom, DicomPeer, Settings, Site, Storage
from bridge.dicom.ae import DicomServer
from bridge.dicom.classes import STORAGE
from bridge.dicom.commitment_user import CommitmentUser
from bridge.dicom.files import Archive
from bridge.store import commitment
from bridge.store.db import Database
from bridge.workflow.acquiring import Acquiring
from bridge.workflow.committing import Commitments, Committing, Condition
from bridge.workflow.context import Context
from bridge.workflow.noticing import Notices
from bridge.workflow.performing import PerformedSteps
from bridge.workflow.worklist import WorklistDesk
from tests.unit.dicom.support import CT, associated, image
from tests.unit.workflow.house import NOON, new_database

COMMITMENT, WELL_KNOWN = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
Asked = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Services:
    worklist: WorklistDesk
    performing: PerformedSteps
    acquiring: Acquiring
    committing: Commitments
    noticing: Notices

    def broken(self) -> None:
        raise AssertionError("the store broke")


class ArchiveSite:
    """`condition` may be another check than ours."""

    def __init__(
        self,
        folder: Path,
        *peers: DicomPeer,
        clock: ManualClock | None = None,
        condition: Condition | None = None,
        transport: str = "",
    ) -> None:
        if not (folder / "bridge.db").exists():
            (folder / "bridge.db").write_bytes(new_database())
        chosen = {"transport": transport} if transport else {}
        self.settings = Settings(
            data=folder,
            site=Site(time_zone="UTC"),
            dicom=Dicom.model_validate({"port": 0, "peer": peers or (DicomPeer(ae_title="CT1"),), **chosen}),
            storage=Storage(min_free_bytes=0),
        )
        self.clock = clock or ManualClock(NOON)
        self.database = Database("", folder, on_broken=lambda: None)
        self.context = Context(self.database, self.settings, self.clock)
        self.archive = Archive(self.settings.archive)
        services = Services(
            WorklistDesk(self.context),
            PerformedSteps(self.context),
            Acquiring(self.context),
            Commitments(self.context),
            Notices(self.context),
        )
        self.dicom = DicomServer(self.settings, services, SystemClock())
        self.dicom.start()
        self.committing = Committing(
            self.context, condition or self.archive.condition, CommitmentUser(self.settings.dicom), STORAGE
        )
        self.committing.take_over()

    # -- devices ------------------------------------------------------------------------------------------------------
    def store(self, count: int, *, prefix: str = "1.2.3.1.1", title: str = "CT1", **changes: Any) -> Asked:
        """So many images sent by C-STORE; (class, instance) of each."""
        made = [image(f"{prefix}.{number}", **changes) for number in range(1, count + 1)]
        with associated(self.dicom, (CT, ExplicitVRLittleEndian), title=title) as scu:
            for one in made:
                assert scu.send_c_store(one).Status == 0x0000
        return [(CT, str(one.SOPInstanceUID)) for one in made]

    def ask(self, transaction: str, instances: Asked, *, title: str = "CT1") -> int:
        """N-ACTION by pynetdicom; its status."""
        with associated(self.dicom, (COMMITMENT, ExplicitVRLittleEndian), title=title) as scu:
            answer, _ = scu.send_n_action(request(transaction, instances), 1, COMMITMENT, WELL_KNOWN)
            return int(answer.Status)

    # -- the worker ---------------------------------------------------------------------------------------------------
    def work(self) -> None:
        """Check what is asked, tell what is due, as often as there is something; then all stands still."""
        while self.committing.check_due() + self.committing.report_due():
            self._idle()

    def _idle(self) -> None:
        end = time.monotonic() + 40
        while self.committing._busy:
            assert time.monotonic() < end, "a report does not end"
            time.sleep(0.002)

    def rows(self) -> list[Any]:
        with self.database.read() as connection:
            return commitment.list_commitments(connection, 10_000, everything=True)[::-1]

    def states(self) -> list[str]:
        return [str(row.state) for row in self.rows()]

    def file(self, uid: str) -> Path:
        """The file of a stored instance."""
        with self.database.read() as connection:
            holding = commitment.held(connection, uid)
        assert holding is not None
        return self.archive.path(holding.file.name)

    def close(self) -> None:
        self.committing.close()
        self.dicom.stop()
        self.database.close()


def request(transaction: str, instances: Asked) -> Dataset:
    """The Action Information (PS3.4 J.3.2)."""
    data = Dataset()
    data.TransactionUID = transaction
    data.ReferencedSOPSequence = []
    for sop_class, uid in instances:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        data.ReferencedSOPSequence.append(item)
    return data


def scanner(port: int, title: str = "CT1", **more: Any) -> DicomPeer:
    """A device that listens at `port`."""
    return DicomPeer(ae_title=title, host="127.0.0.1", port=port, **more)


@contextmanager
def archive_site(folder: Path, *peers: DicomPeer, **options: Any) -> Iterator[ArchiveSite]:
    site = ArchiveSite(folder, *peers, **options)
    try:
        yield site
    finally:
        site.close()
