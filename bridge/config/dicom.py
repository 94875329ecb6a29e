"""DICOM: our AE, its peers, the station table, storage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from bridge.config.base import Port, Seconds, Section
from bridge.uids import is_uid

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


def writable(value: str) -> bool:
    """Whether values of (0008,0005), joined by a backslash, name a character set that answers can be written in."""
    terms = value.split("\\")
    known = all(term in CHARACTER_SETS and (len(terms) == 1 or term[:4] in ("", "ISO ")) for term in terms)
    return known and terms[0] not in MULTI_BYTE_SETS


def _character_set(value: str) -> str:
    if not writable(value):
        raise ValueError("not defined terms of Specific Character Set (PS3.3 C.12.1.1.2), several joined by \\")
    return value


def _private(value: str) -> str:
    if not is_uid(value) or value.startswith("1.2.840.10008."):
        raise ValueError("not a UID of a private class (those of 1.2.840.10008 are the standard's)")
    return value


PrivateClass = Annotated[str, AfterValidator(_private)]
CharacterSet = Annotated[str, AfterValidator(_character_set)]
AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[^\\\x00-\x1f\x7f]+$")]


class Station(Section):
    """A row of the station table: the step goes to `ae_titles` when every condition given here holds ('' = any)."""

    ae_titles: tuple[AeTitle, ...] = Field(min_length=1)
    modality: str = ""
    room: str = ""
    department: str = ""
    procedure: str = ""
    patient_class: str = ""
    name: Annotated[str, Field(max_length=16)] = ""
    location: Annotated[str, Field(max_length=16)] = ""


Operation = Literal["echo", "worklist", "mpps", "store", "commit", "reject", "ian"]
Unlisted = Literal["echo", "worklist", "mpps", "store", "commit"]
"""What an unknown device may at most: it takes nothing out of use, and says nothing of what others have."""


class DicomPeer(Section):
    """What we know of a calling AE. An unlisted one may do what `dicom.unknown_peers` says.

    `character_set` of its own row holds for every answer; without one a query's own may (`dicom/charset.py`).

    `utf8`: what `character_set` cannot tell may come in UTF-8; else the entry is withheld and listed for a person.
    Whichever of the two a row leaves out is as in `[dicom]`. What it is shown of the worklist is in `worklist.py`.
    `host`, `port`: where it listens itself, to be told what became of a storage commitment; "same": first on the
    association on which it asked.
    """

    ae_title: AeTitle
    addresses: tuple[str, ...] = ()
    may: frozenset[Operation] = frozenset({"echo", "worklist", "mpps", "store", "commit"})
    host: str = ""
    port: Port = 0
    commitment: Literal["new", "same"] = "new"
    character_set: CharacterSet = "ISO_IR 192"
    utf8: bool = True
    patient_issuer: str = ""
    accession_issuer: str = ""
    certificate: str = ""

    @property
    def names_character_set(self) -> bool:
        return "character_set" in self.model_fields_set

    @model_validator(mode="after")
    def _whole_address(self) -> Self:
        if bool(self.host) != bool(self.port):
            raise ValueError("host and port belong together: where the device itself listens")
        return self

    @property
    def address(self) -> tuple[str, int] | None:
        return (self.host, self.port) if self.host else None


class Dicom(Section):
    ae_title: AeTitle = "BRIDGE"
    host: str = "127.0.0.1"
    port: Port = 11112
    unknown_peers: frozenset[Unlisted] = frozenset({"echo"})
    require_called_ae_title: bool = True
    transport: Literal["own", "pynetdicom"] = "own"
    max_connections: int = Field(128, ge=1)
    max_connections_per_address: int = Field(64, ge=1)
    max_associations: int = Field(64, ge=1)
    max_associations_per_ae: int = Field(32, ge=1)
    max_pdu_bytes: int = Field(131072, ge=4096)
    max_message_bytes: int = Field(8 * 1024**2, ge=64 * 1024)
    memory_bytes: int = Field(128 * 1024**2, ge=1024**2)
    network_seconds: Seconds = 60
    character_set: CharacterSet = "ISO_IR 192"
    utf8: bool = True
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    tls_client_crl_file: Path | None = None
    tls_client_required: bool = True
    peer: tuple[DicomPeer, ...] = ()

    @field_validator("peer")
    @classmethod
    def _as_the_site(cls, peers: tuple[DicomPeer, ...], info: ValidationInfo) -> tuple[DicomPeer, ...]:
        """What a row does not say of what the device can read, the site says of all its devices."""
        site = {name: info.data[name] for name in ("character_set", "utf8") if name in info.data}
        return tuple(
            DicomPeer.model_construct(peer.model_fields_set, **(site | peer.model_dump(include=peer.model_fields_set)))
            for peer in peers
        )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({p.ae_title for p in self.peer}) != len(self.peer):
            raise ValueError("two peers have the same AE title")
        return self

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.tls_certificate_file is None and (
            self.tls_key_file or self.tls_client_ca_file or self.tls_client_crl_file
        ):
            raise ValueError("TLS needs tls_certificate_file")
        if self.tls_certificate_file is not None and self.transport != "own":
            raise ValueError('TLS needs transport = "own"')
        if self.tls_client_crl_file and not self.tls_client_ca_file:
            raise ValueError("tls_client_crl_file needs tls_client_ca_file")
        if any(peer.certificate for peer in self.peer) and not self.tls_client_ca_file:
            raise ValueError("a peer's certificate needs tls_client_ca_file")
        return self

    @property
    def tls_files(self) -> tuple[str, ...]:
        """The names of the settings that are files."""
        return "tls_certificate_file", "tls_key_file", "tls_client_ca_file", "tls_client_crl_file"

    def peer_of(self, ae_title: str) -> DicomPeer:
        for peer in self.peer:
            if peer.ae_title == ae_title:
                return peer
        return DicomPeer.model_construct(
            {"ae_title", "may"},
            ae_title=ae_title,
            addresses=(),
            may=self.unknown_peers,
            character_set=self.character_set,
            utf8=self.utf8,
            patient_issuer="",
            accession_issuer="",
            certificate="",
        )


class Storage(Section):
    min_free_bytes: int = Field(500 * 1024 * 1024, ge=0)
    max_object_bytes: int = Field(4 * 1024**3, ge=1)
    rejected_for_quality: Literal["hide", "show"] = "hide"
    private_sop_classes: tuple[PrivateClass, ...] = ()


class Studies(Section):
    quiet_seconds: Seconds = 300
