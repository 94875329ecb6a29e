"""Opening images from the record: everything is single use, soon over, and asked anew at each request."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.domain.access import Session, User
from bridge.domain.identity import Identifier
from bridge.errors import NotAllowed, NotFound, NotReadable
from bridge.workflow.housekeeping import Housekeeping
from bridge.workflow.launching import MOST_STRANGERS, LaunchDesk
from bridge.workflow.ports import InstanceDocument
from bridge.workflow.viewing import Viewing
from tests.unit.workflow.house import JANE, JOHN, House, order, who

USER = User("https://ehr.example.org", "dr", "Dr A")


@pytest.fixture
def desk(house: House) -> LaunchDesk:
    """Jane's study 1.2.3 and John's study 1.2.4 are matched."""
    house.order(order(), order(placer="P2", accession="A2", uid="1.2.4", patient=who(JOHN)))
    house.image()
    house.image(
        study_instance_uid="1.2.4", series_instance_uid="1.2.4.1", accession_number="A2", patient_id=JOHN.value,
        patient_name=who(JOHN).name,
    )  # fmt: skip
    house.complete()
    return LaunchDesk(house.context)


def entered(desk: LaunchDesk, patient: Identifier = JANE) -> tuple[str, Session]:
    opened = desk.open(USER, patient=(patient,), study_instance_uids=None, origin="smart")
    token, _ = desk.enter(desk.hand_over(opened.id, tuple(s.study_instance_uid for s in opened.studies)))
    session = desk.session(token)
    assert session is not None
    return token, session


def refused(code: str) -> pytest.RaisesExc[NotAllowed]:
    return pytest.RaisesExc(NotAllowed, check=lambda fault: fault.code == code)


# -- launches -----------------------------------------------------------------------------------------------------


def test_a_launch_is_taken_up_once(desk: LaunchDesk) -> None:
    pending = desk.begin("https://ehr", "abc", "browser")
    assert desk.take(pending.state, "browser").verifier == pending.verifier
    with refused("state"):
        desk.take(pending.state, "browser")


def test_a_launch_of_another_browser_is_refused_and_stays_good_for_its_own(desk: LaunchDesk) -> None:
    pending = desk.begin("https://ehr", "abc", "browser")
    with refused("state"):
        desk.take(pending.state, "other")
    assert desk.take(pending.state, "browser")


def test_a_launch_is_over_at_its_last_second(house: House, desk: LaunchDesk) -> None:
    pending = desk.begin("https://ehr", "abc", "browser")
    house.clock.advance(house.settings.launch.pending_seconds)
    with refused("state"):
        desk.take(pending.state, "browser")


def test_an_unknown_state_is_refused(desk: LaunchDesk) -> None:
    with refused("state"):
        desk.take("made up", "browser")


# -- sessions -----------------------------------------------------------------------------------------------------


def test_a_session_sees_its_patients_studies_and_no_others(desk: LaunchDesk) -> None:
    assert entered(desk)[1].studies == {"1.2.3"}
    assert entered(desk, JOHN)[1].studies == {"1.2.4"}


def test_another_patients_study_is_refused_and_audited(house: House, desk: LaunchDesk) -> None:
    with refused("patient-differs"):
        desk.open(USER, patient=(JANE,), study_instance_uids=("1.2.3", "1.2.4"), origin="smart")
    assert [a.outcome for a in house.rows("audit") if a.action == "launch"] == ["patient-differs"]


@pytest.mark.parametrize("identifiers", [(), (Identifier("1001"),), (Identifier("1001", "OTHER"),)])
def test_a_patient_whom_we_do_not_know_by_that_authority_opens_nothing(
    desk: LaunchDesk, identifiers: tuple[Identifier, ...]
) -> None:
    with pytest.raises(NotFound):
        desk.open(USER, patient=identifiers, study_instance_uids=None, origin="smart")


def test_identifiers_of_two_patients_open_nothing(desk: LaunchDesk) -> None:
    with refused("several-patients"):
        desk.open(USER, patient=(JANE, JOHN), study_instance_uids=None, origin="smart")


def outcomes(house: House, action: str) -> list[str]:
    return [a.outcome for a in house.rows("audit") if a.action == action]


def test_every_refusal_of_a_user_is_audited(house: House, desk: LaunchDesk) -> None:
    for _ in range(2):
        with pytest.raises(NotFound):
            desk.open(USER, patient=(JANE,), study_instance_uids=("1.9.9",), origin="smart")
    assert outcomes(house, "launch") == ["study-unknown", "study-unknown"]


def test_a_page_that_waits_for_images_adds_no_row(house: House, desk: LaunchDesk) -> None:
    for _ in range(2):
        with pytest.raises(NotFound):
            desk.open(USER, patient=(JANE,), study_instance_uids=("1.9.9",), origin="smart", quiet=True)
    assert outcomes(house, "launch") == []


def test_a_waiting_page_that_ends_in_a_refusal_is_audited(house: House, desk: LaunchDesk) -> None:
    with refused("patient-differs"):
        desk.open(USER, patient=(JANE,), study_instance_uids=("1.2.4",), origin="smart", quiet=True)
    assert outcomes(house, "launch") == ["patient-differs"]


@pytest.mark.parametrize(("uid", "known"), [("1.2.4", True), ("1.9.9", False)])
def test_images_refused_to_a_session_are_one_row_a_study(house: House, desk: LaunchDesk, uid: str, known: bool) -> None:
    _, session = entered(desk)
    for one in (desk, desk, LaunchDesk(house.context)):  # a restart does not ask for a second row
        one.refuse_images(session, uid)
    (row,) = [a for a in house.rows("audit") if a.action == "images-refused"]
    assert row.subject == (f"study:{house.study(uid).id}" if known else "study:-")
    assert (row.who, row.outcome, row.details) == (f"user:{USER.issuer}|dr", "not-allowed", {"session": session.id})


def test_invented_study_numbers_fill_no_audit_trail(house: House, desk: LaunchDesk) -> None:
    _, session = entered(desk)
    for n in range(5):
        desk.refuse_images(session, f"1.9.{n}")
    assert house.audited("images-refused") == 1
    assert "1.9." not in str(house.rows("audit"))


def test_a_refusal_in_a_second_session_is_a_row_of_its_own(house: House, desk: LaunchDesk) -> None:
    for _ in range(2):
        desk.refuse_images(entered(desk)[1], "1.2.4")
    assert house.audited("images-refused") == 2


def test_what_a_stranger_tries_is_one_row_a_minute_and_kind(house: House, desk: LaunchDesk) -> None:
    for _ in range(3):
        desk.turn_away("10.0.0.9", "enter", "handover")
    desk.turn_away("10.0.0.9", "launch", "state")
    desk.turn_away("10.0.0.8", "enter", "handover")
    house.clock.advance(60)
    desk.turn_away("10.0.0.9", "enter", "handover")
    rows = [(a.who, a.action, a.outcome) for a in house.rows("audit") if a.who.startswith("address:")]
    assert rows == [
        ("address:10.0.0.9", "enter", "handover"),
        ("address:10.0.0.9", "launch", "state"),
        ("address:10.0.0.8", "enter", "handover"),
        ("address:10.0.0.9", "enter", "handover"),
    ]


def test_strangers_from_everywhere_cannot_fill_the_audit_trail(house: House, desk: LaunchDesk) -> None:
    for n in range(MOST_STRANGERS + 20):
        desk.turn_away(f"10.0.{n // 256}.{n % 256}", "enter", "handover")
    assert house.audited("enter") == MOST_STRANGERS


def test_a_spent_link_tried_again_and_again_is_one_row_a_minute(house: House, desk: LaunchDesk) -> None:
    opaque = desk.make_link("portal", USER, "1.2.3", "jti1", 600)
    desk.take_link(opaque)
    for seconds in (0, 0, 60):
        house.clock.advance(seconds)
        with refused("link-used"):
            desk.take_link(opaque)
    assert outcomes(house, "link-opened") == ["ok", "link-used", "link-used"]


def test_a_study_that_does_not_exist_opens_nothing(desk: LaunchDesk) -> None:
    with pytest.raises(NotFound):
        desk.open(USER, patient=(JANE,), study_instance_uids=("1.9.9",), origin="smart")
    with pytest.raises(NotFound):
        desk.open_study(USER, "1.9.9", "link")


def test_a_study_that_is_not_matched_opens_by_no_link(house: House, desk: LaunchDesk) -> None:
    house.image(study_instance_uid="1.2.5", series_instance_uid="1.2.5.1", accession_number="")
    house.complete()
    with pytest.raises(NotFound):
        desk.open_study(USER, "1.2.5", "link")


def test_a_session_ends_at_its_last_second(house: House, desk: LaunchDesk) -> None:
    token, _ = entered(desk)
    house.clock.advance(house.settings.session_life.total_seconds() - 1)
    assert desk.session(token) is not None
    house.clock.advance(1)
    assert desk.session(token) is None


def test_a_session_that_is_revoked_is_over_at_once(house: House, desk: LaunchDesk) -> None:
    token, session = entered(desk)
    desk.revoke(session.id)
    assert desk.session(token) is None
    assert house.audited("logout") == 1


def test_an_unlinked_study_is_out_of_every_session_at_once(house: House, desk: LaunchDesk) -> None:
    token, _ = entered(desk)
    house.matching.unlink(house.study().id, "cli:anna", "wrong patient")
    session = desk.session(token)
    assert session is not None and session.studies == frozenset()


def test_a_study_that_is_linked_to_somebody_else_changes_sides(house: House, desk: LaunchDesk) -> None:
    janes, _ = entered(desk)
    house.matching.link(house.study().id, house.order_row("P2").id, "cli:anna")
    session = desk.session(janes)
    assert session is not None and session.studies == frozenset()
    assert entered(desk, JOHN)[1].studies == {"1.2.3", "1.2.4"}


def test_images_of_a_second_patient_take_the_study_out_of_sight_at_once(house: House, desk: LaunchDesk) -> None:
    token, _ = entered(desk)
    house.image(patient_id=JOHN.value)
    session = desk.session(token)
    assert session is not None and session.studies == frozenset()


# -- hand-overs and links -----------------------------------------------------------------------------------------


def test_a_hand_over_opens_once(desk: LaunchDesk) -> None:
    opened = desk.open(USER, patient=(JANE,), study_instance_uids=None, origin="smart")
    code = desk.hand_over(opened.id, ("1.2.3",))
    assert desk.enter(code)[1] == ("1.2.3",)
    with refused("handover"):
        desk.enter(code)


def test_a_hand_over_is_soon_over(house: House, desk: LaunchDesk) -> None:
    opened = desk.open(USER, patient=(JANE,), study_instance_uids=None, origin="smart")
    code = desk.hand_over(opened.id, ("1.2.3",))
    house.clock.advance(house.settings.launch.handover_seconds)
    with refused("handover"):
        desk.enter(code)


def test_a_hand_over_of_a_revoked_session_opens_nothing(desk: LaunchDesk) -> None:
    opened = desk.open(USER, patient=(JANE,), study_instance_uids=None, origin="smart")
    code = desk.hand_over(opened.id, ("1.2.3",))
    desk.revoke(opened.id)
    with refused("handover"):
        desk.enter(code)


def test_a_link_opens_once_and_says_whose_session_it_is(desk: LaunchDesk) -> None:
    opaque = desk.make_link("portal", USER, "1.2.3", "jti1", 60)
    link = desk.take_link(opaque)
    assert link.user is not None and (link.user.subject, link.study_instance_uid) == ("dr", "1.2.3")
    with refused("link-used"):
        desk.take_link(opaque)


def test_a_link_is_over_in_time(house: House, desk: LaunchDesk) -> None:
    opaque = desk.make_link("portal", None, "1.2.3", "jti1", 60)
    house.clock.advance(60)
    with refused("link-expired"):
        desk.take_link(opaque)


def test_a_link_that_nobody_made_does_not_open(desk: LaunchDesk) -> None:
    with refused("link-unknown"):
        desk.take_link("made up")


def test_one_signed_token_makes_one_link(house: House, desk: LaunchDesk) -> None:
    desk.make_link("portal", USER, "1.2.3", "jti1", 60)
    with refused("replayed"):
        desk.make_link("portal", USER, "1.2.3", "jti1", 60)
    desk.make_link("another issuer", USER, "1.2.3", "jti1", 60)
    assert [a.outcome for a in house.rows("audit") if a.action == "link-made"] == ["ok", "replayed", "ok"]


def test_no_secret_stands_in_the_database(house: House, desk: LaunchDesk) -> None:
    pending = desk.begin("https://ehr", "abc", "browser-secret")
    token, session = entered(desk)
    code, opaque = desk.hand_over(session.id, ()), desk.make_link("portal", None, "1.2.3", "j", 60)
    tables = ("launch_pending", "launch_session", "hand_over", "launch_link", "audit")
    stored = " ".join(str(house.rows(t)) for t in tables)
    for secret in (pending.state, "browser-secret", token, code, opaque):
        assert secret not in stored


# -- viewing ------------------------------------------------------------------------------------------------------


class Describe:
    def __init__(self) -> None:
        self.asked: list[Path] = []

    def __call__(self, path: Path) -> InstanceDocument:
        self.asked.append(path)
        return InstanceDocument(b'{"x":1}', (((10, 20),),))


@pytest.fixture
def viewing(house: House) -> Viewing:
    return Viewing(house.context, Describe(), lambda path, tag: b"bulk")


@pytest.mark.parametrize("uid", ["1.2.4", "1.9.9"], ids=["another patient's", "no study at all"])
def test_what_is_not_the_sessions_is_refused_alike(house: House, desk: LaunchDesk, viewing: Viewing, uid: str) -> None:
    _, session = entered(desk)
    words = set()
    for ask in (
        lambda: viewing.series(session, uid),
        lambda: viewing.instances(session, uid),
        lambda: viewing.metadata(session, uid),
        lambda: viewing.instance(session, uid, f"{uid}.1", "1.2.9.3"),
        lambda: viewing.bulkdata(session, uid, f"{uid}.1", "1.2.9.3", "7FE00010"),
        lambda: viewing.note_access(session, uid),
    ):
        with pytest.raises(NotAllowed) as fault:
            ask()
        words.add((str(fault.value), fault.value.where, fault.value.code))
    assert words == {("not a study of this launch", "study", "not-allowed")}


def test_a_series_of_another_study_is_not_found_in_ones_own(desk: LaunchDesk, viewing: Viewing) -> None:
    _, session = entered(desk)
    with pytest.raises(NotFound):
        viewing.instances(session, "1.2.3", "1.2.4.1")


def test_a_list_of_studies_shows_the_sessions_own(desk: LaunchDesk, viewing: Viewing) -> None:
    _, session = entered(desk)
    assert [(s.study_instance_uid, s.instances) for s in viewing.studies(session)] == [("1.2.3", 1)]


def test_what_the_worker_has_not_described_yet_is_described_when_asked(desk: LaunchDesk, viewing: Viewing) -> None:
    _, session = entered(desk)
    assert viewing.metadata(session, "1.2.3") == [b'{"x":1}']


def test_access_is_noted_once_a_session_and_study(house: House, desk: LaunchDesk, viewing: Viewing) -> None:
    _, session = entered(desk)
    for _ in range(3):
        viewing.note_access(session, "1.2.3")
    assert house.audited("images-accessed") == 1
    _, second = entered(desk)
    Viewing(house.context, Describe(), lambda path, tag: b"").note_access(second, "1.2.3")
    assert house.audited("images-accessed") == 2


# -- housekeeping -------------------------------------------------------------------------------------------------


def test_new_images_are_described_once(house: House) -> None:
    house.image()
    describe = Describe()
    keeping = Housekeeping(house.context, describe)
    assert (keeping.describe_due(), keeping.describe_due()) == (1, 0)
    (row,) = house.rows("instance_document")
    assert row.json == b'{"x":1}'


def test_a_file_that_cannot_be_read_does_not_hold_up_the_others(house: House) -> None:
    house.image()
    house.image()
    asked: list[Path] = []

    def describe(path: Path) -> InstanceDocument:
        asked.append(path)
        if len(asked) == 1:
            raise NotReadable("no DICOM")
        return InstanceDocument(b"{}", ())

    keeping = Housekeeping(house.context, describe)
    assert (keeping.describe_due(), keeping.describe_due()) == (2, 0)
