"""The site's settings: one TOML file, environment overrides, every fault at once.

`Settings.load(path)` reads `config/bridge.toml`'s form. A variable `BRIDGE_HL7__ALARM=...` overrides a scalar
(`__` goes one level down). Unknown keys are faults. Secrets are named by `..._file` and never stand in the file.
"""

from __future__ import annotations

import os
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ValidationError, model_validator

from bridge.config.base import Network, Port, Seconds, Section
from bridge.config.dicom import (
    CHARACTER_SETS,
    MULTI_BYTE_SETS,
    AeTitle,
    CharacterSet,
    Dicom,
    DicomPeer,
    Station,
    Storage,
    Studies,
    writable,
)
from bridge.config.fhir import Ehr
from bridge.config.filling import Filling
from bridge.config.hl7 import Destination, Feed, Hl7, Sender
from bridge.config.performed import Performed
from bridge.config.retention import Retention, RetentionRule
from bridge.config.site import DatabaseSettings, Defaults, IssuerSetting, Log, Patients, Site
from bridge.config.watching import Alarms, Day, FeedAlarms, Hours, MetricsSetting
from bridge.config.web import Launch, LinkIssuer, SmartIssuer, Viewer, Web
from bridge.config.worklist import Worklist, WorklistView
from bridge.domain.identity import Issuer, Issuers
from bridge.errors import ConfigurationError

__all__ = [
    "CHARACTER_SETS",
    "ENVIRONMENT_PREFIX",
    "MULTI_BYTE_SETS",
    "AeTitle",
    "Alarms",
    "CharacterSet",
    "DatabaseSettings",
    "Day",
    "Defaults",
    "Destination",
    "Dicom",
    "DicomPeer",
    "Ehr",
    "Feed",
    "FeedAlarms",
    "Filling",
    "Hl7",
    "Hours",
    "IssuerSetting",
    "Launch",
    "LinkIssuer",
    "Log",
    "MetricsSetting",
    "Network",
    "Patients",
    "Performed",
    "Port",
    "Retention",
    "RetentionRule",
    "Seconds",
    "Section",
    "Sender",
    "Settings",
    "Site",
    "SmartIssuer",
    "Station",
    "Storage",
    "Studies",
    "Viewer",
    "Web",
    "Worklist",
    "WorklistView",
    "writable",
]

ENVIRONMENT_PREFIX = "BRIDGE_"


class Settings(Section):
    """Everything in `config/bridge.toml`. Relative paths are relative to the file."""

    data: Path = Path("data")
    site: Site = Site()
    issuer: tuple[IssuerSetting, ...] = ()
    defaults: Defaults = Defaults()
    patients: Patients = Patients()
    database: DatabaseSettings = DatabaseSettings()
    hl7: Hl7 = Hl7()
    station: tuple[Station, ...] = ()
    filling: Filling = Filling()
    dicom: Dicom = Dicom()
    worklist: Worklist = Worklist()
    performed: Performed = Performed()
    storage: Storage = Storage()
    studies: Studies = Studies()
    retention: Retention = Retention()
    ehr: tuple[Ehr, ...] = ()
    launch: Launch = Launch()
    web: Web = Web()
    viewer: Viewer = Viewer()
    alarms: Alarms = Alarms()
    metrics: MetricsSetting = MetricsSetting()
    log: Log = Log()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for what, names in (("ehr", [e.name for e in self.ehr]), ("issuer", [i.name for i in self.issuer])):
            if len(set(names)) != len(names):
                raise ValueError(f"two [[{what}]] have the same name")
        if unknown := {f.name for f in self.alarms.feed} - {f.name for f in self.hl7.feed}:
            raise ValueError(f"[[alarms.feed]] names no feed: {', '.join(sorted(unknown))}")
        if self.filling.study_instance_uid == "derived" and self.site.name == Site().name:
            # Two hospitals may count their orders alike; a UID is one in the world.
            raise ValueError('filling.study_instance_uid = "derived" needs a site.name of its own')
        strangers = self.worklist.titles - {p.ae_title for p in self.dicom.peer}
        if strangers and not {"worklist", "store"} & self.dicom.unknown_peers:
            # A title that is mistyped would leave the scanner with what everyone is shown, and nobody would see why.
            raise ValueError(f"[[worklist.view]] names no [[dicom.peer]]: {', '.join(sorted(strangers))}")
        return self

    @property
    def issuers(self) -> Issuers:
        return Issuers(Issuer(i.name, i.namespace, i.universal_id, i.universal_id_type, i.system) for i in self.issuer)

    @property
    def archive(self) -> Path:
        return self.data / "archive"

    @property
    def session_life(self) -> timedelta:
        return timedelta(minutes=self.launch.session_minutes)

    @classmethod
    def load(cls, path: Path, environment: dict[str, str] | None = None) -> Settings:
        """Read and check the file; raise `ConfigurationError` with every fault."""
        try:
            text = path.read_bytes().decode()
            tree = tomllib.loads(text)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
            raise ConfigurationError([f"{path}: {type(fault).__name__}: {fault}"]) from None
        faults = _override(tree, os.environ if environment is None else environment)
        try:
            settings = cls.model_validate(tree)
        except ValidationError as errors:
            faults += [f"{path}: {'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in _distinct(errors)]
        if faults:
            raise ConfigurationError(faults)
        return _anchored(settings, path.parent.resolve())


def _distinct(errors: ValidationError) -> list[Any]:
    """The errors without those that follow from others: a list is not too short because what stands in it is wrong."""
    found = errors.errors()
    inner = {e["loc"][:n] for e in found for n in range(len(e["loc"]))}
    return [e for e in found if not (e["type"] == "too_short" and e["loc"] in inner)]


def _anchored(settings: Settings, folder: Path) -> Settings:
    """Relative paths mean: beside the configuration file."""

    def beside(file: Path | None) -> Path | None:
        return None if file is None else (folder / file).resolve()

    launch = settings.launch.model_copy(
        update={
            "smart": tuple(
                i.model_copy(
                    update={
                        "client_secret_file": beside(i.client_secret_file),
                        "client_key_file": beside(i.client_key_file),
                    }
                )
                for i in settings.launch.smart
            ),
            "link": tuple(i.model_copy(update={"jwks_file": beside(i.jwks_file)}) for i in settings.launch.link),
        }
    )
    files = ("tls_ca_file", "tls_certificate_file", "tls_key_file")
    destinations = tuple(
        d.model_copy(update={f: beside(getattr(d, f)) for f in files}) for d in settings.hl7.destination
    )
    feeds = tuple(f.model_copy(update={n: beside(getattr(f, n)) for n in f.tls_files}) for f in settings.hl7.feed)
    hl7 = settings.hl7.model_copy(update={"feed": feeds, "destination": destinations})
    own = {name: beside(getattr(settings.dicom, name)) for name in settings.dicom.tls_files}
    dicom = settings.dicom.model_copy(update=own)
    database = settings.database.model_copy(update={"password_file": beside(settings.database.password_file)})
    ehr = tuple(e.model_copy(update={"token_file": beside(e.token_file)}) for e in settings.ehr)
    metrics = settings.metrics.model_copy(update={"token_file": beside(settings.metrics.token_file)})
    return settings.model_copy(
        update={
            "data": beside(settings.data),
            "hl7": hl7,
            "dicom": dicom,
            "launch": launch,
            "database": database,
            "ehr": ehr,
            "metrics": metrics,
        }
    )


def _override(tree: dict[str, Any], environment: dict[str, str] | os._Environ[str]) -> list[str]:
    """Lay `BRIDGE_A__B=value` over the tree; return a fault for each that names no setting."""
    faults: list[str] = []
    for name, value in environment.items():
        if not name.startswith(ENVIRONMENT_PREFIX) or name == "BRIDGE_CONFIG":
            continue
        parts = name[len(ENVIRONMENT_PREFIX) :].lower().split("__")
        model: Any = Settings
        node = tree
        for part in parts[:-1]:
            field = model.model_fields.get(part)
            model = field.annotation if field else None
            if not (isinstance(model, type) and issubclass(model, BaseModel)):
                break
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                break  # the file has a value where a section belongs, and is told so
        else:
            if parts[-1] in model.model_fields:
                node[parts[-1]] = value
                continue
        faults.append(f"environment: {name} names no setting")
    return faults
