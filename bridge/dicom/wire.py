"""One connection's bytes: whole PDUs in by deadlines that no byte puts off, answers out in few writes.

Only its own thread reads and writes; another may `hang_up`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from typing import Any

from bridge.clock import Clock

BUNDLE_BYTES = 64 * 1024
_QUICK_ACK = getattr(socket, "TCP_QUICKACK", None)


class Gone(Exception):
    """The peer has closed or does not answer any more: there is nobody to tell. `why` is for our log."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Wire:
    """`longest` is the longest run of bytes that is asked for at once; `send_seconds` what a peer may take to read."""

    def __init__(self, sock: socket.socket, clock: Clock, longest: int, send_seconds: float) -> None:
        self._sock = sock
        self._clock = clock
        self._buffer = bytearray(longest)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._send_seconds = send_seconds

    def tune(self) -> None:
        """No Nagle on our answers. The kernel finds out when a peer has lost its power."""
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """Common and alternative names of the peer's verified TLS certificate; () without one."""
        if not isinstance(self._sock, ssl.SSLSocket):
            return ()
        certificate: dict[str, Any] = self._sock.getpeercert() or {}
        common = [pair[1] for part in certificate.get("subject", ()) for pair in part if pair[0] == "commonName"]
        other = [name[1] for name in certificate.get("subjectAltName", ())]
        return tuple(map(str, (*common, *other)))

    def wait(self, seconds: float) -> None:
        """Until a byte is there. Raises `Gone`, at the deadline too."""
        if self._start == self._end:
            self._fill(self._clock.monotonic() + seconds)

    def take(self, count: int, until: float) -> memoryview:
        """Exactly `count` bytes, good until the next call. Raises `Gone`; `until` is on the clock's monotonic time."""
        if self._start + count > len(self._buffer):
            kept = self._end - self._start
            self._view[:kept] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, kept
        while self._end - self._start < count:
            self._fill(until)
        begin, self._start = self._start, self._start + count
        return self._view[begin : self._start]

    def readable(self, seconds: float = 0) -> bool:
        """Whether the peer has sent more, or has gone; within so many seconds."""
        if self._start < self._end:
            return True
        if isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
            return True
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def send(self, data: bytes) -> None:
        """Keep an answer for the next `flush`, which comes by itself when there is much."""
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes >= BUNDLE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is kept. Raises `Gone`."""
        if not self._out:
            return
        data = b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        try:
            self._sock.settimeout(self._send_seconds)
            self._sock.sendall(data)
        except OSError as fault:
            raise Gone(f"not written: {type(fault).__name__}") from None

    def drop(self) -> None:
        """Forget what is kept: it shall not be told."""
        self._out.clear()
        self._out_bytes = 0

    def linger(self, seconds: float) -> None:
        """Say the last word, and swallow what still comes until the peer closes (PS3.8 9.2.1, Sta13).

        Closing over unread bytes resets the connection and may destroy that word; and some peers take a close that
        comes with it for the word itself.
        """
        until = self._clock.monotonic() + seconds
        with contextlib.suppress(Gone):
            self.flush()
            while True:
                self._start = self._end = 0
                self._fill(until)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.close()

    def _fill(self, until: float) -> None:
        if self._start == self._end:
            self._start = self._end = 0
        left = until - self._clock.monotonic()
        if left <= 0:
            raise Gone("too slow")
        try:
            self._sock.settimeout(left)
            got = self._sock.recv_into(self._view[self._end :])
            # Not sticky, and senders that write a PDU in two halves wait 40 ms for our ACK of the first.
            if got and _QUICK_ACK is not None:
                self._sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
        except TimeoutError:
            raise Gone("too slow") from None
        except OSError as fault:
            raise Gone(type(fault).__name__) from None
        if not got:
            raise Gone("closed")
        self._end += got


def hang_up(sock: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    """Wake the connection's thread; past SSLSocket.shutdown, which is not for two threads."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, how)
