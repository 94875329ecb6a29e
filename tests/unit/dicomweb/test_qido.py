"""QIDO-RS: the query and the search (PS3.18 8.3.4, 10.6; matching PS3.4 C.2.2.2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from bridge.dicomweb.qido import Query, read_query, search
from bridge.dicomweb.target import read_target
from bridge.domain.access import Session
from bridge.errors import BadValue, NotAllowed, NotFound
from tests.unit.dicomweb.pretend_images import A2, A, B, PretendImages, session_of, two_patients

PATIENT = session_of(A, A2)


@pytest.fixture
def images(tmp_path: Path) -> PretendImages:
    return two_patients(tmp_path)


def _query(text: str) -> Query:
    return read_query(parse_qsl(text, keep_blank_values=True))


def _search(images: PretendImages, url: str, session: Session = PATIENT) -> tuple[list[dict[str, Any]], int]:
    path, _, query = url.partition("?")
    return search(images, session, read_target(path), _query(query), "/dicom-web")


def _uids(found: list[dict[str, Any]], tag: str = "0020000D") -> list[str]:
    return [row[tag]["Value"][0] for row in found]


@pytest.mark.parametrize(
    ("query", "studies"),
    [
        ("", [A, A2]),
        ("PatientID=", [A, A2]),
        ("PatientID=*", [A, A2]),
        ("00100020=MRN1", [A, A2]),
        ("PatientID=MRN*", [A, A2]),
        ("PatientID=mrn1", []),
        ("IssuerOfPatientID=HOSP-B", []),
        ("PatientName=doe*", [A, A2]),
        ("PatientName=Do%C3%A9%5EJ*", [A, A2]),
        ("PatientName=SECRET*", []),
        ("AccessionNumber=ACC1", [A]),
        ("0020000d=" + A2, [A2]),
        (f"StudyInstanceUID={A},{A2},{B}", [A, A2]),
        (f"StudyInstanceUID={A}%5C{A2}", [A, A2]),
        (f"StudyInstanceUID={A}&StudyInstanceUID={A2}", [A, A2]),
        (f"StudyInstanceUID={B}", []),
        ("StudyDate=20260110", [A]),
        ("StudyDate=20260101-20261231", [A]),
        ("StudyDate=20260101-", [A]),
        ("StudyDate=-20251231", [A2]),
        ("StudyTime=10-11", [A]),
        ("StudyTime=0900", [A2]),
        ("ModalitiesInStudy=SR", [A]),
        ("ModalitiesInStudy=SR,MR", [A, A2]),
        ("ModalitiesInStudy=US", []),
        ("StudyDescription=*HEAD", [A2]),
        ("ReferringPhysicianName=house*", [A]),
        ("NumberOfStudyRelatedInstances=3", [A]),
        ("00081150=1.2.3", [A, A2]),
        ("limit=1", [A]),
        ("offset=1", [A2]),
        ("offset=5", []),
        ("limit=0", []),
        ("limit=101&offset=0&fuzzymatching=false&includefield=00081030%2C00080060&includefield=all", [A, A2]),
    ],
)
def test_studies_that_match(images: PretendImages, query: str, studies: list[str]) -> None:
    assert _uids(_search(images, f"studies?{query}")[0]) == studies


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1",
        "limit=ten",
        "limit=",
        "offset=%D9%A1",
        "fuzzymatching=yes",
        "StudyDate=2026-01-10",
        "StudyDate=-",
        "StudyTime=1",
        "StudyInstanceUID=1.2.",
        "StudyInstanceUID=..%2F1.2",
        "PatientID=1&PatientID=2",
        "%3Cscript%3E=1",
        "includefield=00-10",
        "PatientName=" + "a" * 1025,
        "x=" + "a" * 20000,
    ],
)
def test_a_query_that_breaks_its_syntax_is_refused(query: str) -> None:
    with pytest.raises(BadValue):
        _query(query)


def test_the_refusal_does_not_repeat_what_was_sent() -> None:
    with pytest.raises(BadValue) as fault:
        _query("PatientBirthDate=SECRET")
    assert "SECRET" not in str(fault.value) + fault.value.where


def test_what_is_not_done_is_told() -> None:
    warnings = _query("fuzzymatching=true&emptyvaluematching=true&PatientMotherBirthName=x").warnings
    assert [w.split()[1] for w in warnings] == ["fuzzymatching", "emptyvaluematching", "that"]


def test_a_limit_tells_how_many_more_there_are(images: PretendImages) -> None:
    assert _search(images, "studies?limit=1")[1] == 1


def test_a_study_answers_with_the_attributes_of_table_10_6_3_3(images: PretendImages) -> None:
    study = _search(images, f"studies?StudyInstanceUID={A}")[0][0]
    assert study == {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        "00080020": {"vr": "DA", "Value": ["20260110"]},
        "00080030": {"vr": "TM", "Value": ["101500"]},
        "00080050": {"vr": "SH", "Value": ["ACC1"]},
        "00080056": {"vr": "CS", "Value": ["ONLINE"]},
        "00080061": {"vr": "CS", "Value": ["CT", "SR"]},
        "00080090": {"vr": "PN", "Value": [{"Alphabetic": "HOUSE^GREG"}]},
        "00081030": {"vr": "LO", "Value": ["CT CHEST"]},
        "00081190": {"vr": "UR", "Value": [f"/dicom-web/studies/{A}"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "DOE^JANE"}]},
        "00100020": {"vr": "LO"},
        "00100021": {"vr": "LO", "Value": ["HOSP-A"]},
        "00100030": {"vr": "DA", "Value": ["19700101"]},
        "00100040": {"vr": "CS", "Value": ["F"]},
        "0020000D": {"vr": "UI", "Value": [A]},
        "00200010": {"vr": "SH", "Value": ["S1"]},
        "00201206": {"vr": "IS", "Value": [2]},
        "00201208": {"vr": "IS", "Value": [3]},
    }
    assert list(study) == sorted(study)


def test_an_empty_value_keeps_its_tag_and_vr(images: PretendImages) -> None:
    assert _search(images, f"studies?StudyInstanceUID={A2}")[0][0]["00080090"] == {"vr": "PN"}


@pytest.mark.parametrize(
    ("url", "series"),
    [
        (f"studies/{A}/series", [f"{A}.1", f"{A}.2"]),
        (f"studies/{A}/series?Modality=SR", [f"{A}.2"]),
        (f"studies/{A}/series?SeriesNumber=1", [f"{A}.1"]),
        (f"studies/{A}/series?AccessionNumber=ACC2", []),
        ("series", [f"{A}.1", f"{A}.2", f"{A2}.1"]),
        (f"series?StudyInstanceUID={A2}", [f"{A2}.1"]),
        (f"series?SeriesInstanceUID={B}.1", []),
        ("series?StudyDate=2026-", None),
    ],
)
def test_series_that_match(images: PretendImages, url: str, series: list[str] | None) -> None:
    if series is None:
        with pytest.raises(BadValue):
            _search(images, url)
    else:
        assert _uids(_search(images, url)[0], "0020000E") == series


def test_series_of_a_named_study_leave_the_patient_out(images: PretendImages) -> None:
    found = _search(images, f"studies/{A}/series?PatientID=MRN1")[0]
    assert len(found) == 2
    assert not any(tag.startswith("0010") for row in found for tag in row)


def test_series_of_all_studies_say_whose_they_are(images: PretendImages) -> None:
    assert all("00100010" in row for row in _search(images, "series")[0])


@pytest.mark.parametrize(
    ("url", "instances"),
    [
        (f"studies/{A}/instances", [f"{A}.1.1", f"{A}.1.2", f"{A}.2.1"]),
        (f"studies/{A}/instances?Modality=SR", [f"{A}.2.1"]),
        (f"studies/{A}/series/{A}.1/instances", [f"{A}.1.1", f"{A}.1.2"]),
        (f"studies/{A}/series/{A}.1/instances?InstanceNumber=2", [f"{A}.1.2"]),
        ("instances?limit=1&offset=1", [f"{A}.1.2"]),
        (f"instances?SOPInstanceUID={B}.1.1", []),
    ],
)
def test_instances_that_match(images: PretendImages, url: str, instances: list[str]) -> None:
    assert _uids(_search(images, url)[0], "00080018") == instances


def test_an_instance_has_its_place_and_size(images: PretendImages) -> None:
    found = _search(images, f"studies/{A}/series/{A}.1/instances")[0][0]
    assert (found["00280010"], found["00280008"]) == ({"vr": "US", "Value": [2]}, {"vr": "IS", "Value": [2]})
    assert found["00081190"]["Value"] == [f"/dicom-web/studies/{A}/series/{A}.1/instances/{A}.1.1"]


def test_what_is_no_image_has_no_rows(images: PretendImages) -> None:
    assert "00280010" not in _search(images, f"studies/{A}/series/{A}.2/instances")[0][0]


def test_a_series_of_another_study_is_not_found(images: PretendImages) -> None:
    with pytest.raises(NotFound):
        _search(images, f"studies/{A}/series/{B}.1/instances?Modality=XX")


def test_a_study_outside_the_session_is_refused(images: PretendImages) -> None:
    with pytest.raises(NotAllowed):
        _search(images, f"studies/{B}/series")


def test_a_study_without_images_has_no_instances(images: PretendImages) -> None:
    images.tree[A2].clear()
    assert _search(images, f"studies/{A2}/instances")[0] == []
