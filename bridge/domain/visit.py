"""Which word on a visit's class, place and physician holds: the latest, whether ADT or an order message said it.

Each of the three has a time of its own: a message that names the class only says nothing of the place. They are called
as the columns of an order are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias

from bridge.domain.folding import OrderEvent
from bridge.domain.lifecycle import newer
from bridge.domain.patient import Visit

Times: TypeAlias = Mapping[str, datetime]
"""When each of the three was told; what nobody told of is not in it."""


def told_of(visit: Visit) -> dict[str, str]:
    """What is told of the three, as an order keeps them; the null deletes (HL7 v2.5.1 2.5.3)."""
    told = {
        "patient_class": visit.patient_class,
        "patient_location": visit.location,
        "referring_physician": visit.referring_physician.dicom,
    }
    return {name: value for name, value in told.items() if value}


def times_of(events: Iterable[OrderEvent]) -> dict[str, datetime]:
    """When the messages of an order told of each for the last time."""
    times: dict[str, datetime] = {}
    for event in events:
        for name in told_of(event.request.visit) if event.request else ():
            times[name] = max(event.happened, times.get(name, event.happened))
    return times


def outdated(times: Times, known: Times) -> set[str]:
    """What of it was told of later already."""
    return {name for name, time in times.items() if not newer(time, known.get(name))}


def latest(times: Times, known: Times) -> dict[str, datetime]:
    return {name: max(t[name] for t in (times, known) if name in t) for name in times.keys() | known.keys()}


_FIELDS = {
    "patient_class": "patient_class",
    "patient_location": "location",
    "referring_physician": "referring_physician",
}


def without(visit: Visit, names: Iterable[str]) -> Visit:
    """The visit as one that does not tell of these."""
    nothing = Visit()
    empty: dict[str, Any] = {_FIELDS[name]: getattr(nothing, _FIELDS[name]) for name in names}
    return replace(visit, **empty) if empty else visit
