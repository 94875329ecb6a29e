"""One patient's way through a bridge that runs in its own processes, told by programs that are not ours."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from pydicom import Dataset, dcmread
from sqlalchemy import text

from bridge.hl7.ack import Acknowledgement
from bridge.sandbox import ris as messages
from bridge.sandbox.ehr import PretendEhr
from bridge.sandbox.fhir_records import FhirRecords
from bridge.sandbox.hospital import Hospital, wait_for
from bridge.sandbox.images import ct_phantom, mr_from_wheel
from bridge.sandbox.modality import performed_series
from bridge.sandbox.ris import DemoOrder, DemoPatient, Ris
from bridge.store.db import Database
from bridge.uids import new_uid
from tests.peers.available import need
from tests.peers.mpps import mpps

Resource = dict[str, Any]
STEP = "ScheduledProcedureStepSequence[0]."
KEYS = (
    "SpecificCharacterSet=ISO_IR 192",
    "AccessionNumber",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
    "ReferringPhysicianName",
    f"{STEP}ScheduledProcedureStepStartTime",
    f"{STEP}ScheduledProcedureStepDescription",
    f"{STEP}ScheduledProcedureStepID",
    f"{STEP}ScheduledStationName",
    f"{STEP}ScheduledProtocolCodeSequence",
)
_numbers = itertools.count(1)


@dataclass
class Site:
    """A running bridge and the EHR that it publishes to. `ehr` is set where that can launch."""

    hospital: Hospital
    fhir_base: str
    ehr: PretendEhr | None = None
    records: FhirRecords = field(init=False)
    ris: Ris = field(init=False)

    def __post_init__(self) -> None:
        self.records = FhirRecords(self.fhir_base)
        self.ris = self.hospital.ris()

    def story(self, modality: str = "CT", **order: Any) -> Story:
        return Story(self, next(_numbers), modality, order)

    def get(self, path: str, **parameters: str) -> Any:
        answer = requests.get(f"{self.fhir_base}/{path}", params=parameters, timeout=20)
        answer.raise_for_status()
        return answer.json()

    def search(self, kind: str, **parameters: str) -> list[Resource]:
        return [e["resource"] for e in self.get(kind, **parameters).get("entry", [])]

    def studies(self, study_uid: str) -> list[Resource]:
        """Every ImagingStudy of the UID, whatever its status."""
        return self.search("ImagingStudy", identifier=f"urn:dicom:uid|urn:oid:{study_uid}")

    def rows(self, statement: str, **values: object) -> list[dict[str, Any]]:
        return read_rows(self.hospital, statement, **values)

    def study_id(self, study_uid: str) -> int:
        """The number of a study in the bridge, as `bridge review` prints it."""
        return int(self.rows("SELECT id FROM study WHERE study_instance_uid = :uid", uid=study_uid)[0]["id"])

    def links(self, study_uid: str) -> list[dict[str, Any]]:
        """The study's links to orders, ended ones too, oldest first."""
        return self.rows(
            "SELECT l.rule, l.ended_at, l.made_by, p.order_id FROM study_link l JOIN study s ON s.id = l.study_id "
            "JOIN requested_procedure p ON p.id = l.procedure_id WHERE s.study_instance_uid = :uid ORDER BY l.id",
            uid=study_uid,
        )

    def reviews(self, subject: str) -> list[dict[str, Any]]:
        """The open entries of a subject, as `bridge review` would tell them."""
        found = self.rows("SELECT * FROM review WHERE subject = :s AND closed_at IS NULL", s=subject)
        return [{**one, "details": json.loads(one["details"])} for one in found]

    def review_of_study(self, study_uid: str) -> dict[str, Any]:
        """The open entry of a study, waited for."""
        assert until(lambda: self.rows("SELECT id FROM study WHERE study_instance_uid = :uid", uid=study_uid))
        subject = f"study:{self.study_id(study_uid)}"
        assert until(lambda: self.rows("SELECT 1 FROM review WHERE subject = :s AND closed_at IS NULL", s=subject))
        return self.reviews(subject)[0]

    def wait_for_review(self, study_uid: str, reason: str) -> dict[str, Any]:
        """The open entry of a study once it has this reason."""
        statement = "SELECT 1 FROM review WHERE subject = :s AND reason = :r AND closed_at IS NULL"
        assert until(lambda: self.rows(statement, s=f"study:{self.study_id(study_uid)}", r=reason))
        return self.review_of_study(study_uid)

    def published(self, study_uid: str, seconds: float = 20, **fields: object) -> Resource:
        """The one ImagingStudy of the UID once its `fields` are as given."""

        def there() -> bool:
            found = self.studies(study_uid)
            return len(found) == 1 and all(found[0].get(name) == value for name, value in fields.items())

        if not until(there, seconds):
            state = self.rows("SELECT * FROM publication p JOIN study s ON s.id = p.study_id "
                              "WHERE s.study_instance_uid = :uid", uid=study_uid)  # fmt: skip
            raise AssertionError(f"not published as {fields}: {self.studies(study_uid)} {state}")
        return self.studies(study_uid)[0]

    def viewer(self, study_uid: str) -> Viewer:
        """A browser that has opened the study by a signed link."""
        browser = Viewer(self.hospital, requests.Session())
        browser.follow(self.hospital.links.link(self.hospital.public_url, study_uid))
        return browser


@dataclass
class Viewer:
    """What is left of a browser without its pictures: cookies and DICOMweb."""

    hospital: Hospital
    session: requests.Session

    def follow(self, link: str) -> requests.Response:
        """Open a single-use link and press its button; the last answer (the viewer's page, or a refusal)."""
        page = self.session.get(link, headers={"Accept": "text/html"}, timeout=20)
        token = re.search(r'name="csrf" value="([^"]+)"', page.text)
        assert token, page.text
        return self.session.post(link, data={"csrf": token[1]}, headers={"Accept": "text/html"}, timeout=20)

    def ask(self, path: str) -> requests.Response:
        """One DICOMweb request with this browser's cookie."""
        return self.session.get(
            f"{self.hospital.viewer_url}/dicom-web/{path}", headers={"Accept": "application/dicom+json"}, timeout=20
        )


class Story:
    """A patient with one order of their own, so that stories do not disturb each other."""

    def __init__(self, site: Site, number: int, modality: str, order: dict[str, Any]) -> None:
        self.site = site
        self.number = number
        self.station = {"CT": "CT1", "MR": "MR1", "US": "US1"}.get(modality, "")
        self.patient = DemoPatient(
            f"MRN{number:05}", "Müller", f"Test{letters(number)}", date(1961, 5, 4), "F", visit=f"V{number:05}"
        )
        values: dict[str, Any] = {
            "patient": self.patient,
            "placer": f"P{number:05}",
            "filler": f"F{number:05}",
            "accession": f"ACC{number:05}",
            "procedure_id": f"RP{number:05}",
            "step_id": f"SPS{number:05}",
            "code": f"{modality}TEST",
            "description": f"{modality} of a test",
            "modality": modality,
            "station_ae": self.station,
            "start": datetime.now() + timedelta(minutes=5),
            "study_uid": new_uid(),
        }
        self.order = DemoOrder(**{**values, **order})
        self.uid = self.order.study_uid
        self.remembered = Dataset()
        """The worklist entry that was last acquired, as a scanner remembers it."""

    def send(self, build: Callable[..., bytes] = messages.omi_o23, *what: object) -> Acknowledgement:
        return self.site.ris.send(build, *(what or (self.order,)))

    def worklist(self, folder: Path, *more: str) -> list[Dataset]:
        """What DCMTK's findscu is told when it asks for this accession number."""
        return findscu(
            self.site.hospital, folder, *more, f"AccessionNumber={self.order.accession}", calling=self.station
        )

    def item(self) -> Dataset:
        """The worklist entry, asked for by the pretend scanner."""
        found = self.site.hospital.scanner(self.station).worklist(AccessionNumber=self.order.accession)
        assert len(found) == 1
        return found[0]

    def acquire(self, slices: int = 2, item: Dataset | None = None) -> list[Dataset]:
        """The pretend scanner does the examination: step started, images sent, step completed."""
        item = self.remembered = item or self.item()
        scanner = self.site.hospital.scanner(self.station)
        step = scanner.start(item)
        images = pictures(item, slices, step)
        assert scanner.send(images).failed == ()
        scanner.complete(step, images)
        return images

    def acquire_unordered(self, slices: int = 2) -> None:
        """An examination typed at the console: the patient is right, everything of an order is empty."""
        step, item = Dataset(), Dataset()
        step.Modality = self.order.modality
        item.SpecificCharacterSet = "ISO_IR 192"
        item.PatientName = f"{self.patient.family}^{self.patient.given}"
        item.PatientID, item.PatientSex = self.patient.mrn, self.patient.sex
        item.PatientBirthDate = f"{self.patient.birth_date:%Y%m%d}"
        item.StudyInstanceUID, item.AccessionNumber = self.uid, ""
        item.ScheduledProcedureStepSequence = [step]
        assert self.site.hospital.scanner(self.station).send(pictures(item, slices)).failed == ()

    def order_row(self) -> dict[str, Any]:
        return self.site.rows(
            "SELECT o.*, s.id AS step, s.parked, s.status AS step_status, p.study_instance_uid FROM imaging_order o "
            "LEFT JOIN requested_procedure p ON p.order_id = o.id "
            "LEFT JOIN scheduled_procedure_step s ON s.requested_procedure_id = p.id "
            "WHERE o.placer_order_number = :n",
            n=self.order.placer,
        )[0]


def letters(number: int) -> str:
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def until(holds: Callable[[], object], seconds: float = 15) -> bool:
    return wait_for(holds, seconds)


@contextmanager
def _database(hospital: Hospital) -> Iterator[Database]:
    database = Database("", hospital.data, on_broken=lambda: None)
    try:
        yield database
    finally:
        database.close()


def read_rows(hospital: Hospital, statement: str, **values: object) -> list[dict[str, Any]]:
    """Rows of the bridge's database, read with its own library beside the running roles."""
    with _database(hospital) as database, database.read() as connection:
        return [dict(row._mapping) for row in connection.execute(text(statement), values)]


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([need(name), *arguments], capture_output=True, text=True, timeout=60, check=False)


def findscu(hospital: Hospital, folder: Path, *keys: str, calling: str) -> list[Dataset]:
    """A worklist query by DCMTK; `folder` must be empty."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("rsp*.dcm"):
        old.unlink()
    named = {key.partition("=")[0] for key in keys}
    asked = [*keys, *(key for key in KEYS if key.partition("=")[0] not in named)]
    for key in ("ScheduledStationAETitle", "ScheduledProcedureStepStartDate", "Modality"):
        if f"{STEP}{key}" not in named:
            asked.append(f"{STEP}{key}")
    options = [part for key in asked for part in ("-k", key)]
    done = run("findscu", "-W", "-X", "-od", str(folder), "-aet", calling, "-aec", "BRIDGE", *options,
               "127.0.0.1", str(hospital.ports.dicom))  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [dcmread(path, force=True) for path in sorted(folder.glob("rsp*.dcm"))]


def storescu(hospital: Hospital, folder: Path, images: Iterable[Dataset], calling: str) -> None:
    """The images by DCMTK, as files, over one association."""
    folder.mkdir(exist_ok=True)
    for number, image in enumerate(images):
        image.save_as(folder / f"{number:04}.dcm", enforce_file_format=True)
    done = run(
        "storescu", "-aet", calling, "-aec", "BRIDGE", "127.0.0.1", str(hospital.ports.dicom), "+sd", str(folder)
    )
    assert done.returncode == 0, done.stderr


def pictures(item: Dataset, count: int, step_uid: str = "") -> list[Dataset]:
    """One series for a worklist entry: `count` CT slices, or the MR of pydicom's wheel."""
    if item.ScheduledProcedureStepSequence[0].Modality == "MR":
        return mr_from_wheel(item, ("MR_small.dcm",), mpps_uid=step_uid)
    return ct_phantom(item, count, size=96, mpps_uid=step_uid)


def dimse_start(hospital: Hospital, item: Dataset, calling: str) -> str:
    """N-CREATE by npm dcmjs-dimse, as a modality makes it from its worklist entry; the step's UID."""
    uid, step, now = new_uid(), item.ScheduledProcedureStepSequence[0], datetime.now()
    scheduled = {
        "StudyInstanceUID": str(item.StudyInstanceUID),
        "ReferencedStudySequence": [],
        "AccessionNumber": str(item.AccessionNumber),
        "RequestedProcedureID": str(item.RequestedProcedureID),
        "RequestedProcedureDescription": str(item.RequestedProcedureDescription),
        "ScheduledProcedureStepID": str(step.ScheduledProcedureStepID),
        "ScheduledProcedureStepDescription": str(step.ScheduledProcedureStepDescription),
        "ScheduledProtocolCodeSequence": [],
    }
    answer = mpps(hospital.ports.dicom, "create", uid, calling=calling, attributes={
        "SpecificCharacterSet": "ISO_IR 192",
        "ScheduledStepAttributesSequence": [scheduled],
        "PatientName": str(item.PatientName),
        "PatientID": str(item.PatientID),
        "PatientBirthDate": str(item.PatientBirthDate),
        "PatientSex": str(item.PatientSex),
        "ReferencedPatientSequence": [],
        "PerformedProcedureStepID": "PPS1",
        "PerformedStationAETitle": calling,
        "PerformedStationName": "",
        "PerformedLocation": "",
        "PerformedProcedureStepStartDate": f"{now:%Y%m%d}",
        "PerformedProcedureStepStartTime": f"{now:%H%M%S}",
        "PerformedProcedureStepStatus": "IN PROGRESS",
        "PerformedProcedureStepDescription": "",
        "PerformedProcedureTypeDescription": "",
        "ProcedureCodeSequence": [],
        "PerformedProcedureStepEndDate": "",
        "PerformedProcedureStepEndTime": "",
        "Modality": str(step.Modality),
        "StudyID": "1",
        "PerformedProtocolCodeSequence": [],
        "PerformedSeriesSequence": [],
    })  # fmt: skip
    assert answer.get("status") == 0, answer
    return uid


def dimse_complete(hospital: Hospital, step_uid: str, images: list[Dataset], calling: str) -> None:
    """N-SET COMPLETED by npm dcmjs-dimse with the series of the images."""
    now = datetime.now()
    series = [
        {
            "PerformingPhysicianName": "",
            "ProtocolName": str(one.ProtocolName),
            "OperatorsName": "",
            "SeriesInstanceUID": str(one.SeriesInstanceUID),
            "SeriesDescription": str(one.SeriesDescription),
            "RetrieveAETitle": "",
            "ReferencedImageSequence": [
                {
                    "ReferencedSOPClassUID": str(image.ReferencedSOPClassUID),
                    "ReferencedSOPInstanceUID": str(image.ReferencedSOPInstanceUID),
                }
                for image in one.ReferencedImageSequence
            ],
            "ReferencedNonImageCompositeSOPInstanceSequence": [],
        }
        for one in performed_series(images)
    ]
    answer = mpps(hospital.ports.dicom, "set", step_uid, calling=calling, attributes={
        "PerformedProcedureStepStatus": "COMPLETED",
        "PerformedProcedureStepEndDate": f"{now:%Y%m%d}",
        "PerformedProcedureStepEndTime": f"{now:%H%M%S}",
        "PerformedSeriesSequence": series,
    })  # fmt: skip
    assert answer.get("status") == 0, answer
