"""An EHR's FHIR server that answers at once, in a process of its own: as little Python as HTTP/1.1 can do with.

It has every Patient that is asked for, no ServiceRequest, and keeps the ids of what is written: a study that is
written twice is told from one that is written once.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import socket
import threading
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from urllib.parse import unquote


@dataclass
class Written:
    """What the EHR was told: calls by 'METHOD Type', the distinct studies, and studies that came again."""

    calls: dict[str, int] = field(default_factory=dict)
    studies: int = 0
    again: int = 0


class QuickEhr:
    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        self.base = f"http://127.0.0.1:{self._pipe.recv()}/fhir"

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def written(self) -> Written:
        self._pipe.send(None)
        told = self._pipe.recv()
        assert isinstance(told, Written)
        return told

    def __enter__(self) -> QuickEhr:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(5)


class _State:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.told = Written()
        self.ids: dict[str, str] = {}
        self.resources: dict[str, bytes] = {}


def _serve(pipe: Pipe) -> None:
    state = _State()
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    pipe.send(listener.getsockname()[1])
    threading.Thread(target=_accept, args=(listener, state), daemon=True).start()
    while True:
        try:
            pipe.recv()
        except (EOFError, ConnectionError):  # whoever began us has ended
            return
        with state.lock:
            pipe.send(state.told)


def _accept(listener: socket.socket, state: _State) -> None:
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_talk, args=(connection, state), daemon=True).start()


def _talk(connection: socket.socket, state: _State) -> None:
    buffer = b""
    while True:
        while b"\r\n\r\n" not in buffer:
            data = connection.recv(65536)
            if not data:
                return
            buffer += data
        head, _, buffer = buffer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        while length and len(buffer) < int(length[1]):
            buffer += connection.recv(65536)
        size = int(length[1]) if length else 0
        body, buffer = buffer[:size], buffer[size:]
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        connection.sendall(_answer(method, path.removeprefix("/fhir/"), body, state))


def _answer(method: str, path: str, body: bytes, state: _State) -> bytes:
    kind, _, rest = path.partition("?")
    kind, _, id = kind.partition("/")
    with state.lock:
        calls = state.told.calls
        calls[f"{method} {kind}"] = calls.get(f"{method} {kind}", 0) + 1
        if method == "GET" and id:
            found = state.resources.get(f"{kind}/{id}")
            return _http(200, found, 'W/"1"') if found else _http(404, b"")
        if method == "GET":
            return _http(200, _search(kind, unquote(rest)))
        return _write(method, kind, id, body, state)


def _search(kind: str, query: str) -> bytes:
    entries = []
    if kind == "Patient":
        system, _, value = query.partition("identifier=")[2].partition("&")[0].partition("|")
        patient = {"resourceType": "Patient", "id": f"p-{value}", "identifier": [{"system": system, "value": value}]}
        entries = [{"resource": patient}]
    return json.dumps({"resourceType": "Bundle", "type": "searchset", "entry": entries}).encode()


def _write(method: str, kind: str, id: str, body: bytes, state: _State) -> bytes:
    resource = json.loads(body)
    key = f"{kind}|{resource['identifier'][0]['value']}"
    if kind == "ImagingStudy":
        state.told.again += key in state.ids
        state.told.studies += key not in state.ids
    id = id or state.ids.get(key, f"{len(state.ids) + 1}")
    state.ids[key] = id
    kept = json.dumps({**resource, "id": id, "meta": {"versionId": "1"}}).encode()
    if kind == "Endpoint":
        state.resources[f"{kind}/{id}"] = kept  # the only one that is read again
    return _http(201 if method == "POST" else 200, kept, 'W/"1"', f"/fhir/{kind}/{id}/_history/1")


def _http(status: int, body: bytes, etag: str = "", location: str = "") -> bytes:
    lines = [f"HTTP/1.1 {status} Told", "Content-Type: application/fhir+json", f"Content-Length: {len(body)}"]
    lines += [f"ETag: {etag}"] if etag else []
    lines += [f"Location: {location}"] if location else []
    return "\r\n".join([*lines, "", ""]).encode() + body
