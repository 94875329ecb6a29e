"""What happens on the pretend day, scene by scene, through the real protocols; each exchange prints one line.

The RIS registers a patient and orders a CT and an MR; the scanners ask the worklist and send what they made; an
ultrasound comes without an order; the EHR learns of the studies; a physician opens them from the chart.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import partial
from typing import TypeVar

from pydicom import Dataset

from bridge.clock import Clock, SystemClock
from bridge.errors import NotFound, RemoteUnavailable
from bridge.sandbox.browse import Browser, Opened, frames_of, instance_uid
from bridge.sandbox.commitment import Inquiry
from bridge.sandbox.ehr import PretendEhr
from bridge.sandbox.hospital import Hospital
from bridge.sandbox.images import ct_phantom, mr_from_wheel, us_clip
from bridge.sandbox.modality import Scanner
from bridge.sandbox.narrate import Narrator, counted
from bridge.sandbox.ris import DemoOrder, DemoPatient, adt_a04, late_order, omi_o23, orm_o01
from bridge.uids import new_uid

PATIENT = DemoPatient("100234", "Müller", "Jörg", date(1958, 4, 12), "M", visit="V2001")
SLICES = 32
_PATIENCE = 30.0
_T = TypeVar("_T")


class Story:
    """The day at `hospital`, whose EHR is `ehr`. The scenes are played in the order in which they stand here."""

    def __init__(self, hospital: Hospital, ehr: PretendEhr, narrator: Narrator, clock: Clock | None = None) -> None:
        self.hospital = hospital
        self.ehr = ehr
        self.tell = narrator
        self.patient_id = ""
        """The patient's FHIR id, once the EHR knows the patient."""
        self.orders: dict[str, DemoOrder] = {}
        """By modality."""
        self._clock = clock or SystemClock()
        self._numbers = itertools.count(1)
        self._ris = hospital.ris()
        self._us = us_clip(PATIENT)

    def play(self) -> None:
        """All scenes; a step that fails ends the day with its exception."""
        scenes: tuple[tuple[str, Callable[[], None]], ...] = (
            ("The RIS registers a patient and orders a CT and an MR (HL7 v2 over MLLP)", self.ordering),
            ("CT: worklist, performed step, images (DICOM)", self.scanning_ct),
            ("The EHR learns of it (FHIR R4)", self.publishing_ct),
            ("MR: the same way, an order that the EHR has not seen", self.scanning_mr),
            ("Ultrasound: a clip that nobody ordered", self.unscheduled_ultrasound),
            ("A physician opens the images from the chart", self.viewing),
            ("The ultrasound's order comes late, with the study's own UID (IHE RAD PIR, case 3)", self.late_order),
        )
        for title, scene in scenes:
            self.tell.section(title)
            scene()
        self._ris.close()

    def ordering(self) -> None:
        self._send(f"ADT^A04  register {PATIENT.family}, {PATIENT.given}", adt_a04, PATIENT)
        ct = self._order("CT", "CTCHEST", "CT chest (phantom)", new_uid())
        self._send(f"ORM^O01  {ct.description}, accession {ct.accession}, study UID in ZDS", orm_o01, ct)
        mr = self._order("MR", "MRSAMPLE", "MR sample image", new_uid())
        self._send(f"OMI^O23  {mr.description}, accession {mr.accession}, worklist data in IPC", omi_o23, mr)

    def scanning_ct(self) -> None:
        scanner = self.hospital.scanner("CT1")
        with self.tell.step("CT1", "Bridge", "C-ECHO"):
            scanner.echo()
        self._commit(scanner, self._perform(scanner, "CT", lambda item, uid: ct_phantom(item, SLICES, mpps_uid=uid)))

    def publishing_ct(self) -> None:
        """The registration reaches the EHR later than the images: the publication waits, and says why."""
        with self.tell.step("Bridge", "EHR", "Patient?  by medical record number") as answer:
            reasons = self._until(self._waiting, "no publication waits", "bridge status")
            answer.set(f"waits, will try again: {reasons[0]}")
        with self.tell.step("Hospital", "EHR", "Patient and the CT's ServiceRequest arrive in the EHR") as answer:
            self.patient_id = self.ehr.put_patient(PATIENT)
            order_id = self.ehr.put_order(self.orders["CT"], self.patient_id)
            answer.set(f"Patient/{self.patient_id[:8]}…, ServiceRequest/{order_id[:8]}…")
        self._await_study("CT")

    def scanning_mr(self) -> None:
        self._perform(self.hospital.scanner("MR1"), "MR", lambda item, uid: mr_from_wheel(item, mpps_uid=uid))
        self._await_study("MR")

    def unscheduled_ultrasound(self) -> None:
        words = f"C-STORE  one clip of {self._us.NumberOfFrames} frames, no order, no MPPS"
        with self.tell.step("US1", "Bridge", words) as answer:
            report = self.hospital.scanner("US1").send([self._us])
            answer.set(f"{report.failed[0][1]:04X}" if report.failed else "0000", good=not report.failed)
        with self.tell.step("Bridge", "Person", "bridge review  waits for a decision, published nowhere") as answer:
            found = self._until(self.hospital.reviews, "the study is not in the review list", "bridge review")
            answer.set(f"{found[0]['subject']} {found[0]['kind']}: {found[0]['reason']}")

    def viewing(self) -> None:
        self.open_and_read("CT", "launch", "SMART EHR launch from the chart")
        self.open_and_read("MR", "link", "signed link from the chart")

    def late_order(self) -> None:
        order = self._order("US", "USECHO", "Echocardiogram", str(self._us.StudyInstanceUID))
        self._send(f"ORM^O01  {order.description}, accession {order.accession}, UID of the images", late_order, order)
        self._await_study("US")
        self.open_and_read("US", "launch", "SMART EHR launch from the chart")

    def open_and_read(self, modality: str, way: str, words: str) -> Opened:
        """Press the button `way` ("launch" or "link") of a study's row, then read the study as the viewer does."""
        chart = self.ehr.records.chart(self.patient_id)[1]
        study = next((s for s in chart if s.uid == self.orders[modality].study_uid), None)
        if study is None:
            raise NotFound("the chart has no such study", where="chart")
        with self.tell.step("Physician", "Bridge", f"{words}: {study.description}") as answer:
            opened = Browser().press(self.ehr.chart_url(self.patient_id), f"{way}-{study.id}")
            good = opened.studies == (study.uid,)
            answer.set(f"OHIF, {opened.redirects} redirects" if good else "not this study", good=good)
        with self.tell.step("OHIF", "Bridge", "DICOMweb  series, metadata, a frame of each series") as answer:
            images, size = read_images(opened, study.uid)
            answer.set(f"{counted(images, 'image')}, {size / 1000:.0f} kB of pixels")
        return opened

    def _order(self, modality: str, code: str, description: str, study_uid: str) -> DemoOrder:
        number = 4000 + next(self._numbers)
        order = DemoOrder(
            patient=PATIENT,
            placer=f"P{number}",
            filler=f"F{number}",
            accession=f"A{number}",
            procedure_id=f"RP{number}",
            step_id=f"SPS{number}",
            code=code,
            description=description,
            modality=modality,
            station_ae=f"{modality}1",
            start=scheduled(self._clock.now()),
            study_uid=study_uid,
        )
        self.orders[modality] = order
        return order

    def _send(self, words: str, build: Callable[..., bytes], what: DemoPatient | DemoOrder) -> None:
        with self.tell.step("RIS", "Bridge", words) as answer:
            ack = self._ris.send(build, what)
            answer.set(ack.code, good=ack.code == "AA")

    def _perform(self, scanner: Scanner, modality: str, make: Callable[[Dataset, str], list[Dataset]]) -> list[Dataset]:
        """The images that it made."""
        name, order = scanner.ae_title, self.orders[modality]
        with self.tell.step(name, "Bridge", f"C-FIND  worklist of {order.start:%Y-%m-%d} for {modality}") as answer:
            items = scanner.worklist(order.start.date(), modality)
            item = next((i for i in items if i.StudyInstanceUID == order.study_uid), None)
            if item is None:
                raise NotFound("the order is not on the worklist", where="C-FIND")
            step = item.ScheduledProcedureStepSequence[0]
            entries = counted(len(items), "entry", "entries")
            answer.set(f"{entries}: {item.PatientName.family_name}, {step.ScheduledProcedureStepDescription}")
        with self.tell.step(name, "Bridge", "N-CREATE  MPPS in progress") as answer:
            uid = scanner.start(item)
            answer.set("0000")
        images = make(item, uid)
        with self.tell.progress(name, "Bridge", f"C-STORE  {images[0].StudyDescription}") as tick:
            report = scanner.send(images, tick)
        if report.failed:
            raise RemoteUnavailable(f"not taken: {counted(len(report.failed), 'image')}", where="C-STORE")
        with self.tell.step(name, "Bridge", "N-SET  MPPS completed") as answer:
            scanner.complete(uid, images)
            answer.set("0000")
        return images

    def _commit(self, scanner: Scanner, images: list[Dataset]) -> None:
        """The scanner asks whether it may delete its images."""
        with Inquiry(scanner, images, self.hospital.ports.scanner) as inquiry:
            with self.tell.step(scanner.ae_title, "Bridge", "N-ACTION  storage commitment: are they safe?") as answer:
                inquiry.ask()
                answer.set("0000")
            with self.tell.step("Bridge", scanner.ae_title, "N-EVENT-REPORT  after a check of the disk") as answer:
                kept = inquiry.answer(_PATIENCE)
                good = len(kept.committed) == len(images)
                answer.set(f"{len(kept.committed)} of {counted(len(images), 'image')} committed", good=good)

    def _await_study(self, modality: str) -> None:
        """Until the EHR's FHIR search has the study of this order."""
        uid = self.orders[modality].study_uid
        with self.tell.step("Bridge", "EHR", f"ImagingStudy  {modality}") as answer:
            query = {"identifier": f"urn:dicom:uid|urn:oid:{uid}"}
            search = partial(self.ehr.records.search, "ImagingStudy", query)
            found = self._until(search, "the study was not published", "ImagingStudy")
            based_on = [one.get("reference", "?").partition("/")[0] for one in found[0].get("basedOn", [])]
            images = counted(found[0].get("numberOfInstances", 0), "image")
            answer.set(f"available, {images}, basedOn {', '.join(based_on) or 'nothing'}", good=bool(based_on))

    def _until(self, look: Callable[[], list[_T]], words: str, where: str) -> list[_T]:
        """What `look` finds as soon as it finds anything; RemoteUnavailable with `words` when it never does."""
        found: list[_T] = []

        def some() -> bool:
            found.extend(look())
            return bool(found)

        if not self.tell.wait_until(some, _PATIENCE):
            raise RemoteUnavailable(words, where=where)
        return found

    def _waiting(self) -> list[str]:
        """Why publications wait, as `bridge status` tells it."""
        return [str(answer) for _, state, answer, _ in self.hospital.status()["unsent"] if state == "waiting"]


def scheduled(now: datetime) -> datetime:
    """Some minutes ago by the hospital's wall clock (naive): the patient has been waiting, as patients do."""
    return now.astimezone().replace(tzinfo=None, microsecond=0) - timedelta(minutes=5)


def read_images(opened: Opened, study: str) -> tuple[int, int]:
    """Images of a study and the bytes of one frame a series (the middle one), asked for as the viewer asks."""
    images = size = 0
    for series in opened.series(study):
        members = opened.metadata(study, series)
        middle = members[len(members) // 2]
        size += opened.frame(study, series, instance_uid(middle), (frames_of(middle) + 1) // 2)
        images += len(members)
    return images, size
