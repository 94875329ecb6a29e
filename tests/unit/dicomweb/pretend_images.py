"""Images of two patients' studies without a store: it refuses what the workflow refuses, and counts what it gave."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bridge.domain.access import Session, User
from bridge.domain.patient import PersonName
from bridge.domain.viewing import InstanceFile, InstanceRow, SeriesRow, StudyRow
from bridge.errors import NotAllowed, NotFound

A, B, A2 = "1.2.840.1", "1.2.840.2", "1.2.840.3"
"""Study UIDs: A and A2 are of the session's patient, B of another one with the same MRN."""


Tree = dict[str, tuple[SeriesRow, dict[str, tuple[InstanceRow, InstanceFile]]]]
"""The series of one study with their instances, by UID."""


@dataclass
class PretendImages:
    rows: dict[str, StudyRow] = field(default_factory=dict)
    tree: dict[str, Tree] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)
    values: dict[tuple[str, str], bytes] = field(default_factory=dict)
    noted: list[str] = field(default_factory=list)

    def add(
        self,
        study: StudyRow,
        series: SeriesRow,
        instance: InstanceRow,
        file: InstanceFile,
        document: bytes = b"",
    ) -> None:
        uid = study.study_instance_uid
        self.rows[uid] = study
        _, known = self.tree.setdefault(uid, {}).setdefault(series.series_instance_uid, (series, {}))
        known[instance.sop_instance_uid] = (instance, file)
        place = f"{uid}/series/{series.series_instance_uid}/instances/{instance.sop_instance_uid}/bulkdata/7FE00010"
        self.documents[instance.sop_instance_uid] = (
            document or f'{{"7FE00010":{{"vr":"OW","BulkDataURI":"{place}"}}}}'.encode()
        )

    def studies(self, session: Session) -> list[StudyRow]:
        return [row for uid, row in self.rows.items() if uid in session.studies]

    def series(self, session: Session, study_uid: str) -> list[SeriesRow]:
        return [row for row, _ in self._study(session, study_uid).values()]

    def instances(self, session: Session, study_uid: str, series_uid: str = "") -> list[InstanceRow]:
        return [row for row, _ in self._found(session, study_uid, series_uid)]

    def metadata(self, session: Session, study_uid: str, series_uid: str = "", instance_uid: str = "") -> list[bytes]:
        found = self._found(session, study_uid, series_uid, instance_uid)
        return [self.documents[row.sop_instance_uid] for row, _ in found]

    def instance(self, session: Session, study_uid: str, series_uid: str, instance_uid: str) -> InstanceFile:
        return self._found(session, study_uid, series_uid, instance_uid)[0][1]

    def bulkdata(self, session: Session, study_uid: str, series_uid: str, instance_uid: str, tag: str) -> bytes:
        self._found(session, study_uid, series_uid, instance_uid)
        if (instance_uid, tag) not in self.values:
            raise NotFound("no such value", where="bulkdata")
        return self.values[instance_uid, tag]

    def note_access(self, session: Session, study_uid: str) -> None:
        self._study(session, study_uid)
        self.noted.append(study_uid)

    def _study(self, session: Session, study_uid: str) -> Tree:
        if study_uid not in session.studies:
            raise NotAllowed("the study is not part of this session", where="study")
        return self.tree.get(study_uid, {})

    def _found(
        self, session: Session, study_uid: str, series_uid: str = "", instance_uid: str = ""
    ) -> list[tuple[InstanceRow, InstanceFile]]:
        study = self._study(session, study_uid)
        if series_uid and series_uid not in study:
            raise NotFound("no such series in the study", where="series")
        chosen = [study[series_uid]] if series_uid else list(study.values())
        found = [pair for _, known in chosen for uid, pair in known.items() if instance_uid in ("", uid)]
        if not found:
            raise NotFound("no such instance in the series", where="instance")
        return found


def session_of(*studies: str) -> Session:
    return Session(7, User("https://ehr.example", "u1"), 1, frozenset(studies), datetime(2030, 1, 1, tzinfo=UTC))


def two_patients(folder: Path) -> PretendImages:
    """A: a CT of two series; A2: an MR; B: another patient's US, every byte of it marked. All files are pretend."""
    images = PretendImages()
    ct = StudyRow(
        A, PersonName("DOE^JANE"), "MRN1", "HOSP-A", "19700101", "F", "ACC1", "S1", "20260110", "101500", "CT CHEST",
        PersonName("HOUSE^GREG"), ("CT", "SR"), 2, 3,
    )  # fmt: skip
    mr = StudyRow(
        A2, PersonName("DOE^JANE"), "MRN1", "HOSP-A", "19700101", "F", "ACC2", "S2", "20250301", "0900", "MR HEAD",
        modalities=("MR",), series=1, instances=1,
    )  # fmt: skip
    us = StudyRow(
        B, PersonName("SECRET^OTHER"), "MRN1", "HOSP-B", "19550505", "M", "ACC1", "S3", "20260110", "101500",
        "SECRET ABDOMEN", modalities=("US",), series=1, instances=1,
    )  # fmt: skip
    for study, number, modality, count in ((ct, 1, "CT", 2), (ct, 2, "SR", 1), (mr, 1, "MR", 1), (us, 1, "US", 1)):
        uid = f"{study.study_instance_uid}.{number}"
        series = SeriesRow(uid, modality, str(number), f"{modality} SERIES", instances=count)
        for index in range(1, count + 1):
            instance = f"{uid}.{index}"
            path = folder / f"{instance}.dcm"
            mark = b"SECRET" if study is us else b"PIXELS"
            path.write_bytes(b"HEAD" + mark * 4 + b"TAIL")
            image = modality != "SR"
            row = InstanceRow(
                uid, "1.2.840.10008.5.1.4.1.1.2", instance, str(index), 2 * image, 6 * image, 2 * image,
                "1.2.840.10008.1.2.1",
            )  # fmt: skip
            frames = (((4, 12),), ((16, 12),)) if image else ()
            images.add(study, series, row, InstanceFile(path, 32, row.transfer_syntax_uid, row.sop_class_uid, frames))
            images.values[instance, "00420011"] = mark
    return images
