"""HL7 out: one thread a destination takes the head of its queue, sends it, and believes nothing but its own answer.

An acknowledgement counts only if it can be read, its MSA-2 is our MSH-10, and it came on the same exchange in time
(hl7-acks section 9, rule 12); everything else is no answer, and the same bytes go again on a new connection.
"""

from __future__ import annotations

import logging
import ssl

from bridge.config import Destination
from bridge.errors import BadInput, ConfigurationError, RemoteUnavailable
from bridge.hl7.ack import AckCode, read_ack
from bridge.hl7.client import MllpClient
from bridge.hl7.mllp import write_frame
from bridge.hl7.write import write_telling
from bridge.log import work
from bridge.store.outbound import OutboundRow, OutboundState
from bridge.workflow.context import Context
from bridge.workflow.notifying import OutQueue, read_telling

log = logging.getLogger("bridge.hl7.sender")


class Sender:
    """`send_due` is for one thread; `close` after it has ended. Raises `ConfigurationError` for unusable TLS files."""

    def __init__(self, context: Context, destination: Destination, queue: OutQueue | None = None) -> None:
        self._context = context
        self._destination = destination
        self._queue = queue or OutQueue(context, destination)
        self._client = MllpClient(
            destination.host,
            destination.port,
            destination.ack_seconds,
            tls=_tls(destination),
            clock=context.clock,
        )

    def send_due(self) -> int:
        """Try the oldest message that waits. 1 when it left the queue, so that the next may follow at once; else 0."""
        row = self._queue.head()
        if row is None:
            return 0
        try:
            raw = self._bytes(row)
            write_frame(raw)
        except BadInput as fault:
            return self._give_up(row, row.attempts, f"{fault.code} {fault.where}".strip(), self._destination.on_error)
        attempt = self._queue.begin(row, raw)
        if not attempt:
            return 0
        try:
            code = read_ack(self._client.send(raw)).code
        except RemoteUnavailable as fault:
            self._queue.again(row, attempt, fault.code)
            self._log(row, attempt, fault.code, logging.WARNING)
            return 0
        if code.positive:
            done = self._queue.sent(row, attempt, code)
            self._log(row, attempt, code)
            return int(done)
        policy = self._destination.on_reject if code.accept is AckCode.CR else self._destination.on_error
        if policy == "retry":
            self._queue.again(row, attempt, code)
            self._log(row, attempt, code, logging.WARNING)
            return 0
        return self._give_up(row, attempt, f"answered-{code}", policy)

    def close(self) -> None:
        self._client.close()

    def _bytes(self, row: OutboundRow) -> bytes:
        if row.state is not OutboundState.NEW:
            return row.raw
        settings = self._context.settings
        return write_telling(
            read_telling(row.raw),
            self._destination,
            self._context.issuers,
            settings.site.zone,
            control_id=row.control_id,
            now=self._context.clock.now(),
        )

    def _give_up(self, row: OutboundRow, attempt: int, reason: str, policy: str) -> int:
        """`retry` cannot help a message that cannot be built: it is parked."""
        self._queue.give_up(row, attempt, reason, stop=policy == "stop")
        self._log(row, attempt, reason, logging.ERROR)
        return int(policy != "stop")

    def _log(self, row: OutboundRow, attempt: int, code: str, level: int = logging.INFO) -> None:
        work(
            log,
            "message out",
            level,
            target=row.destination,
            message_id=row.id,
            control_id=row.control_id,
            outcome=row.event,
            attempt=attempt,
            code=code,
        )


def _tls(destination: Destination) -> ssl.SSLContext | None:
    """Server and, when we have one, client certificate (BCP 195: TLS 1.2 or later)."""
    if destination.tls_ca_file is None:
        return None
    try:
        context = ssl.create_default_context(cafile=str(destination.tls_ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if destination.tls_certificate_file is not None:
            context.load_cert_chain(destination.tls_certificate_file, destination.tls_key_file)
    except OSError as fault:  # ssl.SSLError too
        raise ConfigurationError([f"hl7.destination {destination.name}: its TLS files: {fault.strerror}"]) from None
    return context
