"""HL7 v2: who may send what to us, and where messages of ours go."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from bridge.config.base import Network, Port, Seconds, Section
from bridge.config.site import Defaults

_TAKEN_BY_ESCAPES = frozenset(
    {"ASCII", "ISOIR6", "ISOIR14", "ISOIR87", "ISOIR159", "KSX1001", *(f"8859{n}" for n in (*range(1, 10), 15))}
)
_ALONE = frozenset(
    {"UNICODEUTF8", "UNICODE", "UTF8", "GB180302000", "GB18030", "BIG5"}
    | {f"WINDOWS{page}" for page in range(1250, 1259)}
)


def _character_sets(value: str) -> str:
    """A set of table 0211 or a Windows page, or several with `~` between, the first being the default (2.14.9.18).

    Raises ValueError for what would be refused message by message.
    """
    names = [re.sub(r"[\s/_-]", "", name).upper() for name in value.split("~")]
    if unknown := [name for name in names if name and name not in _TAKEN_BY_ESCAPES | _ALONE]:
        raise ValueError(f"no character set: {', '.join(unknown)}; write it as in table 0211, or windows-1252")
    if len(set(names)) > 1 and _ALONE.intersection(names):
        raise ValueError("a set that stands alone cannot be combined with others")
    return value


CharacterSets = Annotated[str, AfterValidator(_character_sets)]


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
    charset_override: CharacterSets = ""
    charset_default: CharacterSets = ""
    versions: tuple[str, ...] = ("2",)
    processing_ids: tuple[str, ...] = ("P", "T", "D")
    unsupported: Literal["AR", "AA"] = "AR"
    unknown_order: Literal["AA", "AE"] = "AA"
    orders: Literal["imaging", "mixed"] = "imaging"
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


Event = Literal[
    "started",
    "completed",
    "discontinued",
    "numbered",
    "accepted",
    "status",
    "cancelled",
    "cancel-refused",
    "stopped",
    "stop-refused",
    "held",
    "hold-refused",
    "released",
    "release-refused",
    "replaced",
    "replace-refused",
    "changed",
    "change-refused",
]


class Destination(Section):
    """Where HL7 messages of ours go: one strict queue. `events` are what it is told; [] queues nothing.

    `events`: started, completed, discontinued (order status); numbered (an accession number was made here); the others
    answer a placer. `placers` are issuers of placer numbers; () = every order.
    """

    name: str = Field(min_length=1)
    host: str = "127.0.0.1"
    port: Port
    events: frozenset[Event] = frozenset()
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
