"""A message on its way in, and what became of it: two things, kept in two columns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bridge.domain.appointment import AppointmentRequest
from bridge.domain.order import OrderRequest
from bridge.domain.patient import PatientEvent
from bridge.domain.report import ReportRequest
from bridge.errors import BadInput

UNKNOWN_ORDER = "the order was not known: kept as a placeholder"
"""The warning for a change or status of an order that we never saw; its sender is told 204 (table 0357)."""
UNKNOWN_END = "the order was not known: its end is kept, should it come"
"""The same for a cancel: always a warning, for what the sender wants is done."""


class Fate(StrEnum):
    """What the bridge did with a message."""

    APPLIED = "applied"
    """It changed what we hold."""
    PARKED = "parked"
    """Taken, but at least one of its orders waits for a person."""
    IGNORED = "ignored"
    """Taken, and rightly without effect."""
    REFUSED = "refused"
    """Answered with an error; kept, and can be replayed."""
    QUARANTINED = "quarantined"
    """Not even a message: the bytes are kept."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """The bytes and where they came from. `sending_*` and `control_id` are MSH-3, MSH-4, MSH-10 ('' if unreadable)."""

    feed: str
    raw: bytes
    peer: str
    received: datetime
    sending_application: str = ""
    sending_facility: str = ""
    control_id: str = ""
    message_type: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one message says, in our words. `refusal` is set when it cannot be used; nothing is then applied.

    `further_patients` holds the second and later pairs of a merge (A40): applied all together or not at all.
    """

    patient: PatientEvent | None = None
    orders: tuple[OrderRequest, ...] = ()
    warnings: tuple[str, ...] = ()
    refusal: BadInput | None = None
    further_patients: tuple[PatientEvent, ...] = ()
    reports: tuple[ReportRequest, ...] = ()
    appointments: tuple[AppointmentRequest, ...] = ()

    @property
    def patients(self) -> tuple[PatientEvent, ...]:
        return () if self.patient is None else (self.patient, *self.further_patients)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message: `warnings` are told to the sender, `reasons` to the person who looks.

    `expected_sequence` is MSA-4, where a feed counts its messages.
    """

    fate: Fate
    warnings: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    refusal: BadInput | None = None
    expected_sequence: str = ""

    @property
    def told(self) -> tuple[str, ...]:
        """Reasons and warnings, each once."""
        return tuple(dict.fromkeys((*self.reasons, *self.warnings)))
