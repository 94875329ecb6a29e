"""SIU to appointments (S12, S13, S14, S15, S17, S26; HL7 v2.5.1 10.4; IHE RAD-48)."""

from __future__ import annotations

from itertools import zip_longest

from bridge.domain.appointment import AppointmentRequest
from bridge.errors import MissingField, TooLarge
from bridge.hl7.message import Message
from bridge.hl7.read_patients import read_patient
from bridge.mapping import Mappings
from bridge.mapping.source import Focused, Source

MOST_SLOTS = 200


def read_appointments(
    event: str, message: Message, mappings: Mappings, warnings: list[str]
) -> tuple[AppointmentRequest, ...]:
    """One for each order of SCH-26 and SCH-27. Raises MissingField (SCH-26, PID-3): a number alone moves nobody."""
    values = mappings.appointment.apply(message, warnings)
    placers, fillers = values.identifiers("placers"), values.identifiers("fillers")
    if not placers and not fillers:
        placers, fillers = values.identifiers("appointment_placers"), values.identifiers("appointment_fillers")
    numbers = list(zip_longest(placers, fillers))
    if not numbers:
        raise MissingField("neither SCH-26 nor SCH-27 names an order", where="SCH-26")
    slots = slot_sources(message)
    if max(len(numbers), len(slots)) > MOST_SLOTS:
        raise TooLarge(f"more than {MOST_SLOTS} services in one appointment", where="AIS")
    patient = read_patient(message, mappings, warnings)
    told = (mappings.slot.apply(slot, warnings).moment("start") for slot in slots)
    starts = tuple(start for start in told if start is not None)
    if len(starts) != len(slots) or not starts:
        whole = values.moment("start")
        starts = (whole,) if whole else starts[:1]
    # As many services as orders: the first service is of the first order, and so on.
    paired = len(numbers) > 1 and len(starts) == len(numbers)
    occurred = values.moment("occurred")
    return tuple(
        AppointmentRequest(event, placer, filler, patient, starts[at : at + 1] if paired else starts, occurred)
        for at, (placer, filler) in enumerate(numbers)
    )


def slot_sources(message: Message) -> list[Source]:
    """One view for each AIS."""
    return [Focused(message, segment) for segment in message.segments("AIS")]
