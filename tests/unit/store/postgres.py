"""A PostgreSQL of our own for these tests: a throwaway cluster on a Unix socket, ended with the session."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peers.available import need

OPTIONS = "-c listen_addresses= -c fsync=off -c max_connections=60 -k {folder}"


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else Path(need("initdb")).parent


@contextmanager
def cluster() -> Iterator[str]:
    """The host (a folder with the socket) of a running, empty cluster with the superuser `postgres`."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="bridge-pg-", dir="/tmp"))  # a socket's path must be short
    as_user: list[str] = []
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        as_user = ["runuser", "-u", "postgres", "--"]

    def run(program: str, *arguments: str) -> None:
        command = [*as_user, str(programs / program), *arguments]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    data = str(folder / "data")
    try:
        run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        log = str(folder / "log")
        run("pg_ctl", "-D", data, "-l", log, "-w", "-o", OPTIONS.format(folder=folder), "start")
        try:
            yield str(folder)
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
