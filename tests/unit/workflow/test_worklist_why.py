"""Why an order is on no list: every rule that hides has a name, and nothing hides without one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tuned
from hypothesis import strategies as st
from sqlalchemy import update

from bridge.clock import ManualClock
from bridge.config import DicomPeer, Worklist, WorklistView
from bridge.domain.lifecycle import VISIBLE
from bridge.domain.order import OrderStatus, StepStatus
from bridge.domain.worklist import WorklistKeys
from bridge.domain.worklist_view import Reason
from bridge.store.schema import imaging_order, scheduled_procedure_step
from bridge.workflow.context import Context
from bridge.workflow.worklist import WorklistDesk
from tests.unit.workflow.house import NOON, House, ct_step, order

CT1 = DicomPeer(ae_title="CT1")
ANY = WorklistKeys()


def desk(house: House, *rows: WorklistView) -> WorklistDesk:
    settings = house.settings.model_copy(update={"worklist": Worklist(view=rows)})
    return WorklistDesk(Context(house.database, settings, house.clock))


def why(
    house: House, keys: WorklistKeys = ANY, peer: DicomPeer = CT1, rows: tuple[WorklistView, ...] = ()
) -> list[tuple[Reason, ...]]:
    return [one.reasons for one in desk(house, *rows).explain("A1", keys, peer)]


def set_step(house: House, **values: Any) -> None:
    house.database.write(lambda c: c.execute(update(scheduled_procedure_step).values(**values)))


def set_order(house: House, **values: Any) -> None:
    house.database.write(lambda c: c.execute(update(imaging_order).values(**values)))


def test_what_is_shown_has_no_reason(house: House) -> None:
    house.order(order())
    assert why(house) == [()]


def test_an_accession_number_of_no_order_has_no_steps(house: House) -> None:
    assert why(house) == []


@pytest.mark.parametrize("control", ["CA", "HD", "DC"])
def test_an_order_that_is_given_up_or_held_says_so_first(house: House, control: str) -> None:
    house.order(order())
    house.order(order(control))
    (reasons,) = why(house)
    assert reasons[0] == Reason("order-status", control)


def test_an_order_that_no_station_takes_names_why_it_is_parked(house: House) -> None:
    house.order(order(steps=(replace(ct_step(), modality="US", modality_sent="US"),)))
    (reasons,) = why(house)
    assert reasons == (Reason("parked", "no-station"),)


def test_a_step_that_has_begun_is_on_no_list(house: House) -> None:
    house.order(order())
    house.image()
    assert why(house) == [(Reason("step-status", "STARTED"),)]


def test_a_step_is_too_old_after_age_days(house: House) -> None:
    house.order(order())
    house.clock.advance(31 * 86400)
    assert why(house) == [(Reason("too-old", "20261125"),)]


def test_a_step_of_another_station_is_not_on_a_devices_own_list(house: House) -> None:
    house.order(order())
    rows = (WorklistView(peers=("*",), stations=("@",)),)
    assert why(house, peer=DicomPeer(ae_title="MR1"), rows=rows) == [(Reason("station", "CT1"),)]


def test_every_key_that_fails_is_named(house: House) -> None:
    house.order(order())
    keys = WorklistKeys(modality="MR", start_date="20261126", accession_number="A1")
    assert why(house, keys) == [(Reason("key", "modality"), Reason("key", "start_date"))]


def test_each_step_of_an_order_has_its_own_reasons(house: House) -> None:
    mr = replace(ct_step(step_id="S2"), modality="MR", modality_sent="MR")
    house.order(order(steps=(ct_step(step_id="S1"), mr)))
    assert why(house, WorklistKeys(modality="CT")) == [(), (Reason("key", "modality"),)]


# -- shown, or a reason -------------------------------------------------------------------------------------------

CHANGES: list[tuple[str, str, Any]] = [
    *(("step", "status", status) for status in StepStatus),
    *(("step", "parked", reason) for reason in ("no-station", "modality-unknown")),
    *(("step", "start_date", day) for day in ("", "20260101", "20261025", "20261026", "20261124", "20261126")),
    *(("step", "start_time", at) for at in ("", "0800", "235959")),
    *(("step", "modality", modality) for modality in ("MR", "")),
    *(("step", "ended_at", NOON - timedelta(minutes=minutes)) for minutes in (5, 45)),
    *(("step", "no_show", start) for start in ("20261125130000", "20261124130000")),
    *(("step", "location", place) for place in ("ROOM 1", "WARD 3")),
    *(("order", "status", status) for status in OrderStatus),
    ("order", "placeholder", True),
    ("order", "accession_told", "~AAAAAAAAAAAAAAA"),
    *(("keys", "accession_number", key) for key in ("A1", "A?", "~AAAAAAAAAAAAAAA", "B2", "*", " A1")),
    *(("keys", "patient_id", key) for key in ("1001", "10*", "2002", "**")),
    *(("keys", "patient_issuer", key) for key in ("HOSP", "CLINIC")),
    *(("keys", "modality", key) for key in ("CT", "MR", "C?", " CT")),
    *(("keys", "station_ae_title", key) for key in ("CT1", "MR1", "?*", " CT1 ")),
    *(("keys", "step_status", key) for key in ("SCHEDULED", "STARTED")),
    *(("keys", "study_instance_uids", key) for key in (("1.2.3",), ("1.2.4",), ("1.2.3", "1.2.4"))),
    *(("keys", "patient_name", key) for key in ("DOE*", "*^*", "ROE*", "doe^jane")),
    *(("keys", "start_date", key) for key in ("20261125", "20261124-20261125", "20261126-", "-20261124")),
    *(("keys", "requested_procedure_id", key) for key in ("A1", "B*")),
    *(("keys", "start_time", key) for key in ("0700-1200", "13", "1200-", "-1300")),
    *(("peer", "ae_title", title) for title in ("MR1", "CT2")),
    *(("view", "stations", titles) for titles in (("@",), ("MR1", "@"), ("MR1",))),
    *(("view", "modalities", modalities) for modalities in (("CT",), ("MR", "US"))),
    *(("view", "locations", places) for places in (("ROOM 1",), ("WARD*", "ICU"), ("*",))),
    *(("view", "statuses", {*VISIBLE, StepStatus.STARTED} - {less}) for less in ("", StepStatus.READY)),
    *(("view", "beyond", {word}) for word in ("patient", "accession", "procedure", "step")),
    ("view", "keep_minutes", 30),
    ("site", "no_show_hours", 12),
    *(("view", "window_hours", hours) for hours in ((2, 1), (24, 0), (0, 24))),
    ("view", "default_window", True),
    *(("clock", "hours", hours) for hours in (-12.5, 11.5, 12.5, 31 * 24)),
    *(("peer", "patient_issuer", issuer) for issuer in ("HOSP", "CLINIC")),
]
"""Each way in which a step, its order, a query or a device may differ from what is shown."""
AS_SHOWN = {
    "step": {
        "status": "SCHEDULED",
        "parked": "",
        "start_date": "20261125",
        "start_time": "130000",
        "modality": "CT",
        "location": "",
    },
    "keys": {},
    "peer": {"ae_title": "CT1"},
    "view": {},
    "site": {},
    "clock": {"hours": 0},
    "order": {"status": "SC", "placeholder": False, "accession_told": "A1"},
}


def agrees(house: House, changes: list[tuple[str, str, Any]]) -> None:
    if not house.rows("imaging_order"):
        house.order(order())
    parts: dict[str, dict[str, Any]] = {
        "keys": {},
        "peer": {"ae_title": "CT1"},
        "view": {},
        "site": {},
        "clock": {"hours": 0},
    }
    parts |= {name: dict(values) for name, values in AS_SHOWN.items()}
    for part, name, value in changes:
        parts[part][name] = value
    set_step(house, **parts["step"])
    set_order(house, **parts["order"])
    settings = house.settings.model_copy(
        update={"worklist": Worklist(view=(WorklistView(peers=("*",), **parts["view"]),), **parts["site"])}
    )
    clock = ManualClock(NOON + timedelta(hours=parts["clock"]["hours"]))
    desk = WorklistDesk(Context(house.database, settings, clock))
    keys, peer = WorklistKeys(**parts["keys"]), DicomPeer(**parts["peer"])
    (explained,) = desk.explain("A1", keys, peer)
    shown = [entry.step_pk for entry in desk.find(keys, peer)]
    assert shown == ([] if explained.reasons else [explained.entry.step_pk]), explained.reasons


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: " ".join(map(str, change)))
def test_one_change_hides_a_step_exactly_when_it_is_a_reason(house: House, change: tuple[str, str, Any]) -> None:
    agrees(house, [change])


@tuned(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=250)
@given(st.lists(st.sampled_from(CHANGES), max_size=5))
def test_a_step_is_shown_exactly_when_nothing_hides_it(house: House, changes: list[tuple[str, str, Any]]) -> None:
    agrees(house, changes)
