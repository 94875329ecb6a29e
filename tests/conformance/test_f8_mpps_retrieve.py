"""Modality Performed Procedure Step Retrieve (PS3.4 F.8): N-GET over the wire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from bridge.config import DicomPeer
from bridge.domain.performed import PerformedStatus
from bridge.errors import StoreUnavailable
from tests.conformance.test_rad_6_7_procedure_step import UID, final, step
from tests.unit.dicom.support import MPPS, FakeServices, associated, serving

pytestmark = pytest.mark.usefixtures("transport")

RETRIEVE = "1.2.840.10008.3.1.2.3.4"
EXPLICIT = "1.2.840.10008.1.2.1"
NAME, STATUS, MODALITY, END = 0x00100010, 0x00400252, 0x00080060, 0x00400250


@pytest.fixture
def device(tmp_path: Path, services: FakeServices) -> Iterator[Association]:
    with serving(tmp_path, services) as server, associated(server, (MPPS, EXPLICIT), (RETRIEVE, EXPLICIT)) as known:
        assert known.send_n_create(step(), MPPS, UID)[0].Status == 0x0000
        yield known


def get(device: Association, *tags: int, uid: str = UID, sop_class: str = RETRIEVE) -> tuple[Dataset, Dataset]:
    status, data = device.send_n_get(list(tags), sop_class, uid)
    return status, data or Dataset()


def test_without_a_list_every_attribute_is_told(device: Association) -> None:
    status, data = get(device)
    assert status.Status == 0x0000
    assert (str(data.PatientName), data.Modality, data.PerformedProcedureStepID) == ("DOE^JANE", "CT", "PPS1")
    assert data.ScheduledStepAttributesSequence[0].StudyInstanceUID == "1.2.3.1"


def test_of_a_list_those_that_are_asked_for_are_told(device: Association) -> None:
    status, data = get(device, MODALITY, STATUS)
    assert status.Status == 0x0000
    assert [int(element.tag) for element in data] == [MODALITY, STATUS]
    assert data.PerformedProcedureStepStatus == "IN PROGRESS"


def test_one_attribute_is_a_list_too(device: Association) -> None:
    assert get(device, MODALITY)[1].Modality == "CT"


def test_what_is_not_there_is_0001_and_the_rest_is_told(device: Association) -> None:
    status, data = get(device, MODALITY, END)
    assert (status.Status, data.Modality) == (0x0001, "CT")


def test_what_was_set_is_told(device: Association) -> None:
    assert device.send_n_set(final(), MPPS, UID)[0].Status == 0x0000
    _, data = get(device)
    assert (data.PerformedProcedureStepStatus, data.PerformedProcedureStepEndDate) == ("COMPLETED", "20250301")
    assert data.PerformedSeriesSequence[0].SeriesInstanceUID == "1.2.3.1.1"


def test_what_a_person_ended_is_told_as_ended(device: Association, services: FakeServices) -> None:
    kept, attributes = services.performing.steps[UID]
    services.performing.steps[UID] = (replace(kept, status=PerformedStatus.DISCONTINUED), attributes)
    assert get(device, STATUS)[1].PerformedProcedureStepStatus == "DISCONTINUED"


def test_an_unknown_step_is_0112(device: Association) -> None:
    assert get(device, uid="1.2.3.99")[0].Status == 0x0112


def test_the_class_of_the_step_itself_may_be_named_under_the_context(tmp_path: Path, services: FakeServices) -> None:
    with serving(tmp_path, services) as server:
        with associated(server, (MPPS, EXPLICIT)) as scanner:
            scanner.send_n_create(step(), MPPS, UID)
        with associated(server, (RETRIEVE, EXPLICIT)) as reader:
            status, data = reader.send_n_get([MODALITY], MPPS, UID, meta_uid=RETRIEVE)
            assert (status.Status, data.Modality) == (0x0000, "CT")


def test_a_step_is_not_created_under_the_context_that_retrieves(tmp_path: Path, services: FakeServices) -> None:
    with serving(tmp_path, services) as server, associated(server, (RETRIEVE, EXPLICIT)) as reader:
        assert reader.send_n_create(step(), RETRIEVE, UID)[0].Status == 0x0122
        assert reader.send_n_set(final(), RETRIEVE, UID)[0].Status == 0x0122
    assert services.performing.steps == {}


def test_a_step_is_not_retrieved_under_the_context_that_creates(device: Association) -> None:
    assert get(device, sop_class=MPPS)[0].Status == 0x0122


def test_a_peer_that_may_not_use_mpps_is_given_no_context(tmp_path: Path, services: FakeServices) -> None:
    viewer = DicomPeer(ae_title="CT1", may=frozenset({"echo", "worklist"}))
    with serving(tmp_path, services, peer=(viewer,)) as server, associated(server, (RETRIEVE, EXPLICIT)) as refused:
        assert not refused.is_established


@pytest.mark.parametrize(("peer", "name", "told"), [
    (DicomPeer(ae_title="CT1", character_set="ISO_IR 100"), "MÜLLER^JÖRG", "ISO_IR 100"),
    (DicomPeer(ae_title="CT1", character_set="ISO_IR 100"), "Ζεύς^Δίας", "ISO_IR 192"),
])  # fmt: skip
def test_names_are_told_in_the_character_set_of_the_device(
    tmp_path: Path, services: FakeServices, peer: DicomPeer, name: str, told: str
) -> None:
    made = step()
    made.SpecificCharacterSet, made.PatientName = "ISO_IR 192", name
    contexts = (MPPS, EXPLICIT), (RETRIEVE, EXPLICIT)
    with serving(tmp_path, services, peer=(peer,)) as server, associated(server, *contexts) as device:
        device.send_n_create(made, MPPS, UID)
        _, data = get(device, NAME)
    assert (str(data.PatientName), data.SpecificCharacterSet) == (name, told)


def test_a_name_that_a_device_cannot_be_told_is_refused_and_not_garbled(tmp_path: Path, services: FakeServices) -> None:
    made = step()
    made.SpecificCharacterSet, made.PatientName = "ISO_IR 192", "Ζεύς^Δίας"
    latin = DicomPeer(ae_title="CT1", character_set="ISO_IR 100", utf8=False)
    contexts = (MPPS, EXPLICIT), (RETRIEVE, EXPLICIT)
    with serving(tmp_path, services, peer=(latin,)) as server, associated(server, *contexts) as device:
        device.send_n_create(made, MPPS, UID)
        status, data = get(device, NAME)
    assert (status.Status, len(data)) == (0x0110, 0)


def test_a_store_that_is_away_is_0213(device: Association, services: FakeServices) -> None:
    def away(uid: str) -> tuple[PerformedStatus, dict[str, object]]:
        raise StoreUnavailable("locked")

    services.performing.find = away  # type: ignore[method-assign]
    assert get(device)[0].Status == 0x0213
