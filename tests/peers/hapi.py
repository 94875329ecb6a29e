"""HAPI FHIR 8.8.0 as a foreign EHR, and HL7's R4 validator: two Java programs of tests/peers/hapi.

Both end when their standard input closes, so that a killed test run leaves no JVM behind.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import requests

from tests.peers.available import CACHE, HAPI, need

JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
START_SECONDS = 120.0


class _Java:
    """One JVM on a class of the built project; lines in, lines out, its complaints in a file of .cache/."""

    def __init__(self, main: str, *arguments: str) -> None:
        self._command = [need("java"), *JVM, "-cp", f"{HAPI}/peer-hapi.jar:{HAPI}/lib/*", main, *arguments]
        self._log = CACHE / f"{main}.log"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        need("hapi")
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8"
            )

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        self._pipe(process.stdin).close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._pipe(process.stdout).close()

    def say(self, line: str) -> None:
        assert self._process is not None, "not started"
        pipe = self._pipe(self._process.stdin)
        pipe.write(line + "\n")
        pipe.flush()

    def hear(self, seconds: float) -> str:
        """The next line, without its end; RuntimeError when the program dies or is silent for too long."""
        assert self._process is not None, "not started"
        timer = threading.Timer(seconds, self._process.kill)  # ends the read below
        timer.start()
        try:
            line = self._pipe(self._process.stdout).readline()
        finally:
            timer.cancel()
        if not line:
            raise RuntimeError(f"{self._command[-2:]} ended or was silent for {seconds} s: see {self._log}")
        return line.rstrip("\n")

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


class HapiServer:
    """An R4 server on 127.0.0.1, empty at start. Its habits (409 on a stale If-Match ...) are in hapi.md."""

    def __init__(self, port: int = 0, base: str = "/fhir") -> None:
        self._java = _Java("peer.EhrServer", str(port), base)
        self._base = base
        self.base_url = ""

    def start(self) -> None:
        """About 12 s; `base_url` is then `http://127.0.0.1:<port>/fhir`."""
        self._java.start()
        line = self._java.hear(START_SECONDS)
        while not line.startswith("READY "):
            line = self._java.hear(START_SECONDS)
        self.base_url = f"http://127.0.0.1:{int(line.split()[1])}{self._base}"

    def reset(self) -> None:
        """Every resource and its history gone ($expunge, some 0.3 s); ids keep counting."""
        everything = {"name": "expungeEverything", "valueBoolean": True}
        answer = requests.post(
            f"{self.base_url}/$expunge", json={"resourceType": "Parameters", "parameter": [everything]}, timeout=60
        )
        answer.raise_for_status()

    def stop(self) -> None:
        self._java.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


@dataclass(frozen=True, slots=True)
class Issue:
    """One finding: `index` is the resource's place in the list, `severity` fatal, error, warning or information."""

    index: int
    severity: str
    message_id: str
    location: str
    text: str

    @property
    def is_error(self) -> bool:
        return self.severity in ("error", "fatal")


class FhirValidator:
    """HL7's validator, kept running: some 5 s for the first resource, then 20-60 ms each."""

    def __init__(self) -> None:
        self._java = _Java("peer.ResourceValidator", "--serve")

    def start(self) -> None:
        self._java.start()

    def stop(self) -> None:
        self._java.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def validate(self, resources: Iterable[Mapping[str, Any]]) -> list[Issue]:
        return self.validate_texts(json.dumps(resource) for resource in resources)

    def validate_texts(self, texts: Iterable[str | bytes]) -> list[Issue]:
        """As `validate`, on the JSON as sent: duplicate keys and 1.0 for 1 are then seen too."""
        with tempfile.TemporaryDirectory() as folder:
            for number, text in enumerate(texts):
                data = text.encode() if isinstance(text, str) else text
                (Path(folder) / f"{number:06}.json").write_bytes(data)
            self._java.say(folder)
            issues = []
            while "done" not in (line := json.loads(self._java.hear(START_SECONDS))):
                issues.append(_issue(line))
            return issues


def validate(resources: Iterable[Mapping[str, Any]]) -> list[Issue]:
    """One call, one JVM (5 s): for a script. Tests use the `fhir_validator` fixture."""
    with FhirValidator() as validator:
        return validator.validate(resources)


def _issue(line: dict[str, Any]) -> Issue:
    return Issue(
        int(Path(line["file"]).stem), line["severity"], line["messageId"] or "", line["location"] or "", line["text"]
    )
