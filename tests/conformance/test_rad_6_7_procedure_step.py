"""RAD-6 and RAD-7 Modality Procedure Step, over the wire (PS3.4 F.7)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from bridge.config import Performed
from bridge.dicom.ae import DicomServer
from bridge.domain.performed import PerformedStatus
from bridge.errors import StoreUnavailable
from bridge.uids import is_uid
from tests.unit.dicom.support import MPPS, FakeServices, associated, serving

pytestmark = pytest.mark.usefixtures("transport")

UID = "1.2.3.7"


@pytest.fixture
def modality(server: DicomServer) -> Iterator[Association]:
    with associated(server, (MPPS, "1.2.840.10008.1.2.1")) as association:
        yield association


def step() -> Dataset:
    item = Dataset()
    item.StudyInstanceUID, item.AccessionNumber = "1.2.3.1", "ACC1"
    item.RequestedProcedureID, item.ScheduledProcedureStepID = "RP1", "SPS1"
    data = Dataset()
    data.ScheduledStepAttributesSequence = [item]
    data.PatientName, data.PatientID = "DOE^JANE", "P100"
    data.PerformedProcedureStepID, data.PerformedStationAETitle = "PPS1", "CT1"
    data.PerformedProcedureStepStartDate, data.PerformedProcedureStepStartTime = "20250301", "103100"
    data.PerformedProcedureStepStatus, data.Modality = "IN PROGRESS", "CT"
    return data


def final(status: str = "COMPLETED") -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID, series.ProtocolName = "1.2.3.1.1", "HEAD"
    data = Dataset()
    data.PerformedProcedureStepStatus = status
    data.PerformedProcedureStepEndDate, data.PerformedProcedureStepEndTime = "20250301", "104500"
    data.PerformedSeriesSequence = [series]
    return data


def create(modality: Association, data: Dataset | None = None, uid: str | None = UID) -> Dataset:
    return modality.send_n_create(data or step(), MPPS, uid)[0]


def change(modality: Association, data: Dataset, uid: str = UID) -> Dataset:
    return modality.send_n_set(data, MPPS, uid)[0]


def test_a_started_step_is_0000(modality: Association, services: FakeServices) -> None:
    assert create(modality).Status == 0x0000
    kept, attributes = services.performing.steps[UID]
    assert kept.scheduled[0].scheduled_step_id == "SPS1"
    assert attributes["00400253"] == {"vr": "SH", "Value": ["PPS1"]}


def test_a_repeated_creation_is_0111(modality: Association) -> None:
    create(modality)
    assert create(modality).Status == 0x0111


def test_a_step_that_names_no_uid_is_given_one(modality: Association, services: FakeServices) -> None:
    assert create(modality, uid=None).Status == 0x0000
    (given,) = services.performing.steps
    assert is_uid(given)


def test_a_missing_attribute_is_0120(modality: Association) -> None:
    data = step()
    del data.PerformedProcedureStepID
    assert create(modality, data).Status == 0x0120


def test_an_empty_attribute_is_0121(modality: Association) -> None:
    data = step()
    data.PerformedProcedureStepID = ""
    assert create(modality, data).Status == 0x0121


def test_a_step_created_as_completed_is_0106(modality: Association, services: FakeServices) -> None:
    data = step()
    data.PerformedProcedureStepStatus = "COMPLETED"
    assert create(modality, data).Status == 0x0106
    assert services.performing.steps == {}


@pytest.mark.parametrize("status", ["COMPLETED", "DISCONTINUED"])
def test_a_step_ends(modality: Association, services: FakeServices, status: str) -> None:
    create(modality)
    assert change(modality, final(status)).Status == 0x0000
    assert services.performing.steps[UID][0].status is PerformedStatus(status)


def test_a_change_after_the_end_is_0110_with_a710(modality: Association) -> None:
    create(modality)
    change(modality, final())
    answer = change(modality, final())
    assert (answer.Status, answer.ErrorID) == (0x0110, 0xA710)
    assert answer.ErrorComment == "Performed Procedure Step Object may no longer be updated"


def test_a_change_of_an_unknown_step_is_0112(modality: Association) -> None:
    assert change(modality, final(), "1.2.3.99").Status == 0x0112


def test_an_unknown_status_is_0106(modality: Association, services: FakeServices) -> None:
    create(modality)
    assert change(modality, final("FINISHED")).Status == 0x0106
    assert services.performing.steps[UID][0].status is PerformedStatus.IN_PROGRESS


def test_a_completion_without_series_is_taken(modality: Association, services: FakeServices) -> None:
    create(modality)
    data = Dataset()
    data.PerformedProcedureStepStatus = "COMPLETED"
    assert change(modality, data).Status == 0x0000
    assert services.performing.steps[UID][0].status is PerformedStatus.COMPLETED


def test_a_change_of_the_patient_is_ignored_with_0107(modality: Association, services: FakeServices) -> None:
    create(modality)
    data = final()
    data.PatientID = "P999"
    answer = change(modality, data)
    assert answer.Status == 0x0107
    assert services.performing.steps[UID][0].patient_id == "P100"
    assert services.performing.steps[UID][0].status is PerformedStatus.COMPLETED


def test_a_store_that_is_away_is_0213(modality: Association, services: FakeServices) -> None:
    services.performing.fault = StoreUnavailable("locked")
    assert create(modality).Status == 0x0213


# -- what the table asks beyond what the schedule hangs on ----------------------------------------------------------


@pytest.fixture
def strict(tmp_path: Path, services: FakeServices) -> Iterator[Association]:
    with (
        serving(tmp_path, services, performed=Performed(strict=True)) as server,
        associated(server, (MPPS, "1.2.840.10008.1.2.1")) as association,
    ):
        yield association


def test_a_device_that_leaves_out_type_2_attributes_is_taken(modality: Association) -> None:
    assert "PerformedStationName" not in step()
    assert create(modality).Status == 0x0000


def test_a_strict_site_refuses_them_with_0120(strict: Association, services: FakeServices) -> None:
    assert create(strict).Status == 0x0120
    assert services.performing.steps == {}


def test_a_series_without_a_protocol_name_is_taken_but_by_a_strict_site(modality: Association) -> None:
    create(modality)
    data = final()
    del data.PerformedSeriesSequence[0].ProtocolName
    assert change(modality, data).Status == 0x0000


def test_a_start_that_is_no_date_is_0106(modality: Association, services: FakeServices) -> None:
    data = step()
    data.PerformedProcedureStepStartTime = "9999"
    assert create(modality, data).Status == 0x0106
    assert services.performing.steps == {}
