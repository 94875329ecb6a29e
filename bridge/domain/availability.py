"""Instance Availability Notification (PS3.4 Annex R): where an archive says that images can be had."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Availability(StrEnum):
    """Instance Availability (0008,0056). OFFLINE needs a person's hand; UNAVAILABLE cannot be had at all."""

    ONLINE = "ONLINE"
    NEARLINE = "NEARLINE"
    OFFLINE = "OFFLINE"
    UNAVAILABLE = "UNAVAILABLE"


PRESENT = (Availability.ONLINE, Availability.NEARLINE)
"""What counts as there, for an exam whose device lists it."""


@dataclass(frozen=True, slots=True)
class RemoteInstance:
    """An item of the Referenced SOP Sequence. `location` is the Retrieve URL or URI, '' when it names none."""

    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    availability: Availability
    retrieve_ae_title: str
    location: str = ""


@dataclass(frozen=True, slots=True)
class AvailabilityNotice:
    """One study; it says nothing of whether that is all of it (R.3)."""

    sop_instance_uid: str
    study_instance_uid: str
    instances: tuple[RemoteInstance, ...]
