"""What the gate needs of the workflow."""

from __future__ import annotations

from typing import Protocol

from bridge.domain.access import Session
from bridge.domain.viewing import InstanceFile, InstanceRow, SeriesRow, StudyRow


class Images(Protocol):
    """The stored studies, narrowed to a session.

    Every call raises `NotAllowed` for a study outside the session (whether it exists or not), and `NotFound` for a
    series, instance or value that does not belong to what is named before it.
    """

    def studies(self, session: Session) -> list[StudyRow]: ...

    def series(self, session: Session, study_uid: str) -> list[SeriesRow]: ...

    def instances(self, session: Session, study_uid: str, series_uid: str = "") -> list[InstanceRow]: ...

    def metadata(self, session: Session, study_uid: str, series_uid: str = "", instance_uid: str = "") -> list[bytes]:
        """DICOM JSON objects, one an instance, compact (no space after a colon), each BulkDataURI relative to the
        studies root: `{study}/series/{series}/instances/{instance}/bulkdata/{tag}`."""
        ...

    def instance(self, session: Session, study_uid: str, series_uid: str, instance_uid: str) -> InstanceFile: ...

    def bulkdata(self, session: Session, study_uid: str, series_uid: str, instance_uid: str, tag: str) -> bytes:
        """The value of one element. `tag` is as in the BulkDataURI; never (7FE0,0010) of an object with frames."""
        ...

    def note_access(self, session: Session, study_uid: str) -> None:
        """Write the audit row, once a session and study."""
        ...
