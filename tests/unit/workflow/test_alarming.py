"""On call: one entry when it begins, one when it ends, and silence only in working time."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config import Alarms, FeedAlarms, Hl7, Settings
from bridge.config import Feed as FeedSetting
from bridge.domain.message import Envelope, Reading
from bridge.domain.publication import PublicationState, Target
from bridge.errors import BadValue
from bridge.store import alarms, audit, outbound, outbox, review, studies
from bridge.store.alarms import FeedFacts, Owed, Waiting
from bridge.store.outbound import QueueState
from bridge.workflow.alarming import Alarming, Calendar, Finding, Kind, calendar, edges, findings
from bridge.workflow.measuring import Facts, read_facts, read_measures
from tests.unit.workflow.house import NOON, House, ct_step, image_header, order

BERLIN = ZoneInfo("Europe/Berlin")
LONG = timedelta(days=1)
WEEK = frozenset({"Mon", "Tue", "Wed", "Thu", "Fri"})


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """November 2026, Berlin's wall clock; the 23rd is a Monday."""
    return datetime(2026, 11, day, hour, minute, tzinfo=BERLIN)


def facts(now: datetime = NOON, **changes: Any) -> Facts:
    values: dict[str, Any] = {
        "at": now, "steady": now, "leapt": None, "feeds": (),
        "waiting": (), "queues": (), "owed": (), "roles": {}, "free_bytes": 10**12,
    }  # fmt: skip
    return Facts(**{**values, **changes})


def look(seen: Facts, settings: Alarms | None = None, **more: Any) -> dict[tuple[str, str], Finding]:
    given_up = more.pop("up", LONG)
    return {f.key: f for f in findings(seen, settings or Alarms(), BERLIN, up=given_up, **more)}


def feed(last: datetime | None = NOON, recent: int = 50, refused: int = 0, name: str = "ris") -> FeedFacts:
    return FeedFacts(name, last, 100, recent, refused)


def silent(last: datetime, now: datetime, settings: Alarms | None = None, **more: Any) -> Finding:
    return look(facts(now, feeds=(feed(last),)), settings, **more)["feed-silent", "ris"]


# -- silence ------------------------------------------------------------------------------------------------------


def test_a_feed_that_is_silent_for_an_hour_of_work_is_an_alarm() -> None:
    assert not silent(at(23, 9), at(23, 9, 59)).begins
    assert silent(at(23, 9), at(23, 10)).begins


def test_a_night_and_a_weekend_are_no_silence() -> None:
    assert not silent(at(20, 16, 50), at(23, 8, 49)).begins
    assert silent(at(20, 16, 50), at(23, 8, 50)).begins


def test_a_holiday_is_no_silence() -> None:
    settings = Alarms(holidays=frozenset({date(2026, 11, 24)}))
    assert not silent(at(23, 16, 30), at(25, 8, 29), settings).begins
    assert silent(at(23, 16, 30), at(25, 8, 30), settings).begins


def test_a_feed_has_hours_of_its_own() -> None:
    own = FeedAlarms(name="ris", silent_minutes=10, working_days=frozenset({"Sun"}), working_hours="00:00-24:00")
    settings = Alarms(feed=(own,))
    assert silent(at(22, 3), at(22, 3, 10), settings).begins
    assert not silent(at(23, 3), at(23, 12), settings).begins


def test_a_feed_that_has_never_spoken_is_not_in_service_yet() -> None:
    assert ("feed-silent", "ris") not in look(facts(feeds=(feed(None),)))


def test_zero_minutes_switch_the_alarm_off_and_end_one_that_is_open() -> None:
    found = silent(at(2, 9), at(23, 10), Alarms(silent_minutes=0))
    assert (found.begins, found.ends) == (False, True)


def test_senders_may_connect_again_before_a_restart_is_an_alarm() -> None:
    found = silent(at(23, 9), at(23, 12), up=timedelta(seconds=30))
    assert (found.begins, found.ends) == (False, False)


def test_working_time_is_true_through_a_change_of_the_clock() -> None:
    every = Calendar(WEEK | {"Sat", "Sun"}, datetime.min.time(), None, frozenset(), BERLIN)
    day = every.working(
        datetime(2026, 10, 25, 0, 0, tzinfo=BERLIN), datetime(2026, 10, 26, 0, 0, tzinfo=BERLIN), timedelta(days=9)
    )
    assert day == timedelta(hours=25)


MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))


@given(MOMENTS, MOMENTS, MOMENTS)
def test_working_time_adds_up_and_is_never_longer_than_the_clock(a: datetime, b: datetime, c: datetime) -> None:
    a, b, c = sorted((a, b, c))
    hours = calendar(Alarms(), None, BERLIN)
    parts = hours.working(a, b, timedelta(days=400)) + hours.working(b, c, timedelta(days=400))
    assert parts == hours.working(a, c, timedelta(days=400))
    assert timedelta() <= parts <= c - a


# -- the other rules ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "key"),
    [
        (facts(feeds=(feed(refused=10),)), ("feed-errors", "ris")),
        (facts(waiting=(Waiting("message-quarantined", "ris", 1, NOON),)), ("quarantine", "ris")),
        (facts(waiting=(Waiting("order-parked", "ris", 3, NOON - timedelta(hours=1)),)), ("parked-old", "ris")),
        (facts(waiting=(Waiting("study-unmatched", "", 1, NOON - LONG),)), ("review-old", "study-unmatched")),
        (facts(queues=(QueueState("placer", 1, 0, 0, 0, NOON - timedelta(minutes=10), ""),)),
         ("outbound-old", "placer")),
        (facts(owed=(Owed("ehr", PublicationState.WAITING, 1, NOON - timedelta(minutes=30)),)),
         ("publication-old", "ehr")),
        (facts(owed=(Owed("ehr", PublicationState.DEAD, 1, NOON),)), ("publication-dead", "ehr")),
        (facts(free_bytes=10**9), ("disk-low", "archive")),
        (facts(database_free_bytes=10**9), ("disk-low", "database")),
    ],
)  # fmt: skip
def test_each_limit_is_an_alarm(seen: Facts, key: tuple[str, str]) -> None:
    assert {k for k, f in look(seen).items() if f.begins} == {key}


def test_a_role_that_is_not_heard_of_is_an_alarm_once_it_had_the_time_to_speak() -> None:
    seen = facts(roles={"hl7": NOON - timedelta(seconds=31), "web": NOON})
    watched = ("hl7", "web", "dicom")
    assert {f.subject for f in look(seen, roles=watched).values() if f.begins} == {"hl7", "dicom"}
    early = look(seen, roles=watched, up=timedelta(seconds=10))
    assert not any(f.begins for f in early.values())
    assert not early["role-silent", "hl7"].ends


@pytest.mark.parametrize(("devices", "watched"), [((1, 1), None), ((1, 2), 7)])
def test_a_database_with_a_file_system_of_its_own_is_watched(
    house: House, monkeypatch: pytest.MonkeyPatch, devices: tuple[int, int], watched: int | None
) -> None:
    data, archive = devices
    house.settings.archive.mkdir(parents=True, exist_ok=True)
    stat = Path.stat
    numbers = {house.settings.data: data, house.settings.archive: archive}
    monkeypatch.setattr(
        Path, "stat", lambda path, **_: SimpleNamespace(st_dev=numbers[path]) if path in numbers else stat(path)
    )
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=7))
    assert read_facts(house.context).database_free_bytes == watched


def test_few_messages_say_nothing_of_a_feed() -> None:
    assert ("feed-errors", "ris") not in look(facts(feeds=(feed(recent=9, refused=9),)))


def test_an_alarm_stays_between_its_limit_and_a_fifth_below() -> None:
    def share(refused: int) -> tuple[bool, bool]:
        found = look(facts(feeds=(feed(refused=refused),)))["feed-errors", "ris"]
        return found.begins, found.ends

    assert [share(10), share(9), share(7)] == [(True, False), (False, False), (False, True)]


def test_what_is_gone_ends() -> None:
    assert edges((), {("quarantine", "ris")}).ended == [("quarantine", "ris")]


@given(st.lists(st.integers(0, 50), max_size=30))
def test_one_alarm_begins_and_ends_in_turn_whatever_the_numbers(counts: list[int]) -> None:
    open_keys: set[tuple[str, str]] = set()
    for refused in counts:
        found = tuple(look(facts(feeds=(feed(refused=refused),))).values())
        change = edges(found, open_keys)
        assert not {f.key for f in change.begun} & open_keys
        assert set(change.ended) <= open_keys
        open_keys = (open_keys | {f.key for f in change.begun}) - set(change.ended)


# -- with the store -----------------------------------------------------------------------------------------------


def quarantine(house: House, raw: bytes = b"junk", feed_name: str = "ris") -> None:
    house.intake.quarantine(Envelope(feed_name, raw, "10.0.0.1", house.clock.now()), "no-header", "AR", b"answer")


def watch(house: House) -> Alarming:
    house.settings.archive.mkdir(exist_ok=True)
    return Alarming(house.context, ())


def refused(house: House) -> None:
    house.send(Reading(refusal=BadValue("no", where="PID-7")))


def opened(house: House) -> list[tuple[str, str]]:
    return [(a["kind"], a["subject"]) for a in house.read(alarms.open_alarms)]


def test_an_alarm_is_one_row_one_line_and_one_audit_row_at_each_edge(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge.alarms")
    watcher = watch(house)
    for number in range(3):
        quarantine(house, b"junk %d" % number)
        watcher.check()
    assert opened(house) == [("quarantine", "ris")]
    assert (house.audited("alarm-began"), house.audited("alarm-ended")) == (1, 0)
    house.clock.advance(600)
    for subject in [r["subject"] for r in house.read(review.open_reviews)]:
        house.database.write(
            lambda c, s=subject: review.close_review(c, ("message-quarantined",), s, NOON, "cli:me", "mended")
        )
    watcher.check()
    watcher.check()
    (row,) = house.rows("alarm")
    assert row.ended_at - row.began_at == timedelta(minutes=10)
    assert (house.audited("alarm-began"), house.audited("alarm-ended")) == (1, 1)
    told = [r.fields for r in caplog.records]  # type: ignore[attr-defined]
    assert [(f["rule"], f["where"], f["state"]) for f in told] == [
        ("quarantine", "ris", "began"),
        ("quarantine", "ris", "ended"),
    ]
    json.dumps(told)


def test_a_restart_begins_no_second_alarm(house: House) -> None:
    quarantine(house)
    watch(house).check()
    watch(house).check()
    assert len(house.rows("alarm")) == 1


def test_two_watchers_write_one_alarm(house: House) -> None:
    quarantine(house)
    found = (Finding(Kind.QUARANTINE, "ris", 1, 1, "frames", True, False),)
    for watcher in (watch(house), watch(house)):  # both looked before either wrote
        house.database.write(lambda c, w=watcher: w._write(c, found))
    assert len(house.rows("alarm")) == 1


def test_every_fact_is_read_from_its_rows(build: Callable[..., House]) -> None:
    both = Hl7(feed=(FeedSetting(name="ris"), FeedSetting(name="adt", port=2576)))
    house = build(hl7=both)
    house.order(order())
    house.order(order(placer="P2", steps=(ct_step(modality="", modality_sent="XX"),)))
    refused(house)
    quarantine(house)
    house.clock.advance(120)
    quarantine(house, b"other", "adt")
    study = house.database.write(lambda c: studies.take_study(c, image_header(), NOON, NOON))
    house.database.write(
        lambda c: outbox.request_publication(
            c, "ehr", study.id, Target.IMAGING_STUDY, 1, house.clock.now(), house.clock.now()
        )
    )
    house.database.write(lambda c: outbound.add_outbound(c, "placer", "C1", b"{}", "order:1", "started", NOON, NOON))
    house.database.write(lambda c: audit.note_activity(c, "role", "hl7", NOON))
    house.settings.archive.mkdir()
    seen = read_measures(house.context)
    later = NOON + timedelta(seconds=120)
    assert {(f.name, f.last_at, f.messages, f.recent, f.refused) for f in seen.facts.feeds} == {
        ("ris", NOON, 4, 4, 2),
        ("adt", later, 1, 1, 1),
    }
    assert seen.rates == {"ris": (0, 4), "adt": (1, 1)}
    assert {(w.kind, w.feed, w.count, w.oldest) for w in seen.facts.waiting} == {
        ("message-refused", "ris", 1, NOON),
        ("message-quarantined", "ris", 1, NOON),
        ("message-quarantined", "adt", 1, later),
        ("order-parked", "ris", 1, NOON),
    }
    assert [(q.destination, q.waiting, q.oldest) for q in seen.facts.queues] == [("placer", 1, NOON)]
    assert seen.facts.owed == (Owed("ehr", "due", 1, later),)
    assert seen.facts.roles == {"hl7": NOON}
    assert [count for _, _, count in seen.studies] == [1]


def test_a_publication_is_owed_since_it_was_first_asked_for_after_it_was_done(house: House) -> None:
    study = house.database.write(lambda c: studies.take_study(c, image_header(), NOON, NOON))

    def ask(version: int) -> datetime:
        now = house.clock.now()
        house.database.write(
            lambda c: outbox.request_publication(c, "ehr", study.id, Target.IMAGING_STUDY, version, now, now)
        )
        return house.read(alarms.owed_publications)[0].oldest

    assert ask(1) == NOON
    house.clock.advance(60)
    assert ask(2) == NOON
    now = house.clock.now()
    (claim,) = house.database.write(lambda c: outbox.claim_publications(c, "ehr", "me", now, now + LONG, 1))
    house.database.write(
        lambda c: outbox.finish_publication(
            c, claim, "me", state=PublicationState.DONE, now=now, next_attempt_at=now, remote_id="1",
            remote_version="1", status=200, answer="", failed=False,
        )
    )  # fmt: skip
    assert house.read(alarms.owed_publications) == ()
    house.clock.advance(60)
    assert ask(3) == NOON + timedelta(minutes=2)


def test_an_alarm_of_a_feed_that_does_not_exist_is_a_fault_of_the_settings() -> None:
    with pytest.raises(ValueError, match="names no feed"):
        Settings(alarms=Alarms(feed=(FeedAlarms(name="nobody"),)))
