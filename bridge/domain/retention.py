"""When a study's time is over, and what keeps it all the same."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from bridge.domain.performed import DERIVED


class Kept(StrEnum):
    """Why a study is not deleted though its time is over: each is undone by somebody, never by time alone."""

    HOLD = "on hold"
    REVIEW = "waits for a person (bridge review)"
    UNMATCHED = "belongs to no order"
    UNPUBLISHED = "not every EHR has it as it is"
    COMMITMENT = "a device waits for its storage commitment"
    VIEWER = "open in a viewer, or by a link"


@dataclass(frozen=True, slots=True)
class Planned:
    """A study whose time is over at `due_at`: under which rule, how much it is, and what keeps it."""

    study_id: int
    rule: int
    due_at: datetime
    instances: int
    size: int
    kept: tuple[Kept, ...] = field(default=())


def fits(wanted: Collection[str], modalities: Collection[str]) -> bool:
    """Whether a rule for some modalities means a study: all its images are of them, whatever was derived from them."""
    own = set(modalities) - DERIVED or set(modalities)
    return not wanted or own <= set(wanted)
