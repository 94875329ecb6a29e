"""The sending side of MLLP: one message, one answer, or an error. Nothing late or odd ever counts as sent."""

from __future__ import annotations

import contextlib
import socket
import ssl
from types import TracebackType

from bridge.clock import Clock, SystemClock
from bridge.errors import NotReadable, RemoteUnavailable, Retry
from bridge.hl7.ack import read_ack
from bridge.hl7.header import header_of
from bridge.hl7.mllp import Frame, FrameReader, write_frame

_MOST_ACK = 1024 * 1024


class MllpClient:
    """A connection that is opened when needed and kept; not for two threads at once.

    `timeout` is the total of seconds for an exchange, connecting included.
    """

    def __init__(
        self,
        host: str,
        port: int,
        timeout: float,
        *,
        tls: ssl.SSLContext | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._address = (host, port)
        self._timeout = timeout
        self._tls = tls
        self._clock = clock or SystemClock()
        self._socket: socket.socket | None = None

    def __enter__(self) -> MllpClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; the next `send` opens another."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def send(self, raw: bytes) -> bytes:
        """One exchange: the peer's acknowledgement, positive or not, unframed; its MSA-2 is our MSH-10.

        Raises RemoteUnavailable and closes: SAFE when nothing was sent (refused, no connection), AMBIGUOUS when the
        answer is missing, late, unreadable or another message's. Raises BadValue for a message with framing bytes.
        """
        frame = write_frame(raw)
        deadline = self._clock.monotonic() + self._timeout
        sock = self._connected(deadline)
        try:
            sock.settimeout(self._left(deadline))
            sock.sendall(frame)
            answer = self._answer(sock, deadline)
            if read_ack(answer).control_id.strip() != header_of(raw).control_id.strip():
                raise RemoteUnavailable("the answer belongs to another message", where="MSA-2", code="hl7-ack-mismatch")
        except (OSError, NotReadable) as fault:
            self.close()
            word = "in time" if isinstance(fault, TimeoutError) else "that can be used"
            raise RemoteUnavailable(f"no acknowledgement {word}", where="MSA") from fault
        except RemoteUnavailable:
            self.close()
            raise
        return answer

    def _left(self, deadline: float) -> float:
        left = deadline - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _connected(self, deadline: float) -> socket.socket:
        if self._socket is not None and not _quiet(self._socket):
            self.close()
        if self._socket is None:
            try:
                sock = socket.create_connection(self._address, self._left(deadline))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socket = self._tls.wrap_socket(sock, server_hostname=self._address[0]) if self._tls else sock
            except OSError as fault:
                error = RemoteUnavailable("no connection", where=f"{self._address[0]}:{self._address[1]}")
                error.retry = Retry.SAFE
                raise error from fault
        return self._socket

    def _answer(self, sock: socket.socket, deadline: float) -> bytes:
        reader = FrameReader(_MOST_ACK, lenient=True)
        while True:
            sock.settimeout(self._left(deadline))
            data = sock.recv(65536)
            if not data:
                raise ConnectionResetError
            for event in reader.feed(data):
                if isinstance(event, Frame):
                    return event.data
                raise NotReadable("a broken frame", where="MSA")


def _quiet(sock: socket.socket) -> bool:
    """Nothing waits on the connection and the peer has not ended it: an answer now can only be to what we send now."""
    sock.settimeout(0)
    try:
        sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
    return False
