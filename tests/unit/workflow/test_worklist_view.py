"""A device is shown what its row of the table allows, whatever it asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.clock import ManualClock
from bridge.config import DicomPeer, Site, Worklist, WorklistView
from bridge.domain.lifecycle import VISIBLE
from bridge.domain.order import StepStatus
from bridge.domain.worklist import WorklistKeys
from bridge.domain.worklist_view import Listing
from bridge.errors import TooLarge
from bridge.store.schema import imaging_order
from bridge.workflow.context import Context
from bridge.workflow.worklist import WorklistDesk
from tests.unit.workflow.house import House, ct_step, order


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """At noon of 2026-11-25 a step of the CT's and one of the MR's, an hour later."""
    made = House(tmp_path)
    made.order(order(placer="P1", accession="A1", uid="1.2.3"))
    mr = replace(ct_step(), modality="MR", modality_sent="MR", location="ROOM 7")
    made.order(order(placer="P2", accession="A2", uid="1.2.4", steps=(mr,)))
    yield made
    made.database.close()


def row(*peers: str, **rules: Any) -> WorklistView:
    return WorklistView(peers=peers or ("*",), **rules)


def desk(house: House, *rows: WorklistView, clock: ManualClock | None = None, zone: str = "UTC") -> WorklistDesk:
    changes = {"worklist": Worklist(view=rows), "site": Site(time_zone=zone)}
    return WorklistDesk(Context(house.database, house.settings.model_copy(update=changes), clock or house.clock))


def listing(house: House, title: str, *rows: WorklistView, **keys: Any) -> Listing:
    return desk(house, *rows).find(WorklistKeys(**keys), DicomPeer(ae_title=title))


def shown(house: House, title: str, *rows: WorklistView, **keys: Any) -> list[str]:
    return [entry.accession_number for entry in listing(house, title, *rows, **keys)]


# -- stations, modalities, places ---------------------------------------------------------------------------------

OWN = row(stations=("@",))


def test_a_device_of_no_row_may_ask_for_any_station(house: House) -> None:
    assert shown(house, "CT1", station_ae_title="MR1") == ["A2"]


@pytest.mark.parametrize("key", ["", "*", "**", "?*", "*1", "C*", "???", "CT1", " CT1 "])
def test_a_key_that_fits_its_own_title_shows_its_own_steps(house: House, key: str) -> None:
    assert shown(house, "CT1", OWN, station_ae_title=key) == ["A1"]


@pytest.mark.parametrize("key", ["MR1", "M*", "MR?", "?R1", "MR1*"])
def test_a_key_of_another_station_shows_nothing(house: House, key: str) -> None:
    assert shown(house, "CT1", OWN, station_ae_title=key) == []


def test_each_device_has_its_own(house: House) -> None:
    assert shown(house, "MR1", OWN, station_ae_title="*") == ["A2"]


@pytest.mark.parametrize("keys", [{"accession_number": "A2"}, {"study_instance_uids": ("1.2.4",)}])
def test_a_key_of_an_order_shows_no_other_stations_step(house: House, keys: dict[str, Any]) -> None:
    assert shown(house, "CT1", OWN, **keys) == []


def test_a_device_that_is_scheduled_under_another_title_has_that_ones_worklist(house: House) -> None:
    rows = row("CT1_SCU", stations=("CT1",))
    found = [shown(house, "CT1_SCU", rows, station_ae_title=key) for key in ("", "CT1", "MR1")]
    assert found == [["A1"], ["A1"], []]


def test_a_pool_of_scanners_sees_the_work_of_all(house: House) -> None:
    pool = row("CT9", stations=("CT1", "@", "MR1"))
    assert shown(house, "CT9", pool, station_ae_title="*") == ["A1", "A2"]
    assert shown(house, "CT9", pool, station_ae_title="C*") == ["A1"]


def test_a_modality_of_its_view_is_asked_on_top_of_its_keys(house: House) -> None:
    rows = row(modalities=("MR",))
    assert shown(house, "CT1", rows) == ["A2"]
    assert shown(house, "CT1", rows, modality="CT") == []


@pytest.mark.parametrize(("place", "found"), [("ROOM 7", ["A2"]), ("ROOM ?", ["A2"]), ("room 7", []), ("WARD*", [])])
def test_a_step_is_shown_where_its_place_is_the_devices(house: House, place: str, found: list[str]) -> None:
    assert shown(house, "CT1", row(locations=(place,))) == found


def test_a_portable_device_finds_the_patients_who_lie_in_its_ward(house: House) -> None:
    house.database.write(
        lambda c: c.execute(
            imaging_order.update().where(imaging_order.c.accession_number == "A1").values(patient_location="WARD 3-12")
        )
    )
    assert shown(house, "CT1", row(locations=("WARD 3*",))) == ["A1"]


# -- beyond -------------------------------------------------------------------------------------------------------

SOUGHT = {
    "patient": [{"patient_id": "1001"}, {"patient_name": "DOE^JANE"}, {"patient_name": "do*"}],
    "accession": [{"accession_number": "A2"}],
    "procedure": [{"study_instance_uids": ("1.2.4",)}, {"requested_procedure_id": "A2"}],
    "step": [{"step_id": "A2-1"}],
}
"""Keys that find the MR's step, by what they seek."""
WAYS = [(word, keys) for word, several in SOUGHT.items() for keys in several]


@pytest.mark.parametrize(("word", "keys"), WAYS, ids=str)
def test_what_a_device_may_seek_it_finds_at_another_station(house: House, word: str, keys: dict[str, Any]) -> None:
    assert "A2" in shown(house, "CT1", row(stations=("@",), beyond={word}), **keys)


@pytest.mark.parametrize(("word", "keys"), WAYS, ids=str)
def test_what_it_may_not_seek_it_does_not(house: House, word: str, keys: dict[str, Any]) -> None:
    others = SOUGHT.keys() - {word}
    assert "A2" not in shown(house, "CT1", row(stations=("@",), beyond=others), **keys)


@pytest.mark.parametrize(
    "keys",
    [
        *({"patient_name": name} for name in ("*", "?*", "D*", "D?E*", "*DOE", "^*", "=*")),
        *({"patient_id": number} for number in ("*", "1*", "?001", " ")),
        *({"accession_number": number} for number in ("A*", "??")),
        {"step_id": "*"},
        {"requested_procedure_id": "A?"},
    ],
    ids=str,
)
def test_a_wild_card_seeks_nobody(house: House, keys: dict[str, Any]) -> None:
    assert "A2" not in shown(house, "CT1", row(stations=("@",), beyond=SOUGHT.keys()), **keys)


def test_to_seek_lifts_modality_and_place_too(house: House) -> None:
    rows = row(stations=("@",), modalities=("CT",), locations=("ROOM 1",), beyond={"accession"})
    assert shown(house, "CT1", rows, accession_number="A2") == ["A2"]


def test_to_seek_does_not_lift_the_status(house: House) -> None:
    rows = row(statuses={StepStatus.ARRIVED}, beyond={"accession"})
    assert shown(house, "CT1", rows, accession_number="A2") == []


def test_to_seek_does_not_lift_the_devices_own_keys(house: House) -> None:
    rows = row(stations=("@",), beyond={"accession"})
    assert shown(house, "CT1", rows, accession_number="A2", station_ae_title="CT1") == []


# -- status -------------------------------------------------------------------------------------------------------


def test_a_step_that_is_performed_is_shown_where_its_status_is(house: House) -> None:
    house.image()
    assert shown(house, "CT1", row("MR1", statuses={*VISIBLE, StepStatus.STARTED})) == ["A2"]
    assert shown(house, "CT1", row("CT1", statuses={*VISIBLE, StepStatus.STARTED})) == ["A1", "A2"]


# -- the hours round now ------------------------------------------------------------------------------------------


def night(house: House, now: datetime, *rows: WorklistView, zone: str = "UTC", **keys: Any) -> list[str]:
    """Who is shown at `now`, of a patient of 2026-11-25 at 23:50 (N1) and one of the next day at 00:40 (N2)."""
    for accession, day, hour, minute in (("N1", 25, 23, 50), ("N2", 26, 0, 40)):
        step = ct_step(start=datetime(2026, 11, day, hour, minute))
        house.order(order(placer=accession, accession=accession, uid=f"1.2.5.{day}", steps=(step,)))
    found = desk(house, *rows, clock=ManualClock(now), zone=zone).find(WorklistKeys(**keys), DicomPeer(ae_title="CT1"))
    return [entry.accession_number for entry in found if entry.accession_number.startswith("N")]


TWENTY_PAST = datetime(2026, 11, 26, 0, 20, tzinfo=UTC)
TEN_TO = datetime(2026, 11, 25, 23, 50, tzinfo=UTC)
WINDOW = row(window_hours=(2, 1))


def test_without_a_window_midnight_ends_the_list(house: House) -> None:
    assert night(house, TWENTY_PAST, start_date="20261126") == ["N2"]


def test_a_query_for_today_at_twenty_past_twelve_finds_ten_to_twelve(house: House) -> None:
    assert night(house, TWENTY_PAST, WINDOW, start_date="20261126") == ["N1", "N2"]


def test_a_query_for_today_before_midnight_finds_who_comes_after(house: House) -> None:
    assert night(house, TEN_TO, WINDOW, start_date="20261125") == ["N1", "N2"]


def test_what_is_farther_than_the_window_is_not_shown(house: House) -> None:
    assert night(house, TWENTY_PAST, row(window_hours=(0.25, 0)), start_date="20261126") == ["N2"]


@pytest.mark.parametrize("day", ["20261124", "20261127", "20261127-", "-20261124"])
def test_a_query_for_another_day_means_that_day(house: House, day: str) -> None:
    assert night(house, TWENTY_PAST, WINDOW, start_date=day) == []


@pytest.mark.parametrize("day", ["20261126-", "20261126-20261130", " 20261126 "])
def test_a_range_that_holds_today_has_the_window_too(house: House, day: str) -> None:
    assert night(house, TWENTY_PAST, WINDOW, start_date=day) == ["N1", "N2"]


def test_a_range_of_days_with_one_of_times_is_one_interval_and_stays_so(house: House) -> None:
    keys = {"start_date": "20261126-20261126", "start_time": "000000-235959"}
    assert night(house, TWENTY_PAST, WINDOW, **keys) == ["N2"]


def test_a_lone_time_still_counts(house: House) -> None:
    assert night(house, TWENTY_PAST, WINDOW, start_date="20261126", start_time="0000-1200") == ["N2"]


def test_a_key_that_does_not_fit_hides_within_the_window_too(house: House) -> None:
    assert night(house, TWENTY_PAST, WINDOW, start_date="20261126", modality="MR") == []


def test_the_night_is_that_of_the_sites_clocks(house: House) -> None:
    utc = datetime(2026, 11, 25, 23, 20, tzinfo=UTC)  # 00:20 in Berlin
    assert night(house, utc, WINDOW, zone="Europe/Berlin", start_date="20261126") == ["N1", "N2"]


def test_an_entry_keeps_its_true_day(house: House) -> None:
    night(house, TWENTY_PAST)
    keys = WorklistKeys(start_date="20261126", accession_number="N1")
    (found,) = desk(house, WINDOW, clock=ManualClock(TWENTY_PAST)).find(keys, DicomPeer(ae_title="CT1"))
    assert (found.start_date, found.start_time) == ("20261125", "235000")


# -- who asks for nothing in particular ---------------------------------------------------------------------------

TODAYS = row(default_window=True, window_hours=(2, 1))


def test_a_query_for_nothing_in_particular_is_for_today(house: House) -> None:
    assert night(house, datetime(2026, 11, 26, 12, 0, tzinfo=UTC), TODAYS) == ["N2"]


def test_and_for_the_hours_round_now(house: House) -> None:
    assert night(house, TWENTY_PAST, TODAYS, modality="CT", station_ae_title="*") == ["N1", "N2"]


@pytest.mark.parametrize(
    "keys",
    [
        {"start_date": "20261125-"},
        {"patient_name": "D*"},
        {"patient_id": "1001"},
        {"accession_number": "N1"},
        {"study_instance_uids": ("1.2.5.25",)},
        {"placer_order_number": "N1"},
        {"birth_date": "19800101"},
    ],
    ids=str,
)
def test_who_names_a_day_a_patient_or_an_order_is_shown_any_day(house: House, keys: dict[str, Any]) -> None:
    assert "N1" in night(house, datetime(2026, 11, 26, 12, 0, tzinfo=UTC), TODAYS, **keys)


# -- the limit ----------------------------------------------------------------------------------------------------


def test_more_than_the_limit_are_refused(house: House) -> None:
    with pytest.raises(TooLarge):
        listing(house, "CT1", row(limit=1))


def test_as_many_as_the_limit_are_not(house: House) -> None:
    assert shown(house, "CT1", row(limit=2)) == ["A1", "A2"]


def test_a_list_that_may_be_cut_is_and_says_so(house: House) -> None:
    found = listing(house, "CT1", row(limit=1, over_limit="cut"))
    assert (len(found), found.cut) == (1, True)


def test_a_list_that_need_not_be_cut_does_not_say_so(house: House) -> None:
    found = listing(house, "CT1", row(limit=2, over_limit="cut"))
    assert (len(found), found.cut) == (2, False)


def test_a_list_is_cut_to_who_is_nearest_to_now(house: House) -> None:
    """Of ten entries, one each two hours round noon, the four nearest, in order."""
    for number, hour in enumerate(range(2, 22, 2)):
        step = ct_step(start=datetime(2026, 11, 25, hour, 5))
        house.order(order(placer=f"C{number}", accession=f"C{hour:02}", uid=f"1.2.6.{number}", steps=(step,)))
    found = shown(house, "CT1", row(limit=4, over_limit="cut"), accession_number="C*")
    assert found == ["C08", "C10", "C12", "C14"]


# -- which row ----------------------------------------------------------------------------------------------------


def test_a_row_that_names_a_device_stands_before_that_of_everyone() -> None:
    rules = Worklist(view=(row("CT1", limit=7), row(limit=9)))
    assert (rules.view_of("CT1").limit, rules.view_of("MR1").limit) == (7, 9)


def test_what_a_row_does_not_say_that_of_everyone_says() -> None:
    rules = Worklist(view=(row("CT1", limit=7), row(window_hours=(2, 1), limit=9)))
    assert (rules.view_of("CT1").window_hours, rules.view_of("CT1").limit) == ((2, 1), 7)


def test_a_row_may_take_back_what_that_of_everyone_says() -> None:
    rules = Worklist(view=(OWN, row("PX1", stations=())))
    assert (rules.view_of("PX1").stations, rules.view_of("CT1").stations) == ((), ("@",))


def test_two_rows_of_one_device_are_a_fault() -> None:
    with pytest.raises(ValueError, match="rows name CT1"):
        Worklist(view=(row("CT1"), row("CT2", "CT1")))


def test_everyone_stands_alone() -> None:
    with pytest.raises(ValueError, match="stands alone"):
        row("*", "CT1")


@pytest.mark.parametrize("status", ["COMPLETED", "DISCONTINUED", "CANCELED"])
def test_what_has_ended_is_on_no_list(status: str) -> None:
    with pytest.raises(ValueError, match="has ended"):
        row(statuses={status})
