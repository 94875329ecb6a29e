"""The dirty habits of real feeds, one file each, from the socket to the worklist.

`tests/corpus/hl7/NAME.hl7` is sent to a feed as it stands (with `several: true` cut at its MSH, a message at a time)
and `NAME.yaml` says what must come of it. Keys: `habit`, `clause` (the reference that asks for it), `feed` (settings of
the feed), `ack` and `err` (MSA-1 and ERR codes of each message; one text stands for the last), `fate` (likewise),
`told` (parts of what is said of the last), `worklist` (the entries, in order of start, each with the attributes that
are asserted: '' absent, '*' anything), `as` (the device that asks), `parked` (reasons), `orders` (placer -> status).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select

from bridge import app
from bridge.clock import ManualClock
from bridge.config import (
    DatabaseSettings,
    Defaults,
    Dicom,
    DicomPeer,
    Feed,
    Hl7,
    IssuerSetting,
    Settings,
    Site,
    Station,
)
from bridge.dicom.worklist_user import STEP_NAME, keys_of, question, tell
from bridge.domain.identity import Identifier
from bridge.hl7.capture import read_capture
from bridge.hl7.header import header_of
from bridge.hl7.message import Message
from bridge.hl7.mllp import Frame, FrameReader, write_frame
from bridge.hl7.receive import FeedReceiver
from bridge.mapping import Mappings
from bridge.store import orders, review, schema
from bridge.store.db import Database
from bridge.workflow.context import Context
from bridge.workflow.intake import Intake
from bridge.workflow.worklist import WorklistDesk
from tests.unit.workflow.house import NOON, new_database

CORPUS = Path(__file__).parents[1] / "corpus" / "hl7"
CASES = sorted(path.stem for path in CORPUS.glob("*.yaml"))
KNOWN = {"habit", "clause", "feed", "ack", "err", "fate", "told", "worklist", "as", "parked", "orders", "several"}
STATIONS = (
    Station(ae_titles=("CT1",), modality="CT", name="CT1"),
    Station(ae_titles=("MR1",), modality="MR", name="MR1"),
    Station(ae_titles=("US1", "US2"), modality="US"),
    Station(ae_titles=("DX1",), modality="DX"),
)
PARKING = frozenset({"order-parked", "order-conflict", "patient-overlay"})
MAPPINGS: dict[int, Mappings] = {}
"""Read once: no case has another overlay."""


class Hospital:
    """One feed of a small hospital in Berlin at noon UTC of 25 November 2026, with a real store and a real socket."""

    def __init__(self, folder: Path, feed: dict[str, Any]) -> None:
        self.feed = Feed.model_validate({"name": "ris", "port": 0, **feed})
        self.settings = Settings(
            data=folder,
            site=Site(time_zone="Europe/Berlin"),
            database=DatabaseSettings(),
            issuer=(
                IssuerSetting(name="HOSP", namespace="HOSP", universal_id="1.2.3.4", universal_id_type="ISO"),
                IssuerSetting(name="OF1", namespace="OF1"),
                IssuerSetting(name="RIS", namespace="RIS"),
            ),
            defaults=Defaults(patient_issuer="HOSP", placer_issuer="EHR", filler_issuer="RIS", accession_issuer="RIS"),
            hl7=Hl7(feed=(self.feed,)),
            station=STATIONS,
            dicom=Dicom(peer=(DicomPeer(ae_title="CT1"), DicomPeer(ae_title="LATIN1", character_set="ISO_IR 100"))),
        )
        (folder / "bridge.db").write_bytes(new_database())
        self.database = Database("", folder, on_broken=lambda: None)
        context = Context(self.database, self.settings, ManualClock(NOON))
        self.desk = WorklistDesk(context)
        self.mappings = MAPPINGS.get(0) or MAPPINGS.setdefault(0, app.load_mappings(self.settings))
        self.receiver = FeedReceiver(self.feed, self.mappings, Intake(context), context.clock)
        self.receiver.listener.start()
        self.socket = socket.create_connection(("127.0.0.1", self.receiver.listener.port), 20)
        self._reader = FrameReader(1_000_000)
        self._frames: list[bytes] = []

    def close(self) -> None:
        self.socket.close()
        self.receiver.listener.stop()
        self.database.close()

    def send(self, raw: bytes) -> bytes:
        """One message and the first frame of its answer; b'' when the feed closes instead."""
        self.socket.sendall(write_frame(raw))
        while not self._frames:
            data = self.socket.recv(65536)
            if not data:
                return b""
            self._frames += [event.data for event in self._reader.feed(data) if isinstance(event, Frame)]
        return self._frames.pop(0)

    def rows(self, table: str) -> list[Any]:
        with self.database.read() as connection:
            found = schema.metadata.tables[table]
            return list(connection.execute(select(found).order_by(found.c.id)))

    def worklist(self, title: str) -> list[dict[str, str]]:
        """Every entry as that AE reads it, the attributes of the step beside the others."""
        peer, asked = self.settings.dicom.peer_of(title), question()
        entries = self.desk.find(keys_of(asked, self.settings.issuers), peer)
        table, issuers = self.mappings.transliteration, self.settings.issuers
        told = [tell(entry, asked, peer, issuers, table).attributes for entry in entries]
        return [{name.removeprefix(f"{STEP_NAME}."): text for name, text in one.items()} for one in told]


@pytest.fixture
def hospital(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Hospital]:
    case = expected(request.node.callspec.params["name"])
    made = Hospital(tmp_path, case.get("feed", {}))
    yield made
    made.close()


def expected(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load((CORPUS / f"{name}.yaml").read_text(), yaml.BaseLoader)
    return found


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@pytest.mark.parametrize("name", CASES)
def test_a_habit_of_real_feeds_comes_to_what_the_reference_says(name: str, hospital: Hospital) -> None:
    case = expected(name)
    raw = (CORPUS / f"{name}.hl7").read_bytes()
    acks = [hospital.send(one) for one in (read_capture(raw) if case.get("several") else [raw])]
    found: dict[str, Any] = {
        "ack": [_ack(one) for one in acks],
        "err": [_codes(one) for one in acks],
        "fate": [row.fate for row in hospital.rows("message")],
        "parked": sorted(r["reason"] for r in _reviews(hospital) if r["kind"] in PARKING),
        "orders": {number: _status(hospital, number) for number in case.get("orders", {})},
    }
    for key in ("ack", "err", "fate"):
        if key in case:
            wanted = listed(case[key])
            assert found[key][-len(wanted) :] == wanted, key
    assert found["parked"] == sorted(listed(case.get("parked", []))), "parked"
    assert found["orders"] == case.get("orders", {}), "orders"
    said = " / ".join(hospital.rows("message")[-1].reasons)
    assert [part for part in listed(case.get("told", [])) if part not in said] == [], said
    if "worklist" in case:
        assert _narrowed(hospital.worklist(case.get("as", "CT1")), case["worklist"]) == case["worklist"]


def _narrowed(entries: list[dict[str, str]], wanted: list[dict[str, str]]) -> list[dict[str, str]]:
    """The entries with no more than what is asked of them, so that a difference is told in one line."""
    found = []
    for number, entry in enumerate(entries):
        asked = wanted[number] if number < len(wanted) else {"PatientName": ""}
        found.append({k: "*" if v == "*" and entry.get(k) else entry.get(k, "") for k, v in asked.items()})
    return found


def _ack(raw: bytes) -> str:
    found = re.search(rb"(?:^|\r)MSA.(\w\w)", raw)
    return found[1].decode() if found else "none"


def _codes(raw: bytes) -> str:
    """The ERR codes in order, from either form of ERR; the code 0 of a mere warning aside."""
    if header_of(raw).usable is False:
        return ""
    message = Message.read(raw)
    codes = [
        repetition.get(1) if field == 3 else repetition.get(4, 1)
        for segment in message.segments("ERR")
        for field in (1, 3)
        for repetition in segment.repetitions(field)
    ]
    return " ".join(code for code in codes if code not in ("", "0"))


def _reviews(hospital: Hospital) -> list[dict[str, Any]]:
    with hospital.database.read() as connection:
        return review.open_reviews(connection)


def _status(hospital: Hospital, placer: str) -> str:
    with hospital.database.read() as connection:
        found = orders.find_order(connection, Identifier(placer, "EHR"), None)
    return str(found[0].status) if len(found) == 1 else f"{len(found)} orders"


def test_every_case_says_its_habit_and_its_clause() -> None:
    for name in CASES:
        case = expected(name)
        assert case["habit"] and case["clause"], name
        assert set(case) <= KNOWN, name
        assert (CORPUS / f"{name}.hl7").is_file(), name
