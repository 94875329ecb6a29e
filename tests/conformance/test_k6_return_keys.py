"""PS3.4 K.6.1.2.2 and Table K.6-1: an answer holds what was asked for, by its type, and nothing else; nested too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from bridge.dicom.model import STEP, TOP
from bridge.domain.coding import Code
from bridge.domain.identity import Identifier
from tests.unit.dicom.support import MWL, FakeServices, asking, serving
from tests.unit.dicom.worklist_cases import FULL


@pytest.fixture
def services() -> FakeServices:
    found = FakeServices()
    found.worklist.entries = [replace(FULL, zone=ZoneInfo("Europe/Berlin"))]
    return found


@pytest.fixture
def modality(tmp_path: Path, services: FakeServices) -> Iterator[Association]:
    with serving(tmp_path, services) as server, asking(server) as one:
        yield one


def only(modality: Association, request: Dataset) -> Dataset:
    (found,) = [data for _, data in modality.send_c_find(request, MWL) if data is not None]
    return found


def tags(data: Dataset) -> set[int]:
    return {int(element.tag) for element in data}


def wanting(*tags: int, step: tuple[int, ...] = ()) -> Dataset:
    request = Dataset()
    for rows, asked, data in ((TOP, tags, request), (STEP, step, Dataset())):
        for tag in asked:
            data.add_new(tag, rows[tag].vr, [] if rows[tag].vr == "SQ" else None)
        if data is not request and step:
            request.ScheduledProcedureStepSequence = [data]
    return request


def test_everything_that_is_known_comes_when_it_is_asked_for(modality: Association) -> None:
    found = only(modality, wanting(*TOP, step=tuple(STEP)))
    (step,) = found.ScheduledProcedureStepSequence
    for rows, data in ((TOP, found), (STEP, step)):
        assert {tag for tag, row in rows.items() if row.name} <= tags(data)
        assert tags(data) <= {*rows, 0x00080005, 0x00400100}


@pytest.mark.parametrize("tag", [*TOP], ids=keyword_for_tag)
def test_nothing_comes_that_was_not_asked_for(modality: Association, tag: int) -> None:
    found = only(modality, wanting(tag))
    assert tags(found) - {0x00080005} <= {tag}


def test_an_answer_of_which_nothing_is_known_is_an_answer(modality: Association) -> None:
    """Without any attribute it would be none on the wire, and the entry lost."""
    assert [element.keyword for element in only(modality, wanting(0x00080020))] == ["SpecificCharacterSet"]


@pytest.mark.parametrize(
    "tag", [tag for tag, row in (TOP | STEP).items() if row.required and not row.name], ids=keyword_for_tag
)
def test_a_type_2_attribute_that_is_not_known_comes_empty(modality: Association, tag: int) -> None:
    request = wanting(tag) if tag in TOP else wanting(step=(tag,))
    found = only(modality, request)
    data = found if tag in TOP else found.ScheduledProcedureStepSequence[0]
    assert not data[tag].value


@pytest.mark.parametrize("tag", [tag for tag, row in (TOP | STEP).items() if not row.told], ids=keyword_for_tag)
def test_a_type_3_or_1c_attribute_that_is_not_known_stays_out(modality: Association, tag: int) -> None:
    request = wanting(tag) if tag in TOP else wanting(step=(tag,))
    found = only(modality, request)
    assert tag not in (found if tag in TOP else found.ScheduledProcedureStepSequence[0])


def test_the_zone_comes_only_when_it_is_asked_for(modality: Association) -> None:
    assert only(modality, wanting(0x00080201)).TimezoneOffsetFromUTC == "+0100"
    assert "TimezoneOffsetFromUTC" not in only(modality, wanting(0x00100010))


def test_an_item_that_names_attributes_gets_these_alone_nested_too(
    modality: Association, services: FakeServices
) -> None:
    request = Dataset()
    qualifiers, other = Dataset(), Dataset()
    qualifiers.UniversalEntityID = ""
    other.PatientID, other.IssuerOfPatientIDQualifiersSequence = "", [qualifiers]
    request.OtherPatientIDsSequence = [other]
    services.worklist.entries = [replace(FULL, other_patient_ids=(Identifier("77", "hospital"),))]
    (item,) = only(modality, request).OtherPatientIDsSequence
    assert [element.keyword for element in item] == ["PatientID", "IssuerOfPatientIDQualifiersSequence"]
    assert [element.keyword for element in item.IssuerOfPatientIDQualifiersSequence[0]] == ["UniversalEntityID"]


@pytest.mark.parametrize("items", [[], [Dataset()]], ids=["no item", "an empty item"])
def test_an_item_that_names_nothing_gets_the_whole(modality: Association, items: Any) -> None:
    request, step = Dataset(), Dataset()
    step.ScheduledProtocolCodeSequence = items
    request.ScheduledProcedureStepSequence = [step]
    codes = only(modality, request).ScheduledProcedureStepSequence[0].ScheduledProtocolCodeSequence
    told = [(code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning) for code in codes]
    assert told == [("P1", "99LOCAL", "Native"), ("P2", "99LOCAL", "Contrast")]


def test_a_key_in_an_item_narrows_the_entries_and_not_the_items(modality: Association) -> None:
    request, step, code = Dataset(), Dataset(), Dataset()
    code.CodeValue = "P2"
    step.ScheduledProtocolCodeSequence = [code]
    request.ScheduledProcedureStepSequence = [step]
    codes = only(modality, request).ScheduledProcedureStepSequence[0].ScheduledProtocolCodeSequence
    assert [code.CodeValue for code in codes] == ["P1", "P2"]


def test_who_asks_for_a_code_gets_a_long_one_too(modality: Association, services: FakeServices) -> None:
    services.worklist.entries = [replace(FULL, requested_procedure_code=Code("C" * 20, "99L", "x"))]
    request, code = Dataset(), Dataset()
    code.CodeValue = ""
    request.RequestedProcedureCodeSequence = [code]
    (item,) = only(modality, request).RequestedProcedureCodeSequence
    assert [(element.keyword, element.value) for element in item] == [("LongCodeValue", "C" * 20)]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "CT HEAD"),
        ({"requested_procedure_description": ""}, "CT head"),
        ({"requested_procedure_description": "", "requested_procedure_code": Code("CTH", "99L")}, "CTH"),
        ({"requested_procedure_description": "", "requested_procedure_code": None}, "HEAD NATIVE"),
        (
            {"requested_procedure_description": "", "requested_procedure_code": None, "step_description": ""},
            "RP1",
        ),
    ],
)
def test_an_exam_is_told_in_words_or_as_a_code_at_least(
    modality: Association, services: FakeServices, changes: dict[str, Any], told: str
) -> None:
    services.worklist.entries = [replace(FULL, **changes)]
    request = Dataset()
    request.RequestedProcedureDescription = ""
    assert only(modality, request).RequestedProcedureDescription == told
    request.RequestedProcedureDescription = told
    assert only(modality, request).RequestedProcedureDescription == told  # and found by it


def test_group_lengths_levels_and_private_elements_are_passed_over(modality: Association) -> None:
    request = Dataset()
    request.PatientName, request.QueryRetrieveLevel = "", "PATIENT"
    request.StudyDescription = request.StudyID = request.PatientSpeciesDescription = ""
    request.add_new(0x00100000, "UL", 4)
    request.add_new(0x00090010, "LO", "ACME")
    request.add_new(0x00091001, "LO", "X")
    request.add_new(0x0032000A, "CS", "SCHEDULED")
    answers = list(modality.send_c_find(request, MWL))
    assert [status.Status for status, _ in answers] == [0xFF00, 0]
    assert [element.keyword for element in answers[0][1] or ()] == ["SpecificCharacterSet", "PatientName"]
