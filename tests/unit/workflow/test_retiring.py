"""Images whose time is over: by which rule, what keeps them, and rows before files whenever it is stopped."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bridge.config import Dicom, DicomPeer, Retention, RetentionRule
from bridge.domain.commitment import CommitmentRequest, Reference
from bridge.domain.performed import PerformedStatus, ScheduledReference
from bridge.domain.rejection import Hidden, RejectedInstance, RejectionNote
from bridge.domain.retention import Kept, fits
from bridge.domain.study import MatchState, StoredFile, StudyState
from bridge.errors import NotFound, StateConflict
from bridge.store import audit, commitment, launches, performed, rejection, review
from bridge.store.backup import holding
from bridge.workflow import retiring
from bridge.workflow.acquiring import Acquiring
from bridge.workflow.publishing import gather
from bridge.workflow.retiring import Retiring
from tests.unit.workflow.house import House, image_header, made, order
from tests.unit.workflow.test_publishing import FakeEhr, Office

COMPLETE = RetentionRule(keep_days=30, after="complete")
PUBLISHED = RetentionRule(keep_days=30)
DAY = 86400
FROM_LIST = ScheduledReference("1.2.3", "A1", "RIS", "A1", "A1-1")
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"


class Site:
    """A bridge whose images are files, and the worker that lets them go."""

    def __init__(self, folder: Path, *rules: RetentionRule, **changes: Any) -> None:
        self.folder = folder / "archive"
        for one in (self.folder, folder / "run"):
            one.mkdir(parents=True, exist_ok=True)
        given = {"rule": rules} | changes.pop("retention", {})
        self.house = House(folder, retention=Retention(**given), **changes)
        self.retiring = Retiring(self.house.context, self.remove)

    def remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def image(self, uid: str, sha: str = "", **header: Any) -> None:
        """A new image with its file; the same UID with another `sha` is kept aside."""
        name = f"{uid}-{sha}"
        (self.folder / name).write_bytes(b"pixels")
        made_header = image_header(**{"sop_instance_uid": uid, **header})
        file = StoredFile(name, 6, sha or uid)
        try:
            Acquiring(self.house.context).take_instance(made_header, file, "CT1")
        except StateConflict:
            return

    def scanned(self, *uids: str, days: float = 31) -> None:
        """A study of an order, complete and matched, so many days ago."""
        self.house.order(order())
        for uid in uids:
            self.image(uid)
        self.house.complete()
        self.house.clock.advance(days * DAY)

    def run(self, most: int = 100) -> None:
        """Everything that there is to do in one pass."""
        for _ in range(most):
            if not self.retiring.retire_due():
                return
        raise AssertionError("it never rests")

    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}

    def rows(self) -> set[str]:
        return {row.file for table in ("instance", "instance_aside") for row in self.house.rows(table)}

    def kept(self) -> list[tuple[Kept, ...]]:
        return [one.kept for one in retiring.plan(self.house.context)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    found: list[Site] = []

    def build(*rules: RetentionRule, **changes: Any) -> Site:
        found.append(Site(tmp_path, *rules, **changes))
        return found[-1]

    yield build
    for one in found:
        one.house.database.close()


# -- which ----------------------------------------------------------------------------------------------------------


def test_without_a_rule_nothing_is_deleted_however_old(site: Callable[..., Site]) -> None:
    bare = site()
    bare.scanned("1.5", days=36500)
    bare.run()
    assert bare.files() == bare.rows() != set()


def test_a_study_whose_time_is_over_goes_with_its_rows_and_files(site: Callable[..., Site]) -> None:
    old = site(COMPLETE)
    old.scanned("1.5", "1.6")
    old.run()
    assert (old.files(), old.rows(), old.house.rows("series")) == (set(), set(), [])
    assert old.house.study().state == StudyState.RETIRED


def test_a_study_stays_to_the_last_day(site: Callable[..., Site]) -> None:
    young = site(COMPLETE)
    young.scanned("1.5", days=29.9)
    young.run()
    assert len(young.files()) == 1


def test_a_study_that_still_comes_in_stays(site: Callable[..., Site]) -> None:
    coming = site(COMPLETE)
    coming.scanned("1.5")
    coming.image("1.6")
    coming.run()
    assert len(coming.files()) == 2


def test_the_first_rule_that_means_a_study_decides(site: Callable[..., Site]) -> None:
    ruled = site(RetentionRule(modalities=("CT",), keep_days=90, after="complete"), COMPLETE)
    ruled.scanned("1.5")
    ruled.run()
    assert len(ruled.files()) == 1
    ruled.house.clock.advance(60 * DAY)
    ruled.run()
    assert ruled.files() == set()


@pytest.mark.parametrize(
    ("wanted", "modalities", "so"),
    [
        ((), {"CT"}, True),
        (("CT",), {"CT"}, True),
        (("CT",), {"CT", "SR", "KO"}, True),
        (("CT",), {"CT", "MR"}, False),
        (("CT", "MR"), {"CT", "MR"}, True),
        (("CT",), {"SR"}, False),
        (("SR",), {"SR"}, True),
        (("MG",), {"CT"}, False),
    ],
)
def test_a_rule_means_a_study_all_of_whose_images_it_names(
    wanted: tuple[str, ...], modalities: set[str], so: bool
) -> None:
    assert fits(wanted, modalities) is so


def test_what_is_published_is_counted_from_then(site: Callable[..., Site]) -> None:
    told = site(PUBLISHED)
    told.scanned("1.5")
    with closing(Office(told.house, FakeEhr()).publisher):
        office = Office(told.house, FakeEhr())
        office.deliver()
        office.publisher.close()
    told.run()
    assert len(told.files()) == 1
    told.house.clock.advance(31 * DAY)
    told.run()
    assert told.files() == set()


# -- what keeps it --------------------------------------------------------------------------------------------------


def on_hold(site: Site) -> None:
    retiring.hold(site.house.context, "1.2.3", "cli:anna", "a court asks for it")


def in_review(site: Site) -> None:
    site.house.database.write(
        lambda c: review.open_review(c, "study-conflict", "study:1", "x", site.house.clock.now(), {})
    )


def an_image_in_review(site: Site) -> None:
    site.image("1.5", "other bytes")


def its_order_in_review(site: Site) -> None:
    site.house.database.write(
        lambda c: review.open_review(c, "order-conflict", "order:1", "x", site.house.clock.now(), {})
    )


def open_in_a_viewer(site: Site) -> None:
    now = site.house.clock.now()
    values = {"origin": "smart", "user_issuer": "i", "user_subject": "u", "patient_id": 1, "opened_at": now,
              "expires_at": now + timedelta(hours=1)}  # fmt: skip
    site.house.database.write(lambda c: launches.add_session(c, values, [1]))


def a_link_is_out(site: Site) -> None:
    now = site.house.clock.now()
    values = {"link_hash": "h", "issuer": "i", "token_id": "t", "user_subject": None, "user_name": "", "study_id": 1,
              "expires_at": now + timedelta(minutes=5)}  # fmt: skip
    site.house.database.write(lambda c: launches.add_link(c, values))


def asked_to_be_committed(site: Site) -> None:
    asked = CommitmentRequest("1.9.9", (Reference("1.2.840.10008.5.1.4.1.1.2", "1.5"),))
    now = site.house.clock.now()
    site.house.database.write(lambda c: commitment.add_commitment(c, asked, "CT1", now, now))


KEEPERS = pytest.mark.parametrize(
    ("keep", "why"),
    [
        (on_hold, Kept.HOLD),
        (in_review, Kept.REVIEW),
        (an_image_in_review, Kept.REVIEW),
        (its_order_in_review, Kept.REVIEW),
        (open_in_a_viewer, Kept.VIEWER),
        (a_link_is_out, Kept.VIEWER),
        (asked_to_be_committed, Kept.COMMITMENT),
    ],
)


@KEEPERS
def test_what_somebody_needs_stays_though_its_time_is_over(
    site: Callable[..., Site], keep: Callable[[Site], None], why: Kept
) -> None:
    needed = site(COMPLETE)
    needed.scanned("1.5")
    keep(needed)
    needed.run()
    assert needed.files() == needed.rows() != set()
    assert needed.kept() == [(why,)]


@KEEPERS
def test_whoever_needs_it_between_the_look_and_the_deed_is_heard(
    site: Callable[..., Site], keep: Callable[[Site], None], why: Kept
) -> None:
    needed = site(COMPLETE)
    needed.scanned("1.5")
    keep(needed)
    needed.house.database.write(lambda c: needed.retiring._begin(c, 1))
    assert needed.house.rows("retirement") == []


def test_a_study_that_belongs_to_no_order_stays(site: Callable[..., Site]) -> None:
    lost = site(COMPLETE)
    lost.image("1.5")
    lost.house.complete()
    lost.house.clock.advance(31 * DAY)
    lost.run()
    assert lost.kept() == [(Kept.REVIEW, Kept.UNMATCHED)]
    assert len(lost.files()) == 1


def test_a_study_that_no_ehr_has_stays_where_the_rule_wants_it(site: Callable[..., Site]) -> None:
    untold = site(PUBLISHED)
    untold.scanned("1.5", days=3650)
    untold.run()
    assert (untold.kept(), len(untold.files())) == ([(Kept.UNPUBLISHED,)], 1)


def test_after_the_hold_the_rules_count_again(site: Callable[..., Site]) -> None:
    held = site(COMPLETE)
    held.scanned("1.5")
    on_hold(held)
    with pytest.raises(StateConflict):
        on_hold(held)
    retiring.unhold(held.house.context, "1", "cli:anna")
    held.run()
    assert held.files() == set()
    with pytest.raises(StateConflict):
        retiring.unhold(held.house.context, "1", "cli:anna")
    with pytest.raises(NotFound):
        retiring.hold(held.house.context, "9.9", "cli:anna", "")


def test_nothing_goes_while_a_backup_runs(site: Callable[..., Site]) -> None:
    backed = site(COMPLETE)
    backed.scanned("1.5")
    with holding(backed.house.settings.data / "run"):
        backed.run()
        assert backed.files() == backed.rows() != set()
    backed.run()
    assert backed.files() == set()


# -- the deed -------------------------------------------------------------------------------------------------------


def test_with_the_decision_it_is_shown_to_nobody_and_the_ehr_is_told_that_it_is_cancelled(
    site: Callable[..., Site],
) -> None:
    old = site(COMPLETE)
    old.scanned("1.5")
    told = old.house.rows("publication")[0].version
    old.retiring.retire_due()
    assert [row.hidden for row in old.house.rows("instance")] == ["retention"]
    content, state = old.house.read(lambda c: gather(c, 1, old.house.context))
    assert (content.status, content.series, state) == ("cancelled", (), MatchState.MATCHED)
    assert old.house.rows("publication")[0].version > told


def test_the_trail_says_what_went_by_which_rule(site: Callable[..., Site]) -> None:
    old = site(COMPLETE)
    old.scanned("1.5", "1.6")
    old.run()
    (row,) = old.house.read(lambda c: audit.find_audit(c, "study:1", action="study-retired"))
    assert (row["outcome"], row["details"]) == (COMPLETE.words, {"instances": 2, "bytes": 12, "whole": True})


def test_what_a_device_listed_and_a_rule_deleted_is_not_missing(site: Callable[..., Site]) -> None:
    old = site(COMPLETE)
    old.house.order(order())
    old.house.mpps("1.3.1", FROM_LIST, modality="CT", patient_id="1001", patient_issuer="HOSP")
    old.image("1.5")
    old.house.mpps_end("1.3.1", **made("1.5", "1.6"))
    old.house.complete()
    old.house.database.write(
        lambda c: review.close_review(c, ("images-missing",), "study:1", old.house.clock.now(), "x", "")
    )
    old.house.clock.advance(31 * DAY)
    old.run()
    assert old.files() == set()
    assert old.house.read(lambda c: performed.missing_of_study(c, "1.2.3")) == {PerformedStatus.COMPLETED: 1}


def test_it_is_judged_no_more_and_asks_nobody(site: Callable[..., Site]) -> None:
    old = site(COMPLETE)
    old.scanned("1.5")
    old.run()
    old.house.order(order("XO"))
    old.house.complete()
    assert (old.house.reviews(), old.house.study().state) == (set(), StudyState.RETIRED)


def test_what_comes_again_after_it_is_a_study_like_any_other(site: Callable[..., Site]) -> None:
    old = site(COMPLETE)
    old.scanned("1.5")
    old.run()
    old.image("1.5")
    old.house.complete()
    content, _ = old.house.read(lambda c: gather(c, 1, old.house.context))
    assert (content.status, old.house.study().state, len(old.files())) == ("available", "complete", 1)


def test_an_image_that_is_sent_again_while_its_study_goes_is_kept(site: Callable[..., Site]) -> None:
    old = site(COMPLETE)
    old.scanned("1.5", "1.6")
    old.retiring.retire_due()
    old.image("1.5")
    old.run()
    assert [row.sop_instance_uid for row in old.house.rows("instance")] == ["1.5"]
    assert old.house.study().state == "receiving"


def test_a_study_that_is_going_cannot_be_held_any_more(site: Callable[..., Site]) -> None:
    old = site(COMPLETE)
    old.scanned("1.5")
    old.retiring.retire_due()
    with pytest.raises(StateConflict, match="being deleted"):
        on_hold(old)


def note_of_expiry(site: Site, *uids: str) -> None:
    named = tuple(RejectedInstance("1.2.3", "1.2.3.1", uid) for uid in uids)
    site.image("1.7", sop_class_uid=KEY_OBJECTS, series_instance_uid="1.7.0", modality="KO",
               rejection=RejectionNote(Hidden.RETENTION, named))  # fmt: skip


@pytest.mark.parametrize(("say", "left"), [("hide", {"1.5-", "1.6-", "1.7-"}), ("delete", {"1.6-", "1.7-"})])
def test_what_a_note_says_is_past_its_retention_goes_where_the_site_says_so(
    site: Callable[..., Site], say: str, left: set[str]
) -> None:
    peers = Dicom(peer=(DicomPeer(ae_title="CT1", may=frozenset({"store", "reject"})),))
    noted = site(dicom=peers, retention={"expired_notes": say})
    noted.scanned("1.5", "1.6")
    note_of_expiry(noted, "1.5")
    noted.run()
    assert noted.files() == noted.rows() == left


def test_what_was_deleted_for_its_note_and_is_imported_again_is_shown_and_stays_so(site: Callable[..., Site]) -> None:
    peers = Dicom(peer=(DicomPeer(ae_title="CT1", may=frozenset({"store", "reject"})),))
    noted = site(dicom=peers, retention={"expired_notes": "delete"})
    noted.scanned("1.5", "1.6")
    note_of_expiry(noted, "1.5")
    noted.run()
    noted.image("1.5")
    noted.house.clock.advance(DAY)
    noted.run()
    assert "1.5-" in noted.files()
    assert [(row.sop_instance_uid, row.hidden) for row in noted.house.rows("instance")][-1] == ("1.5", "")
    assert noted.house.read(lambda c: rejection.standing(c, "1.5")) == []


@KEEPERS
def test_what_a_note_says_is_past_its_retention_stays_while_somebody_needs_it(
    site: Callable[..., Site], keep: Callable[[Site], None], why: Kept
) -> None:
    peers = Dicom(peer=(DicomPeer(ae_title="CT1", may=frozenset({"store", "reject"})),))
    noted = site(dicom=peers, retention={"expired_notes": "delete"})
    noted.scanned("1.5")
    keep(noted)
    note_of_expiry(noted, "1.5")
    noted.run()
    assert "1.5-" in noted.files()


@hypothesis_settings(max_examples=25, deadline=None)
@given(images=st.integers(1, 5), asides=st.integers(0, 2), piece=st.integers(1, 3), stop=st.integers(0, 12))
def test_wherever_it_is_stopped_no_row_is_without_its_file_and_the_next_start_goes_on(
    images: int, asides: int, piece: int, stop: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(retiring, "PIECE", piece)
        site = Site(Path(folder), COMPLETE)
        with closing(site.house.database):
            site.scanned(*(f"1.5.{n}" for n in range(images)))
            for n in range(asides):
                site.image("1.5.0", f"other {n}")
            site.house.database.write(
                lambda c: review.close_review(c, ("instance-differs",), "instance:1", site.house.clock.now(), "x", "")
            )
            doomed = Retiring(site.house.context, stopping(site.remove, stop))
            try:
                while doomed.retire_due():
                    pass
            except KeyboardInterrupt:
                assert site.rows() <= site.files()
            site.run()
            assert site.rows() == set()
            assert len(site.files()) <= piece * (1 + asides)  # of the piece it was stopped in: swept at the next start


def stopping(remove: Callable[[str], None], after: int) -> Callable[[str], None]:
    """The power fails when the next file would go."""
    left = [after]

    def act(name: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        remove(name)

    return act


# -- what else ages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("settled", "left"), [(True, {"1.5-"}), (False, {"1.5-", "1.5-other"})])
def test_a_copy_aside_goes_once_nobody_waits_for_it(site: Callable[..., Site], settled: bool, left: set[str]) -> None:
    aged = site(retention={"aside_days": 30})
    aged.image("1.5")
    aged.image("1.5", "other")
    if settled:
        aged.house.database.write(
            lambda c: review.close_review(c, ("instance-differs",), "instance:1", aged.house.clock.now(), "x", "")
        )
    aged.house.clock.advance(31 * DAY)
    aged.run()
    assert aged.files() == aged.rows() == left


def test_a_copy_aside_of_a_held_study_stays(site: Callable[..., Site]) -> None:
    aged = site(retention={"aside_days": 30})
    aged.image("1.5")
    aged.image("1.5", "other")
    aged.house.database.write(
        lambda c: review.close_review(c, ("instance-differs",), "instance:1", aged.house.clock.now(), "x", "")
    )
    on_hold(aged)
    aged.house.clock.advance(31 * DAY)
    aged.run()
    assert len(aged.files()) == 2


def test_the_trail_ages_by_its_own_rule(site: Callable[..., Site]) -> None:
    aged = site(retention={"audit_days": 365})
    aged.scanned("1.5", days=366)
    kept = site(retention={})
    assert kept.house.audited("study-received") == 1
    aged.house.database.write(
        lambda c: audit.write_audit(c, at=aged.house.clock.now(), who="x", action="young", subject="-")
    )
    aged.run()
    assert (aged.house.audited("study-received"), aged.house.audited("young"), aged.house.audited("audit-purge")) == (
        0, 1, 1,
    )  # fmt: skip


def test_less_than_a_year_of_the_trail_is_a_fault_of_the_settings() -> None:
    with pytest.raises(ValueError, match="365"):
        Retention(audit_days=30)
