"""SIU to appointments with the shipped mappings (HL7 v2.5.1 10.4; IHE RAD-48)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bridge.domain.appointment import AppointmentRequest
from bridge.domain.identity import Identifier, Issuer, Issuers
from bridge.domain.message import Reading
from bridge.hl7.message import Message
from bridge.hl7.read import read_message
from bridge.mapping import MappingContext, Mappings, default_directory

CORPUS = Path(__file__).parents[2] / "corpus" / "hl7"
CONTEXT = MappingContext(ZoneInfo("Europe/Berlin"), Issuers([Issuer("hospital", "ADT1")]), default_placer_issuer="PLC")
MAPPINGS = Mappings.load(default_directory(), None, CONTEXT)
MSH = r"MSH|^~\&|RIS|HOSP|BRIDGE|HOSP|20260301120000||SIU^S13|1|P|2.5.1"
PID = "PID|||P-1^^^ADT1^MR||Doe^Jane"


def sch(appointment: str = "AP-1", start: str = "", placer: str = "", filler: str = "") -> str:
    fields = {1: appointment, 11: f"^^^{start}" if start else "", 26: placer, 27: filler}
    return "SCH|" + "|".join(fields.get(n, "") for n in range(1, 28))


def read(*lines: str) -> Reading:
    return read_message(Message.read("\r".join((MSH, *lines)).encode()), MAPPINGS)


def only(*lines: str) -> AppointmentRequest:
    (found,) = read(*lines).appointments
    return found


def test_two_orders_with_two_services_have_a_time_each() -> None:
    found = read_message(Message.read((CORPUS / "siu_s13_two_services.hl7").read_bytes()), MAPPINGS).appointments
    assert [(a.placer, a.filler) for a in found] == [
        (Identifier("PL-1", "PLC"), Identifier("FL-1", "FIL")),
        (Identifier("PL-2", "PLC"), Identifier("FL-2", "FIL")),
    ]
    assert [a.starts for a in found] == [(datetime(2026, 3, 2, 9, 30),), (datetime(2026, 3, 2, 10),)]


@pytest.mark.parametrize(
    "lines",
    [
        (sch(start="20260302090000", placer="P1"), PID),
        (sch(placer="P1"), "TQ1|1||||||20260302090000", PID),
        (sch(placer="P1"), PID, "RGS|1", "AIS|1||CT|20260302090000"),
        (sch(start="20260302070000", placer="P1"), PID, "RGS|1", "AIS|1||CT|20260302090000"),
        (sch(start="20260302090000", placer="P1"), PID, "RGS|1", "AIS|1||CT"),
    ],
    ids=["SCH-11", "TQ1-7", "AIS-4", "AIS-4 before SCH-11", "AIS without a time"],
)
def test_the_time_stands_in_one_of_three_places(lines: tuple[str, ...]) -> None:
    assert only(*lines).starts == (datetime(2026, 3, 2, 9),)


@pytest.mark.parametrize(
    ("lines", "places"),
    [
        (("RGS|1", "AIS|1||CT", "AIL|1||CTWARD^R2"), ("R2",)),
        (("RGS|1", "AIS|1||CT", "AIL|1||R2"), ("R2",)),
        (("RGS|1", "AIL|1||^R2"), ("R2",)),
        (("RGS|1", "AIS|1||CT", "AIL|1||^R1", "RGS|2", "AIS|1||CT", "AIL|1||^R2"), ("R1", "R2")),
        (("RGS|1", "AIS|1||CT", "AIS|2||CT", "AIL|1||^R1", "AIL|2||^R2"), ("R1", "R2")),
        (("RGS|1", "AIS|1||CT", "AIS|2||CT", "AIL|1||^R1"), ("R1", "R1")),
        (("RGS|1", "AIS|1||CT", "AIL|1||^R1", "AIL|2||^R2"), ()),
        (("RGS|1", "AIS|1||CT"), ()),
    ],
    ids=["room", "point of care", "no service", "a group each", "in order", "one for all", "two for one", "none"],
)
def test_the_room_is_that_of_the_services_own_group(lines: tuple[str, ...], places: tuple[str, ...]) -> None:
    assert only(sch(start="20260302090000", placer="P1"), PID, *lines).places == places


def test_rooms_that_cannot_be_told_apart_are_told_of() -> None:
    reading = read(sch(placer="P1"), PID, "RGS|1", "AIS|1||CT", "AIL|1||^R1", "AIL|2||^R2")
    assert [w for w in reading.warnings if "AIL-3" in w]


def test_a_time_with_an_offset_is_the_sites_wall_clock() -> None:
    assert only(sch(start="20260302090000+0000", placer="P1"), PID).starts == (datetime(2026, 3, 2, 10),)


def test_before_2_4_the_appointments_own_number_stands_for_the_order() -> None:
    assert only(sch("AP-1^RIS"), PID).placer == Identifier("AP-1", "RIS")


def test_where_order_numbers_stand_the_appointments_own_is_not_one() -> None:
    found = only(sch("AP-1^RIS", filler="F1^FIL"), PID)
    assert (found.placer, found.filler) == (None, Identifier("F1", "FIL"))


@pytest.mark.parametrize("event", ["S12", "S13", "S14", "S15", "S17", "S26"])
def test_the_events_of_an_appointment_are_taken(event: str) -> None:
    message = MSH.replace("S13", event)
    (found,) = read_message(Message.read("\r".join((message, sch(placer="P1"), PID)).encode()), MAPPINGS).appointments
    assert (found.event, found.booked) == (event, event in ("S12", "S13", "S14"))


def test_other_events_of_scheduling_are_ignored_with_a_word() -> None:
    reading = read_message(Message.read("\r".join((MSH.replace("S13", "S23"), PID)).encode()), MAPPINGS)
    assert (reading.appointments, reading.refusal) == ((), None)
    assert "ignored" in reading.warnings[0]


@pytest.mark.parametrize(("lines", "where"), [((sch(placer="P1"),), "PID-3"), ((sch(""), PID), "SCH-26")])
def test_an_appointment_names_its_order_and_its_patient(lines: tuple[str, ...], where: str) -> None:
    fault = read(*lines).refusal
    assert fault is not None and fault.where == where
