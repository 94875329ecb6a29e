"""A restore: a backup becomes a data folder, and what nobody can know any more is parked in sight of a person.

What came after the backup is gone from here, but not from the world: an EHR was told, a RIS was told, a link was used.
So nothing leaves by itself that may have left before: HL7 queues stand still at their head until a person says so.
Publications go on, for they look at the EHR first. What devices wait to hear committed is checked again. Sessions and
links end; numbered links (MSH-13) count anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.clock import Clock
from bridge.config import Settings
from bridge.domain.study import StoredFile
from bridge.errors import BadValue, NotReadable, StateConflict, StoreUnavailable
from bridge.store import audit, backup, commitment, inbox, launches, outbound, outbox, review, verify
from bridge.store.db import Connection, Database
from bridge.store.migrate import current, migrate
from bridge.store.outbound import OutboundState
from bridge.workflow.backup import ARCHIVE, FilesAt, Manifest, copy_file, digest, make_folder, read_manifest, sync
from bridge.workflow.context import Context
from bridge.workflow.verifying import Files, Progress, Verdict, Verifier

UNFINISHED = "restore-unfinished"
"""In a data folder: a restore died here, and `bridge run` must not take the half for the whole."""
ALL = 1_000_000
HARMLESS = frozenset({"viewer", "run"})
"""What a folder for the data may hold already."""


@dataclass(frozen=True, slots=True)
class Restored:
    """`lost`: files that the backup did not bring back whole; `held`: queues of ours that wait for a person."""

    manifest: Manifest
    lost: tuple[str, ...]
    held: tuple[str, ...]
    verdict: Verdict


class Restore:
    """From `folder` into `settings.data`. `open_database` opens the store of these settings."""

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        clock: Clock,
        files_at: FilesAt,
        open_database: Callable[[Settings], Database],
        progress: Progress = lambda *_: None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._files_at = files_at
        self._open = open_database
        self._progress = progress

    def run(self, who: str) -> Restored:
        """Raises `NotReadable` (no whole backup), `StateConflict` (the data folder, or the database, is not empty),
        `StoreUnavailable`; the data folder then stays marked as unfinished."""
        manifest = read_manifest(self._folder)
        self._check(manifest)
        data = self._settings.data
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        marker = data / UNFINISHED
        marker.touch()
        sync(data)
        try:
            if manifest.kind == "sqlite":
                copy_file(self._folder / manifest.database, data / backup.SQLITE_FILE)
            else:
                backup.load_postgresql(self._settings, self._folder / manifest.database)
            database = self._open(self._settings)
        except OSError as fault:
            raise StoreUnavailable(f"the database could not be written: {fault.strerror}", where=str(data)) from None
        try:
            migrate(database)
            context = Context(database, self._settings, self._clock)
            files = self._files_at(self._settings.archive)
            lost = self._bring_files(database)
            held = database.write(lambda c: settle(c, context, manifest, who))
            verdict = Verifier(context, files, self._progress).verify()
        finally:
            database.close()
        marker.unlink()
        sync(data)
        return Restored(manifest, lost, held, verdict)

    def _check(self, manifest: Manifest) -> None:
        file = self._folder / manifest.database
        self._progress("checking", 0, 1)
        if not file.is_file() or digest(file) != manifest.database_sha256:
            raise NotReadable("the backup's database is not the one that was written", where=str(file))
        self._progress("checking", 1, 1)
        settings, data = self._settings, self._settings.data
        if data.exists() and {path.name for path in data.iterdir()} - HARMLESS:
            raise StateConflict("a backup is restored into an empty folder only", where=str(data))
        if (manifest.kind == "postgresql") != bool(settings.database.url):
            raise StateConflict(f"this is a backup of {manifest.kind}, and [database] names another", where="database")
        if manifest.kind == "postgresql":
            database = self._open(settings)
            try:
                if current(database) is not None:
                    raise StateConflict("a backup is restored into an empty database only", where="database")
            finally:
                database.close()

    def _bring_files(self, database: Database) -> tuple[str, ...]:
        """Every file that a row names, read back and compared."""
        source, target = self._files_at(self._folder / ARCHIVE), self._files_at(self._settings.archive)
        made: set[Path] = set()
        lost: list[str] = []
        with database.read() as connection:
            done, total = 0, verify.count_owners(connection)
        for table in verify.TABLES:
            for page in verify.owners(database.read, table):
                for row in page:
                    if not self._bring(source, target, StoredFile(row.file, row.size, row.sha256), made):
                        lost.append(row.file)
                done += len(page)
                self._progress("files", done, total)
        for folder in sorted(made):
            sync(folder)
        return tuple(lost)

    def _bring(self, source: Files, target: Files, file: StoredFile, made: set[Path]) -> bool:
        try:
            place = target.path(file.name)
            make_folder(place.parent, self._settings.data, made)
            copy_file(source.path(file.name), place)
        except (FileNotFoundError, BadValue):
            return False
        except OSError as fault:
            raise StoreUnavailable(f"a file could not be written: {fault.strerror}", where="archive") from None
        return target.intact(file)


def settle(connection: Connection, context: Context, manifest: Manifest, who: str) -> tuple[str, ...]:
    """What must not go on as if nothing had happened; the destinations whose queues stand still now."""
    now, due = context.clock.now(), context.clock.steady()
    outbox.release_claims(connection, outbox.claim_owners(connection), due)
    for undelivered in commitment.list_commitments(connection, ALL):
        # Nobody is told "committed" on the word of a disk that is no more: it is checked again.
        row: Any = commitment.get_commitment(connection, undelivered.id)
        commitment.ask_again(connection, row.id, row.epoch, due)
    launches.end_everything(connection, now)
    inbox.forget_sequences(connection)
    held = tuple(
        queue.destination
        for queue in outbound.queue_states(connection)
        if _hold(connection, queue.destination, context)
    )
    made_at = manifest.made_at.isoformat(timespec="seconds")
    review.open_review(connection, "restored", "bridge", "newer-data-lost", now, {"backup_of": made_at})
    audit.write_audit(connection, at=now, who=who, action="restored", subject="bridge", details={"backup_of": made_at})
    return held


def _hold(connection: Connection, destination: str, context: Context) -> bool:
    """Stop a queue at its head: since the backup it may have been sent, and newer words after it."""
    head = outbound.oldest_waiting(connection, destination)
    if head is None or head.state is OutboundState.STOPPED:
        return False
    now, due = context.clock.now(), context.clock.steady()
    answer = "restored-from-backup"
    outbound.settle_outbound(connection, head.id, head.attempts, OutboundState.STOPPED, answer, next_at=due)
    details = {"destination": destination, "about": head.subject, "event": head.event, "stopped": True}
    review.open_review(connection, "outbound-dead", f"outbound:{head.id}", "restored-from-backup", now, details)
    return True
