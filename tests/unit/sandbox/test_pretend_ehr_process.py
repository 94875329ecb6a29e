"""The pretend EHR as processes: no orphan, and its own command."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import requests


def test_fhir_server_ends_when_its_parent_is_gone() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "bridge.sandbox.fhir_server", "http://localhost:1/fhir"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdout.readline()
    child.stdin.close()
    assert child.wait(timeout=20) == 0
    child.stdout.close()


def test_command_prints_its_addresses_and_ends_on_ctrl_c() -> None:
    command = "from bridge.sandbox.cli import sandbox; sandbox()"
    running = subprocess.Popen([sys.executable, "-c", command, "ehr", "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    try:
        printed = ""
        while "Introspection" not in printed:
            line = running.stdout.readline()
            assert line, printed
            printed += line
        (base,) = re.findall(r"FHIR \(iss\)\s+(\S+)", printed)
        assert "demo data only" in printed
        assert requests.get(f"{base}/metadata", timeout=10).json()["fhirVersion"] == "4.0.1"
    finally:
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)
    assert running.returncode == 0
