"""The pretend EHR: charts, a FHIR R4 server and a SMART authorisation server on one loopback port.

It stands for the hospital's own EHR in `make demo`, in tests and under load. It has no passwords and keeps everything
in memory; it listens on 127.0.0.1 and answers to the names localhost and 127.0.0.1 only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from cheroot.wsgi import Server as WsgiServer
from flask import Flask

from bridge.clock import Clock, SystemClock
from bridge.errors import NotAllowed
from bridge.sandbox.authorization import SmartServer, authorization_pages
from bridge.sandbox.authorization_state import DR_DEMO, Client, LaunchContext, State
from bridge.sandbox.chart import chart_pages
from bridge.sandbox.fhir_records import FhirRecords
from bridge.sandbox.fhir_server import FhirServer
from bridge.sandbox.proxy import fhir_proxy
from bridge.sandbox.ris import DemoOrder, DemoPatient

_READABLE = ("Patient", "ImagingStudy", "Endpoint", "ServiceRequest", "*")
DEFAULT_SCOPES = frozenset(("launch", "openid", "fhirUser", "profile")) | {
    f"patient/{name}.{verb}" for name in _READABLE for verb in ("r", "s", "rs", "read")
}
_THREADS = 16
_MAX_BODY = 32 * 1024 * 1024


class PretendEhr:
    """Start it, put patients in, launch.

    `bridge_launch_url`, `redirect_uris`, `client_jwks` and `make_link` may be set after `start`. `make_link` turns a
    Study Instance UID into the address of a signed link; without one the charts have no such button.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        bridge_launch_url: str = "",
        client_id: str = "imaging-bridge",
        redirect_uris: Iterable[str] = (),
        allow_scopes: Iterable[str] = DEFAULT_SCOPES,
        clock: Clock | None = None,
    ) -> None:
        self.bridge_launch_url = bridge_launch_url
        self.make_link: Callable[[str], str] | None = None
        self._port = port
        self._clock = clock or SystemClock()
        self._client = Client(client_id, list(redirect_uris), frozenset(allow_scopes))
        self._state = State(self._clock)
        self._web: WsgiServer | None = None
        self._thread: threading.Thread | None = None
        self._fhir: FhirServer | None = None
        self._records: FhirRecords | None = None
        self.introspection_secret = ""
        """HTTP Basic password (user: the client_id) for `/introspect`; made at start."""

    @property
    def redirect_uris(self) -> list[str]:
        """The exact redirect URIs of the registered app; the list may be changed in place or replaced."""
        return self._client.redirect_uris

    @redirect_uris.setter
    def redirect_uris(self, uris: Iterable[str]) -> None:
        self._client.redirect_uris = list(uris)

    @property
    def client_jwks(self) -> dict[str, Any] | None:
        """The app's registered public keys: with them it must authenticate (private_key_jwt); None: a public client."""
        return self._client.jwks

    @client_jwks.setter
    def client_jwks(self, keys: dict[str, Any] | None) -> None:
        self._client.jwks = keys

    @property
    def client_id(self) -> str:
        return self._client.client_id

    @property
    def issuer(self) -> str:
        """The authorisation server, and the address of the chart pages: `http://localhost:{port}`."""
        return f"http://localhost:{self._port}"

    @property
    def fhir_base(self) -> str:
        """The FHIR base, which is SMART's `iss` and `aud`."""
        return f"{self.issuer}/fhir"

    @property
    def records(self) -> FhirRecords:
        """The FHIR records behind the charts; only between `start` and `stop`."""
        assert self._records is not None, "not started"
        return self._records

    def start(self) -> None:
        """Listen on 127.0.0.1; returns when charts, FHIR and authorisation answer."""
        # Bound first: issuer, aud and every link name the port.
        web = WsgiServer(("127.0.0.1", self._port), None, numthreads=_THREADS, server_name="localhost")
        web.prepare()
        self._web = web
        self._port = int(web.bind_addr[1])
        self._fhir = FhirServer(self.fhir_base)
        try:
            self._fhir.start()
            self._records = FhirRecords(self._fhir.base)
            self._records.put_practitioner(DR_DEMO.practitioner_id, DR_DEMO.name)
        except BaseException:
            self.stop()
            raise
        web.wsgi_app = self._application(self._fhir.base, self._records)
        self._thread = threading.Thread(target=web.serve, name="pretend-ehr", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._web is not None:
            self._web.stop()
            self._web = None
        if self._thread is not None:
            self._thread.join(timeout=10)
            self._thread = None
        if self._fhir is not None:
            self._fhir.stop()
            self._fhir = None
        self._records = None

    def __enter__(self) -> PretendEhr:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def put_patient(self, patient: DemoPatient) -> str:
        """Create or update a Patient by its medical record number; returns the FHIR id."""
        return self.records.put_patient(patient)

    def put_order(self, order: DemoOrder, patient_id: str, status: str = "active") -> str:
        """Create or update a ServiceRequest by its placer order number; returns the FHIR id."""
        return self.records.put_order(order, patient_id, status)

    def new_launch(self, patient_id: str, study_id: str | None = None) -> str:
        """A launch handle: opaque, single use, five minutes, for a patient and perhaps one ImagingStudy of theirs.

        NotFound when there is no such patient or study; NotAllowed when the study is another patient's.
        """
        self.records.require_patient(patient_id)
        if study_id is not None and self.records.study(study_id).patient_id != patient_id:
            raise NotAllowed("the study is another patient's", where="study")
        return self._state.new_launch(LaunchContext(patient_id, study_id))

    def chart_url(self, patient_id: str) -> str:
        return f"{self.issuer}/chart/{patient_id}"

    def _application(self, upstream: str, records: FhirRecords) -> Flask:
        app = Flask("bridge.sandbox", static_folder=None)
        # Else another site's page could reach us under its own name (DNS rebinding).
        app.config["TRUSTED_HOSTS"] = ["localhost", "127.0.0.1"]
        app.config["MAX_CONTENT_LENGTH"] = _MAX_BODY
        server = SmartServer(app, issuer=self.issuer, fhir_base=self.fhir_base, client=self._client, state=self._state)
        self.introspection_secret = server.introspection_secret
        app.register_blueprint(authorization_pages(server))
        app.register_blueprint(fhir_proxy(upstream, self._state))
        app.register_blueprint(
            chart_pages(
                records,
                fhir_base=self.fhir_base,
                launch_url=lambda: self.bridge_launch_url,
                new_launch=self.new_launch,
                link_maker=lambda: self.make_link,
                clock=self._clock,
            )
        )
        return app
