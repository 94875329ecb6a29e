"""Messages made beforehand, each with what the database must say once it is answered AA.

A stream is what one connection sends, in order: each new order has numbers, UIDs and a patient of its own (or one of a
fixed set of patients), and a change or a cancel speaks of an order that the same connection has sent before.
"""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pysqlite3.dbapi2 as sqlite  # type: ignore[import-untyped]

from bridge.sandbox import ris
from bridge.sandbox.ris import DemoOrder, DemoPatient
from bridge.uids import new_uid
from tests.bench.bench_common import OMI, ORM

OMI_FULL, ORM_FULL = "OMI^O23, 12 segments", "ORM^O01, 9 segments"
"""Those of shared/reference/performance.md 2.4: allergies, weight, notes, codes; the OMI has two steps."""
OMI_O23, ORM_O01 = "OMI^O23, 7 segments", "ORM^O01, 6 segments"
"""The pretend RIS's: what a worklist needs."""
NEW, CHANGE, CANCEL, A08, ORU = "new", "change", "cancel", "ADT^A08", "ORU^R01"
MIX = (
    NEW,
    NEW,
    CHANGE,
    NEW,
    NEW,
    A08,
    NEW,
    CANCEL,
    NEW,
    NEW,
    CHANGE,
    NEW,
    NEW,
    ORU,
    NEW,
    A08,
    NEW,
    CANCEL,
    NEW,
    CHANGE,
)
"""Of twenty: 12 new orders, 3 changes, 2 cancels, 2 ADT^A08, 1 ORU^R01."""
_FIRST_START = datetime.combine(date.today(), datetime.min.time()) + timedelta(days=1, hours=7)
_SENT_FROM = datetime.now().astimezone() - timedelta(days=4)
_numbers = itertools.count(1)
_FULL = {OMI_FULL: OMI, ORM_FULL: ORM}
_FULL_PARTS = (
    (rb"4711815", "M{n:08}"), (rb"A123456780", "G{n:08}"), (rb"PO-2026-5501\d", "P{n:08}"),
    (rb"FO-2026-8817\d", "F{n:08}"), (rb"A202603010001\d", "A{n:08}"), (rb"RP2026-30112|RP30113", "R{n:08}"),
    (rb"SPS-30112|SPS30113", "S{n:08}"), (rb"20260099\d\d", "V{n:08}"), (rb"(?<=\.)20260301\.3011\d", "{n}"),
    (rb"RIS2026030110150000\d", "C{n:08}"), (rb"\|DX\|", "|CT|"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prepared:
    """`effects`: (what, whose, value) rows of `Expected`."""

    raw: bytes
    control_id: str
    kind: str
    effects: tuple[tuple[str, str, str], ...]

    @property
    def frame(self) -> tuple[bytes, str]:
        return self.raw, self.control_id


class Stream:
    """`patients` > 0: a fixed set of so many, else a new patient an order. `station`: whose worklist it fills."""

    def __init__(self, *, patients: int = 0, station: tuple[str, str] = ("CT1", "CT"), days: int = 0) -> None:
        self._patients = [self._patient(next(_numbers)) for _ in range(patients)]
        self._station, self._days = station, days
        self._live: deque[DemoOrder] = deque()
        self._sent = itertools.count()
        self._turn = 0

    def orders(self, count: int, kind: str) -> list[Prepared]:
        """New orders only."""
        return [self._full(kind) if kind in _FULL else self._new(kind) for _ in range(count)]

    def mixed(self, count: int) -> list[Prepared]:
        """The mix; what cannot be yet (a change before any order) is a new order."""
        return [self._next() for _ in range(count)]

    def _next(self) -> Prepared:
        wanted = MIX[self._turn % len(MIX)]
        self._turn += 1
        if wanted == NEW or len(self._live) < 10:
            return self._new((ORM_O01, OMI_O23)[self._turn % 2])
        if wanted == CHANGE:
            return self._change()
        if wanted == CANCEL:
            order = self._live.popleft()
            raw, key = self._built(ris.cancel, order)
            return Prepared(raw, key, CANCEL, (("status", order.placer, "CA"),))
        if wanted == A08:
            return self._a08()
        order = self._live.popleft()  # a final report completes it: no later change is taken
        return self._report(order)

    def _new(self, kind: str) -> Prepared:
        n = next(_numbers)
        patient = self._patients[n % len(self._patients)] if self._patients else self._patient(n)
        station, modality = self._station
        order = DemoOrder(
            patient, f"P{n:08}", f"F{n:08}", f"A{n:08}", f"R{n:08}", f"S{n:08}", "CTTHAB", "CT thorax and abdomen",
            modality, station, _FIRST_START + timedelta(days=self._days, minutes=n % 600), new_uid(),
            protocol_code="CTTA-P1", protocol="Portal venous", reason="Follow-up",
        )  # fmt: skip
        self._live.append(order)
        if len(self._live) > 200:
            self._live.popleft()
        raw, key = self._built(ris.orm_o01 if kind == ORM_O01 else ris.omi_o23, order)
        return Prepared(raw, key, kind, (("status", order.placer, "SC"), ("start", order.placer, _started(order))))

    def _full(self, kind: str) -> Prepared:
        n, raw = next(_numbers), _FULL[kind]
        for old, new in _FULL_PARTS:
            raw = re.sub(old, new.format(n=n).encode(), raw)
        return Prepared(raw, f"C{n:08}", kind, (("status", f"P{n:08}", "SC"),))

    def _change(self) -> Prepared:
        at = self._turn % len(self._live)
        order = replace(self._live[at], start=self._live[at].start + timedelta(hours=1), priority="S")
        self._live[at] = order
        raw, key = self._built(ris.change, order)
        return Prepared(raw, key, CHANGE, (("start", order.placer, _started(order)),))

    def _a08(self) -> Prepared:
        order = self._live[self._turn % len(self._live)]
        changed = replace(order.patient, family=f"Renamed{next(_numbers)}")
        if self._patients:
            self._patients = [changed if p.mrn == changed.mrn else p for p in self._patients]
        for at, one in enumerate(self._live):
            if one.patient.mrn == changed.mrn:
                self._live[at] = replace(one, patient=changed)
        raw, key = self._built(ris.adt_a08, changed)
        return Prepared(raw, key, A08, (("family", changed.mrn, changed.family),))

    def _report(self, order: DemoOrder) -> Prepared:
        """ORU^R01 of one order: a final report of a few lines."""
        raw, key = self._built(ris.omi_o23, order)
        kept = [line for line in raw.decode().split("\r") if line[:3] in ("MSH", "PID", "PV1", "OBR")]
        header, obr = kept[0].split("|"), kept[-1].split("|")
        header[8] = "ORU^R01^ORU_R01"
        obr += [""] * (26 - len(obr))
        obr[22], obr[25] = header[6], "F"
        numbers = f"{obr[2]}|{obr[3]}"
        text = [
            "OBX|1|FT|18748-4^Report^LN|1|CT of thorax and abdomen.\\.br\\No lesion, no effusion.||||||F",
            "OBX|2|TX|18748-4^Report^LN|1|Compared with the study of last year: unchanged.||||||F",
            "OBX|3|TX|19005-8&IMP^Impression^LN|1|No sign of recurrence.||||||F",
        ]
        lines = ["|".join(header), *kept[1:-1], f"ORC|RE|{numbers}", "|".join(obr[:26]), *text]
        effects = (("report", order.filler, "F"), ("status", order.placer, "CM"))
        return Prepared(("\r".join(lines) + "\r").encode(), key, ORU, effects)

    def _built(self, build: Callable[..., bytes], what: object) -> tuple[bytes, str]:
        key = f"C{next(_numbers):08}"
        when = _SENT_FROM + timedelta(seconds=next(self._sent))
        return build(what, when, key), key

    @staticmethod
    def _patient(n: int) -> DemoPatient:
        born = date(1940, 1, 1) + timedelta(days=n % 25_000)
        return DemoPatient(f"M{n:08}", f"Doe{n}", "Jane", born, "FM"[n % 2], visit=f"V{n:08}")


def _started(order: DemoOrder) -> str:
    return order.start.strftime("%Y%m%d%H%M%S")


class Expected:
    """What was answered AA, and what must be in the database for it: looked up once the bridge has ended."""

    def __init__(self) -> None:
        self.control_ids: set[str] = set()
        self._facts: dict[tuple[str, str], str] = {}

    def take(self, answered: Iterable[Prepared]) -> None:
        """Messages of one connection that were answered, in their order."""
        for one in answered:
            self.control_ids.add(one.control_id)
            for what, whose, value in one.effects:
                self._facts[what, whose] = value

    def faults(self, database: Path, *, outbox: bool) -> list[str]:
        """Every way in which the database differs; nothing when every message had its whole effect."""
        with sqlite.connect(f"file:{database}?mode=ro", uri=True) as connection:
            return [*self._message_faults(connection), *self._fact_faults(connection, outbox=outbox)]

    def _message_faults(self, connection: sqlite.Connection) -> list[str]:
        rows = connection.execute("SELECT control_id, fate, ack_code, ack IS NOT NULL FROM message").fetchall()
        applied = {key for key, fate, code, kept in rows if fate == "applied" and code == "AA" and kept}
        missing = self.control_ids - applied
        twice = len(rows) - len({row[0] for row in rows})
        return [
            *([f"{len(missing)} messages were answered AA and are not applied"] if missing else ()),
            *([f"{twice} messages are there twice"] if twice else ()),
        ]

    def _fact_faults(self, connection: sqlite.Connection, *, outbox: bool) -> list[str]:
        if not self._facts:
            return []  # only the messages were asked for (memory)
        found: dict[tuple[str, str], str] = {}
        whole: dict[str, tuple[int, ...]] = {}
        for placer, status, start, *counts in connection.execute(_ORDERS):
            found["status", placer] = status
            found["start", placer] = start or ""
            whole[placer] = tuple(counts)
        for filler, status in connection.execute("SELECT filler_order_number, status FROM report"):
            found["report", filler] = status
        for mrn, name in connection.execute(_NAMES):
            found["family", mrn] = name.partition("^")[0]
        wrong = [(key, value) for key, value in self._facts.items() if found.get(key) != value]
        needed = 5 if outbox else 4
        hollow = [placer for placer, counts in whole.items() if 0 in counts[:needed]]
        return [
            *(f"{key}: {value} expected, {found.get(key)} found" for key, value in wrong[:5]),
            *([f"{len(wrong)} facts in all are wrong"] if wrong else ()),
            *([f"{len(hollow)} orders without procedure, step, history, event or outbox row"] if hollow else ()),
        ]

    @property
    def orders(self) -> int:
        return sum(1 for what, _ in self._facts if what == "status")


_ORDERS = """
SELECT o.placer_order_number, o.status,
  (SELECT s.start_date || s.start_time FROM scheduled_procedure_step s
   JOIN requested_procedure r ON r.id = s.requested_procedure_id WHERE r.order_id = o.id LIMIT 1),
  (SELECT count(*) FROM requested_procedure r WHERE r.order_id = o.id),
  (SELECT count(*) FROM scheduled_procedure_step s
   JOIN requested_procedure r ON r.id = s.requested_procedure_id WHERE r.order_id = o.id AND s.parked = ''),
  (SELECT count(*) FROM order_history h WHERE h.order_id = o.id),
  (SELECT count(*) FROM order_event e WHERE e.order_id = o.id),
  (SELECT count(*) FROM outbound_message m WHERE m.subject = 'order:' || o.id)
FROM imaging_order o
"""
_NAMES = """
SELECT i.value, p.name FROM patient_identifier i JOIN patient p ON p.id = i.patient_id
"""
