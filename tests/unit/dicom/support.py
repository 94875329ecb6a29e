"""A pretend workflow behind the real DICOM server, and small objects to send it."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association

from bridge.clock import SystemClock
from bridge.config import Dicom, DicomPeer, IssuerSetting, Performed, Settings, Storage, Worklist
from bridge.dicom.ae import DicomServer
from bridge.domain.availability import AvailabilityNotice
from bridge.domain.coding import Code
from bridge.domain.commitment import CommitmentRequest
from bridge.domain.identity import Identifier, Issuer, Issuers
from bridge.domain.patient import PersonName
from bridge.domain.performed import PerformedStatus, PerformedStep
from bridge.domain.study import InstanceHeader, StoredFile
from bridge.domain.worklist import Matcher, Telling, WorklistEntry, WorklistKeys
from bridge.domain.worklist_view import Listing
from bridge.errors import NotFound, StateConflict, TooLarge

CT = "1.2.840.10008.5.1.4.1.1.2"
SC = "1.2.840.10008.5.1.4.1.1.7"
MPPS = "1.2.840.10008.3.1.2.3.3"
MWL = "1.2.840.10008.5.1.4.31"

ENTRY = WorklistEntry(
    step_pk=1,
    version=1,
    patient_name=PersonName("DOE^JANE^Q"),
    patient_id="P100",
    patient_issuer="hospital",
    other_patient_ids=(Identifier("N77", "national"),),
    birth_date="19700102",
    sex="F",
    patient_weight_kg="71.5",
    patient_size_m="1.68",
    patient_state="",
    medical_alerts="",
    allergies=("LATEX", "IODINE"),
    pregnancy_status="4",
    admission_id="V9",
    admission_issuer="hospital",
    patient_location="WARD 3",
    referring_physician=PersonName("HIPPOCRATES"),
    requesting_physician=PersonName("GALEN^A"),
    accession_number="ACC1",
    accession_issuer="hospital",
    placer_order_number="PL1",
    filler_order_number="FI1",
    requested_procedure_id="RP1",
    requested_procedure_description="CT HEAD",
    requested_procedure_code=Code("CTH", "99LOCAL", "CT head"),
    study_instance_uid="1.2.3.1",
    priority="ROUTINE",
    reason="HEADACHE",
    transport="",
    comments="",
    step_id="SPS1",
    modality="CT",
    station_ae_titles=("CT1", "CT2"),
    station_name="CTROOM",
    step_location="ROOM 1",
    start_date="20250301",
    start_time="1030",
    step_description="HEAD NATIVE",
    protocol_codes=(Code("P1", "99LOCAL", "Native"), Code("P2", "99LOCAL", "Contrast")),
    performing_physician=PersonName(),
    step_status="SCHEDULED",
)


def entry(**changes: Any) -> WorklistEntry:
    return replace(ENTRY, **changes)


ISSUERS = (
    IssuerSetting(name="hospital", namespace="HOSP", universal_id="1.2.3.4", universal_id_type="ISO"),
    IssuerSetting(name="national", namespace="NAT"),
)
TELLING = Telling(Issuers(Issuer(i.name, i.namespace, i.universal_id, i.universal_id_type) for i in ISSUERS))


@dataclass
class FakeWorklist:
    entries: list[WorklistEntry] = field(default_factory=lambda: [ENTRY])
    limit: int = 500
    cut: bool = False
    fault: Exception | None = None
    asked: list[WorklistKeys] = field(default_factory=list)
    unnamed: list[set[str]] = field(default_factory=list)

    def find(self, keys: WorklistKeys, peer: DicomPeer) -> Listing:
        self.asked.append(keys)
        if self.fault:
            raise self.fault
        wanted = Matcher(keys, TELLING)
        found = Listing(e for e in self.entries if wanted.matches(e))
        if len(found) > self.limit:
            if not self.cut:
                raise TooLarge("more matches than the limit")
            del found[self.limit :]
            found.cut = True
        return found

    def note_asked(self, title: str, keys: WorklistKeys) -> None:
        pass

    def note_unreadable(self, peer: DicomPeer, withheld: Mapping[int, str], shown: Set[int]) -> None:
        pass

    def note_issuers(self, peer: DicomPeer, told: Set[str]) -> None:
        self.unnamed.append(set(told))


@dataclass
class FakePerforming:
    steps: dict[str, tuple[PerformedStep, dict[str, Any]]] = field(default_factory=dict)
    fault: Exception | None = None

    def take_create(self, step: PerformedStep, attributes: dict[str, Any], calling_ae: str) -> None:
        if self.fault:
            raise self.fault
        if step.sop_instance_uid in self.steps:
            raise StateConflict("known", code="duplicate")
        self.steps[step.sop_instance_uid] = (step, attributes)

    def take_set(self, sop_instance_uid: str, read: Any, calling_ae: str) -> None:
        if sop_instance_uid not in self.steps:
            raise NotFound("no such step")
        step, attributes = self.steps[sop_instance_uid]
        self.steps[sop_instance_uid] = read(PerformedStatus(step.status), attributes)

    def find(self, sop_instance_uid: str) -> tuple[PerformedStatus, dict[str, Any]]:
        if sop_instance_uid not in self.steps:
            raise NotFound("no such step")
        step, attributes = self.steps[sop_instance_uid]
        return step.status, attributes


@dataclass
class FakeAcquiring:
    stored: dict[str, tuple[InstanceHeader, StoredFile]] = field(default_factory=dict)
    queries: list[str] = field(default_factory=list)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    fault: BaseException | None = None
    hold: threading.Event | None = None

    def take_instance(self, header: InstanceHeader, file: StoredFile, calling_ae: str) -> bool:
        if self.hold:
            self.hold.wait(20)
        if self.fault:
            raise self.fault
        known = self.stored.get(header.sop_instance_uid)
        if known is None:
            self.stored[header.sop_instance_uid] = (header, file)
            return True
        if known[1].sha256 == file.sha256:
            return False
        raise StateConflict("other bytes", code="different-bytes")

    def heal_instance(
        self, header: InstanceHeader, file: StoredFile, calling_ae: str, intact: Callable[[StoredFile], bool]
    ) -> bool:
        first = self.stored[header.sop_instance_uid][1]
        if intact(first):
            return False
        self.stored[header.sop_instance_uid] = (header, file)
        return True

    def note_query(self, calling_ae: str) -> None:
        self.queries.append(calling_ae)

    def note_refused(self, address: str, calling_ae: str, code: str) -> None:
        self.refused.append((address, calling_ae, code))


@dataclass
class FakeCommitting:
    requests: dict[str, CommitmentRequest] = field(default_factory=dict)
    fault: Exception | None = None

    def take_request(self, request: CommitmentRequest, calling_ae: str) -> None:
        if self.fault:
            raise self.fault
        known = self.requests.setdefault(request.transaction_uid, request)
        if known != request:
            raise StateConflict("in use for another list")


@dataclass
class FakeNoticing:
    notices: list[AvailabilityNotice] = field(default_factory=list)

    def take_notice(self, notice: AvailabilityNotice, calling_ae: str) -> None:
        if notice.sop_instance_uid in {one.sop_instance_uid for one in self.notices}:
            raise StateConflict("known", code="duplicate")
        self.notices.append(notice)


@dataclass
class FakeServices:
    worklist: FakeWorklist = field(default_factory=FakeWorklist)
    performing: FakePerforming = field(default_factory=FakePerforming)
    acquiring: FakeAcquiring = field(default_factory=FakeAcquiring)
    committing: FakeCommitting = field(default_factory=FakeCommitting)
    noticing: FakeNoticing = field(default_factory=FakeNoticing)
    was_broken: bool = False

    def broken(self) -> None:
        self.was_broken = True


def settings(tmp_path: Path, **dicom: Any) -> Settings:
    known = DicomPeer(ae_title="CT1", patient_issuer="HOSP", accession_issuer="HOSP")
    transport = os.environ.get("BRIDGE_TEST_TRANSPORT", "own")
    given = {"transport": transport, "port": 0, "peer": (known,), "network_seconds": 20} | dicom
    storage, performed = given.pop("storage", Storage(min_free_bytes=0)), given.pop("performed", Performed())
    worklist = given.pop("worklist", Worklist())
    return Settings(
        data=tmp_path,
        dicom=Dicom(**given),
        storage=storage,
        performed=performed,
        worklist=worklist,
        issuer=ISSUERS,
    )


@contextmanager
def serving(tmp_path: Path, services: FakeServices, **dicom: Any) -> Iterator[DicomServer]:
    server = DicomServer(settings(tmp_path, **dicom), services, SystemClock())
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Listening(Protocol):
    """Our listener, in this process or in another."""

    @property
    def port(self) -> int: ...


@contextmanager
def associated(server: Listening, *contexts: Any, title: str = "CT1", called: str = "BRIDGE") -> Iterator[Association]:
    """An association with contexts of (SOP class, transfer syntax or list of them)."""
    scu = AE(ae_title=title)
    for sop_class, syntax in contexts:
        scu.add_requested_context(sop_class, syntax)
    association = scu.associate("127.0.0.1", server.port, ae_title=called)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


@contextmanager
def asking(server: Listening, title: str = "CT1") -> Iterator[Association]:
    """An association for queries, to which every answer comes.

    pynetdicom's own loop is to pause while a query runs, but one that is just about to look takes an answer off the
    queue and drops it (2 of 1,500 queries on a busy machine): here it never runs again. What it would notice, an abort
    of the other side, is not noticed.
    """
    with associated(server, (MWL, "1.2.840.10008.1.2"), title=title) as association:
        checkpoint = association._reactor_checkpoint
        checkpoint.clear()
        time.sleep(0.02)
        checkpoint.set = lambda: None  # type: ignore[method-assign]
        yield association


def image(uid: str = "1.2.3.1.1.1", syntax: str = ExplicitVRLittleEndian, **changes: Any) -> Dataset:
    """A CT image of 4 x 4 pixels, ready for `send_c_store`."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = UID(syntax)
    data.file_meta.MediaStorageSOPClassUID = UID(CT)
    data.file_meta.MediaStorageSOPInstanceUID = UID(uid)
    data.SOPClassUID, data.SOPInstanceUID = CT, uid
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3.1", "1.2.3.1.1"
    data.PatientID, data.PatientName = "P100", "DOE^JANE"
    data.AccessionNumber, data.Modality = "ACC1", "CT"
    data.Rows = data.Columns = 4
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.PixelData = bytes(range(32))
    for keyword, value in changes.items():
        if value is None:
            del data[keyword]
        else:
            setattr(data, keyword, value)
    return data


def encoded(data: Dataset, *, implicit: bool = False, little: bool = True) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, little
    write_dataset(buffer, data)
    return buffer.getvalue()


def part10(path: Path, data: Dataset) -> Path:
    data.save_as(path, enforce_file_format=True)
    return path


def pdu(context_id: int, header: int, data: bytes) -> bytes:
    """A P-DATA-TF of one presentation data value (PS3.8 9.3.5); `header`: 1 of a command, + 2 the last."""
    value = struct.pack(">LBB", len(data) + 2, context_id, header) + data
    return struct.pack(">BBL", 4, 0, len(value)) + value


def command(sop_class: str, field: int, **more: Any) -> bytes:
    """An encoded command set that announces a data set; by default that of a C-STORE-RQ, C-FIND-RQ or N-CREATE-RQ."""
    data = Dataset()
    data.AffectedSOPClassUID, data.CommandField, data.MessageID = sop_class, field, 1
    data.Priority, data.CommandDataSetType, data.AffectedSOPInstanceUID = 0, 1, "1.2.3.1.1.1"
    for keyword, value in more.items():
        setattr(data, keyword, value)
    inner = encoded(data, implicit=True)
    return b"\0\0\0\0\4\0\0\0" + struct.pack("<I", len(inner)) + inner


def sends(association: Association, pdus: Iterable[bytes], seconds: float = 5) -> bool:
    """Write raw PDUs past pynetdicom; True when the other side has ended the association before or soon after."""
    until = time.monotonic() + seconds
    wrapped: Any = association.dul.socket
    try:
        for one in pdus:
            if not association.is_established:
                return True
            wrapped.socket.sendall(one)
    except (OSError, AttributeError):  # closed, also under our hands
        return True
    while association.is_established and time.monotonic() < until:
        time.sleep(0.02)
    return not association.is_established


def answer(association: Association, *pdus: bytes) -> int | None:
    """The status that raw PDUs are answered with; None when the association ended instead."""
    association._reactor_checkpoint.clear()
    wrapped: Any = association.dul.socket
    with suppress(OSError, AttributeError):
        for one in pdus:
            wrapped.socket.sendall(one)
    until = time.monotonic() + 60
    while association.dul.is_alive() and association.dimse.peek_msg()[1] is None and time.monotonic() < until:
        time.sleep(0.002)
    _, said = association.dimse.get_msg()
    association._reactor_checkpoint.set()
    return None if said is None else int(said.Status)


def files_under(server: DicomServer) -> list[str]:
    return list(server.archive.names()) + [p.name for p in server.archive.incoming.iterdir()]
