"""What a viewer is given: the session's studies, from the index and the files; nothing else exists for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge.domain.access import Session
from bridge.domain.viewing import FrameParts, InstanceFile, InstanceRow, SeriesRow, StudyRow
from bridge.errors import NotAllowed, NotFound
from bridge.store import audit, launches, studies, viewing
from bridge.store.db import Connection
from bridge.workflow.context import Context
from bridge.workflow.ports import Describer, InstanceDocument

BulkReader = Callable[[Path, str], bytes]
"""(file, tag as `GGGGEEEE` or its path) -> the value; raises `NotFound`."""


class Viewing:
    def __init__(self, context: Context, describe: Describer, read_bulk: BulkReader) -> None:
        self._context = context
        self._describe = describe
        self._read_bulk = read_bulk
        self._noted: set[tuple[int, str]] = set()

    def studies(self, session: Session) -> list[StudyRow]:
        with self._context.database.read() as connection:
            return viewing.list_studies(connection, session.studies)

    def series(self, session: Session, study_uid: str) -> list[SeriesRow]:
        _check(session, study_uid)
        with self._context.database.read() as connection:
            return viewing.list_series(connection, study_uid)

    def instances(self, session: Session, study_uid: str, series_uid: str = "") -> list[InstanceRow]:
        return [viewing.instance_row(row) for row in self._rows(session, study_uid, series_uid)]

    def metadata(self, session: Session, study_uid: str, series_uid: str = "", instance_uid: str = "") -> list[bytes]:
        """DICOM JSON objects, one an instance; made on the spot for what the worker has not described yet."""
        rows = self._rows(session, study_uid, series_uid, instance_uid, find=viewing.find_documents)
        return [row.json if row.json is not None else self._document(row).json for row in rows]

    def instance(self, session: Session, study_uid: str, series_uid: str, instance_uid: str) -> InstanceFile:
        row = self._rows(session, study_uid, series_uid, instance_uid)[0]
        frames: Any = row.parts if row.parts is not None else self._document(row).frames
        return InstanceFile(
            path=self._path(row),
            size=row.size,
            transfer_syntax_uid=row.transfer_syntax_uid,
            sop_class_uid=row.sop_class_uid,
            frames=tuple(_parts(frame) for frame in frames),
        )

    def bulkdata(self, session: Session, study_uid: str, series_uid: str, instance_uid: str, tag: str) -> bytes:
        return self._read_bulk(self._path(self._rows(session, study_uid, series_uid, instance_uid)[0]), tag)

    def note_access(self, session: Session, study_uid: str) -> None:
        """One audit row a session and study, however many frames."""
        _check(session, study_uid)
        if (session.id, study_uid) in self._noted:
            return

        def change(connection: Connection) -> None:
            at = self._context.clock.now()
            row = studies.find_study(connection, study_uid)
            if row is not None and launches.first_access(connection, session.id, row.id, at):
                audit.write_audit(
                    connection,
                    at=at,
                    who=f"user:{session.user.issuer}|{session.user.subject}",
                    action="images-accessed",
                    subject=f"study:{row.id}",
                    details={"session": session.id},
                )

        self._context.database.write(change)
        if len(self._noted) > 10_000:
            self._noted.clear()  # only spares a write: the row itself knows whether it was the first
        self._noted.add((session.id, study_uid))

    def _rows(
        self,
        session: Session,
        study_uid: str,
        series_uid: str = "",
        instance_uid: str = "",
        find: Callable[[Connection, str, str, str], list[Any]] = viewing.find_instances,
    ) -> list[Any]:
        _check(session, study_uid)
        with self._context.database.read() as connection:
            rows = find(connection, study_uid, series_uid, instance_uid)
        if not rows:
            raise NotFound("nothing of that name in this study", where="instance")
        return rows

    def _path(self, row: Any) -> Path:
        return self._context.settings.archive / str(row.file)

    def _document(self, row: Any) -> InstanceDocument:
        return self._describe(self._path(row))


def _check(session: Session, study_uid: str) -> None:
    """The same answer whether the study exists or not."""
    if study_uid not in session.studies:
        raise NotAllowed("not a study of this launch", where="study")


def _parts(frame: Any) -> FrameParts:
    return tuple((int(offset), int(length)) for offset, length in frame)
