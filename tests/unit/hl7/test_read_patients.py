"""PID, EVN and MRG to patients and patient events with the shipped mappings (IHE RAD-1, RAD-12)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bridge.domain.identity import Identifier, Issuer, Issuers
from bridge.domain.message import Reading
from bridge.domain.patient import DELETED, PatientData, PersonName
from bridge.errors import BadInput, MissingField
from bridge.hl7.message import Message
from bridge.hl7.read import read_message
from bridge.hl7.read_patients import MOST_PAIRS
from bridge.mapping import MappingContext, Mappings, default_directory

CORPUS = Path(__file__).parents[2] / "corpus" / "hl7"
ISSUERS = Issuers([Issuer("hospital", "ADT1", "1.2.3.4", "ISO")])
CONTEXT = MappingContext(ZoneInfo("Europe/Berlin"), ISSUERS, default_patient_issuer="hospital")
MAPPINGS = Mappings.load(default_directory(), None, CONTEXT)
MSH = r"MSH|^~\&|ADT|HOSP|BRIDGE|HOSP|20260301101500||ADT^A08|1|P|2.5.1"
PID = "PID|||P-1^^^ADT1^MR||Doe^Jane||19700102|F"


def read(*lines: str) -> Reading:
    return read_message(Message.read("\r".join(lines).encode()), MAPPINGS)


def read_file(name: str) -> Reading:
    return read_message(Message.read((CORPUS / f"{name}.hl7").read_bytes()), MAPPINGS)


def refusal_of(*lines: str) -> BadInput:
    reading = read(*lines)
    assert reading.refusal is not None and reading.patient is None
    return reading.refusal


def patient(pid: str) -> PatientData:
    event = read(MSH, pid).patient
    assert event is not None
    return event.patient


def test_the_patient_of_an_order_is_read_with_its_authority() -> None:
    (request,) = read_file("orm_o01_three_groups_two_steps").orders
    found = request.patient
    assert found.identifiers == (Identifier("P-4711", "hospital", "MR"),)
    assert (found.name, found.birth_date, found.sex) == (PersonName("Lovelace^Ada^King^Dr^Jr"), "18151210", "F")


def test_old_identifiers_are_kept_beside_those_of_pid_3_and_repeat_none() -> None:
    found = patient("PID||EXT-1|P-1^^^ADT1^MR~999^^^SSA^SS|P-1|Doe")
    assert found.identifiers == (Identifier("P-1", "hospital", "MR"),)
    assert found.others == (Identifier("999", "SSA", "SS"), Identifier("EXT-1"))


def test_a_patient_with_a_shared_number_alone_is_refused() -> None:
    assert refusal_of(MSH, "PID|||999^^^SSA^SS||Doe").where == "PID-3"


def test_a_merge_tells_the_name_of_the_record_that_goes() -> None:
    reading = read(MSH.replace("A08", "A40"), PID, "MRG|T-1^^^OF1^PI||||||Sunday^Jo")
    assert reading.patient is not None and reading.patient.prior_name == PersonName("Sunday^Jo")


def test_a_merge_of_more_patients_than_a_message_may_hold_is_refused() -> None:
    pairs = [line for n in range(MOST_PAIRS + 1) for line in (PID, f"MRG|T{n}")]
    assert refusal_of(MSH.replace("A08", "A40"), *pairs).code == "too-large"


def test_al1_tells_every_allergy_and_two_quotes_none() -> None:
    told = read(MSH, PID, "AL1|1||^Nuts", "AL1|2||P^Penicillin").patient
    none = read(MSH, PID, 'AL1|1||""').patient
    assert told is not None and told.allergies == ("Nuts", "Penicillin")
    assert none is not None and none.allergies == ()


def test_an_allergy_update_adds_and_takes_away() -> None:
    event = read(MSH.replace("A08", "A60"), PID, "IAM|1||^Nuts|||A", "IAM|2||^Latex|||D").patient
    assert event is not None and event.allergies is None
    assert (event.allergies_now, event.allergies_no_more) == (("Nuts",), ("Latex",))


def test_name_groups_are_told_by_xpn_8_whatever_their_order() -> None:
    event = read_file("adt_a08_three_name_groups").patient
    assert event is not None
    assert event.patient.name == PersonName("Yamada^Tarou", "山田^太郎", "やまだ^たろう")


@pytest.mark.parametrize(
    "event",
    [
        "A01",
        "A02",
        "A03",
        "A04",
        "A05",
        "A06",
        "A07",
        "A08",
        "A09",
        "A10",
        "A11",
        "A12",
        "A13",
        "A23",
        "A28",
        "A31",
        "A38",
    ],
)
def test_patient_events_are_read(event: str) -> None:
    reading = read(MSH.replace("A08", event), f"EVN|{event}|20260301120000", PID)
    assert reading.patient is not None
    assert (reading.patient.event, reading.patient.occurred) == (event, datetime(2026, 3, 1, 11, tzinfo=UTC))


@pytest.mark.parametrize("event", ["A40", "A34", "A18"])
def test_a_merge_names_the_prior_identifiers(event: str) -> None:
    reading = read(MSH.replace("A08", event), PID, "MRG|T-1^^^OF1^PI~T-2^^^OF1^PI")
    assert reading.patient is not None
    assert [one.key for one in reading.patient.prior] == [("T-1", "OF1"), ("T-2", "OF1")]


def test_a_merge_without_mrg_1_is_refused() -> None:
    fault = refusal_of(MSH.replace("A08", "A40"), PID)
    assert isinstance(fault, MissingField) and fault.where == "MRG-1"


def test_several_pairs_in_one_message_are_several_merges() -> None:
    first, second = read_file("adt_a40_two_pairs").patients
    assert [i.value for i in first.patient.identifiers] == ["P-4711"]
    assert ([i.value for i in first.prior], [i.value for i in second.prior]) == (["T-1"], ["T-2", "T-3"])


def test_a_pair_borrows_no_visit_from_another_one() -> None:
    first, second = read_file("adt_a40_two_pairs").patients
    assert (first.visit.admission, second.visit.admission) == (Identifier("V-1", "hospital"), None)


def test_a_pair_without_mrg_refuses_the_whole_message() -> None:
    fault = refusal_of(MSH.replace("A08", "A40"), PID, "MRG|T-1", PID.replace("P-1", "P-2"))
    assert fault.where == "MRG-1"


def test_a_moved_account_names_the_account_and_the_patient_it_leaves() -> None:
    event = read_file("adt_a44_account").patient
    assert event is not None
    account = Identifier("ACCT-1", "hospital")
    assert (event.prior_account, event.visit.account) == (account, account)
    assert [i.value for i in event.prior] == ["P-4712"]


@pytest.mark.parametrize(
    ("event", "mrg", "where"),
    [
        ("A44", "MRG|P-2", "MRG-3"),
        ("A44", "MRG|||ACCT-1", "MRG-1"),
        ("A45", "MRG|P-2", "MRG-5"),
        ("A49", "MRG|P-2", "MRG-3"),
        ("A50", "MRG|P-2", "MRG-5"),
        ("A51", "MRG|P-2", "MRG-6"),
        ("A47", "MRG|", "MRG-1"),
    ],
)
def test_a_move_without_what_moves_is_refused(event: str, mrg: str, where: str) -> None:
    fault = refusal_of(MSH.replace("A08", event), PID, mrg)
    assert isinstance(fault, MissingField) and fault.where == where


@pytest.mark.parametrize("event", ["A24", "A37"])
def test_a_link_names_two_records(event: str) -> None:
    reading = read(MSH.replace("A08", event), PID, PID.replace("P-1", "P-2"))
    assert reading.patient is not None and reading.patient.other is not None
    assert [i.value for i in reading.patient.other.identifiers] == ["P-2"]


def test_a_link_of_one_record_is_refused() -> None:
    assert refusal_of(MSH.replace("A08", "A24"), PID).where == "PID"


def test_the_visit_tells_its_number_its_account_and_its_place() -> None:
    pid = "PID|||P-1^^^ADT1||Doe" + "|" * 13 + "ACCT-1^^^ADT1"
    event = read(MSH, pid, "PV1||I|W1^R2^B3" + "|" * 16 + "V-1^^^ADT1").patient
    assert event is not None
    assert (event.visit.admission, event.visit.account) == (
        Identifier("V-1", "hospital"),
        Identifier("ACCT-1", "hospital"),
    )
    assert (event.visit.patient_class, event.visit.location) == ("I", "W1 R2 B3")


def test_other_adt_events_are_ignored_with_a_word() -> None:
    reading = read(MSH.replace("A08", "A14"), PID)
    assert reading.patient is None and reading.refusal is None
    assert "ignored" in reading.warnings[0]


def test_the_null_deletes_what_may_be_deleted() -> None:
    reading = read(MSH, 'PID|||P-1||Doe||""|""')
    assert reading.patient is not None
    assert (reading.patient.patient.birth_date, reading.patient.patient.sex) == (DELETED, DELETED)


@pytest.mark.parametrize(("pid", "where"), [('PID|||""', "PID-3"), ('PID|||P-1||""', "PID-5")])
def test_the_null_in_what_dicom_requires_is_refused(pid: str, where: str) -> None:
    fault = refusal_of(MSH, pid)
    assert isinstance(fault, MissingField) and fault.where == where


@pytest.mark.parametrize(("sent", "expected"), [("1970", ""), ("197001021530", "19700102"), ("19700231", "")])
def test_a_birth_date_is_a_whole_day_or_nothing(sent: str, expected: str) -> None:
    assert patient(f"PID|||P-1||Doe||{sent}").birth_date == expected


@pytest.mark.parametrize(("sent", "expected"), [("m", "M"), ("A", "O"), ("N", "O"), ("U", ""), ("X", "")])
def test_sex_is_one_of_dicoms_three_or_empty(sent: str, expected: str) -> None:
    assert patient(f"PID|||P-1||Doe|||{sent}").sex == expected
