"""One feed as the bridge runs it, on loopback with a real store, and a sender that says exactly what a test wants."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select

from bridge import app
from bridge.clock import ManualClock, SystemClock
from bridge.config import Feed, Hl7, IssuerSetting, Settings
from bridge.hl7.ack import Acknowledgement, read_ack
from bridge.hl7.message import Message
from bridge.hl7.mllp import Frame, FrameReader, write_frame
from bridge.hl7.receive import FeedReceiver
from bridge.store import schema
from bridge.store.db import Database
from bridge.workflow.context import Context
from bridge.workflow.intake import Intake
from tests.unit.workflow.house import NOON, new_database, settings

ISSUERS = (IssuerSetting(name="HOSP", namespace="HOSP"), IssuerSetting(name="RIS", namespace="RIS"))


def orm(
    control_id: str = "C1",
    *,
    control: str = "NW",
    placer: str = "P1",
    patient: str = "1001",
    application: str = "RIS",
    facility: str = "HOSP",
    kind: str = "ORM^O01",
    processing: str = "P",
    version: str = "2.3.1",
    sequence: str = "",
    accept: str = "",
    answer: str = "",
    charset: str = "",
    name: str = "DOE^JANE",
    modality: str = "CT",
    at: str = "20261125120000",
) -> bytes:
    """An order for a CT as a RIS sends it; every part may be told otherwise."""
    header = f"MSH|^~\\&|{application}|{facility}|BRIDGE|IB|{at}||{kind}|{control_id}|{processing}|{version}"
    obr = [""] * 28
    obr[0:5] = ["OBR", "1", f"{placer}^RIS", "", "CTHEAD^CT head^L"]
    obr[18], obr[24], obr[27] = f"A{placer}", modality, "^^^20261125130000"
    lines = (
        f"{header}|{sequence}||{accept}|{answer}||{charset}",
        f"PID|1||{patient}^^^HOSP||{name}||19800101|F" if patient else "PID|1||||DOE^JANE",
        f"ORC|{control}|{placer}^RIS|||||^^^20261125130000||{at}",
        "|".join(obr),
    )
    return "".join(line + "\r" for line in lines).encode()


class Sender:
    """A connection to the feed; nothing is checked or mended on the way."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 20, source_address=(source, 0))
        self.socket.settimeout(20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = FrameReader(32_000_000)
        self._frames: list[bytes] = []

    def put(self, data: bytes) -> None:
        self.socket.sendall(data)

    def frames(self, count: int) -> list[bytes]:
        """So many answers, or fewer when the connection ends first."""
        while len(self._frames) < count:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                break
            if not data:
                break
            for one in self._reader.feed(data):
                assert isinstance(one, Frame), "an answer that is no frame"
                self._frames.append(one.data)
        given, self._frames = self._frames[:count], self._frames[count:]
        return given

    def say(self, raw: bytes, answers: int = 1) -> list[bytes]:
        self.put(write_frame(raw))
        return self.frames(answers)

    @property
    def ended(self) -> bool:
        """Whether the other side has closed, with nothing more to say."""
        return self.frames(1) == []

    def close(self) -> None:
        self.socket.close()


class FeedSite:
    """The feed `ris` with settings of the test's own, upon what the folder holds."""

    intake: type[Intake] = Intake

    def __init__(self, folder: Path, **feed: Any) -> None:
        self.feed = Feed(name="ris", port=0, **feed)
        self.settings = self.make_settings(folder, hl7=Hl7(feed=(self.feed,)))
        if not (folder / "bridge.db").exists():
            (folder / "bridge.db").write_bytes(new_database())
        self.database = Database("", folder, on_broken=lambda: None)
        self.clock = ManualClock(NOON)
        self.context = Context(self.database, self.settings, self.clock)
        self.mappings = app.load_mappings(self.settings, self.feed)
        self.receiver = FeedReceiver(self.feed, self.mappings, self.intake(self.context), SystemClock())
        self.receiver.listener.start()
        self._senders: list[Sender] = []

    def make_settings(self, folder: Path, **changes: Any) -> Settings:
        return settings(folder, **changes, issuer=ISSUERS)

    def rows(self, table: str) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(select(schema.metadata.tables[table])))

    @property
    def counts(self) -> dict[str, int]:
        return self.receiver.listener.counts

    def connect(self, source: str = "127.0.0.1") -> Sender:
        self._senders.append(Sender(self.receiver.listener.port, source))
        return self._senders[-1]

    def say(self, raw: bytes) -> Acknowledgement:
        """One message on a connection of its own, and its answer."""
        (ack,) = self.connect().say(raw)
        return read_ack(ack)

    def answer(self, raw: bytes) -> Message:
        (ack,) = self.connect().say(raw)
        return Message.read(ack)

    def fates(self) -> list[str]:
        return [row.fate for row in self.rows("message")]

    def orders(self) -> int:
        return len(self.rows("imaging_order"))

    def close(self) -> None:
        for one in self._senders:
            one.close()
        self.receiver.listener.stop()
        self.database.close()


@contextmanager
def feed_site(folder: Path, **feed: Any) -> Iterator[FeedSite]:
    site = FeedSite(folder, **feed)
    try:
        yield site
    finally:
        site.close()


def codes(acks: list[bytes]) -> list[str]:
    return [read_ack(ack).code.value for ack in acks]


def take(site: FeedSite, *raws: bytes) -> list[str]:
    """Messages on a connection that then ends, and the codes of their answers."""
    sender = site.connect()
    answers = [codes(sender.say(raw))[0] for raw in raws]
    sender.close()
    return answers


def error(ack: Message) -> tuple[str, str, str]:
    """MSA-1, the code of table 0357, and the severity ('' before v2.5)."""
    if ack.get("ERR", 3):
        return ack.get("MSA", 1), ack.get("ERR", 3), ack.get("ERR", 4)
    return ack.get("MSA", 1), ack.get("ERR", 1, 4), ""


def at_once(acts: list[Any]) -> None:
    """Run them all in threads, and wait."""
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
