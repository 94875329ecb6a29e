"""A small server for the negative control: `answering.py FOLDER FULL|NORMAL` commits a row an id, then answers it.

It says `PORT n` and ends with its first connection.
"""

from __future__ import annotations

import socket
import sys

import pysqlite3.dbapi2 as sqlite  # type: ignore[import-untyped]


def main(folder: str, synchronous: str) -> None:
    database = sqlite.connect(f"{folder}/control.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute(f"PRAGMA synchronous={synchronous}")
    database.execute("CREATE TABLE message (id TEXT)")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"PORT {listener.getsockname()[1]}", flush=True)
        connection, _ = listener.accept()
        with connection:
            while identity := connection.recv(64):
                database.execute("BEGIN IMMEDIATE")
                database.execute("INSERT INTO message VALUES (?)", (identity.decode(),))
                database.execute("COMMIT")
                connection.sendall(b"MSA|AA|" + identity)


main(sys.argv[1], sys.argv[2])
