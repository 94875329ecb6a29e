"""A study's time is over: what the worker of a running bridge deletes, and what it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from sqlalchemy import text

from bridge.sandbox.ehr import PretendEhr
from bridge.sandbox.hospital import Hospital
from bridge.store.db import Database
from tests.e2e.conftest import ZONE
from tests.e2e.story import Site, Story, Viewer, pictures, until

RULE = '\n[[retention.rule]]\nmodalities = ["CT"]\nkeep_days = 365\n'


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A bridge with a rule of one year."""
    with PretendEhr() as ehr:
        hospital = Hospital(
            tmp_path_factory.mktemp("old"), fhir_base=ehr.fhir_base, quiet_seconds=1, time_zone=ZONE, more=RULE
        )
        with hospital:
            yield Site(hospital, ehr.fhir_base, ehr)


def published(site: Site, modality: str = "CT") -> Story:
    story = site.story(modality)
    site.records.put_patient(story.patient)
    story.send()
    story.acquire()
    site.published(story.uid, status="available")
    done = (
        "SELECT 1 FROM publication p JOIN study s ON s.id = p.study_id "
        "WHERE s.study_instance_uid = :uid AND p.state = 'done'"
    )
    assert until(lambda: site.rows(done, uid=story.uid))
    return story


def a_year_passes(site: Site, *stories: Story) -> None:
    """Their studies were complete and published 400 days ago; the worker looks again when it starts."""
    then = datetime.now(UTC) - timedelta(days=400)
    database = Database("", site.hospital.data, on_broken=lambda: None)
    for statement in (
        "UPDATE study SET completed_at = :at WHERE study_instance_uid = :uid",
        "UPDATE publication SET updated_at = :at "
        "WHERE study_id IN (SELECT id FROM study WHERE study_instance_uid = :uid)",
    ):
        for story in stories:
            values = {"at": f"{then:%Y-%m-%d %H:%M:%S.%f}", "uid": story.uid}
            database.write(lambda c, s=statement, v=values: c.execute(text(s), v))  # type: ignore[misc]
    database.close()
    pid = site.hospital.kill_role("worker")
    assert until(lambda: site.hospital.role_pid("worker") not in (None, pid), 30)


def files(site: Site, story: Story) -> list[Path]:
    """Of the study's rows: the files that should be there."""
    rows = site.rows(
        "SELECT i.file FROM instance i JOIN series r ON r.id = i.series_id JOIN study s ON s.id = r.study_id "
        "WHERE s.study_instance_uid = :uid",
        uid=story.uid,
    )
    return [site.hospital.data / "archive" / row["file"] for row in rows]


def test_what_is_over_goes_and_what_is_held_or_young_or_of_another_rule_stays(old: Site) -> None:
    gone, held, young, other = (published(old, modality) for modality in ("CT", "CT", "CT", "MR"))
    doomed = files(old, gone)
    assert doomed and all(path.exists() for path in doomed)
    assert old.hospital.run("hold", held.uid, "--reason", "a court asks for it").returncode == 0
    a_year_passes(old, gone, held, other)
    old.published(gone.uid, status="cancelled", numberOfInstances=0)
    assert until(lambda: not files(old, gone))
    assert until(lambda: not any(path.exists() for path in doomed))
    for story in (held, young, other):
        assert files(old, story) and all(path.exists() for path in files(old, story))
        old.published(story.uid, status="available")
    trail = old.hospital.run("audit", f"study:{old.study_id(gone.uid)}").stdout
    assert "study-retired" in trail
    plan = old.hospital.run("retention", "plan").stdout
    assert f"on hold: study:{old.study_id(held.uid)}" in plan
    checked = old.hospital.run("verify")
    assert checked.returncode == 0, checked.stdout


def test_nothing_of_it_can_be_opened_and_it_may_come_again(old: Site) -> None:
    story = published(old)
    a_year_passes(old, story)
    old.published(story.uid, status="cancelled")
    assert until(lambda: not files(old, story))
    link = old.hospital.links.link(old.hospital.public_url, story.uid)
    assert Viewer(old.hospital, requests.Session()).follow(link).status_code >= 400
    assert old.hospital.scanner(story.station).send(pictures(story.remembered, 1)).failed == ()
    old.published(story.uid, status="available", numberOfInstances=1)
