"""The house itself: its name, its authorities, its database and its log."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import field_validator

from bridge.config.base import Section


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


class DatabaseSettings(Section):
    """Empty `url` = SQLite in the data folder; else `postgresql+psycopg://...` (the password in `password_file`)."""

    url: str = ""
    password_file: Path | None = None


class Log(Section):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
