"""Which WSGI server: cheroot beside waitress, serving the real DICOMweb gate.

    python -m tests.bench.bench_web_servers          (needs: pip install waitress)

Both servers run in processes of their own, with the same application and as many threads; rounds are interleaved, and
medians with lowest and highest are printed. Wall-clock rates compare within one run only.
"""

from __future__ import annotations

import http.client
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

THREADS, SECONDS, ROUNDS = 24, 1.5, 3
UID = "1.2.840.1"
FRAME = f"/dicom-web/studies/{UID}/series/{UID}.1/instances/{UID}.1.1/frames/1"
METADATA = f"/dicom-web/studies/{UID}/series/{UID}.1/metadata"
PATHS = {
    "frame, 0.5 MB": (FRAME, "multipart/related; type=application/octet-stream; transfer-syntax=*"),
    "metadata, 500 instances, 3 MB": (METADATA, "application/dicom+json"),
}


def serve(kind: str, file: Path) -> None:
    """Run in the child: one server, its port printed."""
    from flask import Flask

    from bridge.domain.access import Session, User
    from bridge.domain.viewing import InstanceFile, InstanceRow, SeriesRow, StudyRow
    from bridge.web.dicomweb import dicomweb_blueprint
    from bridge.web.server import WebServer
    from tests.unit.dicomweb.pretend_images import PretendImages

    images = PretendImages()
    size = file.stat().st_size
    for number in range(1, 501):
        images.add(
            StudyRow(UID),
            SeriesRow(f"{UID}.1"),
            InstanceRow(f"{UID}.1", "1.2.840.10008.5.1.4.1.1.2", f"{UID}.1.{number}", frames=1, rows=512, columns=512),
            InstanceFile(file, size, "1.2.840.10008.1.2.1", "1.2.840.10008.5.1.4.1.1.2", (((0, size),),)),
            b'{"00080018":{"vr":"UI","Value":["1"]},"pad":"' + b"x" * 6000 + b'"}',
        )
    session = Session(1, User("i", "s"), 1, frozenset({UID}), datetime(2100, 1, 1, tzinfo=UTC))
    app = Flask(__name__)
    app.register_blueprint(dicomweb_blueprint(images, lambda: session))
    if kind == "cheroot":
        server = WebServer("127.0.0.1", 0, threads=THREADS)
        server.start(app)
        print(server.port, flush=True)
        threading.Event().wait()
    else:
        from waitress.server import create_server

        waitress = create_server(app, host="127.0.0.1", port=0, threads=THREADS)
        print(waitress.effective_port, flush=True)
        waitress.run()


def rate(port: int, path: str, accept: str, clients: int) -> float:
    """Answers a second over `clients` kept connections."""
    end = time.monotonic() + SECONDS
    counts = [0] * clients

    def run(index: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while time.monotonic() < end:
            connection.request("GET", path, headers={"Accept": accept})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            counts[index] += 1

    threads = [threading.Thread(target=run, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "frame"
        file.write_bytes(bytes(512 * 1024))
        servers = {}
        for kind in ("cheroot", "waitress"):
            command = [sys.executable, "-m", "tests.bench.bench_web_servers", kind, str(file)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            servers[kind] = process, int(process.stdout.readline())  # type: ignore[union-attr]
        print(f"{'answers/s: median (lowest-highest)':<38}{'cheroot':>22}{'waitress':>22}   ratio")
        for what, (path, accept) in PATHS.items():
            for clients in (1, 8):
                rates: dict[str, list[float]] = {kind: [] for kind in servers}
                for _ in range(ROUNDS):
                    for kind, (_, port) in servers.items():
                        rates[kind].append(rate(port, path, accept, clients))
                middle = {k: statistics.median(v) for k, v in rates.items()}
                cells = "".join(f"{middle[k]:>9.0f} ({min(v):.0f}-{max(v):.0f})".rjust(22) for k, v in rates.items())
                name = f"{what}, {clients} client{'s' if clients > 1 else ''}"
                print(f"{name:<38}{cells}   {middle['cheroot'] / middle['waitress']:.2f}")
        for process, _ in servers.values():
            process.kill()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
