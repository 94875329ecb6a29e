"""Messages that come in the wrong order, twice at once, or round in a ring: faults F26 to F31."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from pydicom.dataset import Dataset

from bridge.hl7.ack import AckCode
from bridge.sandbox import ris as messages
from bridge.sandbox.ehr import PretendEhr
from bridge.sandbox.hospital import Hospital
from bridge.sandbox.ris import DemoPatient
from bridge.store import patients, review, schema
from tests.e2e.story import Site, pictures
from tests.faults.feed_site import FeedSite, Sender, at_once, codes, error, feed_site, orm, take
from tests.faults.stories import make_order
from tests.faults.whole_site import WholeSite, whole_site
from tests.unit.workflow.house import new_database

EARLY, LATE, LATER = "20261125100000", "20261125110000", "20261125120000"


def told(control: str, number: str, at: str = EARLY, *, control_id: str = "", status: str = "", **fields: str) -> bytes:
    """An order message; `fields` are `OBR_31="..."` and the like. Only a new order names the time, place and study."""
    cells: dict[str, dict[int, str]] = {
        "PID": {1: "1", 3: f"{number}^^^HOSP", 5: "DOE^JANE", 7: "19800101", 8: "F"},
        "PV1": {1: "1", 2: "O"},
        "ORC": {1: control, 2: f"P{number}^RIS", 5: status, 9: at},
        "OBR": {1: "1", 2: f"P{number}^RIS", 4: "CTHEAD^CT head^L"},
        "NTE": {},
        "ZDS": {},
    }
    if control == "NW":
        cells["ORC"][7] = "^^^20261125130000"
        cells["OBR"] |= {18: f"A{number}", 19: f"R{number}", 20: f"S{number}", 24: "CT", 27: "^^^20261125130000"}
        cells["ZDS"] = {1: f"1.2.840.9.{number}^^Application^DICOM"}
    for name, value in fields.items():
        segment, field = name.split("_")
        cells[segment][int(field)] = value.replace("#", number)
    header = f"MSH|^~\\&|RIS|HOSP|BRIDGE|IB|{at}||ORM^O01|{control_id or f'{control}{status}{number}{at}'}|P|2.3.1"
    lines = [header]
    for segment, values in cells.items():
        if values:
            lines.append("|".join([segment, *(values.get(n, "") for n in range(1, max(values) + 1))]))
    return "".join(line + "\r" for line in lines).encode()


def adt(event: str, number: str, at: str, *, prior: str = "", control_id: str = "") -> bytes:
    lines = [
        f"MSH|^~\\&|RIS|HOSP|BRIDGE|IB|{at}||ADT^{event}|{control_id or f'{event}{number}{prior}{at}'}|P|2.3.1",
        f"EVN|{event}|{at}",
        f"PID|1||{number}^^^HOSP||DOE^{number}||19800101|F",
        *([f"MRG|{prior}^^^HOSP"] if prior else ["PV1|1|O"]),
    ]
    return "".join(line + "\r" for line in lines).encode()


def say_at_once(senders: list[Sender], raws: list[bytes]) -> list[str]:
    """Each message by its own sender, all at the same time; their answers."""
    answers: list[str] = []
    at_once([lambda s=s, raw=raw: answers.extend(codes(s.say(raw))) for s, raw in zip(senders, raws, strict=True)])
    return answers


# -- F26 --------------------------------------------------------------------------------------------------------------

CHANGES: dict[str, dict[str, Any]] = {
    "another time": {"ORC_7": "^^^20261126093000", "OBR_27": "^^^20261126093000"},
    "another day by TQ of OBR alone": {"OBR_27": "^^^20261201080000"},
    "another procedure": {"OBR_4": "CTNECK^CT neck^L"},
    "a protocol": {"OBR_4": "CTHEAD^CT head^L^PR1^thin slices^L"},
    "urgent": {"ORC_7": "^^^20261125130000^^S", "OBR_27": "^^^20261125130000^^S"},
    "a reason": {"OBR_31": "^fall from a ladder"},
    "a way of transport": {"OBR_30": "CART"},
    "a performing physician": {"OBR_34": "D2&ROE&RICK"},
    "a requesting physician": {"OBR_16": "D1^WELBY^MARCUS"},
    "a referring physician": {"PV1_8": "D3^HIPPOCRATES"},
    "a ward": {"PV1_3": "WARD 3"},
    "a visit number": {"PV1_19": "V#^^^HOSP"},
    "an alert": {"OBR_13": "pacemaker"},
    "an infection": {"OBR_12": "^MRSA"},
    "a note": {"NTE_3": "no contrast medium"},
    "another accession number": {"OBR_18": "B#"},
    "another step number": {"OBR_20": "T#"},
    "another study": {"ZDS_1": "1.2.840.9.#.7^^Application^DICOM"},
    "the examination has begun": {"control": "SC", "status": "IP"},
    "the order is held": {"control": "OH", "status": "HD"},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeSite]:
    with whole_site(tmp_path_factory.mktemp("orders")) as running:
        yield running


def shown(site: WholeSite, number: str) -> list[str]:
    """What a scanner is told of the order's steps, its own number left out."""
    return [str(one).replace(number, "#") for one in site.find(PatientID=number)]


def state(site: WholeSite, number: str) -> tuple[Any, ...]:
    """All that is known of an order: what a scanner is told, and the order's own row but for keys and our own times."""
    table = schema.imaging_order
    with site.database.read() as connection:
        row = connection.execute(table.select().where(table.c.placer_order_number == f"P{number}")).one()
    ours = {"id", "version", "patient_id", "created_at", "updated_at"}
    plain = {k: str(v).replace(number, "#") for k, v in row._mapping.items() if k not in ours}
    return shown(site, number), plain


NUMBERS = itertools.count(7_700_001)


@pytest.mark.parametrize("change", CHANGES)
def test_F26_a_change_that_comes_before_its_order_is_in_force_when_that_comes(site: WholeSite, change: str) -> None:
    fields = {"control": "XO", "status": "SC", "OBR_19": "R#", "OBR_20": "S#"} | CHANGES[change]
    control = fields.pop("control")
    in_turn, overtaken, unchanged = (str(next(NUMBERS)) for _ in range(3))
    assert take(site, told("NW", in_turn), told(control, in_turn, LATE, **fields)) == ["AA", "AA"]
    assert take(site, told(control, overtaken, LATE, **fields)) == ["AA"]
    assert shown(site, overtaken) == []  # a placeholder is nothing that can be done
    assert take(site, told("NW", overtaken)) == ["AA"]
    assert take(site, told("NW", unchanged)) == ["AA"]
    assert state(site, overtaken) == state(site, in_turn)
    assert state(site, overtaken) != state(site, unchanged)


def test_F26_a_change_that_names_no_procedure_and_step_gives_the_order_none(site: WholeSite) -> None:
    """Nobody has seen the placeholder: what stands in for the numbers in it is no reason against the order's own."""
    in_turn, overtaken = (str(next(NUMBERS)) for _ in range(2))
    take(site, told("NW", in_turn), told("XO", in_turn, LATE, status="SC", OBR_31="^later"))
    take(site, told("XO", overtaken, LATE, status="SC", OBR_31="^later"), told("NW", overtaken))
    assert state(site, overtaken) == state(site, in_turn)


def test_F26_an_order_that_never_comes_stays_off_the_worklist(site: WholeSite) -> None:
    number = str(next(NUMBERS))
    answer = site.answer(told("XO", number, LATE, status="SC", OBR_24="CT", OBR_27="^^^20261125130000"))
    assert (answer.get("MSA", 1), shown(site, number)) == ("AA", [])


# -- F27 --------------------------------------------------------------------------------------------------------------

CANCELS = {
    "asked for by the placer": ("CA", "", {}),
    "told by the filler": ("CA", "CA", {}),
    "told by the filler unasked": ("OC", "CA", {}),
    "discontinued": ("DC", "CA", {}),
    "asked to be discontinued": ("DC", "", {}),
    "discontinued as a fact": ("OD", "DC", {}),
    "by a mere status": ("SC", "CA", {}),
    "by the filler's number alone": ("OC", "CA", {"ORC_2": "", "OBR_2": "", "ORC_3": "F#^RIS"}),
    "naming both numbers": ("CA", "CA", {"ORC_3": "F#^RIS"}),
}


def cancelled(site: FeedSite, cancel: str, number: str) -> None:
    """The cancel, then the order that it overtook."""
    control, status, fields = CANCELS[cancel]
    assert take(site, told(control, number, LATE, status=status, **fields)) == ["AA"]
    assert take(site, told("NW", number, EARLY, ORC_3="F#^RIS")) == ["AA"]


@pytest.mark.parametrize("cancel", CANCELS)
def test_F27_an_order_that_was_cancelled_before_it_came_is_on_no_worklist(site: WholeSite, cancel: str) -> None:
    number, other = (str(next(NUMBERS)) for _ in range(2))
    take(site, told("NW", other))
    cancelled(site, cancel, number)
    assert shown(site, number) == []
    assert site.find(AccessionNumber=f"A{number}") == site.find(StudyInstanceUID=f"1.2.840.9.{number}") == []
    assert len(shown(site, other)) == 1  # whoever is not cancelled is there


def test_F27_the_cancel_is_remembered_over_a_restart(tmp_path: Path) -> None:
    with whole_site(tmp_path) as first:
        take(first, told("CA", "1001", LATE, status="CA"))
    with whole_site(tmp_path) as second:
        take(second, told("NW", "1001"), told("NW", "1001", EARLY, control_id="again"), told("NW", "1002"))
        assert [entry.PatientID for entry in second.find()] == ["1002"]


def test_F27_a_new_order_under_the_number_after_the_cancel_is_a_new_order(site: WholeSite) -> None:
    number = str(next(NUMBERS))
    cancelled(site, "told by the filler", number)
    take(site, told("NW", number, LATER))
    assert len(shown(site, number)) == 1


# -- F28 --------------------------------------------------------------------------------------------------------------

OWN = {"OBR_19": "R#", "OBR_20": "S#"}
DAY: tuple[tuple[str, dict[str, str]], ...] = (
    # ordered, moved, begun, changed, cancelled, ordered anew
    ("NW", {"at": "20261125080000", "status": "SC", "ORC_17": "Radiology"}),
    ("XO", {"at": "20261125090000", "status": "SC", "OBR_27": "^^^20261126093000", **OWN}),
    ("SC", {"at": "20261125100000", "status": "IP", **OWN}),
    ("XO", {"at": "20261125103000", "OBR_4": "CTHEAD^CT head with contrast^L", "OBR_31": "^fall", **OWN}),
    ("OC", {"at": "20261125110000", "status": "CA", **OWN}),
    ("NW", {"at": "20261125120000", "status": "SC", "NTE_3": "again, please"}),
)


@pytest.mark.timeout(900)
def test_F28_six_messages_of_one_order_end_in_one_state_whatever_order_they_come_in(tmp_path: Path, full: bool) -> None:
    """The fault's own figure is all 720 orders of arrival."""
    arrivals = list(itertools.permutations(DAY))[:: 1 if full else 48]
    states, without_the_last = [], []
    with whole_site(tmp_path) as site:
        sender = site.connect()
        for number, arrival in enumerate(arrivals, 7_700_001):
            for control, fields in arrival:
                assert codes(sender.say(told(control, str(number), **fields))) == ["AA"]
            states.append(state(site, str(number)))
        for number, arrival in enumerate(arrivals[:5], 8_800_001):
            for control, fields in arrival:
                if fields != DAY[-1][1]:
                    sender.say(told(control, str(number), **fields))
            without_the_last.append(state(site, str(number)))
    assert all(one == states[0] for one in states)
    (entry,) = states[0][0]
    assert "again, please" in entry and "fall" in entry
    # The states can differ: without its second order it ends cancelled.
    assert [one[0] for one in without_the_last] == [[]] * 5


# -- F29 --------------------------------------------------------------------------------------------------------------

IMAGES = 5


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The real roles, and an EHR."""
    with (
        PretendEhr() as ehr,
        Hospital(tmp_path_factory.mktemp("merging"), fhir_base=ehr.fhir_base, quiet_seconds=1) as running,
    ):
        yield Site(running, ehr.fhir_base, ehr)


def merge(site: Site, survivor: DemoPatient, prior: DemoPatient) -> None:
    """The EHR merges in its own records, and the RIS says so."""
    survivor_id, prior_id = (site.records.put_patient(one) for one in (survivor, prior))
    gone = site.get(f"Patient/{prior_id}")
    gone |= {"active": False, "link": [{"other": {"reference": f"Patient/{survivor_id}"}, "type": "replaced-by"}]}
    requests.put(f"{site.fhir_base}/Patient/{prior_id}", json=gone, timeout=20).raise_for_status()
    assert site.hospital.ris().send(messages.adt_a40, survivor, prior).code is AckCode.AA


def acquire(site: Site, item: Dataset, when: str, act: Any) -> None:
    """The images of a worklist entry over one association, and `act` before it, in the midst of it, or after it."""
    images = pictures(item, IMAGES)
    if when == "before":
        act()
    begun, at = threading.Event(), random.randrange(1, IMAGES)

    def meanwhile() -> None:
        begun.wait(30)
        act()

    thread = threading.Thread(target=meanwhile)
    if when == "during":
        thread.start()
    report = site.hospital.scanner("CT1").send(images, lambda done, _: begun.set() if done == at else None)
    assert report.failed == ()
    if when == "during":
        thread.join()
    elif when == "after":
        act()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_F29_images_under_a_number_that_is_merged_away_become_the_survivors(
    hospital: Site, when: str, full: bool
) -> None:
    """The fault's own figure is a hundred merges."""
    rounds, made = 34 if full else 2, []
    for number in range(rounds):
        order = make_order(number, datetime.now() + timedelta(minutes=5), run=when[0].upper())
        survivor = replace(order.patient, mrn=f"{order.patient.mrn}S", visit="")
        hospital.records.put_patient(order.patient)
        hospital.ris.send(messages.omi_o23, order)
        (item,) = hospital.hospital.scanner("CT1").worklist(AccessionNumber=order.accession)
        acquire(hospital, item, when, lambda s=survivor, p=order.patient: merge(hospital, s, p))
        made.append((order, hospital.records.put_patient(survivor)))
    for order, survivor_id in made:
        study = hospital.published(order.study_uid, 60, numberOfInstances=IMAGES)
        assert until_equal(lambda o=order: subject(hospital, o.study_uid), f"Patient/{survivor_id}"), study
    uids = ",".join(f"'{order.study_uid}'" for order, _ in made)
    rows = hospital.rows(
        "SELECT s.match_state AS state, p.merged_into AS gone, i.value AS number, o.accession_number AS accession, "
        "(SELECT count(*) FROM series r JOIN instance n ON n.series_id = r.id WHERE r.study_id = s.id) AS images "
        "FROM study s JOIN study_link l ON l.study_id = s.id AND l.ended_at IS NULL "
        "JOIN requested_procedure q ON q.id = l.procedure_id JOIN imaging_order o ON o.id = q.order_id "
        "JOIN patient p ON p.id = o.patient_id JOIN patient_identifier i ON i.patient_id = p.id AND NOT i.retired "
        f"WHERE s.study_instance_uid IN ({uids}) ORDER BY s.id"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("matched", None, f"{order.patient.mrn}S", order.accession, IMAGES) for order, _ in made
    ]


def subject(site: Site, uid: str) -> str:
    (study,) = site.studies(uid)
    return "Patient/" + str(study["subject"]["reference"]).rpartition("/")[2]


def until_equal(look: Any, wanted: str, seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while look() != wanted:
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def test_F29_without_a_merge_the_images_stay_with_their_own_patient(hospital: Site) -> None:
    """It is the merge that moves a study: two patients with alike numbers are two."""
    order = make_order(0, datetime.now() + timedelta(minutes=5), run="N")
    own = hospital.records.put_patient(order.patient)
    hospital.records.put_patient(replace(order.patient, mrn=f"{order.patient.mrn}S", visit=""))
    hospital.ris.send(messages.omi_o23, order)
    (item,) = hospital.hospital.scanner("CT1").worklist(AccessionNumber=order.accession)
    acquire(hospital, item, "never", None)
    hospital.published(order.study_uid, 30, numberOfInstances=IMAGES)
    assert subject(hospital, order.study_uid) == f"Patient/{own}"


# -- F30 --------------------------------------------------------------------------------------------------------------


def owners(site: FeedSite, *numbers: str) -> set[int]:
    """The records that these numbers lead to; each is one that lives."""
    live = {row.id for row in site.rows("patient") if row.merged_into is None}
    found = {row.value: row.patient_id for row in site.rows("patient_identifier")}
    assert {found[number] for number in numbers} <= live
    return {found[number] for number in numbers}


def alarms(site: FeedSite) -> list[str]:
    with site.database.read() as connection:
        return [str(entry["kind"]) for entry in review.open_reviews(connection)]


@pytest.mark.parametrize("length", [2, 3, 12])
def test_F30_a_ring_of_merges_is_refused_where_it_closes_and_somebody_is_told(tmp_path: Path, length: int) -> None:
    ring = [f"M{n}" for n in range(length)]
    with whole_site(tmp_path) as site:
        sender = site.connect()
        for number in ring:
            assert codes(sender.say(adt("A04", number, EARLY))) == ["AA"]
        for n, (prior, survivor) in enumerate(itertools.pairwise(ring)):
            assert codes(sender.say(adt("A40", survivor, f"202611251100{n:02}", prior=prior))) == ["AA"]
        assert alarms(site) == []
        begun = time.monotonic()
        answer = site.answer(adt("A40", ring[0], LATER, prior=ring[-1]))
        assert time.monotonic() - begun <= 1.0
        assert error(answer)[:2] == ("AE", "205")
        assert alarms(site) == ["message-refused"]
        (owner,) = owners(site, *ring)
        with site.database.read() as connection:
            assert patients.get_patient(connection, owner).name.alphabetic == f"DOE^{ring[-1]}"
        # Whoever still speaks of the first number is understood, and the scanner is told the last.
        assert codes(sender.say(orm("after", patient=ring[0]))) == ["AA"]
        assert [str(entry.PatientID) for entry in site.find()] == [ring[-1]]


def test_F30_two_merges_that_contradict_each_other_at_once_leave_one_survivor(tmp_path: Path) -> None:
    with feed_site(tmp_path) as site:
        senders = [site.connect() for _ in range(2)]
        for n in range(20):
            a, b = f"A{n}", f"B{n}"
            for number in (a, b):
                senders[0].say(adt("A04", number, EARLY))
            merges = [adt("A40", a, LATE, prior=b), adt("A40", b, LATE, prior=a)]
            answers = say_at_once(senders, merges)
            assert sorted(answers) == ["AA", "AE"]
            assert len(owners(site, a, b)) == 1
        assert alarms(site) == ["message-refused"] * 20


# -- F31 --------------------------------------------------------------------------------------------------------------

PROCESSES = 4


def test_F31_first_messages_of_a_new_patient_at_once_make_one_patient(tmp_path: Path, full: bool) -> None:
    """Four bridges on one store, each with its own feed. The fault's own figure is two hundred patients."""
    count = 200 if full else 25
    (tmp_path / "bridge.db").write_bytes(new_database())
    command = [sys.executable, "-m", "tests.faults.feeding", str(tmp_path)]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(PROCESSES)
        ]
        senders = [Sender(int(p.stdout.readline().split()[1])) for p in processes if p.stdout]
        for n in range(count):
            number = f"N{n}"
            firsts = [
                adt("A04", number, EARLY),
                orm(f"O{n}", placer=f"P{n}", patient=number),
                adt("A08", number, LATE),
                orm(f"Q{n}", placer=f"Q{n}", patient=number),
            ]
            answers = say_at_once([senders[(n + i) % PROCESSES] for i in range(PROCESSES)], firsts)
            assert answers == ["AA"] * PROCESSES
        for sender in senders:
            sender.close()
        for process in processes:
            assert process.stdin
            process.stdin.close()
        assert [process.wait(20) for process in processes] == [0] * PROCESSES
    with feed_site(tmp_path) as site:
        assert len(site.rows("patient")) == count
        assert [row.value for row in site.rows("patient_identifier")] == [f"N{n}" for n in range(count)]
        assert len({row.patient_id for row in site.rows("imaging_order")}) == count
        assert (site.orders(), set(site.fates())) == (2 * count, {"applied"})


FIND_THEN_INSERT = """
import sys
import pysqlite3.dbapi2 as sqlite

database = sqlite.connect(sys.argv[1], isolation_level=None, timeout=30)
print("ready", flush=True)
for line in sys.stdin:
    known = database.execute("SELECT 1 FROM patient WHERE number = ?", (line,)).fetchone()
    if not known:
        database.execute("INSERT INTO patient VALUES (?)", (line,))
    print("done", flush=True)
"""


def test_F31_looking_first_and_inserting_then_makes_two(tmp_path: Path) -> None:
    """The negative control: at once is at once here."""
    import pysqlite3.dbapi2 as sqlite  # type: ignore[import-untyped]

    database = sqlite.connect(str(tmp_path / "naive.db"), isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE patient (number TEXT)")
    command = [sys.executable, "-c", FIND_THEN_INSERT, str(tmp_path / "naive.db")]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(PROCESSES)
        ]
        pipes = [(p.stdin, p.stdout) for p in processes if p.stdin and p.stdout]
        for _, out in pipes:
            assert out.readline() == "ready\n"
        for n in range(30):
            for into, _ in pipes:
                into.write(f"N{n}\n")
                into.flush()
            for _, out in pipes:
                assert out.readline() == "done\n"
        for into, _ in pipes:
            into.close()
    (rows,) = database.execute("SELECT count(*) FROM patient").fetchone()
    database.close()
    assert rows > 30
