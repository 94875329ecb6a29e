"""The servers of the DICOM benchmark, each in a process of its own, and what each of them costs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bridge.sandbox.hospital import wait_for
from tests.bench.dicom_entries import write_worklist_files
from tests.bench.measuring import cpu_of_process
from tests.bench.mllp_load import Load, LoadClient
from tests.bench.order_stream import ORM_O01, Stream
from tests.bench.running import LoadedHospital
from tests.fakes.raw_peer import RawPeer, association_request

VERIFICATION, IMPLICIT = "1.2.840.10008.1.1", "1.2.840.10008.1.2"
ORTHANC = shutil.which("Orthanc")


class Server:
    """A peer that listens on `port`; `cpu` is that of its process and of all that it has started, in seconds."""

    def __init__(self, port: int, command: Sequence[str], *, no_delay: bool = False) -> None:
        self.port = port
        environment = os.environ | ({"TCP_NODELAY": "1"} if no_delay else {})
        self._process = subprocess.Popen(
            list(command), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ready(self) -> None:
        def answers() -> bool:
            with suppress(OSError), RawPeer(self.port) as peer:
                return peer.associate(association_request([(VERIFICATION, [IMPLICIT])]))[:1] == b"\x02"
            return False

        if not wait_for(answers, 60):
            raise RuntimeError(f"nobody answers on port {self.port}")

    def cpu(self) -> float:
        own = cpu_of_process(self.pid).total
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        ended = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")  # children that it has waited for
        return own + ended + sum(cpu_of_process(child).total for child in _children(self.pid))

    def highest(self) -> float:
        """Resident memory at its highest since `forget`, in MB."""
        return self._status("VmHWM")

    def resident(self) -> float:
        return self._status("VmRSS")

    def forget(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status(self, name: str) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1000
        raise RuntimeError(f"no {name}")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)


class Bridge(Server):
    """The product as it is installed: all its roles, `count` orders taken by HL7."""

    def __init__(self, folder: Path, count: int, transport: str = "own") -> None:
        self.hospital = LoadedHospital(folder, fhir_base="http://127.0.0.1:9/fhir", outbox=False)
        config = self.hospital.config
        text = config.read_text().replace("[dicom]\n", f'[dicom]\ntransport = "{transport}"\n')
        config.write_text(text)
        self.port = self.hospital.ports.dicom
        self.hospital.start()
        if count:
            self._fill(count)

    def _fill(self, count: int) -> None:
        from tests.bench.dicom_entries import A_DAY, STATION

        frames = [
            one.frame
            for day in range((count + A_DAY - 1) // A_DAY)
            for one in Stream(station=(STATION, "CT"), days=day).orders(min(A_DAY, count - A_DAY * day), ORM_O01)
        ]
        with LoadClient() as client:
            client.connect(self.hospital.feed_ports() * 4)
            sent = client.run(Load([frames[number::4] for number in range(4)]))
        if sent.accepted != count:
            raise RuntimeError(f"{sent.accepted} of {count} orders taken: {sent.refused[:3]}")

    @property
    def pid(self) -> int:
        return self.hospital.pid("dicom")

    def close(self) -> None:
        self.hospital.stop()


def wlmscpfs(port: int, folder: Path, count: int, *, no_delay: bool) -> Server:
    if not folder.exists():
        write_worklist_files(folder / "BRIDGE", count)
    return Server(port, ["wlmscpfs", "-dfp", str(folder), str(port)], no_delay=no_delay)


def storescp(port: int, folder: Path, *, no_delay: bool) -> Server:
    folder.mkdir(parents=True)
    options = ["--fork", "+B", "-pdu", "131072", "-aet", "BRIDGE", "-od", str(folder)]
    return Server(port, ["storescp", *options, str(port)], no_delay=no_delay)


def orthanc(port: int, folder: Path, count: int, *, no_delay: bool) -> Server:
    worklists = folder / "worklists"
    if count and not worklists.exists():
        write_worklist_files(worklists, count)
    settings = {
        "Name": "bench",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomAet": "BRIDGE",
        "DicomPort": port,
        "HttpServerEnabled": False,
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowFindWorklist": True,
        "DicomAlwaysAllowStore": True,
        "Plugins": ["/usr/share/orthanc/plugins/libModalityWorklists.so"],
        "Worklists": {"Enable": bool(count), "Database": str(worklists)},
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "orthanc.json"
    path.write_text(json.dumps(settings))
    assert ORTHANC is not None
    return Server(port, [ORTHANC, str(path)], no_delay=no_delay)


def plain(port: int, folder: Path, count: int) -> Server:
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.bench.plain_dicom", str(port), str(folder), str(count)]
    return Server(port, command)


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def settled(server: Server, seconds: float = 1.0) -> float:
    """Share of a core that it uses while nobody asks."""
    before, begin = server.cpu(), time.perf_counter()
    time.sleep(seconds)
    return (server.cpu() - before) / (time.perf_counter() - begin)
