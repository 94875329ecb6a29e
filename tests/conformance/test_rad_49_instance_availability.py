"""RAD-49: Instance Availability Notification (PS3.4 Annex R), N-CREATE over the wire."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from bridge.config import DicomPeer
from bridge.domain.availability import Availability, RemoteInstance
from bridge.uids import is_uid
from tests.unit.dicom.support import CT, FakeServices, associated, serving

pytestmark = pytest.mark.usefixtures("transport")
IAN = "1.2.840.10008.5.1.4.33"
UID = "1.2.3.49"
ARCHIVE = DicomPeer(ae_title="PACS", may=frozenset({"ian"}))


def notice(*words: str) -> Dataset:
    """Of a study with an instance for each word."""
    series = Dataset()
    series.SeriesInstanceUID = "1.2.3.1.1"
    series.ReferencedSOPSequence = []
    for number, word in enumerate(words or ("ONLINE",), 1):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, f"1.2.3.1.1.{number}"
        item.InstanceAvailability, item.RetrieveAETitle = word, "PACS"
        series.ReferencedSOPSequence.append(item)
    data = Dataset()
    data.ReferencedPerformedProcedureStepSequence = []
    data.StudyInstanceUID, data.ReferencedSeriesSequence = "1.2.3.1", [series]
    return data


Create = Callable[..., tuple[Dataset, Dataset]]


@pytest.fixture
def create(tmp_path: Path, services: FakeServices) -> Create:
    def send(data: Dataset | None, uid: str | None = UID, **peer: Any) -> tuple[Dataset, Dataset]:
        known = peer.get("peer", ARCHIVE)
        context = (IAN, ExplicitVRLittleEndian)
        with serving(tmp_path, services, peer=(known,)) as server, associated(server, context, title="PACS") as scu:
            answer, given = scu.send_n_create(data, IAN, uid)
            return answer, given or Dataset()

    return send


def test_what_an_archive_has_is_taken_instance_by_instance(create: Create, services: FakeServices) -> None:
    assert create(notice("ONLINE", "UNAVAILABLE"))[0].Status == 0x0000
    (taken,) = services.noticing.notices
    assert (taken.sop_instance_uid, taken.study_instance_uid) == (UID, "1.2.3.1")
    assert taken.instances == tuple(
        RemoteInstance("1.2.3.1.1", CT, f"1.2.3.1.1.{number}", word, "PACS")
        for number, word in ((1, Availability.ONLINE), (2, Availability.UNAVAILABLE))
    )


def test_where_it_can_be_had_is_kept(create: Create, services: FakeServices) -> None:
    data = notice()
    data.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].RetrieveURL = "https://pacs.example/wado"
    create(data)
    assert services.noticing.notices[0].instances[0].location == "https://pacs.example/wado"


def test_the_same_notification_again_is_0111(create: Create, services: FakeServices) -> None:
    assert [create(notice())[0].Status for _ in range(2)] == [0x0000, 0x0111]
    assert len(services.noticing.notices) == 1


def test_an_archive_may_leave_the_uid_to_us(create: Create, services: FakeServices) -> None:
    assert create(notice(), None)[0].Status == 0x0000
    assert is_uid(services.noticing.notices[0].sop_instance_uid)


def test_what_stands_outside_the_table_is_0107_and_the_rest_is_taken(create: Create, services: FakeServices) -> None:
    data = notice()
    data.PatientName = "DOE^JANE"
    answer, _ = create(data)
    assert (answer.Status, len(services.noticing.notices)) == (0x0107, 1)


def of_study(data: Dataset) -> Dataset:
    return data


def of_series(data: Dataset) -> Dataset:
    found: Dataset = data.ReferencedSeriesSequence[0]
    return found


def of_object(data: Dataset) -> Dataset:
    found: Dataset = of_series(data).ReferencedSOPSequence[0]
    return found


TYPE_1 = [
    (of_study, "StudyInstanceUID"), (of_study, "ReferencedSeriesSequence"), (of_series, "SeriesInstanceUID"),
    (of_series, "ReferencedSOPSequence"), (of_object, "ReferencedSOPClassUID"),
    (of_object, "ReferencedSOPInstanceUID"), (of_object, "InstanceAvailability"), (of_object, "RetrieveAETitle"),
]  # fmt: skip


@pytest.mark.parametrize(("where", "keyword"), TYPE_1, ids=[keyword for _, keyword in TYPE_1])
def test_what_is_of_type_1_may_be_neither_absent_nor_empty(
    create: Create, services: FakeServices, where: Callable[[Dataset], Dataset], keyword: str
) -> None:
    absent, empty = notice(), notice()
    del where(absent)[keyword]
    setattr(where(empty), keyword, [] if keyword.endswith("Sequence") else "")
    assert [create(one)[0].Status for one in (absent, empty)] == [0x0120, 0x0121]
    assert services.noticing.notices == []


def test_an_absent_type_2_attribute_is_taken(create: Create) -> None:
    data = notice()
    del data.ReferencedPerformedProcedureStepSequence
    assert create(data)[0].Status == 0x0000


@pytest.mark.parametrize(("keyword", "value"), [
    ("InstanceAvailability", "PERHAPS"), ("ReferencedSOPInstanceUID", "../1"), ("ReferencedSOPClassUID", "1..2"),
])  # fmt: skip
def test_a_value_that_cannot_be_is_0106(create: Create, services: FakeServices, keyword: str, value: str) -> None:
    data = notice()
    setattr(of_object(data), keyword, value)
    assert create(data)[0].Status == 0x0106
    assert services.noticing.notices == []


def test_a_device_that_may_not_is_given_no_context(tmp_path: Path, services: FakeServices) -> None:
    """What it says of availability could take a study out of a record."""
    scanner = DicomPeer(ae_title="CT1")
    context = (IAN, ExplicitVRLittleEndian)
    with serving(tmp_path, services, peer=(scanner,)) as server, associated(server, context) as refused:
        assert not refused.is_established


def test_a_performed_step_is_not_created_under_its_context(tmp_path: Path, services: FakeServices) -> None:
    context = (IAN, ExplicitVRLittleEndian)
    with serving(tmp_path, services, peer=(ARCHIVE,)) as server, associated(server, context, title="PACS") as scu:
        answer, _ = scu.send_n_create(notice(), "1.2.840.10008.3.1.2.3.3", UID, meta_uid=IAN)
        assert answer.Status == 0x0124
    assert services.performing.steps == {}
