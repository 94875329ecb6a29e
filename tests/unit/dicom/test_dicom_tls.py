"""DICOM over TLS (BCP 195): who gets in, by which certificate, and whom a silent client holds up."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError
from pynetdicom import AE

from bridge.config import Dicom, DicomPeer
from bridge.dicom.ae import DicomServer, tls_context
from bridge.errors import ConfigurationError
from tests.fakes.certificates import Authority, authority
from tests.unit.dicom.support import FakeServices, image, serving

VERIFICATION, CT = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.1.2"
Serve = Callable[..., Iterator[DicomServer]]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


@contextmanager
def secured(tmp_path: Path, ca: Authority, services: FakeServices, **settings: object) -> Iterator[DicomServer]:
    given = {"transport": "own", "tls_certificate_file": ca.issue("bridge.hospital")} | settings
    with serving(tmp_path, services, **given) as server:
        yield server


def rejection(server: DicomServer, context: ssl.SSLContext, title: str = "CT1") -> tuple[int, ...] | None:
    """What an association is refused with; () when it is served, None when there is none."""
    scu = AE(ae_title=title)
    scu.add_requested_context(VERIFICATION)
    made = scu.associate("127.0.0.1", server.port, ae_title="BRIDGE", tls_args=(context, "127.0.0.1"))
    if made.is_established:
        assert made.send_c_echo().Status == 0x0000
        made.release()
        return ()
    answer = made.acceptor.primitive
    if not made.is_rejected or answer is None:
        return None
    return (answer.result, answer.result_source, answer.diagnostic)  # type: ignore[return-value]


def test_a_device_is_served_over_tls(tmp_path: Path, ca: Authority) -> None:
    services = FakeServices()
    with secured(tmp_path, ca, services) as server:
        scu = AE(ae_title="CT1")
        scu.add_requested_context(CT, "1.2.840.10008.1.2.1")
        made = scu.associate("127.0.0.1", server.port, ae_title="BRIDGE", tls_args=(ca.client(), "127.0.0.1"))
        assert made.send_c_store(image(PixelData=bytes(500_000))).Status == 0x0000
        made.release()
    assert "1.2.3.1.1.1" in services.acquiring.stored


def test_who_speaks_no_tls_is_not_spoken_to(tmp_path: Path, ca: Authority) -> None:
    with secured(tmp_path, ca, FakeServices()) as server:
        scu = AE(ae_title="CT1")
        scu.add_requested_context(VERIFICATION)
        assert not scu.associate("127.0.0.1", server.port, ae_title="BRIDGE").is_established


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(tmp_path: Path, ca: Authority, version: ssl.TLSVersion) -> None:
    context = ca.client()
    context.minimum_version = context.maximum_version = version
    with secured(tmp_path, ca, FakeServices()) as server:
        assert rejection(server, context) == ()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
@pytest.mark.parametrize("weak", ["1.1", "AES128-SHA256", "ECDHE-ECDSA-AES128-SHA256"])
def test_an_old_version_and_weak_ciphers_are_not(tmp_path: Path, ca: Authority, weak: str) -> None:
    context = ca.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_1 if weak == "1.1" else ssl.TLSVersion.TLSv1_2
    if weak == "1.1":
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0" if weak == "1.1" else weak)
    with secured(tmp_path, ca, FakeServices()) as server:
        assert rejection(server, context) is None


def test_without_a_certificate_of_the_hospital_nobody_gets_in_where_it_is_required(
    tmp_path: Path, ca: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = authority(tmp_path_factory.mktemp("stranger"))
    with secured(tmp_path, ca, FakeServices(), tls_client_ca_file=ca.file) as server:
        assert rejection(server, ca.client(ca.issue("ct1.hospital"))) == ()
        assert rejection(server, ca.client()) is None
        assert rejection(server, ca.client(stranger.issue("ct1.hospital"))) is None


def test_a_title_belongs_to_the_certificate_of_its_row(tmp_path: Path, ca: Authority) -> None:
    services = FakeServices()
    rows = (DicomPeer(ae_title="CT1", certificate="CT1.hospital"), DicomPeer(ae_title="MR1"))
    given = {"tls_client_ca_file": ca.file, "tls_client_required": False, "peer": rows}
    with secured(tmp_path, ca, services, **given) as server:
        assert rejection(server, ca.client(ca.issue("ct1.hospital"))) == ()
        assert rejection(server, ca.client(ca.issue("mr1.hospital"))) == (1, 1, 3)
        assert rejection(server, ca.client()) == (1, 1, 3)
        assert rejection(server, ca.client(), "MR1") == ()
    assert services.acquiring.refused == [("127.0.0.1", "CT1", "1/1/3")] * len(services.acquiring.refused)
    assert services.acquiring.refused


def test_F55_silent_clients_hold_up_nobody(tmp_path: Path, ca: Authority) -> None:
    with secured(tmp_path, ca, FakeServices()) as server:
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
        begin = time.monotonic()
        assert rejection(server, ca.client()) == ()
        assert time.monotonic() - begin < 1
        for one in silent:
            one.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"tls_key_file": "key.pem"},
        {"tls_certificate_file": "cert.pem", "transport": "pynetdicom"},
        {"tls_certificate_file": "cert.pem", "tls_client_crl_file": "crl.pem"},
        {"peer": [{"ae_title": "CT1", "certificate": "ct1"}]},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Dicom.model_validate({"transport": "own"} | settings)


def test_files_that_cannot_be_used_are_told_by_their_setting(tmp_path: Path, ca: Authority) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    with pytest.raises(ConfigurationError, match="tls_certificate_file"):
        tls_context(Dicom(transport="own", tls_certificate_file=bad))
    good = ca.issue("bridge.hospital")
    with pytest.raises(ConfigurationError, match="tls_client_ca_file"):
        tls_context(Dicom(transport="own", tls_certificate_file=good, tls_client_ca_file=bad))
