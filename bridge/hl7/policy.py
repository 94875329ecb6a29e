"""What a feed takes (`[[hl7.feed]]`): headers, senders, and the way from its bytes to a reading."""

from __future__ import annotations

import ipaddress

from bridge.config import Feed, Sender
from bridge.domain.message import Reading
from bridge.errors import BadInput, BadValue, MissingField, NotReadable, TooLarge, Unsupported
from bridge.hl7.header import Header, header_of
from bridge.hl7.listener import PeerInfo
from bridge.hl7.message import Message
from bridge.hl7.read import read_message
from bridge.mapping import Mappings
from bridge.workflow.intake import Turn

_CONTROL_ID_MAX = 199  # HL7 v2.7 2.14.9.10 raised 20 to 199


def read_raw(raw: bytes, feed: Feed, mappings: Mappings, header: Header | None = None) -> Reading:
    """What the bytes say by this feed's settings; whatever is wrong with them is the reading's refusal.

    Who has read the `header` already gives it.
    """
    try:
        header = header or header_of(raw)
        if not header.usable:
            raise NotReadable("there is no MSH", where="MSH")
        _check_header(header, feed)
        message = Message.read(raw, charset_override=feed.charset_override, charset_default=feed.charset_default)
        return read_message(message, mappings, mixed=feed.orders == "mixed")
    except BadInput as refusal:
        return Reading(refusal=refusal)


def check_sender(header: Header, peer: PeerInfo, feed: Feed) -> None:
    """Raises BadInput when this peer may not speak as MSH-3 and MSH-4 say."""
    if feed.sender and not any(_is_sender(row, header, peer) for row in feed.sender):
        raise BadInput("not a sender of this feed", where="MSH-3", code="sender-not-allowed")


def address_allowed(address: str, networks: tuple[str, ...]) -> bool:
    """Whether one of the networks holds it; without any, whoever reaches the port."""
    one = ipaddress.ip_address(address)
    return not networks or any(one in ipaddress.ip_network(network, strict=False) for network in networks)


def turn_of(header: Header, feed: Feed) -> Turn | None:
    """The message's place in its sender's count, on a feed that counts. Raises BadValue(where="MSH-13")."""
    number = header.sequence_number.strip()
    if not feed.sequence_numbers or not number:
        return None
    try:
        link = "|".join((feed.name, header.sending_application, header.sending_facility))
        return Turn(link, int(number[:18]))
    except ValueError:
        raise BadValue("not a sequence number", where="MSH-13") from None


def _is_sender(row: Sender, header: Header, peer: PeerInfo) -> bool:
    names = {name.casefold() for name in peer.certificate_names}
    return (
        (not row.certificate or row.certificate.casefold() in names)
        and address_allowed(peer.host, row.addresses)
        and _names(header, header.sending_application, row.sending_application)
        and _names(header, header.sending_facility, row.sending_facility)
    )


def _names(header: Header, sent: str, wanted: str) -> bool:
    """HD: the whole field, or its namespace."""
    return not wanted or wanted in (sent, _first(header, sent))


def _first(header: Header, value: str) -> str:
    return value.split(header.encoding_characters[:1] or "^")[0]


def _check_header(header: Header, feed: Feed) -> None:
    if not header.control_id:
        raise MissingField("no message control id", where="MSH-10")
    if len(header.control_id) > _CONTROL_ID_MAX:
        raise TooLarge("the message control id is too long", where="MSH-10")
    if _first(header, header.processing_id) not in feed.processing_ids:
        raise Unsupported("processing id", where="MSH-11", code="unsupported-processing-id")
    version = _first(header, header.version)
    if version and not any(version == one or version.startswith(one + ".") for one in feed.versions):
        raise Unsupported("version", where="MSH-12", code="unsupported-version")
