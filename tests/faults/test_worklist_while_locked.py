"""F38, F41 as a scanner sees them: a store that takes no change shows its worklist all the same, and at once.

The real store, desk and listener; another connection holds the database's one writing lock, or its disk is full.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pysqlite3.dbapi2 as sqlite
import pytest
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from bridge.config import Dicom, DicomPeer, Storage
from bridge.dicom.ae import DicomServer
from bridge.errors import StoreUnavailable
from bridge.workflow.committing import Commitments
from bridge.workflow.noticing import Notices
from bridge.workflow.worklist import WorklistDesk
from tests.faults.whole_site import Services
from tests.unit.dicom.support import MWL, associated
from tests.unit.workflow.house import House, order

IMPLICIT = "1.2.840.10008.1.2"
AT_ONCE = 5.0


@pytest.fixture
def house(tmp_path: Path) -> House:
    """An order on the worklist of a device that is told nothing that it cannot read: both notes of a query are due."""
    peer = DicomPeer(ae_title="CT1", character_set="ISO_IR 100", utf8=False)
    made = House(tmp_path, dicom=Dicom(port=0, peer=(peer,)), storage=Storage(min_free_bytes=0))
    made.order(order())
    return made


@pytest.fixture
def scanner(house: House) -> Iterator[Association]:
    services = Services(
        WorklistDesk(house.context),
        house.performing,
        house.acquiring,
        Commitments(house.context),
        Notices(house.context),
    )
    server = DicomServer(house.settings, services, house.clock)
    server.start()
    try:
        with associated(server, (MWL, IMPLICIT)) as association:
            yield association
    finally:
        server.stop()


def ask(scanner: Association) -> list[int]:
    asked = Dataset()
    asked.PatientName = asked.PatientID = ""
    return [status.Status for status, _ in scanner.send_c_find(asked, MWL)]


def last_query(house: House) -> list[str]:
    return [row.name for row in house.rows("activity") if row.kind == "query"]


def test_F41_a_locked_database_shows_its_worklist_at_once_and_notes_the_device_later(
    house: House, scanner: Association
) -> None:
    other = sqlite.connect(str(house.database.path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    try:
        assert [ask(scanner) for _ in range(5)] == [[0xFF00, 0x0000]] * 5
        assert time.monotonic() - began < AT_ONCE
        assert last_query(house) == []
    finally:
        other.execute("ROLLBACK")
        other.close()
    until = time.monotonic() + 30
    while not last_query(house) and time.monotonic() < until:
        time.sleep(0.05)
    assert last_query(house) == ["CT1"]


def test_F38_a_database_without_room_shows_its_worklist(
    house: House, scanner: Association, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(change: object) -> None:
        raise StoreUnavailable("the database did not take the change", where="SQLITE_FULL")

    monkeypatch.setattr(house.database, "write", full)
    assert ask(scanner) == [0xFF00, 0x0000]
