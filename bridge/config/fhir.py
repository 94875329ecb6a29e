"""FHIR: the EHRs that are told of studies."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from bridge.config.base import Seconds, Section, http_url


class Ehr(Section):
    """One EHR's FHIR R4 server and what may be written there."""

    name: str
    fhir_base: str
    imaging_study: Literal["off", "create", "put-by-id"] = "create"
    create_service_request: bool = False
    token_file: Path | None = None
    timeout_seconds: Seconds = 20
    slots: int = Field(4, ge=1)
    patient_wait_seconds: Seconds = 30
    dead_after_attempts: int = Field(12, ge=1)

    @field_validator("fhir_base")
    @classmethod
    def _base(cls, value: str) -> str:
        return http_url(value)
