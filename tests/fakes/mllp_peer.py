"""An MLLP receiver that answers as it is told, rightly or wrongly, and writes down what it really said."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from bridge.hl7.ack import AckCode, write_ack
from bridge.hl7.header import header_of
from bridge.hl7.mllp import Frame, FrameReader, write_frame

HONEST = ("AA", "CA")
NEGATIVE = ("AE", "CE", "AR", "CR")
WRONG = (
    "silence",  # nothing, until the sender gives up
    "late",  # AA, once the sender has given up
    "close",  # the connection ends instead of an answer
    "half",  # the beginning of an AA, then the end
    "junk",  # a frame that is no HL7
    "noise",  # AA without its frame, then the end
    "no-msa",  # a message, but no acknowledgement
    "odd-code",  # MSA-1 outside table 0008
    "empty-id",  # AA without MSA-2
    "other-id",  # AA for a message that nobody sent
    "previous",  # AA for the message before
    "previous-first",  # the same, and then the right one: too late, the first answer is the answer
    "refused-then-AA",  # AA and AE in one breath, AE first
)


class MllpPeer:
    """`behave(control_id, number)` names what the `number`th message (from 0) is answered with."""

    def __init__(self, behave: Callable[[str, int], str] = lambda _id, _n: "AA") -> None:
        self.behave = behave
        self.received: list[bytes] = []
        self.accepted: list[str] = []
        """The MSH-10 of each message that was answered rightly and positively."""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def ids(self) -> list[str]:
        """The MSH-10 of everything that came, resends too."""
        return [header_of(raw).control_id for raw in self.received]

    def close(self) -> None:
        for one in (self._server, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._server.accept()
                self._open.append(sock)
                self._threads.append(threading.Thread(target=self._serve, args=(sock,), daemon=True))
                self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        reader = FrameReader(1024 * 1024)
        with contextlib.suppress(OSError), sock:
            while data := sock.recv(65536):
                for event in reader.feed(data):
                    if isinstance(event, Frame) and not self._answer(sock, event.data):
                        return

    def _answer(self, sock: socket.socket, raw: bytes) -> bool:
        """False ends the connection."""
        control_id = header_of(raw).control_id
        before = self.ids[-1] if self.received else "NONE"
        word = self.behave(control_id, len(self.received))
        self.received.append(raw)
        if word in HONEST or word in NEGATIVE:
            if word in HONEST:
                self.accepted.append(control_id)
            sock.sendall(write_frame(_ack(raw, word)))
            return True
        if word in ("silence", "late"):
            while sock.recv(65536):
                pass
            if word == "late":
                sock.sendall(write_frame(_ack(raw, "AA")))
            return False
        right = write_frame(_ack(raw, "AA"))
        odd = {
            "close": b"",
            "half": right[: len(right) // 2],
            "junk": write_frame(b"<html>502 Bad Gateway</html>"),
            "noise": right[1:],
            "no-msa": write_frame(raw),
            "odd-code": right.replace(b"MSA|AA|", b"MSA|OK|"),
            "empty-id": _named(right, control_id, ""),
            "other-id": _named(right, control_id, "SOMEBODYELSES"),
            "previous": _named(right, control_id, before if before != control_id else "NONE"),
            "previous-first": _named(right, control_id, "NONE") + right,
            "refused-then-AA": write_frame(_ack(raw, "AR")) + right,
        }[word]
        sock.sendall(odd)
        return word not in ("close", "half", "noise")


def _named(ack: bytes, was: str, name: str) -> bytes:
    return ack.replace(b"|" + was.encode(), b"|" + name.encode())


def _ack(raw: bytes, code: str) -> bytes:
    return write_ack(header_of(raw), AckCode(code), control_id="PEER1", now=datetime(2026, 11, 25, tzinfo=UTC))
