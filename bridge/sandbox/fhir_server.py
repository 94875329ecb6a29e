"""The pretend EHR's FHIR R4 store: sekmet-fhir in a child process, data in memory, no seed data.

The parent's half (`FhirServer`) starts and stops it; the child's half (`main`) is run as
`python -m bridge.sandbox.fhir_server` and ends when its standard input closes, so that no orphan keeps a port.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading

from bridge.errors import RemoteUnavailable

_START_SECONDS = 60.0


class FhirServer:
    """A FHIR R4 server on a free loopback port; `public_base` is the address that its links name."""

    def __init__(self, public_base: str) -> None:
        self._public_base = public_base
        self._child: subprocess.Popen[str] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.base = ""

    def start(self) -> None:
        """Start the child and wait until it listens; RemoteUnavailable when it does not come up."""
        self._folder = tempfile.TemporaryDirectory(prefix="pretend-ehr-")
        # The environment is not handed on whole: SEKMET_* variables of the machine would change the server.
        env = {k: v for k, v in os.environ.items() if not k.startswith("SEKMET_")}
        self._child = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            [sys.executable, "-m", "bridge.sandbox.fhir_server", self._public_base],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=self._folder.name,
            env=env,
        )
        assert self._child.stdout is not None
        watchdog = threading.Timer(_START_SECONDS, self._child.kill)
        watchdog.start()
        line = self._child.stdout.readline()
        watchdog.cancel()
        if not line:
            self.stop()
            raise RemoteUnavailable("the pretend FHIR server did not start", where="sekmet-fhir")
        self.base = f"http://127.0.0.1:{json.loads(line)['port']}/fhir"

    def stop(self) -> None:
        if self._child is not None:
            assert self._child.stdin is not None
            assert self._child.stdout is not None
            self._child.stdin.close()
            try:
                self._child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
            self._child.stdout.close()
            self._child = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def main(public_base: str) -> None:
    """Serve until standard input closes; the first line of standard output is `{"port": n}`."""
    import uvicorn
    from sekmet.config import Settings  # type: ignore[import-untyped]
    from sekmet.main import create_app  # type: ignore[import-untyped]

    settings = Settings.model_validate(
        {
            "base_url": public_base,
            "db_path": ":memory:",
            "facility_name": "Pretend Hospital",
            "software_name": "Pretend EHR (demo data only)",
            "log_inbound": False,
            # Else it would invent results and images for every order that it is given.
            "simulator": {"enabled": False},
        }
    )
    app = create_app(settings)
    logging.disable(logging.CRITICAL)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_keep_alive=75)
    )

    def stop_with_parent() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=stop_with_parent, name="parent-watch", daemon=True).start()
    sys.stdout.write(json.dumps({"port": listener.getsockname()[1]}) + "\n")
    sys.stdout.flush()
    server.run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1])
