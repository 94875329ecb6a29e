"""One feed: bytes from the listener become a reading, the workflow decides, and the answer goes back.

Nothing is answered before the commit. When the store does not take a message, the sender hears nothing and the
connection ends: every sender resends after silence, while some take a refusal as final.
"""

from __future__ import annotations

import ipaddress
import logging
import uuid
from collections.abc import Sequence

from bridge.clock import Clock
from bridge.config import Feed
from bridge.domain.message import Envelope, Outcome, Reading
from bridge.errors import BadInput, BadValue, MissingField, NotReadable, StoreError, TooLarge, Unsupported
from bridge.hl7.ack import AckCode, AckError, verdict, write_ack, write_answers
from bridge.hl7.header import Header, header_of
from bridge.hl7.listener import ListenerLimits, MllpListener, PeerInfo
from bridge.hl7.message import Message
from bridge.hl7.mllp import FaultKind, FrameFault
from bridge.hl7.read import read_message
from bridge.log import work
from bridge.mapping import Mappings
from bridge.workflow.intake import Intake

log = logging.getLogger("bridge.hl7")
_BETWEEN = b"\x1c"
"""Parts the acknowledgements of one message in the store: no HL7 message holds the byte that ends a frame."""
_CONTROL_ID_MAX = 199  # HL7 v2.7 2.14.9.10 raised 20 to 199


class FeedReceiver:
    """Listens for one feed of `[[hl7.feed]]`."""

    def __init__(self, feed: Feed, mappings: Mappings, intake: Intake, clock: Clock) -> None:
        self._feed = feed
        self._mappings = mappings
        self._intake = intake
        self._clock = clock
        self._allowed = [ipaddress.ip_network(a, strict=False) for a in feed.allow_from]
        limits = ListenerLimits(
            message_bytes=feed.max_message_bytes,
            message_seconds=feed.message_seconds,
            idle_seconds=feed.idle_seconds,
            connections=feed.max_connections,
            connections_per_ip=feed.max_connections_per_address,
            lenient=feed.lenient_framing,
        )
        self.listener = MllpListener(
            feed.host, feed.port, limits, self._handle, self._handle_fault, clock, admit=self._admit
        )

    def _admit(self, address: str) -> bool:
        return not self._allowed or any(ipaddress.ip_address(address) in network for network in self._allowed)

    def _handle(self, raw: bytes, peer: PeerInfo) -> Sequence[bytes] | None:
        begun = self._clock.monotonic()
        header = header_of(raw)
        code = AckCode.AR

        def write(outcome: Outcome) -> tuple[str, bytes]:
            nonlocal code
            code, faults = self._verdict(outcome)
            acks = write_answers(header, code, faults, new_control_id=_new_control_id, now=self._clock.now())
            return code, _BETWEEN.join(acks)

        try:
            fate, stored = self._intake.take(self._envelope(header, raw, peer), self._read(header, raw), write)
        except StoreError as fault:
            work(log, "message", logging.ERROR, feed=self._feed.name, outcome="not-stored", error=fault.code)
            return None
        work(
            log,
            "message",
            feed=self._feed.name,
            message_type=header.message_type[:20],
            outcome=fate,
            code=code,
            size=len(raw),
            ms=round((self._clock.monotonic() - begun) * 1000, 2),
        )
        return stored.split(_BETWEEN) if stored else []

    def _handle_fault(self, fault: FrameFault, peer: PeerInfo) -> bytes | None:
        """Keep what came of a bad frame; only one that is too large has a header to answer to."""
        work(log, "frame", logging.WARNING, feed=self._feed.name, outcome=fault.kind.value, size=len(fault.data))
        ack = b""
        header = header_of(fault.head)
        if fault.kind is FaultKind.TOO_LARGE:
            refusal = AckError(104, "E", "", "Message too large")
            ack = write_ack(header, AckCode.AE, (refusal,), control_id=_new_control_id(), now=self._clock.now())
        if fault.data:
            try:
                self._intake.quarantine(
                    self._envelope(header, fault.data, peer), f"frame {fault.kind.value}", "AE" if ack else "", ack
                )
            except StoreError:
                return None
        return ack or None

    def _envelope(self, header: Header, raw: bytes, peer: PeerInfo) -> Envelope:
        return Envelope(
            feed=self._feed.name,
            raw=raw,
            peer=peer.host,
            received=self._clock.now(),
            sending_application=header.sending_application,
            sending_facility=header.sending_facility,
            control_id=header.control_id,
            message_type=header.message_type[:64],
        )

    def _read(self, header: Header, raw: bytes) -> Reading:
        try:
            if not header.usable:
                raise NotReadable("there is no MSH", where="MSH")
            _check_header(header, self._feed)
            message = Message.read(
                raw, charset_override=self._feed.charset_override, charset_default=self._feed.charset_default
            )
            return read_message(message, self._mappings)
        except BadInput as refusal:
            return Reading(refusal=refusal)

    def _verdict(self, outcome: Outcome) -> tuple[AckCode, list[AckError]]:
        told = [AckError(0, "W", "", text) for text in (*outcome.reasons, *outcome.warnings)]
        if outcome.refusal is None:
            return AckCode.AA, told
        if isinstance(outcome.refusal, Unsupported) and self._feed.unsupported == "AA":
            return AckCode.AA, [AckError(0, "W", "", "not taken: kept without effect")]
        code, fault = verdict(outcome.refusal)
        return code, [fault]


def _check_header(header: Header, feed: Feed) -> None:
    if not header.control_id:
        raise MissingField("no message control id", where="MSH-10")
    if len(header.control_id) > _CONTROL_ID_MAX:
        raise TooLarge("the message control id is too long", where="MSH-10")
    mode = header.processing_id.split(header.encoding_characters[:1] or "^")[0]
    if mode not in feed.processing_ids:
        raise Unsupported("processing id", where="MSH-11", code="unsupported-processing-id")
    if header.version and not header.version.startswith("2."):
        raise BadValue("version", where="MSH-12", code="unsupported-version")


def _new_control_id() -> str:
    return uuid.uuid4().hex[:20]
