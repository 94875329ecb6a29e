"""`bridge verify` finds what is planted, and nothing in a store that is sound."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from bridge.dicom.files import Archive
from bridge.domain.commitment import CommitmentRequest, Reference
from bridge.domain.ledger import Entry
from bridge.store import commitment, outbound
from bridge.workflow.verifying import Finding
from tests.unit.dicom.support import image, part10
from tests.unit.workflow.house import image_header, order
from tests.unit.workflow.kept import Kept


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


# -- rows and files -------------------------------------------------------------------------------------------------


def test_a_sound_store_has_nothing_to_tell(kept: Kept) -> None:
    kept.house.order(order())
    kept.keep()
    verdict = kept.verify(deep=True)
    assert (verdict.findings, verdict.rows, verdict.files) == ([], 1, 1)


def test_an_image_whose_file_is_gone(kept: Kept) -> None:
    _, file = kept.keep()
    kept.archive.path(file.name).unlink()
    assert kept.found() == [("row-without-file", "instance:1")]


def test_a_copy_kept_aside_whose_file_is_gone(kept: Kept) -> None:
    uid, _ = kept.keep()
    other = kept.archive.commit(part10(kept.archive.temporary(), image(uid, PixelData=bytes(32))))
    with pytest.raises(Exception, match="other bytes"):
        kept.house.acquiring.take_instance(image_header(sop_instance_uid=uid), other, "CT1")
    kept.archive.path(other.name).unlink()
    assert kept.found() == [("row-without-file", "aside:1")]


def test_a_file_that_was_cut_short(kept: Kept) -> None:
    _, file = kept.keep()
    os.truncate(kept.archive.path(file.name), file.size - 1)
    assert kept.found() == [("wrong-size", "instance:1")]


def test_a_flipped_bit_is_found_by_reading_and_by_nothing_less(kept: Kept) -> None:
    _, file = kept.keep()
    path = kept.archive.path(file.name)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert (kept.found(), kept.found(deep=True)) == ([], [("wrong-bytes", "instance:1")])


def test_a_name_that_no_archive_would_give_is_not_followed(kept: Kept) -> None:
    kept.keep()
    kept.run("UPDATE instance SET file = '../bridge.db'")
    assert ("row-without-file", "instance:1") in kept.found()


def test_a_file_without_a_row_counts_once_it_is_old_enough_not_to_be_in_hand(kept: Kept) -> None:
    file = kept.archive.commit(part10(kept.archive.temporary(), image()))
    young = kept.verify()
    then = kept.house.clock.now().timestamp() - 3600
    os.utime(kept.archive.path(file.name), (then, then))
    assert (young.findings, young.in_hand, kept.found()) == ([], 1, [("file-without-row", file.name)])


def test_an_image_that_is_deleted_while_we_look_is_no_fault(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    _, file = kept.keep()
    row_goes = kept.archive.path(file.name).unlink

    def path(name: str) -> Path:
        row_goes(missing_ok=True)
        kept.run("DELETE FROM instance")
        return Archive.path(kept.archive, name)

    monkeypatch.setattr(kept.archive, "path", path)
    assert kept.found() == []


# -- the database itself --------------------------------------------------------------------------------------------


def test_a_page_that_was_written_over(kept: Kept) -> None:
    for number in range(40):
        kept.house.order(order(placer=f"P{number}", accession=f"A{number}", uid=f"1.2.3.{number}"))
    kept.house.database.checkpoint()
    with kept.house.database.path.open("r+b") as file:
        file.seek(kept.house.database.path.stat().st_size - 4096)
        file.write(b"\xff" * 4096)
    assert {kind for kind, _ in kept.found()} == {"integrity"}


def test_a_row_that_refers_to_nothing(kept: Kept) -> None:
    kept.keep()
    kept.run("DELETE FROM series")
    assert kept.verify().findings == [Finding("integrity", "database", "instance 1 refers to no series")]


# -- what hangs -----------------------------------------------------------------------------------------------------


def published(kept: Kept) -> None:
    kept.house.order(order())
    kept.keep()
    kept.house.complete()
    assert len(kept.house.rows("publication")) == 1


def later(kept: Kept, minutes: float = 30) -> None:
    """The roles live on, and take up nothing."""
    kept.house.clock.advance(minutes * 60)
    for role in ("worker", "hl7"):
        kept.beat(role)


def test_a_publication_that_nobody_takes_up(kept: Kept) -> None:
    published(kept)
    assert kept.found() == []
    later(kept)
    assert kept.found() == [("stuck", "publication:1")]


def test_nothing_is_stuck_because_the_bridge_does_not_run(kept: Kept) -> None:
    published(kept)
    kept.house.clock.advance(86400)
    assert kept.found() == []


def test_a_claim_whose_lease_ended_long_ago(kept: Kept) -> None:
    published(kept)
    kept.run("UPDATE publication SET state = 'claimed', lease_owner = 'x', lease_until = next_attempt_at")
    later(kept)
    assert kept.found() == [("stuck", "publication:1")]


def test_a_publication_that_counts_as_done_with_an_older_version(kept: Kept) -> None:
    published(kept)
    kept.run("UPDATE publication SET state = 'done', published_version = version - 1")
    assert kept.found() == [("stuck", "publication:1")]


def test_a_matched_study_that_its_ehr_will_never_be_told(kept: Kept) -> None:
    published(kept)
    kept.house.order(order(placer="P2", accession="A2", uid="1.2.4"))
    kept.house.clock.advance(5)
    kept.keep(study_instance_uid="1.2.4", series_instance_uid="1.2.4.1", accession_number="A2")
    kept.house.complete()
    kept.run("DELETE FROM publication WHERE study_id = 2")
    assert kept.found() == [("stuck", "study:2")]


def test_publications_for_an_ehr_that_was_taken_out_of_the_settings(kept: Kept) -> None:
    published(kept)
    kept.run("UPDATE publication SET connection = 'gone'")
    assert ("stuck", "ehr:gone") in kept.found()


def asked(kept: Kept, transaction: str = "1.2.8") -> None:
    now, due = kept.house.clock.now(), kept.house.clock.steady()
    request = CommitmentRequest(transaction, (Reference("1.2", "1.2.3"),))
    kept.house.database.write(lambda c: commitment.add_commitment(c, request, "CT1", now, due))


def test_a_commitment_that_nobody_checks(kept: Kept) -> None:
    asked(kept)
    assert kept.found() == []
    later(kept)
    assert kept.found() == [("stuck", "commitment:1")]


@pytest.mark.parametrize(
    ("minutes", "stuck"), [(40, []), (-40, [("stuck", "commitment:1"), ("stuck", "commitment:2")])]
)
def test_reports_to_a_device_that_is_away_wait_behind_the_one_that_is_tried_again(
    kept: Kept, minutes: float, stuck: list[tuple[str, str]]
) -> None:
    asked(kept)
    asked(kept, "1.2.9")
    kept.run("UPDATE commitment SET state = 'due'")
    later(kept)
    again = kept.house.clock.steady() + timedelta(minutes=minutes)
    kept.run(f"UPDATE commitment SET attempts = 1, next_attempt_at = '{again:%Y-%m-%d %H:%M:%S.%f}' WHERE id = 1")
    assert kept.found() == stuck


def test_a_study_that_stays_open(kept: Kept) -> None:
    kept.keep()
    later(kept)
    assert kept.found() == [("stuck", "study:1")]


def test_a_message_of_ours_that_does_not_leave(kept: Kept) -> None:
    now = kept.house.clock.now()
    kept.house.database.write(lambda c: outbound.add_outbound(c, "ris", "X1", b"{}", "order:1", "started", now, now))
    assert kept.found() == []
    later(kept)
    assert kept.found() == [("stuck", "outbound:1")]


def test_messages_for_a_destination_that_was_taken_out_of_the_settings(kept: Kept) -> None:
    now = kept.house.clock.now()
    kept.house.database.write(lambda c: outbound.add_outbound(c, "gone", "X1", b"{}", "order:1", "started", now, now))
    assert kept.found() == [("stuck", "destination:gone")]


# -- the ledger -----------------------------------------------------------------------------------------------------


def test_an_acknowledged_message_that_is_here_with_its_order(kept: Kept) -> None:
    kept.house.order(order())
    assert kept.found(Entry("hl7", "M1", "AA", order="P1")) == []


@pytest.mark.parametrize(
    "entry", [Entry("hl7", "M2", "AA"), Entry("hl7", "M1", "CA"), Entry("hl7", "M1", "AA", order="P2")],
    ids=["no message", "another answer", "no order"],
)  # fmt: skip
def test_an_acknowledged_message_that_is_not_here(kept: Kept, entry: Entry) -> None:
    kept.house.order(order())
    assert kept.found(entry) == [("acked-lost", f"hl7 {entry.id}")]


def test_a_message_that_was_refused_is_owed_nothing(kept: Kept) -> None:
    assert kept.found(Entry("hl7", "M1", "AE"), Entry("hl7", "M2")) == []


def test_a_message_that_was_taken_twice(kept: Kept) -> None:
    kept.house.order(order())
    kept.run(
        "INSERT INTO message SELECT 99, feed, received_at, peer, sending_application, sending_facility, control_id, "
        "message_type, 'other', raw, fate, reasons, replays, ack_code, ack FROM message"
    )
    assert kept.found(Entry("hl7", "M1", "AA")) == [("double-effect", "hl7 M1")]


def test_a_message_that_acted_twice_on_its_order(kept: Kept) -> None:
    kept.house.order(order())
    kept.run(
        "INSERT INTO order_event SELECT 99, order_id, message_id, happened_at, sent_at, control, status, control_id, "
        "request FROM order_event"
    )
    assert kept.found(Entry("hl7", "M1", "AA", order="P1")) == [("double-effect", "hl7 M1")]


def test_acknowledged_images(kept: Kept) -> None:
    uid, file = kept.keep()
    gone, lost = kept.keep()
    kept.archive.path(lost.name).unlink()
    assert kept.found(
        Entry("store", uid, "0000"),
        Entry("store", uid, "0000", sha256=file.sha256),
        Entry("store", uid, "0000", sha256="other"),
        Entry("store", gone, "0000"),
        Entry("store", "1.2.3.99", "0000"),
        Entry("store", "1.2.3.98", "A700"),
    ) == [
        ("row-without-file", "instance:2"),
        ("acked-lost", f"store {uid}"),
        ("acked-lost", f"store {gone}"),
        ("acked-lost", "store 1.2.3.99"),
    ]


def test_acknowledged_performed_steps(kept: Kept) -> None:
    kept.house.mpps("1.2.7.1")
    kept.house.mpps("1.2.7.2")
    kept.house.mpps_end("1.2.7.2")
    assert kept.found(
        Entry("n-create", "1.2.7.1", "0000"),
        Entry("n-create", "1.2.7.3", "0000"),
        Entry("n-create", "1.2.7.4", "0110"),
        Entry("n-set", "1.2.7.2", "0000", status="COMPLETED"),
        Entry("n-set", "1.2.7.2", "0000", status="IN PROGRESS"),
        Entry("n-set", "1.2.7.1", "0000", status="COMPLETED"),
    ) == [("acked-lost", "n-create 1.2.7.3"), ("acked-lost", "n-set 1.2.7.1")]


def test_acknowledged_requests_for_commitment(kept: Kept) -> None:
    asked(kept)
    given = [Entry("commit", "1.2.8", "0000"), Entry("commit", "1.2.9", "0000"), Entry("commit", "1.2.10", "0131")]
    assert kept.found(*given) == [("acked-lost", "commit 1.2.9")]


def test_what_the_ehr_holds(kept: Kept) -> None:
    published(kept)
    kept.run("UPDATE publication SET state = 'done', published_version = version, remote_id = 'a'")
    assert kept.found(Entry("publish", "1.2.3", "200", resources=("a",))) == []
    assert kept.found(Entry("publish", "1.2.3", "200", resources=("a", "b"))) == [("double-effect", "publish 1.2.3")]
    assert kept.found(Entry("publish", "1.2.3", "200", resources=("b",))) == [("acked-lost", "publish 1.2.3")]
    assert kept.found(Entry("publish", "1.2.5", "200", resources=("c",))) == [("acked-lost", "publish 1.2.5")]


def test_the_line_that_the_gate_reads(kept: Kept) -> None:
    uid, file = kept.keep()
    kept.archive.path(file.name).unlink()
    told = kept.verify(Entry("store", uid, "0000")).as_json()
    assert list(told)[:4] == ["acked_lost", "double_effect", "orphans", "stuck"]
    assert [told[name] for name in list(told)[:4]] == [1, 0, 1, 0]
