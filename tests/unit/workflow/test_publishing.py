"""Telling the EHR: one row a study, delivered at least once, withdrawn when it is no longer true."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from bridge.config import Ehr
from bridge.domain.identity import Identifier
from bridge.domain.publication import OrderContent, StudyContent
from bridge.errors import BridgeError, RemoteRefused, RemoteUnavailable
from bridge.workflow.ports import Reference
from bridge.workflow.publishing import Publisher
from tests.unit.workflow.house import JANE, JOHN, House, order, who


class FakeEhr:
    """An EHR in memory that knows patients by identifier and fails as it is told."""

    def __init__(self) -> None:
        self.patients = {JANE.key: "jane", JOHN.key: "john"}
        self.requests: dict[str, str] = {}
        self.studies: dict[str, tuple[str, str, tuple[str | None, ...]]] = {}
        self.faults: list[BridgeError] = []
        self.lost_answers: list[BridgeError] = []
        self.calls: list[str] = []
        self.before_write: Callable[[], None] = lambda: None
        self.flying, self.most = 0, 0
        self._lock = threading.Lock()

    def find_patient(self, identifiers: tuple[Identifier, ...]) -> Reference | None:
        found = {self.patients[i.key] for i in identifiers if i.key in self.patients}
        return Reference("Patient", found.pop()) if found else None

    def find_service_request(self, order: OrderContent) -> Reference | None:
        known = self.requests.get(order.placer.value if order.placer else "")
        return Reference("ServiceRequest", known) if known else None

    def create_service_request(self, order: OrderContent, patient: Reference) -> Reference:
        assert order.placer is not None
        self.requests[order.placer.value] = f"sr-{order.placer.value}"
        return Reference("ServiceRequest", self.requests[order.placer.value])

    def ensure_endpoint(self, known: Reference | None) -> Reference:
        self.calls.append("endpoint" if known is None else "endpoint known")
        return known or Reference("Endpoint", "e1")

    def write_imaging_study(
        self, content: StudyContent, *, patient: Reference, based_on: tuple[Reference | None, ...],
        endpoint: Reference, known: Reference | None,
    ) -> Reference:  # fmt: skip
        with self._lock:
            self.flying += 1
            self.most = max(self.most, self.flying)
        try:
            self.before_write()
            if self.faults:
                raise self.faults.pop(0)
            self.calls.append("update" if known else "create")
            requests = tuple(r.id if r else None for r in based_on)
            self.studies[content.study_instance_uid] = ("available", patient.id, requests)
            if self.lost_answers:
                raise self.lost_answers.pop()
            return Reference("ImagingStudy", "is1", str(len(self.calls)))
        finally:
            with self._lock:
                self.flying -= 1

    def withdraw_imaging_study(
        self, study_instance_uid: str, *, endpoint: Reference | None, known: Reference | None,
        status: str = "entered-in-error", emptied: bool = False,
    ) -> Reference | None:  # fmt: skip
        if study_instance_uid not in self.studies or (known is None and endpoint is None):
            return known
        _, patient, requests = self.studies[study_instance_uid]
        self.studies[study_instance_uid] = (status, patient, requests)
        return known or Reference("ImagingStudy", "is1")


class Office:
    def __init__(self, house: House, ehr: FakeEhr) -> None:
        self.house, self.ehr = house, ehr
        self.publisher = Publisher(house.context, {"ehr": ehr})

    def deliver(self) -> int:
        """Claim what is due and wait until it has been done."""
        count = self.publisher.publish_due()
        self.finish()
        return count

    def finish(self) -> None:
        """Wait for what is in hand."""
        self.publisher._pool.shutdown(wait=True)
        self.publisher.close()
        self.publisher = Publisher(self.house.context, {"ehr": self.ehr})

    def deliver_as(self, owner: str) -> None:
        """As `deliver`, by another node."""
        self.publisher._owner = owner
        assert self.publisher.publish_due() == 1
        self.publisher.close()

    @property
    def row(self) -> dict[str, object]:
        (row,) = self.house.rows("publication")
        return dict(row._mapping)


@pytest.fixture
def office(house: House) -> Iterator[Office]:
    made = Office(house, FakeEhr())
    yield made
    made.publisher.close()


def scanned(house: House) -> int:
    house.order(order())
    house.image()
    house.complete()
    return int(house.study().id)


def test_a_matched_study_is_told_under_the_orders_patient(office: Office) -> None:
    scanned(office.house)
    office.deliver()
    assert office.ehr.studies == {"1.2.3": ("available", "jane", (None,))}
    assert (office.row["state"], office.row["remote_id"]) == ("done", "is1")


@pytest.mark.parametrize("patient", [None, JOHN], ids=["no order", "another patient's order"])
def test_what_is_not_matched_is_told_to_nobody(office: Office, patient: Identifier | None) -> None:
    if patient:
        office.house.order(order(patient=who(patient)))
    office.house.image()
    office.house.complete()
    assert office.deliver() == 0
    assert office.house.rows("publication") == []


def test_a_missing_patient_is_waited_for_and_the_reason_shown(office: Office) -> None:
    office.ehr.patients.clear()
    scanned(office.house)
    office.deliver()
    assert (office.row["state"], office.row["last_answer"]) == ("waiting", "waiting-for-patient")
    office.ehr.patients[JANE.key] = "jane"
    office.house.clock.advance(31)
    office.deliver()
    assert office.row["state"] == "done"


def test_waiting_for_a_patient_is_never_given_up(office: Office) -> None:
    office.ehr.patients.clear()
    scanned(office.house)
    for _ in range(15):
        office.deliver()
        office.house.clock.advance(31)
    assert office.row["state"] == "waiting"


def test_a_server_that_is_away_is_tried_again_later_and_later(office: Office) -> None:
    office.ehr.faults = [RemoteUnavailable("away", status=503)] * 3
    scanned(office.house)
    for attempt in (1, 2, 3):
        office.deliver()
        assert (office.row["state"], office.row["attempts"], office.row["last_status"]) == ("due", attempt, 503)
        assert office.deliver() == 0
        office.house.clock.advance(2.0**attempt)
    office.deliver()
    assert (office.row["state"], office.row["attempts"]) == ("done", 0)


def test_retry_after_is_obeyed(office: Office) -> None:
    office.ehr.faults = [RemoteUnavailable("busy", status=429, retry_after=300)]
    scanned(office.house)
    office.deliver()
    office.house.clock.advance(299)
    assert office.deliver() == 0
    office.house.clock.advance(1)
    assert office.deliver() == 1


def test_a_refusal_is_for_a_person_and_never_dropped(office: Office) -> None:
    office.ehr.faults = [RemoteRefused("no", code="remote-refused", status=422)]
    scanned(office.house)
    office.deliver()
    assert office.row["state"] == "dead"
    assert ("publication-dead", "remote-refused") in office.house.reviews()


def test_too_many_failures_are_for_a_person_too(house: House) -> None:
    office = Office(house, FakeEhr())
    office.ehr.faults = [RemoteUnavailable("away")] * 12
    scanned(house)
    for _ in range(12):
        office.deliver()
        house.clock.advance(1000)
    assert office.row["state"] == "dead"


def test_a_late_image_wakes_what_was_refused_and_its_delivery_ends_the_waiting(office: Office) -> None:
    office.ehr.faults = [RemoteRefused("no", status=422)]
    scanned(office.house)
    office.deliver()
    office.house.image()
    office.house.complete()
    office.deliver()
    assert (office.row["state"], office.house.reviews()) == ("done", set())


def test_a_hundred_images_are_one_delivery(office: Office) -> None:
    office.house.order(order())
    for _ in range(100):
        office.house.image()
    office.house.complete()
    office.deliver()
    assert [c for c in office.ehr.calls if c in ("create", "update")] == ["create"]


def test_a_second_version_updates_what_the_first_created(office: Office) -> None:
    scanned(office.house)
    office.deliver()
    office.house.image()
    office.house.complete()
    office.deliver()
    assert office.ehr.calls == ["endpoint", "create", "endpoint known", "update"]


def test_a_study_is_delivered_by_one_at_a_time(office: Office) -> None:
    scanned(office.house)
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        assert go.wait(10)

    office.ehr.before_write = hold
    office.publisher.publish_due()
    assert held.wait(10)
    office.house.image()
    office.house.complete()
    assert office.publisher.publish_due() == 0
    go.set()
    office.deliver()
    office.deliver()
    assert office.ehr.most == 1
    assert office.row["published_version"] == office.row["version"]


def test_a_publisher_that_was_stopped_past_its_lease_makes_no_further_call_and_begins_anew(office: Office) -> None:
    """F47: what another node may have in hand by now is left alone, and what is still in hand is not begun twice."""
    scanned(office.house)
    held, go = threading.Event(), threading.Event()
    find = office.ehr.find_patient

    def hold(identifiers: tuple[Identifier, ...]) -> Reference | None:
        held.set()
        assert go.wait(10)
        return find(identifiers)

    office.ehr.find_patient = hold  # type: ignore[method-assign]
    office.publisher.publish_due()
    assert held.wait(10)
    office.house.clock.advance(121)
    assert office.publisher.publish_due() == 0
    go.set()
    office.finish()
    assert office.ehr.calls == []
    office.deliver()
    assert (office.ehr.calls, office.row["state"]) == (["endpoint", "create"], "done")


def test_the_first_endpoint_is_made_once_though_several_studies_go_at_once(office: Office) -> None:
    scanned(office.house)
    office.house.order(order(placer="P2", accession="A2", uid="1.2.77"))
    office.house.image(study_instance_uid="1.2.77", series_instance_uid="1.2.77.1", accession_number="A2")
    office.house.complete()
    make = office.ehr.ensure_endpoint

    def slowly(known: Reference | None) -> Reference:
        time.sleep(0.05)
        return make(known)

    office.ehr.ensure_endpoint = slowly  # type: ignore[method-assign]
    assert office.deliver() == 2
    assert office.ehr.calls.count("endpoint") == 1


def test_an_answer_that_comes_after_the_lease_is_nobodys_word(office: Office) -> None:
    """F47: the other node's word counts, and is the only one in the audit trail."""
    scanned(office.house)
    other = Office(office.house, office.ehr)

    def overtaken() -> None:
        office.ehr.before_write = lambda: None
        office.house.clock.advance(121)
        other.deliver_as("another:1")

    office.ehr.before_write = overtaken
    office.deliver()
    told = [row for row in office.house.rows("audit") if row.action == "published"]
    assert (len(told), office.row["state"]) == (1, "done")


def test_an_unlinked_study_is_taken_out_of_the_chart(office: Office) -> None:
    key = scanned(office.house)
    office.deliver()
    office.house.matching.unlink(key, "cli:anna", "wrong patient")
    office.deliver()
    assert office.ehr.studies["1.2.3"][0] == "entered-in-error"


def test_a_study_unlinked_during_its_first_delivery_is_taken_out_again(office: Office) -> None:
    """The EHR has it before we know its id there: it must not stay in that patient's chart."""
    key = scanned(office.house)
    office.ehr.before_write = lambda: office.house.matching.unlink(key, "cli:anna", "wrong patient")
    office.deliver()
    office.ehr.before_write = lambda: None
    office.deliver()
    assert office.ehr.studies["1.2.3"][0] == "entered-in-error"


def test_a_study_unlinked_after_a_delivery_whose_answer_was_lost_is_taken_out_too(office: Office) -> None:
    key = scanned(office.house)
    office.ehr.lost_answers.append(RemoteUnavailable("no answer", code="timeout"))
    office.deliver()
    assert (office.ehr.studies["1.2.3"][0], office.row["remote_id"]) == ("available", "")
    office.house.matching.unlink(key, "cli:anna", "wrong patient")
    office.house.clock.advance(3600)
    office.deliver()
    assert (office.ehr.studies["1.2.3"][0], office.row["remote_id"]) == ("entered-in-error", "is1")


def test_images_of_a_second_patient_take_the_study_out_before_it_is_judged_again(office: Office) -> None:
    scanned(office.house)
    office.deliver()
    office.house.image(patient_id=JOHN.value)
    office.deliver()
    assert office.ehr.studies["1.2.3"][0] == "entered-in-error"


def test_a_relinked_study_is_told_under_its_new_patient(office: Office) -> None:
    key = scanned(office.house)
    office.deliver()
    office.house.order(order(placer="P2", accession="A2", uid="1.2.4", patient=who(JOHN)))
    office.house.matching.link(key, office.house.order_row("P2").id, "cli:anna")
    office.deliver()
    assert office.ehr.studies["1.2.3"][:2] == ("available", "john")


def test_a_merge_moves_the_study_to_the_survivor(office: Office) -> None:
    survivor = Identifier("3003", "HOSP")
    scanned(office.house)
    office.deliver()
    office.ehr.patients = {survivor.key: "survivor"}
    office.house.adt("A40", survivor, prior=(JANE,))
    office.house.complete()
    office.deliver()
    assert office.ehr.studies["1.2.3"][:2] == ("available", "survivor")


@pytest.mark.parametrize(("policy", "request_"), [(True, "sr-P1"), (False, None)])
def test_a_service_request_is_made_only_where_the_site_says_so(
    build: Callable[..., House], policy: bool, request_: str | None
) -> None:
    house = build(ehr=(Ehr(name="ehr", fhir_base="https://e.example/fhir", create_service_request=policy),))
    office = Office(house, FakeEhr())
    scanned(house)
    office.deliver()
    assert office.ehr.studies["1.2.3"][2] == (request_,)


def test_an_ehr_that_takes_no_imaging_study_is_asked_for_none(build: Callable[..., House]) -> None:
    house = build(ehr=(Ehr(name="ehr", fhir_base="https://e.example/fhir", imaging_study="off"),))
    scanned(house)
    assert house.rows("publication") == []


def test_the_next_study_is_asked_for_when_a_delivery_ends_and_not_when_the_clock_says_so(office: Office) -> None:
    free = threading.Event()
    scanned(office.house)
    publisher = Publisher(office.house.context, {"ehr": office.ehr}, on_free=free.set)
    assert publisher.publish_due() == 1
    assert free.wait(10)
    publisher.close()
    assert office.row["state"] == "done"
