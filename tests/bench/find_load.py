"""A scanner's console that asks its worklist over one kept association, in a process of its own.

Raw: a blocking socket with NODELAY, the request encoded beforehand, answers only counted, so that what is measured is
the server (pynetdicom as SCU gives 12 to 20 queries a second against any server: performance.md 6). A latency counts
from the time at which the query was due.
"""

from __future__ import annotations

import multiprocessing
import socket
import struct
import time
from dataclasses import dataclass, field
from datetime import date
from io import BytesIO
from multiprocessing.connection import Connection as Pipe

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from bridge.sandbox.modality import _worklist_query

_FIND, _IMPLICIT = "1.2.840.10008.5.1.4.31", "1.2.840.10008.1.2"
_APPLICATION = "1.2.840.10008.3.1.1.1"
_NO_DATA = 0x0101


@dataclass(slots=True)
class Found:
    """`answers`: (seconds at which it was due, seconds until its final response)."""

    answers: list[tuple[float, float]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class FindClient:
    """Asks `rate` times a second for `station` on `day` until `stop`; each answer must hold `matches` entries."""

    def __init__(self, port: int, station: str, day: date, matches: int, rate: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, port, station, day, matches, rate)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self._told(self._pipe.recv())

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def start(self) -> None:
        self._pipe.send("start")

    def stop(self) -> Found:
        self._pipe.send("stop")
        told = self._told(self._pipe.recv())
        assert isinstance(told, Found)
        self._process.join(5)
        return told

    @staticmethod
    def _told(answer: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(pipe: Pipe, port: int, station: str, day: date, matches: int, rate: float) -> None:
    try:
        line = _Association(port, station)
        query = _encoded(_worklist_query(station, day, "", {}))
        count, status = line.find(query)
        if count != matches or status:
            raise ValueError(f"{count} matches, status {status:04X} before the load; expected {matches}")
        pipe.send(None)
        pipe.recv()
        pipe.send(_ask(pipe, line, query, matches, rate))
        line.socket.close()
    except Exception as fault:  # noqa: BLE001 - told to whoever asked
        pipe.send(fault)


def _ask(pipe: Pipe, line: _Association, query: bytes, matches: int, rate: float) -> Found:
    found, begin, number = Found(), time.perf_counter(), 0
    while True:
        due = begin + number / rate
        number += 1
        if pipe.poll(max(0.0, due - time.perf_counter())):
            return found
        count, status = line.find(query)
        found.answers.append((due - begin, time.perf_counter() - due))
        if count != matches or status:
            found.wrong.append(f"{count} matches, status {status:04X}")


def _encoded(dataset: Dataset) -> bytes:
    out = DicomBytesIO()
    out.is_implicit_VR, out.is_little_endian = True, True
    write_dataset(out, dataset)
    return bytes(out.getvalue())


class _Association:
    """PS3.8 9.3: A-ASSOCIATE for the worklist in implicit VR little endian, then C-FIND (PS3.7 9.3.2)."""

    def __init__(self, port: int, calling: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._message = 0
        syntaxes = _item(0x30, _FIND.encode()) + _item(0x40, _IMPLICIT.encode())
        user = _item(0x51, struct.pack(">I", 131072)) + _item(0x52, b"1.2.826.0.1.3680043.9.9999.1")
        items = _item(0x10, _APPLICATION.encode()) + _item(0x20, b"\1\0\0\0" + syntaxes) + _item(0x50, user)
        head = struct.pack(">HH16s16s32x", 1, 0, b"BRIDGE".ljust(16), calling.encode().ljust(16))
        self.socket.sendall(struct.pack(">BBI", 1, 0, len(head + items)) + head + items)
        kind, body = self._pdu()
        if kind != 2 or b"\x21\0" not in body:
            raise ConnectionError(f"the association was not accepted (PDU {kind})")

    def find(self, query: bytes) -> tuple[int, int]:
        """(matches, final status)."""
        self._message += 1
        command = _command(
            {0x0002: _even(_FIND), 0x0100: _us(0x0020), 0x0110: _us(self._message), 0x0700: _us(0), 0x0800: _us(1)}
        )
        self.socket.sendall(_p_data(command, 3) + _p_data(query, 2))
        matches = 0
        while True:
            status, has_data = self._response()
            if status in (0xFF00, 0xFF01) and has_data:
                matches += 1
            else:
                return matches, status

    def _response(self) -> tuple[int, bool]:
        """The next C-FIND-RSP with its data set read away."""
        command = self._fragments(3)
        elements = _elements(command)
        status = struct.unpack("<H", elements[0x0900])[0]
        has_data = struct.unpack("<H", elements[0x0800])[0] != _NO_DATA
        if has_data:
            self._fragments(2)
        return int(status), has_data

    def _fragments(self, last: int) -> bytes:
        """One command (`last` 3) or data set (2), whole."""
        whole = b""
        while True:
            if not self._pending:
                kind, body = self._pdu()
                if kind != 4:
                    raise ConnectionError(f"PDU {kind} in place of P-DATA")
                stream = BytesIO(body)
                while size := stream.read(4):
                    self._pending.append(stream.read(struct.unpack(">I", size)[0]))
            piece = self._pending.pop(0)
            whole += piece[2:]
            if piece[1] == last:
                return whole

    _pending: list[bytes] = []  # noqa: RUF012 - one association a process

    def _pdu(self) -> tuple[int, bytes]:
        kind, _, size = struct.unpack(">BBI", self._exactly(6))
        return kind, self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise ConnectionError("the association ended")
            data += piece
        return bytes(data)


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def _p_data(body: bytes, control: int) -> bytes:
    value = struct.pack(">IBB", len(body) + 2, 1, control) + body
    return struct.pack(">BBI", 4, 0, len(value)) + value


def _command(elements: dict[int, bytes]) -> bytes:
    rest = b"".join(struct.pack("<HHI", 0, tag, len(value)) + value for tag, value in sorted(elements.items()))
    return struct.pack("<HHII", 0, 0, 4, len(rest)) + rest


def _elements(command: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(command):
        _, tag, size = struct.unpack_from("<HHI", command, at)
        found[tag] = command[at + 8 : at + 8 + size]
        at += 8 + size
    return found


def _us(value: int) -> bytes:
    return struct.pack("<H", value)


def _even(text: str) -> bytes:
    raw = text.encode()
    return raw + b"\0" * (len(raw) % 2)
