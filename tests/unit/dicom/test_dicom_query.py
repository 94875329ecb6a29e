"""C-FIND identifiers as keys, and answers of the shape that was asked."""

from __future__ import annotations

from dataclasses import fields
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset

from bridge.dicom.fitting import MOST
from bridge.dicom.header import read_data_set
from bridge.dicom.model import STEP, TOP
from bridge.dicom.query import read_query, response
from bridge.domain.coding import Code
from bridge.domain.identity import Issuer, Issuers
from bridge.domain.patient import PersonName
from bridge.domain.told import told
from bridge.domain.worklist import WorklistKeys
from bridge.errors import BadValue, BridgeError
from tests.unit.dicom.support import encoded, entry

ISSUERS = Issuers([Issuer("hospital", "HOSP", "1.2.3.4", "ISO"), Issuer("national", "NAT")])
WHOLE_STEP = {tag for tag, row in STEP.items() if row.told}
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"


def query(step: dict[str, Any] | None = None, **top: Any) -> Dataset:
    data = Dataset()
    for keyword, value in top.items():
        setattr(data, keyword, value)
    if step is not None:
        item = Dataset()
        for keyword, value in step.items():
            setattr(item, keyword, value)
        data.ScheduledProcedureStepSequence = [item]
    return data


def over_the_wire(data: Dataset) -> Dataset:
    return read_data_set(encoded(data, implicit=True), IMPLICIT)


def keys(step: dict[str, Any] | None = None, **top: Any) -> WorklistKeys:
    return read_query(over_the_wire(query(step, **top)), ISSUERS).keys


def answer(
    step: dict[str, Any] | None = None, character_set: str = "ISO_IR 192", of: Any = None, **top: Any
) -> Dataset:
    return over_the_wire(response(of or entry(), over_the_wire(query(step, **top)), character_set, ISSUERS))


# Keys


def test_an_empty_request_asks_for_everything() -> None:
    assert keys() == WorklistKeys()


def test_every_key_of_the_model_is_read() -> None:
    found = keys(
        {"ScheduledStationAETitle": "CT1", "Modality": "CT", "ScheduledProcedureStepID": "S1"},
        PatientName="DOE*",
        PatientID="P1",
        AccessionNumber="A1",
        RequestedProcedureID="R1",
    )
    assert (found.station_ae_title, found.modality, found.step_id) == ("CT1", "CT", "S1")
    assert (found.patient_name, found.patient_id, found.accession_number, found.requested_procedure_id) == (
        *("DOE*", "P1", "A1", "R1"),
    )


def test_a_padded_station_ae_title_is_stripped() -> None:
    assert keys({"ScheduledStationAETitle": "  CT1  "}).station_ae_title == "CT1"


@pytest.mark.parametrize(
    ("keyword", "longest"),
    [("PatientName", 776), ("PatientID", 256), ("AccessionNumber", 64), ("PatientSex", 64), ("PatientBirthDate", 64)],
)
def test_a_key_longer_than_any_value_is_refused_by_its_tag(keyword: str, longest: int) -> None:
    with pytest.raises(BadValue, match="longer") as refused:
        keys(**{keyword: "1" * (longest + 1)})
    tag = tag_for_keyword(keyword) or 0
    assert refused.value.where == f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def test_a_step_key_longer_than_any_value_is_refused() -> None:
    with pytest.raises(BadValue, match="longer"):
        keys({"ScheduledStationAETitle": "A" * 65})


def test_a_key_with_a_wild_card_for_each_letter_is_read() -> None:
    assert keys(PatientID="?*" * 128).patient_id == "?*" * 128


def test_a_list_of_a_thousand_studies_is_read() -> None:
    uids = [f"1.2.840.10008.{n}" for n in range(1000)]
    assert len(keys(StudyInstanceUID=uids).study_instance_uids) == 1000


def test_an_issuer_of_patient_id_is_read_under_its_canonical_name() -> None:
    assert keys(IssuerOfPatientID="HOSP").patient_issuer == "hospital"


def test_a_list_of_study_uids_is_several_keys() -> None:
    assert keys(StudyInstanceUID="1.2.3\\1.2.4").study_instance_uids == ("1.2.3", "1.2.4")


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("20250301", "20250301"),
        ("20250301-20250303", "20250301-20250303"),
        ("20250301-", "20250301-"),
        ("-20250303", "-20250303"),
        ("2006.07.05", "20060705"),
        ("2006.07.05-2006.07.08", "20060705-20060708"),
        ("*", ""),
    ],
)
def test_dates_and_ranges(sent: str, read: str) -> None:
    assert keys({"ScheduledProcedureStepStartDate": sent}).start_date == read


@pytest.mark.parametrize("sent", ["-", "2025-03-01", "today", "20251301", "20250301-20250302-20250303", "202503"])
def test_a_malformed_date_is_refused(sent: str) -> None:
    with pytest.raises(BadValue) as refused:
        keys({"ScheduledProcedureStepStartDate": sent})
    assert refused.value.where == "(0040,0002)"


@pytest.mark.parametrize(
    ("sent", "read"), [("10", "10"), ("1030-", "1030-"), ("10:30:00", "103000"), ("0000-2400", "0000-235959")]
)
def test_times_and_ranges(sent: str, read: str) -> None:
    assert keys({"ScheduledProcedureStepStartTime": sent}).start_time == read


def test_two_items_in_the_step_sequence_are_refused() -> None:
    data = query()
    data.ScheduledProcedureStepSequence = [Dataset(), Dataset()]
    with pytest.raises(BadValue) as refused:
        read_query(over_the_wire(data), ISSUERS)
    assert refused.value.where == "(0040,0100)"


def test_a_key_is_read_by_the_character_set_of_the_query() -> None:
    data = query(SpecificCharacterSet="ISO_IR 192", PatientName="*ü*")
    assert read_query(over_the_wire(data), ISSUERS).keys.patient_name == "*ü*"


def test_a_latin_1_key_is_read_as_latin_1() -> None:
    data = query(SpecificCharacterSet="ISO_IR 100", PatientName="MÜLLER*")
    assert read_query(over_the_wire(data), ISSUERS).keys.patient_name == "MÜLLER*"


def test_a_japanese_query_with_code_extensions_is_read() -> None:
    data = query(SpecificCharacterSet=["ISO 2022 IR 6", "ISO 2022 IR 87"], PatientName="=山田*")
    assert read_query(over_the_wire(data), ISSUERS).keys.patient_name == "=山田*"


def test_a_key_that_is_not_in_its_character_set_is_refused() -> None:
    raw = encoded(query(SpecificCharacterSet="ISO_IR 192"), implicit=True)
    raw += bytes.fromhex("1000100004000000") + b"\xff\xfe\xfd "
    with pytest.raises(BadValue):
        read_query(read_data_set(raw, IMPLICIT), ISSUERS)


def test_an_unmatched_optional_key_with_a_value_warns() -> None:
    assert read_query(over_the_wire(query(SpecialNeeds="WHEELCHAIR")), ISSUERS).warn


def test_an_empty_optional_key_does_not_warn() -> None:
    assert not read_query(over_the_wire(query(SpecialNeeds="")), ISSUERS).warn


def test_a_meaning_inside_a_code_key_warns_for_it_is_no_key() -> None:
    code = Dataset()
    code.CodeMeaning = "CT head"
    assert read_query(over_the_wire(query(RequestedProcedureCodeSequence=[code])), ISSUERS).warn


def test_a_query_retrieve_level_is_ignored() -> None:
    read = read_query(over_the_wire(query(QueryRetrieveLevel="STUDY")), ISSUERS)
    assert (read.keys, read.warn) == (WorklistKeys(), False)


def test_private_and_unknown_elements_are_ignored() -> None:
    data = query(StudyDescription="HEAD", PatientName="")
    data.add_new(0x00090010, "LO", "ACME")
    data.add_new(0x00091001, "LO", "SECRET")
    read = read_query(over_the_wire(data), ISSUERS)
    assert (read.keys, read.warn) == (WorklistKeys(), False)


# Answers


def test_an_answer_holds_what_was_asked_and_nothing_else() -> None:
    found = answer(PatientName="DOE*", PatientID="")
    assert sorted(element.keyword for element in found) == ["PatientID", "PatientName"]


def test_a_matching_key_is_answered_with_the_stored_value() -> None:
    assert answer(PatientName="DOE*").PatientName == "DOE^JANE^Q"


def test_an_unknown_type_2_attribute_comes_back_empty() -> None:
    found = answer(PatientState="", ReferencedStudySequence=[])
    assert found.PatientState == "" and len(found.ReferencedStudySequence) == 0


def test_an_unknown_type_3_attribute_is_left_out() -> None:
    assert "PatientSize" not in answer(of=entry(patient_size_m=""), PatientSize="")


def test_attributes_outside_of_the_model_are_not_answered() -> None:
    found = answer(StudyDescription="", SeriesDescription="", PatientSpeciesDescription="")
    assert [element.keyword for element in found] == ["SpecificCharacterSet"]


def test_a_step_sequence_without_items_asks_for_the_whole_step() -> None:
    data = query()
    data.ScheduledProcedureStepSequence = []
    found = over_the_wire(response(entry(), over_the_wire(data), "", ISSUERS))
    assert set(found.ScheduledProcedureStepSequence[0].keys()) == WHOLE_STEP


def test_a_step_sequence_with_an_empty_item_asks_for_the_whole_step() -> None:
    assert set(answer({}).ScheduledProcedureStepSequence[0].keys()) == WHOLE_STEP


def test_a_step_item_with_attributes_asks_for_these_only() -> None:
    (item,) = answer({"Modality": "", "ScheduledProcedureStepID": ""}).ScheduledProcedureStepSequence
    assert sorted(element.keyword for element in item) == ["Modality", "ScheduledProcedureStepID"]


def test_an_answer_without_step_sequence_when_none_was_asked() -> None:
    assert "ScheduledProcedureStepSequence" not in answer(AccessionNumber="ACC1")


def test_a_code_sequence_is_narrowed_to_what_its_item_names() -> None:
    code = Dataset()
    code.CodeValue = ""
    (item,) = answer(RequestedProcedureCodeSequence=[code]).RequestedProcedureCodeSequence
    assert [element.keyword for element in item] == ["CodeValue"]


def test_a_code_sequence_asked_with_an_empty_item_comes_whole() -> None:
    (item,) = answer(RequestedProcedureCodeSequence=[Dataset()]).RequestedProcedureCodeSequence
    assert (item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning) == ("CTH", "99LOCAL", "CT head")


def test_every_station_of_a_step_is_answered() -> None:
    (item,) = answer({"ScheduledStationAETitle": ""}).ScheduledProcedureStepSequence
    assert list(item.ScheduledStationAETitle) == ["CT1", "CT2"]


def test_the_step_status_is_scheduled_when_nothing_else_is_known() -> None:
    (item,) = answer({"ScheduledProcedureStepStatus": ""}, of=entry(step_status="")).ScheduledProcedureStepSequence
    assert item.ScheduledProcedureStepStatus == "SCHEDULED"


def test_weight_and_pregnancy_are_numbers() -> None:
    found = answer(PatientWeight="", PregnancyStatus=None)
    assert (float(found.PatientWeight), found.PregnancyStatus) == (71.5, 4)


def test_a_weight_that_is_no_number_comes_back_empty() -> None:
    assert answer(of=entry(patient_weight_kg="heavy"), PatientWeight="").PatientWeight is None


def test_issuers_are_told_under_the_names_of_dicom() -> None:
    found = answer(IssuerOfPatientID="", IssuerOfAccessionNumberSequence=[])
    item = found.IssuerOfAccessionNumberSequence[0]
    assert found.IssuerOfPatientID == "HOSP"
    assert (item.LocalNamespaceEntityID, item.UniversalEntityID, item.UniversalEntityIDType) == (
        "HOSP",
        "1.2.3.4",
        "ISO",
    )


def test_a_backslash_in_a_description_does_not_become_two_values() -> None:
    found = answer(of=entry(requested_procedure_description="HEAD\\NECK"), RequestedProcedureDescription="")
    assert found.RequestedProcedureDescription == "HEAD/NECK"


@pytest.mark.parametrize(("date", "offset"), [("20250301", "+0100"), ("20250701", "+0200")])
def test_the_zone_is_that_of_the_entrys_own_day(date: str, offset: str) -> None:
    found = answer(of=entry(start_date=date, zone=ZoneInfo("Europe/Berlin")), TimezoneOffsetFromUTC="")
    assert found.TimezoneOffsetFromUTC == offset


def test_a_zone_west_of_utc_has_a_minus() -> None:
    found = answer(of=entry(zone=ZoneInfo("America/St_Johns")), TimezoneOffsetFromUTC="")
    assert found.TimezoneOffsetFromUTC == "-0330"


@pytest.mark.parametrize("changes", [{"zone": None}, {"zone": ZoneInfo("UTC"), "start_date": ""}], ids=["zone", "day"])
def test_a_zone_that_is_not_known_is_left_out_never_empty(changes: dict[str, Any]) -> None:
    assert "TimezoneOffsetFromUTC" not in answer(of=entry(**changes), TimezoneOffsetFromUTC="")


def test_a_zone_that_was_not_asked_for_is_not_told() -> None:
    assert "TimezoneOffsetFromUTC" not in answer(of=entry(zone=ZoneInfo("UTC")), PatientName="")


def test_a_pre_medication_and_a_contrast_agent_are_answered_empty() -> None:
    (item,) = answer({"PreMedication": "", "RequestedContrastAgent": ""}).ScheduledProcedureStepSequence
    assert (item.PreMedication, item.RequestedContrastAgent) == ("", "")


# Character sets

MUELLER = PersonName("MÜLLER^JÜRGEN")
YAMADA = PersonName("Yamada^Tarou", "山田^太郎", "やまだ^たろう")


def test_ascii_needs_no_character_set() -> None:
    assert "SpecificCharacterSet" not in answer(PatientName="")


def test_the_character_set_is_told_when_it_was_asked() -> None:
    assert answer(PatientName="", SpecificCharacterSet="").SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize("peer", ["ISO_IR 192", "ISO_IR 100"])
def test_an_umlaut_is_told_in_the_peers_character_set(peer: str) -> None:
    found = answer(character_set=peer, of=entry(patient_name=MUELLER), PatientName="")
    assert (found.SpecificCharacterSet, str(found.PatientName)) == (peer, "MÜLLER^JÜRGEN")


def test_japanese_is_told_with_code_extensions() -> None:
    found = answer(character_set="\\ISO 2022 IR 87", of=entry(patient_name=YAMADA), PatientName="")
    assert str(found.PatientName) == YAMADA.dicom


def test_a_latin_1_peer_gets_the_alphabetic_group_of_a_japanese_name() -> None:
    found = answer(
        character_set="ISO_IR 100", of=entry(patient_name=YAMADA, step_description="Schädel"), PatientName=""
    )
    assert str(found.PatientName) == "Yamada^Tarou"


def test_what_no_character_set_of_the_peer_can_tell_comes_in_utf_8() -> None:
    found = answer(character_set="ISO_IR 100", of=entry(patient_name=PersonName("Иванов^Иван")), PatientName="")
    assert (found.SpecificCharacterSet, str(found.PatientName)) == ("ISO_IR 192", "Иванов^Иван")


def test_an_unknown_character_set_of_a_peer_falls_back_to_utf_8() -> None:
    found = answer(character_set="KLINGON", of=entry(patient_name=MUELLER), PatientName="")
    assert (found.SpecificCharacterSet, str(found.PatientName)) == ("ISO_IR 192", "MÜLLER^JÜRGEN")


def test_a_peer_that_reads_ascii_only_still_gets_the_umlaut() -> None:
    found = answer(character_set="ISO_IR 6", of=entry(patient_name=MUELLER), PatientName="")
    assert str(found.PatientName) == "MÜLLER^JÜRGEN"


# Any input

SETS = st.sampled_from(
    [
        "",
        "ISO_IR 6",
        "ISO_IR 100",
        "ISO_IR 144",
        "ISO_IR 192",
        "GB18030",
        "\\ISO 2022 IR 87",
        "ISO 2022 IR 6\\ISO 2022 IR 149",
    ]
)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
NAMES = st.builds(
    PersonName, *[WORDS.map(lambda s: s.replace("=", "").replace("\\", "").replace("^", "")) for _ in "123"]
)


@given(SETS, NAMES, WORDS)
def test_no_answer_ever_holds_a_question_mark_that_was_not_there(
    character_set: str, name: PersonName, description: str
) -> None:
    shown = entry(patient_name=name, requested_procedure_description=description)
    found = answer(character_set=character_set, of=shown, PatientName="", RequestedProcedureDescription="")
    text = f"{found.PatientName}{found.get('RequestedProcedureDescription', '')}"
    assert text.count("?") <= f"{name.dicom}{description}".count("?")
    assert "\ufffd" not in text or "\ufffd" in f"{name.dicom}{description}"


TAGS = st.sampled_from([*TOP, 0x00080005, 0x00080052, 0x00081030, 0x00400100])
RAW = st.lists(st.tuples(TAGS, st.binary(max_size=24).map(lambda b: b + b"\0" * (len(b) % 2))), max_size=8)


@given(RAW)
def test_any_bytes_as_keys_are_read_or_refused_and_never_crash(elements: list[tuple[int, bytes]]) -> None:
    raw = b"".join(
        (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little") + len(v).to_bytes(4, "little") + v
        for tag, v in sorted(dict(elements).items())
    )
    try:
        request = read_data_set(raw, IMPLICIT)
        read_query(request, ISSUERS)
    except BridgeError:
        return
    encoded(response(entry(), request, "ISO_IR 100", ISSUERS))


@given(st.lists(st.sampled_from([*TOP, *STEP]), unique=True))
def test_an_answer_never_holds_more_than_was_asked(tags: list[int]) -> None:
    asked = Dataset()
    for tag in tags:
        vr = (TOP.get(tag) or STEP[tag]).vr
        asked.add_new(tag, vr, [] if vr == "SQ" else None)
    found = response(entry(protocol_codes=(Code("A", "B", "C"),)), asked, "ISO_IR 192", ISSUERS)
    assert set(found.keys()) <= {*tags, 0x00080005}


# Values longer than their VR


@pytest.mark.parametrize(
    ("keyword", "field", "sent", "told_as"),
    [
        ("PatientID", "patient_id", "9" * 70, told("9" * 70)),
        ("AdmissionID", "admission_id", "9" * 70, told("9" * 70)),
        ("PlacerOrderNumberImagingServiceRequest", "placer_order_number", "9" * 70, told("9" * 70)),
        ("RequestedProcedureDescription", "requested_procedure_description", "D" * 80, "D" * 61 + "..."),
        ("ReasonForTheRequestedProcedure", "reason", "R" * 90, "R" * 61 + "..."),
        ("PatientTransportArrangements", "transport", "T" * 70, "T" * 61 + "..."),
        ("PatientName", "patient_name", PersonName("F" * 70 + "^G"), "F" * 61 + "..."),
        ("PatientName", "patient_name", PersonName("F" * 60 + "^G", "山" * 64), "F" * 60 + "^G=" + "山" * 64),
    ],
)
def test_what_is_too_long_is_told_by_an_alias_or_visibly_shortened(
    keyword: str, field: str, sent: Any, told_as: str
) -> None:
    assert str(getattr(answer(of=entry(**{field: sent}), **{keyword: None}), keyword)) == told_as


@pytest.mark.parametrize(
    ("keyword", "field"),
    [("ScheduledStationName", "station_name"), ("ScheduledProcedureStepLocation", "step_location")],
)
def test_words_of_the_step_are_shortened_too(keyword: str, field: str) -> None:
    step = answer({keyword: None}, of=entry(**{field: "ROOM " * 5})).ScheduledProcedureStepSequence[0]
    assert step[keyword].value == "ROOM ROOM ROO..."


def code_told(code: Code) -> Dataset:
    (item,) = answer(of=entry(requested_procedure_code=code), RequestedProcedureCodeSequence=[]).get(
        "RequestedProcedureCodeSequence"
    )
    return item  # type: ignore[no-any-return]


def test_a_code_over_16_characters_is_a_long_code_value() -> None:
    item = code_told(Code("C" * 24, "L", "M" * 70))
    assert ("CodeValue" in item, item.LongCodeValue) == (False, "C" * 24)
    assert item.CodeMeaning == "M" * 61 + "..."


def test_a_code_that_is_a_urn_is_told_as_one() -> None:
    item = code_told(Code("urn:oid:1.2.3", "", "Chest"))
    assert ("CodeValue" in item, item.URNCodeValue) == (False, "urn:oid:1.2.3")


def test_a_scheme_over_16_characters_is_told_by_the_alias_of_a_local_one() -> None:
    one, other = (code_told(Code("C1", scheme, "x")).CodingSchemeDesignator for scheme in ("S" * 23, "S" * 24))
    assert len(one) == 16 and one.startswith("99") and one != other


def test_an_answer_for_any_lengths_holds_what_its_vr_can() -> None:
    words = {f.name: "W" * 300 for f in fields(entry()) if isinstance(getattr(entry(), f.name), str)}
    found = answer({}, of=entry(**words), **{keyword_for_tag(tag): None for tag in TOP if TOP[tag].vr != "SQ"})
    for element in found.iterall():
        if element.VR in MOST:
            assert all(len(value) <= MOST[element.VR] for value in str(element.value).split("\\")), element.keyword


def test_the_authorities_of_the_order_numbers_are_told_when_asked_for() -> None:
    of = entry(placer_order_number="P1", placer_issuer="hospital", filler_order_number="F1", filler_issuer="national")
    found = answer(of=of, OrderPlacerIdentifierSequence=[], OrderFillerIdentifierSequence=[])
    placer, filler = found.OrderPlacerIdentifierSequence[0], found.OrderFillerIdentifierSequence[0]
    assert (placer.LocalNamespaceEntityID, placer.UniversalEntityID) == ("HOSP", "1.2.3.4")
    assert filler.LocalNamespaceEntityID == "NAT"


def test_department_and_class_of_patient_are_told_when_asked_for() -> None:
    found = answer(
        of=entry(department="NEURO", patient_class="I"), InstitutionalDepartmentName=None, RouteOfAdmissions=None
    )
    assert (found.InstitutionalDepartmentName, found.RouteOfAdmissions) == ("NEURO", "I")
