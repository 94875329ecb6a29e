"""The whole pretend hospital round one real bridge: configuration, the service in processes of its own, its ports.

Used by the demo and by the end-to-end and fault tests. The bridge is set up and started as anyone does it:
`bridge init`, then `bridge run`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import string
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.errors import ConfigurationError
from bridge.run.role import read_notice
from bridge.sandbox.links import LinkSigner
from bridge.sandbox.modality import Scanner
from bridge.sandbox.ris import FILLER, HOSPITAL, PLACER, Ris
from bridge.sandbox.zone import machine_zone
from bridge.smart.client_key import public_set

ROLES = ("hl7", "dicom", "web", "worker")


@dataclass(frozen=True, slots=True)
class Ports:
    hl7: int
    dicom: int
    public: int
    viewer: int
    scanner: int
    """Where the CT itself listens, to be told what became of its images."""

    @classmethod
    def free(cls) -> Ports:
        """Five loopback ports that nobody has at this moment."""
        held = [socket.socket() for _ in range(5)]
        try:
            for one in held:
                one.bind(("127.0.0.1", 0))
            return cls(*(one.getsockname()[1] for one in held))
        finally:
            for one in held:
                one.close()


DEMO_PORTS = Ports(hl7=2575, dicom=11112, public=8080, viewer=8081, scanner=11113)


class Hospital:
    """A bridge in `folder` that publishes to `fhir_base` and lets `iss` launch. `start`, use, `stop`."""

    def __init__(
        self,
        folder: Path,
        *,
        fhir_base: str,
        iss: str = "",
        client_id: str = "imaging-bridge",
        ports: Ports | None = None,
        quiet_seconds: float = 2,
        create_service_request: bool = True,
        imaging_study: str = "create",
        time_zone: str = "",
        viewer: Path | None = None,
        database_url: str = "",
        more: str = "",
    ) -> None:
        """`more` is TOML that goes behind the rest of the configuration."""
        self.folder = folder
        self.ports = ports or Ports.free()
        self.public_url = f"http://localhost:{self.ports.public}"
        self.viewer_url = f"http://127.0.0.1:{self.ports.viewer}"
        self.config = folder / "config" / "bridge.toml"
        self.data = folder / "data"
        self.log = folder / "bridge.log"
        made = self.run("init", str(folder))
        if made.returncode:
            raise ConfigurationError([f"bridge init failed: {made.stderr.strip()}"])
        self.links = LinkSigner("https://portal.example.org", folder / "secrets" / "links.jwks")
        self._process: subprocess.Popen[bytes] | None = None
        template = string.Template(Path(__file__).with_name("demo.toml").read_text())
        text = template.substitute(
            # The scanner and the RIS stamp by this machine's wall clock.
            time_zone=time_zone or machine_zone() or "UTC",
            patient_namespace=HOSPITAL.namespace,
            patient_oid=HOSPITAL.oid,
            patient_system=HOSPITAL.system,
            placer_namespace=PLACER.namespace,
            placer_oid=PLACER.oid,
            placer_system=PLACER.system,
            filler_namespace=FILLER.namespace,
            filler_oid=FILLER.oid,
            filler_system=FILLER.system,
            hl7_port=self.ports.hl7,
            dicom_port=self.ports.dicom,
            public_port=self.ports.public,
            viewer_port=self.ports.viewer,
            scanner_port=self.ports.scanner,
            quiet_seconds=quiet_seconds,
            create_service_request=str(create_service_request).lower(),
            imaging_study=imaging_study,
            fhir_base=fhir_base,
            iss=iss or fhir_base,
            client_id=client_id,
            link_issuer=self.links.issuer,
        )
        if database_url:
            text += f'\n[database]\nurl = "{database_url}"\n'
        text += more
        # In place of the default that init wrote: the file keeps its mode.
        self.config.write_text(text)
        if viewer is not None and not (self.data / "viewer").exists():
            (self.data / "viewer").symlink_to(viewer.resolve())

    @property
    def client_jwks(self) -> dict[str, Any]:
        """The public half of the key that `bridge init` made: what an EHR registers."""
        return public_set([self.folder / "secrets" / "smart-client.jwk"])

    def command(self, *arguments: str) -> list[str]:
        """`bridge --config ... ARGUMENTS` in this environment's Python."""
        return [sys.executable, "-m", "bridge.cli", "--config", str(self.config), *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command of the bridge to its end."""
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=60, check=False)  # noqa: S603

    def start(self, *, seconds: float = 40) -> None:
        """Start `bridge run` and wait until every role has told its ports."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.command("run"), stdout=log, stderr=log, start_new_session=True)  # noqa: S603
        if not wait_for(lambda: not self.running or all(map(self.role_pid, ROLES)), seconds):
            raise ConfigurationError([f"the bridge did not start in {seconds} s: see {self.log}"])
        if not self.running:
            raise ConfigurationError([f"the bridge ended: see {self.log}"])

    def stop(self) -> int:
        """SIGTERM, wait for the drain, and return the exit status."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(45)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._process = None
        return status

    def kill_supervisor(self) -> None:
        """kill -9; the roles must end by themselves."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def kill_role(self, role: str) -> int:
        """kill -9 of a role's process; returns its pid. The supervisor starts another."""
        pid = self.role_pid(role)
        assert pid is not None, role
        os.kill(pid, signal.SIGKILL)
        return pid

    def role_pid(self, role: str) -> int | None:
        """The pid of a role that runs and has told its ports, else None."""
        notice = read_notice(self.data / "run" / f"{role}.json")
        return int(str(notice["pid"])) if notice else None

    def status(self) -> dict[str, Any]:
        """`bridge status --json`."""
        facts: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return facts

    def reviews(self) -> list[dict[str, Any]]:
        """`bridge review --json`."""
        entries: list[dict[str, Any]] = json.loads(self.run("review", "--json").stdout)
        return entries

    def ris(self) -> Ris:
        return Ris("127.0.0.1", self.ports.hl7)

    def scanner(self, ae_title: str) -> Scanner:
        return Scanner(ae_title, "127.0.0.1", self.ports.dicom, "BRIDGE")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def __enter__(self) -> Hospital:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def wait_for(holds: Callable[[], object], seconds: float, *, every: float = 0.1) -> bool:
    """Ask until it holds or the time is over."""
    pause = threading.Event()
    for _ in range(max(1, int(seconds / every))):
        if holds():
            return True
        pause.wait(every)
    return bool(holds())
