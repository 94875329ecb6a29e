"""Who may associate, and for what: title + address + operation (PS3.8 9.3.4; an AE title alone proves nothing)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any, NamedTuple

from pydicom.uid import UID
from pynetdicom.presentation import PresentationContext

from bridge.config import Dicom, DicomPeer
from bridge.dicom.classes import STORAGE, stored
from bridge.dicom.walk import TRANSFER_SYNTAXES
from bridge.errors import ConfigurationError

VERIFICATION = "1.2.840.10008.1.1"
WORKLIST = "1.2.840.10008.5.1.4.31"
MPPS = "1.2.840.10008.3.1.2.3.3"
MPPS_RETRIEVE = "1.2.840.10008.3.1.2.3.4"
COMMITMENT = "1.2.840.10008.1.20.1"
AVAILABILITY = "1.2.840.10008.5.1.4.33"
_OPERATION = {VERIFICATION: "echo", WORKLIST: "worklist", MPPS: "mpps", MPPS_RETRIEVE: "mpps", COMMITMENT: "commit"}
_OPERATION |= {AVAILABILITY: "ian"}
_OPERATION |= dict.fromkeys(STORAGE, "store")
# Little endian first: some old devices offer big endian before it and mean neither.
_MESSAGE_SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"]


class Rejection(NamedTuple):
    """A-ASSOCIATE-RJ: result, source, reason (PS3.8 9.3.4)."""

    result: int
    source: int
    reason: int


CALLED_UNKNOWN = Rejection(1, 1, 7)
CALLING_UNKNOWN = Rejection(1, 1, 3)
CONGESTION = Rejection(2, 3, 1)
LIMIT = Rejection(2, 3, 2)
VERSION = Rejection(1, 2, 2)


class Policy:
    """The site's allow-list. `ConfigurationError` for an address that is neither an IP nor a network.

    `private` are the site's own classes of objects; `storage` those and the standard's.
    """

    def __init__(self, dicom: Dicom, private: Iterable[str] = ()) -> None:
        self.dicom = dicom
        self.storage = stored(private)
        self._operations = dict.fromkeys(self.storage, "store") | _OPERATION
        faults: list[str] = []
        self._networks = {peer.ae_title: _networks(peer, faults) for peer in dicom.peer}
        if faults:
            raise ConfigurationError(faults)

    def peer(self, calling: str, address: str, names: Iterable[str] = ()) -> DicomPeer | None:
        """What we know of a caller, or None when its title comes from an address that is not its own, or without its
        certificate; `names` are those in the certificate that it has shown."""
        networks = self._networks.get(calling, ())
        if networks and not any(_address(address) in network for network in networks):
            return None
        peer = self.dicom.peer_of(calling)
        if peer.certificate and peer.certificate.casefold() not in map(str.casefold, names):
            return None
        return peer

    def contexts(
        self,
        calling: str,
        called: str,
        address: str,
        proposed: Iterable[PresentationContext],
        names: Iterable[str] = (),
    ) -> list[PresentationContext] | Rejection:
        """The contexts to accept, or why the association is refused.

        A known peer keeps its association when some contexts are forbidden to it; one that may do nothing of what
        it asks is told so at once.
        """
        if self.dicom.require_called_ae_title and called != self.dicom.ae_title:
            return CALLED_UNKNOWN
        peer = self.peer(calling, address, names)
        if peer is None or not peer.may:
            return CALLING_UNKNOWN
        asked: dict[str, list[str]] = {}
        for context in proposed:
            asked.setdefault(str(context.abstract_syntax), []).extend(map(str, context.transfer_syntax))
        known = {uid: syntaxes for uid, syntaxes in asked.items() if uid in self._operations}
        allowed = {uid: syntaxes for uid, syntaxes in known.items() if self._operations[uid] in peer.may}
        if known and not allowed:
            return CALLING_UNKNOWN
        return [found for uid, syntaxes in allowed.items() if (found := _accepted(uid, syntaxes, uid in self.storage))]


def in_place(request: Any, abstract_syntax: str) -> bool:
    """Whether an operation is of the class of the context that it came under.

    What a peer may do was decided by contexts, but pynetdicom picks the service by the class that the command names.
    """
    named = getattr(request, "AffectedSOPClassUID", None) or getattr(request, "RequestedSOPClassUID", None)
    uid = str(named or "").strip(" \0")
    # What is retrieved is of the other class: some name that one.
    return uid == abstract_syntax or (uid, abstract_syntax) == (MPPS, MPPS_RETRIEVE)


def _accepted(uid: str, proposed: list[str], objects: bool) -> PresentationContext | None:
    """For objects the sender's own order of transfer syntaxes: they are kept as they come."""
    if objects:
        taken = [syntax for syntax in dict.fromkeys(proposed) if syntax in TRANSFER_SYNTAXES]
    else:
        taken = _MESSAGE_SYNTAXES
    if not taken:
        return None
    context = PresentationContext()
    context.abstract_syntax = UID(uid)
    context.transfer_syntax = [UID(syntax) for syntax in taken]
    return context


def _networks(peer: DicomPeer, faults: list[str]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    found = []
    for address in peer.addresses:
        try:
            found.append(ipaddress.ip_network(address, strict=False))
        except ValueError:
            faults.append(f"dicom.peer {peer.ae_title}: addresses: {address!r} is neither an IP address nor a network")
    return tuple(found)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ipaddress.ip_address("::")
    mapped = getattr(found, "ipv4_mapped", None)
    return mapped or found
