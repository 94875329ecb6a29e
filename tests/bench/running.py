"""The bridge under load: all roles as real processes, with what load needs beside the demo's configuration."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from bridge.sandbox.hospital import ROLES, Hospital
from tests.bench.measuring import Cpu, cpu_of_process

PLACER_EVENTS = '["accepted", "started", "completed", "discontinued", "cancelled", "cancel-refused"]'


class LoadedHospital(Hospital):
    """`feeds` listeners. `outbox`: the placer is owed the answer to each order, so that every order writes its outbox
    row; nobody listens there, so that sending, which is not part of the order, costs nothing."""

    def __init__(self, folder: Path, *, feeds: int = 1, outbox: bool = True, **options: Any) -> None:
        super().__init__(folder, **options)
        text = self.config.read_text()
        # One sender's address for all connections here.
        limits = "max_connections = 200\nmax_connections_per_address = 200\n"
        first = f'name = "ris"\nport = {self.ports.hl7}\n'
        assert first in text
        text = text.replace(first, first + limits)
        for number in range(2, feeds + 1):
            text += f'\n[[hl7.feed]]\nname = "ris{number}"\nport = 0\n{limits}'
        if outbox:
            self._nobody = socket.socket()  # bound and not listening: nobody else gets the port
            self._nobody.bind(("127.0.0.1", 0))
            text += (
                f'\n[[hl7.destination]]\nname = "placer"\nhost = "127.0.0.1"\nport = {self._nobody.getsockname()[1]}\n'
            )
            text += f"events = {PLACER_EVENTS}\nretry_seconds = 60\n"
        self.config.write_text(text)

    def feed_ports(self) -> list[int]:
        ports = json.loads((self.data / "run" / "hl7.json").read_text())["ports"]
        return [int(port) for name, port in sorted(ports.items()) if name.startswith("hl7.")]

    @property
    def database(self) -> Path:
        return self.data / "bridge.db"

    def pid(self, role: str) -> int:
        """The role's process; raises when it has ended, for a figure of two processes would be none."""
        found = self.role_pid(role)
        if found is None:
            raise RuntimeError(f"the role {role} does not run: see {self.log}")
        return found

    def cpu(self) -> dict[str, Cpu]:
        return {role: cpu_of_process(self.pid(role)) for role in ROLES}
