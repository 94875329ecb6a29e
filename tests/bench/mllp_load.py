"""A raw, light MLLP sender in a process of its own: blocking sockets with NODELAY, frames made before the clock runs.

One thread serves all connections, one message in flight on each. Without a schedule each sends as soon as its answer
is there (closed loop). With one, a latency counts from the time at which the message should have left (open loop): a
stall is not forgiven by sending less.
"""

from __future__ import annotations

import multiprocessing
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe

END = b"\x1c\r"


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: per connection its frames with their MSH-10, and perhaps when (seconds from the start)."""

    frames: list[list[tuple[bytes, str]]]
    seconds: float = 0.0
    """Nothing new is sent after so long; 0 = until all is sent."""
    schedule: list[list[float]] | None = None


@dataclass(slots=True)
class Sent:
    """`answers`: (connection, seconds at which it was due, seconds until its answer), of those answered AA."""

    seconds: float = 0.0
    accepted: int = 0
    done: list[int] = field(default_factory=list)
    """Per connection: how many of its frames were answered AA (or were refused)."""
    answers: list[tuple[int, float, float]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    cpu: float = 0.0
    """CPU seconds of the sender itself."""

    @property
    def rate(self) -> float:
        return self.accepted / self.seconds

    @property
    def latencies(self) -> list[float]:
        return [latency for _, _, latency in self.answers]


@dataclass(slots=True)
class _Line:
    """One connection."""

    socket: socket.socket
    port: int
    frames: Sequence[tuple[bytes, bytes]]
    due: Sequence[float]
    next: int = 0
    busy: bool = False
    connecting: bool = False
    begun: float = 0.0
    buffer: bytearray = field(default_factory=bytearray)


class LoadClient:
    """`connect`, then `run` as often as wanted; the connections stay. `reconnect`: a new one for every message, for a
    server that closes after each."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def connect(self, ports: Sequence[int], *, reconnect: bool = False) -> None:
        """One connection to each of `ports` on loopback."""
        self._ask(("connect", tuple(ports), reconnect))

    def start(self, load: Load) -> None:
        self._pipe.send(("run", load))

    def finish(self) -> Sent:
        """Wait for what `start` began."""
        sent = self._answer()
        assert isinstance(sent, Sent)
        return sent

    def run(self, load: Load) -> Sent:
        self.start(load)
        return self.finish()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def close(self) -> None:
        self._pipe.close()
        self._process.join(10)

    def _ask(self, what: object) -> object:
        self._pipe.send(what)
        return self._answer()

    def _answer(self) -> object:
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __enter__(self) -> LoadClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(pipe: Pipe) -> None:
    ports: tuple[int, ...] = ()
    reconnect = False
    sockets: list[socket.socket] = []
    while True:
        try:
            what = pipe.recv()
        except (EOFError, ConnectionError):  # whoever began us has ended
            return
        try:
            if what[0] == "connect":
                for one in sockets:
                    one.close()
                _, ports, reconnect = what
                # To a server that closes after each answer every message brings its own.
                sockets = [socket.socket() if reconnect else _connected(port) for port in ports]
                pipe.send(None)
            else:
                pipe.send(_run(what[1], sockets, ports, reconnect))
        except Exception as fault:  # noqa: BLE001 - told to whoever asked
            pipe.send(fault)


def _connected(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), 30)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _run(load: Load, sockets: list[socket.socket], ports: tuple[int, ...], reconnect: bool) -> Sent:
    made = [[(b"\x0b" + raw + END, f"MSA|AA|{key}".encode()) for raw, key in one] for one in load.frames]
    schedule = load.schedule or [[] for _ in made]
    lines = [_Line(*parts) for parts in zip(sockets, ports, made, schedule, strict=True)]
    sent = Sent(done=[0] * len(lines))
    clock = time.perf_counter
    cpu, begin = time.process_time(), clock()
    last = begin
    while True:
        now = clock()
        wake, later = now + 1.0, False
        for line in lines:
            if line.busy or line.next >= len(line.frames) or (load.seconds and now - begin >= load.seconds):
                continue
            due = begin + line.due[line.next] if load.schedule else now
            if due <= now:
                line.begun, line.busy = due, True
                if reconnect:
                    _reconnect(line)
                else:
                    line.socket.sendall(line.frames[line.next][0])
            else:
                wake, later = min(wake, due), True
        reading = [one.socket for one in lines if one.busy and not one.connecting]
        opening = [one.socket for one in lines if one.connecting]
        if not reading and not opening and not later:
            break
        ready, opened, _ = select.select(reading, opening, (), max(0.0, wake - now))
        if reading and now - last > 60:
            raise TimeoutError("no answer for a minute")
        for number, line in enumerate(lines):
            if line.connecting and line.socket in opened:
                line.connecting = False
                line.socket.setblocking(True)
                line.socket.sendall(line.frames[line.next][0])
            elif line.busy and line.socket in ready and _answered(line, number, begin, sent):
                last = clock()
    sockets[:] = [line.socket for line in lines]
    sent.seconds, sent.cpu = last - begin, time.process_time() - cpu
    return sent


def _reconnect(line: _Line) -> None:
    """Without waiting: a server whose queue of new connections is full must hold up nobody else."""
    line.socket.close()
    line.socket = socket.socket()
    line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.socket.setblocking(False)
    line.socket.connect_ex(("127.0.0.1", line.port))
    line.connecting = True


def _answered(line: _Line, number: int, begin: float, sent: Sent) -> bool:
    """Read what is there; whether it was a whole answer."""
    data = line.socket.recv(65536)
    now = time.perf_counter()
    line.buffer += data
    if data and not line.buffer.endswith(END):
        return False
    expected = line.frames[line.next][1]
    if expected + b"\r" in line.buffer or expected + END in line.buffer or expected + b"|" in line.buffer:
        sent.accepted += 1
        sent.answers.append((number, line.begun - begin, now - line.begun))
    else:
        sent.refused.append(bytes(line.buffer[:300]).decode("latin-1") or "the peer hung up without an answer")
    line.buffer.clear()
    line.next, line.busy = line.next + 1, False
    sent.done[number] = line.next
    return True
