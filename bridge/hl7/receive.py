"""One feed: bytes from the listener become a reading, the workflow decides, and the answer goes back.

Nothing is answered before the commit. When the store does not take a message, the sender hears nothing and the
connection ends: every sender resends after silence, while some take a refusal as final. A feed may say otherwise.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import replace

from bridge.clock import Clock
from bridge.config import Feed
from bridge.domain.message import UNKNOWN_END, UNKNOWN_ORDER, Envelope, Outcome, Reading
from bridge.errors import BadInput, StoreError
from bridge.hl7.ack import AckCode, AckError, read_ack, verdict, write_ack, write_answers
from bridge.hl7.batch import BatchFile, read_batches, write_batches
from bridge.hl7.header import Header, header_of
from bridge.hl7.listener import ListenerLimits, MllpListener, PeerInfo
from bridge.hl7.mllp import FaultKind, FrameFault
from bridge.hl7.policy import address_allowed, check_sender, read_raw, turn_of
from bridge.hl7.tls import server_context
from bridge.log import work
from bridge.mapping import Mappings
from bridge.workflow.intake import Intake, Turn

log = logging.getLogger("bridge.hl7")
_SHOWN = 40
_BETWEEN = b"\x1c"
"""Parts the acknowledgements of one message in the store: no HL7 message holds the byte that ends a frame."""
_UNSUPPORTED = frozenset({200, 201, 202, 203})
_UNKNOWN_KEY = 204


class FeedReceiver:
    """Listens for one feed of `[[hl7.feed]]`. Raises ConfigurationError for TLS files that cannot be used."""

    def __init__(self, feed: Feed, mappings: Mappings, intake: Intake, clock: Clock) -> None:
        self._feed = feed
        self._mappings = mappings
        self._intake = intake
        self._clock = clock
        limits = ListenerLimits(
            message_bytes=feed.max_message_bytes,
            message_seconds=feed.message_seconds,
            idle_seconds=feed.idle_seconds,
            handshake_seconds=feed.handshake_seconds,
            ack_seconds=feed.ack_seconds,
            connections=feed.max_connections,
            connections_per_ip=feed.max_connections_per_address,
            messages_per_second=feed.max_messages_per_second,
            lenient=feed.lenient_framing,
        )
        self.listener = MllpListener(
            feed.host,
            feed.port,
            limits,
            self._handle,
            self._handle_fault,
            clock,
            tls=server_context(feed),
            admit=lambda address: address_allowed(address, feed.allow_from),
        )

    def _handle(self, raw: bytes, peer: PeerInfo) -> Sequence[bytes] | None:
        batch = read_batches(raw)
        if batch is not None:
            return self._handle_batch(batch, peer)
        acks = self._take(raw, peer)
        return None if self._feed.no_header == "close" and not header_of(raw).usable else acks

    def _handle_batch(self, file: BatchFile, peer: PeerInfo) -> Sequence[bytes] | None:
        """Every message by itself. When the store fails half way, the batch comes again and the first half is known."""
        answers: list[list[bytes]] = []
        for batch in file.batches:
            if batch.told is not None and batch.told != len(batch.messages):
                work(log, "batch", logging.WARNING, feed=self._feed.name, outcome="BTS-1 differs")
            acks: list[bytes] = []
            for raw in batch.messages:
                given = self._take(raw, peer)
                if given is None:
                    return None
                acks += given
            answers.append(acks)
        mode = self._feed.batch_answer
        if mode == "none":
            return []
        if mode == "each":
            return [ack for acks in answers for ack in acks]
        if mode == "errors":
            answers = [[ack for ack in acks if not read_ack(ack).code.positive] for acks in answers]
        return [write_batches(file, answers, new_control_id=_new_control_id, now=self._clock.now())]

    def _take(self, raw: bytes, peer: PeerInfo) -> list[bytes] | None:
        """The acknowledgements of one message; None when it was not stored and nothing may be said."""
        begun = self._clock.monotonic()
        header = header_of(raw)

        told = ""

        def write(outcome: Outcome) -> tuple[str, bytes]:
            nonlocal told
            code, faults = self._verdict(outcome)
            told = code.value
            return code, _BETWEEN.join(self._answers(header, code, faults, outcome.expected_sequence))

        reading, turn = self._read(header, raw, peer)
        try:
            fate, stored = self._intake.take(self._envelope(header, raw, peer), reading, write, turn=turn)
        except StoreError as fault:
            kept = {"outcome": "not-stored", "error": fault.code, "where": fault.where}
            work(log, "message", logging.ERROR, feed=self._feed.name, **kept)
            if self._feed.on_store_failure == "drop":
                return None
            return self._answers(header, AckCode.AR, [AckError(207)])
        acks = stored.split(_BETWEEN) if stored else []
        work(
            log,
            "message",
            feed=self._feed.name,
            message_type=header.message_type[:20],
            control_id=header.control_id[:_SHOWN],
            outcome=fate,
            code=told or (read_ack(acks[0]).code if acks else "none"),
            size=len(raw),
            ms=round((self._clock.monotonic() - begun) * 1000, 2),
        )
        return acks

    def _read(self, header: Header, raw: bytes, peer: PeerInfo) -> tuple[Reading, Turn | None]:
        try:
            check_sender(header, peer, self._feed)
            turn = turn_of(header, self._feed)
        except BadInput as refusal:
            return Reading(refusal=refusal), None
        return read_raw(raw, self._feed, self._mappings, header), turn

    def _answers(
        self, header: Header, code: AckCode, faults: Sequence[AckError], expected_sequence: str = ""
    ) -> list[bytes]:
        return write_answers(
            header,
            code,
            faults,
            new_control_id=_new_control_id,
            now=self._clock.now(),
            when_empty=self._feed.empty_ack_mode,
            expected_sequence=expected_sequence,
        )

    def _handle_fault(self, fault: FrameFault, peer: PeerInfo) -> bytes | None:
        """Keep what came of a bad frame; only one that is too large has a header to answer to."""
        work(log, "frame", logging.WARNING, feed=self._feed.name, outcome=fault.kind.value, size=len(fault.data))
        ack = b""
        header = header_of(fault.head)
        if fault.kind is FaultKind.TOO_LARGE:
            # In enhanced mode it is the accept acknowledgement that says so.
            code = AckCode.CE if header.accept_ack or header.application_ack else AckCode.AE
            refusal = AckError(104, "E", "", "Message too large")
            ack = write_ack(header, code, (refusal,), control_id=_new_control_id(), now=self._clock.now())
        if fault.data:
            try:
                self._intake.quarantine(
                    self._envelope(header, fault.data, peer),
                    f"frame {fault.kind.value}",
                    read_ack(ack).code if ack else "",
                    ack,
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

    def _verdict(self, outcome: Outcome) -> tuple[AckCode, list[AckError]]:
        """MSA-1 and the ERR of an outcome, by the feed's policy (table 0357)."""
        if outcome.refusal is None:
            # A cancel is never refused: what it wants is done.
            strict = self._feed.unknown_order == "AE" and UNKNOWN_ORDER in outcome.warnings
            return AckCode.AE if strict else AckCode.AA, [_warning(text, strict=strict) for text in outcome.told]
        code, fault = verdict(outcome.refusal)
        if fault.code in _UNSUPPORTED and self._feed.unsupported == "AA":
            return AckCode.AA, [replace(fault, severity="W", text="not taken: kept without effect")]
        return code, [fault]


def _warning(text: str, *, strict: bool) -> AckError:
    if text in (UNKNOWN_ORDER, UNKNOWN_END):
        return AckError(_UNKNOWN_KEY, "E" if strict and text == UNKNOWN_ORDER else "W", "ORC^1^2", text)
    return AckError(0, "W", "", text)


def _new_control_id() -> str:
    return uuid.uuid4().hex[:20]
