"""dcmjs-dimse (npm) as a scanner at the bridge: RAD-6 and RAD-7 by a stack that no one here wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.feed_site import orm
from tests.faults.whole_site import WholeSite, whole_site
from tests.peers.mpps import mpps

pytestmark = pytest.mark.peer("dimse")
UID = "1.2.826.0.1.3680043.9.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"


class Modality:
    """The foreign scanner, which copies its worklist entry as a device does."""

    def __init__(self, site: WholeSite) -> None:
        site.say(orm())
        self.item = site.entry()
        self._port = site.dicom.port

    def create(self, uid: str = UID, title: str = "CT1", **changes: Any) -> dict[str, Any]:
        return mpps(self._port, "create", uid, {**self._created(), **changes}, calling=title)

    def set(self, uid: str = UID, **attributes: Any) -> dict[str, Any]:
        return mpps(self._port, "set", uid, attributes, calling="CT1")

    def end(self, status: str, images: tuple[str, ...] = (), uid: str = UID, **more: Any) -> dict[str, Any]:
        made = [{"ReferencedSOPClassUID": CT_IMAGE, "ReferencedSOPInstanceUID": one} for one in images]
        series = {
            "PerformingPhysicianName": "", "ProtocolName": "HEAD", "OperatorsName": "", "RetrieveAETitle": "",
            "SeriesInstanceUID": "1.2.826.0.1.3680043.9.2", "SeriesDescription": "", "ReferencedImageSequence": made,
            "ReferencedNonImageCompositeSOPInstanceSequence": [],
        }  # fmt: skip
        ended = {"PerformedProcedureStepEndDate": "20261125", "PerformedProcedureStepEndTime": "131500"}
        return self.set(uid, PerformedProcedureStepStatus=status, PerformedSeriesSequence=[series], **ended, **more)

    def _created(self) -> dict[str, Any]:
        item, step = self.item, self.item.ScheduledProcedureStepSequence[0]
        return {
            "SpecificCharacterSet": "ISO_IR 192",
            "ScheduledStepAttributesSequence": [{
                "StudyInstanceUID": str(item.StudyInstanceUID),
                "AccessionNumber": str(item.AccessionNumber),
                "RequestedProcedureID": str(item.RequestedProcedureID),
                "ScheduledProcedureStepID": str(step.ScheduledProcedureStepID),
            }],
            "PatientName": str(item.PatientName),
            "PatientID": str(item.PatientID),
            "PerformedProcedureStepID": "PPS1",
            "PerformedStationAETitle": "CT1",
            "PerformedProcedureStepStartDate": "20261125",
            "PerformedProcedureStepStartTime": "130000",
            "PerformedProcedureStepStatus": "IN PROGRESS",
            "Modality": "CT",
        }  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Iterator[WholeSite]:
    with whole_site(tmp_path) as started:
        yield started


@pytest.fixture
def modality(site: WholeSite) -> Modality:
    return Modality(site)


def standing(site: WholeSite) -> tuple[str, str]:
    """Of the only order and its only step."""
    return site.rows("imaging_order")[0].status, site.rows("scheduled_procedure_step")[0].status


def test_an_exam_that_begins_takes_its_entry_off_the_worklist(modality: Modality, site: WholeSite) -> None:
    assert modality.create() == {"status": 0x0000, "comment": "", "sopInstanceUID": UID}
    assert (standing(site), site.find()) == (("IP", "STARTED"), [])


def test_an_exam_is_told_of_on_its_way_and_ends(modality: Modality, site: WholeSite) -> None:
    modality.create()
    assert modality.set(CommentsOnThePerformedProcedureStep="SECOND SERIES")["status"] == 0x0000
    assert standing(site) == ("IP", "STARTED")
    assert modality.end("COMPLETED", ("1.2.826.0.1.3680043.9.3",))["status"] == 0x0000
    assert standing(site) == ("CM", "COMPLETED")
    assert [row.sop_instance_uid for row in site.rows("performed_instance")] == ["1.2.826.0.1.3680043.9.3"]


def test_an_exam_of_the_wrong_entry_is_offered_again(modality: Modality, site: WholeSite) -> None:
    modality.create()
    reason = {"CodeValue": "110514", "CodingSchemeDesignator": "DCM", "CodeMeaning": "Incorrect worklist entry"}
    answer = modality.end("DISCONTINUED", PerformedProcedureStepDiscontinuationReasonCodeSequence=[reason])
    assert answer["status"] == 0x0000
    assert len(site.find()) == 1


def test_the_same_creation_again_is_0111(modality: Modality, site: WholeSite) -> None:
    assert [modality.create()["status"] for _ in range(2)] == [0x0000, 0x0111]
    assert len(site.rows("performed_procedure_step")) == 1


def test_a_change_after_the_end_is_0110_and_says_why(modality: Modality) -> None:
    modality.create()
    modality.end("COMPLETED")
    answer = modality.end("DISCONTINUED")
    assert (answer["status"], answer["comment"]) == (
        0x0110,
        "Performed Procedure Step Object may no longer be updated",
    )


def test_a_change_of_an_unknown_exam_is_0112(modality: Modality) -> None:
    assert modality.end("COMPLETED")["status"] == 0x0112


def test_an_exam_that_begins_as_completed_is_0106(modality: Modality, site: WholeSite) -> None:
    assert modality.create(PerformedProcedureStepStatus="COMPLETED")["status"] == 0x0106
    assert site.rows("performed_procedure_step") == []


def test_a_name_in_utf_8_is_kept(modality: Modality, site: WholeSite) -> None:
    modality.create(PatientName="Müller^Jörg")
    kept = site.rows("performed_procedure_step")[0].attributes
    assert kept["00100010"]["Value"] == [{"Alphabetic": "Müller^Jörg"}]
