"""Messages to domain objects with the shipped mappings (IHE RAD-2, RAD-4, RAD-12)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bridge.domain.coding import Code
from bridge.domain.identity import Identifier, Issuer, Issuers
from bridge.domain.message import Reading
from bridge.domain.order import OrderRequest
from bridge.domain.patient import PersonName
from bridge.errors import BadInput, BadValue, MissingField, NotReadable, TooLarge, Unsupported
from bridge.hl7.message import Message
from bridge.hl7.order_groups import MOST_OF_ONE_ORDER
from bridge.hl7.read import MOST_STEPS, read_message
from bridge.mapping import MappingContext, Mappings, default_directory
from bridge.mapping.compare import load_with

CORPUS = Path(__file__).parents[2] / "corpus" / "hl7"
CONTEXT = MappingContext(
    ZoneInfo("Europe/Berlin"),
    Issuers([Issuer("hospital", "ADT1", "1.2.3.4", "ISO"), Issuer("orders", "ORDPLC")]),
    default_patient_issuer="hospital",
    default_placer_issuer="orders",
    default_filler_issuer="ris",
    default_accession_issuer="ris",
)
MAPPINGS = Mappings.load(default_directory(), None, CONTEXT)
MSH = r"MSH|^~\&|RIS|HOSP|BRIDGE|HOSP|20260301101500||ORM^O01|1|P|2.3.1"
PID = "PID|||P-1^^^ADT1^MR||Doe^Jane||19700102|F"


def read(*lines: str) -> Reading:
    return read_message(Message.read("\r".join(lines).encode(), charset_default="UNICODE UTF-8"), MAPPINGS)


def read_file(name: str) -> Reading:
    return read_message(Message.read((CORPUS / f"{name}.hl7").read_bytes()), MAPPINGS)


def segment(name: str, **fields: str) -> str:
    """`segment("OBR", f4="P1^Text", f24="CT")`."""
    numbered = {int(key[1:]): value for key, value in fields.items()}
    return name + "".join("|" + numbered.get(n, "") for n in range(1, max(numbered, default=0) + 1))


def order(*, orc: dict[str, str] | None = None, obr: dict[str, str] | None = None, pid: str = PID) -> OrderRequest:
    reading = read(
        MSH,
        pid,
        segment("ORC", **{"f1": "NW", "f2": "PL-1", **(orc or {})}),
        segment("OBR", **{"f4": "P1^Chest^99H", "f24": "CT", **(obr or {})}),
    )
    assert reading.refusal is None
    return reading.orders[0]


def refusal_of(*lines: str) -> BadInput:
    reading = read(*lines)
    assert reading.refusal is not None
    assert reading.orders == () and reading.patient is None
    return reading.refusal


# One order of several groups


def test_three_groups_with_two_step_ids_are_one_procedure_of_two_steps() -> None:
    (request,) = read_file("orm_o01_three_groups_two_steps").orders
    assert [step.step_id for step in request.procedure.steps] == ["SPS-1", "SPS-2"]


def test_groups_that_share_the_step_id_bring_several_protocol_codes() -> None:
    (request,) = read_file("orm_o01_three_groups_two_steps").orders
    assert [code.value for code in request.procedure.steps[0].protocol_codes] == ["X1_A1", "X1_A2"]


def test_one_zds_at_the_end_serves_all_groups() -> None:
    lines = [
        MSH,
        PID,
        "ORC|NW|PL-1",
        segment("OBR", f19="RP-1", f24="CT"),
        "ORC|NW|PL-2",
        segment("OBR", f19="RP-2", f24="CT"),
        "ZDS|1.2.3^100^Application^DICOM",
    ]
    assert [one.procedure.study_instance_uid for one in read(*lines).orders] == ["1.2.3", "1.2.3"]


def test_other_requested_procedure_ids_are_other_procedures() -> None:
    lines = [MSH, PID, "ORC|NW|PL-1", segment("OBR", f19="RP-1", f24="CT")]
    lines += ["ORC|NW|PL-1", segment("OBR", f19="RP-2", f24="CT")]
    assert [one.procedure.procedure_id for one in read(*lines).orders] == ["RP-1", "RP-2"]


def test_two_study_instance_uids_for_one_procedure_are_refused() -> None:
    lines = [MSH, PID, "ORC|NW|PL-1", segment("OBR", f19="RP-1", f24="CT"), "ZDS|1.2.3"]
    lines += ["ORC|NW|PL-1", segment("OBR", f19="RP-1", f24="CT"), "ZDS|1.2.4"]
    fault = refusal_of(*lines)
    assert isinstance(fault, BadValue) and fault.where == "ZDS-1"


def test_two_ipc_with_other_step_ids_are_two_steps() -> None:
    (request,) = read_file("omi_o23_two_steps").orders
    assert [(s.step_id, s.modality, s.station_ae_titles) for s in request.procedure.steps] == [
        ("SPS-21", "DX", ("AE_ONE", "AE_TWO")),
        ("SPS-22", "CT", ("AE_THREE",)),
    ]


def test_ipc_with_equal_step_ids_are_one_step_of_several_protocol_codes() -> None:
    reading = read(
        MSH.replace("ORM^O01", "OMI^O23"),
        PID,
        "ORC|NW|PL-1",
        segment("OBR", f4="P1^Chest"),
        "IPC|A|RP|1.2.3|S1|CT|X1^one^99H",
        "IPC|A|RP|1.2.3|S1|CT|X2^two^99H",
    )
    (step,) = reading.orders[0].procedure.steps
    assert step.protocol_codes == (Code("X1", "99H", "one"), Code("X2", "99H", "two"))


def test_ipc_fills_accession_procedure_and_step() -> None:
    (request,) = read_file("omi_o23_two_steps").orders
    step = request.procedure.steps[0]
    assert request.accession == Identifier("ACC-2", "ORDFIL")
    assert request.procedure.procedure_id == "RP-2"
    assert request.procedure.study_instance_uid == "1.2.840.113619.2.1.6"
    assert (step.station_name, step.location, step.description) == ("STN1", "Room 1", "pa")


def test_an_omi_that_calls_itself_orm_is_read_by_its_segments() -> None:
    raw = (CORPUS / "omi_o23_two_steps.hl7").read_bytes().replace(b"OMI^O23^OMI_O23", b"ORM^O01")
    assert len(read_message(Message.read(raw), MAPPINGS).orders[0].procedure.steps) == 2


# Times


def test_a_start_with_an_offset_is_carried_to_the_sites_wall_clock() -> None:
    (request,) = read_file("omi_o23_two_steps").orders
    assert request.procedure.steps[0].start == datetime(2026, 3, 2, 9, 30)


def test_tq1_stands_before_orc_7() -> None:
    reading = read(
        MSH, PID, segment("ORC", f1="NW", f2="PL", f7="1^^^20260101"), "TQ1|1||||||20260202", segment("OBR", f24="CT")
    )
    assert reading.orders[0].procedure.steps[0].start == datetime(2026, 2, 2)


@pytest.mark.parametrize("where", [{"orc": {"f7": "1^once^^20260302093000"}}, {"obr": {"f27": "1^^^20260302093000"}}])
def test_the_start_comes_from_orc_7_or_obr_27(where: dict[str, dict[str, str]]) -> None:
    assert order(**where).procedure.steps[0].start == datetime(2026, 3, 2, 9, 30)  # type: ignore[arg-type]


def test_an_order_without_a_time_has_no_start() -> None:
    (request,) = read_file("omg_o19_without_time").orders
    assert request.procedure.steps[0].start is None and request.procedure.priority == "STAT"


def test_an_unreadable_start_is_refused_at_its_field() -> None:
    orc = segment("ORC", f1="NW", f2="PL", f7="1^^^tomorrow")
    fault = refusal_of(MSH, PID, orc, segment("OBR", f24="CT"))
    assert isinstance(fault, BadValue) and fault.where == "ORC-7.4"
    assert "tomorrow" not in str(fault)


def test_the_order_of_messages_comes_from_orc_9_else_msh_7() -> None:
    assert order(orc={"f9": "20260301120000"}).event_time == datetime(2026, 3, 1, 11, tzinfo=UTC)
    assert order().event_time == datetime(2026, 3, 1, 9, 15, tzinfo=UTC)


# What makes an order usable


def test_a_minimal_cancel_reads_with_its_number_alone() -> None:
    reading = read_file("orm_o01_minimal_cancel")
    (request,) = reading.orders
    assert (request.control, request.placer, request.filler) == ("CA", Identifier("PL-1", "orders"), None)
    assert request.procedure.steps == () and reading.warnings == ()


def test_a_missing_patient_identifier_is_refused() -> None:
    fault = refusal_of(MSH, "PID|||||Doe", "ORC|NW|PL", segment("OBR", f24="CT"))
    assert isinstance(fault, MissingField) and fault.where == "PID-3"


@pytest.mark.parametrize("pid", ["PID|||||Doe^Jane", "PID|||9^^^SSA^SS||Doe", "PID||P-1", "PID|||P-1^^^ADT1^AN||Doe"])
def test_a_cancel_whose_pid_does_not_say_who_is_found_by_its_number(pid: str) -> None:
    reading = read(MSH, pid, "ORC|CA|PL-1")
    assert (reading.refusal, reading.orders[0].patient.identifiers) == (None, ())
    assert any("PID-3" in warning for warning in reading.warnings)


def test_an_order_without_numbers_is_refused() -> None:
    fault = refusal_of(MSH, PID, "ORC|NW", segment("OBR", f24="CT"))
    assert isinstance(fault, MissingField) and fault.where == "ORC-2"


def test_a_study_instance_uid_that_is_none_is_refused() -> None:
    fault = refusal_of(MSH, PID, "ORC|NW|PL", segment("OBR", f24="CT"), "ZDS|1.02.3")
    assert isinstance(fault, BadValue) and fault.where == "ZDS-1"


def test_an_order_control_that_the_table_does_not_hold_is_refused() -> None:
    fault = refusal_of(MSH, PID, "ORC|ZZ|PL", segment("OBR", f24="CT"))
    assert (fault.where, fault.code) == ("ORC-1", "table-value")


def test_an_order_message_without_orc_is_refused() -> None:
    assert isinstance(refusal_of(MSH, PID, segment("OBR", f24="CT")), NotReadable)


def test_more_steps_than_an_order_has_are_refused() -> None:
    assert isinstance(refusal_of(MSH, PID, *["ORC|CA|PL-1"] * (MOST_STEPS + 1)), TooLarge)


def test_more_steps_under_one_order_number_than_any_order_has_are_refused() -> None:
    assert isinstance(refusal_of(MSH, PID, *["ORC|CA|PL-1"] * (MOST_OF_ONE_ORDER + 1)), TooLarge)


def test_many_orders_of_one_message_are_read_one_by_one() -> None:
    of_own = [f"ORC|CA|PL-{number}" for number in range(MOST_OF_ONE_ORDER + 1)]
    assert len(read(MSH, PID, *of_own).orders) == MOST_OF_ONE_ORDER + 1


def test_the_null_in_an_identifier_that_dicom_requires_is_refused() -> None:
    fault = refusal_of(MSH, PID, "ORC|NW|PL", segment("OBR", f19='""', f24="CT"))
    assert isinstance(fault, MissingField) and fault.where == "OBR-19"


def test_an_accession_number_longer_than_dicom_allows_is_kept_whole_and_told() -> None:
    reading = read(MSH, PID, "ORC|NW|PL", segment("OBR", f18="A" * 17, f24="CT"))
    accession = reading.orders[0].accession
    assert accession is not None and accession.value == "A" * 17
    assert any("accession number is longer" in warning for warning in reading.warnings)


def test_a_word_that_is_no_modality_is_kept_and_told() -> None:
    reading = read(MSH, PID, "ORC|NW|PL", segment("OBR", f24="CTG"))
    (step,) = reading.orders[0].procedure.steps
    assert (step.modality, step.modality_sent) == ("", "CTG")
    assert "OBR-24 is not in the table modality" in reading.warnings


def test_a_status_in_words_is_understood() -> None:
    assert order(orc={"f5": "Scheduled"}).status == "SC"


def test_a_laboratory_order_creates_nothing_and_says_so() -> None:
    reading = read_file("orm_o01_laboratory")
    assert reading.orders == () and reading.refusal is None
    assert "no imaging order" in reading.warnings[0]


def test_an_order_that_names_no_modality_is_an_order_for_a_person_to_see() -> None:
    """Many a RIS has the modality in its procedure codes alone."""
    (request,) = read(MSH, PID, "ORC|NW|PL", segment("OBR", f4="GLU^Glucose")).orders
    assert [(step.modality, step.modality_sent) for step in request.procedure.steps] == [("", "")]


def test_on_a_mixed_feed_an_order_without_any_sign_of_imaging_creates_nothing() -> None:
    lines = (MSH, PID, "ORC|NW|PL", segment("OBR", f4="GLU^Glucose"))
    reading = read_message(Message.read("\r".join(lines).encode()), MAPPINGS, mixed=True)
    assert reading.orders == () and "no imaging order" in reading.warnings[0]


@pytest.mark.parametrize("trade", ["RXO|ASP", "RXE|1", "ODS|D", "RQD|1|GLOVES", "BPO|1"])
def test_an_order_of_another_trade_creates_nothing(trade: str) -> None:
    reading = read(MSH, PID, "ORC|NW|PL", trade)
    assert reading.orders == () and f"no imaging order ({trade[:3]})" in reading.warnings[0]


def test_a_sites_table_of_procedure_codes_gives_the_modality(tmp_path: Path) -> None:
    overlay = tmp_path / "site.yaml"
    overlay.write_text("codes/procedure_modality:\n  codes: {CTHEAD: CT}\n")
    mappings = load_with(default_directory(), overlay, CONTEXT)
    lines = (MSH, PID, "ORC|NW|PL", segment("OBR", f4="CTHEAD^Head^L"))
    for mixed in (False, True):
        (request,) = read_message(Message.read("\r".join(lines).encode()), mappings, mixed=mixed).orders
        assert request.procedure.steps[0].modality == "CT"


# What is one order, one procedure, one step


def groups(*obr: dict[str, str], orc: str = "ORC|NW|PL-1") -> tuple[OrderRequest, ...]:
    lines = [line for fields in obr for line in (orc, segment("OBR", **{"f24": "CT", **fields}))]
    reading = read(MSH, PID, *lines)
    assert reading.refusal is None
    return reading.orders


def test_other_codes_without_ids_are_other_procedures() -> None:
    found = groups({"f4": "C1^head^L"}, {"f4": "C2^chest^L"})
    assert [(one.procedure.description, one.alone, one.further) for one in found] == [
        ("head", False, False),
        ("chest", False, True),
    ]


def test_other_codes_under_one_procedure_id_are_steps_of_it() -> None:
    (request,) = groups({"f4": "C1^head^L", "f19": "RP"}, {"f4": "C2^chest^L", "f19": "RP"})
    assert [step.description for step in request.procedure.steps] == ["head", "chest"]
    assert request.procedure.steps[1].protocol_codes == (Code("C2", "L", "chest"),)


def test_other_codes_of_one_step_are_its_protocol() -> None:
    (request,) = groups({"f4": "C1^head^L", "f20": "S1"}, {"f4": "C2^chest^L", "f20": "S1"})
    (step,) = request.procedure.steps
    assert step.protocol_codes == (Code("C2", "L", "chest"),)


def test_other_filler_numbers_are_other_procedures() -> None:
    found = groups({"f4": "C1^knee^L", "f3": "F1"}, {"f4": "C1^knee^L", "f3": "F2"})
    assert len(found) == 2


def test_other_placer_numbers_in_obr_are_other_orders() -> None:
    found = groups({"f2": "PL-1", "f3": "F1", "f18": "A1"}, {"f2": "PL-2", "f3": "F2", "f18": "A2"})
    assert [(one.placer and one.placer.value, one.filler and one.filler.value) for one in found] == [
        ("PL-1", "F1"),
        ("PL-2", "F2"),
    ]
    assert [one.accession and one.accession.value for one in found] == ["A1", "A2"]


def test_a_single_group_is_named_by_orc_and_tells_what_obr_says() -> None:
    (request,) = groups({"f2": "PL-2"})
    assert (request.placer, request.detail_placer) == (Identifier("PL-1", "orders"), Identifier("PL-2", "orders"))


def test_two_accession_numbers_under_one_order_number_are_refused() -> None:
    fault = refusal_of(
        MSH, PID, "ORC|NW|PL", segment("OBR", f18="A1", f24="CT"), "ORC|NW|PL", segment("OBR", f18="A2", f24="CT")
    )
    assert (type(fault), fault.where) == (BadValue, "OBR-18")


def test_groups_that_cancel_and_change_one_order_contradict_each_other() -> None:
    lines = [MSH, PID, "ORC|CA|PL-1", segment("OBR", f20="S1", f24="CT")]
    lines += ["ORC|XO|PL-1", segment("OBR", f20="S2", f24="CT")]
    assert [one.contradiction for one in read(*lines).orders] == ["groups-contradict"] * 2


def test_a_cancel_without_pid_reads_with_nobody_s_identifiers() -> None:
    assert read(MSH, "ORC|CA|PL-1").orders[0].patient.identifiers == ()


def test_several_tq1_are_told() -> None:
    lines = (MSH, PID, "ORC|NW|PL", "TQ1|1||||||20260202", "TQ1|2||||||20260203", segment("OBR", f24="CT"))
    assert "order group 1 has several TQ1: the first one counts" in read(*lines).warnings


def test_a_zds_alone_is_a_sign_of_imaging() -> None:
    assert len(read(MSH, PID, "ORC|NW|PL", segment("OBR", f4="X^y"), "ZDS|1.2.3").orders) == 1


@pytest.mark.parametrize(
    ("kind", "where", "code"),
    [
        ("MDM^T02", "MSH-9.1", "unsupported-type"),
        ("DFT^P03", "MSH-9.1", "unsupported-type"),
        ("ORM^O02", "MSH-9.2", "unsupported-event"),
    ],
)
def test_what_is_not_taken_is_refused_by_type_or_event(kind: str, where: str, code: str) -> None:
    fault = refusal_of(MSH.replace("ORM^O01", kind), PID)
    assert isinstance(fault, Unsupported) and (fault.where, fault.code) == (where, code)


# Rows of the order


def test_obr_4_gives_procedure_and_protocol() -> None:
    request = order(obr={"f4": "P1^Chest^LN^X1^Chest ap^99H"})
    assert request.procedure.code == Code("P1", "LN", "Chest")
    assert request.procedure.steps[0].protocol_codes == (Code("X1", "99H", "Chest ap"),)
    assert request.procedure.steps[0].description == "Chest ap"


def test_obr_44_stands_before_obr_4() -> None:
    procedure = order(obr={"f44": "P9^Thorax^SNM3"}).procedure
    assert (procedure.code, procedure.description) == (Code("P9", "SRT", "Thorax"), "Thorax")


def test_a_code_without_a_coding_system_is_local() -> None:
    assert order(obr={"f4": "P1^Chest"}).procedure.code == Code("P1", "L", "Chest")


@pytest.mark.parametrize(
    ("field", "sent", "attribute", "expected"),
    [
        ("f12", "ISO^Isolation", "patient_state", "Isolation"),
        ("f13", "Pacemaker", "medical_alerts", "Pacemaker"),
        ("f16", "7^Hopper^Grace^B^Jr^Dr", "requesting_physician", PersonName("Hopper^Grace^B^Dr^Jr")),
        ("f18", "ACC-1", "accession", Identifier("ACC-1", "ris")),
        ("f18", "ACC-1^RIS2", "accession", Identifier("ACC-1", "RIS2")),
    ],
)
def test_obr_fills_the_order(field: str, sent: str, attribute: str, expected: object) -> None:
    assert getattr(order(obr={field: sent}), attribute) == expected


@pytest.mark.parametrize(
    ("field", "sent", "attribute", "expected"),
    [
        ("f19", "RP-1", "procedure_id", "RP-1"),
        ("f27", "^^^^^R", "priority", "ROUTINE"),
        ("f5", "S", "priority", "STAT"),
        ("f30", "CART", "transport", "CART"),
        ("f31", "R05^Cough^I10", "reason", "Cough"),
    ],
)
def test_obr_fills_the_procedure(field: str, sent: str, attribute: str, expected: str) -> None:
    assert getattr(order(obr={field: sent}).procedure, attribute) == expected


@pytest.mark.parametrize(
    ("field", "sent", "attribute", "expected"),
    [
        ("f20", "SPS-1", "step_id", "SPS-1"),
        ("f24", "nmr", "modality", "MR"),
        ("f34", "3&Rontgen&Wilhelm", "performing_physician", PersonName("Rontgen^Wilhelm")),
        ("f34", "3^Rontgen^Wilhelm", "performing_physician", PersonName("Rontgen^Wilhelm")),
    ],
)
def test_obr_fills_the_step(field: str, sent: str, attribute: str, expected: object) -> None:
    (step,) = order(obr={field: sent}).procedure.steps
    assert getattr(step, attribute) == expected


@pytest.mark.parametrize(
    ("field", "sent", "attribute", "expected"),
    [
        ("f2", "PL-7^NS^1.2.3.9^ISO", "placer", Identifier("PL-7", "NS")),
        ("f3", "FL-7", "filler", Identifier("FL-7", "ris")),
        ("f12", "7^Hopper^Grace", "requesting_physician", PersonName("Hopper^Grace")),
        ("f17", "RAD1^Radiology", "department", "Radiology"),
    ],
)
def test_orc_fills_the_order(field: str, sent: str, attribute: str, expected: object) -> None:
    assert getattr(order(orc={field: sent}), attribute) == expected


def test_weight_and_height_come_in_dicoms_units() -> None:
    (request,) = read_file("omi_o23_two_steps").orders
    assert (request.patient_weight_kg, request.patient_size_m) == ("69.989", "1.72")


def test_a_weight_in_no_known_unit_is_left_out_and_told() -> None:
    obx = "OBX|1|NM|29463-7^Weight^LN||11|stone"
    reading = read(MSH, PID, "ORC|NW|PL", segment("OBR", f24="CT"), obx)
    assert reading.orders[0].patient_weight_kg == ""
    assert "OBX-5 is not a number with a known unit: left out" in reading.warnings


def test_pregnancy_is_said_only_by_b6() -> None:
    (request,) = read_file("orm_o01_three_groups_two_steps").orders
    assert (request.pregnancy_status, order().pregnancy_status) == ("3", "")


def test_each_allergy_is_one_value() -> None:
    al1 = ["AL1|1||PEN^Penicillin", "AL1|2||^Latex", "AL1|3||NUTS"]
    reading = read(MSH, PID, *al1, "ORC|NW|PL", segment("OBR", f24="CT"))
    assert reading.orders[0].allergies == ("Penicillin", "Latex", "NUTS")


def test_notes_after_obr_are_comments_and_notes_after_pid_are_not() -> None:
    reading = read(MSH, PID, "NTE|1||of the patient", "ORC|NW|PL", segment("OBR", f24="CT"), "NTE|1||of the order~more")
    assert reading.orders[0].procedure.comments == "of the order\nmore"


def test_escapes_are_read_after_the_fields_are_cut() -> None:
    assert order(obr={"f4": r"P1^Chest \T\ ribs \S\ spine"}).procedure.description == "Chest & ribs ^ spine"


def test_the_visit_is_pv1_19_else_the_account() -> None:
    account = segment("PID", f3="P-1^^^ADT1", f18="A-1^^^ADT1")
    assert order(pid=account).visit.admission == Identifier("A-1", "hospital")
    (request,) = read_file("orm_o01_three_groups_two_steps").orders
    visit = request.visit
    assert (visit.admission, visit.patient_class, visit.location, visit.referring_physician) == (
        Identifier("V-100", "hospital"),
        "I",
        "WARD 12 A HOSP",
        PersonName("Curie^Marie^^Prof"),
    )


# A PID before each order


def two_orders(one: str, other: str) -> Reading:
    return read(
        MSH,
        one,
        "ORC|NW|PL-1",
        segment("OBR", f4="P1^Chest^99H", f19="R1", f24="CT"),
        "ZDS|1.2.3.1^100^Application^DICOM",
        other,
        "PV1|1|I|WARD^2",
        "ORC|NW|PL-2",
        segment("OBR", f4="P2^Head^99H", f19="R2", f24="CT"),
        "ZDS|1.2.3.2^100^Application^DICOM",
    )


def test_a_pid_before_each_order_loses_no_order() -> None:
    orders = two_orders(PID, PID).orders
    assert [(one.placer.value, one.procedure.study_instance_uid) for one in orders if one.placer] == [
        ("PL-1", "1.2.3.1"),
        ("PL-2", "1.2.3.2"),
    ]


def test_an_order_behind_a_repeated_pid_has_the_visit_behind_it() -> None:
    assert [one.visit.location for one in two_orders(PID, PID).orders] == ["", "WARD 2"]


@pytest.mark.parametrize(
    "other",
    [
        "PID|||P-1^^^ADT1^MR^HOSP||Doe^Jane||19700102|F",
        "PID|||P-1^^^ADT1&1.2.3.4&ISO^MR||Doe^Jane||19700102|F",
        "PID|||P-1^^^ADT1^MR||Doe^Jane",
    ],
)
def test_one_patient_may_be_spelt_in_two_ways(other: str) -> None:
    assert len(two_orders(PID, other).orders) == 2


@pytest.mark.parametrize(
    "other",
    [
        "PID|||P-2^^^ADT1^MR||Doe^Jane||19700102|F",
        "PID|||P-1^^^ELSEWHERE^MR||Doe^Jane||19700102|F",
        "PID|||P-1^^^ADT1^MR~P-2^^^ADT1^MR||Doe^Jane||19700102|F",
        "PID|||P-1^^^ADT1^MR||Doe^John||19700102|F",
        "PID|||P-1^^^ADT1^MR||Doe^Jane||19700103|F",
    ],
)
def test_orders_of_two_patients_are_refused(other: str) -> None:
    refusal = two_orders(PID, other).refusal
    assert refusal is not None and (refusal.where, refusal.code) == ("PID", "hl7-segment-sequence")


def test_prior_results_of_omg_are_told_and_not_read() -> None:
    reading = read(
        MSH.replace("ORM^O01", "OMG^O19"),
        PID,
        "ORC|NW|PL-1",
        segment("OBR", f4="P1^Chest^99H", f24="CT"),
        PID,
        segment("OBR", f4="P0^Chest^99H", f24="CT"),
        "OBX|1|TX|1||seen before",
    )
    assert len(reading.orders) == 1 and "1 results of earlier orders (a PID of their own): not read" in reading.warnings


# A doctor whose sender leaves the id out

LACKS_ID = "OBR-16 has letters for an id and no given name: see provider_name_without_id"


@pytest.mark.parametrize(
    ("sent", "doubtful"),
    [
        ("SMITH^JOHN", True),
        ("DR SMITH^JOHN", True),
        ("^SMITH^JOHN", False),
        ("4711^SMITH", False),
        ("JS7^SMITH", False),
        ("JSMITH^SMITH^JOHN", False),
        ("SMITH", False),
    ],
)
def test_a_doctor_who_may_be_called_by_the_given_name_is_told_of(sent: str, doubtful: bool) -> None:
    reading = read(MSH, PID, "ORC|NW|PL-1", segment("OBR", f4="P1^Chest^99H", f16=sent, f24="CT"))
    assert (LACKS_ID in reading.warnings) == doubtful
