"""Reads a trace of strace and says which positive answers left before the sync that makes them true.

`strace -f -y -xx`: every string is hexadecimal, every descriptor has its path. A call that another thread's line cuts
in two (`<unfinished ...>`, `resumed`) begins with its first half and ends with its second.
"""

from __future__ import annotations

import re
import subprocess
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

CALLS = "fsync,fdatasync,pwrite64,write,sendto,sendmsg,rename,renameat,renameat2"
SYNCS = ("fsync", "fdatasync")
WRITES = ("pwrite64", "write")
SENDS = ("sendto", "sendmsg")
_LINE = re.compile(r"^(\d+)\s+(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)$")
_RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"\d+<([^>]*)>")


@dataclass(frozen=True, slots=True)
class Call:
    """One system call: the lines of the trace where it begins and ends, the path of its descriptor, its strings."""

    name: str
    begin: int
    end: int
    path: str
    strings: tuple[bytes, ...]
    ok: bool


def strace(trace: Path, command: Sequence[str]) -> list[str]:
    """`command` under strace; long strings, or the ids would be cut off."""
    return [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-y",
        "-xx",
        "-s",
        "65536",
        "-e",
        f"trace={CALLS}",
        "-o",
        str(trace),
        *command,
    ]


def ptrace_works(folder: Path) -> bool:
    done = subprocess.run(strace(folder / "probe", ["true"]), capture_output=True, timeout=30, check=False)
    return done.returncode == 0


def read_trace(text: Iterable[str]) -> list[Call]:
    """The calls in the order in which they began."""
    return sorted(_calls(text), key=lambda call: call.begin)


def _calls(text: Iterable[str]) -> Iterator[Call]:
    open_calls: dict[str, tuple[int, str, str]] = {}
    for number, line in enumerate(text):
        found = _LINE.match(line.rstrip("\n"))
        if not found:
            continue
        pid, rest = found.groups()
        if resumed := _RESUMED.match(rest):
            if pid in open_calls:
                begin, name, arguments = open_calls.pop(pid)
                yield _call(name, begin, number, arguments, resumed[2])
        elif called := _CALL.match(rest):
            if rest.endswith("<unfinished ...>"):
                open_calls[pid] = (number, called[1], called[2])
            else:
                yield _call(called[1], number, number, called[2], rest)


def _call(name: str, begin: int, end: int, arguments: str, tail: str) -> Call:
    result = tail.rpartition("= ")[2]
    strings = tuple(_plain(s) for s in _STRING.findall(arguments))
    descriptor = _DESCRIPTOR.match(arguments)
    path = _plain(descriptor[1]).decode("utf-8", "replace") if descriptor else ""
    return Call(name, begin, end, path, strings, not result.startswith("-1"))


def _plain(hexadecimal: str) -> bytes:
    if "\\x" not in hexadecimal:
        return hexadecimal.encode()
    return bytes.fromhex(hexadecimal.replace("\\x", ""))


class Trace:
    """The calls of a long run, so that what concerns one identity is found without reading all of it each time."""

    def __init__(self, calls: list[Call]) -> None:
        self.calls = calls
        self._common = [c for c in calls if c.name in SYNCS or c.name in SENDS or c.name.startswith("rename")]
        self._writes = [c for c in calls if c.name in WRITES]
        self._by_path: dict[str, list[Call]] = {}
        for call in self._writes:
            self._by_path.setdefault(call.path, []).append(call)
        parts = [b"\0\0".join((*call.strings, b"")) for call in self._writes]
        self._ends = list(accumulate(map(len, parts)))
        self._haystack = b"".join(parts)

    def about(self, identity: bytes) -> list[Call]:
        """Every sync, rename and send; and the writes that hold the identity, with all others to the same object."""
        found, at = set[Call](), self._haystack.find(identity)
        while at >= 0:
            call = self._writes[bisect_right(self._ends, at)]
            found.add(call)
            if "/incoming/" in call.path:
                found.update(self._by_path[call.path])
            at = self._haystack.find(identity, at + 1)
        return sorted([*self._common, *found], key=lambda call: call.begin)


def wal_violation(calls: list[Call], identity: bytes, answer: tuple[bytes, ...]) -> str:
    """'' when the write of `identity` to the WAL was synced before the answer left; else what is wrong."""
    sent = next((c for c in calls if c.name in SENDS and any(all(a in s for a in answer) for s in c.strings)), None)
    if sent is None:
        return "no positive answer in the trace"
    return _synced(calls, sent, lambda c: c.path.endswith("-wal") and any(identity in s for s in c.strings), "the WAL")


def file_violation(calls: list[Call], identity: bytes, answer: tuple[bytes, ...]) -> str:
    """'' when the file of `identity` was synced, renamed and its folder synced, then its row, then the answer."""
    sent = next((c for c in calls if c.name in SENDS and any(all(a in s for a in answer) for s in c.strings)), None)
    if sent is None:
        return "no positive answer in the trace"
    written = [
        c for c in calls if c.name in WRITES and "/incoming/" in c.path and any(identity in s for s in c.strings)
    ]
    if not written:
        return "no write of the file"
    path = written[0].path
    last = max(c.end for c in calls if c.name in WRITES and c.path == path)
    synced = next((c for c in calls if c.name in SYNCS and c.path == path and c.begin > last and c.ok), None)
    if synced is None:
        return "the file was not synced"
    renamed = next((c for c in calls if c.name.startswith("rename") and c.strings[0].decode() == path and c.ok), None)
    if renamed is None:
        return "the file was not renamed"
    if renamed.begin < synced.end:
        return "the file was renamed before its sync"
    folder = renamed.strings[-1].decode().rpartition("/")[0]
    held = next((c for c in calls if c.name in SYNCS and c.path == folder and c.begin > renamed.end and c.ok), None)
    if held is None:
        return "the folder was not synced after the rename"
    row = [c for c in calls if c.name in WRITES and c.path.endswith("-wal") and any(identity in s for s in c.strings)]
    if not row or row[0].begin < held.end:
        return "the row was written before the folder's sync"
    return wal_violation(calls, identity, answer)


def _synced(calls: list[Call], sent: Call, is_write: Callable[[Call], bool], what: str) -> str:
    written = next((c for c in calls if c.name in WRITES and is_write(c)), None)
    if written is None:
        return f"no write to {what}"
    for call in calls:
        if call.name in SYNCS and call.path == written.path and call.ok and written.end < call.begin:
            return "" if call.end < sent.begin else "the answer left before the sync"
    return f"no sync of {what}"
