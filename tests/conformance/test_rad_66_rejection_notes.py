"""RAD-66 Rejection Note Stored, over the wire: what a note hides, and what is refused (IHE RAD TF-2 4.66)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from bridge.clock import SystemClock
from bridge.config import Dicom, DicomPeer, Settings, Storage
from bridge.dicom.ae import DicomServer
from bridge.dicom.rejection import read_note
from bridge.domain.rejection import Hidden, RejectedInstance
from bridge.store import rejection, review, viewing
from bridge.store.db import Database
from bridge.store.migrate import migrate
from bridge.workflow.acquiring import Acquiring
from bridge.workflow.context import Context
from tests.unit.dicom.support import CT, FakePerforming, FakeWorklist, associated, image, part10

KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
EXPLICIT = "1.2.840.10008.1.2.1"
STUDY, SERIES = "1.2.3.1", "1.2.3.1.1"
MAY = frozenset({"store", "reject"})


class Site:
    """The DICOM listener on the real workflow and store."""

    def __init__(self, folder: Path) -> None:
        peers = (DicomPeer(ae_title="PACS", may=MAY), DicomPeer(ae_title="CT1"))
        self.settings = Settings(data=folder, dicom=Dicom(port=0, peer=peers), storage=Storage(min_free_bytes=0))
        self.database = Database("", folder, on_broken=lambda: None)
        migrate(self.database)
        self.worklist, self.performing = FakeWorklist(), FakePerforming()
        self.acquiring = Acquiring(Context(self.database, self.settings, SystemClock()))
        self.server = DicomServer(self.settings, self, SystemClock())

    def broken(self) -> None:
        raise AssertionError("the store broke")

    def send(self, *objects: Dataset, title: str = "PACS") -> list[int]:
        with associated(self.server, (CT, EXPLICIT), (KEY_OBJECTS, EXPLICIT), title=title) as association:
            return [store(association, one) for one in objects]

    def shown(self) -> set[str]:
        with self.database.read() as connection:
            return {row.sop_instance_uid for row in viewing.find_instances(connection, STUDY)}

    def rejected(self) -> list[tuple[str, list[str]]]:
        """(title, reason) of the notes that were applied."""
        with self.database.read() as connection:
            return [(row["title"], row["reason"]) for row in rejection.list_rejections(connection, 9)]

    def waiting(self) -> list[str]:
        with self.database.read() as connection:
            return [str(row["reason"]) for row in review.open_reviews(connection)]


def store(association: Association, data: Dataset) -> int:
    return int(association.send_c_store(data).Status)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    made.server.start()
    yield made
    made.server.stop()
    made.database.close()


def code(value: str, scheme: str = "DCM", meaning: str = "as PS3.16 has it") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def reference(uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, uid
    return item


def note(title: str, *uids: str, uid: str = "1.2.3.9.1", scheme: str = "DCM", reason: str = "") -> Dataset:
    """A Key Object Selection (PS3.3 A.35.4, TID 2010) that names images of the study."""
    data: Any = image(uid, SOPClassUID=KEY_OBJECTS, SeriesInstanceUID="1.2.3.9", Modality="KO", PixelData=None)
    data.file_meta.MediaStorageSOPClassUID = KEY_OBJECTS
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
                    "SamplesPerPixel", "PhotometricInterpretation"):  # fmt: skip
        del data[keyword]
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = SERIES, [reference(one) for one in uids]
    study = Dataset()
    study.StudyInstanceUID, study.ReferencedSeriesSequence = STUDY, [series]
    data.ValueType, data.ContinuityOfContent = "CONTAINER", "SEPARATE"
    data.ConceptNameCodeSequence = [code(title, scheme)]
    data.CurrentRequestedProcedureEvidenceSequence = [study] if uids else []
    content = []
    if reason:
        modifier = Dataset()
        modifier.RelationshipType, modifier.ValueType = "HAS CONCEPT MOD", "CODE"
        modifier.ConceptNameCodeSequence, modifier.ConceptCodeSequence = [code("113011")], [code(reason)]
        content.append(modifier)
    for one in uids:
        item = Dataset()
        item.RelationshipType, item.ValueType, item.ReferencedSOPSequence = "CONTAINS", "IMAGE", [reference(one)]
        content.append(item)
    data.ContentSequence = content
    return data


def pictures(*numbers: int) -> list[Dataset]:
    return [image(f"1.2.3.1.1.{number}") for number in numbers]


@pytest.mark.parametrize("title", ["113001", "113037", "113038", "113039"])
def test_what_a_note_names_is_gone_with_its_success(site: Site, title: str) -> None:
    """4.66.4.2.3, 4.66.4.3.3, 4.66.4.4.3."""
    site.send(*pictures(1, 2))
    assert site.send(note(title, "1.2.3.1.1.1")) == [0x0000]
    assert site.shown() == {"1.2.3.1.1.2"}


@pytest.mark.parametrize("title", ["113000", "113002", "113030", "113013"])
def test_an_ordinary_key_object_selection_rejects_nothing_and_is_an_object_like_others(site: Site, title: str) -> None:
    site.send(*pictures(1))
    assert site.send(note(title, "1.2.3.1.1.1")) == [0x0000]
    assert site.shown() == {"1.2.3.1.1.1", "1.2.3.9.1"}


def test_the_code_of_another_scheme_rejects_nothing(site: Site) -> None:
    site.send(*pictures(1), note("113037", "1.2.3.1.1.1", scheme="99LOCAL"))
    assert site.shown() == {"1.2.3.1.1.1", "1.2.3.9.1"}


def test_the_reason_of_a_rejection_for_quality_is_kept(site: Site) -> None:
    """CID 7011 as Document Title Modifier (TID 2010)."""
    site.send(*pictures(1), note("113001", "1.2.3.1.1.1", reason="111207"))
    assert site.rejected() == [("quality", ["111207", "DCM", "as PS3.16 has it"])]


@pytest.mark.parametrize("title", ["113037", "113038"])
def test_the_same_objects_again_are_refused_with_c771(site: Site, title: str) -> None:
    """4.66.4.2.3.1: not accepted again, whatever their bytes."""
    site.send(*pictures(1), note(title, "1.2.3.1.1.1"))
    other = image("1.2.3.1.1.1", PatientName="OTHER")
    assert site.send(*pictures(1), other, *pictures(2), title="CT1") == [0xC771, 0xC771, 0x0000]
    assert len(list(site.server.archive.names())) == 3


@pytest.mark.parametrize("title", ["113001", "113039"])
def test_the_same_objects_again_are_taken_where_the_profile_lets_them(site: Site, title: str) -> None:
    site.send(*pictures(1), note(title, "1.2.3.1.1.1"))
    assert site.send(*pictures(1)) == [0x0000]
    assert site.shown() == ({"1.2.3.1.1.1"} if title == "113039" else set())


def test_a_note_before_its_images_is_applied_when_they_come(site: Site) -> None:
    assert site.send(note("113037", "1.2.3.1.1.1"), *pictures(1, 2)) == [0x0000] * 3
    assert site.shown() == {"1.2.3.1.1.2"}


def test_the_note_of_a_peer_that_may_not_reject_is_kept_and_hides_nothing(site: Site) -> None:
    site.send(*pictures(1), title="CT1")
    assert site.send(note("113037", "1.2.3.1.1.1"), title="CT1") == [0x0000]
    assert site.shown() == {"1.2.3.1.1.1", "1.2.3.9.1"}
    assert site.waiting() == ["rejection-not-allowed"]


@pytest.mark.parametrize("harm", ["no evidence", "no UID"])
def test_a_note_whose_evidence_is_not_readable_is_kept_and_hides_nothing(site: Site, harm: str) -> None:
    bad = note("113037", "1.2.3.1.1.1") if harm == "no UID" else note("113037")
    if harm == "no UID":
        series: Any = bad.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
        series.ReferencedSOPSequence.append(reference("../1"))
    assert site.send(*pictures(1), bad) == [0x0000] * 2
    assert "1.2.3.1.1.1" in site.shown()
    assert site.waiting() == ["rejection-unclear"]


def test_a_note_of_2_000_objects_is_applied_whole(site: Site) -> None:
    uids = [f"1.2.3.1.1.{number}" for number in range(1, 2001)]
    site.send(*pictures(1, 2))
    assert site.send(note("113037", *uids)) == [0x0000]
    with site.database.read() as connection:
        assert len(rejection.items_of(connection, 1)) == 2000
    assert site.shown() == set()
    assert site.send(*pictures(1999)) == [0x0000] and site.shown() == set()


def test_what_a_note_says_is_read_by_its_three_uids(tmp_path: Path) -> None:
    found = read_note(part10(tmp_path / "note.dcm", note("113038", "1.2.3.1.1.1")))
    assert found is not None
    assert (found.title, found.instances) == (Hidden.WORKLIST, (RejectedInstance(STUDY, SERIES, "1.2.3.1.1.1"),))
