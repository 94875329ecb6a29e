"""What associations share and is scarce: connections, places, memory. Each is counted here and nowhere else."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

WAITING = 48
WAITING_PER_ADDRESS = 16
"""Connections that have not asked for an association yet, in all and of an address: each holds a thread."""

One = TypeVar("One")


@dataclass(frozen=True, slots=True)
class Most:
    """Connections in all and of an address, associations in all and of an AE title."""

    connections: int
    connections_per_address: int
    associations: int
    associations_per_ae: int


class Places(Generic[One]):
    """Who is connected. `end` is called for a waiting connection that must give up its place to another."""

    def __init__(self, most: Most, end: Callable[[One], None]) -> None:
        self._most = most
        self._end = end
        self._lock = threading.Lock()
        self._addresses: dict[One, str] = {}
        self._waiting: dict[One, str] = {}  # oldest first
        self._titles: dict[One, str] = {}

    @property
    def associations(self) -> int:
        return len(self._titles)

    def all(self) -> list[One]:
        """Every connection that is open."""
        with self._lock:
            return list(self._addresses)

    def enter(self, one: One, address: str) -> bool:
        """Whether a new connection gets a place.

        An honest device asks for its association at once: so when too many wait, the one that has waited longest goes,
        of this address when it has its share of them, else of the address that has most. Associations are never ended.
        """
        with self._lock:
            waiting = Counter(self._waiting.values())
            if waiting[address] >= WAITING_PER_ADDRESS:
                self._displace(address)
            elif waiting.total() >= WAITING or len(self._addresses) >= self._most.connections:
                if not waiting:
                    return False
                self._displace(waiting.most_common(1)[0][0])
            if Counter(self._addresses.values())[address] >= self._most.connections_per_address:
                return False
            self._addresses[one] = self._waiting[one] = address
            return True

    def associate(self, one: One, title: str) -> bool:
        """Whether a waiting connection gets a place as an association of this AE title."""
        with self._lock:
            titles = Counter(self._titles.values())
            if one not in self._waiting or titles.total() >= self._most.associations:
                return False
            if titles[title] >= self._most.associations_per_ae:
                return False
            del self._waiting[one]
            self._titles[one] = title
            return True

    def leave(self, one: One) -> None:
        """The connection is closed. One that was displaced has left before."""
        with self._lock:
            for kept in (self._addresses, self._waiting, self._titles):
                kept.pop(one, None)

    def _displace(self, address: str) -> None:
        oldest = next(one for one, of in self._waiting.items() if of == address)
        del self._waiting[oldest], self._addresses[oldest]
        self._end(oldest)


class Memory:
    """Bytes of messages that lie in memory, all associations together.

    Whoever needs more than is left waits, and its peer with it (TCP holds it back). One at a time may go past the
    limit: were all to wait in the middle of their messages, none would ever end.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._changed = threading.Condition()
        self._held: dict[object, int] = {}
        self._over: object | None = None

    @property
    def held(self) -> int:
        with self._changed:
            return sum(self._held.values())

    def hold(self, owner: object, count: int, seconds: float) -> bool:
        """Hold so many bytes for `owner` instead of what it held; False when there is no room within `seconds`."""
        with self._changed:
            there_is = self._changed.wait_for(lambda: self._fits(owner, count), seconds)
            if there_is:
                self._held[owner] = count
            return there_is

    def free(self, owner: object) -> None:
        """Hold nothing for `owner`."""
        with self._changed:
            self._held.pop(owner, None)
            if self._over is owner:
                self._over = None
            self._changed.notify_all()

    def _fits(self, owner: object, count: int) -> bool:
        before = self._held.get(owner, 0)
        if count <= before or sum(self._held.values()) - before + count <= self._limit:
            return True
        if self._over is None:
            self._over = owner
        return self._over is owner
