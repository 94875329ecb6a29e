"""The wire and the answers of a feed: faults F01 to F10, F16 to F20, F23 to F25, F32 and F33, on a real store.

Counts are reduced where only time would be spent; each test says the fault's own figure.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import struct
import threading
import time
from itertools import product
from pathlib import Path

import pytest

from bridge.hl7.ack import AckCode, read_ack
from bridge.hl7.message import Message
from bridge.hl7.mllp import write_frame
from tests.faults.feed_site import at_once, codes, error, feed_site, orm


def rest(holds: object, seconds: float = 10) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:  # type: ignore[operator]
        time.sleep(0.01)
    assert holds()  # type: ignore[operator]


def test_F01_ten_messages_in_one_packet_are_ten_orders_answered_in_order(tmp_path: Path) -> None:
    with feed_site(tmp_path) as site:
        sender = site.connect()
        sender.put(b"".join(write_frame(orm(f"C{n}", placer=f"P{n}")) for n in range(10)))
        assert [read_ack(ack).control_id for ack in sender.frames(10)] == [f"C{n}" for n in range(10)]
        assert site.orders() == 10


def test_F02_one_byte_a_packet_is_one_message(tmp_path: Path) -> None:
    with feed_site(tmp_path) as site:
        sender = site.connect()
        raw = orm(name="X" * 4000)
        for byte in write_frame(raw):
            sender.put(bytes((byte,)))
        assert codes(sender.frames(1)) == ["AA"]
        assert site.orders() == 1


@pytest.mark.parametrize(("lenient", "orders"), [(False, 0), (True, 1)])
def test_F03_an_end_without_carriage_return(tmp_path: Path, lenient: bool, orders: int) -> None:
    with feed_site(tmp_path, lenient_framing=lenient) as site:
        sender = site.connect()
        sender.put(write_frame(orm())[:-1] + b"\x00")
        assert len(sender.frames(1)) == orders
        assert site.orders() == orders


def test_F04_noise_between_frames_is_skipped_and_counted(tmp_path: Path) -> None:
    with feed_site(tmp_path) as site:
        sender = site.connect()
        for n in range(100):
            sender.put(b"\x00\x00\r\nnoise" + write_frame(orm(f"C{n}")))
            assert codes(sender.frames(1)) == ["AA"]
        assert site.counts["noise"] == 900


def test_F05_a_message_begun_anew_is_answered_and_its_first_part_quarantined(tmp_path: Path) -> None:
    with feed_site(tmp_path) as site:
        sender = site.connect()
        sender.put(b"\x0b" + orm("half")[:200] + write_frame(orm("whole")))
        (ack,) = sender.frames(1)
        assert read_ack(ack).control_id == "whole"
        assert sorted(site.fates()) == ["applied", "quarantined"]


@pytest.mark.parametrize("end", ["EOF", "RST"])
def test_F06_an_end_in_mid_message_accepts_nothing(tmp_path: Path, end: str) -> None:
    with feed_site(tmp_path) as site:
        sender = site.connect()
        sender.put(write_frame(orm())[:-2])
        rest(lambda: site.counts["connections"] == 1)
        if end == "RST":
            sender.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sender.close()
        rest(lambda: site.counts["unfinished"] + site.counts["broken"] == 1)
        assert site.orders() == 0
        assert site.counts["messages"] == 0


def test_F07_a_message_over_the_limit_is_an_error_with_its_control_id_and_costs_little_memory(tmp_path: Path) -> None:
    with feed_site(tmp_path) as site:
        sender = site.connect()
        sender.put(b"\x0b" + orm("big"))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        chunk = b"x" * 1_048_576
        for _ in range(64):
            sender.put(chunk)
        sender.put(b"\x1c\r")
        (ack,) = sender.frames(1)
        assert error(Message.read(ack))[:2] == ("AE", "104")
        assert read_ack(ack).control_id == "big"
        assert sender.ended
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before <= 48 * 1024
        assert site.orders() == 0


def test_F08_slow_senders_are_closed_and_the_others_served(tmp_path: Path) -> None:
    with feed_site(tmp_path, message_seconds=1.5, max_connections_per_address=64) as site:
        slow = [site.connect("127.0.0.2") for _ in range(40)]
        stop = threading.Event()

        def drip() -> None:
            while not stop.wait(0.1):
                for one in slow:
                    with contextlib.suppress(OSError):
                        one.put(b"M")

        for one in slow:
            one.put(b"\x0b")
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            honest = site.connect()
            for n in range(20):
                assert codes(honest.say(orm(f"C{n}"))) == ["AA"]
            rest(lambda: site.counts["late"] == 40)
        finally:
            stop.set()
            thread.join()


def test_F09_connecting_and_closing_leaks_nothing(tmp_path: Path) -> None:
    with feed_site(tmp_path) as site:
        site.connect().say(orm())
        files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
        for _ in range(400):
            socket.create_connection(("127.0.0.1", site.receiver.listener.port), 10).close()
        rest(lambda: threading.active_count() <= threads + 5)
        assert len(os.listdir("/proc/self/fd")) <= files + 5


def test_F10_an_address_that_takes_all_connections_takes_no_place_of_others(tmp_path: Path) -> None:
    with feed_site(tmp_path, max_connections=12, max_connections_per_address=8) as site:
        for n in range(30):
            with contextlib.suppress(OSError):
                site.connect(f"127.0.0.{2 + n % 2}")
        rest(lambda: site.counts["connections"] + site.counts["refused"] >= 30)
        for n in range(20):
            honest = site.connect()
            assert codes(honest.say(orm(f"C{n}"))) == ["AA"]
            honest.close()
        assert site.counts["displaced"] >= 1


CONTROLS = [b"\x0b", b"\x0bx", b"\x00", b"\x7f", b"\r", b"\n", b"\r\n", b"\x1b", b"\x07", "é".encode()]


@pytest.mark.parametrize("bad", CONTROLS)
def test_F16_control_bytes_in_the_header_never_break_the_answer(tmp_path: Path, bad: bytes) -> None:
    with feed_site(tmp_path) as site:
        for place in (2, 3, 4, 5, 9):
            fields = orm().split(b"|")
            fields[place] += bad + b"x"
            sender = site.connect()
            sender.put(b"\x0b" + b"|".join(fields) + b"\x1c\r")
            (ack,) = sender.frames(1)
            assert Message.read(ack).get("MSA", 1) in {"AA", "AE", "AR"}
            assert not {0x0B, 0x1C, 0x00} & set(ack)


ODD_HEADERS = {
    "empty MSH-10": (orm(""), {("AE", "101")}),
    "MSH-10 of 600": (orm("C" * 600), {("AE", "104")}),
    "MSH-10 of 300 000": (orm("C" * 300_000), {("AE", "104")}),
    "MSH-10 of 200": (orm("C" * 200), {("AE", "104")}),
    "other delimiters": (orm().translate(bytes.maketrans(b"|^~\\&", b"#*!?@")), {("AA", "0")}),
    "letter as separator": (b"MSHA^~\\&ARISAHOSP", {("AE", "101")}),
    "digit as separator": (b"MSH1^~\\&1RIS1HOSP1", {("AE", "101")}),
    "MSH alone": (b"MSH", {("AR", "100")}),
    "MSH and a separator": (b"MSH|", {("AE", "101")}),
    "the same delimiter twice": (orm().replace(b"^~\\&", b"^^^^"), {("AR", "100")}),
    "separator among the others": (orm().replace(b"^~\\&", b"^~\\|"), {("AR", "100"), ("AE", "101"), ("AR", "202")}),
    "six encoding characters": (orm().replace(b"^~\\&", b"^~\\&#%"), {("AR", "100")}),
    "no encoding characters": (orm().replace(b"^~\\&", b""), {("AR", "100")}),
    "no MSH": (b"PID|1||1001", {("AR", "100")}),
    "nothing": (b"", {("AR", "100")}),
    "web request": (b"GET / HTTP/1.1\r\n\r\n", {("AR", "100")}),
    "two headers": (orm("C1") + orm("C2"), {("AE", "100")}),
    "header of high bytes": (b"MSH|^~\\&|\xff\xfe|\xff", {("AE", "101")}),
    "UTF-16": (orm().decode().encode("utf-16"), {("AR", "102"), ("AR", "100")}),
    "a thousand fields": (b"MSH|^~\\&" + b"|" * 1000, {("AE", "101")}),
}


@pytest.mark.parametrize("habit", ODD_HEADERS)
def test_F17_odd_headers_are_answered_and_harm_nobody(tmp_path: Path, habit: str) -> None:
    raw, expected = ODD_HEADERS[habit]
    with feed_site(tmp_path) as site:
        assert error(site.answer(raw))[:2] in expected
        assert site.say(orm("next")).code is AckCode.AA


UNSUPPORTED = {
    "type": ({"kind": "ZZZ^Z01"}, "200"),
    "event": ({"kind": "ORM^O99"}, "201"),
    "processing id": ({"processing": "T"}, "202"),
    "version": ({"version": "3.0"}, "203"),
}


@pytest.mark.parametrize("what", UNSUPPORTED)
@pytest.mark.parametrize(("policy", "mode", "answer"), [("AR", "", "AR"), ("AA", "", "AA"), ("AR", "AL", "CR")])
def test_F18_what_is_unsupported_is_answered_by_the_feeds_policy(
    tmp_path: Path, what: str, policy: str, mode: str, answer: str
) -> None:
    changes, code = UNSUPPORTED[what]
    with feed_site(tmp_path, unsupported=policy, processing_ids=("P",)) as site:
        ack = site.answer(orm(**{"version": "2.5.1", **changes}, accept=mode))
        assert error(ack) == (answer, code, "W" if policy == "AA" else "E")
        assert (site.fates(), site.orders()) == (["refused"], 0)


def test_F19_three_bad_messages_spoil_none_of_the_others(tmp_path: Path) -> None:
    """The fault's own figure is 1,000 messages."""
    messages = [orm(f"C{n}", placer=f"P{n}") for n in range(400)]
    messages[7] = orm("C7", patient="")
    messages[200] = orm("C200", kind="ZZZ^Z99")
    messages[399] = b"PID|without|a|header\r"
    head = b"FHS|^~\\&|RIS|HOSP\rBHS|^~\\&|RIS|HOSP|BRIDGE|IB|20261125||||B77\r"
    batch = head + b"".join(messages[:399]) + b"BTS|400\r" + messages[399] + b"FTS|1\r"
    with feed_site(tmp_path, ack_seconds=100) as site:
        (answer,) = site.connect().say(batch)
        assert site.orders() == 397
        assert sorted(set(site.fates())) == ["applied", "refused"]
        assert site.fates().count("refused") == 3
        lines = answer.decode().split("\r")
        assert sum(line.startswith("MSA|AA|") for line in lines) == 397
        assert [line.split("|")[1] for line in lines if line.startswith("MSA|A") and "|AA|" not in line] == [
            "AE", "AR", "AR",
        ]  # fmt: skip
        assert next(line for line in lines if line.startswith("BHS")).split("|")[11] == "B77"


VALUES = ["", "AL", "NE", "ER", "SU"]


@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
def test_F20_msh_15_and_16_choose_the_answers_and_a_resend_gets_them_again(tmp_path: Path, good: bool) -> None:
    sends = {"AL": True, "NE": False, "ER": not good, "SU": good, "": False}
    with feed_site(tmp_path) as site:
        sender = site.connect()
        for n, (accept, application) in enumerate(product(VALUES, VALUES)):
            raw = orm(f"C{n}", accept=accept, answer=application, patient="1001" if good else "")
            expected = [("CA" if good else "CE")] * sends[accept] + [("AA" if good else "AE")] * sends[application]
            if accept == application == "":
                expected = ["AA" if good else "AE"]
            first = sender.say(raw, len(expected))
            assert codes(first) == expected, (accept, application)
            assert sender.say(raw, len(expected)) == first
        rest(lambda: len(site.fates()) == 25)


def test_F23_the_same_message_a_hundred_times_has_one_effect_and_one_answer(tmp_path: Path) -> None:
    with feed_site(tmp_path) as site:
        sender = site.connect()
        assert len({sender.say(orm())[0] for _ in range(100)}) == 1
        assert len(site.fates()) == site.orders() == 1
        assert len(site.rows("order_history")) == 1


def test_F24_the_same_message_on_twenty_connections_at_once_has_one_effect(tmp_path: Path) -> None:
    with feed_site(tmp_path, max_connections_per_address=64) as site:
        senders = [site.connect() for _ in range(20)]
        for n in range(5):
            raw = orm(f"C{n}", placer=f"P{n}")
            answers: list[bytes] = []
            at_once([lambda one=one, raw=raw, answers=answers: answers.extend(one.say(raw)) for one in senders])
            assert (len(answers), len(set(answers))) == (20, 1)
        assert (site.orders(), len(site.fates())) == (5, 5)


def test_F25_the_same_control_id_with_other_content_is_a_new_message_with_a_warning(tmp_path: Path) -> None:
    with feed_site(tmp_path) as site:
        sender = site.connect()
        sender.say(orm("C1", placer="P1"))
        (ack,) = sender.say(orm("C1", placer="P2"))
        assert read_ack(ack).code is AckCode.AA
        assert b"the control id was used before" in ack
        assert site.orders() == 2


def test_F32_a_resend_after_a_restart_gets_the_stored_answer_and_has_no_effect(tmp_path: Path) -> None:
    with feed_site(tmp_path) as site:
        (first,) = site.connect().say(orm())
    with feed_site(tmp_path) as site:
        assert site.connect().say(orm()) == [first]
        assert len(site.fates()) == site.orders() == 1


SEQUENCES = {
    "resynchronise": ([("-1", "-1")], 0),
    "start of a new link": ([("0", "-1")], 0),
    "the first number is taken": ([("7", "7")], 1),
    "start of a known link": ([("7", "7"), ("0", "8")], 1),
    "gap": ([("7", "7"), ("9", "8"), ("8", "8"), ("9", "9")], 3),
    "after resynchronising any number": ([("7", "7"), ("-1", "-1"), ("20", "20")], 2),
}


@pytest.mark.parametrize("what", SEQUENCES)
def test_F33_msa_4_answers_msh_13(tmp_path: Path, what: str) -> None:
    exchanges, orders = SEQUENCES[what]
    with feed_site(tmp_path, sequence_numbers=True) as site:
        for sent, expected in exchanges:
            assert site.answer(orm(f"C{sent}", placer=f"P{sent}", sequence=sent)).get("MSA", 4) == expected
        assert site.orders() == orders
