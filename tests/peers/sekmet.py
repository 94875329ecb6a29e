"""sekmet-fhir as a foreign EHR: its habits are the opposite of HAPI's (W/"1", Location with its own base)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import pytest
import requests

SETTINGS = """\
base_url: http://localhost:8090/fhir
host: 127.0.0.1
port: {port}
data_dir: {folder}
simulator: {{enabled: false}}
"""


class SekmetServer:
    """An empty R4 server on 127.0.0.1; `base_url` after start. It keeps believing to be localhost:8090."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.base_url = ""

    def __enter__(self) -> Self:
        command = Path(sys.executable).with_name("sekmet")
        if not command.exists():
            if os.environ.get("CI"):
                pytest.fail("MISSING PEER sekmet: pip install imaging-bridge[sandbox]")
            pytest.skip("MISSING PEER sekmet: pip install imaging-bridge[sandbox]")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = self._folder / "settings.yaml"
        settings.write_text(SETTINGS.format(port=port, folder=self._folder))
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [command, "serve", "--config", settings, "--host", "127.0.0.1", "--port", str(port)],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.base_url = f"http://127.0.0.1:{port}/fhir"
        self._wait()
        return self

    def _wait(self) -> None:
        assert self._process is not None
        for _ in range(600):
            if self._process.poll() is not None:
                raise RuntimeError(f"sekmet ended: {(self._folder / 'log').read_text()[-2000:]}")
            try:
                if requests.get(f"{self.base_url}/metadata", timeout=5).ok:
                    return
            except requests.ConnectionError:
                pass
            time.sleep(0.1)
        raise RuntimeError("sekmet did not answer")

    def __exit__(self, *error: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
