"""A backup: the database as it was at one moment, and every file that its rows name, while all roles run.

    FOLDER/manifest.json    last; a folder without it is no backup
    FOLDER/bridge.db        or postgresql.dump
    FOLDER/archive/...      hard links where the file system allows, else copies that were read back and compared

The folder gets its name when all of it is on disk. No secret is in it: those stand beside the configuration.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from bridge import __version__
from bridge.domain.study import StoredFile
from bridge.errors import BadValue, NotReadable, StateConflict, StoreUnavailable
from bridge.store import audit, backup, verify
from bridge.store.db import Connection
from bridge.store.migrate import current, newest
from bridge.workflow.context import Context
from bridge.workflow.verifying import Files, Progress

FilesAt: TypeAlias = Callable[[Path], Files]
"""An archive in a folder."""
MANIFEST, ARCHIVE = "manifest.json", "archive"


class Manifest(BaseModel):
    """What a backup says of itself. `made_at`: what was committed before this moment is in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    bridge: str
    made_at: datetime
    kind: Literal["sqlite", "postgresql"]
    revision: str
    database: str
    database_bytes: int
    database_sha256: str
    files: int
    bytes: int
    lost: tuple[str, ...] = ()
    """Of the files that rows named: those that were gone or not whole already."""


@dataclass
class _Tally:
    files: int = 0
    bytes: int = 0
    lost: list[str] = field(default_factory=list)
    folders: set[Path] = field(default_factory=set)


class Backup:
    """`run` is the folder of the locks. One at a time."""

    def __init__(self, context: Context, run: Path, files_at: FilesAt, progress: Progress = lambda *_: None) -> None:
        self._context = context
        self._run = run
        self._files_at = files_at
        self._source = files_at(context.settings.archive)
        self._progress = progress

    def take(self, folder: Path, who: str, *, copy: bool = False) -> Manifest:
        """Make the backup as `folder`, which must not exist. `copy`: no hard links, for another disk has to hold it.

        Raises `StateConflict` (it exists, or another backup runs), `StoreUnavailable` (no room, not readable),
        `StoreBroken`. Nothing is left of one that failed.
        """
        if folder.exists():
            raise StateConflict("a backup makes its folder itself, and this one is there", where=str(folder))
        if current(self._context.database) != newest():
            raise StateConflict("the database is of another version: `bridge run` migrates it", where="database")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with backup.holding(self._run), _made_whole(folder) as partial:
            manifest = self._fill(partial, copy)
        self._note(manifest, who)
        return manifest

    def _fill(self, partial: Path, copy: bool) -> Manifest:
        context, tally = self._context, _Tally()
        begun = context.clock.now()
        with backup.snapshot(context.database, context.settings, partial, self._progress) as read:
            with read() as connection:
                if faults := verify.integrity_faults(connection):
                    raise StoreUnavailable(f"the database is damaged: {faults[0]}", where="database")
                total = verify.count_owners(connection)
                self._look_for_room(partial, connection, copy)
            for table in verify.TABLES:
                for page in verify.owners(read, table):
                    for row in page:
                        self._keep(row, partial / ARCHIVE, copy, tally)
                    self._progress("files", tally.files + len(tally.lost), total)
        for made in sorted(tally.folders):
            sync(made)
        kind: Literal["sqlite", "postgresql"] = "sqlite" if context.database.is_sqlite else "postgresql"
        file = partial / (backup.SQLITE_FILE if kind == "sqlite" else backup.POSTGRESQL_FILE)
        sync(file)
        manifest = Manifest(
            bridge=__version__,
            made_at=begun,
            kind=kind,
            revision=newest(),
            database=file.name,
            database_bytes=file.stat().st_size,
            database_sha256=digest(file),
            files=tally.files,
            bytes=tally.bytes,
            lost=tuple(tally.lost),
        )
        (partial / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
        sync(partial / MANIFEST)
        return manifest

    def _look_for_room(self, partial: Path, connection: Connection, copy: bool) -> None:
        """Before hours of copying, not after them."""
        if not copy and partial.stat().st_dev == self._context.settings.archive.stat().st_dev:
            return
        needed, free = verify.total_bytes(connection), shutil.disk_usage(partial).free
        if needed > free:
            raise StoreUnavailable(f"the images need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free", where="disk")

    def _keep(self, row: Any, archive: Path, copy: bool, tally: _Tally) -> None:
        """One file into the backup, or its name among the lost: a damaged image does not cost all others."""
        target = archive / row.file
        try:
            source = self._source.path(row.file)
            if source.stat().st_size != row.size:
                raise BadValue("not the size of its row")
            make_folder(target.parent, archive.parent, tally.folders)
            if copy or not _link(source, target):
                copy_file(source, target)
                if not self._files_at(archive).intact(StoredFile(row.file, row.size, row.sha256)):
                    target.unlink()
                    raise BadValue("not the bytes of its row")
        except FileNotFoundError:
            tally.lost.append(row.file)
        except BadValue:
            tally.lost.append(row.file)
        except OSError as fault:
            raise StoreUnavailable(f"a file could not be kept: {fault.strerror}", where="backup") from None
        else:
            tally.files += 1
            tally.bytes += row.size

    def _note(self, manifest: Manifest, who: str) -> None:
        at = self._context.clock.now()
        details = {"files": manifest.files, "bytes": manifest.bytes, "lost": len(manifest.lost)}

        def change(connection: Connection) -> None:
            audit.write_audit(connection, at=at, who=who, action="backup", subject="bridge", details=details)
            audit.note_activity(connection, "backup", "last", manifest.made_at)

        self._context.database.write(change)


def read_manifest(folder: Path) -> Manifest:
    """Raises `NotReadable` for what is no whole backup, or one of a newer version."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except OSError:
        raise NotReadable(f"no backup here: it has no {MANIFEST}", where=str(folder)) from None
    except ValidationError:
        raise NotReadable(f"its {MANIFEST} is not one that this version reads", where=str(folder)) from None


@contextmanager
def _made_whole(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that takes its name once it is whole and on disk, or goes."""
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.unfinished-", dir=folder.parent))
    try:
        yield partial
        sync(partial)
        partial.rename(folder)
        sync(folder.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def make_folder(folder: Path, root: Path, made: set[Path]) -> None:
    """`folder` below `root`; each folder whose entries change is added to `made`, to be synced."""
    if folder in made:
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made.add(folder)
    made.update(parent for parent in folder.parents if parent == root or root in parent.parents)


def copy_file(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    sync(target)


def digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link(source: Path, target: Path) -> bool:
    """Whether both may be one file: not on another disk, nor where the file system or its rights forbid it."""
    with suppress(FileExistsError):
        try:
            os.link(source, target)
        except FileNotFoundError:
            raise
        except OSError:
            return False
    return True
