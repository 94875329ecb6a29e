"""The pretend scanner against a throwaway SCP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityPerformedProcedureStep,
    ModalityWorklistInformationFind,
    Verification,
)

from bridge.clock import ManualClock
from bridge.errors import RemoteRefused, RemoteUnavailable
from bridge.sandbox.images import mr_from_wheel, us_clip
from bridge.sandbox.modality import Scanner
from bridge.sandbox.ris import DemoPatient

MPPS_CREATE_TYPE_1_AND_2 = (
    "ScheduledStepAttributesSequence PatientName PatientID PatientBirthDate PatientSex ReferencedPatientSequence "
    "PerformedProcedureStepID PerformedStationAETitle PerformedStationName PerformedLocation "
    "PerformedProcedureStepStartDate PerformedProcedureStepStartTime PerformedProcedureStepStatus "
    "PerformedProcedureStepDescription PerformedProcedureTypeDescription ProcedureCodeSequence "
    "PerformedProcedureStepEndDate PerformedProcedureStepEndTime Modality StudyID PerformedProtocolCodeSequence "
    "PerformedSeriesSequence"
)
MPPS_STEP_TYPE_1_AND_2 = (
    "StudyInstanceUID ReferencedStudySequence AccessionNumber RequestedProcedureID RequestedProcedureDescription "
    "ScheduledProcedureStepID ScheduledProcedureStepDescription ScheduledProtocolCodeSequence"
)


@dataclass
class Peer:
    """What the SCP was asked, and what it answers."""

    items: list[Dataset]
    port: int = 0
    status: int = 0x0000
    queries: list[Dataset] = field(default_factory=list)
    created: dict[str, Dataset] = field(default_factory=dict)
    set: dict[str, Dataset] = field(default_factory=dict)
    stored: list[tuple[str, str]] = field(default_factory=list)

    def on_find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        self.queries.append(event.identifier)
        for one in self.items:
            yield 0xFF00, one
        if self.status:
            yield self.status, None

    def on_create(self, event: Any) -> tuple[int, Dataset | None]:
        self.created[str(event.request.AffectedSOPInstanceUID)] = event.attribute_list
        return self.status, event.attribute_list

    def on_set(self, event: Any) -> tuple[int, Dataset | None]:
        self.set[str(event.request.RequestedSOPInstanceUID)] = event.modification_list
        return self.status, event.modification_list

    def on_store(self, event: Any) -> int:
        self.stored.append((str(event.request.AffectedSOPInstanceUID), str(event.context.transfer_syntax)))
        return self.status


@pytest.fixture
def peer(item: Dataset) -> Iterator[Peer]:
    peer = Peer([item])
    ae = AE(ae_title="BRIDGE")
    ae.require_called_aet = True
    ae.supported_contexts = AllStoragePresentationContexts[:0]
    for sop_class in (ModalityPerformedProcedureStep, ModalityWorklistInformationFind, Verification):
        ae.add_supported_context(sop_class)
    for context in AllStoragePresentationContexts:
        syntaxes = [*build_context("1.2").transfer_syntax, JPEG2000Lossless, JPEGBaseline8Bit]
        ae.add_supported_context(str(context.abstract_syntax), syntaxes)
    handlers: list[Any] = [
        (evt.EVT_C_FIND, peer.on_find),
        (evt.EVT_N_CREATE, peer.on_create),
        (evt.EVT_N_SET, peer.on_set),
        (evt.EVT_C_STORE, peer.on_store),
    ]
    server: Any = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    peer.port = server.socket.getsockname()[1]
    yield peer
    server.shutdown()


@pytest.fixture
def scanner(peer: Peer) -> Scanner:
    clock = ManualClock(datetime(2026, 11, 25, 9, 41, tzinfo=UTC))
    return Scanner("CT1", "127.0.0.1", peer.port, "BRIDGE", clock=clock)


def test_echo_comes_back(scanner: Scanner) -> None:
    scanner.echo()


def test_unknown_called_ae_title_is_a_refusal(peer: Peer) -> None:
    with pytest.raises(RemoteRefused):
        Scanner("CT1", "127.0.0.1", peer.port, "NOBODY").echo()


def test_closed_port_is_unavailable() -> None:
    with pytest.raises(RemoteUnavailable):
        Scanner("CT1", "127.0.0.1", 1, "BRIDGE").echo()


def test_worklist_asks_for_own_station_day_and_modality(scanner: Scanner, peer: Peer) -> None:
    (found,) = scanner.worklist(date(2026, 11, 25), "CT", PatientName="OKAFOR*")
    step = peer.queries[0].ScheduledProcedureStepSequence[0]
    assert (step.ScheduledStationAETitle, step.ScheduledProcedureStepStartDate, step.Modality) == (
        "CT1",
        "20261125",
        "CT",
    )
    assert peer.queries[0].PatientName == "OKAFOR*"
    assert found.PatientName.ideographic == "山田^太郎"


def test_worklist_of_every_station_leaves_the_ae_title_empty(scanner: Scanner, peer: Peer) -> None:
    scanner.worklist(station="")
    assert peer.queries[0].ScheduledProcedureStepSequence[0].ScheduledStationAETitle == ""


def test_worklist_key_of_the_step_goes_into_the_step(scanner: Scanner, peer: Peer) -> None:
    scanner.worklist(ScheduledProcedureStepID="SPS1")
    assert peer.queries[0].ScheduledProcedureStepSequence[0].ScheduledProcedureStepID == "SPS1"


def test_worklist_failure_is_a_refusal_with_its_status(scanner: Scanner, peer: Peer) -> None:
    peer.status = 0xA700
    with pytest.raises(RemoteRefused, match="A700"):
        scanner.worklist()


def test_start_creates_every_type_1_and_2_attribute(scanner: Scanner, peer: Peer, item: Dataset) -> None:
    uid = scanner.start(item)
    created = peer.created[uid]
    step = created.ScheduledStepAttributesSequence[0]
    assert [k for k in MPPS_CREATE_TYPE_1_AND_2.split() if k not in created] == []
    assert [k for k in MPPS_STEP_TYPE_1_AND_2.split() if k not in step] == []


def test_start_copies_the_step_from_the_worklist(scanner: Scanner, peer: Peer, item: Dataset) -> None:
    uid = scanner.start(item)
    step = peer.created[uid].ScheduledStepAttributesSequence[0]
    assert peer.created[uid].PerformedProcedureStepStatus == "IN PROGRESS"
    assert peer.created[uid].PerformedStationAETitle == "CT1"
    assert (step.StudyInstanceUID, step.AccessionNumber) == ("2.25.4711", "A26112501")
    assert (step.RequestedProcedureID, step.ScheduledProcedureStepID) == ("RP1", "SPS1")


def test_complete_lists_every_instance_by_series(scanner: Scanner, peer: Peer, item: Dataset) -> None:
    images = mr_from_wheel(item)
    uid = scanner.start(item)
    scanner.complete(uid, images)
    assert peer.set[uid].PerformedProcedureStepStatus == "COMPLETED"
    listed = {
        str(series.SeriesInstanceUID): [str(i.ReferencedSOPInstanceUID) for i in series.ReferencedImageSequence]
        for series in peer.set[uid].PerformedSeriesSequence
    }
    assert listed == {str(i.SeriesInstanceUID): [str(i.SOPInstanceUID)] for i in images}


def test_discontinue_without_images_still_has_one_series_and_the_reason(
    scanner: Scanner, peer: Peer, item: Dataset
) -> None:
    uid = scanner.start(item)
    scanner.discontinue(uid, reason=("110514", "Incorrect worklist entry selected"))
    final = peer.set[uid]
    assert final.PerformedProcedureStepStatus == "DISCONTINUED"
    assert len(final.PerformedSeriesSequence) == 1
    (reason,) = final.PerformedProcedureStepDiscontinuationReasonCodeSequence
    assert (reason.CodeValue, reason.CodingSchemeDesignator) == ("110514", "DCM")


def test_final_step_that_is_refused_raises(scanner: Scanner, peer: Peer, item: Dataset) -> None:
    uid = scanner.start(item)
    peer.status = 0x0110
    with pytest.raises(RemoteRefused, match="0110"):
        scanner.complete(uid, [])


def test_images_travel_in_the_syntax_they_are_stored_in(
    scanner: Scanner, peer: Peer, item: Dataset, patient: DemoPatient
) -> None:
    images = [*mr_from_wheel(item), us_clip(patient)]
    ticks: list[tuple[int, int]] = []
    report = scanner.send(images, lambda done, total: ticks.append((done, total)))
    assert peer.stored == [(str(i.SOPInstanceUID), str(i.file_meta.TransferSyntaxUID)) for i in images]
    assert (report.sent, report.failed) == (3, ())
    assert ticks == [(1, 3), (2, 3), (3, 3)]


def test_files_are_sent_as_they_are(scanner: Scanner, peer: Peer, item: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "one.dcm"
    image = mr_from_wheel(item)[1]
    image.save_as(path, enforce_file_format=True)
    scanner.send([path])
    assert peer.stored == [(str(image.SOPInstanceUID), str(JPEG2000Lossless))]


def test_refused_image_is_reported_and_the_rest_goes_on(scanner: Scanner, peer: Peer, item: Dataset) -> None:
    peer.status = 0xA700
    images = mr_from_wheel(item)
    report = scanner.send(images)
    assert report.sent == 0
    assert report.failed == tuple((str(i.SOPInstanceUID), 0xA700) for i in images)
