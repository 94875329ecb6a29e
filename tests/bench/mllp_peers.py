"""The MLLP servers that orders are measured beside, each as its makers ship it, in an environment of their own.

`.cache/bench-peers` is made by pip the first time; what cannot be had is named, and the run goes on without it.
Neither syncs anything before its AA (shared/reference/performance.md 2.4).
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bridge.sandbox.ris import FILLER, HOSPITAL, PLACER
from tests.bench.measuring import CACHE

VENV = CACHE / "bench-peers"
FHIR_BRIDGE, ORTHANC_TOOLS = "hl7v2-fhir-bridge 0.1.0", "orthanc-tools 0.23.0"
_WANTED = {
    FHIR_BRIDGE: "hl7v2-fhir-bridge==0.1.0",
    ORTHANC_TOOLS: "orthanc-tools==0.23.0",
    "py-spy 0.4.3": "py-spy==0.4.3",
}


def install() -> dict[str, str]:
    """Make what is missing; returns the name of each that cannot be had, with the reason."""
    stamp = VENV / "installed.json"
    there: list[str] = json.loads(stamp.read_text()) if stamp.is_file() else []
    lacking: dict[str, str] = {}
    for number, (name, package) in enumerate(_WANTED.items(), 1):
        if package in there:
            continue
        print(f"peers: {name} ({number}/{len(_WANTED)}), pip install into {VENV} ...", file=sys.stderr, flush=True)
        if not (VENV / "bin" / "python").exists():
            subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        command = [str(VENV / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", package]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lacking[name] = f"pip: {done.stderr.strip().splitlines()[-1:] or done.returncode}"
            continue
        there.append(package)
        stamp.write_text(json.dumps(there))
    return lacking


@dataclass
class Peer:
    """A running server. `reconnect`: it closes the connection after each answer. `files`: what it made of an order."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    out: Path
    pattern: str
    kinds: tuple[str, ...]
    reconnect: bool = False
    accepted: int = field(default=0)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def made(self) -> int:
        return sum(1 for _ in self.out.glob(self.pattern))

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(name: str, folder: Path) -> Peer:
    """Raises OSError when it does not come up."""
    return {FHIR_BRIDGE: _fhir_bridge, ORTHANC_TOOLS: _orthanc_tools}[name](folder)


def _fhir_bridge(folder: Path) -> Peer:
    """Bundles into a folder, validated as by default; its own configuration with our authorities."""
    out, config, port = folder / "bundles", folder / "v2fhir.toml", _free_port()
    config.write_text(
        f'[mapping]\nmrn_authorities = ["{HOSPITAL.namespace}", "HOSPITAL"]\n'
        f'default_assigning_authority = "{HOSPITAL.namespace}"\n'
        "[mapping.assigning_authorities]\n"
        + "".join(f'"{one.namespace}" = "{one.system}"\n' for one in (HOSPITAL, PLACER, FILLER))
    )
    command = [str(VENV / "bin" / "hl7v2-fhir-bridge"), "serve", "--config", str(config), "--port", str(port)]
    process = _started([*command, "--out", str(out)], port, folder / "v2fhir.log", lambda: out.mkdir(exist_ok=True))
    return Peer(FHIR_BRIDGE, port, process, out, "*.json", ("ORM^O01", "OMI^O23"))


def _orthanc_tools(folder: Path) -> Peer:
    """Worklist files into a folder, as for Orthanc's plugin; it takes ORM^O01 only."""
    out, port = folder / "worklists", _free_port()
    module = "orthanc_tools.hl7_worklist_server_for_orthanc"
    command = [str(VENV / "bin" / "python"), "-m", module, "-p", str(port), "-f", str(out)]
    process = _started(command, port, folder / "orthanc-tools.log", lambda: out.mkdir(exist_ok=True))
    return Peer(ORTHANC_TOOLS, port, process, out, "*.wl", ("ORM^O01",), reconnect=True)


def _started(
    command: list[str], port: int, log: Path, before: Callable[[], object], seconds: float = 30
) -> subprocess.Popen[bytes]:
    before()
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return process
    process.kill()
    process.wait()
    raise OSError(f"it did not start: {log.read_text()[-300:]!r}")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
