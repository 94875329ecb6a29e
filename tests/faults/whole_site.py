"""A whole bridge in one process, from the MLLP frame to the clinician's page, with its own parts and real sockets.

A feed, the DICOM listener with a scanner's associations, the publisher before a FHIR server (sekmet-fhir), and the web
pages behind a SMART launch. Time stands still; the worker's turns are the test's to take.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from flask import Response
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import CTImageStorage, ModalityWorklistInformationFind  # type: ignore[attr-defined]
from sqlalchemy import func, select

from bridge.config import Defaults, Dicom, DicomPeer, Ehr, IssuerSetting, Settings, Site, Station, Storage
from bridge.dicom.ae import DicomServer
from bridge.dicom.worklist_user import question
from bridge.fhir.ehr import FhirEhr
from bridge.smart.client import SmartClient
from bridge.store import schema
from bridge.uids import new_uid
from bridge.web.factory import create_public_app
from bridge.web.ports import Deps
from bridge.workflow.acquiring import Acquiring
from bridge.workflow.committing import Commitments
from bridge.workflow.launching import LaunchDesk
from bridge.workflow.matching import Matching
from bridge.workflow.noticing import Notices
from bridge.workflow.performing import PerformedSteps
from bridge.workflow.publishing import Publisher
from bridge.workflow.worklist import WorklistDesk
from tests.fakes.launch_site import Browser
from tests.fakes.smart_ehr import CLIENT, MRN_SYSTEM, SmartEhr
from tests.faults.feed_site import FeedSite

ORDER_SYSTEM = "urn:oid:1.2.3.5"
PUBLIC, VIEWER = "https://bridge.example", "https://images.example"
PAGE = {"Accept": "text/html"}


@dataclass(frozen=True)
class Services:
    worklist: WorklistDesk
    performing: PerformedSteps
    acquiring: Acquiring
    committing: Commitments
    noticing: Notices

    def broken(self) -> None:
        raise AssertionError("the store broke")


class WholeSite(FeedSite):
    """`peers` are the scanners; without `fhir_base` nothing is published, without `smart` nobody launches."""

    def __init__(
        self,
        folder: Path,
        *,
        peers: tuple[DicomPeer, ...] = (DicomPeer(ae_title="CT1"),),
        fhir_base: str = "",
        smart: SmartEhr | None = None,
        **feed: Any,
    ) -> None:
        self._peers, self._fhir_base, self._smart = peers, fhir_base, smart
        super().__init__(folder, **feed)
        acquiring = Acquiring(self.context)
        performing = PerformedSteps(self.context, self.mappings.fate)
        services = Services(
            WorklistDesk(self.context), performing, acquiring, Commitments(self.context), Notices(self.context)
        )
        self.dicom = DicomServer(self.settings, services, self.clock, self.mappings.transliteration)
        self.dicom.start()
        self._acquiring, self._matching = acquiring, Matching(self.context)
        ehrs = {one.name: FhirEhr(one, self.settings.issuers, f"{VIEWER}/dicom-web") for one in self.settings.ehr}
        self._publisher = Publisher(self.context, dict(ehrs))
        self._associations: dict[tuple[str, str], Association] = {}
        if smart:
            smart.clock = self.clock
        self.fhir = requests.Session()
        self.fhir.trust_env = False

    def make_settings(self, folder: Path, **changes: Any) -> Settings:
        base = self._fhir_base
        ehrs = (Ehr(name="ehr", fhir_base=base, create_service_request=True),) if base else ()
        launch = {"smart": [{"iss": self._smart.iss, "client_id": CLIENT}]} if self._smart else {}
        issuers = (
            IssuerSetting(name="HOSP", namespace="HOSP", system=MRN_SYSTEM),
            IssuerSetting(name="RIS", namespace="RIS", system=ORDER_SYSTEM),
        )
        return Settings.model_validate(
            {
                "data": folder,
                "site": Site(time_zone="UTC"),
                "station": (Station(ae_titles=("CT1",), modality="CT", name="CT1"),),
                "dicom": Dicom(port=0, peer=self._peers),
                "storage": Storage(min_free_bytes=0),
                "defaults": Defaults(patient_issuer="HOSP", accession_issuer="RIS"),
                "ehr": ehrs,
                "web": {"public_url": PUBLIC, "viewer_url": VIEWER},
                "launch": launch,
                **changes,
                "issuer": issuers,
            }
        )

    # -- the scanner --------------------------------------------------------------------------------------------------
    def _association(self, title: str, sop_class: str) -> Association:
        if (title, sop_class) not in self._associations:
            scu = AE(ae_title=title)
            scu.add_requested_context(sop_class, ExplicitVRLittleEndian)
            made = scu.associate("127.0.0.1", self.dicom.port, ae_title="BRIDGE")
            assert made.is_established
            self._associations[title, sop_class] = made
        return self._associations[title, sop_class]

    def go(self, title: str) -> None:
        """A scanner ends its associations: each that stays costs all others time."""
        for key in [key for key in self._associations if key[0] == title]:
            self._associations.pop(key).release()

    def find(self, title: str = "CT1", **keys: str) -> list[Dataset]:
        """The answers to a query for every attribute of the model; `keys` are of its top."""
        asked = question()
        asked.SpecificCharacterSet = "ISO_IR 192"
        for name, value in keys.items():
            setattr(asked, name, value)
        modality = self._association(title, ModalityWorklistInformationFind)
        answers = list(modality.send_c_find(asked, ModalityWorklistInformationFind))
        assert answers[-1][0].Status == 0x0000, answers[-1][0]
        return [data for _, data in answers if data is not None]

    def entry(self, title: str = "CT1", **keys: str) -> Dataset:
        (found,) = self.find(title, **keys)
        return found

    def store(self, item: Dataset, title: str = "CT1") -> str:
        """One image of a worklist entry, its texts as the scanner was told them; the Study Instance UID."""
        image = image_of(item)
        assert self._association(title, CTImageStorage).send_c_store(image).Status == 0x0000
        return str(image.StudyInstanceUID)

    # -- the worker ---------------------------------------------------------------------------------------------------
    def work(self) -> None:
        """The quiet time passes, and everything due is judged and published."""
        self.clock.advance(self.settings.studies.quiet_seconds + 1)
        while self._acquiring.complete_due() or self._matching.judge_due():
            pass
        self._publisher.publish_due()
        until(lambda: not self._unpublished(), self._publisher.publish_due)

    def _unpublished(self) -> int:
        undone = select(func.count()).where(schema.publication.c.state != "done")
        with self.database.read() as connection:
            return int(connection.execute(undone).scalar_one())

    # -- the EHR and the clinician ------------------------------------------------------------------------------------
    def put_patient(self, number: str) -> None:
        patient = {"resourceType": "Patient", "identifier": [{"system": MRN_SYSTEM, "value": number}]}
        answer = self.fhir.post(f"{self._fhir_base}/Patient", json=patient, timeout=20)
        assert answer.status_code == 201, answer.text

    def resource(self, kind: str, system: str, value: str) -> dict[str, Any]:
        """The one resource of the EHR with that identifier."""
        parameters = {"identifier": f"{system}|{value}"}
        answer = self.fhir.get(f"{self._fhir_base}/{kind}", params=parameters, timeout=20)
        (entry,) = answer.json().get("entry", [])
        found: dict[str, Any] = entry["resource"]
        return found

    def imaging_study(self, uid: str) -> dict[str, Any]:
        return self.resource("ImagingStudy", "urn:dicom:uid", f"urn:oid:{uid}")

    def page(self, number: str, name: str) -> Page:
        """What a clinician who launches for a patient reads: the list of several studies."""
        assert self._smart is not None
        self._smart.resources["Patient/p1"]["identifier"][0]["value"] = number
        self._smart.resources["Patient/p1"]["name"] = [{"family": name}]
        browser = self._browser()
        asked = browser.get("/launch", query_string={"iss": self._smart.iss, "launch": "x"}, headers=PAGE)
        wanted = {k: v[0] for k, v in parse_qs(urlsplit(asked.headers["Location"]).query).items()}
        code = self._smart.code_for(wanted["nonce"], wanted["code_challenge"])
        back = {"code": code, "state": wanted["state"]}
        where = browser.get("/launch/callback", query_string=back, headers=PAGE).headers["Location"]
        answer = browser.get(where, headers=PAGE)
        assert answer.status_code == 200, answer.text
        return Page(answer.text)

    def _browser(self) -> Browser:
        if not hasattr(self, "_web"):
            smart = SmartClient(
                self.settings.launch.smart,
                self.settings.issuers,
                redirect_uri=f"{PUBLIC}/launch/callback",
                clock=self.clock,
            )
            ready: Callable[[], dict[str, bool]] = dict
            self._web = create_public_app(Deps(self.settings, LaunchDesk(self.context), self.clock, smart, ready))
        browser = Browser(self._web, Response, use_cookies=True)
        browser.home = PUBLIC
        return browser

    def close(self) -> None:
        for one in self._associations.values():
            one.release()
        self._publisher.close()
        self.dicom.stop()
        super().close()


class Page(HTMLParser):
    """The text of a page, by the id of the element that holds it; and of all `strong` in the banner."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.by_id: dict[str, str] = {}
        self.elements: set[str] = set()
        self.banner = ""
        self._id, self._in_strong = "", False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        if tag == "strong":
            self._id, self._in_strong = dict(attrs).get("id") or "", True
            if self._id:
                self.by_id[self._id] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "strong":
            self._in_strong = False

    def handle_data(self, data: str) -> None:
        if self._in_strong and self._id:
            self.by_id[self._id] += data
        elif self._in_strong:
            self.banner += data

    @property
    def studies(self) -> set[str]:
        return {text for name, text in self.by_id.items() if name.startswith("study-")}


def image_of(item: Dataset) -> Dataset:
    """A CT image of 2 x 2 pixels for a worklist entry, in its character set."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = UID(ExplicitVRLittleEndian)
    if "SpecificCharacterSet" in item:
        image.SpecificCharacterSet = item.SpecificCharacterSet
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, new_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = item.StudyInstanceUID, new_uid()
    image.StudyDescription, image.SeriesDescription = item.RequestedProcedureDescription, ""
    image.PatientID, image.PatientName = item.PatientID, item.PatientName
    image.PatientBirthDate, image.PatientSex = item.PatientBirthDate, item.PatientSex
    image.AccessionNumber, image.Modality = item.AccessionNumber, "CT"
    image.StudyDate, image.StudyTime = "20261125", "130000"
    image.Rows = image.Columns = 2
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation = 15, 0
    image.PixelData = bytes(8)
    return image


def until(holds: Callable[[], object], act: Callable[[], object] = lambda: None, seconds: float = 20) -> None:
    """Wait for what other threads do, and act each time it is not done yet."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.002)
        act()


@contextmanager
def whole_site(folder: Path, **options: Any) -> Iterator[WholeSite]:
    site = WholeSite(folder, **options)
    try:
        yield site
    finally:
        site.close()
