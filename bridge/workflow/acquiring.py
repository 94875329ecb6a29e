"""Images arrive (RAD-8): stored first, judged later. Then: is the study complete?"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeAlias

from bridge.domain.performed import DERIVED, PerformedStatus
from bridge.domain.rejection import Hidden
from bridge.domain.study import InstanceHeader, MatchState, StoredFile
from bridge.errors import StateConflict
from bridge.log import work
from bridge.store import audit, performed, review, studies
from bridge.store.db import Connection
from bridge.workflow import leaving, publishing, rejecting
from bridge.workflow.context import Context

Intact: TypeAlias = Callable[[StoredFile], bool]
"""Whether a file of the archive is there, with the size and the bytes that its row names."""

AHEAD = timedelta(minutes=1)
"""No image has come later than now: the clock by which one seems to was wrong, and the quiet is counted anew."""
log = logging.getLogger("bridge.acquiring")

REFUSED_SECONDS, MOST_REFUSED = 60.0, 256
"""Rows about strangers: one a minute for each reason and address, and no more than so many a minute in all."""


class Acquiring:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._noted: dict[str, float] = {}
        self._refused: dict[tuple[str, str], float] = {}

    def note_query(self, calling_ae: str) -> None:
        """Remember that the device asked, at most once in five seconds each: a query is no reason to sync a disk."""
        now = self._context.clock.monotonic()
        if now - self._noted.get(calling_ae, -10.0) < 5.0:
            return
        self._noted[calling_ae] = now
        at = self._context.clock.now()
        self._context.database.write(lambda c: audit.note_activity(c, "query", calling_ae, at))

    def note_refused(self, address: str, calling_ae: str, code: str) -> None:
        """Audit what was refused, once a minute for each reason and address: whoever knocks must not fill the disk."""
        now = self._context.clock.monotonic()
        self._refused = {key: at for key, at in self._refused.items() if now - at < REFUSED_SECONDS}
        if (address, code) in self._refused or len(self._refused) >= MOST_REFUSED:
            return
        self._refused[address, code] = now
        at = self._context.clock.now()
        title = "".join(letter if letter.isprintable() else "?" for letter in calling_ae)
        self._context.database.write(
            lambda c: audit.write_audit(
                c, at=at, who=f"address:{address}", action="dicom-refused", subject=f"ae:{title}", outcome=code
            )
        )

    def take_instance(self, header: InstanceHeader, file: StoredFile, calling_ae: str) -> bool:
        """Index a file that is already safe on disk. True: new; False: known with the same bytes.

        Known says the row, not the disk: ask `heal_instance` before the file is dropped.

        Raises `StateConflict` (code `different-bytes`) when the UID is known with other bytes: the file has then been
        kept aside and put on the review list. Raises `StateConflict` (code `other-study`) for a UID that another
        study or series holds, and (code `rejected`) for an object that was rejected.
        """
        result = self._context.database.write(lambda c: self._take(c, header, file, calling_ae))
        if isinstance(result, str):
            raise StateConflict("the SOP Instance UID is known with other bytes", where="(0008,0018)", code=result)
        return result

    def heal_instance(self, header: InstanceHeader, file: StoredFile, calling_ae: str, intact: Intact) -> bool:
        """An object came again with the same bytes. True: its first file is gone or damaged, and this one replaces it.

        False: the first is as it was stored (drop the new file). The old file is swept at the next start.
        """
        with self._context.database.read() as connection:
            known = _holder(connection, header.sop_instance_uid, file.sha256)
        if known is None:  # deleted in between
            return self.take_instance(header, file, calling_ae)
        if intact(studies.file_of(known)):
            return False
        return self._context.database.write(lambda c: self._heal(c, known.file, header, file, calling_ae))

    def _heal(self, connection: Connection, lost: str, header: InstanceHeader, file: StoredFile, ae: str) -> bool:
        at = self._context.clock.now()
        instance = studies.find_instance(connection, header.sop_instance_uid)
        holder = _holder(connection, header.sop_instance_uid, file.sha256)
        if instance is None or holder is None or holder.file != lost:
            return False  # another sender was quicker
        if instance.sha256 == file.sha256:
            studies.replace_file(connection, instance.id, file, header.transfer_syntax_uid)
        else:
            studies.replace_aside(connection, holder.id, file)
        # A file that the archive lost is never the only one: somebody must look at the disk.
        subject = f"instance:{instance.id}"
        review.open_review(connection, "instance-healed", subject, "stored-file-damaged", at, {"from": ae})
        audit.write_audit(
            connection, at=at, who=f"ae:{ae}", action="instance-healed", subject=subject, outcome="stored-file-damaged"
        )
        return True

    def _take(self, connection: Connection, header: InstanceHeader, file: StoredFile, ae: str) -> bool | str:
        at = self._context.clock.now()
        known = studies.find_instance(connection, header.sop_instance_uid)
        hidden = rejecting.hidden_on_arrival(connection, header, self._context, new=known is None)
        if known is not None:
            return self._again(connection, known, header, file, ae)
        steady = self._context.clock.steady()
        row = studies.take_study(connection, header, at, steady)
        part = studies.take_series(connection, row.id, header)
        if part.study_id != row.id:
            raise StateConflict("the series belongs to another study", where="(0020,000E)", code="other-study")
        if hidden or rejecting.may_reject(header, ae, self._context):
            self._take_hidden(connection, row.id, part.id, header, file, ae, hidden)
            return True
        first = studies.count_instances(connection, row.id) == 0
        first_of_series = first or not studies.has_instances(connection, part.id)
        studies.add_instance(connection, part.id, header, file, ae, at)
        studies.grow_study(connection, row.id, steady)
        self._check_patient(connection, row, header)
        if first:
            audit.write_audit(connection, at=at, who=f"ae:{ae}", action="study-received", subject=f"study:{row.id}")
        if first_of_series:
            device = leaving.Device(header.modality, ae, header.patient_id, header.patient_issuer)
            leaving.image_came(connection, row, header.requests, device, self._context)
        audit.note_activity(connection, "store", ae, at)
        if header.rejection is not None:
            rejecting.note_came(connection, header, ae, self._context)
        return True

    def _take_hidden(
        self,
        connection: Connection,
        study_id: int,
        series_id: int,
        header: InstanceHeader,
        file: StoredFile,
        ae: str,
        hidden: Hidden,
    ) -> None:
        """A rejection note, or an object that was rejected before it came: kept, and no image of its study."""
        at = self._context.clock.now()
        studies.add_instance(connection, series_id, header, file, ae, at, hidden or Hidden.NOTE)
        audit.note_activity(connection, "store", ae, at)
        if hidden:
            rejecting.came_hidden(connection, study_id, header, hidden, self._context)
        rejecting.note_came(connection, header, ae, self._context)

    def _again(
        self, connection: Connection, known: Any, header: InstanceHeader, file: StoredFile, ae: str
    ) -> bool | str:
        if known.sha256 == file.sha256:
            rejecting.came_again(connection, known, header, ae, self._context)
            return False
        if studies.find_aside(connection, known.id, file.sha256) is not None:
            return False
        at = self._context.clock.now()
        studies.keep_aside(connection, known.id, file, ae, at)
        review.open_review(
            connection, "instance-differs", f"instance:{known.id}", "same-uid-other-bytes", at, {"from": ae}
        )
        audit.write_audit(
            connection,
            at=at,
            who=f"ae:{ae}",
            action="instance-aside",
            subject=f"instance:{known.id}",
            outcome="conflict",
        )
        return "different-bytes"

    def _check_patient(self, connection: Connection, row: Any, header: InstanceHeader) -> None:
        """One study, one patient: instances that disagree make it nobody's until a person looks."""
        if row.conflicting or (row.patient_id, row.patient_issuer) == (header.patient_id, header.patient_issuer):
            return
        at = self._context.clock.now()
        # At once, not when the study is next judged: whoever has it open may see no further image of it.
        studies.change_study(connection, row.id, {"conflicting": True, "match_state": MatchState.AMBIGUOUS})
        publishing.withdraw(connection, row.id, self._context)
        review.open_review(connection, "study-conflict", f"study:{row.id}", "instances-name-two-patients", at, {})

    def complete_due(self, limit: int = 50) -> int:
        """Close the studies that are complete: by MPPS with every image it lists, else after the quiet time."""
        now = self._context.clock.steady()
        with self._context.database.read() as connection:
            receiving = studies.receiving_studies(connection, limit)
            due = [(row.id, row.version, by) for row in receiving if (by := self._complete(connection, row, now))]
        for row in receiving:
            if row.last_received_at > now + AHEAD:
                again = {"last_received_at": now}
                self._context.database.write(partial(studies.change_study, study_id=row.id, values=again))
        for study_id, version, by in due:
            if self._context.database.write(partial(self._close, study_id=study_id, version=version, by=by)):
                work(log, "study complete", study_id=study_id, reason=by)
        return len(due)

    def _complete(self, connection: Connection, row: Any, now: datetime) -> str:
        if _whole(connection, row):
            return "MPPS"
        quiet = timedelta(seconds=self._context.settings.studies.quiet_seconds)
        return "quiet" if row.last_received_at + quiet <= now else ""

    def _close(self, connection: Connection, study_id: int, version: int, by: str) -> bool:
        """False when an image came in between."""
        at = self._context.clock.now()
        if not studies.complete_study(connection, study_id, version, at, by):
            return False
        audit.write_audit(
            connection, at=at, who="role:worker", action="study-complete", subject=f"study:{study_id}", outcome=by
        )
        leaving.study_ended(connection, studies.get_study(connection, study_id), self._context)
        return True


def _whole(connection: Connection, row: Any) -> bool:
    """Whether every performed step of the study has ended, the very instances that they list are here, and no series
    that nobody lists: a device without MPPS may still be sending that one."""
    steps = performed.performed_of_study(connection, row.study_instance_uid)
    if not any(step.instances for step in steps) or any(s.status == PerformedStatus.IN_PROGRESS for s in steps):
        return False
    listed = {uid for step in steps for uid in step.series}
    parts = studies.series_of(connection, row.id)
    if any(part.series_instance_uid not in listed and part.modality not in DERIVED for part in parts):
        return False
    return not performed.missing_of_study(connection, row.study_instance_uid)


def _holder(connection: Connection, sop_instance_uid: str, sha256: str) -> Any | None:
    """The row whose file holds these bytes of the instance: its own, or that of a copy kept aside."""
    known = studies.find_instance(connection, sop_instance_uid)
    if known is None or known.sha256 == sha256:
        return known
    return studies.find_aside(connection, known.id, sha256)
