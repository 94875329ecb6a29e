"""The house itself: its name, its authorities, its database and its log."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import field_validator

from bridge.config.base import Section
from bridge.domain.identity import IDENTIFYING


class Site(Section):
    name: str = "Imaging Bridge"
    time_zone: str = "UTC"
    mapping_overlay: str = ""

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError("not an IANA time zone") from None
        return value

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)


class IssuerSetting(Section):
    name: str
    namespace: str = ""
    universal_id: str = ""
    universal_id_type: str = ""
    system: str = ""


class Defaults(Section):
    """The authority meant by a sender that names none."""

    patient_issuer: str = ""
    accession_issuer: str = ""
    placer_issuer: str = ""
    filler_issuer: str = ""


class Patients(Section):
    """`identifying_types`: the types of PID-3.5 and MRG-1.5 (table 0203, "" = none given) that say who a patient is.

    `merged_away`: what becomes of an ADT update that comes under an identifier that was merged away.
    """

    identifying_types: frozenset[str] = IDENTIFYING
    merged_away: Literal["survivor", "refuse"] = "survivor"

    @field_validator("identifying_types")
    @classmethod
    def _some(cls, value: frozenset[str]) -> frozenset[str]:
        if not value:
            raise ValueError("without one, no patient can be told from another")
        return frozenset(one.upper() for one in value)


class DatabaseSettings(Section):
    """Empty `url` = SQLite in the data folder; else `postgresql+psycopg://...` (the password in `password_file`)."""

    url: str = ""
    password_file: Path | None = None


class Log(Section):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
