"""hl7apy as the judge of structures: of what we send, and of what the pretend RIS sends."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from bridge.hl7.ack import AckCode, AckError, write_answers
from bridge.hl7.conformance import remarks
from bridge.hl7.header import header_of
from bridge.sandbox import ris
from bridge.sandbox.ris import DemoOrder, DemoPatient

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
PATIENT = DemoPatient("M1", "Müller", "Jörg", date(1961, 5, 4), "M", visit="V1")
ORDER = DemoOrder(
    PATIENT, "P1", "F1", "A1", "RP1", "S1", "CTCHEST", "CT chest", "CT", "CT1", datetime(2026, 11, 25, 10), "1.2.3"
)
MESSAGES = {
    "ADT^A04": ris.adt_a04(PATIENT, NOW, "1"),
    "ORM^O01": ris.orm_o01(ORDER, NOW, "2"),
    "OMI^O23": ris.omi_o23(ORDER, NOW, "3"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_what_the_pretend_ris_sends_keeps_to_the_structure_of_its_version(name: str) -> None:
    assert remarks(MESSAGES[name]) == []


@pytest.mark.parametrize("name", MESSAGES)
def test_our_acknowledgement_keeps_to_the_structure_of_the_senders_version(name: str) -> None:
    faults = [AckError(101, "E", "PID^1^3", "Required field missing")]
    header = header_of(MESSAGES[name])
    for ack in write_answers(header, AckCode.AE, faults, new_control_id=lambda: "X1", now=NOW):
        assert remarks(ack) == []


def test_a_message_without_its_required_segment_is_remarked_on() -> None:
    without_pid = b"\r".join(line for line in MESSAGES["ADT^A04"].split(b"\r") if not line.startswith(b"PID"))
    assert any("PID" in line for line in remarks(without_pid))
