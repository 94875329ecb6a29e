"""A DICOM peer of plain sockets: requests encoded before, answers as bytes. It costs next to nothing, so that it judges
the other side."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Self

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
RELEASE_RQ = bytes.fromhex("05 00 00000004 00000000")
PENDING = (0xFF00, 0xFF01)


def _item(kind: int, data: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(data)) + data


def association_request(
    contexts: Sequence[tuple[str, Sequence[str]]],
    *,
    calling: str = "CT1",
    called: str = "BRIDGE",
    most: int = 16_382,
    version: int = 1,
    extra: bytes = b"",
) -> bytes:
    """An A-ASSOCIATE-RQ for (abstract syntax, transfer syntaxes), ids 1, 3, 5 … (PS3.8 9.3.2); `extra`: user items."""
    proposed = b"".join(
        _item(
            0x20,
            bytes((1 + 2 * number, 0, 0, 0))
            + _item(0x30, abstract.encode())
            + b"".join(_item(0x40, syntax.encode()) for syntax in syntaxes),
        )
        for number, (abstract, syntaxes) in enumerate(contexts)
    )
    user = _item(0x50, _item(0x51, struct.pack(">L", most)) + _item(0x52, b"1.2.3.999") + extra)
    titles = called.ljust(16).encode() + calling.ljust(16).encode()
    body = struct.pack(">HH", version, 0) + titles + bytes(32)
    body += _item(0x10, APPLICATION_CONTEXT.encode()) + proposed + user
    return struct.pack(">BBL", 1, 0, len(body)) + body


def message(context_id: int, command: bytes, data: bytes = b"", *, most: int = 131_072) -> bytes:
    """The P-DATA-TFs of a message (PS3.8 9.3.5)."""
    out = []
    for kind, whole in ((1, command), (0, data)):
        for start in range(0, len(whole), most - 6):
            piece = whole[start : start + most - 6]
            last = 2 if start + most - 6 >= len(whole) else 0
            value = struct.pack(">LBB", len(piece) + 2, context_id, kind | last) + piece
            out.append(struct.pack(">BBL", 4, 0, len(value)) + value)
    return b"".join(out)


class RawPeer:
    def __init__(self, port: int, *, host: str = "127.0.0.1", source: str = "", no_delay: bool = True) -> None:
        self.socket = socket.create_connection((host, port), 30, source_address=(source, 0) if source else None)
        if no_delay:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes | Iterable[bytes]) -> None:
        self.socket.sendall(data if isinstance(data, bytes) else b"".join(data))

    def pdu(self) -> bytes:
        """The next PDU whole; b'' when the other side has closed."""
        while len(self._buffer) < 6 or len(self._buffer) < 6 + int.from_bytes(self._buffer[2:6], "big"):
            got = self.socket.recv(262_144)
            if not got:
                return b""
            self._buffer += got
        length = 6 + int.from_bytes(self._buffer[2:6], "big")
        found = bytes(self._buffer[:length])
        del self._buffer[:length]
        return found

    def associate(self, request: bytes) -> bytes:
        self.send(request)
        return self.pdu()

    def ask(self, request: bytes) -> tuple[list[bytes], list[int]]:
        """Send a message; the PDUs and statuses up to its final answer, or until the association ends."""
        self.send(request)
        pdus: list[bytes] = []
        statuses: list[int] = []
        command, follows = bytearray(), False
        while True:
            found = self.pdu()
            pdus.append(found)
            if not found or found[0] != 4:
                return pdus, statuses
            at = 6
            while at < len(found):
                length = int.from_bytes(found[at : at + 4], "big")
                control = found[at + 5]
                if control & 1:
                    command += found[at + 6 : at + 4 + length]
                    if control & 2:
                        status, follows = _status(bytes(command))
                        statuses.append(status)
                        command.clear()
                elif control & 2:
                    follows = False
                at += 4 + length
            if statuses and not follows and statuses[-1] not in PENDING:
                return pdus, statuses

    def release(self) -> bytes:
        self.send(RELEASE_RQ)
        return self.pdu()


def _status(command: bytes) -> tuple[int, bool]:
    """(0000,0900) and whether a data set follows, of an encoded command set."""
    status, follows, at = -1, False, 0
    while at < len(command):
        element, length = struct.unpack("<HL", command[at + 2 : at + 8])
        if element in (0x0800, 0x0900):
            value = int.from_bytes(command[at + 8 : at + 10], "little")
            if element == 0x0900:
                status = value
            else:
                follows = value != 0x0101
        at += 8 + length
    return status, follows
