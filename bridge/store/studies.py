"""Studies, series and instances: kept, counted, completed, judged again.

What is counted, listed and asked for by its sender is what is shown: rejected objects and rejection notes are hidden.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, delete, exists, func, insert, or_, select, union_all, update

from bridge.domain.rejection import Hidden
from bridge.domain.study import InstanceHeader, MatchState, StoredFile, StudyState
from bridge.errors import NotFound
from bridge.store.change import change_row
from bridge.store.connection import Connection, Prepared, one_of
from bridge.store.schema import (
    imaging_order,
    instance,
    instance_aside,
    instance_document,
    patient_identifier,
    requested_procedure,
    series,
    study,
    study_link,
)
from bridge.store.upsert import upsert

_STUDY_BY_UID = Prepared(select(study).where(study.c.study_instance_uid == bindparam("uid")))
_STUDY = Prepared(select(study).where(study.c.id == bindparam("s")))
_STUDY_INSERT = upsert(study, ("study_instance_uid",), {})
_STUDY_GROWS = Prepared(
    update(study)
    .where(study.c.id == bindparam("s"))
    .values(
        version=study.c.version + 1,
        state=StudyState.RECEIVING,
        last_received_at=bindparam("at"),
        completed_at=None,
        completed_by="",
    )
)
_SERIES_BY_UID = Prepared(select(series).where(series.c.series_instance_uid == bindparam("uid")))
_SERIES_INSERT = upsert(series, ("series_instance_uid",), {})
_SHOWN = instance.c.hidden == Hidden.NO
_SERIES_OF = Prepared(
    select(series)
    .where(series.c.study_id == bindparam("s"), exists().where(instance.c.series_id == series.c.id, _SHOWN))
    .order_by(series.c.id)
)
_INSTANCE_BY_UID = Prepared(
    select(instance, series.c.series_instance_uid, study.c.study_instance_uid)
    .join(series, series.c.id == instance.c.series_id)
    .join(study, study.c.id == series.c.study_id)
    .where(instance.c.sop_instance_uid == bindparam("uid"))
)
_INSTANCE_INSERT = Prepared(insert(instance))
_ASIDE_INSERT = Prepared(insert(instance_aside))
_ASIDE = Prepared(
    select(instance_aside).where(
        instance_aside.c.instance_id == bindparam("i"), instance_aside.c.sha256 == bindparam("h")
    )
)
_UNDESCRIBE = Prepared(delete(instance_document).where(instance_document.c.instance_id == bindparam("i")))
_COUNT = Prepared(
    select(func.count())
    .select_from(instance)
    .join(series, series.c.id == instance.c.series_id)
    .where(series.c.study_id == bindparam("s"), _SHOWN)
)
_HAS_INSTANCES = Prepared(select(instance.c.id).where(instance.c.series_id == bindparam("r"), _SHOWN).limit(1))
_SENDERS = Prepared(
    select(instance.c.series_id, instance.c.calling_ae_title)
    .join(series, series.c.id == instance.c.series_id)
    .where(series.c.study_id == bindparam("s"), _SHOWN)
    .distinct()
)
_file_names: Any = bindparam("names", expanding=True)
_KNOWN_FILES = union_all(*(select(t.c.file).where(t.c.file.in_(_file_names)) for t in (instance, instance_aside)))
_RECEIVING = Prepared(
    select(study).where(study.c.state == StudyState.RECEIVING).order_by(study.c.last_received_at).limit(bindparam("n"))
)
_COMPLETE = Prepared(
    update(study)
    .where(study.c.id == bindparam("s"), study.c.version == bindparam("v"))
    .values(state=StudyState.COMPLETE, completed_at=bindparam("at"), completed_by=bindparam("by"))
)
_UNJUDGED = Prepared(
    select(study.c.id)
    .where(
        study.c.state == StudyState.COMPLETE,
        or_(study.c.judged_version.is_(None), study.c.judged_version != study.c.version),
    )
    .order_by(study.c.id)
    .limit(bindparam("n"))
)
_JUDGED = Prepared(
    update(study).where(study.c.id == bindparam("s")).values(match_state=bindparam("m"), judged_version=study.c.version)
)
_NEW_VERSION = Prepared(update(study).where(study.c.id == bindparam("s")).values(version=study.c.version + 1))
_REOPEN = Prepared(
    update(study)
    .where(
        one_of(study.c.match_state, (MatchState.UNMATCHED, MatchState.AMBIGUOUS)),
        or_(
            study.c.study_instance_uid == bindparam("uid"),
            and_(
                bindparam("accession") != "",
                study.c.accession_number == bindparam("accession"),
                study.c.accession_issuer == bindparam("issuer"),
            ),
            study.c.patient_id.in_(
                select(patient_identifier.c.value).where(patient_identifier.c.patient_id == bindparam("p"))
            ),
        ),
    )
    .values(judged_version=None)
)
_REJUDGE_OF_PATIENT = Prepared(
    update(study)
    .where(
        or_(
            study.c.patient_id.in_(
                select(patient_identifier.c.value).where(patient_identifier.c.patient_id == bindparam("p"))
            ),
            study.c.id.in_(
                select(study_link.c.study_id)
                .join(requested_procedure, requested_procedure.c.id == study_link.c.procedure_id)
                .join(imaging_order, imaging_order.c.id == requested_procedure.c.order_id)
                .where(imaging_order.c.patient_id == bindparam("p"), study_link.c.ended_at.is_(None))
            ),
        )
    )
    .values(version=study.c.version + 1)
)
_UNDESCRIBED = Prepared(
    select(instance.c.id, instance.c.file)
    .outerjoin(instance_document, instance_document.c.instance_id == instance.c.id)
    .where(instance_document.c.instance_id.is_(None))
    .order_by(instance.c.id)
    .limit(bindparam("n"))
)
_DOCUMENT_INSERT = upsert(instance_document, ("instance_id",), {})
_COUNT_BY_STATE = Prepared(
    select(study.c.state, study.c.match_state, func.count()).group_by(study.c.state, study.c.match_state)
)


def find_study(connection: Connection, study_instance_uid: str) -> Any | None:
    return connection.execute(_STUDY_BY_UID, {"uid": study_instance_uid}).one_or_none()


def get_study(connection: Connection, study_id: int) -> Any:
    row = connection.execute(_STUDY, {"s": study_id}).one_or_none()
    if row is None:
        raise NotFound("no such study", where="study")
    return row


def find_instance(connection: Connection, sop_instance_uid: str) -> Any | None:
    return connection.execute(_INSTANCE_BY_UID, {"uid": sop_instance_uid}).one_or_none()


def take_study(connection: Connection, header: InstanceHeader, at: datetime, steady: datetime) -> Any:
    """The study's row, made from its first instance if it is new. Its quiet is counted from `steady`."""
    connection.execute(
        _STUDY_INSERT,
        {
            "study_instance_uid": header.study_instance_uid,
            "state": StudyState.RECEIVING,
            "match_state": MatchState.PENDING,
            "first_received_at": at,
            "last_received_at": steady,
            "patient_id": header.patient_id,
            "patient_issuer": header.patient_issuer,
            "patient_name": header.patient_name.dicom,
            "birth_date": header.birth_date,
            "sex": header.sex,
            "accession_number": header.accession_number,
            "accession_issuer": header.accession_issuer,
            "study_id": header.study_id,
            "study_date": header.study_date,
            "study_time": header.study_time,
            "timezone_offset": header.timezone_offset,
            "description": header.study_description,
            "referring_physician": header.referring_physician.dicom,
        },
    )
    return connection.execute(_STUDY_BY_UID, {"uid": header.study_instance_uid}).one()


def grow_study(connection: Connection, study_id: int, steady: datetime) -> None:
    """Something came for the study: it is received anew, and its quiet counted from `steady`."""
    connection.execute(_STUDY_GROWS, {"s": study_id, "at": steady})


def change_study(connection: Connection, study_id: int, values: dict[str, Any]) -> None:
    change_row(connection, study, study_id, values)


def take_series(connection: Connection, study_id: int, header: InstanceHeader) -> Any:
    connection.execute(
        _SERIES_INSERT,
        {
            "study_id": study_id,
            "series_instance_uid": header.series_instance_uid,
            "modality": header.modality,
            "number": header.series_number,
            "description": header.series_description,
            "date": header.series_date,
            "time": header.series_time,
            "body_part": header.body_part,
            "laterality": header.laterality,
            "requests": [
                [
                    r.study_instance_uid,
                    r.accession_number,
                    r.accession_issuer,
                    r.requested_procedure_id,
                    r.scheduled_step_id,
                    r.original_study_uid,
                ]
                for r in header.requests
            ],
        },
    )
    return connection.execute(_SERIES_BY_UID, {"uid": header.series_instance_uid}).one()


def add_instance(
    connection: Connection,
    series_id: int,
    header: InstanceHeader,
    file: StoredFile,
    calling_ae: str,
    at: datetime,
    hidden: Hidden = Hidden.NO,
) -> None:
    connection.execute(
        _INSTANCE_INSERT,
        {
            "series_id": series_id,
            "sop_instance_uid": header.sop_instance_uid,
            "sop_class_uid": header.sop_class_uid,
            "transfer_syntax_uid": header.transfer_syntax_uid,
            "number": header.instance_number,
            "frames": header.number_of_frames,
            "rows": header.rows,
            "columns": header.columns,
            "performed_step_uid": header.performed_step_uid,
            "file": file.name,
            "size": file.size,
            "sha256": file.sha256,
            "head_sha256": file.head_sha256,
            "calling_ae_title": calling_ae,
            "received_at": at,
            "hidden": hidden,
        },
    )


def keep_aside(connection: Connection, instance_id: int, file: StoredFile, calling_ae: str, at: datetime) -> None:
    connection.execute(
        _ASIDE_INSERT,
        {
            "instance_id": instance_id,
            "file": file.name,
            "size": file.size,
            "sha256": file.sha256,
            "head_sha256": file.head_sha256,
            "calling_ae_title": calling_ae,
            "received_at": at,
        },
    )


def find_aside(connection: Connection, instance_id: int, sha256: str) -> Any | None:
    """The copy of an instance with just these bytes that is kept aside already."""
    return connection.execute(_ASIDE, {"i": instance_id, "h": sha256}).first()


def replace_file(connection: Connection, instance_id: int, file: StoredFile, transfer_syntax_uid: str) -> None:
    """The same object from another file, whose meta information may differ: what was derived from it is made again."""
    change_row(
        connection,
        instance,
        instance_id,
        {**_place(file), "transfer_syntax_uid": transfer_syntax_uid},
    )
    connection.execute(_UNDESCRIBE, {"i": instance_id})


def replace_aside(connection: Connection, aside_id: int, file: StoredFile) -> None:
    change_row(connection, instance_aside, aside_id, _place(file))


def _place(file: StoredFile) -> dict[str, Any]:
    return {"file": file.name, "size": file.size, "head_sha256": file.head_sha256}


def file_of(row: Any) -> StoredFile:
    """Of a row of `instance` or `instance_aside`."""
    return StoredFile(row.file, row.size, row.sha256, row.head_sha256)


def count_instances(connection: Connection, study_id: int) -> int:
    return int(connection.execute(_COUNT, {"s": study_id}).scalar_one())


def has_instances(connection: Connection, series_id: int) -> bool:
    return connection.execute(_HAS_INSTANCES, {"r": series_id}).first() is not None


def senders_of(connection: Connection, study_id: int) -> list[tuple[Any, str]]:
    """The series of a study, each once for every device (AE title) that sent of it."""
    parts = {part.id: part for part in series_of(connection, study_id)}
    senders = sorted(tuple(row) for row in connection.execute(_SENDERS, {"s": study_id}))
    return [(parts[series_id], calling_ae) for series_id, calling_ae in senders]


def known_files(connection: Connection, names: Iterable[str]) -> set[str]:
    """Those of some hundred names of the archive that a row owns."""
    return set(connection.execute(_KNOWN_FILES, {"names": list(names)}).scalars())


def receiving_studies(connection: Connection, limit: int) -> list[Any]:
    return list(connection.execute(_RECEIVING, {"n": limit}))


def complete_study(connection: Connection, study_id: int, version: int, at: datetime, by: str) -> bool:
    """False when an image came in between: the study goes on receiving."""
    return connection.execute(_COMPLETE, {"s": study_id, "v": version, "at": at, "by": by}).rowcount == 1


def unjudged_studies(connection: Connection, limit: int) -> list[int]:
    return list(connection.execute(_UNJUDGED, {"n": limit}).scalars())


def judged(connection: Connection, study_id: int, state: MatchState) -> None:
    connection.execute(_JUDGED, {"s": study_id, "m": state})


def new_version(connection: Connection, study_id: int) -> None:
    connection.execute(_NEW_VERSION, {"s": study_id})


def reopen_for_order(
    connection: Connection, *, uids: Iterable[str], accession_number: str, accession_issuer: str, patient_id: int
) -> None:
    """An order came or changed: undecided studies that share anything with it are judged again."""
    same = {"accession": accession_number, "issuer": accession_issuer, "p": patient_id}
    for uid in tuple(uids) or ("",):
        connection.execute(_REOPEN, {**same, "uid": uid})


def rejudge_of_patient(connection: Connection, patient_id: int) -> None:
    """The patient's identity changed (a merge): every study of theirs is judged and published again."""
    connection.execute(_REJUDGE_OF_PATIENT, {"p": patient_id})


def series_of(connection: Connection, study_id: int) -> list[Any]:
    return list(connection.execute(_SERIES_OF, {"s": study_id}))


def undescribed(connection: Connection, limit: int) -> list[tuple[int, str]]:
    return [(row.id, row.file) for row in connection.execute(_UNDESCRIBED, {"n": limit})]


def add_document(connection: Connection, instance_id: int, json: bytes, frames: object) -> None:
    connection.execute(_DOCUMENT_INSERT, {"instance_id": instance_id, "json": json, "frames": frames})


def count_by_state(connection: Connection) -> list[tuple[str, str, int]]:
    return [(state, match, count) for state, match, count in connection.execute(_COUNT_BY_STATE)]
