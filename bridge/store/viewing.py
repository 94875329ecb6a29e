"""What the DICOMweb gate reads: a few indexed rows a request. What is hidden (rejected) does not exist here."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, func, select

from bridge.domain.patient import PersonName
from bridge.domain.rejection import Hidden
from bridge.domain.viewing import InstanceRow, SeriesRow, StudyRow
from bridge.store.connection import Connection, Prepared
from bridge.store.schema import instance, instance_document, series, study

_STUDIES = (
    select(
        study,
        func.count(func.distinct(series.c.id)).label("series_count"),
        func.count(instance.c.id).label("instance_count"),
    )
    .join(series, series.c.study_id == study.c.id)
    .join(instance, instance.c.series_id == series.c.id)
    .where(study.c.study_instance_uid.in_(bindparam("uids", expanding=True)), instance.c.hidden == Hidden.NO)
    .group_by(study.c.id)
    .order_by(study.c.id)
)
_MODALITIES = Prepared(
    select(series.c.modality)
    .join(instance, instance.c.series_id == series.c.id)
    .where(series.c.study_id == bindparam("s"), series.c.modality != "", instance.c.hidden == Hidden.NO)
    .distinct()
    .order_by(series.c.modality)
)
_SERIES = Prepared(
    select(series, func.count(instance.c.id).label("instance_count"))
    .join(study, study.c.id == series.c.study_id)
    .join(instance, instance.c.series_id == series.c.id)
    .where(study.c.study_instance_uid == bindparam("study"), instance.c.hidden == Hidden.NO)
    .group_by(series.c.id)
    .order_by(series.c.id)
)
_INSTANCES = (
    select(instance, series.c.series_instance_uid, instance_document.c.frames.label("parts"))
    .join(series, series.c.id == instance.c.series_id)
    .join(study, study.c.id == series.c.study_id)
    .outerjoin(instance_document, instance_document.c.instance_id == instance.c.id)
    .where(study.c.study_instance_uid == bindparam("study"), instance.c.hidden == Hidden.NO)
    .order_by(series.c.id, instance.c.id)
)
_INSTANCES_OF_SERIES = _INSTANCES.where(series.c.series_instance_uid == bindparam("series"))
_INSTANCE = _INSTANCES_OF_SERIES.where(instance.c.sop_instance_uid == bindparam("instance"))
# The JSON (some 20 kB an instance) only where it is asked for: frames are the hot path.
_DOCUMENTS, _DOCUMENTS_OF_SERIES, _DOCUMENT = (
    statement.add_columns(instance_document.c.json) for statement in (_INSTANCES, _INSTANCES_OF_SERIES, _INSTANCE)
)


def list_studies(connection: Connection, uids: frozenset[str]) -> list[StudyRow]:
    found = []
    for row in connection.execute(_STUDIES, {"uids": sorted(uids)}).all():
        modalities = tuple(connection.execute(_MODALITIES, {"s": row.id}).scalars())
        found.append(
            StudyRow(
                study_instance_uid=row.study_instance_uid,
                patient_name=PersonName.from_dicom(row.patient_name),
                patient_id=row.patient_id,
                patient_issuer=row.patient_issuer,
                birth_date=row.birth_date,
                sex=row.sex,
                accession_number=row.accession_number,
                study_id=row.study_id,
                study_date=row.study_date,
                study_time=row.study_time,
                description=row.description,
                referring_physician=PersonName.from_dicom(row.referring_physician),
                modalities=modalities,
                series=row.series_count,
                instances=row.instance_count,
            )
        )
    return found


def list_series(connection: Connection, study_uid: str) -> list[SeriesRow]:
    return [
        SeriesRow(
            series_instance_uid=row.series_instance_uid,
            modality=row.modality,
            number=row.number,
            description=row.description,
            date=row.date,
            time=row.time,
            body_part=row.body_part,
            instances=row.instance_count,
        )
        for row in connection.execute(_SERIES, {"study": study_uid})
    ]


def find_instances(connection: Connection, study_uid: str, series_uid: str = "", instance_uid: str = "") -> list[Any]:
    """Instance rows with their frame places (`parts`; None when not made yet), narrowed by what is given."""
    return _find(connection, (_INSTANCES, _INSTANCES_OF_SERIES, _INSTANCE), study_uid, series_uid, instance_uid)


def find_documents(connection: Connection, study_uid: str, series_uid: str = "", instance_uid: str = "") -> list[Any]:
    """The same with `json`, None when not made yet."""
    return _find(connection, (_DOCUMENTS, _DOCUMENTS_OF_SERIES, _DOCUMENT), study_uid, series_uid, instance_uid)


def _find(
    connection: Connection, statements: tuple[Any, Any, Any], study_uid: str, series_uid: str, instance_uid: str
) -> list[Any]:
    of_study, of_series, one = statements
    if instance_uid:
        return list(connection.execute(one, {"study": study_uid, "series": series_uid, "instance": instance_uid}))
    if series_uid:
        return list(connection.execute(of_series, {"study": study_uid, "series": series_uid}))
    return list(connection.execute(of_study, {"study": study_uid}))


def instance_row(row: Any) -> InstanceRow:
    return InstanceRow(
        series_instance_uid=row.series_instance_uid,
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
        number=row.number,
        rows=row.rows,
        columns=row.columns,
        frames=row.frames if row.rows else 0,
        transfer_syntax_uid=row.transfer_syntax_uid,
    )
