"""Browsers: the two origins, who may launch, what the viewer shows."""

from __future__ import annotations

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from bridge.config.base import Port, Section, http_url


class SmartIssuer(Section):
    """An EHR that may launch: `iss` is its FHIR base, compared exactly; `patient_system` names the Patient
    identifier by which its patients and ours are the same person."""

    iss: str
    client_id: str
    client_secret_file: Path | None = None
    client_key_file: Path | None = None
    scopes: str = "launch openid fhirUser patient/ImagingStudy.rs patient/Patient.r"

    @field_validator("iss")
    @classmethod
    def _iss(cls, value: str) -> str:
        http_url(value)
        return value  # as the EHR spells it: a trailing slash is part of the name


class LinkIssuer(Section):
    """A system that signs links for its own signed-in users: `jwks_file` holds its public keys (JSON Web Key Set)."""

    iss: str
    jwks_file: Path
    audience: str = "imaging-bridge"


class Launch(Section):
    smart: tuple[SmartIssuer, ...] = ()
    link: tuple[LinkIssuer, ...] = ()
    session_minutes: float = Field(60, gt=0, le=720)
    handover_seconds: float = Field(60, gt=0, le=300)
    link_minutes: float = Field(5, gt=0, le=60)
    pending_seconds: float = Field(300, gt=0, le=3600)


class Web(Section):
    """`public_url` is where launches and the console are reached, `viewer_url` where images are shown.

    They must be two origins with two **host names**: cookies ignore ports (RFC 6265 8.5).
    """

    public_url: str = "http://localhost:8080"
    viewer_url: str = "http://127.0.0.1:8081"
    host: str = "127.0.0.1"
    port: Port = 8080
    viewer_host: str = "127.0.0.1"
    viewer_port: Port = 8081
    threads: int = Field(24, ge=2)
    trusted_proxies: int = Field(0, ge=0)

    @field_validator("public_url", "viewer_url")
    @classmethod
    def _urls(cls, value: str) -> str:
        return http_url(value)

    @model_validator(mode="after")
    def _two_hosts(self) -> Self:
        if urlsplit(self.public_url).hostname == urlsplit(self.viewer_url).hostname:
            raise ValueError("public_url and viewer_url must have two host names: cookies ignore ports")
        return self


class Viewer(Section):
    investigational_banner: bool = True
