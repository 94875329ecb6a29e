"""SIU to appointments (S12, S13, S14, S15, S17, S26; HL7 v2.5.1 10.4; IHE RAD-48)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from bridge.domain.appointment import AppointmentRequest
from bridge.errors import MissingField, TooLarge
from bridge.hl7.message import Message
from bridge.hl7.read_patients import read_patient
from bridge.mapping import Mappings
from bridge.mapping.source import Focused, Repetition, Segment, Source

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
    told = [mappings.slot.apply(slot, warnings) for slot in slots]
    starts = tuple(start for one in told if (start := one.moment("start")) is not None)
    places = tuple(place for one in told if (place := one.kept("location")))
    if len(places) != len(slots) or not places:
        rooms = len(message.segments("AIL"))
        places = tuple(filter(None, (values.kept("location"),))) if rooms == 1 else ()
        if rooms > 1:
            warnings.append("the rooms of the appointment cannot be told apart by service: none is taken (AIL-3)")
    if len(starts) != len(slots) or not starts:
        whole = values.moment("start")
        starts = (whole,) if whole else starts[:1]
    # As many services as orders: the first service is of the first order, and so on.
    paired = len(numbers) > 1 and len(starts) == len(numbers)
    apart = len(numbers) > 1 and len(places) == len(numbers)
    occurred = values.moment("occurred")
    return tuple(
        AppointmentRequest(
            event,
            placer,
            filler,
            patient,
            starts[at : at + 1] if paired else starts,
            occurred,
            places[at : at + 1] if apart else places,
        )
        for at, (placer, filler) in enumerate(numbers)
    )


def slot_sources(message: Message) -> list[Source]:
    """One view for each AIS, with the AIL of its resource group alone."""
    groups: list[list[Segment]] = [[]]
    for segment in message.all_segments:
        if segment.name == "RGS":
            groups.append([])
        elif segment.name in ("AIS", "AIL"):
            groups[-1].append(segment)
    sources: list[Source] = []
    for group in groups:
        services = [segment for segment in group if segment.name == "AIS"]
        rooms = [segment for segment in group if segment.name == "AIL"]
        for number, service in enumerate(services):
            own = rooms[number : number + 1] if len(rooms) == len(services) else rooms if len(rooms) == 1 else []
            sources.append(Focused(_Service(message, tuple(own)), service))
    return sources


@dataclass(frozen=True, slots=True)
class _Service:
    """The message with the rooms of one service: where these cannot be told, it has none."""

    message: Message
    rooms: tuple[Segment, ...]

    def segments(self, segment: str) -> tuple[Segment, ...]:
        return self.rooms if segment == "AIL" else self.message.segments(segment)

    def repetitions(self, segment: str, field: int) -> tuple[Repetition, ...]:
        found = self.segments(segment)
        return found[0].repetitions(field) if found else ()

    def fields(self, segment: str) -> Sequence[str]:
        found = self.segments(segment)
        return found[0].fields if found else ()
