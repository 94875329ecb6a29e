"""When somebody must look, and who may read the metrics."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from bridge.config.base import Network, Seconds, Section

Day = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


def _hours(value: str) -> str:
    found = re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)", value)
    if not found or value[:5] >= value[6:]:
        raise ValueError('not hours of one day, like "08:00-17:00"; the whole day is "00:00-24:00"')
    return value


Hours = Annotated[str, AfterValidator(_hours)]


class FeedAlarms(Section):
    """What differs for one feed; what is left out is that of `[alarms]`."""

    name: str
    silent_minutes: float | None = Field(None, ge=0)
    working_days: frozenset[Day] | None = None
    working_hours: Hours | None = None


class Alarms(Section):
    """When somebody must look. A limit of 0 switches that alarm off."""

    check_seconds: float = Field(5, gt=0)
    silent_minutes: float = Field(60, ge=0)
    working_days: frozenset[Day] = frozenset({"Mon", "Tue", "Wed", "Thu", "Fri"})
    working_hours: Hours = "08:00-17:00"
    holidays: frozenset[date] = frozenset()
    error_share: float = Field(0.2, ge=0, le=1)
    error_window: int = Field(50, ge=1, le=1000)
    error_least: int = Field(10, ge=1)
    parked_minutes: float = Field(60, ge=0)
    review_hours: float = Field(24, ge=0)
    outbound_minutes: float = Field(10, ge=0)
    publication_minutes: float = Field(30, ge=0)
    performed_hours: float = Field(24, ge=0)
    commitment_hours: float = Field(24, ge=0)
    disk_free_bytes: int = Field(2 * 1024**3, ge=0)
    role_silent_seconds: Seconds = 30
    clock_seconds: float = Field(30, ge=0)
    feed: tuple[FeedAlarms, ...] = ()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if len({f.name for f in self.feed}) != len(self.feed):
            raise ValueError("two [[alarms.feed]] have the same name")
        if self.error_least > self.error_window:
            raise ValueError("error_least is more than error_window")
        return self


class MetricsSetting(Section):
    """Who may read /metrics: these addresses, or whoever knows the token in the file."""

    allow_from: tuple[Network, ...] = ("127.0.0.0/8", "::1/128")
    token_file: Path | None = None
