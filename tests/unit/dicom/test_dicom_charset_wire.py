"""A device that cannot be told an entry is not given it, and the workflow hears of it (RAD-5; PS3.4 K)."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from bridge.config import DicomPeer
from bridge.domain.patient import PersonName
from bridge.errors import StoreUnavailable
from tests.unit.dicom.support import ENTRY, MWL, FakeServices, FakeWorklist, associated, entry, serving

pytestmark = pytest.mark.usefixtures("transport")

IMPLICIT = "1.2.840.10008.1.2"
CHINESE = entry(step_pk=7, patient_name=PersonName("李^明"))
OLD, NEW = (DicomPeer(ae_title="CT1", character_set="ISO_IR 100", utf8=utf8) for utf8 in (False, True))


@dataclass
class Desk(FakeWorklist):
    noted: list[tuple[Mapping[int, str], Set[int]]] = field(default_factory=list)
    busy: bool = False

    def note_unreadable(self, peer: DicomPeer, withheld: Mapping[int, str], shown: Set[int]) -> None:
        self.noted.append((withheld, shown))
        if self.busy:
            raise StoreUnavailable("locked")


@pytest.fixture
def desk() -> Desk:
    return Desk(entries=[ENTRY, CHINESE])


def answers(tmp_path: Path, desk: Desk, peer: DicomPeer) -> list[tuple[int, str]]:
    asked = Dataset()
    asked.PatientName = ""
    services = FakeServices(worklist=desk)
    with serving(tmp_path, services, peer=(peer,)) as server, associated(server, (MWL, IMPLICIT)) as modality:
        found: list[tuple[Any, Any]] = list(modality.send_c_find(asked, MWL))
    return [(status.Status, str(data.PatientName) if data else "") for status, data in found]


def test_an_entry_that_cannot_be_told_is_withheld_and_noted(tmp_path: Path, desk: Desk) -> None:
    assert answers(tmp_path, desk, OLD) == [(0xFF00, ENTRY.patient_name.dicom), (0, "")]
    assert desk.noted == [({7: "(0010,0010)"}, {ENTRY.step_pk})]


def test_a_store_that_is_busy_costs_the_device_nothing(tmp_path: Path, desk: Desk) -> None:
    desk.busy = True
    assert answers(tmp_path, desk, OLD)[-1] == (0, "")


def test_a_device_that_may_have_utf_8_gets_every_entry(tmp_path: Path, desk: Desk) -> None:
    assert answers(tmp_path, desk, NEW) == [(0xFF00, ENTRY.patient_name.dicom), (0xFF00, "李^明"), (0, "")]
    assert desk.noted == []
