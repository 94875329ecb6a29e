"""Order control x order status (hl7-to-mwl.md section 6), the MPPS state machine, identifiers and their issuers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.identity import Identifier, Issuer, Issuers
from bridge.domain.lifecycle import ENDED, GIVEN_UP, Action, action_of, newer, status_of
from bridge.domain.order import OrderStatus as S
from bridge.domain.patient import PersonName
from bridge.domain.performed import PerformedStatus as P
from bridge.domain.performed import changed, created
from bridge.domain.publication import backoff
from bridge.errors import BadValue, StateConflict
from bridge.uids import derived_uid, is_uid, new_uid

U, ST, C, D, H, R, N = (
    Action.UPSERT, Action.STATUS, Action.CANCEL, Action.DISCONTINUE, Action.HOLD, Action.RELEASE, Action.NOTHING,
)  # fmt: skip


@pytest.mark.parametrize(
    ("control", "status", "action", "after"),
    [
        ("NW", "", U, S.SC),
        ("NW", "A", U, S.SC),
        ("NW", "SC", U, S.SC),
        ("NW", "IP", U, S.SC),
        ("NW", "CM", U, S.CM),
        ("NW", "CA", U, S.CA),
        ("NW", "CD", U, S.DC),
        ("NW", "HD", U, S.HD),
        ("OE", "", R, S.SC),
        ("XO", "SC", U, S.SC),
        ("XO", "CM", U, S.CM),
        ("XO", "", U, S.SC),
        ("XX", "", U, S.SC),
        ("CA", "CA", C, S.CA),
        ("CA", "", C, S.CA),
        ("OC", "", C, S.CA),
        ("DC", "CA", D, S.DC),
        ("DC", "", D, S.DC),
        ("OD", "", D, S.DC),
        ("HD", "", H, S.HD),
        ("HD", "HD", H, S.HD),
        ("OH", "HD", H, S.HD),
        ("RL", "", R, S.SC),
        ("SC", "SC", ST, S.SC),
        ("SC", "IP", ST, S.IP),
        ("SC", "CM", ST, S.CM),
        ("SC", "A", ST, S.CM),
        ("SC", "CA", ST, S.CA),
        ("SC", "DC", ST, S.DC),
        ("SC", "HD", ST, S.HD),
        ("SC", "CD", ST, S.DC),
        ("RP", "", C, S.CA),
        ("RU", "", C, S.CA),
        ("RO", "", U, S.SC),
        ("PA", "", H, S.HD),
        ("CH", "", U, S.SC),
        ("SN", "", U, S.SC),
        ("NA", "", ST, S.SC),
        ("UA", "", C, S.CA),
    ],
)
def test_a_row_of_the_table_for_an_order_that_is_new(control: str, status: str, action: Action, after: S) -> None:
    assert (action_of(control), status_of(control, status)) == (action, after)


NO_CHANGE = "OK CR DR HR OR XR RQ RR UC UD UH UM UR UX RE PR CN SS SR RF AF DF FU OF UF OP PN PY LI UN MC RC DE"


@pytest.mark.parametrize("control", NO_CHANGE.split())
def test_answers_results_and_queries_ask_for_nothing(control: str) -> None:
    assert action_of(control) is N


@pytest.mark.parametrize("control", ["", "ZZ", "nw"])
def test_a_code_outside_table_0119_is_no_action(control: str) -> None:
    assert action_of(control) is None


@pytest.mark.parametrize("current", list(S))
@pytest.mark.parametrize("control", ["XO", "XX", "NA", "SC", "SN", "CH"])
@pytest.mark.parametrize("status", ["", "ER", "Scheduled"])
def test_a_message_that_says_nothing_of_the_status_leaves_it(control: str, status: str, current: S) -> None:
    assert status_of(control, status, current) is current


@pytest.mark.parametrize("current", list(S))
def test_only_a_given_up_order_is_ordered_again_by_nw(current: S) -> None:
    assert status_of("NW", "", current) is (S.SC if current in GIVEN_UP else current)


@pytest.mark.parametrize("current", sorted(ENDED))
@pytest.mark.parametrize("control", ["HD", "OH", "RL"])
def test_holding_and_releasing_do_not_revive_what_ended(control: str, current: S) -> None:
    assert status_of(control, "", current) is current


NINE, TEN = datetime(2026, 1, 1, 9, tzinfo=UTC), datetime(2026, 1, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("event", "stored", "is_newer"),
    [(TEN, NINE, True), (NINE, TEN, False), (NINE, NINE, True), (None, TEN, True), (NINE, None, True)],
)
def test_what_is_newer(event: datetime | None, stored: datetime | None, is_newer: bool) -> None:
    assert newer(event, stored) is is_newer


# -- MPPS (PS3.4 F.7.2) -------------------------------------------------------------------------------------------


def test_a_new_performed_step_is_in_progress() -> None:
    assert created("IN PROGRESS") is P.IN_PROGRESS


@pytest.mark.parametrize("status", ["", "COMPLETED", "DISCONTINUED", "in progress", "STARTED"])
def test_a_new_performed_step_is_nothing_else(status: str) -> None:
    with pytest.raises(BadValue):
        created(status)


@pytest.mark.parametrize("current", list(P))
@pytest.mark.parametrize("asked", ["", "IN PROGRESS", "COMPLETED", "DISCONTINUED", "DONE"])
def test_every_state_meets_every_request(current: P, asked: str) -> None:
    if current is not P.IN_PROGRESS:
        with pytest.raises(StateConflict):
            changed(current, asked)
    elif asked == "DONE":
        with pytest.raises(BadValue):
            changed(current, asked)
    else:
        assert changed(current, asked) is P(asked or "IN PROGRESS")


# -- identity -----------------------------------------------------------------------------------------------------

SITE = Issuers(
    (
        Issuer("hospital", "HOSP", "1.2.3", "ISO", "urn:oid:1.2.3"),
        Issuer("clinic", "CLIN", "9.9", "ISO", "https://clinic.example/mrn"),
        Issuer("lab", "LAB"),
    )
)


@pytest.mark.parametrize(
    ("namespace", "universal", "kind", "name"),
    [
        ("HOSP", "", "", "hospital"),
        ("hospital", "", "", "hospital"),
        ("", "1.2.3", "ISO", "hospital"),
        ("CLIN", "1.2.3", "ISO", "hospital"),
        ("HOSP", "7.7", "ISO", "ISO:7.7"),
        ("LAB", "7.7", "ISO", "lab"),
        ("EHR", "7.7", "ISO", "EHR"),
        ("", "7.7", "ISO", "ISO:7.7"),
        ("", "1.2.3", "DNS", "DNS:1.2.3"),
        ("hosp", "", "", "hosp"),
        ("", "", "", ""),
    ],
)
def test_an_authority_has_one_name_however_it_is_spelt(namespace: str, universal: str, kind: str, name: str) -> None:
    assert SITE.canonical(namespace, universal, kind) == name


def test_the_same_number_of_two_authorities_is_two_numbers() -> None:
    assert Identifier("1", "hospital").key != Identifier("1", "clinic").key
    assert Identifier("1", "hospital").key != Identifier("1").key


def test_an_authority_is_found_by_its_fhir_system() -> None:
    assert SITE.name_of_system("https://clinic.example/mrn") == "clinic"
    assert SITE.name_of_system("urn:oid:8") is None


def test_an_authority_that_the_site_did_not_name_is_described_by_its_name() -> None:
    assert SITE.find("ISO:7.7").system == "urn:oid:7.7"
    assert SITE.find("WARD") == Issuer("WARD", "WARD")


components = st.lists(st.text(alphabet="AB山", max_size=3), max_size=5).map(lambda c: "^".join(c).rstrip("^"))


@given(components, components, components)
def test_a_name_survives_its_dicom_form(alphabetic: str, ideographic: str, phonetic: str) -> None:
    name = PersonName(alphabetic, ideographic, phonetic)
    assert PersonName.from_dicom(name.dicom) == name


# -- uids and waiting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "1", "1.", ".1", "1..2", "01.2", "1.02", "1.2\n", "../1", "1.2a", "1." + "2" * 63, "1.２", " 1.2"]
)
def test_what_is_no_uid(text: str) -> None:
    assert not is_uid(text)


@given(st.text(), st.text())
def test_derived_uids_are_uids_and_depend_on_their_parts(one: str, other: str) -> None:
    assert is_uid(derived_uid(one)) and len(new_uid()) <= 64
    assert (derived_uid(one) == derived_uid(other)) is (one == other)


@given(st.integers(1, 10_000))
def test_waiting_grows_and_never_beyond_a_quarter_of_an_hour(attempt: int) -> None:
    assert 0.5 * min(900, 2 ** min(attempt, 30)) <= backoff(attempt) <= 900
