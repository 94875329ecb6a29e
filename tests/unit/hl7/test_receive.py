"""What a feed's settings do to its messages: hl7-acks section 3, and who may speak."""

from __future__ import annotations

import ssl
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from bridge import app
from bridge.clock import SystemClock
from bridge.config import Defaults, Feed, Hl7, Sender, Settings
from bridge.errors import ConfigurationError, RemoteUnavailable, StoreUnavailable
from bridge.hl7.ack import AckCode, read_ack
from bridge.hl7.client import MllpClient
from bridge.hl7.mllp import write_frame
from bridge.hl7.tls import server_context
from tests.faults.feed_site import FeedSite, codes, error, feed_site, orm

NOW = SystemClock().now()

# What a message is, what it is answered (original mode, enhanced mode, table 0357), and what became of it.
TABLE: dict[str, tuple[dict[str, Any], str, str, str, str]] = {
    "valid": ({}, "AA", "CA", "0", "applied"),
    "required field missing": ({"patient": ""}, "AE", "CE", "101", "refused"),
    "bad table value": ({"control": "QQ"}, "AE", "CE", "103", "refused"),
    "value too long": ({"control_id": "C" * 200}, "AE", "CE", "104", "refused"),
    "change of an unknown order": ({"control": "SC"}, "AA", "CA", "204", "applied"),
    "cancel of an unknown order": ({"control": "CA"}, "AA", "CA", "204", "applied"),
    "unsupported type": ({"kind": "ZZZ^Z01"}, "AR", "CR", "200", "refused"),
    "unsupported event": ({"kind": "ORM^O99"}, "AR", "CR", "201", "refused"),
    "unsupported processing id": ({"processing": "X"}, "AR", "CR", "202", "refused"),
    "unsupported version": ({"version": "3.0"}, "AR", "CR", "203", "refused"),
    "bytes that do not decode": ({"name": "MÜLLER", "charset": "ASCII"}, "AE", "CE", "102", "refused"),
}


@pytest.mark.parametrize("what", TABLE)
@pytest.mark.parametrize("enhanced", [False, True], ids=["original", "enhanced"])
def test_each_row_of_the_table_of_acknowledgements(tmp_path: Path, what: str, enhanced: bool) -> None:
    changes, original, accept, code, fate = TABLE[what]
    with feed_site(tmp_path) as site:
        ack = site.answer(orm(**{"version": "2.5.1", **changes}, accept="AL" if enhanced else ""))
        assert ack.get("MSA", 1) == (accept if enhanced else original)
        assert code in {one.get(3) for one in ack.segments("ERR")} | {"0"}
        assert ack.get("MSA", 2) == changes.get("control_id", "C1")
        assert site.fates() == [fate]


def test_a_known_warning_has_severity_w_and_names_no_value(tmp_path: Path) -> None:
    with feed_site(tmp_path) as site:
        ack = site.answer(orm(control="SC", version="2.5.1"))
        assert error(ack) == ("AA", "204", "W")


def test_a_feed_may_answer_ae_for_orders_that_it_never_saw_and_keeps_them_all_the_same(tmp_path: Path) -> None:
    with feed_site(tmp_path, unknown_order="AE") as site:
        assert error(site.answer(orm(control="SC", version="2.5.1"))) == ("AE", "204", "E")
        assert site.orders() == 1


def test_a_cancel_of_an_order_that_it_never_saw_is_never_answered_ae(tmp_path: Path) -> None:
    with feed_site(tmp_path, unknown_order="AE") as site:
        assert error(site.answer(orm(control="CA", version="2.5.1"))) == ("AA", "204", "W")


def test_a_refused_resend_gets_its_first_answer(tmp_path: Path) -> None:
    with feed_site(tmp_path) as site:
        sender = site.connect()
        assert sender.say(orm(patient="")) == sender.say(orm(patient=""))
        assert site.fates() == ["refused"]


def test_the_log_of_a_resend_names_the_code_that_was_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "bridge.hl7")
    with feed_site(tmp_path) as site:
        sender = site.connect()
        sender.say(orm())
        sender.say(orm())
    said = [(r.fields["outcome"], r.fields["code"]) for r in caplog.records if r.getMessage() == "message"]  # type: ignore[attr-defined]
    assert [code for _, code in said] == ["AA", "AA"]
    assert said[1][0] == "ignored"


@pytest.mark.parametrize(
    ("versions", "sent", "answer"),
    [
        (("2",), "2.9", "AA"), (("2.3",), "2.3.1", "AA"), (("2.3",), "2.4", "AR"), (("2.3",), "2.31", "AR"),
        (("2",), "2.5.1^USA", "AA"), (("2",), "", "AA"), (("2",), "3.0", "AR"),
    ],
)  # fmt: skip
def test_versions_are_taken_from_the_left(tmp_path: Path, versions: tuple[str, ...], sent: str, answer: str) -> None:
    with feed_site(tmp_path, versions=versions) as site:
        assert site.say(orm(version=sent)).code == answer


def test_bytes_without_a_header_are_closed_upon_where_the_feed_says_so(tmp_path: Path) -> None:
    with feed_site(tmp_path, no_header="close") as site:
        sender = site.connect()
        sender.put(write_frame(b"PID|1"))
        assert sender.ended
        assert site.fates() == ["refused"]


@pytest.mark.parametrize(("policy", "expected"), [("drop", []), ("nak", ["AR"])])
def test_when_the_store_fails_there_is_silence_or_ar_207(
    tmp_path: Path, policy: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with feed_site(tmp_path, on_store_failure=policy) as site:

        def fail(change: object) -> None:
            raise StoreUnavailable("full")

        monkeypatch.setattr(site.database, "write", fail)
        acks = site.connect().say(orm(version="2.5.1"))
        assert codes(acks) == expected
        assert all(b"207" in ack for ack in acks)


def test_an_error_of_ours_is_answered_and_kept_so_that_the_queue_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trip(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("bridge.workflow.ordering.take_order", trip)
    with feed_site(tmp_path) as site:
        assert error(site.answer(orm(version="2.5.1"))) == ("AE", "207", "E")
        assert site.fates() == ["refused"]


def test_a_whole_message_is_no_resend_of_its_own_broken_frame(tmp_path: Path) -> None:
    with feed_site(tmp_path) as site:
        sender = site.connect()
        sender.put(write_frame(orm())[:-1] + b"\x00")
        assert sender.ended
        assert site.say(orm()).code is AckCode.AA
        assert site.orders() == 1


def test_the_same_broken_frame_is_kept_once(tmp_path: Path) -> None:
    with feed_site(tmp_path) as site:
        for _ in range(3):
            sender = site.connect()
            sender.put(write_frame(orm())[:-1] + b"\x00")
            assert sender.ended
        assert site.fates() == ["quarantined"]


def test_an_empty_msh_16_may_mean_always(tmp_path: Path) -> None:
    with feed_site(tmp_path, empty_ack_mode="AL") as site:
        assert codes(site.connect().say(orm(accept="AL"), 2)) == ["CA", "AA"]


def test_a_faster_sender_waits_and_loses_nothing(tmp_path: Path) -> None:
    with feed_site(tmp_path, max_messages_per_second=2) as site:
        sender = site.connect()
        for n in range(4):
            assert codes(sender.say(orm(f"C{n}"))) == ["AA"]
        assert site.counts["paced"] >= 1


def test_an_answer_that_comes_too_late_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with feed_site(tmp_path, ack_seconds=0.1) as site:
        write = site.database.write

        def slow(change: Any) -> Any:
            time.sleep(0.3)
            return write(change)

        monkeypatch.setattr(site.database, "write", slow)
        sender = site.connect()
        sender.put(write_frame(orm()))
        assert sender.ended
        monkeypatch.undo()
        assert site.say(orm()).code is AckCode.AA
        assert site.orders() == 1


# Sequence numbers


def test_a_message_out_of_turn_is_not_kept_and_taken_when_its_turn_has_come(tmp_path: Path) -> None:
    with feed_site(tmp_path, sequence_numbers=True) as site:
        site.say(orm("C1", placer="P1", sequence="1"))
        early = orm("C3", placer="P3", sequence="3")
        assert site.say(early).code is AckCode.AR
        site.say(orm("C2", placer="P2", sequence="2"))
        assert site.say(early).code is AckCode.AA
        assert site.orders() == 3


def test_a_refused_message_has_had_its_turn(tmp_path: Path) -> None:
    with feed_site(tmp_path, sequence_numbers=True) as site:
        assert site.say(orm("C1", patient="", sequence="1")).code is AckCode.AE
        assert site.say(orm("C2", sequence="2")).code is AckCode.AA


def test_each_sender_is_counted_by_itself_also_after_a_restart(tmp_path: Path) -> None:
    with feed_site(tmp_path, sequence_numbers=True) as site:
        assert site.say(orm("C1", sequence="5")).code is AckCode.AA
        assert site.say(orm("C1", application="LAB", placer="P2", sequence="90")).code is AckCode.AA
    with feed_site(tmp_path, sequence_numbers=True) as site:
        assert site.answer(orm("C0", sequence="0")).get("MSA", 4) == "6"


def test_without_the_option_msh_13_is_nothing_to_us(tmp_path: Path) -> None:
    with feed_site(tmp_path) as site:
        assert [site.say(orm(f"C{n}", sequence=n)).code for n in ("5", "9", "nine")] == [AckCode.AA] * 3


def test_a_sequence_number_that_is_none_is_an_error_at_msh_13(tmp_path: Path) -> None:
    with feed_site(tmp_path, sequence_numbers=True) as site:
        ack = site.answer(orm(sequence="nine", version="2.5.1"))
        assert (ack.get("MSA", 1), ack.get("ERR", 2, 3)) == ("AE", "13")


# Batches


def batch(*messages: bytes, told: int | None = None) -> bytes:
    count = len(messages) if told is None else told
    return b"BHS|^~\\&|RIS|HOSP|BRIDGE|IB|20261125||||B7\r" + b"".join(messages) + b"BTS|%d\r" % count


def test_a_batch_is_answered_by_one_batch_that_names_it(tmp_path: Path) -> None:
    with feed_site(tmp_path) as site:
        (answer,) = site.connect().say(batch(orm("C1"), orm("C2", patient="")))
        lines = answer.decode().split("\r")
        assert [line.split("|")[0] for line in lines if line[:3] in ("BHS", "MSA", "BTS")] == [
            "BHS", "MSA", "MSA", "BTS",
        ]  # fmt: skip
        assert lines[0].split("|")[2:6] == ["BRIDGE", "IB", "RIS", "HOSP"]
        assert lines[0].split("|")[11] == "B7"
        assert "BTS|2" in lines
        assert site.fates() == ["applied", "refused"]


@pytest.mark.parametrize(("mode", "expected"), [("each", ["AA", "AE"]), ("none", [])])
def test_a_batch_may_be_answered_message_by_message_or_not_at_all(
    tmp_path: Path, mode: str, expected: list[str]
) -> None:
    with feed_site(tmp_path, batch_answer=mode) as site:
        sender = site.connect()
        assert codes(sender.say(batch(orm("C1"), orm("C2", patient="")), len(expected))) == expected
        assert codes(sender.say(orm("C3"))) == ["AA"]
        assert len(site.fates()) == 3


def test_a_batch_may_be_answered_by_its_errors_alone(tmp_path: Path) -> None:
    with feed_site(tmp_path, batch_answer="errors") as site:
        (answer,) = site.connect().say(batch(orm("C1"), orm("C2", patient="")))
        assert (answer.count(b"MSA|AE|C2"), answer.count(b"MSA|AA")) == (1, 0)
        assert b"BTS|1" in answer


def test_a_batch_that_comes_again_has_no_second_effect(tmp_path: Path) -> None:
    with feed_site(tmp_path) as site:
        sender = site.connect()
        first, second = sender.say(batch(orm("C1"), orm("C2"))), sender.say(batch(orm("C1"), orm("C2")))
        assert [line for line in first[0].split(b"\r") if line[:1] not in (b"B",)] == [
            line for line in second[0].split(b"\r") if line[:1] not in (b"B",)
        ]
        assert len(site.fates()) == 2


def test_messages_before_and_after_a_batch_of_a_file_are_taken_too(tmp_path: Path) -> None:
    raw = b"FHS|^~\\&|RIS|HOSP\r" + orm("C1") + batch(orm("C2")) + orm("C3") + b"FTS|1\r"
    with feed_site(tmp_path) as site:
        (answer,) = site.connect().say(raw)
        assert [f"MSA|AA|C{n}" in answer.decode() for n in (1, 2, 3)] == [True] * 3
        assert answer.startswith(b"FHS|") and answer.rstrip(b"\r").split(b"\r")[-1].startswith(b"FTS|")


def test_an_empty_batch_is_answered_by_an_empty_one(tmp_path: Path) -> None:
    with feed_site(tmp_path) as site:
        (answer,) = site.connect().say(batch())
        assert answer.endswith(b"BTS|0\r")


# Who may speak


def test_a_message_of_another_application_is_refused_and_kept(tmp_path: Path) -> None:
    rows = (Sender(sending_application="RIS", sending_facility="HOSP"),)
    with feed_site(tmp_path, sender=rows) as site:
        assert site.say(orm()).code is AckCode.AA
        assert site.say(orm("C2", application="RIS^1.2.3^ISO")).code is AckCode.AA
        assert error(site.answer(orm("C3", application="LAB", version="2.5.1"))) == ("AR", "207", "E")
        assert site.fates() == ["applied", "applied", "refused"]


def test_a_sender_is_bound_to_its_address(tmp_path: Path) -> None:
    rows = (Sender(sending_application="RIS", addresses=("127.0.0.2/32",)),)
    with feed_site(tmp_path, sender=rows) as site:
        assert codes(site.connect("127.0.0.2").say(orm())) == ["AA"]
        assert codes(site.connect("127.0.0.3").say(orm("C2"))) == ["AR"]


def test_an_address_that_is_not_allowed_is_not_served(tmp_path: Path) -> None:
    with feed_site(tmp_path, allow_from=("127.0.0.2",)) as site:
        assert codes(site.connect("127.0.0.2").say(orm())) == ["AA"]
        assert site.connect().ended


class Authority:
    """A certificate authority and what it gives out, as PEM files."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._make(name, self._key, ca=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def _make(self, name: str, key: ec.EllipticCurvePrivateKey, *, ca: bool, days: int = 1) -> x509.Certificate:
        names = [x509.NameAttribute(x509.NameOID.COMMON_NAME, one) for one in (name, self._name)]
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name(names[:1]))
            .issuer_name(x509.Name(names[1:]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=10))
            .not_valid_after(NOW + timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def give(self, name: str, days: int = 1) -> Path:
        """Certificate and key in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._make(name, key, ca=False, days=days)
        path = self._folder / f"{self._name}-{name}.pem"
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        path.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, *form) + made.public_bytes(serialization.Encoding.PEM)
        )
        return path

    def revoke(self, certificate: Path) -> Path:
        serial = x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW).build()
        made = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(NOW - timedelta(days=1))
            .next_update(NOW + timedelta(days=1))
            .add_revoked_certificate(revoked)
            .sign(self._key, hashes.SHA256())
        )
        path = self._folder / f"{self._name}.crl"
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        return path


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "hospital")


@pytest.fixture(scope="module")
def bridge_certificate(hospital: Authority) -> Path:
    return hospital.give("bridge")


def client(site: FeedSite, authority: Authority, certificate: Path | None, **options: Any) -> MllpClient:
    context = ssl.create_default_context(cafile=str(authority.file))
    if certificate:
        context.load_cert_chain(certificate)
    for name, value in options.items():
        setattr(context, name, value)
    return MllpClient("localhost", site.receiver.listener.port, 10, tls=context)


def test_a_certificate_speaks_for_its_own_application_only(
    tmp_path: Path, hospital: Authority, bridge_certificate: Path
) -> None:
    rows = (
        Sender(certificate="ris", sending_application="RIS"),
        Sender(certificate="lab", sending_application="LAB"),
    )
    tls = {"tls_certificate_file": bridge_certificate, "tls_client_ca_file": hospital.file}
    with feed_site(tmp_path, sender=rows, **tls) as site:
        with client(site, hospital, hospital.give("ris")) as ris:
            assert read_ack(ris.send(orm())).code is AckCode.AA
        with client(site, hospital, hospital.give("lab")) as lab:
            assert read_ack(lab.send(orm("C2"))).code is AckCode.AR
            assert read_ack(lab.send(orm("C3", application="LAB"))).code is AckCode.AA


@pytest.mark.parametrize("fault", ["missing", "expired", "revoked", "another authority"])
def test_a_client_certificate_that_is_no_good_is_turned_away(
    tmp_path: Path, hospital: Authority, bridge_certificate: Path, fault: str
) -> None:
    own = hospital.give("ris", days=-1 if fault == "expired" else 1)
    shown = {"missing": None, "another authority": Authority(tmp_path, "stranger").give("ris")}.get(fault, own)
    tls = {
        "tls_certificate_file": bridge_certificate,
        "tls_client_ca_file": hospital.file,
        "tls_client_crl_file": hospital.revoke(own if fault == "revoked" else bridge_certificate),
    }
    with feed_site(tmp_path, **tls) as site:
        with client(site, hospital, shown) as sender, pytest.raises(RemoteUnavailable):
            sender.send(orm())
        assert site.fates() == []


def test_a_client_certificate_may_be_left_to_the_sender(
    tmp_path: Path, hospital: Authority, bridge_certificate: Path
) -> None:
    tls = {
        "tls_certificate_file": bridge_certificate, "tls_client_ca_file": hospital.file, "tls_client_required": False,
    }  # fmt: skip
    with feed_site(tmp_path, **tls) as site, client(site, hospital, None) as sender:
        assert read_ack(sender.send(orm())).code is AckCode.AA


def test_tls_below_1_2_and_suites_without_aead_are_refused(
    tmp_path: Path, hospital: Authority, bridge_certificate: Path
) -> None:
    with feed_site(tmp_path, tls_certificate_file=bridge_certificate) as site:
        for options in (
            {"minimum_version": ssl.TLSVersion.TLSv1, "maximum_version": ssl.TLSVersion.TLSv1_1},
            {"maximum_version": ssl.TLSVersion.TLSv1_2, "ciphers": "ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0"},
        ):
            suites = options.pop("ciphers", "")
            sender = client(site, hospital, None, **options)
            if suites:
                sender._tls.set_ciphers(suites)  # type: ignore[union-attr]
            with sender, pytest.raises(RemoteUnavailable):
                sender.send(orm())


def test_a_certificate_file_that_cannot_be_used_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    with pytest.raises(ConfigurationError, match="tls_certificate_file"):
        server_context(Feed(name="ris", tls_certificate_file=bad))


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "0.0.0.0"},
        {"tls_client_ca_file": "ca.pem"},
        {"sender": [{"certificate": "ris"}]},
        {"allow_from": ["10.0.0"]},
        {"sender": [{"addresses": ["hospital"]}]},
    ],
    ids=["plain text off loopback", "authority without TLS", "sender by certificate without TLS", "half", "name"],
)  # fmt: skip
def test_settings_of_a_feed_that_cannot_be_meant_are_faults(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Feed(name="ris", **settings)


# Mappings


def test_feeds_with_the_same_overlay_and_defaults_share_their_mappings() -> None:
    lab = Feed(name="lab", port=2, defaults=Defaults(patient_issuer="LAB"))
    settings = Settings(hl7=Hl7(feed=(Feed(name="ris"), Feed(name="ris2", port=1), lab)), issuer=({"name": "LAB"},))  # type: ignore[arg-type]
    found = app.feed_mappings(settings)
    assert found["ris"] is found["ris2"]
    assert found["lab"] is not found["ris"]


def test_a_feeds_own_default_issuer_is_meant_by_its_messages(tmp_path: Path) -> None:
    with feed_site(tmp_path, defaults=Defaults(patient_issuer="RIS")) as site:
        site.say(orm().replace(b"1001^^^HOSP", b"1001"))
        assert [(row.value, row.issuer) for row in site.rows("patient_identifier")] == [("1001", "RIS")]
