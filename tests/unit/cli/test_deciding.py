"""What a person decides at the prompt: an entry closed, a publication tried again, and the trail of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bridge.cli import main
from bridge.cli_review import render_reviews
from bridge.domain.message import Reading
from bridge.domain.patient import PersonName
from bridge.errors import MissingField, RemoteRefused
from bridge.store import review
from bridge.workflow.publishing import Publisher
from tests.unit.workflow.house import JANE, JOHN, House, order, who
from tests.unit.workflow.test_publishing import FakeEhr

Prompt = Callable[..., Result]


@pytest.fixture
def prompt(house: House, tmp_path: Path) -> Prompt:
    config = tmp_path / "bridge.toml"
    config.write_text("data = '.'\n")
    return lambda *arguments: CliRunner().invoke(main, ["--config", str(config), *arguments])


def refused(house: House) -> str:
    """A message refused; the number of its entry."""
    house.send(Reading(refusal=MissingField("PID-3 is empty", where="PID-3")))
    (entry,) = house.read(review.open_reviews)
    return str(entry["id"])


def unmatched(house: House) -> str:
    house.image()
    house.complete()
    (entry,) = house.read(review.open_reviews)
    return str(entry["id"])


def dead(house: House) -> str:
    """A study whose publication the EHR has refused; the publication's number."""
    house.order(order())
    house.image()
    house.complete()
    ehr = FakeEhr()
    ehr.faults.append(RemoteRefused("HTTP 422", code="invalid"))
    publisher = Publisher(house.context, {"ehr": ehr})
    publisher.publish_due()
    publisher.close()
    (row,) = house.rows("publication")
    assert row.state == "dead"
    return str(row.id)


# -- accepting ----------------------------------------------------------------------------------------------------


def test_a_message_of_the_same_person_after_all_is_accepted_and_the_next_step_is_told(
    house: House, prompt: Prompt
) -> None:
    house.order(order())
    somebody = who(JANE, name=PersonName("ROE^ANN"), birth_date="19700707", sex="O")
    house.order(order(placer="P2", accession="A2", uid="1.2.4", patient=somebody))
    (entry,) = house.read(review.open_reviews)
    found = prompt("review", "accept", str(entry["id"]), "--reason", "married")
    assert (found.exit_code, found.output) == (0, "accepted; now: bridge messages replay 2 --yes\n")
    assert house.reviews() == set()


def test_another_entry_is_not_accepted(house: House, prompt: Prompt) -> None:
    assert prompt("review", "accept", refused(house), "--reason", "so be it").exit_code == 1


# -- closing ------------------------------------------------------------------------------------------------------


def test_an_entry_that_was_dealt_with_is_closed_with_who_and_why(house: House, prompt: Prompt) -> None:
    assert prompt("review", "close", refused(house), "--reason", "sender mended").exit_code == 0
    assert house.reviews() == set()
    (row,) = house.rows("review")
    assert (row.resolution, row.closed_by.partition(":")[0]) == ("sender mended", "cli")


def test_a_closing_is_audited_without_the_persons_words(house: House, prompt: Prompt) -> None:
    prompt("review", "close", refused(house), "--reason", "Jane Doe called")
    (row,) = [a for a in house.rows("audit") if a.action == "review-closed"]
    assert row.subject == "message:1"
    assert (row.details["kind"], row.details["reason"]) == ("message-refused", "missing-field PID-3")
    assert "Jane" not in str(row)


def test_a_study_that_has_no_order_yet_cannot_be_closed_away(house: House, prompt: Prompt) -> None:
    result = prompt("review", "close", unmatched(house), "--reason", "tired of it")
    assert (result.exit_code, "bridge review link STUDY ORDER" in result.output) == (1, True)
    assert house.reviews() == {("study-unmatched", "no-order")}
    assert house.audited("review-closed") == 0


def test_an_entry_is_closed_once(house: House, prompt: Prompt) -> None:
    number = refused(house)
    prompt("review", "close", number, "--reason", "done")
    result = prompt("review", "close", number, "--reason", "done")
    assert (result.exit_code, "closed already" in result.output) == (1, True)


def test_an_entry_that_is_not_there_is_told_in_words(house: House, prompt: Prompt) -> None:
    result = prompt("review", "close", "99", "--reason", "done")
    assert (result.exit_code, "no such entry" in result.output) == (1, True)


# -- what to type next ----------------------------------------------------------------------------------------


def test_the_list_offers_the_link_only_when_a_study_waits(house: House) -> None:
    refused(house)
    screen = render_reviews(house.read(review.open_reviews), house.clock.now())
    assert "missing-field PID-3: a field that is needed is empty" in screen
    assert "messages replay" in screen
    assert "review link" not in screen
    house.image()
    house.complete()
    assert "review link" in render_reviews(house.read(review.open_reviews), house.clock.now())


# -- publications ---------------------------------------------------------------------------------------------


def test_a_publication_that_was_given_up_is_listed(house: House, prompt: Prompt) -> None:
    number = dead(house)
    for command in (("publications",), ("publications", "list")):
        (row,) = json.loads(prompt(*command, "--json").output)
        assert (str(row["id"]), row["state"], row["last_answer"]) == (number, "dead", "invalid")
    assert "dead" in prompt("publications").output


def test_one_that_is_done_is_listed_on_demand_only(house: House, prompt: Prompt) -> None:
    house.order(order())
    house.image()
    house.complete()
    publisher = Publisher(house.context, {"ehr": FakeEhr()})
    publisher.publish_due()
    publisher.close()
    assert prompt("publications").output == "Nothing waits to be published.\n"
    assert " done " in prompt("publications", "list", "--all").output


def test_a_person_has_it_tried_again(house: House, prompt: Prompt) -> None:
    number = dead(house)
    assert ("publication-dead", "invalid") in house.reviews()
    assert prompt("publications", "retry", number).exit_code == 0
    (row,) = house.rows("publication")
    assert (row.state, row.attempts, house.reviews()) == ("due", 0, set())
    assert house.audited("publication-again") == 1


def test_one_that_is_on_its_way_is_left_alone(house: House, prompt: Prompt) -> None:
    number = dead(house)
    prompt("publications", "retry", number)
    result = prompt("publications", "retry", number)
    assert (result.exit_code, "neither dead nor waiting" in result.output) == (1, True)
    assert house.audited("publication-again") == 1


# -- the trail ------------------------------------------------------------------------------------------------


def test_the_trail_of_a_subject_is_told_in_order(house: House, prompt: Prompt) -> None:
    house.order(order(uid="1.2.77", accession="A7"))
    house.image()
    house.complete()
    prompt("review", "link", "1", "1")
    actions = [row["action"] for row in json.loads(prompt("audit", "study:1", "--json").output)]
    assert actions == ["study-received", "study-complete", "study-judged", "study-linked"]


def test_the_trail_is_narrowed_by_time_and_by_act(house: House, prompt: Prompt) -> None:
    refused(house)
    prompt("review", "close", "1", "--reason", "done")  # by the clock on the wall; the house stands at another noon
    by_act = json.loads(prompt("audit", "--action", "message", "--json").output)
    assert {row["subject"] for row in by_act} == {"message:1"}
    recent = json.loads(prompt("audit", "--since", "5m", "--action", "review-closed", "--json").output)
    assert [row["action"] for row in recent] == ["review-closed"]


def test_the_trail_holds_no_patient_data(house: House, prompt: Prompt) -> None:
    house.order(order())
    house.order(order("XO", patient=who(JOHN)))
    house.image()
    house.complete()
    told = prompt("audit", "--since", "9999d").output
    assert "study:1" in told
    assert not any(word in told for word in ("DOE", "JANE", "ROE", JANE.value, JOHN.value))


def test_a_trail_of_everything_must_be_asked_for_by_time(house: House, prompt: Prompt) -> None:
    assert prompt("audit").exit_code == 2


def test_nothing_found_is_said(house: House, prompt: Prompt) -> None:
    assert prompt("audit", "study:77").output == "no such acts\n"


# -- before the first run ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [["status"], ["review"], ["messages", "list"], ["alarms"], ["outbound", "list"], ["publications"],
     ["audit", "study:1"], ["review", "close", "1", "--reason", "x"]],
)  # fmt: skip
def test_without_a_database_the_first_run_is_asked_for(tmp_path: Path, command: list[str]) -> None:
    CliRunner().invoke(main, ["init", str(tmp_path)])
    result = CliRunner().invoke(main, ["--config", str(tmp_path / "config" / "bridge.toml"), *command])
    assert (result.exit_code, "no database yet: start `bridge run` first" in result.output) == (1, True)
    assert not (tmp_path / "data" / "bridge.db").exists()
