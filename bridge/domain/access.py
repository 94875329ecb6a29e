"""Who may see what: a launch session sees the studies it was opened for, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class User:
    """A person as an issuer names them. `subject` is unique within `issuer`; `name` is for the page."""

    issuer: str
    subject: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """An opened launch. `studies` are the Study Instance UIDs it may see; `patient_id` our own key."""

    id: int
    user: User
    patient_id: int
    studies: frozenset[str]
    expires: datetime
