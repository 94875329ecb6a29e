"""Is everything here that should be? The store against its files, against itself, and against a sender's ledger.

It reads, beside the running roles, and changes nothing. What is in hand at this moment is no fault: each suspicion is
looked at again before it is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

from bridge.domain.ledger import Entry
from bridge.domain.performed import PerformedStatus
from bridge.domain.publication import PublicationState
from bridge.domain.study import StoredFile
from bridge.errors import BadValue, StoreBroken
from bridge.store import audit, outbound, studies, verify
from bridge.store.db import Connection
from bridge.store.outbound import OutboundState
from bridge.store.verify import Table
from bridge.workflow.context import Context

T = TypeVar("T")
Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (what, done, of how many; 0: not known)."""

SWEPT_AFTER = timedelta(minutes=10)
"""A younger file without a row may be between its rename and its row; the dicom role sweeps it when it next starts."""
_FINAL = (PerformedStatus.COMPLETED, PerformedStatus.DISCONTINUED)


class Files(Protocol):
    """The archive."""

    def names(self) -> Iterator[str]: ...

    def path(self, name: str) -> Path: ...

    def intact(self, file: StoredFile) -> bool:
        """Reads all of it."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """`kind` is a key of `KINDS`, `subject` a key of ours (`instance:12`), a file's name or what a ledger names."""

    kind: str
    subject: str
    why: str = ""


KINDS = {
    "acked-lost": "acked_lost",
    "double-effect": "double_effect",
    "row-without-file": "rows_without_file",
    "file-without-row": "files_without_row",
    "wrong-size": "wrong_size",
    "wrong-bytes": "wrong_bytes",
    "stuck": "stuck",
    "integrity": "integrity",
}
"""What can be found, and the member of the JSON that counts it."""
_OF_A_FILE = ("row-without-file", "wrong-size", "wrong-bytes")
_ORPHANS = ("row-without-file", "file-without-row")


@dataclass
class Verdict:
    """`rows`: rows that own a file; `files`: files looked at; `in_hand`: young files without a row; `entries`: of the
    ledger, of which `acknowledged` were answered positively."""

    findings: list[Finding] = field(default_factory=list)
    rows: int = 0
    files: int = 0
    in_hand: int = 0
    entries: int = 0
    acknowledged: int = 0
    deep: bool = False

    @property
    def sound(self) -> bool:
        return not self.findings

    def count(self, kind: str) -> int:
        return sum(one.kind == kind for one in self.findings)

    def as_json(self) -> dict[str, Any]:
        counts = {member: self.count(kind) for kind, member in KINDS.items()}
        return {
            "acked_lost": counts.pop("acked_lost"),
            "double_effect": counts.pop("double_effect"),
            "orphans": sum(self.count(kind) for kind in _ORPHANS),
            "stuck": counts.pop("stuck"),
            **counts,
            "rows": self.rows,
            "files": self.files,
            "in_hand": self.in_hand,
            "deep": self.deep,
            "entries": self.entries,
            "acknowledged": self.acknowledged,
            "found": [{"kind": one.kind, "subject": one.subject, "why": one.why} for one in self.findings],
        }


class Verifier:
    def __init__(self, context: Context, files: Files, progress: Progress = lambda *_: None) -> None:
        self._context = context
        self._database = context.database
        self._files = files
        self._progress = progress

    def verify(
        self, ledger: Sequence[Entry] = (), *, deep: bool = False, stuck_after: timedelta = timedelta(minutes=15)
    ) -> Verdict:
        """Everything at once. `deep` reads and hashes each file; `stuck_after` is how long something may hang.

        What a ledger says is compared with what is here after it was read.
        """
        verdict = Verdict(deep=deep, entries=len(ledger), acknowledged=sum(one.acknowledged for one in ledger))
        looks: tuple[Callable[[], None], ...] = (
            lambda: self._integrity(verdict),
            lambda: self._rows(verdict, deep),
            lambda: self._unowned(verdict),
            lambda: self._stuck(verdict, stuck_after),
            lambda: self._compare(verdict, ledger),
        )
        for look in looks:
            try:
                look()
            except StoreBroken as fault:  # a damaged page ends one look, not the others
                verdict.findings.append(Finding("integrity", "database", f"{fault} ({fault.where})"))
        return verdict

    def _integrity(self, verdict: Verdict) -> None:
        self._progress("database", 0, 1)
        with self._database.read() as connection:
            verdict.findings += [Finding("integrity", "database", told) for told in verify.integrity_faults(connection)]
        self._progress("database", 1, 1)

    # -- rows and files -----------------------------------------------------------------------------------------------
    def _rows(self, verdict: Verdict, deep: bool) -> None:
        with self._database.read() as connection:
            total = verify.count_owners(connection)
        for table in verify.TABLES:
            for page in verify.owners(self._database.read, table):
                for row in page:
                    verdict.rows += 1
                    if fault := self._file_fault(row, deep):
                        verdict.findings += self._still(table, row, fault)
                self._progress("files", verdict.rows, max(total, verdict.rows))

    def _still(self, table: Table, row: Any, fault: tuple[str, str]) -> list[Finding]:
        """The fault, unless the row has gone, or has another file, since it was read (a deletion, a heal)."""
        with self._database.read() as connection:
            now = verify.owner(connection, table, row.id)
        if now is None or now.file != row.file:
            return []
        return [Finding(fault[0], f"{table}:{row.id}", fault[1])]

    def _file_fault(self, row: Any, deep: bool) -> tuple[str, str] | None:
        try:
            size = self._files.path(row.file).stat().st_size
        except (OSError, BadValue):
            return "row-without-file", row.file
        if size != row.size:
            return "wrong-size", f"{row.file}: {size} bytes, the row says {row.size}"
        if deep and not self._files.intact(StoredFile(row.file, row.size, row.sha256)):
            return "wrong-bytes", row.file
        return None

    def _unowned(self, verdict: Verdict) -> None:
        limit = (self._context.clock.now() - SWEPT_AFTER).timestamp()
        suspects: list[str] = []
        for names in _in_batches(self._files.names(), verify.PAGE):
            verdict.files += len(names)
            with self._database.read() as connection:
                known = studies.known_files(connection, names)
            for name in names:
                written = None if name in known else self._written(name)
                if written is not None and written < limit:
                    suspects.append(name)
                elif written is not None:
                    verdict.in_hand += 1
            self._progress("files without a row", verdict.files, max(verdict.rows, verdict.files))
        # Rows are deleted before their files: what is being deleted by rule has gone by now.
        verdict.findings += [
            Finding("file-without-row", name, "swept when the dicom role next starts")
            for name in suspects
            if self._written(name) is not None
        ]

    def _written(self, name: str) -> float | None:
        """When a file was last written; None for one that has gone."""
        try:
            return self._files.path(name).stat().st_mtime
        except OSError:
            return None

    # -- what hangs ---------------------------------------------------------------------------------------------------
    def _stuck(self, verdict: Verdict, after: timedelta) -> None:
        with self._database.read() as connection:
            verdict.findings += self._hanging(connection, after)

    def _hanging(self, connection: Connection, after: timedelta) -> Iterator[Finding]:
        """What its role should have taken up long before it was last heard of: a stopped bridge makes nothing stuck."""
        settings = self._context.settings
        beats: dict[str, datetime] = {
            str(one["name"]): one["at"]  # type: ignore[misc]
            for one in audit.activities(connection)
            if one["kind"] == "role"
        }
        ehrs = {ehr.name for ehr in settings.ehr if ehr.imaging_study != "off"}
        for name, count in verify.unfinished_connections(connection):
            if name not in ehrs:
                yield Finding("stuck", f"ehr:{name}", f"{count} publications for an EHR that is no longer configured")
        if "worker" in beats:
            limit = beats["worker"] - after
            for row in verify.late_publications(connection, limit):
                yield Finding("stuck", f"publication:{row.id}", f"{row.state}, and not taken up")
            for row in verify.late_commitments(connection, limit):
                yield Finding("stuck", f"commitment:{row.id}", f"{row.state}, and not taken up")
            quiet = limit - timedelta(seconds=settings.studies.quiet_seconds)
            for row in verify.late_studies(connection, quiet):
                yield Finding("stuck", f"study:{row.id}", f"{row.state}, and not judged")
        for row_id in verify.done_but_older(connection):
            yield Finding("stuck", f"publication:{row_id}", "done with an older version than was asked for")
        for name in sorted(ehrs):
            for row_id in verify.never_asked_for(connection, name):
                yield Finding("stuck", f"study:{row_id}", f"matched, and never to be told to {name}")
        destinations = {one.name for one in settings.hl7.destination}
        for queue in outbound.queue_states(connection):
            if queue.waiting and queue.destination not in destinations:
                told = f"{queue.waiting} messages for a destination that is no longer configured"
                yield Finding("stuck", f"destination:{queue.destination}", told)
                continue
            head = outbound.oldest_waiting(connection, queue.destination)
            if head is None or head.state is OutboundState.STOPPED or "hl7" not in beats:
                continue  # a stopped queue is a person's, and alarmed
            if head.next_attempt_at < beats["hl7"] - after:
                yield Finding("stuck", f"outbound:{head.id}", f"{head.state}, and not sent")

    # -- the ledger ---------------------------------------------------------------------------------------------------
    def _compare(self, verdict: Verdict, ledger: Sequence[Entry]) -> None:
        spoilt = {one.subject for one in verdict.findings if one.kind in _OF_A_FILE}
        checks: dict[str, Callable[[Connection, list[Entry]], Iterable[Finding]]] = {
            "hl7": _messages,
            "store": lambda connection, entries: _instances(connection, entries, spoilt),
            "n-create": _steps,
            "n-set": _steps,
            "commit": _commitments,
            "publish": _publications,
        }
        done = 0
        for kind, check in checks.items():
            for batch in _in_batches((one for one in ledger if one.kind == kind), verify.PAGE):
                with self._database.read() as connection:
                    verdict.findings += check(connection, batch)
                done += len(batch)
                self._progress("ledger", done, len(ledger))


def _instances(connection: Connection, entries: list[Entry], spoilt: set[str]) -> Iterator[Finding]:
    """An acknowledged object is here when a row has it and the row's file is not among the `spoilt`."""
    rows: dict[str, list[Any]] = {}
    for row in verify.files_of(connection, [one.id for one in entries]):
        rows.setdefault(row.sop_instance_uid, []).append(row)
    for entry in entries:
        if not entry.acknowledged:
            continue
        found = [row for row in rows.get(entry.id, ()) if entry.sha256 in ("", row.sha256)]
        if not found:
            yield _lost(entry, "kept with other bytes" if entry.id in rows else "no row")
        elif all(f"{row.table}:{row.id}" in spoilt for row in found):
            yield _lost(entry, "its file is not whole")


def _messages(connection: Connection, entries: list[Entry]) -> Iterator[Finding]:
    """An acknowledged message is stored once with that answer, and has acted once on the order that it makes."""
    ids = [one.id for one in entries]
    rows = verify.messages_of(connection, ids)
    stored = Counter(row.control_id for row in rows)
    answers = {row.control_id: row.ack_code for row in rows}
    effects = verify.effects_of(connection, ids)
    orders = verify.orders_of(connection, [one.order for one in entries if one.order])
    for entry in entries:
        acted, made = effects.get((entry.id, entry.order), 0), orders.get(entry.order, 0)
        if entry.acknowledged and not stored[entry.id]:
            yield _lost(entry, "no message")
        elif entry.acknowledged and answers[entry.id] != entry.answer:
            yield _lost(entry, f"stored as answered {answers[entry.id] or 'nothing'}")
        elif entry.acknowledged and entry.order and not (acted and made):
            yield _lost(entry, "its order is not here")
        if stored[entry.id] > 1:
            yield _double(entry, f"{stored[entry.id]} messages")
        elif entry.order and (acted > 1 or made > 1):
            yield _double(entry, f"it acted {acted} times, on {made} orders")


def _steps(connection: Connection, entries: list[Entry]) -> Iterator[Finding]:
    """An acknowledged performed step is here, and is ended as its last acknowledged N-SET said."""
    statuses = verify.performed_statuses(connection, [one.id for one in entries])
    for entry in entries:
        if not entry.acknowledged:
            continue
        if entry.id not in statuses:
            yield _lost(entry, "no performed step")
        elif entry.kind == "n-set" and entry.status in _FINAL and statuses[entry.id] != entry.status:
            yield _lost(entry, f"the step is {statuses[entry.id]}")


def _commitments(connection: Connection, entries: list[Entry]) -> Iterator[Finding]:
    """A request that was taken is here until its device was told."""
    known = verify.known_commitments(connection, [one.id for one in entries])
    return (_lost(one, "no request") for one in entries if one.acknowledged and one.id not in known)


def _publications(connection: Connection, entries: list[Entry]) -> Iterator[Finding]:
    """What an EHR holds of a study is one resource, and the one that the bridge remembers once it is done with it."""
    rows: dict[str, list[Any]] = {}
    for row in verify.publications_of(connection, [one.id for one in entries]):
        rows.setdefault(row.study_instance_uid, []).append(row)
    for entry in entries:
        if len(entry.resources) > 1:
            yield _double(entry, f"{len(entry.resources)} resources of one study")
        if not entry.acknowledged:
            continue
        known = rows.get(entry.id, [])
        if not known:
            yield _lost(entry, "the EHR was told of it and no publication is here")
        elif all(row.state == PublicationState.DONE for row in known):
            remembered = {row.remote_id for row in known}
            if entry.resources and not remembered & set(entry.resources):
                yield _lost(entry, "the bridge remembers another resource")


def _lost(entry: Entry, why: str) -> Finding:
    return Finding("acked-lost", f"{entry.kind} {entry.id}", why)


def _double(entry: Entry, why: str) -> Finding:
    return Finding("double-effect", f"{entry.kind} {entry.id}", why)


def _in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    each = iter(items)
    while batch := list(islice(each, size)):
        yield batch
