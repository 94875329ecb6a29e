"""The site's settings: one TOML file, environment overrides, every fault at once.

`Settings.load(path)` reads `config/bridge.toml`'s form. A variable `BRIDGE_HL7__ALARM=...` overrides a scalar
(`__` goes one level down). Unknown keys are faults. Secrets are named by `..._file` and never stand in the file.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bridge.domain.identity import Issuer, Issuers
from bridge.errors import ConfigurationError

ENVIRONMENT_PREFIX = "BRIDGE_"


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError("not an address or network") from None
    return value


Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(ge=0)]
Network = Annotated[str, AfterValidator(_network)]
MULTI_BYTE_SETS = frozenset({"ISO 2022 IR 87", "ISO 2022 IR 149", "ISO 2022 IR 159"})
CHARACTER_SETS = frozenset(
    {
        *("", "ISO_IR 6", "ISO_IR 13", "ISO_IR 192", "GB18030", "GBK", "ISO 2022 IR 6", "ISO 2022 IR 13"),
        *MULTI_BYTE_SETS,
        *(f"ISO_IR {n}" for n in (100, 101, 109, 110, 126, 127, 138, 144, 148, 166)),
        *(f"ISO 2022 IR {n}" for n in (100, 101, 109, 110, 126, 127, 138, 144, 148, 166)),
    }
)
"""The defined terms of Specific Character Set (PS3.3 C.12.1.1.2) that can be written."""


def _character_set(value: str) -> str:
    terms = value.split("\\")
    known = all(term in CHARACTER_SETS and (len(terms) == 1 or term[:4] in ("", "ISO ")) for term in terms)
    if not known or terms[0] in MULTI_BYTE_SETS:
        raise ValueError("not defined terms of Specific Character Set (PS3.3 C.12.1.1.2), several joined by \\")
    return value


CharacterSet = Annotated[str, AfterValidator(_character_set)]
AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[^\\\x00-\x1f\x7f]+$")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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


class Sender(Section):
    """Who may speak as whom on a feed. Every value given must hold; '' and () hold always.

    `certificate` is a common or alternative name of the TLS client certificate; the others are MSH-3 and MSH-4.
    """

    certificate: str = ""
    addresses: tuple[Network, ...] = ()
    sending_application: str = ""
    sending_facility: str = ""


class Feed(Section):
    """One MLLP listener. `charset_override` beats MSH-18; `charset_default` stands in for an empty one.

    `mapping_overlay` and each value of `defaults` stand before the site's; "" = the site's.
    """

    name: str = Field(min_length=1)
    host: str = "127.0.0.1"
    port: Port = 2575
    plaintext: bool = False
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    tls_client_crl_file: Path | None = None
    tls_client_required: bool = True
    handshake_seconds: float = Field(5, gt=0)
    allow_from: tuple[Network, ...] = ()
    sender: tuple[Sender, ...] = ()
    mapping_overlay: str = ""
    defaults: Defaults = Defaults()
    charset_override: str = ""
    charset_default: str = ""
    versions: tuple[str, ...] = ("2",)
    processing_ids: tuple[str, ...] = ("P", "T", "D")
    unsupported: Literal["AR", "AA"] = "AR"
    unknown_order: Literal["AA", "AE"] = "AA"
    no_header: Literal["AR", "close"] = "AR"
    on_store_failure: Literal["drop", "nak"] = "drop"
    empty_ack_mode: Literal["NE", "AL"] = "NE"
    batch_answer: Literal["batch", "errors", "each", "none"] = "batch"
    sequence_numbers: bool = False
    lenient_framing: bool = False
    max_message_bytes: int = Field(16 * 1024 * 1024, ge=1024)
    max_connections: int = Field(64, ge=1)
    max_connections_per_address: int = Field(16, ge=1)
    max_messages_per_second: float = Field(0, ge=0)
    idle_seconds: Seconds = 3600
    message_seconds: Seconds = 30
    ack_seconds: float = Field(60, gt=0)

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not self.tls and not self.plaintext and self.host not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("off loopback, set tls_certificate_file, or plaintext = true")
        if not self.tls and (self.tls_key_file or self.tls_client_ca_file or self.tls_client_crl_file):
            raise ValueError("TLS needs tls_certificate_file")
        if self.tls_client_crl_file and not self.tls_client_ca_file:
            raise ValueError("tls_client_crl_file needs tls_client_ca_file")
        if any(s.certificate for s in self.sender) and not self.tls_client_ca_file:
            raise ValueError("a sender's certificate needs tls_client_ca_file")
        return self

    @property
    def tls(self) -> bool:
        return self.tls_certificate_file is not None

    @property
    def tls_files(self) -> tuple[str, ...]:
        """The names of the settings that are files."""
        return "tls_certificate_file", "tls_key_file", "tls_client_ca_file", "tls_client_crl_file"


class Destination(Section):
    """Where HL7 messages of ours go: one strict queue. `events` are what it is told; [] queues nothing.

    `events`: started, completed, discontinued (order status); accepted (an order was taken), cancelled,
    cancel-refused (answers to a placer). `placers` are issuers of placer numbers; () = every order.
    """

    name: str = Field(min_length=1)
    host: str = "127.0.0.1"
    port: Port
    events: frozenset[Literal["started", "completed", "discontinued", "accepted", "cancelled", "cancel-refused"]] = (
        frozenset()
    )
    message: Literal["ORM^O01", "OMG^O19", "OMI^O23"] = "ORM^O01"
    placers: tuple[str, ...] = ()
    sending_application: str = "IMAGING_BRIDGE"
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    processing_id: Literal["P", "T", "D"] = "P"
    charset: Literal["UNICODE UTF-8", "8859/1", "8859/2", "8859/5", "8859/7", "8859/9", "8859/15", "ASCII"] = (
        "UNICODE UTF-8"
    )
    discontinued_status: Literal["DC", "CD", "CA"] = "DC"
    on_reject: Literal["retry", "park", "stop"] = "retry"
    on_error: Literal["retry", "park", "stop"] = "park"
    ack_seconds: float = Field(20, gt=0, le=25)
    retry_seconds: float = Field(1, gt=0)
    retry_most_seconds: float = Field(60, gt=0)
    plaintext: bool = False
    tls_ca_file: Path | None = None
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.tls_ca_file is None and not self.plaintext and self.host not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("off loopback, set tls_ca_file, or plaintext = true")
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_certificate_file and tls_key_file go together")
        return self


class Hl7(Section):
    feed: tuple[Feed, ...] = (Feed(name="ris"),)
    keep_days: int = Field(90, ge=30)  # a resend is told by its stored message: for 30 days at least
    destination: tuple[Destination, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({f.name for f in self.feed}) != len(self.feed):
            raise ValueError("two feeds have the same name")
        if len({d.name for d in self.destination}) != len(self.destination):
            raise ValueError("two destinations have the same name")
        return self


class Station(Section):
    """A row of the station table: the step goes to `ae_titles` when every condition given here holds ('' = any)."""

    ae_titles: tuple[AeTitle, ...] = Field(min_length=1)
    modality: str = ""
    room: str = ""
    department: str = ""
    procedure: str = ""
    name: Annotated[str, Field(max_length=16)] = ""
    location: Annotated[str, Field(max_length=16)] = ""


class DicomPeer(Section):
    """What we know of a calling AE. An unlisted one may do what `dicom.unknown_peers` says.

    `utf8`: what `character_set` cannot tell may come in UTF-8; else the entry is withheld and listed for a person.
    """

    ae_title: AeTitle
    addresses: tuple[str, ...] = ()
    may: frozenset[Literal["echo", "worklist", "mpps", "store"]] = frozenset({"echo", "worklist", "mpps", "store"})
    character_set: CharacterSet = "ISO_IR 192"
    utf8: bool = True
    patient_issuer: str = ""
    accession_issuer: str = ""
    own_worklist_only: bool = False


class Dicom(Section):
    ae_title: AeTitle = "BRIDGE"
    host: str = "127.0.0.1"
    port: Port = 11112
    unknown_peers: frozenset[Literal["echo", "worklist", "mpps", "store"]] = frozenset({"echo"})
    require_called_ae_title: bool = True
    max_associations: int = Field(64, ge=1)
    max_pdu_bytes: int = Field(131072, ge=4096)
    network_seconds: Seconds = 60
    character_set: CharacterSet = "ISO_IR 192"
    utf8: bool = True
    peer: tuple[DicomPeer, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({p.ae_title for p in self.peer}) != len(self.peer):
            raise ValueError("two peers have the same AE title")
        return self

    def peer_of(self, ae_title: str) -> DicomPeer:
        for peer in self.peer:
            if peer.ae_title == ae_title:
                return peer
        return DicomPeer.model_construct(
            ae_title=ae_title,
            addresses=(),
            may=self.unknown_peers,
            character_set=self.character_set,
            utf8=self.utf8,
            patient_issuer="",
            accession_issuer="",
            own_worklist_only=False,
        )


class Worklist(Section):
    show_started: bool = False
    limit: int = Field(500, ge=1)
    age_days: int = Field(30, ge=1)


class Storage(Section):
    min_free_bytes: int = Field(500 * 1024 * 1024, ge=0)
    max_object_bytes: int = Field(4 * 1024**3, ge=1)


class Studies(Section):
    quiet_seconds: Seconds = 300


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
        return _http_url(value)


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
        _http_url(value)
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
        return _http_url(value)

    @model_validator(mode="after")
    def _two_hosts(self) -> Self:
        if urlsplit(self.public_url).hostname == urlsplit(self.viewer_url).hostname:
            raise ValueError("public_url and viewer_url must have two host names: cookies ignore ports")
        return self


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
    disk_free_bytes: int = Field(2 * 1024**3, ge=0)
    role_silent_seconds: Seconds = 30
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


class Viewer(Section):
    investigational_banner: bool = True


class DatabaseSettings(Section):
    """Empty `url` = SQLite in the data folder; else `postgresql+psycopg://...` (the password in `password_file`)."""

    url: str = ""
    password_file: Path | None = None


class Log(Section):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Settings(Section):
    """Everything in `config/bridge.toml`. Relative paths are relative to the file."""

    data: Path = Path("data")
    site: Site = Site()
    issuer: tuple[IssuerSetting, ...] = ()
    defaults: Defaults = Defaults()
    database: DatabaseSettings = DatabaseSettings()
    hl7: Hl7 = Hl7()
    station: tuple[Station, ...] = ()
    dicom: Dicom = Dicom()
    worklist: Worklist = Worklist()
    storage: Storage = Storage()
    studies: Studies = Studies()
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
            faults += [f"{path}: {'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in errors.errors()]
        if faults:
            raise ConfigurationError(faults)
        return _anchored(settings, path.parent.resolve())


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
    database = settings.database.model_copy(update={"password_file": beside(settings.database.password_file)})
    ehr = tuple(e.model_copy(update={"token_file": beside(e.token_file)}) for e in settings.ehr)
    metrics = settings.metrics.model_copy(update={"token_file": beside(settings.metrics.token_file)})
    return settings.model_copy(
        update={
            "data": beside(settings.data),
            "hl7": hl7,
            "launch": launch,
            "database": database,
            "ehr": ehr,
            "metrics": metrics,
        }
    )


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("not a plain http(s) URL")
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError("http is for loopback only: use https")
    return value.rstrip("/")


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
