"""Appointments of imaging orders (SIU; HL7 v2.5.1 10.4, 10.6; IHE RAD-48)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bridge.domain.identity import Identifier
from bridge.domain.patient import PatientData

BOOKED = frozenset({"S12", "S13", "S14"})
"""New, rescheduled, modified: the steps are to be done at the time told."""
GIVEN_UP = frozenset({"S15", "S17", "S26"})
"""Cancelled, deleted, not kept by the patient: the steps leave the worklist; the order itself stays."""
EVENTS = BOOKED | GIVEN_UP


@dataclass(frozen=True, slots=True)
class AppointmentRequest:
    """One order's appointment as a message tells it. At least one of `placer`, `filler` is present.

    `starts` are the site's wall clock (naive): one for each step in the message's order, or one for all; () when the
    message names no time. `places` are rooms as the station table knows them: one for each of `starts`, or one for all;
    () when the message names none. `occurred` orders late messages (aware UTC).
    """

    event: str
    placer: Identifier | None
    filler: Identifier | None
    patient: PatientData
    starts: tuple[datetime, ...] = ()
    occurred: datetime | None = None
    places: tuple[str, ...] = ()

    @property
    def booked(self) -> bool:
        return self.event in BOOKED
