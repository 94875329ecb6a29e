"""Order status and the filler's answers as they leave (HL7 v2 4.5.1; hl7-to-mwl section 8)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.config import Destination
from bridge.domain.coding import Code
from bridge.domain.identity import Identifier, Issuer, Issuers
from bridge.domain.patient import PersonName
from bridge.errors import BadValue
from bridge.hl7.conformance import remarks
from bridge.hl7.message import Message
from bridge.hl7.write import CONTROL, FORMS, write_telling
from bridge.workflow.notifying import UNASKED, Telling, ToldProcedure

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
ISSUERS = Issuers([Issuer("ris", "RIS", "1.2.3.4", "ISO")])
PROCEDURE = ToldProcedure("RP1", "1.2.3", Code("CTCHEST", "L", "CT chest"), "CT of the chest", "CT", ("S1", "S2"))
TELLING = Telling(
    "started", NOON, "", Identifier("P1", "ris"), Identifier("F1", "ris"), Identifier("A1", "ris"),
    (Identifier("1001", "HOSP", "MR"),), PersonName("DOE^JANE^Q^Dr^Jr"), "19800101", "F", (PROCEDURE,),
)  # fmt: skip
EVENTS = tuple(CONTROL)


def write(telling: Telling = TELLING, **settings: Any) -> bytes:
    destination = Destination(name="placer", port=1, **settings)
    return write_telling(telling, destination, ISSUERS, ZoneInfo("Europe/Paris"), control_id="C1", now=NOON)


def message(telling: Telling = TELLING, **settings: Any) -> Message:
    return Message.read(write(telling, **settings))


def told(event: str, **changes: Any) -> Telling:
    answers = "" if event in UNASKED else "M7"
    return replace(TELLING, event=event, answers=answers, **changes)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("event", EVENTS)
def test_every_message_keeps_to_the_structure_of_its_version(form: Any, event: str) -> None:
    assert remarks(write(told(event), message=form)) == []


@pytest.mark.parametrize(("event", "status"), [("started", "IP"), ("completed", "CM"), ("discontinued", "DC")])
def test_a_status_is_sc_with_the_orders_status(event: str, status: str) -> None:
    group = message(told(event)).order_groups()[0]
    assert (group.get("ORC", 1), group.get("ORC", 5)) == ("SC", status)


@pytest.mark.parametrize(
    ("event", "control", "status"),
    [
        ("stopped", "DR", "DC"), ("stop-refused", "UD", ""), ("held", "HR", "HD"), ("hold-refused", "UH", ""),
        ("released", "OR", ""), ("release-refused", "UR", ""), ("replaced", "RQ", "RP"), ("replace-refused", "UM", ""),
        ("changed", "XR", ""), ("change-refused", "UX", ""), ("numbered", "XX", ""),
    ],
)  # fmt: skip
def test_each_request_of_a_placer_has_an_answer_of_its_own(event: str, control: str, status: str) -> None:
    group = message(told(event)).order_groups()[0]
    assert (group.get("ORC", 1), group.get("ORC", 5)) == (control, status)


def test_a_status_that_was_asked_for_is_the_orders() -> None:
    group = message(told("status", status="IP")).order_groups()[0]
    assert (group.get("ORC", 1), group.get("ORC", 5)) == ("SR", "IP")


def test_a_receiver_that_knows_discontinued_as_cd_gets_cd() -> None:
    assert message(told("discontinued"), discontinued_status="CD").order_groups()[0].get("ORC", 5) == "CD"


@pytest.mark.parametrize(("event", "control"), [("accepted", "OK"), ("cancelled", "CR"), ("cancel-refused", "UC")])
def test_an_answer_names_the_message_that_it_answers(event: str, control: str) -> None:
    answer = message(told(event))
    assert answer.order_groups()[0].get("ORC", 1) == control
    assert b"\rMSA|AA|M7\r" in write(told(event))


@pytest.mark.parametrize(
    ("form", "status", "answer"),
    [("ORM^O01", "ORM^O01", "ORR^O02"), ("OMG^O19", "OMG^O19", "ORG^O20"), ("OMI^O23", "OMI^O23", "ORI^O24")],
)
def test_each_form_has_its_status_message_and_its_answer(form: Any, status: str, answer: str) -> None:
    for telling, name in ((TELLING, status), (told("accepted"), answer)):
        found = message(telling, message=form)
        assert f"{found.message_code}^{found.trigger_event}" == name


def test_the_order_keeps_its_numbers_and_their_issuers() -> None:
    group = message().order_groups()[0]
    for field in (2, 3):
        assert [group.get("ORC", field, c) for c in (1, 2, 3, 4)] == [f"{'PF'[field - 2]}1", "RIS", "1.2.3.4", "ISO"]
        assert group.get("OBR", field) == group.get("ORC", field)
    assert [group.get("OBR", f) for f in (18, 19, 20)] == ["A1", "RP1", "S1"]
    assert [group.get("OBR", 4, c) for c in (1, 2, 3)] == ["CTCHEST", "CT chest", "L"]


def test_the_study_instance_uid_goes_in_zds_or_ipc() -> None:
    assert message().order_groups()[0].get("ZDS", 1) == "1.2.3"
    steps = message(message="OMI^O23").order_groups()[0].segments("IPC")
    assert [(s.get(1), s.get(2), s.get(3), s.get(4)) for s in steps] == [
        ("A1", "RP1", "1.2.3", "S1"),
        ("A1", "RP1", "1.2.3", "S2"),
    ]


def test_times_are_the_sites_wall_clock_with_its_offset() -> None:
    assert message().order_groups()[0].get("ORC", 9) == "20261125130000+0100"
    assert message().timestamp == "20261125130000+0100"


def test_the_destination_is_addressed_by_its_settings() -> None:
    found = message(
        sending_application="BR", sending_facility="RAD", receiving_application="EHR", receiving_facility="H|1"
    )
    assert [
        found.sending_application, found.sending_facility, found.receiving_application, found.receiving_facility,
    ] == ["BR", "RAD", "EHR", "H|1"]  # fmt: skip


def test_a_name_with_three_writings_is_three_repetitions() -> None:
    name = PersonName("YAMADA^TARO", "山田^太郎", "やまだ^たろう")
    found = message(replace(TELLING, patient_name=name)).repetitions("PID", 5)
    assert [(r.get(1), r.get(2), r.get(8)) for r in found] == [
        ("YAMADA", "TARO", "A"),
        ("山田", "太郎", "I"),
        ("やまだ", "たろう", "P"),
    ]


def test_prefix_and_suffix_change_places_between_dicom_and_hl7() -> None:
    (found,) = message().repetitions("PID", 5)
    assert [found.get(n) for n in range(1, 6)] == ["DOE", "JANE", "Q", "Jr", "Dr"]


def test_a_patient_without_a_name_does_not_stop_the_status_of_the_order() -> None:
    found = message(replace(TELLING, patient_name=PersonName()))
    assert not found.segments("PID")
    assert found.order_groups()[0].get("ORC", 2) == "P1"


def test_a_procedure_without_a_code_is_named_by_its_text() -> None:
    procedure = replace(PROCEDURE, code=None)
    found = message(replace(TELLING, procedures=(procedure,))).order_groups()[0]
    assert (found.get("OBR", 4, 1), found.get("OBR", 4, 2)) == ("", "CT of the chest")


def test_two_procedures_are_two_order_groups() -> None:
    both = (PROCEDURE, replace(PROCEDURE, procedure_id="RP2", study_instance_uid="1.2.4"))
    for form in ("ORM^O01", "OMG^O19", "OMI^O23"):
        groups = message(replace(TELLING, procedures=both), message=form).order_groups()
        assert [g.get("OBR", 19) for g in groups] == ["RP1", "RP2"]


@pytest.mark.parametrize(("charset", "name"), [("8859/1", "MÜLLER^JÖRG"), ("8859/5", "ИВАНОВ^ИВАН")])
def test_the_bytes_are_in_the_destinations_character_set_and_say_so(charset: Any, name: str) -> None:
    found = message(replace(TELLING, patient_name=PersonName(name)), charset=charset)
    assert found.get("PID", 5, 1) == name.split("^")[0]


def test_a_character_that_the_set_lacks_is_an_error_and_never_a_question_mark() -> None:
    with pytest.raises(BadValue) as caught:
        write(replace(TELLING, patient_name=PersonName("山田^太郎")), charset="8859/1")
    assert (caught.value.code, caught.value.where) == ("hl7-charset", "MSH-18")


def test_an_identifier_too_long_for_its_type_is_refused_and_not_cut() -> None:
    with pytest.raises(BadValue) as caught:
        write(replace(TELLING, placer=Identifier("9" * 300)))
    assert caught.value.code == "hl7-not-conformant"
    assert "999" not in str(caught.value)


def test_a_birth_date_that_is_none_is_refused_without_telling_it() -> None:
    with pytest.raises(BadValue) as caught:
        write(replace(TELLING, birth_date="1980-99-99"), message="OMG^O19")
    assert "1980" not in f"{caught.value}{caught.value.__cause__}"


def test_a_long_description_is_cut_where_everyone_sees_it() -> None:
    procedure = replace(PROCEDURE, code=None, description="\\" * 300)
    text = message(replace(TELLING, procedures=(procedure,))).order_groups()[0].get("OBR", 4, 2)
    assert text.endswith("\\...") and len(text) < 300


# A reader may drop blanks round a value, and NUL and noncharacters (U+FDD0 to U+FDEF) are no text.
PADDING = "".join(c for c in map(chr, range(0x20, 0x3001)) if c.isspace())
plain = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters=["\0", *map(chr, range(0xFDD0, 0xFDF0))]),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(number=plain, text=plain)
def test_whatever_a_value_holds_comes_back_as_it_was(number: str, text: str) -> None:
    procedure = replace(PROCEDURE, code=None, description=text)
    raw = write(replace(TELLING, accession=Identifier(number), procedures=(procedure,)))
    group = Message.read(raw).order_groups()[0]
    assert group.get("OBR", 18).strip(PADDING) == number.strip(PADDING)
    assert group.get("OBR", 4, 2).strip(PADDING) == text.strip(PADDING)
