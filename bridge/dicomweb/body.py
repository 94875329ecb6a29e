"""Bodies as pieces: bytes at hand, and slices of files that are read only when they are sent."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from bridge.errors import StoreError

BLOCK = 256 * 1024
AT_ONCE = 4 * 1024 * 1024
"""Bytes up to which a body is read in one go: a fault is then still an answer, and servers send it faster."""


@dataclass(frozen=True, slots=True)
class Slice:
    """`length` bytes from `offset` of the file at `path`."""

    path: Path
    offset: int
    length: int


Piece = bytes | Slice


def size_of(pieces: Iterable[Piece]) -> int:
    return sum(len(p) if isinstance(p, bytes) else p.length for p in pieces)


def read(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """The bytes in blocks, each file opened once for the slices that follow one another.

    Raises `StoreError` when a file is gone or shorter than its index says: the body must then break off.
    """
    name: Path | None = None
    file: BufferedReader | None = None
    try:
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            if file is None or piece.path != name:
                if file is not None:
                    file.close()
                file, name = _open(piece.path), piece.path
            yield from _blocks(file, piece)
    finally:
        if file is not None:
            file.close()


def new_boundary() -> str:
    """Random, so that no stored byte can be made to look like it."""
    return secrets.token_hex(16)


def part_head(boundary: str, content_type: str, length: int, *, first: bool) -> bytes:
    """What stands before a part (RFC 2046 5.1.1)."""
    start = "" if first else "\r\n"
    return f"{start}--{boundary}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n".encode()


def closing(boundary: str) -> bytes:
    return f"\r\n--{boundary}--\r\n".encode()


def _open(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except OSError as fault:
        raise StoreError("a stored object cannot be opened", where="archive") from fault


def _blocks(file: BufferedReader, piece: Slice) -> Iterator[bytes]:
    left = piece.length
    try:
        file.seek(piece.offset)
        while left:
            block = file.read(min(left, BLOCK))
            if not block:
                raise StoreError("a stored object is shorter than its index says", where="archive")
            left -= len(block)
            yield block
    except OSError as fault:
        raise StoreError("a stored object cannot be read", where="archive") from fault
