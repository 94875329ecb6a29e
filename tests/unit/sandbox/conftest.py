"""The people and orders of the sandbox's own tests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

import pytest
from pydicom import Dataset

from bridge.sandbox.ehr import PretendEhr
from bridge.sandbox.ris import DemoOrder, DemoPatient

REDIRECT = "http://127.0.0.1:9/smart/callback"
LAUNCH = "http://127.0.0.1:9/smart/launch"


@pytest.fixture
def patient() -> DemoPatient:
    return DemoPatient("100234", "O'Brien & Sons^Jr", "Amara", date(1968, 4, 12), "F", middle="N")


@pytest.fixture
def order(patient: DemoPatient) -> DemoOrder:
    return DemoOrder(
        patient=patient,
        placer="P1001",
        filler="F1001",
        accession="A26112501",
        procedure_id="RP1",
        step_id="SPS1",
        code="CTCH",
        description="CT chest | contrast",
        modality="CT",
        station_ae="CT1",
        start=datetime(2026, 11, 25, 9, 30),
        study_uid="2.25.4711",
        protocol_code="CTCH1",
        protocol="Chest\\standard",
        station_name="CT-A",
        location="Room 1",
        reason="line one\nline two",
    )


@pytest.fixture
def item() -> Dataset:
    """A worklist entry as a bridge answers it."""
    step = Dataset()
    step.Modality = "CT"
    step.ScheduledStationAETitle = "CT1"
    step.ScheduledProcedureStepStartDate = "20261125"
    step.ScheduledProcedureStepStartTime = "093000"
    step.ScheduledProcedureStepDescription = "Chest standard"
    step.ScheduledProcedureStepID = "SPS1"
    entry = Dataset()
    entry.SpecificCharacterSet = "ISO_IR 192"
    entry.AccessionNumber = "A26112501"
    entry.PatientName = "Okafor^Amara=山田^太郎"
    entry.PatientID = "100234"
    entry.IssuerOfPatientID = "PRETEND"
    entry.PatientBirthDate = "19680412"
    entry.PatientSex = "F"
    entry.StudyInstanceUID = "2.25.4711"
    entry.RequestedProcedureID = "RP1"
    entry.RequestedProcedureDescription = "CT chest"
    entry.ScheduledProcedureStepSequence = [step]
    return entry


@pytest.fixture(scope="module")
def ehr() -> Iterator[PretendEhr]:
    with PretendEhr() as running:
        # After start, as the demo does: ports are chosen late.
        running.bridge_launch_url = LAUNCH
        running.redirect_uris = [REDIRECT]
        yield running


@pytest.fixture(scope="module")
def patient_id(ehr: PretendEhr) -> str:
    return ehr.put_patient(DemoPatient("100234", "Okafor", "Amara", date(1968, 4, 12), "F"))
