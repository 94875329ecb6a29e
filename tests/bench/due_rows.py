"""Publications that are due, as matching leaves them: complete studies, linked to orders, each owed to the EHR."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from bridge import app
from bridge.config import Settings
from bridge.domain.identity import Identifier
from bridge.domain.patient import PersonName
from bridge.domain.publication import Target
from bridge.domain.study import InstanceHeader, MatchState, StoredFile
from bridge.store import links, orders, outbox, studies
from bridge.store.db import Connection
from bridge.uids import new_uid
from tests.bench.measuring import Progress
from tests.bench.order_stream import Prepared
from tests.bench.running import LoadedHospital

SERIES, EHR = 3, "ehr"
GROUP = 100


def fill(hospital: LoadedHospital, known: list[Prepared], rows: int) -> None:
    """`rows` due publications over the orders `known`, which the bridge has taken; while it does not run."""
    database = app.open_database(Settings.load(hospital.config))
    placers = [one.effects[0][1] for one in known]

    def procedures(connection: Connection) -> list[int]:
        found = [orders.find_order(connection, Identifier(placer, "placer"), None) for placer in placers]
        return [orders.procedures_of(connection, rows[0].id)[0].id for rows in found]

    try:
        with database.read() as connection:
            keys = procedures(connection)
        progress = Progress("rows made due", rows)
        for first in range(0, rows, GROUP):
            group = range(first, min(first + GROUP, rows))
            database.write(partial(_studies, numbers=group, procedures=keys))
            progress.show(group[-1] + 1)
        database.checkpoint()
    finally:
        database.close()


def _studies(connection: Connection, numbers: range, procedures: list[int]) -> None:
    for number in numbers:
        _study(connection, number, procedures[number % len(procedures)])


def _study(connection: Connection, number: int, procedure: int) -> None:
    at, study_uid = datetime.now(UTC), new_uid()
    study = 0
    for part in range(SERIES):
        header = InstanceHeader(
            sop_instance_uid=new_uid(),
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            study_instance_uid=study_uid,
            series_instance_uid=new_uid(),
            patient_id=f"DUE{number}",
            patient_issuer="hospital",
            patient_name=PersonName(f"Due{number}^Jane"),
            birth_date="19610504",
            sex="F",
            study_date=f"{at:%Y%m%d}",
            study_time=f"{at:%H%M%S}",
            study_description="CT thorax and abdomen",
            modality="CT",
            series_number=str(part + 1),
            series_description=f"Series {part + 1}",
            body_part="CHEST",
            rows=512,
            columns=512,
        )
        study = studies.take_study(connection, header, at, at).id
        series = studies.take_series(connection, study, header).id
        file = StoredFile(f"due/{header.sop_instance_uid}", 524288, "0" * 64)
        studies.add_instance(connection, series, header, file, "CT1", at)
        instance = studies.find_instance(connection, header.sop_instance_uid)
        assert instance is not None
        studies.add_document(connection, instance.id, b"{}", ())  # nothing to describe: there is no file
    version = studies.get_study(connection, study).version
    studies.complete_study(connection, study, version, at, "quiet")
    links.add_link(connection, study, procedure, rule="study-uid", evidence=[], at=at, by="bridge")
    studies.judged(connection, study, MatchState.MATCHED)
    outbox.request_publication(connection, EHR, study, Target.IMAGING_STUDY, version, at, at)
