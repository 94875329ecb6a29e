"""A bridge without its doors: a real SQLite file, a clock that stands still, and the workflow's own verbs."""

from __future__ import annotations

import functools
import itertools
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import select

from bridge.clock import ManualClock
from bridge.config import DicomPeer, Ehr, Settings, Site, Station, Studies
from bridge.domain.identity import Identifier, Issuers
from bridge.domain.message import Envelope, Fate, Outcome, Reading
from bridge.domain.order import OrderRequest, ProcedureRequest, StepRequest
from bridge.domain.patient import PatientData, PatientEvent, PersonName
from bridge.domain.performed import ListedInstance, PerformedStatus, PerformedStep, ScheduledReference, changed
from bridge.domain.study import InstanceHeader, StoredFile
from bridge.domain.worklist import WorklistEntry, WorklistKeys
from bridge.mapping import MappingContext, Mappings, default_directory
from bridge.store import audit, launches, links, orders, patients, review, schema, studies
from bridge.store.db import Connection, Database
from bridge.store.migrate import migrate
from bridge.workflow.acquiring import Acquiring
from bridge.workflow.context import Context
from bridge.workflow.intake import Intake
from bridge.workflow.matching import Matching
from bridge.workflow.performing import PerformedSteps
from bridge.workflow.worklist import WorklistDesk

T = TypeVar("T")
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
CT1 = Station(ae_titles=("CT1",), modality="CT", name="CT1")
MR1 = Station(ae_titles=("MR1",), modality="MR")
EHR = Ehr(name="ehr", fhir_base="https://ehr.example.org/fhir")
JANE = Identifier("1001", "HOSP")
JOHN = Identifier("2002", "HOSP")
SCANNER = DicomPeer(ae_title="CT1")


@functools.cache
def new_database() -> bytes:
    """The bytes of an empty database with all its tables, made once."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database("", Path(folder), on_broken=lambda: None)
        migrate(database)
        database.checkpoint()
        database.close()
        return (Path(folder) / "bridge.db").read_bytes()


@functools.cache
def shipped_mappings() -> Mappings:
    return Mappings.load(default_directory(), None, MappingContext(ZoneInfo("UTC"), Issuers([])))


def settings(folder: Path, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "data": folder,
        "station": (CT1, MR1),
        "ehr": (EHR,),
        "studies": Studies(quiet_seconds=60),
        "site": Site(time_zone="UTC"),
    }
    return Settings(**{**values, **changes})


class House:
    def __init__(self, folder: Path, **changes: Any) -> None:
        self.clock = ManualClock(NOON)
        self.settings = settings(folder, **changes)
        self.broken: list[bool] = []
        (folder / "bridge.db").write_bytes(new_database())
        self.database = Database("", folder, on_broken=lambda: self.broken.append(True))
        self.context = Context(self.database, self.settings, self.clock)
        self.intake = Intake(self.context)
        self.acquiring = Acquiring(self.context)
        self.performing = PerformedSteps(self.context, shipped_mappings().fate)
        self.matching = Matching(self.context)
        self._numbers = itertools.count(1)

    # -- messages in ----------------------------------------------------------------------------------------------
    def send(self, reading: Reading, *, raw: bytes | None = None, control: str = "") -> tuple[Fate, list[str]]:
        """One message; returns its fate and what its sender is told."""
        number = next(self._numbers)
        control = control or f"M{number}"
        envelope = Envelope(
            "ris", raw if raw is not None else f"message {number}".encode(), "10.0.0.1", self.clock.now(), "RIS", "H",
            control, "ORM^O01",
        )  # fmt: skip
        told: list[str] = []

        def ack(outcome: Outcome) -> tuple[str, bytes]:
            told[:] = [*outcome.reasons, *outcome.warnings]
            return ("AE" if outcome.refusal else "AA"), f"answer to {control}".encode()

        fate, _ = self.intake.take(envelope, reading, ack)
        return fate, told

    def order(self, *requests: OrderRequest) -> tuple[Fate, list[str]]:
        return self.send(Reading(orders=requests))

    def adt(
        self, event: str, *identifiers: Identifier, prior: tuple[Identifier, ...] = (), at: datetime | None = None,
        **data: Any,
    ) -> tuple[Fate, list[str]]:  # fmt: skip
        return self.send(
            Reading(patient=PatientEvent(event, PatientData(identifiers, **data), prior=prior, occurred=at))
        )

    # -- devices --------------------------------------------------------------------------------------------------
    def image(self, **header: Any) -> bool:
        """A new image of the study; its SOP Instance UID is new unless given."""
        number = next(self._numbers)
        sha = header.pop("sha", f"sha{number}")
        made = image_header(**{"sop_instance_uid": f"1.2.9.{number}", **header})
        return self.acquiring.take_instance(made, StoredFile(f"f{number}", 10, sha), "CT1")

    def complete(self) -> None:
        """The quiet time passes, and everything that is due is judged."""
        self.clock.advance(61)
        self.acquiring.complete_due()
        self.matching.judge_due()

    def mpps(self, uid: str, *scheduled: ScheduledReference, **more: Any) -> None:
        step = PerformedStep(uid, PerformedStatus.IN_PROGRESS, scheduled, **more)
        self.performing.take_create(step, {}, "CT1")

    def mpps_end(self, uid: str, status: str = "COMPLETED", **more: Any) -> None:
        def read(current: PerformedStatus, attributes: dict[str, Any]) -> tuple[PerformedStep, dict[str, Any]]:
            return PerformedStep(uid, changed(current, status), **more), attributes

        self.performing.take_set(uid, read, "CT1")

    def worklist(self, **keys: Any) -> list[WorklistEntry]:
        return WorklistDesk(self.context).find(WorklistKeys(**keys), SCANNER)

    # -- looking --------------------------------------------------------------------------------------------------
    def read(self, look: Callable[[Connection], T]) -> T:
        with self.database.read() as connection:
            return look(connection)

    def rows(self, table: str) -> list[Any]:
        return self.read(lambda c: list(c.execute(select(schema.metadata.tables[table]))))

    def reviews(self) -> set[tuple[str, str]]:
        return {(str(r["kind"]), str(r["reason"])) for r in self.read(review.open_reviews)}

    def patient(self, identifier: Identifier) -> patients.PatientRow:
        def look(connection: Connection) -> patients.PatientRow:
            (owner,) = patients.find_patient(connection, (identifier,))
            return patients.get_patient(connection, owner)

        return self.read(look)

    def study(self, uid: str = "1.2.3") -> Any:
        return self.read(lambda c: studies.find_study(c, uid))

    def links(self, uid: str = "1.2.3") -> list[Any]:
        return self.read(lambda c: links.live_links(c, self.study(uid).id))

    def order_row(self, placer: str = "P1") -> orders.OrderRow:
        (row,) = self.read(lambda c: orders.find_order(c, Identifier(placer, "RIS"), None))
        return row

    def steps(self, placer: str = "P1") -> list[Any]:
        return self.read(lambda c: orders.steps_of_order(c, self.order_row(placer).id))

    def status_of_step(self, placer: str = "P1") -> str:
        (step,) = self.steps(placer)
        return str(step.status)

    def audited(self, action: str) -> int:
        return self.read(lambda c: audit.count_audit(c, action))

    def sees(self, session_id: int) -> set[str]:
        row = self.read(lambda c: launches.get_session(c, session_id))
        found = self.read(lambda c: launches.studies_of_session(c, session_id, row.patient_id))
        return {r.study_instance_uid for r in found}


def made(*uids: str, series: str = "1.2.3.1") -> dict[str, Any]:
    """What a device lists in its last N-SET, as more arguments of `House.mpps_end`."""
    return {"series_instance_uids": (series,), "instances": tuple(map(ListedInstance, uids))}


def image_header(**changes: Any) -> InstanceHeader:
    base = InstanceHeader(
        sop_instance_uid="1.2.9.1",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        study_instance_uid="1.2.3",
        series_instance_uid="1.2.3.1",
        patient_id=JANE.value,
        patient_issuer=JANE.issuer,
        patient_name=PersonName("DOE^JANE"),
        birth_date="19800101",
        sex="F",
        accession_number="A1",
        accession_issuer="RIS",
        study_date="20261125",
        modality="CT",
    )
    return replace(base, **changes)


def who(identifier: Identifier = JANE, **changes: Any) -> PatientData:
    name = {"1001": "DOE^JANE", "2002": "ROE^JOHN"}.get(identifier.value, "")
    base = PatientData((identifier,), PersonName(name) if name else "", "19800101", "F")
    return replace(base, **changes)


def order(
    control: str = "NW",
    status: str = "",
    *,
    placer: str = "P1",
    filler: str = "",
    accession: str = "A1",
    patient: PatientData | None = None,
    uid: str = "1.2.3",
    steps: tuple[StepRequest, ...] | None = None,
    procedure_id: str = "",
    **changes: Any,
) -> OrderRequest:
    """An order for a CT of Jane's; every part may be told otherwise."""
    return OrderRequest(
        control=control,
        status=status,
        placer=Identifier(placer, "RIS") if placer else None,
        filler=Identifier(filler, "RIS") if filler else None,
        accession=Identifier(accession, "RIS") if accession else None,
        patient=patient or who(),
        procedure=ProcedureRequest(
            procedure_id=procedure_id,
            study_instance_uid=uid,
            steps=(ct_step(),) if steps is None else steps,
        ),
        **changes,
    )


def ct_step(**changes: Any) -> StepRequest:
    return replace(StepRequest(modality="CT", modality_sent="CT", start=datetime(2026, 11, 25, 13, 0)), **changes)


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, 25, hour, minute, tzinfo=UTC)
