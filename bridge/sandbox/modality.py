"""The pretend scanner: the SCU side of a modality (RAD-5 worklist, RAD-6/-7 performed procedure step, RAD-8 images).

It behaves as a real one does: asks the worklist, copies what it finds into the MPPS and the images, sends the objects
in the transfer syntax that they are stored in.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepRetrieve,
    ModalityWorklistInformationFind,
    Verification,
)

from bridge.clock import Clock, SystemClock
from bridge.errors import RemoteRefused, RemoteUnavailable
from bridge.uids import new_uid

Progress = Callable[[int, int], None]
"""Called with (done, total) after each object."""

_PENDING = (0xFF00, 0xFF01)
_DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"
"""What (0008,1110) refers to: Detached Study Management, retired, and written all the same."""

# Return keys that satisfy strict consoles (the attributes of PS3.4 Table K.6-1 that modalities commonly ask for).
_KEYS = (
    "AccessionNumber ReferringPhysicianName ReferencedStudySequence ReferencedPatientSequence PatientName PatientID "
    "IssuerOfPatientID PatientBirthDate PatientSex PatientWeight MedicalAlerts Allergies PregnancyStatus "
    "StudyInstanceUID RequestingPhysician RequestedProcedureDescription RequestedProcedureCodeSequence AdmissionID "
    "SpecialNeeds CurrentPatientLocation PatientState RequestedProcedureID RequestedProcedurePriority "
    "PatientTransportArrangements ConfidentialityConstraintOnPatientDataDescription"
)
_STEP_KEYS = (
    "Modality ScheduledStationAETitle ScheduledProcedureStepStartDate ScheduledProcedureStepStartTime "
    "ScheduledPerformingPhysicianName ScheduledProcedureStepDescription ScheduledProtocolCodeSequence "
    "ScheduledProcedureStepID ScheduledStationName ScheduledProcedureStepLocation PreMedication "
    "ScheduledProcedureStepStatus"
)


@dataclass(frozen=True, slots=True)
class SendReport:
    """What became of a C-STORE run: `failed` holds (SOP Instance UID, status) of each object that was refused."""

    sent: int
    failed: tuple[tuple[str, int], ...]


class Scanner:
    """A modality named `ae_title` that talks to `called_ae` at `host:port`; every call opens its own association."""

    def __init__(
        self, ae_title: str, host: str, port: int, called_ae: str = "BRIDGE", *, clock: Clock | None = None
    ) -> None:
        self.ae_title = ae_title
        self._address = (host, port)
        self._called_ae = called_ae
        self._clock = clock or SystemClock()

    def echo(self) -> None:
        """C-ECHO (PS3.4 Annex A); RemoteUnavailable or RemoteRefused when it does not come back with 0000."""
        with self.association([(Verification, [ImplicitVRLittleEndian])]) as assoc:
            _require_success(assoc.send_c_echo(), "C-ECHO")

    def worklist(
        self,
        day: date | None = None,
        modality: str = "",
        station: str | None = None,
        **keys: str,
    ) -> list[Dataset]:
        """C-FIND (PS3.4 K): the steps of `day` (all days when None) for `station` (own AE; '' for every station).

        `keys` are further matching keys by keyword, e.g. `PatientName="DOE*"`.
        """
        query = _worklist_query(self.ae_title if station is None else station, day, modality, keys)
        found: list[Dataset] = []
        contexts = [(ModalityWorklistInformationFind, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])]
        with self.association(contexts) as assoc:
            for status, identifier in assoc.send_c_find(query, ModalityWorklistInformationFind):
                if status.get("Status") in _PENDING and identifier is not None:
                    found.append(identifier)
                else:
                    _require_success(status, "C-FIND")
        return found

    def start(self, item: Dataset) -> str:
        """N-CREATE of the performed step for a worklist `item` (PS3.4 Table F.7.2-1), or for what `grouped` makes of
        several; returns its UID. Once more for the same item is a retake (the append case)."""
        mpps_uid = new_uid()
        attributes = self._created(item)
        with self.association(_MPPS_CONTEXT) as assoc:
            status, _ = assoc.send_n_create(attributes, ModalityPerformedProcedureStep, mpps_uid)
            _require_success(status, "N-CREATE")
        return mpps_uid

    def told(self, mpps_uid: str) -> Dataset:
        """N-GET of all that the bridge holds of a performed step (PS3.4 F.8)."""
        contexts = [(ModalityPerformedProcedureStepRetrieve, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])]
        with self.association(contexts) as assoc:
            status, attributes = assoc.send_n_get([], ModalityPerformedProcedureStepRetrieve, mpps_uid)
            _require_success(status, "N-GET")
        assert attributes is not None
        return attributes

    def complete(self, mpps_uid: str, images: Iterable[Dataset]) -> None:
        """N-SET COMPLETED with the Performed Series Sequence of `images`."""
        self._finish(mpps_uid, "COMPLETED", images, ())

    def discontinue(
        self, mpps_uid: str, images: Iterable[Dataset] = (), reason: tuple[str, ...] = ("110513", "Unspecified")
    ) -> None:
        """N-SET DISCONTINUED; `reason` is a code and meaning of CID 9301 (e.g. 110514, Incorrect worklist entry), and
        its scheme where that is not DCM; () gives none."""
        self._finish(mpps_uid, "DISCONTINUED", images, reason)

    def send(self, objects: Sequence[Dataset | Path], progress: Progress | None = None) -> SendReport:
        """C-STORE each object over one association, in the transfer syntax that it already has (PS3.4 Annex B).

        A data set must have its file meta information. A path is read when its turn comes.
        """
        failed: list[tuple[str, int]] = []
        with self.association(_storage_contexts(objects)) as assoc:
            for number, one in enumerate(objects, 1):
                dataset = one if isinstance(one, Dataset) else dcmread(one)
                answer = assoc.send_c_store(dataset)
                if "Status" not in answer:
                    raise RemoteUnavailable("the association was lost during C-STORE", where="C-STORE")
                if answer.Status != 0x0000 and answer.Status >> 12 != 0xB:
                    failed.append((str(dataset.SOPInstanceUID), int(answer.Status)))
                if progress:
                    progress(number, len(objects))
        return SendReport(len(objects) - len(failed), tuple(failed))

    def _created(self, item: Dataset) -> Dataset:
        step = item.ScheduledProcedureStepSequence[0]
        now = self._clock.now().astimezone()
        created = Dataset()
        created.SpecificCharacterSet = "ISO_IR 192"
        group = item.get("ScheduledStepAttributesSequence")
        created.ScheduledStepAttributesSequence = copy.deepcopy(group) if group else [_scheduled_step(item, step)]
        for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
            setattr(created, name, item.get(name, ""))
        _copy_present(item, created, ("IssuerOfPatientID", "AdmissionID"))
        created.ReferencedPatientSequence = copy.deepcopy(item.get("ReferencedPatientSequence", []))
        created.PerformedProcedureStepID = f"PPS{now:%H%M%S%f}"
        created.PerformedStationAETitle = self.ae_title
        created.PerformedStationName = str(step.get("ScheduledStationName", "") or "")
        created.PerformedLocation = str(step.get("ScheduledProcedureStepLocation", "") or "")
        created.PerformedProcedureStepStartDate = f"{now:%Y%m%d}"
        created.PerformedProcedureStepStartTime = f"{now:%H%M%S}"
        created.PerformedProcedureStepStatus = "IN PROGRESS"
        created.PerformedProcedureStepDescription = step.get("ScheduledProcedureStepDescription", "")
        created.PerformedProcedureTypeDescription = ""
        created.ProcedureCodeSequence = copy.deepcopy(item.get("RequestedProcedureCodeSequence", []))
        created.PerformedProcedureStepEndDate = ""
        created.PerformedProcedureStepEndTime = ""
        created.CommentsOnThePerformedProcedureStep = ""
        # Created empty, because only what was created may be set later (F.7.2.1.2).
        created.PerformedProcedureStepDiscontinuationReasonCodeSequence = []
        created.Modality = step.Modality
        created.StudyID = str(item.get("RequestedProcedureID", "") or "")
        created.PerformedProtocolCodeSequence = copy.deepcopy(step.get("ScheduledProtocolCodeSequence", []))
        created.PerformedSeriesSequence = []
        return created

    def _finish(self, mpps_uid: str, status_word: str, images: Iterable[Dataset], reason: tuple[str, ...]) -> None:
        now = self._clock.now().astimezone()
        changed = Dataset()
        changed.SpecificCharacterSet = "ISO_IR 192"
        changed.PerformedProcedureStepStatus = status_word
        changed.PerformedProcedureStepEndDate = f"{now:%Y%m%d}"
        changed.PerformedProcedureStepEndTime = f"{now:%H%M%S}"
        changed.PerformedSeriesSequence = performed_series(images)
        if reason:
            changed.PerformedProcedureStepDiscontinuationReasonCodeSequence = [
                _code(reason[0], reason[2] if len(reason) > 2 else "DCM", reason[1])
            ]
        with self.association(_MPPS_CONTEXT) as assoc:
            status, _ = assoc.send_n_set(changed, ModalityPerformedProcedureStep, mpps_uid)
            _require_success(status, "N-SET")

    @contextmanager
    def association(self, contexts: Sequence[tuple[str, Sequence[str]]]) -> Iterator[Association]:
        """An association of its own; RemoteRefused or RemoteUnavailable when there is none."""
        ae = AE(ae_title=self.ae_title)
        ae.acse_timeout = ae.connection_timeout = 10
        ae.dimse_timeout = ae.network_timeout = 60
        for sop_class, syntaxes in contexts:
            ae.add_requested_context(sop_class, list(syntaxes))
        assoc = ae.associate(*self._address, ae_title=self._called_ae)
        if assoc.is_rejected:
            raise RemoteRefused("the association was rejected", where="A-ASSOCIATE")
        if not assoc.is_established:
            raise RemoteUnavailable("no association", where="A-ASSOCIATE")
        try:
            yield assoc
        finally:
            assoc.release()


_MPPS_CONTEXT: Sequence[tuple[str, Sequence[str]]] = [
    (ModalityPerformedProcedureStep, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
]


def grouped(items: Sequence[Dataset]) -> Dataset:
    """What a console keeps when several entries of one patient are done in one go (PS3.4 F.7.2.1): one new study, no
    accession number at its top, and every entry in the items of (0040,0270) and (0040,0275)."""
    group = copy.deepcopy(items[0])
    group.StudyInstanceUID, group.AccessionNumber, group.RequestedProcedureID = new_uid(), "", ""
    group.ScheduledStepAttributesSequence = [_grouped(item, group) for item in items]
    group.RequestAttributesSequence = [_request(item) for item in items]
    return group


def _grouped(item: Dataset, group: Dataset) -> Dataset:
    scheduled = _scheduled_step(item, item.ScheduledProcedureStepSequence[0])
    scheduled.StudyInstanceUID = group.StudyInstanceUID
    scheduled.ReferencedStudySequence = [_reference(_DETACHED_STUDY, item.StudyInstanceUID)]
    return scheduled


def _request(item: Dataset) -> Dataset:
    step, request = item.ScheduledProcedureStepSequence[0], Dataset()
    for name in ("AccessionNumber", "RequestedProcedureID", "RequestedProcedureDescription"):
        setattr(request, name, item.get(name, ""))
    _copy_present(item, request, ("IssuerOfAccessionNumberSequence",))
    request.ScheduledProcedureStepID = step.get("ScheduledProcedureStepID", "")
    request.ScheduledProcedureStepDescription = step.get("ScheduledProcedureStepDescription", "")
    return request


def performed_series(images: Iterable[Dataset]) -> list[Dataset]:
    """Items of (0040,0340), one a series; one item without images when there are none (F.7.2: at least one)."""
    by_series: dict[str, list[Dataset]] = {}
    for image in images:
        by_series.setdefault(str(image.SeriesInstanceUID), []).append(image)
    if not by_series:
        return [_series_item(new_uid(), Dataset(), [])]
    return [_series_item(uid, members[0], members) for uid, members in by_series.items()]


def _series_item(uid: str, first: Dataset, members: list[Dataset]) -> Dataset:
    item = Dataset()
    item.PerformingPhysicianName = ""
    item.ProtocolName = str(first.get("ProtocolName", "") or first.get("SeriesDescription", "") or "NONE")
    item.OperatorsName = ""
    item.SeriesInstanceUID = uid
    item.SeriesDescription = str(first.get("SeriesDescription", "") or "")
    item.RetrieveAETitle = ""
    item.ReferencedImageSequence = [_reference(m.SOPClassUID, m.SOPInstanceUID) for m in members]
    item.ReferencedNonImageCompositeSOPInstanceSequence = []
    return item


def _scheduled_step(item: Dataset, step: Dataset) -> Dataset:
    """One item of (0040,0270), copied from the worklist."""
    scheduled = Dataset()
    scheduled.StudyInstanceUID = item.StudyInstanceUID
    scheduled.ReferencedStudySequence = copy.deepcopy(item.get("ReferencedStudySequence", []))
    for name in ("AccessionNumber", "RequestedProcedureID", "RequestedProcedureDescription"):
        setattr(scheduled, name, item.get(name, ""))
    _copy_present(
        item,
        scheduled,
        (
            "IssuerOfAccessionNumberSequence",
            "PlacerOrderNumberImagingServiceRequest",
            "FillerOrderNumberImagingServiceRequest",
            "RequestedProcedureCodeSequence",
        ),
    )
    scheduled.ScheduledProcedureStepID = step.get("ScheduledProcedureStepID", "")
    scheduled.ScheduledProcedureStepDescription = step.get("ScheduledProcedureStepDescription", "")
    scheduled.ScheduledProtocolCodeSequence = copy.deepcopy(step.get("ScheduledProtocolCodeSequence", []))
    return scheduled


def _worklist_query(station: str, day: date | None, modality: str, keys: dict[str, str]) -> Dataset:
    query = Dataset()
    query.SpecificCharacterSet = "ISO_IR 192"
    step = Dataset()
    for target, names in ((query, _KEYS), (step, _STEP_KEYS)):
        for name in names.split():
            setattr(target, name, [] if name.endswith("Sequence") else None)
    step.ScheduledStationAETitle = station
    step.ScheduledProcedureStepStartDate = f"{day:%Y%m%d}" if day else ""
    step.Modality = modality
    for name, value in keys.items():
        setattr(step if Tag(name) in step else query, name, value)
    query.ScheduledProcedureStepSequence = [step]
    return query


def _storage_contexts(objects: Sequence[Dataset | Path]) -> list[tuple[str, list[str]]]:
    """One presentation context a pair of SOP class and transfer syntax, so that nothing has to be converted."""
    pairs: dict[tuple[str, str], None] = {}
    for one in objects:
        meta = one.file_meta if isinstance(one, Dataset) else read_file_meta_info(one)
        pairs[(str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))] = None
    return [(sop_class, [syntax]) for sop_class, syntax in pairs]


def _copy_present(source: Dataset, target: Dataset, names: Iterable[str]) -> None:
    for name in names:
        if name in source:
            setattr(target, name, copy.deepcopy(source.get(name)))


def _reference(sop_class: str, sop_instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = sop_instance
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return item


def _require_success(status: Dataset, what: str) -> None:
    """RemoteUnavailable when nothing came back; RemoteRefused with the status otherwise (PS3.7 Annex C)."""
    if "Status" not in status:
        raise RemoteUnavailable(f"{what}: no answer", where=what)
    if status.Status != 0x0000:
        raise RemoteRefused(f"{what}: status {status.Status:04X}", where=what, status=int(status.Status))
